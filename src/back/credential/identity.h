/* SPDX-License-Identifier: Apache-2.0 */
/* Declarations that only the files of this folder share: sources of keys and tokens, and the providers of Entra ID
 * tokens. All functions are for the loop thread unless their comment says otherwise. */
#ifndef AC_IDENTITY_H
#define AC_IDENTITY_H

#include "credential.h"
#include "io/io.h"

#define AC_IDENTITY_MAX_TOKEN (64 * 1024) /* bytes of a response with a token */
#define AC_CREDENTIAL_MAX_KEY 8192        /* bytes of a key */
#define AC_IDENTITY_SCOPE_SIZE 256

typedef struct ac_identity_t ac_identity_t;

/* ---- a source: what credential.c caches ---- */
typedef struct ac_credential_result_t { /* the result of a fetch; err.kind AC_OK: text is set */
    ac_err_t err;
    const char *reasons; /* for the log, if err.detail has no room for all reasons; or NULL. Valid as long as text */
    bool absent;         /* of an identity: this provider does not exist here */
    const char *text;    /* valid inside the call only */
    apr_time_t expires;  /* ac_clock; 0: never */
    apr_time_t refresh;  /* when to fetch again; 0: never */
} ac_credential_result_t;
typedef void ac_credential_result_fn(void *baton, const ac_credential_result_t *fetched);

typedef struct ac_credential_source_vt {
    /* done is called once, never inside; until then the result can be passed to cancel(). */
    void *(*start)(void *source, const char *scope, ac_credential_result_fn *done, void *baton);
    void (*cancel)(void *fetch); /* frees it; done is not called */
    apr_status_t (*child_init)(void *source, const ac_host_t *host, ac_err_t *err);
    void (*child_exit)(void *source); /* loop thread; may be NULL */
} ac_credential_source_vt;

extern const ac_credential_source_vt ac_credential_chain_source; /* credential_chain.c; an ac_identity_t */
extern const ac_credential_source_vt ac_keyvault_source;         /* keyvault.c */
extern const ac_credential_source_vt ac_key_file_source;         /* key_file.c */
extern const ac_credential_source_vt ac_oauth_client_source;     /* oauth_client.c */

const char *ac_keyvault_create(void **psource, const char *url, const apr_table_t *options, apr_pool_t *p);
/* url: of the authorization server's token endpoint. */
const char *ac_oauth_client_create(void **psource, const char *url, const apr_table_t *options, apr_pool_t *p);
/* Reads the file at once: *ptext is the key. */
const char *ac_key_file_create(void **psource, const char **ptext, const char *path, const apr_table_t *options,
                               apr_pool_t *p);
/* Removes blanks at the end of a key of len bytes, and checks that it is one line of visible characters: it will be
 * sent in a header. errors: unauthenticated, "it is empty" and others, in err. */
apr_status_t ac_credential_spec_check_key(char *text, size_t len, ac_err_t *err);
/* The duration of an option between 1s and 1d. Returns NULL, or an error message. */
const char *ac_credential_spec_duration(apr_interval_time_t *pvalue, const apr_table_t *options, const char *name,
                                        apr_pool_t *p);
/* Returns NULL, or an error message about the first option that is not in names (NULL-terminated). */
const char *ac_credential_spec_only(const apr_table_t *options, const char *const *names, const char *spec,
                                    apr_pool_t *p);
/* The credential logs nothing: its user logs its failures. */
void ac_credential_silence(ac_credential_t *credential);
/* The identity inside of a credential "identity". */
ac_identity_t *ac_credential_spec_identity(ac_credential_t *credential);

/* ---- identity_conf.c: settings from options and the environment ---- */
typedef enum ac_identity_managed_e {
    AC_IDENTITY_MANAGED_APP_SERVICE,
    AC_IDENTITY_MANAGED_ARC,
    AC_IDENTITY_MANAGED_IMDS,
    AC_IDENTITY_MANAGED_UNKNOWN
} ac_identity_managed_e;

