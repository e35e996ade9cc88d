/* SPDX-License-Identifier: Apache-2.0 */
/* A tool made from a configuration, and its calls on a loop in a thread of its own. */
#ifndef TOOL_RIG_H
#define TOOL_RIG_H

#include "back/tools/tools.h"
#include "http_rig.h"
#include "io/io.h"

typedef struct tool_rig_t {
    rig_t rig;
    apr_pool_t *pool;
    ac_host_t host;
    ac_tool_conf_t conf; /* to be changed before tool_rig_create */
    const ac_tool_vt *vt;
    void *self;
} tool_rig_t;

typedef struct tool_answer_t {
    apr_status_t started, status;
    json_t *result;
    ac_err_t err; /* of start or of done */
    bool inside;  /* done was called inside start */
    int n_dones;
} tool_answer_t;

void tool_rig_open(tool_rig_t *tool, const ac_tool_vt *vt);
void tool_rig_close(tool_rig_t *tool);
void tool_rig_option(tool_rig_t *tool, const char *name, const char *value);
/* create, and child_init where that went well. Returns create's sentence. */
const char *tool_rig_create(tool_rig_t *tool);
/* The same, and it must go well. */
void tool_rig_start(tool_rig_t *tool);
/* One call, waited for; arguments as JSON text, checked against the tool's schema. timeout 0: 20 s. */
void tool_rig_call(tool_rig_t *tool, tool_answer_t *answer, const char *arguments, apr_interval_time_t timeout);
void tool_answer_free(tool_answer_t *answer);
/* Starts a call on the loop and returns; then cancels it there, and fails if done is called nevertheless. */
void *tool_rig_begin(tool_rig_t *tool, tool_answer_t *answer, const char *arguments);
void tool_rig_cancel(tool_rig_t *tool, tool_answer_t *answer, void *call);
/* The result must be this JSON text, in jansson's compact form with sorted members. */
void tool_answer_is(const tool_answer_t *answer, const char *text);
/* The call must have failed with this kind and detail. */
void tool_answer_failed(const tool_answer_t *answer, ac_kind_e kind, const char *detail);

#endif
