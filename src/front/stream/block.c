/* SPDX-License-Identifier: Apache-2.0 */
/* A stream with the thread of its handler, if the server cannot park it: other MPMs, HTTP/2, HTTP/1.0. The loop
 * thread hands over events; the handler's thread renders and sends them, and waits for its client no longer than
 * Timeout. */
#include "stream_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <apr_atomic.h>

APLOG_USE_MODULE(agentchat);

#define PART_EVENTS 256 /* may wait for the worker before the loop thread stops reading the log */
#define PART_BYTES 16384
#define LOOK_EVERY apr_time_from_msec(100) /* if only c->aborted says that the client has gone */

typedef struct blocked_t {
    ac_stream_t stream; /* first */
    uint64_t last_seq;  /* loop thread: the last event handed over */
    int wake_fd;
    pthread_mutex_t lock; /* protects the fields below */
    ac_event_t **events;  /* for the worker, in order */
    int n_events, size;
    size_t bytes;         /* of their text */
    bool loop_waits;      /* the loop thread waits until the worker has taken them */
    bool overflow;        /* the client is too slow: events are missing */
    apr_socket_t *socket; /* of its connection; NULL: the worker has sent all */
    int spare_fd;         /* a duplicate of the socket's descriptor, or -1: see duplicate_socket() */
    bool kept;            /* there was a duplicate */
    bool half_closed;     /* the client has sent its end */

    request_rec *r; /* from here on: the worker's */
    apr_bucket_brigade *brigade;
    apr_time_t written_at;
    int signal_fd; /* readable when a signal ends the process, or -1 */
} blocked_t;

static void free_blocked(ac_stream_t *stream)
{
    blocked_t *blocked = (blocked_t *)stream;
    for (int i = 0; i < blocked->n_events; i++) {
        ac_event_unref(blocked->events[i]);
    }
    free(blocked->events);
    if (blocked->wake_fd >= 0) {
        close(blocked->wake_fd);
    }
    if (blocked->signal_fd >= 0) {
        close(blocked->signal_fd);
    }
    if (blocked->spare_fd >= 0) {
        close(blocked->spare_fd);
    }
    pthread_mutex_destroy(&blocked->lock);
    ac_stream_cleanup(stream);
    free(blocked);
}

/* ---- on the loop thread ---- */

/* Adds a reference to event. false: there is no room. With the lock held. */
static bool block_append(blocked_t *blocked, ac_event_t *event)
{
    /* A worker that is not behind gets an event of any length. */
    bool behind = blocked->n_events >= PART_EVENTS || blocked->bytes >= PART_BYTES;
    if (blocked->n_events == AC_MAX_WAITING_EVENTS ||
        (behind && blocked->bytes + event->len > blocked->stream.max_waiting)) {
        return false;
    }
    if (blocked->n_events == blocked->size) {
        int size = blocked->size ? blocked->size * 2 : 16;
        ac_event_t **events = realloc(blocked->events, sizeof(*events) * (size_t)size);
        if (!events) {
            return false;
        }
        blocked->events = events;
        blocked->size = size;
    }
    ac_event_ref(event);
    blocked->events[blocked->n_events++] = event;
    blocked->bytes += event->len;
    return true;
}

