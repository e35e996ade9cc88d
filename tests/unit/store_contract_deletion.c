/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of all stores about deleted messages: what they say is gone, and their places in the thread stay. */
#include "store_contract.h"

#define LONG_TEXT 1000000 /* bytes; Cosmos DB stores such a document in parts */

/* ---- a thread with messages ---- */

/* A turn whose question came with n earlier messages. run_id is made where it is "". */
static void say(const contract_ids_t *ids, char run_id[AC_ID_SIZE], const char *question, const char *answer, int n)
{
    bool fresh = false;
    if (!*run_id) {
        ac_store_op_t *op = contract_call(AC_STORE_THREAD_GET, ids->owner, ids->thread, NULL);
        fresh = op->err.kind == AC_NOT_FOUND;
        ac_store_op_free(op);
        ac_id_make(run_id, "run_");
    }
    json_t *in = contract_open_in(ids, run_id, question, fresh), *earlier = json_array(), *before = NULL;
    for (int i = 0; i < n; i++) {
        char id[AC_ID_SIZE];
        ac_id_make(id, "msg_");
        json_t *message = contract_message(id, i % 2 ? "assistant" : "user", i ? "earlier" : question, 5);
        json_object_set_new(message, "metadata", json_pack("{s:s}", "came_with", run_id));
        json_object_set_new(message, "parent_id", before ? json_incref(json_object_get(before, "id")) : json_null());
        json_array_append_new(earlier, message);
        before = message;
    }
    if (n) {
        json_object_set(json_object_get(in, "message"), "parent_id", json_object_get(before, "id"));
        json_object_set_new(in, "parent_seq", json_integer(0));
        json_object_set(in, "earlier", earlier);
    }
    json_decref(earlier);
    contract_done(contract_call(AC_STORE_TURN_OPEN, ids->owner, ids->thread, in));
    in = contract_close_in(ids, run_id, answer);
    json_object_set_new(json_object_get(in, "message"), "metadata",
                        json_pack("{s:s, s:s}", "finish_reason", "stop", "model", "m"));
    json_object_set_new(json_object_get(in, "message"), "tool_calls", json_pack("[{s:s}]", "id", "call_1"));
    json_object_set_new(in, "steps", json_pack("[o]", contract_step("step_1", run_id, 15)));
    contract_done(contract_call(AC_STORE_TURN_CLOSE, ids->owner, ids->thread, in));
}

/* All messages; borrowed from *plist, which is freed first. */
static json_t *read_messages(json_t **plist, const contract_ids_t *ids)
{
    ac_store_op_t *op = contract_op(AC_STORE_MESSAGE_LIST, ids->owner, ids->thread, NULL);
    op->page.limit = 100;
    json_decref(*plist);
    *plist = contract_ok(contract_wait(op));
    return json_object_get(*plist, "data");
}

static const char *id_of(const json_t *messages, size_t place)
{
    return ac_json_peek_string(json_array_get(messages, place), "id", "");
}

static ac_store_op_t *delete_message(const contract_ids_t *ids, const char *id)
{
    return contract_call(AC_STORE_MESSAGE_DELETE, ids->owner, ids->thread, json_pack("{s:s}", "message_id", id));
}

static ac_store_op_t *delete_run(const contract_ids_t *ids, const char *run_id)
{
    return contract_call(AC_STORE_MESSAGE_DELETE, ids->owner, ids->thread, json_pack("{s:s}", "run_id", run_id));
}

static json_t *thread_now(const contract_ids_t *ids)
{
    return contract_ok(contract_call(AC_STORE_THREAD_GET, ids->owner, ids->thread, NULL));
}

static void check_count(const contract_ids_t *ids, int64_t n)
{
    json_t *thread = thread_now(ids);
    assert_int_equal(ac_json_peek_int(thread, "deleted_messages", 0), n);
    json_decref(thread);
}

static bool thread_is_found(const contract_ids_t *ids, const char *words)
{
    json_t *list = contract_ok(contract_call(AC_STORE_THREAD_LIST, ids->owner, NULL, json_pack("{s:s}", "q", words)));
    bool found = json_array_size(json_object_get(list, "data")) > 0;
    json_decref(list);
    return found;
}

