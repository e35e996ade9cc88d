/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of ssebench, the load client: its options, its connections, what it counts. */
#ifndef SSEBENCH_H
#define SSEBENCH_H

#include "proctree.h"
#include "rig.h"

#include <netinet/in.h>

enum { LOAD_MAX_HEADERS = 16, LOAD_MAX_PATTERNS = 8 };

typedef struct load_options_t {
    unsigned n_connections;
    uint64_t n_requests;
    uint64_t duration_ns, ramp_ns, grace_ns, timeout_ns, poll_ns;
    unsigned abort_after, expect_tokens;
    bool keepalive, plain, setup, quiet;
    const char *method, *body, *setup_path, *setup_body, *label, *url, *path, *token, *delta;
    const char *header[LOAD_MAX_HEADERS];
    const char *done[LOAD_MAX_PATTERNS];
    unsigned n_headers, n_done;
    char host[128];
    struct sockaddr_in address;
    tree_roots_t server, upstream;
    uint64_t rss_base_kb;
} load_options_t;

typedef enum load_phase_e {
    LOAD_IDLE,
    LOAD_CONNECTING,
    LOAD_SENDING,
    LOAD_HEAD,
    LOAD_SIZED,
    LOAD_TO_EOF,
    LOAD_CHUNK_SIZE,
    LOAD_CHUNK_DATA,
    LOAD_CHUNK_END,
    LOAD_TRAILER
} load_phase_e;

/* What became of a request, and what errors are counted under. */
typedef enum load_outcome_e {
    LOAD_OK,
    LOAD_CONNECT,
    LOAD_IO,
    LOAD_STATUS,
    LOAD_INCOMPLETE,
    LOAD_ERROR_EVENT,
    LOAD_TIMED_OUT,
    LOAD_CUT,
    LOAD_ABORTED,
    LOAD_N_OUTCOMES
} load_outcome_e;
extern const char *const load_outcome_names[LOAD_N_OUTCOMES];

typedef struct load_conn_t {
    int fd;
    load_phase_e phase;
    bool reused, close_after, got_bytes, done, failed, trailing;
    int status;
    unsigned n_tokens;
    uint64_t start_ns, progress_ns;
    uint64_t left; /* body bytes, or of this chunk */
    uint64_t last_stamp;
    size_t sent;
    rig_buf_t request, head, line;
    char thread_id[80];
} load_conn_t;

typedef struct load_tally_t {
    uint64_t n_started, outcome[LOAD_N_OUTCOMES], status[6]; /* by class, 2xx at 2 */
    uint64_t n_tokens, n_stamped, n_events, n_heartbeats, bytes, n_connects, n_reconnects;
    uint64_t n_lost, n_surplus, n_disordered; /* tokens; the first two against --expect-tokens */
    unsigned active, active_max;
    rig_hist_t ttft;    /* from the request to the first token */
    rig_hist_t first;   /* from the model's sending of the first token to its arrival */
    rig_hist_t relay;   /* the same for each token */
    rig_hist_t latency; /* whole responses */
} load_tally_t;

typedef struct load_t { /* the process */
    int epoll;
    load_conn_t *conns;
    load_conn_t **ready; /* connections that wait to start a request */
    unsigned n_ready;
    bool setting_up;
    uint64_t start_ns, last_end_ns;
    uint64_t realtime_offset_ns; /* CLOCK_REALTIME - CLOCK_MONOTONIC */
    load_tally_t tally;
} load_t;
extern load_t load;

/* ---- ssebench_options.c ---- */
extern load_options_t load_options;
void load_options_read(int argc, char **argv);

/* ---- ssebench_conn.c: a connection and its requests ---- */
void load_conn_start(load_conn_t *conn);
void load_conn_finish(load_conn_t *conn, load_outcome_e outcome);
void load_conn_on_event(load_conn_t *conn, uint32_t events);

/* ---- ssebench_response.c ---- */
/* These bytes came; now is when the kernel got them. */
void load_response_take(load_conn_t *conn, const char *data, size_t len, uint64_t now);
void load_response_on_eof(load_conn_t *conn);

/* ---- ssebench_event.c ---- */
/* A piece of an event stream. */
void load_events_take(load_conn_t *conn, const char *data, size_t len, uint64_t now);

/* ---- ssebench_report.c ---- */
typedef struct load_snapshot_t {
    tree_usage_t server, upstream;
    tree_machine_t machine;
    double client_s;
} load_snapshot_t;
load_snapshot_t load_snapshot_take(void);
/* Prints the results; returns how many errors there were. */
uint64_t load_report(const load_snapshot_t *before, const load_snapshot_t *after, const tree_usage_t *peak);

#endif
