/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of the credentials: where a key or a token comes from, and the ways to sign in to Entra ID.
 * Everything runs on the loop thread unless it says otherwise. */
#ifndef AC_IDENTITY_H
#define AC_IDENTITY_H

#include "credential.h"
#include "io/io.h"

#define IDENTITY_MAX_TOKEN (64 * 1024) /* bytes of an answer that holds a token */
#define CREDENTIAL_MAX_KEY 8192        /* bytes of a key */
#define IDENTITY_SCOPE_SIZE 256

typedef struct identity_t identity_t;

/* ---- a source: what credential.c caches ---- */
typedef struct fetched_t { /* err.kind AC_OK: text is there */
    ac_err_t err;
    const char *reasons; /* for the log, where err.detail has no room for all of them; or NULL. As text */
    bool absent;         /* of an identity: this way to sign in does not exist here */
    const char *text;    /* valid inside the call only */
    apr_time_t expires;  /* ac_clock; 0: never */
    apr_time_t refresh;  /* when to fetch again; 0: never */
} fetched_t;
typedef void fetched_fn(void *baton, const fetched_t *fetched);

typedef struct source_vt {
    /* done comes once, never inside; the result is for cancel() until then. */
    void *(*start)(void *source, const char *scope, fetched_fn *done, void *baton);
    void (*cancel)(void *fetch); /* frees it; done does not come */
    apr_status_t (*child_init)(void *source, const ac_host_t *host, ac_err_t *err);
    void (*child_exit)(void *source); /* loop thread; may be NULL */
} source_vt;

extern const source_vt ac_credential_chain_source; /* credential_chain.c; an identity_t */
extern const source_vt ac_keyvault_source;         /* keyvault.c */
extern const source_vt ac_key_file_source;         /* key_file.c */

const char *ac_keyvault_create(void **psource, const char *url, const apr_table_t *options, apr_pool_t *p);
/* Reads it at once: *ptext is the key. */
const char *ac_key_file_create(void **psource, const char **ptext, const char *path, const apr_table_t *options,
                               apr_pool_t *p);
/* Cuts blanks off the end of a key of len bytes. It goes into a header, so it has to be one line of visible characters.
 * errors: unauthenticated, "it is empty" and the like, in err. */
apr_status_t ac_credential_spec_check_key(char *text, size_t len, ac_err_t *err);
/* The duration of an option between 1s and 1d. Returns NULL, or an error message. */
const char *ac_credential_spec_duration(apr_interval_time_t *pvalue, const apr_table_t *options, const char *name,
                                        apr_pool_t *p);
/* Returns NULL, or an error message about the first option that is not in names (NULL-terminated). */
const char *ac_credential_spec_only(const apr_table_t *options, const char *const *names, const char *spec,
                                    apr_pool_t *p);
/* The credential logs nothing: its owner logs its failures. */
void ac_credential_silence(ac_credential_t *credential);
/* Inside of a credential "identity". */
identity_t *ac_credential_spec_identity(ac_credential_t *credential);

/* ---- ac_credential_chain_conf.c: what is configured, from options and the environment ---- */
typedef enum managed_e { MANAGED_APP_SERVICE, MANAGED_ARC, MANAGED_IMDS, MANAGED_UNKNOWN } managed_e;

typedef struct identity_conf_t {    /* texts; NULL: not given */
    const char *tenant, *client_id; /* of the options, else of the environment */
    const char *authority;          /* "https://login.microsoftonline.com" */
    const char *secret;
    const char *certificate_path, *certificate_password;
    const char *certificate; /* its bytes when the configuration was read, by root maybe */
    size_t certificate_len;
    bool send_chain;
    const char *token_file;
    managed_e managed;
    const char *managed_client_id, *object_id, *resource_id; /* at most one: which user-assigned identity */
    const char *endpoint, *header;                           /* App Service; endpoint also: Arc */
    const char *imds;                                        /* "http://169.254.169.254" */
    const char *arc_keys; /* the directory of the agent's key files, with its slash */
} identity_conf_t;

/* chained: AZURE_CLIENT_ID chooses the managed identity, too. Returns NULL, or an error message. */
const char *ac_identity_conf_read(identity_conf_t *conf, const apr_table_t *options, bool chained, apr_pool_t *p);
/* The certificate, where one is named and there is no secret. Returns NULL, or an error message. */
const char *ac_identity_conf_certificate(identity_conf_t *conf, apr_pool_t *p);
/* An address that secrets may be sent to: https, or http to this machine. */
bool ac_identity_conf_address_safe(const char *url);
/* A file of at most max bytes as it is, on the heap, NUL-terminated. Any thread; blocks. */
apr_status_t ac_identity_conf_read_file(char **pbytes, size_t *plen, const char *path, size_t max);

/* ---- credential_chain.c ---- */
/* name: "environment" …, or NULL for the chain. Returns NULL, or an error message. */
const char *ac_credential_chain_create(identity_t **pidentity, const char *name, const apr_table_t *options,
                                       apr_pool_t *p);
extern const char *const ac_credential_chain_options[];
identity_conf_t *ac_credential_chain_conf(identity_t *identity);
/* Sets the tenant that a vault's challenge names, for a chain without a configured one. */
void ac_credential_chain_set_tenant(identity_t *identity, const char *tenant);
/* Whether a tenant need not be asked for. */
bool ac_credential_chain_knows_tenant(const identity_t *identity);

