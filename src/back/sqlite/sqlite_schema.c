/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's tables: their definitions, the check of the file's origin, and the update of an older file. */
#include "sqlite_internal.h"

#include <stdio.h>

/* Times are RFC 3339 texts of one length, so their order as texts is their order in time. Ids sort by creation, so
 * lists need no time. deleted_at is set for soft-deleted threads only; the indexes of lists leave these out. */
static const char version_1[] =
    "CREATE TABLE threads ("
    " id TEXT NOT NULL PRIMARY KEY, owner TEXT NOT NULL, agent_id TEXT, status TEXT NOT NULL, title TEXT, metadata "
    "TEXT,"
    " message_count INTEGER NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL, deleted_at TEXT,"
    " restore_status TEXT, version INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX threads_by_owner ON threads(owner, id) WHERE deleted_at IS NULL;"
    "CREATE INDEX threads_by_agent ON threads(owner, agent_id, id) WHERE deleted_at IS NULL;"
    "CREATE INDEX threads_by_status ON threads(owner, status, id, agent_id);"
    "CREATE INDEX threads_deleted ON threads(deleted_at) WHERE deleted_at IS NOT NULL;"

    "CREATE TABLE messages ("
    " thread_id TEXT NOT NULL, seq INTEGER NOT NULL, id TEXT NOT NULL, role TEXT NOT NULL, run_id TEXT,"
    " created_at TEXT NOT NULL, content TEXT, tool_calls TEXT, metadata TEXT,"
    " PRIMARY KEY (thread_id, seq)) WITHOUT ROWID;"
    "CREATE UNIQUE INDEX messages_by_id ON messages(id);"

    "CREATE TABLE runs ("
    " id TEXT NOT NULL PRIMARY KEY, thread_id TEXT NOT NULL, owner TEXT NOT NULL, status TEXT NOT NULL,"
    " boot TEXT NOT NULL, pid INTEGER NOT NULL, started INTEGER NOT NULL, created_at TEXT NOT NULL, doc TEXT NOT NULL"
    ") WITHOUT ROWID;"
    "CREATE INDEX runs_by_thread ON runs(thread_id, id);"
    "CREATE UNIQUE INDEX runs_active ON runs(thread_id) WHERE " AC_SQLITE_ACTIVE ";"

    "CREATE TABLE steps ("
    " run_id TEXT NOT NULL, n INTEGER NOT NULL, id TEXT NOT NULL, doc TEXT NOT NULL,"
    " PRIMARY KEY (run_id, n)) WITHOUT ROWID;";

/* An Idempotency-Key leads to one run of its owner for a day. */
static const char version_2[] =
    "CREATE TABLE keys ("
    " owner TEXT NOT NULL, key TEXT NOT NULL, run_id TEXT NOT NULL, thread_id TEXT NOT NULL, request_hash TEXT NOT "
    "NULL,"
    " created_at TEXT NOT NULL, PRIMARY KEY (owner, key)) WITHOUT ROWID;"
    "CREATE INDEX keys_by_time ON keys(created_at);";

/* Agents that were created through the API. Every change renews the stamp `agents`, by which each child detects
 * changes. */
static const char version_3[] =
    "CREATE TABLE agents (id TEXT NOT NULL PRIMARY KEY, etag TEXT NOT NULL, doc TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE stamps (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;";

/* Suspended runs: `calls` has the calls that await approval, by id, with the decisions so far; `state` is the state
 * document. */
static const char version_4[] =
    "CREATE TABLE waits ("
    " run_id TEXT NOT NULL PRIMARY KEY, thread_id TEXT NOT NULL, owner TEXT NOT NULL, until TEXT NOT NULL, calls "
    "TEXT NOT NULL,"
    " asks TEXT NOT NULL, state TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX waits_by_time ON waits(until);"
    "CREATE INDEX waits_by_thread ON waits(thread_id);";

/* Indexes for lists of threads by their last change. */
static const char version_5[] =
    "CREATE INDEX threads_by_update ON threads(owner, updated_at, id) WHERE deleted_at IS NULL;"
    "CREATE INDEX threads_of_agent_by_update ON threads(owner, agent_id, updated_at, id) WHERE deleted_at IS NULL;"
    "CREATE INDEX threads_of_status_by_update ON threads(owner, status, updated_at, id, agent_id);";

/* Usage: sums of ended runs by day and the other members of the key. The stamp `store` is the store's id, by which
 * another store recognizes rows that were copied from here. */
