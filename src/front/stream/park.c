/* SPDX-License-Identifier: Apache-2.0 */
/* A parked stream: no thread waits with it. The loop's thread writes to its client without ever blocking; the server's
 * own thread that polls connections sees when the client goes. park_conn.c has the server's side. */
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

#define PASSES_PER_TURN 8                  /* of AC_FLUSH_MAX, before other streams have their turn */
#define RETRY_WRITE apr_time_from_msec(20) /* where a full socket cannot be watched */
#define DEFER_MAX apr_time_from_msec(200)  /* for one of the threads that may be on their way to us at once */
#define FINISH_WAIT apr_time_from_sec(30)  /* for the server to end a finished request; then the loop does */

static ac_parked_t *first_deferred,
    *last_deferred; /* the loop's thread: whose end waits for a thread to be wakeup_pending */

static void park_on_timer(void *baton);
static void on_ready(void *baton);

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
    if (!parked->held) {
        return;
    }
    parked->held = false;
    *(parked->prev_deferred ? &parked->prev_deferred->next_deferred : &first_deferred) = parked->next_deferred;
    *(parked->next_deferred ? &parked->next_deferred->prev_deferred : &last_deferred) = parked->prev_deferred;
    parked->next_deferred = parked->prev_deferred = NULL;
}

/* The loop has nothing more to do with it. */
static void park_leave_loop(ac_parked_t *parked)
{
    ac_loop_t *loop = parked->stream.child->loop;
    if (!parked->begun || parked->released) {
        return;
    }
    parked->released = true;
    leave_deferred(parked);
    ac_channel_leave(&parked->stream.follower);
    ac_ready_cancel(loop, &parked->ready);
    ac_timer_cancel(loop, &parked->timer);
    ac_watch_cancel(loop, &parked->watch);
    if (parked->watch_fd >= 0) {
        close(parked->watch_fd);
        parked->watch_fd = -1;
    }
    ac_stream_unref(&parked->stream);
}

/* ---- writing; the lock is held and the loop owns the connection ---- */

/* The client is lost, or to be given up: its request ends, its run goes on. The server sees the end of input and
 * closes. */
static void park_cut(ac_parked_t *parked)
{
    parked->c->aborted = 1;
    ac_park_conn_end_request(parked);
    ac_park_thread_wake(parked);
}

static void drop_slow(ac_parked_t *parked, const char *why)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    ac_log_request(AC_M610, APR_SUCCESS, parked->r,
                   "request[%s]: dropped a client that reads too slowly (%s); its run "
                   "goes on",
                   parked->stream.request_id, why);
    /* What the kernel still holds for it would be held for minutes. */
    setsockopt(parked->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    park_cut(parked);
}

static void defer_end(ac_parked_t *parked)
{
    ac_loop_t *loop = parked->stream.child->loop;
    if (parked->held) {
        return;
    }
    if (!parked->deferred_until) {
        parked->deferred_until = ac_loop_now(loop) + DEFER_MAX;
        ac_timer_set(loop, &parked->timer, parked->deferred_until, park_on_timer, parked);
    }
    parked->held = true;
    parked->prev_deferred = last_deferred;
    *(last_deferred ? &last_deferred->next_deferred : &first_deferred) = parked;
    last_deferred = parked;
}

/* Lets the next bytes wake the server: while the stream lives, before Timeout is over, so that it begins anew; and
 * with the last ones, so that a thread of the server ends the request. false: these have to wait for a thread. */
static bool poke(ac_parked_t *parked)
{
    apr_time_t now = ac_loop_now(parked->stream.child->loop);
    bool last = ac_stream_output_is_last(&parked->stream);
    if (!parked->wakeup_pending && !parked->no_wakeup && (last || now - parked->given >= parked->timeout / 2)) {
        ac_park_wakeup_request(parked, parked->deferred_until && now >= parked->deferred_until);
    }
    return !last || parked->wakeup_pending || parked->no_wakeup;
}

static void pass_waiting(ac_parked_t *parked)
{
    ac_stream_t *stream = &parked->stream;
    conn_rec *c = parked->c;
    int n = 0;
    while (ac_stream_has_output(stream) && !c->data_in_output_filters && !c->aborted) {
        if (n++ == PASSES_PER_TURN) {
            ac_ready_set(stream->child->loop, &parked->ready, on_ready, parked);
            return;
        }
        bool end = poke(parked);
        /* Of a stream all events go out at once, and what is held is its end. A document has no other end than its
         * bytes. */
        if (!end && (stream->head != AC_RESPONSE_STREAM || stream->out.len == stream->sent)) {
            defer_end(parked);
            return;
        }
        if (ac_stream_output_flush(stream, parked->r, parked->brigade, end) != APR_SUCCESS) {
            c->aborted = 1;
        }
        parked->wrote = parked->progress = ac_loop_now(stream->child->loop);
    }
}

