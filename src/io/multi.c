/* SPDX-License-Identifier: Apache-2.0 */
/* curl's multi interface on the loop: curl's sockets are watches, its timer is a timer, its finished transfers are
 * ready tasks. */
#include "io_internal.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

/* curl's work at the start and end of a transfer walks over all connections of its multi handle: with 10,000 in one
 * handle that would be half of all work. */
#define TRANSFERS_PER_SHARD 512
/* Over HTTP/2 one shard is one connection: curl lets transfers wait until the first connection to a host shows whether
 * it can be shared, but opens one more for each transfer that finds it full. More streams on one connection would wait
 * for each other's lost segments, and curl wakes all of them for each read. */
#define STREAMS_PER_SHARD 64
#define IDLE_CONNECTIONS 64                  /* kept for reuse, besides one for each transfer */
#define SHARD_LIFETIME apr_time_from_sec(60) /* of a shard without transfers; its connections are closed with it */
#define SPARE_HANDLES 64

typedef struct ac_shard_t {
    ac_multi_t *multi;
    CURLM *curl;
    bool multiplex;
    ac_timer_t timer;
    ac_ready_t run;   /* curl's timer is due at once */
    ac_ready_t drain; /* a transfer may have ended */
    ac_timer_t unused;
    int n_transfers;
    struct ac_shard_t *next;
} ac_shard_t;

struct ac_multi_t {
    ac_loop_t *loop;
    CURLSH *share;
    ac_shard_t *shards[2]; /* plain, multiplexing; in order of creation, the first ones filled first */
    int in_callback;
    ac_transfer_t live; /* head of a ring */
    CURL *spares[SPARE_HANDLES];
    int n_spares;
};

#define LOOK_EVERY apr_time_from_msec(20) /* interval of polls of a socket that cannot be watched */

typedef struct connection_t { /* a socket on which curl waits */
    ac_watch_t watch;
    ac_shard_t *shard;
    curl_socket_t fd;
    uint32_t events; /* the events that curl waits for */
    ac_timer_t look; /* polls it while it cannot be watched */
} connection_t;

static void multi_drain(void *baton)
{
    ac_shard_t *shard = baton;
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(shard->curl, &left));) {
        ac_transfer_t *transfer = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
        if (message->msg == CURLMSG_DONE && transfer) {
            transfer->on_done(transfer, (int)message->data.result);
        }
    }
}

static void act(ac_shard_t *shard, curl_socket_t fd, int mask)
{
    int running;
    shard->multi->in_callback++;
    curl_multi_socket_action(shard->curl, fd, mask, &running);
    shard->multi->in_callback--;
    ac_loop_ready_set(shard->multi->loop, &shard->drain, multi_drain, shard);
}

static void on_time(void *baton)
{
    act(baton, CURL_SOCKET_TIMEOUT, 0);
}

static int on_curl_timer(CURLM *curl, long ms, void *baton)
{
    (void)curl;
    ac_shard_t *shard = baton;
    ac_loop_t *loop = shard->multi->loop;
    if (ms == 0) {
        ac_loop_ready_set(loop, &shard->run, on_time, shard);
    } else if (ms > 0) {
        ac_timer_set(loop, &shard->timer, ac_loop_now(loop) + (apr_time_t)ms * 1000, on_time, shard);
    } else {
        ac_timer_cancel(loop, &shard->timer);
    }
    return 0;
}

static void multi_on_event(void *baton, uint32_t events)
{
    connection_t *connection = baton;
    int mask = 0;
    if (events & (EPOLLERR | EPOLLHUP)) {
        events |= connection->events; /* curl learns the cause from its next read or write */
    }
    if (events & EPOLLIN) {
        mask |= CURL_CSELECT_IN;
    }
    if (events & EPOLLOUT) {
        mask |= CURL_CSELECT_OUT;
    }
    act(connection->shard, connection->fd, mask); /* connection may be freed by this */
}

static void multi_look(void *baton);

static apr_status_t multi_watch(connection_t *connection)
{
    ac_loop_t *loop = connection->shard->multi->loop;
    apr_status_t status =
        ac_loop_watch_set(loop, &connection->watch, connection->fd, connection->events, multi_on_event, connection);
    if (status == APR_SUCCESS) {
        ac_timer_cancel(loop, &connection->look);
    } else {
        ac_timer_set(loop, &connection->look, ac_loop_now(loop) + LOOK_EVERY, multi_look, connection);
    }
    return status;
}

