/* SPDX-License-Identifier: Apache-2.0 */
/* The vocabulary of mod_agentchat: the domain objects that all layers use, and the tables of functions of stores,
 * models and tools. Another httpd module that adds one of these includes this header and no other one of this
 * module. */
#ifndef AGENTCHAT_H
#define AGENTCHAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <apr.h>
#include <apr_errno.h>
#include <apr_hash.h>
#include <apr_pools.h>
#include <apr_tables.h>
#include <apr_time.h>
#include <jansson.h>

#define AC_VERSION "0.1.0"

/* ---- sizes that belong to domain objects; all other limits are in base/base.h ---- */
#define AC_ID_SIZE 40     /* "thread_" + 26 characters + NUL, with room to spare */
#define AC_OWNER_SIZE 256 /* r->user; a longer name is refused, never cut */
#define AC_ETAG_SIZE 64
#define AC_ERR_DETAIL_SIZE 320
#define AC_ERR_POINTER_SIZE 96
#define AC_UPSTREAM_ID_SIZE 80

/* ---- errors: the rows are in base/err.c ---- */
typedef enum ac_kind_e {
    AC_OK = 0,
    /* the client's fault */
    AC_BAD_JSON,
    AC_INVALID_REQUEST,
    AC_MESSAGE_EMPTY,
    AC_CONTEXT_LENGTH,
    AC_UNAUTHENTICATED,
    AC_FORBIDDEN,
    AC_NOT_FOUND,
    AC_METHOD_NOT_ALLOWED,
    AC_NOT_ACCEPTABLE,
    AC_BODY_TOO_LARGE,
    AC_FILE_LIMIT,
    AC_UNSUPPORTED_MEDIA,
    AC_RUN_IN_PROGRESS,
    AC_READ_ONLY,
    AC_ALREADY_EXISTS,
    AC_IDEMPOTENCY_CONFLICT,
    AC_RUN_ENDED,
    AC_EVENTS_GONE,
    AC_NOT_WAITING,
    AC_PRECONDITION_FAILED,
    AC_CONTENT_FILTERED,
    AC_RATE_LIMITED,
    AC_BUDGET_EXCEEDED,
    /* a back end's fault */
    AC_MODEL_REFUSED,
    AC_MODEL_ERROR,
    AC_MODEL_THROTTLED,
    AC_MODEL_TIMEOUT,
    AC_OUTPUT_INVALID,
    AC_STORE_ERROR,
    AC_STORE_TIMEOUT,
    AC_TOOL_ERROR,
    AC_TOOL_TIMEOUT,
    AC_UPSTREAM_ERROR,
    AC_UPSTREAM_TIMEOUT,
    /* this server's fault */
    AC_STORAGE_FULL,
    AC_OVERLOADED,
    AC_STOPPING,
    AC_CANCELLED,
    AC_INTERRUPTED,
    AC_RUN_TIMEOUT,
    AC_INTERNAL,
    AC_N_KINDS
} ac_kind_e;

/* Why a function failed. The caller owns it, and may pass NULL instead; zero it before use (ac_err_init()). The first
 * error set in it wins; later ones are ignored. */
typedef struct ac_err_t {
    ac_kind_e kind;
    apr_status_t status;                   /* the cause, if the system reported one */
    apr_interval_time_t retry_after;       /* 0: unknown */
    int http_status;                       /* the upstream's, 0: none */
    char detail[AC_ERR_DETAIL_SIZE];       /* for people; no secret, no user's text, no URL */
    char pointer[AC_ERR_POINTER_SIZE];     /* JSON Pointer of the wrong member, or "" */
    char upstream_id[AC_UPSTREAM_ID_SIZE]; /* x-request-id and the like, or "" */
} ac_err_t;

/* ---- the trace that something is part of: W3C Trace Context ---- */
typedef struct ac_trace_t {
    char trace_id[33], span_id[17]; /* hexadecimal, lower case; "": not known */
    bool sampled, random;           /* the flags 01 and 02 */
    const char *state;              /* tracestate, or NULL; borrowed from the request, the run or the span */
} ac_trace_t;

/* ---- money and tokens ---- */
typedef struct ac_usage_t {
    int64_t prompt, completion, total, cached, reasoning;
    bool known;     /* the model reported figures */
    bool estimated; /* this module estimated them */
} ac_usage_t;

typedef struct ac_price_t { /* per million tokens */
    double input, cached, output;
    char currency[4]; /* "": no price configured */
} ac_price_t;

/* ---- a run's events ---- */
typedef enum ac_event_type_e {
    AC_EVENT_RUN,
    AC_EVENT_TOKEN,
    AC_EVENT_TRACE_START,
    AC_EVENT_TRACE_UPDATE,
    AC_EVENT_TRACE_END,
    AC_EVENT_ERROR,
    AC_EVENT_DONE,
    AC_EVENT_REASONING,
    AC_EVENT_SOURCES,
    /* not of a run; a tail reports its state with these: */
    AC_EVENT_NOTHING, /* no event will come after those that the follower has */
    AC_EVENT_LIVE,    /* the stored events were delivered; the next ones happen from now on */
    AC_EVENT_QUEUED,  /* the turn waits for its thread; of the process that got its request */
    AC_N_EVENTS
} ac_event_type_e;

/* One event of a run. Immutable once made, counted, on the heap: the only part of a run that other threads may use.
 * `data` holds the members of the native event except for `type` and `timestamp`; `text` is the content of TOKEN
 * and REASONING, or DONE's whole answer. */
