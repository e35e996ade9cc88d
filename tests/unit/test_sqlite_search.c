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

/* -1: the index is damaged. */
static int n_found(const contract_ids_t *ids, const char *words)
{
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_LIST, ids->owner, NULL, json_pack("{s:s}", "q", words));
    op->page.limit = 100;
    op = contract_wait(op);
    int n = (int)json_array_size(json_object_get(op->out, "data"));
    if (op->status != APR_SUCCESS) {
        assert_int_equal(op->err.kind, AC_STORE_ERROR);
        n = -1;
    }
    ac_store_op_free(op);
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

/* Whether the file has the word, in a page that is used or was. The store is stopped. */
static bool has_word(const harness_t *harness, const char *word)
{
    size_t size = 0, len = strlen(word);
    bool found = false;
    ac_buf_t bytes;
    ac_buf_init(&bytes, 64 * 1024 * 1024);
    FILE *file = fopen(harness->path, "rb");
    char part[4096];
    while ((size = fread(part, 1, sizeof(part), file)) > 0) {
        ac_buf_add(&bytes, part, size);
    }
    fclose(file);
    for (size_t i = 0; i + len <= bytes.len && !found; i++) {
        found = memcmp(bytes.data + i, word, len) == 0;
    }
    ac_buf_free(&bytes);
    return found;
}

static json_t *remove_and_purge(const contract_ids_t *ids)
{
    char at[AC_TIME_SIZE];
    contract_done(contract_call(AC_STORE_THREAD_DELETE, ids->owner, ids->thread,
                                json_pack("{s:s}", "deleted_at", contract_time(at, 1))));
    return contract_ok(contract_call(AC_STORE_PURGE, NULL, NULL, json_pack("{s:s}", "before", contract_time(at, 2))));
}

/* The first purge of a process merges the index. */
static void test_a_purge_takes_the_words_out_of_the_file(void **state)
{
    harness_t *harness = *state;
    harness_start(harness, AC_OK);
    contract_ids_t ids = contract_ids(), kept = contract_ids();
    for (int i = 0; i < 20; i++) {
        new_thread(&kept, "a kept walrus", "kept");
    }
    new_thread(&ids, "only an axolotl", "an answer about axolotls");
    new_thread(&kept, "one more walrus", "kept");
    json_t *purged = remove_and_purge(&ids);
    assert_int_equal(ac_json_peek_int(purged, "purged", 0), 1);
    json_decref(purged);
    assert_int_equal(n_found(&kept, "walrus"), 21);
    harness_stop(harness);
    assert_false(has_word(harness, "axolotl"));
    assert_true(has_word(harness, "walrus"));
}

/* An erasure has not ended before its words are out of the file, whenever the last merge was. */
static void test_an_erasure_takes_the_words_out_of_the_file(void **state)
{
    harness_t *harness = *state;
    harness_start(harness, AC_OK);
    for (int i = 0; i < 3; i++) {
        contract_ids_t ids = contract_ids(), kept = contract_ids();
        char at[AC_TIME_SIZE], id[AC_ID_SIZE];
        for (int k = 0; k < 600; k++) { /* more than one step */
            char words[64];
            snprintf(words, sizeof(words), "walrus w%d x%d y%d", 600 * i + k, k * 7, k * 13);
            ac_id_make(kept.thread, "thread_");
            contract_done(
                contract_call(AC_STORE_THREAD_CREATE, kept.owner, NULL, contract_thread(kept.thread, words, k)));
        }
        new_thread(&ids, "only an axolotl", "an answer about axolotls");
        ac_id_make(id, "erasure_");
        contract_done(contract_call(AC_STORE_OWNER_ERASE, ids.owner, NULL,
                                    json_pack("{s:s, s:s, s:s}", "id", id, "at", contract_time(at, 1), "recent",
                                              contract_time(at, 0))));
        json_t *purged = contract_ok(
            contract_call(AC_STORE_PURGE, NULL, NULL, json_pack("{s:s}", "before", "0000-00-00T00:00:00.001Z")));
        assert_int_equal(json_array_size(json_object_get(purged, "erasures")), 1);
        contract_done(
            contract_call(AC_STORE_OWNER_ERASED, ids.owner, NULL,
                          json_pack("{s:O, s:[]}", "mark",
                                    json_object_get(json_array_get(json_object_get(purged, "erasures"), 0), "mark"),
                                    "threads")));
        json_decref(purged);
        assert_int_equal(n_found(&kept, "walrus"), 100);
        harness_stop(harness);
        assert_false(has_word(harness, "axolotl"));
        harness_start(harness, AC_OK);
    }
    harness_stop(harness);
}

