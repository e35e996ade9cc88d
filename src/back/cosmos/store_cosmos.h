/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the Cosmos DB store, for its own files only: store_cosmos.c (configuration, tasks, start and stop), cosmos_call.c
 * (requests and their tries), cosmos_shared.c (what children know together), cosmos_trouble.c (log lines), cosmos_prepare.c
 * (database and containers), cosmos_rows.c (heads, queries, split documents), cosmos_doc.c (documents), and one file per noun
 * that carries out the verbs. All of it runs on the loop thread, create() and start_post() aside. What the documents are and
 * why: docs/cosmos.md. */
#ifndef AC_STORE_COSMOS_H
#define AC_STORE_COSMOS_H

#include <pthread.h>
#include <stdatomic.h>

#include "back/back.h"
#include "back/credential/credential.h"
#include "cosmos.h"

#define AC_COSMOS_SPLIT 900000 /* bytes of a document's JSON, over which it is kept in parts */
#define AC_COSMOS_ETAG_SIZE 96
#define AC_COSMOS_HEADS 1024                     /* threads of which the head is remembered */
#define AC_COSMOS_FLIGHTS 128                    /* requests under way at a time */
#define AC_COSMOS_PATIENCE apr_time_from_sec(60) /* for a request without a deadline */
#define AC_COSMOS_TOUCH 8 /* entries, written when a turn begins, live longer than documents by such a part at least */
#define AC_COSMOS_CURSOR_NONE "~" /* sorts after every id's letters */

/* The containers. */
typedef enum ac_cosmos_place_e { AC_COSMOS_THREADS, AC_COSMOS_MESSAGES, AC_COSMOS_N_PLACES } ac_cosmos_place_e;

/* What helps to ask the service less, and to read what was written. */
typedef struct ac_cosmos_known_t {
    ac_cosmos_session_t sessions[AC_COSMOS_N_PLACES];
    char agents_stamp[AC_ID_SIZE]; /* of the agents, as one of them has last read or written it */
    apr_time_t agents_read;        /* ac_clock; 0: nobody has */
    apr_time_t agents_written;     /* ac_clock, by one of them, and acknowledged */
    apr_time_t next_sweep;         /* ac_clock; one child at a time looks for runs of machines that are gone */
} ac_cosmos_known_t;

/* What the children of one server know together: made before they are forked. */
typedef struct ac_cosmos_shared_t {
    pthread_mutex_t lock;
    ac_cosmos_known_t known;
} ac_cosmos_shared_t;

/* A thread's authoritative document and the ETag by which it is replaced. */
typedef struct ac_cosmos_head_t {
    json_t *doc; /* NULL: there is none */
    char etag[AC_COSMOS_ETAG_SIZE];
    bool remembered; /* from our memory: another machine may have changed it */
} ac_cosmos_head_t;

typedef struct ac_cosmos_task_t ac_cosmos_task_t;
typedef struct ac_cosmos_selection_t ac_cosmos_selection_t;
typedef struct ac_cosmos_call_t ac_cosmos_call_t;
typedef void ac_cosmos_step_fn(ac_cosmos_task_t *task);

/* What is counted for telemetry; read with relaxed loads. */
typedef struct ac_cosmos_figures_t {
    _Atomic uint64_t n_requests, n_retries, n_throttled, charge_milli;
} ac_cosmos_figures_t;

typedef enum ac_cosmos_ready_e {
    AC_COSMOS_UNKNOWN,
    AC_COSMOS_PREPARING,
    AC_COSMOS_READY,
    AC_COSMOS_UNFIT
} ac_cosmos_ready_e;

