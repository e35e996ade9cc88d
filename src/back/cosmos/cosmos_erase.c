/* SPDX-License-Identifier: Apache-2.0 */
/* OWNER_ERASE in the Cosmos DB store. A marker, in a partition of its own, is the erasure while it is not finished:
 * cosmos_erasures.c. The steps, in the order of this file. task->documents has {marker, active}.
 *
 *  1  read the owner's marker, write it: from now on the erasure is accepted. The readers of this server see nothing
 *     of what is older than `until`; other servers know it when they read the markers
 *  2  remove keys and suspended runs, move sums of usage: cosmos_erase_rest.c
 *  3  query the entries of the owner's threads that are older than `until`, and hide each of these threads: mark its
 *     entry with `erased`, replace its document by a tombstone - on conflict: with a read. Then query the entries
 *     without `erased`, whose mark another writer has overwritten
 *  4  count, and write the sums and what is left outside of the store into the marker
 *
 * The caller does not see an error after 1: a purge continues with 2. What is counted is still there until the sums are
 * written, so any step can be repeated. An owner who erases once more while the marker is there continues the same
 * erasure, with a new `until` and, if it was counted, a new `round`. */
#include "cosmos_internal.h"

#include <string.h>

#include <apr_strings.h>
#include <openssl/evp.h>

#define ANSWER_MARGIN apr_time_from_msec(300)
#define LONG_AGO "0000-00-00T00:00:00.000Z" /* any purge finds the tombstones */
#define MOST_TRACES 8000                    /* ids of a kind; a document has at most 2 MB */

static const char sql_threads[] =
    "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'thread' AND c.created_at <= @at";
static const char sql_unmarked[] =
    "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'thread' AND c.created_at <= @at"
    " AND NOT IS_DEFINED(c.erased)";
static const char sql_erased[] =
    "SELECT c.id, c.messages FROM c WHERE c.owner = @owner AND c.type = 'thread' AND c.erased = @round";
static const char sql_runs[] =
    "SELECT VALUE COUNT(1) FROM c WHERE c.owner = @owner AND c.type = 'run' AND c.id >= @from AND c.id < @to";
static const char sql_recent[] =
    "SELECT c.id FROM c WHERE c.owner = @owner AND c.type = 'run' AND c.id >= @from AND c.id < @to";
static const char sql_files[] = "SELECT c.id FROM c WHERE c.owner = @owner AND c.type = 'file' AND c.created_at > @from"
                                " AND c.created_at <= @at";

static void accept_read(ac_cosmos_task_t *task);
static void accept_on_read(void *baton, const ac_cosmos_reply_t *reply);
static void accept_on_written(void *baton, const ac_cosmos_reply_t *reply);
static void hide_query(ac_cosmos_task_t *task);
static void hide_query_unmarked(ac_cosmos_task_t *task);
static void hide_found(ac_cosmos_task_t *task);
static void hide_next(ac_cosmos_task_t *task);
static void hide_check(ac_cosmos_task_t *task);
static void hide_mark(ac_cosmos_task_t *task);
static void hide_on_marked(void *baton, const ac_cosmos_reply_t *reply);
static void hide_on_buried(void *baton, const ac_cosmos_reply_t *reply);
static void count_threads(ac_cosmos_task_t *task);
static void count_runs(ac_cosmos_task_t *task);
static void count_recent(ac_cosmos_task_t *task);
static void count_files(ac_cosmos_task_t *task);
static void sums_write(ac_cosmos_task_t *task);
static void sums_on_written(void *baton, const ac_cosmos_reply_t *reply);

json_t *ac_cosmos_erase_marker(const ac_cosmos_task_t *task)
{
    return json_object_get(task->documents, "marker");
}

const char *ac_cosmos_erase_subject(const ac_cosmos_task_t *task)
{
    return ac_json_peek_string(ac_cosmos_erase_marker(task), "subject", "");
}

const char *ac_cosmos_erase_until(const ac_cosmos_task_t *task)
{
    return ac_json_peek_string(ac_cosmos_erase_marker(task), "until", "");
}

static bool is_counted(const ac_cosmos_task_t *task)
{
    return json_is_object(json_object_get(ac_cosmos_erase_marker(task), "counts"));
}

/* ---- 1: the marker ---- */

/* The erasure as the verb gives it; without counts before they are known. A deep copy: the caller is on another
 * thread. */
static json_t *accepted_json(const ac_cosmos_task_t *task)
{
    json_t *out = ac_cosmos_erasures_json(ac_cosmos_erase_marker(task));
    json_t *active = json_deep_copy(json_object_get(task->documents, "active"));
    ac_json_put(out, "active", active);
    return out;
}

