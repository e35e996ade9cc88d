/* SPDX-License-Identifier: Apache-2.0 */
/* The layer that waits. One loop thread per child (epoll, timers, libcurl, posted commands) and a few work threads for
 * blocking calls. */
#ifndef AC_IO_H
#define AC_IO_H

#include "wire/wire.h"

#include <pthread.h>
#include <stdatomic.h>

struct curl_slist;
struct sockaddr;

/* ---- loop.c ---- */
/* Only the loop thread may call these functions, except for those whose name ends in _post. */
typedef void ac_task_fn(void *baton);

/* Creates a loop with an epoll descriptor, an eventfd and a curl multi handle of its own. Call it after fork. */
apr_status_t ac_loop_create(ac_loop_t **ploop, ac_err_t *err);
/* Runs until ac_loop_stop_post() is called. The caller provides the thread (httpd: ap_thread_create). */
void ac_loop_run(ac_loop_t *loop);
void ac_loop_stop_post(ac_loop_t *loop);
/* Frees everything and drops commands that did not run. Call it after ac_loop_run() has returned. */
void ac_loop_destroy(ac_loop_t *loop);
/* Runs fn(baton) on the loop, in the order of posting. Any thread, also before the loop runs. */
void ac_loop_post(ac_loop_t *loop, ac_task_fn *fn, void *baton);
/* The same, but does not wake a loop that sleeps: fn runs when anything else wakes it. For cleaning up. */
void ac_loop_post_later(ac_loop_t *loop, ac_task_fn *fn, void *baton);
bool ac_loop_is_current(const ac_loop_t *loop);
/* The monotonic time of this turn (ac_clock), read once per turn. */
apr_time_t ac_loop_now(const ac_loop_t *loop);
/* The longest time since the last call that the loop worked without looking for events. */
apr_interval_time_t ac_loop_longest_turn(ac_loop_t *loop);

/* A timer is a member of the object that uses it. Zero it before first use. */
typedef struct ac_timer_t {
    apr_time_t due;
    ac_task_fn *fn;
    void *baton;
    int slot; /* position in the heap + 1; 0: not set */
} ac_timer_t;
/* Sets or changes the timer: it fires once at `due` (ac_clock time), never inside this call. */
void ac_timer_set(ac_loop_t *loop, ac_timer_t *timer, apr_time_t due, ac_task_fn *fn, void *baton);
void ac_timer_cancel(ac_loop_t *loop, ac_timer_t *timer);

/* A task for later in this turn, after all events of the turn were read: completions, and writes of collected data. It
 * is a member of the object that uses it, zeroed before first use. Setting one that is already set does nothing. */
typedef struct ac_ready_t {
    ac_task_fn *fn;
    void *baton;
    struct ac_ready_t *next, *prev;
    bool queued;
} ac_ready_t;
void ac_loop_ready_set(ac_loop_t *loop, ac_ready_t *ready, ac_task_fn *fn, void *baton);
void ac_loop_ready_cancel(ac_loop_t *loop, ac_ready_t *ready);

/* A descriptor to watch. events: EPOLLIN, EPOLLOUT, EPOLLRDHUP … with their meaning in epoll. The watch is a member of
 * the object that uses it, and must be cancelled before the descriptor is closed or given away. After that, fn is not
 * called any more, not even for events that epoll has already reported in this turn. */
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
typedef struct ac_latch_t ac_latch_t; /* counted: a late answer is ignored and frees nothing that is in use */
ac_latch_t *ac_latch_create(void);    /* one reference for the waiter */
void ac_latch_ref(ac_latch_t *latch);
void ac_latch_unref(ac_latch_t *latch);
void ac_latch_open(ac_latch_t *latch);                      /* any thread */
bool ac_latch_wait(ac_latch_t *latch, apr_time_t deadline); /* ac_clock time; false: timed out */

