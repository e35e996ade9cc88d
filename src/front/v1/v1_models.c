/* SPDX-License-Identifier: Apache-2.0 */
/* Models: the agents that can answer. Some clients show `name` and `description`, which are not OpenAI's. */
#include "v1_internal.h"

static json_t *model_json(const ac_agent_t *agent)
{
    json_t *model = json_object();
    ac_json_put(model, "id", ac_json_text(agent->id));
    ac_json_put(model, "object", json_string("model"));
    ac_json_put(model, "created", json_integer(apr_time_sec(ac_child()->started)));
    ac_json_put(model, "owned_by", json_string("agentchat"));
    ac_json_put(model, "name", ac_json_text(agent->name && *agent->name ? agent->name : agent->id));
    ac_json_put(model, "description", ac_json_text(agent->description ? agent->description : ""));
    return model;
}

int ac_v1_models_list(ac_request_t *rq)
{
    const ac_agents_t *agents;
    json_t *models = json_array(), *shown, *agent;
    size_t i;
    rq->doing = "listing agents";
    if (ac_request_agents_load(rq, &agents, true) != APR_SUCCESS) {
        json_decref(models);
        return ac_reply_problem(rq, NULL);
    }
    shown = ac_agents_json(agents, false);
    json_array_foreach(shown, i, agent)
    {
        const ac_agent_t *found = ac_agents_find(agents, ac_json_peek_string(agent, "id", ""));
        if (found && !ac_agent_problem(found)) {
            json_array_append_new(models, model_json(found));
        }
    }
    json_decref(shown);
    return ac_reply_json(rq, HTTP_OK, json_pack("{s:s, s:o}", "object", "list", "data", models));
}

int ac_v1_models_get(ac_request_t *rq)
{
    const ac_agent_t *agent;
    if (ac_request_agents_find(rq, &agent, rq->args[0], "/model", true) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return ac_reply_json(rq, HTTP_OK, model_json(agent));
}
