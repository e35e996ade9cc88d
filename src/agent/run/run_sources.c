/* SPDX-License-Identifier: Apache-2.0 */
/* The sources of an answer, in the order in which tools found them or the model named them. */
#include "run_internal.h"

json_t *ac_run_sources_event(const ac_call_t *call, json_t *sources)
{
    json_t *data = json_object();
    if (call) {
        ac_json_put(data, "step_id", ac_json_text(call->step_id));
        ac_json_put(data, "call_id", ac_json_text(call->id));
    }
    ac_json_put(data, "sources", sources);
    return data;
}

void ac_run_sources_find(ac_call_t *call, const json_t *result)
{
    if (!(call->tool->vt->flags & AC_TOOL_COMPUTES)) {
        call->sources = ac_sources_add(&ac_run_nesting_root(call->run)->answer.sources,
                                       ac_sources_read(&call->tool->conf->sources, result));
    }
}

json_t *ac_run_sources_name(ac_run_t *run, const json_t *annotation)
{
    json_t *added = ac_sources_add(&ac_run_nesting_root(run)->answer.sources, ac_sources_annotation(annotation));
    if (added) {
        run->answer.named = run->answer.named ? run->answer.named : json_array();
        json_array_extend(run->answer.named, added);
    }
    return added;
}
