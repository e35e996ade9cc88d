/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store and processes that die: runs without a process, and turns and removals that were cut at any
 * point. */
#include "cosmos_harness.h"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "back/cosmos/cosmos_internal.h"

static cosmos_server_t server;

/* ---- processes that die ---- */

static void test_run_of_a_dead_process(void **state)
{
    cosmos_child_t dead;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "", next[AC_ID_SIZE] = "";
    cosmos_child_open(&dead, &server, "");
    contract_open(&ids, run, "hello", true);
    cosmos_child_kill(&dead, &server);

    cosmos_child_open(*state, &server, "");
    json_t *loaded = contract_ok(contract_call(AC_STORE_TURN_LOAD, ids.owner, ids.thread, NULL));
    assert_string_equal(ac_json_peek_string(loaded, "active_run", ""), run); /* it may still live */
    json_decref(loaded);
    ac_store_op_t *op =
        contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, contract_open_in(&ids, "run_x", "more", false));
    assert_int_equal(op->err.kind, AC_RUN_IN_PROGRESS);
    assert_string_equal(ac_json_peek_string(op->out, "run_id", ""), run);
    ac_store_op_free(op);

    cosmos_clock_to(&server, 70);
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    json_t *found = contract_ok(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL));
    assert_string_equal(ac_json_peek_string(found, "status", ""), "interrupted");
    assert_string_equal(ac_json_peek_string(json_object_get(found, "error"), "code", ""), "interrupted");
    assert_non_null(ac_json_peek_string(found, "completed_at", NULL));
    json_decref(found);
    assert_int_equal(contract_open(&ids, next, "again", false), 2);
    assert_int_equal(contract_close(&ids, next, "yes"), 3);
    contract_gapless(&ids, 3);
}

/* The process dies after its n-th request was carried out; the next process continues from any such point. */
static void crash_after(cosmos_child_t *next, int n)
{
    static int seconds;
    cosmos_child_t dead;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE], again[AC_ID_SIZE] = "", order[64];
    ac_kind_e opened, closed;
    ac_id_make(run, "run_");
    cosmos_child_open(&dead, &server, "");
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    snprintf(order, sizeof(order), "{\"stop_after\":%d}", n);
    cosmos_server_order(&server, order);
    opened = contract_try(NULL, AC_STORE_TURN_OPEN, &ids, contract_open_in(&ids, run, "hello", true));
    closed = opened == AC_OK ? contract_try(NULL, AC_STORE_TURN_CLOSE, &ids, contract_close_in(&ids, run, "hi"))
                             : AC_STORE_ERROR;
    cosmos_child_kill(&dead, &server);

    cosmos_clock_to(&server, seconds += 70);
    contract_use(&next->store);
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    ac_store_op_t *op = contract_call(AC_STORE_THREAD_GET, ids.owner, ids.thread, NULL);
    bool there = op->err.kind == AC_OK;
    assert_true(there || op->err.kind == AC_NOT_FOUND);
    assert_true(there || opened != AC_OK); /* what was acknowledged is durable */
    ac_store_op_free(op);
    json_t *list = contract_ok(contract_call(AC_STORE_THREAD_LIST, ids.owner, NULL, NULL));
    assert_int_equal(json_array_size(json_object_get(list, "data")), there);
    json_decref(list);
    if (!there) {
        contract_kind(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL), AC_NOT_FOUND);
        contract_done(contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "T", 1)));
    }
    int64_t n_messages = there ? closed == AC_OK ? 2 : 1 : 0;
    assert_int_equal(contract_open(&ids, again, "again", false), n_messages + 1);
    assert_int_equal(contract_close(&ids, again, "yes"), n_messages + 2);
    contract_gapless(&ids, n_messages + 2);
    if (there) {
        json_t *found = contract_ok(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL));
        assert_string_equal(ac_json_peek_string(found, "status", ""), closed == AC_OK ? "completed" : "interrupted");
        json_decref(found);
    }
    cosmos_remove_thread(&ids);
}

static void test_a_crash_between_any_two_requests(void **state)
{
    cosmos_child_open(*state, &server, "lease=1d"); /* it does nothing by itself in this time */
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    for (int n = 0; n <= 5; n++) {
        crash_after(*state, n);
    }
}

/* ---- what children know together, and one that holds it ---- */

typedef struct look_t {
    cosmos_child_t *child;
    ac_cosmos_state_t known;
    bool alone;
} look_t;

static void look_inside(void *baton)
{
    look_t *look = baton;
    ac_cosmos_t *store = look->child->store.self;
    look->known = *ac_cosmos_shared_acquire(store);
    ac_cosmos_shared_release(store);
    look->alone = store->alone;
}

/* What a child goes by, as the loop that writes it sees it. */
static look_t look_at(cosmos_child_t *child)
{
    look_t look = {.child = child};
    rig_call(&child->rig, look_inside, &look);
    return look;
}

