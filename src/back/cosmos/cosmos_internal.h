/* SPDX-License-Identifier: Apache-2.0 */
/* Declarations that only the files of this folder share. The files, from the lowest to the highest:
 *   cosmos_shared.c, cosmos_outage.c, cosmos_task.c            shared state, log lines, tasks
 *   cosmos_call.c, cosmos_send.c, cosmos_account.c             one request and its attempts
 *   cosmos_doc.c                                               documents
 *   cosmos_query.c, cosmos_thread_doc.c, cosmos_entry.c,
 *   cosmos_lease.c, cosmos_run_check.c, cosmos_keys.c,
 *   cosmos_usage.c, cosmos_usage_heal.c, cosmos_turns.c,
 *   cosmos_tree.c, cosmos_search.c                             parts of verbs
 *   cosmos_prepare.c                                           database and containers
 *   one file for each domain object with its verbs; cosmos_store.c has the table of verbs.
 * docs/cosmos.md describes the documents, docs/internals/cosmos-turn.md the steps of a turn. All functions are for the
 * loop thread, except for create() and start_post(). A function with the parameter `fn` ends by calling fn(task), or by
 * ending the task. */
#ifndef AC_COSMOS_INTERNAL_H
#define AC_COSMOS_INTERNAL_H

#include <stdlib.h>
#include <string.h>

#include "back/webhook/webhook.h"
#include "cosmos_call.h"
#include "cosmos_task.h"

#define AC_COSMOS_SPLIT 900000 /* bytes of a document's JSON; a larger document is stored in parts */
#define AC_COSMOS_TOUCH \
    8 /* entries, written when a turn begins, live longer than documents by at least this fraction */
#define AC_COSMOS_CURSOR_NONE "~"                     /* sorts after the letters of every id */
#define AC_COSMOS_SUSPENDED_KEY " waiting"            /* the partition of suspended runs; no owner has this name */
#define AC_COSMOS_ERASURES_KEY " erasures"            /* the partition of erasures that are not finished */
#define AC_COSMOS_USAGE_ID "usage_"                   /* the ids of sums of usage begin with it, then the day */
#define AC_COSMOS_NO_HOLDER "waiting"                 /* the holder of a suspended run, in the run's document */
#define AC_COSMOS_LONG_AGO "0000-00-00T00:00:00.000Z" /* sorts before every time: any purge finds a tombstone */

/* ---- cosmos_config.c ---- */

/* ac_store_vt.create. */
const char *ac_cosmos_config_create(void **pself, const char *spec, apr_table_t *options, apr_pool_t *p);

/* ---- cosmos_shared.c ---- */

/* Acquires the shared state until ac_cosmos_shared_release(); the caller must not wait in between. If the child that
 * has the lock is stopped, returns this child's own state; if it was killed, this child acquires the lock. Never
 * NULL. */
ac_cosmos_state_t *ac_cosmos_shared_acquire(ac_cosmos_t *store);
void ac_cosmos_shared_release(ac_cosmos_t *store);
/* Stores the x-ms-session-token of a response. */
void ac_cosmos_shared_note_token(ac_cosmos_t *store, ac_cosmos_container_e container, const char *token);
/* The newest tokens in the form of the header, to be freed with free(); NULL: no tokens. */
char *ac_cosmos_shared_token_text(ac_cosmos_t *store, ac_cosmos_container_e container);
/* Deletes the tokens: they may belong to a container that was created again. The next request has none. */
void ac_cosmos_shared_forget_token(ac_cosmos_t *store, ac_cosmos_container_e container);

/* ---- cosmos_outage.c ---- */

