/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of the tool "http". No state. */
#ifndef AC_TOOL_HTTP_H
#define AC_TOOL_HTTP_H

#include "back/tools/tool_support.h"

typedef struct ac_tool_http_t {
    const ac_tool_conf_t *conf;
    ac_tool_answer_rules_t rules; /* its mask: of the secrets in its headers */
    const char *method;
    bool has_body, has_type, has_accept, has_authorization; /* among the configured headers: Content-Type and so on */
    const char **allow_hosts;                               /* NULL-terminated */
    const char *scope;                                      /* of the credential; NULL: a key, or none */
    ac_loop_t *loop;
} ac_tool_http_t;

/* ---- tool_http_config.c ---- */
/* Fills *tool from its conf. Returns NULL, or an error message that names the directive. */
const char *ac_tool_http_config_read(ac_tool_http_t *tool, apr_pool_t *p);

#endif
