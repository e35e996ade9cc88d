/* SPDX-License-Identifier: Apache-2.0 */
/* A file of keys that may change at any time: a caller that asks for the keys checks it at intervals, and replaces all
 * keys at once. */
#include "apikey_internal.h"

#include <apr_strings.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#define BETWEEN_LOOKS apr_time_from_sec(1)
#define SETTLED 2 /* seconds: a file that changed less long ago may change again with the same time stamp */

struct ac_keyring_file_t {
    const char *path;
    pthread_mutex_t lock; /* guards the members below; not held while the file is read */
    ac_keyring_t *ring;
    apr_time_t looked; /* ac_clock */
    bool looking;      /* one caller checks the file */
    /* Only for the caller that checks the file: */
    struct stat seen;                /* st_ino 0: the file did not exist */
    bool settled;                    /* the same file need not be read again */
    char logged[AC_ERR_DETAIL_SIZE]; /* the last error, so that it is logged once */
};

static apr_status_t keyring_file_forget(void *baton)
{
    ac_keyring_file_t *file = baton;
    ac_keyring_unref(file->ring);
    pthread_mutex_destroy(&file->lock);
    return APR_SUCCESS;
}

ac_keyring_file_t *ac_keyring_file_create(const char *path, apr_pool_t *p)
{
    ac_keyring_file_t *file = apr_pcalloc(p, sizeof(*file));
    file->path = apr_pstrdup(p, path);
    pthread_mutex_init(&file->lock, NULL);
    apr_pool_cleanup_register(p, file, keyring_file_forget, apr_pool_cleanup_null);
    return file;
}

const char *ac_keyring_file_path(const ac_keyring_file_t *file)
{
    return file->path;
}

/* Whether the file has to be read. Stores what it saw, so that an unchanged file is not read twice. */
static bool has_changed(ac_keyring_file_t *file)
{
    struct stat info, old = file->seen;
    memset(&info, 0, sizeof(info));
    if (stat(file->path, &info)) {
        memset(&info, 0, sizeof(info));
    }
    bool same = info.st_ino == old.st_ino && info.st_dev == old.st_dev && info.st_size == old.st_size &&
        info.st_mtim.tv_sec == old.st_mtim.tv_sec && info.st_mtim.tv_nsec == old.st_mtim.tv_nsec &&
        info.st_ctim.tv_sec == old.st_ctim.tv_sec && info.st_ctim.tv_nsec == old.st_ctim.tv_nsec;
    bool changed = !same || !file->settled;
    file->seen = info;
    file->settled = apr_time_sec(apr_time_now()) - (apr_time_t)info.st_ctim.tv_sec > SETTLED;
    return changed;
}

static ac_keyring_t *read_again(ac_keyring_file_t *file)
{
    ac_keyring_t *ring = NULL;
    ac_err_t err;
    ac_err_init(&err);
    if (ac_keyring_read(&ring, file->path, &err) == APR_SUCCESS) {
        file->logged[0] = '\0';
        return ring;
    }
    file->settled = false; /* it may become readable without a change, when descriptors are free again */
    if (strcmp(file->logged, err.detail) != 0) {
        apr_cpystrn(file->logged, err.detail, sizeof(file->logged));
        ac_log(AC_M660, 0, "keys file %s: %s; the keys that were read before stay in force", file->path, err.detail);
    }
    return NULL;
}

apr_status_t ac_keyring_file_load(ac_keyring_file_t *file, ac_err_t *err)
{
    ac_keyring_t *ring = NULL;
    has_changed(file);
    apr_status_t status = ac_keyring_read(&ring, file->path, err);
    if (status == APR_SUCCESS) {
        ac_keyring_unref(file->ring);
        file->ring = ring;
        file->looked = ac_clock();
    }
    return status;
}

ac_keyring_t *ac_keyring_file_now(ac_keyring_file_t *file)
{
    pthread_mutex_lock(&file->lock);
    bool look = !file->looking && ac_clock() - file->looked >= BETWEEN_LOOKS;
    file->looking = file->looking || look;
    pthread_mutex_unlock(&file->lock);

    ac_keyring_t *fresh = look && has_changed(file) ? read_again(file) : NULL, *old = NULL;

    pthread_mutex_lock(&file->lock);
    if (look) {
        file->looking = false;
        file->looked = ac_clock();
    }
    if (fresh) {
        old = file->ring;
        file->ring = fresh;
    }
    ac_keyring_t *ring = file->ring;
    if (ring) {
        ac_keyring_ref(ring);
    }
    pthread_mutex_unlock(&file->lock);
    ac_keyring_unref(old);
    return ring;
}
