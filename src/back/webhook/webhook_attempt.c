/* SPDX-License-Identifier: Apache-2.0 */
/* One attempt of a webhook delivery: acquires it in the store, sends the signed request, and reports the outcome.
 * Source of the request: the Standard Webhooks specification. */
#include "webhook_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_strings.h>

#define LEASE_MARGIN apr_time_from_sec(30) /* beyond the request's own time: for the store */
#define STORE_PAUSE apr_time_from_sec(15)  /* after an error of the store */
#define MAX_ANSWER 65536                   /* bytes of an answer that are read; none of them counts */
#define MAX_LINE 1024
#define LONGEST_RETRY_AFTER apr_time_from_sec(24 * 3600)

typedef struct outcome_t {
    const char *state;        /* "delivered", "pending", "failed", "gone" */
    int metric;               /* AC_WEBHOOK_… */
    apr_interval_time_t wait; /* pending: until the next attempt */
    char error[AC_ERR_DETAIL_SIZE];
} outcome_t;

static void attempt_clear(ac_webhook_item_t *item)
{
    json_decref(item->delivery);
    item->delivery = NULL;
    free(item->body);
    item->body = NULL;
}

static void attempt_end(ac_webhook_item_t *item, apr_interval_time_t wait)
{
    attempt_clear(item);
    ac_webhook_sender_attempted(item, wait);
}

/* ---- the outcome ---- */

/* A tenth more or less, so that not all come back at the same time. */
static apr_interval_time_t with_jitter(apr_interval_time_t wait)
{
    return wait - wait / 10 + (apr_interval_time_t)(ac_random() % (uint64_t)(wait / 5 + 1));
}

static void attempt_judge(outcome_t *outcome, const ac_webhook_item_t *item)
{
    const ac_webhook_t *webhook = item->webhook;
    int n = (int)ac_json_peek_int(item->delivery, "attempts", 1);
    if (item->status >= 200 && item->status <= 299) {
        outcome->state = "delivered";
        outcome->metric = AC_WEBHOOK_DELIVERED;
        outcome->error[0] = '\0';
    } else if (item->status == 410) {
        outcome->state = "gone";
        outcome->metric = AC_WEBHOOK_GONE;
    } else if (webhook ? n > webhook->n_retries : n > AC_WEBHOOK_MAX_RETRIES) {
        outcome->state = "failed";
        outcome->metric = AC_WEBHOOK_FAILED;
    } else {
        outcome->state = "pending";
        outcome->metric = AC_WEBHOOK_RETRIED;
        /* A webhook that the configuration does not have may come back with its next version. */
        outcome->wait = with_jitter(webhook ? webhook->retries[n - 1] : apr_time_from_sec(3600));
        outcome->wait = outcome->wait < item->retry_after ? item->retry_after : outcome->wait;
        outcome->wait = outcome->wait > LONGEST_RETRY_AFTER * 7 ? LONGEST_RETRY_AFTER * 7 : outcome->wait;
    }
}

static void attempt_log(const outcome_t *outcome, const ac_webhook_item_t *item)
{
    char wait[AC_TIME_SIZE];
    const char *run_id = ac_json_peek_string(item->delivery, "run_id", ""),
               *type = ac_json_peek_string(item->delivery, "type", "");
    int n = (int)ac_json_peek_int(item->delivery, "attempts", 1);
    if (outcome->metric == AC_WEBHOOK_DELIVERED) {
        ac_debug("webhook[%s]: %s of %s delivered by attempt %d", item->name, type, run_id, n);
    } else if (outcome->metric == AC_WEBHOOK_RETRIED) {
        ac_time_format_duration(wait, outcome->wait);
        ac_log(AC_M550, 0, "webhook[%s]: %s of %s: attempt %d failed: %s; the next one is in %s", item->name, type,
               run_id, n, outcome->error, wait);
    } else {
        ac_log(AC_M551, 0, "webhook[%s]: %s of %s is given up after attempt %d: %s", item->name, type, run_id, n,
               outcome->error);
    }
}

