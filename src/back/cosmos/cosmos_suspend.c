/* SPDX-License-Identifier: Apache-2.0 */
/* Suspended runs in the Cosmos DB store: runs that await approval and belong to no process. The thread's document
 * says that its run is suspended and which calls are decided, so that one conditional write decides on the process
 * that resumes it. The run's state is a document of its own, and an entry in a partition of all suspended runs leads
 * to those whose time is over.
 *
 * RUN_SUSPEND:  1 build the documents   2 write the entry in the partition of suspended runs   3 read the thread's
 * document
 *               4 check that the run is active   5 write the parts of a large state 6 commit thread, run, steps and
 *               state in one batch   - on conflict: 4, with a read */
#include "cosmos_internal.h"

#include <string.h>

#include <apr_strings.h>

static const char sql_late[] = "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'wait' AND c.due_at < @before";

static void suspend_on_entry_written(void *baton, const ac_cosmos_reply_t *reply);
static void suspend_check_thread(ac_cosmos_task_t *task);
static void suspend_commit(ac_cosmos_task_t *task);
static void suspend_on_committed(void *baton, const ac_cosmos_reply_t *reply);

/* ---- 1: documents ---- */

static apr_status_t suspend_make_documents(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    json_t *run = NULL, *steps = NULL, *wait = NULL;
    char id[AC_ID_SIZE + 8];
    apr_status_t status = ac_cosmos_doc_make_run(&run, json_object_get(op->in, "run"), op, &op->err);
    task->parts = json_array();
    if (status == APR_SUCCESS) {
        apr_cpystrn(task->run_id, ac_json_peek_string(run, "id", ""), sizeof(task->run_id));
        ac_json_put(run, "holder", json_string(AC_COSMOS_NO_HOLDER));
        ac_cosmos_doc_suspended_id(id, task->run_id);
        wait = json_pack("{s:s, s:s, s:s, s:O, s:O}", "id", id, "thread_id", op->id, "type", "wait", "asks",
                         json_object_get(op->in, "asks"), "state", json_object_get(op->in, "state"));
        status = wait
            ? ac_cosmos_doc_make_steps(&steps, json_object_get(op->in, "steps"), task->run_id, op->id, &op->err)
            : ac_err_set(&op->err, AC_INVALID_REQUEST, "the state is missing");
    }
    if (status == APR_SUCCESS) {
        status = ac_cosmos_doc_split(&wait, task->parts, &op->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_cosmos_doc_split(&steps, task->parts, &op->err);
    }
    task->documents = json_pack("{s:o?, s:o?, s:o?}", "run", run, "steps", steps, "wait", wait);
    if (status == APR_SUCCESS) {
        const ac_webhook_cause_t cause = {run,       json_object_get(op->in, "asks"), NULL, &op->trace,
                                          op->owner, ac_cosmos_now(task->store)};
        ac_cosmos_webhook_add(task, task->documents, &cause);
    }
    return status;
}

/* ---- 2: the entry ---- */

void ac_cosmos_suspend_run(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_UPSERT,
                                   .container = AC_COSMOS_THREADS,
                                   .key = AC_COSMOS_SUSPENDED_KEY};
    apr_status_t status = suspend_make_documents(task);
    json_t *entry;
    if (status != APR_SUCCESS) {
        ac_cosmos_task_end(task, status);
        return;
    }
    entry = json_pack("{s:s, s:s, s:s, s:s, s:s, s:O}", "id", task->run_id, "owner", AC_COSMOS_SUSPENDED_KEY, "type",
                      "wait", "key", task->run_id, "run_owner", task->op->owner, "due_at",
                      json_object_get(task->op->in, "until"));
    ac_cosmos_call_write(task, &request, entry, suspend_on_entry_written);
    json_decref(entry);
}

static void suspend_on_entry_written(void *baton, const ac_cosmos_reply_t *reply)
{
    if (!ac_cosmos_call_failed(baton, reply, AC_COSMOS_EXPECT(200, 201))) {
        ac_cosmos_thread_doc_read(baton, false, suspend_check_thread);
    }
}

/* ---- 3, 4: the thread's document ---- */

