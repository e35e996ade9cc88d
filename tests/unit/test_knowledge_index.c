/* SPDX-License-Identifier: Apache-2.0 */
/* The knowledge base's index, rebuilt when it is damaged, and used by many threads and processes at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "knowledge_rig.h"

#include <apr_strings.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the index's file ---- */

static void overwrite(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++) {
        fputs(text, file);
    }
    fclose(file);
}

static void test_knowledge_index_is_rebuilt(void **state)
{
    (void)state;
    kb_put("a.md", KB_ORDERS);
    tool_rig_start(&kb.tool);
    kb_ask("refunds");
    assert_int_equal(access(kb_index_file(), F_OK), 0);
    assert_int_equal(unlink(kb_index_file()), 0); /* under a kb.tool that has it open */
    unlink(apr_pstrcat(kb.tool.pool, kb_index_file(), "-wal", NULL));
    unlink(apr_pstrcat(kb.tool.pool, kb_index_file(), "-shm", NULL));
    kb_search_rebuilt("refunds");
    assert_int_equal(kb_n_hits(), 1);
    overwrite(kb_index_file(), "this is no database ");
    kb_search_rebuilt("refunds");
    assert_int_equal(kb_n_hits(), 1);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(kb_index_file(), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    kb_search_rebuilt("refunds");
    assert_int_equal(kb_n_hits(), 1);
}

static void test_knowledge_index_cannot_be_made(void **state)
{
    (void)state;
    kb.tool.conf.state_dir = "/proc/none";
    tool_rig_start(&kb.tool);
    tool_rig_call(&kb.tool, &kb.answer, "{\"query\":\"x\"}", 0);
    tool_answer_failed(&kb.answer, AC_TOOL_ERROR, "the knowledge base's index cannot be opened");
}

/* ---- many at once ---- */

#define N_THREADS 8
#define N_SEARCHES 20

static void *search_often(void *baton)
{
    intptr_t *pn_wrong = baton;
    for (int i = 0; i < N_SEARCHES; i++) {
        json_t *result = NULL, *arguments = json_pack("{s:s}", "query", "refunds");
        ac_err_t err;
        ac_err_init(&err);
        apr_status_t status =
            kb.tool.vt->call(&result, kb.tool.self, arguments, ac_clock() + apr_time_from_sec(20), &err);
        bool good = status == APR_SUCCESS && json_array_size(json_object_get(result, "results")) == 5;
        if (!good) {
            print_error("search %d: %d results; %s\n", i, (int)json_array_size(json_object_get(result, "results")),
                        err.detail);
        }
        *pn_wrong += !good;
        json_decref(result);
        json_decref(arguments);
    }
    return NULL;
}

static void test_knowledge_many_threads(void **state)
{
    (void)state;
    pthread_t threads[N_THREADS];
    intptr_t n_wrong[N_THREADS] = {0};
    kb_fill(60);
    tool_rig_start(&kb.tool);
    for (int i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, search_often, &n_wrong[i]), 0);
    }
    for (int i = 0; i < N_THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(n_wrong[i], 0);
    }
    kb_ask("refunds");
    assert_int_equal(ac_json_peek_int(kb.answer.result, "total", 0), 60);
}

/* As httpd's children: each with connections of its own, all beginning with no index. */
static void test_knowledge_many_processes(void **state)
{
    (void)state;
    pid_t children[4];
    int results[4];
    kb_fill(120);
    tool_rig_start(&kb.tool);
    for (int i = 0; i < 4; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            intptr_t n_wrong = 0;
            search_often(&n_wrong);
            apr_pool_destroy(kb.tool.pool); /* closes the connections */
            _exit(n_wrong ? 1 : 0);
        }
        assert_true(children[i] > 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(waitpid(children[i], &results[i], 0), children[i]);
    }
    for (int i = 0; i < 4; i++) {
        assert_true(WIFEXITED(results[i]) && WEXITSTATUS(results[i]) == 0);
    }
    kb_ask("refunds");
    assert_int_equal(ac_json_peek_int(kb.answer.result, "total", 0), 120);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(kb_index_file(), &db), SQLITE_OK);
    assert_int_equal(kb_number(db, "SELECT count(*) FROM document"), 120);
    assert_int_equal(kb_number(db, "SELECT count(*) FROM section"), 360);
    sqlite3_close(db);
}

/* While another process writes, an index that is whole is searched as it is. */
static void test_knowledge_does_not_wait_for_a_writer(void **state)
{
    (void)state;
    sqlite3 *db;
    kb_put("a.md", KB_ORDERS);
    tool_rig_start(&kb.tool);
    kb_ask("refunds");
    assert_int_equal(sqlite3_open(kb_index_file(), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    kb_put("b.md", KB_ORDERS);
    kb_search_rebuilt("refunds");
    assert_int_equal(kb_n_hits(), 1);
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    kb_search_rebuilt("refunds");
    assert_int_equal(kb_n_hits(), 2);
}

static void test_knowledge_indexes_at_start(void **state)
{
    (void)state;
    kb_put("a.md", KB_ORDERS);
    assert_int_equal(ac_work_create(&kb.tool.host.work, kb.tool.rig.loop, 1, 4, NULL), APR_SUCCESS);
    tool_rig_start(&kb.tool);
    ac_work_destroy(kb.tool.host.work); /* finishes what is queued */
    sqlite3 *db;
    assert_int_equal(sqlite3_open(kb_index_file(), &db), SQLITE_OK);
    assert_int_equal(kb_number(db, "SELECT count(*) FROM section"), 3);
    sqlite3_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_knowledge_index_is_rebuilt, kb_set_up, kb_tear_down),
        cmocka_unit_test_setup_teardown(test_knowledge_index_cannot_be_made, kb_set_up, kb_tear_down),
        cmocka_unit_test_setup_teardown(test_knowledge_many_threads, kb_set_up, kb_tear_down),
        cmocka_unit_test_setup_teardown(test_knowledge_many_processes, kb_set_up, kb_tear_down),
        cmocka_unit_test_setup_teardown(test_knowledge_does_not_wait_for_a_writer, kb_set_up, kb_tear_down),
        cmocka_unit_test_setup_teardown(test_knowledge_indexes_at_start, kb_set_up, kb_tear_down),
    };
    return cmocka_run_group_tests_name("knowledge_index", tests, NULL, NULL);
}
