/* SPDX-License-Identifier: Apache-2.0 */
/* Chat completions: an answer to a conversation that the client keeps. Nothing of it is stored. Members that say how a
 * model shall write are ignored, since that is the agent's; those that ask for another kind of answer are refused. */
#include "v1_internal.h"

#include <string.h>

#include "apr_strings.h"

#define MAX_TOKENS_MOST 1000000

static apr_status_t free_messages(void *messages)
{
    ac_v1_messages_free(messages);
    return APR_SUCCESS;
}

static apr_status_t v1_chat_refuse(ac_request_t *rq, const char *pointer, const char *why)
{
    return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, pointer, "%s", why);
}

/* Members that ask for what an agent does not give. */
static apr_status_t check_wishes(ac_request_t *rq)
{
    const json_t *body = rq->body, *format = json_object_get(body, "response_format"), *modality;
    const char *type = ac_json_peek_string(format, "type", "text");
    int64_t n = 1;
    size_t i;
    apr_status_t status = ac_json_int(&n, body, "n", 1, &rq->err);
    if (status == APR_SUCCESS && n != 1) {
        status = v1_chat_refuse(rq, "/n", "an agent gives one answer");
    }
    if (status == APR_SUCCESS && strcmp(type, "text") != 0) {
        status = v1_chat_refuse(rq, "/response_format", "answers are text");
    }
    json_array_foreach(json_object_get(body, "modalities"), i, modality)
    {
        if (status == APR_SUCCESS && json_is_string(modality) && strcmp(json_string_value(modality), "text") != 0) {
            status = v1_chat_refuse(rq, "/modalities", "answers are text");
        }
    }
    if (status == APR_SUCCESS && rq->mount->openai.client_tools == AC_V1_TOOLS_REFUSE &&
        json_array_size(json_object_get(body, "tools"))) {
        status = v1_chat_refuse(rq, "/tools", "the agents of this server have their own tools, and call no others");
    }
    return status;
}

/* *pmost: the smaller one of both members; 0: neither is there. */
static apr_status_t read_max_tokens(ac_request_t *rq, int *pmost)
{
    static const char *const members[] = {"max_completion_tokens", "max_tokens"};
    *pmost = 0;
    for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++) {
        int64_t value = 0;
        char pointer[AC_ERR_POINTER_SIZE] = "";
        apr_status_t status = ac_json_int(&value, rq->body, members[i], 0, &rq->err);
        bool given = json_is_integer(json_object_get(rq->body, members[i]));
        if (status != APR_SUCCESS) {
            return status;
        }
        if (given && value < 1) {
            ac_json_pointer_add(pointer, members[i]);
            return v1_chat_refuse(rq, pointer, "must be at least 1");
        }
        value = value > MAX_TOKENS_MOST ? MAX_TOKENS_MOST : value;
        *pmost = given && (!*pmost || value < *pmost) ? (int)value : *pmost;
    }
    return APR_SUCCESS;
}

/* The agent: of the path of a deployment, else the member `model`. */
static apr_status_t v1_chat_read_agent(ac_request_t *rq, const ac_agent_t **pagent, ac_v1_view_t *view)
{
    const char *model = rq->args[0];
    apr_status_t status = APR_SUCCESS;
    if (!model) {
        status = ac_json_string(&model, rq->body, "model", true, &rq->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_request_agents_find(rq, pagent, model, "/model", true);
    }
    if (status == APR_SUCCESS) {
        apr_cpystrn(view->model, model, sizeof(view->model));
    }
    return status;
}

static apr_status_t read_stream(ac_request_t *rq, bool *pstream, ac_v1_view_t *view)
{
    const json_t *options = json_object_get(rq->body, "stream_options");
    apr_status_t status = ac_json_bool(pstream, rq->body, "stream", false, &rq->err);
    view->activity = (ac_v1_activity_e)rq->mount->openai.activity;
    return status == APR_SUCCESS && json_is_object(options)
        ? ac_json_bool(&view->with_usage, options, "include_usage", false, &rq->err)
        : status;
}

static ac_turn_t *make_turn(ac_request_t *rq, const ac_agent_t *agent, ac_v1_messages_t *messages)
{
    ac_turn_t *turn = ac_turn_create(agent, rq->owner, messages->content);
    if (!turn) {
        return NULL;
    }
    turn->agents = ac_agents_ref(rq->agents);
    turn->stateless = true;
    turn->history = json_incref(messages->history);
    turn->instructions = messages->system.len ? strdup(messages->system.data) : NULL;
    apr_cpystrn(turn->request_id, rq->request_id, sizeof(turn->request_id));
    turn->leave = rq->mount->on_disconnect;
    turn->quota = ac_limits_quota(rq);
    ac_quota_ref(turn->quota);
    ac_turn_set_trace(turn, &rq->trace);
    turn->summary = ac_run_summary_ref(ac_request_summary(rq));
    return turn;
}

int ac_v1_chat_send(ac_request_t *rq)
{
    const ac_agent_t *agent = NULL;
    ac_v1_messages_t *messages = apr_pcalloc(rq->r->pool, sizeof(*messages));
    ac_v1_view_t *view = ac_request_view_make(rq, sizeof(*view));
    bool stream = false;
    int max_tokens = 0;
    apr_status_t status = ac_request_body(rq, true);
    if (status == APR_SUCCESS) {
        status = v1_chat_read_agent(rq, &agent, view);
    }
    if (status == APR_SUCCESS) {
        status = read_stream(rq, &stream, view);
    }
    if (status == APR_SUCCESS) {
        status = check_wishes(rq);
    }
    if (status == APR_SUCCESS) {
        status = read_max_tokens(rq, &max_tokens);
    }
    if (status == APR_SUCCESS) {
        apr_pool_cleanup_register(rq->r->pool, messages, free_messages, apr_pool_cleanup_null);
        status = ac_v1_messages_read(messages, rq);
    }
    if (status == APR_SUCCESS) {
        status = ac_chat_request_check(rq, messages->content, "messages", false);
    }
    rq->doing = "running the agent";
    ac_turn_t *turn = status == APR_SUCCESS ? make_turn(rq, agent, messages) : NULL;
    if (!turn) {
        ac_err_set(&rq->err, AC_INTERNAL, "memory ran out"); /* kept where there is no earlier error */
        return ac_reply_problem(rq, NULL);
    }
    turn->max_tokens = max_tokens;
    return ac_delivery_run(rq, turn, stream);
}
