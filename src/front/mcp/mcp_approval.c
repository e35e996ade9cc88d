/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that need an approval: the question to the client's user, and the answer. A modern client sends its call again
 * with the answers; a legacy one answers a request that came within the stream, by a message of its own. Only the
 * owner's yes lets a call be made; every other answer refuses it. */
#include "mcp_internal.h"

#include <stdlib.h>
#include <string.h>

#include "apr_lib.h"
#include "apr_strings.h"

#define LITERAL(out, text) ac_buf_add(out, text, sizeof(text) - 1)
#define QUESTION "approval "
/* How long a run that resumes continues without a follower. The stream with the questions may end after the decision,
 * and before the stream of the call that was sent again has begun. */
#define LEAVE apr_time_from_sec(2)

/* ---- out ---- */

/* Appends "the tool X with {…}", without quotes around it, as the inside of a JSON string. */
static void mcp_approval_add_call(const ac_mcp_approval_t *approval, size_t most, ac_buf_t *out)
{
    size_t len = 0;
    char *text = ac_json_dump(approval->arguments ? approval->arguments : json_null(), &len);
    size_t shown = text ? len > most ? ac_utf8_whole(text, most) : len : 0;
    ac_buf_t line;
    ac_buf_init(&line, AC_MAX_JSON_TEXT);
    ac_buf_printf(&line, "the tool %s with ", approval->tool);
    ac_buf_add(&line, text ? text : "", shown);
    if (shown < len) {
        ac_buf_printf(&line, " … (cut: %" APR_SIZE_T_FMT " of %" APR_SIZE_T_FMT " bytes)", shown, len);
    }
    size_t before = out->len;
    ac_buf_json(out, line.data ? line.data : "", line.len);
    if (!out->failed && out->len > before) {
        memmove(out->data + before, out->data + before + 1, out->len - before - 2);
        out->len -= 2;
        out->data[out->len] = '\0';
    }
    out->failed = out->failed || line.failed || !text;
    ac_buf_free(&line);
    free(text);
}

void ac_mcp_approval_ask(const ac_mcp_approval_t *approval, size_t most, ac_buf_t *out)
{
    LITERAL(out, "{\"message\":\"The agent wants to call ");
    mcp_approval_add_call(approval, most, out);
    LITERAL(out,
            ". May it?\",\"requestedSchema\":{\"type\":\"object\",\"properties\":{\"approve\":{\"type\":\"boolean\","
            "\"title\":\"Approve the call\"},\"reason\":{\"type\":\"string\",\"title\":\"Reason of a refusal\","
            "\"maxLength\":200}},\"required\":[\"approve\"]}}");
}

void ac_mcp_approval_tell(const ac_mcp_approval_t *approval, size_t most, ac_buf_t *out)
{
    LITERAL(out, "{\"type\":\"text\",\"text\":\"The agent wants to call ");
    mcp_approval_add_call(approval, most, out);
    LITERAL(out, ", and needs the approval of its user for call_id ");
    ac_buf_t id;
    ac_buf_init(&id, AC_MAX_JSON_TEXT);
    ac_buf_json(&id, approval->call_id, strlen(approval->call_id));
    if (id.len > 2) {
        ac_buf_add(out, id.data + 1, id.len - 2);
    }
    ac_buf_free(&id);
    LITERAL(out, ".\"}");
}

void ac_mcp_approval_explain(const char *run_id, const char *thread_id, ac_buf_t *out)
{
    ac_buf_printf(out,
                  "{\"type\":\"text\",\"text\":\"No answer yet (approval_required). The user decides on the chat page, "
                  "or by POST /runs/%s/approvals; the run then continues by itself. Afterwards this tool can be called "
                  "again with thread_id %s.\"}",
                  run_id, thread_id);
}

bool ac_mcp_approval_question(char id[AC_MCP_ID_SIZE], const char *run_id, const char *call_id)
{
    ac_buf_t text, json;
    ac_buf_init(&text, AC_MCP_ID_SIZE);
    ac_buf_init(&json, AC_MCP_ID_SIZE);
    ac_buf_printf(&text, QUESTION "%s %s", run_id, call_id);
    ac_buf_json(&json, text.data ? text.data : "", text.len);
    bool fits = !text.failed && !json.failed && json.len < AC_MCP_ID_SIZE;
    if (fits) {
        memcpy(id, json.data, json.len + 1);
    }
    ac_buf_free(&text);
    ac_buf_free(&json);
    return fits;
}

void ac_mcp_approval_state(char state[AC_MCP_ID_SIZE], const char *run_id, uint64_t seq, unsigned n)
{
    apr_snprintf(state, AC_MCP_ID_SIZE, "%s:%" APR_UINT64_T_FMT ":%u", run_id, (apr_uint64_t)seq, n);
}

/* ---- in ---- */

