/* SPDX-License-Identifier: Apache-2.0 */
/* The query string of a request: strict decoding, typed values, the parameters of a page. */
#include "request.h"

#include <stdlib.h>
#include <string.h>

#include "apr_strings.h"

#define PAGE_DEFAULT 20

/* Decodes a name or a value into pool. NULL: a bad escape, NUL, or not UTF-8. */
static const char *query_decode(const char *text, size_t len, apr_pool_t *pool)
{
    char *out = apr_palloc(pool, len + 1);
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        char c = text[i] == '+' ? ' ' : text[i];
        if (c == '%') {
            int high = i + 2 < len ? ac_hex_value(text[i + 1]) : -1, low = i + 2 < len ? ac_hex_value(text[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return NULL;
            }
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (!c) {
            return NULL;
        }
        out[used++] = c;
    }
    out[used] = '\0';
    return ac_utf8_valid(out, used) ? out : NULL;
}

static bool query_is_among(const char *name, const char *const *names)
{
    while (*names && strcmp(*names, name) != 0) {
        names++;
    }
    return *names != NULL;
}

/* Unknown parameters are ignored whatever they contain: caches, trackers and gateways add some. */
static apr_status_t add_param(ac_request_t *rq, apr_array_header_t *query, const char *text, size_t len,
                              const char *const *names)
{
    const char *equals = memchr(text, '=', len);
    size_t name_len = equals ? (size_t)(equals - text) : len;
    ac_param_t param;
    param.name = query_decode(text, name_len, rq->r->pool);
    if (!param.name || !query_is_among(param.name, names)) {
        return APR_SUCCESS;
    }
    param.value = equals ? query_decode(equals + 1, len - name_len - 1, rq->r->pool) : "";
    if (!param.value) {
        return ac_err_set(&rq->err, AC_INVALID_REQUEST, "%s is not valid percent-encoded UTF-8", param.name);
    }
    for (int i = 0; i < query->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(query, i, ac_param_t).name, param.name) == 0) {
            return ac_err_set(&rq->err, AC_INVALID_REQUEST, "the query string has %s twice", param.name);
        }
    }
    APR_ARRAY_PUSH(query, ac_param_t) = param;
    return APR_SUCCESS;
}

apr_status_t ac_query_read(ac_request_t *rq, const char *const *names)
{
    const char *text = rq->r->args ? rq->r->args : "";
    apr_array_header_t *query = apr_array_make(rq->r->pool, 4, sizeof(ac_param_t));
    apr_status_t status = APR_SUCCESS;
    while (*text && status == APR_SUCCESS) {
        size_t len = strcspn(text, "&");
        if (len) {
            status = add_param(rq, query, text, len, names);
        }
        text += len + (text[len] == '&');
    }
    rq->query = query;
    return status;
}

const char *ac_query_get(ac_request_t *rq, const char *name)
{
    for (int i = 0; rq->query && i < rq->query->nelts; i++) {
        const ac_param_t *param = &APR_ARRAY_IDX(rq->query, i, ac_param_t);
        if (strcmp(param->name, name) == 0) {
            return param->value;
        }
    }
    return NULL;
}

apr_status_t ac_query_int(ac_request_t *rq, int64_t *pvalue, const char *name, int64_t fallback, int64_t min,
                          int64_t max)
{
    const char *text = ac_query_get(rq, name);
    *pvalue = fallback;
    if (!text) {
        return APR_SUCCESS;
    }
    size_t len = strlen(text);
    int64_t value = len >= 1 && len <= 18 && strspn(text, "0123456789") == len ? apr_atoi64(text) : -1;
    if (value < min || value > max || value < 0) {
        return ac_err_set(&rq->err, AC_INVALID_REQUEST,
                          "%s must be a whole number from %" APR_INT64_T_FMT " to %" APR_INT64_T_FMT, name, min, max);
    }
    *pvalue = value;
    return APR_SUCCESS;
}

apr_status_t ac_query_bool(ac_request_t *rq, bool *pvalue, const char *name, bool fallback)
{
    const char *text = ac_query_get(rq, name);
    *pvalue = text ? strcmp(text, "true") == 0 : fallback;
    if (text && !*pvalue && strcmp(text, "false") != 0) {
        return ac_err_set(&rq->err, AC_INVALID_REQUEST, "%s must be true or false", name);
    }
    return APR_SUCCESS;
}

apr_status_t ac_query_limit(ac_request_t *rq, int *plimit)
{
    int64_t limit;
    apr_status_t status = ac_query_int(rq, &limit, "limit", PAGE_DEFAULT, 1, AC_MAX_PAGE);
    *plimit = (int)limit;
    return status;
}

apr_status_t ac_query_page(ac_request_t *rq, ac_page_t *page)
{
    const char *after = ac_query_get(rq, "after");
    apr_status_t status = ac_query_limit(rq, &page->limit);
    if (status != APR_SUCCESS || !after) {
        return status;
    }
    size_t len = strlen(after);
    if (!len || len >= sizeof(page->after) ||
        strspn(after, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~:+/=-") != len) {
        return ac_err_set(&rq->err, AC_INVALID_REQUEST, "after must be the `next` of an earlier page");
    }
    memcpy(page->after, after, len + 1);
    return APR_SUCCESS;
}
