/* SPDX-License-Identifier: Apache-2.0 */
/* Idempotency-Keys in the embedded store: one run for one key, in the transaction of the message; and a file of
 * before there were any. */
#include "sqlite_harness.h"

#define SINCE "2020-01-01T00:00:00.000Z"

static json_t *turn(const char *run_id, const char *thread_id, const char *key, const char *hash, int number)
{
    char message_id[AC_ID_SIZE];
    json_t *in = json_object();
    ac_id_make(message_id, "msg_");
    json_object_set_new(in, "message", contract_message(message_id, "user", "hello", number));
    json_object_set_new(in, "run", contract_run(run_id, thread_id, "in_progress", number));
    json_object_set_new(in, "title", json_string("T"));
    json_object_set_new(in, "idempotency",
                        json_pack("{s:s, s:s, s:s}", "key", key, "request_hash", hash, "since", SINCE));
    return in;
}

static ac_store_op_t *key_get(const char *owner, const char *key, const char *since)
{
    return contract_call(AC_STORE_KEY_GET, owner, NULL, json_pack("{s:s, s:s}", "key", key, "since", since));
}

static void make_thread(const contract_ids_t *ids)
{
    contract_done(contract_call(AC_STORE_THREAD_CREATE, ids->owner, ids->thread, contract_thread(ids->thread, "T", 1)));
}

static void close_run(const contract_ids_t *ids, const char *run_id)
{
    json_t *in =
        json_pack("{s:n, s:o, s:[]}", "message", "run", contract_run(run_id, ids->thread, "completed", 3), "steps");
    contract_done(contract_call(AC_STORE_TURN_CLOSE, ids->owner, ids->thread, in));
}

static void test_a_key_leads_to_one_run(void **state)
{
    harness_t *harness = *state;
    char one[AC_ID_SIZE], two[AC_ID_SIZE];
    ac_id_make(one, "run_");
    ac_id_make(two, "run_");
    harness_start(harness, AC_OK);
    harness_watch();
    contract_ids_t ids = contract_ids(), other = contract_ids();
    make_thread(&ids);
    make_thread(&other);
    contract_kind(key_get(ids.owner, "k", SINCE), AC_NOT_FOUND);
    contract_done(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, turn(one, ids.thread, "k", "h", 2)));
    contract_equal(contract_ok(key_get(ids.owner, "k", SINCE)),
                   json_pack("{s:s, s:s, s:s}", "run_id", one, "thread_id", ids.thread, "request_hash", "h"));
    contract_kind(key_get(other.owner, "k", SINCE), AC_NOT_FOUND);
    contract_kind(key_get(ids.owner, "k", "2999-01-01T00:00:00.000Z"), AC_NOT_FOUND);

    /* Before it is found that the thread is busy: the client has to hear which run is meant. */
    ac_store_op_t *op = contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, turn(two, ids.thread, "k", "h", 3));
    assert_string_equal(ac_json_peek_string(op->out, "run_id", ""), one);
    assert_string_equal(ac_json_peek_string(op->out, "request_hash", ""), "h");
    contract_kind(op, AC_IDEMPOTENCY_CONFLICT);
    contract_done(contract_call(AC_STORE_TURN_OPEN, other.owner, other.thread, turn(two, other.thread, "k", "h", 3)));
    close_run(&ids, one);
    contract_kind(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, turn(two, ids.thread, "k", "h2", 4)),
                  AC_IDEMPOTENCY_CONFLICT);
    contract_gapless(&ids, 1); /* nothing of the refused ones was stored */
    assert_int_equal(harness_number(harness, "SELECT count(*) FROM keys"), 2);
    assert_true(harness_check_plans(harness) > 3);
}

static void test_a_refused_turn_takes_no_key(void **state)
{
    harness_t *harness = *state;
    char run[AC_ID_SIZE];
    ac_id_make(run, "run_");
    harness_start(harness, AC_OK);
    contract_ids_t ids = contract_ids();
    contract_kind(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, turn(run, ids.thread, "k", "h", 2)),
                  AC_NOT_FOUND);
    contract_kind(key_get(ids.owner, "k", SINCE), AC_NOT_FOUND);
}

static void test_old_keys_are_purged(void **state)
{
    harness_t *harness = *state;
    char run[AC_ID_SIZE];
    ac_id_make(run, "run_");
    harness_start(harness, AC_OK);
    contract_ids_t ids = contract_ids();
    make_thread(&ids);
    contract_done(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, turn(run, ids.thread, "k", "h", 2)));
    harness_change(harness,
                   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)"
                   " INSERT INTO keys SELECT 'x', 'k' || i, 'r', 't', 'h', '2001-01-01T00:00:00.000Z' FROM n");
    contract_done(contract_call(AC_STORE_PURGE, NULL, NULL,
                                json_pack("{s:s, s:s}", "before", "2000", "keys_before", "2002-01-01T00:00:00.000Z")));
    assert_int_equal(harness_number(harness, "SELECT count(*) FROM keys"), 1);
}

static void test_a_file_of_a_version_without_keys(void **state)
{
    harness_t *harness = *state;
    char run[AC_ID_SIZE];
    ac_id_make(run, "run_");
    harness_start(harness, AC_OK);
    contract_ids_t ids = contract_ids();
    make_thread(&ids);
    harness_stop(harness);
    harness_change(
        harness,
        "DROP TABLE keys; DROP TABLE agents; DROP TABLE stamps; DROP TABLE waits; DROP TABLE usage;"
        "DROP INDEX threads_by_update;"
        "DROP INDEX threads_of_agent_by_update; DROP INDEX threads_of_status_by_update;" HARNESS_WITHOUT_VERSION_7
        "PRAGMA user_version = 1");
    harness_start(harness, AC_OK);
    assert_int_equal(harness_number(harness, "PRAGMA user_version"), 10);
    contract_done(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, turn(run, ids.thread, "k", "h", 2)));
    contract_done(key_get(ids.owner, "k", SINCE));
}

int main(void)
{
    apr_initialize();
    const struct CMUnitTest group[] = {
        SQLITE_TEST(test_a_key_leads_to_one_run),
        SQLITE_TEST(test_a_refused_turn_takes_no_key),
        SQLITE_TEST(test_old_keys_are_purged),
        SQLITE_TEST(test_a_file_of_a_version_without_keys),
    };
    return cmocka_run_group_tests_name("sqlite keys", group, NULL, NULL);
}
