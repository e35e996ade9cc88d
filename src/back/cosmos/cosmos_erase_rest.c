/* SPDX-License-Identifier: Apache-2.0 */
/* What an erased owner has besides threads, in the Cosmos DB store. Only what is older than the erasure is removed.
 * The steps:
 *
 *  1  count runs that are not counted yet
 *  2  at the end of an erasure only: delete the documents of files, and the guard of their counts
 *  3  delete the entries of Idempotency-Keys and of suspended runs
 *  4  write the owner's sums of usage without its name, and delete them; at the end those only to which the removal of
 *     a thread has added an interrupted run: the owner may have new ones */
#include "cosmos_internal.h"

#include <string.h>

#include <openssl/evp.h>

#define ERASED " erased"                /* the owner of their usage; no owner can have this name */
#define WAITING AC_COSMOS_SUSPENDED_KEY /* the partition of suspended runs */

static const char sql_files[] = "SELECT c.id FROM c WHERE c.owner = @owner AND c.type = 'file' AND c.created_at <= @at";
static const char sql_guard[] = "SELECT c.id FROM c WHERE c.owner = @owner AND c.type = 'files'";
static const char sql_keys[] = "SELECT c.id FROM c WHERE c.owner = @owner AND c.type = 'key' AND c.created_at <= @at";
static const char sql_waits[] = "SELECT c.id FROM c WHERE c.owner = @key AND c.run_owner = @owner AND c.id < @to";
static const char sql_usage[] = "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'usage'";

typedef struct kind_t { /* of documents that are deleted */
    const char *sql;
    bool waits, at_the_end;
} kind_t;
static const kind_t kinds[] = {
    {sql_files, false, true},
    {sql_guard, false, true},
    {sql_keys, false, false},
    {sql_waits, true, false},
};
#define N_KINDS (int64_t)(sizeof(kinds) / sizeof(*kinds))

static void rest_counted(ac_cosmos_task_t *task);
static void rest_query(ac_cosmos_task_t *task);
static void rest_found(ac_cosmos_task_t *task);
static void usage_query(ac_cosmos_task_t *task);
static void usage_found(ac_cosmos_task_t *task);
static void usage_next(ac_cosmos_task_t *task);
static void usage_on_written(void *baton, const ac_cosmos_reply_t *reply);
static void usage_on_deleted(void *baton, const ac_cosmos_reply_t *reply);

static bool is_end(const ac_cosmos_task_t *task)
{
    return json_is_true(json_object_get(task->documents, "ends"));
}

static void start(ac_cosmos_task_t *task, bool ends, ac_cosmos_step_fn *fn)
{
    ac_json_put(task->documents, "ends", json_boolean(ends));
    ac_json_put(task->documents, "kind", json_integer(0));
    ac_cosmos_task_then(task, fn);
    ac_cosmos_usage_flush(task, rest_counted);
}

void ac_cosmos_erase_rest_begin(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    start(task, false, fn);
}

void ac_cosmos_erase_rest_end(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    start(task, true, fn);
}

/* ---- 2, 3: documents that are deleted ---- */

static const kind_t *document_kind(const ac_cosmos_task_t *task)
{
    return &kinds[ac_json_peek_int(task->documents, "kind", 0)];
}

static void kind_next(ac_cosmos_task_t *task)
{
    int64_t kind = ac_json_peek_int(task->documents, "kind", 0) + 1;
    ac_json_put(task->documents, "kind", json_integer(kind));
    task->conflicts.n = 0;
    if (kind < N_KINDS) {
        rest_query(task);
    } else {
        usage_query(task);
    }
}

static void rest_counted(ac_cosmos_task_t *task)
{
    task->conflicts.n = 0;
    rest_query(task);
}

static const char *partition_of(const ac_cosmos_task_t *task)
{
    return document_kind(task)->waits ? WAITING : ac_cosmos_erase_subject(task);
}

static void rest_query(ac_cosmos_task_t *task)
{
    char last[AC_ID_SIZE];
    apr_time_t until = 0;
    if (document_kind(task)->at_the_end && !is_end(task)) {
        kind_next(task);
        return;
    }
    ac_time_parse(&until, ac_cosmos_erase_until(task));
    ac_id_first(last, "run_", until + 1000);
    ac_cosmos_query_t query = {.container = AC_COSMOS_THREADS,
                               .key = partition_of(task),
                               .sql = document_kind(task)->sql,
                               .want = AC_COSMOS_BATCH_MAX,
                               .parameters = json_pack("{s:s, s:s, s:s, s:s}", "@owner", ac_cosmos_erase_subject(task),
                                                       "@at", ac_cosmos_erase_until(task), "@key", WAITING, "@to",
                                                       last)};
    ac_cosmos_query_run(task, &query, rest_found);
}

