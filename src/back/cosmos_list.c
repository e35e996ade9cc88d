/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store's lists of threads: the owner's entries tell which there may be, the heads how they are. An entry that is
 * found to be wrong is mended on the way. */
#include "store_cosmos.h"

#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#define WINDOW 16                           /* heads that are read at a time */
#define DANGLING_AFTER 3600                 /* seconds, after which an entry without a thread is no thread being made */

static const char sql_living[] =
    "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'thread' AND c.id < @after"
    " AND (c.status != 'deleted' OR c.changing = true) ORDER BY c.id DESC";
static const char sql_living_agent[] =
    "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'thread' AND c.id < @after"
    " AND (c.status != 'deleted' OR c.changing = true) AND c.agent_id = @agent ORDER BY c.id DESC";
static const char sql_status[] =
    "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'thread' AND c.id < @after"
    " AND (c.status = @status OR c.changing = true) ORDER BY c.id DESC";
static const char sql_status_agent[] =
    "SELECT * FROM c WHERE c.owner = @owner AND c.type = 'thread' AND c.id < @after"
    " AND (c.status = @status OR c.changing = true) AND c.agent_id = @agent ORDER BY c.id DESC";
static const char *const sql_lists[2][2] = { { sql_living, sql_living_agent }, { sql_status, sql_status_agent } };

static const char sql_count_living[] =
    "SELECT VALUE COUNT(1) FROM c WHERE c.owner = @owner AND c.type = 'thread' AND c.status != 'deleted'";
static const char sql_count_living_agent[] =
    "SELECT VALUE COUNT(1) FROM c WHERE c.owner = @owner AND c.type = 'thread' AND c.status != 'deleted' AND c.agent_id = @agent";
static const char sql_count_status[] =
    "SELECT VALUE COUNT(1) FROM c WHERE c.owner = @owner AND c.type = 'thread' AND c.status = @status";
static const char sql_count_status_agent[] =
    "SELECT VALUE COUNT(1) FROM c WHERE c.owner = @owner AND c.type = 'thread' AND c.status = @status AND c.agent_id = @agent";
static const char *const sql_counts[2][2] = { { sql_count_living, sql_count_living_agent },
                                              { sql_count_status, sql_count_status_agent } };

typedef struct look_t {                     /* at one entry's thread */
    ac_cosmos_task_t *task;
    const json_t *entry;                    /* of task->rows */
    json_t *head;                           /* NULL: none */
} look_t;

typedef struct list_t {
    look_t looks[WINDOW];
    int n_looks, n_open;
    ac_err_t err;                           /* of the first look that failed */
    int64_t n_skip;                         /* entries before the page */
    char after[AC_ID_SIZE];
    bool ended;                             /* the entries are at their end */
} list_t;

static void window_next(ac_cosmos_task_t *task);

