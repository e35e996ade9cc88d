/* SPDX-License-Identifier: Apache-2.0 */
/* The calculator's evaluator: a recursive descent over the text that works out as it reads.
 *
 *   sum     = term { ("+" | "-") term }
 *   term    = factor { ("*" | "/" | "%" | "of" | "mod") factor }
 *   factor  = ("+" | "-") factor | power
 *   power   = postfix [ ("^" | "**") factor ]                  so -2^2 is -4, and 2^3^2 is 2^(3^2)
 *   postfix = primary { "!" | "%" }
 *   primary = number | constant | function "(" sum { "," sum } ")" | "(" sum ")"
 *
 * "%" is a remainder where an operand follows it (a digit, a letter, "(" or a currency sign), with the sign of the
 * divisor; else it is percent. A term that is nothing but a percentage, added to or taken from one that is not, is a
 * percentage of that: 200 + 10% is 220, 100 - 5% - 5% is 90.25; but 10% + 20% is 0.3 and 200 + (10%) is 200.1. "of"
 * multiplies.
 * A comma in a number separates thousands ("1,234.50"), but inside a function's parentheses it separates arguments.
 *
 * Digits: whole and decimal numbers are exact to 60 significant digits; what a division, a root or a constant had to
 * round is carried with 34 and shown with 16; what came from libm is shown with 15. */
#include "expression.h"

#include <string.h>
#include <strings.h>

#define MAX_LENGTH 4096
#define MAX_DEPTH 64
#define MAX_STEPS 2500 /* the slowest such expression takes well under 1 ms */
#define MAX_NAME 24    /* bytes of an unknown name in an error */

typedef struct value_t {
    ac_decimal_t number;
    bool percent; /* the term is a percentage only; number is already divided by 100 */
} value_t;

static apr_status_t read_sum(value_t *pvalue, ac_expression_text_t *p);

/* ---- functions ---- */

static apr_status_t wrong_count(ac_expression_text_t *p, const ac_math_function_t *function, size_t at)
{
    const char *n = function->max_args == 2 ? function->min_args == 1 ? "one or two arguments" : "two arguments"
        : function->max_args == 1           ? "one argument"
                                            : "at least one argument";
    return ac_err_set(p->err, AC_TOOL_ERROR, "'%s' takes %s, at character %d", function->name, n,
                      ac_expression_text_place(p, at));
}

typedef struct call_t {
    const ac_math_function_t *function;
    ac_decimal_t args[2]; /* for a function with fold: args[0] is the result of the arguments so far */
    int n_args;
} call_t;

static apr_status_t read_argument(call_t *call, ac_expression_text_t *p)
{
    value_t value = {.percent = false};
    ac_expression_text_skip_space(p);
    size_t start = p->at;
    apr_status_t status = read_sum(&value, p);
    if (status != APR_SUCCESS) {
        return status;
    }
    call->n_args++;
    if (call->function->fold && call->n_args > 1) {
        return ac_expression_text_check(p, start, call->function->fold(&call->args[0], &call->args[0], &value.number));
    }
    if (call->n_args <= 2) {
        call->args[call->n_args - 1] = value.number;
    }
    return APR_SUCCESS;
}

/* Reads a function's arguments, after "(". */
static apr_status_t expression_read_call(value_t *pvalue, ac_expression_text_t *p, const ac_math_function_t *function,
                                         size_t start)
{
    call_t call = {.function = function};
    apr_status_t status = APR_SUCCESS;
    ac_expression_text_skip_space(p);
    p->n_calls++;
    for (bool more = ac_expression_text_peek(p, 0) != ')'; more && status == APR_SUCCESS;) {
        status = read_argument(&call, p);
        more = status == APR_SUCCESS && ac_expression_text_peek(p, 0) == ',';
        p->at += more;
    }
    p->n_calls--;
    if (status != APR_SUCCESS) {
        return status;
    }
    if (ac_expression_text_peek(p, 0) != ')') {
        return ac_expression_text_unexpected(p);
    }
    p->at++;
    if (call.n_args < function->min_args || (function->max_args && call.n_args > function->max_args)) {
        return wrong_count(p, function, start);
    }
    const char *problem = ac_math_functions_spend(&p->budget, 2);
    problem = problem ? problem : function->fn(&pvalue->number, call.args, call.n_args, &p->budget);
    return ac_expression_text_check(p, start, problem);
}

static apr_status_t unknown(ac_expression_text_t *p, const char *what, size_t at, size_t len)
{
    return ac_err_set(p->err, AC_TOOL_ERROR, "unknown %s '%.*s%s' at character %d", what,
                      (int)(len < MAX_NAME ? len : MAX_NAME), p->text + at, len > MAX_NAME ? "..." : "",
                      ac_expression_text_place(p, at));
}

