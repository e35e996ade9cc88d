/* SPDX-License-Identifier: Apache-2.0 */
/* Decimal arithmetic with a bounded number of digits, so that 0.1 + 0.2 is 0.3. */
#include "decimal.h"
#include "wide.h"

#include <math.h>
#include <string.h>

static const char too_large[] = "the result is too large";
static const char too_small[] = "the result is too small";

static void decimal_load(ac_wide_t *w, const ac_decimal_t *a)
{
    memset(w, 0, sizeof(*w));
    memcpy(w->limb, a->limb, (size_t)a->n_limbs * sizeof(a->limb[0]));
    w->n_limbs = a->n_limbs;
}

static int digits_of(const ac_decimal_t *a)
{
    return ac_wide_digits(a->limb, a->n_limbs);
}

int ac_decimal_magnitude(const ac_decimal_t *a)
{
    return digits_of(a) + a->exponent - 1;
}

static ac_decimal_care_e worse(ac_decimal_care_e a, ac_decimal_care_e b)
{
    return a > b ? a : b;
}

/* The result of an operation before it is normalized. */
typedef struct outcome_t {
    ac_wide_t w;
    int exponent;
    bool negative, lost; /* lost: digits other than 0 were cut off */
    ac_decimal_care_e care;
} outcome_t;

static const char *decimal_settle(ac_decimal_t *presult, outcome_t *o, int n_digits)
{
    o->exponent += ac_wide_strip(&o->w);
    int gone = ac_wide_round(&o->w, n_digits, o->lost);
    bool rounded = gone > 0 || o->lost;
    o->exponent += gone;
    o->exponent += ac_wide_strip(&o->w);
    memset(presult, 0, sizeof(*presult));
    presult->care = worse(o->care, rounded ? AC_DECIMAL_ROUNDED : AC_DECIMAL_EXACT);
    if (!o->w.n_limbs) {
        return NULL;
    }
    memcpy(presult->limb, o->w.limb, sizeof(presult->limb));
    presult->n_limbs = o->w.n_limbs;
    presult->exponent = o->exponent;
    presult->negative = o->negative;
    int size = ac_decimal_magnitude(presult);
    return size > AC_DECIMAL_RANGE ? too_large : size < -AC_DECIMAL_RANGE ? too_small : NULL;
}

void ac_decimal_int(ac_decimal_t *presult, int64_t value)
{
    outcome_t o = {.negative = value < 0};
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    for (; rest; rest /= AC_WIDE_BASE) {
        o.w.limb[o.w.n_limbs++] = (uint32_t)(rest % AC_WIDE_BASE);
    }
    decimal_settle(presult, &o, AC_DECIMAL_DIGITS);
}

const char *ac_decimal_read(ac_decimal_t *presult, const char *digits, size_t len, long exponent)
{
    outcome_t o = {.care = AC_DECIMAL_EXACT};
    while (len && *digits == '0') {
        digits++;
        len--;
    }
    if (len > AC_WIDE_DIGITS) {
        return "a number has too many digits";
    }
    for (size_t i = 0; i < len; i++) {
        ac_wide_scale(&o.w, 10, (uint32_t)(digits[i] - '0'));
    }
    long limit = 100L * AC_DECIMAL_RANGE;
    o.exponent = (int)(exponent > limit ? limit : exponent < -limit ? -limit : exponent);
    return decimal_settle(presult, &o, AC_DECIMAL_DIGITS);
}

bool ac_decimal_is_zero(const ac_decimal_t *a)
{
    return a->n_limbs == 0;
}

/* A difference of rounded numbers counts as 0 if it is no larger than their rounding: (1/3) * 3 - 1 is 0. */
static void drop_noise(ac_decimal_t *result, int largest)
{
    int trusted = result->care == AC_DECIMAL_ROUNDED ? 30 : 15;
    if (result->care != AC_DECIMAL_EXACT && result->n_limbs && ac_decimal_magnitude(result) < largest - trusted) {
        ac_decimal_care_e care = result->care;
        memset(result, 0, sizeof(*result));
        result->care = care;
    }
}

