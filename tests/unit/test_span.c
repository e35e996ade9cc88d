/* SPDX-License-Identifier: Apache-2.0 */
/* Trace context, the sampler, and spans with their attributes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "base/base.h"

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN "b7ad6b7169203331"
#define HEADER "00-" TRACE "-" SPAN "-01"

static ac_span_t *taken; /* the last span that the sink was given */
static int n_taken;

static void take(void *baton, ac_span_t *span)
{
    assert_string_equal(baton, "baton");
    ac_span_free(taken);
    taken = span;
    n_taken++;
}

static void install(const char *sampler, const char *arg)
{
    ac_span_sink_t sink = {.take = take, .baton = "baton"};
    assert_null(ac_span_parse_sampler(&sink.sampler, sampler, arg));
    ac_span_install(&sink);
}

static int remove_sink(void **state)
{
    (void)state;
    ac_span_install(NULL);
    ac_span_free(taken);
    taken = NULL;
    n_taken = 0;
    return 0;
}

static const ac_trace_t *client(void)
{
    static ac_trace_t trace;
    assert_true(ac_trace_parse(&trace, HEADER));
    return &trace;
}

static void test_a_traceparent_is_read_and_written(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out; /* NULL: not valid */
    } rows[] = {
        {HEADER, HEADER},
        {"00-" TRACE "-" SPAN "-00", "00-" TRACE "-" SPAN "-00"},
        {"00-" TRACE "-" SPAN "-03", "00-" TRACE "-" SPAN "-03"},
        {"00-" TRACE "-" SPAN "-fe", "00-" TRACE "-" SPAN "-02"},
        {"cc-" TRACE "-" SPAN "-01-more", HEADER},
        {"cc-" TRACE "-" SPAN "-01.more", NULL},
        {HEADER "-more", NULL},
        {"ff-" TRACE "-" SPAN "-01", NULL},
        {"00-" TRACE "-" SPAN "-0", NULL},
        {"00-" TRACE "-" SPAN "-0x", NULL},
        {"00-" TRACE "-0000000000000000-01", NULL},
        {"00-00000000000000000000000000000000-" SPAN "-01", NULL},
        {"00-0AF7651916CD43DD8448EB211C80319C-" SPAN "-01", NULL},
        {HEADER ", " HEADER, NULL},
        {"", NULL},
        {NULL, NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[AC_TRACEPARENT_SIZE];
        ac_trace_t trace = {.state = "kept?"};
        assert_int_equal(ac_trace_parse(&trace, rows[i].in), rows[i].out != NULL);
        assert_null(trace.state);
        ac_trace_format(&trace, text);
        assert_string_equal(text, rows[i].out ? rows[i].out : "");
    }
}

static void test_a_tracestate_that_can_be_passed_on(void **state)
{
    (void)state;
    char longest[AC_MAX_TRACESTATE + 2];
    memset(longest, 'a', sizeof(longest));
    longest[AC_MAX_TRACESTATE + 1] = '\0';
    assert_false(ac_trace_state_valid(longest));
    longest[AC_MAX_TRACESTATE] = '\0';
    assert_true(ac_trace_state_valid(longest));
    assert_true(ac_trace_state_valid("a=1, b@c=2"));
    assert_false(ac_trace_state_valid("a=\r\nX: y"));
    assert_false(ac_trace_state_valid("a=\xc3\xa9"));
    assert_false(ac_trace_state_valid(""));
    assert_false(ac_trace_state_valid(NULL));
}

