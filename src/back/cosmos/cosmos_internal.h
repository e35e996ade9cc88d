/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the Cosmos DB store: functions that its files have for each other. The files, from the bottom to the
 * top:
 *   cosmos_shared.c, cosmos_outage.c, cosmos_task.c      shared state, log lines, tasks cosmos_call.c,
 *   cosmos_send.c, cosmos_account.c       one request and its attempts cosmos_doc.c
 *   documents cosmos_query.c, cosmos_thread_doc.c, cosmos_entry.c, cosmos_lease.c, cosmos_run_check.c,
 *   cosmos_keys.c, cosmos_turns.c cosmos_prepare.c                                     database and containers one
 *   file for each noun that carries out verbs; cosmos_store.c has the table of verbs.
 * docs/cosmos.md describes the documents, docs/internals/cosmos-turn.md the steps of a turn. All of it runs on the
 * loop thread, except for create() and start_post(). A function that takes `fn` ends with fn(task), or with the end
 * of the task. */
#ifndef AC_COSMOS_INTERNAL_H
#define AC_COSMOS_INTERNAL_H

#include <stdlib.h>
#include <string.h>

#include "cosmos_call.h"
#include "cosmos_task.h"

#define AC_COSMOS_SPLIT 900000 /* bytes of a document's JSON; a larger one is stored in parts */
#define AC_COSMOS_TOUCH 8 /* entries, written when a turn begins, live longer than documents by such a part at least */
#define AC_COSMOS_CURSOR_NONE "~"          /* sorts after the letters of every id */
#define AC_COSMOS_SUSPENDED_KEY " waiting" /* the partition of suspended runs; no owner has this name */
#define AC_COSMOS_NO_HOLDER "waiting"      /* the holder of a suspended run, in the run's document */

/* ---- cosmos_config.c ---- */

/* ac_store_vt.create. */
const char *ac_cosmos_config_create(void **pself, const char *spec, apr_table_t *options, apr_pool_t *p);

/* ---- cosmos_shared.c ---- */

/* Acquires the shared state, until ac_cosmos_shared_release(); between the two nothing may wait. If the child that
 * has the lock is stopped, the result is this child's own state; if it was killed, this child acquires the lock.
 * Never NULL. */
ac_cosmos_state_t *ac_cosmos_shared_acquire(ac_cosmos_t *store);
void ac_cosmos_shared_release(ac_cosmos_t *store);
/* Notes the x-ms-session-token of an answer. */
void ac_cosmos_shared_note_token(ac_cosmos_t *store, ac_cosmos_container_e container, const char *token);
/* The newest tokens in the form of the header, to be freed; NULL: there are none. */
char *ac_cosmos_shared_token_text(ac_cosmos_t *store, ac_cosmos_container_e container);
/* Forgets the tokens: they may be of a container that was created again. The next request goes without. */
void ac_cosmos_shared_forget_token(ac_cosmos_t *store, ac_cosmos_container_e container);

/* ---- cosmos_outage.c ---- */

/* Logs the beginning of an outage, once. number: AC_M220 to AC_M229. */
void ac_cosmos_outage_begin(ac_cosmos_t *store, int number, const char *what);
/* The service answered: logs the end of the outage, once it has been quiet for a while. */
void ac_cosmos_outage_end(ac_cosmos_t *store);

/* ---- cosmos_prepare.c ---- */

/* Runs fn(task) once the containers are known to exist; ends the task if they are not usable. */
void ac_cosmos_prepare_then(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);

/* ---- cosmos_thread_doc.c ---- */

/* Reads the document of the thread task->op->id into task->thread; doc NULL: the thread does not exist, or is
 * another owner's. remembered: a document from memory is enough, because it is only used under its ETag. */
