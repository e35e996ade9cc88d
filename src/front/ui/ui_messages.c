/* SPDX-License-Identifier: Apache-2.0 */
/* GET /ui/chat/{id}: the current path as messages of the AI SDK, with which a page begins. An answer that awaited
 * results of the page's tools, and the one after these, are one message there. */
#include "ui_internal.h"

#include <string.h>

#include "apr_strings.h"

static json_t *text_part(const char *text, size_t len)
{
    json_t *part = json_pack("{s:s, s:s}", "type", "text", "state", "done");
    ac_json_put(part, "text", json_stringn(text, len));
    return part;
}

/* The call with its result, which a later message may have. NULL: no such call. */
static const json_t *call_with(const json_t *message, const char *id)
{
    const json_t *call;
    size_t i;
    json_array_foreach(json_object_get(message, "tool_calls"), i, call)
    {
        if (strcmp(ac_json_peek_string(call, "id", ""), id) == 0) {
            return call;
        }
    }
    return NULL;
}

static json_t *call_part(const json_t *call, const json_t *next)
{
    const char *tool = ac_json_peek_string(call, "tool", "");
    bool client = json_is_true(json_object_get(call, "client"));
    const json_t *ended = client ? call_with(next, ac_json_peek_string(call, "id", "")) : call;
    const char *error = ac_json_peek_string(ended, "error", NULL);
    json_t *part = json_object();
    ac_json_put(part, "type", client ? json_sprintf("tool-%s", tool) : json_string("dynamic-tool"));
    if (!client) {
        ac_json_put(part, "toolName", ac_json_text(tool));
        ac_json_put(part, "providerExecuted", json_true());
    }
    ac_json_put(part, "toolCallId", json_incref(json_object_get(call, "id")));
    ac_json_put(part, "state", json_string(!ended ? "input-available" : error ? "output-error" : "output-available"));
    ac_json_put(part, "input", json_incref(json_object_get(call, "arguments")));
    if (error) {
        ac_json_put(part, "errorText", ac_json_text(error));
    } else if (ended) {
        ac_json_put(part, "output", json_incref(json_object_get(ended, "result")));
    }
    return part;
}

/* Texts and calls in the order in which they came; without a list of it the calls come first. */
static void add_answer(json_t *parts, const json_t *message, const json_t *next)
{
    const char *text = ac_json_peek_string(message, "content", "");
    const json_t *order = json_object_get(json_object_get(message, "metadata"), "parts"), *one;
    size_t i, at = 0, len = strlen(text);
    json_array_append_new(parts, json_pack("{s:s}", "type", "step-start"));
    json_array_foreach((json_t *)order, i, one)
    {
        const json_t *call = json_is_string(one) ? call_with(message, json_string_value(one)) : NULL;
        json_int_t size = json_integer_value(one);
        size_t n = size > 0 && (uint64_t)size < len - at ? (size_t)size : len - at;
        if (call) {
            json_array_append_new(parts, call_part(call, next));
        } else if (json_is_integer(one) && n) {
            json_array_append_new(parts, text_part(text + at, n));
            at += n;
        }
    }
    if (!json_is_array(order)) {
        json_array_foreach(json_object_get(message, "tool_calls"), i, one)
        {
            json_array_append_new(parts, call_part(one, next));
        }
    }
    if (at < len) {
        json_array_append_new(parts, text_part(text + at, len - at));
    }
}

static void add_question(json_t *parts, const ac_request_t *rq, const json_t *message)
{
    const char *text = ac_json_peek_string(message, "content", ""), *mount = ac_config_mount_prefix(rq->r);
    const json_t *file;
    size_t i;
    json_array_foreach(json_object_get(message, "attachments"), i, file)
    {
        json_t *part = json_pack("{s:s, s:O, s:O}", "type", "file", "mediaType", json_object_get(file, "type"),
                                 "filename", json_object_get(file, "name"));
        ac_json_put(part, "url",
                    json_sprintf("%s/files/%s/content", mount ? mount : "", ac_json_peek_string(file, "file_id", "")));
        json_array_append_new(parts, part);
    }
    if (*text) {
        json_array_append_new(parts, text_part(text, strlen(text)));
    }
}

static json_t *ui_message(const json_t *message, const char *role)
{
    const json_t *metadata = json_object_get(message, "metadata");
    json_t *own = json_pack("{s:s, s:[], s:{s:O}}", "role", role, "parts", "metadata", "thread_id",
                            json_object_get(message, "thread_id"));
    ac_json_put(own, "id",
                ac_json_text(ac_json_peek_string(metadata, AC_UI_ID, ac_json_peek_string(message, "id", ""))));
    if (json_is_string(json_object_get(message, "run_id"))) {
        ac_json_put(json_object_get(own, "metadata"), "run_id", json_incref(json_object_get(message, "run_id")));
    }
    return own;
}

static json_t *ui_messages(const ac_request_t *rq, const json_t *stored)
{
    json_t *list = json_array(), *open = NULL;
    const json_t *message;
    size_t i;
    json_array_foreach((json_t *)stored, i, message)
    {
        const char *role = ac_json_peek_string(message, "role", "");
        bool answer = ac_record_is_answer(message);
        if (strcmp(role, "tool") == 0) {
            continue; /* the results stand at their calls, and the answer continues */
        }
        if (!answer || !open) {
            open = ui_message(message, answer ? "assistant" : "user");
            json_array_append_new(list, open);
        } else {
            ac_json_put(open, "id", json_incref(json_object_get(message, "id")));
        }
        if (answer) {
            add_answer(json_object_get(open, "parts"), message, json_array_get(stored, i + 1));
        } else {
            add_question(json_object_get(open, "parts"), rq, message);
        }
        const json_t *next = json_array_get(stored, i + 1);
        open = answer && strcmp(ac_json_peek_string(next, "role", ""), "tool") == 0 ? open : NULL;
    }
    return list;
}

int ac_ui_messages_list(ac_request_t *rq)
{
    char id[AC_ID_SIZE];
    ac_store_op_t *op, *result = NULL;
    apr_status_t status = ac_request_thread_id(rq, id, rq->args[0], "/id");
    rq->doing = "reading the thread";
    if (status == APR_SUCCESS) {
        op = ac_store_op_create(AC_STORE_TURN_LOAD, rq->owner, id);
        if (op) {
            op->page.limit = AC_MAX_PAGE;
        }
        status = ac_request_store(rq, op, &result);
    }
    if (status != APR_SUCCESS && (rq->err.kind != AC_NOT_FOUND || strcmp(id, rq->args[0]) == 0)) {
        return ac_reply_problem(rq, NULL);
    }
    ac_err_init(&rq->err);
    return ac_reply_json(rq, HTTP_OK, ui_messages(rq, json_object_get(result ? result->out : NULL, "messages")));
}