/* 404: another task has deleted one of them. The rest is queried again in either case. */
static void rest_on_deleted(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    if (reply->status == 200) {
        task->conflicts.n = 0;
    }
    ac_cosmos_task_retry(task, rest_query);
}

static void rest_found(ac_cosmos_task_t *task)
{
    const char *key = partition_of(task);
    ac_cosmos_request_t request = {.verb = AC_COSMOS_BATCH, .container = AC_COSMOS_THREADS, .key = key};
    ac_cosmos_batch_t batch;
    const json_t *row;
    size_t i;
    if (json_array_size(task->rows) == 0) {
        kind_next(task);
        return;
    }
    ac_cosmos_request_batch_init(&batch);
    json_array_foreach(task->rows, i, row)
    {
        ac_cosmos_request_batch_add(&batch, AC_COSMOS_DELETE, key, ac_json_peek_string(row, "id", ""), NULL, NULL);
    }
    ac_cosmos_request_batch_end(&batch);
    ac_cosmos_call_write_batch(task, &request, &batch, rest_on_deleted);
}

/* ---- 4: usage ---- */

static void usage_query(ac_cosmos_task_t *task)
{
    ac_cosmos_query_t query = {.container = AC_COSMOS_THREADS,
                               .key = ac_cosmos_erase_subject(task),
                               .sql = sql_usage,
                               .parameters = json_pack("{s:s}", "@owner", ac_cosmos_erase_subject(task))};
    ac_cosmos_query_run(task, &query, usage_found);
}

static void usage_found(ac_cosmos_task_t *task)
{
    json_decref(task->found);
    task->found = task->rows;
    task->rows = NULL;
    usage_next(task);
}

/* A source of its own keeps the sum apart from all others. It names the document that the sum comes from: a document of
 * the same day that is made later is another one, and the same one that is written again replaces itself. */
static json_t *source_of(const ac_cosmos_task_t *task, const json_t *doc, const char *source)
{
    const char *rid = ac_json_peek_string(doc, "_rid", "");
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    char hex[17];
    if (!EVP_Digest(rid, strlen(rid), digest, &len, EVP_sha256(), NULL)) {
        abort();
    }
    ac_text_hex(hex, digest, 8);
    return json_sprintf("%s.%s%s", ac_json_peek_string(ac_cosmos_erase_marker(task), "erasure", ""), hex, source);
}

/* Moves the first of task->found. */
static void usage_next(ac_cosmos_task_t *task)
{
    const json_t *doc;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_UPSERT, .container = AC_COSMOS_THREADS, .key = ERASED};
    while ((doc = json_array_get(task->found, 0)) && is_end(task) &&
           strcmp(ac_json_peek_string(doc, "status", ""), "interrupted") != 0) {
        json_array_remove(task->found, 0);
    }
    if (!doc) {
        ac_cosmos_task_return(task);
        return;
    }
    json_t *row = ac_cosmos_usage_row(doc), *moved;
    json_t *source = source_of(task, doc, ac_json_peek_string(row, "source", ""));
    ac_json_put(row, "owner", json_string(ERASED));
    ac_json_put(row, "source", source);
    moved = ac_cosmos_usage_doc(row);
    ac_cosmos_call_write(task, &request, moved, usage_on_written);
    json_decref(moved);
    json_decref(row);
}

static void usage_on_written(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    const json_t *doc = json_array_get(task->found, 0);
    ac_cosmos_request_t request = {.verb = AC_COSMOS_DELETE,
                                   .container = AC_COSMOS_THREADS,
                                   .key = ac_cosmos_erase_subject(task),
                                   .id = ac_json_peek_string(doc, "id", ""),
                                   .if_match = ac_json_peek_string(doc, "_etag", "")};
    if (!ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 201))) {
        ac_cosmos_call_start(task, &request, usage_on_deleted, task);
    }
}

static void usage_on_deleted(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 204, 404, 412))) {
        return;
    }
    if (reply->status == 412) { /* another run was counted meanwhile */
        ac_cosmos_task_retry(task, usage_query);
    } else {
        task->conflicts.n = 0;
        json_array_remove(task->found, 0);
        usage_next(task);
    }
}
