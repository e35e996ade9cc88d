/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a thread in the Cosmos DB store: MESSAGE_LIST and EXPORT_MESSAGES, and TURN_LOAD, with which a turn
 * begins.
 *
 *  1  read the thread's document: it gives the tree, and so the ranges of seqs of a path; a line is one range
 *  2  TURN_LOAD: close an active run that is dead; read the message that the turn names, if it names one
 *  3  query the messages of the ranges; while some are missing: read the thread's document, 3
 *  4  join messages that are stored in parts
 *  5  a page: query the ids of siblings and parents that are not on it
 *  6  end with the page, or with thread, messages and active run */
#include "cosmos_internal.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

#define STALE_TRIES 5     /* of a query that gives fewer messages than the thread has */
#define RANGES_AT_ONCE 32 /* of a path, in one query */

typedef struct reading_t {
    int want; /* rows; 0: all of them */
    bool has_more;
    int64_t end;      /* TURN_LOAD: the seq of the path's last message */
    int n_ranges, at; /* at: the next range, in the order of reading */
    ac_tree_range_t ranges[];
} reading_t;

static void read_ranges(ac_cosmos_task_t *task);
static void read_next_ranges(ac_cosmos_task_t *task);
static void check_rows(ac_cosmos_task_t *task);
static void show_page(ac_cosmos_task_t *task);
static void end_page(ac_cosmos_task_t *task);
static void end_load(ac_cosmos_task_t *task);

static void messages_end_no_thread(ac_cosmos_task_t *task)
{
    ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_NOT_FOUND, "no thread with this id"));
}

/* Makes task->state: the part of the path to `end` that belongs to the page. */
static reading_t *reading_make(ac_cosmos_task_t *task, const ac_tree_t *tree, int64_t end, const ac_page_t *page)
{
    ac_tree_range_t *ranges = NULL;
    bool more = false;
    int n = ac_tree_path(&ranges, &more, tree, end, page);
    reading_t *reading = ac_alloc(sizeof(*reading) + (size_t)n * sizeof(*ranges));
    if (n > 0) {
        memcpy(reading->ranges, ranges, (size_t)n * sizeof(*ranges));
    }
    free(ranges);
    reading->n_ranges = n;
    reading->end = end;
    reading->has_more = more;
    free(task->state);
    task->state = reading;
    return reading;
}

/* ---- 1: the ranges of a page ---- */

static void begin_page(ac_cosmos_task_t *task)
{
    bool exports = task->op->verb == AC_STORE_EXPORT_MESSAGES, expires = task->store->containers.expires > 0;
    ac_page_t page = task->op->page;
    ac_tree_t tree;
    if (!ac_cosmos_thread_doc_lives(&task->thread, false) && (!exports || !task->thread.doc)) {
        messages_end_no_thread(task);
        return;
    }
    apr_status_t status = ac_cosmos_tree_read(&tree, task);
    if (status != APR_SUCCESS) {
        ac_cosmos_task_end(task, status);
        return;
    }
    ac_tree_t line = {.count = tree.count, .leaf = tree.count};
    bool all = exports || json_is_true(json_object_get(task->op->in, "all"));
    const ac_tree_t *of = all ? &line : &tree;
    reading_t *reading = reading_make(task, of, of->leaf, &page);
    if (reading->has_more && expires) {
        page.limit = INT_MAX;
        reading = reading_make(task, of, of->leaf, &page);
        reading->want = task->op->page.limit + 1;
        reading->has_more = true;
    }
    ac_tree_free(&tree);
    ac_cosmos_task_then(task, show_page);
    read_ranges(task);
}

void ac_cosmos_message_list(ac_cosmos_task_t *task)
{
    ac_cosmos_thread_doc_read(task, false, begin_page);
}

void ac_cosmos_message_export(ac_cosmos_task_t *task)
{
    ac_cosmos_thread_doc_read(task, false, begin_page);
}

/* ---- 1, 2: the path of a turn's history ---- */

/* The seq of the last message that the turn is shown. */
static int64_t load_end(const ac_cosmos_task_t *task, const ac_tree_t *tree)
{
    bool answers = json_is_string(json_object_get(task->op->in, "regenerate"));
    int64_t named = ac_json_peek_int(task->found, "seq", 0);
    if (json_object_get(task->op->in, "parent_id")) {
        return named;
    }
    if (!answers) {
        return tree->leaf;
    }
    return strcmp(ac_json_peek_string(task->found, "role", ""), "user") == 0 ? named : ac_tree_parent(tree, named);
}

