/* SPDX-License-Identifier: Apache-2.0 */
/* Files that a child creates before other processes may use them. */
#include "base.h"

#include <errno.h>
#include <fcntl.h>
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
