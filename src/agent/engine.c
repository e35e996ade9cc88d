/* SPDX-License-Identifier: Apache-2.0 */
/* All runs of a child: who may run now, who waits in line, who is found by its id, and the end
 * of them all when the child stops. */
#include "agent/run/run.h"

#include <apr_atomic.h>
#include <stdlib.h>
#include <string.h>

apr_status_t ac_engine_create(ac_engine_t **pengine, ac_loop_t *loop, ac_work_t *work, const ac_store_t *store,
                              const ac_registry_t *registry, const ac_engine_conf_t *conf)
{
    ac_engine_t *engine = ac_alloc(sizeof *engine);
    apr_status_t status = apr_pool_create_unmanaged_ex(&engine->pool, NULL, NULL);
    *pengine = NULL;
    if (status != APR_SUCCESS) {
        free(engine);
        return status;
    }
    engine->loop = loop;
    engine->work = work;
    engine->store = store;
    engine->registry = registry;
    engine->conf = *conf;
    engine->runs = apr_hash_make(engine->pool);
    engine->gates = apr_hash_make(engine->pool);
    engine->tails = apr_hash_make(engine->pool);
    ac_run_queue_init(&engine->queue, engine->pool);
    engine->queue.most = conf->max_runs - conf->max_runs / 4;
    *pengine = engine;
    return APR_SUCCESS;
}

void ac_engine_destroy(ac_engine_t *engine)
{
    if (!engine) {
        return;
    }
    ac_engine_unwatch(engine);
    ac_recover_drop_all(engine);
    apr_pool_destroy(engine->pool);
    free(engine);
}

void ac_engine_use_counters(ac_engine_t *engine, ac_counters_t *counters)
{
    engine->counters = counters;
}

int ac_engine_active(const ac_engine_t *engine)
{
    return (int)apr_atomic_read32((volatile apr_uint32_t *)&engine->n_active);
}

static void engine_turn_away(ac_run_t *run, const char *why)
{
    ac_err_set(&run->err, AC_OVERLOADED, "%s (%d in this server process)", why, run->engine->conf.max_runs);
    run->err.retry_after = apr_time_from_sec(1);
}

/* false: it stands in line now, or its err is set: overloaded. */
static bool engine_take_slot(ac_engine_t *engine, ac_run_t *run)
{
    ac_run_queue_t *queue = &engine->queue;
    bool has_room = ac_run_queue_has_room(queue, run);
    if (queue->n_slots < engine->conf.max_runs && has_room) {
        ac_run_queue_acquire(queue, &run->place, run);
        return true;
    }
    if (queue->n_waiting >= engine->conf.max_queued) {
        ac_run_t *other = ac_run_queue_displaced(queue, run);
        ac_run_t *away = other ? other : run;
        engine_turn_away(away,
                         has_room ? "all runs that there may be are taken, and as many wait as may"
                                  : "its owner has as many runs as one owner may have, and as many wait as may");
        if (!other) {
            return false;
        }
        ac_run_queue_leave(queue, &other->place);
        ac_ready_set(engine->loop, &other->ready, ac_run_begin, other);
    }
    ac_run_queue_push(queue, &run->place, run);
    return false;
}

static void engine_serve_line(ac_engine_t *engine)
{
    ac_run_t *next;
    while (engine->queue.n_slots < engine->conf.max_runs && (next = ac_run_queue_next(&engine->queue))) {
        ac_run_queue_acquire(&engine->queue, &next->place, next);
        ac_ready_set(engine->loop, &next->ready, ac_run_begin, next);
    }
}

void ac_run_slot_acquire(ac_run_t *run)
{
    apr_atomic_inc32(&run->engine->n_active);
    ac_run_queue_acquire(&run->engine->queue, &run->place, run);
}

static void report_stopped(void *baton)
{
    ac_engine_t *engine = baton;
    void (*stopped)(void *) = engine->stopped;
    engine->stopped = NULL;
    if (stopped) {
        stopped(engine->stopped_baton);
    }
}

void ac_run_slot_release(ac_run_t *run)
{
    ac_engine_t *engine = run->engine;
    ac_run_limit_uncount(run);
    ac_run_queue_leave(&engine->queue, &run->place);
    apr_hash_set(engine->runs, run->turn->run_id, APR_HASH_KEY_STRING, NULL);
    apr_atomic_dec32(&engine->n_active);
    engine_serve_line(engine);
    if (engine->stopping && apr_hash_count(engine->runs) == 0) {
        ac_ready_set(engine->loop, &engine->stop_ready, report_stopped, engine);
    }
}

