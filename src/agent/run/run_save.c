/* SPDX-License-Identifier: Apache-2.0 */
/* What a run leaves in the store: the opening write beside ASKING, and SAVING. */
#include "run.h"

#include <stdlib.h>
#include <string.h>

#define BUSY_RETRY apr_time_from_sec(1)

void ac_run_store_call(ac_run_t *run, ac_store_op_t *op, void (*done)(ac_store_op_t *op))
{
    op->deadline = ac_clock() + run->engine->conf.store_timeout;
    run->n_ops++;
    ac_store_call_post(run->engine->store, run->engine->loop, op, done, run);
}

ac_store_op_t *ac_run_store_op(const ac_run_t *run, ac_store_verb_e verb)
{
    ac_store_op_t *op = ac_store_op_create(verb, run->turn->owner, run->turn->thread_id);
    if (!op) {
        abort();
    }
    return op;
}

/* ---- the opening write ---- */

static json_t *thread_json(const ac_run_t *run)
{
    json_t *thread = json_object();
    ac_json_put(thread, "id", ac_json_text(run->turn->thread_id));
    ac_json_put(thread, "title", ac_record_title(run->turn->content));
    ac_json_put(thread, "agent_id", ac_json_text(run->agent->id));
    ac_json_put(thread, "status", json_string("active"));
    ac_json_put(thread, "metadata", json_object());
    ac_json_put(thread, "message_count", json_integer(0));
    ac_json_put(thread, "created_at", ac_json_time(run->created_at));
    ac_json_put(thread, "updated_at", ac_json_time(run->created_at));
    return thread;
}

static json_t *user_message_json(const ac_run_t *run)
{
    const ac_turn_t *turn = run->turn;
    json_t *message = json_object();
    ac_json_put(message, "id", ac_json_text(turn->message_id));
    ac_json_put(message, "thread_id", ac_json_text(turn->thread_id));
    ac_json_put(message, "role", json_string("user"));
    ac_json_put(message, "content", ac_json_text(turn->content));
    ac_json_put(message, "tool_calls", json_null());
    ac_json_put(message, "run_id", ac_json_text(turn->run_id));
    ac_json_put(message, "timestamp", ac_json_time(run->created_at));
    ac_json_put(message, "metadata", turn->metadata ? json_incref(turn->metadata) : json_object());
    return message;
}

static const char *status_text(const ac_run_t *run)
{
    if (run->state != AC_RUN_SAVING) {
        return "in_progress";
    }
    if (run->outcome == AC_RUN_COMPLETED) {
        return "completed";
    }
    if (run->outcome == AC_RUN_FAILED) {
        return "failed";
    }
    return run->err.kind == AC_STOPPING ? "interrupted" : "cancelled";
}

const char *ac_run_document_model(const ac_run_t *run)
{
    if (run->model[0]) {
        return run->model;
    }
    return run->gate ? run->gate->model->id : run->agent->model ? run->agent->model->id : "";
}

json_t *ac_run_document_run(const ac_run_t *run)
{
    bool ended = run->state == AC_RUN_SAVING, bad = ended && run->outcome != AC_RUN_COMPLETED;
    bool user_cancelled = run->outcome == AC_RUN_CANCELLED && run->err.kind != AC_STOPPING;
    json_t *json = json_object();
    ac_json_put(json, "id", ac_json_text(run->turn->run_id));
    ac_json_put(json, "thread_id", ac_json_text(run->turn->thread_id));
    ac_json_put(json, "agent_id", ac_json_text(run->agent->id));
    ac_json_put(json, "status", json_string(status_text(run)));
    ac_json_put(json, "model", ac_json_text(ac_run_document_model(run)));
    ac_json_put(json, "usage", ac_record_usage(&run->usage));
    ac_json_put(json, "cost", ac_run_cost_json(run));
    ac_json_put(json, "rounds", json_integer(run->round));
    ac_json_put(json, "ttft_ms", run->ttft ? json_integer(apr_time_as_msec(run->ttft)) : json_null());
    ac_json_put(json, "latency_ms", ended ? json_integer(apr_time_as_msec(ac_clock() - run->created)) : json_null());
    ac_json_put(json, "error", bad && !user_cancelled ? ac_record_error(&run->err) : json_null());
    ac_json_put(json, "created_at", ac_json_time(run->created_at));
    ac_json_put(json, "started_at", ac_json_time(run->started_at));
    ac_json_put(json, "completed_at", ended ? ac_json_time(apr_time_now()) : json_null());
    return json;
}

