/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of all stores about a run that awaits approval. */
#include "store_contract.h"

#define UNTIL "2026-05-05T00:00:00.000Z"

static json_t *wait_in(const contract_ids_t *ids, const char *run)
{
    return json_pack("{s:o, s:[o], s:[{s:s, s:s}], s:s, s:{s:n, s:n}, s:{s:s, s:i}}", "run",
                     contract_run(run, ids->thread, "in_progress", 3), "steps", contract_step("step_a", run, 4), "asks",
                     "id", "step_b", "approval", "required", "until", UNTIL, "calls", "c1", "c2", "state", "said",
                     "café", "n", 7);
}

/* A turn that is open and waits. */
static contract_ids_t waiting(char run[AC_ID_SIZE])
{
    contract_ids_t ids = contract_ids();
    *run = '\0';
    contract_open(&ids, run, "q", true);
    contract_done(contract_call(AC_STORE_RUN_SUSPEND, ids.owner, ids.thread, wait_in(&ids, run)));
    return ids;
}

static ac_store_op_t *decide(const char *owner, const char *run, const char *call, bool approve)
{
    return contract_call(AC_STORE_APPROVAL_DECIDE, owner, run,
                         json_pack("{s:s, s:b, s:s}", "call_id", call, "approve", approve, "reason", "so"));
}

static size_t n_steps(const contract_ids_t *ids, const char *run)
{
    json_t *list = contract_ok(contract_call(AC_STORE_STEP_LIST, ids->owner, run, NULL));
    size_t n = json_array_size(json_object_get(list, "data"));
    json_decref(list);
    return n;
}

static void test_the_last_approval_returns_the_run(void **state)
{
    (void)state;
    char run[AC_ID_SIZE], next[AC_ID_SIZE] = "run_x";
    contract_ids_t ids = waiting(run);
    assert_int_equal(n_steps(&ids, run), 2);
    contract_kind(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, contract_open_in(&ids, next, "me", false)),
                  AC_RUN_IN_PROGRESS);
    contract_done(contract_call(AC_STORE_RUN_SUSPEND, ids.owner, ids.thread, wait_in(&ids, run))); /* the same again */
    contract_kind(decide("another owner", run, "c1", true), AC_NOT_WAITING);
    contract_kind(decide(ids.owner, run, "c3", true), AC_NOT_WAITING);
    contract_kind(decide(ids.owner, "run_none", "c1", true), AC_NOT_WAITING);
    contract_equal(contract_ok(decide(ids.owner, run, "c2", false)), json_pack("{s:i}", "waiting", 1));
    contract_kind(decide(ids.owner, run, "c2", true), AC_NOT_WAITING);
    contract_equal(contract_ok(decide(ids.owner, run, "c1", true)),
                   json_pack("{s:s, s:{s:{s:b, s:s}, s:{s:b, s:s}}, s:{s:s, s:i}}", "thread_id", ids.thread, "calls",
                             "c1", "approve", 1, "reason", "so", "c2", "approve", 0, "reason", "so", "state", "said",
                             "café", "n", 7));
    contract_kind(decide(ids.owner, run, "c1", true), AC_NOT_WAITING);
    assert_int_equal(n_steps(&ids, run), 1);
    json_t *got = contract_ok(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL));
    assert_string_equal(ac_json_peek_string(got, "status", ""), "in_progress");
    json_decref(got);
    contract_done(contract_call(AC_STORE_RUN_SUSPEND, ids.owner, ids.thread, wait_in(&ids, run))); /* another round */
    contract_done(contract_call(AC_STORE_APPROVAL_DECIDE, ids.owner, run, json_pack("{s:b}", "cancel", 1)));
    assert_int_equal(contract_close(&ids, run, "a"), 2);
    contract_gapless(&ids, 2);
}

static void test_a_close_ends_the_waiting(void **state)
{
    (void)state;
    char run[AC_ID_SIZE];
    contract_ids_t ids = waiting(run);
    assert_int_equal(contract_close(&ids, run, "a"), 2);
    contract_kind(decide(ids.owner, run, "c1", true), AC_NOT_WAITING);
    contract_kind(contract_call(AC_STORE_RUN_SUSPEND, ids.owner, ids.thread, wait_in(&ids, run)), AC_RUN_ENDED);
}

static bool is_late(const char *run, const char *before)
{
    ac_store_op_t *op = contract_op(AC_STORE_SUSPENDED_LIST, NULL, NULL, json_pack("{s:s}", "before", before));
    op->page.limit = 1000;
    json_t *list = contract_ok(contract_wait(op)), *late;
    bool found = false;
    size_t i;
    json_array_foreach(json_object_get(list, "data"), i, late)
    {
        found = found || strcmp(ac_json_peek_string(late, "run_id", ""), run) == 0;
    }
    json_decref(list);
    return found;
}

static void test_time_is_over(void **state)
{
    (void)state;
    char run[AC_ID_SIZE];
    contract_ids_t ids = waiting(run);
    assert_false(is_late(run, "2026-05-04T00:00:00.000Z"));
    assert_true(is_late(run, "2026-05-06T00:00:00.000Z"));
    contract_kind(contract_call(AC_STORE_APPROVAL_DECIDE, ids.owner, run,
                                json_pack("{s:s}", "expired", "2026-05-04T00:00:00.000Z")),
                  AC_NOT_WAITING);
    contract_done(decide(ids.owner, run, "c1", true));
    json_t *in = json_pack("{s:s}", "expired", "2026-05-06T00:00:00.000Z");
    json_t *out = contract_ok(contract_call(AC_STORE_APPROVAL_DECIDE, ids.owner, run, in));
    contract_equal(json_incref(json_object_get(out, "calls")),
                   json_pack("{s:{s:b, s:s}, s:{s:b, s:b}}", "c1", "approve", 1, "reason", "so", "c2", "approve", 0,
                             "expired", 1));
    json_decref(out);
    assert_false(is_late(run, "2026-05-06T00:00:00.000Z"));
    contract_close(&ids, run, "a");
}

static void test_large_state_documents_are_stored(void **state)
{
    (void)state;
    char run[AC_ID_SIZE] = "";
    contract_ids_t ids = contract_ids();
    contract_open(&ids, run, "q", true);
    char *large = malloc(2500001);
    memset(large, 'x', 2500000);
    large[2500000] = '\0';
    json_t *in = wait_in(&ids, run);
    json_object_set_new(json_object_get(in, "state"), "said", json_string(large));
    contract_done(contract_call(AC_STORE_RUN_SUSPEND, ids.owner, ids.thread, in));
    json_t *out = contract_ok(contract_call(AC_STORE_APPROVAL_DECIDE, ids.owner, run, json_pack("{s:b}", "cancel", 1)));
    assert_string_equal(ac_json_peek_string(json_object_get(out, "state"), "said", ""), large);
    json_decref(out);
    free(large);
    contract_close(&ids, run, "a");
}

int contract_approvals(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_last_approval_returns_the_run),
        cmocka_unit_test(test_a_close_ends_the_waiting),
        cmocka_unit_test(test_time_is_over),
        cmocka_unit_test(test_large_state_documents_are_stored),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
