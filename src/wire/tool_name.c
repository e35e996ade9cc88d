/* SPDX-License-Identifier: Apache-2.0 */
/* Names of tools as models accept them. */
#include "wire/tool.h"

#include <apr_lib.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#define HASH_DIGITS 8

/* Writes prefix and name, as far as they fit. Returns whether a character had to be replaced. */
static bool tool_name_write(char id[AC_TOOL_NAME_SIZE], const char *prefix, const char *name)
{
    bool replaced = false;
    snprintf(id, AC_TOOL_NAME_SIZE, "%s%s", prefix, name);
    for (char *at = id; *at; at++) {
        if (!apr_isalnum(*at) && *at != '_' && *at != '-') {
            *at = '_';
            replaced = true;
        }
    }
    return replaced;
}

void ac_tool_name_hash(char id[AC_TOOL_NAME_SIZE], const char *prefix, const char *name, const char *salt)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    char digits[HASH_DIGITS + 1];
    ac_buf_t text;
    ac_buf_init(&text, 4096);
    ac_buf_printf(&text, "%s\n%s", salt, name);
    SHA256((const unsigned char *)(text.data ? text.data : ""), text.len, digest);
    ac_buf_free(&text);
    ac_text_hex(digits, digest, HASH_DIGITS / 2);
    tool_name_write(id, prefix, name);
    size_t len = strlen(id), most = AC_TOOL_NAME_SIZE - 2 - HASH_DIGITS;
    len = len < most ? len : most;
    snprintf(id + len, AC_TOOL_NAME_SIZE - len, "_%s", digits);
}

static bool tool_name_is_taken(const ac_tool_name_t *names, int n, int own)
{
    for (int i = 0; i < n; i++) {
        if (i != own && strcmp(names[i].id, names[own].id) == 0) {
            return true;
        }
    }
    return false;
}

void ac_tool_name_make(ac_tool_name_t *names, int n, const char *prefix)
{
    bool *changed = ac_alloc(((size_t)n + 1) * sizeof *changed), *hashed = ac_alloc(((size_t)n + 1) * sizeof *hashed);
    for (int i = 0; i < n; i++) {
        changed[i] = tool_name_write(names[i].id, prefix, names[i].name);
    }
    for (int i = 0; i < n; i++) {
        hashed[i] = strlen(prefix) + strlen(names[i].name) >= AC_TOOL_NAME_SIZE ||
            (changed[i] && tool_name_is_taken(names, n, i));
    }
    for (int i = 0; i < n; i++) {
        if (hashed[i]) {
            ac_tool_name_hash(names[i].id, prefix, names[i].name, "");
        }
    }
    free(changed);
    free(hashed);
    for (int i = n - 1; i >= 0; i--) {
        if (tool_name_is_taken(names, n, i)) {
            names[i].id[0] = '\0';
        }
    }
}
