/* SPDX-License-Identifier: Apache-2.0 */
/* Copies event logs to the mirror. A writer belongs to one log and has at most one entry in flight. All writers of a
 * child send together, at most every 25 ms: what Redis costs is paid once for many tokens. The log is the truth: after
 * a failure the writer sends again what the mirror lacks, and a run never waits for it. */
#include "events_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVERY apr_time_from_msec(25)
#define EVENTS_SOON 64                 /* new events of one run that are sent without waiting */
#define RETRY apr_time_from_sec(1)     /* after a failure */
#define KEEP_MIN apr_time_from_sec(10) /* for followers to read the end */
#define ENTRIES_MIN 128                /* that stay when old ones are dropped */

struct ac_mirror_writer_t {
    ac_mirror_writers_t *all;
    ac_event_log_t *log;
    char run_id[AC_ID_SIZE], name[AC_MIRROR_WRITER_SIZE];
    ac_mirror_place_t sent, flying; /* up to where the mirror has the log; and the entry in flight */
    bool in_flight;
    bool stopped;           /* no more is sent */
    bool dirty;             /* in the list of those that send next */
    bool left;              /* its owner has left: it is freed when nothing is in flight */
    int n_new;              /* events since the last entry */
    apr_time_t behind;      /* ac_loop_now(): until then the mirror has had all events; 0: it has them */
    apr_time_t behind_next; /* the same as soon as the entry in flight has arrived */
    uint64_t n_entries, n_bytes;
    ac_mirror_log_fn *done; /* gets the log, which has ended; NULL: the log is the owner's */
    void *baton;
    ac_mirror_writer_t *next, *prev;
    ac_mirror_writer_t *next_dirty;
};

/* ---- when to send ---- */

static void send_all(void *baton);

static void set_timer(ac_mirror_writers_t *all)
{
    apr_time_t due = all->sent + EVERY;
    if (due <= ac_loop_now(all->loop)) {
        ac_loop_ready_set(all->loop, &all->ready, send_all, all);
    } else if (!all->timer.slot) {
        ac_timer_set(all->loop, &all->timer, due, send_all, all);
    }
}

static void note_behind(ac_mirror_writer_t *writer)
{
    apr_time_t *behind = writer->in_flight ? &writer->behind_next : &writer->behind;
    if (!*behind) {
        *behind = ac_loop_now(writer->all->loop);
    }
}

static void mark_dirty(ac_mirror_writer_t *writer)
{
    ac_mirror_writers_t *all = writer->all;
    if (!writer->dirty && !writer->stopped) {
        writer->dirty = true;
        writer->next_dirty = all->dirty;
        all->dirty = writer;
        set_timer(all);
    }
}

void ac_mirror_writer_notify(ac_mirror_writer_t *writer)
{
    if (!writer) {
        return;
    }
    note_behind(writer);
    if (++writer->n_new >= EVENTS_SOON && writer->dirty && writer->all->sent <= ac_loop_now(writer->all->loop)) {
        ac_loop_ready_set(writer->all->loop, &writer->all->ready, send_all, writer->all);
    }
    mark_dirty(writer);
}

/* ---- the end of a writer ---- */

static void unlink_dirty(ac_mirror_writer_t *writer)
{
    ac_mirror_writer_t **at = &writer->all->dirty;
    while (writer->dirty && *at != writer) {
        at = &(*at)->next_dirty;
    }
    if (writer->dirty) {
        *at = writer->next_dirty;
    }
    writer->dirty = false;
}

static void writer_free(ac_mirror_writer_t *writer)
{
    unlink_dirty(writer);
    if (writer->next) {
        writer->next->prev = writer->prev;
    }
    *(writer->prev ? &writer->prev->next : &writer->all->first) = writer->next;
    free(writer);
}

