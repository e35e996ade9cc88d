/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration: the values of directives and containers, the hooks that read and check it, and the mounts of the
 * module. */
#ifndef AC_CONFIG_H
#define AC_CONFIG_H

#include "back/apikey/apikey.h"
#include "back/files/files.h"
#include "back/tools/mcp/mcp.h"
#include "back/tools/openapi/openapi.h"
#include "back/telemetry/telemetry.h"
#include "back/webhook/webhook.h"
#include "front/front.h"

/* ---- what directives give ---- */
typedef struct ac_telemetry_conf_t { /* AgentChatTelemetry and its like */
    apr_array_header_t *exporters;   /* of ac_exporter_conf_t; NULL or empty: nothing is exported */
    apr_array_header_t *credentials; /* of ac_credential_t *: those of the exporters, each once */
    apr_table_t *attributes;         /* AgentChatTelemetryResource; NULL: none */
    const char *sampler_text;        /* AgentChatTraceSampler; NULL: as the variables say */
    int batch, queue;                /* AgentChatTelemetryBatch: items */
    apr_int64_t bytes;
    apr_interval_time_t delay;
    const char *temporality, *histograms; /* AgentChatTelemetryMetrics; NULL: as the variables say */
    apr_interval_time_t interval;         /* 0: as the variables say */
    const char *log_level;                /* AgentChatTelemetryLogs */
    bool delta, exponential;              /* set by the check, as are the following */
    ac_otlp_resource_t resource;
    ac_sampler_t sampler;
} ac_telemetry_conf_t;

struct ac_conf_t {          /* one per configuration; the directives of all virtual hosts write to it */
    const char *store_spec; /* "sqlite:/path", "cosmos:https://…" */
    apr_table_t *store_options;
    ac_store_t store;        /* set by post_config; with the cache before it, where there is one */
    struct {                 /* AgentChatCache */
        const char *backend; /* "auto", "off", "memory", "redis" */
        apr_int64_t size;
        apr_interval_time_t ttl;
        const char *check;       /* "auto", "on", "off" */
        ac_cache_redis_t *redis; /* made by post_config; NULL: the cache is elsewhere */
    } cache;
    const char *state_dir;               /* absolute; the directory of the embedded store and of indexes */
    struct {                             /* AgentChatFiles */
        const char *where;               /* "on", "off", "blob:https://…" */
        apr_table_t *options;            /* of the storage; NULL or empty: none */
        bool on;                         /* clients may upload files; set by the check */
        apr_int64_t max, thread, owner;  /* bytes of a file, and of all files of a thread and of an owner */
        int thread_files, owner_files;   /* their number */
        apr_int64_t reserve;             /* bytes of the file system that files leave free */
        const char *types_text;          /* "text/plain,image/png"; NULL: all */
        const apr_array_header_t *types; /* the same, of const char * */
        ac_files_t store;                /* of their bytes, set by the check; vt NULL: files are off */
    } files;
    ac_registry_t registry;
    apr_array_header_t *mcp;      /* of ac_mcp_upstream_t *, set by the check */
    apr_array_header_t *openapi;  /* of ac_openapi_service_t *, set by the check */
    apr_array_header_t *webhooks; /* of ac_webhook_t *, set by the check */
    ac_engine_conf_t engine;
    int work_threads, max_streams, max_blocking_streams, max_http2_streams; /* per child */
    int http2_threads;             /* threads of mod_http2 in each child; 0: it is not loaded */
    ac_limit_table_t *limit_table; /* made by post_config */
    struct {                       /* AgentChatShared */
        const char *url, *host;    /* "redis:HOST:PORT", NULL: none; the check sets host and port */
        int port, db;
        const char *user, *ca_file, *prefix;
        ac_secret_t password;
        bool tls, insecure; /* insecure: the password may be sent without TLS */
        apr_interval_time_t timeout;
        const char *on_error; /* "open", "closed" */
        bool events;          /* event logs are copied there */
    } shared;
    const char *limits_saved; /* the file of counts that survives a restart of the machine; NULL: none */
    struct {                  /* AgentChatEventLog, AgentChatEventLogMax, AgentChatEventLogTotal */
        const char *wanted;   /* "auto", "off", or a path */
        const char *dir;      /* the directory that is used; NULL: no event logs */
        apr_int64_t max;      /* bytes of one run's log */
        apr_int64_t total;    /* bytes of all logs; 0: a quarter of their file system */
        pid_t first_process;  /* the process that makes the directory */
    } event_logs;
    struct {                /* AgentChatLog, AgentChatLogFormat */
        const char *target; /* "errorlog", a path, "|program" */
        const char *format; /* "text", "json" */
    } log;
    struct {                /* AgentChatAuditLog, AgentChatAuditOwner */
        const char *target; /* a path, "|program"; NULL: no audit log */
        const char *owner;  /* "plain", "hashed" */
        ac_secret_t secret; /* of the hash; NULL: none */
    } audit;
    int feedback_words;                         /* AgentChatFeedback */
    const char *titles_model, *summaries_model; /* AgentChatTitles, AgentChatHistorySummary; NULL: the agent's own */
    ac_telemetry_conf_t telemetry;
    struct {         /* AgentChatTraceContent, AgentChatTraceNames */
        int content; /* ac_content_e */
        int names;   /* 0 new, 1 both */
    } trace;
    const char *memory_dir; /* a directory in memory that this server's processes share; NULL: none */
    apr_interval_time_t
        agents_refresh; /* how often each child looks for agents made through the API; 0: there are none */
    const ac_agent_t *agent_defaults; /* the values that such an agent's document does not have */
    apr_interval_time_t purge_after, drain;
    apr_interval_time_t request_store_timeout; /* how long a request without a run waits for the store */
    bool active;                               /* there is a mount or a definition; else the module does nothing */
    bool needs_state_dir;                      /* something is kept in it */
    const char *out_of_service;                /* the first problem of the configuration; NULL: it is served */
};

