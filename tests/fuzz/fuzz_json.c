/* SPDX-License-Identifier: Apache-2.0 */
/* A request's body: parsed, read by the typed getters, checked against a schema, written and parsed again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const json_t *body)
{
    static const char *const names[] = {"content", "stream", "metadata", "limit", NULL};
    const char *text = NULL;
    bool flag = false;
    int64_t number = 0;
    ac_err_t err;
    ac_err_init(&err);
    ac_json_only(body, names, &err);
    if (ac_json_string(&text, body, "content", true, &err) == APR_SUCCESS && text) {
        json_decref(ac_record_title(text));
    }
    ac_json_bool(&flag, body, "stream", true, &err);
    ac_json_int(&number, body, "limit", 20, &err);
    ac_record_check_metadata(json_object_get(body, "metadata"), &err);
    if (err.detail[0] && !ac_utf8_valid(err.detail, strlen(err.detail))) {
        abort();
    }
    if (err.pointer[0] && !ac_utf8_valid(err.pointer, strlen(err.pointer))) {
        abort();
    }
    ac_schema_check(json_object_get(body, "schema"), json_object_get(body, "value"), NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *body = NULL, *again = NULL;
    ac_err_t err;
    ac_err_init(&err);
    if (ac_json_parse(&body, (const char *)data, size, &err) != APR_SUCCESS) {
        if (body || err.kind != AC_BAD_JSON || !err.detail[0]) {
            abort();
        }
        return 0;
    }
    if (json_is_object(body)) {
        use(body);
    }
    size_t len = 0;
    char *text = ac_json_dump(body, &len);
    if (text && (ac_json_parse(&again, text, len, NULL) != APR_SUCCESS || !json_equal(body, again))) {
        abort();
    }
    free(text);
    json_decref(again);
    json_decref(body);
    return 0;
}
