/* SPDX-License-Identifier: Apache-2.0 */
/* All runs of a child, what they share, and their end when the child stops. */
#include "agent/follow/follow.h"

#include <apr_atomic.h>
#include <stdlib.h>

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
    ac_run_queue_init(&engine->queue, engine->pool);
    engine->queue.max_per_owner = conf->max_runs - conf->max_runs / 4;
    ac_gate_init(&engine->gates, loop, registry, engine->pool);
    ac_follow_create(engine);
    *pengine = engine;
    return APR_SUCCESS;
}

void ac_engine_destroy(ac_engine_t *engine)
{
    if (!engine) {
        return;
    }
    ac_follow_destroy(engine);
    apr_pool_destroy(engine->pool);
    free(engine);
}

void ac_engine_use_dir(ac_engine_t *engine, ac_event_dir_t *dir)
{
    ac_follow_use_dir(engine, dir);
}

void ac_engine_use_mirror(ac_engine_t *engine, ac_mirror_t *mirror)
{
    ac_follow_use_mirror(engine, mirror);
}

void ac_engine_use_files(ac_engine_t *engine, const ac_files_t *files, ac_work_t *work)
{
    engine->files = files;
    engine->files_work = work;
}

void ac_engine_use_webhooks(ac_engine_t *engine, ac_webhook_sender_t *sender, ac_engine_webhook_fn *on_end)
{
    engine->webhooks = sender;
    engine->on_webhook = on_end;
}

void ac_engine_use_counters(ac_engine_t *engine, ac_counters_t *counters)
{
    engine->counters = counters;
}

void ac_engine_watch(ac_engine_t *engine)
{
    if (!engine->dir) {
        return;
    }
    ac_datagram_listen(engine);
    ac_sweep_start(engine);
}

int ac_engine_active(const ac_engine_t *engine)
{
    return (int)apr_atomic_read32((volatile apr_uint32_t *)&engine->n_active);
}

void ac_engine_gate_state(ac_engine_t *engine, const ac_model_t *model, ac_gate_state_t *state)
{
    ac_gate_state(ac_gate_get(&engine->gates, model), state);
}

bool ac_engine_mirror_state(const ac_engine_t *engine, apr_interval_time_t *plag)
{
    const ac_mirror_t *mirror = engine->writers.mirror;
    *plag = ac_mirror_writer_lag(&engine->writers);
    return mirror->vt->is_up(mirror->self);
}

void ac_engine_stop(ac_engine_t *engine, void (*done)(void *baton), void *baton)
{
    engine->stop.stopping = true;
    ac_timer_cancel(engine->loop, &engine->approval_timer);
    ac_timer_cancel(engine->loop, &engine->queued_timer);
    engine->stop.done = done;
    engine->stop.baton = baton;
    ac_after_run_stop_all(engine);
    ac_run_slot_report_stop(engine);
    /* A run that ends leaves the table later, from the ready list, so this loop may walk the table. */
    for (apr_hash_index_t *hi = apr_hash_first(NULL, engine->runs); hi; hi = apr_hash_next(hi)) {
        ac_run_t *run = apr_hash_this_val(hi);
        /* A run that is being suspended leaves this process in a moment. */
        if (ac_run_is_live(run) && run->state != AC_RUN_SUSPENDING) {
            ac_run_cancel(engine, run->turn->run_id, AC_STOPPING);
        }
    }
}
