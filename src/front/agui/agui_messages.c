/* SPDX-License-Identifier: Apache-2.0 */
/* Stored messages as AG-UI has them, with the ids that their events have. A text and the calls behind it are one
 * message, each result is one. */
#include "agui_internal.h"

#include <stdlib.h>
#include <string.h>

#include "apr_strings.h"

typedef struct writer_t {
    const ac_request_t *rq;
    json_t *list;
    const json_t *message; /* the stored one */
    const char *run_id;
    unsigned n_sections;
    json_t *section; /* borrowed; NULL: a call begins one */
    json_t *results; /* owned; those that are appended behind the section */
} writer_t;

static json_t *agui_text_of(const json_t *value)
{
    char *text = json_is_string(value) ? NULL : ac_json_dump(value ? value : json_null(), NULL);
    json_t *own = json_is_string(value) ? json_incref((json_t *)value) : ac_json_text(text ? text : "");
    free(text);
    return own;
}

static json_t *id_json(const char *run_id, const char *call_id, const char *suffix)
{
    ac_buf_t id;
    ac_buf_init(&id, AC_MAX_JSON_TEXT);
    ac_agui_id_call(&id, run_id, call_id);
    ac_buf_str(&id, suffix);
    json_t *own = ac_json_text(id.data ? id.data : "");
    ac_buf_free(&id);
    return own;
}

static json_t *result_message(const char *run_id, const json_t *call)
{
    const char *id = ac_json_peek_string(call, "id", ""), *error = ac_json_peek_string(call, "error", NULL);
    json_t *own = json_pack("{s:s}", "role", "tool");
    ac_json_put(own, "id", id_json(run_id, id, ".result"));
    ac_json_put(own, "toolCallId", id_json(run_id, id, ""));
    ac_json_put(own, "content", error ? ac_json_text(error) : agui_text_of(json_object_get(call, "result")));
    if (error) {
        ac_json_put(own, "error", ac_json_text(error));
    }
    return own;
}

static void agui_messages_end_section(writer_t *writer)
{
    json_array_extend(writer->list, writer->results);
    json_array_clear(writer->results);
    writer->section = NULL;
}

static json_t *agui_messages_begin_section(writer_t *writer)
{
    ac_buf_t id;
    agui_messages_end_section(writer);
    ac_buf_init(&id, AC_ID_SIZE + 16);
    ac_agui_id_section(&id, ac_json_peek_string(writer->message, "id", ""), ++writer->n_sections);
    writer->section = json_pack("{s:s, s:s}", "id", id.data ? id.data : "", "role", "assistant");
    ac_buf_free(&id);
    json_array_append_new(writer->list, writer->section);
    return writer->section;
}

static void agui_messages_add_text(writer_t *writer, const char *text)
{
    text += writer->n_sections ? strspn(text, "\n") : 0;
    if (*text) {
        ac_json_put(agui_messages_begin_section(writer), "content", ac_json_text(text));
    }
}

static void agui_messages_add_call(writer_t *writer, const json_t *call)
{
    json_t *section = writer->section ? writer->section : agui_messages_begin_section(writer);
    json_t *calls = json_object_get(section, "toolCalls"),
           *own = json_pack("{s:s, s:{}}", "type", "function", "function");
    bool client = json_is_true(json_object_get(call, "client"));
    if (!calls) {
        calls = json_array();
        ac_json_put(section, "toolCalls", calls);
    }
    ac_json_put(own, "id", id_json(writer->run_id, ac_json_peek_string(call, "id", ""), ""));
    ac_json_put(json_object_get(own, "function"), "name", json_incref(json_object_get(call, "tool")));
    ac_json_put(json_object_get(own, "function"), "arguments", agui_text_of(json_object_get(call, "arguments")));
    json_array_append_new(calls, own);
    if (!client || json_is_string(json_object_get(call, "error"))) {
        json_array_append_new(writer->results, result_message(writer->run_id, call));
    }
}

static void agui_messages_add_answer(writer_t *writer)
{
    json_t *parts = ac_record_parts_of(writer->message), *part;
    size_t i;
    writer->n_sections = 0;
    json_array_foreach(parts, i, part)
    {
        const char *text = ac_json_peek_string(part, "text", NULL);
        const json_t *call = ac_record_call(writer->message, ac_json_peek_string(part, "id", ""));
        if (text) {
            agui_messages_add_text(writer, text);
        } else if (call) {
            agui_messages_add_call(writer, call);
        }
    }
    agui_messages_end_section(writer);
    json_decref(parts);
}

