/* SPDX-License-Identifier: Apache-2.0 */
/* The hooks through which the connection of a parked stream changes its owner:
 *
 *   handler ── SUSPENDED ──▶ process_connection: state = wait for input (park_wait.c)
 *                            suspend_connection: the loop thread owns it ───────────┐
 *                                                                                   │ events, heartbeats
 *   input, Timeout,          resume_connection:  the worker owns it ◀── the MPM ────┘
 *   or our wakeup            process_connection: woken() ends the request, or waits again
 *
 * The same hooks continue a paced answer (paced.c), whose connection no loop thread gets.
 */
#include "stream_internal.h"

#include <poll.h>

#include "apr_portable.h"
#include "http_connection.h"
#include "mpm_common.h"

APLOG_USE_MODULE(agentchat);

/* The request has ended on the server's side: the loop thread releases the stream. */
static void post_ended(ac_parked_t *parked)
{
    ac_stream_ref(&parked->stream);
    ac_loop_post(parked->stream.child->loop, ac_park_ended, parked);
}

/* Neither more early input than may wait, nor the end of input. */
static bool is_quiet(int fd)
{
    struct pollfd more = {.fd = fd, .events = POLLIN};
    return poll(&more, 1, 0) >= 0 && !(more.revents & (POLLIN | POLLHUP));
}

/* ---- a worker whose connection has an event ---- */

/* The client has sent its end, so the MPM would report input without end: this thread stays while the loop thread
 * writes on. Does nothing where no more threads may be held. With the lock held, which is released meanwhile. */
static void stay_with_half_closed(ac_parked_t *parked)
{
    if (!ac_park_thread_enter(parked)) {
        return;
    }
    parked->owner = AC_OWNER_LOOP;
    pthread_mutex_unlock(&parked->lock);
    ac_stream_ref(&parked->stream);
    ac_loop_post(parked->stream.child->loop, ac_park_resume, parked);
    bool connected = ac_park_thread_wait(parked);
    pthread_mutex_lock(&parked->lock);
    parked->owner = AC_OWNER_SERVER;
    if (!connected) {
        parked->c->aborted = 1;
    }
    ac_park_thread_leave(parked);
}

/* The loop thread has sent all and has only to free the stream, which is not worth waking it. The count of streams that
 * wait for a wakeup is read after the post: the loop thread sees the post before it sleeps, or is woken here. */
static int end_request(ac_parked_t *parked, request_rec *r)
{
    ac_loop_t *loop = parked->stream.child->loop;
    ac_stream_ref(&parked->stream);
    ac_loop_post_later(loop, ac_park_ended, parked);
    ac_park_continue_post(loop);
    ac_park_conn_reuse(parked->conn);
    ap_process_request_after_handler(r); /* sets CONN_STATE_WRITE_COMPLETION, as after any request */
    return OK;
}

static int woken(conn_rec *c, ac_conn_t *conn)
{
    ac_parked_t *parked = conn->parked;
    pthread_mutex_lock(&parked->lock);
    ac_park_wakeup_end(parked);
    if (parked->r && !parked->stream.eos_sent && !c->aborted) {
        stay_with_half_closed(parked);
    }
    request_rec *r = parked->r;
    if (r && parked->stream.eos_sent && !c->aborted) {
        parked->r = NULL;
        pthread_mutex_unlock(&parked->lock);
        return end_request(parked, r);
    }
    if (r && !c->aborted && is_quiet(parked->fd)) {
        pthread_mutex_unlock(&parked->lock);
        ac_park_wait_begin(c, CONN_SENSE_WANT_READ);
        return OK;
    }
    /* The client has gone or has sent too much, or the loop thread had to end the request: the connection is closed. */
    if (r) {
        ac_park_conn_abort(parked);
    }
    pthread_mutex_unlock(&parked->lock);
    if (r) {
        post_ended(parked);
    }
    ac_park_conn_detach(conn);
    c->cs->state = CONN_STATE_LINGER;
    return OK;
}

/* A connection that is kept alive was woken by the late answer to a wakeup, and not by its next request. */
static bool is_late_wakeup(conn_rec *c)
{
    apr_os_sock_t fd;
    apr_os_sock_get(&fd, ap_get_conn_socket(c));
    return ac_park_wakeup_drain(fd) && c->keepalive == AP_CONN_KEEPALIVE && !c->data_in_input_filters && is_quiet(fd);
}

static int process_connection(conn_rec *c)
{
    ac_conn_t *conn = ac_park_conn_get(c);
    if (!conn || conn->inside || !c->cs) {
        return DECLINED;
    }
    if (conn->parked) {
        return woken(c, conn);
    }
    if (conn->paced) {
        return ac_paced_continue(conn, c);
    }
    /* The queue is emptied here, too: a timestamp that stays in it would wake the MPM without end. */
    if (conn->had_wakeup && is_late_wakeup(c)) {
        c->cs->state = CONN_STATE_WRITE_COMPLETION;
        return OK;
    }
    conn->inside = true;
    int answer = ap_run_process_connection(c);
    conn->inside = false;
    if (conn->parked && answer == OK && c->cs->state == CONN_STATE_SUSPENDED) {
        ac_park_wait_begin(c, CONN_SENSE_WANT_READ);
    } else if (conn->parked) {
        /* Another module has changed our SUSPENDED, and has ended the request. */
        conn->parked->r = NULL;
        ac_park_conn_reuse(conn);
    }
    if (conn->paced && answer == OK && c->cs->state == CONN_STATE_SUSPENDED) {
        ac_park_wait_begin(c, CONN_SENSE_WANT_WRITE);
    } else if (conn->paced) {
        ac_paced_forget(conn); /* the same */
    }
    return answer;
}

