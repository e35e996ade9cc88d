/* SPDX-License-Identifier: Apache-2.0 */
/* What calls of MCP tools return: results, and questions of the server. */
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

/* ---- results ---- */

static void assert_result(const char *given, const char *expected, bool failed)
{
    json_t *document = load(given);
    ac_mcp_result_t result;
    ac_err_t err;
    ac_err_init(&err);
    assert_int_equal(ac_mcp_result_read(&result, document, &err), APR_SUCCESS);
    assert_json(result.value, expected);
    assert_int_equal(result.failed, failed);
    json_decref(document);
}

static void test_results(void **state)
{
    (void)state;
    assert_result("{'content':[{'type':'text','text':'a'}]}", "'a'", false);
    assert_result("{'content':[{'type':'text','text':'a'},{'type':'text','text':'b'}]}", "'a\\nb'", false);
    assert_result("{'content':[]}", "[]", false);
    assert_result("{'content':[{'type':'text','text':'a'},{'type':'image','data':'AAAA','mimeType':"
                  "'image/png'}]}",
                  "[{'type':'text','text':'a'},{'type':'image','mimeType':'image/png','bytes':3,'note':"
                  "'The contents are not shown.'}]",
                  false);
    assert_result("{'content':[{'type':'resource_link','uri':'file:///a','name':'a','size':7,'_meta':{}},"
                  "{'type':'resource','resource':{'uri':'file:///b','mimeType':'text/plain','text':'b'}},"
                  "{'type':'resource','resource':{'uri':'file:///c','blob':'AAA='}},{'type':'new'},7]}",
                  "[{'type':'resource_link','uri':'file:///a','name':'a','size':7},"
                  "{'type':'resource','uri':'file:///b','mimeType':'text/plain','text':'b'},"
                  "{'type':'resource','uri':'file:///c','bytes':2,'note':'The contents are not shown.'},"
                  "{'type':'new'},{'type':'unknown'}]",
                  false);
}

static void test_structured_results(void **state)
{
    (void)state;
    assert_result("{'structuredContent':{'a':1}}", "{'a':1}", false);
    assert_result("{'content':[{'type':'text','text':'{ \\\"a\\\" : 1 }'}],'structuredContent':{'a':1}}", "{'a':1}",
                  false);
    assert_result("{'content':[{'type':'text','text':'one'}],'structuredContent':{'a':1}}",
                  "{'structuredContent':{'a':1},'content':'one'}", false);
    assert_result("{'content':[{'type':'text','text':'one'}],'structuredContent':null}", "'one'", false);
    assert_result("{'content':[],'structuredContent':[1,2]}", "[1,2]", false);
}

static void test_failed_results(void **state)
{
    (void)state;
    assert_result("{'isError':true,'content':[{'type':'text','text':'no'},{'type':'image'}]}", "'no'", true);
    assert_result("{'isError':true,'content':[]}", "'it says nothing else'", true);
    assert_result("{'isError':true,'structuredContent':{'code':1}}", "'{\\\"code\\\":1}'", true);
    assert_result("{'isError':'true','content':[{'type':'text','text':'a'}]}", "'a'", false);
}

static void test_what_is_no_result(void **state)
{
    (void)state;
    json_t *deep = json_array();
    for (int i = 0; i < 30; i++) {
        deep = json_pack("[o]", deep);
    }
    json_t *given[] = {json_object(), json_pack("{s:s}", "content", "a"),
                       json_pack("{s:o}", "structuredContent", deep)};
    for (size_t i = 0; i < sizeof given / sizeof given[0]; i++) {
        ac_mcp_result_t result;
        ac_err_t err;
        ac_err_init(&err);
        assert_int_not_equal(ac_mcp_result_read(&result, given[i], &err), APR_SUCCESS);
        assert_int_equal(err.kind, AC_TOOL_ERROR);
        assert_null(result.value);
        json_decref(given[i]);
    }
}

/* ---- questions ---- */

#define ASK(schema) "{'method':'elicitation/create','params':{'message':'Sure?'" schema "}}"

static void test_questions_that_a_yes_answers(void **state)
{
    (void)state;
    static const char two[] = "{'inputRequests':{'a':" ASK(
        ",'requestedSchema':{'properties':{'ok':{'type':'boolean'}}}") ",'b':" ASK("") "},"
                                                                                       "'requestState':'s'}";
    json_t *question, *left, *given = load(two);
    assert_int_equal(ac_mcp_question_read(&question, &left, given, NULL), APR_SUCCESS);
    assert_null(left);
    assert_json(question,
                "{'message':'Sure?\\nSure?','answers':{'a':{'action':'accept','content':{'ok':true}},"
                "'b':{'action':'accept','content':{}}},'state':'s'}");
    json_decref(given);
    given = load("{'requestState':'s'}");
    assert_int_equal(ac_mcp_question_read(&question, &left, given, NULL), APR_SUCCESS);
    assert_null(question);
    assert_json(left, "'s'");
    json_decref(given);
}