typedef struct ac_cosmos_t {
    /* from the configuration */
    const char *endpoint, *host, *database, *containers[AC_COSMOS_N_PLACES], *ca_file, *scope;
    const char *throughput, *autoscale; /* or NULL */
    bool create, scope_given;
    apr_interval_time_t retention, lease;
    ac_credential_t *credential;
    ac_cosmos_shared_t *shared;
    /* of this child */
    ac_cosmos_known_t own; /* while the shared one is not to be had; its sessions always */
    bool alone;            /* it was waited for in vain, and is not waited for until it was to be had again */
    const ac_host_t *ac_host;
    ac_loop_t *loop;
    apr_pool_t *pool;
    char holder[AC_ID_SIZE], process[AC_PROCESS_SIZE]; /* who we are, in the runs that we run */
    char *write_endpoint;                              /* the account's, once it told us another; or NULL */
    bool stopping, halted, started;                    /* halted: nothing is sent any more */
    atomic_int n_open;                                 /* operations that were taken and not answered */
    atomic_bool began;                                 /* the loop runs */
    ac_latch_t *stopped;                               /* somebody waits for the last task */
    ac_timer_t stop_timer, lease_timer;
    struct ac_cosmos_task_t *tasks;                        /* ring; NULL: none */
    struct ac_cosmos_call_t *calls;                        /* ring */
    struct ac_cosmos_call_t *waiting_first, *waiting_last; /* for a flight */
    int n_tasks, n_flights;
    unsigned int n_lists; /* of threads, that found any */
    bool by_update;       /* the threads container gives entries by their last change */
    ac_cosmos_ready_e ready;
    ac_cosmos_task_t *unprepared; /* tasks that wait for it, linked by `next_unprepared` */
    apr_time_t next_prepare;
    ac_err_t unfit;                     /* why it is not ready */
    apr_interval_time_t expires;        /* the messages container's time to live; 0: none */
    apr_interval_time_t entries_expire; /* the threads container's */
    bool keys_expire;                   /* the threads container heeds a document's own */
    apr_interval_time_t skew;           /* the service's clock minus ours */
    ac_cosmos_head_t heads[AC_COSMOS_HEADS];
    apr_hash_t *runs;   /* run id → ac_cosmos_run_t: those that this process runs */
    bool sweeps;        /* runs whose lease is over can be found at little cost */
    apr_time_t lost_at; /* ac_clock; when something was last given up since the service failed; 0: never */
    int trouble;        /* the log message of the episode under way; 0: all is well */
    apr_time_t trouble_at;
    ac_cosmos_figures_t figures;
} ac_cosmos_t;

/* ---- cosmos_list_sql.c ---- */
typedef enum ac_cosmos_listing_e {
    AC_COSMOS_BY_ID,    /* all entries, by the creation of their threads */
    AC_COSMOS_UNCOPIED, /* those without a copy of what is shown, in any order */
    AC_COSMOS_COPIED    /* the others, by the last change of their threads */
} ac_cosmos_listing_e;
const char *ac_cosmos_list_sql(const ac_page_t *page, ac_cosmos_listing_e of);
const char *ac_cosmos_count_sql(const ac_page_t *page);
/* Puts the threads without a copy among those found, where they belong by their last change, as far as the page and one more goes. */
void ac_cosmos_list_merge(json_t *found, const json_t *uncopied, const ac_page_t *page);

/* ---- cosmos_config.c ---- */
const char *ac_cosmos_configure(void **pself, const char *spec, apr_table_t *options, apr_pool_t *p);

/* ---- cosmos_call.c: one request, tried until it is answered or time is up ---- */
typedef struct ac_cosmos_reply_t {
    int status, substatus; /* 0: no answer came */
    ac_err_t err;          /* kind not AC_OK: nothing that a step could go on from */
    json_t *body;          /* borrowed; or NULL */
    char etag[AC_COSMOS_ETAG_SIZE];
    const char *continuation; /* borrowed; or NULL */
    int failed_at;            /* batch: the operation whose status this is; -1: none */
    bool unsure;              /* an earlier try of the same request may have been carried out */
} ac_cosmos_reply_t;
typedef void ac_cosmos_reply_fn(void *baton, const ac_cosmos_reply_t *reply);
/* The document's ETag: as the header says, or where there was none, the body; "": neither. Lives as long as the reply. */
const char *ac_cosmos_reply_etag(const ac_cosmos_reply_t *reply);

