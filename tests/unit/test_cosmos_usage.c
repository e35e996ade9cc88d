/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store counts each run once: when processes die between a run's end and its count, when answers are
 * lost, and when several processes count for one owner. */
#include "cosmos_harness.h"

#include <pthread.h>

#define LEASE_OVER 70 /* seconds; readers count what no process has counted for the time of a lease */

static cosmos_server_t server;

static int64_t runs_of(const char *owner, int64_t *pprompt)
{
    json_t *in = json_pack("{s:s, s:s, s:[]}", "from", "2026-02-03", "to", "2026-02-03", "by");
    json_t *out = contract_ok(contract_call(AC_STORE_USAGE_SUM, owner, NULL, in));
    const json_t *totals = json_object_get(out, "totals");
    int64_t runs = ac_json_peek_int(totals, "runs", -1);
    *pprompt = ac_json_peek_int(json_object_get(totals, "usage"), "prompt_tokens", -1);
    json_decref(out);
    return runs;
}

static void check_runs(const char *owner, int64_t runs)
{
    int64_t prompt;
    assert_int_equal(runs_of(owner, &prompt), runs);
    assert_int_equal(prompt, 10 * runs);
}

static json_t *close_in(const contract_ids_t *ids, const char *run)
{
    json_t *in = contract_close_in(ids, run, "a");
    json_object_set_new(json_object_get(in, "run"), "usage", json_pack("{s:i}", "prompt_tokens", 10));
    return in;
}

static void turn(const contract_ids_t *ids, bool fresh)
{
    char run[AC_ID_SIZE] = "";
    contract_open(ids, run, "q", fresh);
    contract_done(contract_call(AC_STORE_TURN_CLOSE, ids->owner, ids->thread, close_in(ids, run)));
}

/* ---- a process that dies ---- */

/* The requests of a count: run's entry, sum, batch. The process dies before the n-th of them, or before the answer to
 * the last. */
static void test_a_kill_between_a_run_and_its_count(void **state)
{
    static const char *const gates[] = {"GET .*/threads/docs/run_", "GET .*/threads/docs/usage_",
                                        "POST .*/threads/docs"};
    for (size_t i = 0; i < 6; i++) {
        cosmos_child_t dead;
        char order[160], run[AC_ID_SIZE] = "";
        contract_ids_t ids = contract_ids();
        cosmos_child_open(&dead, &server, "");
        turn(&ids, true);
        COSMOS_UNTIL(cosmos_uncounted(&server) == 0);
        contract_open(&ids, run, "q", false);
        snprintf(order, sizeof(order), "{\"faults\":[{\"match\":\"%s\",\"n\":1000,\"status\":503,\"after\":%s}]}",
                 gates[i % 3], i < 3 ? "false" : "true");
        cosmos_server_order(&server, order);
        contract_done(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, close_in(&ids, run)));
        snprintf(order, sizeof(order), "%s", gates[i % 3]);
        COSMOS_UNTIL(cosmos_requests(&server, order) > 0);
        cosmos_child_kill(&dead, &server);
        cosmos_server_order(&server, "{\"clear\":true}");

        cosmos_child_open(*state, &server, "");
        cosmos_clock_to(&server, LEASE_OVER);
        contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL)); /* from it the store knows the time */
        check_runs(ids.owner, 2);
        check_runs(ids.owner, 2);
        assert_int_equal(cosmos_uncounted(&server), 0);
        cosmos_clock_to(&server, 0);
        cosmos_child_stop(*state);
    }
}

static void test_the_hourly_purge_counts_them_too(void **state)
{
    cosmos_child_t dead;
    char run[AC_ID_SIZE] = "";
    contract_ids_t ids = contract_ids();
    cosmos_child_open(&dead, &server, "");
    contract_open(&ids, run, "q", true);
    cosmos_server_order(&server, "{\"faults\":[{\"match\":\"GET .*/threads/docs/run_\",\"n\":1000,\"status\":503}]}");
    contract_done(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, close_in(&ids, run)));
    cosmos_child_kill(&dead, &server);
    cosmos_server_order(&server, "{\"clear\":true}");
    cosmos_child_open(*state, &server, "");
    assert_int_equal(cosmos_uncounted(&server), 1);
    cosmos_clock_to(&server, LEASE_OVER);
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    contract_done(contract_call(AC_STORE_PURGE, NULL, NULL, json_pack("{s:s}", "before", "2000-01-01T00:00:00.000Z")));
    assert_int_equal(cosmos_uncounted(&server), 0);
    check_runs(ids.owner, 1);
}

