/* SPDX-License-Identifier: Apache-2.0 */
/* Followers that are slower than their run, and go back into its log. */
#include "tail_world.h"

static void take_more(visitor_t *visitor)
{
    visitor->full = visitor->slow = false;
    ac_follower_resume(&visitor->follower);
    fake_turn(), fake_turn(), fake_turn();
}

static void test_a_follower_that_is_full(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    say("a");
    visitor_t *visitor = follow(0, run_id, 0);
    visitor->full = true;
    fake_turn();
    say("b");
    int timers = fake.n_timers;
    fake_pass(50000);
    assert_string_equal(visitor->seen, "");
    assert_int_equal(fake.n_timers, timers); /* no timer asks it */
    take_more(visitor);
    assert_string_equal(visitor->seen, "<run>ab<live>");
    end_well();
    json_decref(close_well());
    assert_string_equal(visitor->seen, "<run>ab<live><done>");
}

static visitor_t *join_live(int i)
{
    visitor_t *visitor = follow(i, run_id, 0);
    fake_turn(), fake_turn();
    assert_string_equal(visitor->seen, "<run>a<live>");
    assert_true(ac_follower_checkpoint(&visitor->follower));
    return visitor;
}

/* A live follower goes back to reading the log and becomes live again, any number of times. */
static void test_a_live_follower_that_is_slow(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    say("a");
    visitor_t *visitor = join_live(0);
    const char *all[] = {"<run>a<live>b", "<run>a<live>bcde", "<run>a<live>bcdefgh"};
    say("b");
    for (int i = 0; i < 3; i++) {
        assert_string_equal(visitor->seen, all[i]);
        ac_follower_checkpoint(&visitor->follower);
        visitor->slow = true;
        if (i == 2) {
            break;
        }
        for (const char *c = i ? "fgh" : "cde"; *c; c++) {
            say((char[]){*c, '\0'});
        }
        assert_string_equal(visitor->seen, all[i]);
        assert_non_null(apr_hash_get(engine->follow->tails, run_id, APR_HASH_KEY_STRING));
        take_more(visitor);
        assert_null(apr_hash_get(engine->follow->tails, run_id, APR_HASH_KEY_STRING)); /* live again */
    }
    end_well();
    json_decref(close_well());
    assert_string_equal(visitor->seen, all[2]);
    take_more(visitor);
    assert_string_equal(visitor->seen, "<run>a<live>bcdefgh<done>");
}

/* It got more than it could use, and the run has ended; then the log's file is removed, too. */
static void test_back_after_the_end(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    say("a");
    visitor_t *visitor = join_live(0);
    say("b"), say("c");
    end_well();
    json_decref(close_well());
    fake_turn();
    assert_string_equal(visitor->seen, "<run>a<live>bc<done>");
    assert_null(visitor->follower.channel);
    visitor->full = true;
    assert_true(ac_follower_rewind(engine, &visitor->follower, visitor->last_seq));
    ac_event_log_unlink(dir, run_id);
    take_more(visitor);
    assert_string_equal(visitor->seen, "<run>a<live>bc<done>bc<done>");
    take_more(visitor);
    assert_string_equal(visitor->seen, "<run>a<live>bc<done>bc<done>");
    ac_channel_leave(&visitor->follower);
    assert_false(ac_follower_rewind(engine, &visitor->follower, visitor->last_seq));
}

/* From any mark, by a follower that is still in the log; also the file has grown and gone since it was opened. */
static void test_back_within_the_log(void **state)
{
    (void)state;
    char piece[3000];
    memset(piece, 'z', sizeof piece - 1);
    piece[sizeof piece - 1] = '\0';
    start_new("x");
    open_well();
    say("a");
    visitor_t *visitor = join_live(0);
    visitor->slow = true;
    for (int i = 0; i < 40; i++) {
        say(piece);
    }
    end_well();
    json_decref(close_well());
    ac_event_log_unlink(dir, run_id);
    for (int pass = 0; pass < 3; pass++) {
        visitor->seen[0] = '\0';
        visitor->full = visitor->slow = false;
        ac_follower_resume(&visitor->follower);
        for (int i = 0; i < 6; i++) {
            fake_turn();
        }
        assert_int_equal(visitor->last_seq, 43);
        assert_memory_equal(visitor->seen, "zzz", 3);
        visitor->full = true;
        assert_true(ac_follower_rewind(engine, &visitor->follower, visitor->last_seq));
    }
}

static void test_no_way_back(void **state)
{
    (void)state;
    char piece[1000];
    memset(piece, 'z', sizeof piece - 1);
    piece[sizeof piece - 1] = '\0';
    start_new("x");
    open_well();
    say("a");
    visitor_t *visitor = join_live(0);
    for (int i = 0; i < 1100; i++) {
        say(piece); /* more than the log takes */
    }
    assert_false(ac_follower_rewind(engine, &visitor->follower, visitor->last_seq));
    visitor->slow = true;
    visitor->seen[0] = '\0';
    say("live all the same");
    assert_string_equal(visitor->seen, "live all the same");
    end_well();
    json_decref(close_well());
    assert_false(ac_follower_rewind(engine, &visitor->follower, visitor->last_seq));
    ac_follower_resume(&visitor->follower);
    ac_follower_t idle = {0};
    assert_false(ac_follower_checkpoint(&idle));
    assert_false(ac_follower_rewind(engine, &idle, 0));
    ac_follower_resume(&idle);
}

static void test_going_while_behind(void **state)
{
    (void)state;
    start_leaving(5000000);
    visitor_t *visitor = join_live(0);
    ac_channel_leave(&follower);
    visitor->slow = true;
    say("b");
    fake_pass(20000000);
    assert_false(model.cancelled); /* the slow follower is there */
    ac_channel_leave(&visitor->follower);
    fake_turn();
    assert_null(apr_hash_get(engine->follow->tails, run_id, APR_HASH_KEY_STRING));
    fake_pass(5100000);
    assert_true(model.cancelled);
    json_decref(close_well());
}

int main(void)
{
    apr_initialize();
    const struct CMUnitTest group[] = {
        cmocka_unit_test_setup_teardown(test_a_follower_that_is_full, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_a_live_follower_that_is_slow, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_back_after_the_end, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_back_within_the_log, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_no_way_back, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_going_while_behind, setup_logged, teardown_logged),
    };
    return cmocka_run_group_tests_name("slow_follower", group, NULL, NULL);
}
