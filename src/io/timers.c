/* SPDX-License-Identifier: Apache-2.0 */
/* The loop's timers: a four-ary heap whose entries contain the due time, so that sifting touches only timers that
 * move. */
#include "io_internal.h"

#include <stdlib.h>

#define FANOUT 4

static void timer_place(ac_timers_t *timers, int at, ac_timer_entry_t entry)
{
    timers->entries[at] = entry;
    entry.timer->slot = at + 1;
}

static void sift_up(ac_timers_t *timers, int at, ac_timer_entry_t entry)
{
    while (at > 0) {
        int parent = (at - 1) / FANOUT;
        if (timers->entries[parent].due <= entry.due) {
            break;
        }
        timer_place(timers, at, timers->entries[parent]);
        at = parent;
    }
    timer_place(timers, at, entry);
}

static int earliest_child(const ac_timers_t *timers, int at)
{
    int first = at * FANOUT + 1, last = first + FANOUT < timers->n ? first + FANOUT : timers->n;
    int best = first < last ? first : -1;
    for (int i = first + 1; i < last; i++) {
        if (timers->entries[i].due < timers->entries[best].due) {
            best = i;
        }
    }
    return best;
}

static void sift_down(ac_timers_t *timers, int at, ac_timer_entry_t entry)
{
    for (int child; (child = earliest_child(timers, at)) >= 0; at = child) {
        if (timers->entries[child].due >= entry.due) {
            break;
        }
        timer_place(timers, at, timers->entries[child]);
    }
    timer_place(timers, at, entry);
}

static void timer_settle(ac_timers_t *timers, int at, ac_timer_entry_t entry)
{
    if (at > 0 && timers->entries[(at - 1) / FANOUT].due > entry.due) {
        sift_up(timers, at, entry);
    } else {
        sift_down(timers, at, entry);
    }
}

static void timer_take_out(ac_timers_t *timers, ac_timer_t *timer)
{
    int at = timer->slot - 1;
    ac_timer_entry_t last = timers->entries[--timers->n];
    timer->slot = 0;
    if (at < timers->n) {
        timer_settle(timers, at, last);
    }
}

void ac_timer_set(ac_loop_t *loop, ac_timer_t *timer, apr_time_t due, ac_task_fn *fn, void *baton)
{
    ac_timers_t *timers = ac_loop_timers(loop);
    ac_timer_entry_t entry = {due > 0 ? due : 1, timer};
    timer->due = due;
    timer->fn = fn;
    timer->baton = baton;
    if (timer->slot) {
        timer_settle(timers, timer->slot - 1, entry);
        return;
    }
    if (timers->n == timers->size) {
        timers->size = timers->size ? timers->size * 2 : 64;
        timers->entries = ac_loop_grow(timers->entries, (size_t)timers->size, sizeof(*timers->entries));
    }
    sift_up(timers, timers->n++, entry);
}

void ac_timer_cancel(ac_loop_t *loop, ac_timer_t *timer)
{
    if (timer->slot) {
        timer_take_out(ac_loop_timers(loop), timer);
    }
}

void ac_timers_run(ac_timers_t *timers, apr_time_t now)
{
    /* Bounded: a timer that sets itself to a time in the past waits for the next turn. */
    for (int left = timers->n; left > 0 && timers->n && timers->entries[0].due <= now; left--) {
        ac_timer_t *timer = timers->entries[0].timer;
        timer_take_out(timers, timer);
        timer->fn(timer->baton);
    }
}

apr_time_t ac_timers_next(const ac_timers_t *timers)
{
    return timers->n ? timers->entries[0].due : 0;
}

void ac_timers_free(ac_timers_t *timers)
{
    free(timers->entries);
    timers->entries = NULL;
    timers->n = timers->size = 0;
}