/* Logs the beginning of an outage, once. number: AC_M220 to AC_M229. */
void ac_cosmos_outage_begin(ac_cosmos_t *store, int number, const char *what);
/* A request succeeded: logs the end of the outage, after a minute without a failure. */
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
    int want;           /* number of rows; 0: all */
    bool whole;         /* join documents that are stored in parts */
    bool refusable;     /* 400 sets task->refused, and gives no rows, instead of ending the task */
    const char *continuation;
} ac_cosmos_query_t;
struct ac_cosmos_selection_t { /* the query of a task */
    ac_cosmos_query_t query;
    char *key, *sql, *continuation;
};
/* Runs a query page by page until it has `want` rows or all of them; they are in task->rows. */
void ac_cosmos_query_run(ac_cosmos_task_t *task, const ac_cosmos_query_t *query, ac_cosmos_step_fn *fn);
static inline void ac_cosmos_query_clear(ac_cosmos_task_t *task)
{
    if (task->selection) {
        json_decref(task->selection->query.parameters);
        free(task->selection->key);
        free(task->selection->sql);
        free(task->selection->continuation);
        free(task->selection);
        task->selection = NULL;
    }
}
/* The position at which the last query can be continued, or NULL. */
const char *ac_cosmos_query_continuation(const ac_cosmos_task_t *task);
/* Joins the documents in task->rows that are stored in parts. */
void ac_cosmos_query_join(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);

/* ---- cosmos_doc.c: documents; no state ---- */

/* The document with this id, borrowed, or NULL. */
const json_t *ac_cosmos_doc_find(const json_t *docs, const char *id);
/* Domain objects in the form of the API, from documents. New references; NULL: memory ran out. */
json_t *ac_cosmos_doc_thread(const json_t *doc);
json_t *ac_cosmos_doc_message(const json_t *doc);
json_t *ac_cosmos_doc_run(const json_t *doc);
/* The document of a new thread. errors: invalid_request */
apr_status_t ac_cosmos_doc_make_thread(json_t **pdoc, const json_t *thread, const char *id, const char *owner,
                                       ac_err_t *err);
/* The document of a message, without seq, which is set when it is written. errors: invalid_request */
apr_status_t ac_cosmos_doc_make_message(json_t **pdoc, const json_t *message, const char *thread_id, ac_err_t *err);
/* The document of an ended run, without a holder. errors: invalid_request */
apr_status_t ac_cosmos_doc_make_run(json_t **pdoc, const json_t *run, const ac_store_op_t *op, ac_err_t *err);
/* *pdoc is NULL without steps. errors: invalid_request */
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
/* The id of the document with a suspended run's state. */
void ac_cosmos_doc_suspended_id(char id[AC_ID_SIZE + 8], const char *run_id);
/* Replaces a document that is too large, or has numbers that not every reader keeps, by a stub; adds its parts to
 * `parts`. */
apr_status_t ac_cosmos_doc_split(json_t **pdoc, json_t *parts, ac_err_t *err);
void ac_cosmos_doc_part_id(char id[AC_ID_SIZE + 16], const char *doc_id, int part);
int64_t ac_cosmos_doc_version(const json_t *thread);
/* Whether the time in a member is in the past; true for a missing member. The order of RFC 3339 texts of one length is
 * their order in time. */
bool ac_cosmos_doc_past(const json_t *doc, const char *name, apr_time_t now);

/* ---- cosmos_entry.c ---- */

/* Marks the entry of the thread task->thread, which is replaced afterwards under its ETag, with task->entry.change
 * as its `change`. A task that comes back with a newer document marks again. task->entry.etag is the marked entry's. */
