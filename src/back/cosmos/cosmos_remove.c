/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store's removal of threads for good. The head becomes a tombstone first, which hides the thread from everybody, and
 * goes last: what was cut in between is taken up by the next removal or purge. */
#include "store_cosmos.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#define TRIES 20        /* of batches that met with others */
#define PURGE_ROWS 1000 /* threads that are looked up at a time */
#define ANSWER_MARGIN apr_time_from_msec(300)
#define LONG_AGO "0000-00-00T00:00:00.000Z" /* sorts before every time: any purge takes a tombstone up */

static const char sql_entries[] = "SELECT c.id FROM c WHERE c.owner = @owner AND c.thread_id = @thread";
static const char sql_documents[] = "SELECT c.id FROM c WHERE c.thread_id = @thread AND c.id != @thread";
static const char sql_deleted[] = "SELECT c.id, c.owner FROM c WHERE c.type = 'thread' AND c.deleted_at < @before";

typedef struct removal_t {
    ac_cosmos_step_fn *then; /* after a thread is gone */
    ac_cosmos_place_e place; /* whose documents are being removed */
    char owner[AC_OWNER_SIZE];
} removal_t;

static void remove_next(ac_cosmos_task_t *task);
static void tombstone(ac_cosmos_task_t *task);

/* ---- document by document ---- */

static void on_head_gone(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    removal_t *removal = task->state;

    if (!ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(204, 200, 404))) {
        ac_cosmos_head_keep(task->store, task->op->id, NULL, NULL);
        removal->then(task);
    }
}

static void remove_head(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_DELETE,
                                   .place = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = task->op->id};

    ac_cosmos_call(task, &request, on_head_gone, task);
}

static void on_removed(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;

    /* 404: somebody removes the same thread. What is left is looked up again in either case. */
    if (ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    task->n_tries = reply->status == 200 ? 0 : task->n_tries + 1;
    if (task->n_tries > TRIES) {
        ac_cosmos_end(task, ac_err_set(&task->op->err, AC_STORE_ERROR, "a thread's documents could not be removed"));
        return;
    }
    remove_next(task);
}

static void on_rest(ac_cosmos_task_t *task)
{
    removal_t *removal = task->state;
    const char *key = removal->place == AC_COSMOS_THREADS ? removal->owner : task->op->id;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_BATCH, .place = removal->place, .key = key};
    ac_cosmos_batch_t batch;
    const json_t *row;
    size_t i;

    if (json_array_size(task->rows) == 0 && removal->place == AC_COSMOS_THREADS) {
        removal->place = AC_COSMOS_MESSAGES;
        remove_next(task);
        return;
    }
    if (json_array_size(task->rows) == 0) {
        remove_head(task);
        return;
    }
    ac_cosmos_batch_init(&batch);
    json_array_foreach(task->rows, i, row)
    {
        ac_cosmos_batch_add(&batch, AC_COSMOS_DELETE, key, ac_json_peek_string(row, "id", ""), NULL, NULL);
    }
    ac_cosmos_batch_end(&batch);
    ac_cosmos_write_batch(task, &request, &batch, on_removed);
}

static void remove_next(ac_cosmos_task_t *task)
{
    removal_t *removal = task->state;
    bool entries = removal->place == AC_COSMOS_THREADS;
    ac_cosmos_select_t select = {
        .place = removal->place,
        .key = entries ? removal->owner : task->op->id,
        .sql = entries ? sql_entries : sql_documents,
        .parameters = json_pack("{s:s}", "@thread", task->op->id),
        .want = AC_COSMOS_BATCH_MAX,
    };

    if (entries) {
        ac_json_put(select.parameters, "@owner", json_string(removal->owner));
    }
    ac_cosmos_select(task, &select, on_rest);
}

/* ---- the tombstone ---- */

/* The thread is gone for everybody; the caller need not wait for the last of its documents. */
static void on_answer_due(void *baton)
{
    ac_cosmos_task_t *task = baton;

    task->op->out = json_object();
    ac_cosmos_task_detach(task, APR_SUCCESS);
}

static void begin_removal(ac_cosmos_task_t *task)
{
    removal_t *removal = task->state;

    apr_cpystrn(removal->owner, ac_json_peek_string(task->head.doc, "owner", ""), sizeof(removal->owner));
    removal->place = AC_COSMOS_THREADS;
    task->n_tries = 0;
    if (task->op->deadline && task->op->verb == AC_STORE_THREAD_DELETE && !task->own) {
        ac_timer_set(task->store->loop, &task->timer, task->op->deadline - ANSWER_MARGIN, on_answer_due, task);
        task->deadline = 0;
    }
    remove_next(task);
}