/* ---- handover.c: what a worker leaves with the loop and waits for ---- */
/* Shared by a worker and the loop. The second of the two to finish (the worker gives up, or the loop answers) owns the
 * enclosing object and frees it; the first must not touch it again. */
typedef struct ac_handover_t {
    ac_latch_t *latch;
    atomic_int state;
} ac_handover_t;
void ac_handover_begin(ac_handover_t *handover); /* the worker calls it before it gives the object to the loop */
/* Called once by the loop, or by another thread to which the loop gave the object. Returns true if the worker owns the
 * object now; false if the worker has given up: the caller owns it. */
bool ac_handover_answer(ac_handover_t *handover);
/* Called once by the worker; deadline in ac_clock time. Returns true if it was answered: the worker owns the object.
 * Returns false if the deadline passed: the loop owns it. */
bool ac_handover_wait(ac_handover_t *handover, apr_time_t deadline);

/* ---- shared_lock.c: a lock in memory that processes share ---- */
int ac_shared_lock_init(pthread_mutex_t *lock); /* before the fork; returns an errno */
/* Any thread. Returns 0: acquired; EOWNERDEAD: acquired, but the previous holder was killed while it held the lock: the
 * caller must repair the data before it releases the lock. Another errno: not acquired within patience, for example
 * because the holder is stopped. */
int ac_shared_lock_acquire(pthread_mutex_t *lock, apr_interval_time_t patience);
void ac_shared_lock_release(pthread_mutex_t *lock);

/* ---- trim.c: returns freed memory to the system ---- */
typedef struct ac_trim_t { /* a member of an object that lives longer than loop and work; zero before first use */
    ac_loop_t *loop;
    struct ac_work_t *work;
    ac_timer_t timer;
    bool busy;
} ac_trim_t;
/* Checks every half minute, on a work thread, whether malloc holds much unused memory, and returns it to the system.
 * Loop thread. Source: malloc_trim(3); does nothing with a C library that lacks it. */
void ac_trim_watch(ac_trim_t *trim, ac_loop_t *loop, struct ac_work_t *work);
void ac_trim_unwatch(ac_trim_t *trim);

/* ---- work.c: threads for blocking calls ---- */
/* Starts n threads, with a queue of at most max_queued jobs. */
apr_status_t ac_work_create(ac_work_t **pwork, ac_loop_t *loop, int n_threads, int max_queued, ac_err_t *err);
/* Runs fn(baton) on a work thread, then done(baton) on the loop (done may be NULL). Any thread. EAGAIN: the queue is
 * full and the job is not queued. */
apr_status_t ac_work_post(ac_work_t *work, ac_task_fn *fn, ac_task_fn *done, void *baton);
/* Finishes queued jobs and joins the threads; ac_work_post() fails from then on. A second call does nothing. */
void ac_work_stop(ac_work_t *work);
/* Stops and frees it; no thread may post any more. NULL is allowed. */
void ac_work_destroy(ac_work_t *work);

/* ---- program.c: a program that works on bytes of strangers ---- */
typedef struct ac_program_t {
    const char *const *args; /* the path of the program first; NULL-terminated */
    int in;                  /* its standard input, a descriptor of the caller */
    ac_buf_t *out;           /* its standard output, at most the buffer's maximum; the caller's */
    int cpu_seconds;
    size_t memory; /* of its address space, in bytes */
    apr_interval_time_t timeout;
    int status; /* out: its exit status; -1: it was killed */
    bool late;  /* out: it was stopped after the timeout */
    bool cut;   /* out: it was stopped because it wrote more than the maximum */
} ac_program_t;
/* Runs a program to its end. It has an environment of its own, no other descriptor of this process, and can write no
 * file; its process group is killed in the end. Blocks: a work thread. errors: overloaded, internal: it was not
 * started. */
apr_status_t ac_program_run(ac_program_t *program, ac_err_t *err);
/* Finds a program in the system's folders; PATH is not used. */
bool ac_program_find(char *path, size_t size, const char *name);

