/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of all stores about OWNER_ERASE: nothing that the owner had is left, and nothing else is missing. */
#include "store_contract.h"

static json_t *erase_in(void)
{
    char id[AC_ID_SIZE];
    ac_id_make(id, "erasure_");
    return json_pack("{s:s, s:o}", "id", id, "at", ac_time_json(apr_time_now()));
}

static void purge(void)
{
    contract_done(contract_call(AC_STORE_PURGE, NULL, NULL, json_pack("{s:s}", "before", "0000-00-00T00:00:00.001Z")));
}

static void turn(const contract_ids_t *ids, char run[AC_ID_SIZE], bool fresh)
{
    *run = '\0';
    contract_open(ids, run, "what?", fresh);
    contract_close(ids, run, "that");
}

static size_t n_threads(const char *owner)
{
    json_t *list = contract_ok(contract_call(AC_STORE_THREAD_LIST, owner, NULL, NULL));
    size_t n = json_array_size(json_object_get(list, "data"));
    json_decref(list);
    return n;
}

static void test_all_of_one_owner(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids(), second = contract_ids(), other = contract_ids();
    char run[AC_ID_SIZE], active[AC_ID_SIZE] = "", theirs[AC_ID_SIZE];
    snprintf(second.owner, sizeof(second.owner), "%s", ids.owner);
    turn(&ids, run, true);
    turn(&other, theirs, true);
    contract_open(&second, active, "and?", true);
    json_t *out = contract_ok(contract_call(AC_STORE_OWNER_ERASE, ids.owner, NULL, erase_in()));
    assert_int_equal(json_array_size(json_object_get(out, "threads")), 2);
    assert_string_equal(json_string_value(json_array_get(json_object_get(out, "active"), 0)), active);
    assert_int_equal(ac_json_peek_int(out, "messages", 0), 3);
    assert_int_equal(ac_json_peek_int(out, "runs", 0), 2);
    json_decref(out);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(n_threads(ids.owner), 0);
        contract_kind(contract_call(AC_STORE_THREAD_GET, ids.owner, ids.thread, NULL), AC_NOT_FOUND);
        contract_kind(contract_call(AC_STORE_MESSAGE_LIST, ids.owner, second.thread, NULL), AC_NOT_FOUND);
        contract_kind(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL), AC_NOT_FOUND);
        contract_kind(contract_call(AC_STORE_STEP_LIST, ids.owner, run, NULL), AC_NOT_FOUND);
        contract_kind(contract_call(AC_STORE_THREAD_RESTORE, ids.owner, ids.thread,
                                    json_pack("{s:s}", "updated_at", "2026-02-03T04:05:06.789Z")),
                      AC_NOT_FOUND);
        /* What the process of the active run still wants to store is dropped. */
        out = contract_ok(
            contract_call(AC_STORE_TURN_CLOSE, ids.owner, second.thread, contract_close_in(&second, active, "late")));
        assert_true(json_is_null(json_object_get(out, "message")));
        json_decref(out);
        purge();
    }
    assert_int_equal(n_threads(other.owner), 1);
    contract_gapless(&other, 2);
    contract_ids_t fresh = contract_ids();
    snprintf(fresh.owner, sizeof(fresh.owner), "%s", ids.owner);
    turn(&fresh, run, true);
    purge();
    assert_int_equal(n_threads(ids.owner), 1);
    contract_gapless(&fresh, 2);
}

static void test_usage_loses_its_owner(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE];
    json_t *out;
    turn(&ids, run, true);
    contract_done(contract_call(AC_STORE_OWNER_ERASE, ids.owner, NULL, erase_in()));
    out = contract_ok(contract_call(AC_STORE_USAGE_SUM, ids.owner, NULL,
                                    json_pack("{s:s, s:s, s:[]}", "from", "2000-01-01", "to", "2999-01-01", "by")));
    assert_int_equal(ac_json_peek_int(json_object_get(out, "totals"), "runs", -1), 0);
    json_decref(out);
    out = contract_ok(contract_call(AC_STORE_USAGE_SUM_ALL, NULL, NULL,
                                    json_pack("{s:s, s:s, s:[], s:s}", "from", "2000-01-01", "to", "2999-01-01", "by",
                                              "owner", " erased")));
    assert_true(ac_json_peek_int(json_object_get(out, "totals"), "runs", -1) > 0);
    json_decref(out);
    purge();
}

int contract_erase(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_of_one_owner),
        cmocka_unit_test(test_usage_loses_its_owner),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
