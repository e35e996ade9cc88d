/* SPDX-License-Identifier: Apache-2.0 */
/* The knowledge base's index: a database that processes share, and that can be rebuilt from the folder at any time. */
#include "knowledge_internal.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VERSION 1 /* of the tables; an index of another version is deleted */
#define QUIET apr_time_from_sec(60)
#define PROGRESS_STEPS 20000 /* of SQLite's virtual machine between two checks of the deadline */

static const char tables[] =
    "CREATE TABLE IF NOT EXISTS document(id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, mtime INTEGER NOT NULL,"
    " size INTEGER NOT NULL, inode INTEGER NOT NULL);"
    /* A section's rowid is its document's id * 4096 + its position in the document. */
    "CREATE VIRTUAL TABLE IF NOT EXISTS section USING fts5(title, body,"
    " tokenize = 'porter unicode61 remove_diacritics 2');"
    "CREATE TABLE IF NOT EXISTS whole(since INTEGER NOT NULL);"
    "PRAGMA user_version = 1";
_Static_assert(VERSION == 1 && AC_KNOWLEDGE_SECTIONS == 4096, "the tables say so too");

/* ---- opening ---- */

/* Limits the log lines of an error that would otherwise be logged at every search. */
static bool may_log(void)
{
    static _Atomic apr_time_t last;
    apr_time_t now = ac_clock(), before = last;
    return (!before || now - before >= QUIET) && atomic_compare_exchange_strong(&last, &before, now);
}

static int look_at_clock(void *baton)
{
    const ac_knowledge_conn_t *conn = baton;
    return conn->deadline && ac_clock() >= conn->deadline;
}

static bool file_inode(const char *path, int64_t *pinode)
{
    struct stat info;
    *pinode = stat(path, &info) ? 0 : (int64_t)info.st_ino;
    return *pinode != 0;
}

bool ac_knowledge_index_is_valid(const ac_knowledge_conn_t *conn)
{
    int64_t inode;
    return file_inode(conn->path, &inode) && inode == conn->inode;
}

void ac_knowledge_index_close(ac_knowledge_conn_t *conn)
{
    if (conn) {
        sqlite3_close(conn->db);
        free(conn);
    }
}

static int read_version(sqlite3 *db, int *pversion)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &statement, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_step(statement);
        *pversion = code == SQLITE_ROW ? sqlite3_column_int(statement, 0) : 0;
        code = code == SQLITE_ROW ? SQLITE_OK : code;
    }
    sqlite3_finalize(statement);
    return code;
}

/* Runs in one transaction: one of several children creates the tables, and the others find them. */
static int make_tables(sqlite3 *db)
{
    int version = 0, code = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (code != SQLITE_OK) {
        return code;
    }
    code = read_version(db, &version);
    if (code == SQLITE_OK && version != 0 && version != VERSION) {
        code = SQLITE_NOTADB;
    }
    if (code == SQLITE_OK && version == 0) {
        code = sqlite3_exec(db, tables, NULL, NULL, NULL);
    }
    int end = sqlite3_exec(db, code == SQLITE_OK ? "COMMIT" : "ROLLBACK", NULL, NULL, NULL);
    return code == SQLITE_OK ? end : code;
}

/* SQLite would create the file with the umask's mode, but other users must not read the documents' text. SQLite gives
 * its journals the mode of the file. It still creates a file that another child has just removed as damaged. */
static int open_private(ac_knowledge_conn_t *conn)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, cause = ac_file_make(conn->path);
    if (cause && cause != EEXIST) {
        return SQLITE_CANTOPEN;
    }
    if (cause == EEXIST) {
        (void)chmod(conn->path, 0600); /* an existing file with another mode */
    }
    return sqlite3_open_v2(conn->path, &conn->db, flags, NULL);
}

static int knowledge_index_open_once(ac_knowledge_conn_t *conn)
{
    int version = 0, code = open_private(conn);
    if (code == SQLITE_OK) {
        sqlite3_busy_timeout(conn->db, AC_KNOWLEDGE_PATIENCE_MS);
        code = sqlite3_exec(conn->db,
                            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA temp_store = "
                            "MEMORY",
                            NULL, NULL, NULL);
    }
    if (code == SQLITE_OK) {
        code = read_version(conn->db, &version);
    }
    if (code == SQLITE_OK && version != VERSION) {
        code = make_tables(conn->db);
    }
    if (code == SQLITE_OK && !file_inode(conn->path, &conn->inode)) {
        code = SQLITE_CANTOPEN;
    }
    if (code != SQLITE_OK) {
        sqlite3_close(conn->db);
        conn->db = NULL;
    }
    return code;
}

/* Switching a new database to WAL needs exclusive access for a moment, and SQLite does not wait for that by itself. */
static int open_patiently(ac_knowledge_conn_t *conn)
{
    apr_time_t until = ac_clock() + apr_time_from_msec(AC_KNOWLEDGE_PATIENCE_MS);
    int code = knowledge_index_open_once(conn);
    while ((code & 0xff) == SQLITE_BUSY && ac_clock() < until) {
        sqlite3_sleep(10);
        code = knowledge_index_open_once(conn);
    }
    return code;
}

static void remove_index(const char *path)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    char name[4096];
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        if ((size_t)snprintf(name, sizeof(name), "%s%s", path, ends[i]) < sizeof(name)) {
            unlink(name);
        }
    }
}

