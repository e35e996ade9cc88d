/* SPDX-License-Identifier: Apache-2.0 */
/* Feedback in the Cosmos DB store: a member of the message's document, and a document of its own, by which lists find
 * it, in the same partition and the same batch. The steps of each verb, in the order of this file:
 *
 * FEEDBACK_PUT
 *  1  find the message's thread, unless the caller names it: a query over all partitions
 *  2  read the thread's document, which has the owner; the message; its run
 *  3  replace the message under its ETag, and write or delete the other document - on conflict: back to 2
 *
 * FEEDBACK_LIST
 *  1  query a page of documents, over all partitions
 *  2  for each of them read the thread's document, or with `words` that and the messages, and add it to the page */
#include "cosmos_internal.h"

#include <string.h>

#include <apr_strings.h>

static const char sql_thread[] = "SELECT c.thread_id FROM c WHERE c.id = @id AND c.type = 'message'";
static const char sql_list[] =
    "SELECT * FROM c WHERE c.type = 'feedback' AND c.timestamp >= @from AND c.timestamp <= @to";
static const char sql_words[] = "SELECT * FROM c WHERE c.thread_id = @thread AND c.id IN (@thread, @answer, @question)";
static const char sql_words_by_seq[] = "SELECT * FROM c WHERE c.thread_id = @thread AND (c.id IN (@thread, @answer) OR"
                                       " c.type = 'message' AND c.seq = @seq)";

typedef struct rating_t { /* the message */
    char id[AC_ID_SIZE];
    char etag[AC_COSMOS_ETAG_SIZE];
} rating_t;

static void put_found_thread(ac_cosmos_task_t *task);
static void put_check_thread(ac_cosmos_task_t *task);
static void put_on_message(void *baton, const ac_cosmos_reply_t *reply);
static void put_on_run(void *baton, const ac_cosmos_reply_t *reply);
static void put_write(ac_cosmos_task_t *task, json_t *made);
static void put_on_written(void *baton, const ac_cosmos_reply_t *reply);
static void list_found(ac_cosmos_task_t *task);
static void list_next(ac_cosmos_task_t *task);
static void list_add_rating(ac_cosmos_task_t *task);
static void list_add_words(ac_cosmos_task_t *task);

/* ---- documents ---- */

static void feedback_id(char id[AC_ID_SIZE + 16], const char *message_id)
{
    snprintf(id, AC_ID_SIZE + 16, "%.*s_feedback", AC_ID_SIZE - 1, message_id);
}

json_t *ac_cosmos_feedback_doc(const json_t *message, const char *owner)
{
    static const char *const names[] = {"thread_id", "seq", "run_id", "parent_id", "feedback", "ttl", NULL};
    const json_t *feedback = json_object_get(message, "feedback");
    const char *message_id = ac_json_peek_string(message, "id", "");
    char id[AC_ID_SIZE + 16];
    json_t *doc;
    feedback_id(id, message_id);
    doc = json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", id, "type", "feedback", "owner", owner, "message_id", message_id,
                    "timestamp", ac_json_peek_string(feedback, "at", ""));
    for (int i = 0; names[i]; i++) {
        json_t *value = json_object_get(message, names[i]);
        if (value) {
            ac_json_put(doc, names[i], json_deep_copy(value));
        }
    }
    return doc;
}

/* ---- FEEDBACK_PUT, 1: the thread ---- */

static void end_no_message(ac_cosmos_task_t *task)
{
    ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_NOT_FOUND, "no message with this id"));
}

void ac_cosmos_feedback_put(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    const char *thread_id = ac_json_peek_string(op->in, "thread_id", NULL);
    rating_t *rating = ac_alloc(sizeof(*rating));
    task->state = rating;
    apr_cpystrn(rating->id, op->id, sizeof(rating->id));
    if (!*rating->id || !ac_cosmos_name_valid(rating->id) || (thread_id && !ac_id_valid(thread_id, "thread_"))) {
        end_no_message(task);
        return;
    }
    if (thread_id) {
        apr_cpystrn(op->id, thread_id, sizeof(op->id));
        ac_cosmos_thread_doc_read(task, false, put_check_thread);
        return;
    }
    ac_cosmos_query_t query = {.container = AC_COSMOS_MESSAGES,
                               .sql = sql_thread,
                               .parameters = json_pack("{s:s}", "@id", rating->id)};
    ac_cosmos_query_run(task, &query, put_found_thread);
}

