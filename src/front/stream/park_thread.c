/* SPDX-License-Identifier: Apache-2.0 */
/* A parked stream whose client has sent its end. The client half-closed its connection and still reads, or it has gone; the socket says
 * the same of both until something is sent. The end of input would wake the MPM again and again, and the MPM has no state of a connection
 * that waits for less than input and can be left again. So a thread of the server stays with the stream, while the loop goes on writing. */
#include "stream_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "apr_portable.h"
#include "http_connection.h"

void ac_park_thread_wake(const ac_parked_t *parked)
{
    uint64_t one = 1;
    if (parked->thread_fd < 0) {
        shutdown(parked->fd, SHUT_RD); /* the MPM sees the end of input */
    }
    while (parked->thread_fd >= 0 && write(parked->thread_fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

/* Its end has come, and it was not reset. */
static bool is_half_closed(int fd)
{
    struct pollfd end = {.fd = fd, .events = POLLRDHUP};
    return poll(&end, 1, 0) > 0 && end.revents == POLLRDHUP;
}

/* Until the loop calls, or the connection is reset: false. */
static bool wait_in_seat(int fd, int thread_fd)
{
    struct pollfd fds[2] = {{.fd = fd}, {.fd = thread_fd, .events = POLLIN}};
    while (poll(fds, 2, -1) <= 0 || !(fds[1].revents & POLLIN)) {
        if ((fds[0].revents & POLLHUP) || (fds[0].revents && !ac_park_wakeup_drain(fd))) {
            return false;
        }
        fds[0].revents = fds[1].revents = 0;
    }
    return true;
}

/* The server's descriptor of the connection; -1: the MPM has closed it. */
static int server_fd(const ac_parked_t *parked, apr_socket_t **socket)
{
    apr_os_sock_t fd = -1;
    *socket = ap_get_conn_socket(parked->c);
    return apr_os_sock_get(&fd, *socket) == APR_SUCCESS ? fd : -1;
}

void ac_park_thread_restore_socket(ac_parked_t *parked)
{
    apr_socket_t *socket;
    pthread_mutex_lock(&parked->lock);
    if (parked->thread_fd >= 0 && server_fd(parked, &socket) < 0) {
        apr_os_sock_put(&socket, &parked->fd,
                        NULL); /* the connection is as it was; the server closes this one when it has ended it */
    }
    pthread_mutex_unlock(&parked->lock);
}

static void leave_seat(ac_parked_t *parked)
{
    apr_socket_t *socket;
    int fd = server_fd(parked, &socket);
    close(parked->thread_fd);
    parked->thread_fd = -1;
    if (fd < 0) {
        apr_os_sock_put(&socket, &parked->fd, NULL);
    } else if (fd != parked->fd) {
        close(parked->fd);
        parked->fd = fd;
    }
    ac_blocking_streams_release(parked->c);
}

void ac_park_thread_stay(ac_parked_t *parked)
{
    if (!is_half_closed(parked->fd) || !ac_blocking_streams_acquire_thread()) {
        return;
    }
    int thread_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), fd = fcntl(parked->fd, F_DUPFD_CLOEXEC, 0);
    if (thread_fd < 0 || fd < 0) {
        close(thread_fd);
        close(fd);
        ac_blocking_streams_release(parked->c);
        return;
    }
    parked->fd = fd;
    parked->thread_fd = thread_fd;
    parked->no_wakeup = parked->probe = true;
    parked->owner = AC_OWNER_LOOP;
    ac_stream_output_set_keepalive(fd, parked->timeout);
    pthread_mutex_unlock(&parked->lock);
    ac_stream_ref(&parked->stream);
    ac_loop_post(parked->stream.child->loop, ac_park_resume, parked);
    bool there = wait_in_seat(fd, thread_fd);
    pthread_mutex_lock(&parked->lock);
    parked->owner = AC_OWNER_SERVER;
    if (!there) {
        parked->c->aborted = 1;
    }
    leave_seat(parked);
}
