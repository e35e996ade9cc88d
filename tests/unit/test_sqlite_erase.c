/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of the embedded store's file and its log after an owner was erased: they have no word of the owner when the
 * store reports the erasure, whatever was going on. */
#include "sqlite_harness.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BEFORE "0000-00-00T00:00:00.001Z"
#define LIVES 40
#define PART 50 /* threads that a purge removes with one transaction */
#define BEGIN_WRITE "BEGIN IMMEDIATE"
#define MERGE_ENDS "SELECT block FROM search_data WHERE id = 10"
#define THREAD_REMOVED "DELETE FROM threads WHERE id = ?1 AND owner = ?2"

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

static json_t *erase_in(void)
{
    char id[AC_ID_SIZE];
    ac_id_make(id, "erasure_");
    return json_pack("{s:s, s:o}", "id", id, "at", ac_time_json(apr_time_now()));
}

static void erase(const char *owner)
{
    contract_done(contract_call(AC_STORE_OWNER_ERASE, owner, NULL, erase_in()));
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

static ac_store_op_t *purge_op(void)
{
    return contract_op(AC_STORE_PURGE, NULL, NULL, json_pack("{s:s}", "before", BEFORE));
}

static ac_store_op_t *purge(void)
{
    return contract_wait(purge_op());
}

/* The purge has reported one erasure, which is ended. */
static void end(ac_store_op_t *purged, const char *owner)
{
    json_t *out = contract_ok(purged), *erasure = json_array_get(json_object_get(out, "erasures"), 0);
    assert_int_equal(json_array_size(json_object_get(out, "erasures")), 1);
    assert_string_equal(ac_json_peek_string(erasure, "owner", ""), owner);
    json_t *ended = contract_ok(contract_call(AC_STORE_OWNER_ERASED, owner, NULL,
                                              json_pack("{s:O}", "mark", json_object_get(erasure, "mark"))));
    assert_true(json_is_true(json_object_get(ended, "ended")));
    json_decref(ended);
    json_decref(out);
}

static void purge_and_end(const char *owner)
{
    end(purge(), owner);
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

/* Without the contents an erasure has ended. The row that had the owner's name leaves the file later. */
static void test_the_name_of_the_owner_stays_while_the_file_is_read(void **state)
{
    harness_t *harness = *state;
    contract_ids_t ids = contract_ids(), other = contract_ids();
    harness_start(harness, AC_OK);
    say(&ids, "a walrus here");
    erase(ids.owner);
    ac_store_op_t *purged = purge();
    sqlite3 *reader = harness_open(harness);
    harness_exec(reader, "BEGIN; SELECT count(*) FROM threads");
    end(purged, ids.owner);
    assert_false(is_left(harness, "walrus"));
    assert_true(is_left(harness, ids.owner));
    assert_int_equal(harness_number(harness, "SELECT count(*) FROM erasures"), 0);
    harness_exec(reader, "COMMIT");
    say(&other, "two writes"); /* the log is emptied after the first one's answer */
    assert_false(is_left(harness, ids.owner));
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

/* ---- two processes ---- */

static void on_never(ac_store_op_t *op)
{
    (void)op;
}

/* Another process: it erases the owner and dies after it has removed the last thread, before it merges the index. */
static void erase_and_die(harness_t *harness, const contract_ids_t *ids, int go)
{
    static const ac_host_t host = {.version = 1, .store_done = ac_store_done};
    char byte;
    while (read(go, &byte, 1) < 0 && errno == EINTR) {
    }
    if (harness->store.vt->child_init(harness->store.self, &host, NULL) != APR_SUCCESS ||
        contract_try(NULL, AC_STORE_OWNER_ERASE, ids, erase_in()) != AC_OK) {
        _exit(2);
    }
    harness_gate_set(BEGIN_WRITE, THREAD_REMOVED);
    ac_store_call_post(contract_store(), NULL, purge_op(), on_never, NULL);
    harness_gate_wait();
    kill(getpid(), SIGKILL);
}

/* The process begins when the gate's other end is closed. */
static pid_t eraser_start(harness_t *harness, const contract_ids_t *ids, int *pgo)
{
    int go[2];
    assert_int_equal(pipe(go), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(go[1]);
        erase_and_die(harness, ids, go[0]);
    }
    close(go[0]);
    *pgo = go[1];
    return pid;
}

static void eraser_run(pid_t pid, int go)
{
    int status;
    close(go);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

/* The other process removes the threads after the merge of this one went past their words. */
static void test_an_erasure_waits_for_a_merge_that_began_after_its_purge(void **state)
{
    harness_t *harness = *state;
    contract_ids_t first = contract_ids(), late = contract_ids();
    harness_gather_t gather = {.n = 0};
    int go;
    pid_t pid = eraser_start(harness, &late, &go);
    harness_start(harness, AC_OK);
    for (int i = 0; i < PART; i++) {
        say(&late, "a zygomatic arch");
    }
    say(&first, "a walrus here");
    erase(first.owner);
    harness_gate_set(BEGIN_WRITE, MERGE_ENDS);
    harness_post(&gather, purge_op());
    harness_gate_wait();
    eraser_run(pid, go);
    harness_gate_open();
    harness_wait(&gather);
    assert_int_equal(ac_json_peek_int(gather.ops[0]->out, "unfinished", 0), 1);
    end(gather.ops[0], first.owner);
    assert_false(is_left(harness, "walrus"));
    assert_int_equal(harness_number(harness, "SELECT count(*) FROM threads"), 0);
    assert_true(is_left(harness, "zygomatic"));
    purge_and_end(late.owner);
    assert_false(is_left(harness, "zygomatic"));
    harness_stop(harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SQLITE_TEST(test_no_word_is_left_in_a_page),
        SQLITE_TEST(test_an_erasure_does_not_end_while_the_log_is_read),
        SQLITE_TEST(test_the_name_of_the_owner_stays_while_the_file_is_read),
        SQLITE_TEST(test_the_next_process_empties_the_log),
        SQLITE_TEST(test_an_erasure_waits_for_a_merge_that_began_after_its_purge),
    };
    apr_initialize();
    return cmocka_run_group_tests_name("sqlite erase", tests, NULL, NULL);
}
