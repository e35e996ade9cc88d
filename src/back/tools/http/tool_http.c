/* SPDX-License-Identifier: Apache-2.0 */
/* The tool "http": sends a request made from a configured template and the model's arguments; the response is the
 * result. */
#include "tool_http.h"

#include "back/credential/credential.h"

#include <string.h>

#define WHO "the service"
#define MAX_REDIRECTS 3
#define MAX_URL (16 * 1024)
#define MAX_HEADER (16 * 1024)

/* The parts of a request. */
typedef struct parts_t {
    ac_buf_t url, body, *lines;
    const char **headers;
    int n_lines;
} parts_t;

typedef struct call_t {
    const ac_tool_http_t *tool;
    ac_tool_answer_t answer;
    parts_t parts;
    apr_time_t deadline;
    bool waits, renewed;        /* for the credential; after a 401, only once */
    char *token;                /* as sent; NULL: none */
    apr_pool_t *pool;           /* of mask */
    const ac_tool_mask_t *mask; /* of the token; NULL: the tool's own mask has it */
    ac_err_t err;
    ac_http_t *http;
    void (*done)(void *baton, apr_status_t status, json_t *result, const ac_err_t *err);
    void *baton;
    ac_trace_t trace; /* a copy */
} call_t;

static void tool_http_on_credential(void *baton, apr_status_t status, const char *text, const ac_err_t *err);

static const char *http_create(void **pself, const ac_tool_conf_t *conf, apr_pool_t *p)
{
    ac_tool_http_t *tool = *pself = apr_pcalloc(p, sizeof(*tool));
    tool->conf = conf;
    return ac_tool_http_config_read(tool, p);
}

static apr_status_t http_child_init(void *self, const ac_host_t *host, ac_err_t *err)
{
    ac_tool_http_t *tool = self;
    tool->loop = host->loop;
    return tool->conf->auth ? ac_credential_child_init(tool->conf->auth, host, err) : APR_SUCCESS;
}

/* ---- the end ---- */

static void parts_free(parts_t *parts)
{
    ac_buf_free(&parts->url);
    if (parts->body.data) {
        explicit_bzero(parts->body.data, parts->body.len);
    }
    ac_buf_free(&parts->body);
    for (int i = 0; i < parts->n_lines; i++) {
        if (parts->lines[i].data) {
            explicit_bzero(parts->lines[i].data, parts->lines[i].len);
        }
        ac_buf_free(&parts->lines[i]);
    }
    free(parts->lines);
    free(parts->headers);
}

static void tool_http_forget_token(call_t *call)
{
    if (call->token) {
        explicit_bzero(call->token, strlen(call->token));
        free(call->token);
    }
    if (call->pool) {
        apr_pool_destroy(call->pool);
    }
    call->token = NULL;
    call->pool = NULL;
    call->mask = NULL;
}

static void tool_http_call_free(call_t *call)
{
    const ac_tool_http_t *tool = call->tool;
    if (call->waits) {
        ac_credential_forget(tool->conf->auth, tool_http_on_credential, call);
    }
    parts_free(&call->parts);
    tool_http_forget_token(call);
    ac_tool_answer_free(&call->answer);
    ac_trace_clear(&call->trace);
    free(call);
}

/* Consumes result. */
static void tool_http_call_end(call_t *call, apr_status_t status, json_t *result, ac_err_t *err)
{
    ac_tool_mask_text(call->tool->rules.mask, err->detail, strlen(err->detail), false);
    if (call->mask) {
        ac_tool_mask_text(call->mask, err->detail, strlen(err->detail), false);
        result = result ? ac_tool_mask_json(call->mask, result) : NULL;
    }
    call->done(call->baton, status, result, err);
    tool_http_call_free(call);
}

/* ---- the response ---- */

static void tool_http_on_head(void *baton, const ac_http_head_t *head)
{
    call_t *call = baton;
    ac_tool_answer_head(&call->answer, head->status, head->content_type);
}

static bool tool_http_on_body(void *baton, const char *bytes, size_t len)
{
    call_t *call = baton;
    return ac_tool_answer_body(&call->answer, bytes, len);
}

/* Some services repeat what was sent, as in "the key … is not valid". */
static apr_status_t tool_http_refused(ac_err_t *err, const call_t *call, const char *body, size_t len)
{
    char *text = body ? memcpy(ac_alloc(len + 1), body, len) : NULL;
    ac_tool_mask_text(call->tool->rules.mask, text, len, false);
    if (call->mask) {
        ac_tool_mask_text(call->mask, text, len, false);
    }
    apr_status_t status = ac_tool_support_answer_refused(err, WHO, call->answer.status, call->answer.type, text, len);
    free(text);
    return status;
}

