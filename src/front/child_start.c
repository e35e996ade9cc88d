/* SPDX-License-Identifier: Apache-2.0 */
/* The start of a child, after the fork: the loop thread, the work threads, the store, the models, the tools and the
 * engine, in an order in which none of them outlives what it uses. */
#include "front_internal.h"

#include "back/credential/credential.h"
#include "front/stream/stream.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "ap_mpm.h"

#if !AP_MODULE_MAGIC_AT_LEAST(20120211, 122) /* before httpd 2.4.53 */
#define ap_thread_create apr_thread_create
#endif

#define WORK_QUEUE 4096 /* jobs that may wait for a work thread */

static void *APR_THREAD_FUNC loop_main(apr_thread_t *thread, void *baton)
{
    (void)thread;
    ac_loop_run(baton);
    return NULL;
}

/* httpd handles signals: all are blocked in our threads. */
static apr_status_t child_start_thread(ac_child_life_t *self)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    apr_status_t status = ap_thread_create(&self->child.thread, NULL, loop_main, self->child.loop, self->pool);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return status;
}

static bool mpm_is_threaded(void)
{
    int threaded = 0;
    return ap_mpm_query(AP_MPMQ_IS_THREADED, &threaded) == APR_SUCCESS && threaded;
}

static void child_set_error(ac_err_t *err, ac_kind_e kind, const char *fmt, ...)
{
    char detail[AC_ERR_DETAIL_SIZE];
    va_list args;
    va_start(args, fmt);
    vsnprintf(detail, sizeof(detail), fmt, args);
    va_end(args);
    ac_err_set(err, kind, "%s", detail);
}

/* There are no runs before the engine exists. */
static void run_notify(const char *run_id, ac_kind_e what)
{
    if (ac_child()) {
        ac_run_cancel(ac_child()->engine, run_id, what);
    }
}

static void child_credential_get(ac_credential_t *credential, const char *scope, ac_credential_fn *fn, void *baton)
{
    ac_credential_get(credential, ac_credential_scope(credential, scope), fn, baton);
}

static void child_credential_reject(ac_credential_t *credential, const char *scope, const char *text)
{
    ac_credential_reject(credential, ac_credential_scope(credential, scope), text);
}

static void fill_host(ac_child_t *child)
{
    child->host = (ac_host_t){
        .version = 4,
        .loop = child->loop,
        .work = child->work,
        .loop_post = ac_loop_post,
        .work_post = ac_work_post,
        .store_done = ac_store_done,
        .err_set = child_set_error,
        .run_notify = run_notify,
        .credential_get = child_credential_get,
        .credential_forget = ac_credential_forget,
        .credential_reject = child_credential_reject,
        .trace = ac_trace_here,
        .trace_text = ac_trace_format,
        .tool_progress = ac_run_call_progress,
    };
}

/* Starts the models and the tools; *ppart names the one that failed. */
static apr_status_t start_providers(ac_child_life_t *self, const char **ppart, ac_err_t *err)
{
    ac_child_t *child = &self->child;
    const ac_conf_t *conf = child->conf;
    apr_status_t status = APR_SUCCESS;
    for (apr_hash_index_t *hi = apr_hash_first(self->pool, (apr_hash_t *)conf->registry.models);
         hi && status == APR_SUCCESS; hi = apr_hash_next(hi)) {
        const ac_model_t *model = apr_hash_this_val(hi);
        *ppart = apr_pstrcat(self->pool, "model ", model->id, NULL);
        if (model->conf->auth) {
            status = ac_credential_child_init(model->conf->auth, &child->host, err);
        }
        if (status == APR_SUCCESS && model->vt->child_init) {
            status = model->vt->child_init(model->self, &child->host, err);
        }
    }
    for (apr_hash_index_t *hi = apr_hash_first(self->pool, (apr_hash_t *)conf->registry.tools);
         hi && status == APR_SUCCESS; hi = apr_hash_next(hi)) {
        const ac_tool_t *tool = apr_hash_this_val(hi);
        *ppart = apr_pstrcat(self->pool, "tool ", tool->id, NULL);
        if (tool->vt->child_init) {
            status = tool->vt->child_init(tool->self, &child->host, err);
        }
    }
    if (status == APR_SUCCESS) {
        status = ac_openapi_front_start(child, self->pool, ppart, err);
    }
    return status == APR_SUCCESS ? ac_mcp_front_start(child, self->pool, ppart, err) : status;
}

/* A store starts even if its storage is out of reach, and each operation tries again. So the storage can be repaired
 * without a restart. */
static apr_status_t start_store(ac_child_life_t *self, ac_err_t *err)
{
    const ac_store_t *store = &self->child.conf->store;
    self->store_runs = true;
    apr_status_t status = store->vt->child_init(store->self, &self->child.host, err);
    if (status != APR_SUCCESS &&
        (err->kind == AC_STORE_ERROR || err->kind == AC_STORE_TIMEOUT || err->kind == AC_OVERLOADED)) {
        ac_log(AC_M606, err->status, "child[%d]: store %s: %s; each request tries again", (int)getpid(),
               store->vt->name, err->detail);
        ac_err_init(err);
        status = APR_SUCCESS;
    }
    return status;
}