static void test_samplers_are_named_as_opentelemetry_names_them(void **state)
{
    (void)state;
    static const struct {
        const char *name, *arg;
        bool valid, parent_based;
        double ratio;
    } rows[] = {
        {"always_on", NULL, true, false, 1},
        {"always_off", "0.5", true, false, 0},
        {"traceidratio", "0.25", true, false, 0.25},
        {"traceidratio", NULL, true, false, 1},
        {"parentbased_always_on", NULL, true, true, 1},
        {"parentbased_always_off", NULL, true, true, 0},
        {"parentbased_traceidratio", "1e-3", true, true, 0.001},
        {"parentbased_traceidratio", "0", true, true, 0},
        {"traceidratio", "1.01", false, false, 9},
        {"traceidratio", "-0.1", false, false, 9},
        {"traceidratio", "nan", false, false, 9},
        {"traceidratio", "", false, false, 9},
        {"traceidratio", "0.5x", false, false, 9},
        {"jaeger_remote", NULL, false, false, 9},
        {"parentbased_", NULL, false, false, 9},
        {"", NULL, false, false, 9},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ac_sampler_t sampler = {false, 9};
        const char *wrong = ac_span_parse_sampler(&sampler, rows[i].name, rows[i].arg);
        assert_int_equal(wrong == NULL, rows[i].valid);
        assert_int_equal(sampler.parent_based, rows[i].parent_based);
        assert_true(sampler.ratio == rows[i].ratio);
    }
}

/* The decision for a trace of a client that sends this flag, or ("") of no client. */
static bool is_sampled(const char *trace_id, const char *flag)
{
    char header[80];
    ac_trace_t trace;
    snprintf(header, sizeof(header), "00-%s-" SPAN "-%s", trace_id, flag);
    ac_trace_parse(&trace, header);
    ac_span_context(&trace);
    return trace.sampled;
}

static void test_the_trace_id_decides_with_a_ratio(void **state)
{
    (void)state;
    static const char below[] = "ffffffffffffffff3fffffffffffffff", above[] = "00000000000000014000000000000000";
    install("traceidratio", "0.25");
    assert_true(is_sampled(below, "00"));
    assert_false(is_sampled(above, "01"));
    install("traceidratio", "0");
    assert_false(is_sampled("00000000000000010000000000000000", "01"));
    install("traceidratio", "1");
    assert_true(is_sampled("ffffffffffffffffffffffffffffffff", "00"));
    install("always_on", NULL);
    assert_true(is_sampled(above, "00"));
    install("always_off", NULL);
    assert_false(is_sampled(below, "01"));
}

static void test_the_client_decides_with_a_sampler_of_the_parent(void **state)
{
    (void)state;
    install("parentbased_always_off", NULL);
    assert_true(is_sampled(TRACE, "01"));
    assert_true(is_sampled(TRACE, "03"));
    assert_false(is_sampled(TRACE, "00"));
    assert_false(is_sampled(TRACE, "none"));
    install("parentbased_always_on", NULL);
    assert_false(is_sampled(TRACE, "02"));
    assert_true(is_sampled(TRACE, "none"));
}

static void test_a_new_trace_has_an_id_of_its_own(void **state)
{
    (void)state;
    char text[AC_TRACEPARENT_SIZE];
    ac_trace_t one = {.trace_id = ""}, two = {.trace_id = ""};
    install("always_on", NULL);
    ac_span_context(&one);
    ac_span_context(&two);
    assert_int_equal(strlen(one.trace_id), 32);
    assert_int_equal(strspn(one.trace_id, "0123456789abcdef"), 32);
    assert_string_not_equal(one.trace_id, two.trace_id);
    assert_string_equal(one.span_id, "");
    assert_true(one.sampled && one.random);

    install("always_off", NULL); /* upstreams learn that it is not sampled */
    ac_trace_t three = {.trace_id = ""};
    ac_span_context(&three);
    assert_false(three.sampled);
    ac_trace_format(&three, text);
    assert_int_equal(strlen(text), 55);
    assert_string_equal(text + 53, "02");
}

