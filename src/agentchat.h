/* SPDX-License-Identifier: Apache-2.0 */
/* The vocabulary of mod_agentchat: the domain objects that all layers use, and the tables of functions of stores,
 * models and tools. Another httpd module that adds one of these includes this header and no other one of this
 * module. */
#ifndef AGENTCHAT_H
#define AGENTCHAT_H

#include <apr_hash.h>

#include "agentchat_store.h"
#include "agentchat_types.h"

#define AC_VERSION "0.1.0"

/* ---- groups of providers: ap_register_provider() ---- */
#define AC_STORE_PROVIDER "agentchat-store"
#define AC_MODEL_PROVIDER "agentchat-model"
#define AC_TOOL_PROVIDER "agentchat-tool"
#define AC_PROVIDER_VERSION "6"

/* apr_pool_userdata of the configuration's pool: the pool (apr_pool_t *) that outlives a reload. It may hold data only,
 * no functions: a reload unloads the module. */
#define AC_KEEP_POOL "agentchat-keep-pool"

/* ---- model ---- */
typedef enum ac_finish_e {
    AC_FINISH_NONE,
    AC_FINISH_STOP,
    AC_FINISH_TOOL_CALLS,
    AC_FINISH_LENGTH,
    AC_FINISH_CONTENT_FILTER
} ac_finish_e;

typedef struct ac_tool_call_t {
    const char *id; /* the model's id, made unique within the answer */
    const char *name;
    const char *arguments; /* JSON text from the model; "" means {} */
    bool approval;         /* asks whether the model's service may call a tool of its own; nothing is called here */
} ac_tool_call_t;

typedef struct ac_hosted_call_t { /* by the model's service, of its own tool; valid inside of on_hosted */
    const char *id, *name;        /* unique in the answer */
    const json_t *arguments;      /* object */
    bool ended;
    const json_t *result; /* of an ended one; NULL: the service does not say it */
    const char *error;    /* of an ended one; NULL: it has not failed */
} ac_hosted_call_t;

#define AC_MODEL_RESPONSE_SIZE 128
typedef struct ac_model_end_t {
    apr_status_t status; /* APR_SUCCESS: the answer is complete */
    ac_err_t err;
    ac_finish_e finish;
    ac_usage_t usage;
    char model[80];              /* the name that the model reports, or "" */
    const ac_tool_call_t *calls; /* valid inside of on_end only */
    int n_calls;
    int n_retries; /* requests that were sent again */
    /* Since version 4 of ac_host_t. What the model wants back with the calls of this answer, in the member `carried` of
     * its message: an object, which ends with on_end; NULL: nothing. A suspended run stores it. */
    const json_t *carried;
    char response[AC_MODEL_RESPONSE_SIZE]; /* by which the service knows its answer, for later turns; "": not known */
} ac_model_end_t;

/* An image of a message. Borrowed until on_end or cancel(). */
typedef struct ac_model_image_t {
    const char *id;    /* of its file */
    const char *type;  /* "image/png" */
    const char *url;   /* that the model's service can read it with; NULL: it gets the bytes */
    const char *bytes; /* len of them; NULL with a URL */
    size_t len;
} ac_model_image_t;

#define AC_MODEL_IMAGE_URL "file:" /* and the id: stands for the image in the messages */

