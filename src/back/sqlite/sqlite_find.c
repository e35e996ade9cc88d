/* SPDX-License-Identifier: Apache-2.0 */
/* Searching the embedded store: the threads whose title or one of whose messages has all words, by their last change.
 *
 * The index gives the places of the words, those of the newest threads first. Rare words: all of them; their threads
 * are read, and put in order. Words with many places: the threads are read in order until the page is full. Those whose
 * places were not read are looked up in the index one by one, and after some of these the other places are read. */
#include "sqlite_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#define SEQ_BITS 20
#define RANGE_BITS 39
#define MAX_PLACES 20000 /* that are read at first */
#define MAX_THREADS 1000 /* of rare words */
#define LOOKUPS 400      /* of threads one by one: 20 us each */
#define OPEN_LOOKUPS 4   /* a beginning of words: each lookup merges the places of all of them */
#define LATEST "~"       /* sorts after every time and id */

#define COLUMNS AC_SQLITE_THREAD_COLUMNS ", search_no"
#define FITS \
    " AND CASE WHEN ?1 = '' THEN deleted_at IS NULL ELSE status = ?1 END AND (?2 = '' OR agent_id = ?2)" \
    " AND (?6 IS NULL OR pinned = ?6) AND (?7 IS NULL OR EXISTS (SELECT 1 FROM labels WHERE labels.owner = ?3" \
    " AND label = ?7 AND thread_id = threads.id)) AND (updated_at, id) < (?5, ?4) ORDER BY updated_at DESC, id DESC"
static const char sql_range[] = "SELECT no FROM search_ranges WHERE owner = ?1 AND no < ?2 ORDER BY no DESC LIMIT 1";
static const char sql_places[] =
    "SELECT rowid FROM search WHERE search MATCH ?1 AND rowid >= ?2 AND rowid < ?3 ORDER BY rowid DESC";
static const char sql_of_places[] = "SELECT " COLUMNS " FROM threads INDEXED BY threads_by_search_no WHERE owner = ?3"
                                    " AND search_no IN (SELECT value FROM json_each(?8) /* FROM json_each */)" FITS;
static const char sql_all[] = "SELECT " COLUMNS
                              " FROM threads INDEXED BY threads_by_update WHERE owner = ?3 AND deleted_at IS NULL" FITS;
static const char sql_all_deleted[] =
    "SELECT " COLUMNS
    " FROM threads INDEXED BY threads_of_status_by_update WHERE owner = ?3 AND status = 'deleted'" FITS;
static const char sql_place[] =
    "SELECT rowid FROM search WHERE search MATCH ?1 AND rowid >= ?2 AND rowid < ?3 ORDER BY rowid DESC LIMIT 1";
static const char sql_message[] =
    "SELECT id, content FROM messages WHERE thread_id = ?1 AND seq = ?2 AND " AC_SQLITE_THREAD_OF("?1", "?3");

typedef struct place_t {
    int64_t no, seq;
} place_t;

typedef struct find_t {
    ac_words_query_t query;
    ac_buf_t words, numbers;
    place_t *places; /* by no, descending; a thread's newest message */
    int n_places, n_allocated;
    int64_t range, below; /* the current range of numbers; the index has been read from its end down to this row */
    bool complete;        /* all of it */
    int n_lookups;
    char time[AC_TIME_SIZE], id[AC_ID_SIZE];
} find_t;

/* The words as an expression of FTS5. Our words have no character that means anything there. */
static void expression_make(ac_buf_t *to, const ac_words_query_t *query)
{
    for (int i = 0; i < query->n_phrases; i++) {
        ac_buf_str(to, i ? " AND \"" : "\"");
        for (int k = 0; k < query->phrases[i].n; k++) {
            ac_buf_printf(to, k ? " %s" : "%s", query->words[query->phrases[i].first + k]);
        }
        ac_buf_str(to, query->open && i == query->n_phrases - 1 ? "\" *" : "\"");
    }
}

/* ---- places ---- */

static void place_add(find_t *find, int64_t number)
{
    int64_t no = number >> SEQ_BITS, seq = number & ((INT64_C(1) << SEQ_BITS) - 1);

    if (find->n_places && find->places[find->n_places - 1].no == no) {
        return;
    }
    if (find->n_places == find->n_allocated) {
        find->n_allocated = find->n_allocated ? 2 * find->n_allocated : 64;
        place_t *more = ac_alloc((size_t)find->n_allocated * sizeof(*more));
        if (find->n_places) {
            memcpy(more, find->places, (size_t)find->n_places * sizeof(*more));
        }
        free(find->places);
        find->places = more;
    }
    find->places[find->n_places++] = (place_t){no, seq};
}

/* Enters the owner's next lower range of numbers, if there is one. */
static apr_status_t range_next(find_t *find, ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    sqlite3_stmt *row;
    apr_status_t status = ac_sqlite_statement_row(&row, conn, sql_range,
                                                  AC_SQLITE_ARGS(ac_sqlite_text(op->owner), ac_sqlite_int(find->range)),
                                                  &op->err);

    find->complete = status == APR_SUCCESS && !row;
    if (row) {
        find->range = sqlite3_column_int64(row, 0);
        find->below = (find->range + 1) << RANGE_BITS;
        sqlite3_reset(row);
    }
    return status;
}

