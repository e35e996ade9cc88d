/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store when something goes wrong: answers of every kind, cut connections. */
#include "cosmos_harness.h"

#include <pthread.h>
#include <sys/resource.h>

static cosmos_server_t server;

/* ---- every way to fail, at every request of a call ---- */

static const char *const faults[] = {
    "\"status\":429,\"substatus\":3200,\"headers\":{\"x-ms-retry-after-ms\":\"3\"}",
    "\"status\":429,\"substatus\":3092",
    "\"status\":449",
    "\"status\":410,\"substatus\":1002",
    "\"status\":503",
    "\"status\":404,\"substatus\":1002",
    "\"status\":408",
    "\"status\":500",
    "\"status\":502",
    "\"status\":401",
    "\"status\":403,\"substatus\":5300",
    "\"cut\":true",
    "\"cut\":true,\"after\":true",
    "\"status\":408,\"after\":true",
    "\"status\":500,\"after\":true",
    "\"status\":503,\"after\":true",
    "\"garbage\":true",
};

static void arm(const char *fault, int skip)
{
    char order[256];
    snprintf(order, sizeof(order), "{\"faults\":[{\"match\":\".*\",\"skip\":%d,%s}]}", skip, fault);
    cosmos_server_order(&server, order);
}

/* One life of a thread; each step once. */
static void live(const contract_ids_t *ids)
{
    char run[AC_ID_SIZE] = "", made[AC_ID_SIZE], at[AC_TIME_SIZE];
    assert_int_equal(contract_open(ids, run, "hello", true), 1);
    assert_int_equal(contract_close(ids, run, "hi"), 2);
    contract_done(
        contract_call(AC_STORE_THREAD_UPDATE, ids->owner, ids->thread, json_pack("{s:s}", "status", "archived")));
    contract_done(contract_call(AC_STORE_THREAD_DELETE, ids->owner, ids->thread,
                                json_pack("{s:s}", "deleted_at", contract_time(at, 9))));
    contract_done(
        contract_call(AC_STORE_THREAD_RESTORE, ids->owner, ids->thread, json_pack("{s:s}", "updated_at", at)));
    *run = '\0';
    assert_int_equal(contract_open(ids, run, "again", false), 3);
    assert_int_equal(contract_close(ids, run, "yes"), 4);
    json_t *deleted =
        contract_ok(contract_call(AC_STORE_MESSAGE_DELETE, ids->owner, ids->thread, json_pack("{s:s}", "run_id", run)));
    assert_int_equal(ac_json_peek_int(json_object_get(deleted, "thread"), "deleted_messages", 0), 2);
    assert_int_equal(json_array_size(json_object_get(deleted, "runs")), 1);
    json_decref(deleted);
    contract_gapless(ids, 4);
    contract_done(contract_call(AC_STORE_RUN_GET, ids->owner, run, NULL));
    ac_id_make(made, "thread_");
    contract_done(contract_call(AC_STORE_THREAD_CREATE, ids->owner, NULL, contract_thread(made, "T", 1)));
    json_t *list = contract_ok(contract_call(AC_STORE_THREAD_LIST, ids->owner, NULL, NULL));
    assert_int_equal(json_array_size(json_object_get(list, "data")), 2);
    json_decref(list);
    cosmos_remove_thread(ids);
    contract_kind(contract_call(AC_STORE_THREAD_GET, ids->owner, ids->thread, NULL), AC_NOT_FOUND);
}

static void test_every_failure_at_every_request(void **state)
{
    cosmos_child_open(*state, &server, "");
    contract_ids_t ids = contract_ids();
    int64_t before = cosmos_requests(&server, ".*");
    live(&ids);
    int n = (int)(cosmos_requests(&server, ".*") - before);
    assert_in_range(n, 30, 70);
    for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
        /* Each fault at every fourth request, each request under four of the faults. AGENTCHAT_CHAOS=full: all of
         * them. */
        bool full = getenv("AGENTCHAT_CHAOS") != NULL;
        for (int skip = full ? 0 : (int)i % 4; skip < n; skip += full ? 1 : 4) {
            ids = contract_ids();
            arm(faults[i], skip);
            live(&ids);
        }
    }
    assert_int_equal(cosmos_logged(228) + cosmos_logged(223) + cosmos_logged(220), 0);
}

static void test_failures_inside_a_batch(void **state)
{
    cosmos_child_open(*state, &server, "");
    const struct {
        const char *fault;
        ac_kind_e kind;
    } cases[] = {
        {"\"status\":429", AC_OK},
        {"\"status\":449", AC_OK},
        {"\"status\":503", AC_OK},
        {"\"status\":408", AC_OK},
        {"\"status\":410", AC_OK},
        {"\"status\":413", AC_STORE_ERROR},
        {"\"status\":400,\"substatus\":1001", AC_STORE_ERROR},
        {"\"status\":403,\"substatus\":1014", AC_STORE_ERROR},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        for (int op = 0; op < 3; op++) {
            contract_ids_t ids = contract_ids();
            char order[256], run[AC_ID_SIZE];
            ac_id_make(run, "run_");
            contract_done(contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "T", 1)));
            snprintf(order, sizeof(order), "{\"faults\":[{\"match\":\"POST .*/messages/docs\",\"op\":%d,%s}]}", op,
                     cases[i].fault);
            cosmos_server_order(&server, order);
            ac_store_op_t *answer =
                contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, contract_open_in(&ids, run, "x", false));
            contract_kind(answer, cases[i].kind);
            contract_gapless(&ids, cases[i].kind == AC_OK);
        }
    }
}

