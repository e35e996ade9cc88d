/* SPDX-License-Identifier: Apache-2.0 */
/* MESSAGE_DELETE in the Cosmos DB store: what messages say leaves their documents, which keep their places. The steps:
 *
 *  1  read the thread's document, which has the owner; close its active run if that is dead
 *  2  query the messages, and those with a summary; check that their run is not active
 *  3  read the run, unless it stays
 *  4  let the files go: FILE_SWEEP looks whether a message has them
 *  5  query what else is stored of the messages and of the run's steps: parts of large documents, feedback
 *  6  mark the thread's entry
 *  7  commit messages, run and thread in one batch, under the ETag of each - on conflict: back to 1. What one batch
 *     cannot hold is left to the next one, which begins with 1 */
#include "cosmos_internal.h"

#include <string.h>

#include <apr_strings.h>

#define BATCH_BYTES 900000 /* after which the next message is left to the next batch; the service takes 2 MB */

static const char sql_messages[] =
    "SELECT * FROM c WHERE c.thread_id = @thread AND c.type = 'message' AND (c.id = @message OR c.run_id = @run"
    " OR c.metadata.came_with = @run OR IS_DEFINED(c.summary))";
static const char sql_rest[] =
    "SELECT c.id, c.type, c.of, c.message_id FROM c WHERE c.thread_id = @thread AND c.type IN ('part', 'feedback',"
    " 'steps') AND (c.id = @steps OR ARRAY_CONTAINS(@of, c.of) OR ARRAY_CONTAINS(@of, c.message_id))";

typedef struct deletion_t {
    bool named_run; /* all messages of the run are deleted; else one message */
    bool deletes_run;
    bool begun;    /* a batch is written */
    bool complete; /* with this batch nothing is left */
    int64_t first; /* the seq of the first message that is deleted */
    int head_at;   /* the place of the thread's document in the batch */
} deletion_t;

static void deletion_check_thread(ac_cosmos_task_t *task);
static void deletion_find(ac_cosmos_task_t *task);
static void deletion_found(ac_cosmos_task_t *task);
static void deletion_on_run(void *baton, const ac_cosmos_reply_t *reply);
static void deletion_let_files_go(ac_cosmos_task_t *task);
static void deletion_find_rest(ac_cosmos_task_t *task);
static void deletion_mark(ac_cosmos_task_t *task);
static void deletion_write(ac_cosmos_task_t *task);
static void deletion_on_written(void *baton, const ac_cosmos_reply_t *reply);

/* ---- 1: the thread's document ---- */

void ac_cosmos_deletion_run(ac_cosmos_task_t *task)
{
    deletion_t *deletion = ac_alloc(sizeof(*deletion));
    task->state = deletion;
    deletion->named_run = json_is_string(json_object_get(task->op->in, "run_id"));
    ac_cosmos_thread_doc_read(task, false, deletion_check_thread);
}

static void deletion_check_thread(ac_cosmos_task_t *task)
{
    if (*ac_cosmos_thread_doc_run(&task->thread)) {
        ac_cosmos_run_check_active(task, deletion_find);
    } else {
        deletion_find(task);
    }
}

static void deletion_end_none(ac_cosmos_task_t *task)
{
    ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_NOT_FOUND, "no message with this id"));
}

static void deletion_end(ac_cosmos_task_t *task)
{
    const deletion_t *deletion = task->state;
    json_t *runs = json_array();
    if (deletion->deletes_run) {
        json_array_append_new(runs, json_string(task->run_id));
    }
    ac_cosmos_task_end_out(task,
                           json_pack("{s:o, s:o}", "thread", ac_cosmos_doc_thread(task->thread.doc), "runs", runs));
}

/* ---- 2: the messages ---- */

static void deletion_find(ac_cosmos_task_t *task)
{
    const json_t *in = task->op->in;
    if (!ac_cosmos_thread_doc_lives(&task->thread, false)) {
        deletion_end_none(task);
        return;
    }
    ac_cosmos_query_t query = {.container = AC_COSMOS_MESSAGES, .key = task->op->id, .sql = sql_messages};
    query.parameters = json_pack("{s:s, s:s, s:s}", "@thread", task->op->id, "@message",
                                 ac_json_peek_string(in, "message_id", ""), "@run",
                                 ac_json_peek_string(in, "run_id", ""));
    ac_cosmos_query_run(task, &query, deletion_found);
}

