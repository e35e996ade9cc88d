/* SPDX-License-Identifier: Apache-2.0 */
/* Layer 6: the only one that uses httpd. This folder has the table of routes, the life of a child process, limits,
 * event logs, the cache in front of the store, httpd's error log. The folders config, auth, request, api and stream
 * have a header each. */
#ifndef AC_FRONT_H
#define AC_FRONT_H

#include "agent/agent.h"
#include "back/apikey/apikey.h"
#include "back/cache/cache.h"
#include "back/limit/limit.h"
#include "back/mirror/mirror.h"
#include "back/telemetry/telemetry.h"

#include "httpd.h"
#if !AP_MODULE_MAGIC_AT_LEAST(20120211, 116)
#error "mod_agentchat needs httpd 2.4.49 or later: before it no hook says that a child ends"
#endif
#include "http_config.h"
#include "http_core.h"
#include "http_log.h"
#include "http_protocol.h"
#include "http_request.h"

#include "apr_strings.h"

extern module AP_MODULE_DECLARE_DATA agentchat_module __attribute__((visibility("default")));

typedef struct ac_conf_t ac_conf_t;                 /* config/config.h */
typedef struct ac_mount_conf_t ac_mount_conf_t;     /* config/config.h */
typedef struct ac_config_check_t ac_config_check_t; /* config/config.h */
typedef struct ac_request_t ac_request_t;           /* request/request.h */

/* ---- startup.c: the start of httpd, and each reload ---- */
/* The hook post_config: makes directories, the table of counts, the store and its cache; installs the log. */
int ac_startup_post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);

/* ---- child.c: what lives in each child process ---- */
typedef struct ac_child_t {
    const ac_conf_t *conf;
    server_rec *server;
    ac_host_t host;
    ac_loop_t *loop;
    ac_work_t *work;
    ac_work_t *files_work; /* for the bytes of files: of its own where they are on another machine, else the same */
    ac_engine_t *engine;
    ac_webhook_sender_t *webhooks;   /* NULL: the configuration has none */
    ac_event_dir_t *event_dir;       /* NULL: no event logs */
    ac_catalog_t *catalog;           /* the agents */
    ac_counters_t counters;          /* of limits */
    ac_limit_redis_t *shared;        /* AgentChatShared; NULL: none */
    ac_mirror_t mirror;              /* of event logs */
    ac_mirror_redis_t *mirror_redis; /* NULL: no mirror */
    ac_telemetry_t *telemetry;       /* NULL: nothing is exported */
    apr_thread_t *thread;
    bool threaded;                              /* the MPM has threads; one without ends inside a signal handler */
    bool can_park;                              /* the MPM lets a stream wait without a thread */
    volatile apr_uint32_t stopping;             /* child_stopping was called, or the process ends */
    volatile apr_uint32_t n_parked, n_blocking; /* streams now */
    apr_time_t started;
} ac_child_t;
/* The child that this process is; NULL before child_init has succeeded. Any thread. */
ac_child_t *ac_child(void);
void ac_child_start(apr_pool_t *pchild, server_rec *s); /* child_start.c: the hook child_init */
void ac_child_stop(apr_pool_t *pchild, int graceful);   /* child_stop.c: the hook child_stopping */
/* Sets the signals by which prefork ends a child at once. */
void ac_child_end_signals(sigset_t *set);

/* ---- erasure.c ---- */
/* Lets this child carry out the erasures that the store has accepted, and waits for the end of this one. NULL: it goes
 * on without the caller. Otherwise what OWNER_ERASE reports about it, a new reference; empty, if another process has
 * ended it. Any thread but the loop's. */
json_t *ac_erasure_wait(const char *id, apr_time_t deadline);

/* ---- deletion.c ---- */
/* Deletes messages of the thread, as MESSAGE_DELETE describes it, with the events of their runs. in: consumed.
 * *pthread: the thread afterwards, as long as the request. errors: in rq->err. Worker thread. */
apr_status_t ac_deletion_run(const json_t **pthread, ac_request_t *rq, const char *thread_id, json_t *in);

/* ---- caching.c: the cache before the store ---- */
void ac_caching_check(ac_config_check_t *check); /* reports what is wrong with AgentChatCache */

/* ---- event_logs.c: where runs leave their events ---- */
/* Reports whether the directory of AgentChatEventLog cannot be made, or cannot be used by the children. Makes
 * nothing. */
void ac_event_logs_check(ac_config_check_t *check);

