/* SPDX-License-Identifier: Apache-2.0 */
/* Declarations that only the files of this folder share. */
#ifndef AC_BASE_INTERNAL_H
#define AC_BASE_INTERNAL_H

#include "base.h"

/* text.c. Reads decimal digits without a sign. *pend: the first character that is not a digit. Returns false without a
 * digit, or if the number is out of range. Any thread. */
bool ac_text_parse_digits(int64_t *pvalue, const char **pend, const char *text);

#endif
