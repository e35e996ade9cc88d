/* SPDX-License-Identifier: Apache-2.0 */
/* Decimal numbers for the calculator: exact up to 60 significant digits. A rounded number is marked as rounded. No
 * state; all functions for any thread. */
#ifndef AC_DECIMAL_H
#define AC_DECIMAL_H

#include "base/base.h"

#define AC_DECIMAL_DIGITS 60   /* of an exact number */
#define AC_DECIMAL_QUOTIENT 34 /* of an inexact division, as in IEEE 754 decimal128 */
#define AC_DECIMAL_RANGE 1000  /* numbers from 1e-1000 to 1e+1000 */
#define AC_DECIMAL_TEXT 96     /* bytes that are enough for any number's text */
#define AC_DECIMAL_LIMBS 7     /* 63 digits */

/* The precision of a number, which decides how many digits are shown: all, 16, 15. */
typedef enum ac_decimal_care_e { AC_DECIMAL_EXACT, AC_DECIMAL_ROUNDED, AC_DECIMAL_APPROXIMATE } ac_decimal_care_e;

/* coefficient × 10^exponent. The coefficient never ends in 0, so equal numbers have equal bytes. */
typedef struct ac_decimal_t {
    uint32_t limb[AC_DECIMAL_LIMBS]; /* base 10^9, the lowest first */
    int n_limbs;                     /* 0: the number is 0 */
    int exponent;
    bool negative;
    ac_decimal_care_e care;
} ac_decimal_t;

typedef enum ac_decimal_way_e {
    AC_DECIMAL_HALF_UP, /* to the nearest; 0.5 away from zero, as usual for money */
    AC_DECIMAL_FLOOR,
    AC_DECIMAL_CEIL,
    AC_DECIMAL_TRUNC
} ac_decimal_way_e;

/* Functions that can fail return NULL, or an error message: "division by zero", "the result is too large". The result
 * may be one of the operands. */
void ac_decimal_int(ac_decimal_t *presult, int64_t value);
/* len decimal digits × 10^exponent. */
const char *ac_decimal_read(ac_decimal_t *presult, const char *digits, size_t len, long exponent);
const char *ac_decimal_add(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *b);
const char *ac_decimal_sub(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *b);
const char *ac_decimal_mul(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *b);
/* Exact if the quotient has at most 60 digits, else rounded to 34 digits, half to even. */
const char *ac_decimal_div(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *b);
/* a − b × floor(a / b): it has the sign of b. */
const char *ac_decimal_mod(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *b);
/* Rounds to this number of decimal places; if negative, to a place before the point. A number that was already rounded
 * is used as it would be shown. */
const char *ac_decimal_round(ac_decimal_t *presult, const ac_decimal_t *a, int places, ac_decimal_way_e way);
const char *ac_decimal_sqrt(ac_decimal_t *presult, const ac_decimal_t *a);
/* The number of digits that are shown at this precision. */
int ac_decimal_digits(ac_decimal_care_e care);
/* a, rounded to its shown digits. */
ac_decimal_t ac_decimal_shown(const ac_decimal_t *a);
/* The power of ten of the first digit: 2 for 123, -1 for 0.5. */
int ac_decimal_magnitude(const ac_decimal_t *a);
int ac_decimal_compare(const ac_decimal_t *a, const ac_decimal_t *b);
bool ac_decimal_is_zero(const ac_decimal_t *a);
/* Whether a, as it is shown, is a whole number in the range. */
bool ac_decimal_to_int(int64_t *pvalue, const ac_decimal_t *a);
long double ac_decimal_text_to_real(const ac_decimal_t *a);
/* From a result of libm: 18 digits, approximate. */
const char *ac_decimal_text_from_real(ac_decimal_t *presult, long double real);
/* Writes "12.75", "-3", "1.5e-08": exponents as in C's %g. */
void ac_decimal_text_write(char text[AC_DECIMAL_TEXT], const ac_decimal_t *a);

#endif
