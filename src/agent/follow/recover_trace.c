/* SPDX-License-Identifier: Apache-2.0 */
/* The span of a run whose process died. That process has exported spans of its calls, perhaps, but not that of the run;
 * this one takes its place, with its id. The span above it is not known. */
#include "follow_internal.h"

#include <string.h>

void ac_recover_trace(const ac_event_log_t *log, const json_t *run)
{
    ac_trace_t trace;
    apr_time_t started;
    const char *agent = ac_json_peek_string(run, "agent_id", NULL);
    const char *status = ac_json_peek_string(run, "status", "interrupted");
    ac_kind_e kind = ac_err_kind_by_code(ac_json_peek_string(json_object_get(run, "error"), "code", ""));
    ac_span_t *span = ac_event_log_trace(log, &trace) ? ac_span_begin(AC_SPAN_AGENT, &trace) : NULL;
    if (!span) {
        return;
    }
    memcpy(span->trace.span_id, trace.span_id, sizeof(span->trace.span_id));
    span->parent_id[0] = '\0';
    if (ac_time_parse(&started, ac_json_peek_string(run, "created_at", ""))) {
        span->started = started;
    }
    ac_span_text(span, AC_ATTRIBUTE_GEN_AI_OPERATION_NAME, "invoke_agent");
    ac_span_text(span, AC_ATTRIBUTE_AGENTCHAT_RUN_ID, ac_event_log_header(log)->run_id);
    ac_span_text(span, AC_ATTRIBUTE_GEN_AI_CONVERSATION_ID, ac_event_log_header(log)->thread_id);
    ac_span_text(span, AC_ATTRIBUTE_AGENTCHAT_RUN_STATUS, status);
    if (agent) {
        ac_span_name(span, "invoke_agent %s", agent);
        ac_span_text(span, AC_ATTRIBUTE_GEN_AI_AGENT_ID, agent);
    }
    ac_span_fail(span, strcmp(status, "interrupted") == 0 ? AC_INTERRUPTED : kind);
    ac_span_end(span);
}