typedef struct ac_cosmos_request_t {
    ac_cosmos_verb_e verb;
    ac_cosmos_place_e place;
    const char *key, *id, *if_match, *continuation;
    int max_items;
    ac_buf_t *body; /* emptied: its memory is taken; or NULL */
    int n_ops;      /* of a batch */
    bool early;     /* also before the containers are known to be there */
} ac_cosmos_request_t;

/* fn comes once, later. The answer is one of ac_cosmos_usable(), or reply->err says why there is none. */
void ac_cosmos_call(ac_cosmos_task_t *task, const ac_cosmos_request_t *request, ac_cosmos_reply_fn *fn, void *baton);
/* The same with a document as its body, which is borrowed; fn(task). */
void ac_cosmos_write(ac_cosmos_task_t *task, ac_cosmos_request_t *request, const json_t *document,
                     ac_cosmos_reply_fn *fn);
/* The same with a batch that was ended, which is freed; fn(task). */
void ac_cosmos_write_batch(ac_cosmos_task_t *task, ac_cosmos_request_t *request, ac_cosmos_batch_t *batch,
                           ac_cosmos_reply_fn *fn);
/* Those under way are answered with `stopping`. */
void ac_cosmos_calls_stop(ac_cosmos_t *store);
/* The service's time, as far as its answers have told it. */
apr_time_t ac_cosmos_now(const ac_cosmos_t *store);

/* Inside of calls: cosmos_call.c, cosmos_send.c. */
struct ac_cosmos_call_t {
    ac_cosmos_task_t *task;
    ac_cosmos_t *store;
    ac_cosmos_call_t *next, *prev;  /* all of them */
    ac_cosmos_call_t *next_waiting; /* for a flight */
    ac_cosmos_verb_e verb;
    ac_cosmos_place_e place;
    char *key, *id, *if_match, *continuation;
    int max_items, n_ops;
    bool early;
    ac_buf_t body;
    ac_cosmos_reply_fn *fn;
    void *baton;
    apr_time_t deadline, began;
    ac_timer_t timer; /* before the next try; or the deadline while it waits */
    ac_ready_t ready;
    ac_http_t *http;
    bool waiting, flying, asking; /* for a flight; has one; for a credential */
    bool rejected;                /* one credential was refused already */
    int n_lost, n_failed, n_pauses;
    char *used;    /* the credential of this try */
    ac_err_t last; /* why the last try failed */
    ac_cosmos_reply_t reply;
    ac_buf_t answer;
    char *more;                /* x-ms-continuation */
    apr_interval_time_t asked; /* x-ms-retry-after-ms */
};
/* Puts a try together and sends it. errors: invalid_request (a key that is none), internal */
apr_status_t ac_cosmos_send(ac_cosmos_call_t *call, const char *credential, ac_err_t *err);
/* Reads the answer's body, and of a batch what became of it. false: it is not what was to be expected; see call->last. */
bool ac_cosmos_body_read(ac_cosmos_call_t *call);
void ac_cosmos_call_done(void *baton, apr_status_t status, const ac_err_t *err, const char *error_body, size_t len);
/* Asks the account where it writes. */
void ac_cosmos_account_ask(ac_cosmos_task_t *task);

/* ---- cosmos_shared.c: what children know together ---- */
/* Until ac_cosmos_known_drop(): short, nothing is waited for inside. What the children know together, under its lock; or where the child
 * that has the lock is stopped, what this one knows alone. Never NULL. Of a child that was killed inside, the others have it again. */
ac_cosmos_known_t *ac_cosmos_known_take(ac_cosmos_t *store);
void ac_cosmos_known_drop(ac_cosmos_t *store);
/* An answer's x-ms-session-token. */
void ac_cosmos_token_note(ac_cosmos_t *store, ac_cosmos_place_e place, const char *token);
/* The newest tokens, as the header wants them, to be freed; or NULL: there are none. */
char *ac_cosmos_token_text(ac_cosmos_t *store, ac_cosmos_place_e place);
/* The tokens that we send may be of a container that was made anew: the next request goes without. */
void ac_cosmos_token_forget(ac_cosmos_t *store, ac_cosmos_place_e place);

