/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of all stores about turns: messages, runs, steps, purging. */
#include "store_contract.h"

/* ---- one turn ---- */

json_t *contract_open_in(const contract_ids_t *ids, const char *run_id, const char *content, bool fresh)
{
    char message_id[AC_ID_SIZE];
    ac_id_make(message_id, "msg_");
    json_t *message = contract_message(message_id, "user", content, 10);
    json_object_set_new(message, "run_id", json_string(run_id));
    json_t *in = json_pack("{s:o, s:o, s:s}", "message", message, "run",
                           contract_run(run_id, ids->thread, "in_progress", 10), "title", "From the first message");
    if (fresh) {
        json_object_set_new(in, "thread", contract_thread(ids->thread, NULL, 10));
    }
    return in;
}

json_t *contract_close_in(const contract_ids_t *ids, const char *run_id, const char *content)
{
    char message_id[AC_ID_SIZE];
    ac_id_make(message_id, "msg_");
    json_t *message = content ? contract_message(message_id, "assistant", content, 20) : json_null();
    if (content) {
        json_object_set_new(message, "run_id", json_string(run_id));
    }
    json_t *run = contract_run(run_id, ids->thread, "completed", 10);
    json_object_set_new(run, "rounds", json_integer(2));
    return json_pack("{s:o, s:o, s:[]}", "message", message, "run", run, "steps");
}

/* The seq of the message in a turn's answer; takes out. */
static int64_t seq_of(json_t *out)
{
    int64_t seq = ac_json_peek_int(json_object_get(out, "message"), "seq", -1);
    json_decref(out);
    return seq;
}

int64_t contract_open(const contract_ids_t *ids, char run_id[AC_ID_SIZE], const char *content, bool fresh)
{
    if (!*run_id) {
        ac_id_make(run_id, "run_");
    }
    return seq_of(contract_ok(
        contract_call(AC_STORE_TURN_OPEN, ids->owner, ids->thread, contract_open_in(ids, run_id, content, fresh))));
}

int64_t contract_close(const contract_ids_t *ids, const char *run_id, const char *content)
{
    return seq_of(contract_ok(
        contract_call(AC_STORE_TURN_CLOSE, ids->owner, ids->thread, contract_close_in(ids, run_id, content))));
}

void contract_gapless(const contract_ids_t *ids, int64_t n)
{
    int64_t seq = 0;
    json_t *list, *message, *thread;
    size_t i;
    do {
        ac_store_op_t *op = contract_op(AC_STORE_MESSAGE_LIST, ids->owner, ids->thread, NULL);
        op->page.limit = AC_MAX_PAGE;
        op->page.after_seq = seq;
        list = contract_ok(contract_wait(op));
        json_array_foreach(json_object_get(list, "data"), i, message)
        {
            assert_int_equal(ac_json_peek_int(message, "seq", -1), ++seq);
        }
        json_decref(list);
    } while (i == AC_MAX_PAGE);
    assert_int_equal(seq, n);
    thread = contract_ok(contract_call(AC_STORE_THREAD_GET, ids->owner, ids->thread, NULL));
    assert_int_equal(ac_json_peek_int(thread, "message_count", -1), n);
    json_decref(thread);
}

static void test_turn_makes_its_thread(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE];
    ac_id_make(run, "run_");
    json_t *in = contract_open_in(&ids, run, "hello", true), *thread = json_deep_copy(json_object_get(in, "thread"));
    json_t *message = json_deep_copy(json_object_get(in, "message"));
    json_object_set_new(message, "thread_id", json_string(ids.thread));
    json_object_set_new(message, "seq", json_integer(1));
    json_object_set_new(thread, "message_count", json_integer(1));
    json_object_set_new(thread, "title", json_string("From the first message"));
    json_object_set(thread, "updated_at", json_object_get(message, "timestamp"));
    json_object_set_new(message, "parent_id", json_null());
    contract_equal(contract_ok(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, in)),
                   json_pack("{s:O, s:O}", "thread", thread, "message", message));
    contract_equal(contract_ok(contract_call(AC_STORE_THREAD_GET, ids.owner, ids.thread, NULL)), json_incref(thread));

    json_t *loaded = contract_ok(contract_call(AC_STORE_TURN_LOAD, ids.owner, ids.thread, NULL));
    json_t *wanted = json_pack("{s:o, s:[O], s:s}", "thread", thread, "messages", message, "active_run", run);
    json_object_set(wanted, "parent_id", json_object_get(message, "id"));
    json_object_set_new(wanted, "parent_seq", json_integer(1));
    json_decref(message);
    contract_equal(loaded, wanted);
}

