/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of the demonstration model: what it reads in a message and what it makes of it. */
#ifndef AC_MODEL_DEMO_H
#define AC_MODEL_DEMO_H

#include "back/model/model.h"
#include "io/io.h"

#define DEMO_MAX_CALLS 6
#define DEMO_MAX_TEXT (64 * 1024)

typedef struct demo_call_t {
    char *name, *arguments; /* owned */
} demo_call_t;

/* What is answered: calls, or text. */
typedef struct demo_plan_t {
    ac_buf_t text;
    demo_call_t calls[DEMO_MAX_CALLS];
    int n_calls;
} demo_plan_t;

/* A conversation as the model is shown it, borrowed. */
typedef struct demo_talk_t {
    const json_t *messages, *tools;
    size_t last_user; /* index of the newest message of the user; the number of messages: none */
    char said[1024];  /* the beginning of its text: what the rules are tried on */
    bool first;       /* nothing was answered before it */
} demo_talk_t;

/* ---- demo_read.c: what stands in a text ---- */
/* The rest of text behind the first of words (separated by '|', lower case) that begins there at a word's beginning, in
 * any case; NULL: none of them. Slow for long texts: they are cut before. */
const char *demo_find(const char *text, const char *words);
/* Appends the places that a question about the weather names, each with its NUL, at most `max`; how many. */
int demo_read_places(ac_buf_t *places, const char *text, int max);
/* Appends the arithmetic that the text asks for ("75 * 0.18"). false: none. */
bool demo_read_arithmetic(ac_buf_t *expression, const char *text);
/* Appends a stock's symbol. */
bool demo_read_symbol(ac_buf_t *symbol, const char *text);
/* Appends the words of a question that say what it is about ("refund policy"). */
bool demo_read_topic(ac_buf_t *topic, const char *text);

/* ---- demo_plan.c, demo_answer.c ---- */
/* The text of a message, also where it came in parts; "" where it has none. */
const char *demo_text_of(const json_t *message);
/* Fills a zeroed plan. */
void demo_plan_make(demo_plan_t *plan, const ac_model_ask_t *ask);
void demo_plan_free(demo_plan_t *plan);
/* Appends what is said about the results of the tools that were called since the user's message. */
void demo_answer_results(ac_buf_t *text, const demo_talk_t *talk);
/* Appends what is said where no tool is of use. */
void demo_answer_talk(ac_buf_t *text, const demo_talk_t *talk);

#endif
