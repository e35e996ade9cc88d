/* SPDX-License-Identifier: Apache-2.0 */
/* Ids, clocks, randomness, and the forms in which times, durations and sizes are read and written. */
#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <apr_general.h>

#define ID_CHARS 26
#define PRINTABLE_MAX 60

static const char crockford[] = "0123456789abcdefghjkmnpqrstvwxyz";

int ac_file_make(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return errno;
    }
    close(fd);
    return 0;
}

uint64_t ac_random(void)
{
    uint64_t value;
    ssize_t got;
    do {
        got = getrandom(&value, sizeof(value), 0);
    } while (got < 0 && errno == EINTR);
    /* An id that repeats or can be guessed would be worse than a child that ends. */
    if (got != (ssize_t)sizeof(value) &&
        apr_generate_random_bytes((unsigned char *)&value, sizeof(value)) != APR_SUCCESS) {
        abort();
    }
    return value;
}

/* Milliseconds in the upper 52 bits, a counter in the lower 12: always greater than the last one of this process,
 * also where the clock stands still or goes back. 4,096 ids in a millisecond borrow from the next. */
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

/* source: RFC 9562, 5.7 (UUIDv7) and 6.2, method 1. The random half is fresh for each id, so that two children that
 * were forked with the same counter differ. */
void ac_id_make(char id[AC_ID_SIZE], const char *prefix)
{
    uint64_t stamp = next_stamp();
    uint64_t high = (stamp >> 12) << 16 | UINT64_C(0x7000) | (stamp & 0xfff);
    uint64_t low = UINT64_C(2) << 62 | ac_random() >> 2;
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

bool ac_id_valid(const char *id, const char *prefix)
{
    size_t len = strlen(prefix);
    if (!id || strncmp(id, prefix, len)) {
        return false;
    }
    return strspn(id + len, crockford) == ID_CHARS && !id[len + ID_CHARS];
}

void ac_hex(char *text, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        *text++ = digits[bytes[i] >> 4];
        *text++ = digits[bytes[i] & 15];
    }
    *text = '\0';
}

