/* SPDX-License-Identifier: Apache-2.0 */
/* The demonstration model: how it reads messages, and how it answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_general.h>

#include "model_rig.h"

/* clang-format off */
#define TOOL(name, parameters) \
    "{\"type\":\"function\",\"function\":{\"name\":\"" name "\",\"parameters\":" parameters "}}"
#define TEXT_PARAMETER(name) \
    "{\"type\":\"object\",\"properties\":{\"" name "\":{\"type\":\"string\"}},\"required\":[\"" name "\"]}"
#define TOOLS "\"tools\":[" TOOL("get_weather", \
    "{\"type\":\"object\",\"properties\":{\"units\":{\"type\":\"string\",\"enum\":[\"metric\",\"imperial\"]}," \
    "\"location\":{\"type\":\"string\"}},\"required\":[\"units\",\"location\"]}") "," \
    TOOL("calculate", TEXT_PARAMETER("expression")) "," TOOL("search_knowledge_base", TEXT_PARAMETER("query")) "," \
    TOOL("get_stock_price", TEXT_PARAMETER("symbol")) "," TOOL("search_web", TEXT_PARAMETER("query")) "," \
    TOOL("lookup_invoice", "{\"type\":\"object\",\"properties\":{\"number\":{\"type\":[\"string\",\"null\"]}," \
         "\"year\":{\"type\":\"integer\",\"minimum\":2020}},\"required\":[\"year\"]}") "]"
/* clang-format on */
#define USER(text) "{\"role\":\"user\",\"content\":\"" text "\"}"
#define ASSISTANT(text) "{\"role\":\"assistant\",\"content\":\"" text "\"}"
#define TALK(messages) "{\"messages\":[{\"role\":\"system\",\"content\":\"Be kind.\"}," messages "]," TOOLS "}"
#define BARE(messages) "{\"messages\":[" messages "]}"

static apr_pool_t *pool;
static rig_t rig;
static void *fast;

static const char *create(void **pself, const char *name, const char *value)
{
    ac_model_conf_t *conf = apr_pcalloc(pool, sizeof(*conf));
    apr_table_t *options = apr_table_make(pool, 1);
    conf->id = "demo";
    conf->options = options;
    if (name) {
        apr_table_set(options, name, value);
    }
    return ac_model_demo.create(pself, conf, pool);
}

static int set_up(void **state)
{
    (void)state;
    rig_open(&rig);
    assert_null(create(&fast, "pace", "0"));
    model_init(&rig, &ac_model_demo, fast);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rig_close(&rig);
    return 0;
}

/* ---- tools ---- */

static void expect_calls(const char *document, const char *calls)
{
    question_t question;
    question_init(&question, &rig, &ac_model_demo, fast, document);
    question_run(&question);
    assert_string_equal(question.calls.data, calls);
    assert_int_equal(question.end.finish, *calls ? AC_FINISH_TOOL_CALLS : AC_FINISH_STOP);
    assert_int_equal(question.end.status, APR_SUCCESS);
    assert_int_equal(question.text.len == 0, *calls != '\0');
    question_free(&question);
}

#define WEATHER(place) "get_weather {\"units\":\"metric\",\"location\":\"" place "\"};"
#define SUM(expression) "calculate {\"expression\":\"" expression "\"};"
#define TOPIC(query) "search_knowledge_base {\"query\":\"" query "\"};"

typedef struct sentence_t {
    const char *text, *calls;
} sentence_t;

static void expect_all(const sentence_t *sentence)
{
    for (; sentence->text; sentence++) {
        char document[8192];
        snprintf(document, sizeof(document), TALK(USER("%s")), sentence->text);
        print_message("%s\n", sentence->text);
        expect_calls(document, sentence->calls);
    }
}

static void test_the_four_conversations(void **state)
{
    static const sentence_t sentences[] = {
        {"What's the weather in Tokyo?", WEATHER("Tokyo")},
        {"What's the weather in Paris and what's 18% tip on \u20ac75?", WEATHER("Paris") SUM("75 * 18 / 100")},
        {"What's the weather in Seattle and calculate 15% tip on $85?", WEATHER("Seattle") SUM("85 * 15 / 100")},
        {"What is the weather in Paris, and what is 18% tip on 75 euros?", WEATHER("Paris") SUM("75 * 18 / 100")},
        {"Tell me a joke", ""},
        {"I need help with my order", TOPIC("I need help with my order")},
        {NULL, NULL},
    };
    (void)state;
    expect_all(sentences);
}

