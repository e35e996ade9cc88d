/* SPDX-License-Identifier: Apache-2.0 */
/* A handover: a worker gives an object to the loop and waits some time for the answer. The second of the two to finish
 * (the worker gives up, or the loop answers) owns the object. */
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

/* Whether this side is the first to finish. */
static bool move_to(ac_handover_t *handover, int state)
{
    int before = OPEN;
    return atomic_compare_exchange_strong(&handover->state, &before, state);
}

bool ac_handover_answer(ac_handover_t *handover)
{
    ac_latch_t *latch = handover->latch; /* the worker may free the handover as soon as it is answered */
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
