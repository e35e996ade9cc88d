/* SPDX-License-Identifier: Apache-2.0 */
/* Words of texts: what is a word, what is found, and which part of a text is shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

static void put(const char *text, size_t len, const char *wanted)
{
    ac_buf_t words;
    ac_buf_init(&words, 4096);
    assert_int_equal(ac_words_put(&words, text, len), APR_SUCCESS);
    if (strcmp(words.data ? words.data : "", wanted) != 0) {
        fail_msg("'%s' has the words '%s', not '%s'", text, words.data, wanted);
    }
    ac_buf_free(&words);
}

static void test_words_have_no_case_and_no_diacritics(void **state)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", ""},
        {" \t\n.,;:!?-()[]{}\"'", ""},
        {"One, two-three_4 FIVE6", "one two three 4 five6 "},
        {"na\xc3\xafve Caf\xc3\xa9 \xc3\x85NGSTR\xc3\x96M", "naive cafe angstrom "},
        {"\xc3\x98rsted \xc5\x81\xc3\xb3"
         "d\xc5\xba \xc4\xb0stanbul",
         "orsted lodz istanbul "},
        {"cafe\xcc\x81 e\xcc\x81t\xcc\x81", "cafe et "}, /* marks of their own */
        {"\xcc\x81 \xcc\x81x", "x "},                    /* a mark without a letter */
        {"\xce\x91\xce\xb8\xce\xae\xce\xbd\xce\xb1", "\xce\xb1\xce\xb8\xce\xb7\xce\xbd\xce\xb1 "}, /* Greek */
        {"\xd0\x9c\xd0\xbe\xd1\x81\xd0\xba\xd0\xb2\xd0\xb0", "\xd0\xbc\xd0\xbe\xd1\x81\xd0\xba\xd0\xb2\xd0\xb0 "},
        {"\xef\xbc\xb7\xef\xbd\x89\xef\xbd\x84\xef\xbd\x85 \xef\xbc\x91", "wide 1 "}, /* wide letters */
        {"\xe6\x9d\xb1\xe4\xba\xac ab\xe4\xba\xac", "\xe6\x9d\xb1 \xe4\xba\xac ab \xe4\xba\xac "},
        {"\xe0\xb9\x84\xe0\xb8\x97", "\xe0\xb9\x84 \xe0\xb8\x97 "}, /* Thai */
        {"a\xf0\x9f\x98\x80"
         "b",
         "a b "}, /* an emoji is no letter */
        {"\xd7\xa9\xd6\xb8\xd7\x9c\xd7\x95\xd7\x9d",
         "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d "}, /* Hebrew without its points */
        {"x\xe2\x80\x8dy", "xy "},             /* a joiner */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        put(cases[i].text, strlen(cases[i].text), cases[i].words);
    }
}

static void test_bytes_that_are_no_utf_8_are_between_words(void **state)
{
    (void)state;
    put("a\xff"
        "b\xc3",
        4, "a b ");
    put("a\xe2\x82", 3, "a ");
    put("a\0b", 3, "a b ");
    put("abc", 2, "ab ");
}

static void test_a_long_word_is_cut_to_whole_characters(void **state)
{
    char text[401], wanted[80] = "";
    (void)state;
    for (int i = 0; i < 200; i++) {
        memcpy(text + 2 * i, "\xd0\xb0", 3);
    }
    for (int i = 0; i < 30; i++) { /* 60 bytes, of 64 with room for any character and an end */
        memcpy(wanted + 2 * i, "\xd0\xb0", 3);
    }
    strncat(wanted, " ", 2);
    put(text, 400, wanted);
}

static void test_no_more_words_than_fit(void **state)
{
    ac_buf_t words;
    (void)state;
    ac_buf_init(&words, 6);
    assert_int_not_equal(ac_words_put(&words, "one two three", 13), APR_SUCCESS);
    ac_buf_free(&words);
}

static bool matches(const char *wanted, const char *text)
{
    ac_words_query_t query;
    ac_words_query(&query, wanted);
    return ac_words_match(&query, text);
}