static void put_found_thread(ac_cosmos_task_t *task)
{
    const json_t *row = json_array_get(task->rows, 0);
    /* Without a row there is nothing to read; but an id that does not exist takes as long as another owner's. */
    if (row) {
        apr_cpystrn(task->op->id, ac_json_peek_string(row, "thread_id", ""), sizeof(task->op->id));
    }
    ac_cosmos_thread_doc_read(task, false, put_check_thread);
}

/* ---- 2: what is stored ---- */

static void put_check_thread(ac_cosmos_task_t *task)
{
    const rating_t *rating = task->state;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .container = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = rating->id};
    if (ac_cosmos_thread_doc_lives(&task->thread, false)) {
        ac_cosmos_call_start(task, &request, put_on_message, task);
    } else {
        end_no_message(task);
    }
}

static void put_on_message(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    rating_t *rating = task->state;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ, .container = AC_COSMOS_MESSAGES, .key = task->op->id};
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    if (reply->status == 404 || strcmp(ac_json_peek_string(reply->body, "type", ""), "message") != 0 ||
        json_object_get(reply->body, "deleted")) {
        end_no_message(task);
        return;
    }
    if (strcmp(ac_json_peek_string(reply->body, "role", ""), "assistant") != 0) {
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_INVALID_REQUEST, "only answers can be rated"));
        return;
    }
    json_decref(task->documents);
    task->documents = json_deep_copy(reply->body);
    apr_cpystrn(rating->etag, ac_cosmos_call_etag(reply), sizeof(rating->etag));
    request.id = ac_json_peek_string(reply->body, "run_id", "");
    ac_cosmos_call_start(task, &request, put_on_run, task);
}

static void put_on_run(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    json_t *made = NULL;
    apr_status_t status;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    json_decref(task->op->out);
    task->op->out = NULL;
    status = ac_feedback_make(&made, &task->op->out, task->op, json_object_get(task->documents, "feedback"),
                              reply->status == 200 ? reply->body : NULL);
    if (status != APR_SUCCESS) {
        ac_cosmos_task_end(task, status);
        return;
    }
    ac_json_put(task->op->out, "thread_id", json_string(task->op->id));
    put_write(task, made);
}

/* ---- 3: the batch ---- */

/* Consumes made. */
static void put_write(ac_cosmos_task_t *task, json_t *made)
{
    rating_t *rating = task->state;
    bool had = json_object_get(task->documents, "feedback") != NULL;
    json_t *message = ac_cosmos_marks_again(task->store, task->documents), *doc;
    char id[AC_ID_SIZE + 16];
    ac_cosmos_request_t request = {.verb = AC_COSMOS_BATCH, .container = AC_COSMOS_MESSAGES, .key = task->op->id};
    ac_cosmos_batch_t batch;
    if (!made && !had) { /* nothing to remove */
        json_decref(message);
        ac_cosmos_task_end(task, APR_SUCCESS);
        return;
    }
    json_object_del(message, "feedback");
    if (made) {
        ac_json_put(message, "feedback", made);
    }
    feedback_id(id, rating->id);
    doc = made ? ac_cosmos_feedback_doc(message, task->op->owner) : NULL;
    ac_cosmos_request_batch_init(&batch);
    ac_cosmos_request_batch_add(&batch, AC_COSMOS_REPLACE, task->op->id, rating->id, message, rating->etag);
    ac_cosmos_request_batch_add(&batch, made ? AC_COSMOS_UPSERT : AC_COSMOS_DELETE, task->op->id, id, doc, NULL);
    ac_cosmos_request_batch_end(&batch);
    json_decref(doc);
    json_decref(message);
    ac_cosmos_call_write_batch(task, &request, &batch, put_on_written);
}

static void put_on_written(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 412))) {
        return;
    }
    if (reply->status == 200) {
        ac_cosmos_task_end(task, APR_SUCCESS);
    } else {
        ac_cosmos_thread_doc_retry(task, put_check_thread);
    }
}

/* ---- FEEDBACK_LIST, 1: the documents ---- */

