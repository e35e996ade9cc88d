/* SPDX-License-Identifier: Apache-2.0 */
/* Floor 3: the only floor that waits. One loop thread per child (epoll, timers, libcurl, posted
 * commands) and a few work threads for calls that block. */
#ifndef AC_IO_H
#define AC_IO_H

#include "wire/wire.h"

#include <pthread.h>
#include <stdatomic.h>

struct curl_slist;
struct sockaddr;

/* ---- loop.c ---- */
/* Except for the _post functions, everything here is for the loop thread only. */
typedef void ac_task_fn(void *baton);

/* Makes a loop; call after fork. The loop has epoll, an eventfd and a curl multi of its own. */
apr_status_t ac_loop_create(ac_loop_t **ploop, ac_err_t *err);
/* Runs until ac_loop_stop_post(). The caller provides the thread (httpd: ap_thread_create). */
void ac_loop_run(ac_loop_t *loop);
void ac_loop_stop_post(ac_loop_t *loop);
/* After ac_loop_run has returned: drops what was posted and not run, frees everything. */
void ac_loop_destroy(ac_loop_t *loop);
/* Run fn(baton) on the loop, in order of posting. Any thread; also before run. */
void ac_loop_post(ac_loop_t *loop, ac_task_fn *fn, void *baton);
bool ac_loop_is_current(const ac_loop_t *loop);
/* The turn's monotonic time (ac_clock), read once per turn. */
apr_time_t ac_loop_now(const ac_loop_t *loop);

/* A timer lives inside its owner; zero it before first use. */
typedef struct ac_timer_t {
    apr_time_t due;
    ac_task_fn *fn;
    void *baton;
    int slot; /* place in the heap + 1; 0: not set */
} ac_timer_t;
/* (Re)sets the timer to fire once at `due` (ac_clock time), never inside this call. */
void ac_timer_set(ac_loop_t *loop, ac_timer_t *timer, apr_time_t due, ac_task_fn *fn, void *baton);
void ac_timer_cancel(ac_loop_t *loop, ac_timer_t *timer);

/* Something to be done later in this turn, after all events of the turn were read: completions, writes of what has been
 * gathered. Lives inside its owner; zeroed before first use; setting one that is set does nothing. */
typedef struct ac_ready_t {
    ac_task_fn *fn;
    void *baton;
    struct ac_ready_t *next, *prev;
    bool queued;
} ac_ready_t;
void ac_loop_ready_set(ac_loop_t *loop, ac_ready_t *ready, ac_task_fn *fn, void *baton);
void ac_loop_ready_cancel(ac_loop_t *loop, ac_ready_t *ready);

/* A descriptor to watch. events: EPOLLIN, EPOLLOUT, EPOLLRDHUP … as epoll has them. The watch lives inside its owner
 * and must be cancelled before the descriptor is closed or given away; after that fn is not called, also not for
 * events that epoll had already reported in this turn. */
typedef struct ac_watch_t {
    int fd;
    uint32_t events;
    void (*fn)(void *baton, uint32_t events);
    void *baton;
    uint32_t slot; /* slot + 1 in the loop's table of generations; 0: not watched */
} ac_watch_t;
apr_status_t ac_loop_watch_set(ac_loop_t *loop, ac_watch_t *watch, int fd, uint32_t events,
                               void (*fn)(void *baton, uint32_t events), void *baton);
void ac_loop_watch_cancel(ac_loop_t *loop, ac_watch_t *watch);

/* ---- latch.c: a worker that waits for an answer ---- */
typedef struct ac_latch_t ac_latch_t; /* refcounted: a late answer finds nobody, and nothing freed */
ac_latch_t *ac_latch_create(void);    /* one reference for the waiter */
void ac_latch_ref(ac_latch_t *latch);
void ac_latch_unref(ac_latch_t *latch);
void ac_latch_open(ac_latch_t *latch);                      /* any thread */
bool ac_latch_wait(ac_latch_t *latch, apr_time_t deadline); /* ac_clock time; false: timed out */

/* ---- handover.c: what a worker leaves with the loop and waits for ---- */
/* First the worker's, then the loop's too. Whoever is second, of the loop that answers and the worker that gives up,
 * has alone what it is part of, and frees it; whoever is first does not touch it again. */
