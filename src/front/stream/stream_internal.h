/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of streams share. Each file uses only those on the left of it:
 *
 *   dialect.c ◀─ stream.c ◀─ stream_output.c ◀─┬─ block.c ◀──────────────────────────────────────────┬─ delivery.c
 *                                              └─ park_conn.c, park_thread.c ◀─ park.c ◀─ park_hooks.c ┘
 *   park_conn.c, park_wait.c ◀─ paced.c ◀─ park_hooks.c
 */
#ifndef AC_STREAM_INTERNAL_H
#define AC_STREAM_INTERNAL_H

#include "stream.h"

#include <pthread.h>
#include <stdatomic.h>

/* dialect.c */
void ac_dialect_render_init(ac_render_t *render, const ac_dialect_t *dialect);

/* ---- stream.c: what all ways of delivery have in common ---- */
typedef enum ac_response_e {
    AC_RESPONSE_OPEN, /* no event has decided it yet */
    AC_RESPONSE_STREAM,
    AC_RESPONSE_DOCUMENT,
    AC_RESPONSE_PROBLEM,
    AC_RESPONSE_EMPTY /* 204: an EventSource that has everything does not connect again */
} ac_response_e;

/* The cursor of a parked stream. A full socket costs no memory: the stream drops what it has rendered and goes back to
 * its checkpoint in the run's event log.
 *
 *   event log  ──┬──────────────────────────────┬───────────────────┬───────────────────▶
 *            checkpoint                  handed to httpd         rendered           held (log only)
 *                │◀─ preamble_len ─▶│           │                   │
 *                │◀────── bytes_written ───────▶│◀─ out[out_start]─▶│ last_seq
 *
 *   checkpoint   when out is empty: it moves to last_seq; bytes_written = preamble_len = 0
 *   rewind       when the socket is full: out is dropped; bytes_to_skip = bytes_written - preamble_len
 *   resume       the events after the checkpoint are rendered again, without their first bytes_to_skip bytes
 */
typedef struct ac_stream_t ac_stream_t;
struct ac_stream_t {
    atomic_uint refs;
    bool (*stop)(ac_stream_t *stream); /* ends it with the error `stopping`; loop thread. false: it had ended */
    void (*on_shutdown)(ac_stream_t *stream, ac_shutdown_e stage); /* see ac_stream_shutdown_all() */
    void (*free)(ac_stream_t *stream);
    ac_reservation_t *reservation; /* of limits; NULL: none */
    ac_quota_t *quota;             /* its run's; NULL: none */
    unsigned metric;               /* AC_DELIVERY_…: how it is delivered */
    ac_protocol_e protocol_id;
    apr_time_t began;            /* ac_clock() */
    ac_activity_row_t *activity; /* for an operator; NULL: none */
    ac_stream_t *next, *prev;    /* all streams of the child; stream.c's lock */
    ac_child_t *child;
    ac_event_source_t source;
    ac_follower_t follower; /* loop thread */
    apr_interval_time_t heartbeat, retry;
    char request_id[64];
    const ac_protocol_t *protocol;

    /* For the thread that renders: the loop thread of a parked stream, the handler's thread of a blocking one. */
    ac_render_t render;
    void *view;          /* what render.view points to; NULL: none */
    ac_activity_e shown; /* the state in `activity` */
    ac_buf_t out;        /* rendered and not yet handed to httpd, from out_start on */
    size_t out_start;
    size_t max_waiting; /* bytes that may wait for a slow client if no log has them */
    ac_response_e response;
    ac_err_t *problem; /* of AC_RESPONSE_PROBLEM */
    bool head_sent;    /* status and header fields are set */
    bool ended;        /* the terminal event was rendered */
    bool eos_sent;     /* and all was handed to httpd: the request can end */
    bool overflow;     /* out's maximum was reached: the client is too slow */
    bool dropped;      /* the client was too slow */
    bool stopped;      /* the process has ended it */
    bool counted;      /* in the metrics */

