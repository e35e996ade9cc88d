/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of the directives of an <AgentChatMCP> section: errors are found when httpd starts. */
#include "mcp_internal.h"

#include "back/credential/credential.h"

#include <apr_strings.h>
#include <string.h>
#include <strings.h>

#define MAX_PREFIX 32
#define MAX_HEADERS 16
#define MAX_LINE (16 * 1024)

static const char *mcp_config_check_url(const ac_mcp_conf_t *conf, apr_pool_t *p)
{
    if (!conf->url) {
        return "AgentChatMCPURL is missing; give one like https://host/mcp";
    }
    if (!ac_http_address_url_valid(conf->url)) {
        return apr_psprintf(
            p,
            "AgentChatMCPURL: '%s' is not an http or https URL, such as https://host/mcp. httpd starts no "
            "MCP server as a program (stdio): such a server would be a process beside httpd, shared by "
            "all users, so start it yourself and give the URL of its Streamable HTTP endpoint",
            conf->url);
    }
    if (strchr(conf->url, '#')) {
        return "AgentChatMCPURL: the URL has a fragment, which is never sent";
    }
    if (!conf->allow_private && ac_tool_header_is_private(conf->url, p)) {
        return apr_psprintf(p,
                            "AgentChatMCPURL: '%s' is a private address; write AgentChatMCPAllowPrivate on, if the "
                            "server is one of your own",
                            ac_tool_header_host(conf->url, p));
    }
    return NULL;
}

static bool is_of_protocol(const char *name)
{
    static const char *const names[] = {"Accept", "Content-Type", "Last-Event-ID", "Traceparent", "Tracestate"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcasecmp(names[i], name) == 0) {
            return true;
        }
    }
    return strncasecmp(name, "Mcp-", 4) == 0;
}

static const char *check_header(const ac_mcp_conf_t *conf, const ac_tool_header_t *header, apr_pool_t *p)
{
    const ac_tool_header_check_t check = {"AgentChatMCPHeader", "AgentChatMCPURL", conf->url, NULL, conf->insecure};
    const char *problem = ac_tool_header_problem(header, &check, p);
    if (problem) {
        return problem;
    }
    if (is_of_protocol(header->name)) {
        return apr_psprintf(p, "AgentChatMCPHeader: %s is written by the module itself", header->name);
    }
    return conf->auth && strcasecmp(header->name, "Authorization") == 0
        ? "AgentChatMCPHeader: AgentChatMCPCredential sends Authorization already"
        : NULL;
}

/* The whole lines: they never change. */
static const char *mcp_config_set_headers(ac_mcp_upstream_t *server, apr_pool_t *p)
{
    const apr_array_header_t *headers = server->conf->headers;
    int n = headers ? headers->nelts : 0;
    json_t *none = json_object();
    const char *problem = n > MAX_HEADERS ? "AgentChatMCPHeader: a server may have at most 16 headers" : NULL;
    server->headers = apr_pcalloc(p, ((size_t)n + 1) * sizeof *server->headers);
    for (int i = 0; i < n && !problem; i++) {
        const ac_tool_header_t *header = &APR_ARRAY_IDX(headers, i, ac_tool_header_t);
        ac_buf_t line;
        problem = check_header(server->conf, header, p);
        if (problem) {
            break;
        }
        ac_buf_init(&line, MAX_LINE);
        ac_buf_printf(&line, "%s: ", header->name);
        ac_template_header(&line, header->value, header->secret.value, none, NULL);
        server->headers[i] = apr_pstrdup(p, line.data);
        ac_buf_free(&line);
    }
    json_decref(none);
    return problem;
}

/* Hides the key, too, if it is one that does not change while the process runs. */
static const ac_tool_mask_t *make_mask(const ac_mcp_conf_t *conf, apr_pool_t *p)
{
    apr_array_header_t *secrets = apr_array_make(p, 4, sizeof(ac_tool_header_t));
    const char *key = conf->auth ? ac_credential_first(conf->auth) : NULL;
    if (conf->headers) {
        apr_array_cat(secrets, conf->headers);
    }
    if (key) {
        APR_ARRAY_PUSH(secrets, ac_tool_header_t) =
            (ac_tool_header_t){.name = "Authorization", .secret = {.value = key}};
    }
    return ac_tool_mask_create(secrets, p);
}

static const char *mcp_config_check_credential(ac_mcp_upstream_t *server, apr_pool_t *p)
{
    const ac_mcp_conf_t *conf = server->conf;
    if (!conf->auth) {
        return NULL;
    }
    server->scope = ac_credential_scope(conf->auth, NULL);
    const char *spec = ac_credential_spec(conf->auth), *host = ac_tool_header_host(conf->url, p);
    if (strncmp(spec, "identity", 8) == 0 && !server->scope) {
        return "AgentChatMCPCredential: an identity needs the scope of the server, such as scope=api://ID/.default";
    }
    if (strncasecmp(conf->url, "http:", 5) == 0 && !conf->insecure && !ac_http_address_near(host)) {
        return apr_psprintf(
            p,
            "AgentChatMCPCredential: over plain http the credential could be read on its way to %s; use "
            "https, or add insecure=on to AgentChatMCPURL if the way is safe",
            host);
    }
    return NULL;
}

static const char *check_prefix(const char *prefix, apr_pool_t *p)
{
    static const char legal[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    return strlen(prefix) <= MAX_PREFIX && strspn(prefix, legal) == strlen(prefix)
        ? NULL
        : apr_psprintf(p,
                       "AgentChatMCPPrefix: '%s' cannot begin names of tools; give at most %d letters, digits, '_' and "
                       "'-'",
                       prefix, MAX_PREFIX);
}

static const char *check_approvals(const ac_mcp_conf_t *conf, apr_pool_t *p)
{
    const apr_array_header_t *rows = conf->approvals ? apr_table_elts(conf->approvals) : NULL;
    for (int i = 0; rows && i < rows->nelts; i++) {
        const apr_table_entry_t *row = &APR_ARRAY_IDX(rows, i, apr_table_entry_t);
        if (ac_mcp_filter_policy(row->val) < 0) {
            return apr_psprintf(p, "AgentChatMCPApproval: %s: '%s' is not one of destructive, write, required, none",
                                row->key, row->val);
        }
    }
    return NULL;
}

/* "github_"; of a long id as many characters as a prefix may have. */
static const char *default_prefix(const char *id, apr_pool_t *p)
{
    return apr_psprintf(p, "%.*s_", MAX_PREFIX - 1, id);
}

const char *ac_mcp_config_create(ac_mcp_upstream_t **pserver, const ac_mcp_conf_t *conf, apr_pool_t *p)
{
    ac_mcp_upstream_t *server = *pserver = apr_pcalloc(p, sizeof *server);
    server->conf = conf;
    server->source = (ac_tool_source_t){apr_pstrcat(p, "mcp:", conf->id, NULL), &ac_mcp_use_source, server};
    server->prefix = conf->prefix ? conf->prefix : default_prefix(conf->id, p);
    const char *problem = mcp_config_check_url(conf, p);
    problem = problem ? problem : mcp_config_set_headers(server, p);
    problem = problem ? problem : mcp_config_check_credential(server, p);
    problem = problem ? problem : check_prefix(server->prefix, p);
    problem = problem ? problem : check_approvals(conf, p);
    server->mask = problem ? NULL : make_mask(conf, p);
    return problem;
}
