/* SPDX-License-Identifier: Apache-2.0 */
/* From limits to counts: which ones a request takes part in, what it is told where one has not enough left. */
#include "limit_table.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#define LOOP_PATIENCE apr_time_from_sec(5) /* of a worker, for a loop that is behind */

/* ---- which counts ---- */

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

/* With its NUL, so that no two lists of words are one text. */
static void counters_add_word(part_t *part, const char *word)
{
    size_t len = strlen(word) + 1;
    len = len < part->left ? len : part->left;
    memcpy(part->at, word, len);
    part->at += len;
    part->left -= len;
}

/* Who shares the count. Who cannot be told apart in the way that is wanted is in the next best one, and never uncounted. */
static const char *counters_subject_of(ac_by_e *pby, const ac_subject_t *who)
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

static void counters_make_key(unsigned char key[AC_COUNT_KEY], const char *scope, const ac_limit_t *limit,
                              const ac_subject_t *who)
{
    char text[1024], window[24];
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    part_t part = {text, sizeof(text)};
    ac_by_e by = limit->by;
    const char *subject = counters_subject_of(&by, who);
    snprintf(window, sizeof(window), "%" APR_INT64_T_FMT, (apr_int64_t)limit->window);
    counters_add_word(&part, ac_limit_measure_name(limit->measure));
    counters_add_word(&part, window);
    /* Both, so that two limits whose subjects are the same one for lack of a better are two counts. */
    counters_add_word(&part, ac_limit_by_name(limit->by));
    counters_add_word(&part, ac_limit_by_name(by));
    counters_add_word(&part, subject);
    counters_add_word(&part, scope ? scope : "");
    pthread_once(&once, fetch_sha256);
    if (!EVP_Digest(text, (size_t)(part.at - text), digest, NULL, sha256, NULL)) {
        abort();
    }
    memcpy(key, digest, AC_COUNT_KEY);
}

ac_phase_e ac_limit_phase(const ac_limit_t *limit)
{
    if (limit->by == AC_BY_AGENT || limit->measure == AC_LIMIT_TOKENS || limit->measure == AC_LIMIT_COST) {
        return AC_PHASE_RUN;
    }
    if (limit->measure == AC_LIMIT_RUNS) {
        return AC_PHASE_START;
    }
    return limit->measure == AC_LIMIT_STREAMS ? AC_PHASE_STREAM : AC_PHASE_REQUEST;
}

void ac_takes_add(ac_takes_t **ptakes, const ac_limits_t *limits, const ac_limit_t *limit, const ac_subject_t *who,
                  int64_t amount)
{
    ac_takes_t *takes = *ptakes;
    if (!takes || takes->n == takes->max) {
        int max = takes ? 2 * takes->max : 4;
        takes = realloc(takes, sizeof(*takes) + (size_t)max * sizeof(ac_take_t));
        if (!takes) {
            abort();
        }
        if (!*ptakes) {
            memset(takes, 0, sizeof(*takes));
        }
        takes->max = max;
        *ptakes = takes;
    }
    ac_take_t *take = &takes->list[takes->n++];
    *take = (ac_take_t){.label = limits->label,
                        .measure = limit->measure,
                        .by = limit->by,
                        .window = limit->window,
                        .most = limit->most};
    /* What is larger than the whole limit waits until there is all of it, instead of for ever. */
    take->amount = amount < limit->most ? amount : limit->most;
    take->hold = limit->measure != AC_LIMIT_REQUESTS;
    counters_make_key(take->key, limits->scope, limit, who);
}

/* ---- what is said of it ---- */

static void name_take(char name[64], const ac_take_t *take)
{
    const char *window = ac_limit_window_name(take->window);
    snprintf(name, 64, "%s%s%s%s-%s", take->label ? take->label : "", ac_limit_measure_name(take->measure),
             *window ? "-" : "", window, ac_limit_by_name(take->by));
}

static int64_t seconds(apr_interval_time_t time)
{
    return (time + APR_USEC_PER_SEC - 1) / APR_USEC_PER_SEC;
}

