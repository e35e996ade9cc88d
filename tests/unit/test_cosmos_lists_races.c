/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store's lists of threads while processes die and several change threads at once. */
#include "cosmos_lists_world.h"

/* ---- processes that die ---- */

enum { RENAME, HIDE, TURN, REMOVE, N_ACTIONS };

/* One try that may break off anywhere. */
static void act(const contract_ids_t *ids, int action)
{
    static const ac_store_verb_e verbs[] = {AC_STORE_THREAD_UPDATE, AC_STORE_THREAD_DELETE, AC_STORE_TURN_OPEN,
                                            AC_STORE_THREAD_DELETE};
    char run[AC_ID_SIZE];
    ac_id_make(run, "run_");
    json_t *ins[] = {json_pack("{s:s}", "title", "Changed"),
                     json_pack("{s:s}", "deleted_at", "2026-01-01T00:00:00.000Z"),
                     contract_open_in(ids, run, "more", false), NULL};
    ac_store_op_t *op = contract_op(verbs[action], ids->owner, ids->thread, json_incref(ins[action]));
    op->hard = action == REMOVE;
    op->deadline = ac_clock() + apr_time_from_msec(200);
    op = contract_wait(op);
    bool opened = action == TURN && op->err.kind == AC_OK;
    ac_store_op_free(op);
    if (opened) {
        op = contract_op(AC_STORE_TURN_CLOSE, ids->owner, ids->thread, contract_close_in(ids, run, "yes"));
        op->deadline = ac_clock() + apr_time_from_msec(200);
        ac_store_op_free(contract_wait(op));
    }
    for (int i = 0; i < N_ACTIONS; i++) {
        json_decref(ins[i]);
    }
}

static void crash(cosmos_child_t *living, int action, int n)
{
    cosmos_child_t dead;
    char order[64];
    contract_use(&living->store);
    contract_ids_t ids = settled_thread();
    cosmos_child_open(&dead, &server, "");
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    snprintf(order, sizeof(order), "{\"stop_after\":%d}", n);
    cosmos_server_order(&server, order);
    act(&ids, action);
    cosmos_child_kill(&dead, &server);
    contract_use(&living->store);
    ac_store_op_t *op = contract_call(AC_STORE_THREAD_GET, ids.owner, ids.thread, NULL);
    bool there = op->err.kind == AC_OK;
    ac_store_op_free(op);
    for (int i = 0; i < 3; i++) { /* and what a list mends is right */
        check_list(&ids, there);
    }
    if (there) {
        cosmos_server_order(&server, "{\"no_auth\":true,\"clock\":4000}");
        contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
        contract_done(
            contract_call(AC_STORE_TURN_LOAD, ids.owner, ids.thread, NULL)); /* ends the run of the dead one */
        settle(&ids);
        assert_int_equal(check_list(&ids, 1), 1); /* with a limit */
    }
    cosmos_server_order(&server, "{\"reset\":true}");
    cosmos_child_stop(living);
    cosmos_child_open(living, &server, "lease=1h");
}

static void test_a_crash_between_any_two_requests(void **state)
{
    cosmos_child_open(*state, &server, "lease=1h");
    for (int action = 0; action < N_ACTIONS; action++) {
        for (int n = 0; n <= 4; n++) {
            crash(*state, action, n);
        }
    }
}

/* ---- many at a time ---- */

typedef struct changer_t {
    pthread_t thread;
    contract_ids_t ids;
    int n_failed;
} changer_t;

/* Turns and new titles, while lists mend behind them. */
static void *change_on(void *baton)
{
    changer_t *changer = baton;
    const contract_ids_t *ids = &changer->ids;
    for (int i = 0; i < 12; i++) {
        char run[AC_ID_SIZE];
        ac_id_make(run, "run_");
        changer->n_failed += contract_try(NULL, AC_STORE_TURN_OPEN, ids, contract_open_in(ids, run, "q", false)) !=
            AC_OK;
        changer->n_failed += contract_try(NULL, AC_STORE_THREAD_UPDATE, ids, json_pack("{s:s}", "title", run)) != AC_OK;
        changer->n_failed += contract_try(NULL, AC_STORE_TURN_CLOSE, ids, contract_close_in(ids, run, "a")) != AC_OK;
        changer->n_failed += contract_try(NULL, AC_STORE_THREAD_UPDATE, ids, json_pack("{s:s}", "title", run + 4)) !=
            AC_OK;
    }
    return NULL;
}

static void test_changes_and_lists_at_the_same_time(void **state)
{
    enum { THREADS = 5, ROUNDS = 60 };
    changer_t changers[THREADS];
    contract_ids_t ids = contract_ids();
    cosmos_child_open(*state, &server, "");
    cosmos_server_order(&server, "{\"chaos\":{\"throttle\":0.1,\"contended\":0.05,\"cut\":0.03}}");
    for (int i = 0; i < THREADS; i++) {
        changers[i] = (changer_t){.ids = ids};
        ac_id_make(changers[i].ids.thread, "thread_");
        contract_done(
            contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(changers[i].ids.thread, "T", 1)));
        assert_int_equal(pthread_create(&changers[i].thread, NULL, change_on, &changers[i]), 0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        json_t *data = list_of(&ids, "");
        assert_int_equal(json_array_size(data), THREADS);
        json_decref(data);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(changers[i].thread, NULL);
        assert_int_equal(changers[i].n_failed, 0);
    }
    cosmos_server_order(&server, "{\"clear\":true}");
    check_list(&ids, THREADS);
    settle(&ids);
    assert_int_equal(check_list(&ids, THREADS), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        COSMOS_TEST(test_a_crash_between_any_two_requests),
        COSMOS_TEST(test_changes_and_lists_at_the_same_time),
    };

    return cosmos_main(&server, "cosmos_lists_races", tests, sizeof(tests) / sizeof(*tests));
}
