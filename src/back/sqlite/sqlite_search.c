/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's full-text index: what is in it, and how it stays in step.
 *
 * The index `search` has the words of titles and messages, and no texts. A row's number is the thread's search_no, and
 * the message's seq (0: the title). An owner's numbers are in ranges of the owner's own, so a search reads no other
 * owner's part of the index. A number is never given twice.
 *
 * threads.search_to and search_title say what the index has of a thread: its messages up to that seq, and this title.
 * From them, whatever has changed a thread, each transaction finds before its commit what it has to add. -1 is a thread
 * of an older file, which the writer adds when it has nothing else to do. */
#include "sqlite_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#define SEQ_BITS 20
#define THREAD_BITS 19  /* of the threads of one range */
#define TEXT_MAX 262144 /* bytes of a message that are searched */
#define PART 500        /* messages that one step adds */
#define PENDING "(search_to < message_count OR search_title IS NOT title)"

static const char sql_pending[] =
    "SELECT id, owner, search_no, search_to, search_title, title, message_count FROM threads INDEXED BY "
    "threads_unsearched WHERE " PENDING " AND search_to >= 0 LIMIT 1";
static const char sql_old[] = "SELECT id, owner FROM threads INDEXED BY threads_unsearched WHERE " PENDING
                              " AND search_to = -1 LIMIT 1";
static const char sql_n_old[] = "SELECT count(*) FROM threads INDEXED BY threads_unsearched WHERE " PENDING
                                " AND search_to = -1";
static const char sql_begin[] = "UPDATE threads SET search_to = 0 WHERE id = ?1 AND owner = ?2";
static const char sql_range[] = "SELECT no, used FROM search_ranges WHERE owner = ?1 ORDER BY no DESC LIMIT 1";
static const char sql_range_new[] = "INSERT INTO search_ranges (owner, used) VALUES (?1, 1)";
static const char sql_range_use[] = "UPDATE search_ranges SET used = used + 1 WHERE no = ?1 AND owner = ?2";
static const char sql_number[] = "UPDATE threads SET search_no = ?2 WHERE id = ?1 AND owner = ?3";
static const char sql_texts[] =
    "SELECT seq, content FROM messages WHERE thread_id = ?1 AND seq > ?2 AND seq <= ?3 AND " AC_SQLITE_THREAD_OF(
        "?1", "?4") " ORDER BY seq LIMIT ?5";
static const char sql_add[] = "INSERT INTO search (rowid, words) VALUES (?1, ?2)";
static const char sql_drop[] = "INSERT INTO search (search, rowid, words) VALUES ('delete', ?1, ?2)";
static const char sql_done[] = "UPDATE threads SET search_to = ?2, search_title = ?3 WHERE id = ?1 AND owner = ?4";
static const char sql_state[] = "SELECT search_no, search_to, search_title FROM threads WHERE id = ?1 AND owner = ?2";

typedef struct indexed_t { /* a thread's part of the index */
    char id[AC_ID_SIZE], owner[AC_OWNER_SIZE];
    int64_t no, to, n_messages; /* no 0: it has no number */
    char *had, *title;          /* the title in the index; the thread's */
} indexed_t;

static char *search_text(sqlite3_stmt *row, int column)
{
    const char *text = (const char *)sqlite3_column_text(row, column);

    return text ? strdup(text) : NULL;
}

static void indexed_free(indexed_t *thread)
{
    free(thread->had);
    free(thread->title);
}

/* Writes the words of a text under this number, or removes them. */
static apr_status_t words_write(ac_sqlite_conn_t *conn, const char *sql, int64_t number, const char *text,
                                ac_err_t *err)
{
    size_t len = text ? strlen(text) : 0;
    ac_buf_t words;
    apr_status_t status;

    ac_buf_init(&words, 4 * TEXT_MAX);
    status = ac_words_put(&words, text ? text : "", len < TEXT_MAX ? len : ac_utf8_whole(text, TEXT_MAX));
    if (status == APR_SUCCESS && words.len) {
        status =
            ac_sqlite_statement_run(conn, sql, AC_SQLITE_ARGS(ac_sqlite_int(number), ac_sqlite_text(words.data)), err);
        conn->store->unmerged = conn->store->unmerged || sql == sql_drop;
    } else if (status != APR_SUCCESS) {
        ac_err_set(err, AC_INTERNAL, "out of memory");
    }
    ac_buf_free(&words);
    return status;
}