typedef struct ac_model_ask_t {
    /* In the form of chat completions; borrowed during ask(). A message that this model has said may have `carried`, an
     * object: `response` and the members of ac_model_end_t.carried, and `approved`, a list with true or false for
     * each call that asked for an approval. A provider that gives neither never gets it. */
    const json_t *messages;
    const json_t *tools;    /* in the form of chat completions, or NULL */
    double temperature;     /* NaN: not sent */
    int max_tokens;         /* 0: not sent */
    bool no_calls;          /* sends the tools but allows no call: tool_choice "none" */
    const char *request_id; /* for the upstream's log, or NULL */
    /* The context of the call's current attempt, for the upstream; on_retry() changes it. It lives until on_end or
     * cancel(). NULL or without ids: none. */
    const ac_trace_t *trace;
    /* Only for models with `AgentChatVision on`. The content of a message is then a list of parts; {type: "image_url",
     * image_url: {url: "file:ID", detail?}} stands for the image with this id. */
    const ac_model_image_t *images;
    int n_images;
    /* In the form of chat completions; NULL: the model chooses. A provider may ignore both. Only with tools. */
    const json_t *tool_choice;
    bool one_call; /* parallel_tool_calls is false */
    /* The form of the answer, as in chat completions; NULL: text. A provider may ignore it: the core checks the
     * answer. */
    const json_t *response_format;
} ac_model_ask_t;

/* All on the loop thread, never inside ask(). No callback comes after on_end or cancel(). */
typedef struct ac_model_cb_t {
    void (*on_text)(void *baton, const char *text, size_t len);
    void (*on_tool_start)(void *baton, int index, const char *id, const char *name);
    void (*on_tool_args)(void *baton, int index, const char *fragment, size_t len);
    void (*on_end)(void *baton, const ac_model_end_t *end);
    /* An attempt has failed with err, before its answer began, and the provider will make another one. May be NULL. */
    void (*on_retry)(void *baton, const ac_err_t *err);
    /* Since version 4 of ac_host_t. A part of what the model thinks before it answers or calls a tool: no part of the
     * answer. NULL: not wanted. */
    void (*on_reasoning)(void *baton, const char *text, size_t len);
    /* Since version 4, too. The model names a source: {type: "url_citation", url_citation: {url, title}}, or with url
     * and title beside the type. Borrowed. NULL: not wanted. */
    void (*on_annotation)(void *baton, const json_t *annotation);
    /* Since version 4. A call by the model's service has begun, or has ended. NULL: not wanted. */
    void (*on_hosted)(void *baton, const ac_hosted_call_t *call);
} ac_model_cb_t;

typedef struct ac_secret_t {
    const char *spec;  /* "env:NAME", "file:PATH"; may be shown */
    const char *value; /* never shown; NULL: none */
} ac_secret_t;

#define AC_VISION_OFF 0  /* refuses messages with images */
#define AC_VISION_NOTE 1 /* tells the model that there is an image */
#define AC_VISION_ON 2   /* sends images to the model */

typedef struct ac_model_conf_t { /* a <AgentChatModel> section; lives as long as the child */
    const char *id, *provider, *endpoint;
    const apr_table_t *options; /* deployment=, api-version=, model= … */
    ac_secret_t credential;     /* spec; the value of env: and file: at the start, else NULL */
    ac_credential_t *auth;      /* the same for host->credential_get, in any form; NULL: none configured */
    ac_price_t price;
    apr_interval_time_t connect_timeout, first_byte_timeout, idle_timeout, total_timeout;
    int retries;
    int http_version;    /* 0: chosen by the endpoint's scheme; 1; 2 */
    const char *ca_file; /* PEM, or NULL: the system's */
    json_t *params;      /* further members of the request body, or NULL */
    unsigned metric;     /* the core's: its index in metrics */
    /* AgentChatVision, for the core */
    int vision;       /* AC_VISION_OFF and others */
    int image_detail; /* 0: not sent; 1: "auto", 2: "low", 3: "high" */
    int max_images;   /* of a request */
    apr_size_t max_image;
    bool image_links; /* sends URLs instead of bytes, where the storage makes them */
    bool reasoning;   /* AgentChatReasoning, for the core: shown and stored */
} ac_model_conf_t;

