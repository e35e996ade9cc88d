/* SPDX-License-Identifier: Apache-2.0 */
/* Declarations that only the files of this folder share: sqlite_store.c (configuration, queues, threads),
 * sqlite_group.c (transactions), sqlite_conn.c (connections), sqlite_statement.c (statements), sqlite_renew.c (closing
 * and reopening all connections), sqlite_gather.c (fewer writes), sqlite_page.c (blank pages), sqlite_schema.c
 * (tables), and one file per domain object with its verbs. */
#ifndef AC_STORE_SQLITE_H
#define AC_STORE_SQLITE_H

#include <pthread.h>
#include <sqlite3.h>

#include "back/webhook/webhook.h"
#include "sqlite.h"

#define AC_SQLITE_APPLICATION_ID 0x41474348 /* "AGCH" in the file's header */
#define AC_SQLITE_GROUP 256                 /* most writes of one transaction */
#define AC_SQLITE_READERS_MAX 16
#define AC_SQLITE_STATEMENTS 160                 /* slots of a connection's cache; more than the store has statements */
#define AC_SQLITE_PATIENCE apr_time_from_sec(30) /* longest wait for a lock by an operation without a deadline */
#define AC_SQLITE_SLICE apr_time_from_sec(1)     /* longest wait inside SQLite, before locks are considered failed */
#define AC_SQLITE_ACTIVE "status IN ('queued', 'in_progress')"

/* A condition for each statement about messages of a thread or steps of a run. Their tables have no owner column; with
 * this condition a forgotten check cannot find or change another owner's rows. */
#define AC_SQLITE_THREAD_OF(id, owner_) "EXISTS (SELECT 1 FROM threads WHERE id = " id " AND owner = " owner_ ")"
#define AC_SQLITE_RUN_OF(id, owner_) "EXISTS (SELECT 1 FROM runs WHERE id = " id " AND owner = " owner_ ")"

/* The process of a run, with enough to tell a living process from a dead one whose number is used again. The processes
 * that share a database must see each other in /proc, so they share a machine and its process numbers. */
typedef struct ac_sqlite_process_t {
    char boot[48]; /* the kernel's boot id */
    int64_t pid;
    int64_t started; /* clock ticks after boot */
} ac_sqlite_process_t;

/* An outage of the store: one log line when it begins, one when it ends. The writer has one, all readers share one. */
typedef struct ac_sqlite_outage_t {
    int code; /* SQLite's primary result code; 0: no outage */
    apr_time_t last;
} ac_sqlite_outage_t;

/* The state that the store's threads share. */
typedef struct ac_sqlite_t {
    const char *path; /* these three are from the configuration */
    bool sync_full;
    bool search;     /* there is a full-text index. Written before the threads start, or by the writer if it fails */
    bool search_old; /* the writer's: parts of an older file are not in the index yet */
    /* The writer's: the file has an index, also with search=off; it has words that were removed since it was merged;
     * when it was merged, 0: not in this process. */
    bool indexed, unmerged;
    apr_time_t merged;
    int n_readers;
    const ac_host_t *host;
    ac_sqlite_process_t process;
    pthread_mutex_t lock;          /* guards the members below, up to conns */
    pthread_cond_t written, asked; /* wakes the writer; wakes a reader */
    ac_store_op_t *write_first, *write_last, *read_first, *read_last;
    int n_queued, n_reading; /* operations; readers that may still pass one to the writer */
    int64_t damaged;         /* the full-text index of this version of the schema is damaged; 0: it is not */
    bool running, stopping;
    ac_sqlite_outage_t episodes[2]; /* [0] readers, [1] writer */
    int generation;                 /* generation of connections: an older one is closed before one opens */
    apr_time_t next_renewal;        /* earliest time of the next renewal; a successful write resets it */
    apr_interval_time_t renewal_pause;
    pthread_cond_t closed;          /* the last connection of an older generation was closed */
    struct ac_sqlite_conn_t *conns; /* [0] is the writer's; each is used by one thread */
    pthread_t *threads;
    int n_threads;
    sqlite3_vfs vfs; /* SQLite's own, but with limited waits: sqlite_renew.c */
    char vfs_name[40];
    sqlite3_vfs writer_vfs; /* the same for the writer, which gathers writes: sqlite_gather.c */
    char writer_vfs_name[48];
    struct ac_sqlite_gather_t *gathering; /* the log of the writer's connection; NULL: not open */
} ac_sqlite_t;