static json_t *agui_file_part(const ac_request_t *rq, const json_t *file)
{
    const char *type = ac_json_peek_string(file, "type", ""), *mount = ac_config_mount_prefix(rq->r);
    json_t *part = json_pack("{s:s, s:{s:s, s:s}}", "type", strncmp(type, "image/", 6) == 0 ? "image" : "document",
                             "source", "type", "url", "mimeType", type);
    ac_json_put(part, "metadata", json_pack("{s:O}", "filename", json_object_get(file, "name")));
    ac_json_put(json_object_get(part, "source"), "value",
                json_sprintf("%s/files/%s/content", mount ? mount : "", ac_json_peek_string(file, "file_id", "")));
    return part;
}

/* The message of a user, of the results of the client's calls, or of both. */
static void agui_messages_add_question(writer_t *writer)
{
    const json_t *message = writer->message, *item, *files = json_object_get(message, "attachments");
    const char *text = ac_json_peek_string(message, "content", "");
    const char *made = ac_json_peek_string(json_object_get(message, "metadata"), AC_REQUEST_MESSAGE_ID, NULL);
    size_t i;
    json_array_foreach(json_object_get(message, "tool_calls"), i, item)
    {
        /* They are calls of the answer before it. */
        json_array_append_new(writer->list, result_message(writer->run_id, item));
    }
    if (strcmp(ac_json_peek_string(message, "role", ""), "user") != 0) {
        return;
    }
    json_t *own = json_pack("{s:s, s:s}", "role", "user", "id", made ? made : ac_json_peek_string(message, "id", ""));
    json_t *content = ac_json_text(text);
    if (json_array_size(files)) {
        json_t *parts = json_array();
        if (*text) {
            json_array_append_new(parts, json_pack("{s:s, s:o}", "type", "text", "text", content));
        } else {
            json_decref(content);
        }
        json_array_foreach((json_t *)files, i, item)
        {
            json_array_append_new(parts, agui_file_part(writer->rq, item));
        }
        content = parts;
    }
    ac_json_put(own, "content", content);
    json_array_append_new(writer->list, own);
}

json_t *ac_agui_messages_make(const ac_request_t *rq, const json_t *stored)
{
    writer_t writer = {.rq = rq, .list = json_array(), .results = json_array(), .run_id = ""};
    size_t i;
    json_array_foreach((json_t *)stored, i, writer.message)
    {
        if (json_object_get(writer.message, "deleted")) {
            continue;
        }
        if (ac_record_is_answer(writer.message)) {
            writer.run_id = ac_json_peek_string(writer.message, "run_id", "");
            agui_messages_add_answer(&writer);
        } else {
            agui_messages_add_question(&writer);
        }
    }
    json_decref(writer.results);
    return writer.list;
}

json_t *ac_agui_messages_without(const json_t *messages, const char *run_id)
{
    json_t *rest = json_array(), *message;
    size_t i, n = json_array_size(messages);
    json_array_foreach((json_t *)messages, i, message)
    {
        if (!ac_agui_id_is_of_run(ac_json_peek_string(message, "id", ""), run_id)) {
            json_array_append(rest, message);
        }
    }
    if (json_array_size(rest) < n) {
        return rest;
    }
    json_decref(rest);
    return NULL;
}

/* Clients keep the order of those that they have: whether the others can be put behind them. */
static bool keeps_order(const json_t *messages, const json_t *known)
{
    const json_t *message;
    size_t i, next = 0;
    json_array_foreach((json_t *)known, i, message)
    {
        for (size_t k = 0; k < json_array_size(messages); k++) {
            if (!json_equal(json_object_get(json_array_get(messages, k), "id"), json_object_get(message, "id"))) {
                continue;
            }
            if (k != next) {
                return false;
            }
            next++;
        }
    }
    return true;
}

char *ac_agui_messages_snapshot(json_t *messages, const json_t *known, size_t max)
{
    static const char begin[] = "data: {\"type\":\"MESSAGES_SNAPSHOT\",\"messages\":", end[] = "}\n\n";
    size_t len = 0, first = 0;
    free(ac_json_dump(messages, &len));
    while (len > max && json_array_size(messages)) {
        free(ac_json_dump(json_array_get(messages, 0), &first));
        len -= first < len ? first : len;
        json_array_remove(messages, 0);
    }
    if (!json_array_size(messages) && first) {
        return NULL;
    }
    char *text = ac_json_dump(messages, &len);
    ac_buf_t out;
    ac_buf_init(&out, len + 4 * sizeof(begin));
    if (!keeps_order(messages, known)) {
        ac_buf_printf(&out, "%s[]%s", begin, end);
    }
    ac_buf_str(&out, begin);
    ac_buf_str(&out, text ? text : "[]");
    ac_buf_str(&out, end);
    free(text);
    char *whole = out.failed ? NULL : strdup(out.data);
    ac_buf_free(&out);
    return whole;
}