static void test_without_a_sink_nothing_is_made(void **state)
{
    (void)state;
    ac_trace_t trace = *client(), none = {.trace_id = ""};
    ac_span_context(&trace);
    assert_memory_equal(&trace, client(), sizeof(trace));
    ac_span_context(&none);
    assert_string_equal(none.trace_id, "");
    assert_false(ac_span_on() || ac_span_wants(AC_CONTENT_NONE));
    ac_span_t *span = ac_span_begin(AC_SPAN_REQUEST, client());
    assert_null(span);
    ac_span_name(span, "x");
    ac_span_text(span, AC_ATTRIBUTE_HTTP_ROUTE, "x");
    ac_span_integer(span, AC_ATTRIBUTE_SERVER_PORT, 1);
    ac_span_number(span, AC_ATTRIBUTE_AGENTCHAT_COST, 1);
    ac_span_flag(span, AC_ATTRIBUTE_GEN_AI_REQUEST_STREAM, true);
    ac_span_link(span, client());
    ac_span_fail(span, AC_INTERNAL);
    ac_span_fail_status(span, 500);
    assert_ptr_equal(ac_span_trace(span, client()), client());
    ac_span_end(span);
    ac_span_free(span);
}

static void test_a_trace_that_is_not_sampled_has_no_spans(void **state)
{
    (void)state;
    ac_trace_t trace = *client(), none = {.sampled = true};
    install("always_on", NULL);
    trace.sampled = false;
    assert_null(ac_span_begin(AC_SPAN_REQUEST, &trace));
    assert_null(ac_span_begin(AC_SPAN_REQUEST, &none));
    assert_null(ac_span_begin(AC_SPAN_REQUEST, NULL));
}

static void test_a_span_is_part_of_its_parent(void **state)
{
    (void)state;
    install("always_on", NULL);
    char tracestate[] = "vendor=1";
    ac_trace_t trace = *client();
    trace.state = tracestate;
    apr_time_t before = apr_time_now();
    ac_span_t *outer = ac_span_begin(AC_SPAN_REQUEST, &trace);
    ac_span_t *inner = ac_span_begin(AC_SPAN_AGENT, ac_span_trace(outer, &trace));
    memset(tracestate, 'x', sizeof(tracestate) - 1); /* it is of the request, which may end first */
    assert_string_equal(outer->parent_id, SPAN);
    assert_string_equal(outer->trace.trace_id, TRACE);
    assert_string_equal(inner->parent_id, outer->trace.span_id);
    assert_string_equal(inner->trace.trace_id, TRACE);
    assert_string_equal(inner->trace.state, "vendor=1");
    assert_string_not_equal(inner->trace.span_id, outer->trace.span_id);
    assert_string_equal(inner->name, "invoke_agent");
    assert_string_equal(outer->name, "");
    assert_true(inner->trace.sampled && !inner->trace.random);
    char id[17];
    memcpy(id, inner->trace.span_id, sizeof(id));
    ac_span_end(inner);
    assert_string_equal(taken->trace.span_id, id);
    assert_true(taken->started >= before && taken->ended >= taken->started);
    ac_span_end(outer);
    assert_int_equal(n_taken, 2);
}

static const ac_attribute_t *find(const ac_span_t *span, ac_attribute_e key)
{
    for (int i = 0; i < span->n_attributes; i++) {
        if (span->attributes[i].key == key) {
            return &span->attributes[i];
        }
    }
    return NULL;
}

static void test_attributes_have_the_type_of_the_table(void **state)
{
    (void)state;
    install("always_on", NULL);
    ac_span_t *span = ac_span_begin(AC_SPAN_CHAT, client());
    for (int key = 0; key < AC_N_ATTRIBUTES; key++) {
        ac_span_text(span, key, "text");
        ac_span_integer(span, key, INT64_MIN);
        ac_span_number(span, key, 0.5);
        ac_span_flag(span, key, true);
    }
    assert_int_equal(span->n_attributes, AC_N_ATTRIBUTES);
    for (int key = 0; key < AC_N_ATTRIBUTES; key++) {
        const ac_attribute_t *attribute = find(span, key);
        assert_int_equal(attribute->type, ac_span_attributes[key].type);
        switch (attribute->type) {
        case AC_ATTRIBUTE_TYPE_TEXT:
        case AC_ATTRIBUTE_TYPE_LIST: assert_string_equal(attribute->value.text, "text"); break;
        case AC_ATTRIBUTE_TYPE_INTEGER: assert_true(attribute->value.integer == INT64_MIN); break;
        case AC_ATTRIBUTE_TYPE_NUMBER: assert_true(attribute->value.number == 0.5); break;
        case AC_ATTRIBUTE_TYPE_FLAG: assert_true(attribute->value.flag); break;
        }
    }
    ac_span_end(span);
}