/* ---- redis.c: a Redis server ---- */
/* One connection to a Redis server. It is kept as long as it lasts; a lost one is made again after 0.1 to 5 s. All on
 * the loop thread. */
struct redisReply; /* <hiredis/hiredis.h> */
typedef struct ac_redis_t ac_redis_t;
typedef struct ac_redis_conf_t { /* its pointers must stay valid longer than the connection */
    const char *host;            /* a name, or an IPv4 or IPv6 address */
    int port, db;
    const char *user, *password; /* NULL: none */
    bool tls;                    /* TLS, with a check of the certificate and of its name */
    const char *ca_file;         /* PEM, or NULL: the system's */
    apr_interval_time_t timeout; /* for each reply; a slower server counts as down */
    /* NULL, or a command that every connection begins with; if its reply is an error, the server counts as down. A
     * command that writes detects replicas, and servers that refuse writes. Its arguments may change between
     * connections. */
    const char *const *proof;
    int n_proof;
    /* Called when the server becomes available or unavailable, and after the first attempt. why: for the log. May be
     * NULL. */
    void (*on_state)(void *baton, bool up, const char *why);
    void *baton;
} ac_redis_conf_t;
typedef struct ac_redis_command_t {
    int argc;
    const char *const *argv;
    const size_t *len;
} ac_redis_command_t; /* len NULL: the arguments are NUL-terminated */
typedef struct ac_redis_script_t {
    const char *text; /* for EVAL */
    char sha1[41];    /* for EVALSHA */
} ac_redis_script_t;
/* Computes the hash of a script. text: not copied. Any thread. */
void ac_redis_script_init(ac_redis_script_t *script, const char *text);
/* Never called inside ac_redis_call(). reply is borrowed, and may be an error of Redis. NULL, with err overloaded: the
 * command could not be sent, or the reply did not come in time; Redis may have carried it out. */
typedef void ac_redis_fn(void *baton, const struct redisReply *reply, const ac_err_t *err);
/* Creates a connection that ac_redis_start() opens. errors: internal (the CA file). */
apr_status_t ac_redis_create(ac_redis_t **predis, const ac_redis_conf_t *conf, ac_loop_t *loop, ac_work_t *work,
                             ac_err_t *err);
void ac_redis_start(ac_redis_t *redis); /* begins to connect */
/* Copies the command. It waits for the first connection, at most for its timeout; later, without a connection, it
 * fails. */
void ac_redis_call(ac_redis_t *redis, const ac_redis_command_t *command, ac_redis_fn *fn, void *baton);
void ac_redis_destroy(
    ac_redis_t *redis); /* no callback comes after it; allowed when the loop has ended; redis may be NULL */

/* ---- http.c: one exchange with an upstream ---- */
typedef struct ac_http_t ac_http_t;

typedef struct ac_http_request_t {
    const char *method, *url;
    const char *const *headers; /* "Name: value", NULL-terminated; may be NULL */
    const char *body;           /* copied; NULL: none */
    size_t body_len;
    apr_interval_time_t connect_timeout, first_byte_timeout, idle_timeout, total_timeout; /* 0: none */
    size_t max_response; /* largest body, in bytes; a larger one is upstream_error. 0: AC_MAX_RESPONSE */
    int retries;         /* after the first attempt; none after on_head was called with a 2xx */
    int http_version;    /* 0: HTTP/2 over TLS where offered, else 1.1; 1: 1.1; 2: 2 over TLS */
    const char *ca_file; /* PEM; NULL: the system's. Verification cannot be turned off */
    int max_redirects;   /* 0: a 3xx is reported like any other response */
    bool keep_method;    /* only 307 and 308 are followed; by the others a POST would become a GET */
    /* refuse loopback, link-local, private, multicast … addresses, also after DNS and redirects */
    bool public_only;
    /* Hosts that redirects may lead to: "host", "*.host" (both with the scheme's own port), "host:port",
     * NULL-terminated; NULL: all. The URL's own scheme, host and port are always allowed. */
    const char *const *allow_hosts;
    bool raw_errors; /* pass the body of a final non-2xx to on_body, as that of a 2xx */
    /* The context for traceparent and tracestate, unless `headers` has them. Read when an attempt begins, so it is
     * borrowed until the exchange ends. A redirect to another origin drops both. NULL or empty: none is sent. */
    const ac_trace_t *trace;
    bool spans; /* each attempt is a span, and the context of its request */
    /* For these spans: the URL as it is configured, without the values of its parameters, which may be people's words.
     * NULL: they show the host only. */
    const char *url_template;
} ac_http_request_t;

