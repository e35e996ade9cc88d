/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the embedded store, for its own files only: sqlite_store.c (configuration, queues, threads),
 * sqlite_group.c (transactions), sqlite_conn.c (connections and statements), sqlite_renew.c (all connections closed
 * and opened anew), sqlite_schema.c, and one file per noun that carries out the verbs. */
#ifndef AC_STORE_SQLITE_H
#define AC_STORE_SQLITE_H

#include <pthread.h>
#include <sqlite3.h>

#include "back/back.h"
#include "sqlite.h"

#define AC_SQLITE_APPLICATION_ID 0x41474348 /* "AGCH" in the file's header */
#define AC_SQLITE_GROUP 256                 /* writes of one transaction */
#define AC_SQLITE_READERS_MAX 16
#define AC_SQLITE_STATEMENTS 64                  /* slots of a connection's cache; more than there are statements */
#define AC_SQLITE_PATIENCE apr_time_from_sec(30) /* waiting for a lock where an operation has no deadline */
#define AC_SQLITE_SLICE apr_time_from_sec(1)     /* of waiting inside SQLite, before locks are taken for failed */
#define AC_SQLITE_ACTIVE "status IN ('queued', 'in_progress')"

/* What stands in every statement about the messages of a thread or the steps of a run, which have no owner of their
 * own: so that a check that was forgotten finds and changes nothing of another owner's. */
#define AC_SQLITE_THREAD_OF(id, owner_) "EXISTS (SELECT 1 FROM threads WHERE id = " id " AND owner = " owner_ ")"
#define AC_SQLITE_RUN_OF(id, owner_) "EXISTS (SELECT 1 FROM runs WHERE id = " id " AND owner = " owner_ ")"

/* Who runs a run: enough to tell a living process from a dead one whose number was given out again. The children of
 * one database must be able to see each other in /proc, so they share a machine and its process numbers. */
typedef struct ac_sqlite_process_t {
    char boot[48]; /* the kernel's boot id */
    int64_t pid;
    int64_t started; /* clock ticks after boot */
} ac_sqlite_process_t;

/* Storage trouble is logged once per episode; one episode for the writer, one for all readers. */
typedef struct ac_sqlite_outage_t {
    int code; /* SQLite's primary code; 0: all is well */
    apr_time_t last;
} ac_sqlite_outage_t;

/* Everything of the store that its threads share. */
typedef struct ac_sqlite_t {
    const char *path; /* these three from the configuration */
    bool sync_full;
    int n_readers;
    const ac_host_t *host;
    ac_sqlite_process_t process;
    pthread_mutex_t lock;          /* guards what follows, down to the conns */
    pthread_cond_t written, asked; /* wakes the writer; wakes a reader */
    ac_store_op_t *write_first, *write_last, *read_first, *read_last;
    int n_queued, n_reading; /* operations; readers that may still pass one on to the writer */
    bool running, stopping;
    ac_sqlite_outage_t episodes[2]; /* [0] readers, [1] writer */
    int generation;                 /* of connections; those of an older one are closed before one is opened */
    apr_time_t next_renewal;        /* not before; a write that succeeds ends the pause */
    apr_interval_time_t renewal_pause;
    pthread_cond_t closed;          /* the last connection of an older generation is closed */
    struct ac_sqlite_conn_t *conns; /* [0] is the writer's; each belongs to its thread */
    pthread_t *threads;
    int n_threads;
    sqlite3_vfs vfs; /* SQLite's own, but its waits end: sqlite_renew.c */
    char vfs_name[40];
} ac_sqlite_t;

/* What to do about an active run whose process has died. */
typedef enum ac_sqlite_mend_e {
    AC_SQLITE_MEND_FORWARD, /* a reader: the verb answers AC_SQLITE_TO_WRITER */
    AC_SQLITE_MEND_WRITE,   /* close it as interrupted */
    AC_SQLITE_MEND_NOT      /* a read whose transaction could not be written: show what is stored */
} ac_sqlite_mend_e;
#define AC_SQLITE_TO_WRITER APR_EAGAIN

