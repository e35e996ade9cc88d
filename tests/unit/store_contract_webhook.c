/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of all stores about webhook deliveries. */
#include "store_contract.h"

#define LEASE 60000 /* ms */

static json_t *with_webhook(json_t *in)
{
    json_object_set_new(json_object_get(in, "run"), "webhook", json_pack("{s:s}", "name", "billing"));
    return in;
}

static void open_run(const contract_ids_t *ids, char run[AC_ID_SIZE], bool fresh)
{
    ac_id_make(run, "run_");
    contract_done(contract_call(AC_STORE_TURN_OPEN, ids->owner, ids->thread,
                                with_webhook(contract_open_in(ids, run, "question", fresh))));
}

static void close_run(const contract_ids_t *ids, const char *run)
{
    contract_done(contract_call(AC_STORE_TURN_CLOSE, ids->owner, ids->thread,
                                with_webhook(contract_close_in(ids, run, "answer"))));
}

static contract_ids_t closed(char run[AC_ID_SIZE])
{
    contract_ids_t ids = contract_ids();
    open_run(&ids, run, true);
    close_run(&ids, run);
    return ids;
}

static void suspend_run(const contract_ids_t *ids, const char *run, const char *step)
{
    json_t *in = json_pack("{s:o, s:[], s:[{s:s, s:s}], s:s, s:{s:n}, s:{}}", "run",
                           contract_run(run, ids->thread, "in_progress", 3), "steps", "asks", "id", step, "approval",
                           "required", "until", "2096-05-05T00:00:00.000Z", "calls", "c1", "state");
    contract_done(contract_call(AC_STORE_RUN_SUSPEND, ids->owner, ids->thread, with_webhook(in)));
}

static void expect_types(const contract_ids_t *ids, const char *owner, const char *run, json_t *wanted)
{
    json_t *out =
        contract_ok(contract_call(AC_STORE_WEBHOOK_LIST, owner, ids->thread, json_pack("{s:s}", "run_id", run)));
    json_t *types = json_array();
    const json_t *row;
    size_t i;
    json_array_foreach(json_object_get(out, "data"), i, row)
    {
        json_array_append(types, json_object_get(row, "type"));
    }
    json_decref(out);
    contract_equal(types, wanted);
}

/* The id of the run's delivery among those that are due in `ahead` ms; NULL: it is not there. */
static char *due_id(const char *run, int ahead, const char *busy)
{
    ac_store_op_t *op =
        contract_op(AC_STORE_WEBHOOK_DUE, NULL, NULL, json_pack("{s:i, s:[s*]}", "ahead", ahead, "busy", busy));
    op->page.limit = 1000;
    json_t *out = contract_ok(contract_wait(op));
    const json_t *row;
    char *found = NULL;
    size_t i;
    json_array_foreach(json_object_get(out, "data"), i, row)
    {
        const char *id = ac_json_peek_string(row, "id", "");
        if (!found && strncmp(id, run, strlen(run)) == 0) {
            assert_string_equal(ac_json_peek_string(row, "webhook", ""), "billing");
            found = strdup(id);
        }
    }
    json_decref(out);
    return found;
}

static bool is_due(const char *run, int ahead, const char *busy)
{
    char *id = due_id(run, ahead, busy);
    bool due = id != NULL;
    free(id);
    return due;
}

static ac_store_op_t *acquire(const contract_ids_t *ids, const char *owner, const char *id, const char *token,
                              int lease)
{
    return contract_call(AC_STORE_WEBHOOK_ACQUIRE, owner, ids->thread,
                         json_pack("{s:s, s:s, s:s, s:i}", "delivery_id", id, "token", token, "process", "elsewhere",
                                   "lease", lease));
}

static ac_store_op_t *report(const contract_ids_t *ids, const char *id, const char *token, const char *state, int wait)
{
    return contract_call(AC_STORE_WEBHOOK_REPORT, ids->owner, ids->thread,
                         json_pack("{s:s, s:s, s:s, s:i, s:s, s:i}", "delivery_id", id, "token", token, "state", state,
                                   "status", 500, "error", "answered 500", "wait", wait));
}

/* The first delivery of the run as the API shows it. */
static json_t *shown(const contract_ids_t *ids, const char *run)
{
    json_t *out =
        contract_ok(contract_call(AC_STORE_WEBHOOK_LIST, ids->owner, ids->thread, json_pack("{s:s}", "run_id", run)));
    json_t *first = json_incref(json_array_get(json_object_get(out, "data"), 0));
    json_decref(out);
    return first;
}

