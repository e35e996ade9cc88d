/* SPDX-License-Identifier: Apache-2.0 */
/* Counting in the table: taking all or nothing, spending what was taken, giving back the rest. */
#include "limit_table.h"

#include <string.h>

#define FULL_AGAIN apr_time_from_sec(60) /* between two lines of the log about a full table */
#define FULL_RETRY apr_time_from_sec(10) /* what who is refused for that is told to wait */

/* ---- finding a count ---- */

/* Whether nobody misses what is in the slot. */
static bool is_free(const ac_slot_t *slot, apr_time_t now)
{
    if (!slot->window || (!slot->used && !slot->held)) {
        return true;
    }
    return slot->window > 0 && (slot->epoch + 1) * slot->window <= now;
}

/* The bucket's slot of this key, or NULL; *pfree: a free one, *pn_free: how many. */
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
        /* The emptier of two buckets: so nearly all slots are taken before a pair of buckets has none. */
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
    /* A clock that was set back a little goes on in the window that was; one that was far off begins anew. */
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

/* Whether it has not been told for a while that the table is full; from now on it has. With the lock held. */
static bool full_is_news(ac_limit_table_t *table)
{
    apr_time_t now = ac_clock(), told = table->head->full_at;
    if (told && now >= told && now - told <= FULL_AGAIN) {
        return false;
    }
    table->head->full_at = now;
    return true;
}

/* Without the lock, under which nothing calls the system. */
static apr_status_t refuse_full(const ac_limit_table_t *table, bool news, ac_err_t *err)
{
    if (news) {
        ac_log(AC_M261, APR_ENOSPC, "limits: the table of %u counts is full; who is not in it yet is refused",
               table->head->n_slots);
    }
    err->retry_after = FULL_RETRY;
    return ac_err_set(err, AC_OVERLOADED, "more is counted at once than there is room for");
}

/* ---- taking ---- */

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

/* Finds each count's slot and whether there is enough left in it. Writes nothing that matters. EAGAIN: there is not;
 * ENOSPC: no slot. */
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
            slot->used = item->hold ? 0
                                    : item->amount; /* so that another one of these reservation does not find it free */
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

/* Nothing, as what a free model costs, is held without one. */
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
    /* The amount makes it valid, and comes last. */
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
    bool news = status == APR_ENOSPC && full_is_news(table);
    ac_limit_table_unlock(table);
    return status == APR_ENOSPC ? refuse_full(table, news, err) : status;
}

/* ---- spending and giving back ---- */

static ac_slot_t *still_there(ac_limit_table_t *table, const ac_reservation_item_t *item)
{
    ac_slot_t *slot = &table->slots[item->slot];
    return slot->window == window_of(item) && slot->epoch == item->epoch &&
            memcmp(slot->key, item->key, AC_COUNT_KEY) == 0
        ? slot
        : NULL;
}

/* The record says what is held, so that it and the count change together. */
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
    if (!table->holder) { /* this process has left: what it held is given back already */
        ac_limit_table_unlock(table);
        return;
    }
    int64_t covered = amount < item->held ? amount : item->held;
    ac_slot_t *slot = still_there(table, item);
    if (!slot || epoch_of(item, now) > item->epoch) {
        /* The window that it was held in is over and has accounted for it; what goes beyond belongs to now. */
        slot = amount > covered ? ac_limit_count_slot(table, item->key, window_of(item), epoch_of(item, now), now)
                                : NULL;
        amount -= covered;
    }
    if (slot) {
        slot->used = amount < AC_MAX_LIMIT - slot->used ? slot->used + amount : AC_MAX_LIMIT; /* no limit is above it */
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
