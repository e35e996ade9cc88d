/* SPDX-License-Identifier: Apache-2.0 */
/* A call of a server's tool: the session, the request in the form of the server's era, one more attempt where that is
 * safe, and the result for the model. */
#include "mcp_internal.h"

#include <string.h>

#define MAX_MESSAGE 500 /* bytes of a progress message */

typedef void call_done_fn(void *baton, apr_status_t status, json_t *result, const ac_err_t *err);

typedef struct call_t {
    ac_mcp_bound_t *bound;
    ac_mcp_upstream_t *server;
    ac_mcp_tools_t *tools; /* the list that `entry` is of */
    const ac_mcp_entry_t *entry;
    json_t *arguments;
    json_t *answers, *state; /* for a server that has asked; NULL: none */
    json_t *question;        /* that is answered, or asked, on the call's stream; NULL: none */
    call_done_fn *done;
    void *baton;
    apr_time_t deadline;
    ac_trace_t trace;
    ac_mcp_request_t *request;
    ac_tool_waiter_t waiter;
    ac_ready_t ready;
    ac_err_t err; /* for `ready` */
    bool modern;  /* the form of the attempt */
    bool retried;
    int n_rounds; /* answers that only wanted the call again */
} call_t;

static void call_go(void *baton);

/* ---- the end ---- */

static void mcp_call_free(call_t *call)
{
    ac_loop_ready_cancel(call->server->loop, &call->ready);
    ac_tool_source_forget(&call->waiter);
    ac_mcp_list_unref(call->tools);
    json_decref(call->arguments);
    json_decref(call->answers);
    json_decref(call->state);
    json_decref(call->question);
    ac_trace_clear(&call->trace);
    free(call);
}

/* Consumes result. */
static void mcp_call_end(call_t *call, apr_status_t status, json_t *result, const ac_err_t *err)
{
    call->done(call->baton, status, result, err);
    mcp_call_free(call);
}

static void mcp_call_fail(call_t *call, const ac_err_t *err)
{
    ac_err_t mine = *err;
    if (mine.kind == AC_OK) {
        ac_err_set(&mine, AC_TOOL_ERROR, "the MCP server '%s' cannot be used", call->server->conf->id);
    }
    mcp_call_end(call, ac_err_row(mine.kind)->status, NULL, &mine);
}

static void fail_now(void *baton)
{
    call_t *call = baton;
    mcp_call_fail(call, &call->err);
}

/* Not inside of the caller's start(). */
static void mcp_call_fail_later(call_t *call)
{
    ac_loop_ready_set(call->server->loop, &call->ready, fail_now, call);
}

/* ---- results ---- */

/* The server's list may be older than the server: the next run gets a new one. */
static void note_unknown(call_t *call, const char *text)
{
    if (strncmp(text, "MCP error -32602", 16) == 0 || strncmp(text, "MCP error -32601", 16) == 0) {
        ac_mcp_list_expire(call->server);
    }
}

static void take_result(call_t *call, const json_t *given)
{
    ac_mcp_result_t result;
    ac_err_t err;
    ac_err_init(&err);
    if (ac_mcp_result_read(&result, given, &err) != APR_SUCCESS) {
        mcp_call_fail(call, &err);
        return;
    }
    json_t *value = ac_mcp_upstream_mask_token(call->server, ac_tool_mask_json(call->server->mask, result.value));
    if (!result.failed) {
        mcp_call_end(call, APR_SUCCESS, value, &err);
        return;
    }
    note_unknown(call, json_string_value(value));
    ac_err_set(&err, AC_TOOL_ERROR, "the MCP server '%s' reports an error", call->server->conf->id);
    ac_buf_t text;
    ac_buf_init(&text, AC_MAX_TOOL_ANSWER + AC_ERR_DETAIL_SIZE);
    ac_buf_printf(&text, "%s: ", err.detail);
    ac_buf_str(&text, json_string_value(value));
    json_decref(value);
    mcp_call_end(call, ac_err_row(err.kind)->status, ac_json_text(text.data), &err);
    ac_buf_free(&text);
}

static void take_question(call_t *call, const json_t *result)
{
    json_t *question, *state;
    ac_err_t err;
    ac_err_init(&err);
    if (ac_mcp_question_read(&question, &state, result, &err) != APR_SUCCESS) {
        mcp_call_fail(call, &err);
    } else if (question) {
        ac_json_put(question, "server", ac_json_text(call->server->conf->id));
        mcp_call_end(call, AC_TOOL_ASKS, question, &err);
    } else if (call->n_rounds++ < AC_MAX_MCP_QUESTIONS) {
        json_decref(call->answers);
        json_decref(call->state);
        call->answers = NULL;
        call->state = state;
        call_go(call);
    } else {
        json_decref(state);
        ac_err_set(&err, AC_TOOL_ERROR, "the MCP server '%s' wants the call again and again", call->server->conf->id);
        mcp_call_fail(call, &err);
    }
}

