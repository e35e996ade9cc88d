/* SPDX-License-Identifier: Apache-2.0 */
/* A parked stream whose client has sent its end. The client half-closed its connection and still reads, or it has
 * gone; the socket says the same of both until something is sent. The MPM would report the end of input without
 * end, and it has no state in which a connection waits for less than input. So a thread of the server stays with
 * the stream while the loop thread writes on. */
#include "stream_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "apr_portable.h"
#include "http_connection.h"

/* The client has sent its end, and the connection was not reset. */
static bool is_half_closed(int fd)
{
    struct pollfd end = {.fd = fd, .events = POLLRDHUP};
    return poll(&end, 1, 0) > 0 && end.revents == POLLRDHUP;
}

/* The server's descriptor of the connection; -1: the MPM has closed it. */
static int server_fd(const ac_parked_t *parked, apr_socket_t **socket)
{
    apr_os_sock_t fd = -1;
    *socket = ap_get_conn_socket(parked->c);
    return apr_os_sock_get(&fd, *socket) == APR_SUCCESS ? fd : -1;
}

bool ac_park_thread_enter(ac_parked_t *parked)
{
    if (!is_half_closed(parked->fd) || !ac_blocking_streams_acquire_thread()) {
        return false;
    }
    int thread_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), fd = fcntl(parked->fd, F_DUPFD_CLOEXEC, 0);
    if (thread_fd < 0 || fd < 0) {
        close(thread_fd);
        close(fd);
        ac_blocking_streams_release(parked->c);
        return false;
    }
    parked->fd = fd;
    parked->thread_fd = thread_fd;
    parked->no_wakeup = parked->probe = true;
    ac_stream_output_set_keepalive(fd, parked->timeout);
    return true;
}

bool ac_park_thread_wait(const ac_parked_t *parked)
{
    struct pollfd fds[2] = {{.fd = parked->fd}, {.fd = parked->thread_fd, .events = POLLIN}};
    while (poll(fds, 2, -1) <= 0 || !(fds[1].revents & POLLIN)) {
        bool reset = fds[0].revents && !ac_park_wakeup_drain(fds[0].fd);
        if (reset || (fds[0].revents & POLLHUP)) {
            return false;
        }
        fds[0].revents = fds[1].revents = 0;
    }
    return true;
}

void ac_park_thread_leave(ac_parked_t *parked)
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

void ac_park_thread_restore_socket(ac_parked_t *parked)
{
    apr_socket_t *socket;
    pthread_mutex_lock(&parked->lock);
    if (parked->thread_fd >= 0 && server_fd(parked, &socket) < 0) {
        /* The connection itself is open still; the server closes this descriptor when it has ended the connection. */
        apr_os_sock_put(&socket, &parked->fd, NULL);
    }
    pthread_mutex_unlock(&parked->lock);
}

void ac_park_thread_wake(const ac_parked_t *parked)
{
    uint64_t one = 1;
    if (parked->thread_fd < 0) {
        shutdown(parked->fd, SHUT_RD); /* the MPM sees the end of input */
    }
    while (parked->thread_fd >= 0 && write(parked->thread_fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}
