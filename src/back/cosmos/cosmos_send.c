/* SPDX-License-Identifier: Apache-2.0 */
/* One attempt of a request to Cosmos DB: it is built and sent, and its answer's headers and body are read. */
#include "cosmos_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <apr_strings.h>
#include <curl/curl.h>

#define CONNECT_TIMEOUT apr_time_from_sec(5)
#define FIRST_BYTE_TIMEOUT apr_time_from_sec(6) /* then another connection is used, as in the SDKs */
#define LAST_DATE 253402300800                  /* the year 10000; a later date is certainly wrong */
#define MOST_CHARGE 1e9                         /* request units of one answer */

/* ---- the answer ---- */

static void cosmos_send_on_head(void *baton, const ac_http_head_t *head)
{
    ac_cosmos_call_t *call = baton;
    ac_cosmos_t *store = call->store;
    const char *substatus = head->header(head->self, "x-ms-substatus"), *etag = head->header(head->self, "etag");
    const char *more = head->header(head->self, "x-ms-continuation"),
               *token = head->header(head->self, "x-ms-session-token");
    const char *charge = head->header(head->self, "x-ms-request-charge"), *date = head->header(head->self, "date");
    time_t when = date ? curl_getdate(date, NULL) : -1;
    call->reply.status = head->status;
    call->reply.substatus = substatus ? (int)strtol(substatus, NULL, 10) : 0;
    apr_cpystrn(call->reply.etag, etag ? etag : "", sizeof(call->reply.etag));
    call->retry_after = ac_cosmos_answer_retry_after(head->header(head->self, "x-ms-retry-after-ms"));
    free(call->continuation);
    call->continuation = more && *more ? strdup(more) : NULL;
    if (when > 0 && when < LAST_DATE) {
        store->calls.skew = apr_time_from_sec(when) + APR_USEC_PER_SEC / 2 - apr_time_now();
    }
    if (charge) {
        double value = strtod(charge, NULL);
        value = value >= 0 && value < MOST_CHARGE ? value : 0;
        call->task->figures.charge += value;
        call->charge += value;
        ac_metrics_add(AC_METRIC_COSMOS_REQUEST_UNITS, AC_LABELS(call->task->op->verb), (uint64_t)(value * 1000 + 0.5));
        atomic_fetch_add_explicit(&store->figures.charge_milli, (uint64_t)(value * 1000), memory_order_relaxed);
    }
    /* Every answer has the newest session token, except for the answer of a replica that is behind. */
    if (token && ac_cosmos_answer_next(call->reply.status, call->reply.substatus) != AC_COSMOS_BEHIND) {
        ac_cosmos_shared_note_token(store, call->request.container, token);
    }
}

static bool cosmos_send_on_body(void *baton, const char *bytes, size_t len)
{
    ac_cosmos_call_t *call = baton;
    return ac_buf_add(&call->answer, bytes, len) == APR_SUCCESS;
}

bool ac_cosmos_send_read_body(ac_cosmos_call_t *call)
{
    int status = call->reply.status, substatus = 0;
    bool wanted = (status >= 200 && status < 300 && status != 204) && call->answer.len;
    json_decref(call->reply.body);
    call->reply.body = wanted ? json_loadb(call->answer.data, call->answer.len, JSON_ALLOW_NUL, NULL) : NULL;
    ac_err_init(&call->last);
    if (wanted && !call->reply.body) {
        ac_err_set(&call->last, AC_STORE_ERROR, "Cosmos DB's answer is not JSON");
        return false;
    }
    if (call->request.verb == AC_COSMOS_BATCH && status >= 200 && status < 300) {
        if (ac_cosmos_answer_batch(&status, &substatus, &call->reply.failed_at, call->reply.body, call->request.n_ops,
                                   &call->last)) {
            return false;
        }
        call->reply.status = status;
        call->reply.substatus = substatus;
        if (status != 200) {
            const json_t *result = json_array_get(call->reply.body, (size_t)call->reply.failed_at);
            call->retry_after = apr_time_from_msec(ac_json_peek_int(result, "retryAfterMilliseconds", 0));
        }
    }
    return true;
}

/* ---- the request ---- */

static const ac_http_cb_t callbacks = {.on_head = cosmos_send_on_head,
                                       .on_body = cosmos_send_on_body,
                                       .on_end = ac_cosmos_call_done};

apr_status_t ac_cosmos_send_request(ac_cosmos_call_t *call, const char *credential, ac_err_t *err)
{
    ac_cosmos_t *store = call->store;
    const char *lines[AC_COSMOS_HEADERS],
        *base = store->calls.write_endpoint && ac_cosmos_writes(call->request.verb) ? store->calls.write_endpoint
                                                                                    : store->conf.endpoint;
    char date[AC_COSMOS_DATE_SIZE],
        *session = call->request.verb >= AC_COSMOS_READ ? ac_cosmos_shared_token_text(store, call->request.container)
                                                        : NULL;
    ac_cosmos_ask_t ask = {
        .verb = call->request.verb,
        .database = store->conf.database,
        .container = store->conf.containers[call->request.container],
        .id = call->request.id,
        .key = call->request.key,
        .if_match = call->request.if_match,
        .continuation = call->request.continuation,
        .session = session,
        .throughput = store->conf.throughput,
        .autoscale = store->conf.autoscale,
        .max_items = call->request.max_items,
    };
    ac_buf_t url, text, authorization;
    apr_interval_time_t left = call->deadline - ac_clock();
    apr_status_t status;
    ac_buf_init(&url, 8192);
    ac_buf_init(&text, AC_MAX_HEAD + AC_COSMOS_SESSION_TEXT);
    ac_buf_init(&authorization, AC_MAX_HEAD);
    ac_cosmos_date(date, apr_time_now());
    ac_buf_str(&url, base);
    status = ac_cosmos_path(&url, &ask);
    if (status == APR_SUCCESS) {
        status = ac_credential_kind(store->conf.credential) == AC_CREDENTIAL_KEY
            ? ac_cosmos_auth_key(&authorization, &ask, credential, date, err)
            : ac_cosmos_auth_bearer(&authorization, credential);
    }
    if (status == APR_SUCCESS) {
        status = ac_cosmos_request_headers(lines, &text, &ask, date, authorization.data);
    }
    if (status == APR_SUCCESS) {
        ac_http_request_t request = {
            .method = ac_cosmos_method(call->request.verb),
            .url = url.data,
            .headers = lines,
            .body = call->request.body.data,
            .body_len = call->request.body.len,
            .connect_timeout = CONNECT_TIMEOUT,
            .first_byte_timeout = FIRST_BYTE_TIMEOUT,
            .total_timeout = left > 0 ? left : 1,
            .http_version = 1,
            .ca_file = store->conf.ca_file,
            .raw_errors = true,
            .trace = &call->trace,
        };
        call->n_sent++;
        status = ac_http_start(&call->http, store->loop, &request, &callbacks, call, err);
    }
    ac_buf_free(&url);
    ac_buf_free(&text);
    ac_buf_free(&authorization);
    free(session);
    return status == APR_SUCCESS ? APR_SUCCESS : ac_err_set(err, AC_INTERNAL, "a request could not be built");
}
