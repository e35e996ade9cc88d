/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of all stores about turns that wait for their thread. */
#include "store_contract.h"

#define MOST 2

/* The run names its message, which the opening write brings. */
static void message_id(char id[AC_ID_SIZE], const char *run)
{
    snprintf(id, AC_ID_SIZE, "msg_%.30s", run + strlen("run_"));
}

static json_t *queue_in(const contract_ids_t *ids, const char *run)
{
    char id[AC_ID_SIZE];
    json_t *in = json_pack("{s:o, s:i}", "run", contract_run(run, ids->thread, "queued", 3), "most", MOST);
    message_id(id, run);
    json_object_set_new(json_object_get(in, "run"), "parent_id", json_string(id));
    return in;
}

static ac_store_op_t *queue(const contract_ids_t *ids, const char *run)
{
    return contract_call(AC_STORE_TURN_QUEUE, ids->owner, ids->thread, queue_in(ids, run));
}

static ac_store_op_t *begin(const contract_ids_t *ids, const char *run)
{
    char id[AC_ID_SIZE];
    json_t *in = contract_open_in(ids, run, "later", false);
    message_id(id, run);
    json_object_set_new(json_object_get(in, "message"), "id", json_string(id));
    json_object_set_new(in, "queued", json_true());
    return contract_call(AC_STORE_TURN_OPEN, ids->owner, ids->thread, in);
}

static ac_store_op_t *unqueue(const contract_ids_t *ids, const char *owner, const char *run)
{
    return contract_call(AC_STORE_TURN_UNQUEUE, owner, run,
                         json_pack("{s:o}", "run", contract_run(run, ids->thread, "cancelled", 3)));
}

/* The queue as TURN_LOAD shows it. */
static void expect_queue(const contract_ids_t *ids, json_t *wanted)
{
    ac_store_op_t *op = contract_op(AC_STORE_TURN_LOAD, ids->owner, ids->thread, json_pack("{s:b}", "fresh", 1));
    op->page.limit = 10;
    json_t *loaded = contract_ok(contract_wait(op));
    json_t *queue = json_object_get(loaded, "queue");
    contract_equal(queue ? json_incref(queue) : json_array(), wanted);
    json_decref(loaded);
}

static void expect_status(const contract_ids_t *ids, const char *run, const char *status)
{
    json_t *got = contract_ok(contract_call(AC_STORE_RUN_GET, ids->owner, run, NULL));
    assert_string_equal(ac_json_peek_string(got, "status", ""), status);
    json_decref(got);
}

/* A thread with an active run, and two turns in its queue. */
static contract_ids_t busy(char active[AC_ID_SIZE], char first[AC_ID_SIZE], char second[AC_ID_SIZE])
{
    contract_ids_t ids = contract_ids();
    *active = '\0';
    contract_open(&ids, active, "q", true);
    expect_queue(&ids, json_array());
    ac_id_make(first, "run_");
    ac_id_make(second, "run_");
    contract_equal(contract_ok(queue(&ids, first)), json_pack("{s:i}", "place", 0));
    contract_equal(contract_ok(queue(&ids, second)), json_pack("{s:i}", "place", 1));
    return ids;
}

static void test_turns_begin_in_their_order(void **state)
{
    (void)state;
    char active[AC_ID_SIZE], first[AC_ID_SIZE], second[AC_ID_SIZE], other[AC_ID_SIZE];
    contract_ids_t ids = busy(active, first, second);
    ac_id_make(other, "run_");
    contract_equal(contract_ok(queue(&ids, second)), json_pack("{s:i}", "place", 1)); /* the same again */
    contract_kind(queue(&ids, other), AC_RUN_IN_PROGRESS);
    expect_queue(&ids, json_pack("[s, s]", first, second));
    expect_status(&ids, first, "queued");
    contract_kind(begin(&ids, first), AC_RUN_IN_PROGRESS);
    contract_close(&ids, active, "a");
    contract_kind(begin(&ids, second), AC_RUN_IN_PROGRESS);
    contract_kind(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, contract_open_in(&ids, other, "x", false)),
                  AC_RUN_IN_PROGRESS);
    contract_done(begin(&ids, first));
    contract_done(begin(&ids, first)); /* the same again */
    expect_status(&ids, first, "in_progress");
    expect_queue(&ids, json_pack("[s]", second));
    contract_kind(begin(&ids, second), AC_RUN_IN_PROGRESS);
    contract_close(&ids, first, "b");
    contract_done(begin(&ids, second));
    contract_close(&ids, second, "c");
    expect_queue(&ids, json_array());
    contract_gapless(&ids, 6);
}

