/* SPDX-License-Identifier: Apache-2.0 */
/* The streams of all children as an operator reads them: a few rows beside the metrics of each child. */
#include "metrics_internal.h"

ac_activity_row_t *ac_activity_begin(unsigned delivery, unsigned route)
{
    ac_activity_row_t *rows = ac_metrics_activity();
    for (int i = 0; rows && i < AC_ACTIVITY_ROWS; i++) {
        ac_activity_row_t *row = &rows[i];
        int64_t unused = 0;
        if (atomic_load_explicit(&row->began, memory_order_relaxed) ||
            !atomic_compare_exchange_strong(&row->began, &unused, -1)) {
            continue;
        }
        atomic_store_explicit(&row->bytes, 0, memory_order_relaxed);
        atomic_store_explicit(&row->delivery, delivery, memory_order_relaxed);
        atomic_store_explicit(&row->route, route, memory_order_relaxed);
        atomic_store_explicit(&row->agent, AC_METRIC_OTHER, memory_order_relaxed);
        atomic_store_explicit(&row->state, AC_ACTIVITY_WAITING, memory_order_relaxed);
        atomic_store_explicit(&row->began, apr_time_now(), memory_order_release);
        return row;
    }
    return NULL;
}

void ac_activity_set_state(ac_activity_row_t *row, ac_activity_e state)
{
    if (row) {
        atomic_store_explicit(&row->state, state, memory_order_relaxed);
    }
}

void ac_activity_set_agent(ac_activity_row_t *row, unsigned agent)
{
    if (row) {
        atomic_store_explicit(&row->agent, agent, memory_order_relaxed);
    }
}

/* One thread at a time writes: no addition in one step is needed. */
void ac_activity_add_bytes(ac_activity_row_t *row, size_t bytes)
{
    if (row) {
        uint64_t before = atomic_load_explicit(&row->bytes, memory_order_relaxed);
        atomic_store_explicit(&row->bytes, before + bytes, memory_order_relaxed);
    }
}

void ac_activity_end(ac_activity_row_t *row)
{
    if (row) {
        atomic_store_explicit(&row->began, 0, memory_order_release);
    }
}

/* false: it is free. */
static bool read_row(ac_activity_t *to, const ac_metrics_t *metrics, ac_activity_row_t *row)
{
    static const char *const states[AC_N_ACTIVITIES] = {
        [AC_ACTIVITY_WAITING] = "waiting",     [AC_ACTIVITY_RUNNING] = "running",
        [AC_ACTIVITY_ANSWERING] = "answering", [AC_ACTIVITY_CALLING] = "calling tools",
        [AC_ACTIVITY_ENDED] = "ended",
    };
    unsigned state = atomic_load_explicit(&row->state, memory_order_relaxed);
    to->began = atomic_load_explicit(&row->began, memory_order_acquire);
    to->delivery = ac_metrics_name(metrics, AC_DOMAIN_DELIVERY, row->delivery % metrics->capacity[AC_DOMAIN_DELIVERY]);
    const char *route = ac_metrics_name(metrics, AC_DOMAIN_ROUTE, row->route % metrics->capacity[AC_DOMAIN_ROUTE]);
    const char *blank = strchr(route, ' ');
    to->route = blank ? blank + 1 : route; /* without its protocol */
    to->agent = ac_metrics_name(metrics, AC_DOMAIN_AGENT, row->agent % metrics->capacity[AC_DOMAIN_AGENT]);
    to->state = states[state < AC_N_ACTIVITIES ? state : AC_ACTIVITY_WAITING];
    to->bytes = atomic_load_explicit(&row->bytes, memory_order_relaxed);
    return to->began > 0;
}

int ac_activity_list(ac_activity_t *list, int most, const ac_metrics_reading_t *reading)
{
    int n = 0, block = 0;
    for (const ac_metrics_t *metrics = reading->metrics; metrics; metrics = metrics->before, block++) {
        for (int i = 0; i < reading->n_used[block]; i++) {
            ac_activity_row_t *rows = ac_metrics_activity_of(metrics, i);
            for (int row = 0; reading->lives[block][i] && row < AC_ACTIVITY_ROWS && n < most; row++) {
                list[n].pid = ac_metrics_owner_pid(atomic_load(&ac_metrics_stripe(metrics, i)->owner));
                n += read_row(&list[n], metrics, &rows[row]);
            }
        }
    }
    return n;
}