static void end_accepted(ac_cosmos_task_t *task)
{
    if (task->own) {
        ac_cosmos_task_end(task, APR_SUCCESS);
    } else {
        ac_cosmos_task_end_out(task, accepted_json(task));
    }
}

static void answer_accepted(ac_cosmos_task_t *task)
{
    if (!task->own) {
        ac_err_init(&task->op->err);
        task->op->out = accepted_json(task);
        ac_cosmos_task_detach(task, APR_SUCCESS);
    }
}

static void accept_on_answer_due(void *baton)
{
    answer_accepted(baton);
}

void ac_cosmos_erase_owner(ac_cosmos_task_t *task)
{
    task->documents = json_pack("{s:[]}", "active");
    accept_read(task);
}

static void accept_read(ac_cosmos_task_t *task)
{
    char id[AC_COSMOS_KEY_SIZE];
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .container = AC_COSMOS_THREADS,
                                   .key = AC_COSMOS_ERASURES_KEY,
                                   .id = id};
    ac_cosmos_erasures_id(id, task->op->owner);
    ac_cosmos_call_start(task, &request, accept_on_read, task);
}

static json_t *fresh_marker(const ac_store_op_t *op)
{
    char id[AC_COSMOS_KEY_SIZE];
    ac_cosmos_erasures_id(id, op->owner);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:{}}", "id", id, "key", id, "owner",
                     AC_COSMOS_ERASURES_KEY, "type", "erasure", "subject", op->owner, "erasure",
                     ac_json_peek_string(op->in, "id", ""), "at", ac_json_peek_string(op->in, "at", "~"), "from", "",
                     "round", 1, "ttl", -1, "base");
}

/* The erasure continues: what was counted is the base of the next round. */
void ac_cosmos_erase_reopen(json_t *marker)
{
    json_t *counts = json_object_get(marker, "counts");
    if (counts) {
        ac_json_put(marker, "base", json_incref(counts));
        ac_json_put(marker, "from", json_incref(json_object_get(marker, "until")));
        ac_json_put(marker, "round", json_integer(ac_json_peek_int(marker, "round", 1) + 1));
        json_object_del(marker, "counts");
    }
}

static void accept_on_read(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    const ac_store_op_t *op = task->op;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_CREATE,
                                   .container = AC_COSMOS_THREADS,
                                   .key = AC_COSMOS_ERASURES_KEY};
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    json_t *marker = reply->status == 200 ? json_deep_copy(reply->body) : fresh_marker(op);
    if (reply->status == 200) {
        request.verb = AC_COSMOS_REPLACE;
        request.id = ac_json_peek_string(marker, "id", "");
        request.if_match = ac_cosmos_call_etag(reply);
        ac_cosmos_erase_reopen(marker);
    }
    ac_json_put(marker, "until", json_string(ac_json_peek_string(op->in, "at", "~")));
    ac_json_put(marker, "recent", json_string(ac_json_peek_string(op->in, "recent", "")));
    ac_json_put(task->documents, "marker", marker);
    ac_cosmos_call_write(task, &request, marker, accept_on_written);
}

static void accept_on_written(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 201, 404, 409, 412))) {
        return;
    }
    if (reply->status > 201) {
        ac_cosmos_task_retry(task, accept_read);
        return;
    }
    ac_json_put(ac_cosmos_erase_marker(task), "_etag", json_string(ac_cosmos_call_etag(reply)));
    ac_cosmos_erasures_note(task->store, ac_cosmos_erase_marker(task));
    task->on_failure = answer_accepted;
    if (task->op->deadline && !task->own) {
        ac_timer_set(task->store->loop, &task->timer, task->op->deadline - ANSWER_MARGIN, accept_on_answer_due, task);
        task->deadline = 0;
    }
    task->conflicts.n = 0;
    ac_cosmos_erase_continue(task, end_accepted);
}

void ac_cosmos_erase_continue(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    if (is_counted(task)) {
        fn(task);
        return;
    }
    ac_cosmos_task_then(task, fn);
    ac_cosmos_task_then(task, hide_query);
    ac_cosmos_erase_rest_begin(task, ac_cosmos_task_return);
}

/* ---- 3: hiding the threads ---- */

static void query_older(ac_cosmos_task_t *task, const char *sql, ac_cosmos_step_fn *fn)
{
    ac_cosmos_query_t query = {.container = AC_COSMOS_THREADS,
                               .key = ac_cosmos_erase_subject(task),
                               .sql = sql,
                               .parameters = json_pack("{s:s, s:s, s:s}", "@owner", ac_cosmos_erase_subject(task),
                                                       "@at", ac_cosmos_erase_until(task), "@from",
                                                       ac_json_peek_string(ac_cosmos_erase_marker(task), "from", ""))};
    ac_cosmos_query_run(task, &query, fn);
}

