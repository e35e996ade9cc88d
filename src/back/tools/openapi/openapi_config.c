/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of the directives of an <AgentChatOpenAPI> section: errors are found when httpd starts. */
#include "openapi_internal.h"

#include "back/credential/credential.h"

#include <apr_strings.h>
#include <openssl/sha.h>
#include <string.h>
#include <strings.h>

#define MAX_PREFIX 32
#define MAX_HEADERS 16
#define MAX_SCHEMES 32
#define MAX_LINE (16 * 1024)
#define FROM "openapi:"

/* ---- the document ---- */

bool ac_openapi_config_fetches(const ac_openapi_conf_t *conf)
{
    return conf->from && strncmp(conf->from, FROM "http", strlen(FROM "http")) == 0;
}

/* A name that is another one for another URL. */
static const char *copy_path(const ac_openapi_conf_t *conf, const char *url, apr_pool_t *p)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    char digits[17];
    SHA256((const unsigned char *)url, strlen(url), digest);
    ac_text_hex(digits, digest, 8);
    return apr_psprintf(p, "%s/openapi-%s-%s.doc", conf->state_dir, conf->id, digits);
}

static const char *openapi_config_set_document(ac_openapi_service_t *service, apr_pool_t *p)
{
    const ac_openapi_conf_t *conf = service->conf;
    if (!conf->from) {
        return "AgentChatToolsFrom is missing; give openapi:FILE or openapi:URL";
    }
    if (strncmp(conf->from, FROM, strlen(FROM)) != 0 || !conf->from[strlen(FROM)]) {
        return apr_psprintf(p, "AgentChatToolsFrom: '%s' is not openapi:FILE or openapi:URL", conf->from);
    }
    const char *where = conf->from + strlen(FROM);
    if (!ac_openapi_config_fetches(conf)) {
        service->path = where;
        return NULL;
    }
    if (!ac_http_address_url_valid(where) || strchr(where, '#')) {
        return apr_psprintf(p, "AgentChatToolsFrom: '%s' is not a URL like https://host/openapi.json", where);
    }
    if (!conf->allow_private && ac_tool_header_is_private(where, p)) {
        return apr_psprintf(p,
                            "AgentChatToolsFrom: '%s' is a private address; write AgentChatOpenAPIAllowPrivate on, if "
                            "the service is one of your own",
                            ac_tool_header_host(where, p));
    }
    service->url = where;
    service->copy = conf->state_dir ? copy_path(conf, where, p) : NULL;
    return NULL;
}

/* ---- operations ---- */

static const char *check_operations(const ac_openapi_conf_t *conf, apr_pool_t *p)
{
    int n = conf->operations ? conf->operations->nelts : 0;
    bool any = false;
    for (int i = 0; i < n; i++) {
        const char *name = APR_ARRAY_IDX(conf->operations, i, const char *);
        const char *blank = strchr(name, ' ');
        any = any || *name != '!';
        if (blank && blank[1] != '/' && blank[1] != '*') {
            return apr_psprintf(p, "AgentChatOpenAPIOperations: '%s' is not an operationId or \"METHOD /path\"", name);
        }
    }
    return any
        ? NULL
        : "AgentChatOpenAPIOperations is missing; name the operations that are tools, by their operationId or as "
          "\"GET /path\"; '*' stands for any text";
}

static const char *openapi_config_check_approvals(const ac_openapi_conf_t *conf, apr_pool_t *p)
{
    const apr_array_header_t *rows = conf->approvals ? apr_table_elts(conf->approvals) : NULL;
    for (int i = 0; rows && i < rows->nelts; i++) {
        const apr_table_entry_t *row = &APR_ARRAY_IDX(rows, i, apr_table_entry_t);
        if (strcmp(row->val, "write") != 0 && strcmp(row->val, "required") != 0 && strcmp(row->val, "none") != 0) {
            return apr_psprintf(p, "AgentChatOpenAPIApproval: %s: '%s' is not one of write, required, none", row->key,
                                row->val);
        }
    }
    return NULL;
}

