/* SPDX-License-Identifier: Apache-2.0 */
/* The calculator's functions: decimal ones exactly, transcendental ones with libm's long double. */
#include "math_functions.h"

#include <float.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#define MAX_FACTORIAL 400 /* 401! is still in range, but not needed */
#define MAX_PLACES 60     /* of round() */
#define MAX_ANGLE 15      /* power of ten: a larger long double has no digits left for the angle */

#define FN(name) \
    static const char *name(ac_decimal_t *presult, const ac_decimal_t *args, int n_args, ac_math_budget_t *budget)
#define UNUSED (void)n_args, (void)budget

const char *ac_math_functions_spend(ac_math_budget_t *budget, int n)
{
    budget->left -= n;
    return budget->left < 0 ? "the expression takes too many steps" : NULL;
}

/* ---- powers and factorials ---- */

static bool is_exactly(const ac_decimal_t *a, int value)
{
    ac_decimal_t other;
    ac_decimal_int(&other, value);
    return ac_decimal_compare(a, &other) == 0;
}

/* a^n by squaring; an overflow on the way would also occur at the end. */
static const char *whole_power(ac_decimal_t *presult, const ac_decimal_t *a, int64_t n, ac_math_budget_t *budget)
{
    ac_decimal_t square = *a, power;
    const char *problem = NULL;
    uint64_t rest = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    ac_decimal_int(&power, 1);
    power.care = a->care;
    while (rest && !problem) {
        problem = ac_math_functions_spend(budget, 2);
        if (!problem && rest % 2) {
            problem = ac_decimal_mul(&power, &power, &square);
        }
        rest /= 2;
        if (!problem && rest) {
            problem = ac_decimal_mul(&square, &square, &square);
        }
    }
    if (!problem && n < 0) {
        ac_decimal_t one;
        ac_decimal_int(&one, 1);
        return ac_decimal_div(presult, &one, &power);
    }
    *presult = power;
    return problem;
}

/* a^fraction for 0 < fraction < 1 and a > 0 */
static const char *root_power(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *fraction)
{
    ac_decimal_t half;
    ac_decimal_read(&half, "5", 1, -1);
    if (fraction->care == AC_DECIMAL_EXACT && ac_decimal_compare(fraction, &half) == 0) {
        return ac_decimal_sqrt(presult, a);
    }
    return ac_decimal_text_from_real(presult, powl(ac_decimal_text_to_real(a), ac_decimal_text_to_real(fraction)));
}

const char *ac_math_functions_power(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *b,
                                    ac_math_budget_t *budget)
{
    int64_t n = 0;
    if (ac_decimal_is_zero(a) && b->negative) {
        return "division by zero";
    }
    if (ac_decimal_to_int(&n, b)) {
        return whole_power(presult, a, n, budget);
    }
    ac_decimal_t whole, fraction, power, root;
    const char *problem = ac_decimal_round(&whole, b, 0, AC_DECIMAL_FLOOR);
    problem = problem ? problem : ac_decimal_sub(&fraction, b, &whole);
    if (problem) {
        return problem;
    }
    if (is_exactly(a, 1) || ac_decimal_is_zero(a)) {
        *presult = *a;
        return NULL;
    }
    if (!ac_decimal_to_int(&n, &whole)) {
        return "the exponent is too large";
    }
    if (a->negative) {
        return "a negative number has no power that is not whole";
    }
    /* The whole part is computed exactly: libm's error would grow with the exponent. */
    problem = ac_math_functions_spend(budget, 4);
    problem = problem ? problem : whole_power(&power, a, n, budget);
    problem = problem ? problem : root_power(&root, a, &fraction);
    return problem ? problem : ac_decimal_mul(presult, &power, &root);
}

const char *ac_math_functions_factorial(ac_decimal_t *presult, const ac_decimal_t *a, ac_math_budget_t *budget)
{
    int64_t n;
    if (!ac_decimal_to_int(&n, a) || n < 0) {
        return a->negative || ac_decimal_magnitude(a) < 17 ? "only whole numbers from 0 have a factorial"
                                                           : "the factorial is too large";
    }
    if (n > MAX_FACTORIAL) {
        return "the factorial is too large";
    }
    const char *problem = ac_math_functions_spend(budget, (int)n);
    ac_decimal_t product, factor;
    ac_decimal_int(&product, 1);
    for (int64_t i = 2; i <= n && !problem; i++) {
        ac_decimal_int(&factor, i);
        problem = ac_decimal_mul(&product, &product, &factor);
    }
    product.care = product.care > a->care ? product.care : a->care;
    *presult = product;
    return problem;
}

/* ---- exact functions ---- */

FN(fn_sqrt)
{
    UNUSED;
    return ac_decimal_sqrt(presult, args);
}

