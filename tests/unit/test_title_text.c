/* SPDX-License-Identifier: Apache-2.0 */
/* The title in a model's answer. */
#include "agent/run/run_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check(const char *answer, const char *wanted)
{
    json_t *title = ac_title_text_clean(answer);
    if (!wanted != !title || (wanted && strcmp(json_string_value(title), wanted) != 0)) {
        fail_msg("\"%s\" gives \"%s\", not \"%s\"", answer, title ? json_string_value(title) : "NULL",
                 wanted ? wanted : "NULL");
    }
    json_decref(title);
}

static void test_plain_answers(void **state)
{
    (void)state;
    check("Tomatoes at home", "Tomatoes at home");
    check("  Tomatoes   at\thome \n", "Tomatoes at home");
    check("\n\n Tomatoes\nand an explanation", "Tomatoes");
    check("Tomatoes\r\nmore", "Tomatoes");
    check("Größe von Schuhen", "Größe von Schuhen");
    check("家庭菜園のトマト", "家庭菜園のトマト");
}

static void test_marks_around_a_title(void **state)
{
    (void)state;
    check("\"Tomatoes\"", "Tomatoes");
    check("'Tomatoes'.", "Tomatoes");
    check("`Tomatoes`", "Tomatoes");
    check("**Tomatoes**", "Tomatoes");
    check("“Tomatoes”", "Tomatoes");
    check("„Tomaten“", "Tomaten");
    check("« Tomates »", "Tomates");
    check("「トマト」", "トマト");
    check("# Tomatoes", "Tomatoes");
    check("Title: Tomatoes", "Tomatoes");
    check("**Title:** \"Tomatoes\"", "Tomatoes");
    check("TITLE: 'Tomatoes'", "Tomatoes");
    check("<title>Tomatoes</title>", "Tomatoes");
    check("```\nTomatoes\n```", "Tomatoes");
    check("```text\n\"Tomatoes\"\n```", "Tomatoes");
    check("<think>A title is wanted.\nYes.</think>\n\nTomatoes", "Tomatoes");
}

static void test_marks_that_belong_to_the_title(void **state)
{
    (void)state;
    check("\"A\" or \"B\"", "\"A\" or \"B\"");
    check("What is \"life\"?", "What is \"life\"?");
    check("Using List<String> in Java", "Using List<String> in Java");
    check("<b>Tomatoes</b>", "<b>Tomatoes</b>"); /* text, not HTML */
    check("Tomatoes.", "Tomatoes");
    check("Tomatoes etc. and so on.", "Tomatoes etc. and so on.");
    check("Wait...", "Wait...");
    check("C#", "C#");
    check("The title: how to choose", "The title: how to choose");
}

static void test_answers_without_a_title(void **state)
{
    static const char *const texts[] = {"",
                                        " \n ",
                                        "\n\t\r\n",
                                        "\"\"",
                                        "**",
                                        "****",
                                        "```",
                                        "#",
                                        "Title:",
                                        "<think>only so",
                                        "<think>a</think>",
                                        "\x01\x02\x1f",
                                        "\u200b",
                                        "\u202e\u2066",
                                        "```\n```",
                                        "<title></title>"};
    (void)state;
    check(NULL, NULL);
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        check(texts[i], NULL);
    }
}

static void test_hostile_answers(void **state)
{
    (void)state;
    check("a\u202eb\u2066c\u2069\xc2\x85"
          "d",
          "abc");
    check("a\x01\x1b[31mb", "a [31mb");
    check("a\xff\xfe", "a\xef\xbf\xbd\xef\xbf\xbd");
    check("\xe2\x80", "\xef\xbf\xbd");
    check("\xe2", "\xef\xbf\xbd");
    check("\"\xe2\x80\"", "\xef\xbf\xbd");
}

/* At most AC_MAX_TITLE characters, on one line, whatever comes. */
static void test_any_bytes(void **state)
{
    static const char *const parts[] = {
        "\"", "\xe2\x80\xae", "\xe2\x80\x9c", "Title:", "\n",   "#", "*",  "word", "\xff", " ",
        "`",  "<think>",      "</think>",     ".",      "\x07", "ä", "「", "」"};
    char text[2048];
    unsigned seed = 7;
    (void)state;
    for (int n = 0; n < 20000; n++) {
        int many = n % 100 == 0 ? 200 : 12;
        size_t len = 0;
        for (int i = 0; i < many; i++) {
            seed = seed * 1103515245 + 12345;
            const char *part = parts[(seed >> 16) % (sizeof(parts) / sizeof(*parts))];
            memcpy(text + len, part, strlen(part) + 1);
            len += strlen(part);
        }
        json_t *title = ac_title_text_clean(text);
        const char *value = title ? json_string_value(title) : "x";
        assert_true(ac_utf8_valid(value, strlen(value)));
        assert_in_range(ac_utf8_count(value, strlen(value)), 1, AC_MAX_TITLE);
        assert_null(strpbrk(value, "\r\n\t\x07"));
        assert_null(strstr(value, "\xe2\x80\xae"));
        json_decref(title);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_answers),
        cmocka_unit_test(test_marks_around_a_title),
        cmocka_unit_test(test_marks_that_belong_to_the_title),
        cmocka_unit_test(test_answers_without_a_title),
        cmocka_unit_test(test_hostile_answers),
        cmocka_unit_test(test_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
