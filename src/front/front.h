/* SPDX-License-Identifier: Apache-2.0 */
/* Floor 6: httpd begins here. Configuration, routes, handlers, dialects and the delivery of
 * streams. */
#ifndef AC_FRONT_H
#define AC_FRONT_H

#include "../agent/agent.h"

#include "httpd.h"
#include "http_config.h"
#include "http_core.h"
#include "http_log.h"
#include "http_protocol.h"
#include "http_request.h"

extern module AP_MODULE_DECLARE_DATA agentchat_module;

/* ---- config.c, config_define.c, config_check.c: the directive table and what it fills ---- */
typedef struct ac_conf_t {                      /* one per configuration, whatever vhost a directive stands in */
    const char *store_spec;                     /* "sqlite:/path", "cosmos:https://…" */
    apr_table_t *store_options;
    ac_store_t store;                           /* set by post_config */
    const char *state_dir;                      /* absolute; where the embedded store and indexes live */
    ac_registry_t registry;
    ac_engine_conf_t engine;
    int work_threads, max_streams, max_blocking_streams;    /* per child */
    apr_interval_time_t purge_after, drain;
    apr_interval_time_t request_store_timeout;  /* how long a plain request waits for the store */
} ac_conf_t;

typedef struct ac_mount_conf_t {                /* per directory: what a <Location> may set */
    int anonymous;                              /* AgentChatAnonymous: owner "anonymous" where nobody signed in */
    apr_interval_time_t heartbeat;              /* of a silent stream */
    apr_interval_time_t retry;                  /* what `retry:` tells an EventSource */
    apr_int64_t max_body;                       /* bytes */
    apr_int64_t stream_buffer;                  /* bytes that may wait for a slow reader */
    const ac_agent_t *default_agent;            /* NULL: the server's */
    /* … the setter writes through the directive table's offsets; unset is told apart by `set` bits */
    uint64_t set;
    const char *default_agent_id;
} ac_mount_conf_t;

extern const command_rec ac_directives[];
void *ac_mount_conf_create(apr_pool_t *p, char *dir);
void *ac_mount_conf_merge(apr_pool_t *p, void *base, void *add);
void *ac_server_conf_create(apr_pool_t *p, server_rec *s);
const ac_mount_conf_t *ac_mount_conf(const request_rec *r);
const ac_conf_t *ac_conf(void);                 /* the configuration in force in this process */
/* Where the module is mounted for this request: the longest <Location> with `SetHandler agentchat` that the URI lies in
 * ("/api"; "" for "/"). The rest of the URI is the route. NULL: mounted in a way that has no prefix (LocationMatch, Files). */
const char *ac_mount_prefix(const request_rec *r);
int ac_config_pre(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp);
int ac_config_post(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);

/* ---- child.c: what lives in each child ---- */
typedef struct ac_child_t {
    const ac_conf_t *conf;
    server_rec *server;
    ac_host_t host;
    ac_loop_t *loop;
    ac_work_t *work;
    ac_engine_t *engine;
    apr_thread_t *thread;
    bool can_park;                              /* this MPM lets a stream wait without a thread */
    volatile apr_uint32_t stopping;             /* child_stopping was called, or the process ends */
    volatile apr_uint32_t n_parked, n_blocking; /* streams now */
    apr_time_t started;
} ac_child_t;
ac_child_t *ac_child(void);                     /* NULL before child_init has succeeded */
void ac_child_init(apr_pool_t *pchild, server_rec *s);
void ac_child_stopping(apr_pool_t *pchild, int graceful);

/* ---- request.c / reply.c ---- */
typedef struct ac_route_t ac_route_t;
typedef struct ac_request_t {                   /* one request, in r->pool; its worker's, or the loop's while parked */
    request_rec *r;
    const ac_mount_conf_t *mount;
    const ac_route_t *route;
    const char *path;                           /* below the mount: "/threads/thread_…" */
    const char *args[2];                        /* the values of {…} in the route's pattern, decoded */
    const char *owner;                          /* r->user, or "anonymous" */
    char request_id[64];                        /* from X-Request-Id where it is sane, else made; answered as X-Request-Id */
    json_t *body;                               /* parsed; freed with the pool; NULL: none was sent */
    const char *doing;                          /* "reading the request" */
    ac_err_t err;
} ac_request_t;

/* Read the body, at most mount->max_body bytes, and parse it as a JSON object into rq->body. An empty body is an error only where required.
 * errors: body_too_large, unsupported_media_type, bad_json, invalid_request (not an object). */
