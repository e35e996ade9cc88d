/* SPDX-License-Identifier: Apache-2.0 */
/* LOADING: reads the thread, and waits for the closing write of its earlier turn. */
#include "run_internal.h"

#include <stdlib.h>
#include <string.h>

#define RELOAD_WAIT apr_time_from_msec(200) /* between two reads while another child closes the earlier turn */
#define BUSY_RETRY apr_time_from_sec(1)

void ac_run_load_refuse_busy(ac_err_t *err, const char *run_id)
{
    ac_err_set(err, AC_RUN_IN_PROGRESS, "the thread has an active run: %s", run_id ? run_id : "its id is not known");
}

static void refuse_early(ac_err_t *err)
{
    ac_err_set(err, AC_RUN_IN_PROGRESS, "the answer before this message is not stored yet");
    err->retry_after = BUSY_RETRY;
}

static void refuse_key(ac_err_t *err)
{
    ac_err_init(err);
    ac_err_set(err, AC_IDEMPOTENCY_CONFLICT, "this Idempotency-Key was used for another request");
}

static void choose_agent(ac_run_t *run, const json_t *thread, ac_err_t *err)
{
    const ac_turn_t *turn = run->turn;
    if (!run->agent && thread) {
        const char *id = ac_json_peek_string(thread, "agent_id", NULL);
        run->agent = turn->agents ? ac_agents_find(turn->agents, id) : ac_registry_agent(run->engine->registry, id);
    }
    if (!run->agent) {
        run->agent = turn->fallback_agent;
    }
    if (!run->agent) {
        ac_err_set_at(err, AC_INVALID_REQUEST, "/agent_id", "no agent was named and there is no default agent");
    } else if (ac_agent_problem(run->agent)) {
        ac_err_set_at(err, AC_INVALID_REQUEST, "/agent_id", "%s", ac_agent_problem(run->agent));
    } else {
        ac_run_files_check(run, err);
    }
}

/* A deleted question has no words that could be answered once more. */
static void check_question(const ac_run_t *run, const json_t *loaded, ac_err_t *err)
{
    const json_t *messages = json_object_get(loaded, "messages");
    const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    if (run->turn->regenerate[0] && json_object_get(last, "deleted") && !err->kind) {
        ac_err_set_at(err, AC_NOT_FOUND, "/regenerate", "the message is deleted");
    }
}

/* Notes where the thread was when it was read, and where the turn is stored. */
static void note_place(ac_run_t *run, const json_t *loaded)
{
    run->load.last_seq = ac_json_peek_int(json_object_get(loaded, "thread"), "message_count", 0);
    run->load.n_deleted = ac_json_peek_int(json_object_get(loaded, "thread"), "deleted_messages", 0);
    run->load.parent_seq = ac_json_peek_int(loaded, "parent_seq", run->load.last_seq);
    apr_cpystrn(run->load.parent_id, ac_json_peek_string(loaded, "parent_id", ""), sizeof run->load.parent_id);
    if (run->turn->regenerate[0]) {
        apr_cpystrn(run->turn->message_id, run->load.parent_id, sizeof run->turn->message_id);
    }
}

/* The `in` of TURN_LOAD; NULL: the current path, as a cache may have it. */
static json_t *load_in(const ac_run_t *run)
{
    const ac_turn_t *turn = run->turn;
    bool fresh = run->load.fresh || run->open.had_conflict;
    if (!fresh && !turn->has_parent && !turn->regenerate[0]) {
        return NULL;
    }
    json_t *in = json_pack("{s:b}", "fresh", fresh);
    if (turn->regenerate[0]) {
        ac_json_put(in, "regenerate", ac_json_text(turn->regenerate));
    } else if (turn->has_parent) {
        ac_json_put(in, "parent_id", ac_json_text(turn->parent_id[0] ? turn->parent_id : NULL));
    }
    return in;
}

static void on_files(ac_run_t *run, const char *cause, const ac_err_t *err)
{
    if (run->state != AC_RUN_LOADING) {
        ac_run_close_continue(run);
    } else if (err) {
        ac_run_finish(run, AC_RUN_FAILED, err, "files not read");
    } else {
        ac_run_limit_admit(run, cause);
    }
}

/* The stored messages, those that the turn brings, and behind them its own message if it has results. New reference.
 * NULL: err is set. */
static json_t *load_input(ac_run_t *run, const json_t *stored, ac_err_t *err)
{
    const ac_turn_t *turn = run->turn;
    json_t *list = stored ? json_copy((json_t *)stored) : json_array();
    json_decref(run->load.answered);
    run->load.answered = NULL;
    json_array_extend(list, turn->history);
    if (!turn->client.results) {
        return list;
    }
    if (ac_client_tools_match(&run->load.answered, turn, list, err) != APR_SUCCESS) {
        json_decref(list);
        return NULL;
    }
    json_array_append_new(list,
                          json_pack("{s:s, s:s, s:O}", "role", "tool", "content", "", "tool_calls",
                                    run->load.answered));
    return list;
}

