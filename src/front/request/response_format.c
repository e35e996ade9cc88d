/* SPDX-License-Identifier: Apache-2.0 */
/* The form that a request wants the answer in: `response_format`, or `text.format` of the Responses API. */
#include "request_internal.h"

#include <string.h>

/* Puts the schema into the form of chat completions, whichever of both forms it came in. */
static apr_status_t read_schema(json_t **pformat, ac_request_t *rq, const json_t *value, const char *pointer)
{
    const json_t *nested = json_object_get(value, "json_schema"), *given = json_is_object(nested) ? nested : value;
    json_t *schema = json_object_get(given, "schema"), *strict = json_object_get(given, "strict");
    const char *problem = schema ? ac_schema_problem(schema, rq->r->pool) : "a schema is missing";
    if (problem) {
        return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, pointer, "%s", problem);
    }
    *pformat = json_pack("{s:s, s:{s:s, s:o}}", "type", "json_schema", "json_schema", "name",
                         ac_json_peek_string(given, "name", "answer"), "schema", json_deep_copy(schema));
    if (json_is_boolean(strict)) {
        ac_json_put(json_object_get(*pformat, "json_schema"), "strict", json_incref(strict));
    }
    return APR_SUCCESS;
}

apr_status_t ac_response_format_read(json_t **pformat, ac_request_t *rq)
{
    const json_t *value = json_object_get(rq->body, "response_format");
    const char *pointer = value ? "/response_format" : "/text/format";
    value = value ? value : json_object_get(json_object_get(rq->body, "text"), "format");
    const char *type = ac_json_peek_string(value, "type", NULL);
    *pformat = NULL;
    if (!value || json_is_null(value)) {
        return APR_SUCCESS;
    }
    if (type && strcmp(type, "json_schema") == 0) {
        return read_schema(pformat, rq, value, pointer);
    }
    if (!type || (strcmp(type, "json_object") != 0 && strcmp(type, "text") != 0)) {
        return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, pointer,
                             "the type of the format must be text, json_object or json_schema");
    }
    *pformat = json_pack("{s:s}", "type", type);
    return APR_SUCCESS;
}
