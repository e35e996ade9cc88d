/* SPDX-License-Identifier: Apache-2.0 */
/* The headers of a call to a modern server, which repeat what intermediaries may want to know. Source: revision
 * 2026-07-28, "Standard Request Headers". */
#include "mcp_internal.h"

#include <string.h>

#define MAX_HEADERS 40

apr_status_t ac_mcp_call_headers_make(char ***plines, const ac_mcp_tool_t *tool, const json_t *arguments, ac_err_t *err)
{
    char **lines = *plines = ac_alloc((MAX_HEADERS + 1) * sizeof *lines);
    int n = 0;
    ac_buf_t name;
    ac_buf_init(&name, 4096);
    ac_buf_str(&name, "Mcp-Name: ");
    ac_mcp_header_add_value(&name, tool->name);
    lines[n++] = strdup("Mcp-Method: tools/call");
    lines[n++] = name.data; /* taken over */
    for (size_t i = 0; i < json_array_size(tool->headers) && n < MAX_HEADERS; i++) {
        char *line;
        apr_status_t status = ac_mcp_header_line(&line, json_array_get(tool->headers, i), arguments, err);
        if (status != APR_SUCCESS) {
            return status;
        }
        if (line) {
            lines[n++] = line;
        }
    }
    return APR_SUCCESS;
}

void ac_mcp_call_headers_free(char **lines)
{
    for (char **line = lines; line && *line; line++) {
        free(*line);
    }
    free(lines);
}
