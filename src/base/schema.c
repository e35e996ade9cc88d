/* SPDX-License-Identifier: Apache-2.0 */
/* The part of JSON Schema that tools' parameters use: checking a value, and checking the schema itself. Unknown
 * keywords are ignored, as the standard requires. source: JSON Schema 2020-12, validation, 6. */
#include "base.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <apr_strings.h>

#define TYPES_SENTENCE "string, number, integer, boolean, object, array or null"

/* A position in a document: a list from the inside out, on the stack. */
typedef struct path_t {
    const struct path_t *up;
    const char *name; /* NULL: an array's item */
    size_t index;
    int depth;
} path_t;

static void write_pointer(char pointer[AC_ERR_POINTER_SIZE], const path_t *at)
{
    if (!at->up) {
        pointer[0] = '\0';
        return;
    }
    write_pointer(pointer, at->up);
    if (at->name) {
        ac_json_pointer_add(pointer, at->name);
    } else {
        char index[24];
        snprintf(index, sizeof(index), "%zu", at->index);
        ac_json_pointer_add(pointer, index);
    }
}

static apr_status_t schema_wrong(ac_err_t *err, const path_t *at, const char *why)
{
    char pointer[AC_ERR_POINTER_SIZE];
    write_pointer(pointer, at);
    return ac_err_set_at(err, AC_INVALID_REQUEST, pointer, "%s %s",
                         at->name     ? at->name
                             : at->up ? "an item"
                                      : "the value",
                         why);
}

/* ---- numbers: 1 and 1.0 are the same to JSON Schema ---- */
static long double schema_number_of(const json_t *value)
{
    return json_is_integer(value) ? (long double)json_integer_value(value) : (long double)json_real_value(value);
}

/* Less than, equal to or greater than 0, as strcmp() returns. */
static int compare(const json_t *a, const json_t *b)
{
    if (json_is_integer(a) && json_is_integer(b)) {
        json_int_t x = json_integer_value(a), y = json_integer_value(b);
        return (x > y) - (x < y);
    }
    long double x = schema_number_of(a), y = schema_number_of(b);
    return (x > y) - (x < y);
}

static bool schema_is_whole(const json_t *value)
{
    return json_is_integer(value) || (json_is_real(value) && floor(json_real_value(value)) == json_real_value(value));
}

static bool is_multiple(const json_t *value, const json_t *of)
{
    if (json_is_integer(value) && json_is_integer(of)) {
        /* INT64_MIN % -1 would trap; every number is a multiple of 1 and -1. */
        json_int_t divisor = json_integer_value(of);
        return (divisor >= -1 && divisor <= 1) || json_integer_value(value) % divisor == 0;
    }
    long double divisor = schema_number_of(of);
    if (divisor == 0) {
        return true;
    }
    /* Authors of schemas expect 0.3 to be a multiple of 0.1, which it is not in binary. */
    long double times = schema_number_of(value) / divisor;
    return fabsl(times - roundl(times)) <= 1e-9L * fmaxl(1, fabsl(times));
}

static bool same(const json_t *a, const json_t *b)
{
    return json_is_number(a) && json_is_number(b) ? compare(a, b) == 0 : json_equal(a, b) == 1;
}

/* ---- keywords of one level ---- */
static bool schema_is_type(const json_t *value, const char *type)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: return strcmp(type, "object") == 0;
    case JSON_ARRAY: return strcmp(type, "array") == 0;
    case JSON_STRING: return strcmp(type, "string") == 0;
    case JSON_INTEGER: return strcmp(type, "integer") == 0 || strcmp(type, "number") == 0;
    case JSON_REAL: return strcmp(type, "number") == 0 || (strcmp(type, "integer") == 0 && schema_is_whole(value));
    case JSON_TRUE:
    case JSON_FALSE: return strcmp(type, "boolean") == 0;
    case JSON_NULL: return strcmp(type, "null") == 0;
    }
    return false;
}

static apr_status_t check_type(const json_t *schema, const json_t *value, const path_t *at, ac_err_t *err)
{
    const json_t *type = json_object_get(schema, "type");
    if (json_is_string(type) && !schema_is_type(value, json_string_value(type))) {
        char why[64];
        snprintf(why, sizeof(why), "must be of type %s", json_string_value(type));
        return schema_wrong(err, at, why);
    }
    size_t n_types = json_array_size(type);
    bool allowed = n_types == 0;
    for (size_t i = 0; i < n_types && !allowed; i++) {
        const char *name = json_string_value(json_array_get(type, i));
        allowed = name && schema_is_type(value, name);
    }
    return allowed ? APR_SUCCESS : schema_wrong(err, at, "is of a type that is not allowed here");
}

