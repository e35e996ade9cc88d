/* SPDX-License-Identifier: Apache-2.0 */
/* A mirror that the test plays, and a directory of event logs. */
#ifndef AC_MIRROR_WORLD_H
#define AC_MIRROR_WORLD_H

#pragma GCC diagnostic ignored "-Wunused-function"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_loop.h"
#include "agent/events/events_internal.h"
#include "scratch.h"

#include <apr_strings.h>

typedef struct sent_t { /* an entry that a writer has sent */
    char run_id[AC_ID_SIZE], writer[AC_MIRROR_WRITER_SIZE];
    uint64_t first, last;
    int max_entries;
    apr_interval_time_t keep;
    ac_mirror_append_fn *fn;
    void *baton;
} sent_t;

static sent_t sent[32];
static int n_sent, n_kept;
static bool mirror_up;
static ac_mirror_t mirror;
static ac_mirror_writers_t writers;
static char top[64];
static ac_event_dir_t *dir;

static void mirror_append(void *self, const ac_mirror_append_t *what, ac_mirror_append_fn *fn, void *baton)
{
    sent_t *one = &sent[n_sent++];
    ac_mirror_cursor_t cursor;
    (void)self;
    assert_true(n_sent < 32);
    apr_cpystrn(one->run_id, what->run_id, sizeof one->run_id);
    apr_cpystrn(one->writer, what->writer, sizeof one->writer);
    one->first = what->first;
    one->last = what->entry.last;
    one->max_entries = what->max_entries;
    one->keep = what->keep;
    one->fn = fn;
    one->baton = baton;
    assert_true(ac_mirror_entry_open(&cursor, what->entry.bytes, what->entry.len));
    assert_int_equal(cursor.seq + 1, what->first);
}

static bool mirror_is_up(const void *self)
{
    (void)self;
    return mirror_up;
}

static const ac_mirror_vt mirror_vt = {.append = mirror_append, .is_up = mirror_is_up};

static void expect_sent(int i, const char *run_id, uint64_t first, uint64_t last)
{
    assert_int_equal(n_sent, i + 1);
    assert_string_equal(sent[i].run_id, run_id);
    assert_int_equal(sent[i].first, first);
    assert_int_equal(sent[i].last, last);
}

static void answer(int i, ac_mirror_result_e result, uint64_t last)
{
    ac_mirror_append_fn *fn = sent[i].fn;
    sent[i].fn = NULL;
    fn(sent[i].baton, result, last);
    fake_turn();
}

static ac_event_log_t *make_log(const char *run_id)
{
    ac_event_log_header_t head = {"", "thread_1", "msg_1", "ann"};
    apr_status_t status;
    apr_cpystrn(head.run_id, run_id, sizeof head.run_id);
    ac_event_log_t *log = ac_event_log_create(dir, &head, &status);
    assert_non_null(log);
    return log;
}

static void append(ac_event_log_t *log, uint64_t seq, ac_event_type_e type, const char *text)
{
    json_t *data = type == AC_EVENT_TOKEN ? NULL : json_pack("{s:s}", "code", "interrupted");
    ac_event_t *event = ac_event_create(type, data, text, text ? strlen(text) : 0);
    event->seq = seq;
    event->at = 1000 * (apr_time_t)seq;
    ac_event_log_append(log, event);
    ac_event_unref(event);
}

static void emit(ac_mirror_writer_t *writer, ac_event_log_t *log, uint64_t seq, ac_event_type_e type, const char *text)
{
    append(log, seq, type, text);
    ac_mirror_writer_notify(writer);
}

static void keep(void *baton, ac_event_log_t *log)
{
    (void)baton;
    n_kept++;
    ac_event_log_close(log);
}

static int set_up(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof fake);
    fake.now = apr_time_from_sec(1000);
    memset(sent, 0, sizeof sent);
    memset(&writers, 0, sizeof writers);
    n_sent = 0;
    mirror_up = true;
    mirror.vt = &mirror_vt;
    ac_mirror_writer_init(&writers, &mirror, NULL);
    writers.keep = apr_time_from_sec(300);
    writers.run_timeout = apr_time_from_sec(60);
    snprintf(top, sizeof top, "/tmp/mirror-XXXXXX");
    assert_non_null(mkdtemp(top));
    assert_int_equal(ac_event_dir_open(&dir, top, 1024 * 1024, 0), APR_SUCCESS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ac_mirror_writer_destroy_all(&writers);
    ac_event_dir_close(dir);
    return scratch_remove(top);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

#endif