static apr_status_t number_give(indexed_t *thread, ac_sqlite_conn_t *conn, ac_err_t *err)
{
    int64_t range = 0, used = 0;
    sqlite3_stmt *row;
    apr_status_t status =
        ac_sqlite_statement_row(&row, conn, sql_range, AC_SQLITE_ARGS(ac_sqlite_text(thread->owner)), err);

    if (status == APR_SUCCESS && row) {
        range = sqlite3_column_int64(row, 0);
        used = sqlite3_column_int64(row, 1);
        sqlite3_reset(row);
    }
    if (status == APR_SUCCESS && range && used < INT64_C(1) << THREAD_BITS) {
        status = ac_sqlite_statement_run(conn, sql_range_use,
                                         AC_SQLITE_ARGS(ac_sqlite_int(range), ac_sqlite_text(thread->owner)), err);
    } else if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_run(conn, sql_range_new, AC_SQLITE_ARGS(ac_sqlite_text(thread->owner)), err);
        range = sqlite3_last_insert_rowid(conn->db);
        used = 0;
    }
    thread->no = range << THREAD_BITS | used;
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_run(conn, sql_number,
                                         AC_SQLITE_ARGS(ac_sqlite_text(thread->id), ac_sqlite_int(thread->no),
                                                        ac_sqlite_text(thread->owner)),
                                         err);
    }
    return status;
}

/* Writes the words of at most `limit` messages after `after` up to `to`; *plast: the last one's seq, or `after`. */
static apr_status_t messages_write(int64_t *plast, ac_sqlite_conn_t *conn, const char *sql, const indexed_t *thread,
                                   int64_t span[3], ac_err_t *err)
{
    sqlite3_stmt *stmt;
    bool row = false;
    apr_status_t status =
        ac_sqlite_statement_start(&stmt, conn, sql_texts,
                                  AC_SQLITE_ARGS(ac_sqlite_text(thread->id), ac_sqlite_int(span[0]),
                                                 ac_sqlite_int(span[1]), ac_sqlite_text(thread->owner),
                                                 ac_sqlite_int(span[2])),
                                  err);

    *plast = span[0];
    if (status == APR_SUCCESS) {
        status = ac_sqlite_statement_step(&row, conn, stmt, err);
    }
    while (status == APR_SUCCESS && row) {
        *plast = sqlite3_column_int64(stmt, 0);
        if (*plast < INT64_C(1) << SEQ_BITS) {
            status = words_write(conn, sql, thread->no << SEQ_BITS | *plast, (const char *)sqlite3_column_text(stmt, 1),
                                 err);
        }
        if (status == APR_SUCCESS) {
            status = ac_sqlite_statement_step(&row, conn, stmt, err);
        }
    }
    return status;
}