static bool mcp_call_on_question(void *baton, const ac_mcp_elicitation_t *elicitation, const json_t *params)
{
    call_t *call = baton;
    json_t *question = ac_mcp_elicitation_make(elicitation, params);
    if (question) {
        json_decref(call->question);
        call->question = question;
    }
    return question != NULL;
}

static void mcp_call_ask_again(void *baton)
{
    call_t *call = baton;
    mcp_call_end(call, AC_TOOL_ASKS, json_incref(call->question), &call->err);
}

/* The session is not ended with the run: the server waits in it for the answer. */
static void ask_owner(call_t *call)
{
    ac_mcp_use_session(call->bound->use)->asks = true;
    ac_json_put(call->question, "server", ac_json_text(call->server->conf->id));
    mcp_call_ask_again(call);
}

/* ---- failures, and another attempt ---- */

static bool is_session_gone(const call_t *call, const ac_mcp_answer_t *answer)
{
    bool named = answer->message && answer->message->type == AC_MCP_ERROR && answer->message->code != -32000;
    return !call->modern && (answer->status == 404 || (answer->status == 400 && !named));
}

/* Whether a server of the other era answers so: what is known of it is out of date. */
static bool is_other_era(const call_t *call, const ac_mcp_answer_t *answer)
{
    int64_t code = answer->message ? answer->message->code : 0;
    bool refused = answer->status == 400 || answer->status == 404 || answer->status == 405 || answer->status == 406 ||
        answer->status == 415;
    if (call->modern) {
        return refused && !ac_mcp_list_is_modern(answer) && code != AC_MCP_INVALID_PARAMS;
    }
    return code == AC_MCP_UNSUPPORTED_VERSION;
}

/* In the newer era a stream that breaks is lost, with whatever the call has done. */
static bool may_repeat(const call_t *call, const ac_mcp_answer_t *answer)
{
    bool broken = !answer->message && answer->err->kind == AC_TOOL_ERROR &&
        (answer->status == 0 || (answer->status >= 200 && answer->status <= 299));
    return call->modern && broken && call->entry->tool.idempotent;
}

static bool try_again(call_t *call, const ac_mcp_answer_t *answer)
{
    ac_mcp_upstream_t *server = call->server;
    bool header = answer->message && answer->message->code == AC_MCP_HEADER_MISMATCH;
    if (call->retried) {
        return false;
    }
    if (is_session_gone(call, answer)) {
        ac_mcp_upstream_session_lost(ac_mcp_use_session(call->bound->use));
    } else if (is_other_era(call, answer)) {
        server->known = false;
    } else if (!header && !may_repeat(call, answer)) {
        return false;
    }
    call->retried = true;
    if (header || !server->known) {
        ac_mcp_list_expire(server);
    }
    call_go(call);
    return true;
}

static void mcp_call_on_answer(void *baton, const ac_mcp_answer_t *answer)
{
    call_t *call = baton;
    const ac_mcp_message_t *message = answer->message;
    const char *type = ac_json_peek_string(message ? message->result : NULL, "resultType", "complete");
    ac_err_t err;
    ac_err_init(&err);
    call->request = NULL;
    if (message && message->type == AC_MCP_REQUEST) {
        ask_owner(call);
        return;
    }
    if (message && message->type == AC_MCP_RESULT) {
        if (strcmp(type, "complete") == 0 || !call->modern) {
            take_result(call, message->result);
        } else if (strcmp(type, "input_required") == 0) {
            take_question(call, message->result);
        } else {
            ac_err_set(&err, AC_TOOL_ERROR, "the MCP server '%s' answered with a result of a type that is not known",
                       call->server->conf->id);
            mcp_call_fail(call, &err);
        }
        return;
    }
    if (try_again(call, answer)) {
        return;
    }
    if (message && (message->code == AC_MCP_INVALID_PARAMS || message->code == AC_MCP_METHOD_NOT_FOUND)) {
        ac_mcp_list_expire(call->server);
    }
    ac_mcp_request_failed(call->server, answer, &err);
    mcp_call_fail(call, &err);
}

