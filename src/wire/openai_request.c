/* SPDX-License-Identifier: Apache-2.0 */
/* Chat completions: the body of a request, written directly into the buffer from which it is sent. */
#include "wire.h"

#include <math.h>
#include <string.h>

#include <openssl/evp.h>

#define REST_OF_BODY (64 * 1024) /* of a request with images, as a guess */

static const char *const limit_names[] = {"max_completion_tokens", "max_tokens", NULL};
/* The run supplies the conversation; a model's params cannot replace it. */
static const char *const fixed_names[] = {"messages", "tools", NULL};
/* Upstreams refuse these without tools. */
static const char *const tool_names[] = {"tool_choice", "parallel_tool_calls", NULL};

typedef struct writer_t {
    ac_buf_t *body;
    const json_t *params;
    bool first;
} writer_t;

static bool openai_request_is_among(const char *name, const char *const *names)
{
    while (*names && strcmp(*names, name) != 0) {
        names++;
    }
    return *names != NULL;
}

static int dump_piece(const char *bytes, size_t len, void *baton)
{
    return ac_buf_add(baton, bytes, len) == APR_SUCCESS ? 0 : -1;
}

static void put_value(writer_t *writer, const json_t *value)
{
    /* 15 digits: a configured 0.7 is sent as 0.7. */
    if (json_dump_callback(value, dump_piece, writer->body, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15))) {
        writer->body->failed = true;
    }
}

static void put_name(writer_t *writer, const char *name)
{
    ac_buf_add(writer->body, writer->first ? "{" : ",", 1);
    writer->first = false;
    ac_buf_json(writer->body, name, strlen(name));
    ac_buf_add(writer->body, ":", 1);
}

static void openai_request_put(writer_t *writer, const char *name, const json_t *value)
{
    put_name(writer, name);
    put_value(writer, value);
}

/* Sets a default, unless params has a member of that name (null included). Consumes value. */
static void put_default(writer_t *writer, const char *name, json_t *value)
{
    if (!value) {
        writer->body->failed = true;
    } else if (!json_object_get(writer->params, name)) {
        openai_request_put(writer, name, value);
    }
    json_decref(value);
}

/* The member under which the token limit is sent; NULL: params removes it. */
static const char *limit_name(const json_t *params)
{
    for (int i = 0; limit_names[i]; i++) {
        const json_t *value = json_object_get(params, limit_names[i]);
        if (value && !json_is_null(value)) {
            return limit_names[i];
        }
    }
    return json_object_get(params, limit_names[0]) ? NULL : limit_names[0];
}

static void put_limit(writer_t *writer, int max_tokens)
{
    const char *name = limit_name(writer->params);
    const json_t *set = name ? json_object_get(writer->params, name) : NULL;
    json_int_t limit = max_tokens > 0 ? max_tokens : 0;
    if (json_is_integer(set) && (!limit || json_integer_value(set) < limit)) {
        limit = json_integer_value(set);
    }
    json_t *value = name && limit ? json_integer(limit) : NULL;
    if (value) {
        openai_request_put(writer, name, value);
        json_decref(value);
    }
}

/* Whether the request says itself what this member of params says. */
static bool is_replaced(const char *name, const ac_model_ask_t *ask)
{
    bool chosen = ask->no_calls || ask->tool_choice;
    return !json_array_size(ask->tools) || (chosen && strcmp(name, "tool_choice") == 0) ||
        (ask->one_call && strcmp(name, "parallel_tool_calls") == 0);
}

static void put_params(writer_t *writer, const ac_model_ask_t *ask)
{
    json_t *params = (json_t *)writer->params; /* jansson's iterators take no const, and change nothing */
    for (void *at = json_object_iter(params); at; at = json_object_iter_next(params, at)) {
        const char *name = json_object_iter_key(at);
        bool out_of_place = openai_request_is_among(name, tool_names) && is_replaced(name, ask);
        if (!json_is_null(json_object_iter_value(at)) && !out_of_place && !openai_request_is_among(name, limit_names) &&
            !openai_request_is_among(name, fixed_names)) {
            openai_request_put(writer, name, json_object_iter_value(at));
        }
    }
}

/* ---- images ---- */

/* Many small steps of growth would copy the images of the body again and again. */
static void reserve_images(ac_buf_t *body, const ac_model_ask_t *ask)
{
    size_t len = REST_OF_BODY;
    for (int i = 0; i < ask->n_images; i++) {
        len += ask->images[i].len / 3 * 4 + 64;
    }
    ac_buf_reserve(body, len);
}

/* The image for which the part stands; NULL: the part is no image, or its file is not among the images. */
static const ac_model_image_t *image_of(const ac_model_ask_t *ask, const json_t *part)
{
    const char *url = ac_json_peek_string(json_object_get(part, "image_url"), "url", "");
    size_t len = strlen(AC_MODEL_IMAGE_URL);
    for (int i = 0; strncmp(url, AC_MODEL_IMAGE_URL, len) == 0 && i < ask->n_images; i++) {
        if (strcmp(url + len, ask->images[i].id) == 0) {
            return &ask->images[i];
        }
    }
    return NULL;
}

