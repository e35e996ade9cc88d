/* SPDX-License-Identifier: Apache-2.0 */
/* Usage figures: the row that an ended run adds to the daily sums of a store, and the sums of rows for a reader. Pure,
 * so that all stores count the same. */
#include "back.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GROWTH 1.2 /* of the buckets of durations: a percentile is at most 10 % off */
#define LAST_BUCKET 120
#define E8 1e8 /* costs are stored in units of 10^-8, to which a run's cost is rounded: sums are exact */

static const char *const keys[] = {"day", "owner", "agent_id", "model", "status", "error", "currency", "source"};
#define N_KEYS (sizeof(keys) / sizeof(*keys))
static const char *const groups[] = {"day", "agent_id", "model", "owner"};
#define N_GROUPS (sizeof(groups) / sizeof(*groups))
/* The tokens of a run, with the names of the API. */
static const char *const tokens[] = {"prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens",
                                     "reasoning_tokens"};
#define N_TOKENS (sizeof(tokens) / sizeof(*tokens))

/* ---- the row of a run ---- */

static int bucket_of(int64_t ms)
{
    int bucket = ms > 1 ? (int)ceil(log((double)ms) / log(GROWTH) - 1e-9) : 0;
    return bucket > LAST_BUCKET ? LAST_BUCKET : bucket;
}

/* The middle of a bucket. */
static json_int_t bucket_ms(int bucket)
{
    return bucket > 0 ? (json_int_t)llround(pow(GROWTH, bucket - 0.5)) : 1;
}

static void put_duration(json_t *figures, const char *name, const char *sum_name, const json_t *ms)
{
    char bucket[16];
    if (json_is_integer(ms) && json_integer_value(ms) >= 0) {
        snprintf(bucket, sizeof(bucket), "%d", bucket_of(json_integer_value(ms)));
        ac_json_put(figures, name, json_pack("{s:i}", bucket, 1));
        ac_json_put(figures, sum_name, json_integer(json_integer_value(ms)));
    }
}

static json_t *run_figures(const json_t *run)
{
    const json_t *usage = json_object_get(run, "usage"), *cost = json_object_get(run, "cost");
    double amount = json_number_value(json_object_get(cost, "amount"));
    json_t *figures = json_pack("{s:i}", "runs", 1);
    for (size_t i = 0; i < N_TOKENS; i++) {
        int64_t n = ac_json_peek_int(usage, tokens[i], 0);
        if (n) {
            ac_json_put(figures, tokens[i], json_integer((json_int_t)n));
        }
    }
    if (json_is_true(json_object_get(usage, "estimated"))) {
        ac_json_put(figures, "estimated_runs", json_integer(1));
    }
    if (json_is_object(cost)) {
        ac_json_put(figures, "cost_e8", json_integer((json_int_t)llround(amount * E8)));
    }
    put_duration(figures, "first_token", "first_token_ms", json_object_get(run, "ttft_ms"));
    put_duration(figures, "duration", "duration_ms", json_object_get(run, "latency_ms"));
    return figures;
}

json_t *ac_usage_row(const json_t *run, const char *owner)
{
    const char *created = ac_json_peek_string(run, "created_at", "");
    apr_time_t when;
    if (!json_is_object(run) || ac_record_is_active(run) || !ac_time_parse(&when, created)) {
        return NULL;
    }
    return json_pack("{s:s%, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "day", created, (size_t)10, "owner", owner,
                     "agent_id", ac_json_peek_string(run, "agent_id", ""), "model",
                     ac_json_peek_string(run, "model", ""), "status", ac_json_peek_string(run, "status", ""), "error",
                     ac_json_peek_string(json_object_get(run, "error"), "code", ""), "currency",
                     ac_json_peek_string(json_object_get(run, "cost"), "currency", ""), "source", "", "figures",
                     run_figures(run));
}

json_t *ac_usage_call_row(const json_t *call, const char *owner)
{
    const char *made = ac_json_peek_string(call, "made", "title");
    json_t *run = json_copy((json_t *)call), *row, *figures;
    ac_json_put(run, "status", json_string(made));
    row = ac_usage_row(run, owner);
    figures = json_object_get(row, "figures");
    json_object_del(figures, "runs");
    json_object_del(figures, "estimated_runs");
    ac_json_put(figures, strcmp(made, "summary") == 0 ? "summaries" : "titles", json_integer(1));
    json_decref(run);
    return row;
}

json_t *ac_usage_row_key(const json_t *row)
{
    json_t *key = json_array();
    for (size_t i = 0; i < N_KEYS; i++) {
        json_array_append_new(key, ac_json_text(ac_json_peek_string(row, keys[i], "")));
    }
    return key;
}