typedef struct ac_model_vt {
    const char *name; /* AgentChatProvider */
    const char *(*create)(void **pself, const ac_model_conf_t *conf, apr_pool_t *p);
    apr_status_t (*child_init)(void *self, const ac_host_t *host, ac_err_t *err);
    /* Loop thread. Starts one answer. *pcall can be passed to cancel() until on_end has been called. */
    apr_status_t (*ask)(void **pcall, void *self, const ac_model_ask_t *ask, const ac_model_cb_t *cb, void *baton,
                        ac_err_t *err);
    void (*cancel)(void *call);
    /* Loop thread. Checks whether the model can be reached, for /ready. done is never called inside. NULL: the model
     * uses no service, and /ready reports it as ok. */
    void (*probe)(void *self,
                  void (*done)(void *baton, apr_status_t status, apr_interval_time_t took, const ac_err_t *err),
                  void *baton);
} ac_model_vt;

/* ---- tool ---- */
typedef struct ac_tool_header_t {
    const char *name, *value; /* value may contain ${secret} */
    ac_secret_t secret;
} ac_tool_header_t;

/* Where the sources are in a result: members by their paths, names with dots between them. */
typedef struct ac_sources_map_t {
    const char *list; /* an array; ".": the result itself; "off": there are none; NULL: under the usual names */
    const char *title, *url, *place, *score, *snippet; /* of its items; NULL: the usual names */
} ac_sources_map_t;

typedef struct ac_tool_conf_t { /* a <AgentChatTool> section */
    const char *id, *provider, *description;
    json_t *parameters;                /* JSON Schema, or NULL: the provider's own */
    const char *url, *method, *body;   /* templates with {name}, or NULL */
    const apr_array_header_t *headers; /* of ac_tool_header_t */
    const apr_array_header_t
        *allow_hosts;           /* of const char *: "host", "*.host", "host:port"; the URL's own is implied */
    bool allow_private;         /* also loopback, link-local and private addresses */
    bool insecure;              /* secrets of headers may be sent over plain http */
    const apr_table_t *options; /* of AgentChatToolOption: name, value */
    apr_interval_time_t timeout;
    apr_size_t result_max;
    const char *state_dir; /* a directory in which a tool may keep an index */
    const char *ca_file;
    int approval;          /* 1: each call needs the owner's approval */
    ac_credential_t *auth; /* sent as a Bearer token; NULL: none */
    ac_sources_map_t sources;
} ac_tool_conf_t;

#define AC_TOOL_BLOCKING 1 /* call() runs on a work thread */
/* The result follows from the arguments and contains no text of third parties, so the model gets it without quotes. */
#define AC_TOOL_COMPUTES 2

/* A tool has one of three forms; the members that are set choose it:
 *   compute         computes its result from the arguments at once
 *   call            AC_TOOL_BLOCKING: blocks, on a work thread
 *   start, cancel   begins on the loop thread and reports its result later
 * Before a call the core checks the arguments against `parameters`. It ends a call at its deadline, and cuts the result
 * at the configured size. If a call fails, the model gets err->detail, which must not contain a secret; the kind is
 * tool_error or tool_timeout. If a failed call has a result that is a string, the model gets this string instead, cut
 * like a result. All functions except for create and child_init may run many times at once.
 *
 * A call that cannot end without the approval of the run's owner calls done with AC_TOOL_ASKS, and an object whose
 * `message` says what the owner is asked. The run is then suspended as for AgentChatToolApproval, and the approved call
 * continues by proceed() with this object, in whichever process. The owner also sees `form`, a JSON Schema of what the
 * approval may bring, and `problem`, why an earlier approval was not enough; proceed() finds what it brings, unchecked,
 * in `content`. Other members are the tool's. */
#define AC_TOOL_ASKS APR_INCOMPLETE

