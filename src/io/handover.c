/* SPDX-License-Identifier: Apache-2.0 */
/* A handover: a worker leaves something with the loop and waits a while for it to come back. Whoever is second, of
 * the loop that answers and the worker that gives up, has it alone. */
#include "io.h"

#include <stdlib.h>

enum { OPEN, ANSWERED, GIVEN_UP };

void ac_handover_begin(ac_handover_t *handover)
{
    handover->latch = ac_latch_create();
    if (!handover->latch) {
        abort();
    }
    ac_latch_ref(handover->latch);
    atomic_init(&handover->state, OPEN);
}

/* Whether this side is the first. */
static bool move_to(ac_handover_t *handover, int state)
{
    int before = OPEN;
    return atomic_compare_exchange_strong(&handover->state, &before, state);
}

bool ac_handover_answer(ac_handover_t *handover)
{
    ac_latch_t *latch = handover->latch; /* the handover is the worker's as soon as it is answered */
    bool first = move_to(handover, ANSWERED);
    if (first) {
        ac_latch_open(latch);
    }
    ac_latch_unref(latch);
    return first;
}

bool ac_handover_wait(ac_handover_t *handover, apr_time_t deadline)
{
    ac_latch_t *latch = handover->latch;
    bool answered = ac_latch_wait(latch, deadline) || !move_to(handover, GIVEN_UP);
    ac_latch_unref(latch);
    return answered;
}
