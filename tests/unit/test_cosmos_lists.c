/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store's lists of threads: the cost of a page, and correct pages at any point between the writes of a
 * thread's head and of its entry. */
#include "cosmos_harness.h"

#include "back/cosmos/cosmos_internal.h"

#include <pthread.h>

enum { MANY = 20 };
#define THROTTLED "\"status\":429,\"headers\":{\"x-ms-retry-after-ms\":\"20\"}}]}"

static cosmos_server_t server;

/* What lists ask for: the query of the entries, and heads. */
static int64_t n_asked(void)
{
    return cosmos_requests(&server, "(POST .*/threads/docs|GET .*/messages/docs)");
}

/* The number of repaired entries. A list that comes before the end of another one's repair repairs the same entry,
 * and is refused (412), maybe late. */
static int64_t n_mended(void)
{
    return cosmos_requests(&server, "PUT .*/threads/docs.* 200");
}

/* The next list is the n-th of its child: the eighth, and none before it, compares a copy with its head. */
static void lists_since(unsigned int n)
{
    ac_cosmos_t *store = contract_store()->self;
    store->n_lists = n - 1;
}

static json_t *list_of(const contract_ids_t *ids, const char *status)
{
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_LIST, ids->owner, NULL, NULL);
    snprintf(op->page.status, sizeof(op->page.status), "%s", status);
    json_t *list = contract_ok(contract_wait(op)), *data = json_incref(json_object_get(list, "data"));
    json_decref(list);
    return data;
}

/* How many requests a list of n threads takes, each of them shown as a GET of it does. */
static int64_t check_list(const contract_ids_t *ids, size_t n)
{
    int64_t before = n_asked(), asked;
    lists_since(1);
    json_t *data = list_of(ids, ""), *thread;
    size_t i;
    asked = n_asked() - before;
    assert_int_equal(json_array_size(data), n);
    json_array_foreach(data, i, thread)
    {
        const char *id = ac_json_peek_string(thread, "id", "");
        contract_equal(json_incref(thread), contract_ok(contract_call(AC_STORE_THREAD_GET, ids->owner, id, NULL)));
    }
    json_decref(data);
    return asked;
}

/* Lists until the entries are as the threads are. */
static void settle(const contract_ids_t *ids)
{
    apr_time_t end = ac_clock() + apr_time_from_sec(30);
    while (cosmos_marked(&server) > 0) {
        assert_true(ac_clock() < end);
        lists_since(1);
        json_decref(list_of(ids, ""));
    }
}

static void turn(const contract_ids_t *ids, bool fresh)
{
    char run[AC_ID_SIZE] = "";
    contract_open(ids, run, "hello", fresh);
    contract_close(ids, run, "hi");
}

static void rename_to(const contract_ids_t *ids, const char *title)
{
    contract_done(contract_call(AC_STORE_THREAD_UPDATE, ids->owner, ids->thread, json_pack("{s:s}", "title", title)));
}

/* A thread with one turn, and an entry that is not marked. */
static contract_ids_t settled_thread(void)
{
    contract_ids_t ids = contract_ids();
    turn(&ids, true);
    settle(&ids);
    assert_int_equal(check_list(&ids, 1), 1);
    return ids;
}

/* ---- what a page costs ---- */

static void test_a_page_is_one_request(void **state)
{
    contract_ids_t ids = contract_ids();
    cosmos_child_open(*state, &server, "");
    for (int i = 0; i < MANY; i++) {
        ac_id_make(ids.thread, "thread_");
        turn(&ids, true);
    }
    assert_int_equal(check_list(&ids, MANY), 1 + MANY);
    settle(&ids);
    assert_int_equal(check_list(&ids, MANY), 1);
    turn(&ids, false);
    assert_int_equal(cosmos_marked(&server), 1);
    assert_int_equal(check_list(&ids, MANY), 2);
    COSMOS_UNTIL(cosmos_marked(&server) == 0);
    assert_int_equal(check_list(&ids, MANY), 1);
}

