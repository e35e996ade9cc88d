/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store: the contract of all stores, then its configuration, its file, its groups, and its queries. */
#include "sqlite_harness.h"

#include <sys/stat.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_strings.h>

/* ---- configuration ---- */

static const char *create_with(harness_t *harness, const char *spec, const char *name, const char *value)
{
    apr_table_t *options = apr_table_make(harness->pool, 1);
    void *self;
    if (name) {
        apr_table_set(options, name, value);
    }
    return ac_store_sqlite.create(&self, spec, options, harness->pool);
}

static void test_create_reports_errors(void **state)
{
    harness_t *harness = *state;
    const struct {
        const char *spec, *name, *value, *part;
    } cases[] = {
        {"chat.db", NULL, NULL, "absolute"},
        {"", NULL, NULL, "state directory"},
        {"/nowhere/at/all/chat.db", NULL, NULL, "directory"},
        {"/tmp/", NULL, NULL, "name of a file"},
        {"/tmp", NULL, NULL, "name of a file"},
        {"/dev/null", NULL, NULL, "name of a file"},
        {"/tmp/chat.db", "sync", "often", "sync=often"},
        {"/tmp/chat.db", "sync", "", "sync="},
        {"/tmp/chat.db", "readers", "0", "readers=0"},
        {"/tmp/chat.db", "readers", "17", "readers=17"},
        {"/tmp/chat.db", "readers", "2x", "readers=2x"},
        {"/tmp/chat.db", "writers", "2", "writers"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const char *problem = create_with(harness, cases[i].spec, cases[i].name, cases[i].value);
        assert_non_null(problem);
        assert_non_null(strstr(problem, cases[i].part));
    }
    assert_null(create_with(harness, "/tmp/chat.db", "sync", "full"));
    assert_null(create_with(harness, "/tmp/chat.db", "sync", "normal"));
    assert_null(create_with(harness, "/tmp/chat.db", "readers", "16"));
    assert_null(create_with(harness, "", "state_dir", "/made/when/the/server/starts"));
    assert_null(create_with(harness, NULL, "state_dir", harness->directory));
    assert_int_equal(harness_mode(harness->path), 0); /* nothing is opened before the fork */
}

static void test_sync_and_readers_are_applied(void **state)
{
    harness_t *harness = *state;
    static const char *const syncs[] = {"normal", "full"};
    for (int i = 0; i < 2; i++) {
        apr_table_t *options = apr_table_make(harness->pool, 2);
        sqlite3_stmt *stmt;
        apr_table_set(options, "sync", syncs[i]);
        apr_table_set(options, "readers", "1");
        assert_null(ac_store_sqlite.create(&harness->store.self, harness->path, options, harness->pool));
        harness_start(harness, AC_OK);
        assert_int_equal(sqlite3_prepare_v2(harness_writer(), "PRAGMA synchronous", -1, &stmt, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
        assert_int_equal(sqlite3_column_int(stmt, 0), i + 1);
        sqlite3_finalize(stmt);
        contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
        harness_stop(harness);
    }
}

/* ---- the file ---- */

static void test_the_file_is_private(void **state)
{
    harness_t *harness = *state;
    char path[HARNESS_PATH + 32];
    mode_t before = umask(0);
    harness_start(harness, AC_OK);
    contract_ids_t ids = contract_ids();
    contract_done(contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "T", 1)));
    umask(before);
    assert_int_equal(harness_mode(harness->path), 0600);
    snprintf(path, sizeof(path), "%s-wal", harness->path);
    assert_int_equal(harness_mode(path), 0600);
    assert_int_equal(harness_number(harness, "PRAGMA application_id"), 0x41474348);
    assert_int_equal(harness_number(harness, "PRAGMA user_version"), 10);
    harness_stop(harness);
    assert_int_equal(harness_mode(path), 0); /* brought into the file by the last to leave */

    harness_start(harness, AC_OK);
    contract_gapless(&ids, 0);
    harness_stop(harness);
    assert_int_equal(harness_number(harness, "SELECT count(*) FROM threads"), 1);
}

static void test_a_file_that_is_no_database_is_not_touched(void **state)
{
    harness_t *harness = *state;
    FILE *file = fopen(harness->path, "w");
    for (int i = 0; i < 200; i++) {
        fputs("Dear diary, today I was overwritten by a chat server. ", file);
    }
    fclose(file);
    harness_start(harness, AC_STORE_ERROR);
    for (int i = 0; i < 5; i++) {
        contract_kind(contract_call(AC_STORE_PING, NULL, NULL, NULL), AC_STORE_ERROR);
        contract_kind(contract_call(AC_STORE_PURGE, NULL, NULL, json_pack("{s:s}", "before", "2000")), AC_STORE_ERROR);
    }
    assert_int_equal(harness_logged(202), 1);

    /* After the directory was moved, the store recovers by itself; it checks once a second. */
    assert_int_equal(unlink(harness->path), 0);
    apr_time_t give_up = ac_clock() + apr_time_from_sec(20);
    ac_store_op_t *op = contract_call(AC_STORE_PURGE, NULL, NULL, json_pack("{s:s}", "before", "2000"));
    while (op->status != APR_SUCCESS && ac_clock() < give_up) {
        ac_store_op_free(op);
        op = contract_call(AC_STORE_PURGE, NULL, NULL, json_pack("{s:s}", "before", "2000"));
    }
    contract_done(op);
}

/* Another process creates the file between two reads of its header, as far as the reader's lock allows. */
static const char *made_path;

static int on_look(unsigned event, void *baton, void *stmt, void *sql)
{
    (void)event;
    (void)baton;
    (void)stmt;
    if (made_path && strcmp(sql, "PRAGMA user_version") == 0) {
        sqlite3 *db;
        const char *path = made_path;
        made_path = NULL;
        assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
        sqlite3_exec(
            db, "BEGIN IMMEDIATE; CREATE TABLE early (a); PRAGMA application_id = 1; PRAGMA user_version = 1; COMMIT",
            NULL, NULL, NULL);
        sqlite3_close(db);
    }
    return 0;
}

static int on_connection(sqlite3 *db, char **message, const void *api)
{
    (void)message;
    (void)api;
    return sqlite3_trace_v2(db, SQLITE_TRACE_STMT, on_look, NULL);
}

static void test_header_is_read_at_one_moment(void **state)
{
    harness_t *harness = *state;
    sqlite3_auto_extension((void (*)(void))on_connection);
    made_path = harness->path;
    harness_start(harness, AC_OK);
    assert_null(made_path);
    sqlite3_cancel_auto_extension((void (*)(void))on_connection);
    assert_int_equal(harness_logged(201), 0);
}

static void test_newer_version_is_refused(void **state)
{
    harness_t *harness = *state;
    harness_start(harness, AC_OK);
    harness_stop(harness);
    harness_change(harness, "PRAGMA user_version = 77");
    harness_start(harness, AC_STORE_ERROR);
    assert_non_null(strstr(harness->err.detail, "newer"));
    assert_non_null(strstr(harness->err.detail, "77"));
    contract_kind(contract_call(AC_STORE_PING, NULL, NULL, NULL), AC_STORE_ERROR);
    assert_int_equal(harness_logged(203), 1);
    harness_stop(harness);
    assert_int_equal(harness_number(harness, "PRAGMA user_version"), 77);
}

static void test_database_of_another_program_is_refused(void **state)
{
    harness_t *harness = *state;
    harness_change(harness, "CREATE TABLE recipes (name TEXT); PRAGMA journal_mode = DELETE");
    harness_start(harness, AC_STORE_ERROR);
    assert_non_null(strstr(harness->err.detail, "another program"));
    assert_int_equal(harness_logged(201), 1);
    harness_stop(harness);
    assert_int_equal(harness_number(harness, "SELECT count(*) FROM sqlite_master"), 1);
    assert_int_equal(harness_number(harness, "SELECT journal_mode = 'delete' FROM pragma_journal_mode"), 1);
}

static void test_missing_directory(void **state)
{
    harness_t *harness = *state;
    apr_table_t *options = apr_table_make(harness->pool, 1);
    apr_table_set(options, "state_dir", "/nowhere/at/all");
    assert_null(ac_store_sqlite.create(&harness->store.self, "", options, harness->pool));
    harness_start(harness, AC_STORE_ERROR);
    assert_null(strstr(harness->err.detail, "nowhere"));
    contract_kind(contract_call(AC_STORE_PING, NULL, NULL, NULL), AC_STORE_ERROR);
    assert_int_equal(harness_logged(205), 1);
}

/* ---- groups ---- */

static ac_store_op_t *create_op(const contract_ids_t *ids)
{
    return contract_op(AC_STORE_THREAD_CREATE, ids->owner, NULL, contract_thread(ids->thread, "T", 1));
}

static void test_one_that_fails_undoes_nothing_of_its_group(void **state)
{
    harness_t *harness = *state;
    harness_gather_t *gather = ac_alloc(sizeof(*gather));
    contract_ids_t ids[40];
    harness_start(harness, AC_OK);
    sqlite3 *other = harness_open(harness);
    harness_exec(other, "BEGIN IMMEDIATE");
    int n_commits = harness_count("COMMIT");
    for (int i = 0; i < 40; i++) {
        ids[i] = i % 4 == 3 ? ids[i - 1] : contract_ids(); /* every fourth id is given twice */
        harness_post(gather, create_op(&ids[i]));
    }
    harness_exec(other, "COMMIT");
    harness_wait(gather);
    for (int i = 0; i < 40; i++) {
        if (i % 4 == 3) {
            contract_kind(gather->ops[i], AC_IDEMPOTENCY_CONFLICT);
        } else {
            contract_done(gather->ops[i]);
        }
    }
    /* The writer may have taken some before the others were there. */
    assert_in_range(harness_count("COMMIT") - n_commits, 1, 39);
    assert_int_equal(harness_number(harness, "SELECT count(*) FROM threads"), 30);
    sqlite3_close(other);
    free(gather);
}

static void test_locked_for_too_long(void **state)
{
    harness_t *harness = *state;
    contract_ids_t ids = contract_ids();
    harness_start(harness, AC_OK);
    sqlite3 *other = harness_open(harness);
    harness_exec(other, "BEGIN IMMEDIATE");
    for (int i = 0; i < 3; i++) {
        ac_store_op_t *op = create_op(&ids);
        op->deadline = ac_clock() + apr_time_from_msec(60);
        op = contract_wait(op);
        assert_true(op->unwritten);
        contract_kind(op, AC_STORE_TIMEOUT);
        op = ac_store_op_create(AC_STORE_PING, NULL, NULL); /* it shows whether writes are possible */
        op->deadline = ac_clock() + apr_time_from_msec(60);
        contract_kind(contract_wait(op), AC_STORE_TIMEOUT);
        contract_kind(contract_call(AC_STORE_THREAD_GET, ids.owner, ids.thread, NULL),
                      AC_NOT_FOUND); /* reads continue */
    }
    assert_int_equal(harness_logged(206), 1);
    harness_exec(other, "COMMIT");
    contract_done(contract_wait(create_op(&ids)));
    sqlite3_close(other);
}

static void test_overloaded(void **state)
{
    harness_t *harness = *state;
    harness_gather_t *gather = ac_alloc(sizeof(*gather));
    int n_refused = 0;
    harness_start(harness, AC_OK);
    sqlite3 *other = harness_open(harness);
    harness_exec(other, "BEGIN IMMEDIATE");
    for (int i = 0; i < AC_MAX_STORE_QUEUE + 1000; i++) {
        harness_post(gather, contract_op(AC_STORE_PURGE, NULL, NULL, json_pack("{s:s}", "before", "2000")));
    }
    harness_exec(other, "COMMIT");
    harness_wait(gather);
    for (int i = 0; i < gather->n; i++) {
        n_refused += gather->ops[i]->err.kind == AC_OVERLOADED;
        assert_true(gather->ops[i]->err.kind == AC_OVERLOADED || gather->ops[i]->status == APR_SUCCESS);
        assert_int_equal(gather->ops[i]->err.kind == AC_OVERLOADED, gather->ops[i]->err.retry_after > 0);
        ac_store_op_free(gather->ops[i]);
    }
    assert_in_range(n_refused, 1, 1000);
    sqlite3_close(other);
    free(gather);
}

static void test_exit_finishes_queued_operations(void **state)
{
    harness_t *harness = *state;
    harness_gather_t *gather = ac_alloc(sizeof(*gather));
    harness_start(harness, AC_OK);
    for (int i = 0; i < 500; i++) {
        contract_ids_t ids = contract_ids();
        harness_post(gather, create_op(&ids));
    }
    harness_stop(harness);
    assert_int_equal(atomic_load(&gather->n_done), 500);
    for (int i = 0; i < 500; i++) {
        contract_done(gather->ops[i]);
    }
    assert_int_equal(harness_number(harness, "SELECT count(*) FROM threads"), 500);
    free(gather);
}

static const char sql_rows[] = "SELECT (SELECT count(*) FROM threads) + (SELECT count(*) FROM messages)"
                               " + (SELECT count(*) FROM runs) + (SELECT count(*) FROM steps)";

static void test_hard_delete_leaves_no_row(void **state)
{
    harness_t *harness = *state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "";
    harness_start(harness, AC_OK);
    contract_open(&ids, run, "q", true);
    json_t *in = contract_close_in(&ids, run, "a");
    json_array_append_new(json_object_get(in, "steps"), contract_step("step_1", run, 11));
    contract_done(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, in));
    assert_int_equal(harness_number(harness, sql_rows), 5);
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_DELETE, ids.owner, ids.thread, NULL);
    op->hard = true;
    contract_done(contract_wait(op));
    assert_int_equal(harness_number(harness, sql_rows), 0);
}

