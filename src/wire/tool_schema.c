/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Schema of tools as models accept it. Services of models refuse whole requests because of one tool whose schema
 * has a reference, a combination at its top, an array without `items`, or a keyword in the form of an older draft. */
#include "wire/tool.h"

#include <string.h>

#define MAX_REFERENCES 8 /* within one another */
#define MAX_NAMES 256    /* of a list of names */
#define NODE_COST 8      /* bytes that a value counts as, beside its text */

typedef struct schema_t { /* what is being made */
    const ac_tool_schema_t *as;
    const json_t *level; /* whose members are being made */
    int n_levels;        /* that are being made */
    const json_t *followed[MAX_REFERENCES];
    int n_followed;
    /* Bytes of the result that are left. References repeat what they name, so a short schema may be endless work:
     * with nothing left, nothing more is made. */
    size_t left;
} schema_t;

/* Whether there is room for so many bytes more, which it takes. */
static bool take(schema_t *schema, size_t n)
{
    schema->left = n < schema->left ? schema->left - n : 0;
    return schema->left > 0;
}

/* Takes room for a value as it is. */
static bool tool_schema_take(schema_t *schema, const json_t *value)
{
    json_t *item;
    const char *name;
    size_t i;
    bool room = take(schema, NODE_COST + json_string_length(value));
    json_array_foreach((json_t *)value, i, item)
    {
        if (!room || !tool_schema_take(schema, item)) {
            return false;
        }
    }
    json_object_foreach((json_t *)value, name, item)
    {
        if (!room || !take(schema, strlen(name)) || !tool_schema_take(schema, item)) {
            return false;
        }
    }
    return room;
}

static json_t *make_level(schema_t *schema, const json_t *given, int depth);

/* ---- references ---- */

/* An endless schema, and one that is elsewhere, accept any value. */
static json_t *tool_schema_reference(schema_t *schema, const char *reference, int depth)
{
    const json_t *target = ac_tool_reference_find(schema->as->root, reference);
    bool endless = schema->n_followed >= MAX_REFERENCES;
    for (int i = 0; i < schema->n_followed; i++) {
        endless = endless || schema->followed[i] == target;
    }
    if (!target || endless) {
        return json_object();
    }
    schema->followed[schema->n_followed++] = target;
    json_t *made = make_level(schema, target, depth);
    schema->n_followed--;
    return made;
}

/* ---- keywords ---- */

typedef enum keyword_e {
    KEYWORD_DATA, /* copied */
    KEYWORD_DROPPED,
    KEYWORD_SCHEMA,
    KEYWORD_OTHERS,  /* a schema, or whether others are allowed */
    KEYWORD_SCHEMAS, /* an array of schemas, not empty */
    KEYWORD_MEMBERS, /* an object of schemas */
    KEYWORD_TYPE,
    KEYWORD_CHOICE, /* an array, not empty */
    KEYWORD_NAMES,
    KEYWORD_NUMBER,
    KEYWORD_COUNT,
    KEYWORD_TEXT,
    KEYWORD_ITEMS
} keyword_e;

static const struct {
    const char *name;
    keyword_e type;
} keywords[] = {
    {"type", KEYWORD_TYPE},
    {"properties", KEYWORD_MEMBERS},
    {"patternProperties", KEYWORD_MEMBERS},
    {"dependentSchemas", KEYWORD_MEMBERS},
    {"additionalProperties", KEYWORD_OTHERS},
    {"unevaluatedProperties", KEYWORD_OTHERS},
    {"unevaluatedItems", KEYWORD_OTHERS},
    {"propertyNames", KEYWORD_SCHEMA},
    {"contains", KEYWORD_SCHEMA},
    {"not", KEYWORD_SCHEMA},
    {"if", KEYWORD_SCHEMA},
    {"then", KEYWORD_SCHEMA},
    {"else", KEYWORD_SCHEMA},
    {"items", KEYWORD_ITEMS},
    {"prefixItems", KEYWORD_SCHEMAS},
    {"allOf", KEYWORD_SCHEMAS},
    {"anyOf", KEYWORD_SCHEMAS},
    {"oneOf", KEYWORD_SCHEMAS},
    {"required", KEYWORD_NAMES},
    {"enum", KEYWORD_CHOICE},
    {"minimum", KEYWORD_NUMBER},
    {"maximum", KEYWORD_NUMBER},
    {"exclusiveMinimum", KEYWORD_NUMBER},
    {"exclusiveMaximum", KEYWORD_NUMBER},
    {"multipleOf", KEYWORD_NUMBER},
    {"minLength", KEYWORD_COUNT},
    {"maxLength", KEYWORD_COUNT},
    {"minItems", KEYWORD_COUNT},
    {"maxItems", KEYWORD_COUNT},
    {"minProperties", KEYWORD_COUNT},
    {"maxProperties", KEYWORD_COUNT},
    {"description", KEYWORD_TEXT},
    {"title", KEYWORD_TEXT},
    {"$ref", KEYWORD_DROPPED},
    {"$schema", KEYWORD_DROPPED},
    {"$id", KEYWORD_DROPPED},
    {"id", KEYWORD_DROPPED},
    {"$anchor", KEYWORD_DROPPED},
    {"$dynamicAnchor", KEYWORD_DROPPED},
    {"$dynamicRef", KEYWORD_DROPPED},
    {"$recursiveAnchor", KEYWORD_DROPPED},
    {"$recursiveRef", KEYWORD_DROPPED},
    {"$vocabulary", KEYWORD_DROPPED},
    {"$comment", KEYWORD_DROPPED},
    {"$defs", KEYWORD_DROPPED},
    {"definitions", KEYWORD_DROPPED},
    {"dependencies", KEYWORD_DROPPED},
    {"nullable", KEYWORD_DROPPED}, /* of OpenAPI */
    {"discriminator", KEYWORD_DROPPED},
    {"xml", KEYWORD_DROPPED},
    {"externalDocs", KEYWORD_DROPPED},
    {"example", KEYWORD_DROPPED},
};

