/* SPDX-License-Identifier: Apache-2.0 */
/* Event streams, read and written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/wire.h"

typedef struct heard_t {
    char text[512]; /* "event|data;" of each */
    int n_events, stop_after;
    const char *from, *to; /* where data that was not copied lies */
    int n_in_place;
} heard_t;

static bool on_event(void *baton, const char *event, const char *data, size_t len)
{
    heard_t *heard = baton;
    size_t used = strlen(heard->text);
    snprintf(heard->text + used, sizeof(heard->text) - used, "%s|%.*s;", event, (int)len, data);
    heard->n_in_place += heard->from && data >= heard->from && data + len <= heard->to;
    return ++heard->n_events != heard->stop_after;
}

/* Feeds the stream whole and byte by byte; both must give what is expected. */
static void expect_events(const char *stream, const char *expected)
{
    size_t len = strlen(stream);
    for (size_t step = 1; step <= len; step++) {
        heard_t heard = {.from = NULL};
        ac_sse_reader_t reader;
        ac_sse_reader_init(&reader);
        for (size_t i = 0; i < len; i += step) {
            size_t n = len - i < step ? len - i : step;
            assert_int_equal(ac_sse_read(&reader, stream + i, n, on_event, &heard, NULL), APR_SUCCESS);
        }
        ac_sse_finish(&reader, on_event, &heard);
        assert_string_equal(heard.text, expected);
        ac_sse_reader_free(&reader);
    }
}

static void test_line_ends(void **state)
{
    (void)state;
    expect_events("data: a\n\ndata: b\n\n", "|a;|b;");
    expect_events("data: a\r\n\r\ndata: b\r\n\r\n", "|a;|b;");
    expect_events("data: a\r\rdata: b\r\r", "|a;|b;");
    expect_events("data: a\n\r\ndata: b\r\n\ndata: c\r\rdata: d\n\n", "|a;|b;|c;|d;");
}

static void test_fields(void **state)
{
    (void)state;
    expect_events("data:a\n\n", "|a;");
    expect_events("data:  a\n\n", "| a;");
    expect_events("data\n\n", "|;");
    expect_events("data:\n\n", "|;");
    expect_events("data: a\ndata:\ndata: b\n\n", "|a\n\nb;");
    expect_events("event: error\ndata: a\n\ndata: b\n\n", "error|a;|b;");
    expect_events("event:x\nevent: y\ndata: a\n\n", "y|a;");
    expect_events("event: lost\n\ndata: a\n\n", "|a;");
    expect_events(": OPENROUTER PROCESSING\n\n:\n\nid: 3\nretry: 5\ndata: a\nother: b\ndatax: c\n\n", "|a;");
    expect_events("event: a-name-that-is-much-longer-than-any\ndata: a\n\n", "a-name-that-is-much-longer-than|a;");
}

static void test_byte_order_mark(void **state)
{
    (void)state;
    expect_events("\xef\xbb\xbf"
                  "data: a\n\n",
                  "|a;");
    expect_events("\xef\xbb\xbf\n\ndata: a\n\n", "|a;");
    expect_events("data: a\n\n\xef\xbb\xbf"
                  "data: b\n\ndata: c\n\n",
                  "|a;|c;");
}

static void test_open_end(void **state)
{
    (void)state;
    expect_events("data: a\n\ndata: [DONE]", "|a;|[DONE];");
    expect_events("data: a\n\ndata: b\n", "|a;|b;");
    expect_events("data: a\n\nevent: x\n", "|a;");
    expect_events("data: a\n\ndata: b\r", "|a;|b;");
}

static void test_not_copied(void **state)
{
    static const char stream[] = ":\n\ndata: {\"a\":1}\n\ndata: {\"b\":2}\r\n\r\ndata: c\ndata: d\n\n";
    heard_t heard = {.from = stream, .to = stream + sizeof(stream)};
    ac_sse_reader_t reader;
    (void)state;
    ac_sse_reader_init(&reader);
    assert_int_equal(ac_sse_read(&reader, stream, sizeof(stream) - 1, on_event, &heard, NULL), APR_SUCCESS);
    assert_int_equal(heard.n_events, 3);
    assert_int_equal(heard.n_in_place, 2);
    ac_sse_reader_free(&reader);
}

static void test_stop(void **state)
{
    static const char stream[] = "data: a\n\ndata: b\n\ndata: c\n\n";
    heard_t heard = {.stop_after = 2};
    ac_sse_reader_t reader;
    (void)state;
    ac_sse_reader_init(&reader);
    assert_int_equal(ac_sse_read(&reader, stream, sizeof(stream) - 1, on_event, &heard, NULL), APR_SUCCESS);
    assert_int_equal(ac_sse_read(&reader, stream, sizeof(stream) - 1, on_event, &heard, NULL), APR_SUCCESS);
    ac_sse_finish(&reader, on_event, &heard);
    assert_string_equal(heard.text, "|a;|b;");
    ac_sse_reader_free(&reader);
}

