/* SPDX-License-Identifier: Apache-2.0 */
/* What lives in each child: made after the fork, ended before the child's pool goes. The loop thread, the work threads, the
 * store, the models, the tools and the engine, in an order in which none of them outlives what it uses. */
#include "front/stream/stream.h"

#include "back/credential/credential.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "ap_mpm.h"
#include "apr_atomic.h"
#include "apr_strings.h"

#define STOP_PATIENCE apr_time_from_sec(3) /* for storing runs that are cut off */
#define END_PATIENCE apr_time_from_sec(1)  /* for ending streams */
#define DRAIN_LOOK apr_time_from_msec(50)
#define STOP_LOOK apr_time_from_msec(2)
#define WORK_QUEUE 4096 /* jobs that may wait for a work thread */
#define PURGE_EVERY apr_time_from_sec(3600)
#define PURGE_FIRST apr_time_from_sec(60)
#define PURGE_PATIENCE apr_time_from_sec(300)

typedef struct life_t { /* a child, and what only this file needs of it */
    ac_child_t child;   /* first */
    apr_pool_t *pool;
    bool store_runs;
    bool graceful;       /* how it was told to stop */
    bool stopped, stuck; /* stop_all() was called; the loop did not even get to it */
    apr_time_t drained;  /* ac_clock; when runs have to end; 0: not stopping */
    ac_timer_t purge_timer, drain_timer;
    ac_trim_t trim;
} life_t;

static life_t *life;                      /* of this process, once everything has started */
static volatile sig_atomic_t told_to_end; /* at once, while it ended gracefully */

ac_child_t *ac_child(void)
{
    return life ? &life->child : NULL;
}

/* ---- purge: threads that were deleted long ago ---- */
static void purge(void *baton);

static void set_purge(life_t *self, apr_interval_time_t at_least)
{
    /* The children of a server start together; they need not all ask the store at once. */
    apr_interval_time_t jitter = (apr_interval_time_t)(ac_random() % (uint64_t)(PURGE_EVERY / 4));
    ac_timer_set(self->child.loop, &self->purge_timer, ac_loop_now(self->child.loop) + at_least + jitter, purge, self);
}

static void child_purged(ac_store_op_t *op)
{
    life_t *self = op->baton;
    int64_t n = ac_json_peek_int(op->out, "purged", 0);
    if (op->status != APR_SUCCESS) {
        ac_log(AC_M604, op->status, "store[%s]: deleted threads were not purged: %s", self->child.conf->store.vt->name,
               op->err.detail);
    } else if (n > 0) {
        ac_log(AC_M605, APR_SUCCESS, "store[%s]: %" APR_INT64_T_FMT " deleted threads purged",
               self->child.conf->store.vt->name, n);
    }
    ac_store_op_free(op);
    set_purge(self, PURGE_EVERY);
}

static void purge(void *baton)
{
    life_t *self = baton;
    const ac_conf_t *conf = self->child.conf;
    char before[AC_TIME_SIZE], keys_before[AC_TIME_SIZE];
    ac_store_op_t *op = ac_store_op_create(AC_STORE_PURGE, "", "");
    ac_time_format(before, conf->purge_after > 0 ? apr_time_now() - conf->purge_after : 1);
    ac_time_format(keys_before, apr_time_now() - AC_KEY_LIFE);
    op->in = json_pack("{s:s, s:s}", "before", before, "keys_before", keys_before);
    op->deadline = ac_loop_now(self->child.loop) + PURGE_PATIENCE;
    ac_store_call_post(&conf->store, self->child.loop, op, child_purged, self);
}

static void start_purging(void *baton)
{
    life_t *self = baton;
    set_purge(self, PURGE_FIRST);
    ac_trim_watch(&self->trim, self->child.loop, self->child.work);
    ac_engine_watch(self->child.engine);
    ac_run_approval_watch(self->child.engine, self->child.conf->agents_refresh > 0 ? self->child.catalog : NULL);
    if (self->child.conf->agents_refresh > 0) {
        ac_catalog_watch(self->child.catalog, self->child.loop, &self->child.conf->store,
                         self->child.conf->agents_refresh);
    }
}

/* ---- start ---- */
static void *APR_THREAD_FUNC loop_main(apr_thread_t *thread, void *baton)
{
    (void)thread;
    ac_loop_run(baton);
    return NULL;
}

/* Signals are httpd's business: no thread of ours takes one. */
static apr_status_t child_start_thread(life_t *self)
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

/* Before the engine is there no run is. */
static void run_notify(const char *run_id, ac_kind_e what)
{
    if (life && life->child.engine) {
        ac_run_cancel(life->child.engine, run_id, what);
    }
}

static void fill_host(ac_child_t *child)
{
    child->host = (ac_host_t){
        .version = 1,
        .loop = child->loop,
        .work = child->work,
        .loop_post = ac_loop_post,
        .work_post = ac_work_post,
        .store_done = ac_store_done,
        .err_set = child_set_error,
        .run_notify = run_notify,
    };
}

