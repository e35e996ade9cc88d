/* SPDX-License-Identifier: Apache-2.0 */
/* THREAD_LIST in the Cosmos DB store. Its steps, in the order of this file:
 *
 *  1  query the next entries of the owner's partition. By the last change there are two rounds of the steps 1 to 4:
 *     the entries without a copy, then the copies in order
 *  2  fill a window of entries; read the thread's document of each entry whose copy does not count
 *  3  when all are read: in a search of words, query which of their messages have them; judge each; put those that
 *     fit into the list, let entries be repaired or checked
 *  4  2 while the page is not full and entries are left, else 1 while the query has more
 *  5  in a search of words, read the texts that are shown; count all, if the caller wants the total */
#include "cosmos_internal.h"

#include <string.h>

#include <apr_strings.h>

#define MAX_READS 16            /* thread documents that are read at a time */
#define LOOKS (AC_MAX_PAGE + 1) /* entries that are judged at a time */
#define MAX_REPAIRS 16          /* entries that one list repairs: each costs ten times what reading its thread does */
#define CHECK_EACH 8            /* one in this number of lists compares one of its copies with the thread */

typedef struct look_t { /* the check of one entry's thread */
    ac_cosmos_task_t *task;
    const json_t *entry, *copy; /* of task->rows; copy NULL: the thread's document is read */
    json_t *thread;             /* NULL: the thread does not exist */
} look_t;

typedef struct list_t {
    look_t looks[LOOKS];
    int n_looks, n_open, n_repairs;
    int n_judged, check_at; /* entries; the one whose copy is compared, -1: none */
    ac_err_t err;           /* of the first check that failed */
    int64_t n_skip;         /* entries before the page */
    char after[AC_ID_SIZE], time[AC_TIME_SIZE], sql[AC_COSMOS_LIST_SQL];
    bool ended;    /* the query has no more entries */
    bool searches; /* the words of messages */
    size_t row;    /* of the entries, while task->rows are something else */
    ac_cosmos_listing_e
        of; /* by the last change: first the entries without a copy, whose threads are kept in task->whole */
} list_t;

static void query_entries(ac_cosmos_task_t *task);
static void start_windows(ac_cosmos_task_t *task);
static void next_window(ac_cosmos_task_t *task);
static void read_if_needed(ac_cosmos_task_t *task, const json_t *entry);
static void list_on_thread(void *baton, const ac_cosmos_reply_t *reply);
static bool end_window(ac_cosmos_task_t *task);
static void end_round(ac_cosmos_task_t *task);

/* ---- 1: entries ---- */

void ac_cosmos_list_threads(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    list_t *list = ac_alloc(sizeof(*list));
    const char *after;
    task->state = list;
    task->found = json_array();
    list->check_at = -1;
    ac_err_init(&list->err);
    list->searches = ac_cosmos_search_has_words(task);
    op->page.by_update = op->page.by_update || json_object_get(op->in, "q");
    if (op->page.by_update && !task->store->containers.by_update && ac_id_valid(op->page.after, "thread_")) {
        op->page.by_update = false; /* as the pages before */
    }
    after = *op->page.after ? ac_store_cursor_read(list->time, &op->page) : AC_COSMOS_CURSOR_NONE;
    if (!after) {
        ac_cosmos_task_end(task, ac_err_set(&op->err, AC_INVALID_REQUEST, "after is not a cursor of this list"));
        return;
    }
    list->of = op->page.by_update && task->store->containers.by_update ? AC_COSMOS_UNCOPIED : AC_COSMOS_BY_ID;
    apr_cpystrn(list->after, after, sizeof(list->after));
    list->n_skip = op->page.by_offset ? op->page.offset : 0;
    query_entries(task);
}

/* How many more entries may be needed; one after the page shows that there is another page. */
static int wanted(const ac_cosmos_task_t *task)
{
    const list_t *list = task->state;
    return list->of == AC_COSMOS_UNCOPIED ? LOOKS : task->op->page.limit + 1 - (int)json_array_size(task->found);
}

/* How many entries are looked at for them. */
static int window_size(const ac_cosmos_task_t *task)
{
    return json_object_get(task->op->in, "q") ? LOOKS : wanted(task);
}

static json_t *parameters_of(const ac_cosmos_task_t *task, const char *since)
{
    const ac_page_t *page = &task->op->page;
    json_t *parameters = json_pack("{s:s}", "@owner", task->op->owner);
    if (*page->status) {
        ac_json_put(parameters, "@status", json_string(page->status));
    }
    if (*page->agent_id) {
        ac_json_put(parameters, "@agent", ac_json_text(page->agent_id));
    }
    if (json_object_get(task->op->in, "label")) {
        ac_json_put(parameters, "@label", json_incref(json_object_get(task->op->in, "label")));
    }
    if (since) {
        ac_json_put(parameters, "@since", json_string(since));
    } else {
        const list_t *list = task->state;
        ac_json_put(parameters, "@after", ac_json_text(list->after));
        ac_json_put(parameters, "@time", ac_json_text(list->time));
    }
    return parameters;
}

