/* SPDX-License-Identifier: Apache-2.0 */
/* Watched descriptors: events, changes, and events that arrive after a watch was removed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "own_loop.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

typedef struct pipe_t {
    int ends[2];
    ac_watch_t watch;
    struct pipe_t *victim; /* cancelled when this one's event comes */
    uint32_t seen;
    int n_events;
} pipe_t;

static void pipe_open(pipe_t *pipe, void (*fn)(void *baton, uint32_t events))
{
    memset(pipe, 0, sizeof(*pipe));
    assert_int_equal(pipe2(pipe->ends, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(ac_loop_watch_set(loop, &pipe->watch, pipe->ends[0], EPOLLIN, fn, pipe), APR_SUCCESS);
}

static void pipe_fill(pipe_t *pipe)
{
    assert_int_equal(write(pipe->ends[1], "x", 1), 1);
}

static void pipe_close(pipe_t *pipe)
{
    ac_loop_watch_cancel(loop, &pipe->watch);
    close(pipe->ends[0]);
    if (pipe->ends[1] >= 0) {
        close(pipe->ends[1]);
    }
}

static void on_pipe(void *baton, uint32_t events)
{
    pipe_t *pipe = baton;
    char byte;
    pipe->seen |= events;
    pipe->n_events++;
    if (read(pipe->ends[0], &byte, 1) < 0) {
        pipe->seen |= EPOLLERR;
    }
    ac_loop_post(loop, stop, NULL);
}

static void test_watch_event(void **state)
{
    (void)state;
    pipe_t pipe;
    pipe_open(&pipe, on_pipe);
    pipe_fill(&pipe);
    ac_loop_run(loop);
    assert_int_equal(pipe.n_events, 1);
    assert_int_equal(pipe.seen, EPOLLIN);
    pipe_close(&pipe);
}

static void test_watch_hangup(void **state)
{
    (void)state;
    pipe_t pipe;
    pipe_open(&pipe, on_pipe);
    close(pipe.ends[1]);
    pipe.ends[1] = -1;
    ac_loop_run(loop);
    assert_true(pipe.seen & EPOLLHUP);
    pipe_close(&pipe);
}

static pipe_t reborn;

static void on_pipe_kill(void *baton, uint32_t events)
{
    pipe_t *pipe = baton;
    on_pipe(pipe, events);
    if (!pipe->victim->watch.slot) {
        return;
    }
    /* Gone, closed, and its slot and descriptor number taken by another, all while its event is in this turn's list. */
    pipe_close(pipe->victim);
    pipe_open(&reborn, on_pipe);
}

static void test_watch_stale_event(void **state)
{
    (void)state;
    pipe_t a, b;
    pipe_open(&a, on_pipe_kill);
    pipe_open(&b, on_pipe_kill);
    a.victim = &b;
    b.victim = &a;
    pipe_fill(&a);
    pipe_fill(&b);
    ac_loop_run(loop);
    assert_int_equal(a.n_events + b.n_events, 1);
    assert_int_equal(reborn.n_events, 0);
    pipe_close(a.n_events ? &a : &b);
    pipe_close(&reborn);
}

#define PIPES 700

static int n_pipes_seen;

static void on_pipe_count(void *baton, uint32_t events)
{
    pipe_t *pipe = baton;
    char byte;
    pipe->seen |= events;
    pipe->n_events++;
    if (read(pipe->ends[0], &byte, 1) == 1 && ++n_pipes_seen == PIPES) {
        ac_loop_stop_post(loop);
    }
}

/* More descriptors than a turn takes, in more slots than the table begins with. */
static void test_watch_many(void **state)
{
    (void)state;
    pipe_t *pipes = calloc(PIPES, sizeof(*pipes));
    n_pipes_seen = 0;
    for (int i = 0; i < PIPES; i++) {
        pipe_open(&pipes[i], on_pipe_count);
        pipe_fill(&pipes[i]);
    }
    ac_loop_run(loop);
    for (int i = 0; i < PIPES; i++) {
        assert_int_equal(pipes[i].n_events, 1);
        pipe_close(&pipes[i]);
    }
    free(pipes);
}

static void test_watch_changes(void **state)
{
    (void)state;
    pipe_t pipe, other;
    pipe_open(&pipe, on_pipe);
    pipe_open(&other, on_pipe);
    ac_loop_watch_cancel(loop, &other.watch);
    ac_loop_watch_cancel(loop, &other.watch);
    pipe_fill(&pipe);
    /* Nothing asked for: the byte does not show. */
    assert_int_equal(ac_loop_watch_set(loop, &pipe.watch, pipe.ends[0], 0, on_pipe, &pipe), APR_SUCCESS);
    ac_timer_t end = {0};
    ac_timer_set(loop, &end, ac_clock() + 2000, stop, NULL);
    ac_loop_run(loop);
    assert_int_equal(pipe.n_events, 0);
    pipe_close(&pipe);
    pipe_close(&other);
    /* An invalid descriptor. */
    ac_watch_t watch = {0};
    assert_int_not_equal(ac_loop_watch_set(loop, &watch, -1, EPOLLIN, on_pipe, &pipe), APR_SUCCESS);
    assert_int_equal(watch.slot, 0);
}

static void look_once(void *baton)
{
    pipe_t *pipe = baton;
    assert_int_equal(pipe->n_events, 1); /* a second byte waits, but it was asked once only */
    assert_int_equal(ac_loop_watch_set(loop, &pipe->watch, pipe->ends[0], EPOLLIN | EPOLLONESHOT, pipe->watch.fn, pipe),
                     APR_SUCCESS);
}

static void on_pipe_once(void *baton, uint32_t events)
{
    static ac_timer_t timer;
    pipe_t *pipe = baton;
    char byte;
    pipe->seen |= events;
    assert_int_equal(read(pipe->ends[0], &byte, 1), 1);
    if (++pipe->n_events == 2) {
        ac_loop_stop_post(loop);
    } else {
        ac_timer_set(loop, &timer, ac_clock() + 2000, look_once, pipe);
    }
}

static void test_watch_oneshot(void **state)
{
    (void)state;
    pipe_t pipe;
    pipe_open(&pipe, on_pipe_once);
    assert_int_equal(ac_loop_watch_set(loop, &pipe.watch, pipe.ends[0], EPOLLIN | EPOLLONESHOT, on_pipe_once, &pipe),
                     APR_SUCCESS);
    pipe_fill(&pipe);
    pipe_fill(&pipe);
    ac_loop_run(loop);
    assert_int_equal(pipe.n_events, 2);
    pipe_close(&pipe);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_watch_event), TEST(test_watch_hangup),  TEST(test_watch_stale_event),
        TEST(test_watch_many),  TEST(test_watch_changes), TEST(test_watch_oneshot),
    };
    return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
