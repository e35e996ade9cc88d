/* SPDX-License-Identifier: Apache-2.0 */
/* A child process, for child.c, child_start.c, child_stop.c and child_purge.c. */
#ifndef AC_CHILD_H
#define AC_CHILD_H

#include "front/config/config.h"

typedef struct ac_child_life_t { /* a child, and what only its start and its stop need */
    ac_child_t child;            /* first */
    apr_pool_t *pool;
    bool store_runs;
    bool graceful;       /* the kind of stop */
    bool stopped, stuck; /* stop_all() was called; the loop did not even run it */
    apr_time_t drained;  /* ac_clock; when runs have to end; 0: not stopping */
    ac_timer_t purge_timer, drain_timer;
    ac_trim_t trim;
} ac_child_life_t;

/* child.c. The child of this process; NULL before everything has started. */
ac_child_life_t *ac_child_life(void);
void ac_child_set(ac_child_life_t *life);

/* child_purge.c. Deletes threads for good, and keys, some time after they were deleted. Loop thread. */
void ac_child_purge_start(ac_child_life_t *life);
void ac_child_purge_cancel(ac_child_life_t *life);

/* child_stop.c. The cleanup of the child's pool, before the connections go. */
apr_status_t ac_child_stop_at_exit(void *life);
/* Ends everything that was started, in the reverse order. The thread that ends the child. */
void ac_child_stop_end(ac_child_life_t *life);

#endif
