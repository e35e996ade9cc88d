/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of all stores about feedback: it is part of its message, and lists find it. */
#include "store_contract.h"

static void rated_turn(const contract_ids_t *ids, char question[AC_ID_SIZE], char answer[AC_ID_SIZE], bool fresh)
{
    char run[AC_ID_SIZE] = "";
    json_t *list;
    size_t n;
    contract_open(ids, run, "what?", fresh);
    contract_close(ids, run, "that");
    list = contract_ok(contract_call(AC_STORE_MESSAGE_LIST, ids->owner, ids->thread, NULL));
    n = json_array_size(json_object_get(list, "data"));
    snprintf(question, AC_ID_SIZE, "%s",
             ac_json_peek_string(json_array_get(json_object_get(list, "data"), n - 2), "id", ""));
    snprintf(answer, AC_ID_SIZE, "%s",
             ac_json_peek_string(json_array_get(json_object_get(list, "data"), n - 1), "id", ""));
    json_decref(list);
}

static json_t *rating(const char *word, const char *comment, int number)
{
    char at[AC_TIME_SIZE];
    return json_pack("{s:s?, s:n, s:s?, s:s}", "rating", word, "reason", "comment", comment, "at",
                     contract_time(at, number));
}

static json_t *put(const char *owner, const char *id, json_t *in)
{
    return contract_ok(contract_call(AC_STORE_FEEDBACK_PUT, owner, id, in));
}

/* The feedback of the thread's last message, borrowed from *plist. */
static json_t *shown(json_t **plist, const contract_ids_t *ids)
{
    json_t *data;
    *plist = contract_ok(contract_call(AC_STORE_MESSAGE_LIST, ids->owner, ids->thread, NULL));
    data = json_object_get(*plist, "data");
    return json_object_get(json_array_get(data, json_array_size(data) - 1), "feedback");
}

/* All of the owner's in the list, page by page. */
static json_t *listed(const char *owner, json_t *in, int limit)
{
    json_t *all = json_array(), *next = json_null();
    do {
        ac_store_op_t *op = contract_op(AC_STORE_FEEDBACK_LIST, NULL, NULL, json_deep_copy(in));
        json_t *out, *item;
        size_t i;
        op->page.limit = limit;
        json_object_set_new(op->in, "after", next);
        out = contract_ok(contract_wait(op));
        json_array_foreach(json_object_get(out, "data"), i, item)
        {
            if (strcmp(ac_json_peek_string(item, "owner", ""), owner) == 0) {
                json_array_append(all, item);
            }
        }
        next = json_incref(json_object_get(out, "next"));
        json_decref(out);
    } while (json_is_string(next));
    json_decref(next);
    json_decref(in);
    return all;
}

static json_t *range(void)
{
    return json_pack("{s:s, s:s, s:b}", "from", "2026-02-03", "to", "2026-02-03~", "words", 1);
}

static void test_the_owner_rates_an_answer(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char question[AC_ID_SIZE], answer[AC_ID_SIZE];
    json_t *list, *out;
    rated_turn(&ids, question, answer, true);
    assert_null(shown(&list, &ids));
    json_decref(list);
    out = put(ids.owner, answer, rating("up", NULL, 50));
    contract_equal(out,
                   json_pack("{s:n, s:s, s:s, s:s}", "before", "agent_id", "helper", "model", "m-1", "thread_id",
                             ids.thread));
    out = put(ids.owner, answer, rating("down", "no café", 51));
    assert_string_equal(ac_json_peek_string(out, "before", ""), "up");
    json_decref(out);
    assert_string_equal(ac_json_peek_string(shown(&list, &ids), "rating", ""), "down");
    json_decref(list);
    assert_string_equal(ac_json_peek_string(shown(&list, &ids), "comment", ""), "no café");
    json_decref(list);
    out = put(ids.owner, answer, rating(NULL, NULL, 52));
    assert_string_equal(ac_json_peek_string(out, "before", ""), "down");
    json_decref(out);
    assert_null(shown(&list, &ids));
    json_decref(list);
    json_decref(put(ids.owner, answer, rating(NULL, NULL, 53)));
    assert_int_equal(json_array_size(list = listed(ids.owner, range(), 20)), 0);
    json_decref(list);
}

static void test_only_the_owner_rates_and_only_answers(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids(), other = contract_ids();
    char question[AC_ID_SIZE], answer[AC_ID_SIZE], theirs[AC_ID_SIZE];
    json_t *in = rating("up", NULL, 60);
    rated_turn(&ids, question, answer, true);
    rated_turn(&other, question, theirs, true);
    contract_kind(contract_call(AC_STORE_FEEDBACK_PUT, other.owner, answer, rating("up", NULL, 60)), AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_FEEDBACK_PUT, other.owner, "msg_none", rating("up", NULL, 60)), AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_FEEDBACK_PUT, other.owner, question, rating("up", NULL, 60)),
                  AC_INVALID_REQUEST);
    contract_kind(contract_call(AC_STORE_FEEDBACK_PUT, other.owner, theirs, rating("great", NULL, 60)),
                  AC_INVALID_REQUEST);
    json_object_set_new(in, "thread_id", json_string(ids.thread));
    contract_kind(contract_call(AC_STORE_FEEDBACK_PUT, other.owner, theirs, json_deep_copy(in)), AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_FEEDBACK_PUT, other.owner, answer, json_deep_copy(in)), AC_NOT_FOUND);
    json_decref(put(ids.owner, answer, in));
    contract_done(contract_call(AC_STORE_THREAD_DELETE, ids.owner, ids.thread,
                                json_pack("{s:s}", "deleted_at", "2026-02-03T04:05:06.789Z")));
    contract_kind(contract_call(AC_STORE_FEEDBACK_PUT, ids.owner, answer, rating("down", NULL, 60)), AC_NOT_FOUND);
    assert_int_equal(json_array_size(in = listed(ids.owner, range(), 20)), 0);
    json_decref(in);
}

