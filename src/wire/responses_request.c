/* SPDX-License-Identifier: Apache-2.0 */
/* The Responses API: the body of a request. */
#include "openai_internal.h"

#include <math.h>
#include <string.h>

static const char *const limit_names[] = {"max_output_tokens", NULL};
static const char *const written_names[] = {"input",        "tools", "max_output_tokens", "previous_response_id",
                                            "conversation", NULL};

typedef struct input_t { /* the member `input` while it is written */
    ac_buf_t *out;
    const ac_model_ask_t *ask;
    const ac_responses_conf_t *conf;
    const json_t *answer; /* the last message of the assistant, to whose calls the results belong */
    bool any;
} input_t;

static ac_openai_body_t begin_item(input_t *input)
{
    ac_buf_add(input->out, ",", input->any);
    input->any = true;
    return (ac_openai_body_t){input->out, NULL, false};
}

static void responses_put_text(ac_openai_body_t *body, const char *name, const char *text)
{
    ac_openai_body_name(body, name);
    ac_buf_json(body->out, text, strlen(text));
}

/* ---- messages ---- */

static void responses_put_part(input_t *input, const json_t *part)
{
    const ac_model_image_t *image = ac_openai_body_image(input->ask, part);
    const char *type = ac_json_peek_string(part, "type", "");
    const json_t *given = json_object_get(part, "image_url");
    ac_openai_body_t body = {input->out, NULL, false};
    if (strcmp(type, "text") == 0) {
        responses_put_text(&body, "type", "input_text");
        responses_put_text(&body, "text", ac_json_peek_string(part, "text", ""));
    } else if (given) {
        responses_put_text(&body, "type", "input_image");
        ac_openai_body_name(&body, "image_url");
        if (image) {
            ac_openai_body_url(input->out, image);
        } else {
            const char *url = ac_json_peek_string(given, "url", "");
            ac_buf_json(input->out, url, strlen(url));
        }
        responses_put_text(&body, "detail", ac_json_peek_string(given, "detail", "auto"));
    } else {
        ac_openai_body_value(&body, part);
        return;
    }
    ac_buf_add(input->out, "}", 1);
}

static void put_said(input_t *input, const char *role, const json_t *content)
{
    ac_openai_body_t body = begin_item(input);
    const json_t *part;
    size_t i;
    responses_put_text(&body, "role", role);
    ac_openai_body_name(&body, "content");
    if (!json_is_array(content)) {
        const char *text = json_is_string(content) ? json_string_value(content) : "";
        ac_buf_json(input->out, text, strlen(text));
    } else {
        ac_buf_add(input->out, "[", 1);
        json_array_foreach((json_t *)content, i, part)
        {
            ac_buf_add(input->out, ",", i > 0);
            responses_put_part(input, part);
        }
        ac_buf_add(input->out, "]", 1);
    }
    ac_buf_add(input->out, "}", 1);
}

/* ---- calls and their results ---- */

static const char *carried_id(const json_t *message, size_t i, bool *papproval)
{
    const json_t *call = json_array_get(json_object_get(json_object_get(message, "carried"), "calls"), i);
    const char *own = ac_json_peek_string(json_array_get(json_object_get(message, "tool_calls"), i), "id", "");
    *papproval = json_is_true(json_object_get(call, "approval"));
    return ac_json_peek_string(call, "id", own);
}

static void responses_put_call(input_t *input, const json_t *message, size_t i)
{
    bool approval;
    const json_t *call = json_array_get(json_object_get(message, "tool_calls"), i);
    const json_t *function = json_object_get(call, "function");
    const char *id = carried_id(message, i, &approval), *arguments = ac_json_peek_string(function, "arguments", "");
    if (!call) {
        return;
    }
    ac_openai_body_t body = begin_item(input);
    responses_put_text(&body, "type", "function_call");
    responses_put_text(&body, "call_id", id);
    responses_put_text(&body, "name", ac_json_peek_string(function, "name", ""));
    responses_put_text(&body, "arguments", *arguments ? arguments : "{}");
    ac_buf_add(input->out, "}", 1);
}

