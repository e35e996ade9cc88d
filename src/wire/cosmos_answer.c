/* SPDX-License-Identifier: Apache-2.0 */
/* Responses of Cosmos DB: the reaction to each status, its error text, and the results of a batch. */
#include "wire.h"

#include <string.h>

#define ANY (-1)
#define CLOCK_OFF apr_time_from_sec(600) /* the service refuses a clock that differs by 15 minutes */

/* The first matching row counts. source: Cosmos DB's "HTTP status codes", and the retry policies of its SDKs. */
static const struct {
    int status, substatus;
    ac_cosmos_next_e next;
    bool usable;
    const char *detail;
} rows[] = {
    {304, ANY, AC_COSMOS_FINAL, true, ""},
    {400, 1001, AC_COSMOS_FINAL, false, "Cosmos DB refused a document for its partition key; look at the container's"},
    {401, 5202, AC_COSMOS_FINAL, false, "keys are switched off for this account (401/5202); use credential=identity"},
    {401, ANY, AC_COSMOS_REJECTED, false,
     "Cosmos DB refused the key or token (401); give a key of this account, or an "
     "identity of its tenant, as credential="},
    {403, 3, AC_COSMOS_MOVED, false, "Cosmos DB does not write in this region (403/3)"},
    {403, 1008, AC_COSMOS_MOVED, false, "the account is no longer in this region (403/1008)"},
    {403, 5300, AC_COSMOS_REJECTED, false,
     "Cosmos DB refused the token (403/5300): it has expired, or an identity asked for what no "
     "identity may do"},
    {403, 5301, AC_COSMOS_FINAL, false,
     "the identity has no data role on this account (403/5301); give it one, like "
     "\"Cosmos DB Built-in Data Contributor\""},
    {403, 5302, AC_COSMOS_FINAL, false,
     "the identity's data role does not allow this (403/5302); give it one that reads and writes, "
     "like \"Cosmos DB Built-in Data Contributor\""},
    {403, 5303, AC_COSMOS_FINAL, false,
     "the identity's data role does not allow this (403/5303); give it one that reads and writes, "
     "like \"Cosmos DB Built-in Data Contributor\""},
    {403, 5400, AC_COSMOS_FINAL, false,
     "the identity has no data role on this account (403/5400); give it one, like "
     "\"Cosmos DB Built-in Data Contributor\""},
    {403, 5202, AC_COSMOS_FINAL, false, "keys are switched off for this account (403/5202); use credential=identity"},
    {403, 1014, AC_COSMOS_FINAL, false,
     "a logical partition is full, 20 GB (403/1014); delete what this thread or owner "
     "has too much of"},
    {403, ANY, AC_COSMOS_FINAL, false,
     "Cosmos DB does not allow it (403); look at the account's firewall, the "
     "identity's roles, and this machine's clock"},
    {404, 1002, AC_COSMOS_BEHIND, false, "the replicas of Cosmos DB are behind (404/1002)"},
    {404, 1003, AC_COSMOS_FINAL, false, "the database or a container is missing (404/1003)"},
    {404, ANY, AC_COSMOS_FINAL, true, ""},
    {408, ANY, AC_COSMOS_AGAIN, false, "Cosmos DB took too long (408)"},
    {409, ANY, AC_COSMOS_FINAL, true, ""},
    {410, ANY, AC_COSMOS_AGAIN, false, "a partition of Cosmos DB is being moved (410)"},
    {412, ANY, AC_COSMOS_FINAL, true, ""},
    {413, ANY, AC_COSMOS_FINAL, false, "a document or request is over the 2 MB that Cosmos DB takes (413)"},
    {423, ANY, AC_COSMOS_AGAIN, false, "the throughput is being changed (423)"},
    {429, ANY, AC_COSMOS_THROTTLED, false, "the request units of Cosmos DB are used up (429); raise the throughput"},
    {449, ANY, AC_COSMOS_CONTENDED, false, "too many writes to one document (449)"},
    {500, ANY, AC_COSMOS_AGAIN, false, "Cosmos DB failed (500)"},
    {502, ANY, AC_COSMOS_AGAIN, false, "Cosmos DB could not be reached behind its gateway (502)"},
    {503, ANY, AC_COSMOS_AGAIN, false, "Cosmos DB is not available (503)"},
    {504, ANY, AC_COSMOS_AGAIN, false, "Cosmos DB took too long (504)"},
};

