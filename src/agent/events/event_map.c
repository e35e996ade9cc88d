/* SPDX-License-Identifier: Apache-2.0 */
/* The mapping of an event log's file. The file grows in steps, and the mapping with it. */
#include "events_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEP_MAX (1024 * 1024)

apr_status_t ac_event_map_set(ac_event_log_t *log, int fd, size_t size, bool grow)
{
    /* Writing to a page that the file system has no room for raises SIGBUS, so room is made first. */
    int cause = grow ? posix_fallocate(fd, 0, (off_t)size) : 0;
    if (cause) {
        return cause;
    }
    void *place = log->file ? mremap(log->file, log->size, size, MREMAP_MAYMOVE)
                            : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (place == MAP_FAILED) {
        return errno;
    }
    log->file = place;
    log->size = size;
    return APR_SUCCESS;
}

apr_status_t ac_event_map_grow(ac_event_log_t *log, size_t need)
{
    size_t size = log->size;
    if (need <= size) {
        return APR_SUCCESS;
    }
    while (size < need) {
        size += size == AC_EVENT_FILE_FIRST ? 3 * size : size < STEP_MAX ? size : STEP_MAX;
    }
    if (size > log->max) {
        size = log->max;
    }
    if (size < need) {
        return APR_EGENERAL;
    }
    size_t more = size - log->size;
    if (!ac_event_total_reserve(log->total, more)) {
        return AC_EVENT_TOTAL_EXCEEDED;
    }
    int fd = open(log->path, O_RDWR | O_CLOEXEC);
    apr_status_t status = fd < 0 ? errno : ac_event_map_set(log, fd, size, true);
    if (fd >= 0) {
        close(fd);
    }
    if (status != APR_SUCCESS) {
        ac_event_total_release(log->total, more);
    }
    return status;
}

bool ac_event_map_extend(ac_event_log_t *log, size_t need)
{
    struct stat info;
    if (need <= log->size) {
        return true;
    }
    int fd = open(log->path, O_RDWR | O_CLOEXEC);
    bool fine = fd >= 0 && fstat(fd, &info) == 0 && (size_t)info.st_size >= need &&
        ac_event_map_set(log, fd, (size_t)info.st_size, false) == APR_SUCCESS;
    if (fd >= 0) {
        close(fd);
    }
    return fine;
}
