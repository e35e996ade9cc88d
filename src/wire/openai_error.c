/* SPDX-License-Identifier: Apache-2.0 */
/* Chat completions: error responses of the various servers. Their messages may repeat the conversation or name hosts,
 * so only texts that look like codes are passed on. */
#include "openai_internal.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

typedef struct problem_t {
    int status; /* of HTTP, or from the document, or 0 */
    const char *code, *type, *param, *message;
    const json_t *error; /* the object with the members of the error, or NULL */
    char code_text[24];  /* the text of a code that is a number */
} problem_t;

/* ---- reading ---- */

static bool openai_error_says(const problem_t *problem, const char *name)
{
    return (problem->code && strcasecmp(problem->code, name) == 0) ||
        (problem->type && strcasecmp(problem->type, name) == 0);
}

static bool says_any(const problem_t *problem, const char *const *names)
{
    for (; *names; names++) {
        if (openai_error_says(problem, *names)) {
            return true;
        }
    }
    return false;
}

static bool message_has(const problem_t *problem, const char *const *phrases)
{
    for (; problem->message && *phrases; phrases++) {
        if (strcasestr(problem->message, *phrases)) {
            return true;
        }
    }
    return false;
}

/* "429" or 429 → 429; 0 for a value that is not an HTTP error status. */
static int status_of(const json_t *value)
{
    json_int_t status = json_is_integer(value) ? json_integer_value(value) : 0;
    const char *text = json_string_value(value);
    if (text && strlen(text) == 3 && strspn(text, "0123456789") == 3) {
        status = (text[0] - '0') * 100 + (text[1] - '0') * 10 + (text[2] - '0');
    }
    return status >= 400 && status <= 599 ? (int)status : 0;
}

/* The object that describes the error: under "error", or the document itself. *pmessage is set if the error is only a
 * text. */
static const json_t *error_object(const json_t *document, const char **pmessage)
{
    *pmessage = NULL;
    if (json_is_array(document)) {
        document = json_array_get(document, 0);
    }
    const json_t *error = json_object_get(document, "error");
    if (json_is_string(error)) {
        *pmessage = json_string_value(error);
        return document;
    }
    return json_is_object(error) ? error : document;
}

static void read_problem(problem_t *problem, int http_status, const json_t *document)
{
    static const char *const status_names[] = {"status", "statusCode", "code", NULL};
    memset(problem, 0, sizeof(*problem));
    problem->status = http_status >= 400 ? http_status : 0;
    problem->error = error_object(document, &problem->message);
    problem->code = ac_json_peek_string(problem->error, "code", NULL);
    problem->type = ac_json_peek_string(problem->error, "type", NULL);
    problem->param = ac_json_peek_string(problem->error, "param", NULL);
    if (!problem->message) {
        problem->message = ac_json_peek_string(problem->error, "message", NULL);
    }
    if (!problem->message) {
        problem->message = ac_json_peek_string(problem->error, "detail", NULL);
    }
    const json_t *code = json_object_get(problem->error, "code");
    if (json_is_integer(code)) {
        snprintf(problem->code_text, sizeof(problem->code_text), "%" JSON_INTEGER_FORMAT, json_integer_value(code));
        problem->code = problem->code_text;
    }
    for (int i = 0; !problem->status && status_names[i]; i++) {
        problem->status = status_of(json_object_get(problem->error, status_names[i]));
    }
}

/* ---- content that may be shown ---- */

/* Codes and parameter names are single words; text with a blank might quote a user. */
static bool openai_error_is_word(const char *text)
{
    size_t len = text ? strlen(text) : 0;
    return len > 0 && len <= 64 &&
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.[]") == len;
}

/* " (HTTP 400, unsupported_parameter, at temperature)", or "" */
static const char *facts(const problem_t *problem, char *text, size_t size)
{
    bool number = problem->code && strspn(problem->code, "0123456789") == strlen(problem->code);
    const char *code = openai_error_is_word(problem->type) ? problem->type : NULL;
    if (openai_error_is_word(problem->code) && !number) {
        code = problem->code;
    }
    const char *param = openai_error_is_word(problem->param) ? problem->param : NULL;
    char status[16] = "";
    if (problem->status) {
        snprintf(status, sizeof(status), "HTTP %d", problem->status);
    }
    if (!*status && !code && !param) {
        return "";
    }
    snprintf(text, size, " (%s%s%s%s%s)", status, code && *status ? ", " : "", code ? code : "",
             !param                ? ""
                 : code || *status ? ", at "
                                   : "at ",
             param ? param : "");
    return text;
}

