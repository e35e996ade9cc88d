/* SPDX-License-Identifier: Apache-2.0 */
/* One attempt of a batch: its credential, its request, and the meaning of the answer. */
#include "telemetry_internal.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#define MAX_HEADERS 24
#define MAX_REDIRECTS 3
#define MAX_OWN_REDIRECTS 10 /* of a batch */
#define CONNECT_TIMEOUT apr_time_from_sec(5)

/* ---- the answer ---- */

static void export_on_head(void *baton, const ac_http_head_t *head)
{
    ac_exporter_t *exporter = baton;
    exporter->answer.status = head->status;
    exporter->answer.retry_after = head->retry_after;
    const char *location = head->header(head->self, "Location");
    snprintf(exporter->answer.content_type, sizeof exporter->answer.content_type, "%s", head->content_type);
    snprintf(exporter->answer.location, sizeof exporter->answer.location, "%s",
             location && strlen(location) < sizeof exporter->answer.location ? location : "");
}

/* What is behind the first part of a long answer is not wanted. */
static bool export_on_body(void *baton, const char *bytes, size_t len)
{
    ac_buf_t *body = &((ac_exporter_t *)baton)->answer.body;
    size_t room = body->max - body->len;
    ac_buf_add(body, bytes, len < room ? len : room);
    return len < room;
}

/* A 401 of a token that has just expired, or was revoked. */
static bool renew_credential(ac_exporter_t *exporter)
{
    const ac_exporter_conf_t *conf = &exporter->conf;
    if (exporter->answer.status != 401 || !exporter->used || exporter->body->renewed) {
        return false;
    }
    exporter->body->renewed = true;
    ac_credential_reject(conf->credential, conf->scope, exporter->used);
    ac_export_send(exporter);
    return true;
}

/* The items that are not to be sent again are settled here. */
static void pause_with_some(ac_exporter_t *exporter, const ac_export_verdict_t *verdict, const char *why)
{
    ac_export_body_t *body = exporter->body;
    unsigned before = ac_export_body_units(body), lost = verdict->rejected;
    ac_signal_e signal = body->items[0]->signal;
    ac_export_body_keep_again(body);
    unsigned settled = before - ac_export_body_units(body);
    lost = lost < settled ? lost : settled;
    if (lost) {
        ac_telemetry_item_count_lost(signal, lost);
    }
    exporter->n_lost += lost;
    ac_metrics_add(AC_METRIC_TELEMETRY_EXPORTED, AC_LABELS((unsigned)signal), settled - lost);
    ac_buf_clear(&body->bytes); /* is encoded again */
    ac_exporter_pause(exporter, exporter->answer.retry_after, AC_EXPORT_END_LOST, why);
}

/* The location is valid for later batches, too. */
static void export_follow(ac_exporter_t *exporter, const char *why)
{
    ac_export_body_t *body = exporter->body;
    if (++body->redirects > MAX_OWN_REDIRECTS) {
        ac_exporter_settle(exporter, AC_EXPORT_END_LOST, ac_export_body_units(body), why);
        return;
    }
    free(exporter->moved);
    exporter->moved = ac_alloc(sizeof exporter->answer.location);
    memcpy(exporter->moved, exporter->answer.location, sizeof exporter->answer.location);
    ac_export_send(exporter);
}

static void export_on_answer(ac_exporter_t *exporter)
{
    char why[96];
    ac_export_body_t *body = exporter->body;
    const ac_exporter_conf_t *conf = &exporter->conf;
    ac_export_answer_t answer = {exporter->answer.status,
                                 exporter->answer.content_type,
                                 exporter->answer.body.data ? exporter->answer.body.data : "",
                                 exporter->answer.body.len,
                                 exporter->moved ? exporter->moved : conf->url,
                                 exporter->answer.location};
    ac_export_batch_t batch = {(const ac_telemetry_item_t *const *)body->items, body->n, exporter->telemetry->resource};
    ac_export_verdict_t verdict = {.result = AC_EXPORT_REFUSED, .again = body->again};
    memset(body->again, 0, (size_t)body->n * sizeof *body->again);
    conf->format->judge(conf->baton, &verdict, &answer, &batch);
    if (*verdict.said) {
        ac_debug("telemetry: %s: status %d: %s", exporter->place, answer.status, verdict.said);
    }
    if (verdict.result != AC_EXPORT_ACCEPTED && renew_credential(exporter)) {
        return;
    }
    body->sent = false; /* from here on its fate is known */
    snprintf(why, sizeof why, "status %d", answer.status);
    switch (verdict.result) {
    case AC_EXPORT_ACCEPTED:
        snprintf(why, sizeof why, "accepted a batch without %u items of it", verdict.rejected);
        ac_exporter_settle(exporter, AC_EXPORT_END_ACCEPTED, verdict.rejected, verdict.rejected ? why : NULL);
        break;
    case AC_EXPORT_AGAIN: ac_exporter_pause(exporter, exporter->answer.retry_after, AC_EXPORT_END_LOST, why); break;
    case AC_EXPORT_ELSEWHERE: export_follow(exporter, why); break;
    case AC_EXPORT_SOME: pause_with_some(exporter, &verdict, why); break;
    default: ac_exporter_settle(exporter, AC_EXPORT_END_LOST, ac_export_body_units(body), why); break;
    }
}

