/* SPDX-License-Identifier: Apache-2.0 */
/* One JSON-RPC request and its response: the credential, the stream that may break and be resumed, what the server asks
 * meanwhile, and cancelling. */
#include "mcp_internal.h"

#include "back/credential/credential.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#define RESUME_FIRST 1000 /* milliseconds before a stream is resumed, unless the server says it */
#define RESUME_LEAST 50
#define RESUME_MOST 30000
#define MAX_RESUMES 3    /* one after the other without an event between them */
#define MAX_QUESTIONS 16 /* requests of the server that are answered during one of ours */
#define POST_TIMEOUT apr_time_from_sec(10)
#define SHOWN 200 /* bytes of a server's error message */

struct ac_mcp_request_t {
    ac_mcp_upstream_t *server;
    ac_mcp_request_cb_t cb;
    void *baton;
    int64_t id;
    bool is_notification, resumes;
    char *body, *version, *session, **headers;
    const ac_trace_t *trace;
    apr_time_t deadline;
    int retries;
    ac_mcp_exchange_t *exchange;
    bool waits;   /* for the credential */
    bool renewed; /* the credential; only once */
    char *token;  /* as sent */
    char *last_id;
    json_t *ignored; /* as in the ask */
    int64_t retry;
    int n_resumes, n_questions;
    ac_timer_t timer;
    ac_ready_t ready;
    ac_mcp_message_t message; /* the response */
    char *opened;             /* the session that the server has opened */
    int status;
    size_t n_bytes;
    ac_err_t err;
};

static void mcp_request_send(ac_mcp_request_t *request);
static void mcp_request_on_credential(void *baton, apr_status_t status, const char *text, const ac_err_t *err);

/* ---- the end ---- */

static void mcp_request_wipe(char *text)
{
    if (text) {
        OPENSSL_cleanse(text, strlen(text));
        free(text);
    }
}

static void mcp_request_free(ac_mcp_request_t *request)
{
    ac_loop_t *loop = request->server->loop;
    ac_timer_cancel(loop, &request->timer);
    ac_loop_ready_cancel(loop, &request->ready);
    if (request->waits) {
        ac_credential_forget(request->server->conf->auth, mcp_request_on_credential, request);
    }
    for (char **line = request->headers; line && *line; line++) {
        mcp_request_wipe(*line);
    }
    free(request->headers);
    free(request->body);
    free(request->version);
    mcp_request_wipe(request->session);
    mcp_request_wipe(request->token);
    mcp_request_wipe(request->opened);
    free(request->last_id);
    json_decref(request->ignored);
    ac_mcp_message_free(&request->message);
    free(request);
}

/* The only end of a request that was not cancelled. */
static void mcp_request_finish(void *baton)
{
    ac_mcp_request_t *request = baton;
    bool answered = request->message.document != NULL;
    if (request->exchange && request->message.type == AC_MCP_REQUEST) {
        ac_mcp_exchange_cancel(request->exchange); /* one connection at a time may have the stream */
    } else if (request->exchange) {
        ac_mcp_exchange_leave(request->exchange);
    }
    request->exchange = NULL;
    ac_mcp_answer_t answer = {
        .message = answered ? &request->message : NULL,
        .status = request->status,
        .session = request->opened,
        .err = &request->err,
        .n_bytes = request->n_bytes,
    };
    request->cb.on_answer(request->baton, &answer);
    mcp_request_free(request);
}

static void mcp_request_fail(ac_mcp_request_t *request, const ac_err_t *cause)
{
    char who[AC_MAX_AGENT_ID + 32];
    snprintf(who, sizeof who, "the MCP server '%s'", request->server->conf->id);
    ac_tool_support_exchange_failed(&request->err, who, cause);
    mcp_request_finish(request);
}

static void mcp_request_on_deadline(void *baton)
{
    ac_mcp_request_t *request = baton;
    ac_err_t cause;
    ac_err_init(&cause);
    ac_err_set(&cause, AC_UPSTREAM_TIMEOUT, "no answer in time");
    if (request->exchange) {
        ac_mcp_exchange_cancel(request->exchange);
        request->exchange = NULL;
    }
    mcp_request_fail(request, &cause);
}

/* ---- what the server sends ---- */

/* A stream that is resumed may bring a question again. */
static bool question_is_answered(const ac_mcp_request_t *request, const ac_mcp_message_t *message)
{
    return request->ignored && json_equal(request->ignored, message->id);
}