void ac_cosmos_entry_mark(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* The copy that a list may show without reading the thread's document, borrowed; NULL: the list has to read it. */
const json_t *ac_cosmos_entry_copy(const ac_cosmos_t *store, const json_t *entry);
/* Whether all changes for which the entry may be marked have been carried out, or never will be. */
bool ac_cosmos_entry_is_old(const ac_cosmos_t *store, const json_t *entry);
/* The correct entry according to the thread's document; NULL: the entry is correct, or the change is not finished. */
json_t *ac_cosmos_entry_rebuild(const ac_cosmos_t *store, const json_t *entry, const json_t *thread);
/* Starts a task that replaces the entry by `made`, or removes it (NULL), unless it changes meanwhile. Consumes made. */
void ac_cosmos_entry_repair(ac_cosmos_task_t *task, const json_t *entry, json_t *made);
/* Starts a task that compares the entry's copy with the thread's document, and repairs it. */
void ac_cosmos_entry_check(ac_cosmos_task_t *task, const json_t *entry);

/* ---- cosmos_lease.c ---- */

/* A run belongs to this process from the time before it is stored until it is closed, or closing has failed. */
void ac_cosmos_lease_acquire(ac_cosmos_t *store, const ac_store_op_t *op, const char *run_id);
bool ac_cosmos_lease_has(const ac_cosmos_t *store, const char *run_id);
/* The run is stored: its lease is renewed from now on. */
void ac_cosmos_lease_opened(ac_cosmos_t *store, const char *run_id);
/* The run is being suspended: its document is not checked until it is opened or acquired again. */
void ac_cosmos_lease_suspended(ac_cosmos_t *store, const char *run_id);
/* The run could not be opened, or not be closed: it is released, at once or, if it was opened, after a time for
 * another attempt. */
void ac_cosmos_lease_failed(ac_cosmos_t *store, const char *run_id);
void ac_cosmos_lease_release(ac_cosmos_t *store, const char *run_id);
/* Several operations of this process may use one run: it belongs to this process until each has released its claim. */
void ac_cosmos_lease_claim(ac_cosmos_t *store, const ac_store_op_t *op, const char *run_id);
void ac_cosmos_lease_unclaim(ac_cosmos_t *store, const char *run_id);
void ac_cosmos_lease_free_all(ac_cosmos_t *store);
/* Sets a member of the run's document if this is its holder: statuses 200, or 404, 412. Consumes value. */
void ac_cosmos_lease_patch(ac_cosmos_task_t *task, const char *holder, const char *member, json_t *value,
                           ac_cosmos_reply_fn *fn);
/* The end of a lease that begins now. */
json_t *ac_cosmos_lease_end(const ac_cosmos_t *store);
/* {id, holder, process, lease_until} for a thread's document. */
json_t *ac_cosmos_lease_make(const ac_cosmos_t *store, const char *run_id);
void ac_cosmos_lease_start(ac_cosmos_t *store); /* the timer */
void ac_cosmos_lease_stop(ac_cosmos_t *store);

/* ---- cosmos_run_check.c ---- */

/* Closes the active run of task->thread as interrupted if its process has died or its lease has expired; task->thread
 * is up to date afterwards. */
void ac_cosmos_run_check_active(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* Does the same for all runs of the store, if it is this child's turn. */
void ac_cosmos_run_check_sweep(ac_cosmos_t *store);

/* ---- cosmos_queue.c ---- */

/* The queue in the thread's document without this run. New reference. */
json_t *ac_cosmos_queue_without(const json_t *head, const char *run_id);
bool ac_cosmos_queue_has(const json_t *head, const char *run_id);

/* ---- cosmos_keys.c ---- */

/* Ends the task if the operation's Idempotency-Key leads to another run. */
void ac_cosmos_key_check(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* Lets the key, checked before, lead to the task's run; ends the task as the check does. */
void ac_cosmos_key_claim(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* For a task that fails: starts a task that removes the key's entry, if the run is certainly not stored. */
void ac_cosmos_key_release(ac_cosmos_task_t *task);
/* Removes the keys that are older than op->in's keys_before, unless they expire in the service. */
void ac_cosmos_key_purge(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);

/* ---- cosmos_usage.c, cosmos_usage_heal.c ---- */

/* Counts an ended run of the owner, later and in a task of its own; a run that has not ended is ignored. */
void ac_cosmos_usage_count(ac_cosmos_t *store, const char *owner, const json_t *run);
/* Runs fn(task) when all runs that wait are counted, or after half of the task's time. */
void ac_cosmos_usage_flush(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* Marks the entry of the run task->run_id, which may be counted already and is about to end again. */
void ac_cosmos_usage_mark(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* Counts ended runs of the owner ("": of all) whose process has not counted them within the time of a lease. */
void ac_cosmos_usage_heal(ac_cosmos_task_t *task, const char *owner, ac_cosmos_step_fn *fn);
/* Counts all uncounted runs of the thread task->op->id, which is being removed; an active run as interrupted. */
void ac_cosmos_usage_heal_thread(ac_cosmos_task_t *task, const char *owner, ac_cosmos_step_fn *fn);
/* The document of a row, and the row of a document. New references. */
json_t *ac_cosmos_usage_doc(const json_t *row);
json_t *ac_cosmos_usage_row(const json_t *doc);

/* ---- cosmos_turns.c ---- */

/* Writes task->parts, one after the other. A part is invisible until its stub is written. */
void ac_cosmos_turn_write_parts(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* Reads the message with this id into task->found; NULL: it is not stored. */
void ac_cosmos_turn_find_message(ac_cosmos_task_t *task, const char *id, ac_cosmos_step_fn *fn);
/* Gives the message of task->documents the next seq and its parent, and makes the thread's document with it. A turn
 * that begins without a message changes the thread's document all the same. run: the active run, consumed. errors: of
 * ac_tree_add() */
apr_status_t ac_cosmos_turn_advance(ac_cosmos_task_t *task, json_t *run);
/* Writes the batch of a turn: the thread's document first. fresh: it is created, not replaced. */
void ac_cosmos_turn_commit(ac_cosmos_task_t *task, bool fresh, ac_cosmos_reply_fn *fn);
/* Makes the committed document task->thread, and remembers it. */
void ac_cosmos_turn_committed(ac_cosmos_task_t *task, const ac_cosmos_reply_t *reply);

/* ---- cosmos_tree.c ---- */

/* Reads the tree of task->thread. errors: store_error */
apr_status_t ac_cosmos_tree_read(ac_tree_t *tree, ac_cosmos_task_t *task);
/* Gives `message` its parent and the next seq, and adds it to `thread`, a copy of the thread's document that will
 * replace it. errors: of ac_tree_add() */
apr_status_t ac_cosmos_tree_add(ac_cosmos_task_t *task, json_t *thread, json_t *message);
/* Checks that a turn which begins without a message will have room for its answer. errors: of ac_tree_add() */
apr_status_t ac_cosmos_tree_check(ac_cosmos_task_t *task);
/* Reads the message with the id in this member of op->in into task->found, and task->thread again if the message is
 * newer than it. Ends the task with not_found, or as damaged. */
void ac_cosmos_tree_find(ac_cosmos_task_t *task, const char *member, ac_cosmos_step_fn *fn);
/* Finds the leaf to which THREAD_UPDATE moves: task->update.leaf, leaf_id. Ends the task with the errors of the
 * verb. */
void ac_cosmos_tree_leaf(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* Completes task->found, messages in the API's shape from the documents task->rows: parents, and with `siblings` their
 * siblings. Reads the ids that are not among the messages, if there are any. */
void ac_cosmos_tree_show(ac_cosmos_task_t *task, bool siblings, ac_cosmos_step_fn *fn);

/* ---- cosmos_list_sql.c ---- */

typedef enum ac_cosmos_listing_e {
    AC_COSMOS_BY_ID,    /* all entries, by the creation of their threads */
    AC_COSMOS_UNCOPIED, /* those without a copy, in any order */
    AC_COSMOS_COPIED    /* entries with a copy, by the last change of their threads */
} ac_cosmos_listing_e;
#define AC_COSMOS_LIST_SQL 600 /* bytes of a query of a list */
void ac_cosmos_list_sql_page(char sql[AC_COSMOS_LIST_SQL], const ac_store_op_t *op, ac_cosmos_listing_e of);
/* since: only threads that were created after @since. */
void ac_cosmos_list_sql_count(char sql[AC_COSMOS_LIST_SQL], const ac_store_op_t *op, bool since);
/* Whether the thread belongs into the operation's list, whatever its words are. */
bool ac_cosmos_list_sql_fits(const ac_store_op_t *op, const json_t *thread);
/* Inserts the threads without a copy among those found, by their last change, up to the end of the page and one
 * more. */
void ac_cosmos_list_sql_merge(json_t *found, const json_t *uncopied, const ac_page_t *page);

/* ---- cosmos_search.c ---- */

/* Whether the list searches the words of messages. */
bool ac_cosmos_search_has_words(const ac_cosmos_task_t *task);
/* Finds the words in the messages of these threads, an array of ids, which it consumes: task->rows are {id, thread_id,
 * seq}, in any order. */
void ac_cosmos_search_run(ac_cosmos_task_t *task, json_t *threads, ac_cosmos_step_fn *fn);
/* The thread as a list shows it: in a search with `match`, of the newest message in `places` or else of the title. A
 * new reference; NULL: it has not the words. places: rows of ac_cosmos_search_run(), or NULL. */
json_t *ac_cosmos_search_shown(const ac_store_op_t *op, const json_t *thread, const json_t *places);
/* Completes `match` of the threads in task->found whose messages were found; changes task->rows. */
void ac_cosmos_search_snippets(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);

/* ---- cosmos_erase.c, cosmos_erase_rest.c: one erasure, task->documents has its `marker` ---- */

json_t *ac_cosmos_erase_marker(const ac_cosmos_task_t *task); /* borrowed */
const char *ac_cosmos_erase_subject(const ac_cosmos_task_t *task);
const char *ac_cosmos_erase_until(const ac_cosmos_task_t *task);
/* Hides and counts what is older than `until`, if that was not done. Without counts afterwards another process has
 * changed the marker. */
void ac_cosmos_erase_continue(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* Begins another round after what was counted. */
void ac_cosmos_erase_reopen(json_t *marker);
/* Removes what belongs to no thread; at the end files too. */
void ac_cosmos_erase_rest_begin(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
void ac_cosmos_erase_rest_end(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);

/* ---- cosmos_erasures.c ---- */

/* The id of an owner's marker. */
void ac_cosmos_erasures_id(char id[AC_COSMOS_KEY_SIZE], const char *owner);
/* The erasure as verbs report it. New reference. */
json_t *ac_cosmos_erasures_json(const json_t *marker);
/* This server knows the erasure from now on. */
void ac_cosmos_erasures_note(ac_cosmos_t *store, const json_t *marker);
/* Whether a document of this owner belongs to a known erasure, by its created_at. */
bool ac_cosmos_erasures_hide(ac_cosmos_t *store, const char *owner, const json_t *doc);
/* The time of the owner's erasure, ""; there is none. */
void ac_cosmos_erasures_until(char until[AC_TIME_SIZE], ac_cosmos_t *store, const char *owner);
/* Removes such documents from an array. */
void ac_cosmos_erasures_filter(const ac_cosmos_task_t *task, json_t *docs);
/* Reads the markers, if it is this child's turn. */
void ac_cosmos_erasures_poll(ac_cosmos_t *store);
/* A purge continues all erasures: it hides what is left of the owners' threads before it removes them, and finishes
 * afterwards. */
void ac_cosmos_erasures_resume(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
void ac_cosmos_erasures_finish(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
bool ac_cosmos_erasures_any(const ac_cosmos_task_t *task);
/* Adds `erasures` and `unfinished` to the result of a purge, if there are any. */
void ac_cosmos_erasures_report(const ac_cosmos_task_t *task, json_t *out);

/* ---- cosmos_marks.c ---- */

/* A message's document that is written in the place of `stored`: without the members of the service, and for the
 * rest of its life. New reference. */
json_t *ac_cosmos_marks_again(const ac_cosmos_t *store, const json_t *stored);

/* ---- cosmos_feedback.c ---- */

/* The document by which lists find a message's `feedback`; message: its document. New reference. */
json_t *ac_cosmos_feedback_doc(const json_t *message, const char *owner);

/* ---- verbs, by file ---- */

/* cosmos_list.c: ends with {data, has_more, next}; consumes data and next (NULL: null). */
void ac_cosmos_list_end(ac_cosmos_task_t *task, json_t *data, bool has_more, json_t *next);
ac_cosmos_step_fn ac_cosmos_list_threads;
ac_cosmos_step_fn ac_cosmos_thread_create, ac_cosmos_thread_get, ac_cosmos_thread_update, ac_cosmos_thread_restore,
    ac_cosmos_thread_hide;
ac_cosmos_step_fn ac_cosmos_message_list, ac_cosmos_message_load, ac_cosmos_message_export;
ac_cosmos_step_fn ac_cosmos_open_turn, ac_cosmos_close_turn;
ac_cosmos_step_fn ac_cosmos_lease_check;
ac_cosmos_step_fn ac_cosmos_suspend_run, ac_cosmos_suspend_list, ac_cosmos_approval_decide;
/* Ends with the entries in the partition of suspended runs that this query finds before op->in's `before`. */
void ac_cosmos_suspend_query(ac_cosmos_task_t *task, const char *sql);
ac_cosmos_step_fn ac_cosmos_queue_add, ac_cosmos_queue_remove, ac_cosmos_queue_list;
/* cosmos_webhook.c */
ac_cosmos_step_fn ac_cosmos_webhook_list, ac_cosmos_webhook_due, ac_cosmos_webhook_change;
/* Adds the delivery of a run that ends or is suspended to the task's documents, as `webhook`, if it wants one. */
void ac_cosmos_webhook_add(ac_cosmos_task_t *task, json_t *documents, const ac_webhook_cause_t *cause);
/* Writes it with the batch, if there is one. */
void ac_cosmos_webhook_batch(ac_cosmos_batch_t *batch, const ac_cosmos_task_t *task, const json_t *documents);
ac_cosmos_step_fn ac_cosmos_run_get, ac_cosmos_run_list, ac_cosmos_run_steps, ac_cosmos_run_cancel;
ac_cosmos_step_fn ac_cosmos_remove_thread, ac_cosmos_remove_deleted;
ac_cosmos_step_fn ac_cosmos_move_export_threads, ac_cosmos_move_export_runs, ac_cosmos_move_import;
ac_cosmos_step_fn ac_cosmos_key_get, ac_cosmos_key_put;
ac_cosmos_step_fn ac_cosmos_file_put, ac_cosmos_file_get, ac_cosmos_file_list, ac_cosmos_file_delete,
    ac_cosmos_file_sweep, ac_cosmos_file_export, ac_cosmos_file_import;
/* Attaches the files of TURN_OPEN, if it has any, then calls fn(task). */
void ac_cosmos_file_attach(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* cosmos_file_thread.c: lets files of TURN_OPEN go from threads that have no message with them. task->rows are the
 * owner's files; what still belongs to another thread afterwards has to be refused. */
void ac_cosmos_file_thread_check(ac_cosmos_task_t *task, ac_cosmos_step_fn *fn);
/* Looks for a message of the file's thread that has the file: task->rows is empty if there is none. */
void ac_cosmos_file_thread_find_message(ac_cosmos_task_t *task, const json_t *file, ac_cosmos_step_fn *fn);
/* The ids of TURN_OPEN's files, and the document of one of them among task->rows, or NULL. */
const json_t *ac_cosmos_file_thread_ids(const ac_cosmos_task_t *task);
json_t *ac_cosmos_file_thread_doc(const ac_cosmos_task_t *task, size_t index);
ac_cosmos_step_fn ac_cosmos_agent_list, ac_cosmos_agent_put, ac_cosmos_agent_delete;
ac_cosmos_step_fn ac_cosmos_erase_owner, ac_cosmos_erasures_erased;
ac_cosmos_step_fn ac_cosmos_feedback_put, ac_cosmos_feedback_list;
ac_cosmos_step_fn ac_cosmos_marks_put;
ac_cosmos_step_fn ac_cosmos_deletion_run;
ac_cosmos_step_fn ac_cosmos_usage_call, ac_cosmos_usage_list_sum, ac_cosmos_usage_list_export,
    ac_cosmos_usage_list_import;

#endif
