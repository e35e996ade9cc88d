/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP request to a server, and the messages of its answer: one JSON document, or an event stream. */
#include "mcp_internal.h"

#include <openssl/crypto.h>
#include <string.h>
#include <strings.h>

#define MAX_LINE (64 * 1024)        /* of a header */
#define MAX_SESSION 1024            /* bytes of a session's id */
#define MAX_OWN_LINES 7             /* of this file */
#define LINGER apr_time_from_sec(1) /* for the rest of an answer that is not used */

struct ac_mcp_exchange_t {
    ac_mcp_upstream_t *server;
    ac_mcp_exchange_cb_t cb; /* all NULL: left */
    void *baton;
    ac_http_t *http;
    ac_trace_t trace;
    int status;
    bool stream, busy, cancelled; /* busy: inside of a callback of the exchange below */
    ac_sse_reader_t reader;
    ac_buf_t body; /* of an answer that is no stream */
    size_t n_bytes;
    ac_err_t err;
    ac_timer_t linger;
    ac_mcp_exchange_t *next, **plink;
};

static void exchange_free(ac_mcp_exchange_t *exchange)
{
    ac_timer_cancel(exchange->server->loop, &exchange->linger);
    *exchange->plink = exchange->next;
    if (exchange->next) {
        exchange->next->plink = exchange->plink;
    }
    ac_sse_reader_free(&exchange->reader);
    ac_buf_free(&exchange->body);
    ac_trace_clear(&exchange->trace);
    free(exchange);
}

/* ---- the answer ---- */

/* Visible ASCII, as the specification has it: the id is sent back in a header. */
static const char *exchange_session(const ac_http_head_t *head)
{
    const char *id = head->header(head->self, "mcp-session-id");
    size_t len = 0;
    while (id && id[len] > ' ' && id[len] <= '~') {
        len++;
    }
    return id && len && len <= MAX_SESSION && !id[len] ? id : NULL;
}

static void mcp_exchange_on_head(void *baton, const ac_http_head_t *head)
{
    ac_mcp_exchange_t *exchange = baton;
    exchange->status = head->status;
    exchange->stream = strncasecmp(head->content_type, "text/event-stream", 17) == 0;
    if (exchange->cb.on_head) {
        exchange->busy = true;
        exchange->cb.on_head(exchange->baton, head->status, exchange_session(head));
        exchange->busy = false;
    }
}

static void mcp_exchange_take(ac_mcp_exchange_t *exchange, const char *text, size_t len)
{
    ac_mcp_message_t message;
    if (!exchange->cb.on_message || exchange->cancelled || !ac_mcp_message_read(&message, text, len)) {
        return;
    }
    exchange->cb.on_message(exchange->baton, &message);
    ac_mcp_message_free(&message);
}

static bool mcp_exchange_on_event(void *baton, const char *event, const char *data, size_t len)
{
    ac_mcp_exchange_t *exchange = baton;
    if (len && (!*event || strcmp(event, "message") == 0)) {
        mcp_exchange_take(exchange, data, len);
    }
    return !exchange->cancelled;
}

static bool mcp_exchange_on_body(void *baton, const char *bytes, size_t len)
{
    ac_mcp_exchange_t *exchange = baton;
    exchange->n_bytes += len;
    exchange->busy = true;
    if (exchange->cancelled) {
        /* nothing is read any more */
    } else if (exchange->stream) {
        ac_sse_read(&exchange->reader, bytes, len, mcp_exchange_on_event, exchange, &exchange->err);
    } else if (ac_buf_add(&exchange->body, bytes, len) != APR_SUCCESS) {
        ac_err_set(&exchange->err, AC_UPSTREAM_ERROR, "the answer is longer than %d bytes", AC_MAX_TOOL_ANSWER);
    }
    exchange->busy = false;
    return !exchange->cancelled && exchange->err.kind == AC_OK;
}

static void mcp_exchange_on_end(void *baton, apr_status_t status, const ac_err_t *err, const char *error_body,
                                size_t len)
{
    ac_mcp_exchange_t *exchange = baton;
    (void)error_body, (void)len;
    exchange->http = NULL;
    exchange->busy = true;
    if (exchange->err.kind == AC_OK && status != APR_SUCCESS) {
        exchange->err = *err;
    } else if (exchange->stream) {
        ac_sse_finish(&exchange->reader, mcp_exchange_on_event, exchange);
    } else if (exchange->body.len) {
        mcp_exchange_take(exchange, exchange->body.data, exchange->body.len);
    }
    if (exchange->cb.on_end && !exchange->cancelled) {
        ac_mcp_exchange_end_t end = {
            .status = exchange->status,
            .err = &exchange->err,
            .last_id = ac_mcp_exchange_last_id(exchange),
            .retry = exchange->reader.retry,
            .n_bytes = exchange->n_bytes,
        };
        exchange->cb.on_end(exchange->baton, &end);
    }
    exchange_free(exchange);
}

/* ---- the request ---- */

typedef struct lines_t {
    ac_buf_t own[MAX_OWN_LINES];
    int n_own;
    const char **list; /* all of them, NULL-terminated */
    size_t n;
} lines_t;

static void lines_add(lines_t *lines, const char *name, const char *value)
{
    if (!value || !*value) {
        return;
    }
    ac_buf_t *line = &lines->own[lines->n_own++];
    ac_buf_init(line, MAX_LINE);
    ac_buf_printf(line, "%s: %s", name, value);
    if (line->data) {
        lines->list[lines->n++] = line->data;
    }
}

static size_t mcp_exchange_count(const char *const *list)
{
    size_t n = 0;
    while (list && list[n]) {
        n++;
    }
    return n;
}