/* What to do with an active run whose process has died. */
typedef enum ac_sqlite_mend_e {
    AC_SQLITE_MEND_FORWARD, /* a reader: the verb returns AC_SQLITE_TO_WRITER */
    AC_SQLITE_MEND_WRITE,   /* close it as interrupted */
    AC_SQLITE_MEND_NOT      /* a read whose transaction could not be written: return the stored state */
} ac_sqlite_mend_e;
#define AC_SQLITE_TO_WRITER APR_EAGAIN

/* A connection with its prepared statements; used by one thread at a time. */
typedef struct ac_sqlite_conn_t {
    ac_sqlite_t *store;
    sqlite3 *db;    /* NULL: not open */
    int generation; /* in which it was opened; 0: not open. Guarded by the store's lock */
    bool writes;
    ac_sqlite_mend_e mend;
    apr_time_t patience;  /* how long it waits for a lock */
    apr_time_t deadline;  /* of the current read; 0: none */
    apr_time_t contended; /* when another process last held the lock */
    apr_time_t next_open; /* earliest time to open it again */
    bool lock_failed;     /* a lock was not in the state that SQLite assumes; the operation can be repeated */
    ac_err_t open_err;    /* why it is not open */
    int wal_pages, wal_checkpointed;
    bool truncates;    /* the log has words of an owner who is forgotten: the next checkpoint empties it */
    int64_t n_emptied; /* how often a checkpoint has emptied the log */
    struct {
        const char *sql; /* the key is the address: statements are constants */
        sqlite3_stmt *stmt;
        bool used; /* since the last ac_sqlite_statement_reset() */
    } statements[AC_SQLITE_STATEMENTS];
} ac_sqlite_conn_t;

/* ---- sqlite_conn.c ---- */
/* Opens and prepares the file if conn is closed or of an older generation; waits for other processes until `until` at
 * most. A failure is remembered for a second, so that a queue of operations does not retry each time. errors:
 * store_error, store_timeout. */
apr_status_t ac_sqlite_conn_open(ac_sqlite_conn_t *conn, apr_time_t until, ac_err_t *err);
void ac_sqlite_conn_close(ac_sqlite_conn_t *conn);
/* Resets all statements and their bound values. */
void ac_sqlite_statement_reset(ac_sqlite_conn_t *conn);
/* Sets err from SQLite's result code; writes a log line if an outage begins. Returns err's status. */
apr_status_t ac_sqlite_conn_fail(ac_sqlite_conn_t *conn, int code, ac_err_t *err);
/* Sets err for a row whose contents are damaged. Returns err's status. */
apr_status_t ac_sqlite_conn_fail_row(ac_sqlite_conn_t *conn, ac_err_t *err);
/* Records a failure. Returns whether the caller has to log it: it is the first of its kind in an outage, and, for a
 * reader, the writer has not logged it. */
bool ac_sqlite_conn_outage_begin(ac_sqlite_conn_t *conn, int code);
/* Records a success: ends an outage after a minute without a failure. */
void ac_sqlite_conn_outage_end(ac_sqlite_conn_t *conn);

typedef struct ac_sqlite_arg_t { /* a value for a statement's parameter; the functions below make it */
    enum { AC_SQLITE_END, AC_SQLITE_TEXT, AC_SQLITE_INT, AC_SQLITE_JSON } type;
    const char *text;
    int64_t number; /* the number, or the text's length (-1: up to its NUL) */
    const json_t *json;
} ac_sqlite_arg_t;

static inline ac_sqlite_arg_t ac_sqlite_text(const char *text) /* NULL: SQL null */
{
    return (ac_sqlite_arg_t){.type = AC_SQLITE_TEXT, .text = text, .number = -1};
}

static inline ac_sqlite_arg_t ac_sqlite_string(const json_t *string) /* not a string: SQL null */
{
    return (ac_sqlite_arg_t){.type = AC_SQLITE_TEXT,
                             .text = json_string_value(string),
                             .number = (int64_t)json_string_length(string)};
}

