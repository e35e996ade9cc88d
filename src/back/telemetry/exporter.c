/* SPDX-License-Identifier: Apache-2.0 */
/* An exporter on the loop: when a batch begins, when it is tried again, and when it is given up. */
#include "telemetry_internal.h"

#include <stdio.h>
#include <string.h>

#define LOG_EVERY apr_time_from_sec(60)
#define FIRST_PAUSE apr_time_from_sec(1) /* before the second attempt; it doubles */
#define LONGEST_PAUSE apr_time_from_sec(30)
#define GIVE_UP apr_time_from_sec(300) /* after the first attempt of a batch */
#define WHY_SIZE 400

void ac_exporter_conf_init(ac_exporter_conf_t *conf)
{
    *conf = (ac_exporter_conf_t){.gzip = true,
                                 .timeout = apr_time_from_sec(10),
                                 .delay = apr_time_from_sec(5),
                                 .batch = 512,
                                 .max_items = 2048,
                                 .max_bytes = 8 * 1024 * 1024};
}

/* ---- the log ---- */

/* One line a minute. The next one counts what was lost since then. */
static void exporter_warn(ac_exporter_t *exporter, const char *why)
{
    apr_time_t now = ac_clock();
    exporter->failing = true;
    if (exporter->logged && now - exporter->logged < LOG_EVERY) {
        return;
    }
    exporter->logged = now;
    exporter->n_lost += ac_export_queue_take_dropped(&exporter->queue);
    ac_log(AC_M268, APR_SUCCESS, "telemetry: %s: %s; %" APR_UINT64_T_FMT " items were lost", exporter->place, why,
           (apr_uint64_t)exporter->n_lost);
    exporter->n_lost = 0;
}

static void exporter_note_success(ac_exporter_t *exporter)
{
    if (!exporter->failing) {
        return;
    }
    exporter->failing = false;
    exporter->n_lost += ac_export_queue_take_dropped(&exporter->queue);
    ac_log(AC_M269, APR_SUCCESS,
           "telemetry: %s: accepts telemetry again; %" APR_UINT64_T_FMT " items were lost since the last warning",
           exporter->place, (apr_uint64_t)exporter->n_lost);
    exporter->n_lost = 0;
}

/* ---- a batch ---- */

static void exporter_on_encoded(void *baton)
{
    ac_export_body_t *body = baton;
    ac_exporter_t *exporter = body->exporter;
    if (body->abandoned) {
        ac_export_body_free(body);
    } else if (body->failed) {
        ac_exporter_settle(exporter, AC_EXPORT_END_LOST, ac_export_body_units(body),
                           "a batch is too large, or there is no memory for it");
    } else if (!body->bytes.len) {
        ac_exporter_settle(exporter, AC_EXPORT_END_LOST, 0, NULL);
    } else {
        ac_export_send(exporter);
    }
}

/* At the end the loop encodes, since the work threads may be held by tools. */
static void exporter_encode(ac_exporter_t *exporter)
{
    exporter->state = AC_EXPORTER_ENCODING;
    if (exporter->ending ||
        ac_work_post(exporter->telemetry->host->work, ac_export_body_encode, exporter_on_encoded, exporter->body) !=
            APR_SUCCESS) {
        ac_export_body_encode(exporter->body);
        exporter_on_encoded(exporter->body);
    }
}

static void exporter_begin(ac_exporter_t *exporter)
{
    ac_timer_cancel(exporter->telemetry->host->loop, &exporter->timer);
    exporter->timed = false;
    exporter->body = ac_export_body_create(exporter, exporter->conf.batch);
    exporter_encode(exporter);
}

static void exporter_on_delay(void *baton)
{
    ac_exporter_t *exporter = baton;
    exporter->timed = false;
    if (exporter->state == AC_EXPORTER_IDLE && ac_export_queue_look(&exporter->queue).n) {
        exporter_begin(exporter);
    }
}