/* ---- giving up ---- */

static ac_store_op_t *get_within(const contract_ids_t *ids, apr_interval_time_t time)
{
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_GET, ids->owner, ids->thread, NULL);
    op->deadline = ac_clock() + time;
    return contract_wait(op);
}

static void test_giving_up_in_time(void **state)
{
    cosmos_child_open(*state, &server, "");
    contract_ids_t ids = contract_ids();
    const struct {
        const char *fault;
        ac_kind_e kind;
    } cases[] = {
        {"\"status\":429,\"headers\":{\"x-ms-retry-after-ms\":\"40\"}", AC_STORE_TIMEOUT},
        {"\"status\":429,\"headers\":{\"x-ms-retry-after-ms\":\"60000\"}", AC_STORE_ERROR},
        {"\"status\":503", AC_STORE_TIMEOUT},
        {"\"status\":404,\"substatus\":1002", AC_STORE_TIMEOUT},
        {"\"cut\":true", AC_STORE_TIMEOUT},
    };
    contract_done(contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "T", 1)));
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char order[256];
        snprintf(order, sizeof(order), "{\"clear\":true,\"faults\":[{\"match\":\".*\",\"n\":100000,%s}]}",
                 cases[i].fault);
        cosmos_server_order(&server, order);
        cosmos_log_clear();
        /* What is given up at once has the time of a busy machine; there the first answer may also come too late. */
        for (int n = 0; n == 0 || (i == 0 && !cosmos_logged(225) && n < 50); n++) {
            bool at_once = cases[i].kind == AC_STORE_ERROR;
            ac_store_op_t *op = get_within(&ids, apr_time_from_msec(at_once ? 10000 : 400));
            assert_true(op->err.retry_after >= apr_time_from_sec(1));
            contract_kind(op, cases[i].kind);
        }
        assert_int_equal(cosmos_logged(225), i == 0); /* one episode */
    }
    cosmos_server_order(&server, "{\"clear\":true}");
    contract_done(get_within(&ids, apr_time_from_sec(10)));
}

/* This process has reached its limit; Cosmos DB has not failed. */
static void test_no_descriptors_left(void **state)
{
    struct rlimit before, few;
    ac_store_op_t *op = NULL;
    cosmos_child_open(*state, &server, "");
    contract_ids_t ids = contract_ids();
    contract_done(contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "T", 1)));
    cosmos_server_order(
        &server,
        "{\"faults\":[{\"match\":\"GET .*\",\"n\":1000,\"status\":404,\"headers\":{\"Connection\":\"close\"}}]}");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 4;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    for (int i = 0; i < 100; i++) { /* until no connection is left */
        op = get_within(&ids, apr_time_from_sec(10));
        if (op->err.kind != AC_NOT_FOUND) {
            break;
        }
        contract_kind(op, AC_NOT_FOUND);
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_true(op->err.retry_after >= apr_time_from_sec(1));
    assert_non_null(strstr(op->err.detail, "this server process has no file descriptors left"));
    contract_kind(op, AC_OVERLOADED);
    assert_int_equal(cosmos_logged(223), 0);
    assert_non_null(strstr(cosmos_logged_text(228), "this server process has no file descriptors left"));
    cosmos_server_order(&server, "{\"clear\":true}");
    contract_done(get_within(&ids, apr_time_from_sec(10)));
}

/* ---- others are faster ---- */

static void faster(const char *what, int n)
{
    char order[256];
    snprintf(order, sizeof(order),
             "{\"clear\":true,\"faults\":[{\"match\":\"%s .*/messages/docs\",\"n\":%d,\"status\":412}]}", what, n);
    cosmos_server_order(&server, order);
}

static void test_repeated_conflicts(void **state)
{
    cosmos_child_open(*state, &server, "");
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "";
    contract_done(contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "T", 1)));
    faster("POST", 35);
    assert_int_equal(contract_open(&ids, run, "hello", false), 1);
    faster("POST", 25);
    assert_int_equal(contract_close(&ids, run, "hi"), 2);
    faster("PUT", 25);
    contract_done(contract_call(AC_STORE_THREAD_UPDATE, ids.owner, ids.thread, json_pack("{s:s}", "title", "Mine")));
    faster("PUT", 25);
    cosmos_remove_thread(&ids);

    ids = contract_ids();
    contract_done(contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "T", 1)));
    faster("PUT", 100000);
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_UPDATE, ids.owner, ids.thread, json_pack("{s:s}", "title", "Mine"));
    op->deadline = ac_clock() + apr_time_from_msec(400);
    op = contract_wait(op);
    assert_int_equal(op->err.retry_after, apr_time_from_sec(1));
    contract_kind(op, AC_STORE_TIMEOUT);
    assert_int_equal(cosmos_logged(228), 0); /* the service is well */
}