static void suspend_check_thread(ac_cosmos_task_t *task)
{
    bool lives = ac_cosmos_thread_doc_lives(&task->thread, true);
    if (lives && ac_cosmos_thread_doc_suspended(&task->thread, task->run_id) && task->conflicts.n > 0) {
        ac_cosmos_lease_release(task->store, task->run_id); /* an attempt whose answer was lost */
        ac_cosmos_task_end_out(task, json_object());
    } else if (!lives || strcmp(ac_cosmos_thread_doc_run(&task->thread), task->run_id) != 0) {
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_RUN_ENDED, "the run is not active any more"));
    } else {
        ac_cosmos_turn_write_parts(task, suspend_commit);
    }
}

/* ---- 5, 6: parts and batch ---- */

static void suspend_commit(ac_cosmos_task_t *task)
{
    static const char *const names[] = {"run", "steps", "wait"};
    ac_cosmos_request_t request = {.verb = AC_COSMOS_BATCH, .container = AC_COSMOS_MESSAGES, .key = task->op->id};
    ac_cosmos_batch_t batch;
    ac_json_put(task->thread.doc, "active_run",
                json_pack("{s:s, s:b, s:O, s:O}", "id", task->run_id, "waiting", 1, "due_at",
                          json_object_get(task->op->in, "until"), "calls", json_object_get(task->op->in, "calls")));
    ac_cosmos_request_batch_init(&batch);
    ac_cosmos_request_batch_add(&batch, AC_COSMOS_REPLACE, task->op->id, task->op->id, task->thread.doc,
                                task->thread.etag);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        const json_t *document = json_object_get(task->documents, names[i]);
        if (json_is_object(document)) {
            ac_cosmos_request_batch_add(&batch, AC_COSMOS_UPSERT, task->op->id, ac_json_peek_string(document, "id", ""),
                                        document, NULL);
        }
    }
    ac_cosmos_webhook_batch(&batch, task, task->documents);
    if (ac_cosmos_request_batch_end(&batch) != APR_SUCCESS) {
        ac_cosmos_request_batch_free(&batch);
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_INTERNAL, "a run is too large to be suspended"));
        return;
    }
    /* This process changes the holder itself: its check of the run must not consider that another machine's change. */
    ac_cosmos_lease_suspended(task->store, task->run_id);
    ac_cosmos_call_write_batch(task, &request, &batch, suspend_on_committed);
}

static void suspend_on_committed(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_t *store = task->store;
    char run_id[AC_ID_SIZE];
    memcpy(run_id, task->run_id, sizeof(run_id)); /* a task that has failed is freed */
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 409, 412))) {
        ac_cosmos_lease_opened(store, run_id);
        return;
    }
    if (reply->status != 200) {
        ac_cosmos_thread_doc_retry(task, suspend_check_thread);
        return;
    }
    ac_cosmos_thread_doc_remember(store, task->op->id, task->thread.doc, ac_cosmos_answer_batch_etag(reply->body, 0));
    ac_cosmos_lease_release(store, run_id);
    ac_cosmos_task_end_out(task, json_object());
}

/* ---- SUSPENDED_LIST: runs whose approval is overdue ---- */

static void end_late(ac_cosmos_task_t *task)
{
    json_t *data = json_array();
    const json_t *row;
    size_t i;
    json_array_foreach(task->rows, i, row)
    {
        json_array_append_new(data,
                              json_pack("{s:s, s:s}", "run_id", ac_json_peek_string(row, "id", ""), "owner",
                                        ac_json_peek_string(row, "run_owner", "")));
    }
    ac_cosmos_task_end_out(task, json_pack("{s:o}", "data", data));
}

void ac_cosmos_suspend_list(ac_cosmos_task_t *task)
{
    ac_cosmos_suspend_query(task, sql_late);
}

void ac_cosmos_suspend_query(ac_cosmos_task_t *task, const char *sql)
{
    const char *before = ac_json_peek_string(task->op->in, "before", "");
    ac_cosmos_query_t query = {
        .container = AC_COSMOS_THREADS,
        .key = AC_COSMOS_SUSPENDED_KEY,
        .sql = sql,
        .want = task->op->page.limit,
        .parameters = json_pack("{s:s, s:s}", "@owner", AC_COSMOS_SUSPENDED_KEY, "@before", before),
    };
    ac_cosmos_query_run(task, &query, end_late);
}
