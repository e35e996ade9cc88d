/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store of one child, and its tasks. A task is one operation while it is carried out, or work of the
 * store itself. It is a chain of steps: each step sends a request or calls a function that does, and the answer
 * leads to the next step. All of it runs on the loop thread. */
#ifndef AC_COSMOS_TASK_H
#define AC_COSMOS_TASK_H

#include <pthread.h>
#include <stdatomic.h>

#include "back/back.h"
#include "back/credential/credential.h"
#include "cosmos.h"

#define AC_COSMOS_ETAG_SIZE 96
#define AC_COSMOS_MAX_REMEMBERED 1024           /* thread documents in memory */
#define AC_COSMOS_MAX_IN_FLIGHT 128             /* requests at a time */
#define AC_COSMOS_MAX_STEPS 8                   /* continuations of a task */
#define AC_COSMOS_TIMEOUT apr_time_from_sec(60) /* of a request without a deadline */
#define AC_COSMOS_KEY_SIZE 72

typedef enum ac_cosmos_container_e {
    AC_COSMOS_THREADS,
    AC_COSMOS_MESSAGES,
    AC_COSMOS_N_CONTAINERS
} ac_cosmos_container_e;

typedef struct ac_cosmos_task_t ac_cosmos_task_t;
typedef struct ac_cosmos_selection_t ac_cosmos_selection_t;
typedef struct ac_cosmos_call_t ac_cosmos_call_t;
typedef void ac_cosmos_step_fn(ac_cosmos_task_t *task);

#define AC_COSMOS_MAX_ERASING 64
typedef struct ac_cosmos_erasing_t { /* an owner who is being erased */
    char id[AC_COSMOS_KEY_SIZE];     /* of the marker; "": free */
    char until[AC_TIME_SIZE];        /* what is older is hidden */
    apr_time_t known;                /* ac_clock; since when */
} ac_cosmos_erasing_t;

/* State that children share: it saves requests, and each child reads the others' writes. */
typedef struct ac_cosmos_state_t {
    ac_cosmos_session_t sessions[AC_COSMOS_N_CONTAINERS];
    char agents_stamp[AC_ID_SIZE]; /* of the agents, as last read or written */
    apr_time_t agents_read;        /* ac_clock; 0: never */
    apr_time_t agents_written;     /* ac_clock, acknowledged */
    apr_time_t next_sweep;         /* ac_clock; one child at a time looks for dead runs */
    apr_time_t next_erasures;      /* ac_clock; the same for the markers of erasures */
    ac_cosmos_erasing_t erasing[AC_COSMOS_MAX_ERASING];
} ac_cosmos_state_t;

typedef struct ac_cosmos_shared_t { /* in shared memory, created before the fork */
    pthread_mutex_t lock;
    ac_cosmos_state_t state;
    atomic_int n_erasing; /* slots of state.erasing that are used */
} ac_cosmos_shared_t;

/* A thread's document, which decides on the thread's state, and the ETag under which it is replaced. */
typedef struct ac_cosmos_thread_doc_t {
    json_t *doc; /* NULL: there is none */
    char etag[AC_COSMOS_ETAG_SIZE];
    bool remembered; /* from memory: another machine may have changed it */
} ac_cosmos_thread_doc_t;

/* Figures for telemetry; read with relaxed loads. */
typedef struct ac_cosmos_figures_t {
    _Atomic uint64_t n_requests, n_retries, n_throttled, charge_milli;
} ac_cosmos_figures_t;

typedef enum ac_cosmos_ready_e {
    AC_COSMOS_UNKNOWN,
    AC_COSMOS_PREPARING,
    AC_COSMOS_READY,
    AC_COSMOS_UNFIT
} ac_cosmos_ready_e;

typedef struct ac_cosmos_conf_t {
    const char *endpoint, *host, *database, *containers[AC_COSMOS_N_CONTAINERS], *ca_file, *scope;
    const char *throughput, *autoscale; /* or NULL */
    bool create, scope_given;
    apr_interval_time_t retention, lease;
    ac_credential_t *credential;
} ac_cosmos_conf_t;