#define VERSION_USAGE 6
static const char version_6[] =
    "CREATE TABLE usage ("
    " day TEXT NOT NULL, owner TEXT NOT NULL, agent_id TEXT NOT NULL, model TEXT NOT NULL, status TEXT NOT NULL,"
    " error TEXT NOT NULL, currency TEXT NOT NULL, source TEXT NOT NULL, figures TEXT NOT NULL,"
    " PRIMARY KEY (day, owner, agent_id, model, status, error, currency, source)) WITHOUT ROWID;"
    "CREATE INDEX usage_by_owner ON usage(owner, day);"
    "INSERT INTO stamps (name, value) VALUES ('store', 'store_' || lower(hex(randomblob(13))));";

/* attachments: the files of a message, a list of {file_id, name, type, size}; NULL: none. parent_id: '' for a message
 * without one; NULL, in older files: the message before it. tree: in the form of ac_tree_json(); NULL: a line. */
#define COLUMNS_TREE \
    "ALTER TABLE messages ADD COLUMN attachments TEXT;" \
    "ALTER TABLE messages ADD COLUMN parent_id TEXT;" \
    "ALTER TABLE threads ADD COLUMN tree TEXT;"

/* Files that clients have uploaded; their bytes are elsewhere. status: "uploaded", or "attached" to a message of the
 * thread. loose: since when the file is not known to be a part of a conversation; NULL: it is one. */
#define TABLE_FILES \
    "CREATE TABLE files (" \
    " id TEXT NOT NULL PRIMARY KEY, owner TEXT NOT NULL, thread_id TEXT, status TEXT NOT NULL, name TEXT NOT NULL," \
    " type TEXT NOT NULL, size INTEGER NOT NULL, sha256 TEXT NOT NULL, created_at TEXT NOT NULL, loose TEXT" \
    ") WITHOUT ROWID;" \
    "CREATE INDEX files_by_owner ON files(owner, id);" \
    "CREATE INDEX files_by_thread ON files(thread_id, id) WHERE thread_id IS NOT NULL;" \
    "CREATE INDEX files_loose ON files(loose) WHERE loose IS NOT NULL;"

/* Feedback on a message, as JSON; feedback_at is its time. */
#define COLUMNS_FEEDBACK \
    "ALTER TABLE messages ADD COLUMN feedback TEXT;" \
    "ALTER TABLE messages ADD COLUMN feedback_at TEXT;" \
    "CREATE INDEX messages_by_feedback ON messages(feedback_at, id) WHERE feedback_at IS NOT NULL;"

/* Labels are the strings of metadata.labels; triggers keep them in step with the threads. */
#define LABELS_OF_NEW \
    "INSERT OR IGNORE INTO labels (owner, label, thread_id) SELECT NEW.owner, value, NEW.id" \
    " FROM json_each(NEW.metadata, '$.labels') WHERE type = 'text'" \
    " AND json_type(NEW.metadata, '$.labels') = 'array' AND NEW.metadata LIKE '%\"labels\"%';"
#define PINNED_AND_LABELS \
    "ALTER TABLE threads ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;" \
    "CREATE INDEX threads_pinned ON threads(owner, updated_at, id) WHERE pinned = 1;" \
    "CREATE TABLE labels (owner TEXT NOT NULL, label TEXT NOT NULL, thread_id TEXT NOT NULL," \
    " PRIMARY KEY (owner, label, thread_id)) WITHOUT ROWID;" \
    "CREATE INDEX labels_by_thread ON labels(thread_id);" \
    "CREATE TRIGGER labels_of_new AFTER INSERT ON threads WHEN NEW.metadata LIKE '%\"labels\"%' BEGIN " LABELS_OF_NEW \
    "END;" \
    "CREATE TRIGGER labels_of_changed AFTER UPDATE OF metadata, owner ON threads" \
    " WHEN OLD.metadata IS NOT NEW.metadata OR OLD.owner <> NEW.owner BEGIN" \
    " DELETE FROM labels WHERE thread_id = OLD.id;" LABELS_OF_NEW "END;" \
    "CREATE TRIGGER labels_of_removed AFTER DELETE ON threads BEGIN DELETE FROM labels WHERE thread_id = OLD.id; END;"

