/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAPI documents: YAML, the styles of parameters, schemas that are shortened, and what there can be no tool of. */
#include "wire/openapi_internal.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- YAML ---- */

static json_t *yaml(const char *text)
{
    json_t *value = NULL;
    ac_err_t err;
    ac_err_init(&err);
    apr_status_t status = ac_yaml_parse(&value, text, strlen(text), &err);
    assert_true((status == APR_SUCCESS) == (value != NULL));
    assert_true((status == APR_SUCCESS) == (err.kind == AC_OK));
    return value;
}

static void assert_yaml(const char *text, const char *wanted)
{
    json_t *value = yaml(text), *other = wanted ? json_loads(wanted, JSON_DECODE_ANY, NULL) : NULL;
    if (!wanted ? value != NULL : !value || !json_equal(value, other)) {
        char *shown = value ? json_dumps(value, JSON_ENCODE_ANY) : strdup("nothing");
        fail_msg("%s: %s, and not %s", text, shown, wanted);
    }
    json_decref(value);
    json_decref(other);
}

static void test_yaml_values(void **state)
{
    (void)state;
    assert_yaml("{a: 1, b: -2, c: 0x1f, d: 0o17, e: 1.5e3, f: '1', g: \"2\"}",
                "{\"a\":1,\"b\":-2,\"c\":31,\"d\":15,\"e\":1500.0,\"f\":\"1\",\"g\":\"2\"}");
    assert_yaml("[null, ~, true, False, yes, on, 2020-01-01, 1_000, +, e5, .]",
                "[null,null,true,false,\"yes\",\"on\",\"2020-01-01\",\"1_000\",\"+\",\"e5\",\".\"]");
    assert_yaml("a:\nb: |\n  x\n  y\n200: z", "{\"a\":null,\"b\":\"x\\ny\\n\",\"200\":\"z\"}");
    assert_yaml("a: &x {n: 1}\nb: *x\nc: {<<: *x, m: 2}", "{\"a\":{\"n\":1},\"b\":{\"n\":1},\"c\":{\"n\":1,\"m\":2}}");
    assert_yaml("a: *x", NULL);
    assert_yaml("a: &x [*x]", NULL);
    assert_yaml("? [a]\n: 1", NULL);
    assert_yaml("a: [", NULL);
    assert_yaml("", NULL);
}

/* Nine levels of nine aliases each: 400 million values in 300 bytes. */
static void test_yaml_bombs(void **state)
{
    (void)state;
    char text[4096];
    int len = snprintf(text, sizeof text, "a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 9; i++) {
        len += snprintf(text + len, sizeof text - (size_t)len, "a%d: &a%d [", i, i);
        for (int j = 0; j < 9; j++) {
            len += snprintf(text + len, sizeof text - (size_t)len, "*a%d%s", i - 1, j < 8 ? ", " : "]\n");
        }
    }
    assert_yaml(text, NULL);
    char deep[401];
    memset(deep, '[', 400);
    deep[400] = '\0';
    assert_yaml(deep, NULL);
}

/* ---- styles; source: the table of OAS 3.1.1, 4.8.12.4 ---- */

static void assert_style(ac_openapi_style_e style, bool explode, const char *value, const char *wanted)
{
    bool path = style == AC_OPENAPI_SIMPLE || style == AC_OPENAPI_LABEL || style == AC_OPENAPI_MATRIX;
    const ac_openapi_style_t as = {.name = "color", .style = style, .explode = explode, .separator = path ? NULL : "&"};
    json_t *json = json_loads(value, JSON_DECODE_ANY, NULL);
    ac_buf_t out;
    ac_buf_init(&out, 1000);
    assert_int_equal(ac_openapi_style_write(&out, &as, json), APR_SUCCESS);
    assert_string_equal(out.data ? out.data : "", wanted);
    ac_buf_free(&out);
    json_decref(json);
}

#define TEXT "\"blue\""
#define LIST "[\"blue\",\"black\"]"
#define OBJECT "{\"R\":100,\"G\":200}"