void ac_cosmos_list_end(ac_cosmos_task_t *task, json_t *data, bool has_more, json_t *next)
{
    json_t *out = json_object();
    bool fine = ac_json_put(out, "data", data);

    fine = ac_json_put(out, "has_more", json_boolean(has_more)) && fine;
    fine = ac_json_put(out, "next", next ? next : json_null()) && fine;
    task->op->out = out;
    ac_cosmos_end(task, fine ? APR_SUCCESS : ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
}

/* ---- mending ---- */

static void on_mended(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;

    (void)reply;
    ac_cosmos_end(task, APR_SUCCESS);
}

static void mend(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {
        .verb = task->documents ? AC_COSMOS_REPLACE : AC_COSMOS_DELETE, .place = AC_COSMOS_THREADS, .key = task->op->owner,
        .id = task->op->id, .if_match = task->mark,
    };
    ac_buf_t body;
    char *text = task->documents ? ac_json_dump(task->documents, NULL) : NULL;

    if (task->documents && !*task->mark) {
        request.verb = AC_COSMOS_UPSERT;
    }
    ac_buf_init(&body, AC_MAX_REQUEST);
    if (text) {
        ac_buf_str(&body, text);
        free(text);
    }
    request.body = task->documents ? &body : NULL;
    ac_cosmos_call(task, &request, on_mended, task);
}

void ac_cosmos_index_mend(ac_cosmos_t *store, const json_t *head, const char *etag)
{
    ac_cosmos_task_t *task = ac_cosmos_task_own(store, ac_json_peek_string(head, "owner", ""), ac_json_peek_string(head, "id", ""),
                                                mend);

    task->documents = ac_cosmos_index_make(head);
    apr_cpystrn(task->mark, etag ? etag : "", sizeof(task->mark));
}

static void index_remove(ac_cosmos_task_t *list, const json_t *entry)
{
    ac_cosmos_task_t *task = ac_cosmos_task_own(list->store, list->op->owner, ac_json_peek_string(entry, "id", ""), mend);

    apr_cpystrn(task->mark, ac_json_peek_string(entry, "_etag", ""), sizeof(task->mark));
}

/* ---- the answer ---- */

static void on_count(ac_cosmos_task_t *task)
{
    json_t *count = json_array_get(task->rows, 0);

    ac_json_put(task->op->out, "total", json_is_integer(count) ? json_incref(count) : json_integer(0));
    ac_cosmos_end(task, APR_SUCCESS);
}

static json_t *parameters_of(const ac_cosmos_task_t *task, bool counts)
{
    const ac_page_t *page = &task->op->page;
    json_t *parameters = json_pack("{s:s}", "@owner", task->op->owner);

    if (*page->status) {
        ac_json_put(parameters, "@status", json_string(page->status));
    }
    if (*page->agent_id) {
        ac_json_put(parameters, "@agent", ac_json_text(page->agent_id));
    }
    if (!counts) {
        const list_t *list = task->state;
        ac_json_put(parameters, "@after", ac_json_text(list->after));
    }
    return parameters;
}

static void list_done(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    bool more = (int)json_array_size(task->found) > op->page.limit;
    ac_cosmos_select_t select = {
        .place = AC_COSMOS_THREADS, .key = op->owner, .want = 1,
        .sql = sql_counts[*op->page.status != '\0'][*op->page.agent_id != '\0'],
    };
    json_t *data = task->found, *next = NULL;

    task->found = NULL;
    if (more) {
        json_array_remove(data, json_array_size(data) - 1);
        next = json_incref(json_object_get(json_array_get(data, json_array_size(data) - 1), "id"));
    }
    if (!op->page.want_total) {
        ac_cosmos_list_end(task, data, more, next);
        return;
    }
    op->out = json_pack("{s:o, s:b, s:o}", "data", data, "has_more", more, "next", next ? next : json_null());
    select.parameters = parameters_of(task, true);
    ac_cosmos_select(task, &select, on_count);
}

/* ---- looking at the heads ---- */

static bool fits(const ac_store_op_t *op, const json_t *head)
{
    const char *status = ac_json_peek_string(head, "status", "");
    bool wanted = *op->page.status ? strcmp(status, op->page.status) == 0
        : strcmp(status, "deleted") != 0 && strcmp(status, "purging") != 0;

    return wanted && (!*op->page.agent_id || strcmp(ac_json_peek_string(head, "agent_id", ""), op->page.agent_id) == 0);
}

static void judge(ac_cosmos_task_t *task, look_t *look)
{
    const char *owner = ac_json_peek_string(look->head, "owner", "");
    bool mine = look->head && strcmp(owner, task->op->owner) == 0;
    bool settled = mine && !json_is_true(json_object_get(look->entry, "changing")) &&
        strcmp(ac_json_peek_string(look->head, "status", ""), ac_json_peek_string(look->entry, "status", "")) == 0;
    int64_t age = apr_time_sec(ac_cosmos_now(task->store)) - ac_json_peek_int(look->entry, "_ts", 0);

    if (mine && fits(task->op, look->head)) {
        json_array_append_new(task->found, ac_cosmos_thread_of(look->head));
    }
    if (mine && !settled && age > 60) {     /* whoever changed it has had time to settle it */
        ac_cosmos_index_mend(task->store, look->head, ac_json_peek_string(look->entry, "_etag", ""));
    }
    if (!mine && age > DANGLING_AFTER) {
        index_remove(task, look->entry);
    }
}

static void window_judge(ac_cosmos_task_t *task)
{
    list_t *list = task->state;
    bool failed = list->err.kind != AC_OK;

    for (int i = 0; i < list->n_looks; i++) {
        if (!failed) {
            judge(task, &list->looks[i]);
        }
        json_decref(list->looks[i].head);
    }
    list->n_looks = 0;
    if (failed) {
        ac_cosmos_end_with(task, &list->err);
    }
    else {
        window_next(task);
    }
}

static void on_look(void *baton, const ac_cosmos_reply_t *reply)
{
    look_t *look = baton;
    list_t *list = look->task->state;

    if (reply->err.kind != AC_OK && list->err.kind == AC_OK) {
        list->err = reply->err;
    }
    if (reply->status == 200) {
        look->head = json_incref(reply->body);
    }
    if (--list->n_open == 0) {
        window_judge(look->task);
    }
}

static void look_at(ac_cosmos_task_t *task, const json_t *entry)
{
    list_t *list = task->state;
    look_t *look = &list->looks[list->n_looks++];
    const char *id = ac_json_peek_string(entry, "id", "");
    ac_cosmos_request_t request = { .verb = AC_COSMOS_READ, .place = AC_COSMOS_MESSAGES, .key = id, .id = id };

    *look = (look_t){ .task = task, .entry = entry };
    list->n_open++;
    ac_cosmos_call(task, &request, on_look, look);
}

static void on_entries(ac_cosmos_task_t *task)
{
    list_t *list = task->state;

    list->ended = !task->more;
    task->row = 0;
    window_next(task);
}

static void entries_next(ac_cosmos_task_t *task)
{
    list_t *list = task->state;
    const ac_store_op_t *op = task->op;
    int64_t want = list->n_skip + op->page.limit + 1 - (int64_t)json_array_size(task->found);
    ac_cosmos_select_t select = {
        .place = AC_COSMOS_THREADS, .key = op->owner, .want = want < 1000 ? (int)want : 1000,
        .sql = sql_lists[*op->page.status != '\0'][*op->page.agent_id != '\0'], .parameters = parameters_of(task, false),
    };

    ac_cosmos_select(task, &select, on_entries);
}

/* The next few heads, as many as may still be wanted. */
static void window_next(ac_cosmos_task_t *task)
{
    list_t *list = task->state;
    int want = task->op->page.limit + 1 - (int)json_array_size(task->found);
    const json_t *entry;

    want = want < WINDOW ? want : WINDOW;
    while (list->n_looks < want && (entry = json_array_get(task->rows, task->row))) {
        task->row++;
        apr_cpystrn(list->after, ac_json_peek_string(entry, "id", ""), sizeof(list->after));
        if (list->n_skip > 0) {
            list->n_skip--;
        }
        else {
            look_at(task, entry);
        }
    }
    if (list->n_open > 0) {
        return;
    }
    if (want <= 0 || list->ended) {
        list_done(task);
    }
    else {
        entries_next(task);
    }
}

void ac_cosmos_thread_list(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    list_t *list = ac_alloc(sizeof(*list));

    task->state = list;
    task->found = json_array();
    ac_err_init(&list->err);
    if (*op->page.after && !ac_id_valid(op->page.after, "thread_")) {
        ac_cosmos_end(task, ac_err_set(&op->err, AC_INVALID_REQUEST, "after is no cursor of this list"));
        return;
    }
    apr_cpystrn(list->after, *op->page.after ? op->page.after : AC_COSMOS_CURSOR_NONE, sizeof(list->after));
    list->n_skip = op->page.by_offset ? op->page.offset : 0;
    entries_next(task);
}
