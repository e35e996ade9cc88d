/* SPDX-License-Identifier: Apache-2.0 */
/* A run's log that another child reads, or continues when its writer is dead. The input is the file behind its first
 * part: the length that is complete, and records. With any input reading ends, and new records follow behind it. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/events/events_internal.h"
#include "../unit/scratch.h"

#define RUN "run_01"
#define HEAD 1024 /* bytes of a file's head */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char top[] = "/tmp/fuzz-event-log-XXXXXX";
static ac_event_dir_t *dir;
static unsigned char head[HEAD]; /* of a real log, with `committed` at */
static size_t committed_at;

static void leave(void)
{
    ac_event_dir_close(dir);
    scratch_remove(top);
}

static void log_path(char path[AC_LOG_PATH_SIZE])
{
    ac_event_dir_log_path(path, dir, ac_event_dir_key(dir), RUN);
}

/* A log without records says that its header is complete; no other field has that number. */
static void make_head(void)
{
    const ac_event_log_header_t names = {RUN, "thread_01", "msg_01", "ann"};
    char path[AC_LOG_PATH_SIZE];
    uint64_t none = HEAD;
    apr_status_t made;
    ac_event_log_t *log = ac_event_log_create(dir, &names, &made);
    if (!log) {
        abort();
    }
    ac_event_log_close(log);
    log_path(path);
    FILE *file = fopen(path, "rb");
    if (!file || fread(head, 1, HEAD, file) != HEAD) {
        abort();
    }
    fclose(file);
    while (committed_at < HEAD && memcmp(head + committed_at, &none, 8) != 0) {
        committed_at += 8;
    }
    if (committed_at >= HEAD) {
        abort();
    }
}

static void prepare(void)
{
    if (!mkdtemp(top) || ac_event_dir_open(&dir, top, 64 * 1024, 0) != APR_SUCCESS) {
        abort();
    }
    atexit(leave);
    make_head();
}

/* An input that begins with 0xff has the complete length itself; else all of it is complete. */
static void make_file(const uint8_t *data, size_t size)
{
    char path[AC_LOG_PATH_SIZE];
    size_t skip = size >= 9 && data[0] == 0xff ? 9 : size ? 1 : 0;
    uint64_t whole = HEAD + (size - skip);
    if (skip == 9) {
        memcpy(&whole, data + 1, 8);
    }
    memcpy(head + committed_at, &whole, 8);
    log_path(path);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(head, 1, HEAD, file) != HEAD || fwrite(data + skip, 1, size - skip, file) != size - skip) {
        abort();
    }
    fclose(file);
}

static void read_all(ac_event_log_t *log, size_t size)
{
    ac_event_cursor_t cursor = {0};
    json_t *closing = NULL;
    ac_event_t *event;
    size_t n = 0;
    while ((event = ac_event_log_next(log, &cursor, &closing)) != NULL) {
        if (++n > size / 24 + 1) {
            abort(); /* a record has 24 bytes at least */
        }
        ac_event_unref(event);
    }
    json_decref(closing);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!dir) {
        prepare();
    }
    make_file(data, size);
    ac_event_log_t *log = ac_event_log_find(dir, RUN);
    if (log) {
        read_all(log, size);
    }
    ac_event_log_close(log);
    /* From itself: as a log of a dead child, once it has been renamed. */
    log = ac_event_log_adopt(dir, ac_event_dir_key(dir), RUN);
    if (log) {
        ac_event_t *event = ac_event_create(AC_EVENT_TOKEN, NULL, "more", 4);
        event->seq = ac_event_log_seq(log) + 1;
        ac_event_log_append(log, event);
        ac_event_unref(event);
        ac_event_log_end(log);
        read_all(log, size + 64);
    }
    ac_event_log_close(log);
    ac_event_log_unlink(dir, RUN);
    return 0;
}