typedef struct ac_identity_conf_t { /* texts; NULL: not set */
    const char *tenant, *client_id; /* from the options, else from the environment */
    const char *authority;          /* "https://login.microsoftonline.com" */
    const char *secret;
    const char *certificate_path, *certificate_password;
    const char *certificate; /* the file's bytes when the configuration was read, possibly by root */
    size_t certificate_len;
    bool send_chain;
    const char *token_file;
    ac_identity_managed_e managed;
    const char *managed_client_id, *object_id, *resource_id; /* at most one is set: a user-assigned identity */
    const char *endpoint, *header;                           /* App Service; endpoint also: Arc */
    const char *imds;                                        /* "http://169.254.169.254" */
    const char *arc_keys; /* the directory of the agent's key files, with its slash */
} ac_identity_conf_t;

/* chained: AZURE_CLIENT_ID also selects the managed identity. Returns NULL on success, else an error message. */
const char *ac_identity_conf_read(ac_identity_conf_t *conf, const apr_table_t *options, bool chained, apr_pool_t *p);
/* Reads the certificate if one is configured and no secret is. Returns NULL on success, else an error message. */
const char *ac_identity_conf_certificate(ac_identity_conf_t *conf, apr_pool_t *p);
/* Whether secrets may be sent to an address: https, or http to this machine. */
bool ac_identity_conf_address_safe(const char *url);

/* ---- credential_chain.c ---- */
/* name: "environment" …, or NULL for the chain. Returns NULL, or an error message. */
const char *ac_credential_chain_create(ac_identity_t **pidentity, const char *name, const apr_table_t *options,
                                       apr_pool_t *p);
extern const char *const ac_credential_chain_options[];
ac_identity_conf_t *ac_credential_chain_conf(ac_identity_t *identity);
/* Sets the tenant that a vault's challenge names, for a chain without a configured one. */
void ac_credential_chain_set_tenant(ac_identity_t *identity, const char *tenant);
/* Whether the tenant is configured or known. */
bool ac_credential_chain_knows_tenant(const ac_identity_t *identity);

/* ---- token_request.c: one request of a token from one provider ---- */
typedef struct ac_token_request_t ac_token_request_t;
typedef struct ac_token_job_t ac_token_job_t;
typedef struct ac_credential_provider_t {
    const char *name;       /* "managed" */
    const char *azure_name; /* "ManagedIdentityCredential" */
    bool stops;             /* of a chain: a failure of this provider ends the chain */
    /* Ends the request by one of the functions below, at once or later. */
    void (*run)(ac_token_request_t *token_request);
} ac_credential_provider_t;
extern const ac_credential_provider_t ac_provider_environment, ac_provider_workload, ac_provider_managed,
    ac_provider_cli;

typedef struct ac_token_answer_t { /* of an exchange */
    int status;                    /* HTTP's; 0: no response, and err has the cause */
    const ac_err_t *err;
    const char *body;
    size_t len;
    const char *challenge; /* WWW-Authenticate, or "" */
} ac_token_answer_t;
typedef void ac_token_answer_fn(ac_token_request_t *token_request, const ac_token_answer_t *answer);

struct ac_token_request_t {
    const ac_credential_provider_t *provider;
    const ac_identity_conf_t *conf;
    const char *tenant; /* tenant_text; NULL: unknown */
    char tenant_text[128];
    bool chained; /* find out quickly whether this provider exists */
    ac_loop_t *loop;
    ac_work_t *work;
    ac_credential_result_fn *done;
    void *baton;
    ac_ready_t ready;
    ac_timer_t timer;
    ac_http_t *http;
    ac_token_answer_fn *on_answer;
    int status;
    ac_buf_t body;
    char challenge[512]; /* WWW-Authenticate */
    ac_token_job_t *job;
    int tries, gone;          /* the provider's own counts */
    int stage;                /* the provider's own stage */
    apr_interval_time_t life; /* of a token whose answer does not say it; 0: such an answer is an error */
    char scope[AC_IDENTITY_SCOPE_SIZE];
};

