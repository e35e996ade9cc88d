/* SPDX-License-Identifier: Apache-2.0 */
/* Events of runs: channels to the followers in this process, and event logs for followers in other children. This
 * header says what leaves the folder for the rest of the layer; agent.h says what leaves the layer. Nothing here
 * knows a run. */
#ifndef AC_EVENTS_H
#define AC_EVENTS_H

#include "agent/agent.h"

/* ---- channel.c; loop thread ---- */
/* Gives an event that has its number already to all followers. Consumes the event. */
void ac_channel_deliver(ac_channel_t *channel, ac_event_t *event);
/* Delivers the event `queued` of a run that waits for its thread, which is no event of its log. run: its document;
 * message_id: its question, or NULL; place: how many turns are before it; -1: not known. */
void ac_channel_deliver_queued(ac_channel_t *channel, const json_t *run, const char *message_id, int64_t place);
/* ac_channel_emit() appends to this log from now on, before followers get an event. The channel borrows the log;
 * NULL: no log any more. */
void ac_channel_set_log(ac_channel_t *channel, ac_event_log_t *log);
ac_event_log_t *ac_channel_get_log(const ac_channel_t *channel); /* or NULL */
/* Calls fn when the last follower has left, but not after ac_channel_move(). */
void ac_channel_on_empty(ac_channel_t *channel, void (*fn)(void *baton), void *baton);
void ac_channel_move(ac_channel_t *to, ac_follower_t *follower);
ac_follower_t *ac_channel_first(const ac_channel_t *channel); /* or NULL */
uint64_t ac_channel_seq(const ac_channel_t *channel);         /* the number of the last event */
void ac_channel_set_seq(ac_channel_t *channel, uint64_t seq); /* the next event gets the number after this one */
/* The tail that owns the channel, or NULL. */
void ac_channel_set_tail(ac_channel_t *channel, void *tail);
void *ac_channel_get_tail(const ac_channel_t *channel);

/* ---- event_dir.c: the directory of the event logs ----
 *
 *     DIR/c-0000a1b2-5d3f0e77/    a child directory: the process number and a random number
 *         lock                    locked exclusively for the life of the child
 *         socket                  datagrams from other children
 *         run_….log               the event logs of its runs
 *
 * The kernel releases the lock when the process ends, however it ends, so each child can find out at any time
 * whether the owner of a log is alive. There is one lock for each child, not for each log: the log of an active run
 * has no open descriptor, since a child with ten thousand streams has none to spare. A dead child leaves its
 * directory behind; another child adopts the logs: it renames them into its own directory, which only one child can
 * do. */
#define AC_CHILD_NAME_SIZE 24
typedef uint64_t ac_child_key_t; /* process number and random number; 0: no child */

ac_child_key_t ac_event_dir_key(const ac_event_dir_t *dir); /* of this child */
const char *ac_event_dir_path(const ac_event_dir_t *dir);
void ac_event_dir_child_name(char name[AC_CHILD_NAME_SIZE], ac_child_key_t key);
/* Whether the child's process is alive; true if that cannot be found out. Any thread. */
bool ac_event_dir_alive(const ac_event_dir_t *dir, ac_child_key_t child);
/* Fills in the children that have a directory; returns their number, at most max. -1: errno says why the directory
 * cannot be read. Any thread. */
int ac_event_dir_children(const ac_event_dir_t *dir, ac_child_key_t *children, int max);
/* Sends a datagram. errors: EAGAIN: the child's queue is full; any other: the child cannot be reached. Any thread. */
apr_status_t ac_event_dir_send(const ac_event_dir_t *dir, ac_child_key_t child, const char *text, size_t len);
int ac_event_dir_socket(const ac_event_dir_t *dir); /* the descriptor that receives datagrams, or -1 */
/* Removes the directory of a dead child if it has no log. */
void ac_event_dir_remove(const ac_event_dir_t *dir, ac_child_key_t child);
#define AC_MAX_CHILDREN 1024 /* the most child directories that are searched */
#define AC_LOG_PATH_SIZE 512
/* Makes the child directory of this process again after it was removed. The caller stops watching the old socket
 * first, and watches the new one. Other children lose the logs of active runs. errors: the system's. Loop thread. */
