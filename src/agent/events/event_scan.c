/* SPDX-License-Identifier: Apache-2.0 */
/* All event logs of a directory: counts them, removes old ones, and cleans up after the end of httpd. */
#include "events_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOUND_MAX 65536 /* logs that one trim looks at */

typedef struct found_t {
    ac_child_key_t child;
    char name[AC_ID_SIZE + 8];
    int64_t size;
    apr_time_t ended; /* 0: active or suspended */
} found_t;

typedef void visit_fn(void *baton, int dir_fd, const found_t *found);

/* O_NOFOLLOW: httpd's first process scans as root, and must not follow a link that a child could have made. */
static bool event_scan_read(int dir_fd, found_t *found)
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

static void scan_child(int top_fd, ac_child_key_t child, visit_fn *visit, void *baton)
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
        if (event_scan_read(fd, &found)) {
            visit(baton, fd, &found);
        }
    }
    if (listing) {
        closedir(listing);
    }
}

static void scan_all(int top_fd, visit_fn *visit, void *baton)
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
            scan_child(top_fd, key, visit, baton);
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

/* ---- counting ---- */

static void add_size(void *baton, int dir_fd, const found_t *found)
{
    (void)dir_fd;
    *(int64_t *)baton += found->size;
}

void ac_event_scan_recount(ac_event_total_t *total, const char *path)
{
    int64_t before = ac_event_total_bytes(total), sum = 0;
    int fd = total->bytes ? open_top(path) : -1;
    if (fd < 0) {
        return;
    }
    scan_all(fd, add_size, &sum);
    close(fd);
    /* A log that grew meanwhile is in one count or in both. A larger difference comes from a child that died. */
    if (ac_event_total_bytes(total) == before || llabs(sum - before) > (int64_t)total->max / 16) {
        atomic_fetch_add(total->bytes, sum - before);
    }
}

/* ---- trimming ---- */

typedef struct ended_t {
    found_t *list;
    int n;
} ended_t;

static void add_ended(void *baton, int dir_fd, const found_t *found)
{
    ended_t *ended = baton;
    (void)dir_fd;
    if (found->ended && ended->n < FOUND_MAX) {
        ended->list[ended->n++] = *found;
    }
}

static int by_end(const void *a, const void *b)
{
    apr_time_t one = ((const found_t *)a)->ended, two = ((const found_t *)b)->ended;
    return (one > two) - (one < two);
}

void ac_event_scan_trim(ac_event_total_t *total, const char *path)
{
    int top_fd = total->bytes ? open_top(path) : -1;
    if (top_fd < 0) {
        return;
    }
    ended_t ended = {.list = ac_alloc(FOUND_MAX * sizeof *ended.list)};
    scan_all(top_fd, add_ended, &ended);
    qsort(ended.list, (size_t)ended.n, sizeof *ended.list, by_end);
    for (int i = 0; i < ended.n && ac_event_total_bytes(total) > (int64_t)(total->max / 4 * 3); i++) {
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

/* ---- what an owner has ---- */

typedef struct erasure_t {
    const char *owner, *run_id; /* run_id NULL: all of the owner's */
    int n_left;
} erasure_t;

static void erase_log(void *baton, int dir_fd, const found_t *found)
{
    erasure_t *erasure = baton;
    if (erasure->run_id && strncmp(found->name, erasure->run_id, strlen(found->name) - 4) != 0) {
        return;
    }
    int fd = openat(dir_fd, found->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool theirs = fd >= 0 && ac_event_log_peek_owner(fd, erasure->owner);
    if (theirs && found->ended) {
        unlinkat(dir_fd, found->name, 0);
    } else {
        erasure->n_left += theirs;
    }
    if (fd >= 0) {
        close(fd);
    }
}

int ac_event_scan_erase(const ac_event_dir_t *dir, const char *owner, const char *run_id)
{
    erasure_t erasure = {owner, run_id, 0};
    int top_fd = open_top(ac_event_dir_path(dir));
    if (top_fd >= 0) {
        scan_all(top_fd, erase_log, &erasure);
        close(top_fd);
    }
    return erasure.n_left;
}

/* ---- after the end of httpd ---- */

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
        bare = entry->d_name[0] == '.' || strcmp(entry->d_name, "lock") == 0 || strcmp(entry->d_name, "socket") == 0;
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

void ac_event_scan_clean(const char *path)
{
    int top_fd = open_top(path), fd = top_fd < 0 ? -1 : dup(top_fd);
    DIR *listing = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    while (listing && (entry = readdir(listing)) != NULL) {
        ac_child_key_t key = ac_event_dir_child_key(entry->d_name);
        if (!key || is_locked(top_fd, entry->d_name)) {
            continue;
        }
        scan_child(top_fd, key, remove_ended, NULL);
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
