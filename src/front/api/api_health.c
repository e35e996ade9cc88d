/* SPDX-License-Identifier: Apache-2.0 */
/* /health and /ready. Store and models are probed at most every two seconds, however often /ready is called. Everyone
 * learns whether the server is ready; the role admin also learns why. */
#include "api_internal.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apr_atomic.h"

APLOG_USE_MODULE(agentchat);

#define FRESH apr_time_from_sec(2)
#define PROBE_PATIENCE apr_time_from_sec(3)
#define LAGGING apr_time_from_sec(1) /* of the mirror: some forty times what Redis takes */

int ac_api_health_live(ac_request_t *rq)
{
    return ac_reply_json(rq, HTTP_OK,
                         json_pack("{s:s, s:s, s:s}", "status", "healthy", "service", "agentchat", "version",
                                   AC_VERSION));
}

/* ---- probing the models: on the loop thread, while a worker waits ---- */

typedef struct probes_t probes_t;
typedef struct probe_t {
    probes_t *probes;
    const ac_model_t *model;
    apr_status_t status;
    apr_interval_time_t took;
    ac_err_t err;         /* why it failed */
    bool asked;           /* the model has a probe; one without is in this process, and so can be reached */
    int answered;         /* set last, by the loop thread; read with acquire */
    ac_gate_state_t gate; /* set before `seen`, in the same way */
    int seen;
} probe_t;

struct probes_t {
    int refs; /* the worker, and the loop thread until the last answer */
    ac_latch_t *latch;
    int n, n_open; /* n_open: loop thread */
    bool mirror_up;
    apr_interval_time_t mirror_lag;
    int mirror_seen; /* set after both, as `seen` */
    json_t *mcp;
    int mcp_seen; /* set after it, in the same way */
    probe_t list[];
};