apr_status_t ac_event_dir_recreate(ac_event_dir_t *dir);
bool ac_event_dir_exists(const ac_event_dir_t *dir); /* whether the child directory of this process is there */

/* ---- event_total.c: the bytes of all logs of a directory together ---- */
#define AC_EVENT_TOTAL_EXCEEDED (APR_OS_START_USERERR + 9001) /* an apr_status_t of this layer: the total is used up */
typedef struct ac_event_total_t {
    uint64_t max;           /* 0: no limit */
    _Atomic int64_t *bytes; /* in a file that all children map; NULL: not counted */
    /* Removes ended logs of this child, and begins to look for others. true: there may be room now. Loop thread. */
    bool (*make_room)(void *baton, size_t bytes);
    void *baton;
} ac_event_total_t;
ac_event_total_t *ac_event_dir_total(const ac_event_dir_t *dir);
int64_t ac_event_total_bytes(const ac_event_total_t *total);

/* ---- event_scan.c: all logs of a directory; a work thread ---- */
/* Counts the files again, since a child may have died between the making of a file and its count. */
void ac_event_scan_recount(ac_event_total_t *total, const char *path);
/* Removes ended logs, the oldest first, until a quarter of the total is free. */
void ac_event_scan_trim(ac_event_total_t *total, const char *path);

/* ---- event_outage.c: one log line when event logs cannot be written, one when they can again; loop thread ---- */
typedef enum ac_event_outage_e {
    AC_EVENT_OUTAGE_NO_LOG,     /* a run has no log */
    AC_EVENT_OUTAGE_NO_SPACE,   /* a log cannot grow */
    AC_EVENT_OUTAGE_LOG_FULL,   /* a log has its maximum size */
    AC_EVENT_OUTAGE_TOTAL_FULL, /* all logs together have their maximum size */
    AC_N_EVENT_OUTAGES
} ac_event_outage_e;
typedef struct ac_event_outage_state_t {
    apr_time_t logged, last; /* ac_clock() of the last line and of the last failure; 0: none */
    int n_more;              /* runs since the last line */
} ac_event_outage_state_t;
typedef struct ac_event_outage_t {
    const char *path; /* of the directory */
    ac_event_outage_state_t states[AC_N_EVENT_OUTAGES];
} ac_event_outage_t;
ac_event_outage_t *ac_event_dir_outage(ac_event_dir_t *dir);
/* The log of this run could not be made, or could not grow. Writes a line if none was written in the last minute. */
void ac_event_outage_begin(ac_event_outage_t *outage, ac_event_outage_e what, apr_status_t status, const char *run_id);
/* A log was made. Writes a line if an outage was logged and has been over for a minute. */
void ac_event_outage_end(ac_event_outage_t *outage);

/* ---- event_log.c: the event log of one run ---- A file that grows. Its owner and its readers map it. Each process
 * sees at once what was appended, also after the death of the owner; on a tmpfs only the end of the machine loses
 * it. */
typedef struct ac_event_log_header_t {
    char run_id[AC_ID_SIZE], thread_id[AC_ID_SIZE], message_id[AC_ID_SIZE], owner[AC_OWNER_SIZE];
} ac_event_log_header_t;

/* Where the answer of a run is stored: as TURN_CLOSE has parent_seq and after. 0: not known. */
typedef struct ac_log_place_t {
    int64_t parent_seq, after;
} ac_log_place_t;

/* Makes a log in the directory of this child. NULL: *pstatus has the error; APR_ENOENT: the child directory is gone;
 * AC_EVENT_TOTAL_EXCEEDED. Loop thread. */