static void test_an_attribute_is_replaced(void **state)
{
    (void)state;
    install("always_on", NULL);
    ac_span_t *span = ac_span_begin(AC_SPAN_CHAT, client());
    ac_span_text(span, AC_ATTRIBUTE_GEN_AI_RESPONSE_MODEL, "one");
    size_t size = span->size;
    ac_span_text(span, AC_ATTRIBUTE_GEN_AI_RESPONSE_MODEL, "three");
    ac_span_text(span, AC_ATTRIBUTE_GEN_AI_RESPONSE_MODEL, NULL);
    ac_span_number(span, AC_ATTRIBUTE_AGENTCHAT_COST, 2);
    ac_span_number(span, AC_ATTRIBUTE_AGENTCHAT_COST, NAN);
    ac_span_number(span, AC_ATTRIBUTE_AGENTCHAT_COST, INFINITY);
    assert_int_equal(span->n_attributes, 2);
    assert_int_equal(span->size, size + 2);
    assert_string_equal(find(span, AC_ATTRIBUTE_GEN_AI_RESPONSE_MODEL)->value.text, "three");
    assert_true(find(span, AC_ATTRIBUTE_AGENTCHAT_COST)->value.number == 2);
    ac_span_end(span);
}

static void test_texts_are_valid_and_have_a_limit(void **state)
{
    (void)state;
    install("always_on", NULL);
    ac_span_t *span = ac_span_begin(AC_SPAN_TOOL, client());
    ac_span_text(span, AC_ATTRIBUTE_GEN_AI_TOOL_NAME, "a\xff\xc3(\xc3\xa9\xe2\x82");
    assert_string_equal(find(span, AC_ATTRIBUTE_GEN_AI_TOOL_NAME)->value.text,
                        "a?"
                        "?(\xc3\xa9?"
                        "?");
    ac_span_name(span, "execute_tool %s", "\xff");
    assert_string_equal(span->name, "execute_tool ?");

    char *text = malloc(AC_MAX_SPAN_TEXT + 10);
    memset(text, 'x', AC_MAX_SPAN_TEXT + 9);
    memcpy(text + AC_MAX_SPAN_TEXT - 1, "\xc3\xa9", 2); /* the limit is inside of this character */
    text[AC_MAX_SPAN_TEXT + 9] = '\0';
    ac_span_text(span, AC_ATTRIBUTE_GEN_AI_TOOL_NAME, text);
    assert_int_equal(strlen(find(span, AC_ATTRIBUTE_GEN_AI_TOOL_NAME)->value.text), AC_MAX_SPAN_TEXT - 1);
    memcpy(text + AC_MAX_SPAN_NAME - 1, "\xc3\xa9", 2);
    ac_span_name(span, "%s", text);
    assert_int_equal(strlen(span->name), AC_MAX_SPAN_NAME - 1);
    free(text);
    ac_span_end(span);
}

static void test_links_and_errors(void **state)
{
    (void)state;
    install("always_on", NULL);
    ac_trace_t trace = *client(), root = {.trace_id = TRACE};
    ac_span_t *span = ac_span_begin(AC_SPAN_AGENT, &trace);
    ac_span_link(span, NULL);
    ac_span_link(span, &root);
    ac_span_link(span, &span->trace);
    assert_int_equal(span->n_links, 0);
    trace.state = "a=1";
    for (int i = 0; i < AC_MAX_SPAN_LINKS + 1; i++) {
        ac_span_link(span, &trace);
    }
    assert_int_equal(span->n_links, AC_MAX_SPAN_LINKS);
    assert_string_equal(span->links[0].span_id, SPAN);
    assert_null(span->links[0].state);

    ac_span_fail(span, AC_OK);
    assert_null(span->error);
    ac_span_fail(span, AC_MODEL_THROTTLED);
    ac_span_fail_status(span, 500);
    assert_string_equal(span->error, "model_throttled");
    ac_span_end(span);
    span = ac_span_begin(AC_SPAN_HTTP, &trace);
    ac_span_fail_status(span, 503);
    ac_span_fail(span, AC_INTERNAL);
    assert_string_equal(span->error, "503");
    ac_span_end(span);
}

