/* SPDX-License-Identifier: Apache-2.0 */
/* Digits, sizes and bytes as text, and text for logs. */
#include "base_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define PRINTABLE_MAX 60

bool ac_text_parse_digits(int64_t *pvalue, const char **pend, const char *text)
{
    if (!text || *text < '0' || *text > '9') {
        return false;
    }
    int64_t value = 0;
    for (; *text >= '0' && *text <= '9'; text++) {
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, *text - '0', &value)) {
            return false;
        }
    }
    *pvalue = value;
    *pend = text;
    return true;
}

bool ac_text_parse_size(apr_int64_t *pvalue, const char *text)
{
    int64_t number, value;
    const char *unit;
    if (!ac_text_parse_digits(&number, &unit, text) || (*unit && unit[1])) {
        return false;
    }
    int shift;
    switch (*unit) {
    case '\0': shift = 0; break;
    case 'K':
    case 'k': shift = 10; break;
    case 'M':
    case 'm': shift = 20; break;
    case 'G':
    case 'g': shift = 30; break;
    default: return false;
    }
    if (__builtin_mul_overflow(number, INT64_C(1) << shift, &value)) {
        return false;
    }
    *pvalue = value;
    return true;
}

void ac_text_hex(char *text, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        *text++ = digits[bytes[i] >> 4];
        *text++ = digits[bytes[i] & 15];
    }
    *text = '\0';
}

/* Without printf's own conversion, which writes the decimal comma of a locale that another module may have set. */
void ac_text_amount(char text[AC_AMOUNT_SIZE], double amount)
{
    const double most = 1e10;
    double bounded = !isfinite(amount) ? 0 : amount > most ? most : amount < -most ? -most : amount;
    int64_t parts = llround(fabs(bounded) * 1e8);
    int len = snprintf(text, AC_AMOUNT_SIZE, "%s%" PRId64 ".%08" PRId64, bounded < 0 && parts ? "-" : "",
                       parts / 100000000, parts % 100000000);
    while (len > 2 && text[len - 1] == '0' && text[len - 2] != '.') {
        text[--len] = '\0';
    }
}

const char *ac_text_printable(char *buf, const char *text)
{
    size_t len = text ? strlen(text) : 0, used = 0, i = 0;
    while (i < len) {
        bool valid;
        size_t n = ac_utf8_next(text + i, len - i, &valid);
        unsigned char c = (unsigned char)text[i];
        bool control = c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)text[i + 1] < 0xa0);
        size_t out = valid && !control ? n : 1;
        if (used + out > PRINTABLE_MAX) {
            memcpy(buf + used, "\xe2\x80\xa6", 3);
            used += 3;
            break;
        }
        if (valid && !control) {
            memcpy(buf + used, text + i, n);
        } else {
            buf[used] = '?';
        }
        used += out;
        i += n;
    }
    buf[used] = '\0';
    return buf;
}