static void run_load_ask(ac_run_t *run, const json_t *stored, const char *cause)
{
    const ac_turn_t *turn = run->turn;
    bool own = !turn->regenerate[0] && (*turn->content || !turn->client.results || turn->attachments);
    ac_err_t err;
    ac_err_init(&err);
    json_t *list = load_input(run, stored, &err);
    if (!list) {
        ac_run_finish(run, AC_RUN_FAILED, &err, "no such calls");
        return;
    }
    json_decref(run->ask.messages);
    const ac_history_t history = {run->agent, list, own ? turn->content : NULL, turn->attachments,
                                  run->load.n_deleted > 0};
    ac_history_cut_t cut;
    run->ask.messages = ac_history_messages(&history, &cut);
    ac_run_metrics_history(run, &cut);
    ac_history_summary_note(run, list, &cut);
    json_decref(list);
    if (!run->ask.messages) {
        abort();
    }
    if (!turn->history) { /* the client's own messages stay as they are */
        ac_history_offer(run->ask.messages, run->tools.set, turn->client.list);
    }
    if (run->turn->instructions) {
        ac_history_instruct(run->ask.messages, run->turn->instructions);
    }
    ac_run_files_load(run, on_files, cause);
}

static void ask_with_tools(ac_run_t *run)
{
    json_t *stored = run->load.stored;
    ac_err_t err;
    ac_err_init(&err);
    run->load.stored = NULL;
    if (ac_client_tools_check(run, &err) == APR_SUCCESS) {
        run_load_ask(run, stored, run->load.cause);
    } else {
        ac_run_finish(run, AC_RUN_FAILED, &err, "tools refused");
    }
    json_decref(stored);
}

static void load_tools(ac_run_t *run, json_t *stored, const char *cause)
{
    json_decref(run->load.stored);
    run->load.stored = json_incref(stored);
    run->load.cause = cause;
    ac_run_tools_load(run, ask_with_tools);
}

static bool waited_long(const ac_run_t *run)
{
    return run->load.wait_until && ac_loop_now(run->engine->loop) >= run->load.wait_until;
}

/* The thread has an active run: perhaps the one of the same request, sent for the first time. */
static void on_key(ac_store_op_t *op)
{
    ac_run_t *run = op->baton;
    const char *run_id = ac_json_peek_string(op->out, "run_id", NULL);
    bool same = run_id && strcmp(ac_json_peek_string(op->out, "request_hash", ""), run->turn->key_hash) == 0;
    ac_err_t err = op->err;
    run->n_ops--;
    if (run->state == AC_RUN_LOADING && same) {
        ac_run_follower_attach(run, op->out);
    } else if (run->state == AC_RUN_LOADING) {
        if (err.kind == AC_NOT_FOUND) {
            ac_err_init(&err);
        }
        if (run_id) {
            refuse_key(&err);
        } else if (run->limits.refused) {
            err = *run->limits.refused;
        } else if (!err.kind && waited_long(run)) {
            refuse_early(&err);
        } else if (!err.kind) {
            ac_run_load_refuse_busy(&err, NULL);
        }
        ac_run_finish(run, AC_RUN_FAILED, &err, "thread busy");
    } else {
        ac_run_close_continue(run);
    }
    ac_store_op_free(op);
}

static void ask_key(ac_run_t *run)
{
    ac_store_op_t *op = ac_run_store_op(run, AC_STORE_KEY_GET);
    op->in = json_object();
    ac_json_put(op->in, "key", ac_json_text(run->turn->key));
    ac_json_put(op->in, "since", ac_time_json(run->turn->key_since));
    ac_run_store_call(run, op, on_key);
}

static void load_again(void *baton)
{
    ac_run_t *run = baton;
    run->n_ops--;
    if (run->state == AC_RUN_LOADING) {
        ac_run_load_enter(run);
    } else {
        ac_run_close_continue(run);
    }
}

static void run_load_look_again(void *baton)
{
    ac_run_load_enter(baton);
}

/* The earlier turn may have an answer that is not stored yet and that comes first. true: the thread is read again
 * later. false: err is set if the answer did not come in the store's time. */