static void on_buried(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;

    if (ac_cosmos_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 412))) {
        return;
    }
    if (reply->status == 200) {
        ac_cosmos_head_keep(task->store, task->op->id, NULL, NULL);
        begin_removal(task);
    } else {
        ac_cosmos_head_again(task, tombstone);
    }
}

static void bury(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_REPLACE,
                                   .place = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = task->op->id,
                                   .if_match = task->head.etag};
    json_t *head = json_copy(task->head.doc);

    ac_json_put(head, "status", json_string("purging"));
    ac_json_put(head, "change", json_string(task->change));
    ac_json_put(head, "deleted_at", json_string(LONG_AGO));
    ac_cosmos_write(task, &request, head, on_buried);
    json_decref(head);
}

static void run_looked_at(ac_cosmos_task_t *task)
{
    const char *run_id = ac_cosmos_head_run(&task->head);

    if (!task->head.doc) {
        tombstone(task);
    } else if (*run_id) {
        task->op->out = json_pack("{s:s}", "run_id", run_id);
        ac_cosmos_end(task, ac_err_set(&task->op->err, AC_RUN_IN_PROGRESS, "the thread has an active run"));
    } else {
        ac_cosmos_thread_mark(task, bury);
    }
}

static void tombstone(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    removal_t *removal = task->state;
    bool purges = op->verb == AC_STORE_PURGE;
    const char *before = ac_json_peek_string(op->in, "before", "");

    if (!task->head.doc && purges) {
        removal->then(task); /* another server's purge was faster */
    } else if (!task->head.doc) {
        ac_cosmos_end(task, ac_err_set(&op->err, AC_NOT_FOUND, "no thread with this id"));
    } else if (strcmp(ac_json_peek_string(task->head.doc, "status", ""), "purging") == 0) {
        begin_removal(task);
    } else if (purges && strcmp(ac_json_peek_string(task->head.doc, "deleted_at", "~"), before) >= 0) {
        task->purge.n_threads--; /* restored meanwhile */
        removal->then(task);
    } else if (purges) {
        ac_cosmos_thread_mark(task, bury);
    } else {
        ac_cosmos_run_check(task, run_looked_at);
    }
}

/* ---- verbs ---- */

static void removed(ac_cosmos_task_t *task)
{
    if (!task->own) {
        task->op->out = json_object();
    }
    ac_cosmos_end(task, APR_SUCCESS);
}

void ac_cosmos_thread_remove(ac_cosmos_task_t *task)
{
    removal_t *removal = ac_alloc(sizeof(*removal));

    removal->then = removed;
    task->state = removal;
    ac_cosmos_head_read(task, false, tombstone);
}

static void purge_look(ac_cosmos_task_t *task);

static void cosmos_remove_purged(ac_cosmos_task_t *task)
{
    task->op->out = json_pack("{s:I}", "purged", (json_int_t)task->purge.n_threads);
    ac_cosmos_end(task, task->op->out ? APR_SUCCESS : ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
}

static void purge_next(ac_cosmos_task_t *task)
{
    json_t *row = json_array_get(task->found, 0);
    ac_store_op_t *op = task->op;

    if (task->store->stopping) {
        ac_cosmos_end(task, ac_err_set(&op->err, AC_STOPPING, "the server is stopping; the rest is for later"));
    } else if (row) {
        apr_cpystrn(op->id, ac_json_peek_string(row, "id", ""), sizeof(op->id));
        json_array_remove(task->found, 0);
        task->purge.n_threads++;
        task->n_lost = 0;
        ac_cosmos_head_read(task, false, tombstone);
    } else if (task->purge.more) {
        purge_look(task);
    } else {
        ac_cosmos_key_purge(task, cosmos_remove_purged);
    }
}

static void on_deleted_found(ac_cosmos_task_t *task)
{
    json_decref(task->found);
    task->found = task->rows;
    task->rows = NULL;
    task->purge.more = json_array_size(task->found) >= PURGE_ROWS;
    purge_next(task);
}

/* Over all partitions, which costs a few request units for each: it is done once an hour. */
static void purge_look(ac_cosmos_task_t *task)
{
    ac_cosmos_select_t select = {
        .place = AC_COSMOS_MESSAGES,
        .sql = sql_deleted,
        .want = PURGE_ROWS,
        .parameters = json_pack("{s:s}", "@before", ac_json_peek_string(task->op->in, "before", "")),
    };

    ac_cosmos_select(task, &select, on_deleted_found);
}

void ac_cosmos_purge(ac_cosmos_task_t *task)
{
    const char *before = NULL;
    removal_t *removal = ac_alloc(sizeof(*removal));
    apr_status_t status = ac_json_string(&before, task->op->in, "before", true, &task->op->err);

    removal->then = purge_next;
    task->state = removal;
    if (status == APR_SUCCESS) {
        purge_look(task);
    } else {
        ac_cosmos_end(task, status);
    }
}
