/* SPDX-License-Identifier: Apache-2.0 */
/* Files in a folder of this machine. A file is DIR/xy/ID, where xy are the last two characters of its id, so that no
 * folder gets too large. It is written to DIR/new/ID, which its writer locks: the kernel releases the lock however the
 * process ends, and a sweep removes what is not locked. */
#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <apr_strings.h>

#define NEW "new"
#define PATH_SIZE 4096
#define YOUNG apr_time_from_sec(60) /* the lock of a file that was just made may be missing yet */
#define ROOM_EVERY (1024 * 1024)    /* bytes between two looks at the room of the file system */

typedef struct disk_t {
    const char *dir;
    int64_t reserve;
} disk_t;

struct ac_file_write_t {
    const disk_t *disk;
    char id[AC_ID_SIZE];
    int fd;
    int64_t unchecked; /* bytes since the last look at the room */
};

struct ac_file_read_t {
    int fd;
    int64_t left; /* bytes; -1: to the end */
};

/* ---- paths ---- */

static bool path_make(char path[PATH_SIZE], const disk_t *disk, const char *folder, const char *id)
{
    int len = apr_snprintf(path, PATH_SIZE, "%s/%s%s%s", disk->dir, folder, *id ? "/" : "", id);
    return len > 0 && len < PATH_SIZE - 1;
}

/* The folder of a file with this id. */
static void shard_of(char shard[3], const char *id)
{
    apr_cpystrn(shard, id + strlen(id) - 2, 3);
}

static bool disk_place(char path[PATH_SIZE], const disk_t *disk, const char *id)
{
    char shard[3];
    if (!ac_id_valid(id, AC_FILE_ID)) {
        return false;
    }
    shard_of(shard, id);
    return path_make(path, disk, shard, id);
}

static apr_status_t disk_failed(ac_err_t *err, int cause, const char *doing)
{
    char reason[120];
    if (ac_err_set_lack(err, cause)) {
        return err ? ac_err_row(err->kind)->status : APR_EGENERAL;
    }
    if (cause == ENOSPC || cause == EDQUOT) {
        return ac_err_set(err, AC_STORAGE_FULL, "the folder of files has no room");
    }
    ac_err_set(err, AC_STORE_ERROR, "%s failed: %s", doing, apr_strerror(cause, reason, sizeof(reason)));
    return ac_err_row(AC_STORE_ERROR)->status;
}

/* Makes a folder whose name is durable. Returns 0 or an errno. */
static int folder_make(const char *path)
{
    char parent[PATH_SIZE];
    char *slash;
    if (mkdir(path, 0700) != 0) {
        return errno == EEXIST ? 0 : errno;
    }
    apr_cpystrn(parent, path, sizeof(parent));
    slash = strrchr(parent, '/');
    if (slash && slash != parent) {
        *slash = '\0';
    }
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int problem = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    return problem;
}

static int folder_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int problem = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    return problem;
}

/* ---- writing ---- */

static apr_status_t disk_room(const disk_t *disk, int64_t need, ac_err_t *err)
{
    struct statvfs info;
    if (statvfs(disk->dir, &info) != 0) {
        return disk_failed(err, errno, "looking at the room for files");
    }
    if ((int64_t)info.f_bavail * (int64_t)info.f_frsize - need < disk->reserve) {
        return ac_err_set(err, AC_STORAGE_FULL, "the folder of files has no room");
    }
    return APR_SUCCESS;
}

static void drop_new(const disk_t *disk, const char *id, int fd)
{
    char path[PATH_SIZE];
    if (path_make(path, disk, NEW, id)) {
        unlink(path);
    }
    if (fd >= 0) {
        close(fd); /* after the removal: it releases the lock */
    }
}

static apr_status_t disk_write_begin(void *self, ac_file_write_t **pwrite, const char *id, int64_t size, ac_err_t *err)
{
    const disk_t *disk = self;
    char path[PATH_SIZE];
    *pwrite = NULL;
    int problem = folder_make(disk->dir);
    if (!problem && path_make(path, disk, NEW, "")) {
        problem = folder_make(path);
    }
    if (problem || !ac_id_valid(id, AC_FILE_ID) || !path_make(path, disk, NEW, id)) {
        return disk_failed(err, problem ? problem : ENAMETOOLONG, "making the folder of files");
    }
    apr_status_t status = disk_room(disk, size > 0 ? size : 0, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0) {
        problem = errno;
        drop_new(disk, fd < 0 ? "" : id, fd);
        return disk_failed(err, problem, "making a file");
    }
    *pwrite = ac_alloc(sizeof(**pwrite));
    (*pwrite)->disk = disk;
    (*pwrite)->fd = fd;
    apr_cpystrn((*pwrite)->id, id, sizeof((*pwrite)->id));
    return APR_SUCCESS;
}

