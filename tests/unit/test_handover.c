/* SPDX-License-Identifier: Apache-2.0 */
/* A handover is answered or abandoned, never both; the second side owns it alone, and sees all earlier writes. */
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

#define ROUNDS 2000
#define PATIENCE apr_time_from_sec(20)

typedef struct question_t {
    ac_handover_t handover;
    char *answer; /* plain memory: only the handover orders its readers */
} question_t;

static question_t *question_make(void)
{
    question_t *question = ac_alloc(sizeof(*question));
    ac_handover_begin(&question->handover);
    return question;
}

static void question_free(question_t *question)
{
    free(question->answer);
    free(question);
}

/* The loop's side: whether it has to free it, and does. */
static bool answer(question_t *question)
{
    question->answer = strdup("yes");
    if (ac_handover_answer(&question->handover)) {
        return false;
    }
    question_free(question);
    return true;
}

static void *answer_once(void *baton)
{
    assert_false(answer(baton));
    return NULL;
}

static void test_an_answer_in_time(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        pthread_t thread;
        question_t *question = question_make();
        assert_int_equal(pthread_create(&thread, NULL, answer_once, question), 0);
        assert_true(ac_handover_wait(&question->handover, ac_clock() + PATIENCE));
        assert_string_equal(question->answer, "yes");
        question_free(question); /* while the other side may still be leaving */
        pthread_join(thread, NULL);
    }
}

static void test_an_answer_before_anybody_waits(void **state)
{
    (void)state;
    question_t *question = question_make();
    assert_false(answer(question));
    assert_true(ac_handover_wait(&question->handover, 0));
    assert_string_equal(question->answer, "yes");
    question_free(question);
}

static void test_an_abandoned_answer(void **state)
{
    (void)state;
    question_t *question = question_make();
    assert_false(ac_handover_wait(&question->handover, ac_clock() + 1000));
    assert_true(answer(question));
}

typedef struct race_t {
    pthread_barrier_t start;
    question_t *question;
    bool freed;
} race_t;

static void *answer_at_once(void *baton)
{
    race_t *race = baton;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(&race->start);
        race->freed = answer(race->question);
        pthread_barrier_wait(&race->start);
    }
    return NULL;
}

/* Both at once: each round one side frees it, and the other knows. */
static void test_answer_and_giving_up_at_once(void **state)
{
    (void)state;
    race_t race;
    pthread_t thread;
    assert_int_equal(pthread_barrier_init(&race.start, NULL, 2), 0);
    assert_int_equal(pthread_create(&thread, NULL, answer_at_once, &race), 0);
    for (int i = 0; i < ROUNDS; i++) {
        question_t *question = race.question = question_make();
        pthread_barrier_wait(&race.start);
        bool mine = ac_handover_wait(&question->handover, ac_clock() + i % 20);
        if (mine) {
            assert_string_equal(question->answer, "yes");
            question_free(question);
        }
        pthread_barrier_wait(&race.start);
        assert_int_equal(race.freed, !mine);
    }
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&race.start);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_answer_in_time),
        cmocka_unit_test(test_an_answer_before_anybody_waits),
        cmocka_unit_test(test_an_abandoned_answer),
        cmocka_unit_test(test_answer_and_giving_up_at_once),
    };
    return cmocka_run_group_tests_name("handover", tests, NULL, NULL);
}
