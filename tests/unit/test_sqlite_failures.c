/* SPDX-License-Identifier: Apache-2.0 */
/* Failures of the SQLite store: a full disk, damaged rows, runs whose process has died. */
#include "sqlite_harness.h"

#include <apr_general.h>

/* ---- a full disk, damaged rows ---- */

static void room_set(int64_t n_pages)
{
    char sql[64];
    snprintf(sql, sizeof(sql), "PRAGMA max_page_count = %lld", (long long)n_pages);
    harness_exec(harness_writer(), sql);
}

static void test_full_disk(void **state)
{
    harness_t *harness = *state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "", *large = ac_alloc(AC_MAX_CONTENT + 1);
    memset(large, 'x', AC_MAX_CONTENT);
    harness_start(harness, AC_OK);
    contract_open(&ids, run, "q", true);
    room_set(1); /* no less than there is */
    for (int i = 0; i < 4; i++) {
        ac_store_op_t *op =
            contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, contract_close_in(&ids, run, large));
        assert_non_null(strstr(op->err.detail, "full"));
        contract_kind(op, AC_STORE_ERROR);
        contract_gapless(&ids, 1); /* reads continue */
    }
    assert_int_equal(harness_logged(204), 1);
    room_set(1000000);
    assert_int_equal(contract_close(&ids, run, large), 2);
    contract_gapless(&ids, 2);
    free(large);
}

static void test_on_a_full_disk_only_writes_that_do_not_fit_fail(void **state)
{
    harness_t *harness = *state;
    harness_gather_t *gather = ac_alloc(sizeof(*gather));
    contract_ids_t ids[3];
    char runs[3][AC_ID_SIZE] = {"", "", ""}, *large = ac_alloc(AC_MAX_CONTENT + 1);
    memset(large, 'x', AC_MAX_CONTENT);
    harness_start(harness, AC_OK);
    for (int i = 0; i < 3; i++) {
        ids[i] = contract_ids();
        contract_open(&ids[i], runs[i], "q", true);
    }
    room_set(harness_number(harness, "PRAGMA page_count") + 20);
    sqlite3 *other = harness_open(harness);
    harness_exec(other, "BEGIN IMMEDIATE");
    for (int i = 0; i < 3; i++) {
        harness_post(gather,
                     contract_op(AC_STORE_TURN_CLOSE, ids[i].owner, ids[i].thread,
                                 contract_close_in(&ids[i], runs[i], i == 1 ? large : "small")));
    }
    harness_exec(other, "COMMIT");
    sqlite3_close(other);
    harness_wait(gather);
    contract_done(gather->ops[0]);
    contract_kind(gather->ops[1], AC_STORE_ERROR);
    contract_done(gather->ops[2]);
    contract_gapless(&ids[0], 2);
    contract_gapless(&ids[1], 1);
    contract_gapless(&ids[2], 2);
    free(large);
    free(gather);
}

static void test_damaged_row(void **state)
{
    harness_t *harness = *state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "";
    harness_start(harness, AC_OK);
    contract_open(&ids, run, "q", true);
    contract_close(&ids, run, "a");
    harness_change(harness,
                   "UPDATE runs SET doc = '{\"id\": secret'; UPDATE messages SET metadata = 'secret' WHERE seq = 2;");
    for (int i = 0; i < 3; i++) {
        ac_store_op_t *op = contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL);
        assert_null(strstr(op->err.detail, "secret"));
        assert_null(strstr(op->err.detail, "SELECT"));
        assert_null(op->out);
        contract_kind(op, AC_STORE_ERROR);
        contract_kind(contract_call(AC_STORE_MESSAGE_LIST, ids.owner, ids.thread, NULL), AC_STORE_ERROR);
        contract_kind(contract_call(AC_STORE_RUN_LIST, ids.owner, ids.thread, NULL), AC_STORE_ERROR);
        contract_done(contract_call(AC_STORE_THREAD_GET, ids.owner, ids.thread, NULL));
    }
    assert_int_equal(harness_logged(202), 1);
    harness_change(harness, "UPDATE threads SET title = CAST(x'ff' AS TEXT)");
    contract_kind(contract_call(AC_STORE_THREAD_GET, ids.owner, ids.thread, NULL), AC_STORE_ERROR);
}

/* ---- runs of dead processes; processes that really die are in test_sqlite_processes.c ---- */

static void dead_run_make(harness_t *harness, contract_ids_t *ids, char run[AC_ID_SIZE])
{
    *ids = contract_ids();
    *run = '\0';
    contract_open(ids, run, "q", true);
    /* Another process had this number before: the same boot, started earlier. */
    harness_change(harness, "UPDATE runs SET started = started - 1");
}

static void check_interrupted(json_t *run)
{
    assert_string_equal(ac_json_peek_string(run, "status", ""), "interrupted");
    assert_string_equal(ac_json_peek_string(json_object_get(run, "error"), "code", ""), "interrupted");
    assert_true(*ac_json_peek_string(json_object_get(run, "error"), "message", ""));
    assert_int_equal(strlen(ac_json_peek_string(run, "completed_at", "")), 24);
    json_decref(run);
}

