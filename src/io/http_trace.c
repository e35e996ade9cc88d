/* SPDX-License-Identifier: Apache-2.0 */
/* The trace context that a request carries, and the spans of its attempts. Sources: W3C Trace Context, section 3;
 * OpenTelemetry semantic conventions 1.44.0, HTTP client spans. */
#include "io_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ac_http_trace_init(ac_http_trace_t *trace, const ac_http_request_t *request)
{
    if (request->trace && *request->trace->trace_id) {
        trace->context = request->trace;
        trace->spans = request->spans && ac_span_on() && request->trace->sampled;
        trace->url_template = trace->spans && request->url_template ? strdup(request->url_template) : NULL;
    }
}

/* The method of the attribute: one that is not known could be anything. */
static const char *known_method(const char *method)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "QUERY"};
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (strcmp(methods[i], method) == 0) {
            return method;
        }
    }
    return "_OTHER";
}

/* The path of an URL; "": it has none. */
static const char *path_of(const char *url)
{
    const char *host = strstr(url, "://");
    return host ? host + 3 + strcspn(host + 3, "/") : "";
}

/* What is behind the host may be made of people's words: only contents that are allowed, and never a query. */
static void http_trace_describe_url(ac_span_t *span, const ac_http_trace_t *trace, const char *url, bool redirected)
{
    const char *shown = ac_span_wants(AC_CONTENT_TOOLS) ? url : redirected ? NULL : trace->url_template;
    if (trace->url_template && !redirected) {
        char *path = strdup(path_of(trace->url_template));
        if (path) {
            path[strcspn(path, "?#")] = '\0';
            ac_span_text(span, AC_ATTRIBUTE_URL_TEMPLATE, *path ? path : "/");
        }
        free(path);
    }
    char *full = shown ? strdup(shown) : NULL;
    if (full) {
        full[strcspn(full, "?#")] = '\0';
        ac_span_text(span, AC_ATTRIBUTE_URL_FULL, full);
    }
    free(full);
}

static void http_trace_describe(ac_http_trace_t *trace, const ac_http_request_copy_t *copy)
{
    char host[AC_HOST_SIZE];
    int port;
    ac_span_t *span = trace->span;
    const char *method = known_method(copy->request.method);
    ac_span_name(span, "%s", *method == '_' ? "HTTP" : method);
    ac_span_text(span, AC_ATTRIBUTE_HTTP_REQUEST_METHOD, method);
    if (ac_http_address_server(host, &port, copy->url)) {
        ac_span_text(span, AC_ATTRIBUTE_SERVER_ADDRESS, host);
        ac_span_integer(span, AC_ATTRIBUTE_SERVER_PORT, port);
    }
    http_trace_describe_url(span, trace, copy->url, strcmp(copy->url, copy->origin_url) != 0);
    if (trace->n_sent > 1) {
        ac_span_integer(span, AC_ATTRIBUTE_HTTP_REQUEST_RESEND_COUNT, trace->n_sent - 1);
    }
}

void ac_http_trace_begin(ac_http_trace_t *trace, ac_http_request_copy_t *copy)
{
    char text[AC_TRACEPARENT_SIZE];
    trace->n_sent++;
    trace->span = trace->spans ? ac_span_begin(AC_SPAN_HTTP, trace->context) : NULL;
    if (trace->span) {
        http_trace_describe(trace, copy);
    }
    if (copy->traceparent) {
        ac_trace_format(ac_span_trace(trace->span, trace->context), text);
        /* Without a value curl sends no such header. */
        snprintf(copy->traceparent, AC_HTTP_TRACEPARENT_ROOM, "%s%s", AC_HTTP_TRACEPARENT, text);
    }
}

void ac_http_trace_end(ac_http_trace_t *trace, const ac_http_answer_t *answer, ac_kind_e kind)
{
    ac_span_t *span = trace->span;
    trace->span = NULL;
    if (!span) {
        return;
    }
    if (answer->status) {
        ac_span_integer(span, AC_ATTRIBUTE_HTTP_RESPONSE_STATUS_CODE, answer->status);
    }
    if (answer->status >= 400) {
        ac_span_fail_status(span, answer->status);
    }
    ac_span_fail(span, kind);
    ac_span_end(span);
}

void ac_http_trace_free(ac_http_trace_t *trace)
{
    ac_span_fail(trace->span, AC_CANCELLED);
    ac_span_end(trace->span);
    trace->span = NULL;
    free(trace->url_template);
    trace->url_template = NULL;
}
