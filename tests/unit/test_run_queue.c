/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of several owners that wait for a slot: of their process, and of a model. */
#include "run_gates.h"

static void start_for(int i, const char *owner)
{
    memset(&runs[i], 0, sizeof runs[i]);
    runs[i].follower.on_event = on_run_event;
    ac_turn_t *turn = new_turn("x");
    apr_cpystrn(turn->owner, owner, sizeof turn->owner);
    apr_cpystrn(runs[i].id, turn->run_id, sizeof runs[i].id);
    ac_run_start(engine, turn, &runs[i].follower);
    fake_turn();
}

/* The model's slots are what is short. */
static void limit_model(int n_runs, int n_queued)
{
    first_gate = (ac_gate_conf_t){.max_runs = n_runs, .max_queued = n_queued, .wait = 5000000};
    engine->conf.max_runs = engine->queue.max_per_owner = 100;
}

/* The slots of this process are. */
static void limit_process(int n_runs, int n_queued)
{
    engine->conf.max_runs = n_runs;
    engine->conf.max_queued = n_queued;
    engine->queue.max_per_owner = n_runs - n_runs / 4;
}

/* The one run that the model answers ends; the next one is asked about, if any waits. */
static void end_one(void)
{
    open_well();
    end_well();
    json_decref(close_well());
}

/* Which of the runs has ended since the last call; the only one. */
static int ended(void)
{
    static bool known[8];
    int found = -1;
    for (int i = 0; i < 8; i++) {
        bool over = runs[i].n_events && (runs[i].type == AC_EVENT_DONE || runs[i].type == AC_EVENT_ERROR);
        if (over && !known[i]) {
            assert_int_equal(found, -1);
            found = i;
        }
        known[i] = over;
    }
    return found;
}

static int setup_queue(void **state)
{
    memset(runs, 0, sizeof runs);
    ended();
    return setup_gates(state);
}

static void test_owners_take_turns(void **state)
{
    (void)state;
    static const int order[] = {0, 1, 4, 6, 2, 5, 3};
    limit_model(1, 10);
    for (int i = 0; i < 4; i++) {
        start_for(i, "ann");
    }
    start_for(4, "bob");
    start_for(5, "bob");
    start_for(6, "cid");
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        end_one();
        assert_int_equal(ended(), order[i]);
    }
}

static void test_a_full_queue_has_room_for_another_owner(void **state)
{
    (void)state;
    limit_model(1, 3);
    for (int i = 0; i < 4; i++) {
        start_for(i, "ann");
    }
    assert_int_equal(ended(), -1);
    start_for(4, "bob");
    assert_int_equal(ended(), 3); /* the newest of the owner with most of the queue */
    assert_int_equal(runs[3].kind, AC_OVERLOADED);
    assert_true(runs[3].retry_after >= APR_USEC_PER_SEC);
    start_for(5, "bob");
    assert_int_equal(ended(), 5); /* with it, bob would have as much as ann */
    start_for(6, "ann");
    assert_int_equal(ended(), 6);
    static const int order[] = {0, 1, 4, 2};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        end_one();
        assert_int_equal(ended(), order[i]);
    }
}

static void test_a_displaced_run_asks_the_fallback(void **state)
{
    (void)state;
    limit_model(1, 2);
    first_gate.fallback = &second_model;
    for (int i = 0; i < 3; i++) {
        start_for(i, "ann");
    }
    start_for(3, "bob");
    assert_int_equal(second.n_asked, 1);
    assert_int_equal(ended(), -1);
    open_well();
    open_well(); /* both that are asked about */
    other_ends(&second, AC_OK);
    json_decref(close_well());
    assert_int_equal(ended(), 2);
    end_well();
    json_decref(close_well());
    assert_int_equal(ended(), 0);
    end_one();
    assert_int_equal(ended(), 1);
    end_one();
    assert_int_equal(ended(), 3);
}

static void test_anonymous_clients_are_distinguished_by_address(void **state)
{
    (void)state;
    limit_model(1, 2);
    for (int i = 0; i < 4; i++) {
        ac_subject_t who = {.address = i < 3 ? "192.0.2.1" : "192.0.2.2"};
        memset(&runs[i], 0, sizeof runs[i]);
        runs[i].follower.on_event = on_run_event;
        ac_turn_t *turn = new_turn("x");
        turn->quota = ac_quota_create(NULL, NULL, &who);
        ac_run_start(engine, turn, &runs[i].follower);
        fake_turn();
    }
    assert_int_equal(ended(), 2);
    for (int i = 0; i < 3; i++) {
        end_one();
    }
}

static void test_a_process_has_slots_for_more_than_one_owner(void **state)
{
    (void)state;
    limit_process(4, 2);
    for (int i = 0; i < 5; i++) {
        start_for(i, "ann");
    }
    assert_int_equal(model.n_asked, 3); /* the fourth slot is for others */
    assert_int_equal(engine->queue.n_queued, 2);
    start_for(5, "bob");
    assert_int_equal(model.n_asked, 4);
    start_for(6, "ann");
    assert_int_equal(ended(), 6);
    assert_int_equal(runs[6].kind, AC_OVERLOADED);
    start_for(6, "bob"); /* all slots are taken, and ann has the whole queue */
    assert_int_equal(ended(), 4);
    assert_int_equal(runs[4].kind, AC_OVERLOADED);
    for (int i = 0; i < 4; i++) {
        open_well();
    }
    end_well(); /* bob's */
    json_decref(close_well());
    assert_int_equal(ended(), 5);
    assert_int_equal(model.n_asked, 5); /* it is ann's turn, but she has her three */
    assert_int_equal(engine->queue.n_queued, 1);
    end_one();
    assert_int_equal(ended(), 6);
    for (int i = 0; i < 4; i++) {
        model.asked = true; /* the fake has one call, and these are three */
        cancel_run(i);
    }
    assert_int_equal(engine->queue.n_queued, 0);
    while (n_ops) {
        json_decref(expect_op(AC_STORE_TURN_CLOSE) ? close_well() : NULL);
    }
}

static void test_a_cancelled_run_leaves_the_queue(void **state)
{
    (void)state;
    limit_process(1, 2);
    start_for(0, "ann");
    start_for(1, "ann");
    start_for(2, "ann");
    /* Within one turn of the loop: another run comes, and the slot becomes free. */
    assert_int_equal(ac_run_cancel(engine, runs[2].id, AC_CANCELLED), APR_SUCCESS);
    start_for(3, "bob");
    assert_int_equal(runs[2].type, AC_EVENT_DONE);
    assert_int_equal(runs[2].kind, AC_OK);
    assert_int_equal(ended(), 2);
    for (int i = 0; i < 3; i++) {
        end_one();
    }
    assert_int_equal(engine->queue.n_queued, 0);
}

int main(void)
{
    apr_initialize();
    const struct CMUnitTest group[] = {
        cmocka_unit_test_setup_teardown(test_owners_take_turns, setup_queue, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_queue_has_room_for_another_owner, setup_queue, teardown),
        cmocka_unit_test_setup_teardown(test_a_displaced_run_asks_the_fallback, setup_queue, teardown),
        cmocka_unit_test_setup_teardown(test_anonymous_clients_are_distinguished_by_address, setup_queue, teardown),
        cmocka_unit_test_setup_teardown(test_a_process_has_slots_for_more_than_one_owner, setup_queue, teardown),
        cmocka_unit_test_setup_teardown(test_a_cancelled_run_leaves_the_queue, setup_queue, teardown),
    };
    return cmocka_run_group_tests_name("run queue", group, NULL, NULL);
}
