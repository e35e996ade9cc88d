/* SPDX-License-Identifier: Apache-2.0 */
/* limits.saved: with any file, no count is negative or beyond the maximum, and what is saved from it can be read
 * again. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <apr_general.h>

#include "back/limit/limit_save.c"

#define NOW (INT64_C(1700000000) * APR_USEC_PER_SEC)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static ac_limit_table_t *table;

static void begin(void)
{
    ac_err_t err;
    ac_err_init(&err);
    apr_initialize();
    if (ac_limit_table_open(&table, NULL, &err) != APR_SUCCESS) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    unsigned char key[AC_COUNT_KEY];
    int64_t number[3];
    if (!table) {
        begin();
    }
    char *line = ac_alloc(size + 1);
    memcpy(line, data, size);
    if (read_line(line, key, number) && (number[0] <= 0 || number[2] <= 0 || number[2] > AC_MAX_LIMIT)) {
        abort();
    }
    free(line);
    int fd = memfd_create("limits.saved", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) {
        abort();
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    table->fresh = true;
    ac_limit_save_read(table, path, NOW);
    close(fd);
    for (uint32_t i = 0; i < table->head->n_slots; i++) {
        ac_slot_t *slot = &table->slots[i];
        if (slot->used < 0 || slot->used > AC_MAX_LIMIT || slot->held) {
            abort();
        }
        if (slot->window) {
            memset(slot, 0, sizeof(*slot));
        }
    }
    return 0;
}
