/* SPDX-License-Identifier: Apache-2.0 */
/* The body of an operation's requests: JSON, a form, or text. */
#include "openapi_internal.h"

#include <stdio.h>
#include <string.h>

#define MAX_MEMBERS 256

/* ---- reading ---- */

static ac_openapi_body_e body_kind(const char *type)
{
    return ac_openapi_media_is_json(type) || ac_openapi_media_is(type, "*/*") ? AC_OPENAPI_BODY_JSON
        : ac_openapi_media_is(type, "application/x-www-form-urlencoded")      ? AC_OPENAPI_BODY_FORM
        : ac_openapi_media_is(type, "multipart/form-data")                    ? AC_OPENAPI_BODY_MULTIPART
        : strncmp(type, "text/", 5) == 0                                      ? AC_OPENAPI_BODY_TEXT
                                                                              : AC_OPENAPI_BODY_NONE;
}

/* The best of the offered types; NULL: none can be written. */
static const char *choose_type(const json_t *content, const json_t **pmedia)
{
    const char *type, *best = NULL;
    json_t *media;
    json_object_foreach((json_t *)content, type, media)
    {
        ac_openapi_body_e kind = body_kind(type);
        bool plain = ac_openapi_media_is(type, "application/json");
        bool better = !best || kind < body_kind(best) || (plain && !ac_openapi_media_is(best, "application/json"));
        if (kind != AC_OPENAPI_BODY_NONE && better && strlen(type) < 128 && !strpbrk(type, "\r\n\"")) {
            best = type;
            *pmedia = media;
        }
    }
    return best;
}

static bool is_file(const json_t *schema)
{
    return strcmp(ac_json_peek_string(schema, "format", ""), "binary") == 0 ||
        json_object_get(schema, "contentMediaType") != NULL;
}

static void add_encodings(json_t *encodings, const json_t *document, const json_t *schema, const json_t *given)
{
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(schema, "properties"), name, value)
    {
        const json_t *encoding = json_object_get(given, name);
        const char *style = ac_json_peek_string(encoding, "style", NULL);
        const json_t *explode = json_object_get(encoding, "explode"), *member;
        member = ac_openapi_document_follow(document, value);
        if (json_object_size(encodings) < MAX_MEMBERS && (encoding || is_file(member))) {
            json_t *made = json_pack("{s:i, s:b, s:b}", "style", style ? ac_openapi_style_find(style) : -1, "explode",
                                     explode ? json_is_true(explode) : true, "file", is_file(member));
            ac_json_put(made, "type", json_string(ac_json_peek_string(encoding, "contentType", "")));
            ac_json_put(encodings, name, made);
        }
    }
}

apr_status_t ac_openapi_body_read(ac_openapi_operation_t *operation, json_t *schema, const ac_openapi_place_t *place,
                                  const ac_openapi_rules_t *rules, ac_err_t *err)
{
    const json_t *body = json_object_get(place->operation, "requestBody"), *media = NULL;
    const json_t *found = ac_openapi_document_follow(rules->document, body);
    bool required = json_is_true(json_object_get(found, "required"));
    bool empty = !json_object_size(json_object_get(found, "content"));
    const char *type = choose_type(json_object_get(found, "content"), &media);
    if (!body || (found && empty) || (found && !type && !required)) {
        return APR_SUCCESS;
    }
    if (!type) {
        return ac_err_set(err, AC_INVALID_REQUEST, "its body is neither JSON nor a form nor text");
    }
    const json_t *given = json_object_get(media, "schema");
    const char *description = ac_json_peek_string(found, "description", NULL);
    json_t *own = json_is_object(given) ? json_copy((json_t *)given) : json_object();
    operation->body = body_kind(type);
    operation->body_type = strdup(strchr(type, '*') ? "application/json" : type);
    operation->encodings = json_object();
    add_encodings(operation->encodings, rules->document, ac_openapi_document_follow(rules->document, given),
                  json_object_get(media, "encoding"));
    if (description && !json_object_get(own, "description")) {
        ac_json_put(own, "description", json_string(description));
    }
    ac_json_put(json_object_get(schema, "properties"), AC_OPENAPI_BODY, own);
    if (required) {
        json_array_append_new(json_object_get(schema, "required"), json_string(AC_OPENAPI_BODY));
    }
    return APR_SUCCESS;
}

/* ---- writing ---- */

