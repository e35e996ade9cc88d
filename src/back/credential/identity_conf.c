/* SPDX-License-Identifier: Apache-2.0 */
/* The settings of the credential providers: options of a directive, else the variables that Azure's own libraries read.
 * The parent process reads all of them with the configuration. */
#include "identity.h"

#include <apr_strings.h>
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define AUTHORITY "https://login.microsoftonline.com"
#define IMDS "http://169.254.169.254"
#define ARC "http://127.0.0.1:40342/metadata/identity/oauth2/token"
#define ARC_KEYS "/var/opt/azcmagent/tokens/"
#define ARC_AGENT "/opt/azcmagent/bin/himds"
#define MAX_CERTIFICATE (256 * 1024)
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

static const char *variable(const char *name, apr_pool_t *p)
{
    const char *value = getenv(name);
    return value && *value ? apr_pstrdup(p, value) : NULL;
}

static const char *identity_conf_option(const apr_table_t *options, const char *name, apr_pool_t *p)
{
    const char *value = options ? apr_table_get(options, name) : NULL;
    return value && *value ? apr_pstrdup(p, value) : NULL;
}

static const char *either(const apr_table_t *options, const char *name, const char *env, apr_pool_t *p)
{
    const char *value = identity_conf_option(options, name, p);
    return value ? value : variable(env, p);
}

static bool consists_of(const char *text, const char *characters)
{
    return *text && strlen(text) <= 200 && text[strspn(text, characters)] == '\0';
}

/* ---- addresses ---- */

static bool identity_conf_is_loopback(const char *host, size_t len)
{
    char name[64];
    struct in_addr address;
    if (len >= sizeof(name)) {
        return false;
    }
    memcpy(name, host, len);
    name[len] = '\0';
    if (inet_pton(AF_INET, name, &address) == 1) {
        return ntohl(address.s_addr) >> 24 == 127;
    }
    return strcasecmp(name, "localhost") == 0 || strcmp(name, "[::1]") == 0 ||
        (len > 10 && strcasecmp(name + len - 10, ".localhost") == 0);
}

