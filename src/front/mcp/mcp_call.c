/* SPDX-License-Identifier: Apache-2.0 */
/* tools/call: a message to an agent. The model, which wrote the arguments, reads what is wrong with them. */
#include "mcp_internal.h"

#include <string.h>

#include "apr_strings.h"

/* ---- the arguments ---- */

typedef struct arguments_t {
    const char *message, *thread_id; /* thread_id NULL: a new thread */
} arguments_t;

static apr_status_t mcp_call_read_arguments(ac_request_t *rq, arguments_t *arguments, const json_t *given)
{
    static const char *const members[] = {"message", "thread_id", NULL};
    apr_status_t status = ac_json_only(given, members, &rq->err);
    if (status == APR_SUCCESS) {
        status = ac_json_string(&arguments->message, given, "message", true, &rq->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_chat_request_check(rq, arguments->message, "message", false);
    }
    if (status == APR_SUCCESS) {
        status = ac_json_string(&arguments->thread_id, given, "thread_id", false, &rq->err);
    }
    if (status == APR_SUCCESS && arguments->thread_id && !ac_id_valid(arguments->thread_id, "thread_")) {
        status = ac_err_set_at(&rq->err, AC_NOT_FOUND, "/thread_id",
                               "no thread with this id; thread_id is that of an earlier result");
    }
    return status;
}

/* ---- the turn ---- */

static const char *session_of(const ac_request_t *rq)
{
    return apr_table_get(rq->r->headers_in, "Mcp-Session-Id");
}

static ac_turn_t *mcp_call_turn(ac_request_t *rq, const ac_mcp_envelope_t *message, const ac_agent_t *agent,
                                const arguments_t *arguments)
{
    ac_turn_t *turn = ac_chat_request_turn(rq, agent, arguments->message);
    if (!turn) {
        return NULL;
    }
    turn->no_approvals = rq->mount->mcp.approvals == AC_MCP_APPROVALS_REFUSE;
    apr_cpystrn(turn->thread_id, arguments->thread_id ? arguments->thread_id : "", sizeof(turn->thread_id));
    if (message->modern) {
        turn->leave = 0; /* a modern client cancels by closing the stream */
        return turn;
    }
    const char *key = ac_mcp_session_key(session_of(rq), message->id, rq->r->pool);
    turn->key = key ? strdup(key) : NULL;
    return turn;
}

/* From here on an error is a result. */
static ac_mcp_view_t *mcp_call_begin_call(ac_request_t *rq, const ac_mcp_envelope_t *message)
{
    ac_mcp_view_t *view = rq->view;
    view->is_call = true;
    view->elicits = message->modern
        ? ac_mcp_session_can_elicit(json_object_get(message->meta, "io.modelcontextprotocol/clientCapabilities"))
        : ac_mcp_session_elicits(session_of(rq));
    view->began = apr_time_now();
    apr_table_setn(rq->r->notes, AC_MCP_NOTE_CALL, "");
    return view;
}

int ac_mcp_call_start(ac_request_t *rq, ac_mcp_envelope_t *message)
{
    const char *name = ac_json_peek_string(message->params, "name", NULL);
    const ac_agent_t *agent = NULL;
    arguments_t arguments = {NULL, NULL};
    json_t *given = json_object_get(message->params, "arguments"), *none = given ? NULL : json_object();
    apr_status_t status = name ? ac_mcp_tools_find(rq, &agent, name) : APR_SUCCESS;
    ac_turn_t *turn = NULL;
    if (status == APR_SUCCESS && (!agent || (given && !json_is_object(given)))) {
        ac_mcp_envelope_refuse(message, HTTP_OK, AC_MCP_INVALID_PARAMS, "%s",
                               !name       ? "params.name must be the name of a tool"
                                   : agent ? "params.arguments must be an object"
                                           : "there is no tool with this name");
        json_decref(none);
        return ac_mcp_problem_refusal(rq, message);
    }
    ac_mcp_view_t *view = mcp_call_begin_call(rq, message);
    if (status == APR_SUCCESS && message->modern && json_object_get(message->params, "requestState")) {
        json_decref(none);
        return ac_mcp_approval_retry(rq, message, agent, view);
    }
    if (status == APR_SUCCESS) {
        status = mcp_call_read_arguments(rq, &arguments, given ? given : none);
    }
    if (status == APR_SUCCESS) {
        turn = mcp_call_turn(rq, message, agent, &arguments);
    }
    json_decref(none);
    return turn ? ac_chat_request_deliver(rq, turn, ac_request_takes(rq, "text/event-stream"))
                : ac_reply_problem(rq, NULL);
}

/* ---- notifications/cancelled ---- */

static const char *mcp_call_find_run(ac_request_t *rq, const char *key)
{
    char since[AC_TIME_SIZE];
    ac_store_op_t *op = ac_store_op_create(AC_STORE_KEY_GET, rq->owner, NULL), *result = NULL;
    if (op) {
        ac_time_format(since, apr_time_now() - AC_KEY_LIFE);
        op->in = json_pack("{s:s, s:s}", "key", key, "since", since);
    }
    return ac_request_store(rq, op, &result) == APR_SUCCESS ? ac_json_peek_string(result->out, "run_id", NULL) : NULL;
}

/* A notification has no answer, so that a run which has ended, or is not found, is no error. */
int ac_mcp_call_cancel(ac_request_t *rq, ac_mcp_envelope_t *message)
{
    char id[AC_MCP_ID_SIZE];
    json_t *run = NULL;
    const char *key = ac_mcp_envelope_token(id, json_object_get(message->params, "requestId"))
        ? ac_mcp_session_key(session_of(rq), id, rq->r->pool)
        : NULL;
    const char *run_id = key && !message->modern ? mcp_call_find_run(rq, key) : NULL;
    ac_err_init(&rq->err);
    if (run_id) {
        rq->args[0] = run_id;
        if (ac_api_runs_end(rq, &run) != APR_SUCCESS) {
            rq->audit.event = AC_AUDIT_NONE;
        }
        json_decref(run);
    }
    return ac_reply_empty(rq, HTTP_ACCEPTED);
}
