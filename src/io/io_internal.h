/* SPDX-License-Identifier: Apache-2.0 */
/* How the files of io fit together; no other folder includes it. */
#ifndef AC_IO_INTERNAL_H
#define AC_IO_INTERNAL_H

#include "io.h"

/* timer.c: the heap. An array of (due, timer), four children to a node; entries carry the due time so that sifting
 * stays in it. */
typedef struct ac_timer_entry_t {
    apr_time_t due;
    ac_timer_t *timer;
} ac_timer_entry_t;
typedef struct ac_timers_t {
    ac_timer_entry_t *entries;
    int n, size;
} ac_timers_t;
ac_timers_t *ac_loop_timers(ac_loop_t *loop);
void ac_timers_run(ac_timers_t *timers, apr_time_t now); /* calls those due by now */
apr_time_t ac_timers_next(const ac_timers_t *timers);    /* 0: none is set */
void ac_timers_free(ac_timers_t *timers);
/* loop.c: realloc to n items; ends the process where memory has run out, as httpd does. */
void *ac_loop_grow(void *items, size_t n, size_t size);

/* multi.c: curl's multi interface on the loop. A loop has several curl multis of bounded size, since what curl does
 * at a transfer's start and end is linear in the connections of its multi. `void *easy` is a CURL. */
typedef struct ac_multi_t ac_multi_t;
typedef struct ac_transfer_t ac_transfer_t;
struct ac_transfer_t {                                  /* lives inside its owner; zero before first use */
    void (*on_done)(ac_transfer_t *transfer, int code); /* CURLcode; the easy handle is still there */
    void (*on_drop)(ac_transfer_t *transfer);           /* the loop is being destroyed */
    void *easy;
    struct ac_shard_t *shard;
    ac_transfer_t *next, *prev;
    bool added;
};
apr_status_t ac_multi_create(ac_multi_t **pmulti, ac_loop_t *loop, ac_err_t *err);
void ac_multi_destroy(ac_multi_t *multi);
ac_multi_t *ac_loop_multi(ac_loop_t *loop);
void ac_multi_join(ac_multi_t *multi, ac_transfer_t *transfer); /* on_drop may come from now on */
void ac_multi_leave(ac_transfer_t *transfer);
/* An easy handle for this transfer, with the loop's own options set. multiplex: it may share a connection. false:
 * out of memory. */
bool ac_multi_prepare(ac_multi_t *multi, ac_transfer_t *transfer, bool multiplex);
bool ac_multi_add(ac_transfer_t *transfer); /* lets it run; false: out of memory */
/* Takes the transfer off curl, closing its connection where it was in mid-answer, and its easy handle back. Not
 * inside a curl callback. */
void ac_multi_release(ac_transfer_t *transfer);
bool ac_multi_in_callback(const ac_multi_t *multi); /* curl is calling us: add and release are forbidden */

/* http_request.c: a request's copy, and how it goes into an easy handle */
typedef struct ac_http_request_copy_t {
    ac_http_request_t request;  /* pointers into this block, url and body_len aside */
    char *url;                  /* of its own: a redirect changes it */
    const char *origin_url;     /* the first one */
    struct curl_slist *headers; /* inside the block */
    bool send_body;
} ac_http_request_copy_t;
apr_status_t ac_http_request_copy(ac_http_request_copy_t **pcopy, const ac_http_request_t *request, ac_err_t *err);
void ac_http_request_free(ac_http_request_copy_t *copy);
bool ac_http_request_apply(const ac_http_request_copy_t *copy, void *easy);
bool ac_http_request_multiplexes(const ac_http_request_copy_t *copy); /* HTTP/2 is asked for */
/* Goes on to where a 3xx points: url, method, body and headers as they have to be there; whatever may be a secret is
 * dropped where the origin changes. errors: upstream_error */
apr_status_t ac_http_request_redirect(ac_http_request_copy_t *copy, int status, const char *location, ac_err_t *err);

/* http_answer.c: an answer as it comes */
typedef enum ac_http_answer_e {                        /* what is done with its body */
                                AC_HTTP_ANSWER_NONE,   /* no head yet */
                                AC_HTTP_ANSWER_GIVEN,  /* to on_body */
                                AC_HTTP_ANSWER_KEPT,   /* an error's, which may be retried */
                                AC_HTTP_ANSWER_SKIPPED /* a redirect's */
} ac_http_answer_e;
typedef enum ac_http_abort_e { /* why we made curl stop */
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
    ac_http_abort_e trouble; /* the first one */
    bool responded;          /* at least a byte has come */
    int status;
    size_t received, max;
    apr_interval_time_t retry_after;
    char *upstream_id; /* or NULL */
    ac_buf_t head;     /* header lines, each with its NUL */
    ac_buf_t kept;
} ac_http_answer_t;
void ac_http_answer_init(ac_http_answer_t *answer, size_t max);
void ac_http_answer_begin(ac_http_answer_t *answer); /* another try */
void ac_http_answer_free(ac_http_answer_t *answer);
/* Takes a header line as it came. A status line begins anew (interim answers); *pwhole: the empty line that ends a
 * head. */
apr_status_t ac_http_answer_header(ac_http_answer_t *answer, const char *line, size_t len, bool *pwhole);
void ac_http_answer_read_head(ac_http_answer_t *answer,
                              int status); /* the final one is whole: sets retry_after, upstream_id */
const char *ac_http_answer_find(const ac_http_answer_t *answer, const char *name); /* a header's value, or NULL */
bool ac_http_answer_redirects(const ac_http_answer_t *answer); /* whether it sends us to another URL */
bool ac_http_answer_retries(
    const ac_http_answer_t *answer); /* whether its status, or its header on that, says that a further try may do */
/* Keeps a part of the body, as far as AC_MAX_ERROR_BODY allows (or skips it, within the same bound). false: no more,
 * see trouble. */
bool ac_http_answer_keep(ac_http_answer_t *answer, const char *bytes, size_t len);
void ac_http_answer_abort(ac_http_answer_t *answer, ac_http_abort_e trouble);
/* Whether a trouble of ours is why curl ended with this code; sets err then. */
bool ac_http_answer_failed(const ac_http_answer_t *answer, int code, ac_err_t *err);

/* http_retry.c: the policy; pure */
bool ac_http_retry_status(int status, const char *should_retry); /* should_retry: x-should-retry, or NULL */
apr_interval_time_t ac_http_retry_backoff(int n);                /* before retry n = 0, 1, … */
/* From the headers' values, each may be NULL. wall: apr_time_now(). 0: none. */
apr_interval_time_t ac_http_retry_after(const char *after_ms, const char *after, apr_time_t wall);
/* How curl's code is told to people, and whether the request may be sent again if nothing has been answered. cause:
 * errno of the last socket that could not be made, or 0. errors: overloaded where this process has no descriptor or
 * memory left. */
bool ac_http_retry_curl_error(ac_err_t *err, int code, void *easy, int cause, apr_interval_time_t connect_timeout);

/* http_address.c: what may be connected to */
bool ac_http_address_sockaddr_private(const struct sockaddr *address);
/* Whether url's host is one of these ("host" and "*.host" mean the scheme's own port), or same_as's scheme, host and
 * port. */
bool ac_http_address_allowed(const char *url, const char *const *allow_hosts, const char *same_as);
bool ac_http_address_same_origin(const char *url, const char *other);

#endif