typedef struct ac_event_t {
    volatile apr_uint32_t refs;
    ac_event_type_e type;
    uint64_t seq; /* 1, 2, 3 … without gaps within the run */
    apr_time_t at;
    json_t *data;                    /* NULL for TOKEN and REASONING */
    ac_kind_e kind;                  /* ERROR: the kind of the response if nothing was sent yet */
    apr_interval_time_t retry_after; /* ERROR */
    json_t *message;                 /* DONE of a stored run: the stored assistant message; else NULL */
    size_t len;
    char text[]; /* len bytes of UTF-8 and a NUL */
} ac_event_t;

/* ---- functions for providers: the module exports no symbols ---- */
typedef struct ac_loop_t ac_loop_t;             /* io/loop.c */
typedef struct ac_work_t ac_work_t;             /* io/work.c */
typedef struct ac_credential_t ac_credential_t; /* back/credential: a key or an identity, kept up to date */
typedef struct ac_store_op_t ac_store_op_t;
/* text: the key or the token, as in "Authorization: Bearer TEXT". It is valid inside the call only and must not be
 * logged. NULL on failure: err->detail says why. */
typedef void ac_credential_fn(void *baton, apr_status_t status, const char *text, const ac_err_t *err);
typedef struct ac_host_t {
    int version; /* 4; a later version has further members at the end */
    ac_loop_t *loop;
    ac_work_t *work;
    /* Runs fn(baton) on the loop thread. Any thread. */
    void (*loop_post)(ac_loop_t *loop, void (*fn)(void *baton), void *baton);
    /* Runs fn(baton) on a work thread, then done(baton) on the loop thread; EAGAIN: the queue is full. Any thread. */
    apr_status_t (*work_post)(ac_work_t *work, void (*fn)(void *baton), void (*done)(void *baton), void *baton);
    /* Returns a finished store operation to its caller. Any thread. */
    void (*store_done)(ac_store_op_t *op);
    void (*err_set)(ac_err_t *err, ac_kind_e kind, const char *fmt, ...);
    /* For a store that several machines share: reports a change of a run that this process runs. AC_CANCELLED: its
     * owner asked for that on another machine; AC_INTERRUPTED: another machine considered this process dead, and has
     * closed the run. Loop thread. */
    void (*run_notify)(const char *run_id, ac_kind_e what);
    /* Version 2: the credential of a container (ac_model_conf_t.auth), which the core fetches and renews. Loop thread.
     *
     * credential_get calls fn later on the loop thread, never inside. There is no wait limit: the caller sets one if
     * it needs one, and ends the wait by credential_forget with the same fn and baton. scope: for the token of an
     * identity, unless AgentChatCredential has scope=; ignored for keys, may be NULL for them.
     * credential_reject: the service refused this text, so that the next credential_get fetches another one. */
    void (*credential_get)(ac_credential_t *credential, const char *scope, ac_credential_fn *fn, void *baton);
    void (*credential_forget)(ac_credential_t *credential, ac_credential_fn *fn, void *baton);
    void (*credential_reject)(ac_credential_t *credential, const char *scope, const char *text);
    /* Version 3: the trace that a request belongs to, for its headers traceparent and tracestate. A model has it in
     * ac_model_ask_t.trace, a store in ac_store_op_t.trace. A tool gets it from trace(), inside of start(), call() and
     * compute(); NULL: none. It is valid inside the call only. trace_text writes the value of a traceparent header; "":
     * the context has not both ids, and no header is sent. Any thread. */
    const ac_trace_t *(*trace)(void);
    void (*trace_text)(const ac_trace_t *trace, char text[56]);
    /* Version 4: how far a tool's call is, for the clients of the run. baton: of start() or proceed(), whose done has
     * not been called. progress: {progress: number, total?: number, message?: text}; consumed. More than a few a second
     * are dropped. Loop thread. */
    void (*tool_progress)(void *baton, json_t *progress);
} ac_host_t;

/* ---- store ---- */
typedef enum ac_store_verb_e {
    AC_STORE_PING,
    AC_STORE_THREAD_CREATE,
    AC_STORE_THREAD_GET,
    AC_STORE_THREAD_LIST,
    AC_STORE_THREAD_UPDATE,
    AC_STORE_THREAD_DELETE,
    AC_STORE_THREAD_RESTORE,
    AC_STORE_MESSAGE_LIST,
    AC_STORE_TURN_LOAD,
    AC_STORE_TURN_OPEN,
    AC_STORE_TURN_CLOSE,
    AC_STORE_RUN_GET,
    AC_STORE_RUN_LIST,
    AC_STORE_STEP_LIST,
    AC_STORE_PURGE,
    AC_STORE_EXPORT_THREADS,
    AC_STORE_EXPORT_MESSAGES,
    AC_STORE_EXPORT_RUNS,
    AC_STORE_IMPORT,
    AC_STORE_KEY_GET,
    AC_STORE_KEY_PUT,
    AC_STORE_AGENT_LIST,
    AC_STORE_AGENT_PUT,
    AC_STORE_AGENT_DELETE,
    AC_STORE_RUN_CANCEL, /* only for stores that several machines share */
    AC_STORE_RUN_SUSPEND,
    AC_STORE_APPROVAL_DECIDE,
    AC_STORE_SUSPENDED_LIST,
    AC_STORE_RUN_CHECK, /* only where several machines share a store */
    AC_STORE_USAGE_SUM,
    AC_STORE_USAGE_SUM_ALL,
    AC_STORE_EXPORT_USAGE,
    AC_STORE_IMPORT_USAGE,
    AC_STORE_FILE_PUT,
    AC_STORE_FILE_GET,
    AC_STORE_FILE_LIST,
    AC_STORE_FILE_DELETE,
    AC_STORE_FILE_SWEEP,
    AC_STORE_EXPORT_FILES,
    AC_STORE_IMPORT_FILES,
    AC_STORE_FEEDBACK_PUT,
    AC_STORE_FEEDBACK_LIST,
    AC_STORE_OWNER_ERASE,
    AC_STORE_USAGE_ADD,
    AC_STORE_OWNER_ERASED,
    AC_STORE_TURN_QUEUE,
    AC_STORE_TURN_UNQUEUE,
    AC_STORE_QUEUED_LIST,
    AC_STORE_N_VERBS
} ac_store_verb_e;

