/* SPDX-License-Identifier: Apache-2.0 */
/* GET /agui/{agent}: what the agent can do, as AgentCapabilities. A member that is absent is not known there. */
#include "agui_internal.h"

static json_t *capability_of(const ac_tool_t *tool)
{
    json_t *own = json_object();
    ac_json_put(own, "name", ac_json_text(tool->id));
    ac_json_put(own, "description", ac_json_text(tool->description ? tool->description : ""));
    if (tool->parameters) {
        ac_json_put(own, "parameters", json_incref(tool->parameters));
    }
    return own;
}

int ac_agui_capabilities_get(ac_request_t *rq)
{
    const ac_agent_t *agent;
    bool approvals = false, passes = rq->mount->agui.client_tools == AC_AGUI_TOOLS_PASS;
    json_t *items = json_array(), *identity = json_object(), *all;
    rq->doing = "showing the agent";
    if (ac_request_agents_find(rq, &agent, rq->args[0], "", true) != APR_SUCCESS) {
        json_decref(items);
        json_decref(identity);
        return ac_reply_problem(rq, NULL);
    }
    for (int i = 0; i < agent->n_tools; i++) {
        approvals = approvals || agent->tools[i]->conf->approval;
        json_array_append_new(items, capability_of(agent->tools[i]));
    }
    ac_json_put(identity, "name", ac_json_text(agent->name && *agent->name ? agent->name : agent->id));
    ac_json_put(identity, "type", json_string("mod_agentchat"));
    ac_json_put(identity, "description", ac_json_text(agent->description ? agent->description : ""));
    ac_json_put(identity, "version", json_string(AC_VERSION));
    all = json_pack("{s:o, s:{s:b}, s:{s:b, s:o, s:b, s:b}, s:{s:b, s:b, s:b}, s:{s:b, s:b, s:b, s:b}, s:{s:i}}",
                    "identity", identity, "transport", "streaming", 1, "tools", "supported",
                    agent->n_tools > 0 || passes, "items", items, "parallelCalls", 1, "clientProvided", passes, "state",
                    "snapshots", 0, "deltas", 0, "persistentState", 1, "humanInTheLoop", "supported", approvals,
                    "approvals", approvals, "interrupts", approvals, "approveWithEdits", 0, "execution",
                    "maxIterations", agent->max_rounds);
    return ac_reply_json(rq, HTTP_OK, all);
}
