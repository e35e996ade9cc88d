/* SPDX-License-Identifier: Apache-2.0 */
/* Notes for the access log: %{agentchat-run}n and others. They are set when the request is logged, in whichever thread
 * that is, so a parked stream has them too. */
#include "front_internal.h"

#include <inttypes.h>

#include "apr_strings.h"

/* ac_access_note_e is the index. docs/logs.md has a row for each. */
const char *const ac_access_notes[] = {
    [AC_NOTE_RUN] = "agentchat-run",
    [AC_NOTE_THREAD] = "agentchat-thread",
    [AC_NOTE_AGENT] = "agentchat-agent",
    [AC_NOTE_MODEL] = "agentchat-model",
    [AC_NOTE_STATUS] = "agentchat-status",
    [AC_NOTE_ERROR] = "agentchat-error",
    [AC_NOTE_TOKENS_IN] = "agentchat-tokens-in",
    [AC_NOTE_TOKENS_OUT] = "agentchat-tokens-out",
    [AC_NOTE_TOKENS_CACHED] = "agentchat-tokens-cached",
    [AC_NOTE_COST] = "agentchat-cost",
    [AC_NOTE_CURRENCY] = "agentchat-currency",
    [AC_NOTE_FIRST_TOKEN] = "agentchat-first-token-ms",
    [AC_NOTE_STORE] = "agentchat-store-ms",
    [AC_NOTE_TRACE] = "agentchat-trace",
    [AC_NOTE_PROTOCOL] = "agentchat-protocol",
    [AC_N_NOTES] = NULL,
};

static void access_notes_text(request_rec *r, ac_access_note_e note, const char *text)
{
    if (text && *text) {
        apr_table_set(r->notes, ac_access_notes[note], text);
    }
}

static void access_notes_number(request_rec *r, ac_access_note_e note, int64_t value)
{
    access_notes_text(r, note, apr_psprintf(r->pool, "%" PRId64, value));
}

/* Rounded up: a store that answered in half a millisecond was used. */
static void access_notes_ms(request_rec *r, ac_access_note_e note, apr_interval_time_t value)
{
    if (value > 0) {
        access_notes_number(r, note, (value + 999) / 1000);
    }
}

static void note_run(request_rec *r, const ac_run_facts_t *facts)
{
    char cost[AC_AMOUNT_SIZE];
    access_notes_text(r, AC_NOTE_RUN, facts->run_id);
    access_notes_text(r, AC_NOTE_THREAD, facts->thread_id);
    access_notes_text(r, AC_NOTE_AGENT, facts->agent);
    access_notes_text(r, AC_NOTE_MODEL, facts->model);
    access_notes_text(r, AC_NOTE_STATUS, facts->status);
    access_notes_text(r, AC_NOTE_ERROR, facts->error ? ac_err_row(facts->error)->code : NULL);
    access_notes_ms(r, AC_NOTE_FIRST_TOKEN, facts->first_token);
    if (!facts->usage.total) {
        return;
    }
    access_notes_number(r, AC_NOTE_TOKENS_IN, facts->usage.prompt);
    access_notes_number(r, AC_NOTE_TOKENS_OUT, facts->usage.completion);
    access_notes_number(r, AC_NOTE_TOKENS_CACHED, facts->usage.cached);
    if (facts->currency[0]) {
        ac_text_amount(cost, facts->cost);
        access_notes_text(r, AC_NOTE_COST, cost);
        access_notes_text(r, AC_NOTE_CURRENCY, facts->currency);
    }
}

int ac_access_notes_set(request_rec *r)
{
    const ac_request_t *rq = ac_request_get(r);
    ac_run_facts_t facts = {.status = NULL};
    while (r->next) {
        r = r->next; /* the access log reads the notes of the last internal redirect */
    }
    if (!rq) {
        return DECLINED;
    }
    if (rq->summary) {
        ac_run_summary_get(rq->summary, &facts);
    }
    if (!facts.run_id[0] && rq->followed) {
        access_notes_text(r, AC_NOTE_RUN, rq->followed);
    }
    note_run(r, &facts);
    access_notes_ms(r, AC_NOTE_STORE, rq->store_time + facts.store);
    access_notes_text(r, AC_NOTE_TRACE, rq->trace.trace_id);
    access_notes_text(r, AC_NOTE_PROTOCOL, rq->route ? ac_metrics_protocol(ac_protocol_id(rq->route)) : NULL);
    return DECLINED;
}
