/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of llmsim, a stand-in for an OpenAI or Azure OpenAI endpoint of chat completions and streamed responses: one
 * thread, one epoll, HTTP/1.1 with keep-alive, on loopback only. */
#ifndef LLMSIM_H
#define LLMSIM_H

#include "rig.h"

#include <jansson.h>
#include <sys/types.h>

typedef enum sim_fault_e {
    SIM_FAULT_NONE,
    SIM_FAULT_STATUS,
    SIM_FAULT_CUT,
    SIM_FAULT_STALL,
    SIM_FAULT_GARBAGE,
    SIM_FAULT_SPLIT
} sim_fault_e;

typedef struct sim_settings_t {
    unsigned n_tokens;
    uint64_t ttft_ns, interval_ns;
    unsigned jitter_pct;    /* each interval varies by +-this much */
    unsigned burst;         /* most tokens in one write */
    bool stamp;             /* a token is the CLOCK_MONOTONIC ns at which it is sent */
    unsigned n_tool_rounds; /* rounds of tool calls before the text */
    sim_fault_e fault;
    double fault_share;   /* of the requests */
    unsigned fault_limit; /* 0: any number; else only the first n requests get the fault */
    unsigned status;
    unsigned retry_after_s;
    uint64_t stall_ns; /* 0: without end */
} sim_settings_t;

typedef enum sim_state_e {
    SIM_READING,   /* waits for a request */
    SIM_STREAMING, /* sends events on a timer */
    SIM_DELAYED,   /* holds back the answer to a request without "stream" */
} sim_state_e;

typedef struct sim_stream_t {
    sim_settings_t set;
    bool responses; /* the API of that name */
    bool chunked, usage, tool, opened, struck;
    unsigned next, n_tokens; /* the token at n_tokens is the closing part */
    unsigned n_prompt_tokens;
    uint64_t due_ns;
    char *head; /* an event's text up to `"choices":[` */
    size_t head_len;
    char id[20], model[65];
    long created;
} sim_stream_t;

typedef struct sim_conn_t sim_conn_t;
struct sim_conn_t {
    int fd;
    sim_state_e state;
    bool close_after, wants_write;
    bool hold;     /* out waits for the timer, not for the socket */
    rig_buf_t in;  /* request bytes not handled yet */
    rig_buf_t out; /* response bytes not sent yet */
    sim_stream_t stream;
    sim_conn_t *timer_next, **timer_link; /* in its slot of the wheel */
    uint64_t timer_ns;
};

typedef struct sim_request_t {
    const char *path, *body;
    size_t path_len, body_len;
    bool post, http10, keep_alive, chunked, expect_continue;
} sim_request_t;

typedef struct sim_stats_t {
    uint64_t n_connections, n_requests, n_streams, n_chunks, n_writes, n_faults, n_aborted, bytes;
    unsigned active, active_max;
    rig_hist_t lag; /* how much later than planned tokens leave */
} sim_stats_t;

typedef struct sim_t { /* the process */
    int epoll;
    bool verbose;
    sim_settings_t defaults;
    rig_buf_t scratch; /* the response that is being written */
    sim_stats_t stats;
} sim_t;
extern sim_t sim;

/* ---- llmsim_settings.c ---- */
extern const char sim_settings_usage[];
/* Whether the option takes no value. */
bool sim_settings_is_flag(const char *key);
bool sim_settings_set(sim_settings_t *set, const char *key, const char *value);
/* Applies "[[sim key=value key=value]]" in text, which may be NULL; unknown words are ignored. */
void sim_settings_apply(sim_settings_t *set, const char *text);
uint64_t sim_random(void);
double sim_random_unit(void); /* 0 to 1 */

/* ---- llmsim_timer.c: one timer a connection ---- */
void sim_timers_init(uint64_t now);
void sim_timer_set(sim_conn_t *conn, uint64_t due_ns);
void sim_timer_clear(sim_conn_t *conn);
/* Fires what is due. A timer that its handler sets for "now" fires in the next call, so that the sockets get their
 * turn. */
void sim_timers_run(uint64_t now);
uint64_t sim_timers_wait_ns(uint64_t now);

/* ---- llmsim_conn.c ---- */
void sim_conn_accept(int listener);
void sim_conn_close(sim_conn_t *conn);
/* Sends these bytes; the rest goes to conn->out if the socket is full. false: the peer has closed. */
bool sim_conn_send(sim_conn_t *conn, const char *data, size_t len);
bool sim_conn_send_scratch(sim_conn_t *conn);
/* Moves conn->out to the socket. false: the peer has closed. */
bool sim_conn_flush(sim_conn_t *conn);
void sim_conn_want_write(sim_conn_t *conn, bool on);

/* ---- llmsim_event.c: events, written to sim.scratch ---- */
/* Pieces of the tool call's arguments, as the model would stream them. */
enum { SIM_N_ARGUMENTS = 6 };
void sim_put_response(unsigned status, const char *more_headers, const char *body, size_t len);
void sim_put_error(unsigned status, const char *more_headers, const char *type, const char *code);
/* SSE text, as one HTTP chunk where the response is chunked. */
void sim_put_text(const sim_stream_t *stream, const char *text, size_t len);
void sim_put_opening(const sim_stream_t *stream);
void sim_put_token(const sim_stream_t *stream, unsigned i);
void sim_put_closing(const sim_stream_t *stream);
/* The whole answer at once, to a request without "stream". */
void sim_put_completion(const sim_stream_t *stream);

/* ---- llmsim_stream.c: the course of an answer ---- */
void sim_stream_start(sim_conn_t *conn, const sim_request_t *request, json_t *root);
void sim_stream_on_timer(sim_conn_t *conn, uint64_t now);
void sim_stream_on_writable(sim_conn_t *conn);
void sim_stream_release(sim_conn_t *conn);

/* ---- llmsim_request.c ---- */
void sim_request_on_readable(sim_conn_t *conn);
/* Handles the requests in conn->in, as far as they are answered at once. */
void sim_requests_read(sim_conn_t *conn);
void sim_put_stats(void);

/* Writes the text of token i; returns its length. */
size_t sim_token_text(const sim_stream_t *stream, unsigned i, char text[24]);

/* ---- llmsim_responses.c: the same of a stream of the Responses API ---- */
void sim_responses_put_opening(const sim_stream_t *stream);
void sim_responses_put_token(const sim_stream_t *stream, unsigned i);
void sim_responses_put_closing(const sim_stream_t *stream);

#endif