/* ---- the connection changes its owner ---- */

/* The server closes the connection: its request ends if it has not. */
static void lose_stream(ac_conn_t *conn)
{
    ac_parked_t *parked = conn->parked;
    pthread_mutex_lock(&parked->lock);
    parked->owner = AC_OWNER_SERVER;
    bool live = parked->r != NULL;
    if (live) {
        ac_park_conn_abort(parked);
    }
    pthread_mutex_unlock(&parked->lock);
    if (live) {
        post_ended(parked);
    }
    ac_park_conn_detach(conn);
}

static void suspend_connection(conn_rec *c, request_rec *r)
{
    (void)r;
    ac_conn_t *conn = ac_park_conn_get(c);
    ac_parked_t *parked = conn ? conn->parked : NULL;
    if (!parked) {
        return;
    }
    if (!ac_park_wait_has_begun(c)) {
        /* The MPM's own write has failed: it is about to close the socket, so the loop thread must not get it. */
        lose_stream(conn);
        return;
    }
    pthread_mutex_lock(&parked->lock);
    bool live = parked->r != NULL, first = !parked->ever_given;
    if (live) {
        parked->owner = AC_OWNER_LOOP;
        parked->ever_given = true;
    }
    pthread_mutex_unlock(&parked->lock);
    if (live) {
        ac_stream_ref(&parked->stream);
        ac_loop_post(parked->stream.child->loop, first ? ac_park_begin : ac_park_resume, parked);
    }
}

/* Timeout is over, and the MPM is about to close the connection. It calls the hooks first and looks at the state
 * afterwards: a stream is no idle connection, so its connection goes back to those that wait, without a byte sent.
 * The MPM has already counted the connection among those that it closes, each time; so with a connection that
 * outlives Timeout more than once, its limit on connections gets looser by one. Wakeups keep most streams from
 * getting here. */
static void outlive_timeout(const ac_parked_t *parked)
{
    conn_rec *c = parked->c;
    bool timed_out = c->cs->state == CONN_STATE_LINGER && c->sbh && !c->aborted &&
        !apr_table_get(c->notes, "short-lingering-close");
    if (timed_out) {
        c->cs->state = CONN_STATE_READ_REQUEST_LINE;
    }
}

static void resume_connection(conn_rec *c, request_rec *r)
{
    (void)r;
    ac_conn_t *conn = ac_park_conn_get(c);
    ac_parked_t *parked = conn ? conn->parked : NULL;
    if (conn && conn->paced && c->cs->state == CONN_STATE_LINGER) {
        ac_paced_abort(conn, c); /* the client took nothing for as long as Timeout says */
    }
    if (!parked) {
        return;
    }
    pthread_mutex_lock(&parked->lock);
    parked->owner = AC_OWNER_SERVER;
    ac_park_wait_end(c);
    bool lost = false;
    if (parked->r) {
        outlive_timeout(parked);
        lost = c->cs->state == CONN_STATE_LINGER;
        if (lost) {
            ac_park_conn_abort(parked);
        }
    }
    pthread_mutex_unlock(&parked->lock);
    if (lost) {
        post_ended(parked);
        ac_park_conn_detach(conn);
    }
}

/* The connection's pool is being destroyed, without a call of the hooks. */
static apr_status_t connection_destroyed(void *baton)
{
    ac_conn_t *conn = baton;
    if (conn->parked) {
        lose_stream(conn);
    }
    if (conn->paced) {
        ac_paced_abort(conn, conn->c);
    }
    return APR_SUCCESS;
}

static int pre_connection(conn_rec *c, void *socket)
{
    (void)socket;
    const ac_child_t *child = ac_child();
    if (c->master || c->outgoing || !child) {
        return OK;
    }
    ac_conn_t *conn = apr_pcalloc(c->pool, sizeof(*conn));
    conn->c = c;
    ap_set_module_config(c->conn_config, &agentchat_module, conn);
    if (child->can_park) {
        ac_park_conn_open(conn, c);
        apr_pool_pre_cleanup_register(c->pool, conn, connection_destroyed);
    }
    return OK;
}

void ac_park_hooks_register(void)
{
    ac_park_conn_register();
    ap_hook_pre_connection(pre_connection, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_process_connection(process_connection, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_suspend_connection(suspend_connection, NULL, NULL, APR_HOOK_REALLY_LAST);
    ap_hook_resume_connection(resume_connection, NULL, NULL, APR_HOOK_REALLY_FIRST);
}