/* source: draft-ietf-httpapi-ratelimit-headers-10. Its registry of units has requests, content-bytes and concurrent-requests. */
void ac_takes_fields(const ac_takes_t *takes, ac_buf_t *policy, ac_buf_t *left)
{
    static const char *const units[AC_N_MEASURES] = {
        [AC_LIMIT_REQUESTS] = "",
        [AC_LIMIT_TOKENS] = ";qu=\"tokens\"",
        [AC_LIMIT_STREAMS] = ";qu=\"concurrent-requests\"",
        [AC_LIMIT_COST] = ";qu=\"millionths\"",
        [AC_LIMIT_RUNS] = ";qu=\"concurrent-runs\"",
    };
    for (int i = 0; takes && i < takes->n; i++) {
        const ac_take_t *take = &takes->list[i];
        int64_t unit = take->measure == AC_LIMIT_COST ? AC_COST_ONE / 1000000 : 1;
        char name[64];
        name_take(name, take);
        ac_buf_printf(policy, "%s\"%s\";q=%" APR_INT64_T_FMT "%s", policy->len ? ", " : "", name,
                      (apr_int64_t)(take->most / unit), units[take->measure]);
        ac_buf_printf(left, "%s\"%s\";r=%" APR_INT64_T_FMT, left->len ? ", " : "", name,
                      (apr_int64_t)(take->left / unit));
        if (take->window) {
            ac_buf_printf(policy, ";w=%" APR_INT64_T_FMT, (apr_int64_t)apr_time_sec(take->window));
            ac_buf_printf(left, ";t=%" APR_INT64_T_FMT, (apr_int64_t)seconds(take->reset));
        }
    }
}

/* Of those that have not enough left, the one that takes longest. */
static const ac_take_t *find_over(const ac_takes_t *takes)
{
    const ac_take_t *found = NULL;
    for (int i = 0; i < takes->n; i++) {
        const ac_take_t *take = &takes->list[i];
        if (take->over && (!found || take->reset > found->reset)) {
            found = take;
        }
    }
    return found;
}

/* Why takes were refused: rate_limited, budget_exceeded; retry_after is when the window ends, after which there is enough. */
static apr_status_t counters_refuse(const ac_takes_t *takes, ac_err_t *err)
{
    const ac_take_t *take = find_over(takes);
    if (!take) {
        return ac_err_set(err, AC_INTERNAL, "a limit refused without a reason");
    }
    const char *by = ac_limit_by_name(take->by), *window = ac_limit_window_name(take->window);
    err->retry_after = take->window ? apr_time_from_sec(seconds(take->reset)) : AC_STREAM_RETRY;
    switch (take->measure) {
    case AC_LIMIT_STREAMS:
        return ac_err_set(err, AC_RATE_LIMITED,
                          "there are %" APR_INT64_T_FMT " answers under way, as many as one %s may have at once; "
                          "wait for one of them to end",
                          (apr_int64_t)take->most, by);
    case AC_LIMIT_RUNS:
        return ac_err_set(err, AC_RATE_LIMITED,
                          "there are %" APR_INT64_T_FMT " runs under way, as many as one %s may have at once, also "
                          "where nobody follows them; wait for one of them to end, or cancel one",
                          (apr_int64_t)take->most, by);
    case AC_LIMIT_REQUESTS:
        return ac_err_set(err, AC_RATE_LIMITED, "the limit of %" APR_INT64_T_FMT " requests each %s by %s is reached",
                          (apr_int64_t)take->most, window, by);
    case AC_LIMIT_TOKENS:
        return ac_err_set(err, AC_RATE_LIMITED,
                          "of the limit of %" APR_INT64_T_FMT " tokens each %s by %s %" APR_INT64_T_FMT
                          " are left, and this answer may take %" APR_INT64_T_FMT,
                          (apr_int64_t)take->most, window, by, (apr_int64_t)take->left, (apr_int64_t)take->amount);
    default:
        return ac_err_set(err, AC_BUDGET_EXCEEDED,
                          "of the budget of %.9g each %s by %s %.6g is left, and this answer may cost %.6g",
                          (double)take->most / AC_COST_ONE, window, by, (double)take->left / AC_COST_ONE,
                          (double)take->amount / AC_COST_ONE);
    }
}

/* ---- counting ---- */

static apr_status_t take_here(ac_counters_t *counters, ac_takes_t *takes, ac_err_t *err)
{
    apr_status_t status = ac_limit_table_take(counters->table, takes, apr_time_now(), err);
    return status == APR_EAGAIN && !err->kind ? counters_refuse(takes, err) : status;
}

typedef struct asked_t { /* the shared counts are */
    ac_counters_t *counters;
    ac_takes_t *takes;
    ac_counted_fn *done;
    void *baton;
} asked_t;

