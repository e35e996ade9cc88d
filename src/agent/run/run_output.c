/* SPDX-License-Identifier: Apache-2.0 */
/* The form that the answer must have: JSON, perhaps with a schema. Such an answer is shown when it is checked, and
 * asked for once more if it does not fit. */
#include "run_internal.h"

#include <string.h>

static bool has_type(const json_t *format, const char *type)
{
    return strcmp(ac_json_peek_string(format, "type", ""), type) == 0;
}

bool ac_run_output_is_json(const ac_run_t *run)
{
    return run->turn->format ? !has_type(run->turn->format, "text") : run->agent && run->agent->output_schema;
}

/* NULL: any JSON object. */
static const json_t *schema_of_answer(const ac_run_t *run)
{
    const json_t *format = run->turn->format;
    return !format                        ? run->agent->output_schema
        : has_type(format, "json_schema") ? json_object_get(json_object_get(format, "json_schema"), "schema")
                                          : NULL;
}

json_t *ac_run_output_format(const ac_run_t *run)
{
    if (!ac_run_output_is_json(run)) {
        return NULL;
    }
    return run->turn->format ? json_incref(run->turn->format)
                             : json_pack("{s:s, s:{s:s, s:O}}", "type", "json_schema", "json_schema", "name", "answer",
                                         "schema", run->agent->output_schema);
}

apr_status_t ac_run_output_check(const ac_run_t *run, ac_finish_e finish, ac_err_t *err)
{
    const ac_buf_t *text = &run->answer.text;
    json_t *value = NULL;
    ac_err_t why;
    ac_err_init(&why);
    if (!ac_run_output_is_json(run)) {
        return APR_SUCCESS;
    }
    if (finish == AC_FINISH_LENGTH) {
        return ac_err_set(err, AC_OUTPUT_INVALID, "the answer was cut at its maximum length before its JSON ended");
    }
    apr_status_t status = ac_json_parse(&value, text->len ? text->data : "", text->len, &why);
    if (status == APR_SUCCESS && !schema_of_answer(run) && !json_is_object(value)) {
        status = ac_err_set(&why, AC_INVALID_REQUEST, "the value must be of type object");
    } else if (status == APR_SUCCESS) {
        status = ac_schema_check(schema_of_answer(run), value, &why);
    }
    json_decref(value);
    return status == APR_SUCCESS ? status
                                 : ac_err_set(err, AC_OUTPUT_INVALID, "the answer does not fit its form: %s%s%s",
                                              why.pointer, why.pointer[0] ? ": " : "", why.detail);
}

void ac_run_output_reject(ac_run_t *run, const ac_err_t *why)
{
    const json_t *schema = schema_of_answer(run);
    char *form = schema ? ac_json_dump(schema, NULL) : NULL;
    json_t *step = json_array_get(run->answer.steps, json_array_size(run->answer.steps) - 1);
    ac_json_put(step, "status", json_string("failed"));
    ac_json_put(step, "error", ac_json_text(why->detail));
    if (run->answer.text.len) {
        json_t *message = json_pack("{s:s, s:s}", "role", "assistant", "content", run->answer.text.data);
        ac_run_carried_put(run, message);
        json_array_append_new(run->ask.messages, message);
    }
    json_array_append_new(run->ask.messages,
                          json_pack("{s:s, s:o}", "role", "user", "content",
                                    json_sprintf("This was not accepted: %s. Answer with nothing but JSON%s%s",
                                                 why->detail, form ? " that fits this JSON Schema: " : ".",
                                                 form ? form : "")));
    free(form);
    run->answer.n_rejected++;
    ac_buf_clear(&run->answer.text);
}
