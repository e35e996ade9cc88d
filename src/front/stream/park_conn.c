/* SPDX-License-Identifier: Apache-2.0 */
/* The connection of a parked stream, for its owner: the filter that lets the loop thread write without waiting,
 * and the end of a request. park_hooks.c says who owns the connection when. */
#include "stream_internal.h"

#include <sys/socket.h>

#include <apr_atomic.h>
#include "http_connection.h"
#include "mpm_common.h"

APLOG_USE_MODULE(agentchat);

/* mod_logio's, which counts what was sent (%O, %S); NULL where it is not loaded */
static APR_OPTIONAL_FN_TYPE(ap_logio_add_bytes_out) * count_sent;

#define EARLY_MAX (256 * 1024) /* bytes of next requests that may wait while a stream lives */

ac_conn_t *ac_park_conn_get(const conn_rec *c)
{
    ac_conn_t *conn = c->master ? NULL : ap_get_module_config(c->conn_config, &agentchat_module);
    return conn && conn->brigade ? conn : NULL;
}

/* A client may send its next request before this response has ended. The MPM would report that input without end,
 * so the socket stays silent until more than `bytes` have come, or the end. This has to be set before they come:
 * the kernel makes room for so many, and reports input, too, when its room is used up. */
static void set_low_water(int fd, int bytes)
{
    setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
}

void ac_park_conn_attach(ac_parked_t *parked)
{
    set_low_water(parked->fd, EARLY_MAX);
    parked->conn->parked = parked;
    parked->conn->nonblocking = true;
}

void ac_park_conn_detach(ac_conn_t *conn)
{
    ac_parked_t *parked = conn->parked;
    ac_park_wakeup_forget(parked);
    conn->parked = NULL;
    conn->nonblocking = false;
    ac_stream_unref(&parked->stream);
}

void ac_park_conn_reuse(ac_conn_t *conn)
{
    set_low_water(conn->parked->fd, 1);
    apr_atomic_dec32(&conn->parked->stream.child->n_parked);
    ac_park_conn_detach(conn);
}

void ac_park_conn_pass_end(const ac_conn_t *conn, conn_rec *c, request_rec *r)
{
    apr_bucket_brigade *brigade = conn->brigade;
    APR_BRIGADE_INSERT_TAIL(brigade, ap_bucket_eor_create(c->bucket_alloc, r));
    APR_BRIGADE_INSERT_TAIL(brigade, apr_bucket_flush_create(c->bucket_alloc));
    ap_pass_brigade(c->output_filters, brigade);
    /* Ends the request where the filters refused the brigade. */
    apr_brigade_cleanup(brigade);
}

void ac_park_conn_end_request(ac_parked_t *parked)
{
    request_rec *r = parked->r;
    parked->r = NULL;
    ac_park_conn_pass_end(parked->conn, parked->c, r);
    apr_atomic_dec32(&parked->stream.child->n_parked);
}

void ac_park_conn_abort(ac_parked_t *parked)
{
    parked->c->aborted = 1;
    parked->conn->nonblocking = false;
    ac_park_conn_end_request(parked);
}

#define READ_NODE 8192 /* what httpd's core reads into */
#define READ_NODES 2

void ac_park_conn_trim(const ac_parked_t *parked)
{
    apr_allocator_t *allocator = apr_pool_allocator_get(parked->c->pool);
    apr_memnode_t *nodes[READ_NODES];
    /* The allocator frees a node only when it gets it back. */
    apr_allocator_max_free_set(allocator, 1);
    for (int i = 0; i < READ_NODES; i++) {
        nodes[i] = apr_allocator_alloc(allocator, READ_NODE - APR_MEMNODE_T_SIZE);
    }
    for (int i = 0; i < READ_NODES; i++) {
        if (nodes[i]) {
            apr_allocator_free(allocator, nodes[i]);
        }
    }
    apr_allocator_max_free_set(allocator, ap_max_mem_free);
}

/* ---- the filter, directly above the core's ---- */

apr_status_t ac_park_conn_flush(conn_rec *c)
{
    ap_filter_t *last = c->output_filters;
    while (last->next) {
        last = last->next;
    }
    /* The MPM does the same in CONN_STATE_WRITE_COMPLETION: the core keeps what the socket does not take. */
    return last->frec->filter_func.out_func(last, NULL);
}

#define PIECES 16 /* buckets of one write */

/* Sends plain memory straight to the socket while the core's filter holds nothing, which saves a copy and a call
 * of that filter. The core gets what the socket does not take, and all other buckets. */
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

/* The core's filter would make a pool for bytes that it keeps, a page or two of memory for each connection. The head
 * of a response comes by itself, and its first bytes follow at once. false: the core's filter has to keep them. */
static bool hold(const ac_conn_t *conn, apr_bucket_brigade *brigade)
{
    size_t len = 0;
    for (apr_bucket *b = APR_BRIGADE_FIRST(brigade); b != APR_BRIGADE_SENTINEL(brigade); b = APR_BUCKET_NEXT(b)) {
        len += b->length;
        if (!(APR_BUCKET_IS_HEAP(b) || APR_BUCKET_IS_IMMORTAL(b) || APR_BUCKET_IS_TRANSIENT(b)) || len > AC_FLUSH_MAX ||
            apr_bucket_setaside(b, conn->held->p) != APR_SUCCESS) {
            return false;
        }
    }
    APR_BRIGADE_CONCAT(conn->held, brigade);
    return true;
}

/* A FLUSH bucket would make the core's filter wait for a slow client. The filters above have seen it, and have
 * passed their bytes on. */
static apr_status_t filter_out(ap_filter_t *f, apr_bucket_brigade *brigade)
{
    const ac_conn_t *conn = f->ctx;
    bool flush = false;
    APR_BRIGADE_PREPEND(brigade, conn->held);
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
    if (!flush && hold(conn, brigade)) {
        return APR_SUCCESS;
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

/* ---- set-up ---- */

void ac_park_conn_open(ac_conn_t *conn, conn_rec *c)
{
    conn->brigade = apr_brigade_create(c->pool, c->bucket_alloc);
    conn->held = apr_brigade_create(c->pool, c->bucket_alloc);
    ap_add_output_filter("AGENTCHAT_PARKED", conn, NULL, c);
}

static void find_count_sent(void)
{
    count_sent = APR_RETRIEVE_OPTIONAL_FN(ap_logio_add_bytes_out);
}

void ac_park_conn_register(void)
{
    ap_register_output_filter("AGENTCHAT_PARKED", filter_out, NULL, AP_FTYPE_NETWORK - 1);
    ap_hook_optional_fn_retrieve(find_count_sent, NULL, NULL, APR_HOOK_MIDDLE);
}
