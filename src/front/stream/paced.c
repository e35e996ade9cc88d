/* SPDX-License-Identifier: Apache-2.0 */
/* A paced answer: it has any length and is sent as fast as its client reads. While the client's socket is full, the
 * MPM waits for room in it and no thread does:
 *
 *   handler ── SUSPENDED ──▶ process_connection: state = wait for room (park_wait.c)
 *   room, or the end         process_connection: a worker sends on, until the socket is full or all is sent
 *   Timeout                  resume_connection:  the request ends
 *
 * The loop thread has no part in it, so the connection has no lock. */
#include "stream_internal.h"

#include "apr_portable.h"

APLOG_USE_MODULE(agentchat);

struct ac_paced_t { /* in r->pool */
    request_rec *r;
    ac_conn_t *conn;         /* while it waits for room */
    ac_paced_t *next, *prev; /* all of the child that wait */
    ac_paced_source_t source;
    const char *bytes; /* what the source gave last and httpd does not have yet */
    size_t len;
    bool failed; /* the source */
    apr_bucket_brigade *brigade;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* protects the list */
static ac_paced_t *waiting;

static void enter_list(ac_paced_t *paced)
{
    pthread_mutex_lock(&lock);
    paced->next = waiting;
    if (waiting) {
        waiting->prev = paced;
    }
    waiting = paced;
    pthread_mutex_unlock(&lock);
}

static void leave_list(ac_paced_t *paced)
{
    pthread_mutex_lock(&lock);
    *(paced->prev ? &paced->prev->next : &waiting) = paced->next;
    if (paced->next) {
        paced->next->prev = paced->prev;
    }
    pthread_mutex_unlock(&lock);
}

/* Whether there is a byte to send; asks the source if necessary. */
static bool has_bytes(ac_paced_t *paced)
{
    if (!paced->len && !paced->failed) {
        paced->failed = paced->source.next(paced->source.baton, &paced->bytes, &paced->len) != APR_SUCCESS;
    }
    return paced->len && !paced->failed;
}

/* Gives at most `most` bytes to the filters. A flush makes them pass all on; AGENTCHAT_PARKED removes it. */
static apr_status_t pass_bytes(ac_paced_t *paced, size_t most, bool flush)
{
    request_rec *r = paced->r;
    apr_bucket_alloc_t *alloc = r->connection->bucket_alloc;
    size_t len = paced->len < most ? paced->len : most;
    APR_BRIGADE_INSERT_TAIL(paced->brigade, apr_bucket_transient_create(paced->bytes, len, alloc));
    if (flush) {
        APR_BRIGADE_INSERT_TAIL(paced->brigade, apr_bucket_flush_create(alloc));
    }
    apr_status_t status = ap_pass_brigade(r->output_filters, paced->brigade);
    apr_brigade_cleanup(paced->brigade);
    paced->bytes += len;
    paced->len -= len;
    return status;
}

static void pass_end(ac_paced_t *paced)
{
    request_rec *r = paced->r;
    apr_bucket_alloc_t *alloc = r->connection->bucket_alloc;
    if (paced->failed) { /* the answer has begun: its end has to be missing */
        r->connection->keepalive = AP_CONN_CLOSE;
        APR_BRIGADE_INSERT_TAIL(paced->brigade, ap_bucket_error_create(HTTP_BAD_GATEWAY, NULL, r->pool, alloc));
    }
    APR_BRIGADE_INSERT_TAIL(paced->brigade, apr_bucket_eos_create(alloc));
    /* httpd handles a client that has gone. */
    ap_pass_brigade(r->output_filters, paced->brigade);
    apr_brigade_cleanup(paced->brigade);
}

/* Sends as many bytes as the socket takes. false: it is full, and more follows. */
static bool write_room(ac_paced_t *paced)
{
    conn_rec *c = paced->r->connection;
    while (!c->aborted && has_bytes(paced)) {
        if (c->data_in_output_filters && ac_park_conn_flush(c) != APR_SUCCESS) {
            c->aborted = 1;
        } else if (c->data_in_output_filters) {
            return false;
        } else if (pass_bytes(paced, AC_FLUSH_MAX, true) != APR_SUCCESS) {
            c->aborted = 1;
        }
    }
    pass_end(paced);
    return true;
}

/* The connection that can wait for room, as ac_park_delivery's; NULL: httpd's filters wait for the client. */
static ac_conn_t *conn_that_waits(const request_rec *r, bool body_read)
{
    conn_rec *c = r->connection;
    const ac_child_t *child = ac_child(); /* NULL: out of service */
    bool waits = child && child->can_park && ac_park_wait_for_room_possible() && r->proto_num >= HTTP_VERSION(1, 1) &&
        !r->main && !r->prev && !c->master && c->cs && !c->clogging_input_filters && !r->header_only &&
        (body_read || !ap_request_has_body((request_rec *)r));
    return waits ? ac_park_conn_get(c) : NULL;
}

/* Without memory mappings the core's filter takes a file of any length without waiting, if there is no TLS. */
static void send_file(ac_paced_t *paced)
{
    request_rec *r = paced->r;
    apr_file_t *file = NULL;
    int fd = paced->source.fd;
    apr_os_file_put(&file, &fd, APR_READ, r->pool);
    apr_brigade_insert_file(paced->brigade, file, paced->source.offset, paced->source.len, r->pool);
    for (apr_bucket *b = APR_BRIGADE_FIRST(paced->brigade); b != APR_BRIGADE_SENTINEL(paced->brigade);
         b = APR_BUCKET_NEXT(b)) {
        apr_bucket_file_enable_mmap(b, 0);
    }
    pass_end(paced);
}

static void send_blocking(ac_paced_t *paced)
{
    request_rec *r = paced->r;
    /* mod_http2 may send after the end of the request. */
    if (paced->source.fd >= 0 && !r->connection->master) {
        send_file(paced);
        return;
    }
    while (!r->connection->aborted && !r->header_only && has_bytes(paced) &&
           pass_bytes(paced, paced->len, false) == APR_SUCCESS) {
    }
    pass_end(paced);
}

int ac_paced_send(request_rec *r, bool body_read, const ac_paced_source_t *source)
{
    ac_conn_t *conn = conn_that_waits(r, body_read);
    ac_paced_t *paced = apr_pcalloc(r->pool, sizeof(*paced));
    paced->r = r;
    paced->source = *source;
    paced->brigade = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    if (!conn) {
        send_blocking(paced);
        return OK;
    }
    conn->nonblocking = true;
    if (!write_room(paced)) {
        paced->conn = conn;
        conn->paced = paced;
        enter_list(paced);
        return SUSPENDED;
    }
    conn->nonblocking = false;
    return OK;
}

/* ---- for the owner of the connection; see park_hooks.c ---- */

int ac_paced_continue(ac_conn_t *conn, conn_rec *c)
{
    request_rec *r = conn->paced->r;
    if (!write_room(conn->paced)) {
        ac_park_wait_begin(c, CONN_SENSE_WANT_WRITE);
        return OK;
    }
    ac_paced_forget(conn);
    ap_process_request_after_handler(r); /* sets CONN_STATE_WRITE_COMPLETION, as after any request */
    return OK;
}

void ac_paced_forget(ac_conn_t *conn)
{
    leave_list(conn->paced);
    conn->paced = NULL;
    conn->nonblocking = false;
}

void ac_paced_abort(ac_conn_t *conn, conn_rec *c)
{
    request_rec *r = conn->paced->r;
    c->aborted = 1;
    ac_paced_forget(conn);
    ac_park_conn_pass_end(conn, c, r);
}

void ac_paced_stop_all(void)
{
    while (waiting) {
        ac_paced_abort(waiting->conn, waiting->r->connection);
    }
}
