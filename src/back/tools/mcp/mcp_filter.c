/* SPDX-License-Identifier: Apache-2.0 */
/* Which tools of a server may be used, and which calls of them need an approval. Pure. */
#include "mcp_internal.h"

#include <apr_tables.h>
#include <string.h>

bool ac_mcp_filter_allows(const ac_mcp_conf_t *conf, const char *name)
{
    bool listed = false, any = false;
    for (int i = 0; conf->tools && i < conf->tools->nelts; i++) {
        const char *pattern = APR_ARRAY_IDX(conf->tools, i, const char *);
        if (*pattern == '!' && ac_tool_support_matches(pattern + 1, name)) {
            return false;
        }
        any = any || *pattern != '!';
        listed = listed || (*pattern != '!' && ac_tool_support_matches(pattern, name));
    }
    return listed || !any;
}

int ac_mcp_filter_policy(const char *word)
{
    static const char *const words[] = {"destructive", "write", "required", "none"};
    for (int i = 0; i < (int)(sizeof words / sizeof words[0]); i++) {
        if (strcmp(words[i], word) == 0) {
            return i;
        }
    }
    return -1;
}

bool ac_mcp_filter_approval(const ac_mcp_conf_t *conf, const ac_mcp_tool_t *tool)
{
    const apr_array_header_t *rows = conf->approvals ? apr_table_elts(conf->approvals) : NULL;
    int policy = conf->approval;
    for (int i = 0; rows && i < rows->nelts; i++) {
        const apr_table_entry_t *row = &APR_ARRAY_IDX(rows, i, apr_table_entry_t);
        if (ac_tool_support_matches(row->key, tool->name)) {
            policy = ac_mcp_filter_policy(row->val);
            break;
        }
    }
    switch (policy) {
    case AC_MCP_APPROVAL_NONE: return false;
    case AC_MCP_APPROVAL_WRITE: return !tool->read_only;
    case AC_MCP_APPROVAL_DESTRUCTIVE: return tool->destructive;
    default: return true;
    }
}
