/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: the events of one run, delivered to one client. */
#ifndef AC_STREAM_H
#define AC_STREAM_H

#include "front/request/request.h"

/* ---- dialect.c: events to bytes. A new dialect is a row there, its functions, and a route that names it ---- */
typedef struct ac_render_place_t { /* how far a dialect is in its own events; its meaning is the dialect's */
    unsigned n_events;             /* of the dialect so far, as for their numbers */
    unsigned n_items;              /* parts, items or messages that have begun */
    unsigned open;                 /* the kind of the one that has not ended; 0: none */
    unsigned flags;
    uint64_t seq;                      /* of an event of the run that it remembers */
    unsigned n_calls;                  /* tool calls that have begun and not ended for the client */
    uint32_t calls[AC_MAX_TOOL_CALLS]; /* the dialect's marks of them */
} ac_render_place_t;
typedef struct ac_render_t { /* one client's view of one run */
    const ac_dialect_t *dialect;
    char thread_id[AC_ID_SIZE], run_id[AC_ID_SIZE]; /* "": the run has not begun */
    apr_time_t began;                               /* when the run did */
    int status;                                     /* of a JSON document: 200 */
    bool follows;            /* a run that had begun before: LIVE comes after its stored events */
    bool ended;              /* nothing follows what was rendered */
    bool begun;              /* with `document_type`: the answer is a stream. A dialect sets it with its first event */
    ac_render_place_t place; /* set back when events are rendered again */
    ac_event_t *kept;        /* one that the dialect needs once more; a reference, or NULL */
    const void *view;        /* the request's, see ac_request_view_make(); NULL: none */
    void *state;             /* what the dialect keeps of the events until its `free`; it only grows: an event that is
                                rendered again is known in it. NULL: nothing */
} ac_render_t;
struct ac_dialect_t {
    const char *name;
    const char *media_type;
    bool stream;               /* events as they happen; else one document at the end */
    bool ids;                  /* a stream with id: lines, so that its client can resume */
    const char *document_type; /* of a stream that is a document instead, if the run ends before the stream has begun;
                                  NULL: the stream begins with the run */
    bool shows_failure;        /* of a document: the error of a run that had begun is rendered, and no problem */
    const ac_dialect_t *next;  /* another one of the same route, for clients that accept it; NULL: there is none */
    /* The bytes before the first event; NULL: none. retry: of AgentChatRetry. */
    void (*begin)(apr_interval_time_t retry, ac_buf_t *out);
    /* Appends the bytes of this event to out, whole or not at all; may append nothing. errors: APR_ENOSPC. */
    apr_status_t (*event)(ac_render_t *render, const ac_event_t *event, ac_buf_t *out);
    apr_status_t (*heartbeat)(ac_render_t *render, ac_buf_t *out);
    /* After the last stored event of a run that is followed: the next ones happen from now on. May end the stream.
     * NULL: nothing happens. errors: APR_ENOSPC. */
    apr_status_t (*live)(ac_render_t *render, ac_buf_t *out);
    void (*free)(void *state); /* of a state that was made; NULL: the dialect makes none */
};
extern const ac_dialect_t ac_dialect_native, ac_dialect_chunk, ac_dialect_text, ac_dialect_message, ac_dialect_chat,
    ac_dialect_accepted, /* a run in the background: as soon as it is stored */
    ac_dialect_selftest; /* api_selftest.c */

/* For dialects elsewhere. `begin` of an event stream: the line retry:, unless it is 0. */
void ac_dialect_begin_events(apr_interval_time_t retry, ac_buf_t *out);
/* `heartbeat` of a document, which has none, and of event streams whose clients expect no event of that kind. */
apr_status_t ac_dialect_no_heartbeat(ac_render_t *render, ac_buf_t *out);
apr_status_t ac_dialect_comment_heartbeat(ac_render_t *render, ac_buf_t *out);
/* Keeps what all dialects need of an event; each `event` calls it first. */
void ac_dialect_keep_facts(ac_render_t *render, const ac_event_t *event);
/* Keeps this event instead of the one before. It is kept again when events are rendered again. */
void ac_dialect_keep_event(ac_render_t *render, const ac_event_t *event);
/* Appends a JSON value; NULL: null. */
void ac_dialect_add_json(ac_buf_t *out, const json_t *value);
/* Appends a further member of an object: ,"name":value */
void ac_dialect_add_text(ac_buf_t *out, const char *name, const char *text);
void ac_dialect_add_member(ac_buf_t *out, const char *name, const json_t *value);
/* The end of `event` and others: an event is appended whole or not at all. before: out->len at the beginning. errors:
 * APR_ENOSPC. */