static void test_a_dead_run_is_closed_by_any_operation_on_it(void **state)
{
    harness_t *harness = *state;
    contract_ids_t ids;
    char run[AC_ID_SIZE], next[AC_ID_SIZE] = "";
    harness_start(harness, AC_OK);

    dead_run_make(harness, &ids, run);
    check_interrupted(contract_ok(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL)));
    assert_int_equal(harness_number(harness, "SELECT count(*) FROM runs WHERE status = 'interrupted'"), 1);

    dead_run_make(harness, &ids, run);
    json_t *out = contract_ok(contract_call(AC_STORE_RUN_LIST, ids.owner, ids.thread, NULL));
    check_interrupted(json_incref(json_array_get(json_object_get(out, "data"), 0)));
    json_decref(out);

    dead_run_make(harness, &ids, run);
    out = contract_ok(contract_call(AC_STORE_TURN_LOAD, ids.owner, ids.thread, NULL));
    assert_true(json_is_null(json_object_get(out, "active_run")));
    json_decref(out);

    dead_run_make(harness, &ids, run);
    assert_int_equal(contract_open(&ids, next, "again", false), 2);
    check_interrupted(contract_ok(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL)));

    dead_run_make(harness, &ids, run);
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_DELETE, ids.owner, ids.thread, NULL);
    op->hard = true;
    contract_done(contract_wait(op));
    assert_int_equal(harness_number(harness, "SELECT count(*) FROM runs WHERE status = 'interrupted'"), 4);
}

static void test_dead_runs_are_closed_at_start(void **state)
{
    harness_t *harness = *state;
    contract_ids_t ids[5], living;
    char runs[5][AC_ID_SIZE], run[AC_ID_SIZE] = "";
    harness_start(harness, AC_OK);
    for (int i = 0; i < 5; i++) {
        dead_run_make(harness, &ids[i], runs[i]);
    }
    harness_change(
        harness, "UPDATE runs SET boot = 'another boot', started = started + 5 WHERE id = (SELECT min(id) FROM runs)");
    living = contract_ids();
    contract_open(&living, run, "q", true);
    harness_stop(harness);
    harness_start(harness, AC_OK);
    assert_int_equal(harness_logged(208), 1);
    assert_int_equal(harness_number(harness, "SELECT count(*) FROM runs WHERE status = 'interrupted'"), 5);
    for (int i = 0; i < 5; i++) {
        check_interrupted(contract_ok(contract_call(AC_STORE_RUN_GET, ids[i].owner, runs[i], NULL)));
    }
    json_t *out = contract_ok(contract_call(AC_STORE_TURN_LOAD, living.owner, living.thread, NULL));
    assert_string_equal(ac_json_peek_string(out, "active_run", ""), run); /* our own, of a process that lives */
    json_decref(out);
}

/* httpd does not wait for a program that keeps the file locked: it starts, and the runs are closed later. */
static void test_a_locked_file_does_not_keep_a_child_from_starting(void **state)
{
    harness_t *harness = *state;
    contract_ids_t ids;
    char run[AC_ID_SIZE];
    harness_start(harness, AC_OK);
    dead_run_make(harness, &ids, run);
    harness_stop(harness);
    sqlite3 *other = harness_open(harness);
    harness_exec(other, "BEGIN IMMEDIATE");
    harness_start(harness, AC_OK);
    assert_int_equal(harness_logged(206), 1);
    json_decref(contract_ok(contract_call(AC_STORE_THREAD_GET, ids.owner, ids.thread, NULL)));
    harness_exec(other, "ROLLBACK");
    sqlite3_close(other);
    check_interrupted(contract_ok(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL)));
}

static void test_dead_run_on_a_full_disk_is_read_all_the_same(void **state)
{
    harness_t *harness = *state;
    contract_ids_t ids;
    char run[AC_ID_SIZE];
    harness_start(harness, AC_OK);
    dead_run_make(harness, &ids, run);
    harness_exec(harness_writer(), "PRAGMA query_only = ON"); /* as if the disk took nothing more */
    contract_equal(contract_ok(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL)),
                   contract_run(run, ids.thread, "in_progress", 10));
    harness_exec(harness_writer(), "PRAGMA query_only = OFF");
    check_interrupted(contract_ok(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL)));
}

/* What the tests before this one have run. */
static void test_no_statement_of_recovery_scans_a_table(void **state)
{
    harness_t *harness = *state;
    harness_start(harness, AC_OK);
    assert_in_range(harness_check_plans(harness), 15, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SQLITE_TEST(test_full_disk),
        SQLITE_TEST(test_on_a_full_disk_only_writes_that_do_not_fit_fail),
        SQLITE_TEST(test_damaged_row),
        SQLITE_TEST(test_a_dead_run_is_closed_by_any_operation_on_it),
        SQLITE_TEST(test_dead_runs_are_closed_at_start),
        SQLITE_TEST(test_a_locked_file_does_not_keep_a_child_from_starting),
        SQLITE_TEST(test_dead_run_on_a_full_disk_is_read_all_the_same),
        SQLITE_TEST(test_no_statement_of_recovery_scans_a_table),
    };
    int n_failed;

    apr_initialize();
    n_failed = cmocka_run_group_tests_name("sqlite_failures", tests, NULL, NULL);
    apr_terminate();
    return n_failed;
}
