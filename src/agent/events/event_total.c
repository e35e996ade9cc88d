/* SPDX-License-Identifier: Apache-2.0 */
/* All event logs of one directory together: how many bytes they have, and which go where that is too much. The count lies in a file that
 * all children of the directory map; a sweep counts the files anew, since a child may have died between a file and its count. */
#include "event_log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOUND_MOST 65536 /* logs that are looked at in one go */
#define PAGE 4096

/* ---- the count ---- */

void ac_event_total_open(ac_event_total_t *total, const char *path)
{
    char name[AC_LOG_PATH_SIZE];
    if (!total->most || snprintf(name, sizeof name, "%s/total", path) >= (int)sizeof name) {
        return;
    }
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return;
    }
    void *place = posix_fallocate(fd, 0, PAGE) ? MAP_FAILED
                                               : mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    /* Where it was mapped before stays so: a work thread may be counting there. */
    if (place != MAP_FAILED) {
        total->bytes = place;
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

static bool try_take(ac_event_total_t *total, size_t bytes)
{
    if (atomic_fetch_add(total->bytes, (int64_t)bytes) + (int64_t)bytes <= (int64_t)total->most) {
        return true;
    }
    atomic_fetch_sub(total->bytes, (int64_t)bytes);
    return false;
}

bool ac_event_total_reserve(ac_event_total_t *total, size_t bytes)
{
    if (!total->bytes || try_take(total, bytes)) {
        return true;
    }
    return total->make_way && total->make_way(total->baton, bytes) && try_take(total, bytes);
}

void ac_event_total_release(ac_event_total_t *total, size_t bytes)
{
    if (total->bytes) {
        atomic_fetch_sub(total->bytes, (int64_t)bytes);
    }
}

/* ---- the files ---- */

typedef struct found_t {
    ac_child_key_t child;
    char name[AC_ID_SIZE + 8];
    int64_t size;
    apr_time_t ended; /* 0: it goes on, or rests */
} found_t;

typedef void see_fn(void *baton, int dir_fd, const found_t *found);

/* Opened so that nobody who may write there leads us elsewhere: the first process of httpd looks here, too. */
static bool event_total_look_at(int dir_fd, found_t *found)
{
    struct stat info;
    int fd = openat(dir_fd, found->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool fine = fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    if (fine) {
        found->size = info.st_size;
        found->ended = ac_event_log_peek_ended(fd);
    }
    if (fd >= 0) {
        close(fd);
    }
    return fine;
}

static void see_child(int top_fd, ac_child_key_t child, see_fn *see, void *baton)
{
    char name[AC_CHILD_NAME_SIZE];
    struct dirent *entry;
    ac_event_dir_child_name(name, child);
    int fd = openat(top_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *listing = fd >= 0 ? fdopendir(fd) : NULL;
    if (fd >= 0 && !listing) {
        close(fd);
    }
    while (listing && (entry = readdir(listing)) != NULL) {
        found_t found = {.child = child};
        size_t len = strlen(entry->d_name);
        if (len < 5 || len >= sizeof found.name || strcmp(entry->d_name + len - 4, ".log") != 0) {
            continue;
        }
        memcpy(found.name, entry->d_name, len + 1);
        if (event_total_look_at(fd, &found)) {
            see(baton, fd, &found);
        }
    }
    if (listing) {
        closedir(listing);
    }
}

static void see_all(int top_fd, see_fn *see, void *baton)
{
    struct dirent *entry;
    int fd = dup(top_fd);
    DIR *listing = fd >= 0 ? fdopendir(fd) : NULL;
    if (fd >= 0 && !listing) {
        close(fd);
    }
    while (listing && (entry = readdir(listing)) != NULL) {
        ac_child_key_t key = ac_event_dir_child_key(entry->d_name);
        if (key) {
            see_child(top_fd, key, see, baton);
        }
    }
    if (listing) {
        closedir(listing);
    }
}

static int open_top(const char *path)
{
    return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* ---- counting anew ---- */

static void add_size(void *baton, int dir_fd, const found_t *found)
{
    (void)dir_fd;
    *(int64_t *)baton += found->size;
}

void ac_event_total_recount(ac_event_total_t *total, const char *path)
{
    int64_t before = ac_event_total_bytes(total), sum = 0;
    int fd = total->bytes ? open_top(path) : -1;
    if (fd < 0) {
        return;
    }
    see_all(fd, add_size, &sum);
    close(fd);
    /* Logs that grew meanwhile are in one of the two or in both; a difference that is more than that is of a child that died. */
    if (ac_event_total_bytes(total) == before || llabs(sum - before) > (int64_t)total->most / 16) {
        atomic_fetch_add(total->bytes, sum - before);
    }
}

/* ---- the oldest go ---- */

typedef struct ended_t {
    found_t *list;
    int n;
} ended_t;

static void note_ended(void *baton, int dir_fd, const found_t *found)
{
    ended_t *ended = baton;
    (void)dir_fd;
    if (found->ended && ended->n < FOUND_MOST) {
        ended->list[ended->n++] = *found;
    }
}

static int by_end(const void *a, const void *b)
{
    apr_time_t one = ((const found_t *)a)->ended, two = ((const found_t *)b)->ended;
    return (one > two) - (one < two);
}

void ac_event_total_trim(ac_event_total_t *total, const char *path)
{
    int top_fd = total->bytes ? open_top(path) : -1;
    if (top_fd < 0) {
        return;
    }
    ended_t ended = {.list = ac_alloc(FOUND_MOST * sizeof *ended.list)};
    see_all(top_fd, note_ended, &ended);
    qsort(ended.list, (size_t)ended.n, sizeof *ended.list, by_end);
    for (int i = 0; i < ended.n && ac_event_total_bytes(total) > (int64_t)(total->most / 4 * 3); i++) {
        char file[AC_CHILD_NAME_SIZE + sizeof ended.list->name], name[AC_CHILD_NAME_SIZE];
        ac_event_dir_child_name(name, ended.list[i].child);
        snprintf(file, sizeof file, "%s/%s", name, ended.list[i].name);
        if (unlinkat(top_fd, file, 0) == 0) {
            ac_event_total_release(total, (size_t)ended.list[i].size);
        }
    }
    close(top_fd);
    free(ended.list);
}

/* ---- the last process leaves ---- */

static void remove_ended(void *baton, int dir_fd, const found_t *found)
{
    (void)baton;
    if (found->ended) {
        unlinkat(dir_fd, found->name, 0);
    }
}

static bool is_locked(int top_fd, const char *child)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int dir_fd = openat(top_fd, child, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int fd = dir_fd < 0 ? -1 : openat(dir_fd, "lock", O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool locked = dir_fd < 0 ||
        (fd < 0 ? errno != ENOENT : fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK);
    if (fd >= 0) {
        close(fd);
    }
    if (dir_fd >= 0) {
        close(dir_fd);
    }
    return locked;
}

static void remove_bare(int top_fd, const char *child)
{
    int fd = openat(top_fd, child, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *listing = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    bool bare = listing != NULL;
    while (bare && (entry = readdir(listing)) != NULL) {
        bare = entry->d_name[0] == '.' || !strcmp(entry->d_name, "lock") || !strcmp(entry->d_name, "socket");
    }
    if (bare) {
        unlinkat(fd, "socket", 0);
        unlinkat(fd, "lock", 0);
        unlinkat(top_fd, child, AT_REMOVEDIR);
    }
    if (listing) {
        closedir(listing);
    } else if (fd >= 0) {
        close(fd);
    }
}

void ac_event_dir_clean(const char *path)
{
    int top_fd = open_top(path), fd = top_fd < 0 ? -1 : dup(top_fd);
    DIR *listing = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    while (listing && (entry = readdir(listing)) != NULL) {
        ac_child_key_t key = ac_event_dir_child_key(entry->d_name);
        if (!key || is_locked(top_fd, entry->d_name)) {
            continue;
        }
        see_child(top_fd, key, remove_ended, NULL);
        remove_bare(top_fd, entry->d_name);
    }
    if (listing) {
        closedir(listing);
    } else if (fd >= 0) {
        close(fd);
    }
    if (top_fd >= 0) {
        close(top_fd);
    }
}
