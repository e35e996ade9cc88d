/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share: parts of the directory, and the file of an event log. */
#ifndef AC_EVENTS_INTERNAL_H
#define AC_EVENTS_INTERNAL_H

#include "events.h"

/* ---- event_dir.c, event_total.c, event_log.c ---- */
ac_child_key_t ac_event_dir_child_key(const char *name); /* 0: not the name of a child directory */
void ac_event_dir_log_path(char path[AC_LOG_PATH_SIZE], const ac_event_dir_t *dir, ac_child_key_t child,
                           const char *run_id);
size_t ac_event_dir_max(const ac_event_dir_t *dir);                  /* bytes of one log */
void ac_event_total_open(ac_event_total_t *total, const char *path); /* again after the directory was made again */
void ac_event_total_close(ac_event_total_t *total);
bool ac_event_total_reserve(ac_event_total_t *total, size_t bytes); /* false: too little is left. Loop thread */
void ac_event_total_release(ac_event_total_t *total, size_t bytes); /* any thread */
/* The time of the end in a log's file. 0: the run is active or suspended, or the file is not a log. */
apr_time_t ac_event_log_peek_ended(int fd);
bool ac_event_log_peek_owner(int fd, const char *owner); /* whether the log is this owner's */

/* ---- the file ---- */

#define AC_EVENT_FILE_HEADER 1024 /* bytes of the header; the records follow */
#define AC_EVENT_FILE_FIRST 4096  /* bytes of a new file: a short answer fits, and nothing is cut off at its end */
#define AC_EVENT_FILE_WATCHERS 8  /* the most children that can be notified of one run */

typedef struct ac_event_file_watcher_t {
    _Atomic uint64_t child; /* 0: free */
    _Atomic uint32_t n;     /* the child's followers */
} ac_event_file_watcher_t;

typedef struct ac_event_file_t { /* the mapped header */
    char magic[8];
    ac_event_log_header_t header;
    _Atomic uint64_t committed; /* bytes from the beginning of the file that are whole records */
    _Atomic uint64_t seq;
    _Atomic int64_t ended;
    _Atomic uint32_t cut;
    ac_event_file_watcher_t watchers[AC_EVENT_FILE_WATCHERS];
    _Atomic uint32_t suspended;
    _Atomic uint32_t outcome;              /* ac_log_outcome_e */
    uint64_t mirror_attempt, mirror_token; /* the name of the log's writer at the mirror; the owner's. Token 0: none */
    char trace[AC_TRACEPARENT_SIZE];       /* the context of the run's span; "": none */
    ac_log_place_t place;
} ac_event_file_t;
_Static_assert(sizeof(ac_event_file_t) <= AC_EVENT_FILE_HEADER, "the header has room");

struct ac_event_log_t {
    ac_event_file_t *file;
    size_t size; /* mapped bytes */
    size_t max;
    size_t n_text; /* bytes of the tokens appended by this process */
    ac_child_key_t child;
    bool owned;
    ac_event_outage_t *outage; /* of an owned log */
    ac_event_total_t *total;   /* of an owned log */
    char *path;
};

/* ---- event_map.c ---- */
/* Maps size bytes of the file; the mapping may move. grow: makes room in the file first. errors: the system's. */
apr_status_t ac_event_map_set(ac_event_log_t *log, int fd, size_t size, bool grow);
/* The owner makes room for a file of `need` bytes. errors: APR_EGENERAL: more than a log may have;
 * AC_EVENT_TOTAL_EXCEEDED; the system's. */
apr_status_t ac_event_map_grow(ac_event_log_t *log, size_t need);
/* A reader maps what the owner has added. false: the file does not have `need` bytes, or cannot be mapped. */
bool ac_event_map_extend(ac_event_log_t *log, size_t need);

/* ---- event_record.c ---- */
#define AC_EVENT_RECORD_CLOSING 64 /* the type of a record that has a TURN_CLOSE's `in` */
#define AC_EVENT_RECORD_STORED 65  /* of one that has the run's stored document */

typedef struct ac_event_record_t { /* in the machine's byte order, since no other machine reads it */
    uint32_t len;                  /* of the payload, without the padding to eight bytes */
    uint32_t type;
    uint64_t seq;
    int64_t at;
} ac_event_record_t;

/* Writes a record behind the last one. errors: those of ac_event_map_grow(). */
apr_status_t ac_event_record_write(ac_event_log_t *log, const ac_event_record_t *record, const char *payload);
/* Reads the record at *pat and moves *pat behind it. Returns its payload, in the mapping; NULL: no whole record yet. */
const char *ac_event_record_read(ac_event_log_t *log, size_t *pat, ac_event_record_t *record);
/* The payload of a DONE event, on the heap. NULL: out of memory. */
char *ac_event_record_make_done(const ac_event_t *event, size_t *plen);
/* An event from its payload, without number and time. NULL: the payload is not valid, or out of memory. */
ac_event_t *ac_event_record_parse(uint32_t type, const char *payload, size_t len);

/* ---- mirror_entry.c ---- */
typedef struct ac_mirror_place_t { /* a position in an event log; all zero: the beginning */
    size_t at;                     /* bytes from the beginning of the file; 0: the first record */
    uint64_t seq;                  /* the number of the event before the position */
    size_t n_text;                 /* bytes of all tokens before the position */
} ac_mirror_place_t;
/* Appends an entry of the next events, at most 64 and some 64 KB, and moves the place behind them. Returns their
 * number; 0: there is none, and nothing was appended; -1: no room for an event. */
int ac_mirror_entry_pack(ac_buf_t *to, ac_event_log_t *log, ac_mirror_place_t *place);
/* Moves the place behind the event with this number, or to the end of the log. */
void ac_mirror_entry_seek(ac_mirror_place_t *place, ac_event_log_t *log, uint64_t seq);

#endif
