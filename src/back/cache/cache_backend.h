/* SPDX-License-Identifier: Apache-2.0 */
/* Where cached conversations lie; for store_cache.c, which knows what they mean, and the places, which do not.
 *
 * An entry is a row of texts: first what a store answered, then what was written since. A write adds a text and
 * reads nothing. */
#ifndef AC_CACHE_BACKEND_H
#define AC_CACHE_BACKEND_H

#include "cache.h"

#define AC_CACHE_KEY 32 /* bytes: SHA-256 of the store, the owner and the thread's id */

typedef enum ac_cache_way_e {
    AC_CACHE_PUT, /* this text is all of the entry */
    AC_CACHE_ADD, /* one text more, where there is an entry; else nothing */
    AC_CACHE_DROP /* no entry */
} ac_cache_way_e;

typedef struct ac_cache_write_t {
    ac_cache_way_e way;
    unsigned char key[AC_CACHE_KEY];
    const char *text; /* len bytes of JSON; borrowed */
    size_t len;
} ac_cache_write_t;

/* texts: one after the other, each with its NUL; len 0: there is no entry, or it could not be read. Borrowed. */
typedef void ac_cache_read_fn(void *baton, const ac_buf_t *texts);
typedef void ac_cache_written_fn(void *baton);

/* Nothing of it fails: what cannot be read is not there, and what cannot be written is found to be old. Neither
 * waits. */
struct ac_cache_vt {
    const char *name; /* "memory" */
    /* Any thread. fn: inside of the call, or later on the loop. */
    void (*read)(void *self, const unsigned char key[AC_CACHE_KEY], ac_cache_read_fn *fn, void *baton);
    /* The same. fn NULL: nobody waits for it. */
    void (*write)(void *self, const ac_cache_write_t *write, ac_cache_written_fn *fn, void *baton);
};

#endif
