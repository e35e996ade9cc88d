/* SPDX-License-Identifier: Apache-2.0 */
/* One request to Cosmos DB, repeated until it has a response or its deadline passes. */
#include "cosmos_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_MOST apr_time_from_sec(30) /* time for retries, if the deadline is later */
#define LOST_MOST 6                      /* attempts without an answer: the service cannot be reached */
#define FAILED_MOST 10                   /* answers 408, 410, 5xx, 404/1002 */
#define BACKOFF_LONGEST apr_time_from_msec(1000)

static void begin_attempt(void *baton);
static void start_waiting(ac_cosmos_t *store);

/* ---- the end ---- */

static void call_unlink(ac_cosmos_call_t *call)
{
    ac_cosmos_t *store = call->store;
    ac_cosmos_call_t **pat = &store->calls.waiting_first, *before = NULL;
    while (call->queue.waits && *pat && *pat != call) {
        before = *pat;
        pat = &(*pat)->queue.next;
    }
    if (call->queue.waits && *pat) {
        *pat = call->queue.next;
        if (store->calls.waiting_last == call) {
            store->calls.waiting_last = before;
        }
    }
    call->queue.waits = false;
    if (call->next == call) {
        store->calls.all = NULL;
    } else {
        call->next->prev = call->prev;
        call->prev->next = call->next;
        store->calls.all = call->next;
    }
}

static void cosmos_call_free(ac_cosmos_call_t *call)
{
    json_decref(call->reply.body);
    ac_buf_free(&call->request.body);
    ac_buf_free(&call->answer);
    free(call->request.key);
    free(call->request.id);
    free(call->request.if_match);
    free(call->request.continuation);
    free(call->continuation);
    free(call->credential);
    free(call);
}

static void cosmos_call_on_credential(void *baton, apr_status_t status, const char *text, const ac_err_t *err);

static void cosmos_call_end(ac_cosmos_call_t *call)
{
    ac_cosmos_t *store = call->store;
    ac_timer_cancel(store->loop, &call->timer);
    ac_loop_ready_cancel(store->loop, &call->ready);
    if (call->wants_credential) {
        ac_credential_forget(store->conf.credential, cosmos_call_on_credential, call);
    }
    if (call->http) {
        ac_http_cancel(call->http);
        call->http = NULL;
    }
    call_unlink(call);
    if (call->in_flight) {
        call->in_flight = false;
        store->calls.n_in_flight--;
        start_waiting(store);
    }
    call->reply.continuation = call->continuation;
    ac_cosmos_trace_end(call);
    call->fn(call->baton, &call->reply);
    cosmos_call_free(call);
}

static void call_fail(ac_cosmos_call_t *call, const ac_err_t *err)
{
    call->reply.err = *err;
    if (!call->reply.err.retry_after) {
        call->reply.err.retry_after = call->retry_after > apr_time_from_sec(1) ? call->retry_after
                                                                               : apr_time_from_sec(1);
    }
    cosmos_call_end(call);
}

static void fail_with(ac_cosmos_call_t *call, ac_kind_e kind, const char *detail)
{
    ac_err_t err;
    ac_err_init(&err);
    ac_err_set(&err, kind, "%s", detail);
    err.http_status = call->last.http_status;
    call->reply.unsure = call->reply.unsure || call->http;
    call_fail(call, &err);
}

static void cosmos_call_on_deadline(void *baton)
{
    ac_cosmos_call_t *call = baton;
    if (call->last.http_status == 429) {
        ac_cosmos_outage_begin(call->store, AC_M225, call->last.detail);
    }
    call->store->outage.lost_at = ac_clock();
    fail_with(call, AC_STORE_TIMEOUT, call->last.detail[0] ? call->last.detail : "Cosmos DB did not answer in time");
}

/* ---- retries ---- */

