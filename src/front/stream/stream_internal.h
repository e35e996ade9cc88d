/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of streams share: stream.c, stream_output.c, block.c, park.c, park_conn.c, park_thread.c,
 * park_filters.c, park_wait.c. */
#ifndef AC_STREAM_INTERNAL_H
#define AC_STREAM_INTERNAL_H

#include "stream.h"

#include <pthread.h>
#include <stdatomic.h>

/* dialect.c */
void ac_dialect_render_init(ac_render_t *render, const ac_dialect_t *dialect);

/* ---- stream.c: what a parked and a blocking stream have in common ---- */
typedef enum ac_response_e {
    AC_RESPONSE_OPEN, /* nothing was said that decides it */
    AC_RESPONSE_STREAM,
    AC_RESPONSE_DOCUMENT,
    AC_RESPONSE_PROBLEM,
    AC_RESPONSE_EMPTY /* 204: an EventSource that has everything is told to stay away */
} ac_response_e;

typedef struct ac_stream_t ac_stream_t;
struct ac_stream_t {
    atomic_uint refs;
    bool (*stop)(ac_stream_t *stream); /* end it with the error `stopping`; the loop's thread. false: it had ended */
    void (*ending)(ac_stream_t *stream, ac_shutdown_e what); /* see ac_stream_shutdown_all() */
    void (*free)(ac_stream_t *stream);
    ac_takes_t *takes;        /* what it holds of limits; NULL: nothing */
    ac_quota_t *quota;        /* its run's; NULL: it has none */
    ac_stream_t *next, *prev; /* all streams of the child; stream.c's lock */
    ac_child_t *child;
    ac_event_source_t source;
    ac_follower_t follower; /* loop thread */
    apr_interval_time_t heartbeat, retry;
    char request_id[64];

    /* Of whoever renders: the loop for a parked stream, the worker for a blocking one. */
    ac_render_t render;
    ac_buf_t out; /* rendered and not yet handed to the filters, from `sent` on */
    size_t sent;
    size_t max_waiting; /* bytes that may wait for a slow client where no log has them */
    ac_response_e head;
    ac_err_t *problem; /* of AC_RESPONSE_PROBLEM */
    bool head_sent;
    bool ended;      /* the terminal event was rendered */
    bool eos_passed; /* and all was handed to the filters: the request can end */
    bool overflow;   /* out's maximum was reached: the client is too slow */

    /* Of a parked stream: where it is in its run's log, counted from its follower's mark. */
    uint64_t told; /* the last event that was rendered */
    size_t passed; /* bytes handed to the filters since the mark */
    size_t lead;   /* those of them that are no event's, at their beginning */
    size_t skip;   /* bytes after the mark that will be told again, and were handed on before */
    bool unlogged; /* out holds something that is in no log */
};

/* errors: AC_STOPPING where no stream may begin any more, those of ac_limits_stream(); nothing was registered then. */
apr_status_t ac_stream_init(ac_stream_t *stream, ac_request_t *rq, const ac_event_source_t *source,
                            const ac_dialect_t *dialect);
void ac_stream_ref(ac_stream_t *stream);     /* any thread */
void ac_stream_unref(ac_stream_t *stream);   /* any thread; calls stream->free */
void ac_stream_cleanup(ac_stream_t *stream); /* what ac_stream_init() made; for stream->free */
/* Renders an event into out, and decides the head where it was open. */
void ac_stream_render(ac_stream_t *stream, const ac_event_t *event);
bool ac_stream_has_room(const ac_stream_t *stream);
/* Loop thread, of a parked stream. All that was rendered was handed on. */
void ac_stream_checkpoint(ac_stream_t *stream);
/* The client takes no more for now: what waits in out is given up, and will be told again, from the log, after ac_follower_ready().
 * false: no log has it. */
bool ac_stream_rewind(ac_stream_t *stream);
/* Renders a heartbeat; opens a stream that has not begun. false: this dialect has none. */
bool ac_stream_heartbeat(ac_stream_t *stream);
bool ac_stream_has_output(const ac_stream_t *stream); /* something may be handed to the filters: bytes, or the end */
/* The event that ends a stream when the process has to. New reference. */
ac_event_t *ac_stream_stopping_event(void);
/* ---- stream_output.c: onto the filters; for the owner of r ---- */
#define AC_FLUSH_MAX 16384 /* the network filter must never hold so much that it would block */
/* Whether the next pass is the last one. */
bool ac_stream_output_is_last(const ac_stream_t *stream);
/* Hands at most AC_FLUSH_MAX bytes of out to r's filters and flushes them; the last ones together with EOS where `end`
 * says so. brigade: empty, and empty again afterwards. */
apr_status_t ac_stream_output_flush(ac_stream_t *stream, request_rec *r, apr_bucket_brigade *brigade, bool end);
/* The client has sent its end: it half-closed its connection and still reads, or it has gone. Only an answer to what is sent tells them
 * apart, a reset. Passes an interim response (100) while the status is open, else renders a heartbeat, which the caller sends. Does
 * nothing where something waits to be sent anyway. errors: the filters'. For the owner of r; brigade as above. */
apr_status_t ac_stream_output_probe(ac_stream_t *stream, request_rec *r, apr_bucket_brigade *brigade);
/* From now on the kernel asks every few seconds whether the client's system still has the connection, and ends it when what was sent is
 * not acknowledged for so long. */
void ac_stream_output_set_keepalive(int fd, apr_interval_time_t timeout);

/* ---- block.c: a worker stays with the stream ---- */
int ac_block_deliver(ac_request_t *rq, const ac_event_source_t *source, const ac_dialect_t *dialect);