static void test_styles(void **state)
{
    (void)state;
    assert_style(AC_OPENAPI_MATRIX, false, TEXT, ";color=blue");
    assert_style(AC_OPENAPI_MATRIX, false, LIST, ";color=blue,black");
    assert_style(AC_OPENAPI_MATRIX, false, OBJECT, ";color=R,100,G,200");
    assert_style(AC_OPENAPI_MATRIX, true, LIST, ";color=blue;color=black");
    assert_style(AC_OPENAPI_MATRIX, true, OBJECT, ";R=100;G=200");
    assert_style(AC_OPENAPI_LABEL, false, TEXT, ".blue");
    assert_style(AC_OPENAPI_LABEL, false, LIST, ".blue,black");
    assert_style(AC_OPENAPI_LABEL, true, LIST, ".blue.black");
    assert_style(AC_OPENAPI_LABEL, true, OBJECT, ".R=100.G=200");
    assert_style(AC_OPENAPI_SIMPLE, false, TEXT, "blue");
    assert_style(AC_OPENAPI_SIMPLE, false, LIST, "blue,black");
    assert_style(AC_OPENAPI_SIMPLE, false, OBJECT, "R,100,G,200");
    assert_style(AC_OPENAPI_SIMPLE, true, OBJECT, "R=100,G=200");
    assert_style(AC_OPENAPI_FORM, false, TEXT, "color=blue");
    assert_style(AC_OPENAPI_FORM, false, LIST, "color=blue,black");
    assert_style(AC_OPENAPI_FORM, false, OBJECT, "color=R,100,G,200");
    assert_style(AC_OPENAPI_FORM, true, LIST, "color=blue&color=black");
    assert_style(AC_OPENAPI_FORM, true, OBJECT, "R=100&G=200");
    assert_style(AC_OPENAPI_FORM, true, "[]", "");
    assert_style(AC_OPENAPI_SPACE, false, LIST, "color=blue%20black");
    assert_style(AC_OPENAPI_PIPE, false, LIST, "color=blue%7Cblack");
    assert_style(AC_OPENAPI_DEEP, true, OBJECT, "color%5BR%5D=100&color%5BG%5D=200");
    assert_style(AC_OPENAPI_DEEP, true, "{\"a\":{\"b\":[1,2]}}",
                 "color%5Ba%5D%5Bb%5D%5B0%5D=1&color%5Ba%5D%5Bb%5D%5B1%5D=2");
    assert_style(AC_OPENAPI_JSON, false, "{\"a\":1}", "color=%7B%22a%22%3A1%7D");
    assert_style(AC_OPENAPI_FORM, true, "\"a&b=c/\\u00fc\"", "color=a%26b%3Dc%2F%C3%BC");
    assert_style(AC_OPENAPI_FORM, true, "true", "color=true");
}

/* ---- operations ---- */

typedef struct found_t {
    const json_t *document;
    ac_openapi_operation_t operation;
    ac_err_t err;
} found_t;

static void on_operation(void *baton, const ac_openapi_place_t *place)
{
    found_t *found = baton;
    const ac_openapi_rules_t rules = {.document = found->document,
                                      .url = "https://api.example.com/docs/v1/openapi.json"};
    ac_openapi_operation_free(&found->operation);
    ac_err_init(&found->err);
    ac_openapi_operation_make(&found->operation, place, &rules, &found->err);
}

/* The operation of a document with this path, method and rest. */
static found_t make(const char *path, const char *operation, const char *more)
{
    ac_buf_t text;
    found_t found = {.document = NULL};
    json_t *document;
    ac_buf_init(&text, 100000);
    ac_buf_printf(&text, "{\"openapi\":\"3.0.0\",%s\"paths\":{\"%s\":{\"get\":%s}}}", more, path, operation);
    assert_int_equal(ac_openapi_document_read(&document, text.data, text.len, NULL), APR_SUCCESS);
    found.document = document;
    ac_openapi_document_each(document, on_operation, &found);
    json_decref(document);
    ac_buf_free(&text);
    return found;
}

