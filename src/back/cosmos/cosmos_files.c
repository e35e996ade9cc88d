/* SPDX-License-Identifier: Apache-2.0 */
/* Files in the Cosmos DB store: a document each, in the owner's partition, so that it is removed with the entries of
 * its thread. A guard document changes with every file that is added or attached: what was counted under its ETag is
 * exact. The steps of FILE_PUT, and of TURN_OPEN with files, in the order of this file:
 *
 *  1  read the thread (FILE_PUT with one)
 *  2  read the guard
 *  3  query the owner's files
 *  4  check the threads of attached files (TURN_OPEN): cosmos_file_thread.c
 *  5  check the limits, write files and guard in one batch; on conflict: 2 */
#include "cosmos_internal.h"

#include <string.h>

#include <apr_strings.h>

#define GUARD "files"                     /* the id of the guard */
#define OUTLIVES apr_time_from_sec(86400) /* a file's document its message's */

static const char sql_owned[] = "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'file'";
static const char sql_list[] =
    "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'file' AND c.id < @after ORDER BY c.id DESC";
static const char sql_list_thread[] = "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'file' AND c.id < @after"
                                      " AND c.thread_id = @thread ORDER BY c.id DESC";
static const char sql_all[] = "SELECT * FROM c WHERE c.type = 'file'";

static void files_change(ac_cosmos_task_t *task);
static void files_on_thread(ac_cosmos_task_t *task);
static void files_on_guard(void *baton, const ac_cosmos_reply_t *reply);
static void files_listed_all(ac_cosmos_task_t *task);
static void files_write(ac_cosmos_task_t *task);
static void files_on_written(void *baton, const ac_cosmos_reply_t *reply);

/* ---- documents: `media` is the file's type ---- */

static const char *const same[] = {"id", "name", "size", "sha256", "created_at", "thread_id", "status", NULL};

/* It expires after the message that has it, also in a container whose documents do not expire by themselves. */
static json_t *file_doc(const ac_cosmos_t *store, const json_t *file, const char *owner, const char *loose)
{
    json_t *doc = json_object();
    for (int i = 0; same[i]; i++) {
        json_t *value = json_object_get(file, same[i]);
        ac_json_put(doc, same[i], value ? json_incref(value) : json_null());
    }
    ac_json_put(doc, "key", json_incref(json_object_get(file, "id")));
    ac_json_put(doc, "owner", json_string(owner));
    ac_json_put(doc, "type", json_string("file"));
    ac_json_put(doc, "media", json_incref(json_object_get(file, "type")));
    ac_json_put(doc, "loose", json_string(loose));
    if (store->containers.expires && store->containers.keys_expire) {
        ac_json_put(doc, "ttl", json_integer(apr_time_sec(store->containers.expires + OUTLIVES)));
    }
    return doc;
}

static json_t *file_of(const json_t *doc)
{
    json_t *file = json_object();
    for (int i = 0; same[i]; i++) {
        json_t *value = json_object_get(doc, same[i]);
        ac_json_put(file, same[i], value ? json_incref(value) : json_null());
    }
    ac_json_put(file, "type", json_incref(json_object_get(doc, "media")));
    return file;
}

/* ---- FILE_PUT, TURN_OPEN, 1: the thread ---- */

void ac_cosmos_file_put(ac_cosmos_task_t *task)
{
    const json_t *file = json_object_get(task->op->in, "file");
    const char *thread_id = ac_json_peek_string(file, "thread_id", NULL);
    if (!ac_store_file_valid(file)) {
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_INVALID_REQUEST, "the file is not complete"));
    } else if (thread_id) {
        apr_cpystrn(task->op->id, thread_id, sizeof(task->op->id));
        ac_cosmos_thread_doc_read(task, false, files_on_thread);
    } else {
        files_change(task);
    }
}

void ac_cosmos_file_attach(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    size_t n = json_array_size(ac_cosmos_file_thread_ids(task));
    if (n == 0) {
        fn(task);
    } else if (n >= AC_COSMOS_BATCH_MAX) {
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_INVALID_REQUEST, "too many files at once"));
    } else {
        ac_cosmos_task_then(task, fn);
        files_change(task);
    }
}