/* What the full-text index has: sqlite_search.c. Threads of an older file are added to it later: -1. */
#define SEARCH_STATE \
    "ALTER TABLE threads ADD COLUMN search_no INTEGER;" \
    "ALTER TABLE threads ADD COLUMN search_to INTEGER NOT NULL DEFAULT -1;" \
    "ALTER TABLE threads ADD COLUMN search_title TEXT;" \
    "CREATE UNIQUE INDEX threads_by_search_no ON threads(search_no) WHERE search_no IS NOT NULL;" \
    "CREATE INDEX threads_unsearched ON threads(search_to)" \
    " WHERE (search_to < message_count OR search_title IS NOT title);" \
    "CREATE TABLE search_ranges (no INTEGER PRIMARY KEY, owner TEXT NOT NULL, used INTEGER NOT NULL);" \
    "CREATE INDEX search_ranges_by_owner ON search_ranges(owner, no);"

/* Erasures of owners that are not finished. traces: what they leave outside of the store. */
#define TABLE_ERASURES \
    "CREATE TABLE erasures (" \
    " owner TEXT NOT NULL PRIMARY KEY, id TEXT NOT NULL, at TEXT NOT NULL, round INTEGER NOT NULL," \
    " threads INTEGER NOT NULL, messages INTEGER NOT NULL, runs INTEGER NOT NULL, files INTEGER NOT NULL," \
    " traces TEXT NOT NULL) WITHOUT ROWID;"

static const char version_7[] = COLUMNS_TREE TABLE_FILES COLUMNS_FEEDBACK PINNED_AND_LABELS SEARCH_STATE TABLE_ERASURES;

/* Webhook deliveries. due: when one is to be carried out; NULL: never again. */
static const char version_8[] =
    "CREATE TABLE webhooks ("
    " id TEXT NOT NULL PRIMARY KEY, run_id TEXT NOT NULL, thread_id TEXT NOT NULL, owner TEXT NOT NULL,"
    " webhook TEXT NOT NULL, due TEXT, doc TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE INDEX webhooks_due ON webhooks(due) WHERE due IS NOT NULL;"
    "CREATE INDEX webhooks_by_run ON webhooks(run_id);"
    "CREATE INDEX webhooks_by_thread ON webhooks(thread_id);";

/* marks: what a message got after it was stored, as JSON. */
static const char version_9[] = "ALTER TABLE messages ADD COLUMN marks TEXT;";

static const char version_10[] = "ALTER TABLE threads ADD COLUMN deleted_messages INTEGER NOT NULL DEFAULT 0;";

/* The n-th entry updates version n to version n+1. A released entry never changes. */
static const char *const versions[] = {version_1, version_2, version_3, version_4, version_5,
                                       version_6, version_7, version_8, version_9, version_10};
#define N_VERSIONS ((int)(sizeof(versions) / sizeof(*versions)))

typedef struct header_t {
    int application_id, version;
    bool empty; /* the file has no table */
} header_t;

static apr_status_t number_read(int *pnumber, ac_sqlite_conn_t *conn, const char *sql, ac_err_t *err)
{
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(conn->db, sql, -1, &stmt, NULL);

    if (code == SQLITE_OK) {
        code = sqlite3_step(stmt);
    }
    if (code == SQLITE_ROW) {
        *pnumber = sqlite3_column_int(stmt, 0);
    }
    sqlite3_finalize(stmt);
    return code == SQLITE_ROW ? APR_SUCCESS : ac_sqlite_conn_fail(conn, code, err);
}

/* Reads in one transaction: another child may create the tables meanwhile. */
static apr_status_t header_read(header_t *header, ac_sqlite_conn_t *conn, ac_err_t *err)
{
    int schema_version = 0, code = sqlite3_exec(conn->db, "SAVEPOINT header", NULL, NULL, NULL);
    apr_status_t status = code == SQLITE_OK ? APR_SUCCESS : ac_sqlite_conn_fail(conn, code, err);

    if (status == APR_SUCCESS) {
        status = number_read(&header->application_id, conn, "PRAGMA application_id", err);
    }
    if (status == APR_SUCCESS) {
        status = number_read(&header->version, conn, "PRAGMA user_version", err);
    }
    if (status == APR_SUCCESS) {
        status = number_read(&schema_version, conn, "PRAGMA schema_version", err);
    }
    sqlite3_exec(conn->db, "RELEASE header", NULL, NULL, NULL);
    header->empty = schema_version == 0;
    return status;
}

