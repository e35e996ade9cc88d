/* SPDX-License-Identifier: Apache-2.0 */
/* OWNER_ERASE in the Cosmos DB store, and its continuation by a purge of any server. The steps, in the order of this
 * file. What they need is in task->documents: {marker, markers, threads, active, messages, runs}.
 *
 *  1  OWNER_ERASE writes a marker, in a partition of its own; a purge queries all markers
 *  2  query the entries of the owner's threads that are older than the marker, and hide each of these threads: mark
 *     its entry, replace its document by a tombstone - on conflict: with a read
 *  3  delete the entries of Idempotency-Keys and of suspended runs
 *  4  write the owner's sums of usage without its name, and delete them
 *  5  a purge, after it has removed the threads: 3 and 4 again, then delete the marker */
#include "cosmos_internal.h"

#include <string.h>

#include <apr_strings.h>
#include <openssl/evp.h>

#define KEY " erasures"                     /* the partition of markers, in place of an owner */
#define ERASED " erased"                    /* the owner of their usage; no owner can have this name */
#define WAITING AC_COSMOS_SUSPENDED_KEY     /* the partition of suspended runs */
#define LONG_AGO "0000-00-00T00:00:00.000Z" /* any purge finds the tombstones */

static const char sql_markers[] = "SELECT * FROM c WHERE c.owner = @key AND c.type = 'erasure'";
static const char sql_runs[] = "SELECT VALUE COUNT(1) FROM c WHERE c.owner = @owner AND c.type = 'run'";
static const char sql_threads[] =
    "SELECT c.id FROM c WHERE c.owner = @owner AND c.type = 'thread' AND c.created_at <= @at";
static const char sql_keys[] = "SELECT c.id FROM c WHERE c.owner = @owner AND c.type = 'key'";
static const char sql_waits[] = "SELECT c.id FROM c WHERE c.owner = @key AND c.run_owner = @owner";
static const char sql_usage[] = "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'usage'";

static void erase_on_marker(void *baton, const ac_cosmos_reply_t *reply);
static void erase_count_runs(ac_cosmos_task_t *task);
static void erase_counted(ac_cosmos_task_t *task);
static void hide_query(ac_cosmos_task_t *task);
static void hide_found(ac_cosmos_task_t *task);
static void hide_next(ac_cosmos_task_t *task);
static void hide_check(ac_cosmos_task_t *task);
static void hide_bury(ac_cosmos_task_t *task);
static void hide_on_buried(void *baton, const ac_cosmos_reply_t *reply);
static void rest_keys(ac_cosmos_task_t *task);
static void rest_keys_found(ac_cosmos_task_t *task);
static void rest_waits(ac_cosmos_task_t *task);
static void rest_waits_found(ac_cosmos_task_t *task);
static void usage_query(ac_cosmos_task_t *task);
static void usage_found(ac_cosmos_task_t *task);
static void usage_next(ac_cosmos_task_t *task);
static void usage_on_written(void *baton, const ac_cosmos_reply_t *reply);
static void usage_on_deleted(void *baton, const ac_cosmos_reply_t *reply);

static const json_t *marker_of(const ac_cosmos_task_t *task)
{
    return json_object_get(task->documents, "marker");
}

static const char *subject_of(const ac_cosmos_task_t *task)
{
    return ac_json_peek_string(marker_of(task), "subject", "");
}

/* ---- 1: markers ---- */

static void begin_erasure(ac_cosmos_task_t *task)
{
    json_decref(task->documents);
    task->documents = json_pack("{s:[], s:[], s:[]}", "markers", "threads", "active");
}

static void end_erased(ac_cosmos_task_t *task)
{
    static const char *const names[] = {"threads", "active", "messages", "runs"};
    json_t *out = json_pack("{s:[]}", "files");
    for (int i = 0; i < 4; i++) {
        json_t *value = json_object_get(task->documents, names[i]);
        ac_json_put(out, names[i], value ? json_incref(value) : json_integer(0));
    }
    ac_cosmos_task_end_out(task, out);
}

