/* SPDX-License-Identifier: Apache-2.0 */
/* OTLP over HTTP: bodies, and the meaning of answers. source: opentelemetry-proto, docs/specification.md,
 * "OTLP/HTTP". */
#include "telemetry.h"

#include <stdio.h>
#include <string.h>

static void encode_spans(ac_buf_t *out, const ac_export_batch_t *batch,
                         void (*encode)(ac_buf_t *, const ac_otlp_resource_t *, const ac_span_t *const *, int))
{
    const ac_span_t **spans = ac_alloc((size_t)batch->n * sizeof *spans);
    for (int i = 0; i < batch->n; i++) {
        spans[i] = batch->items[i]->what;
    }
    encode(out, batch->resource, spans, batch->n);
    free(spans);
}

static void encode_json_traces(void *baton, ac_buf_t *out, const ac_export_batch_t *batch)
{
    (void)baton;
    encode_spans(out, batch, ac_otlp_json_traces);
}

static void encode_protobuf_traces(void *baton, ac_buf_t *out, const ac_export_batch_t *batch)
{
    (void)baton;
    encode_spans(out, batch, ac_otlp_protobuf_traces);
}

static void encode_records(ac_buf_t *out, const ac_export_batch_t *batch,
                           void (*encode)(ac_buf_t *, const ac_otlp_resource_t *, const ac_log_record_t *const *, int))
{
    const ac_log_record_t **records = ac_alloc((size_t)batch->n * sizeof *records);
    for (int i = 0; i < batch->n; i++) {
        records[i] = batch->items[i]->what;
    }
    encode(out, batch->resource, records, batch->n);
    free(records);
}

static void encode_json_logs(void *baton, ac_buf_t *out, const ac_export_batch_t *batch)
{
    (void)baton;
    encode_records(out, batch, ac_otlp_logs_json);
}

static void encode_protobuf_logs(void *baton, ac_buf_t *out, const ac_export_batch_t *batch)
{
    (void)baton;
    encode_records(out, batch, ac_otlp_logs_protobuf);
}

void ac_otlp_export_judge(void *baton, ac_export_verdict_t *verdict, const ac_export_answer_t *answer,
                          const ac_export_batch_t *batch)
{
    ac_otlp_answer_t said;
    int status = answer->status;
    bool ok = status >= 200 && status <= 299;
    (void)baton;
    (void)batch;
    ac_otlp_answer_read(&said, ok, strstr(answer->content_type, "protobuf") != NULL, answer->body, answer->len);
    snprintf(verdict->said, sizeof verdict->said, "%s", said.message);
    verdict->rejected = ok ? (unsigned)said.rejected : 0;
    verdict->result = ok                                                   ? AC_EXPORT_ACCEPTED
        : status == 429 || status == 502 || status == 503 || status == 504 ? AC_EXPORT_AGAIN
                                                                           : AC_EXPORT_REFUSED;
}

const ac_export_format_t *ac_otlp_export_format(ac_signal_e signal, bool protobuf)
{
    static const ac_export_format_t formats[2][2] = {
        {{.content_type = "application/json", .encode = encode_json_traces, .judge = ac_otlp_export_judge},
         {.content_type = "application/x-protobuf", .encode = encode_protobuf_traces, .judge = ac_otlp_export_judge}},
        {{.content_type = "application/json", .encode = encode_json_logs, .judge = ac_otlp_export_judge},
         {.content_type = "application/x-protobuf", .encode = encode_protobuf_logs, .judge = ac_otlp_export_judge}}};
    return signal == AC_SIGNAL_METRICS ? ac_export_metrics_otlp(protobuf)
                                       : &formats[signal == AC_SIGNAL_LOGS][protobuf];
}