typedef struct ac_page_t {
    int limit;      /* 1 to 100; the caller sets it, there is no default */
    int64_t offset; /* only with `by_offset` */
    bool by_offset, want_total, descending;
    bool by_update;                /* threads: ordered by their last change, not their creation; not with by_offset */
    int64_t after_seq, before_seq; /* messages: exclusive; 0: none */
    char after[AC_ID_SIZE + 24];   /* threads, runs: opaque cursor from `next`, or "" */
    char status[16];               /* threads: "active", "archived", "deleted", "": all that are not deleted */
    char agent_id[72];             /* threads: only those of this agent, or "" */
} ac_page_t;

/* One call of the store: a command with copies of its inputs, and its results. It is on the heap, and exactly one
 * thread owns it at any time: the caller's, then the store's, then the one on which `done` is called. The table below
 * describes each verb's inputs and outputs. */
struct ac_store_op_t {
    ac_store_verb_e verb;
    char owner[AC_OWNER_SIZE]; /* the owner of the data; part of every condition */
    char id[AC_ID_SIZE];       /* thread or run id */
    json_t *in;                /* owned; NULL if the verb has no input */
    ac_page_t page;
    char if_match[AC_ETAG_SIZE]; /* "": no condition */
    bool hard;                   /* THREAD_DELETE: removes the thread permanently */
    apr_time_t deadline;         /* 0: none; after it the store answers STORE_TIMEOUT */
    json_t *out;                 /* owned */
    char etag[AC_ETAG_SIZE];
    apr_status_t status;
    ac_err_t err;
    bool unwritten; /* with STORE_TIMEOUT: nothing was written, and nothing will be */
    void (*done)(ac_store_op_t *op);
    void *baton;
    ac_loop_t *home;     /* done is called on this loop; NULL: on the store's thread */
    ac_store_op_t *next; /* for the store's queues */
    /* the core's, for metrics */
    void (*caller)(ac_store_op_t *op); /* done of the caller */
    apr_time_t began;
    void (*then)(ac_store_op_t *op); /* of a run */
    unsigned metric;                 /* the store's index */
    /* since version 3 of ac_host_t */
    ac_trace_t trace;       /* what the operation is part of; owned. Empty: not known */
    double charge;          /* out: request units of the service; 0: none */
    struct ac_span_t *span; /* the core's */
};

