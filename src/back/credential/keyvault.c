/* SPDX-License-Identifier: Apache-2.0 */
/* A key in Azure Key Vault. If the tenant is known, the request has a token from the start. Otherwise the first request
 * has none, and the vault's challenge names tenant and scope; they are accepted only if they match the vault's own host
 * name. */
#include "identity.h"

#include <apr_strings.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define API_VERSION "7.4"
#define CONNECT_TIMEOUT apr_time_from_sec(5)
#define TOTAL_TIMEOUT apr_time_from_sec(30)
#define RETRIES 3
#define REFRESH apr_time_from_sec(600)
#define MAX_ANSWER (64 * 1024)
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

typedef struct vault_t {
    const char *url; /* of the secret, with its api-version parameter */
    const char *host;
    char scope[AC_IDENTITY_SCOPE_SIZE]; /* "https://vault.azure.net/.default" */
    ac_credential_t *credential;        /* the identity with permission to read it */
    ac_identity_t *identity;            /* inside of it */
    apr_interval_time_t refresh;
    ac_loop_t *loop;
    bool knows; /* tenant and scope are known */
} vault_t;

typedef struct reading_t {
    vault_t *vault;
    ac_credential_result_fn *done;
    void *baton;
    ac_ready_t ready;
    ac_http_t *http;
    bool waiting;    /* for a token */
    bool challenged; /* only one challenge is answered */
    char *token;     /* the token that was sent */
    int status;
    char challenge[1024];
    ac_buf_t body;
} reading_t;

static void keyvault_ask(reading_t *reading);
static void on_token(void *baton, apr_status_t status, const char *text, const ac_err_t *err);

/* ---- ends ---- */

static void keyvault_wipe(char *text, size_t len)
{
    if (text) {
        OPENSSL_cleanse(text, len);
    }
}

static void keyvault_cancel(void *fetch)
{
    reading_t *reading = fetch;
    if (reading->http) {
        ac_http_cancel(reading->http);
    }
    if (reading->waiting) {
        ac_credential_forget(reading->vault->credential, on_token, reading);
    }
    ac_loop_ready_cancel(reading->vault->loop, &reading->ready);
    keyvault_wipe(reading->body.data, reading->body.len);
    ac_buf_free(&reading->body);
    if (reading->token) {
        keyvault_wipe(reading->token, strlen(reading->token));
        free(reading->token);
    }
    free(reading);
}

static void keyvault_end_failed(reading_t *reading, const ac_err_t *err)
{
    ac_credential_result_t fetched = {.err = *err};
    ac_credential_result_fn *done = reading->done;
    void *baton = reading->baton;
    keyvault_cancel(reading);
    done(baton, &fetched);
}

/* reason: appended to detail, or "". */
static void end_detail(reading_t *reading, ac_kind_e kind, const char *detail, const char *reason)
{
    ac_err_t err;
    ac_err_init(&err);
    ac_err_set(&err, kind, "%s%s", detail, reason);
    keyvault_end_failed(reading, &err);
}

/* ---- the secret ---- */

static void take_secret(reading_t *reading)
{
    ac_credential_result_t fetched;
    ac_err_t err;
    json_t *document = json_loadb(reading->body.data ? reading->body.data : "", reading->body.len, 0, NULL);
    const char *value = ac_json_peek_string(document, "value", NULL);
    char *text = value ? strdup(value) : NULL;
    ac_credential_result_fn *done = reading->done;
    void *baton = reading->baton;
    ac_err_init(&err);
    memset(&fetched, 0, sizeof(fetched));
    json_decref(document);
    if (!text) {
        end_detail(reading, AC_UPSTREAM_ERROR, "the vault's answer holds no secret", "");
        return;
    }
    if (ac_credential_spec_check_key(text, strlen(text), &err) != APR_SUCCESS) {
        keyvault_wipe(text, strlen(text));
        free(text);
        end_detail(reading, AC_UNAUTHENTICATED, "the vault's secret ", err.detail);
        return;
    }
    fetched.text = text;
    fetched.refresh = ac_loop_now(reading->vault->loop) + reading->vault->refresh;
    keyvault_cancel(reading);
    done(baton, &fetched);
    keyvault_wipe(text, strlen(text));
    free(text);
}

/* ---- errors ---- */

