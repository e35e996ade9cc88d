/* SPDX-License-Identifier: Apache-2.0 */
/* Slots and the queue for them, fair between owners: each owner's runs wait in order, the owners take turns, and a full queue has room
 * for an owner who has less of it than another one. */
#include "run.h"

#include <stdlib.h>

struct ac_queue_owner_t {
    char owner[AC_OWNER_SIZE];
    ac_queue_entry_t *first, *last; /* that wait */
    int n_slots, n_waiting;
    ac_queue_owner_t *next, *prev; /* in the ring of those who wait */
};

/* As limits by owner count: clients that nobody signed in are told apart by their addresses. */
static const char *owner_of(const ac_run_t *run)
{
    const ac_quota_t *quota = run->turn->quota;
    return quota && !quota->who.owner && quota->who.address ? quota->who.address : run->turn->owner;
}

static ac_queue_owner_t *find_share(const ac_run_queue_t *queue, const ac_run_t *run)
{
    return apr_hash_get(queue->shares, owner_of(run), APR_HASH_KEY_STRING);
}

static ac_queue_owner_t *make_share(ac_run_queue_t *queue, const ac_run_t *run)
{
    ac_queue_owner_t *share = find_share(queue, run);
    if (share) {
        return share;
    }
    share = ac_alloc(sizeof *share);
    apr_cpystrn(share->owner, owner_of(run), sizeof share->owner);
    apr_hash_set(queue->shares, share->owner, APR_HASH_KEY_STRING, share);
    return share;
}

static void enter_ring(ac_run_queue_t *queue, ac_queue_owner_t *share)
{
    if (queue->turn) {
        share->next = queue->turn;
        share->prev = queue->turn->prev;
        share->prev->next = share->next->prev = share;
    } else {
        queue->turn = share->next = share->prev = share;
    }
}

static void leave_ring(ac_run_queue_t *queue, ac_queue_owner_t *share)
{
    share->prev->next = share->next;
    share->next->prev = share->prev;
    if (queue->turn == share) {
        queue->turn = share->next == share ? NULL : share->next;
    }
    share->next = share->prev = NULL;
}

static void leave_line(ac_run_queue_t *queue, ac_queue_entry_t *place)
{
    ac_queue_owner_t *share = place->share;
    if (!place->waits) {
        return;
    }
    if (place->prev) {
        place->prev->next = place->next;
    } else {
        share->first = place->next;
    }
    if (place->next) {
        place->next->prev = place->prev;
    } else {
        share->last = place->prev;
    }
    place->next = place->prev = NULL;
    place->waits = false;
    share->n_waiting--;
    queue->n_waiting--;
    if (!share->first) {
        leave_ring(queue, share);
    }
}

void ac_run_queue_init(ac_run_queue_t *queue, apr_pool_t *pool)
{
    *queue = (ac_run_queue_t){.shares = apr_hash_make(pool)};
}

static bool may_take(const ac_run_queue_t *queue, const ac_queue_owner_t *share)
{
    return !queue->most || !share || share->n_slots < queue->most;
}

bool ac_run_queue_has_room(const ac_run_queue_t *queue, const ac_run_t *run)
{
    return may_take(queue, find_share(queue, run));
}

void ac_run_queue_push(ac_run_queue_t *queue, ac_queue_entry_t *place, ac_run_t *run)
{
    ac_queue_owner_t *share = make_share(queue, run);
    *place = (ac_queue_entry_t){.run = run, .share = share, .waits = true, .prev = share->last};
    if (share->last) {
        share->last->next = place;
    } else {
        share->first = place;
    }
    share->last = place;
    if (share->first == place) {
        enter_ring(queue, share);
    }
    share->n_waiting++;
    queue->n_waiting++;
}

void ac_run_queue_acquire(ac_run_queue_t *queue, ac_queue_entry_t *place, ac_run_t *run)
{
    ac_queue_owner_t *share = make_share(queue, run);
    /* Its owner has had this turn. */
    if (place->waits && queue->turn == share) {
        queue->turn = share->next;
    }
    leave_line(queue, place);
    *place = (ac_queue_entry_t){.run = run, .share = share, .holds = true};
    share->n_slots++;
    queue->n_slots++;
}

void ac_run_queue_leave(ac_run_queue_t *queue, ac_queue_entry_t *place)
{
    ac_queue_owner_t *share = place->share;
    if (!share) {
        return;
    }
    leave_line(queue, place);
    if (place->holds) {
        share->n_slots--;
        queue->n_slots--;
    }
    *place = (ac_queue_entry_t){.run = NULL};
    if (share->n_slots || share->n_waiting) {
        return;
    }
    apr_hash_set(queue->shares, share->owner, APR_HASH_KEY_STRING, NULL);
    free(share);
}

ac_run_t *ac_run_queue_next(const ac_run_queue_t *queue)
{
    ac_queue_owner_t *share = queue->turn;
    if (!share) {
        return NULL;
    }
    do {
        if (may_take(queue, share)) {
            return share->first->run;
        }
        share = share->next;
    } while (share != queue->turn);
    return NULL;
}

ac_run_t *ac_run_queue_displaced(const ac_run_queue_t *queue, const ac_run_t *run)
{
    const ac_queue_owner_t *mine = find_share(queue, run), *most = queue->turn, *share = queue->turn;
    if (!share) {
        return NULL;
    }
    do {
        if (share->n_waiting > most->n_waiting) {
            most = share;
        }
        share = share->next;
    } while (share != queue->turn);
    return most->n_waiting > (mine ? mine->n_waiting : 0) + 1 ? most->last->run : NULL;
}
