/* SPDX-License-Identifier: Apache-2.0 */
/* A parked stream holds no thread. The loop thread writes to its client without ever waiting; the MPM polls the
 * connection and sees when the client goes. park_hooks.c is the server's side. */
#include "stream_internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <apr_atomic.h>
#include "apr_strings.h"
#include "http_connection.h"

APLOG_USE_MODULE(agentchat);

#define FLUSHES_PER_TURN 8                 /* of AC_FLUSH_MAX, before other streams have their turn */
#define RETRY_WRITE apr_time_from_msec(20) /* if a full socket cannot be watched */
#define DEFER_MAX apr_time_from_msec(200)  /* for one of the wakeups that may be pending at the same time */
#define TRIM_AFTER apr_time_from_sec(1)    /* a shorter stream needs its memory again soon */
#define FINISH_WAIT apr_time_from_sec(30)  /* for a worker to end a finished request; then the loop thread does */

static ac_parked_t *first_deferred, *last_deferred; /* loop thread: streams whose end waits for a wakeup, in order */
static volatile apr_uint32_t n_deferred;

static void park_on_timer(void *baton);
static void park_on_ready(void *baton);

/* ---- the object ---- */

static void free_parked(ac_stream_t *stream)
{
    ac_parked_t *parked = (ac_parked_t *)stream;
    if (parked->watch_fd >= 0) {
        close(parked->watch_fd);
    }
    if (parked->stream.source.baton) {
        parked->stream.source.drop(parked->stream.source.baton);
    }
    ac_stream_cleanup(stream);
    pthread_mutex_destroy(&parked->lock);
    free(parked);
}

static void leave_deferred(ac_parked_t *parked)
{
    if (!parked->deferred) {
        return;
    }
    parked->deferred = false;
    apr_atomic_dec32(&n_deferred);
    *(parked->prev_deferred ? &parked->prev_deferred->next_deferred : &first_deferred) = parked->next_deferred;
    *(parked->next_deferred ? &parked->next_deferred->prev_deferred : &last_deferred) = parked->prev_deferred;
    parked->next_deferred = parked->prev_deferred = NULL;
}

/* The loop thread is done with the stream. */
static void park_leave_loop(ac_parked_t *parked)
{
    ac_loop_t *loop = parked->stream.child->loop;
    if (!parked->started || parked->released) {
        return;
    }
    parked->released = true;
    leave_deferred(parked);
    ac_channel_leave(&parked->stream.follower);
    ac_loop_ready_cancel(loop, &parked->ready);
    ac_timer_cancel(loop, &parked->timer);
    ac_loop_watch_cancel(loop, &parked->watch);
    if (parked->watch_fd >= 0) {
        close(parked->watch_fd);
        parked->watch_fd = -1;
    }
    ac_stream_unref(&parked->stream);
}

/* ---- writing: with the lock held, while the loop thread owns the connection ---- */

/* The client is gone or is dropped: its request ends, its run continues. The MPM then closes the connection. */
static void park_abort(ac_parked_t *parked)
{
    parked->c->aborted = 1;
    ac_park_conn_end_request(parked);
    ac_park_thread_wake(parked);
}

static void drop_slow(ac_parked_t *parked, const char *why)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    ac_log_request(AC_M610, APR_SUCCESS, parked->r,
                   "request[%s]: dropped a client that reads too slowly (%s); its run continues",
                   parked->stream.request_id, why);
    /* Without this the kernel would keep the client's bytes for minutes. */
    setsockopt(parked->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    parked->stream.dropped = true;
    park_abort(parked);
}

/* As many wakeups are pending as may be: the end of this stream waits for one of them to be answered. */
static void defer_end(ac_parked_t *parked)
{
    ac_loop_t *loop = parked->stream.child->loop;
    if (parked->deferred) {
        return;
    }
    if (!parked->deferred_until) {
        parked->deferred_until = ac_loop_now(loop) + DEFER_MAX;
        ac_timer_set(loop, &parked->timer, parked->deferred_until, park_on_timer, parked);
    }
    parked->deferred = true;
    apr_atomic_inc32(&n_deferred);
    parked->prev_deferred = last_deferred;
    *(last_deferred ? &last_deferred->next_deferred : &first_deferred) = parked;
    last_deferred = parked;
}