/* ---- one message ---- */

static void test_a_deleted_message_keeps_its_place(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids(), other = contract_ids();
    char run[AC_ID_SIZE] = "", theirs[AC_ID_SIZE] = "";
    json_t *list = NULL, *messages, *wanted, *out;
    say(&ids, run, "where is the walrus", "under the zeppelin", 0);
    say(&other, theirs, "x", "y", 0);
    messages = json_deep_copy(read_messages(&list, &ids));
    wanted = json_deep_copy(json_array_get(messages, 1));
    json_object_set_new(wanted, "content", json_string(""));
    json_object_set_new(wanted, "tool_calls", json_null());
    json_object_set_new(wanted, "metadata", json_pack("{s:s}", "finish_reason", "stop"));
    json_object_set_new(wanted, "deleted", json_true());
    contract_kind(delete_message(&other, id_of(messages, 1)), AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_MESSAGE_DELETE, other.owner, ids.thread,
                                json_pack("{s:s}", "message_id", id_of(messages, 1))),
                  AC_NOT_FOUND);
    contract_kind(delete_message(&ids, "msg_none"), AC_NOT_FOUND);
    contract_kind(delete_run(&other, run), AC_NOT_FOUND);
    contract_equal(json_deep_copy(read_messages(&list, &ids)), json_incref(messages));

    out = contract_ok(delete_message(&ids, id_of(messages, 1)));
    contract_equal(json_incref(json_object_get(out, "runs")), json_pack("[s]", run));
    contract_equal(json_incref(json_object_get(out, "thread")), thread_now(&ids));
    json_decref(out);
    contract_equal(json_incref(json_array_get(read_messages(&list, &ids), 0)),
                   json_incref(json_array_get(messages, 0)));
    contract_equal(json_incref(json_array_get(json_object_get(list, "data"), 1)), json_incref(wanted));
    contract_gapless(&ids, 2);
    check_count(&ids, 1);
    contract_kind(delete_message(&ids, id_of(messages, 1)), AC_NOT_FOUND);
    check_count(&ids, 1);

    out = contract_ok(contract_call(AC_STORE_TURN_LOAD, ids.owner, ids.thread, NULL));
    contract_equal(json_incref(json_array_get(json_object_get(out, "messages"), 1)), wanted);
    contract_equal(json_incref(json_object_get(out, "parent_seq")), json_integer(2));
    json_decref(out);
    out = contract_ok(contract_call(AC_STORE_EXPORT_MESSAGES, NULL, ids.thread, NULL));
    assert_string_equal(ac_json_peek_string(json_array_get(json_object_get(out, "data"), 1), "content", "-"), "");
    json_decref(out);
    json_decref(messages);
    json_decref(list);
}

static void test_search_finds_no_deleted_words(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "";
    json_t *list = NULL;
    say(&ids, run, "where is the walrus", "under the zeppelin", 0);
    bool indexed = thread_is_found(&ids, "zeppelin"); /* else the store finds titles only */
    contract_done(delete_message(&ids, id_of(read_messages(&list, &ids), 1)));
    assert_false(thread_is_found(&ids, "zeppelin"));
    assert_int_equal(thread_is_found(&ids, "walrus"), indexed);
    json_decref(list);
}

static void test_the_run_of_a_deleted_answer_is_deleted(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "", second[AC_ID_SIZE] = "";
    json_t *list = NULL, *messages, *before, *after;
    say(&ids, run, "one", "two", 0);
    say(&ids, second, "three", "four", 0);
    messages = read_messages(&list, &ids);
    before = contract_ok(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL));
    contract_done(delete_message(&ids, id_of(messages, 0)));
    contract_equal(contract_ok(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL)), json_incref(before));
    contract_done(delete_message(&ids, id_of(messages, 1)));
    json_object_set_new(before, "deleted", json_true());
    contract_equal(contract_ok(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL)), before);
    after = contract_ok(contract_call(AC_STORE_STEP_LIST, ids.owner, run, NULL));
    assert_int_equal(json_array_size(json_object_get(after, "data")), 0);
    json_decref(after);
    after = contract_ok(contract_call(AC_STORE_STEP_LIST, ids.owner, second, NULL));
    assert_int_equal(json_array_size(json_object_get(after, "data")), 1);
    json_decref(after);
    contract_kind(delete_run(&ids, run), AC_NOT_FOUND);
    json_decref(list);
}

