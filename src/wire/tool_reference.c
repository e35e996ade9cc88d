/* SPDX-License-Identifier: Apache-2.0 */
/* References within a document, as schemas have them. */
#include "wire/tool.h"

/* The next name of a pointer in a URL: with escapes of both. */
static const char *take_name(char name[256], const char *at)
{
    size_t len = 0;
    for (at++; *at && *at != '/' && len < 255; at++) {
        int high = *at == '%' ? ac_hex_value(at[1]) : -1, low = high >= 0 ? ac_hex_value(at[2]) : -1;
        bool escaped = *at == '~' && (at[1] == '0' || at[1] == '1');
        at += escaped ? 1 : low >= 0 ? 2 : 0;
        name[len++] = low >= 0 ? (char)(high * 16 + low) : !escaped ? *at : *at == '1' ? '/' : '~';
    }
    name[len] = '\0';
    return at;
}

const json_t *ac_tool_reference_find(const json_t *root, const char *reference)
{
    const json_t *at = root;
    if (*reference++ != '#') {
        return NULL;
    }
    while (at && *reference == '/') {
        char name[256];
        reference = take_name(name, reference);
        at = json_is_array(at) ? json_array_get(at, (size_t)strtoul(name, NULL, 10)) : json_object_get(at, name);
    }
    return *reference ? NULL : at;
}