typedef struct ac_http_head_t {
    int status;
    const char *content_type;        /* or "" */
    const char *request_id;          /* x-request-id, apim-request-id, x-ms-activity-id … or "" */
    apr_interval_time_t retry_after; /* retry-after-ms, retry-after; 0: none */
    const char *(*header)(const void *self, const char *name); /* any header by its name, or NULL */
    const void *self;
} ac_http_head_t;

/* All on the loop thread, never inside ac_http_start(). No callback comes after on_end or ac_http_cancel(). A status
 * that will be retried is not reported. */
typedef struct ac_http_cb_t {
    void (*on_head)(void *baton, const ac_http_head_t *head);    /* the head of the final response; may be NULL */
    bool (*on_body)(void *baton, const char *bytes, size_t len); /* false: stop here; on_end follows with APR_SUCCESS */
    /* Called once. status APR_SUCCESS: a response arrived completely, whatever its HTTP status. Otherwise err has the
     * cause: upstream_timeout ("no first byte within 60s"), upstream_error (connecting, TLS, a cut or too large
     * response), cancelled. For a non-2xx without raw_errors, error_body holds at most AC_MAX_ERROR_BODY bytes of its
     * body. */
    void (*on_end)(void *baton, apr_status_t status, const ac_err_t *err, const char *error_body, size_t len);
    /* Whether a response that would be retried by its status may be retried in view of its body. NULL: yes. */
    bool (*may_retry)(void *baton, int status, const char *error_body, size_t len);
    /* The request will be sent again. err: why this attempt has failed; with http_status, if it was answered. May be
     * NULL. */
    void (*on_retry)(void *baton, const ac_err_t *err);
    /* There is a connection, and the first byte of the request is about to be sent: from now on the server may carry it
     * out. May be called more than once; may be NULL. */
    void (*on_send)(void *baton);
} ac_http_cb_t;

/* Starts an exchange; copies what the request points to. Retries 408, 429, 5xx and connection errors after a random
 * delay, and obeys x-should-retry, retry-after-ms and retry-after, within the total timeout (without one: up to a
 * minute). errors: invalid_request (not a valid URL). */
apr_status_t ac_http_start(ac_http_t **phttp, ac_loop_t *loop, const ac_http_request_t *request, const ac_http_cb_t *cb,
                           void *baton, ac_err_t *err);
/* Ends the exchange at once; also closes the connection if a response is incomplete. on_end is not called. */
void ac_http_cancel(ac_http_t *http);
/* Whether text is an absolute http or https URL with a host and no user info. */
bool ac_http_address_url_valid(const char *url);
/* The host of a URL, without brackets, and its port, also if the URL does not name it. false: it is no such URL. */
#define AC_HOST_SIZE 256
bool ac_http_address_server(char host[AC_HOST_SIZE], int *pport, const char *url);
/* Whether a numeric address ("10.0.0.1", "::1") is one that public_only refuses; true also for text that is not an
 * address. */
bool ac_http_address_private(const char *address);
/* Whether requests to this host (without port and brackets) stay in the operator's own network: the address is not
 * public, or public DNS cannot contain the name. */
bool ac_http_address_near(const char *host);

#endif
