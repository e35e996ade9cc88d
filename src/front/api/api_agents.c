/* SPDX-License-Identifier: Apache-2.0 */
/* Agents: list, show, chat with one, and the threads of one. */
#include "api_internal.h"

#include <string.h>

#include "apr_strings.h"

#define OFFSET_MAX 1000000

static bool for_admin(const ac_request_t *rq)
{
    return ac_principal_has(rq->principal, AC_ROLE_ADMIN);
}

int ac_api_agents_list(ac_request_t *rq)
{
    const ac_agents_t *agents;
    rq->doing = "listing agents";
    if (ac_request_agents_load(rq, &agents, true) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return ac_reply_json(rq, HTTP_OK, json_pack("{s:o}", "data", ac_agents_json(agents, for_admin(rq))));
}

int ac_api_agents_get(ac_request_t *rq)
{
    const ac_agent_t *agent;
    if (ac_request_agents_find(rq, &agent, rq->args[0], "", false) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    apr_table_setn(rq->r->headers_out, "ETag", agent->etag);
    if (ac_precondition_none_match(rq, agent->etag)) {
        return ac_reply_empty(rq, HTTP_NOT_MODIFIED);
    }
    return ac_reply_json(rq, HTTP_OK, ac_agent_json(agent, for_admin(rq)));
}

int ac_api_agents_chat(ac_request_t *rq)
{
    static const char *const members[] = {"message", "thread_id",  "parent_id",       "regenerate", "stream",
                                          "on_busy", "background", "response_format", NULL};
    static const ac_chat_request_form_t form = {members, "message", true, true};
    const ac_agent_t *agent;
    ac_chat_request_t chat;
    if (ac_request_agents_find(rq, &agent, rq->args[0], "", true) != APR_SUCCESS ||
        ac_chat_request_read(rq, &chat, &form) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    chat.agent = agent;
    return ac_chat_request_start(rq, &chat);
}

/* ---- its threads ---- */

static apr_status_t api_agents_read_page(ac_request_t *rq, ac_page_t *page)
{
    const char *wanted = ac_query_get(rq, "status");
    apr_status_t status = ac_query_limit(rq, &page->limit);
    page->by_offset = page->want_total = true;
    if (status == APR_SUCCESS) {
        status = ac_query_int(rq, &page->offset, "offset", 0, 0, OFFSET_MAX);
    }
    return status == APR_SUCCESS ? ac_api_threads_read_status(rq, page, wanted) : status;
}

int ac_api_agents_threads(ac_request_t *rq)
{
    const ac_agent_t *agent;
    ac_page_t page = {.limit = 0};
    ac_store_op_t *result;
    rq->doing = "listing the agent's threads";
    if (ac_request_agents_find(rq, &agent, rq->args[0], "", false) != APR_SUCCESS ||
        api_agents_read_page(rq, &page) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    apr_cpystrn(page.agent_id, agent->id, sizeof(page.agent_id));
    ac_store_op_t *op = ac_store_op_create(AC_STORE_THREAD_LIST, rq->owner, NULL);
    if (op) {
        op->page = page;
    }
    if (ac_request_store(rq, op, &result) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return ac_reply_json(rq, HTTP_OK,
                         json_pack("{s:O, s:I, s:i, s:I}", "threads", json_object_get(result->out, "data"), "total",
                                   (json_int_t)ac_json_peek_int(result->out, "total", 0), "limit", page.limit, "offset",
                                   (json_int_t)page.offset));
}

/* The thread of the path, if it belongs to the agent of the path, which may be named by an alias. */
static apr_status_t find_thread(ac_request_t *rq, ac_store_op_t **presult)
{
    const ac_agent_t *agent, *owner;
    apr_status_t status = ac_request_agents_find(rq, &agent, rq->args[0], "", false);
    if (status != APR_SUCCESS) {
        return status;
    }
    if (!ac_id_valid(rq->args[1], "thread_")) {
        return ac_err_set(&rq->err, AC_NOT_FOUND, "no thread with this id");
    }
    status = ac_request_store(rq, ac_store_op_create(AC_STORE_THREAD_GET, rq->owner, rq->args[1]), presult);
    if (status != APR_SUCCESS) {
        return status;
    }
    owner = ac_agents_find(rq->agents, ac_json_peek_string((*presult)->out, "agent_id", NULL));
    return owner == agent ? APR_SUCCESS : ac_err_set(&rq->err, AC_NOT_FOUND, "no thread with this id");
}

typedef struct history_t {
    json_t *messages;
    int64_t after; /* seq of the last one read */
    size_t n_bytes;
    bool has_more;
} history_t;

static apr_status_t read_more(ac_request_t *rq, history_t *history)
{
    ac_store_op_t *op = ac_store_op_create(AC_STORE_MESSAGE_LIST, rq->owner, rq->args[1]), *result;
    if (op) {
        op->page.limit = AC_MAX_PAGE;
        op->page.after_seq = history->after;
    }
    apr_status_t status = ac_request_store(rq, op, &result);
    if (status != APR_SUCCESS) {
        return status;
    }
    size_t i;
    json_t *message;
    json_array_foreach(json_object_get(result->out, "data"), i, message)
    {
        history->after = ac_json_peek_int(message, "seq", history->after);
        history->n_bytes += json_string_length(json_object_get(message, "content"));
        ac_record_show_parts(message);
        ac_record_show_feedback(message);
        json_array_append(history->messages, message);
    }
    /* An empty page that promises more would make this loop endless. */
    history->has_more = i && json_is_true(json_object_get(result->out, "has_more"));
    return APR_SUCCESS;
}

int ac_api_agents_thread_get(ac_request_t *rq)
{
    ac_store_op_t *thread;
    history_t history = {.has_more = true};
    rq->doing = "reading the thread";
    if (find_thread(rq, &thread) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    rq->doing = "reading the conversation";
    history.messages = json_array();
    apr_status_t status = APR_SUCCESS;
    while (status == APR_SUCCESS && history.has_more && history.n_bytes < AC_MAX_SHOWN_BYTES &&
           json_array_size(history.messages) < AC_MAX_SHOWN_MESSAGES) {
        status = read_more(rq, &history);
    }
    if (status != APR_SUCCESS) {
        json_decref(history.messages);
        return ac_reply_problem(rq, NULL);
    }
    ac_json_put(thread->out, "messages", history.messages);
    if (history.has_more) {
        ac_json_put(thread->out, "has_more", json_true());
    }
    if (thread->etag[0]) {
        apr_table_set(rq->r->headers_out, "ETag", thread->etag);
    }
    return ac_reply_json(rq, HTTP_OK, json_incref(thread->out));
}

int ac_api_agents_thread_delete(ac_request_t *rq)
{
    ac_store_op_t *thread;
    if (find_thread(rq, &thread) != APR_SUCCESS || ac_api_threads_remove(rq, rq->args[1]) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return ac_reply_json(rq, HTTP_OK, json_pack("{s:s}", "message", AC_DELETED_MESSAGE));
}
