/* SPDX-License-Identifier: Apache-2.0 */
/* A response as it arrives: its header lines, an error's body, and the reason for which we stopped reading it. */
#include "io_internal.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MEGABYTE ((size_t)1024 * 1024)

void ac_http_answer_init(ac_http_answer_t *answer, size_t max)
{
    memset(answer, 0, sizeof(*answer));
    answer->max = max;
    ac_buf_init(&answer->head, AC_MAX_HEAD);
    ac_buf_init(&answer->kept, AC_MAX_ERROR_BODY);
}

void ac_http_answer_free(ac_http_answer_t *answer)
{
    ac_buf_free(&answer->head);
    ac_buf_free(&answer->kept);
    free(answer->upstream_id);
    answer->upstream_id = NULL;
}

void ac_http_answer_begin(ac_http_answer_t *answer)
{
    size_t max = answer->max;
    ac_http_answer_free(answer);
    ac_http_answer_init(answer, max);
}

apr_status_t ac_http_answer_header(ac_http_answer_t *answer, const char *line, size_t len, bool *pwhole)
{
    while (len && strchr("\r\n \t", line[len - 1])) {
        len--;
    }
    *pwhole = !len;
    if (!len) {
        return APR_SUCCESS;
    }
    if (len >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        ac_buf_clear(&answer->head);
    }
    apr_status_t status = ac_buf_add(&answer->head, line, len);
    return status ? status : ac_buf_add(&answer->head, "", 1);
}

const char *ac_http_answer_find(const ac_http_answer_t *answer, const char *name)
{
    size_t name_len = strlen(name);
    if (!answer->head.data) {
        return NULL;
    }
    for (const char *line = answer->head.data, *end = line + answer->head.len; line < end; line += strlen(line) + 1) {
        if (strncasecmp(line, name, name_len) == 0 && line[name_len] == ':') {
            line += name_len + 1;
            return line + strspn(line, " \t");
        }
    }
    return NULL;
}

static const char *get_header(const void *self, const char *name)
{
    return ac_http_answer_find(self, name);
}

ac_http_head_t ac_http_answer_head(const ac_http_answer_t *answer)
{
    const char *type = ac_http_answer_find(answer, "content-type"), *id = answer->upstream_id;
    return (ac_http_head_t){answer->status, type ? type : "", id ? id : "", answer->retry_after, get_header, answer};
}

bool ac_http_answer_redirects(const ac_http_answer_t *answer, bool keep_method)
{
    int status = answer->status;
    return ac_http_answer_find(answer, "location") &&
        ((!keep_method && status >= 301 && status <= 303) || status == 307 || status == 308);
}

bool ac_http_answer_retries(const ac_http_answer_t *answer)
{
    return ac_http_retry_status(answer->status, ac_http_answer_find(answer, "x-should-retry"));
}

void ac_http_answer_read_head(ac_http_answer_t *answer, int status)
{
    static const char *const names[] = {
        "x-request-id", "apim-request-id", "x-ms-activity-id", "x-ms-request-id", "request-id",
    };
    answer->status = status;
    const char *after_ms = ac_http_answer_find(answer, "retry-after-ms"),
               *after = ac_http_answer_find(answer, "retry-after");
    answer->retry_after = ac_http_retry_after(after_ms, after, apr_time_now());
    const char *id = NULL;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && (!id || !*id); i++) {
        id = ac_http_answer_find(answer, names[i]);
    }
    answer->upstream_id = id && *id ? strndup(id, AC_UPSTREAM_ID_SIZE - 1) : NULL;
}

void ac_http_answer_abort(ac_http_answer_t *answer, ac_http_abort_e reason)
{
    if (answer->abort_reason == AC_HTTP_ABORT_NONE) {
        answer->abort_reason = reason;
    }
}

bool ac_http_answer_keep(ac_http_answer_t *answer, const char *bytes, size_t len)
{
    size_t room = AC_MAX_ERROR_BODY - answer->kept.len;
    if (answer->kind == AC_HTTP_ANSWER_KEPT && ac_buf_add(&answer->kept, bytes, len < room ? len : room)) {
        ac_http_answer_abort(answer, AC_HTTP_ABORT_NO_MEMORY);
        return false;
    }
    if (len > room || answer->received > AC_MAX_ERROR_BODY) {
        ac_http_answer_abort(answer, AC_HTTP_ABORT_ENOUGH);
        return false;
    }
    return true;
}

bool ac_http_answer_failed(const ac_http_answer_t *answer, int code, ac_err_t *err)
{
    bool large = answer->max >= MEGABYTE;
    if (code == CURLE_OK) {
        return false;
    }
    switch (answer->abort_reason) {
    case AC_HTTP_ABORT_TOO_LONG:
        ac_err_set(err, AC_UPSTREAM_ERROR, "the answer is over %" APR_SIZE_T_FMT " %s",
                   large ? answer->max / MEGABYTE : answer->max, large ? "MB" : "bytes");
        return true;
    case AC_HTTP_ABORT_HEAD_TOO_LONG:
        ac_err_set(err, AC_UPSTREAM_ERROR, "the answer's headers are too long");
        return true;
    case AC_HTTP_ABORT_PRIVATE_ADDRESS:
        /* curl may have tried another address of the host after it. */
        if (code != CURLE_COULDNT_CONNECT && code != CURLE_ABORTED_BY_CALLBACK) {
            return false;
        }
        ac_err_set(err, AC_UPSTREAM_ERROR, "the address is private");
        return true;
    case AC_HTTP_ABORT_NO_MEMORY: ac_err_set(err, AC_INTERNAL, "out of memory"); return true;
    default: return false;
    }
}