static void hide_query(ac_cosmos_task_t *task)
{
    ac_cosmos_task_then(task, hide_query_unmarked);
    query_older(task, sql_threads, hide_found);
}

static void hide_query_unmarked(ac_cosmos_task_t *task)
{
    ac_cosmos_task_then(task, count_threads);
    query_older(task, sql_unmarked, hide_found);
}

static void hide_found(ac_cosmos_task_t *task)
{
    json_decref(task->found);
    task->found = task->rows;
    task->rows = NULL;
    hide_next(task);
}

static void hide_on_orphan_removed(void *baton, const ac_cosmos_reply_t *reply)
{
    if (!ac_cosmos_call_failed(baton, reply, AC_COSMOS_EXPECT(200, 204, 404, 412))) {
        hide_next(baton);
    }
}

static void hide_next(ac_cosmos_task_t *task)
{
    const json_t *row = json_array_get(task->found, 0);
    if (!row || task->store->child.stopping) {
        if (row) {
            ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_STOPPING, "the server is stopping"));
        } else {
            ac_cosmos_task_return(task);
        }
        return;
    }
    apr_cpystrn(task->op->id, ac_json_peek_string(row, "id", ""), sizeof(task->op->id));
    task->conflicts.n = 0;
    ac_cosmos_thread_doc_read(task, false, hide_check);
}

static void hide_done(ac_cosmos_task_t *task)
{
    json_array_remove(task->found, 0);
    hide_next(task);
}

/* An entry without a document belongs to no thread any more, or not yet. */
static void hide_check(ac_cosmos_task_t *task)
{
    const json_t *row = json_array_get(task->found, 0), *thread = task->thread.doc;
    bool theirs = strcmp(ac_json_peek_string(thread, "owner", ""), ac_cosmos_erase_subject(task)) == 0;
    int64_t round = ac_json_peek_int(ac_cosmos_erase_marker(task), "round", 1);
    bool lives = ac_cosmos_thread_doc_lives(&task->thread, true);
    bool unmarked = ac_json_peek_int(thread, "erased", 0) == round && ac_json_peek_int(row, "erased", 0) != round;
    if (theirs && (lives || unmarked)) {
        hide_mark(task);
    } else if (!thread && ac_cosmos_entry_is_old(task->store, row)) {
        ac_cosmos_request_t request = {.verb = AC_COSMOS_DELETE,
                                       .container = AC_COSMOS_THREADS,
                                       .key = ac_cosmos_erase_subject(task),
                                       .id = task->op->id,
                                       .if_match = ac_json_peek_string(row, "_etag", NULL)};
        json_array_remove(task->found, 0);
        ac_cosmos_call_start(task, &request, hide_on_orphan_removed, task);
    } else {
        hide_done(task);
    }
}

static void hide_mark(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_UPSERT,
                                   .container = AC_COSMOS_THREADS,
                                   .key = ac_cosmos_erase_subject(task)};
    json_t *entry;
    ac_id_make(task->entry.change, "made_");
    entry = ac_cosmos_doc_make_marked_entry(task->thread.doc, task->entry.change);
    ac_json_put(entry, "erased", json_incref(json_object_get(ac_cosmos_erase_marker(task), "round")));
    ac_json_put(entry, "messages", json_integer(ac_json_peek_int(task->thread.doc, "message_count", 0)));
    ac_cosmos_call_write(task, &request, entry, hide_on_marked);
    json_decref(entry);
}

static void hide_on_marked(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_REPLACE,
                                   .container = AC_COSMOS_MESSAGES,
                                   .key = task->op->id,
                                   .id = task->op->id,
                                   .if_match = task->thread.etag};
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 201))) {
        return;
    }
    if (!ac_cosmos_thread_doc_lives(&task->thread, true)) { /* only the entry had no mark */
        hide_done(task);
        return;
    }
    json_t *thread = json_copy(task->thread.doc);
    ac_json_put(thread, "status", json_string("purging"));
    ac_json_put(thread, "erased", json_incref(json_object_get(ac_cosmos_erase_marker(task), "round")));
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
    if (*run_id) {
        json_array_append_new(json_object_get(task->documents, "active"), json_string(run_id));
    }
    ac_cosmos_thread_doc_remember(task->store, task->op->id, NULL, NULL);
    hide_done(task);
}

/* ---- 4: the sums ---- */

