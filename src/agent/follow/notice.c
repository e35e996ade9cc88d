/* SPDX-License-Identifier: Apache-2.0 */
/* Notices to the children of all machines: "look RUN": the store has a change of this run for the process that runs it,
 * such as a cancel. A notice has no authority: the process reads the store, which it would do later in any case. */
#include "follow_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK "look "
/* A replica of the store may be behind the write that the notice is about. */
static const apr_interval_time_t looks[] = {apr_time_from_msec(100), apr_time_from_msec(500), apr_time_from_sec(2)};
#define LOOKS (int)(sizeof looks / sizeof looks[0])

typedef struct ac_notice_t {
    ac_engine_t *engine;
    char run_id[AC_ID_SIZE];
    int n_looks;
    ac_timer_t timer;
    struct ac_notice_t *next, *prev;
} notice_t;

static void notice_free(notice_t *notice)
{
    ac_timer_cancel(notice->engine->loop, &notice->timer);
    if (notice->next) {
        notice->next->prev = notice->prev;
    }
    *(notice->prev ? &notice->prev->next : &notice->engine->follow->notices) = notice->next;
    free(notice);
}

static void look(void *baton)
{
    notice_t *notice = baton;
    ac_engine_t *engine = notice->engine;
    const ac_run_t *run = apr_hash_get(engine->runs, notice->run_id, APR_HASH_KEY_STRING);
    ac_store_op_t *op =
        run && ac_run_is_live(run) ? ac_store_op_create(AC_STORE_RUN_CHECK, run->turn->owner, notice->run_id) : NULL;
    if (!op) {
        notice_free(notice);
        return;
    }
    op->deadline = ac_clock() + engine->conf.store_timeout;
    ac_store_call_post(engine->store, engine->loop, op, ac_store_op_free, NULL);
    if (notice->n_looks == LOOKS) {
        notice_free(notice);
        return;
    }
    ac_timer_set(engine->loop, &notice->timer, ac_loop_now(engine->loop) + looks[notice->n_looks++], look, notice);
}

void ac_notice_receive(void *baton, const char *text)
{
    ac_engine_t *engine = baton;
    const char *run_id = text + strlen(LOOK);
    if (strncmp(text, LOOK, strlen(LOOK)) != 0 || !apr_hash_get(engine->runs, run_id, APR_HASH_KEY_STRING)) {
        return;
    }
    notice_t *notice = engine->follow->notices;
    while (notice && strcmp(notice->run_id, run_id) != 0) {
        notice = notice->next;
    }
    if (notice) { /* any number of notices about a run makes one look in 100 ms */
        apr_time_t due = ac_loop_now(engine->loop) + looks[0];
        notice->n_looks = 0;
        if (notice->timer.due > due) {
            ac_timer_set(engine->loop, &notice->timer, due, look, notice);
        }
        return;
    }
    notice = ac_alloc(sizeof *notice);
    notice->engine = engine;
    apr_cpystrn(notice->run_id, run_id, sizeof notice->run_id);
    notice->next = engine->follow->notices;
    if (notice->next) {
        notice->next->prev = notice;
    }
    engine->follow->notices = notice;
    look(notice);
}

typedef struct send_t {
    ac_engine_t *engine;
    char text[AC_ID_SIZE + sizeof LOOK];
} send_t;

static void send_here(void *baton)
{
    send_t *send = baton;
    const ac_mirror_t *mirror = send->engine->writers.mirror;
    if (mirror) {
        mirror->vt->notify(mirror->self, send->text);
    }
    free(send);
}

void ac_notice_post(ac_engine_t *engine, const char *run_id)
{
    send_t *send = ac_alloc(sizeof *send);
    send->engine = engine;
    snprintf(send->text, sizeof send->text, LOOK "%s", run_id);
    ac_loop_post(engine->loop, send_here, send);
}

void ac_notice_drop_all(ac_engine_t *engine)
{
    while (engine->follow->notices) {
        notice_free(engine->follow->notices);
    }
}
