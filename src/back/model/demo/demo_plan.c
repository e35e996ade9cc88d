/* SPDX-License-Identifier: Apache-2.0 */
/* The demonstration model: which of the offered tools suit what the user wrote, and with which arguments. */
#include "model_demo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *demo_text_of(const json_t *message)
{
    const json_t *content = json_object_get(message, "content");
    for (size_t i = 0; i < json_array_size(content); i++) {
        const char *text = ac_json_peek_string(json_array_get(content, i), "text", NULL);
        if (text) {
            return text;
        }
    }
    return json_is_string(content) ? json_string_value(content) : "";
}

static bool has_role(const json_t *message, const char *role)
{
    return !strcmp(ac_json_peek_string(message, "role", ""), role);
}

static void read_talk(demo_talk_t *talk, const ac_model_ask_t *ask)
{
    memset(talk, 0, sizeof(*talk));
    talk->messages = ask->messages;
    talk->tools = ask->tools;
    talk->first = true;
    talk->last_user = json_array_size(ask->messages);
    for (size_t i = json_array_size(ask->messages); i-- > 0;) {
        const json_t *message = json_array_get(ask->messages, i);
        if (has_role(message, "user") && talk->last_user == json_array_size(ask->messages)) {
            const char *text = demo_text_of(message);
            size_t len = strlen(text);
            len = len < sizeof(talk->said) ? len : ac_utf8_whole(text, sizeof(talk->said) - 1);
            memcpy(talk->said, text, len);
            talk->last_user = i;
        } else if (has_role(message, "assistant") && talk->last_user != json_array_size(ask->messages)) {
            talk->first = false;
        }
    }
}

/* ---- arguments ---- */

static bool demo_plan_is_type(const json_t *property, const char *name)
{
    const json_t *type = json_object_get(property, "type");
    const char *text = json_string_value(json_is_array(type) ? json_array_get(type, 0) : type);
    return text && !strcmp(text, name);
}

static bool takes_text(const json_t *property)
{
    return demo_plan_is_type(property, "string") && !json_object_get(property, "enum");
}

/* The parameter that the value belongs to: the first required one that takes a text, else the first one that does. */
static const char *main_parameter(const json_t *schema)
{
    const json_t *required = json_object_get(schema, "required");
    json_t *properties = json_object_get(schema, "properties");
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        if (name && takes_text(json_object_get(properties, name))) {
            return name;
        }
    }
    for (void *at = json_object_iter(properties); at; at = json_object_iter_next(properties, at)) {
        if (takes_text(json_object_iter_value(at))) {
            return json_object_iter_key(at);
        }
    }
    return NULL;
}

/* A value that a required parameter may have, for those that nothing was said about. */
static json_t *any_value(const json_t *property, const char *text)
{
    json_t *choice = json_array_get(json_object_get(property, "enum"), 0), *set = json_object_get(property, "default");
    if (set || choice) {
        return json_incref(set ? set : choice);
    }
    if (demo_plan_is_type(property, "integer") || demo_plan_is_type(property, "number")) {
        json_t *least = json_object_get(property, "minimum");
        return least ? json_incref(least) : json_integer(1);
    }
    return demo_plan_is_type(property, "boolean") ? json_false()
        : demo_plan_is_type(property, "array")    ? json_array()
        : demo_plan_is_type(property, "object")   ? json_object()
                                                  : ac_json_text(text);
}

static char *make_arguments(const json_t *tool, const char *value)
{
    const json_t *schema = json_object_get(json_object_get(tool, "function"), "parameters");
    const json_t *required = json_object_get(schema, "required"), *properties = json_object_get(schema, "properties");
    const char *main = main_parameter(schema);
    json_t *arguments = json_object();
    if (main) {
        ac_json_put(arguments, main, ac_json_text(value));
    }
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        if (name && !json_object_get(arguments, name)) {
            ac_json_put(arguments, name, any_value(json_object_get(properties, name), value));
        }
    }
    char *text = ac_json_dump(arguments, NULL);
    json_decref(arguments);
    return text;
}

/* ---- tools ---- */

static const char *tool_name(const json_t *tool)
{
    return ac_json_peek_string(json_object_get(tool, "function"), "name", "");
}

/* The first offered tool whose name has one of these words in it (separated by '|'), or NULL. */
static const json_t *demo_plan_find_tool(const demo_talk_t *talk, const char *words)
{
    for (; *words; words += strcspn(words, "|"), words += *words == '|') {
        char word[40];
        snprintf(word, sizeof(word), "%.*s", (int)strcspn(words, "|"), words);
        for (size_t i = 0; i < json_array_size(talk->tools); i++) {
            const json_t *tool = json_array_get(talk->tools, i);
            if (strstr(tool_name(tool), word)) {
                return tool;
            }
        }
    }
    return NULL;
}

static void demo_plan_add_call(demo_plan_t *plan, const json_t *tool, const char *value)
{
    demo_call_t *call = &plan->calls[plan->n_calls];
    if (!tool || plan->n_calls == DEMO_MAX_CALLS) {
        return;
    }
    call->name = strdup(tool_name(tool));
    call->arguments = make_arguments(tool, value);
    if (call->name && call->arguments) {
        plan->n_calls++;
        return;
    }
    free(call->name);
    free(call->arguments);
    memset(call, 0, sizeof(*call));
}