/* If the system has no room for a watch, curl tries to read and to write at intervals, which never blocks. */
static void multi_look(void *baton)
{
    connection_t *connection = baton;
    if (multi_watch(connection) != APR_SUCCESS) {
        multi_on_event(connection, connection->events);
    }
}

static void multi_forget(ac_loop_t *loop, CURLM *curl, curl_socket_t fd, connection_t *connection)
{
    if (connection) {
        ac_loop_watch_cancel(loop, &connection->watch);
        ac_timer_cancel(loop, &connection->look);
        free(connection);
        curl_multi_assign(curl, fd, NULL);
    }
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *baton, void *assigned)
{
    (void)easy;
    ac_shard_t *shard = baton;
    ac_loop_t *loop = shard->multi->loop;
    connection_t *connection = assigned;
    if (what == CURL_POLL_REMOVE) {
        multi_forget(loop, shard->curl, fd, connection);
        return 0;
    }
    apr_status_t status = APR_ENOMEM;
    if (!connection) {
        connection = calloc(1, sizeof(*connection));
        if (!connection) {
            goto leave;
        }
        connection->shard = shard;
        connection->fd = fd;
        curl_multi_assign(shard->curl, fd, connection);
    }
    connection->events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
    bool unwatched = connection->look.slot;
    status = multi_watch(connection);
    if (unwatched) {
        return 0; /* already logged */
    }

leave:
    /* An error returned from here would end every transfer of the multi handle. */
    if (status) {
        ac_log(AC_M111, status, "upstream: a connection cannot be watched while an exchange is under way");
    }
    return 0;
}

