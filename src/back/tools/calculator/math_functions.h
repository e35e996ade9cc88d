/* SPDX-License-Identifier: Apache-2.0 */
/* The calculator's functions and constants by name, powers and factorials. Pure. */
#ifndef AC_MATH_FUNCTIONS_H
#define AC_MATH_FUNCTIONS_H

#include "decimal.h"

/* How many operations on decimals an expression may still cost; everything takes from it whose cost depends on a
 * number. */
typedef struct ac_math_budget_t {
    int left;
} ac_math_budget_t;

/* Takes n from the budget. Returns NULL, or an error message if the budget is used up. */
const char *ac_math_functions_spend(ac_math_budget_t *budget, int n);

typedef struct ac_math_function_t {
    const char *name;
    int min_args, max_args; /* max_args 0: any number */
    /* With any number of arguments: what two of them make, one after the other. */
    const char *(*fold)(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *b);
    /* args: n_args of them, but only what fold made of them where there is one. */
    const char *(*fn)(ac_decimal_t *presult, const ac_decimal_t *args, int n_args, ac_math_budget_t *budget);
} ac_math_function_t;

/* Finds a function by its name, in either case; NULL if it does not exist. */
const ac_math_function_t *ac_math_functions_find(const char *name, size_t len);
/* pi, e, tau. */
bool ac_math_functions_constant(ac_decimal_t *presult, const char *name, size_t len);
/* Exact for whole exponents while 60 digits hold it, and for those that end in .5 where the root is even. */
const char *ac_math_functions_power(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *b,
                                    ac_math_budget_t *budget);
const char *ac_math_functions_factorial(ac_decimal_t *presult, const ac_decimal_t *a, ac_math_budget_t *budget);

#endif
