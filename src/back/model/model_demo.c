/* SPDX-License-Identifier: Apache-2.0 */
/* The demonstration model: finds sums, locations and a few words in a message, calls tools with them, and makes
 * sentences from the results. It answers word by word, as a real model does. */
#include "io/io.h"
#include "model.h"

#include <regex.h>
#include <string.h>

#include <apr_lib.h>
#include <apr_strings.h>

#define MEAN_PACE 30 /* ms between two words */
#define MAX_CALLS 6
#define MAX_TEXT 1024 /* bytes of a message that are searched, and of a value found in it */
#define GROUPS 8

typedef struct demo_model_t {
    apr_interval_time_t pace;
    ac_loop_t *loop;
} demo_model_t;

typedef struct demo_answer_t {
    demo_model_t *model;
    const ac_model_cb_t *cb;
    void *baton;
    ac_tool_call_t calls[MAX_CALLS]; /* owned */
    ac_buf_t text;                   /* empty if there are calls */
    int n_calls, n_steps, max_steps; /* a step is a part of the answer and counts as one token */
    size_t n_sent;                   /* bytes of text */
    int64_t n_prompt;
    ac_timer_t timer;
} demo_answer_t;

#define NUMBER "([0-9.]*[0-9])"
#define WORDS "[^-+*/^0-9?!]" /* a character that may be between the two numbers of a percentage */
#define FUNCTION "(sqrt|cbrt|abs|round|floor|ceil|sin|cos|tan|ln|log|exp)[(]"
#define TERM "[-(]*(" FUNCTION ")?[-(]*[0-9.]*[0-9]%?[)]*"
#define TERMS "( *[-+*/^%] *" TERM ")*"
/* No range or score like 5-6: it has a function, one of + * ^, or an operator between blanks. */
#define SUM "((" FUNCTION "|" TERM TERMS "( *[+*^] *| +[-/%] +))" TERM TERMS ")"

typedef struct rule_t {
    const char *pattern, *text; /* "\1" to "\7" in text: the pattern's groups */
} rule_t;

static const rule_t sum_rules[] = {
    {"[$]|€|£|¥", ""},
    {"[(]([a-z][^()]*)[)]", "\\1"},   /* "(what is 3 + 4)" */
    {"([0-9]),([0-9]{3})", "\\1\\2"}, /* two times, for 1,250,000 */
    {"([0-9]),([0-9]{3})", "\\1\\2"},
    {"[0-9]+[-/][0-9]+[-/][0-9]+", ""}, /* a date; "5/6" is a sum in a question or alone, "5 / 6" always */
    {"(calculate|compute|is|what.{0,3}s|=|^)( the)? *([0-9.]+)([-/])([0-9])", "\\3 \\4 \\5"},
    {"[*][*]|to the power of", "^"},
    {"([0-9)%]) *(×|x|times|multiplied by)( |$)", "\\1 * "},
    {"([0-9)%]) *(÷|over|divided by) ", "\\1 / "},
    {"([0-9)%]) *(−|minus) ", "\\1 - "},
    {"([0-9)%]) *plus ", "\\1 + "},
    {NUMBER " *(percent|%)", "\\1%"},
    {NUMBER "% off( of)? " WORDS "{0,12}" NUMBER, "\\3 - \\1%"},
    {NUMBER "%" WORDS "{0,30} (of|on|for|from|is) " WORDS "{0,12}" NUMBER, "\\3 * \\1 / 100"},
    {NUMBER WORDS "+ " NUMBER "% (tip|tax|fee)", "\\1 * \\2 / 100"},
    {NUMBER " squared", "\\1 ^ 2"},
    {"square root of " NUMBER, "sqrt(\\1)"},
    {"(add|sum of) " NUMBER " (and|to) " NUMBER, "\\2 + \\4"},
    {"subtract " NUMBER " from " NUMBER, "\\2 - \\1"},
    {"(multiply|product of) " NUMBER " (and|by|with) " NUMBER, "\\2 * \\4"},
    {"divide " NUMBER " by " NUMBER, "\\1 / \\2"},
    {NULL, NULL},
};