/* ---- the verbs of a store ------------------------------------------------------------------
 *
 * An operation that is answered APR_SUCCESS is durable. Documents are in the shape of the API (docs/openapi.yaml);
 * times are RFC 3339 texts.
 *
 * Errors of every verb:
 *   store_error      the store cannot be used now
 *   store_timeout    op->deadline has passed; a write may have happened all the same, unless op->unwritten is set
 *   overloaded       the store's queue is full
 *   not_found        the id does not exist, or belongs to another owner. A soft-deleted thread is not_found everywhere
 *                    but in THREAD_RESTORE, in THREAD_DELETE with `hard`, and in lists with status "deleted".
 *
 * Below, "id" says what op->id names, "in" and "out" are op->in and op->out; -: none. A page is op->page.
 *
 * Threads and messages
 *
 * PING             id -       in -    out {search, name: number}: what is searched ("messages", "titles", "indexing"),
 *                  and counts since the child began, also with an error
 * THREAD_CREATE    id -       in the whole thread; title may be null    out thread; etag
 * THREAD_GET       id thread  in -    out thread; etag
 * THREAD_LIST      id -       in - or {pinned?, label?}, page    out {data, has_more, next|null, total?}
 *                  Order: newest first; with page.by_update the thread that was changed last comes first.
 *                  pinned: only pinned threads (true) or others (false). label: only those whose metadata.labels, an
 *                  array of strings, has it. q: words (base/base.h); those whose title or one of whose messages has
 *                  them all, by their last change. Each has `match`: {message_id|null, seq|null, snippet, highlights:
 *                  [{start, end}]}; null: the title. A store that cannot search messages finds titles.
 * THREAD_UPDATE    id thread  in {title?, status?, metadata?, pinned?, leaf?, updated_at?, title_was?}; if_match
 *                  out thread; etag
 *                  title_was: the title must be this one, else precondition_failed.
 *                  leaf: the id of a message. The current path becomes the one through it, to the newest message below.
 *                  errors: precondition_failed; with leaf not_found (pointer /leaf), and run_in_progress (out:
 *                  {run_id}) while a run is active
 * THREAD_DELETE    id thread  in {deleted_at}; hard    out {}
 *                  errors: run_in_progress (only with `hard`, while a run is active)
 * THREAD_RESTORE   id thread  in {updated_at}    out thread; etag
 * MESSAGE_LIST     id thread  in - or {all: true}, page    out {data, has_more, next|null}
 *                  The messages of the current path; all: of all branches. Either by seq. A message with siblings has
 *                  their ids in `siblings`, by seq, and its own place among them in `sibling_index`, from 0.
 *                  `next` is the seq for the next page's after_seq or before_seq.
 * PURGE            id -       in {before, keys_before?}    out {purged: n, erasures?: [erasure], unfinished?: n}
 *                  Removes the threads of every owner that were soft-deleted before `before`. With keys_before it also
 *                  removes Idempotency-Keys from before that time, which `purged` does not count. It continues all
 *                  erasures of OWNER_ERASE, also with a `before` of "0000-00-00T00:00:00.001Z", which is before all
 *                  other threads. erasures: those of which the store has nothing left. unfinished: how many have.
 *
 * Turns
 *
 * The messages of a thread form a tree: back/tree.c. Each has the next seq of its thread, on whichever branch it is,
 * and its parent's id in `parent_id`, null for a root. The thread's `leaf` is the id of the message with which the
 * current path ends; null: the newest message, of a thread that has never branched. Messages of older versions follow
 * the one before them.
 *
 * TURN_LOAD        id thread  in - or {fresh?: true, parent_id?: id|null, regenerate?: id}, page.limit
 *                  out {thread, messages, active_run: id|null, parent_id: id|null, parent_seq, queue?: [id]}
 *                  The newest messages of a path, the oldest of them first. parent_id and parent_seq are of its last
 *                  message: null and 0 if it is empty. The path is the current one; with parent_id the one to that
 *                  message, null: the empty one; with regenerate the one to the question: the message itself if it is a
 *                  user's, else the nearest user's message above it. fresh: a cache is known to be out of date.
 *                  queue: the runs that wait for the thread, the first one first; a cache may not know of them.
 *                  errors: not_found (pointer /parent_id or /regenerate); invalid_request: no question.
 * TURN_OPEN        id thread  in {message|null, run|null, title, parent_seq?, thread?, idempotency?, after?, retry?,
 *                             files?, earlier?, queued?}
 *                  out {thread, message (with its seq)|null}
 *                  One transaction stores the message with the next seq, the run, and the thread's message_count,
 *                  leaf (the message), title and updated_at. message null: the run answers a stored question; then
 *                  message_count and leaf stay, and updated_at is the run's created_at.
 *                  parent_seq: of the message's parent, whose id is its parent_id; 0: none. Without it the message
 *                  follows the current leaf. errors: invalid_request: the thread has too many branches.
 *                  thread: create it in the same transaction. title: for a thread that has none yet.
 *                  earlier: at most AC_STORE_MAX_EARLIER messages, each with its parent's id, that come between the
 *                  parent and `message`, which follows the last of them. Only with a message.
 *                  run null: stores messages of an existing thread, and no run. Not with idempotency or files.
 *                  idempotency_conflict without `out`: the thread exists, also as a deleted one; nothing was written.
 *                  after: the thread's message_count that the caller has seen. precondition_failed: the thread has
 *                  newer messages, and nothing was written.
 *                  retry: an earlier attempt with the same ids got no answer, and may have been carried out.
 *                  idempotency: {key, request_hash, since}. The same transaction makes the owner's key lead to this
 *                  run.
 *                  idempotency_conflict (out: {run_id, thread_id, request_hash}): since then the key leads to another
 *                  run.
 *                  This error comes before any other.
 *                  errors: run_in_progress (out: {run_id}): another run of the thread is active and its process lives.
 *                  If its process is dead, the store closes that run as interrupted and continues. Also while another
 *                  turn is first in the thread's queue (out: its run).
 *                  The run leaves the queue if it is there. queued: it must be there, or errors: run_ended.
 *                  files: {ids, limits?: of FILE_PUT}: the files of the message, which belong to the thread from now
 *                  on. A store without a transaction over all of it attaches them before it stores the message. It
 *                  takes over a file whose message was never stored: that message, or its thread, cannot be stored
 *                  afterwards.
 *                  errors: not_found; invalid_request: a file belongs to another thread; file_limit_exceeded. Each
 *                  with the pointer /files/N, of the index in ids.
 * TURN_CLOSE       id thread  in {message|null, run, steps, parent_seq?, after?, late?}
 *                  out {message (with its seq) | null}
 *                  One transaction stores the message, the whole final run and its steps, and moves the leaf to the
 *                  message. It also ends a suspension.
 *                  parent_seq: as in TURN_OPEN. after: the thread's message_count after the opening write. If the
 *                  thread has newer messages, the leaf stays; but if parent_seq is `after` and above the leaf, the
 *                  message follows the leaf, and the store sets its parent_id.
 *                  If the thread was hard-deleted meanwhile, the answer is success with message null, and nothing is
 *                  written.
 *                  late: true closes a run in the place of its dead process. Such a close may add a partial answer
 *                  (`interrupted`) at any time, but a whole answer only while the thread has no newer messages.
 *                  errors: interrupted: another machine has closed the run, and nothing was written.
 *
 * Runs
 *
 * RUN_GET          id run     in -    out run
 * RUN_LIST         id thread  in -, page (limit, after)    out {data, has_more, next|null}, newest first
 * STEP_LIST        id run     in -    out {data}, in the order in which the steps started
 * KEY_GET          id -       in {key, since}    out {run_id, thread_id, request_hash} of the owner's Idempotency-Key
 *                  thread_id is "" if no store has the run.
 * KEY_PUT          id -       in {idempotency: {key, request_hash, since}, run: {id, created_at}, retry?}    out {}
 *                  Makes the owner's key lead to a run that no store has. idempotency and retry as in TURN_OPEN.
 *                  errors: idempotency_conflict (out: {run_id, thread_id, request_hash})
 * RUN_CANCEL       id run     in -    out run
 *                  Asks the process that runs it, on whichever machine, by host->run_notify. Only for a store that
 *                  several machines share. errors: run_ended; invalid_request: this store cannot.
 * RUN_CHECK        id run     in -    out {}
 *                  Looks now, and not only from time to time, whether another machine has cancelled or closed the run
 *                  of this process; host->run_notify reports it, perhaps after the answer. errors: invalid_request:
 *                  this store cannot.
 *
 * Turns that wait for their thread
 *
 * TURN_QUEUE       id thread  in {run, most, first?, idempotency?}    out {place}: how many turns are before it
 *                  Stores a run whose status is "queued". It is in RUN_GET and RUN_LIST as other runs, but it is not
 *                  the active one, and it belongs to no process. The order is that in which they came; with `first` it
 *                  is before all that came without. The same operation again succeeds. errors: run_in_progress: the
 *                  queue has `most` turns (out: {run_id}: of the first); idempotency_conflict, as in TURN_OPEN.
 * TURN_UNQUEUE     id run     in {run}    out {}
 *                  Ends a queued run: `run` takes its place. errors: run_ended: it is not in the queue.
 * QUEUED_LIST      id -       in {before}, page.limit    out {data: [{run_id, owner}]}: queued runs of every owner
 *                  that were created before that time. Some may have left the queue; TURN_UNQUEUE then makes the store
 *                  forget them.
 *
 * Runs that await approval of tool calls
 *
 * RUN_SUSPEND      id thread  in {run, steps, asks, until, calls: {id: null}, state}    out {}
 *                  One transaction. The run stays active, but belongs to no process from now on. asks: the steps that
 *                  await approval, which STEP_LIST shows meanwhile. until: when undecided calls are refused. state:
 *                  whatever the process that resumes the run needs. The same operation again succeeds. errors:
 *                  run_ended.
 * APPROVAL_DECIDE  id run     in {call_id, approve, reason?}    out {waiting: n}: n calls are still undecided
 *                             in {expired: now}                 decides every undecided call as {approve: false,
 *                                                               expired: true}, if `until` is before now
 *                             in {cancel: true}                 decides nothing more
 *                  When no call is undecided, or with cancel, out is {thread_id, calls: {id: {approve, reason?}},
 *                  state}: the run belongs to this process from now on, and to no other one. errors: not_waiting: no
 *                  such undecided call.
 * SUSPENDED_LIST   id -       in {before}, page.limit    out {data: [{run_id, owner}]}: runs of every owner whose
 *                  `until` is before that time
 *
 * Agents that were made through the API. They belong to no owner. The document has the API's shape, with an etag that
 * its writer made. Each change gives another stamp, in the same transaction.
 *
 * AGENT_LIST       id -       in {stamp: what the caller knows|null}    out {stamp, data: [agent] by id}; data is null
 *                  if the stamp is the caller's
 * AGENT_PUT        id -       in {agent, fresh?: true}; if_match    out {created: bool}; etag. The same document again
 *                  succeeds. errors: precondition_failed: if_match is not the agent's etag ("*" is any etag), or
 *                  `fresh` was given and the agent exists.
 * AGENT_DELETE     id -       in {id}; if_match    out {}. errors: precondition_failed
 *
 * Moving conversations from one store to another, without regard to owners. A record is a thread with owner,
 * deleted_at, restore_status and tree; all but the owner may be null. tree: as back/tree.c reads it.
 *
 * EXPORT_THREADS   id -       in {after: cursor|null}, page.limit    out {data: [record], next: cursor|null}: of every
 *                  owner and status, in any order
 * EXPORT_MESSAGES  id thread  in -, page (limit, after_seq)    out {data, next}, as MESSAGE_LIST
 * EXPORT_RUNS      id thread  in -, page (limit, after)    out {data: [{run, steps}], next|null}
 * IMPORT           id thread  in {thread: record, messages, runs}    out {}
 *                  Overwrites what has the same ids. runs: as EXPORT_RUNS gives them, all ended. A large thread comes
 *                  in parts; the record's message_count counts the messages so far, and the last part has the record as
 *                  it is. An imported run is not counted, unless its item has {uncounted: true}: it was active in the
 *                  other store.
 *
 * Usage. A run is counted once, when it ends, on the day on which it was created (UTC). A store keeps sums, which stay
 * when threads are deleted. A row is described in back/back.h.
 *
 * USAGE_SUM        id -       in {from, to, by: [day, agent_id, model, owner], agent_id?, model?}
 *                  out {data, totals}: sums of the owner's runs, by group, as GET /usage shows them. from, to: days,
 *                  both included. errors: invalid_request: too many groups.
 * USAGE_SUM_ALL    the same for all owners, or for `owner` in `in`
 * USAGE_ADD        id run     in {created_at, agent_id, model, usage, cost}    out {}
 *                  Counts the model call that made a title after the owner's run. The caller does not repeat it.
 *                  Without such a run of the owner it counts nothing, and answers the same.
 * EXPORT_USAGE     id -       in {after: cursor|null}, page.limit    out {data: [row], next: cursor|null}: of every
 *                  owner; the source of the store's own rows is its id
 * IMPORT_USAGE     id -       in {rows}    out {}. Overwrites rows with the same key. Rows whose source is this store's
 *                  own id are ignored.
 *
 * Feedback on messages: back/feedback.h describes FEEDBACK_PUT and FEEDBACK_LIST.
 *
 * OWNER_ERASE      id -       in {id, at, recent?}    out erasure, and {active: [id]}
 *                  Hides all that the owner has and is older than `at`, at once; ends active runs (`active`). Sums of
 *                  usage lose the owner's name. PURGE removes the contents. An erasure is {id, owner, at, mark,
 *                  threads: n, messages: n, runs: n, files: n, traces: {threads, runs, files}}; without the
 *                  numbers as long as they are not known. traces: ids of what may be left outside of the store: entries
 *                  of caches, event logs of runs that were created from `recent` on, bytes of files. It is kept until
 *                  OWNER_ERASED; the same operation meanwhile adds what is new to it, and gives its id and `at`.
 * OWNER_ERASED     id -       in {mark, threads?}    out {ended: bool}
 *                  Forgets the erasure with this mark, unless another OWNER_ERASE has changed it; ended: there is none
 *                  any more. threads: their entries leave the cache.
 *
 * Files: what is known about the bytes that clients upload (back/files/files.h has the bytes). A file is {id, name,
 * type, size, sha256, created_at, thread_id|null, status}; status: "uploaded", or "attached" to a message of the
 * thread.
 *
 * FILE_PUT         id -       in {file, limits: {owner_files, owner_bytes, thread_files, thread_bytes}}    out file
 *                  One transaction counts what the owner and the thread have and stores the file. The same file again
 *                  succeeds. errors: not_found (no such thread); file_limit_exceeded.
 * FILE_GET         id file    in -    out file
 * FILE_LIST        id -       in {thread_id?}, page (limit, after)    out {data, has_more, next|null}, newest first
 * FILE_DELETE      id file    in -    out {}
 * FILE_SWEEP       id -       in {before, ids?}, page.limit    out {removed: [id], unknown: [id], more}
 *                  Removes files of all owners that were uploaded, or attached by a turn that failed, before that time,
 *                  and that no message has. more: there may be further ones. unknown: those of `ids` that
 *                  are no file's.
 * EXPORT_FILES     id -       in {after: cursor|null}, page.limit    out {data: [file with its owner], next}
 * IMPORT_FILES     id -       in {files}    out {}. Overwrites files with the same id.
 *
 * A file is removed with its thread: THREAD_DELETE with `hard` and PURGE add {files: [id]}, the removed ones, to their
 * results. */