/* ---- park.c, park_conn.c: nobody stays with the stream ---- */
typedef struct ac_parked_t ac_parked_t;
typedef struct ac_http2_streams_t { /* of an HTTP/2 connection: blocking_streams.c's */
    int n_streams, places;          /* streams that it has; requests that mod_http2 works on at a time */
    apr_time_t changed;             /* when it had fewer or more; 0: nothing is known yet */
} ac_http2_streams_t;

typedef struct ac_conn_t { /* what we keep for each connection, in c->pool */
    ac_http2_streams_t h2;
    ac_parked_t *parked;         /* written on the server's side only; holds a reference */
    apr_bucket_brigade *brigade; /* NULL: its streams cannot be parked */
    bool nonblocking;            /* our filter keeps FLUSH from the network filter */
    bool inside;                 /* our process_connection hook called the others */
    bool had_wakeup;             /* an answer to a poke may still be in the error queue */
} ac_conn_t;

typedef enum ac_owner_e { AC_OWNER_SERVER, AC_OWNER_LOOP } ac_owner_e;

/* One thread at a time owns the connection: the loop's between the hooks suspend_connection and resume_connection,
 * else the server's. `lock` is held while the loop uses what it owns, so that a worker that takes the connection back
 * waits for one short write. */
struct ac_parked_t {
    ac_stream_t stream;   /* first */
    pthread_mutex_t lock; /* for what follows */
    ac_owner_e owner;
    conn_rec *c;
    request_rec *r; /* NULL: the request has ended, or was taken to be ended */
    ac_conn_t *conn;
    int fd;
    int thread_fd;       /* of the thread that stays with a half-closed client, an eventfd; -1: none does */
    bool probe;          /* the loop shall send something, for the client's answer */
    bool wakeup_pending; /* the next bytes sent will wake the server, or have */
    bool ever_given;     /* ac_park_begin was posted */

    /* loop thread */
    bool begun, released;
    bool no_wakeup; /* this socket cannot wake the server */
    bool full;      /* the socket takes no more for now */
    int watch_fd;   /* a duplicate of fd, or -1: the server may close its own at any time */
    ac_watch_t watch;
    ac_timer_t timer;
    ac_ready_t ready;
    apr_bucket_brigade *brigade; /* in r->pool */
    apr_interval_time_t timeout; /* the server's Timeout */
    apr_time_t given;            /* when the server began to wait: Timeout runs from here */
    apr_time_t wrote, progress;
    bool held;                 /* its end waits for a thread of the server that can be wakeup_pending */
    apr_time_t deferred_until; /* when it goes out in any case */
    apr_time_t finish_due;     /* all was sent: when the loop ends the request if the server has not */
    ac_parked_t *next_deferred, *prev_deferred;
};

/* Whether this request's stream can be parked. */
bool ac_park_possible(const ac_request_t *rq);
int ac_park_deliver(ac_request_t *rq, const ac_event_source_t *source, const ac_dialect_t *dialect);
void ac_park_begin(void *parked);  /* loop thread: the connection is the loop's. Takes a reference */
void ac_park_resume(void *parked); /* loop thread: it is the loop's again. Drops a reference */
void ac_park_ended(void *parked);  /* loop thread: the request has ended. Drops a reference */

/* blocking_streams.c: streams that hold a thread */
/* One more, for this request. errors: overloaded. The thread that handles it. */
apr_status_t ac_blocking_streams_acquire(ac_request_t *rq);
bool ac_blocking_streams_acquire_thread(
    void); /* one more, of the MPM's threads, for a stream that was parked. false: there is no room */
void ac_blocking_streams_release(const conn_rec *c); /* one less */
void ac_blocking_streams_register(apr_pool_t *p);

/* park_filters.c: whether no output filter of r, or of its connection, waits; logs the one that may */
bool ac_park_filters_never_wait(const request_rec *r);

/* park_wait.c */
void ac_park_wait_begin(conn_rec *c); /* process_connection's end: the MPM shall poll the connection for input only */
void ac_park_wait_end(conn_rec *c);   /* resume_connection: it shall call process_connection now */

/* park_thread.c */
/* Where the client has sent its end: keeps this thread, of the server, until the stream has ended or the client has gone (aborted). Does
 * nothing else, and where no more threads may be held. The lock is held, and let go of while it waits. */
void ac_park_thread_stay(ac_parked_t *parked);
/* Makes one of the server's threads look at the connection now, without sending anything: the request has ended or can be ended. With the
 * lock held. */
void ac_park_thread_wake(const ac_parked_t *parked);
/* The MPM has closed what its threads have, as at an ungraceful stop: the stream goes on with the descriptor that it has beside it. */
void ac_park_thread_restore_socket(ac_parked_t *parked);

/* park_conn.c */
ac_conn_t *ac_park_conn_get(const conn_rec *c); /* NULL: not for this connection */
void ac_park_conn_attach(ac_parked_t *parked);  /* the handler, before it returns SUSPENDED; takes its reference */
/* Sends what the network filter holds, without waiting. For the connection's owner. */
apr_status_t ac_park_conn_flush(conn_rec *c);
/* Ends the request: it is logged, and r freed. For the owner, with the lock held. */
void ac_park_conn_end_request(ac_parked_t *parked);
/* Empties the socket's error queue, where answers to pokes are. false: it was empty. */
bool ac_park_wakeup_drain(int fd);
/* Makes one of the server's threads look at the connection once the next bytes have been sent. Sets wakeup_pending, or
 * no_wakeup. Does nothing while as many threads as should be are on their way, unless `force`. With the lock held. */
void ac_park_wakeup_request(ac_parked_t *parked, bool force);

#endif
