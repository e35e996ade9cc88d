/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the event log share: event_dir.c, event_find.c, event_log.c, event_outage.c, event_sweep.c, event_rest.c, tail.c,
 * tail_stored.c, recover.c, recover_turn.c, and the run's own files. Nobody else includes this. */
#ifndef AC_EVENT_LOG_H
#define AC_EVENT_LOG_H

#include "agent/agent.h"

/* ---- event_dir.c: where the children of a server keep their logs ----
 *
 *     DIR/c-0000a1b2-5d3f0e77/            a child: its process number and a random one
 *         lock                            exclusively locked for the child's life
 *         socket                          datagrams from other children
 *         run_….log                       its runs
 *
 * The kernel gives the lock back when the process ends, however it ends, so every child can tell at any time whether
 * the owner of a log lives. One lock per child and not one per log: a log of a live run has no open descriptor at all,
 * since of those a child with ten thousand streams has none to spare. A child that dies leaves its directory; another one
 * takes the logs over by renaming them into its own, which exactly one can do. */
#define AC_CHILD_NAME_SIZE 24
typedef uint64_t ac_child_key_t; /* process number and random number; 0: none */

ac_child_key_t ac_event_dir_key(const ac_event_dir_t *dir);
const char *ac_event_dir_path(const ac_event_dir_t *dir);
size_t ac_event_dir_max(const ac_event_dir_t *dir);
void ac_event_dir_child_name(char name[AC_CHILD_NAME_SIZE], ac_child_key_t key);
/* 0: no child's name */
ac_child_key_t ac_event_dir_child_key(const char *name);
/* Any thread. */
bool ac_event_dir_alive(const ac_event_dir_t *dir, ac_child_key_t child);
/* The children whose directories are there, at most max; -1: errno says why they cannot be read. Any thread. */
int ac_event_dir_children(const ac_event_dir_t *dir, ac_child_key_t *children, int max);
/* Any thread. EAGAIN: its queue is full; another error: it cannot be reached. */
apr_status_t ac_event_dir_send(const ac_event_dir_t *dir, ac_child_key_t child, const char *text, size_t len);
/* The descriptor to watch for datagrams, or -1. */
int ac_event_dir_socket(const ac_event_dir_t *dir);
/* Removes what a dead child left, where that is nothing but its lock and socket. */
void ac_event_dir_remove(const ac_event_dir_t *dir, ac_child_key_t child);
#define AC_MAX_CHILDREN 1024 /* directories that are looked through */
#define AC_LOG_PATH_SIZE 512
void ac_event_dir_log_path(char path[AC_LOG_PATH_SIZE], const ac_event_dir_t *dir, ac_child_key_t child,
                           const char *run_id);

/* Makes this child's place where it is missing or somebody has removed it, as far as this process may. Whoever watches the socket has
 * ceased to, and asks for it again. The logs of runs under way are lost to others. Loop thread. */
apr_status_t ac_event_dir_recreate(ac_event_dir_t *dir);
bool ac_event_dir_exists(const ac_event_dir_t *dir); /* this child's place */

/* ---- event_find.c ---- */
/* Any child's log of this run, to be read. *plog is NULL with every error. errors: APR_ENOENT: there is none; EMFILE, ENFILE, ENOMEM: that
 * cannot be told now. Any thread. */
apr_status_t ac_event_log_search(ac_event_log_t **plog, const ac_event_dir_t *dir, const char *run_id);
/* The same; NULL: none was found. */
ac_event_log_t *ac_event_log_find(const ac_event_dir_t *dir, const char *run_id);

/* ---- event_total.c: the bytes of all logs of a directory together ---- */
#define AC_EVENT_TOTAL_EXCEEDED \
    (APR_OS_START_USERERR + 9001) /* an apr_status_t of this floor: they have all that they may have */
