/* SPDX-License-Identifier: Apache-2.0 */
/* Updates the index from the folder: new, changed and deleted documents, in transactions short enough for other
 * processes to write in between. */
#include "knowledge_internal.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define BATCH_BYTES (4 * 1024 * 1024) /* bytes of documents in one transaction */
#define BATCH_FILES 500
#define PATIENCE_MS 200 /* wait for another process's transaction, between two checks of the deadline */

typedef struct job_t {
    char *path;
    ac_knowledge_stamp_t stamp; /* as listed; of a deleted file: as indexed */
    bool gone;
} job_t;

typedef struct refresh_t {
    ac_knowledge_conn_t *conn;
    const char *root;
    ac_knowledge_files_t files;
    job_t *jobs;
    size_t n_jobs, at;
    bool whole; /* the index was complete once */
    apr_time_t deadline;
    sqlite3_stmt *find, *add, *drop, *drop_sections, *add_section;
    int64_t id; /* of the document that is being indexed */
    int n_sections;
} refresh_t;

/* ---- statements ---- */

static const char *const sql[] = {
    "SELECT id, mtime, size, inode FROM document WHERE path = ?1",
    "INSERT INTO document(path, mtime, size, inode) VALUES(?1, ?2, ?3, ?4)",
    "DELETE FROM document WHERE id = ?1",
    "DELETE FROM section WHERE rowid >= ?1 * 4096 AND rowid < (?1 + 1) * 4096",
    "INSERT INTO section(rowid, title, body) VALUES(?1, ?2, ?3)",
};

static int knowledge_refresh_prepare(refresh_t *r)
{
    sqlite3_stmt **const into[] = {&r->find, &r->add, &r->drop, &r->drop_sections, &r->add_section};
    int code = SQLITE_OK;
    for (size_t i = 0; i < sizeof(sql) / sizeof(sql[0]) && code == SQLITE_OK; i++) {
        code = sqlite3_prepare_v2(r->conn->db, sql[i], -1, into[i], NULL);
    }
    return code;
}

