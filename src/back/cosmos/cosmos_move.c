/* SPDX-License-Identifier: Apache-2.0 */
/* Export and import of threads of all owners in the Cosmos DB store. The steps of each verb, in the order of this file:
 *
 * EXPORT_THREADS: query a page of threads
 *
 * EXPORT_RUNS
 *  1  query a page of the thread's runs
 *  2  query the steps of these runs
 *
 * IMPORT
 *  1  make all documents
 *  2  write the entries of the owner's partition, batch by batch
 *  3  write messages, runs and steps, batch by batch
 *  4  write the thread's document
 *  5  count runs that were active in the other store */
#include "cosmos_internal.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#define BATCH_BYTES 1200000 /* of a batch's documents; the service takes 2 MB */

static const char sql_threads[] = "SELECT * FROM c WHERE c.type = 'thread'";
static const char sql_runs[] =
    "SELECT * FROM c WHERE c.thread_id = @thread AND c.type = 'run' AND c.id < @after ORDER BY c.id DESC";
static const char sql_steps[] =
    "SELECT * FROM c WHERE c.thread_id = @thread AND c.type = 'steps' AND c.run_id >= @first AND c.run_id <= @last";

static void threads_done(ac_cosmos_task_t *task);
static json_t *record_of(const json_t *head);
static void cosmos_move_runs_done(ac_cosmos_task_t *task);
static void steps_done(ac_cosmos_task_t *task);
static apr_status_t head_from(ac_cosmos_task_t *task, const json_t *record);
static apr_status_t add_messages(ac_cosmos_task_t *task, const json_t *messages);
static apr_status_t cosmos_move_add_run(ac_cosmos_task_t *task, const json_t *item);
static apr_status_t cosmos_move_add_document(ac_cosmos_task_t *task, json_t *document);
static void import_documents(ac_cosmos_task_t *task);
static void import_head(ac_cosmos_task_t *task);
static void import_uncounted(ac_cosmos_task_t *task);
static void import_on_entry(void *baton, const ac_cosmos_reply_t *reply);
static void import_done(ac_cosmos_task_t *task);
static void write_all(ac_cosmos_task_t *task, ac_cosmos_container_e container, const char *key, ac_cosmos_step_fn *fn);
static void write_next(ac_cosmos_task_t *task);
static void cosmos_move_on_written(void *baton, const ac_cosmos_reply_t *reply);

/* ---- EXPORT_THREADS ---- */

void ac_cosmos_move_export_threads(ac_cosmos_task_t *task)
{
    ac_cosmos_query_t select = {.container = AC_COSMOS_MESSAGES,
                                .sql = sql_threads,
                                .want = task->op->page.limit,
                                .continuation = ac_json_peek_string(task->op->in, "after", NULL),
                                .parameters = json_object()};
    ac_cosmos_query_run(task, &select, threads_done);
}