/* Reads at most `most` further places of the current range. *pn: how many there were. */
static apr_status_t places_read_range(int64_t *pn, find_t *find, ac_sqlite_conn_t *conn, ac_store_op_t *op,
                                      int64_t most)
{
    sqlite3_stmt *stmt;
    bool row = false;
    apr_status_t status =
        ac_sqlite_statement_start(&stmt, conn, sql_places,
                                  AC_SQLITE_ARGS(ac_sqlite_text(find->words.data),
                                                 ac_sqlite_int(find->range << RANGE_BITS), ac_sqlite_int(find->below)),
                                  &op->err);

    *pn = 0;
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
    }
    while (status == APR_SUCCESS && row) {
        find->below = sqlite3_column_int64(stmt, 0);
        place_add(find, find->below);
        if (++*pn == most) {
            sqlite3_reset(stmt);
            return APR_SUCCESS;
        }
        status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
    }
    find->below = find->range << RANGE_BITS;
    return status;
}

static apr_status_t places_read(find_t *find, ac_sqlite_conn_t *conn, ac_store_op_t *op, int64_t most)
{
    int64_t n = 0;
    apr_status_t status = APR_SUCCESS;

    while (status == APR_SUCCESS && !find->complete && most > 0) {
        if (find->range == INT64_MAX || find->below <= find->range << RANGE_BITS) {
            status = range_next(find, conn, op);
        } else {
            status = places_read_range(&n, find, conn, op, most);
            most -= n;
        }
    }
    return status;
}

/* Whether the words are rare, so that the places give the threads. */
static bool is_rare(const find_t *find)
{
    return find->complete && find->n_places <= MAX_THREADS;
}

/* The numbers of the threads, as JSON. */
static void numbers_make(find_t *find)
{
    for (int i = 0; i < find->n_places; i++) {
        ac_buf_printf(&find->numbers, "%c%" PRId64, i ? ',' : '[', find->places[i].no);
    }
    ac_buf_str(&find->numbers, find->n_places ? "]" : "[]");
}

static int by_number(const void *key, const void *place)
{
    int64_t a = *(const int64_t *)key, b = ((const place_t *)place)->no;

    return a > b ? -1 : a < b;
}

/* ---- the place in one thread ---- */

static apr_status_t place_look_up(int64_t *pseq, find_t *find, ac_sqlite_conn_t *conn, ac_store_op_t *op, int64_t no)
{
    sqlite3_stmt *row;
    apr_status_t status =
        ac_sqlite_statement_row(&row, conn, sql_place,
                                AC_SQLITE_ARGS(ac_sqlite_text(find->words.data), ac_sqlite_int(no << SEQ_BITS),
                                               ac_sqlite_int((no + 1) << SEQ_BITS)),
                                &op->err);

    find->n_lookups++;
    if (status == APR_SUCCESS && row) {
        *pseq = sqlite3_column_int64(row, 0) & ((INT64_C(1) << SEQ_BITS) - 1);
        sqlite3_reset(row);
    }
    return status;
}

/* *pseq: the message, 0: the title, -1: it has none. */
static apr_status_t place_find(int64_t *pseq, find_t *find, ac_sqlite_conn_t *conn, ac_store_op_t *op,
                               sqlite3_stmt *thread)
{
    int64_t no = sqlite3_column_int64(thread, sqlite3_column_count(thread) - 1);
    const char *title = (const char *)sqlite3_column_text(thread, 1);
    apr_status_t status = APR_SUCCESS;

    *pseq = -1;
    if (!conn->store->search) {
        *pseq = title && ac_words_match(&find->query, title) ? 0 : -1;
        return APR_SUCCESS;
    }
    if (!find->complete && no < find->below >> SEQ_BITS) {
        if (find->n_lookups < (find->query.open ? OPEN_LOOKUPS : LOOKUPS)) {
            return place_look_up(pseq, find, conn, op, no);
        }
        status = places_read(find, conn, op, INT64_MAX);
    }
    const place_t *place = bsearch(&no, find->places, (size_t)find->n_places, sizeof(*place), by_number);
    *pseq = place ? place->seq : -1;
    return status;
}