static void plan_weather(demo_plan_t *plan, const demo_talk_t *talk)
{
    const json_t *tool = demo_plan_find_tool(talk, "weather|forecast");
    ac_buf_t places;
    if (!tool || !demo_find(talk->said, "weather|temperature|forecast|how warm|how cold|how hot|raining|sunny")) {
        return;
    }
    ac_buf_init(&places, sizeof(talk->said) * 2);
    int n = demo_read_places(&places, talk->said, 3);
    const char *place = places.data;
    for (int i = 0; i < n; i++) {
        demo_plan_add_call(plan, tool, place);
        place += strlen(place) + 1;
    }
    if (!n) {
        ac_buf_str(&plan->text,
                   "Of which place shall I look up the weather? Ask me like this: "
                   "What's the weather in Tokyo? ");
    }
    ac_buf_free(&places);
}

/* A tool whose value one of the readers finds. */
static void plan_read(demo_plan_t *plan, const demo_talk_t *talk, const json_t *tool,
                      bool (*read)(ac_buf_t *value, const char *text))
{
    ac_buf_t value;
    ac_buf_init(&value, sizeof(talk->said) * 2);
    if (tool && read(&value, talk->said)) {
        demo_plan_add_call(plan, tool, value.data);
    }
    ac_buf_free(&value);
}

/* What follows a request to search, up to the sentence's end. */
static void plan_search(demo_plan_t *plan, const demo_talk_t *talk)
{
    const json_t *tool = demo_plan_find_tool(talk, "search_web|web_search|web");
    const char *at = demo_find(talk->said,
                               "search the web for |search the internet for |web search for |"
                               "search online for |look up online |google |search for ");
    char query[sizeof(talk->said)];
    if (tool && at) {
        snprintf(query, sizeof(query), "%.*s", (int)strcspn(at, "?!;\n"), at);
        size_t len = strlen(query);
        while (len && (query[len - 1] == '.' || query[len - 1] == ' ')) {
            query[--len] = '\0';
        }
        demo_plan_add_call(plan, len ? tool : NULL, query);
    }
}

/* A tool that is asked for by its name: "use lookup_invoice: 2024-117" */
static void plan_named(demo_plan_t *plan, const demo_talk_t *talk)
{
    for (size_t i = 0; i < json_array_size(talk->tools); i++) {
        const json_t *tool = json_array_get(talk->tools, i);
        const char *at = *tool_name(tool) ? strstr(talk->said, tool_name(tool)) : NULL;
        if (at) {
            at += strlen(tool_name(tool));
            at += strspn(at, " :,.");
            demo_plan_add_call(plan, tool, *at ? at : talk->said);
        }
    }
}

static void plan_calls(demo_plan_t *plan, const demo_talk_t *talk)
{
    plan_named(plan, talk);
    if (plan->n_calls) {
        return;
    }
    plan_weather(plan, talk);
    plan_read(plan, talk, demo_plan_find_tool(talk, "calc|math|expression"), demo_read_arithmetic);
    if (demo_find(talk->said, "stock|share price|shares|ticker|quote")) {
        plan_read(plan, talk, demo_plan_find_tool(talk, "stock|quote|ticker"), demo_read_symbol);
    }
    plan_search(plan, talk);
    if (demo_find(talk->said,
                  "order|refund|return|ship|deliver|polic|warrant|account|password|invoice|payment|cancel|"
                  "subscription|knowledge|faq|complain|exchange") ||
        (!plan->n_calls && !plan->text.len && demo_find(talk->said, "help|support|how do i|how can i"))) {
        plan_read(plan, talk, demo_plan_find_tool(talk, "knowledge|faq|docs|kb"), demo_read_topic);
    }
}

/* ---- the plan ---- */

void demo_plan_make(demo_plan_t *plan, const ac_model_ask_t *ask)
{
    demo_talk_t talk;
    read_talk(&talk, ask);
    ac_buf_init(&plan->text, DEMO_MAX_TEXT);
    bool answered = json_array_size(ask->messages) > talk.last_user + 1;
    if (!answered && !ask->no_calls) {
        plan_calls(plan, &talk);
    }
    if (plan->n_calls) {
        ac_buf_clear(&plan->text);
        return;
    }
    ac_buf_t question = plan->text;
    ac_buf_init(&plan->text, DEMO_MAX_TEXT);
    if (talk.first) {
        ac_buf_str(&plan->text,
                   "I am the demonstration model built into mod_agentchat. I am no AI: I follow a few "
                   "fixed rules, so that you can watch streaming, tools and history at work without a key. ");
    }
    if (answered) {
        demo_answer_results(&plan->text, &talk);
    } else if (question.len) {
        ac_buf_add(&plan->text, question.data, question.len);
    } else {
        demo_answer_talk(&plan->text, &talk);
    }
    ac_buf_free(&question);
}

void demo_plan_free(demo_plan_t *plan)
{
    for (int i = 0; i < plan->n_calls; i++) {
        free(plan->calls[i].name);
        free(plan->calls[i].arguments);
    }
    ac_buf_free(&plan->text);
    plan->n_calls = 0;
}
