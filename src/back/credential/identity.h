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

extern const source_vt identity_source; /* identity_chain.c; an identity_t */
extern const source_vt keyvault_source; /* keyvault.c */
extern const source_vt key_file_source; /* key_file.c */

const char *keyvault_create(void **psource, const char *url, const apr_table_t *options, apr_pool_t *p);
/* Reads it at once: *ptext is the key. */
const char *key_file_create(void **psource, const char **ptext, const char *path, const apr_table_t *options,
                            apr_pool_t *p);
/* Cuts blanks off the end of a key of len bytes. It goes into a header, so it has to be one line of visible characters.
 * errors: unauthenticated, "it is empty" and the like, in err. */
apr_status_t key_check(char *text, size_t len, ac_err_t *err);
/* The duration of an option between 1s and 1d. NULL, or a sentence. */
const char *credential_duration(apr_interval_time_t *pvalue, const apr_table_t *options, const char *name,
                                apr_pool_t *p);
/* NULL, or a sentence about the first option that is not in names (NULL-terminated). */
const char *credential_only(const apr_table_t *options, const char *const *names, const char *spec, apr_pool_t *p);
/* Says nothing in the log: whoever owns it tells of its failures. */
void credential_silence(ac_credential_t *credential);
/* Inside of a credential "identity". */
identity_t *credential_identity(ac_credential_t *credential);

/* ---- identity_conf.c: what is configured, from options and the environment ---- */
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

/* chained: AZURE_CLIENT_ID chooses the managed identity, too. NULL, or a sentence. */
const char *identity_conf_read(identity_conf_t *conf, const apr_table_t *options, bool chained, apr_pool_t *p);
/* The certificate, where one is named and there is no secret. NULL, or a sentence. */
const char *identity_conf_certificate(identity_conf_t *conf, apr_pool_t *p);
/* An address that secrets may be sent to: https, or http to this machine. */
bool identity_address_safe(const char *url);
/* A file of at most max bytes as it is, on the heap, NUL-terminated. Any thread; blocks. */
apr_status_t identity_file_read(char **pbytes, size_t *plen, const char *path, size_t max);

/* ---- identity_chain.c ---- */
/* name: "environment" …, or NULL for the chain. NULL, or a sentence. */
const char *identity_create(identity_t **pidentity, const char *name, const apr_table_t *options, apr_pool_t *p);
extern const char *const identity_options[];
identity_conf_t *identity_conf(identity_t *identity);
/* What a vault's challenge named; for where none is configured. */
void identity_set_tenant(identity_t *identity, const char *tenant);
/* Whether a tenant need not be asked for. */
bool identity_knows_tenant(const identity_t *identity);

/* ---- identity_try.c: one way to sign in, asked for one token ---- */
typedef struct identity_try_t identity_try_t;
typedef struct identity_job_t identity_job_t;
typedef struct identity_link_t {
    const char *name;       /* "managed" */
    const char *azure_name; /* "ManagedIdentityCredential" */
    bool stops;             /* of a chain: what goes wrong here ends it */
    /* Ends by one of the functions below, at once or later. */
    void (*run)(identity_try_t *try);
} identity_link_t;
extern const identity_link_t identity_environment, identity_workload, identity_managed, identity_cli;

typedef struct identity_answer_t { /* of an exchange */
    int status;                    /* HTTP's; 0: there was none, and err says why */
    const ac_err_t *err;
    const char *body;
    size_t len;
    const char *challenge; /* WWW-Authenticate, or "" */
} identity_answer_t;
typedef void identity_answer_fn(identity_try_t *try, const identity_answer_t *answer);

struct identity_try_t {
    const identity_link_t *link;
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
    identity_answer_fn *on_answer;
    int status;
    ac_buf_t body;
    char challenge[512]; /* WWW-Authenticate */
    identity_job_t *job;
    int tries, gone; /* the link's own counts */
    int stage;       /* and its own place */
    char scope[IDENTITY_SCOPE_SIZE];
};

struct identity_job_t {  /* for a work thread; lives until it is done, also without its try */
    identity_try_t *try; /* loop thread; NULL: cancelled */
    const identity_conf_t *conf;
    char scope[IDENTITY_SCOPE_SIZE];
    char tenant[128], path[512];
    int stop_fd;                                            /* readable: cancelled; -1: it cannot be */
    void (*fn)(identity_job_t *job);                        /* work thread: fills what follows */
    void (*done)(identity_try_t *try, identity_job_t *job); /* loop thread */
    ac_buf_t out;
    ac_err_t err;
    bool absent;
};

typedef struct identity_ask_t {
    const identity_conf_t *conf;
    const char *tenant, *scope;
    bool chained;
    ac_loop_t *loop;
    ac_work_t *work;
} identity_ask_t;
identity_try_t *identity_try_start(const identity_link_t *link, const identity_ask_t *ask, fetched_fn *done,
                                   void *baton);
void identity_try_cancel(identity_try_t *try);
/* The ends; each frees the try. */
void identity_end_absent(identity_try_t *try, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void identity_end_failed(identity_try_t *try, ac_kind_e kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void identity_end_err(identity_try_t *try, const ac_err_t *err, bool absent);
void identity_end_token(identity_try_t *try, const char *body, size_t len); /* an answer of a token endpoint */
/* One exchange, then on_answer; ends the try itself where it cannot be begun. */
void identity_try_http(identity_try_t *try, const ac_http_request_t *request, identity_answer_fn *on_answer);
/* Runs fn on a work thread, then done; ends the try itself where that cannot be. path: for fn, or NULL. stoppable:
 * with a stop_fd. */
void identity_try_work(identity_try_t *try, void (*fn)(identity_job_t *job),
                       void (*done)(identity_try_t *try, identity_job_t *job), const char *path, bool stoppable);
/* Appends "&name=value", percent-encoded; without the '&' where buf is empty. */
void identity_form_add(ac_buf_t *buf, const char *name, const char *value);
/* "https://vault.azure.net/.default" → "https://vault.azure.net" */
void identity_resource(char resource[IDENTITY_SCOPE_SIZE], const char *scope);

/* ---- identity_client.c ---- */
/* Asks the authority with a secret or an assertion, one of them NULL, and ends the try with what it answers. */
void identity_redeem(identity_try_t *try, const char *secret, const char *assertion);

/* ---- identity_token.c: pure ---- */
/* Reads {"access_token", "expires_in" | "expires_on", "refresh_in"?}; text points into *pdocument, which the caller
 * releases. now: ac_clock; wall: apr_time_now. errors: upstream_error. */
apr_status_t identity_token_read(fetched_t *fetched, json_t **pdocument, const char *body, size_t len, ac_err_t *err);
/* "1700000000", ISO 8601, "11/21/2026 10:00:00 AM +00:00" → seconds since 1970; 0: none of these. */
int64_t identity_when(const char *text);
/* When to fetch a token of this life again. */
apr_interval_time_t identity_refresh_after(apr_interval_time_t life, apr_interval_time_t wish);
/* The authority's error answer. Sets err: "AADSTS7000215: …, what to do". */
void identity_token_error(ac_err_t *err, int status, const char *body, size_t len);
/* What an AADSTS code means and what to do; NULL: not in the table. */
const char *identity_explain(int code);

/* ---- identity_assertion.c: a client assertion; any thread, slow enough for a work thread ---- */
typedef struct assertion_t {
    const char *bytes; /* PEM or PKCS#12, with the private key */
    size_t len;
    const char *password, *client_id, *audience;
    bool send_chain;
} assertion_t;
apr_status_t identity_assert(ac_buf_t *out, const assertion_t *assertion, ac_err_t *err);

#endif
