/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs about usage of the Cosmos DB store. The steps of each verb, in the order of this file:
 *
 * USAGE_SUM, USAGE_SUM_ALL
 *  1  count ended runs that are not counted yet
 *  2  query the sums of the days, page by page, and add them
 *
 * EXPORT_USAGE, IMPORT_USAGE
 *  1  read the store's id; create it if there is none
 *  2  query a page of sums; write the given rows one by one */
#include "cosmos_internal.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#define PAGE 1000    /* sums that are in memory at a time */
#define KEY " usage" /* the partition of the store's id, in place of an owner */
#define STORE_ID "store"
#define DAY_SIZE 40

static const char sql_owned[] =
    "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'usage' AND c.id >= @from AND c.id <= @to";
static const char sql_all[] = "SELECT * FROM c WHERE c.type = 'usage' AND c.id >= @from AND c.id <= @to";
static const char sql_export[] = "SELECT * FROM c WHERE c.type = 'usage'";

static void sum_query(ac_cosmos_task_t *task);
static void sum_on_page(ac_cosmos_task_t *task);
static void id_read(ac_cosmos_task_t *task);
static void id_on_read(void *baton, const ac_cosmos_reply_t *reply);
static void id_on_created(void *baton, const ac_cosmos_reply_t *reply);
static void export_query(ac_cosmos_task_t *task);
static void export_done(ac_cosmos_task_t *task);
static void import_next(ac_cosmos_task_t *task);
static void import_on_written(void *baton, const ac_cosmos_reply_t *reply);

/* ---- USAGE_SUM ---- */

/* task->found and task->whole own the sums' documents, because a task may end at any request. */
void ac_cosmos_usage_list_sum(ac_cosmos_task_t *task)
{
    ac_usage_sum_t *sum = ac_alloc(sizeof(*sum));
    bool all = task->op->verb == AC_STORE_USAGE_SUM_ALL;
    task->state = sum;
    ac_usage_sum_init(sum, task->op->in);
    task->found = sum->groups;
    task->whole = sum->total;
    ac_cosmos_usage_heal(task, all ? ac_json_peek_string(task->op->in, "owner", "") : task->op->owner, sum_query);
}

static void sum_query(ac_cosmos_task_t *task)
{
    bool all = task->op->verb == AC_STORE_USAGE_SUM_ALL;
    const char *owner = all ? ac_json_peek_string(task->op->in, "owner", "") : task->op->owner;
    char from[DAY_SIZE], to[DAY_SIZE], *continuation = NULL;
    const char *at = task->selection && strcmp(task->selection->query.sql, *owner ? sql_owned : sql_all) == 0
        ? ac_cosmos_query_continuation(task)
        : NULL;
    ac_cosmos_query_t query = {.container = AC_COSMOS_THREADS,
                               .key = *owner ? owner : NULL,
                               .sql = *owner ? sql_owned : sql_all,
                               .want = PAGE};
    snprintf(from, sizeof(from), AC_COSMOS_USAGE_ID "%.10s", ac_json_peek_string(task->op->in, "from", ""));
    snprintf(to, sizeof(to), AC_COSMOS_USAGE_ID "%.10s~", ac_json_peek_string(task->op->in, "to", "~"));
    query.parameters = json_pack("{s:s, s:s}", "@from", from, "@to", to);
    if (*owner) {
        ac_json_put(query.parameters, "@owner", json_string(owner));
    }
    continuation = at ? strdup(at) : NULL; /* the query that it is from is freed */
    query.continuation = continuation;
    ac_cosmos_query_run(task, &query, sum_on_page);
    free(continuation);
}

static void sum_on_page(ac_cosmos_task_t *task)
{
    ac_usage_sum_t *sum = task->state;
    apr_status_t status = APR_SUCCESS;
    const json_t *doc;
    size_t i;
    json_array_foreach(task->rows, i, doc)
    {
        status = status == APR_SUCCESS ? ac_usage_sum_add(sum, doc, &task->op->err) : status;
    }
    if (status != APR_SUCCESS) {
        ac_cosmos_task_end(task, status);
    } else if (task->more) {
        sum_query(task);
    } else {
        json_incref(sum->groups);
        json_incref(sum->total);
        ac_cosmos_task_end_out(task, ac_usage_sum_out(sum));
    }
}