/* Afterwards '@' and '#' precede locations, '&' and ',' separate them, and ';' ends them. */
static const rule_t place_rules[] = {
    {"\\bSt\\. ", "St "},
    {"('|’)s (weather|forecast|temperature)", " \\2"},
    {"[?!.:()@#\"\n]", ";"},
    {",? +(and|or|vs|with) +", "&"},
    {" *\\b(in|at|near)\\b *(the\\b)? *", "@"},
    {" *\\b(for|of)\\b *(the\\b)? *", "#"},
    {"\\b(today|current|tomorrow|tonight|now|right|please|this|next|what.{0,3}s|what|how.{0,3}s|how|is|are|do|does|"
     "will|then|also|the|my|me|i|it|a|an|any|like|tell|show|give|get|need|want|calculate|compute|search|find)\\b",
     ";"},
    {NULL, NULL},
};

static void compile(regex_t *regex, const char *pattern, int flags)
{
    if (regcomp(regex, pattern, REG_EXTENDED | flags)) {
        abort(); /* the patterns are constant, so memory ran out */
    }
}

/* Whether a pattern matches anywhere in text, without regard to case. */
static bool matches(const char *text, const char *pattern)
{
    regex_t regex;
    compile(&regex, pattern, REG_ICASE | REG_NOSUB);
    bool found = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return found;
}

/* Applies one rule after the other to all of text. */
static void rewrite(ac_buf_t *text, const rule_t *rule)
{
    for (; rule && rule->pattern; rule++) {
        regex_t regex;
        regmatch_t groups[GROUPS];
        ac_buf_t old = *text;
        const char *at = old.data;
        ac_buf_init(text, old.max);
        compile(&regex, rule->pattern, REG_ICASE);
        for (; regexec(&regex, at, GROUPS, groups, 0) == 0; at += groups[0].rm_eo) {
            ac_buf_add(text, at, (size_t)groups[0].rm_so);
            for (const char *c = rule->text; *c; c++) {
                const regmatch_t *group = *c == '\\' ? &groups[*++c - '0'] : NULL;
                ac_buf_add(text, group ? at + group->rm_so : c, group ? (size_t)(group->rm_eo - group->rm_so) : 1);
            }
        }
        ac_buf_str(text, at);
        ac_buf_free(&old);
        regfree(&regex);
    }
}

/* ---- calls ---- */

/* Adds a call with this value for each required parameter without a choice, or for the first parameter. */
static void add_call(demo_answer_t *answer, const json_t *function, char *value)
{
    const json_t *schema = json_object_get(function, "parameters"), *required = json_object_get(schema, "required");
    json_t *properties = json_object_get(schema, "properties"), *arguments = json_object();
    char id[AC_ID_SIZE];
    for (size_t i = 0; i < json_array_size(required) || (i == 0 && json_object_size(properties)); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        name = name ? name : json_object_iter_key(json_object_iter(properties));
        json_t *choice = json_array_get(json_object_get(json_object_get(properties, name), "enum"), 0);
        ac_json_put(arguments, name, choice ? json_incref(choice) : ac_json_text(value));
    }
    if (answer->n_calls < MAX_CALLS) {
        ac_id_make(id, "call_");
        answer->calls[answer->n_calls++] = (ac_tool_call_t){strdup(id),
                                                            strdup(ac_json_peek_string(function, "name", "")),
                                                            ac_json_dump(arguments, NULL), false};
    }
    json_decref(arguments);
}

/* Adds a call for each location of "Paris, London&Rome". "Paris, Texas" is one location, and so is each half of "Paris,
 * Texas&Rome, Italy". */
static void add_places(demo_answer_t *answer, const json_t *function, char *list)
{
    bool capital = apr_isupper(*list); /* after "Paris&" then no "order status" */
    const char *ends = matches(list, "^[^,&]+,[^,&]+(&[^,&]+,[^,&]+)*$") ? "&" : ",&";
    char *last, *place = apr_strtok(list, ends, &last);
    for (; place; place = apr_strtok(NULL, ends, &last)) {
        place += strspn(place, " ");
        if (*place && !(capital && apr_islower(*place))) {
            add_call(answer, function, place);
        }
    }
}