static void query_entries(ac_cosmos_task_t *task)
{
    list_t *list = task->state;
    const ac_store_op_t *op = task->op;
    int64_t want = list->n_skip + window_size(task);
    ac_cosmos_query_t query = {
        .container = AC_COSMOS_THREADS,
        .key = op->owner,
        .want = want < 1000 ? (int)want : 1000,
        .sql = list->sql,
        .parameters = parameters_of(task, NULL),
    };
    ac_cosmos_list_sql_page(list->sql, op, list->of);
    if (list->of == AC_COSMOS_UNCOPIED) {
        query.want = 0;
    }
    ac_cosmos_query_run(task, &query, start_windows);
}

static void start_windows(ac_cosmos_task_t *task)
{
    list_t *list = task->state;
    if (list->n_judged == 0 && json_array_size(task->rows) > 0 && ++task->store->n_lists % CHECK_EACH == 0) {
        list->check_at = (int)(ac_random() % json_array_size(task->rows));
    }
    list->ended = !task->more;
    task->row = 0;
    next_window(task);
}

/* ---- 2: a window of entries ---- */

/* The next entries, as many as the page may still need. */
static void fill_window(ac_cosmos_task_t *task)
{
    list_t *list = task->state;
    const json_t *entry;
    while (list->n_looks < window_size(task) && list->n_looks < LOOKS && list->n_open < MAX_READS &&
           (entry = json_array_get(task->rows, task->row))) {
        task->row++;
        apr_cpystrn(list->after, ac_json_peek_string(entry, "id", ""), sizeof(list->after));
        apr_cpystrn(list->time, ac_json_peek_string(json_object_get(entry, "copy"), "updated_at", ""),
                    sizeof(list->time));
        if (list->n_skip > 0) {
            list->n_skip--;
        } else {
            read_if_needed(task, entry);
        }
    }
}

static void next_window(ac_cosmos_task_t *task)
{
    list_t *list = task->state;
    do {
        fill_window(task);
        if (list->n_open > 0 || (list->n_looks > 0 && !end_window(task))) {
            return;
        }
    } while (wanted(task) > 0 && json_array_get(task->rows, task->row));
    if (wanted(task) <= 0 || list->ended) {
        end_round(task);
    } else {
        query_entries(task);
    }
}

static void read_if_needed(ac_cosmos_task_t *task, const json_t *entry)
{
    list_t *list = task->state;
    look_t *look = &list->looks[list->n_looks++];
    const char *id = ac_json_peek_string(entry, "id", "");
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ, .container = AC_COSMOS_MESSAGES, .key = id, .id = id};
    *look = (look_t){.task = task, .entry = entry, .copy = ac_cosmos_entry_copy(task->store, entry)};
    if (!look->copy) {
        list->n_open++;
        ac_cosmos_call_start(task, &request, list_on_thread, look);
    }
}

static void list_on_thread(void *baton, const ac_cosmos_reply_t *reply)
{
    look_t *look = baton;
    list_t *list = look->task->state;
    if (reply->err.kind != AC_OK && list->err.kind == AC_OK) {
        list->err = reply->err;
    }
    if (reply->status == 200) {
        look->thread = json_incref(reply->body);
    }
    if (--list->n_open == 0 && end_window(look->task)) {
        next_window(look->task);
    }
}

/* ---- 3: judgement ---- */

/* Starts a task that replaces the entry by `made`, or removes it (NULL), unless it changes meanwhile. Consumes made. */
static void repair_entry(ac_cosmos_task_t *task, const json_t *entry, json_t *made)
{
    list_t *list = task->state;
    if (list->n_repairs >= MAX_REPAIRS || task->store->child.stopping) {
        json_decref(made);
        return;
    }
    list->n_repairs++;
    ac_cosmos_entry_repair(task, entry, made);
}

static bool is_owners(const ac_cosmos_task_t *task, const look_t *look)
{
    return look->thread && strcmp(ac_json_peek_string(look->thread, "owner", ""), task->op->owner) == 0;
}

/* The document that says what the list shows; NULL: nothing. */
static const json_t *thread_of(const ac_cosmos_task_t *task, const look_t *look)
{
    const json_t *thread = look->copy ? look->copy : is_owners(task, look) ? look->thread : NULL;

    if (!thread || ac_cosmos_erasures_hide(task->store, task->op->owner, look->entry)) {
        return NULL;
    }
    return ac_cosmos_list_sql_fits(task->op, thread) ? thread : NULL;
}

static void judge(ac_cosmos_task_t *task, look_t *look)
{
    bool mine = is_owners(task, look);
    list_t *list = task->state;
    const json_t *thread = thread_of(task, look);
    json_t *shown = thread ? ac_cosmos_search_shown(task->op, thread, task->parts) : NULL;
    json_t *made = mine ? ac_cosmos_entry_rebuild(task->store, look->entry, look->thread) : NULL;
    if (list->n_judged++ == list->check_at && look->copy && !task->store->child.stopping) {
        ac_cosmos_entry_check(task, look->entry);
    }
    if (shown) {
        json_array_append_new(task->found, shown);
    }
    if (!look->copy && (made || (!mine && ac_cosmos_entry_is_old(task->store, look->entry)))) {
        repair_entry(task, look->entry, made);
    }
}

