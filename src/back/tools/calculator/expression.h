/* SPDX-License-Identifier: Apache-2.0 */
/* The position of the evaluator in the text, and the next symbols there. */
#ifndef AC_EXPRESSION_H
#define AC_EXPRESSION_H

#include "math_functions.h"

/* ---- expression.c: no state ---- */
/* Evaluates an arithmetic expression. text: the exact decimal result ("12.75"), at most size bytes. errors: tool_error
 * with the position: "unexpected ')' at character 7". */
apr_status_t ac_expression_eval(char *text, size_t size, const char *expression, ac_err_t *err);

/* ---- expression_text.c ---- */
typedef struct ac_expression_text_t {
    const char *text; /* valid UTF-8 */
    size_t len, at;
    int depth, n_calls; /* n_calls: functions whose closing parenthesis has not come */
    ac_math_budget_t budget;
    ac_err_t *err;
} ac_expression_text_t;

/* The number of characters before the byte at `at`, plus one. */
int ac_expression_text_place(const ac_expression_text_t *p, size_t at);
/* Sets tool_error: "<why> at character 7". */
apr_status_t ac_expression_text_fail(ac_expression_text_t *p, size_t at, const char *why);
/* The same if problem is not NULL. */
apr_status_t ac_expression_text_check(ac_expression_text_t *p, size_t at, const char *problem);
/* Sets tool_error: "unexpected ')' at character 7", or "unexpected end of the expression". */
apr_status_t ac_expression_text_unexpected(ac_expression_text_t *p);
/* The byte at this distance from the next one; NUL after the end. */
char ac_expression_text_peek(const ac_expression_text_t *p, size_t ahead);
/* Whether one of `all` (ended by NULL) comes next; if so, moves past it. */
bool ac_expression_text_accept(ac_expression_text_t *p, const char *const *all);
void ac_expression_text_skip_space(ac_expression_text_t *p);
bool ac_expression_text_skip_currency(ac_expression_text_t *p);
/* Length of the name that comes next, or 0. */
size_t ac_expression_text_name_len(const ac_expression_text_t *p);
bool ac_expression_text_is_word(const ac_expression_text_t *p, const char *word);
/* Reads a number with thousands separators (outside of functions), point, exponent and a currency sign after it. */
apr_status_t ac_expression_text_number(ac_decimal_t *pnumber, ac_expression_text_t *p);

#endif
