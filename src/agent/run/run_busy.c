/* SPDX-License-Identifier: Apache-2.0 */
/* WAITING: a turn whose thread is busy waits in the thread's queue, which the store has. It holds no slot. The process
 * that got the request looks from time to time whether its turn comes; the store decides, in the opening write, which
 * process begins it. */
#include "run_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_LOOK apr_time_from_msec(100) /* then twice as long each time */
#define MAX_LOOK apr_time_from_sec(2)

static void busy_look(void *baton);

/* ---- cancelling the run that is active ---- */

typedef struct interrupt_t {
    ac_engine_t *engine;
    char run_id[AC_ID_SIZE], owner[AC_OWNER_SIZE];
    char waiting_id[AC_ID_SIZE]; /* the run that waits */
    apr_status_t status;
} interrupt_t;

static void interrupt_try_again(const interrupt_t *interrupt)
{
    ac_run_t *run = apr_hash_get(interrupt->engine->runs, interrupt->waiting_id, APR_HASH_KEY_STRING);
    if (run && strcmp(run->busy.cancelled, interrupt->run_id) == 0) {
        run->busy.cancelled[0] = '\0'; /* the next look */
    }
}

static void interrupt_on_asked(ac_store_op_t *op)
{
    interrupt_t *interrupt = op->baton;
    if (op->status == APR_SUCCESS) {
        interrupt->engine->hooks->notify(interrupt->engine, interrupt->run_id);
    } else if (op->err.kind != AC_INVALID_REQUEST && op->err.kind != AC_RUN_ENDED) {
        interrupt_try_again(interrupt);
    } /* a store of one machine has no process to ask */
    ac_store_op_free(op);
    free(interrupt);
}

static void interrupt_done(void *baton)
{
    interrupt_t *interrupt = baton;
    ac_engine_t *engine = interrupt->engine;
    if (interrupt->status == APR_SUCCESS || interrupt->status == ac_err_row(AC_RUN_ENDED)->status) {
        free(interrupt);
        return;
    }
    /* It is suspended, or on another machine; where it is not, nothing happens. */
    ac_run_approval_cancel(engine, interrupt->run_id, interrupt->owner);
    ac_store_op_t *op = ac_store_op_create(AC_STORE_RUN_CANCEL, interrupt->owner, interrupt->run_id);
    if (!op) {
        abort();
    }
    op->deadline = ac_clock() + engine->conf.store_timeout;
    ac_store_call_post(engine->store, engine->loop, op, interrupt_on_asked, interrupt);
}

/* On a work thread: it may wait for the process that has the run. */
static void interrupt_cancel(void *baton)
{
    interrupt_t *interrupt = baton;
    interrupt->status = ac_run_cancel_anywhere(interrupt->engine, interrupt->run_id, interrupt->owner, false);
}

/* Cancels the thread's active run, unless the turn has done that. */
static void busy_interrupt(ac_run_t *run, const json_t *loaded)
{
    const char *active = ac_json_peek_string(loaded, "active_run", NULL);
    if (!active || run->turn->on_busy != AC_BUSY_INTERRUPT || strcmp(active, run->busy.cancelled) == 0) {
        return;
    }
    interrupt_t *interrupt = ac_alloc(sizeof *interrupt);
    interrupt->engine = run->engine;
    apr_cpystrn(interrupt->run_id, active, sizeof interrupt->run_id);
    apr_cpystrn(interrupt->owner, run->turn->owner, sizeof interrupt->owner);
    apr_cpystrn(interrupt->waiting_id, run->turn->run_id, sizeof interrupt->waiting_id);
    if (ac_work_post(run->engine->work, interrupt_cancel, interrupt_done, interrupt) != APR_SUCCESS) {
        free(interrupt); /* the next look tries again */
        return;
    }
    apr_cpystrn(run->busy.cancelled, active, sizeof run->busy.cancelled);
}

/* ---- entering the queue ---- */

static json_t *busy_input(const ac_turn_t *turn)
{
    json_t *input = json_object();
    ac_json_put(input, "content", turn->regenerate[0] ? json_null() : ac_json_text(turn->content));
    if (turn->regenerate[0]) {
        ac_json_put(input, "regenerate", ac_json_text(turn->regenerate));
    } else if (turn->has_parent) {
        ac_json_put(input, "parent_id", ac_json_text(turn->parent_id[0] ? turn->parent_id : NULL));
    }
    if (turn->metadata) {
        ac_json_put(input, "metadata", json_incref(turn->metadata));
    }
    if (turn->attachments) {
        ac_json_put(input, "attachments", json_incref(turn->attachments));
    }
    if (turn->format) {
        ac_json_put(input, "response_format", json_incref(turn->format));
    }
    return input;
}