#define WEATHER "weather|forecast|temperature|how (warm|cold|hot)|rain|snow|sunny", "weather|forecast", place_rules

/* Of the rows of one tool, the first row that finds a value is used. */
static const struct {
    const char *message, *tool; /* patterns: of the message, and of the name of a suitable tool */
    const rule_t *rules;        /* applied to the message; NULL: none */
    const char *value;          /* pattern, with regard to case: its group 1 becomes the argument of a call */
    void (*add)(demo_answer_t *answer, const json_t *function, char *value);
} intents[] = {
    {WEATHER, "@([^@#;0-9]*[^@#;0-9 ,&])", add_places},
    {WEATHER, "#([^@#;0-9]*[^@#;0-9 ,&])", add_places},
    {WEATHER, "([A-Z][^@#;]*) (weather|forecast|temperature)", add_places},
    {"weather|forecast|temperature|how (warm|cold|hot)|rain|snow|sunny", "ask_.*meteorolog", NULL, "(.+)", add_call},
    {"[0-9]", "calc|math", sum_rules, SUM, add_call},
    {"stock|share|ticker", "stock|ticker", NULL, "\\b([A-Z]{2,5})\\b", add_call},
    {"search|look up|google", "web", NULL, "(.+)", add_call},
    {"order|refund|return|ship|deliver|polic|warrant|account|password|invoice|payment|cancel|help with|how (do|can) i",
     "knowledge|faq|docs", NULL, "(.+)", add_call},
};

static void add_calls(demo_answer_t *answer, const json_t *tools, const char *message)
{
    const json_t *done = NULL;
    for (size_t i = 0; i < sizeof(intents) / sizeof(intents[0]); i++) {
        for (size_t j = 0; j < json_array_size(tools) && matches(message, intents[i].message); j++) {
            const json_t *function = json_object_get(json_array_get(tools, j), "function");
            if (function == done || !matches(ac_json_peek_string(function, "name", ""), intents[i].tool)) {
                continue;
            }
            regmatch_t groups[GROUPS];
            regex_t regex;
            ac_buf_t text;
            ac_buf_init(&text, 2 * MAX_TEXT);
            ac_buf_str(&text, message);
            rewrite(&text, intents[i].rules);
            compile(&regex, intents[i].value, 0);
            for (const char *at = text.data; regexec(&regex, at, GROUPS, groups, 0) == 0; at += groups[0].rm_eo) {
                char value[2 * MAX_TEXT];
                apr_snprintf(value, sizeof(value), "%.*s", groups[1].rm_eo - groups[1].rm_so, at + groups[1].rm_so);
                intents[i].add(answer, function, value);
                done = function;
            }
            regfree(&regex);
            ac_buf_free(&text);
        }
    }
}

/* ---- sentences ---- */

static void add_quote(ac_buf_t *out, const char *text)
{
    size_t len = strlen(text), shown = len <= 160 ? len : ac_utf8_whole(text, 160);
    ac_buf_printf(out, "“%.*s%s” ", (int)shown, text, shown < len ? "…" : "");
}

/* The text of a message, also of one whose content is a list of parts. */
static const char *content_of(const json_t *message)
{
    const json_t *content = json_object_get(message, "content"), *part = NULL;
    for (size_t i = 0; i < json_array_size(content) && !part; i++) {
        part = json_object_get(json_array_get(content, i), "text");
    }
    const char *text = json_string_value(part ? part : content);
    return text ? text : "";
}

