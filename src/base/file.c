/* SPDX-License-Identifier: Apache-2.0 */
/* Files: creating one that only its owner can use, and reading a whole one. */
#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int ac_file_make(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return errno;
    }
    close(fd);
    return 0;
}

apr_status_t ac_file_read(char **pbytes, size_t *plen, const char *path, size_t max)
{
    struct stat info;
    apr_status_t status = APR_SUCCESS;
    char *bytes = NULL;
    size_t len = 0;
    ssize_t n = 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO would block */
    if (fd < 0) {
        return errno;
    }
    if (fstat(fd, &info) || !S_ISREG(info.st_mode) || (uint64_t)info.st_size > max) {
        status = !S_ISREG(info.st_mode) ? APR_EINVAL : APR_ENOSPC;
        goto leave;
    }
    bytes = ac_alloc(max + 2);
    while (len <= max && (n = read(fd, bytes + len, max + 1 - len)) > 0) {
        len += (size_t)n;
    }
    status = n < 0 ? errno : len > max ? APR_ENOSPC : APR_SUCCESS;
leave:
    close(fd);
    if (status != APR_SUCCESS) {
        free(bytes);
        return status;
    }
    bytes[len] = '\0';
    *pbytes = bytes;
    *plen = len;
    return APR_SUCCESS;
}
