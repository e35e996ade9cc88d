/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of event logs: the bytes of entries, and what a writer sends when. The mirror is the test's. */
#include "mirror_world.h"

/* ---- entries ---- */

static void expect_event(ac_mirror_cursor_t *cursor, uint64_t seq, ac_event_type_e type, const char *text)
{
    ac_event_t *event = ac_mirror_entry_next(cursor);
    assert_non_null(event);
    assert_int_equal(event->seq, seq);
    assert_int_equal(event->type, type);
    assert_int_equal(event->at, 1000 * (apr_time_t)seq);
    if (text) {
        assert_string_equal(event->text, text);
    }
    ac_event_unref(event);
}

static void test_an_entry_is_read_as_it_was_packed(void **state)
{
    ac_event_log_t *log = make_log("run_1");
    ac_mirror_place_t place = {0};
    ac_mirror_cursor_t cursor;
    ac_buf_t bytes;
    (void)state;
    append(log, 1, AC_EVENT_RUN, NULL);
    append(log, 2, AC_EVENT_TOKEN, "gr\xc3\xbc\xc3\x9f");
    ac_event_log_write_stored(log, json_null()); /* of this machine alone */
    append(log, 3, AC_EVENT_TOKEN, "e");
    append(log, 4, AC_EVENT_DONE,
           "gr\xc3\xbc\xc3\x9f"
           "e");
    ac_buf_init(&bytes, 4096);
    assert_int_equal(ac_mirror_entry_pack(&bytes, log, &place), 4);
    assert_int_equal(place.seq, 4);
    assert_int_equal(place.n_text, 7);
    assert_true(ac_mirror_entry_open(&cursor, bytes.data, bytes.len));
    assert_int_equal(cursor.seq, 0);
    expect_event(&cursor, 1, AC_EVENT_RUN, NULL);
    expect_event(&cursor, 2, AC_EVENT_TOKEN, "gr\xc3\xbc\xc3\x9f");
    assert_int_equal(cursor.n_text, 6);
    expect_event(&cursor, 3, AC_EVENT_TOKEN, "e");
    expect_event(&cursor, 4, AC_EVENT_DONE,
                 "gr\xc3\xbc\xc3\x9f"
                 "e");
    assert_null(ac_mirror_entry_next(&cursor));
    assert_false(cursor.is_damaged);
    ac_buf_clear(&bytes);
    assert_int_equal(ac_mirror_entry_pack(&bytes, log, &place), 0);
    assert_int_equal(bytes.len, 0);
    ac_mirror_entry_seek(&place, log, 2);
    assert_int_equal(ac_mirror_entry_pack(&bytes, log, &place), 2);
    assert_true(ac_mirror_entry_open(&cursor, bytes.data, bytes.len));
    assert_int_equal(cursor.seq, 2);
    assert_int_equal(cursor.n_text, 6);
    ac_buf_free(&bytes);
    ac_event_log_close(log);
}

/* Whatever was changed or cut off, the reader stays within the bytes. */
static void test_a_damaged_entry(void **state)
{
    ac_event_log_t *log = make_log("run_1");
    ac_mirror_place_t place = {0};
    ac_mirror_cursor_t cursor;
    ac_buf_t bytes;
    (void)state;
    append(log, 1, AC_EVENT_RUN, NULL);
    append(log, 2, AC_EVENT_TOKEN, "one");
    append(log, 3, AC_EVENT_ERROR, NULL);
    ac_buf_init(&bytes, 4096);
    ac_mirror_entry_pack(&bytes, log, &place);
    for (size_t len = 0; len < bytes.len; len++) {
        char *copy = malloc(len ? len : 1);
        memcpy(copy, bytes.data, len);
        for (bool open = ac_mirror_entry_open(&cursor, copy, len); open;) {
            ac_event_t *event = ac_mirror_entry_next(&cursor);
            open = event != NULL;
            ac_event_unref(event);
        }
        free(copy);
    }
    for (size_t i = 0; i < bytes.len * 255; i++) {
        char *copy = malloc(bytes.len);
        memcpy(copy, bytes.data, bytes.len);
        copy[i / 255] = (char)(copy[i / 255] + 1 + (int)(i % 255));
        for (bool open = ac_mirror_entry_open(&cursor, copy, bytes.len); open;) {
            ac_event_t *event = ac_mirror_entry_next(&cursor);
            open = event != NULL;
            ac_event_unref(event);
        }
        free(copy);
    }
    ac_buf_free(&bytes);
    ac_event_log_close(log);
}

/* ---- what is sent when ---- */

