/* SPDX-License-Identifier: Apache-2.0 */
/* What the owner has decided about the calls of a run, when the run resumes. */
#include "run_internal.h"

static const char *refusal_of(const json_t *decision)
{
    if (json_is_true(json_object_get(decision, "expired"))) {
        return "this call was not approved in time, so it was not made";
    }
    return "the user did not approve this call, so it was not made";
}

static void emit_decision(ac_run_t *run, const ac_call_t *call)
{
    json_t *data = json_object();
    ac_json_put(data, "step_id", ac_json_text(call->step_id));
    ac_json_put(data, "call_id", ac_json_text(call->id));
    ac_json_put(data, "approved", json_boolean(call->approved));
    ac_run_event_emit(run, AC_EVENT_TRACE_UPDATE, data, NULL, 0);
}

void ac_run_decision_apply(ac_run_t *run, const json_t *decisions)
{
    for (int i = 0; i < run->calls.n; i++) {
        ac_call_t *call = run->calls.list[i];
        const json_t *decision = json_object_get(decisions, call->id);
        const char *reason = ac_json_peek_string(decision, "reason", NULL);
        ac_buf_t text;
        if (call->done || !json_is_object(decision)) {
            continue;
        }
        call->approved = json_is_true(json_object_get(decision, "approve"));
        if (call->question && json_is_object(json_object_get(decision, "content"))) {
            json_object_set(call->question, "content", json_object_get(decision, "content"));
        }
        if (!call->approved) {
            ac_buf_init(&text, AC_MAX_REASON + 128);
            ac_buf_printf(&text, "%s%s%s", refusal_of(decision), reason ? "; the user says: " : "",
                          reason ? reason : "");
            call->refusal = text.data;
        }
        emit_decision(run, call);
    }
}
