/* SPDX-License-Identifier: Apache-2.0 */
/* A run's events in a file: written through a mapping by the run's owner, read through another one by any child. */
#include "event_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "AGCHEVL1"
#define FIRST_SIZE 8192
#define STEP_MAX (1024 * 1024)
#define WAITING 8 /* children that can follow one run from elsewhere and be told */

typedef struct waiting_t {
    _Atomic uint64_t child; /* 0: free */
    _Atomic uint32_t n;     /* its followers */
} waiting_t;

typedef struct file_head_t {
    char magic[8];
    ac_event_log_header_t head;
    _Atomic uint64_t committed; /* bytes from the file's beginning that are whole records */
    _Atomic uint64_t seq;
    _Atomic int64_t ended;
    _Atomic uint32_t cut;
    waiting_t waiting[WAITING];
    _Atomic uint32_t rests;
    _Atomic uint32_t fate; /* ac_log_outcome_e */
} file_head_t;
#define HEAD_SIZE 1024
_Static_assert(sizeof(file_head_t) <= HEAD_SIZE, "the head has its place");

typedef struct record_t { /* in the machine's byte order: no other machine ever reads it */
    uint32_t len;         /* of what follows, without the padding to eight bytes */
    uint32_t type;
    uint64_t seq;
    int64_t at;
} record_t;

struct ac_event_log_t {
    file_head_t *file;
    size_t size; /* mapped */
    size_t max;
    size_t n_text; /* of the tokens appended here */
    ac_child_key_t child;
    bool owned;
    ac_event_outage_t *trouble; /* of an owned log */
    ac_event_total_t *total;    /* so, too */
    char path[AC_LOG_PATH_SIZE];
};

static size_t padded(size_t len)
{
    return (len + 7) & ~(size_t)7;
}

const ac_event_log_header_t *ac_event_log_header(const ac_event_log_t *log)
{
    return &log->file->head;
}

ac_child_key_t ac_event_log_child(const ac_event_log_t *log)
{
    return log->child;
}

uint64_t ac_event_log_seq(const ac_event_log_t *log)
{
    return atomic_load_explicit(&log->file->seq, memory_order_acquire);
}

apr_time_t ac_event_log_ended(const ac_event_log_t *log)
{
    return atomic_load_explicit(&log->file->ended, memory_order_acquire);
}

bool ac_event_log_is_cut(const ac_event_log_t *log)
{
    return atomic_load_explicit(&log->file->cut, memory_order_acquire) != 0;
}

void ac_event_log_set_suspended(ac_event_log_t *log, bool rests)
{
    atomic_store(&log->file->rests, rests); /* before a look at the fate */
}

bool ac_event_log_is_suspended(const ac_event_log_t *log)
{
    return atomic_load(&log->file->rests) != 0;
}

ac_log_outcome_e ac_event_log_decide(ac_event_log_t *log, ac_log_outcome_e fate)
{
    uint32_t there = AC_LOG_OUTCOME_OPEN;
    bool first = atomic_compare_exchange_strong(&log->file->fate, &there, (uint32_t)fate);
    return first ? fate : (ac_log_outcome_e)there;
}

ac_log_outcome_e ac_event_log_outcome(const ac_event_log_t *log)
{
    return (ac_log_outcome_e)atomic_load_explicit(&log->file->fate, memory_order_acquire);
}

/* ---- files ---- */

/* Maps size bytes anew. A page that the file system has no room for would be a SIGBUS later, so room is made now. */
static apr_status_t map(ac_event_log_t *log, int fd, size_t size, bool grow)
{
    int cause = grow ? posix_fallocate(fd, 0, (off_t)size) : 0;
    if (cause) {
        return cause;
    }
    void *place = log->file ? mremap(log->file, log->size, size, MREMAP_MAYMOVE)
                            : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (place == MAP_FAILED) {
        return errno;
    }
    log->file = place;
    log->size = size;
    return APR_SUCCESS;
}

static ac_event_log_t *log_alloc(const ac_event_dir_t *dir, ac_child_key_t child, const char *run_id)
{
    ac_event_log_t *log = ac_alloc(sizeof *log);
    log->child = child;
    log->max = ac_event_dir_max(dir);
    ac_event_dir_log_path(log->path, dir, child, run_id);
    return log;
}

