/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers from the kernel. */
#include "base.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include <apr_general.h>

uint64_t ac_random(void)
{
    uint64_t value;
    ssize_t got;
    do {
        got = getrandom(&value, sizeof(value), 0);
    } while (got < 0 && errno == EINTR);
    /* A repeated or predictable id would be worse than a child that ends. */
    if (got != (ssize_t)sizeof(value) &&
        apr_generate_random_bytes((unsigned char *)&value, sizeof(value)) != APR_SUCCESS) {
        abort();
    }
    return value;
}
