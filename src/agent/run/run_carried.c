/* SPDX-License-Identifier: Apache-2.0 */
/* What a model wants back of its answers: its own data for the next round of a run, and the id by which its service
 * knows an answer, for later turns. Only the model that has made it gets it. */
#include "run_internal.h"

#include <string.h>

void ac_run_carried_take(ac_run_t *run, const ac_model_end_t *end)
{
    json_decref(run->ask.carried);
    run->ask.carried = NULL;
    if (end->status != APR_SUCCESS || (!end->carried && !end->response[0])) {
        return;
    }
    run->ask.carried = end->carried ? json_copy((json_t *)end->carried) : json_object();
    ac_json_put(run->ask.carried, "model", ac_json_text(run->ask.entry.gate->model->id));
    if (end->response[0]) {
        ac_json_put(run->ask.carried, "response", ac_json_text(end->response));
    }
}

void ac_run_carried_put(ac_run_t *run, json_t *message)
{
    json_t *approved = json_array();
    bool any = false;
    for (int i = 0; i < run->calls.n; i++) {
        const ac_call_t *call = run->calls.list[i];
        any = any || call->hosted;
        json_array_append_new(approved, call->hosted ? json_boolean(call->approved && !call->error) : json_null());
    }
    if (run->ask.carried) {
        if (any) {
            ac_json_put(run->ask.carried, "approved", json_incref(approved));
        }
        ac_json_put(message, "carried", run->ask.carried);
        run->ask.carried = NULL;
    }
    json_decref(approved);
}

static bool carried_is_foreign(const json_t *message, const ac_model_t *model)
{
    const json_t *carried = json_object_get(message, "carried");
    return carried && strcmp(ac_json_peek_string(carried, "model", ""), model->id) != 0;
}

json_t *ac_run_carried_shown(json_t *messages, const ac_model_t *model)
{
    json_t *shown, *message;
    size_t i, n_foreign = 0;
    json_array_foreach(messages, i, message) n_foreign += carried_is_foreign(message, model);
    if (!n_foreign) {
        return messages;
    }
    shown = json_array();
    json_array_foreach(messages, i, message)
    {
        json_t *copy = carried_is_foreign(message, model) ? json_copy(message) : json_incref(message);
        if (copy != message) {
            json_object_del(copy, "carried");
        }
        json_array_append_new(shown, copy);
    }
    json_decref(messages);
    return shown;
}

json_t *ac_run_carried_response(const ac_run_t *run)
{
    json_t *id = json_object_get(run->ask.carried, "response");
    if (!id || run->outcome != AC_RUN_COMPLETED) {
        return NULL;
    }
    return json_pack("{s:O, s:O}", "model", json_object_get(run->ask.carried, "model"), "id", id);
}
