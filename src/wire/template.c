/* SPDX-License-Identifier: Apache-2.0 */
/* Templates of the HTTP tool: URL, JSON body and header values with {name} in them. A value from a model can fill a
 * placeholder, but never change the structure around it. */
#include "wire_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <apr_strings.h>

#define MAX_NAME 64
#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."

/* The current position in the text: for a URL its part, for JSON whether it is inside a string. */
typedef enum place_e { IN_AUTHORITY, IN_PATH, IN_QUERY, IN_STRING, OUTSIDE } place_e;

typedef struct fill_t {
    ac_buf_t *out;
    const json_t *args;
    place_e place;
    ac_buf_t segment;        /* URL: the current path segment, decoded */
    bool segment_filled;     /* whether a value is part of it */
    char name[MAX_NAME + 1]; /* of the last placeholder */
    ac_err_t *err;
} fill_t;

/* The placeholder at text: returns its length with both braces, and copies its name; 0: no placeholder. */
static size_t placeholder(const char *text, char name[MAX_NAME + 1])
{
    size_t len = *text == '{' ? strspn(text + 1, NAME_CHARS) : 0;
    if (!len || len > MAX_NAME || text[len + 1] != '}') {
        return 0;
    }
    memcpy(name, text + 1, len);
    name[len] = '\0';
    return len + 2;
}

static apr_status_t template_refuse(fill_t *fill, const char *why)
{
    char pointer[AC_ERR_POINTER_SIZE] = "";
    ac_json_pointer_add(pointer, fill->name);
    return ac_err_set_at(fill->err, AC_INVALID_REQUEST, pointer, "%s", why);
}

static apr_status_t template_too_long(fill_t *fill)
{
    return ac_err_set(fill->err, AC_INVALID_REQUEST, "the arguments are too long for this tool");
}

/* ---- values ---- */

/* A value as text. *powned: the text if it was allocated, to be freed. Returns NULL if memory ran out. */
static const char *value_text(const json_t *value, char **powned, size_t *plen)
{
    *powned = NULL;
    *plen = 0;
    if (!value || json_is_null(value)) {
        return "";
    }
    if (json_is_string(value)) {
        *plen = json_string_length(value);
        return json_string_value(value);
    }
    *powned = ac_json_dump(value, plen);
    return *powned;
}

static bool is_unreserved(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' ||
        c == '_' || c == '~';
}

apr_status_t ac_template_encode(ac_buf_t *out, const char *text, size_t len)
{
    static const char hex[] = "0123456789ABCDEF";
    apr_status_t status = APR_SUCCESS;
    for (size_t i = 0; status == APR_SUCCESS && i < len;) {
        size_t n = 0;
        while (i + n < len && is_unreserved((unsigned char)text[i + n])) {
            n++;
        }
        status = ac_buf_add(out, text + i, n);
        i += n;
        if (status == APR_SUCCESS && i < len) {
            unsigned char c = (unsigned char)text[i++];
            char escape[3] = {'%', hex[c >> 4], hex[c & 15]};
            status = ac_buf_add(out, escape, sizeof(escape));
        }
    }
    return status;
}

/* A JSON string without its quotes. */
static apr_status_t add_quoted(ac_buf_t *out, const char *text, size_t len)
{
    ac_buf_t quoted;
    ac_buf_init(&quoted, out->max);
    apr_status_t status = ac_buf_json(&quoted, text, len);
    if (status == APR_SUCCESS) {
        status = ac_buf_add(out, quoted.data + 1, quoted.len - 2);
    }
    ac_buf_free(&quoted);
    return status;
}

static bool template_has_control(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) {
            return true;
        }
    }
    return false;
}

/* ---- URL ---- */

/* Also after a decoded slash or backslash, and before a ';'. */
bool ac_template_has_dots(const char *text, size_t len)
{
    for (size_t i = 0; i <= len;) {
        size_t n = 0;
        while (i + n < len && text[i + n] != '/' && text[i + n] != '\\') {
            n++;
        }
        const char *piece = text + i, *cut = memchr(piece, ';', n);
        size_t piece_len = cut ? (size_t)(cut - piece) : n;
        if ((piece_len == 1 && *piece == '.') || (piece_len == 2 && memcmp(piece, "..", 2) == 0)) {
            return true;
        }
        i += n + 1;
    }
    return false;
}

