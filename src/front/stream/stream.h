/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: the events of one run, delivered to one client. */
#ifndef AC_STREAM_H
#define AC_STREAM_H

#include "front/request/request.h"

/* ---- dialect.c: events to bytes ---- */
typedef struct ac_dialect_t ac_dialect_t;
typedef struct ac_render_t { /* a client's view of one run; zero it, set dialect */
    const ac_dialect_t *dialect;
    char thread_id[AC_ID_SIZE], run_id[AC_ID_SIZE];
    int status; /* of a JSON document: 200 */
    bool ended; /* the terminal event was rendered */
} ac_render_t;
struct ac_dialect_t {
    const char *name; /* "native", "chunk", "text", "message", "chat" */
    bool stream;      /* text/event-stream; else one JSON document at the end */
    bool ids;         /* id: lines (stored runs) */
    /* Appends the bytes of this event to out; may append nothing. */
    apr_status_t (*event)(ac_render_t *render, const ac_event_t *event, ac_buf_t *out);
    apr_status_t (*heartbeat)(ac_render_t *render, ac_buf_t *out);
};
extern const ac_dialect_t ac_dialect_native, ac_dialect_chunk, ac_dialect_text, ac_dialect_message, ac_dialect_chat;

/* ---- stream.c ---- */
typedef struct ac_event_source_t { /* where a stream's events come from */
    /* Loop thread, once. Takes baton; the first event comes later, never inside. */
    void (*start)(void *baton, ac_loop_t *loop, ac_follower_t *follower);
    void (*drop)(void *baton); /* instead of start, any thread */
    void *baton;
} ac_event_source_t;
/* Delivers a source's events to this request's client, parked or blocking. Takes the source. Returns what the handler
 * returns. */
int ac_delivery_start(ac_request_t *rq, const ac_event_source_t *source, const ac_dialect_t *dialect);
/* Starts the turn (takes it) and delivers its events in this dialect: parked where the server can, else blocking. Nothing is sent
 * before the first event; if that is an error it becomes a problem response with its status.
 * Returns what the handler returns: OK, or SUSPENDED. */
int ac_delivery_run(ac_request_t *rq, ac_turn_t *turn, const ac_dialect_t *dialect);
/* Delivers the events of the caller's run that come after this number, past and to come. */
int ac_delivery_follow(ac_request_t *rq, const char *run_id, uint64_t after, const ac_dialect_t *dialect);
/* At an ungraceful stop, on the loop thread or after it has ended and before the loop is destroyed: ends every live stream with
 * the event `stopping`, so that all are logged. No stream begins after it. The MPM's own threads may still run. */
void ac_stream_stop_all(void);
typedef enum ac_shutdown_e {
    /* The MPM's threads have ended, and streams are still there: on the loop thread. Each ends its request by itself from now on. */
    AC_SHUTDOWN_THREADS_ENDED,
    /* The MPM has closed the connections that its threads have, as it does at an ungraceful stop before it says so: on the MPM's thread,
     * at once. A stream whose thread stays with it keeps its client, to tell it the end. */
    AC_SHUTDOWN_SOCKETS_CLOSED,
    /* Its client had time for it: on the MPM's thread. A stream whose thread stays with it is cut off. */
    AC_SHUTDOWN_TIMED_OUT
} ac_shutdown_e;
void ac_stream_shutdown_all(ac_shutdown_e what);

/* ---- park_conn.c, park_wait.c, park.c: streams that hold no thread ---- */
/* Hooks and the connection filter of parked streams; called from register_hooks. */
void ac_delivery_register(apr_pool_t *p);
/* Whether this MPM can let a stream wait without a thread; called by each child before its first connection. */
bool ac_park_wait_possible(void);
void ac_park_wait_warn(const ac_conf_t *conf); /* at the start: warns where each stream holds a thread */

/* ---- blocking_streams.c: streams that hold a thread ---- */
/* Sets the limits of streams that hold a thread, where they were not given; warns where HTTP/2 is offered. For post_config. */
void ac_blocking_streams_configure(ac_check_t *check);

#endif
