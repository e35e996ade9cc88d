/* SPDX-License-Identifier: Apache-2.0 */
/* Closes and reopens all connections of the embedded store after the file system failed to release a lock. */
#include "sqlite_internal.h"

#include <stdio.h>
#include <time.h>

#define RENEWAL_PAUSE_FIRST apr_time_from_sec(1) /* doubled with each renewal without success */
#define RENEWAL_PAUSE_LAST apr_time_from_sec(8)

/* ---- SQLite's waits ---- */

/* SQLite waits up to ten seconds for a lock that is never released, without a call of the busy handler. */
static _Thread_local apr_time_t wait_until;

void ac_sqlite_renew_wait_slice(apr_time_t until)
{
    apr_time_t slice = ac_clock() + AC_SQLITE_SLICE;

    wait_until = slice < until ? slice : until;
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
    apr_interval_time_t left = wait_until - ac_clock();

    (void)vfs;
    if (left > 0) {
        apr_sleep(microseconds < left ? microseconds : left);
    }
    return microseconds;
}

void ac_sqlite_renew_vfs_start(ac_sqlite_t *store)
{
    sqlite3_vfs *standard = sqlite3_vfs_find(NULL);

    *store->vfs_name = '\0';
    if (!standard) {
        return;
    }
    store->vfs = *standard;
    store->vfs.pNext = NULL;
    store->vfs.zName = store->vfs_name;
    store->vfs.xSleep = vfs_sleep;
    snprintf(store->vfs_name, sizeof(store->vfs_name), "agentchat-%p", (void *)store);
    if (sqlite3_vfs_register(&store->vfs, 0) != SQLITE_OK) {
        *store->vfs_name = '\0';
    }
}

void ac_sqlite_renew_vfs_stop(ac_sqlite_t *store)
{
    if (*store->vfs_name) {
        sqlite3_vfs_unregister(&store->vfs);
    }
    *store->vfs_name = '\0';
}

/* ---- generations ---- */

bool ac_sqlite_renew_is_due(const ac_sqlite_conn_t *conn)
{
    return conn->generation && conn->generation != conn->store->generation;
}

static bool any_outdated(const ac_sqlite_t *store)
{
    bool outdated = false;

    for (int i = 0; i <= store->n_readers; i++) {
        outdated |= ac_sqlite_renew_is_due(&store->conns[i]);
    }
    return outdated;
}

bool ac_sqlite_renew_enter(ac_sqlite_conn_t *conn, apr_time_t until)
{
    ac_sqlite_t *store = conn->store;
    struct timespec end;
    apr_time_t left, wakes;
    bool entered;

    pthread_mutex_lock(&store->lock);
    while (any_outdated(store) && (left = until - ac_clock()) > 0) {
        wakes = apr_time_now() + left;
        end.tv_sec = apr_time_sec(wakes);
        end.tv_nsec = apr_time_usec(wakes) * 1000;
        pthread_cond_timedwait(&store->closed, &store->lock, &end);
    }
    entered = !any_outdated(store);
    if (entered) {
        conn->generation = store->generation;
    }
    pthread_mutex_unlock(&store->lock);
    return entered;
}

void ac_sqlite_renew_leave(ac_sqlite_conn_t *conn)
{
    pthread_mutex_lock(&conn->store->lock);
    conn->generation = 0;
    pthread_cond_broadcast(&conn->store->closed);
    pthread_mutex_unlock(&conn->store->lock);
}

/* Codes that SQLite returns if the state of a lock of this process is not what SQLite assumes. */
static bool of_locks(int code)
{
    switch (code) {
    case SQLITE_PROTOCOL:
    case SQLITE_IOERR_UNLOCK:
    case SQLITE_IOERR_RDLOCK:
    case SQLITE_IOERR_LOCK:
    case SQLITE_IOERR_SHMLOCK: return true;
    default: return false;
    }
}

void ac_sqlite_renew(ac_sqlite_conn_t *conn, int code)
{
    ac_sqlite_t *store = conn->store;
    bool renews;

    conn->lock_failed |= of_locks(code);
    if ((code & 0xff) != SQLITE_BUSY && !of_locks(code)) {
        return;
    }
    pthread_mutex_lock(&store->lock);
    renews = store->n_threads && conn->generation == store->generation && ac_clock() >= store->next_renewal;
    if (renews) {
        store->generation++;
        store->renewal_pause = store->renewal_pause ? 2 * store->renewal_pause : RENEWAL_PAUSE_FIRST;
        if (store->renewal_pause > RENEWAL_PAUSE_LAST) {
            store->renewal_pause = RENEWAL_PAUSE_LAST;
        }
        store->next_renewal = ac_clock() + store->renewal_pause;
        pthread_cond_broadcast(&store->asked);
        pthread_cond_broadcast(&store->written);
    }
    pthread_mutex_unlock(&store->lock);
    if (renews) {
        ac_log(AC_M209, 0, "store sqlite[%s]: %s; all connections are closed and reopened", store->path,
               sqlite3_errstr(code));
    }
}