bool ac_usage_row_valid(const json_t *row)
{
    for (size_t i = 0; i < N_KEYS; i++) {
        if (!json_is_string(json_object_get(row, keys[i]))) {
            return false;
        }
    }
    return strlen(ac_json_peek_string(row, "day", "")) == 10 && json_is_object(json_object_get(row, "figures"));
}

void ac_usage_add(json_t *to, const json_t *figures, int sign)
{
    const char *name;
    json_t *value, *members = (json_t *)figures; /* iterating changes nothing */
    json_object_foreach(members, name, value)
    {
        json_t *old = json_object_get(to, name);
        if (json_is_object(value)) {
            if (!old) {
                old = json_object();
                json_object_set_new(to, name, old);
            }
            ac_usage_add(old, value, sign);
        } else if (json_is_integer(value)) {
            json_int_t sum = json_integer_value(old) + sign * json_integer_value(value);
            if (sum) {
                json_object_set_new(to, name, json_integer(sum));
            } else {
                json_object_del(to, name);
            }
        }
    }
}

/* ---- sums for a reader ---- */

void ac_usage_sum_init(ac_usage_sum_t *sum, const json_t *in)
{
    const json_t *by = json_object_get(in, "by"), *name;
    size_t i;
    *sum = (ac_usage_sum_t){.in = in, .groups = json_object(), .total = json_object()};
    json_array_foreach(by, i, name)
    {
        for (unsigned k = 0; k < N_GROUPS; k++) {
            sum->by |= strcmp(json_string_value(name), groups[k]) == 0 ? 1U << k : 0;
        }
    }
}

/* Whether the row is one of those that the reader wants. */
static bool is_wanted(const ac_usage_sum_t *sum, const json_t *row)
{
    const char *day = ac_json_peek_string(row, "day", "");
    for (size_t i = 1; i < N_GROUPS; i++) {
        const char *wanted = ac_json_peek_string(sum->in, groups[i], NULL);
        if (wanted && strcmp(wanted, ac_json_peek_string(row, groups[i], "")) != 0) {
            return false;
        }
    }
    return strcmp(day, ac_json_peek_string(sum->in, "from", "")) >= 0 &&
        strcmp(day, ac_json_peek_string(sum->in, "to", "~")) <= 0;
}

/* Adds a row to a sum, which also counts runs by status and error, and costs by currency. */
static void group_add(json_t *group, const json_t *row)
{
    const json_t *figures = json_object_get(row, "figures");
    json_int_t runs = json_integer_value(json_object_get(figures, "runs")),
               cost = json_integer_value(json_object_get(figures, "cost_e8"));
    const char *error = ac_json_peek_string(row, "error", ""), *currency = ac_json_peek_string(row, "currency", "");
    json_t *more = json_pack("{s:{s:I}}", "status", ac_json_peek_string(row, "status", ""), runs);
    if (*error) {
        ac_json_put(more, "errors", json_pack("{s:I}", error, runs));
    }
    if (*currency) {
        ac_json_put(more, "costs", json_pack("{s:I}", currency, cost));
    }
    ac_usage_add(group, figures, 1);
    ac_usage_add(group, more, 1);
    json_decref(more);
}

apr_status_t ac_usage_sum_add(ac_usage_sum_t *sum, const json_t *row, ac_err_t *err)
{
    json_t *key = json_array(), *group;
    char *text;
    if (!is_wanted(sum, row)) {
        json_decref(key);
        return APR_SUCCESS;
    }
    for (size_t i = 0; i < N_GROUPS; i++) {
        if (sum->by & 1U << i) {
            json_array_append_new(key, ac_json_text(ac_json_peek_string(row, groups[i], "")));
        }
    }
    text = ac_json_dump(key, NULL);
    json_decref(key);
    group = json_object_get(sum->groups, text ? text : "");
    if (!group) {
        group = json_object();
        json_object_set_new(sum->groups, text ? text : "", group);
    }
    free(text);
    if (json_object_size(sum->groups) > AC_MAX_USAGE_ROWS) {
        return ac_err_set(err, AC_INVALID_REQUEST,
                          "the answer would have more than %d rows; choose a shorter range, or fewer groups",
                          AC_MAX_USAGE_ROWS);
    }
    group_add(group, row);
    group_add(sum->total, row);
    return APR_SUCCESS;
}

/* ---- the answer ---- */

