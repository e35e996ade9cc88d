/* SPDX-License-Identifier: Apache-2.0 */
/* The children that follow an event log from elsewhere; they stand in its header. */
#include "events_internal.h"

#include <errno.h>
#include <stdio.h>

bool ac_event_watcher_add(ac_event_log_t *log, ac_child_key_t child)
{
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < AC_EVENT_FILE_WATCHERS; i++) {
            ac_event_file_watcher_t *watcher = &log->file->watchers[i];
            uint64_t there = atomic_load(&watcher->child);
            if (pass == 0 ? there == child
                          : there == 0 && atomic_compare_exchange_strong(&watcher->child, &there, child)) {
                atomic_fetch_add(&watcher->n, 1);
                return true;
            }
        }
    }
    return false;
}

void ac_event_watcher_remove(ac_event_log_t *log, ac_child_key_t child)
{
    for (int i = 0; i < AC_EVENT_FILE_WATCHERS; i++) {
        ac_event_file_watcher_t *watcher = &log->file->watchers[i];
        uint64_t there = child;
        if (atomic_load(&watcher->child) != child) {
            continue;
        }
        /* Only the loop of this child changes its own entry. */
        if (atomic_fetch_sub(&watcher->n, 1) == 1) {
            atomic_compare_exchange_strong(&watcher->child, &there, 0);
        }
        return;
    }
}

bool ac_event_watcher_any(const ac_event_log_t *log)
{
    /* Pairs with a child that adds itself and then reads the log: at least one of the two sees the other's write. */
    atomic_thread_fence(memory_order_seq_cst);
    for (int i = 0; i < AC_EVENT_FILE_WATCHERS; i++) {
        if (atomic_load_explicit(&log->file->watchers[i].child, memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

void ac_event_watcher_notify(ac_event_log_t *log, const ac_event_dir_t *dir)
{
    char text[AC_ID_SIZE + 8];
    if (!ac_event_watcher_any(log)) {
        return;
    }
    for (int i = 0; i < AC_EVENT_FILE_WATCHERS; i++) {
        ac_event_file_watcher_t *watcher = &log->file->watchers[i];
        uint64_t child = atomic_load(&watcher->child);
        if (!child) {
            continue;
        }
        int len = snprintf(text, sizeof text, "wake %s", log->file->header.run_id);
        apr_status_t status = ac_event_dir_send(dir, child, text, (size_t)len);
        if (status != APR_SUCCESS && status != EAGAIN && !ac_event_dir_alive(dir, child)) {
            atomic_store(&watcher->n, 0);
            atomic_compare_exchange_strong(&watcher->child, &child, 0);
        }
    }
}
