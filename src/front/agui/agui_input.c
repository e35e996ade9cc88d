/* SPDX-License-Identifier: Apache-2.0 */
/* The body of POST /agui/{agent}: RunAgentInput. State, forwardedProps and members that are not known are the page's
 * own and are ignored, as are the older messages: the stored thread has these. */
#include "agui_internal.h"

#include <string.h>

#include "apr_strings.h"

static apr_status_t agui_input_refuse(ac_request_t *rq, const char *pointer, const char *why)
{
    return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, pointer, "%s", why);
}

/* *pname: a name of 1 to AC_MAX_KEY bytes. */
static apr_status_t agui_input_read_name(const char **pname, ac_request_t *rq, const char *member)
{
    apr_status_t status = ac_json_string(pname, rq->body, member, true, &rq->err);
    size_t len = status == APR_SUCCESS ? strlen(*pname) : 0;
    if (status == APR_SUCCESS && (!len || len > AC_MAX_KEY)) {
        status = ac_err_set_at(&rq->err, AC_INVALID_REQUEST, apr_pstrcat(rq->r->pool, "/", member, NULL),
                               "%s has 1 to %d bytes", member, AC_MAX_KEY);
    }
    return status;
}

/* *plist: NULL where the member is absent, null or empty. */
static apr_status_t agui_input_read_list(const json_t **plist, ac_request_t *rq, const char *member)
{
    const json_t *list = json_object_get(rq->body, member);
    *plist = json_array_size(list) ? list : NULL;
    return !list || json_is_null(list) || json_is_array(list)
        ? APR_SUCCESS
        : agui_input_refuse(rq, apr_pstrcat(rq->r->pool, "/", member, NULL), "must be an array");
}

/* Version 0.0.x has parts of the type binary; 1.0 has images, documents and others, with the bytes in `source`. */
static const char *agui_input_read_part(ac_part_t *part, const json_t *value)
{
    const char *type = ac_json_peek_string(value, "type", "");
    const json_t *source = json_object_get(value, "source");
    if (strcmp(type, "text") == 0) {
        part->text = ac_json_peek_string(value, "text", "");
    } else if (strcmp(type, "binary") == 0) {
        part->data = ac_json_peek_string(value, "data", NULL);
        part->url = ac_json_peek_string(value, "url", NULL);
        part->file_id = ac_json_peek_string(value, "id", NULL);
        part->name = ac_json_peek_string(value, "filename", NULL);
    } else if (json_is_object(source)) {
        const char *kind = ac_json_peek_string(source, "type", ""), *bytes = ac_json_peek_string(source, "value", NULL);
        part->data = strcmp(kind, "data") == 0 ? bytes : NULL;
        part->url = strcmp(kind, "url") == 0 ? bytes : NULL;
        part->file_id = strcmp(kind, "file") == 0 ? bytes : NULL;
        part->name = ac_json_peek_string(json_object_get(value, "metadata"), "filename", NULL);
        part->image = strcmp(type, "image") == 0;
    } else {
        return "a part is a text, or a file with its source";
    }
    return NULL;
}

apr_status_t ac_agui_input_parts(ac_parts_t *parts, ac_request_t *rq, const json_t *message, size_t at)
{
    return ac_parts_read(parts, rq, json_object_get(message, "content"),
                         apr_psprintf(rq->r->pool, "messages/%" APR_SIZE_T_FMT "/content", at), agui_input_read_part);
}

apr_status_t ac_agui_input_text(const char **ptext, ac_request_t *rq, const json_t *message, size_t at)
{
    ac_parts_t parts;
    apr_status_t status = ac_agui_input_parts(&parts, rq, message, at);
    *ptext = parts.content;
    return status == APR_SUCCESS && parts.attachments.list
        ? agui_input_refuse(rq, apr_pstrcat(rq->r->pool, "/", parts.attachments.member, NULL),
                            "only messages of the user may have files")
        : status;
}

static apr_status_t check_messages(ac_request_t *rq, const json_t *messages)
{
    const json_t *message;
    size_t i;
    json_array_foreach((json_t *)messages, i, message)
    {
        const char *id = ac_json_peek_string(message, "id", NULL);
        if (!ac_json_peek_string(message, "role", NULL) || !id || strlen(id) > AC_MAX_KEY) {
            return agui_input_refuse(rq, apr_psprintf(rq->r->pool, "/messages/%" APR_SIZE_T_FMT, i),
                                     "a message has a role, and an id of at most 255 bytes");
        }
    }
    return APR_SUCCESS;
}