static bool wait_for_earlier(ac_run_t *run, const json_t *loaded, ac_err_t *err)
{
    const json_t *messages = json_object_get(loaded, "messages");
    const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    const char *run_id = ac_json_peek_string(last, "run_id", NULL);
    if (!run_id || ac_record_is_answer(last)) {
        return false;
    }
    ac_engine_t *engine = run->engine;
    apr_time_t now = ac_loop_now(engine->loop);
    if (!run->load.wait_until) {
        run->load.wait_until = now + engine->conf.store_timeout;
    }
    bool over = waited_long(run);
    ac_recover_e where = engine->hooks->find_recovery(engine, run_id, over ? NULL : load_again, run);
    bool active = ac_json_peek_string(loaded, "active_run", NULL) != NULL;
    if (where == AC_RECOVER_NONE || (where == AC_RECOVER_ELSEWHERE && active)) {
        return false;
    }
    if (over) {
        refuse_early(err);
        return false;
    }
    run->load.fresh = true;
    if (where == AC_RECOVER_HERE) {
        run->n_ops++;
    } else {
        ac_timer_set(engine->loop, &run->state_timer, now + RELOAD_WAIT, run_load_look_again, run);
    }
    return true;
}

/* A client that names its conversations itself sends their first message as all others. */
static bool may_create(const ac_run_t *run, const ac_err_t *err)
{
    const ac_turn_t *turn = run->turn;
    return turn->creates && err->kind == AC_NOT_FOUND && !turn->regenerate[0] && !turn->parent_id[0];
}

static void ask_in_new_thread(ac_run_t *run)
{
    ac_err_t err;
    ac_err_init(&err);
    if (!run->turn->stateless) {
        run->open.new_thread = true;
        ac_title_note(run, NULL);
        note_place(run, NULL);
    }
    choose_agent(run, NULL, &err);
    if (err.kind) {
        ac_run_finish(run, AC_RUN_FAILED, &err, "no agent");
    } else {
        load_tools(run, NULL, "nothing to read");
    }
}

static void run_load_on_loaded(ac_store_op_t *op)
{
    ac_run_t *run = op->baton;
    run->n_ops--;
    if (run->state != AC_RUN_LOADING) {
        ac_store_op_free(op);
        ac_run_close_continue(run);
        return;
    }
    ac_err_t err = op->err;
    const char *active = ac_run_busy_first(run, op->out);
    if (op->status == APR_SUCCESS && wait_for_earlier(run, op->out, &err)) {
        ac_store_op_free(op);
        return;
    }
    if (op->status == APR_SUCCESS && run->turn->key && (active || err.kind) && !ac_run_busy_waits(run)) {
        ac_store_op_free(op);
        ask_key(run);
        return;
    }
    if (op->status == APR_SUCCESS && !err.kind) {
        choose_agent(run, json_object_get(op->out, "thread"), &err);
        check_question(run, op->out, &err);
    }
    if (op->status == APR_SUCCESS && active && !err.kind) {
        if (ac_run_busy_defers(run)) {
            ac_store_op_free(op);
            return;
        }
        ac_run_load_refuse_busy(&err, active);
    }
    if (op->status != APR_SUCCESS && !err.kind) {
        ac_err_set(&err, AC_STORE_ERROR, "the store failed");
    }
    if (may_create(run, &err)) {
        ac_store_op_free(op);
        ask_in_new_thread(run);
        return;
    }
    run->open.new_thread = false;
    note_place(run, op->out);
    if (err.kind) {
        ac_run_finish(run, AC_RUN_FAILED, &err, "thread not read");
    } else {
        ac_title_note(run, op->out);
        load_tools(run, json_object_get(op->out, "messages"), "history read");
    }
    ac_store_op_free(op);
}

void ac_run_load_enter(ac_run_t *run)
{
    ac_turn_t *turn = run->turn;
    if (run->nested.outer) {
        load_tools(run, NULL, "called by another agent");
        return;
    }
    if (run->limits.refused) {
        ask_key(run);
        return;
    }
    if (run->load.is_stale) {
        ac_loop_t *loop = run->engine->loop;
        run->load.is_stale = false;
        ac_timer_set(loop, &run->state_timer, ac_loop_now(loop) + RELOAD_WAIT, run_load_look_again, run);
        return;
    }
    if (!turn->stateless && turn->thread_id[0]) {
        ac_store_op_t *op = ac_run_store_op(run, AC_STORE_TURN_LOAD);
        const ac_agent_t *agent = turn->agent ? turn->agent : turn->fallback_agent;
        /* The thread's own agent is known only after this read, and may want more messages than the fallback agent. */
        op->page.limit = agent && agent->history_messages > AC_MAX_PAGE ? agent->history_messages : AC_MAX_PAGE;
        /* The newest summary may be a little above what the model is shown. */
        op->page.limit += run->engine->conf.summaries.on ? AC_MAX_PAGE : 0;
        op->in = load_in(run);
        ac_run_store_call(run, op, run_load_on_loaded);
        return;
    }
    if (!turn->stateless) {
        ac_id_make(turn->thread_id, "thread_");
    }
    ask_in_new_thread(run);
}
