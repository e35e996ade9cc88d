/* SPDX-License-Identifier: Apache-2.0 */
/* Schemas of MCP tools, as models accept them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mcp_json.h"
#include "wire/wire.h"

#include <apr_general.h>

static apr_pool_t *pool;

typedef struct case_t {
    const char *given, *made; /* made NULL: refused */
} case_t;

static json_t *make_of(const json_t *schema)
{
    return ac_tool_schema_make(schema, &(ac_tool_schema_t){schema, AC_TOOL_SCHEMA_DEPTH, AC_MAX_TOOL_DESCRIPTION});
}

static json_t *make(const char *given)
{
    json_t *schema = load(given);
    json_t *made = make_of(schema);
    json_decref(schema);
    if (made) {
        const char *problem = ac_schema_problem(made, pool);
        if (problem) {
            fail_msg("%s: %s", given, problem);
        }
    }
    return made;
}

static void expect(const char *given, const char *expected)
{
    json_t *made = make(given);
    char *text = made ? json_dumps(made, JSON_COMPACT) : NULL;
    json_t *wanted = expected ? load(expected) : NULL;
    if (!json_equal(made, wanted) && (made || wanted)) {
        fail_msg("%s became %s and not %s", given, text ? text : "nothing", expected ? expected : "nothing");
    }
    json_decref(made);
    json_decref(wanted);
    free(text);
}

static void expect_all(const case_t *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        expect(cases[i].given, cases[i].made);
    }
}
#define EXPECT_ALL(cases) expect_all(cases, sizeof(cases) / sizeof((cases)[0]))

/* A schema with one property p. */
#define OF(p) "{'type':'object','properties':{'p':" p "}}"
#define NONE "{'type':'object','properties':{}}"

static void test_an_object_at_the_top(void **state)
{
    (void)state;
    static const case_t cases[] = {
        {"{}", NONE},
        {"{'type':'object'}", NONE},
        {"{'type':['object','null']}", NONE},
        {"{'type':'object','additionalProperties':false}",
         "{'type':'object','additionalProperties':false,'properties':{}}"},
        {"{'type':'string'}", NULL},
        {"{'type':['string','array']}", NULL},
        {"true", NULL},
        {"null", NULL},
        {"[]", NULL},
    };
    EXPECT_ALL(cases);
}

static void test_what_is_plain_stays(void **state)
{
    (void)state;
    static const char plain[] =
        "{'type':'object','title':'T','description':'D','required':['a'],'properties':{"
        "'a':{'type':'string','minLength':1,'maxLength':9,'pattern':'^a','format':'uri','default':"
        "'x',"
        "'enum':['x','y']},'b':{'type':['integer','null'],'minimum':0,'exclusiveMaximum':5,"
        "'multipleOf':1},"
        "'c':{'type':'array','items':{'type':'object','properties':{'d':{'const':1}}},'minItems':1},"
        "'e':{'anyOf':[{'type':'string'},{'type':'number'}]},"
        "'f':{'type':'object','additionalProperties':{'type':'string'}}}}";
    expect(plain, plain);
}

static void test_references(void **state)
{
    (void)state;
    static const case_t cases[] = {
        {"{'$defs':{'a':{'type':'string'}},'properties':{'p':{'$ref':'#/$defs/a','description':'d'}}}",
         OF("{'type':'string','description':'d'}")},
        {"{'definitions':{'a/b~':{'type':'string'}},'properties':{'p':{'$ref':'#/definitions/a~1b~0'}}}",
         OF("{'type':'string'}")},
        {"{'$defs':{'l':[{'type':'null'}]},'properties':{'p':{'$ref':'#/$defs/l/0'}}}", OF("{'type':'null'}")},
        {OF("{'$ref':'https://example.com/schema.json'}"), OF("{}")},
        {OF("{'$ref':'other.json#/a'}"), OF("{}")},
        {OF("{'$ref':'#/$defs/missing'}"), OF("{}")},
        {OF("{'$ref':'#anchor'}"), OF("{}")},
        {OF("{'$ref':7}"), OF("{}")},
        {"{'$ref':'#/$defs/a','$defs':{'a':{'type':'object','properties':{'p':{'type':'string'}}}}}",
         OF("{'type':'string'}")},
        /* a list whose items have the next one */
        {"{'$defs':{'n':{'type':'object','properties':{'next':{'$ref':'#/$defs/n'}}}},'properties':{"
         "'p':{'$ref':'#/$defs/n'}}}",
         OF("{'type':'object','properties':{'next':{}}}")},
        {OF("{'$ref':'#'}"), OF("{'type':'object','properties':{'p':{}}}")},
    };
    EXPECT_ALL(cases);
}

static void test_combinations_at_the_top(void **state)
{
    (void)state;
    static const case_t cases[] = {
        {"{'allOf':[{'properties':{'a':{'type':'string'}},'required':['a']},{'properties':{'b':{}}}]}",
         "{'type':'object','properties':{'a':{'type':'string'},'b':{}},'required':['a']}"},
        {"{'properties':{'a':{'type':'string'}},'oneOf':[{'required':['a'],'properties':{'a':{'const':1}}"
         ",'x':1},"
         "{'properties':{'b':{'type':'null'}}}]}",
         "{'type':'object','properties':{'a':{'type':'string'},'b':{'type':'null'}}}"},
        {"{'anyOf':[{'properties':{'a':{'type':'string'},'b':{}}},{'properties':{'a':{'type':'null'}"
         ",'b':{}}}]}",
         "{'type':'object','properties':{'a':{},'b':{}}}"},
        {"{'type':'object','not':{},'if':{},'then':{},'else':{},'enum':[{}],'const':{}}", NONE},
        {"{'allOf':[],'anyOf':3,'oneOf':{}}", NONE},
    };
    EXPECT_ALL(cases);
}

