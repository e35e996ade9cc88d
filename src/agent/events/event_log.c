/* SPDX-License-Identifier: Apache-2.0 */
/* The event log of a run: a file that its owner writes and that any child reads, both through a mapping. */
#include "events_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>

#define MAGIC "AGCHEVL1"
/* A child adopts a log by renaming it, once, after the death of its owner. The rename can hide the log from one
 * search: it moves from a directory not yet searched to one already searched. */
#define SEARCHES 2

const ac_event_log_header_t *ac_event_log_header(const ac_event_log_t *log)
{
    return &log->file->header;
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

void ac_event_log_set_suspended(ac_event_log_t *log, bool suspended)
{
    atomic_store(&log->file->suspended, suspended); /* before a read of the outcome */
}

bool ac_event_log_is_suspended(const ac_event_log_t *log)
{
    return atomic_load(&log->file->suspended) != 0;
}

ac_log_outcome_e ac_event_log_decide(ac_event_log_t *log, ac_log_outcome_e outcome)
{
    uint32_t there = AC_LOG_OUTCOME_OPEN;
    bool first = atomic_compare_exchange_strong(&log->file->outcome, &there, (uint32_t)outcome);
    return first ? outcome : (ac_log_outcome_e)there;
}

ac_log_outcome_e ac_event_log_outcome(const ac_event_log_t *log)
{
    return (ac_log_outcome_e)atomic_load_explicit(&log->file->outcome, memory_order_acquire);
}

/* ---- files ---- */

/* A copy on the heap, since most paths are much shorter than they may be. */
static char *log_path(const char *path)
{
    size_t size = strlen(path) + 1;
    return memcpy(ac_alloc(size), path, size);
}

static ac_event_log_t *log_alloc(const ac_event_dir_t *dir, ac_child_key_t child, const char *run_id)
{
    char path[AC_LOG_PATH_SIZE];
    ac_event_log_t *log = ac_alloc(sizeof *log);
    log->child = child;
    log->max = ac_event_dir_max(dir);
    ac_event_dir_log_path(path, dir, child, run_id);
    log->path = log_path(path);
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
    free(log->path);
    free(log);
}

ac_event_log_t *ac_event_log_create(ac_event_dir_t *dir, const ac_event_log_header_t *header, apr_status_t *pstatus)
{
    ac_event_log_t *log = log_alloc(dir, ac_event_dir_key(dir), header->run_id);
    log->total = ac_event_dir_total(dir);
    if (!ac_event_total_reserve(log->total, AC_EVENT_FILE_FIRST)) {
        *pstatus = AC_EVENT_TOTAL_EXCEEDED;
        ac_event_log_close(log);
        return NULL;
    }
    int fd = open(log->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    *pstatus = fd < 0 ? errno : ac_event_map_set(log, fd, AC_EVENT_FILE_FIRST, true);
    if (fd >= 0) {
        close(fd);
    }
    if (*pstatus != APR_SUCCESS) {
        if (fd >= 0) {
            unlink(log->path);
        }
        ac_event_total_release(log->total, AC_EVENT_FILE_FIRST);
        ac_event_log_close(log);
        return NULL;
    }
    log->owned = true;
    log->outage = ac_event_dir_outage(dir);
    log->file->header = *header;
    atomic_store(&log->file->committed, AC_EVENT_FILE_HEADER);
    atomic_thread_fence(memory_order_release);
    memcpy(log->file->magic, MAGIC, sizeof log->file->magic); /* last: a log with the magic is whole */
    return log;
}

void ac_event_log_set_place(ac_event_log_t *log, const ac_log_place_t *place)
{
    log->file->place = *place;
}

ac_log_place_t ac_event_log_place(const ac_event_log_t *log)
{
    return log->file->place;
}

void ac_event_log_set_trace(ac_event_log_t *log, const ac_trace_t *trace)
{
    ac_trace_format(trace, log->file->trace);
}

bool ac_event_log_trace(const ac_event_log_t *log, ac_trace_t *trace)
{
    char text[AC_TRACEPARENT_SIZE];
    apr_cpystrn(text, log->file->trace, sizeof text); /* another process may write it at this moment */
    return ac_trace_parse(trace, text);
}

bool ac_event_log_find_trace(ac_trace_t *trace, const ac_event_dir_t *dir, const char *run_id, const char *owner)
{
    ac_event_log_t *log = ac_event_log_find(dir, run_id);
    bool found = log && strcmp(log->file->header.owner, owner) == 0 && ac_event_log_trace(log, trace);
    ac_event_log_close(log);
    return found;
}

static bool valid(const ac_event_log_t *log, const char *run_id)
{
    const ac_event_file_t *file = log->file;
    return log->size >= AC_EVENT_FILE_HEADER && memcmp(file->magic, MAGIC, sizeof file->magic) == 0 &&
        memcmp(file->header.run_id, run_id, strlen(run_id) + 1) == 0 &&
        memchr(file->header.owner, '\0', sizeof file->header.owner) &&
        memchr(file->header.thread_id, '\0', sizeof file->header.thread_id) &&
        memchr(file->header.message_id, '\0', sizeof file->header.message_id);
}

/* Whether the committed bytes lie in the file. A live owner makes room before it commits, and may do both between
 * our two reads, so the size of the file is read last. A crash of the machine may leave anything behind. */
static bool event_log_whole(const ac_event_log_t *log, int fd)
{
    uint64_t committed = atomic_load_explicit(&log->file->committed, memory_order_acquire);
    struct stat info;
    return committed >= AC_EVENT_FILE_HEADER && committed % 8 == 0 && fstat(fd, &info) == 0 &&
        committed <= (uint64_t)info.st_size;
}

/* A reader maps the maximum size at once, which costs addresses but no memory, and needs no descriptor for it again. */
static apr_status_t map_to_read(ac_event_log_t *log, int fd, size_t size)
{
    if (size < log->max && ac_event_map_set(log, fd, log->max, false) == APR_SUCCESS) {
        return APR_SUCCESS;
    }
    return ac_event_map_set(log, fd, size, false);
}

/* APR_EGENERAL: the file is not a whole log. */
static apr_status_t event_log_open_file(ac_event_log_t *log, int fd, const char *run_id)
{
    struct stat info;
    if (fstat(fd, &info)) {
        return errno;
    }
    size_t size = (size_t)info.st_size;
    if (size < AC_EVENT_FILE_HEADER) {
        return APR_EGENERAL;
    }
    apr_status_t status = log->owned ? ac_event_map_set(log, fd, size, false) : map_to_read(log, fd, size);
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

/* ---- finding ---- */

/* Whether the log may exist although it was not found. */
static bool is_shortage(apr_status_t status)
{
    return status == EMFILE || status == ENFILE || status == ENOMEM;
}

static apr_status_t search_once(ac_event_log_t **plog, const ac_event_dir_t *dir, const char *run_id)
{
    ac_child_key_t children[AC_MAX_CHILDREN];
    apr_status_t found = log_open(plog, dir, ac_event_dir_key(dir), run_id, false), error = APR_ENOENT;
    if (found == APR_SUCCESS) {
        return APR_SUCCESS;
    }
    if (is_shortage(found)) {
        error = found;
    }
    int n = ac_event_dir_children(dir, children, AC_MAX_CHILDREN);
    if (n < 0 && is_shortage(errno)) {
        error = errno;
    }
    for (int i = 0; i < n; i++) {
        found = log_open(plog, dir, children[i], run_id, false);
        if (found == APR_SUCCESS) {
            return APR_SUCCESS;
        }
        if (is_shortage(found)) {
            error = found;
        }
    }
    return error;
}

apr_status_t ac_event_log_search(ac_event_log_t **plog, const ac_event_dir_t *dir, const char *run_id)
{
    apr_status_t status = APR_ENOENT;
    for (int pass = 0; pass < SEARCHES && status == APR_ENOENT; pass++) {
        status = search_once(plog, dir, run_id);
    }
    return status;
}

ac_event_log_t *ac_event_log_find(const ac_event_dir_t *dir, const char *run_id)
{
    ac_event_log_t *log;
    ac_event_log_search(&log, dir, run_id);
    return log;
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
    /* A log that cannot be opened now stays where it is, to be adopted later. */
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
        ac_event_log_unlink(dir, run_id); /* its owner died before it was whole */
        return NULL;
    }
    free(log->path);
    log->path = log_path(here);
    log->child = ac_event_dir_key(dir);
    log->outage = ac_event_dir_outage(dir);
    log->total = ac_event_dir_total(dir);
    return log;
}

bool ac_event_log_peek_owner(int fd, const char *owner)
{
    ac_event_file_t header;
    return pread(fd, &header, sizeof header, 0) == (ssize_t)sizeof header &&
        memcmp(header.magic, MAGIC, sizeof header.magic) == 0 &&
        strncmp(header.header.owner, owner, sizeof header.header.owner) == 0;
}

apr_time_t ac_event_log_peek_ended(int fd)
{
    ac_event_file_t header;
    bool whole = pread(fd, &header, sizeof header, 0) == (ssize_t)sizeof header &&
        memcmp(header.magic, MAGIC, sizeof header.magic) == 0;
    return whole && !atomic_load(&header.suspended) ? atomic_load(&header.ended) : 0;
}

/* ---- writing ---- */

static void event_log_cut(ac_event_log_t *log, apr_status_t status)
{
    ac_event_outage_e what = status == APR_EGENERAL ? AC_EVENT_OUTAGE_LOG_FULL
        : status == AC_EVENT_TOTAL_EXCEEDED         ? AC_EVENT_OUTAGE_TOTAL_FULL
                                                    : AC_EVENT_OUTAGE_NO_SPACE;
    ac_event_outage_begin(log->outage, what, status, log->file->header.run_id);
    atomic_store_explicit(&log->file->cut, 1, memory_order_release);
}

void ac_event_log_append(ac_event_log_t *log, const ac_event_t *event)
{
    ac_event_record_t record = {.type = event->type, .seq = event->seq, .at = event->at};
    char *payload = NULL;
    size_t len = event->len;
    if (ac_event_log_is_cut(log)) {
        return;
    }
    if (event->type == AC_EVENT_DONE) {
        payload = ac_event_record_make_done(event, &len);
    } else if (!ac_event_is_text(event->type)) {
        payload = ac_json_dump(event->data, &len);
    }
    record.len = (uint32_t)len;
    bool there = payload || ac_event_is_text(event->type);
    apr_status_t status = there ? ac_event_record_write(log, &record, payload ? payload : event->text) : APR_ENOMEM;
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
    ac_event_record_t record = {.len = (uint32_t)len, .type = type, .at = apr_time_now()};
    bool fine = text && ac_event_record_write(log, &record, text) == APR_SUCCESS;
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
    /* Unused room goes back to the file system; no reader reads behind `committed`. */
    if (size < log->size && truncate(log->path, (off_t)size)) {
        ac_debug("run[%s]: log not shortened", log->file->header.run_id);
    } else if (size < log->size) {
        ac_event_total_release(log->total, log->size - size);
    }
    atomic_store_explicit(&log->file->ended, apr_time_now(), memory_order_release);
    ac_metrics_add(AC_METRIC_EVENT_LOG_WRITTEN, AC_NO_LABELS, atomic_load(&log->file->committed));
}

/* ---- reading ---- */

static void read_document(json_t **pdocument, const ac_event_record_t *record, const char *payload)
{
    json_t *document = pdocument ? json_loadb(payload, record->len, 0, NULL) : NULL;
    if (!document) {
        return;
    }
    json_decref(*pdocument);
    *pdocument = document;
}

json_t *ac_event_log_read_stored(ac_event_log_t *log)
{
    size_t at = AC_EVENT_FILE_HEADER;
    json_t *stored = NULL;
    const char *payload;
    ac_event_record_t record;
    while ((payload = ac_event_record_read(log, &at, &record)) != NULL) {
        if (record.type == AC_EVENT_RECORD_STORED) {
            read_document(&stored, &record, payload);
        }
    }
    return stored;
}

ac_event_t *ac_event_log_next(ac_event_log_t *log, ac_event_cursor_t *cursor, json_t **pclosing)
{
    if (!cursor->at) {
        cursor->at = AC_EVENT_FILE_HEADER;
    }
    for (;;) {
        size_t end = cursor->at;
        ac_event_record_t record;
        const char *payload = ac_event_record_read(log, &end, &record);
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