/* ---- a run ---- */

static void test_a_run_goes_with_all_that_came_with_it(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char first[AC_ID_SIZE] = "", second[AC_ID_SIZE] = "";
    json_t *list = NULL, *message;
    size_t i;
    say(&ids, first, "one", "two", 3);
    say(&ids, second, "three", "four", 0);
    contract_done(delete_run(&ids, first));
    check_count(&ids, 5);
    json_array_foreach(read_messages(&list, &ids), i, message)
    {
        assert_int_equal(json_is_true(json_object_get(message, "deleted")), i < 5);
        assert_int_equal(strlen(ac_json_peek_string(message, "content", "")) > 0, i >= 5);
    }
    assert_int_equal(i, 7);
    contract_kind(delete_run(&ids, first), AC_NOT_FOUND);
    contract_done(delete_run(&ids, second));
    check_count(&ids, 7);
    json_decref(list);
}

/* More than one batch of Cosmos DB can hold. */
static void test_many_long_messages_are_deleted(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char first[AC_ID_SIZE] = "", next[AC_ID_SIZE];
    char *text = malloc(LONG_TEXT + 1);
    json_t *list = NULL, *message, *messages, *run;
    size_t i;
    memset(text, 'a', LONG_TEXT);
    text[LONG_TEXT] = '\0';
    say(&ids, first, text, text, AC_STORE_MAX_EARLIER);
    for (int n = 0; n < 4; n++) {
        snprintf(next, sizeof(next), "%s", "");
        say(&ids, next, "and", "so on", 0);
        messages = read_messages(&list, &ids);
        contract_done(contract_call(AC_STORE_MESSAGE_MARK, ids.owner, ids.thread,
                                    json_pack("{s:[s], s:{s:{s:s}}}", "message_ids",
                                              id_of(messages, json_array_size(messages) - 1), "marks", "summary",
                                              "text", "of words")));
    }
    contract_done(delete_run(&ids, first));
    check_count(&ids, AC_STORE_MAX_EARLIER + 2);
    json_array_foreach(read_messages(&list, &ids), i, message)
    {
        assert_int_equal(json_is_true(json_object_get(message, "deleted")), i < AC_STORE_MAX_EARLIER + 2);
        assert_null(json_object_get(message, "summary"));
    }
    run = contract_ok(contract_call(AC_STORE_RUN_GET, ids.owner, first, NULL));
    assert_true(json_is_true(json_object_get(run, "deleted")));
    contract_gapless(&ids, AC_STORE_MAX_EARLIER + 10);
    json_decref(run);
    json_decref(list);
    free(text);
}

static void test_an_active_run_is_not_deleted(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "", first[AC_ID_SIZE] = "";
    json_t *list = NULL, *messages;
    say(&ids, first, "one", "two", 0);
    contract_open(&ids, run, "three", false);
    messages = read_messages(&list, &ids);
    ac_store_op_t *op = delete_run(&ids, run);
    assert_string_equal(ac_json_peek_string(op->out, "run_id", ""), run);
    contract_kind(op, AC_RUN_IN_PROGRESS);
    contract_kind(delete_message(&ids, id_of(messages, 2)), AC_RUN_IN_PROGRESS);
    contract_done(delete_message(&ids, id_of(messages, 0)));
    contract_close(&ids, run, "four");
    contract_gapless(&ids, 4);
    check_count(&ids, 1);
    contract_done(delete_run(&ids, run));
    check_count(&ids, 3);
    json_decref(list);
}

/* ---- what was made of it ---- */

static ac_store_op_t *summarize(const contract_ids_t *ids, const char *message_id, int n_deleted)
{
    return contract_call(AC_STORE_MESSAGE_MARK, ids->owner, ids->thread,
                         json_pack("{s:[s], s:{s:{s:s}}, s:i}", "message_ids", message_id, "marks", "summary", "text",
                                   "of words", "deleted_messages", n_deleted));
}