static apr_status_t check_choice(const json_t *schema, const json_t *value, const path_t *at, ac_err_t *err)
{
    const json_t *only = json_object_get(schema, "const");
    if (only && !same(only, value)) {
        return schema_wrong(err, at, "is not the one value that is allowed");
    }
    const json_t *choice = json_object_get(schema, "enum");
    if (!json_is_array(choice)) {
        return APR_SUCCESS;
    }
    for (size_t i = 0; i < json_array_size(choice); i++) {
        if (same(json_array_get(choice, i), value)) {
            return APR_SUCCESS;
        }
    }
    return schema_wrong(err, at, "is not one of the allowed values");
}

/* Reports the violated bound, with the number as the schema's author wrote it. */
static apr_status_t out_of_bounds(ac_err_t *err, const path_t *at, const char *must, const json_t *bound,
                                  const char *unit)
{
    char why[80];
    if (json_is_integer(bound)) {
        snprintf(why, sizeof(why), "%s %" JSON_INTEGER_FORMAT "%s", must, json_integer_value(bound), unit);
    } else {
        snprintf(why, sizeof(why), "%s %.15g%s", must, json_real_value(bound), unit);
    }
    return schema_wrong(err, at, why);
}

/* One end of a range. sign: 1 for the lower end, -1 for the upper. */
static apr_status_t schema_check_end(const json_t *schema, const json_t *value, int sign, const path_t *at,
                                     ac_err_t *err)
{
    const json_t *bound = json_object_get(schema, sign > 0 ? "minimum" : "maximum");
    const json_t *strict = json_object_get(schema, sign > 0 ? "exclusiveMinimum" : "exclusiveMaximum");
    const char *beyond = sign > 0 ? "must be greater than" : "must be less than";
    if (json_is_true(strict)) {
        /* Draft 4 has it as a boolean next to the bound. */
        strict = bound;
        bound = NULL;
    }
    if (json_is_number(bound) && sign * compare(value, bound) < 0) {
        return out_of_bounds(err, at, sign > 0 ? "must be at least" : "must be at most", bound, "");
    }
    if (json_is_number(strict) && sign * compare(value, strict) <= 0) {
        return out_of_bounds(err, at, beyond, strict, "");
    }
    return APR_SUCCESS;
}

static apr_status_t check_number(const json_t *schema, const json_t *value, const path_t *at, ac_err_t *err)
{
    const json_t *step = json_object_get(schema, "multipleOf");
    apr_status_t status = schema_check_end(schema, value, 1, at, err);
    if (status == APR_SUCCESS) {
        status = schema_check_end(schema, value, -1, at, err);
    }
    if (status == APR_SUCCESS && json_is_number(step) && !is_multiple(value, step)) {
        status = out_of_bounds(err, at, "must be a multiple of", step, "");
    }
    return status;
}

typedef struct size_words_t {
    const char *least_key, *most_key, *unit;
} size_words_t;

static apr_status_t check_size(const json_t *schema, size_t size, const size_words_t *words, const path_t *at,
                               ac_err_t *err)
{
    const json_t *bound = json_object_get(schema, words->least_key);
    if (json_is_number(bound) && (long double)size < schema_number_of(bound)) {
        return out_of_bounds(err, at, "must have at least", bound, words->unit);
    }
    bound = json_object_get(schema, words->most_key);
    if (json_is_number(bound) && (long double)size > schema_number_of(bound)) {
        return out_of_bounds(err, at, "must have at most", bound, words->unit);
    }
    return APR_SUCCESS;
}

static apr_status_t check_string(const json_t *schema, const json_t *value, const path_t *at, ac_err_t *err)
{
    static const size_words_t words = {"minLength", "maxLength", " characters"};
    size_t n_chars = ac_utf8_count(json_string_value(value), json_string_length(value));
    return check_size(schema, n_chars, &words, at, err);
}

/* ---- going down ---- */
static apr_status_t check_value(const json_t *schema, const json_t *value, const path_t *at, ac_err_t *err);

