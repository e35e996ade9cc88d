/* SPDX-License-Identifier: Apache-2.0 */
/* The permanent removal of threads in the Cosmos DB store. The steps for one thread, in the order of this file:
 *
 *  1  read the thread's document
 *  2  check it: THREAD_DELETE refuses a thread with an active run, after ac_cosmos_run_check_active(); a purge skips
 *     a restored thread
 *  3  mark the thread's entry, then replace the document by a tombstone, which hides the thread; on conflict: 2,
 *     with a read
 *  4  count runs that are not counted yet; query and delete the entries in the owner's partition, batch by batch, then
 *     the documents of the thread
 *  5  delete the tombstone
 *
 * A removal that is cut after 3 is taken up by the next removal or purge. PURGE: 1 count runs that are not counted yet,
 * 2 hide what is left of erased owners, 3 query deleted threads, 4 remove each, 5 remove old keys. */
#include "cosmos_internal.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#define TRIES 20        /* of batches that lost against other writers */
#define PURGE_ROWS 1000 /* threads that one query gives */
#define ANSWER_MARGIN apr_time_from_msec(300)

static const char sql_entries[] = "SELECT c.id, c._etag FROM c WHERE c.owner = @owner AND c.thread_id = @thread";
static const char sql_documents[] = "SELECT c.id FROM c WHERE c.thread_id = @thread AND c.id != @thread";
static const char sql_deleted[] = "SELECT c.id, c.owner FROM c WHERE c.type = 'thread' AND c.deleted_at < @before";

typedef struct removal_t {
    ac_cosmos_container_e container; /* whose documents are being removed */
    char owner[AC_OWNER_SIZE];
} removal_t;

static void remove_check_thread(ac_cosmos_task_t *task);
static void remove_check_run(ac_cosmos_task_t *task);
static void remove_bury(ac_cosmos_task_t *task);
static void remove_on_buried(void *baton, const ac_cosmos_reply_t *reply);
static void remove_documents(ac_cosmos_task_t *task);
static void remove_query(ac_cosmos_task_t *task);
static void remove_batch(ac_cosmos_task_t *task);
static void remove_on_batch(void *baton, const ac_cosmos_reply_t *reply);
static void remove_thread_doc(ac_cosmos_task_t *task);
static void remove_on_thread_doc(void *baton, const ac_cosmos_reply_t *reply);

/* ---- 1: the thread's document ---- */

static void end_removed(ac_cosmos_task_t *task)
{
    if (!task->own && !task->op->out) {
        task->op->out = json_object();
    }
    ac_cosmos_task_end(task, APR_SUCCESS);
}

void ac_cosmos_remove_thread(ac_cosmos_task_t *task)
{
    task->state = ac_alloc(sizeof(removal_t));
    ac_cosmos_task_then(task, end_removed);
    ac_cosmos_thread_doc_read(task, false, remove_check_thread);
}

/* ---- 2: its state ---- */

static void remove_check_thread(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    bool purges = op->verb == AC_STORE_PURGE;
    const char *before = ac_json_peek_string(op->in, "before", "");
    if (!task->thread.doc && purges) {
        ac_cosmos_task_return(task); /* the purge of another server was faster */
    } else if (!task->thread.doc) {
        ac_cosmos_task_end(task, ac_err_set(&op->err, AC_NOT_FOUND, "no thread with this id"));
    } else if (strcmp(ac_json_peek_string(task->thread.doc, "status", ""), "purging") == 0) {
        remove_documents(task);
    } else if (purges && strcmp(ac_json_peek_string(task->thread.doc, "deleted_at", "~"), before) >= 0) {
        task->purge.n_threads--; /* restored meanwhile */
        ac_cosmos_task_return(task);
    } else if (purges) {
        ac_cosmos_entry_mark(task, remove_bury);
    } else {
        ac_cosmos_run_check_active(task, remove_check_run);
    }
}

static void remove_check_run(ac_cosmos_task_t *task)
{
    const char *run_id = ac_cosmos_thread_doc_run(&task->thread);
    if (!task->thread.doc) {
        remove_check_thread(task);
    } else if (*run_id) {
        task->op->out = json_pack("{s:s}", "run_id", run_id);
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_RUN_IN_PROGRESS, "the thread has an active run"));
    } else {
        ac_cosmos_entry_mark(task, remove_bury);
    }
}

/* ---- 3: the tombstone ---- */