#define AC_STORE_MAX_EARLIER 90 /* messages of TURN_OPEN `earlier` */
#define AC_STORE_PROVIDER "agentchat-store"
#define AC_MODEL_PROVIDER "agentchat-model"
#define AC_TOOL_PROVIDER "agentchat-tool"
#define AC_PROVIDER_VERSION "4"

/* apr_pool_userdata of the configuration's pool: the pool (apr_pool_t *) that outlives a reload. It may hold data only,
 * no functions: a reload unloads the module. */
#define AC_KEEP_POOL "agentchat-keep-pool"

#define AC_STORE_REMOTE 1 /* behind a network: each operation is a request, which other machines may send too */
#define AC_STORE_SPANS 2  /* the core's: the store makes the spans of its requests itself */

typedef struct ac_store_vt {
    const char *name; /* "sqlite": the part before the colon in AgentChatStore */
    /* At configuration time: parses the part after the colon, and options. Returns NULL on success, else an error
     * message. */
    const char *(*create)(void **pself, const char *spec, apr_table_t *options, apr_pool_t *p);
    /* After the fork, once per child. errors: store_error, store_timeout: the store has started but cannot be reached
     * now; each operation tries again. Any other error: it has not started, and the child serves no chats; child_exit
     * is called nevertheless. */
    apr_status_t (*child_init)(void *self, const ac_host_t *host, ac_err_t *err);
    /* Any thread. Consumes op, and returns it by host->store_done(), never inside this call. */
    void (*start_post)(void *self, ac_store_op_t *op);
    /* No further operation will come: finishes the current ones, then returns. */
    void (*child_exit)(void *self);
    unsigned flags;
    /* At configuration time, as the user of httpd's children: checks whether the storage can be used. Returns NULL on
     * success, else an error message. Changes nothing. NULL as the function: nothing to check. */
    const char *(*check)(void *self, apr_pool_t *p);
} ac_store_vt;