/* ---- cosmos_trouble.c ---- */
/* Logs the beginning of an episode; one of the numbers 220 to 229. */
void ac_cosmos_trouble(ac_cosmos_t *store, int number, const char *what);
void ac_cosmos_well(ac_cosmos_t *store);

/* ---- store_cosmos.c: tasks ---- */
/* One operation, or something of our own, while it is carried out. */
struct ac_cosmos_task_t {
    ac_cosmos_t *store;
    ac_store_op_t *op; /* never NULL; where nobody waits for it, it is the task's own */
    bool own;          /* the operation has no caller, or has been answered */
    apr_time_t deadline, began;
    ac_cosmos_task_t *next, *prev, *next_unprepared;
    ac_cosmos_head_t head;
    int n_tries;           /* of what a file tries several times */
    int n_polls;           /* looks at a key whose turn is being opened */
    int n_lost;            /* conditional writes that others came before, */
    apr_time_t lost_since; /* from then on: ac_cosmos_again() */
    /* cosmos_rows.c */
    ac_cosmos_selection_t *selection;
    json_t *rows; /* what the last query gave */
    bool more;    /* there is more of it */
    size_t row;   /* where a walk over rows is */
    int part, n_parts;
    ac_buf_t joined;
    ac_cosmos_step_fn *then, *after_check, *after_find; /* after what is under way; after run_check(), message_find() */
    ac_cosmos_step_fn *after_mark, *after_pause;
    /* of a verb, in its file */
    json_t *documents, *parts; /* to be written */
    const json_t *key;         /* the Idempotency-Key of op->in, or NULL */
    ac_cosmos_step_fn *after_key, *after_taken;
    bool key_written;      /* it leads to our run, */
    bool unsure;           /* which may be stored although we were not told */
    bool conflicted;       /* something was in the way of the last try, which may have been an earlier one */
    int n_settles;         /* of a task that closes such a run: which one in a row it is */
    json_t *found, *whole; /* whole: a message that is written in parts, as one */
    void *state;           /* freed with the task */
    ac_timer_t timer;      /* cancelled with the task */
    char run_id[AC_ID_SIZE];
    char key_etag[AC_COSMOS_ETAG_SIZE];   /* of the key's entry; "": there is none */
    char change[AC_ID_SIZE];              /* of ac_cosmos_thread_mark() */
    char entry_etag[AC_COSMOS_ETAG_SIZE]; /* of the thread's entry, as it was marked, or read to be mended */
    union {                               /* of one kind of task alone, zero at first */
        struct {
            bool created;
            char stamp[AC_ID_SIZE]; /* that is written with it */
            int n_unsure;           /* tries that may have been carried out */
        } agent;                    /* put, delete */
        struct {
            bool entry_there; /* before we wrote ours */
        } create;             /* a thread */
        struct {
            bool status_changes;
        } update; /* a thread, also hide and restore */
        struct {
            bool claimed; /* the entries in the owner's partition are written */
        } open;           /* a turn */
        struct {
            int n_open;             /* calls without a word, once this one is noted */
            char nonce[AC_ID_SIZE]; /* of the head that notes it; "": not tried yet */
            bool claims;            /* that the run is this process's, before that is stored */
        } decide;
        struct {
            bool checked; /* that its process lives */
        } look;           /* at a run */
        struct {
            int64_t n_threads;
            bool more; /* than those in task->found */
        } purge;
        struct {
            bool more; /* runs after this page */
        } export;
        struct {
            ac_cosmos_place_e place; /* the container that is looked at */
            bool made;               /* by us or somebody else, since it was not there */
        } prepare;
    };
    /* figures */
    int n_requests, n_retries;
    double charge;
};