static void test_an_end_is_a_delivery(void **state)
{
    (void)state;
    char run[AC_ID_SIZE], plain[AC_ID_SIZE] = "";
    contract_ids_t ids = closed(run);
    char *id = due_id(run, 1000, NULL);
    assert_non_null(id);
    json_t *got = contract_ok(acquire(&ids, ids.owner, id, "first", LEASE));
    json_t *delivery = json_object_get(got, "delivery"), *data = json_object_get(delivery, "data");
    assert_string_equal(ac_json_peek_string(delivery, "type", ""), "run.completed");
    assert_string_equal(ac_json_peek_string(data, "run_id", ""), run);
    assert_string_equal(ac_json_peek_string(data, "thread_id", ""), ids.thread);
    assert_string_equal(ac_json_peek_string(data, "status", ""), "completed");
    assert_non_null(strstr(ac_json_peek_string(data, "message_id", ""), "msg_"));
    assert_null(json_object_get(data, "content"));
    json_decref(got);
    free(id);
    contract_open(&ids, plain, "without a webhook", false);
    contract_close(&ids, plain, "answer");
    assert_false(is_due(plain, 1000, NULL));
    expect_types(&ids, ids.owner, plain, json_array());
    expect_types(&ids, ids.owner, run, json_pack("[s]", "run.completed"));
    expect_types(&ids, "another owner", run, json_array());
}

static void test_the_same_end_is_notified_once(void **state)
{
    (void)state;
    char run[AC_ID_SIZE];
    contract_ids_t ids = closed(run);
    char *id = due_id(run, 1000, NULL);
    contract_done(acquire(&ids, ids.owner, id, "first", LEASE));
    contract_done(report(&ids, id, "first", "delivered", 0));
    close_run(&ids, run);
    assert_false(is_due(run, LEASE * 10, NULL));
    expect_types(&ids, ids.owner, run, json_pack("[s]", "run.completed"));
    free(id);
}

static void test_one_process_has_a_delivery(void **state)
{
    (void)state;
    char run[AC_ID_SIZE];
    contract_ids_t ids = closed(run);
    char *id = due_id(run, 1000, NULL);
    contract_kind(acquire(&ids, "another owner", id, "first", LEASE), AC_NOT_FOUND);
    contract_done(acquire(&ids, ids.owner, id, "first", LEASE));
    contract_done(acquire(&ids, ids.owner, id, "first", LEASE)); /* the same again */
    contract_kind(acquire(&ids, ids.owner, id, "second", LEASE), AC_PRECONDITION_FAILED);
    contract_kind(report(&ids, id, "second", "delivered", 0), AC_PRECONDITION_FAILED);
    assert_false(is_due(run, 0, NULL));
    assert_true(is_due(run, LEASE + 1000, NULL));
    assert_false(is_due(run, LEASE + 1000, "billing"));
    assert_true(is_due(run, LEASE + 1000, "another"));
    contract_done(report(&ids, id, "first", "pending", -1));
    contract_done(report(&ids, id, "first", "pending", -1)); /* the same again */
    contract_done(acquire(&ids, ids.owner, id, "second", -1));
    contract_done(acquire(&ids, ids.owner, id, "third", LEASE)); /* the second one's lease was over */
    contract_kind(report(&ids, id, "second", "delivered", 0), AC_PRECONDITION_FAILED);
    json_t *now = shown(&ids, run);
    assert_int_equal(ac_json_peek_int(now, "attempts", 0), 3);
    assert_int_equal(ac_json_peek_int(now, "last_status", 0), 500);
    assert_string_equal(ac_json_peek_string(now, "state", ""), "pending");
    assert_null(json_object_get(now, "owner"));
    json_decref(now);
    contract_done(report(&ids, id, "third", "gone", 0));
    contract_kind(acquire(&ids, ids.owner, id, "fourth", LEASE), AC_PRECONDITION_FAILED);
    assert_false(is_due(run, LEASE * 10, NULL));
    now = shown(&ids, run);
    assert_string_equal(ac_json_peek_string(now, "state", ""), "gone");
    assert_true(json_is_null(json_object_get(now, "next_attempt_at")));
    json_decref(now);
    free(id);
}

/* A process of this machine that has ended, and one of another machine. */
static void test_the_delivery_of_a_dead_process_is_free(void **state)
{
    (void)state;
    char run[AC_ID_SIZE], ours[AC_PROCESS_SIZE], dead[AC_PROCESS_SIZE + 16];
    contract_ids_t ids = closed(run);
    char *id = due_id(run, 1000, NULL);
    ac_process_name(ours);
    const char *space = strchr(ours, ' ') + 1;
    int len = (int)(strchr(space, ' ') - ours);
    snprintf(dead, sizeof dead, "%.*s 999999999 1", len, ours);
    json_t *in =
        json_pack("{s:s, s:s, s:s, s:i}", "delivery_id", id, "token", "first", "process", dead, "lease", LEASE);
    contract_done(contract_call(AC_STORE_WEBHOOK_ACQUIRE, ids.owner, ids.thread, in));
    contract_kind(acquire(&ids, ids.owner, id, "second", LEASE), AC_PRECONDITION_FAILED);
    in = json_pack("{s:s, s:s, s:s, s:i}", "delivery_id", id, "token", "third", "process", ours, "lease", LEASE);
    contract_done(contract_call(AC_STORE_WEBHOOK_ACQUIRE, ids.owner, ids.thread, in));
    free(id);
}

