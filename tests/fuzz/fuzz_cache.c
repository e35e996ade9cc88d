/* SPDX-License-Identifier: Apache-2.0 */
/* An entry of the cache that another machine may have written: each line is one of its texts. They are joined to a
 * conversation whose messages have no gap, or refused. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "back/cache/store_cache.c"

#define THREAD "thread_01"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ac_buf_t texts;
    int n_parts;
    ac_buf_init(&texts, 2 * size + 2);
    ac_buf_add(&texts, (const char *)data, size);
    ac_buf_add(&texts, "", 1);
    for (size_t i = 0; i < texts.len; i++) {
        texts.data[i] = texts.data[i] == '\n' ? '\0' : texts.data[i];
    }
    json_t *entry = join_parts(&n_parts, &texts, THREAD);
    if (entry) {
        if (!store_cache_is_whole(entry, THREAD) || n_parts < 1) {
            abort();
        }
        json_decref(out_of(json_incref(entry), 3));
    }
    json_decref(entry);
    ac_buf_free(&texts);
    return 0;
}