static bool deletion_names(const ac_cosmos_task_t *task, const json_t *message)
{
    const char *id = ac_json_peek_string(task->op->in, "message_id", "");
    const char *run_id = ac_json_peek_string(task->op->in, "run_id", ""), *with;
    with = ac_json_peek_string(json_object_get(message, "metadata"), "came_with", "");
    return strcmp(ac_json_peek_string(message, "id", ""), id) == 0 ||
        (*run_id && (strcmp(ac_json_peek_string(message, "run_id", ""), run_id) == 0 || strcmp(with, run_id) == 0));
}

static bool is_to_go(const ac_cosmos_task_t *task, const json_t *message)
{
    return deletion_names(task, message) && !json_object_get(message, "deleted");
}

/* Leaves only what the batches have to change in task->found. Returns whether the run of a named message is active. */
static bool deletion_choose(ac_cosmos_task_t *task)
{
    deletion_t *deletion = task->state;
    const char *active = ac_cosmos_thread_doc_run(&task->thread);
    bool busy = *active && deletion->named_run && strcmp(active, task->run_id) == 0;
    const json_t *message;
    size_t i;
    json_array_foreach(task->found, i, message)
    {
        if (deletion_names(task, message)) {
            const char *run_id = ac_json_peek_string(message, "run_id", "");
            int64_t seq = ac_json_peek_int(message, "seq", 0);
            busy = busy || (*active && strcmp(active, run_id) == 0);
            deletion->first = deletion->first && deletion->first < seq ? deletion->first : seq;
            if (!deletion->named_run && ac_record_is_answer(message)) {
                apr_cpystrn(task->run_id, run_id, sizeof(task->run_id));
            }
        }
    }
    for (i = json_array_size(task->found); i-- > 0;) {
        message = json_array_get(task->found, i);
        bool summary = json_object_get(message, "summary") && ac_json_peek_int(message, "seq", 0) > deletion->first;
        if (!is_to_go(task, message) && (!deletion->first || !summary)) {
            json_array_remove(task->found, i);
        }
    }
    return busy;
}

static void deletion_found(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ, .container = AC_COSMOS_MESSAGES, .key = op->id};
    json_decref(task->found);
    task->found = task->rows;
    task->rows = NULL;
    json_decref(task->documents);
    task->documents = NULL;
    apr_cpystrn(task->run_id, ac_json_peek_string(op->in, "run_id", ""), sizeof(task->run_id));
    if (deletion_choose(task)) {
        op->out = json_pack("{s:s}", "run_id", ac_cosmos_thread_doc_run(&task->thread));
        ac_cosmos_task_end(task, ac_err_set(&op->err, AC_RUN_IN_PROGRESS, "the message belongs to an active run"));
    } else if (*task->run_id && ac_cosmos_name_valid(task->run_id)) {
        request.id = task->run_id;
        ac_cosmos_call_start(task, &request, deletion_on_run, task);
    } else {
        deletion_let_files_go(task);
    }
}

/* ---- 3: the run ---- */

static void deletion_on_run(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    if (reply->status == 200 && strcmp(ac_json_peek_string(reply->body, "type", ""), "run") == 0 &&
        !json_object_get(reply->body, "deleted")) {
        task->documents = json_deep_copy(reply->body);
    }
    deletion_let_files_go(task);
}

/* ---- 4: files ---- */

/* The n-th file of the messages that are deleted; NULL: there are not so many. */
static const char *deletion_file(const ac_cosmos_task_t *task, size_t n)
{
    const json_t *message, *file;
    size_t i, k;
    json_array_foreach(task->found, i, message)
    {
        json_array_foreach(is_to_go(task, message) ? json_object_get(message, "attachments") : NULL, k, file)
        {
            if (n-- == 0) {
                return ac_json_peek_string(file, "file_id", "");
            }
        }
    }
    return NULL;
}

