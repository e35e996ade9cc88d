/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of all stores about Idempotency-Keys. */
#include "store_contract.h"

#include <pthread.h>

#define SINCE "2026-01-01T00:00:00.000Z"

static json_t *open_in(const contract_ids_t *ids, const char *run_id, const char *key, const char *hash)
{
    json_t *in = contract_open_in(ids, run_id, "hello", false);
    json_object_set_new(in, "idempotency",
                        json_pack("{s:s, s:s, s:s}", "key", key, "request_hash", hash, "since", SINCE));
    return in;
}

static void make(const contract_ids_t *ids)
{
    contract_done(contract_call(AC_STORE_THREAD_CREATE, ids->owner, NULL, contract_thread(ids->thread, "T", 1)));
}

static ac_store_op_t *key_get(const char *owner, const char *key, const char *since)
{
    return contract_call(AC_STORE_KEY_GET, owner, NULL, json_pack("{s:s, s:s}", "key", key, "since", since));
}

static void check_leads(const contract_ids_t *ids, const char *key, const char *run_id, const char *hash)
{
    contract_equal(contract_ok(key_get(ids->owner, key, SINCE)),
                   json_pack("{s:s, s:s, s:s}", "run_id", run_id, "thread_id", ids->thread, "request_hash", hash));
}

static void test_a_key_leads_to_its_run(void **state)
{
    (void)state;
    static const char *const keys[] = {"k", "a/b?c#d\\e", "ünï 'code'; --",
                                       "0123456789012345678901234567890123456789012345678901234567890123456789"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
        contract_ids_t ids = contract_ids();
        char run[AC_ID_SIZE];
        ac_id_make(run, "run_");
        make(&ids);
        contract_kind(key_get(ids.owner, keys[i], SINCE), AC_NOT_FOUND);
        contract_done(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, open_in(&ids, run, keys[i], "h1")));
        check_leads(&ids, keys[i], run, "h1");
        contract_close(&ids, run, "hi");
        check_leads(&ids, keys[i], run, "h1");
        contract_kind(key_get("another owner", keys[i], SINCE), AC_NOT_FOUND);
        contract_kind(key_get(ids.owner, "another", SINCE), AC_NOT_FOUND);
        contract_kind(key_get(ids.owner, keys[i], "2027-01-01T00:00:00.000Z"), AC_NOT_FOUND); /* too old to count */
    }
}

static void test_a_used_key_is_refused_before_other_errors(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids(), other = ids;
    char run[AC_ID_SIZE], second[AC_ID_SIZE];
    ac_id_make(run, "run_");
    ac_id_make(second, "run_");
    ac_id_make(other.thread, "thread_");
    make(&ids);
    contract_done(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, open_in(&ids, run, "k", "h1")));
    const char *threads[] = {ids.thread, other.thread}; /* busy; missing */
    for (int i = 0; i < 2; i++) {
        ac_store_op_t *op = contract_call(AC_STORE_TURN_OPEN, ids.owner, threads[i], open_in(&ids, second, "k", "h2"));
        assert_int_equal(op->err.kind, AC_IDEMPOTENCY_CONFLICT);
        contract_equal(json_incref(op->out),
                       json_pack("{s:s, s:s, s:s}", "run_id", run, "thread_id", ids.thread, "request_hash", "h1"));
        ac_store_op_free(op);
    }
    contract_gapless(&ids, 1);
}

static void test_asking_twice_with_a_key_writes_once(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE];
    ac_id_make(run, "run_");
    make(&ids);
    json_t *in = open_in(&ids, run, "k", "h1");
    json_t *first = contract_ok(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, json_incref(in)));
    contract_equal(contract_ok(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, in)), first);
    contract_gapless(&ids, 1);
}

static void test_a_key_of_a_turn_that_failed_is_free(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "", refused[AC_ID_SIZE], again[AC_ID_SIZE];
    ac_id_make(refused, "run_");
    ac_id_make(again, "run_");
    contract_open(&ids, run, "hello", true);
    contract_kind(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, open_in(&ids, refused, "k", "h1")),
                  AC_RUN_IN_PROGRESS);
    contract_kind(key_get(ids.owner, "k", SINCE), AC_NOT_FOUND);
    contract_close(&ids, run, "hi");
    contract_done(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, open_in(&ids, again, "k", "h1")));
    check_leads(&ids, "k", again, "h1");
}

static void test_an_old_key_may_be_used_again(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE], later[AC_ID_SIZE];
    ac_id_make(run, "run_");
    ac_id_make(later, "run_");
    make(&ids);
    json_t *in = open_in(&ids, run, "k", "h1");
    json_object_set_new(json_object_get(in, "run"), "created_at", json_string("2025-12-31T00:00:00.000Z"));
    contract_done(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, in));
    contract_close(&ids, run, "hi");
    contract_kind(key_get(ids.owner, "k", SINCE), AC_NOT_FOUND);
    contract_done(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, open_in(&ids, later, "k", "h2")));
    check_leads(&ids, "k", later, "h2");
    contract_done(contract_call(AC_STORE_PURGE, NULL, NULL,
                                json_pack("{s:s, s:s}", "before", "2000-01-01T00:00:00.000Z", "keys_before", SINCE)));
    check_leads(&ids, "k", later, "h2");
}

static json_t *put_in(const char *run_id, const char *hash, const char *since)
{
    return json_pack("{s:{s:s, s:s, s:s}, s:{s:s, s:s}}", "idempotency", "key", "k", "request_hash", hash, "since",
                     since, "run", "id", run_id, "created_at", "2026-02-01T00:00:00.000Z");
}

static void check_put(const contract_ids_t *ids, const char *run_id, const char *hash)
{
    contract_equal(contract_ok(key_get(ids->owner, "k", SINCE)),
                   json_pack("{s:s, s:s, s:s}", "run_id", run_id, "thread_id", "", "request_hash", hash));
}