static apr_status_t read_name(value_t *pvalue, ac_expression_text_t *p, size_t len)
{
    size_t start = p->at;
    const ac_math_function_t *function = ac_math_functions_find(p->text + start, len);
    p->at += len;
    if (!function && ac_math_functions_constant(&pvalue->number, p->text + start, len)) {
        return APR_SUCCESS;
    }
    ac_expression_text_skip_space(p);
    bool called = ac_expression_text_peek(p, 0) == '(';
    if (!function) {
        return unknown(p, called ? "function" : "name", start, len);
    }
    if (!called) {
        return ac_err_set(p->err, AC_TOOL_ERROR, "the function '%s' at character %d needs parentheses", function->name,
                          ac_expression_text_place(p, start));
    }
    p->at++;
    return expression_read_call(pvalue, p, function, start);
}

/* ---- the grammar, from the inside out ---- */

static apr_status_t read_primary(value_t *pvalue, ac_expression_text_t *p)
{
    pvalue->percent = false;
    ac_expression_text_skip_space(p);
    if (ac_expression_text_skip_currency(p)) {
        ac_expression_text_skip_space(p);
        return ac_expression_text_number(&pvalue->number, p);
    }
    size_t len = ac_expression_text_name_len(p);
    if (len) {
        return read_name(pvalue, p, len);
    }
    if (ac_expression_text_peek(p, 0) != '(') {
        return ac_expression_text_number(&pvalue->number, p);
    }
    size_t start = p->at++;
    apr_status_t status = read_sum(pvalue, p);
    pvalue->percent = false;
    if (status == APR_SUCCESS && p->at >= p->len) {
        return ac_expression_text_fail(p, start, "nothing closes the '('");
    }
    if (status == APR_SUCCESS && ac_expression_text_peek(p, 0) != ')') {
        return ac_expression_text_unexpected(p);
    }
    p->at++;
    return status;
}

/* At "%": whether an operand follows, so that the sign is a remainder. */
static bool operand_follows(const ac_expression_text_t *p)
{
    ac_expression_text_t ahead = *p;
    ahead.at++;
    ac_expression_text_skip_space(&ahead);
    char c = ac_expression_text_peek(&ahead, 0);
    if (ac_expression_text_is_word(&ahead, "of") || ac_expression_text_is_word(&ahead, "mod")) {
        return false;
    }
    return (c >= '0' && c <= '9') || c == '.' || c == '(' || ac_expression_text_name_len(&ahead) ||
        ac_expression_text_skip_currency(&ahead);
}

static apr_status_t read_postfix(value_t *pvalue, ac_expression_text_t *p)
{
    ac_decimal_t hundredth;
    apr_status_t status = read_primary(pvalue, p);
    ac_decimal_read(&hundredth, "1", 1, -2);
    while (status == APR_SUCCESS) {
        ac_expression_text_skip_space(p);
        if (ac_expression_text_peek(p, 0) == '!') {
            status =
                ac_expression_text_check(p, p->at,
                                         ac_math_functions_factorial(&pvalue->number, &pvalue->number, &p->budget));
            pvalue->percent = false;
        } else if (ac_expression_text_peek(p, 0) == '%' && !operand_follows(p)) {
            status = ac_expression_text_check(p, p->at, ac_decimal_mul(&pvalue->number, &pvalue->number, &hundredth));
            pvalue->percent = true;
        } else {
            break;
        }
        p->at++;
    }
    return status;
}

static apr_status_t read_factor(value_t *pvalue, ac_expression_text_t *p);

static apr_status_t read_power(value_t *pvalue, ac_expression_text_t *p)
{
    static const char *const powers[] = {"^", "**", NULL};
    value_t exponent = {.percent = false};
    apr_status_t status = read_postfix(pvalue, p);
    if (status != APR_SUCCESS) {
        return status;
    }
    size_t start = p->at;
    if (!ac_expression_text_accept(p, powers)) {
        return APR_SUCCESS;
    }
    status = read_factor(&exponent, p);
    if (status == APR_SUCCESS) {
        const char *problem = ac_math_functions_power(&pvalue->number, &pvalue->number, &exponent.number, &p->budget);
        status = ac_expression_text_check(p, start, problem);
    }
    pvalue->percent = false;
    return status;
}

static bool take_minus(ac_expression_text_t *p)
{
    static const char *const signs[] = {"-", "\xe2\x88\x92", NULL};
    return ac_expression_text_accept(p, signs);
}