/* ---- model ---- */
typedef enum ac_finish_e {
    AC_FINISH_NONE,
    AC_FINISH_STOP,
    AC_FINISH_TOOL_CALLS,
    AC_FINISH_LENGTH,
    AC_FINISH_CONTENT_FILTER
} ac_finish_e;

typedef struct ac_tool_call_t {
    const char *id; /* the model's id, made unique within the answer */
    const char *name;
    const char *arguments; /* JSON text from the model; "" means {} */
    bool approval;         /* asks whether the model's service may call a tool of its own; nothing is called here */
} ac_tool_call_t;

typedef struct ac_hosted_call_t { /* by the model's service, of its own tool; valid inside of on_hosted */
    const char *id, *name;        /* unique in the answer */
    const json_t *arguments;      /* object */
    bool ended;
    const json_t *result; /* of an ended one; NULL: the service does not say it */
    const char *error;    /* of an ended one; NULL: it has not failed */
} ac_hosted_call_t;

#define AC_MODEL_RESPONSE_SIZE 128
typedef struct ac_model_end_t {
    apr_status_t status; /* APR_SUCCESS: the answer is complete */
    ac_err_t err;
    ac_finish_e finish;
    ac_usage_t usage;
    char model[80];              /* the name that the model reports, or "" */
    const ac_tool_call_t *calls; /* valid inside of on_end only */
    int n_calls;
    int n_retries; /* requests that were sent again */
    /* Since version 4 of ac_host_t. What the model wants back with the calls of this answer, in the member `carried` of
     * its message: an object, which ends with on_end; NULL: nothing. A suspended run stores it. */
    const json_t *carried;
    char response[AC_MODEL_RESPONSE_SIZE]; /* by which the service knows its answer, for later turns; "": not known */
} ac_model_end_t;

/* An image of a message. Borrowed until on_end or cancel(). */
typedef struct ac_model_image_t {
    const char *id;    /* of its file */
    const char *type;  /* "image/png" */
    const char *url;   /* that the model's service can read it with; NULL: it gets the bytes */
    const char *bytes; /* len of them; NULL with a URL */
    size_t len;
} ac_model_image_t;

#define AC_MODEL_IMAGE_URL "file:" /* and the id: stands for the image in the messages */