/* ---- limits.c: rate limits and budgets ---- */
/* Counts a stream: *preservation is kept as long as the stream lasts. errors: rate_limited, overloaded. */
apr_status_t ac_limits_stream(ac_reservation_t **preservation, ac_request_t *rq);
/* The subjects that the request's run is counted for. Lives as long as rq; take a reference to keep it. */
ac_quota_t *ac_limits_quota(ac_request_t *rq);
/* Adds to RateLimit-Policy and RateLimit. For the owner of r. */
void ac_limits_fields(request_rec *r, const ac_buf_t *policy, const ac_buf_t *left);

/* ---- metrics_front.c: what the children count, in memory that outlives reloads ---- */
/* The hook log_transaction: counts an answered request. */
int ac_metrics_front_count(request_rec *r);
/* Appends all metrics in this format. errors: ENOSPC, ENOMEM. Any thread. */
apr_status_t ac_metrics_front_text(ac_buf_t *out, ac_metrics_format_e format);

/* ---- status.c: mod_status ---- */
void ac_status_register(apr_pool_t *p); /* the hook of mod_status, if it is loaded; called from register_hooks */

/* ---- route.c: the table of routes ---- */
typedef int ac_route_fn(ac_request_t *rq);
typedef struct ac_dialect_t ac_dialect_t; /* stream/stream.h */
typedef struct ac_route_t {
    int method;          /* M_GET … */
    const char *pattern; /* "/threads/{id}/messages" */
    unsigned needs;      /* AC_NEEDS_… */
    ac_route_fn *fn;
    const ac_dialect_t *dialect; /* of its events, the first of several; NULL: it has none */
    const char *doc;             /* one line */
    const char *const *query;    /* the query parameters, NULL-terminated; NULL: none */
} ac_route_t;
#define AC_NEEDS_OWNER 1                    /* 401 without a signed-in user or AgentChatAnonymous on */
#define AC_NEEDS_ADMIN 2                    /* 403 without the role AC_ROLE_ADMIN; with AC_NEEDS_OWNER */
#define AC_NEEDS_CHILD 4                    /* 503 where this process has no engine */
#define AC_MAY_BE_MOUNT 8                   /* <Location "/health"> alone is this route */
#define AC_ALWAYS_STREAMS 16                /* HEAD is answered without a call of fn */
#define AC_IS_METRICS 32                    /* no limit counts it, nor a metric; AgentChatMetrics says who may */
#define AC_ALSO_CSV 64                      /* Accept may name text/csv */
#define AC_IS_LINES 128                     /* sent while it is made; Accept may name x-ndjson and markdown */
#define AC_IS_FILE 512                      /* the answer is a file of any type; Range is read */
#define AC_TAKES_BODY 1024                  /* a DELETE with a body */
extern const ac_route_t ac_routes[];        /* ends with pattern NULL; docs are checked against it */
int ac_route_header_parser(request_rec *r); /* the hooks of these names */
int ac_route_handle(request_rec *r);        /* the hook handler */
int ac_route_translate_name(request_rec *r);
int ac_route_name_no_file(request_rec *r); /* the last hook translate_name before the core's */
int ac_route_map_to_storage(request_rec *r);

/* ---- protocol.c: the table of protocols ---- */
typedef struct ac_protocol_t {                   /* how the clients of one API talk with this server */
    const char *title;                           /* "OpenAI's API" */
    ac_protocol_e (*id)(const char *pattern);    /* of a route, for metrics, logs and traces */
    const char *const *prefixes;                 /* of its paths below the mount, "/v1"; ends with NULL */
    bool (*is_on)(const ac_mount_conf_t *mount); /* false: its routes answer 404 */
    bool any_accept;                             /* Accept is not read: the body alone asks for a stream */
    const char *problem_type;                    /* the media type of an error */
    /* The document of an error before the first byte of an answer, or a text. view: of the request, for its dialect;
     * NULL: none, or none yet. New reference. Any thread. */
    json_t *(*problem)(const ac_err_t *err, const char *request_id, const void *view);
    /* Adds header fields to those of every error. started: the run had begun. NULL: none. The owner of r. */
    void (*problem_headers)(request_rec *r, const ac_err_t *err, bool started);
    /* Adds to the WWW-Authenticate of a 401 or 403, also of httpd's own. NULL: nothing. The owner of r. */
    void (*challenge)(request_rec *r);
} ac_protocol_t;
/* The protocol of the request's path, also where no route has the path. Never NULL. Any thread that may read r. */
const ac_protocol_t *ac_protocol_of(const request_rec *r);
ac_protocol_e ac_protocol_id(const ac_route_t *route); /* NULL: AC_PROTOCOL_OTHER. Any thread */

/* ---- reload.c: a configuration that cannot be served ---- */
/* The result of a directive's function: problem at the first start; at a reload it is logged and noted, and NULL
 * returned. */