/* Every nesting passes through this function, so it counts the depth. */
static apr_status_t read_factor(value_t *pvalue, ac_expression_text_t *p)
{
    ac_expression_text_skip_space(p);
    if (++p->depth > MAX_DEPTH) {
        return ac_expression_text_fail(p, p->at, "the expression is nested too deeply");
    }
    size_t start = p->at;
    apr_status_t status = ac_expression_text_check(p, start, ac_math_functions_spend(&p->budget, 1));
    if (status != APR_SUCCESS) {
        return status;
    }
    bool minus = take_minus(p);
    if (minus || ac_expression_text_peek(p, 0) == '+') {
        p->at += minus ? 0 : 1;
        status = read_factor(pvalue, p);
    } else {
        status = read_power(pvalue, p);
    }
    if (status == APR_SUCCESS && minus) {
        pvalue->number.negative = !ac_decimal_is_zero(&pvalue->number) && !pvalue->number.negative;
    }
    p->depth--;
    return status;
}

typedef const char *operation_fn(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *b);

static operation_fn *take_term_operator(ac_expression_text_t *p)
{
    static const char *const times[] = {"*", "\xc3\x97", "\xc2\xb7", "\xe2\x8b\x85", "\xe2\x88\x99", NULL};
    static const char *const over[] = {"/", "\xc3\xb7", NULL};
    static const char *const percent[] = {"%", NULL};
    if (ac_expression_text_accept(p, times)) {
        return ac_decimal_mul;
    }
    if (ac_expression_text_accept(p, over)) {
        return ac_decimal_div;
    }
    if (ac_expression_text_is_word(p, "of")) {
        p->at += 2;
        return ac_decimal_mul;
    }
    if (ac_expression_text_is_word(p, "mod")) {
        p->at += 3;
        return ac_decimal_mod;
    }
    return ac_expression_text_accept(p, percent) ? ac_decimal_mod : NULL;
}

static apr_status_t read_term(value_t *pvalue, ac_expression_text_t *p)
{
    value_t right = {.percent = false};
    apr_status_t status = read_factor(pvalue, p);
    while (status == APR_SUCCESS) {
        size_t start = p->at;
        operation_fn *operation = take_term_operator(p);
        if (!operation) {
            break;
        }
        status = read_factor(&right, p);
        if (status == APR_SUCCESS) {
            status = ac_expression_text_check(p, start, operation(&pvalue->number, &pvalue->number, &right.number));
        }
        pvalue->percent = false;
    }
    return status;
}

static const char *combine(value_t *pleft, value_t *pright, operation_fn *operation)
{
    const char *problem = NULL;
    if (pright->percent && !pleft->percent) {
        problem = ac_decimal_mul(&pright->number, &pright->number, &pleft->number);
    }
    pleft->percent = pleft->percent && pright->percent;
    return problem ? problem : operation(&pleft->number, &pleft->number, &pright->number);
}

static apr_status_t read_sum(value_t *pvalue, ac_expression_text_t *p)
{
    value_t right = {.percent = false};
    apr_status_t status = read_term(pvalue, p);
    while (status == APR_SUCCESS) {
        size_t start = p->at;
        bool minus = take_minus(p);
        if (!minus && ac_expression_text_peek(p, 0) != '+') {
            break;
        }
        p->at += minus ? 0 : 1;
        status = read_term(&right, p);
        if (status == APR_SUCCESS) {
            status =
                ac_expression_text_check(p, start, combine(pvalue, &right, minus ? ac_decimal_sub : ac_decimal_add));
        }
    }
    return status;
}

apr_status_t ac_expression_eval(char *text, size_t size, const char *expression, ac_err_t *err)
{
    char result[AC_DECIMAL_TEXT];
    value_t value = {.percent = false};
    ac_expression_text_t p = {.text = expression, .len = strlen(expression), .budget = {MAX_STEPS}, .err = err};
    if (p.len > MAX_LENGTH) {
        return ac_err_set(err, AC_TOOL_ERROR, "the expression is longer than %d bytes", MAX_LENGTH);
    }
    if (!ac_utf8_valid(p.text, p.len)) {
        return ac_err_set(err, AC_TOOL_ERROR, "the expression is not valid UTF-8");
    }
    ac_expression_text_skip_space(&p);
    if (p.at == p.len) {
        return ac_err_set(err, AC_TOOL_ERROR, "the expression is empty");
    }
    apr_status_t status = read_sum(&value, &p);
    if (status == APR_SUCCESS && p.at < p.len) {
        status = ac_expression_text_unexpected(&p);
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    ac_decimal_text_write(result, &value.number);
    if (strlen(result) >= size) {
        return ac_err_set(err, AC_INTERNAL, "the result does not fit");
    }
    memcpy(text, result, strlen(result) + 1);
    return APR_SUCCESS;
}