static void deletion_next_file(ac_cosmos_task_t *task);

/* 404: the file is removed already. */
static void deletion_on_file(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (!ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        task->row++;
        deletion_next_file(task);
    }
}

static void deletion_next_file(ac_cosmos_task_t *task)
{
    const char *id = deletion_file(task, task->row);
    ac_cosmos_request_t request = {.verb = AC_COSMOS_PATCH,
                                   .container = AC_COSMOS_THREADS,
                                   .key = task->op->owner,
                                   .id = id};
    while (id && !ac_cosmos_name_valid(id)) {
        id = request.id = deletion_file(task, ++task->row);
    }
    if (!id) {
        deletion_find_rest(task);
        return;
    }
    json_t *patch = json_pack("{s:[{s:s, s:s, s:o}]}", "operations", "op", "set", "path", "/loose", "value",
                              ac_time_json(ac_cosmos_now(task->store)));
    ac_cosmos_call_write(task, &request, patch, deletion_on_file);
    json_decref(patch);
}

static void deletion_let_files_go(ac_cosmos_task_t *task)
{
    deletion_t *deletion = task->state;
    bool none = json_array_size(task->found) == 0 && !task->documents;
    if (none && (deletion->begun || task->conflicts.n > 0)) {
        deletion_end(task); /* an attempt whose answer was lost */
    } else if (none) {
        deletion_end_none(task);
    } else {
        deletion->deletes_run = deletion->deletes_run || task->documents;
        task->row = 0;
        deletion_next_file(task);
    }
}

/* ---- 5: what belongs to them ---- */

static void deletion_find_rest(ac_cosmos_task_t *task)
{
    char steps_id[AC_ID_SIZE + 8] = "";
    json_t *of = json_array();
    const json_t *message;
    size_t i;
    json_array_foreach(task->found, i, message)
    {
        if (is_to_go(task, message)) {
            json_array_append(of, json_object_get(message, "id"));
        }
    }
    if (task->documents) {
        ac_cosmos_doc_steps_id(steps_id, task->run_id);
        json_array_append_new(of, json_string(steps_id));
    }
    ac_cosmos_query_t query = {.container = AC_COSMOS_MESSAGES, .key = task->op->id, .sql = sql_rest};
    query.parameters = json_pack("{s:s, s:s, s:o}", "@thread", task->op->id, "@steps", steps_id, "@of", of);
    ac_cosmos_query_run(task, &query, deletion_mark);
}

/* ---- 6: the entry ---- */

static void deletion_mark(ac_cosmos_task_t *task)
{
    ac_cosmos_entry_mark(task, deletion_write);
}

/* ---- 7: the batch ---- */

/* Whether this document of task->rows goes with the one of this id. */
static bool goes_with(const json_t *row, const char *id)
{
    return strcmp(ac_json_peek_string(row, "of", ac_json_peek_string(row, "message_id", "")), id) == 0 ||
        strcmp(ac_json_peek_string(row, "id", ""), id) == 0;
}

/* Adds what is written in the place of a document, and removes what belongs to it: the rest of `id`. false: the batch
 * is full, and nothing was added. doc: consumed. */
static bool deletion_add(ac_cosmos_batch_t *batch, const ac_cosmos_task_t *task, const json_t *stored, json_t *doc,
                         const char *id)
{
    const json_t *row;
    size_t i;
    int n = 2; /* with the thread's document */
    json_array_foreach(task->rows, i, row)
    {
        n += goes_with(row, id);
    }
    if (batch->n > 0 && (batch->n + n > AC_COSMOS_BATCH_MAX || batch->body.len > BATCH_BYTES)) {
        json_decref(doc);
        return false;
    }
    ac_cosmos_request_batch_add(batch, AC_COSMOS_REPLACE, task->op->id, ac_json_peek_string(stored, "id", ""), doc,
                                ac_json_peek_string(stored, "_etag", ""));
    json_array_foreach(task->rows, i, row)
    {
        if (goes_with(row, id)) {
            ac_cosmos_request_batch_add(batch, AC_COSMOS_DELETE, task->op->id, ac_json_peek_string(row, "id", ""), NULL,
                                        NULL);
        }
    }
    json_decref(doc);
    return true;
}