static void test_turn_in_a_thread_that_has_a_title(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "", etag[AC_ETAG_SIZE];
    ac_store_op_t *op = contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "Mine", 1));
    snprintf(etag, sizeof(etag), "%s", op->etag);
    contract_done(op);
    assert_int_equal(contract_open(&ids, run, "hello", false), 1);
    op = contract_call(AC_STORE_THREAD_GET, ids.owner, ids.thread, NULL);
    assert_string_not_equal(op->etag, etag);
    json_t *thread = contract_ok(op);
    assert_string_equal(ac_json_peek_string(thread, "title", ""), "Mine");
    json_decref(thread);
    contract_kind(contract_call(AC_STORE_TURN_OPEN, "other", ids.thread, contract_open_in(&ids, "run_o", "x", false)),
                  AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_TURN_OPEN, ids.owner, "thread_none",
                                contract_open_in(&ids, "run_o", "x", false)),
                  AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_TURN_LOAD, "other", ids.thread, NULL), AC_NOT_FOUND);
    assert_int_equal(contract_close(&ids, run, "hi"), 2);
    contract_gapless(&ids, 2);
}

static void test_one_active_run_per_thread(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "", second[AC_ID_SIZE] = "";
    contract_open(&ids, run, "hello", true);
    ac_store_op_t *op =
        contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, contract_open_in(&ids, "run_2", "again", false));
    assert_int_equal(op->err.kind, AC_RUN_IN_PROGRESS);
    assert_string_equal(ac_json_peek_string(op->out, "run_id", ""), run);
    ac_store_op_free(op);
    contract_gapless(&ids, 1);
    contract_close(&ids, run, "hi");
    json_t *loaded = contract_ok(contract_call(AC_STORE_TURN_LOAD, ids.owner, ids.thread, NULL));
    assert_true(json_is_null(json_object_get(loaded, "active_run")));
    json_decref(loaded);
    assert_int_equal(contract_open(&ids, second, "again", false), 3);
    assert_int_equal(contract_close(&ids, second, NULL), -1);
    contract_gapless(&ids, 3);
}

static void test_a_turn_after_an_unseen_message_is_refused(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "";
    contract_open(&ids, run, "hello", true);
    contract_close(&ids, run, "hi");
    for (int after = 0; after < 4; after++) {
        json_t *in = contract_open_in(&ids, "run_2", "again", false);
        ac_json_put(in, "after", json_integer(after));
        ac_kind_e kind = contract_try(NULL, AC_STORE_TURN_OPEN, &ids, json_deep_copy(in));
        assert_int_equal(kind, after == 2 ? AC_OK : after < 2 ? AC_PRECONDITION_FAILED : AC_RUN_IN_PROGRESS);
        if (after == 2) { /* asked twice, it is written once, although there is more now */
            assert_int_equal(contract_try(NULL, AC_STORE_TURN_OPEN, &ids, json_incref(in)), AC_OK);
        }
        json_decref(in);
    }
    contract_gapless(&ids, 3);
}

static void test_asking_twice_writes_once(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE];
    ac_id_make(run, "run_");
    json_t *in = contract_open_in(&ids, run, "hello", false), *close = contract_close_in(&ids, run, "hi");
    contract_done(contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "T", 1)));
    json_t *first = contract_ok(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, json_incref(in)));
    contract_equal(contract_ok(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, in)), first);
    first = contract_ok(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, json_incref(close)));
    contract_equal(contract_ok(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, close)), first);
    contract_gapless(&ids, 2);
}

