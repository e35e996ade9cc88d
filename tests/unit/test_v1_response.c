/* SPDX-License-Identifier: Apache-2.0 */
/* The events of a run as those of the Responses API: the same bytes when they are rendered again, numbers without gaps,
 * the segments of a run that awaits approvals, and ids. test_v1_responses.py holds them against OpenAI's schema. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* clang-format off: the code under test, with what it needs before it */
#include "front/stream/dialect.c"
#undef LITERAL
#undef EVENTS
#undef JSON
#include "front/v1/v1_problem.c"
#include "front/v1/v1_id.c"
#include "front/v1/v1_items.c"
#undef LITERAL
#include "front/v1/v1_document.c"
#undef LITERAL
#include "front/v1/v1_response_dialect.c"
/* clang-format on */

#define X "01m7ybjtg4e00r9pk41h3p6e78"
#define N_EVENTS 24
#define CALL(id) "{\"step_id\":\"step_" id "\",\"call_id\":\"" id "\",\"tool\":\"look\""

typedef struct world_t {
    ac_event_t *events[N_EVENTS];
    int n;
    ac_render_t render;
    ac_v1_response_view_t *view;
    ac_buf_t out;
} world_t;

static void add(world_t *world, ac_event_type_e type, const char *data, const char *text)
{
    ac_event_t *event = ac_event_create(type, data ? json_loads(data, 0, NULL) : NULL, text, text ? strlen(text) : 0);
    assert_true(world->n < N_EVENTS && (!data || event->data));
    event->seq = (uint64_t)world->n + 1;
    event->at = apr_time_from_sec(1795238746);
    world->events[world->n++] = event;
}

/* Text, two calls of which one needs an approval, and after it a call of the client's. */
static void add_run(world_t *world)
{
    add(world, AC_EVENT_RUN, "{\"run_id\":\"run_" X "\",\"thread_id\":\"thread_" X "\",\"agent_id\":\"a\"}", NULL);
    add(world, AC_EVENT_REASONING, NULL, "Why");
    add(world, AC_EVENT_REASONING, NULL, "?");
    add(world, AC_EVENT_TOKEN, NULL, "Let \"me\"");
    add(world, AC_EVENT_TOKEN, NULL, " see.");
    add(world, AC_EVENT_TRACE_START, CALL("c1") "}", NULL);
    add(world, AC_EVENT_TRACE_UPDATE, "{\"step_id\":\"step_c1\",\"arguments_delta\":\"{\\\"a\\\"\"}", NULL);
    add(world, AC_EVENT_TRACE_START, CALL("c2") ",\"needs_approval\":true}", NULL);
    add(world, AC_EVENT_TRACE_UPDATE, "{\"step_id\":\"step_c1\",\"arguments_delta\":\": 1}\"}", NULL);
    add(world, AC_EVENT_TRACE_UPDATE, "{\"step_id\":\"step_c2\",\"arguments_delta\":\"{}\"}", NULL);
    add(world, AC_EVENT_TRACE_END, CALL("c1") ",\"arguments\":{\"a\":1},\"result\":{\"found\":true}}", NULL);
    add(world, AC_EVENT_TRACE_UPDATE, CALL("c2") ",\"arguments\":{},\"approval_required\":true,\"more\":false}", NULL);
    add(world, AC_EVENT_TRACE_UPDATE, "{\"step_id\":\"step_c2\",\"call_id\":\"c2\",\"approved\":true}", NULL);
    add(world, AC_EVENT_TRACE_END, CALL("c2") ",\"arguments\":{},\"error\":\"no\",\"approved\":true}", NULL);
    add(world, AC_EVENT_TOKEN, NULL, "\n\n");
    add(world, AC_EVENT_TOKEN, NULL, "\nThen");
    add(world, AC_EVENT_TOKEN, NULL, " this.");
    add(world, AC_EVENT_TRACE_START, CALL("c3") ",\"client\":true,\"index\":0}", NULL);
    add(world, AC_EVENT_TRACE_UPDATE, "{\"step_id\":\"step_c3\",\"client\":true,\"arguments_delta\":\"{ }\"}", NULL);
    add(world, AC_EVENT_TRACE_END, CALL("c3") ",\"client\":true,\"index\":0,\"arguments\":{}}", NULL);
    add(world, AC_EVENT_DONE,
        "{\"status\":\"completed\",\"finish_reason\":\"tool_calls\",\"usage\":"
        "{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}",
        "all");
}

