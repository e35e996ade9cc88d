/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store's lists of threads: the cost of a page, and correct pages at any point between the writes of a
 * thread's head and of its entry. */
#include "cosmos_lists_world.h"

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
        int64_t n = n_repaired(), n_reads = cosmos_requests(&server, "GET .*/messages/docs");
        lists_since(7);
        json_decref(list_of(&ids, ""));
        json_decref(list_of(&ids, ""));
        COSMOS_UNTIL(n_repaired() == n + 1);
        assert_int_equal(cosmos_requests(&server, "GET .*/messages/docs"), n_reads + 1);
        assert_int_equal(check_list(&ids, 1), 1);
    }
    int64_t n_reads = cosmos_requests(&server, "GET .*/messages/docs");
    lists_since(8);
    json_decref(list_of(&ids, "")); /* a correct one is not written */
    COSMOS_UNTIL(cosmos_requests(&server, "GET .*/messages/docs") == n_reads + 1);
    assert_int_equal(check_list(&ids, 1), 1);
    assert_int_equal(n_repaired(), 3);
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
    int64_t n = n_repaired();
    assert_int_equal(check_list(&ids, 1), 2);
    COSMOS_UNTIL(n_repaired() == n + 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(check_list(&ids, 1), 2);
    }
    contract_done(contract_call(AC_STORE_THREAD_UPDATE, ids.owner, ids.thread, json_pack("{s:{}}", "metadata")));
    assert_int_equal(n_repaired(), n + 1);
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
    COSMOS_UNTIL(cosmos_uncounted(&server) == 0);
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
    COSMOS_UNTIL(cosmos_uncounted(&server) == 0);
    assert_int_equal(check_list(&ids, 1), 2);
    contract_gapless(&ids, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        COSMOS_TEST(test_a_page_is_one_request),
        COSMOS_TEST(test_entries_of_an_older_version),
        COSMOS_TEST(test_a_copy_that_is_wrong),
        COSMOS_TEST(test_a_thread_too_large_for_a_copy),
        COSMOS_TEST(test_a_copy_whose_thread_expired),
        COSMOS_TEST(test_a_change_is_seen_at_once),
        COSMOS_TEST(test_lists_by_status),
        COSMOS_TEST(test_a_list_in_the_middle_of_a_change),
        COSMOS_TEST(test_a_change_that_another_one_overtakes),
        COSMOS_TEST(test_lists_while_a_run_is_active),
        COSMOS_TEST(test_a_late_end_is_seen),
    };

    return cosmos_main(&server, "cosmos_lists", tests, sizeof(tests) / sizeof(*tests));
}
