/* SPDX-License-Identifier: Apache-2.0 */
/* Floor 6: httpd begins here. Configuration, routes, handlers, dialects and the delivery of
 * streams. */
#ifndef AC_FRONT_H
#define AC_FRONT_H

#include "agent/agent.h"
#include "back/apikey/apikey.h"
#include "back/cache/cache.h"
#include "back/limit/limit.h"

#include "httpd.h"
#include "http_config.h"
#include "http_core.h"
#include "http_log.h"
#include "http_protocol.h"
#include "http_request.h"

extern module AP_MODULE_DECLARE_DATA agentchat_module __attribute__((visibility("default")));

/* ---- config.c, config_define.c, config_check.c: the directive table and what it fills ---- */
typedef struct ac_conf_t {  /* one per configuration, whatever vhost a directive stands in */
    const char *store_spec; /* "sqlite:/path", "cosmos:https://…" */
    apr_table_t *store_options;
    ac_store_t store;      /* set by post_config; with the cache before it, where there is one */
    struct {               /* AgentChatCache */
        const char *place; /* "auto", "off", "memory", "redis" */
        apr_int64_t size;
        apr_interval_time_t ttl;
        const char *check;       /* "auto", "on", "off" */
        ac_cache_redis_t *redis; /* made by post_config; NULL: it is elsewhere */
    } cache;
    const char *state_dir; /* absolute; where the embedded store and indexes live */
    ac_registry_t registry;
    ac_engine_conf_t engine;
    int work_threads, max_streams, max_blocking_streams, max_http2_streams; /* per child */
    int http2_threads;             /* that mod_http2 may have in each child; 0: it is not loaded */
    ac_limit_table_t *limit_table; /* made by post_config */
    struct {                       /* AgentChatShared */
        const char *url, *host;    /* "redis:HOST:PORT", NULL: none; host and port as the check has read them */
        int port, db;
        const char *user, *ca_file, *prefix;
        ac_secret_t password;
        bool tls, insecure; /* insecure: the password may go without TLS */
        apr_interval_time_t timeout;
        const char *on_error; /* "open", "closed" */
    } shared;
    const char *limits_saved;           /* the file that outlives the machine's start; NULL: there is no place for it */
    const char *event_log;              /* AgentChatEventLog: "auto", "off", or a path */
    const char *event_dir;              /* the directory that came of it; NULL: no event logs */
    const char *memory_dir;             /* one in memory for what this server's processes share; NULL: cannot be had */
    apr_int64_t event_log_max;          /* bytes of one run's */
    pid_t first_process;                /* which makes the directory of event logs */
    apr_int64_t event_log_total;        /* bytes of all of them; 0: a quarter of their file system */
    apr_interval_time_t agents_refresh; /* how often agents made through the API are looked for; 0: there are none */
    const ac_agent_t *agent_pattern;    /* what such an agent is where it does not say */
    apr_interval_time_t purge_after, drain;
    apr_interval_time_t request_store_timeout; /* how long a plain request waits for the store */
    bool active;                               /* something is mounted or defined; else the module does nothing */
    bool needs_state_dir;                      /* something is kept in it */
    const char *out_of_service;                /* what is wrong with it; NULL: it is served */
} ac_conf_t;

typedef struct ac_role_t { /* one owner's */
    const char *role, *owner;
} ac_role_t;

typedef struct ac_mount_conf_t {       /* per directory: what a <Location> may set */
    int anonymous;                     /* AgentChatAnonymous: owner "anonymous" where nobody signed in */
    apr_interval_time_t heartbeat;     /* of a silent stream */
    apr_interval_time_t retry;         /* what `retry:` tells an EventSource */
    apr_int64_t max_body;              /* bytes */
    apr_int64_t stream_buffer;         /* bytes that may wait for a slow reader without a log */
    apr_interval_time_t on_disconnect; /* how long a run goes on when nobody follows; -1: to its end */
    apr_array_header_t *cors_origins;  /* AgentChatCORSOrigin: of const char *; NULL: none */
    const char *docs;                  /* AgentChatDocs: the folder of Swagger UI's files; NULL: none */
    int cors_credentials;              /* AgentChatCORSCredentials */
    apr_interval_time_t cors_max_age;  /* AgentChatCORSMaxAge */
    const ac_agent_t *default_agent;   /* NULL: the server's */
    const char *keys_path;             /* AgentChatKeys: of AuthType AgentChat; NULL: none */
    const ac_limits_t *limits;         /* AgentChatLimit */
    const char *owner_from;   /* AgentChatOwnerFrom: the variable that has the owner's name; NULL: r->user is it */
    const char *roles_from;   /* AgentChatRolesFrom: the variable that has the roles; NULL: none has */
    int roles_delimiter;      /* what stands between them: 0 a comma, 1 blanks, 2 a semicolon */
    apr_table_t *role_values; /* role → what stands for it in that variable; empty: itself */
    const apr_array_header_t *roles; /* AgentChatRole: of ac_role_t, or NULL */
    /* … the setter writes through the directive table's offsets; unset is told apart by `set` bits */
    uint64_t set;
    const char *default_agent_id;
} ac_mount_conf_t;

