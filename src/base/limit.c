/* SPDX-License-Identifier: Apache-2.0 */
/* Limits as written in the configuration: "requests=60/min tokens=100k/min streams=5 cost=2.50/day by=owner". */
#include "base.h"

#include <stdio.h>
#include <string.h>

static const char *const measures[AC_N_MEASURES] = {
    [AC_LIMIT_REQUESTS] = "requests", [AC_LIMIT_TOKENS] = "tokens", [AC_LIMIT_STREAMS] = "streams",
    [AC_LIMIT_COST] = "cost",         [AC_LIMIT_RUNS] = "runs",
};
static const char *const ways[AC_N_BYS] = {
    [AC_BY_OWNER] = "owner",
    [AC_BY_KEY] = "key",
    [AC_BY_AGENT] = "agent",
    [AC_BY_ADDRESS] = "address",
};
static const struct {
    const char *name;
    apr_interval_time_t length;
} windows[] = {
    {"s", APR_USEC_PER_SEC},
    {"min", 60 * APR_USEC_PER_SEC},
    {"hour", 3600 * APR_USEC_PER_SEC},
    {"day", 86400 * APR_USEC_PER_SEC},
};
#define WORD_SIZE 64
#define N_WINDOWS (sizeof(windows) / sizeof(windows[0]))

const char *ac_limit_measure_name(ac_measure_e measure)
{
    return measures[measure];
}

const char *ac_limit_by_name(ac_by_e by)
{
    return ways[by];
}

const char *ac_limit_window_name(apr_interval_time_t window)
{
    for (size_t i = 0; i < N_WINDOWS; i++) {
        if (windows[i].length == window) {
            return windows[i].name;
        }
    }
    return "";
}

static int limit_find(const char *const *names, int n, const char *text, size_t len)
{
    for (int i = 0; i < n; i++) {
        if (strlen(names[i]) == len && memcmp(names[i], text, len) == 0) {
            return i;
        }
    }
    return -1;
}

/* Reads digits, and at most `places` more after a point, as a whole number of 10^-places. *plen: the number of
 * characters used. */
static bool parse_decimal(int64_t *pvalue, size_t *plen, const char *text, int places)
{
    const char *at = text;
    bool point = false;
    int64_t value = 0;
    int left = places;
    if (*at < '0' || *at > '9') {
        return false;
    }
    for (; (*at >= '0' && *at <= '9') || (*at == '.' && !point && places); at++) {
        if (*at == '.') {
            point = true;
        } else if (point && left-- == 0) {
            return false;
        } else if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, *at - '0', &value)) {
            return false;
        }
    }
    for (; left > 0; left--) {
        if (__builtin_mul_overflow(value, 10, &value)) {
            return false;
        }
    }
    *pvalue = value;
    *plen = (size_t)(at - text);
    return at[-1] != '.';
}

/* Reads the amount, up to the '/' or the end, in the measure's unit. */
static bool parse_amount(ac_limit_t *limit, const char *text, size_t len)
{
    size_t used;
    int64_t scale = 1;
    if (!parse_decimal(&limit->most, &used, text, limit->measure == AC_LIMIT_COST ? AC_COST_PLACES : 0)) {
        return false;
    }
    if (limit->measure != AC_LIMIT_COST && len == used + 1) {
        scale = text[used] == 'k' ? 1000 : text[used] == 'M' ? 1000000 : 0;
        used++;
    }
    return used == len && scale && !__builtin_mul_overflow(limit->most, scale, &limit->most) && limit->most >= 1 &&
        limit->most <= AC_MAX_LIMIT;
}

static bool parse_window(ac_limit_t *limit, const char *text)
{
    for (size_t i = 0; i < N_WINDOWS; i++) {
        if (strcmp(windows[i].name, text) == 0) {
            limit->window = windows[i].length;
            return true;
        }
    }
    return false;
}

