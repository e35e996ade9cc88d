/* SPDX-License-Identifier: Apache-2.0 */
/* Counting of usage in the Cosmos DB store. A run's entry in its owner's partition has `changing` from the run's
 * beginning until the run is counted, and `counted` afterwards: the row with which it was. `counted_title` and
 * `counted_summary` are the rows of what was made after the run. The owner's sums, a document for each day and key of
 * rows, are in the same partition. So one batch changes sums and entries, and a run is counted
 * once, however often and by whomever it is tried. One task for each owner counts all runs that wait for it:
 *
 *  1  read the entries of some runs
 *  2  compare each row with the one that was counted; read the sums that change
 *  3  write sums and entries in one batch, each under its ETag; on conflict: 1
 *
 * A process that dies before the batch leaves the mark. Readers of usage and the hourly purge heal such entries: they
 * read the run of each, and count it. */
#include "cosmos_internal.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>
#include <openssl/evp.h>

#define RUNS 16 /* that are counted at a time */

static const char sql_entries[] =
    "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'run' AND c.id IN (@r0, @r1, @r2, @r3, @r4, @r5, @r6, @r7,"
    " @r8, @r9, @r10, @r11, @r12, @r13, @r14, @r15)";

static void count_next(ac_cosmos_task_t *task);
static void count_read(ac_cosmos_task_t *task);
static void count_on_entry(void *baton, const ac_cosmos_reply_t *reply);
static void count_compare(ac_cosmos_task_t *task);
static void count_read_sum(ac_cosmos_task_t *task);
static void count_on_sum(void *baton, const ac_cosmos_reply_t *reply);
static void count_write(ac_cosmos_task_t *task);
static void count_on_written(void *baton, const ac_cosmos_reply_t *reply);

/* ---- the runs that wait ---- */

/* Lets the tasks continue that wait for the counts, once there are none. */
static void flush_done(ac_cosmos_t *store)
{
    ac_cosmos_task_t *task;
    while (json_object_size(store->counts.waiting) == 0 && (task = store->counts.flushing)) {
        store->counts.flushing = task->next_unprepared;
        ac_timer_cancel(store->loop, &task->counting.timer);
        ac_cosmos_task_return(task);
    }
}

static void flush_on_late(void *baton)
{
    ac_cosmos_task_t *task = baton, **at = &task->store->counts.flushing;
    while (*at && *at != task) {
        at = &(*at)->next_unprepared;
    }
    *at = task->next_unprepared;
    ac_cosmos_task_return(task);
}

void ac_cosmos_usage_flush(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    ac_cosmos_t *store = task->store;
    apr_time_t now = ac_clock(), left = task->deadline > now ? task->deadline - now : AC_COSMOS_TIMEOUT;
    if (json_object_size(store->counts.waiting) == 0) {
        fn(task);
        return;
    }
    ac_cosmos_task_then(task, fn);
    task->next_unprepared = store->counts.flushing;
    store->counts.flushing = task;
    ac_timer_set(store->loop, &task->counting.timer, now + left / 2, flush_on_late, task);
}

/* The runs stay marked, so that a reader counts them later. */
static void count_failed(ac_cosmos_task_t *task)
{
    json_object_del(task->store->counts.waiting, task->op->owner);
    flush_done(task->store);
}

/* Counts a row of the run, which its entry has as this member afterwards. Consumes the row. */
static void count_begin(ac_cosmos_t *store, const char *owner, const char *run_id, const char *member, json_t *row)
{
    json_t *waiting, *rows;
    if (!store->counts.waiting) {
        store->counts.waiting = json_object();
    }
    waiting = json_object_get(store->counts.waiting, owner);
    if (!waiting) {
        waiting = json_object();
        json_object_set_new(store->counts.waiting, owner, waiting);
        ac_cosmos_task_own(store, owner, NULL, count_next)->on_failure = count_failed;
    }
    rows = json_object_get(waiting, run_id);
    if (!rows) {
        rows = json_object();
        json_object_set_new(waiting, run_id, rows);
    }
    json_object_set_new(rows, member, row);
}

void ac_cosmos_usage_count(ac_cosmos_t *store, const char *owner, const json_t *run)
{
    json_t *row = ac_usage_row(run, owner);
    if (row) {
        count_begin(store, owner, ac_json_peek_string(run, "id", ""), "counted", row);
    }
}

/* ---- USAGE_ADD ---- */

static void call_counted(ac_cosmos_task_t *task)
{
    ac_cosmos_task_end_out(task, json_object());
}