/* As a version left it whose entries had no copies, and whose heads named no change. */
static void test_entries_of_an_older_version(void **state)
{
    contract_ids_t ids = contract_ids();
    cosmos_child_open(*state, &server, "");
    for (int i = 0; i < 3; i++) {
        ac_id_make(ids.thread, "thread_");
        turn(&ids, true);
    }
    cosmos_server_order(
        &server, "{\"strip\":{\"threads\":[\"copy\",\"head_ts\",\"change\",\"changing\"],\"messages\":[\"change\"]}}");
    assert_int_equal(check_list(&ids, 3), 4);
    COSMOS_UNTIL(cosmos_marked(&server) == 0);
    assert_int_equal(check_list(&ids, 3), 1);
    turn(&ids, false);
    assert_int_equal(check_list(&ids, 3), 2);
}

/* An entry without a mark is found all the same, by one list in eight. */
static void test_a_copy_that_is_wrong(void **state)
{
    static const char *const wrongs[] = {"[\"message_count\"]", "[\"title\",\"updated_at\"]"};
    char order[96];
    cosmos_child_open(*state, &server, "");
    cosmos_server_order(&server, "{\"faults\":[{\"match\":\"PUT .*/threads/docs\",\"n\":3," THROTTLED);
    contract_ids_t ids = settled_thread(); /* by one of several lists that mend it */
    for (int i = 0; i < 2; i++) {
        snprintf(order, sizeof(order), "{\"strip\":{\"threads/copy\":%s}}", wrongs[i]);
        cosmos_server_order(&server, order);
        int64_t n = n_mended(), n_reads = cosmos_requests(&server, "GET .*/messages/docs");
        lists_since(7);
        json_decref(list_of(&ids, ""));
        json_decref(list_of(&ids, ""));
        COSMOS_UNTIL(n_mended() == n + 1);
        assert_int_equal(cosmos_requests(&server, "GET .*/messages/docs"), n_reads + 1);
        assert_int_equal(check_list(&ids, 1), 1);
    }
    int64_t n_reads = cosmos_requests(&server, "GET .*/messages/docs");
    lists_since(8);
    json_decref(list_of(&ids, "")); /* a correct one is not written */
    COSMOS_UNTIL(cosmos_requests(&server, "GET .*/messages/docs") == n_reads + 1);
    assert_int_equal(check_list(&ids, 1), 1);
    assert_int_equal(n_mended(), 3);
}

/* It is read each time, and not written. */
static void test_a_thread_too_large_for_a_copy(void **state)
{
    char value[512];
    json_t *metadata = json_object();
    cosmos_child_open(*state, &server, "");
    contract_ids_t ids = settled_thread();
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    for (char name[] = "a"; *name < 'm'; ++*name) {
        json_object_set_new(metadata, name, json_string(value));
    }
    contract_done(
        contract_call(AC_STORE_THREAD_UPDATE, ids.owner, ids.thread, json_pack("{s:o}", "metadata", metadata)));
    int64_t n = n_mended();
    assert_int_equal(check_list(&ids, 1), 2);
    COSMOS_UNTIL(n_mended() == n + 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(check_list(&ids, 1), 2);
    }
    contract_done(contract_call(AC_STORE_THREAD_UPDATE, ids.owner, ids.thread, json_pack("{s:{}}", "metadata")));
    assert_int_equal(n_mended(), n + 1);
    settle(&ids);
    assert_int_equal(check_list(&ids, 1), 1);
}

static void test_a_copy_whose_thread_expired(void **state)
{
    cosmos_child_open(*state, &server, "retention=90d");
    contract_ids_t ids = settled_thread();
    cosmos_server_order(&server, "{\"no_auth\":true,\"clock\":7689600}"); /* 89 days */
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    assert_int_equal(check_list(&ids, 1), 1);
    cosmos_server_order(&server, "{\"clock\":7862400}"); /* 91 */
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    assert_int_equal(check_list(&ids, 1), 2);
}

/* ---- changes ---- */

static void test_a_change_is_seen_at_once(void **state)
{
    cosmos_child_t other;
    cosmos_child_open(*state, &server, "");
    contract_ids_t ids = settled_thread();
    rename_to(&ids, "Another title");
    json_t *data = list_of(&ids, "");
    assert_string_equal(ac_json_peek_string(json_array_get(data, 0), "title", ""), "Another title");
    json_decref(data);
    settle(&ids);
    assert_int_equal(check_list(&ids, 1), 1);

    cosmos_child_open(&other, &server, ""); /* on another machine */
    rename_to(&ids, "A third one");
    turn(&ids, false);
    contract_use(&((cosmos_child_t *)*state)->store);
    assert_int_equal(check_list(&ids, 1), 2);
    cosmos_child_stop(&other);
}

