/* SPDX-License-Identifier: Apache-2.0 */
/* Reserves, spends and releases: in the counts of this machine, or in those that all machines share. */
#include "limit_table.h"

#define LOOP_PATIENCE apr_time_from_sec(5) /* how long a worker waits for a busy loop */

/* ---- counting ---- */

static apr_status_t reserve_here(ac_counters_t *counters, ac_reservation_t *reservation, ac_err_t *err)
{
    apr_status_t status = ac_limit_count_reserve(counters->table, reservation, apr_time_now(), err);
    return status == APR_EAGAIN && !err->kind ? ac_reservation_refuse(reservation, err) : status;
}

typedef struct shared_call_t { /* a call of the shared counts */
    ac_counters_t *counters;
    ac_reservation_t *reservation;
    ac_counters_fn *done;
    void *baton;
} shared_call_t;

static void counters_on_shared(void *baton, apr_status_t status, const ac_err_t *said)
{
    shared_call_t asked = *(shared_call_t *)baton;
    ac_err_t err = *said;
    free(baton);
    if (status == APR_SUCCESS) {
        asked.reservation->shared = true;
        for (int i = 0; i < asked.reservation->n; i++) {
            asked.reservation->list[i].held = asked.reservation->list[i].hold ? asked.reservation->list[i].amount : 0;
        }
    } else if (err.kind && asked.counters->open) {
        ac_err_init(&err);
        status = reserve_here(asked.counters, asked.reservation, &err);
    } else if (!err.kind) {
        status = ac_reservation_refuse(asked.reservation, &err);
    }
    asked.done(asked.baton, status, &err);
}

apr_status_t ac_counters_reserve(ac_counters_t *counters, ac_reservation_t *reservation, ac_counters_fn *done,
                                 void *baton, ac_err_t *err)
{
    if (!counters->shared) {
        return reserve_here(counters, reservation, err);
    }
    shared_call_t *asked = ac_alloc(sizeof(*asked));
    *asked = (shared_call_t){counters, reservation, done, baton};
    counters->shared->reserve(counters->shared_self, reservation, counters_on_shared, asked);
    return APR_EINPROGRESS;
}

/* ---- a worker that waits ---- */

typedef struct waiting_t {
    ac_handover_t handover;
    ac_counters_t *counters;
    ac_reservation_t *reservation;
    apr_status_t status;
    ac_err_t err;
} waiting_t;

static void counters_on_answer(void *baton, apr_status_t status, const ac_err_t *err)
{
    waiting_t *waiting = baton;
    waiting->status = status;
    waiting->err = *err;
    if (!ac_handover_answer(&waiting->handover)) {
        if (status == APR_SUCCESS) {
            ac_counters_release(waiting->counters, waiting->reservation);
        } else {
            free(waiting->reservation);
        }
        free(waiting);
    }
}

static void ask_for(void *baton)
{
    waiting_t *waiting = baton;
    ac_err_t err;
    ac_err_init(&err);
    apr_status_t status =
        ac_counters_reserve(waiting->counters, waiting->reservation, counters_on_answer, waiting, &err);
    if (status != APR_EINPROGRESS) {
        counters_on_answer(waiting, status, &err);
    }
}

apr_status_t ac_counters_reserve_wait(ac_reservation_t **preservation, ac_counters_t *counters, ac_err_t *err)
{
    if (!counters->shared) {
        return reserve_here(counters, *preservation, err);
    }
    waiting_t *waiting = ac_alloc(sizeof(*waiting));
    ac_handover_begin(&waiting->handover);
    waiting->counters = counters;
    waiting->reservation = *preservation;
    ac_loop_post(counters->loop, ask_for, waiting);
    if (!ac_handover_wait(&waiting->handover, ac_clock() + LOOP_PATIENCE)) {
        *preservation = NULL; /* the loop has not processed it */
        return ac_err_set(err, AC_OVERLOADED, "the limits were not looked up in time");
    }
    apr_status_t status = waiting->status;
    *err = err->kind ? *err : waiting->err;
    free(waiting);
    return status;
}

/* ---- spending and releasing ---- */

static void spend_shared(ac_counters_t *counters, ac_reservation_t *reservation, ac_reservation_item_t *item,
                         int64_t amount)
{
    int64_t covered = amount < item->held ? amount : item->held;
    ac_settlement_t settle = {.covered = covered, .excess = amount - covered};
    item->held -= covered;
    counters->shared->settle(counters->shared_self, reservation, item, &settle);
}

void ac_counters_spend(ac_counters_t *counters, ac_reservation_t *reservation, ac_measure_e measure, int64_t amount)
{
    for (int i = 0; reservation && amount > 0 && i < reservation->n; i++) {
        if (reservation->list[i].measure != measure) {
            continue;
        }
        if (reservation->shared) {
            spend_shared(counters, reservation, &reservation->list[i], amount);
        } else {
            ac_limit_count_spend(counters->table, &reservation->list[i], amount, apr_time_now());
        }
    }
}

typedef struct given_back_t {
    ac_counters_t *counters;
    ac_reservation_t *reservation;
} given_back_t;

static void counters_give_back(void *baton)
{
    given_back_t back = *(given_back_t *)baton;
    free(baton);
    for (int i = 0; i < back.reservation->n; i++) {
        ac_settlement_t settle = {.release = back.reservation->list[i].held};
        if (settle.release) {
            back.counters->shared->settle(back.counters->shared_self, back.reservation, &back.reservation->list[i],
                                          &settle);
        }
    }
    free(back.reservation);
}

void ac_counters_release(ac_counters_t *counters, ac_reservation_t *reservation)
{
    if (!reservation) {
        return;
    }
    if (reservation->shared) {
        given_back_t *back = ac_alloc(sizeof(*back));
        *back = (given_back_t){counters, reservation};
        ac_loop_post(counters->loop, counters_give_back, back);
        return;
    }
    ac_limit_count_release(counters->table, reservation);
    free(reservation);
}