static keyword_e tool_schema_keyword(const char *name)
{
    for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++) {
        if (strcmp(keywords[i].name, name) == 0) {
            return keywords[i].type;
        }
    }
    return strncmp(name, "x-", 2) == 0 ? KEYWORD_DROPPED : KEYWORD_DATA;
}

static bool tool_schema_is_type(const json_t *value)
{
    static const char *const names[] = {"string", "number", "integer", "boolean", "object", "array", "null"};
    const char *name = json_string_value(value);
    for (size_t i = 0; name && i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static json_t *make_strings(const json_t *given, bool types)
{
    json_t *list = json_array(), *value;
    size_t i;
    for (i = 0; i < json_array_size(given) && i < MAX_NAMES; i++) {
        bool known = false;
        value = json_array_get(given, i);
        for (size_t j = 0; j < json_array_size(list); j++) {
            known = known || json_equal(json_array_get(list, j), value);
        }
        if (!known && json_is_string(value) && (!types || tool_schema_is_type(value))) {
            json_array_append(list, value);
        }
    }
    if (json_array_size(list) == 0) {
        json_decref(list);
        return NULL;
    }
    return list;
}

static bool tool_schema_has_text(const json_t *list, const char *text)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *one = json_string_value(json_array_get(list, i));
        if (one && strcmp(one, text) == 0) {
            return true;
        }
    }
    return false;
}

/* A schema with its type alone, where there is no place for more. */
static json_t *make_stub(const schema_t *schema, const json_t *given)
{
    const char *reference = ac_json_peek_string(given, "$ref", NULL);
    const json_t *target = reference ? ac_tool_reference_find(schema->as->root, reference) : given;
    const char *type = ac_json_peek_string(target, "type", NULL);
    if (!type || json_is_true(json_object_get(target, "nullable"))) {
        return json_object();
    }
    return strcmp(type, "array") == 0 ? json_pack("{s:s, s:{}}", "type", type, "items")
                                      : json_pack("{s:s}", "type", type);
}

/* Below the depth that is wanted only members that must be there are whole. */
static json_t *make_member(schema_t *schema, const json_t *given, bool required, int depth)
{
    int most = schema->as->depth;
    return depth <= most ? make_level(schema, given, depth)
        : required       ? make_level(schema, given, most)
                         : make_stub(schema, given);
}

static json_t *make_members(schema_t *schema, const json_t *given, int depth)
{
    const json_t *required = json_object_get(schema->level, "required");
    json_t *members = json_object(), *value;
    const char *name;
    json_object_foreach((json_t *)given, name, value)
    {
        if (!take(schema, strlen(name))) {
            break;
        }
        json_t *made = make_member(schema, value, tool_schema_has_text(required, name), depth + 1);
        if (json_is_true(json_object_get(made, "readOnly"))) {
            json_decref(made);
        } else {
            ac_json_put(members, name, made);
        }
    }
    return members;
}