static void probes_unref(probes_t *probes)
{
    if (__atomic_sub_fetch(&probes->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        ac_latch_unref(probes->latch);
        json_decref(probes->mcp);
        free(probes);
    }
}

static void probe_end(probes_t *probes)
{
    if (--probes->n_open == 0) {
        ac_latch_open(probes->latch);
        probes_unref(probes);
    }
}

static void on_probed(void *baton, apr_status_t status, apr_interval_time_t took, const ac_err_t *err)
{
    probe_t *probe = baton;
    probe->status = status;
    probe->took = took;
    if (err) {
        probe->err = *err;
    }
    __atomic_store_n(&probe->answered, 1, __ATOMIC_RELEASE);
    probe_end(probe->probes);
}

static void start_probes(void *baton)
{
    probes_t *probes = baton;
    probes->n_open = 1;
    probes->mcp = ac_mcp_front_state(ac_child());
    __atomic_store_n(&probes->mcp_seen, 1, __ATOMIC_RELEASE);
    if (ac_child()->mirror_redis) {
        probes->mirror_up = ac_engine_mirror_state(ac_child()->engine, &probes->mirror_lag);
        __atomic_store_n(&probes->mirror_seen, 1, __ATOMIC_RELEASE);
    }
    for (int i = 0; i < probes->n; i++) {
        probe_t *probe = &probes->list[i];
        ac_engine_gate_state(ac_child()->engine, probe->model, &probe->gate);
        __atomic_store_n(&probe->seen, 1, __ATOMIC_RELEASE);
        if (probe->asked) {
            probes->n_open++;
            probe->model->vt->probe(probe->model->self, on_probed, probe);
        }
    }
    probe_end(probes);
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(((const probe_t *)a)->model->id, ((const probe_t *)b)->model->id);
}

static probes_t *probes_create(const ac_registry_t *registry, apr_pool_t *pool)
{
    apr_hash_t *models = (apr_hash_t *)registry->models;
    size_t n = models ? apr_hash_count(models) : 0;
    probes_t *probes = ac_alloc(sizeof(*probes) + n * sizeof(probe_t));
    probes->refs = 2;
    probes->latch = ac_latch_create();
    if (!probes->latch) {
        abort();
    }
    for (apr_hash_index_t *at = models ? apr_hash_first(pool, models) : NULL; at; at = apr_hash_next(at)) {
        probe_t *probe = &probes->list[probes->n++];
        probe->probes = probes;
        probe->model = apr_hash_this_val(at);
        probe->asked = probe->model->vt->probe != NULL;
    }
    qsort(probes->list, (size_t)probes->n, sizeof(probe_t), compare_ids);
    return probes;
}

/* ---- the results ---- */

typedef struct readiness_t {
    bool ready;
    json_t *store;
    json_t *models; /* NULL: they were not asked */
    json_t *mirror; /* NULL without AgentChatShared, or without the models */
    json_t *files;  /* NULL: they are off, or were not asked */
    json_t *mcp;    /* NULL: there are no MCP servers, they were not asked, or the loop does not answer */
} readiness_t;

static json_t *latency_json(apr_interval_time_t took)
{
    return json_real((double)(took / 10) / 100.0);
}

/* The state of the model's gate in this child: "breaker", "retry_after_ms"? and, with a limit, "runs" and "queued". */
static void put_gate(json_t *json, const probe_t *probe)
{
    const ac_gate_state_t *gate = &probe->gate;
    if (!__atomic_load_n(&probe->seen, __ATOMIC_ACQUIRE)) {
        return;
    }
    ac_json_put(json, "breaker", json_string(gate->breaker));
    if (gate->retry_after) {
        ac_json_put(json, "retry_after_ms", json_integer(apr_time_as_msec(gate->retry_after)));
    }
    if (gate->limited) {
        ac_json_put(json, "runs", json_integer(gate->n_runs));
        ac_json_put(json, "queued", json_integer(gate->n_queued));
    }
}

/* A failure as the error log has it: "The model failed: connection refused". Of a service's answer only the status is
 * shown, because its text may repeat a part of a key. */
static json_t *failure_json(ac_kind_e kind, const ac_err_t *err)
{
    const char *title = ac_err_row(kind)->title;
    char text[AC_ERR_DETAIL_SIZE + 80];
    if (!err || (!err->http_status && !err->detail[0])) {
        return json_string(title);
    }
    if (err->http_status) {
        snprintf(text, sizeof(text), "%s: it answered %d", title, err->http_status);
    } else {
        snprintf(text, sizeof(text), "%s: %s", title, err->detail);
    }
    return ac_json_text(text);
}

/* {"id", "state": "ok" | "failed", "latency_ms", "detail"?} and the state of its gate. */
static json_t *probe_json(const probe_t *probe, bool *pfine)
{
    bool answered = probe->asked && __atomic_load_n(&probe->answered, __ATOMIC_ACQUIRE);
    json_t *json = json_pack("{s:s}", "id", probe->model->id);
    *pfine = !probe->asked || (answered && probe->status == APR_SUCCESS);
    ac_json_put(json, "state", json_string(*pfine ? "ok" : "failed"));
    ac_json_put(json, "latency_ms", answered ? latency_json(probe->took) : json_null());
    if (!*pfine) {
        ac_kind_e kind = !answered ? AC_MODEL_TIMEOUT : probe->err.kind == AC_OK ? AC_MODEL_ERROR : probe->err.kind;
        ac_json_put(json, "detail", failure_json(kind, answered ? &probe->err : NULL));
    }
    put_gate(json, probe);
    return json;
}

/* One model that answers is enough: a load balancer must not avoid this server because agents of another one fail. */
static void read_probes(readiness_t *readiness, const probes_t *probes)
{
    bool any = probes->n == 0;
    readiness->models = json_array();
    for (int i = 0; i < probes->n; i++) {
        bool fine;
        json_array_append_new(readiness->models, probe_json(&probes->list[i], &fine));
        any = any || fine;
    }
    readiness->ready = readiness->ready && any;
}

/* {"state": "ok" | "lagging" | "failed" | "off", "lag_ms"}. Without it a server is ready: followers on other machines
 * get what the store has. */
static json_t *mirror_json(const probes_t *probes)
{
    if (!ac_child()->mirror_redis) {
        return json_pack("{s:s}", "state", "off");
    }
    if (!__atomic_load_n(&probes->mirror_seen, __ATOMIC_ACQUIRE)) {
        return json_pack("{s:s}", "state", "failed");
    }
    const char *state = !probes->mirror_up ? "failed" : probes->mirror_lag > LAGGING ? "lagging" : "ok";
    return json_pack("{s:s, s:I}", "state", state, "lag_ms", (json_int_t)apr_time_as_msec(probes->mirror_lag));
}

static void probe_store(readiness_t *readiness, ac_request_t *rq)
{
    ac_store_op_t *op = ac_store_op_create(AC_STORE_PING, "", NULL);
    apr_time_t started = ac_clock();
    ac_err_t err;
    ac_err_init(&err);
    apr_status_t status = op ? ac_store_wait(&ac_child()->conf->store, &op, PROBE_PATIENCE, &err) : APR_ENOMEM;
    apr_interval_time_t took = ac_clock() - started;
    readiness->store = json_pack("{s:s}", "name", ac_child()->conf->store.vt->name);
    ac_json_put(readiness->store, "state", json_string(status == APR_SUCCESS ? "ok" : "failed"));
    ac_json_put(readiness->store, "latency_ms", latency_json(took));
    if (status != APR_SUCCESS) {
        ac_json_put(readiness->store, "detail", failure_json(err.kind ? err.kind : AC_STORE_ERROR, &err));
        ap_log_rerror(APLOG_MARK, APLOG_DEBUG, status, rq->r, "request[%s] the store is not ready: %s", rq->request_id,
                      err.detail);
    }
    if (op && op->out) {
        json_object_update_missing(readiness->store, op->out);
    }
    ac_store_op_free(op);
    readiness->ready = status == APR_SUCCESS;
}

/* {"name", "state", "latency_ms", "detail"?}. Without the storage of files a server is ready: conversations go on. */
static json_t *probe_files(const ac_files_t *files)
{
    apr_time_t started = ac_clock();
    ac_err_t err;
    ac_err_init(&err);
    apr_status_t status = files->vt->check ? files->vt->check(files->self, &err) : APR_SUCCESS;
    json_t *json = json_pack("{s:s}", "name", files->vt->name);
    ac_json_put(json, "state", json_string(status == APR_SUCCESS ? "ok" : "failed"));
    ac_json_put(json, "latency_ms", latency_json(ac_clock() - started));
    if (status != APR_SUCCESS) {
        ac_json_put(json, "detail", ac_json_text(err.detail));
    }
    return json;
}

static void readiness_ref(const readiness_t *readiness)
{
    json_incref(readiness->store);
    json_incref(readiness->models);
    json_incref(readiness->mirror);
    json_incref(readiness->files);
    json_incref(readiness->mcp);
}

static void readiness_unref(const readiness_t *readiness)
{
    json_decref(readiness->store);
    json_decref(readiness->models);
    json_decref(readiness->mirror);
    json_decref(readiness->files);
    json_decref(readiness->mcp);
}

static readiness_t probe_all(ac_request_t *rq)
{
    ac_child_t *child = ac_child();
    readiness_t readiness = {0};
    probes_t *probes = probes_create(&child->conf->registry, rq->r->pool);
    apr_time_t deadline = ac_clock() + PROBE_PATIENCE;
    ac_loop_post(child->loop, start_probes, probes);
    probe_store(&readiness, rq);
    readiness.files = child->conf->files.store.vt ? probe_files(&child->conf->files.store) : NULL;
    ac_latch_wait(probes->latch, deadline);
    read_probes(&readiness, probes);
    if (child->conf->mcp->nelts && __atomic_load_n(&probes->mcp_seen, __ATOMIC_ACQUIRE)) {
        readiness.mcp = json_deep_copy(probes->mcp); /* the loop thread may still hold the other one */
    }
    readiness.mirror = child->shared ? mirror_json(probes) : NULL;
    probes_unref(probes);
    return readiness;
}

/* ---- the answer, shared by all requests of two seconds ---- */

typedef struct answer_t {
    pthread_mutex_t lock;
    pthread_cond_t probed;
    apr_time_t at; /* ac_clock; 0: never */
    bool probing;
    readiness_t readiness;
} answer_t;

/* Two of them: the store alone never waits for a model that does not answer. */
static answer_t of_all = {.lock = PTHREAD_MUTEX_INITIALIZER, .probed = PTHREAD_COND_INITIALIZER};
static answer_t of_store = {.lock = PTHREAD_MUTEX_INITIALIZER, .probed = PTHREAD_COND_INITIALIZER};

static void publish(answer_t *answer, const readiness_t *readiness)
{
    readiness_t old;
    pthread_mutex_lock(&answer->lock);
    old = answer->readiness;
    answer->readiness = *readiness;
    answer->at = ac_clock();
    answer->probing = false;
    pthread_cond_broadcast(&answer->probed);
    pthread_mutex_unlock(&answer->lock);
    readiness_unref(&old);
}

/* The newest result, with new references. One request probes; the others take the result before. Only while there is
 * none at all do they wait for the probe. */
static readiness_t newest_readiness(ac_request_t *rq, answer_t *answer)
{
    readiness_t readiness = {0};
    pthread_mutex_lock(&answer->lock);
    while (answer->probing && !answer->at) {
        pthread_cond_wait(&answer->probed, &answer->lock);
    }
    if (!answer->probing && (!answer->at || ac_clock() - answer->at > FRESH)) {
        answer->probing = true;
        pthread_mutex_unlock(&answer->lock);
        if (answer == &of_all) {
            readiness = probe_all(rq);
        } else {
            probe_store(&readiness, rq);
        }
        publish(answer, &readiness);
        pthread_mutex_lock(&answer->lock);
    }
    readiness = answer->readiness;
    readiness_ref(&readiness);
    pthread_mutex_unlock(&answer->lock);
    return readiness;
}

/* Store, models and load: for operators. */
static void put_details(json_t *answer, const readiness_t *readiness, ac_child_t *child, const char *shared)
{
    apr_uint32_t streams = apr_atomic_read32(&child->n_parked) + apr_atomic_read32(&child->n_blocking);
    ac_json_put(answer, "version", json_string(AC_VERSION));
    ac_json_put(answer, "store", json_incref(readiness->store));
    if (readiness->models) {
        ac_json_put(answer, "models", json_incref(readiness->models));
    }
    if (readiness->files) {
        ac_json_put(answer, "files", json_incref(readiness->files));
    }
    if (readiness->mcp) {
        ac_json_put(answer, "mcp", json_incref(readiness->mcp));
    }
    if (shared) {
        ac_json_put(answer, "shared", json_pack("{s:s, s:s}", "name", ac_limit_redis_vt.name, "state", shared));
    }
    if (readiness->mirror) {
        ac_json_put(answer, "mirror", json_incref(readiness->mirror));
    }
    ac_json_put(answer, "streams", json_integer(streams));
    ac_json_put(answer, "runs", json_integer(ac_engine_active(child->engine)));
}

int ac_api_health_ready(ac_request_t *rq)
{
    ac_child_t *child = ac_child();
    const char *shared = NULL;
    if (!child || apr_atomic_read32(&child->stopping)) {
        rq->doing = NULL;
        ac_err_set(&rq->err, child ? AC_STOPPING : AC_OVERLOADED,
                   child ? "the server is stopping"
                         : "this server process could not start its agents; the error log says why");
        return ac_reply_problem(rq, NULL);
    }
    const char *check = ac_query_get(rq, "check");
    if (check && strcmp(check, "all") != 0 && strcmp(check, "store") != 0) {
        ac_err_set(&rq->err, AC_INVALID_REQUEST, "check must be all or store");
        return ac_reply_problem(rq, NULL);
    }
    readiness_t readiness = newest_readiness(rq, check && strcmp(check, "store") == 0 ? &of_store : &of_all);
    if (child->shared) {
        bool up = ac_limit_redis_is_up(child->shared);
        /* on-error=closed: without Redis this server refuses all requests. */
        readiness.ready = readiness.ready && (up || child->counters.open);
        shared = up ? "ok" : "failed";
    }
    json_t *answer = json_object();
    ac_json_put(answer, "status", json_string(readiness.ready ? "ready" : "not_ready"));
    if (ac_principal_is_admin(rq->r)) {
        put_details(answer, &readiness, child, shared);
    }
    readiness_unref(&readiness);
    return ac_reply_json(rq, readiness.ready ? HTTP_OK : HTTP_SERVICE_UNAVAILABLE, answer);
}