void ac_cosmos_usage_call(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    json_t *row = ac_usage_call_row(op->in, op->owner);
    if (!row) {
        ac_cosmos_task_end(task, ac_err_set(&op->err, AC_INVALID_REQUEST, "no call of a model"));
        return;
    }
    bool summary = strcmp(ac_json_peek_string(op->in, "made", ""), "summary") == 0;
    count_begin(task->store, op->owner, op->id, summary ? "counted_summary" : "counted_title", row);
    ac_cosmos_usage_flush(task, call_counted);
}

/* ---- the task that counts ---- */

/* Takes some of the owner's runs into task->documents: id → {member of the entry: row}. */
static void count_next(ac_cosmos_task_t *task)
{
    ac_cosmos_t *store = task->store;
    json_t *waiting = json_object_get(store->counts.waiting, task->op->owner), *row;
    const char *id;
    void *next;
    json_decref(task->documents);
    task->documents = json_object();
    json_object_foreach_safe(waiting, next, id, row)
    {
        if (json_object_size(task->documents) < RUNS) {
            json_object_set(task->documents, id, row);
            json_object_del(waiting, id);
        }
    }
    if (json_object_size(task->documents) > 0) {
        task->conflicts.n = 0;
        count_read(task);
        return;
    }
    json_object_del(store->counts.waiting, task->op->owner);
    ac_cosmos_task_end(task, APR_SUCCESS);
    flush_done(store);
}

/* ---- 1: their entries ---- */

static void count_read(ac_cosmos_task_t *task)
{
    ac_cosmos_query_t query = {.container = AC_COSMOS_THREADS, .key = task->op->owner, .sql = sql_entries};
    const char *id = json_object_iter_key(json_object_iter(task->documents)), *first = id;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .container = AC_COSMOS_THREADS,
                                   .key = task->op->owner,
                                   .id = id};
    char name[8];
    if (json_object_size(task->documents) == 1) {
        ac_cosmos_call_start(task, &request, count_on_entry, task);
        return;
    }
    query.parameters = json_pack("{s:s}", "@owner", task->op->owner);
    for (int i = 0; i < RUNS; i++) {
        void *at = i ? json_object_iter_at(task->documents, id) : NULL;
        at = i ? json_object_iter_next(task->documents, at) : NULL;
        id = i == 0 ? first : at ? json_object_iter_key(at) : id;
        snprintf(name, sizeof(name), "@r%d", i);
        ac_json_put(query.parameters, name, json_string(id));
    }
    ac_cosmos_query_run(task, &query, count_compare);
}

static void count_on_entry(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    json_decref(task->rows);
    task->rows = reply->status == 200 ? json_pack("[O]", reply->body) : json_array();
    count_compare(task);
}

/* ---- 2: what changes ---- */