/* A task of our own, without a caller; it starts with fn, in a later turn of the loop. id and owner may be NULL. */
ac_cosmos_task_t *ac_cosmos_task_own(ac_cosmos_t *store, const char *owner, const char *id, ac_cosmos_step_fn *fn);
/* Answers the operation and goes on without it, with no deadline. */
void ac_cosmos_task_detach(ac_cosmos_task_t *task, apr_status_t status);
/* Answers, and frees the task: nothing of it may be touched afterwards. No call of it is under way. */
void ac_cosmos_end(ac_cosmos_task_t *task, apr_status_t status);
/* With this error. */
void ac_cosmos_end_with(ac_cosmos_task_t *task, const ac_err_t *err);
void ac_cosmos_end_damaged(ac_cosmos_task_t *task, const char *what);
/* Ends the task where the reply is an error, or a status that is none of those given (0 ends the list). true: it ended. */
bool ac_cosmos_failed(ac_cosmos_task_t *task, const ac_cosmos_reply_t *reply, const int *statuses);
#define AC_COSMOS_EXPECT(...) ((const int[]){__VA_ARGS__, 0})
/* Others came before with a conditional write: counts it, and runs fn(task), at once the first time, then after a pause whose length is
 * left to chance, so that nobody loses to the same others again and again. Ends the task where its time is over: store_timeout. */
void ac_cosmos_again(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);

