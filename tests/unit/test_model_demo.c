/* SPDX-License-Identifier: Apache-2.0 */
/* The demonstration model: what it makes of messages, and how it says it. */
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
    TOOL("lookup_invoice", "{\"type\":\"object\",\"properties\":{\"number\":{\"type\":[\"string\",\"null\"]},\"year\":" \
         "{\"type\":\"integer\",\"minimum\":2020}},\"required\":[\"year\"]}") "]"
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

#define WEATHER(place) "get_weather {\"location\":\"" place "\",\"units\":\"metric\"};"
#define SUM(expression) "calculate {\"expression\":\"" expression "\"};"
#define TOPIC(query) "search_knowledge_base {\"query\":\"" query "\"};"

static void test_the_four_conversations(void **state)
{
    (void)state;
    expect_calls(TALK(USER("What's the weather in Tokyo?")), WEATHER("Tokyo"));
    expect_calls(TALK(USER("What's the weather in Paris and what's 18% tip on \u20ac75?")),
                 WEATHER("Paris") SUM("75 * 0.18"));
    expect_calls(TALK(USER("Tell me a joke")), "");
    expect_calls(TALK(USER("I need help with my order")), TOPIC("order"));
}

static void test_weather(void **state)
{
    (void)state;
    expect_calls(TALK(USER("How's the weather in new york city today?")), WEATHER("new york city"));
    expect_calls(TALK(USER("weather in Paris, Texas please")), WEATHER("Paris, Texas"));
    expect_calls(TALK(USER("Weather in Z\u00fcrich and S\u00e3o Paulo?")),
                 WEATHER("Z\u00fcrich") WEATHER("S\u00e3o Paulo"));
    expect_calls(TALK(USER("What is the weather for tomorrow in Rome?")), WEATHER("Rome"));
    expect_calls(TALK(USER("What's Tokyo's weather?")), WEATHER("Tokyo"));
    expect_calls(TALK(USER("forecast for St. Louis")), WEATHER("St. Louis"));
    expect_calls(TALK(USER("What's the weather like?")), "");
    expect_calls(BARE(USER("What's the weather in Tokyo?")), "");
}

static void test_sums(void **state)
{
    (void)state;
    expect_calls(TALK(USER("What is 12 * (3 + 4)?")), SUM("12 * (3 + 4)"));
    expect_calls(TALK(USER("2+2")), SUM("2 + 2"));
    expect_calls(TALK(USER("what's 1,250.50 plus 3 times 2")), SUM("1250.50 + 3 * 2"));
    expect_calls(TALK(USER("Calculate sqrt(16) please")), SUM("sqrt(16)"));
    expect_calls(TALK(USER("15 percent of 85")), SUM("85 * 0.15"));
    expect_calls(TALK(USER("a tip of 12.5% for a bill of $40.20")), SUM("40.20 * 0.125"));
    expect_calls(TALK(USER("What is 20% off $80?")), SUM("80 * (1 - 0.2)"));
    expect_calls(TALK(USER("(5 - 2) x 3 and more")), SUM("(5 - 2) * 3"));
    expect_calls(TALK(USER("It happened on 2026-11-21, at 5/6.")), "");
    expect_calls(TALK(USER("I have 3 cats")), "");
}

