/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store's search over messages: places, order, pages, and an index that stays in step. */
#include "sqlite_harness.h"

#include <string.h>

static json_t *found(const contract_ids_t *ids, const char *words, int limit, const char *after)
{
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_LIST, ids->owner, NULL, json_pack("{s:s}", "q", words));
    op->page.limit = limit;
    snprintf(op->page.after, sizeof(op->page.after), "%s", after);
    return contract_ok(contract_wait(op));
}

static int n_found(const contract_ids_t *ids, const char *words)
{
    json_t *list = found(ids, words, 100, "");
    int n = (int)json_array_size(json_object_get(list, "data"));
    json_decref(list);
    return n;
}

static void turn(contract_ids_t *ids, const char *question, const char *answer, bool fresh)
{
    char run[AC_ID_SIZE] = "";
    contract_open(ids, run, question, fresh);
    contract_close(ids, run, answer);
}

static void new_thread(contract_ids_t *ids, const char *question, const char *answer)
{
    ac_id_make(ids->thread, "thread_");
    turn(ids, question, answer, true);
}

static void test_the_place_in_a_message_is_shown(void **state)
{
    harness_start(*state, AC_OK);
    contract_ids_t ids = contract_ids(), other = contract_ids();
    new_thread(&ids, "Where is the lighthouse?", "On the northern cape.\nThe light\thouse keeper has the key.");
    new_thread(&other, "lighthouse", "lighthouse");
    json_t *list = found(&ids, "northern cape", 10, ""), *thread = json_array_get(json_object_get(list, "data"), 0);
    const json_t *match = json_object_get(thread, "match");
    assert_int_equal(json_array_size(json_object_get(list, "data")), 1);
    assert_string_equal(ac_json_peek_string(thread, "id", ""), ids.thread);
    assert_int_equal(ac_json_peek_int(match, "seq", 0), 2);
    assert_true(ac_id_valid(ac_json_peek_string(match, "message_id", ""), "msg_"));
    assert_string_equal(ac_json_peek_string(match, "snippet", ""),
                        "On the northern cape. The light house keeper has the key.");
    contract_equal(json_incref(json_object_get(match, "highlights")),
                   json_pack("[{s:i,s:i},{s:i,s:i}]", "start", 7, "end", 15, "start", 16, "end", 20));
    json_decref(list);
    assert_int_equal(n_found(&ids, "lighthouse cape"), 0); /* all words in one message */
    harness_stop(*state);
}

static void test_found_threads_come_by_their_last_change_in_pages(void **state)
{
    harness_start(*state, AC_OK);
    contract_ids_t ids = contract_ids();
    char made[5][AC_ID_SIZE], after[AC_ID_SIZE + 24] = "", at[AC_TIME_SIZE];
    for (int i = 0; i < 5; i++) {
        new_thread(&ids, "a common word", "yes");
        memcpy(made[i], ids.thread, AC_ID_SIZE);
    }
    for (int i = 0; i < 5; i++) {
        contract_done(contract_call(AC_STORE_THREAD_UPDATE, ids.owner, made[(i * 2) % 5],
                                    json_pack("{s:s}", "updated_at", contract_time(at, 100 + i))));
    }
    for (int i = 4; i >= 0; i--) {
        json_t *list = found(&ids, "common", 1, after);
        assert_string_equal(ac_json_peek_string(json_array_get(json_object_get(list, "data"), 0), "id", ""),
                            made[(i * 2) % 5]);
        assert_int_equal(json_is_true(json_object_get(list, "has_more")), i > 0);
        snprintf(after, sizeof(after), "%s", ac_json_peek_string(list, "next", ""));
        json_decref(list);
    }
    harness_stop(*state);
}

