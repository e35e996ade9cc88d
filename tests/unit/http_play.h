/* SPDX-License-Identifier: Apache-2.0 */
/* One exchange with one scripted server: the form of most HTTP tests. */
#ifndef HTTP_PLAY_H
#define HTTP_PLAY_H

#include "http_rig.h"

extern rig_t rig;
extern http_server_t *server; /* NULL: none is started */
extern exchange_t exchange;

/* Before and after each test. */
int play_set_up(void **state);
int play_tear_down(void **state);
/* Starts a server that answers with these scripts, NULL-terminated and borrowed, and makes the exchange a GET of
 * path there. */
void play_scripts(const server_step_t *const *scripts, const char *path);
/* With one script, and a path with a query. */
void play(const server_step_t *script);
/* Ends what a play has begun, so that another may begin. */
void play_end(void);

#endif
