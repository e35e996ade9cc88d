/* SPDX-License-Identifier: Apache-2.0 */
/* The monotonic clock, for deadlines and durations. */
#include "base.h"

#include <time.h>

apr_time_t ac_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (apr_time_t)now.tv_sec * APR_USEC_PER_SEC + now.tv_nsec / 1000;
}