apr_status_t ac_request_body(ac_request_t *rq, bool required);
/* A value of the query string, decoded; NULL where absent. errors of the typed forms: invalid_request naming the parameter. */
const char *ac_request_query(ac_request_t *rq, const char *name);
apr_status_t ac_request_query_int(ac_request_t *rq, int64_t *pvalue, const char *name, int64_t fallback, int64_t min, int64_t max);
/* Refuses query parameters that are not in names (NULL-terminated). */
apr_status_t ac_request_query_only(ac_request_t *rq, const char *const *names);
/* Send a JSON document with this status; takes value. Returns what the handler returns (OK). */
int ac_reply_json(ac_request_t *rq, int status, json_t *value);
/* Send rq->err (or err) as application/problem+json and log it once. Returns OK. */
int ac_reply_problem(ac_request_t *rq, const ac_err_t *err);
/* The problem document's text and its headers' values, for stream.c, which sends it from another thread. */
json_t *ac_problem_json(const ac_err_t *err, const char *request_id);
/* Wait for a store operation on behalf of this request (takes op); the result is freed with the request's pool. errors: in rq->err. */
apr_status_t ac_request_store(ac_request_t *rq, ac_store_op_t *op, ac_store_op_t **presult);

/* ---- route.c ---- */
typedef int ac_route_fn(ac_request_t *rq);
struct ac_route_t {
    int method;                                 /* M_GET … */
    const char *pattern;                        /* "/threads/{id}/messages" */
    unsigned needs;                             /* AC_NEEDS_… */
    ac_route_fn *fn;
    const char *doc;                            /* one line */
};
#define AC_NEEDS_OWNER 1                        /* 401 without a signed-in user or AgentChatAnonymous on */
#define AC_NEEDS_ADMIN 2
extern const ac_route_t ac_routes[];            /* ends with pattern NULL; docs are checked against it */
int ac_route_handle(request_rec *r);            /* the handler hook's work */

/* ---- api_threads.c, api_messages.c, api_runs.c, api_agents.c, api_chat.c, api_health.c ---- */
ac_route_fn ac_api_threads_create, ac_api_threads_list, ac_api_thread_get, ac_api_thread_patch, ac_api_thread_delete,
    ac_api_thread_restore, ac_api_message_send, ac_api_messages_list, ac_api_thread_runs, ac_api_run_get, ac_api_run_steps,
    ac_api_agents_list, ac_api_agent_get, ac_api_agent_chat, ac_api_agent_threads, ac_api_agent_thread_get,
    ac_api_agent_thread_delete, ac_api_chat, ac_api_agent_stream, ac_api_agent_stream_get, ac_api_health, ac_api_ready;

/* ---- dialect.c: events to bytes ---- */
typedef struct ac_render_t ac_render_t;
typedef struct ac_dialect_t {
    const char *name;                           /* "native", "chunk", "text", "message", "chat" */
    bool stream;                                /* text/event-stream; else one JSON document at the end */
    bool ids;                                   /* id: lines (stored runs) */
    /* Append what this event is to this client; may append nothing. */
    apr_status_t (*event)(ac_render_t *render, const ac_event_t *event, ac_buf_t *out);
    apr_status_t (*heartbeat)(ac_render_t *render, ac_buf_t *out);
} ac_dialect_t;
struct ac_render_t {                            /* a client's view of one run; zero it, set dialect */
    const ac_dialect_t *dialect;
    char thread_id[AC_ID_SIZE], run_id[AC_ID_SIZE];
    int status;                                 /* of a JSON document: 200 */
    bool ended;                                 /* the terminal event was rendered */
};
extern const ac_dialect_t ac_dialect_native, ac_dialect_chunk, ac_dialect_text, ac_dialect_message, ac_dialect_chat;
void ac_render_init(ac_render_t *render, const ac_dialect_t *dialect);
void ac_render_free(ac_render_t *render);

/* ---- stream.c, park.c: one client of one run ---- */
/* Starts the turn (takes it) and delivers its events in this dialect: parked where the server can, else blocking. Nothing is sent
 * before the first event; if that is an error it becomes a problem response with its status.
 * Returns what the handler returns: OK, or SUSPENDED. */
int ac_stream_run(ac_request_t *rq, ac_turn_t *turn, const ac_dialect_t *dialect);
/* Hooks and the connection filter of parked streams; called from register_hooks. */
void ac_stream_register(apr_pool_t *p);
/* Loop thread, at an ungraceful stop: ends every stream with the event `stopping`, so that all are logged. */
void ac_stream_stop_all(ac_child_t *child);
/* /selftest/stream */
ac_route_fn ac_api_selftest_stream;

/* front's messages at info and above go through the same table, with the request's or server's log id */
#define ac_log_request(number, status, r, ...) ac_log_rerror_(number, APLOG_MARK, status, r, __VA_ARGS__)
void ac_log_rerror_(ac_message_e number, const char *file, int line, int module_index, apr_status_t status,
                    const request_rec *r, const char *fmt, ...) __attribute__((format(printf, 7, 8)));

#endif