/* Providers keep what they need; a part that fails is named in *ppart. */
static apr_status_t start_providers(life_t *self, const char **ppart, ac_err_t *err)
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
    return status;
}

/* A store whose storage is out of reach has started all the same, and tries again with each operation: what was mended needs
 * no restart. */
static apr_status_t start_store(life_t *self, ac_err_t *err)
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

static apr_status_t start_all(life_t *self, const char **ppart, ac_err_t *err)
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
    child->catalog = ac_catalog_create(&conf->registry, conf->agent_pattern);
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
    ac_event_logs_open(child);
    *ppart = "limits";
    status = ac_limits_open(child, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    ac_caching_open(child);
    *ppart = "loop thread";
    return child_start_thread(self);
}

/* Fetches that are under way end now: a program that was started for one need not be waited for. */
static void end_credentials(life_t *self)
{
    const apr_hash_t *models = self->child.conf->registry.models;
    for (apr_hash_index_t *hi = apr_hash_first(self->pool, (apr_hash_t *)models); hi; hi = apr_hash_next(hi)) {
        const ac_model_t *model = apr_hash_this_val(hi);
        if (model->conf->auth) {
            ac_credential_child_exit(model->conf->auth);
        }
    }
}

/* Those first that call back into the loop, which still runs where it ran at all; the engine and the loop last. */
static void end_all(life_t *self)
{
    ac_child_t *child = &self->child;
    apr_status_t ended;
    if (child->thread) {
        end_credentials(self);
    }
    if (self->store_runs && child->conf->store.vt->child_exit) {
        child->conf->store.vt->child_exit(child->conf->store.self);
    }
    if (child->work) {
        ac_work_stop(child->work);
    }
    if (child->thread) {
        ac_loop_stop_post(child->loop);
        apr_thread_join(&ended, child->thread);
    }
    ac_work_destroy(child->work); /* until here the loop may have asked for work, and was refused */
    if (child->engine) {
        ac_engine_destroy(child->engine);
    }
    ac_limits_leave(child);
    ac_event_dir_close(child->event_dir);
    if (child->loop) {
        ac_loop_destroy(child->loop);
    }
    ac_catalog_destroy(child->catalog);
}

static void say_ready(const ac_child_t *child)
{
    const ac_registry_t *registry = &child->conf->registry;
    ac_log(AC_M601, APR_SUCCESS,
           "child[%d]: ready: store %s, %u models, %u tools, %d agents, %d work threads; at most %d "
           "runs, %s",
           (int)getpid(), child->conf->store.vt->name, apr_hash_count((apr_hash_t *)registry->models),
           apr_hash_count((apr_hash_t *)registry->tools), registry->agent_list->nelts, child->conf->work_threads,
           child->conf->engine.max_runs,
           child->can_park ? apr_psprintf(life->pool, "%d parked streams", child->conf->max_streams)
                           : apr_psprintf(life->pool, "%d streams, each in a thread of the server",
                                          child->conf->max_blocking_streams));
}

/* ---- stop ---- */
static void stop_followers(void *baton)
{
    (void)baton;
    ac_stream_stop_all();
}

/* The threads of an MPM tell its first one that they end, by the same signal. */
static void end_told(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    if (info->si_pid != getpid()) {
        told_to_end = 1;
    }
}

void ac_child_end_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
}