typedef struct ac_role_t { /* AgentChatRole: one owner's role */
    const char *role, *owner;
} ac_role_t;

#define AC_AGUI_TOOLS_PASS 0 /* in the order of the directive's words */
#define AC_AGUI_TOOLS_IGNORE 1
#define AC_AGUI_TOOLS_REFUSE 2
#define AC_UI_APPROVALS_PARTS 0 /* in the order of the directive's words */
#define AC_UI_APPROVALS_DATA 1
#define AC_MCP_APPROVALS_ASK 0 /* in the order of the directive's words */
#define AC_MCP_APPROVALS_REFUSE 1
#define AC_V1_TOOLS_IGNORE 0 /* in the order of the directive's words */
#define AC_V1_TOOLS_REFUSE 1
#define AC_V1_TOOLS_PASS 2
struct ac_mount_conf_t {               /* per directory: the settings that a <Location> may have */
    int anonymous;                     /* AgentChatAnonymous: owner "anonymous" where no user has signed in */
    apr_interval_time_t heartbeat;     /* of a silent stream */
    apr_interval_time_t retry;         /* the `retry:` of an EventSource */
    apr_int64_t max_body;              /* bytes */
    apr_int64_t stream_buffer;         /* bytes that may wait for a slow reader without a log */
    apr_interval_time_t on_disconnect; /* how long a run continues without a follower; -1: to its end */
    struct {                           /* AgentChatOnBusy */
        int policy, most;              /* ac_busy_e; turns in the queue of a thread */
        apr_interval_time_t wait;      /* of a turn in it */
    } busy;
    apr_array_header_t *cors_origins;   /* AgentChatCORSOrigin: of const char *; NULL: none */
    const char *docs;                   /* AgentChatDocs: the folder of Swagger UI's files; NULL: none */
    int cors_credentials;               /* AgentChatCORSCredentials */
    apr_interval_time_t cors_max_age;   /* AgentChatCORSMaxAge */
    const ac_agent_t *default_agent;    /* NULL: the server's */
    const char *keys_path;              /* AgentChatKeys, for AuthType AgentChat; NULL: none */
    const ac_limits_t *limits;          /* AgentChatLimit */
    const char *owner_from;             /* AgentChatOwnerFrom: the variable of the owner's name; NULL: r->user has it */
    const char *roles_from;             /* AgentChatRolesFrom: the variable of the roles; NULL: none */
    int roles_delimiter;                /* between them: 0 a comma, 1 blanks, 2 a semicolon */
    apr_table_t *role_values;           /* role → its value in that variable; empty: the value is the role */
    const apr_array_header_t *roles;    /* AgentChatRole: of ac_role_t, or NULL */
    int metrics;                        /* AgentChatMetrics: 0 admin, 1 all */
    int server_timing;                  /* AgentChatServerTiming: 0 off, 1 on, 2 admin */
    struct {                            /* AgentChatOpenAI */
        int on, client_tools, activity; /* AC_V1_TOOLS_…; ac_v1_activity_e */
        const char *threads;            /* a header field that names the conversation; NULL, "off": none */
    } openai;
    struct {                  /* AgentChatAGUI */
        int on, client_tools; /* AC_AGUI_TOOLS_… */
    } agui;
    struct {               /* AgentChatUI */
        int on, approvals; /* AC_UI_APPROVALS_… */
        const char *path;  /* of the chat, below the mount */
    } ui;
    struct {                  /* AgentChatMCPServer */
        int on, approvals;    /* AC_MCP_APPROVALS_… */
        const char *resource; /* the URL of the endpoint; NULL: as the request has it */
        const char *server;   /* authorization servers, separated by commas; NULL: none */
        const char *scopes;   /* that a token needs, likewise; NULL: none */
    } mcp;
    /* … the setter writes through the directive table's offsets; a bit in `set` says that a directive was given */
    uint64_t set;
    const char *default_webhook; /* AgentChatDefaultWebhook; NULL, "none": none */
    const char *default_agent_id;
};