/* The service does not accept the token any more: asks once more with another one. */
static bool tool_http_renew(call_t *call)
{
    const ac_tool_http_t *tool = call->tool;
    if (!call->token || call->renewed || call->answer.status != 401) {
        return false;
    }
    call->renewed = true;
    ac_credential_reject(tool->conf->auth, tool->scope, call->token);
    tool_http_forget_token(call);
    ac_tool_answer_free(&call->answer);
    ac_tool_answer_init(&call->answer, &tool->rules);
    call->waits = true;
    ac_credential_get(tool->conf->auth, tool->scope, tool_http_on_credential, call);
    return true;
}

static void tool_http_on_end(void *baton, apr_status_t status, const ac_err_t *cause, const char *error_body,
                             size_t len)
{
    call_t *call = baton;
    json_t *result = NULL;
    ac_err_t err;
    ac_err_init(&err);
    call->http = NULL;
    if (status == APR_SUCCESS && tool_http_renew(call)) {
        return;
    }
    if (status != APR_SUCCESS) {
        status = ac_tool_support_exchange_failed(&err, WHO, cause);
    } else if (call->answer.status < 200 || call->answer.status > 299) {
        status = tool_http_refused(&err, call, error_body, len);
    } else {
        status = ac_tool_answer_result(&result, &call->answer, &err);
    }
    tool_http_call_end(call, status, result, &err);
}

/* ---- the request ---- */

static apr_status_t tool_http_too_long(ac_err_t *err)
{
    return ac_err_set(err, AC_TOOL_ERROR, "the arguments are too long for a request");
}

static apr_status_t tool_http_fill_header(ac_buf_t *line, const ac_tool_header_t *header, const json_t *arguments,
                                          ac_err_t *err)
{
    ac_buf_printf(line, "%s: ", header->name);
    apr_status_t status = ac_template_header(line, header->value, header->secret.value, arguments, err);
    return status == APR_SUCCESS && line->failed ? tool_http_too_long(err) : status;
}

static void tool_http_add_line(parts_t *parts, const char *text)
{
    ac_buf_t *line = &parts->lines[parts->n_lines++];
    ac_buf_init(line, MAX_HEADER);
    ac_buf_str(line, text);
}

static apr_status_t make_headers(parts_t *parts, const ac_tool_http_t *tool, const json_t *arguments, ac_err_t *err)
{
    const apr_array_header_t *headers = tool->conf->headers;
    size_t n_headers = headers ? (size_t)headers->nelts : 0;
    apr_status_t status = APR_SUCCESS;
    parts->lines = ac_alloc((n_headers + 3) * sizeof(parts->lines[0]));
    parts->headers = ac_alloc((n_headers + 4) * sizeof(parts->headers[0]));
    if (!tool->has_accept) {
        tool_http_add_line(parts, "Accept: application/json, text/*;q=0.9, */*;q=0.1");
    }
    if (parts->body.len && !tool->has_type) {
        tool_http_add_line(parts, "Content-Type: application/json");
    }
    for (size_t i = 0; i < n_headers && status == APR_SUCCESS; i++) {
        ac_buf_t *line = &parts->lines[parts->n_lines++];
        ac_buf_init(line, MAX_HEADER);
        status = tool_http_fill_header(line, &APR_ARRAY_IDX(headers, (int)i, ac_tool_header_t), arguments, err);
    }
    for (int i = 0; i < parts->n_lines; i++) {
        parts->headers[i] = parts->lines[i].data;
    }
    return status;
}

/* Without a template, the arguments are the body. */
static apr_status_t make_body(parts_t *parts, const ac_tool_http_t *tool, const json_t *arguments, ac_err_t *err)
{
    if (!tool->has_body) {
        return APR_SUCCESS;
    }
    if (tool->conf->body) {
        return ac_template_fill(&parts->body, tool->conf->body, AC_TEMPLATE_JSON, arguments, err);
    }
    char *text = ac_json_dump(arguments, NULL);
    apr_status_t status = text ? ac_buf_str(&parts->body, text) : APR_ENOMEM;
    free(text);
    return status == APR_SUCCESS ? status : tool_http_too_long(err);
}

static apr_status_t make_parts(parts_t *parts, const ac_tool_http_t *tool, const json_t *arguments, ac_err_t *err)
{
    memset(parts, 0, sizeof(*parts));
    ac_buf_init(&parts->url, MAX_URL);
    ac_buf_init(&parts->body, AC_MAX_TOOL_ARGUMENTS * 2);
    apr_status_t status = ac_template_fill(&parts->url, tool->conf->url, AC_TEMPLATE_URL, arguments, err);
    if (status == APR_SUCCESS) {
        status = make_body(parts, tool, arguments, err);
    }
    return status == APR_SUCCESS ? make_headers(parts, tool, arguments, err) : status;
}

