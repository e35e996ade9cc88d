/* SPDX-License-Identifier: Apache-2.0 */
/* The answers of a thread are stored in the order of its messages, also when processes die and writes fail. */
#include "tail_world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define EARLIER "run_00000000000000000000000001"

static json_t *earlier_loaded(void)
{
    return json_pack("{s:{s:i}, s:[{s:s, s:s, s:s, s:i}], s:n}", "thread", "message_count", 1, "messages", "role",
                     "user", "content", "x", "run_id", EARLIER, "seq", 1, "active_run");
}

static json_t *answered_loaded(void)
{
    return json_pack("{s:{s:i}, s:[{s:s, s:s, s:s, s:i}, {s:s, s:s, s:s, s:i}], s:n}", "thread", "message_count", 2,
                     "messages", "role", "user", "content", "x", "run_id", EARLIER, "seq", 1, "role", "assistant",
                     "content", "half", "run_id", EARLIER, "seq", 2, "active_run");
}

static json_t *stored_run(void)
{
    return json_pack("{s:s, s:s, s:s}", "id", EARLIER, "thread_id", "thread_1", "status", "interrupted");
}

/* The turn reads the thread, is shown the whole of it, and ends. */
static void turn_continues(void)
{
    expect_op(AC_STORE_TURN_LOAD);
    answer_op(answered_loaded(), AC_OK);
    assert_true(model.asked);
    assert_int_equal(json_array_size(model.messages), 4);
    open_well();
    end_well();
    json_decref(close_well());
    assert_string_equal(seen, "run done");
}

/* ---- an answer that another child closes ---- */