static void mcp_call_on_progress(void *baton, const json_t *params)
{
    const call_t *call = baton;
    const ac_host_t *host = call->server->host;
    json_t *progress = json_object_get(params, "progress"), *total = json_object_get(params, "total");
    const char *message = ac_json_peek_string(params, "message", NULL);
    if (host->version < 4 || !json_is_number(progress)) {
        return;
    }
    json_t *shown = json_pack("{s:O}", "progress", progress);
    if (json_is_number(total)) {
        json_object_set(shown, "total", total);
    }
    if (message) {
        ac_buf_t text;
        ac_buf_init(&text, MAX_MESSAGE + 16);
        ac_tool_text_add(&text, message, MAX_MESSAGE);
        ac_json_put(shown, "message", ac_tool_mask_json(call->server->mask, ac_json_text(text.data ? text.data : "")));
        ac_buf_free(&text);
    }
    host->tool_progress(call->baton, shown);
}

/* ---- the request ---- */

static json_t *make_params(const call_t *call)
{
    json_t *params = json_object();
    ac_json_put(params, "name", ac_json_text(call->entry->tool.name));
    ac_json_put(params, "arguments", json_incref(call->arguments));
    if (!call->modern) {
        return params;
    }
    ac_json_put(params, "_meta", ac_mcp_message_meta(AC_MCP_MODERN, true, &call->trace));
    if (call->answers) {
        ac_json_put(params, "inputResponses", json_incref(call->answers));
    }
    if (call->state) {
        ac_json_put(params, "requestState", json_incref(call->state));
    }
    return params;
}

static const ac_mcp_request_cb_t call_callbacks = {mcp_call_on_progress, mcp_call_on_question, mcp_call_on_answer};

static void mcp_call_send(call_t *call, const ac_mcp_upstream_session_t *session)
{
    char **headers = NULL;
    if (call->modern &&
        ac_mcp_call_headers_make(&headers, &call->entry->tool, call->arguments, &call->err) != APR_SUCCESS) {
        mcp_call_fail_later(call);
    } else {
        ac_mcp_request_ask_t ask = {
            .method = "tools/call",
            .params = make_params(call),
            .version = call->modern ? AC_MCP_MODERN : session->version,
            .session = call->modern ? NULL : session->id,
            .resumes = !call->modern,
            .headers = (const char *const *)headers,
            .trace = &call->trace,
            .deadline = call->deadline,
        };
        call->request = ac_mcp_request_start(call->server, &ask, &call_callbacks, call);
    }
    ac_mcp_call_headers_free(headers);
}

static void call_with_session(void *baton)
{
    call_t *call = baton;
    ac_mcp_upstream_t *server = call->server;
    ac_mcp_upstream_session_t *session = ac_mcp_use_session(call->bound->use);
    bool newer = session->code == AC_MCP_UNSUPPORTED_VERSION && server->conf->protocol != AC_MCP_PROTOCOL_LEGACY;
    if (session->open) {
        mcp_call_send(call, session);
    } else if (newer && !call->retried) { /* it spoke the older form formerly */
        call->retried = true;
        server->known = false;
        ac_mcp_list_expire(server);
        call_go(call);
    } else {
        mcp_call_fail(call, &session->err);
    }
}

/* The list was asked for again: the tool may have other headers now. */
static void call_with_list(void *baton)
{
    call_t *call = baton;
    ac_mcp_upstream_t *server = call->server;
    const ac_mcp_entry_t *entry = ac_mcp_list_find(server->tools, call->entry->tool.name);
    if (server->err.kind != AC_OK) {
        mcp_call_fail(call, &server->err);
        return;
    }
    if (!entry) {
        ac_err_set(&call->err, AC_TOOL_ERROR, "the MCP server '%s' has no such tool any more", server->conf->id);
        mcp_call_fail(call, &call->err);
        return;
    }
    ac_mcp_tools_t *before = call->tools;
    call->tools = ac_mcp_list_ref(server->tools);
    call->entry = entry;
    ac_mcp_list_unref(before);
    call_go(call);
}

static void call_go(void *baton)
{
    call_t *call = baton;
    ac_mcp_upstream_t *server = call->server;
    ac_tool_source_forget(&call->waiter);
    call->waiter.baton = call;
    if (!server->expires) {
        call->waiter.fn = call_with_list;
        if (ac_mcp_list_want(server, &call->waiter)) {
            return;
        }
    }
    call->modern = server->known ? server->modern : server->conf->protocol != AC_MCP_PROTOCOL_LEGACY;
    if (call->modern) {
        mcp_call_send(call, NULL);
        return;
    }
    call->waiter.fn = call_with_session;
    ac_mcp_upstream_session_want(ac_mcp_use_session(call->bound->use), &call->waiter);
}

