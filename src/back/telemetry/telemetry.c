/* SPDX-License-Identifier: Apache-2.0 */
/* The telemetry of a child: its exporters, and what they get. */
#include "telemetry_internal.h"

ac_telemetry_t *ac_telemetry_create(const ac_host_t *host, const ac_otlp_resource_t *resource)
{
    ac_telemetry_t *telemetry = ac_alloc(sizeof *telemetry);
    telemetry->host = host;
    telemetry->resource = resource;
    return telemetry;
}

apr_status_t ac_telemetry_add(ac_telemetry_t *telemetry, const ac_exporter_conf_t *conf, ac_err_t *err)
{
    if (conf->credential) {
        apr_status_t status = ac_credential_child_init(conf->credential, telemetry->host, err);
        if (status != APR_SUCCESS) {
            return status;
        }
    }
    ac_exporter_t **plink = &telemetry->exporters;
    while (*plink) {
        plink = &(*plink)->next;
    }
    *plink = ac_exporter_create(telemetry, conf);
    telemetry->signals |= conf->signals;
    return APR_SUCCESS;
}

void ac_telemetry_start(ac_telemetry_t *telemetry)
{
    telemetry->started = true;
    for (ac_exporter_t *exporter = telemetry->exporters; exporter; exporter = exporter->next) {
        ac_exporter_start(exporter);
    }
}

bool ac_telemetry_wants(const ac_telemetry_t *telemetry, ac_signal_e signal)
{
    return telemetry && (telemetry->signals & 1u << signal);
}

void ac_telemetry_put_post(ac_telemetry_t *telemetry, ac_telemetry_item_t *item)
{
    for (ac_exporter_t *exporter = telemetry ? telemetry->exporters : NULL; exporter; exporter = exporter->next) {
        if (!(exporter->conf.signals & 1u << item->signal) || exporter->conf.collect) {
            continue;
        }
        atomic_fetch_add_explicit(&item->refs, 1, memory_order_relaxed);
        if (ac_export_queue_put(&exporter->queue, item)) {
            ac_loop_post(telemetry->host->loop, ac_exporter_look, exporter);
        }
    }
    ac_telemetry_item_unref(item);
}

/* ---- the end ---- */

static void telemetry_stopped(void *baton)
{
    ac_telemetry_t *telemetry = baton;
    ac_timer_cancel(telemetry->host->loop, &telemetry->stop_timer);
    for (ac_exporter_t *exporter = telemetry->exporters; exporter; exporter = exporter->next) {
        ac_exporter_abandon(exporter);
    }
    ac_task_fn *done = telemetry->stop_done;
    telemetry->stop_done = NULL;
    if (done) {
        done(telemetry->stop_baton);
    }
}

static void telemetry_on_stop_time(void *baton)
{
    telemetry_stopped(baton);
}

void ac_telemetry_note_end(ac_telemetry_t *telemetry)
{
    bool ended = true;
    for (ac_exporter_t *exporter = telemetry->exporters; exporter; exporter = exporter->next) {
        ended = ended && ac_exporter_has_ended(exporter);
    }
    if (ended && telemetry->stop_done) {
        ac_loop_ready_set(telemetry->host->loop, &telemetry->stop_ready, telemetry_stopped, telemetry);
    }
}

void ac_telemetry_stop(ac_telemetry_t *telemetry, apr_interval_time_t patience, ac_task_fn *done, void *baton)
{
    ac_loop_t *loop = telemetry->host->loop;
    telemetry->stop_done = done;
    telemetry->stop_baton = baton;
    ac_timer_set(loop, &telemetry->stop_timer, ac_loop_now(loop) + patience, telemetry_on_stop_time, telemetry);
    for (ac_exporter_t *exporter = telemetry->exporters; exporter; exporter = exporter->next) {
        ac_exporter_end(exporter);
    }
    ac_telemetry_note_end(telemetry);
}

void ac_telemetry_destroy(ac_telemetry_t *telemetry)
{
    while (telemetry && telemetry->exporters) {
        ac_exporter_t *exporter = telemetry->exporters;
        telemetry->exporters = exporter->next;
        ac_exporter_free(exporter);
    }
    free(telemetry);
}
