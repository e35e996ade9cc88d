/* SPDX-License-Identifier: Apache-2.0 */
/* SAVING: the closing write of a run, which stores the answer, and the way to the run's end. */
#include "run_internal.h"

#include <stdlib.h>
#include <string.h>

static void run_close_on_closed(ac_store_op_t *op);

/* Writes the same documents again: a store accepts a closing write that it has made already. */
static void write_again(void *baton)
{
    ac_run_t *run = baton;
    ac_store_op_t *op = ac_run_store_op(run, AC_STORE_TURN_CLOSE);
    op->in = json_incref(run->close.document);
    ac_run_store_call(run, op, run_close_on_closed);
    run->n_ops--; /* counted when the retry was scheduled */
}

/* Retries for some seconds, so that a short outage does not cost an answer; a longer outage fails the run. */
static bool close_retry(ac_run_t *run, const ac_store_op_t *op)
{
    apr_interval_time_t wait = apr_time_from_msec(100) << run->close.n_retries;
    bool worth = op->err.kind == AC_STORE_ERROR || op->err.kind == AC_STORE_TIMEOUT || op->err.kind == AC_OVERLOADED;
    if (!worth || run->close.n_retries >= AC_MAX_CLOSINGS || run->engine->stop.stopping) {
        return false;
    }
    run->close.n_retries++;
    run->n_ops++;
    ac_timer_set(run->engine->loop, &run->state_timer, ac_loop_now(run->engine->loop) + wait, write_again, run);
    return true;
}

static void run_close_on_closed(ac_store_op_t *op)
{
    ac_run_t *run = op->baton;
    run->n_ops--;
    if (op->status == APR_SUCCESS) {
        run->engine->hooks->on_stored(run->engine);
        ac_run_webhook_notify(run->engine, run->turn->owner, json_object_get(op->in, "run"), NULL);
        json_t *message = json_object_get(op->out, "message");
        run->close.message = json_is_object(message) ? json_incref(message) : NULL; /* the thread may be deleted */
    } else if (!close_retry(run, op)) {
        ac_err_init(&run->err);
        run->err = op->err;
        if (!run->err.kind) {
            ac_err_set(&run->err, AC_STORE_ERROR, "the store failed");
        }
        run->outcome = AC_RUN_FAILED;
        run->close.failed = run->err.kind != AC_INTERRUPTED; /* another server has closed it */
        if (run->close.failed) {
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
    if (run->n_ops > 0 || run->nested.n_inner > 0) {
        return; /* a completion comes back here */
    }
    if (run->nested.outer) {
        ac_run_nested_close(run);
        return;
    }
    if (ac_run_busy_unqueue(run)) {
        return;
    }
    bool is_stored = run->open.state == AC_RUN_OPEN_DONE && !run->turn->stateless;
    if (is_stored && !run->close.requested && run->err.kind != AC_INTERRUPTED) {
        ac_store_op_t *op = ac_run_store_op(run, AC_STORE_TURN_CLOSE);
        json_t *message = ac_run_document_answer(run);
        run->close.document = json_object();
        ac_json_put(run->close.document, "message", message ? message : json_null());
        ac_json_put(run->close.document, "run", ac_run_document_run(run));
        ac_json_put(run->close.document, "steps", run->answer.steps ? json_incref(run->answer.steps) : json_array());
        if (run->answer.handed_over) {
            ac_json_put(run->close.document, "agent_id", ac_json_text(run->agent->id));
        }
        if (run->open.place.parent_seq > 0) { /* an older version has suspended runs without it */
            ac_json_put(run->close.document, "parent_seq", json_integer(run->open.place.parent_seq));
            ac_json_put(run->close.document, "after", json_integer(run->open.place.after));
        }
        run->close.requested = true;
        ac_run_log_write_closing(run);
        op->in = json_incref(run->close.document);
        ac_run_store_call(run, op, run_close_on_closed);
        return;
    }
    ac_loop_ready_cancel(run->engine->loop, &run->ready); /* a pending ac_run_begin() */
    ac_loop_ready_set(run->engine->loop, &run->ready, end_later, run);
}