void ac_exporter_look(void *baton)
{
    ac_exporter_t *exporter = baton;
    ac_loop_t *loop = exporter->telemetry->host->loop;
    ac_export_state_t queued = ac_export_queue_look(&exporter->queue);
    if (exporter->state != AC_EXPORTER_IDLE) {
        return;
    }
    if (queued.n && (queued.enough || exporter->ending || exporter->conf.collect)) {
        exporter_begin(exporter);
    } else if (queued.n && !exporter->timed) {
        exporter->timed = true;
        ac_timer_set(loop, &exporter->timer, ac_loop_now(loop) + exporter->conf.delay, exporter_on_delay, exporter);
    } else if (exporter->ending) {
        ac_telemetry_note_end(exporter->telemetry);
    }
}

static void count_settled(const ac_export_body_t *body, unsigned lost)
{
    for (int i = 0; i < body->n; i++) {
        const ac_telemetry_item_t *item = body->items[i];
        unsigned part = lost < item->units ? lost : item->units;
        lost -= part;
        if (part) {
            ac_telemetry_item_count_lost(item->signal, part);
        }
        ac_metrics_add(AC_METRIC_TELEMETRY_EXPORTED, AC_LABELS((unsigned)item->signal), item->units - part);
    }
}

void ac_exporter_settle(ac_exporter_t *exporter, ac_export_end_e end, unsigned lost, const char *why)
{
    ac_export_body_t *body = exporter->body;
    const ac_export_format_t *format = exporter->conf.format;
    ac_export_batch_t batch = {(const ac_telemetry_item_t *const *)body->items, body->n, exporter->telemetry->resource};
    if (format->settle) {
        format->settle(exporter->conf.baton, &batch, end);
    }
    if (body->bytes.len || lost) {
        count_settled(body, lost);
    }
    exporter->body = NULL;
    exporter->state = AC_EXPORTER_IDLE;
    ac_export_body_free(body);
    ac_export_queue_rest(&exporter->queue);
    exporter->n_lost += lost;
    if (why) {
        exporter_warn(exporter, why);
    } else if (end == AC_EXPORT_END_ACCEPTED) {
        exporter_note_success(exporter);
    }
    if (end != AC_EXPORT_END_ACCEPTED && exporter->ending) {
        ac_export_queue_close(&exporter->queue); /* a second failure would only delay the end */
    }
    ac_exporter_look(exporter);
}

/* ---- another attempt ---- */

static void exporter_on_pause_end(void *baton)
{
    ac_exporter_t *exporter = baton;
    if (exporter->body->bytes.len) {
        ac_export_send(exporter);
    } else {
        exporter_encode(exporter);
    }
}

/* Doubles with each attempt, less a random part, so that the children of a server do not all come at once. */
static apr_interval_time_t pause_length(const ac_export_body_t *body)
{
    apr_interval_time_t pause = body->attempts < 6 ? FIRST_PAUSE << (body->attempts - 1) : LONGEST_PAUSE;
    pause = pause < LONGEST_PAUSE ? pause : LONGEST_PAUSE;
    return pause - (apr_interval_time_t)(ac_random() % (uint64_t)(pause / 4));
}

void ac_exporter_pause(ac_exporter_t *exporter, apr_interval_time_t asked, ac_export_end_e end, const char *why)
{
    ac_export_body_t *body = exporter->body;
    ac_loop_t *loop = exporter->telemetry->host->loop;
    body->attempts++;
    apr_interval_time_t pause = pause_length(body);
    pause = asked > pause ? asked : pause;
    if (exporter->ending || ac_clock() + pause > body->began + GIVE_UP) {
        ac_exporter_settle(exporter, end, ac_export_body_units(body), why);
        return;
    }
    exporter_warn(exporter, why);
    exporter->state = AC_EXPORTER_PAUSING;
    ac_timer_set(loop, &exporter->timer, ac_loop_now(loop) + pause, exporter_on_pause_end, exporter);
}

/* ---- signals that are read and not put ---- */

