/* SPDX-License-Identifier: Apache-2.0 */
/* A tool as a server describes it: its name, its description, its arguments, and what it says about its effects. */
#include "wire/mcp.h"

#include <string.h>

#define MAX_NAME 256

/* ---- text of a server ---- */

typedef struct range_t {
    uint32_t first, last;
} range_t;

/* Characters that a person does not see, but a model reads. Source: Unicode 16, Default_Ignorable_Code_Point and
 * Bidi_Control; control characters. */
static const range_t hidden[] = {
    {0x00, 0x08},     {0x0b, 0x1f},     {0x7f, 0x9f},       {0xad, 0xad},       {0x34f, 0x34f},
    {0x61c, 0x61c},   {0x115f, 0x1160}, {0x17b4, 0x17b5},   {0x180b, 0x180f},   {0x200b, 0x200f},
    {0x2028, 0x202e}, {0x2060, 0x206f}, {0x3164, 0x3164},   {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},
    {0xffa0, 0xffa0}, {0xfff0, 0xfff8}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
};

static uint32_t mcp_tool_code_point(const char *at, size_t len)
{
    static const unsigned char first[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t code = (unsigned char)*at & first[len];
    for (size_t i = 1; i < len; i++) {
        code = code << 6 | ((unsigned char)at[i] & 0x3f);
    }
    return code;
}

static bool mcp_tool_is_hidden(uint32_t code)
{
    for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++) {
        if (code >= hidden[i].first && code <= hidden[i].last) {
            return true;
        }
    }
    return false;
}

void ac_mcp_tool_add_text(ac_buf_t *buf, const char *text, size_t max)
{
    static const char cut[] = "…";
    size_t len = strlen(text), start = buf->len;
    for (size_t i = 0, n; i < len; i += n) {
        bool valid;
        n = ac_utf8_next(text + i, len - i, &valid);
        if (!valid || mcp_tool_is_hidden(mcp_tool_code_point(text + i, n))) {
            continue;
        }
        if (buf->len - start + n > max) {
            ac_buf_str(buf, cut);
            return;
        }
        ac_buf_add(buf, text + i, n);
    }
}

static char *mcp_tool_description(const json_t *entry)
{
    const char *text = ac_json_peek_string(entry, "description", "");
    const char *title = ac_json_peek_string(entry, "title", NULL);
    ac_buf_t buf;
    ac_buf_init(&buf, AC_MAX_MCP_DESCRIPTION + 16);
    title = title ? title : ac_json_peek_string(json_object_get(entry, "annotations"), "title", "");
    ac_mcp_tool_add_text(&buf, *text ? text : title, AC_MAX_MCP_DESCRIPTION);
    return buf.data ? buf.data : strdup("");
}

/* ---- an entry ---- */

static bool mcp_tool_hint(const json_t *annotations, const char *name, bool fallback)
{
    const json_t *value = json_object_get(annotations, name);
    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

/* Source: ToolAnnotations of the schema, which has these defaults. */
static void mcp_tool_read_hints(ac_mcp_tool_t *tool, const json_t *annotations)
{
    tool->read_only = mcp_tool_hint(annotations, "readOnlyHint", false);
    tool->destructive = !tool->read_only && mcp_tool_hint(annotations, "destructiveHint", true);
    tool->idempotent = tool->read_only || mcp_tool_hint(annotations, "idempotentHint", false);
}

static const char *mcp_tool_read_schema(ac_mcp_tool_t *tool, const json_t *schema, bool modern)
{
    if (modern && !ac_mcp_header_find(&tool->headers, schema)) {
        return "an x-mcp-header of its inputSchema is not valid";
    }
    tool->parameters = ac_mcp_schema_make(schema);
    return tool->parameters ? NULL : "its inputSchema is not that of an object, or too long";
}

const char *ac_mcp_tool_read(ac_mcp_tool_t *tool, const json_t *entry, bool modern)
{
    const char *name = ac_json_peek_string(entry, "name", "");
    memset(tool, 0, sizeof *tool);
    if (!*name || strlen(name) > MAX_NAME) {
        return "it has no name, or a name of more than 256 bytes";
    }
    const char *problem = mcp_tool_read_schema(tool, json_object_get(entry, "inputSchema"), modern);
    if (problem) {
        ac_mcp_tool_free(tool);
        return problem;
    }
    tool->name = strdup(name);
    tool->description = mcp_tool_description(entry);
    if (!tool->name || !tool->description) {
        abort();
    }
    mcp_tool_read_hints(tool, json_object_get(entry, "annotations"));
    return NULL;
}

void ac_mcp_tool_free(ac_mcp_tool_t *tool)
{
    free(tool->name);
    free(tool->description);
    json_decref(tool->parameters);
    json_decref(tool->headers);
    memset(tool, 0, sizeof *tool);
}
