/* SPDX-License-Identifier: Apache-2.0 */
/* Stores: the verbs, an operation, and the table of functions. A part of agentchat.h. */
#ifndef AGENTCHAT_STORE_H
#define AGENTCHAT_STORE_H

#include "agentchat_types.h"

#include <apr_pools.h>
#include <apr_tables.h>

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
    AC_STORE_WEBHOOK_LIST,
    AC_STORE_WEBHOOK_DUE,
    AC_STORE_WEBHOOK_ACQUIRE,
    AC_STORE_WEBHOOK_REPORT,
    AC_STORE_MESSAGE_MARK,
    AC_STORE_MESSAGE_DELETE,
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
 * MESSAGE_MARK     id thread  in {message_ids, marks, deleted_messages?}    out {}
 *                  Gives messages members that they get after they were stored: summary, {text, ...}, of the path to
 *                  the message. A mark replaces the one of its name. errors: not_found; precondition_failed: the thread
 *                  has not so many deleted messages (default 0), as it had when they were read. Nothing was written.
 * MESSAGE_DELETE   id thread  in {message_id} or {run_id}    out {thread, runs: [id]}
 *                  Removes what a message says from the store; or what all messages of a run say, and those that came
 *                  with it (metadata.came_with). They keep their places, as ac_store_deleted() leaves them, with
 *                  `deleted`, and the thread counts them in `deleted_messages`, which it has only then. Summaries of
 *                  later messages go, too, and a title that is the beginning of a deleted message. A run whose answer
 *                  is deleted, or that is named, loses its steps and has `deleted`: `runs`. Files that no message has
 *                  any more are left to FILE_SWEEP. Search finds none of it.
 *                  errors: not_found, also if they are deleted already; run_in_progress (out: {run_id}): the run that
 *                  one of them belongs to is active. The caller may repeat it until it is answered.
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
 *                  after: the thread's message_count that the caller has seen, with its deleted_messages (default 0).
 *                  precondition_failed: the thread has newer messages, or others were deleted, and nothing was
 *                  written.
 *                  retry: an earlier attempt with the same ids got no answer, and may have been carried out.
 *                  idempotency: {key, request_hash, since}. The same transaction makes the owner's key lead to this
 *                  run.
 *                  idempotency_conflict (out: {run_id, thread_id, request_hash}): since then the key leads to another
 *                  run.
 *                  This error comes before any other.
 *                  errors: run_in_progress (out: {run_id}): another run of the thread is active and its process lives.
 *                  If its process is dead, the store closes that run as interrupted and continues. Also while another
 *                  turn is first in the thread's queue (out: its run).
 *                  The run leaves the queue if it is there. queued: it must be there, or
 *                  this process has begun it by the same operation, or errors: run_ended.
 *                  files: {ids, limits?: of FILE_PUT}: the files of the message, which belong to the thread from now
 *                  on. A store without a transaction over all of it attaches them before it stores the message. It
 *                  takes over a file whose message was never stored: that message, or its thread, cannot be stored
 *                  afterwards.
 *                  errors: not_found; invalid_request: a file belongs to another thread; file_limit_exceeded. Each
 *                  with the pointer /files/N, of the index in ids.
 * TURN_CLOSE       id thread  in {message|null, run, steps, agent_id?, parent_seq?, after?, late?}
 *                  out {message (with its seq) | null}
 *                  One transaction stores the message, the whole final run and its steps, and moves the leaf to the
 *                  message. It also ends a suspension. agent_id: with a message, the thread's agent from now on.
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
 * Webhooks. A run's `webhook`, {name, events?}, names the receiver of its events. RUN_SUSPEND, TURN_CLOSE,
 * TURN_UNQUEUE, and whatever closes the run of a dead process, store its delivery in the same transaction:
 * back/webhook/webhook.h has the document. A run that ends again with the same event (TURN_CLOSE `late`) causes none.
 * Deliveries go with their thread; they are not moved. Times are the store's.
 *
 * WEBHOOK_LIST     id thread  in {run_id}    out {data: [delivery as the API shows it]}, the oldest one first
 * WEBHOOK_DUE      id -       in {ahead, busy: [name]}, page.limit    out {data: [{id, thread_id, owner, webhook,
 *                             process|null, wait}]}
 *                  Deliveries of every owner that are due in `ahead` ms, but not those of webhooks in `busy`. process:
 *                  the one that has it; wait: ms until it is due.
 * WEBHOOK_ACQUIRE  id thread  in {delivery_id, token, process, lease}    out {delivery: delivery|null}
 *                  From now on the delivery belongs to this process, for `lease` ms, and `attempts` counts this one.
 *                  null: the thread is deleted, and the delivery forgotten. token: the caller's own, for each
 *                  operation another one. errors: not_found; precondition_failed: it is not due, or another process has
 *                  it and lives.
 * WEBHOOK_REPORT   id thread  in {delivery_id, token, state, status|null, error|null, wait?}    out {}
 *                  What has become of the attempt; token: of its WEBHOOK_ACQUIRE. pending: the next one is in `wait`
 *                  ms. errors: not_found; precondition_failed: another process has acquired it meanwhile.
 *
 * Runs that await approval of tool calls
 *
 * RUN_SUSPEND      id thread  in {run, steps, asks, until, calls: {id: null}, state}    out {}
 *                  One transaction. The run stays active, but belongs to no process from now on. asks: the steps that
 *                  await approval, which STEP_LIST shows meanwhile. until: when undecided calls are refused. state:
 *                  whatever the process that resumes the run needs. The same operation again succeeds. errors:
 *                  run_ended.
 * APPROVAL_DECIDE  id run     in {call_id, approve, reason?, content?}    out {waiting: n}: n calls are still undecided
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
 * USAGE_ADD        id run     in {made, created_at, agent_id, model, usage, cost}    out {}
 *                  Counts the model call that made a "title" or a "summary" after the owner's run. The caller does not
 *                  repeat it.
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

#endif
