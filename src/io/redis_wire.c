/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes between this process and Redis: a non-blocking socket, TLS if configured, and hiredis' parser of
 * replies. */
#include "redis.h"

#include <errno.h>
#include <string.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#define READ_SIZE 16384
#define READS_PER_TURN 16 /* then other descriptors are served */

static void on_socket(void *baton, uint32_t events);

apr_status_t ac_redis_wire_prepare(ac_redis_t *redis, ac_err_t *err)
{
    const char *ca = redis->conf.ca_file;
    if (!redis->conf.tls) {
        return APR_SUCCESS;
    }
    redis->context = SSL_CTX_new(TLS_client_method());
    if (!redis->context || !SSL_CTX_set_min_proto_version(redis->context, TLS1_2_VERSION) ||
        !(ca ? SSL_CTX_load_verify_locations(redis->context, ca, NULL)
             : SSL_CTX_set_default_verify_paths(redis->context))) {
        ERR_clear_error();
        return ac_err_set(err, AC_INTERNAL, "the certificates for Redis (%s) cannot be read", ca ? ca : "the system's");
    }
    SSL_CTX_set_verify(redis->context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(redis->context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return APR_SUCCESS;
}

void ac_redis_wire_end(ac_redis_t *redis)
{
    SSL_CTX_free(redis->context);
    redis->context = NULL;
}

static void set_watch(ac_redis_t *redis)
{
    uint32_t events = EPOLLIN | (redis->wants_write ? EPOLLOUT : 0);
    if (ac_loop_watch_set(redis->loop, &redis->watch, redis->fd, events, on_socket, redis) != APR_SUCCESS) {
        ac_redis_down(redis, "its connection cannot be watched");
    }
}

void ac_redis_wire_connect(ac_redis_t *redis, const struct sockaddr *address, size_t len)
{
    int one = 1;
    redis->reader = redisReaderCreate();
    redis->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (redis->fd < 0 || !redis->reader) {
        ac_redis_down(redis, redis->fd < 0 ? strerror(errno) : "out of memory");
        return;
    }
    setsockopt(redis->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(redis->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    if (connect(redis->fd, address, (socklen_t)len) && errno != EINPROGRESS) {
        ac_redis_down(redis, strerror(errno));
        return;
    }
    redis->wants_write = true;
    set_watch(redis);
}

void ac_redis_wire_close(ac_redis_t *redis)
{
    ac_loop_watch_cancel(redis->loop, &redis->watch);
    ac_loop_ready_cancel(redis->loop, &redis->write_ready);
    SSL_free(redis->tls);
    redis->tls = NULL;
    if (redis->reader) {
        redisReaderFree(redis->reader);
        redis->reader = NULL;
    }
    if (redis->fd >= 0) {
        close(redis->fd);
        redis->fd = -1;
    }
    redis->wants_write = false;
}

/* ---- TLS ---- */

/* The certificate must have the configured name or address. */
static bool begin_tls(ac_redis_t *redis)
{
    unsigned char address[sizeof(struct in6_addr)];
    const char *host = redis->conf.host;
    redis->tls = SSL_new(redis->context);
    if (!redis->tls || !SSL_set_fd(redis->tls, redis->fd)) {
        return false;
    }
    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(redis->tls), host) == 1;
    }
    return SSL_set1_host(redis->tls, host) && SSL_set_tlsext_host_name(redis->tls, host);
}

/* Handles an unsuccessful result of OpenSSL. Returns true if the call has to be repeated when the socket is ready. */
static bool tls_waits(ac_redis_t *redis, int result)
{
    int why = SSL_get_error(redis->tls, result);
    ERR_clear_error();
    redis->wants_write = why == SSL_ERROR_WANT_WRITE;
    return why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ;
}

static void agree_on_tls(ac_redis_t *redis)
{
    int result = SSL_connect(redis->tls);
    if (result == 1) {
        redis->wants_write = false;
        ac_redis_connected(redis);
        return;
    }
    if (tls_waits(redis, result)) {
        set_watch(redis);
        return;
    }
    char why[160];
    long verified = SSL_get_verify_result(redis->tls);
    snprintf(why, sizeof(why), "TLS: %.120s",
             verified == X509_V_OK ? "it does not speak it" : X509_verify_cert_error_string(verified));
    ac_redis_down(redis, why);
}

/* ---- writing ---- */

/* Returns the number of written bytes; 0: not writable now; -1: the connection is lost. */
static ssize_t redis_wire_put(ac_redis_t *redis, const char *data, size_t len)
{
    if (redis->tls) {
        ERR_clear_error();
        int n = SSL_write(redis->tls, data, len < INT32_MAX ? (int)len : INT32_MAX);
        return n > 0 ? n : tls_waits(redis, n) ? 0 : -1;
    }
    ssize_t n;
    do {
        n = send(redis->fd, data, len, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    redis->wants_write = n < 0 && errno == EAGAIN;
    return redis->wants_write ? 0 : n;
}

void ac_redis_wire_write(ac_redis_t *redis)
{
    for (;;) {
        ac_buf_t *from = redis->greeting.len ? &redis->greeting : &redis->out;
        if (!from->len || (from == &redis->out && redis->state != AC_REDIS_UP)) {
            redis->wants_write = false;
            break;
        }
        ssize_t n = redis_wire_put(redis, from->data, from->len);
        if (n < 0) {
            ac_redis_down(redis, "it closed the connection");
            return;
        }
        if (n == 0) {
            break;
        }
        ac_buf_shift(from, (size_t)n);
    }
    set_watch(redis);
}

static void write_now(void *baton)
{
    ac_redis_t *redis = baton;
    if (redis->state == AC_REDIS_UP) {
        ac_redis_wire_write(redis);
    }
}

void ac_redis_wire_write_later(ac_redis_t *redis)
{
    ac_loop_ready_set(redis->loop, &redis->write_ready, write_now, redis);
}

/* ---- reading ---- */

/* Returns the number of bytes; 0: no data now; -1: the connection is lost. */
static ssize_t redis_wire_get(ac_redis_t *redis, char *data, size_t len)
{
    if (redis->tls) {
        ERR_clear_error();
        int n = SSL_read(redis->tls, data, (int)len);
        return n > 0 ? n : tls_waits(redis, n) ? 0 : -1;
    }
    ssize_t n;
    do {
        n = recv(redis->fd, data, len, 0);
    } while (n < 0 && errno == EINTR);
    return n > 0 ? n : n < 0 && errno == EAGAIN ? 0 : -1;
}

/* Returns false if the connection is lost. */
static bool take_replies(ac_redis_t *redis)
{
    for (;;) {
        void *reply = NULL;
        if (redisReaderGetReply(redis->reader, &reply) != REDIS_OK) {
            ac_redis_down(redis, "it does not speak Redis' protocol");
            return false;
        }
        if (!reply) {
            return true;
        }
        bool goes_on = ac_redis_answered(redis, reply);
        freeReplyObject(reply);
        if (!goes_on) {
            return redis->state != AC_REDIS_AWAY;
        }
    }
}

static void read_now(ac_redis_t *redis)
{
    char data[READ_SIZE];
    for (int i = 0; i < READS_PER_TURN; i++) {
        ssize_t n = redis_wire_get(redis, data, sizeof(data));
        if (n < 0) {
            ac_redis_down(redis, "it closed the connection");
            return;
        }
        if (n == 0) {
            break;
        }
        if (redisReaderFeed(redis->reader, data, (size_t)n) != REDIS_OK || redis->reader->len > AC_MAX_REDIS_REPLY) {
            ac_redis_down(redis, "its answer is too long");
            return;
        }
        if (!take_replies(redis)) {
            return;
        }
    }
    set_watch(redis);
}

static void end_connecting(ac_redis_t *redis)
{
    int status = 0;
    socklen_t len = sizeof(status);
    if (getsockopt(redis->fd, SOL_SOCKET, SO_ERROR, &status, &len) || status) {
        ac_redis_down(redis, strerror(status ? status : errno));
        return;
    }
    redis->wants_write = false;
    if (!redis->conf.tls) {
        ac_redis_connected(redis);
        return;
    }
    redis->state = AC_REDIS_TLS;
    if (begin_tls(redis)) {
        agree_on_tls(redis);
    } else {
        ac_redis_down(redis, "TLS cannot be begun");
    }
}

static void on_socket(void *baton, uint32_t events)
{
    ac_redis_t *redis = baton;
    if (redis->state == AC_REDIS_CONNECTING) {
        end_connecting(redis);
        return;
    }
    if (redis->state == AC_REDIS_TLS) {
        agree_on_tls(redis);
        return;
    }
    if (events & EPOLLOUT) {
        ac_redis_wire_write(redis);
    }
    if (redis->fd >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
        read_now(redis);
    }
}