void ac_event_log_close(ac_event_log_t *log)
{
    if (!log) {
        return;
    }
    if (log->file) {
        munmap(log->file, log->size);
    }
    free(log);
}

ac_event_log_t *ac_event_log_create(ac_event_dir_t *dir, const ac_event_log_header_t *head, apr_status_t *pstatus)
{
    ac_event_log_t *log = log_alloc(dir, ac_event_dir_key(dir), head->run_id);
    log->total = ac_event_dir_total(dir);
    if (!ac_event_total_reserve(log->total, FIRST_SIZE)) {
        *pstatus = AC_EVENT_TOTAL_EXCEEDED;
        ac_event_log_close(log);
        return NULL;
    }
    int fd = open(log->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    *pstatus = fd < 0 ? errno : map(log, fd, FIRST_SIZE, true);
    if (fd >= 0) {
        close(fd);
    }
    if (*pstatus != APR_SUCCESS) {
        if (fd >= 0) {
            unlink(log->path);
        }
        ac_event_total_release(log->total, FIRST_SIZE);
        ac_event_log_close(log);
        return NULL;
    }
    log->owned = true;
    log->trouble = ac_event_dir_outage(dir);
    log->file->head = *head;
    atomic_store(&log->file->committed, HEAD_SIZE);
    atomic_thread_fence(memory_order_release);
    memcpy(log->file->magic, MAGIC, sizeof log->file->magic); /* last: who finds it finds it whole */
    return log;
}

static bool valid(const ac_event_log_t *log, const char *run_id)
{
    const file_head_t *file = log->file;
    return log->size >= HEAD_SIZE && !memcmp(file->magic, MAGIC, sizeof file->magic) &&
        !memcmp(file->head.run_id, run_id, strlen(run_id) + 1) &&
        memchr(file->head.owner, '\0', sizeof file->head.owner) &&
        memchr(file->head.thread_id, '\0', sizeof file->head.thread_id) &&
        memchr(file->head.message_id, '\0', sizeof file->head.message_id);
}

/* Whether what is said to be whole lies in the file. A live owner makes room before it says so, and may have gone on since: so the file
 * is asked last. What a crash of the machine has left behind may be anything. */
static bool event_log_whole(const ac_event_log_t *log, int fd)
{
    uint64_t committed = atomic_load_explicit(&log->file->committed, memory_order_acquire);
    struct stat info;
    return committed >= HEAD_SIZE && committed % 8 == 0 && fstat(fd, &info) == 0 && committed <= (uint64_t)info.st_size;
}

/* Who reads maps at once what the file may yet become (it is addresses, no memory), and needs no descriptor for it again. */
static apr_status_t map_to_read(ac_event_log_t *log, int fd, size_t size)
{
    if (size < log->max && map(log, fd, log->max, false) == APR_SUCCESS) {
        return APR_SUCCESS;
    }
    return map(log, fd, size, false);
}

/* APR_EGENERAL: the file is no whole log. */
static apr_status_t event_log_open_file(ac_event_log_t *log, int fd, const char *run_id)
{
    struct stat info;
    if (fstat(fd, &info)) {
        return errno;
    }
    size_t size = (size_t)info.st_size;
    if (size < HEAD_SIZE) {
        return APR_EGENERAL;
    }
    apr_status_t status = log->owned ? map(log, fd, size, false) : map_to_read(log, fd, size);
    if (status != APR_SUCCESS) {
        return status;
    }
    return valid(log, run_id) && event_log_whole(log, fd) ? APR_SUCCESS : APR_EGENERAL;
}

static apr_status_t log_open(ac_event_log_t **plog, const ac_event_dir_t *dir, ac_child_key_t child, const char *run_id,
                             bool owned)
{
    ac_event_log_t *log = *plog = log_alloc(dir, child, run_id);
    int fd = open(log->path, O_RDWR | O_CLOEXEC);
    log->owned = owned;
    apr_status_t status = fd < 0 ? errno : event_log_open_file(log, fd, run_id);
    if (fd >= 0) {
        close(fd);
    }
    if (status == APR_SUCCESS) {
        return APR_SUCCESS;
    }
    ac_event_log_close(log);
    *plog = NULL;
    return status;
}

apr_status_t ac_event_log_open(ac_event_log_t **plog, const ac_event_dir_t *dir, ac_child_key_t child,
                               const char *run_id)
{
    return log_open(plog, dir, child, run_id, false);
}

void ac_event_log_unlink(const ac_event_dir_t *dir, const char *run_id)
{
    char path[AC_LOG_PATH_SIZE];
    struct stat info;
    ac_event_dir_log_path(path, dir, ac_event_dir_key(dir), run_id);
    bool known = lstat(path, &info) == 0;
    if (unlink(path) == 0 && known) {
        ac_event_total_release(ac_event_dir_total(dir), (size_t)info.st_size);
    }
}

ac_event_log_t *ac_event_log_adopt(ac_event_dir_t *dir, ac_child_key_t from, const char *run_id)
{
    char there[AC_LOG_PATH_SIZE], here[AC_LOG_PATH_SIZE];
    ac_event_log_t *log;
    apr_status_t status = log_open(&log, dir, from, run_id, true);
    /* A log that cannot be opened at this moment stays where it is, to be taken later. */
    if (status != APR_SUCCESS && status != APR_EGENERAL) {
        return NULL;
    }
    ac_event_dir_log_path(there, dir, from, run_id);
    ac_event_dir_log_path(here, dir, ac_event_dir_key(dir), run_id);
    if (rename(there, here)) {
        ac_event_log_close(log);
        return NULL;
    }
    if (!log) {
        ac_event_log_unlink(dir, run_id); /* begun and never finished */
        return NULL;
    }
    memcpy(log->path, here, sizeof log->path);
    log->child = ac_event_dir_key(dir);
    log->trouble = ac_event_dir_outage(dir);
    log->total = ac_event_dir_total(dir);
    return log;
}

apr_time_t ac_event_log_peek_ended(int fd)
{
    file_head_t head;
    bool whole = pread(fd, &head, sizeof head, 0) == (ssize_t)sizeof head &&
        !memcmp(head.magic, MAGIC, sizeof head.magic);
    return whole && !atomic_load(&head.rests) ? atomic_load(&head.ended) : 0;
}

/* ---- writing ---- */

/* APR_EGENERAL: it would be larger than a log may be. */
static apr_status_t event_log_make_room(ac_event_log_t *log, size_t need)
{
    size_t size = log->size;
    if (need <= size) {
        return APR_SUCCESS;
    }
    while (size < need) {
        size += size < STEP_MAX ? size : STEP_MAX;
    }
    if (size > log->max) {
        size = log->max;
    }
    if (size < need) {
        return APR_EGENERAL;
    }
    size_t more = size - log->size;
    if (!ac_event_total_reserve(log->total, more)) {
        return AC_EVENT_TOTAL_EXCEEDED;
    }
    int fd = open(log->path, O_RDWR | O_CLOEXEC);
    apr_status_t status = fd < 0 ? errno : map(log, fd, size, true);
    if (fd >= 0) {
        close(fd);
    }
    if (status != APR_SUCCESS) {
        ac_event_total_release(log->total, more);
    }
    return status;
}

static apr_status_t write_record(ac_event_log_t *log, const record_t *record, const char *payload)
{
    size_t at = atomic_load_explicit(&log->file->committed, memory_order_relaxed);
    size_t end = at + sizeof *record + padded(record->len);
    apr_status_t status = event_log_make_room(log, end);
    if (status != APR_SUCCESS) {
        return status;
    }
    char *to = (char *)log->file + at;
    memcpy(to, record, sizeof *record);
    memcpy(to + sizeof *record, payload, record->len);
    if (record->seq) {
        atomic_store_explicit(&log->file->seq, record->seq, memory_order_relaxed);
    }
    atomic_store_explicit(&log->file->committed, end, memory_order_release);
    return APR_SUCCESS;
}

static void event_log_cut(ac_event_log_t *log, apr_status_t status)
{
    ac_event_outage_e what = status == APR_EGENERAL ? AC_EVENT_OUTAGE_LOG_FULL
        : status == AC_EVENT_TOTAL_EXCEEDED         ? AC_EVENT_OUTAGE_TOTAL_FULL
                                                    : AC_EVENT_OUTAGE_NO_SPACE;
    ac_event_outage_begin(log->trouble, what, status, log->file->head.run_id);
    atomic_store_explicit(&log->file->cut, 1, memory_order_release);
}

void ac_event_log_append(ac_event_log_t *log, const ac_event_t *event)
{
    record_t record = {.type = event->type, .seq = event->seq, .at = event->at};
    char *payload = NULL;
    size_t len = event->len;
    if (ac_event_log_is_cut(log)) {
        return;
    }
    if (event->type == AC_EVENT_DONE) {
        payload = ac_event_record_make_done(event, &len);
    } else if (event->type != AC_EVENT_TOKEN) {
        payload = ac_json_dump(event->data, &len);
    }
    record.len = (uint32_t)len;
    bool there = payload || event->type == AC_EVENT_TOKEN;
    apr_status_t status = there ? write_record(log, &record, payload ? payload : event->text) : APR_ENOMEM;
    free(payload);
    if (status != APR_SUCCESS) {
        event_log_cut(log, status);
    } else if (event->type == AC_EVENT_TOKEN) {
        log->n_text += event->len;
    }
}

void ac_event_log_position(const ac_event_log_t *log, ac_event_cursor_t *cursor)
{
    cursor->at = atomic_load_explicit(&log->file->committed, memory_order_relaxed);
    cursor->after = atomic_load_explicit(&log->file->seq, memory_order_relaxed);
    cursor->n_text = log->n_text;
}

static bool write_document(ac_event_log_t *log, uint32_t type, const json_t *document)
{
    size_t len = 0;
    char *text = ac_json_dump(document, &len);
    record_t record = {.len = (uint32_t)len, .type = type, .at = apr_time_now()};
    bool fine = text && write_record(log, &record, text) == APR_SUCCESS;
    free(text);
    return fine;
}

bool ac_event_log_write_closing(ac_event_log_t *log, const json_t *closing)
{
    return write_document(log, AC_EVENT_RECORD_CLOSING, closing);
}

bool ac_event_log_write_stored(ac_event_log_t *log, const json_t *run)
{
    return write_document(log, AC_EVENT_RECORD_STORED, run);
}

void ac_event_log_end(ac_event_log_t *log)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t size = (atomic_load(&log->file->committed) + page - 1) / page * page;
    /* What was made ready and not used goes back to the file system; nobody reads behind `committed`. */
    if (size < log->size && truncate(log->path, (off_t)size)) {
        ac_debug("run[%s]: log not shortened", log->file->head.run_id);
    } else if (size < log->size) {
        ac_event_total_release(log->total, log->size - size);
    }
    atomic_store_explicit(&log->file->ended, apr_time_now(), memory_order_release);
}

