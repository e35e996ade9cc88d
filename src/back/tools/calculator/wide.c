/* SPDX-License-Identifier: Apache-2.0 */
/* Whole numbers of a fixed size in base 10^9: the basis of the calculator's decimals. */
#include "wide.h"

#include <string.h>

#define BASE AC_WIDE_BASE

static const uint32_t powers[AC_WIDE_LIMB_DIGITS + 1] = {1,      10,      100,      1000,      10000,
                                                         100000, 1000000, 10000000, 100000000, BASE};

void ac_wide_trim(ac_wide_t *w)
{
    while (w->n_limbs > 0 && w->limb[w->n_limbs - 1] == 0) {
        w->n_limbs--;
    }
}

int ac_wide_limb_digits(uint32_t limb)
{
    int n_digits = 1;
    while (n_digits < AC_WIDE_LIMB_DIGITS && limb >= powers[n_digits]) {
        n_digits++;
    }
    return n_digits;
}

int ac_wide_digits(const uint32_t *limb, int n_limbs)
{
    return n_limbs ? (n_limbs - 1) * AC_WIDE_LIMB_DIGITS + ac_wide_limb_digits(limb[n_limbs - 1]) : 0;
}

void ac_wide_scale(ac_wide_t *w, uint32_t factor, uint32_t carry)
{
    for (int i = 0; i < w->n_limbs; i++) {
        uint64_t product = (uint64_t)w->limb[i] * factor + carry;
        w->limb[i] = (uint32_t)(product % BASE);
        carry = (uint32_t)(product / BASE);
    }
    if (carry) {
        w->limb[w->n_limbs++] = carry;
    }
}

uint32_t ac_wide_cut(ac_wide_t *w, uint32_t divisor)
{
    uint64_t rest = 0;
    for (int i = w->n_limbs - 1; i >= 0; i--) {
        uint64_t part = rest * BASE + w->limb[i];
        w->limb[i] = (uint32_t)(part / divisor);
        rest = part % divisor;
    }
    ac_wide_trim(w);
    return (uint32_t)rest;
}

void ac_wide_raise(ac_wide_t *w, int n_digits)
{
    int n_limbs = n_digits / AC_WIDE_LIMB_DIGITS;
    if (!w->n_limbs) {
        return;
    }
    if (n_limbs) {
        memmove(w->limb + n_limbs, w->limb, (size_t)w->n_limbs * sizeof(w->limb[0]));
        memset(w->limb, 0, (size_t)n_limbs * sizeof(w->limb[0]));
        w->n_limbs += n_limbs;
    }
    ac_wide_scale(w, powers[n_digits % AC_WIDE_LIMB_DIGITS], 0);
}

bool ac_wide_lower(ac_wide_t *w, int n_digits)
{
    bool lost = false;
    int n_limbs = n_digits / AC_WIDE_LIMB_DIGITS;
    if (n_limbs >= w->n_limbs) {
        lost = w->n_limbs > 0;
        memset(w, 0, sizeof(*w));
        return lost;
    }
    for (int i = 0; i < n_limbs; i++) {
        lost = lost || w->limb[i];
    }
    if (n_limbs) {
        memmove(w->limb, w->limb + n_limbs, (size_t)(w->n_limbs - n_limbs) * sizeof(w->limb[0]));
        memset(w->limb + w->n_limbs - n_limbs, 0, (size_t)n_limbs * sizeof(w->limb[0]));
        w->n_limbs -= n_limbs;
    }
    uint32_t rest = ac_wide_cut(w, powers[n_digits % AC_WIDE_LIMB_DIGITS]);
    return lost || rest;
}

int ac_wide_compare(const ac_wide_t *a, const ac_wide_t *b)
{
    if (a->n_limbs != b->n_limbs) {
        return a->n_limbs < b->n_limbs ? -1 : 1;
    }
    for (int i = a->n_limbs - 1; i >= 0; i--) {
        if (a->limb[i] != b->limb[i]) {
            return a->limb[i] < b->limb[i] ? -1 : 1;
        }
    }
    return 0;
}

void ac_wide_add(ac_wide_t *a, const ac_wide_t *b)
{
    uint32_t carry = 0;
    int n_limbs = a->n_limbs > b->n_limbs ? a->n_limbs : b->n_limbs;
    for (int i = 0; i < n_limbs; i++) {
        uint32_t sum = a->limb[i] + b->limb[i] + carry;
        carry = sum >= BASE;
        a->limb[i] = carry ? sum - BASE : sum;
    }
    a->n_limbs = n_limbs;
    if (carry) {
        a->limb[a->n_limbs++] = carry;
    }
}

