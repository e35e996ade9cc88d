/* SPDX-License-Identifier: Apache-2.0 */
/* The names by which a server may be addressed without a sign-in: a page whose own name leads here (DNS rebinding)
 * is refused. */
#include "auth_internal.h"

#include "apr_atomic.h"

APLOG_USE_MODULE(agentchat);

static bool host_is_among(const apr_array_header_t *names, const char *host)
{
    for (int i = 0; names && i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, const char *);
        if (name && !ap_strcasecmp_match(host, name)) {
            return true;
        }
    }
    return false;
}

/* An address, or a name that no foreign name server can resolve to this machine. */
static bool is_this_machine(const char *host)
{
    size_t len = strlen(host);
    bool address = ap_strchr_c(host, ':') || strspn(host, "0123456789.") == len;
    return address || ap_cstr_casecmp(host, "localhost") == 0 || ap_cstr_casecmp(host, "localhost.localdomain") == 0 ||
        (len > 10 && ap_cstr_casecmp(host + len - 10, ".localhost") == 0);
}

/* A client could fill the log with wrong names, so each child logs one a minute. */
static void log_name(request_rec *r)
{
    static volatile apr_uint32_t last;
    apr_uint32_t now = (apr_uint32_t)apr_time_sec(r->request_time), before = apr_atomic_read32(&last);
    if (before && now - before < 60) {
        return;
    }
    if (apr_atomic_cas32(&last, now, before) != before) {
        return;
    }
    ac_log_request(AC_M663, 0, r,
                   "the mount is open to everybody (AgentChatAnonymous on) and was addressed as '%s', which is neither "
                   "ServerName nor ServerAlias of its server; answered 403",
                   r->hostname);
}

apr_status_t ac_host_check(request_rec *r, ac_err_t *err)
{
    const server_rec *s = r->server;
    if (!r->hostname || is_this_machine(r->hostname)) {
        return APR_SUCCESS;
    }
    if (s->server_hostname && ap_cstr_casecmp(r->hostname, s->server_hostname) == 0) {
        return APR_SUCCESS;
    }
    if (host_is_among(s->names, r->hostname) || host_is_among(s->wild_names, r->hostname)) {
        return APR_SUCCESS;
    }
    log_name(r);
    return ac_err_set(
        err, AC_FORBIDDEN,
        "the Host of the request is not a name of this server; without a sign-in only its ServerName, ServerAlias, "
        "localhost and addresses are accepted");
}
