/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations are threads. What is said in one cannot be changed, so that its items are added, and not removed one by
 * one. */
#include "v1_response.h"

#include <string.h>

#include "apr_strings.h"

#define MAX_ITEMS 20 /* that one request adds: as OpenAI's */

/* ---- the thread ---- */

apr_status_t ac_v1_conversation_id(ac_request_t *rq, const char **pid)
{
    char id[AC_ID_SIZE];
    const char *rest;
    if (!ac_v1_id_read(id, &rest, rq->args[0], "conv_", "thread_") || *rest) {
        return ac_err_set(&rq->err, AC_NOT_FOUND, "no conversation with this id");
    }
    *pid = apr_pstrdup(rq->r->pool, id);
    return APR_SUCCESS;
}

apr_status_t ac_v1_conversation_call(ac_request_t *rq, ac_store_op_t *op, ac_store_op_t **presult)
{
    apr_status_t status = ac_request_store(rq, op, presult);
    if (status != APR_SUCCESS && rq->err.kind == AC_NOT_FOUND) {
        ac_err_init(&rq->err);
        status = ac_err_set(&rq->err, AC_NOT_FOUND, "no conversation with this id");
    }
    return status;
}

static apr_status_t conversation_get(ac_request_t *rq, const json_t **pthread)
{
    const char *id = NULL;
    ac_store_op_t *result = NULL;
    rq->doing = "reading the conversation";
    apr_status_t status = ac_v1_conversation_id(rq, &id);
    if (status == APR_SUCCESS) {
        status = ac_v1_conversation_call(rq, ac_store_op_create(AC_STORE_THREAD_GET, rq->owner, id), &result);
    }
    *pthread = result ? result->out : NULL;
    return status;
}

int ac_v1_conversation_reply(ac_request_t *rq, const json_t *thread)
{
    char id[AC_V1_ID_SIZE];
    json_t *metadata = json_object(), *value;
    const char *name;
    apr_time_t created = 0;
    json_object_foreach(json_object_get(thread, "metadata"), name, value)
    {
        if (json_is_string(value)) { /* labels are this server's */
            ac_json_put(metadata, name, json_incref(value));
        }
    }
    ac_time_parse(&created, ac_json_peek_string(thread, "created_at", ""));
    ac_v1_id_write(id, "conv_", ac_json_peek_string(thread, "id", ""), NULL);
    return ac_reply_json(rq, HTTP_OK,
                         json_pack("{s:s, s:s, s:I, s:o}", "id", id, "object", "conversation", "created_at",
                                   (json_int_t)apr_time_sec(created), "metadata", metadata));
}

/* ---- items to add ---- */

/* The items of the body as messages without ids. *plist: a new reference; NULL: there are none. */
static apr_status_t conversation_read_items(ac_request_t *rq, json_t **plist, bool required)
{
    const json_t *items = json_object_get(rq->body, "items");
    ac_v1_input_t input;
    *plist = NULL;
    if ((!items || json_is_null(items)) && !required) {
        return APR_SUCCESS;
    }
    if (!json_is_array(items) || !json_array_size(items) || json_array_size(items) > MAX_ITEMS) {
        return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/items", "items must be an array of 1 to %d items",
                             MAX_ITEMS);
    }
    apr_status_t status = ac_v1_input_read_items(&input, rq);
    if (status == APR_SUCCESS && (input.messages.system.len || input.messages.attachments.list)) {
        status = ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/items",
                               input.messages.system.len
                                   ? "system and developer messages are for one response, which brings them"
                                   : "images and files come with the response that is about them");
    }
    if (status == APR_SUCCESS && !json_array_size(input.messages.history.list)) {
        status = ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/items", "none of the items can be kept");
    }
    *plist = status == APR_SUCCESS ? json_incref(input.messages.history.list) : NULL;
    ac_v1_input_free(&input);
    return status;
}