static const char *meaning_of(int status, const char *code)
{
    static const struct {
        int status;
        const char *code, *meaning;
    } rows[] = {
        {403, "ForbiddenByFirewall", "the vault's network rules do not let this machine in"},
        {403, "ForbiddenByConnection", "the vault's network rules do not let this machine in"},
        {403, "SecretDisabled", "the secret is disabled"},
        {403, "ForbiddenByPolicy", "the vault's access policy does not let the identity read secrets; allow it Get"},
        {403, NULL, "the identity may not read the vault's secrets; give it the role Key Vault Secrets User"},
        {401, NULL, "the vault does not take the identity's token; check tenant-id= and client-id="},
        {404, NULL, "the vault has no such secret; check its name"},
        {429, NULL, "the vault has too many requests"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].status == status && (!rows[i].code || strcasecmp(rows[i].code, code) == 0)) {
            return rows[i].meaning;
        }
    }
    return "the vault failed";
}

static void keyvault_end_refused(reading_t *reading, const ac_err_t *http_err)
{
    json_t *document = reading->body.data ? json_loadb(reading->body.data, reading->body.len, 0, NULL) : NULL;
    const json_t *error = json_object_get(document, "error");
    const char *code = ac_json_peek_string(error, "code", "");
    const char *inner = ac_json_peek_string(json_object_get(error, "innererror"), "code", code);
    bool word = *inner && strlen(inner) < 48 && strspn(inner, LETTERS) == strlen(inner);
    int status = reading->status;
    ac_err_t err;
    ac_err_init(&err);
    err.http_status = status;
    err.retry_after = http_err->retry_after;
    memcpy(err.upstream_id, http_err->upstream_id, sizeof(err.upstream_id));
    ac_err_set(&err, status == 429 || status >= 500 ? AC_UPSTREAM_ERROR : AC_UNAUTHENTICATED, "%s (HTTP %d%s%s)",
               meaning_of(status, inner), status, word ? ", " : "", word ? inner : "");
    json_decref(document);
    keyvault_end_failed(reading, &err);
}

/* ---- the challenge ---- */

/* The value of name="…" in a challenge. */
static bool find_value(char *value, size_t size, const char *challenge, const char *name)
{
    size_t len = strlen(name);
    const char *at = challenge;
    while ((at = strcasestr(at, name)) != NULL) {
        bool starts = at == challenge || strchr(" ,", at[-1]);
        if (starts && at[len] == '=' && at[len + 1] == '"') {
            at += len + 2;
            len = strcspn(at, "\"");
            snprintf(value, size, "%.*s", (int)len, at);
            return len && len < size;
        }
        at += len;
    }
    return false;
}

/* The host: the part between "://" and the next of "/:?#". */
static void keyvault_host_of(char *host, size_t size, const char *url)
{
    const char *start = strstr(url, "://");
    start = start ? start + 3 : url;
    snprintf(host, size, "%.*s", (int)strcspn(start, "/:?#"), start);
}

static bool is_part_of(const char *host, const char *domain)
{
    size_t len = strlen(host), end = strlen(domain);
    return end && len > end + 1 && host[len - end - 1] == '.' && strcasecmp(host + len - end, domain) == 0;
}

/* Returns NULL, or the reason to refuse the challenge: a token is sent only to hosts of its own resource. */
static const char *take_challenge(vault_t *vault, const char *challenge)
{
    char url[512], resource[AC_IDENTITY_SCOPE_SIZE - 10], host[256], theirs[256], ours[256];
    if (!find_value(url, sizeof(url), challenge, "authorization") &&
        !find_value(url, sizeof(url), challenge, "authorization_uri")) {
        return "the vault requires a token and does not name its tenant";
    }
    if (!find_value(resource, sizeof(resource), challenge, "resource") &&
        !find_value(resource, sizeof(resource), challenge, "scope")) {
        return "the vault requires a token and does not name its resource";
    }
    if (strspn(resource, LETTERS "-._~:/") < strlen(resource)) {
        return "the vault requires a token for a resource that is not an address";
    }
    keyvault_host_of(host, sizeof(host), resource);
    if (!is_part_of(vault->host, host)) {
        return "the vault requires a token for another service";
    }
    keyvault_host_of(theirs, sizeof(theirs), url);
    keyvault_host_of(ours, sizeof(ours), ac_credential_chain_conf(vault->identity)->authority);
    const char *tenant = strstr(url, "://") ? strchr(strstr(url, "://") + 3, '/') : NULL;
    size_t len = tenant ? strcspn(tenant + 1, "/?#") : 0;
    if (strcasecmp(theirs, ours) != 0) {
        return "the vault belongs to another cloud than authority= (or AZURE_AUTHORITY_HOST) says";
    }
    if (!len || len > 100 || strspn(tenant + 1, LETTERS "-.") < len) {
        return "the vault requires a token and does not name its tenant";
    }
    char name[128];
    snprintf(name, sizeof(name), "%.*s", (int)len, tenant + 1);
    if (!ac_credential_chain_conf(vault->identity)->tenant) {
        ac_credential_chain_set_tenant(vault->identity, name);
    }
    bool whole = strlen(resource) > 9 && strcmp(resource + strlen(resource) - 9, "/.default") == 0;
    snprintf(vault->scope, sizeof(vault->scope), "%s%s", resource, whole ? "" : "/.default");
    vault->knows = true;
    return NULL;
}

