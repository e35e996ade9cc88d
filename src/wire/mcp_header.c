/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters of tools that are sent as headers, too, and the encoding of values of headers. */
#include "wire/mcp.h"

#include <apr_lib.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ANNOTATION "x-mcp-header"
#define MAX_ANNOTATIONS 32   /* of a tool */
#define MAX_VALUE (8 * 1024) /* bytes of a header's value */
#define MAX_SAFE ((INT64_C(1) << 53) - 1)

/* ---- finding annotations ---- */

typedef struct place_t { /* of a schema in its document, from the inside out */
    const struct place_t *up;
    const char *name;
} place_t;

typedef struct search_t {
    json_t *found;
} search_t;

static bool mcp_header_is_token(const char *text)
{
    size_t len = 0;
    while (apr_isalnum(text[len]) || (text[len] && strchr("!#$%&'*+-.^_`|~", text[len]))) {
        len++;
    }
    return len > 0 && len <= 128 && !text[len];
}

static bool mcp_header_is_primitive(const char *type)
{
    return strcmp(type, "string") == 0 || strcmp(type, "integer") == 0 || strcmp(type, "boolean") == 0;
}

/* One of the types that can be a header, or also null. */
static bool mcp_header_type_fits(const json_t *type)
{
    int n_primitives = 0;
    if (json_is_string(type)) {
        return mcp_header_is_primitive(json_string_value(type));
    }
    for (size_t i = 0; i < json_array_size(type); i++) {
        const char *name = json_string_value(json_array_get(type, i));
        if (!name || (!mcp_header_is_primitive(name) && strcmp(name, "null") != 0)) {
            return false;
        }
        n_primitives += mcp_header_is_primitive(name);
    }
    return n_primitives == 1;
}

static bool mcp_header_is_new(const json_t *found, const char *name)
{
    for (size_t i = 0; i < json_array_size(found); i++) {
        if (strcasecmp(ac_json_peek_string(json_array_get(found, i), "name", ""), name) == 0) {
            return false;
        }
    }
    return json_array_size(found) < MAX_ANNOTATIONS;
}

static json_t *mcp_header_path(const place_t *place)
{
    json_t *path = json_array();
    for (; place->up; place = place->up) {
        json_array_insert_new(path, 0, ac_json_text(place->name));
    }
    return path;
}

static bool take_annotation(search_t *search, const json_t *schema, const place_t *place)
{
    const json_t *value = json_object_get(schema, ANNOTATION);
    const char *name = json_string_value(value);
    if (!value || (!place && !name)) { /* elsewhere it may be the name of a member */
        return true;
    }
    if (!place || !place->up || !name || !mcp_header_is_token(name) ||
        !mcp_header_type_fits(json_object_get(schema, "type")) || !mcp_header_is_new(search->found, name)) {
        return false;
    }
    json_array_append_new(search->found, json_pack("{s:s, s:o}", "name", name, "path", mcp_header_path(place)));
    return true;
}

static bool search_schema(search_t *search, const json_t *schema, const place_t *place);

static bool mcp_header_is_data(const char *keyword)
{
    static const char *const names[] = {"default", "const", "enum", "examples"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], keyword) == 0) {
            return true;
        }
    }
    return false;
}

/* Schemas that are members or items of value, which no argument reaches by names alone. */
static bool search_others(search_t *search, const json_t *value)
{
    const char *name;
    json_t *item;
    size_t i;
    json_array_foreach((json_t *)value, i, item)
    {
        if (!search_schema(search, item, NULL)) {
            return false;
        }
    }
    json_object_foreach((json_t *)value, name, item)
    {
        if (!mcp_header_is_data(name) && !search_schema(search, item, NULL)) {
            return false;
        }
    }
    return true;
}

static bool search_members(search_t *search, const json_t *properties, const place_t *place)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)properties, name, value)
    {
        place_t inside = {place, name};
        if (!search_schema(search, value, place ? &inside : NULL)) {
            return false;
        }
    }
    return true;
}

