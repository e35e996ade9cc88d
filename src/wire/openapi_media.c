/* SPDX-License-Identifier: Apache-2.0 */
/* Media types of requests and answers. */
#include "openapi_internal.h"

#include <string.h>
#include <strings.h>

#define MAX_ACCEPT 512
#define ANY_TEXT "application/json, text/*;q=0.9, */*;q=0.1"

static size_t media_length(const char *type)
{
    return strcspn(type, "; \t");
}

bool ac_openapi_media_is(const char *type, const char *name)
{
    size_t len = media_length(type);
    return len == strlen(name) && strncasecmp(type, name, len) == 0;
}

static bool media_ends(const char *type, const char *end)
{
    size_t len = media_length(type), end_len = strlen(end);
    return len > end_len && strncasecmp(type + len - end_len, end, end_len) == 0;
}

bool ac_openapi_media_is_json(const char *type)
{
    return ac_openapi_media_is(type, "application/json") || media_ends(type, "+json") || media_ends(type, "/json");
}

static bool media_is_text(const char *type)
{
    static const char *const names[] = {"*/*",
                                        "application/*",
                                        "application/xml",
                                        "application/yaml",
                                        "application/x-yaml",
                                        "application/x-ndjson",
                                        "application/jsonl",
                                        "application/javascript",
                                        "application/x-www-form-urlencoded"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (ac_openapi_media_is(type, names[i])) {
            return true;
        }
    }
    return strncasecmp(type, "text/", 5) == 0 || media_ends(type, "+xml") || ac_openapi_media_is_json(type);
}

/* A type of a document goes into a header: it has none of the characters that end one. */
static bool media_is_sendable(const char *type)
{
    size_t len = strlen(type);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)type[i] < 0x20 || (unsigned char)type[i] > 0x7e || type[i] == ',') {
            return false;
        }
    }
    return len > 0 && len < 128;
}

typedef struct answers_t {
    ac_buf_t json, others;
    bool any, usable;
} answers_t;

static void take_answer(answers_t *answers, const json_t *content)
{
    const char *type;
    json_t *value;
    json_object_foreach((json_t *)content, type, value)
    {
        answers->any = true;
        if (!media_is_text(type) || !media_is_sendable(type)) {
            continue;
        }
        answers->usable = true;
        ac_buf_t *list = ac_openapi_media_is_json(type) ? &answers->json : &answers->others;
        if (!strchr(type, '*') && !(list->data && strstr(list->data, type))) {
            ac_buf_printf(list, "%s%s", list->len ? ", " : "", type);
        }
    }
}

/* JSON first: the result keeps its structure then. */
char *ac_openapi_media_accept(const json_t *document, const json_t *operation)
{
    answers_t answers = {.any = false};
    const char *code;
    json_t *value;
    ac_buf_init(&answers.json, MAX_ACCEPT);
    ac_buf_init(&answers.others, MAX_ACCEPT);
    json_object_foreach(json_object_get(operation, "responses"), code, value)
    {
        const json_t *response = ac_openapi_document_follow(document, value);
        if (code[0] == '2') {
            take_answer(&answers, json_object_get(response, "content"));
        }
    }
    const ac_buf_t *list = answers.json.len ? &answers.json : &answers.others;
    char *accept = answers.any && !answers.usable ? NULL : strdup(list->len ? list->data : ANY_TEXT);
    ac_buf_free(&answers.json);
    ac_buf_free(&answers.others);
    return accept;
}
