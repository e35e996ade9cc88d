/* SPDX-License-Identifier: Apache-2.0 */
/* TURN_OPEN in the Cosmos DB store: stores the user's message and the run. Its steps, in the order of this file:
 *
 *  1  build the documents, acquire the run's lease, check the Idempotency-Key
 *  2  read the thread's document; from memory if it is there            (not of a new thread)
 *  3  check it: the thread exists, no run is active, no message is new  (not of a new thread)
 *     - its active run may be dead: ac_cosmos_run_check_active() closes such a run
 *     - its active run may be this one, from an earlier attempt: 7
 *     - before a refusal the Idempotency-Key is checked once more: another task may have opened the same turn since 1
 *  4  claim the entries in the owner's partition, one batch: the run's entry, and the thread's entry marked as
 *     changing. After a conflict only the thread's entry is marked again
 *  5  let the Idempotency-Key lead to this run, then attach the message's files to the thread
 *  6  write the parts of a large message, then commit thread, message and run in one batch, under the thread's ETag
 *     - 404 or 412, the thread changed: back to 2, with a read; the files are attached again
 *     - 409, a document exists: 7
 *  7  find out whether an earlier attempt stored the run; if it did, renew its lease and answer as if this one had
 *  8  after a failure whose outcome is unknown: close the run later, if it was stored
 *
 * Without a run there is neither a lease nor an entry of one: 4 only marks the thread's entry.
 *
 * Until 6 the entries lead nowhere, so a task that dies in between leaves nothing that a reader sees. */
#include "cosmos_internal.h"

#include <string.h>

#include <apr_strings.h>

#define MAX_CLEANUPS \
    10 /* consecutive tasks that try to close a run with an unknown outcome; its lease has expired by then */

static void open_read_thread(ac_cosmos_task_t *task);
static void open_check_thread(ac_cosmos_task_t *task);
static void open_check_state(ac_cosmos_task_t *task);
static void open_claim_entries(ac_cosmos_task_t *task);
static void open_on_entries_claimed(void *baton, const ac_cosmos_reply_t *reply);
static void open_on_entry_read(void *baton, const ac_cosmos_reply_t *reply);
static void open_claim_key(ac_cosmos_task_t *task);
static void open_attach_files(ac_cosmos_task_t *task);
static void open_write_parts(ac_cosmos_task_t *task);
static void open_commit(ac_cosmos_task_t *task);
static void open_on_committed(void *baton, const ac_cosmos_reply_t *reply);
static void open_find_earlier(ac_cosmos_task_t *task);
static void open_check_earlier_or_busy(ac_cosmos_task_t *task);
static void open_check_earlier(ac_cosmos_task_t *task);
static void open_on_lease_renewed(void *baton, const ac_cosmos_reply_t *reply);
static void open_failed(ac_cosmos_task_t *task);
static void cleanup_later(ac_cosmos_task_t *task);

static bool is_new_thread(const ac_cosmos_task_t *task)
{
    return json_is_object(json_object_get(task->op->in, "thread"));
}

/* A turn without a message answers a stored question. */
static bool has_message(const ac_cosmos_task_t *task)
{
    return json_is_object(json_object_get(task->op->in, "message"));
}

static const char *open_message_id(const ac_cosmos_task_t *task)
{
    return ac_json_peek_string(json_object_get(task->documents, "message"), "id", "");
}

/* Without a run the operation stores messages alone. */
static bool has_run(const ac_cosmos_task_t *task)
{
    return *task->run_id != '\0';
}

/* The unique key of the run's entry. */
static const char *open_entry_key(const ac_cosmos_task_t *task)
{
    return has_message(task) ? open_message_id(task) : task->run_id;
}

/* ---- endings ---- */

static void end_conflict(ac_cosmos_task_t *task)
{
    ac_cosmos_task_end(task,
                       ac_err_set(&task->op->err, AC_IDEMPOTENCY_CONFLICT, "an object with this id exists already"));
}

