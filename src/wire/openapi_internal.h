/* SPDX-License-Identifier: Apache-2.0 */
/* What the files openapi_*.c share. */
#ifndef AC_OPENAPI_INTERNAL_H
#define AC_OPENAPI_INTERNAL_H

#include "wire_internal.h"

/* ---- openapi_style.c: values as texts ---- */
typedef enum ac_openapi_style_e {
    AC_OPENAPI_FORM,
    AC_OPENAPI_SIMPLE,
    AC_OPENAPI_LABEL,
    AC_OPENAPI_MATRIX,
    AC_OPENAPI_SPACE,
    AC_OPENAPI_PIPE,
    AC_OPENAPI_DEEP,
    AC_OPENAPI_JSON
} ac_openapi_style_e;
typedef struct ac_openapi_style_t {
    const char *name; /* of the parameter */
    ac_openapi_style_e style;
    bool explode;
    bool plain;            /* not percent-encoded: a header */
    bool reserved;         /* what separates nothing within a query stays as it is */
    const char *separator; /* between the parts of a form: "&", "; " */
} ac_openapi_style_t;
/* The style of this name; -1: there is none. */
int ac_openapi_style_find(const char *name);
/* Appends a value. Nothing for an empty list of a form. errors: those of ac_buf_add(). */
apr_status_t ac_openapi_style_write(ac_buf_t *out, const ac_openapi_style_t *style, const json_t *value);
/* A value as text: a string as it is, else JSON. *powned: for free(), or NULL. NULL: memory ran out. */
const char *ac_openapi_style_text(const json_t *value, char **powned);

/* ---- openapi_parameter.c ---- */
/* Reads the parameters of an operation into `parts`, and the schemas of those that models give into properties and
 * required. errors: invalid_request: a parameter that must be there cannot be sent. */
apr_status_t ac_openapi_parameter_read(json_t *parts, json_t *schema, const ac_openapi_place_t *place,
                                       const ac_openapi_rules_t *rules, ac_err_t *err);
/* Where a part goes: "path", "query", "header", "cookie". Its value among the arguments, or the fixed one; NULL or
 * null: none. */
const char *ac_openapi_parameter_in(const json_t *part);
const json_t *ac_openapi_parameter_value(const json_t *part, const json_t *arguments);
void ac_openapi_parameter_style(ac_openapi_style_t *style, const json_t *part);

/* ---- openapi_body.c ---- */
/* Chooses the form of the body, and puts its schema into that of the arguments. errors: invalid_request. */
apr_status_t ac_openapi_body_read(ac_openapi_operation_t *operation, json_t *schema, const ac_openapi_place_t *place,
                                  const ac_openapi_rules_t *rules, ac_err_t *err);
/* Writes a body. *ptype: the value of its Content-Type, for free(). */
apr_status_t ac_openapi_body_write(ac_buf_t *out, char **ptype, const ac_openapi_operation_t *operation,
                                   const json_t *value);

/* ---- openapi_media.c: media types ---- */
bool ac_openapi_media_is(const char *type, const char *name); /* without parameters and case */
bool ac_openapi_media_is_json(const char *type);
/* The value of Accept for the answers of an operation, for free(); NULL: none of them is text. */
char *ac_openapi_media_accept(const json_t *document, const json_t *operation);

/* ---- openapi_server.c ---- */
/* The base URL of an operation, without '/' at its end, for free(). errors: invalid_request. */
apr_status_t ac_openapi_server_find(char **purl, const ac_openapi_place_t *place, const ac_openapi_rules_t *rules,
                                    ac_err_t *err);

/* ---- openapi_security.c ---- */
/* Chooses the credentials of an operation. errors: invalid_request: it needs one that there is not. */
apr_status_t ac_openapi_security_read(ac_openapi_operation_t *operation, const ac_openapi_place_t *place,
                                      const ac_openapi_rules_t *rules, ac_err_t *err);
/* Whether the parameter is a key of a security scheme. */
bool ac_openapi_security_is_key(const json_t *document, const char *name, const char *in);

#endif