/* A connection with its prepared statements. One thread at a time. */
typedef struct ac_sqlite_conn_t {
    ac_sqlite_t *store;
    sqlite3 *db;    /* NULL: not open */
    int generation; /* that it was opened in; 0: not open. The store's lock guards it */
    bool writes;
    ac_sqlite_mend_e mend;
    apr_time_t patience;  /* until when to wait for a lock */
    apr_time_t deadline;  /* of the read under way; 0: none */
    apr_time_t contended; /* when another process last held the lock */
    apr_time_t next_open; /* not before */
    bool lock_failed;     /* a lock was not what SQLite takes it for; what was tried can be tried again */
    ac_err_t open_err;    /* why it is not open */
    int wal_pages, wal_checkpointed;
    struct {
        const char *sql; /* by address: statements are constants */
        sqlite3_stmt *stmt;
        bool used; /* since the last ac_sqlite_statement_reset() */
    } statements[AC_SQLITE_STATEMENTS];
} ac_sqlite_conn_t;

/* ---- sqlite_conn.c ---- */
/* Opens and prepares the file where conn is closed, or of an older generation; waits for others no longer than until
 * then. A failure is remembered for a second, so that a queue of operations does not hammer it. errors: store_error,
 * store_timeout. */
apr_status_t ac_sqlite_conn_open(ac_sqlite_conn_t *conn, apr_time_t until, ac_err_t *err);
void ac_sqlite_conn_close(ac_sqlite_conn_t *conn);
/* Ends all statements and forgets what was bound to them. */
void ac_sqlite_statement_reset(ac_sqlite_conn_t *conn);
/* SQLite's code as our error, and a log line where an episode of trouble begins. */
apr_status_t ac_sqlite_conn_fail(ac_sqlite_conn_t *conn, int code, ac_err_t *err);
/* A row that is no longer what we wrote. */
apr_status_t ac_sqlite_conn_fail_row(ac_sqlite_conn_t *conn, ac_err_t *err);
/* Notes trouble; whether it is news, which the caller then logs: the first of its kind in an episode, and what readers
 * meet only where the writer did not meet it too. */
bool ac_sqlite_conn_outage_begin(ac_sqlite_conn_t *conn, int code);
/* Something worked: ends an episode that has been quiet for a minute. */
void ac_sqlite_conn_outage_end(ac_sqlite_conn_t *conn);

typedef struct ac_sqlite_arg_t { /* a value for a statement's parameter; made by the functions below */
    enum { AC_SQLITE_END, AC_SQLITE_TEXT, AC_SQLITE_INT, AC_SQLITE_JSON } type;
    const char *text;
    int64_t number; /* the number, or the text's length (-1: to its NUL) */
    const json_t *json;
} ac_sqlite_arg_t;

static inline ac_sqlite_arg_t ac_sqlite_text(const char *text) /* NULL: null */
{
    return (ac_sqlite_arg_t){.type = AC_SQLITE_TEXT, .text = text, .number = -1};
}

static inline ac_sqlite_arg_t ac_sqlite_string(const json_t *string) /* what is no string: null */
{
    return (ac_sqlite_arg_t){.type = AC_SQLITE_TEXT,
                             .text = json_string_value(string),
                             .number = (int64_t)json_string_length(string)};
}

static inline ac_sqlite_arg_t ac_sqlite_int(int64_t number)
{
    return (ac_sqlite_arg_t){.type = AC_SQLITE_INT, .number = number};
}

static inline ac_sqlite_arg_t ac_sqlite_json(const json_t *json) /* as text; NULL and JSON null: null */
{
    return (ac_sqlite_arg_t){.type = AC_SQLITE_JSON, .json = json};
}

/* The parameters of a statement in order, ?1 first; what is bound must live until the statement has run. */
#define AC_SQLITE_ARGS(...) ((const ac_sqlite_arg_t[]){__VA_ARGS__, {.type = AC_SQLITE_END}})
#define AC_SQLITE_NO_ARGS ((const ac_sqlite_arg_t[]){{.type = AC_SQLITE_END}})

/* Binds args to a cached statement, ready for ac_sqlite_statement_step(). sql is a constant. */
apr_status_t ac_sqlite_statement_start(sqlite3_stmt **pstmt, ac_sqlite_conn_t *conn, const char *sql,
                                       const ac_sqlite_arg_t *args, ac_err_t *err);
/* *prow: whether there is one more row. */
apr_status_t ac_sqlite_statement_step(bool *prow, ac_sqlite_conn_t *conn, sqlite3_stmt *stmt, ac_err_t *err);
/* Runs a statement that gives no rows. */
apr_status_t ac_sqlite_statement_run(ac_sqlite_conn_t *conn, const char *sql, const ac_sqlite_arg_t *args,
                                     ac_err_t *err);