/* A child of its own that takes what they know together, begins to write there, and is stopped before it is done. */
static pid_t stop_inside(cosmos_child_t *child)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        ac_cosmos_t *store = child->store.self;
        ac_cosmos_state_t *known;
        do {
            known = ac_cosmos_shared_acquire(store);
        } while (known == &store->own_state);
        known->sessions[AC_COSMOS_MESSAGES].n = AC_COSMOS_RANGES;
        memset(known->sessions[AC_COSMOS_MESSAGES].ranges, 'x', sizeof(known->sessions[AC_COSMOS_MESSAGES].ranges) / 2);
        raise(SIGSTOP);
        memset(&known->sessions[AC_COSMOS_MESSAGES], 0, sizeof(known->sessions[AC_COSMOS_MESSAGES]));
        ac_cosmos_shared_release(store);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    return pid;
}

static void end_inside(pid_t pid, int signal)
{
    int status;
    assert_int_equal(kill(pid, signal), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WIFSIGNALED(status), signal == SIGKILL);
}

/* A turn, and a read of it from a replica that is behind, for a request without a session token. */
static void talk(int64_t *pnewest, cosmos_child_t *child)
{
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "";
    cosmos_server_order(&server, "{\"lag\":1000000}");
    assert_int_equal(contract_open(&ids, run, "hello", true), 1);
    assert_int_equal(contract_close(&ids, run, "hi"), 2);
    contract_gapless(&ids, 2);
    json_t *list = contract_ok(contract_call(AC_STORE_AGENT_LIST, NULL, NULL, json_pack("{s:s}", "stamp", "none")));
    assert_true(json_is_array(json_object_get(list, "data")));
    json_decref(list);
    cosmos_server_order(&server, "{\"lag\":0}");
    const ac_cosmos_session_t messages = look_at(child).known.sessions[AC_COSMOS_MESSAGES];
    assert_int_equal(messages.n, 1);
    assert_true(messages.ranges[0].lsn > *pnewest);
    *pnewest = messages.ranges[0].lsn;
}

/* The loop does not block: operations use the session that this child knows, and share it with the other children
 * afterwards. */
static void test_a_child_that_is_stopped_under_the_shared_lock(void **state)
{
    cosmos_child_t *child = *state;
    int64_t newest = 0;
    cosmos_child_open(child, &server, "lease=5s");
    talk(&newest, child);
    assert_false(look_at(child).alone);
    pid_t stopped = stop_inside(child);
    talk(&newest, child);
    assert_true(look_at(child).alone);
    COSMOS_UNTIL(look_at(child).known.next_sweep > 0); /* runs of dead processes are closed nevertheless */
    end_inside(stopped, SIGCONT);
    look_t after = look_at(child);
    assert_false(after.alone);
    assert_int_equal(after.known.sessions[AC_COSMOS_MESSAGES].ranges[0].lsn, newest);
    talk(&newest, child);
}

/* A child is killed while it has the lock of what the children know together: they have it again, and nothing that
 * it left half done. */
static void test_a_child_that_dies_under_the_shared_lock(void **state)
{
    cosmos_child_t *child = *state;
    int64_t newest = 0;
    cosmos_child_open(child, &server, "lease=5s");
    talk(&newest, child);
    end_inside(stop_inside(child), SIGKILL);
    talk(&newest, child);
    assert_false(look_at(child).alone);
    COSMOS_UNTIL(look_at(child).known.next_sweep > 0);
    pthread_mutex_t *lock = &((ac_cosmos_t *)child->store.self)->shared->lock;
    assert_int_equal(ac_shared_lock_acquire(lock, apr_time_from_sec(60)), 0);
    ac_shared_lock_release(lock);
}

/* ---- turns that are cut ---- */

static void open_without_an_answer(void **state, const char *faults)
{
    cosmos_child_t other;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE], next[AC_ID_SIZE];
    ac_id_make(run, "run_");
    ac_id_make(next, "run_");
    cosmos_child_open(*state, &server, "");
    contract_done(contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "T", 1)));
    cosmos_server_order(&server, faults);
    ac_store_op_t *op =
        contract_op(AC_STORE_TURN_OPEN, ids.owner, ids.thread, contract_open_in(&ids, run, "hello", false));
    op->deadline = ac_clock() + apr_time_from_msec(300);
    contract_kind(contract_wait(op), AC_STORE_TIMEOUT);
    cosmos_server_order(&server, "{\"clear\":true}");
    cosmos_child_open(&other, &server, "");
    apr_time_t give_up = ac_clock() + apr_time_from_sec(20);
    ac_kind_e kind;
    do {
        kind = contract_try(NULL, AC_STORE_TURN_OPEN, &ids, contract_open_in(&ids, next, "again", false));
    } while (kind == AC_RUN_IN_PROGRESS && ac_clock() < give_up);
    assert_int_equal(kind, AC_OK);
    json_t *found = contract_ok(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL));
    assert_string_equal(ac_json_peek_string(found, "status", ""), "interrupted");
    /* No process ended. */
    assert_non_null(
        strstr(ac_json_peek_string(json_object_get(found, "error"), "message", ""), "did not confirm it in time"));
    json_decref(found);
    contract_gapless(&ids, 2);
    cosmos_child_stop(&other);
}