struct ac_token_job_t {                /* for a work thread; may outlive its request */
    ac_token_request_t *token_request; /* loop thread; NULL: cancelled */
    const ac_identity_conf_t *conf;
    char scope[AC_IDENTITY_SCOPE_SIZE];
    char tenant[128], path[512];
    int stop_fd;                                                          /* readable: cancelled; -1: not stoppable */
    void (*fn)(ac_token_job_t *job);                                      /* on a work thread: sets the members below */
    void (*done)(ac_token_request_t *token_request, ac_token_job_t *job); /* loop thread */
    ac_buf_t out;
    ac_err_t err;
    bool absent;
};

typedef struct ac_token_ask_t {
    const ac_identity_conf_t *conf;
    const char *tenant, *scope;
    bool chained;
    ac_loop_t *loop;
    ac_work_t *work;
} ac_token_ask_t;
ac_token_request_t *ac_token_request_start(const ac_credential_provider_t *provider, const ac_token_ask_t *ask,
                                           ac_credential_result_fn *done, void *baton);
void ac_token_request_cancel(ac_token_request_t *token_request);
/* The ends of a token request; each frees it. */
void ac_token_request_end_absent(ac_token_request_t *token_request, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void ac_token_request_end_failed(ac_token_request_t *token_request, ac_kind_e kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void ac_token_request_end_err(ac_token_request_t *token_request, const ac_err_t *err, bool absent);
void ac_token_request_end_token(ac_token_request_t *token_request, const char *body,
                                size_t len); /* a response of a token endpoint */
/* Runs one exchange, then calls on_answer; ends the token request if the exchange cannot start. */
void ac_token_request_http(ac_token_request_t *token_request, const ac_http_request_t *request,
                           ac_token_answer_fn *on_answer);
/* Runs fn on a work thread, then done on the loop; ends the token request if the queue is full. path: for fn, or NULL.
 * stoppable: with a stop_fd. */
void ac_token_request_work(ac_token_request_t *token_request, void (*fn)(ac_token_job_t *job),
                           void (*done)(ac_token_request_t *token_request, ac_token_job_t *job), const char *path,
                           bool stoppable);
/* Appends "&name=value", percent-encoded; without the '&' if buf is empty. */
void ac_token_request_add_field(ac_buf_t *buf, const char *name, const char *value);
void ac_token_request_add_encoded(ac_buf_t *buf, const char *text); /* percent-encoded */
/* "https://vault.azure.net/.default" → "https://vault.azure.net" */
void ac_token_request_resource(char resource[AC_IDENTITY_SCOPE_SIZE], const char *scope);

/* ---- provider_environment.c ---- */
/* Requests a token from the authority with a secret or an assertion (the other is NULL); its response ends the token
 * request. */
void ac_provider_environment_redeem(ac_token_request_t *token_request, const char *secret, const char *assertion);

/* ---- identity_token.c: no state ---- */
/* Reads {"access_token", "expires_in" | "expires_on", "refresh_in"?}; text points into *pdocument, which the caller
 * releases. life: of the token if the answer does not say it; 0: that is an error, which fetched->err has:
 * upstream_error. */
apr_status_t ac_identity_token_read(ac_credential_result_t *fetched, json_t **pdocument, const char *body, size_t len,
                                    apr_interval_time_t life);
/* "1700000000", ISO 8601, "11/21/2026 10:00:00 AM +00:00" → seconds since 1970; 0: none of these. */
int64_t ac_identity_token_time(const char *text);
/* The time after which a token of this lifetime is fetched again. */
apr_interval_time_t ac_identity_token_refresh_after(apr_interval_time_t life, apr_interval_time_t wish);
/* Sets err from the authority's error response: "AADSTS7000215: …", and the remedy. */
void ac_identity_token_error(ac_err_t *err, int status, const char *body, size_t len);
/* The meaning of an AADSTS code and its remedy; NULL if the code is not in the table. */
const char *ac_identity_token_explain(int code);

/* ---- identity_assertion.c: a client assertion; any thread, so slow that it belongs on a work thread ---- */
typedef struct ac_identity_assertion_t {
    const char *bytes; /* PEM or PKCS#12, with the private key */
    size_t len;
    const char *password, *client_id, *audience;
    bool send_chain;
} ac_identity_assertion_t;
apr_status_t ac_identity_assertion_make(ac_buf_t *out, const ac_identity_assertion_t *assertion, ac_err_t *err);

#endif