/* Runs a statement without rows. */
static int knowledge_refresh_run(sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    sqlite3_reset(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int exec(refresh_t *r, const char *text)
{
    return sqlite3_exec(r->conn->db, text, NULL, NULL, NULL);
}

static ac_knowledge_stamp_t stamp_at(sqlite3_stmt *statement, int column)
{
    return (ac_knowledge_stamp_t){.mtime = sqlite3_column_int64(statement, column),
                                  .size = sqlite3_column_int64(statement, column + 1),
                                  .inode = sqlite3_column_int64(statement, column + 2)};
}

/* ---- finding changes ---- */

static void add_job(refresh_t *r, const char *path, const ac_knowledge_stamp_t *stamp, bool gone)
{
    if ((r->n_jobs & (r->n_jobs - 1)) == 0) { /* 0 or a power of two: full */
        job_t *jobs = realloc(r->jobs, (r->n_jobs ? r->n_jobs * 2 : 1) * sizeof(*jobs));
        if (!jobs) {
            abort();
        }
        r->jobs = jobs;
    }
    job_t *job = &r->jobs[r->n_jobs++];
    job->path = strdup(path);
    job->stamp = *stamp;
    job->gone = gone;
    if (!job->path) {
        abort();
    }
}

/* Both lists are in the order of their paths. */
static int compare_lists(refresh_t *r)
{
    sqlite3_stmt *rows = NULL;
    size_t i = 0;
    int code =
        sqlite3_prepare_v2(r->conn->db, "SELECT mtime, size, inode, path FROM document ORDER BY path", -1, &rows, NULL);
    while (code == SQLITE_OK && sqlite3_step(rows) == SQLITE_ROW) {
        const char *path = (const char *)sqlite3_column_text(rows, 3);
        ac_knowledge_stamp_t stamp = stamp_at(rows, 0);
        path = path ? path : "";
        while (i < r->files.n_items && strcmp(r->files.items[i].path, path) < 0) {
            add_job(r, r->files.items[i].path, &r->files.items[i].stamp, false);
            i++;
        }
        if (i == r->files.n_items || strcmp(r->files.items[i].path, path) != 0) {
            add_job(r, path, &stamp, true);
            continue;
        }
        if (!ac_knowledge_folder_same(&r->files.items[i].stamp, &stamp)) {
            add_job(r, path, &r->files.items[i].stamp, false);
        }
        i++;
    }
    code = code == SQLITE_OK ? sqlite3_reset(rows) : code;
    sqlite3_finalize(rows);
    for (; code == SQLITE_OK && i < r->files.n_items; i++) {
        add_job(r, r->files.items[i].path, &r->files.items[i].stamp, false);
    }
    return code;
}

static int look_whether_whole(refresh_t *r)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(r->conn->db, "SELECT 1 FROM whole LIMIT 1", -1, &statement, NULL);
    if (code == SQLITE_OK) {
        r->whole = sqlite3_step(statement) == SQLITE_ROW;
        code = sqlite3_reset(statement);
    }
    sqlite3_finalize(statement);
    return code;
}

/* ---- applying changes ---- */

static bool add_section(void *baton, const char *title, const char *body, size_t len)
{
    refresh_t *r = baton;
    sqlite3_bind_int64(r->add_section, 1, r->id * AC_KNOWLEDGE_SECTIONS + r->n_sections++);
    sqlite3_bind_text(r->add_section, 2, title, -1, SQLITE_STATIC);
    sqlite3_bind_text(r->add_section, 3, body, (int)len, SQLITE_STATIC);
    return knowledge_refresh_run(r->add_section) == SQLITE_OK;
}

static int drop_document(refresh_t *r, int64_t id)
{
    sqlite3_bind_int64(r->drop_sections, 1, id);
    sqlite3_bind_int64(r->drop, 1, id);
    int code = knowledge_refresh_run(r->drop_sections);
    return code == SQLITE_OK ? knowledge_refresh_run(r->drop) : code;
}

static int knowledge_refresh_add_document(refresh_t *r, const job_t *job, const ac_knowledge_stamp_t *stamp)
{
    sqlite3_bind_text(r->add, 1, job->path, -1, SQLITE_STATIC);
    sqlite3_bind_int64(r->add, 2, stamp->mtime);
    sqlite3_bind_int64(r->add, 3, stamp->size);
    sqlite3_bind_int64(r->add, 4, stamp->inode);
    int code = knowledge_refresh_run(r->add);
    r->id = sqlite3_last_insert_rowid(r->conn->db);
    r->n_sections = 0;
    return code;
}

static const char *why_not(apr_status_t status)
{
    return status == ENOSPC ? "it is larger than 2 MB"
        : status == EINVAL  ? "it is not UTF-8 text"
                            : "it cannot be "
                              "read";
}

/* A file that is not a valid document gets a row too, so that it is not read again until it changes. */
static int index_file(refresh_t *r, const job_t *job, ac_buf_t *text)
{
    ac_knowledge_stamp_t stamp = job->stamp;
    apr_status_t status = ac_knowledge_folder_read(text, &stamp, r->root, job->path);
    if (status == ENOENT) {
        return SQLITE_OK;
    }
    int code = knowledge_refresh_add_document(r, job, &stamp);
    if (code == SQLITE_OK && status != APR_SUCCESS) {
        ac_log(AC_M404, status, "knowledge base[%s]: %s is left out: %s", r->root, job->path, why_not(status));
        return SQLITE_OK;
    }
    if (code == SQLITE_OK && text->len &&
        !ac_knowledge_sections_split(job->path, text->data, text->len, add_section, r)) {
        code = sqlite3_errcode(r->conn->db);
        code = code == SQLITE_OK || code == SQLITE_DONE ? SQLITE_NOMEM : code;
    }
    return code;
}

/* Another process may have applied the change since the lists were compared. */
static int do_job(refresh_t *r, const job_t *job, ac_buf_t *text)
{
    ac_knowledge_stamp_t stamp = {0};
    int64_t id = 0;
    ac_buf_clear(text);
    sqlite3_bind_text(r->find, 1, job->path, -1, SQLITE_STATIC);
    int code = sqlite3_step(r->find);
    bool found = code == SQLITE_ROW;
    if (found) {
        id = sqlite3_column_int64(r->find, 0);
        stamp = stamp_at(r->find, 1);
    }
    sqlite3_reset(r->find);
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
        return code;
    }
    bool same = found && ac_knowledge_folder_same(&stamp, &job->stamp);
    if (job->gone) {
        return same ? drop_document(r, id) : SQLITE_OK;
    }
    if (same) {
        return SQLITE_OK;
    }
    code = found ? drop_document(r, id) : SQLITE_OK;
    return code == SQLITE_OK ? index_file(r, job, text) : code;
}