static bool owns_thread(const ac_cosmos_task_t *task, const char *owner)
{
    return strcmp(ac_json_peek_string(task->thread.doc, "owner", ""), owner) == 0;
}

static void files_on_thread(ac_cosmos_task_t *task)
{
    if (owns_thread(task, task->op->owner) && ac_cosmos_thread_doc_lives(&task->thread, false)) {
        files_change(task);
    } else {
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_NOT_FOUND, "no thread with this id"));
    }
}

/* ---- 2: the guard ---- */

static void files_change(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .container = AC_COSMOS_THREADS,
                                   .key = task->op->owner,
                                   .id = GUARD};
    ac_cosmos_call_start(task, &request, files_on_guard, task);
}

static void files_on_guard(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_query_t query = {.container = AC_COSMOS_THREADS, .key = task->op->owner, .sql = sql_owned};
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    apr_cpystrn(task->entry.etag, reply->status == 200 ? ac_cosmos_call_etag(reply) : "", sizeof(task->entry.etag));
    query.parameters = json_pack("{s:s}", "@owner", task->op->owner);
    ac_cosmos_query_run(task, &query, files_listed_all);
}

/* ---- 3: the owner's files ---- */

static void files_listed_all(ac_cosmos_task_t *task)
{
    if (task->op->verb == AC_STORE_FILE_PUT) {
        files_write(task);
    } else {
        ac_cosmos_file_thread_check(task, files_write);
    }
}

/* ---- 5: the limits, and the batch ---- */

static ac_file_count_t files_sum(const ac_cosmos_task_t *task, const char *thread_id)
{
    ac_file_count_t sum = {0, 0};
    const json_t *doc;
    size_t i;
    json_array_foreach(task->rows, i, doc)
    {
        if (!thread_id || strcmp(ac_json_peek_string(doc, "thread_id", ""), thread_id) == 0) {
            sum.files++;
            sum.bytes += ac_json_peek_int(doc, "size", 0);
        }
    }
    return sum;
}

static apr_status_t put_decide(ac_cosmos_task_t *task, ac_cosmos_batch_t *batch)
{
    ac_store_op_t *op = task->op;
    const json_t *file = json_object_get(op->in, "file");
    const char *thread_id = ac_json_peek_string(file, "thread_id", NULL);
    ac_file_count_t sum = files_sum(task, NULL);
    apr_status_t status = ac_store_file_check(op, &sum, false, file);
    if (status == APR_SUCCESS && thread_id) {
        sum = files_sum(task, thread_id);
        status = ac_store_file_check(op, &sum, true, file);
    }
    json_t *doc = file_doc(task->store, file, op->owner, ac_json_peek_string(file, "created_at", ""));
    ac_cosmos_request_batch_add(batch, AC_COSMOS_CREATE, op->owner, ac_json_peek_string(doc, "id", ""), doc, NULL);
    json_decref(doc);
    return status;
}

static apr_status_t files_attach_one(ac_cosmos_task_t *task, ac_cosmos_batch_t *batch, size_t index)
{
    ac_store_op_t *op = task->op;
    json_t *doc = ac_cosmos_file_thread_doc(task, index);
    ac_file_count_t sum = files_sum(task, op->id);
    const char *at = ac_json_peek_string(json_object_get(op->in, "run"), "created_at", "");
    apr_status_t status = ac_store_file_check_attach(op, doc, &sum, index);
    if (status == APR_SUCCESS && strcmp(ac_json_peek_string(doc, "status", ""), "attached") == 0 &&
        strcmp(ac_json_peek_string(doc, "thread_id", ""), op->id) == 0 && !json_object_get(doc, "loose")) {
        return status; /* an earlier message has it */
    }
    /* Also if an earlier attempt attached it: another turn may be about to take it, which then conflicts. */
    if (status == APR_SUCCESS) {
        ac_json_put(doc, "thread_id", json_string(op->id));
        ac_json_put(doc, "status", json_string("attached"));
        ac_json_put(doc, "loose", json_string(at));
        ac_cosmos_request_batch_add(batch, AC_COSMOS_REPLACE, op->owner, ac_json_peek_string(doc, "id", ""), doc,
                                    ac_json_peek_string(doc, "_etag", NULL));
    }
    return status;
}

