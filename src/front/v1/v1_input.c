/* SPDX-License-Identifier: Apache-2.0 */
/* The member `input`: a text, or items. Clients send what they have: the new items alone, references to earlier ones,
 * or the whole conversation with the ids that this server gave. So the last item of ours says where the new ones
 * begin. */
#include "v1_response.h"

#include <string.h>

#include "apr_strings.h"

/* ---- which items are new ---- */

static const char *input_type(const json_t *item)
{
    return ac_json_peek_string(item, "type", json_object_get(item, "role") ? "message" : "");
}

/* The run that has this item; NULL: none. Calls may come back without their ids. */
static const char *input_run(const json_t *item, char run_id[AC_ID_SIZE])
{
    static const char *const prefixes[] = {"msg_", "mcp_", "mcpr_", "fc_", "rs_", NULL};
    const char *id = ac_json_peek_string(item, "id", ""), *call = ac_json_peek_string(item, "call_id", "");
    const char *type = input_type(item), *role = ac_json_peek_string(item, "role", "assistant");
    if (strcmp(type, "function_call") == 0 && ac_v1_id_read(run_id, NULL, call, "call_", "run_")) {
        return run_id;
    }
    for (const char *const *prefix = prefixes; *prefix && strcmp(role, "assistant") == 0; prefix++) {
        if (ac_v1_id_read(run_id, NULL, id, *prefix, "run_")) {
            return run_id;
        }
    }
    return NULL;
}

/* The run that an answer of the client is for. */
static const char *input_run_answered(const json_t *item, char run_id[AC_ID_SIZE])
{
    const char *type = input_type(item);
    bool result = strcmp(type, "function_call_output") == 0, decision = strcmp(type, "mcp_approval_response") == 0;
    const char *id = ac_json_peek_string(item, result ? "call_id" : "approval_request_id", "");
    return (result || decision) && ac_v1_id_read(run_id, NULL, id, result ? "call_" : "mcpr_", "run_") ? run_id : NULL;
}

apr_status_t ac_v1_input_locate(ac_v1_input_t *input, ac_request_t *rq)
{
    const json_t *given = json_object_get(rq->body, "input");
    char run_id[AC_ID_SIZE];
    memset(input, 0, sizeof(*input));
    ac_v1_messages_init(&input->messages);
    input->is_text = json_is_string(given);
    input->items = input->is_text ? json_pack("[{s:s, s:O}]", "role", "user", "content", given)
                                  : json_incref((json_t *)given);
    if (!json_is_array(input->items) || !json_array_size(input->items)) {
        return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/input",
                             "input must be a text, or an array of items that is not empty");
    }
    for (size_t i = json_array_size(input->items); i-- > 0 && !input->run_id;) {
        if (input_run(json_array_get(input->items, i), run_id)) {
            input->run_id = apr_pstrdup(rq->r->pool, run_id);
            input->at = i;
            input->first = i + 1;
        }
    }
    for (size_t i = json_array_size(input->items); i-- > 0 && !input->run_id;) {
        if (input_run_answered(json_array_get(input->items, i), run_id)) {
            input->run_id = apr_pstrdup(rq->r->pool, run_id);
            input->at = i;
        }
    }
    return APR_SUCCESS;
}

bool ac_v1_input_is_reference(const ac_v1_input_t *input)
{
    const json_t *item = json_array_get(input->items, input->at);
    return strcmp(input_type(item), "item_reference") == 0 || strcmp(input_type(item), "mcp_approval_response") == 0;
}

/* ---- contents ---- */

static const char *input_read_file(ac_part_t *part, const json_t *value)
{
    part->file_id = ac_json_peek_string(value, "file_id", NULL);
    part->data = ac_json_peek_string(value, "file_data", NULL);
    part->name = ac_json_peek_string(value, "filename", NULL);
    part->url = part->data && ac_data_url_is(part->data) ? part->data : ac_json_peek_string(value, "file_url", NULL);
    return part->file_id || part->data || part->url ? NULL : "the file has neither file_data nor file_id";
}

static const char *input_read_image(ac_part_t *part, const json_t *value)
{
    part->file_id = ac_json_peek_string(value, "file_id", NULL);
    part->url = ac_json_peek_string(value, "image_url", NULL);
    part->image = true;
    return part->file_id || part->url ? NULL : "the image has neither image_url nor file_id";
}

