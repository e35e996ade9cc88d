/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8: validity, and where characters begin. */
#include "base.h"

#include <string.h>

/* The length of a character with this first byte (0: invalid), and the range of its second byte. source: Unicode 15,
 * table 3-7. */
static size_t utf8_shape(unsigned char lead, unsigned char *plow, unsigned char *phigh)
{
    *plow = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    *phigh = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (lead < 0x80) {
        return 1;
    }
    if (lead < 0xc2 || lead > 0xf4) {
        return 0;
    }
    return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* The number of bytes at text that begin a valid character. *pwant: the number of bytes of the whole character. */
static size_t utf8_part(const char *text, size_t len, size_t *pwant)
{
    unsigned char low, high;
    *pwant = utf8_shape((unsigned char)text[0], &low, &high);
    size_t n = 1;
    while (n < *pwant && n < len && (unsigned char)text[n] >= low && (unsigned char)text[n] <= high) {
        low = 0x80;
        high = 0xbf;
        n++;
    }
    return n;
}

size_t ac_utf8_next(const char *text, size_t len, bool *pvalid)
{
    size_t want, n = utf8_part(text, len, &want);
    *pvalid = n == want;
    return n;
}

bool ac_utf8_valid(const char *text, size_t len)
{
    bool valid = true;
    for (size_t i = 0; valid && i < len;) {
        i += ac_utf8_next(text + i, len - i, &valid);
    }
    return valid;
}

size_t ac_utf8_whole(const char *text, size_t len)
{
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        unsigned char c = (unsigned char)text[len - back];
        if (c >= 0xc0) {
            size_t want, n = utf8_part(text + len - back, back, &want);
            return n == back && n < want ? len - back : len;
        }
        if (c < 0x80) {
            break;
        }
    }
    return len;
}

size_t ac_utf8_count(const char *text, size_t len)
{
    size_t n_chars = 0;
    for (size_t i = 0; i < len; i++) {
        n_chars += ((unsigned char)text[i] & 0xc0) != 0x80;
    }
    return n_chars;
}
