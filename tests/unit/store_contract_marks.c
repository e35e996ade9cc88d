/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of all stores about marks: members that messages get after they were stored. */
#include "store_contract.h"

#define LONG_TEXT 1000000 /* bytes; Cosmos DB stores such a message in parts */

static json_t *marks_list(const contract_ids_t *ids)
{
    return contract_ok(contract_call(AC_STORE_MESSAGE_LIST, ids->owner, ids->thread, NULL));
}

/* A thread with a question and an answer; returns its messages. */
static json_t *marks_thread(const contract_ids_t *ids, const char *answer)
{
    char run[AC_ID_SIZE] = "";
    contract_open(ids, run, "what?", true);
    contract_close(ids, run, answer);
    return marks_list(ids);
}

static const char *marks_id(const json_t *list, size_t place)
{
    return ac_json_peek_string(json_array_get(json_object_get(list, "data"), place), "id", "");
}

static json_t *marks_summary(const json_t *list, size_t place)
{
    return json_object_get(json_array_get(json_object_get(list, "data"), place), "summary");
}

static json_t *marks_in(const char *id, const char *other, const char *text)
{
    return json_pack("{s:[s, s*], s:{s:{s:s, s:i}}}", "message_ids", id, other, "marks", "summary", "text", text,
                     "tokens", 7);
}

static ac_store_op_t *marks_put(const contract_ids_t *ids, json_t *in)
{
    return contract_call(AC_STORE_MESSAGE_MARK, ids->owner, ids->thread, in);
}

static void test_a_mark_is_a_part_of_its_message(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    json_t *list = marks_thread(&ids, "that"), *after, *loaded;
    char run[AC_ID_SIZE] = "";
    contract_done(contract_call(AC_STORE_TURN_LOAD, ids.owner, ids.thread, NULL));
    contract_done(marks_put(&ids, marks_in(marks_id(list, 1), NULL, "first")));
    contract_done(marks_put(&ids, marks_in(marks_id(list, 1), NULL, "caf\xc3\xa9 \"so\"\n")));
    after = marks_list(&ids);
    contract_equal(json_incref(marks_summary(after, 1)),
                   json_pack("{s:s, s:i}", "text", "caf\xc3\xa9 \"so\"\n", "tokens", 7));
    assert_null(marks_summary(after, 0));
    json_object_del(json_array_get(json_object_get(after, "data"), 1), "summary");
    contract_equal(after, list);
    contract_open(&ids, run, "more?", false);
    contract_close(&ids, run, "that, too");
    ac_store_op_t *load = contract_op(AC_STORE_TURN_LOAD, ids.owner, ids.thread, NULL);
    load->page.limit = 10;
    loaded = contract_ok(contract_wait(load));
    after = json_array_get(json_object_get(loaded, "messages"), 1);
    assert_string_equal(ac_json_peek_string(json_object_get(after, "summary"), "text", ""), "caf\xc3\xa9 \"so\"\n");
    assert_int_equal(json_array_size(json_object_get(loaded, "messages")), 4);
    json_decref(loaded);
}

static void test_all_messages_get_it_or_none(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids(), other = contract_ids();
    json_t *list = marks_thread(&ids, "that"), *theirs = marks_thread(&other, "this"), *after;
    contract_kind(marks_put(&ids, marks_in(marks_id(list, 0), "msg_none", "x")), AC_NOT_FOUND);
    contract_kind(marks_put(&ids, marks_in(marks_id(list, 0), marks_id(theirs, 0), "x")), AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_MESSAGE_MARK, other.owner, ids.thread,
                                marks_in(marks_id(list, 0), marks_id(list, 1), "x")),
                  AC_NOT_FOUND);
    contract_equal(marks_list(&ids), json_incref(list));
    contract_equal(marks_list(&other), theirs);
    contract_done(marks_put(&ids, marks_in(marks_id(list, 0), marks_id(list, 1), "x")));
    after = marks_list(&ids);
    assert_non_null(marks_summary(after, 0));
    assert_non_null(marks_summary(after, 1));
    json_decref(after);
    contract_done(contract_call(AC_STORE_THREAD_DELETE, ids.owner, ids.thread,
                                json_pack("{s:s}", "deleted_at", "2026-02-03T04:05:06.789Z")));
    contract_kind(marks_put(&ids, marks_in(marks_id(list, 0), NULL, "y")), AC_NOT_FOUND);
    json_decref(list);
}

static void test_a_long_message_keeps_its_text(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char *text = malloc(LONG_TEXT + 1);
    memset(text, 'a', LONG_TEXT);
    text[LONG_TEXT] = '\0';
    json_t *list = marks_thread(&ids, text), *after;
    contract_done(marks_put(&ids, marks_in(marks_id(list, 1), NULL, "many letters")));
    after = marks_list(&ids);
    assert_string_equal(ac_json_peek_string(marks_summary(after, 1), "text", ""), "many letters");
    json_object_del(json_array_get(json_object_get(after, "data"), 1), "summary");
    contract_equal(after, list);
    free(text);
}

static void test_marks_are_copied(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids(), copy = contract_ids();
    json_t *list = marks_thread(&ids, "that"), *messages, *record, *after, *message;
    size_t i;
    contract_done(marks_put(&ids, marks_in(marks_id(list, 1), NULL, "short")));
    messages = contract_ok(contract_call(AC_STORE_EXPORT_MESSAGES, NULL, ids.thread, NULL));
    record = contract_ok(contract_call(AC_STORE_THREAD_GET, ids.owner, ids.thread, NULL));
    json_object_set_new(record, "id", json_string(copy.thread));
    json_object_set_new(record, "owner", json_string(copy.owner));
    json_object_set_new(record, "deleted_at", json_null());
    json_object_set_new(record, "restore_status", json_null());
    json_array_foreach(json_object_get(messages, "data"), i, message)
    {
        char id[AC_ID_SIZE];
        ac_id_make(id, "msg_");
        json_object_set_new(message, "id", json_string(id));
        json_object_set_new(message, "parent_id", json_null());
    }
    contract_done(contract_call(AC_STORE_IMPORT, NULL, copy.thread,
                                json_pack("{s:o, s:O, s:[]}", "thread", record, "messages",
                                          json_object_get(messages, "data"), "runs")));
    after = marks_list(&copy);
    assert_string_equal(ac_json_peek_string(marks_summary(after, json_array_size(json_object_get(after, "data")) - 1),
                                            "text", ""),
                        "short");
    json_decref(after);
    json_decref(messages);
    json_decref(list);
}

int contract_marks(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_mark_is_a_part_of_its_message),
        cmocka_unit_test(test_all_messages_get_it_or_none),
        cmocka_unit_test(test_a_long_message_keeps_its_text),
        cmocka_unit_test(test_marks_are_copied),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
