/* SPDX-License-Identifier: Apache-2.0 */
/* A lock in memory that processes share. It survives a holder that is killed, and a caller waits for it a limited time
 * only. */
#include "io.h"

#include <errno.h>
#include <time.h>

int ac_shared_lock_init(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attr;
    int status = pthread_mutexattr_init(&attr);
    if (!status) {
        status = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
        status = status ? status : pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
        status = status ? status : pthread_mutex_init(lock, &attr);
        pthread_mutexattr_destroy(&attr);
    }
    return status;
}

/* ThreadSanitizer does not know pthread_mutex_clocklock(), and assumes that the lock is not held. */
#ifdef __SANITIZE_THREAD__
#define LOCK_CLOCK CLOCK_REALTIME
#define lock_until(lock, until) pthread_mutex_timedlock(lock, until)
#else
#define LOCK_CLOCK CLOCK_MONOTONIC
#define lock_until(lock, until) pthread_mutex_clocklock(lock, LOCK_CLOCK, until)
#endif

int ac_shared_lock_acquire(pthread_mutex_t *lock, apr_interval_time_t patience)
{
    int status = pthread_mutex_trylock(lock);
    if (status == EBUSY) {
        struct timespec until;
        clock_gettime(LOCK_CLOCK, &until);
        until.tv_sec += patience / APR_USEC_PER_SEC;
        until.tv_nsec += patience % APR_USEC_PER_SEC * 1000;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        status = lock_until(lock, &until);
    }
    if (status == EOWNERDEAD && pthread_mutex_consistent(lock)) {
        status = ENOTRECOVERABLE;
    }
    return status;
}

void ac_shared_lock_release(pthread_mutex_t *lock)
{
    pthread_mutex_unlock(lock);
}