static int compare_buckets(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* {count, mean_ms, p50_ms, p95_ms}, or null. */
static json_t *duration_shown(const json_t *sum, const char *name, const char *sum_name)
{
    static const double shares[] = {0.5, 0.95};
    const char *bucket;
    json_t *count, *histogram = json_object_get(sum, name);
    int buckets[LAST_BUCKET + 1], n = 0;
    json_int_t total = 0, values[2] = {0, 0};
    char text[16];
    json_object_foreach(histogram, bucket, count)
    {
        if (n <= LAST_BUCKET) {
            buckets[n++] = (int)strtol(bucket, NULL, 10);
            total += json_integer_value(count);
        }
    }
    if (total <= 0) {
        return json_null();
    }
    qsort(buckets, (size_t)n, sizeof(*buckets), compare_buckets);
    for (size_t k = 0; k < 2; k++) {
        json_int_t rank = (json_int_t)ceil((double)total * shares[k]), seen = 0;
        for (int i = 0; i < n && seen < rank; i++) {
            snprintf(text, sizeof(text), "%d", buckets[i]);
            seen += json_integer_value(json_object_get(histogram, text));
            values[k] = bucket_ms(buckets[i]);
        }
    }
    return json_pack("{s:I, s:I, s:I, s:I}", "count", total, "mean_ms",
                     (json_int_t)llround((double)ac_json_peek_int(sum, sum_name, 0) / (double)total), "p50_ms",
                     values[0], "p95_ms", values[1]);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The members of an object in order. To be freed; the names belong to the object. */
static const char **names_sorted(const json_t *object)
{
    const char **names = ac_alloc((json_object_size(object) + 1) * sizeof(*names)), *name;
    json_t *value, *members = (json_t *)object;
    size_t n = 0;
    json_object_foreach(members, name, value)
    {
        names[n++] = name;
    }
    qsort(names, n, sizeof(*names), compare_texts);
    return names;
}

static json_t *costs_shown(const json_t *sum)
{
    const json_t *costs = json_object_get(sum, "costs");
    const char **names = names_sorted(costs);
    json_t *shown = json_array();
    for (size_t i = 0; i < json_object_size(costs); i++) {
        json_array_append_new(shown,
                              json_pack("{s:f, s:s}", "amount", (double)ac_json_peek_int(costs, names[i], 0) / E8,
                                        "currency", names[i]));
    }
    free(names);
    return shown;
}

static json_t *sum_shown(const json_t *sum)
{
    static const char *const statuses[] = {"completed", "failed", "cancelled", "interrupted"};
    const json_t *status = json_object_get(sum, "status"), *errors = json_object_get(sum, "errors");
    json_t *shown = json_object(), *usage = json_object(), *by_status = json_object();
    for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++) {
        ac_json_put(by_status, statuses[i], json_integer((json_int_t)ac_json_peek_int(status, statuses[i], 0)));
    }
    for (size_t i = 0; i < N_TOKENS; i++) {
        ac_json_put(usage, tokens[i], json_integer((json_int_t)ac_json_peek_int(sum, tokens[i], 0)));
    }
    ac_json_put(shown, "runs", json_integer((json_int_t)ac_json_peek_int(sum, "runs", 0)));
    ac_json_put(shown, "status", by_status);
    ac_json_put(shown, "errors", errors ? json_deep_copy(errors) : json_object());
    ac_json_put(shown, "usage", usage);
    ac_json_put(shown, "estimated_runs", json_integer((json_int_t)ac_json_peek_int(sum, "estimated_runs", 0)));
    ac_json_put(shown, "titles", json_integer((json_int_t)ac_json_peek_int(sum, "titles", 0)));
    ac_json_put(shown, "summaries", json_integer((json_int_t)ac_json_peek_int(sum, "summaries", 0)));
    ac_json_put(shown, "cost", costs_shown(sum));
    ac_json_put(shown, "first_token", duration_shown(sum, "first_token", "first_token_ms"));
    ac_json_put(shown, "duration", duration_shown(sum, "duration", "duration_ms"));
    return shown;
}

json_t *ac_usage_sum_out(ac_usage_sum_t *sum)
{
    const char **names = names_sorted(sum->groups);
    json_t *data = json_array(), *out;
    for (size_t i = 0; i < json_object_size(sum->groups); i++) {
        const json_t *group = json_object_get(sum->groups, names[i]);
        json_t *key = json_loads(names[i], 0, NULL), *shown;
        size_t at = 0;
        if (ac_json_peek_int(group, "runs", 0) || ac_json_peek_int(group, "total_tokens", 0)) {
            shown = sum_shown(group);
            for (size_t k = 0; k < N_GROUPS; k++) {
                if (sum->by & 1U << k) {
                    ac_json_put(shown, groups[k], json_incref(json_array_get(key, at++)));
                }
            }
            json_array_append_new(data, shown);
        }
        json_decref(key);
    }
    free(names);
    out = json_pack("{s:o, s:o}", "data", data, "totals", sum_shown(sum->total));
    ac_usage_sum_free(sum);
    return out;
}

void ac_usage_sum_free(ac_usage_sum_t *sum)
{
    json_decref(sum->groups);
    json_decref(sum->total);
    *sum = (ac_usage_sum_t){0};
}