/* What is removed is in no part of the index, which FTS5 can check itself. */
static void test_the_index_stays_in_step(void **state)
{
    harness_t *harness = *state;
    harness_start(harness, AC_OK);
    contract_ids_t ids = contract_ids(), kept = contract_ids();
    char at[AC_TIME_SIZE], run[AC_ID_SIZE] = "";
    new_thread(&kept, "the kept sentence", "kept");
    for (int i = 0; i < 3; i++) {
        new_thread(&ids, "zebra question", "zebra answer");
        turn(&ids, "zebra again", "and again", false);
        assert_int_equal(n_found(&ids, "zebra"), 1);
        if (i == 0) { /* soft-deleted, restored, purged */
            contract_done(contract_call(AC_STORE_THREAD_DELETE, ids.owner, ids.thread,
                                        json_pack("{s:s}", "deleted_at", contract_time(at, 1))));
            assert_int_equal(n_found(&ids, "zebra"), 0);
            contract_done(contract_call(AC_STORE_THREAD_RESTORE, ids.owner, ids.thread,
                                        json_pack("{s:s}", "updated_at", contract_time(at, 2))));
            assert_int_equal(n_found(&ids, "zebra"), 1);
            contract_done(contract_call(AC_STORE_THREAD_DELETE, ids.owner, ids.thread,
                                        json_pack("{s:s}", "deleted_at", contract_time(at, 1))));
            contract_done(
                contract_call(AC_STORE_PURGE, NULL, NULL, json_pack("{s:s}", "before", contract_time(at, 2))));
        } else {
            ac_store_op_t *op = contract_op(AC_STORE_THREAD_DELETE, ids.owner, ids.thread,
                                            json_pack("{s:s}", "deleted_at", contract_time(at, 1)));
            op->hard = true;
            contract_done(contract_wait(op));
        }
        assert_int_equal(n_found(&ids, "zebra"), 0);
    }
    assert_int_equal(n_found(&kept, "kept sent"), 1);
    (void)run;
    harness_stop(harness);
    harness_change(harness, "INSERT INTO search(search) VALUES ('optimize')");
    assert_int_equal(harness_number(harness, "SELECT count(*) FROM search WHERE search MATCH 'zebra'"), 0);
    assert_int_equal(harness_number(harness, "SELECT count(*) FROM search WHERE search MATCH 'kept'"), 2);
    harness_change(harness, "CREATE VIRTUAL TABLE words USING fts5vocab(search, row)");
    assert_int_equal(harness_number(harness, "SELECT count(*) FROM words WHERE term = 'zebra'"), 0);
}

static void test_an_import_replaces_what_the_index_has(void **state)
{
    harness_start(*state, AC_OK);
    contract_ids_t ids = contract_ids();
    static const char *const texts[] = {"first walrus", "second otter"};
    char id[AC_ID_SIZE];
    ac_id_make(id, "msg_");
    for (int i = 0; i < 2; i++) {
        json_t *record = contract_thread(ids.thread, "T", 1), *message = contract_message(id, "user", texts[i], 1);
        json_object_set_new(record, "owner", json_string(ids.owner));
        json_object_set_new(record, "message_count", json_integer(1));
        json_object_set_new(message, "seq", json_integer(1));
        contract_done(contract_call(AC_STORE_IMPORT, NULL, ids.thread,
                                    json_pack("{s:o, s:[o], s:[]}", "thread", record, "messages", message, "runs")));
        assert_int_equal(n_found(&ids, "walrus"), i == 0);
        assert_int_equal(n_found(&ids, "otter"), i == 1);
    }
    harness_stop(*state);
}

/* A file of the version before: its threads are found after a while, new ones at once. */
static void test_an_older_file_is_indexed_in_the_background(void **state)
{
    harness_t *harness = *state;
    harness_start(harness, AC_OK);
    contract_ids_t ids = contract_ids();
    for (int i = 0; i < 20; i++) {
        new_thread(&ids, "old heron", "yes");
    }
    harness_stop(harness);
    harness_change(harness, HARNESS_WITHOUT_VERSION_7 "PRAGMA user_version = 6");
    harness_start(harness, AC_OK);
    new_thread(&ids, "new heron", "yes");
    assert_in_range(n_found(&ids, "heron"), 1, 21);
    for (int i = 0; i < 1000 && n_found(&ids, "heron") < 21; i++) {
        apr_sleep(apr_time_from_msec(10));
    }
    assert_int_equal(n_found(&ids, "heron"), 21);
    assert_int_equal(n_found(&ids, "old heron"), 20);
    harness_stop(harness);
}

/* Words with very many places are looked up thread by thread; the result is the same. */
static void test_words_with_very_many_places(void **state)
{
    harness_t *harness = *state;
    harness_start(harness, AC_OK);
    contract_ids_t ids = contract_ids();
    for (int i = 0; i < 1100; i++) {
        char at[AC_TIME_SIZE];
        ac_id_make(ids.thread, "thread_");
        json_t *thread = contract_thread(ids.thread, i % 100 ? "plenty" : "plenty and rare", i);
        json_object_set_new(thread, "updated_at", json_string(contract_time(at, i)));
        contract_done(contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, thread));
    }
    json_t *list = found(&ids, "plenty", 3, "");
    assert_string_equal(ac_json_peek_string(json_array_get(json_object_get(list, "data"), 0), "id", ""), ids.thread);
    assert_true(json_is_true(json_object_get(list, "has_more")));
    json_decref(list);
    assert_int_equal(n_found(&ids, "plenty rare"), 11);
    assert_int_equal(n_found(&ids, "plen"), 100);
    harness_stop(harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SQLITE_TEST(test_the_place_in_a_message_is_shown),
        SQLITE_TEST(test_found_threads_come_by_their_last_change_in_pages),
        SQLITE_TEST(test_the_index_stays_in_step),
        SQLITE_TEST(test_an_import_replaces_what_the_index_has),
        SQLITE_TEST(test_an_older_file_is_indexed_in_the_background),
        SQLITE_TEST(test_words_with_very_many_places),
    };
    apr_initialize();
    return cmocka_run_group_tests_name("sqlite search", tests, NULL, NULL);
}