/* Reads "60/min" of "requests=60/min". */
static apr_status_t parse_value(ac_limit_t *limit, const char *word, const char *value, ac_err_t *err)
{
    const char *slash = strchr(value, '/');
    size_t len = slash ? (size_t)(slash - value) : strlen(value);
    if (limit->measure == AC_LIMIT_STREAMS || limit->measure == AC_LIMIT_RUNS) {
        if (slash || !parse_amount(limit, value, len)) {
            return ac_err_set(err, AC_INVALID_REQUEST, "'%s' is no limit; give a number at once, like %s=5", word,
                              measures[limit->measure]);
        }
        return APR_SUCCESS;
    }
    if (!slash || !parse_amount(limit, value, len) || !parse_window(limit, slash + 1)) {
        const char *like = limit->measure == AC_LIMIT_COST ? "cost=2.50/day"
            : limit->measure == AC_LIMIT_TOKENS            ? "tokens=100k/min"
                                                           : "requests=60/min";
        return ac_err_set(err, AC_INVALID_REQUEST,
                          "'%s' is no limit; give a number, which may end in k or M, and a window of "
                          "/s, /min, /hour or /day, like %s",
                          word, like);
    }
    return APR_SUCCESS;
}

static apr_status_t limit_add(ac_limits_t *limits, const ac_limit_t *limit, const char *word, ac_err_t *err)
{
    for (int i = 0; i < limits->n; i++) {
        const ac_limit_t *other = &limits->list[i];
        if (other->measure == limit->measure && other->by == limit->by && other->window == limit->window) {
            return ac_err_set(err, AC_INVALID_REQUEST, "'%s' is given twice by=%s", word, ways[limit->by]);
        }
    }
    if (limits->n == AC_MAX_LIMITS) {
        return ac_err_set(err, AC_INVALID_REQUEST, "there are more than %d limits in one place", AC_MAX_LIMITS);
    }
    limits->list[limits->n++] = *limit;
    return APR_SUCCESS;
}

/* Copies the next word of *ptext to word. Returns false at the end, or with *pbad set if the word is longer than any
 * valid one. */
static bool next_word(char word[WORD_SIZE], const char **ptext, bool *pbad)
{
    const char *text = *ptext + strspn(*ptext, " \t");
    size_t len = strcspn(text, " \t");
    *pbad = len >= WORD_SIZE;
    if (!len || *pbad) {
        return false;
    }
    memcpy(word, text, len);
    word[len] = '\0';
    *ptext = text + len;
    return true;
}

/* by=… applies to the whole text, wherever it is written. */
static apr_status_t find_by(ac_by_e *pby, const char *text, ac_err_t *err)
{
    char word[WORD_SIZE];
    bool bad, given = false;
    while (next_word(word, &text, &bad)) {
        if (strncmp(word, "by=", 3) != 0) {
            continue;
        }
        int by = limit_find(ways, AC_N_BYS, word + 3, strlen(word + 3));
        if (*pby == AC_BY_KEY && !given) {
            return ac_err_set(err, AC_INVALID_REQUEST, "'%s': the limits of a key are by key, which need not be said",
                              word);
        }
        if (by < 0 || given) {
            return ac_err_set(err, AC_INVALID_REQUEST,
                              given ? "'%s' is a second by="
                                    : "'%s' is not one of by=owner, by=key, by=agent, "
                                      "by=address",
                              word);
        }
        *pby = (ac_by_e)by;
        given = true;
    }
    return bad ? ac_err_set(err, AC_INVALID_REQUEST, "a word is longer than %d bytes", WORD_SIZE - 1) : APR_SUCCESS;
}

apr_status_t ac_limit_parse(ac_limits_t *limits, const char *text, ac_by_e by, ac_err_t *err)
{
    ac_limits_t found = *limits;
    char word[WORD_SIZE];
    bool bad;
    apr_status_t status = find_by(&by, text, err);
    while (status == APR_SUCCESS && next_word(word, &text, &bad)) {
        const char *equals = strchr(word, '=');
        int measure = equals ? limit_find(measures, AC_N_MEASURES, word, (size_t)(equals - word)) : -1;
        ac_limit_t limit = {.measure = (ac_measure_e)measure, .by = by};
        if (strncmp(word, "by=", 3) == 0) {
            continue;
        }
        if (measure < 0) {
            return ac_err_set(err, AC_INVALID_REQUEST,
                              "'%s' is no limit; accepted are requests=, tokens=, streams=, runs=, cost= and "
                              "by=",
                              word);
        }
        status = parse_value(&limit, word, equals + 1, err);
        if (status == APR_SUCCESS) {
            status = limit_add(&found, &limit, word, err);
        }
    }
    if (status == APR_SUCCESS && found.n == limits->n) {
        return ac_err_set(err, AC_INVALID_REQUEST, "there is no limit in it; give one like requests=60/min");
    }
    if (status == APR_SUCCESS) {
        *limits = found;
    }
    return status;
}
