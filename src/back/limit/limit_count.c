/* SPDX-License-Identifier: Apache-2.0 */
/* Counts in the table: reserve all or nothing, spend from a reservation, release the rest. */
#include "limit_table.h"

#include <string.h>

#define FULL_AGAIN apr_time_from_sec(60) /* between two log lines about a full table */
#define FULL_RETRY apr_time_from_sec(10) /* Retry-After for requests that are refused because the table is full */

/* ---- finding a count ---- */

/* Whether the slot can be reused: its window has ended and nothing is reserved. */
static bool is_free(const ac_slot_t *slot, apr_time_t now)
{
    if (!slot->window || (!slot->used && !slot->held)) {
        return true;
    }
    return slot->window > 0 && (slot->epoch + 1) * slot->window <= now;
}

/* The bucket's slot with this key, or NULL. *pfree: a free slot; *pn_free: their number. */
static ac_slot_t *limit_count_look(ac_slot_t *bucket, const unsigned char *key, apr_time_t now, ac_slot_t **pfree,
                                   int *pn_free)
{
    *pfree = NULL;
    *pn_free = 0;
    for (int i = 0; i < AC_TABLE_WAYS; i++) {
        ac_slot_t *slot = &bucket[i];
        if (slot->window && memcmp(slot->key, key, AC_COUNT_KEY) == 0) {
            return slot;
        }
        if (is_free(slot, now)) {
            *pfree = slot;
            ++*pn_free;
        }
    }
    return NULL;
}

/* source: the finalizer of SplitMix64, Steele, Lea, Flood, "Fast splittable pseudorandom number generators". */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

ac_slot_t *ac_limit_count_slot(ac_limit_table_t *table, const unsigned char key[AC_COUNT_KEY], int64_t window,
                               int64_t epoch, apr_time_t now)
{
    uint64_t hash = mix(ac_limit_table_mark(key) ^ table->head->seed);
    uint32_t mask = table->head->n_slots / AC_TABLE_WAYS - 1;
    ac_slot_t *free_slot[2], *slot = NULL;
    int n_free[2];
    for (int i = 0; i < 2 && !slot; i++) {
        uint32_t bucket = (uint32_t)(hash >> (32 * i)) & mask;
        slot = limit_count_look(&table->slots[(size_t)bucket * AC_TABLE_WAYS], key, now, &free_slot[i], &n_free[i]);
    }
    if (!slot) {
        /* The bucket with more free slots: so nearly all slots are used before two buckets are full at the same
         * time. */
        slot = n_free[0] >= n_free[1] ? free_slot[0] : free_slot[1];
        if (!slot) {
            return NULL;
        }
        slot->window = 0;
        slot->used = slot->held = 0;
        slot->epoch = epoch;
        memcpy(slot->key, key, AC_COUNT_KEY);
        slot->window = window;
    }
    /* If the clock was set back a little, the current window continues; after a large change a new window begins. */
    if (slot->epoch < epoch || slot->epoch > epoch + 1) {
        slot->used = slot->held = 0;
        slot->epoch = epoch;
    }
    return slot;
}

static int64_t window_of(const ac_reservation_item_t *item)
{
    return item->window ? item->window : AC_TABLE_GAUGE;
}

static int64_t epoch_of(const ac_reservation_item_t *item, apr_time_t now)
{
    return item->window ? now / item->window : 0;
}

/* Whether a log line about the full table is due; if so, notes that it was written. The caller holds the lock. */
static bool claim_full_log(ac_limit_table_t *table)
{
    apr_time_t now = ac_clock(), logged_at = table->head->full_at;
    if (logged_at && now >= logged_at && now - logged_at <= FULL_AGAIN) {
        return false;
    }
    table->head->full_at = now;
    return true;
}

/* Runs without the lock: no system call is made while it is held. */
static apr_status_t refuse_full(const ac_limit_table_t *table, bool news, ac_err_t *err)
{
    if (news) {
        ac_log(AC_M261, APR_ENOSPC, "limits: the table of %u counts is full; requests that need a new one are refused",
               table->head->n_slots);
    }
    err->retry_after = FULL_RETRY;
    return ac_err_set(err, AC_OVERLOADED, "the table of counts for limits is full");
}

/* ---- reserving ---- */

static void note_change(ac_limit_table_t *table, const ac_slot_t *slot)
{
    if (slot->window >= AC_SAVED_WINDOW) {
        table->head->n_changes++;
    }
}

static void note_left(ac_reservation_item_t *item, const ac_slot_t *slot, apr_time_t now)
{
    int64_t left = item->most - slot->used - slot->held;
    item->left = left > 0 ? left : 0;
    item->reset = item->window ? (slot->epoch + 1) * item->window - now : 0;
}

/* Finds each count's slot, and whether enough is left of it. Changes no count. errors: EAGAIN (not enough left), ENOSPC
 * (no slot). */
static apr_status_t limit_count_check(ac_limit_table_t *table, ac_reservation_t *reservation, apr_time_t now)
{
    apr_status_t status = APR_SUCCESS;
    for (int i = 0; i < reservation->n; i++) {
        ac_reservation_item_t *item = &reservation->list[i];
        ac_slot_t *slot = ac_limit_count_slot(table, item->key, window_of(item), epoch_of(item, now), now);
        if (!slot) {
            return APR_ENOSPC;
        }
        item->slot = (uint32_t)(slot - table->slots);
        item->epoch = slot->epoch;
        item->over = slot->used + slot->held + item->amount > item->most;
        note_left(item, slot, now);
        if (item->over) {
            status = APR_EAGAIN;
        } else if (!slot->used && !slot->held) {
            slot->used = item->hold ? 0 : item->amount; /* so that another item of this reservation does not use it */
            slot->held = item->hold ? item->amount : 0;
            item->claimed = true;
        }
    }
    return status;
}

