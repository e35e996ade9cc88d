/* SPDX-License-Identifier: Apache-2.0 */
/* A tool as a server describes it: its name, its description, its arguments, and what it says about its effects. */
#include "wire/mcp.h"

#include <string.h>

#define MAX_NAME 256

/* ---- texts ---- */

static char *mcp_tool_description(const json_t *entry)
{
    const char *text = ac_json_peek_string(entry, "description", "");
    const char *title = ac_json_peek_string(entry, "title", NULL);
    ac_buf_t buf;
    ac_buf_init(&buf, AC_MAX_TOOL_DESCRIPTION + 16);
    title = title ? title : ac_json_peek_string(json_object_get(entry, "annotations"), "title", "");
    ac_tool_text_add(&buf, *text ? text : title, AC_MAX_TOOL_DESCRIPTION);
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
    const ac_tool_schema_t as = {schema, AC_TOOL_SCHEMA_DEPTH, AC_MAX_TOOL_DESCRIPTION};
    tool->parameters = ac_tool_schema_make(schema, &as);
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
