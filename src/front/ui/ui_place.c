/* SPDX-License-Identifier: Apache-2.0 */
/* Where a request belongs in its stored thread. A client knows its own messages by ids that it has made, which are kept
 * with them, and the assistant's by those of this server. */
#include "ui_internal.h"

#include <string.h>

static const json_t *last_question(const json_t *loaded)
{
    const json_t *list = json_object_get(loaded, "messages");
    for (size_t i = json_array_size(list); i-- > 0;) {
        const json_t *message = json_array_get(list, i);
        if (strcmp(ac_json_peek_string(message, "role", ""), "user") == 0) {
            return message;
        }
    }
    return NULL;
}

/* With the id of an answer or of a question; without one, the last question is answered again. */
static apr_status_t place_again(ac_request_place_t *place, ac_request_t *rq, const ac_ui_request_t *request,
                                const json_t *loaded)
{
    const char *id = request->message_id ? request->message_id : request->is_user ? request->id : "";
    const json_t *message = ac_request_thread_message(loaded, id);
    if (!message && !request->message_id) {
        message = last_question(loaded);
    }
    place->again = ac_json_peek_string(message, "id", NULL);
    return place->again ? APR_SUCCESS
                        : ac_err_set(&rq->err, AC_NOT_FOUND, "the thread has no message that could be answered again");
}

/* A new message, an edited one, or one that was sent before. */
static apr_status_t place_message(ac_request_place_t *place, ac_request_t *rq, const ac_ui_request_t *request,
                                  const json_t *loaded)
{
    const json_t *known = ac_request_thread_message(loaded, request->message_id ? request->message_id : request->id);
    if (request->message_id && !known) {
        return ac_err_set(&rq->err, AC_NOT_FOUND, "the thread has no message with this id, so it cannot be edited");
    }
    if (request->message_id) {
        place->parent = ac_json_peek_string(known, "parent_id", "");
    } else if (known && strcmp(ac_json_peek_string(known, "content", ""), request->parts.content) == 0) {
        place->run_id = ac_json_peek_string(known, "run_id", NULL);
    } else if (known) {
        place->parent = ac_json_peek_string(known, "parent_id", "");
    }
    return APR_SUCCESS;
}

apr_status_t ac_ui_place_find(ac_request_place_t *place, ac_request_t *rq, const ac_ui_request_t *request,
                              const json_t *loaded)
{
    memset(place, 0, sizeof(*place));
    if (request->regenerates) {
        return place_again(place, rq, request, loaded);
    }
    return request->is_user ? place_message(place, rq, request, loaded) : APR_SUCCESS;
}
