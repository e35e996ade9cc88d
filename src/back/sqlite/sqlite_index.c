/* SPDX-License-Identifier: Apache-2.0 */
/* The table of the embedded store's full-text index as a whole: it is made, merged, and made again when it is damaged.
 * sqlite_search.c has its contents.
 *
 * FTS5 only marks removed words. They leave the file when the parts of the index that have them are merged. A purge
 * merges the index in steps, so that other writes come in between. */
#include "sqlite_internal.h"

#include <stdlib.h>
#include <string.h>

#define LEVELS_MOST 32 /* of the index's parts, more than which are made fewer */
#define LEVELS_KEPT 16
#define PAGES 64 /* that a step of a merge writes, approximately */
#define MERGE_EVERY apr_time_from_sec(86400)
#define REBUILD_PATIENCE apr_time_from_sec(1)

static const char sql_make[] = "CREATE VIRTUAL TABLE IF NOT EXISTS search USING fts5(words, content = '',"
                               " columnsize = 0, prefix = '1 2 3', tokenize = 'ascii')";
static const char sql_is_there[] = "SELECT rowid FROM search LIMIT 0";
static const char sql_merge[] = "INSERT INTO search (search, rank) VALUES ('merge', ?1)";
/* FTS5 must be able to read the two records of an empty index before it lets its table be dropped. */
static const char sql_drop_all[] = "DELETE FROM search_data; INSERT INTO search_data (id, block) VALUES (1, x''),"
                                   " (10, x'00000000000000'); DROP TABLE search";
/* The numbers of threads stay theirs. */
static const char sql_all_old[] = "UPDATE threads SET search_to = -1, search_title = NULL";

apr_status_t ac_sqlite_index_prepare(ac_sqlite_conn_t *conn, ac_err_t *err)
{
    ac_sqlite_t *store = conn->store;
    int code = sqlite3_exec(conn->db, store->search ? sql_make : sql_is_there, NULL, NULL, NULL);

    store->indexed = code == SQLITE_OK;
    store->search_old = store->search && store->indexed;
    if (code == SQLITE_ERROR && store->search) { /* no such module */
        store->search = false;
        ac_log(AC_M210, 0, "store sqlite[%s]: this SQLite has no FTS5; GET /threads?q= finds titles only", store->path);
    }
    if (code == SQLITE_CORRUPT_VTAB) {
        ac_sqlite_index_damaged(conn);
        return APR_SUCCESS;
    }
    return code == SQLITE_OK || code == SQLITE_ERROR ? APR_SUCCESS : ac_sqlite_conn_fail(conn, code, err);
}

/* ---- merging ---- */

/* *pany: there was something to merge. A negative number of pages begins with all parts. */
static apr_status_t merge_step(bool *pany, ac_sqlite_conn_t *conn, int64_t pages, ac_err_t *err)
{
    int before = sqlite3_total_changes(conn->db);
    apr_status_t status = ac_sqlite_statement_run(conn, sql_merge, AC_SQLITE_ARGS(ac_sqlite_int(pages)), err);

    *pany = sqlite3_total_changes(conn->db) - before >= 2; /* as FTS5's documentation says */
    return status;
}

bool ac_sqlite_index_merge_due(const ac_sqlite_conn_t *conn, bool now)
{
    const ac_sqlite_t *store = conn->store;

    return store->indexed && (now || (store->unmerged && (!store->merged || ac_clock() - store->merged > MERGE_EVERY)));
}

/* FTS5's record of its parts (fts5_index.c of SQLite): a cookie of four bytes; then as numbers of SQLite's form the
 * count of levels, the count of parts, a counter; and of each level, the newest first, two counts and three numbers
 * for each of its parts. A merge of all parts adds a level and leaves the others empty. FTS5 takes a record with 2000
 * levels for damaged. Empty levels mean nothing. */
#define RECORD_COOKIE 4
static const char sql_record[] = "SELECT block FROM search_data WHERE id = 10";
static const char sql_record_set[] = "UPDATE search_data SET block = ?1 WHERE id = 10";

/* Reads a number at *pat; a record that ends within it gives 0, and *pat behind the end. */
static uint64_t record_number(const unsigned char *record, int n, int *pat)
{
    uint64_t number = 0;

    for (int i = 0; i < 9 && *pat < n; i++) {
        unsigned char byte = record[(*pat)++];
        number = i == 8 ? number << 8 | byte : number << 7 | (byte & 0x7f);
        if (i == 8 || !(byte & 0x80)) {
            return number;
        }
    }
    *pat = n + 1;
    return 0;
}

/* Copies the record without the first empty levels that are too many. Returns the size of the copy; 0: the record has
 * not so many, or another form. */
static int record_trim(unsigned char *copy, const unsigned char *record, int n)
{
    int at = RECORD_COOKIE, to;
    uint64_t n_levels = n > RECORD_COOKIE && record[at] != 0xff ? record_number(record, n, &at) : 0, n_left = n_levels;
    int counts = at;

    if (n_levels <= LEVELS_MOST) {
        return 0;
    }
    record_number(record, n, &at);
    record_number(record, n, &at);
    if (at > n) {
        return 0;
    }
    memcpy(copy, record, RECORD_COOKIE);
    memcpy(copy + RECORD_COOKIE + 1, record + counts, (size_t)(at - counts));
    to = RECORD_COOKIE + 1 + at - counts;
    for (uint64_t i = 0; i < n_levels; i++) {
        int begin = at;
        record_number(record, n, &at);
        uint64_t n_parts = record_number(record, n, &at);
        for (uint64_t number = 0; number < 3 * n_parts && at <= n; number++) {
            record_number(record, n, &at);
        }
        if (at > n) {
            return 0;
        }
        if (n_parts == 0 && n_left > LEVELS_KEPT) {
            n_left--;
            continue;
        }
        memcpy(copy + to, record + begin, (size_t)(at - begin));
        to += at - begin;
    }
    copy[RECORD_COOKIE] = (unsigned char)n_left;
    return at == n && n_left < 128 ? to : 0;
}