/* result: {action, content?}; NULL: the client could not ask. */
static json_t *decision_from(const char *call_id, const json_t *result)
{
    const json_t *content = json_object_get(result, "content");
    const char *reason = result ? ac_json_peek_string(content, "reason", "") : "the client could not ask the user";
    bool approves = strcmp(ac_json_peek_string(result, "action", ""), "accept") == 0 &&
        json_is_true(json_object_get(content, "approve"));
    json_t *decision = json_pack("{s:s, s:b}", "call_id", call_id, "approve", approves);
    if (!approves && *reason && strlen(reason) <= AC_MAX_REASON) {
        ac_json_put(decision, "reason", ac_json_text(reason));
    }
    return decision;
}

/* A call that has been decided before is left as it is. */
static apr_status_t mcp_approval_decide(ac_request_t *rq, const char *run_id, const char *call_id, const json_t *result,
                                        apr_interval_time_t leave)
{
    json_t *decision = decision_from(call_id, result);
    apr_status_t status = ac_api_runs_decide(rq, run_id, decision, leave);
    json_decref(decision);
    if (status != APR_SUCCESS && rq->err.kind == AC_NOT_WAITING) {
        ac_err_init(&rq->err);
        return APR_SUCCESS;
    }
    return status;
}

/* A response whose id is no question of this server is dropped. */
int ac_mcp_approval_answer(ac_request_t *rq, ac_mcp_envelope_t *message)
{
    const char *id = json_is_string(message->id_value) ? json_string_value(message->id_value) : "";
    const char *run = strncmp(id, QUESTION, sizeof(QUESTION) - 1) == 0 ? id + sizeof(QUESTION) - 1 : "";
    const char *call = strchr(run, ' ');
    const char *run_id = call ? apr_pstrmemdup(rq->r->pool, run, (apr_size_t)(call - run)) : "";
    if (ac_id_valid(run_id, "run_") &&
        mcp_approval_decide(rq, run_id, call + 1, message->result, rq->mount->on_disconnect) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return ac_reply_empty(rq, HTTP_ACCEPTED);
}

typedef struct state_t {
    const char *run_id;
    uint64_t seq;
    unsigned n;
} state_t;

static bool read_state(state_t *state, const char *text, apr_pool_t *p)
{
    const char *colon = strchr(text, ':'), *last = strrchr(text, ':');
    size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
    if (!digits || digits > 18 || last != colon + 1 + digits || !apr_isdigit(last[1]) ||
        strspn(last + 1, "0123456789") != strlen(last + 1) || strlen(last + 1) > 3) {
        return false;
    }
    state->run_id = apr_pstrmemdup(p, text, (apr_size_t)(colon - text));
    state->seq = (uint64_t)apr_atoi64(colon + 1);
    state->n = (unsigned)apr_atoi64(last + 1);
    return ac_id_valid(state->run_id, "run_");
}

/* The run that the state names, if it is one of this owner and this agent. */
static apr_status_t mcp_approval_find_run(ac_request_t *rq, const ac_agent_t *agent, const char *run_id,
                                          ac_mcp_view_t *view)
{
    ac_store_op_t *result;
    apr_status_t status = ac_request_store(rq, ac_store_op_create(AC_STORE_RUN_GET, rq->owner, run_id), &result);
    if (status != APR_SUCCESS) {
        return status;
    }
    if (strcmp(ac_json_peek_string(result->out, "agent_id", ""), agent->id) != 0) {
        return ac_err_set(&rq->err, AC_NOT_FOUND, "the run of requestState is another tool's");
    }
    apr_cpystrn(view->run_id, run_id, sizeof(view->run_id));
    apr_cpystrn(view->thread_id, ac_json_peek_string(result->out, "thread_id", ""), sizeof(view->thread_id));
    return APR_SUCCESS;
}

static int refuse_retry(ac_request_t *rq, ac_mcp_envelope_t *message, const char *why)
{
    ac_mcp_envelope_refuse(message, HTTP_BAD_REQUEST, AC_MCP_INVALID_PARAMS, "%s", why);
    return ac_mcp_problem_refusal(rq, message);
}

/* The run resumes with the last decision. Where answers are missing, all questions are asked again. */
int ac_mcp_approval_retry(ac_request_t *rq, ac_mcp_envelope_t *message, const ac_agent_t *agent, ac_mcp_view_t *view)
{
    const json_t *responses = json_object_get(message->params, "inputResponses"), *response;
    const char *text = ac_json_peek_string(message->params, "requestState", ""), *call_id;
    state_t state;
    if (!read_state(&state, text, rq->r->pool)) {
        return refuse_retry(rq, message, "requestState is not of this server");
    }
    json_object_foreach((json_t *)responses, call_id, response)
    {
        if (!json_is_object(response)) {
            return refuse_retry(rq, message, "each member of inputResponses must be an object");
        }
    }
    apr_status_t status = mcp_approval_find_run(rq, agent, state.run_id, view);
    json_object_foreach((json_t *)responses, call_id, response)
    {
        if (status == APR_SUCCESS) {
            status = mcp_approval_decide(rq, state.run_id, call_id, response, LEAVE);
        }
    }
    if (status != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    bool all = json_object_size(responses) >= state.n;
    return ac_delivery_follow(rq, state.run_id, state.seq + (all ? state.n : 0), true);
}
