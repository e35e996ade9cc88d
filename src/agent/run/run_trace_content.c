/* SPDX-License-Identifier: Apache-2.0 */
/* Prompts and answers in the form of gen_ai.input.messages and its kin: a JSON array of {role, parts}. The part types
 * are text, tool_call and tool_call_response. Source: the semantic conventions for generative AI. Pure. */
#include "run_internal.h"

#include <stdlib.h>
#include <string.h>

static void add_text_part(json_t *parts, const char *text)
{
    if (text && *text) {
        json_t *part = json_object();
        ac_json_put(part, "type", json_string("text"));
        ac_json_put(part, "content", ac_json_text(text));
        json_array_append_new(parts, part);
    }
}

/* arguments: JSON text of the model, which may not be valid. */
static void add_call_part(json_t *parts, const char *id, const char *name, const char *arguments)
{
    json_t *part = json_object(),
           *value = json_loads(arguments && *arguments ? arguments : "{}", JSON_DECODE_ANY, NULL);
    ac_json_put(part, "type", json_string("tool_call"));
    ac_json_put(part, "id", ac_json_text(id));
    ac_json_put(part, "name", ac_json_text(name));
    ac_json_put(part, "arguments", value ? value : ac_json_text(arguments));
    json_array_append_new(parts, part);
}

static json_t *message_json(const char *role, json_t *parts)
{
    json_t *message = json_object();
    ac_json_put(message, "role", ac_json_text(role));
    ac_json_put(message, "parts", parts);
    return message;
}

/* A message of chat completions. */
static json_t *convert(const json_t *message)
{
    const char *role = ac_json_peek_string(message, "role", "user");
    const char *content = ac_json_peek_string(message, "content", NULL);
    json_t *parts = json_array();
    const json_t *call;
    size_t i;
    if (strcmp(role, "tool") == 0) {
        json_t *part = json_object();
        ac_json_put(part, "type", json_string("tool_call_response"));
        ac_json_put(part, "id", ac_json_text(ac_json_peek_string(message, "tool_call_id", NULL)));
        ac_json_put(part, "response", ac_json_text(content));
        json_array_append_new(parts, part);
        return message_json(role, parts);
    }
    add_text_part(parts, content);
    json_array_foreach(json_object_get(message, "content"), i, call)
    {
        const json_t *image = json_object_get(call, "image_url");
        add_text_part(parts, ac_json_peek_string(call, "text", NULL));
        if (image) {
            json_array_append_new(parts,
                                  json_pack("{s:s, s:s, s:O?, s:O?}", "type", "file", "modality", "image", "mime_type",
                                            json_object_get(image, "type"), "file_id",
                                            json_object_get(image, "file_id")));
        }
    }
    json_array_foreach(json_object_get(message, "tool_calls"), i, call)
    {
        const json_t *function = json_object_get(call, "function");
        add_call_part(parts, ac_json_peek_string(call, "id", NULL), ac_json_peek_string(function, "name", NULL),
                      ac_json_peek_string(function, "arguments", NULL));
    }
    return message_json(role, parts);
}

static bool is_system(const json_t *message)
{
    return strcmp(ac_json_peek_string(message, "role", ""), "system") == 0;
}

char *ac_run_trace_content_instructions(const json_t *messages)
{
    json_t *parts = json_array();
    const json_t *message;
    char *text = NULL;
    size_t i;
    json_array_foreach((json_t *)messages, i, message)
    {
        if (is_system(message)) {
            add_text_part(parts, ac_json_peek_string(message, "content", NULL));
        }
    }
    if (json_array_size(parts)) {
        text = ac_json_dump(parts, NULL);
    }
    json_decref(parts);
    return text;
}

/* The newest messages that fit into an attribute: a text that is cut in the middle is not JSON. */
char *ac_run_trace_content_input(const json_t *messages)
{
    json_t *list = json_array();
    size_t room = AC_MAX_SPAN_TEXT - 2;
    for (size_t i = json_array_size(messages); i-- > 0;) {
        const json_t *message = json_array_get(messages, i);
        size_t len = 0;
        if (is_system(message)) {
            continue;
        }
        json_t *converted = convert(message);
        char *text = ac_json_dump(converted, &len);
        free(text);
        if (!text || len + 1 > room) {
            json_decref(converted);
            break;
        }
        room -= len + 1;
        json_array_insert_new(list, 0, converted);
    }
    char *text = json_array_size(list) ? ac_json_dump(list, NULL) : NULL;
    json_decref(list);
    return text;
}

char *ac_run_trace_content_output(const char *text, const ac_model_end_t *end)
{
    json_t *parts = json_array();
    add_text_part(parts, text);
    for (int i = 0; i < end->n_calls; i++) {
        add_call_part(parts, end->calls[i].id, end->calls[i].name, end->calls[i].arguments);
    }
    bool empty = json_array_size(parts) == 0;
    json_t *list = json_array();
    json_array_append_new(list, message_json("assistant", parts));
    char *dump = empty ? NULL : ac_json_dump(list, NULL);
    json_decref(list);
    return dump;
}