static void test_turn_is_written_whole_or_not_at_all(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids(), fresh = ids;
    char run[AC_ID_SIZE] = "", other[AC_ID_SIZE];
    ac_id_make(fresh.thread, "thread_");
    ac_id_make(other, "run_");
    contract_open(&ids, run, "hello", true);
    json_t *list = contract_ok(contract_call(AC_STORE_MESSAGE_LIST, ids.owner, ids.thread, NULL));
    json_t *in = contract_open_in(&fresh, other, "hello", true);
    json_object_set(json_object_get(in, "message"), "id",
                    json_object_get(json_array_get(json_object_get(list, "data"), 0), "id"));
    contract_kind(contract_call(AC_STORE_TURN_OPEN, ids.owner, fresh.thread, in), AC_IDEMPOTENCY_CONFLICT);
    contract_kind(contract_call(AC_STORE_THREAD_GET, ids.owner, fresh.thread, NULL), AC_NOT_FOUND);
    json_decref(list);

    in = contract_close_in(&ids, run, "hi");
    json_array_append_new(json_object_get(in, "steps"), json_pack("{s:s}", "run_id", run)); /* a step without an id */
    contract_kind(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, in), AC_INVALID_REQUEST);
    contract_gapless(&ids, 1);
    json_t *loaded = contract_ok(contract_call(AC_STORE_TURN_LOAD, ids.owner, ids.thread, NULL));
    assert_string_equal(ac_json_peek_string(loaded, "active_run", ""), run);
    json_decref(loaded);
    assert_int_equal(contract_close(&ids, run, "hi"), 2);
}

static void test_close_stores_run_and_steps(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "";
    contract_open(&ids, run, "hello", true);
    contract_equal(contract_ok(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL)),
                   contract_run(run, ids.thread, "in_progress", 10));
    json_t *in = contract_close_in(&ids, run, "hi"), *steps = json_object_get(in, "steps"),
           *final = json_object_get(in, "run");
    for (int i = 0; i < 12; i++) {
        char id[AC_ID_SIZE];
        ac_id_make(id, "step_");
        json_array_append_new(steps, contract_step(id, run, 11 + i));
    }
    json_incref(steps);
    json_incref(final);
    contract_done(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, in));
    contract_equal(contract_ok(contract_call(AC_STORE_STEP_LIST, ids.owner, run, NULL)),
                   json_pack("{s:o}", "data", steps));
    contract_equal(contract_ok(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL)), final);
    contract_kind(contract_call(AC_STORE_RUN_GET, "other", run, NULL), AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_STEP_LIST, "other", run, NULL), AC_NOT_FOUND);
    contract_kind(contract_call(AC_STORE_RUN_LIST, "other", ids.thread, NULL), AC_NOT_FOUND);
}

/* ---- messages ---- */

static void thread_of(contract_ids_t *ids, int n_turns)
{
    *ids = contract_ids();
    for (int i = 0; i < n_turns; i++) {
        char run[AC_ID_SIZE] = "", content[32];
        snprintf(content, sizeof(content), "message %d", 2 * i + 1);
        contract_open(ids, run, content, i == 0);
        snprintf(content, sizeof(content), "message %d", 2 * i + 2);
        contract_close(ids, run, content);
    }
}

