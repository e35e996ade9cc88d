/* SPDX-License-Identifier: Apache-2.0 */
/* The server's side of a parked stream: the hooks by which a connection changes hands between the MPM's threads and
 * the loop's, and the filter that lets the loop write without waiting.
 *
 * The handler returns SUSPENDED; our process_connection hook makes a state of it in which the MPM polls the connection
 * for input (park_wait.c); the hook suspend_connection gives it to the loop. Whatever wakes the MPM (the
 * client has gone or sent something, Timeout, a poke of ours) takes it back through resume_connection and into
 * woken(). */
#include "stream_internal.h"

#include <errno.h>
#include <linux/net_tstamp.h>
#include <poll.h>
#include <sys/socket.h>

#include <apr_atomic.h>
#include "ap_mpm.h"
#include "apr_portable.h"
#include "http_connection.h"
#include "mpm_common.h"

APLOG_USE_MODULE(agentchat);

static volatile apr_uint32_t n_wakeups; /* of this process, not answered yet */

/* mod_logio's, which counts what was sent (%O, %S); NULL where it is not loaded */
static APR_OPTIONAL_FN_TYPE(ap_logio_add_bytes_out) * count_sent;

#define EARLY_MAX (256 * 1024) /* bytes of next requests that may wait while a stream lives */

ac_conn_t *ac_park_conn_get(const conn_rec *c)
{
    ac_conn_t *conn = c->master ? NULL : ap_get_module_config(c->conn_config, &agentchat_module);
    return conn && conn->brigade ? conn : NULL;
}

/* A client may send its next request before this one's answer has ended. The MPM would wake us for it for ever, so the socket speaks up
 * only when more than that has come, or the end; until then the bytes wait in the kernel. Now and not when they come: the kernel makes
 * room for so many, and speaks up, too, when its room is taken. */
static void speak_up_behind(int fd, int bytes)
{
    setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
}

void ac_park_conn_attach(ac_parked_t *parked)
{
    speak_up_behind(parked->fd, EARLY_MAX);
    parked->conn->parked = parked;
    parked->conn->nonblocking = true;
}

/* The server's side owns the connection, or the request has ended. */
static void detach(ac_conn_t *conn)
{
    ac_parked_t *parked = conn->parked;
    if (parked->wakeup_pending) {
        /* Nobody waits for the answer any more, and the socket may be closed already. */
        parked->wakeup_pending = false;
        apr_atomic_dec32(&n_wakeups);
    }
    conn->parked = NULL;
    conn->nonblocking = false;
    ac_stream_unref(&parked->stream);
}

/* The request has ended on the server's side: the loop has nothing more to do with the stream. */
static void post_gone(ac_parked_t *parked)
{
    ac_stream_ref(&parked->stream);
    ac_loop_post(parked->stream.child->loop, ac_park_ended, parked);
}

/* ---- the filter, directly above the network filter ---- */

apr_status_t ac_park_conn_flush(conn_rec *c)
{
    ap_filter_t *last = c->output_filters;
    while (last->next) {
        last = last->next;
    }
    /* As the MPM does it in CONN_STATE_WRITE_COMPLETION: what the socket does not take stays where it is. */
    return last->frec->filter_func.out_func(last, NULL);
}

#define PIECES 16 /* of one write */

/* What stands in memory goes straight to the socket while the network filter holds nothing, which saves it a copy and a pass. What the
 * socket does not take, and all that is no plain memory, is left to the network filter. */
static void write_through(const ap_filter_t *f, apr_bucket_brigade *brigade, int fd)
{
    struct iovec pieces[PIECES];
    struct msghdr message = {.msg_iov = pieces};
    if (f->c->data_in_output_filters || f->next->next) {
        return;
    }
    for (apr_bucket *b = APR_BRIGADE_FIRST(brigade); b != APR_BRIGADE_SENTINEL(brigade) && message.msg_iovlen < PIECES;
         b = APR_BUCKET_NEXT(b)) {
        const char *data;
        apr_size_t len;
        bool memory = APR_BUCKET_IS_HEAP(b) || APR_BUCKET_IS_TRANSIENT(b) || APR_BUCKET_IS_IMMORTAL(b) ||
            APR_BUCKET_IS_POOL(b);
        if (!memory || apr_bucket_read(b, &data, &len, APR_NONBLOCK_READ) != APR_SUCCESS) {
            break;
        }
        pieces[message.msg_iovlen++] = (struct iovec){(void *)data, len};
    }
    ssize_t n = message.msg_iovlen ? sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    if (n <= 0) {
        return;
    }
    if (count_sent) {
        count_sent(f->c, n);
    }
    apr_bucket *rest;
    apr_brigade_partition(brigade, n, &rest);
    while (APR_BRIGADE_FIRST(brigade) != rest) {
        apr_bucket_delete(APR_BRIGADE_FIRST(brigade));
    }
}

