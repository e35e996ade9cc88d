/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef AC_BACK_OPENAPI_INTERNAL_H
#define AC_BACK_OPENAPI_INTERNAL_H

#include "back/tools/tool_support.h"
#include "openapi.h"

/* ---- openapi_list.c: the tools of a document ---- */
typedef struct ac_openapi_entry_t {
    ac_openapi_operation_t operation;
    char id[AC_TOOL_NAME_SIZE]; /* the name for the model */
    ac_tool_conf_t conf;
    char *source; /* "openapi:SERVICE/OPERATION" */
    char *target; /* server and path, without values */
} ac_openapi_entry_t;
typedef struct ac_openapi_omission_t {
    char *name, *why;
} ac_openapi_omission_t;
typedef struct ac_openapi_tools_t { /* immutable, counted */
    int refs, n, n_left_out, n_operations;
    ac_openapi_entry_t *list;
    ac_openapi_omission_t *left_out;
    char *unmatched; /* the first name of the configuration that no operation has, or NULL */
} ac_openapi_tools_t;
/* Makes the tools of a document. Any thread. errors: as ac_openapi_document_read(). */
apr_status_t ac_openapi_list_make(ac_openapi_tools_t **ptools, const ac_openapi_service_t *service, const char *text,
                                  size_t len, ac_err_t *err);
ac_openapi_tools_t *ac_openapi_list_ref(ac_openapi_tools_t *tools);
void ac_openapi_list_unref(ac_openapi_tools_t *tools); /* NULL is allowed */

/* ---- openapi_rule.c: what the administrator allows ---- */
bool ac_openapi_rule_allows(const ac_openapi_conf_t *conf, const ac_openapi_place_t *place);
bool ac_openapi_rule_approval(const ac_openapi_conf_t *conf, const ac_openapi_place_t *place);
/* Whether one name or pattern stands for this operation. */
bool ac_openapi_rule_names(const char *pattern, const ac_openapi_place_t *place);
/* Whether requests of the operation may go to its server. err says why not. */
apr_status_t ac_openapi_rule_server(const ac_openapi_service_t *service, const ac_openapi_operation_t *operation,
                                    ac_err_t *err);

/* ---- openapi_load.c: a document that is fetched ---- */
bool ac_openapi_load_want(ac_openapi_service_t *service, ac_tool_waiter_t *waiter); /* as ac_tool_source_vt has it */
void ac_openapi_load_stop(ac_openapi_service_t *service);

/* ---- openapi_call.c ---- */
extern const ac_tool_vt ac_openapi_call_vt;

/* ---- openapi_use.c ---- */
extern const ac_tool_source_vt ac_openapi_use_source;
typedef struct ac_openapi_use_t ac_openapi_use_t;
typedef struct ac_openapi_bound_t { /* a tool of a run: the `self` of its ac_tool_t */
    ac_tool_t tool;
    ac_openapi_use_t *use;
    const ac_openapi_entry_t *entry;
    char id[AC_TOOL_NAME_SIZE];
} ac_openapi_bound_t;
struct ac_openapi_use_t { /* what one run uses of a service */
    ac_openapi_service_t *service;
    ac_openapi_tools_t *tools;
    int n;
    ac_openapi_bound_t list[];
};

/* ---- openapi_service.c ---- */
typedef struct ac_openapi_job_t ac_openapi_job_t;
struct ac_openapi_service_t {
    const ac_openapi_conf_t *conf;
    ac_tool_source_t source;
    const char *prefix;
    const char *path, *url; /* of the document: one of them */
    const char *server;     /* instead of those of the document; NULL: none */
    const char *copy;       /* path of the copy of a fetched document; NULL: none is kept */
    const char **schemes;   /* with a credential, in the order of conf->credentials */
    const char **scopes;    /* of these credentials; NULL: none */
    int n_schemes;
    bool signs;                     /* a header of each request has a secret */
    const char **headers;           /* whole lines, NULL-terminated */
    bool has_accept;                /* among them */
    const char **hosts;             /* that servers and redirects may lead to, NULL-terminated */
    ac_tool_answer_rules_t answers; /* with the mask of the secrets that do not change */
    ac_openapi_tools_t *tools;      /* NULL: no document yet */
    unsigned metric;
    /* of the child: */
    const ac_host_t *host;
    ac_loop_t *loop;
    bool looked; /* for the copy */
    bool down;   /* logged */
    apr_time_t expires, retry_at;
    int n_failures;
    ac_err_t err; /* why there is no document, or no newer one */
    ac_tool_waiter_t *waiters;
    ac_http_t *http;
    ac_buf_t body;
    int status;            /* of HTTP */
    ac_openapi_job_t *job; /* on a work thread */
};

#endif
