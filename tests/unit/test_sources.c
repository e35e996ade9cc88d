/* SPDX-License-Identifier: Apache-2.0 */
/* Sources in results of tools and in annotations of models, and their places in an answer. */
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

static const ac_sources_map_t usual;

/* Both with ' for ". */
static void assert_read(const ac_sources_map_t *map, const char *given, const char *expected)
{
    json_t *result = load(given), *list = NULL;
    json_t *added = ac_sources_add(&list, ac_sources_read(map, result));
    assert_json(list ? json_incref(list) : json_array(), expected);
    assert_int_equal(json_array_size(added), json_array_size(list));
    json_decref(added);
    json_decref(list);
    json_decref(result);
}

static void test_the_usual_names(void **state)
{
    (void)state;
    assert_read(&usual,
                "{'query':'x','results':[{'title':'Leave','document':'hr/leave.md','snippet':'30 days','score':2.5},"
                "{'title':'Leave','document':'hr/leave.md'},{'title':'Sick','document':'hr/leave.md'}]}",
                "[{'id':'1','title':'Leave','place':'hr/leave.md','score':2.5,'snippet':'30 days'},"
                "{'id':'2','title':'Sick','place':'hr/leave.md'}]");
    assert_read(&usual,
                "{'sources':[{'url':'https://a.example/x'},{'url':'http://b.example','title':'B'}],"
                "'citations':['https://a.example/x','https://c.example/?q=1#y']}",
                "[{'id':'1','title':'https://a.example/x','url':'https://a.example/x'},"
                "{'id':'2','title':'B','url':'http://b.example'},"
                "{'id':'3','title':'https://c.example/?q=1#y','url':'https://c.example/?q=1#y'}]");
    /* Neither an address nor a document. */
    assert_read(&usual, "{'results':[{'title':'A'},7,null,'text',[],{'url':7},{'score':1}],'sources':{'url':'x'}}",
                "[]");
    assert_read(&usual, "'text'", "[]");
    assert_read(&usual, "[{'url':'https://a.example'}]", "[]");
}

static void test_addresses(void **state)
{
    static const char *const bad[] = {"javascript:alert(1)",     "data:text/html,x",
                                      "//host.example",          "https://",
                                      "https:///path",           "http://?x",
                                      "https://a.example/ b",    "https://a.example/<b>",
                                      "https://a.example/\\\\b", " https://a.example",
                                      "https://a.example\\u0001"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, "{'results':[{'title':'A','url':'%s'}]}", bad[i]);
        assert_read(&usual, text, "[]");
    }
    assert_read(&usual, "{'results':[{'title':'A','url':'javascript:alert(1)','document':'a.md'}]}",
                "[{'id':'1','title':'A','place':'a.md'}]");
    assert_read(&usual, "{'results':[{'url':'HTTPS://A.example'}]}",
                "[{'id':'1','title':'HTTPS://A.example','url':'HTTPS://A.example'}]");
}

static void test_results_of_mcp_servers(void **state)
{
    (void)state;
    assert_read(
        &usual,
        "[{'type':'text','text':'see'},{'type':'resource_link','uri':'https://a.example','name':'a','title':'A',"
        "'description':'About a'},{'type':'resource','uri':'file:///b.md','name':'b'},{'type':'image','uri':'x'}]",
        "[{'id':'1','title':'A','url':'https://a.example','snippet':'About a'},"
        "{'id':'2','title':'b','place':'file:///b.md'}]");
    assert_read(&usual,
                "{'structuredContent':{'results':[{'title':'A','url':'https://a.example'}]},"
                "'content':[{'type':'resource_link','uri':'https://b.example','name':'B'}]}",
                "[{'id':'1','title':'A','url':'https://a.example'},{'id':'2','title':'B','url':'https://b.example'}]");
}