static void test_a_key_of_a_run_that_is_not_stored(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids(), other = contract_ids();
    char run[AC_ID_SIZE], second[AC_ID_SIZE], third[AC_ID_SIZE];
    ac_id_make(run, "run_");
    ac_id_make(second, "run_");
    ac_id_make(third, "run_");
    make(&ids);
    contract_done(contract_call(AC_STORE_KEY_PUT, ids.owner, NULL, put_in(run, "h1", SINCE)));
    check_put(&ids, run, "h1");
    contract_done(contract_call(AC_STORE_KEY_PUT, ids.owner, NULL, put_in(run, "h1", SINCE))); /* a retry */
    ac_store_op_t *op = contract_call(AC_STORE_KEY_PUT, ids.owner, NULL, put_in(second, "h2", SINCE));
    assert_int_equal(op->err.kind, AC_IDEMPOTENCY_CONFLICT);
    contract_equal(json_incref(op->out),
                   json_pack("{s:s, s:s, s:s}", "run_id", run, "thread_id", "", "request_hash", "h1"));
    ac_store_op_free(op);
    contract_kind(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, open_in(&ids, second, "k", "h1")),
                  AC_IDEMPOTENCY_CONFLICT);
    contract_done(contract_call(AC_STORE_KEY_PUT, other.owner, NULL, put_in(third, "h1", SINCE)));
    check_put(&ids, run, "h1");
    /* Nothing counts before a time that has not come. */
    contract_done(contract_call(AC_STORE_KEY_PUT, ids.owner, NULL, put_in(second, "h1", "9999-12-31T23:59:59.000Z")));
    check_put(&ids, second, "h1");
    contract_gapless(&ids, 0);
}

enum { SENDERS = 8 };

typedef struct sender_t {
    pthread_t thread;
    contract_ids_t ids;
    char run[AC_ID_SIZE];
    ac_kind_e kind;
} sender_t;

static void *send_main(void *baton)
{
    sender_t *sender = baton;
    sender->kind = contract_try(NULL, AC_STORE_TURN_OPEN, &sender->ids, open_in(&sender->ids, sender->run, "k", "h1"));
    return NULL;
}

/* The same request, impatiently sent to several conversations at once: one of them gets it. */
static void test_one_of_many_gets_the_key(void **state)
{
    (void)state;
    sender_t senders[SENDERS];
    contract_ids_t ids = contract_ids();
    int n_opened = 0;
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (sender_t){.ids = ids};
        ac_id_make(senders[i].ids.thread, "thread_");
        ac_id_make(senders[i].run, "run_");
        make(&senders[i].ids);
    }
    for (int i = 0; i < SENDERS; i++) {
        assert_int_equal(pthread_create(&senders[i].thread, NULL, send_main, &senders[i]), 0);
    }
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(senders[i].thread, NULL);
        assert_true(senders[i].kind == AC_OK || senders[i].kind == AC_IDEMPOTENCY_CONFLICT);
        n_opened += senders[i].kind == AC_OK;
        contract_gapless(&senders[i].ids, senders[i].kind == AC_OK);
    }
    assert_int_equal(n_opened, 1);
}

/* Checks that the message of a write's answer reads with the same bytes; takes op. */
static void same_bytes(ac_store_op_t *op, const contract_ids_t *ids, int64_t after)
{
    json_t *written = contract_ok(op), *list;
    op = contract_op(AC_STORE_MESSAGE_LIST, ids->owner, ids->thread, NULL);
    op->page.after_seq = after;
    list = contract_ok(contract_wait(op));
    char *text = json_dumps(json_object_get(written, "message"), 0),
         *again = json_dumps(json_array_get(json_object_get(list, "data"), 0), 0);
    assert_string_equal(text, again);
    free(text);
    free(again);
    json_decref(written);
    json_decref(list);
}

static void test_a_message_is_read_in_the_bytes_of_its_write(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "";
    for (int i = 0; i < 2; i++) {
        ac_id_make(run, "run_");
        same_bytes(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, contract_open_in(&ids, run, "q", i == 0)),
                   &ids, 2 * i);
        same_bytes(contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, contract_close_in(&ids, run, "a")), &ids,
                   2 * i + 1);
    }
}

/* Two requests name one new thread: the second one finds it with the same run and message. */
static void test_a_thread_is_made_once(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "", other[AC_ID_SIZE];
    ac_id_make(other, "run_");
    contract_open(&ids, run, "hello", true);
    contract_close(&ids, run, "hi");
    json_t *in = contract_open_in(&ids, other, "me too", true), *again = json_copy(in);
    ac_store_op_t *op = contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, in);
    assert_null(op->out);
    contract_kind(op, AC_IDEMPOTENCY_CONFLICT);
    contract_gapless(&ids, 2);
    json_object_del(again, "thread");
    json_object_set_new(again, "after", json_integer(2));
    contract_done(contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, again));
    contract_close(&ids, other, "hi to you too");
    contract_gapless(&ids, 4);
}

int contract_keys(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_thread_is_made_once),
        cmocka_unit_test(test_a_key_leads_to_its_run),
        cmocka_unit_test(test_a_used_key_is_refused_before_other_errors),
        cmocka_unit_test(test_asking_twice_with_a_key_writes_once),
        cmocka_unit_test(test_a_key_of_a_turn_that_failed_is_free),
        cmocka_unit_test(test_an_old_key_may_be_used_again),
        cmocka_unit_test(test_a_key_of_a_run_that_is_not_stored),
        cmocka_unit_test(test_one_of_many_gets_the_key),
        cmocka_unit_test(test_a_message_is_read_in_the_bytes_of_its_write),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