static void test_weather(void **state)
{
    static const sentence_t sentences[] = {
        {"weather in Paris, London and Rome", WEATHER("Paris") WEATHER("London") WEATHER("Rome")},
        {"What's the weather in Paris, London, and Rome today?", WEATHER("Paris") WEATHER("London") WEATHER("Rome")},
        {"Weather in Paris and in London please", WEATHER("Paris") WEATHER("London")},
        {"Compare the weather of Berlin with Munich", WEATHER("Berlin") WEATHER("Munich")},
        {"weather in paris and london", WEATHER("paris") WEATHER("london")},
        {"Weather in Z\u00fcrich and \u00c5lesund?", WEATHER("Z\u00fcrich") WEATHER("\u00c5lesund")},
        {"How's the weather in new york city today?", WEATHER("new york city")},
        {"weather in Paris, Texas please", WEATHER("Paris, Texas")},
        {"weather in Paris, Texas and Rome, Italy", WEATHER("Paris, Texas") WEATHER("Rome, Italy")},
        {"Is it going to rain in the Bahamas this weekend?", WEATHER("Bahamas")},
        {"What is the weather for tomorrow in Rome?", WEATHER("Rome")},
        {"What's Tokyo's weather?", WEATHER("Tokyo")},
        {"Rio de Janeiro weather", WEATHER("Rio de Janeiro")},
        {"forecast for St. Louis", WEATHER("St Louis")},
        {"Weather in Oslo and order status", WEATHER("Oslo") TOPIC("Weather in Oslo and order status")},
        {"Weather in Oslo\\nand 3 + 4", WEATHER("Oslo") SUM("3 + 4")},
        {"weather in Bern, Cork, Delft, Enna, Faro, Graz and Hull",
         WEATHER("Bern") WEATHER("Cork") WEATHER("Delft") WEATHER("Enna") WEATHER("Faro") WEATHER("Graz")},
        {"What's the weather like?", ""},
        {"Is it sunny?", ""},
        {NULL, NULL},
    };
    (void)state;
    expect_all(sentences);
    expect_calls(BARE(USER("What's the weather in Tokyo?")), "");
}

static void test_sums(void **state)
{
    static const sentence_t sentences[] = {
        {"what is 3 plus 4", SUM("3 + 4")},
        {"12*(3+4)", SUM("12*(3+4)")},
        {"What is 12 * (3 + 4)?", SUM("12 * (3 + 4)")},
        {"2+2", SUM("2+2")},
        {"15% of 80", SUM("80 * 15 / 100")},
        {"15 percent of 85", SUM("85 * 15 / 100")},
        {"how much is 20 % tip on $45.50", SUM("45.50 * 20 / 100")},
        {"a tip of 12.5% for a bill of $40.20", SUM("40.20 * 12.5 / 100")},
        {"My bill is $85. What is a 15% tip?", SUM("85 * 15 / 100")},
        {"What is 20% off $80?", SUM("80 - 20%")},
        {"$1,250,000 plus 19%", SUM("1250000 + 19%")},
        {"what's 1,250.50 plus 3 times 2", SUM("1250.50 + 3 * 2")},
        {"Calculate sqrt(16) please", SUM("sqrt(16)")},
        {"the square root of 16", SUM("sqrt(16)")},
        {"What is 5 squared?", SUM("5 ^ 2")},
        {"2 to the power of 10", SUM("2 ^ 10")},
        {"2**10", SUM("2^10")},
        {"(5 - 2) x 3 and more", SUM("(5 - 2) * 3")},
        {"I wonder (what is 3 plus 4) really", SUM("3 + 4")},
        {"6 \u00d7 7", SUM("6 * 7")},
        {"Divide 10 by 4", SUM("10 / 4")},
        {"what is 10 divided by 4", SUM("10 / 4")},
        {"What is the sum of 3 and 4?", SUM("3 + 4")},
        {"Subtract 3 from 10", SUM("10 - 3")},
        {"multiply 6 by 7", SUM("6 * 7")},
        {"What is 10/4?", SUM("10 / 4")},
        {"-3 + 5", SUM("-3 + 5")},
        {"what is 3+4 and 10 / 2?", SUM("3+4") SUM("10 / 2")},
        {"It happened on 2026-11-21, at 5/6.", ""},
        {"We won 5-6 in 2024.", ""},
        {"I have 3 cats", ""},
        {NULL, NULL},
    };
    (void)state;
    expect_all(sentences);
}

