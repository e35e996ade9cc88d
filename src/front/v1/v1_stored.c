/* SPDX-License-Identifier: Apache-2.0 */
/* Stored messages as items, with the ids that a stream gave them. Requests for approvals are not stored: the calls that
 * followed are. */
#include "v1_response.h"

#include <string.h>

/* The characters of the answer's run, or of a message that came with a request. */
static void item_id(char id[AC_V1_ID_SIZE], const char *theirs, const json_t *message, const char *rest)
{
    ac_v1_id_write(id, theirs, ac_json_peek_string(message, "id", ""), rest);
}

static json_t *message_item(const char *id, const char *role, json_t *content)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:o}", "id", id, "type", "message", "status", "completed", "role", role,
                     "content", content);
}

static char *stored_text(const json_t *value)
{
    return json_is_string(value) ? strdup(json_string_value(value)) : ac_json_dump(value, NULL);
}

/* ---- what the user has said ---- */

static json_t *file_part(const json_t *file)
{
    bool image = strncmp(ac_json_peek_string(file, "type", ""), "image/", 6) == 0;
    json_t *part = json_pack("{s:s, s:O}", "type", image ? "input_image" : "input_file", "file_id",
                             json_object_get(file, "file_id"));
    if (image) {
        ac_json_put(part, "detail", json_string("auto"));
        ac_json_put(part, "image_url", json_null());
    } else {
        ac_json_put(part, "filename", json_incref(json_object_get(file, "name")));
    }
    return part;
}

static void stored_add_question(json_t *list, const json_t *message)
{
    const char *text = ac_json_peek_string(message, "content", "");
    json_t *content = json_array();
    const json_t *file;
    char id[AC_V1_ID_SIZE];
    size_t i;
    if (*text) {
        json_array_append_new(content, json_pack("{s:s, s:s}", "type", "input_text", "text", text));
    }
    json_array_foreach(json_object_get(message, "attachments"), i, file)
    {
        json_array_append_new(content, file_part(file));
    }
    item_id(id, "msg_", message, NULL);
    if (json_array_size(content)) {
        json_array_append_new(list, message_item(id, "user", content));
    } else {
        json_decref(content);
    }
}

/* The id of a call: its place in the answer with this id. An answer that came with a request has the client's ids. */
static void call_id_write(char id[AC_V1_ID_SIZE], const char *answer_id, const json_t *call, size_t i, bool ours)
{
    char number[16];
    apr_snprintf(number, sizeof(number), "%d", (int)i);
    if (ours) {
        ac_v1_id_write(id, "call_", answer_id, number);
    } else {
        apr_cpystrn(id, ac_json_peek_string(call, "id", ""), AC_V1_ID_SIZE);
    }
}

static void stored_add_results(json_t *list, const json_t *message)
{
    const json_t *call;
    size_t i;
    bool ours = json_is_string(json_object_get(message, "run_id"));
    json_array_foreach(json_object_get(message, "tool_calls"), i, call)
    {
        const json_t *error = json_object_get(call, "error");
        char *output = stored_text(json_is_string(error) ? error : json_object_get(call, "result"));
        char id[AC_V1_ID_SIZE], call_id[AC_V1_ID_SIZE], number[16];
        apr_snprintf(number, sizeof(number), "%d", (int)i);
        item_id(id, "fco_", message, number);
        call_id_write(call_id, ac_json_peek_string(message, "parent_id", ""), call, i, ours);
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", id, "type", "function_call_output", "status",
                                        "completed", "call_id", call_id, "output", output ? output : ""));
        free(output);
    }
}

/* ---- what the agent has said ---- */

static json_t *function_item(const json_t *message, const json_t *call, size_t i)
{
    char id[AC_V1_ID_SIZE], call_id[AC_V1_ID_SIZE], number[16];
    bool ours = json_is_string(json_object_get(message, "run_id"));
    char *arguments = stored_text(json_object_get(call, "arguments"));
    apr_snprintf(number, sizeof(number), "%d", (int)i);
    item_id(id, "fc_", message, number);
    call_id_write(call_id, ac_json_peek_string(message, "id", ""), call, i, ours);
    json_t *item = json_pack("{s:s, s:s, s:s, s:s, s:O, s:s}", "id", id, "type", "function_call", "status", "completed",
                             "call_id", call_id, "name", json_object_get(call, "tool"), "arguments",
                             arguments ? arguments : "");
    free(arguments);
    return item;
}