static void add_result(ac_buf_t *out, const json_t *message)
{
    const char *text = content_of(message);
    json_t *content = json_loads(text, JSON_DECODE_ANY, NULL), *wrapped = json_object_get(content, "result"), *value;
    json_t *result = json_object_get(content, "origin") ? wrapped : content;
    const char *name, *country = "?", *unit, *conditions;
    double degrees;
    if (!json_unpack(result, "{s:s, s:o}", "expression", &name, "result", &value)) {
        char *number = ac_json_dump(value, NULL);
        ac_buf_printf(out, "%s = %s. ", name, json_is_string(value) ? json_string_value(value) : number);
        free(number);
    } else if (!json_unpack(result, "{s:{s:s, s?s}, s:{s:s}, s:{s:F, s:s}}", "location", "name", &name, "country",
                            &country, "units", "temperature", &unit, "current", "temperature", &degrees, "conditions",
                            &conditions)) {
        ac_buf_printf(out, "In %s (%s) it is %g %s with %s. ", name, country, degrees, unit, conditions);
    } else if (!json_unpack(result, "{s:[{s:s, s:s}]}", "results", "title", &name, "snippet", &text)) {
        ac_buf_printf(out, "I found “%s”: ", name);
        add_quote(out, text);
    } else if (wrapped && json_is_string(result)) { /* of another agent */
        ac_buf_printf(out, "%s ", json_string_value(result));
    } else if (json_object_get(message, "tool_call_id")) {
        ac_buf_str(out, json_object_get(result, "error") ? "A tool failed: " : "A tool answered: ");
        add_quote(out, ac_json_peek_string(result, "error", text));
    }
    json_decref(content);
}

/* The number of messages up to the last one of this role among the first n; 0: none. */
static size_t last_of(const json_t *messages, size_t n, const char *role)
{
    while (n > 0 && strcmp(ac_json_peek_string(json_array_get(messages, n - 1), "role", ""), role) != 0) {
        n--;
    }
    return n;
}

static void add_help(ac_buf_t *out, const json_t *tools)
{
    ac_buf_str(out, json_array_size(tools) ? "The tools of this agent are" : "This agent has no tools");
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *function = json_object_get(json_array_get(tools, i), "function");
        ac_buf_printf(out, "%s %s", i ? "," : "", ac_json_peek_string(function, "name", "?"));
    }
    ac_buf_str(out,
               ". Try: What's the weather in Rome? What's 18% tip on 75 euros? Tell me a joke. What did I ask before?");
}

static const char introduction[] =
    "I am the demonstration model built into mod_agentchat. I am no AI: I follow a few fixed rules, so that you can "
    "watch streaming, tools and history at work without a key. ";

/* Chooses the answer to the newest user message: calls or text. */
static void plan(demo_answer_t *answer, const ac_model_ask_t *ask)
{
    size_t n = json_array_size(ask->messages), newest = last_of(ask->messages, n, "user");
    size_t before = newest ? last_of(ask->messages, newest - 1, "user") : 0;
    const char *text = newest ? content_of(json_array_get(ask->messages, newest - 1)) : "";
    char message[MAX_TEXT];
    apr_snprintf(message, sizeof(message), "%.*s", (int)ac_utf8_whole(text, strnlen(text, MAX_TEXT - 1)), text);
    if (newest == n && !ask->no_calls) {
        add_calls(answer, ask->tools, message);
    }
    ac_buf_str(&answer->text, answer->n_calls || last_of(ask->messages, newest, "assistant") ? "" : introduction);
    if (newest < n || answer->n_calls) {
        for (; newest < n; newest++) {
            add_result(&answer->text, json_array_get(ask->messages, newest));
        }
    } else if (matches(message, "joke|funny")) {
        ac_buf_str(&answer->text, "Why do programmers confuse Halloween and Christmas? Because OCT 31 = DEC 25.");
    } else if (matches(message, "weather|forecast")) {
        ac_buf_str(&answer->text, "Of which place? Ask me like this: What's the weather in Tokyo?");
    } else if (before && matches(message, "did i|what.{0,3}s? my|what is my|remember|before")) {
        ac_buf_str(&answer->text, "Before this you wrote, the newest first: ");
        for (; before; before = last_of(ask->messages, before - 1, "user")) {
            add_quote(&answer->text, content_of(json_array_get(ask->messages, before - 1)));
        }
    } else {
        ac_buf_str(&answer->text, "A real model could answer ");
        add_quote(&answer->text, message);
        add_help(&answer->text, ask->tools);
    }
}

/* ---- the provider ---- */

static void answer_free(void *call)
{
    demo_answer_t *answer = call;
    ac_timer_cancel(answer->model->loop, &answer->timer);
    for (int i = 0; i < answer->n_calls; i++) {
        free((char *)answer->calls[i].id);
        free((char *)answer->calls[i].name);
        free((char *)answer->calls[i].arguments);
    }
    ac_buf_free(&answer->text);
    free(answer);
}

