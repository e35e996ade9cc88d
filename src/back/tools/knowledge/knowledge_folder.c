/* SPDX-License-Identifier: Apache-2.0 */
/* The knowledge base's folder: the list of its documents, and their text. Files outside of it are never opened. */
#include "knowledge_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_SEEN 100000 /* entries of folders that are listed */
#define OPEN_DIR (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
#define RECENT apr_time_from_msec(100) /* longest tick of a file system's clock */

bool ac_knowledge_folder_same(const ac_knowledge_stamp_t *a, const ac_knowledge_stamp_t *b)
{
    return a->mtime == b->mtime && a->size == b->size && a->inode == b->inode;
}

static ac_knowledge_stamp_t knowledge_folder_stamp_of(const struct stat *info)
{
    return (ac_knowledge_stamp_t){.mtime = (int64_t)info->st_mtim.tv_sec * INT64_C(1000000000) + info->st_mtim.tv_nsec,
                                  .size = (int64_t)info->st_size,
                                  .inode = (int64_t)info->st_ino};
}

/* ---- listing ---- */

static bool is_document(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && (strcasecmp(dot, ".md") == 0 || strcasecmp(dot, ".markdown") == 0 || strcasecmp(dot, ".txt") == 0);
}

static void add_file(ac_knowledge_files_t *files, const char *path, const struct stat *info)
{
    if (files->n_items == files->size) {
        size_t size = files->size ? files->size * 2 : 64;
        ac_knowledge_file_t *items = realloc(files->items, size * sizeof(*items));
        if (!items) {
            abort(); /* as ac_alloc() does: the list has at most MAX_SEEN paths */
        }
        files->items = items;
        files->size = size;
    }
    ac_knowledge_file_t *file = &files->items[files->n_items++];
    file->path = strdup(path);
    file->stamp = knowledge_folder_stamp_of(info);
    if (!file->path) {
        abort();
    }
}

typedef struct place_t {
    char path[AC_KNOWLEDGE_PATH];
    size_t len;
    int depth;
} place_t;

static apr_status_t list_folder(ac_knowledge_files_t *files, int fd, place_t *place);

static void list_entry(ac_knowledge_files_t *files, int fd, const char *name, place_t *place)
{
    struct stat info;
    size_t before = place->len, len = strlen(name);
    if (name[0] == '.' || before + len + 2 > sizeof(place->path) || !ac_utf8_valid(name, len) ||
        fstatat(fd, name, &info, AT_SYMLINK_NOFOLLOW)) {
        return;
    }
    memcpy(place->path + before, name, len + 1);
    if (S_ISREG(info.st_mode) && is_document(name)) {
        add_file(files, place->path, &info);
    } else if (S_ISDIR(info.st_mode) && place->depth < AC_KNOWLEDGE_DEPTH) {
        int folder = openat(fd, name, OPEN_DIR);
        memcpy(place->path + before + len, "/", 2);
        place->len = before + len + 1;
        place->depth++;
        if (folder >= 0) {
            list_folder(files, folder, place);
        }
        place->depth--;
        place->len = before;
    }
    place->path[before] = '\0';
}

/* Consumes fd. */
static apr_status_t list_folder(ac_knowledge_files_t *files, int fd, place_t *place)
{
    DIR *folder = fdopendir(fd);
    struct dirent *entry;
    if (!folder) {
        apr_status_t status = errno;
        close(fd);
        return status;
    }
    while (files->n_seen < MAX_SEEN && (errno = 0, entry = readdir(folder))) {
        files->n_seen++;
        list_entry(files, dirfd(folder), entry->d_name, place);
    }
    closedir(folder);
    return APR_SUCCESS;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const ac_knowledge_file_t *)a)->path, ((const ac_knowledge_file_t *)b)->path);
}

apr_status_t ac_knowledge_folder_list(ac_knowledge_files_t *files, const char *root)
{
    place_t place = {.len = 0};
    memset(files, 0, sizeof(*files));
    int fd = open(root, OPEN_DIR);
    apr_status_t status = fd < 0 ? errno : list_folder(files, fd, &place);
    if (files->n_items) {
        qsort(files->items, files->n_items, sizeof(files->items[0]), by_path);
    }
    files->cut = files->n_items > AC_KNOWLEDGE_FILES || files->n_seen == MAX_SEEN;
    while (files->n_items > AC_KNOWLEDGE_FILES) {
        free(files->items[--files->n_items].path);
    }
    return status;
}

void ac_knowledge_folder_free(ac_knowledge_files_t *files)
{
    for (size_t i = 0; i < files->n_items; i++) {
        free(files->items[i].path);
    }
    free(files->items);
    memset(files, 0, sizeof(*files));
}

/* ---- reading ---- */

/* Opens folder by folder and refuses symbolic links. Returns -1 with errno. */
static int open_inside(const char *root, const char *path)
{
    char name[AC_KNOWLEDGE_PATH];
    int fd = open(root, OPEN_DIR);
    while (fd >= 0) {
        size_t len = strcspn(path, "/");
        bool last = path[len] == '\0';
        if (len == 0 || len >= sizeof(name)) {
            close(fd);
            errno = ENOENT;
            return -1;
        }
        memcpy(name, path, len);
        name[len] = '\0';
        int next = openat(fd, name, last ? O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK : OPEN_DIR);
        int error = errno;
        close(fd);
        errno = error;
        if (last) {
            return next;
        }
        fd = next;
        path += len + 1;
    }
    return fd;
}

static apr_status_t read_all(ac_buf_t *text, int fd)
{
    char block[16384];
    for (;;) {
        ssize_t n = read(fd, block, sizeof(block));
        if (n < 0 && errno != EINTR) {
            return errno;
        }
        if (n == 0) {
            return APR_SUCCESS;
        }
        if (n > 0 && ac_buf_add(text, block, (size_t)n) != APR_SUCCESS) {
            return ENOSPC;
        }
    }
}

apr_status_t ac_knowledge_folder_read(ac_buf_t *text, ac_knowledge_stamp_t *pstamp, const char *root, const char *path)
{
    struct stat info;
    int fd = open_inside(root, path);
    if (fd < 0) {
        return errno == ELOOP || errno == ENOTDIR ? ENOENT : errno;
    }
    apr_status_t status = fstat(fd, &info) ? errno : S_ISREG(info.st_mode) ? APR_SUCCESS : ENOENT;
    if (status == APR_SUCCESS) {
        *pstamp = knowledge_folder_stamp_of(&info);
        /* A file written this recently could change again within the same tick, with the same stamp. */
        apr_time_t age = apr_time_now() - pstamp->mtime / 1000;
        pstamp->mtime = age >= 0 && age < RECENT ? 0 : pstamp->mtime;
        status = info.st_size > AC_KNOWLEDGE_FILE ? ENOSPC : read_all(text, fd);
    }
    close(fd);
    if (status == APR_SUCCESS && text->len &&
        (!ac_utf8_valid(text->data, text->len) || memchr(text->data, 0, text->len))) {
        status = EINVAL;
    }
    return status;
}