/* The answer to a question of the service about a call of its own tool. */
static void put_approval(input_t *input, const char *id, size_t i, const json_t *message)
{
    const json_t *approved = json_object_get(json_object_get(input->answer, "carried"), "approved");
    bool yes = json_is_true(json_array_get(approved, i));
    ac_openai_body_t body = begin_item(input);
    responses_put_text(&body, "type", "mcp_approval_response");
    responses_put_text(&body, "approval_request_id", id);
    ac_openai_body_name(&body, "approve");
    ac_buf_str(input->out, yes ? "true" : "false");
    if (!yes) {
        responses_put_text(&body, "reason", ac_json_peek_string(message, "content", ""));
    }
    ac_buf_add(input->out, "}", 1);
}

static void put_result(input_t *input, const json_t *message)
{
    const char *id = ac_json_peek_string(message, "tool_call_id", "");
    const json_t *calls = json_object_get(input->answer, "tool_calls");
    bool approval = false;
    for (size_t i = 0; i < json_array_size(calls); i++) {
        if (strcmp(ac_json_peek_string(json_array_get(calls, i), "id", ""), id) == 0) {
            id = carried_id(input->answer, i, &approval);
            if (approval) {
                put_approval(input, id, i, message);
                return;
            }
            break;
        }
    }
    ac_openai_body_t body = begin_item(input);
    responses_put_text(&body, "type", "function_call_output");
    responses_put_text(&body, "call_id", id);
    responses_put_text(&body, "output", ac_json_peek_string(message, "content", ""));
    ac_buf_add(input->out, "}", 1);
}

/* ---- answers of the model ---- */

static void put_spoken(input_t *input, const json_t *item)
{
    const json_t *part;
    size_t i;
    json_array_foreach(json_object_get(item, "content"), i, part)
    {
        const json_t *text = json_object_get(part, "text");
        text = text ? text : json_object_get(part, "refusal");
        if (json_string_length(text)) {
            put_said(input, "assistant", text);
        }
    }
}

/* Which of the message's calls the item is. */
static size_t responses_index(const json_t *message, const json_t *item)
{
    const json_t *calls = json_object_get(json_object_get(message, "carried"), "calls"), *call;
    const char *id = ac_json_peek_string(item, "call_id", ac_json_peek_string(item, "id", ""));
    size_t i;
    json_array_foreach((json_t *)calls, i, call)
    {
        if (strcmp(ac_json_peek_string(call, "id", ""), id) == 0) {
            break;
        }
    }
    return i;
}

/* The items of an answer that the service has not stored, in their order. A reasoning item is worth something with its
 * encrypted content only; ids of items that are not stored are left out. */
static void responses_put_items(input_t *input, const json_t *message, const json_t *items)
{
    const json_t *item;
    size_t i;
    json_array_foreach((json_t *)items, i, item)
    {
        const char *type = ac_json_peek_string(item, "type", "");
        bool lost = strcmp(type, "reasoning") == 0 && !json_is_string(json_object_get(item, "encrypted_content"));
        if (strcmp(type, "message") == 0) {
            put_spoken(input, item);
        } else if (strcmp(type, "function_call") == 0) {
            responses_put_call(input, message, responses_index(message, item));
        } else if (!lost) {
            ac_openai_body_t body = begin_item(input);
            ac_openai_body_value(&body, item);
        }
    }
}

static void responses_put_answer(input_t *input, const json_t *message)
{
    const json_t *items = json_object_get(json_object_get(message, "carried"), "items");
    const json_t *content = json_object_get(message, "content");
    size_t n = json_array_size(json_object_get(message, "tool_calls"));
    if (json_array_size(items)) {
        responses_put_items(input, message, items);
        return;
    }
    if (json_string_length(content)) {
        put_said(input, "assistant", content);
    }
    for (size_t i = 0; i < n; i++) {
        responses_put_call(input, message, i);
    }
}

