/* SPDX-License-Identifier: Apache-2.0 */
/* JSON in tests of MCP, written with ' in place of ". */
#ifndef MCP_JSON_H
#define MCP_JSON_H

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static inline char *quoted(const char *text)
{
    char *copy = strdup(text);
    for (char *at = copy; *at; at++) {
        *at = *at == '\'' ? '"' : *at;
    }
    return copy;
}

static inline json_t *load(const char *text)
{
    char *copy = quoted(text);
    json_t *value = json_loads(copy, JSON_DECODE_ANY, NULL);
    if (!value) {
        fail_msg("the test's own JSON is wrong: %s", copy);
    }
    free(copy);
    return value;
}

/* Consumes value. */
static inline void assert_json(json_t *value, const char *expected)
{
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    json_t *wanted = load(expected);
    if (!json_equal(value, wanted)) {
        fail_msg("%s and not %s", text ? text : "nothing", expected);
    }
    json_decref(wanted);
    json_decref(value);
    free(text);
}

#endif
