/* SPDX-License-Identifier: Apache-2.0 */
/* Ids: a prefix, and 26 characters that sort by the time of creation. */
#include "base.h"

#include <string.h>

#define ID_CHARS 26

static const char crockford[] = "0123456789abcdefghjkmnpqrstvwxyz";

/* Milliseconds in the upper 52 bits, a counter in the lower 12. It is always greater than the last one of this process,
 * also if the clock stops or is set back. More than 4,096 ids in a millisecond use numbers of the next one. */
static uint64_t next_stamp(void)
{
    static uint64_t last;
    uint64_t now = (uint64_t)(apr_time_now() / 1000) << 12;
    uint64_t old = __atomic_load_n(&last, __ATOMIC_RELAXED), stamp;
    do {
        stamp = now > old ? now : old + 1;
    } while (!__atomic_compare_exchange_n(&last, &old, stamp, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return stamp;
}

/* Writes the prefix and 128 bits as characters. */
static void write_id(char id[AC_ID_SIZE], const char *prefix, uint64_t high, uint64_t low)
{
    int len = snprintf(id, AC_ID_SIZE - ID_CHARS, "%s", prefix);
    if (len > AC_ID_SIZE - ID_CHARS - 1) {
        len = AC_ID_SIZE - ID_CHARS - 1;
    }
    char *text = id + len;
    for (int i = ID_CHARS - 1; i >= 0; i--) {
        text[i] = crockford[low & 31];
        low = low >> 5 | high << 59;
        high >>= 5;
    }
    text[ID_CHARS] = '\0';
}

/* source: RFC 9562, 5.7 (UUIDv7) and 6.2, method 1. The random half is new for each id: two forked children with the
 * same counter still make different ids. */
void ac_id_make(char id[AC_ID_SIZE], const char *prefix)
{
    uint64_t stamp = next_stamp();
    write_id(id, prefix, (stamp >> 12) << 16 | UINT64_C(0x7000) | (stamp & 0xfff),
             UINT64_C(2) << 62 | ac_random() >> 2);
}

void ac_id_first(char id[AC_ID_SIZE], const char *prefix, apr_time_t when)
{
    write_id(id, prefix, (uint64_t)(when > 0 ? when / 1000 : 0) << 16, 0);
}

void ac_id_of_bits(char id[AC_ID_SIZE], const char *prefix, const unsigned char bits[AC_ID_BITS])
{
    uint64_t high = 0, low = 0;
    for (int i = 0; i < AC_ID_BITS / 2; i++) {
        high = high << 8 | bits[i];
        low = low << 8 | bits[AC_ID_BITS / 2 + i];
    }
    write_id(id, prefix, high, low);
}

bool ac_id_valid(const char *id, const char *prefix)
{
    size_t len = strlen(prefix);
    if (!id || strncmp(id, prefix, len) != 0) {
        return false;
    }
    return strspn(id + len, crockford) == ID_CHARS && !id[len + ID_CHARS];
}
