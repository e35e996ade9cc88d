/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of the embedded store's file and its log after an owner was erased: they have no word of the owner when the
 * store reports the erasure, whatever was going on. */
#include "sqlite_harness.h"

#include <stdlib.h>
#include <string.h>

#define BEFORE "0000-00-00T00:00:00.001Z"
#define LIVES 40

static bool file_has(const char *path, const char *word)
{
    FILE *file = fopen(path, "rb");
    bool found = false;

    if (!file) {
        return false;
    }
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size_t n = (size_t)ftell(file), length = strlen(word);
    char *bytes = malloc(n + 1);
    rewind(file);
    assert_int_equal(fread(bytes, 1, n, file), n);
    for (size_t i = 0; !found && i + length <= n; i++) {
        found = memcmp(bytes + i, word, length) == 0;
    }
    free(bytes);
    fclose(file);
    return found;
}

static bool is_left(const harness_t *harness, const char *word)
{
    char log[sizeof(harness->path) + 8];
    snprintf(log, sizeof(log), "%s-wal", harness->path);
    return file_has(harness->path, word) || file_has(log, word);
}

static void say(contract_ids_t *ids, const char *text)
{
    char run[AC_ID_SIZE] = "";
    ac_id_make(ids->thread, "thread_");
    contract_open(ids, run, text, true);
    contract_close(ids, run, text);
}

static void erase(const char *owner)
{
    char id[AC_ID_SIZE];
    ac_id_make(id, "erasure_");
    contract_done(contract_call(AC_STORE_OWNER_ERASE, owner, NULL,
                                json_pack("{s:s, s:o}", "id", id, "at", ac_time_json(apr_time_now()))));
}

/* Of the full-text index, as its record says; less than 128. */
static int n_levels(const harness_t *harness)
{
    return (int)harness_number(harness,
                               "SELECT 16 * (instr('0123456789ABCDEF', substr(hex(substr(block, 5, 1)), 1, 1)) "
                               "- 1) + instr('0123456789ABCDEF', substr(hex(substr(block, 5, 1)), 2)) - 1 "
                               "FROM search_data WHERE id = 10");
}

static size_t n_found(const char *owner, const char *word)
{
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_LIST, owner, NULL, json_pack("{s:s}", "q", word));
    op->page.limit = 1000;
    json_t *out = contract_ok(contract_wait(op));
    size_t n = json_array_size(json_object_get(out, "data"));
    json_decref(out);
    return n;
}

static ac_store_op_t *purge(void)
{
    return contract_call(AC_STORE_PURGE, NULL, NULL, json_pack("{s:s}", "before", BEFORE));
}

/* The purge reports one erasure, which is ended. */
static void purge_and_end(const char *owner)
{
    json_t *out = contract_ok(purge()), *erasure = json_array_get(json_object_get(out, "erasures"), 0);
    assert_string_equal(ac_json_peek_string(erasure, "owner", ""), owner);
    json_t *ended = contract_ok(contract_call(AC_STORE_OWNER_ERASED, owner, NULL,
                                              json_pack("{s:O}", "mark", json_object_get(erasure, "mark"))));
    assert_true(json_is_true(json_object_get(ended, "ended")));
    json_decref(ended);
    json_decref(out);
}

/* A number of a fixed sequence, so that each run of the test makes the same pages. */
static unsigned next_number(unsigned most)
{
    static uint64_t state = 7;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(state >> 33) % most;
}

static void text_make(char *text, size_t size, const char *word)
{
    int n = snprintf(text, size, "%s hello %u", word, next_number(1000));
    for (unsigned i = next_number(4) ? 1 : 20; i; i--) {
        n += snprintf(text + n, size - (size_t)n, " %u", next_number(100));
    }
}

/* Pages are split, joined and packed again while others' words stay. Each merge would add levels to the index. */
static void test_no_word_is_left_in_a_page(void **state)
{
    harness_t *harness = *state;
    contract_ids_t others = contract_ids();
    char word[40], text[200];
    size_t n_others = 0;
    harness_start(harness, AC_OK);
    for (int life = 0; life < LIVES; life++) {
        contract_ids_t ids = contract_ids();
        snprintf(word, sizeof(word), "w%08x%08x%08x", next_number(1u << 30), next_number(1u << 30),
                 next_number(1u << 30));
        for (unsigned n = 1 + next_number(15); n; n--) {
            text_make(text, sizeof(text), word);
            say(&ids, text);
            if (next_number(3) == 0) {
                text_make(text, sizeof(text), "other");
                say(&others, text);
                n_others++;
            }
        }
        assert_true(is_left(harness, word + 5));
        erase(ids.owner);
        purge_and_end(ids.owner);
        assert_false(is_left(harness, word + 5));
        assert_in_range(n_levels(harness), 1, 40);
        assert_int_equal(n_found(others.owner, "hello"), n_others);
    }
    harness_change(harness, "INSERT INTO search (search) VALUES ('integrity-check')");
    assert_int_equal(harness_number(harness, "SELECT count(*) FROM erasures"), 0);
    harness_stop(harness);
}

static void test_an_erasure_does_not_end_while_the_log_is_read(void **state)
{
    harness_t *harness = *state;
    contract_ids_t ids = contract_ids();
    harness_start(harness, AC_OK);
    say(&ids, "a walrus here");
    sqlite3 *reader = harness_open(harness);
    harness_exec(reader, "BEGIN; SELECT count(*) FROM threads");
    erase(ids.owner);
    contract_kind(purge(), AC_STORE_TIMEOUT);
    assert_true(is_left(harness, "walrus"));
    harness_exec(reader, "COMMIT");
    purge_and_end(ids.owner);
    assert_false(is_left(harness, "walrus"));
    sqlite3_close(reader);
    harness_stop(harness);
}

/* The reader also keeps the log when the store ends, as the death of a process between a commit and its checkpoint
 * does. */
static void test_the_next_process_empties_the_log(void **state)
{
    harness_t *harness = *state;
    contract_ids_t ids = contract_ids(), other = contract_ids();
    harness_start(harness, AC_OK);
    say(&ids, "a walrus here");
    sqlite3 *reader = harness_open(harness);
    harness_exec(reader, "BEGIN; SELECT count(*) FROM threads");
    contract_done(contract_call(AC_STORE_THREAD_DELETE, ids.owner, ids.thread,
                                json_pack("{s:s}", "deleted_at", "2026-01-01T00:00:00.000Z")));
    contract_done(contract_call(AC_STORE_PURGE, NULL, NULL, json_pack("{s:s}", "before", "2026-01-02T00:00:00.000Z")));
    harness_stop(harness);
    harness_exec(reader, "COMMIT");
    assert_true(is_left(harness, "walrus"));
    harness_start(harness, AC_OK);
    say(&other, "of another owner");
    harness_stop(harness);
    assert_false(is_left(harness, "walrus"));
    sqlite3_close(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SQLITE_TEST(test_no_word_is_left_in_a_page),
        SQLITE_TEST(test_an_erasure_does_not_end_while_the_log_is_read),
        SQLITE_TEST(test_the_next_process_empties_the_log),
    };
    apr_initialize();
    return cmocka_run_group_tests_name("sqlite erase", tests, NULL, NULL);
}