extern const command_rec ac_directives[];
void *ac_mount_conf_create(apr_pool_t *p, char *dir);
void *ac_mount_conf_merge(apr_pool_t *p, void *base, void *add);
void *ac_server_conf_create(apr_pool_t *p, server_rec *s);
const ac_mount_conf_t *ac_mount_conf(const request_rec *r);
const ac_conf_t *ac_conf(void); /* the configuration in force in this process */
/* The file of keys of a mount; NULL: it names none. */
ac_keyring_file_t *ac_conf_keyring(const ac_mount_conf_t *mount);
/* Where the module is mounted for this request: the longest <Location> with `SetHandler agentchat` that the URI lies in
 * ("/api"; "" for "/", and for a <Location> that is itself a route with AC_MAY_BE_MOUNT, as "/health"). The rest of the URI
 * is the route. NULL: mounted in a way that has no prefix (LocationMatch, Files). */
const char *ac_mount_prefix(const request_rec *r);
/* Whether r is for us, before httpd has set r->handler: as the core finds it, from what the <Location>s say. */
bool ac_mount_is_here(request_rec *r);
int ac_config_pre(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp);
/* The check_config hook, which `apachectl configtest` runs too: makes the registry and the store, reports every problem with
 * its file and line. Opens nothing. */
int ac_config_check(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);
/* The post_config hook: makes the state directory, installs the log. */
int ac_config_post(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);

typedef struct ac_child_t ac_child_t;
/* caching.c: this child's way to Redis, which ac_limits_open() has made. */
void ac_caching_open(const ac_child_t *child);

/* ---- event_logs.c: where runs leave their events ---- */
void ac_event_logs_open(ac_child_t *child); /* this child's place, for its engine */

/* ---- child.c: what lives in each child ---- */
struct ac_child_t {
    const ac_conf_t *conf;
    server_rec *server;
    ac_host_t host;
    ac_loop_t *loop;
    ac_work_t *work;
    ac_engine_t *engine;
    ac_event_dir_t *event_dir; /* NULL: no event logs */
    ac_catalog_t *catalog;     /* the agents */
    ac_counters_t counters;    /* of limits */
    ac_limit_redis_t *shared;  /* AgentChatShared; NULL: none */
    apr_thread_t *thread;
    bool threaded;                              /* this MPM has threads; one without ends inside a signal's handler */
    bool can_park;                              /* and lets a stream wait without one */
    volatile apr_uint32_t stopping;             /* child_stopping was called, or the process ends */
    volatile apr_uint32_t n_parked, n_blocking; /* streams now */
    apr_time_t started;
};
ac_child_t *ac_child(void); /* NULL before child_init has succeeded */
void ac_child_init(apr_pool_t *pchild, server_rec *s);
void ac_child_stopping(apr_pool_t *pchild, int graceful);
/* By which prefork tells a child to end at once. */
void ac_child_end_signals(sigset_t *set);

/* ---- principal.c: who asks, and as what ---- */
#define AC_ROLE_ADMIN "admin"        /* what a route with AC_NEEDS_ADMIN wants */
typedef struct ac_principal_t {      /* in r->pool, immutable */
    const char *owner;               /* whose threads; AC_ANONYMOUS where nobody signed in */
    const char *key_id;              /* of the API key that signed it in; NULL: something else did */
    const apr_array_header_t *roles; /* of const char *; never NULL */
    const char *limits;              /* the key's own, in the form of AgentChatLimit; NULL: it has none */
} ac_principal_t;
/* Who asks, found out once for each request, after httpd's authentication. errors: unauthenticated, forbidden (a name that cannot
 * be kept, a sign-in without the variable that AgentChatOwnerFrom wants). The thread that handles r. */