void ac_run_start(ac_engine_t *engine, ac_turn_t *turn, ac_follower_t *follower)
{
    ac_run_t *run = ac_run_create(engine, turn);
    ac_channel_follow(run->channel, follower);
    ac_channel_on_empty(run->channel, ac_run_follower_left, run);
    apr_hash_set(engine->runs, turn->run_id, APR_HASH_KEY_STRING, run);
    apr_atomic_inc32(&engine->n_active);
    if (engine->stopping) {
        ac_err_set(&run->err, AC_STOPPING, "the server is stopping");
        run->err.retry_after = apr_time_from_sec(2);
        ac_run_slot_admit(run);
    } else {
        ac_run_limit_count(run);
    }
}

/* In line is where it waits for ac_run_begin; every other way begins now, if only to say that it can't. */
void ac_run_slot_admit(ac_run_t *run)
{
    if (run->err.kind || run->over.kind || engine_take_slot(run->engine, run) || run->err.kind) {
        ac_ready_set(run->engine->loop, &run->ready, ac_run_begin, run);
    }
}

apr_status_t ac_run_cancel(ac_engine_t *engine, const char *run_id, ac_kind_e why)
{
    ac_run_t *run = apr_hash_get(engine->runs, run_id, APR_HASH_KEY_STRING);
    ac_err_t err;
    ac_err_init(&err);
    if (!run) {
        return ac_err_set(NULL, AC_NOT_FOUND, "no such run here");
    }
    if (!ac_run_is_live(run)) {
        return ac_err_set(NULL, AC_RUN_ENDED, "it has ended");
    }
    if (why == AC_INTERRUPTED) {
        ac_err_set(&err, why, "another server took this one for dead, and has closed the run");
        ac_run_finish(run, AC_RUN_FAILED, &err, "taken over");
        return APR_SUCCESS;
    }
    if (run->state == AC_RUN_SUSPENDING && why == AC_CANCELLED) {
        /* The store may give it to somebody else at this moment: who takes it finds in the log how it ends. */
        run->wants_cancel = ac_run_log_decide(run, true);
        return APR_SUCCESS;
    }
    ac_err_set(&err, why, why == AC_STOPPING ? "the server is stopping" : "the run was cancelled");
    if (why == AC_STOPPING) {
        err.retry_after = apr_time_from_sec(2);
    }
    ac_run_finish(run, AC_RUN_CANCELLED, &err, why == AC_STOPPING ? "server stopping" : "cancelled");
    return APR_SUCCESS;
}

void ac_engine_stop(ac_engine_t *engine, void (*done)(void *baton), void *baton)
{
    engine->stopping = true;
    ac_timer_cancel(engine->loop, &engine->wait_timer);
    engine->stopped = done;
    engine->stopped_baton = baton;
    if (apr_hash_count(engine->runs) == 0) {
        ac_ready_set(engine->loop, &engine->stop_ready, report_stopped, engine);
        return;
    }
    /* A run that ends changes the table only later, from the ready list, so walking it is safe. */
    for (apr_hash_index_t *hi = apr_hash_first(NULL, engine->runs); hi; hi = apr_hash_next(hi)) {
        ac_run_t *run = apr_hash_this_val(hi);
        /* One that is being put aside for its owner's word is no longer ours in a moment. */
        if (ac_run_is_live(run) && run->state != AC_RUN_SUSPENDING) {
            ac_run_cancel(engine, run->turn->run_id, AC_STOPPING);
        }
    }
}

ac_turn_t *ac_turn_create(const ac_agent_t *agent, const char *owner, const char *content)
{
    ac_turn_t *turn = ac_alloc(sizeof *turn);
    turn->agent = agent;
    turn->leave = -1;
    apr_cpystrn(turn->owner, owner, sizeof turn->owner);
    turn->content = strdup(content);
    ac_id_make(turn->run_id, "run_");
    ac_id_make(turn->message_id, "msg_");
    if (!turn->content) {
        free(turn);
        return NULL;
    }
    return turn;
}

void ac_turn_free(ac_turn_t *turn)
{
    if (!turn) {
        return;
    }
    free(turn->content);
    json_decref(turn->metadata);
    ac_agents_unref(turn->agents);
    ac_quota_unref(turn->quota);
    free(turn);
}