const char *ac_decimal_add(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *b)
{
    ac_decimal_care_e care = worse(a->care, b->care);
    if (!a->n_limbs || !b->n_limbs) {
        *presult = a->n_limbs ? *a : *b;
        presult->care = care;
        return NULL;
    }
    if (ac_decimal_magnitude(a) < ac_decimal_magnitude(b)) {
        const ac_decimal_t *other = a;
        a = b;
        b = other;
    }
    int lowest = a->exponent < b->exponent ? a->exponent : b->exponent, largest = ac_decimal_magnitude(a);
    if (largest - lowest + 2 > AC_WIDE_DIGITS) { /* b is far below the last kept digit */
        *presult = *a;
        presult->care = worse(care, AC_DECIMAL_ROUNDED);
        return NULL;
    }
    outcome_t o = {.exponent = lowest, .negative = a->negative, .care = care};
    ac_wide_t other;
    decimal_load(&o.w, a);
    decimal_load(&other, b);
    ac_wide_raise(&o.w, a->exponent - lowest);
    ac_wide_raise(&other, b->exponent - lowest);
    if (a->negative == b->negative) {
        ac_wide_add(&o.w, &other);
    } else if (ac_wide_compare(&o.w, &other) >= 0) {
        ac_wide_sub(&o.w, &other);
    } else {
        ac_wide_sub(&other, &o.w);
        o.w = other;
        o.negative = b->negative;
    }
    const char *problem = decimal_settle(presult, &o, AC_DECIMAL_DIGITS);
    drop_noise(presult, largest);
    return problem;
}

const char *ac_decimal_sub(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *b)
{
    ac_decimal_t negated = *b;
    negated.negative = b->n_limbs && !b->negative;
    return ac_decimal_add(presult, a, &negated);
}

const char *ac_decimal_mul(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *b)
{
    outcome_t o = {.exponent = a->exponent + b->exponent,
                   .negative = a->negative != b->negative,
                   .care = worse(a->care, b->care)};
    for (int i = 0; i < a->n_limbs; i++) {
        uint64_t carry = 0;
        for (int j = 0; j < b->n_limbs; j++) {
            uint64_t sum = (uint64_t)a->limb[i] * b->limb[j] + o.w.limb[i + j] + carry;
            o.w.limb[i + j] = (uint32_t)(sum % AC_WIDE_BASE);
            carry = sum / AC_WIDE_BASE;
        }
        o.w.limb[i + b->n_limbs] = (uint32_t)carry;
    }
    o.w.n_limbs = a->n_limbs + b->n_limbs;
    ac_wide_trim(&o.w);
    return decimal_settle(presult, &o, AC_DECIMAL_DIGITS);
}

const char *ac_decimal_div(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *b)
{
    if (!b->n_limbs) {
        return "division by zero";
    }
    outcome_t o = {.negative = a->negative != b->negative, .care = worse(a->care, b->care)};
    ac_wide_t rest, divisor;
    decimal_load(&rest, a);
    decimal_load(&divisor, b);
    int shift = AC_DECIMAL_DIGITS + 1 + digits_of(b) - digits_of(a);
    shift = shift > 0 ? shift : 0;
    ac_wide_raise(&rest, shift);
    o.exponent = a->exponent - b->exponent - shift;
    ac_wide_divide(&o.w, &rest, &divisor);
    o.lost = rest.n_limbs > 0;
    o.exponent += ac_wide_strip(&o.w);
    bool exact = !o.lost && ac_wide_digits(o.w.limb, o.w.n_limbs) <= AC_DECIMAL_DIGITS;
    return decimal_settle(presult, &o, exact ? AC_DECIMAL_DIGITS : AC_DECIMAL_QUOTIENT);
}

int ac_decimal_digits(ac_decimal_care_e care)
{
    static const int digits[] = {AC_DECIMAL_DIGITS, 16, 15};
    return digits[care];
}

ac_decimal_t ac_decimal_shown(const ac_decimal_t *a)
{
    ac_decimal_t shown = *a;
    if (a->care != AC_DECIMAL_EXACT) {
        outcome_t o = {.exponent = a->exponent, .negative = a->negative, .care = a->care};
        decimal_load(&o.w, a);
        decimal_settle(&shown, &o, ac_decimal_digits(a->care));
    }
    return shown;
}

const char *ac_decimal_mod(ac_decimal_t *presult, const ac_decimal_t *a, const ac_decimal_t *b)
{
    ac_decimal_t left = ac_decimal_shown(a), right = ac_decimal_shown(b);
    if (!right.n_limbs) {
        return "division by zero";
    }
    int lowest = left.exponent < right.exponent ? left.exponent : right.exponent;
    if (!left.n_limbs) {
        *presult = left;
        return NULL;
    }
    int highest = ac_decimal_magnitude(&left), other = ac_decimal_magnitude(&right);
    highest = highest > other ? highest : other;
    if (highest - lowest + 2 > AC_WIDE_DIGITS) {
        return "the numbers are too far apart for a remainder";
    }
    outcome_t o = {.exponent = lowest, .negative = right.negative, .care = worse(left.care, right.care)};
    ac_wide_t divisor, quotient;
    decimal_load(&o.w, &left);
    decimal_load(&divisor, &right);
    ac_wide_raise(&o.w, left.exponent - lowest);
    ac_wide_raise(&divisor, right.exponent - lowest);
    ac_wide_divide(&quotient, &o.w, &divisor);
    if (o.w.n_limbs && left.negative != right.negative) {
        ac_wide_sub(&divisor, &o.w);
        o.w = divisor;
    }
    return decimal_settle(presult, &o, AC_DECIMAL_DIGITS);
}