static json_t *busy_document(const ac_run_t *run)
{
    json_t *document = ac_run_document_run(run);
    ac_json_put(document, "status", json_string("queued"));
    ac_json_put(document, "started_at", json_null());
    ac_json_put(document, "expires_at", ac_time_json(run->busy.until));
    ac_json_put(document, "input", busy_input(run->turn));
    if (run->turn->regenerate[0]) {
        json_object_del(document, "parent_id"); /* the question is looked up when the turn begins */
    }
    return document;
}

static void busy_refuse(ac_run_t *run, const ac_store_op_t *op)
{
    const char *other = ac_json_peek_string(op->out, "run_id", NULL);
    ac_err_t err = op->err;
    if (err.kind == AC_IDEMPOTENCY_CONFLICT && other && run->turn->key &&
        strcmp(ac_json_peek_string(op->out, "request_hash", ""), run->turn->key_hash) == 0) {
        ac_run_follower_attach(run, op->out);
        return;
    }
    if (!err.kind) {
        ac_err_set(&err, AC_STORE_ERROR, "the store failed");
    }
    ac_run_finish(run, AC_RUN_FAILED, &err, "not queued");
}

static void busy_on_queued(ac_store_op_t *op)
{
    ac_run_t *run = op->baton;
    bool stored = op->status == APR_SUCCESS || (op->err.kind == AC_STORE_TIMEOUT && !op->unwritten);
    run->n_ops--;
    run->busy.queued = stored;
    if (run->state != AC_RUN_LOADING) { /* cancelled meanwhile: it leaves the queue again */
        ac_run_close_continue(run);
    } else if (op->status == APR_SUCCESS) {
        ac_channel_deliver_queued(run->channel, json_object_get(op->in, "run"), run->turn->message_id,
                                  ac_json_peek_int(op->out, "place", 0));
        ac_run_transit(run, AC_RUN_WAITING, "thread busy");
    } else {
        busy_refuse(run, op);
    }
    ac_store_op_free(op);
}

bool ac_run_busy_waits(const ac_run_t *run)
{
    return run->busy.queued || run->turn->on_busy != AC_BUSY_REJECT;
}

bool ac_run_busy_defers(ac_run_t *run)
{
    bool first = run->turn->on_busy == AC_BUSY_INTERRUPT;
    if (!ac_run_busy_waits(run)) {
        return false;
    }
    if (run->busy.queued) {
        ac_run_transit(run, AC_RUN_WAITING, "thread busy");
        return true;
    }
    ac_store_op_t *op = ac_run_store_op(run, AC_STORE_TURN_QUEUE);
    run->busy.until = run->times.created_at + run->turn->queue_wait;
    op->in = json_object();
    ac_json_put(op->in, "run", busy_document(run));
    ac_json_put(op->in, "most", json_integer(first ? INT_MAX : run->turn->queue_most));
    ac_json_put(op->in, "first", json_boolean(first));
    if (run->turn->key) {
        ac_json_put(op->in, "idempotency", ac_run_open_key(run));
    }
    ac_run_store_call(run, op, busy_on_queued);
    return true;
}

const char *ac_run_busy_first(const ac_run_t *run, const json_t *loaded)
{
    const char *active = ac_json_peek_string(loaded, "active_run", NULL);
    const char *first = json_string_value(json_array_get(json_object_get(loaded, "queue"), 0));
    if (active || !first) {
        return active;
    }
    return strcmp(first, run->turn->run_id) != 0 ? first : NULL;
}

/* ---- waiting ---- */

/* Another process has begun the turn, or its owner has cancelled it: its followers read there what became of it. */
static void busy_leave(ac_run_t *run)
{
    run->busy.queued = false;
    apr_hash_set(run->engine->runs, run->turn->run_id, APR_HASH_KEY_STRING, NULL);
    json_t *here = json_pack("{s:s, s:s}", "run_id", run->turn->run_id, "thread_id", run->turn->thread_id);
    ac_run_follower_attach(run, here);
    json_decref(here);
}

void ac_run_busy_lost(ac_run_t *run)
{
    busy_leave(run);
}

