/* SPDX-License-Identifier: Apache-2.0 */
/* The table of error kinds, and the functions that fill an ac_err_t. */
#include "base.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CLIENT "client"
#define OPERATOR "operator"
#define UPSTREAM "upstream"
#define US "us"
#define LACK_RETRY apr_time_from_sec(2)

static const ac_err_row_t rows[] = {
    {AC_OK, "ok", "OK", 200, APR_SUCCESS, false, "none"},
    {AC_BAD_JSON, "bad_json", "The body is not JSON", 400, APR_EINVAL, false, CLIENT},
    {AC_INVALID_REQUEST, "invalid_request", "The request is not valid", 400, APR_EINVAL, false, CLIENT},
    {AC_MESSAGE_EMPTY, "message_empty", "The message is empty", 400, APR_EINVAL, false, CLIENT},
    {AC_CONTEXT_LENGTH, "context_length_exceeded", "The conversation is too long for the model", 400, APR_ENOSPC, false,
     CLIENT},
    {AC_UNAUTHENTICATED, "unauthenticated", "Authentication required", 401, APR_EACCES, false, CLIENT},
    {AC_FORBIDDEN, "forbidden", "Not allowed", 403, APR_EACCES, false, CLIENT},
    {AC_NOT_FOUND, "not_found", "Not found", 404, APR_ENOENT, false, CLIENT},
    {AC_METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed", 405, APR_ENOTIMPL, false, CLIENT},
    {AC_NOT_ACCEPTABLE, "not_acceptable", "No acceptable media type", 406, APR_ENOTIMPL, false, CLIENT},
    {AC_BODY_TOO_LARGE, "body_too_large", "The body is too large", 413, APR_ENOSPC, false, CLIENT},
    {AC_FILE_LIMIT, "file_limit_exceeded", "No room for another file", 413, APR_ENOSPC, false, CLIENT},
    {AC_UNSUPPORTED_MEDIA, "unsupported_media_type", "Media type not supported", 415, APR_ENOTIMPL, false, CLIENT},
    {AC_RUN_IN_PROGRESS, "run_in_progress", "The thread has an active run", 409, APR_EBUSY, true, CLIENT},
    {AC_READ_ONLY, "read_only", "Read only", 409, APR_EACCES, false, CLIENT},
    {AC_ALREADY_EXISTS, "already_exists", "Already exists", 409, APR_EEXIST, false, CLIENT},
    {AC_IDEMPOTENCY_CONFLICT, "idempotency_conflict", "The key belongs to another request", 409, APR_EEXIST, false,
     CLIENT},
    {AC_RUN_ENDED, "run_ended", "The run has ended", 409, APR_EOF, false, CLIENT},
    {AC_EVENTS_GONE, "events_gone", "The events are no longer kept", 410, APR_ENOENT, false, CLIENT},
    {AC_NOT_WAITING, "not_waiting", "The call does not await approval", 409, APR_EINVAL, false, CLIENT},
    {AC_PRECONDITION_FAILED, "precondition_failed", "Changed concurrently", 412, APR_EMISMATCH, false, CLIENT},
    {AC_CONTENT_FILTERED, "content_filtered", "Refused by the model's safety system", 422, APR_EACCES, false, CLIENT},
    {AC_RATE_LIMITED, "rate_limited", "Too many requests", 429, APR_EAGAIN, true, CLIENT},
    {AC_BUDGET_EXCEEDED, "budget_exceeded", "The budget is used up", 429, APR_EAGAIN, true, CLIENT},
    {AC_MODEL_REFUSED, "model_refused", "The model's service refused the request", 502, APR_EACCES, false, OPERATOR},
    {AC_MODEL_ERROR, "model_error", "The model failed", 502, APR_EGENERAL, true, UPSTREAM},
    {AC_MODEL_THROTTLED, "model_throttled", "The model is busy", 503, APR_EAGAIN, true, UPSTREAM},
    {AC_MODEL_TIMEOUT, "model_timeout", "The model took too long", 504, APR_TIMEUP, true, UPSTREAM},
    {AC_OUTPUT_INVALID, "output_invalid", "The model's answer does not have the wanted form", 502, APR_EGENERAL, true,
     UPSTREAM},
    {AC_STORE_ERROR, "store_error", "The store failed", 502, APR_EGENERAL, true, OPERATOR},
    {AC_STORE_TIMEOUT, "store_timeout", "The store took too long", 504, APR_TIMEUP, true, OPERATOR},
    {AC_TOOL_ERROR, "tool_error", "A tool failed", 502, APR_EGENERAL, false, UPSTREAM},
    {AC_TOOL_TIMEOUT, "tool_timeout", "A tool took too long", 504, APR_TIMEUP, true, UPSTREAM},
    {AC_UPSTREAM_ERROR, "upstream_error", "A service behind this one failed", 502, APR_EGENERAL, true, UPSTREAM},
    {AC_UPSTREAM_TIMEOUT, "upstream_timeout", "A service behind this one took too long", 504, APR_TIMEUP, true,
     UPSTREAM},
    {AC_STORAGE_FULL, "storage_full", "The server has no room for files", 507, APR_ENOSPC, true, OPERATOR},
    {AC_OVERLOADED, "overloaded", "The server is overloaded", 503, APR_EAGAIN, true, US},
    {AC_STOPPING, "stopping", "The server is stopping", 503, APR_EAGAIN, true, US},
    {AC_CANCELLED, "cancelled", "The run was cancelled", 409, APR_EINTR, false, CLIENT},
    {AC_INTERRUPTED, "interrupted", "The run was interrupted", 502, APR_EINTR, true, US},
    {AC_RUN_TIMEOUT, "run_timeout", "The run took too long", 504, APR_TIMEUP, true, US},
    {AC_INTERNAL, "internal", "Internal error", 500, APR_EGENERAL, false, US},
};
_Static_assert(sizeof(rows) / sizeof(rows[0]) == AC_N_KINDS, "a row for every ac_kind_e, in its order");

const ac_err_row_t *ac_err_row(ac_kind_e kind)
{
    return &rows[(unsigned)kind < AC_N_KINDS ? kind : AC_INTERNAL];
}

ac_kind_e ac_err_kind_by_code(const char *code)
{
    if (!code) {
        return AC_OK;
    }
    for (int i = AC_OK + 1; i < AC_N_KINDS; i++) {
        if (strcmp(rows[i].code, code) == 0) {
            return rows[i].kind;
        }
    }
    return AC_OK;
}

void ac_err_init(ac_err_t *err)
{
    memset(err, 0, sizeof(*err));
}

/* Drops an incomplete UTF-8 character, which snprintf may leave at the end. */
static void end_whole(char *text)
{
    text[ac_utf8_whole(text, strlen(text))] = '\0';
}

static apr_status_t set_v(ac_err_t *err, ac_kind_e kind, const char *pointer, const char *fmt, va_list args)
{
    if (kind <= AC_OK || kind >= AC_N_KINDS) {
        kind = AC_INTERNAL;
    }
    if (err && err->kind == AC_OK) {
        err->kind = kind;
        if (vsnprintf(err->detail, sizeof(err->detail), fmt, args) < 0) {
            err->detail[0] = '\0';
        }
        end_whole(err->detail);
        snprintf(err->pointer, sizeof(err->pointer), "%s", pointer ? pointer : "");
        end_whole(err->pointer);
    }
    return rows[kind].status;
}

apr_status_t ac_err_set(ac_err_t *err, ac_kind_e kind, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    apr_status_t status = set_v(err, kind, NULL, fmt, args);
    va_end(args);
    return status;
}

apr_status_t ac_err_set_at(ac_err_t *err, ac_kind_e kind, const char *pointer, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    apr_status_t status = set_v(err, kind, pointer, fmt, args);
    va_end(args);
    return status;
}

bool ac_err_set_lack(ac_err_t *err, int cause)
{
    switch (cause) {
    case EMFILE:
        ac_err_set(err, AC_OVERLOADED,
                   "this server process has no file descriptors left; raise its limit of open files");
        break;
    case ENFILE: ac_err_set(err, AC_OVERLOADED, "this machine has no file descriptors left"); break;
    case ENOMEM:
    case ENOBUFS: ac_err_set(err, AC_OVERLOADED, "this machine has no memory left"); break;
    default: return false;
    }
    err->retry_after = LACK_RETRY;
    return true;
}

ac_err_t *ac_err_copy(const ac_err_t *err)
{
    ac_err_t *copy = ac_alloc(sizeof(*copy));
    *copy = *err;
    return copy;
}

void ac_err_while(ac_err_t *err, const char *doing)
{
    if (!err || err->kind == AC_OK || !doing || !*doing || strstr(err->detail, " while ")) {
        return;
    }
    size_t len = strlen(err->detail);
    snprintf(err->detail + len, sizeof(err->detail) - len, "%s while %s",
             len ? "" : rows[(unsigned)err->kind < AC_N_KINDS ? err->kind : AC_INTERNAL].title, doing);
    end_whole(err->detail);
}