static const char *openapi_config_check_prefix(const char *prefix, apr_pool_t *p)
{
    static const char legal[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    return strlen(prefix) <= MAX_PREFIX && strspn(prefix, legal) == strlen(prefix)
        ? NULL
        : apr_psprintf(p,
                       "AgentChatOpenAPIPrefix: '%s' cannot begin names of tools; give at most %d letters, digits, '_' "
                       "and '-'",
                       prefix, MAX_PREFIX);
}

/* ---- hosts ---- */

static const char *openapi_config_set_hosts(ac_openapi_service_t *service, apr_pool_t *p)
{
    const apr_array_header_t *hosts = service->conf->allow_hosts;
    int n = hosts ? hosts->nelts : 0;
    service->hosts = apr_pcalloc(p, ((size_t)n + 1) * sizeof service->hosts[0]);
    for (int i = 0; i < n; i++) {
        const char *host = APR_ARRAY_IDX(hosts, i, const char *);
        if (!*host || strpbrk(host, "/ @?#")) {
            return apr_psprintf(
                p,
                "AgentChatOpenAPIAllowHost: '%s' is not a host; give host, *.host or host:port, without "
                "https:// and path",
                host);
        }
        service->hosts[i] = host;
    }
    return NULL;
}

static const char *set_server(ac_openapi_service_t *service, apr_pool_t *p)
{
    const ac_openapi_conf_t *conf = service->conf;
    if (!conf->server || strcmp(conf->server, "document") == 0) {
        return NULL;
    }
    service->server = conf->server;
    return ac_http_address_url_valid(conf->server) && !strpbrk(conf->server, "?#{}")
        ? NULL
        : apr_psprintf(p, "AgentChatOpenAPIServer: '%s' is not a base URL like https://host/v1", conf->server);
}

/* ---- secrets ---- */

/* The whole lines: they never change. Where each request goes is checked with the operation. */
static const char *openapi_config_set_headers(ac_openapi_service_t *service, apr_pool_t *p)
{
    const apr_array_header_t *headers = service->conf->headers;
    const ac_tool_header_check_t check = {"AgentChatOpenAPIHeader", "AgentChatOpenAPIServer", "https://unknown.invalid",
                                          NULL, true};
    int n = headers ? headers->nelts : 0;
    const char *problem = n > MAX_HEADERS ? "AgentChatOpenAPIHeader: a service may have at most 16 headers" : NULL;
    json_t *none = json_object();
    service->headers = apr_pcalloc(p, ((size_t)n + 1) * sizeof *service->headers);
    for (int i = 0; i < n && !problem; i++) {
        const ac_tool_header_t *header = &APR_ARRAY_IDX(headers, i, ac_tool_header_t);
        ac_buf_t line;
        problem = ac_tool_header_problem(header, &check, p);
        if (problem) {
            break;
        }
        ac_buf_init(&line, MAX_LINE);
        ac_buf_printf(&line, "%s: ", header->name);
        ac_template_header(&line, header->value, header->secret.value, none, NULL);
        service->headers[i] = apr_pstrdup(p, line.data);
        service->signs = service->signs || header->secret.value;
        service->has_accept = service->has_accept || strcasecmp(header->name, "Accept") == 0;
        ac_buf_free(&line);
    }
    json_decref(none);
    return problem;
}

static const char *set_schemes(ac_openapi_service_t *service, apr_pool_t *p)
{
    const apr_array_header_t *credentials = service->conf->credentials;
    int n = credentials ? credentials->nelts : 0;
    if (n > MAX_SCHEMES) {
        return "AgentChatOpenAPICredential: a service may have at most 32 credentials";
    }
    service->n_schemes = n;
    service->schemes = apr_pcalloc(p, ((size_t)n + 1) * sizeof *service->schemes);
    service->scopes = apr_pcalloc(p, ((size_t)n + 1) * sizeof *service->scopes);
    for (int i = 0; i < n; i++) {
        const ac_openapi_credential_t *one = &APR_ARRAY_IDX(credentials, i, ac_openapi_credential_t);
        for (int j = 0; j < i; j++) {
            if (strcmp(service->schemes[j], one->scheme) == 0) {
                return apr_psprintf(p, "AgentChatOpenAPICredential: '%s' is given twice", one->scheme);
            }
        }
        service->schemes[i] = one->scheme;
        service->scopes[i] = ac_credential_scope(one->auth, NULL);
        if (strncmp(ac_credential_spec(one->auth), "identity", 8) == 0 && !service->scopes[i]) {
            return apr_psprintf(p,
                                "AgentChatOpenAPICredential: %s: an identity needs the scope of the service, such as "
                                "scope=api://ID/.default",
                                one->scheme);
        }
    }
    return NULL;
}

/* The secrets that do not change while the process runs. */
static void set_answers(ac_openapi_service_t *service, apr_pool_t *p)
{
    const ac_openapi_conf_t *conf = service->conf;
    apr_array_header_t *secrets = apr_array_make(p, 4, sizeof(ac_tool_header_t));
    if (conf->headers) {
        apr_array_cat(secrets, conf->headers);
    }
    for (int i = 0; conf->credentials && i < conf->credentials->nelts; i++) {
        const char *key = ac_credential_first(APR_ARRAY_IDX(conf->credentials, i, ac_openapi_credential_t).auth);
        if (key) {
            APR_ARRAY_PUSH(secrets, ac_tool_header_t) =
                (ac_tool_header_t){.name = "Authorization", .secret = {.value = key}};
        }
    }
    service->answers.result_max = conf->result_max;
    service->answers.mask = ac_tool_mask_create(secrets, p);
}

/* ---- the whole configuration ---- */

static apr_status_t forget_tools(void *baton)
{
    ac_openapi_service_t *service = baton;
    ac_openapi_list_unref(service->tools);
    service->tools = NULL;
    return APR_SUCCESS;
}

static const char *openapi_config_read_file(ac_openapi_service_t *service, apr_pool_t *p)
{
    char *text, reason[120];
    size_t len;
    ac_err_t err;
    ac_err_init(&err);
    apr_status_t status = ac_file_read(&text, &len, service->path, AC_MAX_OPENAPI_DOCUMENT);
    if (status != APR_SUCCESS) {
        return apr_psprintf(p, "AgentChatToolsFrom: %s cannot be read: %s", service->path,
                            status == APR_ENOSPC       ? "it is larger than 32 MB"
                                : status == APR_EINVAL ? "it is not a regular file"
                                                       : apr_strerror(status, reason, sizeof reason));
    }
    ac_openapi_list_make(&service->tools, service, text, len, &err);
    free(text);
    if (!service->tools) {
        return apr_psprintf(p, "AgentChatToolsFrom: %s: %s", service->path, err.detail);
    }
    apr_pool_cleanup_register(p, service, forget_tools, apr_pool_cleanup_null);
    return service->tools->unmatched
        ? apr_psprintf(p, "AgentChatOpenAPIOperations: the document has no operation '%s'", service->tools->unmatched)
        : NULL;
}

const char *ac_openapi_config_create(ac_openapi_service_t **pservice, const ac_openapi_conf_t *conf, apr_pool_t *p)
{
    ac_openapi_service_t *service = *pservice = apr_pcalloc(p, sizeof *service);
    service->conf = conf;
    service->source = (ac_tool_source_t){apr_pstrcat(p, FROM, conf->id, NULL), &ac_openapi_use_source, service};
    service->prefix = conf->prefix ? conf->prefix : apr_psprintf(p, "%.*s_", MAX_PREFIX - 1, conf->id);
    const char *problem = openapi_config_set_document(service, p);
    problem = problem ? problem : check_operations(conf, p);
    problem = problem ? problem : openapi_config_check_approvals(conf, p);
    problem = problem ? problem : openapi_config_check_prefix(service->prefix, p);
    problem = problem ? problem : openapi_config_set_hosts(service, p);
    problem = problem ? problem : set_server(service, p);
    problem = problem ? problem : openapi_config_set_headers(service, p);
    problem = problem ? problem : set_schemes(service, p);
    if (!problem) {
        set_answers(service, p);
        problem = service->path ? openapi_config_read_file(service, p) : NULL;
    }
    return problem;
}
