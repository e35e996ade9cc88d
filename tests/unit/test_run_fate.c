/* SPDX-License-Identifier: Apache-2.0 */
/* What a run's log says to other children of how it ends. */
#include "tail_world.h"

static void start_anew(void)
{
    seen[0] = '\0';
    last_seq = 0;
    start_new("x");
}

/* What other children read of a run's end before the store has it. */
static void test_how_the_end_was_decided(void **state)
{
    (void)state;
    start_new("x");
    open_well();
    say("half");
    assert_int_equal(fate_of(run_id), AC_LOG_GOES_ON);
    assert_int_equal(ac_run_cancel(engine, run_id, AC_CANCELLED), APR_SUCCESS);
    assert_int_equal(fate_of(run_id), AC_LOG_CANCELLED);
    json_decref(close_well());
    start_anew();
    assert_int_equal(ac_run_cancel(engine, run_id, AC_CANCELLED), APR_SUCCESS);
    open_well();                                /* it has a log from here on only */
    assert_int_equal(fate_of(run_id), AC_LOG_CANCELLED);
    json_decref(close_well());
    start_anew();
    end_well();
    open_well();
    assert_int_equal(fate_of(run_id), AC_LOG_CLOSES);
    json_decref(close_well());
    start_anew();
    open_well();
    assert_int_equal(ac_run_cancel(engine, run_id, AC_STOPPING), APR_SUCCESS);
    assert_int_equal(fate_of(run_id), AC_LOG_CLOSES);       /* not at its owner's word */
    json_decref(close_well());
}

int main(void)
{
    apr_initialize();
    const struct CMUnitTest group[] = {
        cmocka_unit_test_setup_teardown(test_how_the_end_was_decided, setup_logged, teardown_logged),
    };
    return cmocka_run_group_tests_name("run fate", group, NULL, NULL);
}
