/* SPDX-License-Identifier: Apache-2.0 */
/* GET /usage: what runs have used, by day and other groups. The role admin sees all owners, every other caller its
 * own. */
#include "api_internal.h"

#include <string.h>

#include "apr_strings.h"

#define DAY_SIZE 11
#define DAYS_DEFAULT 30
#define DAYS_MOST 366
#define VALUE_MOST 255 /* bytes of a filter */

typedef struct usage_query_t {
    const char *owner; /* whose runs; NULL: those of all */
    json_t *in;        /* of the store's operation */
    bool csv;
} usage_query_t;

/* ---- the query ---- */

static apr_status_t usage_read_day(ac_request_t *rq, apr_time_t *pday, const char *name, apr_time_t fallback)
{
    const char *text = ac_query_get(rq, name);
    if (!text) {
        *pday = fallback;
        return APR_SUCCESS;
    }
    return strlen(text) == DAY_SIZE - 1 && ac_time_parse(pday, text)
        ? APR_SUCCESS
        : ac_err_set(&rq->err, AC_INVALID_REQUEST, "%s must be a day like 2026-01-31", name);
}

static void put_day(json_t *in, const char *name, apr_time_t day)
{
    char text[AC_TIME_SIZE];
    ac_time_format(text, day);
    ac_json_put(in, name, json_stringn(text, DAY_SIZE - 1));
}

static apr_status_t usage_read_range(ac_request_t *rq, json_t *in)
{
    apr_time_t day = apr_time_from_sec(86400), today = apr_time_now() / day * day, from = 0, to = 0;
    apr_status_t status = usage_read_day(rq, &to, "to", today);
    if (status == APR_SUCCESS) {
        status = usage_read_day(rq, &from, "from", to - (DAYS_DEFAULT - 1) * day);
    }
    if (status == APR_SUCCESS && from > to) {
        status = ac_err_set(&rq->err, AC_INVALID_REQUEST, "from is after to");
    }
    if (status == APR_SUCCESS && to - from >= DAYS_MOST * day) {
        status = ac_err_set(&rq->err, AC_INVALID_REQUEST, "from and to may be %d days at most", DAYS_MOST);
    }
    if (status == APR_SUCCESS) {
        put_day(in, "from", from);
        put_day(in, "to", to);
    }
    return status;
}

static apr_status_t read_groups(ac_request_t *rq, json_t *in)
{
    static const struct {
        const char *name, *member;
    } groups[] = {{"day", "day"}, {"agent", "agent_id"}, {"model", "model"}, {"owner", "owner"}};
    const char *text = ac_query_get(rq, "by");
    json_t *by = json_array();
    char *state, *list = apr_pstrdup(rq->r->pool, text ? text : "day");
    ac_json_put(in, "by", by);
    for (char *word = apr_strtok(list, ",", &state); word; word = apr_strtok(NULL, ",", &state)) {
        size_t i = 0;
        while (i < 4 && strcmp(word, groups[i].name) != 0) {
            i++;
        }
        if (i == 4) {
            return ac_err_set(&rq->err, AC_INVALID_REQUEST, "by may have day, agent, model and owner");
        }
        json_array_append_new(by, json_string(groups[i].member));
    }
    return APR_SUCCESS;
}

static apr_status_t usage_read_filters(ac_request_t *rq, json_t *in)
{
    static const char *const names[] = {"agent_id", "model", NULL};
    for (int i = 0; names[i]; i++) {
        const char *value = ac_query_get(rq, names[i]);
        if (value && strlen(value) > VALUE_MOST) {
            return ac_err_set(&rq->err, AC_INVALID_REQUEST, "%s may have %d bytes at most", names[i], VALUE_MOST);
        }
        if (value) {
            ac_json_put(in, names[i], ac_json_text(value));
        }
    }
    return APR_SUCCESS;
}