static void test_purge_in_parts(void **state)
{
    harness_t *harness = *state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "";
    harness_start(harness, AC_OK);
    contract_open(&ids, run, "q", true);
    contract_close(&ids, run, "a");
    char *sql =
        apr_psprintf(harness->pool,
                     "WITH RECURSIVE n(i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n WHERE i < 3500)"
                     " INSERT INTO messages (thread_id, seq, id, role, created_at, content)"
                     " SELECT '%s', i, 'msg_' || i, 'user', '2026-01-01T00:00:00.000Z', 'x' FROM n;"
                     "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 350) INSERT INTO runs"
                     " SELECT 'run_' || i, '%s', '%s', 'completed', '', 0, 0, '', '{}' FROM n;"
                     "INSERT INTO steps SELECT id, 0, 'step_' || id, '{}' FROM runs",
                     ids.thread, ids.thread, ids.owner);
    harness_change(harness, sql);
    contract_done(contract_call(AC_STORE_THREAD_DELETE, ids.owner, ids.thread,
                                json_pack("{s:s}", "deleted_at", "2026-01-01T00:00:00.000Z")));
    int n_commits = harness_count("COMMIT");
    contract_equal(contract_ok(contract_call(AC_STORE_PURGE, NULL, NULL,
                                             json_pack("{s:s}", "before", "2026-02-01T00:00:00.000Z"))),
                   json_pack("{s:i}", "purged", 1));
    assert_in_range(harness_count("COMMIT") - n_commits, 4, 20);
    assert_int_equal(harness_number(harness, sql_rows), 0);
}

