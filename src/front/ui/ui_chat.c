/* SPDX-License-Identifier: Apache-2.0 */
/* POST /ui/chat: a message, a further answer, decisions about calls, or the results of the page's tools; and the stream
 * of a run that is under way. */
#include "ui_internal.h"

#include <string.h>

#include "apr_strings.h"

typedef struct chat_t {
    ac_ui_request_t request;
    ac_request_place_t place;
    const json_t *loaded; /* the thread; NULL: there is none yet */
    ac_ui_view_t *view;
} chat_t;

static apr_status_t ui_chat_free(void *baton)
{
    chat_t *chat = baton;
    ac_client_tools_free(&chat->request.tools);
    return APR_SUCCESS;
}

static int ui_chat_follow(ac_request_t *rq, chat_t *chat, const char *run_id)
{
    chat->view->replays = true;
    return ac_delivery_follow(rq, run_id, 0, true);
}

/* ---- a turn ---- */

static int ui_chat_start_turn(ac_request_t *rq, chat_t *chat)
{
    ac_ui_request_t *request = &chat->request;
    const ac_agents_t *agents;
    ac_turn_t *turn = NULL;
    bool asks = request->is_user && !request->regenerates;
    if (ac_request_agents_load(rq, &agents, !request->agent && chat->loaded) == APR_SUCCESS) {
        turn = ac_chat_request_turn(rq, request->agent, asks ? request->parts.content : "");
    }
    if (!turn || ac_request_thread_of(rq, turn, request->chat, "/id") != APR_SUCCESS) {
        ac_turn_free(turn);
        return ac_reply_problem(rq, NULL);
    }
    turn->fallback_agent = ac_request_agents_default(rq);
    ac_request_thread_enter(turn, &chat->place);
    turn->client = request->tools;
    memset(&request->tools, 0, sizeof(request->tools));
    if (asks) {
        ac_attachments_move(&request->parts.attachments, turn);
    }
    if (asks && *request->id) {
        turn->metadata = json_pack("{s:s}", AC_REQUEST_MESSAGE_ID, request->id);
    }
    return ac_chat_request_deliver(rq, turn, true);
}

/* ---- the assistant's message comes back ---- */

/* A part of a call in the state that the client has brought it to; NULL: another part. */
static const char *state_of(const json_t *part)
{
    const char *type = ac_json_peek_string(part, "type", "");
    bool tool = strncmp(type, "tool-", 5) == 0 || strcmp(type, "dynamic-tool") == 0;
    return tool ? ac_json_peek_string(part, "state", "") : NULL;
}

static json_t *decision_of(const json_t *part)
{
    const json_t *approval = json_object_get(part, "approval");
    const char *reason = ac_json_peek_string(approval, "reason", NULL);
    json_t *decision = json_pack("{s:s, s:b}", "call_id", ac_json_peek_string(approval, "id", ""), "approve",
                                 json_is_true(json_object_get(approval, "approved")));
    if (reason && strlen(reason) <= AC_MAX_REASON) {
        ac_json_put(decision, "reason", ac_json_text(reason));
    }
    return decision;
}

/* Stores the decisions. A call that has been decided before is left as it is. *pcall: the first of the calls; NULL: the
 * message has no decisions. While another call waits for its own, the run does, too. */
static apr_status_t decide(ac_request_t *rq, const chat_t *chat, const char *run_id, const char **pcall)
{
    const json_t *part;
    bool decided = false, waits = false;
    size_t i;
    *pcall = NULL;
    json_array_foreach(json_object_get(chat->request.message, "parts"), i, part)
    {
        const char *state = state_of(part);
        waits = waits || (state && strcmp(state, "approval-requested") == 0);
        if (!state || strcmp(state, "approval-responded") != 0) {
            continue;
        }
        json_t *decision = decision_of(part);
        apr_status_t status = run_id ? ac_api_runs_decide(rq, run_id, decision, -1) : APR_SUCCESS;
        if (!*pcall) {
            *pcall = apr_pstrdup(rq->r->pool, ac_json_peek_string(decision, "call_id", ""));
        }
        json_decref(decision);
        if (status != APR_SUCCESS && rq->err.kind != AC_NOT_WAITING) {
            return status;
        }
        decided = decided || (run_id && status == APR_SUCCESS);
        ac_err_init(&rq->err);
    }
    chat->view->repeats = !decided || waits;
    return APR_SUCCESS;
}

