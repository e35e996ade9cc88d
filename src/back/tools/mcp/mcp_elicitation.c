/* SPDX-License-Identifier: Apache-2.0 */
/* A question that a server asks on the stream of a call. A run that awaits a person is in no process's memory, so the
 * stream is left, and the question keeps what any process needs to answer it and to resume the stream. Source: revision
 * 2025-11-25, "Elicitation" and "Resumability and Redelivery". */
#include "mcp_internal.h"

#include <string.h>

#define KEY "answer"

json_t *ac_mcp_elicitation_make(const ac_mcp_elicitation_t *elicitation, const json_t *params)
{
    json_t *given =
        json_pack("{s:{s:{s:s, s:O?}}}", "inputRequests", KEY, "method", AC_MCP_ELICITATION, "params", params);
    json_t *question = NULL, *state;
    ac_err_t err;
    ac_err_init(&err);
    if (ac_mcp_question_read(&question, &state, given, &err) == APR_SUCCESS && question) {
        ac_json_put(question, "stream",
                    json_pack("{s:O, s:s?, s:s, s:s, s:I}", "id", elicitation->id, "session", elicitation->session,
                              "version", elicitation->version, "event", elicitation->last_event_id, "request",
                              (json_int_t)elicitation->request));
    }
    json_decref(given);
    return question;
}

bool ac_mcp_elicitation_read(ac_mcp_elicitation_t *elicitation, const json_t *question)
{
    const json_t *stream = json_object_get(question, "stream");
    *elicitation = (ac_mcp_elicitation_t){
        .id = json_object_get(stream, "id"),
        .result = json_object_get(json_object_get(question, "answers"), KEY),
        .session = ac_json_peek_string(stream, "session", NULL),
        .version = ac_json_peek_string(stream, "version", NULL),
        .last_event_id = ac_json_peek_string(stream, "event", NULL),
        .request = ac_json_peek_int(stream, "request", 0),
    };
    return elicitation->id && elicitation->result && elicitation->version && elicitation->last_event_id &&
        elicitation->request > 0;
}

char *ac_mcp_elicitation_response(const ac_mcp_elicitation_t *elicitation)
{
    return ac_mcp_message_response(elicitation->id, json_incref((json_t *)elicitation->result));
}

void ac_mcp_elicitation_decline(void *self, const json_t *question)
{
    ac_mcp_bound_t *bound = self;
    ac_mcp_elicitation_t elicitation;
    const char *server = ac_json_peek_string(question, "server", "");
    /* The tool of this name may be another server's by now, which must not get the session. */
    if (strcmp(server, bound->use->server->conf->id) != 0 || !ac_mcp_elicitation_read(&elicitation, question)) {
        return;
    }
    ac_mcp_use_adopt(bound->use, &elicitation);
    ac_mcp_request_post(bound->use->server, elicitation.version, elicitation.session,
                        ac_mcp_message_response(elicitation.id, json_pack("{s:s}", "action", "decline")));
}