void ac_cosmos_erase_owner(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_UPSERT, .container = AC_COSMOS_THREADS, .key = KEY};
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    char id[AC_COSMOS_KEY_SIZE] = "erasure_";
    if (!EVP_Digest(op->owner, strlen(op->owner), digest, &len, EVP_sha256(), NULL)) {
        abort();
    }
    ac_text_hex(id + strlen(id), digest, len / 2);
    begin_erasure(task);
    json_t *marker = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i}", "id", id, "key", id, "owner", KEY, "type",
                               "erasure", "subject", op->owner, "erasure", ac_json_peek_string(op->in, "id", ""), "at",
                               ac_json_peek_string(op->in, "at", "~"), "ttl", -1);
    ac_json_put(task->documents, "marker", marker);
    ac_cosmos_call_write(task, &request, marker, erase_on_marker);
}

static void erase_on_marker(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (!ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 201))) {
        ac_cosmos_task_then(task, end_erased);
        ac_cosmos_task_then(task, rest_keys);
        ac_cosmos_usage_flush(task, erase_count_runs);
    }
}

static void erase_count_runs(ac_cosmos_task_t *task)
{
    ac_cosmos_query_t query = {.container = AC_COSMOS_THREADS,
                               .key = subject_of(task),
                               .sql = sql_runs,
                               .parameters = json_pack("{s:s}", "@owner", subject_of(task))};
    ac_cosmos_query_run(task, &query, erase_counted);
}

static void erase_counted(ac_cosmos_task_t *task)
{
    ac_json_put(task->documents, "runs", json_integer(json_integer_value(json_array_get(task->rows, 0))));
    hide_query(task);
}

/* ---- a purge: all markers, one after the other; `markers` keeps those that are still to do ---- */

static void take_marker(ac_cosmos_task_t *task, ac_cosmos_step_fn *again, ac_cosmos_step_fn *work)
{
    json_t *markers = json_object_get(task->documents, "markers");
    int64_t n = ac_json_peek_int(task->documents, "n", 0);
    json_t *marker = json_array_get(markers, (size_t)n);
    if (!marker || task->store->child.stopping) {
        ac_json_put(task->documents, "n", json_integer(0));
        ac_cosmos_task_return(task);
        return;
    }
    ac_json_put(task->documents, "n", json_integer(n + 1));
    ac_json_put(task->documents, "marker", json_incref(marker));
    ac_cosmos_task_then(task, again);
    work(task);
}

static void purge_hide_next(ac_cosmos_task_t *task)
{
    take_marker(task, purge_hide_next, hide_query);
}

static void purge_markers(ac_cosmos_task_t *task)
{
    ac_json_put(task->documents, "markers", json_incref(task->rows));
    purge_hide_next(task);
}

void ac_cosmos_erase_resume(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    ac_cosmos_query_t query = {.container = AC_COSMOS_THREADS,
                               .key = KEY,
                               .sql = sql_markers,
                               .parameters = json_pack("{s:s}", "@key", KEY)};
    begin_erasure(task);
    ac_cosmos_task_then(task, fn);
    ac_cosmos_query_run(task, &query, purge_markers);
}

/* ---- 2: hiding the threads ---- */

static void hide_query(ac_cosmos_task_t *task)
{
    ac_cosmos_query_t query = {.container = AC_COSMOS_THREADS,
                               .key = subject_of(task),
                               .sql = sql_threads,
                               .parameters = json_pack("{s:s, s:s}", "@owner", subject_of(task), "@at",
                                                       ac_json_peek_string(marker_of(task), "at", ""))};
    ac_cosmos_query_run(task, &query, hide_found);
}

static void hide_found(ac_cosmos_task_t *task)
{
    json_decref(task->found);
    task->found = task->rows;
    task->rows = NULL;
    hide_next(task);
}