static void test_a_container_that_was_recreated(void **state)
{
    cosmos_child_open(*state, &server, "");
    contract_ids_t ids = contract_ids();
    for (int i = 0; i < 20; i++) {
        contract_ids_t other = contract_ids();
        contract_done(contract_call(AC_STORE_THREAD_CREATE, other.owner, NULL, contract_thread(other.thread, "T", 1)));
    }
    cosmos_server_order(&server, "{\"reset\":true}");
    /* It is made again on the way; the tokens of the old one are forgotten after some patience. */
    apr_time_t give_up = ac_clock() + apr_time_from_sec(30);
    ac_store_op_t *op = contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "T", 1));
    while (op->status != APR_SUCCESS && op->err.kind != AC_IDEMPOTENCY_CONFLICT && ac_clock() < give_up) {
        ac_store_op_free(op);
        op = contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "T", 1));
    }
    ac_store_op_free(op);
    op = get_within(&ids, apr_time_from_sec(10));
    while (op->status != APR_SUCCESS && ac_clock() < give_up) {
        ac_store_op_free(op);
        op = get_within(&ids, apr_time_from_sec(10));
    }
    contract_done(op);
}

static void test_no_listener(void **state)
{
    cosmos_server_t nowhere = {.port = 1};
    cosmos_child_open(*state, &nowhere, "");
    contract_kind(contract_call(AC_STORE_PING, NULL, NULL, NULL), AC_STORE_ERROR);
    assert_int_equal(cosmos_logged(223), 1);
    assert_non_null(strstr(cosmos_logged_text(223), "connection refused"));
}

/* ---- chaos ---- */

typedef struct talker_t {
    pthread_t thread;
    contract_ids_t ids;
    int n_turns, n_failed;
} talker_t;

static void *talk(void *baton)
{
    talker_t *talker = baton;
    for (int i = 0; i < talker->n_turns; i++) {
        char run[AC_ID_SIZE];
        int64_t seq = 0;
        ac_id_make(run, "run_");
        talker->n_failed += contract_try(NULL, AC_STORE_TURN_LOAD, &talker->ids, NULL) != AC_OK;
        talker->n_failed += contract_try(&seq, AC_STORE_TURN_OPEN, &talker->ids,
                                         contract_open_in(&talker->ids, run, "q", false)) != AC_OK;
        talker->n_failed += seq != 2 * i + 1;
        talker->n_failed +=
            contract_try(&seq, AC_STORE_TURN_CLOSE, &talker->ids, contract_close_in(&talker->ids, run, "a")) != AC_OK;
        talker->n_failed += seq != 2 * i + 2;
    }
    return NULL;
}

/* 30 % of requests are answered 429 or 503, 5 % of connections are cut. AGENTCHAT_CHAOS=full: 1,000 turns on 50
 * threads. */
static void test_chaos(void **state)
{
    const char *how = getenv("AGENTCHAT_CHAOS");
    int n_threads = how ? 50 : 12, n_turns = how ? 20 : 8;
    talker_t *talkers = ac_alloc(sizeof(talker_t) * (size_t)n_threads);
    cosmos_child_open(*state, &server, "");
    cosmos_server_order(&server, "{\"chaos\":{\"throttle\":0.15,\"unavailable\":0.15,\"cut\":0.05}}");
    for (int i = 0; i < n_threads; i++) {
        talkers[i] = (talker_t){.ids = contract_ids(), .n_turns = n_turns};
        contract_done(contract_call(AC_STORE_THREAD_CREATE, talkers[i].ids.owner, NULL,
                                    contract_thread(talkers[i].ids.thread, "T", 1)));
        assert_int_equal(pthread_create(&talkers[i].thread, NULL, talk, &talkers[i]), 0);
    }
    for (int i = 0; i < n_threads; i++) {
        pthread_join(talkers[i].thread, NULL);
        assert_int_equal(talkers[i].n_failed, 0);
    }
    cosmos_server_order(&server, "{\"clear\":true}");
    for (int i = 0; i < n_threads; i++) {
        contract_gapless(&talkers[i].ids, 2 * n_turns);
    }
    /* Nothing is there that was written twice: a head, and message, run and message of each turn. */
    assert_int_equal(cosmos_documents(&server, "messages"), n_threads * (1 + 3 * n_turns));
    assert_int_equal(cosmos_documents(&server, "threads"), n_threads * (1 + n_turns));
    free(talkers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        COSMOS_TEST(test_every_failure_at_every_request),
        COSMOS_TEST(test_failures_inside_a_batch),
        COSMOS_TEST(test_giving_up_in_time),
        COSMOS_TEST(test_no_descriptors_left),
        COSMOS_TEST(test_repeated_conflicts),
        COSMOS_TEST(test_a_container_that_was_recreated),
        COSMOS_TEST(test_no_listener),
        COSMOS_TEST(test_chaos),
    };

    return cosmos_main(&server, "cosmos_failures", tests, sizeof(tests) / sizeof(*tests));
}
