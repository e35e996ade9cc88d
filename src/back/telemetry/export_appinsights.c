/* SPDX-License-Identifier: Apache-2.0 */
/* Spans and log records as envelopes of Application Insights, and what its answers mean for a batch. */
#include "telemetry.h"

#include <stdio.h>

static void encode_items(void *baton, ac_buf_t *out, const ac_export_batch_t *batch)
{
    for (int i = 0; i < batch->n; i++) {
        if (batch->items[i]->signal == AC_SIGNAL_TRACES) {
            ac_appinsights_span(out, baton, batch->items[i]->what);
        } else {
            ac_appinsights_log(out, baton, batch->items[i]->what);
        }
    }
}

void ac_export_appinsights_judge(ac_export_verdict_t *verdict, const ac_export_answer_t *answer, bool *again, int n)
{
    static const ac_export_result_e results[] = {[AC_APPINSIGHTS_ACCEPTED] = AC_EXPORT_ACCEPTED,
                                                 [AC_APPINSIGHTS_REFUSED] = AC_EXPORT_REFUSED,
                                                 [AC_APPINSIGHTS_AGAIN] = AC_EXPORT_AGAIN,
                                                 [AC_APPINSIGHTS_SOME] = AC_EXPORT_SOME,
                                                 [AC_APPINSIGHTS_ELSEWHERE] = AC_EXPORT_ELSEWHERE};
    ac_appinsights_answer_t said;
    ac_appinsights_answer_read(&said, answer->status, answer->body, answer->len, again, n);
    verdict->result = results[said.result];
    verdict->rejected = (unsigned)said.rejected;
    snprintf(verdict->said, sizeof verdict->said, "%s", said.message);
    if (verdict->result == AC_EXPORT_ELSEWHERE && !ac_appinsights_answer_may_redirect(answer->url, answer->location)) {
        verdict->result = AC_EXPORT_REFUSED;
        snprintf(verdict->said, sizeof verdict->said, "the redirect leads to a host that does not belong to it");
    }
}

static void judge_items(void *baton, ac_export_verdict_t *verdict, const ac_export_answer_t *answer,
                        const ac_export_batch_t *batch)
{
    (void)baton;
    ac_export_appinsights_judge(verdict, answer, verdict->again, batch->n);
}

const ac_export_format_t ac_export_appinsights_format = {.content_type = "application/x-json-stream",
                                                         .encode = encode_items,
                                                         .judge = judge_items};
