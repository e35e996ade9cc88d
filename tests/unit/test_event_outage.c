/* SPDX-License-Identifier: Apache-2.0 */
/* Event logs that cannot be written: the log lines, how often they come; and a directory that was removed. */
#include "tail_world.h"

#include <sys/stat.h>

static struct {
    int n;
    apr_status_t status;
    char text[2048];
} logged;

static void remember(ac_level_e level, const char *file, int line, apr_status_t status, const char *text)
{
    if (strncmp(text, "AC0504: ", 8) == 0) {
        return; /* every run has this line */
    }
    (void)level, (void)file, (void)line;
    logged.n++;
    logged.status = status;
    snprintf(logged.text, sizeof logged.text, "%s", text);
}

static int setup_outage(void **state)
{
    memset(&logged, 0, sizeof logged);
    ac_log_install(remember, AC_INFO);
    return setup_logged(state);
}

static int teardown_outage(void **state)
{
    ac_log_install(NULL, AC_INFO);
    return teardown_logged(state);
}

static ac_event_outage_t outage;

/* As if this much time had passed. */
static void age(apr_interval_time_t span)
{
    for (int i = 0; i < AC_N_EVENT_OUTAGES; i++) {
        ac_event_outage_state_t *state = &outage.states[i];
        if (state->logged) {
            state->logged -= span;
        }
        if (state->last) {
            state->last -= span;
        }
    }
}

static void fail_many(ac_event_outage_e what, int n)
{
    for (int i = 0; i < n; i++) {
        ac_event_outage_begin(&outage, what, APR_ENOSPC, "run_01");
    }
}

static int setup_alone(void **state)
{
    (void)state;
    memset(&logged, 0, sizeof logged);
    outage = (ac_event_outage_t){.path = "/the/place"};
    ac_log_install(remember, AC_INFO);
    return 0;
}

static int teardown_alone(void **state)
{
    (void)state;
    ac_log_install(NULL, AC_INFO);
    return 0;
}

static void test_one_line_a_minute(void **state)
{
    (void)state;
    static const struct {
        ac_event_outage_e what;
        const char *number;
    } rows[] = {
        {AC_EVENT_OUTAGE_NO_LOG, "AC0510: run[run_01]"},
        {AC_EVENT_OUTAGE_NO_SPACE, "AC0511: run[run_01]"},
        {AC_EVENT_OUTAGE_LOG_FULL, "AC0511: run[run_01]"},
    };
    for (size_t i = 0; i < 3; i++) {
        logged.n = 0;
        fail_many(rows[i].what, 1000);
        assert_int_equal(logged.n, 1);
        assert_ptr_equal(strstr(logged.text, rows[i].number), logged.text);
        assert_null(strstr(logged.text, "more runs"));
        age(apr_time_from_sec(59));
        fail_many(rows[i].what, 1);
        assert_int_equal(logged.n, 1);
        age(apr_time_from_sec(1));
        fail_many(rows[i].what, 1000);
        assert_int_equal(logged.n, 2);
        assert_non_null(strstr(logged.text, "(and 1000 more runs since the last such line)"));
    }
}

static void test_one_line_when_it_is_over(void **state)
{
    (void)state;
    ac_event_outage_end(&outage);
    assert_int_equal(logged.n, 0);
    fail_many(AC_EVENT_OUTAGE_NO_LOG, 6);
    fail_many(AC_EVENT_OUTAGE_NO_SPACE, 3);
    ac_event_outage_end(&outage); /* one that just fitted */
    age(apr_time_from_sec(59));
    ac_event_outage_end(&outage);
    assert_int_equal(logged.n, 2);
    age(apr_time_from_sec(1));
    ac_event_outage_end(&outage);
    assert_int_equal(logged.n, 3);
    assert_non_null(strstr(logged.text, "AC0513: event logs: /the/place can be written again; 5 more runs had no log"));
    assert_non_null(strstr(logged.text, "and 2 a part of one"));
    ac_event_outage_end(&outage);
    assert_int_equal(logged.n, 3);
    fail_many(AC_EVENT_OUTAGE_NO_LOG, 2); /* the next time is news */
    assert_int_equal(logged.n, 4);
    assert_null(strstr(logged.text, "more runs"));
}

