/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Schema as tools use it: each keyword with a value that passes and one that does not; hostile schemas. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

#include <apr_general.h>

static apr_pool_t *pool;

static json_t *load(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
    if (!value) {
        fail_msg("the test's own JSON is wrong: %s", text);
    }
    return value;
}

/* pointer NULL: value passes. */
typedef struct check_t {
    const char *schema, *value, *pointer, *detail;
} check_t;

static void run_checks(const check_t *checks, size_t n_checks)
{
    for (size_t i = 0; i < n_checks; i++) {
        const check_t *c = &checks[i];
        json_t *schema = load(c->schema), *value = load(c->value);
        ac_err_t err;
        ac_err_init(&err);
        apr_status_t status = ac_schema_check(schema, value, &err);
        if ((status == APR_SUCCESS) != !c->pointer || strcmp(err.pointer, c->pointer ? c->pointer : "") != 0 ||
            strcmp(err.detail, c->detail ? c->detail : "") != 0) {
            fail_msg("%s with %s: %d, '%s', '%s'", c->schema, c->value, (int)status, err.pointer, err.detail);
        }
        assert_int_equal(err.kind, c->pointer ? AC_INVALID_REQUEST : AC_OK);
        json_decref(schema);
        json_decref(value);
    }
}
#define RUN(checks) run_checks(checks, sizeof(checks) / sizeof((checks)[0]))

static void test_type(void **state)
{
    (void)state;
    static const check_t checks[] = {
        {"{}", "1", NULL, NULL},
        {"true", "1", NULL, NULL},
        {"false", "1", "", "the value is not allowed here"},
        {"{\"type\": \"string\"}", "\"x\"", NULL, NULL},
        {"{\"type\": \"string\"}", "1", "", "the value must be of type string"},
        {"{\"type\": \"number\"}", "1", NULL, NULL},
        {"{\"type\": \"number\"}", "1.5", NULL, NULL},
        {"{\"type\": \"number\"}", "\"1\"", "", "the value must be of type number"},
        {"{\"type\": \"integer\"}", "1", NULL, NULL},
        {"{\"type\": \"integer\"}", "1.0", NULL, NULL},
        {"{\"type\": \"integer\"}", "1.5", "", "the value must be of type integer"},
        {"{\"type\": \"boolean\"}", "false", NULL, NULL},
        {"{\"type\": \"boolean\"}", "0", "", "the value must be of type boolean"},
        {"{\"type\": \"null\"}", "null", NULL, NULL},
        {"{\"type\": \"null\"}", "false", "", "the value must be of type null"},
        {"{\"type\": \"array\"}", "[]", NULL, NULL},
        {"{\"type\": \"array\"}", "{}", "", "the value must be of type array"},
        {"{\"type\": \"object\"}", "{}", NULL, NULL},
        {"{\"type\": \"object\"}", "[]", "", "the value must be of type object"},
        {"{\"type\": [\"string\", \"null\"]}", "null", NULL, NULL},
        {"{\"type\": [\"string\", \"null\"]}", "\"x\"", NULL, NULL},
        {"{\"type\": [\"string\", \"null\"]}", "1", "", "the value is of a type that is not allowed here"},
    };
    RUN(checks);
}

static void test_enum_and_const(void **state)
{
    (void)state;
    static const check_t checks[] = {
        {"{\"enum\": [\"c\", \"f\", 1]}", "\"f\"", NULL, NULL},
        {"{\"enum\": [\"c\", \"f\", 1]}", "1.0", NULL, NULL},
        {"{\"enum\": [\"c\", \"f\", 1]}", "true", "", "the value is not one of the allowed values"},
        {"{\"enum\": [\"c\", \"f\", 1]}", "\"k\"", "", "the value is not one of the allowed values"},
        {"{\"enum\": [[1, {\"a\": null}]]}", "[1, {\"a\": null}]", NULL, NULL},
        {"{\"const\": 5}", "5.0", NULL, NULL},
        {"{\"const\": 5}", "6", "", "the value is not the one value that is allowed"},
        {"{\"const\": null}", "null", NULL, NULL},
        {"{\"const\": null}", "0", "", "the value is not the one value that is allowed"},
        {"{\"const\": 9007199254740993}", "9007199254740992", "", "the value is not the one value that is allowed"},
    };
    RUN(checks);
}

