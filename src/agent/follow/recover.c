/* SPDX-License-Identifier: Apache-2.0 */
/* Recovery: closes runs whose process died, from the event logs they left. The partial answer is stored, the thread
 * is free, and the followers get the end of the run. Also tries again the closing writes that a run of this child
 * could not make. */
#include "follow_internal.h"

#include <stdlib.h>
#include <string.h>

#define RETRY_FIRST apr_time_from_msec(250) /* after a failure; doubles with each further one, up to RETRY_MAX */
#define RETRY_MAX apr_time_from_sec(2)

typedef struct waiter_t {
    ac_task_fn *fn;
    void *baton;
    struct waiter_t *next;
} waiter_t;

typedef struct ac_recovery_t {
    ac_engine_t *engine;
    ac_event_log_t *log; /* owned */
    ac_recover_turn_t turn;
    bool active;          /* counted in n_active */
    bool pending;         /* a store operation will come back */
    bool late;            /* the run's process died: another server may have closed the run since */
    bool failed;          /* the last try; tried again later */
    bool logged;          /* the failure, in the error log */
    bool cancelled;       /* before the process died, and a client knows it */
    apr_time_t failed_at; /* the loop's time */
    waiter_t *waiters;
    struct ac_recovery_t *next, *prev;
} ac_recovery_t;

static void begin_next(ac_engine_t *engine);
static void try_now(void *baton);

static const char *run_of(const ac_recovery_t *recovery)
{
    return ac_event_log_header(recovery->log)->run_id;
}

static void call_waiters(ac_recovery_t *recovery)
{
    waiter_t *waiter = recovery->waiters;
    recovery->waiters = NULL;
    while (waiter) {
        waiter_t *next = waiter->next;
        waiter->fn(waiter->baton);
        free(waiter);
        waiter = next;
    }
}

static void unlink_recovery(ac_recovery_t *recovery)
{
    ac_engine_t *engine = recovery->engine;
    if (recovery->prev) {
        recovery->prev->next = recovery->next;
    } else {
        engine->follow->recoveries.first = recovery->next;
    }
    if (recovery->next) {
        recovery->next->prev = recovery->prev;
    }
    if (recovery->active) {
        engine->follow->recoveries.n_active--;
    }
    if (!engine->follow->recoveries.first) {
        ac_timer_cancel(engine->loop, &engine->follow->recoveries.timer);
    }
}

static void recovery_free(ac_recovery_t *recovery)
{
    ac_recover_turn_free(&recovery->turn);
    ac_event_log_close(recovery->log);
    free(recovery);
}

static void keep(void *baton, ac_event_log_t *log)
{
    ac_ended_log_keep(baton, log);
}

/* The run has ended, in the store and in the log. */
static void retire(ac_recovery_t *recovery)
{
    ac_engine_t *engine = recovery->engine;
    ac_event_log_t *log = recovery->log;
    char run_id[AC_ID_SIZE];
    apr_cpystrn(run_id, run_of(recovery), sizeof run_id);
    ac_event_log_end(log);
    ac_event_watcher_notify(log, engine->dir);
    ac_mirror_writer_end(ac_mirror_writer_create(&engine->writers, log, 0), log, keep, engine);
    recovery->log = NULL;
    unlink_recovery(recovery);
    call_waiters(recovery);
    ac_tail_wake(engine, run_id);
    recovery_free(recovery);
    begin_next(engine);
    ac_recover_retry_all(engine);
}

/* The process that ran it has ended, and has not counted its end. */
static void recover_count(const json_t *run)
{
    const char *status = ac_json_peek_string(run, "status", "");
    unsigned agent = ac_metrics_index(AC_DOMAIN_AGENT, ac_json_peek_string(run, "agent_id", ""));
    ac_kind_e cause = ac_err_kind_by_code(ac_json_peek_string(json_object_get(run, "error"), "code", ""));
    int index = !strcmp(status, "completed") ? 0 : !strcmp(status, "cancelled") ? 2 : 1;
    if (!strcmp(status, "interrupted")) {
        cause = AC_INTERRUPTED;
    }
    /* Its log does not say its protocol. */
    ac_metrics_add(AC_METRIC_RUNS, AC_LABELS(agent, ac_metrics_run_status(AC_PROTOCOL_OTHER, (unsigned)index), cause),
                   1);
}