/* Whether a person is asked: the message is then the end of the request. */
static bool takes_question(ac_mcp_request_t *request, const ac_mcp_message_t *message)
{
    const char *last_id = ac_mcp_exchange_last_id(request->exchange);
    ac_mcp_elicitation_t elicitation = {
        .id = message->id,
        .session = request->session,
        .version = request->version,
        .last_event_id = last_id ? last_id : request->last_id,
        .request = request->id,
    };
    return strcmp(message->method, AC_MCP_ELICITATION) == 0 && request->cb.on_question && request->resumes &&
        elicitation.last_event_id && !request->message.document && !question_is_answered(request, message) &&
        request->cb.on_question(request->baton, &elicitation, message->params);
}

/* A form for which no person can be asked is like one that a person has closed. */
static json_t *own_answer(const ac_mcp_message_t *message)
{
    bool is_form = strcmp(message->method, AC_MCP_ELICITATION) == 0 &&
        strcmp(ac_json_peek_string(message->params, "mode", "form"), "form") == 0;
    return is_form                             ? json_pack("{s:s}", "action", "cancel")
        : strcmp(message->method, "ping") == 0 ? json_object()
                                               : NULL;
}

static void answer_question(ac_mcp_request_t *request, const ac_mcp_message_t *message)
{
    if (!question_is_answered(request, message) && request->n_questions++ < MAX_QUESTIONS) {
        ac_mcp_request_post(request->server, request->version, request->session,
                            ac_mcp_message_response(message->id, own_answer(message)));
    }
}

static void take_notification(ac_mcp_request_t *request, const ac_mcp_message_t *message)
{
    const json_t *token = json_object_get(message->params, "progressToken");
    if (strcmp(message->method, "notifications/tools/list_changed") == 0) {
        ac_mcp_list_expire(request->server);
    } else if (strcmp(message->method, "notifications/progress") == 0 && request->cb.on_progress &&
               json_is_integer(token) && json_integer_value(token) == request->id) {
        request->cb.on_progress(request->baton, message->params);
    }
}

static void mcp_request_on_message(void *baton, ac_mcp_message_t *message)
{
    ac_mcp_request_t *request = baton;
    bool is_error = message->type == AC_MCP_ERROR && !message->id; /* it could not read our request */
    bool ends = message->type == AC_MCP_REQUEST ? takes_question(request, message)
                                                : is_error || ac_mcp_message_answers(message, request->id);
    if (message->type == AC_MCP_REQUEST && !ends) {
        answer_question(request, message);
    } else if (message->type == AC_MCP_NOTIFICATION) {
        take_notification(request, message);
    } else if (!request->message.document && ends) {
        request->message = *message;
        message->document = NULL;
        ac_loop_ready_set(request->server->loop, &request->ready, mcp_request_finish, request);
    }
}

static void mcp_request_on_head(void *baton, int status, const char *session)
{
    ac_mcp_request_t *request = baton;
    request->status = status;
    if (session && !request->opened) {
        request->opened = strdup(session);
    }
}

/* ---- the end of an exchange ---- */

/* The server does not accept the token any more: sends the request again with another one, if there is one. */
static bool renew_token(ac_mcp_request_t *request)
{
    if (request->status != 401 || !request->token || request->renewed) {
        return false;
    }
    request->renewed = true;
    ac_loop_ready_cancel(request->server->loop, &request->ready);
    ac_mcp_message_free(&request->message);
    ac_credential_reject(request->server->conf->auth, request->server->scope, request->token);
    request->waits = true;
    ac_credential_get(request->server->conf->auth, request->server->scope, mcp_request_on_credential, request);
    return true;
}

static void resume(void *baton)
{
    mcp_request_send(baton);
}

/* The connection is gone, but not the answer: the stream continues behind the last event, on another one. */
static bool resume_later(ac_mcp_request_t *request, const ac_mcp_exchange_end_t *end)
{
    ac_loop_t *loop = request->server->loop;
    if (end->last_id) {
        free(request->last_id);
        request->last_id = strdup(end->last_id);
        request->n_resumes = 0;
    }
    request->retry = end->retry >= 0 ? end->retry : request->retry;
    bool held = end->status == 409; /* the server has not seen yet that the connection before has ended */
    if (!request->resumes || !request->last_id || (end->status >= 300 && !held) || request->n_resumes >= MAX_RESUMES) {
        return false;
    }
    int64_t wait = request->retry >= 0 ? request->retry : RESUME_FIRST << request->n_resumes;
    wait = wait < RESUME_LEAST ? RESUME_LEAST : wait > RESUME_MOST ? RESUME_MOST : wait;
    request->n_resumes++;
    apr_time_t due = ac_loop_now(loop) + apr_time_from_msec(wait);
    if (request->deadline && due >= request->deadline) {
        return false;
    }
    ac_timer_set(loop, &request->timer, due, resume, request);
    return true;
}

