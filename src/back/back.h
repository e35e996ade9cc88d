/* SPDX-License-Identifier: Apache-2.0 */
/* Floor 4: what stands behind us. Stores, models and tools, each behind the table of
 * functions of agentchat.h; here are ours, and the calls through those tables. */
#ifndef AC_BACK_H
#define AC_BACK_H

#include "io/io.h"

/* ---- providers.c: the stores, models and tools that the module brings along ---- */
extern const ac_store_vt *const ac_back_stores[]; /* each list ends with NULL */
extern const ac_model_vt *const ac_back_models[];
extern const ac_tool_vt *const ac_back_tools[];

/* ---- store.c: calls through a store's table ---- */
/* NULL: owner or id is too long, or the verb is about what one owner has and ac_store_owner_problem() has something
 * to say. */
ac_store_op_t *ac_store_op_create(ac_store_verb_e verb, const char *owner, const char *id);
/* What is wrong with a name that is to own something, as "is empty"; NULL: nothing. A name that begins with a blank
 * is a store's own. */
const char *ac_store_owner_problem(const char *owner);
void ac_store_op_free(ac_store_op_t *op); /* NULL is fine */
/* For stores, as host->store_done: hands op back to its caller, on op->home where set. Any thread. */
void ac_store_done(ac_store_op_t *op);
typedef struct ac_store_t {
    const ac_store_vt *vt;
    void *self;
} ac_store_t;
/* done(op) with op->baton on the given loop, never inside this call; the callee owns op. Any thread. */
void ac_store_call_post(const ac_store_t *store, ac_loop_t *home, ac_store_op_t *op, void (*done)(ac_store_op_t *op),
                        void *baton);
/* A worker waits for the answer, at most `timeout`. Takes *pop; gives it back, or NULL with store_timeout in err.
 * Any thread but the loop. */
apr_status_t ac_store_wait(const ac_store_t *store, ac_store_op_t **pop, apr_interval_time_t timeout, ac_err_t *err);
/* For stores: a thread's tag is its version. */
void ac_store_etag_set(ac_store_op_t *op, int64_t version);
/* The cursor behind the last of these threads, a new reference; NULL: memory ran out. data is not empty. */
json_t *ac_store_cursor(const ac_page_t *page, const json_t *data);
/* The id in page->after, and where the page is by update the time before it, else "". NULL: it is no cursor of such
 * a list. */
const char *ac_store_cursor_read(char time[AC_TIME_SIZE], const ac_page_t *page);
/* For stores: whether THREAD_UPDATE may go on where the thread has this version. errors: precondition_failed,
 * invalid_request. */
apr_status_t ac_store_thread_check(ac_store_op_t *op, int64_t version);
/* For stores: whether AGENT_PUT and AGENT_DELETE may go on where the agent has this tag now; "": there is no such
 * agent. errors: precondition_failed, not_found (AGENT_DELETE). */
apr_status_t ac_store_agent_check(ac_store_op_t *op, const char *etag);
/* For stores: what APPROVAL_DECIDE's `in` makes of the calls, in place; *pn_open: how many are still to be decided.
 * errors: not_waiting, invalid_request. */
apr_status_t ac_store_approval_decide(int *pn_open, json_t *calls, const char *until, ac_store_op_t *op);
const char *ac_store_verb_name(ac_store_verb_e verb);

/* ---- process.c: which processes of this machine still run ---- */
#define AC_BOOT_SIZE 48
#define AC_PROCESS_SIZE 160
bool ac_process_boot(char boot[AC_BOOT_SIZE]); /* the kernel's boot id; false: not known */
/* When a process was started, in ticks after boot; 0: there is no such process, or it has ended and only waits for
 * its parent; -1: unknown. */
int64_t ac_process_started(int64_t pid);
/* This process, so that others can tell whether it still runs; "" where that cannot be told. */
void ac_process_name(char name[AC_PROCESS_SIZE]);
/* Whether the process of that name is known to have ended. One of another machine or container is not known about. */
bool ac_process_died(const char *ours, const char *name);

#endif
