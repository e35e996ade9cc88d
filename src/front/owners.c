/* SPDX-License-Identifier: Apache-2.0 */
/* How many streams each owner has in this child, so that one who opens them in a loop does not take everybody's. */
#include "stream.h"

#include <string.h>

#define ANONYMOUS "anonymous"                   /* not one person: nobody knows how many they are */

struct ac_owner_count_t {
    int n;
    char name[AC_OWNER_SIZE];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static apr_hash_t *owners;                      /* name → ac_owner_count_t, those that have a stream; a hash uses its free places again */

static ac_owner_count_t *find(const char *name)
{
    if (!owners) {
        apr_pool_t *pool;
        if (apr_pool_create_unmanaged_ex(&pool, NULL, NULL) != APR_SUCCESS) {
            abort();
        }
        owners = apr_hash_make(pool);
    }
    return apr_hash_get(owners, name, APR_HASH_KEY_STRING);
}

static ac_owner_count_t *add(const char *name)
{
    ac_owner_count_t *owner = ac_alloc(sizeof(*owner));
    snprintf(owner->name, sizeof(owner->name), "%s", name);
    apr_hash_set(owners, owner->name, APR_HASH_KEY_STRING, owner);
    return owner;
}

apr_status_t ac_owner_enter(ac_owner_count_t **powner, const char *name, int most, ac_err_t *err)
{
    *powner = NULL;
    if (most <= 0 || !name || !strcmp(name, ANONYMOUS)) {
        return APR_SUCCESS;
    }
    pthread_mutex_lock(&lock);
    ac_owner_count_t *owner = find(name);
    bool full = owner && owner->n >= most;
    if (!full) {
        owner = owner ? owner : add(name);
        owner->n++;
        *powner = owner;
    }
    pthread_mutex_unlock(&lock);
    if (full) {
        err->retry_after = apr_time_from_sec(5);
        return ac_err_set(err, AC_RATE_LIMITED, "you have %d answers under way here, as many as one may have; wait for one of "
                          "them to end", most);
    }
    return APR_SUCCESS;
}

void ac_owner_leave(ac_owner_count_t *owner)
{
    if (!owner) {
        return;
    }
    pthread_mutex_lock(&lock);
    if (--owner->n == 0) {
        apr_hash_set(owners, owner->name, APR_HASH_KEY_STRING, NULL);
        free(owner);
    }
    pthread_mutex_unlock(&lock);
}
