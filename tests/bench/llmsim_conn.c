/* SPDX-License-Identifier: Apache-2.0 */
/* llmsim's connections: accepted, written to, closed. */
#include "llmsim.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

void sim_conn_accept(int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        sim_conn_t *conn = calloc(1, sizeof *conn);
        if (!conn) {
            rig_die("out of memory");
        }
        conn->fd = fd;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
        epoll_ctl(sim.epoll, EPOLL_CTL_ADD, fd, &event);
        sim.stats.n_connections++;
    }
}

void sim_conn_close(sim_conn_t *conn)
{
    if (conn->state != SIM_READING) {
        sim.stats.n_aborted++;
    }
    sim_timer_clear(conn);
    sim_stream_release(conn);
    close(conn->fd);
    rig_buf_free(&conn->in);
    rig_buf_free(&conn->out);
    free(conn);
}

void sim_conn_want_write(sim_conn_t *conn, bool on)
{
    if (conn->wants_write == on) {
        return;
    }
    conn->wants_write = on;
    struct epoll_event event = {.events = EPOLLIN | (on ? EPOLLOUT : 0u), .data.ptr = conn};
    epoll_ctl(sim.epoll, EPOLL_CTL_MOD, conn->fd, &event);
}

/* One contiguous write beats an iovec of three small pieces a token. */
bool sim_conn_send(sim_conn_t *conn, const char *data, size_t len)
{
    ssize_t sent = send(conn->fd, data, len, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK) {
            return false;
        }
        sent = 0;
    }
    sim.stats.n_writes++;
    sim.stats.bytes += (uint64_t)sent;
    if ((size_t)sent < len) {
        rig_buf_add(&conn->out, data + sent, len - (size_t)sent);
        sim_conn_want_write(conn, true);
    }
    return true;
}

bool sim_conn_send_scratch(sim_conn_t *conn)
{
    bool ok = sim.scratch.len == 0 || sim_conn_send(conn, sim.scratch.data, sim.scratch.len);
    sim.scratch.len = 0;
    return ok;
}

bool sim_conn_flush(sim_conn_t *conn)
{
    while (conn->out.len) {
        ssize_t n = send(conn->fd, conn->out.data, conn->out.len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
            return false;
        }
        if (n < 0) {
            sim_conn_want_write(conn, true);
            return true;
        }
        sim.stats.bytes += (uint64_t)n;
        rig_buf_shift(&conn->out, (size_t)n);
    }
    rig_buf_free(&conn->out);
    sim_conn_want_write(conn, false);
    return true;
}
