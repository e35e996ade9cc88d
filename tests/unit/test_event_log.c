/* SPDX-License-Identifier: Apache-2.0 */
/* The event log: written records are read, by several readers, while it grows, and after its writer has died. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/events/events_internal.h"
#include "scratch.h"

static char top[64];
static ac_event_dir_t *dir;
static apr_status_t made; /* why there is no log */
static const ac_event_log_header_t head = {"run_01", "thread_01", "msg_01", "ann"};

static int setup(void **state)
{
    (void)state;
    snprintf(top, sizeof top, "/tmp/event-log-XXXXXX");
    assert_non_null(mkdtemp(top));
    assert_int_equal(ac_event_dir_open(&dir, top, 1024 * 1024, 0), APR_SUCCESS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ac_event_dir_close(dir);
    return scratch_remove(top);
}

static void put(ac_event_log_t *log, uint64_t seq, ac_event_type_e type, json_t *data, const char *text)
{
    ac_event_t *event = ac_event_create(type, data, text, strlen(text));
    event->seq = seq;
    event->at = 1700000000000000 + (apr_time_t)seq;
    ac_event_log_append(log, event);
    ac_event_unref(event);
}

static void put_tokens(ac_event_log_t *log, uint64_t first, uint64_t n, const char *text)
{
    for (uint64_t i = 0; i < n; i++) {
        put(log, first + i, AC_EVENT_TOKEN, NULL, text);
    }
}

/* Reads all there is; the last number. */
static uint64_t drain(ac_event_log_t *log, ac_event_cursor_t *cursor, int *pn)
{
    uint64_t seq = 0;
    ac_event_t *event;
    while ((event = ac_event_log_next(log, cursor, NULL)) != NULL) {
        if (seq) {
            assert_int_equal(event->seq, seq + 1);
        }
        seq = event->seq;
        (*pn)++;
        ac_event_unref(event);
    }
    return seq;
}

static void test_every_kind_comes_back_as_it_was(void **state)
{
    (void)state;
    ac_event_log_t *log = ac_event_log_create(dir, &head, &made), *reader;
    ac_event_cursor_t cursor = {0};
    json_t *data = json_pack("{s:s, s:f, s:i}", "b", "\xc3\xbc", "a", 0.1, "c", 7);
    char *before = ac_json_dump(data, NULL);
    put(log, 1, AC_EVENT_RUN, data, "");
    put(log, 2, AC_EVENT_TOKEN, NULL, "a\"\xe2\x98\x83\n");
    put(log, 3, AC_EVENT_ERROR, json_pack("{s:s, s:i}", "code", "stopping", "retry_after_ms", 1500), "");
    reader = ac_event_log_find(dir, "run_01");
    assert_non_null(reader);
    assert_string_equal(ac_event_log_header(reader)->owner, "ann");
    ac_event_t *event = ac_event_log_next(reader, &cursor, NULL);
    char *after = ac_json_dump(event->data, NULL);
    assert_string_equal(after, before);
    assert_int_equal(event->at, 1700000000000001);
    ac_event_unref(event);
    event = ac_event_log_next(reader, &cursor, NULL);
    assert_int_equal(event->type, AC_EVENT_TOKEN);
    assert_string_equal(event->text, "a\"\xe2\x98\x83\n");
    ac_event_unref(event);
    event = ac_event_log_next(reader, &cursor, NULL);
    assert_int_equal(event->kind, AC_STOPPING);
    assert_int_equal(event->retry_after, 1500000);
    ac_event_unref(event);
    assert_null(ac_event_log_next(reader, &cursor, NULL));
    free(before);
    free(after);
    ac_event_log_close(reader);
    ac_event_log_close(log);
}

static void test_the_end_brings_the_message(void **state)
{
    (void)state;
    ac_event_log_t *log = ac_event_log_create(dir, &head, &made);
    ac_event_t *done = ac_event_create(AC_EVENT_DONE, json_pack("{s:s}", "status", "completed"), "all of it", 9),
               *event;
    ac_event_cursor_t cursor = {.after = 5};
    json_t *closing = NULL, *written = json_pack("{s:{s:s}}", "run", "id", "run_01");
    done->message = json_pack("{s:s, s:s}", "id", "msg_02", "content", "all of it");
    done->seq = 2;
    put(log, 1, AC_EVENT_TOKEN, NULL, "all of it");
    assert_true(ac_event_log_write_closing(log, written));
    ac_event_log_append(log, done);
    ac_event_log_end(log);
    assert_true(ac_event_log_ended(log) > 0);
    event = ac_event_log_next(log, &cursor, &closing); /* though it is not after number 5 */
    assert_int_equal(event->type, AC_EVENT_DONE);
    assert_string_equal(event->text, "all of it");
    assert_true(json_equal(event->message, done->message));
    assert_true(json_equal(closing, written));
    assert_int_equal(cursor.n_text, 9);
    json_decref(closing);
    json_decref(written);
    ac_event_unref(event);
    ac_event_unref(done);
    ac_event_log_close(log);
}

static void test_the_last_note_of_the_stored_part_counts(void **state)
{
    (void)state;
    ac_event_log_t *log = ac_event_log_create(dir, &head, &made), *reader = ac_event_log_find(dir, "run_01");
    json_t *first = json_pack("{s:i}", "rounds", 0), *second = json_pack("{s:i}", "rounds", 3), *stored;
    ac_event_cursor_t cursor = {0};
    int n = 0;
    assert_null(ac_event_log_read_stored(reader));
    assert_true(ac_event_log_write_stored(log, first));
    put_tokens(log, 1, 1000, "a few words of an answer"); /* the file grows */
    stored = ac_event_log_read_stored(reader);
    assert_true(json_equal(stored, first));
    json_decref(stored);
    assert_true(ac_event_log_write_stored(log, second));
    put_tokens(log, 1001, 1, "more");
    stored = ac_event_log_read_stored(reader);
    assert_true(json_equal(stored, second));
    json_decref(stored);
    assert_int_equal(drain(reader, &cursor, &n), 1001); /* they are no events */
    assert_int_equal(n, 1001);
    json_decref(first);
    json_decref(second);
    ac_event_log_close(reader);
    ac_event_log_close(log);
}

static void test_readers_follow_while_it_grows(void **state)
{
    (void)state;
    ac_event_log_t *log = ac_event_log_create(dir, &head, &made), *reader = ac_event_log_find(dir, "run_01");
    ac_event_cursor_t cursor = {0}, late = {.after = 3000};
    uint64_t seq = 0;
    int n = 0, n_late = 0;
    for (int round = 0; round < 50; round++) {
        put_tokens(log, seq + 1, 100, "a few words of an answer");
        seq += 100;
        assert_int_equal(drain(reader, &cursor, &n), seq);
        assert_int_equal(ac_event_log_seq(reader), seq);
    }
    assert_int_equal(n, 5000);
    assert_int_equal(drain(reader, &late, &n_late), 5000);
    assert_int_equal(n_late, 2000);
    assert_int_equal(late.n_text, 5000 * strlen("a few words of an answer"));
    ac_event_log_close(reader);
    ac_event_log_close(log);
}

static void test_unused_space_is_returned(void **state)
{
    (void)state;
    ac_event_log_t *log = ac_event_log_create(dir, &head, &made), *reader;
    char path[AC_LOG_PATH_SIZE];
    struct stat before, after;
    ac_event_cursor_t cursor = {0};
    int n = 0;
    ac_event_dir_log_path(path, dir, ac_event_dir_key(dir), "run_01");
    put_tokens(log, 1, 1500, "word ");
    stat(path, &before);
    reader = ac_event_log_find(dir, "run_01");
    ac_event_log_end(log);
    stat(path, &after);
    assert_true(after.st_size < before.st_size && after.st_size >= 1500 * 32);
    assert_int_equal(drain(reader, &cursor, &n), 1500);
    ac_event_log_close(reader);
    ac_event_log_close(log);
}

static void test_a_log_that_is_full_is_cut(void **state)
{
    (void)state;
    ac_event_log_t *log = ac_event_log_create(dir, &head, &made);
    ac_event_cursor_t cursor = {0};
    char text[10001];
    int n = 0;
    memset(text, 'x', 10000);
    text[10000] = '\0';
    put_tokens(log, 1, 200, text);
    assert_true(ac_event_log_is_cut(log));
    uint64_t last = drain(log, &cursor, &n);
    assert_true(last > 90 && last < 110);
    assert_int_equal(ac_event_log_seq(log), last);
    put(log, 201, AC_EVENT_TOKEN, NULL, "small enough, but then there would be a gap");
    assert_int_equal(drain(log, &cursor, &n), 0);
    ac_event_log_close(log);
}

static void test_damaged_files_are_no_logs(void **state)
{
    (void)state;
    char path[AC_LOG_PATH_SIZE];
    ac_event_log_t *log = ac_event_log_create(dir, &head, &made);
    put_tokens(log, 1, 3, "x");
    ac_event_log_close(log);
    ac_event_dir_log_path(path, dir, ac_event_dir_key(dir), "run_01");
    FILE *file = fopen(path, "r+");
    fseek(file, 1024, SEEK_SET);
    fwrite("\xff\xff\xff\x7f", 1, 4, file); /* the first record's length */
    fclose(file);
    ac_event_cursor_t cursor = {0};
    log = ac_event_log_find(dir, "run_01");
    assert_null(ac_event_log_next(log, &cursor, NULL));
    ac_event_log_close(log);
    assert_int_equal(truncate(path, 1030), 0); /* less than the header says is complete */
    assert_null(ac_event_log_find(dir, "run_01"));
    assert_int_equal(truncate(path, 500), 0);
    assert_null(ac_event_log_find(dir, "run_01"));
    assert_null(ac_event_log_find(dir, "run_02"));
    assert_null(ac_event_log_create(dir, &head, &made)); /* its name is taken */
}

/* A child with a log of its own that waits to be killed. */
static pid_t fork_owner(ac_child_key_t *pkey)
{
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        ac_event_dir_t *own;
        if (ac_event_dir_open(&own, top, 1024 * 1024, 0) != APR_SUCCESS) {
            _exit(1);
        }
        ac_event_log_t *log = ac_event_log_create(own, &head, &made);
        put_tokens(log, 1, 300, "said before the end ");
        ac_child_key_t key = ac_event_dir_key(own);
        if (write(ready[1], &key, sizeof key) != sizeof key) {
            _exit(1);
        }
        pause();
        _exit(0);
    }
    assert_int_equal(read(ready[0], pkey, sizeof *pkey), sizeof *pkey);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void test_the_log_of_a_killed_process(void **state)
{
    (void)state;
    ac_child_key_t key, children[8];
    ac_event_cursor_t cursor = {0};
    int n = 0;
    pid_t pid = fork_owner(&key);
    assert_true(ac_event_dir_alive(dir, key));
    assert_int_equal(ac_event_dir_children(dir, children, 8), 2);
    ac_event_log_t *log = ac_event_log_find(dir, "run_01");
    assert_true(ac_event_log_child(log) == key);
    assert_int_equal(drain(log, &cursor, &n), 300);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_false(ac_event_dir_alive(dir, key));
    ac_event_dir_remove(dir, key); /* not while a log is there */
    ac_event_log_t *taken = ac_event_log_adopt(dir, key, "run_01");
    assert_non_null(taken);
    assert_null(ac_event_log_adopt(dir, key, "run_01"));
    assert_true(ac_event_log_child(taken) == ac_event_dir_key(dir));
    put(taken, 301, AC_EVENT_ERROR, json_pack("{s:s}", "code", "interrupted"), "");
    assert_int_equal(drain(log, &cursor, &n), 301);
    ac_event_dir_remove(dir, key);
    assert_int_equal(ac_event_dir_children(dir, children, 8), 1);
    ac_event_log_close(log);
    ac_event_log_close(taken);
    ac_event_log_unlink(dir, "run_01");
    assert_null(ac_event_log_find(dir, "run_01"));
}

/* It is there and whole, and is not lost for a descriptor. */
static void test_a_log_that_cannot_be_opened_now(void **state)
{
    (void)state;
    ac_event_dir_t *other;
    struct rlimit limit, few;
    assert_int_equal(ac_event_dir_open(&other, top, 1024 * 1024, 0), APR_SUCCESS);
    ac_event_log_close(ac_event_log_create(dir, &head, &made));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    few = (struct rlimit){3, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    assert_null(ac_event_log_adopt(other, ac_event_dir_key(dir), "run_01"));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ac_event_log_t *log = ac_event_log_find(other, "run_01");
    assert_non_null(log);
    assert_true(ac_event_log_child(log) == ac_event_dir_key(dir));
    ac_event_log_close(log);
    log = ac_event_log_adopt(other, ac_event_dir_key(dir), "run_01");
    assert_non_null(log);
    ac_event_log_close(log);
    ac_event_log_unlink(other, "run_01");
    ac_event_dir_close(other);
}

static void test_a_watcher_is_notified(void **state)
{
    (void)state;
    ac_event_dir_t *other;
    char text[64] = "";
    assert_int_equal(ac_event_dir_open(&other, top, 1024 * 1024, 0), APR_SUCCESS);
    ac_event_log_t *log = ac_event_log_create(dir, &head, &made), *reader = ac_event_log_find(other, "run_01");
    ac_event_watcher_notify(log, dir);
    assert_true(recv(ac_event_dir_socket(other), text, sizeof text, MSG_DONTWAIT) < 0);
    assert_true(ac_event_watcher_add(reader, ac_event_dir_key(other)));
    assert_true(ac_event_watcher_add(reader, ac_event_dir_key(other)));
    assert_true(ac_event_watcher_any(log));
    ac_event_watcher_notify(log, dir);
    assert_int_equal(recv(ac_event_dir_socket(other), text, sizeof text, MSG_DONTWAIT), strlen("wake run_01"));
    assert_memory_equal(text, "wake run_01", strlen("wake run_01"));
    ac_event_watcher_remove(reader, ac_event_dir_key(other));
    assert_true(ac_event_watcher_any(log));
    ac_event_watcher_remove(reader, ac_event_dir_key(other));
    assert_false(ac_event_watcher_any(log));
    for (ac_child_key_t key = 1; key <= 8; key++) {
        assert_true(ac_event_watcher_add(reader, key));
    }
    assert_false(ac_event_watcher_add(reader, 9)); /* the ninth child looks by itself */
    ac_event_watcher_notify(log, dir);             /* and those eight do not exist */
    assert_false(ac_event_watcher_any(log));
    ac_event_log_close(reader);
    ac_event_log_close(log);
    ac_event_log_unlink(dir, "run_01");
    ac_event_dir_close(other);
}

static void test_names(void **state)
{
    (void)state;
    char name[AC_CHILD_NAME_SIZE];
    ac_event_dir_child_name(name, 0x0000123489abcdefu);
    assert_string_equal(name, "c-00001234-89abcdef");
    assert_true(ac_event_dir_child_key(name) == 0x0000123489abcdefu);
    assert_true(ac_event_dir_child_key("c-1234-89abcdef") == 0 && ac_event_dir_child_key("new-0000123489abcdef") == 0 &&
                ac_event_dir_child_key("..") == 0);
    assert_true(ac_event_dir_child_key("c-00001234-89abcdef-x") == 0);
    ac_event_dir_t *nowhere;
    assert_int_equal(ac_event_dir_open(&nowhere, "/nonexistent/place", 1, 0), ENOENT);
    ac_event_dir_close(nowhere);
}

int main(void)
{
    apr_initialize();
    const struct CMUnitTest group[] = {
        cmocka_unit_test_setup_teardown(test_every_kind_comes_back_as_it_was, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_end_brings_the_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_last_note_of_the_stored_part_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_readers_follow_while_it_grows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unused_space_is_returned, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_log_that_is_full_is_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_files_are_no_logs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_log_of_a_killed_process, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_log_that_cannot_be_opened_now, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_watcher_is_notified, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names, setup, teardown),
    };
    return cmocka_run_group_tests_name("event log", group, NULL, NULL);
}
