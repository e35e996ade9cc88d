/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store's messages, read: a thread's history, and what a turn begins with. */
#include "store_cosmos.h"

#include <stdint.h>
#include <string.h>

#define STALE_TRIES 5 /* of a read that shows less than the head promises */

static const char sql_up[] =
    "SELECT * FROM c WHERE c.thread_id = @thread AND c.type = 'message' AND c.seq >= @first AND c.seq <= @last ORDER BY c.seq ASC";
static const char sql_down[] =
    "SELECT * FROM c WHERE c.thread_id = @thread AND c.type = 'message' AND c.seq >= @first AND c.seq <= @last ORDER BY c.seq DESC";

typedef struct span_t { /* the page's seqs, both inclusive; last < first: none */
    int64_t first, last;
    int want; /* rows; 0: all of them */
    bool has_more;
    ac_cosmos_step_fn *then;
} span_t;

static void span_read(ac_cosmos_task_t *task);

static void cosmos_messages_end_not_found(ac_cosmos_task_t *task)
{
    ac_cosmos_end(task, ac_err_set(&task->op->err, AC_NOT_FOUND, "no thread with this id"));
}

static void span_again(ac_cosmos_task_t *task)
{
    if (task->head.doc) {
        span_read(task);
    } else {
        cosmos_messages_end_not_found(task);
    }
}

/* Of a thread whose first messages are past their time: how far a page reaches, only its rows tell. */
static void page_trim(ac_cosmos_task_t *task)
{
    span_t *span = task->state;
    size_t limit = (size_t)task->op->page.limit;

    span->has_more = json_array_size(task->rows) > limit;
    while (json_array_size(task->rows) > limit) {
        json_array_remove(task->rows, json_array_size(task->rows) - 1);
    }
    span->first = span->last = ac_json_peek_int(json_array_get(task->rows, json_array_size(task->rows) - 1), "seq", 0);
}

/* seqs have no gap, so what is missing is not yet visible here, or is past its time to live. */
static void on_rows(ac_cosmos_task_t *task)
{
    const span_t *span = task->state;
    int64_t wanted = span->last - span->first + 1, got = (int64_t)json_array_size(task->rows);

    if (span->want) {
        page_trim(task);
    } else if (got < wanted && !task->store->expires) {
        if (++task->n_tries < STALE_TRIES) {
            ac_cosmos_head_read(task, false, span_again);
        } else {
            ac_cosmos_end_damaged(task, "a thread has fewer messages than its head says");
        }
        return;
    }
    ac_cosmos_join(task, span->then);
}

static void span_read(ac_cosmos_task_t *task)
{
    const span_t *span = task->state;
    ac_cosmos_select_t select = {
        .place = AC_COSMOS_MESSAGES,
        .key = task->op->id,
        .sql = task->op->page.descending ? sql_down : sql_up,
        .want = span->want ? span->want : (int)(span->last - span->first + 1),
    };

    if (span->last < span->first) {
        json_decref(task->rows);
        task->rows = json_array();
        span->then(task);
        return;
    }
    select.parameters = json_pack("{s:s, s:I, s:I}", "@thread", task->op->id, "@first", (json_int_t)span->first,
                                  "@last", (json_int_t)span->last);
    ac_cosmos_select(task, &select, on_rows);
}

/* task->rows as messages in the API's shape; a new array, or NULL: out of memory. */
static json_t *messages_of(const ac_cosmos_task_t *task)
{
    json_t *data = json_array(), *row;
    size_t i;

    json_array_foreach(task->rows, i, row)
    {
        if (json_array_append_new(data, ac_cosmos_message_of(row)) != 0) {
            json_decref(data);
            return NULL;
        }
    }
    return data;
}

/* ---- a page ---- */

static void page_done(ac_cosmos_task_t *task)
{
    const span_t *span = task->state;
    int64_t next = task->op->page.descending ? span->first : span->last;

    ac_cosmos_list_end(task, messages_of(task), span->has_more, span->has_more ? json_integer(next) : NULL);
}

static void page_begin(ac_cosmos_task_t *task)
{
    const ac_page_t *page = &task->op->page;
    int64_t count = ac_json_peek_int(task->head.doc, "message_count", 0);
    int64_t first = page->after_seq < INT64_MAX ? page->after_seq + 1 : INT64_MAX;
    int64_t last = page->before_seq && page->before_seq - 1 < count ? page->before_seq - 1 : count;
    span_t *span = ac_alloc(sizeof(*span));

    task->state = span;
    if (!ac_cosmos_head_lives(&task->head, false)) {
        if (task->op->verb != AC_STORE_EXPORT_MESSAGES || !task->head.doc) {
            cosmos_messages_end_not_found(task);
            return;
        }
    }
    first = first > 0 ? first : 1;
    span->has_more = last - first + 1 > page->limit;
    if (span->has_more && task->store->expires) {
        span->want = page->limit + 1;
    } else if (span->has_more && page->descending) {
        first = last - page->limit + 1;
    } else if (span->has_more) {
        last = first + page->limit - 1;
    }
    span->first = first;
    span->last = last;
    span->then = page_done;
    span_read(task);
}

void ac_cosmos_message_list(ac_cosmos_task_t *task)
{
    ac_cosmos_head_read(task, false, page_begin);
}

void ac_cosmos_export_messages(ac_cosmos_task_t *task)
{
    ac_cosmos_head_read(task, false, page_begin);
}

/* ---- what a turn begins with ---- */

static void load_done(ac_cosmos_task_t *task)
{
    const char *run_id = ac_cosmos_head_run(&task->head);
    json_t *out = json_object();
    bool fine = ac_json_put(out, "thread", ac_cosmos_thread_of(task->head.doc));

    fine = ac_json_put(out, "messages", messages_of(task)) && fine;
    fine = ac_json_put(out, "active_run", *run_id ? json_string(run_id) : json_null()) && fine;
    task->op->out = out;
    ac_cosmos_end(task, fine ? APR_SUCCESS : ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
}

static void load_checked(ac_cosmos_task_t *task)
{
    int64_t count = ac_json_peek_int(task->head.doc, "message_count", 0), limit = task->op->page.limit;
    span_t *span = ac_alloc(sizeof(*span));

    if (!ac_cosmos_head_lives(&task->head, false)) {
        free(span);
        cosmos_messages_end_not_found(task);
        return;
    }
    span->first = count > limit ? count - limit + 1 : 1;
    span->last = count;
    span->then = load_done;
    task->state = span;
    task->op->page.descending = false;
    span_read(task);
}

static void load_begin(ac_cosmos_task_t *task)
{
    if (ac_cosmos_head_lives(&task->head, false)) {
        ac_cosmos_run_check(task, load_checked);
    } else {
        cosmos_messages_end_not_found(task);
    }
}

void ac_cosmos_turn_load(ac_cosmos_task_t *task)
{
    ac_cosmos_head_read(task, false, load_begin);
}
