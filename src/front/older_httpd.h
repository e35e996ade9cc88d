/* SPDX-License-Identifier: Apache-2.0 */
/* Declarations that httpd's headers lack before 2.4.53. The module builds with httpd 2.4.37 and later; park_wait.c
 * says with which of them it parks streams. */
#ifndef AC_OLDER_HTTPD_H
#define AC_OLDER_HTTPD_H

#include <stdbool.h>

#include "apr_optional.h"
#include "httpd.h"

#if AP_MODULE_MAGIC_AT_LEAST(20120211, 104)
#include "http_ssl.h"
#else
APR_DECLARE_OPTIONAL_FN(char *, ssl_var_lookup, (apr_pool_t *, server_rec *, conn_rec *, request_rec *, char *));
static inline const char *ap_ssl_var_lookup(apr_pool_t *p, server_rec *s, conn_rec *c, request_rec *r, const char *name)
{
    APR_OPTIONAL_FN_TYPE(ssl_var_lookup) *lookup = APR_RETRIEVE_OPTIONAL_FN(ssl_var_lookup);
    return lookup ? lookup(p, s, c, r, (char *)name) : NULL;
}
#endif

#if !AP_MODULE_MAGIC_AT_LEAST(20120211, 122)
#define ap_thread_create apr_thread_create
#endif

/* A connection of mod_proxy's to another server. */
static inline bool ac_conn_is_outgoing(const conn_rec *c)
{
#if AP_MODULE_MAGIC_AT_LEAST(20120211, 116)
    return c->outgoing;
#else
    return !c->sbh;
#endif
}

#endif