    /* The cursor of a parked stream: see the drawing. */
    ac_render_place_t place; /* of the dialect, at the checkpoint */
    uint64_t last_seq;       /* the last event that was rendered */
    size_t bytes_written;    /* handed to httpd since the checkpoint */
    size_t preamble_len;     /* bytes at their beginning that are no event's: retry:, heartbeats */
    size_t bytes_to_skip;    /* bytes that will be rendered again, and that the client has */
    bool unlogged;           /* out has bytes that no log has */
};

/* Initializes a zeroed stream and adds it to the child's list. The handler's thread. errors: AC_STOPPING if no
 * stream may begin any more, those of ac_limits_stream(); the stream needs no cleanup then. */
apr_status_t ac_stream_init(ac_stream_t *stream, ac_request_t *rq, const ac_event_source_t *source,
                            const ac_dialect_t *dialect);
void ac_stream_ref(ac_stream_t *stream);     /* any thread */
void ac_stream_unref(ac_stream_t *stream);   /* any thread; calls stream->free */
void ac_stream_cleanup(ac_stream_t *stream); /* undoes ac_stream_init(); for stream->free */
/* Renders an event into out. The first one decides the response. */
void ac_stream_render(ac_stream_t *stream, const ac_event_t *event);
bool ac_stream_has_room(const ac_stream_t *stream);
/* Loop thread, of a parked stream: all that was rendered is handed to httpd. */
void ac_stream_checkpoint(ac_stream_t *stream);
/* Loop thread, of a parked stream: the client takes no more now. Drops out; ac_follower_resume() makes the log give
 * the events again. false: no log has them, and the stream stays as it is. */
bool ac_stream_rewind(ac_stream_t *stream);
/* Renders a heartbeat, also as the first bytes of a stream. false: this dialect has none. */
bool ac_stream_heartbeat(ac_stream_t *stream);
/* Whether something can be handed to httpd: bytes, or the end. */
bool ac_stream_has_output(const ac_stream_t *stream);
/* The event that ends a stream because the process ends. New reference, or NULL. */
ac_event_t *ac_stream_stopping_event(void);

/* ---- stream_output.c: bytes to httpd's filters; for the owner of r ---- */
#define AC_FLUSH_MAX 16384 /* bytes of one flush: with much more the core's filter would wait for the client */
/* Whether the next flush is the last one. */
bool ac_stream_output_is_last(const ac_stream_t *stream);
/* Hands at most AC_FLUSH_MAX bytes of out to r's filters and flushes them; the last ones together with EOS if
 * `end` says so. brigade: empty, and empty again afterwards. errors: the filters'. */
apr_status_t ac_stream_output_flush(ac_stream_t *stream, request_rec *r, apr_bucket_brigade *brigade, bool end);
/* The client has sent its end: it half-closed its connection and still reads, or it has gone. Only the answer to
 * sent bytes tells the two apart, a reset. Sends an interim response (100) while the status is open, else renders
 * a heartbeat, which the caller sends. Does nothing if bytes wait to be sent anyway. brigade: as above. errors:
 * the filters'. */
apr_status_t ac_stream_output_probe(ac_stream_t *stream, request_rec *r, apr_bucket_brigade *brigade);
/* From now on the kernel probes every few seconds whether the client's system still has the connection, and ends
 * it when sent bytes are not acknowledged within timeout. */
void ac_stream_output_set_keepalive(int fd, apr_interval_time_t timeout);

/* ---- the ways of delivery ---- */
typedef struct ac_delivery_t {
    const char *name;
    bool (*is_possible)(const ac_request_t *rq); /* NULL: always */
    /* As ac_delivery_start(). */
    int (*start)(ac_request_t *rq, const ac_event_source_t *source, const ac_dialect_t *dialect);
} ac_delivery_t;
extern const ac_delivery_t ac_park_delivery, ac_block_delivery; /* park.c, block.c */