static void test_older_drafts_and_mistakes(void **state)
{
    (void)state;
    static const case_t cases[] = {
        {OF("{'minimum':1,'exclusiveMinimum':true}"), OF("{'exclusiveMinimum':1}")},
        {OF("{'maximum':1,'exclusiveMaximum':false}"), OF("{'maximum':1}")},
        {OF("{'type':'array'}"), OF("{'type':'array','items':{}}")},
        {OF("{'type':'array','items':[{'type':'string'},true]}"),
         OF("{'type':'array','items':{'anyOf':[{'type':'string'},{}]}}")},
        {OF("{'type':'array','items':[]}"), OF("{'type':'array','items':{}}")},
        {OF("{'type':'str'}"), OF("{}")},
        {OF("{'type':['string','str',7,'string']}"), OF("{'type':['string']}")},
        {OF("{'type':[]}"), OF("{}")},
        {OF("{'enum':[]}"), OF("{}")},
        {OF("{'enum':7}"), OF("{}")},
        {OF("{'minimum':'1','minLength':-1,'maxLength':1.5,'multipleOf':0}"), OF("{}")},
        {OF("{'required':'a'}"), OF("{}")},
        {OF("{'required':[1,'a','a']}"), OF("{'required':['a']}")},
        {OF("{'additionalProperties':false,'required':['a','b'],'properties':{'b':true}}"),
         OF("{'additionalProperties':false,'required':['b'],'properties':{'b':{}}}")},
        {OF("{'description':7,'title':[]}"), OF("{}")},
        {OF("7"), OF("{}")},
        {OF("false"), OF("{'not':{}}")},
        {"{'$schema':'s','$id':'i','id':'i','$comment':'c','x-mcp-header':'H'}", NONE},
        {"{'properties':[]}", NONE},
    };
    EXPECT_ALL(cases);
}

static void test_hidden_characters_are_dropped(void **state)
{
    (void)state;
    expect("{'description':'a\\u200bb\\u202ec\\u0007d\\udb40\\udc41e\\u00e9'}",
           "{'type':'object','properties':{},'description':'abcde\\u00e9'}");
}

/* {"p": {"items": {"items": …}}}, so many levels. */
static json_t *deep(int n)
{
    json_t *level = json_pack("{s:s}", "type", "string");
    while (n-- > 0) {
        level = json_pack("{s:s, s:o}", "type", "array", "items", level);
    }
    return json_pack("{s:s, s:{s:o}}", "type", "object", "properties", "p", level);
}

static void test_depth_is_limited(void **state)
{
    (void)state;
    json_t *given = deep(25), *made = make_of(given);
    assert_non_null(made);
    assert_false(ac_json_is_deeper(made, AC_MAX_JSON_DEPTH));
    json_decref(given);
    json_decref(made);
}

static void test_size_is_limited(void **state)
{
    (void)state;
    json_t *given = json_object(), *properties = json_object();
    char name[16];
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "p%d", i);
        json_object_set_new(properties, name, json_pack("{s:s}", "type", "string"));
    }
    json_object_set_new(given, "properties", properties);
    assert_null(make_of(given));
    json_decref(given);
}

/* Ten levels, each of which names the next ten times: written out it would have ten thousand million schemas. */
static void test_a_schema_that_multiplies_is_refused(void **state)
{
    (void)state;
    json_t *definitions = json_object();
    char name[8], reference[32];
    for (int i = 0; i < 10; i++) {
        json_t *members = json_object();
        for (int j = 0; j < 10; j++) {
            snprintf(name, sizeof name, "m%d", j);
            snprintf(reference, sizeof reference, "#/$defs/d%d", i + 1);
            json_object_set_new(members, name, json_pack("{s:s}", "$ref", reference));
        }
        snprintf(name, sizeof name, "d%d", i);
        json_object_set_new(definitions, name, json_pack("{s:o}", "properties", members));
    }
    json_t *given = json_pack("{s:s, s:o}", "$ref", "#/$defs/d0", "$defs", definitions);
    assert_null(make_of(given));
    json_decref(given);
}

static void test_long_texts_in_what_is_named_often(void **state)
{
    (void)state;
    json_t *given = json_object(), *properties = json_object();
    char *text = malloc(100001), name[16];
    memset(text, 'x', 100000);
    text[100000] = '\0';
    json_object_set_new(given, "$defs", json_pack("{s:{s:s}}", "a", "default", text));
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "p%d", i);
        json_object_set_new(properties, name, json_pack("{s:s}", "$ref", "#/$defs/a"));
    }
    json_object_set_new(given, "properties", properties);
    assert_null(make_of(given));
    json_decref(given);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_object_at_the_top),
        cmocka_unit_test(test_what_is_plain_stays),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_combinations_at_the_top),
        cmocka_unit_test(test_older_drafts_and_mistakes),
        cmocka_unit_test(test_hidden_characters_are_dropped),
        cmocka_unit_test(test_depth_is_limited),
        cmocka_unit_test(test_size_is_limited),
        cmocka_unit_test(test_a_schema_that_multiplies_is_refused),
        cmocka_unit_test(test_long_texts_in_what_is_named_often),
    };
    apr_initialize();
    apr_pool_create(&pool, NULL);
    int failed = cmocka_run_group_tests_name("mcp schema", tests, NULL, NULL);
    apr_pool_destroy(pool);
    apr_terminate();
    return failed;
}