static void test_later_summaries_go(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[3][AC_ID_SIZE] = {"", "", ""};
    json_t *list = NULL, *messages;
    for (int i = 0; i < 3; i++) {
        say(&ids, run[i], "question", "answer", 0);
    }
    messages = read_messages(&list, &ids);
    contract_done(summarize(&ids, id_of(messages, 1), 0));
    contract_done(summarize(&ids, id_of(messages, 3), 0));
    contract_done(summarize(&ids, id_of(messages, 5), 0));
    contract_kind(summarize(&ids, id_of(messages, 5), 1), AC_PRECONDITION_FAILED);
    contract_done(delete_message(&ids, id_of(messages, 3)));
    messages = read_messages(&list, &ids);
    assert_non_null(json_object_get(json_array_get(messages, 1), "summary"));
    assert_null(json_object_get(json_array_get(messages, 3), "summary"));
    assert_null(json_object_get(json_array_get(messages, 5), "summary"));
    contract_kind(summarize(&ids, id_of(messages, 5), 0), AC_PRECONDITION_FAILED);
    contract_done(summarize(&ids, id_of(messages, 5), 1));
    json_decref(list);
}

static void test_a_turn_that_read_deleted_messages_is_refused(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "";
    json_t *list = NULL, *in;
    say(&ids, run, "one", "two", 0);
    contract_done(delete_message(&ids, id_of(read_messages(&list, &ids), 0)));
    in = contract_open_in(&ids, "run_too_late", "three", false);
    json_object_set_new(in, "after", json_integer(2));
    contract_kind(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, json_deep_copy(in)), AC_PRECONDITION_FAILED);
    json_object_set_new(in, "deleted_messages", json_integer(1));
    contract_done(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, in));
    contract_gapless(&ids, 3);
    json_decref(list);
}

static void test_the_title_of_a_deleted_message_goes(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "";
    json_t *list = NULL, *messages, *thread;
    say(&ids, run, "From the first message", "two", 0);
    messages = read_messages(&list, &ids);
    contract_done(delete_message(&ids, id_of(messages, 1)));
    thread = thread_now(&ids);
    assert_string_equal(ac_json_peek_string(thread, "title", ""), "From the first message");
    json_decref(thread);
    contract_done(delete_message(&ids, id_of(messages, 0)));
    thread = thread_now(&ids);
    assert_true(json_is_null(json_object_get(thread, "title")));
    json_decref(thread);
    assert_false(thread_is_found(&ids, "first"));
    json_decref(list);
}

static int64_t count_rated(const char *owner)
{
    ac_store_op_t *op =
        contract_op(AC_STORE_FEEDBACK_LIST, NULL, NULL,
                    json_pack("{s:s, s:s, s:b, s:n}", "from", "2026-02-03", "to", "2026-02-03~", "words", 1, "after"));
    int64_t n = 0;
    size_t i;
    op->page.limit = 100;
    json_t *out = contract_ok(contract_wait(op)), *item;
    json_array_foreach(json_object_get(out, "data"), i, item)
    {
        n += strcmp(ac_json_peek_string(item, "owner", ""), owner) == 0;
    }
    json_decref(out);
    return n;
}

static ac_store_op_t *rate(const contract_ids_t *ids, const char *message_id)
{
    char at[AC_TIME_SIZE];
    return contract_call(AC_STORE_FEEDBACK_PUT, ids->owner, message_id,
                         json_pack("{s:s, s:n, s:s, s:s}", "rating", "down", "reason", "comment", "walrus", "at",
                                   contract_time(at, 1)));
}

static void test_feedback_goes_with_its_message(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "";
    json_t *list = NULL, *messages;
    say(&ids, run, "one", "two", 0);
    messages = read_messages(&list, &ids);
    contract_done(rate(&ids, id_of(messages, 1)));
    assert_int_equal(count_rated(ids.owner), 1);
    contract_done(delete_message(&ids, id_of(messages, 1)));
    assert_int_equal(count_rated(ids.owner), 0);
    contract_kind(rate(&ids, id_of(messages, 1)), AC_NOT_FOUND);
    messages = read_messages(&list, &ids);
    assert_null(json_object_get(json_array_get(messages, 1), "feedback"));
    json_decref(list);
}

