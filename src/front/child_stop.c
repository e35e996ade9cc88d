/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a child: runs are stored, streams get their last event, and everything that was started ends. */
#include "front_internal.h"

#include "back/credential/credential.h"
#include "front/stream/stream.h"

#include <signal.h>
#include <unistd.h>

#include "apr_atomic.h"

#define STOP_PATIENCE apr_time_from_sec(3) /* for storing runs that are cut off */
#define END_PATIENCE apr_time_from_sec(1)  /* for ending streams */
#define DRAIN_LOOK apr_time_from_msec(50)
#define STOP_LOOK apr_time_from_msec(2)

static volatile sig_atomic_t end_requested; /* end at once, during a graceful end */

/* Ends token requests that are in flight, so that the end does not wait for programs that they started. */
static void end_credentials(ac_child_life_t *self)
{
    const apr_hash_t *models = self->child.conf->registry.models;
    for (apr_hash_index_t *hi = apr_hash_first(self->pool, (apr_hash_t *)models); hi; hi = apr_hash_next(hi)) {
        const ac_model_t *model = apr_hash_this_val(hi);
        if (model->conf->auth) {
            ac_credential_child_exit(model->conf->auth);
        }
    }
    const apr_hash_t *tools = self->child.conf->registry.tools;
    for (apr_hash_index_t *hi = apr_hash_first(self->pool, (apr_hash_t *)tools); hi; hi = apr_hash_next(hi)) {
        const ac_tool_t *tool = apr_hash_this_val(hi);
        if (tool->conf->auth) {
            ac_credential_child_exit(tool->conf->auth);
        }
    }
    ac_telemetry_front_end_credentials(&self->child);
}

static void end_files(ac_child_life_t *self)
{
    const ac_files_t *files = &self->child.conf->files.store;
    if (self->files_run && self->child.thread) {
        files->vt->child_exit(files->self);
    }
}

/* First ends what calls back into the loop, which still runs if it ever ran; the engine and the loop come last. */
void ac_child_stop_end(ac_child_life_t *self)
{
    ac_child_t *child = &self->child;
    apr_status_t ended;
    if (child->thread) {
        end_credentials(self);
    }
    if (self->store_runs && child->conf->store.vt->child_exit) {
        child->conf->store.vt->child_exit(child->conf->store.self);
    }
    end_files(self);
    if (self->files_run && child->files_work) {
        ac_work_stop(child->files_work);
    }
    if (child->work) {
        ac_work_stop(child->work);
    }
    if (child->thread) {
        ac_loop_stop_post(child->loop);
        apr_thread_join(&ended, child->thread);
    }
    if (self->files_run) {
        ac_work_destroy(child->files_work);
    }
    ac_work_destroy(child->work); /* until here the loop may have posted work, and was refused */
    if (child->engine) {
        ac_engine_destroy(child->engine);
    }
    ac_webhook_sender_destroy(child->webhooks);
    ac_telemetry_front_close(child);
    ac_mirror_redis_destroy(child->mirror_redis);
    ac_limits_leave(child);
    ac_event_dir_close(child->event_dir);
    if (child->loop) {
        ac_loop_destroy(child->loop);
    }
    ac_catalog_destroy(child->catalog);
}

static void stop_followers(void *baton)
{
    (void)baton;
    ac_stream_stop_all();
}

/* The threads of an MPM notify its first thread of their end by the same signal. */
static void on_end_signal(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    if (info->si_pid != getpid()) {
        end_requested = 1;
    }
}

