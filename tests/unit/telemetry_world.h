/* SPDX-License-Identifier: Apache-2.0 */
/* An exporter of texts, a loop and a scripted server. */
#ifndef TELEMETRY_WORLD_H
#define TELEMETRY_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "back/telemetry/telemetry_internal.h"
#include "http_rig.h"
#include "metrics_world.h"

#define PATIENCE apr_time_from_sec(20)

static rig_t rig;
static ac_work_t *work;
static ac_host_t host;
static http_server_t *server;
static ac_metrics_t *metrics;
static ac_telemetry_t *telemetry;
static ac_exporter_conf_t conf;
static char url[64];
static ac_export_end_e settled[16];
static int n_settled;
static atomic_int n_alive; /* items */

/* ---- a format of texts: "a,b,c" ---- */

static void encode_texts(void *baton, ac_buf_t *out, const ac_export_batch_t *batch)
{
    (void)baton;
    for (int i = 0; i < batch->n; i++) {
        ac_buf_printf(out, "%s%s", i ? "," : "", (const char *)batch->items[i]->what);
    }
}

static void note_settled(void *baton, const ac_export_batch_t *batch, ac_export_end_e end)
{
    (void)baton;
    (void)batch;
    settled[n_settled++ % 16] = end;
}

/* "again" in a body: the items whose texts are in it. */
static void judge_texts(void *baton, ac_export_verdict_t *verdict, const ac_export_answer_t *answer,
                        const ac_export_batch_t *batch)
{
    ac_otlp_export_judge(baton, verdict, answer, batch);
    if (strncmp(answer->body, "again ", 6) == 0) {
        verdict->result = AC_EXPORT_SOME;
        for (int i = 0; i < batch->n; i++) {
            verdict->again[i] = strstr(answer->body, batch->items[i]->what) != NULL;
        }
    }
}

static const ac_export_format_t texts = {.content_type = "text/plain",
                                         .encode = encode_texts,
                                         .judge = judge_texts,
                                         .settle = note_settled};

static void destroy_text(void *what)
{
    free(what);
    atomic_fetch_sub(&n_alive, 1);
}

static ac_telemetry_item_t *item_of(const char *text)
{
    atomic_fetch_add(&n_alive, 1);
    return ac_telemetry_item_create(AC_SIGNAL_LOGS, strdup(text), strlen(text), destroy_text);
}

static void put(const char *text)
{
    ac_telemetry_put_post(telemetry, item_of(text));
}

/* ---- the rig ---- */

static int open_all(void **state)
{
    (void)state;
    rig_open(&rig);
    assert_int_equal(ac_work_create(&work, rig.loop, 1, 100, NULL), APR_SUCCESS);
    host = (ac_host_t){.loop = rig.loop, .work = work};
    metrics = make(1);
    ac_metrics_join(metrics, 1, 1, lives);
    telemetry = NULL;
    server = NULL;
    n_settled = 0;
    ac_exporter_conf_init(&conf);
    conf.signals = 1u << AC_SIGNAL_LOGS;
    conf.format = &texts;
    conf.gzip = false;
    conf.batch = 3;
    conf.max_items = 6;
    conf.delay = apr_time_from_sec(3600);
    return 0;
}

static void start_all(void *baton)
{
    (void)baton;
    ac_telemetry_start(telemetry);
}

static void begin(const server_step_t *const *scripts)
{
    static const ac_otlp_resource_t none;
    server = http_server_start(scripts);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/v1/logs?key=x", http_server_port(server));
    conf.url = url;
    telemetry = ac_telemetry_create(&host, &none);
    assert_int_equal(ac_telemetry_add(telemetry, &conf, NULL), APR_SUCCESS);
    rig_call(&rig, start_all, NULL);
}

typedef struct stopping_t {
    apr_interval_time_t patience;
    ac_latch_t *latch;
} stopping_t;

static void on_stopped(void *baton)
{
    ac_latch_open(baton);
}

static void stop_all(void *baton)
{
    stopping_t *stopping = baton;
    ac_telemetry_stop(telemetry, stopping->patience, on_stopped, stopping->latch);
}

static void end(apr_interval_time_t patience)
{
    stopping_t stopping = {patience, ac_latch_create()};
    rig_call(&rig, stop_all, &stopping);
    assert_true(ac_latch_wait(stopping.latch, ac_clock() + 2 * PATIENCE));
    ac_latch_unref(stopping.latch);
}

static int close_all(void **state)
{
    (void)state;
    ac_work_stop(work);
    ac_loop_stop_post(rig.loop);
    pthread_join(rig.thread, NULL);
    ac_work_destroy(work);
    ac_telemetry_destroy(telemetry);
    ac_loop_destroy(rig.loop);
    if (server) {
        http_server_stop(server);
    }
    ac_metrics_join(NULL, 1, 1, lives);
    ac_metrics_destroy(metrics);
    return atomic_load(&n_alive); /* each item is freed once */
}

static int64_t counted(ac_metric_e metric)
{
    static ac_metrics_reading_t reading;
    ac_metrics_read_begin(&reading, metrics, lives);
    return ac_metrics_read_value(&reading, metric, AC_LABELS(AC_SIGNAL_LOGS));
}

static void expect_counts(int exported, int dropped)
{
    assert_int_equal(counted(AC_METRIC_TELEMETRY_EXPORTED), exported);
    assert_int_equal(counted(AC_METRIC_TELEMETRY_DROPPED), dropped);
}

static void wait_dropped(int n)
{
    apr_time_t late = ac_clock() + PATIENCE;
    while (counted(AC_METRIC_TELEMETRY_DROPPED) < n && ac_clock() < late) {
        apr_sleep(1000);
    }
    assert_int_equal(counted(AC_METRIC_TELEMETRY_DROPPED), n);
}

static ac_exporter_state_e seen_state;
static void see_state(void *baton)
{
    (void)baton;
    seen_state = telemetry->exporters->state;
}

/* The server has sent an answer before the exporter has read it. */
static void wait_state(ac_exporter_state_e state)
{
    apr_time_t late = ac_clock() + PATIENCE;
    rig_call(&rig, see_state, NULL);
    while (seen_state != state && ac_clock() < late) {
        apr_sleep(1000);
        rig_call(&rig, see_state, NULL);
    }
    assert_int_equal(seen_state, state);
}

static void expect_body(int i, const char *body)
{
    const char *found = strstr(http_server_request(server, i), "\r\n\r\n");
    assert_non_null(found);
    assert_string_equal(found + 4, body);
}

#endif
