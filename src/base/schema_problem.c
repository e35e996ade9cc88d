/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a JSON Schema is one, as far as it is used here. */
#include "base_internal.h"

#include <math.h>
#include <string.h>

#include <apr_strings.h>

#define TYPES_SENTENCE "string, number, integer, boolean, object, array or null"

static const char *problem(const ac_schema_path_t *at, const char *key, const char *why, apr_pool_t *p)
{
    char pointer[AC_ERR_POINTER_SIZE];
    ac_schema_write_pointer(pointer, at);
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

static const char *type_problem(const json_t *schema, const ac_schema_path_t *at, apr_pool_t *p)
{
    const json_t *type = json_object_get(schema, "type");
    bool good = !type || is_type_name(type) || json_array_size(type) > 0;
    for (size_t i = 0; i < json_array_size(type) && good; i++) {
        good = is_type_name(json_array_get(type, i));
    }
    return good ? NULL : problem(at, "type", "must be " TYPES_SENTENCE ", or a list of these", p);
}

static const char *numbers_problem(const json_t *schema, const ac_schema_path_t *at, apr_pool_t *p)
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
        double number = json_number_value(value);
        if (value && (!json_is_number(value) || floor(number) != number || number < 0)) {
            return problem(at, counts[i], "must be a whole number, 0 or more", p);
        }
    }
    const json_t *step = json_object_get(schema, "multipleOf");
    if (step && (!json_is_number(step) || json_number_value(step) <= 0)) {
        return problem(at, "multipleOf", "must be a number greater than 0", p);
    }
    return NULL;
}

static const char *required_problem(const json_t *schema, const ac_schema_path_t *at, apr_pool_t *p)
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

static const char *level_problem(const json_t *schema, const ac_schema_path_t *at, apr_pool_t *p);

/* The forms that one value may have. */
static const char *forms_problem(const json_t *schema, const ac_schema_path_t *at, apr_pool_t *p)
{
    static const char *const names[] = {"allOf", "anyOf", "oneOf"};
    const char *found = NULL;
    for (size_t n = 0; !found && n < sizeof names / sizeof names[0]; n++) {
        const json_t *forms = json_object_get(schema, names[n]);
        ac_schema_path_t inside = {at, names[n], 0, at->depth + 1, NULL};
        if (forms && json_array_size(forms) == 0) {
            return problem(at, names[n], "must be a list of at least one schema", p);
        }
        for (size_t i = 0; i < json_array_size(forms) && !found; i++) {
            ac_schema_path_t form = {&inside, NULL, i, inside.depth + 1, NULL};
            found = level_problem(json_array_get(forms, i), &form, p);
        }
    }
    return found;
}

static const char *child_problem(const json_t *schema, const ac_schema_path_t *at, const char *key, apr_pool_t *p)
{
    ac_schema_path_t inside = {at, key, 0, at->depth + 1, NULL};
    const json_t *child = json_object_get(schema, key);
    const char *found = NULL;
    if (!json_is_array(child) || strcmp(key, "items") != 0) {
        return child ? level_problem(child, &inside, p) : NULL;
    }
    for (size_t i = 0; i < json_array_size(child) && !found; i++) {
        ac_schema_path_t item = {&inside, NULL, i, inside.depth + 1, NULL};
        found = level_problem(json_array_get(child, i), &item, p);
    }
    return found;
}

static const char *properties_problem(const json_t *schema, const ac_schema_path_t *at, apr_pool_t *p)
{
    ac_schema_path_t inside = {at, "properties", 0, at->depth, NULL};
    json_t *properties = json_object_get(schema, "properties");
    const char *found = NULL;
    if (properties && !json_is_object(properties)) {
        return problem(at, "properties", "must be an object", p);
    }
    for (void *it = json_object_iter(properties); it && !found; it = json_object_iter_next(properties, it)) {
        ac_schema_path_t member = {&inside, json_object_iter_key(it), 0, at->depth + 1, NULL};
        found = level_problem(json_object_iter_value(it), &member, p);
    }
    return found;
}

static const char *level_problem(const json_t *schema, const ac_schema_path_t *at, apr_pool_t *p)
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
    if (!found) {
        found = forms_problem(schema, at, p);
    }
    return found ? found : child_problem(schema, at, "items", p);
}

const char *ac_schema_problem(const json_t *schema, apr_pool_t *p)
{
    ac_schema_path_t root = {.up = NULL};
    if (!json_is_object(schema)) {
        return "the schema must be an object";
    }
    const char *type = json_string_value(json_object_get(schema, "type"));
    if (!type || strcmp(type, "object") != 0) {
        return "the schema's type must be \"object\"";
    }
    return level_problem(schema, &root, p);
}