/* What the contract and the tests before this one have run. */
static void test_no_statement_scans_a_table(void **state)
{
    harness_t *harness = *state;
    harness_start(harness, AC_OK);
    assert_in_range(harness_check_plans(harness), 34, 160);
}

static int contract_setup(void **state)
{
    int status = harness_setup(state);
    if (status == 0) {
        harness_start(*state, AC_OK);
    }
    return status;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SQLITE_TEST(test_create_reports_errors),
        SQLITE_TEST(test_sync_and_readers_are_applied),
        SQLITE_TEST(test_the_file_is_private),
        SQLITE_TEST(test_a_file_that_is_no_database_is_not_touched),
        SQLITE_TEST(test_header_is_read_at_one_moment),
        SQLITE_TEST(test_newer_version_is_refused),
        SQLITE_TEST(test_database_of_another_program_is_refused),
        SQLITE_TEST(test_missing_directory),
        SQLITE_TEST(test_one_that_fails_undoes_nothing_of_its_group),
        SQLITE_TEST(test_locked_for_too_long),
        SQLITE_TEST(test_overloaded),
        SQLITE_TEST(test_exit_finishes_queued_operations),
        SQLITE_TEST(test_hard_delete_leaves_no_row),
        SQLITE_TEST(test_purge_in_parts),
        SQLITE_TEST(test_no_statement_scans_a_table),
    };
    void *harness = NULL;
    int n_failed;

    apr_initialize();
    n_failed = contract_setup(&harness);
    if (n_failed == 0) {
        n_failed = store_contract_run("store_contract", contract_store());
        harness_teardown(&harness);
    }
    n_failed += cmocka_run_group_tests_name("sqlite_store", tests, NULL, NULL);
    apr_terminate();
    return n_failed;
}