static void test_lists_by_status(void **state)
{
    cosmos_child_open(*state, &server, "");
    contract_ids_t ids = settled_thread();
    const char *statuses[] = {"active", "archived", "deleted"};
    char at[AC_TIME_SIZE];
    for (int is = 0; is < 3; is++) {
        if (is == 1) {
            contract_done(
                contract_call(AC_STORE_THREAD_UPDATE, ids.owner, ids.thread, json_pack("{s:s}", "status", "archived")));
        }
        if (is == 2) {
            contract_done(contract_call(AC_STORE_THREAD_DELETE, ids.owner, ids.thread,
                                        json_pack("{s:s}", "deleted_at", contract_time(at, 9))));
        }
        int64_t n = n_asked();
        lists_since(1);
        for (int asked = 0; asked < 3; asked++) {
            json_t *data = list_of(&ids, statuses[asked]);
            assert_int_equal(json_array_size(data), asked == is);
            json_decref(data);
        }
        assert_int_equal(check_list(&ids, is < 2), 1);
        assert_int_equal(n_asked() - n, 4 + (is < 2)); /* and the GET of what it shows */
    }
}

static void *change_title(void *baton)
{
    contract_try(NULL, AC_STORE_THREAD_UPDATE, baton, json_pack("{s:s}", "title", "Changed"));
    return NULL;
}

/* The entry is marked and the head not yet changed: a list in between shows what is there, and leaves the mark. */
static void test_a_list_in_the_middle_of_a_change(void **state)
{
    pthread_t thread;
    cosmos_child_open(*state, &server, "");
    contract_ids_t ids = settled_thread();
    cosmos_server_order(&server, "{\"faults\":[{\"match\":\"PUT .*/messages/docs\",\"n\":1000," THROTTLED);
    assert_int_equal(pthread_create(&thread, NULL, change_title, &ids), 0);
    COSMOS_UNTIL(cosmos_requests(&server, "PUT .*/messages/docs.* 429") > 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(check_list(&ids, 1), 2);
        assert_int_equal(cosmos_marked(&server), 1);
    }
    cosmos_server_order(&server, "{\"clear\":true}");
    pthread_join(thread, NULL);
    json_t *data = list_of(&ids, "");
    assert_string_equal(ac_json_peek_string(json_array_get(data, 0), "title", ""), "Changed");
    json_decref(data);
    settle(&ids);
    assert_int_equal(check_list(&ids, 1), 1);
}

static void *take_turn(void *baton)
{
    char run[AC_ID_SIZE];
    ac_id_make(run, "run_");
    contract_try(NULL, AC_STORE_TURN_OPEN, baton, contract_open_in(baton, run, "more", false));
    contract_try(NULL, AC_STORE_TURN_CLOSE, baton, contract_close_in(baton, run, "yes"));
    return NULL;
}

/* A change waits behind its mark; a faster one of another owner is complete, so that this mark is removed. */
static void overtaken(const char *verb, void *(*fn)(void *))
{
    char order[160];
    pthread_t thread;
    contract_ids_t ids = settled_thread();
    snprintf(order, sizeof(order), "{\"faults\":[{\"match\":\"%s .*/messages/docs\",\"n\":1000," THROTTLED, verb);
    cosmos_server_order(&server, order);
    snprintf(order, sizeof(order), "%s .*/messages/docs.* 429", verb);
    int64_t n = cosmos_requests(&server, order);
    assert_int_equal(pthread_create(&thread, NULL, fn, &ids), 0);
    COSMOS_UNTIL(cosmos_requests(&server, order) > n);
    if (fn == take_turn) {
        rename_to(&ids, "Faster");
    } else {
        turn(&ids, false);
    }
    settle(&ids);
    cosmos_server_order(&server, "{\"clear\":true}");
    pthread_join(thread, NULL);
    check_list(&ids, 1);
    settle(&ids);
    assert_int_equal(check_list(&ids, 1), 1);
}