/* Documents of these messages, each behind the one before. They belong to no run. */
static void conversation_complete(json_t *list, const char *thread_id)
{
    json_t *message, *before = NULL, *now = ac_time_json(apr_time_now());
    char id[AC_ID_SIZE];
    size_t i;
    json_array_foreach(list, i, message)
    {
        bool results = json_object_get(message, "tool_calls") && !*ac_json_peek_string(message, "content", "") &&
            !ac_record_is_answer(message);
        ac_id_make(id, "msg_");
        ac_json_put(message, "id", json_string(id));
        ac_json_put(message, "thread_id", ac_json_text(thread_id));
        if (before) {
            ac_json_put(message, "parent_id", json_incref(before));
        }
        if (results) {
            ac_json_put(message, "role", json_string("tool"));
        }
        if (!json_object_get(message, "tool_calls")) {
            ac_json_put(message, "tool_calls", json_null());
        }
        ac_json_put(message, "run_id", json_null());
        ac_json_put(message, "timestamp", json_incref(now));
        ac_json_put(message, "metadata", json_object());
        before = json_object_get(message, "id");
    }
    json_decref(now);
}

static json_t *conversation_title(const json_t *list)
{
    const json_t *message;
    size_t i;
    json_array_foreach((json_t *)list, i, message)
    {
        const char *content = ac_json_peek_string(message, "content", "");
        if (strcmp(ac_json_peek_string(message, "role", ""), "user") == 0 && *content) {
            return ac_record_title(content);
        }
    }
    return json_null();
}

/* Stores the messages at the end of the thread. list: becomes their documents. */
static apr_status_t conversation_store(ac_request_t *rq, const char *thread_id, json_t *list)
{
    ac_store_op_t *op = ac_store_op_create(AC_STORE_TURN_OPEN, rq->owner, thread_id), *result;
    size_t n = json_array_size(list);
    rq->doing = "adding to the conversation";
    conversation_complete(list, thread_id);
    if (op) {
        json_t *earlier = json_deep_copy(list); /* for the store's thread */
        json_t *message = json_incref(json_array_get(earlier, n - 1));
        json_array_remove(earlier, n - 1);
        op->in = json_pack("{s:o, s:n, s:o}", "message", message, "run", "title", conversation_title(list));
        if (n > 1) {
            ac_json_put(op->in, "earlier", earlier);
        } else {
            json_decref(earlier);
        }
    }
    return ac_v1_conversation_call(rq, op, &result);
}

/* ---- the handlers of conversations ---- */

static json_t *conversation_make(ac_request_t *rq)
{
    const ac_agent_t *agent = ac_request_agents_default(rq);
    json_t *metadata = json_object_get(rq->body, "metadata"), *thread = json_object();
    char id[AC_ID_SIZE];
    apr_time_t now = apr_time_now();
    ac_id_make(id, "thread_");
    ac_json_put(thread, "id", json_string(id));
    ac_json_put(thread, "title", json_null());
    ac_json_put(thread, "agent_id", ac_json_text(agent ? agent->id : NULL));
    ac_json_put(thread, "status", json_string("active"));
    ac_json_put(thread, "pinned", json_false());
    ac_json_put(thread, "metadata", json_is_object(metadata) ? json_deep_copy(metadata) : json_object());
    ac_json_put(thread, "message_count", json_integer(0));
    ac_json_put(thread, "created_at", ac_time_json(now));
    ac_json_put(thread, "updated_at", ac_time_json(now));
    return thread;
}

int ac_v1_conversation_create(ac_request_t *rq)
{
    json_t *list = NULL;
    const ac_agents_t *agents;
    ac_store_op_t *op, *result = NULL;
    apr_status_t status = ac_request_body(rq, false);
    rq->doing = "creating a conversation";
    if (status == APR_SUCCESS) {
        status = ac_record_check_metadata(json_object_get(rq->body, "metadata"), &rq->err);
    }
    if (status == APR_SUCCESS) {
        status = conversation_read_items(rq, &list, false);
    }
    if (status == APR_SUCCESS) {
        status = ac_request_agents_load(rq, &agents, false);
    }
    if (status == APR_SUCCESS) {
        op = ac_store_op_create(AC_STORE_THREAD_CREATE, rq->owner, NULL);
        if (op) {
            op->in = conversation_make(rq);
        }
        status = ac_request_store(rq, op, &result);
    }
    if (status == APR_SUCCESS && list) {
        status = conversation_store(rq, ac_json_peek_string(result->out, "id", ""), list);
    }
    json_decref(list);
    return status == APR_SUCCESS ? ac_v1_conversation_reply(rq, result->out) : ac_reply_problem(rq, NULL);
}