static bool is_late(const refresh_t *r)
{
    return r->deadline && ac_clock() >= r->deadline;
}

static int run_batch(refresh_t *r, ac_buf_t *text)
{
    size_t n_bytes = 0;
    int code = exec(r, "BEGIN IMMEDIATE");
    if (code != SQLITE_OK) {
        return code;
    }
    size_t at = r->at;
    for (int n = 0; code == SQLITE_OK && at < r->n_jobs && n < BATCH_FILES && n_bytes < BATCH_BYTES; n++, at++) {
        if (n && is_late(r)) {
            break;
        }
        code = do_job(r, &r->jobs[at], text);
        n_bytes += text->len;
    }
    if (code == SQLITE_OK && at == r->n_jobs && !r->whole) {
        code = exec(r, "INSERT INTO whole VALUES(strftime('%s', 'now'))");
    }
    code = code == SQLITE_OK ? exec(r, "COMMIT") : code;
    if (code != SQLITE_OK) {
        exec(r, "ROLLBACK");
        return code;
    }
    r->whole = r->whole || at == r->n_jobs;
    r->at = at;
    return SQLITE_OK;
}

/* While another process writes: an existing index is used as it is; without one, this waits. */
static int run_batches(refresh_t *r)
{
    ac_buf_t text;
    ac_buf_init(&text, AC_KNOWLEDGE_FILE);
    int code = knowledge_refresh_prepare(r);
    bool first = true;
    while (code == SQLITE_OK && (first || r->at < r->n_jobs)) {
        code = run_batch(r, &text);
        bool busy = (code & 0xff) == SQLITE_BUSY;
        if (busy && !r->whole && !is_late(r)) {
            code = look_whether_whole(r);
            continue;
        }
        first = false;
        if (code == SQLITE_OK && r->at < r->n_jobs && is_late(r)) {
            code = SQLITE_BUSY;
        }
    }
    ac_buf_free(&text);
    return code;
}

static void refresh_free(refresh_t *r)
{
    sqlite3_finalize(r->find);
    sqlite3_finalize(r->add);
    sqlite3_finalize(r->drop);
    sqlite3_finalize(r->drop_sections);
    sqlite3_finalize(r->add_section);
    for (size_t i = 0; i < r->n_jobs; i++) {
        free(r->jobs[i].path);
    }
    free(r->jobs);
    ac_knowledge_folder_free(&r->files);
}

static int refresh(refresh_t *r, ac_knowledge_state_t *pstate)
{
    pstate->folder = ac_knowledge_folder_list(&r->files, r->root);
    pstate->cut = r->files.cut;
    int code = look_whether_whole(r);
    if (code == SQLITE_OK && pstate->folder == APR_SUCCESS) {
        code = compare_lists(r);
    }
    if (code == SQLITE_OK && pstate->folder == APR_SUCCESS && (r->n_jobs || !r->whole)) {
        code = run_batches(r);
    }
    pstate->whole = r->whole;
    return code;
}

apr_status_t ac_knowledge_refresh(ac_knowledge_conn_t *conn, const char *root, ac_knowledge_state_t *pstate,
                                  ac_err_t *err)
{
    refresh_t r = {.conn = conn, .root = root, .deadline = conn->deadline};
    conn->deadline = 0; /* a transaction that has come this far is completed */
    sqlite3_busy_timeout(conn->db, PATIENCE_MS);
    int code = refresh(&r, pstate);
    refresh_free(&r);
    sqlite3_busy_timeout(conn->db, AC_KNOWLEDGE_PATIENCE_MS);
    conn->deadline = r.deadline;
    if (code == SQLITE_OK) {
        return APR_SUCCESS;
    }
    return (code & 0xff) == SQLITE_BUSY ? APR_EAGAIN : ac_knowledge_index_failed(conn, code, err);
}