/* By its owner, or by a repeat of the message that has taken over its files. */
static void end_taken_over(ac_cosmos_task_t *task)
{
    ac_cosmos_task_end(task,
                       ac_err_set(&task->op->err, AC_IDEMPOTENCY_CONFLICT,
                                  "the thread was removed before this message was stored; if the message was sent "
                                  "again, the repeat is stored in a thread of its own"));
}

static void refuse_busy(ac_cosmos_task_t *task)
{
    task->op->out = json_pack("{s:s}", "run_id", ac_cosmos_thread_doc_run(&task->thread));
    ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_RUN_IN_PROGRESS, "the thread has an active run"));
}

static void end_busy(ac_cosmos_task_t *task)
{
    ac_cosmos_key_check(task, refuse_busy);
}

static void refuse_changed(ac_cosmos_task_t *task)
{
    ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_PRECONDITION_FAILED, "the thread was changed concurrently"));
}

static void end_opened(ac_cosmos_task_t *task, const json_t *message)
{
    json_t *out = json_object();
    bool fine = ac_json_put(out, "thread", ac_cosmos_doc_thread(task->thread.doc));
    fine = ac_json_put(out, "message", message ? ac_cosmos_doc_message(message) : json_null()) && fine;
    task->op->out = out;
    if (has_run(task)) {
        ac_cosmos_lease_opened(task->store, task->run_id);
    }
    ac_cosmos_task_end(task, fine ? APR_SUCCESS : ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
}

/* ---- 1: documents, lease, key ---- */

/* *pearlier: the documents of the messages that come before the turn's own; NULL: none. */
static apr_status_t open_make_earlier(json_t **pearlier, ac_cosmos_task_t *task)
{
    const json_t *in;
    apr_status_t status = APR_SUCCESS;
    size_t i;
    json_array_foreach(json_object_get(task->op->in, "earlier"), i, in)
    {
        json_t *message = NULL;
        status = ac_cosmos_doc_make_message(&message, in, task->op->id, &task->op->err);
        if (status == APR_SUCCESS) {
            status = ac_cosmos_doc_split(&message, task->parts, &task->op->err);
        }
        if (status != APR_SUCCESS) {
            json_decref(message);
            return status;
        }
        *pearlier = *pearlier ? *pearlier : json_array();
        json_array_append_new(*pearlier, message);
    }
    return APR_SUCCESS;
}

static apr_status_t open_make_documents(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    json_t *message = NULL, *run = NULL, *earlier = NULL;
    apr_status_t status = APR_SUCCESS;
    task->parts = json_array();
    if (!json_is_null(json_object_get(op->in, "message"))) {
        status = ac_cosmos_doc_make_message(&message, json_object_get(op->in, "message"), op->id, &op->err);
    }
    if (status == APR_SUCCESS && !json_is_null(json_object_get(op->in, "run"))) {
        status = ac_cosmos_doc_make_run(&run, json_object_get(op->in, "run"), op, &op->err);
    }
    if (status == APR_SUCCESS && is_new_thread(task)) {
        const json_t *thread = json_object_get(op->in, "thread");
        status = ac_cosmos_doc_make_thread(&task->thread.doc, thread, op->id, op->owner, &op->err);
    }
    if (status == APR_SUCCESS) {
        task->whole = json_copy(message);
        status = ac_cosmos_doc_split(&message, task->parts, &op->err);
    }
    if (status == APR_SUCCESS) {
        status = open_make_earlier(&earlier, task);
    }
    apr_cpystrn(task->run_id, ac_json_peek_string(run, "id", ""), sizeof(task->run_id));
    task->documents = json_pack("{s:o?, s:o?, s:o?}", "message", message, "run", run, "earlier", earlier);
    return status != APR_SUCCESS || task->documents ? status : ac_err_set(&op->err, AC_INTERNAL, "out of memory");
}

void ac_cosmos_open_turn(ac_cosmos_task_t *task)
{
    apr_status_t status = open_make_documents(task);
    if (status != APR_SUCCESS) {
        ac_cosmos_task_end(task, status);
        return;
    }
    task->on_failure = open_failed;
    /* Acquired before the run is stored: another task that loads the thread meanwhile must not consider the run
     * dead. */
    if (has_run(task)) {
        ac_cosmos_lease_acquire(task->store, task->op, task->run_id);
    }
    ac_cosmos_key_check(task, is_new_thread(task) ? open_claim_entries : open_read_thread);
}

/* ---- 2: the thread's document ---- */

static void open_read_thread(ac_cosmos_task_t *task)
{
    ac_cosmos_thread_doc_read(task, true, open_check_thread);
}

/* ---- 3: its state ---- */

/* Whether the thread has messages that the caller has not read, or lacks some that it has read. */
static bool open_has_new_messages(const ac_cosmos_task_t *task)
{
    const json_t *after = json_object_get(task->op->in, "after");
    int64_t n = ac_json_peek_int(task->thread.doc, "message_count", 0);
    return json_is_integer(after) &&
        (json_integer_value(after) != n ||
         ac_json_peek_int(task->op->in, "deleted_messages", 0) !=
             ac_json_peek_int(task->thread.doc, "deleted_messages", 0));
}

static void open_check_thread(ac_cosmos_task_t *task)
{
    const char *run_id = ac_cosmos_thread_doc_run(&task->thread);
    bool refuses = *run_id || !ac_cosmos_thread_doc_lives(&task->thread, false) || open_has_new_messages(task);
    if (task->thread.remembered && refuses) {
        ac_cosmos_thread_doc_read(task, false,
                                  open_check_thread); /* a remembered document is not sufficient to refuse */
    } else if (*run_id && strcmp(run_id, task->run_id) != 0) {
        ac_cosmos_run_check_active(task, open_check_state);
    } else {
        open_check_state(task);
    }
}

/* A turn of the queue, which more than one process may try to begin. */
static bool open_is_elsewhere(const ac_cosmos_task_t *task)
{
    const char *holder = ac_json_peek_string(json_object_get(task->thread.doc, "active_run"), "holder", "");
    return json_is_true(json_object_get(task->op->in, "queued")) && strcmp(holder, task->store->holder) != 0;
}

static void open_check_state(ac_cosmos_task_t *task)
{
    const char *run_id = ac_cosmos_thread_doc_run(&task->thread);
    const json_t *queue = json_object_get(task->thread.doc, "queue");
    bool queued;
    if (!ac_cosmos_thread_doc_lives(&task->thread, false)) {
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_NOT_FOUND, "no thread with this id"));
    } else if (*run_id && strcmp(run_id, task->run_id) == 0 && open_is_elsewhere(task)) {
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_RUN_ENDED, "another process has begun the turn"));
    } else if (*run_id && strcmp(run_id, task->run_id) == 0) {
        ac_cosmos_turn_find_message(task, open_message_id(task), open_check_earlier_or_busy);
    } else if (*run_id) {
        end_busy(task);
    } else if (has_run(task) && ac_store_queue_open(&queued, queue, task->op) != APR_SUCCESS) {
        ac_cosmos_task_end(task, ac_err_row(task->op->err.kind)->status);
    } else if (open_has_new_messages(task)) {
        ac_cosmos_key_check(task, refuse_changed);
    } else if (task->turn.claimed || !has_run(task)) {
        ac_cosmos_entry_mark(task, open_attach_files);
    } else {
        open_claim_entries(task);
    }
}