static void threads_done(ac_cosmos_task_t *task)
{
    json_t *data = json_array(), *row;
    const char *next = ac_cosmos_query_continuation(task);
    size_t i;
    json_array_foreach(task->rows, i, row)
    {
        if (strcmp(ac_json_peek_string(row, "status", ""), "purging") != 0) {
            json_array_append_new(data, record_of(row));
        }
    }
    task->op->out = json_pack("{s:o, s:o}", "data", data, "next", next ? json_string(next) : json_null());
    ac_cosmos_task_end(task, task->op->out ? APR_SUCCESS : ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
}

static json_t *record_of(const json_t *head)
{
    static const char *const more[] = {"tree", "owner", "deleted_at", "restore_status", NULL};
    json_t *record = ac_cosmos_doc_thread(head);
    for (int i = 0; more[i]; i++) {
        json_t *value = json_object_get(head, more[i]);
        ac_json_put(record, more[i], value ? json_incref(value) : json_null());
    }
    return record;
}

/* ---- EXPORT_RUNS, 1: the runs ---- */

void ac_cosmos_move_export_runs(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    ac_cosmos_query_t select = {
        .container = AC_COSMOS_MESSAGES,
        .key = op->id,
        .sql = sql_runs,
        .want = op->page.limit + 1,
        .parameters = json_pack("{s:s, s:s}", "@thread", op->id, "@after",
                                *op->page.after ? op->page.after : AC_COSMOS_CURSOR_NONE),
    };
    ac_cosmos_query_run(task, &select, cosmos_move_runs_done);
}

static void cosmos_move_runs_done(ac_cosmos_task_t *task)
{
    ac_cosmos_query_t select = {.container = AC_COSMOS_MESSAGES, .key = task->op->id, .sql = sql_steps, .whole = true};
    size_t n = json_array_size(task->rows);
    task->export.more = (int)n > task->op->page.limit;
    if (task->export.more) {
        json_array_remove(task->rows, --n);
    }
    json_decref(task->found);
    task->found = task->rows;
    task->rows = NULL;
    if (n == 0) {
        steps_done(task);
        return;
    }
    select.parameters = json_pack("{s:s, s:s, s:s}", "@thread", task->op->id, "@first",
                                  ac_json_peek_string(json_array_get(task->found, n - 1), "id", ""), "@last",
                                  ac_json_peek_string(json_array_get(task->found, 0), "id", ""));
    ac_cosmos_query_run(task, &select, steps_done);
}

/* ---- 2: their steps ---- */

static void steps_done(ac_cosmos_task_t *task)
{
    json_t *data = json_array(), *run, *steps;
    size_t i, k;
    json_array_foreach(task->found, i, run)
    {
        json_t *list = NULL;
        json_array_foreach(task->rows, k, steps)
        {
            if (strcmp(ac_json_peek_string(steps, "run_id", ""), ac_json_peek_string(run, "id", "-")) == 0) {
                list = json_object_get(steps, "steps");
            }
        }
        json_array_append_new(data,
                              json_pack("{s:o, s:o}", "run", ac_cosmos_doc_run(run), "steps",
                                        list ? json_incref(list) : json_array()));
    }
    run = json_array_get(task->found, json_array_size(task->found) - 1);
    task->op->out = json_pack("{s:o, s:o}", "data", data, "next",
                              task->export.more && run ? json_incref(json_object_get(run, "id")) : json_null());
    ac_cosmos_task_end(task, task->op->out ? APR_SUCCESS : ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
}

/* ---- IMPORT, 1: the documents ---- */

typedef struct import_t {
    ac_cosmos_container_e container;
    char key[AC_OWNER_SIZE];
} import_t;

void ac_cosmos_move_import(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    const json_t *record = json_object_get(op->in, "thread"), *runs = json_object_get(op->in, "runs"), *item;
    size_t i;
    apr_status_t status;
    task->state = ac_alloc(sizeof(import_t));
    apr_cpystrn(op->owner, ac_json_peek_string(record, "owner", ""), sizeof(op->owner));
    task->documents = json_array();
    task->found = json_array();
    status = head_from(task, record);
    if (status == APR_SUCCESS) {
        ac_id_make(task->entry.change, "made_");
        ac_json_put(task->thread.doc, "change", json_string(task->entry.change));
        task->parts = json_pack("[o]", ac_cosmos_doc_make_marked_entry(task->thread.doc, task->entry.change));
    }
    if (status == APR_SUCCESS) {
        status = add_messages(task, json_object_get(op->in, "messages"));
    }
    json_array_foreach(runs, i, item)
    {
        status = status == APR_SUCCESS ? cosmos_move_add_run(task, item) : status;
    }
    if (status != APR_SUCCESS) {
        ac_cosmos_task_end(task, status);
        return;
    }
    write_all(task, AC_COSMOS_THREADS, op->owner, import_documents);
}

static apr_status_t head_from(ac_cosmos_task_t *task, const json_t *record)
{
    ac_store_op_t *op = task->op;
    static const char *const more[] = {"deleted_at", "restore_status", "deleted_messages", NULL};
    apr_status_t status = ac_cosmos_doc_make_thread(&task->thread.doc, record, op->id, op->owner, &op->err);
    if (status == APR_SUCCESS) {
        ac_json_put(task->thread.doc, "message_count", json_integer(ac_json_peek_int(record, "message_count", 0)));
        for (int i = 0; more[i]; i++) {
            json_t *value = json_object_get(record, more[i]);
            if (value && !json_is_null(value)) {
                ac_json_put(task->thread.doc, more[i], json_incref(value));
            }
        }
        if (json_is_object(json_object_get(record, "tree"))) {
            ac_json_put(task->thread.doc, "tree", json_incref(json_object_get(record, "tree")));
        }
    }
    return status;
}

static apr_status_t add_messages(ac_cosmos_task_t *task, const json_t *messages)
{
    apr_status_t status = APR_SUCCESS;
    const json_t *message;
    size_t i;
    json_array_foreach(messages, i, message)
    {
        json_t *document = NULL;
        status = ac_cosmos_doc_make_message(&document, message, task->op->id, &task->op->err);
        if (status == APR_SUCCESS) {
            ac_json_put(document, "seq", json_incref(json_object_get(message, "seq")));
            if (json_is_object(json_object_get(document, "feedback"))) {
                json_array_append_new(task->documents, ac_cosmos_feedback_doc(document, task->op->owner));
            }
            status = cosmos_move_add_document(task, document);
        }
        if (status != APR_SUCCESS) {
            break;
        }
    }
    return status;
}

/* The run was counted by the other store; one that was active there is counted here, but not by each import of it. */
static void add_run_entry(ac_cosmos_task_t *task, const json_t *item)
{
    const json_t *run = json_object_get(item, "run");
    const char *id = ac_json_peek_string(run, "id", "");
    json_t *entry = ac_cosmos_doc_make_run_entry(task->op->owner, id, task->op->id, id);
    if (json_is_true(json_object_get(item, "uncounted"))) {
        ac_json_put(entry, "changing", json_true());
        json_array_append_new(task->found, entry);
    } else {
        ac_json_put(entry, "counted", ac_usage_row(run, task->op->owner));
        json_array_append_new(task->parts, entry);
    }
}

static apr_status_t cosmos_move_add_run(ac_cosmos_task_t *task, const json_t *item)
{
    const char *id = ac_json_peek_string(json_object_get(item, "run"), "id", "");
    json_t *run = NULL, *steps = NULL;
    apr_status_t status = ac_cosmos_doc_make_run(&run, json_object_get(item, "run"), task->op, &task->op->err);
    if (status != APR_SUCCESS) {
        json_decref(run);
        return status;
    }
    add_run_entry(task, item);
    status = cosmos_move_add_document(task, run);
    if (status == APR_SUCCESS) {
        status = ac_cosmos_doc_make_steps(&steps, json_object_get(item, "steps"), id, task->op->id, &task->op->err);
    }
    if (status == APR_SUCCESS && steps) {
        status = cosmos_move_add_document(task, steps);
    }
    return status;
}

static apr_status_t cosmos_move_add_document(ac_cosmos_task_t *task, json_t *document)
{
    apr_status_t status = ac_cosmos_doc_split(&document, task->documents, &task->op->err);
    if (json_array_append_new(task->documents, document) != 0 && status == APR_SUCCESS && document) {
        status = ac_err_set(&task->op->err, AC_INTERNAL, "out of memory");
    }
    return status;
}

/* ---- 2, 3, 4: batches ---- */

static void import_documents(ac_cosmos_task_t *task)
{
    json_decref(task->parts);
    task->parts = json_incref(task->documents);
    write_all(task, AC_COSMOS_MESSAGES, task->op->id, import_head);
}

/* The thread's document comes last: until it has the number of messages, no message is visible. */
static void import_head(ac_cosmos_task_t *task)
{
    json_decref(task->parts);
    task->parts = json_pack("[O]", task->thread.doc);
    write_all(task, AC_COSMOS_MESSAGES, task->op->id, import_uncounted);
}

/* Creates the entries of runs that no store has counted, one after the other. One that exists stays as it is. */
static void import_uncounted(ac_cosmos_task_t *task)
{
    const json_t *entry = json_array_get(task->found, 0), *runs = json_object_get(task->op->in, "runs"), *item;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_CREATE, .container = AC_COSMOS_THREADS, .key = task->op->owner};
    size_t i;
    if (entry) {
        ac_cosmos_call_write(task, &request, entry, import_on_entry);
        return;
    }
    json_array_foreach(runs, i, item)
    {
        if (json_is_true(json_object_get(item, "uncounted"))) {
            ac_cosmos_usage_count(task->store, task->op->owner, json_object_get(item, "run"));
        }
    }
    ac_cosmos_usage_flush(task, import_done);
}

static void import_on_entry(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (!ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(201, 409))) {
        json_array_remove(task->found, 0);
        import_uncounted(task);
    }
}