static apr_status_t attach_decide(ac_cosmos_task_t *task, ac_cosmos_batch_t *batch)
{
    apr_status_t status = APR_SUCCESS;
    for (size_t i = 0; i < json_array_size(ac_cosmos_file_thread_ids(task)) && status == APR_SUCCESS; i++) {
        status = files_attach_one(task, batch, i);
    }
    return status;
}

static void files_write(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    bool put = op->verb == AC_STORE_FILE_PUT;
    const char *id = ac_json_peek_string(json_object_get(op->in, "file"), "id", "");
    ac_cosmos_request_t request = {.verb = AC_COSMOS_BATCH, .container = AC_COSMOS_THREADS, .key = op->owner};
    ac_cosmos_batch_t batch;
    ac_cosmos_erasures_filter(task, task->rows);
    if (put && ac_cosmos_doc_find(task->rows, id)) { /* an earlier attempt stored it */
        ac_cosmos_task_end_out(task, file_of(ac_cosmos_doc_find(task->rows, id)));
        return;
    }
    ac_cosmos_request_batch_init(&batch);
    json_t *guard = json_pack("{s:s, s:s, s:s, s:s}", "id", GUARD, "key", GUARD, "owner", op->owner, "type", "files");
    const char *etag = task->entry.etag;
    ac_cosmos_request_batch_add(&batch, *etag ? AC_COSMOS_REPLACE : AC_COSMOS_CREATE, op->owner, GUARD, guard,
                                *etag ? etag : NULL);
    json_decref(guard);
    apr_status_t status = put ? put_decide(task, &batch) : attach_decide(task, &batch);
    ac_cosmos_request_batch_end(&batch);
    if (status == APR_SUCCESS && batch.n > 1) {
        ac_cosmos_call_write_batch(task, &request, &batch, files_on_written);
        return;
    }
    ac_cosmos_request_batch_free(&batch);
    if (status == APR_SUCCESS) {
        ac_cosmos_task_return(task); /* all files are attached already: only the guard would change */
    } else {
        ac_cosmos_task_end(task, status);
    }
}

static void files_on_written(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 409, 412))) {
        return;
    }
    if (reply->status != 200) {
        ac_cosmos_task_retry(task, files_change);
    } else if (task->op->verb == AC_STORE_FILE_PUT) {
        ac_cosmos_task_end_out(task, json_deep_copy(json_object_get(task->op->in, "file")));
    } else {
        ac_cosmos_task_return(task);
    }
}

/* ---- FILE_GET, FILE_DELETE ---- */

static void one_start(ac_cosmos_task_t *task, ac_cosmos_verb_e verb, ac_cosmos_reply_fn *fn)
{
    ac_cosmos_request_t request = {.verb = verb,
                                   .container = AC_COSMOS_THREADS,
                                   .key = task->op->owner,
                                   .id = task->op->id};
    if (ac_id_valid(task->op->id, "file_")) {
        ac_cosmos_call_start(task, &request, fn, task);
    } else {
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_NOT_FOUND, "no file with this id"));
    }
}

static void files_on_got(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    if (reply->status == 200 && !ac_cosmos_erasures_hide(task->store, task->op->owner, reply->body)) {
        ac_cosmos_task_end_out(task, file_of(reply->body));
    } else {
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_NOT_FOUND, "no file with this id"));
    }
}

void ac_cosmos_file_get(ac_cosmos_task_t *task)
{
    one_start(task, AC_COSMOS_READ, files_on_got);
}

static void files_on_deleted(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 204, 404))) {
        return;
    }
    if (reply->status != 404 || reply->unsure) {
        ac_cosmos_task_end_out(task, json_object());
    } else {
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_NOT_FOUND, "no file with this id"));
    }
}

