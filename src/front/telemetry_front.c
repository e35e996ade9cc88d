/* SPDX-License-Identifier: Apache-2.0 */
/* The telemetry of a child, as AgentChatTelemetry configures it. */
#include "front_internal.h"

#include "back/credential/credential.h"

#include <pthread.h>
#include <string.h>

#define STOP_PATIENCE apr_time_from_sec(2)

static void destroy_span(void *span)
{
    ac_span_free(span);
}

static void take_span(void *baton, ac_span_t *span)
{
    ac_telemetry_put_post(baton, ac_telemetry_item_create(AC_SIGNAL_TRACES, span, span->size, destroy_span));
}

/* ---- what destinations have of their own ---- */

static ac_export_source_t source; /* of this process's metrics */

static const char *attribute_of(const ac_otlp_resource_t *resource, const char *name)
{
    for (int i = 0; i < resource->n; i++) {
        if (strcmp(resource->attributes[i].name, name) == 0) {
            return resource->attributes[i].value;
        }
    }
    return NULL;
}

/* The role is what the application map shows as one node. Source: OpenTelemetry exporters of Azure Monitor. */
static void complete_appinsights(ac_appinsights_source_t *to, const ac_telemetry_conf_t *conf, apr_pool_t *p)
{
    const char *name = attribute_of(&conf->resource, "service.name"),
               *space = attribute_of(&conf->resource, "service.namespace");
    to->role = space && name ? apr_pstrcat(p, space, ".", name, NULL) : name;
    to->instance = attribute_of(&conf->resource, "service.instance.id");
    to->version = attribute_of(&conf->resource, "service.version");
    to->sample_rate = conf->sampler.ratio > 0 ? 100 * conf->sampler.ratio : 100;
    to->old_names = conf->resource.old_names;
}

static void complete_metrics(ac_exporter_conf_t *exporter, const ac_telemetry_conf_t *conf, apr_pool_t *p)
{
    bool otlp = !exporter->baton;
    ac_export_metrics_t *metrics = apr_pcalloc(p, sizeof *metrics);
    *metrics = (ac_export_metrics_t){.source = &source,
                                     .export = otlp ? AC_METRIC_EXPORT_OTLP : AC_METRIC_EXPORT_APPINSIGHTS,
                                     .delta = !otlp || conf->delta,
                                     .exponential = conf->exponential,
                                     .appinsights = exporter->baton};
    exporter->baton = metrics;
    exporter->collect = ac_export_metrics_collect;
    exporter->delay = conf->interval;
    exporter->once = metrics->delta;
    exporter->batch = 1;
    exporter->max_items = 1;
}

/* ---- log messages ---- */

/* A message comes from any thread, also while the child's telemetry is closed. */
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static ac_telemetry_t *_Atomic log_target; /* NULL: messages are not sent */
static ac_level_e log_level;
static _Thread_local bool in_log; /* what is logged while a message is passed on is not passed on */

/* Whether a message is about telemetry itself: it would be the cause of the next one. */
static bool is_of_telemetry(const char *text)
{
    static const char *const numbers[] = {"AC0268", "AC0269"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strncmp(text, numbers[i], 6) == 0) {
            return true;
        }
    }
    return false;
}

static void take_message(const ac_log_entry_t *entry)
{
    if (in_log || !log_target || entry->level > log_level || is_of_telemetry(entry->text)) {
        return;
    }
    in_log = true;
    ac_log_record_t *record = ac_log_record_make(entry);
    pthread_mutex_lock(&log_lock);
    if (record && log_target) {
        ac_telemetry_put_post(log_target, ac_telemetry_item_create(AC_SIGNAL_LOGS, record, record->size, free));
    } else {
        free(record);
    }
    pthread_mutex_unlock(&log_lock);
    in_log = false;
}

static void open_logs(ac_child_t *child)
{
    const char *level = child->conf->telemetry.log_level;
    if (strcmp(level, "off") != 0 && ac_telemetry_wants(child->telemetry, AC_SIGNAL_LOGS)) {
        log_level = strcmp(level, "error") == 0 ? AC_ERROR : strcmp(level, "warn") == 0 ? AC_WARNING : AC_INFO;
        log_target = child->telemetry;
        ac_log_front_tap(take_message);
    }
}

static void close_logs(void)
{
    pthread_mutex_lock(&log_lock);
    ac_log_front_tap(NULL);
    log_target = NULL;
    pthread_mutex_unlock(&log_lock);
}

/* ---- the child ---- */

apr_status_t ac_telemetry_front_open(ac_child_t *child, ac_err_t *err)
{
    const ac_telemetry_conf_t *conf = &child->conf->telemetry;
    if (!conf->exporters || !conf->exporters->nelts) {
        return APR_SUCCESS;
    }
    apr_pool_t *p = ((ac_child_life_t *)child)->pool;
    ac_metrics_front_source(&source, child->conf, p);
    child->telemetry = ac_telemetry_create(&child->host, &conf->resource);
    for (int i = 0; i < conf->exporters->nelts; i++) {
        ac_exporter_conf_t exporter = APR_ARRAY_IDX(conf->exporters, i, ac_exporter_conf_t);
        if (exporter.baton) {
            complete_appinsights(exporter.baton, conf, p);
        }
        if (exporter.signals == 1u << AC_SIGNAL_METRICS) {
            complete_metrics(&exporter, conf, p);
        }
        apr_status_t status = ac_telemetry_add(child->telemetry, &exporter, err);
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
    open_logs(child);
    return APR_SUCCESS;
}

void ac_telemetry_front_leave(ac_child_t *child)
{
    (void)child;
    atomic_store(&source.phase, AC_EXPORT_PHASE_LEAVING);
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
    atomic_store(&source.phase, AC_EXPORT_PHASE_ENDING);
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
    close_logs();
    ac_telemetry_destroy(child->telemetry);
    child->telemetry = NULL;
}