static void test_a_change_that_another_one_overtakes(void **state)
{
    cosmos_child_open(*state, &server, "");
    overtaken("POST", take_turn);
    overtaken("PUT", change_title);
}

/* Its end marks nothing, so the mark of its beginning stays. */
static void test_lists_while_a_run_is_active(void **state)
{
    char run[AC_ID_SIZE] = "", at[AC_TIME_SIZE];
    cosmos_child_open(*state, &server, "");
    contract_ids_t ids = settled_thread();
    contract_open(&ids, run, "more", false);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(check_list(&ids, 1), 2);
    }
    rename_to(&ids, "Meanwhile");
    assert_int_equal(check_list(&ids, 1), 2);
    contract_done(
        contract_call(AC_STORE_THREAD_UPDATE, ids.owner, ids.thread, json_pack("{s:s}", "status", "archived")));
    assert_int_equal(check_list(&ids, 1), 2);
    contract_done(contract_call(AC_STORE_THREAD_DELETE, ids.owner, ids.thread,
                                json_pack("{s:s}", "deleted_at", contract_time(at, 9))));
    check_list(&ids, 0);
    contract_done(contract_call(AC_STORE_THREAD_RESTORE, ids.owner, ids.thread, json_pack("{s:s}", "updated_at", at)));
    assert_int_equal(check_list(&ids, 1), 2);
    assert_int_equal(cosmos_marked(&server), 1);
    contract_close(&ids, run, "yes");
    assert_int_equal(check_list(&ids, 1), 2);
    settle(&ids);
    assert_int_equal(check_list(&ids, 1), 1);
    contract_gapless(&ids, 4);
}

/* The message is stored after its request has ended. */
static void test_a_late_end_is_seen(void **state)
{
    cosmos_child_t dead;
    char run[AC_ID_SIZE] = "";
    cosmos_child_open(&dead, &server, "");
    contract_ids_t ids = settled_thread();
    contract_open(&ids, run, "more", false);
    cosmos_child_kill(&dead, &server);
    cosmos_child_open(*state, &server, "");
    cosmos_clock_to(&server, 70);
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    contract_done(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL));
    settle(&ids);
    assert_int_equal(check_list(&ids, 1), 1);
    json_t *in = contract_close_in(&ids, run, "an answer");
    json_object_set_new(in, "late", json_true());
    assert_int_equal(contract_try(NULL, AC_STORE_TURN_CLOSE, &ids, in), AC_OK);
    assert_int_equal(check_list(&ids, 1), 2);
    contract_gapless(&ids, 4);
}

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
        cmocka_unit_test_setup_teardown(test_a_page_is_one_request, cosmos_setup, cosmos_teardown),
        cmocka_unit_test_setup_teardown(test_entries_of_an_older_version, cosmos_setup, cosmos_teardown),
        cmocka_unit_test_setup_teardown(test_a_copy_that_is_wrong, cosmos_setup, cosmos_teardown),
        cmocka_unit_test_setup_teardown(test_a_thread_too_large_for_a_copy, cosmos_setup, cosmos_teardown),
        cmocka_unit_test_setup_teardown(test_a_copy_whose_thread_expired, cosmos_setup, cosmos_teardown),
        cmocka_unit_test_setup_teardown(test_a_change_is_seen_at_once, cosmos_setup, cosmos_teardown),
        cmocka_unit_test_setup_teardown(test_lists_by_status, cosmos_setup, cosmos_teardown),
        cmocka_unit_test_setup_teardown(test_a_list_in_the_middle_of_a_change, cosmos_setup, cosmos_teardown),
        cmocka_unit_test_setup_teardown(test_a_change_that_another_one_overtakes, cosmos_setup, cosmos_teardown),
        cmocka_unit_test_setup_teardown(test_lists_while_a_run_is_active, cosmos_setup, cosmos_teardown),
        cmocka_unit_test_setup_teardown(test_a_late_end_is_seen, cosmos_setup, cosmos_teardown),
        cmocka_unit_test_setup_teardown(test_a_crash_between_any_two_requests, cosmos_setup, cosmos_teardown),
        cmocka_unit_test_setup_teardown(test_changes_and_lists_at_the_same_time, cosmos_setup, cosmos_teardown),
    };

    return cosmos_main(&server, "cosmos_lists", tests, sizeof(tests) / sizeof(*tests));
}
