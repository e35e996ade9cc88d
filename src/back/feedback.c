/* SPDX-License-Identifier: Apache-2.0 */
/* What all stores do with feedback: what is stored of it, and which of it a list shows. */
#include "back.h"

#include <string.h>

static json_t *text_or_null(const json_t *object, const char *name)
{
    json_t *value = json_object_get(object, name);
    return json_is_string(value) ? json_incref(value) : json_null();
}

apr_status_t ac_feedback_make(json_t **pmade, json_t **pout, ac_store_op_t *op, const json_t *before, const json_t *run)
{
    static const char *const given[] = {"rating", "reason", "comment", "at"}, *const known[] = {"agent_id", "model"};
    const char *rating = ac_json_peek_string(op->in, "rating", NULL);
    json_t *made = rating ? json_object() : NULL, *out = json_object();
    bool fine = ac_json_put(out, "before", text_or_null(before, "rating"));

    *pmade = NULL;
    if (rating && strcmp(rating, "up") != 0 && strcmp(rating, "down") != 0) {
        json_decref(made);
        json_decref(out);
        return ac_err_set_at(&op->err, AC_INVALID_REQUEST, "/rating", "rating must be up, down or null");
    }
    for (int i = 0; made && i < 4; i++) {
        fine = ac_json_put(made, given[i], text_or_null(op->in, given[i])) && fine;
    }
    for (int i = 0; i < 2; i++) {
        fine = ac_json_put(out, known[i], text_or_null(run, known[i])) && fine;
        fine = (!made || ac_json_put(made, known[i], text_or_null(run, known[i]))) && fine;
    }
    if (!fine) {
        json_decref(made);
        json_decref(out);
        return ac_err_set(&op->err, AC_INTERNAL, "out of memory");
    }
    *pmade = made;
    *pout = out;
    return APR_SUCCESS;
}

bool ac_feedback_wanted(const json_t *in, const json_t *feedback)
{
    const char *agent_id = ac_json_peek_string(in, "agent_id", NULL), *rating = ac_json_peek_string(in, "rating", NULL);

    return (!agent_id || strcmp(ac_json_peek_string(feedback, "agent_id", ""), agent_id) == 0) &&
        (!rating || strcmp(ac_json_peek_string(feedback, "rating", ""), rating) == 0);
}
