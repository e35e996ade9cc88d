/* SPDX-License-Identifier: Apache-2.0 */
/* A connection of the load client: its requests one after the other, each to its outcome. */
#include "ssebench.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

const char *const load_outcome_names[LOAD_N_OUTCOMES] = {
    "ok", "connect", "io", "status", "incomplete", "error_event", "timeout", "cut_at_end", "aborted",
};

static void disconnect(load_conn_t *conn)
{
    if (conn->fd >= 0) {
        close(conn->fd);
    }
    conn->fd = -1;
}

static void substitute(rig_buf_t *out, const char *text, const load_conn_t *conn)
{
    for (const char *brace; (brace = strchr(text, '{'));) {
        rig_buf_add(out, text, (size_t)(brace - text));
        if (strncmp(brace, "{thread_id}", 11) == 0) {
            rig_buf_str(out, conn->thread_id);
            text = brace + 11;
        } else if (strncmp(brace, "{n}", 3) == 0) {
            rig_buf_printf(out, "%llu", (unsigned long long)load.tally.n_started);
            text = brace + 3;
        } else {
            rig_buf_add(out, "{", 1);
            text = brace + 1;
        }
    }
    rig_buf_str(out, text);
}

static void build_request(load_conn_t *conn)
{
    const load_options_t *o = &load_options;
    bool setup = load.setting_up;
    rig_buf_t body = {0}, *out = &conn->request;
    if (setup) {
        rig_buf_str(&body, o->setup_body);
    } else {
        substitute(&body, o->body, conn);
    }
    out->len = 0;
    rig_buf_str(out, setup ? "POST" : o->method);
    rig_buf_str(out, " ");
    substitute(out, setup ? o->setup_path : o->path, conn);
    rig_buf_printf(out, " HTTP/1.1\r\nHost: %s\r\nAccept: %s\r\n", o->host,
                   o->plain || setup ? "application/json" : "text/event-stream");
    if (body.len || strcmp(o->method, "POST") == 0) {
        rig_buf_printf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.len);
    }
    for (unsigned i = 0; i < o->n_headers; i++) {
        rig_buf_printf(out, "%s\r\n", o->header[i]);
    }
    rig_buf_str(out, setup || !o->keepalive ? "Connection: close\r\n\r\n" : "\r\n");
    rig_buf_add(out, body.data, body.len);
    rig_buf_free(&body);
}

static void send_request(load_conn_t *conn)
{
    conn->phase = LOAD_SENDING;
    ssize_t n = send(conn->fd, conn->request.data + conn->sent, conn->request.len - conn->sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
        load_conn_finish(conn, LOAD_IO);
        return;
    }
    conn->sent += n > 0 ? (size_t)n : 0;
    if (conn->sent == conn->request.len) {
        conn->phase = LOAD_HEAD;
    }
}

static void open_connection(load_conn_t *conn)
{
    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (conn->fd < 0) {
        rig_die("ssebench: socket: %s", strerror(errno));
    }
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    setsockopt(conn->fd, SOL_SOCKET, SO_TIMESTAMPNS, &(int){1}, sizeof(int));
    conn->reused = false;
    conn->phase = LOAD_CONNECTING;
    load.tally.n_connects++;
    const struct sockaddr_in *address = &load_options.address;
    if (connect(conn->fd, (const struct sockaddr *)address, sizeof *address) && errno != EINPROGRESS) {
        load_conn_finish(conn, LOAD_CONNECT);
        return;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = conn};
    epoll_ctl(load.epoll, EPOLL_CTL_ADD, conn->fd, &event);
}

void load_conn_start(load_conn_t *conn)
{
    build_request(conn);
    load.tally.n_started++;
    if (++load.tally.active > load.tally.active_max) {
        load.tally.active_max = load.tally.active;
    }
    conn->start_ns = conn->progress_ns = rig_now_ns();
    conn->close_after = conn->got_bytes = conn->done = conn->failed = conn->trailing = false;
    conn->n_tokens = 0;
    conn->last_stamp = 0;
    conn->sent = conn->head.len = conn->line.len = 0;
    if (conn->fd < 0) {
        open_connection(conn);
    } else {
        conn->reused = true;
        send_request(conn);
    }
}

/* The setup response's "id". */
static void take_thread_id(load_conn_t *conn)
{
    rig_buf_add(&conn->line, "", 1);
    const char *quote = strstr(conn->line.data, "\"id\"");
    quote = quote ? strchr(quote + 4, '"') : NULL;
    size_t len = quote ? strcspn(quote + 1, "\"") : 0;
    if (conn->status / 100 != 2 || len == 0 || len >= sizeof conn->thread_id) {
        rig_die("ssebench: setup: status %d, body %s", conn->status, conn->line.data);
    }
    memcpy(conn->thread_id, quote + 1, len);
    conn->thread_id[len] = 0;
    conn->line.len = 0;
}

