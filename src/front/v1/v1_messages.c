/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of a chat completion: the whole conversation, which its client keeps. */
#include "v1_internal.h"

#include <string.h>

#include "apr_strings.h"

/* ---- contents ---- */

static const char *v1_messages_read_file(ac_part_t *part, const json_t *file)
{
    part->file_id = ac_json_peek_string(file, "file_id", NULL);
    part->data = ac_json_peek_string(file, "file_data", NULL);
    part->name = ac_json_peek_string(file, "filename", NULL);
    if (part->data && ac_data_url_is(part->data)) {
        part->url = part->data;
    }
    return part->file_id || part->data ? NULL : "the file has neither file_data nor file_id";
}

/* Some clients give an image's URL without an object around it. */
static const char *v1_messages_read_image(ac_part_t *part, const json_t *image)
{
    part->url = json_is_string(image) ? json_string_value(image) : ac_json_peek_string(image, "url", NULL);
    part->image = true;
    return part->url ? NULL : "the image has no url";
}

static const char *v1_messages_read_part(ac_part_t *part, const json_t *value)
{
    const char *type = ac_json_peek_string(value, "type", "");
    if (strcmp(type, "text") == 0 || strcmp(type, "refusal") == 0) {
        part->text = ac_json_peek_string(value, type, NULL);
        return part->text ? NULL : "the part has no text";
    }
    if (strcmp(type, "image_url") == 0) {
        return v1_messages_read_image(part, json_object_get(value, type));
    }
    if (strcmp(type, "file") == 0) {
        return v1_messages_read_file(part, json_object_get(value, type));
    }
    return "agents take parts of the types text, image_url and file";
}

/* The content of the i-th message. Only those of the user have files. */
static apr_status_t v1_messages_read_parts(ac_parts_t *parts, ac_request_t *rq, const json_t *message, size_t i,
                                           bool takes_files)
{
    const char *member = apr_psprintf(rq->r->pool, "messages/%" APR_SIZE_T_FMT "/content", i);
    apr_status_t status = ac_parts_read(parts, rq, json_object_get(message, "content"), member, v1_messages_read_part);
    if (status == APR_SUCCESS && parts->attachments.list && !takes_files) {
        return ac_err_set_at(&rq->err, AC_INVALID_REQUEST,
                             apr_psprintf(rq->r->pool, "/%s/%d", member, parts->attachments.parts[0]),
                             "only messages of the user may have images and files");
    }
    return status;
}

void ac_v1_messages_init(ac_v1_messages_t *messages)
{
    memset(messages, 0, sizeof(*messages));
    ac_buf_init(&messages->system, AC_MAX_INSTRUCTIONS);
    ac_v1_history_init(&messages->history);
}

void ac_v1_messages_add_system(ac_v1_messages_t *messages, const char *text)
{
    if (messages->system.len && *text) {
        ac_buf_str(&messages->system, "\n\n");
    }
    ac_buf_str(&messages->system, text);
}

static apr_status_t v1_messages_add_result(ac_v1_messages_t *messages, ac_request_t *rq, const json_t *message,
                                           size_t i)
{
    const char *id = ac_json_peek_string(message, "tool_call_id", "");
    ac_parts_t parts;
    apr_status_t status = v1_messages_read_parts(&parts, rq, message, i, false);
    if (status != APR_SUCCESS || ac_v1_history_add_result(&messages->history, id, parts.content)) {
        return status;
    }
    return ac_err_set_at(&rq->err, AC_INVALID_REQUEST,
                         apr_psprintf(rq->r->pool, "/messages/%" APR_SIZE_T_FMT "/tool_call_id", i),
                         "the assistant message before has no call with this id");
}

static void v1_messages_add_answer(ac_v1_messages_t *messages, const json_t *message, const char *text, bool pass)
{
    const json_t *call;
    size_t i;
    ac_v1_history_add_answer(&messages->history, text);
    json_array_foreach(pass ? json_object_get(message, "tool_calls") : NULL, i, call)
    {
        const json_t *function = json_object_get(call, "function");
        ac_v1_history_add_call(&messages->history, ac_json_peek_string(call, "id", ""),
                               ac_json_peek_string(function, "name", ""),
                               ac_json_peek_string(function, "arguments", ""));
    }
}