typedef struct ac_event_total_t {
    uint64_t most;          /* 0: as many as there is room for */
    _Atomic int64_t *bytes; /* in a file that all children map; NULL: not counted */
    /* Loop thread: ended logs of this child go, and others are looked for. true: there may be so much room now. */
    bool (*make_way)(void *baton, size_t bytes);
    void *baton;
} ac_event_total_t;
ac_event_total_t *ac_event_dir_total(const ac_event_dir_t *dir);
void ac_event_total_open(ac_event_total_t *total, const char *path); /* again: where the directory was made anew */
void ac_event_total_close(ac_event_total_t *total);
int64_t ac_event_total_bytes(const ac_event_total_t *total);
bool ac_event_total_reserve(ac_event_total_t *total, size_t bytes); /* loop thread. false: there is not so much left */
void ac_event_total_release(ac_event_total_t *total, size_t bytes); /* any thread */
/* A work thread, both: counts the files anew; removes ended logs, the oldest first, until a quarter of the total is free. */
void ac_event_total_recount(ac_event_total_t *total, const char *path);
void ac_event_total_trim(ac_event_total_t *total, const char *path);

/* ---- event_outage.c: what is said of logs that cannot be written; loop thread ---- */
typedef enum ac_event_outage_e {
    AC_EVENT_OUTAGE_NO_LOG,     /* a run has no log */
    AC_EVENT_OUTAGE_NO_SPACE,   /* its log could not grow */
    AC_EVENT_OUTAGE_LOG_FULL,   /* its log may not */
    AC_EVENT_OUTAGE_TOTAL_FULL, /* no log may: all together have what they may */
    AC_N_EVENT_OUTAGES
} ac_event_outage_e;
typedef struct ac_event_outage_state_t {
    apr_time_t told, last;
    int n_more;
} ac_event_outage_state_t; /* ac_clock; runs since the line */
typedef struct ac_event_outage_t {
    const char *path; /* of the directory */
    ac_event_outage_state_t episodes[AC_N_EVENT_OUTAGES];
} ac_event_outage_t;
ac_event_outage_t *ac_event_dir_outage(ac_event_dir_t *dir);
void ac_event_outage_begin(ac_event_outage_t *trouble, ac_event_outage_e what, apr_status_t status, const char *run_id);
void ac_event_outage_end(ac_event_outage_t *trouble); /* a log was made */

/* ---- event_log.c: one run's log ----
 * A file that grows, mapped by its owner and by whoever reads it. What has been appended is there for every process at once,
 * and outlives the one that wrote it; only the machine's end loses what is on a tmpfs. */
#define AC_EVENT_RECORD_CLOSING 64 /* type of the record that holds a TURN_CLOSE's `in` */
#define AC_EVENT_RECORD_STORED 65  /* of one that holds the run as the store has it while it is active */

typedef struct ac_event_log_header_t {
    char run_id[AC_ID_SIZE], thread_id[AC_ID_SIZE], message_id[AC_ID_SIZE], owner[AC_OWNER_SIZE];
} ac_event_log_header_t;

/* A new log in this child's directory. NULL: *pstatus says why; APR_ENOENT: the directory is gone. */
ac_event_log_t *ac_event_log_create(ac_event_dir_t *dir, const ac_event_log_header_t *head, apr_status_t *pstatus);
/* That child's log of this run, to be read. It can be read to its end also when its file is removed meanwhile. *plog is NULL with every
 * error. errors: the system's; APR_EGENERAL: the file is no whole log. Any thread. */
apr_status_t ac_event_log_open(ac_event_log_t **plog, const ac_event_dir_t *dir, ac_child_key_t child,
                               const char *run_id);
/* Makes the log of a dead child, or one that rests, this child's, to be ended here. NULL: it is not there (any more), it is not whole,
 * or it cannot be opened now; then it stays where it is. */