/* All has been sent. A thread of the server that was wakeup_pending ends the request, as any other request. Where there is no
 * poke, or none comes, the loop does, and closes the connection: the server would not see that it may be kept alive. */
static void end_sent(ac_parked_t *parked, bool now)
{
    ac_loop_t *loop = parked->stream.child->loop;
    if (!parked->wakeup_pending || parked->no_wakeup || now) {
        /* The thread that stays with a half-closed client ends its request. */
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
        : ac_watch_set(loop, &parked->watch, parked->watch_fd, EPOLLOUT | EPOLLONESHOT, on_writable, parked);
    apr_time_t due = parked->progress + parked->timeout;
    if (status != APR_SUCCESS && due > ac_loop_now(loop) + RETRY_WRITE) {
        due = ac_loop_now(loop) + RETRY_WRITE;
    }
    if (!parked->timer.slot || parked->timer.due > due) {
        ac_timer_set(loop, &parked->timer, due, park_on_timer, parked);
    }
}

static void pump(ac_parked_t *parked)
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
    pass_waiting(parked);
    if (stream->eos_passed) {
        leave_deferred(parked);
    }
    parked->full = c->data_in_output_filters;
    if (stream->out.len == stream->sent) {
        ac_stream_checkpoint(stream);
    } else if (parked->full && stream->passed >= stream->lead) {
        ac_stream_rewind(stream);
    }
    if (c->aborted) {
        park_cut(parked);
    } else if (parked->full) {
        watch_socket(parked);
    } else if (stream->eos_passed) {
        end_sent(parked, false);
    } else if (ac_stream_has_room(stream)) {
        ac_follower_ready(&stream->follower);
    }
}

/* ---- what the loop calls ---- */

/* Runs fn where the loop owns a request that has not ended. */
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

static void on_ready(void *baton)
{
    with_connection(baton, pump);
}

static void on_writable(void *baton, uint32_t events)
{
    ac_parked_t *parked = baton;
    if (!(events & (EPOLLOUT | EPOLLHUP))) {
        /* The error queue has our poke's answer. The server empties it and gives the connection back. */
        return;
    }
    parked->progress = ac_loop_now(parked->stream.child->loop);
    with_connection(parked, pump);
}

static bool park_has_room(ac_follower_t *follower)
{
    const ac_parked_t *parked = (ac_parked_t *)((char *)follower - offsetof(ac_parked_t, stream.follower));
    return !parked->full && ac_stream_has_room(&parked->stream);
}

/* What its client cannot take now stays in the run's log, where there is one. */
static void park_on_event(ac_follower_t *follower, ac_event_t *event)
{
    ac_parked_t *parked = (ac_parked_t *)((char *)follower - offsetof(ac_parked_t, stream.follower));
    ac_stream_t *stream = &parked->stream;
    bool room = park_has_room(follower);
    ac_ready_set(stream->child->loop, &parked->ready, on_ready, parked);
    if (!room && event->seq && ac_stream_rewind(stream)) {
        return;
    }
    /* An event that is told for the first time to who is ready for it may be as long as it is. */
    size_t most = room && follower->run_id[0] ? AC_MAX_JSON_TEXT : stream->max_waiting;
    stream->out.max = most > stream->out.len ? most : stream->out.len;
    ac_stream_render(stream, event);
}

/* ---- time ---- */

/* When the stream should say something although no event came. 0: never. With the lock held. */
static apr_time_t beat_due(const ac_parked_t *parked)
{
    const ac_stream_t *stream = &parked->stream;
    if (!stream->render.dialect->stream || stream->ended) {
        return 0;
    }
    apr_time_t due = stream->heartbeat > 0 ? parked->wrote + stream->heartbeat : 0;
    if (stream->head_sent && !parked->no_wakeup && !parked->wakeup_pending) {
        apr_time_t wakeup_due = parked->given + parked->timeout * 3 / 4;
        due = due && due < wakeup_due ? due : wakeup_due;
    }
    return due;
}

static void check_times(ac_parked_t *parked)
{
    apr_time_t now = ac_loop_now(parked->stream.child->loop);
    apr_time_t beat = beat_due(parked);
    if (parked->full && now >= parked->progress + parked->timeout) {
        drop_slow(parked, "it took nothing for as long as Timeout says");
        return;
    }
    if (parked->finish_due && !parked->full && now >= parked->finish_due) {
        end_sent(parked, true);
        return;
    }
    if (!parked->full && beat && now >= beat && !ac_stream_has_output(&parked->stream)) {
        ac_stream_heartbeat(&parked->stream);
        parked->wrote = now;
    }
    pump(parked);
}

/* Writing does not move the timer: when it fires it looks again. */
static apr_time_t next_due(ac_parked_t *parked)
{
    pthread_mutex_lock(&parked->lock);
    apr_time_t due = beat_due(parked);
    pthread_mutex_unlock(&parked->lock);
    if (parked->full) {
        return parked->watch.slot ? parked->progress + parked->timeout : ac_loop_now(parked->stream.child->loop);
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
            /* A connection that a server's thread has just now is looked at again soon. */
            ac_timer_set(loop, &parked->timer, due > soon ? due : soon, park_on_timer, parked);
        }
    }
    ac_stream_unref(&parked->stream);
}

