/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of all event logs of a directory. The count lies in a file that all children map. */
#include "events_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096

void ac_event_total_open(ac_event_total_t *total, const char *path)
{
    char name[AC_LOG_PATH_SIZE];
    if (!total->max || snprintf(name, sizeof name, "%s/total", path) >= (int)sizeof name) {
        return;
    }
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return;
    }
    void *page = posix_fallocate(fd, 0, PAGE) ? MAP_FAILED
                                              : mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    /* An earlier mapping is never unmapped here: a work thread may be counting there. */
    if (page != MAP_FAILED) {
        total->bytes = page;
    }
}

void ac_event_total_close(ac_event_total_t *total)
{
    if (total->bytes) {
        munmap((void *)total->bytes, PAGE);
    }
    total->bytes = NULL;
}

int64_t ac_event_total_bytes(const ac_event_total_t *total)
{
    return total->bytes ? atomic_load(total->bytes) : 0;
}

static bool try_reserve(ac_event_total_t *total, size_t bytes)
{
    if (atomic_fetch_add(total->bytes, (int64_t)bytes) + (int64_t)bytes <= (int64_t)total->max) {
        return true;
    }
    atomic_fetch_sub(total->bytes, (int64_t)bytes);
    return false;
}

bool ac_event_total_reserve(ac_event_total_t *total, size_t bytes)
{
    if (!total->bytes || try_reserve(total, bytes)) {
        return true;
    }
    return total->make_room && total->make_room(total->baton, bytes) && try_reserve(total, bytes);
}

void ac_event_total_release(ac_event_total_t *total, size_t bytes)
{
    if (total->bytes) {
        atomic_fetch_sub(total->bytes, (int64_t)bytes);
    }
}
