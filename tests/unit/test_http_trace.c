/* SPDX-License-Identifier: Apache-2.0 */
/* The trace context that requests carry, and the spans of their attempts. */
#include "span_sink.h"

#include "http_play.h"

#define OK_HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define BUSY "HTTP/1.1 503 Busy\r\nretry-after-ms: 1\r\nContent-Length: 4\r\n\r\nbusy"

static const server_step_t hello[] = {SEND(OK_HELLO), END}, busy[] = {SEND(BUSY), END};
static http_server_t *elsewhere;
static ac_trace_t trace;

static int set_up(void **state)
{
    static const server_step_t *const scripts[] = {hello, NULL};
    elsewhere = http_server_start(scripts);
    trace = sink_client();
    return play_set_up(state);
}

static int tear_down(void **state)
{
    int status = play_tear_down(state);
    http_server_stop(elsewhere);
    sink_close();
    return status;
}

static void ask(const char *path, const server_step_t *first)
{
    static const server_step_t *scripts[3];
    scripts[0] = first;
    scripts[1] = hello;
    play_scripts(scripts, path);
    exchange.request.trace = &trace;
    exchange.request.spans = true;
    exchange.request.retries = 1;
}

/* The span id in the traceparent of the i-th request; "": it has none. */
static const char *sent_span(http_server_t *to, int i)
{
    static char id[17];
    const char *header = strstr(http_server_request(to, i), "\r\ntraceparent: 00-" SINK_TRACE "-");
    *id = '\0';
    if (header) {
        const char *at = header + strlen("\r\ntraceparent: 00-" SINK_TRACE "-");
        memcpy(id, at, 16);
        assert_memory_equal(at + 16, "-01\r\n", 5);
    }
    return id;
}

static void test_a_context_is_sent_although_nothing_is_exported(void **state)
{
    (void)state;
    ask("/", hello);
    exchange_run(&exchange);
    assert_string_equal(exchange.body, "hello");
    assert_string_equal(sent_span(server, 0), SINK_SPAN);
    assert_non_null(strstr(http_server_request(server, 0), "\r\ntracestate: vendor=1\r\n"));
}

static void test_no_header_without_a_whole_context(void **state)
{
    (void)state;
    trace.span_id[0] = '\0';
    ask("/", hello);
    exchange_run(&exchange);
    assert_string_equal(exchange.body, "hello");
    assert_null(strstr(http_server_request(server, 0), "traceparent"));
    play_end();
    trace.trace_id[0] = '\0';
    ask("/", hello);
    exchange_run(&exchange);
    assert_null(strstr(http_server_request(server, 0), "trace"));
}

static void test_configured_headers_win(void **state)
{
    (void)state;
    static const char *const headers[] = {"Traceparent: mine", NULL};
    static const char *const others[] = {"tracestate: mine=1", NULL};
    ask("/", hello);
    exchange.request.headers = headers;
    exchange_run(&exchange);
    const char *sent = http_server_request(server, 0);
    assert_non_null(strstr(sent, "\r\nTraceparent: mine\r\n"));
    assert_null(strstr(sent, SINK_TRACE));
    assert_null(strstr(sent, "tracestate"));
    play_end();
    ask("/", hello);
    exchange.request.headers = others;
    exchange_run(&exchange);
    sent = http_server_request(server, 0);
    assert_string_equal(sent_span(server, 0), SINK_SPAN);
    assert_non_null(strstr(sent, "\r\ntracestate: mine=1\r\n"));
    assert_null(strstr(sent, "vendor"));
}

static void test_each_attempt_is_a_span_and_the_context_of_its_request(void **state)
{
    (void)state;
    sink_open(AC_CONTENT_NONE);
    ask("/items/7?q=secret", busy);
    exchange.request.url_template = "http://127.0.0.1/items/{id}?q={q}";
    exchange_run(&exchange);
    assert_string_equal(exchange.body, "hello");
    assert_int_equal(sink_n, 2);
    for (int i = 0; i < 2; i++) {
        const ac_span_t *span = sink_spans[i];
        assert_int_equal(span->what, AC_SPAN_HTTP);
        assert_string_equal(span->name, "GET");
        assert_string_equal(span->parent_id, SINK_SPAN);
        assert_string_equal(span->trace.span_id, sent_span(server, i));
        assert_string_equal(sink_text(span, AC_ATTRIBUTE_HTTP_REQUEST_METHOD), "GET");
        assert_string_equal(sink_text(span, AC_ATTRIBUTE_SERVER_ADDRESS), "127.0.0.1");
        assert_int_equal(sink_integer(span, AC_ATTRIBUTE_SERVER_PORT), http_server_port(server));
        assert_string_equal(sink_text(span, AC_ATTRIBUTE_URL_TEMPLATE), "/items/{id}");
        assert_string_equal(sink_text(span, AC_ATTRIBUTE_URL_FULL), "http://127.0.0.1/items/{id}");
        assert_int_equal(sink_integer(span, AC_ATTRIBUTE_HTTP_RESPONSE_STATUS_CODE), i ? 200 : 503);
        assert_int_equal(sink_integer(span, AC_ATTRIBUTE_HTTP_REQUEST_RESEND_COUNT), i ? 1 : -1);
    }
    assert_string_equal(sink_spans[0]->error, "503");
    assert_null(sink_spans[1]->error);
}