/* ---- the report ---- */

static void attempt_on_reported(ac_store_op_t *op)
{
    ac_webhook_item_t *item = op->baton;
    bool again = op->status == APR_SUCCESS && strcmp(ac_json_peek_string(op->in, "state", ""), "pending") == 0;
    apr_interval_time_t wait = apr_time_from_msec(ac_json_peek_int(op->in, "wait", 0));
    ac_store_op_free(op); /* after an error another look finds it when the lease is over */
    attempt_end(item, again ? wait : -1);
}

static void attempt_report(ac_webhook_item_t *item, const char *error)
{
    outcome_t outcome = {0};
    apr_cpystrn(outcome.error, error, sizeof outcome.error);
    attempt_judge(&outcome, item);
    attempt_log(&outcome, item);
    ac_metrics_add(AC_METRIC_WEBHOOK_ATTEMPTS, AC_LABELS(item->webhook ? item->webhook->metric : 0, outcome.metric), 1);
    json_t *in = json_object();
    ac_json_put(in, "delivery_id", json_string(item->id));
    ac_json_put(in, "token", json_string(item->token));
    ac_json_put(in, "state", json_string(outcome.state));
    ac_json_put(in, "status", item->status ? json_integer(item->status) : json_null());
    ac_json_put(in, "error", ac_json_text(*outcome.error ? outcome.error : NULL));
    ac_json_put(in, "wait", json_integer(apr_time_as_msec(outcome.wait)));
    ac_webhook_sender_call(item, AC_STORE_WEBHOOK_REPORT, in, attempt_on_reported);
}

/* ---- the request ---- */

static void attempt_on_head(void *baton, const ac_http_head_t *head)
{
    ac_webhook_item_t *item = baton;
    item->status = head->status;
    item->retry_after = head->retry_after < LONGEST_RETRY_AFTER ? head->retry_after : LONGEST_RETRY_AFTER;
}

static bool attempt_on_body(void *baton, const char *bytes, size_t len)
{
    ac_webhook_item_t *item = baton;
    (void)bytes;
    item->answered += len;
    return item->answered < MAX_ANSWER;
}

static void attempt_on_end(void *baton, apr_status_t status, const ac_err_t *err, const char *error_body, size_t len)
{
    ac_webhook_item_t *item = baton;
    char text[64];
    bool cut = status != APR_SUCCESS && !(item->status >= 200 && item->status <= 299);
    (void)error_body;
    (void)len;
    item->http = NULL;
    if (status != APR_SUCCESS && !cut) {
        cut = true; /* the receiver has begun to say yes, and did not end */
        item->status = 0;
    }
    snprintf(text, sizeof text, "answered %d%s", item->status,
             item->status >= 300 && item->status <= 399 ? ", and redirects are not followed" : "");
    attempt_report(item, cut && !item->status ? err->detail : text);
}

static char *attempt_body(const json_t *delivery)
{
    json_t *body = json_object();
    ac_json_put(body, "type", json_incref(json_object_get(delivery, "type")));
    ac_json_put(body, "timestamp", json_incref(json_object_get(delivery, "created_at")));
    ac_json_put(body, "data", json_incref(json_object_get(delivery, "data")));
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    return text;
}

static bool attempt_sign(char line[MAX_LINE], const ac_webhook_item_t *item, int64_t now)
{
    const ac_webhook_signed_t of = {item->id, now, item->body, strlen(item->body)};
    ac_buf_t signature;
    apr_status_t status = APR_SUCCESS;
    ac_buf_init(&signature, MAX_LINE);
    for (int i = 0; i < item->webhook->n_keys && status == APR_SUCCESS; i++) {
        status = ac_webhook_signature_add(&signature, &item->webhook->keys[i], &of);
    }
    bool fine = status == APR_SUCCESS && !signature.failed;
    snprintf(line, MAX_LINE, "webhook-signature: %s", fine ? signature.data : "");
    ac_buf_free(&signature);
    return fine;
}

