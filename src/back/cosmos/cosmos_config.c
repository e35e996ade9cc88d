/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration of the Cosmos DB store: AgentChatStore cosmos:https://ACCOUNT.documents.azure.com database=… */
#include "cosmos_internal.h"

#include <string.h>
#include <strings.h>
#include <sys/mman.h>

#include <apr_strings.h>

#define LEASE_DEFAULT apr_time_from_sec(60)

static const char *const credential_options[] = {"client-id", "object-id", "resource-id", "tenant-id",
                                                 "authority", "identity",  "refresh",     NULL};
static const char option_names[] =
    "database, credential, create, retention, lease, threads, messages, throughput, autoscale, scope, ca-file, "
    "and the credential's "
    "client-id, object-id, resource-id, tenant-id, authority, identity, refresh";

static bool one_of(const char *text, const char *const *list)
{
    while (*list && strcmp(text, *list) != 0) {
        list++;
    }
    return *list != NULL;
}

/* Unencrypted connections are for programs on this machine. */
static bool cosmos_config_is_loopback(const char *host)
{
    return strcasecmp(host, "localhost") == 0 || strcmp(host, "127.0.0.1") == 0 || strcmp(host, "[::1]") == 0;
}

static const char *endpoint_read(ac_cosmos_t *store, const char *spec, apr_pool_t *p)
{
    static const char like[] = "give one like cosmos:https://ACCOUNT.documents.azure.com";
    char *endpoint = apr_pstrdup(p, spec ? spec : ""), *start, *end;
    size_t len = strlen(endpoint);
    while (len && endpoint[len - 1] == '/') {
        endpoint[--len] = '\0';
    }
    if (!ac_http_address_url_valid(endpoint)) {
        return apr_psprintf(p, "cosmos: '%s' is not the URL of an account; %s", endpoint, like);
    }
    start = strstr(endpoint, "://") + 3;
    if (strpbrk(start, "/?#")) {
        return apr_psprintf(p, "cosmos: '%s' has a path; %s", endpoint, like);
    }
    end = *start == '[' ? strchr(start, ']') : NULL;
    end = end ? end + 1 : start + strcspn(start, ":");
    store->conf.host = apr_pstrmemdup(p, start, (apr_size_t)(end - start));
    store->conf.endpoint = endpoint;
    if (strncasecmp(endpoint, "https://", 8) != 0 && !cosmos_config_is_loopback(store->conf.host)) {
        return apr_psprintf(p, "cosmos: '%s' is not encrypted, which is for emulators on this machine only; %s",
                            endpoint, like);
    }
    return NULL;
}

static const char *set_duration(apr_interval_time_t *pvalue, const apr_table_entry_t *row, int64_t min_s, int64_t max_s,
                                apr_pool_t *p)
{
    if (!ac_time_parse_duration(pvalue, row->val) || *pvalue < apr_time_from_sec(min_s) ||
        *pvalue > apr_time_from_sec(max_s)) {
        return apr_psprintf(p, "cosmos: %s=%s is not a duration from %" APR_INT64_T_FMT "s to %" APR_INT64_T_FMT "d",
                            row->key, row->val, min_s, max_s / 86400 ? max_s / 86400 : 1);
    }
    return NULL;
}

static const char *cosmos_config_set_name(const char **pname, const apr_table_entry_t *row, apr_pool_t *p)
{
    *pname = row->val;
    return ac_cosmos_name_valid(row->val)
        ? NULL
        : apr_psprintf(p, "cosmos: %s=%s is not a name that Cosmos DB accepts", row->key, row->val);
}

/* step: the service accepts multiples of it only. */
static const char *cosmos_config_set_number(const char **pvalue, const apr_table_entry_t *row, int64_t min,
                                            int64_t step, apr_pool_t *p)
{
    char *end;
    int64_t number = apr_strtoi64(row->val, &end, 10);
    *pvalue = row->val;
    return *end || end == row->val || number < min || number > 1000000 || number % step
        ? apr_psprintf(p,
                       "cosmos: %s=%s is not a number of request units in steps of %" APR_INT64_T_FMT
                       ", from %" APR_INT64_T_FMT,
                       row->key, row->val, step, min)
        : NULL;
}