extern const command_rec ac_directives[];
void *ac_mount_conf_create(apr_pool_t *p, char *dir);
void *ac_mount_conf_merge(apr_pool_t *p, void *base, void *add);
void *ac_config_mount_create_server(apr_pool_t *p, server_rec *s);
/* The settings that hold for this request; with default_agent set. The thread that handles r. */
const ac_mount_conf_t *ac_mount_conf(const request_rec *r);
/* The configuration in force in this process; NULL: none. */
const ac_conf_t *ac_conf(void);
/* From now on fn is called for each change of a file of keys that a child sees, by one of the children. Until p is
 * destroyed. */
void ac_config_keys_watch(ac_keyring_changed_fn *fn, apr_pool_t *p);
/* The file of keys of a mount; NULL: it names none. */
ac_keyring_file_t *ac_config_keys_file(const ac_mount_conf_t *mount);

/* ---- where the module is mounted ---- */
/* The longest <Location> with `SetHandler agentchat` that contains the request's URI: "/api"; "" for "/", and for a
 * <Location> that is itself a route with AC_MAY_BE_MOUNT, as "/health". The rest of the URI is the route. NULL: the
 * mount has no prefix (LocationMatch, Files). */
const char *ac_config_mount_prefix(const request_rec *r);
/* Whether the module handles r, before httpd has set r->handler: as the core finds it, from the <Location>s. */
bool ac_config_mount_is_here(request_rec *r);
bool ac_config_mount_is_in(const server_rec *s); /* whether this server has a mount */

/* ---- the hooks ---- */
int ac_config_hook_pre(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp); /* pre_config */
/* check_config, which `apachectl configtest` runs too: makes the registry and the store, reports every problem with
 * its file and line. Opens nothing. */
int ac_config_hook_check(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s);

/* ---- a check of the configuration ---- */
typedef struct ac_config_t ac_config_t; /* config_internal.h */
struct ac_config_check_t {              /* one pass over the configuration; the thread that reads it */
    ac_conf_t *conf;
    ac_config_t *config; /* conf and all definitions */
    server_rec *server;
    apr_pool_t *p, *ptemp;
    int n_problems;
};
/* Begins a check of the configuration; s: the main server. */
ac_config_check_t ac_config_check_begin(server_rec *s, apr_pool_t *p, apr_pool_t *ptemp);
/* Reports a problem with the file and line of a directive; at may be NULL. */
void ac_config_check_problem(ac_config_check_t *check, const ap_directive_t *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The last of these directives at the server; NULL: there is none. */
const ap_directive_t *ac_config_check_server_at(const ac_config_check_t *check, const char *name);
/* The name of the user that children run as, for a message. That is another user where httpd is started as root. */
const char *ac_config_access_user(void);
/* As access(2) with this mode for the children's user, with all that decides on it: groups, and the directories
 * above. 0, or an errno. */
int ac_config_access_as_child(const char *path, int mode, apr_pool_t *ptemp);

/* ---- config_store.c: the store and the state directory ---- */
/* Creates the store of AgentChatStore in check->conf. Without open, only its provider is looked up, because its
 * directory does not exist yet. Problems are reported. */
void ac_config_store_create(ac_config_check_t *check, bool open);
/* Makes the state directory, before httpd gives up root, and gives it to the user that children run as. Problems are
 * reported. */
void ac_config_store_make_dir(ac_config_check_t *check);

/* ---- text of directives ---- */
/* Whether each quote of words is closed, of the first n_words (0: of all). NULL on success, else an error message. */
const char *ac_config_args_quote_problem(const char *args, int n_words);
/* A list for an error message: "a, b, c", or "none". names: const char *. */
const char *ac_config_value_list(const apr_array_header_t *names, apr_pool_t *p);

/* ---- config_show.c ---- */
/* All settings in force, with secrets masked; mount: of the section to show. New reference. */
json_t *ac_config_show(const ac_mount_conf_t *mount, apr_pool_t *p);

/* ---- config_section.c ---- */
#define AC_DOCS_BUNDLE "swagger-ui-bundle.js" /* the file of AgentChatDocs that has to be there */
/* Whether a section allows pages of every origin. */
bool ac_config_section_is_open(const ac_mount_conf_t *mount);

#endif