static apr_status_t end_segment(fill_t *fill)
{
    apr_status_t status = APR_SUCCESS;
    if (fill->segment_filled && !fill->segment.len) {
        status = template_refuse(fill, "must not be empty, as it is part of a path");
    } else if (fill->segment_filled && ac_template_has_dots(fill->segment.data, fill->segment.len)) {
        status = template_refuse(fill, "must not hold '.' or '..' as part of a path");
    }
    ac_buf_clear(&fill->segment);
    fill->segment_filled = false;
    return status;
}

/* Adds a byte of the template's own path to the segment; a %2E there is a dot. */
static apr_status_t note_literal(fill_t *fill, const char *text)
{
    char c = *text;
    if (c == '/' || c == '?') {
        apr_status_t status = end_segment(fill);
        fill->place = c == '?' ? IN_QUERY : IN_PATH;
        return status;
    }
    /* The digits of an escape were added too, after the byte that they stand for, and are removed here. */
    if (fill->segment.len >= 2 && ac_hex_value(c) >= 0) {
        const char *tail = fill->segment.data + fill->segment.len - 2;
        if (tail[0] == '%' && ac_hex_value(tail[1]) >= 0) {
            char byte = (char)(ac_hex_value(tail[1]) * 16 + ac_hex_value(c));
            fill->segment.len -= 2;
            return ac_buf_add(&fill->segment, &byte, 1);
        }
    }
    return ac_buf_add(&fill->segment, &c, 1);
}

static apr_status_t fill_url(fill_t *fill, const char *text, size_t len)
{
    if (fill->place == IN_AUTHORITY) {
        return ac_err_set(fill->err, AC_INTERNAL, "the tool's URL has a placeholder in its scheme or host");
    }
    if (memchr(text, '\0', len)) {
        return template_refuse(fill, "must not hold the character U+0000");
    }
    if (fill->place == IN_PATH) {
        fill->segment_filled = true;
        if (ac_buf_add(&fill->segment, text, len) != APR_SUCCESS) {
            return template_too_long(fill);
        }
    }
    return ac_template_encode(fill->out, text, len) == APR_SUCCESS ? APR_SUCCESS : template_too_long(fill);
}

/* The start of the path or query of an absolute URL; NULL if it is not one. */
static const char *authority_end(const char *url, const char **phost)
{
    size_t scheme = strncasecmp(url, "https://", 8) == 0 ? 8 : strncasecmp(url, "http://", 7) == 0 ? 7 : 0;
    *phost = url + scheme;
    return scheme ? url + scheme + strcspn(url + scheme, "/?#\\") : NULL;
}

/* ---- filling ---- */

static apr_status_t template_fill_header(fill_t *fill, const char *text, size_t len)
{
    if (template_has_control(text, len)) {
        return template_refuse(fill, "must not hold control characters, as it is part of a header");
    }
    return ac_buf_add(fill->out, text, len) == APR_SUCCESS ? APR_SUCCESS : template_too_long(fill);
}

static apr_status_t fill_bare(fill_t *fill, const json_t *value)
{
    size_t len = 4;
    char *text = value ? ac_json_dump(value, &len) : strdup("null");
    apr_status_t status = text ? ac_buf_add(fill->out, text, len) : APR_ENOMEM;
    free(text);
    return status == APR_SUCCESS ? status : template_too_long(fill);
}

static apr_status_t fill_value(fill_t *fill, ac_template_e kind)
{
    const json_t *value = json_object_get(fill->args, fill->name);
    if (kind == AC_TEMPLATE_JSON && fill->place == OUTSIDE) {
        return fill_bare(fill, value);
    }
    if (kind != AC_TEMPLATE_JSON && (json_is_object(value) || json_is_array(value))) {
        return template_refuse(fill, "must be a text, a number, true or false");
    }
    char *owned;
    size_t len;
    const char *text = value_text(value, &owned, &len);
    apr_status_t status;
    if (!text) {
        status = ac_err_set(fill->err, AC_INTERNAL, "memory ran out");
    } else if (kind == AC_TEMPLATE_URL) {
        status = fill_url(fill, text, len);
    } else if (kind == AC_TEMPLATE_HEADER) {
        status = template_fill_header(fill, text, len);
    } else {
        status = add_quoted(fill->out, text, len) == APR_SUCCESS ? APR_SUCCESS : template_too_long(fill);
    }
    free(owned);
    return status;
}