static json_t *form_of(const char *properties)
{
    char text[600];
    snprintf(text, sizeof text,
             "{'inputRequests':{'a':" ASK(",'requestedSchema':{'type':'object','properties':{%s}}") "}}", properties);
    json_t *question, *left, *given = load(text);
    assert_int_equal(ac_mcp_question_read(&question, &left, given, NULL), APR_SUCCESS);
    json_decref(given);
    return question;
}

/* The content that the server gets; NULL, with err: the question is asked again. */
static const json_t *answered(json_t *question, const char *content, ac_err_t *err)
{
    ac_err_init(err);
    if (content) {
        json_object_set_new(question, "content", load(content));
    }
    apr_status_t status = ac_mcp_question_answer(question, err);
    assert_null(json_object_get(question, "content"));
    assert_int_equal(err->kind, status == APR_SUCCESS ? AC_OK : AC_INVALID_REQUEST);
    return status == APR_SUCCESS
        ? json_object_get(json_object_get(json_object_get(question, "answers"), "a"), "content")
        : NULL;
}

static void test_forms(void **state)
{
    (void)state;
    json_t *question = form_of("'c':{'type':'string','default':'red'},'n':{'type':'integer','default':3}");
    ac_err_t err;
    assert_json(
        json_incref(json_object_get(question, "form")),
        "{'type':'object','properties':{'c':{'type':'string','default':'red'},'n':{'type':'integer','default':3}}}");
    assert_json(json_incref((json_t *)answered(question, NULL, &err)), "{'c':'red','n':3}");
    assert_null(answered(question, "{'n':'many'}", &err));
    assert_string_equal(err.detail, "n must be of type integer");
    assert_string_equal(err.pointer, "/n");
    assert_json(json_incref((json_t *)answered(question, "{'c':'blue'}", &err)), "{'c':'blue'}");
    json_decref(question);
    question = form_of("'c':{'type':'string'}},'required':['c'],'x':{");
    assert_null(answered(question, NULL, &err));
    assert_string_equal(err.detail, "the form has to be filled in");
    assert_json(json_incref((json_t *)answered(question, "{'c':''}", &err)), "{'c':''}");
    json_decref(question);
    question = form_of("'all':{'type':'boolean'}"); /* no form: what a client sends for one has no effect */
    assert_null(json_object_get(question, "form"));
    assert_json(json_incref((json_t *)answered(question, "{'all':false}", &err)), "{'all':true}");
    json_decref(question);
}

static void test_questions_that_a_yes_does_not_answer(void **state)
{
    (void)state;
    static const char *const given[] = {
        "{}",
        "{'inputRequests':{}}",
        "{'requestState':7}",
        "{'inputRequests':{'a':7}}",
        "{'inputRequests':{'a':{'method':'sampling/createMessage','params':{'message':'x'}}}}",
        "{'inputRequests':{'a':" ASK(",'mode':'url','url':'https://example.com'") "}}",
        "{'inputRequests':{'a':" ASK(",'requestedSchema':[]") "}}",
        "{'inputRequests':{'a':" ASK(",'requestedSchema':{'properties':[1]}") "}}",
        "{'inputRequests':{'a':" ASK(",'requestedSchema':{'properties':{'a':{'type':'object'}}}") "}}",
        "{'inputRequests':{'a':" ASK(",'requestedSchema':{'properties':{'a':{}}}") "}}",
        "{'inputRequests':{'a':" ASK(",'requestedSchema':{'properties':{'a':{'type':'string'}}}") ",'b':" ASK("") "}}",
        "{'inputRequests':{'a':" ASK(",'requestedSchema':{'required':['a']}") "}}",
        "{'inputRequests':{'a':" ASK("") ",'b':{'method':'roots/list'}}}",
    };
    for (size_t i = 0; i < sizeof given / sizeof given[0]; i++) {
        json_t *question, *left, *document = load(given[i]);
        ac_err_t err;
        ac_err_init(&err);
        if (ac_mcp_question_read(&question, &left, document, &err) == APR_SUCCESS) {
            fail_msg("%s was taken", given[i]);
        }
        assert_null(question);
        assert_null(left);
        assert_int_equal(err.kind, AC_TOOL_ERROR);
        json_decref(document);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_structured_results),
        cmocka_unit_test(test_failed_results),
        cmocka_unit_test(test_what_is_no_result),
        cmocka_unit_test(test_questions_that_a_yes_answers),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_questions_that_a_yes_does_not_answer),
    };
    return cmocka_run_group_tests_name("mcp result", tests, NULL, NULL);
}
