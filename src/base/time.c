/* SPDX-License-Identifier: Apache-2.0 */
/* Times in the form of RFC 3339, and durations as written in the configuration. */
#include "base_internal.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* The largest first, so that formatting finds the shortest exact form first. */
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

static char *put_digits(char *text, int value, int n_digits)
{
    for (int i = n_digits - 1; i >= 0; i--) {
        text[i] = (char)('0' + value % 10);
        value /= 10;
    }
    return text + n_digits;
}

/* Every event has a time, so this avoids gmtime() and strftime(). It converts days by 400-year eras of the proleptic
 * Gregorian calendar that begin on 1 March. A year outside of 0 to 9999 has no such form; the nearest time that has one
 * is written instead. */
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

void ac_time_format_micro(char text[AC_TIME_SIZE], apr_time_t when)
{
    ac_time_format(text, when);
    text = put_digits(text + sizeof("2026-11-21T05:25:46.123") - 1, (int)(when % 1000 + 1000) % 1000, 3);
    *text++ = 'Z';
    *text = '\0';
}

json_t *ac_time_json(apr_time_t when)
{
    char text[AC_TIME_SIZE];
    if (!when) {
        return json_null();
    }
    ac_time_format(text, when);
    return json_string(text);
}

/* Reads n_digits decimal digits, then `after` unless it is NUL, and moves *ptext past them. */
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
         strcmp(text, "Z") != 0)) {
        return false;
    }
    tm.tm_year -= 1900;
    tm.tm_mon--;
    back = tm;
    /* timegm() turns an invalid date, such as 31 April, into another one. */
    time_t seconds = timegm(&back);
    if (back.tm_year != tm.tm_year || back.tm_mon != tm.tm_mon || back.tm_mday != tm.tm_mday ||
        back.tm_hour != tm.tm_hour || back.tm_min != tm.tm_min || back.tm_sec != tm.tm_sec) {
        return false;
    }
    *pwhen = apr_time_from_sec((apr_time_t)seconds) + ms * 1000;
    return true;
}

bool ac_time_parse_duration(apr_interval_time_t *pvalue, const char *text)
{
    int64_t number;
    const char *unit;
    if (!ac_text_parse_digits(&number, &unit, text)) {
        return false;
    }
    if (!*unit && !number) {
        *pvalue = 0;
        return true;
    }
    for (size_t i = 0; i < N_UNITS; i++) {
        int64_t value;
        if (strcmp(unit, units[i].name) == 0 && !__builtin_mul_overflow(number, (int64_t)units[i].us, &value)) {
            *pvalue = value;
            return true;
        }
    }
    return false;
}

void ac_time_format_duration(char text[AC_TIME_SIZE], apr_interval_time_t value)
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
