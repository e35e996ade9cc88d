/* SPDX-License-Identifier: Apache-2.0 */
/* Strict parsing of JSON documents, getters whose errors name the wrong member, and writing. */
#include "base.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DUMP_DEPTH 512 /* of values made by this module; stops at a cycle, too */

/* ---- parsing ---- */

static apr_status_t json_refuse(ac_err_t *err, const char *why, int line, int column)
{
    return ac_err_set(err, AC_BAD_JSON, "%s at line %d, column %d", why, line, column);
}

/* The same for a position in the text: columns count characters. */
static apr_status_t refuse_at(ac_err_t *err, const char *why, const char *text, size_t offset)
{
    int line = 1, column = 1;
    for (size_t i = 0; i < offset; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\n') {
            line++;
            column = 1;
        } else if ((c & 0xc0) != 0x80) {
            column++;
        }
    }
    return json_refuse(err, why, line, column);
}

/* The number of bytes of the string whose opening quote is at text, up to its closing quote or the end. */
static size_t skip_string(const char *text, size_t len)
{
    for (size_t i = 1; i < len; i++) {
        if (text[i] == '\\') {
            i++;
        } else if (text[i] == '"') {
            return i + 1;
        }
    }
    return len;
}

/* jansson parses by recursion and allocates meanwhile, so the depth is checked before. */
static apr_status_t check_depth(const char *text, size_t len, ac_err_t *err)
{
    int depth = 0;
    for (size_t i = 0; i < len;) {
        char c = text[i];
        if (c == '"') {
            i += skip_string(text + i, len - i);
            continue;
        }
        if ((c == '[' || c == '{') && ++depth > AC_MAX_JSON_DEPTH) {
            return refuse_at(err, "the document is nested too deeply", text, i);
        }
        if (c == ']' || c == '}') {
            depth--;
        }
        i++;
    }
    return APR_SUCCESS;
}

/* jansson's own text quotes the document; an error text must not. */
static const char *parse_reason(const json_error_t *error)
{
    switch (json_error_code(error)) {
    case json_error_duplicate_key: return "an object has the same member twice";
    case json_error_end_of_input_expected: return "something follows the end of the document";
    case json_error_premature_end_of_input: return "the document ends too early";
    case json_error_numeric_overflow: return "a number is too large";
    case json_error_invalid_utf8: return "the document is not valid UTF-8";
    case json_error_null_character:
    case json_error_null_byte_in_key: return "a string holds the character U+0000";
    case json_error_stack_overflow: return "the document is nested too deeply";
    default: return "the document is not valid JSON";
    }
}

