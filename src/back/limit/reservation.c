/* SPDX-License-Identifier: Apache-2.0 */
/* From limits to counts: the counts that a request needs, and the response's header fields and errors about them. */
#include "limit_table.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#define STREAM_RETRY apr_time_from_sec(5) /* Retry-After: the end of a stream or run is not known in advance */

/* ---- choosing counts ---- */

static const EVP_MD *sha256;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fetch_sha256(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!sha256) {
        sha256 = EVP_sha256();
    }
}

typedef struct part_t {
    char *at;
    size_t left;
} part_t;

/* Adds the NUL too, so that different lists of words are different texts. */
static void reservation_add_word(part_t *part, const char *word)
{
    size_t len = strlen(word) + 1;
    len = len < part->left ? len : part->left;
    memcpy(part->at, word, len);
    part->at += len;
    part->left -= len;
}

/* The subject whose requests share the count. If the wanted one is unknown (no key, no owner), the next best is used;
 * no request stays uncounted. */
static const char *reservation_subject_of(ac_by_e *pby, const ac_subject_t *who)
{
    if (*pby == AC_BY_AGENT) {
        return who->agent ? who->agent : "";
    }
    if (*pby == AC_BY_KEY && who->key) {
        return who->key;
    }
    if (*pby != AC_BY_ADDRESS && who->owner) {
        *pby = AC_BY_OWNER;
        return who->owner;
    }
    *pby = AC_BY_ADDRESS;
    return who->address ? who->address : "";
}

static void reservation_make_key(unsigned char key[AC_COUNT_KEY], const char *scope, const ac_limit_t *limit,
                                 const ac_subject_t *who)
{
    char text[1024], window[24];
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    part_t part = {text, sizeof(text)};
    ac_by_e by = limit->by;
    const char *subject = reservation_subject_of(&by, who);
    snprintf(window, sizeof(window), "%" APR_INT64_T_FMT, (apr_int64_t)limit->window);
    reservation_add_word(&part, ac_limit_measure_name(limit->measure));
    reservation_add_word(&part, window);
    /* Hashes both, so that two limits that fall back to the same subject still have different counts. */
    reservation_add_word(&part, ac_limit_by_name(limit->by));
    reservation_add_word(&part, ac_limit_by_name(by));
    reservation_add_word(&part, subject);
    reservation_add_word(&part, scope ? scope : "");
    pthread_once(&once, fetch_sha256);
    if (!EVP_Digest(text, (size_t)(part.at - text), digest, NULL, sha256, NULL)) {
        abort();
    }
    memcpy(key, digest, AC_COUNT_KEY);
}

ac_phase_e ac_reservation_phase(const ac_limit_t *limit)
{
    if (limit->by == AC_BY_AGENT || limit->measure == AC_LIMIT_TOKENS || limit->measure == AC_LIMIT_COST) {
        return AC_PHASE_RUN;
    }
    if (limit->measure == AC_LIMIT_RUNS) {
        return AC_PHASE_START;
    }
    return limit->measure == AC_LIMIT_STREAMS ? AC_PHASE_STREAM : AC_PHASE_REQUEST;
}

void ac_reservation_add(ac_reservation_t **preservation, const ac_limits_t *limits, const ac_limit_t *limit,
                        const ac_subject_t *who, int64_t amount)
{
    ac_reservation_t *reservation = *preservation;
    if (!reservation || reservation->n == reservation->max) {
        int max = reservation ? 2 * reservation->max : 4;
        reservation = realloc(reservation, sizeof(*reservation) + (size_t)max * sizeof(ac_reservation_item_t));
        if (!reservation) {
            abort();
        }
        if (!*preservation) {
            memset(reservation, 0, sizeof(*reservation));
        }
        reservation->max = max;
        *preservation = reservation;
    }
    ac_reservation_item_t *item = &reservation->list[reservation->n++];
    *item = (ac_reservation_item_t){.label = limits->label,
                                    .measure = limit->measure,
                                    .by = limit->by,
                                    .window = limit->window,
                                    .most = limit->most};
    /* An amount larger than the limit itself waits until the whole limit is free. */
    item->amount = amount < limit->most ? amount : limit->most;
    item->hold = limit->measure != AC_LIMIT_REQUESTS;
    reservation_make_key(item->key, limits->scope, limit, who);
}

/* ---- results ---- */

static void item_name(char name[64], const ac_reservation_item_t *item)
{
    const char *window = ac_limit_window_name(item->window);
    snprintf(name, 64, "%s%s%s%s-%s", item->label ? item->label : "", ac_limit_measure_name(item->measure),
             *window ? "-" : "", window, ac_limit_by_name(item->by));
}

