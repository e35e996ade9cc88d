/* SPDX-License-Identifier: Apache-2.0 */
/* Operations of a run on the store. */
#include "run_internal.h"

#include <stdlib.h>

static void run_store_done(ac_store_op_t *op)
{
    ac_run_store_t *store = &((ac_run_t *)op->baton)->store;
    store->charge += op->charge;
    if (--store->n_pending == 0) {
        store->took += ac_clock() - store->since;
    }
    op->then(op);
}

void ac_run_store_call(ac_run_t *run, ac_store_op_t *op, void (*done)(ac_store_op_t *op))
{
    apr_time_t now = ac_clock();
    op->deadline = now + run->engine->conf.store_timeout;
    op->then = done;
    run->n_ops++;
    if (run->store.n_pending++ == 0) {
        run->store.since = now;
    }
    ac_store_call_post(run->engine->store, run->engine->loop, op, run_store_done, run);
}

ac_store_op_t *ac_run_store_op(const ac_run_t *run, ac_store_verb_e verb)
{
    ac_store_op_t *op = ac_store_op_create(verb, run->turn->owner, run->turn->thread_id);
    if (!op) {
        abort();
    }
    ac_store_op_trace(op, ac_run_trace_context(run));
    return op;
}