static apr_status_t disk_write(ac_file_write_t *file, const char *bytes, size_t len, ac_err_t *err)
{
    file->unchecked += (int64_t)len;
    if (file->unchecked >= ROOM_EVERY) {
        apr_status_t status = disk_room(file->disk, 0, err);
        if (status != APR_SUCCESS) {
            return status;
        }
        file->unchecked = 0;
    }
    while (len) {
        ssize_t n = write(file->fd, bytes, len);
        if (n < 0 && errno != EINTR) {
            return disk_failed(err, errno, "writing a file");
        }
        bytes += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return APR_SUCCESS;
}

static void disk_write_abort(ac_file_write_t *file)
{
    drop_new(file->disk, file->id, file->fd);
    free(file);
}

/* Gives the complete file its name. Returns 0 or an errno. */
static int file_place(const ac_file_write_t *file)
{
    char from[PATH_SIZE], to[PATH_SIZE], folder[PATH_SIZE], shard[3];
    shard_of(shard, file->id);
    if (!path_make(from, file->disk, NEW, file->id) || !disk_place(to, file->disk, file->id) ||
        !path_make(folder, file->disk, shard, "")) {
        return ENAMETOOLONG;
    }
    int problem = fsync(file->fd) != 0 ? errno : folder_make(folder);
    if (!problem && rename(from, to) != 0) {
        problem = errno;
    } else if (!problem && (problem = folder_sync(folder)) != 0) {
        unlink(to);
    }
    return problem;
}

static apr_status_t disk_write_end(ac_file_write_t *file, const char *type, ac_err_t *err)
{
    (void)type; /* the store has it */
    int problem = file_place(file);
    disk_write_abort(file);
    return problem ? disk_failed(err, problem, "storing a file") : APR_SUCCESS;
}

/* ---- reading ---- */

static apr_status_t disk_read_begin(void *self, ac_file_read_t **pread, const char *id, int64_t offset, int64_t len,
                                    ac_err_t *err)
{
    char path[PATH_SIZE];
    *pread = NULL;
    if (!disk_place(path, self, id)) {
        return ac_err_set(err, AC_NOT_FOUND, "no file with this id");
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) {
        return ac_err_set(err, AC_NOT_FOUND, "the bytes of this file are gone");
    }
    if (fd < 0 || lseek(fd, offset, SEEK_SET) < 0) {
        int problem = errno;
        if (fd >= 0) {
            close(fd);
        }
        return disk_failed(err, problem, "opening a file");
    }
    *pread = ac_alloc(sizeof(**pread));
    (*pread)->fd = fd;
    (*pread)->left = len;
    return APR_SUCCESS;
}

static apr_status_t disk_read(ac_file_read_t *file, char *bytes, size_t size, size_t *plen, ac_err_t *err)
{
    ssize_t n;
    size = file->left >= 0 && (int64_t)size > file->left ? (size_t)file->left : size;
    do {
        n = read(file->fd, bytes, size);
    } while (n < 0 && errno == EINTR);
    *plen = n > 0 ? (size_t)n : 0;
    file->left -= file->left >= 0 ? (int64_t)*plen : 0;
    return n < 0 ? disk_failed(err, errno, "reading a file") : APR_SUCCESS;
}

static void disk_read_end(ac_file_read_t *file)
{
    close(file->fd);
    free(file);
}

static int disk_read_descriptor(ac_file_read_t *file)
{
    return file->fd;
}

/* ---- removal ---- */

static apr_status_t disk_remove(void *self, const char *id, ac_err_t *err)
{
    char path[PATH_SIZE];
    if (!disk_place(path, self, id) || unlink(path) == 0 || errno == ENOENT) {
        return APR_SUCCESS;
    }
    return disk_failed(err, errno, "removing a file");
}

/* Calls found for each file of a folder that is older than that. */
static int folder_sweep(const char *path, apr_time_t before, ac_file_found_fn *found, void *baton)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    struct stat info;
    if (!dir) {
        return errno == ENOENT ? 0 : errno;
    }
    while ((entry = readdir(dir)) != NULL) {
        if (ac_id_valid(entry->d_name, AC_FILE_ID) &&
            fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode) &&
            apr_time_from_sec(info.st_mtime) < before) {
            found(baton, entry->d_name);
        }
    }
    closedir(dir);
    return 0;
}

/* Removes an unfinished file whose writer has died, so that it is not locked. */
static void sweep_unfinished(void *baton, const char *id)
{
    const disk_t *disk = baton;
    char path[PATH_SIZE];
    int fd = path_make(path, disk, NEW, id) ? open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) {
        unlink(path);
    }
    if (fd >= 0) {
        close(fd);
    }
}

static apr_status_t disk_sweep(void *self, apr_time_t before, ac_file_found_fn *found, void *baton, ac_err_t *err)
{
    const disk_t *disk = self;
    char path[PATH_SIZE];
    DIR *dir = opendir(disk->dir);
    const struct dirent *entry;
    int problem = dir || errno == ENOENT ? 0 : errno;
    while (dir && !problem && (entry = readdir(dir)) != NULL) {
        if (strlen(entry->d_name) == 2 && *entry->d_name != '.' && path_make(path, disk, entry->d_name, "")) {
            problem = folder_sweep(path, before, found, baton);
        }
    }
    if (dir) {
        closedir(dir);
    }
    if (!problem && path_make(path, disk, NEW, "")) {
        problem = folder_sweep(path, apr_time_now() - YOUNG, sweep_unfinished, self);
    }
    return problem ? disk_failed(err, problem, "looking through the folder of files") : APR_SUCCESS;
}

const ac_files_vt ac_files_disk = {
    .name = "disk",
    .write_begin = disk_write_begin,
    .write = disk_write,
    .write_end = disk_write_end,
    .write_abort = disk_write_abort,
    .read_begin = disk_read_begin,
    .read = disk_read,
    .read_end = disk_read_end,
    .read_descriptor = disk_read_descriptor,
    .remove = disk_remove,
    .sweep = disk_sweep,
};

void *ac_files_disk_create(const char *dir, int64_t reserve, apr_pool_t *p)
{
    disk_t *disk = apr_palloc(p, sizeof(*disk));
    disk->dir = apr_pstrdup(p, dir);
    disk->reserve = reserve;
    return disk;
}