/* ---- what the server's side posts ---- */

/* What fits goes out; then the request ends, so that it is logged. */
static void stop_now(ac_parked_t *parked)
{
    parked->no_wakeup = true;
    pump(parked);
    if (parked->r && parked->stream.eos_passed && !parked->full) {
        end_sent(parked, true);
    }
    if (parked->r) {
        park_cut(parked);
    }
    ac_park_thread_wake(parked);
}

void ac_park_begin(void *baton)
{
    ac_parked_t *parked = baton;
    ac_stream_t *stream = &parked->stream;
    ac_loop_t *loop = stream->child->loop;
    parked->begun = true;
    if (stream->ended) {
        /* The process began to stop in between. */
        with_connection(parked, stop_now);
        return;
    }
    void *source = stream->source.baton;
    stream->source.baton = NULL;
    parked->given = parked->wrote = parked->progress = ac_loop_now(loop);
    stream->source.start(source, loop, &stream->follower);
    apr_time_t due = next_due(parked);
    if (due) {
        ac_timer_set(loop, &parked->timer, due, park_on_timer, parked);
    }
}

/* One of the threads that were on their way has done its work: the next. */
static void next_deferred(void)
{
    ac_parked_t *parked = first_deferred;
    if (parked) {
        leave_deferred(parked);
        with_connection(parked, pump);
    }
}

static void park_go_on(ac_parked_t *parked)
{
    if (parked->probe && ac_stream_output_probe(&parked->stream, parked->r, parked->brigade) != APR_SUCCESS) {
        parked->c->aborted = 1;
    }
    parked->probe = false;
    pump(parked);
}

void ac_park_resume(void *baton)
{
    ac_parked_t *parked = baton;
    if (!parked->released) {
        parked->given = ac_loop_now(parked->stream.child->loop);
        with_connection(parked, park_go_on);
    }
    ac_stream_unref(&parked->stream);
    next_deferred();
}

void ac_park_ended(void *baton)
{
    ac_parked_t *parked = baton;
    park_leave_loop(parked);
    ac_stream_unref(&parked->stream);
    next_deferred();
}

/* ---- the end of the process ---- */

static void go_on_alone(ac_parked_t *parked)
{
    parked->no_wakeup = true;
    pump(parked);
}

static void park_on_shutdown(ac_stream_t *stream, ac_shutdown_e what)
{
    ac_parked_t *parked = (ac_parked_t *)stream;
    if (what == AC_SHUTDOWN_THREADS_ENDED) {
        with_connection(parked, go_on_alone);
    }
    if (what == AC_SHUTDOWN_SOCKETS_CLOSED) {
        ac_park_thread_restore_socket(parked);
    }
}

static bool stop_parked(ac_stream_t *stream)
{
    ac_parked_t *parked = (ac_parked_t *)stream;
    bool live = !stream->eos_passed;
    ac_event_t *event = ac_stream_stopping_event();
    ac_channel_leave(&stream->follower);
    if (event && !stream->ended && !stream->skip) {
        ac_stream_render(stream, event);
    }
    ac_event_unref(event);
    with_connection(parked, stop_now);
    return live;
}

/* ---- the handler's side ---- */

bool ac_park_possible(const ac_request_t *rq)
{
    const request_rec *r = rq->r;
    const conn_rec *c = r->connection;
    /* A request that stands for another one is ended by that one's handler. */
    return ac_child()->can_park && r->proto_num >= HTTP_VERSION(1, 1) && !r->main && !r->prev && !c->master && c->cs &&
        !c->clogging_input_filters && (rq->body_read || !ap_request_has_body((request_rec *)r)) &&
        ac_park_conn_get(c) && ac_park_filters_never_wait(r);
}

static apr_interval_time_t server_timeout(const request_rec *r)
{
    /* Which of the two counts is the MPM's to know. */
    apr_interval_time_t mine = r->server->timeout, base = r->connection->base_server->timeout;
    apr_interval_time_t timeout = mine < base ? mine : base;
    return timeout > 0 ? timeout : apr_time_from_sec(60);
}

int ac_park_deliver(ac_request_t *rq, const ac_event_source_t *source, const ac_dialect_t *dialect)
{
    ac_child_t *child = ac_child();
    request_rec *r = rq->r;
    if (apr_atomic_inc32(&child->n_parked) >= (apr_uint32_t)child->conf->max_streams) {
        ac_err_set(&rq->err, AC_OVERLOADED, "this server process has as many streams as it may have");
        goto refused;
    }
    ac_parked_t *parked = ac_alloc(sizeof(*parked));
    parked->stream.stop = stop_parked;
    parked->stream.ending = park_on_shutdown;
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