int ac_v1_conversation_get(ac_request_t *rq)
{
    const json_t *thread;
    return conversation_get(rq, &thread) == APR_SUCCESS ? ac_v1_conversation_reply(rq, thread)
                                                        : ac_reply_problem(rq, NULL);
}

/* The whole metadata is replaced, but for what only this server's own API knows. */
int ac_v1_conversation_update(ac_request_t *rq)
{
    const json_t *thread = NULL, *given;
    ac_store_op_t *op, *result = NULL;
    apr_status_t status = ac_request_body(rq, true);
    given = json_object_get(rq->body, "metadata");
    if (status == APR_SUCCESS) {
        status = ac_record_check_metadata(given, &rq->err);
    }
    if (status == APR_SUCCESS) {
        status = conversation_get(rq, &thread);
    }
    if (status == APR_SUCCESS) {
        json_t *labels = json_object_get(json_object_get(thread, "metadata"), "labels");
        json_t *metadata = json_is_object(given) ? json_deep_copy(given) : json_object();
        if (json_is_array(labels)) {
            ac_json_put(metadata, "labels", json_deep_copy(labels));
        }
        rq->doing = "changing the conversation";
        op = ac_store_op_create(AC_STORE_THREAD_UPDATE, rq->owner, ac_json_peek_string(thread, "id", ""));
        if (op) {
            op->in = json_pack("{s:O, s:o}", "metadata", metadata, "updated_at", ac_time_json(apr_time_now()));
        }
        json_decref(metadata);
        status = ac_v1_conversation_call(rq, op, &result);
    }
    return status == APR_SUCCESS ? ac_v1_conversation_reply(rq, result->out) : ac_reply_problem(rq, NULL);
}

int ac_v1_conversation_delete(ac_request_t *rq)
{
    const char *id = NULL;
    ac_store_op_t *op, *result;
    apr_status_t status = ac_v1_conversation_id(rq, &id);
    rq->doing = "deleting the conversation";
    if (status == APR_SUCCESS) {
        rq->audit = (ac_audit_t){AC_AUDIT_THREAD_DELETED, id, NULL};
        op = ac_store_op_create(AC_STORE_THREAD_DELETE, rq->owner, id);
        if (op) {
            op->in = json_pack("{s:o}", "deleted_at", ac_time_json(apr_time_now()));
        }
        status = ac_v1_conversation_call(rq, op, &result);
    }
    return status == APR_SUCCESS
        ? ac_reply_json(rq, HTTP_OK,
                        json_pack("{s:s, s:s, s:b}", "id", rq->args[0], "object", "conversation.deleted", "deleted", 1))
        : ac_reply_problem(rq, NULL);
}

int ac_v1_conversation_add(ac_request_t *rq)
{
    const char *id = NULL;
    json_t *list = NULL, *items, *message;
    ac_v1_page_t page = {.limit = 2 * MAX_ITEMS};
    size_t i;
    apr_status_t status = ac_v1_conversation_id(rq, &id);
    if (status == APR_SUCCESS) {
        status = ac_request_body(rq, true);
    }
    if (status == APR_SUCCESS) {
        status = conversation_read_items(rq, &list, true);
    }
    if (status == APR_SUCCESS) {
        status = conversation_store(rq, id, list);
    }
    if (status != APR_SUCCESS) {
        json_decref(list);
        return ac_reply_problem(rq, NULL);
    }
    items = json_array();
    json_array_foreach(list, i, message)
    {
        ac_v1_stored_add(items, message);
    }
    json_decref(list);
    return ac_v1_stored_reply(rq, items, &page, false);
}
