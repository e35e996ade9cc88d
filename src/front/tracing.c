/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a request's span: when the request is logged, in whichever thread that is. A parked stream has ended by
 * then. Source: the semantic conventions for HTTP server spans of OpenTelemetry. */
#include "front_internal.h"

#include <string.h>

#include "ap_mpm.h"
#include "apr_strings.h"

/* The path as the client sent it. Its query may be a person's words. */
static const char *tracing_path(const request_rec *r)
{
    const char *uri = r->unparsed_uri ? r->unparsed_uri : "";
    if (*uri != '/') {
        return r->parsed_uri.path ? r->parsed_uri.path : "/";
    }
    return apr_pstrmemdup(r->pool, uri, strcspn(uri, "?#"));
}

static void describe_request(ac_span_t *span, request_rec *r, const ac_route_t *route)
{
    bool known = r->method_number != M_INVALID;
    /* GET and HEAD have the same number. */
    const char *name = !known       ? "_OTHER"
        : r->header_only            ? "HEAD"
        : r->method_number == M_GET ? "GET"
                                    : ap_method_name_of(r->pool, r->method_number);
    const char *prefix = ac_config_mount_prefix(r);
    ac_span_text(span, AC_ATTRIBUTE_HTTP_REQUEST_METHOD, name);
    if (route) {
        const char *whole = apr_pstrcat(r->pool, prefix ? prefix : "", route->pattern, NULL);
        ac_span_text(span, AC_ATTRIBUTE_HTTP_ROUTE, whole);
        ac_span_name(span, "%s %s", name, whole);
    } else {
        ac_span_name(span, "%s", known ? name : "HTTP");
    }
    ac_span_text(span, AC_ATTRIBUTE_URL_PATH, tracing_path(r));
    ac_span_text(span, AC_ATTRIBUTE_URL_SCHEME, ap_http_scheme(r));
    ac_span_text(span, AC_ATTRIBUTE_NETWORK_PROTOCOL_VERSION,
                 r->proto_num >= HTTP_VERSION(2, 0)       ? "2"
                     : r->proto_num >= HTTP_VERSION(1, 1) ? "1.1"
                                                          : "1.0");
    ac_span_text(span, AC_ATTRIBUTE_USER_AGENT_ORIGINAL, apr_table_get(r->headers_in, "User-Agent"));
    ac_span_text(span, AC_ATTRIBUTE_SERVER_ADDRESS, ap_get_server_name(r));
    ac_span_integer(span, AC_ATTRIBUTE_SERVER_PORT, ap_get_server_port(r));
}

static void describe_run(ac_span_t *span, const ac_request_t *rq)
{
    ac_run_facts_t facts = {.status = NULL};
    if (rq->summary) {
        ac_run_summary_get(rq->summary, &facts);
    }
    if (facts.thread_id[0]) {
        ac_span_text(span, AC_ATTRIBUTE_GEN_AI_CONVERSATION_ID, facts.thread_id);
    }
    ac_span_text(span, AC_ATTRIBUTE_AGENTCHAT_RUN_ID, facts.run_id[0] ? facts.run_id : rq->followed);
    ac_span_text(span, AC_ATTRIBUTE_AGENTCHAT_REQUEST_ID, rq->request_id);
    if (rq->route) {
        ac_span_text(span, AC_ATTRIBUTE_AGENTCHAT_PROTOCOL, ac_metrics_protocol(ac_protocol_id(rq->route)));
    }
    if (rq->streams) {
        ac_span_text(span, AC_ATTRIBUTE_AGENTCHAT_STREAM_OUTCOME, rq->r->connection->aborted ? "disconnected" : "sent");
    }
    if (ac_err_row(facts.error)->http >= 500) {
        ac_span_fail(span, facts.error);
    }
    if (ac_err_row(rq->err.kind)->http >= 500) {
        ac_span_fail(span, rq->err.kind);
    }
}

int ac_tracing_end(request_rec *r)
{
    if (!ac_span_on()) {
        return DECLINED;
    }
    ac_request_t *rq = ac_request_get(r);
    const request_rec *last = r;
    if (!rq && !ac_route_is_ours(r)) {
        return DECLINED;
    }
    if (!rq || !rq->path) { /* httpd has refused the request before its handler */
        rq = rq ? rq : ac_request_create(r);
        rq->route = ac_route_of(r);
        ac_request_trace_begin(rq);
    }
    ac_span_t *span = rq->span;
    if (!span) {
        return DECLINED;
    }
    while (last->next) {
        last = last->next; /* an error page of httpd's has the status that the client got */
    }
    rq->span = NULL;
    span->started = r->request_time;
    describe_request(span, r, rq->route);
    describe_run(span, rq);
    ac_span_integer(span, AC_ATTRIBUTE_HTTP_RESPONSE_STATUS_CODE, last->status);
    ac_span_integer(span, AC_ATTRIBUTE_HTTP_RESPONSE_BODY_SIZE, last->bytes_sent);
    if (last->status >= 500) {
        ac_span_fail_status(span, last->status);
    }
    ac_span_end(span);
    return DECLINED;
}
