/* SPDX-License-Identifier: Apache-2.0 */
/* The layer of the back ends: stores, models and tools, each behind its table of functions in agentchat.h. This header
 * has the built-in ones, and the calls through those tables. */
#ifndef AC_BACK_H
#define AC_BACK_H

#include "io/io.h"

/* ---- providers.c: the built-in stores, models and tools ---- */
extern const ac_store_vt *const ac_back_stores[]; /* each list ends with NULL */
extern const ac_model_vt *const ac_back_models[];
extern const ac_tool_vt *const ac_back_tools[];

/* ---- tool_source.c: sources of tools that are known at run time only ---- */
/* A caller that waits for a list of tools; all zero before use. */
typedef struct ac_tool_waiter_t {
    void (*fn)(void *baton);
    void *baton;
    struct ac_tool_waiter_t *next, **plink;
} ac_tool_waiter_t;
typedef struct ac_tool_source_vt { /* loop thread */
    /* Asks for the tools if the list is missing or out of date. Returns true if the waiter's fn will be called when the
     * answer is here, or has failed, within the source's own time limit; false: there is nothing to wait for. */
    bool (*want)(void *self, ac_tool_waiter_t *waiter);
    /* What one run uses: the tools of the newest list, which live until close(). NULL: there is no list; *perr says
     * why, borrowed until the loop's next turn. */
    void *(*open)(void *self, const ac_err_t **perr);
    void (*close)(void *use); /* no call of its tools is active */
    int (*count)(const void *use);
    const ac_tool_t *(*tool)(void *use, int i); /* the i-th one; its id is the name for the model */
    void (*rename)(void *use, int i);           /* another tool of the run has its id: gives it a longer one */
} ac_tool_source_vt;
typedef struct ac_tool_source_t {
    const char *name; /* as in a list of tools: "mcp:github" */
    const ac_tool_source_vt *vt;
    void *self;
} ac_tool_source_t;
/* For sources: a list of waiters. report calls each once; one that waits again meanwhile waits. */
void ac_tool_source_wait(ac_tool_waiter_t **plist, ac_tool_waiter_t *waiter);
void ac_tool_source_report(ac_tool_waiter_t **plist);
void ac_tool_source_forget(ac_tool_waiter_t *waiter); /* fn is not called; one that does not wait is allowed */

/* ---- store.c: calls through a store's table ---- */
/* Creates an operation. Returns NULL if owner or id is too long, or if the verb needs an owner and
 * ac_store_owner_problem() objects to this one. */
ac_store_op_t *ac_store_op_create(ac_store_verb_e verb, const char *owner, const char *id);
/* Returns the reason why a name cannot own data, such as "is empty", or NULL. Names that begin with a blank are
 * reserved for stores. */
const char *ac_store_owner_problem(const char *owner);
void ac_store_op_free(ac_store_op_t *op); /* op may be NULL */
/* For stores, as host->store_done: returns op to its caller, on op->home if set. Any thread. */
void ac_store_done(ac_store_op_t *op);
typedef struct ac_store_t {
    const ac_store_vt *vt;
    void *self;
    unsigned metric;  /* its index in metrics */
    const char *name; /* of its database, for spans; NULL: none */
} ac_store_t;
/* Sets the context that op is part of: a copy. */
void ac_store_op_trace(ac_store_op_t *op, const ac_trace_t *trace);
/* Carries out op and calls done(op) with op->baton on the given loop, never inside this call. The store owns op
 * meanwhile. Any thread. */
void ac_store_call_post(const ac_store_t *store, ac_loop_t *home, ac_store_op_t *op, void (*done)(ac_store_op_t *op),
                        void *baton);
/* For a worker: waits for the answer, at most `timeout`. Consumes *pop, and returns it, or NULL with store_timeout in
 * err. Any thread except for the loop's. */
apr_status_t ac_store_wait(const ac_store_t *store, ac_store_op_t **pop, apr_interval_time_t timeout, ac_err_t *err);
/* For stores: sets op's ETag from a thread's version. */
void ac_store_etag_set(ac_store_op_t *op, int64_t version);
/* The cursor after the last of these threads, a new reference; NULL: memory ran out. data must not be empty. */
json_t *ac_store_cursor(const ac_page_t *page, const json_t *data);
/* Returns the id in page->after; time: for a page by update, the time before it, else "". Returns NULL if it is not a
 * cursor of such a list. */
const char *ac_store_cursor_read(char time[AC_TIME_SIZE], const ac_page_t *page);
/* For stores: checks THREAD_UPDATE's conditions against the thread and its version. errors: precondition_failed,
 * invalid_request. */
apr_status_t ac_store_thread_check(ac_store_op_t *op, const json_t *thread, int64_t version);
/* For stores: checks the condition of AGENT_PUT and AGENT_DELETE against the agent's current ETag ("": it does not
 * exist). errors: precondition_failed, not_found (AGENT_DELETE). */
apr_status_t ac_store_agent_check(ac_store_op_t *op, const char *etag);
/* For stores: applies APPROVAL_DECIDE's `in` to calls, in place. *pn_open: how many are not decided yet. errors:
 * not_waiting, invalid_request. */