static void test_other_tools(void **state)
{
    static const sentence_t sentences[] = {
        {"What is your refund policy?", TOPIC("What is your refund policy?")},
        {"What's the stock price of MSFT and IBM?",
         "get_stock_price {\"symbol\":\"MSFT\"};get_stock_price {\"symbol\":\"IBM\"};"},
        {"Search the web for event streams", "search_web {\"query\":\"Search the web for event streams\"};"},
        {NULL, NULL},
    };
    (void)state;
    expect_all(sentences);
    expect_calls(BARE(USER("What is your refund policy?")), "");
}

/* Any message: no crash, complete characters, calls within their maximum. */
static void test_odd_messages(void **state)
{
    static const char *const pieces[] = {"weather in ", "(",        ")",      "1",       "1 + ",
                                         "%",           "1% of ",   "\u20ac", ",",       "&",
                                         "A, ",         "@",        "#",      "\\u0001", "\\n",
                                         "- ",          "sqrt(",    "1/1/",   "1,000",   "St. ",
                                         "and ",        "what is ", "\\\"",   "\\\\",    "\U0001F600 weather",
                                         ".5",          "9 x ",     "\\u00a0"};
    enum { N_PIECES = sizeof(pieces) / sizeof(pieces[0]) };
    (void)state;
    for (int i = 0; i < N_PIECES * N_PIECES; i++) {
        char text[8192] = "", document[10240];
        for (size_t n = 0; n < 2000;) {
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", pieces[i % N_PIECES], pieces[i / N_PIECES]);
        }
        snprintf(document, sizeof(document), TALK(USER("weather 1 stock order %s")), text);
        question_t question;
        question_init(&question, &rig, &ac_model_demo, fast, document);
        question_run(&question);
        assert_int_equal(question.end.status, APR_SUCCESS);
        assert_int_equal(question.n_after, 0);
        assert_true(ac_utf8_valid(question.text.data, question.text.len));
        assert_true(ac_utf8_valid(question.calls.data, question.calls.len));
        question_free(&question);
    }
}

static void test_no_calls_where_none_are_allowed(void **state)
{
    question_t question;
    (void)state;
    question_init(&question, &rig, &ac_model_demo, fast, TALK(USER("What's the weather in Tokyo?")));
    question.ask.no_calls = true;
    question_run(&question);
    assert_int_equal(question.end.n_calls, 0);
    assert_true(question.text.len > 0);
    question_free(&question);
}

static void test_calls_are_shown_one_after_the_other(void **state)
{
    question_t question;
    (void)state;
    question_init(&question, &rig, &ac_model_demo, fast, TALK(USER("15% of 85, and the weather in Oslo")));
    question_run(&question);
    assert_string_equal(question.tools.data,
                        "[0 get_weather]<0 {\"units\":\"metric\",\"location\":\"Oslo\"}>"
                        "[1 calculate]<1 {\"expression\":\"85 * 15 / 100\"}>");
    question_free(&question);
}

/* ---- answers ---- */

static void expect_text(const char *document, const char *part, const char *absent)
{
    question_t question;
    question_init(&question, &rig, &ac_model_demo, fast, document);
    question_run(&question);
    if (!strstr(question.text.data, part)) {
        fail_msg("\"%s\" has no \"%s\"", question.text.data, part);
    }
    assert_true(!absent || !strstr(question.text.data, absent));
    assert_true(ac_utf8_valid(question.text.data, question.text.len));
    assert_int_equal(question.end.finish, AC_FINISH_STOP);
    question_free(&question);
}

#define ASKED(tool) \
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\",\"function\":" \
    "{\"name\":\"" tool "\",\"arguments\":\"{}\"}}]},"
#define RESULT(text) "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"" text "\"}"

