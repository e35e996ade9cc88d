/* SPDX-License-Identifier: Apache-2.0 */
/* The loop: posted commands, timers, ready tasks, and how they share a turn. */
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
#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

/* ---- posted commands ---- */

#define POSTERS 4
#define POSTS 5000

typedef struct post_t {
    struct poster_t *poster;
    int number;
} post_t;

typedef struct poster_t {
    pthread_t thread;
    post_t posts[POSTS];
    int n_run, n_wrong;
} poster_t;

static int n_posts_run;

static void take_post(void *baton)
{
    post_t *post = baton;
    post->poster->n_wrong += post->number != post->poster->n_run || !ac_loop_is_current(loop);
    post->poster->n_run++;
    if (++n_posts_run == POSTERS * POSTS) {
        ac_loop_stop_post(loop);
    }
}

static void *post_all(void *baton)
{
    poster_t *poster = baton;
    for (int i = 0; i < POSTS; i++) {
        poster->posts[i] = (post_t){poster, i};
        ac_loop_post(loop, take_post, &poster->posts[i]);
    }
    return NULL;
}

static void test_loop_posts_from_threads(void **state)
{
    (void)state;
    poster_t *posters = calloc(POSTERS, sizeof(*posters));
    n_posts_run = 0;
    for (int i = 0; i < POSTERS; i++) {
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_all, &posters[i]), 0);
    }
    assert_false(ac_loop_is_current(loop));
    ac_loop_run(loop);
    assert_false(ac_loop_is_current(loop));
    for (int i = 0; i < POSTERS; i++) {
        pthread_join(posters[i].thread, NULL);
        assert_int_equal(posters[i].n_run, POSTS);
        assert_int_equal(posters[i].n_wrong, 0);
    }
    free(posters);
}

static char trace[64];

static void note(void *baton)
{
    const char *text = baton;
    strncat(trace, text, sizeof(trace) - strlen(trace) - 1);
}

static void post_two(void *baton)
{
    note(baton);
    ac_loop_post(loop, note, "c");
    ac_loop_post(loop, stop, NULL);
}

static void test_loop_posts_before_run(void **state)
{
    (void)state;
    trace[0] = '\0';
    ac_loop_post(loop, note, "a");
    ac_loop_post(loop, post_two, "b");
    ac_loop_run(loop);
    assert_string_equal(trace, "abc");
}

static void post_later(void *baton)
{
    note(baton);
    ac_loop_post_later(loop, note, "c");
    ac_loop_post_later(loop, stop, NULL);
}

/* The loop looks at all that is posted before it sleeps. */
static void test_loop_posts_later(void **state)
{
    (void)state;
    trace[0] = '\0';
    ac_loop_post_later(loop, note, "a");
    ac_loop_post(loop, post_later, "b");
    ac_loop_run(loop);
    assert_string_equal(trace, "abc");
}

static void open_latch(void *baton)
{
    ac_latch_open(baton);
}

typedef struct later_t {
    ac_latch_t *asleep;
    bool ran;
} later_t;

static void later_runs(void *baton)
{
    ((later_t *)baton)->ran = true;
}

static void *post_later_then_wake(void *baton)
{
    later_t *later = baton;
    ac_latch_wait(later->asleep, ac_clock() + apr_time_from_sec(20));
    ac_loop_post_later(loop, later_runs, later);
    ac_loop_post(loop, stop, NULL);
    return NULL;
}

/* What is posted to a sleeping loop runs when another post wakes it. */
static void test_loop_post_later_waits(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        pthread_t thread;
        later_t later = {.asleep = ac_latch_create()};
        assert_int_equal(pthread_create(&thread, NULL, post_later_then_wake, &later), 0);
        ac_loop_post(loop, open_latch, later.asleep);
        ac_loop_run(loop);
        pthread_join(thread, NULL);
        assert_true(later.ran);
        ac_latch_unref(later.asleep);
        tear_down(NULL);
        assert_int_equal(set_up(NULL), 0);
    }
}

static void *wake_later(void *baton)
{
    ac_latch_t *asleep = baton;
    ac_latch_wait(asleep, ac_clock() + apr_time_from_sec(20));
    ac_loop_post(loop, stop, NULL);
    return NULL;
}

/* With nothing to wait for the loop sleeps without end; each post has to wake it. */
static void test_loop_post_wakes(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        pthread_t thread;
        ac_latch_t *asleep = ac_latch_create();
        assert_int_equal(pthread_create(&thread, NULL, wake_later, asleep), 0);
        ac_loop_post(loop, open_latch, asleep);
        ac_loop_run(loop);
        pthread_join(thread, NULL);
        ac_latch_unref(asleep);
        tear_down(NULL);
        assert_int_equal(set_up(NULL), 0);
    }
}

static void test_loop_destroy_drops_posts(void **state)
{
    (void)state;
    trace[0] = '\0';
    ac_loop_stop_post(loop);
    ac_loop_run(loop);
    ac_loop_post(loop, note, "x");
    tear_down(NULL);
    assert_string_equal(trace, "");
    assert_int_equal(set_up(NULL), 0);
}

/* ---- timers ---- */

#define TIMERS 3000

typedef struct mark_t {
    ac_timer_t timer;
    apr_time_t wanted;
    bool fired;
} mark_t;

static mark_t marks[TIMERS];
static apr_time_t last_due;
static int n_fired, n_early, n_disordered;

static void fire(void *baton)
{
    mark_t *mark = baton;
    n_early += ac_loop_now(loop) < mark->wanted || ac_clock() < mark->wanted;
    n_disordered += mark->wanted < last_due;
    last_due = mark->wanted;
    mark->fired = true;
    n_fired++;
}

