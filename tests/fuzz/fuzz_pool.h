/* SPDX-License-Identifier: Apache-2.0 */
/* A pool for one input. */
#ifndef FUZZ_POOL_H
#define FUZZ_POOL_H

#include <apr_general.h>
#include <apr_pools.h>

/* A new pool, which the caller destroys. The first call initializes APR. */
static inline apr_pool_t *fuzz_pool(void)
{
    static apr_pool_t *root;
    apr_pool_t *p;
    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
    }
    apr_pool_create(&p, root);
    return p;
}

#endif