static char *put_digits(char *text, int value, int n_digits)
{
    for (int i = n_digits - 1; i >= 0; i--) {
        text[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return text + n_digits;
}

/* Every event carries a time, so this is by hand. Days to a date as in the proleptic Gregorian calendar of 400-year
 * eras that begin on 1 March; years outside 0 to 9999 have no such form and become the nearest that has. */
void ac_time_format(char text[AC_TIME_SIZE], apr_time_t when)
{
    const apr_time_t lowest = INT64_C(-62167219200000000), highest = INT64_C(253402300799999999);
    when = when < lowest ? lowest : when > highest ? highest : when;
    int64_t ms = (when - lowest) / 1000;        /* since 0000-01-01, never negative */
    int64_t days = ms / 86400000 + 146097 - 60; /* since 1 March of the year -400, which is never negative */
    int in_day = (int)(ms % 86400000);
    int64_t era = days / 146097;
    int of_era = (int)(days % 146097);
    int year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int of_year = of_era - (365 * year + year / 4 - year / 100);
    int month = (5 * of_year + 2) / 153; /* 0: March */
    int day = of_year - (153 * month + 2) / 5 + 1;
    year += (int)era * 400 - 400 + (month >= 10);
    month = month < 10 ? month + 3 : month - 9;

    text = put_digits(text, year, 4);
    *text++ = '-';
    text = put_digits(text, month, 2);
    *text++ = '-';
    text = put_digits(text, day, 2);
    *text++ = 'T';
    text = put_digits(text, in_day / 3600000, 2);
    *text++ = ':';
    text = put_digits(text, in_day / 60000 % 60, 2);
    *text++ = ':';
    text = put_digits(text, in_day / 1000 % 60, 2);
    *text++ = '.';
    text = put_digits(text, in_day % 1000, 3);
    *text++ = 'Z';
    *text = '\0';
}

json_t *ac_json_time(apr_time_t when)
{
    char text[AC_TIME_SIZE];
    if (!when) {
        return json_null();
    }
    ac_time_format(text, when);
    return json_string(text);
}

/* Decimal digits and nothing else; *pend: what follows them. */
static bool parse_digits(int64_t *pvalue, const char **pend, const char *text)
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

/* n_digits decimal digits, then `after` where it is not NUL; moves *ptext behind them. */
static bool take_digits(int *pvalue, const char **ptext, int n_digits, char after)
{
    const char *text = *ptext;
    *pvalue = 0;
    for (int i = 0; i < n_digits; i++, text++) {
        if (*text < '0' || *text > '9') {
            return false;
        }
        *pvalue = *pvalue * 10 + (*text - '0');
    }
    if (after && *text++ != after) {
        return false;
    }
    *ptext = text;
    return true;
}

bool ac_time_parse(apr_time_t *pwhen, const char *text)
{
    struct tm tm = {0}, back;
    int ms = 0;
    if (!take_digits(&tm.tm_year, &text, 4, '-') || !take_digits(&tm.tm_mon, &text, 2, '-') ||
        !take_digits(&tm.tm_mday, &text, 2, 0)) {
        return false;
    }
    if (*text &&
        (*text++ != 'T' || !take_digits(&tm.tm_hour, &text, 2, ':') || !take_digits(&tm.tm_min, &text, 2, ':') ||
         !take_digits(&tm.tm_sec, &text, 2, 0) || (*text == '.' && (text++, !take_digits(&ms, &text, 3, 0))) ||
         strcmp(text, "Z"))) {
        return false;
    }
    tm.tm_year -= 1900;
    tm.tm_mon--;
    back = tm;
    /* What is no date, as 31 April, comes back as another one. */
    time_t seconds = timegm(&back);
    if (back.tm_year != tm.tm_year || back.tm_mon != tm.tm_mon || back.tm_mday != tm.tm_mday ||
        back.tm_hour != tm.tm_hour || back.tm_min != tm.tm_min || back.tm_sec != tm.tm_sec) {
        return false;
    }
    *pwhen = apr_time_from_sec((apr_time_t)seconds) + ms * 1000;
    return true;
}

/* From the largest on, so that formatting finds the shortest exact form first. */
static const struct {
    const char *name;
    apr_interval_time_t us;
} units[] = {
    {"d", 86400 * APR_USEC_PER_SEC},
    {"h", 3600 * APR_USEC_PER_SEC},
    {"min", 60 * APR_USEC_PER_SEC},
    {"s", APR_USEC_PER_SEC},
    {"ms", 1000},
};
#define N_UNITS (sizeof(units) / sizeof(units[0]))

bool ac_duration_parse(apr_interval_time_t *pvalue, const char *text)
{
    int64_t number;
    const char *unit;
    if (!parse_digits(&number, &unit, text)) {
        return false;
    }
    if (!*unit && !number) {
        *pvalue = 0;
        return true;
    }
    for (size_t i = 0; i < N_UNITS; i++) {
        int64_t value;
        if (!strcmp(unit, units[i].name) && !__builtin_mul_overflow(number, (int64_t)units[i].us, &value)) {
            *pvalue = value;
            return true;
        }
    }
    return false;
}

void ac_duration_format(char text[AC_TIME_SIZE], apr_interval_time_t value)
{
    uint64_t us = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    us = us / 1000 * 1000 + (us % 1000 ? 1000 : 0);
    size_t i = 0;
    while (i < N_UNITS - 1 && us % (uint64_t)units[i].us) {
        i++;
    }
    snprintf(text, AC_TIME_SIZE, "%s%llu%s", value < 0 ? "-" : "", (unsigned long long)(us / (uint64_t)units[i].us),
             units[i].name);
    if (!value) {
        memcpy(text, "0", 2);
    }
}

bool ac_size_parse(apr_int64_t *pvalue, const char *text)
{
    int64_t number, value;
    const char *unit;
    if (!parse_digits(&number, &unit, text) || (*unit && unit[1])) {
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

apr_time_t ac_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (apr_time_t)now.tv_sec * APR_USEC_PER_SEC + now.tv_nsec / 1000;
}

const char *ac_printable(char *buf, const char *text)
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
