/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of an HTTP tool's directives: errors are found when httpd starts, not when a model calls the tool. */
#include "tool_http.h"

#include "back/credential/credential.h"

#include <apr_strings.h>
#include <string.h>
#include <strings.h>

/* ---- the URL ---- */

static const char *tool_http_config_check_url(const ac_tool_conf_t *conf, apr_pool_t *p)
{
    if (!conf->url || !*conf->url) {
        return "AgentChatToolURL is missing; give one like https://host/path?q={query}";
    }
    const char *problem = ac_template_problem(conf->url, AC_TEMPLATE_URL, conf->parameters, p);
    if (problem) {
        return apr_psprintf(p, "AgentChatToolURL: %s", problem);
    }
    json_t *no_arguments = json_object();
    ac_buf_t sample;
    ac_buf_init(&sample, AC_MAX_BODY_DEFAULT);
    /* The template may refuse an empty value in the path; the rest of the URL can be checked nevertheless. */
    apr_status_t status = ac_template_fill(&sample, conf->url, AC_TEMPLATE_URL, no_arguments, NULL);
    const char *url = status == APR_SUCCESS ? sample.data : apr_pstrndup(p, conf->url, strcspn(conf->url, "{"));
    if (!ac_http_address_url_valid(url)) {
        problem = apr_psprintf(p,
                               "AgentChatToolURL: '%s' is not an http or https URL; give one like "
                               "https://host/path?q={query}",
                               conf->url);
    } else if (!conf->allow_private && ac_tool_header_is_private(url, p)) {
        problem = apr_psprintf(p,
                               "AgentChatToolURL: '%s' is a private address; write AgentChatToolAllowPrivate on, "
                               "if the tool may reach such",
                               ac_tool_header_host(url, p));
    }
    json_decref(no_arguments);
    ac_buf_free(&sample);
    return problem;
}

/* ---- method and body ---- */

static const char *set_method(ac_tool_http_t *tool, apr_pool_t *p)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
    const ac_tool_conf_t *conf = tool->conf;
    const char *method = conf->method ? conf->method : conf->body ? "POST" : "GET";
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcasecmp(methods[i], method) == 0) {
            tool->method = methods[i];
        }
    }
    if (!tool->method) {
        return apr_psprintf(p, "AgentChatToolURL: there is no method '%s'; known are GET, POST, PUT, PATCH, DELETE",
                            method);
    }
    tool->has_body = tool->method[0] == 'P';
    if (conf->body && !tool->has_body) {
        return apr_psprintf(p,
                            "AgentChatToolBody: a %s request takes no body; give AgentChatToolURL method=POST, "
                            "PUT or PATCH",
                            tool->method);
    }
    const char *problem =
        conf->body && *conf->body ? ac_template_problem(conf->body, AC_TEMPLATE_JSON, conf->parameters, p) : NULL;
    return problem ? apr_psprintf(p, "AgentChatToolBody: %s", problem) : NULL;
}

/* ---- headers ---- */

/* The scope of Azure AI Search is known by its host. */
static const char *known_scope(const char *host)
{
    static const char search[] = ".search.windows.net";
    size_t len = strlen(host);
    return len > sizeof search - 1 && strcasecmp(host + len - (sizeof search - 1), search) == 0
        ? "https://search.azure.com/.default"
        : NULL;
}

/* A key that does not change while the process runs is masked like the secrets of the headers. */
static const char *tool_http_config_set_credential(ac_tool_http_t *tool, apr_pool_t *p)
{
    const ac_tool_conf_t *conf = tool->conf;
    apr_array_header_t *secrets = apr_array_make(p, 4, sizeof(ac_tool_header_t));
    if (conf->headers) {
        apr_array_cat(secrets, conf->headers);
    }
    if (!conf->auth) {
        tool->rules.mask = ac_tool_mask_create(secrets, p);
        return NULL;
    }
    const char *key = ac_credential_first(conf->auth);
    const char *host = ac_tool_header_host(apr_pstrndup(p, conf->url, strcspn(conf->url, "{")), p);
    if (key) {
        APR_ARRAY_PUSH(secrets, ac_tool_header_t) =
            (ac_tool_header_t){.name = "Authorization", .secret = {.value = key}};
    }
    tool->rules.mask = ac_tool_mask_create(secrets, p);
    tool->scope = ac_credential_scope(conf->auth, known_scope(host));
    if (strncmp(ac_credential_spec(conf->auth), "identity", 8) == 0 && !tool->scope) {
        return "AgentChatToolCredential: an identity needs the scope of the service, such as scope=api://ID/.default";
    }
    if (tool->has_authorization) {
        return "AgentChatToolHeader: AgentChatToolCredential sends Authorization already";
    }
    if (strncasecmp(conf->url, "http:", 5) == 0 && !conf->insecure && !ac_http_address_near(host)) {
        return apr_psprintf(p,
                            "AgentChatToolCredential: over plain http the credential could be read on its way to %s; "
                            "use https, or add insecure=on to AgentChatToolURL if the way is safe",
                            host);
    }
    return NULL;
}