static apr_status_t header_check(const header_t *header, ac_sqlite_conn_t *conn, ac_err_t *err)
{
    bool fresh = header->empty && header->application_id == 0 && header->version == 0;

    if (!fresh && header->application_id != AC_SQLITE_APPLICATION_ID) {
        if (ac_sqlite_conn_outage_begin(conn, SQLITE_MISMATCH)) {
            ac_log(AC_M201, 0, "store sqlite[%s]: the file is a database of another program; name another file",
                   conn->store->path);
        }
        return ac_err_set(err, AC_STORE_ERROR, "the database file belongs to another program");
    }
    if (header->version > N_VERSIONS) {
        if (ac_sqlite_conn_outage_begin(conn, SQLITE_SCHEMA)) {
            ac_log(AC_M203, 0,
                   "store sqlite[%s]: the file has schema version %d, this module knows up to %d; install the "
                   "newer module again, or restore an older file",
                   conn->store->path, header->version, N_VERSIONS);
        }
        return ac_err_set(err, AC_STORE_ERROR, "the database was written by a newer version (schema %d, known %d)",
                          header->version, N_VERSIONS);
    }
    return APR_SUCCESS;
}

/* SQLite does not call the busy handler in all cases in which the change of journal mode has to wait. */
static apr_status_t wal_set(ac_sqlite_conn_t *conn, ac_err_t *err)
{
    int code;

    do {
        code = sqlite3_exec(conn->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
        if ((code & 0xff) != SQLITE_BUSY || ac_clock() >= conn->patience) {
            break;
        }
        apr_sleep(1000 + (apr_interval_time_t)(ac_random() % 5000));
    } while (true);
    return code == SQLITE_OK ? APR_SUCCESS : ac_sqlite_conn_fail(conn, code, err);
}

/* The version is read under the write lock: no other process can change it now. */
static apr_status_t migrate_locked(ac_sqlite_conn_t *conn, ac_err_t *err)
{
    char sql[96];
    header_t header;
    int code = SQLITE_OK;
    apr_status_t status = header_read(&header, conn, err);

    if (status == APR_SUCCESS) {
        status = header_check(&header, conn, err);
    }
    if (status != APR_SUCCESS || header.version == N_VERSIONS) {
        return status;
    }
    for (int version = header.version; code == SQLITE_OK && version < N_VERSIONS; version++) {
        code = sqlite3_exec(conn->db, versions[version], NULL, NULL, NULL);
    }
    snprintf(sql, sizeof(sql), "PRAGMA application_id = %d; PRAGMA user_version = %d", AC_SQLITE_APPLICATION_ID,
             N_VERSIONS);
    if (code == SQLITE_OK) {
        code = sqlite3_exec(conn->db, sql, NULL, NULL, NULL);
    }
    if (code != SQLITE_OK) {
        return ac_sqlite_conn_fail(conn, code, err);
    }
    if (!header.empty && header.version < VERSION_USAGE) {
        status = ac_sqlite_usage_fill(conn, err);
    }
    ac_debug("store sqlite[%s]: from schema version %d to %d", conn->store->path, header.version, N_VERSIONS);
    return status;
}

static apr_status_t migrate(ac_sqlite_conn_t *conn, ac_err_t *err)
{
    apr_status_t status;
    int code = sqlite3_exec(conn->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

    if (code != SQLITE_OK) {
        return ac_sqlite_conn_fail(conn, code, err);
    }
    status = migrate_locked(conn, err);
    if (status == APR_SUCCESS) {
        code = sqlite3_exec(conn->db, "COMMIT", NULL, NULL, NULL);
        status = code == SQLITE_OK ? APR_SUCCESS : ac_sqlite_conn_fail(conn, code, err);
    }
    if (!sqlite3_get_autocommit(conn->db)) {
        sqlite3_exec(conn->db, "ROLLBACK", NULL, NULL, NULL);
    }
    return status;
}

apr_status_t ac_sqlite_schema_prepare(ac_sqlite_conn_t *conn, ac_err_t *err)
{
    header_t header;
    apr_status_t status = header_read(&header, conn, err);

    if (status == APR_SUCCESS) {
        status = header_check(&header, conn, err); /* before the file is changed */
    }
    if (status == APR_SUCCESS) {
        status = wal_set(conn, err);
    }
    if (status == APR_SUCCESS && header.version < N_VERSIONS) {
        status = migrate(conn, err);
    }
    return status;
}

apr_status_t ac_sqlite_schema_check(ac_sqlite_conn_t *conn, ac_err_t *err)
{
    header_t header;
    apr_status_t status = header_read(&header, conn, err);

    if (status == APR_SUCCESS) {
        status = header_check(&header, conn, err);
    }
    if (status == APR_SUCCESS && header.version < N_VERSIONS) {
        status = ac_err_set(err, AC_STORE_ERROR, "the database is not ready yet");
    }
    return status;
}