apr_status_t ac_store_approval_decide(int *pn_open, json_t *calls, const char *until, ac_store_op_t *op);
/* ---- store_queue.c: the queue of a thread, for stores. queue: the ids of its runs, in their order ---- */
/* For TURN_QUEUE. *pplace: how many turns are before this one; the length of the queue: it is not there yet. errors:
 * run_in_progress, with op->out. */
apr_status_t ac_store_queue_check(int *pplace, const json_t *queue, ac_store_op_t *op);
/* For TURN_OPEN of a thread without an active run. *pqueued: the turn is in the queue, and leaves it. errors: those of
 * TURN_OPEN about the queue, with op->out. */
apr_status_t ac_store_queue_open(bool *pqueued, const json_t *queue, ac_store_op_t *op);

/* ---- store.c ---- */
const char *ac_store_verb_name(ac_store_verb_e verb);
/* The same as one word: "turn_open". */
#define AC_STORE_VERB_SIZE 32
void ac_store_verb_code(char code[AC_STORE_VERB_SIZE], ac_store_verb_e verb);

/* ---- store_file.c: files, for stores ---- */
typedef struct ac_file_count_t { /* the files that an owner or a thread has */
    int64_t files, bytes;
} ac_file_count_t;
/* Whether a file's document has all members. */
bool ac_store_file_valid(const json_t *file);
/* Checks whether `limits` of FILE_PUT, or of the files of TURN_OPEN, let the owner, or the thread, have this file too.
 * errors: file_limit_exceeded. */
apr_status_t ac_store_file_check(ac_store_op_t *op, const ac_file_count_t *sum, bool of_thread, const json_t *file);
/* Checks whether TURN_OPEN can attach this file of the owner (NULL: there is none), the index-th of its list. sum: of
 * the thread. errors: those of TURN_OPEN, with their pointer. */
apr_status_t ac_store_file_check_attach(ac_store_op_t *op, const json_t *file, const ac_file_count_t *sum,
                                        size_t index);

/* Those members of a message that MESSAGE_MARK has given it. New reference; NULL: none. */
json_t *ac_store_marks(const json_t *message);
/* The message as MESSAGE_DELETE leaves it: without anything that it says, but with the reason for which an answer has
 * ended: a turn that the model's safety system refused stays one. New reference. */
json_t *ac_store_deleted(const json_t *message);
/* Whether the thread's title is the one that this message has given it. */
bool ac_store_title_is_of(const json_t *title, const json_t *message);
/* Whether messages of the thread were deleted since the caller read it. errors: precondition_failed. */
apr_status_t ac_store_deleted_check(ac_store_op_t *op, const json_t *thread);

/* ---- usage.c: usage figures, for stores ---- */
/* A row of usage: {day, owner, agent_id, model, status, error, currency, source, figures}. All members except for
 * `figures` are texts; they identify the row. day: YYYY-MM-DD, UTC, on which the runs were created. error: a code, or
 * "". source: the id of the store that counted it, or "": this one. figures: numbers, and histograms {bucket: count}.
 * All functions are pure. */

/* What the run adds to its owner's usage: a new row of one run; NULL: the run has not ended. */
json_t *ac_usage_row(const json_t *run, const char *owner);
/* What the model call that made a title or a summary adds, by the `in` of USAGE_ADD: a row with the status "title" or
 * "summary", which counts `titles` or `summaries`, and no run. NULL: no valid call. */
json_t *ac_usage_call_row(const json_t *call, const char *owner);
/* The members that identify a row, as an array of texts in the order above. New reference. */
json_t *ac_usage_row_key(const json_t *row);
bool ac_usage_row_valid(const json_t *row);
/* Adds figures (sign 1), or removes them (sign -1). */
void ac_usage_add(json_t *to, const json_t *figures, int sign);

typedef struct ac_usage_sum_t { /* sums by group, of the rows that a reader wants */
    const json_t *in;           /* of USAGE_SUM; borrowed */
    json_t *groups, *total;
    unsigned by;
} ac_usage_sum_t;
void ac_usage_sum_init(ac_usage_sum_t *sum, const json_t *in);
/* Adds a row if it is wanted. errors: invalid_request: too many groups. */
apr_status_t ac_usage_sum_add(ac_usage_sum_t *sum, const json_t *row, ac_err_t *err);
/* The answer of USAGE_SUM, a new reference. Frees the sums. */
json_t *ac_usage_sum_out(ac_usage_sum_t *sum);
void ac_usage_sum_free(ac_usage_sum_t *sum);

/* ---- tree.c: the tree of a thread's messages ---- */
#include "back/tree.h"

/* ---- feedback.c: feedback, for stores ---- */
#include "back/feedback.h"

/* ---- process.c: whether a process of this machine still runs ---- */
#define AC_BOOT_SIZE 48
#define AC_PROCESS_SIZE 160
bool ac_process_boot(char boot[AC_BOOT_SIZE]); /* the kernel's boot id; false: unknown */
/* When a process was started, in clock ticks after boot. 0: it does not exist, or is a zombie. -1: unknown. */
int64_t ac_process_started(int64_t pid);
/* A name of this process, by which others can find out whether it still runs; "" if that is impossible. */
void ac_process_name(char name[AC_PROCESS_SIZE]);
/* Whether the process of that name is known to have ended. Returns false for processes of other machines or
 * containers. */
bool ac_process_died(const char *ours, const char *name);

#endif