apr_status_t ac_json_parse(json_t **pvalue, const char *text, size_t len, ac_err_t *err)
{
    *pvalue = NULL;
    if (!text || !len) {
        return ac_err_set(err, AC_BAD_JSON, "the document is empty");
    }
    const char *nul = memchr(text, '\0', len);
    if (nul) {
        return refuse_at(err, "the document holds a NUL byte", text, (size_t)(nul - text));
    }
    apr_status_t status = check_depth(text, len, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    json_error_t error;
    *pvalue = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (*pvalue) {
        return APR_SUCCESS;
    }
    if (json_error_code(&error) == json_error_out_of_memory) {
        return ac_err_set(err, AC_INTERNAL, "memory ran out");
    }
    return json_refuse(err, parse_reason(&error), error.line > 0 ? error.line : 1, error.column > 0 ? error.column : 1);
}

/* ---- getters ---- */

void ac_json_pointer_add(char pointer[AC_ERR_POINTER_SIZE], const char *name)
{
    size_t used = strlen(pointer), len = strlen(name);
    if (used + 1 >= AC_ERR_POINTER_SIZE) {
        return;
    }
    pointer[used++] = '/';
    for (size_t i = 0; i < len;) {
        bool valid;
        size_t n = ac_utf8_next(name + i, len - i, &valid);
        const char *part = !valid ? "\xef\xbf\xbd" : name[i] == '~' ? "~0" : name[i] == '/' ? "~1" : name + i;
        size_t part_len = part == name + i ? n : strlen(part);
        if (used + part_len >= AC_ERR_POINTER_SIZE) {
            break;
        }
        memcpy(pointer + used, part, part_len);
        used += part_len;
        i += n;
    }
    pointer[used] = '\0';
}

static apr_status_t json_wrong(ac_err_t *err, const char *name, const char *why)
{
    char pointer[AC_ERR_POINTER_SIZE] = "";
    ac_json_pointer_add(pointer, name);
    return ac_err_set_at(err, AC_INVALID_REQUEST, pointer, "%s %s", name, why);
}

/* *pvalue: the member, or NULL if it is absent or null; that is an error if required is set. */
static apr_status_t json_find(json_t **pvalue, const json_t *object, const char *name, bool required, ac_err_t *err)
{
    *pvalue = NULL;
    if (object && !json_is_object(object)) {
        return ac_err_set(err, AC_INVALID_REQUEST, "the document must be an object");
    }
    json_t *value = json_object_get(object, name);
    if (value && !json_is_null(value)) {
        *pvalue = value;
        return APR_SUCCESS;
    }
    return required ? json_wrong(err, name, value ? "must not be null" : "is missing") : APR_SUCCESS;
}

apr_status_t ac_json_string(const char **pvalue, const json_t *object, const char *name, bool required, ac_err_t *err)
{
    json_t *value;
    *pvalue = NULL;
    apr_status_t status = json_find(&value, object, name, required, err);
    if (status == APR_SUCCESS && value) {
        *pvalue = json_string_value(value);
        status = *pvalue ? APR_SUCCESS : json_wrong(err, name, "must be a string");
    }
    return status;
}

apr_status_t ac_json_bool(bool *pvalue, const json_t *object, const char *name, bool fallback, ac_err_t *err)
{
    json_t *value;
    *pvalue = fallback;
    apr_status_t status = json_find(&value, object, name, false, err);
    if (status == APR_SUCCESS && value) {
        if (!json_is_boolean(value)) {
            return json_wrong(err, name, "must be true or false");
        }
        *pvalue = json_is_true(value);
    }
    return status;
}

apr_status_t ac_json_int(int64_t *pvalue, const json_t *object, const char *name, int64_t fallback, ac_err_t *err)
{
    json_t *value;
    *pvalue = fallback;
    apr_status_t status = json_find(&value, object, name, false, err);
    if (status == APR_SUCCESS && value) {
        if (!json_is_integer(value)) {
            return json_wrong(err, name, "must be an integer");
        }
        *pvalue = (int64_t)json_integer_value(value);
    }
    return status;
}

static bool json_is_among(const char *name, const char *const *names)
{
    while (*names && strcmp(*names, name) != 0) {
        names++;
    }
    return *names != NULL;
}

apr_status_t ac_json_only(const json_t *object, const char *const *names, ac_err_t *err)
{
    if (object && !json_is_object(object)) {
        return ac_err_set(err, AC_INVALID_REQUEST, "the document must be an object");
    }
    /* jansson's iterators need a pointer without const and change nothing. */
    json_t *members = (json_t *)object;
    for (void *at = json_object_iter(members); at; at = json_object_iter_next(members, at)) {
        const char *name = json_object_iter_key(at);
        if (!json_is_among(name, names)) {
            char pointer[AC_ERR_POINTER_SIZE] = "";
            ac_json_pointer_add(pointer, name);
            return ac_err_set_at(err, AC_INVALID_REQUEST, pointer, "a member of this name is not known");
        }
    }
    return APR_SUCCESS;
}

const char *ac_json_peek_string(const json_t *object, const char *name, const char *fallback)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : fallback;
}

int64_t ac_json_peek_int(const json_t *object, const char *name, int64_t fallback)
{
    const json_t *value = json_object_get(object, name);
    if (json_is_integer(value)) {
        return (int64_t)json_integer_value(value);
    }
    /* Some services write whole numbers as 12.0. */
    double real = json_is_real(value) ? json_real_value(value) : 0.5;
    return real == floor(real) ? ac_json_whole_part(value, fallback) : fallback;
}

int64_t ac_json_whole_part(const json_t *value, int64_t fallback)
{
    if (json_is_integer(value)) {
        return (int64_t)json_integer_value(value);
    }
    /* 2^63 itself does not fit. */
    return json_is_real(value) && fabs(json_real_value(value)) < 9223372036854775808.0 ? (int64_t)json_real_value(value)
                                                                                       : fallback;
}

bool ac_json_is_deeper(const json_t *value, int depth)
{
    size_t i;
    json_t *item;
    const char *name;
    if (!json_is_object(value) && !json_is_array(value)) {
        return false;
    }
    if (depth <= 0) {
        return true;
    }
    json_array_foreach(value, i, item)
    {
        if (ac_json_is_deeper(item, depth - 1)) {
            return true;
        }
    }
    json_object_foreach((json_t *)value, name, item)
    {
        if (ac_json_is_deeper(item, depth - 1)) {
            return true;
        }
    }
    return false;
}