typedef struct ac_handover_t {
    ac_latch_t *latch;
    atomic_int state;
} ac_handover_t;
void ac_handover_begin(ac_handover_t *handover); /* the worker, before the loop has it */
/* The loop's side, once, or any thread's that has it from there. true: the worker has it. false: the worker has
 * given up. */
bool ac_handover_answer(ac_handover_t *handover);
/* The worker, once; deadline in ac_clock time. true: it was answered, and is the worker's. false: given up, and is
 * the loop's. */
bool ac_handover_wait(ac_handover_t *handover, apr_time_t deadline);

/* ---- shared_lock.c: a lock in memory that processes share ---- */
int ac_shared_lock_init(pthread_mutex_t *lock); /* before the fork; errno of what failed */
/* Any thread. 0: ours. EOWNERDEAD: ours, and its holder was killed inside: what it guards is to be put right before
 * it is given back. Else: not to be had within patience, as when its holder is stopped. */
int ac_shared_lock_acquire(pthread_mutex_t *lock, apr_interval_time_t patience);
void ac_shared_lock_release(pthread_mutex_t *lock);

/* ---- trim.c: memory that was freed goes back to the system ---- */
typedef struct ac_trim_t { /* lives inside its owner, longer than loop and work; zero before first use */
    ac_loop_t *loop;
    struct ac_work_t *work;
    ac_timer_t timer;
    bool busy;
} ac_trim_t;
/* Looks every half a minute, on a work thread, whether malloc holds much that nobody uses, and gives it back. Loop
 * thread. Source: malloc_trim(3); nothing happens where the C library has none. */
void ac_trim_watch(ac_trim_t *trim, ac_loop_t *loop, struct ac_work_t *work);
void ac_trim_unwatch(ac_trim_t *trim);

/* ---- work.c: threads for blocking calls ---- */
/* Starts n threads with room for max_queued jobs. */
apr_status_t ac_work_create(ac_work_t **pwork, ac_loop_t *loop, int n_threads, int max_queued, ac_err_t *err);
/* fn(baton) on a work thread, then done(baton) on the loop (done may be NULL). Any thread. EAGAIN: the queue is
 * full, nothing was taken. */
apr_status_t ac_work_post(ac_work_t *work, ac_task_fn *fn, ac_task_fn *done, void *baton);
/* Finishes what is queued, joins the threads; from here on ac_work_post() takes nothing. Once more is fine. */
void ac_work_stop(ac_work_t *work);
/* Stops it, frees it: nobody may post any more. NULL is fine. */
void ac_work_destroy(ac_work_t *work);

/* ---- redis.c: a Redis server ---- */
/* One connection, kept as long as it lasts and made again when it is gone, after 0.1 to 5 s. All on the loop thread. */
struct redisReply; /* <hiredis/hiredis.h> */
typedef struct ac_redis_t ac_redis_t;
typedef struct ac_redis_conf_t { /* what it points to lives longer than the connection */
    const char *host;            /* a name, or an IPv4 or IPv6 address */
    int port, db;
    const char *user, *password; /* NULL: none */
    bool tls;                    /* its certificate is checked, and that it is host's */
    const char *ca_file;         /* PEM, or NULL: the system's */
    apr_interval_time_t timeout; /* for each answer; a server that takes longer counts as away */
    /* NULL, or a command that every connection begins with: with an error for an answer the server counts as away.
     * One that writes finds out replicas, and servers that take no more. Its words may change between connections. */
    const char *const *proof;
    int n_proof;
    /* It is there, or it is not: told when that changes, and after the first try. why: for the log. May be NULL. */
    void (*on_state)(void *baton, bool up, const char *why);
    void *baton;
} ac_redis_conf_t;
typedef struct ac_redis_command_t {
    int argc;
    const char *const *argv;
    const size_t *len;
} ac_redis_command_t; /* len NULL: of text */
/* Never inside ac_redis_call(). reply is borrowed, and may be one of Redis' errors; NULL with err overloaded: it
 * could not be asked, or did not answer in time, and whether it has done what was wanted is not known. */
typedef void ac_redis_fn(void *baton, const struct redisReply *reply, const ac_err_t *err);
/* errors: internal (the CA file). */
apr_status_t ac_redis_create(ac_redis_t **predis, const ac_redis_conf_t *conf, ac_loop_t *loop, ac_work_t *work,
                             ac_err_t *err);
