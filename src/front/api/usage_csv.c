/* SPDX-License-Identifier: Apache-2.0 */
/* Usage as CSV (RFC 4180): a line for each group, with a column for each currency and each error that occurs. */
#include "api_internal.h"

#include <string.h>

#include "apr_strings.h"

#define NAMES_MOST 64 /* currencies, or errors */

typedef struct names_t {
    const char *list[NAMES_MOST];
    int n;
} names_t;

/* Adds a name if it is new, in order. More than NAMES_MOST have no column. */
static void names_add(names_t *names, const char *name)
{
    int at = 0;
    while (at < names->n && strcmp(names->list[at], name) < 0) {
        at++;
    }
    if ((at < names->n && strcmp(names->list[at], name) == 0) || names->n == NAMES_MOST) {
        return;
    }
    memmove(names->list + at + 1, names->list + at, (size_t)(names->n - at) * sizeof(*names->list));
    names->list[at] = name;
    names->n++;
}

/* A cell of text. A leading sign that a spreadsheet takes for a formula gets an apostrophe before it. */
static void csv_add_text(ac_buf_t *buf, const char *text)
{
    bool formula = *text && strchr("=+-@\t\r", *text);
    ac_buf_str(buf, formula ? "\"'" : "\"");
    for (const char *at = text; *at; at++) {
        ac_buf_add(buf, *at == '"' ? "\"\"" : at, *at == '"' ? 2 : 1);
    }
    ac_buf_str(buf, "\",");
}

static void csv_add_number(ac_buf_t *buf, const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    if (json_is_integer(value)) {
        ac_buf_printf(buf, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    }
    ac_buf_str(buf, ",");
}

static const char *const group_names[] = {"day", "agent_id", "model", "owner", NULL};
static const char *const status_names[] = {"completed", "failed", "cancelled", "interrupted", NULL};
static const char *const token_names[] = {"prompt_tokens", "completion_tokens", "total_tokens",
                                          "cached_tokens", "reasoning_tokens",  NULL};
static const char *const duration_names[] = {"count", "mean_ms", "p50_ms", "p95_ms", NULL};

static void add_heads(ac_buf_t *buf, const char *prefix, const char *const *names)
{
    for (; *names; names++) {
        ac_buf_printf(buf, "%s%s,", prefix, *names);
    }
}

static void add_numbers(ac_buf_t *buf, const json_t *object, const char *const *names)
{
    for (; *names; names++) {
        csv_add_number(buf, object, *names);
    }
}

/* Ends a line, whose last comma is dropped. */
static void csv_end_line(ac_buf_t *buf)
{
    if (buf->len > 0) {
        buf->len--;
    }
    ac_buf_str(buf, "\r\n");
}

static void add_header(ac_buf_t *buf, const json_t *first, const names_t *currencies, const names_t *errors)
{
    for (int i = 0; group_names[i]; i++) {
        if (json_object_get(first, group_names[i])) {
            ac_buf_printf(buf, "%s,", group_names[i]);
        }
    }
    ac_buf_str(buf, "runs,");
    add_heads(buf, "", status_names);
    add_heads(buf, "", token_names);
    ac_buf_str(buf, "estimated_runs,titles,summaries,");
    for (int i = 0; i < currencies->n; i++) {
        ac_buf_printf(buf, "cost_%s,", currencies->list[i]);
    }
    add_heads(buf, "first_token_", duration_names);
    add_heads(buf, "duration_", duration_names);
    for (int i = 0; i < errors->n; i++) {
        ac_buf_printf(buf, "error_%s,", errors->list[i]);
    }
    csv_end_line(buf);
}

static void add_costs(ac_buf_t *buf, const json_t *costs, const names_t *currencies)
{
    const json_t *cost;
    size_t i;
    for (int k = 0; k < currencies->n; k++) {
        json_array_foreach(costs, i, cost)
        {
            if (strcmp(ac_json_peek_string(cost, "currency", ""), currencies->list[k]) == 0) {
                ac_buf_printf(buf, "%.8f", json_real_value(json_object_get(cost, "amount")));
            }
        }
        ac_buf_str(buf, ",");
    }
}

static void add_group(ac_buf_t *buf, const json_t *group, const names_t *currencies, const names_t *errors)
{
    for (int i = 0; group_names[i]; i++) {
        const char *value = ac_json_peek_string(group, group_names[i], NULL);
        if (value && i == 0) {
            ac_buf_printf(buf, "%s,", value);
        } else if (value) {
            csv_add_text(buf, value);
        }
    }
    csv_add_number(buf, group, "runs");
    add_numbers(buf, json_object_get(group, "status"), status_names);
    add_numbers(buf, json_object_get(group, "usage"), token_names);
    csv_add_number(buf, group, "estimated_runs");
    csv_add_number(buf, group, "titles");
    csv_add_number(buf, group, "summaries");
    add_costs(buf, json_object_get(group, "cost"), currencies);
    add_numbers(buf, json_object_get(group, "first_token"), duration_names);
    add_numbers(buf, json_object_get(group, "duration"), duration_names);
    for (int i = 0; i < errors->n; i++) {
        csv_add_number(buf, json_object_get(group, "errors"), errors->list[i]);
    }
    csv_end_line(buf);
}

static apr_status_t buf_free(void *buf)
{
    ac_buf_free(buf);
    return APR_SUCCESS;
}

const char *ac_usage_csv_text(apr_pool_t *p, const json_t *out, size_t *plen)
{
    const json_t *data = json_object_get(out, "data"), *totals = json_object_get(out, "totals"), *item;
    ac_buf_t *buf = apr_palloc(p, sizeof(*buf));
    names_t currencies = {.n = 0}, errors = {.n = 0};
    const char *name;
    json_t *count;
    size_t i;
    ac_buf_init(buf, AC_MAX_JSON_TEXT);
    apr_pool_cleanup_register(p, buf, buf_free, apr_pool_cleanup_null);
    json_array_foreach(json_object_get(totals, "cost"), i, item)
    {
        names_add(&currencies, ac_json_peek_string(item, "currency", ""));
    }
    json_object_foreach(json_object_get(totals, "errors"), name, count)
    {
        names_add(&errors, name);
    }
    add_header(buf, json_array_get(data, 0), &currencies, &errors);
    json_array_foreach(data, i, item)
    {
        add_group(buf, item, &currencies, &errors);
    }
    *plen = buf->len;
    return ac_buf_str(buf, "") == APR_SUCCESS ? buf->data : NULL;
}
