/* SPDX-License-Identifier: Apache-2.0 */
/* The owner of a request and its roles, API keys, and requests that pages of other sites make. */
#ifndef AC_AUTH_H
#define AC_AUTH_H

#include "front/config/config.h"

/* ---- principal.c: the owner and its roles ---- */
#define AC_ROLE_ADMIN "admin"        /* the role that a route with AC_NEEDS_ADMIN wants */
typedef struct ac_principal_t {      /* in r->pool, immutable */
    const char *owner;               /* of threads; AC_ANONYMOUS where no user has signed in */
    const char *key_id;              /* the API key that signed the request in; NULL: another sign-in did */
    const apr_array_header_t *roles; /* of const char *; never NULL */
    const char *limits;              /* the key's own, in the form of AgentChatLimit; NULL: it has none */
} ac_principal_t;
/* Finds the principal once for each request, after httpd's authentication. errors: unauthenticated, forbidden (a
 * name that cannot be stored, a sign-in without the variable that AgentChatOwnerFrom wants). The thread that handles
 * r. */
apr_status_t ac_principal_find(const ac_principal_t **pprincipal, request_rec *r, ac_err_t *err);
bool ac_principal_has(const ac_principal_t *principal, const char *role);
/* Whether a user with the role AC_ROLE_ADMIN has signed in to r, on a route that needs no sign-in. The thread that
 * handles r. */
bool ac_principal_is_admin(request_rec *r);
/* `Require agentchat-role ROLE ...`; called from register_hooks. */
void ac_principal_register(apr_pool_t *p);

/* ---- sign_in.c: AuthType AgentChat ---- */
#define AC_NOTE_DETAIL "agentchat-detail" /* in r->notes: the detail of a problem that httpd answers */
#define AC_NOTE_KEY "agentchat-key"       /* in r->notes: the id of the key, for logs */
void ac_sign_in_register(apr_pool_t *p);

/* ---- cors.c: pages of other sites. Source: the Fetch standard, "CORS protocol"; Fetch Metadata ---- */
/* For the hook header_parser: sets the headers that let a listed origin read the answer; answers a preflight (DONE),
 * with the methods that find_methods() gives for r's path, as in Allow. Else DECLINED. */
int ac_cors_answer(request_rec *r, const char *(*find_methods)(request_rec *r));
/* Refuses a request that a page of an unlisted site makes, by the browser's Sec-Fetch-Site, else Origin. Where every
 * origin is allowed, this holds for requests that a cookie, a password or a certificate signs in. errors: forbidden. */
apr_status_t ac_cors_check(request_rec *r, const ac_mount_conf_t *mount, const ac_route_t *route, ac_err_t *err);

#endif
