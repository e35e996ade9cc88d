/* SPDX-License-Identifier: Apache-2.0 */
/* Queued turns whose process is gone: each child looks for them, and begins those whose thread is free. */
#include "run_internal.h"

#include <stdlib.h>
#include <string.h>

#define EVERY apr_time_from_sec(60)
#define SOON apr_time_from_sec(3)   /* after one was begun, and at first: those of an earlier server */
#define GRACE apr_time_from_sec(15) /* a younger one is looked after by its process */
#define MOST 32                     /* in one look */

typedef struct orphan_t { /* a turn that may be one */
    ac_engine_t *engine;
    char run_id[AC_ID_SIZE], owner[AC_OWNER_SIZE];
    json_t *run;
} orphan_t;

static void orphan_free(orphan_t *orphan)
{
    json_decref(orphan->run);
    free(orphan);
}

static void orphan_call(orphan_t *orphan, ac_store_op_t *op, void (*done)(ac_store_op_t *op))
{
    op->deadline = ac_clock() + orphan->engine->conf.store_timeout;
    ac_store_call_post(orphan->engine->store, orphan->engine->loop, op, done, orphan);
}

static ac_store_op_t *orphan_op(const orphan_t *orphan, ac_store_verb_e verb, const char *id)
{
    ac_store_op_t *op = ac_store_op_create(verb, orphan->owner, id);
    if (!op) {
        abort();
    }
    return op;
}

/* 0: the document does not say it. */
static apr_time_t expires_at(const json_t *run)
{
    apr_time_t at;
    return ac_time_parse(&at, ac_json_peek_string(run, "expires_at", "")) ? at : 0;
}

/* ---- ending one ---- */

static void orphan_on_ended(ac_store_op_t *op)
{
    const orphan_t *orphan = op->baton;
    if (op->status == APR_SUCCESS) {
        ac_run_webhook_notify(orphan->engine, orphan->owner, json_object_get(op->in, "run"), NULL);
    }
    orphan_free(op->baton);
    ac_store_op_free(op);
}

/* Also makes the store forget a turn that has left the queue. */
static void orphan_end(orphan_t *orphan)
{
    ac_store_op_t *op = orphan_op(orphan, AC_STORE_TURN_UNQUEUE, orphan->run_id);
    json_t *run = orphan->run ? json_deep_copy(orphan->run) : json_object();
    ac_err_t err;
    ac_err_init(&err);
    ac_err_set(&err, AC_RUN_TIMEOUT, "the thread was busy for too long");
    json_object_del(run, "input");
    json_object_del(run, "expires_at");
    ac_json_put(run, "status", json_string("failed"));
    ac_json_put(run, "error", ac_record_error(&err));
    ac_json_put(run, "completed_at", ac_time_json(apr_time_now()));
    op->in = json_pack("{s:o}", "run", run);
    orphan_call(orphan, op, orphan_on_ended);
}

/* ---- beginning one ---- */

static void queued_look(void *baton);

static void queued_set_timer(ac_engine_t *engine, apr_interval_time_t wait)
{
    if (!engine->stop.stopping) {
        ac_timer_set(engine->loop, &engine->queued_timer, ac_loop_now(engine->loop) + wait, queued_look, engine);
    }
}

static ac_turn_t *orphan_turn(const orphan_t *orphan, ac_agents_t *agents)
{
    const json_t *input = json_object_get(orphan->run, "input"), *parent = json_object_get(input, "parent_id");
    const char *agent_id = ac_json_peek_string(orphan->run, "agent_id", "");
    const ac_agent_t *agent = agents ? ac_agents_find(agents, agent_id)
                                     : ac_registry_agent(orphan->engine->registry, agent_id);
    ac_turn_t *turn = ac_turn_create(agent, orphan->owner, ac_json_peek_string(input, "content", ""));
    if (!turn) {
        abort();
    }
    turn->agents = agents;
    turn->on_busy = AC_BUSY_ENQUEUE;
    turn->protocol = AC_PROTOCOL_NATIVE; /* no other one has a queue */
    turn->has_parent = parent != NULL;
    apr_cpystrn(turn->run_id, orphan->run_id, sizeof turn->run_id);
    apr_cpystrn(turn->thread_id, ac_json_peek_string(orphan->run, "thread_id", ""), sizeof turn->thread_id);
    apr_cpystrn(turn->message_id, ac_json_peek_string(orphan->run, "parent_id", ""), sizeof turn->message_id);
    apr_cpystrn(turn->parent_id, parent ? ac_json_peek_string(input, "parent_id", "") : "", sizeof turn->parent_id);
    apr_cpystrn(turn->regenerate, ac_json_peek_string(input, "regenerate", ""), sizeof turn->regenerate);
    turn->metadata = json_deep_copy(json_object_get(input, "metadata"));
    turn->attachments = json_deep_copy(json_object_get(input, "attachments"));
    turn->format = json_deep_copy(json_object_get(input, "response_format"));
    turn->webhook = json_deep_copy(json_object_get(orphan->run, "webhook"));
    return turn;
}

