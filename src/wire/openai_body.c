/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a request to a model, written directly into the buffer from which it is sent: what chat completions and
 * the Responses API have in common. */
#include "openai_internal.h"

#include <string.h>

#include <openssl/evp.h>

#define REST_OF_BODY (64 * 1024) /* of a request with images, as a guess */

/* Upstreams refuse these without tools. */
static const char *const tool_names[] = {"tool_choice", "parallel_tool_calls", NULL};

bool ac_openai_body_among(const char *name, const char *const *names)
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

void ac_openai_body_value(const ac_openai_body_t *body, const json_t *value)
{
    /* 15 digits: a configured 0.7 is sent as 0.7. */
    if (json_dump_callback(value, dump_piece, body->out, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15))) {
        body->out->failed = true;
    }
}

void ac_openai_body_name(ac_openai_body_t *body, const char *name)
{
    ac_buf_add(body->out, body->open ? "," : "{", 1);
    body->open = true;
    ac_buf_json(body->out, name, strlen(name));
    ac_buf_add(body->out, ":", 1);
}

void ac_openai_body_put(ac_openai_body_t *body, const char *name, const json_t *value)
{
    ac_openai_body_name(body, name);
    ac_openai_body_value(body, value);
}

void ac_openai_body_default(ac_openai_body_t *body, const char *name, json_t *value)
{
    if (!value) {
        body->out->failed = true;
    } else if (!json_object_get(body->params, name)) {
        ac_openai_body_put(body, name, value);
    }
    json_decref(value);
}

/* The member under which the token limit is sent; NULL: params removes it. */
static const char *limit_name(const json_t *params, const char *const *names)
{
    for (int i = 0; names[i]; i++) {
        const json_t *value = json_object_get(params, names[i]);
        if (value && !json_is_null(value)) {
            return names[i];
        }
    }
    return json_object_get(params, names[0]) ? NULL : names[0];
}

void ac_openai_body_limit(ac_openai_body_t *body, const char *const *names, int max_tokens)
{
    const char *name = limit_name(body->params, names);
    const json_t *set = name ? json_object_get(body->params, name) : NULL;
    json_int_t limit = max_tokens > 0 ? max_tokens : 0;
    if (json_is_integer(set) && (!limit || json_integer_value(set) < limit)) {
        limit = json_integer_value(set);
    }
    json_t *value = name && limit ? json_integer(limit) : NULL;
    if (value) {
        ac_openai_body_put(body, name, value);
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

void ac_openai_body_params(ac_openai_body_t *body, const ac_model_ask_t *ask, const char *const *written)
{
    const json_t *value;
    const char *name;
    json_object_foreach((json_t *)body->params, name, value)
    {
        bool out_of_place = ac_openai_body_among(name, tool_names) && is_replaced(name, ask);
        if (!json_is_null(value) && !out_of_place && !ac_openai_body_among(name, written)) {
            ac_openai_body_put(body, name, value);
        }
    }
}

/* ---- images ---- */

void ac_openai_body_reserve(ac_buf_t *out, const ac_model_ask_t *ask)
{
    size_t len = REST_OF_BODY;
    for (int i = 0; i < ask->n_images; i++) {
        len += ask->images[i].len / 3 * 4 + 64;
    }
    ac_buf_reserve(out, len);
}

const ac_model_image_t *ac_openai_body_image(const ac_model_ask_t *ask, const json_t *part)
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
void ac_openai_body_url(ac_buf_t *out, const ac_model_image_t *image)
{
    unsigned char text[4 * 256 + 1];
    if (image->url) {
        ac_buf_json(out, image->url, strlen(image->url));
        return;
    }
    ac_buf_printf(out, "\"data:%s;base64,", image->type);
    for (size_t at = 0; at < image->len && !out->failed;) {
        size_t n = image->len - at < 3 * 256 ? image->len - at : 3 * 256;
        int len = EVP_EncodeBlock(text, (const unsigned char *)image->bytes + at, (int)n);
        ac_buf_add(out, (const char *)text, (size_t)len);
        at += n;
    }
    ac_buf_add(out, "\"", 1);
}
