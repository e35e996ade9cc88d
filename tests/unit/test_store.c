/* SPDX-License-Identifier: Apache-2.0 */
/* Calls through a store's table, over a store that answers under the test's control. */
#include "span_sink.h"
#include "store_contract.h"

#include <pthread.h>

#include <apr_general.h>

typedef struct slow_t { /* a store that keeps what it is given */
    ac_store_t store;
    ac_store_op_t *held[8];
    int n_held;
    bool at_once; /* answer from another thread, as a store does */
    pthread_t thread;
} slow_t;

static void *answer_main(void *baton)
{
    ac_store_op_t *op = baton;
    op->out = json_object();
    op->status = op->verb == AC_STORE_PING ? APR_SUCCESS : ac_err_set(&op->err, AC_NOT_FOUND, "nothing here");
    ac_store_done(op);
    return NULL;
}

static void slow_post(void *self, ac_store_op_t *op)
{
    slow_t *slow = self;
    if (slow->at_once) {
        assert_int_equal(pthread_create(&slow->thread, NULL, answer_main, op), 0);
    } else {
        slow->held[slow->n_held++] = op;
    }
}

static const ac_store_vt slow_vt = {.name = "slow", .start_post = slow_post};

static void test_an_operation_holds_its_inputs(void **state)
{
    (void)state;
    char owner[AC_OWNER_SIZE + 1];
    ac_store_op_t *op = ac_store_op_create(AC_STORE_RUN_GET, "me", "run_1");
    assert_int_equal(op->verb, AC_STORE_RUN_GET);
    assert_string_equal(op->owner, "me");
    assert_string_equal(op->id, "run_1");
    assert_int_equal(op->err.kind, AC_OK);
    op->in = json_object();
    op->out = json_object();
    ac_store_op_free(op);
    ac_store_op_free(NULL);

    op = ac_store_op_create(AC_STORE_PING, NULL, NULL);
    assert_string_equal(op->owner, "");
    assert_string_equal(op->id, "");
    ac_store_op_free(op);

    /* An owner is never cut off: a part of a name may be another's. */
    memset(owner, 'x', sizeof(owner));
    owner[AC_OWNER_SIZE] = '\0';
    assert_null(ac_store_op_create(AC_STORE_PING, owner, NULL));
    owner[AC_OWNER_SIZE - 1] = '\0';
    op = ac_store_op_create(AC_STORE_PING, owner, NULL);
    assert_string_equal(op->owner, owner);
    ac_store_op_free(op);
    assert_null(ac_store_op_create(AC_STORE_RUN_GET, "me", owner));
}

/* What is about one owner cannot be asked for without one, nor for a name that a store has for itself. */
static void test_no_verb_without_its_owner(void **state)
{
    static const char *const names[] = {NULL, "", " agents", "a\nb", "a\x7f", "\xff", "\xc3"};
    static const ac_store_verb_e without_owner[] = {
        AC_STORE_PING,          AC_STORE_PURGE,          AC_STORE_EXPORT_THREADS, AC_STORE_EXPORT_MESSAGES,
        AC_STORE_EXPORT_RUNS,   AC_STORE_IMPORT,         AC_STORE_AGENT_LIST,     AC_STORE_AGENT_PUT,
        AC_STORE_AGENT_DELETE,  AC_STORE_SUSPENDED_LIST, AC_STORE_USAGE_SUM_ALL,  AC_STORE_EXPORT_USAGE,
        AC_STORE_IMPORT_USAGE,  AC_STORE_FILE_SWEEP,     AC_STORE_EXPORT_FILES,   AC_STORE_IMPORT_FILES,
        AC_STORE_FEEDBACK_LIST, AC_STORE_QUEUED_LIST,    AC_STORE_WEBHOOK_DUE,
    };
    bool owned[AC_STORE_N_VERBS];
    (void)state;
    memset(owned, true, sizeof(owned));
    for (size_t i = 0; i < sizeof(without_owner) / sizeof(*without_owner); i++) {
        owned[without_owner[i]] = false;
    }
    for (int verb = 0; verb < AC_STORE_N_VERBS; verb++) {
        for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
            ac_store_op_t *op = ac_store_op_create((ac_store_verb_e)verb, names[i], "x");
            if (!op != owned[verb]) {
                fail_msg("%s with the owner '%s'", ac_store_verb_name((ac_store_verb_e)verb),
                         names[i] ? names[i] : "NULL");
            }
            ac_store_op_free(op);
        }
    }
}

