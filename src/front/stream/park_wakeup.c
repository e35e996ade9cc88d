/* SPDX-License-Identifier: Apache-2.0 */
/* How the loop thread makes a worker of the MPM look at a parked connection. httpd has no function for it. But the MPM
 * polls the socket, poll() always reports errors, and the kernel puts the timestamp of sent bytes into the socket's
 * error queue:
 *
 *   loop thread   SO_TIMESTAMPING on ── sendmsg ──▶ kernel
 *   kernel        timestamp into the error queue ── EPOLLERR ──▶ MPM
 *   worker        resume_connection (waits for parked->lock) ── SO_TIMESTAMPING off, queue emptied ── ends the request
 *
 * docs/internals/parked-streams.md has the races. */
#include "stream_internal.h"

#include <linux/net_tstamp.h>
#include <sys/socket.h>

#include <apr_atomic.h>
#include "ap_mpm.h"

static volatile apr_uint32_t n_wakeups; /* of this process: requested, and not answered yet */

/* When all workers are busy, the MPM closes connections that are kept alive, even those whose next request has
 * already arrived. So no more than a part of the workers may be woken at the same time. */
static apr_uint32_t max_wakeups(void)
{
    int threads = 0;
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    return threads >= 8 ? (apr_uint32_t)threads / 4 : 1;
}

void ac_park_wakeup_request(ac_parked_t *parked, bool force)
{
    int flags = SOF_TIMESTAMPING_TX_SCHED | SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_TSONLY;
    if (!force && apr_atomic_read32(&n_wakeups) >= max_wakeups()) {
        return;
    }
    if (setsockopt(parked->fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof(flags))) {
        parked->no_wakeup = true;
        return;
    }
    apr_atomic_inc32(&n_wakeups);
    parked->wakeup_pending = parked->conn->had_wakeup = true;
}

bool ac_park_wakeup_drain(int fd)
{
    char control[512], data[64];
    for (bool found = false;; found = true) {
        struct iovec io = {data, sizeof(data)};
        struct msghdr message = {.msg_iov = &io,
                                 .msg_iovlen = 1,
                                 .msg_control = control,
                                 .msg_controllen = sizeof(control)};
        if (recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
            return found;
        }
    }
}

void ac_park_wakeup_forget(ac_parked_t *parked)
{
    if (parked->wakeup_pending) {
        parked->wakeup_pending = false;
        apr_atomic_dec32(&n_wakeups);
    }
}

void ac_park_wakeup_end(ac_parked_t *parked)
{
    int none = 0;
    if (parked->wakeup_pending) {
        setsockopt(parked->fd, SOL_SOCKET, SO_TIMESTAMPING, &none, sizeof(none));
    }
    ac_park_wakeup_forget(parked);
    ac_park_wakeup_drain(parked->fd);
}