static apr_status_t attempt_send(ac_webhook_item_t *item, ac_err_t *err)
{
    static const ac_http_cb_t callbacks = {.on_head = attempt_on_head,
                                           .on_body = attempt_on_body,
                                           .on_end = attempt_on_end};
    const ac_webhook_conf_t *conf = item->webhook->conf;
    char id[AC_WEBHOOK_ID_SIZE + 16], timestamp[48], signature[MAX_LINE];
    int64_t now = apr_time_sec(apr_time_now());
    const char *headers[] = {"Content-Type: application/json", id, timestamp, signature, NULL};
    snprintf(id, sizeof id, "webhook-id: %s", item->id);
    snprintf(timestamp, sizeof timestamp, "webhook-timestamp: %" PRId64, now);
    item->body = attempt_body(item->delivery);
    if (!item->body || !attempt_sign(signature, item, now)) {
        return ac_err_set(err, AC_INTERNAL, "the request could not be signed");
    }
    ac_trace_parse(&item->trace, ac_json_peek_string(item->delivery, "trace", ""));
    const ac_http_request_t request = {
        .method = "POST",
        .url = conf->url,
        .headers = headers,
        .body = item->body,
        .body_len = strlen(item->body),
        .connect_timeout = conf->timeout,
        .total_timeout = conf->timeout,
        .max_response = 2 * MAX_ANSWER,
        .ca_file = conf->ca_file,
        .public_only = !conf->allow_private,
        .trace = &item->trace,
        .spans = true,
    };
    return ac_http_start(&item->http, ac_webhook_sender_loop(item->sender), &request, &callbacks, item, err);
}

/* ---- acquiring ---- */

static void attempt_on_acquired(ac_store_op_t *op)
{
    ac_webhook_item_t *item = op->baton;
    json_t *delivery = json_object_get(op->out, "delivery");
    bool acquired = op->status == APR_SUCCESS && json_is_object(delivery);
    bool over = op->status == APR_SUCCESS || op->err.kind == AC_NOT_FOUND || op->err.kind == AC_PRECONDITION_FAILED;
    ac_err_t err;
    ac_err_init(&err);
    item->delivery = acquired ? json_incref(delivery) : NULL;
    ac_store_op_free(op);
    if (!acquired) {
        attempt_end(item, over ? -1 : with_jitter(STORE_PAUSE));
    } else if (ac_webhook_sender_stopped(item->sender)) {
        attempt_end(item, -1);
    } else if (!item->webhook) {
        attempt_report(item, "the configuration of this server has no webhook of this name");
    } else if (attempt_send(item, &err) != APR_SUCCESS) {
        attempt_report(item, err.detail);
    }
}

void ac_webhook_attempt_begin(ac_webhook_item_t *item)
{
    apr_interval_time_t timeout = item->webhook ? item->webhook->conf->timeout : 0;
    json_t *in = json_object();
    item->status = 0;
    item->retry_after = 0;
    item->answered = 0;
    ac_id_make(item->token, "try_");
    ac_json_put(in, "delivery_id", json_string(item->id));
    ac_json_put(in, "token", json_string(item->token));
    ac_json_put(in, "process", json_string(ac_webhook_sender_process(item->sender)));
    ac_json_put(in, "lease", json_integer(apr_time_as_msec(timeout + LEASE_MARGIN)));
    ac_webhook_sender_call(item, AC_STORE_WEBHOOK_ACQUIRE, in, attempt_on_acquired);
}

void ac_webhook_attempt_cancel(ac_webhook_item_t *item)
{
    if (item->http) {
        ac_http_cancel(item->http);
        item->http = NULL;
        attempt_clear(item);
    }
}
