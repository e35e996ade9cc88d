/* SPDX-License-Identifier: Apache-2.0 */
/* Operations of a run on the store. */
#include "run_internal.h"

#include <stdlib.h>

void ac_run_store_call(ac_run_t *run, ac_store_op_t *op, void (*done)(ac_store_op_t *op))
{
    op->deadline = ac_clock() + run->engine->conf.store_timeout;
    run->n_ops++;
    ac_store_call_post(run->engine->store, run->engine->loop, op, done, run);
}

ac_store_op_t *ac_run_store_op(const ac_run_t *run, ac_store_verb_e verb)
{
    ac_store_op_t *op = ac_store_op_create(verb, run->turn->owner, run->turn->thread_id);
    if (!op) {
        abort();
    }
    return op;
}