/* Returns false if the task has ended. */
static bool judge_window(ac_cosmos_task_t *task)
{
    list_t *list = task->state;
    bool failed = list->err.kind != AC_OK;
    for (int i = 0; i < list->n_looks; i++) {
        if (!failed) {
            judge(task, &list->looks[i]);
        }
        json_decref(list->looks[i].thread);
    }
    list->n_looks = 0;
    if (failed) {
        ac_cosmos_task_end_with(task, &list->err);
    }
    return !failed;
}

static void window_searched(ac_cosmos_task_t *task)
{
    list_t *list = task->state;
    json_decref(task->parts);
    task->parts = task->rows;
    task->rows = task->documents;
    task->documents = NULL;
    task->row = list->row;
    if (judge_window(task)) {
        next_window(task);
    }
}

/* Returns false if the task has ended, or continues in window_searched(). The entries are in task->documents meanwhile,
 * and the places that were found in task->parts afterwards. */
static bool end_window(ac_cosmos_task_t *task)
{
    list_t *list = task->state;
    json_t *threads = json_array();
    for (int i = 0; list->searches && list->err.kind == AC_OK && i < list->n_looks; i++) {
        const json_t *thread = thread_of(task, &list->looks[i]);
        if (thread) {
            json_array_append(threads, json_object_get(thread, "id"));
        }
    }
    if (json_array_size(threads) == 0) {
        json_decref(threads);
        return judge_window(task);
    }
    task->documents = task->rows;
    task->rows = NULL;
    list->row = task->row;
    ac_cosmos_search_run(task, threads, window_searched);
    return false;
}

/* ---- 4, 5: the end of a round ---- */

void ac_cosmos_list_end(ac_cosmos_task_t *task, json_t *data, bool has_more, json_t *next)
{
    json_t *out = json_object();
    bool fine = ac_json_put(out, "data", data);
    fine = ac_json_put(out, "has_more", json_boolean(has_more)) && fine;
    fine = ac_json_put(out, "next", next ? next : json_null()) && fine;
    task->op->out = out;
    ac_cosmos_task_end(task, fine ? APR_SUCCESS : ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
}

static void end_counted(ac_cosmos_task_t *task)
{
    json_t *count = json_array_get(task->rows, 0);
    ac_json_put(task->op->out, "total", json_is_integer(count) ? json_incref(count) : json_integer(0));
    ac_cosmos_task_end(task, APR_SUCCESS);
}

/* The second round. */
static void start_copies(ac_cosmos_task_t *task)
{
    list_t *list = task->state;
    char time[AC_TIME_SIZE];
    const char *id = *task->op->page.after ? ac_store_cursor_read(time, &task->op->page) : NULL;
    task->whole = task->found;
    task->found = json_array();
    list->of = AC_COSMOS_COPIED;
    list->ended = false;
    apr_cpystrn(list->after, id ? id : AC_COSMOS_CURSOR_NONE, sizeof(list->after));
    apr_cpystrn(list->time, id ? time : AC_COSMOS_CURSOR_NONE, sizeof(list->time));
    query_entries(task);
}

static void list_answer(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    list_t *list = task->state;
    bool more = (int)json_array_size(task->found) > op->page.limit;
    ac_cosmos_query_t query = {
        .container = AC_COSMOS_THREADS,
        .key = op->owner,
        .want = 1,
        .sql = list->sql,
    };
    json_t *data = task->found, *next = NULL;

    task->found = NULL;
    if (more) {
        json_array_remove(data, json_array_size(data) - 1);
        next = list->of == AC_COSMOS_BY_ID
            ? json_incref(json_object_get(json_array_get(data, json_array_size(data) - 1), "id"))
            : ac_store_cursor(&op->page, data);
    }
    if (!op->page.want_total) {
        ac_cosmos_list_end(task, data, more, next);
        return;
    }
    op->out = json_pack("{s:o, s:b, s:o}", "data", data, "has_more", more, "next", next ? next : json_null());
    char since[AC_TIME_SIZE];
    ac_cosmos_erasures_until(since, task->store, op->owner);
    ac_cosmos_list_sql_count(list->sql, op, *since);
    query.parameters = parameters_of(task, since);
    ac_cosmos_query_run(task, &query, end_counted);
}

static void end_round(ac_cosmos_task_t *task)
{
    list_t *list = task->state;
    if (list->of == AC_COSMOS_UNCOPIED) {
        start_copies(task);
        return;
    }
    if (list->of == AC_COSMOS_COPIED) {
        ac_cosmos_list_sql_merge(task->found, task->whole, &task->op->page);
    }
    while ((int)json_array_size(task->found) > task->op->page.limit + 1) { /* a window may have more than needed */
        json_array_remove(task->found, json_array_size(task->found) - 1);
    }
    if (list->searches) {
        ac_cosmos_search_snippets(task, list_answer);
    } else {
        list_answer(task);
    }
}
