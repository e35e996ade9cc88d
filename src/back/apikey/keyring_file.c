/* SPDX-License-Identifier: Apache-2.0 */
/* A file of keys that may change at any time: who asks for the keys looks at it now and then, and puts the new ones
 * in the place of the old ones at once. */
#include "apikey.h"

#include <apr_strings.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#define BETWEEN_LOOKS apr_time_from_sec(1)
#define SETTLED 2 /* seconds: a file that changed later may change again within the tick of its clock */

struct ac_keyring_file_t {
    const char *path;
    pthread_mutex_t lock; /* for all below; never held while the file is read */
    ac_keyring_t *ring;
    apr_time_t looked; /* ac_clock */
    bool looking;      /* one caller is at it */
    /* Of the caller that looks: */
    struct stat seen;              /* st_ino 0: it was not there */
    bool settled;                  /* the same need not be read again */
    char told[AC_ERR_DETAIL_SIZE]; /* the last trouble, so that it is said once */
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

/* Whether it has to be read; notes what was seen, so that the same is not read twice. */
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
        file->told[0] = '\0';
        return ring;
    }
    file->settled = false; /* what could not be read now may be without being changed: no descriptor was free */
    if (strcmp(file->told, err.detail) != 0) {
        apr_cpystrn(file->told, err.detail, sizeof(file->told));
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