static void test_what_is_found(void **state)
{
    static const struct {
        const char *wanted, *text;
        bool found;
    } cases[] = {
        {"fox", "The quick brown Fox.", true},
        {"fo", "The quick brown fox.", true},        /* the last word may go on */
        {"fo quick", "The quick brown fox.", false}, /* others may not */
        {"fo ", "The quick brown fox.", false},      /* nor one that was ended */
        {"brown quick", "The quick brown fox.", true},
        {"\"brown quick\"", "The quick brown fox.", false},
        {"\"quick brown\" the", "The quick brown fox.", true},
        {"\"quick bro\"", "The quick brown fox.", false},
        {"quick-brown", "The quick brown fox.", true}, /* a phrase */
        {"brown-quick", "The quick brown fox.", false},
        {"\"quick brown", "The quick brown fox.", true}, /* a quote that does not end */
        {"CAF\xc3\x89", "cafe\xcc\x81", true},
        {"\xe4\xba\xac\xe9\x83\xbd", "\xe6\x9d\xb1\xe4\xba\xac\xe9\x83\xbd\xe5\xba\x9c", true},
        {"\xe9\x83\xbd\xe4\xba\xac", "\xe6\x9d\xb1\xe4\xba\xac\xe9\x83\xbd\xe5\xba\x9c", false},
        {"fox dog", "The quick brown fox.", false},
        {"x", "", false},
        {"", "fox", false},
        {"\"\" ... \"", "fox", false},
        {"one \"one two\"", "one two", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        if (matches(cases[i].wanted, cases[i].text) != cases[i].found) {
            fail_msg("'%s' in '%s'", cases[i].wanted, cases[i].text);
        }
    }
}

static void test_more_words_than_are_looked_for(void **state)
{
    char text[1000] = "";
    ac_words_query_t query;
    (void)state;
    for (int i = 0; i < 100; i++) {
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "w%d ", i);
    }
    ac_words_query(&query, text);
    assert_int_equal(query.n_words, AC_WORDS_MAX);
    assert_int_equal(query.n_phrases, AC_WORDS_MAX);
    assert_true(ac_words_match(&query, text));
    text[strlen("w0 w1 w2")] = '\0';
    assert_false(ac_words_match(&query, text));
}

static void shows(const char *wanted, const char *text, const char *snippet, const char *highlights)
{
    ac_words_query_t query;
    json_t *match = json_object(), *places = json_loads(highlights, 0, NULL);
    ac_words_query(&query, wanted);
    ac_words_snippet(match, &query, text);
    assert_string_equal(json_string_value(json_object_get(match, "snippet")), snippet);
    char *have = json_dumps(json_object_get(match, "highlights"), JSON_COMPACT);
    if (!json_equal(json_object_get(match, "highlights"), places)) {
        fail_msg("'%s' in '%s': %s", wanted, text, have);
    }
    free(have);
    json_decref(match);
    json_decref(places);
}

static void test_the_part_that_is_shown(void **state)
{
    char text[1600] = "", wanted[900] = "";
    (void)state;
    shows("two", "one two\nthree\t\x01two", "one two three  two",
          "[{\"start\":4,\"end\":7},{\"start\":15,\"end\":18}]");
    shows("b", "\xc3\xa9\xc3\xa9 b", "\xc3\xa9\xc3\xa9 b", "[{\"start\":3,\"end\":4}]"); /* counts characters */
    shows("absent", "one two", "one two", "[]");
    shows("\"one two\" two", "one two", "one two", "[{\"start\":0,\"end\":7}]"); /* places do not overlap */
    shows("x", "", "", "[]");
    for (int i = 0; i < 100; i++) { /* 500 characters of two bytes before, and as many after */
        strncat(text, "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9 ", 10);
    }
    size_t half = strlen(text);
    strncat(text, "needle ", 8);
    memcpy(text + strlen(text), text, half - 400);
    strncat(wanted, "\xe2\x80\xa6", 4);
    for (int i = 0; i < 12; i++) {
        strncat(wanted, "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9 ", 10);
    }
    strncat(wanted, "needle ", 8);
    for (int i = 0; i < 26; i++) {
        strncat(wanted, "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9 ", 10);
    }
    strncat(wanted, "\xc3\xa9\xc3\xa9\xc3\xa9\xe2\x80\xa6", 10);
    shows("needle", text, wanted, "[{\"start\":61,\"end\":67}]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_have_no_case_and_no_diacritics),
        cmocka_unit_test(test_bytes_that_are_no_utf_8_are_between_words),
        cmocka_unit_test(test_a_long_word_is_cut_to_whole_characters),
        cmocka_unit_test(test_no_more_words_than_fit),
        cmocka_unit_test(test_what_is_found),
        cmocka_unit_test(test_more_words_than_are_looked_for),
        cmocka_unit_test(test_the_part_that_is_shown),
    };
    return cmocka_run_group_tests_name("words", tests, NULL, NULL);
}
