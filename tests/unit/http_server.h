/* SPDX-License-Identifier: Apache-2.0 */
/* A scripted HTTP/1.1 server on loopback, in threads of its own, for the tests. It answers the n-th request with the
 * n-th script of steps (the last one again and again), and keeps what it was sent. */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>

typedef enum server_verb_e {
    SERVER_END,     /* of the script; the connection is kept for the next request */
    SERVER_SEND,    /* text; number: how often (0: once) */
    SERVER_TRICKLE, /* text, each byte by itself */
    SERVER_GATE,    /* wait until gate `number` is open */
    SERVER_HANG,    /* wait until the client goes */
    SERVER_CUT,     /* close the connection */
    SERVER_RESET    /* close it with a RST */
} server_verb_e;

typedef struct server_step_t {
    server_verb_e verb;
    const char *text;
    int number;
} server_step_t;

#define SEND(text_) \
    { \
        SERVER_SEND, text_, 0 \
    }
#define REPEAT(text_, n_) \
    { \
        SERVER_SEND, text_, n_ \
    }
#define TRICKLE(text_) \
    { \
        SERVER_TRICKLE, text_, 0 \
    }
#define GATE(n_) \
    { \
        SERVER_GATE, NULL, n_ \
    }
#define HANG \
    { \
        SERVER_HANG, NULL, 0 \
    }
#define CUT \
    { \
        SERVER_CUT, NULL, 0 \
    }
#define RESET \
    { \
        SERVER_RESET, NULL, 0 \
    }
#define END \
    { \
        SERVER_END, NULL, 0 \
    }

#define SERVER_GATES 8

typedef struct http_server_t http_server_t;

/* Scripts are borrowed, NULL-terminated. */
http_server_t *http_server_start(const server_step_t *const *scripts);
void http_server_stop(http_server_t *server);
int http_server_port(const http_server_t *server);
void http_server_open(http_server_t *server, int gate); /* stays open */
/* These wait up to 20 s. */
bool http_server_wait_requests(http_server_t *server, int n);
bool http_server_wait_gone(http_server_t *server, int n); /* clients that went in mid-answer */
int http_server_requests(http_server_t *server);
int http_server_connections(http_server_t *server);
/* The i-th request, head and body; "" if there is none. Valid until the server stops. */
const char *http_server_request(http_server_t *server, int i);

#endif