typedef struct ac_model_ask_t {
    /* In the form of chat completions; borrowed during ask(). A message that this model has said may have `carried`, an
     * object: `response` and the members of ac_model_end_t.carried, and `approved`, a list with true or false for
     * each call that asked for an approval. A provider that gives neither never gets it. */
    const json_t *messages;
    const json_t *tools;    /* in the form of chat completions, or NULL */
    double temperature;     /* NaN: not sent */
    int max_tokens;         /* 0: not sent */
    bool no_calls;          /* sends the tools but allows no call: tool_choice "none" */
    const char *request_id; /* for the upstream's log, or NULL */
    /* The context of the call's current attempt, for the upstream; on_retry() changes it. It lives until on_end or
     * cancel(). NULL or without ids: none. */
    const ac_trace_t *trace;
    /* Only for models with `AgentChatVision on`. The content of a message is then a list of parts; {type: "image_url",
     * image_url: {url: "file:ID", detail?}} stands for the image with this id. */
    const ac_model_image_t *images;
    int n_images;
    /* In the form of chat completions; NULL: the model chooses. A provider may ignore both. Only with tools. */
    const json_t *tool_choice;
    bool one_call; /* parallel_tool_calls is false */
    /* The form of the answer, as in chat completions; NULL: text. A provider may ignore it: the core checks the
     * answer. */
    const json_t *response_format;
} ac_model_ask_t;

/* All on the loop thread, never inside ask(). No callback comes after on_end or cancel(). */
typedef struct ac_model_cb_t {
    void (*on_text)(void *baton, const char *text, size_t len);
    void (*on_tool_start)(void *baton, int index, const char *id, const char *name);
    void (*on_tool_args)(void *baton, int index, const char *fragment, size_t len);
    void (*on_end)(void *baton, const ac_model_end_t *end);
    /* An attempt has failed with err, before its answer began, and the provider will make another one. May be NULL. */
    void (*on_retry)(void *baton, const ac_err_t *err);
    /* Since version 4 of ac_host_t. A part of what the model thinks before it answers or calls a tool: no part of the
     * answer. NULL: not wanted. */
    void (*on_reasoning)(void *baton, const char *text, size_t len);
    /* Since version 4, too. The model names a source: {type: "url_citation", url_citation: {url, title}}, or with url
     * and title beside the type. Borrowed. NULL: not wanted. */
    void (*on_annotation)(void *baton, const json_t *annotation);
    /* Since version 4. A call by the model's service has begun, or has ended. NULL: not wanted. */
    void (*on_hosted)(void *baton, const ac_hosted_call_t *call);
} ac_model_cb_t;

typedef struct ac_secret_t {
    const char *spec;  /* "env:NAME", "file:PATH"; may be shown */
    const char *value; /* never shown; NULL: none */
} ac_secret_t;

#define AC_VISION_OFF 0  /* refuses messages with images */
#define AC_VISION_NOTE 1 /* tells the model that there is an image */
#define AC_VISION_ON 2   /* sends images to the model */

typedef struct ac_model_conf_t { /* a <AgentChatModel> section; lives as long as the child */
    const char *id, *provider, *endpoint;
    const apr_table_t *options; /* deployment=, api-version=, model= … */
    ac_secret_t credential;     /* spec; the value of env: and file: at the start, else NULL */
    ac_credential_t *auth;      /* the same for host->credential_get, in any form; NULL: none configured */
    ac_price_t price;
    apr_interval_time_t connect_timeout, first_byte_timeout, idle_timeout, total_timeout;
    int retries;
    int http_version;    /* 0: chosen by the endpoint's scheme; 1; 2 */
    const char *ca_file; /* PEM, or NULL: the system's */
    json_t *params;      /* further members of the request body, or NULL */
    unsigned metric;     /* the core's: its index in metrics */
    /* AgentChatVision, for the core */
    int vision;       /* AC_VISION_OFF and others */
    int image_detail; /* 0: not sent; 1: "auto", 2: "low", 3: "high" */
    int max_images;   /* of a request */
    apr_size_t max_image;
    bool image_links; /* sends URLs instead of bytes, where the storage makes them */
    bool reasoning;   /* AgentChatReasoning, for the core: shown and stored */
} ac_model_conf_t;

typedef struct ac_model_vt {
    const char *name; /* AgentChatProvider */
    const char *(*create)(void **pself, const ac_model_conf_t *conf, apr_pool_t *p);
    apr_status_t (*child_init)(void *self, const ac_host_t *host, ac_err_t *err);
    /* Loop thread. Starts one answer. *pcall can be passed to cancel() until on_end has been called. */
    apr_status_t (*ask)(void **pcall, void *self, const ac_model_ask_t *ask, const ac_model_cb_t *cb, void *baton,
                        ac_err_t *err);
    void (*cancel)(void *call);
    /* Loop thread. Checks whether the model can be reached, for /ready. done is never called inside. NULL: the model
     * uses no service, and /ready reports it as ok. */
    void (*probe)(void *self,
                  void (*done)(void *baton, apr_status_t status, apr_interval_time_t took, const ac_err_t *err),
                  void *baton);
} ac_model_vt;

/* ---- tool ---- */
typedef struct ac_tool_header_t {
    const char *name, *value; /* value may contain ${secret} */
    ac_secret_t secret;
} ac_tool_header_t;

/* Where the sources are in a result: members by their paths, names with dots between them. */
typedef struct ac_sources_map_t {
    const char *list; /* an array; ".": the result itself; "off": there are none; NULL: under the usual names */
    const char *title, *url, *place, *score, *snippet; /* of its items; NULL: the usual names */
} ac_sources_map_t;

