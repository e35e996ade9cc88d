/* SPDX-License-Identifier: Apache-2.0 */
/* Declarations that only the files of this folder share: config.c (the table), config_set.c (its setter),
 * config_args.c (a directive's arguments), config_value.c (text to values), config_define.c (the containers),
 * config_check.c (problems), config_registry.c (models, tools and agents), config_mount.c. */
#ifndef AC_CONFIG_INTERNAL_H
#define AC_CONFIG_INTERNAL_H

#include "config.h"

#include "apr_strings.h"

/* ---- a row of the table ---- */
typedef enum ac_config_where_e {
    AC_CONFIG_IN_MOUNT,
    AC_CONFIG_IN_SERVER,
    AC_CONFIG_IN_MODEL,
    AC_CONFIG_IN_TOOL,
    AC_CONFIG_IN_MCP,
    AC_CONFIG_IN_OPENAPI,
    AC_CONFIG_IN_WEBHOOK,
    AC_CONFIG_IN_AGENT
} ac_config_where_e;

/* The type of a value, and the C type it is written to. Integers are written at their field's width. */
typedef enum ac_value_type_e {
    AC_VALUE_FLAG,       /* on|off → int, bool */
    AC_VALUE_INT,        /* → int, int64_t */
    AC_VALUE_NUMBER,     /* → double */
    AC_VALUE_SIZE,       /* 64K → apr_int64_t, apr_size_t */
    AC_VALUE_DURATION,   /* 90s → apr_interval_time_t */
    AC_VALUE_LEAVE,      /* continue|cancel|cancel-after=90s → apr_interval_time_t: -1, 0, 90s */
    AC_VALUE_WORD,       /* one word → const char * */
    AC_VALUE_PATH,       /* relative to ServerRoot → const char * */
    AC_VALUE_CHOICE,     /* one of min ("GET|POST") → const char * */
    AC_VALUE_RANK,       /* one of min ("auto|1.1|2") → its index, int */
    AC_VALUE_CURRENCY,   /* USD → char[4] */
    AC_VALUE_TEXT,       /* file:PATH or the text itself → const char * */
    AC_VALUE_DOCUMENT,   /* file:PATH or a JSON object itself → json_t * */
    AC_VALUE_SECRET,     /* env:NAME or file:PATH → ac_secret_t */
    AC_VALUE_CREDENTIAL, /* FORM [key=value …] → ac_credential_t * */
    AC_VALUE_SCHEME,     /* SCHEME FORM [key=value …], added → apr_array_header_t * of ac_openapi_credential_t */
    AC_VALUE_WORDS,      /* words, added to those given before → apr_array_header_t * */
    AC_VALUE_PAIR,       /* NAME VALUE, added → apr_table_t * */
    AC_VALUE_MEMBER,     /* NAME JSON, added → json_t *, an object */
    AC_VALUE_HEADER,     /* NAME VALUE [secret=…], added → apr_array_header_t * of ac_tool_header_t */
    AC_VALUE_LIMITS,     /* limits, or off, added to those given before → const ac_limits_t * */
    AC_VALUE_PERCENT,    /* 50% → int */
    AC_VALUE_SWITCH,     /* a key without a value → bool */
    AC_VALUE_VARIABLE,   /* env:NAME, of a request's variables → NAME, const char * */
    AC_VALUE_ROLE,       /* ROLE OWNER …, added → apr_array_header_t * of ac_role_t */
    AC_VALUE_TELEMETRY,  /* a destination, added, or off → ac_telemetry_conf_t */
    AC_VALUE_KEYS        /* [WORD] key=value …: see keys */
} ac_value_type_e;

typedef struct ac_value_t {
    ac_value_type_e type;
    size_t offset, width;  /* of the field, in the struct that `where` says */
    const char *fallback;  /* the default as text, NULL: the field stays zero */
    const char *min, *max; /* as text, parsed like the value */
} ac_value_t;

