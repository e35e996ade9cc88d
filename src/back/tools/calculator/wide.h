/* SPDX-License-Identifier: Apache-2.0 */
/* Whole numbers of up to 144 digits, the basis of the calculator's decimals. No state. */
#ifndef AC_WIDE_H
#define AC_WIDE_H

#include "base/base.h"

#define AC_WIDE_BASE 1000000000u
#define AC_WIDE_LIMB_DIGITS 9
#define AC_WIDE_DIGITS 144
#define AC_WIDE_LIMBS 18 /* for those digits, and two carries of a division */

typedef struct ac_wide_t {
    uint32_t limb[AC_WIDE_LIMBS]; /* the lowest first; limbs above n_limbs are 0 */
    int n_limbs;                  /* 0: the number is 0 */
} ac_wide_t;

/* Decimal digits of one limb: 1 for 0. */
int ac_wide_limb_digits(uint32_t limb);
int ac_wide_digits(const uint32_t *limb, int n_limbs);
void ac_wide_trim(ac_wide_t *w);
void ac_wide_scale(ac_wide_t *w, uint32_t factor, uint32_t carry); /* w × factor + carry */
uint32_t ac_wide_cut(ac_wide_t *w, uint32_t divisor);              /* w / divisor; returns the remainder */
/* w × 10^n_digits; the caller has checked that it fits. */
void ac_wide_raise(ac_wide_t *w, int n_digits);
/* w / 10^n_digits. Returns whether the part that was cut off is not 0. */
bool ac_wide_lower(ac_wide_t *w, int n_digits);
int ac_wide_compare(const ac_wide_t *a, const ac_wide_t *b);
void ac_wide_add(ac_wide_t *a, const ac_wide_t *b);
void ac_wide_increment(ac_wide_t *w);
void ac_wide_sub(ac_wide_t *a, const ac_wide_t *b); /* a − b for a ≥ b */
/* a becomes the remainder of a / b; b > 0. */
void ac_wide_divide(ac_wide_t *pquotient, ac_wide_t *a, const ac_wide_t *b);
/* Rounds w to n_digits, half to even; `lost`: w had further digits after its last one. Returns the number of removed
 * digits. */
int ac_wide_round(ac_wide_t *w, int n_digits, bool lost);
/* Removes zeros at the end. Returns their number. */
int ac_wide_strip(ac_wide_t *w);

#endif