void ac_cosmos_feedback_list(ac_cosmos_task_t *task)
{
    const json_t *in = task->op->in;
    ac_cosmos_query_t query = {.container = AC_COSMOS_MESSAGES,
                               .sql = sql_list,
                               .want = task->op->page.limit,
                               .continuation = ac_json_peek_string(in, "after", NULL),
                               .parameters = json_pack("{s:s, s:s}", "@from", ac_json_peek_string(in, "from", ""),
                                                       "@to", ac_json_peek_string(in, "to", "~"))};
    ac_cosmos_query_run(task, &query, list_found);
}

static void list_found(ac_cosmos_task_t *task)
{
    const char *next = ac_cosmos_query_continuation(task);
    task->op->out = json_pack("{s:[], s:o}", "data", "next", next ? json_string(next) : json_null());
    json_decref(task->found);
    task->found = task->rows;
    task->rows = NULL;
    list_next(task);
}

/* ---- 2: the page ---- */

static void list_ask_words(ac_cosmos_task_t *task, const json_t *doc)
{
    const json_t *parent = json_object_get(doc, "parent_id");
    ac_cosmos_query_t query = {.container = AC_COSMOS_MESSAGES,
                               .key = task->op->id,
                               .sql = parent ? sql_words : sql_words_by_seq,
                               .whole = true};
    query.parameters =
        json_pack("{s:s, s:s}", "@thread", task->op->id, "@answer", ac_json_peek_string(doc, "message_id", ""));
    if (parent) {
        ac_json_put(query.parameters, "@question",
                    json_string(json_is_string(parent) ? json_string_value(parent) : ""));
    } else {
        ac_json_put(query.parameters, "@seq", json_integer(ac_json_peek_int(doc, "seq", 0) - 1));
    }
    ac_cosmos_query_run(task, &query, list_add_words);
}

/* Takes up the next document, which stays the first of task->found until it is in the page. */
static void list_next(ac_cosmos_task_t *task)
{
    const json_t *doc;
    while ((doc = json_array_get(task->found, 0)) &&
           !ac_feedback_wanted(task->op->in, json_object_get(doc, "feedback"))) {
        json_array_remove(task->found, 0);
    }
    if (!doc) {
        ac_cosmos_task_end(task, APR_SUCCESS);
        return;
    }
    apr_cpystrn(task->op->id, ac_json_peek_string(doc, "thread_id", ""), sizeof(task->op->id));
    if (json_is_true(json_object_get(task->op->in, "words"))) {
        list_ask_words(task, doc);
    } else {
        ac_cosmos_thread_doc_read(task, false, list_add_rating);
    }
}

/* The first of task->found in the form of the list, without words. */
static json_t *list_item(const json_t *doc)
{
    static const char *const names[] = {"message_id", "thread_id", "run_id", "owner"};
    json_t *item = json_deep_copy(json_object_get(doc, "feedback"));
    for (int i = 0; i < 4; i++) {
        json_t *value = json_object_get(doc, names[i]);
        ac_json_put(item, names[i], value ? json_incref(value) : json_null());
    }
    return item;
}

static void list_add_rating(ac_cosmos_task_t *task)
{
    if (ac_cosmos_thread_doc_lives(&task->thread, false)) {
        json_t *item = list_item(json_array_get(task->found, 0));
        json_object_del(item, "reason");
        json_object_del(item, "comment");
        json_array_append_new(json_object_get(task->op->out, "data"), item);
    }
    json_array_remove(task->found, 0);
    list_next(task);
}

static void list_add_words(ac_cosmos_task_t *task)
{
    const json_t *doc = json_array_get(task->found, 0), *head = ac_cosmos_doc_find(task->rows, task->op->id), *row;
    const char *answer_id = ac_json_peek_string(doc, "message_id", "");
    const ac_cosmos_thread_doc_t thread = {.doc = (json_t *)head};
    if (ac_cosmos_thread_doc_lives(&thread, false)) {
        json_t *item = list_item(doc);
        size_t i;
        ac_json_put(item, "question", json_null());
        ac_json_put(item, "answer", json_null());
        json_array_foreach(task->rows, i, row)
        {
            json_t *content = json_object_get(row, "content");
            if (row != head && content) {
                bool answers = strcmp(ac_json_peek_string(row, "id", ""), answer_id) == 0;
                ac_json_put(item, answers ? "answer" : "question", json_incref(content));
            }
        }
        json_array_append_new(json_object_get(task->op->out, "data"), item);
    }
    json_array_remove(task->found, 0);
    list_next(task);
}