/* The batch was carried out without an answer: not even another server has to wait for the lease. */
static void test_a_turn_that_was_opened_without_an_answer(void **state)
{
    open_without_an_answer(state,
                           "{\"faults\":[{\"match\":\"POST .*/messages/docs\",\"n\":1,\"cut\":true,\"after\":true},"
                           "{\"match\":\"POST .*/messages/docs\",\"n\":5,\"cut\":true}]}");
}

/* As before; the second try finds the message there, and then nothing answers any more. */
static void test_a_turn_that_was_opened_and_not_found_again(void **state)
{
    open_without_an_answer(state,
                           "{\"faults\":[{\"match\":\"POST .*/messages/docs\",\"n\":1,\"cut\":true,\"after\":true},"
                           "{\"match\":\"GET .*/messages/docs\",\"n\":1000,\"cut\":true}]}");
}

static json_t *open_with_key(const contract_ids_t *ids, const char *run_id)
{
    json_t *in = contract_open_in(ids, run_id, "hello", false);
    json_object_set_new(in, "idempotency",
                        json_pack("{s:s, s:s, s:s}", "key", "k", "request_hash", "h", "since",
                                  "2026-01-01T00:00:00.000Z"));
    return in;
}

/* A process that died after it had taken the key, and before its run was stored. */
static void test_a_key_that_leads_to_no_run(void **state)
{
    cosmos_child_t dead;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE], again[AC_ID_SIZE];
    ac_id_make(run, "run_");
    ac_id_make(again, "run_");
    cosmos_child_open(&dead, &server, "");
    contract_done(contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "T", 1)));
    cosmos_server_order(&server, "{\"stop_after\":3}");
    assert_int_not_equal(contract_try(NULL, AC_STORE_TURN_OPEN, &ids, open_with_key(&ids, run)), AC_OK);
    cosmos_child_kill(&dead, &server);

    cosmos_child_open(*state, &server, "");
    json_t *key = json_pack("{s:s, s:s}", "key", "k", "since", "2026-01-01T00:00:00.000Z");
    contract_kind(contract_call(AC_STORE_KEY_GET, ids.owner, NULL, key), AC_NOT_FOUND);
    ac_store_op_t *op = contract_op(AC_STORE_TURN_OPEN, ids.owner, ids.thread, open_with_key(&ids, again));
    op->deadline = ac_clock() + apr_time_from_msec(300);
    contract_kind(contract_wait(op), AC_STORE_TIMEOUT); /* the other one may still be on its way */
    cosmos_clock_to(&server, 100);
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    contract_done(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, open_with_key(&ids, again)));
    contract_gapless(&ids, 1);
    op = contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, open_with_key(&ids, "run_other"));
    assert_string_equal(ac_json_peek_string(op->out, "run_id", ""), again);
    contract_kind(op, AC_IDEMPOTENCY_CONFLICT);
}

/* The first try failed before anything of the turn was sent, and is giving its key back while the second one, with
 * the same ids, takes it: whichever is faster, the key leads to the run. */
static void test_a_key_that_is_given_back_and_taken(void **state)
{
    cosmos_child_open(*state, &server, "");
    for (int i = 0; i < 10; i++) {
        contract_ids_t ids = contract_ids();
        char run[AC_ID_SIZE];
        ac_id_make(run, "run_");
        json_t *in = open_with_key(&ids, run);
        json_object_set_new(in, "thread", contract_thread(ids.thread, "T", 1));
        /* The run's entry, the key's; the turn itself is throttled until time is up. */
        cosmos_server_order(&server,
                            "{\"faults\":[{\"match\":\"POST .*/messages/docs\",\"batch\":true,\"n\":1,\"status\":429,"
                            "\"headers\":{\"x-ms-retry-after-ms\":\"5000\"}}]}");
        ac_store_op_t *op = contract_op(AC_STORE_TURN_OPEN, ids.owner, ids.thread, json_deep_copy(in));
        op->deadline = ac_clock() + apr_time_from_msec(300);
        contract_kind(contract_wait(op), AC_STORE_TIMEOUT);
        contract_done(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, in));
        contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
        json_t *key = json_pack("{s:s, s:s}", "key", "k", "since", "2026-01-01T00:00:00.000Z");
        json_t *found = contract_ok(contract_call(AC_STORE_KEY_GET, ids.owner, NULL, key));
        assert_string_equal(ac_json_peek_string(found, "run_id", ""), run);
        json_decref(found);
    }
}

