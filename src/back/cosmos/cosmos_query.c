/* SPDX-License-Identifier: Apache-2.0 */
/* Queries of the Cosmos DB store, page by page, and the join of documents that are stored in parts. */
#include "cosmos_internal.h"

#include <stdlib.h>
#include <string.h>

#define EXPIRY_MARGIN apr_time_from_sec(3600)
#define MAX_PAGE 100 /* rows of a page; the service bounds it by 4 MB too */

/* ---- queries ---- */

static void select_page(ac_cosmos_task_t *task);

void ac_cosmos_query_run(ac_cosmos_task_t *task, const ac_cosmos_query_t *query, ac_cosmos_step_fn *fn)
{
    ac_cosmos_selection_t *selection = ac_alloc(sizeof(*selection));
    selection->query = *query;
    selection->key = query->key ? strdup(query->key) : NULL;
    selection->query.sql = selection->sql = strdup(query->sql);
    selection->continuation = query->continuation ? strdup(query->continuation) : NULL;
    ac_cosmos_query_clear(task);
    task->selection = selection;
    json_decref(task->rows);
    task->rows = json_array();
    ac_cosmos_task_then(task, fn);
    select_page(task);
}

static void end_selection(ac_cosmos_task_t *task)
{
    task->more = task->selection->continuation != NULL;
    if (task->selection->query.whole) {
        ac_cosmos_query_join(task, ac_cosmos_task_return);
    } else {
        ac_cosmos_task_return(task);
    }
}

static void query_on_page(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    ac_cosmos_selection_t *selection = task->selection;
    json_t *documents = json_object_get(reply->body, "Documents");
    task->refused = reply->status == 400 && selection->query.refusable;
    if (task->refused) {
        json_array_clear(task->rows);
        free(selection->continuation);
        selection->continuation = NULL;
        end_selection(task);
        return;
    }
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200))) {
        return;
    }
    if (!json_is_array(documents)) {
        ac_cosmos_task_end_damaged(task, "a query's answer has no documents");
        return;
    }
    json_array_extend(task->rows, documents);
    free(selection->continuation);
    selection->continuation = reply->continuation ? strdup(reply->continuation) : NULL;
    /* A page may be empty and still not be the last one. */
    if (selection->continuation &&
        (!selection->query.want || (int)json_array_size(task->rows) < selection->query.want)) {
        select_page(task);
    } else {
        end_selection(task);
    }
}

static void select_page(ac_cosmos_task_t *task)
{
    ac_cosmos_selection_t *selection = task->selection;
    const ac_cosmos_query_t *query = &selection->query;
    int left = query->want ? query->want - (int)json_array_size(task->rows) : MAX_PAGE;
    ac_cosmos_request_t request = {
        .verb = AC_COSMOS_QUERY,
        .container = query->container,
        .key = selection->key,
        .continuation = selection->continuation,
        .max_items = left < MAX_PAGE ? left : MAX_PAGE,
        .refusable = query->refusable,
    };
    ac_buf_t body;
    ac_buf_init(&body, AC_MAX_REQUEST);
    if (ac_cosmos_request_query(&body, query->sql, query->parameters) != APR_SUCCESS) {
        ac_buf_free(&body);
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
        return;
    }
    request.body = &body;
    ac_cosmos_call_start(task, &request, query_on_page, task);
}

const char *ac_cosmos_query_continuation(const ac_cosmos_task_t *task)
{
    return task->selection ? task->selection->continuation : NULL;
}

/* ---- documents in parts ---- */

static void join_next(ac_cosmos_task_t *task);

void ac_cosmos_query_join(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn)
{
    ac_cosmos_task_then(task, fn);
    task->row = 0;
    task->join.part = task->join.n_parts = 0;
    ac_buf_free(&task->join.text);
    join_next(task);
}

/* Replaces a stub by the document that its parts contain. The stub's seq, parent, feedback and marks count: the
 * parts were written before them. */
static bool replace_stub(ac_cosmos_task_t *task)
{
    static const char *const names[] = {"seq", "parent_id", "feedback"};
    const json_t *stub = json_array_get(task->rows, task->row);
    const char *text = task->join.text.data ? task->join.text.data : "";
    json_t *doc = json_loadb(text, task->join.text.len, JSON_ALLOW_NUL, NULL);
    bool fine = json_is_object(doc);
    json_object_del(doc, "feedback");
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        json_t *value = json_object_get(stub, names[i]);
        fine = fine && (!value || ac_json_put(doc, names[i], json_incref(value)));
    }
    json_t *marks = ac_store_marks(stub);
    fine = fine && (!marks || json_object_update(doc, marks) == 0);
    json_decref(marks);
    if (!fine) {
        json_decref(doc);
        return false;
    }
    ac_buf_free(&task->join.text);
    return json_array_set_new(task->rows, task->row, doc) == 0;
}

/* Whether a missing part has expired: parts are written before their stub and expire a little earlier. */
static bool is_expiring(const ac_cosmos_task_t *task)
{
    const ac_cosmos_t *store = task->store;
    int64_t own = ac_json_peek_int(json_array_get(task->rows, task->row), "ttl", 0);
    apr_interval_time_t life = store->containers.expires;
    apr_interval_time_t margin = life / 8 < EXPIRY_MARGIN ? life / 8 : EXPIRY_MARGIN;
    life = life && own > 0 ? apr_time_from_sec(own) : life;
    int64_t written = ac_json_peek_int(json_array_get(task->rows, task->row), "_ts", 0);
    return life && written && apr_time_from_sec(written) + life - margin < ac_cosmos_now(store);
}

static void drop_row(ac_cosmos_task_t *task)
{
    ac_buf_free(&task->join.text);
    json_array_remove(task->rows, task->row);
    task->join.n_parts = 0;
    task->join.part = 0;
    join_next(task);
}

static void query_on_part(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    const json_t *text;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    if (reply->status == 404 && is_expiring(task)) {
        drop_row(task);
        return;
    }
    text = json_object_get(reply->body, "text");
    if (!json_is_string(text) ||
        ac_buf_add(&task->join.text, json_string_value(text), json_string_length(text)) != APR_SUCCESS ||
        (++task->join.part > task->join.n_parts && !replace_stub(task))) {
        ac_cosmos_task_end_damaged(task, "a part of a large document is missing");
        return;
    }
    join_next(task);
}

/* Reads the next part of the current stub, or the first part of the next stub. */
static void join_next(ac_cosmos_task_t *task)
{
    char id[AC_ID_SIZE + 16];
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ, .container = AC_COSMOS_MESSAGES, .id = id};
    const json_t *row;
    if (task->join.part > task->join.n_parts) {
        task->row++;
        task->join.n_parts = 0;
    }
    while (task->join.n_parts == 0 && (row = json_array_get(task->rows, task->row))) {
        task->join.n_parts = (int)ac_json_peek_int(row, "parts", 0);
        task->join.part = 1;
        task->row += task->join.n_parts == 0;
    }
    if (task->join.n_parts == 0) {
        ac_cosmos_task_return(task);
        return;
    }
    row = json_array_get(task->rows, task->row);
    ac_cosmos_doc_part_id(id, ac_json_peek_string(row, "id", ""), task->join.part);
    request.key = ac_json_peek_string(row, "thread_id", "");
    ac_cosmos_call_start(task, &request, query_on_part, task);
}