static void hide_next(ac_cosmos_task_t *task)
{
    const json_t *row = json_array_get(task->found, 0);
    if (!row) {
        ac_cosmos_task_return(task);
        return;
    }
    apr_cpystrn(task->op->id, ac_json_peek_string(row, "id", ""), sizeof(task->op->id));
    json_array_remove(task->found, 0);
    task->conflicts.n = 0;
    ac_cosmos_thread_doc_read(task, false, hide_check);
}

/* An entry without a document belongs to no thread any more, or not yet; a list removes it. */
static void hide_check(ac_cosmos_task_t *task)
{
    bool theirs = strcmp(ac_json_peek_string(task->thread.doc, "owner", ""), subject_of(task)) == 0;
    if (theirs && ac_cosmos_thread_doc_lives(&task->thread, true)) {
        ac_cosmos_entry_mark(task, hide_bury);
    } else {
        hide_next(task);
    }
}

static void hide_bury(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_REPLACE,
                                   .container = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = task->op->id,
                                   .if_match = task->thread.etag};
    json_t *thread = json_copy(task->thread.doc);
    ac_json_put(thread, "status", json_string("purging"));
    ac_json_put(thread, "change", json_string(task->entry.change));
    ac_json_put(thread, "deleted_at", json_string(LONG_AGO));
    ac_json_put(thread, "title", json_null());
    ac_json_put(thread, "metadata", json_object());
    ac_cosmos_call_write(task, &request, thread, hide_on_buried);
    json_decref(thread);
}

static void hide_on_buried(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    const char *run_id = ac_cosmos_thread_doc_run(&task->thread);
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 412))) {
        return;
    }
    if (reply->status != 200) {
        ac_cosmos_thread_doc_retry(task, hide_check);
        return;
    }
    int64_t n = ac_json_peek_int(task->documents, "messages", 0);
    n += ac_json_peek_int(task->thread.doc, "message_count", 0);
    ac_json_put(task->documents, "messages", json_integer(n));
    json_array_append_new(json_object_get(task->documents, "threads"), json_string(task->op->id));
    if (*run_id) {
        json_array_append_new(json_object_get(task->documents, "active"), json_string(run_id));
    }
    ac_cosmos_thread_doc_remember(task->store, task->op->id, NULL, NULL);
    hide_next(task);
}

/* ---- 3: what belongs to no thread ---- */

static void rest_query(ac_cosmos_task_t *task, const char *key, const char *sql, ac_cosmos_step_fn *fn)
{
    ac_cosmos_query_t query = {.container = AC_COSMOS_THREADS,
                               .key = key,
                               .sql = sql,
                               .want = AC_COSMOS_BATCH_MAX,
                               .parameters = json_pack("{s:s}", "@owner", subject_of(task))};
    if (strcmp(key, WAITING) == 0) {
        ac_json_put(query.parameters, "@key", json_string(WAITING));
    }
    ac_cosmos_query_run(task, &query, fn);
}

/* Deletes task->rows of this partition; fn: queries the rest. */
static void rest_delete(ac_cosmos_task_t *task, const char *key, ac_cosmos_reply_fn *fn)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_BATCH, .container = AC_COSMOS_THREADS, .key = key};
    ac_cosmos_batch_t batch;
    const json_t *row;
    size_t i;
    ac_cosmos_request_batch_init(&batch);
    json_array_foreach(task->rows, i, row)
    {
        ac_cosmos_request_batch_add(&batch, AC_COSMOS_DELETE, key, ac_json_peek_string(row, "id", ""), NULL, NULL);
    }
    ac_cosmos_request_batch_end(&batch);
    ac_cosmos_call_write_batch(task, &request, &batch, fn);
}

static void rest_on_keys(void *baton, const ac_cosmos_reply_t *reply)
{
    if (!ac_cosmos_call_failed(baton, reply, AC_COSMOS_EXPECT(200, 404))) {
        ac_cosmos_task_retry(baton, rest_keys);
    }
}