/* Another request may use the slot between two attempts. */
static void pause_for(ac_cosmos_call_t *call, apr_interval_time_t wait)
{
    ac_cosmos_t *store = call->store;
    apr_time_t due = ac_loop_now(store->loop) + wait;
    call->task->figures.n_retries++;
    atomic_fetch_add_explicit(&store->figures.n_retries, 1, memory_order_relaxed);
    if (call->in_flight) {
        call->in_flight = false;
        store->calls.n_in_flight--;
        start_waiting(store);
    }
    if (due >= call->deadline) {
        ac_timer_set(store->loop, &call->timer, call->deadline < due ? call->deadline : due, cosmos_call_on_deadline,
                     call);
    } else {
        ac_timer_set(store->loop, &call->timer, due, begin_attempt, call);
    }
}

static apr_interval_time_t backoff(int n, apr_interval_time_t first)
{
    apr_interval_time_t wait = n < 12 ? first << n : BACKOFF_LONGEST;
    wait = wait < BACKOFF_LONGEST ? wait : BACKOFF_LONGEST;
    return wait + (apr_interval_time_t)(ac_random() % (uint64_t)(wait / 4 + 1));
}

/* Only the log line names the container that is missing and could not be created. */
static void begin_outage(const ac_cosmos_call_t *call, int number)
{
    const ac_cosmos_t *store = call->store;
    bool database = call->request.verb == AC_COSMOS_DATABASE_CREATE;
    char what[AC_ERR_DETAIL_SIZE + 320];
    if (call->last.http_status == 403 && (database || call->request.verb == AC_COSMOS_CONTAINER_CREATE)) {
        const char *why = call->reply.substatus == 5300
            ? "Cosmos DB lets no identity make it (403/5300); make it by hand, or with a key and create=on"
            : call->last.detail;
        snprintf(what, sizeof(what), "there is no %s '%.250s', and it could not be made: %s",
                 database ? "database" : "container",
                 database ? store->conf.database : store->conf.containers[call->request.container], why);
        ac_cosmos_outage_begin(call->store, number, what);
    } else {
        ac_cosmos_outage_begin(call->store, number, call->last.detail);
    }
}

static void cosmos_call_give_up(ac_cosmos_call_t *call, int number)
{
    begin_outage(call, number);
    call->store->outage.lost_at = ac_clock();
    call_fail(call, &call->last);
}

static void after_loss(ac_cosmos_call_t *call, const ac_err_t *err)
{
    bool lack = err->kind == AC_OVERLOADED; /* no connection, so nothing was sent */
    call->reply.unsure = call->reply.unsure || !lack;
    ac_kind_e kind = lack && !call->reply.unsure ? AC_OVERLOADED : AC_STORE_ERROR;
    ac_err_init(&call->last);
    call->last.retry_after = err->retry_after;
    ac_err_set(&call->last, err->kind == AC_UPSTREAM_TIMEOUT ? AC_STORE_TIMEOUT : kind,
               "Cosmos DB cannot be reached: %s", err->detail);
    if (++call->n_lost >= LOST_MOST) {
        cosmos_call_give_up(call, lack ? AC_M228 : AC_M223);
    } else {
        pause_for(call, backoff(call->n_lost - 1, apr_time_from_msec(50)));
    }
}

static void after_failure(ac_cosmos_call_t *call, ac_cosmos_next_e next)
{
    int most = call->reply.status == 500 ? 3 : FAILED_MOST;
    bool behind = next == AC_COSMOS_BEHIND;
    call->reply.unsure = call->reply.unsure || next == AC_COSMOS_AGAIN;
    if (++call->n_failed >= most) {
        if (behind) {
            ac_cosmos_shared_forget_token(call->store, call->request.container);
        }
        cosmos_call_give_up(call, AC_M228);
    } else {
        pause_for(call, backoff(call->n_failed - 1, behind ? apr_time_from_msec(5) : apr_time_from_msec(50)));
    }
}