/* The bytes as base64, in pieces, directly into the body. */
static void put_data_url(ac_buf_t *body, const ac_model_image_t *image)
{
    unsigned char text[4 * 256 + 1];
    ac_buf_printf(body, "\"data:%s;base64,", image->type);
    for (size_t at = 0; at < image->len && !body->failed;) {
        size_t n = image->len - at < 3 * 256 ? image->len - at : 3 * 256;
        int len = EVP_EncodeBlock(text, (const unsigned char *)image->bytes + at, (int)n);
        ac_buf_add(body, (const char *)text, (size_t)len);
        at += n;
    }
    ac_buf_add(body, "\"", 1);
}

static void openai_request_put_part(writer_t *writer, const ac_model_ask_t *ask, const json_t *part)
{
    const ac_model_image_t *image = image_of(ask, part);
    const json_t *detail = json_object_get(json_object_get(part, "image_url"), "detail");
    if (!image) {
        put_value(writer, part);
        return;
    }
    ac_buf_str(writer->body, "{\"type\":\"image_url\",\"image_url\":{\"url\":");
    if (image->url) {
        ac_buf_json(writer->body, image->url, strlen(image->url));
    } else {
        put_data_url(writer->body, image);
    }
    if (detail) {
        ac_buf_str(writer->body, ",\"detail\":");
        put_value(writer, detail);
    }
    ac_buf_str(writer->body, "}}");
}

static void put_message(writer_t *writer, const ac_model_ask_t *ask, const json_t *message)
{
    writer_t inner = {writer->body, NULL, true};
    const json_t *value, *part;
    const char *name;
    size_t i;
    json_object_foreach((json_t *)message, name, value)
    {
        put_name(&inner, name);
        if (strcmp(name, "content") != 0 || !json_is_array(value)) {
            put_value(&inner, value);
            continue;
        }
        ac_buf_add(writer->body, "[", 1);
        json_array_foreach((json_t *)value, i, part)
        {
            ac_buf_add(writer->body, ",", i > 0);
            openai_request_put_part(&inner, ask, part);
        }
        ac_buf_add(writer->body, "]", 1);
    }
    ac_buf_str(writer->body, inner.first ? "{}" : "}");
}

static void openai_request_put_messages(writer_t *writer, const ac_model_ask_t *ask)
{
    const json_t *message;
    size_t i;
    put_name(writer, "messages");
    ac_buf_add(writer->body, "[", 1);
    json_array_foreach((json_t *)ask->messages, i, message)
    {
        ac_buf_add(writer->body, ",", i > 0);
        put_message(writer, ask, message);
    }
    ac_buf_add(writer->body, "]", 1);
}

static void put_tools(writer_t *writer, const ac_model_ask_t *ask)
{
    if (!json_array_size(ask->tools)) {
        return;
    }
    openai_request_put(writer, "tools", ask->tools);
    if (ask->no_calls) {
        put_name(writer, "tool_choice");
        ac_buf_str(writer->body, "\"none\"");
    } else if (ask->tool_choice) {
        openai_request_put(writer, "tool_choice", ask->tool_choice);
    }
    if (ask->one_call) {
        put_name(writer, "parallel_tool_calls");
        ac_buf_str(writer->body, "false");
    }
}

apr_status_t ac_openai_request(ac_buf_t *body, const ac_model_ask_t *ask, const char *model, const json_t *params,
                               ac_err_t *err)
{
    writer_t writer = {body, params, true};
    const json_t *stream = json_object_get(params, "stream");
    if (model) {
        put_default(&writer, "model", ac_json_text(model));
    }
    if (ask->n_images) {
        reserve_images(body, ask);
        openai_request_put_messages(&writer, ask);
    } else {
        openai_request_put(&writer, "messages", ask->messages);
    }
    put_tools(&writer, ask);
    if (ask->response_format) {
        put_default(&writer, "response_format", json_incref((json_t *)ask->response_format));
    }
    if (!isnan(ask->temperature)) {
        put_default(&writer, "temperature", json_real(ask->temperature));
    }
    put_limit(&writer, ask->max_tokens);
    put_default(&writer, "stream", json_true());
    if (!stream || json_is_true(stream)) { /* refused without stream */
        put_default(&writer, "stream_options", json_pack("{s:b}", "include_usage", 1));
    }
    put_params(&writer, ask);
    ac_buf_add(body, "}", 1);
    if (body->failed) {
        return ac_err_set(err, AC_CONTEXT_LENGTH, "the conversation is too large to be sent to the model");
    }
    return APR_SUCCESS;
}
