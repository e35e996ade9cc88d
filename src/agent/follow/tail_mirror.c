/* SPDX-License-Identifier: Apache-2.0 */
/* The events of a run of another machine, from the mirror: a tail reads page by page up to the newest entry, and then
 * gets each new entry from the connection that reads for the whole child. The store has said whose run it is before. A
 * mirror that is lost, or lacks events, is left: the tail then looks at the store, and tries the mirror again. */
#include "tail.h"

#include <string.h>

#define LOOK apr_time_from_msec(250)
#define LOOKS_MAX 4                  /* for events that the mirror should have in a moment */
#define SILENCE apr_time_from_sec(5) /* after which the store says whether the run is still active */

typedef enum tail_mirror_e { DELIVERED, NO_ROOM, LACKING } tail_mirror_e;

static ac_mirror_t *mirror_of(const ac_tail_t *tail)
{
    return tail->engine->writers.mirror;
}

static bool tail_mirror_is_up(const ac_tail_t *tail)
{
    const ac_mirror_t *mirror = mirror_of(tail);
    return mirror && mirror->vt->is_up(mirror->self);
}

void ac_tail_mirror_leave(ac_tail_t *tail)
{
    const ac_tail_t *other = apr_hash_get(tail->engine->follow->tails, tail->run_id, APR_HASH_KEY_STRING);
    bool was_followed = tail->mirror.is_followed;
    tail->mirror.is_followed = tail->mirror.on = tail->mirror.live = false;
    while (other && !other->mirror.is_followed) {
        other = other->next;
    }
    if (was_followed && !other && mirror_of(tail)) {
        mirror_of(tail)->vt->unfollow(mirror_of(tail)->self, tail->run_id);
    }
}

/* The mirror has not all that it should have: the store decides what comes next. */
static void tail_mirror_lose(ac_tail_t *tail)
{
    ac_tail_mirror_leave(tail);
    ac_tail_stored_decide(tail);
}

/* ---- entries ---- */

static tail_mirror_e deliver(ac_tail_t *tail, const ac_mirror_entry_t *entry)
{
    ac_mirror_cursor_t cursor;
    ac_event_t *event;
    if (!ac_mirror_entry_open(&cursor, entry->bytes, entry->len) || cursor.seq > tail->after) {
        return LACKING;
    }
    ac_tail_leave_log(tail); /* the run went on elsewhere, if there is one */
    tail->mirror.on = tail->mirror.has_part = true;
    tail->mirror.n_looks = 0;
    tail->cursor.at = 0;
    tail->cursor.n_text = cursor.n_text;
    while (!tail->left && !tail->ended && (event = ac_mirror_entry_next(&cursor)) != NULL) {
        if (event->seq > tail->after && !ac_tail_has_room(tail)) {
            ac_event_unref(event);
            return NO_ROOM;
        }
        ac_tail_deliver(tail, event);
        tail->cursor.n_text = cursor.n_text;
    }
    bool is_whole = cursor.at < cursor.end || cursor.seq == entry->last; /* `at`: the tail left in the middle */
    return cursor.is_damaged || !is_whole ? LACKING : DELIVERED;
}

/* The terminal event of the entry, or NULL; the bytes of all tokens up to its end. A new reference. */
static ac_event_t *find_terminal(const ac_mirror_entry_t *entry, size_t *pn_text)
{
    ac_mirror_cursor_t cursor;
    ac_event_t *event = NULL;
    if (!ac_mirror_entry_open(&cursor, entry->bytes, entry->len)) {
        return NULL;
    }
    while ((event = ac_mirror_entry_next(&cursor)) != NULL && event->type != AC_EVENT_DONE &&
           event->type != AC_EVENT_ERROR) {
        ac_event_unref(event);
    }
    *pn_text = cursor.n_text;
    return event;
}

/* The tail has all entries; later ones are reported from now on. */
static void join(ac_tail_t *tail)
{
    const ac_mirror_t *mirror = mirror_of(tail);
    uint64_t at = mirror->vt->follow(mirror->self, tail->run_id, tail->after);
    if (at == UINT64_MAX) { /* too many runs are followed */
        ac_tail_report_live(tail);
        ac_tail_continue(tail, LOOK);
        return;
    }
    tail->mirror.is_followed = true;
    if (at > tail->after) {
        ac_tail_continue(tail, 0); /* an entry came in between */
        return;
    }
    tail->mirror.live = true;
    tail->mirror.heard = ac_loop_now(tail->engine->loop);
    ac_tail_report_live(tail);
    ac_tail_continue(tail, tail->log ? LOOK : SILENCE);
}

/* The follower has all entries, or says that it has more than that. */
static void at_newest(ac_tail_t *tail, const ac_mirror_entry_t *newest)
{
    size_t n_text = 0;
    ac_event_t *terminal = find_terminal(newest, &n_text);
    bool is_active = ac_record_is_active(tail->run), is_behind = newest->last < tail->after;
    if (terminal) {
        ac_tail_leave_log(tail);
        tail->mirror.on = true;
        ac_tail_deliver(tail, terminal);
        return;
    }
    if (is_active && is_behind && tail->mirror.n_looks >= LOOKS_MAX) {
        tail->after = tail->cursor.after = newest->last; /* a number that the run has not reached: from now on */
        is_behind = false;
    }
    if (!is_behind) {
        tail->mirror.has_part = !tail->log;
        tail->cursor.n_text = tail->log ? tail->cursor.n_text : n_text;
    }
    if (is_active && !is_behind) {
        tail->mirror.on = !tail->log;
        join(tail);
    } else if (tail->mirror.n_looks++ < LOOKS_MAX) {
        tail->mirror.on = !tail->log;
        ac_tail_continue(tail, LOOK);
    } else {
        tail_mirror_lose(tail);
    }
}