static void unclaim(ac_limit_table_t *table, ac_reservation_t *reservation)
{
    for (int i = 0; i < reservation->n; i++) {
        ac_reservation_item_t *item = &reservation->list[i];
        if (item->claimed) {
            table->slots[item->slot].used = table->slots[item->slot].held = 0;
            item->claimed = false;
        }
    }
}

/* An amount of 0, such as the cost of a free model, needs no record. */
static bool needs_record(const ac_reservation_item_t *item)
{
    return item->hold && item->amount > 0;
}

static bool has_records(const ac_limit_table_t *table, const ac_reservation_t *reservation)
{
    const ac_table_head_t *head = table->head;
    uint32_t at = head->first_free, fresh = head->n_holds - head->n_used;
    for (int i = 0; i < reservation->n; i++) {
        if (!needs_record(&reservation->list[i])) {
            continue;
        }
        if (at) {
            at = table->holds[at - 1].next;
        } else if (fresh) {
            fresh--;
        } else {
            return false;
        }
    }
    return true;
}

static void limit_count_hold(ac_limit_table_t *table, ac_reservation_item_t *item)
{
    ac_table_head_t *head = table->head;
    uint32_t record;
    if (head->first_free) {
        record = head->first_free - 1;
        head->first_free = table->holds[record].next;
    } else {
        record = head->n_used++;
    }
    table->holds[record] = (ac_hold_t){.epoch = item->epoch,
                                       .mark = ac_limit_table_mark(item->key),
                                       .slot = item->slot,
                                       .holder = table->holder};
    /* The amount makes the record valid, so it is written last. */
    __atomic_store_n(&table->holds[record].amount, item->amount, __ATOMIC_RELEASE);
    item->record = record + 1;
    item->held = item->amount;
}

apr_status_t ac_limit_count_reserve(ac_limit_table_t *table, ac_reservation_t *reservation, apr_time_t now,
                                    ac_err_t *err)
{
    apr_status_t status = ac_limit_table_lock(table, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    status = limit_count_check(table, reservation, now);
    if (status == APR_SUCCESS && !has_records(table, reservation)) {
        status = APR_ENOSPC;
    }
    for (int i = 0; i < reservation->n && status == APR_SUCCESS; i++) {
        ac_reservation_item_t *item = &reservation->list[i];
        ac_slot_t *slot = &table->slots[item->slot];
        if (!item->claimed) {
            *(item->hold ? &slot->held : &slot->used) += item->amount;
        }
        item->claimed = false;
        if (needs_record(item)) {
            limit_count_hold(table, item);
        }
        note_left(item, slot, now);
        note_change(table, slot);
    }
    if (status != APR_SUCCESS) {
        unclaim(table, reservation);
    }
    bool news = status == APR_ENOSPC && claim_full_log(table);
    ac_limit_table_unlock(table);
    return status == APR_ENOSPC ? refuse_full(table, news, err) : status;
}

/* ---- spending and releasing ---- */

static ac_slot_t *still_there(ac_limit_table_t *table, const ac_reservation_item_t *item)
{
    ac_slot_t *slot = &table->slots[item->slot];
    return slot->window == window_of(item) && slot->epoch == item->epoch &&
            memcmp(slot->key, item->key, AC_COUNT_KEY) == 0
        ? slot
        : NULL;
}

/* Lowers the record and the count together: the record says how much of the count is reserved. */
static void lower_hold(ac_limit_table_t *table, ac_reservation_item_t *item, int64_t by)
{
    ac_hold_t *record = &table->holds[item->record - 1];
    ac_slot_t *slot = still_there(table, item);
    item->held -= by;
    if (item->held == 0) {
        ac_limit_table_drop_hold(table, item->record - 1);
        item->record = 0;
        return;
    }
    if (slot) {
        slot->held -= by;
    }
    record->amount = item->held;
}

void ac_limit_count_spend(ac_limit_table_t *table, ac_reservation_item_t *item, int64_t amount, apr_time_t now)
{
    if (ac_limit_table_lock(table, NULL) != APR_SUCCESS) {
        return;
    }
    if (!table->holder) { /* this process has left, and its reservations are released */
        ac_limit_table_unlock(table);
        return;
    }
    int64_t covered = amount < item->held ? amount : item->held;
    ac_slot_t *slot = still_there(table, item);
    if (!slot || epoch_of(item, now) > item->epoch) {
        /* The window of the reservation has ended with the reserved amount in it; the excess belongs to the current
         * window. */
        slot = amount > covered ? ac_limit_count_slot(table, item->key, window_of(item), epoch_of(item, now), now)
                                : NULL;
        amount -= covered;
    }
    if (slot) {
        slot->used = amount < AC_MAX_LIMIT - slot->used ? slot->used + amount : AC_MAX_LIMIT; /* no limit is higher */
        note_change(table, slot);
    }
    if (covered) {
        lower_hold(table, item, covered);
    }
    ac_limit_table_unlock(table);
}

void ac_limit_count_release(ac_limit_table_t *table, ac_reservation_t *reservation)
{
    bool any = false;
    for (int i = 0; i < reservation->n; i++) {
        any = any || reservation->list[i].held;
    }
    if (!any || ac_limit_table_lock(table, NULL) != APR_SUCCESS) {
        return;
    }
    for (int i = 0; table->holder && i < reservation->n; i++) {
        if (reservation->list[i].held) {
            lower_hold(table, &reservation->list[i], reservation->list[i].held);
        }
    }
    ac_limit_table_unlock(table);
}