static void test_a_map(void **state)
{
    (void)state;
    const ac_sources_map_t search = {"value", "metadata.title", "metadata.url", "id", "@search.score", "text"};
    assert_read(
        &search,
        "{'value':[{'@search.score':1.5,'metadata':{'title':'A','url':'https://a.example'},'id':'7','text':'x'},"
        "{'@search.score':'high','metadata':{'title':'B'},'id':'8'},{'metadata':{'title':'C'}},{'text':'x'}],"
        "'results':[{'url':'https://b.example'}]}",
        "[{'id':'1','title':'A','url':'https://a.example','score':1.5,'snippet':'x'},"
        "{'id':'2','title':'B','place':'8'},{'id':'3','title':'C'}]");
    /* The longest name counts, and a member of another type leads nowhere. */
    const ac_sources_map_t dots = {"a.b", "x.y.z", NULL, NULL, NULL, NULL};
    assert_read(&dots, "{'a.b':[{'x.y':{'z':'1'},'x':{'y':{'z':'2'}}},{'x':{'y.z':'3'}},{'x':[]}],'a':{'b':[]}}",
                "[{'id':'1','title':'1'},{'id':'2','title':'3'}]");
    const ac_sources_map_t itself = {".", "name", "link", NULL, NULL, NULL};
    assert_read(&itself, "[{'name':'A','link':'https://a.example'},'https://b.example']",
                "[{'id':'1','title':'A','url':'https://a.example'},"
                "{'id':'2','title':'https://b.example','url':'https://b.example'}]");
    const ac_sources_map_t off = {.list = "off"};
    assert_read(&off, "{'results':[{'url':'https://b.example'}],'off':[{'url':'https://b.example'}]}", "[]");
}

static void test_limits(void **state)
{
    (void)state;
    json_t *items = json_array(), *list = NULL;
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < 2 * AC_MAX_SOURCES; i++) {
        json_array_append_new(items,
                              json_pack("{s:o, s:s, s:s}", "document", json_sprintf("%d", i), "title", text, "snippet",
                                        "a\n\tb\x7f c "));
    }
    json_t *result = json_pack("{s:o}", "results", items);
    json_decref(ac_sources_add(&list, ac_sources_read(&usual, result)));
    assert_null(ac_sources_add(&list, ac_sources_read(&usual, result)));
    assert_int_equal(json_array_size(list), AC_MAX_SOURCES);
    const json_t *last = json_array_get(list, AC_MAX_SOURCES - 1);
    assert_string_equal(ac_json_peek_string(last, "id", ""), "50");
    assert_string_equal(ac_json_peek_string(last, "snippet", ""), "a b c");
    assert_int_equal(strlen(ac_json_peek_string(last, "title", "")), AC_MAX_SOURCE_TITLE);
    json_decref(list);
    json_decref(result);
}

static void test_annotations(void **state)
{
    static const char *const given[] = {
        "{'type':'url_citation','url_citation':{'url':'https://a.example','title':'A','start_index':0,'end_index':4}}",
        "{'type':'url_citation','url':'https://b.example','start_index':0,'end_index':4}",
        "{'type':'url_citation','url':'javascript:x','title':'C'}",
        "{'type':'url_citation','title':'D'}",
        "{'type':'file_citation','url':'https://e.example'}",
        "7",
        "{'type':'url_citation','url_citation':{'url':'https://a.example','title':'Again'}}"};
    (void)state;
    json_t *list = NULL;
    for (size_t i = 0; i < sizeof given / sizeof given[0]; i++) {
        json_t *annotation = load(given[i]);
        json_decref(ac_sources_add(&list, ac_sources_annotation(annotation)));
        json_decref(annotation);
    }
    assert_json(list,
                "[{'id':'1','title':'A','url':'https://a.example'},"
                "{'id':'2','title':'https://b.example','url':'https://b.example'}]");
}

/* Places are in characters; a source without a number in the text has the end of it. */
static void test_citations(void **state)
{
    static const char text[] = "Ünï [2], [10]";
    (void)state;
    json_t *list =
        load("[{'id':'1','title':'A','url':'https://a.example'},{'id':'2','title':'B','url':'https://b.example'},"
             "{'id':'3','title':'C','place':'c.md'}]");
    assert_json(ac_sources_citations(list, text, strlen(text)),
                "[{'type':'url_citation','url':'https://a.example','title':'A','start_index':13,'end_index':13},"
                "{'type':'url_citation','url':'https://b.example','title':'B','start_index':4,'end_index':7}]");
    assert_json(ac_sources_citations(NULL, text, strlen(text)), "[]");
    json_decref(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_usual_names),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_results_of_mcp_servers),
        cmocka_unit_test(test_a_map),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_annotations),
        cmocka_unit_test(test_citations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
