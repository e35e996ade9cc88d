/* SPDX-License-Identifier: Apache-2.0 */
/* Saves the table's counts of long windows on disk, so that a day's budget survives a restart of the machine. One line
 * per count: key, window, its number, the amount spent. */
#include "limit_table.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_LINE "agentchat limits 1\n"
#define CHUNK 512                             /* slots that are read while the lock is held once */
#define SAVING_PATIENCE apr_time_from_sec(30) /* a process that saves longer than this is considered dead */

/* Whether there are changes to save and no other process saves them. *pchanges: the current number of changes. */
static bool limit_save_claim(ac_limit_table_t *table, uint64_t *pchanges)
{
    ac_table_head_t *head = table->head;
    apr_time_t now = ac_clock();
    if (ac_limit_table_lock(table, NULL) != APR_SUCCESS) {
        return false;
    }
    bool busy = head->saving_until > now && head->saving_until - now <= SAVING_PATIENCE;
    bool mine = !busy && head->n_changes != head->n_saved;
    if (mine) {
        head->saving_until = now + SAVING_PATIENCE;
        *pchanges = head->n_changes;
    }
    ac_limit_table_unlock(table);
    return mine;
}

_Static_assert(AC_MAX_COUNTS % CHUNK == 0, "no chunk reaches beyond the table");

static int write_slots(FILE *file, ac_limit_table_t *table, apr_time_t now)
{
    ac_slot_t copy[CHUNK];
    for (uint32_t first = 0; first < table->head->n_slots; first += CHUNK) {
        if (ac_limit_table_lock(table, NULL) != APR_SUCCESS) {
            return -1;
        }
        memcpy(copy, &table->slots[first], sizeof(copy));
        ac_limit_table_unlock(table);
        for (int i = 0; i < CHUNK; i++) {
            const ac_slot_t *slot = &copy[i];
            if (slot->window < AC_SAVED_WINDOW || slot->used <= 0 || (slot->epoch + 1) * slot->window <= now) {
                continue;
            }
            char key[2 * AC_COUNT_KEY + 1];
            ac_text_hex(key, slot->key, AC_COUNT_KEY);
            fprintf(file, "%s %" PRId64 " %" PRId64 " %" PRId64 "\n", key, slot->window, slot->epoch, slot->used);
        }
    }
    return ferror(file) ? -1 : 0;
}

/* The file is readable by its owner only, whatever the umask and the file of an aborted save are. */
static FILE *open_part(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    FILE *file = fd >= 0 && fchmod(fd, 0600) == 0 ? fdopen(fd, "w") : NULL;
    if (fd >= 0 && !file) {
        close(fd);
    }
    return file;
}

apr_status_t ac_limit_save_write(ac_limit_table_t *table, const char *path, apr_time_t now)
{
    char part[512];
    uint64_t changes;
    apr_status_t status = APR_SUCCESS;
    if (!limit_save_claim(table, &changes)) {
        return APR_SUCCESS;
    }
    snprintf(part, sizeof(part), "%s.new", path);
    FILE *file = open_part(part);
    bool written = file && fputs(FIRST_LINE, file) >= 0 && write_slots(file, table, now) == 0 && fflush(file) == 0 &&
        fdatasync(fileno(file)) == 0;
    if (!written) {
        status = errno ? errno : APR_EGENERAL;
    }
    if (file && fclose(file) && status == APR_SUCCESS) {
        status = errno;
    }
    if (status == APR_SUCCESS && rename(part, path)) {
        status = errno;
    }
    if (ac_limit_table_lock(table, NULL) == APR_SUCCESS) {
        table->head->saving_until = 0;
        if (status == APR_SUCCESS) {
            table->head->n_saved = changes;
        }
        ac_limit_table_unlock(table);
    }
    return status;
}

/* number: the window, its number, the amount spent. Returns false for a line that this module did not write, or for an
 * impossible window. */
static bool read_line(const char *line, unsigned char key[AC_COUNT_KEY], int64_t number[3])
{
    for (int i = 0; i < AC_COUNT_KEY; i++) {
        int high = ac_hex_value(line[2 * i]), low = high < 0 ? -1 : ac_hex_value(line[2 * i + 1]);
        if (low < 0) {
            return false;
        }
        key[i] = (unsigned char)(high << 4 | low);
    }
    return sscanf(line + 2 * AC_COUNT_KEY, " %" SCNd64 " %" SCNd64 " %" SCNd64, &number[0], &number[1], &number[2]) ==
        3 &&
        number[0] >= AC_SAVED_WINDOW && number[0] <= APR_USEC_PER_SEC * 86400 && number[1] >= 0 &&
        number[1] < INT64_MAX / number[0] - 1 && number[2] > 0 && number[2] <= AC_MAX_LIMIT;
}

apr_status_t ac_limit_save_read(ac_limit_table_t *table, const char *path, apr_time_t now)
{
    unsigned char key[AC_COUNT_KEY];
    char line[160];
    int64_t number[3];
    if (!table->fresh) {
        return APR_SUCCESS;
    }
    FILE *file = fopen(path, "re");
    if (!file) {
        return errno == ENOENT ? APR_SUCCESS : errno;
    }
    bool known = fgets(line, sizeof(line), file) && strcmp(line, FIRST_LINE) == 0;
    while (known && fgets(line, sizeof(line), file) && ac_limit_table_lock(table, NULL) == APR_SUCCESS) {
        bool current = read_line(line, key, number) && now / number[0] == number[1];
        ac_slot_t *slot = current ? ac_limit_count_slot(table, key, number[0], number[1], now) : NULL;
        if (slot) {
            slot->used = number[2];
        }
        ac_limit_table_unlock(table);
    }
    fclose(file);
    return known ? APR_SUCCESS : APR_EMISMATCH;
}