/* One key of an AC_VALUE_KEYS directive. The name "" is the leading word, "*" all other keys (into an apr_table_t
 * *). */
typedef struct ac_key_t {
    const char *name;
    ac_value_t value;
} ac_key_t;

typedef struct ac_setting_t {
    const char *name;
    ac_config_where_e where;
    ac_value_t value;
    const ac_key_t *keys; /* AC_VALUE_KEYS; ends with name NULL */
} ac_setting_t;

#define AC_CONFIG_ROWS 160 /* at most */

/* ---- config_set.c ---- */
/* Sets a directive of the table. NULL on success, else an error message. */
const char *ac_config_set_directive(cmd_parms *cmd, void *dir, const char *args);

/* ---- config_row.c ---- */
/* The row of a command_rec of the table; NULL for a container and for the table's end. */
const ac_setting_t *ac_config_row(const command_rec *command);
int ac_config_row_index(const ac_setting_t *setting); /* its index in ac_directives: the bit in `set` */
int ac_config_row_find(const char *name);             /* the index of the row of this name, or -1 */

/* ---- config_value.c ---- */
/* Writes text, or a default, to target + value's offset. NULL on success, else an error message with the text and
 * what is accepted. */
const char *ac_config_value_set(const ac_value_t *value, void *target, const char *text, apr_pool_t *p);
const char *ac_config_value_set_secret(ac_secret_t *secret, const char *text, apr_pool_t *p);
/* Parses any JSON; *pvalue lives as long as p. what: the name of the text in the error message. */
const char *ac_config_value_parse_json(json_t **pvalue, const char *text, const char *what, apr_pool_t *p);
/* Consumes json, which then lives as long as p. */
void ac_config_value_keep_json(json_t *json, apr_pool_t *p);

/* ---- config_args.c ---- */
/* Sets a directive's arguments by its row. NULL on success, else an error message without the directive's name. */
const char *ac_config_args_set(const ac_setting_t *setting, void *target, const char *args, apr_pool_t *p);
/* Sets every default of the rows of `where`. */
void ac_config_args_set_defaults(ac_config_where_e where, void *target, apr_pool_t *p);

/* ---- config_principal.c: the types AC_VALUE_VARIABLE and AC_VALUE_ROLE ---- */
const char *ac_config_principal_set_variable(const char **field, const char *text, apr_pool_t *p);
const char *ac_config_principal_set_roles(apr_array_header_t **plist, const char *args, apr_pool_t *p);

/* ---- config_define.c: the definitions of the containers ---- */
typedef struct ac_definition_t { /* first member of those below */
    const char *id;
    ac_config_where_e where;
    const ap_directive_t *at;                    /* the container; NULL: built in */
    const ap_directive_t *given[AC_CONFIG_ROWS]; /* by row; NULL: not given */
    bool used;                                   /* by an agent */
} ac_definition_t;

typedef struct ac_model_def_t {
    ac_definition_t common;
    ac_model_conf_t conf;
    ac_gate_conf_t gate;
    const char *fallback; /* its id, or NULL */
    ac_model_t model;
} ac_model_def_t;

typedef struct ac_tool_def_t {
    ac_definition_t common;
    ac_tool_conf_t conf;
    ac_tool_t tool;
} ac_tool_def_t;

typedef struct ac_mcp_def_t {
    ac_definition_t common;
    ac_mcp_conf_t conf;
    ac_mcp_upstream_t *server;
} ac_mcp_def_t;

typedef struct ac_openapi_def_t {
    ac_definition_t common;
    ac_openapi_conf_t conf;
    ac_openapi_service_t *service;
} ac_openapi_def_t;

typedef struct ac_webhook_def_t {
    ac_definition_t common;
    ac_webhook_conf_t conf;
    ac_webhook_t *webhook;
} ac_webhook_def_t;