/* ---- 4: the entries in the owner's partition ---- */

static void open_claim_entries(ac_cosmos_task_t *task)
{
    const char *owner = task->op->owner;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_BATCH, .container = AC_COSMOS_THREADS, .key = owner};
    json_t *run = ac_cosmos_doc_make_run_entry(owner, task->run_id, task->op->id, open_entry_key(task)), *thread;
    ac_cosmos_batch_t batch;
    ac_json_put(run, "changing", json_true()); /* until it is counted */
    ac_id_make(task->entry.change, "made_");
    thread = ac_cosmos_doc_make_marked_entry(task->thread.doc, task->entry.change);
    ac_cosmos_request_batch_init(&batch);
    ac_cosmos_request_batch_add(&batch, AC_COSMOS_CREATE, owner, task->run_id, run, NULL);
    ac_cosmos_request_batch_add(&batch, AC_COSMOS_UPSERT, owner, task->op->id, thread, NULL);
    ac_cosmos_request_batch_end(&batch);
    ac_cosmos_call_write_batch(task, &request, &batch, open_on_entries_claimed);
    json_decref(run);
    json_decref(thread);
}

static void open_on_entries_claimed(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .container = AC_COSMOS_THREADS,
                                   .key = task->op->owner,
                                   .id = task->run_id};
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 409))) {
        return;
    }
    if (reply->status == 200) {
        open_claim_key(task);
    } else {
        ac_cosmos_call_start(task, &request, open_on_entry_read, task);
    }
}