/* The process that ran it has not logged its end either. The stored run says the rest; what it cost is not known. */
static void recover_log(const ac_recovery_t *recovery, const json_t *run)
{
    const json_t *usage = json_object_get(run, "usage"), *error = json_object_get(run, "error");
    ac_usage_t used = {.prompt = ac_json_peek_int(usage, "prompt_tokens", 0),
                       .completion = ac_json_peek_int(usage, "completion_tokens", 0),
                       .total = ac_json_peek_int(usage, "total_tokens", 0),
                       .estimated = true};
    ac_log_fields_t fields = {.run = run_of(recovery),
                              .thread = ac_event_log_header(recovery->log)->thread_id,
                              .agent = ac_json_peek_string(run, "agent_id", NULL),
                              .model = ac_json_peek_string(run, "model", NULL),
                              .status = ac_json_peek_string(run, "status", "interrupted"),
                              .error = ac_json_peek_string(error, "code", NULL),
                              .rounds = (int)ac_json_peek_int(run, "rounds", 0),
                              .tool_calls = (int)json_array_size(recovery->turn.tool_calls),
                              .latency = apr_time_from_msec(ac_json_peek_int(run, "latency_ms", 0)),
                              .first_token = apr_time_from_msec(ac_json_peek_int(run, "ttft_ms", 0)),
                              .usage = &used};
    ac_run_summary_write(&fields);
}

static void recover_end_with(ac_recovery_t *recovery, const json_t *run, json_t *message)
{
    if (recovery->late) {
        recover_count(run);
        ac_recover_trace(recovery->log, run);
    }
    ac_event_t *event = ac_stored_event_terminal(run, json_is_object(message) ? message : NULL);
    if (!event) {
        abort();
    }
    event->seq = recovery->turn.seq + 1;
    ac_event_log_append(recovery->log, event);
    ac_event_unref(event);
    retire(recovery);
}

static bool is_waiting(const ac_recovery_t *recovery)
{
    return recovery->failed && !recovery->pending;
}

/* During an outage of the store one recovery tries for all: the one whose last try is the oldest. */
static void try_one(void *baton)
{
    ac_engine_t *engine = baton;
    ac_recovery_t *oldest = NULL;
    for (ac_recovery_t *recovery = engine->follow->recoveries.first; recovery; recovery = recovery->next) {
        if (is_waiting(recovery) && (!oldest || recovery->failed_at < oldest->failed_at)) {
            oldest = recovery;
        }
    }
    engine->follow->recoveries.n_failures++;
    if (oldest) {
        try_now(oldest);
    }
}

static void recover_set_timer(ac_engine_t *engine)
{
    apr_interval_time_t wait = RETRY_FIRST
        << (engine->follow->recoveries.n_failures < 8 ? engine->follow->recoveries.n_failures : 8);
    if (engine->follow->recoveries.timer.slot) {
        return;
    }
    if (wait > RETRY_MAX) {
        wait = RETRY_MAX;
    }
    ac_timer_set(engine->loop, &engine->follow->recoveries.timer, ac_loop_now(engine->loop) + wait, try_one, engine);
}

static void try_later(ac_recovery_t *recovery, const ac_err_t *err)
{
    bool stops = err->kind == AC_STOPPING; /* the next process closes it */
    if (!recovery->logged && !stops) {
        ac_log_about(AC_M520, (&(ac_log_fields_t){.run = run_of(recovery), .error = ac_err_row(err->kind)->code}),
                     err->status, "run[%s]: not closed yet: %s; it is tried again", run_of(recovery), err->detail);
    }
    recovery->logged = recovery->logged || !stops;
    recovery->failed = true;
    recovery->failed_at = ac_loop_now(recovery->engine->loop);
    recover_set_timer(recovery->engine);
    call_waiters(recovery);
}

/* Not without a pause: the store may fail for this run alone. */
static void retry_soon(ac_recovery_t *recovery)
{
    if (is_waiting(recovery) && ac_loop_now(recovery->engine->loop) - recovery->failed_at >= RETRY_FIRST) {
        try_now(recovery);
    }
}

void ac_recover_retry_all(ac_engine_t *engine)
{
    if (!engine->follow->recoveries.first) {
        return;
    }
    engine->follow->recoveries.n_failures = 0;
    for (ac_recovery_t *recovery = engine->follow->recoveries.first; recovery; recovery = recovery->next) {
        retry_soon(recovery);
    }
    if (!engine->follow->recoveries.timer.slot) {
        return;
    }
    ac_timer_cancel(engine->loop, &engine->follow->recoveries.timer);
    recover_set_timer(engine);
}

static void recover_call_store(ac_recovery_t *recovery, ac_store_verb_e verb, const char *id, json_t *in,
                               void (*done)(ac_store_op_t *op))
{
    ac_engine_t *engine = recovery->engine;
    ac_store_op_t *op = ac_store_op_create(verb, ac_event_log_header(recovery->log)->owner, id);
    if (!op) {
        abort();
    }
    op->in = in;
    op->deadline = ac_clock() + engine->conf.store_timeout;
    recovery->pending = true;
    ac_store_call_post(engine->store, engine->loop, op, done, recovery);
}