static void test_the_first_events_go_at_once_and_later_ones_together(void **state)
{
    ac_event_log_t *log = make_log("run_1");
    ac_mirror_writer_t *writer = ac_mirror_writer_create(&writers, log, 0);
    (void)state;
    emit(writer, log, 1, AC_EVENT_RUN, NULL);
    fake_turn();
    expect_sent(0, "run_1", 1, 1);
    for (uint64_t seq = 2; seq < 10; seq++) {
        emit(writer, log, seq, AC_EVENT_TOKEN, "x");
        fake_turn();
    }
    assert_int_equal(n_sent, 1);
    fake_pass(apr_time_from_msec(25));
    assert_int_equal(n_sent, 1); /* one entry in flight */
    answer(0, AC_MIRROR_DONE, 1);
    fake_pass(apr_time_from_msec(25));
    expect_sent(1, "run_1", 2, 9);
    answer(1, AC_MIRROR_DONE, 9);
    fake_pass(apr_time_from_sec(1));
    assert_int_equal(n_sent, 2);
    ac_mirror_writer_leave(writer);
    ac_event_log_close(log);
}

static void test_sixty_four_events_do_not_wait(void **state)
{
    ac_event_log_t *log = make_log("run_1");
    ac_mirror_writer_t *writer = ac_mirror_writer_create(&writers, log, 0);
    (void)state;
    emit(writer, log, 1, AC_EVENT_RUN, NULL);
    fake_turn();
    answer(0, AC_MIRROR_DONE, 1);
    for (uint64_t seq = 2; seq < 2 + 64; seq++) {
        emit(writer, log, seq, AC_EVENT_TOKEN, "x");
    }
    fake_turn();
    expect_sent(1, "run_1", 2, 65);
    ac_mirror_writer_leave(writer);
    answer(1, AC_MIRROR_DONE, 65);
    ac_event_log_close(log);
}

static void test_all_runs_of_a_child_send_together(void **state)
{
    ac_event_log_t *logs[3];
    ac_mirror_writer_t *of[3];
    char name[8];
    (void)state;
    writers.sent = fake.now;
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "run_%d", i);
        logs[i] = make_log(name);
        of[i] = ac_mirror_writer_create(&writers, logs[i], 0);
        emit(of[i], logs[i], 1, AC_EVENT_RUN, NULL);
        fake_pass(apr_time_from_msec(5));
    }
    assert_int_equal(n_sent, 0);
    fake_pass(apr_time_from_msec(10));
    assert_int_equal(n_sent, 3);
    for (int i = 0; i < 3; i++) {
        answer(i, AC_MIRROR_DONE, 1);
        ac_mirror_writer_leave(of[i]);
        ac_event_log_close(logs[i]);
    }
}

/* ---- what the mirror answers ---- */

static void test_a_second_writer_is_refused_and_stops(void **state)
{
    ac_event_log_t *log = make_log("run_1");
    ac_mirror_writer_t *writer = ac_mirror_writer_create(&writers, log, 0);
    (void)state;
    emit(writer, log, 1, AC_EVENT_RUN, NULL);
    fake_turn();
    answer(0, AC_MIRROR_REFUSED, 0);
    emit(writer, log, 2, AC_EVENT_TOKEN, "x");
    fake_pass(apr_time_from_sec(10));
    assert_int_equal(n_sent, 1);
    n_kept = 0;
    ac_mirror_writer_end(writer, log, keep, NULL);
    assert_int_equal(n_kept, 1);
}

static void test_a_mirror_with_later_events_is_another_ones(void **state)
{
    ac_event_log_t *log = make_log("run_1");
    ac_mirror_writer_t *writer = ac_mirror_writer_create(&writers, log, 0);
    (void)state;
    emit(writer, log, 1, AC_EVENT_RUN, NULL);
    fake_turn();
    answer(0, AC_MIRROR_DONE, 5);
    emit(writer, log, 2, AC_EVENT_TOKEN, "x");
    fake_pass(apr_time_from_sec(10));
    assert_int_equal(n_sent, 1);
    ac_mirror_writer_leave(writer);
    ac_event_log_close(log);
}

/* FLUSHALL, an expired copy, another Redis. */
static void test_a_mirror_that_lost_events_gets_them_again(void **state)
{
    ac_event_log_t *log = make_log("run_1");
    ac_mirror_writer_t *writer = ac_mirror_writer_create(&writers, log, 0);
    (void)state;
    emit(writer, log, 1, AC_EVENT_RUN, NULL);
    fake_turn();
    answer(0, AC_MIRROR_DONE, 1);
    emit(writer, log, 2, AC_EVENT_TOKEN, "x");
    fake_pass(apr_time_from_msec(25));
    expect_sent(1, "run_1", 2, 2);
    answer(1, AC_MIRROR_DONE, 0);
    expect_sent(2, "run_1", 1, 2);
    answer(2, AC_MIRROR_DONE, 2);
    ac_mirror_writer_leave(writer);
    ac_event_log_close(log);
}