static inline ac_sqlite_arg_t ac_sqlite_int(int64_t number)
{
    return (ac_sqlite_arg_t){.type = AC_SQLITE_INT, .number = number};
}

static inline ac_sqlite_arg_t ac_sqlite_json(const json_t *json) /* as text; NULL and JSON null: SQL null */
{
    return (ac_sqlite_arg_t){.type = AC_SQLITE_JSON, .json = json};
}

/* The parameters of a statement in order, ?1 first. Texts must stay valid until the statement has run. */
#define AC_SQLITE_ARGS(...) ((const ac_sqlite_arg_t[]){__VA_ARGS__, {.type = AC_SQLITE_END}})
#define AC_SQLITE_NO_ARGS ((const ac_sqlite_arg_t[]){{.type = AC_SQLITE_END}})

/* Binds args to a cached statement, which is then ready for ac_sqlite_statement_step(). sql must be a constant. */
apr_status_t ac_sqlite_statement_start(sqlite3_stmt **pstmt, ac_sqlite_conn_t *conn, const char *sql,
                                       const ac_sqlite_arg_t *args, ac_err_t *err);
/* *prow: whether there is another row. */
apr_status_t ac_sqlite_statement_step(bool *prow, ac_sqlite_conn_t *conn, sqlite3_stmt *stmt, ac_err_t *err);
/* Runs a statement without rows. */
apr_status_t ac_sqlite_statement_run(ac_sqlite_conn_t *conn, const char *sql, const ac_sqlite_arg_t *args,
                                     ac_err_t *err);
/* Gets the first row; *pstmt is NULL without one. */
apr_status_t ac_sqlite_statement_row(sqlite3_stmt **pstmt, ac_sqlite_conn_t *conn, const char *sql,
                                     const ac_sqlite_arg_t *args, ac_err_t *err);
/* A column as a new JSON value: its text as a string, or its text parsed; JSON null for SQL null. Returns NULL if the
 * data is damaged or memory ran out. */
json_t *ac_sqlite_statement_text(sqlite3_stmt *stmt, int column);
json_t *ac_sqlite_statement_json(sqlite3_stmt *stmt, int column);

/* ---- sqlite_renew.c ---- */
/* If the file system failed to release a lock, SQLite keeps it until the process has closed the file, and answers
 * "locking protocol" or "busy" meanwhile. A renewal closes all connections of the process before it opens the first one
 * again. */

/* Registers the store's own VFS, whose waits for locks are limited; its name is NULL if that fails. stop: call it after
 * all connections are closed. */
void ac_sqlite_renew_vfs_start(ac_sqlite_t *store);
void ac_sqlite_renew_vfs_stop(ac_sqlite_t *store);
/* Limits the waits inside SQLite of the calling thread: they end at `until`, or after a slice if that is earlier. Later
 * waits return at once. */
void ac_sqlite_renew_wait_slice(apr_time_t until);
/* Begins a new generation of connections if this code, returned on conn, shows that the old one holds stale locks. Sets
 * conn->lock_failed if that is certain. */
void ac_sqlite_renew(ac_sqlite_conn_t *conn, int code);
/* Whether conn is open and of an older generation; its thread then closes it. The caller holds the store's lock. */
bool ac_sqlite_renew_is_due(const ac_sqlite_conn_t *conn);
/* Adds conn to the current generation when no connection of an older one is open. Returns false if one is still open at
 * `until`. */
bool ac_sqlite_renew_enter(ac_sqlite_conn_t *conn, apr_time_t until);
void ac_sqlite_renew_leave(ac_sqlite_conn_t *conn);

/* ---- sqlite_gather.c ---- */
/* Registers the VFS of the writer's connection if there is the store's own; its name is empty otherwise. Call it after
 * ac_sqlite_renew_vfs_start(). stop: call it after all connections are closed. */
void ac_sqlite_gather_vfs_start(ac_sqlite_t *store);
void ac_sqlite_gather_vfs_stop(ac_sqlite_t *store);

/* ---- sqlite_page.c ---- */
/* Copies a page of a tree, with zeros where nothing of it is in use. first: it is the first page of the file. Returns
 * false if it is no such page, or is damaged; copy, of the same size, is then of no use. */