/* Another live child has a log of the earlier run, without an end. It ends the log after a datagram. */
static pid_t fork_holder(int *ptell)
{
    int ready[2], tell[2];
    char byte = 0;
    assert_int_equal(pipe(ready) | pipe(tell), 0);
    pid_t pid = fork();
    if (pid == 0) {
        ac_event_dir_t *own;
        apr_status_t status;
        ac_event_log_header_t head = {EARLIER, "thread_1", "msg_1", "ann"};
        if (ac_event_dir_open(&own, top, 1024 * 1024, 0) != APR_SUCCESS) {
            _exit(1);
        }
        ac_event_log_t *log = ac_event_log_create(own, &head, &status);
        close(tell[1]);
        if (!log || write(ready[1], "", 1) != 1 || read(tell[0], &byte, 1) != 1) {
            _exit(1);
        }
        ac_event_log_end(log);
        if (write(ready[1], "", 1) != 1) {
            _exit(1);
        }
        pause();
    }
    close(ready[1]);
    close(tell[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    *ptell = tell[1];
    close(ready[0]);
    return pid;
}

static void end_holder(pid_t pid, int tell)
{
    close(tell);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void test_a_message_waits_for_another_child(void **state)
{
    (void)state;
    int tell;
    pid_t pid = fork_holder(&tell);
    start_in_thread("y");
    for (int i = 0; i < 5; i++) {
        expect_op(AC_STORE_TURN_LOAD);
        answer_op(earlier_loaded(), AC_OK);
        assert_false(model.asked);
        assert_int_equal(n_ops, 0);
        fake_pass(apr_time_from_msec(200));
    }
    turn_continues();
    end_holder(pid, tell);
}

static void refused_busy(void)
{
    assert_string_equal(seen, "error");
    assert_int_equal(last_kind, AC_RUN_IN_PROGRESS);
    assert_true(ac_json_peek_int(last, "retry_after_ms", 0) > 0);
    assert_false(model.asked);
}

static void test_a_message_is_refused_that_waited_too_long(void **state)
{
    (void)state;
    int tell, n = 0;
    pid_t pid = fork_holder(&tell);
    start_in_thread("y");
    while (!seen[0] && n++ < 100) {
        expect_op(AC_STORE_TURN_LOAD);
        answer_op(earlier_loaded(), AC_OK);
        assert_false(model.asked);
        fake_pass(apr_time_from_msec(200));
    }
    refused_busy();
    end_holder(pid, tell);
}

/* The child that closes it dies, too. */
static void test_a_message_waits_for_a_child_that_dies(void **state)
{
    (void)state;
    int tell;
    pid_t pid = fork_holder(&tell);
    start_in_thread("y");
    answer_op(earlier_loaded(), AC_OK);
    end_holder(pid, tell);
    fake_pass(apr_time_from_msec(200));
    answer_op(earlier_loaded(), AC_OK);
    expect_op(AC_STORE_RUN_GET);
    answer_op(stored_run(), AC_OK);
    json_decref(close_well());
    turn_continues();
}

static void take_datagram(ac_engine_t *its, char *text, size_t size)
{
    ssize_t len = recv(ac_event_dir_socket(its->dir), text, size - 1, MSG_DONTWAIT);
    assert_true(len > 0);
    text[len] = '\0';
}

/* The other child gets a datagram about the waiting run, and tries at once. */
static void test_the_other_child_is_hurried(void **state)
{
    (void)state;
    char text[AC_OWNER_SIZE + AC_ID_SIZE];
    ac_event_dir_t *other;
    apr_status_t status;
    ac_event_log_header_t head = {EARLIER, "thread_1", "msg_1", "ann"};
    assert_int_equal(ac_event_dir_open(&other, top, 1024 * 1024, 0), APR_SUCCESS);
    ac_event_log_t *log = ac_event_log_create(other, &head, &status);
    assert_non_null(log);
    start_in_thread("y");
    answer_op(earlier_loaded(), AC_OK);
    ac_engine_t its = {.dir = other};
    take_datagram(&its, text, sizeof text);
    assert_string_equal(text, "close " EARLIER);
    ac_event_log_end(log);
    fake_pass(apr_time_from_msec(200));
    turn_continues();
    ac_event_log_close(log);
    unlink(text);
    ac_event_dir_close(other);
}

/* ---- when a closing write is tried again ---- */

/* A recovery whose closing write fails until it waits for its longest time. */
static void recovery_waits(void)
{
    leave_log_of_the_dead(EARLIER, "half");
    follow(0, EARLIER, 0);
    fake_turn();
    expect_op(AC_STORE_RUN_GET);
    answer_op(stored_run(), AC_OK);
    for (int i = 0; i < 8; i++) {
        expect_op(AC_STORE_TURN_CLOSE);
        answer_op(NULL, AC_STORE_ERROR);
        for (int n = 0; !n_ops && n < 100; n++) {
            fake_pass(apr_time_from_sec(1));
        }
    }
    expect_op(AC_STORE_TURN_CLOSE);
    answer_op(NULL, AC_STORE_ERROR);
    assert_int_equal(n_ops, 0);
    fake_pass(apr_time_from_msec(300));
    assert_int_equal(n_ops, 0);
}

static void test_a_write_of_anybody_hurries_it(void **state)
{
    (void)state;
    recovery_waits();
    start_new("another thread");
    open_well();
    expect_op(AC_STORE_TURN_CLOSE); /* of the recovery, at once */
    assert_string_equal(text_at(ops[0]->in, "run", "id"), EARLIER);
    json_decref(close_well());
    assert_null(engine->follow->recoveries.first);
    end_well();
    json_decref(close_well());
    fake_pass(100000);
    assert_string_equal(visitors[0].seen, "<run>half<live><error>");
}

static void test_a_message_of_its_thread_hurries_it(void **state)
{
    (void)state;
    recovery_waits();
    start_in_thread("y");
    answer_op(earlier_loaded(), AC_OK);
    assert_false(model.asked);
    expect_op(AC_STORE_TURN_CLOSE);
    json_decref(close_well());
    turn_continues();
    fake_pass(100000);
}

/* While nothing is stored the message waits, and is refused in the end; the store is not asked without a pause. */
static void test_a_message_is_refused_while_nothing_can_be_stored(void **state)
{
    (void)state;
    int n_closings = 0;
    recovery_waits();
    start_in_thread("y");
    for (int n = 0; !seen[0] && n < 200; n++) {
        if (n_ops && ops[0]->verb == AC_STORE_TURN_LOAD) {
            answer_op(earlier_loaded(), AC_OK);
        } else if (n_ops) {
            expect_op(AC_STORE_TURN_CLOSE);
            answer_op(NULL, AC_STORE_ERROR);
            n_closings++;
        } else {
            fake_pass(apr_time_from_msec(100));
        }
        assert_false(model.asked);
    }
    refused_busy();
    assert_in_range(n_closings, 1, 5);
    for (int n = 0; !n_ops && n < 100; n++) {
        fake_pass(apr_time_from_msec(100));
    }
    json_decref(close_well());
    fake_pass(100000);
    assert_null(engine->follow->recoveries.first);
}

static int n_warnings;

static void count_warning(ac_level_e level, const char *file, int line, apr_status_t status, const char *text)
{
    (void)level, (void)file, (void)line, (void)status;
    n_warnings += strstr(text, "AC0520") != NULL;
}

/* The server stops while a run is closed: the next process closes it, without a warning. */
static void test_a_stop_is_no_failure(void **state)
{
    (void)state;
    leave_log_of_the_dead(EARLIER, "half");
    follow(0, EARLIER, 0);
    fake_turn();
    expect_op(AC_STORE_RUN_GET);
    answer_op(stored_run(), AC_OK);
    expect_op(AC_STORE_TURN_CLOSE);
    ac_log_install(count_warning, AC_WARNING);
    answer_op(NULL, AC_STOPPING);
    ac_log_install(NULL, AC_ERROR);
    assert_int_equal(n_warnings, 0);
    fake_pass(apr_time_from_sec(1));
    json_decref(close_well());
}

/* Without a writer that shows success, one of the waiting writes is tried every two seconds; its success releases
 * all. */
static void test_one_looks_for_all(void **state)
{
    (void)state;
    char id[AC_ID_SIZE];
    for (int i = 0; i < 3; i++) {
        snprintf(id, sizeof id, "run_%026d", i);
        leave_log_of_the_dead(id, "x");
        follow(i, id, 0);
    }
    fake_turn();
    for (int i = 0; i < 3; i++) {
        expect_op(AC_STORE_RUN_GET);
        answer_op(NULL, AC_STORE_TIMEOUT);
    }
    for (int i = 0; i < 40; i++) {
        for (int n = 0; !n_ops && n < 21; n++) {
            fake_pass(apr_time_from_msec(100));
        }
        assert_int_equal(n_ops, 1);
        answer_op(NULL, AC_STORE_TIMEOUT);
    }
    fake_pass(apr_time_from_sec(2));
    assert_int_equal(n_ops, 1);
    answer_op(stored_run(), AC_OK);
    json_decref(close_well());
    assert_int_equal(n_ops, 2);
    while (n_ops) {
        if (ops[0]->verb == AC_STORE_RUN_GET) {
            answer_op(stored_run(), AC_OK);
        } else {
            json_decref(close_well());
        }
    }
    assert_null(engine->follow->recoveries.first);
    fake_pass(100000);
}

/* ---- a turn that changed concurrently ---- */

static void test_a_failed_turn_after_a_concurrent_change_is_not_stored(void **state)
{
    (void)state;
    start_in_thread("y");
    answer_op(answered_loaded(), AC_OK);
    model_end((ac_model_end_t){.status = APR_EGENERAL, .err = {.kind = AC_MODEL_ERROR, .detail = "no"}});
    expect_op(AC_STORE_TURN_OPEN);
    answer_op(NULL, AC_PRECONDITION_FAILED);
    assert_int_equal(n_ops, 0);
    refused_busy();
}

static void test_a_cancelled_turn_after_a_concurrent_change_is_not_stored(void **state)
{
    (void)state;
    start_in_thread("y");
    answer_op(answered_loaded(), AC_OK);
    assert_int_equal(ac_run_cancel(engine, run_id, AC_CANCELLED), APR_SUCCESS);
    fake_turn();
    expect_op(AC_STORE_TURN_OPEN);
    answer_op(NULL, AC_PRECONDITION_FAILED);
    assert_int_equal(n_ops, 0);
    assert_string_equal(seen, "error");
}

/* ---- logs that are hard to find ---- */

static char moves_from[AC_LOG_PATH_SIZE], moves_to[AC_LOG_PATH_SIZE];
static const char *moves_before;
static int n_moves;

/* In the place of the system's: a third child takes the log over just before this one is opened. */
int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? (mode_t)va_arg(args, int) : 0;
    va_end(args);
    if (moves_before && strstr(path, moves_before)) {
        n_moves += rename(moves_from, moves_to) == 0;
        moves_before = NULL;
    }
    return openat(AT_FDCWD, path, flags, mode);
}

static void test_a_log_that_is_taken_during_the_search(void **state)
{
    (void)state;
    ac_child_key_t children[8], from = 0, to = 0;
    ac_event_dir_t *others[3];
    leave_log_of_the_dead(EARLIER, "half");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ac_event_dir_open(&others[i], top, 1024 * 1024, 0), APR_SUCCESS);
    }
    int n = ac_event_dir_children(dir, children, 8);
    assert_int_equal(n, 5);
    /* From a place that is looked at late to one that was looked at before. */
    for (int i = 0; i < n && !from; i++) {
        ac_event_dir_log_path(moves_from, dir, children[i], EARLIER);
        if (access(moves_from, F_OK) == 0) {
            from = children[i];
        }
    }
    for (int i = 0; i < 3; i++) {
        to = ac_event_dir_key(others[i]);
        ac_event_dir_log_path(moves_to, dir, to, EARLIER);
        moves_before = strstr(moves_from, "/c-");
        n_moves = 0;
        ac_event_log_t *log = ac_event_log_find(dir, EARLIER);
        assert_int_equal(n_moves, 1);
        assert_non_null(log);
        assert_true(ac_event_log_child(log) == to);
        ac_event_log_close(log);
        assert_int_equal(rename(moves_to, moves_from), 0);
    }
    unlink(moves_from);
    for (int i = 0; i < 3; i++) {
        ac_event_dir_close(others[i]);
    }
}