/* ---- token_request.c: one way to sign in, asked for one token ---- */
typedef struct ac_token_request_t ac_token_request_t;
typedef struct token_job_t token_job_t;
typedef struct credential_provider_t {
    const char *name;       /* "managed" */
    const char *azure_name; /* "ManagedIdentityCredential" */
    bool stops;             /* of a chain: what goes wrong here ends it */
    /* Ends by one of the functions below, at once or later. */
    void (*run)(ac_token_request_t *token_request);
} credential_provider_t;
extern const credential_provider_t ac_provider_environment, ac_provider_workload, ac_provider_managed, ac_provider_cli;

typedef struct token_answer_t { /* of an exchange */
    int status;                 /* HTTP's; 0: there was none, and err says why */
    const ac_err_t *err;
    const char *body;
    size_t len;
    const char *challenge; /* WWW-Authenticate, or "" */
} token_answer_t;
typedef void token_answer_fn(ac_token_request_t *token_request, const token_answer_t *answer);

struct ac_token_request_t {
    const credential_provider_t *link;
    const identity_conf_t *conf;
    const char *tenant; /* tenant_text; NULL: none is known */
    char tenant_text[128];
    bool chained; /* be quick to find out whether this way exists */
    ac_loop_t *loop;
    ac_work_t *work;
    fetched_fn *done;
    void *baton;
    ac_ready_t ready;
    ac_timer_t timer;
    ac_http_t *http;
    token_answer_fn *on_answer;
    int status;
    ac_buf_t body;
    char challenge[512]; /* WWW-Authenticate */
    token_job_t *job;
    int tries, gone; /* the link's own counts */
    int stage;       /* and its own place */
    char scope[IDENTITY_SCOPE_SIZE];
};

struct token_job_t {                   /* for a work thread; lives until it is done, also without its request */
    ac_token_request_t *token_request; /* loop thread; NULL: cancelled */
    const identity_conf_t *conf;
    char scope[IDENTITY_SCOPE_SIZE];
    char tenant[128], path[512];
    int stop_fd;                                                       /* readable: cancelled; -1: it cannot be */
    void (*fn)(token_job_t *job);                                      /* work thread: fills what follows */
    void (*done)(ac_token_request_t *token_request, token_job_t *job); /* loop thread */
    ac_buf_t out;
    ac_err_t err;
    bool absent;
};

typedef struct token_ask_t {
    const identity_conf_t *conf;
    const char *tenant, *scope;
    bool chained;
    ac_loop_t *loop;
    ac_work_t *work;
} token_ask_t;
ac_token_request_t *ac_token_request_start(const credential_provider_t *link, const token_ask_t *ask, fetched_fn *done,
                                           void *baton);
void ac_token_request_cancel(ac_token_request_t *token_request);
/* The ends of a token request; each frees it. */
void ac_token_request_end_absent(ac_token_request_t *token_request, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void ac_token_request_end_failed(ac_token_request_t *token_request, ac_kind_e kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void ac_token_request_end_err(ac_token_request_t *token_request, const ac_err_t *err, bool absent);
void ac_token_request_end_token(ac_token_request_t *token_request, const char *body,
                                size_t len); /* an answer of a token endpoint */
/* Runs one exchange, then on_answer; ends the token request if the exchange cannot start. */
void ac_token_request_http(ac_token_request_t *token_request, const ac_http_request_t *request,
                           token_answer_fn *on_answer);
/* Runs fn on a work thread, then done; ends the token request if no work thread takes it. path: for fn, or NULL.
 * stoppable: with a stop_fd. */
void ac_token_request_work(ac_token_request_t *token_request, void (*fn)(token_job_t *job),
                           void (*done)(ac_token_request_t *token_request, token_job_t *job), const char *path,
                           bool stoppable);
/* Appends "&name=value", percent-encoded; without the '&' where buf is empty. */
void ac_token_request_add_field(ac_buf_t *buf, const char *name, const char *value);
/* "https://vault.azure.net/.default" → "https://vault.azure.net" */
void ac_token_request_resource(char resource[IDENTITY_SCOPE_SIZE], const char *scope);

/* ---- provider_environment.c ---- */
/* Asks the authority with a secret or an assertion, one of them NULL; its answer ends the token request. */
void ac_provider_environment_redeem(ac_token_request_t *token_request, const char *secret, const char *assertion);

/* ---- identity_token.c: pure ---- */
/* Reads {"access_token", "expires_in" | "expires_on", "refresh_in"?}; text points into *pdocument, which the caller
 * releases. now: ac_clock; wall: apr_time_now. errors: upstream_error. */
apr_status_t ac_identity_token_read(fetched_t *fetched, json_t **pdocument, const char *body, size_t len,
                                    ac_err_t *err);
/* "1700000000", ISO 8601, "11/21/2026 10:00:00 AM +00:00" → seconds since 1970; 0: none of these. */
int64_t ac_identity_token_time(const char *text);
/* When to fetch a token of this life again. */
apr_interval_time_t ac_identity_token_refresh_after(apr_interval_time_t life, apr_interval_time_t wish);
/* The authority's error answer. Sets err: "AADSTS7000215: …, what to do". */
void ac_identity_token_error(ac_err_t *err, int status, const char *body, size_t len);
/* The meaning of an AADSTS code and its remedy; NULL if the code is not in the table. */
const char *ac_identity_token_explain(int code);

/* ---- identity_assertion.c: a client assertion; any thread, slow enough for a work thread ---- */
typedef struct assertion_t {
    const char *bytes; /* PEM or PKCS#12, with the private key */
    size_t len;
    const char *password, *client_id, *audience;
    bool send_chain;
} assertion_t;
apr_status_t ac_identity_assertion_make(ac_buf_t *out, const assertion_t *assertion, ac_err_t *err);

#endif