bool ac_sqlite_page_blank(unsigned char *copy, const unsigned char *page, int size, bool first);

/* ---- sqlite_store.c ---- */
/* Returns op to its caller. */
void ac_sqlite_store_answer(ac_sqlite_t *store, ac_store_op_t *op, apr_status_t status);
/* Queues op for the writer, whatever its verb. */
void ac_sqlite_store_write_post(ac_sqlite_t *store, ac_store_op_t *op);

bool ac_sqlite_store_is_stopping(ac_sqlite_t *store);

/* ---- sqlite_group.c ---- */
typedef struct ac_sqlite_group_t { /* writes that are committed together, and their results */
    ac_store_op_t *ops[AC_SQLITE_GROUP];
    apr_status_t status[AC_SQLITE_GROUP];
    int n;
} ac_sqlite_group_t;
/* Runs one operation on a reader's connection and answers it, or passes it to the writer. */
void ac_sqlite_group_read(ac_sqlite_conn_t *conn, ac_store_op_t *op);
/* The earliest deadline of the group's operations, at most `most`. */
apr_time_t ac_sqlite_group_until(const ac_sqlite_group_t *group, apr_time_t most);
/* Commits a group and answers its operations. conn is open before, and may be closed after it. */
void ac_sqlite_group_run(ac_sqlite_conn_t *conn, ac_sqlite_group_t *group);
/* Answers all operations with this error; but reads among them are carried out if conn is open. */
void ac_sqlite_group_fail(ac_sqlite_conn_t *conn, ac_sqlite_group_t *group, apr_status_t status, const ac_err_t *err);
/* Copies the write-ahead log into the file when it is due. Call it after the answers: no caller needs to wait for
 * it. */
void ac_sqlite_group_checkpoint(ac_sqlite_conn_t *conn);
bool ac_sqlite_group_verb_writes(ac_store_verb_e verb);

/* ---- sqlite_schema.c ---- */
/* Checks which program made the file, turns WAL on, and updates the tables to this version. conn may wait until
 * conn->patience. */
apr_status_t ac_sqlite_schema_prepare(ac_sqlite_conn_t *conn, ac_err_t *err);
/* For readers: checks that the tables have this version. */
apr_status_t ac_sqlite_schema_check(ac_sqlite_conn_t *conn, ac_err_t *err);

/* ---- verbs: the caller has opened a transaction or savepoint and ends it; verbs set op->out, op->etag, op->err
 * ---- */
typedef apr_status_t ac_sqlite_verb_fn(ac_sqlite_conn_t *conn, ac_store_op_t *op);

/* sqlite_threads.c */
ac_sqlite_verb_fn ac_sqlite_thread_create, ac_sqlite_thread_get, ac_sqlite_thread_update, ac_sqlite_thread_delete,
    ac_sqlite_thread_restore;
/* Purges a bounded part. Returns AC_SQLITE_TO_WRITER, with the count so far in op->out, while more is left. */
ac_sqlite_verb_fn ac_sqlite_thread_purge;

typedef struct ac_sqlite_thread_t { /* a row of threads; zero it before use */
    json_t *json;                   /* in the form of the API; a reference */
    int64_t n_messages, version;
    bool branched; /* its messages are no line */
} ac_sqlite_thread_t;
/* The columns with which the row begins. */
#define AC_SQLITE_THREAD_COLUMNS \
    "id, title, agent_id, status, metadata, message_count, created_at, updated_at, version, tree, pinned," \
    " deleted_messages"
apr_status_t ac_sqlite_thread_read(ac_sqlite_thread_t *thread, ac_sqlite_conn_t *conn, sqlite3_stmt *row,
                                   ac_err_t *err);
/* Finds the owner's thread op->id. hidden: also a soft-deleted one. errors: not_found. */
apr_status_t ac_sqlite_thread_find(ac_sqlite_thread_t *thread, ac_sqlite_conn_t *conn, ac_store_op_t *op, bool hidden);
/* Inserts a thread of op->owner from its document. */
apr_status_t ac_sqlite_thread_insert(ac_sqlite_conn_t *conn, ac_store_op_t *op, const char *id, const json_t *document);