static json_t *call_item(const json_t *message, const json_t *call)
{
    char id[AC_V1_ID_SIZE];
    const char *error = ac_json_peek_string(call, "error", NULL);
    char *arguments = stored_text(json_object_get(call, "arguments")),
         *output = stored_text(json_object_get(call, "result"));
    item_id(id, "mcp_", message, ac_json_peek_string(call, "id", ""));
    json_t *item = json_pack("{s:s, s:s, s:s, s:s, s:O, s:s, s:s?, s:n, s:n}", "id", id, "type", "mcp_call", "status",
                             error ? "failed" : "completed", "server_label", AC_V1_SERVER_LABEL, "name",
                             json_object_get(call, "tool"), "arguments", arguments ? arguments : "", "output",
                             error ? NULL : output, "error", "approval_request_id");
    if (error) {
        ac_json_put(item, "error",
                    json_pack("{s:s, s:[{s:s, s:s}]}", "type", "mcp_tool_execution_error", "content", "type", "text",
                              "text", error));
    }
    free(arguments);
    free(output);
    return item;
}

/* sources: of the answer's last text; else NULL. */
static json_t *text_item(const json_t *message, const char *text, int number, const json_t *sources)
{
    char id[AC_V1_ID_SIZE], rest[16];
    apr_snprintf(rest, sizeof(rest), "%d", number);
    item_id(id, "msg_", message, number ? rest : NULL);
    return message_item(id, "assistant",
                        json_pack("[{s:s, s:s, s:o, s:[]}]", "type", "output_text", "text", text, "annotations",
                                  ac_sources_citations(sources, text, strlen(text)), "logprobs"));
}

static void stored_add_answer(json_t *list, const json_t *message)
{
    json_t *order = ac_record_parts_of(message), *one;
    const json_t *sources = json_object_get(json_object_get(message, "metadata"), "sources");
    int n_texts = 0;
    size_t i, n_functions = 0;
    json_array_foreach(order, i, one)
    {
        const char *text = ac_json_peek_string(one, "text", NULL);
        const json_t *call = ac_record_call(message, ac_json_peek_string(one, "id", ""));
        text += text ? ac_v1_items_gap(text, strlen(text), i == 0) : 0;
        if (text && *text) {
            json_array_append_new(list,
                                  text_item(message, text, n_texts++,
                                            i + 1 == json_array_size(order) ? sources : NULL));
        } else if (call && json_is_true(json_object_get(call, "client"))) {
            json_array_append_new(list, function_item(message, call, n_functions++));
        } else if (call) {
            json_array_append_new(list, call_item(message, call));
        }
    }
    json_decref(order);
}

void ac_v1_stored_add(json_t *list, const json_t *message)
{
    if (ac_record_is_answer(message)) {
        stored_add_answer(list, message);
    } else {
        stored_add_results(list, message);
        stored_add_question(list, message);
    }
}

/* ---- lists ---- */

void ac_v1_stored_reverse(json_t *list)
{
    for (size_t i = 0, n = json_array_size(list); i < n; i++) {
        json_t *item = json_incref(json_array_get(list, n - 1));
        json_array_remove(list, n - 1);
        json_array_insert_new(list, i, item);
    }
}

apr_status_t ac_v1_stored_read_page(ac_v1_page_t *page, ac_request_t *rq)
{
    const char *order = ac_query_get(rq, "order");
    page->after = ac_query_get(rq, "after");
    page->descending = !order || strcmp(order, "asc") != 0;
    if (order && page->descending && strcmp(order, "desc") != 0) {
        return ac_err_set(&rq->err, AC_INVALID_REQUEST, "order must be asc or desc");
    }
    return ac_query_limit(rq, &page->limit);
}

int ac_v1_stored_reply(ac_request_t *rq, json_t *list, const ac_v1_page_t *page, bool more)
{
    json_t *data = json_array(), *item;
    size_t i;
    bool begun = !page->after;
    json_array_foreach(list, i, item)
    {
        if (begun && json_array_size(data) < (size_t)page->limit) {
            json_array_append(data, item);
        } else if (begun) {
            more = true;
        }
        begun = begun || strcmp(ac_json_peek_string(item, "id", ""), page->after) == 0;
    }
    json_decref(list);
    if (!begun) {
        json_decref(data);
        ac_err_set(&rq->err, AC_NOT_FOUND, "after names no item of this list");
        return ac_reply_problem(rq, NULL);
    }
    size_t n = json_array_size(data);
    return ac_reply_json(rq, HTTP_OK,
                         json_pack("{s:s, s:o, s:s?, s:s?, s:b}", "object", "list", "data", data, "first_id",
                                   ac_json_peek_string(json_array_get(data, 0), "id", NULL), "last_id",
                                   ac_json_peek_string(json_array_get(data, n ? n - 1 : 0), "id", NULL), "has_more",
                                   more));
}
