/* SPDX-License-Identifier: Apache-2.0 */
/* Passes a stream's bytes to httpd's output filters: the response head, then the rendered events. */
#include "stream_internal.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "apr_strings.h"

#define KEEPALIVE 10 /* seconds between probes: the system of a client that has gone answers them with a reset */

static void set_stream_head(const ac_stream_t *stream, request_rec *r)
{
    ap_set_content_type(r, stream->render.dialect->media_type);
    apr_table_setn(r->headers_out, "Cache-Control", "no-cache, no-transform");
    apr_table_setn(r->headers_out, "X-Accel-Buffering", "no");
}

static void set_document_head(const ac_stream_t *stream, request_rec *r)
{
    const ac_dialect_t *dialect = stream->render.dialect;
    ap_set_content_type(r, dialect->document_type ? dialect->document_type : dialect->media_type);
    r->status = stream->render.status ? stream->render.status : HTTP_OK;
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    ap_set_content_length(r, (apr_off_t)stream->out.len);
}

/* Sets status and header fields, before the first byte. */
static void set_head(ac_stream_t *stream, request_rec *r)
{
    const ac_quota_fields_t *fields = ac_quota_fields(stream->quota);
    stream->head_sent = true;
    if (fields) {
        ac_limits_fields(r, &fields->policy, &fields->left);
    }
    apr_table_setn(r->headers_out, "X-Content-Type-Options", "nosniff");
    ac_timing_add(r, stream->quota);
    switch (stream->response) {
    case AC_RESPONSE_PROBLEM:
        ac_problem_headers(r, stream->problem, stream->render.run_id[0]);
        ap_set_content_length(r, (apr_off_t)stream->out.len);
        break;
    case AC_RESPONSE_DOCUMENT: set_document_head(stream, r); break;
    case AC_RESPONSE_EMPTY: r->status = HTTP_NO_CONTENT; break;
    default: set_stream_head(stream, r);
    }
}

/* len bytes are handed to httpd. */
static void drop_sent(ac_stream_t *stream, size_t len)
{
    ac_buf_t *out = &stream->out;
    stream->out_start += len;
    stream->bytes_written += len;
    ac_activity_add_bytes(stream->activity, len);
    if (stream->out_start < out->len && stream->response != AC_RESPONSE_STREAM) {
        return;
    }
    if (stream->out_start < out->len) {
        /* Bytes that httpd has must not count as waiting. */
        ac_buf_shift(out, stream->out_start);
    } else if (out->size > AC_FLUSH_MAX) {
        ac_buf_free(out);
    } else {
        ac_buf_clear(out);
    }
    stream->out_start = 0;
}

bool ac_stream_output_is_last(const ac_stream_t *stream)
{
    return stream->ended && stream->out.len - stream->out_start <= AC_FLUSH_MAX;
}

apr_status_t ac_stream_output_flush(ac_stream_t *stream, request_rec *r, apr_bucket_brigade *brigade, bool end)
{
    conn_rec *c = r->connection;
    apr_bucket_alloc_t *alloc = c->bucket_alloc;
    bool last = end && ac_stream_output_is_last(stream);
    size_t len = stream->out.len - stream->out_start;
    len = len < AC_FLUSH_MAX ? len : AC_FLUSH_MAX;
    if (!stream->head_sent) {
        set_head(stream, r);
    }
    if (len) {
        const char *bytes = stream->out.data + stream->out_start;
        APR_BRIGADE_INSERT_TAIL(brigade, apr_bucket_transient_create(bytes, len, alloc));
    }
    APR_BRIGADE_INSERT_TAIL(brigade, last ? apr_bucket_eos_create(alloc) : apr_bucket_flush_create(alloc));
    apr_status_t status = ap_pass_brigade(r->output_filters, brigade);
    apr_brigade_cleanup(brigade);
    if (last && status == APR_SUCCESS) {
        /* A request's filters expect nothing after EOS. */
        APR_BRIGADE_INSERT_TAIL(brigade, apr_bucket_flush_create(alloc));
        status = ap_pass_brigade(c->output_filters, brigade);
        apr_brigade_cleanup(brigade);
    }
    stream->eos_sent = last;
    drop_sent(stream, len);
    return status;
}

apr_status_t ac_stream_output_probe(ac_stream_t *stream, request_rec *r, apr_bucket_brigade *brigade)
{
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    conn_rec *c = r->connection;
    bool http10 = r->proto_num < HTTP_VERSION(1, 1);
    if (ac_stream_has_output(stream)) {
        return APR_SUCCESS; /* those bytes get the same answer */
    }
    if (stream->head_sent || http10) {
        ac_stream_heartbeat(stream); /* nothing for a document over HTTP/1.0, which has no interim responses either */
        return APR_SUCCESS;
    }
    /* The status is not decided yet, and a document can have no other bytes before its own. */
    APR_BRIGADE_INSERT_TAIL(brigade, apr_bucket_immortal_create(interim, sizeof(interim) - 1, c->bucket_alloc));
    APR_BRIGADE_INSERT_TAIL(brigade, apr_bucket_flush_create(c->bucket_alloc));
    apr_status_t status = ap_pass_brigade(c->output_filters, brigade);
    apr_brigade_cleanup(brigade);
    return status;
}

void ac_stream_output_set_keepalive(int fd, apr_interval_time_t timeout)
{
    unsigned ms = timeout > 0 ? (unsigned)apr_time_as_msec(timeout) : 0;
    int on = 1, every = KEEPALIVE;
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &every, sizeof(every));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}