/* The first row, or *pstmt NULL where there is none. */
apr_status_t ac_sqlite_statement_row(sqlite3_stmt **pstmt, ac_sqlite_conn_t *conn, const char *sql,
                                     const ac_sqlite_arg_t *args, ac_err_t *err);
/* A column as a new JSON value: its text as a string, or its text parsed; null for NULL. NULL: damaged, or out of
 * memory. */
json_t *ac_sqlite_statement_text(sqlite3_stmt *stmt, int column);
json_t *ac_sqlite_statement_json(sqlite3_stmt *stmt, int column);

/* ---- sqlite_renew.c ---- */
/* Where the file system failed to release a lock, SQLite holds it until the process has closed the file, and answers
 * "locking protocol" or "busy" meanwhile. All connections of the process are closed then, before the first is opened
 * again. */

/* Registers the store's own VFS, whose waits for locks end; NULL as its name where that fails. stop: when all
 * connections are closed. */
void ac_sqlite_renew_vfs_start(ac_sqlite_t *store);
void ac_sqlite_renew_vfs_stop(ac_sqlite_t *store);
/* The calling thread waits in SQLite's own loops until then, at most a slice; from then on they run through without
 * waiting. */
void ac_sqlite_renew_wait_slice(apr_time_t until);
/* Begins a new generation of connections where this code, met on conn, says that the old one holds locks it should
 * not; notes in conn->lock_failed whether it says so for certain. */
void ac_sqlite_renew(ac_sqlite_conn_t *conn, int code);
/* Whether conn is open and of an older generation; its thread closes it. The caller holds the store's lock. */
bool ac_sqlite_renew_is_due(const ac_sqlite_conn_t *conn);
/* Enters conn into the present generation when no connection of an older one is open. False: some still were by
 * then. */
bool ac_sqlite_renew_enter(ac_sqlite_conn_t *conn, apr_time_t until);
void ac_sqlite_renew_leave(ac_sqlite_conn_t *conn);

/* ---- sqlite_store.c ---- */
/* Hands op back to its caller. */
void ac_sqlite_store_answer(ac_sqlite_t *store, ac_store_op_t *op, apr_status_t status);
/* Queues op for the writer, whatever its verb. */
void ac_sqlite_store_write_post(ac_sqlite_t *store, ac_store_op_t *op);

bool ac_sqlite_store_is_stopping(ac_sqlite_t *store);

/* ---- sqlite_group.c ---- */
typedef struct ac_sqlite_group_t { /* writes that are committed together, and what became of them */
    ac_store_op_t *ops[AC_SQLITE_GROUP];
    apr_status_t status[AC_SQLITE_GROUP];
    int n;
} ac_sqlite_group_t;
/* Carries out one operation on a reader's connection and answers it, or passes it on to the writer. */
void ac_sqlite_group_read(ac_sqlite_conn_t *conn, ac_store_op_t *op);
/* The first of the group's deadlines, at most so late. */
apr_time_t ac_sqlite_group_until(const ac_sqlite_group_t *group, apr_time_t most);
/* Commits a group and answers its operations; conn is open, and may be closed afterwards. */
void ac_sqlite_group_run(ac_sqlite_conn_t *conn, ac_sqlite_group_t *group);
/* Answers them all with this error; reads among them are read all the same where conn is open. */
void ac_sqlite_group_fail(ac_sqlite_conn_t *conn, ac_sqlite_group_t *group, apr_status_t status, const ac_err_t *err);
/* Copies the log into the file where it is time to. After the answers, as nobody needs to wait for it. */
void ac_sqlite_group_checkpoint(ac_sqlite_conn_t *conn);
bool ac_sqlite_group_verb_writes(ac_store_verb_e verb);

/* ---- sqlite_schema.c ---- */
/* Checks whose file it is, turns WAL on, brings the tables to this version. conn may wait until conn->patience. */
apr_status_t ac_sqlite_schema_prepare(ac_sqlite_conn_t *conn, ac_err_t *err);
/* For readers: whether the tables are of this version. */
apr_status_t ac_sqlite_schema_check(ac_sqlite_conn_t *conn, ac_err_t *err);

/* ---- verbs: inside a transaction or savepoint that the caller ends; they fill op->out, op->etag, op->err ---- */
typedef apr_status_t ac_sqlite_verb_fn(ac_sqlite_conn_t *conn, ac_store_op_t *op);

/* sqlite_threads.c */
ac_sqlite_verb_fn ac_sqlite_thread_create, ac_sqlite_thread_get, ac_sqlite_thread_list, ac_sqlite_thread_update,
    ac_sqlite_thread_delete, ac_sqlite_thread_restore;