/* The run's entry exists: an earlier attempt wrote it, or another run or message has its id. */
static void open_on_entry_read(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    if (reply->status == 200 && strcmp(ac_json_peek_string(reply->body, "thread_id", ""), task->op->id) == 0 &&
        strcmp(ac_json_peek_string(reply->body, "key", ""), open_entry_key(task)) == 0) {
        ac_cosmos_entry_mark(task, open_claim_key);
    } else {
        end_conflict(task);
    }
}

/* ---- 5: the Idempotency-Key, and files ---- */

static void open_claim_key(ac_cosmos_task_t *task)
{
    ac_cosmos_key_claim(task, open_attach_files);
}

/* The files belong to the thread before its message has them: what is stored never refers to files that a sweep may
 * remove. Again after a conflict: another thread may have them by now, as no message had. */
static void open_attach_files(ac_cosmos_task_t *task)
{
    ac_cosmos_file_attach(task, open_write_parts);
}

/* ---- 6: parts and batch ---- */

static void open_write_parts(ac_cosmos_task_t *task)
{
    task->turn.claimed = true;
    ac_cosmos_turn_write_parts(task, open_commit);
}

static void open_commit(ac_cosmos_task_t *task)
{
    json_t *run = json_object_get(task->documents, "run");
    json_t *lease = has_run(task) ? ac_cosmos_lease_make(task->store, task->run_id) : json_null();
    bool fine = !has_run(task) || ac_json_put(run, "holder", json_incref(json_object_get(lease, "holder")));
    fine = fine &&
        (!has_run(task) || ac_json_put(run, "lease_until", json_incref(json_object_get(lease, "lease_until"))));
    if (!fine || ac_cosmos_turn_advance(task, lease) != APR_SUCCESS) {
        ac_err_set(&task->op->err, AC_INTERNAL, "out of memory");
        ac_cosmos_task_end(task, ac_err_row(task->op->err.kind)->status);
        return;
    }
    ac_cosmos_turn_commit(task, is_new_thread(task), open_on_committed);
}

static void open_on_committed(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    task->turn.unsure = task->turn.unsure || reply->unsure;
    /* It may be this task's own success: libcurl repeats a request by itself if a kept connection turns out to be
     * closed. */
    task->turn.conflicted = reply->status == 409 || reply->status == 412;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 409, 412))) {
        return;
    }
    if (reply->status == 200) {
        ac_cosmos_turn_committed(task, reply);
        end_opened(task, task->whole);
        return;
    }
    ac_cosmos_thread_doc_retry(task, reply->status == 409 ? open_find_earlier : open_check_thread);
}

/* ---- 7: an earlier attempt may have stored the run ---- */

static void open_find_earlier(ac_cosmos_task_t *task)
{
    if (task->thread.doc) {
        ac_cosmos_turn_find_message(task, open_message_id(task), open_check_earlier);
    } else {
        end_conflict(task);
    }
}

static void open_check_earlier_or_busy(ac_cosmos_task_t *task)
{
    (task->found || !has_message(task) ? open_check_earlier : end_busy)(task);
}

/* Renews the lease. That changes the run's document, so that a task that has just read it cannot close the run as
 * dead. */
