/* SPDX-License-Identifier: Apache-2.0 */
/* Limits as written by people and in files of keys: a text is accepted as a whole, or refused with a message that
 * quotes words of it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const ac_limits_t *limits)
{
    if (limits->n < 1 || limits->n > AC_MAX_LIMITS) {
        abort();
    }
    for (int i = 0; i < limits->n; i++) {
        const ac_limit_t *limit = &limits->list[i];
        if (limit->measure >= AC_N_MEASURES || limit->by >= AC_N_BYS || limit->most < 1 || limit->most > AC_MAX_LIMIT) {
            abort();
        }
        if ((limit->window > 0) != (limit->measure != AC_LIMIT_STREAMS && limit->measure != AC_LIMIT_RUNS)) {
            abort();
        }
        if (limit->window && !*ac_limit_window_name(limit->window)) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = ac_alloc(size + 1);
    memcpy(text, data, size);
    for (ac_by_e by = 0; by < AC_N_BYS; by++) {
        ac_limits_t limits = {0};
        ac_err_t err;
        ac_err_init(&err);
        if (ac_limit_parse(&limits, text, by, &err) == APR_SUCCESS) {
            if (limits.n) {
                check(&limits);
            }
        } else if (limits.n || err.kind != AC_INVALID_REQUEST || !err.detail[0] ||
                   (strpbrk(err.detail, "\r\n") && !strpbrk(text, "\r\n"))) {
            abort();
        }
    }
    free(text);
    return 0;
}
