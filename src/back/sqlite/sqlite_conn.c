/* SPDX-License-Identifier: Apache-2.0 */
/* The store's connections: opening them, waiting for locks, and the errors of SQLite. */
#include "sqlite_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>

#define OPEN_PATIENCE apr_time_from_sec(10) /* several children start at once and migrate one after another */
#define OPEN_PAUSE apr_time_from_sec(1)
#define LOCK_PAUSE apr_time_from_msec(100) /* before a connection is opened again after a failure of locks */
#define EPISODE_QUIET apr_time_from_sec(60)
#define PROGRESS_STEPS 20000 /* of SQLite's virtual machine between two checks of the deadline */
#define MMAP_SIZE "67108864"
#define WAL_KEPT "67108864" /* bytes that the write-ahead log keeps when it restarts */

/* ---- errors ---- */

static void sqlite_conn_log_trouble(const ac_sqlite_conn_t *conn, int code)
{
    const char *path = conn->store->path, *reason = sqlite3_errstr(code);

    switch (code) {
    case SQLITE_FULL:
        ac_log(AC_M204, 0,
               "store sqlite[%s]: %s while writing; nothing new is stored until there is room: free "
               "space on its file system",
               path, reason);
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        ac_log(AC_M202, 0,
               "store sqlite[%s]: %s; restore the file from a backup, or move it away to begin with an "
               "empty one",
               path, reason);
        break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        ac_log(AC_M206, 0,
               "store sqlite[%s]: another process kept it locked for too long; look for one that has it "
               "open, as a backup or an sqlite3 shell",
               path);
        break;
    default:
        ac_log(AC_M205, 0, "store sqlite[%s]: %s (SQLite %d) while %s; look at the file, its directory and the disk",
               path, reason, code, conn->writes ? "writing" : "reading");
    }
}

bool ac_sqlite_conn_outage_begin(ac_sqlite_conn_t *conn, int code)
{
    ac_sqlite_outage_t *episodes = conn->store->episodes, *episode = &episodes[conn->writes];
    bool begins;

    pthread_mutex_lock(&conn->store->lock);
    begins = episode->code != code && (conn->writes || episodes[1].code != code);
    episode->code = code;
    episode->last = ac_clock();
    pthread_mutex_unlock(&conn->store->lock);
    return begins;
}

void ac_sqlite_conn_outage_end(ac_sqlite_conn_t *conn)
{
    ac_sqlite_outage_t *episode = &conn->store->episodes[conn->writes];
    bool ends;

    pthread_mutex_lock(&conn->store->lock);
    ends = episode->code && ac_clock() - episode->last > EPISODE_QUIET;
    if (ends) {
        episode->code = 0;
    }
    if (conn->writes) {
        conn->store->next_renewal = conn->store->renewal_pause = 0;
    }
    pthread_mutex_unlock(&conn->store->lock);
    if (ends) {
        ac_log(AC_M207, 0, "store sqlite[%s]: %s works again", conn->store->path, conn->writes ? "writing" : "reading");
    }
}

apr_status_t ac_sqlite_conn_fail(ac_sqlite_conn_t *conn, int code, ac_err_t *err)
{
    int primary = code & 0xff;

    if (primary == SQLITE_CONSTRAINT) {
        return ac_err_set(err, AC_IDEMPOTENCY_CONFLICT, "an object with this id exists already");
    }
    if (primary == SQLITE_INTERRUPT) {
        return ac_err_set(err, AC_STORE_TIMEOUT, "reading took longer than it may");
    }
    if (code == SQLITE_CORRUPT_VTAB) {
        ac_sqlite_index_damaged(conn);
        return ac_err_set(err, AC_STORE_ERROR, "the full-text index is damaged, and is being made again");
    }
    if (ac_sqlite_conn_outage_begin(conn, primary)) {
        sqlite_conn_log_trouble(conn, primary);
    }
    ac_sqlite_renew(conn, code);
    if (primary == SQLITE_BUSY || primary == SQLITE_LOCKED) {
        return ac_err_set(err, AC_STORE_TIMEOUT, "another process kept the database locked");
    }
    return ac_err_set(err, AC_STORE_ERROR, "the database failed: %s", sqlite3_errstr(primary));
}

apr_status_t ac_sqlite_conn_fail_row(ac_sqlite_conn_t *conn, ac_err_t *err)
{
    return ac_sqlite_conn_fail(conn, SQLITE_CORRUPT, err);
}

/* ---- waiting ---- */

/* SQLite's own waits grow to 100 ms and favour one child by chance; short waits of random length share the lock more
 * evenly. */
static int on_busy(void *baton, int n_tries)
{
    ac_sqlite_conn_t *conn = baton;
    apr_time_t now = ac_clock();
    apr_interval_time_t most = (apr_interval_time_t)200 << (n_tries < 4 ? n_tries : 4);

    conn->contended = now;
    if (now >= conn->patience) {
        return 0;
    }
    apr_sleep(50 + (apr_interval_time_t)(ac_random() % (uint64_t)most));
    return 1;
}

static int on_progress(void *baton)
{
    const ac_sqlite_conn_t *conn = baton;

    return conn->deadline && ac_clock() >= conn->deadline;
}

static int on_wal(void *baton, sqlite3 *db, const char *name, int n_pages)
{
    ac_sqlite_conn_t *conn = baton;

    (void)db;
    (void)name;
    conn->wal_pages = n_pages;
    return SQLITE_OK;
}

/* ---- opening ---- */

/* SQLite would create the file with the umask's mode, but other users must not read conversations. Only a missing file
 * is opened here: closing a descriptor of a file that SQLite has open would release SQLite's locks. */
