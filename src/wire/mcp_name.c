/* SPDX-License-Identifier: Apache-2.0 */
/* Names of tools as models accept them. */
#include "wire/mcp.h"

#include <apr_lib.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#define HASH_DIGITS 8

/* Writes prefix and name, as far as they fit. Returns whether a character had to be replaced. */
static bool mcp_name_write(char id[AC_MCP_NAME_SIZE], const char *prefix, const char *name)
{
    bool replaced = false;
    snprintf(id, AC_MCP_NAME_SIZE, "%s%s", prefix, name);
    for (char *at = id; *at; at++) {
        if (!apr_isalnum(*at) && *at != '_' && *at != '-') {
            *at = '_';
            replaced = true;
        }
    }
    return replaced;
}

void ac_mcp_name_hash(char id[AC_MCP_NAME_SIZE], const char *prefix, const char *name, const char *salt)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    char digits[HASH_DIGITS + 1];
    ac_buf_t text;
    ac_buf_init(&text, 4096);
    ac_buf_printf(&text, "%s\n%s", salt, name);
    SHA256((const unsigned char *)(text.data ? text.data : ""), text.len, digest);
    ac_buf_free(&text);
    ac_text_hex(digits, digest, HASH_DIGITS / 2);
    mcp_name_write(id, prefix, name);
    size_t len = strlen(id), most = AC_MCP_NAME_SIZE - 2 - HASH_DIGITS;
    len = len < most ? len : most;
    snprintf(id + len, AC_MCP_NAME_SIZE - len, "_%s", digits);
}

static bool mcp_name_is_taken(const ac_mcp_tool_t *tools, int n, int own)
{
    for (int i = 0; i < n; i++) {
        if (i != own && strcmp(tools[i].id, tools[own].id) == 0) {
            return true;
        }
    }
    return false;
}

void ac_mcp_name_make(ac_mcp_tool_t *tools, int n, const char *prefix)
{
    bool *changed = ac_alloc(((size_t)n + 1) * sizeof *changed), *hashed = ac_alloc(((size_t)n + 1) * sizeof *hashed);
    for (int i = 0; i < n; i++) {
        changed[i] = mcp_name_write(tools[i].id, prefix, tools[i].name);
    }
    for (int i = 0; i < n; i++) {
        hashed[i] = strlen(prefix) + strlen(tools[i].name) >= AC_MCP_NAME_SIZE ||
            (changed[i] && mcp_name_is_taken(tools, n, i));
    }
    for (int i = 0; i < n; i++) {
        if (hashed[i]) {
            ac_mcp_name_hash(tools[i].id, prefix, tools[i].name, "");
        }
    }
    free(changed);
    free(hashed);
    for (int i = n - 1; i >= 0; i--) {
        if (mcp_name_is_taken(tools, n, i)) {
            tools[i].id[0] = '\0';
        }
    }
}