static void import_done(ac_cosmos_task_t *task)
{
    ac_cosmos_thread_doc_remember(task->store, task->op->id, NULL, NULL);
    task->op->out = json_object();
    ac_cosmos_task_end(task, APR_SUCCESS);
}

static void write_all(ac_cosmos_task_t *task, ac_cosmos_container_e container, const char *key, ac_cosmos_step_fn *fn)
{
    import_t *import = task->state;
    import->container = container;
    apr_cpystrn(import->key, key, sizeof(import->key));
    ac_cosmos_task_then(task, fn);
    task->row = 0;
    write_next(task);
}

static void write_next(ac_cosmos_task_t *task)
{
    import_t *import = task->state;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_BATCH, .container = import->container, .key = import->key};
    ac_cosmos_batch_t batch;
    const json_t *document;
    ac_cosmos_request_batch_init(&batch);
    while ((document = json_array_get(task->parts, task->row)) && batch.n < AC_COSMOS_BATCH_MAX) {
        ac_buf_t before = batch.body;
        ac_cosmos_request_batch_add(&batch, AC_COSMOS_UPSERT, import->key, ac_json_peek_string(document, "id", ""),
                                    document, NULL);
        if (batch.n > 1 && batch.body.len > BATCH_BYTES) {
            batch.body.len = before.len; /* this one begins the next batch */
            batch.n--;
            break;
        }
        task->row++;
    }
    ac_cosmos_request_batch_end(&batch);
    if (batch.n == 0) {
        ac_cosmos_request_batch_free(&batch);
        ac_cosmos_task_return(task);
        return;
    }
    ac_cosmos_call_write_batch(task, &request, &batch, cosmos_move_on_written);
}

static void cosmos_move_on_written(void *baton, const ac_cosmos_reply_t *reply)
{
    if (!ac_cosmos_call_failed(baton, reply, AC_COSMOS_EXPECT(200))) {
        write_next(baton);
    }
}