/* Two requests with one key came at the same time, and the other one was first. */
static bool opened_elsewhere(ac_run_t *run, const ac_store_op_t *op)
{
    const char *run_id = ac_json_peek_string(op->out, "run_id", NULL);
    if (op->err.kind != AC_IDEMPOTENCY_CONFLICT || !run_id ||
        strcmp(ac_json_peek_string(op->out, "request_hash", ""), run->turn->key_hash) != 0) {
        return false;
    }
    run->durable = AC_RUN_OPEN_FAILED;
    ac_run_follower_attach(run, run_id);
    return true;
}

static void write_opening(ac_run_t *run);

/* Another server added messages to the thread that the model was not shown. Nothing is stored yet, no client saw an event and no tool
 * was called, so the run starts again with the newer history, as often as its time allows. From the second time on it opens the turn
 * before it asks the model: a busy thread then costs reads of the store, and no answers of the model. false: the run has failed or was
 * cancelled. Its message must not be stored at this place, which could be in front of an answer that is older. */
static bool open_again(ac_run_t *run)
{
    bool restart = run->state == AC_RUN_ASKING || run->state == AC_RUN_CALLING ||
        (run->state == AC_RUN_SAVING && run->outcome == AC_RUN_COMPLETED);
    if (!restart || run->err.kind) {
        return false;
    }
    run->read_is_stale = run->overtaken && run->seen == run->refused_after;
    run->refused_after = run->seen;
    run->overtaken = true;
    run->opened = false;
    run->durable = AC_RUN_OPEN_NONE;
    json_decref(run->opening);
    run->opening = NULL;
    ac_run_restart(run);
    return true;
}

static void refuse_overtaken(ac_err_t *err)
{
    ac_err_set(err, AC_RUN_IN_PROGRESS, "the thread had gone on before this message could be stored");
    err->retry_after = BUSY_RETRY;
}

/* Nothing was stored, and the client has to know that, whatever else has gone wrong meanwhile. */
static void fail_opening(ac_run_t *run, const ac_store_op_t *op)
{
    ac_err_t err = op->err;
    if (!err.kind) {
        ac_err_set(&err, AC_STORE_ERROR, "the store failed");
    }
    if (err.kind == AC_RUN_IN_PROGRESS || err.kind == AC_PRECONDITION_FAILED) {
        bool busy = err.kind == AC_RUN_IN_PROGRESS;
        ac_err_init(&err);
        if (busy) {
            ac_run_load_refuse_busy(&err, ac_json_peek_string(op->out, "run_id", NULL));
        } else {
            refuse_overtaken(&err);
        }
    }
    run->durable = AC_RUN_OPEN_FAILED;
    if (run->state == AC_RUN_SAVING) {
        run->err = err;
        run->outcome = AC_RUN_FAILED;
    } else {
        ac_run_finish(run, AC_RUN_FAILED, &err, "message not stored");
    }
}

static void on_opened(ac_store_op_t *op)
{
    ac_run_t *run = op->baton;
    run->n_ops--;
    if (op->err.kind == AC_PRECONDITION_FAILED && open_again(run)) {
        ac_store_op_free(op);
        return;
    }
    /* It may have happened all the same. The same ids again: then it is found out, and happens once. */
    if (op->err.kind == AC_STORE_TIMEOUT && !op->unwritten && run->n_openings < AC_MAX_OPENINGS &&
        !run->engine->stopping) {
        run->n_openings++;
        json_object_set_new(run->opening, "retry", json_true());
        ac_store_op_free(op);
        write_opening(run);
        return;
    }
    if (opened_elsewhere(run, op)) {
        ac_store_op_free(op);
        if (run->n_ops == 0 && run->state == AC_RUN_SAVING) {
            ac_run_close_continue(run);
        }
        return;
    }
    if (op->status == APR_SUCCESS) {
        run->durable = AC_RUN_OPEN_DONE;
        ac_recover_retry_all(run->engine);
        ac_run_event_release(run);
        if (run->state == AC_RUN_CALLING) {
            ac_run_call_begin_all(run);
        } else if (run->state == AC_RUN_ASKING && run->overtaken) {
            ac_run_ask_try(run);
        }
    } else {
        fail_opening(run, op);
    }
    ac_store_op_free(op);
    if (run->state == AC_RUN_SAVING) {
        ac_run_close_continue(run);
    }
}

