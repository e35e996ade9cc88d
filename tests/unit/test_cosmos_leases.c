/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store on several machines: the holder of a run's lease, the right to close a run, and turns whose
 * answer from the service was lost. */
#include "cosmos_harness.h"

static cosmos_server_t server;

static void check_status(const contract_ids_t *ids, const char *run_id, const char *status)
{
    json_t *found = contract_ok(contract_call(AC_STORE_RUN_GET, ids->owner, run_id, NULL));
    assert_string_equal(ac_json_peek_string(found, "status", ""), status);
    assert_null(json_object_get(found, "lease_until"));
    assert_null(json_object_get(found, "holder"));
    assert_null(json_object_get(found, "cancel_requested"));
    json_decref(found);
}

/* ---- the holder of a run ---- */

static ac_kind_e close_late(const contract_ids_t *ids, const char *run_id, const char *content, const char *status)
{
    json_t *in = contract_close_in(ids, run_id, content);
    json_object_set_new(in, "late", json_true());
    json_object_set_new(json_object_get(in, "run"), "status", json_string(status));
    return contract_try(NULL, AC_STORE_TURN_CLOSE, ids, in);
}

static void test_a_late_close_of_a_run_that_counts_as_dead(void **state)
{
    cosmos_child_t slow;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "", next[AC_ID_SIZE] = "";
    cosmos_child_open(&slow, &server, "");
    contract_open(&ids, run, "hello", true);
    cosmos_child_open(*state, &server, "");
    cosmos_clock_to(&server, 70);
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    assert_int_equal(contract_open(&ids, next, "again", false), 2);
    contract_use(&slow.store);
    assert_int_equal(contract_try(NULL, AC_STORE_TURN_CLOSE, &ids, contract_close_in(&ids, run, "too late")),
                     AC_INTERRUPTED);
    check_status(&ids, run, "interrupted");
    contract_use(&((cosmos_child_t *)*state)->store);
    assert_int_equal(contract_close(&ids, next, "yes"), 3); /* and the other run went on */
    contract_gapless(&ids, 3);
    cosmos_child_stop(&slow);
}

/* Its log was found when its machine came back. */
static void test_a_late_close_of_a_run_that_died(void **state)
{
    cosmos_child_t dead;
    contract_ids_t ids = contract_ids();
    char runs[3][AC_ID_SIZE] = {"", "", ""};
    cosmos_child_open(&dead, &server, "");
    contract_open(&ids, runs[0], "hello", true);
    cosmos_child_kill(&dead, &server);
    cosmos_child_open(*state, &server, "");
    cosmos_clock_to(&server, 70);
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    check_status(&ids, runs[0], "interrupted");
    assert_int_equal(close_late(&ids, runs[0], "an answer", "completed"), AC_OK); /* nothing has come after it */
    check_status(&ids, runs[0], "completed");
    contract_gapless(&ids, 2);

    cosmos_child_open(&dead, &server, "");
    contract_open(&ids, runs[1], "and now?", false);
    cosmos_child_kill(&dead, &server);
    contract_use(&((cosmos_child_t *)*state)->store);
    cosmos_clock_to(&server, 140);
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    assert_int_equal(contract_open(&ids, runs[2], "once more", false), 4);
    assert_int_equal(close_late(&ids, runs[1], "an answer", "completed"),
                     AC_INTERRUPTED); /* the thread was used again */
    contract_gapless(&ids, 4);
    assert_int_equal(close_late(&ids, runs[1], "half an", "interrupted"), AC_OK); /* stored text stays */
    assert_int_equal(contract_close(&ids, runs[2], "yes"), 6);
    contract_gapless(&ids, 6);
}

/* The thread is not used. */
static void test_a_run_of_a_machine_that_is_gone(void **state)
{
    cosmos_child_t dead;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "";
    cosmos_child_open(&dead, &server, "lease=5s");
    contract_open(&ids, run, "hello", true);
    cosmos_child_kill(&dead, &server);
    assert_int_equal(cosmos_runs(&server, "interrupted"), 0);
    cosmos_clock_to(&server, 20);
    cosmos_child_open(*state, &server, "lease=5s");
    COSMOS_UNTIL(cosmos_runs(&server, "interrupted") == 1);
    check_status(&ids, run, "interrupted");
}