ac_event_log_t *ac_event_log_create(ac_event_dir_t *dir, const ac_event_log_header_t *header, apr_status_t *pstatus);
/* Opens the log of this run, in whichever child's directory, for reading. errors: APR_ENOENT: there is none; EMFILE,
 * ENFILE, ENOMEM: not known at this moment. Any thread. */
apr_status_t ac_event_log_search(ac_event_log_t **plog, const ac_event_dir_t *dir, const char *run_id);
/* The same; NULL after any error. */
ac_event_log_t *ac_event_log_find(const ac_event_dir_t *dir, const char *run_id);
/* Moves a log of a dead child, or a suspended log, to this child, and opens it for writing. NULL: it is no longer
 * there, it is not whole, or it cannot be opened now, in which case it stays where it is. Loop thread. */
ac_event_log_t *ac_event_log_adopt(ac_event_dir_t *dir, ac_child_key_t from, const char *run_id);
void ac_event_log_close(ac_event_log_t *log);                            /* keeps the file; NULL is allowed */
void ac_event_log_unlink(const ac_event_dir_t *dir, const char *run_id); /* in the directory of this child */

const ac_event_log_header_t *ac_event_log_header(const ac_event_log_t *log);
ac_child_key_t ac_event_log_child(const ac_event_log_t *log); /* the child in whose directory the log was found */
uint64_t ac_event_log_seq(const ac_event_log_t *log);         /* the number of the last event */
apr_time_t ac_event_log_ended(const ac_event_log_t *log);     /* apr_time_now() of the end; 0: not ended */
bool ac_event_log_is_cut(const ac_event_log_t *log);          /* the last events of the run are missing */

/* The owner appends an event with its number. A log that has no room is cut: it records no later event. */
void ac_event_log_append(ac_event_log_t *log, const ac_event_t *event);
/* The owner writes the `in` of its TURN_CLOSE, for a later owner. false: no room. */
bool ac_event_log_write_closing(ac_event_log_t *log, const json_t *closing);
/* The owner writes the run's stored document, for readers during an outage of the store. false: no room. */
bool ac_event_log_write_stored(ac_event_log_t *log, const json_t *run);
/* The stored document written last, a new reference; NULL: none. Reads the whole log. */
json_t *ac_event_log_read_stored(ac_event_log_t *log);
/* The owner's last write: the run has ended. */
void ac_event_log_end(ac_event_log_t *log);
/* Sets the cursor of the log's owner, who has created it, behind the last event. */
void ac_event_log_position(const ac_event_log_t *log, ac_event_cursor_t *cursor);
/* The event at the cursor, a new reference; moves the cursor behind it. NULL: none yet. *pclosing, if pclosing is
 * not NULL, is replaced by the last closing write passed, a new reference. */
ac_event_t *ac_event_log_next(ac_event_log_t *log, ac_event_cursor_t *cursor, json_t **pclosing);

void ac_event_log_set_place(ac_event_log_t *log, const ac_log_place_t *place); /* the owner's, before the first event */
ac_log_place_t ac_event_log_place(const ac_event_log_t *log);

/* The owner writes the context of the run's span, for those that link to it. */
void ac_event_log_set_trace(ac_event_log_t *log, const ac_trace_t *trace);
bool ac_event_log_trace(const ac_event_log_t *log, ac_trace_t *trace); /* false: none */

/* The outcome of a run, decided in its log before the store has it. */
typedef enum ac_log_outcome_e {
    AC_LOG_OUTCOME_OPEN,      /* not decided */
    AC_LOG_OUTCOME_CANCELLED, /* the owner ends the run as cancelled */
    AC_LOG_OUTCOME_CLOSING    /* too late to cancel */
} ac_log_outcome_e;
/* The first decision counts, and is returned. Only the owner decides CLOSING; any process may decide CANCELLED. Any
 * thread. */
ac_log_outcome_e ac_event_log_decide(ac_event_log_t *log, ac_log_outcome_e outcome);
ac_log_outcome_e ac_event_log_outcome(const ac_event_log_t *log);