static void write_opening(ac_run_t *run)
{
    ac_store_op_t *op = ac_run_store_op(run, AC_STORE_TURN_OPEN);
    op->in = json_incref(run->opening);
    ac_run_store_call(run, op, on_opened);
}

void ac_run_open_write(ac_run_t *run)
{
    json_t *in = run->opening = json_object();
    ac_json_put(in, "message", user_message_json(run));
    ac_json_put(in, "run", ac_run_document_run(run));
    ac_json_put(in, "title", ac_record_title(run->turn->content));
    if (run->new_thread) {
        ac_json_put(in, "thread", thread_json(run));
    } else {
        ac_json_put(in, "after", json_integer(run->seen));
    }
    if (run->turn->key[0]) {
        json_t *key = json_object();
        ac_json_put(key, "key", ac_json_text(run->turn->key));
        ac_json_put(key, "request_hash", ac_json_text(run->turn->key_hash));
        ac_json_put(key, "since", ac_json_time(run->created_at - AC_KEY_LIFE));
        ac_json_put(in, "idempotency", key);
    }
    run->durable = AC_RUN_OPEN_PENDING;
    write_opening(run);
}

/* ---- SAVING ---- */

void ac_run_document_add_model_step(ac_run_t *run, const ac_model_end_t *end)
{
    apr_interval_time_t took = ac_clock() - run->asked;
    char id[AC_ID_SIZE];
    json_t *step = json_object();
    bool failed = end->status != APR_SUCCESS;
    ac_id_make(id, "step_");
    ac_json_put(step, "id", ac_json_text(id));
    ac_json_put(step, "run_id", ac_json_text(run->turn->run_id));
    ac_json_put(step, "type", json_string("model_call"));
    ac_json_put(step, "status", json_string(failed ? "failed" : "completed"));
    ac_json_put(step, "model", ac_json_text(run->gate->model->id));
    ac_json_put(step, "tool", json_null());
    ac_json_put(step, "arguments", json_null());
    ac_json_put(step, "result", json_null());
    ac_json_put(step, "error", failed ? ac_json_text(end->err.detail) : json_null());
    ac_json_put(step, "usage", end->usage.known ? ac_record_usage(&end->usage) : json_null());
    ac_json_put(step, "started_at", ac_json_time(run->asked_at));
    ac_json_put(step, "completed_at", ac_json_time(run->asked_at + took));
    ac_json_put(step, "latency_ms", json_integer(apr_time_as_msec(took)));
    if (!run->steps) {
        run->steps = json_array();
    }
    json_array_append_new(run->steps, step);
}

const char *ac_run_document_finish_reason(const ac_run_t *run)
{
    if (run->finish == AC_FINISH_CONTENT_FILTER) {
        return "content_filter";
    }
    if (run->outcome == AC_RUN_CANCELLED) {
        return run->err.kind == AC_STOPPING ? "interrupted" : "cancelled";
    }
    if (run->outcome == AC_RUN_FAILED) {
        return "error";
    }
    return run->finish == AC_FINISH_LENGTH ? "length" : "stop";
}

/* The assistant's message, or NULL where nothing was said or done. A refused turn leaves an empty one behind, so that history.c
 * knows it must not be sent again. */