static void after_throttle(ac_cosmos_call_t *call, ac_cosmos_next_e next)
{
    apr_interval_time_t wait = next == AC_COSMOS_THROTTLED && call->retry_after
        ? call->retry_after
        : backoff(call->n_pauses, apr_time_from_msec(10));
    call->n_pauses++;
    if (next == AC_COSMOS_THROTTLED) {
        ac_metrics_add(AC_METRIC_COSMOS_THROTTLED, AC_NO_LABELS, 1);
        atomic_fetch_add_explicit(&call->store->figures.n_throttled, 1, memory_order_relaxed);
    }
    if (ac_loop_now(call->store->loop) + wait - call->began > RETRY_MOST) {
        cosmos_call_give_up(call, next == AC_COSMOS_THROTTLED ? AC_M225 : AC_M228);
    } else {
        pause_for(call, wait);
    }
}

static void after_rejection(ac_cosmos_call_t *call)
{
    ac_cosmos_t *store = call->store;
    if (call->rejected || !call->credential) {
        cosmos_call_give_up(call, AC_M220);
        return;
    }
    call->rejected = true;
    ac_credential_reject(store->conf.credential, store->conf.scope, call->credential);
    pause_for(call, 0);
}

static void after_move(ac_cosmos_call_t *call)
{
    if (call->request.verb == AC_COSMOS_ACCOUNT_READ || ++call->n_failed >= FAILED_MOST) {
        cosmos_call_give_up(call, AC_M228);
        return;
    }
    if (call->n_failed % 3 == 1) {
        ac_cosmos_task_own(call->store, NULL, NULL, ac_cosmos_account_read);
    }
    pause_for(call, apr_time_from_msec(500));
}

/* ---- an answer ---- */

/* The service says that a container is missing after all. */
static void forget_ready(ac_cosmos_t *store)
{
    if (store->containers.ready == AC_COSMOS_READY) {
        store->containers.ready = AC_COSMOS_UNKNOWN;
    }
}

static void after_answer(ac_cosmos_call_t *call)
{
    ac_cosmos_t *store = call->store;
    int status = call->reply.status, substatus = call->reply.substatus;
    ac_cosmos_next_e next = ac_cosmos_answer_next(status, substatus);
    ac_err_init(&call->last);
    if (!ac_cosmos_answer_usable(status, substatus) && !(status == 400 && call->request.refusable)) {
        ac_cosmos_answer_error(&call->last, status, substatus, store->calls.skew);
    }
    switch (next) {
    case AC_COSMOS_THROTTLED:
    case AC_COSMOS_CONTENDED: after_throttle(call, next); break;
    case AC_COSMOS_BEHIND:
    case AC_COSMOS_AGAIN: after_failure(call, next); break;
    case AC_COSMOS_REJECTED: after_rejection(call); break;
    case AC_COSMOS_MOVED: after_move(call); break;
    case AC_COSMOS_FINAL:
        if (call->last.kind == AC_OK) {
            ac_cosmos_outage_end(store);
            cosmos_call_end(call);
            break;
        }
        if (status == 404 && !call->request.early) {
            forget_ready(store);
        }
        if (status != 404 || !call->request.early) {
            begin_outage(call,
                         status == 403 && strstr(call->last.detail, "clock is") ? AC_M221
                             : status == 401 || status == 403                   ? AC_M220
                             : status == 404                                    ? AC_M222
                                                                                : AC_M228);
        }
        call_fail(call, &call->last);
    }
}

void ac_cosmos_call_done(void *baton, apr_status_t status, const ac_err_t *err, const char *error_body, size_t len)
{
    ac_cosmos_call_t *call = baton;
    (void)error_body;
    (void)len;
    call->http = NULL;
    ac_metrics_add(AC_METRIC_COSMOS_REQUESTS,
                   AC_LABELS(call->task->op->verb,
                             status == APR_SUCCESS ? ac_metrics_http_status(call->reply.status) : AC_METRIC_OTHER),
                   1);
    if (status != APR_SUCCESS) {
        call->reply.status = 0;
        after_loss(call, err);
    } else if (call->answer.failed) {
        ac_err_init(&call->last);
        ac_err_set(&call->last, AC_STORE_ERROR, "Cosmos DB's answer is too long");
        call->reply.unsure = true;
        cosmos_call_give_up(call, AC_M228);
    } else if (!ac_cosmos_send_read_body(call)) { /* it may be carried out: as if the answer had been lost */
        after_failure(call, AC_COSMOS_AGAIN);
    } else {
        after_answer(call);
    }
}

