/* SPDX-License-Identifier: Apache-2.0 */
/* Declarations that only the files of this folder share. */
#ifndef AC_IO_INTERNAL_H
#define AC_IO_INTERNAL_H

#include "io.h"

/* timers.c: the heap. An array of (due, timer), four children per node. Entries contain the due time, so that sifting
 * reads no timer. */
typedef struct ac_timer_entry_t {
    apr_time_t due;
    ac_timer_t *timer;
} ac_timer_entry_t;
typedef struct ac_timers_t {
    ac_timer_entry_t *entries;
    int n, size;
} ac_timers_t;
ac_timers_t *ac_loop_timers(ac_loop_t *loop);
void ac_timers_run(ac_timers_t *timers, apr_time_t now); /* calls those that are due */
apr_time_t ac_timers_next(const ac_timers_t *timers);    /* 0: no timer is set */
void ac_timers_free(ac_timers_t *timers);
/* loop.c: realloc to n items. Without memory the process ends, as httpd does. */
void *ac_loop_grow(void *items, size_t n, size_t size);

/* multi.c: curl's multi interface on the loop. A loop has several curl multi handles of bounded size, because curl's
 * work at the start and end of a transfer is linear in the connections of its multi handle. `void *easy` is a CURL. */
typedef struct ac_multi_t ac_multi_t;
typedef struct ac_transfer_t ac_transfer_t;
struct ac_transfer_t {                                  /* a member of the object that uses it; zero before first use */
    void (*on_done)(ac_transfer_t *transfer, int code); /* code: a CURLcode; the easy handle still exists */
    void (*on_drop)(ac_transfer_t *transfer);           /* the loop is being destroyed */
    void *easy;
    struct ac_shard_t *shard;
    ac_transfer_t *next, *prev;
    bool added;
};
apr_status_t ac_multi_create(ac_multi_t **pmulti, ac_loop_t *loop, ac_err_t *err);
void ac_multi_destroy(ac_multi_t *multi);
ac_multi_t *ac_loop_multi(ac_loop_t *loop);
void ac_multi_join(ac_multi_t *multi, ac_transfer_t *transfer); /* on_drop may be called from now on */
void ac_multi_leave(ac_transfer_t *transfer);
/* Gives the transfer an easy handle with the loop's own options. multiplex: it may share a connection. Returns false if
 * memory ran out. */
bool ac_multi_prepare(ac_multi_t *multi, ac_transfer_t *transfer, bool multiplex);
bool ac_multi_add(ac_transfer_t *transfer); /* starts it; false: memory ran out */
/* Removes the transfer from curl and takes its easy handle back. Closes the connection if a response is incomplete. Not
 * inside a curl callback. */
void ac_multi_release(ac_transfer_t *transfer);
bool ac_multi_in_callback(const ac_multi_t *multi); /* curl is calling us: add and release are forbidden */

/* http_request.c: a request's copy, and its options of an easy handle */
typedef struct ac_http_request_copy_t {
    ac_http_request_t request;  /* pointers into this block, url and body_len aside */
    char *url;                  /* a copy of its own: a redirect changes it */
    const char *origin_url;     /* the first one */
    struct curl_slist *headers; /* inside the block */
    char *traceparent;          /* the header, AC_HTTP_TRACEPARENT_ROOM bytes; NULL: none is sent */
    bool send_body;
} ac_http_request_copy_t;
#define AC_HTTP_TRACEPARENT "traceparent: "
#define AC_HTTP_TRACEPARENT_ROOM (sizeof(AC_HTTP_TRACEPARENT) + AC_TRACEPARENT_SIZE)
apr_status_t ac_http_request_copy(ac_http_request_copy_t **pcopy, const ac_http_request_t *request, ac_err_t *err);
void ac_http_request_free(ac_http_request_copy_t *copy);
bool ac_http_request_apply(const ac_http_request_copy_t *copy, void *easy);
/* The whole request has been sent: frees the copy, and what curl holds for it. Also inside curl's callbacks. */
void ac_http_request_forget(ac_http_request_copy_t *copy, void *easy);
bool ac_http_request_multiplexes(const ac_http_request_copy_t *copy); /* HTTP/2 is requested */
/* Changes the request to the target of a 3xx: url, method, body and headers. Drops everything that may be a secret if
 * the origin changes. errors: upstream_error */
apr_status_t ac_http_request_redirect(ac_http_request_copy_t *copy, int status, const char *location, ac_err_t *err);

