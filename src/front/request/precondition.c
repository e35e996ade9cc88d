/* SPDX-License-Identifier: Apache-2.0 */
/* If-Match and If-None-Match: lists of entity tags (RFC 9110, 8.8.3 and 13.1). */
#include "request.h"

#include <string.h>

#include "apr_strings.h"

/* The length of the entity tag at text, with W/ and quotes; 0: there is none. */
static size_t tag_len(const char *text)
{
    size_t weak = strncmp(text, "W/", 2) == 0 ? 2 : 0;
    if (text[weak] != '"') {
        return 0;
    }
    size_t len = strcspn(text + weak + 1, "\" \t");
    return text[weak + 1 + len] == '"' ? weak + len + 2 : 0;
}

/* The tags of the list in order; NULL: not a list of tags. "*" gives an empty list and sets *pany. */
static apr_array_header_t *parse_tags(const char *text, bool *pany, apr_pool_t *pool)
{
    apr_array_header_t *tags = apr_array_make(pool, 2, sizeof(const char *));
    *pany = false;
    text += strspn(text, " \t");
    if (*text == '*') {
        *pany = true;
        return text[1 + strspn(text + 1, " \t")] ? NULL : tags;
    }
    while (*text) {
        size_t len = tag_len(text);
        if (!len) {
            return NULL;
        }
        APR_ARRAY_PUSH(tags, const char *) = apr_pstrmemdup(pool, text, len);
        text += len + strspn(text + len, " \t");
        if (*text && *text != ',') {
            return NULL;
        }
        text += strspn(text, " \t,");
    }
    return tags->nelts ? tags : NULL;
}

apr_status_t ac_precondition_if_match(ac_request_t *rq, const apr_array_header_t **ptags)
{
    const char *text = apr_table_get(rq->r->headers_in, "If-Match");
    apr_array_header_t *strong = apr_array_make(rq->r->pool, 2, sizeof(const char *));
    bool any = true;
    const apr_array_header_t *tags = text ? parse_tags(text, &any, rq->r->pool) : strong;
    *ptags = strong;
    if (!tags) {
        return ac_err_set(&rq->err, AC_INVALID_REQUEST, "If-Match must be * or a list of entity tags");
    }
    for (int i = 0; i < tags->nelts; i++) {
        const char *tag = APR_ARRAY_IDX(tags, i, const char *);
        /* A weak tag never matches in If-Match, and a longer tag cannot be one of ours. */
        if (*tag == '"' && strlen(tag) < AC_ETAG_SIZE) {
            APR_ARRAY_PUSH(strong, const char *) = tag;
        }
    }
    if (!any && !strong->nelts) {
        return ac_err_set(&rq->err, AC_PRECONDITION_FAILED, "If-Match has no strong entity tag that could match");
    }
    return APR_SUCCESS;
}

bool ac_precondition_none_match(const ac_request_t *rq, const char *etag)
{
    const char *text = apr_table_get(rq->r->headers_in, "If-None-Match");
    bool any;
    const apr_array_header_t *tags = text ? parse_tags(text, &any, rq->r->pool) : NULL;
    if (!tags) {
        return false;
    }
    etag += strncmp(etag, "W/", 2) == 0 ? 2 : 0;
    for (int i = 0; i < tags->nelts; i++) {
        const char *tag = APR_ARRAY_IDX(tags, i, const char *);
        if (strcmp(tag + (*tag == 'W' ? 2 : 0), etag) == 0) {
            return true;
        }
    }
    return any;
}