static void test_results(void **state)
{
    (void)state;
    expect_text(TALK(USER("Weather in Tokyo?") "," ASKED("get_weather") RESULT(
                    "{\\\"origin\\\":\\\"get_weather\\\",\\\"result\\\":{\\\"location\\\":{\\\"name\\\":\\\"Tokyo\\\","
                    "\\\"country\\\":\\\"Japan\\\"},\\\"units\\\":{\\\"temperature\\\":\\\"\u00b0C\\\"},"
                    "\\\"current\\\":{\\\"temperature\\\":21.5,\\\"conditions\\\":\\\"light rain\\\"}}}")),
                "In Tokyo (Japan) it is 21.5 \u00b0C with light rain.", NULL);
    expect_text(TALK(USER("2+2") "," ASKED("calculate")
                         RESULT("{\\\"expression\\\":\\\"75 * 0.18\\\",\\\"result\\\":13.5}")),
                "75 * 0.18 = 13.5.", NULL);
    expect_text(TALK(USER("2+2") "," ASKED("calculate")
                         RESULT("{\\\"expression\\\":\\\"1 / 3\\\",\\\"result\\\":\\\"0.3333333333333333\\\"}")),
                "1 / 3 = 0.3333333333333333.", NULL);
    expect_text(TALK(USER("my order") "," ASKED("search_knowledge_base") RESULT(
                    "{\\\"results\\\":[{\\\"title\\\":\\\"Orders\\\",\\\"snippet\\\":\\\"Where it is.\\\"}]}")),
                "I found \u201cOrders\u201d: \u201cWhere it is.\u201d", NULL);
    expect_text(TALK(USER("my order") "," ASKED("search_knowledge_base") RESULT("{\\\"results\\\":[]}")),
                "A tool answered: \u201c{\"results\":[]}\u201d", NULL);
    expect_text(TALK(USER("x") "," ASKED("lookup_invoice") RESULT("not JSON at all")), "not JSON at all", NULL);
    expect_text(TALK(USER("x") "," ASKED("calculate") RESULT("{\\\"error\\\":\\\"division by zero\\\"}")),
                "A tool failed: \u201cdivision by zero\u201d", NULL);
    expect_text(TALK(USER("2+2") "," ASKED("calculate")
                         RESULT("{\\\"result\\\":4,\\\"expression\\\":\\\"2+2\\\"}") "," ASSISTANT("4") "," USER(
                             "3+3") "," ASKED("calculate") RESULT("{\\\"result\\\":6,\\\"expression\\\":\\\"3+3\\\"}")),
                "3+3 = 6. ", "\u201c");
}

static void test_introduction(void **state)
{
    static const char says[] = "I am the demonstration model built into mod_agentchat. I am no AI";
    (void)state;
    expect_text(TALK(USER("Hello")), says, NULL);
    expect_text(BARE(USER("Weather in Oslo?") "," ASKED("get_weather") RESULT("{}")), says, NULL);
    expect_text(TALK(USER("Hello") "," ASSISTANT("Hello!") "," USER("Who are you?")),
                "The tools of this agent are get_weather, ", says);
    expect_text(TALK(USER("Hello") "," ASSISTANT("Hello!") "," USER("2+2") "," ASKED("calculate") RESULT("{}")),
                "A tool answered", says);
    expect_text(TALK(USER("What is love?")), "A real model could answer \u201cWhat is love?\u201d", NULL);
    expect_text(BARE(USER("Hello")), "has no tools", NULL);
    expect_text("{\"messages\":[]}", says, NULL);
    expect_text("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"},{\"type\":\"text\",\"text\":"
                "\"Hello\"}]}]}",
                "\u201cHello\u201d", NULL);
    expect_text("{\"messages\":[{\"role\":\"user\",\"content\":null}]}", "Try:", NULL);
    expect_text(TALK(USER("What's the weather like?")), "Of which place?", NULL);
}

static void test_remembers(void **state)
{
    (void)state;
    expect_text(TALK(USER("My name is Ada.") "," ASSISTANT("Hi") "," USER("Tell me a joke") "," ASSISTANT(
                    "Ha") "," USER("What did I ask before?")),
                "\u201cTell me a joke\u201d \u201cMy name is Ada.\u201d", "demonstration");
    expect_text(TALK(USER("My name is Ada.") "," ASSISTANT("Hi") "," USER("What is my name?")),
                "\u201cMy name is Ada.\u201d", NULL);
    expect_text(TALK(USER("Tell me a joke")), "OCT 31", NULL);
}