static void load_path(ac_cosmos_task_t *task)
{
    ac_page_t page = {.limit = task->op->page.limit, .descending = true};
    ac_tree_t tree;
    if (!ac_cosmos_thread_doc_lives(&task->thread, false)) {
        messages_end_no_thread(task);
        return;
    }
    apr_status_t status = ac_cosmos_tree_read(&tree, task);
    if (status != APR_SUCCESS) {
        ac_cosmos_task_end(task, status);
        return;
    }
    reading_make(task, &tree, load_end(task, &tree), &page);
    ac_tree_free(&tree);
    ac_cosmos_task_then(task, end_load);
    task->op->page.descending = false;
    read_ranges(task);
}

static void load_find(ac_cosmos_task_t *task)
{
    const json_t *in = task->op->in, *parent = json_object_get(in, "parent_id");
    bool answers = !parent && json_is_string(json_object_get(in, "regenerate"));
    if (!ac_cosmos_thread_doc_lives(&task->thread, false)) {
        messages_end_no_thread(task);
    } else if (answers || (parent && !json_is_null(parent))) {
        ac_cosmos_tree_find(task, answers ? "regenerate" : "parent_id", load_path);
    } else {
        load_path(task);
    }
}

static void check_run(ac_cosmos_task_t *task)
{
    if (ac_cosmos_thread_doc_lives(&task->thread, false)) {
        ac_cosmos_run_check_active(task, load_find);
    } else {
        messages_end_no_thread(task);
    }
}

void ac_cosmos_message_load(ac_cosmos_task_t *task)
{
    ac_cosmos_thread_doc_read(task, false, check_run);
}

/* ---- 3, 4: the messages ---- */

/* task->found: the rows of earlier queries. */
static void read_ranges(ac_cosmos_task_t *task)
{
    reading_t *reading = task->state;
    reading->at = 0;
    json_decref(task->found);
    task->found = json_array();
    read_next_ranges(task);
}

static int64_t messages_in_ranges(const ac_tree_range_t *ranges, int n)
{
    int64_t size = 0;
    for (int i = 0; i < n; i++) {
        size += ranges[i].last - ranges[i].first + 1;
    }
    return size;
}

static void add_range(ac_buf_t *sql, json_t *parameters, int i, const ac_tree_range_t *range)
{
    char first[24] = "@first", last[24] = "@last";
    if (i > 0) {
        snprintf(first, sizeof(first), "@first%d", i);
        snprintf(last, sizeof(last), "@last%d", i);
    }
    ac_buf_printf(sql, "%sc.seq >= %s AND c.seq <= %s", i > 0 ? " OR " : "", first, last);
    ac_json_put(parameters, first, json_integer(range->first));
    ac_json_put(parameters, last, json_integer(range->last));
}

static void query_ranges(ac_cosmos_task_t *task, const ac_tree_range_t *ranges, int n)
{
    const reading_t *reading = task->state;
    ac_cosmos_query_t query = {.container = AC_COSMOS_MESSAGES, .key = task->op->id};
    ac_buf_t sql;
    query.want = reading->want ? reading->want - (int)json_array_size(task->found) : (int)messages_in_ranges(ranges, n);
    query.parameters = json_pack("{s:s}", "@thread", task->op->id);
    ac_buf_init(&sql, AC_MAX_REQUEST);
    ac_buf_printf(&sql, "SELECT * FROM c WHERE c.thread_id = @thread AND c.type = 'message' AND %s", n > 1 ? "(" : "");
    for (int i = 0; i < n; i++) {
        add_range(&sql, query.parameters, i, &ranges[i]);
    }
    ac_buf_printf(&sql, "%s ORDER BY c.seq %s", n > 1 ? ")" : "", task->op->page.descending ? "DESC" : "ASC");
    if (sql.failed) {
        json_decref(query.parameters);
        ac_buf_free(&sql);
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
        return;
    }
    query.sql = sql.data;
    ac_cosmos_query_run(task, &query, check_rows);
    ac_buf_free(&sql);
}

static void read_next_ranges(ac_cosmos_task_t *task)
{
    reading_t *reading = task->state;
    int left = reading->n_ranges - reading->at, n = left < RANGES_AT_ONCE ? left : RANGES_AT_ONCE;
    int from = task->op->page.descending ? left - n : reading->at;
    if (n == 0) {
        json_decref(task->rows);
        task->rows = json_array();
        ac_cosmos_task_return(task);
        return;
    }
    reading->at += n;
    query_ranges(task, reading->ranges + from, n);
}

/* The first messages of the thread may have expired: only the rows say how far the page reaches. */
static void trim_page(ac_cosmos_task_t *task)
{
    reading_t *reading = task->state;
    size_t limit = (size_t)task->op->page.limit;
    reading->has_more = json_array_size(task->rows) > limit;
    while (json_array_size(task->rows) > limit) {
        json_array_remove(task->rows, json_array_size(task->rows) - 1);
    }
}