/* The results of those calls that the stored message leaves to the client; what the parts say of others is not used. */
static apr_status_t read_results(ac_request_t *rq, chat_t *chat)
{
    json_t *calls = ac_client_tools_calls(ac_request_thread_last(chat->loaded)), *call;
    apr_status_t status = APR_SUCCESS;
    size_t i, k;
    json_array_foreach(calls, i, call)
    {
        const json_t *part;
        json_array_foreach(json_object_get(chat->request.message, "parts"), k, part)
        {
            const char *state = state_of(part), *id = ac_json_peek_string(call, "id", "");
            bool failed = state && strcmp(state, "output-error") == 0;
            if (status != APR_SUCCESS || !state || strcmp(ac_json_peek_string(part, "toolCallId", ""), id) != 0 ||
                (!failed && strcmp(state, "output-available") != 0)) {
                continue;
            }
            const json_t *output = json_object_get(part, "output");
            status = ac_client_tools_answer(&chat->request.tools, id,
                                            failed       ? NULL
                                                : output ? output
                                                         : json_null(),
                                            failed ? ac_json_peek_string(part, "errorText", "failed") : NULL,
                                            "/messages", &rq->err);
        }
    }
    json_decref(calls);
    return status;
}

static int continue_message(ac_request_t *rq, chat_t *chat)
{
    const char *active = ac_json_peek_string(chat->loaded, "active_run", NULL), *call = NULL;
    const char *run_id = active ? active : ac_json_peek_string(ac_request_thread_last(chat->loaded), "run_id", NULL);
    apr_status_t status = decide(rq, chat, active, &call);
    if (status == APR_SUCCESS && call && run_id) {
        apr_cpystrn(chat->view->decided, call, sizeof(chat->view->decided));
        return ui_chat_follow(rq, chat, run_id);
    }
    if (status == APR_SUCCESS) {
        status = read_results(rq, chat);
    }
    if (status == APR_SUCCESS && chat->request.tools.results) {
        return ui_chat_start_turn(rq, chat);
    }
    if (status == APR_SUCCESS) {
        ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/messages",
                      "the last message is the assistant's, and has neither a decision nor a result that is awaited");
    }
    return ac_reply_problem(rq, NULL);
}

/* ---- the handlers ---- */

static chat_t *make_chat(ac_request_t *rq)
{
    chat_t *chat = apr_pcalloc(rq->r->pool, sizeof(*chat));
    chat->view = ac_request_view_make(rq, sizeof(*chat->view));
    chat->view->approvals_as_data = rq->mount->ui.approvals == AC_UI_APPROVALS_DATA;
    apr_pool_cleanup_register(rq->r->pool, chat, ui_chat_free, apr_pool_cleanup_null);
    apr_table_setn(rq->r->headers_out, "x-vercel-ai-ui-message-stream", "v1");
    return chat;
}

int ac_ui_chat_send(ac_request_t *rq)
{
    chat_t *chat = make_chat(rq);
    apr_status_t status = ac_request_body(rq, true);
    if (status == APR_SUCCESS) {
        status = ac_ui_request_read(&chat->request, rq);
    }
    if (status == APR_SUCCESS) {
        status = ac_request_thread_load(rq, &chat->loaded, chat->request.chat, "/id");
    }
    if (status == APR_SUCCESS) {
        status = ac_ui_place_find(&chat->place, rq, &chat->request, chat->loaded);
    }
    if (status != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    if (chat->place.run_id) {
        return ui_chat_follow(rq, chat, chat->place.run_id);
    }
    return chat->request.is_user || chat->request.regenerates ? ui_chat_start_turn(rq, chat)
                                                              : continue_message(rq, chat);
}

int ac_ui_chat_resume(ac_request_t *rq)
{
    chat_t *chat = make_chat(rq);
    if (ac_request_thread_load(rq, &chat->loaded, rq->args[0], "/id") != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    const char *run_id = ac_json_peek_string(chat->loaded, "active_run", NULL);
    return run_id ? ui_chat_follow(rq, chat, run_id) : ac_reply_empty(rq, HTTP_NO_CONTENT);
}