void ac_wide_increment(ac_wide_t *w)
{
    static const ac_wide_t one = {.limb = {1}, .n_limbs = 1};
    ac_wide_add(w, &one);
}

void ac_wide_sub(ac_wide_t *a, const ac_wide_t *b)
{
    uint32_t borrow = 0;
    for (int i = 0; i < a->n_limbs; i++) {
        uint32_t take = b->limb[i] + borrow;
        borrow = a->limb[i] < take;
        a->limb[i] += (borrow ? BASE : 0) - take;
    }
    ac_wide_trim(a);
}

/* One limb of the quotient: subtracts divisor from rest as often as possible. source: Knuth, 4.3.1, algorithm D */
static uint32_t divide_step(uint32_t *rest, const ac_wide_t *divisor)
{
    int n = divisor->n_limbs;
    uint64_t top = (uint64_t)rest[n] * BASE + rest[n - 1];
    uint64_t guess = top / divisor->limb[n - 1], left = top % divisor->limb[n - 1];
    while (guess >= BASE || guess * divisor->limb[n - 2] > left * BASE + rest[n - 2]) {
        guess--;
        left += divisor->limb[n - 1];
        if (left >= BASE) {
            break;
        }
    }
    uint64_t carry = 0;
    int64_t borrow = 0;
    for (int i = 0; i <= n; i++) {
        uint64_t product = (i < n ? guess * divisor->limb[i] : 0) + carry;
        carry = product / BASE;
        int64_t difference = (int64_t)rest[i] - (int64_t)(product % BASE) - borrow;
        borrow = difference < 0;
        rest[i] = (uint32_t)(borrow ? difference + BASE : difference);
    }
    if (!borrow) {
        return (uint32_t)guess;
    }
    uint32_t up = 0;
    for (int i = 0; i <= n; i++) {
        uint32_t sum = rest[i] + (i < n ? divisor->limb[i] : 0) + up;
        up = sum >= BASE;
        rest[i] = up ? sum - BASE : sum;
    }
    return (uint32_t)guess - 1;
}

void ac_wide_divide(ac_wide_t *pquotient, ac_wide_t *a, const ac_wide_t *b)
{
    memset(pquotient, 0, sizeof(*pquotient));
    if (ac_wide_compare(a, b) < 0) {
        return;
    }
    if (b->n_limbs == 1) {
        *pquotient = *a;
        uint32_t rest = ac_wide_cut(pquotient, b->limb[0]);
        memset(a, 0, sizeof(*a));
        a->limb[0] = rest;
        a->n_limbs = rest ? 1 : 0;
        return;
    }
    ac_wide_t divisor = *b;
    uint32_t stretch = BASE / (divisor.limb[divisor.n_limbs - 1] + 1);
    ac_wide_scale(&divisor, stretch, 0);
    ac_wide_scale(a, stretch, 0);
    int n = divisor.n_limbs;
    for (int i = a->n_limbs - n; i >= 0; i--) {
        pquotient->limb[i] = divide_step(a->limb + i, &divisor);
    }
    pquotient->n_limbs = a->n_limbs - n + 1;
    ac_wide_trim(pquotient);
    ac_wide_trim(a);
    ac_wide_cut(a, stretch);
}

int ac_wide_round(ac_wide_t *w, int n_digits, bool lost)
{
    int surplus = ac_wide_digits(w->limb, w->n_limbs) - n_digits;
    if (surplus <= 0) {
        return 0;
    }
    lost = ac_wide_lower(w, surplus - 1) || lost;
    uint32_t next = ac_wide_cut(w, 10);
    if (next > 5 || (next == 5 && (lost || w->limb[0] % 2))) {
        ac_wide_increment(w);
    }
    return surplus;
}

int ac_wide_strip(ac_wide_t *w)
{
    int n_limbs = 0;
    while (n_limbs < w->n_limbs && w->limb[n_limbs] == 0) {
        n_limbs++;
    }
    if (n_limbs == w->n_limbs) {
        return 0;
    }
    int n_zeros = 0;
    while (w->limb[n_limbs] % powers[n_zeros + 1] == 0) {
        n_zeros++;
    }
    n_zeros += n_limbs * AC_WIDE_LIMB_DIGITS;
    ac_wide_lower(w, n_zeros);
    return n_zeros;
}