typedef struct ac_agent_def_t {
    ac_definition_t common;
    ac_agent_t agent;
    const char *model;                                    /* its id */
    const apr_array_header_t *tools, *handoffs, *aliases; /* of const char * */
} ac_agent_def_t;

typedef struct ac_definitions_t { /* each of pointers, in order of configuration */
    apr_array_header_t *models, *tools, *mcp, *openapi, *webhooks, *agents;
    apr_array_header_t *default_webhooks; /* of const ap_directive_t *: AgentChatDefaultWebhook, to be checked */
    apr_array_header_t *default_agents;   /* of const ap_directive_t *: AgentChatDefaultAgent, to be checked */
} ac_definitions_t;

/* All settings and definitions, created by ac_conf_create(). */
struct ac_config_t {
    ac_conf_t conf; /* first: rows of AC_CONFIG_IN_SERVER write here */
    ac_definitions_t defs;
    const ap_directive_t *given[AC_CONFIG_ROWS];
    apr_array_header_t *keys;         /* config_keys.c's own: each file of AgentChatKeys once */
    const ap_directive_t *cost_limit; /* an AgentChatLimit with cost=, or NULL */
    bool saves_limits;                /* one has a window whose counts are saved */
};

/* ---- conf.c ---- */
ac_config_t *ac_conf_mutable(void); /* the configuration while it is read and checked; NULL before pre_config */
/* A new configuration, which lives as long as pconf. */
ac_config_t *ac_conf_create(apr_pool_t *pconf);

typedef struct ac_container_t { /* cmd_data of a container's command_rec */
    const char *name;           /* "<AgentChatModel" */
    ac_config_where_e where;
} ac_container_t;
const char *ac_config_define_container(cmd_parms *cmd, void *dir, const char *args);
/* The definition that a directive is in; NULL, with an error message in *pproblem, where it is elsewhere. */
ac_definition_t *ac_config_define_current(const char **pproblem, const cmd_parms *cmd, const ac_setting_t *setting);
/* A definition without a container. */
ac_tool_def_t *ac_config_define_builtin_tool(const char *id, const char *provider, apr_pool_t *p);
const char *ac_config_define_where(const ap_directive_t *at, apr_pool_t *p); /* "/etc/x.conf:12" */

/* ---- config_check.c, config_registry.c ---- */
/* The directive NAME of this definition, or its container. */
const ap_directive_t *ac_config_check_at(const ac_definition_t *definition, const char *name);
/* Reports the problem that the create function of a definition has found, at the directive that is its first word.
 * kind: "model". problem: NULL: none. */
void ac_config_check_created(ac_config_check_t *check, const ac_definition_t *definition, const char *kind,
                             const char *problem);
/* The names of all providers of a group, for an error message. */
const char *ac_config_check_providers(ac_config_check_t *check, const char *group);
/* Fills conf.registry from the definitions. Problems are reported. */
void ac_config_registry_build(ac_config_check_t *check);

/* ---- config_agents.c: agents that other agents call as tools, or hand over to ---- */
/* Makes the tools "agent:ID" and "handoff:ID" of each agent. Before the agents are built. */
void ac_config_agents_add_tools(ac_config_check_t *check, apr_hash_t *tools);
/* The tool of this name, for an agent. NULL: reported. */
const ac_tool_t *ac_config_agents_find(ac_config_check_t *check, const ac_agent_def_t *def, const char *name);
/* The tool that hands over to this agent. NULL: reported. */
const ac_tool_t *ac_config_agents_find_handoff(ac_config_check_t *check, const ac_agent_def_t *def, const char *id);
/* Reports agents that call each other in a ring, or too deep, and handoffs that cannot be. */
void ac_config_agents_check(ac_config_check_t *check);

/* ---- config_mcp.c: MCP servers. Problems are reported. ---- */
void ac_config_mcp_build(ac_config_check_t *check, apr_hash_t *sources);
/* Sets the sources of an agent's tools; conf.registry has all of them. */
void ac_config_mcp_set_sources(ac_config_check_t *check, ac_agent_def_t *def);