static void test_each_request_of_an_approval_is_notified(void **state)
{
    (void)state;
    char run[AC_ID_SIZE];
    contract_ids_t ids = contract_ids();
    open_run(&ids, run, true);
    suspend_run(&ids, run, "step_a");
    char *id = due_id(run, 1000, NULL);
    assert_non_null(id);
    contract_done(contract_call(AC_STORE_APPROVAL_DECIDE, ids.owner, run,
                                json_pack("{s:s, s:b}", "call_id", "c1", "approve", 1)));
    suspend_run(&ids, run, "step_b");
    contract_done(contract_call(AC_STORE_APPROVAL_DECIDE, ids.owner, run,
                                json_pack("{s:s, s:b}", "call_id", "c1", "approve", 1)));
    contract_done(acquire(&ids, ids.owner, id, "first", LEASE)); /* the run continues meanwhile */
    close_run(&ids, run);
    contract_done(report(&ids, id, "first", "delivered", 0));
    expect_types(&ids, ids.owner, run,
                 json_pack("[s, s, s]", "run.approval_required", "run.approval_required", "run.completed"));
    free(id);
}

static void test_a_webhook_may_want_some_events(void **state)
{
    (void)state;
    char run[AC_ID_SIZE];
    contract_ids_t ids = contract_ids();
    open_run(&ids, run, true);
    json_t *in = with_webhook(contract_close_in(&ids, run, "answer"));
    json_object_set_new(json_object_get(json_object_get(in, "run"), "webhook"), "events",
                        json_pack("[s]", "run.failed"));
    contract_done(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, in));
    expect_types(&ids, ids.owner, run, json_array());
}

static void test_an_ended_queued_turn_is_notified(void **state)
{
    (void)state;
    char active[AC_ID_SIZE] = "", run[AC_ID_SIZE];
    contract_ids_t ids = contract_ids();
    contract_open(&ids, active, "q", true);
    ac_id_make(run, "run_");
    contract_done(contract_call(AC_STORE_TURN_QUEUE, ids.owner, ids.thread,
                                with_webhook(json_pack("{s:o, s:i}", "run", contract_run(run, ids.thread, "queued", 3),
                                                       "most", 3))));
    assert_false(is_due(run, 1000, NULL));
    contract_done(
        contract_call(AC_STORE_TURN_UNQUEUE, ids.owner, run,
                      with_webhook(json_pack("{s:o}", "run", contract_run(run, ids.thread, "cancelled", 3)))));
    expect_types(&ids, ids.owner, run, json_pack("[s]", "run.cancelled"));
    contract_close(&ids, active, "a");
}

static void test_a_deleted_thread_has_no_deliveries(void **state)
{
    (void)state;
    char run[AC_ID_SIZE], other[AC_ID_SIZE];
    contract_ids_t soft = closed(run), hard = closed(other);
    char *id = due_id(run, 1000, NULL);
    contract_done(contract_call(AC_STORE_THREAD_DELETE, soft.owner, soft.thread,
                                json_pack("{s:s}", "deleted_at", "2026-05-05T00:00:00.000Z")));
    contract_equal(contract_ok(acquire(&soft, soft.owner, id, "first", LEASE)), json_pack("{s:n}", "delivery"));
    assert_false(is_due(run, LEASE * 10, NULL));
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_DELETE, hard.owner, hard.thread,
                                    json_pack("{s:s}", "deleted_at", "2026-05-05T00:00:00.000Z"));
    op->hard = true;
    contract_done(contract_wait(op));
    assert_false(is_due(other, LEASE * 10, NULL));
    free(id);
}

int contract_webhook(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_end_is_a_delivery),
        cmocka_unit_test(test_the_same_end_is_notified_once),
        cmocka_unit_test(test_one_process_has_a_delivery),
        cmocka_unit_test(test_the_delivery_of_a_dead_process_is_free),
        cmocka_unit_test(test_each_request_of_an_approval_is_notified),
        cmocka_unit_test(test_a_webhook_may_want_some_events),
        cmocka_unit_test(test_an_ended_queued_turn_is_notified),
        cmocka_unit_test(test_a_deleted_thread_has_no_deliveries),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