static world_t *world_open(const ac_dialect_t *dialect, unsigned segment, int64_t after)
{
    static const char members[] = ",\"model\":\"m\"";
    world_t *world = ac_alloc(sizeof(*world));
    world->view = ac_alloc(sizeof(*world->view) + sizeof(members));
    memcpy(world->view->members, members, sizeof(members));
    world->view->segment = segment;
    world->view->after = after;
    ac_dialect_render_init(&world->render, dialect);
    world->render.view = world->view;
    ac_buf_init(&world->out, 1024 * 1024);
    add_run(world);
    return world;
}

static void world_close(world_t *world)
{
    for (int i = 0; i < world->n; i++) {
        ac_event_unref(world->events[i]);
    }
    if (world->render.state) {
        world->render.dialect->free(world->render.state);
    }
    ac_buf_free(&world->out);
    free(world->view);
    free(world);
}

/* Renders events from this one on, to the end of the response. Returns the index behind the last one. */
static int render_from(world_t *world, int i)
{
    for (; i < world->n && !world->render.ended; i++) {
        assert_int_equal(world->render.dialect->event(&world->render, world->events[i], &world->out), APR_SUCCESS);
    }
    return i;
}

static int count(const char *text, const char *part)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part)) {
        n++;
    }
    return n;
}

static void expect_has(const world_t *world, const char *part)
{
    if (!strstr(world->out.data, part)) {
        fail_msg("no %s in %s", part, world->out.data);
    }
}

/* A slow client's stream goes back to each place, however far it has rendered. */
static void test_events_that_are_rendered_again_are_the_same(void **state)
{
    (void)state;
    for (unsigned segment = 0; segment < 2; segment++) {
        world_t *world = world_open(&ac_v1_dialect_response, segment, -1);
        ac_render_place_t places[N_EVENTS + 1];
        size_t at[N_EVENTS + 1];
        int last = 0;
        for (int i = 0; i < world->n && !world->render.ended; i++) {
            places[i] = world->render.place;
            at[i] = world->out.len;
            assert_int_equal(world->render.dialect->event(&world->render, world->events[i], &world->out), APR_SUCCESS);
            last = i;
        }
        char *whole = strdup(world->out.data);
        for (int i = 0; i <= last; i++) {
            world->render.ended = false;
            world->render.place = places[i];
            ac_buf_clear(&world->out);
            render_from(world, i);
            assert_string_equal(world->out.data, whole + at[i]);
        }
        free(whole);
        world_close(world);
    }
}

/* The bytes do not fit: the event is rendered again, whole. */
static void test_an_event_comes_whole_or_not_at_all(void **state)
{
    (void)state;
    world_t *world = world_open(&ac_v1_dialect_response, 0, -1), *other = world_open(&ac_v1_dialect_response, 0, -1);
    render_from(world, 0);
    for (int i = 0; i < other->n && !other->render.ended; i++) {
        ac_buf_t small;
        ac_buf_init(&small, 100);
        apr_status_t status = other->render.dialect->event(&other->render, other->events[i], &small);
        assert_true(small.len == 0 && small.failed == (status != APR_SUCCESS));
        if (small.failed) {
            other->render.ended = false;
            other->render.dialect->event(&other->render, other->events[i], &other->out);
        }
        ac_buf_free(&small);
    }
    assert_string_equal(other->out.data, world->out.data);
    world_close(world);
    world_close(other);
}

static void test_a_response_ends_at_a_request_for_approval(void **state)
{
    (void)state;
    world_t *world = world_open(&ac_v1_dialect_response, 0, -1);
    assert_int_equal(render_from(world, 0), 12);
    expect_has(world,
               "{\"id\":\"rs_" X "\",\"type\":\"reasoning\",\"status\":\"completed\",\"summary\":[{\"type\":"
               "\"summary_text\",\"text\":\"Why?\"}]}");
    expect_has(world, "\"id\":\"resp_" X "\"");
    expect_has(world,
               "\"id\":\"mcpr_" X "_c2\",\"type\":\"mcp_approval_request\",\"server_label\":\"agentchat\","
               "\"name\":\"look\",\"arguments\":\"{}\"}");
    expect_has(world, "\"arguments\":\"{\\\"a\\\": 1}\"");
    expect_has(world, "\"status\":\"completed\",\"completed_at\":1795238746");
    expect_has(world, "data: [DONE]\n\n");
    assert_int_equal(count(world->out.data, "mcp_" X "_c2"), 0);
    world_close(world);
}

