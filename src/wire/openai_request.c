/* SPDX-License-Identifier: Apache-2.0 */
/* Chat completions: the body of a request. */
#include "openai_internal.h"

#include <math.h>
#include <string.h>

static const char *const limit_names[] = {"max_completion_tokens", "max_tokens", NULL};
/* The run supplies the conversation; a model's params cannot replace it. */
static const char *const written_names[] = {"messages", "tools", "max_completion_tokens", "max_tokens", NULL};

static void openai_request_put_part(const ac_openai_body_t *body, const ac_model_ask_t *ask, const json_t *part)
{
    const ac_model_image_t *image = ac_openai_body_image(ask, part);
    const json_t *detail = json_object_get(json_object_get(part, "image_url"), "detail");
    if (!image) {
        ac_openai_body_value(body, part);
        return;
    }
    ac_buf_str(body->out, "{\"type\":\"image_url\",\"image_url\":{\"url\":");
    ac_openai_body_url(body->out, image);
    if (detail) {
        ac_buf_str(body->out, ",\"detail\":");
        ac_openai_body_value(body, detail);
    }
    ac_buf_str(body->out, "}}");
}

static void put_message(const ac_openai_body_t *body, const ac_model_ask_t *ask, const json_t *message)
{
    ac_openai_body_t inner = {body->out, NULL, false};
    const json_t *value, *part;
    const char *name;
    size_t i;
    json_object_foreach((json_t *)message, name, value)
    {
        ac_openai_body_name(&inner, name);
        if (strcmp(name, "content") != 0 || !json_is_array(value)) {
            ac_openai_body_value(&inner, value);
            continue;
        }
        ac_buf_add(body->out, "[", 1);
        json_array_foreach((json_t *)value, i, part)
        {
            ac_buf_add(body->out, ",", i > 0);
            openai_request_put_part(&inner, ask, part);
        }
        ac_buf_add(body->out, "]", 1);
    }
    ac_buf_str(body->out, inner.open ? "}" : "{}");
}

static void openai_request_put_messages(ac_openai_body_t *body, const ac_model_ask_t *ask)
{
    const json_t *message;
    size_t i;
    ac_openai_body_name(body, "messages");
    ac_buf_add(body->out, "[", 1);
    json_array_foreach((json_t *)ask->messages, i, message)
    {
        ac_buf_add(body->out, ",", i > 0);
        put_message(body, ask, message);
    }
    ac_buf_add(body->out, "]", 1);
}

static void openai_request_put_tools(ac_openai_body_t *body, const ac_model_ask_t *ask)
{
    if (!json_array_size(ask->tools)) {
        return;
    }
    ac_openai_body_put(body, "tools", ask->tools);
    if (ask->no_calls) {
        ac_openai_body_name(body, "tool_choice");
        ac_buf_str(body->out, "\"none\"");
    } else if (ask->tool_choice) {
        ac_openai_body_put(body, "tool_choice", ask->tool_choice);
    }
    if (ask->one_call) {
        ac_openai_body_name(body, "parallel_tool_calls");
        ac_buf_str(body->out, "false");
    }
}

apr_status_t ac_openai_request(ac_buf_t *body, const ac_model_ask_t *ask, const char *model, const json_t *params,
                               ac_err_t *err)
{
    ac_openai_body_t writer = {body, params, false};
    const json_t *stream = json_object_get(params, "stream");
    if (model) {
        ac_openai_body_default(&writer, "model", ac_json_text(model));
    }
    if (ask->n_images) {
        ac_openai_body_reserve(body, ask);
        openai_request_put_messages(&writer, ask);
    } else {
        ac_openai_body_put(&writer, "messages", ask->messages);
    }
    openai_request_put_tools(&writer, ask);
    if (ask->response_format) {
        ac_openai_body_default(&writer, "response_format", json_incref((json_t *)ask->response_format));
    }
    if (!isnan(ask->temperature)) {
        ac_openai_body_default(&writer, "temperature", json_real(ask->temperature));
    }
    ac_openai_body_limit(&writer, limit_names, ask->max_tokens);
    ac_openai_body_default(&writer, "stream", json_true());
    if (!stream || json_is_true(stream)) { /* refused without stream */
        ac_openai_body_default(&writer, "stream_options", json_pack("{s:b}", "include_usage", 1));
    }
    ac_openai_body_params(&writer, ask, written_names);
    ac_buf_add(body, "}", 1);
    if (body->failed) {
        return ac_err_set(err, AC_CONTEXT_LENGTH, "the conversation is too large to be sent to the model");
    }
    return APR_SUCCESS;
}