typedef struct ac_tool_conf_t { /* a <AgentChatTool> section */
    const char *id, *provider, *description;
    json_t *parameters;                /* JSON Schema, or NULL: the provider's own */
    const char *url, *method, *body;   /* templates with {name}, or NULL */
    const apr_array_header_t *headers; /* of ac_tool_header_t */
    const apr_array_header_t
        *allow_hosts;           /* of const char *: "host", "*.host", "host:port"; the URL's own is implied */
    bool allow_private;         /* also loopback, link-local and private addresses */
    bool insecure;              /* secrets of headers may be sent over plain http */
    const apr_table_t *options; /* of AgentChatToolOption: name, value */
    apr_interval_time_t timeout;
    apr_size_t result_max;
    const char *state_dir; /* a directory in which a tool may keep an index */
    const char *ca_file;
    int approval;          /* 1: each call needs the owner's approval */
    ac_credential_t *auth; /* sent as a Bearer token; NULL: none */
    ac_sources_map_t sources;
} ac_tool_conf_t;

#define AC_TOOL_BLOCKING 1 /* call() runs on a work thread */
/* The result follows from the arguments and contains no text of third parties, so the model gets it without quotes. */
#define AC_TOOL_COMPUTES 2

/* A tool has one of three forms; the members that are set choose it:
 *   compute         computes its result from the arguments at once
 *   call            AC_TOOL_BLOCKING: blocks, on a work thread
 *   start, cancel   begins on the loop thread and reports its result later
 * Before a call the core checks the arguments against `parameters`. It ends a call at its deadline, and cuts the result
 * at the configured size. If a call fails, the model gets err->detail, which must not contain a secret; the kind is
 * tool_error or tool_timeout. If a failed call has a result that is a string, the model gets this string instead, cut
 * like a result. All functions except for create and child_init may run many times at once.
 *
 * A call that cannot end without the approval of the run's owner calls done with AC_TOOL_ASKS, and an object whose
 * `message` says what the owner is asked; its other members are the tool's. The run is then suspended as for
 * AgentChatToolApproval, and the approved call continues by proceed() with this object, in whichever process. */
#define AC_TOOL_ASKS APR_INCOMPLETE

typedef struct ac_tool_vt {
    const char *name; /* AgentChatToolProvider */
    unsigned flags;
    const char *description; /* for the model, unless configured; may be NULL */
    const char *parameters;  /* JSON Schema as text; may be NULL if configured */
    /* At configuration time. *pself: allocated in p. conf lives as long as the child. Returns NULL on success, else an
     * error message in p. NULL as the function: the tool has no options, and self is NULL. */
    const char *(*create)(void **pself, const ac_tool_conf_t *conf, apr_pool_t *p);
    apr_status_t (*child_init)(void *self, const ac_host_t *host, ac_err_t *err); /* after the fork; may be NULL */
    /* AC_TOOL_BLOCKING: on a work thread. *presult: a new reference. deadline: monotonic time of the core's clock. */
    apr_status_t (*call)(json_t **presult, void *self, const json_t *arguments, apr_time_t deadline, ac_err_t *err);
    /* Loop thread. After APR_SUCCESS done(baton, ...) is called later on the loop thread, never inside, and consumes
     * result. */
    apr_status_t (*start)(void **pcall, void *self, const json_t *arguments, apr_time_t deadline,
                          void (*done)(void *baton, apr_status_t status, json_t *result, const ac_err_t *err),
                          void *baton, ac_err_t *err);
    void (*cancel)(void *call); /* with start: loop thread; done is not called any more */
    /* Loop thread; returns within microseconds. *presult: a new reference. */
    apr_status_t (*compute)(void *self, const json_t *arguments, json_t **presult, ac_err_t *err);
    /* Of tools that use AC_TOOL_ASKS: as start, with the object that done got. */
    apr_status_t (*proceed)(void **pcall, void *self, const json_t *arguments, const json_t *question,
                            apr_time_t deadline,
                            void (*done)(void *baton, apr_status_t status, json_t *result, const ac_err_t *err),
                            void *baton, ac_err_t *err);
} ac_tool_vt;

/* ---- models, tools and agents; immutable after configuration ---- */
typedef struct ac_model_t {
    const char *id;
    const ac_model_vt *vt;
    void *self;
    const ac_model_conf_t *conf;
} ac_model_t;

typedef struct ac_tool_t {
    const char *id, *description;
    json_t *parameters; /* JSON Schema object */
    const ac_tool_vt *vt;
    void *self;
    const ac_tool_conf_t *conf;
    unsigned metric;    /* its index in metrics; 0: other */
    const char *source; /* which tool it is, of a source of tools: "mcp:SERVER/NAME"; or the agent that it calls:
                           "agent:ID"; NULL: one of the configuration */
    const struct ac_agent_t *agent; /* a call is a nested run of this agent; NULL: a call of the table's functions */
} ac_tool_t;

typedef struct ac_agent_t {
    const char *id, *name, *description, *instructions;
    const ac_model_t *model;       /* NULL only if problem is set */
    const ac_tool_t *const *tools; /* n_tools of them */
    int n_tools;
    json_t *tools_json; /* the model's `tools`, or NULL without tools */
    double temperature; /* NaN: not sent */
    int max_rounds, max_tokens;
    int max_tool_calls;   /* of one round; 0: AC_MAX_TOOL_CALLS */
    int max_total_rounds; /* of a run and its nested runs; 0: AC_MAX_TOTAL_ROUNDS */
    bool tells_history;   /* agents that it calls get the conversation */
    int history_messages; /* 0: none */
    int64_t history_tokens;
    json_t *output_schema;            /* AgentChatOutputSchema: JSON Schema of answers, or NULL */
    const struct ac_limits_t *limits; /* base/base.h; NULL: none */
    const char *status, *source;      /* "active"|"inactive"; "config"|"api" */
    const char *etag;
    const json_t *document; /* the document from the API; NULL: from the configuration */
    const char *problem;    /* why the agent cannot run although it is active; NULL: it can */
    unsigned metric;        /* its index in metrics; 0: other, as of those made through the API */
    const struct ac_tool_source_t *const *sources; /* n_sources of them, whose tools it has, too; back/back.h */
    int n_sources;
} ac_agent_t;

#endif