/* Hands as many bytes to httpd as the socket takes. A wakeup goes with the last bytes, so that a worker ends the
 * request, and with other bytes when half of Timeout is over, so that the MPM starts it again. */
static void flush_output(ac_parked_t *parked)
{
    ac_stream_t *stream = &parked->stream;
    conn_rec *c = parked->c;
    int n = 0;
    while (ac_stream_has_output(stream) && !c->data_in_output_filters && !c->aborted) {
        apr_time_t now = ac_loop_now(stream->child->loop);
        bool last = ac_stream_output_is_last(stream);
        if (n++ == FLUSHES_PER_TURN) {
            ac_loop_ready_set(stream->child->loop, &parked->ready, park_on_ready, parked);
            return;
        }
        if (!parked->wakeup_pending && !parked->no_wakeup && (last || now - parked->given_at >= parked->timeout / 2)) {
            ac_park_wakeup_request(parked, parked->deferred_until && now >= parked->deferred_until);
        }
        bool end = !last || parked->wakeup_pending || parked->no_wakeup;
        /* The events of a stream are sent at once; only EOS waits for a wakeup. A document has no end but its bytes. */
        if (!end && (stream->response != AC_RESPONSE_STREAM || stream->out.len == stream->out_start)) {
            defer_end(parked);
            return;
        }
        if (ac_stream_output_flush(stream, parked->r, parked->brigade, end) != APR_SUCCESS) {
            c->aborted = 1;
        }
        parked->written_at = parked->progress_at = ac_loop_now(stream->child->loop);
    }
}

/* All is sent. The worker that a wakeup brings ends the request as any other. Without a wakeup, or if none comes
 * (now), the loop thread does, and the connection is closed: the MPM would not learn that it may be kept alive. */
static void end_sent(ac_parked_t *parked, bool now)
{
    ac_loop_t *loop = parked->stream.child->loop;
    if (!parked->wakeup_pending || parked->no_wakeup || now) {
        /* A thread that stays with a half-closed client ends the request itself. */
        if (parked->thread_fd < 0 || now) {
            ac_park_conn_end_request(parked);
        }
        ac_park_thread_wake(parked);
    } else if (!parked->finish_due) {
        parked->finish_due = ac_loop_now(loop) + FINISH_WAIT;
        ac_timer_set(loop, &parked->timer, parked->finish_due, park_on_timer, parked);
    }
}

static void on_writable(void *baton, uint32_t events);

static void watch_socket(ac_parked_t *parked)
{
    ac_loop_t *loop = parked->stream.child->loop;
    if (parked->watch_fd < 0) {
        parked->watch_fd = fcntl(parked->fd, F_DUPFD_CLOEXEC, 0);
    }
    apr_status_t status = parked->watch_fd < 0
        ? APR_EGENERAL
        : ac_loop_watch_set(loop, &parked->watch, parked->watch_fd, EPOLLOUT | EPOLLONESHOT, on_writable, parked);
    apr_time_t due = parked->progress_at + parked->timeout;
    if (status != APR_SUCCESS && due > ac_loop_now(loop) + RETRY_WRITE) {
        due = ac_loop_now(loop) + RETRY_WRITE;
    }
    if (!parked->timer.slot || parked->timer.due > due) {
        ac_timer_set(loop, &parked->timer, due, park_on_timer, parked);
    }
}