static void test_lists_find_it(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char question[AC_ID_SIZE], answer[5][AC_ID_SIZE];
    json_t *list, *in, *item;
    size_t i;
    for (int n = 0; n < 5; n++) {
        rated_turn(&ids, question, answer[n], n == 0);
        json_decref(put(ids.owner, answer[n], rating(n % 2 ? "down" : "up", "because", 3600000 + n)));
    }
    for (int limit = 1; limit <= 3; limit++) {
        list = listed(ids.owner, range(), limit);
        assert_int_equal(json_array_size(list), 5);
        json_array_foreach(list, i, item)
        {
            assert_string_equal(ac_json_peek_string(item, "question", ""), "what?");
            assert_string_equal(ac_json_peek_string(item, "answer", ""), "that");
            assert_string_equal(ac_json_peek_string(item, "comment", ""), "because");
            assert_string_equal(ac_json_peek_string(item, "agent_id", ""), "helper");
            assert_string_equal(ac_json_peek_string(item, "thread_id", ""), ids.thread);
        }
        json_decref(list);
    }
    in = range();
    json_object_set_new(in, "rating", json_string("down"));
    json_object_del(in, "words");
    list = listed(ids.owner, in, 2);
    assert_int_equal(json_array_size(list), 2);
    item = json_array_get(list, 0);
    assert_true(!json_object_get(item, "comment") && !json_object_get(item, "question") &&
                !json_object_get(item, "answer") && !json_object_get(item, "reason"));
    json_decref(list);
    in = range();
    json_object_set_new(in, "agent_id", json_string("other"));
    assert_int_equal(json_array_size(list = listed(ids.owner, in, 20)), 0);
    json_decref(list);
    in = range();
    json_object_set_new(in, "from", json_string("2026-02-03T01:00:00.001Z"));
    json_object_set_new(in, "to", json_string("2026-02-03T01:00:00.003Z"));
    assert_int_equal(json_array_size(list = listed(ids.owner, in, 20)), 3);
    json_decref(list);
}

static void test_it_is_copied_and_removed_with_its_thread(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char question[AC_ID_SIZE], answer[AC_ID_SIZE];
    json_t *thread, *messages, *runs, *list, *record;
    rated_turn(&ids, question, answer, true);
    json_decref(put(ids.owner, answer, rating("down", "because", 7200000)));
    thread = contract_ok(contract_call(AC_STORE_THREAD_GET, ids.owner, ids.thread, NULL));
    messages = contract_ok(contract_call(AC_STORE_EXPORT_MESSAGES, NULL, ids.thread, NULL));
    runs = contract_ok(contract_call(AC_STORE_EXPORT_RUNS, NULL, ids.thread, NULL));
    contract_done(contract_call(AC_STORE_THREAD_DELETE, ids.owner, ids.thread,
                                json_pack("{s:s}", "deleted_at", "2026-02-03T04:05:06.789Z")));
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_DELETE, ids.owner, ids.thread, NULL);
    op->hard = true;
    contract_done(contract_wait(op));
    assert_int_equal(json_array_size(list = listed(ids.owner, range(), 20)), 0);
    json_decref(list);
    record = json_deep_copy(thread);
    json_object_set_new(record, "owner", json_string(ids.owner));
    json_object_set_new(record, "deleted_at", json_null());
    json_object_set_new(record, "restore_status", json_null());
    contract_done(contract_call(AC_STORE_IMPORT, NULL, ids.thread,
                                json_pack("{s:o, s:O, s:O}", "thread", record, "messages",
                                          json_object_get(messages, "data"), "runs", json_object_get(runs, "data"))));
    list = listed(ids.owner, range(), 20);
    assert_int_equal(json_array_size(list), 1);
    assert_string_equal(ac_json_peek_string(json_array_get(list, 0), "question", ""), "what?");
    assert_string_equal(ac_json_peek_string(json_array_get(list, 0), "model", ""), "m-1");
    json_decref(list);
    assert_string_equal(ac_json_peek_string(shown(&list, &ids), "comment", ""), "because");
    json_decref(list);
    json_decref(thread);
    json_decref(messages);
    json_decref(runs);
}

int contract_feedback(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_owner_rates_an_answer),
        cmocka_unit_test(test_only_the_owner_rates_and_only_answers),
        cmocka_unit_test(test_lists_find_it),
        cmocka_unit_test(test_it_is_copied_and_removed_with_its_thread),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