static void exporter_collect(ac_exporter_t *exporter)
{
    ac_telemetry_item_t *item = exporter->conf.collect(exporter->conf.baton);
    if (item) {
        ac_export_queue_put(&exporter->queue, item);
    }
    ac_exporter_look(exporter);
}

static void exporter_on_collect(void *baton)
{
    ac_exporter_t *exporter = baton;
    ac_loop_t *loop = exporter->telemetry->host->loop;
    ac_timer_set(loop, &exporter->collect_timer, ac_loop_now(loop) + exporter->conf.delay, exporter_on_collect,
                 exporter);
    exporter_collect(exporter);
}

/* ---- its life ---- */

/* scheme://host/path */
static char *place_of(const char *url)
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    const char *at = memchr(host, '@', strcspn(host, "/?#"));
    const char *rest = at ? at + 1 : host;
    size_t len = strcspn(rest, "?#"), scheme = (size_t)(host - url);
    char *place = ac_alloc(scheme + len + 1);
    memcpy(place, url, scheme);
    memcpy(place + scheme, rest, len);
    return place;
}

ac_exporter_t *ac_exporter_create(ac_telemetry_t *telemetry, const ac_exporter_conf_t *conf)
{
    ac_exporter_t *exporter = ac_alloc(sizeof *exporter);
    exporter->conf = *conf;
    exporter->telemetry = telemetry;
    exporter->place = place_of(conf->url);
    ac_export_queue_init(&exporter->queue, conf);
    ac_buf_init(&exporter->answer.body, AC_MAX_ERROR_BODY);
    return exporter;
}

void ac_exporter_start(ac_exporter_t *exporter)
{
    ac_loop_t *loop = exporter->telemetry->host->loop;
    if (exporter->conf.collect) {
        ac_timer_set(loop, &exporter->collect_timer, ac_loop_now(loop) + exporter->conf.delay, exporter_on_collect,
                     exporter);
    }
    ac_exporter_look(exporter);
}

void ac_exporter_end(ac_exporter_t *exporter)
{
    ac_loop_t *loop = exporter->telemetry->host->loop;
    exporter->ending = true;
    ac_timer_cancel(loop, &exporter->collect_timer);
    if (exporter->state == AC_EXPORTER_PAUSING) {
        ac_timer_cancel(loop, &exporter->timer);
        exporter_on_pause_end(exporter);
    }
    if (exporter->conf.collect) {
        exporter_collect(exporter);
    } else {
        ac_exporter_look(exporter);
    }
}

bool ac_exporter_has_ended(const ac_exporter_t *exporter)
{
    return exporter->ending && exporter->state == AC_EXPORTER_IDLE && !exporter->queue.n;
}

void ac_exporter_abandon(ac_exporter_t *exporter)
{
    ac_export_body_t *body = exporter->body;
    ac_loop_t *loop = exporter->telemetry->host->loop;
    ac_timer_cancel(loop, &exporter->timer);
    ac_timer_cancel(loop, &exporter->collect_timer);
    ac_export_send_cancel(exporter);
    ac_export_queue_close(&exporter->queue);
    if (!body || body->abandoned) {
        return;
    }
    if (exporter->state == AC_EXPORTER_ENCODING) {
        body->abandoned = true; /* a work thread reads it */
        for (int i = 0; i < body->n; i++) {
            ac_telemetry_item_count_lost(body->items[i]->signal, body->items[i]->units);
        }
        exporter->body = NULL;
    } else {
        ac_exporter_settle(exporter, AC_EXPORT_END_UNKNOWN, ac_export_body_units(body),
                           "no answer before the end of the process");
    }
}

void ac_exporter_free(ac_exporter_t *exporter)
{
    if (exporter->body) {
        ac_export_body_free(exporter->body);
    }
    ac_export_queue_free(&exporter->queue);
    ac_buf_free(&exporter->answer.body);
    free(exporter->used);
    free(exporter->moved);
    free(exporter->place);
    free(exporter);
}