static void rest_keys(ac_cosmos_task_t *task)
{
    rest_query(task, subject_of(task), sql_keys, rest_keys_found);
}

static void rest_keys_found(ac_cosmos_task_t *task)
{
    if (json_array_size(task->rows) == 0) {
        rest_waits(task);
    } else {
        rest_delete(task, subject_of(task), rest_on_keys);
    }
}

static void rest_on_waits(void *baton, const ac_cosmos_reply_t *reply)
{
    if (!ac_cosmos_call_failed(baton, reply, AC_COSMOS_EXPECT(200, 404))) {
        ac_cosmos_task_retry(baton, rest_waits);
    }
}

static void rest_waits(ac_cosmos_task_t *task)
{
    rest_query(task, WAITING, sql_waits, rest_waits_found);
}

static void rest_waits_found(ac_cosmos_task_t *task)
{
    if (json_array_size(task->rows) == 0) {
        usage_query(task);
    } else {
        rest_delete(task, WAITING, rest_on_waits);
    }
}

/* ---- 4: usage ---- */

static void usage_query(ac_cosmos_task_t *task)
{
    ac_cosmos_query_t query = {.container = AC_COSMOS_THREADS,
                               .key = subject_of(task),
                               .sql = sql_usage,
                               .parameters = json_pack("{s:s}", "@owner", subject_of(task))};
    ac_cosmos_query_run(task, &query, usage_found);
}

static void usage_found(ac_cosmos_task_t *task)
{
    json_decref(task->found);
    task->found = task->rows;
    task->rows = NULL;
    usage_next(task);
}

/* The first of task->found gets a source of its own, so that no other sum is overwritten. A purge comes later, when the
 * owner may have new usage; it takes the runs only that it has interrupted itself. */
static void usage_next(ac_cosmos_task_t *task)
{
    bool purges = task->op->verb == AC_STORE_PURGE;
    const json_t *doc;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_UPSERT, .container = AC_COSMOS_THREADS, .key = ERASED};
    while ((doc = json_array_get(task->found, 0)) && purges &&
           strcmp(ac_json_peek_string(doc, "status", ""), "interrupted") != 0) {
        json_array_remove(task->found, 0);
    }
    if (!doc) {
        ac_cosmos_task_return(task);
        return;
    }
    json_t *row = ac_cosmos_usage_row(doc), *moved;
    json_t *source = json_sprintf("%s%s%s", ac_json_peek_string(marker_of(task), "erasure", ""), purges ? "+" : "",
                                  ac_json_peek_string(row, "source", ""));
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
                                   .key = subject_of(task),
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
        json_array_remove(task->found, 0);
        usage_next(task);
    }
}

/* ---- 5: the end of a purge ---- */

static void finish_on_marker(void *baton, const ac_cosmos_reply_t *reply)
{
    if (!ac_cosmos_call_failed(baton, reply, AC_COSMOS_EXPECT(200, 204, 404, 412))) {
        ac_cosmos_task_return(baton);
    }
}

/* A newer erasure of the same owner has changed the marker, and keeps it. */
static void finish_marker(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_DELETE,
                                   .container = AC_COSMOS_THREADS,
                                   .key = KEY,
                                   .id = ac_json_peek_string(marker_of(task), "id", ""),
                                   .if_match = ac_json_peek_string(marker_of(task), "_etag", "")};
    ac_cosmos_call_start(task, &request, finish_on_marker, task);
}

static void finish_rest(ac_cosmos_task_t *task)
{
    ac_cosmos_task_then(task, finish_marker);
    rest_keys(task);
}

static void finish_next(ac_cosmos_task_t *task)
{
    take_marker(task, finish_next, finish_rest);
}

void ac_cosmos_erase_finish(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    ac_cosmos_task_then(task, fn);
    ac_cosmos_usage_flush(task, finish_next);
}
