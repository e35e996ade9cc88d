/* SPDX-License-Identifier: Apache-2.0 */
/* Cancels a run: in this process, in another child, or by its event log. */
#include "run_internal.h"

#include <stdio.h>
#include <string.h>

#define SEND_TRIES 50                  /* of a datagram to a child whose queue is full, 5 ms apart */
#define LOOP_WAIT apr_time_from_sec(2) /* for the loop of this child */

apr_status_t ac_run_cancel(ac_engine_t *engine, const char *run_id, ac_kind_e why)
{
    ac_run_t *run = apr_hash_get(engine->runs, run_id, APR_HASH_KEY_STRING);
    ac_err_t err;
    ac_err_init(&err);
    if (!run) {
        return ac_err_set(NULL, AC_NOT_FOUND, "no such run here");
    }
    if (!ac_run_is_live(run)) {
        return ac_err_set(NULL, AC_RUN_ENDED, "it has ended");
    }
    if (why == AC_INTERRUPTED) {
        ac_err_set(&err, why, "another server took this one for dead, and has closed the run");
        ac_run_finish(run, AC_RUN_FAILED, &err, "taken over");
        return APR_SUCCESS;
    }
    if (run->state == AC_RUN_SUSPENDING && why == AC_CANCELLED) {
        /* The store may give the run to another child at this moment; that child reads the outcome in the log. */
        run->suspended.wants_cancel = ac_run_log_decide(run, true);
        return APR_SUCCESS;
    }
    ac_err_set(&err, why, why == AC_STOPPING ? "the server is stopping" : "the run was cancelled");
    if (why == AC_STOPPING) {
        err.retry_after = apr_time_from_sec(2);
    }
    ac_run_finish(run, AC_RUN_CANCELLED, &err, why == AC_STOPPING ? "server stopping" : "cancelled");
    return APR_SUCCESS;
}

/* ---- from a worker's thread ---- */

typedef struct ask_t {
    ac_engine_t *engine;
    char run_id[AC_ID_SIZE], owner[AC_OWNER_SIZE];
    ac_handover_t handover;
    apr_status_t status;
} ask_t;

static void cancel_here(void *baton)
{
    ask_t *ask = baton;
    const ac_run_t *run = apr_hash_get(ask->engine->runs, ask->run_id, APR_HASH_KEY_STRING);
    ask->status = run && strcmp(run->turn->owner, ask->owner) == 0
        ? ac_run_cancel(ask->engine, ask->run_id, AC_CANCELLED)
        : ac_err_row(AC_NOT_FOUND)->status;
    if (!ac_handover_answer(&ask->handover)) {
        free(ask);
    }
}

static apr_status_t ask_own_loop(ac_engine_t *engine, const char *run_id, const char *owner)
{
    ask_t *ask = ac_alloc(sizeof *ask);
    ask->engine = engine;
    ac_handover_begin(&ask->handover);
    apr_cpystrn(ask->run_id, run_id, sizeof ask->run_id);
    apr_cpystrn(ask->owner, owner, sizeof ask->owner);
    ac_loop_post(engine->loop, cancel_here, ask);
    if (!ac_handover_wait(&ask->handover, ac_clock() + LOOP_WAIT)) {
        return APR_TIMEUP;
    }
    apr_status_t status = ask->status;
    free(ask);
    return status;
}

static void ask_child(const ac_event_dir_t *dir, ac_child_key_t child, const char *run_id, const char *owner)
{
    char text[AC_OWNER_SIZE + AC_ID_SIZE + 16];
    int len = snprintf(text, sizeof text, "cancel %s %s", run_id, owner);
    for (int i = 0; i < SEND_TRIES && ac_event_dir_send(dir, child, text, (size_t)len) == APR_EAGAIN; i++) {
        apr_sleep(apr_time_from_msec(5));
    }
}

/* The log decides at once, even if its owner is blocked; the datagram only makes the owner read it. */
static apr_status_t decide_by_log(const ac_event_dir_t *dir, ac_event_log_t *log, const char *owner, bool resumed)
{
    const ac_event_log_header_t *head = ac_event_log_header(log);
    const apr_status_t ended = ac_err_row(AC_RUN_ENDED)->status;
    bool suspended = ac_event_log_is_suspended(log);
    if (strcmp(head->owner, owner) != 0) {
        return ac_err_row(AC_NOT_FOUND)->status;
    }
    if (suspended && !resumed) {
        return APR_EAGAIN;
    }
    if (ac_event_log_ended(log) || (!suspended && !ac_event_dir_alive(dir, ac_event_log_child(log)))) {
        return ended;
    }
    if (!resumed && ac_event_log_outcome(log) != AC_LOG_OUTCOME_OPEN) {
        return ended; /* also by an earlier cancel */
    }
    if (ac_event_log_decide(log, AC_LOG_OUTCOME_CANCELLED) != AC_LOG_OUTCOME_CANCELLED) {
        return ended;
    }
    ask_child(dir, ac_event_log_child(log), head->run_id, owner);
    return !resumed && ac_event_log_is_suspended(log) ? APR_EAGAIN : APR_SUCCESS; /* suspended at this moment */
}

apr_status_t ac_run_cancel_anywhere(ac_engine_t *engine, const char *run_id, const char *owner, bool resumed)
{
    ac_child_key_t children[AC_MAX_CHILDREN];
    apr_status_t status = ask_own_loop(engine, run_id, owner);
    const ac_event_dir_t *dir = engine->dir;
    if (status == APR_TIMEUP) {
        return APR_INCOMPLETE;
    }
    if (status == APR_SUCCESS || status == ac_err_row(AC_RUN_ENDED)->status || !dir) {
        return status;
    }
    ac_event_log_t *log = ac_event_log_find(dir, run_id);
    if (log) {
        status = decide_by_log(dir, log, owner, resumed);
        ac_event_log_close(log);
        return status;
    }
    /* Without a log the run may be in any child. */
    int n = ac_event_dir_children(dir, children, AC_MAX_CHILDREN);
    for (int i = 0; i < n; i++) {
        if (children[i] != ac_event_dir_key(dir)) {
            ask_child(dir, children[i], run_id, owner);
        }
    }
    return n > 1 ? APR_INCOMPLETE : status;
}

apr_status_t ac_run_cancel_logged(ac_engine_t *engine, const char *run_id, const char *owner, json_t **pstored)
{
    ac_event_log_t *log = engine->dir ? ac_event_log_find(engine->dir, run_id) : NULL;
    bool fits = log && !ac_event_log_is_suspended(log) && strcmp(ac_event_log_header(log)->owner, owner) == 0;
    json_t *stored = fits ? ac_event_log_read_stored(log) : NULL;
    ac_event_log_close(log);
    if (!stored) {
        return ac_err_row(AC_NOT_FOUND)->status;
    }
    apr_status_t status = ac_run_cancel_anywhere(engine, run_id, owner, false);
    if (status == APR_SUCCESS || status == APR_INCOMPLETE) {
        *pstored = stored;
    } else {
        json_decref(stored);
    }
    return status;
}