/* ---- the input ---- */

static void responses_put_message(input_t *input, const json_t *message, bool skip)
{
    const char *role = ac_json_peek_string(message, "role", "user");
    if (strcmp(role, "assistant") == 0) {
        input->answer = message;
    }
    if (skip) {
        return;
    }
    if (strcmp(role, "assistant") == 0) {
        responses_put_answer(input, message);
    } else if (strcmp(role, "tool") == 0) {
        put_result(input, message);
    } else if (strcmp(role, "system") != 0) {
        put_said(input, role, json_object_get(message, "content"));
    } else if (input->conf->agent) {
        put_said(input, "developer", json_object_get(message, "content"));
    }
}

/* The number of messages that the service knows by the id of its last answer, which *pid is; 0: none. */
static size_t known_messages(const json_t *messages, const char **pid)
{
    for (size_t i = json_array_size(messages); i-- > 0;) {
        *pid = ac_json_peek_string(json_object_get(json_array_get(messages, i), "carried"), "response", NULL);
        if (*pid) {
            return i + 1;
        }
    }
    return 0;
}

static void put_input(ac_openai_body_t *body, const ac_model_ask_t *ask, const ac_responses_conf_t *conf, size_t known)
{
    input_t input = {body->out, ask, conf, NULL, false};
    const json_t *message;
    size_t i;
    ac_openai_body_name(body, "input");
    ac_buf_add(body->out, "[", 1);
    json_array_foreach((json_t *)ask->messages, i, message) responses_put_message(&input, message, i < known);
    ac_buf_add(body->out, "]", 1);
}

/* ---- the members beside it ---- */

/* An answer does not inherit the instructions of the one that it continues. */
static void put_instructions(ac_openai_body_t *body, const json_t *messages)
{
    ac_buf_t text;
    const json_t *message;
    size_t i;
    ac_buf_init(&text, AC_MAX_REQUEST);
    json_array_foreach((json_t *)messages, i, message)
    {
        if (strcmp(ac_json_peek_string(message, "role", ""), "system") == 0) {
            ac_buf_str(&text, text.len ? "\n\n" : "");
            ac_buf_str(&text, ac_json_peek_string(message, "content", ""));
        }
    }
    if (text.len) {
        ac_openai_body_default(body, "instructions", ac_json_text(text.data));
    }
    ac_buf_free(&text);
}

/* A function without the object around it. */
static void put_tool(ac_openai_body_t *body, const json_t *tool)
{
    static const char *const copied[] = {"name", "description", "parameters", NULL};
    const json_t *function = json_object_get(tool, "function");
    ac_openai_body_t inner = {body->out, NULL, false};
    responses_put_text(&inner, "type", "function");
    for (int i = 0; copied[i]; i++) {
        const json_t *value = json_object_get(function, copied[i]);
        if (value) {
            ac_openai_body_put(&inner, copied[i], value);
        }
    }
    ac_openai_body_name(&inner, "strict"); /* without it the service decides, and changes the schema */
    ac_buf_str(body->out, json_is_true(json_object_get(function, "strict")) ? "true}" : "false}");
}

/* {type, function: {name}} becomes {type, name}, in a list of allowed tools as well. */
static json_t *flat_choice(const json_t *choice)
{
    const json_t *function = json_object_get(choice, "function"), *allowed = json_object_get(choice, "allowed_tools");
    const json_t *tool;
    size_t i;
    if (function) {
        return json_pack("{s:s, s:s}", "type", "function", "name", ac_json_peek_string(function, "name", ""));
    }
    if (!allowed) {
        return json_incref((json_t *)choice);
    }
    json_t *tools = json_array();
    json_array_foreach(json_object_get(allowed, "tools"), i, tool) json_array_append_new(tools, flat_choice(tool));
    return json_pack("{s:s, s:s, s:o}", "type", "allowed_tools", "mode", ac_json_peek_string(allowed, "mode", "auto"),
                     "tools", tools);
}