/* ---- a question that was asked on the stream ---- */

/* The server has the answer: the stream continues behind the question. */
static void on_answer_taken(void *baton, const ac_mcp_answer_t *answer)
{
    call_t *call = baton;
    ac_mcp_elicitation_t elicitation;
    call->request = NULL;
    if (answer->err->kind != AC_OK || answer->message || !ac_mcp_elicitation_read(&elicitation, call->question)) {
        ac_mcp_request_failed(call->server, answer, &call->err);
        mcp_call_fail(call, &call->err);
        return;
    }
    ac_mcp_request_ask_t ask = {
        .version = elicitation.version,
        .session = elicitation.session,
        .id = elicitation.request,
        .last_event_id = elicitation.last_event_id,
        .ignored = elicitation.id,
        .resumes = true,
        .trace = &call->trace,
        .deadline = call->deadline,
    };
    call->request = ac_mcp_request_start(call->server, &ask, &call_callbacks, call);
}

static void mcp_call_answer(call_t *call, const ac_mcp_elicitation_t *elicitation)
{
    static const ac_mcp_request_cb_t callbacks = {.on_answer = on_answer_taken};
    ac_mcp_request_ask_t ask = {
        .text = ac_mcp_elicitation_response(elicitation),
        .version = elicitation->version,
        .session = elicitation->session,
        .is_notification = true,
        .trace = &call->trace,
        .deadline = call->deadline,
    };
    ac_mcp_use_adopt(call->bound->use, elicitation);
    call->retried = true; /* what it has done must not be done again */
    call->request = ac_mcp_request_start(call->server, &ask, &callbacks, call);
}

/* ---- the table of functions ---- */

static call_t *mcp_call_create(ac_mcp_bound_t *bound, const json_t *arguments, apr_time_t deadline, call_done_fn *done,
                               void *baton)
{
    call_t *call = ac_alloc(sizeof *call);
    call->bound = bound;
    call->server = bound->use->server;
    call->tools = ac_mcp_list_ref(bound->use->tools);
    call->entry = bound->entry;
    call->arguments = json_incref((json_t *)arguments);
    call->deadline = deadline;
    call->done = done;
    call->baton = baton;
    if (ac_trace_here()) {
        ac_trace_copy(&call->trace, ac_trace_here());
    }
    return call;
}

/* Begins with the owner's answer, or with the same question if that does not answer it. Consumes question. */
static void mcp_call_continue(call_t *call, json_t *question)
{
    ac_mcp_elicitation_t elicitation;
    call->question = question;
    if (ac_mcp_question_answer(question, &call->err) != APR_SUCCESS) {
        ac_json_put(question, "problem", ac_json_text(call->err.detail));
        ac_loop_ready_set(call->server->loop, &call->ready, mcp_call_ask_again, call);
        return;
    }
    call->answers = json_incref(json_object_get(question, "answers"));
    call->state = json_incref(json_object_get(question, "state"));
    if (ac_mcp_elicitation_read(&elicitation, question)) {
        mcp_call_answer(call, &elicitation);
    } else {
        call_go(call);
    }
}

static apr_status_t mcp_call_proceed(void **pcall, void *self, const json_t *arguments, const json_t *question,
                                     apr_time_t deadline, call_done_fn *done, void *baton, ac_err_t *err)
{
    call_t *call = *pcall = mcp_call_create(self, arguments, deadline, done, baton);
    (void)err;
    mcp_call_continue(call, json_deep_copy(question));
    return APR_SUCCESS;
}

static apr_status_t mcp_call_start(void **pcall, void *self, const json_t *arguments, apr_time_t deadline,
                                   call_done_fn *done, void *baton, ac_err_t *err)
{
    call_t *call = *pcall = mcp_call_create(self, arguments, deadline, done, baton);
    (void)err;
    call_go(call);
    return APR_SUCCESS;
}

static void mcp_call_cancel(void *handle)
{
    call_t *call = handle;
    if (call->request) {
        ac_mcp_request_cancel(call->request);
    }
    mcp_call_free(call);
}

const ac_tool_vt ac_mcp_tool_call_vt = {
    .name = "mcp",
    .start = mcp_call_start,
    .cancel = mcp_call_cancel,
    .proceed = mcp_call_proceed,
    .decline = ac_mcp_elicitation_decline,
};