/* place NULL: an argument cannot be found there by names alone. */
static bool search_schema(search_t *search, const json_t *schema, const place_t *place)
{
    const char *name;
    json_t *value;
    if (!json_is_object(schema) && !json_is_array(schema)) {
        return true;
    }
    if (json_is_object(schema) && !take_annotation(search, schema, place)) {
        return false;
    }
    if (!place || json_is_array(schema)) {
        return search_others(search, schema);
    }
    json_object_foreach((json_t *)schema, name, value)
    {
        bool fine = strcmp(name, "properties") == 0 ? search_members(search, value, place)
                                                    : mcp_header_is_data(name) || search_schema(search, value, NULL);
        if (!fine) {
            return false;
        }
    }
    return true;
}

bool ac_mcp_header_find(json_t **pheaders, const json_t *schema)
{
    search_t search = {.found = json_array()};
    place_t top = {NULL, NULL};
    bool valid = search_schema(&search, schema, &top);
    bool any = valid && json_array_size(search.found) > 0;
    *pheaders = any ? json_incref(search.found) : NULL;
    json_decref(search.found);
    return valid;
}

/* ---- values ---- */

static bool mcp_header_survives(const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < ' ' || (unsigned char)text[i] > '~') {
            return false;
        }
    }
    bool blank = len && (text[0] == ' ' || text[len - 1] == ' ');
    bool marked = len >= 11 && strncmp(text, "=?base64?", 9) == 0 && strcmp(text + len - 2, "?=") == 0;
    return !blank && !marked;
}

void ac_mcp_header_add_value(ac_buf_t *line, const char *text)
{
    size_t len = strlen(text);
    if (mcp_header_survives(text)) {
        ac_buf_str(line, text);
        return;
    }
    unsigned char *encoded = ac_alloc(len / 3 * 4 + 5);
    EVP_EncodeBlock(encoded, (const unsigned char *)text, (int)len);
    ac_buf_printf(line, "=?base64?%s?=", (const char *)encoded);
    free(encoded);
}

static const json_t *mcp_header_value(const json_t *path, const json_t *arguments)
{
    for (size_t i = 0; i < json_array_size(path); i++) {
        arguments = json_object_get(arguments, json_string_value(json_array_get(path, i)));
    }
    return arguments;
}

/* Sets text to a number as it is written; false: it is not one that is the same for every reader. */
static bool write_integer(char text[32], const json_t *value)
{
    int64_t whole = ac_json_whole_part(value, MAX_SAFE + 1);
    bool same = !json_is_real(value) || json_real_value(value) == (double)whole;
    snprintf(text, 32, "%" JSON_INTEGER_FORMAT, (json_int_t)whole);
    return same && whole >= -MAX_SAFE && whole <= MAX_SAFE;
}

apr_status_t ac_mcp_header_line(char **pline, const json_t *entry, const json_t *arguments, ac_err_t *err)
{
    const json_t *value = mcp_header_value(json_object_get(entry, "path"), arguments);
    const char *name = ac_json_peek_string(entry, "name", ""), *text = NULL;
    char number[32];
    *pline = NULL;
    if (json_is_string(value)) {
        text = json_string_value(value);
    } else if (json_is_boolean(value)) {
        text = json_is_true(value) ? "true" : "false";
    } else if (json_is_number(value)) {
        text = number;
        if (!write_integer(number, value)) {
            return ac_err_set(err, AC_TOOL_ERROR, "the argument for the header Mcp-Param-%s is no integer of 53 bits",
                              name);
        }
    }
    if (!text) {
        return APR_SUCCESS;
    }
    ac_buf_t line;
    ac_buf_init(&line, MAX_VALUE + 256);
    ac_buf_printf(&line, "Mcp-Param-%s: ", name);
    ac_mcp_header_add_value(&line, text);
    if (line.failed) {
        ac_buf_free(&line);
        return ac_err_set(err, AC_TOOL_ERROR, "the argument for the header Mcp-Param-%s is too long", name);
    }
    *pline = line.data;
    return APR_SUCCESS;
}
