/* SPDX-License-Identifier: Apache-2.0 */
/* Whether processes of this machine still run: stores use it to decide whether an active run still has its process. */
#include "back.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static apr_ssize_t file_read(char *text, size_t size, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), cause;
    ssize_t len;

    if (fd < 0) {
        return -1;
    }
    do {
        len = read(fd, text, size - 1);
    } while (len < 0 && errno == EINTR);
    cause = errno;
    close(fd);
    errno = cause;
    text[len > 0 ? len : 0] = '\0';
    return len;
}

/* source: proc(5), /proc/pid/stat, fields 3 and 22. */
int64_t ac_process_started(int64_t pid)
{
    char path[48], text[1024];
    const char *at;

    snprintf(path, sizeof(path), "/proc/%lld/stat", (long long)pid);
    if (file_read(text, sizeof(text), path) <= 0) {
        return errno == ENOENT || errno == ESRCH ? 0 : -1;
    }
    at = strrchr(text, ')'); /* the command's name may contain anything, also ')' */
    if (!at || at[1] != ' ') {
        return -1;
    }
    at += 2;
    if (*at == 'Z' || *at == 'X' || *at == 'x') {
        return 0;
    }
    for (int field = 3; at && field < 22; field++) {
        at = strchr(at, ' ');
        at += at != NULL;
    }
    return at ? strtoll(at, NULL, 10) : -1;
}

bool ac_process_boot(char boot[AC_BOOT_SIZE])
{
    apr_ssize_t len = file_read(boot, AC_BOOT_SIZE, "/proc/sys/kernel/random/boot_id");

    boot[strcspn(boot, "\n")] = '\0';
    return len > 0;
}

/* Containers of one machine share its boot id, but not its process numbers. */
void ac_process_name(char name[AC_PROCESS_SIZE])
{
    char boot[AC_BOOT_SIZE], space[32];
    ssize_t len = readlink("/proc/self/ns/pid", space, sizeof(space) - 1);
    int64_t started = ac_process_started((int64_t)getpid());

    *name = '\0';
    if (len > 0 && ac_process_boot(boot) && started > 0) {
        space[len] = '\0';
        snprintf(name, AC_PROCESS_SIZE, "%s %s %lld %lld", boot, space, (long long)getpid(), (long long)started);
    }
}

bool ac_process_died(const char *ours, const char *name)
{
    const char *at = name;
    size_t same = 0;
    long long pid, started;
    int64_t now;

    for (int blanks = 0; *at && blanks < 2; at++) {
        blanks += *at == ' ';
    }
    same = (size_t)(at - name);
    if (same == 0 || strncmp(ours, name, same) != 0 || sscanf(at, "%lld %lld", &pid, &started) != 2) {
        return false;
    }
    now = ac_process_started(pid);
    return now >= 0 && now != started;
}
