/* SPDX-License-Identifier: Apache-2.0 */
/* GET /metrics, and the handler agentchat-metrics: what all children of this server have counted. */
#include "api.h"

#define METRICS_MAX (64 * 1024 * 1024) /* bytes of the answer */

static apr_status_t metrics_free(void *out)
{
    ac_buf_free(out);
    return APR_SUCCESS;
}

int ac_api_metrics_get(ac_request_t *rq)
{
    ac_metrics_format_e format = ac_metrics_text_format(apr_table_get(rq->r->headers_in, "Accept"));
    ac_buf_t *out = apr_palloc(rq->r->pool, sizeof(*out));
    ac_buf_init(out, METRICS_MAX);
    apr_pool_cleanup_register(rq->r->pool, out, metrics_free, apr_pool_cleanup_null);
    if (ac_metrics_front_text(out, format) != APR_SUCCESS) {
        ac_err_set(&rq->err, AC_INTERNAL, "the metrics could not be written");
        return ac_reply_problem(rq, NULL);
    }
    apr_table_mergen(rq->r->headers_out, "Vary", "Accept");
    return ac_reply_text(rq, format == AC_METRICS_OPENMETRICS ? AC_METRICS_OPENMETRICS_TYPE : AC_METRICS_TEXT_TYPE,
                         out->data, out->len);
}
