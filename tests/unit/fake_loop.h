/* SPDX-License-Identifier: Apache-2.0 */
/* A loop without threads and with a clock that only the test moves, in place of io/loop.c and io/work.c. Included by
 * the one test that links against it. */
#ifndef AC_FAKE_LOOP_H
#define AC_FAKE_LOOP_H

#include "io/io.h"

typedef struct fake_task_t {
    ac_task_fn *fn;
    void *baton;
} fake_task_t;
typedef struct fake_job_t {
    ac_task_fn *fn, *done;
    void *baton;
} fake_job_t;

static struct {
    apr_time_t now;
    ac_timer_t *timers[64];
    int n_timers;
    ac_ready_t *ready[64];
    int n_ready;
    fake_task_t posted[64];
    int n_posted;
    fake_job_t jobs[16];
    int n_jobs;
    bool work_full;
} fake;

apr_time_t ac_loop_now(const ac_loop_t *loop)
{
    (void)loop;
    return fake.now;
}

void ac_timer_cancel(ac_loop_t *loop, ac_timer_t *timer)
{
    (void)loop;
    for (int i = 0; i < fake.n_timers; i++) {
        if (fake.timers[i] == timer) {
            fake.timers[i--] = fake.timers[--fake.n_timers];
        }
    }
    timer->slot = 0;
}

void ac_timer_set(ac_loop_t *loop, ac_timer_t *timer, apr_time_t due, ac_task_fn *fn, void *baton)
{
    ac_timer_cancel(loop, timer);
    timer->due = due;
    timer->fn = fn;
    timer->baton = baton;
    timer->slot = 1;
    assert_true(fake.n_timers < 64);
    fake.timers[fake.n_timers++] = timer;
}

void ac_loop_ready_cancel(ac_loop_t *loop, ac_ready_t *ready)
{
    (void)loop;
    for (int i = 0; i < fake.n_ready; i++) {
        if (fake.ready[i] != ready) {
            continue;
        }
        memmove(fake.ready + i, fake.ready + i + 1, (size_t)(fake.n_ready - i - 1) * sizeof *fake.ready);
        fake.n_ready--;
        i--;
    }
    ready->queued = false;
}

void ac_loop_ready_set(ac_loop_t *loop, ac_ready_t *ready, ac_task_fn *fn, void *baton)
{
    (void)loop;
    if (ready->queued) {
        return;
    }
    ready->fn = fn;
    ready->baton = baton;
    ready->queued = true;
    assert_true(fake.n_ready < 64);
    fake.ready[fake.n_ready++] = ready;
}

void ac_loop_post(ac_loop_t *loop, ac_task_fn *fn, void *baton)
{
    (void)loop;
    assert_true(fake.n_posted < 64);
    fake.posted[fake.n_posted++] = (fake_task_t){fn, baton};
}

bool ac_loop_is_current(const ac_loop_t *loop)
{
    (void)loop;
    return true;
}

apr_status_t ac_work_post(ac_work_t *work, ac_task_fn *fn, ac_task_fn *done, void *baton)
{
    (void)work;
    if (fake.work_full) {
        return APR_EAGAIN;
    }
    fake.jobs[fake.n_jobs++] = (fake_job_t){fn, done, baton};
    return APR_SUCCESS;
}

/* A test makes a descriptor ready by calling its watch function. */
apr_status_t ac_loop_watch_set(ac_loop_t *loop, ac_watch_t *watch, int fd, uint32_t events,
                               void (*fn)(void *baton, uint32_t events), void *baton)
{
    (void)loop;
    *watch = (ac_watch_t){.fd = fd, .events = events, .fn = fn, .baton = baton, .slot = 1};
    return APR_SUCCESS;
}

void ac_loop_watch_cancel(ac_loop_t *loop, ac_watch_t *watch)
{
    (void)loop;
    watch->slot = 0;
}

/* Runs what is posted and ready, until nothing is left to do now. */
static void fake_turn(void)
{
    while (fake.n_posted || fake.n_ready) {
        if (fake.n_posted) {
            fake_task_t task = fake.posted[0];
            memmove(fake.posted, fake.posted + 1, (size_t)--fake.n_posted * sizeof *fake.posted);
            task.fn(task.baton);
        } else {
            ac_ready_t *ready = fake.ready[0];
            ac_loop_ready_cancel(NULL, ready);
            ready->fn(ready->baton);
        }
    }
}

/* Lets time pass: fires what falls due, in order. */
static void fake_pass(apr_interval_time_t span)
{
    apr_time_t end = fake.now + span;
    for (;;) {
        ac_timer_t *next = NULL;
        for (int i = 0; i < fake.n_timers; i++) {
            if (fake.timers[i]->due <= end && (!next || fake.timers[i]->due < next->due)) {
                next = fake.timers[i];
            }
        }
        if (!next) {
            break;
        }
        fake.now = next->due;
        ac_timer_cancel(NULL, next);
        next->fn(next->baton);
        fake_turn();
    }
    fake.now = end;
}

/* The work threads do what they were given; the answers come back. */
static void fake_work(void)
{
    while (fake.n_jobs) {
        fake_job_t job = fake.jobs[--fake.n_jobs];
        job.fn(job.baton);
        if (job.done) {
            ac_loop_post(NULL, job.done, job.baton);
        }
    }
    fake_turn();
}

#endif