static void explain_end(ac_mcp_request_t *request)
{
    const char *id = request->server->conf->id;
    if (request->status == 401 || request->status == 403) {
        ac_err_set(&request->err, AC_TOOL_ERROR, "the MCP server '%s' refuses the credential (HTTP %d)", id,
                   request->status);
    } else if (request->status < 200 || request->status > 299) {
        ac_err_set(&request->err, AC_TOOL_ERROR, "the MCP server '%s' answered %d", id, request->status);
    } else {
        ac_err_set(&request->err, AC_TOOL_ERROR, "the MCP server '%s' ended its answer without a result", id);
    }
}

static void mcp_request_on_end(void *baton, const ac_mcp_exchange_end_t *end)
{
    ac_mcp_request_t *request = baton;
    bool taken = request->is_notification && end->status >= 200 && end->status <= 299;
    request->exchange = NULL;
    request->n_bytes += end->n_bytes;
    if (renew_token(request)) {
        return;
    }
    if (request->message.document || taken) {
        mcp_request_finish(request);
    } else if (!resume_later(request, end)) {
        if (end->err->kind != AC_OK) {
            mcp_request_fail(request, end->err);
        } else {
            explain_end(request);
            mcp_request_finish(request);
        }
    }
}

/* ---- sending ---- */

static void mcp_request_send(ac_mcp_request_t *request)
{
    static const ac_mcp_exchange_cb_t callbacks = {mcp_request_on_head, mcp_request_on_message, mcp_request_on_end};
    ac_loop_t *loop = request->server->loop;
    bool resumed = request->last_id != NULL;
    ac_err_t err;
    ac_err_init(&err);
    ac_mcp_exchange_ask_t ask = {
        .method = resumed ? "GET" : "POST",
        .body = resumed ? NULL : request->body,
        .version = request->version,
        .session = request->session,
        .last_event_id = request->last_id,
        .token = request->token,
        .headers = (const char *const *)request->headers,
        .trace = request->trace,
        .retries = resumed ? 0 : request->retries,
    };
    apr_status_t status = ac_tool_support_time_left(&ask.timeout, ac_loop_now(loop), request->deadline, &request->err);
    if (status == APR_SUCCESS) {
        status = ac_mcp_exchange_start(&request->exchange, request->server, &ask, &callbacks, request, &err);
    }
    if (status != APR_SUCCESS) {
        ac_err_set(&request->err, AC_TOOL_ERROR, "%s", err.detail);
        ac_loop_ready_set(loop, &request->ready, mcp_request_finish, request);
    }
}

static void mcp_request_on_credential(void *baton, apr_status_t status, const char *text, const ac_err_t *err)
{
    ac_mcp_request_t *request = baton;
    request->waits = false;
    ac_timer_cancel(request->server->loop, &request->timer);
    if (status != APR_SUCCESS) {
        ac_err_set(&request->err, AC_TOOL_ERROR, "there is no credential for the MCP server '%s': %s",
                   request->server->conf->id, err->detail);
        ac_loop_ready_set(request->server->loop, &request->ready, mcp_request_finish, request);
        return;
    }
    mcp_request_wipe(request->token);
    request->token = strdup(text);
    mcp_request_send(request);
}

static char **copy_lines(const char *const *lines)
{
    size_t n = 0;
    while (lines && lines[n]) {
        n++;
    }
    char **copy = ac_alloc((n + 1) * sizeof *copy);
    for (size_t i = 0; i < n; i++) {
        copy[i] = strdup(lines[i]);
    }
    return copy;
}

/* The id of a request is also the token of its progress. */
static json_t *with_token(json_t *params, int64_t id)
{
    params = params ? params : json_object();
    if (!json_object_get(params, "_meta")) {
        ac_json_put(params, "_meta", json_object());
    }
    ac_json_put(json_object_get(params, "_meta"), "progressToken", json_integer(id));
    return params;
}

static char *mcp_request_body(const ac_mcp_request_t *request, const ac_mcp_request_ask_t *ask)
{
    if (ask->text || request->last_id) {
        return ask->text;
    }
    if (ask->is_notification) {
        return ac_mcp_message_notification(ask->method, ask->params);
    }
    json_t *params = request->cb.on_progress ? with_token(ask->params, request->id) : ask->params;
    return ac_mcp_message_request(request->id, ask->method, params);
}

