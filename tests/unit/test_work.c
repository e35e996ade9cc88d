/* SPDX-License-Identifier: Apache-2.0 */
/* Work threads: every job runs once, results arrive on the loop, a full queue refuses, destroying finishes the
 * queued jobs. */
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
#include <signal.h>
#include <stdatomic.h>

#define JOBS 1000

typedef struct rig_t {
    ac_loop_t *loop;
    ac_work_t *work;
    atomic_int n_run;
    int n_done, n_wanted;
    bool off_loop; /* a done task came on another thread */
    bool on_loop;  /* a job came on the loop's thread */
    ac_latch_t *started, *go;
} rig_t;

static void rig_open(rig_t *rig, int n_threads, int max_queued)
{
    ac_err_t err;
    ac_err_init(&err);
    memset(rig, 0, sizeof(*rig));
    assert_int_equal(ac_loop_create(&rig->loop, &err), APR_SUCCESS);
    assert_int_equal(ac_work_create(&rig->work, rig->loop, n_threads, max_queued, &err), APR_SUCCESS);
    rig->started = ac_latch_create();
    rig->go = ac_latch_create();
}

static void rig_close(rig_t *rig)
{
    ac_work_destroy(rig->work);
    ac_loop_destroy(rig->loop);
    ac_latch_unref(rig->started);
    ac_latch_unref(rig->go);
}

static void job(void *baton)
{
    rig_t *rig = baton;
    if (ac_loop_is_current(rig->loop)) {
        rig->on_loop = true;
    }
    atomic_fetch_add(&rig->n_run, 1);
}

static void job_done(void *baton)
{
    rig_t *rig = baton;
    if (!ac_loop_is_current(rig->loop)) {
        rig->off_loop = true;
    }
    if (++rig->n_done == rig->n_wanted) {
        ac_loop_stop_post(rig->loop);
    }
}

static void blocking_job(void *baton)
{
    rig_t *rig = baton;
    ac_latch_open(rig->started);
    ac_latch_wait(rig->go, ac_clock() + apr_time_from_sec(20));
    atomic_fetch_add(&rig->n_run, 1);
}

static void test_work_runs_all(void **state)
{
    (void)state;
    rig_t rig;
    rig_open(&rig, 4, JOBS);
    rig.n_wanted = JOBS;
    for (int i = 0; i < JOBS; i++) {
        assert_int_equal(ac_work_post(rig.work, job, job_done, &rig), APR_SUCCESS);
    }
    ac_loop_run(rig.loop);
    assert_int_equal(atomic_load(&rig.n_run), JOBS);
    assert_int_equal(rig.n_done, JOBS);
    assert_false(rig.off_loop);
    assert_false(rig.on_loop);
    rig_close(&rig);
}

static void test_work_full_queue(void **state)
{
    (void)state;
    rig_t rig;
    rig_open(&rig, 1, 3);
    assert_int_equal(ac_work_post(rig.work, blocking_job, NULL, &rig), APR_SUCCESS);
    assert_true(ac_latch_wait(rig.started, ac_clock() + apr_time_from_sec(20)));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ac_work_post(rig.work, job, NULL, &rig), APR_SUCCESS);
    }
    assert_int_equal(ac_work_post(rig.work, job, NULL, &rig), APR_EAGAIN);
    assert_int_equal(atomic_load(&rig.n_run), 0);
    ac_latch_open(rig.go);
    ac_work_destroy(rig.work); /* finishes the four, not the refused one */
    rig.work = NULL;
    assert_int_equal(atomic_load(&rig.n_run), 4);
    rig_close(&rig);
}

static void test_work_several_at_once(void **state)
{
    (void)state;
    rig_t rig;
    rig_open(&rig, 2, 8);
    assert_int_equal(ac_work_post(rig.work, blocking_job, NULL, &rig), APR_SUCCESS);
    rig.n_wanted = 1;
    assert_int_equal(ac_work_post(rig.work, job, job_done, &rig), APR_SUCCESS);
    ac_loop_run(rig.loop); /* returns though the first job still blocks */
    assert_int_equal(rig.n_done, 1);
    assert_int_equal(atomic_load(&rig.n_run), 1);
    ac_latch_open(rig.go);
    rig_close(&rig);
    assert_int_equal(atomic_load(&rig.n_run), 2);
}

static void look_at_signals(void *baton)
{
    sigset_t *mask = baton;
    pthread_sigmask(SIG_SETMASK, NULL, mask);
}

static void test_work_blocks_signals(void **state)
{
    (void)state;
    rig_t rig;
    sigset_t mask, ours;
    sigemptyset(&mask);
    rig_open(&rig, 1, 1);
    assert_int_equal(ac_work_post(rig.work, look_at_signals, NULL, &mask), APR_SUCCESS);
    rig_close(&rig);
    assert_true(sigismember(&mask, SIGTERM));
    assert_true(sigismember(&mask, SIGHUP));
    assert_true(sigismember(&mask, SIGUSR1));
    pthread_sigmask(SIG_SETMASK, NULL, &ours);
    assert_false(sigismember(&ours, SIGTERM));
}

static void test_work_refuses_nonsense(void **state)
{
    (void)state;
    ac_work_t *work;
    ac_err_t err;
    ac_err_init(&err);
    assert_int_not_equal(ac_work_create(&work, NULL, 0, 10, &err), APR_SUCCESS);
    assert_int_equal(err.kind, AC_INTERNAL);
    assert_null(work);
    assert_int_not_equal(ac_work_create(&work, NULL, 1, 0, NULL), APR_SUCCESS);
    ac_work_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_work_runs_all),         cmocka_unit_test(test_work_full_queue),
        cmocka_unit_test(test_work_several_at_once),  cmocka_unit_test(test_work_blocks_signals),
        cmocka_unit_test(test_work_refuses_nonsense),
    };
    return cmocka_run_group_tests_name("work", tests, NULL, NULL);
}
