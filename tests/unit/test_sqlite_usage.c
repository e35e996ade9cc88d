/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's usage where files of older versions and dead processes matter. */
#include "sqlite_harness.h"
#include "store_contract.h"

static void check_runs(const char *owner, int runs, int prompt)
{
    json_t *in = json_pack("{s:s, s:s, s:[]}", "from", "2026-02-03", "to", "2026-02-03", "by");
    json_t *out = contract_ok(contract_call(AC_STORE_USAGE_SUM, owner, NULL, in));
    const json_t *totals = json_object_get(out, "totals");
    assert_int_equal(ac_json_peek_int(totals, "runs", -1), runs);
    assert_int_equal(ac_json_peek_int(json_object_get(totals, "usage"), "prompt_tokens", -1), prompt);
    json_decref(out);
}

static void turn(const contract_ids_t *ids, bool fresh)
{
    char run[AC_ID_SIZE] = "";
    contract_open(ids, run, "q", fresh);
    json_t *in = contract_close_in(ids, run, "a");
    json_object_set_new(json_object_get(in, "run"), "usage", json_pack("{s:i}", "prompt_tokens", 7));
    contract_done(contract_call(AC_STORE_TURN_CLOSE, ids->owner, ids->thread, in));
}

static void test_the_runs_of_an_older_file_are_counted(void **state)
{
    harness_t *harness = *state;
    char run[AC_ID_SIZE] = "";
    harness_start(harness, AC_OK);
    contract_ids_t ids = contract_ids(), other = contract_ids();
    turn(&ids, true);
    turn(&ids, false);
    turn(&other, true);
    contract_open(&ids, run, "q", false); /* it is active */
    harness_stop(harness);
    harness_change(harness,
                   "DROP TABLE usage; DELETE FROM stamps WHERE name = 'store';" HARNESS_WITHOUT_VERSION_7
                   "PRAGMA user_version = 5");
    harness_start(harness, AC_OK);
    check_runs(ids.owner, 2, 14);
    check_runs(other.owner, 1, 7);
    contract_close(&ids, run, "a");
    check_runs(ids.owner, 3, 14);
    harness_stop(harness);
    harness_start(harness, AC_OK); /* once is enough */
    check_runs(ids.owner, 3, 14);
}

/* The kill comes between a run's beginning and its end; whichever process finds it counts it, once. */
static void test_a_dead_run_is_counted_once(void **state)
{
    harness_t *harness = *state;
    char run[AC_ID_SIZE] = "", other[AC_ID_SIZE] = "";
    harness_start(harness, AC_OK);
    contract_ids_t ids = contract_ids(), two = contract_ids();
    contract_open(&ids, run, "q", true);
    contract_open(&two, other, "q", true);
    harness_change(harness, "UPDATE runs SET pid = 0, started = 1, boot = 'an older boot'");
    contract_done(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL)); /* a reader finds it */
    check_runs(ids.owner, 1, 0);
    contract_done(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL));
    check_runs(ids.owner, 1, 0);
    harness_stop(harness);
    harness_start(harness, AC_OK); /* the sweep of a start finds the other one */
    check_runs(two.owner, 1, 0);
    json_t *in = contract_close_in(&ids, run, "recovered");
    json_object_set_new(json_object_get(in, "run"), "usage", json_pack("{s:i}", "prompt_tokens", 9));
    json_object_set_new(in, "late", json_true());
    contract_done(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, in));
    check_runs(ids.owner, 1, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SQLITE_TEST(test_the_runs_of_an_older_file_are_counted),
        SQLITE_TEST(test_a_dead_run_is_counted_once),
    };
    apr_initialize();
    int n_failed = cmocka_run_group_tests_name("sqlite_usage", tests, NULL, NULL);
    apr_terminate();
    return n_failed;
}