apr_status_t ac_principal_find(const ac_principal_t **pprincipal, request_rec *r, ac_err_t *err);
/* r is signed in by this key: sets what httpd and its logs know of it too, as the note "agentchat-key" with the key's id. */
void ac_principal_sign(request_rec *r, const ac_api_key_t *key);
bool ac_principal_has(const ac_principal_t *principal, const char *role);
/* Whether somebody with the role AC_ROLE_ADMIN signed in to r, on a route that asks nobody to. The thread that handles r. */
bool ac_principal_is_admin(request_rec *r);
/* `Require agentchat-role ROLE ...`; called from register_hooks. */
void ac_principal_register(apr_pool_t *p);

/* ---- sign_in.c: AuthType AgentChat ---- */
#define AC_NOTE_DETAIL "agentchat-detail" /* in r->notes: the detail of a problem that httpd answers */
#define AC_NOTE_KEY "agentchat-key"       /* in r->notes: the id of the key, for logs */
void ac_sign_in_register(apr_pool_t *p);
/* Checks a key that r shows where httpd let it through without asking for one. errors: unauthenticated where the key is no good. */
apr_status_t ac_sign_in_unasked(request_rec *r, ac_err_t *err);

/* ---- request.c / reply.c ---- */
typedef struct ac_route_t ac_route_t;
typedef struct ac_param_t { /* of a query string, decoded */
    const char *name, *value;
} ac_param_t;
typedef struct ac_request_t { /* one request, in r->pool; its worker's, or the loop's while parked */
    request_rec *r;
    const ac_mount_conf_t *mount;
    const ac_route_t *route;
    const char *path;                /* below the mount: "/threads/thread_…" */
    const char *args[2];             /* the values of {…} in the route's pattern, decoded */
    const apr_array_header_t *query; /* of ac_param_t; each name once */
    const ac_principal_t *principal; /* NULL where the route needs no owner */
    const char *owner;               /* the principal's */
    char request_id[64];             /* from X-Request-Id where it is sane, else made; answered as X-Request-Id */
    const ac_limits_t *key_limits;   /* limits.c: the key's; NULL: none, or not looked for */
    ac_quota_t *quota;               /* limits.c: of the turn it starts; NULL: none */
    json_t *body;                    /* parsed; freed with the pool; NULL: none was sent */
    bool body_read;                  /* to its end */
    int httpd_answer;                /* what only httpd can answer (408, AP_FILTER_ERROR); 0: nothing */
    const char *doing;               /* "reading the request" */
    ac_agents_t *agents;             /* those there are, once somebody has asked; freed with the pool */
    ac_err_t err;
} ac_request_t;

/* A new request in r->pool with its request id, which is answered from here on whatever happens. */
ac_request_t *ac_request_create(request_rec *r);
/* Who asks, into rq->principal and rq->owner. errors: those of ac_principal_find(). */
apr_status_t ac_request_owner(ac_request_t *rq);
/* errors: not_acceptable where Accept leaves neither JSON nor an event stream. */
apr_status_t ac_request_accept(ac_request_t *rq);
/* Whether Accept asks for an event stream; fallback where it does not say. */
bool ac_request_prefers_stream(const ac_request_t *rq, bool fallback);
/* Parse those parameters of the query string that are in names (NULL-terminated) into rq->query; others are ignored. errors:
 * invalid_request. */
apr_status_t ac_request_query_read(ac_request_t *rq, const char *const *names);
/* Read and drop a body that the route has no use for. errors: body_too_large. */
apr_status_t ac_request_body_drop(ac_request_t *rq);

/* Read the body, at most mount->max_body bytes, and parse it as a JSON object into rq->body. An empty body is an error only
 * where required.
 * errors: body_too_large, unsupported_media_type, bad_json, invalid_request (not an object). */
apr_status_t ac_request_body(ac_request_t *rq, bool required);
/* A value of the query string, decoded; NULL where absent. errors of the typed forms: invalid_request naming the parameter. */
const char *ac_request_query(ac_request_t *rq, const char *name);
apr_status_t ac_request_query_int(ac_request_t *rq, int64_t *pvalue, const char *name, int64_t fallback, int64_t min,
                                  int64_t max);
/* "true" or "false". */
apr_status_t ac_request_query_bool(ac_request_t *rq, bool *pvalue, const char *name, bool fallback);
/* `limit` of a list: 1 to AC_MAX_PAGE, or 20. */
apr_status_t ac_request_limit(ac_request_t *rq, int *plimit);
/* precondition.c. If-Match: *ptags of const char *, empty where anything will do. errors: invalid_request, precondition_failed where it
 * has no strong tag. */
