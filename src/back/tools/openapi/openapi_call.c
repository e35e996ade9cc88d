/* SPDX-License-Identifier: Apache-2.0 */
/* A call of an operation: its credentials, one after the other, its request, its answer. */
#include "openapi_internal.h"

#include "back/credential/credential.h"

#include <string.h>
#include <strings.h>

#define WHO "the service"
#define MAX_REDIRECTS 3
#define MAX_HEADERS 128

typedef struct call_t {
    ac_openapi_service_t *service;
    const ac_openapi_bound_t *bound;
    const ac_openapi_operation_t *operation;
    ac_tool_answer_t answer;
    json_t *arguments;
    ac_openapi_request_t request;
    apr_time_t deadline;
    int n_texts;                      /* credentials that are there */
    bool waits, renewed;              /* for the next one; after a 401, only once */
    char *texts[AC_MAX_OPENAPI_KEYS]; /* owned */
    apr_pool_t *pool;                 /* of mask */
    const ac_tool_mask_t *mask;       /* of tokens; NULL: the service's own mask has all */
    ac_http_t *http;
    void (*done)(void *baton, apr_status_t status, json_t *result, const ac_err_t *err);
    void *baton;
    ac_trace_t trace; /* a copy */
} call_t;

static void openapi_call_on_credential(void *baton, apr_status_t status, const char *text, const ac_err_t *err);

static ac_credential_t *credential_of(const call_t *call, int key)
{
    int scheme = call->operation->keys[key].scheme;
    return APR_ARRAY_IDX(call->service->conf->credentials, scheme, ac_openapi_credential_t).auth;
}

static const char *scope_of(const call_t *call, int key)
{
    return call->service->scopes[call->operation->keys[key].scheme];
}

/* ---- the end ---- */

static void openapi_call_forget_texts(call_t *call)
{
    for (int i = 0; i < call->n_texts; i++) {
        explicit_bzero(call->texts[i], strlen(call->texts[i]));
        free(call->texts[i]);
    }
    call->n_texts = 0;
    if (call->pool) {
        apr_pool_destroy(call->pool);
    }
    call->pool = NULL;
    call->mask = NULL;
    ac_openapi_request_free(&call->request);
}

static void openapi_call_free(call_t *call)
{
    if (call->waits) {
        ac_credential_forget(credential_of(call, call->n_texts), openapi_call_on_credential, call);
    }
    openapi_call_forget_texts(call);
    ac_tool_answer_free(&call->answer);
    ac_trace_clear(&call->trace);
    json_decref(call->arguments);
    free(call);
}

/* Consumes result. */
static void openapi_call_end(call_t *call, apr_status_t status, json_t *result, ac_err_t *err)
{
    ac_tool_mask_text(call->service->answers.mask, err->detail, strlen(err->detail), false);
    if (call->mask) {
        ac_tool_mask_text(call->mask, err->detail, strlen(err->detail), false);
        result = result ? ac_tool_mask_json(call->mask, result) : NULL;
    }
    call->done(call->baton, status, result, err);
    openapi_call_free(call);
}

/* ---- the answer ---- */

static void openapi_call_on_head(void *baton, const ac_http_head_t *head)
{
    ac_tool_answer_head(&((call_t *)baton)->answer, head->status, head->content_type);
}

static bool openapi_call_on_body(void *baton, const char *bytes, size_t len)
{
    return ac_tool_answer_body(&((call_t *)baton)->answer, bytes, len);
}

/* Some services repeat what was sent. */
static apr_status_t openapi_call_refused(ac_err_t *err, const call_t *call, const char *body, size_t len)
{
    char *text = body ? memcpy(ac_alloc(len + 1), body, len) : NULL;
    ac_tool_mask_text(call->service->answers.mask, text, len, false);
    if (call->mask) {
        ac_tool_mask_text(call->mask, text, len, false);
    }
    apr_status_t status = ac_tool_support_answer_refused(err, WHO, call->answer.status, call->answer.type, text, len);
    free(text);
    return status;
}

static void next_credential(call_t *call)
{
    int i = call->n_texts;
    call->waits = true;
    ac_credential_get(credential_of(call, i), scope_of(call, i), openapi_call_on_credential, call);
}

/* The service does not accept the credentials any more: asks once more with others. */
static bool openapi_call_renew(call_t *call)
{
    if (!call->n_texts || call->renewed || call->answer.status != 401) {
        return false;
    }
    call->renewed = true;
    for (int i = 0; i < call->n_texts; i++) {
        ac_credential_reject(credential_of(call, i), scope_of(call, i), call->texts[i]);
    }
    openapi_call_forget_texts(call);
    ac_tool_answer_free(&call->answer);
    ac_tool_answer_init(&call->answer, &call->service->answers);
    next_credential(call);
    return true;
}

static void openapi_call_on_end(void *baton, apr_status_t status, const ac_err_t *cause, const char *error_body,
                                size_t len)
{
    call_t *call = baton;
    json_t *result = NULL;
    ac_err_t err;
    ac_err_init(&err);
    call->http = NULL;
    if (status == APR_SUCCESS && openapi_call_renew(call)) {
        return;
    }
    if (status != APR_SUCCESS) {
        status = ac_tool_support_exchange_failed(&err, WHO, cause);
    } else if (call->answer.status < 200 || call->answer.status > 299) {
        status = openapi_call_refused(&err, call, error_body, len);
    } else {
        status = ac_tool_answer_result(&result, &call->answer, &err);
    }
    openapi_call_end(call, status, result, &err);
}