static apr_status_t check_items(const json_t *schema, const json_t *value, const path_t *at, ac_err_t *err)
{
    static const size_words_t words = {"minItems", "maxItems", " items"};
    const json_t *items = json_object_get(schema, "items");
    apr_status_t status = check_size(schema, json_array_size(value), &words, at, err);
    for (size_t i = 0; items && status == APR_SUCCESS && i < json_array_size(value); i++) {
        path_t inside = {at, NULL, i, at->depth + 1};
        /* Up to draft 2019-09 items could be a list of schemas, one for each item in turn. */
        const json_t *item_schema = json_is_array(items) ? json_array_get(items, i) : items;
        if (item_schema) {
            status = check_value(item_schema, json_array_get(value, i), &inside, err);
        }
    }
    return status;
}

static apr_status_t check_required(const json_t *schema, const json_t *value, const path_t *at, ac_err_t *err)
{
    const json_t *required = json_object_get(schema, "required");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        path_t inside = {at, name, 0, at->depth + 1};
        if (name && !json_object_get(value, name)) {
            return schema_wrong(err, &inside, "is missing");
        }
    }
    return APR_SUCCESS;
}

static apr_status_t check_members(const json_t *schema, const json_t *value, const path_t *at, ac_err_t *err)
{
    const json_t *properties = json_object_get(schema, "properties");
    const json_t *other = json_object_get(schema, "additionalProperties");
    json_t *members = (json_t *)value; /* iterating changes nothing */
    apr_status_t status = check_required(schema, value, at, err);
    for (void *it = json_object_iter(members); it && status == APR_SUCCESS; it = json_object_iter_next(members, it)) {
        path_t inside = {at, json_object_iter_key(it), 0, at->depth + 1};
        const json_t *member_schema = json_object_get(properties, inside.name);
        if (!member_schema && json_is_false(other)) {
            char pointer[AC_ERR_POINTER_SIZE];
            write_pointer(pointer, &inside);
            return ac_err_set_at(err, AC_INVALID_REQUEST, pointer, "a member of this name is not known");
        }
        member_schema = member_schema ? member_schema : other;
        if (member_schema) {
            status = check_value(member_schema, json_object_iter_value(it), &inside, err);
        }
    }
    return status;
}

