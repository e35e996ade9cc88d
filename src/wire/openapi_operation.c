/* SPDX-License-Identifier: Apache-2.0 */
/* An operation as a tool: everything that a call needs, so that the document can go. */
#include "openapi_internal.h"

#include <string.h>

#define MAX_DESCRIPTION 1024
#define MAX_NAME 256

/* ---- the schema of the arguments ---- */

/* Forms of a schema from the whole one to the least that still names each argument; the first that is short enough is
 * taken, so a large body costs the model only as much as AC_MAX_OPENAPI_SCHEMA. */
static const struct {
    int depth;
    size_t text;
} forms[] = {{AC_TOOL_SCHEMA_DEPTH, 2048},
             {AC_TOOL_SCHEMA_DEPTH, 400},
             {8, 300},
             {6, 200},
             {5, 160},
             {4, 160},
             {3, 160},
             {3, 80},
             {2, 80},
             {2, 0}};

static bool is_short(const json_t *schema)
{
    size_t len = 0;
    char *text = schema ? ac_json_dump(schema, &len) : NULL;
    free(text);
    return text && len <= AC_MAX_OPENAPI_SCHEMA;
}

static json_t *reduce(const json_t *given, const json_t *document)
{
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        const ac_tool_schema_t as = {document, forms[i].depth, forms[i].text};
        json_t *made = ac_tool_schema_make(given, &as);
        if (is_short(made)) {
            return made;
        }
        json_decref(made);
    }
    return NULL;
}

static apr_status_t make_schema(ac_openapi_operation_t *operation, const ac_openapi_place_t *place,
                                const ac_openapi_rules_t *rules, ac_err_t *err)
{
    json_t *given =
        json_pack("{s:s, s:{}, s:[], s:b}", "type", "object", "properties", "required", "additionalProperties", 0);
    operation->parts = json_array();
    apr_status_t status = ac_openapi_parameter_read(operation->parts, given, place, rules, err);
    if (status == APR_SUCCESS) {
        status = ac_openapi_body_read(operation, given, place, rules, err);
    }
    operation->schema = status == APR_SUCCESS ? reduce(given, rules->document) : NULL;
    json_decref(given);
    return status == APR_SUCCESS && !operation->schema
        ? ac_err_set(err, AC_INVALID_REQUEST, "the schema of its arguments is longer than %d bytes, however reduced",
                     AC_MAX_OPENAPI_SCHEMA)
        : status;
}

/* ---- texts ---- */

static char *make_description(const ac_openapi_place_t *place)
{
    const char *summary = ac_json_peek_string(place->operation, "summary", "");
    const char *text = ac_json_peek_string(place->operation, "description", "");
    ac_buf_t buf;
    ac_buf_init(&buf, 2 * MAX_DESCRIPTION + 16);
    ac_tool_text_add(&buf, summary, MAX_DESCRIPTION);
    if (*text && strcmp(text, summary) != 0) {
        ac_buf_str(&buf, buf.len ? "\n" : "");
        ac_tool_text_add(&buf, text, MAX_DESCRIPTION);
    }
    if (!buf.len) {
        ac_buf_printf(&buf, "%s %s", place->method, ac_text_printable((char[64]){0}, place->path));
    }
    return buf.data;
}

static char *make_name(const ac_openapi_place_t *place)
{
    ac_buf_t buf;
    ac_buf_init(&buf, 2 * MAX_NAME);
    if (*place->id && strlen(place->id) <= MAX_NAME) {
        return strdup(place->id);
    }
    ac_buf_printf(&buf, "%s %.*s", place->method, MAX_NAME, place->path);
    return buf.data;
}

/* ---- the path ---- */

static bool operation_has_part(const json_t *parts, const char *name, size_t len)
{
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *part = json_array_get(parts, i);
        const char *own = ac_json_peek_string(part, "name", "");
        if (strcmp(ac_openapi_parameter_in(part), "path") == 0 && strlen(own) == len && memcmp(own, name, len) == 0) {
            return true;
        }
    }
    return false;
}

/* Of "/a/{b}#c" the part that is sent: what follows '#' only tells operations apart. */
static apr_status_t set_path(ac_openapi_operation_t *operation, const char *path, ac_err_t *err)
{
    size_t len = strcspn(path, "#");
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)path[i];
        const char *end = c == '{' ? strchr(path + i, '}') : NULL;
        if (c == '{' && (!end || !operation_has_part(operation->parts, path + i + 1, (size_t)(end - path) - i - 1))) {
            return ac_err_set(err, AC_INVALID_REQUEST, "a part of its path in braces is no parameter");
        }
        if (c <= ' ' || c > 0x7e || strchr("\"<>\\^`|", c)) {
            return ac_err_set(err, AC_INVALID_REQUEST, "its path has characters that no path may have");
        }
    }
    operation->path = strndup(path, len);
    return operation->path ? APR_SUCCESS : ac_err_set(err, AC_OVERLOADED, "memory ran out");
}

/* ---- the operation ---- */

apr_status_t ac_openapi_operation_make(ac_openapi_operation_t *operation, const ac_openapi_place_t *place,
                                       const ac_openapi_rules_t *rules, ac_err_t *err)
{
    memset(operation, 0, sizeof *operation);
    operation->method = place->method;
    operation->name = make_name(place);
    operation->description = make_description(place);
    operation->accept = ac_openapi_media_accept(rules->document, place->operation);
    apr_status_t status = operation->accept ? make_schema(operation, place, rules, err)
                                            : ac_err_set(err, AC_INVALID_REQUEST, "its answers are not text");
    if (status == APR_SUCCESS) {
        status = set_path(operation, place->path, err);
    }
    if (status == APR_SUCCESS) {
        status = ac_openapi_server_find(&operation->server, place, rules, err);
    }
    if (status == APR_SUCCESS) {
        status = ac_openapi_security_read(operation, place, rules, err);
    }
    if (status != APR_SUCCESS) {
        ac_openapi_operation_free(operation);
    }
    return status;
}

void ac_openapi_operation_free(ac_openapi_operation_t *operation)
{
    free(operation->name);
    free(operation->server);
    free(operation->path);
    free(operation->description);
    free(operation->body_type);
    free(operation->accept);
    json_decref(operation->schema);
    json_decref(operation->parts);
    json_decref(operation->encodings);
    for (int i = 0; i < operation->n_keys; i++) {
        free(operation->keys[i].name);
    }
    memset(operation, 0, sizeof *operation);
}
