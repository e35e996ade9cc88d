/* SPDX-License-Identifier: Apache-2.0 */
/* Which operations may be tools, which calls of them need an approval, and where requests may go. Pure. */
#include "openapi_internal.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* "GET /pets" and "GET /pets/{id}" are names by method and path; other names are operationIds. */
bool ac_openapi_rule_names(const char *pattern, const ac_openapi_place_t *place)
{
    const char *blank = strchr(pattern, ' ');
    if (!blank) {
        return *place->id && ac_tool_support_matches(pattern, place->id);
    }
    size_t len = (size_t)(blank - pattern);
    bool method = (len == 1 && *pattern == '*') ||
        (len == strlen(place->method) && strncasecmp(pattern, place->method, len) == 0);
    return method && ac_tool_support_matches(blank + 1, place->path);
}

bool ac_openapi_rule_allows(const ac_openapi_conf_t *conf, const ac_openapi_place_t *place)
{
    bool listed = false;
    for (int i = 0; i < conf->operations->nelts; i++) {
        const char *pattern = APR_ARRAY_IDX(conf->operations, i, const char *);
        if (*pattern == '!' && ac_openapi_rule_names(pattern + 1, place)) {
            return false;
        }
        listed = listed || (*pattern != '!' && ac_openapi_rule_names(pattern, place));
    }
    return listed;
}

static bool rule_is_safe(const char *method)
{
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 || strcmp(method, "OPTIONS") == 0;
}

bool ac_openapi_rule_approval(const ac_openapi_conf_t *conf, const ac_openapi_place_t *place)
{
    const apr_array_header_t *rows = conf->approvals ? apr_table_elts(conf->approvals) : NULL;
    int policy = conf->approval;
    for (int i = 0; rows && i < rows->nelts; i++) {
        const apr_table_entry_t *row = &APR_ARRAY_IDX(rows, i, apr_table_entry_t);
        if (ac_openapi_rule_names(row->key, place)) {
            policy = strcmp(row->val, "none") == 0  ? AC_OPENAPI_APPROVAL_NONE
                : strcmp(row->val, "required") == 0 ? AC_OPENAPI_APPROVAL_REQUIRED
                                                    : AC_OPENAPI_APPROVAL_WRITE;
            break;
        }
    }
    return policy == AC_OPENAPI_APPROVAL_REQUIRED ||
        (policy == AC_OPENAPI_APPROVAL_WRITE && !rule_is_safe(place->method));
}

/* "host", "*.host" with any port, or "host:port". */
static bool host_matches(const char *pattern, const char *host, int port)
{
    char whole[AC_HOST_SIZE + 8];
    snprintf(whole, sizeof whole, "%s:%d", host, port);
    const char *form = strchr(pattern, ':') ? whole : host;
    size_t len = strlen(pattern), form_len = strlen(form);
    return strncmp(pattern, "*.", 2) == 0 ? form_len >= len && strcasecmp(form + form_len - (len - 1), pattern + 1) == 0
                                          : strcasecmp(pattern, form) == 0;
}

/* A document that is fetched must not lead credentials elsewhere: its servers are on its own host, or are named. */
static bool is_named(const ac_openapi_service_t *service, const char *server)
{
    char host[AC_HOST_SIZE], own[AC_HOST_SIZE];
    int port, own_port;
    if (!service->url || service->server) {
        return true;
    }
    if (!ac_http_address_server(host, &port, server) || !ac_http_address_server(own, &own_port, service->url)) {
        return false;
    }
    bool found = strcasecmp(host, own) == 0 && port == own_port;
    for (const char **allowed = service->hosts; *allowed && !found; allowed++) {
        found = host_matches(*allowed, host, port);
    }
    return found;
}

apr_status_t ac_openapi_rule_server(const ac_openapi_service_t *service, const ac_openapi_operation_t *operation,
                                    ac_err_t *err)
{
    const char *server = operation->server;
    char host[AC_HOST_SIZE];
    int port;
    bool secret = operation->n_keys || service->signs;
    if (!ac_http_address_url_valid(server) || !ac_http_address_server(host, &port, server)) {
        return ac_err_set(err, AC_INVALID_REQUEST, "the URL of its server cannot be used");
    }
    if (!is_named(service, server)) {
        return ac_err_set(err, AC_INVALID_REQUEST,
                          "its server %s is another host than that of the document; name it in AgentChatOpenAPIServer "
                          "or AgentChatOpenAPIAllowHost",
                          host);
    }
    if (!service->conf->allow_private && ac_tool_header_host_is_private(host)) {
        return ac_err_set(err, AC_INVALID_REQUEST,
                          "its server %s has a private address; write AgentChatOpenAPIAllowPrivate on, if it is one of "
                          "your own",
                          host);
    }
    if (secret && strncasecmp(server, "http:", 5) == 0 && !service->conf->insecure && !ac_http_address_near(host)) {
        return ac_err_set(err, AC_INVALID_REQUEST,
                          "over plain http its credential could be read on its way to %s; use https, or write "
                          "insecure=on at AgentChatOpenAPIServer",
                          host);
    }
    return APR_SUCCESS;
}
