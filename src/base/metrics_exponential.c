/* SPDX-License-Identifier: Apache-2.0 */
/* Buckets of exponential histograms. Source: OpenTelemetry, "Metrics Data Model", section ExponentialHistogram: bucket
 * i has the values above base^i, up to and with base^(i + 1). */
#include "metrics_internal.h"

#include <math.h>

static int64_t bounds[AC_EXPONENTIAL_BUCKETS]; /* the upper ones, in microseconds, rounded down: values are whole */
static int64_t zero;                           /* the largest value that counts as zero */

double ac_metrics_exponential_bound(int index, int scale)
{
    return exp2(ldexp(index + 1, -scale));
}

void ac_metrics_exponential_init(void)
{
    for (int i = 0; i < AC_EXPONENTIAL_BUCKETS; i++) {
        bounds[i] = (int64_t)floor(ac_metrics_exponential_bound(AC_EXPONENTIAL_FIRST + i, AC_EXPONENTIAL_SCALE) *
                                   (double)APR_USEC_PER_SEC);
    }
    zero = (int64_t)floor(AC_EXPONENTIAL_ZERO * (double)APR_USEC_PER_SEC);
}

size_t ac_metrics_exponential_cell(apr_interval_time_t value)
{
    size_t low = 0, high = AC_EXPONENTIAL_BUCKETS - 1;
    if (value <= zero) {
        return 0;
    }
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (value <= bounds[middle]) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low + 1;
}