/* Adds what the index lacks of the thread, at most PART messages. */
static apr_status_t thread_index(indexed_t *thread, ac_sqlite_conn_t *conn, ac_err_t *err)
{
    int64_t last = thread->to, span[3] = {thread->to, thread->n_messages, PART};
    apr_status_t status = thread->no ? APR_SUCCESS : number_give(thread, conn, err);
    bool renamed = !thread->had != !thread->title || (thread->had && strcmp(thread->had, thread->title) != 0);

    if (status == APR_SUCCESS && renamed && thread->had) {
        status = words_write(conn, sql_drop, thread->no << SEQ_BITS, thread->had, err);
    }
    if (status == APR_SUCCESS && renamed && thread->title) {
        status = words_write(conn, sql_add, thread->no << SEQ_BITS, thread->title, err);
    }
    if (status == APR_SUCCESS && thread->to < thread->n_messages) {
        status = messages_write(&last, conn, sql_add, thread, span, err);
        /* Messages that are missing are an import's, which comes in parts, or damage: there is nothing to wait for. */
        last = last == thread->to ? thread->n_messages : last;
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    return ac_sqlite_statement_run(conn, sql_done,
                                   AC_SQLITE_ARGS(ac_sqlite_text(thread->id), ac_sqlite_int(last),
                                                  ac_sqlite_text(thread->title), ac_sqlite_text(thread->owner)),
                                   err);
}

static apr_status_t pending_next(bool *pany, ac_sqlite_conn_t *conn, ac_err_t *err)
{
    indexed_t thread = {.no = 0};
    sqlite3_stmt *row;
    apr_status_t status = ac_sqlite_statement_row(&row, conn, sql_pending, AC_SQLITE_NO_ARGS, err);

    *pany = status == APR_SUCCESS && row;
    if (!*pany) {
        return status;
    }
    apr_cpystrn(thread.id, (const char *)sqlite3_column_text(row, 0), sizeof(thread.id));
    apr_cpystrn(thread.owner, (const char *)sqlite3_column_text(row, 1), sizeof(thread.owner));
    thread.no = sqlite3_column_int64(row, 2);
    thread.to = sqlite3_column_int64(row, 3);
    thread.had = search_text(row, 4);
    thread.title = search_text(row, 5);
    thread.n_messages = sqlite3_column_int64(row, 6);
    sqlite3_reset(row);
    status = thread_index(&thread, conn, err);
    indexed_free(&thread);
    return status;
}

apr_status_t ac_sqlite_search_update(ac_sqlite_conn_t *conn, ac_err_t *err)
{
    bool any = conn->store->search;
    apr_status_t status = APR_SUCCESS;

    for (int i = 0; status == APR_SUCCESS && any && i <= AC_SQLITE_GROUP; i++) {
        status = pending_next(&any, conn, err);
    }
    return status;
}

/* One step of filling the index: adds a thread of an older file. */
static apr_status_t old_add(bool *pany, ac_sqlite_conn_t *conn, ac_err_t *err)
{
    char id[AC_ID_SIZE], owner[AC_OWNER_SIZE];
    sqlite3_stmt *row;
    apr_status_t status = pending_next(pany, conn, err);

    if (status != APR_SUCCESS || *pany) {
        return status;
    }
    status = ac_sqlite_statement_row(&row, conn, sql_old, AC_SQLITE_NO_ARGS, err);
    *pany = status == APR_SUCCESS && row;
    if (!*pany) {
        return status;
    }
    apr_cpystrn(id, (const char *)sqlite3_column_text(row, 0), sizeof(id));
    apr_cpystrn(owner, (const char *)sqlite3_column_text(row, 1), sizeof(owner));
    sqlite3_reset(row);
    status = ac_sqlite_statement_run(conn, sql_begin, AC_SQLITE_ARGS(ac_sqlite_text(id), ac_sqlite_text(owner)), err);
    return status == APR_SUCCESS ? pending_next(pany, conn, err) : status;
}

bool ac_sqlite_search_fill(ac_sqlite_conn_t *conn)
{
    bool any = false;
    ac_err_t err;

    ac_err_init(&err);
    conn->patience = ac_clock() + apr_time_from_msec(20);
    ac_sqlite_renew_wait_slice(conn->patience);
    if (!conn->db || sqlite3_exec(conn->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK) {
        return conn->db != NULL;
    }
    if (old_add(&any, conn, &err) != APR_SUCCESS) {
        any = false;
    }
    ac_sqlite_statement_reset(conn);
    if (!sqlite3_get_autocommit(conn->db) &&
        (err.kind != AC_OK || sqlite3_exec(conn->db, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)) {
        sqlite3_exec(conn->db, "ROLLBACK", NULL, NULL, NULL);
    }
    return any;
}

apr_status_t ac_sqlite_search_count(int64_t *pn, ac_sqlite_conn_t *conn, ac_err_t *err)
{
    sqlite3_stmt *row;
    apr_status_t status = ac_sqlite_statement_row(&row, conn, sql_n_old, AC_SQLITE_NO_ARGS, err);

    *pn = status == APR_SUCCESS && row ? sqlite3_column_int64(row, 0) : 0;
    return status;
}

apr_status_t ac_sqlite_search_forget(ac_sqlite_conn_t *conn, const char *id, const char *owner,
                                     const ac_sqlite_forget_t *what, ac_err_t *err)
{
    indexed_t thread = {.no = 0};
    sqlite3_stmt *row = NULL;
    int64_t last;
    apr_status_t status = conn->store->indexed
        ? ac_sqlite_statement_row(&row, conn, sql_state, AC_SQLITE_ARGS(ac_sqlite_text(id), ac_sqlite_text(owner)), err)
        : APR_SUCCESS;

    if (status != APR_SUCCESS || !row) {
        return status;
    }
    apr_cpystrn(thread.id, id, sizeof(thread.id));
    apr_cpystrn(thread.owner, owner, sizeof(thread.owner));
    thread.no = sqlite3_column_int64(row, 0);
    thread.to = sqlite3_column_int64(row, 1);
    thread.had = search_text(row, 2);
    sqlite3_reset(row);
    if (thread.no && thread.to > what->after) {
        int64_t span[3] = {what->after, thread.to, what->limit};
        status = messages_write(&last, conn, sql_drop, &thread, span, err);
    }
    if (status == APR_SUCCESS && thread.no && thread.had && what->title) {
        status = words_write(conn, sql_drop, thread.no << SEQ_BITS, thread.had, err);
    }
    if (status == APR_SUCCESS && what->again && thread.no && thread.to > what->after) {
        status = ac_sqlite_statement_run(conn, sql_done,
                                         AC_SQLITE_ARGS(ac_sqlite_text(id), ac_sqlite_int(what->after),
                                                        ac_sqlite_text(thread.had), ac_sqlite_text(owner)),
                                         err);
    }
    indexed_free(&thread);
    return status;
}
