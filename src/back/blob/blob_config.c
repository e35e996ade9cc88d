/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: AgentChatFiles blob:https://ACCOUNT.blob.core.windows.net/CONTAINER credential=… */
#include "blob_internal.h"

#include <string.h>
#include <strings.h>

#include <apr_lib.h>
#include <apr_strings.h>

#define LIKE "give one like blob:https://ACCOUNT.blob.core.windows.net/CONTAINER"
#define MAX_PREFIX 200

static const char *const credential_options[] = {"client-id", "object-id", "resource-id", "tenant-id",
                                                 "authority", "identity",  "refresh",     NULL};

static bool blob_config_is_loopback(const char *host)
{
    return strcasecmp(host, "localhost") == 0 || strcmp(host, "127.0.0.1") == 0 || strcmp(host, "::1") == 0;
}

/* 3 to 63 lower-case letters, digits and single hyphens. Source: "Naming and referencing containers". */
static bool container_valid(const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < len; i++) {
        bool plain = apr_isdigit(name[i]) || apr_islower(name[i]);
        if (!plain && (name[i] != '-' || i == 0 || i + 1 == len || name[i - 1] == '-')) {
            return false;
        }
    }
    return len >= 3 && len <= 63;
}

static bool account_valid(const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < len; i++) {
        if (!apr_isdigit(name[i]) && !apr_islower(name[i])) {
            return false;
        }
    }
    return len >= 3 && len <= 24;
}

/* "/CONTAINER", or "/ACCOUNT/CONTAINER" of an emulator. */
static const char *path_read(ac_blob_t *blob, const char *path, const char *host, const char *url, apr_pool_t *p)
{
    char *first = apr_pstrdup(p, path[0] ? path + 1 : ""), *second = strchr(first, '/');
    if (second) {
        *second++ = '\0';
    }
    blob->conf.account = second ? first : apr_pstrmemdup(p, host, strcspn(host, "."));
    blob->conf.container = second ? second : first;
    blob->conf.service = second ? apr_pstrcat(p, "/", first, "/", NULL) : "/";
    blob->conf.path = apr_pstrcat(p, blob->conf.service, blob->conf.container, NULL);
    if (!container_valid(blob->conf.container)) {
        return apr_psprintf(p, "blob: '%s' has no name of a container in its path; " LIKE, url);
    }
    return account_valid(blob->conf.account)
        ? NULL
        : apr_psprintf(p, "blob: '%s' does not name a storage account; " LIKE, url);
}

static const char *url_read(ac_blob_t *blob, const char *text, apr_pool_t *p)
{
    char host[AC_HOST_SIZE], *url = apr_pstrdup(p, text);
    int port;
    size_t len = strlen(url);
    while (len && url[len - 1] == '/') {
        url[--len] = '\0';
    }
    if (!ac_http_address_url_valid(url) || !ac_http_address_server(host, &port, url)) {
        return apr_psprintf(p, "blob: '%s' is not the URL of a container; " LIKE, text);
    }
    if (strpbrk(url, "?#%")) {
        return "blob: the URL has a query; give the URL of the container alone, and a key or an identity by "
               "credential=";
    }
    blob->conf.encrypted = strncasecmp(url, "https://", 8) == 0;
    if (!blob->conf.encrypted && !blob_config_is_loopback(host)) {
        return apr_psprintf(p, "blob: '%s' is not encrypted, which is for emulators on this machine only; " LIKE, text);
    }
    char *path = strchr(strstr(url, "://") + 3, '/');
    blob->conf.origin = path ? apr_pstrmemdup(p, url, (apr_size_t)(path - url)) : url;
    return path_read(blob, path ? path : "", host, text, p);
}

static const char *prefix_read(ac_blob_t *blob, const char *text, apr_pool_t *p)
{
    static const char fine[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_/";
    blob->conf.prefix = text;
    return strlen(text) > MAX_PREFIX || text[strspn(text, fine)] || *text == '/' || strstr(text, "//")
        ? apr_psprintf(p, "blob: prefix=%s is not a beginning of names, like chat/ (letters, digits, - _ /)", text)
        : NULL;
}

static const char *blob_option_read(ac_blob_t *blob, apr_table_t *passed, const apr_table_entry_t *row, apr_pool_t *p)
{
    for (int i = 0; credential_options[i]; i++) {
        if (strcmp(row->key, credential_options[i]) == 0) {
            apr_table_setn(passed, row->key, row->val);
            return NULL;
        }
    }
    if (strcmp(row->key, "prefix") == 0) {
        return prefix_read(blob, row->val, p);
    }
    if (strcmp(row->key, "scope") == 0) {
        blob->conf.scope = row->val;
        return NULL;
    }
    if (strcmp(row->key, "ca-file") == 0) {
        blob->conf.ca_file = row->val;
        return *row->val == '/' ? NULL : apr_psprintf(p, "blob: ca-file=%s is not an absolute path", row->val);
    }
    return strcmp(row->key, "credential") == 0
        ? NULL
        : apr_psprintf(
              p,
              "blob: there is no option %s; there are credential, prefix, ca-file, scope, and the credential's "
              "client-id, object-id, resource-id, tenant-id, authority, identity, refresh",
              row->key);
}

static const char *blob_credential_make(ac_blob_t *blob, const char *spec, const apr_table_t *passed, apr_pool_t *p)
{
    const char *problem = ac_credential_spec_create(&blob->conf.credential, spec, passed, p);
    if (problem) {
        return apr_pstrcat(p, "blob: credential=: ", problem, NULL);
    }
    const char *key = ac_credential_kind(blob->conf.credential) == AC_CREDENTIAL_KEY
        ? ac_credential_first(blob->conf.credential)
        : NULL;
    return key && !ac_account_key_valid(key)
        ? apr_psprintf(p,
                       "blob: credential=%s: it contains no account key; give one of the storage account's keys "
                       "(base64), or a connection string with AccountKey=",
                       spec)
        : NULL;
}

const char *ac_blob_config_create(void **pself, const char *url, const apr_table_t *options, apr_pool_t *p)
{
    ac_blob_t *blob = apr_pcalloc(p, sizeof(*blob));
    apr_table_t *passed = apr_table_make(p, 4);
    const char *spec = options ? apr_table_get(options, "credential") : NULL;
    const char *problem = url_read(blob, url, p);
    blob->conf.prefix = "";
    blob->conf.scope = "https://storage.azure.com/.default";
    pthread_mutex_init(&blob->delegation.lock, NULL);
    const apr_array_header_t *rows = options ? apr_table_elts(options) : NULL;
    for (int i = 0; !problem && rows && i < rows->nelts; i++) {
        problem = blob_option_read(blob, passed, &APR_ARRAY_IDX(rows, i, apr_table_entry_t), p);
    }
    if (!problem) {
        problem = blob_credential_make(blob, spec ? spec : "identity", passed, p);
    }
    *pself = blob;
    return problem;
}