static void test_messages_page_by_page(void **state)
{
    (void)state;
    contract_ids_t ids;
    thread_of(&ids, 5);
    const struct {
        int limit;
        int64_t after, before;
        bool descending;
        int first, n;
        int next;
    } cases[] = {
        {20, 0, 0, false, 1, 10, 0}, {10, 0, 0, false, 1, 10, 0}, {9, 0, 0, false, 1, 9, 9}, {3, 4, 0, false, 5, 3, 7},
        {3, 7, 0, false, 8, 3, 0},   {3, 10, 0, false, 0, 0, 0},  {3, 0, 0, true, 10, 3, 8}, {3, 0, 8, true, 7, 3, 5},
        {3, 0, 3, true, 2, 2, 0},    {20, 2, 6, false, 3, 3, 0},  {20, 2, 6, true, 5, 3, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ac_store_op_t *op = contract_op(AC_STORE_MESSAGE_LIST, ids.owner, ids.thread, NULL);
        op->page = (ac_page_t){.limit = cases[i].limit,
                               .after_seq = cases[i].after,
                               .before_seq = cases[i].before,
                               .descending = cases[i].descending};
        json_t *list = contract_ok(contract_wait(op)), *data = json_object_get(list, "data"), *message;
        size_t k;
        assert_int_equal(json_array_size(data), cases[i].n);
        json_array_foreach(data, k, message)
        {
            int seq = cases[i].first + (cases[i].descending ? -(int)k : (int)k);
            char content[32];
            snprintf(content, sizeof(content), "message %d", seq);
            assert_int_equal(ac_json_peek_int(message, "seq", -1), seq);
            assert_string_equal(ac_json_peek_string(message, "content", ""), content);
        }
        assert_int_equal(json_is_true(json_object_get(list, "has_more")), cases[i].next != 0);
        assert_int_equal(ac_json_peek_int(list, "next", 0), cases[i].next);
        json_decref(list);
    }
    contract_kind(contract_call(AC_STORE_MESSAGE_LIST, "other", ids.thread, NULL), AC_NOT_FOUND);
}

static void test_load_gives_the_newest(void **state)
{
    (void)state;
    contract_ids_t ids;
    thread_of(&ids, 5);
    const struct {
        int limit, first, n;
    } cases[] = {{100, 1, 10}, {10, 1, 10}, {4, 7, 4}, {1, 10, 1}, {0, 0, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ac_store_op_t *op = contract_op(AC_STORE_TURN_LOAD, ids.owner, ids.thread, NULL);
        op->page.limit = cases[i].limit;
        json_t *out = contract_ok(contract_wait(op)), *messages = json_object_get(out, "messages"), *message;
        size_t k;
        assert_int_equal(json_array_size(messages), cases[i].n);
        json_array_foreach(messages, k, message)
        {
            assert_int_equal(ac_json_peek_int(message, "seq", -1), cases[i].first + (int)k);
        }
        json_decref(out);
    }
}

static void test_message_keeps_every_byte(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char *large = ac_alloc(AC_MAX_CONTENT * 4 + 1);
    memset(large, 'x', AC_MAX_CONTENT * 4);
    const char *contents[] = {"", "\x01\x1f\t\r\n \"\\/ 'quoted' -- ;", "日本語 \xf0\x9f\x8e\x89 é\xcc\x81", large};
    for (size_t i = 0; i < sizeof(contents) / sizeof(*contents); i++) {
        char run[AC_ID_SIZE] = "";
        contract_open(&ids, run, contents[i], i == 0);
        json_t *in = contract_close_in(&ids, run, contents[i]), *wanted;
        json_object_set_new(
            json_object_get(in, "message"), "tool_calls",
            json_pack("[{s:s, s:s, s:{s:s, s:[i,b,n]}, s:f, s:n, s:i}, {s:s, s:s, s:{}, s:n, s:s, s:i}]", "id", "c1",
                      "tool", "calculate", "arguments", "expression", contents[i], "list", 1, 1, "result", 0.1, "error",
                      "latency_ms", 3, "id", "c2", "tool", "x", "arguments", "result", "error", "no", "latency_ms", 0));
        json_object_set_new(json_object_get(in, "message"), "metadata",
                            json_pack("{s:s, s:{s:I}}", "model", "m", "usage", "total_tokens",
                                      (json_int_t)9007199254740993));
        wanted = json_deep_copy(json_object_get(in, "message"));
        json_object_set_new(wanted, "thread_id", json_string(ids.thread));
        json_object_set_new(wanted, "seq", json_integer((json_int_t)(2 * i + 2)));
        json_t *loaded = contract_ok(contract_call(AC_STORE_TURN_LOAD, ids.owner, ids.thread, NULL));
        json_object_set(wanted, "parent_id", json_object_get(loaded, "parent_id"));
        json_decref(loaded);
        contract_equal(contract_ok(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, in)),
                       json_pack("{s:O}", "message", wanted));
        ac_store_op_t *op = contract_op(AC_STORE_MESSAGE_LIST, ids.owner, ids.thread, NULL);
        op->page.after_seq = (int64_t)(2 * i + 1);
        contract_equal(contract_ok(contract_wait(op)),
                       json_pack("{s:[o], s:b, s:n}", "data", wanted, "has_more", 0, "next"));
    }
    free(large);
}

/* A message without files has no member `attachments`; one with files has it wherever messages are read, also after a
 * move. */
static void test_message_keeps_its_attachments(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "";
    json_t *in, *out, *list,
        *kept = json_pack("[{s:s, s:s, s:s, s:i}, {s:s, s:s, s:s, s:i}]", "file_id", "file_1", "name",
                          "Zeugnis \"é\".png", "type", "image/png", "size", 70, "file_id", "file_2", "name", "b.md",
                          "type", "text/markdown", "size", 0);
    ac_id_make(run, "run_");
    in = contract_open_in(&ids, run, "look", true);
    json_object_set(json_object_get(in, "message"), "attachments", kept);
    out = contract_ok(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, in));
    contract_equal(json_incref(json_object_get(json_object_get(out, "message"), "attachments")), json_incref(kept));
    json_decref(out);
    contract_close(&ids, run, "seen");
    const ac_store_verb_e verbs[] = {AC_STORE_MESSAGE_LIST, AC_STORE_TURN_LOAD, AC_STORE_EXPORT_MESSAGES};
    for (size_t i = 0; i < sizeof(verbs) / sizeof(*verbs); i++) {
        ac_store_op_t *op =
            contract_op(verbs[i], verbs[i] == AC_STORE_EXPORT_MESSAGES ? NULL : ids.owner, ids.thread, NULL);
        op->page.limit = 10;
        out = contract_ok(contract_wait(op));
        list = json_object_get(out, verbs[i] == AC_STORE_TURN_LOAD ? "messages" : "data");
        assert_int_equal(json_array_size(list), 2);
        contract_equal(json_incref(json_object_get(json_array_get(list, 0), "attachments")), json_incref(kept));
        assert_null(json_object_get(json_array_get(list, 1), "attachments"));
        if (verbs[i] == AC_STORE_EXPORT_MESSAGES) {
            contract_ids_t moved = contract_ids();
            char message_ids[2][AC_ID_SIZE];
            for (int k = 0; k < 2; k++) {
                ac_id_make(message_ids[k], "msg_");
                json_object_set_new(json_array_get(list, (size_t)k), "id", json_string(message_ids[k]));
                json_object_set_new(json_array_get(list, (size_t)k), "thread_id", json_string(moved.thread));
            }
            json_t *record = contract_thread(moved.thread, "T", 1);
            json_object_set_new(record, "message_count", json_integer(2));
            json_object_set_new(record, "owner", json_string(moved.owner));
            json_object_set_new(record, "deleted_at", json_null());
            json_object_set_new(record, "restore_status", json_null());
            contract_done(contract_call(AC_STORE_IMPORT, NULL, moved.thread,
                                        json_pack("{s:o, s:O, s:[]}", "thread", record, "messages", list, "runs")));
            ids = moved;
        }
        json_decref(out);
    }
    list = contract_ok(contract_call(AC_STORE_MESSAGE_LIST, ids.owner, ids.thread, NULL));
    contract_equal(json_incref(json_object_get(json_array_get(json_object_get(list, "data"), 0), "attachments")), kept);
    json_decref(list);
}

