/* SPDX-License-Identifier: Apache-2.0 */
/* Where a run is among the runs of its turn, and what they share; pure. */
#include "run_internal.h"

ac_run_t *ac_run_nesting_root(const ac_run_t *run)
{
    while (run->nested.outer) {
        run = run->nested.outer;
    }
    return (ac_run_t *)run;
}

void ac_run_nesting_mark(const ac_run_t *run, json_t *data)
{
    if (!run->nested.outer || !run->nested.call) {
        return;
    }
    ac_json_put(data, "agent_id", ac_json_text(run->agent->id));
    ac_json_put(data, "depth", json_integer(run->nested.depth));
    ac_json_put(data, "parent_step_id", ac_json_text(run->nested.call->step_id));
}

void ac_run_nesting_each(ac_run_t *run, ac_run_nesting_fn *fn, void *baton)
{
    for (int i = 0; i < run->calls.n; i++) {
        ac_call_t *call = run->calls.list[i];
        if (call->needs_approval) {
            fn(call, baton);
        } else if (call->nested) {
            ac_run_nesting_each(call->nested, fn, baton);
        }
    }
}

/* ---- rounds ---- */

static int most_rounds(const ac_run_t *root)
{
    int most = root->agent->max_total_rounds ? root->agent->max_total_rounds : AC_MAX_TOTAL_ROUNDS;
    return most > root->agent->max_rounds ? most : root->agent->max_rounds;
}

/* The last round of the tree is the turn's, for its answer. */
bool ac_run_nesting_may_ask(const ac_run_t *run)
{
    const ac_run_t *root = ac_run_nesting_root(run);
    return root == run || root->nested.n_rounds < most_rounds(root);
}

bool ac_run_nesting_is_last(const ac_run_t *run)
{
    const ac_run_t *root = ac_run_nesting_root(run);
    return run->round >= run->agent->max_rounds || root->nested.n_rounds >= most_rounds(root) - (root != run);
}