static json_t *make_list(schema_t *schema, const json_t *given, int depth)
{
    json_t *list = json_array(), *value;
    size_t i;
    if (json_array_size(given) == 0) {
        json_decref(list);
        return NULL;
    }
    json_array_foreach((json_t *)given, i, value)
    {
        if (schema->left) {
            json_array_append_new(list, make_level(schema, value, depth + 1));
        }
    }
    return list;
}

/* Up to draft 2019-09 `items` could be a list of schemas, one for each item in turn. */
static json_t *make_items(schema_t *schema, const json_t *given, int depth)
{
    if (!json_is_array(given)) {
        return make_level(schema, given, depth + 1);
    }
    json_t *list = make_list(schema, given, depth + 1);
    return list ? json_pack("{s:o}", "anyOf", list) : json_object();
}

static json_t *make_text(schema_t *schema, const json_t *given)
{
    ac_buf_t buf;
    if (!json_is_string(given) || !schema->as->text || !tool_schema_take(schema, given)) {
        return NULL;
    }
    ac_buf_init(&buf, schema->as->text + 16);
    ac_tool_text_add(&buf, json_string_value(given), schema->as->text);
    json_t *text = ac_json_text(buf.data ? buf.data : "");
    ac_buf_free(&buf);
    return text;
}

static bool tool_schema_is_count(const json_t *given)
{
    return json_is_integer(given) && json_integer_value(given) >= 0;
}

/* The given value; NULL: it may not be there, or there is no room for it. New reference. */
static json_t *tool_schema_keep(schema_t *schema, const json_t *given, bool allowed)
{
    return allowed && tool_schema_take(schema, given) ? json_incref((json_t *)given) : NULL;
}

/* NULL: the keyword is left out. */
static json_t *make_value(schema_t *schema, const char *name, const json_t *given, int depth)
{
    switch (tool_schema_keyword(name)) {
    case KEYWORD_DROPPED: return NULL;
    case KEYWORD_OTHERS:
        return json_is_boolean(given) ? json_incref((json_t *)given) : make_level(schema, given, depth + 1);
    case KEYWORD_SCHEMA: return make_level(schema, given, depth + 1);
    case KEYWORD_SCHEMAS: return make_list(schema, given, depth);
    case KEYWORD_MEMBERS: return make_members(schema, given, depth);
    case KEYWORD_TYPE:
        return json_is_array(given) ? make_strings(given, true)
                                    : tool_schema_keep(schema, given, tool_schema_is_type(given));
    case KEYWORD_CHOICE: return tool_schema_keep(schema, given, json_array_size(given) > 0);
    case KEYWORD_NAMES: return make_strings(given, false);
    case KEYWORD_NUMBER: return tool_schema_keep(schema, given, json_is_number(given));
    case KEYWORD_COUNT: return tool_schema_keep(schema, given, tool_schema_is_count(given));
    case KEYWORD_TEXT: return make_text(schema, given);
    case KEYWORD_ITEMS: return make_items(schema, given, depth);
    default: return tool_schema_keep(schema, given, !ac_json_is_deeper(given, AC_MAX_JSON_DEPTH / 4));
    }
}

/* ---- a level ---- */

/* In draft 4 {"minimum": 1, "exclusiveMinimum": true} was {"exclusiveMinimum": 1}. */
static void update_bound(json_t *made, const json_t *given, const char *bound, const char *strict)
{
    if (json_is_true(json_object_get(given, strict)) && json_object_get(made, bound)) {
        ac_json_put(made, strict, json_incref(json_object_get(made, bound)));
        json_object_del(made, bound);
    }
}

static bool tool_schema_names(const json_t *type, const char *name)
{
    const char *own = json_string_value(type);
    return own ? strcmp(own, name) == 0 : tool_schema_has_text(type, name);
}

/* OpenAPI 3.0 has no type "null". */
static void add_null(json_t *made, const json_t *given)
{
    json_t *type = json_object_get(made, "type"), *choice = json_object_get(made, "enum");
    if (!json_is_true(json_object_get(given, "nullable")) || !json_is_string(type)) {
        return;
    }
    ac_json_put(made, "type", json_pack("[O, s]", type, "null"));
    if (choice) {
        json_t *list = json_copy(choice);
        json_array_append_new(list, json_null());
        ac_json_put(made, "enum", list);
    }
}

/* A name that is required but not allowed could never be given; one that only an answer has must not be. */
static void drop_impossible(json_t *made, const json_t *given)
{
    const json_t *properties = json_object_get(made, "properties");
    json_t *required = json_object_get(made, "required");
    const json_t *other = json_object_get(made, "additionalProperties");
    const json_t *before = json_object_get(given, "properties");
    for (size_t i = json_array_size(required); i-- > 0;) {
        const char *name = json_string_value(json_array_get(required, i));
        if (!json_object_get(properties, name) && (json_is_false(other) || json_object_get(before, name))) {
            json_array_remove(required, i);
        }
    }
}