/* ---- the store's id, which is kept in task->run_id ---- */

static void id_read(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ, .container = AC_COSMOS_THREADS, .key = KEY, .id = STORE_ID};
    ac_cosmos_call_start(task, &request, id_on_read, task);
}

static void id_on_read(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_CREATE, .container = AC_COSMOS_THREADS, .key = KEY};
    json_t *document;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    if (reply->status == 200) {
        apr_cpystrn(task->run_id, ac_json_peek_string(reply->body, "value", ""), sizeof(task->run_id));
        ac_cosmos_task_return(task);
        return;
    }
    ac_id_make(task->run_id, "store_");
    document = json_pack("{s:s, s:s, s:s, s:s, s:i, s:s}", "id", STORE_ID, "owner", KEY, "type", "store", "key",
                         STORE_ID, "ttl", -1, "value", task->run_id);
    ac_cosmos_call_write(task, &request, document, id_on_created);
    json_decref(document);
}

static void id_on_created(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(201, 409))) {
        return;
    }
    id_read(task);
}

/* ---- EXPORT_USAGE ---- */

void ac_cosmos_usage_list_export(ac_cosmos_task_t *task)
{
    ac_cosmos_task_then(task, export_query);
    id_read(task);
}

static void export_query(ac_cosmos_task_t *task)
{
    ac_cosmos_query_t query = {.container = AC_COSMOS_THREADS,
                               .sql = sql_export,
                               .want = task->op->page.limit,
                               .continuation = ac_json_peek_string(task->op->in, "after", NULL),
                               .parameters = json_object()};
    ac_cosmos_query_run(task, &query, export_done);
}

static void export_done(ac_cosmos_task_t *task)
{
    const char *next = ac_cosmos_query_continuation(task);
    json_t *data = json_array(), *doc;
    size_t i;
    json_array_foreach(task->rows, i, doc)
    {
        json_t *row = ac_cosmos_usage_row(doc);
        if (!*ac_json_peek_string(row, "source", "")) {
            ac_json_put(row, "source", json_string(task->run_id));
        }
        json_array_append_new(data, row);
    }
    ac_cosmos_task_end_out(task, json_pack("{s:o, s:o}", "data", data, "next", next ? json_string(next) : json_null()));
}

/* ---- IMPORT_USAGE ---- */

void ac_cosmos_usage_list_import(ac_cosmos_task_t *task)
{
    const json_t *rows = json_object_get(task->op->in, "rows"), *row;
    size_t i;
    json_array_foreach(rows, i, row)
    {
        if (!ac_usage_row_valid(row) || !*ac_json_peek_string(row, "source", "")) {
            ac_cosmos_task_end(task,
                               ac_err_set_at(&task->op->err, AC_INVALID_REQUEST, "/rows", "has an incomplete row"));
            return;
        }
    }
    task->row = 0;
    ac_cosmos_task_then(task, import_next);
    id_read(task);
}

static void import_next(ac_cosmos_task_t *task)
{
    const json_t *rows = json_object_get(task->op->in, "rows"), *row = json_array_get(rows, task->row);
    ac_cosmos_request_t request = {.verb = AC_COSMOS_UPSERT, .container = AC_COSMOS_THREADS};
    json_t *document;
    while (row && strcmp(ac_json_peek_string(row, "source", ""), task->run_id) == 0) {
        row = json_array_get(rows, ++task->row);
    }
    if (!row) {
        ac_cosmos_task_end_out(task, json_object());
        return;
    }
    task->row++;
    document = ac_cosmos_usage_doc(row);
    request.key = ac_json_peek_string(row, "owner", "");
    ac_cosmos_call_write(task, &request, document, import_on_written);
    json_decref(document);
}

static void import_on_written(void *baton, const ac_cosmos_reply_t *reply)
{
    if (!ac_cosmos_call_failed(baton, reply, AC_COSMOS_EXPECT(200, 201))) {
        import_next(baton);
    }
}