static void test_how_long_events_wait(void **state)
{
    ac_event_log_t *log = make_log("run_1");
    ac_mirror_writer_t *writer = ac_mirror_writer_create(&writers, log, 0);
    (void)state;
    assert_int_equal(ac_mirror_writer_lag(&writers), 0);
    emit(writer, log, 1, AC_EVENT_RUN, NULL);
    fake_turn();
    fake_pass(apr_time_from_sec(3));
    assert_int_equal(ac_mirror_writer_lag(&writers), apr_time_from_sec(3));
    emit(writer, log, 2, AC_EVENT_TOKEN, "x"); /* while the first one is in flight */
    fake_pass(apr_time_from_sec(4));
    assert_int_equal(ac_mirror_writer_lag(&writers), apr_time_from_sec(7));
    answer(0, AC_MIRROR_DONE, 1);
    assert_int_equal(ac_mirror_writer_lag(&writers), apr_time_from_sec(4));
    answer(1, AC_MIRROR_FAILED, 0);
    fake_pass(apr_time_from_sec(1));
    assert_int_equal(ac_mirror_writer_lag(&writers), apr_time_from_sec(5));
    answer(2, AC_MIRROR_DONE, 2);
    assert_int_equal(ac_mirror_writer_lag(&writers), 0);
    emit(writer, log, 3, AC_EVENT_TOKEN, "x");
    fake_pass(apr_time_from_sec(1));
    answer(3, AC_MIRROR_DONE, 0); /* it lost all */
    assert_int_equal(ac_mirror_writer_lag(&writers), apr_time_from_sec(1));
    answer(4, AC_MIRROR_DONE, 3);
    assert_int_equal(ac_mirror_writer_lag(&writers), 0);
    emit(writer, log, 4, AC_EVENT_TOKEN, "x");
    fake_turn();
    answer(5, AC_MIRROR_REFUSED, 0);
    assert_int_equal(ac_mirror_writer_lag(&writers), 0);
    ac_mirror_writer_leave(writer);
    ac_event_log_close(log);
}

/* A log that was adopted: its first writer had come as far as event 2. */
static void test_a_writer_continues_where_another_one_stopped(void **state)
{
    ac_event_log_t *log = make_log("run_1");
    char name[AC_MIRROR_WRITER_SIZE];
    ac_mirror_writer_t *writer = ac_mirror_writer_create(&writers, log, 7);
    (void)state;
    for (uint64_t seq = 1; seq < 4; seq++) {
        emit(writer, log, seq, AC_EVENT_TOKEN, "x");
    }
    fake_turn();
    apr_cpystrn(name, sent[0].writer, sizeof name);
    assert_true(strncmp(name, "7-", 2) == 0);
    ac_mirror_writer_leave(writer);
    answer(0, AC_MIRROR_FAILED, 0);
    writer = ac_mirror_writer_create(&writers, log, 99);
    fake_pass(apr_time_from_sec(1));
    expect_sent(1, "run_1", 1, 3);
    assert_string_equal(sent[1].writer, name);
    append(log, 4, AC_EVENT_ERROR, NULL);
    ac_mirror_writer_notify(writer);
    answer(1, AC_MIRROR_DONE, 3);
    fake_pass(apr_time_from_sec(1));
    expect_sent(2, "run_1", 4, 4);
    answer(2, AC_MIRROR_DONE, 4);
    ac_mirror_writer_leave(writer);
    ac_event_log_close(log);
}

static void test_a_failure_is_tried_again_but_not_at_each_event(void **state)
{
    ac_event_log_t *log = make_log("run_1");
    ac_mirror_writer_t *writer = ac_mirror_writer_create(&writers, log, 0);
    (void)state;
    emit(writer, log, 1, AC_EVENT_RUN, NULL);
    fake_turn();
    answer(0, AC_MIRROR_FAILED, 0);
    for (uint64_t seq = 2; seq < 100; seq++) {
        emit(writer, log, seq, AC_EVENT_TOKEN, "x");
        fake_pass(apr_time_from_msec(1));
    }
    assert_int_equal(n_sent, 1);
    fake_pass(apr_time_from_sec(1));
    expect_sent(1, "run_1", 1, 64);
    answer(1, AC_MIRROR_AGAIN, 0); /* a script that the server does not know: at once */
    expect_sent(2, "run_1", 1, 64);
    answer(2, AC_MIRROR_DONE, 64);
    fake_pass(apr_time_from_sec(1));
    expect_sent(3, "run_1", 65, 99);
    ac_mirror_writer_leave(writer);
    answer(3, AC_MIRROR_DONE, 99);
    ac_event_log_close(log);
}