static void counters_on_shared(void *baton, apr_status_t status, const ac_err_t *said)
{
    asked_t asked = *(asked_t *)baton;
    ac_err_t err = *said;
    free(baton);
    if (status == APR_SUCCESS) {
        asked.takes->shared = true;
        for (int i = 0; i < asked.takes->n; i++) {
            asked.takes->list[i].held = asked.takes->list[i].hold ? asked.takes->list[i].amount : 0;
        }
    } else if (err.kind && asked.counters->open) {
        ac_err_init(&err);
        status = take_here(asked.counters, asked.takes, &err);
    } else if (!err.kind) {
        status = counters_refuse(asked.takes, &err);
    }
    asked.done(asked.baton, status, &err);
}

apr_status_t ac_counters_take(ac_counters_t *counters, ac_takes_t *takes, ac_counted_fn *done, void *baton,
                              ac_err_t *err)
{
    if (!counters->shared) {
        return take_here(counters, takes, err);
    }
    asked_t *asked = ac_alloc(sizeof(*asked));
    *asked = (asked_t){counters, takes, done, baton};
    counters->shared->take(counters->shared_self, takes, counters_on_shared, asked);
    return APR_EINPROGRESS;
}

/* ---- a worker that waits ---- */

typedef struct waiting_t {
    ac_handover_t handover;
    ac_counters_t *counters;
    ac_takes_t *takes;
    apr_status_t status;
    ac_err_t err;
} waiting_t;

static void counters_on_answer(void *baton, apr_status_t status, const ac_err_t *err)
{
    waiting_t *waiting = baton;
    waiting->status = status;
    waiting->err = *err;
    if (!ac_handover_answer(&waiting->handover)) {
        if (status == APR_SUCCESS) {
            ac_counters_release(waiting->counters, waiting->takes);
        } else {
            free(waiting->takes);
        }
        free(waiting);
    }
}

static void ask_for(void *baton)
{
    waiting_t *waiting = baton;
    ac_err_t err;
    ac_err_init(&err);
    apr_status_t status = ac_counters_take(waiting->counters, waiting->takes, counters_on_answer, waiting, &err);
    if (status != APR_EINPROGRESS) {
        counters_on_answer(waiting, status, &err);
    }
}

apr_status_t ac_counters_take_wait(ac_takes_t **ptakes, ac_counters_t *counters, ac_err_t *err)
{
    if (!counters->shared) {
        return take_here(counters, *ptakes, err);
    }
    waiting_t *waiting = ac_alloc(sizeof(*waiting));
    ac_handover_begin(&waiting->handover);
    waiting->counters = counters;
    waiting->takes = *ptakes;
    ac_loop_post(counters->loop, ask_for, waiting);
    if (!ac_handover_wait(&waiting->handover, ac_clock() + LOOP_PATIENCE)) {
        *ptakes = NULL; /* the loop itself has not come to it */
        return ac_err_set(err, AC_OVERLOADED, "the limits were not looked up in time");
    }
    apr_status_t status = waiting->status;
    *err = err->kind ? *err : waiting->err;
    free(waiting);
    return status;
}

/* ---- spending and giving back ---- */

static void spend_shared(ac_counters_t *counters, ac_takes_t *takes, ac_take_t *take, int64_t amount)
{
    int64_t covered = amount < take->held ? amount : take->held;
    ac_settle_t settle = {.covered = covered, .excess = amount - covered};
    take->held -= covered;
    counters->shared->settle(counters->shared_self, takes, take, &settle);
}

void ac_counters_spend(ac_counters_t *counters, ac_takes_t *takes, ac_measure_e measure, int64_t amount)
{
    for (int i = 0; takes && amount > 0 && i < takes->n; i++) {
        if (takes->list[i].measure != measure) {
            continue;
        }
        if (takes->shared) {
            spend_shared(counters, takes, &takes->list[i], amount);
        } else {
            ac_limit_table_spend(counters->table, &takes->list[i], amount, apr_time_now());
        }
    }
}

typedef struct given_back_t {
    ac_counters_t *counters;
    ac_takes_t *takes;
} given_back_t;

static void counters_give_back(void *baton)
{
    given_back_t back = *(given_back_t *)baton;
    free(baton);
    for (int i = 0; i < back.takes->n; i++) {
        ac_settle_t settle = {.release = back.takes->list[i].held};
        if (settle.release) {
            back.counters->shared->settle(back.counters->shared_self, back.takes, &back.takes->list[i], &settle);
        }
    }
    free(back.takes);
}

void ac_counters_release(ac_counters_t *counters, ac_takes_t *takes)
{
    if (!takes) {
        return;
    }
    if (takes->shared) {
        given_back_t *back = ac_alloc(sizeof(*back));
        *back = (given_back_t){counters, takes};
        ac_loop_post(counters->loop, counters_give_back, back);
        return;
    }
    ac_limit_table_release(counters->table, takes);
    free(takes);
}
