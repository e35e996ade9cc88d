/* SPDX-License-Identifier: Apache-2.0 */
/* The OpenAI models' configuration: the URL, the model's name and the header of a request. An error message names the
 * directive and the accepted values. */
#include "model_openai.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include <apr_lib.h>
#include <apr_strings.h>

#define OPENAI_BASE "https://api.openai.com/v1"
#define OPENAI_HOST "api.openai.com"
#define BEARER "Authorization: Bearer "
#define SCOPE_V1 "https://ai.azure.com/.default"
#define SCOPE_CLASSIC "https://cognitiveservices.azure.com/.default"

static const char *const openai_options[] = {"model", "insecure", NULL};
static const char *const azure_options[] = {"deployment", "model", "api-version", "insecure", NULL};

/* ---- parts of an address ---- */

/* The host of a valid URL, without port, brackets and case. */
static const char *model_endpoint_host_of(const char *url, apr_pool_t *p)
{
    const char *start = strstr(url, "://") + 3;
    bool bracket = *start == '[';
    size_t len = strcspn(start + bracket, bracket ? "]" : ":/?#");
    char *host = apr_pstrmemdup(p, start + bracket, len);
    for (char *c = host; *c; c++) {
        *c = apr_tolower(*c);
    }
    return host;
}

static bool model_endpoint_ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);
    return len >= end_len && strcasecmp(text + len - end_len, end) == 0;
}

static bool is_azure(const char *host)
{
    return model_endpoint_ends_with(host, ".azure.com") || model_endpoint_ends_with(host, ".azure.us") ||
        model_endpoint_ends_with(host, ".azure.cn") || ac_http_address_near(host);
}

static const char *encode_segment(const char *text, apr_pool_t *p)
{
    static const char hex[] = "0123456789ABCDEF";
    char *encoded = apr_palloc(p, strlen(text) * 3 + 1), *to = encoded;
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (apr_isalnum(c) || c == '-' || c == '_' || c == '.' || c == '~') {
            *to++ = (char)c;
            continue;
        }
        *to++ = '%';
        *to++ = hex[c >> 4];
        *to++ = hex[c & 15];
    }
    *to = '\0';
    return encoded;
}

/* ---- checks ---- */

typedef struct options_t {
    const char *const *known;
    const char *unknown; /* the first unknown option */
} options_t;

static int check_option(void *baton, const char *name, const char *value)
{
    options_t *options = baton;
    (void)value;
    for (int i = 0; options->known[i]; i++) {
        if (strcasecmp(options->known[i], name) == 0) {
            return 1;
        }
    }
    options->unknown = name;
    return 0;
}

const char *ac_model_endpoint_option(const ac_model_conf_t *conf, const char *name)
{
    const char *value = conf->options ? apr_table_get(conf->options, name) : NULL;
    return value && *value ? value : NULL;
}

static const char *check_options(const ac_model_conf_t *conf, const char *const *known, apr_pool_t *p)
{
    options_t options = {known, NULL};
    const char *insecure = ac_model_endpoint_option(conf, "insecure"), *list = "";
    if (conf->options) {
        apr_table_do(check_option, &options, conf->options, NULL);
    }
    if (options.unknown) {
        for (int i = 0; known[i]; i++) {
            list = apr_pstrcat(p, list, i ? ", " : "", known[i], "=", NULL);
        }
        return apr_psprintf(p, "AgentChatEndpoint: there is no option '%s'; provider '%s' knows %s", options.unknown,
                            conf->provider ? conf->provider : "openai", list);
    }
    if (insecure && strcasecmp(insecure, "on") != 0 && strcasecmp(insecure, "off") != 0) {
        return apr_psprintf(p, "AgentChatEndpoint: insecure='%s'; give on or off", insecure);
    }
    if (json_object_get(conf->params, "messages") || json_object_get(conf->params, "tools")) {
        return "AgentChatModelParameter: 'messages' and 'tools' are the conversation's own and cannot be set";
    }
    return NULL;
}

/* Checks an address that must end with its path; *pbase: without slashes at its end. */
static const char *check_address(const char **pbase, const char *endpoint, const char *example, apr_pool_t *p)
{
    if (!ac_http_address_url_valid(endpoint)) {
        return apr_psprintf(p, "AgentChatEndpoint: '%s' is not an http or https address; give one like %s", endpoint,
                            example);
    }
    if (strpbrk(endpoint, "?#")) {
        return apr_psprintf(p,
                            "AgentChatEndpoint: '%s' has a '?' or '#'; give the address alone, like %s, and options "
                            "behind it",
                            endpoint, example);
    }
    if (strstr(endpoint, "/chat/completions") || model_endpoint_ends_with(endpoint, "/responses") ||
        strstr(endpoint, "/openai/deployments")) {
        return apr_psprintf(p, "AgentChatEndpoint: '%s' is the address of one call; give only its beginning, like %s",
                            endpoint, example);
    }
    char *base = apr_pstrdup(p, endpoint);
    for (size_t len = strlen(base); len && base[len - 1] == '/'; len--) {
        base[len - 1] = '\0';
    }
    *pbase = base;
    return NULL;
}