/* The previous owner of the lease lives. It is notified, and may not close a run that another machine has closed. */
static void test_the_previous_holder_of_a_lease_is_notified(void **state)
{
    cosmos_child_t other;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "";
    cosmos_child_open(*state, &server, "lease=5s");
    contract_open(&ids, run, "hello", true);
    cosmos_server_order(&server, "{\"faults\":[{\"match\":\"PATCH\",\"n\":1000,\"status\":503}]}");
    cosmos_clock_to(&server, 20);
    cosmos_child_open(&other, &server, "lease=5s");
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    check_status(&ids, run, "interrupted");
    COSMOS_UNTIL(cosmos_n_reported(AC_INTERRUPTED) == 1);
    assert_string_equal(cosmos_reported_run(), run);
    contract_use(&((cosmos_child_t *)*state)->store);
    assert_int_equal(contract_try(NULL, AC_STORE_TURN_CLOSE, &ids, contract_close_in(&ids, run, "too late")),
                     AC_INTERRUPTED);
    contract_gapless(&ids, 1);
    cosmos_child_stop(&other);
}

static void test_cancel_from_another_machine(void **state)
{
    cosmos_child_t other;
    contract_ids_t ids = contract_ids(), stranger = contract_ids();
    char run[AC_ID_SIZE] = "";
    cosmos_child_open(*state, &server, "lease=5s");
    contract_open(&ids, run, "hello", true);
    cosmos_child_open(&other, &server, "lease=5s");
    contract_kind(contract_call(AC_STORE_RUN_CANCEL, stranger.owner, run, NULL), AC_NOT_FOUND);
    json_t *asked = contract_ok(contract_call(AC_STORE_RUN_CANCEL, ids.owner, run, NULL));
    assert_string_equal(ac_json_peek_string(asked, "status", ""), "in_progress");
    assert_null(json_object_get(asked, "holder"));
    json_decref(asked);
    COSMOS_UNTIL(cosmos_n_reported(AC_CANCELLED) == 1);
    assert_string_equal(cosmos_reported_run(), run);
    contract_use(&((cosmos_child_t *)*state)->store);
    assert_int_equal(contract_close(&ids, run, "until then"), 2);
    check_status(&ids, run, "completed");
    contract_use(&other.store);
    contract_kind(contract_call(AC_STORE_RUN_CANCEL, ids.owner, run, NULL), AC_RUN_ENDED);
    assert_int_equal(cosmos_n_reported(AC_CANCELLED), 1); /* once */
    assert_int_equal(cosmos_n_reported(AC_INTERRUPTED), 0);
    cosmos_child_stop(&other);
}

/* The holder looks when it is asked to. By itself it would look in two hours. */
static void test_a_run_is_checked_now(void **state)
{
    cosmos_child_t other;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "";
    cosmos_child_open(*state, &server, "lease=1d");
    contract_open(&ids, run, "hello", true);
    cosmos_child_open(&other, &server, "lease=1d");
    json_decref(contract_ok(contract_call(AC_STORE_RUN_CANCEL, ids.owner, run, NULL)));
    json_decref(contract_ok(contract_call(AC_STORE_RUN_CHECK, ids.owner, run, NULL))); /* not its run */
    assert_int_equal(cosmos_n_reported(AC_CANCELLED), 0);
    contract_use(&((cosmos_child_t *)*state)->store);
    json_decref(contract_ok(contract_call(AC_STORE_RUN_CHECK, ids.owner, run, NULL)));
    COSMOS_UNTIL(cosmos_n_reported(AC_CANCELLED) == 1);
    assert_string_equal(cosmos_reported_run(), run);
    contract_use(&other.store);
    cosmos_child_stop(&other);
}

/* The service was unreachable for all machines: the first one that reaches it does not consider the others dead. */
static void test_an_outage_ends_no_leases(void **state)
{
    cosmos_child_t runs;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "";
    cosmos_child_open(&runs, &server, "");
    contract_open(&ids, run, "hello", true);
    cosmos_child_open(*state, &server, "");
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    cosmos_server_order(&server, "{\"stop_after\":0}");
    ac_store_op_t *op = contract_op(AC_STORE_PING, NULL, NULL, NULL);
    op->deadline = ac_clock() + apr_time_from_msec(200);
    contract_kind(contract_wait(op), AC_STORE_TIMEOUT);
    cosmos_server_order(&server, "{\"stop_after\":null}");
    cosmos_clock_to(&server, 70);
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    json_t *loaded = contract_ok(contract_call(AC_STORE_TURN_LOAD, ids.owner, ids.thread, NULL));
    assert_string_equal(ac_json_peek_string(loaded, "active_run", ""), run);
    json_decref(loaded);
    cosmos_clock_to(&server, 130); /* but with a limit */
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    check_status(&ids, run, "interrupted");
    cosmos_child_stop(&runs);
}