/* ---- config_openapi.c: services with an OpenAPI document. Problems are reported. ---- */
void ac_config_openapi_build(ac_config_check_t *check, apr_hash_t *sources);
/* Says what became of the operations of each document that is a file. */
void ac_config_openapi_tell(const ac_config_check_t *check);

/* ---- config_webhook.c: webhooks. Problems are reported. ---- */
void ac_config_webhook_build(ac_config_check_t *check);

/* ---- config_access.c: permissions of the children, which have another user if httpd is started as root ---- */
/* Reports a file that the children cannot read; path NULL: no file. name: of the directive. */
void ac_config_access_check_file(ac_config_check_t *check, const ap_directive_t *at, const char *name,
                                 const char *path);
/* Checks whether the children can use this store. NULL on success, else an error message. */
const char *ac_config_access_store_problem(const ac_store_t *store, apr_pool_t *ptemp);

/* ---- config_keys.c ---- */
void ac_config_keys_init(apr_pool_t *pconf);
/* Adds a file that AgentChatKeys names. */
void ac_config_keys_add(const char *path, const ap_directive_t *at);
/* Reads each file of keys. Problems are reported. */
void ac_config_keys_check(ac_config_check_t *check);

/* ---- config_limit.c: the type AC_VALUE_LIMITS, and AgentChatLimit ---- */
const char *ac_config_limit_set(const ac_limits_t **plimits, const char *args, apr_pool_t *p);
/* first: this section has no limit yet. NULL on success, else an error message. */
const char *ac_config_limit_set_mount(cmd_parms *cmd, ac_mount_conf_t *mount, const char *args, bool first);
const char *ac_config_limit_set_agent(cmd_parms *cmd, ac_agent_def_t *def, const char *args);
/* Checks the prices that limits on cost need, and AgentChatShared. Problems are reported. */
void ac_config_limit_check(ac_config_check_t *check);

/* ---- config_section.c ---- */
/* Checks the settings of a section by themselves. NULL on success, else an error message. */
const char *ac_config_section_problem(const ac_mount_conf_t *mount, apr_pool_t *p);

/* ---- config_telemetry.c: the type AC_VALUE_TELEMETRY ---- */
const char *ac_config_telemetry_set(ac_telemetry_conf_t *telemetry, const char *args, apr_pool_t *p);
const char *ac_config_telemetry_signals(unsigned *psignals, const char *text, apr_pool_t *p); /* "traces,logs" */
const char *ac_config_telemetry_timeout(apr_interval_time_t *ptimeout, const char *text, apr_pool_t *p);

/* ---- config_appinsights.c ---- */
/* The words behind AgentChatTelemetry appinsights. */
const char *ac_config_appinsights_add(ac_telemetry_conf_t *telemetry, const char *args, apr_pool_t *p);
/* Completes what AgentChatTelemetryMetrics leaves to the variables. */
void ac_config_appinsights_complete(ac_config_check_t *check);

/* ---- config_trace.c ---- */
/* Completes conf.telemetry: the resource, the sampler, the exporters' queues. Problems are reported. */
void ac_config_trace_check(ac_config_check_t *check);

/* ---- config_store.c ---- */
/* Decides where the bytes of files are kept. */
void ac_config_store_create_files(ac_config_check_t *check);
/* Says where files are kept, if that may not be what is wanted. After the store was created. */
void ac_config_store_warn_files(ac_config_check_t *check);
/* Whether something is kept in the state directory. */
bool ac_config_store_needs_dir(const ac_config_check_t *check);
/* Checks the state directory, or whether it can be made. Returns whether it exists; problems are reported. */
bool ac_config_store_check_dir(ac_config_check_t *check);

/* ---- config_mount.c ---- */
/* Finds every mount of every server. Returns how many there are. Problems are reported. */
int ac_config_mount_find(ac_config_check_t *check);

#endif