static struct rlimit files_before;

static void no_more_files(void)
{
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files_before), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){0, files_before.rlim_max}), 0);
}

static void files_again(void)
{
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files_before), 0);
}

static void test_a_log_that_cannot_be_opened_is_not_lost(void **state)
{
    (void)state;
    ac_event_log_t *log;
    leave_log_of_the_dead(EARLIER, "half");
    assert_int_equal(ac_event_log_search(&log, dir, EARLIER), APR_SUCCESS);
    ac_child_key_t from = ac_event_log_child(log);
    ac_event_log_close(log);
    no_more_files();
    assert_int_equal(ac_event_log_search(&log, dir, EARLIER), EMFILE);
    assert_null(log);
    assert_null(ac_event_log_adopt(dir, from, EARLIER));
    files_again();
    log = ac_event_log_adopt(dir, from, EARLIER);
    assert_non_null(log);
    ac_event_log_close(log);
    ac_event_log_unlink(dir, EARLIER);
    assert_int_equal(ac_event_log_search(&log, dir, EARLIER), APR_ENOENT);
}

static void test_a_message_waits_while_no_log_can_be_opened(void **state)
{
    (void)state;
    leave_log_of_the_dead(EARLIER, "half");
    start_in_thread("y");
    no_more_files();
    answer_op(earlier_loaded(), AC_OK);
    files_again();
    assert_false(model.asked);
    fake_pass(apr_time_from_msec(200));
    expect_op(AC_STORE_TURN_LOAD);
    answer_op(earlier_loaded(), AC_OK);
    answer_op(stored_run(), AC_OK);
    json_decref(close_well());
    turn_continues();
}

