/* SPDX-License-Identifier: Apache-2.0 */
/* What redis.c and redis_wire.c share; nobody else includes this. All of it is the loop thread's. */
#ifndef AC_REDIS_H
#define AC_REDIS_H

#include "io.h"

#include <hiredis/hiredis.h>
#include <openssl/ssl.h>

typedef enum ac_redis_state_e {
    AC_REDIS_AWAY, /* waits for its next try */
    AC_REDIS_LOOKING_UP,
    AC_REDIS_CONNECTING,
    AC_REDIS_TLS,
    AC_REDIS_GREETING, /* AUTH, SELECT, PING and the proof are not all answered */
    AC_REDIS_UP
} ac_redis_state_e;

struct ac_redis_call_t {
    ac_redis_fn *fn;
    void *baton;
    apr_time_t due;
    struct ac_redis_call_t *next;
};

typedef struct ac_redis_lookup_t ac_redis_lookup_t;

struct ac_redis_t {
    ac_redis_conf_t conf;
    ac_loop_t *loop;
    ac_work_t *work;
    ac_redis_state_e state;
    bool hopeful;       /* the first connection is being made, and calls wait for it */
    bool told, told_up; /* on_state was called; with this */
    unsigned n_attempts;
    ac_redis_lookup_t *lookup; /* a work thread is at it */
    apr_interval_time_t backoff;
    apr_time_t step_due; /* of the next try, or of the end of this one; 0: neither */
    ac_timer_t timer;

    struct ac_redis_call_t *first, *last; /* sent or to be sent, not answered */
    struct ac_redis_call_t *failed;       /* to be told so */
    int n_calls, n_greetings;
    ac_ready_t failed_ready;

    /* redis_wire.c */
    int fd;
    ac_watch_t watch;
    ac_ready_t write_ready;
    SSL_CTX *context;
    SSL *tls;
    bool wants_write; /* the socket, or TLS, is to say when it can be written to */
    redisReader *reader;
    ac_buf_t greeting, out; /* the greeting goes first */
};

/* redis.c, for redis_wire.c */
void ac_redis_down(ac_redis_t *redis, const char *why);
void ac_redis_connected(ac_redis_t *redis);                         /* and TLS is agreed on */
bool ac_redis_answered(ac_redis_t *redis, const redisReply *reply); /* false: stop reading, the connection is gone */

/* redis_wire.c. Trouble is told by ac_redis_down(). */
apr_status_t ac_redis_wire_prepare(ac_redis_t *redis, ac_err_t *err); /* errors: internal */
void ac_redis_wire_connect(ac_redis_t *redis, const struct sockaddr *address, size_t len);
void ac_redis_wire_write(ac_redis_t *redis);
void ac_redis_wire_write_later(ac_redis_t *redis); /* in this turn of the loop: what else is said goes with it */
void ac_redis_wire_close(ac_redis_t *redis);
void ac_redis_wire_end(ac_redis_t *redis);

#endif