typedef struct ac_cosmos_t {
    ac_cosmos_conf_t conf;
    ac_cosmos_shared_t *shared;
    ac_cosmos_state_t own_state; /* while the shared one cannot be locked; its sessions always */
    bool alone;                  /* the lock was not acquired in time; the next attempts do not wait for it */
    const ac_host_t *ac_host;
    ac_loop_t *loop;
    apr_pool_t *pool;
    char holder[AC_ID_SIZE], process[AC_PROCESS_SIZE]; /* of this process, in the runs that it owns */
    struct {
        bool started, stopping, halted; /* halted: nothing is sent any more */
        atomic_bool began;              /* the loop runs */
        ac_latch_t *stopped;            /* child_exit waits for the last task */
        ac_timer_t stop_timer;
    } child;
    atomic_int n_open;       /* operations that were accepted and are not answered yet */
    ac_cosmos_task_t *tasks; /* ring; NULL: none */
    int n_tasks;
    struct {
        ac_cosmos_call_t *all;                          /* ring */
        ac_cosmos_call_t *waiting_first, *waiting_last; /* for a request slot */
        int n_in_flight;
        char *write_endpoint;     /* the account's write region, if it is not conf.endpoint; or NULL */
        apr_interval_time_t skew; /* the service's clock minus ours */
    } calls;
    struct {
        ac_cosmos_ready_e ready;
        ac_cosmos_task_t *waiting; /* tasks that wait for it, linked by next_unprepared */
        apr_time_t next_attempt;
        ac_err_t err;                       /* why it is not ready */
        apr_interval_time_t expires;        /* time to live of documents in the messages container; 0: none */
        apr_interval_time_t entries_expire; /* of entries in the threads container */
        bool keys_expire; /* documents of the threads container may have a time to live of their own */
        bool by_update;   /* an index gives entries by the threads' last change */
        bool sweeps;      /* an index gives runs by the end of their lease */
        bool full_text;   /* an index gives messages by their words */
    } containers;
    ac_cosmos_thread_doc_t remembered[AC_COSMOS_MAX_REMEMBERED];
    unsigned int n_lists; /* lists of threads that found any */
    struct {
        apr_hash_t *table; /* run id → lease_t: the runs of this process */
        ac_timer_t timer;
    } leases;
    struct {
        int number;              /* the log id of the outage; 0: none */
        apr_time_t at;           /* of its last failure */
        apr_time_t lost_at;      /* ac_clock; the last request that failed since the outage began; 0: never */
        apr_time_t ping_written; /* ac_clock; the last write of PING that succeeded; 0: never */
    } outage;
    struct {
        json_t *waiting;            /* owner → {run id: row}; NULL: there was none yet */
        ac_cosmos_task_t *flushing; /* tasks that wait until there is none, linked by next_unprepared */
    } counts;
    ac_cosmos_figures_t figures;
} ac_cosmos_t;

/* Continuations, the innermost last. A function that takes `fn` pushes it and returns to it when it is done. */
typedef struct ac_cosmos_stack_t {
    ac_cosmos_step_fn *steps[AC_COSMOS_MAX_STEPS];
    int n;
} ac_cosmos_stack_t;