static void follow_challenge(reading_t *reading)
{
    vault_t *vault = reading->vault;
    const char *problem = take_challenge(vault, reading->challenge);
    reading->challenged = true;
    if (problem) {
        end_detail(reading, AC_UNAUTHENTICATED, problem, "");
        return;
    }
    if (reading->token) {
        ac_credential_reject(vault->credential, vault->scope, reading->token);
    }
    keyvault_ask(reading);
}

/* ---- requests ---- */

static void keyvault_on_head(void *baton, const ac_http_head_t *head)
{
    reading_t *reading = baton;
    const char *challenge = head->header(head->self, "www-authenticate");
    reading->status = head->status;
    snprintf(reading->challenge, sizeof(reading->challenge), "%s", challenge ? challenge : "");
}

static bool keyvault_on_body(void *baton, const char *bytes, size_t len)
{
    reading_t *reading = baton;
    return ac_buf_add(&reading->body, bytes, len) == APR_SUCCESS;
}

static void keyvault_on_end(void *baton, apr_status_t status, const ac_err_t *err, const char *error_body, size_t len)
{
    reading_t *reading = baton;
    (void)error_body, (void)len;
    reading->http = NULL;
    if (status != APR_SUCCESS) {
        end_detail(reading, err->kind, "the vault cannot be reached: ", err->detail);
    } else if (reading->status == 200) {
        take_secret(reading);
    } else if (reading->status == 401 && *reading->challenge && !reading->challenged) {
        follow_challenge(reading);
    } else {
        keyvault_end_refused(reading, err);
    }
}

static void send_request(reading_t *reading)
{
    static const ac_http_cb_t callbacks = {.on_head = keyvault_on_head,
                                           .on_body = keyvault_on_body,
                                           .on_end = keyvault_on_end};
    const vault_t *vault = reading->vault;
    const char *headers[] = {"Accept: application/json", NULL, NULL};
    ac_buf_t header;
    ac_err_t err;
    ac_err_init(&err);
    ac_buf_init(&header, AC_IDENTITY_MAX_TOKEN + 64);
    if (reading->token) {
        ac_buf_printf(&header, "Authorization: Bearer %s", reading->token);
        headers[1] = header.data;
    }
    ac_http_request_t request = {
        .method = "GET",
        .url = vault->url,
        .headers = headers,
        .connect_timeout = CONNECT_TIMEOUT,
        .total_timeout = TOTAL_TIMEOUT,
        .retries = RETRIES,
        .max_response = MAX_ANSWER,
        .raw_errors = true,
    };
    ac_buf_clear(&reading->body);
    apr_status_t status = ac_http_start(&reading->http, vault->loop, &request, &callbacks, reading, &err);
    keyvault_wipe(header.data, header.len);
    ac_buf_free(&header);
    if (status != APR_SUCCESS) {
        keyvault_end_failed(reading, &err);
    }
}

static void on_token(void *baton, apr_status_t status, const char *text, const ac_err_t *err)
{
    reading_t *reading = baton;
    reading->waiting = false;
    if (status != APR_SUCCESS) {
        keyvault_end_failed(reading, err);
        return;
    }
    if (reading->token) {
        keyvault_wipe(reading->token, strlen(reading->token));
        free(reading->token);
    }
    reading->token = strdup(text);
    send_request(reading);
}

static void keyvault_ask(reading_t *reading)
{
    vault_t *vault = reading->vault;
    if (!vault->knows) {
        send_request(reading);
        return;
    }
    reading->waiting = true;
    ac_credential_get(vault->credential, vault->scope, on_token, reading);
}