/* Feeds size bytes of text again and again until it is refused; how often it was taken. */
static int feed_until_refused(const char *first, const char *again, size_t size, int tries)
{
    heard_t heard = {.from = NULL};
    ac_sse_reader_t reader;
    ac_err_t err = {0};
    int taken = 0;
    ac_sse_reader_init(&reader);
    assert_int_equal(ac_sse_read(&reader, first, strlen(first), on_event, &heard, &err), APR_SUCCESS);
    while (taken < tries && ac_sse_read(&reader, again, size, on_event, &heard, &err) == APR_SUCCESS) {
        taken++;
    }
    assert_int_equal(err.kind, taken < tries ? AC_MODEL_ERROR : AC_OK);
    assert_true(reader.line.size <= AC_MAX_SSE_LINE + 1 && reader.data.size <= AC_MAX_SSE_LINE + 1);
    ac_sse_reader_free(&reader);
    return taken;
}

static void test_limits(void **state)
{
    size_t size = 64 * 1024;
    char *block = malloc(size + 1);
    (void)state;
    memset(block, 'x', size);
    block[size] = '\0';
    assert_int_equal(feed_until_refused("data: ", block, size, 100), AC_MAX_SSE_LINE / (int)size - 1);
    memcpy(block, "data: ", 6);
    block[size - 1] = '\n';
    assert_in_range(feed_until_refused("", block, size, 100), AC_MAX_SSE_LINE / size, AC_MAX_SSE_LINE / size + 1);
    block[size - 2] = '\n';
    assert_int_equal(feed_until_refused("", block, size, 100), 100);
    free(block);
    /* One line over the limit that lies whole in what is fed. */
    size = AC_MAX_SSE_LINE + 64;
    block = malloc(size);
    memset(block, 'x', size);
    memcpy(block, "data: ", 6);
    memcpy(block + size - 2, "\n\n", 2);
    assert_int_equal(feed_until_refused("\n", block, size, 1), 0);
    free(block);
}

static void expect_written(uint64_t seq, const char *name, const char *data, const char *expected)
{
    ac_buf_t buf;
    ac_buf_init(&buf, 1024);
    ac_buf_str(&buf, "before;");
    assert_int_equal(ac_sse_write(&buf, seq, name, data, strlen(data)), APR_SUCCESS);
    assert_memory_equal(buf.data, "before;", 7);
    assert_string_equal(buf.data + 7, expected);
    ac_buf_free(&buf);
}

static void test_write(void **state)
{
    (void)state;
    expect_written(0, NULL, "a", "data: a\n\n");
    expect_written(7, NULL, "a", "id: 7\ndata: a\n\n");
    expect_written(18446744073709551615u, "token", "{}", "id: 18446744073709551615\nevent: token\ndata: {}\n\n");
    expect_written(0, "done", "", "event: done\ndata: \n\n");
    expect_written(0, NULL, "a\nb\r\nc\rd\n", "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n");
}

/* Of an event that is whole: a connection that breaks inside of an event is resumed before it. */
static void test_ids_are_kept_on_request(void **state)
{
    (void)state;
    static const char stream[] =
        "id: 1\nretry: 500\ndata: a\n\nid: x\0y\ndata: b\n\nid: 2\ndata: \n\nid: 3\nretry: 5x\ndata: c";
    static const struct {
        size_t len;
        const char *last_id;
        int64_t retry;
    } cases[] = {{5, NULL, -1},  {24, NULL, 500}, {26, "1", 500},
                 {47, "1", 500}, {62, "2", 500},  {sizeof stream - 1, "2", 500}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        heard_t heard = {.from = NULL};
        ac_sse_reader_t reader;
        ac_sse_reader_init(&reader);
        reader.keeps_ids = true;
        ac_sse_read(&reader, stream, cases[i].len, on_event, &heard, NULL);
        assert_string_equal(reader.last_id ? reader.last_id : "none", cases[i].last_id ? cases[i].last_id : "none");
        assert_int_equal(reader.retry, cases[i].retry);
        ac_sse_reader_free(&reader);
    }
    heard_t heard = {.from = NULL};
    ac_sse_reader_t reader;
    ac_sse_reader_init(&reader);
    ac_sse_read(&reader, stream, sizeof stream - 1, on_event, &heard, NULL);
    assert_null(reader.last_id);
    ac_sse_reader_free(&reader);
}

static void test_write_refused(void **state)
{
    ac_buf_t buf;
    (void)state;
    ac_buf_init(&buf, 20);
    assert_int_equal(ac_sse_write(&buf, 1, NULL, "a", 1), APR_SUCCESS);
    assert_int_equal(ac_sse_write(&buf, 2, NULL, "too long", 8), APR_ENOSPC);
    assert_string_equal(buf.data, "id: 1\ndata: a\n\n");
    assert_int_equal(ac_sse_write(&buf, 0, "two\nlines", "a", 1), APR_EINVAL);
    assert_int_equal(buf.len, 15);
    ac_buf_free(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_ends),       cmocka_unit_test(test_fields),
        cmocka_unit_test(test_byte_order_mark), cmocka_unit_test(test_open_end),
        cmocka_unit_test(test_not_copied),      cmocka_unit_test(test_stop),
        cmocka_unit_test(test_limits),          cmocka_unit_test(test_write),
        cmocka_unit_test(test_write_refused),   cmocka_unit_test(test_ids_are_kept_on_request),
    };
    return cmocka_run_group_tests_name("sse", tests, NULL, NULL);
}