/* Gives the ended log away. */
static void finish(ac_mirror_writer_t *writer)
{
    ac_mirror_log_fn *done = writer->done;
    ac_event_log_t *log = writer->log;
    void *baton = writer->baton;
    writer->done = NULL;
    writer->log = NULL;
    writer->stopped = writer->left = true;
    if (!writer->in_flight) {
        writer_free(writer);
    }
    done(baton, log);
}

static void mirror_writer_stop(ac_mirror_writer_t *writer, const char *why)
{
    ac_debug("run[%s]: not mirrored any more: %s", writer->run_id, why);
    writer->stopped = true;
    if (writer->done) {
        finish(writer);
    }
}

/* ---- one entry ---- */

static void writer_send(ac_mirror_writer_t *writer);

/* The mirror has events up to `last`, which is not what was sent. */
static void mirror_writer_move(ac_mirror_writer_t *writer, uint64_t last)
{
    if (last > ac_event_log_seq(writer->log)) {
        mirror_writer_stop(writer, "the mirror has later events than the log");
        return;
    }
    ac_mirror_entry_seek(&writer->sent, writer->log, last);
    writer_send(writer);
}

static void on_appended(void *baton, ac_mirror_result_e result, uint64_t last)
{
    ac_mirror_writer_t *writer = baton;
    ac_mirror_writers_t *all = writer->all;
    writer->in_flight = false;
    if (writer->left) {
        writer_free(writer);
    } else if (result == AC_MIRROR_REFUSED) {
        mirror_writer_stop(writer, "it has another writer");
    } else if (result == AC_MIRROR_AGAIN) {
        writer_send(writer);
    } else if (result == AC_MIRROR_FAILED && writer->done) {
        mirror_writer_stop(writer, "Redis cannot be used"); /* followers get the end from the store */
    } else if (result == AC_MIRROR_FAILED) {
        all->sent = ac_loop_now(all->loop) + RETRY - EVERY; /* what others have to send waits, too */
        ac_loop_ready_cancel(all->loop, &all->ready);
        mark_dirty(writer);
    } else if (last != writer->flying.seq) {
        mirror_writer_move(writer, last);
    } else {
        writer->sent = writer->flying;
        writer->behind = writer->behind_next;
        if (writer->done || ac_event_log_seq(writer->log) - writer->sent.seq >= EVENTS_SOON) {
            writer_send(writer);
        } else if (ac_event_log_seq(writer->log) > writer->sent.seq) {
            mark_dirty(writer);
        }
    }
}

/* The number of entries that have as many bytes as an event log may have. */
static int max_entries(const ac_mirror_writer_t *writer)
{
    uint64_t average = writer->n_entries ? writer->n_bytes / writer->n_entries + 1 : 1;
    uint64_t most = writer->log->max / average;
    return most < ENTRIES_MIN ? ENTRIES_MIN : most > 1000000 ? 1000000 : (int)most;
}

static void writer_send(ac_mirror_writer_t *writer)
{
    ac_mirror_writers_t *all = writer->all;
    apr_interval_time_t keep = all->keep > KEEP_MIN ? all->keep : KEEP_MIN;
    if (writer->in_flight || writer->stopped) {
        return;
    }
    ac_buf_clear(&all->bytes);
    writer->flying = writer->sent;
    int n = ac_mirror_entry_pack(&all->bytes, writer->log, &writer->flying);
    writer->n_new = 0;
    if (n < 0) {
        mirror_writer_stop(writer, "an event is too long");
        return;
    }
    if (n == 0) {
        writer->behind = 0;
        if (writer->done) {
            finish(writer);
        }
        return;
    }
    writer->in_flight = true;
    writer->behind_next = ac_event_log_seq(writer->log) > writer->flying.seq ? writer->behind : 0;
    writer->n_entries++;
    writer->n_bytes += all->bytes.len;
    ac_mirror_append_t append = {.run_id = writer->run_id,
                                 .writer = writer->name,
                                 .first = writer->sent.seq + 1,
                                 .entry = {writer->flying.seq, all->bytes.data, all->bytes.len},
                                 .max_entries = max_entries(writer),
                                 .keep = keep + (writer->done ? 0 : all->run_timeout)};
    all->mirror->vt->append(all->mirror->self, &append, on_appended, writer);
}

