/* SPDX-License-Identifier: Apache-2.0 */
/* GET /selftest/stream: ten events, 200 ms apart, each with the time when it was made. If they arrive together, a proxy
 * between server and client buffers. */
#include "api_internal.h"

#include <string.h>

#include "apr_strings.h"

#define N_EVENTS 10
#define EVENT_EVERY apr_time_from_msec(200)

typedef struct selftest_t {
    ac_loop_t *loop;
    ac_channel_t *channel;
    ac_timer_t timer;
    apr_time_t due;
    int n;
} selftest_t;

static apr_status_t selftest_event(ac_render_t *render, const ac_event_t *event, ac_buf_t *out)
{
    char sent_at[AC_TIME_SIZE], text[96];
    (void)render;
    if (event->type == AC_EVENT_DONE) {
        return ac_sse_write(out, 0, "done", "{}", 2);
    }
    if (event->type == AC_EVENT_ERROR) {
        int len = apr_snprintf(text, sizeof(text), "{\"code\":\"%s\"}", ac_err_row(event->kind)->code);
        return ac_sse_write(out, 0, "error", text, (size_t)len);
    }
    ac_time_format(sent_at, event->at);
    int len = apr_snprintf(text, sizeof(text), "{\"n\":%" APR_UINT64_T_FMT ",\"sent_at\":\"%s\"}", event->seq, sent_at);
    return ac_sse_write(out, 0, NULL, text, (size_t)len);
}

static apr_status_t selftest_heartbeat(ac_render_t *render, ac_buf_t *out)
{
    (void)render;
    return ac_buf_str(out, ":\n");
}

const ac_dialect_t ac_dialect_selftest = {
    .name = "selftest",
    .media_type = "text/event-stream; charset=utf-8",
    .stream = true,
    .begin = ac_dialect_begin_events,
    .event = selftest_event,
    .heartbeat = selftest_heartbeat,
};

static void selftest_end(selftest_t *test)
{
    ac_channel_destroy(test->channel);
    free(test);
}

static void tick(void *baton)
{
    selftest_t *test = baton;
    bool last = test->n == N_EVENTS;
    if (ac_channel_followers(test->channel)) {
        ac_channel_emit(test->channel, ac_event_create(last ? AC_EVENT_DONE : AC_EVENT_TOKEN, NULL, NULL, 0));
    }
    if (last || !ac_channel_followers(test->channel)) {
        selftest_end(test);
        return;
    }
    test->n++;
    test->due += EVENT_EVERY;
    ac_timer_set(test->loop, &test->timer, test->due, tick, test);
}

static void selftest_start(void *baton, ac_loop_t *loop, ac_follower_t *follower)
{
    selftest_t *test = baton;
    test->loop = loop;
    ac_channel_follow(test->channel, follower);
    test->due = ac_loop_now(loop);
    ac_timer_set(loop, &test->timer, test->due, tick, test);
}

static void selftest_drop(void *baton)
{
    selftest_end(baton);
}

int ac_api_selftest_stream(ac_request_t *rq)
{
    selftest_t *test = ac_alloc(sizeof(*test));
    test->channel = ac_channel_create();
    if (!test->channel) {
        free(test);
        ac_err_set(&rq->err, AC_INTERNAL, "memory ran out");
        return ac_reply_problem(rq, NULL);
    }
    ac_event_source_t source = {selftest_start, selftest_drop, test};
    return ac_delivery_start(rq, &source, true);
}
