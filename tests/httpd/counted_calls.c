/* SPDX-License-Identifier: Apache-2.0 */
/* LD_PRELOAD: kills its process before the n-th call, of all processes, that changes a file's bytes or its name or
 * makes them durable. n is the first 8 bytes of the file COUNTED_CALLS, which count down; 0: no call is counted. */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int64_t *left;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("COUNTED_CALLS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *at = fd >= 0 ? mmap(NULL, sizeof(*left), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    left = at != MAP_FAILED ? at : NULL;
    if (fd >= 0) {
        close(fd);
    }
}

static void count(void)
{
    int64_t n = left ? __atomic_load_n(left, __ATOMIC_SEQ_CST) : 0;
    while (n > 0 && !__atomic_compare_exchange_n(left, &n, n - 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
    }
    if (n == 1) {
        kill(getpid(), SIGKILL);
    }
}

#define COUNTED(result, name, parameters, arguments) \
    result name parameters \
    { \
        static result(*real) parameters; \
        if (!real) { \
            real = (result(*) parameters)dlsym(RTLD_NEXT, #name); \
        } \
        count(); \
        return real arguments; \
    }

COUNTED(int, fsync, (int fd), (fd))
COUNTED(int, fdatasync, (int fd), (fd))
COUNTED(int, ftruncate64, (int fd, off64_t size), (fd, size))
COUNTED(int, mkdir, (const char *path, mode_t mode), (path, mode))
COUNTED(ssize_t, pwrite64, (int fd, const void *bytes, size_t n, off64_t at), (fd, bytes, n, at))
COUNTED(int, rename, (const char *from, const char *to), (from, to))
COUNTED(int, unlink, (const char *path), (path))
