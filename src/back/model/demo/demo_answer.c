/* SPDX-License-Identifier: Apache-2.0 */
/* The demonstration model: sentences from the real results of tools, from the conversation, and from a small stock. */
#include "model_demo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_QUOTE 160 /* bytes of somebody's words that are said again */
#define MAX_FACTS 8   /* members of a result we have no sentence for */

/* ---- pieces ---- */

/* The beginning of a text, on one line, with "…" where it was cut. */
static void add_quote(ac_buf_t *out, const char *text)
{
    size_t len = strcspn(text, "\r\n");
    size_t n = len <= MAX_QUOTE ? len : ac_utf8_whole(text, MAX_QUOTE);
    ac_buf_add(out, text, n);
    if (n < len) {
        ac_buf_str(out, "…");
    }
}

/* A scalar as people write it. */
static void add_scalar(ac_buf_t *out, const json_t *value)
{
    if (json_is_string(value)) {
        add_quote(out, json_string_value(value));
    } else if (json_is_real(value)) {
        ac_buf_printf(out, "%.10g", json_real_value(value));
    } else if (json_is_integer(value)) {
        ac_buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else {
        ac_buf_str(out, json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "unknown");
    }
}

/* The first of these members (NULL-terminated) that is there and not null, or NULL. */
static const json_t *first_of(const json_t *object, const char *const *names)
{
    for (; *names; names++) {
        const json_t *value = json_object_get(object, *names);
        if (value && !json_is_null(value)) {
            return value;
        }
    }
    return NULL;
}

#define FIRST_OF(object, ...) first_of(object, (const char *const[]){__VA_ARGS__, NULL})

/* ---- results ---- */

/* {location: {name, country}, units: {temperature}, current: {temperature, conditions, feels_like}}, or all flat */
static bool tell_weather(ac_buf_t *out, const json_t *result)
{
    const json_t *place = FIRST_OF(result, "location", "city", "place");
    const json_t *current = json_object_get(result, "current"), *now = json_is_object(current) ? current : result;
    const json_t *degrees = FIRST_OF(now, "temperature", "temp", "temperature_c");
    const json_t *conditions = FIRST_OF(now, "conditions", "condition", "description", "weather");
    const json_t *feels = FIRST_OF(now, "feels_like");
    const char *unit = ac_json_peek_string(json_object_get(result, "units"), "temperature", "degrees");
    const char *name = json_is_object(place) ? ac_json_peek_string(place, "name", "there") : json_string_value(place);
    if (!degrees || json_is_object(degrees)) {
        return false;
    }
    ac_buf_str(out, "In ");
    add_quote(out, name ? name : "that place");
    const char *country = ac_json_peek_string(place, "country", NULL);
    if (country) {
        ac_buf_printf(out, " (%s)", country);
    }
    ac_buf_str(out, " it is ");
    add_scalar(out, degrees);
    if (!json_is_string(degrees)) {
        ac_buf_printf(out, " %s", unit);
    }
    if (json_is_string(conditions)) {
        ac_buf_str(out, " with ");
        add_scalar(out, conditions);
    }
    if (json_is_number(feels)) {
        ac_buf_str(out, ", and it feels like ");
        add_scalar(out, feels);
        ac_buf_printf(out, " %s", unit);
    }
    ac_buf_str(out, ". ");
    return true;
}

/* {expression, result} */
static bool tell_sum(ac_buf_t *out, const json_t *result)
{
    const json_t *expression = json_object_get(result, "expression"), *value = FIRST_OF(result, "result", "value");
    if (!expression || !value || json_is_object(value)) {
        return false;
    }
    add_scalar(out, expression);
    ac_buf_str(out, " = ");
    add_scalar(out, value);
    ac_buf_str(out, ". ");
    return true;
}

/* {results: [{title, snippet}]} */
static bool tell_found(ac_buf_t *out, const json_t *result)
{
    const json_t *list = FIRST_OF(result, "results", "documents", "matches", "items", "data");
    list = json_is_array(result) ? result : list;
    if (!json_is_array(list)) {
        return false;
    }
    if (!json_array_size(list)) {
        ac_buf_str(out, "I searched and found nothing about it. ");
        return true;
    }
    for (size_t i = 0; i < json_array_size(list) && i < 2; i++) {
        const json_t *entry = json_array_get(list, i);
        const json_t *title = FIRST_OF(entry, "title", "name", "heading");
        const json_t *text = FIRST_OF(entry, "snippet", "content", "text", "summary", "description");
        ac_buf_str(out, i ? "There is also " : "I found ");
        ac_buf_str(out, "“");
        add_scalar(out, title ? title : entry);
        ac_buf_str(out, "”");
        if (json_is_string(text)) {
            ac_buf_str(out, ": ");
            add_quote(out, json_string_value(text));
        }
        ac_buf_str(out, " ");
    }
    return true;
}

/* {symbol, price, currency} */
static bool tell_price(ac_buf_t *out, const json_t *result)
{
    const json_t *symbol = FIRST_OF(result, "symbol", "ticker"), *price = FIRST_OF(result, "price", "close", "last");
    if (!symbol || !price || json_is_object(price)) {
        return false;
    }
    add_scalar(out, symbol);
    ac_buf_str(out, " is at ");
    add_scalar(out, price);
    ac_buf_printf(out, " %s", ac_json_peek_string(result, "currency", ""));
    ac_buf_str(out, ". ");
    return true;
}

/* What we have no sentence for: its plain members. */
static void tell_facts(ac_buf_t *out, const char *tool, const json_t *result, const char *text)
{
    int n = 0;
    ac_buf_printf(out, "The tool %s answered: ", tool);
    json_t *members = (json_t *)result;
    for (void *at = json_object_iter(members); at && n < MAX_FACTS; at = json_object_iter_next(members, at)) {
        const json_t *value = json_object_iter_value(at);
        if (!json_is_object(value) && !json_is_array(value)) {
            ac_buf_printf(out, "%s%s ", n++ ? ", " : "", json_object_iter_key(at));
            add_scalar(out, value);
        }
    }
    if (!n) {
        add_quote(out, text);
    }
    ac_buf_str(out, ". ");
}

static void tell_result(ac_buf_t *out, const char *tool, const char *text)
{
    json_t *told = json_loads(text, JSON_DECODE_ANY, NULL), *inside = json_object_get(told, "result");
    const json_t *result = inside && json_object_get(told, "origin") ? inside : told,
                 *error = json_object_get(told, "error");
    if (error && !json_is_null(error)) {
        const char *why = ac_json_peek_string(error, "message", "no reason");
        ac_buf_printf(out, "The tool %s could not do it: ", tool);
        add_quote(out, json_is_string(error) ? json_string_value(error) : why);
        ac_buf_str(out, ". ");
    } else if (!tell_sum(out, result) && !tell_weather(out, result) && !tell_price(out, result) &&
               !tell_found(out, result)) {
        tell_facts(out, tool, result, json_is_string(result) ? json_string_value(result) : text);
    }
    json_decref(told);
}

/* The name of the tool that was called under this id, in the messages since the user's. */
static const char *called_tool(const demo_talk_t *talk, const char *id)
{
    for (size_t i = talk->last_user; i < json_array_size(talk->messages); i++) {
        const json_t *calls = json_object_get(json_array_get(talk->messages, i), "tool_calls");
        for (size_t j = 0; j < json_array_size(calls); j++) {
            const json_t *call = json_array_get(calls, j);
            if (!strcmp(ac_json_peek_string(call, "id", ""), id)) {
                return ac_json_peek_string(json_object_get(call, "function"), "name", "?");
            }
        }
    }
    return "?";
}

void demo_answer_results(ac_buf_t *text, const demo_talk_t *talk)
{
    for (size_t i = talk->last_user + 1; i < json_array_size(talk->messages); i++) {
        const json_t *message = json_array_get(talk->messages, i);
        const char *id = ac_json_peek_string(message, "tool_call_id", NULL);
        if (id) {
            tell_result(text, called_tool(talk, id), demo_text_of(message));
        }
    }
}

/* ---- talk ---- */

static size_t count_user(const demo_talk_t *talk)
{
    size_t n = 0;
    for (size_t i = 0; i < talk->last_user && i < json_array_size(talk->messages); i++) {
        n += !strcmp(ac_json_peek_string(json_array_get(talk->messages, i), "role", ""), "user");
    }
    return n;
}

static void tell_joke(ac_buf_t *out, const demo_talk_t *talk)
{
    static const char *const jokes[] = {
        "Why do programmers confuse Halloween and Christmas? Because OCT 31 = DEC 25.",
        "A server walks into a bar, sits down, and times out.",
        "There are 10 kinds of people: those who read binary and those who don't.",
        "I would tell you a joke about UDP, but you might not get it.",
        "Why did the web server go to therapy? It had too many unresolved requests.",
    };
    ac_buf_str(out, jokes[count_user(talk) % (sizeof(jokes) / sizeof(jokes[0]))]);
}

/* What was asked before: the newest few, in order. */
static void tell_history(ac_buf_t *out, const demo_talk_t *talk)
{
    size_t n = count_user(talk), seen = 0, shown = n < 5 ? n : 5;
    if (!n) {
        ac_buf_str(out, "This is the first message of our conversation, so you have not asked me anything before.");
        return;
    }
    ac_buf_printf(out, "Before this you wrote %zu message%s. ", n, n > 1 ? "s" : "");
    ac_buf_str(out, n > shown ? "The last ones: " : "");
    for (size_t i = 0; i < talk->last_user; i++) {
        const json_t *message = json_array_get(talk->messages, i);
        if (!strcmp(ac_json_peek_string(message, "role", ""), "user") && ++seen > n - shown) {
            ac_buf_printf(out, "%zu. “", seen);
            add_quote(out, demo_text_of(message));
            ac_buf_str(out, seen < n ? "” " : "”");
        }
    }
}

/* "My name is Ada", said in any message. */
static bool tell_name(ac_buf_t *out, const demo_talk_t *talk)
{
    for (size_t i = talk->last_user; i-- > 0;) {
        const json_t *message = json_array_get(talk->messages, i);
        char text[sizeof(talk->said)];
        snprintf(text, sizeof(text), "%s", demo_text_of(message));
        text[ac_utf8_whole(text, strlen(text))] = '\0';
        const char *name = demo_find(text, "my name is ");
        if (name && !strcmp(ac_json_peek_string(message, "role", ""), "user")) {
            ac_buf_str(out, "You told me that your name is ");
            ac_buf_add(out, name, strcspn(name, " .,;!?\r\n"));
            ac_buf_str(out, ".");
            return true;
        }
    }
    return false;
}

static void tell_tools(ac_buf_t *out, const demo_talk_t *talk)
{
    size_t n = json_array_size(talk->tools);
    if (!n) {
        ac_buf_str(out, "This agent has no tools. ");
        return;
    }
    ac_buf_str(out, "The tools of this agent are ");
    for (size_t i = 0; i < n; i++) {
        const json_t *function = json_object_get(json_array_get(talk->tools, i), "function");
        ac_buf_str(out, i == 0 ? "" : i + 1 < n ? ", " : " and ");
        ac_buf_str(out, ac_json_peek_string(function, "name", "?"));
    }
    ac_buf_str(out, ". ");
}

static void tell_long(ac_buf_t *out)
{
    ac_buf_str(out,
               "Once upon a time there was a web server that knew only files. One day a message came that no file "
               "could answer. So the server learned to ask a model, and to pass each word on the moment it was "
               "said, for nobody likes to wait before an empty page.\n\nThe model, it turned out, knew many words "
               "but no facts. So the server gave it tools: one that looks at the sky over any city, one that does "
               "sums without a mistake, one that reads the house's own handbook. The model learned to ask for "
               "them, several at once where it could, and to wait for what they bring.\n\nAnd because people come "
               "back, the server began to keep what was said, safely on its disk, before the first word of an "
               "answer left the house. Browsers closed, connections broke, the server was restarted; the "
               "conversation went on where it had stopped. If you want a better story, connect a real model.");
}

void demo_answer_talk(ac_buf_t *text, const demo_talk_t *talk)
{
    const char *said = talk->said;
    if (demo_find(said, "joke|funny|make me laugh")) {
        tell_joke(text, talk);
    } else if (demo_find(said, "my name") && demo_find(said, "what|who|remember|know") && tell_name(text, talk)) {
        return;
    } else if (demo_find(said, "my name is ")) {
        ac_buf_str(text, "Nice to meet you! Ask me later what your name is, and I shall find it in our conversation.");
    } else if (demo_find(said,
                         "what did i|did i ask|did i say|i asked|before this|remember|my last|my first|"
                         "my previous|previous question|last question|conversation so far")) {
        tell_history(text, talk);
    } else if (demo_find(said, "story|essay|long text|long answer|poem")) {
        tell_long(text);
    } else if (demo_find(said, "thank|bye|goodbye|cheers")) {
        ac_buf_str(text, "You are welcome!");
    } else {
        if (demo_find(said, "hello|hi |hey|good morning|good evening")) {
            ac_buf_str(text, "Hello! ");
        } else if (*said && !demo_find(said, "who are you|what are you|what can you|help")) {
            ac_buf_str(text, "You wrote “");
            add_quote(text, said);
            ac_buf_str(text, "”, which needs a real model to answer. ");
        }
        tell_tools(text, talk);
        ac_buf_str(text,
                   "Try: What's the weather in Tokyo? What's 18% tip on €75? I need help with my order. "
                   "Tell me a joke. What did I ask before?");
    }
}
