/* SPDX-License-Identifier: Apache-2.0 */
/* FILE_SWEEP in the Cosmos DB store: 1 query loose files, 2 read the thread of each, and look for a message that has
 * it; remove or keep it, 3 query the ids of bytes that the caller found. */
#include "cosmos_internal.h"

#include <stdio.h>
#include <string.h>

#include <apr_strings.h>

#define MAX_IDS 100
#define IN_SIZE 4096

static const char sql_loose[] = "SELECT * FROM c WHERE c.type = 'file' AND c.loose < @before";

static void loose_next(ac_cosmos_task_t *task);
static void loose_check(ac_cosmos_task_t *task);
static void unknown_query(ac_cosmos_task_t *task);

/* ---- 1: loose files ---- */

static void loose_found(ac_cosmos_task_t *task)
{
    task->found = task->rows;
    task->rows = NULL;
    ac_json_put(task->op->out, "more", json_boolean((int)json_array_size(task->found) == task->op->page.limit));
    loose_next(task);
}

void ac_cosmos_file_sweep(ac_cosmos_task_t *task)
{
    const char *before = ac_json_peek_string(task->op->in, "before", "");
    ac_cosmos_query_t query = {.container = AC_COSMOS_THREADS,
                               .sql = sql_loose,
                               .want = task->op->page.limit,
                               .parameters = json_pack("{s:s}", "@before", before)};
    task->op->out = json_pack("{s:[], s:[], s:b}", "removed", "unknown", "more", 0);
    if (*before) {
        ac_cosmos_query_run(task, &query, loose_found);
    } else {
        json_decref(query.parameters);
        unknown_query(task);
    }
}

/* ---- 2: each of them ---- */

static void loose_next(ac_cosmos_task_t *task)
{
    const json_t *doc = json_array_get(task->found, 0);
    if (!doc) {
        unknown_query(task);
        return;
    }
    if (strcmp(ac_json_peek_string(doc, "status", ""), "attached") == 0) {
        apr_cpystrn(task->op->id, ac_json_peek_string(doc, "thread_id", ""), sizeof(task->op->id));
        ac_cosmos_thread_doc_read(task, false, loose_check);
    } else {
        ac_cosmos_thread_doc_clear(&task->thread);
        loose_check(task);
    }
}

/* 404, 412: the file was changed or removed meanwhile. */
static void loose_on_changed(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    const json_t *doc = json_array_get(task->found, 0);
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 204, 404, 412))) {
        return;
    }
    if (reply->status == 204) {
        json_array_append(json_object_get(task->op->out, "removed"), json_object_get(doc, "id"));
    }
    json_array_remove(task->found, 0);
    loose_next(task);
}

/* Under the file's ETag: a turn that attaches the file meanwhile changes it. */
static void loose_decide(ac_cosmos_task_t *task, bool keep)
{
    json_t *doc = json_array_get(task->found, 0);
    ac_cosmos_request_t request = {.verb = keep ? AC_COSMOS_REPLACE : AC_COSMOS_DELETE,
                                   .container = AC_COSMOS_THREADS,
                                   .key = ac_json_peek_string(doc, "owner", ""),
                                   .id = ac_json_peek_string(doc, "id", ""),
                                   .if_match = ac_json_peek_string(doc, "_etag", NULL)};
    if (keep) {
        json_object_del(doc, "loose");
        ac_cosmos_call_write(task, &request, doc, loose_on_changed);
    } else {
        ac_cosmos_call_start(task, &request, loose_on_changed, task);
    }
}

static void loose_on_message(ac_cosmos_task_t *task)
{
    loose_decide(task, json_array_size(task->rows) > 0);
}

static void loose_check(ac_cosmos_task_t *task)
{
    const json_t *doc = json_array_get(task->found, 0);
    const char *owner = ac_json_peek_string(doc, "owner", "");
    if (strcmp(ac_json_peek_string(task->thread.doc, "owner", ""), owner) == 0 &&
        ac_cosmos_thread_doc_lives(&task->thread, true)) {
        ac_cosmos_file_thread_find_message(task, doc, loose_on_message);
    } else {
        loose_decide(task, false);
    }
}

/* ---- 3: ids of bytes ---- */

static void unknown_found(ac_cosmos_task_t *task)
{
    const json_t *ids = json_object_get(task->op->in, "ids");
    json_t *id;
    size_t i;
    json_array_foreach(ids, i, id)
    {
        if (!ac_cosmos_doc_find(task->rows, json_string_value(id))) {
            json_array_append(json_object_get(task->op->out, "unknown"), id);
        }
    }
    ac_cosmos_task_end(task, APR_SUCCESS);
}

static void unknown_query(ac_cosmos_task_t *task)
{
    const json_t *ids = json_object_get(task->op->in, "ids"), *id;
    ac_cosmos_query_t query = {.container = AC_COSMOS_THREADS, .parameters = json_object()};
    size_t len, i;
    char *sql = ac_alloc(IN_SIZE), name[16];
    free(task->state);
    task->state = sql; /* as long as the query */
    len = (size_t)snprintf(sql, IN_SIZE, "SELECT c.id FROM c WHERE c.type = 'file' AND c.id IN (");
    json_array_foreach(ids, i, id)
    {
        if (i < MAX_IDS) {
            snprintf(name, sizeof(name), "@i%zu", i);
            len += (size_t)snprintf(sql + len, IN_SIZE - len, "%s%s", i ? ", " : "", name);
            ac_json_put(query.parameters, name, json_string(json_string_value(id)));
        }
    }
    snprintf(sql + len, IN_SIZE - len, ")");
    query.sql = sql;
    if (json_array_size(ids) == 0 || json_array_size(ids) > MAX_IDS) {
        json_decref(query.parameters);
        ac_cosmos_task_end(task, APR_SUCCESS);
    } else {
        ac_cosmos_query_run(task, &query, unknown_found);
    }
}
