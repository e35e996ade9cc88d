/* SPDX-License-Identifier: Apache-2.0 */
/* A latch opens for the waiter, times out, and outlives the side that leaves first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "io/io.h"

#include <pthread.h>

static void *open_and_leave(void *baton)
{
    ac_latch_open(baton);
    ac_latch_unref(baton);
    return NULL;
}

static void test_latch_opens(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        pthread_t thread;
        ac_latch_t *latch = ac_latch_create();
        assert_non_null(latch);
        ac_latch_ref(latch);
        assert_int_equal(pthread_create(&thread, NULL, open_and_leave, latch), 0);
        assert_true(ac_latch_wait(latch, ac_clock() + apr_time_from_sec(20)));
        assert_true(ac_latch_wait(latch, 0));
        ac_latch_unref(latch);
        pthread_join(thread, NULL);
    }
}

static void test_latch_times_out(void **state)
{
    (void)state;
    ac_latch_t *latch = ac_latch_create();
    apr_time_t before = ac_clock();
    assert_false(ac_latch_wait(latch, before + 20000));
    assert_true(ac_clock() - before >= 20000);
    assert_false(ac_latch_wait(latch, 0));
    assert_false(ac_latch_wait(latch, -5));
    ac_latch_open(latch);
    assert_true(ac_latch_wait(latch, 0));
    ac_latch_unref(latch);
}

static void test_latch_late_answer(void **state)
{
    (void)state;
    pthread_t thread;
    ac_latch_t *latch = ac_latch_create();
    ac_latch_ref(latch);
    assert_false(ac_latch_wait(latch, ac_clock() + 1000));
    ac_latch_unref(latch); /* the waiter stops waiting; the answer arrives nevertheless */
    assert_int_equal(pthread_create(&thread, NULL, open_and_leave, latch), 0);
    pthread_join(thread, NULL);
}

typedef struct waiters_t {
    ac_latch_t *latch;
    int n_open;
    pthread_mutex_t lock;
} waiters_t;

static void *wait_long(void *baton)
{
    waiters_t *waiters = baton;
    bool open = ac_latch_wait(waiters->latch, ac_clock() + apr_time_from_sec(20));
    pthread_mutex_lock(&waiters->lock);
    waiters->n_open += open;
    pthread_mutex_unlock(&waiters->lock);
    return NULL;
}

static void test_latch_many_waiters(void **state)
{
    (void)state;
    waiters_t waiters = {ac_latch_create(), 0, PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, wait_long, &waiters), 0);
    }
    ac_latch_open(waiters.latch);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(waiters.n_open, 4);
    ac_latch_unref(waiters.latch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_latch_opens),
        cmocka_unit_test(test_latch_times_out),
        cmocka_unit_test(test_latch_late_answer),
        cmocka_unit_test(test_latch_many_waiters),
    };
    return cmocka_run_group_tests_name("latch", tests, NULL, NULL);
}
