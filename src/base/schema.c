/* SPDX-License-Identifier: Apache-2.0 */
/* The part of JSON Schema that tools' parameters and models' answers use: checking a value. Unknown keywords are
 * ignored, as the standard requires. source: JSON Schema 2020-12, core, 8 and 10, and validation, 6. */
#include "base_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MOST_STEPS 100000 /* levels that one check looks at: forms of forms multiply */

typedef struct ac_schema_check_t {
    const json_t *root; /* the whole schema */
    int left;           /* of MOST_STEPS */
} check_t;

void ac_schema_write_pointer(char pointer[AC_ERR_POINTER_SIZE], const ac_schema_path_t *at)
{
    if (!at->up) {
        pointer[0] = '\0';
        return;
    }
    ac_schema_write_pointer(pointer, at->up);
    if (at->name) {
        ac_json_pointer_add(pointer, at->name);
    } else {
        char index[24];
        snprintf(index, sizeof(index), "%zu", at->index);
        ac_json_pointer_add(pointer, index);
    }
}

static apr_status_t schema_wrong(ac_err_t *err, const ac_schema_path_t *at, const char *why)
{
    char pointer[AC_ERR_POINTER_SIZE];
    ac_schema_write_pointer(pointer, at);
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

static apr_status_t check_type(const json_t *schema, const json_t *value, const ac_schema_path_t *at, ac_err_t *err)
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

static apr_status_t check_choice(const json_t *schema, const json_t *value, const ac_schema_path_t *at, ac_err_t *err)
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
static apr_status_t out_of_bounds(ac_err_t *err, const ac_schema_path_t *at, const char *must, const json_t *bound,
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
static apr_status_t schema_check_end(const json_t *schema, const json_t *value, int sign, const ac_schema_path_t *at,
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

static apr_status_t check_number(const json_t *schema, const json_t *value, const ac_schema_path_t *at, ac_err_t *err)
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

static apr_status_t check_size(const json_t *schema, size_t size, const size_words_t *words, const ac_schema_path_t *at,
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

static apr_status_t check_string(const json_t *schema, const json_t *value, const ac_schema_path_t *at, ac_err_t *err)
{
    static const size_words_t words = {"minLength", "maxLength", " characters"};
    size_t n_chars = ac_utf8_count(json_string_value(value), json_string_length(value));
    return check_size(schema, n_chars, &words, at, err);
}

/* ---- going down ---- */
static apr_status_t check_value(const json_t *schema, const json_t *value, const ac_schema_path_t *at, ac_err_t *err);

static apr_status_t check_items(const json_t *schema, const json_t *value, const ac_schema_path_t *at, ac_err_t *err)
{
    static const size_words_t words = {"minItems", "maxItems", " items"};
    const json_t *items = json_object_get(schema, "items");
    apr_status_t status = check_size(schema, json_array_size(value), &words, at, err);
    for (size_t i = 0; items && status == APR_SUCCESS && i < json_array_size(value); i++) {
        ac_schema_path_t inside = {at, NULL, i, at->depth + 1, at->check};
        /* Up to draft 2019-09 items could be a list of schemas, one for each item in turn. */
        const json_t *item_schema = json_is_array(items) ? json_array_get(items, i) : items;
        if (item_schema) {
            status = check_value(item_schema, json_array_get(value, i), &inside, err);
        }
    }
    return status;
}

static apr_status_t check_required(const json_t *schema, const json_t *value, const ac_schema_path_t *at, ac_err_t *err)
{
    const json_t *required = json_object_get(schema, "required");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        ac_schema_path_t inside = {at, name, 0, at->depth + 1, at->check};
        if (name && !json_object_get(value, name)) {
            return schema_wrong(err, &inside, "is missing");
        }
    }
    return APR_SUCCESS;
}

static apr_status_t check_members(const json_t *schema, const json_t *value, const ac_schema_path_t *at, ac_err_t *err)
{
    const json_t *properties = json_object_get(schema, "properties");
    const json_t *other = json_object_get(schema, "additionalProperties");
    json_t *members = (json_t *)value; /* iterating changes nothing */
    apr_status_t status = check_required(schema, value, at, err);
    for (void *it = json_object_iter(members); it && status == APR_SUCCESS; it = json_object_iter_next(members, it)) {
        ac_schema_path_t inside = {at, json_object_iter_key(it), 0, at->depth + 1, at->check};
        const json_t *member_schema = json_object_get(properties, inside.name);
        if (!member_schema && json_is_false(other)) {
            char pointer[AC_ERR_POINTER_SIZE];
            ac_schema_write_pointer(pointer, &inside);
            return ac_err_set_at(err, AC_INVALID_REQUEST, pointer, "a member of this name is not known");
        }
        member_schema = member_schema ? member_schema : other;
        if (member_schema) {
            status = check_value(member_schema, json_object_iter_value(it), &inside, err);
        }
    }
    return status;
}

/* The keywords of one level, without those that name other schemas for the same value. */
static apr_status_t check_level(const json_t *schema, const json_t *value, const ac_schema_path_t *at, ac_err_t *err)
{
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

const json_t *ac_schema_ref(const json_t *root, const char *ref)
{
    const json_t *found = root;
    char name[256];
    if (*ref++ != '#' || (*ref && *ref != '/')) {
        return NULL;
    }
    while (found && *ref == '/') {
        size_t len = 0;
        for (ref++; *ref && *ref != '/' && len + 1 < sizeof name; ref++) {
            bool escaped = *ref == '~' && (ref[1] == '0' || ref[1] == '1');
            ref += escaped;
            name[len++] = !escaped ? *ref : *ref == '1' ? '/' : '~';
        }
        name[len] = '\0';
        found = json_is_object(found) && (!*ref || *ref == '/') ? json_object_get(found, name) : NULL;
    }
    return found;
}

/* anyOf and oneOf: how many of the forms fit. */
static size_t count_fitting(const json_t *forms, const json_t *value, const ac_schema_path_t *at)
{
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(forms); i++) {
        n += check_value(json_array_get(forms, i), value, at, NULL) == APR_SUCCESS;
    }
    return n;
}

/* The other schemas that the same value must fit. */
static apr_status_t check_others(const json_t *schema, const json_t *value, const ac_schema_path_t *at, ac_err_t *err)
{
    ac_schema_path_t inner = *at;
    const char *ref = ac_json_peek_string(schema, "$ref", NULL);
    const json_t *all = json_object_get(schema, "allOf"), *any = json_object_get(schema, "anyOf");
    const json_t *one = json_object_get(schema, "oneOf"), *target = ref ? ac_schema_ref(at->check->root, ref) : NULL;
    inner.depth++;
    apr_status_t status = target ? check_value(target, value, &inner, err) : APR_SUCCESS;
    for (size_t i = 0; status == APR_SUCCESS && i < json_array_size(all); i++) {
        status = check_value(json_array_get(all, i), value, &inner, err);
    }
    if (status == APR_SUCCESS && json_is_array(any) && count_fitting(any, value, &inner) == 0) {
        status = schema_wrong(err, at, "is of none of the allowed forms");
    }
    if (status == APR_SUCCESS && json_is_array(one) && count_fitting(one, value, &inner) != 1) {
        status = schema_wrong(err, at, "must be of exactly one of the allowed forms");
    }
    return status;
}

static apr_status_t check_value(const json_t *schema, const json_t *value, const ac_schema_path_t *at, ac_err_t *err)
{
    if (json_is_false(schema)) {
        return schema_wrong(err, at, "is not allowed here");
    }
    if (at->depth > AC_MAX_JSON_DEPTH) {
        return schema_wrong(err, at, "is nested too deeply");
    }
    if (at->check->left-- <= 0) {
        return schema_wrong(err, at, "is too much to be checked");
    }
    apr_status_t status = check_level(schema, value, at, err);
    return status == APR_SUCCESS ? check_others(schema, value, at, err) : status;
}

apr_status_t ac_schema_check(const json_t *schema, const json_t *value, ac_err_t *err)
{
    check_t check = {schema, MOST_STEPS};
    ac_schema_path_t root = {NULL, NULL, 0, 0, &check};
    if (!value) {
        return ac_err_set(err, AC_INVALID_REQUEST, "there is no value");
    }
    return schema ? check_value(schema, value, &root, err) : APR_SUCCESS;
}

static bool is_required(const json_t *schema, const char *name)
{
    const json_t *required = json_object_get(schema, "required");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *one = json_string_value(json_array_get(required, i));
        if (one && strcmp(one, name) == 0) {
            return true;
        }
    }
    return false;
}

void ac_schema_drop_nulls(const json_t *schema, json_t *value)
{
    const json_t *properties = json_object_get(schema, "properties");
    const char *name;
    json_t *member;
    void *next;
    json_object_foreach_safe(value, next, name, member)
    {
        check_t check = {schema, MOST_STEPS};
        ac_schema_path_t root = {NULL, NULL, 0, 0, &check};
        const json_t *property = json_object_get(properties, name);
        if (json_is_null(member) && property && !is_required(schema, name) &&
            check_value(property, member, &root, NULL) != APR_SUCCESS) {
            json_object_del(value, name);
        }
    }
}