ac_mcp_request_t *ac_mcp_request_start(ac_mcp_upstream_t *server, const ac_mcp_request_ask_t *ask,
                                       const ac_mcp_request_cb_t *cb, void *baton)
{
    ac_mcp_request_t *request = ac_alloc(sizeof *request);
    request->server = server;
    request->cb = *cb;
    request->baton = baton;
    request->id = ask->id ? ask->id : ++server->last_id;
    request->last_id = ask->last_event_id ? strdup(ask->last_event_id) : NULL;
    request->ignored = json_incref((json_t *)ask->ignored);
    request->is_notification = ask->is_notification;
    request->resumes = ask->resumes;
    request->version = ask->version ? strdup(ask->version) : NULL;
    request->session = ask->session ? strdup(ask->session) : NULL;
    request->headers = copy_lines(ask->headers);
    request->trace = ask->trace;
    request->deadline = ask->deadline;
    request->retries = ask->retries;
    request->retry = -1;
    request->body = mcp_request_body(request, ask);
    if (!request->body && !request->last_id) {
        ac_err_set(&request->err, AC_TOOL_ERROR, "the request is too long");
        ac_loop_ready_set(server->loop, &request->ready, mcp_request_finish, request);
    } else if (server->conf->auth) {
        request->waits = true;
        ac_credential_get(server->conf->auth, server->scope, mcp_request_on_credential, request);
        if (request->deadline) {
            ac_timer_set(server->loop, &request->timer, request->deadline, mcp_request_on_deadline, request);
        }
    } else {
        mcp_request_send(request);
    }
    return request;
}

int64_t ac_mcp_request_id(const ac_mcp_request_t *request)
{
    return request->id;
}

void ac_mcp_request_cancel(ac_mcp_request_t *request)
{
    bool was_sent = request->exchange || request->last_id;
    if (was_sent && request->resumes && !request->message.document) {
        ac_mcp_request_post(request->server, request->version, request->session,
                            ac_mcp_message_notification("notifications/cancelled",
                                                        json_pack("{s:I, s:s}", "requestId", (json_int_t)request->id,
                                                                  "reason", "The caller does not wait any more.")));
    }
    if (request->exchange) {
        ac_mcp_exchange_cancel(request->exchange);
    }
    mcp_request_free(request);
}

/* ---- without an answer ---- */

static void mcp_request_tell(ac_mcp_upstream_t *server, const ac_mcp_exchange_ask_t *given)
{
    static const ac_mcp_exchange_cb_t nothing = {NULL, NULL, NULL};
    ac_mcp_exchange_t *exchange;
    ac_mcp_exchange_ask_t ask = *given;
    ask.timeout = POST_TIMEOUT;
    ask.token = server->conf->auth ? ac_credential_now(server->conf->auth, server->scope) : NULL;
    if (!server->conf->auth || ask.token) {
        ac_mcp_exchange_start(&exchange, server, &ask, &nothing, NULL, NULL);
    }
}

void ac_mcp_request_post(ac_mcp_upstream_t *server, const char *version, const char *session, char *text)
{
    ac_mcp_exchange_ask_t ask = {.method = "POST", .body = text, .version = version, .session = session};
    if (text) {
        mcp_request_tell(server, &ask);
    }
    free(text);
}

void ac_mcp_request_delete(ac_mcp_upstream_t *server, const char *version, const char *session)
{
    ac_mcp_exchange_ask_t ask = {.method = "DELETE", .version = version, .session = session};
    mcp_request_tell(server, &ask);
}

/* ---- errors ---- */

apr_status_t ac_mcp_request_failed(const ac_mcp_upstream_t *server, const ac_mcp_answer_t *answer, ac_err_t *err)
{
    const ac_mcp_message_t *message = answer->message;
    if (!message) {
        return ac_err_set(err, answer->err->kind ? answer->err->kind : AC_TOOL_ERROR, "%s", answer->err->detail);
    }
    ac_buf_t text;
    ac_buf_init(&text, SHOWN + 16);
    ac_tool_text_add(&text, message->text ? message->text : "", SHOWN);
    for (size_t i = 0; i < text.len; i++) {
        text.data[i] = text.data[i] == '\n' || text.data[i] == '\t' ? ' ' : text.data[i];
    }
    if (text.data) {
        ac_tool_mask_text(server->mask, text.data, text.len, false);
    }
    apr_status_t status = ac_err_set(err, AC_TOOL_ERROR, "the MCP server '%s' answered with the error %d%s%s",
                                     server->conf->id, (int)message->code, text.len ? ": " : "",
                                     text.data ? text.data : "");
    ac_buf_free(&text);
    return status;
}