/* ---- an attempt ---- */

static void start_attempt(ac_cosmos_call_t *call, const char *credential)
{
    ac_err_t err;
    ac_err_init(&err);
    ac_buf_clear(&call->answer);
    call->answer.failed = false;
    call->reply.status = 0;
    call->reply.failed_at = -1;
    call->task->figures.n_requests++;
    atomic_fetch_add_explicit(&call->store->figures.n_requests, 1, memory_order_relaxed);
    free(call->credential);
    call->credential = strdup(credential);
    if (ac_cosmos_send_request(call, credential, &err) != APR_SUCCESS) {
        ac_err_init(&call->last);
        ac_err_set(&call->last, AC_STORE_ERROR, "%s", err.detail);
        cosmos_call_give_up(call, err.kind == AC_INVALID_REQUEST ? AC_M220 : AC_M228);
    }
}

static void cosmos_call_on_credential(void *baton, apr_status_t status, const char *text, const ac_err_t *err)
{
    ac_cosmos_call_t *call = baton;
    ac_cosmos_t *store = call->store;
    call->wants_credential = false;
    ac_timer_cancel(store->loop, &call->timer);
    if (status == APR_SUCCESS && text) {
        start_attempt(call, text);
    } else if (!store->conf.scope_given && err && strstr(err->detail, "AADSTS500011")) {
        /* The tenant does not know the account as a resource; it knows the service as a whole. */
        store->conf.scope = "https://cosmos.azure.com/.default";
        store->conf.scope_given = true;
        pause_for(call, 0);
    } else {
        bool lack = err && err->kind == AC_OVERLOADED;
        ac_err_init(&call->last);
        call->last.retry_after = err ? err->retry_after : 0;
        ac_err_set(&call->last, lack && !call->reply.unsure ? AC_OVERLOADED : AC_STORE_ERROR,
                   "no credential for Cosmos DB: %s", err ? err->detail : "none was given");
        cosmos_call_give_up(call, lack ? AC_M228 : AC_M220);
    }
}

static void begin_attempt(void *baton)
{
    ac_cosmos_call_t *call = baton;
    ac_cosmos_t *store = call->store;
    const char *credential;
    if (store->child.halted) {
        fail_with(call, AC_STOPPING, "the server is stopping");
        return;
    }
    if (ac_clock() >= call->deadline) {
        cosmos_call_on_deadline(call);
        return;
    }
    if (!call->in_flight && store->calls.n_in_flight >= AC_COSMOS_MAX_IN_FLIGHT) {
        call->queue.waits = true;
        call->queue.next = NULL;
        *(store->calls.waiting_last ? &store->calls.waiting_last->queue.next : &store->calls.waiting_first) = call;
        store->calls.waiting_last = call;
        ac_timer_set(store->loop, &call->timer, call->deadline, cosmos_call_on_deadline, call);
        return;
    }
    store->calls.n_in_flight += !call->in_flight;
    call->in_flight = true;
    credential = ac_credential_now(store->conf.credential, store->conf.scope);
    if (credential) {
        ac_timer_cancel(store->loop, &call->timer);
        start_attempt(call, credential);
        return;
    }
    call->wants_credential = true;
    ac_timer_set(store->loop, &call->timer, call->deadline, cosmos_call_on_deadline, call);
    ac_credential_get(store->conf.credential, store->conf.scope, cosmos_call_on_credential, call);
}

static void start_waiting(ac_cosmos_t *store)
{
    ac_cosmos_call_t *call = store->calls.waiting_first;
    if (!call || store->calls.n_in_flight >= AC_COSMOS_MAX_IN_FLIGHT) {
        return;
    }
    store->calls.waiting_first = call->queue.next;
    if (!store->calls.waiting_first) {
        store->calls.waiting_last = NULL;
    }
    call->queue.waits = false;
    call->in_flight = true;
    store->calls.n_in_flight++;
    ac_timer_cancel(store->loop, &call->timer);
    ac_loop_ready_set(store->loop, &call->ready, begin_attempt, call);
}