static const char *check_credential(const ac_model_conf_t *conf, const char *base, apr_pool_t *p)
{
    const char *insecure = ac_model_endpoint_option(conf, "insecure"), *host = model_endpoint_host_of(base, p);
    bool open = strncasecmp(base, "http:", 5) == 0 && !(insecure && strcasecmp(insecure, "on") == 0);
    if (conf->auth && open && !ac_http_address_near(host)) {
        return apr_psprintf(
            p,
            "AgentChatEndpoint: over plain http the credential of AgentChatCredential could be read on its "
            "way to %s; use https, or add insecure=on if the way is safe",
            host);
    }
    bool azure = conf->provider && strncmp(conf->provider, "azure-", 6) == 0;
    bool token = conf->auth && ac_credential_kind(conf->auth) == AC_CREDENTIAL_TOKEN;
    if (token && !azure && !ac_credential_scope(conf->auth, NULL) && !is_azure(host)) {
        return apr_psprintf(p,
                            "AgentChatCredential: '%s' gives tokens of Entra ID, and %s is not a host of Azure; name "
                            "their resource with scope=",
                            ac_credential_spec(conf->auth), host);
    }
    return NULL;
}

static ac_model_openai_t *make_model(const ac_model_conf_t *conf, const ac_model_form_t *form, apr_pool_t *p)
{
    ac_model_openai_t *model = apr_pcalloc(p, sizeof(*model));
    model->conf = conf;
    model->form = form;
    model->credential_header = conf->auth ? BEARER : NULL;
    model->scope = conf->auth ? ac_credential_scope(conf->auth, SCOPE_V1) : NULL;
    return model;
}

/* ---- OpenAI and compatible servers ---- */

const char *ac_model_endpoint_make(ac_model_openai_t **pmodel, const ac_model_conf_t *conf, const ac_model_form_t *form,
                                   const char *const *known, apr_pool_t *p)
{
    const char *base, *endpoint = conf->endpoint && *conf->endpoint ? conf->endpoint : OPENAI_BASE;
    const char *problem = check_options(conf, known, p);
    if (!problem) {
        problem = check_address(&base, endpoint, OPENAI_BASE " or http://127.0.0.1:11434/v1", p);
    }
    if (!problem) {
        problem = check_credential(conf, base, p);
    }
    if (problem) {
        return problem;
    }
    bool openai = strcmp(model_endpoint_host_of(base, p), OPENAI_HOST) == 0;
    if (openai && !strchr(strstr(base, "://") + 3, '/')) {
        return "AgentChatEndpoint: OpenAI's address has a version at its end; give " OPENAI_BASE;
    }
    ac_model_openai_t *model = make_model(conf, form, p);
    model->model = ac_model_endpoint_option(conf, "model");
    if (openai && !model->model) {
        return "AgentChatEndpoint: no model; add its name, like " OPENAI_BASE " model=gpt-5-mini";
    }
    if (openai && !conf->auth) {
        return "AgentChatCredential: OpenAI asks for a key and there is none; give env:OPENAI_API_KEY or file:PATH";
    }
    model->url = apr_pstrcat(p, base, form->path, NULL);
    model->probe_url = apr_pstrcat(p, base, "/models", NULL);
    model->request_id_header = "X-Client-Request-Id";
    model->strict_probe = openai;
    *pmodel = model;
    return NULL;
}

const char *ac_model_endpoint_create(void **pself, const ac_model_conf_t *conf, apr_pool_t *p)
{
    return ac_model_endpoint_make((ac_model_openai_t **)pself, conf, &ac_model_form_chat, openai_options, p);
}

/* ---- Azure OpenAI ---- */

static bool is_dated(const char *version)
{
    static const char shape[] = "dddd-dd-dd";
    size_t i = 0;
    for (; i < sizeof(shape) - 1; i++) {
        bool fits = shape[i] == 'd' ? apr_isdigit(version[i]) != 0 : version[i] == shape[i];
        if (!fits) {
            return false;
        }
    }
    return !version[i] || strcmp(version + i, "-preview") == 0;
}

