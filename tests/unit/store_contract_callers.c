/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of all stores about callers: deadlines, completions and many callers at once. */
#include "store_contract.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

static void test_past_its_deadline(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "T", 1));
    op->deadline = ac_clock() - 1;
    contract_kind(contract_wait(op), AC_STORE_TIMEOUT);
    op = contract_op(AC_STORE_THREAD_GET, ids.owner, ids.thread, NULL);
    op->deadline = ac_clock() - 1;
    contract_kind(contract_wait(op), AC_STORE_TIMEOUT);
    contract_kind(contract_call(AC_STORE_THREAD_GET, ids.owner, ids.thread, NULL), AC_NOT_FOUND);
}

static _Thread_local bool inside;

static void note_inside(ac_store_op_t *op)
{
    atomic_int *n_left = op->baton;
    assert_false(inside);
    ac_store_op_free(op);
    atomic_fetch_sub(n_left, 1);
}

static void test_never_answers_inside_the_call(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    atomic_int n_left = 200;
    for (int i = 0; i < 200; i++) {
        ac_store_op_t *op = contract_op(i % 2 ? AC_STORE_THREAD_GET : AC_STORE_PURGE, ids.owner, ids.thread, NULL);
        op->in = i % 2 ? NULL : json_pack("{s:s}", "before", "2000-01-01T00:00:00.000Z");
        op->deadline = i % 3 ? 0 : 1;
        inside = true;
        ac_store_call_post(contract_store(), NULL, op, note_inside, &n_left);
        inside = false;
    }
    while (atomic_load(&n_left)) {
        sched_yield();
    }
}

enum { CALLERS = 8, TURNS = 12 };

typedef struct caller_t {
    pthread_t thread;
    const contract_ids_t *ids;
    ac_kind_e failed; /* what the first write that failed ended with */
    int n_refused;
} caller_t;

ac_kind_e contract_try(int64_t *pseq, ac_store_verb_e verb, const contract_ids_t *ids, json_t *in)
{
    ac_store_op_t *op = ac_store_op_create(verb, ids->owner, ids->thread);
    ac_err_t err;
    ac_err_init(&err);
    op->in = in;
    if (ac_store_wait(contract_store(), &op, apr_time_from_sec(60), &err) == APR_SUCCESS && pseq) {
        *pseq = ac_json_peek_int(json_object_get(op->out, "message"), "seq", -1);
    }
    ac_store_op_free(op);
    return err.kind;
}

static void *caller_main(void *baton)
{
    caller_t *caller = baton;
    for (int i = 0; i < TURNS; i++) {
        char run[AC_ID_SIZE];
        ac_kind_e kind;
        ac_id_make(run, "run_");
        json_t *in = contract_open_in(caller->ids, run, "q", false);
        /* Half of the turns have a key, as clients that send again have; a refused turn keeps its run, and so its
         * key. */
        if (i % 2) {
            json_object_set_new(in, "idempotency",
                                json_pack("{s:s, s:s, s:s}", "key", run, "request_hash", "h", "since",
                                          "2026-01-01T00:00:00.000Z"));
        }
        while ((kind = contract_try(NULL, AC_STORE_TURN_OPEN, caller->ids, json_incref(in))) == AC_RUN_IN_PROGRESS) {
            caller->n_refused++;
            sched_yield();
        }
        json_decref(in);
        if (kind == AC_OK) {
            kind = contract_try(NULL, AC_STORE_TURN_CLOSE, caller->ids, contract_close_in(caller->ids, run, "a"));
        }
        if (caller->failed == AC_OK) {
            caller->failed = kind;
        }
    }
    return NULL;
}

static void test_many_callers_of_one_thread(void **state)
{
    (void)state;
    contract_ids_t ids = contract_ids();
    caller_t callers[CALLERS];
    contract_done(contract_call(AC_STORE_THREAD_CREATE, ids.owner, NULL, contract_thread(ids.thread, "T", 1)));
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (caller_t){.ids = &ids};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, caller_main, &callers[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(callers[i].thread, NULL);
        assert_string_equal(ac_err_row(callers[i].failed)->code, ac_err_row(AC_OK)->code);
    }
    contract_gapless(&ids, 2 * CALLERS * TURNS);
}

int contract_callers(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_past_its_deadline),
        cmocka_unit_test(test_never_answers_inside_the_call),
        cmocka_unit_test(test_many_callers_of_one_thread),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