static void test_the_log_line_names_the_remedy(void **state)
{
    (void)state;
    static const struct {
        apr_status_t status;
        const char *words;
    } rows[] = {
        {APR_ENOSPC, "/the/place"},         {APR_ENOSPC, "AgentChatEventLogKeep"},
        {APR_ENOENT, "apachectl graceful"}, {APR_EACCES, "systemd-tmpfiles --create"},
        {APR_ENOMEM, "vm.max_map_count"},   {APR_EMFILE, "open files"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        age(apr_time_from_sec(60));
        ac_event_outage_begin(&outage, AC_EVENT_OUTAGE_NO_LOG, rows[i].status, "run_01");
        assert_int_equal(logged.n, (int)i + 1);
        assert_int_equal(logged.status, rows[i].status);
        assert_non_null(strstr(logged.text, rows[i].words));
    }
}

/* A whole run; whether it has a log. */
static bool run_has_log(void)
{
    seen[0] = '\0';
    last_seq = 0;
    start_new("x");
    open_well();
    ac_event_log_t *log = ac_event_log_find(dir, run_id);
    ac_event_log_close(log);
    say("all of it");
    end_well();
    json_decref(close_well());
    assert_string_equal(seen, "run token done");
    return log != NULL;
}

static void test_a_removed_directory_is_made_again(void **state)
{
    (void)state;
    struct stat info;
    ac_event_dir_t *other;
    assert_int_equal(ac_event_dir_open(&other, top, 1024 * 1024, 0), APR_SUCCESS);
    ac_engine_watch(engine);
    fake_work();
    assert_true(run_has_log());
    for (int i = 0; i < 2; i++) {
        assert_int_equal(scratch_remove(top), 0);
        assert_false(ac_event_dir_alive(other, ac_event_dir_key(dir)));
        assert_true(run_has_log());
        assert_int_equal(logged.n, i + 1);
        assert_non_null(strstr(logged.text, "AC0514: "));
        assert_true(run_has_log()); /* and that was that */
        assert_int_equal(logged.n, i + 1);
        assert_int_equal(stat(top, &info), 0);
        assert_int_equal(info.st_mode & 0777, 0700);
        assert_true(ac_event_dir_alive(other, ac_event_dir_key(dir)));
        assert_int_equal(engine->follow->watch.fd, ac_event_dir_socket(dir));
        assert_int_equal(ac_event_dir_send(other, ac_event_dir_key(dir), "wake x", 6), APR_SUCCESS);
    }
    ac_event_dir_close(other);
}

/* A child without a new run: the sweep makes it, so that others can reach it and it can take over what the dead
 * leave. */
static void test_a_child_that_has_nothing_to_do(void **state)
{
    (void)state;
    ac_engine_watch(engine);
    fake_work();
    assert_int_equal(scratch_remove(top), 0);
    fake_pass(apr_time_from_sec(76));
    fake_work();
    assert_true(ac_event_dir_exists(dir));
    assert_int_equal(logged.n, 1);
    fake_pass(apr_time_from_sec(76));
    fake_work();
    assert_int_equal(logged.n, 1);
}

/* Another user owns the directory, or it cannot be made: all runs continue without logs, and a log line says what to
 * do. */
static void test_a_directory_of_another_user(void **state)
{
    (void)state;
    assert_int_equal(scratch_remove(top), 0);
    assert_int_equal(mkdir(top, 0755), 0);
    assert_int_equal(chmod(top, 0755), 0);
    for (int i = 0; i < 5; i++) {
        assert_false(run_has_log());
    }
    assert_int_equal(logged.n, 1);
    assert_int_equal(logged.status, APR_EACCES);
    assert_non_null(strstr(logged.text, "AC0510: "));
    assert_non_null(strstr(logged.text, "apachectl graceful"));
    assert_int_equal(chmod(top, 0700), 0);
    assert_true(run_has_log());
}

/* A log that cannot grow, since its directory went. */
static void test_a_log_that_is_lost_on_its_way(void **state)
{
    (void)state;
    static char long_text[65536];
    memset(long_text, 'x', sizeof long_text - 1);
    for (int i = 0; i < 3; i++) {
        seen[0] = said[0] = '\0';
        last_seq = 0;
        start_new("x");
        open_well();
        assert_int_equal(scratch_remove(top), 0);
        say(long_text);
        end_well();
        json_decref(close_well());
        assert_string_equal(seen, "run token done");
        assert_int_equal(logged.n, i + 1); /* the first one's loss; then that of the directory, once each time */
        assert_non_null(strstr(logged.text, i == 0 ? "AC0511: " : "AC0514: "));
    }
    assert_int_equal(mkdir(top, 0700), 0);
}

int main(void)
{
    apr_initialize();
    const struct CMUnitTest group[] = {
        cmocka_unit_test_setup_teardown(test_one_line_a_minute, setup_alone, teardown_alone),
        cmocka_unit_test_setup_teardown(test_one_line_when_it_is_over, setup_alone, teardown_alone),
        cmocka_unit_test_setup_teardown(test_the_log_line_names_the_remedy, setup_alone, teardown_alone),
        cmocka_unit_test_setup_teardown(test_a_removed_directory_is_made_again, setup_outage, teardown_outage),
        cmocka_unit_test_setup_teardown(test_a_child_that_has_nothing_to_do, setup_outage, teardown_outage),
        cmocka_unit_test_setup_teardown(test_a_directory_of_another_user, setup_outage, teardown_outage),
        cmocka_unit_test_setup_teardown(test_a_log_that_is_lost_on_its_way, setup_outage, teardown_outage),
    };
    return cmocka_run_group_tests_name("event outage", group, NULL, NULL);
}
