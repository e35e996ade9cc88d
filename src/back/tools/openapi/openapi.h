/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAPI documents as sources of tools. docs/architecture.md describes the parts. Everything but the configuration is
 * the loop thread's. */
#ifndef AC_BACK_OPENAPI_H
#define AC_BACK_OPENAPI_H

#include "back/back.h"

/* In the order of the directive's words. */
typedef enum ac_openapi_approval_e {
    AC_OPENAPI_APPROVAL_WRITE, /* calls of other methods than GET, HEAD and OPTIONS */
    AC_OPENAPI_APPROVAL_REQUIRED,
    AC_OPENAPI_APPROVAL_NONE
} ac_openapi_approval_e;

typedef struct ac_openapi_credential_t {
    const char *scheme; /* of the document, or "*" */
    ac_credential_t *auth;
} ac_openapi_credential_t;

typedef struct ac_openapi_conf_t { /* an <AgentChatOpenAPI> section; lives as long as the child */
    const char *id;
    const char *from;                      /* "openapi:/path" or "openapi:https://…" */
    const apr_array_header_t *operations;  /* of const char *: operationIds or "METHOD /path", with '*', '!' in front */
    const char *server;                    /* NULL or "document": those of the document */
    const apr_table_t *variables;          /* of servers */
    int insecure;                          /* secrets may be sent over plain http */
    const apr_array_header_t *credentials; /* of ac_openapi_credential_t, or NULL */
    const apr_array_header_t *headers;     /* of ac_tool_header_t, or NULL */
    const apr_table_t *fixed;              /* parameter → value; NULL: none */
    const char *prefix;                    /* of names for the model; NULL: the id and '_' */
    int approval;                          /* ac_openapi_approval_e */
    const apr_table_t *approvals;          /* operation, also with '*' → another one of its words */
    const apr_array_header_t *allow_hosts; /* of const char *, or NULL: further hosts of servers and redirects */
    int allow_private;
    const char *ca_file;
    apr_interval_time_t connect_timeout, load_timeout, call_timeout;
    apr_interval_time_t refresh; /* how long a document that was fetched holds */
    apr_size_t result_max;
    const char *state_dir; /* where the copy of a fetched document is kept */
} ac_openapi_conf_t;

typedef struct ac_openapi_service_t ac_openapi_service_t;

/* ---- openapi_config.c ---- */
/* At configuration time: reads the document if it is a file. Returns NULL, or an error message that names the
 * directive. */
const char *ac_openapi_config_create(ac_openapi_service_t **pservice, const ac_openapi_conf_t *conf, apr_pool_t *p);
/* Whether the document is fetched, and its copy kept in the state directory. */
bool ac_openapi_config_fetches(const ac_openapi_conf_t *conf);

/* ---- openapi_list.c ---- */
/* What became of the document's operations: a line for each tool, for each operation that is left out, and for all
 * together. Nothing before a document was read. */
void ac_openapi_list_tell(const ac_openapi_service_t *service,
                          void (*tell)(void *baton, ac_log_id_e number, const char *text), void *baton);

/* ---- openapi_service.c: what this child knows of a service ---- */
/* Its tools; the name is "openapi:" and the service's id. */
const ac_tool_source_t *ac_openapi_service_source(const ac_openapi_service_t *service);
/* metric: the index of its tools in metrics. */
void ac_openapi_service_set_metric(ac_openapi_service_t *service, unsigned metric);
/* After the fork, before the loop runs. Sends nothing. */
apr_status_t ac_openapi_service_child_init(ac_openapi_service_t *service, const ac_host_t *host, ac_err_t *err);
/* No run uses the service any more. */
void ac_openapi_service_child_exit(ac_openapi_service_t *service);

#endif
