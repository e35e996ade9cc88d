/* SPDX-License-Identifier: Apache-2.0 */
/* A turn's beginning in the Cosmos DB store. The order of writes: the entry that leads from the run's id to its thread (it leads nowhere
 * until the rest is there) and the mark in the thread's entry in its owner's list (of a new thread the entry itself, which is hidden until
 * there is a head); the parts of a large message; and then head, message and run in one transaction. */
#include "store_cosmos.h"

#include <string.h>

#include <apr_strings.h>

#define SETTLES 10 /* beginnings of closing one that nobody was told of; then its lease is over */

static void open_from(ac_cosmos_task_t *task);
static void cosmos_open_write_parts(ac_cosmos_task_t *task);
static void cosmos_open_commit(ac_cosmos_task_t *task);

static bool is_fresh(const ac_cosmos_task_t *task)
{
    return json_is_object(json_object_get(task->op->in, "thread"));
}

static void cosmos_open_end_not_found(ac_cosmos_task_t *task)
{
    ac_cosmos_end(task, ac_err_set(&task->op->err, AC_NOT_FOUND, "no thread with this id"));
}

static void end_conflict(ac_cosmos_task_t *task)
{
    ac_cosmos_end(task, ac_err_set(&task->op->err, AC_IDEMPOTENCY_CONFLICT, "an object with this id exists already"));
}

static void end_opened(ac_cosmos_task_t *task, const json_t *message)
{
    json_t *out = json_object();
    bool fine = ac_json_put(out, "thread", ac_cosmos_thread_of(task->head.doc));

    fine = ac_json_put(out, "message", ac_cosmos_message_of(message)) && fine;
    task->op->out = out;
    ac_cosmos_run_opened(task->store, task->run_id);
    ac_cosmos_end(task, fine ? APR_SUCCESS : ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
}

/* ---- it may be there already ---- */

/* An earlier try of the caller's stored it. */
static void on_kept(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;

    if (ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 412))) {
        return;
    }
    if (reply->status == 200) {
        end_opened(task, task->found);
    } else {
        ac_cosmos_end(task,
                      ac_err_set(&task->op->err, AC_INTERRUPTED,
                                 "the run was closed before we knew that it was stored"));
    }
}

/* Its document changes by that, so that nobody who has just read it can close it as nobody's. */
static void found_again(ac_cosmos_task_t *task)
{
    const char *run_id = ac_json_peek_string(task->found, "run_id", "");

    if (task->found && strcmp(run_id, task->run_id) == 0 && ac_cosmos_head_lives(&task->head, false)) {
        ac_cosmos_run_patch(task, task->store->holder, "lease_until", ac_cosmos_lease_end(task->store), on_kept);
    } else {
        end_conflict(task);
    }
}

static void conflict_from(ac_cosmos_task_t *task)
{
    if (task->head.doc) {
        ac_cosmos_message_find(task, found_again);
    } else {
        end_conflict(task);
    }
}

/* ---- it may be there although nobody could be told ---- */

static void cosmos_open_settle(ac_cosmos_task_t *task);

static void on_settle_due(void *baton)
{
    cosmos_open_settle(baton);
}

/* The first look comes when whoever wanted to ask again has done so, the second one when the service can no longer be late. */
static void settle_later(ac_cosmos_task_t *task)
{
    static const apr_interval_time_t waits[] = {3 * APR_USEC_PER_SEC, 10 * APR_USEC_PER_SEC};
    ac_cosmos_t *store = task->store;

    if (task->n_tries >= (int)(sizeof(waits) / sizeof(*waits)) || store->stopping) {
        ac_cosmos_end(task, APR_SUCCESS);
        return;
    }
    ac_timer_set(store->loop, &task->timer, ac_clock() + waits[task->n_tries++], on_settle_due, task);
}

static void settle_from(ac_cosmos_task_t *task)
{
    if (task->head.doc) {
        ac_cosmos_run_check(task, settle_later);
    } else {
        settle_later(task);
    }
}

/* The batch was sent and its answer is not known. Whoever asked was told that it failed: unless they ask again for the same run, it is
 * closed if it was stored, also if the service gets to it only later, so that the thread is free for other servers at once. */