void ac_redis_start(ac_redis_t *redis); /* begins to connect */
bool ac_redis_is_up(const ac_redis_t *redis);
/* Copies the command. While the first connection is being made it waits, up to its timeout; later, without one, it
 * fails. */
void ac_redis_call(ac_redis_t *redis, const ac_redis_command_t *command, ac_redis_fn *fn, void *baton);
void ac_redis_destroy(
    ac_redis_t *redis); /* nobody is called back any more. Also when the loop has ended; NULL is fine */

/* ---- http.c: one exchange with an upstream ---- */
typedef struct ac_http_t ac_http_t;

typedef struct ac_http_request_t {
    const char *method, *url;
    const char *const *headers; /* "Name: value", NULL-terminated; may be NULL */
    const char *body;           /* copied; NULL: none */
    size_t body_len;
    apr_interval_time_t connect_timeout, first_byte_timeout, idle_timeout, total_timeout; /* 0: none */
    size_t max_response; /* bytes of body; over it: upstream_error. 0: AC_MAX_RESPONSE */
    int retries;         /* after the first try; never once on_head said a 2xx */
    int http_version;    /* 0: HTTP/2 over TLS where offered, else 1.1; 1: 1.1; 2: 2 over TLS */
    const char *ca_file; /* PEM; NULL: the system's. Verification cannot be turned off */
    int max_redirects;   /* 0: a 3xx is an answer like any other */
    /* refuse loopback, link-local, private, multicast … addresses, also after DNS and redirects */
    bool public_only;
    /* For redirects: "host", "*.host" (both with the scheme's own port), "host:port", NULL-terminated; NULL: any.
     * The URL's own scheme, host and port are implied. */
    const char *const *allow_hosts;
    bool raw_errors; /* deliver the body of a final non-2xx through on_body, as a 2xx's */
} ac_http_request_t;

typedef struct ac_http_head_t {
    int status;
    const char *content_type;        /* or "" */
    const char *request_id;          /* x-request-id, apim-request-id, x-ms-activity-id … or "" */
    apr_interval_time_t retry_after; /* retry-after-ms, retry-after; 0: none */
    const char *(*header)(const void *self, const char *name); /* any header by name, or NULL */
    const void *self;
} ac_http_head_t;

/* All on the loop thread, never inside ac_http_start(). After on_end or ac_http_cancel() nothing more comes. A
 * status that will be retried is not reported. */
typedef struct ac_http_cb_t {
    void (*on_head)(void *baton, const ac_http_head_t *head);    /* the final answer's head; may be NULL */
    bool (*on_body)(void *baton, const char *bytes, size_t len); /* false: stop here; on_end follows with APR_SUCCESS */
    /* Once. status APR_SUCCESS: an answer came to its end, whatever its HTTP status. err: what went wrong otherwise:
     * upstream_timeout ("no first byte within 60s"), upstream_error (connect, TLS, cut, over the cap), cancelled. For a
     * non-2xx without raw_errors
     * error_body holds at most AC_MAX_ERROR_BODY bytes of it. */
    void (*on_end)(void *baton, apr_status_t status, const ac_err_t *err, const char *error_body, size_t len);
    /* Whether a final-looking status with this body may be retried although the status says so; NULL: yes. */
    bool (*may_retry)(void *baton, int status, const char *error_body, size_t len);
} ac_http_cb_t;

/* Starts an exchange; copies what the request points to. Retries 408, 429, 5xx and connect errors with jitter,
 * honouring x-should-retry, retry-after-ms and retry-after, inside the total timeout (where there is none: up to a
 * minute). errors: invalid_request (a URL that is none). */
apr_status_t ac_http_start(ac_http_t **phttp, ac_loop_t *loop, const ac_http_request_t *request, const ac_http_cb_t *cb,
                           void *baton, ac_err_t *err);
/* Closes the exchange at once, the connection too where it was in mid-answer. on_end does not come. */
void ac_http_cancel(ac_http_t *http);
/* Whether text is an absolute http or https URL with a host and no user info. */
bool ac_http_address_url_valid(const char *url);
/* Whether a numeric address ("10.0.0.1", "::1") is one that public_only refuses; also for what is no address. */
bool ac_http_address_private(const char *address);
/* Whether what is sent to this host, without port and brackets, stays within its owner's reach: an address that is
 * no public one, or a name that public DNS does not have. */
bool ac_http_address_near(const char *host);

#endif
