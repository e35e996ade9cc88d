/* SPDX-License-Identifier: Apache-2.0 */
/* Server-Timing: how long an answer took, and where. Source: W3C Server Timing. */
#include "request.h"

static bool may_see(const ac_request_t *rq)
{
    switch (rq->mount->server_timing) {
    case 0: return false;
    case 1: return true;
    default: return rq->principal && ac_principal_has(rq->principal, AC_ROLE_ADMIN);
    }
}

/* Milliseconds with three places; no locale changes the point. */
static const char *milliseconds(apr_interval_time_t time, apr_pool_t *p)
{
    apr_int64_t value = time > 0 ? time : 0;
    return apr_psprintf(p, "%" APR_INT64_T_FMT ".%03d", value / 1000, (int)(value % 1000));
}

void ac_timing_add(request_rec *r, const ac_quota_t *quota)
{
    const ac_request_t *rq = ac_request_get(r);
    if (!rq || !may_see(rq)) {
        return;
    }
    ac_quota_t *times = (ac_quota_t *)quota;
    apr_interval_time_t store = rq->store_time + (quota ? atomic_load(&times->store_time) : 0);
    apr_interval_time_t model = quota ? atomic_load(&times->model_time) : 0;
    apr_interval_time_t tool = quota ? atomic_load(&times->tool_time) : 0;
    apr_interval_time_t own = apr_time_now() - r->request_time - store - model - tool;
    const char *text = apr_pstrcat(r->pool, "own;dur=", milliseconds(own, r->pool),
                                   ", store;dur=", milliseconds(store, r->pool), NULL);
    if (quota) {
        text = apr_pstrcat(r->pool, text, ", model;dur=", milliseconds(model, r->pool),
                           ", tool;dur=", milliseconds(tool, r->pool), NULL);
    }
    apr_table_setn(r->headers_out, "Server-Timing", text);
}