static void remove_bury(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_REPLACE,
                                   .container = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = task->op->id,
                                   .if_match = task->thread.etag};
    json_t *thread = json_copy(task->thread.doc);
    ac_json_put(thread, "status", json_string("purging"));
    ac_json_put(thread, "change", json_string(task->entry.change));
    ac_json_put(thread, "deleted_at", json_string(AC_COSMOS_LONG_AGO));
    ac_cosmos_call_write(task, &request, thread, remove_on_buried);
    json_decref(thread);
}

static void remove_on_buried(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 412))) {
        return;
    }
    if (reply->status == 200) {
        ac_cosmos_thread_doc_remember(task->store, task->op->id, NULL, NULL);
        remove_documents(task);
    } else {
        ac_cosmos_thread_doc_retry(task, remove_check_thread);
    }
}

/* ---- 4: the documents ---- */

/* The thread is hidden already; the caller need not wait for the removal of its last document. */
static void remove_on_answer_due(void *baton)
{
    ac_cosmos_task_t *task = baton;
    if (!task->op->out) {
        task->op->out = json_object();
    }
    ac_cosmos_task_detach(task, APR_SUCCESS);
}

static void remove_documents(ac_cosmos_task_t *task)
{
    removal_t *removal = task->state;
    apr_cpystrn(removal->owner, ac_json_peek_string(task->thread.doc, "owner", ""), sizeof(removal->owner));
    removal->container = AC_COSMOS_THREADS;
    task->n_tries = 0;
    if (task->op->deadline && task->op->verb == AC_STORE_THREAD_DELETE && !task->own) {
        ac_timer_set(task->store->loop, &task->timer, task->op->deadline - ANSWER_MARGIN, remove_on_answer_due, task);
        task->deadline = 0;
    }
    ac_cosmos_usage_heal_thread(task, removal->owner, remove_query);
}

static void remove_query(ac_cosmos_task_t *task)
{
    removal_t *removal = task->state;
    bool entries = removal->container == AC_COSMOS_THREADS;
    ac_cosmos_query_t query = {
        .container = removal->container,
        .key = entries ? removal->owner : task->op->id,
        .sql = entries ? sql_entries : sql_documents,
        .parameters = json_pack("{s:s}", "@thread", task->op->id),
        .want = AC_COSMOS_BATCH_MAX,
    };
    if (entries) {
        ac_json_put(query.parameters, "@owner", json_string(removal->owner));
    }
    ac_cosmos_query_run(task, &query, remove_batch);
}

static void remove_batch(ac_cosmos_task_t *task)
{
    removal_t *removal = task->state;
    const char *key = removal->container == AC_COSMOS_THREADS ? removal->owner : task->op->id;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_BATCH, .container = removal->container, .key = key};
    ac_cosmos_batch_t batch;
    const json_t *row;
    size_t i;
    if (json_array_size(task->rows) == 0 && removal->container == AC_COSMOS_THREADS) {
        removal->container = AC_COSMOS_MESSAGES;
        remove_query(task);
        return;
    }
    if (json_array_size(task->rows) == 0) {
        remove_thread_doc(task);
        return;
    }
    ac_cosmos_request_batch_init(&batch);
    json_array_foreach(task->rows, i, row)
    {
        const char *id = ac_json_peek_string(row, "id", "");
        /* Another thread may take a file over that no message has. */
        const char *etag = ac_id_valid(id, "file_") ? ac_json_peek_string(row, "_etag", NULL) : NULL;
        ac_cosmos_request_batch_add(&batch, AC_COSMOS_DELETE, key, id, NULL, etag);
    }
    ac_cosmos_request_batch_end(&batch);
    ac_cosmos_call_write_batch(task, &request, &batch, remove_on_batch);
}

/* The answer has the files among what was removed: their bytes are elsewhere. */
static void note_files(ac_cosmos_task_t *task)
{
    const json_t *row;
    size_t i;
    json_array_foreach(task->rows, i, row)
    {
        const char *id = ac_json_peek_string(row, "id", "");
        if (ac_id_valid(id, "file_") && !task->op->out) {
            task->op->out = json_pack("{s:[]}", "files");
        }
        if (ac_id_valid(id, "file_")) {
            json_array_append_new(json_object_get(task->op->out, "files"), json_string(id));
        }
    }
}

