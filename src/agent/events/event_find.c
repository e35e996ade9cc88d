/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the log of a run among those of all children. */
#include "event_log.h"

#include <errno.h>

/* A child takes a log over by renaming it, which can hide the log from one pass: it moves from a place still to come to one already seen.
 * It does so once, when its owner has died. */
#define PASSES 2

/* Whether the log may be there all the same. */
static bool is_short(apr_status_t status)
{
    return status == EMFILE || status == ENFILE || status == ENOMEM;
}

static apr_status_t search_once(ac_event_log_t **plog, const ac_event_dir_t *dir, const char *run_id)
{
    ac_child_key_t children[AC_MAX_CHILDREN];
    apr_status_t found = ac_event_log_open(plog, dir, ac_event_dir_key(dir), run_id), trouble = APR_ENOENT;
    if (found == APR_SUCCESS) {
        return APR_SUCCESS;
    }
    if (is_short(found)) {
        trouble = found;
    }
    int n = ac_event_dir_children(dir, children, AC_MAX_CHILDREN);
    if (n < 0 && is_short(errno)) {
        trouble = errno;
    }
    for (int i = 0; i < n; i++) {
        found = ac_event_log_open(plog, dir, children[i], run_id);
        if (found == APR_SUCCESS) {
            return APR_SUCCESS;
        }
        if (is_short(found)) {
            trouble = found;
        }
    }
    return trouble;
}

apr_status_t ac_event_log_search(ac_event_log_t **plog, const ac_event_dir_t *dir, const char *run_id)
{
    apr_status_t status = APR_ENOENT;
    for (int pass = 0; pass < PASSES && status == APR_ENOENT; pass++) {
        status = search_once(plog, dir, run_id);
    }
    return status;
}

ac_event_log_t *ac_event_log_find(const ac_event_dir_t *dir, const char *run_id)
{
    ac_event_log_t *log;
    ac_event_log_search(&log, dir, run_id);
    return log;
}