/* http_trace.c: the context that a request carries, and the spans of its attempts */
typedef struct ac_http_trace_t {
    const ac_trace_t *context; /* NULL: none */
    char *url_template;        /* or NULL */
    bool spans;
    int n_sent;      /* attempts and redirects so far */
    ac_span_t *span; /* of the current attempt; NULL: none */
} ac_http_trace_t;
struct ac_http_answer_t;
void ac_http_trace_init(ac_http_trace_t *trace, const ac_http_request_t *request);
void ac_http_trace_begin(ac_http_trace_t *trace, ac_http_request_copy_t *copy); /* an attempt, or a redirect */
/* It has ended. kind: why it failed; AC_OK: the status says how it went. */
void ac_http_trace_end(ac_http_trace_t *trace, const struct ac_http_answer_t *answer, ac_kind_e kind);
void ac_http_trace_free(ac_http_trace_t *trace);

/* http_answer.c: a response as it arrives */
typedef enum ac_http_answer_e {                        /* the use of its body */
                                AC_HTTP_ANSWER_NONE,   /* no head yet */
                                AC_HTTP_ANSWER_GIVEN,  /* passed to on_body */
                                AC_HTTP_ANSWER_KEPT,   /* kept: the body of an error, which may be retried */
                                AC_HTTP_ANSWER_SKIPPED /* dropped: the body of a redirect */
} ac_http_answer_e;
typedef enum ac_http_abort_e { /* the reason for which we made curl stop */
                               AC_HTTP_ABORT_NONE,
                               AC_HTTP_ABORT_STOPPED,
                               AC_HTTP_ABORT_ENOUGH,
                               AC_HTTP_ABORT_TOO_LONG,
                               AC_HTTP_ABORT_HEAD_TOO_LONG,
                               AC_HTTP_ABORT_PRIVATE_ADDRESS,
                               AC_HTTP_ABORT_NO_MEMORY
} ac_http_abort_e;
typedef struct ac_http_answer_t {
    ac_http_answer_e kind;
    ac_http_abort_e abort_reason; /* the first one */
    bool responded;               /* at least one byte has arrived */
    int status;
    size_t received, max;
    apr_interval_time_t retry_after;
    char *upstream_id; /* or NULL */
    ac_buf_t head;     /* header lines, each with its NUL */
    ac_buf_t kept;
} ac_http_answer_t;
void ac_http_answer_init(ac_http_answer_t *answer, size_t max);
void ac_http_answer_begin(ac_http_answer_t *answer); /* begins another attempt */
void ac_http_answer_free(ac_http_answer_t *answer);
/* Handles a header line as it arrives. A status line resets the head (interim responses). *pwhole: the empty line that
 * ends a head. */
apr_status_t ac_http_answer_header(ac_http_answer_t *answer, const char *line, size_t len, bool *pwhole);
void ac_http_answer_read_head(ac_http_answer_t *answer,
                              int status); /* the final head is complete: sets retry_after, upstream_id */
const char *ac_http_answer_find(const ac_http_answer_t *answer, const char *name); /* a header's value, or NULL */
ac_http_head_t ac_http_answer_head(const ac_http_answer_t *answer);                /* points into answer */
/* Whether it redirects to another URL. keep_method: as in ac_http_request_t. */
bool ac_http_answer_redirects(const ac_http_answer_t *answer, bool keep_method);
bool ac_http_answer_retries(const ac_http_answer_t *answer); /* whether its status, or x-should-retry, allows a retry */
/* Keeps a part of the body up to AC_MAX_ERROR_BODY, or skips it within the same bound. Returns false at the bound;
 * abort_reason says why. */
bool ac_http_answer_keep(ac_http_answer_t *answer, const char *bytes, size_t len);
void ac_http_answer_abort(ac_http_answer_t *answer, ac_http_abort_e reason);
/* Returns true, and sets err, if curl ended with this code because of our abort_reason. */
bool ac_http_answer_failed(const ac_http_answer_t *answer, int code, ac_err_t *err);

/* http_retry.c: the policy, without any state */
bool ac_http_retry_status(int status, const char *should_retry); /* should_retry: x-should-retry, or NULL */
apr_interval_time_t ac_http_retry_backoff(int n);                /* the delay before retry n = 0, 1, … */
/* The delay that the header values ask for; each may be NULL. wall: apr_time_now(). 0: none. */
apr_interval_time_t ac_http_retry_after(const char *after_ms, const char *after, apr_time_t wall);
/* Sets err from curl's code. Returns whether the request may be sent again, provided that no answer has come. cause:
 * errno of the last socket that could not be created, or 0. errors: overloaded if this process has no descriptor or
 * memory left. */
bool ac_http_retry_curl_error(ac_err_t *err, int code, void *easy, int cause, apr_interval_time_t connect_timeout);

/* http_address.c: addresses that may be connected to */
bool ac_http_address_sockaddr_private(const struct sockaddr *address);
/* Whether url's host is in allow_hosts ("host" and "*.host" mean the scheme's own port), or has same_as's scheme, host
 * and port. */
bool ac_http_address_allowed(const char *url, const char *const *allow_hosts, const char *same_as);
bool ac_http_address_same_origin(const char *url, const char *other);

#endif