/* " for violence and jailbreak", from the categories that a content filter reports; or "". */
static const char *categories(const json_t *error, char *text, size_t size)
{
    const json_t *inner = json_object_get(error, "innererror");
    json_t *result = json_object_get(inner, "content_filter_result");
    if (!result) {
        result = json_object_get(inner, "content_filter_results");
    }
    if (!result) {
        result = json_object_get(error, "content_filter_results");
    }
    size_t used = 0;
    *text = '\0';
    for (void *at = json_object_iter(result); at; at = json_object_iter_next(result, at)) {
        const char *name = json_object_iter_key(at);
        if (json_is_true(json_object_get(json_object_iter_value(at), "filtered")) && openai_error_is_word(name) &&
            used + strlen(name) + 8 < size) {
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? " and " : " for ", name);
        }
    }
    return text;
}

/* ---- the error's kind ---- */

static bool is_filtered(const problem_t *problem)
{
    static const char *const names[] = {"content_filter",
                                        "ResponsibleAIPolicyViolation",
                                        "content_policy_violation",
                                        "moderation_blocked",
                                        "content_filtered",
                                        "cyber_policy_violation",
                                        NULL};
    const json_t *inner = json_object_get(problem->error, "innererror");
    const char *code = ac_json_peek_string(inner, "code", "");
    return says_any(problem, names) || strcasecmp(code, "ResponsibleAIPolicyViolation") == 0;
}

static bool is_too_long(const problem_t *problem)
{
    static const char *const names[] = {"context_length_exceeded",    "exceed_context_size_error",
                                        "string_above_max_length",    "context_window_exceeded",
                                        "ContextWindowExceededError", NULL};
    static const char *const phrases[] = {"maximum context length", "maximum model length",
                                          "context length",         "context window",
                                          "context size",           "prompt is too long",
                                          "max_model_len",          "too many tokens",
                                          "input is too long",      NULL};
    int status = problem->status;
    bool possible = !status || status == 400 || status == 413 || status == 422 || status >= 500;
    return says_any(problem, names) || (possible && message_has(problem, phrases));
}

static bool is_quota(const problem_t *problem)
{
    static const char *const names[] = {"insufficient_quota",   "billing_hard_limit_reached", "billing_not_active",
                                        "insufficient_balance", "insufficient_credits",       NULL};
    return problem->status == 402 || says_any(problem, names);
}

static int status_by_name(const problem_t *problem)
{
    static const struct {
        const char *name;
        int status;
    } known[] = {
        {"invalid_api_key", 401},       {"authentication_error", 401},
        {"PermissionDenied", 401},      {"permission_error", 403},
        {"DeploymentNotFound", 404},    {"model_not_found", 404},
        {"not_found_error", 404},       {"NotFoundError", 404},
        {"rate_limit_exceeded", 429},   {"rate_limit_error", 429},
        {"RateLimitError", 429},        {"too_many_requests", 429},
        {"invalid_request_error", 400}, {"BadRequestError", 400},
        {"invalid_prompt", 400},        {NULL, 0},
    };
    for (int i = 0; known[i].name; i++) {
        if (openai_error_says(problem, known[i].name)) {
            return known[i].status;
        }
    }
    return 0;
}