/* Once a child ends gracefully, `stop` is lost on it: the MPM waits for its threads, and prefork ignores its signals. */
static void listen_for_end(const ac_child_t *child)
{
    struct sigaction action = {.sa_sigaction = end_told, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    if (!child->threaded) {
        sigaction(SIGHUP, &action, NULL);
    }
}

/* Some follow what this child has no part in, such as a run that waits for its owner's word; its threads may be with them. */
static void look_at_drain(void *baton)
{
    life_t *self = baton;
    apr_time_t now = ac_loop_now(self->child.loop);
    if (told_to_end || now >= self->drained) {
        ac_engine_stop(self->child.engine, stop_followers, NULL);
    } else {
        ac_timer_set(self->child.loop, &self->drain_timer, now + DRAIN_LOOK, look_at_drain, self);
    }
}

typedef struct wait_t { /* for the loop to do something; the loop's latch outlives the waiter */
    life_t *life;
    ac_latch_t *latch;
} wait_t;

static void open_latch(void *baton)
{
    ac_latch_open(baton);
    ac_latch_unref(baton);
}

static void stop_engine(void *baton)
{
    wait_t *wait = baton;
    ac_timer_cancel(wait->life->child.loop, &wait->life->purge_timer);
    ac_timer_cancel(wait->life->child.loop, &wait->life->drain_timer);
    ac_trim_unwatch(&wait->life->trim);
    ac_catalog_unwatch(wait->life->child.catalog);
    ac_engine_stop(wait->life->child.engine, open_latch, wait->latch);
    free(wait);
}

static void stop_streams(void *baton)
{
    wait_t *wait = baton;
    ac_stream_stop_all();
    open_latch(wait->latch);
    free(wait);
}

static bool do_on_loop(life_t *self, ac_task_fn *fn, apr_interval_time_t patience)
{
    wait_t *wait = ac_alloc(sizeof *wait);
    ac_latch_t *latch = ac_latch_create();
    wait->life = self;
    wait->latch = latch;
    ac_latch_ref(latch);
    ac_loop_post(self->child.loop, fn, wait);
    bool done = ac_latch_wait(latch, ac_clock() + patience);
    ac_latch_unref(latch);
    return done;
}

static void leave_streams(void *baton)
{
    wait_t *wait = baton;
    ac_stream_shutdown_all(AC_SHUTDOWN_THREADS_ENDED);
    open_latch(wait->latch);
    free(wait);
}

/* Prefork calls each end an ungraceful one. It is one inside a signal's handler, where the signal is blocked. */
static bool is_graceful(const ac_child_t *child, bool told)
{
    sigset_t blocked;
    if (child->threaded) {
        return told;
    }
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    return !sigismember(&blocked, SIGTERM) && !sigismember(&blocked, SIGHUP);
}

/* A client that went away does not stop its run, so neither does a child that has no more clients. Streams are there as well: httpd's
 * threads end at MaxConnectionsPerChild without them, if the connection that it has counted last has just come. */
static void wait_for_runs(life_t *self)
{
    const ac_child_t *child = &self->child;
    if (!self->graceful || !do_on_loop(self, leave_streams, END_PATIENCE)) {
        return;
    }
    while ((ac_engine_active(child->engine) > 0 || apr_atomic_read32((volatile apr_uint32_t *)&child->n_parked) > 0) &&
           ac_clock() < self->drained && !told_to_end) {
        apr_sleep(DRAIN_LOOK);
    }
}

/* Ends what is under way: what runs have said is stored, and streams get their last event. */
static void stop_all(life_t *self)
{
    if (self->stopped) {
        return;
    }
    self->stopped = true;
    bool stored = do_on_loop(self, stop_engine, STOP_PATIENCE);
    int n = ac_engine_active(self->child.engine);
    if (!stored) {
        ac_log(AC_M603, APR_TIMEUP, "child[%d]: %d runs were not stored within %d s", (int)getpid(), n,
               (int)apr_time_sec(STOP_PATIENCE));
    }
    self->stuck = !do_on_loop(self, stop_streams, END_PATIENCE);
}

/* The MPM waits for its threads now, without end, and these for clients that read slowly. */
static void end_blocking(const ac_child_t *child)
{
    apr_time_t late = ac_clock() + END_PATIENCE;
    while (apr_atomic_read32((volatile apr_uint32_t *)&child->n_blocking) > 0 && ac_clock() < late) {
        apr_sleep(STOP_LOOK);
    }
    ac_stream_shutdown_all(AC_SHUTDOWN_TIMED_OUT);
}

void ac_child_stopping(apr_pool_t *pchild, int graceful)
{
    (void)pchild;
    if (!life) {
        return;
    }
    ac_child_t *child = &life->child;
    apr_atomic_set32(&child->stopping, 1);
    life->graceful = is_graceful(child, graceful);
    life->drained = ac_clock() + (life->graceful ? child->conf->drain : 0);
    if (life->graceful) {
        listen_for_end(child);
        ac_loop_post(child->loop, look_at_drain, life);
    } else if (child->threaded) {
        ac_stream_shutdown_all(AC_SHUTDOWN_SOCKETS_CLOSED);
        stop_all(life);
        if (!life->stuck) {
            end_blocking(child);
        }
    }
    /* Inside a signal's handler what was interrupted may hold a lock, and child_exit() comes next. */
}

/* Before the pool of the child goes, and with it the connections. */
static apr_status_t child_exit(void *baton)
{
    life_t *self = baton;
    apr_atomic_set32(&self->child.stopping, 1);
    wait_for_runs(self);
    stop_all(self);
    /* A loop that is stuck has a thread that would be waited for for ever. */
    if (!self->stuck) {
        end_all(self);
        life = NULL;
    }
    return APR_SUCCESS;
}

/* ---- the hook ---- */
void ac_child_init(apr_pool_t *pchild, server_rec *s)
{
    const ac_conf_t *conf = ac_conf();
    const char *part = NULL;
    ac_err_t err;
    if (!conf || !conf->active) {
        return;
    }
    ac_err_init(&err);
    json_object_seed(0);
    life_t *self = apr_pcalloc(pchild, sizeof *self);
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
        end_all(self);
        return;
    }
    life = self;
    ac_loop_post(self->child.loop, start_purging, self);
    apr_pool_pre_cleanup_register(pchild, self, child_exit);
    say_ready(&self->child);
}