static void test_a_follower_waits_while_no_log_can_be_opened(void **state)
{
    (void)state;
    leave_log_of_the_dead(EARLIER, "half");
    no_more_files();
    visitor_t *visitor = follow(0, EARLIER, 0);
    fake_turn();
    files_again();
    assert_int_equal(n_ops, 0);
    fake_pass(apr_time_from_msec(250));
    assert_string_equal(visitor->seen, "<run>half");
    answer_op(stored_run(), AC_OK);
    json_decref(close_well());
    fake_pass(100000);
    assert_string_equal(visitor->seen, "<run>half<error>");
}

int main(void)
{
    apr_initialize();
    const struct CMUnitTest group[] = {
        cmocka_unit_test_setup_teardown(test_a_message_waits_for_another_child, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_a_message_is_refused_that_waited_too_long, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_a_message_waits_for_a_child_that_dies, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_the_other_child_is_hurried, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_a_write_of_anybody_hurries_it, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_a_message_of_its_thread_hurries_it, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_a_stop_is_no_failure, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_a_message_is_refused_while_nothing_can_be_stored, setup_logged,
                                        teardown_logged),
        cmocka_unit_test_setup_teardown(test_one_looks_for_all, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_a_failed_turn_after_a_concurrent_change_is_not_stored, setup_logged,
                                        teardown_logged),
        cmocka_unit_test_setup_teardown(test_a_cancelled_turn_after_a_concurrent_change_is_not_stored, setup_logged,
                                        teardown_logged),
        cmocka_unit_test_setup_teardown(test_a_log_that_is_taken_during_the_search, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_a_log_that_cannot_be_opened_is_not_lost, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_a_message_waits_while_no_log_can_be_opened, setup_logged, teardown_logged),
        cmocka_unit_test_setup_teardown(test_a_follower_waits_while_no_log_can_be_opened, setup_logged,
                                        teardown_logged),
    };
    return cmocka_run_group_tests_name("recover", group, NULL, NULL);
}
