/* SPDX-License-Identifier: Apache-2.0 */
/* The tool providers. */
#ifndef AC_TOOLS_H
#define AC_TOOLS_H

#include "agentchat.h"

extern const ac_tool_vt ac_tool_calculator; /* "calculator" */
extern const ac_tool_vt ac_tool_weather;    /* "weather"; options geocoding=, forecast= (base URLs), units= */
extern const ac_tool_vt ac_tool_knowledge;  /* "knowledge-base"; options path=, results= */
extern const ac_tool_vt ac_tool_http;       /* "http" */

#endif