/* ---- runs ---- */

static void test_runs_newest_first(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char made[7][AC_ID_SIZE], after[AC_ID_SIZE] = "";
    for (int i = 0; i < 7; i++) {
        ac_id_make(made[i], "run_");
        contract_open(&ids, made[i], "q", i == 0);
        if (i < 6) {
            contract_close(&ids, made[i], "a");
        }
    }
    int left = 7;
    while (left) {
        ac_store_op_t *op = contract_op(AC_STORE_RUN_LIST, ids.owner, ids.thread, NULL);
        op->page.limit = 3;
        snprintf(op->page.after, sizeof(op->page.after), "%s", after);
        json_t *list = contract_ok(contract_wait(op)), *data = json_object_get(list, "data"), *run;
        size_t i;
        assert_int_equal(json_array_size(data), left < 3 ? left : 3);
        json_array_foreach(data, i, run)
        {
            assert_string_equal(ac_json_peek_string(run, "id", ""), made[--left]);
            assert_string_equal(ac_json_peek_string(run, "status", ""), left == 6 ? "in_progress" : "completed");
        }
        assert_int_equal(json_is_true(json_object_get(list, "has_more")), left > 0);
        snprintf(after, sizeof(after), "%s", ac_json_peek_string(list, "next", ""));
        assert_int_equal(*after != '\0', left > 0);
        json_decref(list);
    }
}