static void test_every_verb_has_a_name(void **state)
{
    (void)state;
    for (int i = 0; i < AC_STORE_N_VERBS; i++) {
        assert_non_null(ac_store_verb_name((ac_store_verb_e)i));
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(ac_store_verb_name((ac_store_verb_e)i), ac_store_verb_name((ac_store_verb_e)k));
        }
    }
    assert_string_equal(ac_store_verb_name(AC_STORE_TURN_OPEN), "turn open");
    assert_string_equal(ac_store_verb_name(AC_STORE_N_VERBS), "unknown");
}

static void test_wait_gives_the_answer_back(void **state)
{
    (void)state;
    slow_t slow = {.store = {.vt = &slow_vt, .self = &slow}, .at_once = true};
    ac_err_t err;
    ac_err_init(&err);
    ac_store_op_t *op = ac_store_op_create(AC_STORE_PING, "me", NULL), *before = op;
    assert_int_equal(ac_store_wait(&slow.store, &op, apr_time_from_sec(30), &err), APR_SUCCESS);
    pthread_join(slow.thread, NULL);
    assert_ptr_equal(op, before);
    assert_true(op->deadline > 0);
    assert_non_null(op->out);
    ac_store_op_free(op);

    op = ac_store_op_create(AC_STORE_RUN_GET, "me", NULL);
    assert_int_equal(ac_store_wait(&slow.store, &op, apr_time_from_sec(30), &err), ac_err_row(AC_NOT_FOUND)->status);
    pthread_join(slow.thread, NULL);
    assert_int_equal(err.kind, AC_NOT_FOUND);
    assert_int_equal(op->err.kind, AC_NOT_FOUND);
    ac_store_op_free(op);
}

static void test_a_late_answer_is_discarded(void **state)
{
    (void)state;
    slow_t slow = {.store = {.vt = &slow_vt, .self = &slow}};
    ac_err_t err;
    ac_err_init(&err);
    ac_store_op_t *op = ac_store_op_create(AC_STORE_PING, "me", NULL);
    assert_int_equal(ac_store_wait(&slow.store, &op, apr_time_from_msec(5), &err),
                     ac_err_row(AC_STORE_TIMEOUT)->status);
    assert_null(op);
    assert_int_equal(err.kind, AC_STORE_TIMEOUT);
    assert_int_equal(slow.n_held, 1);
    answer_main(slow.held[0]); /* frees all of it: a sanitizer reports leaks */

    op = ac_store_op_create(AC_STORE_PING, "me", NULL);
    op->deadline = 1; /* the caller's own, earlier one is kept */
    assert_int_not_equal(ac_store_wait(&slow.store, &op, apr_time_from_msec(5), NULL), APR_SUCCESS);
    assert_int_equal(slow.held[1]->deadline, 1);
    answer_main(slow.held[1]);
}

typedef struct asked_t {
    ac_loop_t *loop;
    bool inside, on_loop;
    ac_store_op_t *answered;
} asked_t;

static void note_answer(ac_store_op_t *op)
{
    asked_t *asked = op->baton;
    assert_false(asked->inside);
    asked->on_loop = ac_loop_is_current(asked->loop);
    asked->answered = op;
    ac_loop_stop_post(asked->loop);
}

