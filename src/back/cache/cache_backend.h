/* SPDX-License-Identifier: Apache-2.0 */
/* The backends of cached conversations; for store_cache.c, which knows the contents of entries, and the backends, which
 * do not. An entry is a list of texts: first a response of the store, then the writes since. A write appends a text and
 * reads nothing. */
#ifndef AC_CACHE_BACKEND_H
#define AC_CACHE_BACKEND_H

#include "cache.h"

#define AC_CACHE_KEY 32 /* bytes: SHA-256 of the store, the owner and the thread's id */

typedef enum ac_cache_way_e {
    AC_CACHE_PUT, /* the text becomes the whole entry */
    AC_CACHE_ADD, /* appends the text if the entry exists */
    AC_CACHE_DROP /* removes the entry */
} ac_cache_way_e;

typedef struct ac_cache_write_t {
    ac_cache_way_e way;
    unsigned char key[AC_CACHE_KEY];
    const char *text; /* len bytes of JSON; borrowed */
    size_t len;
} ac_cache_write_t;

/* texts: one after the other, each with its NUL; len 0: the entry does not exist or could not be read. Borrowed. */
typedef void ac_cache_read_fn(void *baton, const ac_buf_t *texts);
typedef void ac_cache_written_fn(void *baton);

/* These functions do not fail and do not wait: an unreadable entry counts as missing, and an entry that could not be
 * updated is found to be stale when it is used. */
struct ac_cache_vt {
    const char *name; /* "memory" */
    /* Any thread. Calls fn inside of the call, or later on the loop. */
    void (*read)(void *self, const unsigned char key[AC_CACHE_KEY], ac_cache_read_fn *fn, void *baton);
    /* The same. fn may be NULL. */
    void (*write)(void *self, const ac_cache_write_t *write, ac_cache_written_fn *fn, void *baton);
};

#endif