static bool worth_a_retry(const ac_store_op_t *op)
{
    ac_kind_e kind = op->err.kind;
    return kind == AC_OK || kind == AC_STORE_ERROR || kind == AC_STORE_TIMEOUT || kind == AC_OVERLOADED ||
        kind == AC_STOPPING;
}

static void recover_interrupt(ac_recovery_t *recovery)
{
    json_t *run = json_pack("{s:s, s:s}", "id", run_of(recovery), "status", "interrupted");
    recover_end_with(recovery, run, NULL);
    json_decref(run);
}

/* The store refuses permanently, or another server has closed the run. The stored run stays as it is; the followers get
 * `interrupted`. */
static void recover_give_up(ac_recovery_t *recovery, const ac_err_t *err)
{
    if (err->kind != AC_NOT_FOUND && err->kind != AC_INTERRUPTED) {
        ac_log_about(AC_M521, (&(ac_log_fields_t){.run = run_of(recovery), .error = ac_err_row(err->kind)->code}),
                     err->status, "run[%s]: cannot be closed: %s", run_of(recovery), err->detail);
    }
    recover_interrupt(recovery);
}

static void close_turn(ac_recovery_t *recovery);

static void recover_on_closed(ac_store_op_t *op)
{
    ac_recovery_t *recovery = op->baton;
    recovery->pending = false;
    if (op->status == APR_SUCCESS) {
        json_t *run = json_incref(json_object_get(recovery->turn.closing, "run"));
        ac_log_about(AC_M522,
                     (&(ac_log_fields_t){.run = run_of(recovery), .status = ac_json_peek_string(run, "status", NULL)}),
                     0, "run[%s]: closed as %s from its event log, %s", run_of(recovery),
                     ac_json_peek_string(run, "status", "interrupted"),
                     recovery->late ? "since its process had ended" : "since the store had been out of reach");
        if (recovery->late) {
            recover_log(recovery, run);
        }
        ac_run_webhook_notify(recovery->engine, op->owner, run, NULL);
        recover_end_with(recovery, run, json_object_get(op->out, "message"));
        json_decref(run);
    } else if (op->err.kind == AC_INTERRUPTED && recovery->late && ac_recover_turn_interrupt(&recovery->turn)) {
        close_turn(recovery); /* the thread was changed concurrently: the partial answer is stored as interrupted */
    } else if (worth_a_retry(op)) {
        try_later(recovery, &op->err);
    } else {
        recover_give_up(recovery, &op->err);
    }
    ac_store_op_free(op);
}

static void close_turn(ac_recovery_t *recovery)
{
    json_t *in = json_copy(recovery->turn.closing);
    ac_json_put(in, "late", json_boolean(recovery->late));
    recover_call_store(recovery, AC_STORE_TURN_CLOSE, ac_event_log_header(recovery->log)->thread_id, in,
                       recover_on_closed);
}

static void recover_on_run(ac_store_op_t *op)
{
    ac_recovery_t *recovery = op->baton;
    const char *status = ac_json_peek_string(op->out, "status", "");
    recovery->pending = false;
    if (op->status != APR_SUCCESS) {
        if (worth_a_retry(op)) {
            try_later(recovery, &op->err);
        } else {
            recover_give_up(recovery, &op->err);
        }
    } else if (strcmp(status, "completed") == 0 || strcmp(status, "failed") == 0 || strcmp(status, "cancelled") == 0) {
        recover_end_with(recovery, op->out, NULL);
    } else {
        recovery->turn.closing = ac_recover_turn_closing(&recovery->turn, op->out, recovery->cancelled);
        close_turn(recovery);
    }
    ac_store_op_free(op);
}

static void try_now(void *baton)
{
    ac_recovery_t *recovery = baton;
    if (recovery->pending) {
        return;
    }
    recovery->failed = false;
    if (recovery->turn.closing) {
        close_turn(recovery);
    } else {
        recover_call_store(recovery, AC_STORE_RUN_GET, run_of(recovery), NULL, recover_on_run);
    }
}

static void recover_begin(ac_recovery_t *recovery)
{
    recovery->active = true;
    recovery->engine->follow->recoveries.n_active++;
    ac_recover_turn_read(&recovery->turn, recovery->log);
    if (recovery->turn.ended) {
        retire(recovery);
    } else if (!ac_event_log_header(recovery->log)->thread_id[0]) {
        recover_interrupt(recovery); /* no store has it */
    } else {
        try_now(recovery);
    }
}

static void begin_next(ac_engine_t *engine)
{
    ac_recovery_t *recovery = engine->follow->recoveries.first;
    while (recovery && recovery->active) {
        recovery = recovery->next;
    }
    if (recovery && engine->follow->recoveries.n_active < AC_MAX_RECOVERIES) {
        recover_begin(recovery);
    }
}