static bool is_secret(const char *text, ac_template_e kind)
{
    return kind == AC_TEMPLATE_HEADER && text[0] == '$' && text[1] == '{';
}

/* Copies the template's own byte at text, with the next one if it belongs to it. *plen: the number of bytes. */
static apr_status_t copy_literal(fill_t *fill, const char *text, ac_template_e kind, size_t *plen)
{
    *plen = is_secret(text, kind) ? 2 : 1;
    if (kind == AC_TEMPLATE_JSON) {
        if (*text == '\\' && text[1] && fill->place == IN_STRING) {
            *plen = 2;
        } else if (*text == '"') {
            fill->place = fill->place == IN_STRING ? OUTSIDE : IN_STRING;
        }
    }
    apr_status_t status = APR_SUCCESS;
    if (kind == AC_TEMPLATE_URL && fill->place == IN_PATH) {
        status = note_literal(fill, text);
    }
    if (status == APR_SUCCESS && ac_buf_add(fill->out, text, *plen) != APR_SUCCESS) {
        status = template_too_long(fill);
    }
    return status;
}

/* A failed fill removes its output. */
static void take_back(ac_buf_t *out, size_t len, bool failed)
{
    if (out->data) {
        out->len = len;
        out->data[len] = '\0';
    }
    out->failed = failed;
}

apr_status_t ac_template_fill(ac_buf_t *out, const char *text, ac_template_e kind, const json_t *args, ac_err_t *err)
{
    const char *host, *path = kind == AC_TEMPLATE_URL ? authority_end(text, &host) : NULL;
    size_t before = out->len;
    bool failed = out->failed;
    fill_t fill = {.out = out, .args = args, .place = kind == AC_TEMPLATE_URL ? IN_AUTHORITY : OUTSIDE, .err = err};
    ac_buf_init(&fill.segment, out->max);
    apr_status_t status = APR_SUCCESS;
    while (*text && status == APR_SUCCESS) {
        if (text == path) {
            fill.place = *text == '?' ? IN_QUERY : IN_PATH;
        }
        size_t len = placeholder(text, fill.name);
        status = len ? fill_value(&fill, kind) : copy_literal(&fill, text, kind, &len);
        text += len;
    }
    if (status == APR_SUCCESS && fill.place == IN_PATH) {
        status = end_segment(&fill);
    }
    if (status == APR_SUCCESS && !out->data && ac_buf_add(out, "", 0) != APR_SUCCESS) {
        status = template_too_long(&fill);
    }
    if (status != APR_SUCCESS) {
        take_back(out, before, failed);
    }
    ac_buf_free(&fill.segment);
    return status;
}

apr_status_t ac_template_header(ac_buf_t *out, const char *text, const char *secret, const json_t *args, ac_err_t *err)
{
    size_t before = out->len;
    bool failed = out->failed;
    apr_status_t status = APR_SUCCESS;
    for (const char *found; status == APR_SUCCESS && text; text = found ? found + strlen(AC_TEMPLATE_SECRET) : NULL) {
        found = strstr(text, AC_TEMPLATE_SECRET);
        char *piece = found ? strndup(text, (size_t)(found - text)) : NULL;
        if (found && !piece) {
            status = ac_err_set(err, AC_INTERNAL, "memory ran out");
        } else if (found && !secret) {
            status = ac_err_set(err, AC_INTERNAL, "the tool's header names a secret, and there is none");
        } else {
            status = ac_template_fill(out, found ? piece : text, AC_TEMPLATE_HEADER, args, err);
        }
        if (status == APR_SUCCESS && found && ac_buf_str(out, secret) != APR_SUCCESS) {
            status = ac_err_set(err, AC_INVALID_REQUEST, "the arguments are too long for this tool");
        }
        free(piece);
    }
    if (status != APR_SUCCESS) {
        take_back(out, before, failed);
    }
    return status;
}

/* ---- checking ---- */

