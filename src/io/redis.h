/* SPDX-License-Identifier: Apache-2.0 */
/* Declarations that redis.c and redis_wire.c share. All functions are for the loop thread. */
#ifndef AC_REDIS_H
#define AC_REDIS_H

#include "io.h"

#include <hiredis/hiredis.h>
#include <openssl/ssl.h>

typedef enum ac_redis_state_e {
    AC_REDIS_AWAY, /* waits for its next attempt */
    AC_REDIS_LOOKING_UP,
    AC_REDIS_CONNECTING,
    AC_REDIS_TLS,
    AC_REDIS_GREETING, /* AUTH, SELECT, PING and the proof are not all answered yet */
    AC_REDIS_UP
} ac_redis_state_e;

struct ac_redis_call_t {
    ac_redis_fn *fn;
    void *baton;
    apr_time_t began, due;
    struct ac_redis_call_t *next;
};

typedef struct ac_redis_lookup_t ac_redis_lookup_t;

struct ac_redis_t {
    ac_redis_conf_t conf;
    ac_loop_t *loop;
    ac_work_t *work;
    ac_redis_state_e state;
    bool hopeful;               /* the first connection is being opened; calls wait for it */
    bool reported, reported_up; /* on_state was called; its last argument */
    unsigned n_attempts;
    ac_redis_lookup_t *lookup; /* running on a work thread */
    apr_interval_time_t backoff;
    apr_time_t step_due; /* of the next attempt, or the deadline of the current one; 0: none */
    ac_timer_t timer;

    struct ac_redis_call_t *first, *last; /* sent or to be sent, not answered yet */
    struct ac_redis_call_t *failed;       /* their callbacks are called from failed_ready */
    int n_calls, n_greetings;
    ac_ready_t failed_ready;

    /* redis_wire.c */
    int fd;
    ac_watch_t watch;
    ac_ready_t write_ready;
    SSL_CTX *context;
    SSL *tls;
    bool wants_write; /* waits until the socket, or TLS, can be written to */
    redisReader *reader;
    ac_buf_t greeting, out; /* the greeting is sent first */
};

/* redis.c, for redis_wire.c */
void ac_redis_down(ac_redis_t *redis, const char *why);
void ac_redis_connected(ac_redis_t *redis);                         /* also after the TLS handshake */
bool ac_redis_answered(ac_redis_t *redis, const redisReply *reply); /* false: stop reading, the connection is lost */

/* redis_wire.c; it reports failures with ac_redis_down() */
apr_status_t ac_redis_wire_prepare(ac_redis_t *redis, ac_err_t *err); /* errors: internal */
void ac_redis_wire_connect(ac_redis_t *redis, const struct sockaddr *address, size_t len);
void ac_redis_wire_write(ac_redis_t *redis);
void ac_redis_wire_write_later(ac_redis_t *redis); /* once in this turn of the loop, with all further commands */
void ac_redis_wire_close(ac_redis_t *redis);
void ac_redis_wire_end(ac_redis_t *redis);

#endif
