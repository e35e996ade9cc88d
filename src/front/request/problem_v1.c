/* SPDX-License-Identifier: Apache-2.0 */
/* Errors in the form of OpenAI's API. Its clients choose a class by the HTTP status, show `message`, and send a request
 * again after 408, 409, 429 and 5xx, twice, unless x-should-retry forbids it. */
#include "request_internal.h"

#include <string.h>

#include "apr_lib.h"

bool ac_problem_v1_is(const request_rec *r)
{
    static const char *const prefixes[] = {"/v1/", "/openai/", NULL};
    const char *mount = ac_config_mount_prefix(r), *path = r->uri ? r->uri : "";
    size_t len = mount ? strlen(mount) : 0;
    path += strncmp(path, mount ? mount : "", len) == 0 ? len : 0;
    for (int i = 0; prefixes[i]; i++) {
        if (strncmp(path, prefixes[i], strlen(prefixes[i])) == 0) {
            return true;
        }
    }
    return false;
}

typedef struct name_t { /* where OpenAI has a code of its own for a kind */
    ac_kind_e kind;
    const char *code;
} name_t;
static const name_t names[] = {
    {AC_UNAUTHENTICATED, "invalid_api_key"},
    {AC_RATE_LIMITED, "rate_limit_exceeded"},
    {AC_BUDGET_EXCEEDED, "insufficient_quota"},
    {AC_CONTENT_FILTERED, "content_filter"},
};

static const char *problem_v1_code(const ac_err_t *err)
{
    if (err->kind == AC_NOT_FOUND && strcmp(err->pointer, "/model") == 0) {
        return "model_not_found";
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (names[i].kind == err->kind) {
            return names[i].code;
        }
    }
    return ac_err_row(err->kind)->code;
}

static const char *problem_v1_type(int status)
{
    switch (status) {
    case HTTP_UNAUTHORIZED: return "authentication_error";
    case HTTP_FORBIDDEN: return "permission_error";
    case HTTP_NOT_FOUND: return "not_found_error";
    case HTTP_TOO_MANY_REQUESTS: return "rate_limit_error";
    default: return status < 500 ? "invalid_request_error" : "server_error";
    }
}

/* "/messages/0/content" becomes messages[0].content. */
static json_t *problem_v1_param(const char *pointer)
{
    ac_buf_t text;
    ac_buf_init(&text, AC_ERR_POINTER_SIZE * 2);
    for (const char *part = pointer; *part == '/';) {
        size_t len = strcspn(++part, "/");
        bool number = len && strspn(part, "0123456789") == len;
        ac_buf_printf(&text, number ? "[%.*s]" : text.len ? ".%.*s" : "%.*s", (int)len, part);
        part += len;
    }
    json_t *param = text.len ? ac_json_text(text.data) : json_null();
    ac_buf_free(&text);
    return param;
}

json_t *ac_problem_v1_json(const ac_err_t *err)
{
    const ac_err_row_t *row = ac_err_row(err->kind);
    json_t *inner = json_object(), *error = json_object();
    ac_json_put(inner, "message", ac_json_text(err->detail[0] ? err->detail : row->title));
    ac_json_put(inner, "type", json_string(problem_v1_type(row->http)));
    ac_json_put(inner, "param", problem_v1_param(err->pointer));
    ac_json_put(inner, "code", json_string(problem_v1_code(err)));
    ac_json_put(error, "error", inner);
    return error;
}

void ac_problem_v1_headers(request_rec *r, const ac_err_t *err, bool started)
{
    const ac_err_row_t *row = ac_err_row(err->kind);
    bool again = row->retry && !started && err->kind != AC_RUN_IN_PROGRESS && err->kind != AC_BUDGET_EXCEEDED;
    ap_set_content_type(r, "application/json");
    if (!again && (row->http == HTTP_CONFLICT || row->http == HTTP_TOO_MANY_REQUESTS || row->http >= 500)) {
        apr_table_setn(r->headers_out, "x-should-retry", "false");
    }
}