/* One bounded part; answers AC_SQLITE_TO_WRITER with the count so far in op->out while there is more to do. */
ac_sqlite_verb_fn ac_sqlite_thread_purge;

typedef struct ac_sqlite_thread_t { /* a row of threads; zero before use */
    json_t *json;                   /* in the API's shape; a reference */
    int64_t n_messages, version;
} ac_sqlite_thread_t;
/* From a row that begins with these columns. */
#define AC_SQLITE_THREAD_COLUMNS "id, title, agent_id, status, metadata, message_count, created_at, updated_at, version"
apr_status_t ac_sqlite_thread_read(ac_sqlite_thread_t *thread, ac_sqlite_conn_t *conn, sqlite3_stmt *row,
                                   ac_err_t *err);
/* The owner's thread op->id; hidden: also a soft-deleted one. errors: not_found. */
apr_status_t ac_sqlite_thread_find(ac_sqlite_thread_t *thread, ac_sqlite_conn_t *conn, ac_store_op_t *op, bool hidden);
/* Inserts op->owner's thread from its document. */
apr_status_t ac_sqlite_thread_insert(ac_sqlite_conn_t *conn, ac_store_op_t *op, const char *id, const json_t *document);
/* A list's answer: takes data (may be NULL: out of memory) and next (NULL: null). */
apr_status_t ac_sqlite_thread_list_answer(ac_store_op_t *op, json_t *data, bool has_more, json_t *next);

/* sqlite_turns.c */
ac_sqlite_verb_fn ac_sqlite_turn_message_list, ac_sqlite_turn_load, ac_sqlite_turn_open, ac_sqlite_turn_close;
#define AC_SQLITE_MESSAGE_COLUMNS "id, thread_id, seq, role, content, tool_calls, run_id, created_at, metadata"
json_t *ac_sqlite_turn_message_read(sqlite3_stmt *row); /* NULL: damaged, or out of memory */

/* sqlite_move.c */
ac_sqlite_verb_fn ac_sqlite_move_export_threads, ac_sqlite_move_export_messages, ac_sqlite_move_export_runs,
    ac_sqlite_move_import;

/* sqlite_keys.c */
ac_sqlite_verb_fn ac_sqlite_key_get;
/* TURN_OPEN's `idempotency`, where it has one: the key leads to this run from now on. errors: idempotency_conflict,
 * with what it leads to in op->out. */
apr_status_t ac_sqlite_key_take(ac_sqlite_conn_t *conn, ac_store_op_t *op);
/* Removes at most limit keys from before then. */
apr_status_t ac_sqlite_key_purge(int *pn, ac_sqlite_conn_t *conn, const char *before, int limit, ac_err_t *err);

/* sqlite_agents.c */
ac_sqlite_verb_fn ac_sqlite_agent_list, ac_sqlite_agent_put, ac_sqlite_agent_delete;

/* sqlite_suspended.c */
ac_sqlite_verb_fn ac_sqlite_suspended_write, ac_sqlite_suspended_decide, ac_sqlite_suspended_list;
/* Appends the steps of the owner's run op->id that wait, where it does. */
apr_status_t ac_sqlite_suspended_steps(json_t *steps, ac_sqlite_conn_t *conn, ac_store_op_t *op);
/* The owner's run does not wait (any more), whether it did or not. */
apr_status_t ac_sqlite_suspended_drop(ac_sqlite_conn_t *conn, ac_store_op_t *op, const char *run_id);
/* sqlite_turns.c: the steps of op->in, over those that are there. */
apr_status_t ac_sqlite_turn_steps_write(ac_sqlite_conn_t *conn, ac_store_op_t *op);

/* sqlite_runs.c */
ac_sqlite_verb_fn ac_sqlite_run_get, ac_sqlite_run_list, ac_sqlite_run_step_list;
/* The thread's active run, "" where it has none. A dead one is treated as conn->mend says. */
apr_status_t ac_sqlite_run_active(char run_id[AC_ID_SIZE], ac_sqlite_conn_t *conn, const char *thread_id,
                                  ac_err_t *err);
/* Closes every run whose process has died; in a transaction of its own. *pn: how many. */
apr_status_t ac_sqlite_run_sweep(int *pn, ac_sqlite_conn_t *conn, ac_err_t *err);
apr_status_t ac_sqlite_run_process(ac_sqlite_process_t *process, ac_err_t *err);

#endif