static void export_on_end(void *baton, apr_status_t status, const ac_err_t *err, const char *error_body, size_t len)
{
    ac_exporter_t *exporter = baton;
    (void)error_body;
    (void)len;
    exporter->http = NULL;
    if (status == APR_SUCCESS) {
        export_on_answer(exporter);
    } else if (exporter->conf.once && exporter->body->sent) {
        ac_exporter_settle(exporter, AC_EXPORT_END_UNKNOWN, ac_export_body_units(exporter->body), err->detail);
    } else {
        ac_exporter_pause(exporter, 0, exporter->body->sent ? AC_EXPORT_END_UNKNOWN : AC_EXPORT_END_LOST, err->detail);
    }
}

static void export_on_send(void *baton)
{
    ac_exporter_t *exporter = baton;
    ac_export_body_t *body = exporter->body;
    ac_export_batch_t batch = {(const ac_telemetry_item_t *const *)body->items, body->n, exporter->telemetry->resource};
    body->sent = true;
    if (exporter->conf.format->sending) {
        exporter->conf.format->sending(exporter->conf.baton, &batch);
    }
}

/* ---- the request ---- */

static const ac_http_cb_t export_callbacks = {
    .on_head = export_on_head,
    .on_body = export_on_body,
    .on_end = export_on_end,
    .on_send = export_on_send,
};

static void fill_headers(const char *headers[MAX_HEADERS], const ac_exporter_t *exporter, const char *type,
                         const char *credential)
{
    int n = 0;
    headers[n++] = type;
    if (exporter->conf.gzip) {
        headers[n++] = "Content-Encoding: gzip";
    }
    if (credential) {
        headers[n++] = credential;
    }
    for (int i = 0; exporter->conf.headers && exporter->conf.headers[i] && n < MAX_HEADERS - 1; i++) {
        headers[n++] = exporter->conf.headers[i];
    }
    headers[n] = NULL;
}

static char *export_join(const char *front, const char *text)
{
    size_t len = strlen(front), size = len + strlen(text) + 1;
    char *joined = ac_alloc(size);
    memcpy(joined, front, len);
    memcpy(joined + len, text, size - len);
    return joined;
}

static void export_wipe(char *secret)
{
    if (secret) {
        OPENSSL_cleanse(secret, strlen(secret));
        free(secret);
    }
}

/* text: of the credential, or NULL. */
static void export_request(ac_exporter_t *exporter, const char *text)
{
    const char *headers[MAX_HEADERS];
    ac_err_t err;
    ac_export_body_t *body = exporter->body;
    const ac_exporter_conf_t *conf = &exporter->conf;
    char *credential = text ? export_join(conf->credential_header, text) : NULL;
    char *type = export_join("Content-Type: ", conf->format->content_type);
    export_wipe(exporter->used);
    exporter->used = text ? export_join("", text) : NULL;
    fill_headers(headers, exporter, type, credential);
    ac_http_request_t request = {.method = "POST",
                                 .url = exporter->moved ? exporter->moved : conf->url,
                                 .headers = headers,
                                 .body = body->bytes.data,
                                 .body_len = body->bytes.len,
                                 .connect_timeout = conf->timeout < CONNECT_TIMEOUT ? conf->timeout : CONNECT_TIMEOUT,
                                 .total_timeout = conf->timeout,
                                 .max_redirects = conf->own_redirects ? 0 : MAX_REDIRECTS,
                                 .keep_method = true,
                                 .ca_file = conf->ca_file,
                                 .raw_errors = true};
    ac_buf_clear(&exporter->answer.body);
    exporter->state = AC_EXPORTER_SENDING;
    ac_err_init(&err);
    apr_status_t status =
        ac_http_start(&exporter->http, exporter->telemetry->host->loop, &request, &export_callbacks, exporter, &err);
    export_wipe(credential);
    free(type);
    if (status != APR_SUCCESS) {
        exporter->http = NULL;
        ac_exporter_settle(exporter, AC_EXPORT_END_LOST, ac_export_body_units(body), err.detail);
    }
}

/* ---- the credential ---- */

static void export_on_credential(void *baton, apr_status_t status, const char *text, const ac_err_t *err)
{
    ac_exporter_t *exporter = baton;
    ac_timer_cancel(exporter->telemetry->host->loop, &exporter->timer);
    if (status == APR_SUCCESS) {
        export_request(exporter, text);
        return;
    }
    char why[AC_ERR_DETAIL_SIZE + 32];
    snprintf(why, sizeof why, "no credential: %s", err->detail);
    ac_exporter_pause(exporter, 0, AC_EXPORT_END_LOST, why);
}

static void export_on_no_credential(void *baton)
{
    ac_exporter_t *exporter = baton;
    ac_credential_forget(exporter->conf.credential, export_on_credential, exporter);
    ac_exporter_pause(exporter, 0, AC_EXPORT_END_LOST, "no credential in time");
}

void ac_export_send(ac_exporter_t *exporter)
{
    const ac_exporter_conf_t *conf = &exporter->conf;
    ac_loop_t *loop = exporter->telemetry->host->loop;
    if (!conf->credential) {
        export_request(exporter, NULL);
        return;
    }
    const char *text = exporter->body->renewed ? NULL : ac_credential_now(conf->credential, conf->scope);
    if (text) {
        export_request(exporter, text);
        return;
    }
    exporter->state = AC_EXPORTER_CREDENTIAL;
    ac_timer_set(loop, &exporter->timer, ac_loop_now(loop) + conf->timeout, export_on_no_credential, exporter);
    ac_credential_get(conf->credential, conf->scope, export_on_credential, exporter);
}

void ac_export_send_cancel(ac_exporter_t *exporter)
{
    if (exporter->http) {
        ac_http_cancel(exporter->http);
        exporter->http = NULL;
    }
    if (exporter->state == AC_EXPORTER_CREDENTIAL) {
        ac_credential_forget(exporter->conf.credential, export_on_credential, exporter);
    }
}