ac_event_log_t *ac_event_log_adopt(ac_event_dir_t *dir, ac_child_key_t from, const char *run_id);
void ac_event_log_close(ac_event_log_t *log);                            /* the file stays */
void ac_event_log_unlink(const ac_event_dir_t *dir, const char *run_id); /* of this child's directory */
apr_time_t ac_event_log_peek_ended(int fd); /* of a log's file: when it ended; 0: it goes on, rests, or is no log */

const ac_event_log_header_t *ac_event_log_header(const ac_event_log_t *log);
ac_child_key_t ac_event_log_child(const ac_event_log_t *log); /* in whose directory it was found */
uint64_t ac_event_log_seq(const ac_event_log_t *log);         /* of the last event in it */
apr_time_t ac_event_log_ended(const ac_event_log_t *log);     /* apr_time_now of its end; 0: it goes on */
bool ac_event_log_is_cut(const ac_event_log_t *log);          /* from some event on nothing could be recorded */

/* event_record.c: what a record holds of an event of the type DONE, on the heap; and an event from its record, without number and time.
 * NULL: it is none, or there is no memory. */
char *ac_event_record_make_done(const ac_event_t *event, size_t *plen);
ac_event_t *ac_event_record_parse(uint32_t type, const char *payload, size_t len);

/* Owner. An event with its number. A log that can take no more is cut: later events are not recorded. */
void ac_event_log_append(ac_event_log_t *log, const ac_event_t *event);
/* Owner. What the run is about to store, so that whoever comes after us can. false: no room. */
bool ac_event_log_write_closing(ac_event_log_t *log, const json_t *closing);
/* Owner. The run as it was stored last, for those who ask while the store is out. false: no room. */
bool ac_event_log_write_stored(ac_event_log_t *log, const json_t *run);
/* What was noted last. Reads the log from its beginning; a new reference. NULL: nothing was. */
json_t *ac_event_log_read_stored(ac_event_log_t *log);
/* Owner. The run has ended: nothing more will be appended. */
void ac_event_log_end(ac_event_log_t *log);
/* Owner of a log that it has created: the place behind all that was appended. */
void ac_event_log_position(const ac_event_log_t *log, ac_event_cursor_t *cursor);

/* How the run ends is decided, though the store does not have it yet: from here on it is too late to cancel it. */
typedef enum ac_log_outcome_e {
    AC_LOG_OUTCOME_OPEN,
    AC_LOG_OUTCOME_CANCELLED,
    AC_LOG_OUTCOME_CLOSING
} ac_log_outcome_e;
/* Owner; AC_LOG_OUTCOME_CANCELLED: anybody, and the owner ends the run so. The first word counts, and is returned. Any thread. */
ac_log_outcome_e ac_event_log_decide(ac_event_log_t *log, ac_log_outcome_e fate);
ac_log_outcome_e ac_event_log_outcome(const ac_event_log_t *log);

/* Owner. The run waits for its owner's word and is nobody's: whoever goes on with it takes the log, although its child may live. */
void ac_event_log_set_suspended(ac_event_log_t *log, bool rests);
bool ac_event_log_is_suspended(const ac_event_log_t *log);

/* The next event, a new reference; NULL: there is none for now. Records of AC_EVENT_RECORD_CLOSING and AC_EVENT_RECORD_STORED are
 * skipped; *pclosing, where
 * pclosing is not NULL, takes the last one (a new reference, replacing the one before). */
ac_event_t *ac_event_log_next(ac_event_log_t *log, ac_event_cursor_t *cursor, json_t **pclosing);

/* A follower in another child wants to be told when something was appended. false: no place; it has to look by itself. */
bool ac_event_watcher_add(ac_event_log_t *log, ac_child_key_t child);
void ac_event_watcher_remove(ac_event_log_t *log, ac_child_key_t child);
/* Owner. Tells the children that wait. */
void ac_event_watcher_notify(ac_event_log_t *log, const ac_event_dir_t *dir);
bool ac_event_watcher_any(const ac_event_log_t *log); /* somebody in another child follows */

#endif