/* ---- blocking_streams.c: how many streams hold a thread ---- */
typedef struct ac_http2_streams_t { /* of an HTTP/2 connection */
    int n_streams, places;          /* its streams; requests that mod_http2 works on at a time */
    apr_time_t changed;             /* when `places` changed; 0: unknown yet */
} ac_http2_streams_t;
/* Counts one more for this request. The handler's thread. errors: overloaded. */
apr_status_t ac_blocking_streams_acquire(ac_request_t *rq);
/* Counts one more thread of the MPM, for a parked stream. false: there are as many as may be. */
bool ac_blocking_streams_acquire_thread(void);
void ac_blocking_streams_release(const conn_rec *c); /* one less */
void ac_blocking_streams_register(void);

/* ---- park.c: a parked stream ---- */
typedef struct ac_parked_t ac_parked_t;
typedef struct ac_paced_t ac_paced_t; /* paced.c */
typedef struct ac_conn_t {            /* of each connection, in c->pool */
    conn_rec *c;
    ac_http2_streams_t h2;
    ac_parked_t *parked;         /* written on the server's side only; holds a reference */
    ac_paced_t *paced;           /* an answer that waits for room in the socket; the server's side only */
    apr_bucket_brigade *brigade; /* NULL: its streams cannot be parked */
    apr_bucket_brigade *held;    /* a response head, until the first bytes behind it */
    bool nonblocking;            /* our filter removes FLUSH */
    bool inside;                 /* our process_connection hook has called the others */
    bool had_wakeup;             /* the answer to a wakeup may still be in the error queue */
} ac_conn_t;

typedef enum ac_owner_e { AC_OWNER_SERVER, AC_OWNER_LOOP } ac_owner_e;

/* One thread at a time owns the connection: the loop thread between the hooks suspend_connection and
 * resume_connection, else the server's. The loop thread holds `lock` while it uses what it owns, so a worker that
 * takes the connection back waits for one short write. */
struct ac_parked_t {
    ac_stream_t stream;   /* first */
    pthread_mutex_t lock; /* for what follows */
    ac_owner_e owner;
    conn_rec *c;
    request_rec *r; /* NULL: the request has ended, or a worker ends it now */
    ac_conn_t *conn;
    int fd;
    int thread_fd;       /* eventfd of the thread that stays with a half-closed client; -1: none */
    bool probe;          /* the loop thread has to send something, for the client's answer */
    bool wakeup_pending; /* the next bytes wake the MPM, or have */
    bool ever_given;     /* ac_park_begin was posted */
    bool trimmed;        /* ac_park_conn_trim() was called */

    /* loop thread */
    bool started, released;
    bool no_wakeup; /* this socket cannot wake the MPM */
    bool socket_full;
    int watch_fd; /* a duplicate of fd, or -1: the server may close its own at any time */
    ac_watch_t watch;
    ac_timer_t timer;
    ac_ready_t ready;
    apr_bucket_brigade *brigade; /* in r->pool */
    apr_interval_time_t timeout; /* the server's Timeout */
    apr_time_t begun_at;         /* when the loop thread got it first */
    apr_time_t given_at;         /* when the MPM began to wait: Timeout runs from here */
    apr_time_t written_at;       /* the last bytes handed to httpd */
    apr_time_t progress_at;      /* the last time that the socket took bytes */
    apr_time_t finish_due;       /* all was sent: when the loop thread ends the request if no worker has */
    bool deferred;               /* its end waits for a wakeup */
    apr_time_t deferred_until;   /* when it is sent in any case */
    ac_parked_t *next_deferred, *prev_deferred;
};

/* park_hooks.c posts these to the loop thread; each owns a reference to parked. */
void ac_park_begin(void *parked);  /* the connection is the loop thread's for the first time; keeps the reference */
void ac_park_resume(void *parked); /* it is the loop thread's again; drops the reference */
void ac_park_ended(void *parked);  /* the request has ended; drops the reference */
/* Any thread: a wakeup is answered. Streams that wait for one continue on the loop thread. */
void ac_park_continue_post(ac_loop_t *loop);

/* ---- park_hooks.c ---- */
void ac_park_hooks_register(void);