FN(fn_cbrt)
{
    UNUSED;
    ac_decimal_t root, cube;
    const char *problem = ac_decimal_text_from_real(&root, cbrtl(ac_decimal_text_to_real(args)));
    if (problem || args->care != AC_DECIMAL_EXACT) {
        *presult = root;
        return problem;
    }
    root.care = AC_DECIMAL_EXACT;
    problem = ac_decimal_mul(&cube, &root, &root);
    problem = problem ? problem : ac_decimal_mul(&cube, &cube, &root);
    bool even = !problem && cube.care == AC_DECIMAL_EXACT && ac_decimal_compare(&cube, args) == 0;
    root.care = even ? AC_DECIMAL_EXACT : AC_DECIMAL_APPROXIMATE;
    *presult = root;
    return NULL;
}

FN(fn_abs)
{
    UNUSED;
    *presult = *args;
    presult->negative = false;
    return NULL;
}

FN(fn_round)
{
    int64_t places = 0;
    (void)budget;
    if (n_args == 2 && (!ac_decimal_to_int(&places, &args[1]) || places > MAX_PLACES || places < -MAX_PLACES)) {
        return "the number of places must be whole, -60 to 60";
    }
    return ac_decimal_round(presult, args, (int)places, AC_DECIMAL_HALF_UP);
}

FN(fn_floor)
{
    UNUSED;
    return ac_decimal_round(presult, args, 0, AC_DECIMAL_FLOOR);
}

FN(fn_ceil)
{
    UNUSED;
    return ac_decimal_round(presult, args, 0, AC_DECIMAL_CEIL);
}

FN(fn_trunc)
{
    UNUSED;
    return ac_decimal_round(presult, args, 0, AC_DECIMAL_TRUNC);
}

static const char *smaller(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *b)
{
    *presult = ac_decimal_compare(b, a) < 0 ? *b : *a;
    return NULL;
}

static const char *larger(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *b)
{
    *presult = ac_decimal_compare(b, a) > 0 ? *b : *a;
    return NULL;
}

FN(fn_first)
{
    UNUSED;
    *presult = *args;
    return NULL;
}

FN(fn_average)
{
    (void)budget;
    ac_decimal_t n;
    ac_decimal_int(&n, n_args);
    return ac_decimal_div(presult, args, &n);
}

FN(fn_pow)
{
    (void)n_args;
    return ac_math_functions_power(presult, &args[0], &args[1], budget);
}

FN(fn_mod)
{
    UNUSED;
    return ac_decimal_mod(presult, &args[0], &args[1]);
}

/* ---- functions of libm ---- */

FN(fn_exp)
{
    UNUSED;
    if (ac_decimal_is_zero(args)) {
        ac_decimal_int(presult, 1);
        return NULL;
    }
    return ac_decimal_text_from_real(presult, expl(ac_decimal_text_to_real(args)));
}

static const char *logarithm(ac_decimal_t *presult, const ac_decimal_t *a, long double (*fn)(long double))
{
    if (ac_decimal_is_zero(a) || a->negative) {
        return "only numbers above 0 have a logarithm";
    }
    return ac_decimal_text_from_real(presult, fn(ac_decimal_text_to_real(a)));
}

FN(fn_ln)
{
    UNUSED;
    return logarithm(presult, args, logl);
}

FN(fn_log2)
{
    UNUSED;
    return logarithm(presult, args, log2l);
}

FN(fn_log10)
{
    UNUSED;
    return logarithm(presult, args, log10l);
}

FN(fn_log)
{
    ac_decimal_t numerator, denominator;
    if (n_args == 1 || is_exactly(&args[1], 10)) {
        return fn_log10(presult, args, n_args, budget);
    }
    if (is_exactly(&args[1], 2)) {
        return fn_log2(presult, args, n_args, budget);
    }
    if (ac_decimal_is_zero(&args[1]) || args[1].negative || is_exactly(&args[1], 1)) {
        return "the base of a logarithm must be above 0 and other than 1";
    }
    const char *problem = logarithm(&numerator, &args[0], logl);
    problem = problem ? problem : logarithm(&denominator, &args[1], logl);
    return problem ? problem : ac_decimal_div(presult, &numerator, &denominator);
}

/* A sine that is not larger than the rounding of its angle is 0: sin(pi). This holds also where long double has the
 * size of double. */
static long double clean(long double value, long double angle)
{
    return fabsl(value) < fabsl(angle) * DBL_EPSILON * 2 ? 0 : value;
}

static const char *read_angle(long double *pangle, const ac_decimal_t *a)
{
    *pangle = ac_decimal_text_to_real(a);
    return !ac_decimal_is_zero(a) && ac_decimal_magnitude(a) > MAX_ANGLE ? "the angle is too large" : NULL;
}

