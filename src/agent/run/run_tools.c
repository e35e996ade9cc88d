/* SPDX-License-Identifier: Apache-2.0 */
/* The tools of a run: chosen once, when it is loaded or resumed. Lists of its sources that are out of date are
 * waited for; a source that fails costs its own tools only. */
#include "run_internal.h"

#include <string.h>

static void tools_make(ac_run_t *run)
{
    free(run->tools.waiters);
    run->tools.waiters = NULL;
    run->tools.set = ac_toolset_create(run->agent, run->nested.outer != NULL);
    run->tools.then(run);
}

static void run_tools_on_list(void *baton)
{
    ac_run_t *run = baton;
    if (--run->tools.n_open == 0) {
        tools_make(run);
    }
}

void ac_run_tools_load(ac_run_t *run, void (*then)(ac_run_t *run))
{
    ac_run_tools_t *tools = &run->tools;
    tools->then = then;
    if (tools->set) {
        then(run);
        return;
    }
    tools->n = run->agent->n_sources;
    tools->waiters = ac_alloc(((size_t)tools->n + 1) * sizeof *tools->waiters);
    for (int i = 0; i < tools->n; i++) {
        tools->waiters[i] = (ac_tool_waiter_t){.fn = run_tools_on_list, .baton = run};
        const ac_tool_source_t *source = run->agent->sources[i];
        tools->n_open += source->vt->want(source->self, &tools->waiters[i]);
    }
    if (tools->n_open == 0) {
        tools_make(run);
    }
}

void ac_run_tools_stop(ac_run_t *run)
{
    for (int i = 0; run->tools.waiters && i < run->tools.n; i++) {
        ac_tool_source_forget(&run->tools.waiters[i]);
    }
    free(run->tools.waiters);
    run->tools.waiters = NULL;
    run->tools.n_open = 0;
}

void ac_run_tools_free(ac_run_t *run)
{
    ac_run_tools_stop(run);
    ac_toolset_destroy(run->tools.set);
    run->tools.set = NULL;
}

/* What was approved is a call of one tool. Names of tools of a source may mean others by now. */
void ac_run_tools_find(ac_run_t *run)
{
    for (int i = 0; i < run->calls.n; i++) {
        ac_call_t *call = run->calls.list[i];
        call->tool = ac_toolset_find(run->tools.set, call->name);
        const char *source = call->tool && call->tool->source ? call->tool->source : "";
        bool same = strcmp(source, call->source ? call->source : "") == 0;
        if (!call->done && call->tool && !same && !call->refusal) {
            call->refusal = strdup("the tool of this name is no longer the one whose call was approved");
        }
    }
}
