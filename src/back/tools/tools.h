/* SPDX-License-Identifier: Apache-2.0 */
/* The tool providers. */
#ifndef AC_TOOLS_H
#define AC_TOOLS_H

#include "agentchat.h"

extern const ac_tool_vt ac_tool_calculator; /* "calculator" */
extern const ac_tool_vt ac_tool_weather;    /* "weather"; options geocoding=, forecast= (base URLs), units= */
extern const ac_tool_vt ac_tool_knowledge;  /* "knowledge-base"; options path=, results= */
extern const ac_tool_vt ac_tool_http;       /* "http" */

/* tool_header.c, for all that sends requests to a configured URL. */
/* The host of a URL without port and brackets, in p. */
const char *ac_tool_header_host(const char *url, apr_pool_t *p);
/* Whether the URL itself says that its host is not public: a private address, or localhost. */
bool ac_tool_header_is_private(const char *url, apr_pool_t *p);

#endif