static uint32_t next_number(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* Sets, moves and cancels thousands of timers: those left fire in order, none early. */
static void test_loop_timers_in_order(void **state)
{
    (void)state;
    uint32_t seed = 7;
    int n_set = 0;
    apr_time_t start = ac_clock();
    memset(marks, 0, sizeof(marks));
    last_due = n_fired = n_early = n_disordered = 0;
    for (int i = 0; i < TIMERS * 4; i++) {
        mark_t *mark = &marks[next_number(&seed) % TIMERS];
        if (next_number(&seed) % 4 == 0) {
            ac_timer_cancel(loop, &mark->timer);
            assert_int_equal(mark->timer.slot, 0);
        } else {
            mark->wanted = start + next_number(&seed) % 50000;
            ac_timer_set(loop, &mark->timer, mark->wanted, fire, mark);
        }
    }
    for (int i = 0; i < TIMERS; i++) {
        n_set += marks[i].timer.slot != 0;
    }
    assert_in_range(n_set, TIMERS / 4, TIMERS);
    ac_timer_t end = {0};
    ac_timer_set(loop, &end, start + 60000, stop, NULL);
    ac_loop_run(loop);
    assert_int_equal(n_fired, n_set);
    assert_int_equal(n_early, 0);
    assert_int_equal(n_disordered, 0);
}

static ac_timer_t again;
static int n_again;

static void set_again(void *baton)
{
    (void)baton;
    if (++n_again == 50) {
        ac_loop_stop_post(loop);
    } else {
        ac_timer_set(loop, &again, 0, set_again, NULL);
    }
}

static void test_loop_timer_sets_itself(void **state)
{
    (void)state;
    n_again = 0;
    trace[0] = '\0';
    ac_timer_set(loop, &again, -1, set_again, NULL);
    assert_int_equal(n_again, 0);
    ac_loop_post(loop, note, "p"); /* a timer that is always due does not starve a command */
    ac_loop_run(loop);
    assert_int_equal(n_again, 50);
    assert_string_equal(trace, "p");
}

static ac_timer_t first, second;

static void cancel_second(void *baton)
{
    note(baton);
    ac_timer_cancel(loop, &second);
    ac_timer_cancel(loop, &first); /* itself: not set any more */
    ac_loop_post(loop, stop, NULL);
}

static void test_loop_timer_cancels_another(void **state)
{
    (void)state;
    trace[0] = '\0';
    apr_time_t now = ac_clock();
    ac_timer_set(loop, &first, now, cancel_second, "1");
    ac_timer_set(loop, &second, now + 1, note, "2");
    ac_loop_run(loop);
    assert_string_equal(trace, "1");
}

/* A timer is waited for with the clock's precision, not in whole milliseconds. */
static void test_loop_timer_wakes_sleeper(void **state)
{
    (void)state;
    ac_timer_t timer = {0};
    apr_time_t due = ac_clock() + 30000;
    ac_timer_set(loop, &timer, due, stop, NULL);
    ac_loop_run(loop);
    assert_true(ac_clock() >= due);
    assert_true(ac_loop_now(loop) >= due);
}

/* ---- ready tasks ---- */

static ac_ready_t ready_a, ready_b, ready_c;
static apr_time_t ready_time;

static void ready_same_turn(void *baton)
{
    note(baton);
    assert_int_equal(ac_loop_now(loop), ready_time);
}

static void set_ready_c(void *baton)
{
    ready_same_turn(baton);
    ac_loop_ready_set(loop, &ready_c, ready_same_turn, "c");
}

static void set_ready(void *baton)
{
    (void)baton;
    ready_time = ac_loop_now(loop);
    ac_loop_ready_set(loop, &ready_a, set_ready_c, "a");
    ac_loop_ready_set(loop, &ready_b, note, "b");
    ac_loop_ready_set(loop, &ready_a, note, "again");
    ac_loop_ready_cancel(loop, &ready_b);
    ac_loop_ready_cancel(loop, &ready_b);
    assert_string_equal(trace, "");
    ac_loop_stop_post(loop);
    ac_loop_post(loop, stop, NULL);
}

static void test_loop_ready_same_turn(void **state)
{
    (void)state;
    trace[0] = '\0';
    ac_loop_post(loop, set_ready, NULL);
    ac_loop_run(loop);
    assert_string_equal(trace, "ac");
}

static int n_spins;

static void spin(void *baton)
{
    (void)baton;
    n_spins++;
    ac_loop_ready_set(loop, &ready_a, spin, NULL);
}

static void stop_on_event(void *baton, uint32_t events)
{
    (void)baton;
    (void)events;
    ac_loop_stop_post(loop);
}

/* A task that always sets itself leaves room for descriptors. */
static void test_loop_ready_bounded(void **state)
{
    (void)state;
    int ends[2];
    ac_watch_t watch = {0};
    n_spins = 0;
    memset(&ready_a, 0, sizeof(ready_a));
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_int_equal(ac_loop_watch_set(loop, &watch, ends[0], EPOLLIN, stop_on_event, NULL), APR_SUCCESS);
    ac_loop_ready_set(loop, &ready_a, spin, NULL);
    ac_loop_run(loop);
    assert_in_range(n_spins, 1, 1000);
    ac_loop_ready_cancel(loop, &ready_a);
    ac_loop_watch_cancel(loop, &watch);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_loop_posts_from_threads),  TEST(test_loop_posts_before_run),  TEST(test_loop_post_wakes),
        TEST(test_loop_posts_later),         TEST(test_loop_post_later_waits),  TEST(test_loop_destroy_drops_posts),
        TEST(test_loop_timers_in_order),     TEST(test_loop_timer_sets_itself), TEST(test_loop_timer_cancels_another),
        TEST(test_loop_timer_wakes_sleeper), TEST(test_loop_ready_same_turn),   TEST(test_loop_ready_bounded),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