/* ---- the list ---- */

static apr_status_t v1_messages_check_role(ac_request_t *rq, const char *role, size_t i)
{
    static const char *const roles[] = {"user", "assistant", "system", "developer", "tool", "function", NULL};
    for (const char *const *known = roles; *known; known++) {
        if (strcmp(role, *known) == 0) {
            return APR_SUCCESS;
        }
    }
    return ac_err_set_at(&rq->err, AC_INVALID_REQUEST,
                         apr_psprintf(rq->r->pool, "/messages/%" APR_SIZE_T_FMT "/role", i),
                         "role must be system, developer, user, assistant or tool");
}

/* Without pass, no agent calls tools of the client: it has calls and results of an earlier model, which are left
 * out. */
static apr_status_t v1_messages_add(ac_v1_messages_t *messages, ac_request_t *rq, const json_t *message, size_t i,
                                    bool pass)
{
    const char *role = ac_json_peek_string(message, "role", "");
    bool user = strcmp(role, "user") == 0;
    ac_parts_t parts;
    apr_status_t status = v1_messages_check_role(rq, role, i);
    if (status == APR_SUCCESS && (strcmp(role, "tool") == 0 || strcmp(role, "function") == 0)) {
        return pass && *role == 't' ? v1_messages_add_result(messages, rq, message, i) : APR_SUCCESS;
    }
    if (status == APR_SUCCESS) {
        status = v1_messages_read_parts(&parts, rq, message, i, user);
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    if (user) {
        ac_v1_history_add_user(&messages->history, parts.content, parts.attachments.list);
        messages->attachments = parts.attachments;
    } else if (strcmp(role, "assistant") == 0) {
        v1_messages_add_answer(messages, message, parts.content, pass);
    } else {
        ac_v1_messages_add_system(messages, parts.content);
    }
    return messages->system.failed ? ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/messages",
                                                   "the system messages may have at most %d bytes", AC_MAX_INSTRUCTIONS)
                                   : APR_SUCCESS;
}

apr_status_t ac_v1_messages_take_last(ac_v1_messages_t *messages, ac_request_t *rq, ac_client_tools_t *tools,
                                      const char *pointer)
{
    json_t *list = messages->history.list;
    const json_t *last;
    if (messages->history.answered) {
        messages->attachments.list = NULL; /* they were an earlier message's */
    }
    ac_v1_history_end_results(&messages->history);
    size_t n = json_array_size(list);
    last = json_array_get(list, n - 1);
    if (!n || strcmp(ac_json_peek_string(last, "role", ""), "user") != 0) {
        return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, pointer, "the last message must be the user's");
    }
    messages->content = apr_pstrdup(rq->r->pool, ac_json_peek_string(last, "content", ""));
    apr_status_t status = ac_v1_history_take_results(tools, last, pointer, &rq->err);
    json_array_remove(list, n - 1);
    return status;
}

apr_status_t ac_v1_messages_read(ac_v1_messages_t *messages, ac_request_t *rq, ac_client_tools_t *tools)
{
    const json_t *list = json_object_get(rq->body, "messages"), *message;
    apr_status_t status = APR_SUCCESS;
    size_t i;
    ac_v1_messages_init(messages);
    if (!json_is_array(list) || !json_array_size(list)) {
        return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/messages", "messages must be an array that is not empty");
    }
    json_array_foreach(list, i, message)
    {
        status = status == APR_SUCCESS ? v1_messages_add(messages, rq, message, i, tools != NULL) : status;
    }
    return status == APR_SUCCESS ? ac_v1_messages_take_last(messages, rq, tools, "/messages") : status;
}

void ac_v1_messages_free(ac_v1_messages_t *messages)
{
    ac_v1_history_free(&messages->history);
    ac_buf_free(&messages->system);
}
