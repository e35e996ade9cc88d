/* SPDX-License-Identifier: Apache-2.0 */
/* The result of a call as the model reads it: text as a string, structured content as JSON, files by their type and
 * size. */
#include "wire/mcp.h"

#include <string.h>

#define MAX_RESULT_DEPTH (AC_MAX_JSON_DEPTH - 8) /* a result is kept inside a message inside a list */

static bool mcp_result_is_text(const json_t *block)
{
    return strcmp(ac_json_peek_string(block, "type", ""), "text") == 0 &&
        json_is_string(json_object_get(block, "text"));
}

static void mcp_result_copy(json_t *to, const json_t *from, const char *name)
{
    json_t *value = json_object_get(from, name);
    if (json_is_string(value) || json_is_number(value)) {
        json_object_set(to, name, value);
    }
}

/* The number of bytes that this base64 stands for. */
static json_t *decoded_size(const char *base64)
{
    size_t len = strlen(base64);
    while (len && base64[len - 1] == '=') {
        len--;
    }
    return json_integer((json_int_t)(len * 3 / 4));
}

static void put_bytes(json_t *shown, const json_t *from, const char *name)
{
    const char *base64 = ac_json_peek_string(from, name, NULL);
    if (base64) {
        ac_json_put(shown, "bytes", decoded_size(base64));
        ac_json_put(shown, "note", json_string("The contents are not shown."));
    }
}

static json_t *show_block(const json_t *block)
{
    static const char *const members[] = {"text", "uri", "name", "title", "description", "mimeType", "size"};
    const json_t *resource = json_object_get(block, "resource");
    const char *type = ac_json_peek_string(block, "type", "unknown");
    json_t *shown = json_object();
    char name[64];
    ac_json_put(shown, "type", ac_json_text(ac_text_printable(name, type)));
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        mcp_result_copy(shown, block, members[i]);
        mcp_result_copy(shown, resource, members[i]);
    }
    put_bytes(shown, block, "data");
    put_bytes(shown, resource, "blob");
    return shown;
}

/* The texts of the blocks, one below the other; NULL: one of them is no text. New reference. */
static json_t *join_texts(const json_t *content, bool others)
{
    ac_buf_t text;
    json_t *block;
    size_t i;
    bool all = true;
    ac_buf_init(&text, AC_MAX_TOOL_ANSWER);
    json_array_foreach((json_t *)content, i, block)
    {
        all = all && mcp_result_is_text(block);
        if (mcp_result_is_text(block)) {
            ac_buf_str(&text, text.len ? "\n" : "");
            ac_buf_str(&text, ac_json_peek_string(block, "text", ""));
        }
    }
    json_t *joined = all || others ? ac_json_text(text.data ? text.data : "") : NULL;
    ac_buf_free(&text);
    return joined;
}

static json_t *show_content(const json_t *content)
{
    json_t *text = json_array_size(content) ? join_texts(content, false) : NULL, *block;
    size_t i;
    if (text) {
        return text;
    }
    json_t *list = json_array();
    json_array_foreach((json_t *)content, i, block)
    {
        json_array_append_new(list, show_block(block));
    }
    return list;
}

/* Servers repeat structured content as text, for clients that do not know it. */
static bool repeats(const json_t *content, const json_t *structured)
{
    const json_t *block = json_array_get(content, 0);
    if (json_array_size(content) == 0) {
        return true;
    }
    if (json_array_size(content) > 1 || !mcp_result_is_text(block)) {
        return false;
    }
    json_t *text = json_object_get(block, "text");
    json_t *same = json_loadb(json_string_value(text), json_string_length(text), JSON_DECODE_ANY, NULL);
    bool equal = same && json_equal(same, structured);
    json_decref(same);
    return equal;
}

static json_t *make_error_text(const json_t *content, const json_t *structured)
{
    json_t *text = join_texts(content, true);
    if (*json_string_value(text)) {
        return text;
    }
    json_decref(text);
    char *dump = structured ? ac_json_dump(structured, NULL) : NULL;
    text = ac_json_text(dump ? dump : "it says nothing else");
    free(dump);
    return text;
}

apr_status_t ac_mcp_result_read(ac_mcp_result_t *result, const json_t *given, ac_err_t *err)
{
    const json_t *content = json_object_get(given, "content");
    json_t *structured = json_object_get(given, "structuredContent");
    memset(result, 0, sizeof *result);
    if (!json_is_array(content) && !structured) {
        return ac_err_set(err, AC_TOOL_ERROR, "the answer of the MCP server has no content");
    }
    if (ac_json_is_deeper(structured, MAX_RESULT_DEPTH)) {
        return ac_err_set(err, AC_TOOL_ERROR, "the result is nested too deeply");
    }
    result->failed = json_is_true(json_object_get(given, "isError"));
    if (result->failed) {
        result->value = make_error_text(content, structured);
    } else if (!structured || json_is_null(structured)) {
        result->value = show_content(content);
    } else if (repeats(content, structured)) {
        result->value = json_incref(structured);
    } else {
        result->value = json_pack("{s:O, s:o}", "structuredContent", structured, "content", show_content(content));
    }
    return APR_SUCCESS;
}