static void test_servers_are_relative_to_the_document(void **state)
{
    (void)state;
    static const struct {
        const char *given, *wanted;
    } cases[] = {{"/", "https://api.example.com"},
                 {"v2", "https://api.example.com/docs/v1/v2"},
                 {"../v2/", "https://api.example.com/docs/v2"},
                 {"../../../../v2", "https://api.example.com/v2"},
                 {"//other.example/x", "https://other.example/x"},
                 {"http://a.example/b", "http://a.example/b"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char more[200];
        snprintf(more, sizeof more, "\"servers\":[{\"url\":\"%s\"}],", cases[i].given);
        found_t found = make("/x", "{}", more);
        assert_int_equal(found.err.kind, AC_OK);
        assert_string_equal(found.operation.server, cases[i].wanted);
        ac_openapi_operation_free(&found.operation);
    }
}

static void test_what_there_is_no_tool_of(void **state)
{
    (void)state;
    static const struct {
        const char *path, *operation, *more, *why;
    } cases[] = {
        {"/x/{id}", "{}", "", "is no parameter"},
        {"/x", "{\"security\":[{\"k\":[]}]}", "", "security scheme 'k'"},
        {"/x", "{\"requestBody\":{\"required\":true,\"content\":{\"application/octet-stream\":{}}}}", "", "body"},
        {"/x", "{\"responses\":{\"200\":{\"content\":{\"image/png\":{}}}}}", "", "not text"},
        {"/x", "{\"parameters\":[{\"$ref\":\"other.yaml#/a\"}]}", "", "another document"},
        {"/x y", "{}", "", "characters"},
        {"/x", "{}", "\"servers\":[{\"url\":\"https://{host}/\"}],", "variable"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        found_t found = make(cases[i].path, cases[i].operation, cases[i].more);
        assert_int_equal(found.err.kind, AC_INVALID_REQUEST);
        if (!strstr(found.err.detail, cases[i].why)) {
            fail_msg("%s: %s", cases[i].operation, found.err.detail);
        }
        assert_null(found.operation.schema);
    }
}

/* Schemas of a hundred members with long texts, within one another: the required one is whole, and all have a type. */
static void test_a_large_schema_is_shortened(void **state)
{
    (void)state;
    ac_buf_t more;
    ac_buf_init(&more, 100000);
    ac_buf_str(&more, "\"components\":{\"schemas\":{\"a\":{\"type\":\"object\",\"required\":[\"m\"],\"properties\":{");
    for (int i = 0; i < 100; i++) {
        ac_buf_printf(&more, "\"p%d\":{\"type\":\"string\",\"description\":\"%0200d\"},", i, i);
    }
    ac_buf_str(&more,
               "\"m\":{\"type\":\"object\",\"required\":[\"x\"],\"properties\":{\"x\":{\"type\":\"integer\"}}}}}}},");
    found_t found = make("/x",
                         "{\"requestBody\":{\"content\":{\"application/json\":{\"schema\":"
                         "{\"$ref\":\"#/components/schemas/a\"}}}}}",
                         more.data);
    assert_int_equal(found.err.kind, AC_OK);
    char *text = json_dumps(found.operation.schema, JSON_COMPACT);
    assert_true(strlen(text) <= AC_MAX_OPENAPI_SCHEMA);
    assert_non_null(strstr(text, "\"p99\":{\"type\":\"string\""));
    assert_non_null(strstr(text, "\"x\":{\"type\":\"integer\"}"));
    free(text);
    ac_openapi_operation_free(&found.operation);
    ac_buf_free(&more);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_yaml_values),
        cmocka_unit_test(test_yaml_bombs),
        cmocka_unit_test(test_styles),
        cmocka_unit_test(test_servers_are_relative_to_the_document),
        cmocka_unit_test(test_what_there_is_no_tool_of),
        cmocka_unit_test(test_a_large_schema_is_shortened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