static void write_output(ac_parked_t *parked)
{
    ac_stream_t *stream = &parked->stream;
    conn_rec *c = parked->c;
    if (c->data_in_output_filters) {
        ac_park_conn_flush(c);
    }
    if (stream->overflow) {
        drop_slow(parked, "its buffer is full");
        return;
    }
    flush_output(parked);
    if (stream->eos_sent) {
        leave_deferred(parked);
    }
    if (!parked->trimmed && ac_loop_now(stream->child->loop) - parked->begun_at >= TRIM_AFTER) {
        parked->trimmed = true;
        ac_park_conn_trim(parked);
    }
    parked->socket_full = c->data_in_output_filters;
    if (stream->out.len == stream->out_start) {
        ac_stream_checkpoint(stream);
    } else if (parked->socket_full && stream->bytes_written >= stream->preamble_len) {
        ac_stream_rewind(stream);
    }
    if (c->aborted) {
        park_abort(parked);
    } else if (parked->socket_full) {
        watch_socket(parked);
    } else if (stream->eos_sent) {
        end_sent(parked, false);
    } else if (ac_stream_has_room(stream)) {
        ac_follower_resume(&stream->follower);
    }
}

/* ---- callbacks of the loop ---- */

/* Calls fn if the loop thread owns the connection and the request has not ended. */
static void with_connection(ac_parked_t *parked, void (*fn)(ac_parked_t *parked))
{
    pthread_mutex_lock(&parked->lock);
    if (parked->r && parked->owner == AC_OWNER_LOOP) {
        fn(parked);
    }
    bool over = !parked->r;
    pthread_mutex_unlock(&parked->lock);
    if (over) {
        park_leave_loop(parked);
    }
}

static void park_on_ready(void *baton)
{
    with_connection(baton, write_output);
}

static void on_writable(void *baton, uint32_t events)
{
    ac_parked_t *parked = baton;
    if (!(events & (EPOLLOUT | EPOLLHUP))) {
        /* The error queue has the timestamp of a wakeup: a worker empties it and gives the connection back. */
        return;
    }
    parked->progress_at = ac_loop_now(parked->stream.child->loop);
    with_connection(parked, write_output);
}

static bool park_has_room(ac_follower_t *follower)
{
    const ac_parked_t *parked = (ac_parked_t *)((char *)follower - offsetof(ac_parked_t, stream.follower));
    return !parked->socket_full && ac_stream_has_room(&parked->stream);
}

/* Events that the client cannot take now stay in the run's log, if it has one. */
static void park_on_event(ac_follower_t *follower, ac_event_t *event)
{
    ac_parked_t *parked = (ac_parked_t *)((char *)follower - offsetof(ac_parked_t, stream.follower));
    ac_stream_t *stream = &parked->stream;
    bool room = park_has_room(follower);
    ac_loop_ready_set(stream->child->loop, &parked->ready, park_on_ready, parked);
    if (!room && event->seq && ac_stream_rewind(stream)) {
        return;
    }
    /* A client that has room gets an event of any length if a log has it. */
    size_t most = room && follower->run_id[0] ? AC_MAX_JSON_TEXT : stream->max_waiting;
    stream->out.max = most > stream->out.len ? most : stream->out.len;
    ac_stream_render(stream, event);
}

/* ---- time ---- */

/* When the stream has to send something without an event; 0: never. With the lock held. */
static apr_time_t heartbeat_due(const ac_parked_t *parked)
{
    const ac_stream_t *stream = &parked->stream;
    if (!stream->render.dialect->stream || stream->ended) {
        return 0;
    }
    apr_time_t due = stream->heartbeat > 0 ? parked->written_at + stream->heartbeat : 0;
    if (stream->head_sent && !parked->no_wakeup && !parked->wakeup_pending) {
        apr_time_t wakeup_due = parked->given_at + parked->timeout * 3 / 4;
        due = due && due < wakeup_due ? due : wakeup_due;
    }
    return due;
}

