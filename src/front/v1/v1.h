/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of OpenAI's API, for clients that know no other one: an agent is a model there. Each file has the source
 * of its facts: the OpenAI API reference, and what its clients were measured to need. */
#ifndef AC_V1_H
#define AC_V1_H

#include "front/request/request.h"

/* The handlers of the routes; the file is named as the prefix. */
ac_route_fn ac_v1_models_list, ac_v1_models_get, ac_v1_chat_send, ac_v1_response_create, ac_v1_shown_get,
    ac_v1_shown_cancel, ac_v1_shown_delete, ac_v1_shown_input, ac_v1_conversation_create, ac_v1_conversation_get,
    ac_v1_conversation_update, ac_v1_conversation_delete, ac_v1_conversation_add, ac_v1_conversation_items_list,
    ac_v1_conversation_items_get, ac_v1_conversation_items_delete;

/* ---- v1_problem.c ---- */
extern const ac_protocol_t ac_v1_protocol;

/* ---- v1_dialect.c: the events of a run as chat completions ---- */
extern const ac_dialect_t ac_v1_dialect_chunk;

/* ---- v1_response_dialect.c: the events of a run as those of the Responses API ---- */
extern const ac_dialect_t ac_v1_dialect_response; /* of POST: an error before the first event is the answer */
extern const ac_dialect_t ac_v1_dialect_shown;    /* of others: a failed run is a response, too */

#endif
