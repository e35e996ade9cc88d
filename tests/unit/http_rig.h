/* SPDX-License-Identifier: Apache-2.0 */
/* A loop in a thread of its own, and exchanges on it that record all their callbacks. */
#ifndef HTTP_RIG_H
#define HTTP_RIG_H

#include <pthread.h>

#include "io/io.h"
#include "http_server.h"

#define RIG_BODY (256 * 1024)

typedef struct rig_t {
    ac_loop_t *loop;
    pthread_t thread;
} rig_t;

typedef struct exchange_t exchange_t;
struct exchange_t {
    rig_t *rig;
    ac_http_request_t request;
    char url[160];
    /* What the test does inside the callbacks; each may be NULL. All on the loop's thread. */
    void (*in_head)(exchange_t *exchange, const ac_http_head_t *head);
    bool (*in_body)(exchange_t *exchange);
    void (*in_end)(exchange_t *exchange);
    bool (*in_may_retry)(exchange_t *exchange, int status);
    exchange_t *other;     /* for them */
    http_server_t *server; /* for them */
    int number;            /* for them */

    ac_http_t *http;
    apr_status_t started, ended;
    ac_err_t err; /* of whichever failed */
    int n_heads, n_bodies, n_ends, n_asked;
    int status;
    char content_type[64], request_id[64], x_test[64];
    apr_interval_time_t retry_after;
    char *body, *error_body; /* NUL-terminated */
    size_t len, error_len;
    apr_time_t began, end;
    ac_latch_t *done;
};

void rig_open(rig_t *rig);
void rig_close(rig_t *rig); /* stops the loop, joins, destroys it */
/* Runs fn(baton) on the loop and waits until it has. */
void rig_call(rig_t *rig, ac_task_fn *fn, void *baton);

/* A GET of path on server, with no timeouts and no retries. */
void exchange_init(exchange_t *exchange, rig_t *rig, http_server_t *server, const char *path);
void exchange_start(exchange_t *exchange);
void exchange_wait(exchange_t *exchange); /* up to 20 s; fails the test after that */
void exchange_run(exchange_t *exchange);  /* both */
void exchange_free(exchange_t *exchange);
void exchange_cancel(exchange_t *exchange); /* from any thread; returns when it has been cancelled */

#endif