static void orphan_begin(orphan_t *orphan)
{
    ac_engine_t *engine = orphan->engine;
    ac_agents_t *agents = engine->catalog ? ac_catalog_agents(engine->catalog) : NULL;
    apr_time_t created;
    if (agents && !ac_agents_known(agents)) {
        ac_agents_unref(agents); /* the next look finds it again */
        return;
    }
    ac_run_t *run = ac_run_create(engine, orphan_turn(orphan, agents));
    ac_run_trace_begin(run);
    if (ac_time_parse(&created, ac_json_peek_string(orphan->run, "created_at", ""))) {
        run->times.created_at = created;
        run->times.created = ac_clock() - (apr_time_now() - created);
    }
    run->busy.queued = true;
    run->busy.until = expires_at(orphan->run);
    run->open.had_conflict = true;
    ac_channel_on_empty(run->channel, ac_run_follower_left, run);
    ac_timer_cancel(engine->loop, &run->state_timer);
    apr_hash_set(engine->runs, run->turn->run_id, APR_HASH_KEY_STRING, run);
    ac_run_slot_acquire(run);
    ac_loop_ready_set(engine->loop, &run->ready, ac_run_begin, run);
    queued_set_timer(engine, SOON); /* the next turn of this queue may be one, too */
}

static void orphan_on_loaded(ac_store_op_t *op)
{
    orphan_t *orphan = op->baton;
    const char *first = json_string_value(json_array_get(json_object_get(op->out, "queue"), 0));
    bool is_first = first && strcmp(first, orphan->run_id) == 0;
    bool is_free = json_is_null(json_object_get(op->out, "active_run"));
    if (op->status == APR_SUCCESS && is_first && is_free && !orphan->engine->stop.stopping &&
        !apr_hash_get(orphan->engine->runs, orphan->run_id, APR_HASH_KEY_STRING)) {
        orphan_begin(orphan);
    }
    ac_store_op_free(op);
    orphan_free(orphan);
}

/* ---- looking for them ---- */

static void orphan_on_run(ac_store_op_t *op)
{
    orphan_t *orphan = op->baton;
    bool queued = strcmp(ac_json_peek_string(op->out, "status", ""), "queued") == 0;
    bool gone = op->err.kind == AC_NOT_FOUND || (op->status == APR_SUCCESS && !queued);
    orphan->run = json_incref(op->out);
    bool failed = op->status != APR_SUCCESS && !gone;
    ac_store_op_free(op);
    if (failed) {
        orphan_free(orphan);
    } else if (gone || expires_at(orphan->run) < apr_time_now()) {
        orphan_end(orphan);
    } else {
        op = orphan_op(orphan, AC_STORE_TURN_LOAD, ac_json_peek_string(orphan->run, "thread_id", ""));
        op->in = json_pack("{s:b}", "fresh", 1);
        op->page.limit = 1;
        orphan_call(orphan, op, orphan_on_loaded);
    }
}

static void orphan_look(ac_engine_t *engine, const json_t *row)
{
    const char *run_id = ac_json_peek_string(row, "run_id", ""), *owner = ac_json_peek_string(row, "owner", "");
    if (engine->stop.stopping || ac_store_owner_problem(owner) ||
        apr_hash_get(engine->runs, run_id, APR_HASH_KEY_STRING)) {
        return;
    }
    orphan_t *orphan = ac_alloc(sizeof *orphan);
    orphan->engine = engine;
    apr_cpystrn(orphan->run_id, run_id, sizeof orphan->run_id);
    apr_cpystrn(orphan->owner, owner, sizeof orphan->owner);
    orphan_call(orphan, orphan_op(orphan, AC_STORE_RUN_GET, run_id), orphan_on_run);
}

static void queued_on_list(ac_store_op_t *op)
{
    ac_engine_t *engine = op->baton;
    apr_interval_time_t wait = EVERY + (apr_interval_time_t)(ac_random() % (uint64_t)(EVERY / 4));
    bool early = ac_loop_now(engine->loop) < engine->queued_since + GRACE;
    const json_t *row;
    size_t i;
    json_array_foreach(json_object_get(op->out, "data"), i, row)
    {
        orphan_look(engine, row);
    }
    ac_store_op_free(op);
    queued_set_timer(engine, early ? GRACE : wait);
}

static void queued_look(void *baton)
{
    ac_engine_t *engine = baton;
    ac_store_op_t *op = ac_store_op_create(AC_STORE_QUEUED_LIST, NULL, NULL);
    if (!op) {
        abort();
    }
    op->in = json_object();
    op->page.limit = MOST;
    ac_json_put(op->in, "before", ac_time_json(apr_time_now() - GRACE));
    op->deadline = ac_clock() + engine->conf.store_timeout;
    ac_store_call_post(engine->store, engine->loop, op, queued_on_list, engine);
}

void ac_run_queued_watch(ac_engine_t *engine)
{
    engine->queued_since = ac_loop_now(engine->loop);
    queued_set_timer(engine, SOON);
}