/* ---- cosmos_prepare.c ---- */
/* Runs fn(task) once the containers are known to be there; ends the task where they are not. */
void ac_cosmos_prepare(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* The service says that a container is missing after all. */
void ac_cosmos_unprepare(ac_cosmos_t *store);

/* ---- cosmos_rows.c ---- */
/* Reads the thread task->op->id into task->head; doc NULL: there is none, or it is another owner's. remembered: one from our
 * memory will do, since it will only be used under its ETag. */
void ac_cosmos_head_read(ac_cosmos_task_t *task, bool remembered, ac_cosmos_step_fn *fn);
/* The same after others changed it before our conditional write; see ac_cosmos_again(). */
void ac_cosmos_head_again(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* Puts a head into our memory (doc is borrowed), or out of it (NULL). */
void ac_cosmos_head_keep(ac_cosmos_t *store, const char *thread_id, const json_t *doc, const char *etag);
void ac_cosmos_head_clear(ac_cosmos_head_t *head);
/* Whether a living thread: there, and not deleted. hidden: also a soft-deleted one. */
bool ac_cosmos_head_lives(const ac_cosmos_head_t *head, bool hidden);
typedef struct ac_cosmos_select_t {
    ac_cosmos_place_e place;
    const char *key; /* NULL: over all partitions */
    const char *sql;
    json_t *parameters; /* taken */
    int want;           /* rows; 0: all of them */
    bool whole;         /* put split documents together */
    const char *continuation;
} ac_cosmos_select_t;
/* Runs a query, page by page, until there are `want` rows or there is nothing more; they are in task->rows. */
void ac_cosmos_select(ac_cosmos_task_t *task, const ac_cosmos_select_t *select, ac_cosmos_step_fn *fn);
void ac_cosmos_select_clear(ac_cosmos_task_t *task);
/* Where the last query would go on, or NULL. */
const char *ac_cosmos_continuation(const ac_cosmos_task_t *task);
/* Puts the split documents in task->rows together. */
void ac_cosmos_join(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);

/* ---- cosmos_doc.c: documents, pure ---- */
json_t *ac_cosmos_thread_of(const json_t *head);
json_t *ac_cosmos_message_of(const json_t *doc);
json_t *ac_cosmos_run_of(const json_t *doc);
/* A new head from a thread in the API's shape. errors: invalid_request */
apr_status_t ac_cosmos_head_make(json_t **phead, const json_t *thread, const char *id, const char *owner,
                                 ac_err_t *err);
/* Without seq, which is given when it is written. errors: invalid_request */
apr_status_t ac_cosmos_message_make(json_t **pdoc, const json_t *message, const char *thread_id, ac_err_t *err);
/* holder NULL: the run has ended. errors: invalid_request */
apr_status_t ac_cosmos_run_make(json_t **pdoc, const json_t *run, const ac_store_op_t *op, ac_err_t *err);
/* *pdoc NULL where there are no steps. errors: invalid_request */
apr_status_t ac_cosmos_steps_make(json_t **pdoc, const json_t *steps, const char *run_id, const char *thread_id,
                                  ac_err_t *err);
void ac_cosmos_lease_clear(json_t *run); /* what a run's document has only while it is active */
/* A thread's entry in its owner's partition: as the head is; or marked, where the head is about to change or has. */
json_t *ac_cosmos_index_make(const json_t *head);
json_t *ac_cosmos_index_marked(const json_t *head, const char *change);
json_t *ac_cosmos_run_index_make(const char *owner, const char *run_id, const char *thread_id, const char *message_id);
void ac_cosmos_steps_id(char id[AC_ID_SIZE + 8], const char *run_id);
/* Replaces a document that is too large, or not safe with every reader, by its stub, and adds its parts to `parts`. */
apr_status_t ac_cosmos_split(json_t **pdoc, json_t *parts, ac_err_t *err);
void ac_cosmos_part_id(char id[AC_ID_SIZE + 16], const char *doc_id, int part);
int64_t ac_cosmos_version(const json_t *head);
/* Whether the time in a member has come; a member that is missing is past. RFC 3339 texts of one length compare as times. */
bool ac_cosmos_past(const json_t *doc, const char *name, apr_time_t now);

/* ---- verbs, by file ---- */
ac_cosmos_step_fn ac_cosmos_ping; /* store_cosmos.c */
ac_cosmos_step_fn ac_cosmos_thread_create, ac_cosmos_thread_get, ac_cosmos_thread_update, ac_cosmos_thread_restore,
    ac_cosmos_thread_hide;                                     /* cosmos_threads.c */
ac_cosmos_step_fn ac_cosmos_thread_list;                       /* cosmos_list.c */
ac_cosmos_step_fn ac_cosmos_message_list, ac_cosmos_turn_load; /* cosmos_messages.c */
ac_cosmos_step_fn ac_cosmos_turn_open, ac_cosmos_turn_close;   /* cosmos_open.c, cosmos_close.c */
/* Of a TURN_OPEN that fails, in whichever step: where it may have been stored it is closed. Of that closing: it is begun again. */
ac_cosmos_step_fn ac_cosmos_turn_unopened;
ac_cosmos_step_fn ac_cosmos_run_get, ac_cosmos_run_list, ac_cosmos_step_list, ac_cosmos_run_cancel; /* cosmos_runs.c */
ac_cosmos_step_fn ac_cosmos_thread_remove, ac_cosmos_purge; /* cosmos_remove.c */
ac_cosmos_step_fn ac_cosmos_export_threads, ac_cosmos_export_messages, ac_cosmos_export_runs,
    ac_cosmos_import; /* cosmos_move.c */

/* cosmos_keys.c */
#define AC_COSMOS_KEY_SIZE 72
ac_cosmos_step_fn ac_cosmos_key_get;
/* Ends the task where the operation's Idempotency-Key leads to another run; else fn(task). */
void ac_cosmos_key_judge(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* Lets the key, judged before, lead to the task's run; else ends the task as judging does. */
void ac_cosmos_key_take(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* Of a task that fails: the key leads nowhere again, where the run is known not to be stored. */
void ac_cosmos_key_drop(ac_cosmos_task_t *task);
/* Removes the keys from before op->in's keys_before, unless the service does that by itself; then fn(task). */
void ac_cosmos_key_purge(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
ac_cosmos_step_fn ac_cosmos_agent_list, ac_cosmos_agent_put, ac_cosmos_agent_delete; /* cosmos_agents.c */

/* cosmos_lease.c: it is being put aside, and not looked at until it is opened or taken again. */
void ac_cosmos_run_rest(ac_cosmos_t *store, const char *run_id);

/* cosmos_waits.c */
ac_cosmos_step_fn ac_cosmos_turn_wait, ac_cosmos_turn_decide, ac_cosmos_wait_list;
void ac_cosmos_wait_id(char id[AC_ID_SIZE + 8], const char *run_id);
/* Whether the thread's active run waits for its owner's word, and is this one; run_id NULL: any. */
bool ac_cosmos_head_waits(const ac_cosmos_head_t *head, const char *run_id);

/* cosmos_turns.c: what opening and closing a turn share. task->documents: {head, message, run, steps}, null where there is none. */
/* Writes task->parts, one after the other, then fn(task). A part that nobody refers to yet is invisible. */
void ac_cosmos_parts_write(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* Reads the message of task->documents as it is stored into task->found (NULL: it is not), then fn(task). */
void ac_cosmos_message_find(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* The batch of a turn: the head (which is first), then what else there is. fresh: the head is made, not replaced. */
void ac_cosmos_turn_commit(ac_cosmos_task_t *task, bool fresh, ac_cosmos_reply_fn *fn);
/* Gives the message the next seq, in task->documents, and makes the head that says so. run: the head's active run, taken. */
apr_status_t ac_cosmos_turn_advance(ac_cosmos_task_t *task, json_t *run);
/* The committed head is remembered; task->head is it. */
void ac_cosmos_turn_committed(ac_cosmos_task_t *task, const ac_cosmos_reply_t *reply);

/* cosmos_list.c: marks the entry of the thread task->head, which was read before, and is replaced afterwards under the ETag that it had
 * then, with task->change as its `change`. Whoever comes back with a newer head marks again. Then fn(task); task->entry_etag is the
 * marked entry's. */
void ac_cosmos_thread_mark(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* Ends with {data, has_more, next}; takes data and next (NULL: null). */
void ac_cosmos_list_end(ac_cosmos_task_t *task, json_t *data, bool has_more, json_t *next);

/* cosmos_lease.c */
/* A run is this process's from before it is stored until it is closed, or could not be. */
void ac_cosmos_run_take(ac_cosmos_t *store, const ac_store_op_t *op, const char *run_id);
/* It is stored: from now on its lease is renewed. */
void ac_cosmos_run_opened(ac_cosmos_t *store, const char *run_id);
/* It could not be opened, or not be closed for now: it is ours no more, unless it was opened and is soon tried again. */
void ac_cosmos_run_failed(ac_cosmos_t *store, const char *run_id);
void ac_cosmos_run_drop(ac_cosmos_t *store, const char *run_id);
/* One of several operations of this process that want to take a run: it is this process's until each has given up its claim. */
void ac_cosmos_run_claim(ac_cosmos_t *store, const ac_store_op_t *op, const char *run_id);
void ac_cosmos_run_unclaim(ac_cosmos_t *store, const char *run_id);
void ac_cosmos_runs_free(ac_cosmos_t *store);
/* Sets a member of the run's document while it belongs to this holder: statuses 200, or 404, 412. */
void ac_cosmos_run_patch(ac_cosmos_task_t *task, const char *holder, const char *member, json_t *value,
                         ac_cosmos_reply_fn *fn);
/* When a lease ends that begins now. */
json_t *ac_cosmos_lease_end(const ac_cosmos_t *store);
/* Looks after the active run of task->head: where its process has died it is closed as interrupted and the head is brought
 * up to date. Then fn(task). */
void ac_cosmos_run_check(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
const char *ac_cosmos_head_run(const ac_cosmos_head_t *head); /* the active run's id, or "" */
/* {id, holder, process, lease_until} for a head. */
json_t *ac_cosmos_lease_make(const ac_cosmos_t *store, const char *run_id);
void ac_cosmos_lease_start(ac_cosmos_t *store);
void ac_cosmos_lease_stop(ac_cosmos_t *store);

#endif