static ac_shard_t *shard_create(ac_multi_t *multi, bool multiplex)
{
    int capacity = multiplex ? STREAMS_PER_SHARD : TRANSFERS_PER_SHARD;
    ac_shard_t *shard = calloc(1, sizeof(*shard));
    CURLM *curl = curl_multi_init();
    if (!shard || !curl) {
        free(shard);
        curl_multi_cleanup(curl);
        return NULL;
    }
    shard->multi = multi;
    shard->curl = curl;
    shard->multiplex = multiplex;
    curl_multi_setopt(curl, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    curl_multi_setopt(curl, CURLMOPT_SOCKETDATA, shard);
    curl_multi_setopt(curl, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(curl, CURLMOPT_TIMERDATA, shard);
    curl_multi_setopt(curl, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
    curl_multi_setopt(curl, CURLMOPT_MAXCONNECTS, (long)(capacity + IDLE_CONNECTIONS));
#if LIBCURL_VERSION_NUM >= 0x074300
    curl_multi_setopt(curl, CURLMOPT_MAX_CONCURRENT_STREAMS, (long)STREAMS_PER_SHARD);
#endif
    return shard;
}

static void shard_destroy(ac_shard_t *shard)
{
    ac_loop_t *loop = shard->multi->loop;
    curl_multi_cleanup(shard->curl);
    ac_timer_cancel(loop, &shard->timer);
    ac_timer_cancel(loop, &shard->unused);
    ac_loop_ready_cancel(loop, &shard->run);
    ac_loop_ready_cancel(loop, &shard->drain);
    free(shard);
}

/* The first shard with room, so that few shards hold the kept connections. */
static ac_shard_t *shard_choose(ac_multi_t *multi, bool multiplex)
{
    int capacity = multiplex ? STREAMS_PER_SHARD : TRANSFERS_PER_SHARD;
    ac_shard_t **pshard = &multi->shards[multiplex];
    while (*pshard && (*pshard)->n_transfers >= capacity) {
        pshard = &(*pshard)->next;
    }
    if (!*pshard) {
        *pshard = shard_create(multi, multiplex);
    }
    return *pshard;
}

/* A shard holds a megabyte if it has read the system's certificates. */
static void shard_retire(void *baton)
{
    ac_shard_t *shard = baton, **pshard = &shard->multi->shards[shard->multiplex];
    while (*pshard != shard) {
        pshard = &(*pshard)->next;
    }
    *pshard = shard->next;
    shard_destroy(shard);
}

static void shard_enter(ac_shard_t *shard)
{
    shard->n_transfers++;
    ac_timer_cancel(shard->multi->loop, &shard->unused);
}

static void shard_leave(ac_shard_t *shard)
{
    ac_loop_t *loop = shard->multi->loop;
    if (!--shard->n_transfers && shard != shard->multi->shards[shard->multiplex]) {
        ac_timer_set(loop, &shard->unused, ac_loop_now(loop) + SHARD_LIFETIME, shard_retire, shard);
    }
}

static void init_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

apr_status_t ac_multi_create(ac_multi_t **pmulti, ac_loop_t *loop, ac_err_t *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_curl);
    *pmulti = NULL;
    const curl_version_info_data *version = curl_version_info(CURLVERSION_NOW);
    if (!(version->features & CURL_VERSION_ASYNCHDNS)) {
        return ac_err_set(err, AC_INTERNAL, "libcurl %s was built without an asynchronous resolver", version->version);
    }
    ac_multi_t *multi = calloc(1, sizeof(*multi));
    if (!multi) {
        return ac_err_set(err, AC_INTERNAL, "out of memory");
    }
    multi->loop = loop;
    multi->live.next = multi->live.prev = &multi->live;
    multi->share = curl_share_init();
    if (!multi->share || !shard_choose(multi, false)) {
        ac_multi_destroy(multi);
        return ac_err_set(err, AC_INTERNAL, "out of memory");
    }
    /* One thread uses it: no locks. */
    curl_share_setopt(multi->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    curl_share_setopt(multi->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    *pmulti = multi;
    return APR_SUCCESS;
}

void ac_multi_destroy(ac_multi_t *multi)
{
    if (!multi) {
        return;
    }
    for (ac_transfer_t *transfer; (transfer = multi->live.next) != &multi->live;) {
        ac_multi_leave(transfer);
        transfer->on_drop(transfer);
    }
    for (int i = 0; i < 2; i++) {
        for (ac_shard_t *shard; (shard = multi->shards[i]);) {
            multi->shards[i] = shard->next;
            shard_destroy(shard);
        }
    }
    for (int i = 0; i < multi->n_spares; i++) {
        curl_easy_cleanup(multi->spares[i]);
    }
    curl_share_cleanup(multi->share);
    free(multi);
}

bool ac_multi_in_callback(const ac_multi_t *multi)
{
    return multi->in_callback > 0;
}

void ac_multi_join(ac_multi_t *multi, ac_transfer_t *transfer)
{
    transfer->prev = multi->live.prev;
    transfer->next = &multi->live;
    transfer->prev->next = transfer->next->prev = transfer;
}

void ac_multi_leave(ac_transfer_t *transfer)
{
    if (transfer->next) {
        transfer->prev->next = transfer->next;
        transfer->next->prev = transfer->prev;
        transfer->next = transfer->prev = NULL;
    }
}

bool ac_multi_prepare(ac_multi_t *multi, ac_transfer_t *transfer, bool multiplex)
{
    transfer->shard = shard_choose(multi, multiplex);
    CURL *easy = !transfer->shard ? NULL : multi->n_spares ? multi->spares[--multi->n_spares] : curl_easy_init();
    if (!easy) {
        return false;
    }
    transfer->easy = easy;
    shard_enter(transfer->shard);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    return curl_easy_setopt(easy, CURLOPT_SHARE, multi->share) == CURLE_OK;
}

bool ac_multi_add(ac_transfer_t *transfer)
{
    transfer->added = curl_multi_add_handle(transfer->shard->curl, transfer->easy) == CURLM_OK;
    return transfer->added;
}

void ac_multi_release(ac_transfer_t *transfer)
{
    if (!transfer->easy) {
        return;
    }
    ac_multi_t *multi = transfer->shard->multi;
    if (transfer->added) {
        curl_multi_remove_handle(transfer->shard->curl, transfer->easy);
    }
    /* A handle that has multiplexed is not reused: curl 7.88 writes beyond a small receive buffer (BUFFERSIZE) of a
     * handle that was reset, because its HTTP/2 code then assumes the default size. */
    if (multi->n_spares < SPARE_HANDLES && !transfer->shard->multiplex) {
        curl_easy_reset(transfer->easy);
        multi->spares[multi->n_spares++] = transfer->easy;
    } else {
        curl_easy_cleanup(transfer->easy);
    }
    shard_leave(transfer->shard);
    transfer->easy = NULL;
    transfer->shard = NULL;
    transfer->added = false;
}