/* ---- purge ---- */

static void test_purge_removes_threads_that_were_deleted_before(void **state)
{
    (void)state;
    contract_ids_t ids[4];
    char runs[4][AC_ID_SIZE] = {"", "", "", ""}, at[AC_TIME_SIZE];
    for (int i = 0; i < 4; i++) {
        ids[i] = contract_ids();
        contract_open(&ids[i], runs[i], "q", true);
        contract_close(&ids[i], runs[i], "a");
        if (i < 3) { /* in January, when no other test deletes anything */
            snprintf(at, sizeof(at), "2026-01-0%dT00:00:00.000Z", i + 1);
            contract_done(contract_call(AC_STORE_THREAD_DELETE, ids[i].owner, ids[i].thread,
                                        json_pack("{s:s}", "deleted_at", at)));
        }
    }
    json_t *in = json_pack("{s:s}", "before", "2026-01-03T00:00:00.000Z");
    contract_equal(contract_ok(contract_call(AC_STORE_PURGE, NULL, NULL, json_incref(in))),
                   json_pack("{s:i}", "purged", 2));
    contract_equal(contract_ok(contract_call(AC_STORE_PURGE, NULL, NULL, in)), json_pack("{s:i}", "purged", 0));
    for (int i = 0; i < 2; i++) {
        contract_kind(contract_call(AC_STORE_THREAD_RESTORE, ids[i].owner, ids[i].thread,
                                    json_pack("{s:s}", "updated_at", at)),
                      AC_NOT_FOUND);
    }
    contract_done(
        contract_call(AC_STORE_THREAD_RESTORE, ids[2].owner, ids[2].thread, json_pack("{s:s}", "updated_at", at)));
    contract_gapless(&ids[2], 2);
    contract_gapless(&ids[3], 2);
    contract_done(contract_call(AC_STORE_RUN_GET, ids[2].owner, runs[2], NULL));
}

int contract_turns(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turn_makes_its_thread),
        cmocka_unit_test(test_turn_in_a_thread_that_has_a_title),
        cmocka_unit_test(test_one_active_run_per_thread),
        cmocka_unit_test(test_a_turn_after_an_unseen_message_is_refused),
        cmocka_unit_test(test_asking_twice_writes_once),
        cmocka_unit_test(test_turn_is_written_whole_or_not_at_all),
        cmocka_unit_test(test_close_stores_run_and_steps),
        cmocka_unit_test(test_messages_page_by_page),
        cmocka_unit_test(test_load_gives_the_newest),
        cmocka_unit_test(test_message_keeps_every_byte),
        cmocka_unit_test(test_message_keeps_its_attachments),
        cmocka_unit_test(test_runs_newest_first),
        cmocka_unit_test(test_purge_removes_threads_that_were_deleted_before),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
