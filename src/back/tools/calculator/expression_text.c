/* SPDX-License-Identifier: Apache-2.0 */
/* The text of an expression: its next symbol, numbers in their usual notations, and errors with a position. */
#include "expression.h"
#include "wide.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

int ac_expression_text_place(const ac_expression_text_t *p, size_t at)
{
    return (int)ac_utf8_count(p->text, at) + 1;
}

apr_status_t ac_expression_text_fail(ac_expression_text_t *p, size_t at, const char *why)
{
    return ac_err_set(p->err, AC_TOOL_ERROR, "%s at character %d", why, ac_expression_text_place(p, at));
}

apr_status_t ac_expression_text_check(ac_expression_text_t *p, size_t at, const char *problem)
{
    return problem ? ac_expression_text_fail(p, at, problem) : APR_SUCCESS;
}

apr_status_t ac_expression_text_unexpected(ac_expression_text_t *p)
{
    char why[40];
    if (p->at >= p->len) {
        return ac_err_set(p->err, AC_TOOL_ERROR, "unexpected end of the expression");
    }
    unsigned char c = (unsigned char)p->text[p->at];
    bool valid;
    int n = (int)ac_utf8_next(p->text + p->at, p->len - p->at, &valid);
    if (c < 0x20 || c == 0x7f) {
        snprintf(why, sizeof(why), "unexpected control character");
    } else {
        snprintf(why, sizeof(why), "unexpected '%.*s'", n, p->text + p->at);
    }
    return ac_expression_text_fail(p, p->at, why);
}

static bool starts_with(const ac_expression_text_t *p, const char *what)
{
    size_t len = strlen(what);
    return p->len - p->at >= len && memcmp(p->text + p->at, what, len) == 0;
}

bool ac_expression_text_accept(ac_expression_text_t *p, const char *const *all)
{
    for (; *all; all++) {
        if (starts_with(p, *all)) {
            p->at += strlen(*all);
            return true;
        }
    }
    return false;
}

void ac_expression_text_skip_space(ac_expression_text_t *p)
{
    static const char *const spaces[] = {" ", "\t", "\n", "\r", "\xc2\xa0", "\xe2\x80\xaf", "\xe2\x80\x89", NULL};
    while (ac_expression_text_accept(p, spaces)) {
    }
}

bool ac_expression_text_skip_currency(ac_expression_text_t *p)
{
    static const char *const signs[] = {"$", "\xe2\x82\xac", "\xc2\xa3", "\xc2\xa5", NULL};
    return ac_expression_text_accept(p, signs);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

char ac_expression_text_peek(const ac_expression_text_t *p, size_t ahead)
{
    return p->at + ahead < p->len ? p->text[p->at + ahead] : '\0';
}

size_t ac_expression_text_name_len(const ac_expression_text_t *p)
{
    size_t n = 0;
    if (starts_with(p, "\xcf\x80")) {
        return 2;
    }
    while (is_letter(ac_expression_text_peek(p, n)) ||
           (n && (is_digit(ac_expression_text_peek(p, n)) || ac_expression_text_peek(p, n) == '_'))) {
        n++;
    }
    return n;
}

bool ac_expression_text_is_word(const ac_expression_text_t *p, const char *word)
{
    size_t len = ac_expression_text_name_len(p);
    return len == strlen(word) && strncasecmp(p->text + p->at, word, len) == 0;
}

/* ---- numbers ---- */

typedef struct digits_t {
    char text[AC_WIDE_DIGITS];
    size_t len;
    int n_behind; /* digits after the point */
    bool any, full;
} digits_t;

static void take_digit(digits_t *d, char digit, bool behind)
{
    d->any = true;
    d->n_behind += behind;
    if (!d->len && digit == '0') {
        return;
    }
    if (d->len == sizeof(d->text)) {
        d->full = true;
        return;
    }
    d->text[d->len++] = digit;
}

static size_t run_of_digits(const ac_expression_text_t *p, size_t from)
{
    size_t n = 0;
    while (is_digit(ac_expression_text_peek(p, from + n))) {
        n++;
    }
    return n;
}

/* "1,234,567": one to three digits that do not begin with 0, then groups of three. */
static bool is_grouped(const ac_expression_text_t *p)
{
    size_t first = run_of_digits(p, 0);
    return p->n_calls == 0 && first >= 1 && first <= 3 && ac_expression_text_peek(p, 0) != '0' &&
        ac_expression_text_peek(p, first) == ',' && run_of_digits(p, first + 1) == 3;
}

static void read_whole_digits(ac_expression_text_t *p, digits_t *d)
{
    bool grouped = is_grouped(p);
    for (;;) {
        while (is_digit(ac_expression_text_peek(p, 0))) {
            take_digit(d, p->text[p->at++], false);
        }
        if (!grouped || ac_expression_text_peek(p, 0) != ',' || run_of_digits(p, 1) != 3) {
            return;
        }
        p->at++;
    }
}

/* Reads "e-3", but not the constant e: a digit must follow. */
static long read_exponent(ac_expression_text_t *p)
{
    bool negative = ac_expression_text_peek(p, 1) == '-';
    size_t n = negative || ac_expression_text_peek(p, 1) == '+' ? 2 : 1;
    long exponent = 0;
    if ((ac_expression_text_peek(p, 0) != 'e' && ac_expression_text_peek(p, 0) != 'E') ||
        !is_digit(ac_expression_text_peek(p, n))) {
        return 0;
    }
    for (p->at += n; is_digit(ac_expression_text_peek(p, 0)); p->at++) {
        exponent = exponent < 100000 ? exponent * 10 + (p->text[p->at] - '0') : exponent;
    }
    return negative ? -exponent : exponent;
}

apr_status_t ac_expression_text_number(ac_decimal_t *pnumber, ac_expression_text_t *p)
{
    digits_t d = {.len = 0};
    size_t start = p->at;
    read_whole_digits(p, &d);
    if (ac_expression_text_peek(p, 0) == '.') {
        p->at++;
        while (is_digit(ac_expression_text_peek(p, 0))) {
            take_digit(&d, p->text[p->at++], true);
        }
    }
    if (!d.any) {
        p->at = start;
        return ac_expression_text_unexpected(p);
    }
    if (d.full) {
        return ac_expression_text_fail(p, start, "a number with too many digits");
    }
    long exponent = read_exponent(p);
    const char *problem = ac_decimal_read(pnumber, d.text, d.len, exponent - d.n_behind);
    if (problem) {
        return ac_expression_text_fail(p, start, "a number that is too large or too small");
    }
    size_t end = p->at;
    ac_expression_text_skip_space(p);
    if (!ac_expression_text_skip_currency(p)) {
        p->at = end;
    }
    return APR_SUCCESS;
}
