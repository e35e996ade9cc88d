/* SPDX-License-Identifier: Apache-2.0 */
/* The slots of a child: admits its runs, now or from the queue, and reports the end of the last one. */
#include "run_internal.h"

#include <apr_atomic.h>

static void reject(ac_run_t *run, const char *why)
{
    ac_err_set(&run->err, AC_OVERLOADED, "%s (%d in this server process)", why, run->engine->conf.max_runs);
    run->err.retry_after = apr_time_from_sec(1);
}

/* false: the run is queued, or run->err is set: overloaded. */
static bool acquire_slot(ac_engine_t *engine, ac_run_t *run)
{
    ac_run_queue_t *queue = &engine->queue;
    bool has_room = ac_run_queue_has_room(queue, &run->slot);
    if (queue->n_slots < engine->conf.max_runs && has_room) {
        ac_run_queue_acquire(queue, &run->slot);
        return true;
    }
    if (queue->n_queued >= engine->conf.max_queued) {
        ac_queue_entry_t *entry = ac_run_queue_displaced(queue, &run->slot);
        ac_run_t *other = entry ? entry->baton : NULL;
        reject(other ? other : run,
               has_room ? "all slots for runs are in use, and the queue is full"
                        : "its owner has the maximum number of runs, and the queue is full");
        if (!other) {
            return false;
        }
        ac_run_queue_leave(queue, entry);
        ac_loop_ready_set(engine->loop, &other->ready, ac_run_begin, other);
    }
    ac_run_queue_push(queue, &run->slot);
    ac_run_metrics_queue(engine);
    return false;
}

static void serve_queue(ac_engine_t *engine)
{
    ac_queue_entry_t *next;
    while (engine->queue.n_slots < engine->conf.max_runs && (next = ac_run_queue_next(&engine->queue))) {
        ac_run_t *run = next->baton;
        ac_run_queue_acquire(&engine->queue, next);
        ac_loop_ready_set(engine->loop, &run->ready, ac_run_begin, run);
    }
    ac_run_metrics_queue(engine);
}

void ac_run_slot_acquire(ac_run_t *run)
{
    apr_atomic_inc32(&run->engine->n_active);
    ac_metrics_gauge_add(AC_METRIC_RUNS_ACTIVE, AC_LABELS(run->turn->protocol), 1);
    ac_run_queue_acquire(&run->engine->queue, &run->slot);
}

static void report_stopped(void *baton)
{
    ac_engine_stop_t *stop = &((ac_engine_t *)baton)->stop;
    void (*done)(void *) = stop->done;
    stop->done = NULL;
    if (done) {
        done(stop->baton);
    }
}

void ac_run_slot_report_stop(ac_engine_t *engine)
{
    if (engine->stop.stopping && apr_hash_count(engine->runs) == 0 && engine->after_runs.n == 0) {
        ac_loop_ready_set(engine->loop, &engine->stop.ready, report_stopped, engine);
    }
}

void ac_run_slot_yield(ac_run_t *run)
{
    ac_run_queue_leave(&run->engine->queue, &run->slot);
    serve_queue(run->engine);
}

void ac_run_slot_take(ac_run_t *run)
{
    ac_run_queue_acquire(&run->engine->queue, &run->slot);
    ac_loop_ready_set(run->engine->loop, &run->ready, ac_run_begin, run);
}

void ac_run_slot_release(ac_run_t *run)
{
    ac_engine_t *engine = run->engine;
    engine->n_waiting -= run->busy.counted;
    ac_run_limit_uncount(run);
    ac_run_queue_leave(&engine->queue, &run->slot);
    /* A queued turn that another process has begun may be here once more, as another run with the same id. */
    if (apr_hash_get(engine->runs, run->turn->run_id, APR_HASH_KEY_STRING) == run) {
        apr_hash_set(engine->runs, run->turn->run_id, APR_HASH_KEY_STRING, NULL);
    }
    apr_atomic_dec32(&engine->n_active);
    ac_metrics_gauge_add(AC_METRIC_RUNS_ACTIVE, AC_LABELS(run->turn->protocol), -1);
    serve_queue(engine);
    ac_run_slot_report_stop(engine);
}

/* A queued run waits for ac_run_begin(). Any other run begins now, also a rejected one, which then fails. */
void ac_run_slot_admit(ac_run_t *run)
{
    if (run->err.kind || run->limits.refused || acquire_slot(run->engine, run) || run->err.kind) {
        ac_loop_ready_set(run->engine->loop, &run->ready, ac_run_begin, run);
    }
}

void ac_run_slot_request(ac_run_t *run)
{
    ac_engine_t *engine = run->engine;
    apr_hash_set(engine->runs, run->turn->run_id, APR_HASH_KEY_STRING, run);
    apr_atomic_inc32(&engine->n_active);
    ac_metrics_gauge_add(AC_METRIC_RUNS_ACTIVE, AC_LABELS(run->turn->protocol), 1);
    ac_metrics_add(AC_METRIC_RUNS_STARTED, AC_LABELS(run->turn->protocol), 1);
    if (engine->stop.stopping) {
        ac_err_set(&run->err, AC_STOPPING, "the server is stopping");
        run->err.retry_after = apr_time_from_sec(2);
        ac_run_slot_admit(run);
    } else {
        ac_run_limit_count(run);
    }
}
