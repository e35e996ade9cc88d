/* SPDX-License-Identifier: Apache-2.0 */
/* The calculator's functions and constants by name, powers and factorials. No state. */
#ifndef AC_MATH_FUNCTIONS_H
#define AC_MATH_FUNCTIONS_H

#include "decimal.h"

/* The number of operations on decimals that an expression may still cost. Operations whose cost depends on a number
 * spend it. */
typedef struct ac_math_budget_t {
    int left;
} ac_math_budget_t;

/* Spends n. Returns NULL, or an error message if the budget is used up. */
const char *ac_math_functions_spend(ac_math_budget_t *budget, int n);

typedef struct ac_math_function_t {
    const char *name;
    int min_args, max_args; /* max_args 0: any number */
    /* For any number of arguments: combines two of them, one after the other. */
    const char *(*fold)(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *b);
    /* args: n_args of them; after fold, its result only. */
    const char *(*fn)(ac_decimal_t *presult, const ac_decimal_t *args, int n_args, ac_math_budget_t *budget);
} ac_math_function_t;

/* Finds a function by its name, in upper or lower case; NULL if it does not exist. */
const ac_math_function_t *ac_math_functions_find(const char *name, size_t len);
/* pi, e, tau. */
bool ac_math_functions_constant(ac_decimal_t *presult, const char *name, size_t len);
/* Exact for whole exponents while 60 digits are enough, and for exponents that end in .5 if the root is exact. */
const char *ac_math_functions_power(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *b,
                                    ac_math_budget_t *budget);
const char *ac_math_functions_factorial(ac_decimal_t *presult, const ac_decimal_t *a, ac_math_budget_t *budget);

#endif