apr_status_t ac_dialect_finish(ac_buf_t *out, size_t before);

/* ---- delivery.c: a stream to its client ---- */
typedef struct ac_event_source_t { /* where a stream's events come from */
    /* Loop thread, once. Consumes baton; the first event comes later, never inside. */
    void (*start)(void *baton, ac_loop_t *loop, ac_follower_t *follower);
    void (*drop)(void *baton); /* instead of start, any thread */
    void *baton;
} ac_event_source_t;
/* These three deliver events to the request's client, as a stream or as a document, in the dialect that
 * ac_request_dialect() finds; without a thread where the server can park the stream. Nothing is sent before the first
 * event; if that is an error, it becomes a problem response with its status. The handler's thread. They return what
 * the handler returns: OK, or SUSPENDED. */
/* The events of a source, which is consumed. */
int ac_delivery_start(ac_request_t *rq, const ac_event_source_t *source, bool stream);
/* Starts the turn, which is consumed, and delivers its events. */
int ac_delivery_run(ac_request_t *rq, ac_turn_t *turn, bool stream);
/* The events of the caller's run after this number, past and to come. */
int ac_delivery_follow(ac_request_t *rq, const char *run_id, uint64_t after, bool stream);
/* Hooks and the connection filter of parked streams; called from register_hooks. */
void ac_delivery_register(apr_pool_t *p);

/* ---- paced.c: an answer of any length, sent as fast as its client reads ---- */
typedef struct ac_paced_source_t { /* where its bytes come from */
    /* Gives the next bytes, which are valid until the next call; *plen 0: the end. On a thread of httpd, which owns r
     * meanwhile. errors: any; the answer is cut off, as its client notices. */
    apr_status_t (*next)(void *baton, const char **pbytes, size_t *plen);
    void *baton; /* lives as long as r */
    /* Where no connection can wait for room: a file with all the bytes, which httpd sends itself; -1: there is none. It
     * is closed with r. */
    int fd;
    apr_off_t offset, len; /* of the bytes in it */
} ac_paced_source_t;
/* Sends the answer; its status and header fields are set. Holds no thread while the client's socket is full, where the
 * MPM can wait for room in it: event of httpd 2.4.63 and later, not over HTTP/2. Memory that waits: what the source
 * gave last. body_read: the request has no unread body. The handler's thread. Returns what the handler returns: OK, or
 * SUSPENDED. */
int ac_paced_send(request_rec *r, bool body_read, const ac_paced_source_t *source);

/* Cuts off all answers that wait for their clients, so that they are logged. The MPM's threads have ended. */
void ac_paced_stop_all(void);

/* ---- stream.c: the end of the process ---- */
/* At an ungraceful stop, on the loop thread, or after it has ended and before the loop is destroyed: ends every
 * live stream with the error `stopping`, so that all are logged. No stream begins after it. The MPM's own threads
 * may still run. */
void ac_stream_stop_all(void);
typedef enum ac_shutdown_e {
    /* The MPM's threads have ended, and streams are left: on the loop thread. Each stream ends its request itself
     * from now on. */
    AC_SHUTDOWN_THREADS_ENDED,
    /* The MPM has closed the connections of its threads, as it does at an ungraceful stop before it says so: on
     * the MPM's thread, at once. A stream that holds a thread keeps its client, to send it the end. */
    AC_SHUTDOWN_SOCKETS_CLOSED,
    /* The client had time to read the end: on the MPM's thread. A stream that holds a thread is cut off. */
    AC_SHUTDOWN_TIMED_OUT
} ac_shutdown_e;
void ac_stream_shutdown_all(ac_shutdown_e stage);

/* ---- park_wait.c ---- */
/* Whether this MPM can let a stream wait without a thread; called by each child before its first connection. */
bool ac_park_wait_possible(void);
void ac_park_wait_report(const ac_conf_t *conf); /* at the start: logs whether streams hold threads */

/* ---- blocking_streams.c: how many streams may hold a thread ---- */
/* Sets the limits that the configuration does not set; warns if HTTP/2 is offered. For post_config. */
void ac_blocking_streams_configure(ac_config_check_t *check);

#endif
