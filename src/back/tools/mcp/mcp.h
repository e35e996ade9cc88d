/* SPDX-License-Identifier: Apache-2.0 */
/* MCP servers as sources of tools. docs/architecture.md describes the parts. Everything but the configuration is the
 * loop thread's. */
#ifndef AC_BACK_MCP_H
#define AC_BACK_MCP_H

#include "back/back.h"

/* Both in the order of the directives' words. */
typedef enum ac_mcp_approval_e {
    AC_MCP_APPROVAL_DESTRUCTIVE, /* calls of tools that the server does not call harmless */
    AC_MCP_APPROVAL_WRITE,       /* calls of tools that the server does not call read-only */
    AC_MCP_APPROVAL_REQUIRED,
    AC_MCP_APPROVAL_NONE
} ac_mcp_approval_e;
typedef enum ac_mcp_protocol_e {
    AC_MCP_PROTOCOL_AUTO,
    AC_MCP_PROTOCOL_MODERN,
    AC_MCP_PROTOCOL_LEGACY
} ac_mcp_protocol_e;

typedef struct ac_mcp_conf_t { /* an <AgentChatMCP> section; lives as long as the child */
    const char *id, *url;
    int protocol;                      /* ac_mcp_protocol_e */
    int insecure;                      /* secrets may be sent over plain http */
    const apr_array_header_t *headers; /* of ac_tool_header_t, or NULL */
    ac_credential_t *auth;             /* sent as a Bearer token; NULL: none */
    const apr_array_header_t *tools;   /* of const char *: names, with '*', or with '!' in front; NULL: all */
    const char *prefix;                /* of names for the model; NULL: the id and '_' */
    int approval;                      /* ac_mcp_approval_e */
    const apr_table_t *approvals;      /* name, also with '*' → another one of its words */
    int shared_session;                /* runs share the server's session */
    int allow_private;
    const char *ca_file;
    apr_interval_time_t connect_timeout, list_timeout, call_timeout;
    apr_interval_time_t refresh; /* how long a list holds if the server does not say it */
    apr_size_t result_max;
} ac_mcp_conf_t;

typedef struct ac_mcp_upstream_t ac_mcp_upstream_t;

/* ---- mcp_config.c ---- */
/* At configuration time. Returns NULL, or an error message that names the directive. */
const char *ac_mcp_config_create(ac_mcp_upstream_t **pserver, const ac_mcp_conf_t *conf, apr_pool_t *p);

/* ---- mcp_upstream.c: what this child knows of a server ---- */
/* Its tools; the name is "mcp:" and the server's id. */
const ac_tool_source_t *ac_mcp_upstream_source(const ac_mcp_upstream_t *server);
/* metric: the index of its tools in metrics. */
void ac_mcp_upstream_set_metric(ac_mcp_upstream_t *server, unsigned metric);
/* After the fork, before the loop runs. Sends nothing. */
apr_status_t ac_mcp_upstream_child_init(ac_mcp_upstream_t *server, const ac_host_t *host, ac_err_t *err);
/* No run uses the server any more: ends all exchanges. */
void ac_mcp_upstream_child_exit(ac_mcp_upstream_t *server);
typedef struct ac_mcp_state_t {
    const char *state;    /* "ok", "failed"; "unknown": nothing has asked the server yet. Constant */
    const char *protocol; /* the version, or "" */
    int n_tools, n_left_out;
    ac_err_t err; /* why it failed */
} ac_mcp_state_t;
void ac_mcp_upstream_state(const ac_mcp_upstream_t *server, ac_mcp_state_t *state);

#endif