bool ac_identity_conf_address_safe(const char *url)
{
    if (!ac_http_address_url_valid(url)) {
        return false;
    }
    if (strncasecmp(url, "https://", 8) == 0) {
        return true;
    }
    const char *host = strstr(url, "://") + 3;
    return identity_conf_is_loopback(host, *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/?#"));
}

static const char *without_slashes(const char *url, apr_pool_t *p)
{
    size_t len = strlen(url);
    while (len && url[len - 1] == '/') {
        len--;
    }
    return apr_pstrndup(p, url, len);
}

static const char *read_authority(ac_identity_conf_t *conf, const apr_table_t *options, apr_pool_t *p)
{
    bool given = identity_conf_option(options, "authority", p) != NULL;
    const char *text = either(options, "authority", "AZURE_AUTHORITY_HOST", p);
    if (text && !strstr(text, "://")) {
        text = apr_pstrcat(p, "https://", text, NULL);
    }
    conf->authority = without_slashes(text ? text : AUTHORITY, p);
    if (!ac_identity_conf_address_safe(conf->authority) || strpbrk(conf->authority, "?#")) {
        return apr_psprintf(p, "%s: '%s' is not an https address; give one like " AUTHORITY,
                            given ? "authority=" : "the variable AZURE_AUTHORITY_HOST", text);
    }
    return NULL;
}

/* ---- managed identities ---- */

static const char *read_address(const char **purl, const char *name, apr_pool_t *p)
{
    *purl = variable(name, p);
    if (*purl && !ac_http_address_url_valid(*purl)) {
        return apr_psprintf(p, "the variable %s is not an http address", name);
    }
    return NULL;
}

static const char *read_source(ac_identity_conf_t *conf, apr_pool_t *p)
{
    const char *problem = read_address(&conf->endpoint, "IDENTITY_ENDPOINT", p);
    if (!problem) {
        problem = read_address(&conf->imds, "AZURE_POD_IDENTITY_AUTHORITY_HOST", p);
    }
    conf->imds = without_slashes(conf->imds ? conf->imds : IMDS, p);
    conf->header = variable("IDENTITY_HEADER", p);
    conf->arc_keys = ARC_KEYS;
    bool arc = access(ARC_AGENT, F_OK) == 0 || variable("IMDS_ENDPOINT", p);
    if (conf->endpoint && conf->header) {
        conf->managed = variable("IDENTITY_SERVER_THUMBPRINT", p) ? AC_IDENTITY_MANAGED_UNKNOWN
                                                                  : AC_IDENTITY_MANAGED_APP_SERVICE;
    } else if (!conf->endpoint && variable("MSI_ENDPOINT", p)) {
        conf->managed = AC_IDENTITY_MANAGED_UNKNOWN;
    } else {
        conf->managed = arc ? AC_IDENTITY_MANAGED_ARC : AC_IDENTITY_MANAGED_IMDS;
    }
    if (conf->managed == AC_IDENTITY_MANAGED_ARC && !conf->endpoint) {
        conf->endpoint = ARC;
    }
    return problem;
}

/* Reads the selection of a user-assigned identity: at most one of the options is allowed. */
static const char *read_selector(ac_identity_conf_t *conf, const apr_table_t *options, bool chained, apr_pool_t *p)
{
    conf->managed_client_id = identity_conf_option(options, "client-id", p);
    conf->object_id = identity_conf_option(options, "object-id", p);
    conf->resource_id = identity_conf_option(options, "resource-id", p);
    if (!!conf->managed_client_id + !!conf->object_id + !!conf->resource_id > 1) {
        return "client-id=, object-id= and resource-id= each name a managed identity; give one of them";
    }
    if (conf->object_id && !consists_of(conf->object_id, LETTERS "-")) {
        return apr_psprintf(p, "object-id='%s' is not the GUID of an identity", conf->object_id);
    }
    if (conf->resource_id && (*conf->resource_id != '/' || strpbrk(conf->resource_id, " ?#&"))) {
        return apr_psprintf(p, "resource-id='%s' is not the id of an Azure resource; it begins with /subscriptions/",
                            conf->resource_id);
    }
    if (chained && !conf->managed_client_id && !conf->object_id && !conf->resource_id) {
        conf->managed_client_id = conf->client_id;
    }
    return NULL;
}

/* ---- the certificate ---- */

const char *ac_identity_conf_certificate(ac_identity_conf_t *conf, apr_pool_t *p)
{
    char *bytes = NULL, reason[120];
    conf->certificate_path = variable("AZURE_CLIENT_CERTIFICATE_PATH", p);
    conf->certificate_password = variable("AZURE_CLIENT_CERTIFICATE_PASSWORD", p);
    const char *send = variable("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", p);
    conf->send_chain = send && (strcmp(send, "1") == 0 || strcasecmp(send, "true") == 0);
    if (!conf->certificate_path || conf->secret) {
        return NULL;
    }
    apr_status_t status = ac_file_read(&bytes, &conf->certificate_len, conf->certificate_path, MAX_CERTIFICATE);
    if (status != APR_SUCCESS) {
        return apr_psprintf(p, "the certificate '%s' of AZURE_CLIENT_CERTIFICATE_PATH cannot be read: %s",
                            conf->certificate_path, apr_strerror(status, reason, sizeof(reason)));
    }
    conf->certificate = apr_pmemdup(p, bytes, conf->certificate_len + 1);
    free(bytes);
    return NULL;
}

/* ---- the whole configuration ---- */

static const char *identity_conf_read_ids(ac_identity_conf_t *conf, const apr_table_t *options, apr_pool_t *p)
{
    conf->tenant = either(options, "tenant-id", "AZURE_TENANT_ID", p);
    conf->client_id = either(options, "client-id", "AZURE_CLIENT_ID", p);
    if (conf->tenant && (!consists_of(conf->tenant, LETTERS "-.") || strlen(conf->tenant) > 100)) {
        return apr_psprintf(p,
                            "tenant-id= or the variable AZURE_TENANT_ID: '%s' is not a tenant; give its GUID or its "
                            "domain",
                            conf->tenant);
    }
    if (conf->client_id && !consists_of(conf->client_id, LETTERS "-")) {
        return apr_psprintf(p, "client-id= or the variable AZURE_CLIENT_ID: '%s' is not the GUID of an app or identity",
                            conf->client_id);
    }
    return NULL;
}

const char *ac_identity_conf_read(ac_identity_conf_t *conf, const apr_table_t *options, bool chained, apr_pool_t *p)
{
    const char *problem = identity_conf_read_ids(conf, options, p);
    if (!problem) {
        problem = read_authority(conf, options, p);
    }
    if (!problem) {
        problem = read_source(conf, p);
    }
    if (!problem) {
        problem = read_selector(conf, options, chained, p);
    }
    conf->secret = variable("AZURE_CLIENT_SECRET", p);
    conf->token_file = variable("AZURE_FEDERATED_TOKEN_FILE", p);
    return problem;
}