static void block_wake(const blocked_t *blocked)
{
    uint64_t one = 1;
    while (write(blocked->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

static void queue_event(blocked_t *blocked, ac_event_t *event)
{
    pthread_mutex_lock(&blocked->lock);
    bool was_empty = !blocked->n_events && !blocked->overflow;
    if (!blocked->overflow && !block_append(blocked, event)) {
        blocked->overflow = true;
    }
    pthread_mutex_unlock(&blocked->lock);
    if (was_empty) {
        block_wake(blocked);
    }
}

/* A worker that is behind gets no more than it can send soon. */
static bool block_has_room(ac_follower_t *follower)
{
    blocked_t *blocked = (blocked_t *)((char *)follower - offsetof(blocked_t, stream.follower));
    pthread_mutex_lock(&blocked->lock);
    bool room = blocked->n_events < PART_EVENTS && blocked->bytes < PART_BYTES;
    blocked->loop_waits = !room;
    pthread_mutex_unlock(&blocked->lock);
    return room;
}

/* What the worker cannot take now stays in the run's log, if it has one. */
static void block_on_event(ac_follower_t *follower, ac_event_t *event)
{
    blocked_t *blocked = (blocked_t *)((char *)follower - offsetof(blocked_t, stream.follower));
    if (!block_has_room(follower) && event->seq &&
        ac_follower_rewind(blocked->stream.child->engine, follower, blocked->last_seq)) {
        return;
    }
    queue_event(blocked, event);
    if (event->seq) {
        blocked->last_seq = event->seq;
    }
    ac_follower_checkpoint(follower);
}

/* The worker has taken all waiting events. */
static void block_on_taken(void *baton)
{
    ac_stream_t *stream = baton;
    ac_follower_resume(&stream->follower);
    ac_stream_unref(stream);
}

static void block_begin(void *baton)
{
    ac_stream_t *stream = baton;
    stream->source.start(stream->source.baton, stream->child->loop, &stream->follower);
}

static void block_leave(void *baton)
{
    ac_stream_t *stream = baton;
    ac_channel_leave(&stream->follower);
    ac_stream_unref(stream);
}

static bool stop_blocked(ac_stream_t *stream)
{
    ac_event_t *event = ac_stream_stopping_event();
    stream->stopped = true;
    if (event) {
        queue_event((blocked_t *)stream, event);
    }
    ac_event_unref(event);
    return true;
}

/* ---- the end of the process ---- */

static void block_on_shutdown(ac_stream_t *stream, ac_shutdown_e stage)
{
    blocked_t *blocked = (blocked_t *)stream;
    apr_os_sock_t fd = -1;
    pthread_mutex_lock(&blocked->lock);
    bool open = blocked->socket && apr_os_sock_get(&fd, blocked->socket) == APR_SUCCESS && fd >= 0;
    if (stage == AC_SHUTDOWN_SOCKETS_CLOSED && blocked->socket && !open && blocked->spare_fd >= 0) {
        /* The connection itself is open still; the server closes this descriptor when it has ended the connection. */
        apr_os_sock_put(&blocked->socket, &blocked->spare_fd, NULL);
        blocked->spare_fd = -1;
    } else if (stage == AC_SHUTDOWN_TIMED_OUT && open) {
        shutdown(fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&blocked->lock);
}

/* Makes a duplicate of the descriptor: at an ungraceful stop the MPM closes it first, and says so afterwards. */
static void duplicate_socket(blocked_t *blocked, conn_rec *c)
{
    apr_os_sock_t fd;
    blocked->socket = ap_get_conn_socket(c->master ? c->master : c);
    if (blocked->socket && apr_os_sock_get(&fd, blocked->socket) == APR_SUCCESS) {
        blocked->spare_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        blocked->kept = blocked->spare_fd >= 0;
    }
}

static apr_status_t count_down(void *n_blocking)
{
    apr_atomic_dec32(n_blocking);
    return APR_SUCCESS;
}

/* The worker has sent all; when the process ends, that has to reach the client first. */
static void leave_socket(blocked_t *blocked)
{
    ac_child_t *child = blocked->stream.child;
    conn_rec *c = blocked->r->connection;
    bool stopping = apr_atomic_read32(&child->stopping);
    pthread_mutex_lock(&blocked->lock);
    if (stopping && c->master) {
        /* mod_http2 still has to send it, and destroys the pool when it has. */
        apr_atomic_inc32(&child->n_blocking);
        apr_pool_cleanup_register(c->pool, (void *)&child->n_blocking, count_down, apr_pool_cleanup_null);
    } else if (stopping && blocked->socket) {
        /* The server would linger on the connection for more input of the client. */
        apr_socket_shutdown(blocked->socket, APR_SHUTDOWN_READ);
    }
    blocked->socket = NULL;
    pthread_mutex_unlock(&blocked->lock);
}

/* ---- signals ---- */

static apr_status_t unblock_signals(void *unused)
{
    sigset_t ends;
    (void)unused;
    ac_child_end_signals(&ends);
    pthread_sigmask(SIG_UNBLOCK, &ends, NULL);
    return APR_SUCCESS;
}

/* Prefork ends its process inside the signal handler, in the middle of any work. So the signals are blocked until
 * the request is over and logged; the returned descriptor is readable when one has come. */
static int block_signals(request_rec *r)
{
    sigset_t ends;
    if (ac_child()->threaded) {
        return -1;
    }
    ac_child_end_signals(&ends);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    apr_pool_cleanup_register(r->pool, NULL, unblock_signals, apr_pool_cleanup_null);
    return signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* ---- on the worker ---- */

static bool send_waiting(blocked_t *blocked)
{
    ac_stream_t *stream = &blocked->stream;
    conn_rec *c = blocked->r->connection;
    while (ac_stream_has_output(stream) && !c->aborted) {
        if (ac_stream_output_flush(stream, blocked->r, blocked->brigade, true) != APR_SUCCESS) {
            c->aborted = 1;
        }
        blocked->written_at = ac_clock();
    }
    return !c->aborted;
}

/* Renders the events that have come, and sends early if they are many. false: events are missing. */
static bool render_waiting(blocked_t *blocked)
{
    uint64_t count;
    while (read(blocked->wake_fd, &count, sizeof(count)) < 0 && errno == EINTR) {
    }
    pthread_mutex_lock(&blocked->lock);
    ac_event_t **events = blocked->events;
    int n = blocked->n_events;
    bool overflow = blocked->overflow, loop_waits = blocked->loop_waits;
    blocked->loop_waits = false;
    blocked->events = NULL;
    blocked->n_events = blocked->size = 0;
    blocked->bytes = 0;
    pthread_mutex_unlock(&blocked->lock);
    if (loop_waits) {
        ac_stream_ref(&blocked->stream);
        ac_loop_post(blocked->stream.child->loop, block_on_taken, blocked);
    }
    for (int i = 0; i < n; i++) {
        ac_stream_render(&blocked->stream, events[i]);
        ac_event_unref(events[i]);
        if (blocked->stream.out.len >= AC_FLUSH_MAX) {
            send_waiting(blocked);
        }
    }
    free(events);
    return !overflow && !blocked->stream.overflow;
}

static apr_interval_time_t block_time_left(const blocked_t *blocked, bool watched)
{
    const ac_stream_t *stream = &blocked->stream;
    apr_interval_time_t left = -1;
    if (stream->heartbeat > 0 && stream->render.dialect->stream && stream->render.dialect->heartbeat) {
        left = blocked->written_at + stream->heartbeat - ac_clock();
        left = left > 0 ? left : 0;
    }
    if (!watched && (left < 0 || left > LOOK_EVERY)) {
        left = LOOK_EVERY;
    }
    return left;
}

/* The client has sent its end. ac_stream_output_probe() finds out whether it still reads. */
static void on_half_close(blocked_t *blocked, int fd)
{
    conn_rec *c = blocked->r->connection;
    blocked->half_closed = true;
    ac_stream_output_set_keepalive(fd, blocked->r->server->timeout);
    if (ac_stream_output_probe(&blocked->stream, blocked->r, blocked->brigade) != APR_SUCCESS) {
        c->aborted = 1;
    }
}

/* Waits for events, the client's end, the time of a heartbeat, or the end of the process. false: the client has
 * gone. */
static bool wait_event(blocked_t *blocked)
{
    conn_rec *c = blocked->r->connection;
    struct pollfd fds[3] = {{.fd = blocked->wake_fd, .events = POLLIN},
                            {.fd = -1},
                            {.fd = blocked->signal_fd, .events = POLLIN}};
    fds[1].events = blocked->half_closed ? 0 : POLLRDHUP;
    /* An HTTP/2 stream has no socket of its own: only c->aborted says that the client has gone. */
    if (!c->master) {
        apr_os_sock_get(&fds[1].fd, ap_get_conn_socket(c));
    }
    apr_interval_time_t left = block_time_left(blocked, fds[1].fd >= 0);
    int n = poll(fds, 3, left < 0 ? -1 : (int)((left + 999) / 1000));
    /* A closed descriptor says nothing about the client: the MPM has closed it, and block_on_shutdown() puts the
     * duplicate in its place. */
    bool closed = !c->master && (fds[1].fd < 0 || (n > 0 && (fds[1].revents & POLLNVAL)));
    if (closed ? !blocked->kept : n > 0 && (fds[1].revents & (POLLHUP | POLLERR))) {
        c->aborted = 1;
    } else if (n > 0 && fds[2].revents) {
        stop_blocked(&blocked->stream);
    } else if (!closed && n > 0 && fds[1].revents) {
        on_half_close(blocked, fds[1].fd);
    }
    return !c->aborted;
}

static void block_serve(blocked_t *blocked)
{
    ac_stream_t *stream = &blocked->stream;
    blocked->written_at = ac_clock();
    while (!stream->ended && wait_event(blocked)) {
        if (!render_waiting(blocked)) {
            ac_log_request(AC_M610, APR_SUCCESS, blocked->r,
                           "request[%s]: dropped a client that reads too slowly "
                           "(its buffer is full); its run continues",
                           stream->request_id);
            stream->dropped = true;
            blocked->r->connection->aborted = 1;
            return;
        }
        if (!ac_stream_has_output(stream) && block_time_left(blocked, true) == 0) {
            ac_stream_heartbeat(stream);
        }
        if (!send_waiting(blocked)) {
            return;
        }
    }
}

static blocked_t *block_create(ac_request_t *rq, const ac_event_source_t *source, const ac_dialect_t *dialect)
{
    blocked_t *blocked = ac_alloc(sizeof(*blocked));
    blocked->stream.metric = AC_DELIVERY_BLOCKING;
    blocked->stream.stop = stop_blocked;
    blocked->stream.on_shutdown = block_on_shutdown;
    blocked->stream.free = free_blocked;
    blocked->stream.follower.on_event = block_on_event;
    blocked->stream.follower.has_room = block_has_room;
    blocked->r = rq->r;
    blocked->brigade = apr_brigade_create(rq->r->pool, rq->r->connection->bucket_alloc);
    blocked->signal_fd = blocked->spare_fd = -1;
    blocked->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (blocked->wake_fd < 0) {
        rq->err.status = errno;
        ac_err_set(&rq->err, AC_OVERLOADED, "file descriptors ran out");
        goto leave;
    }
    pthread_mutex_init(&blocked->lock, NULL);
    duplicate_socket(blocked, rq->r->connection);
    if (ac_stream_init(&blocked->stream, rq, source, dialect) == APR_SUCCESS) {
        /* What waits is counted as events; out has the bytes of one. */
        blocked->stream.out.max = AC_MAX_JSON_TEXT;
        blocked->signal_fd = block_signals(rq->r);
        return blocked;
    }
    pthread_mutex_destroy(&blocked->lock);
    close(blocked->wake_fd);
    if (blocked->spare_fd >= 0) {
        close(blocked->spare_fd);
    }

leave:
    free(blocked);
    return NULL;
}

static int block_start(ac_request_t *rq, const ac_event_source_t *source, const ac_dialect_t *dialect)
{
    ac_child_t *child = ac_child();
    blocked_t *blocked = NULL;
    bool held = ac_blocking_streams_acquire(rq) == APR_SUCCESS;
    apr_atomic_inc32(&child->n_blocking);
    if (held) {
        blocked = block_create(rq, source, dialect);
    }
    if (held && !blocked) {
        ac_blocking_streams_release(rq->r->connection);
    }
    if (!blocked) {
        apr_atomic_dec32(&child->n_blocking);
        source->drop(source->baton);
        return ac_reply_problem(rq, NULL);
    }
    ac_stream_ref(&blocked->stream); /* the loop thread's, until block_leave() */
    ac_loop_post(child->loop, block_begin, blocked);
    block_serve(blocked);
    leave_socket(blocked);
    ac_loop_post(child->loop, block_leave, blocked);
    ac_stream_unref(&blocked->stream);
    ac_blocking_streams_release(rq->r->connection);
    apr_atomic_dec32(&child->n_blocking);
    return OK;
}

const ac_delivery_t ac_block_delivery = {"blocking", NULL, block_start};