static void test_other_tools(void **state)
{
    (void)state;
    expect_calls(TALK(USER("What is your refund policy?")), TOPIC("refund policy"));
    expect_calls(TALK(USER("How long does shipping to Norway take?")), TOPIC("shipping Norway"));
    expect_calls(TALK(USER("What's the stock price of MSFT?")), "get_stock_price {\"symbol\":\"MSFT\"};");
    expect_calls(TALK(USER("How is the Apple stock?")), "get_stock_price {\"symbol\":\"AAPL\"};");
    expect_calls(TALK(USER("Search the web for event streams in C.")),
                 "search_web {\"query\":\"event streams in C\"};");
    expect_calls(TALK(USER("use lookup_invoice: 2024-117")), "lookup_invoice {\"number\":\"2024-117\",\"year\":2020};");
    expect_calls(BARE(USER("What is your refund policy?")), "");
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

static void test_arguments_come_in_pieces(void **state)
{
    question_t question;
    (void)state;
    question_init(&question, &rig, &ac_model_demo, fast, TALK(USER("15% of 85, and the weather in Oslo")));
    question_run(&question);
    assert_string_equal(question.tools.data,
                        "[0 get_weather]<0 {\"location\":\"Osl><0 o\",\"units\":\"metr><0 ic\"}>"
                        "[1 calculate]<1 {\"expression\":\"8><1 5><1  *><1  0.15\"}>");
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
    expect_text(
        TALK(USER("Weather in Tokyo?") "," ASKED("get_weather") RESULT(
            "{\\\"location\\\":{\\\"name\\\":\\\"Tokyo\\\",\\\"country\\\":\\\"Japan\\\"},"
            "\\\"units\\\":{\\\"temperature\\\":\\\"\u00b0C\\\"},"
            "\\\"current\\\":{\\\"temperature\\\":21.5,\\\"feels_like\\\":20,\\\"conditions\\\":\\\"light rain\\\"}}")),
        "In Tokyo (Japan) it is 21.5 \u00b0C with light rain, and it feels like 20 \u00b0C.", NULL);
    expect_text(TALK(USER("Weather in Oslo?") "," ASKED("get_weather")
                         RESULT("{\\\"city\\\":\\\"Oslo\\\",\\\"temperature\\\":\\\"3 C\\\"}")),
                "In Oslo it is 3 C.", NULL);
    expect_text(TALK(USER("2+2") "," ASKED("calculate")
                         RESULT("{\\\"expression\\\":\\\"75 * 0.18\\\",\\\"result\\\":13.5}")),
                "75 * 0.18 = 13.5.", NULL);
    expect_text(TALK(USER("my order") "," ASKED("search_knowledge_base") RESULT(
                    "{\\\"results\\\":[{\\\"title\\\":\\\"Orders\\\",\\\"snippet\\\":\\\"Where it is.\\\"}]}")),
                "I found \u201cOrders\u201d: Where it is.", NULL);
    expect_text(TALK(USER("my order") "," ASKED("search_knowledge_base") RESULT("{\\\"results\\\":[]}")),
                "found nothing", NULL);
    expect_text(TALK(USER("stock of SAP") "," ASKED("get_stock_price")
                         RESULT("{\\\"symbol\\\":\\\"SAP\\\",\\\"price\\\":250.1,\\\"currency\\\":\\\"EUR\\\"}")),
                "SAP is at 250.1 EUR.", NULL);
    expect_text(TALK(USER("x") "," ASKED("lookup_invoice") RESULT("{\\\"paid\\\":true,\\\"sum\\\":12}")),
                "The tool lookup_invoice answered: paid yes, sum 12.", NULL);
    expect_text(TALK(USER("x") "," ASKED("lookup_invoice") RESULT("not JSON at all")), "not JSON at all", NULL);
    expect_text(TALK(USER("x") "," ASKED("calculate") RESULT("{\\\"error\\\":\\\"division by zero\\\"}")),
                "The tool calculate could not do it: division by zero.", NULL);
}

static void test_says_what_it_is(void **state)
{
    static const char says[] = "I am the demonstration model built into mod_agentchat. I am no AI";
    (void)state;
    expect_text(TALK(USER("Hello")), says, NULL);
    expect_text(BARE(USER("Weather in Oslo?") "," ASKED("get_weather") RESULT("{}")), says, NULL);
    expect_text(TALK(USER("Hello") "," ASSISTANT("Hello!") "," USER("Who are you?")),
                "The tools of this agent are get_weather, ", says);
    expect_text(TALK(USER("What is love?")), "\u201cWhat is love?\u201d, which needs a real model", NULL);
    expect_text(BARE(USER("Hello")), "has no tools", NULL);
    expect_text("{\"messages\":[]}", says, NULL);
    expect_text(
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"},{\"type\":\"text\",\"text\":\"Hello\"}]}]}",
        "Hello!", NULL);
    expect_text("{\"messages\":[{\"role\":\"user\",\"content\":null}]}", "Try:", NULL);
}

static void test_remembers(void **state)
{
    (void)state;
    expect_text(TALK(USER("My name is Ada.") "," ASSISTANT("Hi") "," USER("Tell me a joke") "," ASSISTANT(
                    "Ha") "," USER("What did I ask before?")),
                "1. \u201cMy name is Ada.\u201d 2. \u201cTell me a joke\u201d", "demonstration");
    expect_text(TALK(USER("My name is Ada.") "," ASSISTANT("Hi") "," USER("What is my name?")), "your name is Ada.",
                NULL);
    expect_text(TALK(USER("What did I ask before?")), "first message of our conversation", NULL);
    expect_text(TALK(USER("Tell me a joke")), "OCT 31", NULL);
    expect_text(TALK(USER("Tell me a joke") "," ASSISTANT("Ha") "," USER("Another joke")), "times out", "OCT 31");
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

/* ---- how it is said ---- */

static void test_usage(void **state)
{
    question_t question;
    (void)state;
    question_init(&question, &rig, &ac_model_demo, fast,
                  BARE(USER("Tell me a joke") "," ASSISTANT("One two.") "," USER("joke")));
    question_run(&question);
    assert_true(question.end.usage.known && !question.end.usage.estimated);
    assert_int_equal(question.end.usage.prompt, 7);
    assert_int_equal(question.end.usage.completion, question.n_texts);
    assert_int_equal(question.end.usage.total, 7 + question.n_texts);
    assert_in_range(question.n_texts, 10, 20);
    assert_string_equal(question.end.model, "demo");
    question_free(&question);
}

static void test_length(void **state)
{
    question_t question;
    (void)state;
    question_init(&question, &rig, &ac_model_demo, fast, BARE(USER("Tell me a story")));
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
    assert_true(question.first - question.began >= 6 * 1000);
    assert_true(question.ended - question.began >= (question.n_texts + 6) * 1000);
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
    assert_string_equal(create(&self, "pace", "1001"),
                        "AgentChatEndpoint: pace='1001'; give the milliseconds from word to word, 0 to 1000");
    assert_non_null(strstr(create(&self, "pace", "-1"), "0 to 1000"));
    assert_non_null(strstr(create(&self, "pace", "fast"), "0 to 1000"));
    assert_non_null(strstr(create(&self, "pace", ""), "0 to 1000"));
    assert_non_null(strstr(create(&self, "model", "x"), "knows pace="));
}

typedef struct probed_t {
    ac_latch_t *done;
    apr_status_t status;
} probed_t;

static void on_probed(void *baton, apr_status_t status, apr_interval_time_t took, const ac_err_t *err)
{
    probed_t *probed = baton;
    probed->status = took == 0 && err->kind == AC_OK ? status : APR_EGENERAL;
    ac_latch_open(probed->done);
}

static void probe(void *baton)
{
    ac_model_demo.probe(fast, on_probed, baton);
}

static void test_probe(void **state)
{
    probed_t probed = {ac_latch_create(), APR_EGENERAL};
    (void)state;
    rig_call(&rig, probe, &probed);
    assert_true(ac_latch_wait(probed.done, ac_clock() + apr_time_from_sec(20)));
    assert_int_equal(probed.status, APR_SUCCESS);
    ac_latch_unref(probed.done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_four_conversations),
        cmocka_unit_test(test_weather),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_other_tools),
        cmocka_unit_test(test_no_calls_where_none_are_allowed),
        cmocka_unit_test(test_arguments_come_in_pieces),
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_says_what_it_is),
        cmocka_unit_test(test_remembers),
        cmocka_unit_test(test_long_messages),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_pace),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_probe),
    };
    apr_initialize();
    apr_pool_create(&pool, NULL);
    int failed = cmocka_run_group_tests_name("model_demo", tests, set_up, tear_down);
    apr_pool_destroy(pool);
    apr_terminate();
    return failed;
}