/* {resource}/openai/v1: the deployment is the body's model. */
static const char *set_v1(ac_model_openai_t *model, const char *base, const char *version, apr_pool_t *p)
{
    const char *query = strcasecmp(version, "v1") == 0 ? "" : apr_pstrcat(p, "?api-version=", version, NULL);
    const char *rest = model_endpoint_ends_with(base, "/openai/v1") ? ""
        : model_endpoint_ends_with(base, "/openai")                 ? "/v1"
                                                                    : "/openai/v1";
    model->url = apr_pstrcat(p, base, rest, model->form->path, query, NULL);
    model->probe_url = apr_pstrcat(p, base, rest, "/models", query, NULL);
    return NULL;
}

/* {resource}/openai/deployments/{deployment}: the service ignores the model's name. */
static const char *set_classic(ac_model_openai_t *model, const char *base, const char *version, apr_pool_t *p)
{
    const char *rest = model_endpoint_ends_with(base, "/openai") ? "" : "/openai";
    model->url = apr_pstrcat(p, base, rest, "/deployments/", encode_segment(model->model, p),
                             "/chat/completions?api-version=", version, NULL);
    model->probe_url = apr_pstrcat(p, base, rest, "/models?api-version=", version, NULL);
    model->model = NULL;
    model->scope = ac_credential_scope(model->conf->auth, SCOPE_CLASSIC);
    return NULL;
}

const char *ac_model_endpoint_make_azure(ac_model_openai_t **pmodel, const ac_model_conf_t *conf,
                                         const ac_model_form_t *form, const char *const *known, apr_pool_t *p)
{
    static const char example[] = "https://NAME.openai.azure.com";
    const char *base, *version = ac_model_endpoint_option(conf, "api-version");
    const char *problem = check_options(conf, known, p);
    if (!problem && !(conf->endpoint && *conf->endpoint)) {
        problem = apr_psprintf(p,
                               "AgentChatEndpoint: there is none; give the resource's address and a deployment, "
                               "like %s deployment=gpt-5-mini",
                               example);
    }
    if (!problem) {
        problem = check_address(&base, conf->endpoint, example, p);
    }
    if (!problem) {
        problem = check_credential(conf, base, p);
    }
    if (problem) {
        return problem;
    }
    ac_model_openai_t *model = make_model(conf, form, p);
    model->model = ac_model_endpoint_option(conf, "deployment") ? ac_model_endpoint_option(conf, "deployment")
                                                                : ac_model_endpoint_option(conf, "model");
    if (!model->model && !ac_model_endpoint_option(conf, "agent")) {
        return apr_psprintf(p, "AgentChatEndpoint: no deployment; add its name, like %s deployment=gpt-5-mini", base);
    }
    if (!conf->auth) {
        return "AgentChatCredential: Azure OpenAI asks for one and there is none; give identity, "
               "env:AZURE_OPENAI_API_KEY, file:PATH or keyvault:URL";
    }
    bool dated = version && is_dated(version), v1_address = model_endpoint_ends_with(base, "/openai/v1");
    if (version && !dated && strcasecmp(version, "v1") != 0 && strcasecmp(version, "preview") != 0 &&
        strcasecmp(version, "latest") != 0) {
        return apr_psprintf(p,
                            "AgentChatEndpoint: api-version='%s'; give v1 (also preview or latest), or a date like "
                            "2024-10-21",
                            version);
    }
    if (dated && v1_address) {
        return apr_psprintf(p,
                            "AgentChatEndpoint: api-version=%s does not go with an address that ends in /openai/v1; "
                            "leave one of them out",
                            version);
    }
    model->azure = model->strict_probe = true;
    model->request_id_header = "x-ms-client-request-id";
    /* Foundry projects use v1, resources the classic paths. */
    bool project = strstr(base, "/api/projects/") != NULL;
    bool token = ac_credential_kind(conf->auth) == AC_CREDENTIAL_TOKEN;
    model->credential_header = token || project ? BEARER : "api-key: ";
    *pmodel = model;
    return dated ? set_classic(model, base, version, p) : set_v1(model, base, version ? version : "v1", p);
}

const char *ac_model_endpoint_create_azure(void **pself, const ac_model_conf_t *conf, apr_pool_t *p)
{
    return ac_model_endpoint_make_azure((ac_model_openai_t **)pself, conf, &ac_model_form_chat, azure_options, p);
}

/* ---- the id of a request ---- */

/* Request ids come from clients; one that is not valid in a header is left out. */
static bool is_plain(const char *text)
{
    size_t len = 0;
    while (text[len] > ' ' && text[len] < 0x7f) {
        len++;
    }
    return len && len < 128 && !text[len];
}

char *ac_model_endpoint_request_id(const ac_model_openai_t *model, const char *id)
{
    size_t size = strlen(model->request_id_header) + (id ? strlen(id) : 0) + 3;
    if (!id || !is_plain(id)) {
        return NULL;
    }
    char *header = ac_alloc(size);
    snprintf(header, size, "%s: %s", model->request_id_header, id);
    return header;
}