static void answer_end(demo_answer_t *answer)
{
    ac_model_end_t end = {.status = APR_SUCCESS, .model = "demo", .calls = answer->calls, .n_calls = answer->n_calls};
    end.finish = end.n_calls                 ? AC_FINISH_TOOL_CALLS
        : answer->n_sent == answer->text.len ? AC_FINISH_STOP
                                             : AC_FINISH_LENGTH;
    end.usage = (ac_usage_t){.prompt = answer->n_prompt, .completion = answer->n_steps, .known = true};
    end.usage.total = end.usage.prompt + end.usage.completion;
    answer->cb->on_end(answer->baton, &end);
    answer_free(answer);
}

static void answer_step(void *baton)
{
    demo_answer_t *answer = baton;
    int step = answer->n_steps, i = step / 2; /* a call has two steps: its name, its arguments */
    const char *word = answer->text.data + answer->n_sent;
    size_t blanks = strspn(word, " "), len = blanks + strcspn(word + blanks, " ");
    if (answer->n_calls ? i == answer->n_calls : !len || step == answer->max_steps) {
        answer_end(answer);
        return;
    }
    /* An even pace looks unnatural. The timer is set before the callback, which may cancel the answer. */
    apr_time_t pace = answer->model->pace, due = ac_loop_now(answer->model->loop) + pace / 2;
    due += (apr_time_t)(ac_random() % (uint64_t)(pace + 1));
    ac_timer_set(answer->model->loop, &answer->timer, due, answer_step, answer);
    answer->n_steps++;
    answer->n_sent += len;
    if (!answer->n_calls) {
        answer->cb->on_text(answer->baton, word, len);
    } else if (step % 2 == 0) {
        answer->cb->on_tool_start(answer->baton, i, answer->calls[i].id, answer->calls[i].name);
    } else {
        answer->cb->on_tool_args(answer->baton, i, answer->calls[i].arguments, strlen(answer->calls[i].arguments));
    }
}

static const char *model_demo_create(void **pself, const ac_model_conf_t *conf, apr_pool_t *p)
{
    demo_model_t *model = *pself = apr_pcalloc(p, sizeof(*model));
    const char *text = conf->options ? apr_table_get(conf->options, "pace") : NULL;
    char *end = "";
    long pace = text ? strtol(text, &end, 10) : MEAN_PACE;
    if ((conf->options && apr_table_elts(conf->options)->nelts > (text != NULL)) || (text && !*text) || *end ||
        pace < 0 || pace > 1000) {
        return "AgentChatEndpoint: provider 'demo' knows pace= only, the milliseconds from word to word, 0 to 1000";
    }
    model->pace = apr_time_from_msec(pace);
    return NULL;
}

static apr_status_t model_demo_child_init(void *self, const ac_host_t *host, ac_err_t *err)
{
    (void)err;
    ((demo_model_t *)self)->loop = host->loop;
    return APR_SUCCESS;
}

static apr_status_t model_demo_ask(void **pcall, void *self, const ac_model_ask_t *ask, const ac_model_cb_t *cb,
                                   void *baton, ac_err_t *err)
{
    (void)err;
    demo_answer_t *answer = *pcall = ac_alloc(sizeof(*answer));
    answer->model = self;
    answer->cb = cb;
    answer->baton = baton;
    answer->max_steps = ask->max_tokens > 0 ? ask->max_tokens : -1;
    answer->n_prompt = (int64_t)json_dumpb(ask->messages, NULL, 0, 0) / 4; /* a token has about four bytes */
    ac_buf_init(&answer->text, AC_MAX_TOOL_RESULT);
    plan(answer, ask);
    ac_loop_t *loop = answer->model->loop;
    ac_timer_set(loop, &answer->timer, ac_loop_now(loop) + answer->model->pace, answer_step, answer);
    return APR_SUCCESS;
}

const ac_model_vt ac_model_demo = {"demo", model_demo_create, model_demo_child_init, model_demo_ask, answer_free, NULL};