static void test_numbers(void **state)
{
    (void)state;
    static const check_t checks[] = {
        {"{\"minimum\": 1}", "1", NULL, NULL},
        {"{\"minimum\": 1}", "0.9", "", "the value must be at least 1"},
        {"{\"minimum\": 1}", "\"0\"", NULL, NULL},
        {"{\"maximum\": 10.5}", "10.5", NULL, NULL},
        {"{\"maximum\": 10.5}", "11", "", "the value must be at most 10.5"},
        {"{\"exclusiveMinimum\": 0}", "0.001", NULL, NULL},
        {"{\"exclusiveMinimum\": 0}", "0", "", "the value must be greater than 0"},
        {"{\"exclusiveMaximum\": 100}", "99", NULL, NULL},
        {"{\"exclusiveMaximum\": 100}", "100.0", "", "the value must be less than 100"},
        {"{\"minimum\": 0, \"exclusiveMinimum\": true}", "0", "", "the value must be greater than 0"},
        {"{\"minimum\": 0, \"exclusiveMinimum\": false}", "0", NULL, NULL},
        {"{\"maximum\": 5, \"exclusiveMaximum\": true}", "5", "", "the value must be less than 5"},
        {"{\"multipleOf\": 5}", "-15", NULL, NULL},
        {"{\"multipleOf\": 5}", "12", "", "the value must be a multiple of 5"},
        {"{\"multipleOf\": 0.01}", "19.99", NULL, NULL},
        {"{\"multipleOf\": 0.1}", "0.3", NULL, NULL},
        {"{\"multipleOf\": 0.01}", "0.005", "", "the value must be a multiple of 0.01"},
        {"{\"multipleOf\": 0.5}", "3", NULL, NULL},
        {"{\"multipleOf\": 0}", "3", NULL, NULL},
        {"{\"multipleOf\": -1}", "-9223372036854775808", NULL, NULL},
        {"{\"maximum\": 9223372036854775806}", "9223372036854775807", "",
         "the value must be at most 9223372036854775806"},
    };
    RUN(checks);
}

static void test_sizes(void **state)
{
    (void)state;
    static const check_t checks[] = {
        {"{\"minLength\": 2}", "\"\xc3\xbc\xe2\x82\xac\"", NULL, NULL},
        {"{\"minLength\": 2}", "\"\xe2\x82\xac\"", "", "the value must have at least 2 characters"},
        {"{\"maxLength\": 2}", "\"\xc3\xbc\xe2\x82\xac\"", NULL, NULL},
        {"{\"maxLength\": 2}", "\"abc\"", "", "the value must have at most 2 characters"},
        {"{\"maxLength\": 2}", "12345", NULL, NULL},
        {"{\"minItems\": 1}", "[0]", NULL, NULL},
        {"{\"minItems\": 1}", "[]", "", "the value must have at least 1 items"},
        {"{\"maxItems\": 1}", "[0]", NULL, NULL},
        {"{\"maxItems\": 1}", "[0, 0]", "", "the value must have at most 1 items"},
        {"{\"pattern\": \"^a$\"}", "\"b\"", NULL, NULL},
    };
    RUN(checks);
}

static void test_members(void **state)
{
    (void)state;
    static const check_t checks[] = {
        {"{\"properties\": {\"city\": {\"type\": \"string\"}}}", "{\"city\": \"Rome\", \"x\": 1}", NULL, NULL},
        {"{\"properties\": {\"city\": {\"type\": \"string\"}}}", "{\"city\": 5}", "/city",
         "city must be of type string"},
        {"{\"properties\": {\"city\": {\"type\": \"string\"}}}", "5", NULL, NULL},
        {"{\"properties\": {\"city\": false}}", "{\"city\": 5}", "/city", "city is not allowed here"},
        {"{\"required\": [\"city\"]}", "{\"city\": null}", NULL, NULL},
        {"{\"required\": [\"city\", \"unit\"]}", "{\"city\": 1}", "/unit", "unit is missing"},
        {"{\"additionalProperties\": false}", "{}", NULL, NULL},
        {"{\"additionalProperties\": false}", "{\"a/b\": 1}", "/a~1b", "a member of this name is not known"},
        {"{\"properties\": {\"a\": {}}, \"additionalProperties\": false}", "{\"a\": 1}", NULL, NULL},
        {"{\"properties\": {\"a\": {}}, \"additionalProperties\": {\"type\": \"null\"}}", "{\"a\": 1, \"b\": null}",
         NULL, NULL},
        {"{\"properties\": {\"a\": {}}, \"additionalProperties\": {\"type\": \"null\"}}", "{\"a\": 1, \"b\": 2}", "/b",
         "b must be of type null"},
    };
    RUN(checks);
}

