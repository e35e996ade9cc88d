/* SPDX-License-Identifier: Apache-2.0 */
/* The request of a call: where its arguments and its credentials go. A value of a model fills its place and changes
 * nothing around it. */
#include "openapi_internal.h"

#include <apr_base64.h>
#include <string.h>

#define MAX_URL (16 * 1024)
#define MAX_HEADER (16 * 1024)
#define MORE_LINES 4 /* Accept, Content-Type, Cookie, and the end */

typedef struct making_t {
    ac_openapi_request_t *request;
    const ac_openapi_operation_t *operation;
    const json_t *arguments;
    ac_err_t *err;
} making_t;

static apr_status_t request_too_long(ac_err_t *err)
{
    return ac_err_set(err, AC_INVALID_REQUEST, "the arguments are too long for a request");
}

static apr_status_t request_refuse_part(const making_t *making, const json_t *part, const char *why)
{
    char pointer[AC_ERR_POINTER_SIZE] = "";
    ac_json_pointer_add(pointer, ac_json_peek_string(part, "argument", "value"));
    return ac_err_set_at(making->err, AC_INVALID_REQUEST, pointer, "%s %s",
                         ac_json_peek_string(part, "argument", "a fixed value"), why);
}

static bool request_has_control(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            return true;
        }
    }
    return false;
}

/* ---- the path ---- */

static const json_t *find_path_part(const json_t *parts, const char *name, size_t len)
{
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *part = json_array_get(parts, i);
        const char *own = ac_json_peek_string(part, "name", "");
        if (strcmp(ac_openapi_parameter_in(part), "path") == 0 && strlen(own) == len && memcmp(own, name, len) == 0) {
            return part;
        }
    }
    return NULL;
}

static apr_status_t fill_part(const making_t *making, ac_buf_t *path, const json_t *part)
{
    const json_t *value = ac_openapi_parameter_value(part, making->arguments);
    ac_openapi_style_t style;
    size_t before = path->len;
    if (!value || json_is_null(value)) {
        return request_refuse_part(making, part, "is missing, as it is part of the path");
    }
    ac_openapi_parameter_style(&style, part);
    if (ac_openapi_style_write(path, &style, value) != APR_SUCCESS) {
        return request_too_long(making->err);
    }
    return path->len > before ? APR_SUCCESS
                              : request_refuse_part(making, part, "must not be empty, as it is part of the path");
}

/* Whether a server could leave the path's own levels, also after it has decoded the path. */
static bool leaves_path(const char *path)
{
    size_t len = strcspn(path, "?"), n = 0;
    char *text = ac_alloc(len + 1);
    for (size_t i = 0; i < len; i++) {
        int high = path[i] == '%' ? ac_hex_value(path[i + 1]) : -1, low = high >= 0 ? ac_hex_value(path[i + 2]) : -1;
        text[n++] = low >= 0 ? (char)(high * 16 + low) : path[i];
        i += low >= 0 ? 2 : 0;
    }
    bool leaves = ac_template_has_dots(text, n);
    free(text);
    return leaves;
}

static apr_status_t add_path(const making_t *making)
{
    const char *text = making->operation->path;
    ac_buf_t path;
    apr_status_t status = APR_SUCCESS;
    ac_buf_init(&path, MAX_URL);
    while (*text && status == APR_SUCCESS) {
        size_t n = strcspn(text, "{"), len = strcspn(text + n, "}");
        ac_buf_add(&path, text, n);
        text += n;
        if (*text) {
            status = fill_part(making, &path, find_path_part(making->operation->parts, text + 1, len - 1));
            text += len + 1;
        }
    }
    if (status == APR_SUCCESS && path.data && leaves_path(path.data)) {
        status =
            ac_err_set(making->err, AC_INVALID_REQUEST, "an argument must not make '.' or '..' a part of the path");
    }
    if (status == APR_SUCCESS) {
        ac_buf_str(&making->request->url, making->operation->server);
        status = ac_buf_str(&making->request->url, path.data) == APR_SUCCESS && !path.failed
            ? APR_SUCCESS
            : request_too_long(making->err);
    }
    ac_buf_free(&path);
    return status;
}

/* ---- query, headers, cookies ---- */

static ac_buf_t *add_line(ac_openapi_request_t *request, const char *name)
{
    ac_buf_t *line = &request->lines[request->n_lines++];
    ac_buf_init(line, MAX_HEADER);
    ac_buf_printf(line, "%s: ", name);
    return line;
}

static void begin_query(ac_buf_t *url)
{
    ac_buf_str(url, strchr(url->data, '?') ? "&" : "?");
}

static void begin_cookie(ac_buf_t *cookie)
{
    ac_buf_str(cookie, cookie->len ? "; " : "");
}

static apr_status_t request_add_header(const making_t *making, const json_t *part, const ac_openapi_style_t *style,
                                       const json_t *value)
{
    ac_buf_t text;
    ac_buf_init(&text, MAX_HEADER);
    apr_status_t status = ac_openapi_style_write(&text, style, value);
    if (status != APR_SUCCESS) {
        status = request_too_long(making->err);
    } else if (text.data && request_has_control(text.data)) {
        status = request_refuse_part(making, part, "must not have control characters, as it is a header");
    } else if (ac_buf_str(add_line(making->request, style->name), text.data ? text.data : "") != APR_SUCCESS) {
        status = request_too_long(making->err);
    }
    ac_buf_free(&text);
    return status;
}