static void test_the_next_segment_has_ids_and_numbers_of_its_own(void **state)
{
    (void)state;
    world_t *world = world_open(&ac_v1_dialect_response, 1, -1);
    assert_int_equal(render_from(world, 0), 21);
    assert_int_equal(strncmp(world->out.data,
                             "event: response.created\ndata: {\"type\":\"response.created\","
                             "\"sequence_number\":0,\"response\":{\"id\":\"resp_" X "_1\"",
                             40),
                     0);
    expect_has(world, "\"approval_request_id\":\"mcpr_" X "_c2\"");
    expect_has(world, "\"status\":\"failed\",\"server_label\"");
    expect_has(world, "\"id\":\"msg_" X "_1\"");
    expect_has(world, "\"text\":\"Then this.\"");
    expect_has(world,
               "\"id\":\"fc_" X "_0\",\"type\":\"function_call\",\"status\":\"completed\",\"call_id\":\"call_" X
               "_0\",\"name\":\"look\",\"arguments\":\"{ }\"}");
    expect_has(world, "\"total_tokens\":3");
    assert_int_equal(count(world->out.data, "Let "), 0);
    world_close(world);
}

static void test_the_events_after_a_number(void **state)
{
    (void)state;
    world_t *whole = world_open(&ac_v1_dialect_response, 0, -1);
    render_from(whole, 0);
    int n = count(whole->out.data, "\"sequence_number\":");
    const char *at = whole->out.data;
    for (int after = 0; after < n + 2; after++) {
        world_t *rest = world_open(&ac_v1_dialect_response, 0, after);
        render_from(rest, 0);
        at = after < n ? strstr(at + 1, "event: ") : at;
        const char *expected = after < n - 1 ? at
            : after == n - 1                 ? "data: [DONE]\n\n"
                                             : strstr(whole->out.data, "event: response.completed");
        assert_string_equal(rest->out.data, expected);
        world_close(rest);
        if (after == n - 2) {
            at = whole->out.data; /* there is no further event */
        }
    }
    world_close(whole);
}

static void test_a_document_is_the_response_of_the_last_event(void **state)
{
    (void)state;
    for (unsigned segment = 0; segment < 2; segment++) {
        world_t *stream = world_open(&ac_v1_dialect_response, segment, -1);
        world_t *document = world_open(&ac_v1_document_dialect, segment, -1);
        assert_int_equal(render_from(document, 0), render_from(stream, 0));
        expect_has(stream, document->out.data);
        world_close(stream);
        world_close(document);
    }
}

static void test_a_document_about_a_run_under_way(void **state)
{
    (void)state;
    world_t *world = world_open(&ac_v1_document_shown, 0, -1);
    world->view->ends_live = true;
    for (int i = 0; i < 7; i++) {
        world->render.dialect->event(&world->render, world->events[i], &world->out);
    }
    assert_int_equal(world->out.len, 0);
    assert_int_equal(world->render.dialect->live(&world->render, &world->out), APR_SUCCESS);
    assert_true(world->render.ended);
    expect_has(world, "\"status\":\"in_progress\",\"completed_at\":null");
    expect_has(world, "\"text\":\"Let \\\"me\\\" see.\"");
    expect_has(world, "\"type\":\"mcp_call\",\"status\":\"in_progress\"");
    world_close(world);
}

static void expect_id(bool fine, const char *id, const char *theirs, const char *rest)
{
    char own[AC_ID_SIZE];
    const char *found = NULL;
    assert_int_equal(ac_v1_id_read(own, &found, id, theirs, "run_"), fine);
    if (fine) {
        assert_string_equal(own, "run_" X);
        assert_string_equal(found, rest);
    }
}

static void test_ids(void **state)
{
    char run_id[AC_ID_SIZE], id[AC_V1_ID_SIZE];
    unsigned segment;
    (void)state;
    expect_id(true, "mcp_" X "_call_1", "mcp_", "call_1");
    expect_id(true, "msg_" X, "msg_", "");
    static const char *const bad[] = {"msg_" X "_", "msg_" X "x", "msg_01", "run_" X, "", "msg_", "msg_" X " "};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        expect_id(false, bad[i], "msg_", NULL);
    }
    assert_true(ac_v1_id_read_response(run_id, &segment, "resp_" X "_12"));
    assert_int_equal(segment, 12);
    static const char *const none[] = {"resp_" X "_0", "resp_" X "_x", "resp_" X "_12345", "resp_" X "_-1", "resp_x"};
    for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++) {
        assert_false(ac_v1_id_read_response(run_id, &segment, none[i]));
    }
    ac_v1_id_write(id, "fc_", "run_" X, "0");
    assert_string_equal(id, "fc_" X "_0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_that_are_rendered_again_are_the_same),
        cmocka_unit_test(test_an_event_comes_whole_or_not_at_all),
        cmocka_unit_test(test_a_response_ends_at_a_request_for_approval),
        cmocka_unit_test(test_the_next_segment_has_ids_and_numbers_of_its_own),
        cmocka_unit_test(test_the_events_after_a_number),
        cmocka_unit_test(test_a_document_is_the_response_of_the_last_event),
        cmocka_unit_test(test_a_document_about_a_run_under_way),
        cmocka_unit_test(test_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
