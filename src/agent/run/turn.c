/* SPDX-License-Identifier: Apache-2.0 */
/* What a client asks for, on its way to a run. */
#include "agent/agent.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

ac_turn_t *ac_turn_create(const ac_agent_t *agent, const char *owner, const char *content)
{
    ac_turn_t *turn = ac_alloc(sizeof *turn);
    turn->agent = agent;
    turn->leave = -1;
    turn->key_since = apr_time_now() - AC_KEY_LIFE;
    apr_cpystrn(turn->owner, owner, sizeof turn->owner);
    turn->content = strdup(content);
    ac_id_make(turn->run_id, "run_");
    ac_id_make(turn->message_id, "msg_");
    if (!turn->content) {
        free(turn);
        return NULL;
    }
    return turn;
}

void ac_turn_set_trace(ac_turn_t *turn, const ac_trace_t *trace)
{
    ac_trace_clear(&turn->trace);
    ac_trace_copy(&turn->trace, trace);
}

int ac_turn_max_tokens(const ac_turn_t *turn, const ac_agent_t *agent)
{
    int most = agent->max_tokens, wanted = turn->max_tokens;
    return wanted && (!most || wanted < most) ? wanted : most;
}

void ac_turn_free(ac_turn_t *turn)
{
    if (!turn) {
        return;
    }
    ac_trace_clear(&turn->trace);
    free(turn->content);
    free(turn->key);
    free(turn->instructions);
    ac_client_tools_free(&turn->client);
    json_decref(turn->format);
    json_decref(turn->webhook);
    json_decref(turn->metadata);
    json_decref(turn->history);
    json_decref(turn->attachments);
    json_decref(turn->file_limits);
    ac_files_memory_unref(turn->files);
    ac_agents_unref(turn->agents);
    ac_quota_unref(turn->quota);
    ac_run_summary_unref(turn->summary);
    free(turn);
}
