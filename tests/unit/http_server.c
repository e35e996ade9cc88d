/* SPDX-License-Identifier: Apache-2.0 */
/* The scripted server: a thread accepts, a thread for each connection plays its scripts. */
#include "http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_REQUESTS 64
#define MAX_CONNECTIONS 64
#define MAX_REQUEST (4 * 1024 * 1024)
#define PATIENCE 20 /* seconds */

typedef struct peer_t {
    http_server_t *server;
    int fd;
    pthread_t thread;
    char *input;
    size_t len, size;
} peer_t;

struct http_server_t {
    const server_step_t *const *scripts;
    int listener, port;
    int stop_fd;
    int gates[SERVER_GATES]; /* eventfds, written once and never read */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int n_requests, n_gone, n_peers;
    char *requests[MAX_REQUESTS];
    peer_t peers[MAX_CONNECTIONS];
};

static void fail(const char *what)
{
    perror(what);
    abort();
}

/* 1: the descriptor is ready; 0: the server stops; -1: the client has closed. With fd < 0 it waits for the client
 * only. */
static int wait_for(peer_t *peer, int fd, short client_events)
{
    struct pollfd fds[] = {
        {.fd = peer->server->stop_fd, .events = POLLIN},
        {.fd = peer->fd, .events = (short)(client_events | POLLRDHUP)},
        {.fd = fd, .events = POLLIN},
    };
    while (poll(fds, 3, -1) < 0 && errno == EINTR) {
    }
    if (fds[0].revents) {
        return 0;
    }
    if (client_events && fds[1].revents & client_events) {
        return 1;
    }
    if (fds[1].revents & (POLLRDHUP | POLLHUP | POLLERR)) {
        return -1;
    }
    return 1;
}

static int send_all(peer_t *peer, const char *text, size_t len)
{
    while (len) {
        ssize_t n = send(peer->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            text += n;
            len -= (size_t)n;
            continue;
        }
        if (errno != EAGAIN) {
            return -1;
        }
        int status = wait_for(peer, -1, POLLOUT);
        if (status <= 0) {
            return status ? -1 : 0;
        }
    }
    return 1;
}

static int repeat(peer_t *peer, const server_step_t *step)
{
    int status = 1, times = step->number ? step->number : 1;
    for (int i = 0; i < times && status > 0; i++) {
        status = send_all(peer, step->text, strlen(step->text));
    }
    return status;
}

static int trickle(peer_t *peer, const char *text)
{
    int status = 1;
    for (; *text && status > 0; text++) {
        status = send_all(peer, text, 1);
    }
    return status;
}

static int hang_up(peer_t *peer, bool reset)
{
    struct linger linger = {1, 0};
    if (reset) {
        setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    }
    pthread_mutex_lock(&peer->server->lock);
    close(peer->fd);
    peer->fd = -1;
    pthread_mutex_unlock(&peer->server->lock);
    return 0;
}

static int play_step(peer_t *peer, const server_step_t *step)
{
    switch (step->verb) {
    case SERVER_SEND: return repeat(peer, step);
    case SERVER_TRICKLE: return trickle(peer, step->text);
    case SERVER_GATE: return wait_for(peer, peer->server->gates[step->number], 0);
    case SERVER_HANG: return wait_for(peer, -1, 0);
    case SERVER_CUT: return hang_up(peer, false);
    case SERVER_RESET: return hang_up(peer, true);
    default: return 0;
    }
}

/* Whether the connection may be used again. */
static bool play(peer_t *peer, const server_step_t *step)
{
    int status = 1;
    for (; step->verb != SERVER_END && status > 0; step++) {
        status = play_step(peer, step);
    }
    if (status < 0) {
        pthread_mutex_lock(&peer->server->lock);
        peer->server->n_gone++;
        pthread_cond_broadcast(&peer->server->changed);
        pthread_mutex_unlock(&peer->server->lock);
    }
    return status > 0;
}

static size_t request_len(const peer_t *peer)
{
    const char *end = peer->len ? strstr(peer->input, "\r\n\r\n") : NULL;
    if (!end) {
        return 0;
    }
    const char *length = strcasestr(peer->input, "\r\ncontent-length:");
    size_t body = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
    size_t len = (size_t)(end - peer->input) + 4 + body;
    return len <= peer->len ? len : 0;
}

static bool read_more(peer_t *peer)
{
    if (peer->size - peer->len < 65536) {
        peer->size = peer->size * 2 + 131072;
        peer->input = peer->size < MAX_REQUEST * 4 ? realloc(peer->input, peer->size) : NULL;
        if (!peer->input) {
            fail("request");
        }
    }
    if (wait_for(peer, -1, POLLIN) <= 0) {
        return false;
    }
    ssize_t n = recv(peer->fd, peer->input + peer->len, peer->size - peer->len - 1, 0);
    if (n <= 0) {
        return false;
    }
    peer->len += (size_t)n;
    peer->input[peer->len] = '\0';
    return true;
}

