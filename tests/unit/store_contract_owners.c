/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of all stores about owners: another owner can neither see nor write any data, by any verb. */
#include "store_contract.h"

/* What another owner is answered, by each verb that is about one thread or run. */
static void check_not_found(const contract_ids_t *ids, const char *run_id, const char *stranger)
{
    static const ac_store_verb_e reading[] = {AC_STORE_THREAD_GET, AC_STORE_MESSAGE_LIST, AC_STORE_TURN_LOAD,
                                              AC_STORE_RUN_LIST};
    static const ac_store_verb_e of_runs[] = {AC_STORE_RUN_GET, AC_STORE_STEP_LIST};
    char at[AC_TIME_SIZE];
    for (size_t i = 0; i < sizeof(reading) / sizeof(*reading); i++) {
        ac_store_op_t *op = contract_op(reading[i], stranger, ids->thread, NULL);
        op->page.limit = 10;
        contract_kind(contract_wait(op), AC_NOT_FOUND);
    }
    for (size_t i = 0; i < sizeof(of_runs) / sizeof(*of_runs); i++) {
        contract_kind(contract_call(of_runs[i], stranger, run_id, NULL), AC_NOT_FOUND);
    }
    contract_time(at, 9);
    contract_kind(contract_call(AC_STORE_THREAD_UPDATE, stranger, ids->thread,
                                json_pack("{s:s, s:s}", "title", "x", "updated_at", at)),
                  AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_THREAD_DELETE, stranger, ids->thread, json_pack("{s:s}", "deleted_at", at)),
                  AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_THREAD_RESTORE, stranger, ids->thread, json_pack("{s:s}", "updated_at", at)),
                  AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_TURN_OPEN, stranger, ids->thread,
                                contract_open_in(ids, "run_stranger", "x", false)),
                  AC_NOT_FOUND);
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_DELETE, stranger, ids->thread, json_object());
    op->hard = true;
    contract_kind(contract_wait(op), AC_NOT_FOUND);
}

static json_t *all_of(const contract_ids_t *ids, const char *run_id)
{
    json_t *all = json_array();
    static const ac_store_verb_e verbs[] = {AC_STORE_THREAD_GET, AC_STORE_MESSAGE_LIST, AC_STORE_RUN_LIST,
                                            AC_STORE_RUN_GET, AC_STORE_STEP_LIST};
    for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++) {
        ac_store_op_t *op = contract_op(verbs[i], ids->owner, i < 3 ? ids->thread : run_id, NULL);
        op->page.limit = 10;
        json_array_append_new(all, contract_ok(contract_wait(op)));
    }
    return all;
}

static void test_nothing_of_another_owner(void **state)
{
    contract_ids_t ids = contract_ids(), stranger = contract_ids();
    char run_id[AC_ID_SIZE] = "";
    (void)state;
    assert_int_equal(contract_open(&ids, run_id, "hello", true), 1);
    check_not_found(&ids, run_id, stranger.owner); /* while the run is active, which is no 409 to others */
    assert_int_equal(contract_close(&ids, run_id, "hi"), 2);
    json_t *before = all_of(&ids, run_id);
    check_not_found(&ids, run_id, stranger.owner);
    /* A closing write that is too late for its thread is not found; for another owner it never existed. */
    json_decref(contract_ok(
        contract_call(AC_STORE_TURN_CLOSE, stranger.owner, ids.thread, contract_close_in(&ids, run_id, "forged"))));
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_LIST, stranger.owner, NULL, NULL);
    op->page.limit = 10;
    json_t *listed = contract_ok(contract_wait(op));
    assert_int_equal(json_array_size(json_object_get(listed, "data")), 0);
    json_decref(listed);
    contract_equal(all_of(&ids, run_id), before);
}

int contract_owners(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_of_another_owner),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
