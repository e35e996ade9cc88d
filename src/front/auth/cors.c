/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of other sites: listed origins may use the API from a browser (the CORS protocol of the Fetch standard).
 * Other pages cannot make a visitor's browser use it with the visitor's cookies or password. */
#include "auth_internal.h"

#include "http_ssl.h"

#define EXPOSED \
    "ETag, Location, Mcp-Session-Id, Retry-After, RateLimit, RateLimit-Policy, WWW-Authenticate, X-Agentchat-Thread, " \
    "X-Request-Id"
#define TAKEN \
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, MCP-Protocol-Version, " \
    "Mcp-Method, Mcp-Name, Mcp-Session-Id, X-API-Key, X-Request-Id, api-key"
/* Header fields in which clients of OpenAI's API describe themselves; each version adds some. They are allowed and
 * ignored. */
static const char *const of_clients[] = {"x-stainless-", "openai-", "user-agent"};

static bool is_listed(const ac_mount_conf_t *mount, const char *origin)
{
    for (int i = 0; origin && mount->cors_origins && i < mount->cors_origins->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(mount->cors_origins, i, const char *), origin) == 0) {
            return true;
        }
    }
    return false;
}

/* These are error headers, so that the page can read an error of httpd too. */
static void cors_set_headers(request_rec *r, const ac_mount_conf_t *mount, const char *origin)
{
    bool open = ac_config_section_is_open(mount);
    /* Answers to different origins differ, so a cache must not mix them up. */
    if (!open) {
        apr_table_mergen(r->err_headers_out, "Vary", "Origin");
    }
    if (!open && !is_listed(mount, origin)) {
        return;
    }
    apr_table_setn(r->err_headers_out, "Access-Control-Allow-Origin", open ? "*" : apr_pstrdup(r->pool, origin));
    apr_table_setn(r->err_headers_out, "Access-Control-Expose-Headers", EXPOSED);
    if (!open && mount->cors_credentials > 0) {
        apr_table_setn(r->err_headers_out, "Access-Control-Allow-Credentials", "true");
    }
}

/* TAKEN, and the header fields of clients that the browser asks for. */
static const char *taken(const request_rec *r)
{
    const char *wanted = apr_table_get(r->headers_in, "Access-Control-Request-Headers"), *list = TAKEN;
    char *state = NULL;
    for (char *name = wanted ? apr_strtok(apr_pstrdup(r->pool, wanted), ", \t", &state) : NULL; name;
         name = apr_strtok(NULL, ", \t", &state)) {
        for (size_t i = 0; i < sizeof(of_clients) / sizeof(*of_clients); i++) {
            bool fits = ap_cstr_casecmpn(name, of_clients[i], strlen(of_clients[i])) == 0 && !*ap_scan_http_token(name);
            if (fits) {
                list = apr_pstrcat(r->pool, list, ", ", name, NULL);
            }
        }
    }
    return list;
}

/* A browser sends a preflight request without credentials, so it is answered before httpd asks for a sign-in. */
static int answer_preflight(request_rec *r, const ac_mount_conf_t *mount, const char *methods)
{
    apr_bucket_brigade *brigade = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    apr_table_setn(r->err_headers_out, "Access-Control-Allow-Methods", methods);
    apr_table_setn(r->err_headers_out, "Access-Control-Allow-Headers", taken(r));
    apr_table_setn(r->err_headers_out, "Access-Control-Max-Age",
                   apr_psprintf(r->pool, "%" APR_TIME_T_FMT, apr_time_sec(mount->cors_max_age)));
    r->status = HTTP_NO_CONTENT;
    APR_BRIGADE_INSERT_TAIL(brigade, apr_bucket_eos_create(r->connection->bucket_alloc));
    ap_pass_brigade(r->output_filters, brigade);
    return DONE;
}

int ac_cors_answer(request_rec *r, const char *(*find_methods)(request_rec *r))
{
    const char *origin = apr_table_get(r->headers_in, "Origin");
    const ac_mount_conf_t *mount = ap_get_module_config(r->per_dir_config, &agentchat_module);
    if (!origin || !mount->cors_origins || !ac_config_mount_is_here(r)) {
        return DECLINED;
    }
    cors_set_headers(r, mount, origin);
    const char *wanted = apr_table_get(r->headers_in, "Access-Control-Request-Method");
    const char *methods = r->method_number == M_OPTIONS && wanted ? find_methods(r) : NULL;
    return methods && (ac_config_section_is_open(mount) || is_listed(mount, origin))
        ? answer_preflight(r, mount, methods)
        : DECLINED;
}