static void test_a_span_that_ends_without_a_sink_is_freed(void **state)
{
    (void)state;
    install("always_on", NULL);
    ac_span_t *span = ac_span_begin(AC_SPAN_AGENT, client());
    ac_span_text(span, AC_ATTRIBUTE_GEN_AI_AGENT_ID, "helper");
    ac_span_install(NULL);
    ac_span_end(span);
    assert_int_equal(n_taken, 0);
}

static void test_contents_are_wanted_by_the_sink_only(void **state)
{
    (void)state;
    ac_span_sink_t sink = {.take = take, .baton = "baton", .content = AC_CONTENT_TOOLS};
    ac_span_install(&sink);
    assert_true(ac_span_wants(AC_CONTENT_TOOLS));
    assert_false(ac_span_wants(AC_CONTENT_ALL));
    install("always_on", NULL);
    assert_false(ac_span_wants(AC_CONTENT_TOOLS));
}

/* Whether a list of words, with blanks between them, has the word. */
static bool has_word(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = strstr(list, word); at; at = strstr(at + 1, word)) {
        if ((at == list || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0')) {
            return true;
        }
    }
    return false;
}

static void test_the_table_is_consistent(void **state)
{
    (void)state;
    bool used[AC_N_SPANS] = {false};
    for (int i = 0; i < AC_N_ATTRIBUTES; i++) {
        const ac_attribute_row_t *row = &ac_span_attributes[i];
        int n_words = 1, n_spans = 0;
        for (const char *at = row->spans; *at; at++) {
            n_words += *at == ' ';
        }
        for (int span = 0; span < AC_N_SPANS; span++) {
            used[span] |= has_word(row->spans, ac_span_rows[span].id);
            n_spans += has_word(row->spans, ac_span_rows[span].id);
        }
        assert_int_equal(n_spans, n_words);
        for (int other = 0; other < i; other++) {
            assert_string_not_equal(row->name, ac_span_attributes[other].name);
            assert_false(row->old && ac_span_attributes[other].old && !strcmp(row->old, ac_span_attributes[other].old));
        }
    }
    for (int i = 0; i < AC_N_SPANS; i++) {
        assert_true(used[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_traceparent_is_read_and_written),
        cmocka_unit_test(test_a_tracestate_that_can_be_passed_on),
        cmocka_unit_test(test_samplers_are_named_as_opentelemetry_names_them),
        cmocka_unit_test_teardown(test_the_trace_id_decides_with_a_ratio, remove_sink),
        cmocka_unit_test_teardown(test_the_client_decides_with_a_sampler_of_the_parent, remove_sink),
        cmocka_unit_test_teardown(test_a_new_trace_has_an_id_of_its_own, remove_sink),
        cmocka_unit_test(test_without_a_sink_nothing_is_made),
        cmocka_unit_test_teardown(test_a_trace_that_is_not_sampled_has_no_spans, remove_sink),
        cmocka_unit_test_teardown(test_a_span_is_part_of_its_parent, remove_sink),
        cmocka_unit_test_teardown(test_attributes_have_the_type_of_the_table, remove_sink),
        cmocka_unit_test_teardown(test_an_attribute_is_replaced, remove_sink),
        cmocka_unit_test_teardown(test_texts_are_valid_and_have_a_limit, remove_sink),
        cmocka_unit_test_teardown(test_links_and_errors, remove_sink),
        cmocka_unit_test_teardown(test_a_span_that_ends_without_a_sink_is_freed, remove_sink),
        cmocka_unit_test_teardown(test_contents_are_wanted_by_the_sink_only, remove_sink),
        cmocka_unit_test(test_the_table_is_consistent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