static void count_missing(const load_conn_t *conn, load_outcome_e outcome)
{
    unsigned expected = load_options.expect_tokens;
    if (!expected || outcome == LOAD_CUT || outcome == LOAD_ABORTED) {
        return;
    }
    if (conn->n_tokens < expected) {
        load.tally.n_lost += expected - conn->n_tokens;
    }
    if (conn->n_tokens > expected) {
        load.tally.n_surplus += conn->n_tokens - expected;
    }
}

void load_conn_finish(load_conn_t *conn, load_outcome_e outcome)
{
    /* A kept connection that the server closed just now is not an error. */
    if (outcome != LOAD_OK && conn->reused && !conn->got_bytes && outcome != LOAD_CUT && outcome != LOAD_TIMED_OUT) {
        disconnect(conn);
        conn->sent = 0;
        load.tally.n_reconnects++;
        open_connection(conn);
        return;
    }
    if (load.setting_up && outcome != LOAD_OK) {
        rig_die("ssebench: setup failed: %s", load_outcome_names[outcome]);
    }
    if (load.setting_up) {
        take_thread_id(conn);
    }
    conn->phase = LOAD_IDLE;
    load.tally.active--;
    load.tally.outcome[outcome]++;
    load.last_end_ns = rig_now_ns();
    if (outcome == LOAD_OK) {
        rig_hist_add(&load.tally.latency, load.last_end_ns - conn->start_ns);
    }
    count_missing(conn, outcome);
    if (outcome != LOAD_OK || conn->close_after || !load_options.keepalive || load.setting_up) {
        disconnect(conn);
    }
    load.ready[load.n_ready++] = conn;
}

/* Reads; *pwhen becomes the CLOCK_MONOTONIC time at which the kernel got the data. So what this client's own wake-up
 * and
 * queue add is not measured. */
static ssize_t receive(uint64_t *pwhen, const load_conn_t *conn, char *bytes, size_t size)
{
    union {
        char room[CMSG_SPACE(sizeof(struct timespec))];
        struct cmsghdr align;
    } control;
    struct iovec part = {bytes, size};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof control,
    };
    ssize_t got = recvmsg(conn->fd, &message, 0);
    *pwhen = rig_now_ns();
    if (got <= 0) {
        return got;
    }
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_TIMESTAMPNS) {
        struct timespec stamp;
        memcpy(&stamp, CMSG_DATA(header), sizeof stamp);
        uint64_t arrived = (uint64_t)stamp.tv_sec * NS_PER_S + (uint64_t)stamp.tv_nsec - load.realtime_offset_ns;
        if (arrived < *pwhen) {
            *pwhen = arrived;
        }
    }
    return got;
}

/* Edge-triggered: a short read has emptied the socket, unless the peer hung up. */
static void on_readable(load_conn_t *conn, bool hung_up)
{
    static char bytes[1 << 16];
    while (conn->fd >= 0) {
        uint64_t now;
        ssize_t n = receive(&now, conn, bytes, sizeof bytes);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return;
        }
        if (n <= 0 && conn->phase == LOAD_IDLE) { /* an idle kept connection */
            disconnect(conn);
            return;
        }
        if (n <= 0) {
            load_response_on_eof(conn);
            return;
        }
        conn->progress_ns = now;
        conn->got_bytes = true;
        load.tally.bytes += (uint64_t)n;
        load_response_take(conn, bytes, (size_t)n, now);
        if (load_options.abort_after && conn->phase != LOAD_IDLE && conn->n_tokens >= load_options.abort_after) {
            load_conn_finish(conn, LOAD_ABORTED);
        }
        if ((size_t)n < sizeof bytes && !hung_up) {
            return;
        }
    }
}

/* false: the connection is not made yet, or failed. */
static bool on_connecting(load_conn_t *conn, uint32_t events)
{
    int failed = 0;
    socklen_t len = sizeof failed;
    getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &failed, &len);
    if (failed) {
        load_conn_finish(conn, LOAD_CONNECT);
        return false;
    }
    if (!(events & EPOLLOUT)) {
        return false;
    }
    send_request(conn);
    return true;
}

void load_conn_on_event(load_conn_t *conn, uint32_t events)
{
    if (conn->phase == LOAD_CONNECTING) {
        if (!on_connecting(conn, events)) {
            return;
        }
    } else if (conn->phase == LOAD_SENDING && events & EPOLLOUT) {
        send_request(conn);
    }
    bool hung_up = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    if (conn->fd >= 0 && conn->phase != LOAD_CONNECTING && (events & EPOLLIN || hung_up)) {
        on_readable(conn, hung_up);
    }
}