static const char *input_read_part(ac_part_t *part, const json_t *value)
{
    static const char *const texts[] = {"input_text", "output_text", "text", "summary_text", "refusal", NULL};
    const char *type = ac_json_peek_string(value, "type", "");
    for (const char *const *text = texts; *text; text++) {
        if (strcmp(type, *text) == 0) {
            part->text = ac_json_peek_string(value, strcmp(type, "refusal") == 0 ? type : "text", NULL);
            return part->text ? NULL : "the part has no text";
        }
    }
    if (strcmp(type, "input_image") == 0) {
        return input_read_image(part, value);
    }
    return strcmp(type, "input_file") == 0 ? input_read_file(part, value)
                                           : "agents take parts of the types input_text, input_image and input_file";
}

static apr_status_t input_refuse(ac_request_t *rq, size_t i, const char *member, const char *why)
{
    return ac_err_set_at(&rq->err, AC_INVALID_REQUEST,
                         apr_psprintf(rq->r->pool, "/input/%" APR_SIZE_T_FMT "/%s", i, member), "%s", why);
}

/* A member of the i-th item that has parts. */
static apr_status_t input_read_parts(ac_parts_t *parts, ac_request_t *rq, const json_t *item, size_t i,
                                     const char *member)
{
    const char *at = apr_psprintf(rq->r->pool, "input/%" APR_SIZE_T_FMT "/%s", i, member);
    bool user = strcmp(ac_json_peek_string(item, "role", ""), "user") == 0;
    apr_status_t status = ac_parts_read(parts, rq, json_object_get(item, member), at, input_read_part);
    if (status == APR_SUCCESS && parts->attachments.list && !user) {
        at = apr_psprintf(rq->r->pool, "%s/%d", member, parts->attachments.parts[0]);
        return input_refuse(rq, i, at, "only messages of the user may have images and files");
    }
    return status;
}

/* ---- items ---- */

static apr_status_t input_add_message(ac_v1_input_t *input, ac_request_t *rq, const json_t *item, size_t i)
{
    const char *role = ac_json_peek_string(item, "role", "");
    ac_v1_messages_t *messages = &input->messages;
    ac_parts_t parts;
    apr_status_t status = input_read_parts(&parts, rq, item, i, "content");
    if (status != APR_SUCCESS) {
        return status;
    }
    if (strcmp(role, "user") == 0) {
        ac_v1_history_add_user(&messages->history, parts.content, parts.attachments.list);
        messages->attachments = parts.attachments;
    } else if (strcmp(role, "assistant") == 0) {
        ac_v1_history_add_answer(&messages->history, parts.content);
    } else if (strcmp(role, "system") == 0 || strcmp(role, "developer") == 0) {
        ac_v1_messages_add_system(messages, parts.content);
    } else {
        return input_refuse(rq, i, "role", "role must be system, developer, user or assistant");
    }
    return messages->system.failed ? ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/input",
                                                   "the system messages may have at most %d bytes", AC_MAX_INSTRUCTIONS)
                                   : APR_SUCCESS;
}

/* The id of the model's call: clients know those of stored runs by their place. */
static const char *input_call_id(const ac_v1_input_t *input, const char *given)
{
    char run_id[AC_ID_SIZE];
    const char *rest;
    bool known = input->calls && ac_v1_id_read(run_id, &rest, given, "call_", "run_") &&
        strcmp(run_id, input->run_id ? input->run_id : "") == 0;
    const json_t *call = known ? json_array_get(input->calls, (size_t)strtoul(rest, NULL, 10)) : NULL;
    return ac_json_peek_string(call, "id", given);
}

static apr_status_t input_add_result(ac_v1_input_t *input, ac_request_t *rq, const json_t *item, size_t i)
{
    ac_parts_t parts;
    const char *id = input_call_id(input, ac_json_peek_string(item, "call_id", ""));
    apr_status_t status = input_read_parts(&parts, rq, item, i, "output");
    if (status != APR_SUCCESS || ac_v1_history_add_result(&input->messages.history, id, parts.content)) {
        return status;
    }
    return input_refuse(rq, i, "call_id", "no call before has this id");
}