static void test_a_turn_may_come_first(void **state)
{
    (void)state;
    char active[AC_ID_SIZE], first[AC_ID_SIZE], second[AC_ID_SIZE], urgent[AC_ID_SIZE];
    contract_ids_t ids = busy(active, first, second);
    ac_id_make(urgent, "run_");
    json_t *in = queue_in(&ids, urgent);
    json_object_set_new(in, "first", json_true());
    json_object_set_new(in, "most", json_integer(MOST + 1));
    contract_equal(contract_ok(contract_call(AC_STORE_TURN_QUEUE, ids.owner, ids.thread, in)),
                   json_pack("{s:i}", "place", 0));
    expect_queue(&ids, json_pack("[s, s, s]", urgent, first, second));
    contract_close(&ids, active, "a");
    contract_kind(begin(&ids, first), AC_RUN_IN_PROGRESS);
    contract_done(begin(&ids, urgent));
    contract_done(begin(&ids, urgent)); /* the same again */
}

static void test_a_queued_turn_can_be_ended(void **state)
{
    (void)state;
    char active[AC_ID_SIZE], first[AC_ID_SIZE], second[AC_ID_SIZE];
    contract_ids_t ids = busy(active, first, second);
    contract_kind(unqueue(&ids, "another owner", first), AC_RUN_ENDED);
    contract_kind(unqueue(&ids, ids.owner, active), AC_RUN_ENDED);
    contract_done(unqueue(&ids, ids.owner, first));
    contract_kind(unqueue(&ids, ids.owner, first), AC_RUN_ENDED);
    expect_status(&ids, first, "cancelled");
    expect_queue(&ids, json_pack("[s]", second));
    contract_close(&ids, active, "a");
    contract_kind(begin(&ids, first), AC_RUN_ENDED);
    contract_done(begin(&ids, second));
    contract_kind(unqueue(&ids, ids.owner, second), AC_RUN_ENDED);
}

static bool is_listed(const char *run, const char *before)
{
    ac_store_op_t *op = contract_op(AC_STORE_QUEUED_LIST, NULL, NULL, json_pack("{s:s}", "before", before));
    op->page.limit = 100;
    json_t *out = contract_ok(contract_wait(op));
    const json_t *row;
    size_t i;
    bool found = false;
    json_array_foreach(json_object_get(out, "data"), i, row)
    {
        found = found || strcmp(ac_json_peek_string(row, "run_id", ""), run) == 0;
    }
    json_decref(out);
    return found;
}

static void test_queued_turns_are_found(void **state)
{
    (void)state;
    char active[AC_ID_SIZE], first[AC_ID_SIZE], second[AC_ID_SIZE], late[AC_TIME_SIZE], early[AC_TIME_SIZE];
    char urgent[AC_ID_SIZE];
    contract_ids_t ids = busy(active, first, second);
    ac_id_make(urgent, "run_");
    contract_time(early, 3);
    contract_time(late, 4);
    assert_true(is_listed(first, late));
    assert_false(is_listed(first, early));
    contract_done(unqueue(&ids, ids.owner, first));
    assert_false(is_listed(first, late));
    json_t *in = queue_in(&ids, urgent); /* one that comes first is no older than it is */
    json_object_set_new(in, "first", json_true());
    contract_done(contract_call(AC_STORE_TURN_QUEUE, ids.owner, ids.thread, in));
    assert_true(is_listed(urgent, late));
    assert_false(is_listed(urgent, early));
}

static void test_other_owners_have_no_queue(void **state)
{
    (void)state;
    char active[AC_ID_SIZE], first[AC_ID_SIZE], second[AC_ID_SIZE], run[AC_ID_SIZE];
    contract_ids_t ids = busy(active, first, second), other = ids;
    ac_id_make(run, "run_");
    snprintf(other.owner, sizeof(other.owner), "another");
    contract_kind(queue(&other, run), AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_RUN_GET, other.owner, first, NULL), AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_APPROVAL_DECIDE, ids.owner, first, json_pack("{s:b}", "cancel", 1)),
                  AC_NOT_WAITING);
}

int contract_queue(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns_begin_in_their_order), cmocka_unit_test(test_a_turn_may_come_first),
        cmocka_unit_test(test_a_queued_turn_can_be_ended), cmocka_unit_test(test_queued_turns_are_found),
        cmocka_unit_test(test_other_owners_have_no_queue),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