static void on_page(void *baton, const ac_mirror_page_t *page)
{
    ac_tail_t *tail = baton;
    tail_mirror_e result = DELIVERED;
    tail->pending = false;
    if (tail->left) {
        ac_tail_continue(tail, 0);
        return;
    }
    if (page->failed || !page->newest.last) {
        tail_mirror_lose(tail);
        return;
    }
    if (!page->n) {
        at_newest(tail, &page->newest);
        return;
    }
    for (int i = 0; i < page->n && result == DELIVERED && !tail->left && !tail->ended; i++) {
        result = deliver(tail, &page->entries[i]);
    }
    if (result == LACKING) {
        tail_mirror_lose(tail);
    } else if (tail->left) {
        ac_tail_continue(tail, 0);
    } else if (result == DELIVERED && !tail->ended) {
        if (tail->after == page->newest.last && ac_record_is_active(tail->run)) {
            join(tail);
        } else {
            ac_tail_continue(tail, 0);
        }
    }
}

bool ac_tail_mirror_read(ac_tail_t *tail)
{
    bool is_active = ac_record_is_active(tail->run);
    bool stored = tail->after > AC_TAIL_STORED && !is_active; /* the follower has events made from documents */
    if (!tail_mirror_is_up(tail) || stored || (tail->log && ac_event_log_is_cut(tail->log))) {
        return false;
    }
    tail->pending = true;
    tail->mirror.live = false;
    mirror_of(tail)->vt->read(mirror_of(tail)->self, tail->run_id, tail->after, on_page, tail);
    return true;
}

void ac_tail_mirror_continue(ac_tail_t *tail)
{
    apr_interval_time_t silence = ac_loop_now(tail->engine->loop) - tail->mirror.heard;
    if (tail->mirror.live && tail_mirror_is_up(tail) && silence < SILENCE) {
        ac_tail_continue(tail, SILENCE - silence);
    } else if (tail->mirror.live && tail_mirror_is_up(tail)) {
        ac_tail_stored_continue(tail); /* the machine that runs it may have died */
    } else if (!tail->run) {
        ac_tail_stored_continue(tail); /* its events came from a log until now */
    } else if (!ac_tail_mirror_read(tail)) {
        ac_tail_mirror_leave(tail);
        ac_tail_continue(tail, 0);
    }
}

void ac_tail_mirror_watch(ac_tail_t *tail)
{
    if (!tail->mirror.live && tail_mirror_is_up(tail)) {
        join(tail);
        if (tail->mirror.is_followed && !tail->mirror.live) {
            ac_tail_stored_continue(tail); /* the mirror has more than this log */
        }
    }
}

/* ---- from the engine's mirror ---- */

static void on_entry_of_tail(ac_tail_t *tail, const ac_mirror_entry_t *entry)
{
    if (!tail->mirror.live || tail->left || tail->ended) {
        return;
    }
    if (tail->log && !ac_event_log_is_suspended(tail->log)) {
        ac_tail_continue(tail, 0); /* resumed on this machine: the log has the events, too */
        return;
    }
    if (tail->paused || tail->pending) {
        tail->mirror.live = false; /* it reads the page that has this entry later */
        return;
    }
    tail->mirror.heard = ac_loop_now(tail->engine->loop);
    tail_mirror_e result = deliver(tail, entry);
    if (result == DELIVERED && (tail->left || tail->ended)) {
        ac_tail_continue(tail, 0);
    } else if (result != DELIVERED) {
        tail->mirror.live = false;
    }
    if (result == LACKING && !tail->left) {
        ac_tail_continue(tail, 0);
    }
}

static void on_entry(void *baton, const char *run_id, const ac_mirror_entry_t *entry)
{
    ac_engine_t *engine = baton;
    ac_tail_t *tail = apr_hash_get(engine->follow->tails, run_id, APR_HASH_KEY_STRING), *next;
    for (; tail; tail = next) {
        next = tail->next;
        on_entry_of_tail(tail, entry);
    }
}

static void tail_mirror_on_state(void *baton, bool up)
{
    ac_engine_t *engine = baton;
    for (apr_hash_index_t *at = apr_hash_first(NULL, engine->follow->tails); at && !up; at = apr_hash_next(at)) {
        for (ac_tail_t *tail = apr_hash_this_val(at); tail; tail = tail->next) {
            tail->mirror.live = false;
            if (tail->mirror.on) {
                ac_tail_continue(tail, 0);
            }
        }
    }
}

void ac_tail_mirror_use(ac_engine_t *engine, ac_mirror_t *mirror)
{
    mirror->on_entry = on_entry;
    mirror->on_state = tail_mirror_on_state;
    mirror->on_notice = ac_notice_receive;
    mirror->baton = engine;
}
