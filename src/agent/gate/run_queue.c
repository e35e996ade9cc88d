/* SPDX-License-Identifier: Apache-2.0 */
/* Slots and the queue for them, fair between owners: the entries of each owner wait in order, the owners take turns,
 * and a full queue has room for an owner who has fewer entries than another one. */
#include "gate.h"

#include <apr_strings.h>
#include <stdlib.h>

struct ac_queue_share_t {
    char owner[AC_OWNER_SIZE];
    ac_queue_entry_t *first, *last; /* queued */
    int n_slots, n_queued;
    ac_queue_share_t *next, *prev; /* in the ring of owners with queued entries */
};

static ac_queue_share_t *find_share(const ac_run_queue_t *queue, const ac_queue_entry_t *entry)
{
    return apr_hash_get(queue->shares, entry->owner, APR_HASH_KEY_STRING);
}

static ac_queue_share_t *make_share(ac_run_queue_t *queue, const ac_queue_entry_t *entry)
{
    ac_queue_share_t *share = find_share(queue, entry);
    if (share) {
        return share;
    }
    share = ac_alloc(sizeof *share);
    apr_cpystrn(share->owner, entry->owner, sizeof share->owner);
    apr_hash_set(queue->shares, share->owner, APR_HASH_KEY_STRING, share);
    return share;
}

static void enter_ring(ac_run_queue_t *queue, ac_queue_share_t *share)
{
    if (queue->turn) {
        share->next = queue->turn;
        share->prev = queue->turn->prev;
        share->prev->next = share->next->prev = share;
    } else {
        queue->turn = share->next = share->prev = share;
    }
}

static void leave_ring(ac_run_queue_t *queue, ac_queue_share_t *share)
{
    share->prev->next = share->next;
    share->next->prev = share->prev;
    if (queue->turn == share) {
        queue->turn = share->next == share ? NULL : share->next;
    }
    share->next = share->prev = NULL;
}

static void leave_queue(ac_run_queue_t *queue, ac_queue_entry_t *entry)
{
    ac_queue_share_t *share = entry->share;
    if (!entry->is_queued) {
        return;
    }
    if (entry->prev) {
        entry->prev->next = entry->next;
    } else {
        share->first = entry->next;
    }
    if (entry->next) {
        entry->next->prev = entry->prev;
    } else {
        share->last = entry->prev;
    }
    entry->next = entry->prev = NULL;
    entry->is_queued = false;
    share->n_queued--;
    queue->n_queued--;
    if (!share->first) {
        leave_ring(queue, share);
    }
}

void ac_run_queue_init(ac_run_queue_t *queue, apr_pool_t *pool)
{
    *queue = (ac_run_queue_t){.shares = apr_hash_make(pool)};
}

static bool may_acquire(const ac_run_queue_t *queue, const ac_queue_share_t *share)
{
    return !queue->max_per_owner || !share || share->n_slots < queue->max_per_owner;
}

bool ac_run_queue_has_room(const ac_run_queue_t *queue, const ac_queue_entry_t *entry)
{
    return may_acquire(queue, find_share(queue, entry));
}

void ac_run_queue_push(ac_run_queue_t *queue, ac_queue_entry_t *entry)
{
    ac_queue_share_t *share = make_share(queue, entry);
    entry->share = share;
    entry->is_queued = true;
    entry->prev = share->last;
    if (share->last) {
        share->last->next = entry;
    } else {
        share->first = entry;
    }
    share->last = entry;
    if (share->first == entry) {
        enter_ring(queue, share);
    }
    share->n_queued++;
    queue->n_queued++;
}

void ac_run_queue_acquire(ac_run_queue_t *queue, ac_queue_entry_t *entry)
{
    ac_queue_share_t *share = make_share(queue, entry);
    /* The owner has used its turn. */
    if (entry->is_queued && queue->turn == share) {
        queue->turn = share->next;
    }
    leave_queue(queue, entry);
    entry->share = share;
    entry->has_slot = true;
    share->n_slots++;
    queue->n_slots++;
}

void ac_run_queue_leave(ac_run_queue_t *queue, ac_queue_entry_t *entry)
{
    ac_queue_share_t *share = entry->share;
    if (!share) {
        return;
    }
    leave_queue(queue, entry);
    if (entry->has_slot) {
        share->n_slots--;
        queue->n_slots--;
    }
    entry->has_slot = false;
    entry->share = NULL;
    if (share->n_slots || share->n_queued) {
        return;
    }
    apr_hash_set(queue->shares, share->owner, APR_HASH_KEY_STRING, NULL);
    free(share);
}

ac_queue_entry_t *ac_run_queue_next(const ac_run_queue_t *queue)
{
    ac_queue_share_t *share = queue->turn;
    if (!share) {
        return NULL;
    }
    do {
        if (may_acquire(queue, share)) {
            return share->first;
        }
        share = share->next;
    } while (share != queue->turn);
    return NULL;
}

ac_queue_entry_t *ac_run_queue_displaced(const ac_run_queue_t *queue, const ac_queue_entry_t *entry)
{
    const ac_queue_share_t *mine = find_share(queue, entry), *most = queue->turn, *share = queue->turn;
    if (!share) {
        return NULL;
    }
    do {
        if (share->n_queued > most->n_queued) {
            most = share;
        }
        share = share->next;
    } while (share != queue->turn);
    return most->n_queued > (mine ? mine->n_queued : 0) + 1 ? most->last : NULL;
}