/* ---- the request ---- */

/* The lines of the service, then those of the call; one that the configuration sets is not sent twice. */
static void join_headers(const char *lines[MAX_HEADERS], const call_t *call)
{
    const char *const *own = call->service->headers;
    int n = 0;
    for (; own[n]; n++) {
        lines[n] = own[n];
    }
    for (int i = 0; i < call->request.n_lines && n < MAX_HEADERS - 1; i++) {
        const char *line = call->request.headers[i];
        size_t len = strcspn(line, ":") + 1;
        bool set = false;
        for (int j = 0; own[j]; j++) {
            set = set || strncasecmp(own[j], line, len) == 0;
        }
        if (!set) {
            lines[n++] = line;
        }
    }
    lines[n] = NULL;
}

static apr_status_t openapi_call_send(call_t *call, ac_err_t *err)
{
    static const ac_http_cb_t callbacks = {.on_head = openapi_call_on_head,
                                           .on_body = openapi_call_on_body,
                                           .on_end = openapi_call_on_end};
    const ac_openapi_service_t *service = call->service;
    const ac_openapi_operation_t *operation = call->operation;
    const char *lines[MAX_HEADERS];
    apr_status_t status =
        ac_openapi_request_make(&call->request, operation, call->arguments, (const char *const *)call->texts, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    join_headers(lines, call);
    ac_http_request_t request = {
        .method = operation->method,
        .url = call->request.url.data,
        .headers = lines,
        .body = call->request.body.data,
        .body_len = call->request.body.len,
        .connect_timeout = service->conf->connect_timeout,
        .retries = strcmp(operation->method, "GET") == 0 ? 1 : 0,
        .ca_file = service->conf->ca_file,
        .max_redirects = MAX_REDIRECTS,
        .keep_method = strcmp(operation->method, "GET") != 0,
        .public_only = !service->conf->allow_private,
        .allow_hosts = service->hosts,
        .trace = &call->trace,
        .spans = true,
        .url_template = call->bound->entry->target,
    };
    status = ac_tool_support_time_left(&request.total_timeout, ac_loop_now(service->loop), call->deadline, err);
    return status == APR_SUCCESS ? ac_http_start(&call->http, service->loop, &request, &callbacks, call, err) : status;
}

/* ---- credentials ---- */

/* Hides the tokens, which the service's own mask cannot know. */
static void hide_texts(call_t *call)
{
    bool all = true;
    for (int i = 0; i < call->n_texts; i++) {
        all = all && ac_credential_first(credential_of(call, i));
    }
    if (all || apr_pool_create_unmanaged_ex(&call->pool, NULL, NULL) != APR_SUCCESS) {
        return;
    }
    apr_array_header_t *secrets = apr_array_make(call->pool, AC_MAX_OPENAPI_KEYS, sizeof(ac_tool_header_t));
    for (int i = 0; i < call->n_texts; i++) {
        APR_ARRAY_PUSH(secrets, ac_tool_header_t) =
            (ac_tool_header_t){.name = "Authorization", .secret = {.value = call->texts[i]}};
    }
    call->mask = ac_tool_mask_create(secrets, call->pool);
}

static void openapi_call_on_credential(void *baton, apr_status_t status, const char *text, const ac_err_t *cause)
{
    call_t *call = baton;
    ac_err_t err;
    ac_err_init(&err);
    call->waits = false;
    if (status != APR_SUCCESS) {
        ac_err_set(&err, AC_TOOL_ERROR, "there is no credential for the service: %s", cause->detail);
    } else {
        call->texts[call->n_texts++] = strdup(text);
        if (call->n_texts < call->operation->n_keys) {
            next_credential(call);
            return;
        }
        hide_texts(call);
        openapi_call_send(call, &err);
    }
    if (err.kind != AC_OK) {
        openapi_call_end(call, ac_err_row(err.kind)->status, NULL, &err);
    }
}

/* ---- the tool ---- */

static apr_status_t openapi_call_start(void **pcall, void *self, const json_t *arguments, apr_time_t deadline,
                                       void (*done)(void *baton, apr_status_t status, json_t *result,
                                                    const ac_err_t *err),
                                       void *baton, ac_err_t *err)
{
    ac_openapi_bound_t *bound = self;
    call_t *call = ac_alloc(sizeof *call);
    apr_status_t status = APR_SUCCESS;
    call->bound = bound;
    call->service = bound->use->service;
    call->operation = &bound->entry->operation;
    call->arguments = json_incref((json_t *)arguments);
    call->deadline = deadline;
    call->done = done;
    call->baton = baton;
    ac_tool_answer_init(&call->answer, &call->service->answers);
    if (ac_trace_here()) {
        ac_trace_copy(&call->trace, ac_trace_here());
    }
    if (call->operation->n_keys) {
        next_credential(call);
    } else {
        status = openapi_call_send(call, err);
    }
    if (status != APR_SUCCESS) {
        openapi_call_free(call);
        return status;
    }
    *pcall = call;
    return APR_SUCCESS;
}

static void openapi_call_cancel(void *self)
{
    call_t *call = self;
    if (call->http) {
        ac_http_cancel(call->http);
    }
    openapi_call_free(call);
}

const ac_tool_vt ac_openapi_call_vt = {
    .name = "openapi",
    .start = openapi_call_start,
    .cancel = openapi_call_cancel,
};