/* ---- writing ---- */

bool ac_json_put(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value) == 0;
}

json_t *ac_json_text(const char *text)
{
    if (!text) {
        return json_null();
    }
    size_t len = strlen(text);
    if (ac_utf8_valid(text, len)) {
        return json_stringn_nocheck(text, len);
    }
    ac_buf_t fixed;
    ac_buf_init(&fixed, AC_MAX_JSON_TEXT);
    for (size_t i = 0; i < len && !fixed.failed;) {
        bool valid;
        size_t n = ac_utf8_next(text + i, len - i, &valid);
        ac_buf_add(&fixed, valid ? text + i : "\xef\xbf\xbd", valid ? n : 3);
        i += n;
    }
    json_t *value = fixed.failed ? NULL : json_stringn_nocheck(fixed.data, fixed.len);
    ac_buf_free(&fixed);
    return value;
}

/* The shortest of three forms that reads back as the same number; always recognisable as a real. */
static void dump_real(ac_buf_t *buf, double real)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text) - 2, "%.*g", digits, real);
        if (strtod(text, NULL) == real) {
            break;
        }
    }
    char *comma = strchr(text, ','); /* a locale's decimal point */
    if (comma) {
        *comma = '.';
    }
    ac_buf_str(buf, text);
    if (!strpbrk(text, ".e")) {
        ac_buf_add(buf, ".0", 2);
    }
}

static void dump_integer(ac_buf_t *buf, json_int_t integer)
{
    char text[24], *at = text + sizeof(text);
    uint64_t left = integer < 0 ? 0 - (uint64_t)integer : (uint64_t)integer;
    do {
        *--at = (char)('0' + left % 10);
        left /= 10;
    } while (left);
    if (integer < 0) {
        *--at = '-';
    }
    ac_buf_add(buf, at, (size_t)(text + sizeof(text) - at));
}

static void dump_value(ac_buf_t *buf, const json_t *value, int depth);

static void dump_object(ac_buf_t *buf, const json_t *value, int depth)
{
    json_t *members = (json_t *)value;
    const char *before = "{";
    for (void *at = json_object_iter(members); at && !buf->failed; at = json_object_iter_next(members, at)) {
        const char *name = json_object_iter_key(at);
        ac_buf_add(buf, before, 1);
        ac_buf_json(buf, name, strlen(name));
        ac_buf_add(buf, ":", 1);
        dump_value(buf, json_object_iter_value(at), depth + 1);
        before = ",";
    }
    ac_buf_str(buf, *before == '{' ? "{}" : "}");
}

static void dump_array(ac_buf_t *buf, const json_t *value, int depth)
{
    size_t n_items = json_array_size(value);
    ac_buf_add(buf, "[", 1);
    for (size_t i = 0; i < n_items && !buf->failed; i++) {
        if (i) {
            ac_buf_add(buf, ",", 1);
        }
        dump_value(buf, json_array_get(value, i), depth + 1);
    }
    ac_buf_add(buf, "]", 1);
}

static void dump_value(ac_buf_t *buf, const json_t *value, int depth)
{
    if (!value || depth > MAX_DUMP_DEPTH) {
        buf->failed = true;
        return;
    }
    switch (json_typeof(value)) {
    case JSON_OBJECT: dump_object(buf, value, depth); break;
    case JSON_ARRAY: dump_array(buf, value, depth); break;
    case JSON_STRING: ac_buf_json(buf, json_string_value(value), json_string_length(value)); break;
    case JSON_INTEGER: dump_integer(buf, json_integer_value(value)); break;
    case JSON_REAL: dump_real(buf, json_real_value(value)); break;
    case JSON_TRUE: ac_buf_add(buf, "true", 4); break;
    case JSON_FALSE: ac_buf_add(buf, "false", 5); break;
    case JSON_NULL: ac_buf_add(buf, "null", 4); break;
    }
}

char *ac_json_dump(const json_t *value, size_t *plen)
{
    ac_buf_t buf;
    ac_buf_init(&buf, AC_MAX_JSON_TEXT);
    dump_value(&buf, value, 0);
    if (buf.failed) {
        ac_buf_free(&buf);
        return NULL;
    }
    if (plen) {
        *plen = buf.len;
    }
    return buf.data;
}