void ac_cosmos_thread_doc_read(ac_cosmos_task_t *task, bool remembered, ac_cosmos_step_fn *fn);
/* The same after a conflict; see ac_cosmos_task_retry(). */
void ac_cosmos_thread_doc_retry(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* Puts a document into memory (it is borrowed), or removes it (NULL). */
void ac_cosmos_thread_doc_remember(ac_cosmos_t *store, const char *thread_id, const json_t *doc, const char *etag);
static inline void ac_cosmos_thread_doc_clear(ac_cosmos_thread_doc_t *thread)
{
    json_decref(thread->doc);
    memset(thread, 0, sizeof(*thread));
}
/* Whether the thread exists and is not deleted. hidden: a soft-deleted one counts too. */
bool ac_cosmos_thread_doc_lives(const ac_cosmos_thread_doc_t *thread, bool hidden);
/* The active run's id, or "". */
const char *ac_cosmos_thread_doc_run(const ac_cosmos_thread_doc_t *thread);
/* Whether the active run is suspended, and is this one; run_id NULL: any. */
bool ac_cosmos_thread_doc_suspended(const ac_cosmos_thread_doc_t *thread, const char *run_id);

/* ---- cosmos_query.c ---- */

typedef struct ac_cosmos_query_t {
    ac_cosmos_container_e container;
    const char *key; /* NULL: over all partitions */
    const char *sql;
    json_t *parameters; /* consumed */
    int want;           /* rows; 0: all of them */
    bool whole;         /* join documents that are stored in parts */
    const char *continuation;
} ac_cosmos_query_t;
struct ac_cosmos_selection_t { /* the query of a task */
    ac_cosmos_query_t query;
    char *key, *continuation;
};
/* Runs a query, page by page, until there are `want` rows or there are no more; they are in task->rows. */
void ac_cosmos_query_run(ac_cosmos_task_t *task, const ac_cosmos_query_t *query, ac_cosmos_step_fn *fn);
static inline void ac_cosmos_query_clear(ac_cosmos_task_t *task)
{
    if (task->selection) {
        json_decref(task->selection->query.parameters);
        free(task->selection->key);
        free(task->selection->continuation);
        free(task->selection);
        task->selection = NULL;
    }
}
/* Where the last query would continue, or NULL. */
const char *ac_cosmos_query_continuation(const ac_cosmos_task_t *task);
/* Joins the documents in task->rows that are stored in parts. */
void ac_cosmos_query_join(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);

/* ---- cosmos_doc.c: documents, pure ---- */

/* Domain objects in the shape of the API, from documents; new references, NULL: out of memory. */
json_t *ac_cosmos_doc_thread(const json_t *doc);
json_t *ac_cosmos_doc_message(const json_t *doc);
json_t *ac_cosmos_doc_run(const json_t *doc);
/* The document of a new thread. errors: invalid_request */
apr_status_t ac_cosmos_doc_make_thread(json_t **pdoc, const json_t *thread, const char *id, const char *owner,
                                       ac_err_t *err);
/* Without seq, which is set when it is written. errors: invalid_request */
apr_status_t ac_cosmos_doc_make_message(json_t **pdoc, const json_t *message, const char *thread_id, ac_err_t *err);
/* Without a holder, as a run that has ended. errors: invalid_request */
apr_status_t ac_cosmos_doc_make_run(json_t **pdoc, const json_t *run, const ac_store_op_t *op, ac_err_t *err);
/* *pdoc NULL: there are no steps. errors: invalid_request */
apr_status_t ac_cosmos_doc_make_steps(json_t **pdoc, const json_t *steps, const char *run_id, const char *thread_id,
                                      ac_err_t *err);
/* Removes what a run's document has only while the run is active. */
void ac_cosmos_doc_clear_lease(json_t *run);
/* A thread's entry in its owner's partition: with a copy of the thread; or marked, while the thread's document
 * changes. */
json_t *ac_cosmos_doc_make_entry(const json_t *thread);
json_t *ac_cosmos_doc_make_marked_entry(const json_t *thread, const char *change);
json_t *ac_cosmos_doc_make_run_entry(const char *owner, const char *run_id, const char *thread_id,
                                     const char *message_id);
void ac_cosmos_doc_steps_id(char id[AC_ID_SIZE + 8], const char *run_id);
/* Of the document with a suspended run's state. */
void ac_cosmos_doc_suspended_id(char id[AC_ID_SIZE + 8], const char *run_id);
/* Replaces a document that is too large, or has numbers that not every reader keeps, by a stub; adds its parts to
 * `parts`. */
apr_status_t ac_cosmos_doc_split(json_t **pdoc, json_t *parts, ac_err_t *err);
void ac_cosmos_doc_part_id(char id[AC_ID_SIZE + 16], const char *doc_id, int part);
int64_t ac_cosmos_doc_version(const json_t *thread);
/* Whether the time in a member is past; a missing member is past. RFC 3339 texts of one length compare as times. */
bool ac_cosmos_doc_past(const json_t *doc, const char *name, apr_time_t now);

/* ---- cosmos_entry.c ---- */

/* Marks the entry of the thread task->thread, which is replaced afterwards under its ETag, with task->entry.change
 * as its `change`. A task that comes back with a newer document marks again. task->entry.etag is the marked entry's. */
void ac_cosmos_entry_mark(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* The copy that a list may show without reading the thread's document, borrowed; NULL: it has to read it. */
const json_t *ac_cosmos_entry_copy(const ac_cosmos_t *store, const json_t *entry);
/* Whether every change that the entry may be marked for is done, or will never be. */
bool ac_cosmos_entry_is_old(const ac_cosmos_t *store, const json_t *entry);
/* The entry that should be there, by the thread's document; NULL: the entry is right, or the change is not over. */
json_t *ac_cosmos_entry_rebuild(const ac_cosmos_t *store, const json_t *entry, const json_t *thread);
/* Starts a task that replaces the entry by `made`, or removes it (NULL), unless it changes meanwhile. Consumes made. */
void ac_cosmos_entry_repair(ac_cosmos_task_t *task, const json_t *entry, json_t *made);
/* Starts a task that compares the entry's copy with the thread's document, and repairs it. */
void ac_cosmos_entry_check(ac_cosmos_task_t *task, const json_t *entry);

/* ---- cosmos_lease.c ---- */

/* A run is this process's from before it is stored until it is closed, or could not be. */
void ac_cosmos_lease_acquire(ac_cosmos_t *store, const ac_store_op_t *op, const char *run_id);
bool ac_cosmos_lease_has(const ac_cosmos_t *store, const char *run_id);
/* The run is stored: from now on its lease is renewed. */
void ac_cosmos_lease_opened(ac_cosmos_t *store, const char *run_id);
/* The run is being suspended: it is not looked at until it is opened or acquired again. */
void ac_cosmos_lease_suspended(ac_cosmos_t *store, const char *run_id);
/* The run could not be opened, or not be closed: it is released, at once or, if it was opened, after a time for
 * another attempt. */
void ac_cosmos_lease_failed(ac_cosmos_t *store, const char *run_id);
void ac_cosmos_lease_release(ac_cosmos_t *store, const char *run_id);
/* Several operations of this process may want one run: it is this process's until each has given up its claim. */
void ac_cosmos_lease_claim(ac_cosmos_t *store, const ac_store_op_t *op, const char *run_id);
void ac_cosmos_lease_unclaim(ac_cosmos_t *store, const char *run_id);
void ac_cosmos_lease_free_all(ac_cosmos_t *store);
/* Sets a member of the run's document if this is its holder: statuses 200, or 404, 412. Consumes value. */
void ac_cosmos_lease_patch(ac_cosmos_task_t *task, const char *holder, const char *member, json_t *value,
                           ac_cosmos_reply_fn *fn);
/* When a lease ends that begins now. */
json_t *ac_cosmos_lease_end(const ac_cosmos_t *store);
/* {id, holder, process, lease_until} for a thread's document. */
json_t *ac_cosmos_lease_make(const ac_cosmos_t *store, const char *run_id);
void ac_cosmos_lease_start(ac_cosmos_t *store); /* the timer */
void ac_cosmos_lease_stop(ac_cosmos_t *store);

/* ---- cosmos_run_check.c ---- */

/* Closes the active run of task->thread as interrupted if its process has died or its lease is over; task->thread is
 * up to date afterwards. */
void ac_cosmos_run_check_active(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* Does the same for all runs of the store, if it is this child's turn. */
void ac_cosmos_run_check_sweep(ac_cosmos_t *store);

/* ---- cosmos_keys.c ---- */

/* Ends the task if the operation's Idempotency-Key leads to another run. */
void ac_cosmos_key_check(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* Lets the key, checked before, lead to the task's run; ends the task as the check does. */
void ac_cosmos_key_claim(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* Of a task that fails: starts a task that removes the key's entry, if the run is known not to be stored. */
void ac_cosmos_key_release(ac_cosmos_task_t *task);
/* Removes the keys from before op->in's keys_before, unless the service does that by itself. */
void ac_cosmos_key_purge(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);

/* ---- cosmos_turns.c ---- */

/* Writes task->parts, one after the other. A part is invisible until its stub is written. */
void ac_cosmos_turn_write_parts(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* Reads the message of task->documents as it is stored into task->found; NULL: it is not stored. */
void ac_cosmos_turn_find_message(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* Gives the message of task->documents the next seq, and makes the thread's document with it. run: the active run,
 * consumed. */
apr_status_t ac_cosmos_turn_advance(ac_cosmos_task_t *task, json_t *run);
/* Writes the batch of a turn: the thread's document first. fresh: it is created, not replaced. */
void ac_cosmos_turn_commit(ac_cosmos_task_t *task, bool fresh, ac_cosmos_reply_fn *fn);
/* Makes the committed document task->thread, and remembers it. */
void ac_cosmos_turn_committed(ac_cosmos_task_t *task, const ac_cosmos_reply_t *reply);

/* ---- cosmos_list_sql.c ---- */

typedef enum ac_cosmos_listing_e {
    AC_COSMOS_BY_ID,    /* all entries, by the creation of their threads */
    AC_COSMOS_UNCOPIED, /* those without a copy, in any order */
    AC_COSMOS_COPIED    /* the others, by the last change of their threads */
} ac_cosmos_listing_e;
const char *ac_cosmos_list_sql_page(const ac_page_t *page, ac_cosmos_listing_e of);
const char *ac_cosmos_list_sql_count(const ac_page_t *page);
/* Inserts the threads without a copy among those found, by their last change, up to the end of the page and one
 * more. */
void ac_cosmos_list_sql_merge(json_t *found, const json_t *uncopied, const ac_page_t *page);

/* ---- verbs, by file ---- */

/* cosmos_list.c: ends with {data, has_more, next}; consumes data and next (NULL: null). */
void ac_cosmos_list_end(ac_cosmos_task_t *task, json_t *data, bool has_more, json_t *next);
ac_cosmos_step_fn ac_cosmos_list_threads;
ac_cosmos_step_fn ac_cosmos_thread_create, ac_cosmos_thread_get, ac_cosmos_thread_update, ac_cosmos_thread_restore,
    ac_cosmos_thread_hide;
ac_cosmos_step_fn ac_cosmos_message_list, ac_cosmos_message_load, ac_cosmos_message_export;
ac_cosmos_step_fn ac_cosmos_open_turn, ac_cosmos_close_turn;
ac_cosmos_step_fn ac_cosmos_suspend_run, ac_cosmos_suspend_list, ac_cosmos_approval_decide;
ac_cosmos_step_fn ac_cosmos_run_get, ac_cosmos_run_list, ac_cosmos_run_steps, ac_cosmos_run_cancel;
ac_cosmos_step_fn ac_cosmos_remove_thread, ac_cosmos_remove_deleted;
ac_cosmos_step_fn ac_cosmos_move_export_threads, ac_cosmos_move_export_runs, ac_cosmos_move_import;
ac_cosmos_step_fn ac_cosmos_key_get;
ac_cosmos_step_fn ac_cosmos_agent_list, ac_cosmos_agent_put, ac_cosmos_agent_delete;

#endif
