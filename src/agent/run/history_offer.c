/* SPDX-License-Identifier: Apache-2.0 */
/* Earlier calls of tools that a model is not offered. Some providers refuse a conversation with them, so they become
 * text. It happens when another agent continues a conversation, or an agent has lost a tool. */
#include "run_internal.h"

#include <stdlib.h>
#include <string.h>

static bool is_offered(const char *name, const ac_toolset_t *set, const json_t *client)
{
    json_t *tool;
    size_t i;
    json_array_foreach((json_t *)client, i, tool)
    {
        if (strcmp(ac_json_peek_string(json_object_get(tool, "function"), "name", ""), name) == 0) {
            return true;
        }
    }
    return ac_toolset_find(set, name) != NULL;
}

static bool all_are_offered(const json_t *calls, const ac_toolset_t *set, const json_t *client)
{
    json_t *call;
    size_t i;
    json_array_foreach((json_t *)calls, i, call)
    {
        if (!is_offered(ac_json_peek_string(json_object_get(call, "function"), "name", ""), set, client)) {
            return false;
        }
    }
    return true;
}

/* The result of a call, among the tool messages from `at` on. */
static const char *offer_result(const json_t *messages, size_t at, const char *call_id)
{
    for (; at < json_array_size(messages); at++) {
        const json_t *message = json_array_get(messages, at);
        if (strcmp(ac_json_peek_string(message, "role", ""), "tool") != 0) {
            break;
        }
        if (strcmp(ac_json_peek_string(message, "tool_call_id", ""), call_id) == 0) {
            return ac_json_peek_string(message, "content", "");
        }
    }
    return "";
}

/* Makes one message of text of the one at `at` and the results behind it. Text of the assistant that follows is added,
 * since some models want the roles to alternate. */
static void offer_text(json_t *messages, size_t at)
{
    const json_t *message = json_array_get(messages, at);
    const char *said = ac_json_peek_string(message, "content", "");
    json_t *call;
    size_t i;
    ac_buf_t text;
    ac_buf_init(&text, SIZE_MAX / 2);
    ac_buf_printf(&text, "%s%s", said, *said ? "\n\n" : "");
    json_array_foreach(json_object_get(message, "tool_calls"), i, call)
    {
        const json_t *function = json_object_get(call, "function");
        ac_buf_printf(&text, "%s(The tool %s was called with %s. Its result: %s)", i ? "\n" : "",
                      ac_json_peek_string(function, "name", ""), ac_json_peek_string(function, "arguments", "{}"),
                      offer_result(messages, at + 1, ac_json_peek_string(call, "id", "")));
    }
    while (strcmp(ac_json_peek_string(json_array_get(messages, at + 1), "role", ""), "tool") == 0) {
        json_array_remove(messages, at + 1);
    }
    const json_t *next = json_array_get(messages, at + 1);
    if (strcmp(ac_json_peek_string(next, "role", ""), "assistant") == 0 && !json_object_get(next, "tool_calls")) {
        ac_buf_printf(&text, "\n\n%s", ac_json_peek_string(next, "content", ""));
        json_array_remove(messages, at + 1);
    }
    json_array_set_new(messages, at, json_pack("{s:s, s:o}", "role", "assistant", "content", ac_json_text(text.data)));
    ac_buf_free(&text);
}

void ac_history_offer(json_t *messages, const ac_toolset_t *set, const json_t *client)
{
    for (size_t i = 0; i < json_array_size(messages); i++) {
        if (!all_are_offered(json_object_get(json_array_get(messages, i), "tool_calls"), set, client)) {
            offer_text(messages, i);
        }
    }
}