/* sqlite_index.c */
/* Makes the index if the store has one; without FTS5 it has none. For the writer, when it opens the file. */
apr_status_t ac_sqlite_index_prepare(ac_sqlite_conn_t *conn, ac_err_t *err);
/* Whether a purge merges the index: now, or because a process does it once a day after words were removed. */
bool ac_sqlite_index_merge_due(const ac_sqlite_conn_t *conn, bool now);
/* A step of a merge, after which no removed word is in the file. *pstep begins with 0. A merge goes through the index
 * twice: what another one has begun ends with the first time. */
#define AC_SQLITE_INDEX_MERGED 4
apr_status_t ac_sqlite_index_merge(int64_t *pstep, ac_sqlite_conn_t *conn, ac_err_t *err);
/* Notes that a statement has found the index damaged, and wakes the writer. On the connection's thread. */
void ac_sqlite_index_damaged(const ac_sqlite_conn_t *conn);
/* Replaces the damaged index by an empty one, which is filled when there is nothing else to write. */
void ac_sqlite_index_rebuild(ac_sqlite_conn_t *conn, int64_t damaged);

/* sqlite_search.c */
/* Adds to the index what the transaction has changed. */
apr_status_t ac_sqlite_search_update(ac_sqlite_conn_t *conn, ac_err_t *err);
/* Adds a part of an older file in a transaction of its own. Returns whether there may be more. */
bool ac_sqlite_search_fill(ac_sqlite_conn_t *conn);
/* *pn: threads that are not in the index yet. */
apr_status_t ac_sqlite_search_count(int64_t *pn, ac_sqlite_conn_t *conn, ac_err_t *err);
typedef struct ac_sqlite_forget_t {
    int64_t after, limit; /* the messages: those after this seq, at most so many; -1: all */
    bool title;
    bool again; /* they are to be added again */
} ac_sqlite_forget_t;
/* Removes a part of a thread from the index, before it is removed or changed in the tables. */
apr_status_t ac_sqlite_search_forget(ac_sqlite_conn_t *conn, const char *id, const char *owner,
                                     const ac_sqlite_forget_t *what, ac_err_t *err);

/* sqlite_find.c */
ac_sqlite_verb_fn ac_sqlite_find_threads; /* THREAD_LIST with `q` */

/* sqlite_list.c */
ac_sqlite_verb_fn ac_sqlite_list_threads;
/* Answers a list. Consumes data (NULL: out of memory) and next (NULL: JSON null). */
apr_status_t ac_sqlite_list_answer(ac_store_op_t *op, json_t *data, bool has_more, json_t *next);

/* sqlite_turns.c */
ac_sqlite_verb_fn ac_sqlite_turn_load, ac_sqlite_turn_open, ac_sqlite_turn_close;

/* sqlite_messages.c */
ac_sqlite_verb_fn ac_sqlite_message_list;
#define AC_SQLITE_ROLE_SIZE 16
#define AC_SQLITE_MESSAGE_COLUMNS \
    "id, thread_id, seq, role, content, tool_calls, run_id, created_at, metadata, attachments," \
    " nullif(coalesce(parent_id, (SELECT p.id FROM messages p WHERE p.thread_id = messages.thread_id" \
    " AND p.seq = messages.seq - 1)), ''), feedback, marks"
json_t *ac_sqlite_message_read(sqlite3_stmt *row); /* NULL: damaged, or out of memory */
/* Finds the message with this id in the thread op->id; *pmessage is NULL without one. */
apr_status_t ac_sqlite_message_find(json_t **pmessage, ac_sqlite_conn_t *conn, ac_store_op_t *op, const char *id);
/* The tree of the thread's messages; a line costs no statement. The caller frees it. errors: store_error: damaged. */
apr_status_t ac_sqlite_message_tree(ac_tree_t *tree, ac_sqlite_conn_t *conn, ac_store_op_t *op,
                                    const ac_sqlite_thread_t *thread);
/* *pend: the message with which the path ends that op's `parent_id` or `regenerate` names, else the current one; 0:
 * before all messages. errors: not_found; invalid_request: no question. */
