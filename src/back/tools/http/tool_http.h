/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of the tool "http", and the conversion of its responses. No state. */
#ifndef AC_TOOL_HTTP_H
#define AC_TOOL_HTTP_H

#include "back/tools/tool_support.h"

typedef struct ac_tool_mask_t ac_tool_mask_t;

typedef struct ac_tool_http_t {
    const ac_tool_conf_t *conf;
    const ac_tool_mask_t *mask;          /* of the secrets in its headers */
    const char *method, *result;         /* result: a JSON Pointer, or NULL */
    bool has_body, has_type, has_accept; /* Content-Type, Accept are among the configured headers */
    const char **allow_hosts;            /* NULL-terminated */
    ac_loop_t *loop;
} ac_tool_http_t;

/* ---- tool_http_config.c ---- */
/* Fills *tool from its conf. Returns NULL, or an error message that names the directive. */
const char *ac_tool_http_config_read(ac_tool_http_t *tool, apr_pool_t *p);

/* ---- tool_mask.c: secrets that a service repeats in its response ---- */
/* Creates a mask for the secrets of these headers; secrets shorter than 6 bytes are not masked. Allocated in p. Any
 * thread may use it. */
const ac_tool_mask_t *ac_tool_mask_create(const apr_array_header_t *headers, apr_pool_t *p);
/* Overwrites each secret in text with asterisks: in plain form, with characters escaped as in JSON, URLs and HTML, in
 * base64 and in hexadecimal digits. cut: the text was cut at its end, so the beginning of a secret there is hidden too.
 * Returns whether it found a secret. */
bool ac_tool_mask_text(const ac_tool_mask_t *mask, char *text, size_t len, bool cut);
/* The same for a document's strings, names and numbers. Consumes value; returns it or a replacement. */
json_t *ac_tool_mask_json(const ac_tool_mask_t *mask, json_t *value);

/* ---- tool_http_answer.c ---- */
/* A response while it is read. */
typedef struct ac_tool_http_answer_t {
    const ac_tool_http_t *tool;
    int status;
    char type[128];
    bool json, refused, cut; /* refused: the status is an error; cut: the body is longer than the kept part */
    ac_buf_t body;
} ac_tool_http_answer_t;

void ac_tool_http_answer_init(ac_tool_http_answer_t *answer, const ac_tool_http_t *tool);
void ac_tool_http_answer_free(ac_tool_http_answer_t *answer);
void ac_tool_http_answer_head(ac_tool_http_answer_t *answer, int status, const char *type);
/* Returns false when enough has been read. */
bool ac_tool_http_answer_body(ac_tool_http_answer_t *answer, const char *bytes, size_t len);
/* Makes the tool's result from a 2xx response: JSON unchanged, text as a string, {"status": 204} for an empty body. A
 * result longer than result_max becomes a string that says at its end that it was cut; for JSON {"truncated": true,
 * "text": …}. The tool's secrets are masked. errors: tool_error (a binary body; the pointer finds nothing). */
apr_status_t ac_tool_http_answer_result(json_t **presult, ac_tool_http_answer_t *answer, ac_err_t *err);

#endif