FN(fn_sin)
{
    UNUSED;
    long double angle;
    const char *problem = read_angle(&angle, args);
    return problem ? problem : ac_decimal_text_from_real(presult, clean(sinl(angle), angle));
}

FN(fn_cos)
{
    UNUSED;
    long double angle;
    const char *problem = read_angle(&angle, args);
    return problem ? problem : ac_decimal_text_from_real(presult, clean(cosl(angle), angle));
}

FN(fn_tan)
{
    UNUSED;
    long double angle;
    const char *problem = read_angle(&angle, args);
    if (!problem && clean(cosl(angle), angle) == 0) {
        problem = "the tangent of a right angle is not defined";
    }
    return problem ? problem : ac_decimal_text_from_real(presult, clean(tanl(angle), angle));
}

static const char *arc(ac_decimal_t *presult, const ac_decimal_t *a, long double (*fn)(long double))
{
    ac_decimal_t size = *a, one;
    ac_decimal_int(&one, 1);
    size.negative = false;
    if (ac_decimal_compare(&size, &one) > 0) {
        return "the argument must be from -1 to 1";
    }
    return ac_decimal_text_from_real(presult, fn(ac_decimal_text_to_real(a)));
}

FN(fn_asin)
{
    UNUSED;
    return arc(presult, args, asinl);
}

FN(fn_acos)
{
    UNUSED;
    return arc(presult, args, acosl);
}

FN(fn_atan)
{
    UNUSED;
    return ac_decimal_text_from_real(presult, atanl(ac_decimal_text_to_real(args)));
}

FN(fn_degrees)
{
    UNUSED;
    ac_decimal_t pi, half_turn, product;
    ac_math_functions_constant(&pi, "pi", 2);
    ac_decimal_int(&half_turn, 180);
    const char *problem = ac_decimal_mul(&product, args, &half_turn);
    return problem ? problem : ac_decimal_div(presult, &product, &pi);
}

FN(fn_radians)
{
    UNUSED;
    ac_decimal_t pi, half_turn, product;
    ac_math_functions_constant(&pi, "pi", 2);
    ac_decimal_int(&half_turn, 180);
    const char *problem = ac_decimal_mul(&product, args, &pi);
    return problem ? problem : ac_decimal_div(presult, &product, &half_turn);
}

/* ---- names ---- */

static const ac_math_function_t functions[] = {
    {"sqrt", 1, 1, NULL, fn_sqrt},
    {"cbrt", 1, 1, NULL, fn_cbrt},
    {"abs", 1, 1, NULL, fn_abs},
    {"round", 1, 2, NULL, fn_round},
    {"floor", 1, 1, NULL, fn_floor},
    {"ceil", 1, 1, NULL, fn_ceil},
    {"trunc", 1, 1, NULL, fn_trunc},
    {"min", 1, 0, smaller, fn_first},
    {"max", 1, 0, larger, fn_first},
    {"sum", 1, 0, ac_decimal_add, fn_first},
    {"avg", 1, 0, ac_decimal_add, fn_average},
    {"pow", 2, 2, NULL, fn_pow},
    {"mod", 2, 2, NULL, fn_mod},
    {"exp", 1, 1, NULL, fn_exp},
    {"ln", 1, 1, NULL, fn_ln},
    {"log", 1, 2, NULL, fn_log},
    {"log10", 1, 1, NULL, fn_log10},
    {"log2", 1, 1, NULL, fn_log2},
    {"sin", 1, 1, NULL, fn_sin},
    {"cos", 1, 1, NULL, fn_cos},
    {"tan", 1, 1, NULL, fn_tan},
    {"asin", 1, 1, NULL, fn_asin},
    {"acos", 1, 1, NULL, fn_acos},
    {"atan", 1, 1, NULL, fn_atan},
    {"deg", 1, 1, NULL, fn_degrees},
    {"rad", 1, 1, NULL, fn_radians},
};

static bool same_name(const char *name, const char *text, size_t len)
{
    return strlen(name) == len && strncasecmp(name, text, len) == 0;
}

const ac_math_function_t *ac_math_functions_find(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        if (same_name(functions[i].name, name, len)) {
            return &functions[i];
        }
    }
    return NULL;
}

bool ac_math_functions_constant(ac_decimal_t *presult, const char *name, size_t len)
{
    static const struct {
        const char *name, *digits;
    } constants[] = {
        {"pi", "3141592653589793238462643383279503"},
        {"\xcf\x80", "3141592653589793238462643383279503"},
        {"e", "2718281828459045235360287471352662"},
        {"tau", "6283185307179586476925286766559006"},
    };
    for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++) {
        if (same_name(constants[i].name, name, len)) {
            ac_decimal_read(presult, constants[i].digits, strlen(constants[i].digits), -33);
            presult->care = AC_DECIMAL_ROUNDED;
            return true;
        }
    }
    return false;
}