static apr_status_t check_value(const json_t *schema, const json_t *value, const path_t *at, ac_err_t *err)
{
    if (json_is_false(schema)) {
        return schema_wrong(err, at, "is not allowed here");
    }
    if (at->depth > AC_MAX_JSON_DEPTH) {
        return schema_wrong(err, at, "is nested too deeply");
    }
    apr_status_t status = check_type(schema, value, at, err);
    if (status == APR_SUCCESS) {
        status = check_choice(schema, value, at, err);
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    switch (json_typeof(value)) {
    case JSON_OBJECT: return check_members(schema, value, at, err);
    case JSON_ARRAY: return check_items(schema, value, at, err);
    case JSON_STRING: return check_string(schema, value, at, err);
    case JSON_INTEGER:
    case JSON_REAL: return check_number(schema, value, at, err);
    default: return APR_SUCCESS;
    }
}

apr_status_t ac_schema_check(const json_t *schema, const json_t *value, ac_err_t *err)
{
    path_t root = {NULL, NULL, 0, 0};
    if (!value) {
        return ac_err_set(err, AC_INVALID_REQUEST, "there is no value");
    }
    return schema ? check_value(schema, value, &root, err) : APR_SUCCESS;
}

/* ---- the schema itself ---- */
static const char *problem(const path_t *at, const char *key, const char *why, apr_pool_t *p)
{
    char pointer[AC_ERR_POINTER_SIZE];
    write_pointer(pointer, at);
    return apr_psprintf(p, "%s%s%s %s", *pointer || *key ? pointer : "the schema", *key ? "/" : "", key, why);
}

static bool is_type_name(const json_t *value)
{
    static const char *const names[] = {"string", "number", "integer", "boolean", "object", "array", "null", NULL};
    const char *name = json_string_value(value);
    for (int i = 0; name && names[i]; i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static const char *type_problem(const json_t *schema, const path_t *at, apr_pool_t *p)
{
    const json_t *type = json_object_get(schema, "type");
    bool good = !type || is_type_name(type) || json_array_size(type) > 0;
    for (size_t i = 0; i < json_array_size(type) && good; i++) {
        good = is_type_name(json_array_get(type, i));
    }
    return good ? NULL : problem(at, "type", "must be " TYPES_SENTENCE ", or a list of these", p);
}

static const char *numbers_problem(const json_t *schema, const path_t *at, apr_pool_t *p)
{
    static const char *const any[] = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", NULL};
    static const char *const counts[] = {"minLength", "maxLength", "minItems", "maxItems", NULL};
    for (int i = 0; any[i]; i++) {
        const json_t *value = json_object_get(schema, any[i]);
        if (value && !json_is_number(value) && !(json_is_boolean(value) && any[i][0] == 'e')) {
            return problem(at, any[i], "must be a number", p);
        }
    }
    for (int i = 0; counts[i]; i++) {
        const json_t *value = json_object_get(schema, counts[i]);
        if (value && (!json_is_number(value) || !schema_is_whole(value) || schema_number_of(value) < 0)) {
            return problem(at, counts[i], "must be a whole number, 0 or more", p);
        }
    }
    const json_t *step = json_object_get(schema, "multipleOf");
    if (step && (!json_is_number(step) || schema_number_of(step) <= 0)) {
        return problem(at, "multipleOf", "must be a number greater than 0", p);
    }
    return NULL;
}

static const char *required_problem(const json_t *schema, const path_t *at, apr_pool_t *p)
{
    const json_t *required = json_object_get(schema, "required");
    const json_t *properties = json_object_get(schema, "properties");
    if (required && !json_is_array(required)) {
        return problem(at, "required", "must be a list of names", p);
    }
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        if (!name) {
            return problem(at, "required", "must be a list of names", p);
        }
        if (json_is_false(json_object_get(schema, "additionalProperties")) && !json_object_get(properties, name)) {
            return problem(at, "required", apr_psprintf(p, "asks for '%s', which properties does not have", name), p);
        }
    }
    return NULL;
}

static const char *level_problem(const json_t *schema, const path_t *at, apr_pool_t *p);

static const char *child_problem(const json_t *schema, const path_t *at, const char *key, apr_pool_t *p)
{
    path_t inside = {at, key, 0, at->depth + 1};
    const json_t *child = json_object_get(schema, key);
    const char *found = NULL;
    if (!json_is_array(child) || strcmp(key, "items") != 0) {
        return child ? level_problem(child, &inside, p) : NULL;
    }
    for (size_t i = 0; i < json_array_size(child) && !found; i++) {
        path_t item = {&inside, NULL, i, inside.depth + 1};
        found = level_problem(json_array_get(child, i), &item, p);
    }
    return found;
}

static const char *properties_problem(const json_t *schema, const path_t *at, apr_pool_t *p)
{
    path_t inside = {at, "properties", 0, at->depth};
    json_t *properties = json_object_get(schema, "properties");
    const char *found = NULL;
    if (properties && !json_is_object(properties)) {
        return problem(at, "properties", "must be an object", p);
    }
    for (void *it = json_object_iter(properties); it && !found; it = json_object_iter_next(properties, it)) {
        path_t member = {&inside, json_object_iter_key(it), 0, at->depth + 1};
        found = level_problem(json_object_iter_value(it), &member, p);
    }
    return found;
}

static const char *level_problem(const json_t *schema, const path_t *at, apr_pool_t *p)
{
    if (json_is_boolean(schema)) {
        return NULL;
    }
    if (!json_is_object(schema)) {
        return problem(at, "", "must be an object", p);
    }
    if (at->depth > AC_MAX_JSON_DEPTH) {
        return problem(at, "", "is nested too deeply", p);
    }
    const json_t *choice = json_object_get(schema, "enum");
    if (choice && json_array_size(choice) == 0) {
        return problem(at, "enum", "must be a list of at least one value", p);
    }
    const char *found = type_problem(schema, at, p);
    if (!found) {
        found = numbers_problem(schema, at, p);
    }
    if (!found) {
        found = required_problem(schema, at, p);
    }
    if (!found) {
        found = properties_problem(schema, at, p);
    }
    if (!found) {
        found = child_problem(schema, at, "additionalProperties", p);
    }
    return found ? found : child_problem(schema, at, "items", p);
}

const char *ac_schema_problem(const json_t *schema, apr_pool_t *p)
{
    path_t root = {NULL, NULL, 0, 0};
    if (!json_is_object(schema)) {
        return "the schema must be an object";
    }
    const char *type = json_string_value(json_object_get(schema, "type"));
    if (!type || strcmp(type, "object") != 0) {
        return "the schema's type must be \"object\": a tool's parameters have names";
    }
    return level_problem(schema, &root, p);
}