/* ---- removal ---- */

static void fill(const contract_ids_t *ids, int n_turns)
{
    for (int i = 0; i < n_turns; i++) {
        char run[AC_ID_SIZE] = "";
        contract_open(ids, run, "q", i == 0);
        contract_close(ids, run, "a");
    }
    COSMOS_UNTIL(cosmos_uncounted(&server) == 0);
}

static void test_removal_under_throttling(void **state)
{
    cosmos_child_open(*state, &server, "");
    contract_ids_t ids = contract_ids();
    fill(&ids, 120); /* 360 documents, and 121 entries */
    cosmos_server_order(&server, "{\"chaos\":{\"throttle\":0.4,\"cut\":0.1}}");
    cosmos_remove_thread(&ids);
    assert_int_equal(cosmos_documents(&server, "messages"), 0);
    assert_int_equal(cosmos_documents(&server, "threads"), 0);
}

static void test_removal_that_was_cut_is_taken_up(void **state)
{
    cosmos_child_t *child = *state;
    for (int n = 3; n < 8; n++) { /* after the head was read, the entry marked, the tombstone made */
        contract_ids_t ids = contract_ids();
        cosmos_child_t dead;
        char order[64];
        cosmos_child_open(&dead, &server, "");
        fill(&ids, 40);
        snprintf(order, sizeof(order), "{\"stop_after\":%d}", n);
        cosmos_server_order(&server, order);
        ac_store_op_t *op = contract_op(AC_STORE_THREAD_DELETE, ids.owner, ids.thread, NULL);
        op->hard = true;
        ac_store_op_free(contract_wait(op));
        cosmos_child_kill(&dead, &server);

        cosmos_child_open(child, &server, "");
        contract_kind(contract_call(AC_STORE_THREAD_GET, ids.owner, ids.thread, NULL), AC_NOT_FOUND);
        json_t *list = contract_ok(contract_call(AC_STORE_THREAD_LIST, ids.owner, NULL, NULL));
        assert_int_equal(json_array_size(json_object_get(list, "data")), 0);
        json_decref(list);
        contract_kind(contract_call(AC_STORE_THREAD_RESTORE, ids.owner, ids.thread,
                                    json_pack("{s:s}", "updated_at", "2026")),
                      AC_NOT_FOUND);
        if (n % 2) { /* by a repeated request, or by the next purge */
            cosmos_remove_thread(&ids);
        } else {
            contract_done(
                contract_call(AC_STORE_PURGE, NULL, NULL, json_pack("{s:s}", "before", "2000-01-01T00:00:00.000Z")));
        }
        assert_int_equal(cosmos_documents(&server, "messages"), 0);
        assert_int_equal(cosmos_documents(&server, "threads"), 0);
        cosmos_child_stop(child);
    }
}

static void test_removal_is_answered_in_time(void **state)
{
    cosmos_child_open(*state, &server, "");
    contract_ids_t ids = contract_ids();
    fill(&ids, 40);
    /* Deleting is throttled for longer than the caller waits. */
    cosmos_server_order(&server,
                        "{\"faults\":[{\"match\":\"POST .*/threads/docs\",\"skip\":1,\"n\":60,\"status\":429,"
                        "\"headers\":{\"x-ms-retry-after-ms\":\"20\"}}]}");
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_DELETE, ids.owner, ids.thread, NULL);
    op->hard = true;
    op->deadline = ac_clock() + apr_time_from_msec(700);
    contract_done(contract_wait(op));
    contract_kind(contract_call(AC_STORE_THREAD_GET, ids.owner, ids.thread, NULL), AC_NOT_FOUND);
    while (cosmos_documents(&server, "messages") > 0) {
        sched_yield();
    }
    assert_int_equal(cosmos_documents(&server, "threads"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        COSMOS_TEST(test_run_of_a_dead_process),
        COSMOS_TEST(test_a_crash_between_any_two_requests),
        COSMOS_TEST(test_a_child_that_is_stopped_under_the_shared_lock),
        COSMOS_TEST(test_a_child_that_dies_under_the_shared_lock),
        COSMOS_TEST(test_a_turn_that_was_opened_without_an_answer),
        COSMOS_TEST(test_a_turn_that_was_opened_and_not_found_again),
        COSMOS_TEST(test_a_key_that_leads_to_no_run),
        COSMOS_TEST(test_a_key_that_is_given_back_and_taken),
        COSMOS_TEST(test_removal_under_throttling),
        COSMOS_TEST(test_removal_that_was_cut_is_taken_up),
        COSMOS_TEST(test_removal_is_answered_in_time),
    };

    return cosmos_main(&server, "cosmos_processes", tests, sizeof(tests) / sizeof(*tests));
}