static apr_status_t input_add_decision(ac_v1_input_t *input, ac_request_t *rq, const json_t *item, size_t i)
{
    const char *id = ac_json_peek_string(item, "approval_request_id", ""), *call_id;
    const char *reason = ac_json_peek_string(item, "reason", NULL);
    const json_t *approve = json_object_get(item, "approve");
    char run_id[AC_ID_SIZE];
    if (!ac_v1_id_read(run_id, &call_id, id, "mcpr_", "run_") || !*call_id || !input->run_id ||
        strcmp(run_id, input->run_id) != 0) {
        return input_refuse(rq, i, "approval_request_id", "the response before has no such request");
    }
    if (!json_is_boolean(approve)) {
        return input_refuse(rq, i, "approve", "approve must be true or false");
    }
    if (reason && strlen(reason) > AC_MAX_REASON) {
        return input_refuse(rq, i, "reason", "reason may have at most 1000 bytes");
    }
    input->decisions = input->decisions ? input->decisions : json_array();
    json_array_append_new(input->decisions,
                          json_pack("{s:s, s:O, s:s*}", "call_id", call_id, "approve", approve, "reason", reason));
    return APR_SUCCESS;
}

/* Items that an agent has no use for, as the thoughts and the calls of other models. */
static bool is_ignored(const char *type)
{
    static const char *const ignored[] = {"reasoning", "compaction", "mcp_list_tools", "mcp_approval_request", NULL};
    static const char *const ends[] = {"_call", "_call_output", NULL};
    size_t len = strlen(type);
    for (const char *const *one = ignored; *one; one++) {
        if (strcmp(type, *one) == 0) {
            return true;
        }
    }
    for (const char *const *end = ends; *end; end++) {
        if (len > strlen(*end) && strcmp(type + len - strlen(*end), *end) == 0) {
            return true;
        }
    }
    return false;
}

static apr_status_t input_add(ac_v1_input_t *input, ac_request_t *rq, size_t i, bool pass)
{
    const json_t *item = json_array_get(input->items, i);
    const char *type = input_type(item);
    if (strcmp(type, "message") == 0) {
        return input_add_message(input, rq, item, i);
    }
    if (strcmp(type, "mcp_approval_response") == 0) {
        return input_add_decision(input, rq, item, i);
    }
    if (pass && strcmp(type, "function_call") == 0) {
        ac_v1_history_add_call(&input->messages.history, ac_json_peek_string(item, "call_id", ""),
                               ac_json_peek_string(item, "name", ""), ac_json_peek_string(item, "arguments", ""));
        return APR_SUCCESS;
    }
    if (pass && strcmp(type, "function_call_output") == 0) {
        return input_add_result(input, rq, item, i);
    }
    if (strcmp(type, "item_reference") == 0) {
        return ac_err_set_at(&rq->err, AC_NOT_FOUND, apr_psprintf(rq->r->pool, "/input/%" APR_SIZE_T_FMT "/id", i),
                             "no item with this id");
    }
    return is_ignored(type) ? APR_SUCCESS : input_refuse(rq, i, "type", "agents take no items of this type");
}

apr_status_t ac_v1_input_read(ac_v1_input_t *input, ac_request_t *rq, ac_client_tools_t *tools, const json_t *answer)
{
    apr_status_t status = APR_SUCCESS;
    input->calls = tools ? ac_client_tools_calls(answer) : NULL;
    input->messages.history.calls = json_incref(input->calls);
    for (size_t i = input->first; i < json_array_size(input->items) && status == APR_SUCCESS; i++) {
        status = input_add(input, rq, i, tools != NULL);
    }
    if (status != APR_SUCCESS || input->decisions) {
        return status;
    }
    return ac_v1_messages_take_last(&input->messages, rq, tools, "/input");
}

apr_status_t ac_v1_input_read_items(ac_v1_input_t *input, ac_request_t *rq)
{
    apr_status_t status = APR_SUCCESS;
    memset(input, 0, sizeof(*input));
    ac_v1_messages_init(&input->messages);
    input->items = json_incref(json_object_get(rq->body, "items"));
    for (size_t i = 0; i < json_array_size(input->items) && status == APR_SUCCESS; i++) {
        status = input_add(input, rq, i, true);
    }
    ac_v1_history_end_results(&input->messages.history);
    if (status != APR_SUCCESS && strncmp(rq->err.pointer, "/input", 6) == 0) {
        memcpy(rq->err.pointer, "/items", 6);
    }
    return status;
}

void ac_v1_input_free(ac_v1_input_t *input)
{
    json_decref(input->items);
    json_decref(input->calls);
    json_decref(input->decisions);
    ac_v1_messages_free(&input->messages);
}