/* Adds the member `match` to the thread. */
static apr_status_t match_add(json_t *thread, find_t *find, ac_sqlite_conn_t *conn, ac_store_op_t *op, int64_t seq)
{
    json_t *match = json_pack("{s:n, s:n}", "message_id", "seq");
    const char *text = ac_json_peek_string(thread, "title", "");
    sqlite3_stmt *row = NULL;
    apr_status_t status = APR_SUCCESS;

    if (seq > 0) {
        status = ac_sqlite_statement_row(&row, conn, sql_message,
                                         AC_SQLITE_ARGS(ac_sqlite_string(json_object_get(thread, "id")),
                                                        ac_sqlite_int(seq), ac_sqlite_text(op->owner)),
                                         &op->err);
    }
    if (status == APR_SUCCESS && row) {
        ac_json_put(match, "message_id", ac_sqlite_statement_text(row, 0));
        ac_json_put(match, "seq", json_integer(seq));
        text = (const char *)sqlite3_column_text(row, 1);
    }
    ac_words_snippet(match, &find->query, text ? text : "");
    sqlite3_reset(row);
    return ac_json_put(thread, "match", match) ? status : ac_err_set(&op->err, AC_INTERNAL, "out of memory");
}

/* ---- the page ---- */

static apr_status_t found_add(json_t *data, find_t *find, ac_sqlite_conn_t *conn, ac_store_op_t *op, sqlite3_stmt *row)
{
    ac_sqlite_thread_t thread = {0};
    int64_t seq;
    apr_status_t status = place_find(&seq, find, conn, op, row);

    if (status != APR_SUCCESS || seq < 0) {
        return status;
    }
    status = ac_sqlite_thread_read(&thread, conn, row, &op->err);
    if (status == APR_SUCCESS) {
        status = match_add(thread.json, find, conn, op, seq);
    }
    if (status != APR_SUCCESS) {
        json_decref(thread.json);
        return status;
    }
    return json_array_append_new(data, thread.json) == 0 ? APR_SUCCESS
                                                         : ac_err_set(&op->err, AC_INTERNAL, "out of memory");
}

static apr_status_t found_read(json_t *data, find_t *find, ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    const ac_page_t *page = &op->page;
    const json_t *pinned = json_object_get(op->in, "pinned");
    bool by_place = conn->store->search && is_rare(find), row = false;
    const char *sql = by_place ? sql_of_places : strcmp(page->status, "deleted") == 0 ? sql_all_deleted : sql_all;
    ac_sqlite_arg_t end = {.type = AC_SQLITE_END};
    sqlite3_stmt *stmt;
    apr_status_t status = ac_sqlite_statement_start(
        &stmt, conn, sql,
        AC_SQLITE_ARGS(ac_sqlite_text(page->status), ac_sqlite_text(page->agent_id), ac_sqlite_text(op->owner),
                       ac_sqlite_text(find->id), ac_sqlite_text(find->time),
                       json_is_boolean(pinned) ? ac_sqlite_int(json_is_true(pinned)) : ac_sqlite_text(NULL),
                       ac_sqlite_text(ac_json_peek_string(op->in, "label", NULL)),
                       by_place ? ac_sqlite_text(find->numbers.data) : end),
        &op->err);

    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
    }
    while (status == APR_SUCCESS && row && (int)json_array_size(data) <= page->limit) {
        status = found_add(data, find, conn, op, stmt);
        if (status == APR_SUCCESS) {
            status = ac_sqlite_statement_step(&row, conn, stmt, &op->err);
        }
    }
    return status;
}

static apr_status_t find_begin(find_t *find, ac_store_op_t *op)
{
    const char *id = *op->page.after ? ac_store_cursor_read(find->time, &op->page) : LATEST;

    if (!id) {
        return ac_err_set(&op->err, AC_INVALID_REQUEST, "after is not a cursor of this list");
    }
    apr_cpystrn(find->id, id, sizeof(find->id));
    if (!*op->page.after) {
        apr_cpystrn(find->time, LATEST, sizeof(find->time));
    }
    ac_words_query(&find->query, ac_json_peek_string(op->in, "q", ""));
    ac_buf_init(&find->words, AC_MAX_REQUEST);
    ac_buf_init(&find->numbers, 24 * MAX_THREADS);
    find->range = INT64_MAX;
    expression_make(&find->words, &find->query);
    return find->words.failed ? ac_err_set(&op->err, AC_INTERNAL, "out of memory") : APR_SUCCESS;
}

apr_status_t ac_sqlite_find_threads(ac_sqlite_conn_t *conn, ac_store_op_t *op)
{
    find_t *find = ac_alloc(sizeof(*find));
    json_t *data = json_array();
    apr_status_t status;

    op->page.by_update = true;
    status = find_begin(find, op);
    if (status == APR_SUCCESS && conn->store->search && find->query.n_phrases) {
        status = places_read(find, conn, op, MAX_PLACES);
        if (is_rare(find)) {
            numbers_make(find);
        }
    }
    if (status == APR_SUCCESS && find->query.n_phrases && (find->n_places || !conn->store->search)) {
        status = found_read(data, find, conn, op);
    }
    ac_buf_free(&find->words);
    ac_buf_free(&find->numbers);
    free(find->places);
    free(find);
    if (status != APR_SUCCESS) {
        json_decref(data);
        return status;
    }
    bool more = (int)json_array_size(data) > op->page.limit;
    if (more) {
        json_array_remove(data, json_array_size(data) - 1);
    }
    return ac_sqlite_list_answer(op, data, more, more ? ac_store_cursor(&op->page, data) : NULL);
}
