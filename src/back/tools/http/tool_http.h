/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of the tool "http", and the conversion of its responses. No state. */
#ifndef AC_TOOL_HTTP_H
#define AC_TOOL_HTTP_H

#include "back/tools/tool_support.h"

typedef struct ac_tool_http_t {
    const ac_tool_conf_t *conf;
    const ac_tool_mask_t *mask;                             /* of the secrets in its headers */
    const char *method, *result;                            /* result: a JSON Pointer, or NULL */
    bool has_body, has_type, has_accept, has_authorization; /* among the configured headers: Content-Type and so on */
    const char **allow_hosts;                               /* NULL-terminated */
    const char *scope;                                      /* of the credential; NULL: a key, or none */
    ac_loop_t *loop;
} ac_tool_http_t;

/* ---- tool_http_config.c ---- */
/* Fills *tool from its conf. Returns NULL, or an error message that names the directive. */
const char *ac_tool_http_config_read(ac_tool_http_t *tool, apr_pool_t *p);

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