static void open_check_earlier(ac_cosmos_task_t *task)
{
    bool ours = !has_message(task) || strcmp(ac_json_peek_string(task->found, "run_id", ""), task->run_id) == 0;
    bool owned = strcmp(ac_json_peek_string(task->thread.doc, "owner", ""), task->op->owner) == 0;
    if (owned && !ac_cosmos_thread_doc_lives(&task->thread, false)) {
        end_taken_over(task);
    } else if (owned && !has_run(task) && task->found) {
        end_opened(task, task->found);
    } else if (owned && ours && has_run(task)) {
        json_t *until = ac_cosmos_lease_end(task->store);
        ac_cosmos_lease_patch(task, task->store->holder, "lease_until", until, open_on_lease_renewed);
    } else {
        end_conflict(task);
    }
}

static void open_on_lease_renewed(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 412))) {
        return;
    }
    if (reply->status == 200) {
        end_opened(task, task->found);
    } else {
        ac_cosmos_task_end(task,
                           ac_err_set(&task->op->err, AC_INTERRUPTED,
                                      "the run was closed before we knew that it was stored"));
    }
}

/* ---- 8: cleanup after an unknown outcome ---- */

/* The batch was sent and its outcome is not known, but the caller got an error. Unless the caller sends the same run
 * again, the run is closed if it was stored, also if the service stores it only later, so that the thread is free
 * for other servers at once. */
static void cleanup_read_thread(ac_cosmos_task_t *task);
static void cleanup_check_run(ac_cosmos_task_t *task);

/* on_failure of the cleanup too: the next cleanup begins. */
static void start_cleanup(ac_cosmos_task_t *task)
{
    ac_cosmos_task_t *own;
    if (task->turn.n_cleanups < MAX_CLEANUPS && !task->store->child.stopping) {
        own = ac_cosmos_task_own(task->store, NULL, task->op->id, cleanup_later);
        own->turn.n_cleanups = task->turn.n_cleanups + 1;
        own->on_failure = start_cleanup;
    }
}

/* on_failure of this verb, in whichever step it fails. */
static void open_failed(ac_cosmos_task_t *task)
{
    ac_kind_e kind = task->op->err.kind;
    bool unanswered = kind == AC_STORE_ERROR || kind == AC_STORE_TIMEOUT || kind == AC_OVERLOADED;
    task->turn.unsure = task->turn.unsure || (task->turn.conflicted && unanswered);
    if (task->turn.unsure) {
        start_cleanup(task);
    }
    ac_cosmos_key_release(task);
    if (has_run(task)) {
        ac_cosmos_lease_failed(task->store, task->run_id);
    }
}

static void cleanup_on_due(void *baton)
{
    cleanup_read_thread(baton);
}

/* By the first look a caller that sends the run again has done so; by the second the service cannot store it any
 * more. */
static void cleanup_later(ac_cosmos_task_t *task)
{
    static const apr_interval_time_t waits[] = {3 * APR_USEC_PER_SEC, 10 * APR_USEC_PER_SEC};
    ac_cosmos_t *store = task->store;
    if (task->n_tries >= (int)(sizeof(waits) / sizeof(*waits)) || store->child.stopping) {
        ac_cosmos_task_end(task, APR_SUCCESS);
        return;
    }
    ac_timer_set(store->loop, &task->timer, ac_clock() + waits[task->n_tries++], cleanup_on_due, task);
}

static void cleanup_read_thread(ac_cosmos_task_t *task)
{
    if (task->store->child.stopping) { /* other processes see that this one ends */
        ac_cosmos_task_end(task, APR_SUCCESS);
        return;
    }
    task->deadline = ac_clock() + apr_time_from_sec(10);
    ac_cosmos_thread_doc_read(task, false, cleanup_check_run);
}

static void cleanup_check_run(ac_cosmos_task_t *task)
{
    if (task->thread.doc) {
        ac_cosmos_run_check_active(task, cleanup_later);
    } else {
        cleanup_later(task);
    }
}
