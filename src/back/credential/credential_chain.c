/* SPDX-License-Identifier: Apache-2.0 */
/* The chain of credential providers, in the order of Azure's DefaultAzureCredential. A provider that does not exist on
 * this machine is skipped; the first one that supplies a token is used from then on; if none does, the error names each
 * with its reason. */
#include "identity.h"

#include <apr_strings.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define N_PROVIDERS 4
#define MAX_REASONS (N_PROVIDERS * (AC_ERR_DETAIL_SIZE + 16))

static const ac_credential_provider_t *const all_providers[N_PROVIDERS] = {
    &ac_provider_environment,
    &ac_provider_workload,
    &ac_provider_managed,
    &ac_provider_cli,
};

const char *const ac_credential_chain_options[] = {
    "client-id", "object-id", "resource-id", "tenant-id", "authority", "scope", NULL,
};

struct ac_identity_t {
    ac_identity_conf_t conf;
    const ac_credential_provider_t *providers[N_PROVIDERS];
    int n_providers;
    const ac_credential_provider_t *winner; /* the provider that supplied a token */
    char *tenant;                           /* of a challenge, or NULL */
    ac_loop_t *loop;
    ac_work_t *work;
};

typedef struct asking_t {
    ac_identity_t *identity;
    ac_credential_result_fn *done;
    void *baton;
    ac_token_request_t *token_request;
    const ac_credential_provider_t *provider; /* the provider that is being tried */
    int at;                                   /* its position */
    ac_buf_t reasons;                         /* "environment: not set: …; managed: …" */
    ac_err_t err;                             /* of the last provider that exists here */
    char scope[AC_IDENTITY_SCOPE_SIZE];
} asking_t;

/* ---- configuration ---- */

static const char *known_providers(apr_pool_t *p)
{
    const char *list = "";
    for (int i = 0; i < N_PROVIDERS; i++) {
        list = apr_pstrcat(p, list, i ? ", " : "", "identity:", all_providers[i]->name, NULL);
    }
    return list;
}

/* AZURE_TOKEN_CREDENTIALS: "prod", "dev", or the name of one provider. */
static const char *narrow(ac_identity_t *identity, apr_pool_t *p)
{
    const char *wanted = getenv("AZURE_TOKEN_CREDENTIALS");
    if (!wanted || !*wanted) {
        return NULL;
    }
    bool prod = strcasecmp(wanted, "prod") == 0, dev = strcasecmp(wanted, "dev") == 0;
    int n = 0;
    for (int i = 0; i < N_PROVIDERS; i++) {
        const ac_credential_provider_t *provider = all_providers[i];
        bool developers = provider == &ac_provider_cli;
        if ((prod && !developers) || (dev && developers) || strcasecmp(wanted, provider->azure_name) == 0) {
            identity->providers[n++] = provider;
        }
    }
    identity->n_providers = n;
    if (n) {
        return NULL;
    }
    const char *list = "prod, dev";
    for (int i = 0; i < N_PROVIDERS; i++) {
        list = apr_pstrcat(p, list, ", ", all_providers[i]->azure_name, NULL);
    }
    return apr_psprintf(p, "the variable AZURE_TOKEN_CREDENTIALS is '%s'; known here are %s", wanted, list);
}

static const char *choose(ac_identity_t *identity, const char *name, apr_pool_t *p)
{
    for (int i = 0; i < N_PROVIDERS; i++) {
        if (!name || strcmp(all_providers[i]->name, name) == 0) {
            identity->providers[identity->n_providers++] = all_providers[i];
        }
    }
    if (!identity->n_providers) {
        return apr_psprintf(
            p, "'identity:%s' is not a credential provider; known are identity (each of these in turn), %s", name,
            known_providers(p));
    }
    return name ? NULL : narrow(identity, p);
}

static bool has_provider(const ac_identity_t *identity, const ac_credential_provider_t *provider)
{
    for (int i = 0; i < identity->n_providers; i++) {
        if (identity->providers[i] == provider) {
            return true;
        }
    }
    return false;
}

/* Reports an unusable certificate at configuration time, not at the first message. */
static const char *check_certificate(ac_identity_conf_t *conf, apr_pool_t *p)
{
    ac_buf_t out;
    ac_err_t err;
    ac_err_init(&err);
    const char *problem = ac_identity_conf_certificate(conf, p);
    if (problem || !conf->certificate || !conf->client_id) {
        return problem;
    }
    ac_identity_assertion_t assertion = {
        .bytes = conf->certificate,
        .len = conf->certificate_len,
        .password = conf->certificate_password,
        .client_id = conf->client_id,
        .audience = conf->authority,
        .send_chain = conf->send_chain,
    };
    ac_identity_assertion_make(&out, &assertion, &err);
    ac_buf_free(&out);
    return err.kind == AC_OK ? NULL : apr_psprintf(p, "AZURE_CLIENT_CERTIFICATE_PATH: %s", err.detail);
}

/* A provider that was chosen by name has to be available. */
static const char *check_only(const ac_identity_t *identity, const char *name, apr_pool_t *p)
{
    const ac_identity_conf_t *conf = &identity->conf;
    const ac_credential_provider_t *only = identity->providers[0];
    bool app = only == &ac_provider_environment || only == &ac_provider_workload;
    const char *missing = "";
    if (!name || !app) {
        return NULL;
    }
    if (!conf->client_id) {
        missing = ", AZURE_CLIENT_ID (or client-id=)";
    }
    if (!conf->tenant) {
        missing = apr_pstrcat(p, missing, ", AZURE_TENANT_ID (or tenant-id=)", NULL);
    }
    if (only == &ac_provider_environment && !conf->secret && !conf->certificate_path) {
        missing = apr_pstrcat(p, missing, ", AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH", NULL);
    }
    if (only == &ac_provider_workload && !conf->token_file) {
        missing = apr_pstrcat(p, missing, ", AZURE_FEDERATED_TOKEN_FILE", NULL);
    }
    return *missing
        ? apr_psprintf(p, "'identity:%s' needs what the environment of httpd does not have: %s", name, missing + 2)
        : NULL;
}