static json_t *message_json(const ac_run_t *run)
{
    char id[AC_ID_SIZE];
    json_t *message, *metadata, *parts = ac_parts_list(&run->parts, run->answer.len);
    if (run->outcome != AC_RUN_COMPLETED && run->answer.len == 0 && !run->tool_calls &&
        run->finish != AC_FINISH_CONTENT_FILTER) {
        return NULL;
    }
    ac_id_make(id, "msg_");
    metadata = json_object();
    ac_json_put(metadata, "model", ac_json_text(ac_run_document_model(run)));
    ac_json_put(metadata, "finish_reason", json_string(ac_run_document_finish_reason(run)));
    ac_json_put(metadata, "usage", ac_record_usage(&run->usage));
    if (parts) {
        ac_json_put(metadata, "parts", parts);
    }
    message = json_object();
    ac_json_put(message, "id", ac_json_text(id));
    ac_json_put(message, "thread_id", ac_json_text(run->turn->thread_id));
    ac_json_put(message, "role", json_string("assistant"));
    ac_json_put(message, "content", ac_json_text(run->answer.len ? run->answer.data : ""));
    ac_json_put(message, "tool_calls", run->tool_calls ? json_incref(run->tool_calls) : json_null());
    ac_json_put(message, "run_id", ac_json_text(run->turn->run_id));
    ac_json_put(message, "timestamp", ac_json_time(apr_time_now()));
    ac_json_put(message, "metadata", metadata);
    return message;
}

static void run_save_on_closed(ac_store_op_t *op);

/* The same documents again: a store takes a closing write that it has already made as made. */
static void run_save_close_again(void *baton)
{
    ac_run_t *run = baton;
    ac_store_op_t *op = ac_run_store_op(run, AC_STORE_TURN_CLOSE);
    op->in = json_incref(run->closing);
    ac_run_store_call(run, op, run_save_on_closed);
    run->n_ops--; /* counted since the first try */
}

/* An answer that exists is worth some patience; a store that is gone for longer is said to be. */
static bool run_save_try_again(ac_run_t *run, const ac_store_op_t *op)
{
    apr_interval_time_t wait = apr_time_from_msec(100) << run->n_closings;
    bool worth = op->err.kind == AC_STORE_ERROR || op->err.kind == AC_STORE_TIMEOUT || op->err.kind == AC_OVERLOADED;
    if (!worth || run->n_closings >= AC_MAX_CLOSINGS || run->engine->stopping) {
        return false;
    }
    run->n_closings++;
    run->n_ops++;
    ac_timer_set(run->engine->loop, &run->state_timer, ac_loop_now(run->engine->loop) + wait, run_save_close_again,
                 run);
    return true;
}

static void run_save_on_closed(ac_store_op_t *op)
{
    ac_run_t *run = op->baton;
    run->n_ops--;
    if (op->status == APR_SUCCESS) {
        ac_recover_retry_all(run->engine);
        run->message = json_incref(json_object_get(op->out, "message"));
    } else if (!run_save_try_again(run, op)) {
        ac_err_init(&run->err);
        run->err = op->err;
        if (!run->err.kind) {
            ac_err_set(&run->err, AC_STORE_ERROR, "the store failed");
        }
        run->outcome = AC_RUN_FAILED;
        run->unstored = run->err.kind != AC_INTERRUPTED; /* then it is closed, and not by us */
        if (run->unstored) {
            ac_err_while(&run->err, "storing the answer");
        }
    }
    ac_store_op_free(op);
    ac_run_close_continue(run);
}

static void end_later(void *baton)
{
    ac_run_end(baton);
}

void ac_run_close_continue(ac_run_t *run)
{
    if (run->n_ops > 0) {
        return; /* it will come back here */
    }
    if (run->durable == AC_RUN_OPEN_DONE && !run->closed && run->err.kind != AC_INTERRUPTED) {
        ac_store_op_t *op = ac_run_store_op(run, AC_STORE_TURN_CLOSE);
        json_t *message = message_json(run);
        run->closing = json_object();
        ac_json_put(run->closing, "message", message ? message : json_null());
        ac_json_put(run->closing, "run", ac_run_document_run(run));
        ac_json_put(run->closing, "steps", run->steps ? json_incref(run->steps) : json_array());
        run->closed = true;
        ac_run_log_write_closing(run);
        op->in = json_incref(run->closing);
        ac_run_store_call(run, op, run_save_on_closed);
        return;
    }
    ac_ready_cancel(run->engine->loop, &run->ready); /* a beginning that was still to come does not come any more */
    ac_ready_set(run->engine->loop, &run->ready, end_later, run);
}