struct ac_cosmos_task_t {
    ac_cosmos_t *store;
    ac_store_op_t *op; /* never NULL; if `own`, it is the task's */
    bool own;          /* the operation has no caller, or is answered */
    apr_time_t deadline, began;
    ac_cosmos_task_t *next, *prev, *next_unprepared;
    ac_cosmos_stack_t stack;
    ac_cosmos_step_fn *on_failure; /* runs when the task ends with an error, before it is freed; or NULL */
    ac_timer_t timer;              /* cancelled with the task */
    int n_tries;                   /* attempts of one file's step */
    struct {
        int n;            /* conflicts: conditional writes that another writer's change refused */
        apr_time_t since; /* of the first */
    } conflicts;
    ac_cosmos_thread_doc_t thread;
    char run_id[AC_ID_SIZE];
    /* cosmos_usage.c */
    struct {
        ac_timer_t timer;    /* ends the wait for the counts */
        bool ends;           /* active runs count as interrupted */
        json_t *interrupted; /* the run that cosmos_run_check.c closes */
    } counting;
    /* cosmos_query.c */
    ac_cosmos_selection_t *selection;
    json_t *rows; /* of the last query */
    bool more;    /* the service has more of them */
    bool refused; /* the service did not understand the last query, which may be refused */
    size_t row;   /* index of the current row */
    struct {
        int part, n_parts;
        ac_buf_t text;
    } join;
    /* cosmos_entry.c */
    struct {
        char change[AC_ID_SIZE];        /* the change that the thread's entry is marked with */
        char etag[AC_COSMOS_ETAG_SIZE]; /* of the thread's entry, as marked, or as read for a repair */
    } entry;
    /* cosmos_tree.c */
    struct {
        const char *member; /* of op->in, with the id of the message that is looked for */
        int n_tries;
        bool siblings; /* the messages are shown with them */
    } find;
    /* cosmos_keys.c */
    struct {
        const json_t *in;               /* the Idempotency-Key of op->in; or NULL */
        char etag[AC_COSMOS_ETAG_SIZE]; /* of its entry; "": there is none */
        bool written;                   /* the entry leads to this task's run */
        int n_polls;                    /* checks of a key whose turn another task is opening */
    } key;
    json_t *documents, *parts, *found, *whole; /* of a verb; whole: a message that is written in parts, as one */
    void *state;                               /* of a verb; freed with the task */
    union {                                    /* of one kind of task only, zero at first */
        struct {
            bool claimed;    /* the entries in the owner's partition are written */
            bool unsure;     /* the run may be stored although its caller got an error */
            bool conflicted; /* the last attempt met a conflict, which may be an earlier attempt's success */
            int n_cleanups;  /* for a task that closes such a run: the number of tasks that tried before */
        } turn;              /* open, close */
        struct {
            bool created;
            char stamp[AC_ID_SIZE]; /* written with it */
            int n_unsure;           /* attempts that the service may have carried out */
        } agent;                    /* put, delete */
        struct {
            bool entry_exists; /* before this task wrote its own */
        } create;              /* a thread */
        struct {
            bool status_changes;
            int64_t leaf; /* 0: it stays where it is */
            char leaf_id[AC_ID_SIZE];
        } update; /* a thread, also hide and restore */
        struct {
            int n_open;             /* calls without a decision, with this one decided */
            char nonce[AC_ID_SIZE]; /* of the thread document with the decision; "": not written yet */
            bool claims;            /* the run belongs to this process before that is stored */
        } approval;
        struct {
            bool checked; /* whether the run's process lives was checked */
        } look;           /* at a run */
        struct {
            int64_t n_threads;
            bool more; /* than those in task->found */
        } purge;
        struct {
            bool more; /* runs after this page */
        } export;
        struct {
            ac_cosmos_container_e container; /* the current container */
            bool made;                       /* since it was found to be missing */
        } prepare;
    };
    struct {
        int n_requests, n_retries;
        double charge;
    } figures;
};

/* ---- cosmos_task.c ---- */

/* Creates a task for an operation, which belongs to its caller again when the task ends. All functions are for the loop
 * thread. */
ac_cosmos_task_t *ac_cosmos_task_create(ac_cosmos_t *store, ac_store_op_t *op);
/* A task without a caller; it starts with fn, in a later turn of the loop. id and owner may be NULL. */
ac_cosmos_task_t *ac_cosmos_task_own(ac_cosmos_t *store, const char *owner, const char *id, ac_cosmos_step_fn *fn);
/* Answers the operation; the task continues without it and without a deadline. */
void ac_cosmos_task_detach(ac_cosmos_task_t *task, apr_status_t status);

/* Pushes a continuation. Aborts at the maximum, AC_COSMOS_MAX_STEPS. */
void ac_cosmos_task_then(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* Pops the last continuation and runs it. Aborts without one. Used as a continuation, it returns to the one below
 * it. */
void ac_cosmos_task_return(ac_cosmos_task_t *task);
/* After a conflict: counts it and runs fn(task), at once the first time, then after a random pause that grows, so
 * that writers do not lose to the same others again and again. Ends the task with store_timeout if its time is over. */
void ac_cosmos_task_retry(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);

/* Answers and frees the task; it must have no request in flight. Continuations are dropped. */
void ac_cosmos_task_end(ac_cosmos_task_t *task, apr_status_t status);
void ac_cosmos_task_end_with(ac_cosmos_task_t *task, const ac_err_t *err);
/* Ends the task with store_error: documents contradict each other. */
void ac_cosmos_task_end_damaged(ac_cosmos_task_t *task, const char *what);
/* Ends the task successfully, with op->out set; out NULL: internal. */
void ac_cosmos_task_end_out(ac_cosmos_task_t *task, json_t *out);

/* Answers an operation without a task. */
void ac_cosmos_task_answer(ac_cosmos_t *store, ac_store_op_t *op, apr_status_t status);
/* Opens the latch of child_exit if the store stops and no task is left. */
void ac_cosmos_task_check_stopped(ac_cosmos_t *store);

/* The service's time, according to its responses. */
static inline apr_time_t ac_cosmos_now(const ac_cosmos_t *store)
{
    return apr_time_now() + store->calls.skew;
}

#endif