apr_status_t ac_request_if_match(ac_request_t *rq, const apr_array_header_t **ptags);
/* Whether If-None-Match names etag, so that a GET answers 304. */
bool ac_request_none_match(const ac_request_t *rq, const char *etag);
/* Page of threads or runs: limit, and the cursor `after`. */
apr_status_t ac_request_page(ac_request_t *rq, ac_page_t *page);
/* Send a JSON document with this status; takes value. Returns what the handler returns (OK). */
int ac_reply_json(ac_request_t *rq, int status, json_t *value);
/* Send a text of this content type with 200; the text lives as long as rq->r. Returns OK. */
int ac_reply_text(ac_request_t *rq, const char *type, const char *text, size_t len);
/* Send a file with 200, or not_found where it cannot be read. Returns OK. */
int ac_reply_file(ac_request_t *rq, const char *type, const char *path);
/* Send no body: 204, 304. Returns OK. */
int ac_reply_empty(ac_request_t *rq, int status);
/* Send rq->err (or err) as application/problem+json and log it once. Returns OK, or rq->httpd_answer. */
int ac_reply_problem(ac_request_t *rq, const ac_err_t *err);
/* The problem document's text and its headers' values, for stream.c, which sends it from another thread. */
json_t *ac_problem_json(const ac_err_t *err, const char *request_id);
/* Sets r's status, content type, Cache-Control, Retry-After and WWW-Authenticate for this problem. The owner of r. */
void ac_problem_headers(request_rec *r, const ac_err_t *err);
/* problem.c: hooks that make problems of httpd's own errors below a mount; called from register_hooks. */
void ac_problem_register(apr_pool_t *p);
/* Wait for a store operation on behalf of this request (takes op); the result is freed with the request's pool. errors: in rq->err. */
apr_status_t ac_request_store(ac_request_t *rq, ac_store_op_t *op, ac_store_op_t **presult);

/* ---- limits.c: rate limits and budgets ---- */
apr_status_t ac_limits_open(ac_child_t *child, ac_err_t *err); /* for this child and its engine */
void ac_limits_leave(
    ac_child_t *child); /* the loop has ended: what it held is given back; nothing is counted after it */
/* Counts the request, and notes in its answer what is left. errors: rate_limited, overloaded. */
apr_status_t ac_limits_request(ac_request_t *rq);
/* The same for an answer that goes on: *ptakes is held as long as it does. */
apr_status_t ac_limits_stream(ac_takes_t **ptakes, ac_request_t *rq);
/* Whom the request's turn is counted for. Lives as long as rq; take a reference to keep it. */
ac_quota_t *ac_limits_quota(ac_request_t *rq);
/* Adds to RateLimit-Policy and RateLimit. The owner of r. */
void ac_limits_fields(request_rec *r, const ac_buf_t *policy, const ac_buf_t *left);

/* ---- route.c ---- */
typedef int ac_route_fn(ac_request_t *rq);
struct ac_route_t {
    int method;          /* M_GET … */
    const char *pattern; /* "/threads/{id}/messages" */
    unsigned needs;      /* AC_NEEDS_… */
    ac_route_fn *fn;
    const char *doc;          /* one line */
    const char *const *query; /* the query parameters it takes, NULL-terminated; NULL: none */
};
#define AC_NEEDS_OWNER 1                     /* 401 without a signed-in user or AgentChatAnonymous on */
#define AC_NEEDS_ADMIN 2                     /* 403 without the role AC_ROLE_ADMIN; with AC_NEEDS_OWNER */
#define AC_NEEDS_CHILD 4                     /* 503 where this process has no engine */
#define AC_MAY_BE_MOUNT 8                    /* <Location "/health"> alone is this route */
#define AC_ALWAYS_STREAMS 16                 /* HEAD is answered without calling fn */
extern const ac_route_t ac_routes[];         /* ends with pattern NULL; docs are checked against it */
int ac_route_handle(request_rec *r);         /* the handler hook's work */
int ac_route_translate_name(request_rec *r); /* the hooks of these names */
int ac_route_name_no_file(request_rec *r);   /* the last hook translate_name before the core's */
int ac_route_map_to_storage(request_rec *r);

/* The methods of the route that r's path is, as in Allow: "GET, HEAD, OPTIONS"; NULL: it is none. */
const char *ac_route_methods(request_rec *r);

/* ---- reload.c ---- */
/* Whether the module is out of service for this route, since the configuration of the last reload cannot be served; rq->err is set. */
bool ac_reload_refuses(ac_request_t *rq);

