/* SPDX-License-Identifier: Apache-2.0 */
/* The opening write of a run: stores the user's message and the run, while the first model call already runs. Of a run
 * that stores nothing it is the key alone, if it has one. */
#include "run_internal.h"

#include <stdlib.h>
#include <string.h>

#define BUSY_RETRY apr_time_from_sec(1)

bool ac_run_open_is_done(const ac_run_t *run)
{
    return run->open.state == AC_RUN_OPEN_DONE || (run->turn->stateless && !run->turn->key);
}

/* After a conflict, and for a key that an earlier run may have got meanwhile. */
bool ac_run_open_is_first(const ac_run_t *run)
{
    const ac_turn_t *turn = run->turn;
    return run->open.had_conflict || (turn->stateless && turn->key && turn->key_since != AC_KEY_IS_NEW);
}

/* Two requests with one key came at the same time, and the other one was first: this run's followers join that run. */
static bool opened_elsewhere(ac_run_t *run, const ac_store_op_t *op)
{
    const char *run_id = ac_json_peek_string(op->out, "run_id", NULL);
    if (op->err.kind != AC_IDEMPOTENCY_CONFLICT || !run_id ||
        strcmp(ac_json_peek_string(op->out, "request_hash", ""), run->turn->key_hash) != 0) {
        return false;
    }
    run->open.state = AC_RUN_OPEN_FAILED;
    ac_run_follower_attach(run, op->out);
    return true;
}

static void write_opening(ac_run_t *run);

/* A run may wait for its model for minutes, and the document is large. */
static void run_open_drop(ac_run_t *run)
{
    json_decref(run->open.document);
    run->open.document = NULL;
}

/* The thread was changed concurrently: it has messages that the model did not get. Nothing is stored yet, no client
 * has an event and no tool was called, so the run restarts with the newer history, as often as its time allows. From
 * the second time on the opening write comes before the model call: a busy thread then costs reads of the store, but
 * no model calls. false: the run has failed or was cancelled; its message must not be stored here, since an older
 * answer could follow it. */
static bool open_again(ac_run_t *run)
{
    bool restart = run->state == AC_RUN_ASKING || run->state == AC_RUN_CALLING ||
        (run->state == AC_RUN_SAVING && run->outcome == AC_RUN_COMPLETED);
    if (!restart || run->err.kind) {
        return false;
    }
    run->load.is_stale = run->open.had_conflict && run->load.last_seq == run->open.refused_after;
    run->open.refused_after = run->load.last_seq;
    run->open.had_conflict = true;
    run->open.requested = false;
    run->open.state = AC_RUN_OPEN_NONE;
    run_open_drop(run);
    ac_run_restart(run);
    return true;
}

static void refuse_overtaken(ac_err_t *err)
{
    ac_err_set(err, AC_RUN_IN_PROGRESS, "the thread was changed concurrently, before this message could be stored");
    err->retry_after = BUSY_RETRY;
}

/* The store names a file by its place in the list, a client by its part of the content. */
static void place_error(const ac_run_t *run, ac_err_t *err)
{
    static const char files[] = "/files/";
    bool of_file = strncmp(err->pointer, files, sizeof files - 1) == 0;
    size_t at = of_file ? strtoul(err->pointer + sizeof files - 1, NULL, 10) : SIZE_MAX;
    if (at < json_array_size(run->turn->attachments)) {
        apr_snprintf(err->pointer, sizeof err->pointer, "/%s/%d/file_id", run->turn->member, run->turn->parts[at]);
    }
}

/* Nothing was stored. The client gets this error, whatever other error came meanwhile. */
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
    if (err.kind == AC_IDEMPOTENCY_CONFLICT && run->turn->creates && run->open.new_thread) {
        ac_err_init(&err);
        ac_err_set(&err, AC_IDEMPOTENCY_CONFLICT,
                   "the thread of this conversation was deleted; restore it, or begin another");
    }
    place_error(run, &err);
    run->open.state = AC_RUN_OPEN_FAILED;
    if (run->state == AC_RUN_SAVING) {
        run->err = err;
        run->outcome = AC_RUN_FAILED;
    } else {
        ac_run_finish(run, AC_RUN_FAILED, &err, "message not stored");
    }
}

/* Another request has made the thread of this name meanwhile. The second time it is one that was deleted, whose id is
 * not free. */
static bool made_elsewhere(const ac_run_t *run, const ac_store_op_t *op)
{
    return op->err.kind == AC_IDEMPOTENCY_CONFLICT && !op->out && run->turn->creates && run->open.new_thread &&
        !run->open.had_conflict;
}

/* The queue decides: another turn was first, or another process has begun this one. */
static bool open_in_queue(ac_run_t *run, const ac_store_op_t *op)
{
    if (op->err.kind == AC_RUN_IN_PROGRESS && ac_run_busy_waits(run)) {
        return open_again(run);
    }
    if (op->err.kind != AC_RUN_ENDED || !run->busy.queued) {
        return false;
    }
    run->open.state = AC_RUN_OPEN_FAILED;
    ac_run_busy_lost(run);
    return true;
}

