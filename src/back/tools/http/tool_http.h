/* SPDX-License-Identifier: Apache-2.0 */
/* The tool "http" as configured, and what its answers become. Pure. */
#ifndef AC_TOOL_HTTP_H
#define AC_TOOL_HTTP_H

#include "back/tools/tool_support.h"

typedef struct ac_tool_mask_t ac_tool_mask_t;

typedef struct ac_tool_http_t {
    const ac_tool_conf_t *conf;
    const ac_tool_mask_t *mask;          /* of its headers' secrets */
    const char *method, *result;         /* result: a JSON Pointer, or NULL */
    bool has_body, has_type, has_accept; /* Content-Type, Accept are among the configured headers */
    const char **allow_hosts;            /* NULL-terminated */
    ac_loop_t *loop;
} ac_tool_http_t;

/* ---- tool_http_config.c ---- */
/* Fills *tool from its conf. Returns NULL, or an error message that names the directive. */
const char *ac_tool_http_config_read(ac_tool_http_t *tool, apr_pool_t *p);

/* ---- tool_mask.c: secrets that a service repeats ---- */
/* Hides the secrets of these headers that have 6 bytes and more. Lives in p. Any thread may use it. */
const ac_tool_mask_t *ac_tool_mask_create(const apr_array_header_t *headers, apr_pool_t *p);
/* Writes asterisks over each secret in text: as it is, with characters escaped as in JSON, URLs and HTML, and in base64
 * and hexadecimal digits. cut: the text continues behind its end, so that a secret's beginning there is hidden too.
 * Returns whether there was a secret. */
bool ac_tool_mask_text(const ac_tool_mask_t *mask, char *text, size_t len, bool cut);
/* The same in a document's strings, names and numbers. Consumes value; returns it or another one in its place. */
json_t *ac_tool_mask_json(const ac_tool_mask_t *mask, json_t *value);

/* ---- tool_http_answer.c ---- */
/* An answer being read. */
typedef struct ac_tool_http_answer_t {
    const ac_tool_http_t *tool;
    int status;
    char type[128];
    bool json, refused, cut; /* refused: no text; cut: there was more than is kept */
    ac_buf_t body;
} ac_tool_http_answer_t;

void ac_tool_http_answer_init(ac_tool_http_answer_t *answer, const ac_tool_http_t *tool);
void ac_tool_http_answer_free(ac_tool_http_answer_t *answer);
void ac_tool_http_answer_head(ac_tool_http_answer_t *answer, int status, const char *type);
/* false: enough has been read. */
bool ac_tool_http_answer_body(ac_tool_http_answer_t *answer, const char *bytes, size_t len);
/* Makes the tool's result of a 2xx answer: JSON as it is, text as a string, {"status": 204} for an empty body. Over
 * result_max: a string that says at its end that it was cut, for JSON {"truncated": true, "text": …}. Secrets of the
 * tool are masked. errors: tool_error (a binary body; the pointer finds nothing). */
apr_status_t ac_tool_http_answer_result(json_t **presult, ac_tool_http_answer_t *answer, ac_err_t *err);

#endif