static void test_items_and_pointers(void **state)
{
    (void)state;
    static const check_t checks[] = {
        {"{\"items\": {\"type\": \"integer\"}}", "[1, 2, 3]", NULL, NULL},
        {"{\"items\": {\"type\": \"integer\"}}", "[1, \"2\", 3]", "/1", "an item must be of type integer"},
        {"{\"items\": [{\"type\": \"integer\"}, {\"type\": \"string\"}]}", "[1, \"2\", 3]", NULL, NULL},
        {"{\"items\": [{\"type\": \"integer\"}, {\"type\": \"string\"}]}", "[1, 2]", "/1",
         "an item must be of type string"},
        {"{\"properties\": {\"to\": {\"items\": {\"properties\": {\"mail\": {\"minLength\": 1}}, "
         "\"required\": [\"name\"]}}}}",
         "{\"to\": [{\"name\": 1}, {\"name\": 1, \"mail\": \"\"}]}", "/to/1/mail",
         "mail must have at least 1 characters"},
        {"{\"properties\": {\"to\": {\"items\": {\"required\": [\"name\"]}}}}", "{\"to\": [{\"name\": 1}, {}]}",
         "/to/1/name", "name is missing"},
    };
    RUN(checks);
}

static void test_forms(void **state)
{
    (void)state;
    static const check_t checks[] = {
        {"{\"anyOf\": [{\"type\": \"string\"}, {\"type\": \"null\"}]}", "null", NULL, NULL},
        {"{\"anyOf\": [{\"type\": \"string\"}, {\"type\": \"null\"}]}", "1", "",
         "the value is of none of the allowed forms"},
        {"{\"oneOf\": [{\"type\": \"number\"}, {\"type\": \"integer\"}]}", "1.5", NULL, NULL},
        {"{\"oneOf\": [{\"type\": \"number\"}, {\"type\": \"integer\"}]}", "1", "",
         "the value must be of exactly one of the allowed forms"},
        {"{\"allOf\": [{\"minimum\": 1}, {\"maximum\": 2}]}", "2", NULL, NULL},
        {"{\"allOf\": [{\"minimum\": 1}, {\"maximum\": 2}]}", "3", "", "the value must be at most 2"},
        {"{\"properties\": {\"a\": {\"$ref\": \"#/$defs/x~1y\"}}, \"$defs\": {\"x/y\": {\"type\": \"null\"}}}",
         "{\"a\": 1}", "/a", "a must be of type null"},
        {"{\"properties\": {\"next\": {\"$ref\": \"#\"}}, \"required\": [\"n\"]}",
         "{\"n\": 1, \"next\": {\"n\": 2, \"next\": {}}}", "/next/next/n", "n is missing"},
        /* Elsewhere, or nowhere: ignored. */
        {"{\"$ref\": \"https://a.example/schema\"}", "1", NULL, NULL},
        {"{\"$ref\": \"#/$defs/none\"}", "1", NULL, NULL},
        {"{\"anyOf\": 5, \"oneOf\": {}, \"allOf\": \"x\", \"$ref\": 7}", "1", NULL, NULL},
        /* Without an end. */
        {"{\"$ref\": \"#\"}", "1", "", "the value is nested too deeply"},
        {"{\"anyOf\": [{\"$ref\": \"#\"}, {\"$ref\": \"#\"}]}", "1", "", "the value is of none of the allowed forms"},
    };
    RUN(checks);
}

static void test_nonsense_in_a_schema_is_passed_over(void **state)
{
    (void)state;
    static const check_t checks[] = {
        {"5", "1", NULL, NULL},
        {"{\"type\": 5, \"enum\": 5, \"properties\": 5, \"required\": 5, \"items\": 5}", "{\"a\": [1]}", NULL, NULL},
        {"{\"minimum\": \"5\", \"multipleOf\": []}", "1", NULL, NULL},
        {"{\"minLength\": \"5\", \"maxLength\": null}", "\"x\"", NULL, NULL},
        {"{\"required\": [1, null]}", "{}", NULL, NULL},
        {"{\"type\": [1, \"string\"]}", "\"x\"", NULL, NULL},
        {"{\"items\": 5}", "[1]", NULL, NULL},
    };
    RUN(checks);
}

static void test_no_schema_and_no_value(void **state)
{
    (void)state;
    json_t *value = json_integer(1);
    assert_int_equal(ac_schema_check(NULL, value, NULL), APR_SUCCESS);
    assert_int_equal(ac_schema_check(NULL, NULL, NULL), APR_EINVAL);
    json_decref(value);
}

