/* SPDX-License-Identifier: Apache-2.0 */
/* GET /ui/chat/{id}: the current path as messages of the AI SDK, with which a page begins. An answer that awaited
 * results of the page's tools, and the one after these, are one message there. */
#include "ui_internal.h"

#include <string.h>

#include "apr_strings.h"

static json_t *text_part(const char *text)
{
    return json_pack("{s:s, s:s, s:s}", "type", "text", "state", "done", "text", text);
}

static json_t *call_part(const json_t *call, const json_t *next)
{
    const char *tool = ac_json_peek_string(call, "tool", "");
    bool client = json_is_true(json_object_get(call, "client"));
    bool awaited = client && !json_is_string(json_object_get(call, "error")); /* a cancelled run awaits no result */
    const json_t *ended = awaited ? ac_record_call(next, ac_json_peek_string(call, "id", "")) : call;
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

static void add_answer(json_t *parts, const json_t *message, const json_t *next)
{
    json_t *order = ac_record_parts_of(message), *one;
    size_t i;
    json_array_append_new(parts, json_pack("{s:s}", "type", "step-start"));
    json_array_foreach(order, i, one)
    {
        const char *text = ac_json_peek_string(one, "text", NULL);
        const json_t *call = ac_record_call(message, ac_json_peek_string(one, "id", ""));
        if (text) {
            json_array_append_new(parts, text_part(text));
        } else if (call) {
            json_array_append_new(parts, call_part(call, next));
        }
    }
    json_decref(order);
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
        json_array_append_new(parts, text_part(text));
    }
}

static json_t *ui_message(const json_t *message, const char *role)
{
    const json_t *metadata = json_object_get(message, "metadata");
    json_t *own = json_pack("{s:s, s:[], s:{s:O}}", "role", role, "parts", "metadata", "thread_id",
                            json_object_get(message, "thread_id"));
    ac_json_put(own, "id",
                ac_json_text(
                    ac_json_peek_string(metadata, AC_REQUEST_MESSAGE_ID, ac_json_peek_string(message, "id", ""))));
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
        if (json_object_get(message, "deleted")) {
            open = NULL;
            continue;
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
    const json_t *loaded;
    if (ac_request_thread_load(rq, &loaded, rq->args[0], "/id") != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return ac_reply_json(rq, HTTP_OK, ui_messages(rq, json_object_get(loaded, "messages")));
}
