/* SPDX-License-Identifier: Apache-2.0 */
/* Branches in the Cosmos DB store: its requests, failures at each of them, long paths, large messages, and documents of
 * older versions. The contract of all stores has the rest. */
#include "branches_world.h"
#include "cosmos_requests.h"

#define LARGE 1000000 /* bytes of a message, over what one document holds */

static cosmos_server_t server;

/* ---- requests ---- */

static world_t known; /* 1 2 3 4, and below 2: 5 6 */

static void branched(void)
{
    known = line(2);
    turn(&known, "edited", 2);
}

static void branched_answering(void)
{
    branched();
    opens(&known, requests_run, NULL, 1);
}

static void changed_elsewhere(void)
{
    branched();
    requests_fault_at("POST .*/messages/docs", true, 412);
}

static void do_list(void)
{
    assert_list(&known, false, (ac_page_t){.limit = 50}, "1 2 5 6");
}

static void do_list_all(void)
{
    assert_list(&known, true, (ac_page_t){.limit = 50}, "1 2 3 4 5 6");
}

static void do_list_end(void)
{
    assert_list(&known, false, (ac_page_t){.limit = 50, .after_seq = 5}, "6");
}

static void load_with(const char *member)
{
    contract_done(contract_call(AC_STORE_TURN_LOAD, known.ids.owner, known.ids.thread,
                                json_pack("{s:s}", member, known.message[4])));
}

static void do_load(void)
{
    contract_done(contract_call(AC_STORE_TURN_LOAD, known.ids.owner, known.ids.thread, NULL));
}

static void do_load_parent(void)
{
    load_with("parent_id");
}

static void do_load_question(void)
{
    load_with("regenerate");
}

static void do_open_branch(void)
{
    opens(&known, requests_run, "put differently", 2);
}

static void do_open_answer(void)
{
    opens(&known, requests_run, NULL, 1);
}

static void do_close_answer(void)
{
    closes(&known, requests_run, "another", 1);
}

static void do_switch(void)
{
    contract_done(switches(&known, known.message[4]));
}

static void do_switch_above(void)
{
    contract_done(switches(&known, known.message[3]));
}

static const cosmos_requests_t rows[] = {
    {"MESSAGE_LIST of a path, with a sibling elsewhere",
     branched,
     do_list,
     {"READ messages: thread", "QUERY messages by thread_id, type, seq", "QUERY messages by thread_id, type, seq"}},
    {"MESSAGE_LIST of all", branched, do_list_all, {"READ messages: thread", "QUERY messages by thread_id, type, seq"}},
    {"MESSAGE_LIST without siblings",
     branched,
     do_list_end,
     {"READ messages: thread", "QUERY messages by thread_id, type, seq"}},
    {"TURN_LOAD of a path", branched, do_load, {"READ messages: thread", "QUERY messages by thread_id, type, seq"}},
    {"TURN_LOAD with parent_id",
     branched,
     do_load_parent,
     {"READ messages: thread", "READ messages: message", "QUERY messages by thread_id, type, seq"}},
    {"TURN_LOAD with regenerate",
     branched,
     do_load_question,
     {"READ messages: thread", "READ messages: message", "QUERY messages by thread_id, type, seq"}},
    {"TURN_OPEN of a branch",
     branched,
     do_open_branch,
     {"BATCH threads: CREATE run, UPSERT thread", "BATCH messages: REPLACE thread, CREATE message, CREATE run"}},
    {"TURN_OPEN without a message",
     branched,
     do_open_answer,
     {"BATCH threads: CREATE run, UPSERT thread", "BATCH messages: REPLACE thread, CREATE run"}},
    {"TURN_OPEN without a message, conflict",
     changed_elsewhere,
     do_open_answer,
     {"BATCH threads: CREATE run, UPSERT thread", "BATCH messages: REPLACE thread, CREATE run -> 412",
      "READ messages: thread", "UPSERT threads: thread", "BATCH messages: REPLACE thread, CREATE run"}},
    {"TURN_CLOSE of a further answer",
     branched_answering,
     do_close_answer,
     {"BATCH messages: REPLACE thread, CREATE message, UPSERT run"}},
    {"THREAD_UPDATE, leaf",
     branched,
     do_switch,
     {"READ messages: thread", "READ messages: message", "UPSERT threads: thread", "REPLACE messages: thread"}},
    {"THREAD_UPDATE, leaf below",
     branched,
     do_switch_above,
     {"READ messages: thread", "READ messages: message", "QUERY messages by thread_id, type, seq",
      "UPSERT threads: thread", "REPLACE messages: thread"}},
};