static void send_all(void *baton)
{
    ac_mirror_writers_t *all = baton;
    ac_mirror_writer_t *writer;
    ac_timer_cancel(all->loop, &all->timer);
    ac_loop_ready_cancel(all->loop, &all->ready);
    if (!all->mirror->vt->is_up(all->mirror->self)) {
        /* Without it the logs grow alone; each look costs nothing but a timer. */
        if (all->dirty) {
            ac_timer_set(all->loop, &all->timer, ac_loop_now(all->loop) + RETRY, send_all, all);
        }
        return;
    }
    all->sent = ac_loop_now(all->loop);
    while ((writer = all->dirty) != NULL) {
        all->dirty = writer->next_dirty;
        writer->dirty = false;
        writer_send(writer);
    }
}

/* ---- for the owners of logs ---- */

ac_mirror_writer_t *ac_mirror_writer_create(ac_mirror_writers_t *all, ac_event_log_t *log, uint64_t attempt)
{
    if (!all->mirror || !log) {
        return NULL;
    }
    ac_mirror_writer_t *writer = ac_alloc(sizeof *writer);
    ac_event_file_t *file = log->file;
    writer->all = all;
    writer->log = log;
    memcpy(writer->run_id, file->header.run_id, sizeof writer->run_id);
    if (!file->mirror_token) { /* the log keeps its name, whichever child it moves to */
        file->mirror_token = ac_random() | 1;
        file->mirror_attempt = attempt;
    }
    snprintf(writer->name, sizeof writer->name, "%" PRIu64 "-%016" PRIx64, file->mirror_attempt, file->mirror_token);
    writer->next = all->first;
    if (writer->next) {
        writer->next->prev = writer;
    }
    all->first = writer;
    if (ac_event_log_seq(log)) {
        note_behind(writer);
        mark_dirty(writer);
    }
    return writer;
}

void ac_mirror_writer_leave(ac_mirror_writer_t *writer)
{
    if (!writer) {
        return;
    }
    unlink_dirty(writer);
    writer->stopped = writer->left = true;
    writer->log = NULL;
    if (!writer->in_flight) {
        writer_free(writer);
    }
}

void ac_mirror_writer_end(ac_mirror_writer_t *writer, ac_event_log_t *log, ac_mirror_log_fn *done, void *baton)
{
    if (!writer || writer->stopped || !writer->all->mirror->vt->is_up(writer->all->mirror->self)) {
        ac_mirror_writer_leave(writer);
        done(baton, log);
        return;
    }
    writer->log = log;
    writer->done = done;
    writer->baton = baton;
    unlink_dirty(writer);
    writer_send(writer); /* at once: followers wait for the end */
}

apr_interval_time_t ac_mirror_writer_lag(const ac_mirror_writers_t *all)
{
    apr_interval_time_t most = 0;
    for (const ac_mirror_writer_t *writer = all->first; writer; writer = writer->next) {
        apr_interval_time_t lag = writer->behind && !writer->stopped ? ac_loop_now(all->loop) - writer->behind : 0;
        most = lag > most ? lag : most;
    }
    return most;
}

void ac_mirror_writer_init(ac_mirror_writers_t *all, ac_mirror_t *mirror, ac_loop_t *loop)
{
    all->mirror = mirror;
    all->loop = loop;
    ac_buf_init(&all->bytes, AC_MAX_MIRROR_ENTRY);
}

void ac_mirror_writer_destroy_all(ac_mirror_writers_t *all)
{
    if (!all->mirror) {
        return;
    }
    ac_timer_cancel(all->loop, &all->timer);
    ac_loop_ready_cancel(all->loop, &all->ready);
    while (all->first) {
        if (all->first->done) {
            ac_event_log_close(all->first->log);
        }
        writer_free(all->first);
    }
    ac_buf_free(&all->bytes);
    all->mirror = NULL;
}