void ac_cosmos_file_delete(ac_cosmos_task_t *task)
{
    one_start(task, AC_COSMOS_DELETE, files_on_deleted);
}

/* ---- FILE_LIST ---- */

static void files_listed(ac_cosmos_task_t *task)
{
    int limit = task->op->page.limit;
    bool more = (int)json_array_size(task->rows) > limit;
    json_t *data = json_array();
    const json_t *doc, *last = more ? json_array_get(task->rows, (size_t)limit - 1) : NULL;
    size_t i;
    json_array_foreach(task->rows, i, doc)
    {
        if ((int)i < limit && !ac_cosmos_erasures_hide(task->store, task->op->owner, doc)) {
            json_array_append_new(data, file_of(doc));
        }
    }
    ac_cosmos_task_end_out(task,
                           json_pack("{s:o, s:b, s:s?}", "data", data, "has_more", more, "next",
                                     ac_json_peek_string(last, "id", NULL)));
}

void ac_cosmos_file_list(ac_cosmos_task_t *task)
{
    const char *thread_id = ac_json_peek_string(task->op->in, "thread_id", NULL), *after = task->op->page.after;
    ac_cosmos_query_t query = {.container = AC_COSMOS_THREADS,
                               .key = task->op->owner,
                               .sql = thread_id ? sql_list_thread : sql_list,
                               .want = task->op->page.limit + 1};
    query.parameters =
        json_pack("{s:s, s:s}", "@owner", task->op->owner, "@after", *after ? after : AC_COSMOS_CURSOR_NONE);
    if (thread_id) {
        ac_json_put(query.parameters, "@thread", json_string(thread_id));
    }
    ac_cosmos_query_run(task, &query, files_listed);
}

/* ---- moving ---- */

static void files_exported(ac_cosmos_task_t *task)
{
    const char *next = ac_cosmos_query_continuation(task);
    json_t *data = json_array(), *file;
    const json_t *doc;
    size_t i;
    json_array_foreach(task->rows, i, doc)
    {
        file = file_of(doc);
        ac_json_put(file, "owner", json_incref(json_object_get(doc, "owner")));
        json_array_append_new(data, file);
    }
    ac_cosmos_task_end_out(task, json_pack("{s:o, s:s?}", "data", data, "next", next));
}

void ac_cosmos_file_export(ac_cosmos_task_t *task)
{
    ac_cosmos_query_t query = {.container = AC_COSMOS_THREADS,
                               .sql = sql_all,
                               .want = task->op->page.limit,
                               .continuation = ac_json_peek_string(task->op->in, "after", NULL),
                               .parameters = json_object()};
    ac_cosmos_query_run(task, &query, files_exported);
}

static void files_on_imported(void *baton, const ac_cosmos_reply_t *reply)
{
    if (!ac_cosmos_call_failed(baton, reply, AC_COSMOS_EXPECT(200, 201))) {
        ac_cosmos_file_import(baton);
    }
}

/* Comes back for each file. It stays loose until a sweep finds its thread, which may not be imported yet. */
void ac_cosmos_file_import(ac_cosmos_task_t *task)
{
    const json_t *file = json_array_get(json_object_get(task->op->in, "files"), task->row++);
    const char *owner = ac_json_peek_string(file, "owner", "");
    ac_cosmos_request_t request = {.verb = AC_COSMOS_UPSERT, .container = AC_COSMOS_THREADS, .key = owner};
    char now[AC_TIME_SIZE];
    if (!file) {
        ac_cosmos_task_end_out(task, json_object());
        return;
    }
    if (!ac_store_file_valid(file) || ac_store_owner_problem(owner)) {
        ac_cosmos_task_end(task, ac_err_set_at(&task->op->err, AC_INVALID_REQUEST, "/files", "has an incomplete file"));
        return;
    }
    ac_time_format(now, apr_time_now());
    json_t *doc = file_doc(task->store, file, owner, now);
    ac_cosmos_call_write(task, &request, doc, files_on_imported);
    json_decref(doc);
}