static void test_requests_of_branches(void **state)
{
    cosmos_requests_check(*state, &server, rows, sizeof(rows) / sizeof(*rows));
}

/* ---- failures ---- */

static const char *const faults[] = {
    "\"status\":429,\"substatus\":3200,\"headers\":{\"x-ms-retry-after-ms\":\"3\"}",
    "\"status\":503",
    "\"status\":408",
    "\"cut\":true",
    "\"cut\":true,\"after\":true",
    "\"status\":500,\"after\":true",
};

/* A question, another one in its place, a further answer, the way back, and on from there. */
static void live(void)
{
    world_t world = line(1);
    char run[AC_ID_SIZE];
    turn(&world, "put differently", 0);
    opens(&world, run, NULL, 1);
    closes(&world, run, "another answer", 1);
    assert_path(&world, "1 5");
    contract_done(switches(&world, world.message[2]));
    turn(&world, "on", 2);
    assert_path(&world, "1 2 6 7");
    contract_done(switches(&world, world.message[3]));
    assert_path(&world, "3 4");
    assert_leaf(&world, 4);
    assert_list(&world, true, (ac_page_t){.limit = 50}, "1 2 3 4 5 6 7");
}

static void test_every_failure_at_every_request_of_branches(void **state)
{
    cosmos_child_open(*state, &server, "");
    int64_t before = cosmos_requests(&server, ".*");
    live();
    int n = (int)(cosmos_requests(&server, ".*") - before);
    for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
        for (int skip = (int)i % 2; skip < n; skip += 2) {
            char order[256];
            snprintf(order, sizeof(order), "{\"faults\":[{\"match\":\".*\",\"skip\":%d,%s}]}", skip, faults[i]);
            cosmos_server_order(&server, order);
            live();
        }
    }
}

static void test_another_machine_changes_the_thread_meanwhile(void **state)
{
    cosmos_child_open(*state, &server, "");
    world_t world = line(2);
    turn(&world, "edited", 2);
    cosmos_server_order(&server, "{\"faults\":[{\"match\":\"PUT .*/messages/docs\",\"n\":3,\"status\":412}]}");
    contract_done(switches(&world, world.message[3]));
    assert_path(&world, "1 2 3 4");
    cosmos_server_order(&server,
                        "{\"faults\":[{\"match\":\"POST .*/messages/docs\",\"n\":3,\"op\":0,\"status\":412}]}");
    answer(&world, 1);
    assert_path(&world, "1 7");
    cosmos_server_order(&server, "{\"clear\":true}");
}

