/* SPDX-License-Identifier: Apache-2.0 */
/* A run without a log, or with one that was cut: reads its stored documents, and delivers the events made of them.
 * A run that no store has is in a log or in the mirror, or it cannot be followed. */
#include "tail.h"

#include <stdlib.h>
#include <string.h>

#define LOOK apr_time_from_msec(250)  /* at a run that is active elsewhere without a log: at first */
#define LOOK_MAX apr_time_from_sec(2) /* later */
#define UNSTORED_LOOKS 4              /* at a run whose key was there before its log, or its entry in the mirror */
#define GONE_AFTER 2                  /* looks at a run whose log is not here: a child may be adopting it */

void ac_tail_stored_free(ac_tail_t *tail)
{
    for (int i = tail->next_event; i < tail->n_events; i++) {
        ac_event_unref(tail->events[i]);
    }
    free(tail->events);
    tail->events = NULL;
    tail->n_events = tail->next_event = 0;
    json_decref(tail->run);
    json_decref(tail->steps);
    json_decref(tail->message);
    json_decref(tail->user_message);
    tail->run = tail->steps = tail->message = tail->user_message = NULL;
}

/* The follower has emitted events whose part of the answer is no longer known. A terminal ERROR can still be
 * delivered; after DONE the follower would take its part for the whole answer. */
static bool tail_stored_find_place(ac_tail_t *tail)
{
    const ac_event_t *last = tail->events[tail->n_events - 1];
    if (!ac_tail_is_beyond(tail)) {
        return true;
    }
    if (last->type == AC_EVENT_ERROR) {
        tail->after = last->seq - 1;
        return true;
    }
    ac_tail_refuse_gone(tail, "the run has ended");
    return false;
}

static void tail_stored_deliver(ac_tail_t *tail)
{
    while (tail->next_event < tail->n_events && !tail->left && !tail->ended) {
        if (!ac_tail_has_room(tail)) {
            return;
        }
        ac_tail_deliver(tail, tail->events[tail->next_event++]);
    }
    ac_tail_continue(tail, 0);
}

/* ---- the store ---- */

static void tail_stored_ask(ac_tail_t *tail, ac_store_op_t *op, void (*done)(ac_store_op_t *op))
{
    if (!op) {
        abort();
    }
    op->deadline = ac_clock() + tail->engine->conf.store_timeout;
    tail->pending = true;
    ac_store_call_post(tail->engine->store, tail->engine->loop, op, done, tail);
}

/* The tail of a completed operation. NULL: it has no use for the result; then op is freed. */
static ac_tail_t *answered(ac_store_op_t *op)
{
    ac_tail_t *tail = op->baton;
    ac_err_t err = op->err;
    tail->pending = false;
    if (op->status == APR_SUCCESS && !tail->left) {
        return tail;
    }
    if (!tail->left) {
        if (!err.kind) {
            ac_err_set(&err, AC_STORE_ERROR, "the store failed");
        }
        ac_err_while(&err, "reading the run");
        ac_tail_fail(tail, &err);
    } else {
        ac_tail_continue(tail, 0);
    }
    ac_store_op_free(op);
    return NULL;
}

static void ask_messages(ac_tail_t *tail);

static void on_messages(ac_store_op_t *op)
{
    ac_tail_t *tail = answered(op);
    size_t i;
    json_t *message;
    bool found = false; /* the question: a run's answer is newer */
    if (!tail) {
        return;
    }
    const char *question = ac_json_peek_string(tail->run, "parent_id", "");
    json_array_foreach(json_object_get(op->out, "data"), i, message)
    {
        json_t **pkept = ac_record_is_answer(message) ? &tail->message : &tail->user_message;
        tail->before_seq = ac_json_peek_int(message, "seq", tail->before_seq);
        found = found || strcmp(ac_json_peek_string(message, "id", ""), question) == 0;
        if (strcmp(ac_json_peek_string(message, "run_id", ""), tail->run_id) != 0 || *pkept) {
            continue;
        }
        *pkept = json_incref(message);
    }
    bool more = i && json_is_true(json_object_get(op->out, "has_more"));
    ac_store_op_free(op);
    /* Messages come from the newest on; the user's message is the first of its turn. */
    if (more && !tail->user_message && !found) {
        ask_messages(tail);
        return;
    }
    ac_tail_events_make(tail);
    if (tail_stored_find_place(tail)) {
        tail_stored_deliver(tail);
    }
}