/* `owner` is a filter of admins; every other caller may name itself only. */
static apr_status_t read_owner(ac_request_t *rq, usage_query_t *query)
{
    const char *owner = ac_query_get(rq, "owner");
    bool admin = ac_principal_has(rq->principal, AC_ROLE_ADMIN);
    query->owner = admin ? owner : rq->owner;
    if (!admin && owner && strcmp(owner, rq->owner) != 0) {
        return ac_err_set(&rq->err, AC_FORBIDDEN, "the usage of other owners needs the role %s", AC_ROLE_ADMIN);
    }
    if (owner && ac_store_owner_problem(owner)) {
        return ac_err_set(&rq->err, AC_INVALID_REQUEST, "owner %s", ac_store_owner_problem(owner));
    }
    return APR_SUCCESS;
}

static apr_status_t read_format(ac_request_t *rq, usage_query_t *query)
{
    const char *format = ac_query_get(rq, "format");
    query->csv = format ? strcmp(format, "csv") == 0 : ac_request_prefers_csv(rq);
    return !format || query->csv || strcmp(format, "json") == 0
        ? APR_SUCCESS
        : ac_err_set(&rq->err, AC_INVALID_REQUEST, "format must be json or csv");
}

static apr_status_t query_read(ac_request_t *rq, usage_query_t *query)
{
    apr_status_t status = usage_read_range(rq, query->in);
    if (status == APR_SUCCESS) {
        status = read_groups(rq, query->in);
    }
    if (status == APR_SUCCESS) {
        status = usage_read_filters(rq, query->in);
    }
    if (status == APR_SUCCESS) {
        status = read_owner(rq, query);
    }
    return status == APR_SUCCESS ? read_format(rq, query) : status;
}

/* ---- the answer ---- */

static int reply_csv(ac_request_t *rq, const json_t *out, const json_t *in)
{
    const char *name = apr_psprintf(rq->r->pool, "attachment; filename=\"usage_%s_%s.csv\"",
                                    ac_json_peek_string(in, "from", ""), ac_json_peek_string(in, "to", ""));
    size_t len;
    const char *text = ac_usage_csv_text(rq->r->pool, out, &len);
    if (!text) {
        ac_err_set(&rq->err, AC_INTERNAL, "out of memory");
        return ac_reply_problem(rq, NULL);
    }
    apr_table_setn(rq->r->headers_out, "Content-Disposition", name);
    return ac_reply_text(rq, "text/csv; charset=utf-8; header=present", text, len);
}

static int reply_usage(ac_request_t *rq, const usage_query_t *query, const json_t *out)
{
    json_t *answer;
    if (query->csv) {
        return reply_csv(rq, out, query->in);
    }
    answer = json_pack("{s:O, s:O, s:s, s:O, s:O}", "from", json_object_get(query->in, "from"), "to",
                       json_object_get(query->in, "to"), "scope",
                       ac_principal_has(rq->principal, AC_ROLE_ADMIN) ? "all" : "own", "data",
                       json_object_get(out, "data"), "totals", json_object_get(out, "totals"));
    return ac_reply_json(rq, HTTP_OK, answer);
}

int ac_api_usage_get(ac_request_t *rq)
{
    bool admin = ac_principal_has(rq->principal, AC_ROLE_ADMIN);
    usage_query_t query = {.in = json_object()};
    ac_store_op_t *op, *result;
    int answer;
    rq->doing = "reading the usage";
    if (query_read(rq, &query) != APR_SUCCESS) {
        json_decref(query.in);
        return ac_reply_problem(rq, NULL);
    }
    if (admin) {
        rq->audit.event = AC_AUDIT_ADMIN_USED;
    }
    op = query.owner ? ac_store_op_create(AC_STORE_USAGE_SUM, query.owner, NULL)
                     : ac_store_op_create(AC_STORE_USAGE_SUM_ALL, NULL, NULL);
    if (op) {
        op->in = json_deep_copy(query.in); /* it is used on another thread */
    }
    answer = ac_request_store(rq, op, &result) == APR_SUCCESS ? reply_usage(rq, &query, result->out)
                                                              : ac_reply_problem(rq, NULL);
    json_decref(query.in);
    return answer;
}
