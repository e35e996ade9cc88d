/* SPDX-License-Identifier: Apache-2.0 */
/* A latch: one side waits with a deadline, the other opens it at any time. It is counted, so neither side needs to know
 * whether the other still exists. */
#include "io.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

struct ac_latch_t {
    atomic_uint refs;
    bool open;
    pthread_mutex_t lock;
    pthread_cond_t opened;
};

ac_latch_t *ac_latch_create(void)
{
    ac_latch_t *latch = calloc(1, sizeof(*latch));
    if (!latch) {
        return NULL;
    }
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&latch->lock, NULL);
    pthread_cond_init(&latch->opened, &attr);
    pthread_condattr_destroy(&attr);
    atomic_init(&latch->refs, 1);
    return latch;
}

void ac_latch_ref(ac_latch_t *latch)
{
    atomic_fetch_add_explicit(&latch->refs, 1, memory_order_relaxed);
}

void ac_latch_unref(ac_latch_t *latch)
{
    if (atomic_fetch_sub_explicit(&latch->refs, 1, memory_order_acq_rel) == 1) {
        pthread_cond_destroy(&latch->opened);
        pthread_mutex_destroy(&latch->lock);
        free(latch);
    }
}

void ac_latch_open(ac_latch_t *latch)
{
    pthread_mutex_lock(&latch->lock);
    latch->open = true;
    pthread_cond_broadcast(&latch->opened);
    pthread_mutex_unlock(&latch->lock);
}

bool ac_latch_wait(ac_latch_t *latch, apr_time_t deadline)
{
    /* The condition waits by CLOCK_MONOTONIC, the clock of ac_clock(). */
    struct timespec until = {.tv_sec = 0};
    if (deadline > 0) {
        until.tv_sec = (time_t)(deadline / APR_USEC_PER_SEC);
        until.tv_nsec = (long)(deadline % APR_USEC_PER_SEC) * 1000;
    }
    int status = 0;
    pthread_mutex_lock(&latch->lock);
    while (!latch->open && status == 0) {
        status = pthread_cond_timedwait(&latch->opened, &latch->lock, &until);
    }
    bool open = latch->open;
    pthread_mutex_unlock(&latch->lock);
    return open;
}