static void cosmos_open_settle(ac_cosmos_task_t *task)
{
    if (task->store->stopping) { /* the process ends, which everybody can see */
        ac_cosmos_end(task, APR_SUCCESS);
        return;
    }
    task->deadline = ac_clock() + apr_time_from_sec(10);
    ac_cosmos_head_read(task, false, settle_from);
}

void ac_cosmos_turn_unopened(ac_cosmos_task_t *task)
{
    ac_kind_e kind = task->op->err.kind;

    bool unanswered = kind == AC_STORE_ERROR || kind == AC_STORE_TIMEOUT || kind == AC_OVERLOADED;
    task->unsure = task->unsure || (task->conflicted && unanswered);
    if (task->unsure && task->n_settles < SETTLES && !task->store->stopping) {
        ac_cosmos_task_t *own = ac_cosmos_task_own(task->store, NULL, task->op->id, settle_later);
        own->unsure = true;
        own->n_settles = task->n_settles + 1;
    }
}

/* ---- the batch ---- */

static void cosmos_open_on_committed(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;

    task->unsure = task->unsure || reply->unsure;
    /* It may be our own: libcurl sends a request again by itself where a connection it had kept open turns out to be closed. */
    task->conflicted = reply->status == 409 || reply->status == 412;
    if (ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 409, 412))) {
        return;
    }
    if (reply->status == 200) {
        ac_cosmos_turn_committed(task, reply);
        end_opened(task, task->whole ? task->whole : json_object_get(task->documents, "message"));
        return;
    }
    ac_cosmos_head_again(task, reply->status == 409 ? conflict_from : open_from);
}

static void cosmos_open_commit(ac_cosmos_task_t *task)
{
    json_t *lease = ac_cosmos_lease_make(task->store, task->run_id), *run = json_object_get(task->documents, "run");
    bool fine = ac_json_put(run, "holder", json_incref(json_object_get(lease, "holder")));

    fine = ac_json_put(run, "lease_until", json_incref(json_object_get(lease, "lease_until"))) && fine;
    if (!fine || ac_cosmos_turn_advance(task, lease) != APR_SUCCESS) {
        ac_cosmos_end(task, ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
        return;
    }
    if (task->whole) {
        ac_json_put(task->whole, "seq",
                    json_incref(json_object_get(json_object_get(task->documents, "message"), "seq")));
    }
    ac_cosmos_turn_commit(task, is_fresh(task), cosmos_open_on_committed);
}

static void cosmos_open_write_parts(ac_cosmos_task_t *task)
{
    if (task->parts) {
        ac_cosmos_parts_write(task, cosmos_open_commit);
    } else {
        cosmos_open_commit(task);
    }
}

/* ---- the entries in the owner's partition ---- */

static void key_taken(ac_cosmos_task_t *task)
{
    task->open.claimed = true;
    cosmos_open_write_parts(task);
}

static void claimed(ac_cosmos_task_t *task)
{
    ac_cosmos_key_take(task, key_taken);
}

static void on_claim_read(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    const char *message_id = ac_json_peek_string(json_object_get(task->documents, "message"), "id", "");

    if (ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    if (reply->status == 200 && strcmp(ac_json_peek_string(reply->body, "thread_id", ""), task->op->id) == 0 &&
        strcmp(ac_json_peek_string(reply->body, "key", ""), message_id) == 0) {
        ac_cosmos_thread_mark(task, claimed);
    } else { /* another message's run, or another run's message */
        end_conflict(task);
    }
}

static void on_claimed(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .place = AC_COSMOS_THREADS,
                                   .key = task->op->owner,
                                   .id = task->run_id};

    if (ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200, 409))) {
        return;
    }
    if (reply->status == 200) {
        claimed(task);
    } else {
        ac_cosmos_call(task, &request, on_claim_read, task);
    }
}

