/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a thread in the Cosmos DB store: MESSAGE_LIST and EXPORT_MESSAGES, and TURN_LOAD, with which a turn
 * begins.
 *
 *  1  read the thread's document: it gives the range of seqs
 *  2  TURN_LOAD: close an active run that is dead
 *  3  query the messages of the range; while some are missing: read the thread's document, 3
 *  4  join messages that are stored in parts
 *  5  end with the page, or with thread, messages and active run */
#include "cosmos_internal.h"

#include <stdint.h>
#include <string.h>

#define STALE_TRIES 5 /* of a query that gives fewer messages than the thread has */

static const char sql_up[] =
    "SELECT * FROM c WHERE c.thread_id = @thread AND c.type = 'message' AND c.seq >= @first AND c.seq <= @last "
    "ORDER BY c.seq ASC";
static const char sql_down[] =
    "SELECT * FROM c WHERE c.thread_id = @thread AND c.type = 'message' AND c.seq >= @first AND c.seq <= @last "
    "ORDER BY c.seq DESC";

typedef struct span_t { /* the seqs of a page, both inclusive; last < first: none */
    int64_t first, last;
    int want; /* rows; 0: all of them */
    bool has_more;
} span_t;

static void read_span(ac_cosmos_task_t *task);
static void check_rows(ac_cosmos_task_t *task);
static void end_page(ac_cosmos_task_t *task);
static void end_load(ac_cosmos_task_t *task);

static void messages_end_no_thread(ac_cosmos_task_t *task)
{
    ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_NOT_FOUND, "no thread with this id"));
}

/* ---- 1: the range of a page ---- */

static void begin_page(ac_cosmos_task_t *task)
{
    const ac_page_t *page = &task->op->page;
    int64_t count = ac_json_peek_int(task->thread.doc, "message_count", 0);
    int64_t first = page->after_seq < INT64_MAX ? page->after_seq + 1 : INT64_MAX;
    int64_t last = page->before_seq && page->before_seq - 1 < count ? page->before_seq - 1 : count;
    span_t *span = ac_alloc(sizeof(*span));
    task->state = span;
    if (!ac_cosmos_thread_doc_lives(&task->thread, false)) {
        if (task->op->verb != AC_STORE_EXPORT_MESSAGES || !task->thread.doc) {
            messages_end_no_thread(task);
            return;
        }
    }
    first = first > 0 ? first : 1;
    span->has_more = last - first + 1 > page->limit;
    if (span->has_more && task->store->containers.expires) {
        span->want = page->limit + 1;
    } else if (span->has_more && page->descending) {
        first = last - page->limit + 1;
    } else if (span->has_more) {
        last = first + page->limit - 1;
    }
    span->first = first;
    span->last = last;
    ac_cosmos_task_then(task, end_page);
    read_span(task);
}

void ac_cosmos_message_list(ac_cosmos_task_t *task)
{
    ac_cosmos_thread_doc_read(task, false, begin_page);
}

void ac_cosmos_message_export(ac_cosmos_task_t *task)
{
    ac_cosmos_thread_doc_read(task, false, begin_page);
}

/* ---- 1, 2: the range of a turn's history ---- */

static void load_span(ac_cosmos_task_t *task)
{
    int64_t count = ac_json_peek_int(task->thread.doc, "message_count", 0), limit = task->op->page.limit;
    span_t *span = ac_alloc(sizeof(*span));
    if (!ac_cosmos_thread_doc_lives(&task->thread, false)) {
        free(span);
        messages_end_no_thread(task);
        return;
    }
    span->first = count > limit ? count - limit + 1 : 1;
    span->last = count;
    ac_cosmos_task_then(task, end_load);
    task->state = span;
    task->op->page.descending = false;
    read_span(task);
}

static void check_run(ac_cosmos_task_t *task)
{
    if (ac_cosmos_thread_doc_lives(&task->thread, false)) {
        ac_cosmos_run_check_active(task, load_span);
    } else {
        messages_end_no_thread(task);
    }
}

void ac_cosmos_message_load(ac_cosmos_task_t *task)
{
    ac_cosmos_thread_doc_read(task, false, check_run);
}

/* ---- 3, 4: the messages ---- */

static void read_span(ac_cosmos_task_t *task)
{
    const span_t *span = task->state;
    ac_cosmos_query_t query = {
        .container = AC_COSMOS_MESSAGES,
        .key = task->op->id,
        .sql = task->op->page.descending ? sql_down : sql_up,
        .want = span->want ? span->want : (int)(span->last - span->first + 1),
    };
    if (span->last < span->first) {
        json_decref(task->rows);
        task->rows = json_array();
        ac_cosmos_task_return(task);
        return;
    }
    query.parameters = json_pack("{s:s, s:I, s:I}", "@thread", task->op->id, "@first", (json_int_t)span->first, "@last",
                                 (json_int_t)span->last);
    ac_cosmos_query_run(task, &query, check_rows);
}

/* The first messages of the thread may have expired: only the rows say how far the page reaches. */
static void trim_page(ac_cosmos_task_t *task)
{
    span_t *span = task->state;
    size_t limit = (size_t)task->op->page.limit;
    span->has_more = json_array_size(task->rows) > limit;
    while (json_array_size(task->rows) > limit) {
        json_array_remove(task->rows, json_array_size(task->rows) - 1);
    }
    span->first = span->last = ac_json_peek_int(json_array_get(task->rows, json_array_size(task->rows) - 1), "seq", 0);
}

static void read_span_again(ac_cosmos_task_t *task)
{
    if (task->thread.doc) {
        read_span(task);
    } else {
        messages_end_no_thread(task);
    }
}

/* seqs have no gap, so a missing message is not visible yet, or has expired. */
static void check_rows(ac_cosmos_task_t *task)
{
    const span_t *span = task->state;
    int64_t wanted = span->last - span->first + 1, got = (int64_t)json_array_size(task->rows);
    if (span->want) {
        trim_page(task);
    } else if (got < wanted && !task->store->containers.expires) {
        if (++task->n_tries < STALE_TRIES) {
            ac_cosmos_thread_doc_read(task, false, read_span_again);
        } else {
            ac_cosmos_task_end_damaged(task, "a thread has fewer messages than its head says");
        }
        return;
    }
    ac_cosmos_query_join(task, ac_cosmos_task_return);
}

/* ---- 5: the answer ---- */

/* task->rows as messages in the API's shape; a new array, or NULL: out of memory. */
static json_t *messages_of(const ac_cosmos_task_t *task)
{
    json_t *data = json_array(), *row;
    size_t i;
    json_array_foreach(task->rows, i, row)
    {
        if (json_array_append_new(data, ac_cosmos_doc_message(row)) != 0) {
            json_decref(data);
            return NULL;
        }
    }
    return data;
}

static void end_page(ac_cosmos_task_t *task)
{
    const span_t *span = task->state;
    int64_t next = task->op->page.descending ? span->first : span->last;
    ac_cosmos_list_end(task, messages_of(task), span->has_more, span->has_more ? json_integer(next) : NULL);
}

static void end_load(ac_cosmos_task_t *task)
{
    const char *run_id = ac_cosmos_thread_doc_run(&task->thread);
    json_t *out = json_object();
    bool fine = ac_json_put(out, "thread", ac_cosmos_doc_thread(task->thread.doc));
    fine = ac_json_put(out, "messages", messages_of(task)) && fine;
    fine = ac_json_put(out, "active_run", *run_id ? json_string(run_id) : json_null()) && fine;
    task->op->out = out;
    ac_cosmos_task_end(task, fine ? APR_SUCCESS : ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
}