/* A FLUSH that reached the network filter would wait for a slow client. Those above us have seen it and let go of
 * their bytes. */
static apr_status_t filter_out(ap_filter_t *f, apr_bucket_brigade *brigade)
{
    const ac_conn_t *conn = f->ctx;
    bool flush = false;
    if (!conn->nonblocking) {
        return ap_pass_brigade(f->next, brigade);
    }
    apr_bucket *next;
    for (apr_bucket *b = APR_BRIGADE_FIRST(brigade); b != APR_BRIGADE_SENTINEL(brigade); b = next) {
        next = APR_BUCKET_NEXT(b);
        if (APR_BUCKET_IS_FLUSH(b)) {
            apr_bucket_delete(b);
            flush = true;
        }
    }
    if (flush && conn->parked) {
        write_through(f, brigade, conn->parked->fd);
        if (APR_BRIGADE_EMPTY(brigade) && !f->c->data_in_output_filters) {
            return APR_SUCCESS;
        }
    }
    apr_status_t status = APR_BRIGADE_EMPTY(brigade) ? APR_SUCCESS : ap_pass_brigade(f->next, brigade);
    return status == APR_SUCCESS && flush ? ac_park_conn_flush(f->c) : status;
}

/* ---- the end of a request, and the poke ---- */

void ac_park_conn_end_request(ac_parked_t *parked)
{
    conn_rec *c = parked->c;
    apr_bucket_brigade *brigade = parked->conn->brigade;
    request_rec *r = parked->r;
    parked->r = NULL;
    APR_BRIGADE_INSERT_TAIL(brigade, ap_bucket_eor_create(c->bucket_alloc, r));
    APR_BRIGADE_INSERT_TAIL(brigade, apr_bucket_flush_create(c->bucket_alloc));
    ap_pass_brigade(c->output_filters, brigade);
    /* Ends the request where the filters refused it. */
    apr_brigade_cleanup(brigade);
    apr_atomic_dec32(&parked->stream.child->n_parked);
}

/* Of the server's threads at most so many may be on their way to us: when all are busy, the MPM closes other
 * connections that are kept alive, even those whose next request has already arrived. */
static apr_uint32_t max_wakeups(void)
{
    int threads = 0;
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    return threads >= 8 ? (apr_uint32_t)threads / 4 : 1;
}