static void check_times(ac_parked_t *parked)
{
    apr_time_t now = ac_loop_now(parked->stream.child->loop);
    apr_time_t heartbeat = heartbeat_due(parked);
    if (parked->socket_full && now >= parked->progress_at + parked->timeout) {
        drop_slow(parked, "it took nothing for as long as Timeout says");
        return;
    }
    if (parked->finish_due && !parked->socket_full && now >= parked->finish_due) {
        end_sent(parked, true);
        return;
    }
    if (!parked->socket_full && heartbeat && now >= heartbeat && !ac_stream_has_output(&parked->stream)) {
        ac_stream_heartbeat(&parked->stream);
        parked->written_at = now;
    }
    write_output(parked);
}

/* When the timer has to fire next; 0: never. Writing does not move the timer, which looks again when it fires. */
static apr_time_t next_due(ac_parked_t *parked)
{
    pthread_mutex_lock(&parked->lock);
    apr_time_t due = heartbeat_due(parked);
    pthread_mutex_unlock(&parked->lock);
    if (parked->socket_full) {
        return parked->watch.slot ? parked->progress_at + parked->timeout : ac_loop_now(parked->stream.child->loop);
    }
    if (parked->finish_due) {
        return parked->finish_due;
    }
    return parked->deferred_until ? parked->deferred_until : due;
}

static void park_on_timer(void *baton)
{
    ac_parked_t *parked = baton;
    ac_loop_t *loop = parked->stream.child->loop;
    ac_stream_ref(&parked->stream);
    with_connection(parked, check_times);
    if (!parked->released) {
        apr_time_t due = next_due(parked);
        apr_time_t soon = ac_loop_now(loop) + RETRY_WRITE;
        if (due) {
            /* A worker may have the connection at this moment. */
            ac_timer_set(loop, &parked->timer, due > soon ? due : soon, park_on_timer, parked);
        }
    }
    ac_stream_unref(&parked->stream);
}

/* ---- posted by park_hooks.c ---- */

/* Sends as many bytes as the socket takes, and ends the request, so that it is logged. */
static void stop_now(ac_parked_t *parked)
{
    parked->no_wakeup = true;
    write_output(parked);
    if (parked->r && parked->stream.eos_sent && !parked->socket_full) {
        end_sent(parked, true);
    }
    if (parked->r) {
        park_abort(parked);
    }
    ac_park_thread_wake(parked);
}

void ac_park_begin(void *baton)
{
    ac_parked_t *parked = baton;
    ac_stream_t *stream = &parked->stream;
    ac_loop_t *loop = stream->child->loop;
    parked->started = true;
    if (stream->ended) {
        /* The process began to stop meanwhile. */
        with_connection(parked, stop_now);
        return;
    }
    void *source = stream->source.baton;
    stream->source.baton = NULL;
    parked->begun_at = parked->given_at = parked->written_at = parked->progress_at = ac_loop_now(loop);
    stream->source.start(source, loop, &stream->follower);
    apr_time_t due = next_due(parked);
    if (due) {
        ac_timer_set(loop, &parked->timer, due, park_on_timer, parked);
    }
}

/* A wakeup is answered: the next stream that waits for one may end. */
static void continue_deferred(void *baton)
{
    (void)baton;
    ac_parked_t *parked = first_deferred;
    if (parked) {
        leave_deferred(parked);
        with_connection(parked, write_output);
    }
}

void ac_park_continue_post(ac_loop_t *loop)
{
    if (apr_atomic_read32(&n_deferred) > 0) {
        ac_loop_post(loop, continue_deferred, NULL);
    }
}

static void resume_stream(ac_parked_t *parked)
{
    if (parked->probe && ac_stream_output_probe(&parked->stream, parked->r, parked->brigade) != APR_SUCCESS) {
        parked->c->aborted = 1;
    }
    parked->probe = false;
    write_output(parked);
}

void ac_park_resume(void *baton)
{
    ac_parked_t *parked = baton;
    if (!parked->released) {
        parked->given_at = ac_loop_now(parked->stream.child->loop);
        with_connection(parked, resume_stream);
    }
    ac_stream_unref(&parked->stream);
    continue_deferred(NULL);
}

