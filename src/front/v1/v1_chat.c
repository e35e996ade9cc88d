/* SPDX-License-Identifier: Apache-2.0 */
/* Chat completions: an answer to a conversation that the client keeps, or that it names. Members that say how a
 * model shall write are ignored, since that is the agent's; those that ask for another kind of answer are refused. */
#include "v1_internal.h"

#include <string.h>

#include "apr_strings.h"

#define MAX_TOKENS_MOST 1000000

typedef struct chat_t { /* what the body says */
    const ac_agent_t *agent;
    ac_v1_messages_t messages;
    ac_client_tools_t tools;
    bool stream;
    int max_tokens; /* 0: as the agent says */
} chat_t;

static apr_status_t chat_free(void *baton)
{
    chat_t *chat = baton;
    ac_v1_messages_free(&chat->messages);
    ac_client_tools_free(&chat->tools);
    return APR_SUCCESS;
}

static apr_status_t v1_chat_refuse(ac_request_t *rq, const char *pointer, const char *why)
{
    return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, pointer, "%s", why);
}

/* Members that ask for what an agent does not give. */
static apr_status_t check_wishes(ac_request_t *rq)
{
    const json_t *body = rq->body, *modality;
    int64_t n = 1;
    size_t i;
    apr_status_t status = ac_json_int(&n, body, "n", 1, &rq->err);
    if (status == APR_SUCCESS && n != 1) {
        status = v1_chat_refuse(rq, "/n", "an agent gives one answer");
    }
    json_array_foreach(json_object_get(body, "modalities"), i, modality)
    {
        if (status == APR_SUCCESS && json_is_string(modality) && strcmp(json_string_value(modality), "text") != 0) {
            status = v1_chat_refuse(rq, "/modalities", "answers are text");
        }
    }
    return status;
}

apr_status_t ac_v1_chat_read_max_tokens(ac_request_t *rq, const char *const *members, int *pmost)
{
    *pmost = 0;
    for (; *members; members++) {
        int64_t value = 0;
        char pointer[AC_ERR_POINTER_SIZE] = "";
        apr_status_t status = ac_json_int(&value, rq->body, *members, 0, &rq->err);
        bool given = json_is_integer(json_object_get(rq->body, *members));
        if (status != APR_SUCCESS) {
            return status;
        }
        if (given && value < 1) {
            ac_json_pointer_add(pointer, *members);
            return v1_chat_refuse(rq, pointer, "must be at least 1");
        }
        value = value > MAX_TOKENS_MOST ? MAX_TOKENS_MOST : value;
        *pmost = given && (!*pmost || value < *pmost) ? (int)value : *pmost;
    }
    return APR_SUCCESS;
}

/* The path of a deployment names the agent, too. */
apr_status_t ac_v1_chat_find_agent(ac_request_t *rq, const ac_agent_t **pagent, const char **pmodel)
{
    apr_status_t status = APR_SUCCESS;
    *pmodel = rq->args[0];
    if (!*pmodel) {
        status = ac_json_string(pmodel, rq->body, "model", true, &rq->err);
    }
    return status == APR_SUCCESS ? ac_request_agents_find(rq, pagent, *pmodel, "/model", true) : status;
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

/* The messages, and the tools that the client carries out. */
static apr_status_t read_conversation(ac_request_t *rq, chat_t *chat)
{
    bool pass = rq->mount->openai.client_tools == AC_V1_TOOLS_PASS;
    apr_status_t status = ac_v1_tools_read(&chat->tools, rq);
    if (status == APR_SUCCESS) {
        status = ac_v1_messages_read(&chat->messages, rq, pass ? &chat->tools : NULL);
    }
    bool alone = chat->tools.results || chat->messages.attachments.list;
    if (status != APR_SUCCESS || (alone && !*chat->messages.content)) {
        return status;
    }
    return ac_chat_request_check(rq, chat->messages.content, "messages", false);
}

/* Clients find the thread in a header field, and in the first object of the answer. */
static apr_status_t enter_thread(ac_request_t *rq, ac_turn_t *turn, const ac_v1_thread_t *thread, ac_v1_view_t *view)
{
    apr_status_t status = ac_request_thread_of(rq, turn, thread->name, "");
    view->in_thread = true;
    ac_request_thread_enter(turn, &thread->place);
    if (thread->place.again) {
        *turn->content = '\0'; /* it is stored */
    }
    apr_table_setn(rq->r->headers_out, "X-Agentchat-Thread", apr_pstrdup(rq->r->pool, turn->thread_id));
    return status;
}

static ac_turn_t *make_turn(ac_request_t *rq, chat_t *chat)
{
    ac_v1_messages_t *messages = &chat->messages;
    ac_turn_t *turn = ac_chat_request_turn(rq, chat->agent, messages->content);
    if (!turn) {
        return NULL;
    }
    turn->instructions = messages->system.len ? strdup(messages->system.data) : NULL;
    turn->client = chat->tools;
    memset(&chat->tools, 0, sizeof(chat->tools));
    turn->max_tokens = chat->max_tokens;
    return turn;
}

static int start_turn(ac_request_t *rq, chat_t *chat, ac_v1_view_t *view)
{
    ac_v1_thread_t thread;
    apr_status_t status = ac_v1_thread_find(&thread, rq, &chat->messages);
    if (status == APR_SUCCESS && thread.place.run_id) {
        view->in_thread = true;
        return ac_delivery_follow(rq, thread.place.run_id, 0, chat->stream);
    }
    ac_turn_t *turn = status == APR_SUCCESS ? make_turn(rq, chat) : NULL;
    if (turn && !thread.place.again) {
        ac_attachments_move(&chat->messages.attachments, turn);
    }
    if (turn && thread.name) {
        status = enter_thread(rq, turn, &thread, view);
    } else if (turn) {
        turn->stateless = true;
        turn->history = json_incref(chat->messages.history.list);
    }
    if (!turn || status != APR_SUCCESS) {
        ac_turn_free(turn);
        return ac_reply_problem(rq, NULL);
    }
    return ac_chat_request_deliver(rq, turn, chat->stream);
}

int ac_v1_chat_send(ac_request_t *rq)
{
    static const char *const most[] = {"max_completion_tokens", "max_tokens", NULL};
    const char *model = "";
    chat_t *chat = apr_pcalloc(rq->r->pool, sizeof(*chat));
    ac_v1_view_t *view = ac_request_view_make(rq, sizeof(*view));
    apr_status_t status = ac_request_body(rq, true);
    apr_pool_cleanup_register(rq->r->pool, chat, chat_free, apr_pool_cleanup_null);
    if (status == APR_SUCCESS) {
        status = ac_v1_chat_find_agent(rq, &chat->agent, &model);
    }
    if (status == APR_SUCCESS) {
        apr_cpystrn(view->model, model, sizeof(view->model));
        status = read_stream(rq, &chat->stream, view);
    }
    if (status == APR_SUCCESS) {
        status = check_wishes(rq);
    }
    if (status == APR_SUCCESS) {
        status = ac_v1_chat_read_max_tokens(rq, most, &chat->max_tokens);
    }
    if (status == APR_SUCCESS) {
        status = read_conversation(rq, chat);
    }
    return status == APR_SUCCESS ? start_turn(rq, chat, view) : ac_reply_problem(rq, NULL);
}