/* ---- reading ---- */

static bool map_more(ac_event_log_t *log, size_t need)
{
    struct stat info;
    if (need <= log->size) {
        return true;
    }
    int fd = open(log->path, O_RDWR | O_CLOEXEC);
    bool fine = fd >= 0 && fstat(fd, &info) == 0 && (size_t)info.st_size >= need &&
        map(log, fd, (size_t)info.st_size, false) == APR_SUCCESS;
    if (fd >= 0) {
        close(fd);
    }
    return fine;
}

static void read_document(json_t **pdocument, const record_t *record, const char *payload)
{
    json_t *document = pdocument ? json_loadb(payload, record->len, 0, NULL) : NULL;
    if (!document) {
        return;
    }
    json_decref(*pdocument);
    *pdocument = document;
}

/* The record at this place; *pat goes behind it. NULL: there is no whole one for now. */
static const char *read_record(ac_event_log_t *log, size_t *pat, record_t *record)
{
    uint64_t committed = atomic_load_explicit(&log->file->committed, memory_order_acquire);
    if (committed < *pat + sizeof *record || !map_more(log, committed)) {
        return NULL;
    }
    const char *place = (const char *)log->file + *pat;
    memcpy(record, place, sizeof *record);
    uint64_t end = *pat + sizeof *record + padded(record->len);
    if (end > committed) {
        return NULL; /* not of our making */
    }
    *pat = end;
    return place + sizeof *record;
}