static void test_a_lease_is_renewed(void **state)
{
    cosmos_child_t runs;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "";
    cosmos_child_open(&runs, &server, "lease=5s");
    contract_open(&ids, run, "hello", true);
    cosmos_clock_to(&server, 4);
    COSMOS_UNTIL(cosmos_requests(&server, "PATCH .* 200") >= 2); /* the second one knows the clock */
    cosmos_child_open(*state, &server, "lease=5s");
    cosmos_clock_to(&server, 6); /* the lease that it began with has expired */
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    json_t *loaded = contract_ok(contract_call(AC_STORE_TURN_LOAD, ids.owner, ids.thread, NULL));
    assert_string_equal(ac_json_peek_string(loaded, "active_run", ""), run);
    json_decref(loaded);
    contract_use(&runs.store);
    assert_int_equal(contract_close(&ids, run, "done"), 2);
    json_t *found = contract_ok(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL));
    assert_null(json_object_get(found, "lease_until"));
    assert_null(json_object_get(found, "holder"));
    json_decref(found);
    cosmos_child_stop(&runs);
}

/* ---- what was carried out and not acknowledged ---- */

/* After a timeout the store repeats the write with the same ids: the turn exists once, and the run is ours. faults:
 * the fault injected. */
static void open_twice(const char *faults)
{
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE];
    ac_id_make(run, "run_");
    contract_done(contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "T", 1)));
    cosmos_server_order(&server, faults);
    json_t *in = contract_open_in(&ids, run, "hello", false);
    ac_store_op_t *op = contract_op(AC_STORE_TURN_OPEN, ids.owner, ids.thread, json_deep_copy(in));
    op->deadline = ac_clock() + apr_time_from_msec(300);
    contract_kind(contract_wait(op), AC_STORE_TIMEOUT);
    cosmos_server_order(&server, "{\"clear\":true}");
    contract_done(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, in));
    json_t *loaded = contract_ok(contract_call(AC_STORE_TURN_LOAD, ids.owner, ids.thread, NULL));
    assert_string_equal(ac_json_peek_string(loaded, "active_run", ""), run);
    json_decref(loaded);
    assert_int_equal(contract_close(&ids, run, "hi"), 2);
    check_status(&ids, run, "completed");
    contract_gapless(&ids, 2);
}

static void test_a_turn_that_is_opened_again_is_one(void **state)
{
    cosmos_child_open(*state, &server, "");
    /* Carried out and cut; not carried out; carried out and answered too late. */
    open_twice("{\"faults\":[{\"match\":\"POST .*/messages/docs\",\"n\":1,\"cut\":true,\"after\":true},"
               "{\"match\":\"POST .*/messages/docs\",\"n\":50,\"cut\":true}]}");
    open_twice("{\"faults\":[{\"match\":\"POST .*/messages/docs\",\"n\":50,\"cut\":true}]}");
    open_twice("{\"faults\":[{\"match\":\"POST .*/messages/docs\",\"n\":1,\"delay\":0.6}]}");
    assert_int_equal(cosmos_n_reported(AC_INTERRUPTED), 0);
}

/* As long as it takes: an end that was stored and not acknowledged is taken as made. */
static void test_a_turn_that_is_closed_again_is_one(void **state)
{
    const char *bodies[] = {"hi", NULL};
    cosmos_child_open(*state, &server, "");
    for (int i = 0; i < 2; i++) { /* also without a message */
        contract_ids_t ids = contract_ids();
        char run[AC_ID_SIZE] = "";
        contract_open(&ids, run, "hello", true);
        cosmos_server_order(&server, "{\"faults\":[{\"match\":\"POST .*/messages/docs\",\"n\":1,\"delay\":0.6}]}");
        json_t *in = contract_close_in(&ids, run, bodies[i] ? bodies[i] : "-");
        if (!bodies[i]) {
            json_object_set_new(in, "message", json_null());
        }
        ac_store_op_t *op = contract_op(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, json_deep_copy(in));
        op->deadline = ac_clock() + apr_time_from_msec(300);
        contract_kind(contract_wait(op), AC_STORE_TIMEOUT);
        contract_done(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, in));
        check_status(&ids, run, "completed");
        contract_gapless(&ids, bodies[i] ? 2 : 1);
    }
}

/* ---- a key whose turn was refused ---- */

static json_t *open_with_key(const contract_ids_t *ids, const char *run, int after)
{
    json_t *in = contract_open_in(ids, run, "hello", false);
    json_object_set_new(in, "idempotency",
                        json_pack("{s:s, s:s, s:s}", "key", "k", "request_hash", "h", "since",
                                  "2026-01-01T00:00:00.000Z"));
    json_object_set_new(in, "after", json_integer(after));
    return in;
}