/* The owner marks the log of a suspended run, which belongs to no process: a child that resumes the run adopts the
 * log, even if the child that wrote it is alive. */
void ac_event_log_set_suspended(ac_event_log_t *log, bool suspended);
bool ac_event_log_is_suspended(const ac_event_log_t *log);

/* ---- event_watcher.c: the children that follow a log from elsewhere ---- */
/* Asks the owner to notify this child after an append. false: no room; the caller looks at the log from time to
 * time. */
bool ac_event_watcher_add(ac_event_log_t *log, ac_child_key_t child);
void ac_event_watcher_remove(ac_event_log_t *log, ac_child_key_t child);
/* The owner sends "wake RUN" to each watching child, and forgets dead ones. */
void ac_event_watcher_notify(ac_event_log_t *log, const ac_event_dir_t *dir);
bool ac_event_watcher_any(const ac_event_log_t *log);

/* ---- mirror_entry.c: the bytes of an entry of the mirror; pure ---- */
typedef struct ac_mirror_cursor_t { /* a position in an entry */
    const char *at, *end;
    uint64_t seq;    /* the number of the event before the position */
    size_t n_text;   /* bytes of all tokens of the run before the position */
    apr_time_t time; /* of the event before, or of the first one */
    bool is_damaged; /* the entry cannot be read any further */
} ac_mirror_cursor_t;
/* false: the bytes are no entry that this version reads. */
bool ac_mirror_entry_open(ac_mirror_cursor_t *cursor, const char *bytes, size_t len);
/* The event at the cursor, a new reference; moves the cursor behind it. NULL: the end, or the entry is damaged. */
ac_event_t *ac_mirror_entry_next(ac_mirror_cursor_t *cursor);

/* ---- mirror_writer.c: copies logs to the mirror; loop thread ---- */
typedef struct ac_mirror_writer_t ac_mirror_writer_t;
typedef void ac_mirror_log_fn(void *baton, ac_event_log_t *log); /* consumes the log */
typedef struct ac_mirror_writers_t {                             /* the writers of a child */
    ac_mirror_t *mirror;                                         /* NULL: none, and no log is copied */
    ac_loop_t *loop;
    apr_interval_time_t keep, run_timeout; /* how long a copy stays; and a run that has not ended */
    apr_time_t sent;                       /* ac_loop_now() of the last entries */
    ac_timer_t timer;
    ac_ready_t ready;
    ac_mirror_writer_t *first, *dirty;
    ac_buf_t bytes; /* of the entry that is being packed */
} ac_mirror_writers_t;
void ac_mirror_writer_init(ac_mirror_writers_t *all, ac_mirror_t *mirror, ac_loop_t *loop);
void ac_mirror_writer_destroy_all(ac_mirror_writers_t *all); /* the loop has ended, or is about to */
/* Copies an owned log from its beginning, or from where an earlier writer has stopped. attempt: the number of the last
 * event before this process took the run. NULL: there is no mirror, or no log; allowed below. Borrows the log. */
ac_mirror_writer_t *ac_mirror_writer_create(ac_mirror_writers_t *all, ac_event_log_t *log, uint64_t attempt);
void ac_mirror_writer_notify(ac_mirror_writer_t *writer); /* the log has one more event */
void ac_mirror_writer_leave(ac_mirror_writer_t *writer);  /* stops; frees the writer; the log is the caller's */
/* The log gets no more events from this process. Copies the rest, then calls done, or inside the call if there is
 * nothing to do; frees the writer. Consumes the log, which `done` consumes. */
void ac_mirror_writer_end(ac_mirror_writer_t *writer, ac_event_log_t *log, ac_mirror_log_fn *done, void *baton);
/* For how long the oldest event that the mirror lacks has been in its log; 0: it lacks none. */
apr_interval_time_t ac_mirror_writer_lag(const ac_mirror_writers_t *all);

#endif