static json_t *message_left(const ac_cosmos_task_t *task, const json_t *stored)
{
    json_t *again = ac_cosmos_marks_again(task->store, stored), *left;
    if (!is_to_go(task, stored)) {
        json_object_del(again, "summary");
        return again;
    }
    left = ac_store_deleted(stored);
    json_object_del(left, "tool_calls"); /* a document has them in its metadata */
    ac_json_put(left, "type", json_string("message"));
    if (json_object_get(again, "ttl")) {
        ac_json_put(left, "ttl", json_incref(json_object_get(again, "ttl")));
    }
    json_decref(again);
    return left;
}

static json_t *run_left(const ac_cosmos_task_t *task)
{
    json_t *run = ac_cosmos_marks_again(task->store, task->documents), *error = json_object_get(run, "error");
    ac_json_put(run, "deleted", json_true());
    if (json_is_object(error)) {
        error = json_copy(error);
        ac_json_put(error, "message", json_string(""));
        ac_json_put(run, "error", error);
    }
    return run;
}

/* The thread's document as it is after n of task->found were written. */
static json_t *head_left(ac_cosmos_task_t *task, size_t n)
{
    json_t *head = json_copy(task->thread.doc);
    int64_t count = ac_json_peek_int(head, "deleted_messages", 0);
    for (size_t i = 0; i < n; i++) {
        const json_t *message = json_array_get(task->found, i);
        bool goes = is_to_go(task, message);
        count += goes;
        if (goes && ac_store_title_is_of(json_object_get(head, "title"), message)) {
            ac_json_put(head, "title", json_null());
        }
    }
    if (count) {
        ac_json_put(head, "deleted_messages", json_integer(count));
    }
    ac_json_put(head, "version", json_integer(ac_cosmos_doc_version(head) + 1));
    ac_json_put(head, "change", json_string(task->entry.change));
    return head;
}

static void deletion_write(ac_cosmos_task_t *task)
{
    deletion_t *deletion = task->state;
    const char *key = task->op->id;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_BATCH, .container = AC_COSMOS_MESSAGES, .key = key};
    char steps_id[AC_ID_SIZE + 8];
    ac_cosmos_batch_t batch;
    size_t n = 0;
    bool fits = true;
    ac_cosmos_request_batch_init(&batch);
    while (fits && n < json_array_size(task->found)) {
        const json_t *stored = json_array_get(task->found, n);
        fits = deletion_add(&batch, task, stored, message_left(task, stored), ac_json_peek_string(stored, "id", ""));
        n += fits;
    }
    if (fits && task->documents) {
        ac_cosmos_doc_steps_id(steps_id, task->run_id);
        fits = deletion_add(&batch, task, task->documents, run_left(task), steps_id);
    }
    json_t *head = head_left(task, n);
    deletion->complete = fits;
    deletion->head_at = batch.n;
    ac_cosmos_request_batch_add(&batch, AC_COSMOS_REPLACE, key, key, head, task->thread.etag);
    json_decref(task->thread.doc);
    task->thread.doc = head;
    if (ac_cosmos_request_batch_end(&batch) != APR_SUCCESS) {
        ac_cosmos_request_batch_free(&batch);
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
        return;
    }
    ac_cosmos_call_write_batch(task, &request, &batch, deletion_on_written);
}

static void deletion_on_written(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    deletion_t *deletion = task->state;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 412))) {
        return;
    }
    if (reply->status != 200) {
        ac_cosmos_thread_doc_retry(task, deletion_check_thread);
        return;
    }
    ac_cosmos_thread_doc_remember(task->store, task->op->id, task->thread.doc,
                                  ac_cosmos_answer_batch_etag(reply->body, deletion->head_at));
    deletion->begun = true;
    if (deletion->complete) {
        deletion_end(task);
    } else {
        ac_cosmos_thread_doc_read(task, false, deletion_check_thread);
    }
}
