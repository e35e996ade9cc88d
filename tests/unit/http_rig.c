/* SPDX-License-Identifier: Apache-2.0 */
/* Exchanges that record all their callbacks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http_rig.h"

#define PATIENCE apr_time_from_sec(20)

typedef struct call_t {
    ac_task_fn *fn;
    void *baton;
    ac_latch_t *done;
} call_t;

static void *run_loop(void *baton)
{
    rig_t *rig = baton;
    ac_loop_run(rig->loop);
    return NULL;
}

void rig_open(rig_t *rig)
{
    assert_int_equal(ac_loop_create(&rig->loop, NULL), APR_SUCCESS);
    assert_int_equal(pthread_create(&rig->thread, NULL, run_loop, rig), 0);
}

void rig_close(rig_t *rig)
{
    ac_loop_stop_post(rig->loop);
    pthread_join(rig->thread, NULL);
    ac_loop_destroy(rig->loop);
}

static void make_call(void *baton)
{
    call_t *call = baton;
    call->fn(call->baton);
    ac_latch_open(call->done);
}

void rig_call(rig_t *rig, ac_task_fn *fn, void *baton)
{
    call_t call = {fn, baton, ac_latch_create()};
    ac_loop_post(rig->loop, make_call, &call);
    assert_true(ac_latch_wait(call.done, ac_clock() + PATIENCE));
    ac_latch_unref(call.done);
}

static void copy_text(char *into, size_t size, const char *text)
{
    snprintf(into, size, "%s", text ? text : "(none)");
}

static void on_head(void *baton, const ac_http_head_t *head)
{
    exchange_t *exchange = baton;
    exchange->n_heads++;
    exchange->status = head->status;
    exchange->retry_after = head->retry_after;
    copy_text(exchange->content_type, sizeof(exchange->content_type), head->content_type);
    copy_text(exchange->request_id, sizeof(exchange->request_id), head->request_id);
    copy_text(exchange->x_test, sizeof(exchange->x_test), head->header(head->self, "x-test"));
    if (exchange->in_head) {
        exchange->in_head(exchange, head);
    }
}

static bool on_body(void *baton, const char *bytes, size_t len)
{
    exchange_t *exchange = baton;
    exchange->n_bodies++;
    size_t room = RIG_BODY - 1 - exchange->len, n = len < room ? len : room;
    memcpy(exchange->body + exchange->len, bytes, n);
    exchange->len += n;
    return !exchange->in_body || exchange->in_body(exchange);
}

static void on_end(void *baton, apr_status_t status, const ac_err_t *err, const char *error_body, size_t len)
{
    exchange_t *exchange = baton;
    exchange->n_ends++;
    exchange->ended = status;
    exchange->err = *err;
    exchange->end = ac_clock();
    exchange->error_len = len < RIG_BODY ? len : RIG_BODY - 1;
    memcpy(exchange->error_body, error_body, exchange->error_len);
    exchange->error_body[exchange->error_len] = '\0';
    if (exchange->in_end) {
        exchange->in_end(exchange);
    }
    exchange->http = NULL;
    ac_latch_open(exchange->done);
}

static bool may_retry(void *baton, int status, const char *error_body, size_t len)
{
    exchange_t *exchange = baton;
    exchange->n_asked++;
    exchange->error_len = len < RIG_BODY ? len : RIG_BODY - 1;
    memcpy(exchange->error_body, error_body, exchange->error_len);
    exchange->error_body[exchange->error_len] = '\0';
    return exchange->in_may_retry(exchange, status);
}

void exchange_init(exchange_t *exchange, rig_t *rig, http_server_t *server, const char *path)
{
    memset(exchange, 0, sizeof(*exchange));
    exchange->rig = rig;
    exchange->server = server;
    exchange->request.method = "GET";
    exchange->request.url = exchange->url;
    if (server) {
        snprintf(exchange->url, sizeof(exchange->url), "http://127.0.0.1:%d%s", http_server_port(server), path);
    } else {
        snprintf(exchange->url, sizeof(exchange->url), "%s", path);
    }
    exchange->body = calloc(1, RIG_BODY);
    exchange->error_body = calloc(1, RIG_BODY);
    exchange->done = ac_latch_create();
    assert_true(exchange->body && exchange->error_body && exchange->done);
}

static void start(void *baton)
{
    exchange_t *exchange = baton;
    ac_http_cb_t cb = {.on_head = on_head,
                       .on_body = on_body,
                       .on_end = on_end,
                       .may_retry = exchange->in_may_retry ? may_retry : NULL};
    exchange->began = ac_clock();
    exchange->started =
        ac_http_start(&exchange->http, exchange->rig->loop, &exchange->request, &cb, exchange, &exchange->err);
    if (exchange->started) {
        ac_latch_open(exchange->done);
    }
}

void exchange_start(exchange_t *exchange)
{
    rig_call(exchange->rig, start, exchange);
}

void exchange_wait(exchange_t *exchange)
{
    assert_true(ac_latch_wait(exchange->done, ac_clock() + PATIENCE));
}

void exchange_run(exchange_t *exchange)
{
    exchange_start(exchange);
    exchange_wait(exchange);
}

void exchange_free(exchange_t *exchange)
{
    if (exchange->done) {
        ac_latch_unref(exchange->done);
    }
    free(exchange->body);
    free(exchange->error_body);
    memset(exchange, 0, sizeof(*exchange));
}

static void cancel(void *baton)
{
    exchange_t *exchange = baton;
    ac_http_cancel(exchange->http);
    exchange->http = NULL;
}

void exchange_cancel(exchange_t *exchange)
{
    rig_call(exchange->rig, cancel, exchange);
}