static void test_nothing_is_sent_while_the_mirror_is_away(void **state)
{
    ac_event_log_t *log = make_log("run_1");
    ac_mirror_writer_t *writer = ac_mirror_writer_create(&writers, log, 0);
    (void)state;
    mirror_up = false;
    for (uint64_t seq = 1; seq < 10; seq++) {
        emit(writer, log, seq, AC_EVENT_TOKEN, "x");
        fake_turn();
        fake_pass(apr_time_from_sec(1));
    }
    assert_int_equal(n_sent, 0);
    mirror_up = true;
    fake_pass(apr_time_from_sec(1));
    expect_sent(0, "run_1", 1, 9);
    ac_mirror_writer_leave(writer);
    answer(0, AC_MIRROR_DONE, 9);
    ac_event_log_close(log);
}

/* ---- the end ---- */

static void test_the_end_is_sent_at_once_and_the_log_kept_afterwards(void **state)
{
    ac_event_log_t *log = make_log("run_1");
    ac_mirror_writer_t *writer = ac_mirror_writer_create(&writers, log, 0);
    (void)state;
    emit(writer, log, 1, AC_EVENT_RUN, NULL);
    fake_turn();
    append(log, 2, AC_EVENT_DONE, "");
    ac_event_log_end(log);
    n_kept = 0;
    ac_mirror_writer_end(writer, log, keep, NULL);
    assert_int_equal(n_kept, 0);
    answer(0, AC_MIRROR_DONE, 1);
    expect_sent(1, "run_1", 2, 2);
    assert_int_equal(sent[0].keep, apr_time_from_sec(300 + 60));
    assert_int_equal(sent[1].keep, apr_time_from_sec(300));
    answer(1, AC_MIRROR_DONE, 2);
    assert_int_equal(n_kept, 1);
    assert_null(writers.first);
}

static void test_the_log_is_kept_at_once_if_the_mirror_fails(void **state)
{
    (void)state;
    for (int away = 0; away < 2; away++) {
        ac_event_log_t *log = make_log(away ? "run_1" : "run_2");
        ac_mirror_writer_t *writer = ac_mirror_writer_create(&writers, log, 0);
        n_kept = n_sent = 0;
        mirror_up = !away;
        append(log, 1, AC_EVENT_ERROR, NULL);
        ac_mirror_writer_end(writer, log, keep, NULL);
        assert_int_equal(n_kept, away);
        if (!away) {
            answer(0, AC_MIRROR_FAILED, 0);
        }
        assert_int_equal(n_kept, 1);
        assert_null(writers.first);
    }
}

static void test_a_child_that_ends_closes_the_logs(void **state)
{
    ac_event_log_t *log = make_log("run_1"), *other = make_log("run_2");
    ac_mirror_writer_t *writer = ac_mirror_writer_create(&writers, log, 0);
    ac_mirror_writer_t *active = ac_mirror_writer_create(&writers, other, 0);
    (void)state;
    emit(active, other, 1, AC_EVENT_RUN, NULL);
    append(log, 1, AC_EVENT_ERROR, NULL);
    ac_mirror_writer_end(writer, log, keep, NULL);
    ac_mirror_writer_destroy_all(&writers); /* and the log in flight */
    ac_event_log_close(other);
}

/* The number of entries that stay follows from their size. */
static void test_the_size_of_a_copy_is_limited(void **state)
{
    ac_event_log_t *log = make_log("run_1");
    ac_mirror_writer_t *writer = ac_mirror_writer_create(&writers, log, 0);
    static char text[16 * 1024];
    (void)state;
    memset(text, 'x', sizeof text - 1);
    for (uint64_t seq = 1; seq < 20; seq++) {
        emit(writer, log, seq, AC_EVENT_TOKEN, text);
        fake_turn();
        fake_pass(apr_time_from_msec(25));
        answer((int)seq - 1, AC_MIRROR_DONE, seq);
    }
    assert_int_equal(sent[18].max_entries, 128);
    ac_mirror_writer_leave(writer);
    ac_event_log_close(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_entry_is_read_as_it_was_packed),
        TEST(test_a_damaged_entry),
        TEST(test_the_first_events_go_at_once_and_later_ones_together),
        TEST(test_sixty_four_events_do_not_wait),
        TEST(test_all_runs_of_a_child_send_together),
        TEST(test_a_second_writer_is_refused_and_stops),
        TEST(test_a_mirror_with_later_events_is_another_ones),
        TEST(test_a_mirror_that_lost_events_gets_them_again),
        TEST(test_how_long_events_wait),
        TEST(test_a_writer_continues_where_another_one_stopped),
        TEST(test_a_failure_is_tried_again_but_not_at_each_event),
        TEST(test_nothing_is_sent_while_the_mirror_is_away),
        TEST(test_the_end_is_sent_at_once_and_the_log_kept_afterwards),
        TEST(test_the_log_is_kept_at_once_if_the_mirror_fails),
        TEST(test_a_child_that_ends_closes_the_logs),
        TEST(test_the_size_of_a_copy_is_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