static apr_status_t body_write_form(ac_buf_t *out, const json_t *encodings, const json_t *value)
{
    const char *name;
    json_t *member;
    json_object_foreach((json_t *)value, name, member)
    {
        const json_t *encoding = json_object_get(encodings, name);
        int style = (int)ac_json_peek_int(encoding, "style", -1);
        bool nested = json_is_object(member) && style < 0; /* as JSON, by the default contentType of objects */
        const json_t *explode = json_object_get(encoding, "explode");
        const ac_openapi_style_t as = {
            .name = name,
            .style = nested ? AC_OPENAPI_JSON
                : style < 0 ? AC_OPENAPI_FORM
                            : (ac_openapi_style_e)style,
            .explode = !explode || json_is_true(explode),
            .separator = "&",
        };
        size_t before = out->len;
        if (json_is_null(member)) {
            continue;
        }
        if (before) {
            ac_buf_str(out, "&");
        }
        size_t begun = out->len;
        ac_openapi_style_write(out, &as, member);
        if (out->len == begun && begun && !out->failed) {
            out->data[out->len = before] = '\0'; /* an empty list */
        }
    }
    return out->failed ? APR_ENOSPC : APR_SUCCESS;
}

/* Source: the HTML standard, "multipart form data". */
static void add_part_name(ac_buf_t *out, const char *name)
{
    for (; *name; name++) {
        if (*name == '"' || *name == '\r' || *name == '\n') {
            ac_buf_printf(out, "%%%02X", (unsigned char)*name);
        } else {
            ac_buf_add(out, name, 1);
        }
    }
}

static void write_part(ac_buf_t *out, const char *boundary, const char *name, const json_t *value,
                       const json_t *encoding)
{
    char *owned;
    const char *text = ac_openapi_style_text(value, &owned);
    bool file = json_is_true(json_object_get(encoding, "file")), nested = json_is_object(value) || json_is_array(value);
    const char *type = ac_json_peek_string(encoding, "type", "");
    bool usable = *type && !strpbrk(type, ",*\r\n");
    ac_buf_printf(out, "--%s\r\nContent-Disposition: form-data; name=\"", boundary);
    add_part_name(out, name);
    ac_buf_str(out, "\"");
    if (file) {
        ac_buf_str(out, "; filename=\"");
        add_part_name(out, name);
        ac_buf_str(out, ".txt\"");
    }
    if (usable || file || nested) {
        ac_buf_printf(out, "\r\nContent-Type: %s",
                      usable       ? type
                          : nested ? "application/json"
                                   : "text/plain; charset=utf-8");
    }
    ac_buf_str(out, "\r\n\r\n");
    ac_buf_str(out, text ? text : "");
    ac_buf_str(out, "\r\n");
    free(owned);
}

static apr_status_t write_multipart(ac_buf_t *out, const char *boundary, const json_t *encodings, const json_t *value)
{
    const char *name;
    json_t *member, *item;
    size_t i;
    json_object_foreach((json_t *)value, name, member)
    {
        const json_t *encoding = json_object_get(encodings, name);
        json_array_foreach(member, i, item)
        {
            write_part(out, boundary, name, item, encoding);
        }
        if (!json_is_array(member) && !json_is_null(member)) {
            write_part(out, boundary, name, member, encoding);
        }
    }
    ac_buf_printf(out, "--%s--\r\n", boundary);
    return out->failed ? APR_ENOSPC : APR_SUCCESS;
}

apr_status_t ac_openapi_body_write(ac_buf_t *out, char **ptype, const ac_openapi_operation_t *operation,
                                   const json_t *value)
{
    char boundary[48], *owned;
    ac_buf_t type;
    ac_buf_init(&type, 512);
    ac_buf_str(&type, operation->body_type);
    apr_status_t status = APR_SUCCESS;
    if (operation->body == AC_OPENAPI_BODY_FORM) {
        status = body_write_form(out, operation->encodings, value);
    } else if (operation->body == AC_OPENAPI_BODY_MULTIPART) {
        snprintf(boundary, sizeof boundary, "agentchat-%016llx%016llx", (unsigned long long)ac_random(),
                 (unsigned long long)ac_random());
        ac_buf_printf(&type, "; boundary=%s", boundary);
        status = write_multipart(out, boundary, operation->encodings, value);
    } else {
        bool text = operation->body == AC_OPENAPI_BODY_TEXT;
        owned = text && json_is_string(value) ? NULL : ac_json_dump(value, NULL);
        status = ac_buf_str(out, owned ? owned : json_string_value(value));
        free(owned);
    }
    *ptype = type.data;
    return status;
}