/* FTS5 has read the record for the merge just now, and reads it again for the next change. */
static apr_status_t levels_trim(ac_sqlite_conn_t *conn, ac_err_t *err)
{
    sqlite3_stmt *stmt = NULL;
    unsigned char *copy = NULL;
    int n = 0, code = sqlite3_prepare_v2(conn->db, sql_record, -1, &stmt, NULL);

    if (code == SQLITE_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        const void *record = sqlite3_column_blob(stmt, 0);
        int size = sqlite3_column_bytes(stmt, 0);
        copy = malloc((size_t)size + 1);
        n = copy && record ? record_trim(copy, record, size) : 0;
        code = SQLITE_OK;
    }
    sqlite3_finalize(stmt);
    stmt = NULL;
    if (code == SQLITE_OK && n) {
        code = sqlite3_prepare_v2(conn->db, sql_record_set, -1, &stmt, NULL);
    }
    if (stmt) {
        sqlite3_bind_blob(stmt, 1, copy, n, SQLITE_STATIC);
        code = sqlite3_step(stmt);
        sqlite3_finalize(stmt);
    }
    free(copy);
    return code == SQLITE_OK || code == SQLITE_DONE ? APR_SUCCESS : ac_sqlite_conn_fail(conn, code, err);
}

apr_status_t ac_sqlite_index_merge(int64_t *pstep, ac_sqlite_conn_t *conn, ac_err_t *err)
{
    bool begins = *pstep % 2 == 0, any;
    apr_status_t status = merge_step(&any, conn, begins ? -PAGES : PAGES, err);

    if (status == APR_SUCCESS && !any) {
        *pstep += begins ? 2 : 1; /* begun without anything to merge, or at its end */
    } else if (status == APR_SUCCESS && begins) {
        (*pstep)++;
    }
    if (status == APR_SUCCESS && *pstep >= AC_SQLITE_INDEX_MERGED) {
        status = levels_trim(conn, err);
    }
    if (status == APR_SUCCESS && *pstep >= AC_SQLITE_INDEX_MERGED) {
        conn->store->unmerged = false;
        conn->store->merged = ac_clock();
    }
    return status;
}

/* ---- making it again ---- */

static int64_t schema_version(sqlite3 *db)
{
    sqlite3_stmt *stmt = NULL;
    int64_t version = 0;

    if (sqlite3_prepare_v2(db, "PRAGMA schema_version", -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_step(stmt) == SQLITE_ROW) {
        version = sqlite3_column_int64(stmt, 0);
    }
    sqlite3_finalize(stmt);
    return version;
}

void ac_sqlite_index_damaged(const ac_sqlite_conn_t *conn)
{
    ac_sqlite_t *store = conn->store;
    int64_t version = schema_version(conn->db);

    pthread_mutex_lock(&store->lock);
    bool known = store->damaged == version;
    store->damaged = version;
    pthread_mutex_unlock(&store->lock);
    pthread_cond_signal(&store->written);
    if (!known) {
        ac_log(AC_M211, 0, "store sqlite[%s]: the full-text index is damaged; it is made again from the messages",
               store->path);
    }
}

/* Returns SQLITE_DONE if another process was faster. */
static int index_replace(ac_sqlite_conn_t *conn, int64_t damaged)
{
    const char *const steps[] = {sql_drop_all, sql_all_old, conn->store->search ? sql_make : ""};
    int code = sqlite3_exec(conn->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

    if (code == SQLITE_OK && schema_version(conn->db) != damaged) {
        code = SQLITE_DONE;
    }
    for (size_t i = 0; code == SQLITE_OK && i < sizeof(steps) / sizeof(*steps); i++) {
        code = sqlite3_exec(conn->db, steps[i], NULL, NULL, NULL);
    }
    if (code == SQLITE_OK) {
        code = sqlite3_exec(conn->db, "COMMIT", NULL, NULL, NULL);
    }
    if (!sqlite3_get_autocommit(conn->db)) {
        sqlite3_exec(conn->db, "ROLLBACK", NULL, NULL, NULL);
    }
    return code;
}

void ac_sqlite_index_rebuild(ac_sqlite_conn_t *conn, int64_t damaged)
{
    ac_sqlite_t *store = conn->store;

    conn->patience = ac_clock() + REBUILD_PATIENCE;
    ac_sqlite_renew_wait_slice(conn->patience);
    int code = index_replace(conn, damaged);
    if (code == SQLITE_OK || code == SQLITE_DONE) {
        store->indexed = store->search_old = store->search;
    } else if ((code & 0xff) != SQLITE_BUSY && (code & 0xff) != SQLITE_LOCKED) {
        store->search = store->indexed = false; /* until the next start */
        ac_sqlite_conn_fail(conn, code, NULL);
    }
}