static apr_status_t file_make(const char *path, ac_err_t *err)
{
    char directory[PATH_MAX], reason[120];
    int cause = ac_file_make(path), fd;

    if (cause == EEXIST) {
        return APR_SUCCESS;
    }
    if (cause) {
        return ac_err_set(err, AC_STORE_ERROR, "the database file cannot be made: %s",
                          apr_strerror(cause, reason, sizeof(reason)));
    }
    apr_cpystrn(directory, path, sizeof(directory));
    fd = open(dirname(directory), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd); /* the directory entry survives a power cut too, if the file system supports that */
        close(fd);
    }
    return APR_SUCCESS;
}

static apr_status_t conn_setup(ac_sqlite_conn_t *conn, ac_err_t *err)
{
    static const char common[] = "PRAGMA foreign_keys = OFF; PRAGMA temp_store = MEMORY; PRAGMA mmap_size = " MMAP_SIZE;
    static const char writer[] = "PRAGMA wal_autocheckpoint = 0; PRAGMA secure_delete = ON; "
                                 "PRAGMA journal_size_limit = " WAL_KEPT;
    apr_status_t status;
    int code;

    sqlite3_extended_result_codes(conn->db, 1);
    sqlite3_busy_handler(conn->db, on_busy, conn);
    code = sqlite3_exec(conn->db, common, NULL, NULL, NULL);
    if (code == SQLITE_OK && conn->writes) {
        code = sqlite3_exec(conn->db, writer, NULL, NULL, NULL);
    }
    if (code == SQLITE_OK && conn->writes) {
        code = sqlite3_exec(conn->db,
                            conn->store->sync_full ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL", NULL,
                            NULL, NULL);
    }
    if (code != SQLITE_OK) {
        return ac_sqlite_conn_fail(conn, code, err);
    }
    if (!conn->writes) {
        sqlite3_progress_handler(conn->db, PROGRESS_STEPS, on_progress, conn);
        return ac_sqlite_schema_check(conn, err);
    }
    /* A process that died between a commit and its checkpoint leaves words of forgotten owners in the log. */
    conn->truncates = true;
    /* Checkpoints run after the answers, not inside a commit: sqlite_group.c. */
    sqlite3_wal_hook(conn->db, on_wal, conn);
    status = ac_sqlite_schema_prepare(conn, err);
    return status == APR_SUCCESS ? ac_sqlite_index_prepare(conn, err) : status;
}

static apr_status_t conn_open(ac_sqlite_conn_t *conn, apr_time_t until, ac_err_t *err)
{
    int flags = (conn->writes ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) | SQLITE_OPEN_NOMUTEX;
    apr_status_t status = APR_SUCCESS;
    int code;

    conn->patience = ac_clock() + OPEN_PATIENCE < until ? ac_clock() + OPEN_PATIENCE : until;
    conn->deadline = 0;
    ac_sqlite_renew_wait_slice(conn->patience);
    if (conn->writes) {
        status = file_make(conn->store->path, err);
    }
    if (status != APR_SUCCESS) {
        if (ac_sqlite_conn_outage_begin(conn, SQLITE_CANTOPEN)) {
            sqlite_conn_log_trouble(conn, SQLITE_CANTOPEN);
        }
        ac_sqlite_renew_leave(conn);
        return status;
    }
    const char *vfs = conn->writes && *conn->store->writer_vfs_name ? conn->store->writer_vfs_name
                                                                    : conn->store->vfs_name;
    code = sqlite3_open_v2(conn->store->path, &conn->db, flags, *vfs ? vfs : NULL);
    status = code == SQLITE_OK ? conn_setup(conn, err) : ac_sqlite_conn_fail(conn, code, err);
    if (status != APR_SUCCESS) {
        ac_sqlite_conn_close(conn);
    }
    return status;
}

apr_status_t ac_sqlite_conn_open(ac_sqlite_conn_t *conn, apr_time_t until, ac_err_t *err)
{
    bool outdated;

    pthread_mutex_lock(&conn->store->lock);
    outdated = ac_sqlite_renew_is_due(conn);
    pthread_mutex_unlock(&conn->store->lock);
    if (outdated) {
        ac_sqlite_conn_close(conn);
    }
    if (conn->db) {
        return APR_SUCCESS;
    }
    while (ac_clock() >= conn->next_open) {
        if (!ac_sqlite_renew_enter(conn, until)) {
            return ac_err_set(err, AC_STORE_TIMEOUT, "the database was not opened again in time");
        }
        ac_err_init(&conn->open_err);
        conn->lock_failed = false;
        if (conn_open(conn, until, &conn->open_err) == APR_SUCCESS) {
            return APR_SUCCESS;
        }
        if (!conn->lock_failed) {
            conn->next_open = ac_clock() + OPEN_PAUSE;
        } else if (ac_clock() + LOCK_PAUSE < until) {
            apr_sleep(LOCK_PAUSE);
        } else {
            break;
        }
    }
    return ac_err_set(err, conn->open_err.kind, "%s", conn->open_err.detail);
}

void ac_sqlite_conn_close(ac_sqlite_conn_t *conn)
{
    for (int i = 0; i < AC_SQLITE_STATEMENTS; i++) {
        sqlite3_finalize(conn->statements[i].stmt);
    }
    memset(conn->statements, 0, sizeof(conn->statements));
    sqlite3_close(conn->db);
    conn->db = NULL;
    conn->wal_pages = conn->wal_checkpointed = 0;
    ac_sqlite_renew_leave(conn);
}