static int cosmos_answer_find_row(int status, int substatus)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        if (rows[i].status == status && (rows[i].substatus == ANY || rows[i].substatus == substatus)) {
            return (int)i;
        }
    }
    return -1;
}

ac_cosmos_next_e ac_cosmos_answer_next(int status, int substatus)
{
    int row = cosmos_answer_find_row(status, substatus);

    return row >= 0 ? rows[row].next : AC_COSMOS_FINAL;
}

bool ac_cosmos_answer_usable(int status, int substatus)
{
    int row = cosmos_answer_find_row(status, substatus);

    return (status >= 200 && status < 300) || (row >= 0 && rows[row].usable);
}

apr_status_t ac_cosmos_answer_error(ac_err_t *err, int status, int substatus, apr_interval_time_t skew)
{
    int row = cosmos_answer_find_row(status, substatus);
    char text[AC_TIME_SIZE];
    apr_status_t result;

    if (status == 403 && substatus == 0 && (skew > CLOCK_OFF || skew < -CLOCK_OFF)) {
        /* Precision of a minute is enough. */
        ac_time_format_duration(text, apr_time_from_sec((apr_time_sec(skew < 0 ? -skew : skew) + 30) / 60 * 60));
        result = ac_err_set(err, AC_STORE_ERROR,
                            "Cosmos DB refused the date (403): this machine's clock is %s %s; set it, "
                            "best by NTP",
                            text, skew > 0 ? "behind" : "ahead");
    } else if (row >= 0 && *rows[row].detail) {
        bool late = status == 408 || status == 504;
        result = ac_err_set(err, late ? AC_STORE_TIMEOUT : AC_STORE_ERROR, "%s", rows[row].detail);
    } else {
        result = ac_err_set(err, AC_STORE_ERROR, "Cosmos DB answered with status %d/%d", status, substatus);
    }
    if (err && !err->http_status) {
        err->http_status = status;
    }
    return result;
}

/* ---- batches ---- */

apr_status_t ac_cosmos_answer_batch(int *pstatus, int *psubstatus, int *pat, const json_t *body, int n, ac_err_t *err)
{
    const json_t *result;
    size_t i;
    int dragged = -1;

    *pstatus = 200;
    *psubstatus = 0;
    *pat = -1;
    if (!json_is_array(body) || json_array_size(body) != (size_t)n) {
        return ac_err_set(err, AC_STORE_ERROR, "Cosmos DB's answer to a batch has not one result for each operation");
    }
    json_array_foreach(body, i, result)
    {
        int64_t status = ac_json_peek_int(result, "statusCode", 0);
        if (status >= 200 && status < 300) {
            continue;
        }
        if (status == 424) { /* it failed because of another operation */
            dragged = dragged < 0 ? (int)i : dragged;
        } else if (*pat < 0) {
            *pat = (int)i;
            *pstatus = status >= 100 && status < 600 ? (int)status : 500;
            *psubstatus = (int)ac_json_peek_int(result, "subStatusCode", ac_json_peek_int(result, "substatusCode", 0));
        }
    }
    if (*pat < 0 && dragged >= 0) {
        *pat = dragged;
        *pstatus = 424;
    }
    return APR_SUCCESS;
}

const char *ac_cosmos_answer_batch_etag(const json_t *body, int i)
{
    return ac_json_peek_string(json_array_get(body, (size_t)i), "eTag", "");
}

apr_interval_time_t ac_cosmos_answer_retry_after(const char *text)
{
    char *end;
    double value;

    if (!text || !strchr("0123456789.", *text) || !*text) {
        return 0;
    }
    value = strtod(text, &end);
    return *end || value < 0 || value > 3600e3 ? 0 : (apr_interval_time_t)(value * 1000);
}