static bool busy_has(const ac_run_t *run, const json_t *loaded)
{
    const json_t *id;
    size_t i;
    json_array_foreach(json_object_get(loaded, "queue"), i, id)
    {
        if (json_is_string(id) && strcmp(json_string_value(id), run->turn->run_id) == 0) {
            return true;
        }
    }
    return false;
}

static void busy_look_later(ac_run_t *run)
{
    ac_loop_t *loop = run->engine->loop;
    apr_interval_time_t wait = FIRST_LOOK << (run->busy.n_looks < 5 ? run->busy.n_looks : 5);
    run->busy.n_looks++;
    ac_timer_set(loop, &run->state_timer, ac_loop_now(loop) + (wait < MAX_LOOK ? wait : MAX_LOOK), busy_look, run);
}

static void busy_on_looked(ac_store_op_t *op)
{
    ac_run_t *run = op->baton;
    run->n_ops--;
    if (run->state != AC_RUN_WAITING) {
        ac_run_close_continue(run);
    } else if (op->err.kind == AC_NOT_FOUND) {
        run->busy.queued = false; /* with its thread */
        ac_run_finish(run, AC_RUN_FAILED, &op->err, "thread deleted");
    } else if (op->status != APR_SUCCESS) {
        busy_look_later(run);
    } else if (!busy_has(run, op->out)) {
        busy_leave(run);
    } else if (ac_run_busy_first(run, op->out)) {
        busy_interrupt(run, op->out);
        busy_look_later(run);
    } else {
        ac_run_transit(run, AC_RUN_QUEUED, "first in the queue");
        run->open.had_conflict = true; /* another process may be first: no model is called before the opening write */
        ac_run_slot_take(run);
    }
    ac_store_op_free(op);
}

static void busy_ask(ac_run_t *run)
{
    ac_store_op_t *op = ac_run_store_op(run, AC_STORE_TURN_LOAD);
    op->in = json_pack("{s:b}", "fresh", 1);
    op->page.limit = 1;
    ac_run_store_call(run, op, busy_on_looked);
}

static void busy_look(void *baton)
{
    ac_run_t *run = baton;
    ac_err_t err;
    if (apr_time_now() < run->busy.until) {
        busy_ask(run);
        return;
    }
    ac_err_init(&err);
    ac_err_set(&err, AC_RUN_TIMEOUT, "the thread was busy for too long");
    ac_run_finish(run, AC_RUN_FAILED, &err, "queue time is over");
}

void ac_run_busy_enter(ac_run_t *run)
{
    ac_timer_cancel(run->engine->loop, &run->run_timer);
    ac_run_slot_yield(run);
    run->busy.n_looks = 0;
    run->engine->n_waiting += !run->busy.counted;
    run->busy.counted = true;
    busy_look_later(run);
}

void ac_run_busy_wake(const ac_run_t *ended)
{
    ac_engine_t *engine = ended->engine;
    if (!engine->n_waiting) {
        return;
    }
    for (apr_hash_index_t *hi = apr_hash_first(NULL, engine->runs); hi; hi = apr_hash_next(hi)) {
        ac_run_t *run = apr_hash_this_val(hi);
        if (run->state == AC_RUN_WAITING && run->n_ops == 0 &&
            strcmp(run->turn->thread_id, ended->turn->thread_id) == 0) {
            ac_timer_set(engine->loop, &run->state_timer, ac_loop_now(engine->loop), busy_look, run);
        }
    }
}

/* ---- leaving the queue without a turn ---- */

static void busy_on_unqueued(ac_store_op_t *op)
{
    ac_run_t *run = op->baton;
    run->n_ops--;
    if (op->status == APR_SUCCESS) {
        ac_run_webhook_notify(run->engine, run->turn->owner, json_object_get(op->in, "run"), NULL);
    }
    ac_store_op_free(op); /* if it failed, another process ends the turn when its time is over */
    ac_run_close_continue(run);
}

bool ac_run_busy_unqueue(ac_run_t *run)
{
    if (!run->busy.queued || run->open.state == AC_RUN_OPEN_DONE || run->err.kind == AC_STOPPING) {
        return false;
    }
    run->busy.queued = false;
    ac_store_op_t *op = ac_store_op_create(AC_STORE_TURN_UNQUEUE, run->turn->owner, run->turn->run_id);
    if (!op) {
        abort();
    }
    op->in = json_object();
    ac_json_put(op->in, "run", ac_run_document_run(run));
    ac_run_store_call(run, op, busy_on_unqueued);
    return true;
}
