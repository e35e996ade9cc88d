/* SPDX-License-Identifier: Apache-2.0 */
/* The webhook of a run that the store has ended or suspended. */
#include "run_internal.h"

void ac_run_webhook_notify(const ac_engine_t *engine, const char *owner, const json_t *run, const json_t *asks)
{
    const ac_webhook_cause_t cause = {.run = run, .asks = asks, .owner = owner, .now = apr_time_now()};
    if (engine->webhooks) {
        engine->on_webhook(engine->webhooks, &cause);
    }
}