/* The process dies after its n-th request of a further answer was carried out. */
static void crash_after(cosmos_child_t *next, int n, bool *pended)
{
    static int seconds;
    cosmos_child_t dead;
    char run[AC_ID_SIZE], order[64], again[AC_ID_SIZE];
    ac_id_make(run, "run_");
    cosmos_child_open(&dead, &server, "");
    world_t world = line(1);
    COSMOS_UNTIL(cosmos_uncounted(&server) == 0);
    snprintf(order, sizeof(order), "{\"stop_after\":%d}", n);
    cosmos_server_order(&server, order);
    json_t *in = contract_open_in(&world.ids, run, "", false);
    json_object_set_new(in, "message", json_null());
    put_parent(in, &world, 1);
    ac_kind_e kind = contract_try(NULL, AC_STORE_TURN_OPEN, &world.ids, in);
    if (kind == AC_OK) {
        kind = contract_try(NULL, AC_STORE_TURN_CLOSE, &world.ids, close_in(&world, run, "another", 1));
    }
    cosmos_child_kill(&dead, &server);

    cosmos_clock_to(&server, seconds += 70);
    contract_use(&next->store);
    contract_done(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    json_t *list = list_page(&world, true, (ac_page_t){.limit = 50}), *data = json_object_get(list, "data");
    size_t stored = json_array_size(data);
    assert_true(stored == 2 || stored == 3);
    assert_true(stored == 3 || kind != AC_OK); /* what was acknowledged is durable */
    if (stored == 3) {
        world.n = 3;
        snprintf(world.message[3], AC_ID_SIZE, "%s", ac_json_peek_string(json_array_get(data, 2), "id", ""));
        assert_parent(&world, data, 2, 1);
    }
    json_decref(list);
    assert_path(&world, stored == 3 ? "1 3" : "1 2");
    opens(&world, again, NULL, 1); /* the thread is free */
    closes(&world, again, "yet another", 1);
    assert_path(&world, stored == 3 ? "1 4" : "1 3");
    *pended = kind == AC_OK;
}

static void test_a_process_dies_at_any_request_of_a_further_answer(void **state)
{
    bool ended = false;
    cosmos_child_open(*state, &server, "");
    for (int n = 0; !ended; n++) {
        assert_in_range(n, 0, 20);
        crash_after(*state, n, &ended);
    }
}

/* ---- long paths, large messages, limits ---- */

/* The path 1 3 5 7 …: each question follows the one before, and each answer was made twice, the first one is used. */
static void test_a_path_of_many_ranges(void **state)
{
    cosmos_child_open(*state, &server, "");
    contract_ids_t ids = contract_ids();
    enum { N = 90 };
    json_t *jumps = json_array(), *messages = json_array();
    char id[AC_ID_SIZE], last[AC_ID_SIZE] = "";
    for (int seq = 1; seq <= N; seq++) {
        ac_id_make(id, "msg_");
        json_t *message = contract_message(id, seq % 4 == 1 ? "user" : "assistant", "text", seq);
        json_object_set_new(message, "seq", json_integer(seq));
        json_array_append_new(messages, message);
        if (seq >= 3) {
            json_array_append_new(jumps, json_pack("[i, i]", seq, seq - 2));
        }
        if (seq == N - 1) {
            memcpy(last, id, sizeof(last));
        }
    }
    json_t *record = contract_thread(ids.thread, "T", 1);
    json_object_set_new(record, "owner", json_string(ids.owner));
    json_object_set_new(record, "message_count", json_integer(N));
    json_object_set_new(record, "tree",
                        json_pack("{s:{s:i, s:s}, s:o}", "leaf", "seq", N - 1, "id", last, "jumps", jumps));
    contract_done(contract_call(AC_STORE_IMPORT, NULL, ids.thread,
                                json_pack("{s:o, s:o, s:[]}", "thread", record, "messages", messages, "runs")));
    world_t world = {.ids = ids, .n = N};
    for (int round = 0; round < 4; round++) {
        bool descending = round % 2 == 1;
        size_t limit = round < 2 ? 100 : 40;
        json_t *list = list_page(&world, false, (ac_page_t){.limit = (int)limit, .descending = descending});
        json_t *data = json_object_get(list, "data");
        assert_int_equal(json_array_size(data), limit < N / 2 ? limit : N / 2);
        for (size_t i = 0; i < json_array_size(data); i++) {
            int64_t seq = descending ? N - 1 - 2 * (int64_t)i : 1 + 2 * (int64_t)i;
            assert_int_equal(ac_json_peek_int(json_array_get(data, i), "seq", -1), seq);
        }
        assert_int_equal(json_is_true(json_object_get(list, "has_more")), limit < N / 2);
        json_decref(list);
    }
    json_t *loaded = contract_ok(contract_call(AC_STORE_TURN_LOAD, ids.owner, ids.thread, NULL));
    assert_int_equal(ac_json_peek_int(loaded, "parent_seq", -1), N - 1);
    assert_string_equal(ac_json_peek_string(loaded, "parent_id", ""), last);
    json_decref(loaded);
}

static void test_large_messages_keep_their_parent(void **state)
{
    cosmos_child_open(*state, &server, "");
    char *text = ac_alloc(LARGE + 1), run[AC_ID_SIZE];
    memset(text, 'x', LARGE);
    world_t world = line(2);
    opens(&world, run, text, 2);
    closes(&world, run, text, 5);
    json_t *list = list_page(&world, false, (ac_page_t){.limit = 50}), *data = json_object_get(list, "data");
    assert_seqs(data, "1 2 5 6");
    assert_parent(&world, data, 2, 2);
    assert_parent(&world, data, 3, 5);
    assert_string_equal(ac_json_peek_string(json_array_get(data, 2), "content", ""), text);
    json_decref(list);
    contract_done(switches(&world, world.message[3]));
    contract_done(switches(&world, world.message[5])); /* found by its stub */
    assert_path(&world, "1 2 5 6");
    free(text);
}

static void full_thread(contract_ids_t *ids)
{
    json_t *jumps = json_array(), *record;
    *ids = contract_ids();
    for (int i = 0; i < AC_MAX_BRANCHES; i++) {
        json_array_append_new(jumps, json_pack("[i, i]", i + 3, 1));
    }
    record = contract_thread(ids->thread, "T", 1);
    json_object_set_new(record, "owner", json_string(ids->owner));
    json_object_set_new(record, "message_count", json_integer(AC_MAX_BRANCHES + 2));
    json_object_set_new(record, "tree",
                        json_pack("{s:{s:i, s:s}, s:o}", "leaf", "seq", AC_MAX_BRANCHES + 2, "id", "msg_last", "jumps",
                                  jumps));
    contract_done(contract_call(AC_STORE_IMPORT, NULL, ids->thread,
                                json_pack("{s:o, s:[], s:[]}", "thread", record, "messages", "runs")));
}

static void test_a_thread_with_too_many_branches(void **state)
{
    cosmos_child_open(*state, &server, "");
    world_t world = {0};
    char run[AC_ID_SIZE];
    full_thread(&world.ids);
    world.n = AC_MAX_BRANCHES + 2;
    for (int i = 0; i < 2; i++) {
        ac_id_make(run, "run_");
        json_t *in = contract_open_in(&world.ids, run, "x", false);
        json_object_set_new(in, "parent_seq", json_integer(1));
        if (i == 1) {
            json_object_set_new(in, "message", json_null());
        }
        contract_kind(contract_call(AC_STORE_TURN_OPEN, world.ids.owner, world.ids.thread, in), AC_INVALID_REQUEST);
    }
    ac_id_make(run, "run_"); /* the path continues, and no answer is lost */
    contract_done(contract_call(AC_STORE_TURN_OPEN, world.ids.owner, world.ids.thread,
                                contract_open_in(&world.ids, run, "on", false)));
    json_t *in = contract_close_in(&world.ids, run, "answer");
    json_object_set_new(in, "parent_seq", json_integer(1));
    json_t *out = contract_ok(contract_call(AC_STORE_TURN_CLOSE, world.ids.owner, world.ids.thread, in));
    assert_int_equal(ac_json_peek_int(json_object_get(out, "message"), "seq", -1), AC_MAX_BRANCHES + 4);
    json_decref(out);
}

/* ---- documents of older versions ---- */

static void test_a_container_of_an_older_version_is_read_as_lines(void **state)
{
    cosmos_child_open(*state, &server, "");
    world_t world = line(3);
    cosmos_server_order(&server, "{\"strip\":{\"messages\":[\"parent_id\",\"last_message\",\"tree\"]}}");
    assert_leaf(&world, 0);
    assert_path(&world, "1 2 3 4 5 6");
    json_t *list = list_page(&world, false, (ac_page_t){.limit = 50, .after_seq = 2});
    for (size_t i = 0; i < 4; i++) {
        assert_parent(&world, json_object_get(list, "data"), i, (int64_t)i + 2);
    }
    json_decref(list);
    turn(&world, "edited", 2);
    assert_path(&world, "1 2 7 8");
    list = list_page(&world, false, (ac_page_t){.limit = 50});
    assert_parent(&world, json_object_get(list, "data"), 0, 0);
    assert_parent(&world, json_object_get(list, "data"), 1, 1);
    contract_equal(json_incref(json_object_get(json_array_get(json_object_get(list, "data"), 2), "siblings")),
                   json_pack("[s, s]", world.message[3], world.message[7]));
    json_decref(list);
    contract_done(switches(&world, world.message[4]));
    answer(&world, 5);
    assert_path(&world, "1 2 3 4 5 9");
}

/* ---- retention ---- */

static void test_pages_of_a_path_whose_beginning_has_expired(void **state)
{
    cosmos_child_open(*state, &server, "retention=90d");
    world_t world = line(3);
    turn(&world, "edited", 4);
    turn(&world, "on", 8);
    assert_path(&world, "1 2 3 4 7 8 9 10");
    cosmos_server_order(&server, "{\"expire\":{\"container\":\"messages\",\"seq\":3}}");
    assert_list(&world, false, (ac_page_t){.limit = 2}, "4 7");
    assert_list(&world, false, (ac_page_t){.limit = 2, .after_seq = 7}, "8 9");
    assert_list(&world, false, (ac_page_t){.limit = 3, .descending = true}, "10 9 8");
    assert_list(&world, false, (ac_page_t){.limit = 50}, "4 7 8 9 10");
    contract_kind(switches(&world, world.message[1]), AC_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        COSMOS_TEST(test_requests_of_branches),
        COSMOS_TEST(test_every_failure_at_every_request_of_branches),
        COSMOS_TEST(test_another_machine_changes_the_thread_meanwhile),
        COSMOS_TEST(test_a_process_dies_at_any_request_of_a_further_answer),
        COSMOS_TEST(test_a_path_of_many_ranges),
        COSMOS_TEST(test_large_messages_keep_their_parent),
        COSMOS_TEST(test_a_thread_with_too_many_branches),
        COSMOS_TEST(test_a_container_of_an_older_version_is_read_as_lines),
        COSMOS_TEST(test_pages_of_a_path_whose_beginning_has_expired),
    };
    return cosmos_main(&server, "branches, cosmos", tests, sizeof(tests) / sizeof(*tests));
}
