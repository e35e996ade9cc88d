/* SPDX-License-Identifier: Apache-2.0 */
/* An embedded store in a directory of its own, with a look at its file, its connections and what it logs. */
#include "sqlite_harness.h"

#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>

enum { STATEMENTS = 256, LOGGED = 1000 };

static const ac_host_t host = {.version = 1, .store_done = ac_store_done};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *statements[STATEMENTS];
static int counts[STATEMENTS];
static size_t n_statements;
static sqlite3 *writer;
static int logged[LOGGED];
static struct {
    const char *sql, *after;
    bool armed, reached, open;
    pthread_cond_t changed;
} gate = {.changed = PTHREAD_COND_INITIALIZER};

/* ---- log ---- */

static void on_log(ac_level_e level, const char *file, int line, apr_status_t status, const char *text)
{
    (void)level;
    (void)file;
    (void)line;
    (void)status;
    int number = strncmp(text, "AC", 2) == 0 ? (int)strtol(text + 2, NULL, 10) : 0;
    pthread_mutex_lock(&lock);
    logged[number > 0 && number < LOGGED ? number : 0]++;
    pthread_mutex_unlock(&lock);
}

int harness_logged(int number)
{
    pthread_mutex_lock(&lock);
    int n = logged[number];
    pthread_mutex_unlock(&lock);
    return n;
}

/* ---- the store's connections ---- */

/* With the lock held. */
static void gate_pass(const char *sql)
{
    if (!gate.sql || gate.open) {
        return;
    }
    if (gate.armed && strcmp(sql, gate.sql) == 0) {
        gate.reached = true;
        pthread_cond_broadcast(&gate.changed);
        while (!gate.open) {
            pthread_cond_wait(&gate.changed, &lock);
        }
    }
    gate.armed = gate.armed || strcmp(sql, gate.after) == 0;
}

static int on_statement(unsigned what, void *baton, void *stmt, void *text)
{
    (void)what;
    (void)baton;
    (void)text;
    const char *sql = sqlite3_sql(stmt);
    size_t i = 0;
    pthread_mutex_lock(&lock);
    while (sql && i < n_statements && strcmp(statements[i], sql) != 0) {
        i++;
    }
    if (sql && i < STATEMENTS) {
        if (i == n_statements) {
            statements[n_statements++] = strdup(sql);
        }
        counts[i]++;
    }
    if (sql) {
        gate_pass(sql);
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

/* SQLite calls this for each connection that is opened in this process. */
static int on_connection(sqlite3 *db, char **perror, const struct sqlite3_api_routines *api)
{
    (void)perror;
    (void)api;
    pthread_mutex_lock(&lock);
    if (sqlite3_db_readonly(db, "main") != 1) {
        writer = db;
    }
    pthread_mutex_unlock(&lock);
    return sqlite3_trace_v2(db, SQLITE_TRACE_STMT, on_statement, NULL);
}

void harness_watch(void)
{
    sqlite3_auto_extension((void (*)(void))on_connection);
}

sqlite3 *harness_writer(void)
{
    return writer;
}

int harness_count(const char *sql)
{
    int n = 0;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < n_statements; i++) {
        n += strcmp(statements[i], sql) == 0 ? counts[i] : 0;
    }
    pthread_mutex_unlock(&lock);
    return n;
}

void harness_gate_set(const char *sql, const char *after)
{
    pthread_mutex_lock(&lock);
    gate.sql = sql;
    gate.after = after;
    gate.armed = gate.reached = gate.open = false;
    pthread_mutex_unlock(&lock);
}

void harness_gate_wait(void)
{
    pthread_mutex_lock(&lock);
    while (!gate.reached) {
        pthread_cond_wait(&gate.changed, &lock);
    }
    pthread_mutex_unlock(&lock);
}

void harness_gate_open(void)
{
    pthread_mutex_lock(&lock);
    gate.open = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&lock);
}

/* ---- the file, seen by another program ---- */

sqlite3 *harness_open(const harness_t *harness)
{
    sqlite3 *db;
    sqlite3_cancel_auto_extension((void (*)(void))on_connection);
    assert_int_equal(sqlite3_open(harness->path, &db), SQLITE_OK);
    harness_watch();
    sqlite3_busy_timeout(db, 30000);
    return db;
}

void harness_exec(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    }
}

