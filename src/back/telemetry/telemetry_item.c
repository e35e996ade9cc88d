/* SPDX-License-Identifier: Apache-2.0 */
/* What is exported: counted, since several exporters may have it. */
#include "telemetry_internal.h"

ac_telemetry_item_t *ac_telemetry_item_create(ac_signal_e signal, void *what, size_t bytes, void (*destroy)(void *what))
{
    ac_telemetry_item_t *item = ac_alloc(sizeof *item);
    item->signal = signal;
    item->what = what;
    item->bytes = bytes;
    item->units = 1;
    item->destroy = destroy;
    atomic_init(&item->refs, 1);
    return item;
}

void ac_telemetry_item_unref(ac_telemetry_item_t *item)
{
    if (atomic_fetch_sub_explicit(&item->refs, 1, memory_order_acq_rel) == 1) {
        if (item->destroy) {
            item->destroy(item->what);
        }
        free(item);
    }
}

void ac_telemetry_item_count_lost(ac_signal_e signal, unsigned units)
{
    ac_metrics_add(AC_METRIC_TELEMETRY_DROPPED, AC_LABELS((unsigned)signal), units);
}
