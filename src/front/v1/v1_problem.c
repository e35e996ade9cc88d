/* SPDX-License-Identifier: Apache-2.0 */
/* Errors in the form of OpenAI's API. Its clients choose a class by the HTTP status, show `message`, and send a request
 * again after 408, 409, 429 and 5xx, twice, unless x-should-retry forbids it. */
#include "v1_internal.h"

#include <string.h>

#include "apr_lib.h"

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

static const char *v1_problem_code(const ac_err_t *err)
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

static const char *v1_problem_type(int status)
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
static json_t *v1_problem_param(const char *pointer)
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

json_t *ac_v1_problem_json(const ac_err_t *err, const char *request_id, const void *view)
{
    const ac_err_row_t *row = ac_err_row(err->kind);
    json_t *inner = json_object(), *error = json_object();
    (void)request_id; /* clients read it from X-Request-Id */
    (void)view;
    ac_json_put(inner, "message", ac_json_text(err->detail[0] ? err->detail : row->title));
    ac_json_put(inner, "type", json_string(v1_problem_type(row->http)));
    ac_json_put(inner, "param", v1_problem_param(err->pointer));
    ac_json_put(inner, "code", json_string(v1_problem_code(err)));
    ac_json_put(error, "error", inner);
    return error;
}

static void v1_problem_headers(request_rec *r, const ac_err_t *err, bool started)
{
    const ac_err_row_t *row = ac_err_row(err->kind);
    bool again = row->retry && !started && err->kind != AC_RUN_IN_PROGRESS && err->kind != AC_BUDGET_EXCEEDED;
    if (!again && (row->http == HTTP_CONFLICT || row->http == HTTP_TOO_MANY_REQUESTS || row->http >= 500)) {
        apr_table_setn(r->headers_out, "x-should-retry", "false");
    }
}

static bool v1_is_on(const ac_mount_conf_t *mount)
{
    return mount->openai.on;
}

static ac_protocol_e v1_id(const char *pattern)
{
    bool chat = strstr(pattern, "/chat/completions") || strncmp(pattern, "/v1/models", sizeof("/v1/models") - 1) == 0;
    return chat ? AC_PROTOCOL_CHAT_COMPLETIONS : AC_PROTOCOL_RESPONSES;
}

static const char *const v1_prefixes[] = {"/v1", "/openai", NULL};
/* Clients send Accept: application/json with a request for a stream. */
const ac_protocol_t ac_v1_protocol = {.id = v1_id,
                                      .title = "OpenAI's API",
                                      .prefixes = v1_prefixes,
                                      .is_on = v1_is_on,
                                      .any_accept = true,
                                      .problem_type = "application/json",
                                      .problem = ac_v1_problem_json,
                                      .problem_headers = v1_problem_headers};