static const char *tool_http_config_set_headers(ac_tool_http_t *tool, apr_pool_t *p)
{
    const apr_array_header_t *headers = tool->conf->headers;
    const ac_tool_header_check_t check = {"AgentChatToolHeader", "AgentChatToolURL", tool->conf->url,
                                          tool->conf->parameters, tool->conf->insecure};
    for (int i = 0; headers && i < headers->nelts; i++) {
        const ac_tool_header_t *header = &APR_ARRAY_IDX(headers, i, ac_tool_header_t);
        const char *problem = ac_tool_header_problem(header, &check, p);
        if (problem) {
            return problem;
        }
        tool->has_type = tool->has_type || strcasecmp(header->name, "Content-Type") == 0;
        tool->has_authorization = tool->has_authorization || strcasecmp(header->name, "Authorization") == 0;
        tool->has_accept = tool->has_accept || strcasecmp(header->name, "Accept") == 0;
    }
    return tool_http_config_set_credential(tool, p);
}

/* ---- hosts ---- */

static bool tool_http_config_is_host(const char *text, size_t len)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
        return strspn(text + 1, "0123456789abcdefABCDEF:.") == len - 2;
    }
    if (len > 2 && text[0] == '*' && text[1] == '.') {
        text += 2;
        len -= 2;
    }
    return len && strspn(text, letters) >= len && text[0] != '.' && text[0] != '-' && !memmem(text, len, "..", 2);
}

static bool is_port(const char *text)
{
    size_t len = strspn(text, "0123456789");
    return len > 0 && len <= 5 && !text[len] && strtol(text, NULL, 10) >= 1 && strtol(text, NULL, 10) <= 65535;
}

static const char *set_hosts(ac_tool_http_t *tool, apr_pool_t *p)
{
    const apr_array_header_t *hosts = tool->conf->allow_hosts;
    int n_hosts = hosts ? hosts->nelts : 0;
    tool->allow_hosts = apr_pcalloc(p, ((size_t)n_hosts + 1) * sizeof(tool->allow_hosts[0]));
    for (int i = 0; i < n_hosts; i++) {
        const char *text = APR_ARRAY_IDX(hosts, i, const char *);
        const char *bracket = strchr(text, ']'), *colon = strchr(bracket ? bracket : text, ':');
        size_t len = colon ? (size_t)(colon - text) : strlen(text);
        if (!tool_http_config_is_host(text, len) || (colon && !is_port(colon + 1))) {
            return apr_psprintf(p,
                                "AgentChatToolAllowHost: '%s' is not a host; give host, *.host or host:port, "
                                "without https:// and path",
                                text);
        }
        tool->allow_hosts[i] = text;
    }
    return NULL;
}

/* ---- the whole configuration ---- */

static const char *check_parameters(const ac_tool_conf_t *conf, apr_pool_t *p)
{
    if (!conf->parameters) {
        return "AgentChatToolParameters is missing; give the JSON Schema of the tool's arguments, as file:PATH or "
               "as it is";
    }
    const char *problem = ac_schema_problem(conf->parameters, p);
    return problem ? apr_psprintf(p, "AgentChatToolParameters: %s", problem) : NULL;
}

static const char *set_options(ac_tool_http_t *tool, apr_pool_t *p)
{
    static const char *const known[] = {"result", NULL};
    const apr_table_t *options = tool->conf->options;
    const char *problem = ac_tool_support_check_options(options, known, p);
    const char *pointer = options ? apr_table_get(options, "result") : NULL;
    if (!problem && pointer && *pointer && *pointer != '/') {
        problem = apr_psprintf(p, "AgentChatToolOption result: '%s' is not a JSON Pointer; give one like /data/items",
                               pointer);
    }
    for (const char *c = pointer; !problem && c && *c; c++) {
        if (*c == '~' && c[1] != '0' && c[1] != '1') {
            problem = "AgentChatToolOption result: in a JSON Pointer '~' is written ~0, and '/' inside a name ~1";
        }
    }
    tool->rules.result_max = tool->conf->result_max;
    tool->rules.result = pointer && *pointer ? pointer : NULL;
    return problem;
}

const char *ac_tool_http_config_read(ac_tool_http_t *tool, apr_pool_t *p)
{
    const char *problem = check_parameters(tool->conf, p);
    problem = problem ? problem : tool_http_config_check_url(tool->conf, p);
    problem = problem ? problem : set_method(tool, p);
    problem = problem ? problem : tool_http_config_set_headers(tool, p);
    problem = problem ? problem : set_hosts(tool, p);
    return problem ? problem : set_options(tool, p);
}