static void counted(ac_cosmos_task_t *task, const char *name, int64_t n)
{
    json_t *marker = ac_cosmos_erase_marker(task), *base = json_object_get(marker, "base");
    if (!json_object_get(task->documents, "sums")) {
        ac_json_put(task->documents, "sums", json_object());
    }
    ac_json_put(json_object_get(task->documents, "sums"), name, json_integer(ac_json_peek_int(base, name, 0) + n));
}

/* Keeps the ids of task->rows: the caller removes what is outside of the store. */
static void keep_traces(ac_cosmos_task_t *task, const char *name)
{
    json_t *marker = ac_cosmos_erase_marker(task), *all = json_object_get(marker, name), *row;
    size_t i;
    if (!all) {
        ac_json_put(marker, name, json_array());
        all = json_object_get(marker, name);
    }
    json_array_foreach(task->rows, i, row)
    {
        if (json_array_size(all) < MOST_TRACES) {
            json_array_append(all, json_object_get(row, "id"));
        }
    }
}

static void count_threads(ac_cosmos_task_t *task)
{
    json_t *marker = ac_cosmos_erase_marker(task);
    ac_cosmos_query_t query = {.container = AC_COSMOS_THREADS,
                               .key = ac_cosmos_erase_subject(task),
                               .sql = sql_erased,
                               .parameters = json_pack("{s:s, s:O}", "@owner", ac_cosmos_erase_subject(task), "@round",
                                                       json_object_get(marker, "round"))};
    ac_cosmos_query_run(task, &query, count_runs);
}

/* The runs that were created from this time on, or after the round before, until the erasure. */
static void query_runs(ac_cosmos_task_t *task, const char *sql, const char *from, ac_cosmos_step_fn *fn)
{
    char first[AC_ID_SIZE], last[AC_ID_SIZE];
    apr_time_t time = 0, until = 0;
    const char *after = ac_json_peek_string(ac_cosmos_erase_marker(task), "from", "");
    ac_time_parse(&time, strcmp(from, after) > 0 ? from : after);
    ac_time_parse(&until, ac_cosmos_erase_until(task));
    ac_id_first(first, "run_", strcmp(from, after) > 0 || !time ? time : time + 1000);
    ac_id_first(last, "run_", until + 1000);
    ac_cosmos_query_t query = {.container = AC_COSMOS_THREADS,
                               .key = ac_cosmos_erase_subject(task),
                               .sql = sql,
                               .parameters = json_pack("{s:s, s:s, s:s}", "@owner", ac_cosmos_erase_subject(task),
                                                       "@from", first, "@to", last)};
    ac_cosmos_query_run(task, &query, fn);
}

static void count_runs(ac_cosmos_task_t *task)
{
    const json_t *row;
    size_t i;
    int64_t n = 0;
    json_array_foreach(task->rows, i, row)
    {
        n += ac_json_peek_int(row, "messages", 0);
    }
    counted(task, "threads", (int64_t)json_array_size(task->rows));
    counted(task, "messages", n);
    keep_traces(task, "threads");
    query_runs(task, sql_runs, "", count_recent);
}

static void count_recent(ac_cosmos_task_t *task)
{
    counted(task, "runs", json_integer_value(json_array_get(task->rows, 0)));
    query_runs(task, sql_recent, ac_json_peek_string(ac_cosmos_erase_marker(task), "recent", ""), count_files);
}

static void count_files(ac_cosmos_task_t *task)
{
    keep_traces(task, "runs");
    query_older(task, sql_files, sums_write);
}

static void sums_write(ac_cosmos_task_t *task)
{
    json_t *marker = ac_cosmos_erase_marker(task);
    ac_cosmos_request_t request = {.verb = AC_COSMOS_REPLACE,
                                   .container = AC_COSMOS_THREADS,
                                   .key = AC_COSMOS_ERASURES_KEY,
                                   .id = ac_json_peek_string(marker, "id", ""),
                                   .if_match = ac_json_peek_string(marker, "_etag", "")};
    counted(task, "files", (int64_t)json_array_size(task->rows));
    keep_traces(task, "files");
    ac_json_put(marker, "counts", json_incref(json_object_get(task->documents, "sums")));
    ac_cosmos_call_write(task, &request, marker, sums_on_written);
}

/* 404, 412: another process continues this erasure too, or the owner has erased once more. */
static void sums_on_written(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    json_t *marker = ac_cosmos_erase_marker(task);
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 412))) {
        return;
    }
    if (reply->status == 200) {
        ac_json_put(marker, "_etag", json_string(ac_cosmos_call_etag(reply)));
    } else {
        json_object_del(marker, "counts");
    }
    ac_cosmos_task_return(task);
}
