/* SPDX-License-Identifier: Apache-2.0 */
/* A handoff: an agent calls a tool that names another agent, which continues the run in its place. It gets the
 * conversation, with its own instructions, tools and model, and is the thread's agent from then on. Pure. */
#include "run_internal.h"

#include <string.h>

/* ---- the call ---- */

bool ac_run_handoff_has(const ac_call_t *call)
{
    return call->tool && call->tool->hands_off && call->done && !call->error;
}

const ac_call_t *ac_run_handoff_find(const ac_run_t *run)
{
    for (int i = 0; i < run->calls.n; i++) {
        if (run->calls.list[i] && ac_run_handoff_has(run->calls.list[i])) {
            return run->calls.list[i];
        }
    }
    return NULL;
}

void ac_run_handoff_mark(const ac_call_t *call, json_t *data)
{
    if (call->tool && call->tool->hands_off) {
        ac_json_put(data, "hands_over_to", ac_json_text(call->tool->agent->id));
    }
}

apr_status_t ac_run_handoff_check(const ac_call_t *call, ac_err_t *err)
{
    const ac_run_t *run = call->run;
    const ac_agent_t *to = call->tool->agent;
    const char *problem = ac_agent_problem(to);
    if (problem) {
        return ac_err_set(err, AC_TOOL_ERROR, "%s", problem);
    }
    if (ac_run_handoff_find(run)) {
        return ac_err_set(err, AC_TOOL_ERROR, "the conversation was handed over to another agent in this round");
    }
    for (int i = 0; i < to->n_tools; i++) {
        if (ac_client_tools_has(run, to->tools[i]->id)) {
            return ac_err_set(err, AC_TOOL_ERROR, "the client has a tool of the name %s, as that agent has",
                              to->tools[i]->id);
        }
    }
    return APR_SUCCESS;
}

/* ---- the new agent ---- */

/* Messages that end with one of the assistant would be continued by some models, and refused by others. */
static void handoff_note(json_t *messages, const ac_agent_t *from, const ac_call_t *call)
{
    const char *reason = ac_json_peek_string(call->arguments, "reason", "");
    json_array_append_new(
        messages,
        json_pack("{s:s, s:o}", "role", "user", "content",
                  json_sprintf("The agent %s has handed this conversation over to you%s%s. Answer now.", from->name,
                               *reason ? ", and says: " : "", reason)));
}

static void handoff_instruct(json_t *messages, const ac_agent_t *from, const ac_agent_t *to)
{
    if (from->instructions && *from->instructions) {
        json_array_remove(messages, 0);
    }
    if (to->instructions && *to->instructions) {
        json_array_insert_new(messages, 0, json_pack("{s:s, s:s}", "role", "system", "content", to->instructions));
    }
}

void ac_run_handoff_take(ac_run_t *run, const ac_call_t *call)
{
    const ac_agent_t *from = run->agent, *to = call->tool->agent;
    ac_metrics_add(AC_METRIC_HANDOFFS, AC_LABELS(from->metric), 1);
    ac_debug("run[%s] agent[%s] hands over to agent[%s]", run->turn->run_id, from->id, to->id);
    run->calls.begun = false; /* the round has ended: no completion ends it again */
    ac_run_cost_move(run, to);
    ac_gate_leave(&run->ask.entry);
    run->ask.entry.gate = NULL;
    handoff_instruct(run->ask.messages, from, to);
    handoff_note(run->ask.messages, from, call);
    json_decref(run->turn->client.choice); /* it was for the first model call */
    run->turn->client.choice = NULL;
    run->agent = to;
    run->answer.handed_over = true;
    run->answer.n_rejected = 0;
}