void harness_change(const harness_t *harness, const char *sql)
{
    sqlite3 *db = harness_open(harness);
    harness_exec(db, sql);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

int64_t harness_number(const harness_t *harness, const char *sql)
{
    sqlite3 *db = harness_open(harness);
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return number;
}

/* Lists of few threads: pinned ones, those with a label, and those that a search has found. */
static bool sorts_few(const char *sql)
{
    return strstr(sql, "INDEXED BY threads_pinned") || strstr(sql, "FROM labels CROSS") ||
        strstr(sql, "FROM json_each");
}

static void check_plan(sqlite3 *db, const char *sql, apr_pool_t *p)
{
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_prepare_v2(db, apr_pstrcat(p, "EXPLAIN QUERY PLAN ", sql, NULL), -1, &stmt, NULL),
                     SQLITE_OK);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        const char *detail = (const char *)sqlite3_column_text(stmt, 3);
        bool scans = strncmp(detail, "SCAN", 4) == 0 && strcmp(detail, "SCAN CONSTANT ROW") != 0 &&
            !strstr(detail, "VIRTUAL TABLE INDEX");
        if (scans || (strstr(detail, "TEMP B-TREE") && !sorts_few(sql))) {
            fail_msg("%s: %s", sql, detail);
        }
    }
    sqlite3_finalize(stmt);
}

int harness_check_plans(const harness_t *harness)
{
    static const char *const kinds[] = {"SELECT", "INSERT", "UPDATE", "DELETE"};
    int n = 0;
    sqlite3 *db = harness_open(harness);
    for (size_t i = 0; i < n_statements; i++) {
        for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
            if (strncmp(statements[i], kinds[k], 6) == 0 && !strstr(statements[i], "sqlite_master") &&
                !strstr(statements[i], "'main'.'search_")) { /* FTS5's own */
                check_plan(db, statements[i], harness->pool);
                n++;
            }
        }
    }
    sqlite3_close(db);
    return n;
}

int harness_mode(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? (int)(info.st_mode & 07777) : 0;
}

/* ---- the store ---- */

int harness_setup(void **state)
{
    harness_t *harness = ac_alloc(sizeof(*harness));
    apr_table_t *options;
    snprintf(harness->directory, sizeof(harness->directory), "/tmp/agentchat-test-XXXXXX");
    if (!mkdtemp(harness->directory) || apr_pool_create(&harness->pool, NULL) != APR_SUCCESS) {
        return -1;
    }
    snprintf(harness->path, sizeof(harness->path), "%s/agentchat.db", harness->directory);
    memset(logged, 0, sizeof(logged));
    ac_log_install(on_log, AC_INFO);
    harness_watch();
    options = apr_table_make(harness->pool, 1);
    apr_table_setn(options, "state_dir", harness->directory);
    harness->store.vt = &ac_store_sqlite;
    contract_use(&harness->store);
    *state = harness;
    return harness->store.vt->create(&harness->store.self, "", options, harness->pool) ? -1 : 0;
}

void harness_start(harness_t *harness, ac_kind_e wanted)
{
    ac_err_init(&harness->err);
    apr_status_t status = harness->store.vt->child_init(harness->store.self, &host, &harness->err);
    harness->started = true;
    if (harness->err.kind != wanted) {
        fail_msg("child_init: %s", harness->err.detail);
    }
    assert_int_equal(status, wanted == AC_OK ? APR_SUCCESS : ac_err_row(wanted)->status);
}

void harness_stop(harness_t *harness)
{
    if (harness->started) {
        harness->store.vt->child_exit(harness->store.self);
    }
    harness->started = false;
}

int harness_teardown(void **state)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    harness_t *harness = *state;
    char path[sizeof(harness->path) + 8];
    harness_stop(harness);
    for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
        snprintf(path, sizeof(path), "%s%s", harness->path, ends[i]);
        unlink(path);
    }
    int status = rmdir(harness->directory);
    apr_pool_destroy(harness->pool);
    free(harness);
    return status;
}

/* ---- many operations ---- */

static void gather_done(ac_store_op_t *op)
{
    harness_gather_t *gather = op->baton;
    atomic_fetch_add(&gather->n_done, 1);
}

void harness_post(harness_gather_t *gather, ac_store_op_t *op)
{
    gather->ops[gather->n++] = op;
    ac_store_call_post(contract_store(), NULL, op, gather_done, gather);
}

void harness_wait(harness_gather_t *gather)
{
    while (atomic_load(&gather->n_done) < gather->n) {
        sched_yield();
    }
}