apr_status_t ac_sqlite_message_end(int64_t *pend, ac_sqlite_conn_t *conn, ac_store_op_t *op, const ac_tree_t *tree);
/* Moves the tree's leaf as op's `leaf` says. errors: not_found, invalid_request. */
apr_status_t ac_sqlite_message_switch(ac_tree_t *tree, ac_sqlite_conn_t *conn, ac_store_op_t *op);
/* Inserts op's message, and adds it to the tree as its leaf, where op's `parent_seq` and `after` say. */
apr_status_t ac_sqlite_message_add(json_t **pmessage, ac_tree_t *tree, ac_sqlite_conn_t *conn, ac_store_op_t *op);
/* Whether there is room for the answer of a turn without a message. errors: invalid_request. */
apr_status_t ac_sqlite_message_check(const ac_tree_t *tree, ac_store_op_t *op);
typedef struct ac_sqlite_path_t {
    const ac_tree_t *tree;
    int64_t end;
    const ac_page_t *page;
} ac_sqlite_path_t;
/* Appends the page's messages of the path, in ascending order or as op->page says. */
apr_status_t ac_sqlite_message_path(json_t *data, bool *pmore, ac_sqlite_conn_t *conn, ac_store_op_t *op,
                                    const ac_sqlite_path_t *path);

/* sqlite_move.c */
ac_sqlite_verb_fn ac_sqlite_move_export_threads, ac_sqlite_move_export_messages, ac_sqlite_move_export_runs,
    ac_sqlite_move_import;

/* sqlite_keys.c */
ac_sqlite_verb_fn ac_sqlite_key_get, ac_sqlite_key_put;
/* Stores TURN_OPEN's `idempotency`, if it has one: the key leads to this run from now on. errors: idempotency_conflict,
 * with the existing entry in op->out. */
apr_status_t ac_sqlite_key_take(ac_sqlite_conn_t *conn, ac_store_op_t *op);
/* Removes at most limit keys that are older than `before`. *pn: the number of removed keys. */
apr_status_t ac_sqlite_key_purge(int *pn, ac_sqlite_conn_t *conn, const char *before, int limit, ac_err_t *err);

/* sqlite_agents.c */
ac_sqlite_verb_fn ac_sqlite_agent_list, ac_sqlite_agent_put, ac_sqlite_agent_delete;

/* sqlite_suspended.c */
ac_sqlite_verb_fn ac_sqlite_suspended_write, ac_sqlite_suspended_decide, ac_sqlite_suspended_list;
/* Answers with the rows of this statement: run_id and owner, before op->in's `before`, at most the page's limit. */
apr_status_t ac_sqlite_suspended_rows(ac_sqlite_conn_t *conn, ac_store_op_t *op, const char *sql);
/* Appends the steps that await approval, if the owner's run op->id is suspended. */
apr_status_t ac_sqlite_suspended_steps(json_t *steps, ac_sqlite_conn_t *conn, ac_store_op_t *op);
/* Deletes the suspended state of the owner's run, if it has one. */
apr_status_t ac_sqlite_suspended_drop(ac_sqlite_conn_t *conn, ac_store_op_t *op, const char *run_id);
/* sqlite_turns.c: writes the steps of op->in over the stored ones. */
apr_status_t ac_sqlite_turn_steps_write(ac_sqlite_conn_t *conn, ac_store_op_t *op);

/* sqlite_queued.c */
ac_sqlite_verb_fn ac_sqlite_queued_add, ac_sqlite_queued_remove, ac_sqlite_queued_list;

/* sqlite_webhook.c */
ac_sqlite_verb_fn ac_sqlite_webhook_list, ac_sqlite_webhook_due, ac_sqlite_webhook_acquire, ac_sqlite_webhook_report;
/* Stores the webhook delivery of a run that ends or is suspended. Does nothing if the run has no webhook for this
 * event, or if the delivery is stored already. */
apr_status_t ac_sqlite_webhook_add(ac_sqlite_conn_t *conn, const ac_webhook_cause_t *cause, ac_err_t *err);

/* sqlite_queue.c */
/* The ids of the runs in the queue of the thread op->id. The caller owns *pqueue, also after an error. */
apr_status_t ac_sqlite_queue_read(json_t **pqueue, ac_sqlite_conn_t *conn, ac_store_op_t *op);
/* Whether TURN_OPEN may begin, as far as the queue is concerned; its turn leaves the queue. errors: run_in_progress,
 * run_ended. */