const char *ac_credential_chain_create(ac_identity_t **pidentity, const char *name, const apr_table_t *options,
                                       apr_pool_t *p)
{
    ac_identity_t *identity = apr_pcalloc(p, sizeof(*identity));
    const char *problem = choose(identity, name, p);
    if (!problem) {
        problem = ac_identity_conf_read(&identity->conf, options, !name, p);
    }
    if (!problem && !has_provider(identity, &ac_provider_managed) &&
        (identity->conf.object_id || identity->conf.resource_id)) {
        problem = "object-id= and resource-id= name a managed identity; give them with identity or identity:managed";
    }
    if (!problem && has_provider(identity, &ac_provider_environment)) {
        problem = check_certificate(&identity->conf, p);
    }
    if (!problem) {
        problem = check_only(identity, name, p);
    }
    *pidentity = identity;
    return problem;
}

ac_identity_conf_t *ac_credential_chain_conf(ac_identity_t *identity)
{
    return &identity->conf;
}

void ac_credential_chain_set_tenant(ac_identity_t *identity, const char *tenant)
{
    free(identity->tenant); /* token requests have copies */
    identity->tenant = strdup(tenant);
}

bool ac_credential_chain_knows_tenant(const ac_identity_t *identity)
{
    return identity->conf.tenant || (identity->n_providers == 1 && identity->providers[0] == &ac_provider_managed);
}

/* ---- getting a token ---- */

static void try_next(asking_t *asking);

static void asking_free(asking_t *asking)
{
    ac_buf_free(&asking->reasons);
    free(asking);
}

static void end_asking(asking_t *asking, const ac_credential_result_t *fetched)
{
    asking->done(asking->baton, fetched);
    asking_free(asking);
}

static void credential_chain_end_failed(asking_t *asking)
{
    ac_credential_result_t fetched;
    memset(&fetched, 0, sizeof(fetched));
    fetched.err = asking->err;
    fetched.err.kind = AC_OK;
    ac_kind_e kind = asking->err.kind == AC_OK ? AC_UNAUTHENTICATED : asking->err.kind;
    fetched.err.detail[0] = '\0';
    ac_err_set(&fetched.err, kind, "%s", asking->reasons.data ? asking->reasons.data : "no way to sign in is left");
    fetched.reasons = asking->reasons.data;
    end_asking(asking, &fetched);
}

static void on_tried(void *baton, const ac_credential_result_t *fetched)
{
    asking_t *asking = baton;
    ac_identity_t *identity = asking->identity;
    const ac_credential_provider_t *provider = asking->provider;
    asking->token_request = NULL;
    if (fetched->err.kind == AC_OK) {
        if (!identity->winner && identity->n_providers > 1) {
            ac_log(AC_M244, APR_SUCCESS, "identity: signed in by %s, which is used from now on", provider->name);
        }
        identity->winner = provider;
        end_asking(asking, fetched);
        return;
    }
    ac_buf_printf(&asking->reasons, "%s%s: %.*s", asking->reasons.len ? "; " : "", provider->name,
                  (int)strcspn(fetched->err.detail, "\n"), fetched->err.detail);
    if (!fetched->absent) {
        asking->err = fetched->err;
    }
    bool last = provider == identity->winner || asking->at + 1 >= identity->n_providers ||
        (provider->stops && !fetched->absent);
    if (last) {
        credential_chain_end_failed(asking);
        return;
    }
    asking->at++;
    try_next(asking);
}

static void try_next(asking_t *asking)
{
    ac_identity_t *identity = asking->identity;
    const ac_identity_conf_t *conf = &identity->conf;
    ac_token_ask_t ask = {
        .conf = conf,
        .tenant = conf->tenant ? conf->tenant : identity->tenant,
        .scope = asking->scope,
        .chained = identity->n_providers > 1 && !identity->winner,
        .loop = identity->loop,
        .work = identity->work,
    };
    asking->provider = identity->winner ? identity->winner : identity->providers[asking->at];
    asking->token_request = ac_token_request_start(asking->provider, &ask, on_tried, asking);
}

static void *credential_chain_start(void *source, const char *scope, ac_credential_result_fn *done, void *baton)
{
    asking_t *asking = ac_alloc(sizeof(*asking));
    asking->identity = source;
    asking->done = done;
    asking->baton = baton;
    ac_buf_init(&asking->reasons, MAX_REASONS);
    snprintf(asking->scope, sizeof(asking->scope), "%s", scope);
    try_next(asking);
    return asking;
}

static void credential_chain_cancel(void *fetch)
{
    asking_t *asking = fetch;
    if (asking->token_request) {
        ac_token_request_cancel(asking->token_request);
    }
    asking_free(asking);
}

static apr_status_t credential_chain_child_init(void *source, const ac_host_t *host, ac_err_t *err)
{
    ac_identity_t *identity = source;
    (void)err;
    identity->loop = host->loop;
    identity->work = host->work;
    return APR_SUCCESS;
}

static void credential_chain_child_exit(void *source)
{
    ac_identity_t *identity = source;
    free(identity->tenant);
    identity->tenant = NULL;
}

const ac_credential_source_vt ac_credential_chain_source = {credential_chain_start, credential_chain_cancel,
                                                            credential_chain_child_init, credential_chain_child_exit};