/* Whether a property of this schema may be an array or object. */
static bool is_compound(const json_t *property)
{
    const json_t *type = json_object_get(property, "type");
    const char *name = json_string_value(type);
    if (name) {
        return strcmp(name, "array") == 0 || strcmp(name, "object") == 0;
    }
    for (size_t i = 0; i < json_array_size(type); i++) {
        name = json_string_value(json_array_get(type, i));
        if (name && (strcmp(name, "array") == 0 || strcmp(name, "object") == 0)) {
            return true;
        }
    }
    return false;
}

static const char *check_names(const char *text, ac_template_e kind, const json_t *schema, apr_pool_t *p)
{
    const json_t *properties = json_object_get(schema, "properties");
    char name[MAX_NAME + 1];
    for (size_t len; *text; text += len ? len : 1) {
        len = placeholder(text, name);
        if (is_secret(text, kind)) {
            len = 2;
            continue;
        }
        if (!len && kind == AC_TEMPLATE_URL && (*text == '{' || *text == '}')) {
            return apr_psprintf(p, "a '%c' that is not part of a {name}; write it as %s", *text,
                                *text == '{' ? "%7B" : "%7D");
        }
        if (!len) {
            continue;
        }
        const json_t *property = json_object_get(properties, name);
        if (!property) {
            return apr_psprintf(p, "{%s} is not among the tool's parameters", name);
        }
        if (kind != AC_TEMPLATE_JSON && is_compound(property)) {
            return apr_psprintf(p,
                                "{%s} is an array or an object; only a text, a number, true or false can stand "
                                "in %s",
                                name, kind == AC_TEMPLATE_URL ? "a URL" : "a header");
        }
    }
    return NULL;
}

static const char *template_check_url(const char *text, apr_pool_t *p)
{
    const char *host, *path = authority_end(text, &host);
    if (!path || path == host) {
        return "not an absolute URL; give one like https://host/path?q={query}";
    }
    if (memchr(host, '{', (size_t)(path - host)) || memchr(host, '}', (size_t)(path - host))) {
        return "a {name} in scheme, host or port; only path and query may have one";
    }
    if (memchr(host, '@', (size_t)(path - host))) {
        return "a user name or password in the URL; use a header with a secret";
    }
    for (const char *at = text; *at; at++) {
        unsigned char c = (unsigned char)*at;
        if (c == '#') {
            return "a '#' in the URL; a fragment is never sent";
        }
        if (c <= 0x20 || c >= 0x7f || strchr("\"<>\\^`|", c)) {
            return apr_psprintf(p, "a character that must be percent-encoded in a URL: write %%%02X", c);
        }
        if (c == '%' && (ac_hex_value(at[1]) < 0 || ac_hex_value(at[2]) < 0)) {
            return "a '%' that is not followed by two hexadecimal digits; write it as %25";
        }
    }
    return NULL;
}

/* A JSON template is valid if it is JSON with null for each value: only the position of a value accepts null. */
static const char *check_json(const char *text, apr_pool_t *p)
{
    ac_buf_t sample;
    ac_buf_init(&sample, AC_MAX_REQUEST);
    json_error_t error;
    ac_template_fill(&sample, text, AC_TEMPLATE_JSON, NULL, NULL);
    json_t *value = sample.len ? json_loadb(sample.data, sample.len, JSON_DECODE_ANY, &error) : NULL;
    const char *problem = NULL;
    if (!value) {
        problem =
            apr_psprintf(p, "not JSON once it is filled in%s%s", sample.len ? ": " : "", sample.len ? error.text : "");
    }
    json_decref(value);
    ac_buf_free(&sample);
    return problem;
}

const char *ac_template_problem(const char *text, ac_template_e kind, const json_t *schema, apr_pool_t *p)
{
    const char *problem = NULL;
    if (kind == AC_TEMPLATE_URL) {
        problem = template_check_url(text, p);
    } else if (kind == AC_TEMPLATE_HEADER && template_has_control(text, strlen(text))) {
        problem = "a control character in a header";
    }
    if (!problem) {
        problem = check_names(text, kind, schema, p);
    }
    if (!problem && kind == AC_TEMPLATE_JSON) {
        problem = check_json(text, p);
    }
    return problem;
}