static bool is_damage(int code)
{
    return (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB;
}

apr_status_t ac_knowledge_index_open(ac_knowledge_conn_t **pconn, const char *path, ac_err_t *err)
{
    ac_knowledge_conn_t *conn = ac_alloc(sizeof(*conn));
    conn->path = path;
    int code = open_patiently(conn);
    if (is_damage(code)) {
        ac_log(AC_M401, 0,
               "knowledge base[%s]: the index is damaged or of another version (%s); it is rebuilt "
               "from the folder",
               path, sqlite3_errstr(code));
        remove_index(path);
        code = open_patiently(conn);
    }
    if (code != SQLITE_OK) {
        free(conn);
        if (may_log()) {
            ac_log(AC_M402, 0,
                   "knowledge base[%s]: the index cannot be opened: %s; look at the state directory and "
                   "its owner",
                   path, sqlite3_errstr(code));
        }
        return ac_err_set(err, AC_TOOL_ERROR, "the knowledge base's index cannot be opened");
    }
    sqlite3_progress_handler(conn->db, PROGRESS_STEPS, look_at_clock, conn);
    *pconn = conn;
    return APR_SUCCESS;
}

/* ---- searching ---- */

apr_status_t ac_knowledge_index_failed(ac_knowledge_conn_t *conn, int code, ac_err_t *err)
{
    if ((code & 0xff) == SQLITE_INTERRUPT) {
        return ac_err_set(err, AC_TOOL_TIMEOUT, "the search took too long");
    }
    if (is_damage(code)) {
        conn->inode = 0; /* not valid any more: the next search opens the file again */
        remove_index(conn->path);
    }
    if (may_log()) {
        ac_log(AC_M403, 0,
               "knowledge base[%s]: %s while searching or bringing it up to date; look at the file, its "
               "directory and the disk",
               conn->path, sqlite3_errstr(code));
    }
    return ac_err_set(err, AC_TOOL_ERROR, "the knowledge base cannot be searched now");
}

static json_t *column_text(sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);
    return ac_json_text(text ? text : "");
}

static json_t *read_hit(sqlite3_stmt *statement)
{
    double score = -sqlite3_column_double(statement, 3);
    return json_pack("{s:o, s:o, s:o, s:f}", "title", column_text(statement, 0), "document", column_text(statement, 1),
                     "snippet", column_text(statement, 2), "score", (double)(int64_t)(score * 1000 + 0.5) / 1000);
}

/* Adds the hit if it still fits in the size. The first one is always added. Consumes hit. */
static bool keep_hit(json_t *results, json_t *hit, size_t *pleft)
{
    size_t len = strlen(ac_json_peek_string(hit, "title", "")) + strlen(ac_json_peek_string(hit, "document", "")) +
        strlen(ac_json_peek_string(hit, "snippet", "")) + 64;
    if (json_array_size(results) > 0 && len > *pleft) {
        json_decref(hit);
        return false;
    }
    *pleft -= len < *pleft ? len : *pleft;
    return json_array_append_new(results, hit) == 0;
}

static int read_hits(json_t *results, sqlite3 *db, const ac_knowledge_ask_t *ask)
{
    static const char sql[] = "SELECT s.title, d.path, CASE WHEN length(s.body) <= 1200 THEN s.body"
                              " ELSE snippet(section, 1, '', '', '\xe2\x80\xa6', 64) END, s.rank"
                              " FROM section s CROSS JOIN document d ON d.id = s.rowid / 4096"
                              " WHERE section MATCH ?1 AND s.rank MATCH 'bm25(5.0, 1.0)' ORDER BY s.rank LIMIT ?2";
    sqlite3_stmt *statement = NULL;
    size_t left = ask->result_max;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_text(statement, 1, ask->query, -1, SQLITE_STATIC);
        sqlite3_bind_int(statement, 2, ask->n_results);
        while ((code = sqlite3_step(statement)) == SQLITE_ROW && keep_hit(results, read_hit(statement), &left)) {
        }
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

static int count_hits(int64_t *ptotal, sqlite3 *db, const char *query)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, "SELECT count(*) FROM section WHERE section MATCH ?1", -1, &statement, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_text(statement, 1, query, -1, SQLITE_STATIC);
        code = sqlite3_step(statement);
        *ptotal = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
        code = code == SQLITE_ROW ? SQLITE_OK : code;
    }
    sqlite3_finalize(statement);
    return code;
}

apr_status_t ac_knowledge_index_search(json_t **presults, int64_t *ptotal, ac_knowledge_conn_t *conn,
                                       const ac_knowledge_ask_t *ask, ac_err_t *err)
{
    json_t *results = json_array();
    /* One transaction: the total and the results are from the same state. */
    int code = sqlite3_exec(conn->db, "BEGIN", NULL, NULL, NULL);
    if (code == SQLITE_OK) {
        code = read_hits(results, conn->db, ask);
        code = code == SQLITE_OK ? count_hits(ptotal, conn->db, ask->query) : code;
        sqlite3_exec(conn->db, "ROLLBACK", NULL, NULL, NULL);
    }
    if (code != SQLITE_OK) {
        json_decref(results);
        return ac_knowledge_index_failed(conn, code, err);
    }
    *presults = results;
    return APR_SUCCESS;
}