static apr_status_t openai_error_refused(const problem_t *problem, int status, const char *shown, ac_err_t *err)
{
    if (status == 401) {
        return ac_err_set(err, AC_MODEL_REFUSED,
                          "the model's service did not accept our credential%s; check "
                          "AgentChatCredential: the key must belong to this endpoint, an identity needs the right role",
                          shown);
    }
    if (status == 403) {
        return ac_err_set(err, AC_MODEL_REFUSED,
                          "the model's service does not let us in%s; check its network rules, "
                          "the rights of the key in AgentChatCredential, and whether the resource is suspended",
                          shown);
    }
    if (openai_error_says(problem, "DeploymentNotFound")) {
        return ac_err_set(err, AC_MODEL_REFUSED,
                          "the model's service has no such deployment%s; check deployment= of "
                          "AgentChatEndpoint; a new one is known after about five minutes",
                          shown);
    }
    if (openai_error_says(problem, "model_not_found") || message_has(problem, (const char *const[]){"model", NULL})) {
        return ac_err_set(err, AC_MODEL_REFUSED,
                          "the model's service does not know the model%s; check model= (or "
                          "deployment=) of AgentChatEndpoint, and that the key may use it",
                          shown);
    }
    return ac_err_set(err, AC_MODEL_REFUSED,
                      "the model's service has nothing under our URL%s; check the address in "
                      "AgentChatEndpoint, its path, deployment= and api-version=",
                      shown);
}

static apr_status_t throttled(const problem_t *problem, const char *shown, bool *pretry, ac_err_t *err)
{
    /* One request that exceeds the limit of a minute never succeeds, however long it waits. */
    static const char *const phrases[] = {"request too large", NULL};
    *pretry = !message_has(problem, phrases);
    return ac_err_set(err, AC_MODEL_THROTTLED, "the model's service %s%s",
                      *pretry ? "has too many requests" : "allows fewer tokens a minute than this request has", shown);
}

static bool is_transient(int status)
{
    return status == 408 || status == 409 || status == 424 || status == 425 || status >= 500;
}

static apr_status_t openai_error_set_error(const problem_t *problem, bool *pretry, ac_err_t *err)
{
    char text[192], names[128];
    const char *shown = facts(problem, text, sizeof(text));
    int status = problem->status ? problem->status : status_by_name(problem);
    *pretry = false;
    if (is_filtered(problem)) {
        return ac_err_set(err, AC_CONTENT_FILTERED, "the model's safety system refused the conversation%s",
                          categories(problem->error, names, sizeof(names)));
    }
    if (is_quota(problem)) {
        return ac_err_set(err, AC_MODEL_REFUSED, "the quota of the model's account is used up%s; see its billing",
                          shown);
    }
    if (is_too_long(problem)) {
        return ac_err_set(err, AC_CONTEXT_LENGTH, "the conversation is longer than the model can read%s", shown);
    }
    if (status == 401 || status == 403 || status == 404 || status == 405) {
        return openai_error_refused(problem, status, shown, err);
    }
    if (status == 429) {
        return throttled(problem, shown, pretry, err);
    }
    if (status == 408) {
        *pretry = true;
        return ac_err_set(err, AC_MODEL_TIMEOUT, "the model's service gave up waiting%s", shown);
    }
    if (status && !is_transient(status)) {
        return ac_err_set(err, AC_MODEL_ERROR, "the model's service did not take the request%s", shown);
    }
    *pretry = true;
    return ac_err_set(err, AC_MODEL_ERROR, "the model's service failed%s", shown);
}

apr_status_t ac_openai_error_parsed(int http_status, const json_t *document, bool *pretry, ac_err_t *err)
{
    problem_t problem;
    bool retry;
    read_problem(&problem, http_status, document);
    if (err && err->kind == AC_OK) {
        err->http_status = problem.status ? problem.status : http_status;
    }
    if (http_status >= 300 && http_status < 400) {
        *(pretry ? pretry : &retry) = false;
        return ac_err_set(err, AC_MODEL_REFUSED,
                          "the model's service answered with a redirect (HTTP %d); check the "
                          "address in AgentChatEndpoint",
                          http_status);
    }
    return openai_error_set_error(&problem, pretry ? pretry : &retry, err);
}

apr_status_t ac_openai_error(int http_status, const char *body, size_t len, bool *pretry, ac_err_t *err)
{
    json_t *document = body && len ? ac_openai_document(body, len) : NULL;
    apr_status_t status = ac_openai_error_parsed(http_status, document, pretry, err);
    json_decref(document);
    return status;
}