/* ---- for the verbs ---- */

static char *cosmos_call_copy(const char *text)
{
    return text && *text ? strdup(text) : NULL;
}

void ac_cosmos_call_start(ac_cosmos_task_t *task, const ac_cosmos_request_t *request, ac_cosmos_reply_fn *fn,
                          void *baton)
{
    ac_cosmos_t *store = task->store;
    ac_cosmos_call_t *call = ac_alloc(sizeof(*call));
    call->task = task;
    call->store = store;
    call->request.verb = request->verb;
    call->request.container = request->container;
    call->request.key = request->key ? strdup(request->key) : NULL;
    call->request.id = cosmos_call_copy(request->id);
    call->request.if_match = cosmos_call_copy(request->if_match);
    call->request.continuation = cosmos_call_copy(request->continuation);
    call->request.max_items = request->max_items;
    call->request.n_ops = request->n_ops;
    call->request.early = request->early;
    call->request.refusable = request->refusable;
    ac_buf_init(&call->request.body, AC_MAX_REQUEST);
    if (request->body) {
        call->request.body = *request->body;
        ac_buf_init(request->body, AC_MAX_REQUEST);
    }
    ac_buf_init(&call->answer, AC_MAX_RESPONSE);
    call->fn = fn;
    call->baton = baton;
    call->began = ac_clock();
    ac_cosmos_trace_begin(call);
    call->deadline = task->deadline ? task->deadline : call->began + AC_COSMOS_TIMEOUT;
    if (store->calls.all) {
        call->next = store->calls.all;
        call->prev = store->calls.all->prev;
        call->prev->next = call->next->prev = call;
    } else {
        call->next = call->prev = store->calls.all = call;
    }
    ac_loop_ready_set(store->loop, &call->ready, begin_attempt, call);
}

void ac_cosmos_call_write(ac_cosmos_task_t *task, ac_cosmos_request_t *request, const json_t *document,
                          ac_cosmos_reply_fn *fn)
{
    size_t len = 0;
    char *text = ac_json_dump(document, &len);
    ac_buf_t body;
    ac_buf_init(&body, AC_MAX_REQUEST);
    ac_buf_add(&body, text ? text : "", len);
    free(text);
    request->body = &body;
    ac_cosmos_call_start(task, request, fn, task);
}

void ac_cosmos_call_write_batch(ac_cosmos_task_t *task, ac_cosmos_request_t *request, ac_cosmos_batch_t *batch,
                                ac_cosmos_reply_fn *fn)
{
    request->body = &batch->body;
    request->n_ops = batch->n;
    ac_cosmos_call_start(task, request, fn, task);
    ac_cosmos_request_batch_free(batch);
}

const char *ac_cosmos_call_etag(const ac_cosmos_reply_t *reply)
{
    return *reply->etag ? reply->etag : ac_json_peek_string(reply->body, "_etag", "");
}

void ac_cosmos_call_stop_all(ac_cosmos_t *store)
{
    store->child.halted = true;
    while (store->calls.all) {
        fail_with(store->calls.all, AC_STOPPING, "the server is stopping");
    }
}

bool ac_cosmos_call_failed(ac_cosmos_task_t *task, const ac_cosmos_reply_t *reply, const int *statuses)
{
    if (reply->err.kind != AC_OK) {
        ac_cosmos_task_end_with(task, &reply->err);
        return true;
    }
    while (*statuses) {
        if (*statuses++ == reply->status) {
            return false;
        }
    }
    ac_err_set(&task->op->err, AC_STORE_ERROR, "Cosmos DB answered with an unexpected status (%d)", reply->status);
    ac_cosmos_task_end(task, ac_err_row(AC_STORE_ERROR)->status);
    return true;
}
