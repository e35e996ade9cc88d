/* SPDX-License-Identifier: Apache-2.0 */
/* All runs of a child. Shared by engine.c, run/ and follow/; everything is the loop thread's. */
#ifndef AC_ENGINE_H
#define AC_ENGINE_H

#include "agent/events/events.h"
#include "agent/gate/gate.h"

typedef struct ac_run_t ac_run_t;
typedef struct ac_follow_t ac_follow_t; /* follow/follow.h */

typedef enum ac_recover_e {
    AC_RECOVER_NONE,     /* the run has ended, or is active here */
    AC_RECOVER_HERE,     /* its process died, or its closing write failed: this child closes it */
    AC_RECOVER_ELSEWHERE /* another child has it, alive or to be recovered; or the answer is not known now */
} ac_recover_e;

/* What a run needs of follow/, which stands above it. The engine installs the functions. */
typedef struct ac_engine_hooks_t {
    /* The follower continues at the run's tail; see ac_tail_start(). */
    void (*follow)(ac_engine_t *engine, const char *run_id, const char *owner, uint64_t after, ac_follower_t *follower);
    /* Whether a tail in this child follows the run. */
    bool (*is_followed)(const ac_engine_t *engine, const char *run_id);
    /* The store has made a write: recoveries that wait for it are tried now. */
    void (*on_stored)(ac_engine_t *engine);
    /* The closing write of this log's run failed: it is tried again until it succeeds. Consumes the log, which is
     * owned. */
    void (*close_later)(ac_engine_t *engine, ac_event_log_t *log);
    /* Whether the run still has to be closed. If so, closing is tried at once. HERE: calls fn(baton) once, after
     * that try, never inside the call; fn may be NULL. */
    ac_recover_e (*find_recovery)(ac_engine_t *engine, const char *run_id, ac_task_fn *fn, void *baton);
    /* Keeps an ended log for its time. Consumes the log. */
    void (*keep_ended)(ac_engine_t *engine, ac_event_log_t *log);
    /* The log of this run is suspended in this child's directory. */
    void (*track_suspended)(ac_engine_t *engine, const char *run_id);
    /* Other machines look at the run in the store at once; see ac_notice_post(). */
    void (*notify)(ac_engine_t *engine, const char *run_id);
    /* Makes the directory of this child again. errors: the system's. */
    apr_status_t (*recreate_dir)(ac_engine_t *engine);
} ac_engine_hooks_t;

typedef struct ac_engine_stop_t {
    bool stopping;
    void (*done)(void *baton); /* NULL: reported */
    void *baton;
    ac_ready_t ready;
} ac_engine_stop_t;

typedef struct ac_after_run_t ac_after_run_t;
typedef struct ac_after_runs_t { /* the titles and summaries that models make now */
    ac_after_run_t *list;
    int n;
    apr_time_t logged[2]; /* by kind: ac_clock() of the last line about a failure */
} ac_after_runs_t;

struct ac_engine_t {
    ac_loop_t *loop;
    ac_work_t *work;
    const ac_store_t *store;
    const ac_registry_t *registry;
    ac_engine_conf_t conf;
    apr_pool_t *pool;
    ac_catalog_t *catalog;            /* NULL: the registry has all agents */
    ac_counters_t *counters;          /* NULL: no limits */
    ac_webhook_sender_t *webhooks;    /* NULL: there are none */
    ac_engine_webhook_fn *on_webhook; /* with webhooks */
    ac_event_dir_t *dir;              /* NULL: no event logs */
    const ac_files_t *files;          /* NULL: files are off */
    ac_work_t *files_work;            /* for reading them */

    apr_hash_t *runs; /* run id → ac_run_t */
    volatile apr_uint32_t n_active;
    ac_run_queue_t queue; /* for a slot of this child */
    ac_gates_t gates;
    ac_timer_t approval_timer, queued_timer;
    apr_time_t queued_since; /* from when on it looks for queued turns; the loop's time */
    int n_waiting;           /* runs that have waited for their thread */
    ac_engine_stop_t stop;
    ac_after_runs_t after_runs;
    ac_mirror_writers_t writers; /* of the logs of this child */
    const ac_engine_hooks_t *hooks;
    ac_follow_t *follow;
};

/* run/run_webhook.c: notifies the webhook of a run that the store has ended, or (with asks) suspended. */
void ac_run_webhook_notify(const ac_engine_t *engine, const char *owner, const json_t *run, const json_t *asks);

#endif
