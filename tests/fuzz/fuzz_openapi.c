/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAPI documents, JSON and YAML: any text gives operations with schemas that models accept, or an error. The request
 * of a call with values that have a meaning in URLs and headers stays one of its operation. */
#include <stdlib.h>
#include <string.h>

#include "fuzz_pool.h"
#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* For each argument the same text, whatever its type. */
static json_t *arguments_of(const ac_openapi_operation_t *operation)
{
    json_t *arguments = json_object(), *value;
    const char *name;
    json_object_foreach(json_object_get(operation->schema, "properties"), name, value)
    {
        const char *type = ac_json_peek_string(value, "type", "");
        json_t *text = json_string("../a b?c=d&e#f\r\nX: y;z");
        bool list = strcmp(type, "array") == 0;
        json_object_set_new(arguments, name, list ? json_pack("[o, s]", text, "b") : json_pack("o", text));
    }
    return arguments;
}

static void check_request(const ac_openapi_operation_t *operation)
{
    static const char *const texts[AC_MAX_OPENAPI_KEYS] = {"k1", "k2", "k3", "k4"};
    json_t *arguments = arguments_of(operation);
    ac_openapi_request_t request;
    ac_err_t err;
    ac_err_init(&err);
    bool made = ac_openapi_request_make(&request, operation, arguments, texts, &err) == APR_SUCCESS;
    must(made == (err.kind == AC_OK));
    for (int i = 0; made && i < request.n_lines; i++) {
        must(!strpbrk(request.headers[i], "\r\n"));
    }
    must(!made || strncmp(request.url.data, operation->server, strlen(operation->server)) == 0);
    must(!made || !strpbrk(request.url.data, " #\r\n"));
    ac_openapi_request_free(&request);
    json_decref(arguments);
}

static void on_operation(void *baton, const ac_openapi_place_t *place)
{
    static const char *const schemes[] = {"*", "a", "b"};
    const ac_openapi_rules_t rules = {.document = baton,
                                      .url = "https://api.example/v1/",
                                      .schemes = schemes,
                                      .n_schemes = 3};
    apr_pool_t *p = fuzz_pool();
    ac_openapi_operation_t operation;
    ac_err_t err;
    ac_err_init(&err);
    bool made = ac_openapi_operation_make(&operation, place, &rules, &err) == APR_SUCCESS;
    must(made == (err.kind == AC_OK));
    if (made) {
        must(!ac_schema_problem(operation.schema, p) && !ac_json_is_deeper(operation.schema, AC_MAX_JSON_DEPTH));
        check_request(&operation);
        ac_openapi_operation_free(&operation);
    }
    apr_pool_destroy(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *document;
    ac_err_t err;
    ac_err_init(&err);
    bool read = ac_openapi_document_read(&document, (const char *)data, size, &err) == APR_SUCCESS;
    must(read == (document != NULL) && read == (err.kind == AC_OK));
    if (read) {
        ac_openapi_document_each(document, on_operation, document);
        json_decref(document);
    }
    return 0;
}