static void responses_put_tools(ac_openai_body_t *body, const ac_model_ask_t *ask)
{
    const json_t *tool;
    size_t i;
    if (!json_array_size(ask->tools)) {
        return;
    }
    ac_openai_body_name(body, "tools");
    ac_buf_add(body->out, "[", 1);
    json_array_foreach((json_t *)ask->tools, i, tool)
    {
        ac_buf_add(body->out, ",", i > 0);
        put_tool(body, tool);
    }
    ac_buf_add(body->out, "]", 1);
    if (ask->no_calls) {
        responses_put_text(body, "tool_choice", "none");
    } else if (ask->tool_choice) {
        json_t *choice = flat_choice(ask->tool_choice);
        ac_openai_body_put(body, "tool_choice", choice);
        json_decref(choice);
    }
    if (ask->one_call) {
        ac_openai_body_name(body, "parallel_tool_calls");
        ac_buf_str(body->out, "false");
    }
}

/* {type, json_schema: {name, schema, strict}} becomes {type, name, schema, strict}. */
static void responses_put_format(ac_openai_body_t *body, const json_t *format)
{
    json_t *flat = json_copy(json_object_get(format, "json_schema"));
    flat = flat ? flat : json_object();
    ac_json_put(flat, "type", json_incref(json_object_get(format, "type")));
    ac_openai_body_default(body, "text", json_pack("{s:o}", "format", flat));
}

/* An agent of Foundry brings all this itself, and the service refuses a request that says it. */
static void put_settings(ac_openai_body_t *body, const ac_model_ask_t *ask, const ac_responses_conf_t *conf)
{
    if (conf->agent) {
        json_t *agent = json_pack("{s:s, s:s}", "type", "agent_reference", "name", conf->agent);
        ac_json_put(agent, "version", conf->version ? ac_json_text(conf->version) : NULL);
        ac_openai_body_default(body, "agent_reference", agent);
        return;
    }
    if (conf->model) {
        ac_openai_body_default(body, "model", ac_json_text(conf->model));
    }
    put_instructions(body, ask->messages);
    responses_put_tools(body, ask);
    if (!isnan(ask->temperature)) {
        ac_openai_body_default(body, "temperature", json_real(ask->temperature));
    }
    ac_openai_body_limit(body, limit_names, ask->max_tokens);
    if (ask->response_format) {
        responses_put_format(body, ask->response_format);
    }
    if (conf->effort || conf->summary) {
        ac_openai_body_default(body, "reasoning",
                               json_pack("{s:s*, s:s*}", "effort", conf->effort, "summary", conf->summary));
    }
}

apr_status_t ac_responses_request(ac_buf_t *out, const ac_model_ask_t *ask, const ac_responses_conf_t *conf,
                                  bool *pchain, ac_err_t *err)
{
    ac_openai_body_t body = {out, conf->params, false};
    const char *previous = NULL;
    size_t known = *pchain && conf->store ? known_messages(ask->messages, &previous) : 0;
    *pchain = known > 0;
    if (ask->n_images) {
        ac_openai_body_reserve(out, ask);
    }
    put_settings(&body, ask, conf);
    put_input(&body, ask, conf, known);
    if (known) {
        responses_put_text(&body, "previous_response_id", previous);
    }
    ac_openai_body_default(&body, "store", json_boolean(conf->store));
    if (!conf->store) {
        ac_openai_body_default(&body, "include", json_pack("[s]", "reasoning.encrypted_content"));
    }
    ac_openai_body_default(&body, "stream", json_true());
    ac_openai_body_params(&body, ask, written_names);
    ac_buf_add(out, "}", 1);
    if (out->failed) {
        return ac_err_set(err, AC_CONTEXT_LENGTH, "the conversation is too large to be sent to the model");
    }
    return APR_SUCCESS;
}