static void test_answer_comes_on_the_loop(void **state)
{
    (void)state;
    slow_t slow = {.store = {.vt = &slow_vt, .self = &slow}};
    asked_t asked = {.inside = true};
    assert_int_equal(ac_loop_create(&asked.loop, NULL), APR_SUCCESS);
    ac_store_op_t *op = ac_store_op_create(AC_STORE_PING, "me", NULL);
    ac_store_call_post(&slow.store, asked.loop, op, note_answer, &asked);
    answer_main(slow.held[0]);
    asked.inside = false;
    assert_null(asked.answered);
    ac_loop_run(asked.loop);
    assert_ptr_equal(asked.answered, op);
    assert_true(asked.on_loop);
    ac_store_op_free(op);
    ac_loop_destroy(asked.loop);
}

/* ---- spans ---- */

/* Asks a store for a run, and lets it answer. */
static void ask_traced(unsigned flags, ac_kind_e kind, json_t *out)
{
    ac_store_vt vt = slow_vt;
    slow_t slow = {.store = {.vt = &vt, .self = &slow, .name = "chat.db"}};
    ac_trace_t client = sink_client();
    asked_t asked = {.inside = false};
    vt.flags = flags;
    assert_int_equal(ac_loop_create(&asked.loop, NULL), APR_SUCCESS);
    ac_store_op_t *op = ac_store_op_create(AC_STORE_RUN_LIST, "me", "thread_1");
    ac_store_op_trace(op, &client);
    assert_string_equal(op->trace.state, "vendor=1");
    assert_ptr_not_equal(op->trace.state, client.state);
    ac_store_call_post(&slow.store, asked.loop, op, note_answer, &asked);
    op->out = out;
    op->status = kind ? ac_err_set(&op->err, kind, "no") : APR_SUCCESS;
    ac_store_done(op);
    ac_loop_run(asked.loop);
    ac_store_op_free(asked.answered);
    ac_loop_destroy(asked.loop);
}

static void test_an_operation_is_a_span(void **state)
{
    (void)state;
    ask_traced(0, AC_OK, json_pack("{s:[]}", "data"));
    sink_open(AC_CONTENT_NONE);
    ask_traced(0, AC_OK, json_pack("{s:[i, i]}", "data", 1, 2));
    assert_int_equal(sink_n, 1);
    const ac_span_t *span = sink_spans[0];
    assert_int_equal(span->what, AC_SPAN_STORE);
    assert_string_equal(span->name, "run_list chat.db");
    assert_string_equal(span->trace.trace_id, SINK_TRACE);
    assert_string_equal(span->parent_id, SINK_SPAN);
    assert_string_equal(sink_text(span, AC_ATTRIBUTE_DB_SYSTEM_NAME), "slow");
    assert_string_equal(sink_text(span, AC_ATTRIBUTE_DB_OPERATION_NAME), "run_list");
    assert_string_equal(sink_text(span, AC_ATTRIBUTE_DB_NAMESPACE), "chat.db");
    assert_int_equal(sink_integer(span, AC_ATTRIBUTE_DB_RESPONSE_RETURNED_ROWS), 2);
    assert_null(span->error);
    ask_traced(0, AC_NOT_FOUND, NULL);
    assert_null(sink_spans[1]->error);
    ask_traced(0, AC_STORE_ERROR, NULL);
    assert_string_equal(sink_spans[2]->error, "store_error");
    ask_traced(AC_STORE_SPANS, AC_OK, NULL);
    assert_int_equal(sink_n, 3);
    sink_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_operation_holds_its_inputs), cmocka_unit_test(test_no_verb_without_its_owner),
        cmocka_unit_test(test_every_verb_has_a_name),         cmocka_unit_test(test_wait_gives_the_answer_back),
        cmocka_unit_test(test_a_late_answer_is_discarded),    cmocka_unit_test(test_answer_comes_on_the_loop),
        cmocka_unit_test(test_an_operation_is_a_span),
    };
    int n_failed;

    apr_initialize();
    n_failed = cmocka_run_group_tests_name("store", tests, NULL, NULL);
    apr_terminate();
    return n_failed;
}
