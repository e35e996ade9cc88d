/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of the event logs: child directories, which children are alive, and datagrams between them. */
#include "events_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct ac_event_dir_t {
    char *path;
    size_t max;
    ac_child_key_t key;
    int lock_fd, socket_fd;
    ac_event_outage_t outage;
    ac_event_total_t total;
};

void ac_event_dir_child_name(char name[AC_CHILD_NAME_SIZE], ac_child_key_t key)
{
    snprintf(name, AC_CHILD_NAME_SIZE, "c-%08x-%08x", (unsigned)(key >> 32), (unsigned)key);
}

ac_child_key_t ac_event_dir_child_key(const char *name)
{
    unsigned process = 0, number = 0;
    char again[AC_CHILD_NAME_SIZE];
    if (sscanf(name, "c-%8x-%8x", &process, &number) != 2) {
        return 0;
    }
    ac_child_key_t key = (ac_child_key_t)process << 32 | number;
    ac_event_dir_child_name(again, key);
    return strcmp(again, name) == 0 ? key : 0;
}

ac_child_key_t ac_event_dir_key(const ac_event_dir_t *dir)
{
    return dir->key;
}

const char *ac_event_dir_path(const ac_event_dir_t *dir)
{
    return dir->path;
}

size_t ac_event_dir_max(const ac_event_dir_t *dir)
{
    return dir->max;
}

int ac_event_dir_socket(const ac_event_dir_t *dir)
{
    return dir->socket_fd;
}

ac_event_outage_t *ac_event_dir_outage(ac_event_dir_t *dir)
{
    return &dir->outage;
}

ac_event_total_t *ac_event_dir_total(const ac_event_dir_t *dir)
{
    return (ac_event_total_t *)&dir->total; /* readers of the directory change the count, too */
}

int64_t ac_event_dir_bytes(const ac_event_dir_t *dir)
{
    return ac_event_total_bytes(ac_event_dir_total(dir));
}

static bool child_path(char path[AC_LOG_PATH_SIZE], const ac_event_dir_t *dir, ac_child_key_t child, const char *file)
{
    char name[AC_CHILD_NAME_SIZE];
    ac_event_dir_child_name(name, child);
    int n = snprintf(path, AC_LOG_PATH_SIZE, "%s/%s%s%s", dir->path, name, *file ? "/" : "", file);
    return n > 0 && n < AC_LOG_PATH_SIZE;
}

void ac_event_dir_log_path(char path[AC_LOG_PATH_SIZE], const ac_event_dir_t *dir, ac_child_key_t child,
                           const char *run_id)
{
    char file[AC_ID_SIZE + 8];
    snprintf(file, sizeof file, "%s.log", run_id);
    child_path(path, dir, child, file);
}

/* ---- the children ---- */

bool ac_event_dir_alive(const ac_event_dir_t *dir, ac_child_key_t child)
{
    char path[AC_LOG_PATH_SIZE];
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (child == dir->key) {
        return true;
    }
    if (!child_path(path, dir, child, "lock")) {
        return false;
    }
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return errno != ENOENT && errno != ENOTDIR; /* without proof of its death a child counts as alive */
    }
    bool alive = fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
    close(fd);
    return alive;
}

int ac_event_dir_children(const ac_event_dir_t *dir, ac_child_key_t *children, int max)
{
    DIR *listing = opendir(dir->path);
    struct dirent *entry;
    int n = 0;
    if (!listing) {
        return -1;
    }
    while (n < max && (entry = readdir(listing)) != NULL) {
        ac_child_key_t key = ac_event_dir_child_key(entry->d_name);
        if (key) {
            children[n++] = key;
        }
    }
    closedir(listing);
    return n;
}

void ac_event_dir_remove(const ac_event_dir_t *dir, ac_child_key_t child)
{
    char path[AC_LOG_PATH_SIZE];
    DIR *listing = child_path(path, dir, child, "") ? opendir(path) : NULL;
    struct dirent *entry;
    bool bare = listing != NULL;
    while (bare && (entry = readdir(listing)) != NULL) {
        bare = entry->d_name[0] == '.' || strcmp(entry->d_name, "lock") == 0 || strcmp(entry->d_name, "socket") == 0;
    }
    if (listing) {
        closedir(listing);
    }
    if (!bare) {
        return;
    }
    if (child_path(path, dir, child, "socket")) {
        unlink(path);
    }
    if (child_path(path, dir, child, "lock")) {
        unlink(path);
    }
    if (child_path(path, dir, child, "")) {
        rmdir(path);
    }
}

/* ---- datagrams ---- */

