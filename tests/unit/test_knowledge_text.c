/* SPDX-License-Identifier: Apache-2.0 */
/* The knowledge base's texts: documents to sections, questions to queries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "back/tools/knowledge/knowledge_internal.h"

#define TO " \xe2\x80\xba "

static ac_buf_t found;
static int n_sections, stop_after;

static bool add_section(void *baton, const char *title, const char *body, size_t len)
{
    (void)baton;
    assert_true(ac_utf8_valid(title, strlen(title)) && ac_utf8_valid(body, len));
    ac_buf_printf(&found, "[%s]%.*s", title, (int)len, body);
    return ++n_sections != stop_after;
}

static bool split(const char *path, const char *text, size_t len)
{
    ac_buf_free(&found);
    ac_buf_init(&found, 4 * AC_KNOWLEDGE_FILE);
    ac_buf_add(&found, "", 0);
    n_sections = 0;
    return ac_knowledge_sections_split(path, text, len, add_section, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    ac_buf_free(&found);
    stop_after = 0;
    return 0;
}

typedef struct row_t {
    const char *path, *text, *sections;
} row_t;

static void check(const row_t *rows, size_t n_rows)
{
    for (size_t i = 0; i < n_rows; i++) {
        assert_true(split(rows[i].path, rows[i].text, strlen(rows[i].text)));
        assert_string_equal(found.data, rows[i].sections);
    }
}

#define CHECK(rows) check(rows, sizeof(rows) / sizeof((rows)[0]))

static void test_sections_of_headings(void **state)
{
    (void)state;
    static const row_t rows[] = {
        {"a.md", "# One\ntext\n## Two ##\nmore\n\n### Three\ndeep\n## Four\nlast",
         "[One]text[One" TO "Two]more[One" TO "Two" TO "Three]deep[One" TO "Four]last"},
        {"sub/how-to_go.md", "intro\n## Part\nx\n", "[how to go]intro[how to go" TO "Part]x"},
        {"a.md", "# One\n# Two\ntext", "[One][Two]text"},
        {"a.md", "# One\n## Inside\ntext", "[One" TO "Inside]text"},
        {"a.md", "# *Bold* `code` \\#\n\nx", "[Bold code \\#]x"},
        {"a.md", "#no heading\n####### neither\n    # nor this\n#\tyes\nx",
         "[a]#no heading\n####### neither\n    # nor this[yes]x"},
        {"a.md", "\xef\xbb\xbf# One\r\ntext\r\n", "[One]text"},
        {"*.md", "# ```\nx", "[document]x"},
        {"a.md", "", ""},
        {"a.md", " \n\n", ""},
        {"a.md", "# C# and F#\nx", "[C# and F#]x"},
        {"a.md", "#\n##  ##\nx", "[a]#\n##  ##\nx"},
    };
    CHECK(rows);
}

static void test_sections_of_underlined_headings(void **state)
{
    (void)state;
    static const row_t rows[] = {
        {"a.md", "One\n===\ntext\n\nTwo\n---\nmore\n", "[One]text[One" TO "Two]more"},
        {"a.md", "text\n\n---\n\nmore\n", "[a]text\n\n---\n\nmore"},
        {"a.md", "- item\n---\nx\n", "[a]- item\n---\nx"},
        {"a.md", "a | b\n--- | ---\nx | y",
         "[a]a | b\n--- | "
         "---\nx | y"},
        {"a.md", "a\nb\nc\n---\nd", "[a]a\nb\nc\n---\nd"},
        {"a.md", "one\n--\nd", "[a]one\n--\nd"},
    };
    CHECK(rows);
}

static void test_sections_leave_code_alone(void **state)
{
    (void)state;
    static const row_t rows[] = {
        {"a.md", "# A\n```sh\n# no heading\n```\n# B\nx", "[A]```sh\n# no heading\n```[B]x"},
        {"a.md", "~~~~\n# a\n~~~\n# b\n~~~~\n# C\nx", "[a]~~~~\n# a\n~~~\n# b\n~~~~[C]x"},
        {"a.md", "```\n# never closed", "[a]```\n# never closed"},
        {"a.md", "``` `x`\n# H\nx", "[a]``` `x`[H]x"},
        {"a.txt", "# not\n=====\nMarkdown", "[a]# not\n=====\nMarkdown"},
    };
    CHECK(rows);
}

static void test_sections_take_front_matter(void **state)
{
    (void)state;
    static const row_t rows[] = {
        {"a.md", "---\nTitle: \"The Name\"\ntags: [x]\n---\ntext\n## H\ny", "[The Name]text[The Name" TO "H]y"},
        {"a.md", "---\ntitle:\n...\ntext", "[a]text"},
        {"a.md", "---\ntitle: x\nnever closed",
         "[a]---\ntitle: "
         "x\nnever closed"},
        {"a.txt", "---\ntitle: x\n---\ntext", "[a]---\ntitle: x\n---\ntext"},
    };
    CHECK(rows);
}

static void test_sections_are_of_bounded_size(void **state)
{
    (void)state;
    ac_buf_t text;
    ac_buf_init(&text, AC_KNOWLEDGE_FILE);
    for (int i = 0; i < 500; i++) {
        ac_buf_printf(&text, "paragraph %d of a document without headings\n\n", i);
    }
    assert_true(split("a.txt", text.data, text.len));
    assert_in_range(n_sections, 5, 7);
    ac_buf_clear(&text);
    for (int i = 0; i < 2000; i++) {
        ac_buf_printf(&text, "line %d of one long paragraph\n", i);
    }
    assert_true(split("a.txt", text.data, text.len));
    assert_in_range(n_sections, 6, 9);
    ac_buf_free(&text);
}

static void test_sections_are_of_bounded_number(void **state)
{
    (void)state;
    ac_buf_t text;
    ac_buf_init(&text, AC_KNOWLEDGE_FILE);
    while (ac_buf_str(&text, "# h\nx\n") == APR_SUCCESS) {
    }
    assert_true(split("a.md", text.data, text.len));
    assert_int_equal(n_sections, AC_KNOWLEDGE_SECTIONS);
    stop_after = 3;
    assert_false(split("a.md", text.data, text.len));
    assert_int_equal(n_sections, 3);
    ac_buf_clear(&text);
    ac_buf_str(&text, "# ");
    for (int i = 0; i < 1000; i++) {
        ac_buf_str(&text, "\xc3\xa9\xe2\x82\xac");
    }
    stop_after = 0;
    assert_true(split("a.md", text.data, text.len));
    assert_in_range(found.len, 100, AC_KNOWLEDGE_TITLE);
    ac_buf_free(&text);
}

static void test_query_words(void **state)
{
    (void)state;
    static const struct {
        const char *question, *query;
    } rows[] = {
        {"refund", "\"refund\" *"},
        {"How do I get a refund?", "\"get\" OR \"refund\" *"},
        {"tv", "\"tv\""},
        {"the who", "\"the\" OR \"who\" *"},
        {"don't panic", "\"don\" OR \"panic\" *"},
        {"a a A I", "\"a\" OR \"I\""},
        {"\"xx\" OR yy*", "\"xx\" OR \"yy\""},
        {"Stra\xc3\x9f"
         "e\xe2\x80\x94"
         "weg",
         "\"Stra\xc3\x9f"
         "e\" OR "
         "\"weg\" *"},
        {"\xe2\x80\x9cquoted\xe2\x80\x9d", "\"quoted\" *"},
        {"2024 prices", "\"2024\" OR \"prices\" *"},
        {"bad \xff utf", "\"bad\" OR \"utf\" *"},
        {"refund refund", "\"refund\" *"},
    };
    char query[AC_KNOWLEDGE_QUERY];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_true(ac_knowledge_query(query, rows[i].question));
        assert_string_equal(query, rows[i].query);
    }
    assert_false(ac_knowledge_query(query, ""));
    assert_false(ac_knowledge_query(query, "?! \" * \xc2\xa0\xe3\x80\x80"));
    assert_string_equal(query, "");
}

static void test_query_is_bounded(void **state)
{
    (void)state;
    char query[AC_KNOWLEDGE_QUERY];
    ac_buf_t text;
    ac_buf_init(&text, 65536);
    for (int i = 0; i < 500; i++) {
        ac_buf_printf(&text, "word%dx%0100d ", i, 0);
    }
    assert_true(ac_knowledge_query(query, text.data));
    assert_in_range(strlen(query), 2000, AC_KNOWLEDGE_QUERY - 1);
    assert_null(strstr(query, "word32x"));
    assert_non_null(strstr(query, "word31x"));
    ac_buf_clear(&text);
    for (int i = 0; i < 300; i++) {
        ac_buf_str(&text, "\xe2\x82\xac");
    }
    assert_true(ac_knowledge_query(query, text.data));
    assert_true(ac_utf8_valid(query, strlen(query)));
    ac_buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_sections_of_headings, tear_down),
        cmocka_unit_test_teardown(test_sections_of_underlined_headings, tear_down),
        cmocka_unit_test_teardown(test_sections_leave_code_alone, tear_down),
        cmocka_unit_test_teardown(test_sections_take_front_matter, tear_down),
        cmocka_unit_test_teardown(test_sections_are_of_bounded_size, tear_down),
        cmocka_unit_test_teardown(test_sections_are_of_bounded_number, tear_down),
        cmocka_unit_test(test_query_words),
        cmocka_unit_test(test_query_is_bounded),
    };
    return cmocka_run_group_tests_name("knowledge_text", tests, NULL, NULL);
}