/* The same store, opened with this option. */
static void reopen(harness_t *harness, const char *search)
{
    apr_table_t *options = apr_table_make(harness->pool, 2);
    apr_table_setn(options, "state_dir", harness->directory);
    apr_table_setn(options, "search", search);
    harness_stop(harness);
    assert_null(harness->store.vt->create(&harness->store.self, "", options, harness->pool));
    harness_start(harness, AC_OK);
}

static void wait_found(const contract_ids_t *ids, const char *words, int n)
{
    for (int i = 0; i < 1000 && n_found(ids, words) != n; i++) {
        apr_sleep(apr_time_from_msec(10));
    }
    assert_int_equal(n_found(ids, words), n);
}

static void test_search_off(void **state)
{
    harness_t *harness = *state;
    reopen(harness, "on");
    contract_ids_t ids = contract_ids(), gone = contract_ids();
    new_thread(&ids, "an early walrus", "yes");
    new_thread(&gone, "only an axolotl", "yes");
    reopen(harness, "off");
    json_t *ready = contract_ok(contract_call(AC_STORE_PING, NULL, NULL, NULL));
    assert_string_equal(ac_json_peek_string(ready, "search", ""), "titles");
    json_decref(ready);
    assert_int_equal(n_found(&ids, "answer"), 0);
    new_thread(&ids, "a late walrus", "yes");
    json_decref(remove_and_purge(&gone)); /* what was indexed before leaves the index nevertheless */
    harness_stop(harness);
    assert_false(has_word(harness, "axolotl"));
    reopen(harness, "on");
    wait_found(&ids, "walrus", 2);
    harness_stop(harness);
}

/* As with a SQLite that was built without it. SQLite calls this for each connection that is opened in this process. */
static int without_fts5(sqlite3 *db, char **perror, const struct sqlite3_api_routines *api)
{
    static const char *keep[] = {"json_each", "json_tree", NULL};
    (void)perror;
    (void)api;
    return sqlite3_drop_modules(db, keep);
}

static void test_a_sqlite_without_fts5(void **state)
{
    harness_t *harness = *state;
    sqlite3_auto_extension((void (*)(void))without_fts5);
    harness_start(harness, AC_OK);
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "", at[AC_TIME_SIZE];
    new_thread(&ids, "a question", "an answer about walruses");
    contract_done(contract_call(AC_STORE_THREAD_UPDATE, ids.owner, ids.thread,
                                json_pack("{s:s, s:s}", "title", "Penguins", "updated_at", contract_time(at, 9))));
    assert_int_equal(n_found(&ids, "walruses"), 0);
    assert_int_equal(n_found(&ids, "pengu"), 1);
    assert_int_equal(harness_logged(210), 1);
    contract_open(&ids, run, "a further turn", false);
    contract_close(&ids, run, "works as well");
    json_decref(remove_and_purge(&ids));
    harness_stop(harness);
    sqlite3_cancel_auto_extension((void (*)(void))without_fts5);
}

/* A damaged index costs no turn and is filled again from the messages. */
static void test_a_damaged_index_is_made_again(void **state)
{
    harness_t *harness = *state;
    static const char *const damages[] = {"UPDATE search_data SET block = x'00ff00ff00ff00ff'",
                                          "DELETE FROM search_data WHERE id > 10",
                                          "UPDATE search_data SET block = x'00ff00ff00ff00ff' WHERE id > 10"};
    harness_start(harness, AC_OK);
    contract_ids_t ids = contract_ids();
    for (int i = 0; i < 50; i++) {
        new_thread(&ids, "a walrus", "yes");
    }
    for (int i = 0; i < (int)(sizeof(damages) / sizeof(*damages)); i++) {
        harness_stop(harness);
        harness_change(harness, damages[i]);
        int n_before = harness_logged(211);
        harness_start(harness, AC_OK);
        new_thread(&ids, "a walrus", "more"); /* no turn fails */
        wait_found(&ids, "walrus", 51 + i);
        assert_true(harness_logged(211) > n_before);
        assert_int_equal(harness_logged(202), 0);
    }
    harness_stop(harness);
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
        SQLITE_TEST(test_a_purge_takes_the_words_out_of_the_file),
        SQLITE_TEST(test_an_erasure_takes_the_words_out_of_the_file),
        SQLITE_TEST(test_search_off),
        SQLITE_TEST(test_a_sqlite_without_fts5),
        SQLITE_TEST(test_a_damaged_index_is_made_again),
        SQLITE_TEST(test_words_with_very_many_places),
    };
    apr_initialize();
    return cmocka_run_group_tests_name("sqlite search", tests, NULL, NULL);
}