/* A run writes its key, loses the thread to another machine at the last moment, asks again, and loses it again. */
static void test_a_key_is_free_after_a_refusal(void **state)
{
    cosmos_child_t other;
    cosmos_child_t *mine = *state;
    contract_ids_t ids = contract_ids();
    char first[AC_ID_SIZE] = "", second[AC_ID_SIZE] = "", run[AC_ID_SIZE], next[AC_ID_SIZE];
    ac_id_make(run, "run_");
    ac_id_make(next, "run_");
    cosmos_child_open(&other, &server, "");
    cosmos_child_open(mine, &server, "");
    contract_done(contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "T", 1)));
    contract_kind(contract_call(AC_STORE_TURN_LOAD, ids.owner, ids.thread, NULL), AC_OK);
    contract_use(&other.store);
    contract_open(&ids, first, "faster", false);
    contract_close(&ids, first, "answer");
    contract_use(&mine->store);
    cosmos_server_order(&server, "{\"faults\":[{\"match\":\"DELETE .*/threads/docs/key_\",\"n\":3,\"status\":503}]}");
    json_t *in = open_with_key(&ids, run, 0);
    contract_kind(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, json_deep_copy(in)), AC_PRECONDITION_FAILED);
    contract_use(&other.store);
    contract_open(&ids, second, "faster again", false);
    contract_use(&mine->store);
    json_object_set_new(in, "after", json_integer(2));
    contract_kind(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, in), AC_RUN_IN_PROGRESS);
    /* The client sends its request again, which is a new run. */
    ac_store_op_t *op = contract_op(AC_STORE_TURN_OPEN, ids.owner, ids.thread, open_with_key(&ids, next, 2));
    op->deadline = ac_clock() + apr_time_from_sec(5);
    contract_kind(contract_wait(op), AC_RUN_IN_PROGRESS);
    assert_true(cosmos_requests(&server, "DELETE .*/threads/docs/key_.* 204") > 0);
    cosmos_child_stop(&other);
}

static ac_store_op_t *begin_queued(const contract_ids_t *ids, const char *run_id, const char *message_id)
{
    json_t *in = contract_open_in(ids, run_id, "later", false);
    json_object_set_new(json_object_get(in, "message"), "id", json_string(message_id));
    json_object_set_new(in, "queued", json_true());
    return contract_call(AC_STORE_TURN_OPEN, ids->owner, ids->thread, in);
}

/* Two machines try to begin the same turn of the queue, one after the other. */
static void test_a_queued_turn_is_begun_by_one_machine(void **state)
{
    cosmos_child_t other;
    cosmos_child_t *mine = *state;
    contract_ids_t ids = contract_ids();
    char active[AC_ID_SIZE] = "", run[AC_ID_SIZE], message[AC_ID_SIZE];
    json_t *queued;
    ac_id_make(run, "run_");
    ac_id_make(message, "msg_");
    cosmos_child_open(&other, &server, "");
    cosmos_child_open(mine, &server, "");
    contract_open(&ids, active, "q", true);
    queued = contract_run(run, ids.thread, "queued", 3);
    json_object_set_new(queued, "parent_id", json_string(message));
    contract_done(
        contract_call(AC_STORE_TURN_QUEUE, ids.owner, ids.thread, json_pack("{s:o, s:i}", "run", queued, "most", 5)));
    contract_close(&ids, active, "a");
    contract_done(begin_queued(&ids, run, message));
    contract_use(&other.store);
    contract_kind(begin_queued(&ids, run, message), AC_RUN_ENDED);
    contract_use(&mine->store);
    contract_done(begin_queued(&ids, run, message)); /* the same again */
    contract_close(&ids, run, "b");
    contract_use(&other.store);
    contract_kind(begin_queued(&ids, run, message), AC_RUN_ENDED);
    contract_gapless(&ids, 4);
    cosmos_child_stop(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        COSMOS_TEST(test_a_queued_turn_is_begun_by_one_machine),
        COSMOS_TEST(test_a_late_close_of_a_run_that_counts_as_dead),
        COSMOS_TEST(test_a_late_close_of_a_run_that_died),
        COSMOS_TEST(test_a_lease_is_renewed),
        COSMOS_TEST(test_a_run_of_a_machine_that_is_gone),
        COSMOS_TEST(test_the_previous_holder_of_a_lease_is_notified),
        COSMOS_TEST(test_a_run_is_checked_now),
        COSMOS_TEST(test_cancel_from_another_machine),
        COSMOS_TEST(test_an_outage_ends_no_leases),
        COSMOS_TEST(test_a_turn_that_is_opened_again_is_one),
        COSMOS_TEST(test_a_turn_that_is_closed_again_is_one),
        COSMOS_TEST(test_a_key_is_free_after_a_refusal),
    };

    return cosmos_main(&server, "cosmos_leases", tests, sizeof(tests) / sizeof(*tests));
}