/* The run was active when its process died. The process that closes it counts it; a late answer replaces that. */
static void test_a_run_that_ends_twice(void **state)
{
    cosmos_child_t dead;
    char run[AC_ID_SIZE] = "";
    int64_t prompt;
    contract_ids_t ids = contract_ids();
    cosmos_child_open(&dead, &server, "");
    contract_open(&ids, run, "q", true);
    cosmos_child_kill(&dead, &server);
    cosmos_child_open(*state, &server, "");
    cosmos_clock_to(&server, LEASE_OVER);
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    contract_done(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL));
    assert_int_equal(runs_of(ids.owner, &prompt), 1);
    assert_int_equal(prompt, 0);
    json_t *in = close_in(&ids, run);
    json_object_set_new(in, "late", json_true());
    contract_done(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, in));
    check_runs(ids.owner, 1);
}

/* ---- one owner, many runs ---- */

enum { TALKERS = 8, TURNS = 12 };

typedef struct talker_t {
    contract_ids_t ids;
    const ac_store_t *store;
    pthread_t thread;
    int n_failed;
} talker_t;

static void *talk(void *baton)
{
    talker_t *talker = baton;
    for (int i = 0; i < TURNS; i++) {
        char run[AC_ID_SIZE];
        ac_id_make(run, "run_");
        talker->n_failed += contract_try(NULL, AC_STORE_TURN_OPEN, &talker->ids,
                                         contract_open_in(&talker->ids, run, "q", i == 0)) != AC_OK;
        talker->n_failed += contract_try(NULL, AC_STORE_TURN_CLOSE, &talker->ids, close_in(&talker->ids, run)) != AC_OK;
    }
    return NULL;
}

static void talk_all(const char *chaos, const contract_ids_t *ids)
{
    talker_t talkers[TALKERS];
    if (chaos) {
        cosmos_server_order(&server, chaos);
    }
    for (int i = 0; i < TALKERS; i++) {
        talkers[i] = (talker_t){.ids = *ids};
        ac_id_make(talkers[i].ids.thread, "thread_");
        assert_int_equal(pthread_create(&talkers[i].thread, NULL, talk, &talkers[i]), 0);
    }
    for (int i = 0; i < TALKERS; i++) {
        pthread_join(talkers[i].thread, NULL);
        assert_int_equal(talkers[i].n_failed, 0);
    }
    cosmos_server_order(&server, "{\"clear\":true}");
}

static void test_many_runs_of_one_owner(void **state)
{
    contract_ids_t ids = contract_ids();
    cosmos_child_open(*state, &server, "");
    talk_all(NULL, &ids);
    check_runs(ids.owner, TALKERS * TURNS);
}

static void test_lost_and_refused_requests(void **state)
{
    contract_ids_t ids = contract_ids();
    cosmos_child_open(*state, &server, "");
    talk_all("{\"chaos\":{\"throttle\":0.1,\"unavailable\":0.1,\"timeout\":0.05,\"cut\":0.05}}", &ids);
    cosmos_clock_to(&server, LEASE_OVER);
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    COSMOS_UNTIL((contract_done(contract_call(AC_STORE_PURGE, NULL, NULL,
                                              json_pack("{s:s}", "before", "2000-01-01T00:00:00.000Z"))),
                  cosmos_uncounted(&server) == 0));
    check_runs(ids.owner, TALKERS * TURNS);
}

/* Two processes end runs of one owner by turns: their sums are one document. */
static void test_two_processes_count_for_one_owner(void **state)
{
    cosmos_child_t *one = *state, two;
    contract_ids_t ids = contract_ids();
    cosmos_child_open(one, &server, "");
    cosmos_child_open(&two, &server, "");
    for (int i = 0; i < 2 * TURNS; i++) {
        contract_use(i % 2 ? &one->store : &two.store);
        turn(&ids, i == 0);
    }
    COSMOS_UNTIL(cosmos_uncounted(&server) == 0);
    check_runs(ids.owner, 2 * TURNS);
    cosmos_child_stop(&two);
    contract_use(&one->store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        COSMOS_TEST(test_a_kill_between_a_run_and_its_count),
        COSMOS_TEST(test_the_hourly_purge_counts_them_too),
        COSMOS_TEST(test_a_run_that_ends_twice),
        COSMOS_TEST(test_many_runs_of_one_owner),
        COSMOS_TEST(test_lost_and_refused_requests),
        COSMOS_TEST(test_two_processes_count_for_one_owner),
    };
    return cosmos_main(&server, "cosmos_usage", tests, sizeof(tests) / sizeof(*tests));
}