void ac_park_ended(void *baton)
{
    ac_parked_t *parked = baton;
    park_leave_loop(parked);
    ac_stream_unref(&parked->stream);
    continue_deferred(NULL);
}

/* ---- the end of the process ---- */

static void finish_alone(ac_parked_t *parked)
{
    parked->no_wakeup = true;
    write_output(parked);
}

static void park_on_shutdown(ac_stream_t *stream, ac_shutdown_e stage)
{
    ac_parked_t *parked = (ac_parked_t *)stream;
    if (stage == AC_SHUTDOWN_THREADS_ENDED) {
        with_connection(parked, finish_alone);
    }
    if (stage == AC_SHUTDOWN_SOCKETS_CLOSED) {
        ac_park_thread_restore_socket(parked);
    }
}

static bool stop_parked(ac_stream_t *stream)
{
    ac_parked_t *parked = (ac_parked_t *)stream;
    bool live = !stream->eos_sent;
    ac_event_t *event = ac_stream_stopping_event();
    stream->stopped = stream->stopped || live;
    ac_channel_leave(&stream->follower);
    if (event && !stream->ended && !stream->bytes_to_skip) {
        ac_stream_render(stream, event);
    }
    ac_event_unref(event);
    with_connection(parked, stop_now);
    return live;
}

/* ---- in the handler ---- */

static bool park_is_possible(const ac_request_t *rq)
{
    const request_rec *r = rq->r;
    const conn_rec *c = r->connection;
    /* A subrequest, or the target of an internal redirect, is ended by the handler of the first request. */
    return ac_child()->can_park && r->proto_num >= HTTP_VERSION(1, 1) && !r->main && !r->prev && !c->master && c->cs &&
        !c->clogging_input_filters && (rq->body_read || !ap_request_has_body((request_rec *)r)) &&
        ac_park_conn_get(c) && ac_park_filters_never_wait(r);
}

static apr_interval_time_t server_timeout(const request_rec *r)
{
    /* The MPM uses one of the two. */
    apr_interval_time_t mine = r->server->timeout, base = r->connection->base_server->timeout;
    apr_interval_time_t timeout = mine < base ? mine : base;
    return timeout > 0 ? timeout : apr_time_from_sec(60);
}

static int park_start(ac_request_t *rq, const ac_event_source_t *source, const ac_dialect_t *dialect)
{
    ac_child_t *child = ac_child();
    request_rec *r = rq->r;
    if (apr_atomic_inc32(&child->n_parked) >= (apr_uint32_t)child->conf->max_streams) {
        ac_err_set(&rq->err, AC_OVERLOADED, "this server process has as many streams as it may have");
        goto refused;
    }
    ac_parked_t *parked = ac_alloc(sizeof(*parked));
    parked->stream.metric = AC_DELIVERY_PARKED;
    parked->stream.stop = stop_parked;
    parked->stream.on_shutdown = park_on_shutdown;
    parked->stream.free = free_parked;
    parked->stream.follower.on_event = park_on_event;
    parked->stream.follower.has_room = park_has_room;
    parked->c = r->connection;
    parked->r = r;
    parked->conn = ac_park_conn_get(parked->c);
    apr_os_sock_get(&parked->fd, ap_get_conn_socket(parked->c));
    parked->watch_fd = parked->thread_fd = -1;
    parked->brigade = apr_brigade_create(r->pool, parked->c->bucket_alloc);
    parked->timeout = server_timeout(r);
    pthread_mutex_init(&parked->lock, NULL);
    if (ac_stream_init(&parked->stream, rq, source, dialect) != APR_SUCCESS) {
        pthread_mutex_destroy(&parked->lock);
        free(parked);
        goto refused;
    }
    ac_park_conn_attach(parked);
    return SUSPENDED;

refused:
    apr_atomic_dec32(&child->n_parked);
    source->drop(source->baton);
    return ac_reply_problem(rq, NULL);
}

const ac_delivery_t ac_park_delivery = {"parked", park_is_possible, park_start};