/* ---- park_filters.c ---- */
/* Whether no output filter of r and of its connection waits; logs one that may. */
bool ac_park_filters_never_wait(const request_rec *r);

/* ---- park_wait.c ---- */
bool ac_park_wait_for_room_possible(void); /* the MPM can wait for room in the socket, too */
/* At the end of process_connection: the MPM shall wait for input or for room only, CONN_SENSE_WANT_… */
void ac_park_wait_begin(conn_rec *c, int sense);
bool ac_park_wait_has_begun(const conn_rec *c); /* in suspend_connection: the MPM waits, and does not close */
void ac_park_wait_end(conn_rec *c);             /* in resume_connection: the MPM shall call process_connection */

/* ---- park_wakeup.c: with the lock held, except drain ---- */
/* The next bytes that are sent wake the MPM. Sets wakeup_pending, or no_wakeup if the socket cannot. Does nothing
 * if as many are pending as may be, unless `force`. */
void ac_park_wakeup_request(ac_parked_t *parked, bool force);
void ac_park_wakeup_end(
    ac_parked_t *parked); /* a worker has the connection: no more timestamps, and none in the queue */
void ac_park_wakeup_forget(ac_parked_t *parked); /* not waited for any more; the socket may be closed */
/* Empties the socket's error queue, where the answers are: one that stays there would wake the MPM without end.
 * false: it was empty. */
bool ac_park_wakeup_drain(int fd);

/* ---- park_thread.c: a thread stays with a half-closed client ---- */
/* If the client has sent its end and one more thread may be held: prepares this thread to stay. With the lock held. */
bool ac_park_thread_enter(ac_parked_t *parked);
/* Waits until the loop thread calls ac_park_thread_wake(). false: the connection was reset. Without the lock. */
bool ac_park_thread_wait(const ac_parked_t *parked);
void ac_park_thread_leave(ac_parked_t *parked); /* with the lock held */
/* Makes a worker look at the connection now, without sending anything: the request has ended, or can be ended.
 * With the lock held. */
void ac_park_thread_wake(const ac_parked_t *parked);
/* The MPM has closed the descriptors of its threads, as at an ungraceful stop: gives the connection the duplicate. */
void ac_park_thread_restore_socket(ac_parked_t *parked);

/* ---- park_conn.c: for the connection's owner ---- */
ac_conn_t *ac_park_conn_get(const conn_rec *c);       /* NULL: streams of this connection cannot be parked */
void ac_park_conn_open(ac_conn_t *conn, conn_rec *c); /* in pre_connection: makes parking possible */
void ac_park_conn_attach(ac_parked_t *parked);        /* before the handler returns SUSPENDED; consumes its reference */
void ac_park_conn_detach(ac_conn_t *conn);            /* the request has ended; drops the reference */
void ac_park_conn_reuse(ac_conn_t *conn);             /* the same, for a connection that can have another request */
/* Returns the memory to the system that reading the request has left in the connection's allocator. */
void ac_park_conn_trim(const ac_parked_t *parked);
/* Sends what the core's filter holds, without waiting. */
apr_status_t ac_park_conn_flush(conn_rec *c);
/* Ends the request: it is logged, and r is freed. */
void ac_park_conn_pass_end(const ac_conn_t *conn, conn_rec *c, request_rec *r);
/* The same for a parked stream. With the lock held. */
void ac_park_conn_end_request(ac_parked_t *parked);
void ac_park_conn_abort(ac_parked_t *parked); /* the same on the server's side, for a client that is gone */
void ac_park_conn_register(void);

/* ---- paced.c: for the connection's owner, which is a thread of the MPM; conn->paced is set ---- */
int ac_paced_continue(ac_conn_t *conn, conn_rec *c); /* in process_connection: there is room, or the client is gone */
void ac_paced_forget(ac_conn_t *conn);               /* the request has ended, or is being ended */
void ac_paced_abort(ac_conn_t *conn, conn_rec *c);   /* the connection is being closed: ends the request */

#endif