static void ask_messages(ac_tail_t *tail)
{
    ac_store_op_t *op =
        ac_store_op_create(AC_STORE_MESSAGE_LIST, tail->owner, ac_json_peek_string(tail->run, "thread_id", ""));
    if (op) {
        op->in = json_pack("{s:b}", "all", 1);
        op->page.limit = AC_MAX_PAGE;
        op->page.descending = true;
        op->page.before_seq = tail->before_seq;
    }
    tail_stored_ask(tail, op, on_messages);
}

static void on_steps(ac_store_op_t *op)
{
    ac_tail_t *tail = answered(op);
    if (!tail) {
        return;
    }
    tail->steps = json_incref(json_object_get(op->out, "data"));
    ac_store_op_free(op);
    tail->before_seq = 0;
    ask_messages(tail);
}

/* Once: as the process does it that put the turn into the queue of its thread. */
static void tail_stored_report_queued(ac_tail_t *tail)
{
    if (tail->live || strcmp(ac_json_peek_string(tail->run, "status", ""), "queued") != 0) {
        return;
    }
    ac_channel_deliver_queued(tail->channel, tail->run, ac_json_peek_string(tail->run, "parent_id", NULL), -1);
}

static void tail_stored_look_again(ac_tail_t *tail)
{
    apr_interval_time_t wait = LOOK << (tail->n_looks < 8 ? tail->n_looks : 8) / 2;
    if (tail->n_looks++ >= GONE_AFTER && ac_tail_is_beyond(tail)) {
        ac_tail_refuse_gone(tail, "the run continues where its events cannot be read from here");
        return;
    }
    if (!ac_tail_is_beyond(tail)) {
        tail_stored_report_queued(tail);
        ac_tail_report_live(tail);
    }
    ac_tail_continue(tail, wait < LOOK_MAX ? wait : LOOK_MAX);
}

static void tail_stored_on_run(ac_store_op_t *op)
{
    ac_tail_t *tail = answered(op);
    if (!tail) {
        return;
    }
    json_decref(tail->run);
    tail->run = json_incref(op->out);
    ac_store_op_free(op);
    if (json_object_get(tail->run, "deleted")) {
        ac_err_t err;
        ac_err_init(&err);
        ac_err_set(&err, AC_NOT_FOUND, "the answer of this run is deleted");
        ac_tail_fail(tail, &err);
    } else if (!ac_tail_mirror_read(tail)) {
        ac_tail_stored_decide(tail);
    }
}

/* ---- a run that no store has ---- */

static void unstored_decide(ac_tail_t *tail)
{
    ac_err_t err;
    ac_err_init(&err);
    if (!tail->after && tail->n_looks++ < UNSTORED_LOOKS) {
        ac_tail_continue(tail, LOOK);
        return;
    }
    ac_err_set(
        &err, AC_IDEMPOTENCY_CONFLICT,
        "this request was carried out before, as %s, and its answer is not kept here; it is not carried out again",
        tail->run_id);
    ac_tail_fail(tail, &err);
}

/* Its key has said whose it is. While it is under way, the mirror may have it. */
static void unstored_continue(ac_tail_t *tail)
{
    if (!tail->run) {
        tail->run = json_pack("{s:s, s:s}", "id", tail->run_id, "status", "in_progress");
    }
    if (!ac_tail_mirror_read(tail)) {
        unstored_decide(tail);
    }
}

void ac_tail_stored_decide(ac_tail_t *tail)
{
    if (tail->unstored) {
        unstored_decide(tail);
    } else if (ac_record_is_active(tail->run)) {
        tail_stored_look_again(tail);
    } else {
        tail_stored_ask(tail, ac_store_op_create(AC_STORE_STEP_LIST, tail->owner, tail->run_id), on_steps);
    }
}

void ac_tail_stored_continue(ac_tail_t *tail)
{
    if (tail->n_events) {
        tail_stored_deliver(tail);
    } else if (tail->unstored) {
        unstored_continue(tail);
    } else {
        tail_stored_ask(tail, ac_store_op_create(AC_STORE_RUN_GET, tail->owner, tail->run_id), tail_stored_on_run);
    }
}