/* The run's entry, and with it the mark in the thread's. */
static void cosmos_open_claim(ac_cosmos_task_t *task)
{
    const char *owner = task->op->owner,
               *message_id = ac_json_peek_string(json_object_get(task->documents, "message"), "id", "");
    ac_cosmos_request_t request = {.verb = AC_COSMOS_BATCH, .place = AC_COSMOS_THREADS, .key = owner};
    json_t *run = ac_cosmos_run_index_make(owner, task->run_id, task->op->id, message_id), *thread;
    ac_cosmos_batch_t batch;

    ac_id_make(task->change, "made_");
    thread = ac_cosmos_index_marked(task->head.doc, task->change);
    ac_cosmos_batch_init(&batch);
    ac_cosmos_batch_add(&batch, AC_COSMOS_CREATE, owner, task->run_id, run, NULL);
    ac_cosmos_batch_add(&batch, AC_COSMOS_UPSERT, owner, task->op->id, thread, NULL);
    ac_cosmos_batch_end(&batch);
    ac_cosmos_write_batch(task, &request, &batch, on_claimed);
    json_decref(run);
    json_decref(thread);
}

/* ---- the thread ---- */

static void end_busy(ac_cosmos_task_t *task)
{
    task->op->out = json_pack("{s:s}", "run_id", ac_cosmos_head_run(&task->head));
    ac_cosmos_end(task, ac_err_set(&task->op->err, AC_RUN_IN_PROGRESS, "the thread has an active run"));
}

static void busy_found(ac_cosmos_task_t *task)
{
    if (task->found) {
        found_again(task);
    } else {
        end_busy(task);
    }
}

/* Whether there are messages that the caller has not seen. */
static bool gone_on(const ac_cosmos_task_t *task)
{
    const json_t *after = json_object_get(task->op->in, "after");

    return json_is_integer(after) && json_integer_value(after) != ac_json_peek_int(task->head.doc, "message_count", 0);
}

static void open_checked(ac_cosmos_task_t *task)
{
    const char *run_id = ac_cosmos_head_run(&task->head);

    if (!ac_cosmos_head_lives(&task->head, false)) {
        cosmos_open_end_not_found(task);
    } else if (*run_id && strcmp(run_id, task->run_id) == 0) {
        ac_cosmos_message_find(task, busy_found);
    } else if (*run_id) {
        end_busy(task);
    } else if (gone_on(task)) {
        ac_cosmos_end(task, ac_err_set(&task->op->err, AC_PRECONDITION_FAILED, "the thread has gone on"));
    } else if (task->open.claimed) {
        ac_cosmos_thread_mark(task, cosmos_open_write_parts);
    } else {
        cosmos_open_claim(task);
    }
}

static void open_from(ac_cosmos_task_t *task)
{
    const char *run_id = ac_cosmos_head_run(&task->head);

    if (task->head.remembered && (*run_id || !ac_cosmos_head_lives(&task->head, false) || gone_on(task))) {
        ac_cosmos_head_read(task, false, open_from); /* refused is only for a reason that is true */
    } else if (*run_id && strcmp(run_id, task->run_id) != 0) {
        ac_cosmos_run_check(task, open_checked);
    } else {
        open_checked(task);
    }
}

static void open_begin(ac_cosmos_task_t *task)
{
    if (is_fresh(task)) {
        cosmos_open_claim(task);
    } else {
        ac_cosmos_head_read(task, true, open_from);
    }
}

void ac_cosmos_turn_open(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    json_t *message = NULL, *run = NULL;
    apr_status_t status = ac_cosmos_message_make(&message, json_object_get(op->in, "message"), op->id, &op->err);

    task->parts = json_array();
    if (status == APR_SUCCESS) {
        status = ac_cosmos_run_make(&run, json_object_get(op->in, "run"), op, &op->err);
    }
    if (status == APR_SUCCESS && is_fresh(task)) {
        status = ac_cosmos_head_make(&task->head.doc, json_object_get(op->in, "thread"), op->id, op->owner, &op->err);
    }
    if (status == APR_SUCCESS) {
        task->whole = json_copy(message);
        status = ac_cosmos_split(&message, task->parts, &op->err);
    }
    task->documents = json_pack("{s:o?, s:o?}", "message", message, "run", run);
    if (status != APR_SUCCESS || !task->documents) {
        ac_cosmos_end(task, status != APR_SUCCESS ? status : ac_err_set(&op->err, AC_INTERNAL, "out of memory"));
        return;
    }
    apr_cpystrn(task->run_id, ac_json_peek_string(run, "id", ""), sizeof(task->run_id));
    /* From before it is stored: whoever loads the thread meanwhile must not take the run for a dead one. */
    ac_cosmos_run_take(task->store, op, task->run_id);
    ac_cosmos_key_judge(task, open_begin);
}