/* Records the request and returns the script of its answer. */
static const server_step_t *take_request(peer_t *peer, size_t len)
{
    http_server_t *server = peer->server;
    pthread_mutex_lock(&server->lock);
    int i = server->n_requests;
    if (i == MAX_REQUESTS) {
        fail("too many requests");
    }
    server->requests[i] = strndup(peer->input, len);
    server->n_requests++;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    memmove(peer->input, peer->input + len, peer->len - len + 1);
    peer->len -= len;
    int n = 0;
    while (n < i && server->scripts[n + 1]) {
        n++;
    }
    return server->scripts[n];
}

static void *serve(void *baton)
{
    peer_t *peer = baton;
    int on = 1;
    setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    bool going = true;
    while (going) {
        size_t len;
        while (!(len = request_len(peer)) && going) {
            going = read_more(peer);
        }
        going = going && play(peer, take_request(peer, len));
    }
    if (peer->fd >= 0) {
        hang_up(peer, false);
    }
    free(peer->input);
    return NULL;
}

static void *accept_all(void *baton)
{
    http_server_t *server = baton;
    struct pollfd fds[] = {
        {.fd = server->stop_fd, .events = POLLIN},
        {.fd = server->listener, .events = POLLIN},
    };
    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno == EINTR) {
            continue;
        }
        if (fds[0].revents) {
            return NULL;
        }
        int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0) {
            continue;
        }
        pthread_mutex_lock(&server->lock);
        if (server->n_peers == MAX_CONNECTIONS) {
            fail("too many connections");
        }
        peer_t *peer = &server->peers[server->n_peers];
        *peer = (peer_t){.server = server, .fd = fd};
        if (pthread_create(&peer->thread, NULL, serve, peer)) {
            fail("thread");
        }
        server->n_peers++;
        pthread_cond_broadcast(&server->changed);
        pthread_mutex_unlock(&server->lock);
    }
}

http_server_t *http_server_start(const server_step_t *const *scripts)
{
    http_server_t *server = calloc(1, sizeof(*server));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    if (!server) {
        fail("server");
    }
    server->scripts = scripts;
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server->listener < 0 || bind(server->listener, (struct sockaddr *)&address, len) ||
        listen(server->listener, 128) || getsockname(server->listener, (struct sockaddr *)&address, &len)) {
        fail("listener");
    }
    server->port = ntohs(address.sin_port);
    server->stop_fd = eventfd(0, EFD_CLOEXEC);
    for (int i = 0; i < SERVER_GATES; i++) {
        server->gates[i] = eventfd(0, EFD_CLOEXEC);
    }
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->changed, NULL);
    if (pthread_create(&server->thread, NULL, accept_all, server)) {
        fail("thread");
    }
    return server;
}

void http_server_stop(http_server_t *server)
{
    uint64_t one = 1;
    if (write(server->stop_fd, &one, sizeof(one)) < 0) {
        fail("stop");
    }
    pthread_join(server->thread, NULL);
    for (int i = 0; i < server->n_peers; i++) {
        pthread_join(server->peers[i].thread, NULL);
    }
    for (int i = 0; i < server->n_requests; i++) {
        free(server->requests[i]);
    }
    for (int i = 0; i < SERVER_GATES; i++) {
        close(server->gates[i]);
    }
    close(server->stop_fd);
    close(server->listener);
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

int http_server_port(const http_server_t *server)
{
    return server->port;
}

void http_server_open(http_server_t *server, int gate)
{
    uint64_t one = 1;
    if (write(server->gates[gate], &one, sizeof(one)) < 0) {
        fail("gate");
    }
}

static bool wait_count(http_server_t *server, const int *count, int n)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE;
    int status = 0;
    pthread_mutex_lock(&server->lock);
    while (*count < n && status == 0) {
        status = pthread_cond_timedwait(&server->changed, &server->lock, &until);
    }
    bool reached = *count >= n;
    pthread_mutex_unlock(&server->lock);
    return reached;
}

bool http_server_wait_requests(http_server_t *server, int n)
{
    return wait_count(server, &server->n_requests, n);
}

bool http_server_wait_gone(http_server_t *server, int n)
{
    return wait_count(server, &server->n_gone, n);
}

static int locked(http_server_t *server, const int *count)
{
    pthread_mutex_lock(&server->lock);
    int n = *count;
    pthread_mutex_unlock(&server->lock);
    return n;
}

int http_server_requests(http_server_t *server)
{
    return locked(server, &server->n_requests);
}

int http_server_connections(http_server_t *server)
{
    return locked(server, &server->n_peers);
}

const char *http_server_request(http_server_t *server, int i)
{
    pthread_mutex_lock(&server->lock);
    const char *text = i < server->n_requests ? server->requests[i] : "";
    pthread_mutex_unlock(&server->lock);
    return text;
}