/* A long message is read at its beginning only, and cut between characters. */
static void test_long_messages(void **state)
{
    size_t len = 100 * 1024;
    char *document = malloc(len + 100);
    (void)state;
    size_t n = (size_t)snprintf(document, len, "{\"messages\":[{\"role\":\"user\",\"content\":\"x");
    while (n < len) {
        memcpy(document + n, "\u20ac", 3);
        n += 3;
    }
    memcpy(document + n, "\"}]}", 5);
    expect_text(document, "\u20ac\u2026", NULL);
    free(document);
}

/* ---- wording ---- */

static void test_usage(void **state)
{
    question_t question;
    (void)state;
    question_init(&question, &rig, &ac_model_demo, fast,
                  BARE(USER("Tell me a joke") "," ASSISTANT("One two.") "," USER("joke")));
    question_run(&question);
    assert_true(question.end.usage.known && !question.end.usage.estimated);
    assert_int_equal(question.end.usage.prompt, 32);
    assert_int_equal(question.end.usage.completion, question.n_texts);
    assert_int_equal(question.end.usage.total, 32 + question.n_texts);
    assert_in_range(question.n_texts, 10, 20);
    assert_string_equal(question.end.model, "demo");
    question_free(&question);
}

static void test_length(void **state)
{
    question_t question;
    (void)state;
    question_init(&question, &rig, &ac_model_demo, fast, BARE(USER("Tell me a joke")));
    question.ask.max_tokens = 4;
    question_run(&question);
    assert_string_equal(question.text.data, "I am the demonstration");
    assert_int_equal(question.end.finish, AC_FINISH_LENGTH);
    question_free(&question);
}

static void test_pace(void **state)
{
    question_t question;
    void *self;
    (void)state;
    assert_null(create(&self, "pace", "2"));
    model_init(&rig, &ac_model_demo, self);
    question_init(&question, &rig, &ac_model_demo, self,
                  BARE(USER("Hello") "," ASSISTANT("Hi") "," USER("Tell me a joke")));
    question_run(&question);
    /* Never faster than half of the pace; how much slower is up to the machine. */
    assert_true(question.ended - question.began >= question.n_texts * 1000);
    question_free(&question);
}

static bool at_third(question_t *question)
{
    return question->n_texts == 3;
}

static void test_cancel(void **state)
{
    question_t question;
    void *slow;
    (void)state;
    question_init(&question, &rig, &ac_model_demo, fast, BARE(USER("Hello")));
    question.in_text = at_third;
    question_run(&question);
    question_free(&question);
    assert_int_equal(question.n_texts, 3);
    assert_int_equal(question.n_ends, 0);
    question_init(&question, &rig, &ac_model_demo, fast, TALK(USER("Weather in Oslo")));
    question.cancel_in_start = true;
    question_run(&question);
    assert_string_equal(question.tools.data, "[0 get_weather]");
    question_free(&question);
    assert_null(create(&slow, "pace", "1000"));
    model_init(&rig, &ac_model_demo, slow);
    question_init(&question, &rig, &ac_model_demo, slow, BARE(USER("Hello")));
    question_start(&question);
    question_cancel(&question);
    question_free(&question);
    assert_int_equal(question.n_ends + question.n_texts, 0);
}

static void test_options(void **state)
{
    void *self;
    (void)state;
    assert_null(create(&self, NULL, NULL));
    assert_null(create(&self, "pace", "1000"));
    assert_non_null(strstr(create(&self, "pace", "1001"), "0 to 1000"));
    assert_non_null(strstr(create(&self, "pace", "-1"), "0 to 1000"));
    assert_non_null(strstr(create(&self, "pace", "fast"), "0 to 1000"));
    assert_non_null(strstr(create(&self, "pace", ""), "0 to 1000"));
    assert_non_null(strstr(create(&self, "model", "x"), "knows pace="));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_four_conversations),
        cmocka_unit_test(test_weather),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_other_tools),
        cmocka_unit_test(test_odd_messages),
        cmocka_unit_test(test_no_calls_where_none_are_allowed),
        cmocka_unit_test(test_calls_are_shown_one_after_the_other),
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_introduction),
        cmocka_unit_test(test_remembers),
        cmocka_unit_test(test_long_messages),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_pace),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_options),
    };
    apr_initialize();
    apr_pool_create(&pool, NULL);
    int failed = cmocka_run_group_tests_name("model_demo", tests, set_up, tear_down);
    apr_pool_destroy(pool);
    apr_terminate();
    return failed;
}