static void test_the_path_is_shown_only_where_contents_are(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        sink_open((ac_content_e)i);
        ask("/items/7?q=secret", hello);
        exchange_run(&exchange);
        assert_int_equal(sink_n, 1);
        const char *full = sink_text(sink_spans[0], AC_ATTRIBUTE_URL_FULL);
        if (i == AC_CONTENT_NONE) {
            assert_string_equal(full, "");
        } else {
            assert_non_null(strstr(full, "/items/7"));
            assert_null(strstr(full, "secret"));
        }
        sink_clear();
        play_end();
    }
    ask("/", hello);
    exchange_run(&exchange);
}

static void test_a_request_of_another_kind_makes_no_span(void **state)
{
    (void)state;
    sink_open(AC_CONTENT_ALL);
    ask("/", busy);
    exchange.request.spans = false;
    exchange_run(&exchange);
    assert_int_equal(sink_n, 0);
    assert_string_equal(sent_span(server, 1), SINK_SPAN);
    play_end();
    trace.sampled = false;
    ask("/", hello);
    exchange_run(&exchange);
    assert_int_equal(sink_n, 0);
    assert_non_null(strstr(http_server_request(server, 0), SINK_SPAN "-00\r\n"));
}

static void test_a_redirect_is_a_span_and_another_origin_gets_no_context(void **state)
{
    (void)state;
    static char head[160];
    static server_step_t redirect[2];
    sink_open(AC_CONTENT_NONE);
    snprintf(head, sizeof(head), "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/x\r\nContent-Length: 0\r\n\r\n",
             http_server_port(elsewhere));
    redirect[0] = (server_step_t)SEND(head);
    ask("/a", redirect);
    exchange.request.max_redirects = 2;
    exchange.request.url_template = "http://127.0.0.1/{a}";
    exchange_run(&exchange);
    assert_string_equal(exchange.body, "hello");
    assert_null(strstr(http_server_request(elsewhere, 0), "trace"));
    assert_int_equal(sink_n, 2);
    assert_int_equal(sink_integer(sink_spans[0], AC_ATTRIBUTE_HTTP_RESPONSE_STATUS_CODE), 302);
    assert_int_equal(sink_integer(sink_spans[1], AC_ATTRIBUTE_SERVER_PORT), http_server_port(elsewhere));
    assert_int_equal(sink_integer(sink_spans[1], AC_ATTRIBUTE_HTTP_REQUEST_RESEND_COUNT), 1);
    assert_string_equal(sink_text(sink_spans[1], AC_ATTRIBUTE_URL_FULL), "");
}

static void test_failures_have_their_kind(void **state)
{
    (void)state;
    static const server_step_t reset[] = {RESET, END};
    sink_open(AC_CONTENT_NONE);
    ask("/", reset);
    exchange.request.retries = 0;
    exchange_run(&exchange);
    assert_int_equal(exchange.err.kind, AC_UPSTREAM_ERROR);
    assert_int_equal(sink_n, 1);
    assert_string_equal(sink_spans[0]->error, "upstream_error");
    assert_int_equal(sink_integer(sink_spans[0], AC_ATTRIBUTE_HTTP_RESPONSE_STATUS_CODE), -1);
}

static void test_a_cancelled_request_ends_its_span(void **state)
{
    (void)state;
    static const server_step_t silent[] = {HANG, END};
    sink_open(AC_CONTENT_NONE);
    ask("/", silent);
    exchange_start(&exchange);
    assert_true(http_server_wait_requests(server, 1));
    exchange_cancel(&exchange);
    assert_int_equal(sink_n, 1);
    assert_string_equal(sink_spans[0]->error, "cancelled");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_a_context_is_sent_although_nothing_is_exported),
        TEST(test_no_header_without_a_whole_context),
        TEST(test_configured_headers_win),
        TEST(test_each_attempt_is_a_span_and_the_context_of_its_request),
        TEST(test_the_path_is_shown_only_where_contents_are),
        TEST(test_a_request_of_another_kind_makes_no_span),
        TEST(test_a_redirect_is_a_span_and_another_origin_gets_no_context),
        TEST(test_failures_have_their_kind),
        TEST(test_a_cancelled_request_ends_its_span),
    };
    return cmocka_run_group_tests_name("http_trace", tests, NULL, NULL);
}
