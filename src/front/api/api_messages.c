/* SPDX-License-Identifier: Apache-2.0 */
/* A thread's messages: send one and run the agent, read the conversation. */
#include "api_internal.h"

#include <string.h>

#define SEQ_MAX INT64_C(1000000000000)

static apr_status_t check_thread_id(ac_request_t *rq)
{
    if (ac_id_valid(rq->args[0], "thread_")) {
        return APR_SUCCESS;
    }
    return ac_err_set(&rq->err, AC_NOT_FOUND, "no thread with this id");
}

int ac_api_messages_send(ac_request_t *rq)
{
    static const char *const members[] = {"content", "parent_id",  "regenerate",      "stream",  "agent_id", "metadata",
                                          "on_busy", "background", "response_format", "webhook", NULL};
    static const ac_chat_request_form_t form = {members, "content", false, true};
    ac_chat_request_t chat;
    if (check_thread_id(rq) != APR_SUCCESS || ac_chat_request_read(rq, &chat, &form) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    chat.thread_id = rq->args[0];
    return ac_chat_request_start(rq, &chat);
}

static apr_status_t api_messages_read_page(ac_request_t *rq, ac_page_t *page)
{
    const char *order = ac_query_get(rq, "order");
    apr_status_t status = ac_query_limit(rq, &page->limit);
    if (status == APR_SUCCESS) {
        status = ac_query_int(rq, &page->after_seq, "after", 0, 0, SEQ_MAX);
    }
    if (status == APR_SUCCESS) {
        status = ac_query_int(rq, &page->before_seq, "before", 0, 1, SEQ_MAX);
    }
    page->descending = order && strcmp(order, "desc") == 0;
    if (status == APR_SUCCESS && order && !page->descending && strcmp(order, "asc") != 0) {
        status = ac_err_set(&rq->err, AC_INVALID_REQUEST, "order must be asc or desc");
    }
    return status;
}

int ac_api_messages_list(ac_request_t *rq)
{
    ac_page_t page = {.limit = 0};
    ac_store_op_t *result;
    rq->doing = "reading the conversation";
    bool all;
    if (check_thread_id(rq) != APR_SUCCESS || api_messages_read_page(rq, &page) != APR_SUCCESS ||
        ac_query_bool(rq, &all, "all", false) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    ac_store_op_t *op = ac_store_op_create(AC_STORE_MESSAGE_LIST, rq->owner, rq->args[0]);
    if (op) {
        op->page = page;
        op->in = all ? json_pack("{s:b}", "all", 1) : NULL;
    }
    if (ac_request_store(rq, op, &result) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    size_t i;
    json_t *message;
    json_array_foreach(json_object_get(result->out, "data"), i, message)
    {
        ac_record_show_parts(message);
        ac_record_show_feedback(message);
    }
    return ac_reply_json(rq, HTTP_OK, json_incref(result->out));
}