static void read_ranges_again(ac_cosmos_task_t *task)
{
    if (task->thread.doc) {
        read_ranges(task);
    } else {
        messages_end_no_thread(task);
    }
}

/* Puts the rows of earlier queries before those of the last one. */
static void join_rows(ac_cosmos_task_t *task)
{
    json_t *rows = task->rows;
    json_array_extend(task->found, rows);
    task->rows = task->found;
    task->found = NULL;
    json_decref(rows);
}

/* seqs have no gap, so a missing message is not visible yet, or has expired. */
static void check_rows(ac_cosmos_task_t *task)
{
    reading_t *reading = task->state;
    int64_t wanted = messages_in_ranges(reading->ranges, reading->n_ranges);
    join_rows(task);
    int64_t got = (int64_t)json_array_size(task->rows);
    if (reading->at < reading->n_ranges && (!reading->want || got < reading->want)) {
        task->found = task->rows;
        task->rows = NULL;
        read_next_ranges(task);
        return;
    }
    if (reading->want) {
        trim_page(task);
    } else if (got < wanted && !task->store->containers.expires) {
        if (++task->n_tries < STALE_TRIES) {
            ac_cosmos_thread_doc_read(task, false, read_ranges_again);
        } else {
            ac_cosmos_task_end_damaged(task, "a thread has fewer messages than its head says");
        }
        return;
    }
    ac_cosmos_query_join(task, ac_cosmos_task_return);
}

/* ---- 5, 6: the answer ---- */

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

static void show_page(ac_cosmos_task_t *task)
{
    json_decref(task->found);
    task->found = messages_of(task);
    if (task->found) {
        ac_cosmos_tree_show(task, task->op->verb == AC_STORE_MESSAGE_LIST, end_page);
    } else {
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
    }
}

/* The seq from which the next page begins. */
static int64_t page_next(const ac_cosmos_task_t *task)
{
    const reading_t *reading = task->state;
    const json_t *last = json_array_get(task->found, json_array_size(task->found) - 1);
    if (reading->want || reading->n_ranges == 0) {
        return ac_json_peek_int(last, "seq", 0);
    }
    return task->op->page.descending ? reading->ranges[0].first : reading->ranges[reading->n_ranges - 1].last;
}

static void end_page(ac_cosmos_task_t *task)
{
    const reading_t *reading = task->state;
    json_t *next = reading->has_more ? json_integer(page_next(task)) : NULL, *data = task->found;
    task->found = NULL;
    ac_cosmos_list_end(task, data, reading->has_more, next);
}

/* A turn that answers a message again is shown the conversation up to the user's message that it answers. */
static apr_status_t trim_to_question(ac_cosmos_task_t *task)
{
    reading_t *reading = task->state;
    size_t n;
    for (n = json_array_size(task->rows); n > 0; n--) {
        const json_t *row = json_array_get(task->rows, n - 1);
        if (strcmp(ac_json_peek_string(row, "role", ""), "user") == 0) {
            reading->end = ac_json_peek_int(row, "seq", 0);
            return APR_SUCCESS;
        }
        json_array_remove(task->rows, n - 1);
    }
    return ac_err_set_at(&task->op->err, AC_INVALID_REQUEST, "/regenerate", "this message answers no question");
}

static void end_load(ac_cosmos_task_t *task)
{
    const char *run_id = ac_cosmos_thread_doc_run(&task->thread);
    const reading_t *reading = task->state;
    const json_t *in = task->op->in;
    bool answers = !json_object_get(in, "parent_id") && json_is_string(json_object_get(in, "regenerate"));
    apr_status_t status = answers ? trim_to_question(task) : APR_SUCCESS;
    if (status != APR_SUCCESS) {
        ac_cosmos_task_end(task, status);
        return;
    }
    json_t *out = json_object(), *last = json_array_get(task->rows, json_array_size(task->rows) - 1);
    json_t *id = ac_json_peek_int(last, "seq", 0) == reading->end ? json_object_get(last, "id") : NULL;
    bool fine = ac_json_put(out, "thread", ac_cosmos_doc_thread(task->thread.doc));
    fine = ac_json_put(out, "messages", messages_of(task)) && fine;
    fine = ac_json_put(out, "active_run", *run_id ? json_string(run_id) : json_null()) && fine;
    if (json_array_size(json_object_get(task->thread.doc, "queue"))) {
        fine = ac_json_put(out, "queue", ac_cosmos_queue_without(task->thread.doc, "")) && fine;
    }
    fine = ac_json_put(out, "parent_id", id ? json_incref(id) : json_null()) && fine;
    fine = ac_json_put(out, "parent_seq", json_integer(reading->end)) && fine;
    task->op->out = out;
    ac_cosmos_task_end(task, fine ? APR_SUCCESS : ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
}
