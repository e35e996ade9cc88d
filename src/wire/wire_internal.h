/* SPDX-License-Identifier: Apache-2.0 */
/* What only files of this folder use. */
#ifndef AC_WIRE_INTERNAL_H
#define AC_WIRE_INTERNAL_H

#include "wire.h"

/* ---- base64.c: secret keys, of Azure's accounts and of webhooks ---- */
typedef struct ac_base64_key_t {
    unsigned char bytes[1024]; /* as many as the longest text has; keys of Azure have 88 characters */
    size_t len;
} ac_base64_key_t;

/* Decodes the first len characters of the text. The caller cleanses the key. Returns false if they are not base64, or
 * are too many. Any thread. */
bool ac_base64_key_read(ac_base64_key_t *key, const char *text, size_t len);

/* ---- template.c ---- */
/* Appends text as a part of a URL: percent-encoded, but for RFC 3986's unreserved characters. errors: those of
 * ac_buf_add(). */
apr_status_t ac_template_encode(ac_buf_t *out, const char *text, size_t len);
/* Whether a server could read a piece of a decoded path segment as "." or "..". */
bool ac_template_has_dots(const char *text, size_t len);

/* ---- yaml.c ---- */
/* Reads the first document of a YAML text as JSON, by the core schema of YAML 1.2; keys are texts. An alias shares the
 * value that it repeats. Nested at most AC_MAX_YAML_DEPTH, and at most AC_MAX_YAML_NODES values, each alias counted as
 * what it repeats. *pvalue: a new reference, not to be changed. errors: bad_json. */
apr_status_t ac_yaml_parse(json_t **pvalue, const char *text, size_t len, ac_err_t *err);

#endif