static void recover(ac_engine_t *engine, ac_event_log_t *log, bool late)
{
    ac_recovery_t *recovery = ac_alloc(sizeof *recovery), *last = engine->follow->recoveries.first;
    recovery->engine = engine;
    recovery->late = late;
    recovery->log = log;
    recovery->cancelled = ac_event_log_decide(log, AC_LOG_OUTCOME_CLOSING) == AC_LOG_OUTCOME_CANCELLED;
    while (last && last->next) {
        last = last->next;
    }
    recovery->prev = last;
    if (last) {
        last->next = recovery;
    } else {
        engine->follow->recoveries.first = recovery;
    }
    begin_next(engine);
}

void ac_recover_log(ac_engine_t *engine, ac_event_log_t *log)
{
    recover(engine, log, false);
}

void ac_recover_adopt(ac_engine_t *engine, ac_child_key_t from, const char *run_id)
{
    ac_event_log_t *log = ac_event_log_adopt(engine->dir, from, run_id);
    if (!log) {
        return;
    }
    if (ac_event_log_ended(log)) {
        ac_ended_log_keep(engine, log);
    } else if (ac_event_log_is_suspended(log)) {
        ac_event_log_close(log); /* it stays here until a child resumes its run */
        ac_suspended_log_track(engine, run_id);
    } else {
        recover(engine, log, true);
    }
}

static ac_recovery_t *recover_find(const ac_engine_t *engine, const char *run_id)
{
    ac_recovery_t *recovery = engine->follow->recoveries.first;
    while (recovery && strcmp(run_of(recovery), run_id) != 0) {
        recovery = recovery->next;
    }
    return recovery;
}

void ac_recover_retry_run(ac_engine_t *engine, const char *run_id)
{
    ac_recovery_t *recovery = recover_find(engine, run_id);
    if (recovery && !recovery->active) {
        recover_begin(recovery);
    } else if (recovery) {
        retry_soon(recovery);
    }
}

static void recover_add_waiter(ac_recovery_t *recovery, ac_task_fn *fn, void *baton)
{
    waiter_t *waiter = ac_alloc(sizeof *waiter);
    *waiter = (waiter_t){fn, baton, recovery->waiters};
    recovery->waiters = waiter;
}

/* Finds a run that is not active in this child and that it does not recover yet. Begins to recover the run of a dead
 * child. */
static ac_recover_e look_elsewhere(ac_engine_t *engine, const char *run_id)
{
    char text[AC_ID_SIZE + 8];
    ac_event_log_t *log;
    apr_status_t status = ac_event_log_search(&log, engine->dir, run_id);
    if (!log) {
        return status == APR_ENOENT ? AC_RECOVER_NONE : AC_RECOVER_ELSEWHERE;
    }
    ac_child_key_t owner = ac_event_log_child(log);
    bool open = !ac_event_log_ended(log) && !ac_event_log_is_suspended(log) && owner != ac_event_dir_key(engine->dir);
    ac_event_log_close(log);
    if (!open) {
        return AC_RECOVER_NONE;
    }
    if (!ac_event_dir_alive(engine->dir, owner)) {
        ac_recover_adopt(engine, owner, run_id);
        return recover_find(engine, run_id) ? AC_RECOVER_HERE : AC_RECOVER_ELSEWHERE;
    }
    int len = apr_snprintf(text, sizeof text, "close %s", run_id);
    ac_event_dir_send(engine->dir, owner, text, (size_t)len);
    return AC_RECOVER_ELSEWHERE;
}

ac_recover_e ac_recover_find(ac_engine_t *engine, const char *run_id, ac_task_fn *fn, void *baton)
{
    if (!engine->dir) {
        return AC_RECOVER_NONE;
    }
    if (!recover_find(engine, run_id)) {
        ac_recover_e where = look_elsewhere(engine, run_id);
        if (where != AC_RECOVER_HERE) {
            return where;
        }
    }
    ac_recover_retry_run(engine, run_id);
    ac_recovery_t *recovery = recover_find(engine, run_id);
    if (!recovery) {
        return AC_RECOVER_ELSEWHERE; /* the log had the run's end, so the store has it, too */
    }
    if (fn) {
        recover_add_waiter(recovery, fn, baton);
    }
    return AC_RECOVER_HERE;
}

void ac_recover_drop_all(ac_engine_t *engine)
{
    while (engine->follow->recoveries.first) {
        ac_recovery_t *recovery = engine->follow->recoveries.first;
        engine->follow->recoveries.first = recovery->next;
        ac_timer_cancel(engine->loop, &engine->follow->recoveries.timer);
        while (recovery->waiters) {
            waiter_t *waiter = recovery->waiters;
            recovery->waiters = waiter->next;
            free(waiter);
        }
        ac_recover_turn_free(&recovery->turn);
        ac_event_log_close(recovery->log);
        free(recovery);
    }
}