static int64_t seconds(apr_interval_time_t time)
{
    return (time + APR_USEC_PER_SEC - 1) / APR_USEC_PER_SEC;
}

void ac_reservation_trace(ac_reservation_t *reservation, const ac_trace_t *trace)
{
    reservation->trace = *trace;
    reservation->trace.state = NULL;
}

/* source: draft-ietf-httpapi-ratelimit-headers-10. Its registry of units has requests, content-bytes and
 * concurrent-requests. */
void ac_reservation_fields(const ac_reservation_t *reservation, ac_buf_t *policy, ac_buf_t *left)
{
    static const char *const units[AC_N_MEASURES] = {
        [AC_LIMIT_REQUESTS] = "",
        [AC_LIMIT_TOKENS] = ";qu=\"tokens\"",
        [AC_LIMIT_STREAMS] = ";qu=\"concurrent-requests\"",
        [AC_LIMIT_COST] = ";qu=\"millionths\"",
        [AC_LIMIT_RUNS] = ";qu=\"concurrent-runs\"",
    };
    for (int i = 0; reservation && i < reservation->n; i++) {
        const ac_reservation_item_t *item = &reservation->list[i];
        int64_t unit = item->measure == AC_LIMIT_COST ? AC_COST_ONE / 1000000 : 1;
        char name[64];
        item_name(name, item);
        ac_buf_printf(policy, "%s\"%s\";q=%" APR_INT64_T_FMT "%s", policy->len ? ", " : "", name,
                      (apr_int64_t)(item->most / unit), units[item->measure]);
        ac_buf_printf(left, "%s\"%s\";r=%" APR_INT64_T_FMT, left->len ? ", " : "", name,
                      (apr_int64_t)(item->left / unit));
        if (item->window) {
            ac_buf_printf(policy, ";w=%" APR_INT64_T_FMT, (apr_int64_t)apr_time_sec(item->window));
            ac_buf_printf(left, ";t=%" APR_INT64_T_FMT, (apr_int64_t)seconds(item->reset));
        }
    }
}

/* The exceeded count that stays exceeded longest. */
static const ac_reservation_item_t *find_over(const ac_reservation_t *reservation)
{
    const ac_reservation_item_t *found = NULL;
    for (int i = 0; i < reservation->n; i++) {
        const ac_reservation_item_t *item = &reservation->list[i];
        if (item->over && (!found || item->reset > found->reset)) {
            found = item;
        }
    }
    return found;
}

apr_status_t ac_reservation_refuse(const ac_reservation_t *reservation, ac_err_t *err)
{
    const ac_reservation_item_t *item = find_over(reservation);
    if (!item) {
        return ac_err_set(err, AC_INTERNAL, "a limit refused without a reason");
    }
    ac_metrics_add(AC_METRIC_LIMITS_REFUSED, AC_LABELS(item->measure, item->by), 1);
    const char *by = ac_limit_by_name(item->by), *window = ac_limit_window_name(item->window);
    err->retry_after = item->window ? apr_time_from_sec(seconds(item->reset)) : STREAM_RETRY;
    switch (item->measure) {
    case AC_LIMIT_STREAMS:
        return ac_err_set(err, AC_RATE_LIMITED,
                          "there are %" APR_INT64_T_FMT " answers under way, the maximum for one %s; "
                          "wait for one of them to end",
                          (apr_int64_t)item->most, by);
    case AC_LIMIT_RUNS:
        return ac_err_set(err, AC_RATE_LIMITED,
                          "there are %" APR_INT64_T_FMT " runs under way, the maximum for one %s, including "
                          "those that no client follows; wait for one of them to end, or cancel one",
                          (apr_int64_t)item->most, by);
    case AC_LIMIT_REQUESTS:
        return ac_err_set(err, AC_RATE_LIMITED, "the limit of %" APR_INT64_T_FMT " requests each %s by %s is reached",
                          (apr_int64_t)item->most, window, by);
    case AC_LIMIT_TOKENS:
        return ac_err_set(err, AC_RATE_LIMITED,
                          "of the limit of %" APR_INT64_T_FMT " tokens each %s by %s %" APR_INT64_T_FMT
                          " are left, and this answer may take %" APR_INT64_T_FMT,
                          (apr_int64_t)item->most, window, by, (apr_int64_t)item->left, (apr_int64_t)item->amount);
    default:
        return ac_err_set(err, AC_BUDGET_EXCEEDED,
                          "of the budget of %.9g each %s by %s %.6g is left, and this answer may cost %.6g",
                          (double)item->most / AC_COST_ONE, window, by, (double)item->left / AC_COST_ONE,
                          (double)item->amount / AC_COST_ONE);
    }
}
