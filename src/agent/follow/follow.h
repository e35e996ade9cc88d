/* SPDX-License-Identifier: Apache-2.0 */
/* Following and recovering runs, above run/: what engine.c needs. Everything is the loop thread's. */
#ifndef AC_FOLLOW_H
#define AC_FOLLOW_H

#include "agent/run/run.h"

/* ---- follow.c ---- */
void ac_follow_create(ac_engine_t *engine); /* sets engine->follow and engine->hooks */
void ac_follow_use_dir(ac_engine_t *engine, ac_event_dir_t *dir);
void ac_follow_use_mirror(ac_engine_t *engine, ac_mirror_t *mirror);
void ac_follow_destroy(ac_engine_t *engine); /* after the loop has ended */

/* ---- datagram.c ---- */
void ac_datagram_listen(ac_engine_t *engine); /* to other children */

/* ---- sweep.c ---- */
void ac_sweep_start(void *engine); /* now, and once a minute from now on */

#endif
