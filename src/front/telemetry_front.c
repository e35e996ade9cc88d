/* SPDX-License-Identifier: Apache-2.0 */
/* The telemetry of a child, as AgentChatTelemetry configures it. */
#include "front_internal.h"

#include "back/credential/credential.h"

#define STOP_PATIENCE apr_time_from_sec(2)

static void destroy_span(void *span)
{
    ac_span_free(span);
}

static void take_span(void *baton, ac_span_t *span)
{
    ac_telemetry_put_post(baton, ac_telemetry_item_create(AC_SIGNAL_TRACES, span, span->size, destroy_span));
}

apr_status_t ac_telemetry_front_open(ac_child_t *child, ac_err_t *err)
{
    const ac_telemetry_conf_t *conf = &child->conf->telemetry;
    if (!conf->exporters || !conf->exporters->nelts) {
        return APR_SUCCESS;
    }
    child->telemetry = ac_telemetry_create(&child->host, &conf->resource);
    for (int i = 0; i < conf->exporters->nelts; i++) {
        apr_status_t status =
            ac_telemetry_add(child->telemetry, &APR_ARRAY_IDX(conf->exporters, i, ac_exporter_conf_t), err);
        if (status != APR_SUCCESS) {
            return status;
        }
    }
    if (ac_telemetry_wants(child->telemetry, AC_SIGNAL_TRACES)) {
        ac_span_sink_t sink = {
            .take = take_span,
            .baton = child->telemetry,
            .sampler = conf->sampler,
            .content = (ac_content_e)child->conf->trace.content,
        };
        ac_span_install(&sink);
    }
    return APR_SUCCESS;
}

void ac_telemetry_front_start(ac_child_t *child)
{
    if (child->telemetry) {
        ac_telemetry_start(child->telemetry);
    }
}

static void open_telemetry_latch(void *baton)
{
    ac_latch_open(baton);
    ac_latch_unref(baton);
}

typedef struct last_t { /* the latch outlives the waiter */
    ac_telemetry_t *telemetry;
    ac_latch_t *latch;
} last_t;

static void send_rest(void *baton)
{
    last_t *last = baton;
    ac_telemetry_stop(last->telemetry, STOP_PATIENCE, open_telemetry_latch, last->latch);
    free(last);
}

void ac_telemetry_front_stop(ac_child_t *child)
{
    if (!child->telemetry) {
        return;
    }
    last_t *last = ac_alloc(sizeof *last);
    ac_latch_t *latch = ac_latch_create();
    *last = (last_t){child->telemetry, latch};
    ac_latch_ref(latch);
    ac_loop_post(child->loop, send_rest, last);
    ac_latch_wait(latch, ac_clock() + STOP_PATIENCE + apr_time_from_sec(1));
    ac_latch_unref(latch);
}

void ac_telemetry_front_end_credentials(ac_child_t *child)
{
    const apr_array_header_t *list = child->telemetry ? child->conf->telemetry.credentials : NULL;
    for (int i = 0; list && i < list->nelts; i++) {
        ac_credential_child_exit(APR_ARRAY_IDX(list, i, ac_credential_t *));
    }
}

void ac_telemetry_front_close(ac_child_t *child)
{
    ac_span_install(NULL);
    ac_telemetry_destroy(child->telemetry);
    child->telemetry = NULL;
}