static void keyvault_begin(void *baton)
{
    keyvault_ask(baton);
}

static void *keyvault_start(void *source, const char *scope, ac_credential_result_fn *done, void *baton)
{
    reading_t *reading = ac_alloc(sizeof(*reading));
    (void)scope;
    reading->vault = source;
    reading->done = done;
    reading->baton = baton;
    ac_buf_init(&reading->body, MAX_ANSWER);
    ac_loop_ready_set(reading->vault->loop, &reading->ready, keyvault_begin, reading);
    return reading;
}

static apr_status_t keyvault_child_init(void *source, const ac_host_t *host, ac_err_t *err)
{
    vault_t *vault = source;
    vault->loop = host->loop;
    return ac_credential_child_init(vault->credential, host, err);
}

static void keyvault_child_exit(void *source)
{
    vault_t *vault = source;
    ac_credential_child_exit(vault->credential);
}

const ac_credential_source_vt ac_keyvault_source = {keyvault_start, keyvault_cancel, keyvault_child_init,
                                                    keyvault_child_exit};

/* ---- configuration ---- */

/* https://VAULT.vault.azure.net/secrets/NAME[/VERSION] */
static const char *keyvault_check_url(vault_t *vault, const char *url, apr_pool_t *p)
{
    static const char example[] = "keyvault:https://VAULT.vault.azure.net/secrets/NAME";
    char host[256];
    if (!ac_identity_conf_address_safe(url) || strpbrk(url, "?#%")) {
        return apr_psprintf(p, "'keyvault:%s' is not the https address of a secret; give one like %s", url, example);
    }
    keyvault_host_of(host, sizeof(host), url);
    const char *domain = strchr(host, '.'), *path = strchr(strstr(url, "://") + 3, '/');
    bool secret = path && strncmp(path, "/secrets/", 9) == 0;
    size_t name = secret ? strspn(path + 9, LETTERS "-") : 0;
    const char *rest = secret ? path + 9 + name : "";
    size_t version = *rest == '/' ? strspn(rest + 1, LETTERS) : 0;
    bool ends = !*rest || (*rest == '/' && !rest[1 + version]);
    if (!domain || !domain[1] || !name || name > 127 || !ends) {
        return apr_psprintf(p, "'keyvault:%s' is not the address of a vault's secret; give one like %s", url, example);
    }
    vault->host = apr_pstrdup(p, host);
    size_t len = strlen(url);
    vault->url = apr_psprintf(p, "%.*s?api-version=" API_VERSION, (int)(url[len - 1] == '/' ? len - 1 : len), url);
    snprintf(vault->scope, sizeof(vault->scope), "%.*s%s/.default", (int)(strstr(url, "://") + 3 - url), url,
             domain + 1);
    return NULL;
}

static const char *make_identity(vault_t *vault, const apr_table_t *options, apr_pool_t *p)
{
    const char *name = options ? apr_table_get(options, "identity") : NULL;
    apr_table_t *theirs = options ? apr_table_copy(p, options) : apr_table_make(p, 1);
    apr_table_unset(theirs, "identity");
    apr_table_unset(theirs, "refresh");
    const char *spec = name ? apr_pstrcat(p, "identity:", name, NULL) : "identity";
    const char *problem = ac_credential_spec_create(&vault->credential, spec, theirs, p);
    if (!problem) {
        ac_credential_silence(vault->credential);
        vault->identity = ac_credential_spec_identity(vault->credential);
        vault->knows = ac_credential_chain_knows_tenant(vault->identity);
    }
    return problem;
}

const char *ac_keyvault_create(void **psource, const char *url, const apr_table_t *options, apr_pool_t *p)
{
    static const char *const names[] = {
        "refresh", "identity", "client-id", "object-id", "resource-id", "tenant-id", "authority", NULL,
    };
    vault_t *vault = apr_pcalloc(p, sizeof(*vault));
    vault->refresh = REFRESH;
    const char *problem = keyvault_check_url(vault, url, p);
    if (!problem) {
        problem = ac_credential_spec_only(options, names, apr_pstrcat(p, "keyvault:", url, NULL), p);
    }
    if (!problem) {
        problem = ac_credential_spec_duration(&vault->refresh, options, "refresh", p);
    }
    if (!problem) {
        problem = make_identity(vault, options, p);
    }
    *psource = vault;
    return problem;
}
