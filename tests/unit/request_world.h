/* SPDX-License-Identifier: Apache-2.0 */
/* A request without httpd: replaces the few functions of httpd that the code of requests calls. */
#ifndef REQUEST_WORLD_H
#define REQUEST_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "front/request/precondition.c"
#include "front/auth/principal.c"
#include "front/request/query.c"
#include "front/request/request.c"
#include "front/stream/stream.h"

#include <apr_general.h>

/* ---- httpd, as far as it is needed ---- */

module AP_MODULE_DECLARE_DATA agentchat_module; /* its index is 0 */

AP_DECLARE(char *) ap_getword_conf(apr_pool_t *p, const char **pline)
{
    const char *word = *pline;
    *pline += strlen(word);
    return apr_pstrdup(p, word);
}

AP_DECLARE(apr_status_t)
ap_register_auth_provider(apr_pool_t *p, const char *group, const char *name, const char *version, const void *provider,
                          int type)
{
    (void)p;
    (void)group;
    (void)name;
    (void)version;
    (void)provider;
    (void)type;
    return APR_SUCCESS;
}

const char *ap_auth_type(request_rec *r)
{
    (void)r;
    return NULL;
}

const ac_protocol_t *ac_protocol_of(const request_rec *r)
{
    static const ac_protocol_t native = {.title = "this API"};
    (void)r;
    return &native;
}

apr_status_t ac_sign_in_unasked(request_rec *r, ac_err_t *err)
{
    (void)r;
    (void)err;
    return APR_SUCCESS; /* no request has a key here */
}

apr_status_t ac_host_check(request_rec *r, ac_err_t *err)
{
    (void)r;
    (void)err;
    return APR_SUCCESS; /* every name is the server's own here */
}

static ac_mount_conf_t mount;
static const char *const *pieces; /* what the client sends, NULL-terminated */
static apr_status_t last_status;  /* the status instead of the end; APR_SUCCESS: EOS */

const ac_mount_conf_t *ac_mount_conf(const request_rec *r)
{
    (void)r;
    return &mount;
}

apr_status_t ap_get_brigade(ap_filter_t *filter, apr_bucket_brigade *brigade, ap_input_mode_t mode,
                            apr_read_type_e block, apr_off_t readbytes)
{
    apr_bucket_alloc_t *alloc = brigade->bucket_alloc;
    (void)filter;
    (void)readbytes;
    assert_int_equal(mode, AP_MODE_READBYTES);
    assert_int_equal(block, APR_BLOCK_READ);
    if (*pieces) {
        APR_BRIGADE_INSERT_TAIL(brigade, apr_bucket_immortal_create(*pieces, strlen(*pieces), alloc));
        pieces++;
        return APR_SUCCESS;
    }
    if (last_status == APR_SUCCESS) {
        APR_BRIGADE_INSERT_TAIL(brigade, apr_bucket_eos_create(alloc));
    }
    return last_status;
}

int ap_map_http_request_error(apr_status_t status, int fallback)
{
    return status == AP_FILTER_ERROR ? AP_FILTER_ERROR
        : status == APR_TIMEUP       ? HTTP_REQUEST_TIME_OUT
        : status == APR_ENOSPC       ? HTTP_REQUEST_ENTITY_TOO_LARGE
                                     : fallback;
}

/* ---- one request ---- */

static apr_pool_t *pool;
static conn_rec connection;

/* A route that answers with a document or with events. */
static const ac_dialect_t event_dialect = {.name = "events", .media_type = "text/event-stream", .stream = true};
static const ac_dialect_t json_dialect = {.name = "json", .media_type = "application/json", .next = &event_dialect};
static const ac_route_t chat_route = {.dialect = &json_dialect};

static ac_request_t *make(const char *args)
{
    request_rec *r = apr_pcalloc(pool, sizeof(*r));
    r->pool = pool;
    r->request_config = apr_pcalloc(pool, sizeof(void *));
    r->args = (char *)args;
    r->headers_in = apr_table_make(pool, 4);
    r->subprocess_env = apr_table_make(pool, 4);
    r->err_headers_out = apr_table_make(pool, 4);
    r->connection = &connection;
    ac_request_t *rq = ac_request_create(r);
    rq->route = &chat_route;
    return rq;
}

static inline void header(ac_request_t *rq, const char *name, const char *value)
{
    apr_table_set(rq->r->headers_in, name, value);
}

static int before(void **state)
{
    (void)state;
    static const char *const nothing[] = {NULL};
    memset(&mount, 0, sizeof(mount));
    memset(&connection, 0, sizeof(connection));
    pieces = nothing;
    last_status = APR_SUCCESS;
    apr_pool_create(&pool, NULL);
    connection.bucket_alloc = apr_bucket_alloc_create(pool);
    return 0;
}

static int after(void **state)
{
    (void)state;
    apr_pool_destroy(pool);
    return 0;
}

#endif