static void finish_level(json_t *made, const json_t *given)
{
    const json_t *step = json_object_get(made, "multipleOf");
    update_bound(made, given, "minimum", "exclusiveMinimum");
    update_bound(made, given, "maximum", "exclusiveMaximum");
    if (step && json_number_value(step) <= 0) {
        json_object_del(made, "multipleOf");
    }
    if (tool_schema_names(json_object_get(made, "type"), "array") && !json_object_get(made, "items")) {
        ac_json_put(made, "items", json_object());
    }
    add_null(made, given);
    drop_impossible(made, given);
}

/* A schema that is one object; true and false become objects. New reference. */
static json_t *make_level(schema_t *schema, const json_t *given, int depth)
{
    if (json_is_false(given)) {
        return json_pack("{s:{}}", "not");
    }
    if (!json_is_object(given) || depth > schema->as->depth || schema->n_levels > AC_TOOL_SCHEMA_DEPTH ||
        !take(schema, NODE_COST)) {
        return json_object();
    }
    const json_t *outer = schema->level;
    schema->n_levels++;
    const char *reference = ac_json_peek_string(given, "$ref", NULL), *name;
    json_t *made = reference ? tool_schema_reference(schema, reference, depth) : json_object(), *value;
    json_object_foreach((json_t *)given, name, value)
    {
        schema->level = given;
        json_t *own = take(schema, NODE_COST) ? make_value(schema, name, value, depth) : NULL;
        if (own) {
            ac_json_put(made, name, own);
        }
    }
    schema->level = outer;
    schema->n_levels--;
    finish_level(made, given);
    return made;
}

/* ---- the top ---- */

/* Adds the members of a part to made. all: the parts hold together; else they are alternatives, of which none is
 * required. Alternatives that differ in a member let it have any value. */
static void merge(json_t *made, const json_t *part, bool all)
{
    json_t *properties = json_object_get(made, "properties"), *value;
    const char *name;
    size_t i;
    json_object_foreach(json_object_get(part, "properties"), name, value)
    {
        const json_t *before = json_object_get(properties, name);
        if (!before) {
            json_object_set(properties, name, value);
        } else if (!all && !json_equal(before, value)) {
            json_object_set_new(properties, name, json_object());
        }
    }
    json_t *required = all ? json_object_get(part, "required") : NULL;
    json_array_foreach(required, i, value)
    {
        if (!json_object_get(made, "required")) {
            ac_json_put(made, "required", json_array());
        }
        json_array_append(json_object_get(made, "required"), value);
    }
}

static void merge_all(json_t *made, const char *keyword, bool all)
{
    json_t *parts = json_object_get(made, keyword), *part;
    json_t *merged = all ? json_incref(made) : json_pack("{s:{}}", "properties");
    size_t i;
    json_array_foreach(parts, i, part)
    {
        merge(merged, part, all);
    }
    if (!all) {
        json_object_update_missing(json_object_get(made, "properties"), json_object_get(merged, "properties"));
    }
    json_decref(merged);
    json_object_del(made, keyword);
}

static bool tool_schema_may_be_object(const json_t *given)
{
    const json_t *type = json_object_get(given, "type");
    return json_is_object(given) && (!type || tool_schema_names(type, "object"));
}

json_t *ac_tool_schema_make(const json_t *given, const ac_tool_schema_t *as)
{
    static const char *const dropped[] = {"not", "if", "then", "else", "enum", "const", "dependentSchemas"};
    schema_t schema = {.as = as, .left = 2 * AC_MAX_TOOL_SCHEMA};
    size_t len = 0;
    if (!tool_schema_may_be_object(given)) {
        return NULL;
    }
    json_t *made = make_level(&schema, given, 0);
    ac_json_put(made, "type", json_string("object"));
    if (!json_object_get(made, "properties")) {
        ac_json_put(made, "properties", json_object());
    }
    merge_all(made, "allOf", true);
    merge_all(made, "anyOf", false);
    merge_all(made, "oneOf", false);
    for (size_t i = 0; i < sizeof dropped / sizeof dropped[0]; i++) {
        json_object_del(made, dropped[i]);
    }
    drop_impossible(made, NULL);
    char *text = ac_json_dump(made, &len);
    free(text);
    if (!text || len > AC_MAX_TOOL_SCHEMA || !schema.left) {
        json_decref(made);
        return NULL;
    }
    return made;
}