static void remove_on_batch(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    /* 404: another task removes the same thread; 412: a file changed. The rest is queried again in either case. */
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 412))) {
        return;
    }
    if (reply->status == 200) {
        note_files(task);
    }
    task->n_tries = reply->status == 200 ? 0 : task->n_tries + 1;
    if (task->n_tries > TRIES) {
        ac_cosmos_task_end(task,
                           ac_err_set(&task->op->err, AC_STORE_ERROR, "a thread's documents could not be removed"));
        return;
    }
    remove_query(task);
}

/* ---- 5: the tombstone again ---- */

static void remove_thread_doc(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_DELETE,
                                   .container = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = task->op->id};
    ac_cosmos_call_start(task, &request, remove_on_thread_doc, task);
}

static void remove_on_thread_doc(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (!ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(204, 200, 404))) {
        ac_cosmos_thread_doc_remember(task->store, task->op->id, NULL, NULL);
        ac_cosmos_task_return(task);
    }
}

/* ---- PURGE ---- */

static void purge_query(ac_cosmos_task_t *task);
static void purge_found(ac_cosmos_task_t *task);
static void purge_next(ac_cosmos_task_t *task);
static void purge_resume(ac_cosmos_task_t *task);
static void purge_begin_query(ac_cosmos_task_t *task);
static void purge_finish(ac_cosmos_task_t *task);
static void purge_end(ac_cosmos_task_t *task);

/* Whether only threads of erased owners are wanted: no other was deleted before that time. */
static bool purges_erased_only(const ac_cosmos_task_t *task)
{
    return strcmp(ac_json_peek_string(task->op->in, "before", ""), "0001") < 0;
}

void ac_cosmos_remove_deleted(ac_cosmos_task_t *task)
{
    const char *before = NULL;
    apr_status_t status = ac_json_string(&before, task->op->in, "before", true, &task->op->err);
    task->state = ac_alloc(sizeof(removal_t));
    if (status == APR_SUCCESS && purges_erased_only(task)) {
        purge_resume(task);
    } else if (status == APR_SUCCESS) {
        ac_cosmos_usage_heal(task, "", purge_resume);
    } else {
        ac_cosmos_task_end(task, status);
    }
}

static void purge_resume(ac_cosmos_task_t *task)
{
    ac_cosmos_erasures_resume(task, purge_begin_query);
}

static void purge_begin_query(ac_cosmos_task_t *task)
{
    if (purges_erased_only(task) && !ac_cosmos_erasures_any(task)) {
        purge_end(task);
    } else {
        purge_query(task);
    }
}

/* A query over all partitions costs a few request units for each; it runs once an hour. */
static void purge_query(ac_cosmos_task_t *task)
{
    ac_cosmos_query_t query = {
        .container = AC_COSMOS_MESSAGES,
        .sql = sql_deleted,
        .want = PURGE_ROWS,
        .parameters = json_pack("{s:s}", "@before", ac_json_peek_string(task->op->in, "before", "")),
    };
    ac_cosmos_query_run(task, &query, purge_found);
}

static void purge_found(ac_cosmos_task_t *task)
{
    json_decref(task->found);
    task->found = task->rows;
    task->rows = NULL;
    task->purge.more = json_array_size(task->found) >= PURGE_ROWS;
    purge_next(task);
}

static void purge_next(ac_cosmos_task_t *task)
{
    json_t *row = json_array_get(task->found, 0);
    ac_store_op_t *op = task->op;
    if (task->store->child.stopping) {
        ac_cosmos_task_end(task, ac_err_set(&op->err, AC_STOPPING, "the server is stopping; the rest is for later"));
    } else if (row) {
        apr_cpystrn(op->id, ac_json_peek_string(row, "id", ""), sizeof(op->id));
        json_array_remove(task->found, 0);
        task->purge.n_threads++;
        task->conflicts.n = 0;
        ac_cosmos_task_then(task, purge_next);
        ac_cosmos_thread_doc_read(task, false, remove_check_thread);
    } else if (task->purge.more) {
        purge_query(task);
    } else {
        ac_cosmos_key_purge(task, purge_finish);
    }
}

static void purge_finish(ac_cosmos_task_t *task)
{
    ac_cosmos_erasures_finish(task, purge_end);
}

static void purge_end(ac_cosmos_task_t *task)
{
    if (!task->op->out) {
        task->op->out = json_object();
    }
    ac_json_put(task->op->out, "purged", json_integer(task->purge.n_threads));
    ac_cosmos_erasures_report(task, task->op->out);
    ac_cosmos_task_end(task, APR_SUCCESS);
}