/* Whether rounding moves the last digit away from zero. `half`: −1, 0, 1: the cut-off part is less than, equal to, or
 * more than half a unit. */
static bool goes_up(ac_decimal_way_e way, bool negative, int half)
{
    switch (way) {
    case AC_DECIMAL_FLOOR: return negative;
    case AC_DECIMAL_CEIL: return !negative;
    case AC_DECIMAL_TRUNC: return false;
    case AC_DECIMAL_HALF_UP: break;
    }
    return half >= 0;
}

const char *ac_decimal_round(ac_decimal_t *presult, const ac_decimal_t *a, int places, ac_decimal_way_e way)
{
    ac_decimal_t shown = ac_decimal_shown(a);
    if (!shown.n_limbs || -shown.exponent <= places) {
        *presult = shown;
        return NULL;
    }
    outcome_t o = {.exponent = -places, .negative = shown.negative, .care = shown.care};
    int surplus = -shown.exponent - places;
    decimal_load(&o.w, &shown);
    int half = -1;
    if (surplus <= AC_WIDE_DIGITS) {
        bool lost = ac_wide_lower(&o.w, surplus - 1);
        uint32_t next = ac_wide_cut(&o.w, 10);
        half = next > 5 || (next == 5 && lost) ? 1 : next == 5 ? 0 : -1;
    } else {
        memset(&o.w, 0, sizeof(o.w));
    }
    if (goes_up(way, shown.negative, half)) { /* digits were cut off: no coefficient ends in 0 */
        ac_wide_increment(&o.w);
    }
    return decimal_settle(presult, &o, AC_DECIMAL_DIGITS);
}

const char *ac_decimal_sqrt(ac_decimal_t *presult, const ac_decimal_t *a)
{
    if (a->negative) {
        return "a negative number has no square root";
    }
    if (!a->n_limbs) {
        *presult = *a;
        return NULL;
    }
    /* The root from libm, then one step of Newton's method, which doubles the number of correct digits. */
    ac_decimal_t root, other, half, square, value = *a;
    value.exponent = a->exponent % 2;
    int shift = (a->exponent - value.exponent) / 2;
    const char *problem = ac_decimal_text_from_real(&root, sqrtl(ac_decimal_text_to_real(&value)));
    ac_decimal_read(&half, "5", 1, -1);
    root.care = a->care;
    problem = problem ? problem : ac_decimal_div(&other, &value, &root);
    problem = problem ? problem : ac_decimal_add(&root, &root, &other);
    problem = problem ? problem : ac_decimal_mul(&root, &root, &half);
    if (problem) {
        return problem;
    }
    outcome_t o = {.exponent = root.exponent + shift};
    decimal_load(&o.w, &root);
    problem = decimal_settle(&root, &o, AC_DECIMAL_QUOTIENT);
    if (problem) {
        return problem;
    }
    /* The step leaves further digits: only the square of the root shows whether the root is exact. */
    root.care = AC_DECIMAL_EXACT;
    problem = ac_decimal_mul(&square, &root, &root);
    bool even = !problem && square.care == AC_DECIMAL_EXACT && ac_decimal_compare(&square, a) == 0;
    root.care = worse(a->care, even ? AC_DECIMAL_EXACT : AC_DECIMAL_ROUNDED);
    *presult = root;
    return NULL;
}

int ac_decimal_compare(const ac_decimal_t *a, const ac_decimal_t *b)
{
    ac_decimal_t difference;
    if (ac_decimal_sub(&difference, a, b) || !difference.n_limbs) {
        return 0;
    }
    return difference.negative ? -1 : 1;
}

bool ac_decimal_to_int(int64_t *pvalue, const ac_decimal_t *a)
{
    ac_decimal_t shown = ac_decimal_shown(a);
    if (shown.n_limbs && (shown.exponent < 0 || ac_decimal_magnitude(&shown) > 17)) {
        return false;
    }
    ac_wide_t w;
    decimal_load(&w, &shown);
    ac_wide_raise(&w, shown.exponent);
    int64_t value = 0;
    for (int i = w.n_limbs - 1; i >= 0; i--) {
        value = value * AC_WIDE_BASE + w.limb[i];
    }
    *pvalue = shown.negative ? -value : value;
    return true;
}