/* A part that writes nothing, such as an empty list, leaves no separator behind. */
static apr_status_t add_separated(const making_t *making, const ac_openapi_style_t *style, const json_t *value)
{
    ac_openapi_request_t *request = making->request;
    bool query = style->separator[0] == '&';
    ac_buf_t text, *to = query ? &request->url : &request->cookie;
    ac_buf_init(&text, MAX_URL);
    apr_status_t status = ac_openapi_style_write(&text, style, value);
    if (status == APR_SUCCESS && text.len) {
        (query ? begin_query : begin_cookie)(to);
        status = ac_buf_add(to, text.data, text.len);
    }
    ac_buf_free(&text);
    return status == APR_SUCCESS ? APR_SUCCESS : request_too_long(making->err);
}

static apr_status_t request_add_part(const making_t *making, const json_t *part)
{
    const json_t *value = ac_openapi_parameter_value(part, making->arguments);
    const char *in = ac_openapi_parameter_in(part);
    ac_openapi_style_t style;
    if (!value || json_is_null(value) || strcmp(in, "path") == 0) {
        return APR_SUCCESS;
    }
    ac_openapi_parameter_style(&style, part);
    return style.separator ? add_separated(making, &style, value) : request_add_header(making, part, &style, value);
}

/* ---- credentials ---- */

static apr_status_t request_add_key(const making_t *making, const ac_openapi_key_t *key, const char *text)
{
    ac_openapi_request_t *request = making->request;
    if (request_has_control(text)) {
        return ac_err_set(making->err, AC_TOOL_ERROR, "the credential has characters that no request can have");
    }
    if (key->type == AC_OPENAPI_KEY_QUERY) {
        begin_query(&request->url);
        ac_template_encode(&request->url, key->name, strlen(key->name));
        ac_buf_str(&request->url, "=");
        return ac_template_encode(&request->url, text, strlen(text));
    }
    if (key->type == AC_OPENAPI_KEY_COOKIE) {
        begin_cookie(&request->cookie);
        ac_buf_printf(&request->cookie, "%s=", key->name);
        return ac_template_encode(&request->cookie, text, strlen(text));
    }
    ac_buf_t *line = add_line(request, key->name ? key->name : "Authorization");
    if (key->type == AC_OPENAPI_KEY_BASIC) {
        int len = (int)strlen(text);
        char *coded = ac_alloc((size_t)apr_base64_encode_len(len) + 1);
        apr_base64_encode(coded, text, len);
        apr_status_t status = ac_buf_printf(line, "Basic %s", coded);
        explicit_bzero(coded, strlen(coded));
        free(coded);
        return status;
    }
    return ac_buf_printf(line, "%s%s", key->type == AC_OPENAPI_KEY_BEARER ? "Bearer " : "", text);
}

/* ---- the request ---- */

static apr_status_t add_body(const making_t *making)
{
    const json_t *value = json_object_get(making->arguments, AC_OPENAPI_BODY);
    char *type = NULL;
    if (making->operation->body == AC_OPENAPI_BODY_NONE || !value) {
        return APR_SUCCESS;
    }
    apr_status_t status = ac_openapi_body_write(&making->request->body, &type, making->operation, value);
    ac_buf_str(add_line(making->request, "Content-Type"), type);
    free(type);
    return status == APR_SUCCESS ? APR_SUCCESS : request_too_long(making->err);
}

static apr_status_t add_all(const making_t *making, const char *const *texts)
{
    const ac_openapi_operation_t *operation = making->operation;
    apr_status_t status = add_path(making);
    for (size_t i = 0; i < json_array_size(operation->parts) && status == APR_SUCCESS; i++) {
        status = request_add_part(making, json_array_get(operation->parts, i));
    }
    for (int i = 0; i < operation->n_keys && status == APR_SUCCESS; i++) {
        status = request_add_key(making, &operation->keys[i], texts[i]);
    }
    if (status == APR_SUCCESS) {
        status = add_body(making);
    }
    if (status == APR_SUCCESS && making->request->cookie.len) {
        status = ac_buf_str(add_line(making->request, "Cookie"), making->request->cookie.data);
    }
    return status == APR_SUCCESS && making->request->url.failed ? request_too_long(making->err) : status;
}

apr_status_t ac_openapi_request_make(ac_openapi_request_t *request, const ac_openapi_operation_t *operation,
                                     const json_t *arguments, const char *const *texts, ac_err_t *err)
{
    const making_t making = {request, operation, arguments, err};
    size_t room = json_array_size(operation->parts) + AC_MAX_OPENAPI_KEYS + MORE_LINES;
    memset(request, 0, sizeof *request);
    request->lines = ac_alloc(room * sizeof *request->lines);
    request->headers = ac_alloc(room * sizeof *request->headers);
    ac_buf_init(&request->url, MAX_URL);
    ac_buf_init(&request->body, AC_MAX_TOOL_ARGUMENTS * 2);
    ac_buf_init(&request->cookie, MAX_HEADER);
    ac_buf_str(add_line(request, "Accept"), operation->accept);
    apr_status_t status = add_all(&making, texts);
    for (int i = 0; i < request->n_lines; i++) {
        request->headers[i] = request->lines[i].data;
        if (request->lines[i].failed && status == APR_SUCCESS) {
            status = request_too_long(err);
        }
    }
    return status == APR_SUCCESS ? APR_SUCCESS : ac_err_set(err, AC_INVALID_REQUEST, "the request cannot be made");
}

static void request_wipe(ac_buf_t *buf)
{
    if (buf->data) {
        explicit_bzero(buf->data, buf->len);
    }
    ac_buf_free(buf);
}

void ac_openapi_request_free(ac_openapi_request_t *request)
{
    request_wipe(&request->url);
    request_wipe(&request->body);
    request_wipe(&request->cookie);
    for (int i = 0; i < request->n_lines; i++) {
        request_wipe(&request->lines[i]);
    }
    free(request->lines);
    free(request->headers);
    memset(request, 0, sizeof *request);
}