static void on_opened(ac_store_op_t *op)
{
    ac_run_t *run = op->baton;
    run->n_ops--;
    if (((op->err.kind == AC_PRECONDITION_FAILED || made_elsewhere(run, op)) && open_again(run)) ||
        open_in_queue(run, op)) {
        ac_store_op_free(op);
        return;
    }
    /* The write may have succeeded. A retry with the same ids finds that out, and the store makes it only once. */
    if (op->err.kind == AC_STORE_TIMEOUT && !op->unwritten && run->open.n_retries < AC_MAX_OPENINGS &&
        !run->engine->stop.stopping && !run->turn->key_optional) {
        run->open.n_retries++;
        json_object_set_new(run->open.document, "retry", json_true());
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
    if (op->status == APR_SUCCESS || run->turn->key_optional) {
        run->open.state = AC_RUN_OPEN_DONE;
        if (op->status == APR_SUCCESS) {
            run->engine->hooks->on_stored(run->engine);
        }
        ac_run_event_release(run);
        run_open_drop(run);
        if (run->state == AC_RUN_CALLING) {
            ac_run_call_begin_all(run);
        } else if (run->state == AC_RUN_ASKING && ac_run_open_is_first(run)) {
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
    ac_store_op_t *op = ac_run_store_op(run, run->turn->stateless ? AC_STORE_KEY_PUT : AC_STORE_TURN_OPEN);
    op->in = json_incref(run->open.document);
    ac_run_store_call(run, op, on_opened);
}

static json_t *open_files(const ac_run_t *run)
{
    json_t *files = json_object(), *ids = json_array(), *file;
    size_t i;
    json_array_foreach(run->turn->attachments, i, file)
    {
        json_array_append(ids, json_object_get(file, "file_id"));
    }
    ac_json_put(files, "ids", ids);
    if (run->turn->file_limits) {
        ac_json_put(files, "limits", json_incref(run->turn->file_limits));
    }
    return files;
}

json_t *ac_run_open_key(const ac_run_t *run)
{
    json_t *key = json_object();
    ac_json_put(key, "key", ac_json_text(run->turn->key));
    ac_json_put(key, "request_hash", ac_json_text(run->turn->key_hash));
    ac_json_put(key, "since", ac_time_json(run->turn->key_since));
    return key;
}

/* The run is in no store: only its key is. */
static void open_key_alone(ac_run_t *run)
{
    json_t *in = run->open.document = json_object(), *open = json_object();
    ac_json_put(open, "id", ac_json_text(run->turn->run_id));
    ac_json_put(open, "created_at", ac_time_json(run->times.created_at));
    ac_json_put(in, "run", open);
    ac_json_put(in, "idempotency", ac_run_open_key(run));
    run->open.state = AC_RUN_OPEN_PENDING;
    write_opening(run);
}

void ac_run_open_write(ac_run_t *run)
{
    if (run->turn->stateless) {
        open_key_alone(run);
        return;
    }
    bool answers = run->turn->regenerate[0] != '\0'; /* a stored question */
    bool untitled = answers || (run->load.answered && !*run->turn->content);
    json_t *in = run->open.document = json_object(), *earlier = answers ? NULL : ac_run_document_earlier(run);
    json_int_t n_messages = answers ? 0 : (json_int_t)json_array_size(earlier) + 1;
    ac_json_put(in, "message", answers ? json_null() : ac_run_document_user_message(run));
    if (earlier) {
        const json_t *last = json_array_get(earlier, json_array_size(earlier) - 1);
        ac_json_put(json_object_get(in, "message"), "parent_id", json_incref(json_object_get(last, "id")));
        ac_json_put(in, "earlier", earlier);
    }
    ac_json_put(in, "run", ac_run_document_run(run));
    ac_json_put(in, "title", untitled ? json_null() : ac_run_document_title(run));
    ac_json_put(in, "parent_seq", json_integer(run->load.parent_seq));
    run->open.place.after = run->load.last_seq + n_messages;
    run->open.place.parent_seq = answers ? run->load.parent_seq : run->open.place.after;
    if (run->open.new_thread) {
        ac_json_put(in, "thread", ac_run_document_thread(run));
    } else {
        ac_json_put(in, "after", json_integer(run->load.last_seq));
        ac_json_put(in, "deleted_messages", json_integer(run->load.n_deleted));
    }
    if (run->turn->key) {
        ac_json_put(in, "idempotency", ac_run_open_key(run));
    }
    if (run->busy.queued) {
        ac_json_put(in, "queued", json_true());
    }
    run->open.state = AC_RUN_OPEN_PENDING;
    if (run->turn->attachments) {
        ac_json_put(in, "files", open_files(run));
    }
    write_opening(run);
}