apr_status_t ac_sqlite_queue_leave(ac_sqlite_conn_t *conn, ac_store_op_t *op);

/* sqlite_usage.c */
ac_sqlite_verb_fn ac_sqlite_usage_sum, ac_sqlite_usage_export, ac_sqlite_usage_import, ac_sqlite_usage_call;
/* Counts a run of the owner that is written: in place of the stored document `before` (NULL: there is none). A document
 * of a run that has not ended counts nothing. */
apr_status_t ac_sqlite_usage_count(ac_sqlite_conn_t *conn, const char *owner, const json_t *before, const json_t *after,
                                   ac_err_t *err);
/* Counts all runs of a file whose table of usage is new. */
apr_status_t ac_sqlite_usage_fill(ac_sqlite_conn_t *conn, ac_err_t *err);

/* sqlite_files.c */
ac_sqlite_verb_fn ac_sqlite_file_put, ac_sqlite_file_get, ac_sqlite_file_list, ac_sqlite_file_delete,
    ac_sqlite_file_sweep, ac_sqlite_file_export, ac_sqlite_file_import;
/* Attaches the files of TURN_OPEN, in its transaction. errors: those of TURN_OPEN for files. */
apr_status_t ac_sqlite_file_attach(ac_sqlite_conn_t *conn, ac_store_op_t *op);
/* Removes the files of a thread that is being removed, and adds their ids to `removed`. */
apr_status_t ac_sqlite_file_remove_all(json_t *removed, ac_sqlite_conn_t *conn, const char *thread_id,
                                       const char *owner, ac_err_t *err);

/* sqlite_marks.c */
ac_sqlite_verb_fn ac_sqlite_marks_put;

/* sqlite_deletion.c */
ac_sqlite_verb_fn ac_sqlite_deletion_run;

/* sqlite_feedback.c */
ac_sqlite_verb_fn ac_sqlite_feedback_put, ac_sqlite_feedback_list;

/* sqlite_erase.c */
ac_sqlite_verb_fn ac_sqlite_erase_owner;

/* sqlite_erasures.c */
ac_sqlite_verb_fn ac_sqlite_erasures_ended;
/* The owner's erasure that is not finished, or a new one. The caller owns it. */
apr_status_t ac_sqlite_erasures_find(json_t **perasure, ac_sqlite_conn_t *conn, ac_store_op_t *op);
apr_status_t ac_sqlite_erasures_store(ac_sqlite_conn_t *conn, ac_store_op_t *op, const json_t *erasure);
/* *plist: the erasures whose threads are all purged. The caller owns it, also after a failure. */
apr_status_t ac_sqlite_erasures_list(json_t **plist, ac_sqlite_conn_t *conn, ac_err_t *err);
/* Ends a purge that has nothing left to remove: its result gets the `erasures` of whose words none is in the file or
 * its log, and the number of those that are `unfinished`. before: the result of the call before. Call it again in the
 * next transaction if it returns AC_SQLITE_TO_WRITER. errors: store_timeout: a reader keeps the log. */
apr_status_t ac_sqlite_erasures_complete(ac_sqlite_conn_t *conn, ac_store_op_t *op, const json_t *before);

/* sqlite_runs.c */
ac_sqlite_verb_fn ac_sqlite_run_get, ac_sqlite_run_list, ac_sqlite_run_step_list;
/* The thread's active run, or "". conn->mend says what happens to a dead one. */
apr_status_t ac_sqlite_run_active(char run_id[AC_ID_SIZE], ac_sqlite_conn_t *conn, const char *thread_id,
                                  ac_err_t *err);
/* Closes all runs whose process has died, in a transaction of its own. *pn: their number. */
apr_status_t ac_sqlite_run_sweep(int *pn, ac_sqlite_conn_t *conn, ac_err_t *err);
/* Closes the thread's active run, if there is one, although its process may live: the thread is being removed. */
apr_status_t ac_sqlite_run_end(ac_sqlite_conn_t *conn, const char *thread_id, ac_err_t *err);
apr_status_t ac_sqlite_run_process(ac_sqlite_process_t *process, ac_err_t *err);

#endif