json_t *ac_event_log_read_stored(ac_event_log_t *log)
{
    size_t at = HEAD_SIZE;
    json_t *stored = NULL;
    const char *payload;
    record_t record;
    while ((payload = read_record(log, &at, &record)) != NULL) {
        if (record.type == AC_EVENT_RECORD_STORED) {
            read_document(&stored, &record, payload);
        }
    }
    return stored;
}

ac_event_t *ac_event_log_next(ac_event_log_t *log, ac_event_cursor_t *cursor, json_t **pclosing)
{
    if (!cursor->at) {
        cursor->at = HEAD_SIZE;
    }
    for (;;) {
        size_t end = cursor->at;
        record_t record;
        const char *payload = read_record(log, &end, &record);
        if (!payload) {
            return NULL;
        }
        bool terminal = record.type == AC_EVENT_DONE || record.type == AC_EVENT_ERROR;
        ac_event_t *event = NULL;
        if (record.type < AC_N_EVENTS && (terminal || record.seq > cursor->after)) {
            event = ac_event_record_parse(record.type, payload, record.len);
            if (!event) {
                return NULL;
            }
            event->seq = record.seq;
            event->at = record.at;
        }
        if (record.type == AC_EVENT_RECORD_CLOSING) {
            read_document(pclosing, &record, payload);
        }
        if (record.type == AC_EVENT_TOKEN) {
            cursor->n_text += record.len;
        }
        cursor->at = end;
        if (event) {
            return event;
        }
    }
}