static void test_nulls_that_are_not_allowed_are_dropped(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *value, *left;
    } cases[] = {
        {"{\"properties\": {\"a\": {\"type\": \"string\"}}}", "{\"a\": null, \"b\": null}", "{\"b\": null}"},
        {"{\"properties\": {\"a\": {\"type\": \"string\"}}}", "{\"a\": \"\"}", "{\"a\": \"\"}"},
        {"{\"properties\": {\"a\": {\"type\": \"string\"}}, \"required\": [1, \"a\"]}", "{\"a\": null}",
         "{\"a\": null}"},
        {"{\"properties\": {\"a\": {\"type\": [\"string\", \"null\"]}}}", "{\"a\": null}", "{\"a\": null}"},
        {"{\"properties\": {\"a\": {}, \"b\": true, \"c\": false}}", "{\"a\": null, \"b\": null, \"c\": null}",
         "{\"a\": null, \"b\": null}"},
        {"{\"properties\": {\"a\": {\"enum\": [1, null]}, \"b\": {\"enum\": [1]}}}", "{\"a\": null, \"b\": null}",
         "{\"a\": null}"},
        {"{\"properties\": {\"a\": {\"$ref\": \"#/$defs/n\"}, \"b\": {\"$ref\": \"#/$defs/m\"}}, \"$defs\": {\"n\": "
         "{\"type\": \"integer\"}, \"m\": {\"anyOf\": [{\"$ref\": \"#/$defs/n\"}, {\"type\": \"null\"}]}}}",
         "{\"a\": null, \"b\": null}", "{\"b\": null}"},
        {"{\"properties\": {\"a\": {\"type\": \"object\", \"properties\": {\"b\": {\"type\": \"string\"}}}}}",
         "{\"a\": {\"b\": null}}", "{\"a\": {\"b\": null}}"},
        {"{\"properties\": []}", "{\"a\": null}", "{\"a\": null}"},
        {"{\"properties\": {\"a\": {\"type\": \"string\"}}}", "[null]", "[null]"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *schema = load(cases[i].schema), *value = load(cases[i].value), *left = load(cases[i].left);
        ac_schema_drop_nulls(schema, value);
        if (!json_equal(value, left)) {
            fail_msg("%s with %s", cases[i].schema, cases[i].value);
        }
        json_decref(schema);
        json_decref(value);
        json_decref(left);
    }
    json_t *value = json_pack("{s:n}", "a");
    ac_schema_drop_nulls(NULL, value);
    assert_int_equal(json_object_size(value), 1);
    json_decref(value);
}

/* A document that opens depth levels of key, with end inside. */
static json_t *nest(const char *key, int depth, json_t *end)
{
    json_t *value = end;
    for (int i = 0; i < depth; i++) {
        value = key ? json_pack("{s:o}", key, value) : json_pack("[o]", value);
    }
    return value;
}

static void test_depth_is_limited(void **state)
{
    (void)state;
    ac_err_t err;
    ac_err_init(&err);
    json_t *schema = nest("items", 1000, json_true()), *value = nest(NULL, 1000, json_null());
    assert_int_equal(ac_schema_check(schema, value, &err), APR_EINVAL);
    assert_string_equal(err.detail, "an item is nested too deeply");
    json_decref(value);
    value = nest(NULL, AC_MAX_JSON_DEPTH - 1, json_null());
    assert_int_equal(ac_schema_check(schema, value, NULL), APR_SUCCESS);
    json_decref(value);
    json_decref(schema);
}

/* Schemas that hold themselves cannot come from a parser, but from a plug-in. */
static void test_a_schema_that_holds_itself(void **state)
{
    (void)state;
    json_t *schema = load("{\"type\": \"object\"}");
    json_t *value = nest("a", 100, json_object());
    assert_int_equal(json_object_set(schema, "additionalProperties", schema), -1);
    json_t *items = load("{\"type\": \"object\"}");
    assert_int_equal(json_object_set(schema, "additionalProperties", items), 0);
    assert_int_equal(json_object_set(items, "additionalProperties", schema), 0);
    assert_int_equal(ac_schema_check(schema, value, NULL), APR_EINVAL);
    assert_non_null(strstr(ac_schema_problem(schema, pool), "is nested too deeply"));
    json_object_clear(items);
    json_decref(items);
    json_decref(schema);
    json_decref(value);
}