static apr_status_t tool_http_send(call_t *call, ac_err_t *err)
{
    static const ac_http_cb_t callbacks = {.on_head = tool_http_on_head,
                                           .on_body = tool_http_on_body,
                                           .on_end = tool_http_on_end};
    const ac_tool_http_t *tool = call->tool;
    const parts_t *parts = &call->parts;
    ac_http_request_t request = {
        .method = tool->method,
        .url = parts->url.data,
        .headers = parts->headers,
        .body = parts->body.data,
        .body_len = parts->body.len,
        .retries = tool->method[0] == 'G' ? 1 : 0,
        .ca_file = tool->conf->ca_file,
        .max_redirects = MAX_REDIRECTS,
        .public_only = !tool->conf->allow_private,
        .allow_hosts = tool->allow_hosts,
        .trace = &call->trace,
        .spans = true,
        .url_template = tool->conf->url,
    };
    apr_status_t status =
        ac_tool_support_time_left(&request.total_timeout, ac_loop_now(tool->loop), call->deadline, err);
    return status == APR_SUCCESS ? ac_http_start(&call->http, tool->loop, &request, &callbacks, call, err) : status;
}

/* The line with the token is behind all others; a second token replaces the first. */
static void tool_http_set_token(call_t *call, const char *text)
{
    parts_t *parts = &call->parts;
    ac_buf_t line;
    int n = 0;
    while (parts->headers[n] && strncmp(parts->headers[n], "Authorization: Bearer ", 22) != 0) {
        n++;
    }
    if (parts->headers[n]) {
        ac_buf_t *before = &parts->lines[--parts->n_lines];
        explicit_bzero(before->data, before->len);
        ac_buf_free(before);
    }
    ac_buf_init(&line, MAX_HEADER);
    ac_buf_printf(&line, "Authorization: Bearer %s", text);
    parts->lines[parts->n_lines++] = line;
    parts->headers[n] = line.data;
    call->token = strdup(text);
    if (!ac_credential_first(call->tool->conf->auth) &&
        apr_pool_create_unmanaged_ex(&call->pool, NULL, NULL) == APR_SUCCESS) {
        call->mask = ac_tool_mask_secret(text, call->pool);
    }
}

static void tool_http_fail(call_t *call)
{
    ac_err_t err = call->err;
    tool_http_call_end(call, ac_err_row(err.kind)->status, NULL, &err);
}

static void tool_http_on_credential(void *baton, apr_status_t status, const char *text, const ac_err_t *err)
{
    call_t *call = baton;
    call->waits = false;
    if (status != APR_SUCCESS) {
        ac_err_set(&call->err, AC_TOOL_ERROR, "there is no credential for the service: %s", err->detail);
    } else {
        tool_http_set_token(call, text);
        tool_http_send(call, &call->err);
    }
    if (call->err.kind != AC_OK) {
        tool_http_fail(call);
    }
}

static apr_status_t http_start(void **pcall, void *self, const json_t *arguments, apr_time_t deadline,
                               void (*done)(void *baton, apr_status_t status, json_t *result, const ac_err_t *err),
                               void *baton, ac_err_t *err)
{
    ac_tool_http_t *tool = self;
    call_t *call = ac_alloc(sizeof(*call));
    ac_tool_answer_init(&call->answer, &tool->rules);
    call->tool = tool;
    ac_err_init(&call->err);
    call->done = done;
    call->baton = baton;
    call->deadline = deadline;
    if (ac_trace_here()) {
        ac_trace_copy(&call->trace, ac_trace_here());
    }
    apr_status_t status = make_parts(&call->parts, tool, arguments, err);
    if (status == APR_SUCCESS && tool->conf->auth) {
        call->waits = true;
        ac_credential_get(tool->conf->auth, tool->scope, tool_http_on_credential, call);
    } else if (status == APR_SUCCESS) {
        status = tool_http_send(call, err);
    }
    if (status != APR_SUCCESS) {
        tool_http_call_free(call);
        return status;
    }
    *pcall = call;
    return APR_SUCCESS;
}

static void http_cancel(void *self)
{
    call_t *call = self;
    if (call->http) {
        ac_http_cancel(call->http);
    }
    tool_http_call_free(call);
}

const ac_tool_vt ac_tool_http = {
    .name = "http",
    .create = http_create,
    .child_init = http_child_init,
    .start = http_start,
    .cancel = http_cancel,
};