/* ---- cors.c: pages of other sites. Source: the Fetch standard, "CORS protocol"; Fetch Metadata ---- */
/* What is wrong with a mount's origins: a sentence, or NULL. */
const char *ac_cors_problem(const ac_mount_conf_t *mount, apr_pool_t *p);
/* Every origin and credentials: that would hand each visitor's threads to every site. */
bool ac_cors_contradicts(const ac_mount_conf_t *mount);
/* The header_parser hook: the headers that let a listed origin read the answer; answers a preflight (DONE). Else DECLINED. */
int ac_cors_header_parser(request_rec *r);
/* Refuses what a page of another site does where that is not listed, by what the browser says of it: Sec-Fetch-Site, else Origin. Where
 * every origin may, this holds for requests that a cookie, a password or a certificate signs in. errors: forbidden. */
apr_status_t ac_cors_check(ac_request_t *rq);
/* Refuses a request that names another host than its server's ServerName, its ServerAliases, localhost or an address: a page whose own
 * name leads here (DNS rebinding). For requests that nobody signed in to. errors: forbidden. */
apr_status_t ac_host_check(request_rec *r, ac_err_t *err);

/* ---- api_threads.c, api_messages.c, api_runs.c, api_agents.c, api_chat.c, api_health.c ---- */
ac_route_fn ac_api_threads_create, ac_api_threads_list, ac_api_threads_get, ac_api_threads_patch, ac_api_threads_delete,
    ac_api_threads_restore, ac_api_messages_send, ac_api_messages_list, ac_api_runs_list, ac_api_runs_get,
    ac_api_runs_steps, ac_api_runs_events, ac_api_runs_cancel, ac_api_runs_approve, ac_api_agents_list,
    ac_api_agents_get, ac_api_agent_manage_create, ac_api_agent_manage_put, ac_api_agent_manage_delete,
    ac_api_agents_chat, ac_api_agents_threads, ac_api_agents_thread_get, ac_api_agents_thread_delete, ac_api_chat_send,
    ac_api_chat_stream, ac_api_chat_stream_get, ac_api_health_live, ac_api_health_ready, ac_api_debug_config;
/* api_agents.c: the agents there are, the same ones to the request's end. surely: also those that were made through the API, which a
 * child that has only begun does not know; it then asks the store, whose errors are this one's. */
apr_status_t ac_request_agents_load(ac_request_t *rq, const ac_agents_t **pagents, bool surely);
/* api_threads.c, for api_agents.c too: deletes as the query says; the filter `status` of a list of threads. */
#define AC_DELETED_MESSAGE "Thread deleted successfully"
apr_status_t ac_api_threads_remove(ac_request_t *rq, const char *id);
apr_status_t ac_api_threads_read_status(ac_request_t *rq, ac_page_t *page, const char *status);

/* ---- api_docs.c: the contract, and a page that shows it ---- */
ac_route_fn ac_api_docs_openapi_json, ac_api_docs_openapi_yaml, ac_api_docs_page, ac_api_docs_file;
/* What is wrong with a mount's AgentChatDocs: a sentence, or NULL. */
const char *ac_api_docs_problem(const ac_mount_conf_t *mount, apr_pool_t *p);

/* ---- chat_request.c: a request that speaks to an agent ---- */
typedef struct ac_dialect_t ac_dialect_t;
typedef struct ac_chat_request_form_t { /* how a route's body looks */
    const char *const *members;         /* NULL-terminated */
    const char *content;                /* the member that is the message: "content", "message" */
    bool streams;                       /* where neither body nor Accept say */
} ac_chat_request_form_t;
typedef struct ac_chat_request_t {
    const char *content, *thread_id; /* thread_id NULL: a new thread */
    const ac_agent_t *agent;         /* NULL: none was named */
    const json_t *metadata;
    bool stream, stateless;
} ac_chat_request_t;
/* Reads rq's body. errors: those of ac_request_body, invalid_request, message_empty, not_found (an unknown agent, an id that
 * is none). */
apr_status_t ac_chat_request_read(ac_request_t *rq, ac_chat_request_t *talk, const ac_chat_request_form_t *form);
/* errors: message_empty, invalid_request at the member `name`, or about the query parameter where from_query. */
apr_status_t ac_chat_request_check(ac_request_t *rq, const char *content, const char *name, bool from_query);
/* The number of the last event that a client has: Last-Event-ID, else the query parameter `name` where it is not NULL. *pgiven: it was
 * there. errors: invalid_request. */