static void sweep_files(void)
{
    bool more = true;
    while (more) {
        ac_store_op_t *op =
            contract_op(AC_STORE_FILE_SWEEP, NULL, NULL, json_pack("{s:s}", "before", "2099-01-01T00:00:00.000Z"));
        op->page.limit = 50;
        json_t *out = contract_ok(contract_wait(op));
        more = json_is_true(json_object_get(out, "more"));
        json_decref(out);
    }
}

static void test_files_of_a_deleted_message_are_swept(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char kept[AC_ID_SIZE], gone[AC_ID_SIZE], run[AC_ID_SIZE];
    json_t *in, *list = NULL;
    for (int i = 0; i < 2; i++) {
        char *file = i ? gone : kept;
        contract_file(file, ids.owner, 1, NULL);
        in = contract_files_in(&ids, i == 0, json_pack("[s]", file));
        snprintf(run, sizeof(run), "%s", ac_json_peek_string(json_object_get(in, "run"), "id", ""));
        contract_done(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, in));
        contract_close(&ids, run, "a");
    }
    sweep_files();
    contract_done(contract_call(AC_STORE_FILE_GET, ids.owner, gone, NULL));
    contract_done(delete_run(&ids, run));
    assert_null(json_object_get(json_array_get(read_messages(&list, &ids), 2), "attachments"));
    sweep_files();
    contract_kind(contract_call(AC_STORE_FILE_GET, ids.owner, gone, NULL), AC_NOT_FOUND);
    contract_done(contract_call(AC_STORE_FILE_GET, ids.owner, kept, NULL));
    json_decref(list);
}

/* ---- moving ---- */

static void test_deleted_messages_are_copied_as_such(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids(), copy = contract_ids();
    char run[AC_ID_SIZE] = "";
    json_t *list = NULL, *messages, *record, *message;
    size_t i;
    say(&ids, run, "one", "two", 0);
    contract_done(delete_message(&ids, id_of(read_messages(&list, &ids), 1)));
    messages = contract_ok(contract_call(AC_STORE_EXPORT_MESSAGES, NULL, ids.thread, NULL));
    record = thread_now(&ids);
    json_object_set_new(record, "id", json_string(copy.thread));
    json_object_set_new(record, "owner", json_string(copy.owner));
    json_object_set_new(record, "deleted_at", json_null());
    json_object_set_new(record, "restore_status", json_null());
    json_array_foreach(json_object_get(messages, "data"), i, message)
    {
        char id[AC_ID_SIZE];
        ac_id_make(id, "msg_");
        json_object_set_new(message, "id", json_string(id));
        json_object_del(message, "parent_id");
    }
    contract_done(contract_call(AC_STORE_IMPORT, NULL, copy.thread,
                                json_pack("{s:o, s:O, s:[]}", "thread", record, "messages",
                                          json_object_get(messages, "data"), "runs")));
    check_count(&copy, 1);
    assert_true(json_is_true(json_object_get(json_array_get(read_messages(&list, &copy), 1), "deleted")));
    json_decref(messages);
    json_decref(list);
}

int contract_deletion(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_deleted_message_keeps_its_place),
        cmocka_unit_test(test_search_finds_no_deleted_words),
        cmocka_unit_test(test_the_run_of_a_deleted_answer_is_deleted),
        cmocka_unit_test(test_a_run_goes_with_all_that_came_with_it),
        cmocka_unit_test(test_many_long_messages_are_deleted),
        cmocka_unit_test(test_an_active_run_is_not_deleted),
        cmocka_unit_test(test_later_summaries_go),
        cmocka_unit_test(test_a_turn_that_read_deleted_messages_is_refused),
        cmocka_unit_test(test_the_title_of_a_deleted_message_goes),
        cmocka_unit_test(test_feedback_goes_with_its_message),
        cmocka_unit_test(test_files_of_a_deleted_message_are_swept),
        cmocka_unit_test(test_deleted_messages_are_copied_as_such),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