/* A child that ends gracefully does not see `stop`: the MPM waits for its threads, and prefork ignores its signals. */
static void listen_for_end(const ac_child_t *child)
{
    struct sigaction action = {.sa_sigaction = on_end_signal, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    if (!child->threaded) {
        sigaction(SIGHUP, &action, NULL);
    }
}

/* Streams may follow runs that this child does not run, such as a suspended run, and hold its threads. */
static void check_drain(void *baton)
{
    ac_child_life_t *self = baton;
    apr_time_t now = ac_loop_now(self->child.loop);
    if (end_requested || now >= self->drained) {
        ac_engine_stop(self->child.engine, stop_followers, NULL);
    } else {
        ac_timer_set(self->child.loop, &self->drain_timer, now + DRAIN_LOOK, check_drain, self);
    }
}

typedef struct
    wait_t { /* a task that the loop does for a waiter; the loop's reference to the latch outlives the waiter */
    ac_child_life_t *life;
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
    ac_child_purge_cancel(wait->life);
    ac_erasure_cancel(wait->life);
    ac_timer_cancel(wait->life->child.loop, &wait->life->drain_timer);
    ac_trim_unwatch(&wait->life->trim);
    ac_metrics_front_unwatch(&wait->life->child);
    ac_catalog_unwatch(wait->life->child.catalog);
    ac_engine_stop(wait->life->child.engine, open_latch, wait->latch);
    free(wait);
}

static void stop_streams(void *baton)
{
    wait_t *wait = baton;
    ac_stream_stop_all();
    ac_mcp_front_stop(&wait->life->child);
    ac_openapi_front_stop(&wait->life->child);
    if (wait->life->child.webhooks) {
        ac_webhook_sender_stop(wait->life->child.webhooks);
    }
    open_latch(wait->latch);
    free(wait);
}

static bool do_on_loop(ac_child_life_t *self, ac_task_fn *fn, apr_interval_time_t patience)
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

/* Prefork reports each end as ungraceful. It is ungraceful inside a signal handler, where the signal is blocked. */
static bool is_graceful(const ac_child_t *child, bool graceful)
{
    sigset_t blocked;
    if (child->threaded) {
        return graceful;
    }
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    return !sigismember(&blocked, SIGTERM) && !sigismember(&blocked, SIGHUP);
}

/* A run continues without its client, so it continues in a child without clients. Streams may remain as well: at
 * MaxConnectionsPerChild httpd's threads end without them if the last counted connection is new. */
static void wait_for_runs(ac_child_life_t *self)
{
    const ac_child_t *child = &self->child;
    if (!self->graceful || !do_on_loop(self, leave_streams, END_PATIENCE)) {
        return;
    }
    while ((ac_engine_active(child->engine) > 0 || apr_atomic_read32((volatile apr_uint32_t *)&child->n_parked) > 0) &&
           ac_clock() < self->drained && !end_requested) {
        apr_sleep(DRAIN_LOOK);
    }
}

/* Ends all runs and streams: runs are stored, and streams get their last event. */
static void stop_all(ac_child_life_t *self)
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

/* The MPM now waits for its threads without a limit, and they wait for slow clients. */
static void end_blocking(const ac_child_t *child)
{
    apr_time_t late = ac_clock() + END_PATIENCE;
    while (apr_atomic_read32((volatile apr_uint32_t *)&child->n_blocking) > 0 && ac_clock() < late) {
        apr_sleep(STOP_LOOK);
    }
    ac_stream_shutdown_all(AC_SHUTDOWN_TIMED_OUT);
}

void ac_child_stop(apr_pool_t *pchild, int graceful)
{
    ac_child_life_t *life = ac_child_life();
    (void)pchild;
    if (!life) {
        return;
    }
    ac_child_t *child = &life->child;
    apr_atomic_set32(&child->stopping, 1);
    life->graceful = is_graceful(child, graceful);
    life->drained = ac_clock() + (life->graceful ? child->conf->drain : 0);
    if (life->graceful) {
        ac_telemetry_front_leave(child);
        listen_for_end(child);
        ac_loop_post(child->loop, check_drain, life);
    } else if (child->threaded) {
        ac_stream_shutdown_all(AC_SHUTDOWN_SOCKETS_CLOSED);
        end_files(life); /* requests may wait for their storage */
        stop_all(life);
        if (!life->stuck) {
            end_blocking(child);
        }
    }
    /* Inside a signal handler, the interrupted code may hold a lock; child_exit() comes next. */
}

/* Before the pool of the child goes, and with it the connections. */
apr_status_t ac_child_stop_at_exit(void *baton)
{
    ac_child_life_t *self = baton;
    apr_atomic_set32(&self->child.stopping, 1);
    wait_for_runs(self);
    ac_paced_stop_all();
    stop_all(self);
    /* The join of a stuck loop's thread would wait forever. */
    if (!self->stuck) {
        ac_telemetry_front_stop(&self->child);
        ac_child_stop_end(self);
        ac_child_set(NULL);
    }
    return APR_SUCCESS;
}