/* The id of the sum to which the row belongs. */
static json_t *sum_id(const json_t *row)
{
    json_t *key = ac_usage_row_key(row), *id;
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    char *text = ac_json_dump(key, NULL), hex[33];
    EVP_Digest(text ? text : "", text ? strlen(text) : 0, digest, NULL, EVP_sha256(), NULL);
    for (int i = 0; i < 16; i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
    id = json_sprintf(AC_COSMOS_USAGE_ID "%s_%s", ac_json_peek_string(row, "day", ""), hex);
    json_decref(key);
    free(text);
    return id;
}

json_t *ac_cosmos_usage_doc(const json_t *row)
{
    json_t *doc = json_deep_copy(row), *id = sum_id(row);
    ac_json_put(doc, "id", json_incref(id));
    ac_json_put(doc, "key", id);
    ac_json_put(doc, "type", json_string("usage"));
    ac_json_put(doc, "ttl", json_integer(-1)); /* also where another machine has a retention */
    return doc;
}

json_t *ac_cosmos_usage_row(const json_t *doc)
{
    json_t *row = json_object(), *copy = json_deep_copy(doc);
    const char *name;
    json_t *value;
    json_object_foreach(copy, name, value)
    {
        bool ours = *name != '_' && strcmp(name, "id") != 0 && strcmp(name, "key") != 0 && strcmp(name, "type") != 0 &&
            strcmp(name, "ttl") != 0;
        if (ours) {
            json_object_set(row, name, value);
        }
    }
    json_decref(copy);
    return row;
}

/* Adds the row to the changes: the id of a sum → its document, whose figures are those to add. */
static void change_add(json_t *changes, const json_t *row, int sign)
{
    json_t *doc, *old;
    if (!json_is_object(row)) {
        return;
    }
    doc = ac_cosmos_usage_doc(row);
    old = json_object_get(changes, ac_json_peek_string(doc, "id", ""));
    if (!old) {
        json_object_set_new(doc, "figures", json_object());
        json_object_set(changes, ac_json_peek_string(doc, "id", ""), doc);
        old = doc;
    }
    ac_usage_add(json_object_get(old, "figures"), json_object_get(row, "figures"), sign);
    json_decref(doc);
}

/* The entry with these rows as counted, a new reference; NULL: it stays as it is. Adds to the changes of sums. */
static json_t *entry_counted(json_t *changes, json_t *entry, json_t *rows)
{
    json_t *copy = json_copy(entry), *row;
    bool changed = json_object_get(rows, "counted") && json_object_del(copy, "changing") == 0;
    const char *member;
    json_object_foreach(rows, member, row)
    {
        const json_t *counted = json_object_get(entry, member);
        if (!json_equal(counted, row)) {
            change_add(changes, counted, -1);
            change_add(changes, row, 1);
            ac_json_put(copy, member, json_incref(row));
            changed = true;
        }
    }
    if (!changed) {
        json_decref(copy);
        return NULL;
    }
    return copy;
}

/* task->found: the changes of sums; task->whole: the entries as they will be. */
static void count_compare(ac_cosmos_task_t *task)
{
    json_t *entry;
    size_t i;
    json_decref(task->found);
    json_decref(task->whole);
    task->found = json_object();
    task->whole = json_array();
    json_array_foreach(task->rows, i, entry)
    {
        json_t *rows = json_object_get(task->documents, ac_json_peek_string(entry, "id", ""));
        json_t *counted = entry_counted(task->found, entry, rows);
        if (counted) {
            json_array_append_new(task->whole, counted);
        }
    }
    if (json_array_size(task->whole) == 0) {
        count_next(task); /* counted, or removed */
        return;
    }
    task->row = 0;
    count_read_sum(task);
}

/* The sum that is read next. */
static json_t *sum_current(const ac_cosmos_task_t *task)
{
    void *at = json_object_iter(task->found);
    for (size_t i = 0; at && i < task->row; i++) {
        at = json_object_iter_next(task->found, at);
    }
    return at ? json_object_iter_value(at) : NULL;
}

static void count_read_sum(ac_cosmos_task_t *task)
{
    const json_t *sum = sum_current(task);
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .container = AC_COSMOS_THREADS,
                                   .key = task->op->owner,
                                   .id = ac_json_peek_string(sum, "id", "")};
    if (sum) {
        ac_cosmos_call_start(task, &request, count_on_sum, task);
    } else {
        count_write(task);
    }
}

static void count_on_sum(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    json_t *sum = sum_current(task);
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    if (reply->status == 200) {
        ac_usage_add(json_object_get(sum, "figures"), json_object_get(reply->body, "figures"), 1);
        ac_json_put(sum, "_etag", json_string(ac_cosmos_call_etag(reply)));
    }
    task->row++;
    count_read_sum(task);
}

/* ---- 3: the batch ---- */

static void count_write(ac_cosmos_task_t *task)
{
    const char *owner = task->op->owner, *id;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_BATCH, .container = AC_COSMOS_THREADS, .key = owner};
    ac_cosmos_batch_t batch;
    json_t *sum, *entry;
    size_t i;
    ac_cosmos_request_batch_init(&batch);
    json_object_foreach(task->found, id, sum)
    {
        const char *etag = ac_json_peek_string(sum, "_etag", NULL);
        ac_cosmos_request_batch_add(&batch, etag ? AC_COSMOS_REPLACE : AC_COSMOS_CREATE, owner, id, sum, etag);
    }
    json_array_foreach(task->whole, i, entry)
    {
        ac_cosmos_request_batch_add(&batch, AC_COSMOS_REPLACE, owner, ac_json_peek_string(entry, "id", ""), entry,
                                    ac_json_peek_string(entry, "_etag", ""));
    }
    ac_cosmos_request_batch_end(&batch);
    ac_cosmos_call_write_batch(task, &request, &batch, count_on_written);
}

static void count_on_written(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 409, 412))) {
        return;
    }
    if (reply->status == 200) {
        count_next(task);
    } else { /* another process counts for this owner, or this batch was carried out by an earlier attempt */
        ac_cosmos_task_retry(task, count_read);
    }
}

/* ---- the mark of a run that ends again ---- */

static void mark_on_written(void *baton, const ac_cosmos_reply_t *reply)
{
    if (!ac_cosmos_call_failed(baton, reply, AC_COSMOS_EXPECT(200, 404))) {
        ac_cosmos_task_return(baton);
    }
}

void ac_cosmos_usage_mark(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_PATCH,
                                   .container = AC_COSMOS_THREADS,
                                   .key = task->op->owner,
                                   .id = task->run_id};
    json_t *patch = json_pack("{s:[{s:s, s:s, s:b}]}", "operations", "op", "set", "path", "/changing", "value", 1);
    ac_cosmos_task_then(task, fn);
    ac_cosmos_call_write(task, &request, patch, mark_on_written);
    json_decref(patch);
}
