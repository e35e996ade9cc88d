/* SPDX-License-Identifier: Apache-2.0 */
/* Decimal numbers as text, and conversions from and to libm's numbers. */
#include "decimal.h"
#include "wide.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define REAL_DIGITS 18 /* digits that a long double of 64 bits always has */

/* Writes the coefficient's digits. Returns their number. */
static int spell(char *digits, const ac_decimal_t *a)
{
    int len = 0;
    for (int i = a->n_limbs - 1; i >= 0; i--) {
        int width = i == a->n_limbs - 1 ? ac_wide_limb_digits(a->limb[i]) : AC_WIDE_LIMB_DIGITS;
        uint32_t rest = a->limb[i];
        for (int j = width - 1; j >= 0; j--) {
            digits[len + j] = (char)('0' + rest % 10);
            rest /= 10;
        }
        len += width;
    }
    digits[len] = '\0';
    return len;
}

long double ac_decimal_text_to_real(const ac_decimal_t *a)
{
    char text[AC_DECIMAL_TEXT];
    if (!a->n_limbs) {
        return 0;
    }
    int len = spell(text, a);
    /* Without a decimal point, whose character depends on the locale. */
    snprintf(text + len, sizeof(text) - (size_t)len, "e%d", a->exponent);
    long double real = strtold(text, NULL);
    return a->negative ? -real : real;
}

const char *ac_decimal_text_from_real(ac_decimal_t *presult, long double real)
{
    char text[64], digits[REAL_DIGITS + 1];
    if (isnan(real)) {
        return "the result is not a number";
    }
    if (isinf(real)) {
        return "the result is too large";
    }
    snprintf(text, sizeof(text), "%.*Le", REAL_DIGITS - 1, fabsl(real));
    size_t len = 0;
    const char *at = text;
    for (; *at && *at != 'e'; at++) {
        if (*at >= '0' && *at <= '9' && len < REAL_DIGITS) {
            digits[len++] = *at;
        }
    }
    long exponent = *at ? strtol(at + 1, NULL, 10) : 0;
    const char *problem = ac_decimal_read(presult, digits, len, exponent - (REAL_DIGITS - 1));
    presult->negative = presult->n_limbs && signbit(real);
    presult->care = AC_DECIMAL_APPROXIMATE;
    return problem;
}

static void write_plain(char *text, const char *digits, int len, int exponent)
{
    int n = 0;
    int whole = len + exponent; /* digits before the point */
    if (whole <= 0) {
        n = snprintf(text, AC_DECIMAL_TEXT - 1, "0.%.*s%s", -whole, "000000000", digits);
    } else if (exponent >= 0) {
        memcpy(text, digits, (size_t)len);
        memset(text + len, '0', (size_t)exponent);
        n = whole;
    } else {
        n = snprintf(text, AC_DECIMAL_TEXT - 1, "%.*s.%s", whole, digits, digits + whole);
    }
    text[n] = '\0';
}

void ac_decimal_text_write(char text[AC_DECIMAL_TEXT], const ac_decimal_t *a)
{
    char digits[AC_DECIMAL_TEXT];
    ac_decimal_t shown = ac_decimal_shown(a);
    if (!shown.n_limbs) {
        snprintf(text, AC_DECIMAL_TEXT, "0");
        return;
    }
    int len = spell(digits, &shown), size = ac_decimal_magnitude(&shown), sign = shown.negative ? 1 : 0;
    text[0] = '-';
    if (size >= -7 && size < ac_decimal_digits(shown.care)) {
        write_plain(text + sign, digits, len, shown.exponent);
    } else {
        snprintf(text + sign, AC_DECIMAL_TEXT - 1, "%c%s%.*se%c%02d", digits[0], len > 1 ? "." : "", AC_DECIMAL_DIGITS,
                 digits + 1, size < 0 ? '-' : '+', size < 0 ? -size : size);
    }
}