apr_status_t ac_chat_request_last_event(ac_request_t *rq, uint64_t *pafter, bool *pgiven, const char *name);
/* Starts the turn, or follows the one that its Idempotency-Key has started before, and delivers its events. Returns what the handler
 * returns. */
int ac_chat_request_start(ac_request_t *rq, const ac_chat_request_t *talk, const ac_dialect_t *dialect);
/* The mount's default agent, else the server's; errors: invalid_request. */
apr_status_t ac_request_agents_default(ac_request_t *rq, const ac_agent_t **pagent);
/* An agent by id or alias. errors: not_found; invalid_request where it is inactive and must not be. pointer: of the member, or "". */
apr_status_t ac_request_agents_find(ac_request_t *rq, const ac_agent_t **pagent, const char *id, const char *pointer,
                                    bool active);

/* ---- dialect.c: events to bytes ---- */
typedef struct ac_render_t ac_render_t;
struct ac_dialect_t {
    const char *name; /* "native", "chunk", "text", "message", "chat" */
    bool stream;      /* text/event-stream; else one JSON document at the end */
    bool ids;         /* id: lines (stored runs) */
    /* Append what this event is to this client; may append nothing. */
    apr_status_t (*event)(ac_render_t *render, const ac_event_t *event, ac_buf_t *out);
    apr_status_t (*heartbeat)(ac_render_t *render, ac_buf_t *out);
};
struct ac_render_t { /* a client's view of one run; zero it, set dialect */
    const ac_dialect_t *dialect;
    char thread_id[AC_ID_SIZE], run_id[AC_ID_SIZE];
    int status; /* of a JSON document: 200 */
    bool ended; /* the terminal event was rendered */
};
extern const ac_dialect_t ac_dialect_native, ac_dialect_chunk, ac_dialect_text, ac_dialect_message, ac_dialect_chat;
void ac_dialect_render_init(ac_render_t *render, const ac_dialect_t *dialect);
void ac_render_free(ac_render_t *render);

/* ---- stream.c, park.c: one client of one run ---- */
/* Starts the turn (takes it) and delivers its events in this dialect: parked where the server can, else blocking. Nothing is sent
 * before the first event; if that is an error it becomes a problem response with its status.
 * Returns what the handler returns: OK, or SUSPENDED. */
int ac_delivery_run(ac_request_t *rq, ac_turn_t *turn, const ac_dialect_t *dialect);
/* Delivers the events of the caller's run that come after this number, past and to come. */
int ac_delivery_follow(ac_request_t *rq, const char *run_id, uint64_t after, const ac_dialect_t *dialect);
/* Hooks and the connection filter of parked streams; called from register_hooks. */
void ac_delivery_register(apr_pool_t *p);
void ac_park_wait_warn(const ac_conf_t *conf); /* at the start: warns where each stream holds a thread */
/* At an ungraceful stop, on the loop thread or after it has ended and before the loop is destroyed: ends every live stream with
 * the event `stopping`, so that all are logged. No stream begins after it. The MPM's own threads may still run. */
void ac_stream_stop_all(void);
typedef enum ac_shutdown_e {
    /* The MPM's threads have ended, and streams are still there: on the loop thread. Each ends its request by itself from now on. */
    AC_SHUTDOWN_THREADS_ENDED,
    /* The MPM has closed the connections that its threads have, as it does at an ungraceful stop before it says so: on the MPM's thread,
     * at once. A stream whose thread stays with it keeps its client, to tell it the end. */
    AC_SHUTDOWN_SOCKETS_CLOSED,
    /* Its client had time for it: on the MPM's thread. A stream whose thread stays with it is cut off. */
    AC_SHUTDOWN_TIMED_OUT
} ac_shutdown_e;
void ac_stream_shutdown_all(ac_shutdown_e what);
/* /selftest/stream */
ac_route_fn ac_api_selftest_stream;

/* front's messages at info and above go through the same table, with the request's or server's log id */
/* Lower floors' log messages go to httpd's error log, at our module's LogLevel; s NULL: only errors, while a configuration is read. */
void ac_log_front_install(server_rec *s);
#define ac_log_request(number, status, r, ...) ac_log_rerror_(number, APLOG_MARK, status, r, __VA_ARGS__)
void ac_log_rerror_(ac_message_e number, const char *file, int line, int module_index, apr_status_t status,
                    const request_rec *r, const char *fmt, ...) __attribute__((format(printf, 7, 8)));

#endif
