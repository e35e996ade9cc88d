/* SPDX-License-Identifier: Apache-2.0 */
/* The body of POST /ui/chat: {id, messages | message, trigger?, messageId?}, and the members of this server: agent_id,
 * tools. Others are the page's own and are ignored. Of the messages only the last one is read: the stored thread has
 * the others. */
#include "ui_internal.h"

#include <string.h>

#include "apr_strings.h"

static apr_status_t ui_request_refuse(ac_request_t *rq, const char *pointer, const char *why)
{
    return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, pointer, "%s", why);
}

/* Other parts than text and files are the page's own. */
static const char *ui_request_read_part(ac_part_t *part, const json_t *value)
{
    const char *type = ac_json_peek_string(value, "type", "");
    if (strcmp(type, "text") == 0) {
        part->text = ac_json_peek_string(value, "text", "");
    } else if (strcmp(type, "file") == 0) {
        part->url = ac_json_peek_string(value, "url", NULL);
        part->name = ac_json_peek_string(value, "filename", NULL);
        return part->url ? NULL : "a part of the type file has no url";
    } else {
        part->ignored = true;
    }
    return NULL;
}

/* The user's message. One that is answered again is stored already. */
static apr_status_t ui_request_read_parts(ac_ui_request_t *request, ac_request_t *rq)
{
    const json_t *parts = json_object_get(request->message, "parts");
    if (request->regenerates) {
        return APR_SUCCESS;
    }
    apr_status_t status =
        ac_parts_read(&request->parts, rq, json_is_array(parts) ? parts : NULL, "message/parts", ui_request_read_part);
    return status != APR_SUCCESS || (request->parts.attachments.list && !*request->parts.content)
        ? status
        : ac_chat_request_check(rq, request->parts.content, "message", false);
}

static apr_status_t ui_request_read_message(ac_ui_request_t *request, ac_request_t *rq)
{
    const json_t *list = json_object_get(rq->body, "messages"), *message = json_object_get(rq->body, "message");
    message = json_is_array(list) ? json_array_get(list, json_array_size(list) - 1) : message;
    const char *role = ac_json_peek_string(message, "role", "");
    request->message = message;
    request->id = ac_json_peek_string(message, "id", "");
    request->parts.content = "";
    request->is_user = strcmp(role, "user") == 0;
    if (!message && request->regenerates) {
        return APR_SUCCESS;
    }
    if (!request->is_user && strcmp(role, "assistant") != 0) {
        return ui_request_refuse(rq, "/messages", "the last message must be the user's or the assistant's");
    }
    if (strlen(request->id) > AC_MAX_KEY) {
        return ui_request_refuse(rq, "/messages", "the id of a message has at most 255 bytes");
    }
    return request->is_user ? ui_request_read_parts(request, rq) : APR_SUCCESS;
}

/* Tools that the page carries out: [{name, description?, parameters? or inputSchema?}]. */
static apr_status_t ui_request_read_tools(ac_ui_request_t *request, ac_request_t *rq)
{
    const json_t *list = json_object_get(rq->body, "tools"), *tool;
    apr_status_t status = APR_SUCCESS;
    size_t i;
    json_array_foreach((json_t *)list, i, tool)
    {
        json_t *own = json_is_object(tool) ? json_copy((json_t *)tool) : json_object();
        if (!json_object_get(own, "parameters") && json_object_get(own, "inputSchema")) {
            ac_json_put(own, "parameters", json_incref(json_object_get(own, "inputSchema")));
        }
        if (status == APR_SUCCESS) {
            status = ac_client_tools_add(&request->tools, own, apr_psprintf(rq->r->pool, "/tools/%" APR_SIZE_T_FMT, i),
                                         &rq->err);
        }
        json_decref(own);
    }
    return status;
}

apr_status_t ac_ui_request_read(ac_ui_request_t *request, ac_request_t *rq)
{
    const char *trigger = NULL, *agent_id = NULL;
    memset(request, 0, sizeof(*request));
    apr_status_t status = ac_json_string(&request->chat, rq->body, "id", true, &rq->err);
    if (status == APR_SUCCESS) {
        status = ac_json_string(&trigger, rq->body, "trigger", false, &rq->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_json_string(&request->message_id, rq->body, "messageId", false, &rq->err);
    }
    if (status == APR_SUCCESS) {
        request->regenerates = trigger && strcmp(trigger, "regenerate-message") == 0;
        status = ui_request_read_message(request, rq);
    }
    if (status == APR_SUCCESS) {
        status = ui_request_read_tools(request, rq);
    }
    if (status == APR_SUCCESS) {
        status = ac_json_string(&agent_id, rq->body, "agent_id", false, &rq->err);
    }
    return status == APR_SUCCESS && agent_id ? ac_request_agents_find(rq, &request->agent, agent_id, "/agent_id", true)
                                             : status;
}