typedef struct ac_tool_vt {
    const char *name; /* AgentChatToolProvider */
    unsigned flags;
    const char *description; /* for the model, unless configured; may be NULL */
    const char *parameters;  /* JSON Schema as text; may be NULL if configured */
    /* At configuration time. *pself: allocated in p. conf lives as long as the child. Returns NULL on success, else an
     * error message in p. NULL as the function: the tool has no options, and self is NULL. */
    const char *(*create)(void **pself, const ac_tool_conf_t *conf, apr_pool_t *p);
    apr_status_t (*child_init)(void *self, const ac_host_t *host, ac_err_t *err); /* after the fork; may be NULL */
    /* AC_TOOL_BLOCKING: on a work thread. *presult: a new reference. deadline: monotonic time of the core's clock. */
    apr_status_t (*call)(json_t **presult, void *self, const json_t *arguments, apr_time_t deadline, ac_err_t *err);
    /* Loop thread. After APR_SUCCESS done(baton, ...) is called later on the loop thread, never inside, and consumes
     * result. */
    apr_status_t (*start)(void **pcall, void *self, const json_t *arguments, apr_time_t deadline,
                          void (*done)(void *baton, apr_status_t status, json_t *result, const ac_err_t *err),
                          void *baton, ac_err_t *err);
    void (*cancel)(void *call); /* with start: loop thread; done is not called any more */
    /* Loop thread; returns within microseconds. *presult: a new reference. */
    apr_status_t (*compute)(void *self, const json_t *arguments, json_t **presult, ac_err_t *err);
    /* Of tools that use AC_TOOL_ASKS: as start, with the object that done got. */
    apr_status_t (*proceed)(void **pcall, void *self, const json_t *arguments, const json_t *question,
                            apr_time_t deadline,
                            void (*done)(void *baton, apr_status_t status, json_t *result, const ac_err_t *err),
                            void *baton, ac_err_t *err);
    /* The same call ends without an approval. Loop thread; may be NULL. */
    void (*decline)(void *self, const json_t *question);
} ac_tool_vt;

/* ---- models, tools and agents; immutable after configuration ---- */
typedef struct ac_model_t {
    const char *id;
    const ac_model_vt *vt;
    void *self;
    const ac_model_conf_t *conf;
} ac_model_t;

typedef struct ac_tool_t {
    const char *id, *description;
    json_t *parameters; /* JSON Schema object */
    const ac_tool_vt *vt;
    void *self;
    const ac_tool_conf_t *conf;
    unsigned metric;    /* its index in metrics; 0: other */
    const char *source; /* which tool it is, of a source of tools: "mcp:SERVER/NAME"; or the agent that it calls:
                           "agent:ID"; NULL: one of the configuration */
    const struct ac_agent_t *agent; /* a call is a nested run of this agent; NULL: a call of the table's functions */
    bool hands_off;                 /* a call is no nested run: the agent continues the run */
} ac_tool_t;

typedef struct ac_agent_t {
    const char *id, *name, *description, *instructions;
    const ac_model_t *model;       /* NULL only if problem is set */
    const ac_tool_t *const *tools; /* n_tools of them */
    int n_tools;
    json_t *tools_json; /* the model's `tools`, or NULL without tools */
    double temperature; /* NaN: not sent */
    int max_rounds, max_tokens;
    int max_tool_calls;   /* of one round; 0: AC_MAX_TOOL_CALLS */
    int max_total_rounds; /* of a run and its nested runs; 0: AC_MAX_TOTAL_ROUNDS */
    bool tells_history;   /* agents that it calls get the conversation */
    int history_messages; /* 0: none */
    int64_t history_tokens;
    json_t *output_schema;            /* AgentChatOutputSchema: JSON Schema of answers, or NULL */
    const struct ac_limits_t *limits; /* base/base.h; NULL: none */
    const char *status, *source;      /* "active"|"inactive"; "config"|"api" */
    const char *etag;
    const json_t *document; /* the document from the API; NULL: from the configuration */
    const char *problem;    /* why the agent cannot run although it is active; NULL: it can */
    unsigned metric;        /* its index in metrics; 0: other, as of those made through the API */
    const struct ac_tool_source_t *const *sources; /* n_sources of them, whose tools it has, too; back/back.h */
    int n_sources;
} ac_agent_t;

#endif