static void test_schemas_without_a_problem(void **state)
{
    (void)state;
    static const char *const schemas[] = {
        "{\"type\": \"object\"}",
        "{\"type\": \"object\", \"properties\": {}, \"required\": [], \"additionalProperties\": false}",
        "{\"type\": \"object\", \"properties\": {\"city\": {\"type\": [\"string\", \"null\"], \"minLength\": 1, "
        "\"description\": \"x\", \"pattern\": \"(\"}, \"n\": {\"type\": \"integer\", \"minimum\": -1.5, "
        "\"exclusiveMaximum\": 7, \"multipleOf\": 0.5}, \"l\": {\"type\": \"array\", \"items\": "
        "{\"enum\": [1, \"a\"]}, \"maxItems\": 3.0}, \"any\": true}, \"required\": [\"city\"], "
        "\"additionalProperties\": false}",
        "{\"type\": \"object\", \"required\": [\"elsewhere\"]}",
        "{\"type\": \"object\", \"additionalProperties\": {\"type\": \"string\"}}",
    };
    for (size_t i = 0; i < sizeof(schemas) / sizeof(schemas[0]); i++) {
        json_t *schema = load(schemas[i]);
        assert_null(ac_schema_problem(schema, pool));
        json_decref(schema);
    }
}

static void test_schemas_with_a_problem(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *problem;
    } cases[] = {
        {"[]", "the schema must be an object"},
        {"{}", "the schema's type must be \"object\""},
        {"{\"type\": \"string\"}", "the schema's type must be \"object\""},
        {"{\"type\": [\"object\"]}", "the schema's type must be \"object\""},
        {"{\"type\": \"object\", \"properties\": []}", "/properties must be an object"},
        {"{\"type\": \"object\", \"properties\": {\"a\": 5}}", "/properties/a must be an object"},
        {"{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"strng\"}}}",
         "/properties/a/type must be string, number, integer, boolean, object, array or null, or a list of these"},
        {"{\"type\": \"object\", \"properties\": {\"a\": {\"type\": []}}}",
         "/properties/a/type must be string, number, integer, boolean, object, array or null, or a list of these"},
        {"{\"type\": \"object\", \"properties\": {\"a\": {\"type\": [\"null\", \"text\"]}}}",
         "/properties/a/type must be string, number, integer, boolean, object, array or null, or a list of these"},
        {"{\"type\": \"object\", \"required\": \"a\"}", "/required must be a list of names"},
        {"{\"type\": \"object\", \"required\": [1]}", "/required must be a list of names"},
        {"{\"type\": \"object\", \"properties\": {\"a\": {}}, \"required\": [\"b\"], \"additionalProperties\": false}",
         "/required asks for 'b', which properties does not have"},
        {"{\"type\": \"object\", \"additionalProperties\": 1}", "/additionalProperties must be an object"},
        {"{\"type\": \"object\", \"additionalProperties\": []}", "/additionalProperties must be an object"},
        {"{\"type\": \"object\", \"properties\": {\"a\": {\"items\": {\"items\": [{}, {\"enum\": []}]}}}}",
         "/properties/a/items/items/1/enum must be a list of at least one value"},
        {"{\"type\": \"object\", \"properties\": {\"a\": {\"enum\": \"x\"}}}",
         "/properties/a/enum must be a list of at least one value"},
        {"{\"type\": \"object\", \"properties\": {\"a\": {\"minimum\": \"1\"}}}",
         "/properties/a/minimum must be a number"},
        {"{\"type\": \"object\", \"properties\": {\"a\": {\"minimum\": true}}}",
         "/properties/a/minimum must be a number"},
        {"{\"type\": \"object\", \"properties\": {\"a\": {\"minLength\": -1}}}",
         "/properties/a/minLength must be a whole number, 0 or more"},
        {"{\"type\": \"object\", \"properties\": {\"a\": {\"maxItems\": 1.5}}}",
         "/properties/a/maxItems must be a whole number, 0 or more"},
        {"{\"type\": \"object\", \"properties\": {\"a\": {\"multipleOf\": 0}}}",
         "/properties/a/multipleOf must be a number greater than 0"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *schema = load(cases[i].schema);
        const char *problem = ac_schema_problem(schema, pool);
        assert_non_null(problem);
        assert_string_equal(problem, cases[i].problem);
        json_decref(schema);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_type),
        cmocka_unit_test(test_enum_and_const),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_items_and_pointers),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_nonsense_in_a_schema_is_passed_over),
        cmocka_unit_test(test_no_schema_and_no_value),
        cmocka_unit_test(test_nulls_that_are_not_allowed_are_dropped),
        cmocka_unit_test(test_depth_is_limited),
        cmocka_unit_test(test_a_schema_that_holds_itself),
        cmocka_unit_test(test_schemas_without_a_problem),
        cmocka_unit_test(test_schemas_with_a_problem),
    };
    apr_initialize();
    apr_pool_create(&pool, NULL);
    int failed = cmocka_run_group_tests_name("schema", tests, NULL, NULL);
    apr_pool_destroy(pool);
    apr_terminate();
    return failed;
}