static void lines_make(lines_t *lines, const ac_mcp_upstream_t *server, const ac_mcp_exchange_ask_t *ask)
{
    size_t n_server = mcp_exchange_count(server->headers), n_ask = mcp_exchange_count(ask->headers);
    ac_buf_t token;
    memset(lines, 0, sizeof *lines);
    lines->list = ac_alloc((n_server + n_ask + MAX_OWN_LINES + 1) * sizeof *lines->list);
    ac_buf_init(&token, MAX_LINE);
    if (ask->token) {
        ac_buf_printf(&token, "Bearer %s", ask->token);
    }
    lines_add(lines, "Accept",
              ask->body                 ? "application/json, text/event-stream"
                  : *ask->method == 'G' ? "text/event-stream"
                                        : "*/*");
    lines_add(lines, "Content-Type", ask->body ? "application/json" : NULL);
    lines_add(lines, "MCP-Protocol-Version", ask->version);
    lines_add(lines, "Mcp-Session-Id", ask->session);
    lines_add(lines, "Last-Event-ID", ask->last_event_id);
    lines_add(lines, "Authorization", token.data);
    for (size_t i = 0; i < n_server; i++) {
        lines->list[lines->n++] = server->headers[i];
    }
    for (size_t i = 0; i < n_ask; i++) {
        lines->list[lines->n++] = ask->headers[i];
    }
    if (token.data) {
        OPENSSL_cleanse(token.data, token.len);
    }
    ac_buf_free(&token);
}

static void lines_free(lines_t *lines)
{
    for (int i = 0; i < lines->n_own; i++) {
        if (lines->own[i].data) {
            OPENSSL_cleanse(lines->own[i].data, lines->own[i].len);
        }
        ac_buf_free(&lines->own[i]);
    }
    free(lines->list);
}

static ac_mcp_exchange_t *exchange_create(ac_mcp_upstream_t *server, const ac_mcp_exchange_cb_t *cb, void *baton)
{
    ac_mcp_exchange_t *exchange = ac_alloc(sizeof *exchange);
    exchange->server = server;
    exchange->cb = *cb;
    exchange->baton = baton;
    ac_sse_reader_init(&exchange->reader);
    exchange->reader.keeps_ids = true;
    exchange->reader.line.max = exchange->reader.data.max = AC_MAX_TOOL_ANSWER;
    ac_buf_init(&exchange->body, AC_MAX_TOOL_ANSWER);
    exchange->next = server->exchanges;
    exchange->plink = &server->exchanges;
    if (exchange->next) {
        exchange->next->plink = &exchange->next;
    }
    server->exchanges = exchange;
    return exchange;
}

apr_status_t ac_mcp_exchange_start(ac_mcp_exchange_t **pexchange, ac_mcp_upstream_t *server,
                                   const ac_mcp_exchange_ask_t *ask, const ac_mcp_exchange_cb_t *cb, void *baton,
                                   ac_err_t *err)
{
    static const ac_http_cb_t callbacks = {.on_head = mcp_exchange_on_head,
                                           .on_body = mcp_exchange_on_body,
                                           .on_end = mcp_exchange_on_end};
    static const char *const no_other_host[] = {NULL};
    ac_mcp_exchange_t *exchange = exchange_create(server, cb, baton);
    lines_t lines;
    lines_make(&lines, server, ask);
    if (ask->trace) {
        ac_trace_copy(&exchange->trace, ask->trace);
    }
    ac_http_request_t request = {
        .method = ask->method,
        .url = server->conf->url,
        .headers = lines.list,
        .body = ask->body,
        .body_len = ask->body ? strlen(ask->body) : 0,
        .connect_timeout = server->conf->connect_timeout,
        .total_timeout = ask->timeout,
        .max_response = AC_MAX_MCP_STREAM,
        .retries = ask->retries,
        .ca_file = server->conf->ca_file,
        .max_redirects = 3,
        .keep_method = true,
        .public_only = !server->conf->allow_private,
        .allow_hosts = no_other_host,
        .raw_errors = true,
        .trace = &exchange->trace,
        .spans = true,
        .url_template = server->conf->url,
    };
    apr_status_t status = ac_http_start(&exchange->http, server->loop, &request, &callbacks, exchange, err);
    lines_free(&lines);
    if (status != APR_SUCCESS) {
        exchange_free(exchange);
        return status;
    }
    *pexchange = exchange;
    return APR_SUCCESS;
}

/* ---- other ends ---- */

void ac_mcp_exchange_cancel(ac_mcp_exchange_t *exchange)
{
    if (exchange->busy) { /* the callback that is running frees it, or on_end does */
        exchange->cancelled = true;
        memset(&exchange->cb, 0, sizeof exchange->cb);
        return;
    }
    ac_http_cancel(exchange->http);
    exchange_free(exchange);
}

static void on_lingered(void *baton)
{
    ac_mcp_exchange_cancel(baton);
}

void ac_mcp_exchange_leave(ac_mcp_exchange_t *exchange)
{
    ac_loop_t *loop = exchange->server->loop;
    memset(&exchange->cb, 0, sizeof exchange->cb);
    ac_timer_set(loop, &exchange->linger, ac_loop_now(loop) + LINGER, on_lingered, exchange);
}

const char *ac_mcp_exchange_last_id(const ac_mcp_exchange_t *exchange)
{
    const char *id = exchange->reader.last_id;
    return id && *id ? id : NULL;
}

void ac_mcp_exchange_cancel_all(ac_mcp_upstream_t *server)
{
    while (server->exchanges) {
        ac_mcp_exchange_cancel(server->exchanges);
    }
}
