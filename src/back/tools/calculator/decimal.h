/* SPDX-License-Identifier: Apache-2.0 */
/* Decimal numbers for the calculator: exact to 60 significant digits, rounded where they must be and
 * knowing that they were. Pure; all functions for any thread. */
#ifndef AC_DECIMAL_H
#define AC_DECIMAL_H

#include "base/base.h"

#define AC_DECIMAL_DIGITS 60   /* of an exact number */
#define AC_DECIMAL_QUOTIENT 34 /* of a division that does not come out even, as IEEE 754 decimal128 has */
#define AC_DECIMAL_RANGE 1000  /* numbers from 1e-1000 to 1e+1000 */
#define AC_DECIMAL_TEXT 96     /* bytes that any number's text fits into */
#define AC_DECIMAL_LIMBS 7     /* 63 digits */

/* How far a number can be trusted, and so with how many digits it is shown: all, 16, 15. */
typedef enum ac_decimal_care_e { AC_DECIMAL_EXACT, AC_DECIMAL_ROUNDED, AC_DECIMAL_APPROXIMATE } ac_decimal_care_e;

/* coefficient × 10^exponent; the coefficient never ends in a 0, so that equal numbers are the same bytes. */
typedef struct ac_decimal_t {
    uint32_t limb[AC_DECIMAL_LIMBS]; /* base 10^9, the lowest first */
    int n_limbs;                     /* 0: the number is 0 */
    int exponent;
    bool negative;
    ac_decimal_care_e care;
} ac_decimal_t;

typedef enum ac_decimal_way_e {
    AC_DECIMAL_HALF_UP, /* to the nearest, 0.5 away from zero, as people round money */
    AC_DECIMAL_FLOOR,
    AC_DECIMAL_CEIL,
    AC_DECIMAL_TRUNC
} ac_decimal_way_e;

/* Those that can fail return NULL or what is wrong: "division by zero", "the result is too large". A result may be
 * one of the operands. */
void ac_decimal_int(ac_decimal_t *presult, int64_t value);
/* len decimal digits × 10^exponent. */
const char *ac_decimal_read(ac_decimal_t *presult, const char *digits, size_t len, long exponent);
const char *ac_decimal_add(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *b);
const char *ac_decimal_sub(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *b);
const char *ac_decimal_mul(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *b);
/* Exact where it comes out even within 60 digits, else 34 digits, half to even. */
const char *ac_decimal_div(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *b);
/* a − b × floor(a / b): has the sign of b. */
const char *ac_decimal_mod(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *b);
/* To so many places behind the point, or before it where negative. What was rounded before counts as it would be
 * shown. */
const char *ac_decimal_round(ac_decimal_t *presult, const ac_decimal_t *a, int places, ac_decimal_way_e way);
const char *ac_decimal_sqrt(ac_decimal_t *presult, const ac_decimal_t *a);
/* How many digits are shown of a number that can be trusted so far. */
int ac_decimal_digits(ac_decimal_care_e care);
/* a rounded to the digits that are shown of it. */
ac_decimal_t ac_decimal_shown(const ac_decimal_t *a);
/* The power of ten of the first digit: 2 for 123, -1 for 0.5. */
int ac_decimal_magnitude(const ac_decimal_t *a);
int ac_decimal_compare(const ac_decimal_t *a, const ac_decimal_t *b);
bool ac_decimal_is_zero(const ac_decimal_t *a);
/* Whether a, as it would be shown, is a whole number that fits. */
bool ac_decimal_to_int(int64_t *pvalue, const ac_decimal_t *a);
long double ac_decimal_text_to_real(const ac_decimal_t *a);
/* From what a function of libm gave: 18 digits, approximate. */
const char *ac_decimal_text_from_real(ac_decimal_t *presult, long double real);
/* "12.75", "-3", "1.5e-08": as C's %g writes exponents. */
void ac_decimal_text_write(char text[AC_DECIMAL_TEXT], const ac_decimal_t *a);

#endif