/* ---- requests from pages of other sites ---- */

/* Whether the request has a key. Browsers send these headers for a page of another site only after an allowed
 * preflight, and then only for listed origins, or without cookies and passwords. */
static bool shows_key(const request_rec *r)
{
    const char *value = apr_table_get(r->headers_in, "Authorization");
    return apr_table_get(r->headers_in, "X-API-Key") || apr_table_get(r->headers_in, "api-key") ||
        (value && ap_cstr_casecmpn(value, "Bearer ", 7) == 0);
}

/* Whether the browser signs the visitor in by itself: by a cookie, a remembered password, Kerberos, a certificate. */
static bool is_ambient(request_rec *r)
{
    const char *verified = r->user ? NULL
                                   : ap_ssl_var_lookup(r->pool, r->server, r->connection, r, "SSL_CLIENT_VERIFY");
    return r->user || (verified && strcmp(verified, "SUCCESS") == 0);
}

/* Whether text begins with this host's name; a port may follow. */
static bool cors_is_host(const char *text, const char *host)
{
    size_t len = strlen(host);
    const char *start = *text == '[' && *host != '[' ? text + 1 : text;
    const char *end = start + len;
    if (ap_cstr_casecmpn(start, host, len) != 0) {
        return false;
    }
    return !*end || *end == ':' || *end == ',' || *end == ' ' || (start != text && *end == ']');
}

/* Whether the page of an Origin comes from the host that the request names, or from the host that a proxy was asked
 * for. Ports are ignored, as browsers do for `same-site`. */
static bool is_own_host(request_rec *r, const char *origin)
{
    const char *host = strstr(origin, "://");
    const char *list = apr_table_get(r->headers_in, "X-Forwarded-Host");
    if (!host) {
        return false;
    }
    host += 3;
    if (r->hostname && cors_is_host(host, r->hostname)) {
        return true;
    }
    size_t len = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    const char *name = apr_pstrndup(r->pool, host, len);
    while (list && *list) {
        list += strspn(list, ", \t");
        if (*list && cors_is_host(list, name)) {
            return true;
        }
        list += strcspn(list, ",");
    }
    return false;
}

/* Browsers send Sec-Fetch-Site over https only; over http there is only the Origin. */
static bool is_foreign(request_rec *r)
{
    const char *site = apr_table_get(r->headers_in, "Sec-Fetch-Site"), *origin = apr_table_get(r->headers_in, "Origin");
    return site ? ap_cstr_casecmp(site, "cross-site") == 0 : origin && !is_own_host(r, origin);
}

/* Whether the visitor follows a link. The link may be on any page, even in a model's answer on a page of this site. */
static bool is_link(request_rec *r)
{
    const char *mode = apr_table_get(r->headers_in, "Sec-Fetch-Mode"),
               *site = apr_table_get(r->headers_in, "Sec-Fetch-Site");
    return r->method_number == M_GET && mode && ap_cstr_casecmp(mode, "navigate") == 0 &&
        (!site || ap_cstr_casecmp(site, "none") != 0);
}

apr_status_t ac_cors_check(request_rec *r, const ac_mount_conf_t *mount, const ac_route_t *route, ac_err_t *err)
{
    /* A link may lead to any GET except those that run an agent. */
    bool runs = (route->needs & AC_NEEDS_OWNER) && (route->needs & AC_ALWAYS_STREAMS), link = is_link(r);
    if (runs && link) {
        return ac_err_set(err, AC_FORBIDDEN, "a link may not run an agent");
    }
    if (shows_key(r) || !is_foreign(r) || is_listed(mount, apr_table_get(r->headers_in, "Origin"))) {
        return APR_SUCCESS;
    }
    if (ac_config_section_is_open(mount) && !is_ambient(r)) {
        return APR_SUCCESS;
    }
    if (link) {
        return APR_SUCCESS;
    }
    if (ac_config_section_is_open(mount)) {
        return ac_err_set(err, AC_FORBIDDEN,
                          "pages of other sites may not use a visitor's sign-in here; AgentChatCORSOrigin has to "
                          "list their origins, '*' is not enough");
    }
    return ac_err_set(err, AC_FORBIDDEN,
                      "pages of this origin may not use the API; AgentChatCORSOrigin lists those that may");
}
