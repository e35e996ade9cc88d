/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and checks the configuration of a credential. An unknown form may be a misplaced secret, so error messages do
 * not repeat it. */
#include "credential_internal.h"

#include <apr_strings.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

#define FORMS "env:NAME, file:PATH, keyvault:https://VAULT.vault.azure.net/secrets/NAME, identity or oauth:URL"

/* ---- for all forms ---- */

apr_status_t ac_credential_spec_check_key(char *text, size_t len, ac_err_t *err)
{
    while (len && isspace((unsigned char)text[len - 1])) {
        len--;
    }
    text[len] = '\0';
    if (!len) {
        return ac_err_set(err, AC_UNAUTHENTICATED, "is empty");
    }
    if (len > AC_CREDENTIAL_MAX_KEY) {
        return ac_err_set(err, AC_UNAUTHENTICATED, "is longer than %d bytes", AC_CREDENTIAL_MAX_KEY);
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) {
            return ac_err_set(err, AC_UNAUTHENTICATED, "has more than one line, or a control character");
        }
    }
    return APR_SUCCESS;
}

const char *ac_credential_spec_duration(apr_interval_time_t *pvalue, const apr_table_t *options, const char *name,
                                        apr_pool_t *p)
{
    const char *text = options ? apr_table_get(options, name) : NULL;
    if (text &&
        (!ac_time_parse_duration(pvalue, text) || *pvalue < apr_time_from_sec(1) ||
         *pvalue > apr_time_from_sec(86400))) {
        return apr_psprintf(p, "%s='%s' is not a duration from 1s to 1d, like 10min", name, text);
    }
    return NULL;
}

static bool credential_spec_is_among(const char *name, const char *const *names)
{
    while (*names && strcasecmp(*names, name) != 0) {
        names++;
    }
    return *names != NULL;
}

const char *ac_credential_spec_only(const apr_table_t *options, const char *const *names, const char *spec,
                                    apr_pool_t *p)
{
    const apr_array_header_t *rows = options ? apr_table_elts(options) : NULL;
    for (int i = 0; rows && i < rows->nelts; i++) {
        const char *name = APR_ARRAY_IDX(rows, i, apr_table_entry_t).key, *list = "";
        if (credential_spec_is_among(name, names)) {
            continue;
        }
        for (int j = 0; names[j]; j++) {
            list = apr_pstrcat(p, list, j ? ", " : "", names[j], "=", NULL);
        }
        return apr_psprintf(p, "'%s' takes no option '%s'; %s%s", spec, name, names[0] ? "it knows " : "it has none",
                            list);
    }
    return NULL;
}

/* ---- each form ---- */

static const char *create_env(ac_credential_t *credential, const apr_table_t *options, apr_pool_t *p)
{
    static const char *const none[] = {NULL};
    const char *name = credential->spec + strlen("env:"), *value = getenv(name);
    ac_err_t err;
    ac_err_init(&err);
    const char *problem = ac_credential_spec_only(options, none, credential->spec, p);
    if (problem) {
        return problem;
    }
    if (!value) {
        return apr_psprintf(p, "the environment of httpd has no variable '%s'", name);
    }
    char *text = apr_pstrdup(p, value);
    if (ac_credential_spec_check_key(text, strlen(text), &err) != APR_SUCCESS) {
        return apr_psprintf(p, "'%s' %s", credential->spec, err.detail);
    }
    credential->text = text;
    return NULL;
}

static const char *create_file(ac_credential_t *credential, const apr_table_t *options, apr_pool_t *p)
{
    credential->source = &ac_key_file_source;
    return ac_key_file_create(&credential->self, &credential->text, credential->spec + strlen("file:"), options, p);
}

/* "https://cosmos.azure.com/.default". The Azure CLI gets it as an argument. */
static bool is_scope(const char *text)
{
    size_t len = strlen(text), end = strlen("/.default");
    return len > end && len < AC_IDENTITY_SCOPE_SIZE && strcmp(text + len - end, "/.default") == 0 && *text != '-' &&
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/") == len;
}

static const char *create_identity(ac_credential_t *credential, const apr_table_t *options, apr_pool_t *p)
{
    ac_identity_t *identity;
    const char *name = credential->spec[strlen("identity")] ? credential->spec + strlen("identity:") : NULL;
    credential->kind = AC_CREDENTIAL_TOKEN;
    credential->source = &ac_credential_chain_source;
    credential->scope = options ? apr_pstrdup(p, apr_table_get(options, "scope")) : NULL;
    const char *problem = ac_credential_spec_only(options, ac_credential_chain_options, credential->spec, p);
    if (problem) {
        return problem;
    }
    if (credential->scope && !is_scope(credential->scope)) {
        return apr_psprintf(p, "scope='%s' is not a scope; give one like https://cognitiveservices.azure.com/.default",
                            credential->scope);
    }
    problem = ac_credential_chain_create(&identity, name, options, p);
    credential->self = identity;
    return problem;
}

ac_identity_t *ac_credential_spec_identity(ac_credential_t *credential)
{
    return credential->self;
}

const char *ac_credential_spec_create(ac_credential_t **pcredential, const char *spec, const apr_table_t *options,
                                      apr_pool_t *p)
{
    ac_credential_t *credential = apr_pcalloc(p, sizeof(*credential));
    *pcredential = NULL;
    credential->spec = apr_pstrdup(p, spec);
    credential->kind = AC_CREDENTIAL_KEY;
    const char *problem;
    if (strncmp(spec, "env:", 4) == 0) {
        problem = create_env(credential, options, p);
    } else if (strncmp(spec, "file:", 5) == 0) {
        problem = create_file(credential, options, p);
    } else if (strncmp(spec, "keyvault:", 9) == 0) {
        credential->source = &ac_keyvault_source;
        problem = ac_keyvault_create(&credential->self, spec + 9, options, p);
    } else if (strncmp(spec, "oauth:", 6) == 0) {
        credential->kind = AC_CREDENTIAL_TOKEN;
        credential->source = &ac_oauth_client_source;
        problem = ac_oauth_client_create(&credential->self, spec + 6, options, p);
    } else if (strcmp(spec, "identity") == 0 || strncmp(spec, "identity:", 9) == 0) {
        problem = create_identity(credential, options, p);
    } else {
        credential->spec = "***";
        return "a secret must not be in the configuration; give " FORMS; /* and is not repeated in a log */
    }
    if (!problem) {
        *pcredential = credential;
    }
    return problem;
}