/* A storage that does not answer must not keep other work waiting. */
static apr_status_t start_files(ac_child_life_t *self, ac_err_t *err)
{
    ac_child_t *child = &self->child;
    const ac_files_t *files = &child->conf->files.store;
    apr_status_t status = APR_SUCCESS;
    if (!files->vt || !files->vt->child_init) {
        child->files_work = child->work;
    } else {
        self->files_run = true;
        status = ac_work_create(&child->files_work, child->loop, child->conf->work_threads, WORK_QUEUE, err);
        if (status == APR_SUCCESS) {
            status = files->vt->child_init(files->self, &child->host, err);
        }
    }
    if (status == APR_SUCCESS) {
        ac_engine_use_files(child->engine, files->vt ? files : NULL, child->files_work);
    }
    return status;
}

static apr_status_t start_all(ac_child_life_t *self, const char **ppart, ac_err_t *err)
{
    ac_child_t *child = &self->child;
    const ac_conf_t *conf = child->conf;
    *ppart = "loop";
    apr_status_t status = ac_loop_create(&child->loop, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    *ppart = "work threads";
    status = ac_work_create(&child->work, child->loop, conf->work_threads, WORK_QUEUE, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    fill_host(child);
    child->catalog = ac_catalog_create(&conf->registry, conf->agent_defaults);
    *ppart = "store";
    status = start_store(self, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    status = start_providers(self, ppart, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    *ppart = "engine";
    status = ac_engine_create(&child->engine, child->loop, child->work, &conf->store, &conf->registry, &conf->engine);
    if (status != APR_SUCCESS) {
        return status;
    }
    *ppart = "storage of files";
    status = start_files(self, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    if (conf->webhooks->nelts > 0) {
        child->webhooks =
            ac_webhook_sender_create(child->loop, &conf->store, conf->webhooks, conf->engine.store_timeout);
        ac_engine_use_webhooks(child->engine, child->webhooks, ac_webhook_sender_notify);
    }
    ac_event_logs_open(child);
    *ppart = "limits";
    status = ac_limits_open(child, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    ac_caching_open(child);
    *ppart = "mirror";
    status = ac_mirroring_open(child, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    *ppart = "telemetry";
    status = ac_telemetry_front_open(child, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    *ppart = "loop thread";
    return child_start_thread(self);
}

static void log_ready(const ac_child_life_t *self)
{
    const ac_child_t *child = &self->child;
    const ac_registry_t *registry = &child->conf->registry;
    ac_log(AC_M601, APR_SUCCESS,
           "child[%d]: ready: store %s, %u models, %u tools, %d agents, %d work threads; at most %d "
           "runs, %s",
           (int)getpid(), child->conf->store.vt->name, apr_hash_count((apr_hash_t *)registry->models),
           apr_hash_count((apr_hash_t *)registry->tools), registry->agent_list->nelts, child->conf->work_threads,
           child->conf->engine.max_runs,
           child->can_park ? apr_psprintf(self->pool, "%d streams, without a thread", child->conf->max_streams)
                           : apr_psprintf(self->pool, "%d streams, each in a thread of the server",
                                          child->conf->max_blocking_streams));
}

/* ---- the hook ---- */
static void start_timers(void *baton)
{
    ac_child_life_t *self = baton;
    ac_child_purge_start(self);
    ac_erasure_start(self);
    ac_trim_watch(&self->trim, self->child.loop, self->child.work);
    ac_metrics_front_watch(&self->child);
    ac_telemetry_front_start(&self->child);
    ac_engine_watch(self->child.engine);
    ac_run_approval_watch(self->child.engine, self->child.conf->agents_refresh > 0 ? self->child.catalog : NULL);
    ac_run_queued_watch(self->child.engine);
    if (self->child.webhooks) {
        ac_webhook_sender_start(self->child.webhooks);
    }
    if (self->child.conf->agents_refresh > 0) {
        ac_catalog_watch(self->child.catalog, self->child.loop, &self->child.conf->store,
                         self->child.conf->agents_refresh);
    }
}

void ac_child_start(apr_pool_t *pchild, server_rec *s)
{
    const ac_conf_t *conf = ac_conf();
    const char *part = NULL;
    ac_err_t err;
    ac_metrics_front_join();
    if (!conf || !conf->active) {
        return;
    }
    ac_err_init(&err);
    json_object_seed(0);
    ac_child_life_t *self = apr_pcalloc(pchild, sizeof *self);
    self->pool = pchild;
    self->child.conf = conf;
    self->child.server = s;
    self->child.threaded = mpm_is_threaded();
    self->child.can_park = ac_park_wait_possible();
    self->child.started = apr_time_now();
    apr_status_t status = start_all(self, &part, &err);
    if (status != APR_SUCCESS) {
        ac_log(AC_M602, err.detail[0] ? err.status : status,
               "child[%d]: the %s did not start: %s; until httpd is restarted "
               "requests are answered 503",
               (int)getpid(), part, err.detail[0] ? err.detail : "see the cause");
        ac_child_stop_end(self);
        return;
    }
    ac_child_set(self);
    ac_loop_post(self->child.loop, start_timers, self);
    apr_pool_pre_cleanup_register(pchild, self, ac_child_stop_at_exit);
    log_ready(self);
}
