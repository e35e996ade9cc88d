/* SPDX-License-Identifier: Apache-2.0 */
/* An OpenAPI document: reading it, following its references, finding its operations. */
#include "openapi_internal.h"

#include <string.h>

#define MAX_REFERENCES 16 /* one after the other */

static json_t *document_read_json(const char *text, size_t len, ac_err_t *err)
{
    json_error_t error;
    json_t *value = json_loadb(text, len, 0, &error);
    if (value && ac_json_is_deeper(value, AC_MAX_YAML_DEPTH)) {
        json_decref(value);
        ac_err_set(err, AC_BAD_JSON, "the values are nested too deeply");
        return NULL;
    }
    if (!value) {
        ac_err_set(err, AC_BAD_JSON, "line %d: %s", error.line, error.text);
    }
    return value;
}

static apr_status_t document_check_version(const json_t *document, ac_err_t *err)
{
    const char *version = ac_json_peek_string(document, "openapi", "");
    if (json_object_get(document, "swagger")) {
        return ac_err_set(err, AC_INVALID_REQUEST, "it is of Swagger 2.0; convert it to OpenAPI 3");
    }
    if (strncmp(version, "3.", 2) != 0) {
        return ac_err_set(err, AC_INVALID_REQUEST, "it is not an OpenAPI document of version 3");
    }
    return json_is_object(json_object_get(document, "paths")) ? APR_SUCCESS
                                                              : ac_err_set(err, AC_INVALID_REQUEST, "it has no paths");
}

apr_status_t ac_openapi_document_read(json_t **pdocument, const char *text, size_t len, ac_err_t *err)
{
    static const char mark[] = "\xef\xbb\xbf";
    json_t *document = NULL;
    *pdocument = NULL;
    if (len >= 3 && memcmp(text, mark, 3) == 0) {
        text += 3;
        len -= 3;
    }
    size_t blank = 0;
    while (blank < len && strchr(" \t\r\n", text[blank]) && text[blank]) {
        blank++;
    }
    if (blank < len && text[blank] == '{') {
        document = document_read_json(text, len, err);
    } else {
        ac_yaml_parse(&document, text, len, err);
    }
    if (!document) {
        return ac_err_row(AC_BAD_JSON)->status;
    }
    apr_status_t status = document_check_version(document, err);
    if (status != APR_SUCCESS) {
        json_decref(document);
        return status;
    }
    *pdocument = document;
    return APR_SUCCESS;
}

const json_t *ac_openapi_document_follow(const json_t *document, const json_t *value)
{
    for (int i = 0; i < MAX_REFERENCES; i++) {
        const char *reference = ac_json_peek_string(value, "$ref", NULL);
        if (!reference) {
            return value;
        }
        value = ac_tool_reference_find(document, reference);
    }
    return NULL;
}

void ac_openapi_document_each(const json_t *document, void (*fn)(void *baton, const ac_openapi_place_t *place),
                              void *baton)
{
    static const struct {
        const char *name, *method;
    } methods[] = {{"get", "GET"},         {"put", "PUT"},   {"post", "POST"},  {"delete", "DELETE"},
                   {"options", "OPTIONS"}, {"head", "HEAD"}, {"patch", "PATCH"}};
    const char *path;
    json_t *value;
    json_object_foreach(json_object_get(document, "paths"), path, value)
    {
        const json_t *item = ac_openapi_document_follow(document, value);
        for (size_t i = 0; *path == '/' && i < sizeof methods / sizeof methods[0]; i++) {
            const json_t *operation = json_object_get(item, methods[i].name);
            const char *id = ac_json_peek_string(operation, "operationId", "");
            ac_openapi_place_t place = {methods[i].method, path, id, item, operation};
            if (json_is_object(operation)) {
                fn(baton, &place);
            }
        }
    }
}