const char *ac_reload_directive(cmd_parms *cmd, const char *problem);
/* The result of a hook after this check. Deactivates the module where there was a problem. */
int ac_reload_result(const ac_config_check_t *check);

/* ---- access_notes.c: what an access log can show of a request, as %{agentchat-run}n ---- */
typedef enum ac_access_note_e {
    AC_NOTE_RUN,
    AC_NOTE_THREAD,
    AC_NOTE_AGENT,
    AC_NOTE_MODEL,
    AC_NOTE_STATUS, /* of the run, when the request is logged */
    AC_NOTE_ERROR,
    AC_NOTE_TOKENS_IN,
    AC_NOTE_TOKENS_OUT,
    AC_NOTE_TOKENS_CACHED,
    AC_NOTE_COST,
    AC_NOTE_CURRENCY,
    AC_NOTE_FIRST_TOKEN,
    AC_NOTE_STORE,
    AC_NOTE_TRACE,
    AC_NOTE_PROTOCOL,
    AC_N_NOTES
} ac_access_note_e;
extern const char *const ac_access_notes[]; /* their names; ends with NULL */
int ac_access_notes_set(request_rec *r);    /* the hook log_transaction, before the modules that log */

/* ---- tracing.c: the span of a request ---- */
int ac_tracing_end(request_rec *r); /* the hook log_transaction */

/* ---- audit.c: who did what; nothing happens without AgentChatAuditLog ---- */
typedef enum ac_audit_e {
    AC_AUDIT_NONE,
    AC_AUDIT_SIGN_IN_REFUSED,
    AC_AUDIT_KEY_REFUSED,
    AC_AUDIT_ACCESS_REFUSED,
    AC_AUDIT_LIMIT_REACHED,
    AC_AUDIT_ADMIN_USED, /* a route that needs the role admin, without an event of its own */
    AC_AUDIT_KEY_CREATED,
    AC_AUDIT_KEY_CHANGED,
    AC_AUDIT_KEY_REVOKED,
    AC_AUDIT_AGENT_CREATED,
    AC_AUDIT_AGENT_CHANGED,
    AC_AUDIT_AGENT_DELETED,
    AC_AUDIT_THREAD_DELETED,
    AC_AUDIT_THREAD_ERASED, /* permanently */
    AC_AUDIT_THREAD_RESTORED,
    AC_AUDIT_MESSAGE_DELETED,
    AC_AUDIT_APPROVAL_GIVEN,
    AC_AUDIT_APPROVAL_REFUSED,
    AC_AUDIT_RUN_CANCELLED,
    AC_AUDIT_FEEDBACK_GIVEN,
    AC_AUDIT_FEEDBACK_REMOVED,
    AC_AUDIT_EXPORTED,
    AC_AUDIT_FILE_UPLOADED,
    AC_AUDIT_FILE_DELETED,
    AC_AUDIT_OWNER_ERASED,
    AC_N_AUDITS
} ac_audit_e;
typedef struct ac_audit_t { /* what the handler of a request is about to do */
    ac_audit_e event;       /* NONE: nothing that is recorded */
    const char *target;     /* an id; NULL: the first one of the path */
    const char *call;       /* the id of a tool call, or NULL */
} ac_audit_t;
void ac_audit_done(ac_request_t *rq); /* before a successful answer: the handler has done rq->audit */
/* Before an answer with this error: a refusal, or a failure of what the handler was to do. Once for each request. The
 * owner of r. */
void ac_audit_problem(request_rec *r, const ac_err_t *err);
/* An API key that is not valid. key_id: NULL: unknown. */
void ac_audit_key(request_rec *r, ac_keyring_verdict_e verdict, const char *key_id);
void ac_audit_check(ac_config_check_t *check); /* reports what is wrong with AgentChatAuditLog; makes nothing */

/* ---- log_front.c: httpd's error log, or AgentChatLog ---- */
/* Sends the log messages of all layers to httpd's error log, at the module's LogLevel; s NULL: errors only, while a
 * configuration is read. */
void ac_log_front_install(server_rec *s);
/* Logs a message of the table with the request's log id. */
#define ac_log_request(number, status, r, ...) ac_log_front_request(number, APLOG_MARK, status, r, __VA_ARGS__)
void ac_log_front_request(ac_log_id_e number, const char *file, int line, int module_index, apr_status_t status,
                          const request_rec *r, const char *fmt, ...) __attribute__((format(printf, 7, 8)));
void ac_log_front_check(ac_config_check_t *check); /* reports what is wrong with AgentChatLog; makes nothing */

/* ---- mcp_front.c ---- */
/* [{source, state, tools, left_out, protocol, detail?}] as this child knows them. Loop thread. New reference. */
json_t *ac_mcp_front_state(const ac_child_t *child);

#endif