static bool event_dir_address_of(struct sockaddr_un *address, const ac_event_dir_t *dir, ac_child_key_t child)
{
    char path[AC_LOG_PATH_SIZE];
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (!child_path(path, dir, child, "socket") || strlen(path) >= sizeof address->sun_path) {
        return false;
    }
    memcpy(address->sun_path, path, strlen(path) + 1);
    return true;
}

apr_status_t ac_event_dir_send(const ac_event_dir_t *dir, ac_child_key_t child, const char *text, size_t len)
{
    struct sockaddr_un address;
    if (dir->socket_fd < 0 || !event_dir_address_of(&address, dir, child)) {
        return APR_ENOSOCKET;
    }
    ssize_t n;
    do {
        n = sendto(dir->socket_fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&address, sizeof address);
    } while (n < 0 && errno == EINTR);
    return n >= 0 ? APR_SUCCESS : errno;
}

static void open_socket(ac_event_dir_t *dir)
{
    struct sockaddr_un address;
    if (!event_dir_address_of(&address, dir, dir->key)) {
        return; /* the path is too long for a socket: followers look from time to time */
    }
    dir->socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (dir->socket_fd < 0) {
        return;
    }
    if (bind(dir->socket_fd, (struct sockaddr *)&address, sizeof address)) {
        close(dir->socket_fd);
        dir->socket_fd = -1;
    }
}

/* ---- the directory of this child ---- */

apr_status_t ac_event_dir_make(const char *path, uid_t user, gid_t group)
{
    struct stat info;
    if (mkdir(path, 0700) == 0) {
        return !geteuid() && lchown(path, user, group) ? errno : APR_SUCCESS;
    }
    if (errno != EEXIST || lstat(path, &info)) {
        return errno;
    }
    return S_ISDIR(info.st_mode) && info.st_uid == user && !(info.st_mode & 077) ? APR_SUCCESS : APR_EACCES;
}

/* Makes it under another name and renames it, so that no child sees it without its lock and counts us as dead. */
static apr_status_t make_child_dir(const ac_event_dir_t *dir, int *plock_fd)
{
    char fresh[AC_LOG_PATH_SIZE], path[AC_LOG_PATH_SIZE], lock_path[AC_LOG_PATH_SIZE + 8];
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int n = snprintf(fresh, sizeof fresh, "%s/new-%016llx", dir->path, (unsigned long long)dir->key);
    if (n < 0 || n >= (int)sizeof fresh || !child_path(path, dir, dir->key, "")) {
        return APR_ENAMETOOLONG;
    }
    if (mkdir(fresh, 0700)) {
        return errno;
    }
    snprintf(lock_path, sizeof lock_path, "%s/lock", fresh);
    int fd = open(lock_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) == 0 && rename(fresh, path) == 0) {
        *plock_fd = fd;
        return APR_SUCCESS;
    }
    apr_status_t status = errno;
    if (fd >= 0) {
        close(fd);
    }
    unlink(lock_path);
    rmdir(fresh);
    return status;
}

apr_status_t ac_event_dir_recreate(ac_event_dir_t *dir)
{
    int lock_fd = -1;
    apr_status_t status = ac_event_dir_make(dir->path, geteuid(), getegid());
    if (status == APR_SUCCESS) {
        status = make_child_dir(dir, &lock_fd);
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    if (dir->lock_fd >= 0) {
        close(dir->lock_fd);
    }
    if (dir->socket_fd >= 0) {
        close(dir->socket_fd);
    }
    dir->lock_fd = lock_fd;
    dir->socket_fd = -1;
    open_socket(dir);
    ac_event_total_open(&dir->total, dir->path);
    return APR_SUCCESS;
}

bool ac_event_dir_exists(const ac_event_dir_t *dir)
{
    char path[AC_LOG_PATH_SIZE];
    return child_path(path, dir, dir->key, "lock") && access(path, F_OK) == 0;
}

apr_status_t ac_event_dir_open(ac_event_dir_t **pdir, const char *path, size_t max, uint64_t total)
{
    ac_event_dir_t *dir = *pdir = ac_alloc(sizeof *dir);
    dir->path = strdup(path);
    if (!dir->path) {
        abort();
    }
    dir->outage.path = dir->path;
    dir->max = max;
    dir->total.max = total;
    dir->key = (ac_child_key_t)(uint32_t)getpid() << 32 | (uint32_t)ac_random();
    dir->lock_fd = dir->socket_fd = -1;
    return ac_event_dir_recreate(dir);
}

void ac_event_dir_close(ac_event_dir_t *dir)
{
    if (!dir) {
        return;
    }
    if (dir->socket_fd >= 0) {
        close(dir->socket_fd);
    }
    if (dir->lock_fd >= 0) {
        ac_event_dir_remove(dir, dir->key); /* where no log is left */
        close(dir->lock_fd);
    }
    ac_event_total_close(&dir->total);
    free(dir->path);
    free(dir);
}