void ac_park_wakeup_request(ac_parked_t *parked, bool force)
{
    /* The time stamp of what is sent next arrives in the socket's error queue, and the MPM polls for errors, always. */
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

/* The answer of a poke may come after its stream was looked at, for another reason. Left in the error queue it would wake the MPM
 * for ever, so the queue is emptied whenever a connection that was ever wakeup_pending comes by. */
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

static void end_wakeup(ac_parked_t *parked)
{
    int none = 0;
    if (parked->wakeup_pending) {
        parked->wakeup_pending = false;
        apr_atomic_dec32(&n_wakeups);
        setsockopt(parked->fd, SOL_SOCKET, SO_TIMESTAMPING, &none, sizeof(none));
    }
    ac_park_wakeup_drain(parked->fd);
}

/* ---- what a worker does with a connection it was woken for ---- */

/* Neither bytes that the socket speaks up for, nor the end. */
static bool is_quiet(int fd)
{
    struct pollfd more = {.fd = fd, .events = POLLIN};
    return poll(&more, 1, 0) >= 0 && !(more.revents & (POLLIN | POLLHUP));
}

static void park_conn_end_lost(ac_parked_t *parked)
{
    parked->c->aborted = 1;
    parked->conn->nonblocking = false;
    ac_park_conn_end_request(parked);
}

static int park_conn_finish(ac_parked_t *parked, request_rec *r)
{
    apr_atomic_dec32(&parked->stream.child->n_parked);
    post_gone(parked);
    speak_up_behind(parked->fd, 1);
    detach(parked->conn);
    ap_process_request_after_handler(r); /* CONN_STATE_WRITE_COMPLETION, as after any request */
    return OK;
}

static int woken(conn_rec *c, ac_conn_t *conn)
{
    ac_parked_t *parked = conn->parked;
    pthread_mutex_lock(&parked->lock);
    end_wakeup(parked);
    if (parked->r && !parked->stream.eos_passed && !c->aborted) {
        ac_park_thread_stay(parked);
    }
    if (!parked->r) {
        /* The loop had to end the request, so it closes the connection. */
        pthread_mutex_unlock(&parked->lock);
        detach(conn);
        c->cs->state = CONN_STATE_LINGER;
        return OK;
    }
    if (parked->stream.eos_passed && !c->aborted) {
        request_rec *r = parked->r;
        parked->r = NULL;
        pthread_mutex_unlock(&parked->lock);
        return park_conn_finish(parked, r);
    }
    /* The stream goes on, unless its client has gone, or has sent too much. */
    if (!c->aborted && is_quiet(parked->fd)) {
        pthread_mutex_unlock(&parked->lock);
        ac_park_wait_begin(c);
        return OK;
    }
    park_conn_end_lost(parked);
    pthread_mutex_unlock(&parked->lock);
    post_gone(parked);
    detach(conn);
    c->cs->state = CONN_STATE_LINGER;
    return OK;
}

/* Somebody made something else of our SUSPENDED, and has ended the request. */
static void park_conn_forget_request(ac_conn_t *conn)
{
    conn->parked->r = NULL;
    speak_up_behind(conn->parked->fd, 1);
    apr_atomic_dec32(&conn->parked->stream.child->n_parked);
    detach(conn);
}

/* A connection that is kept alive was woken by a poke's late answer, not by a request: it goes on waiting for one. */
static bool nothing_but_an_answer(conn_rec *c)
{
    apr_os_sock_t fd;
    apr_os_sock_get(&fd, ap_get_conn_socket(c));
    return ac_park_wakeup_drain(fd) && c->keepalive == AP_CONN_KEEPALIVE && !c->data_in_input_filters && is_quiet(fd);
}

/* ---- hooks ---- */

static int process_connection(conn_rec *c)
{
    ac_conn_t *conn = ac_park_conn_get(c);
    if (!conn || conn->inside || !c->cs) {
        return DECLINED;
    }
    if (conn->parked) {
        return woken(c, conn);
    }
    if (conn->had_wakeup && nothing_but_an_answer(c)) {
        c->cs->state = CONN_STATE_WRITE_COMPLETION;
        return OK;
    }
    conn->inside = true;
    int answer = ap_run_process_connection(c);
    conn->inside = false;
    if (conn->parked && answer == OK && c->cs->state == CONN_STATE_SUSPENDED) {
        ac_park_wait_begin(c);
    } else if (conn->parked) {
        park_conn_forget_request(conn);
    }
    return answer;
}

static void suspend_connection(conn_rec *c, request_rec *r)
{
    (void)r;
    ac_conn_t *conn = ac_park_conn_get(c);
    ac_parked_t *parked = conn ? conn->parked : NULL;
    if (!parked) {
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
 * after them: a stream is no idle connection, so it is put back among those that wait. This needs nothing to be sent,
 * as a poke does. The MPM has already counted the connection among those it closes, and does so each time: on a
 * connection that outlives Timeout more than once, its limit on connections gets looser by one. Pokes keep most
 * streams from getting here. */
static void outlive_timeout(ac_parked_t *parked)
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
            park_conn_end_lost(parked);
        }
    }
    pthread_mutex_unlock(&parked->lock);
    if (lost) {
        post_gone(parked);
        detach(conn);
    }
}

/* The connection is being destroyed, and nobody told us. */
static apr_status_t connection_gone(void *baton)
{
    ac_conn_t *conn = baton;
    ac_parked_t *parked = conn->parked;
    if (!parked) {
        return APR_SUCCESS;
    }
    pthread_mutex_lock(&parked->lock);
    parked->owner = AC_OWNER_SERVER;
    bool live = parked->r != NULL;
    if (live) {
        park_conn_end_lost(parked);
    }
    pthread_mutex_unlock(&parked->lock);
    if (live) {
        post_gone(parked);
    }
    detach(conn);
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
    ap_set_module_config(c->conn_config, &agentchat_module, conn);
    if (!child->can_park) {
        return OK;
    }
    conn->brigade = apr_brigade_create(c->pool, c->bucket_alloc);
    ap_add_output_filter("AGENTCHAT_PARKED", conn, NULL, c);
    apr_pool_pre_cleanup_register(c->pool, conn, connection_gone);
    return OK;
}

static void find_count_sent(void)
{
    count_sent = APR_RETRIEVE_OPTIONAL_FN(ap_logio_add_bytes_out);
}

void ac_delivery_register(apr_pool_t *p)
{
    ap_register_output_filter("AGENTCHAT_PARKED", filter_out, NULL, AP_FTYPE_NETWORK - 1);
    ac_blocking_streams_register(p);
    ap_hook_optional_fn_retrieve(find_count_sent, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_pre_connection(pre_connection, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_process_connection(process_connection, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_suspend_connection(suspend_connection, NULL, NULL, APR_HOOK_REALLY_LAST);
    ap_hook_resume_connection(resume_connection, NULL, NULL, APR_HOOK_REALLY_FIRST);
}