static const char *option_read(ac_cosmos_t *store, const apr_table_entry_t *row, apr_pool_t *p)
{
    if (strcmp(row->key, "database") == 0) {
        return cosmos_config_set_name(&store->conf.database, row, p);
    }
    if (strcmp(row->key, "threads") == 0) {
        return cosmos_config_set_name(&store->conf.containers[AC_COSMOS_THREADS], row, p);
    }
    if (strcmp(row->key, "messages") == 0) {
        return cosmos_config_set_name(&store->conf.containers[AC_COSMOS_MESSAGES], row, p);
    }
    if (strcmp(row->key, "create") == 0) {
        store->conf.create = strcasecmp(row->val, "on") == 0;
        return store->conf.create || strcasecmp(row->val, "off") == 0
            ? NULL
            : apr_psprintf(p, "cosmos: create=%s is neither on nor off", row->val);
    }
    if (strcmp(row->key, "retention") == 0) {
        return set_duration(&store->conf.retention, row, 3600, INT64_C(86400) * 3650, p);
    }
    if (strcmp(row->key, "lease") == 0) {
        return set_duration(&store->conf.lease, row, 5, 86400, p);
    }
    if (strcmp(row->key, "throughput") == 0) {
        return cosmos_config_set_number(&store->conf.throughput, row, 400, 100, p);
    }
    if (strcmp(row->key, "autoscale") == 0) {
        return cosmos_config_set_number(&store->conf.autoscale, row, 1000, 1000, p);
    }
    if (strcmp(row->key, "scope") == 0) {
        store->conf.scope = row->val;
        store->conf.scope_given = true;
        return NULL;
    }
    if (strcmp(row->key, "ca-file") == 0) {
        store->conf.ca_file = row->val;
        return *row->val == '/' ? NULL : apr_psprintf(p, "cosmos: ca-file=%s is not an absolute path", row->val);
    }
    return strcmp(row->key, "credential") == 0 || strcmp(row->key, "state_dir") == 0 ||
            one_of(row->key, credential_options)
        ? NULL
        : apr_psprintf(p, "cosmos: there is no option %s; there are %s", row->key, option_names);
}

static const char *credential_make(ac_cosmos_t *store, const apr_table_t *options, apr_pool_t *p)
{
    apr_table_t *passed = apr_table_make(p, 4);
    const char *spec = options ? apr_table_get(options, "credential") : NULL, *problem;
    for (int i = 0; credential_options[i]; i++) {
        const char *value = options ? apr_table_get(options, credential_options[i]) : NULL;
        if (value) {
            apr_table_setn(passed, credential_options[i], value);
        }
    }
    problem = ac_credential_spec_create(&store->conf.credential, spec ? spec : "identity", passed, p);
    if (problem) {
        return apr_pstrcat(p, "cosmos: credential=: ", problem, NULL);
    }
    if (ac_credential_kind(store->conf.credential) == AC_CREDENTIAL_KEY) {
        const char *key = ac_credential_first(store->conf.credential);
        if (key && !ac_account_key_valid(key)) {
            return apr_psprintf(
                p,
                "cosmos: credential=%s: it contains no account key; give one of the account's keys (base64), or "
                "a connection string with AccountKey=",
                spec);
        }
    }
    return NULL;
}

static apr_status_t shared_free(void *baton)
{
    munmap(baton, sizeof(ac_cosmos_shared_t));
    return APR_SUCCESS;
}

/* The children of one server share the newest session tokens, so that each reads what another one wrote. The block
 * survives a reload, so that new children read what the old ones wrote. */
static const char *shared_make(ac_cosmos_t *store, apr_pool_t *p)
{
    const char *key = apr_psprintf(p, "agentchat cosmos %" APR_SIZE_T_FMT " %s/%s", sizeof(ac_cosmos_shared_t),
                                   store->conf.host, store->conf.database);
    void *keep = NULL, *block = NULL;
    apr_pool_userdata_get(&keep, AC_KEEP_POOL, p);
    if (keep) {
        apr_pool_userdata_get(&block, key, keep);
    }
    store->shared = block;
    if (block) {
        return NULL;
    }
    block = mmap(NULL, sizeof(ac_cosmos_shared_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) {
        return "cosmos: there is no memory to share between processes";
    }
    store->shared = block;
    if (ac_shared_lock_init(&store->shared->lock)) {
        munmap(block, sizeof(ac_cosmos_shared_t));
        return "cosmos: there is no lock to share between processes";
    }
    if (keep) {
        apr_pool_userdata_set(block, key, NULL, keep);
    } else {
        apr_pool_cleanup_register(p, block, shared_free, apr_pool_cleanup_null);
    }
    return NULL;
}

const char *ac_cosmos_config_create(void **pself, const char *spec, apr_table_t *options, apr_pool_t *p)
{
    ac_cosmos_t *store = apr_pcalloc(p, sizeof(*store));
    const char *problem = endpoint_read(store, spec, p);
    store->conf.database = "agentchat";
    store->conf.containers[AC_COSMOS_THREADS] = "threads";
    store->conf.containers[AC_COSMOS_MESSAGES] = "messages";
    store->conf.lease = LEASE_DEFAULT;
    if (!problem && options) {
        const apr_array_header_t *rows = apr_table_elts(options);
        for (int i = 0; !problem && i < rows->nelts; i++) {
            problem = option_read(store, &APR_ARRAY_IDX(rows, i, apr_table_entry_t), p);
        }
    }
    if (!problem &&
        strcmp(store->conf.containers[AC_COSMOS_THREADS], store->conf.containers[AC_COSMOS_MESSAGES]) == 0) {
        problem = "cosmos: threads= and messages= have to be two containers";
    }
    if (!problem && store->conf.throughput && store->conf.autoscale) {
        problem = "cosmos: give either throughput= or autoscale=";
    }
    if (!problem && !store->conf.scope_given) {
        store->conf.scope = apr_pstrcat(p, "https://", store->conf.host, "/.default", NULL);
    }
    if (!problem) {
        problem = credential_make(store, options, p);
    }
    if (!problem) {
        problem = shared_make(store, p);
    }
    *pself = store;
    return problem;
}
