/* SPDX-License-Identifier: Apache-2.0 */
/* Events made from stored documents. Pure. */
#include "follow_internal.h"

#include <string.h>

apr_time_t ac_stored_event_time(const json_t *object, const char *name)
{
    apr_time_t when;
    return ac_time_parse(&when, ac_json_peek_string(object, name, "")) ? when : 0;
}

static void stored_event_copy(json_t *to, const char *name, const json_t *from, const char *member)
{
    json_t *value = json_object_get(from, member);
    ac_json_put(to, name, value ? json_incref(value) : json_null());
}

static ac_event_t *terminal_error(const json_t *run)
{
    const json_t *error = json_object_get(run, "error");
    const char *code = ac_json_peek_string(error, "code", "interrupted");
    json_t *data = json_object();
    ac_json_put(data, "code", ac_json_text(code));
    ac_json_put(data, "message", ac_json_text(ac_json_peek_string(error, "message", "the run was interrupted")));
    stored_event_copy(data, "run_id", run, "id");
    ac_event_t *event = ac_event_create(AC_EVENT_ERROR, data, NULL, 0);
    if (event) {
        event->kind = ac_err_kind_by_code(code);
    }
    if (event && !event->kind) {
        event->kind = AC_INTERRUPTED;
    }
    return event;
}

ac_event_t *ac_stored_event_terminal(const json_t *run, json_t *message)
{
    const char *status = ac_json_peek_string(run, "status", "");
    const char *text = ac_json_peek_string(message, "content", "");
    if (strcmp(status, "completed") != 0 && strcmp(status, "cancelled") != 0) {
        return terminal_error(run);
    }
    json_t *data = json_object();
    stored_event_copy(data, "run_id", run, "id");
    stored_event_copy(data, "thread_id", run, "thread_id");
    ac_json_put(data, "message_id", ac_json_text(ac_json_peek_string(message, "id", NULL)));
    ac_json_put(data, "tokens_used", json_integer(ac_json_peek_int(json_object_get(run, "usage"), "total_tokens", 0)));
    stored_event_copy(data, "usage", run, "usage");
    stored_event_copy(data, "cost", run, "cost");
    ac_json_put(data, "status", ac_json_text(status));
    stored_event_copy(data, "finish_reason", json_object_get(message, "metadata"), "finish_reason");
    json_t *sources = json_object_get(json_object_get(message, "metadata"), "sources");
    if (sources) {
        ac_json_put(data, "sources", json_incref(sources));
    }
    json_t *calls = ac_client_tools_calls(message);
    if (calls) {
        ac_json_put(data, "client_calls", calls);
    }
    ac_event_t *event = ac_event_create(AC_EVENT_DONE, data, text, strlen(text));
    if (event && json_is_object(message)) {
        event->message = json_incref(message);
    }
    return event;
}
