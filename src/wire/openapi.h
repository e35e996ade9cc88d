/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAPI documents as tools: operations, their parameters and bodies, and the requests that calls make. Pure
 * functions; any thread. Source: spec.openapis.org/oas, 3.0.4 and 3.1.1. */
#ifndef AC_OPENAPI_H
#define AC_OPENAPI_H

#include "wire/tool.h"

/* ---- openapi_document.c ---- */
/* Reads a document, JSON or YAML. *pdocument: a new reference, not to be changed. errors: bad_json; invalid_request: it
 * is not an OpenAPI document of version 3. */
apr_status_t ac_openapi_document_read(json_t **pdocument, const char *text, size_t len, ac_err_t *err);
/* The value itself, or what its $ref names, also over several. NULL: nothing within the document. */
const json_t *ac_openapi_document_follow(const json_t *document, const json_t *value);
typedef struct ac_openapi_place_t { /* an operation in its document; all borrowed */
    const char *method;             /* "GET"; constant */
    const char *path;               /* "/pets/{id}" */
    const char *id;                 /* operationId, or "" */
    const json_t *item, *operation; /* item: of `paths` */
} ac_openapi_place_t;
/* Calls fn for each operation, in the document's order. */
void ac_openapi_document_each(const json_t *document, void (*fn)(void *baton, const ac_openapi_place_t *place),
                              void *baton);

/* ---- openapi_operation.c: an operation as a tool ---- */
typedef struct ac_openapi_rules_t { /* what the administrator says; all borrowed */
    const json_t *document;
    const char *url;              /* of the document, for relative servers; NULL: a file */
    const char *server;           /* instead of those of the document; NULL: none */
    const apr_table_t *variables; /* of servers */
    const apr_table_t *fixed;     /* parameters whose values models neither see nor give */
    const char *const *schemes;   /* security schemes with a credential; "*": for all others */
    int n_schemes;
    bool signs; /* a header of each request has a secret */
} ac_openapi_rules_t;

typedef enum ac_openapi_key_e {
    AC_OPENAPI_KEY_BEARER, /* Authorization: Bearer TEXT */
    AC_OPENAPI_KEY_BASIC,  /* Authorization: Basic, of USER:PASSWORD */
    AC_OPENAPI_KEY_HEADER, /* as it is, by its name */
    AC_OPENAPI_KEY_QUERY,
    AC_OPENAPI_KEY_COOKIE
} ac_openapi_key_e;
typedef struct ac_openapi_key_t { /* where a credential goes */
    ac_openapi_key_e type;
    int scheme; /* its index in rules.schemes */
    char *name; /* of the header and so on; NULL with Authorization */
} ac_openapi_key_t;

typedef enum ac_openapi_body_e {
    AC_OPENAPI_BODY_NONE,
    AC_OPENAPI_BODY_JSON,
    AC_OPENAPI_BODY_FORM,
    AC_OPENAPI_BODY_MULTIPART,
    AC_OPENAPI_BODY_TEXT
} ac_openapi_body_e;

typedef struct ac_openapi_operation_t { /* holds nothing of the document */
    const char *method;                 /* constant */
    char *name;                         /* operationId, or "GET /pets/{id}" */
    char *server, *path;
    char *description;
    json_t *schema; /* of the arguments, as models accept it */
    json_t *parts;  /* parameters: [{name, in, style, explode, argument | value, …}]; openapi_parameter.c's own */
    ac_openapi_body_e body;
    char *body_type;   /* of the request; NULL: none */
    json_t *encodings; /* of the members of a form: {name: {style, explode, type, file}} */
    char *accept;      /* the value of the header */
    ac_openapi_key_t keys[AC_MAX_OPENAPI_KEYS];
    int n_keys;
} ac_openapi_operation_t;
#define AC_OPENAPI_BODY "body" /* the argument that is the body */
/* Makes an operation. errors: invalid_request: why there can be no tool of it; operation is then empty. */
apr_status_t ac_openapi_operation_make(ac_openapi_operation_t *operation, const ac_openapi_place_t *place,
                                       const ac_openapi_rules_t *rules, ac_err_t *err);
void ac_openapi_operation_free(ac_openapi_operation_t *operation); /* all zero is allowed, and is left */

/* ---- openapi_request.c: a call ---- */
typedef struct ac_openapi_request_t {
    ac_buf_t url, body, cookie;
    ac_buf_t *lines; /* headers */
    const char **headers;
    int n_lines;
} ac_openapi_request_t;
/* Makes the request of a call. texts: the credentials of operation->keys, in their order. The model's arguments become
 * values only: percent-encoded in the URL, without control characters in headers, and never a "." or ".." of the path.
 * errors: invalid_request; request must be freed also then. */
apr_status_t ac_openapi_request_make(ac_openapi_request_t *request, const ac_openapi_operation_t *operation,
                                     const json_t *arguments, const char *const *texts, ac_err_t *err);
void ac_openapi_request_free(ac_openapi_request_t *request); /* overwrites what may hold a secret */

#endif