/* ---- followers elsewhere ---- */

bool ac_event_watcher_add(ac_event_log_t *log, ac_child_key_t child)
{
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < WAITING; i++) {
            waiting_t *waiting = &log->file->waiting[i];
            uint64_t there = atomic_load(&waiting->child);
            if (pass == 0 ? there == child
                          : there == 0 && atomic_compare_exchange_strong(&waiting->child, &there, child)) {
                atomic_fetch_add(&waiting->n, 1);
                return true;
            }
        }
    }
    return false;
}

void ac_event_watcher_remove(ac_event_log_t *log, ac_child_key_t child)
{
    for (int i = 0; i < WAITING; i++) {
        waiting_t *waiting = &log->file->waiting[i];
        uint64_t there = child;
        if (atomic_load(&waiting->child) != child) {
            continue;
        }
        /* Only this child's loop counts in its place. */
        if (atomic_fetch_sub(&waiting->n, 1) == 1) {
            atomic_compare_exchange_strong(&waiting->child, &there, 0);
        }
        return;
    }
}

bool ac_event_watcher_any(const ac_event_log_t *log)
{
    /* Against a follower that enters itself at this moment and has looked before: one of us two sees the other. */
    atomic_thread_fence(memory_order_seq_cst);
    for (int i = 0; i < WAITING; i++) {
        if (atomic_load_explicit(&log->file->waiting[i].child, memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

void ac_event_watcher_notify(ac_event_log_t *log, const ac_event_dir_t *dir)
{
    char text[AC_ID_SIZE + 8];
    if (!ac_event_watcher_any(log)) {
        return;
    }
    for (int i = 0; i < WAITING; i++) {
        waiting_t *waiting = &log->file->waiting[i];
        uint64_t child = atomic_load(&waiting->child);
        if (!child) {
            continue;
        }
        int len = snprintf(text, sizeof text, "wake %s", log->file->head.run_id);
        apr_status_t status = ac_event_dir_send(dir, child, text, (size_t)len);
        if (status != APR_SUCCESS && status != EAGAIN && !ac_event_dir_alive(dir, child)) {
            atomic_store(&waiting->n, 0);
            atomic_compare_exchange_strong(&waiting->child, &child, 0);
        }
    }
}