static void say(ac_buf_t *said, const char *title, const char *text)
{
    ac_buf_str(said, said->len && *text ? "\n\n" : "");
    if (*title && *text) {
        ac_buf_printf(said, "%s:\n", title);
    }
    ac_buf_str(said, text);
}

/* Further instructions for the model: system messages, and the context of the page. */
static apr_status_t read_said(ac_agui_input_t *input, ac_request_t *rq, const json_t *context)
{
    const json_t *item;
    const char *text;
    apr_status_t status = APR_SUCCESS;
    ac_buf_t said;
    size_t i;
    ac_buf_init(&said, AC_MAX_INSTRUCTIONS);
    json_array_foreach((json_t *)input->messages, i, item)
    {
        const char *role = ac_json_peek_string(item, "role", "");
        if (status == APR_SUCCESS && (strcmp(role, "system") == 0 || strcmp(role, "developer") == 0)) {
            status = ac_agui_input_text(&text, rq, item, i);
            say(&said, "", status == APR_SUCCESS ? text : "");
        }
    }
    json_array_foreach((json_t *)context, i, item)
    {
        say(&said, ac_json_peek_string(item, "description", ""), ac_json_peek_string(item, "value", ""));
    }
    if (status == APR_SUCCESS && said.failed) {
        status = agui_input_refuse(rq, "/context", "context and system messages are too long");
    }
    input->said = apr_pstrmemdup(rq->r->pool, said.data ? said.data : "", said.len);
    ac_buf_free(&said);
    return status;
}

/* A tool of the page with the name of one of the agent's shows its calls, and is not called. */
static bool is_agents(const ac_agent_t *agent, const json_t *tool)
{
    const char *name = ac_json_peek_string(tool, "name", "");
    for (int i = 0; i < agent->n_tools; i++) {
        if (strcmp(agent->tools[i]->id, name) == 0) {
            return true;
        }
    }
    return false;
}

static apr_status_t agui_input_read_tools(ac_agui_input_t *input, ac_request_t *rq, const json_t *list)
{
    int policy = rq->mount->agui.client_tools;
    apr_status_t status = APR_SUCCESS;
    const json_t *tool;
    size_t i;
    json_array_foreach((json_t *)list, i, tool)
    {
        const char *pointer = apr_psprintf(rq->r->pool, "/tools/%" APR_SIZE_T_FMT, i);
        if (status != APR_SUCCESS || policy == AC_AGUI_TOOLS_IGNORE || is_agents(input->agent, tool)) {
            continue;
        }
        status = policy == AC_AGUI_TOOLS_REFUSE
            ? agui_input_refuse(rq, pointer, "the agents of this server call no tools of a page")
            : ac_client_tools_add(&input->tools, tool, pointer, &rq->err);
    }
    return status;
}

apr_status_t ac_agui_input_read(ac_agui_input_t *input, ac_request_t *rq)
{
    const json_t *context = NULL, *tools = NULL;
    memset(input, 0, sizeof(*input));
    apr_status_t status = ac_request_agents_find(rq, &input->agent, rq->args[0], "", true);
    if (status == APR_SUCCESS) {
        status = agui_input_read_name(&input->thread, rq, "threadId");
    }
    if (status == APR_SUCCESS) {
        status = agui_input_read_name(&input->run, rq, "runId");
    }
    if (status == APR_SUCCESS) {
        status = agui_input_read_list(&input->messages, rq, "messages");
    }
    if (status == APR_SUCCESS) {
        status = agui_input_read_list(&input->resume, rq, "resume");
    }
    if (status == APR_SUCCESS) {
        status = agui_input_read_list(&context, rq, "context");
    }
    if (status == APR_SUCCESS) {
        status = agui_input_read_list(&tools, rq, "tools");
    }
    if (status == APR_SUCCESS) {
        status = check_messages(rq, input->messages);
    }
    if (status == APR_SUCCESS) {
        status = read_said(input, rq, context);
    }
    /* 0.0.x does not say its version. */
    input->is_1_0 = json_is_string(json_object_get(rq->body, "protocolVersion"));
    return status == APR_SUCCESS ? agui_input_read_tools(input, rq, tools) : status;
}
