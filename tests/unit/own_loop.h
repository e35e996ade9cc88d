/* SPDX-License-Identifier: Apache-2.0 */
/* A loop for each test, which runs on the test's own thread. */
#ifndef OWN_LOOP_H
#define OWN_LOOP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "io/io.h"

static ac_loop_t *loop;

static int set_up(void **state)
{
    (void)state;
    return ac_loop_create(&loop, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    ac_loop_destroy(loop);
    return 0;
}

static void stop(void *baton)
{
    (void)baton;
    ac_loop_stop_post(loop);
}

#endif
