/* SPDX-License-Identifier: Apache-2.0 */
/* A file of keys that may change at any time: a caller that asks for the keys checks it at intervals, and replaces all
 * keys at once. */
#include "apikey_internal.h"

#include <apr_strings.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#define BETWEEN_LOOKS apr_time_from_sec(1)
#define SETTLED 2 /* seconds: a file that changed less long ago may change again with the same time stamp */

struct ac_keyring_file_t {
    const char *path;
    ac_keyring_changed_fn *on_change; /* or NULL */
    _Atomic(uint64_t) *version;       /* of the keys that were reported last; shared by processes */
    pthread_mutex_t lock;             /* guards the members below; not held while the file is read */
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

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

/* The same number for the same keys, in every process. */
static uint64_t version_of(const ac_keyring_t *ring)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    int n = 0;
    const ac_api_key_t *keys = ring ? ac_keyring_keys(&n, ring) : NULL;
    for (int i = 0; i < n; i++) {
        hash = hash_bytes(hash, keys[i].id, strlen(keys[i].id) + 1);
        hash = hash_bytes(hash, keys[i].owner, strlen(keys[i].owner) + 1);
        hash = hash_bytes(hash, keys[i].roles, strlen(keys[i].roles) + 1);
        hash = keys[i].limits ? hash_bytes(hash, keys[i].limits, strlen(keys[i].limits) + 1) : hash;
        hash = hash_bytes(hash, keys[i].hash, sizeof(keys[i].hash));
        hash = hash_bytes(hash, &keys[i].expires, sizeof(keys[i].expires));
        hash = hash_bytes(hash, &keys[i].enabled, sizeof(keys[i].enabled));
    }
    return hash;
}

void ac_keyring_file_watch(ac_keyring_file_t *file, _Atomic(uint64_t) *version, ac_keyring_changed_fn *fn)
{
    file->version = version;
    file->on_change = fn;
    atomic_store(version, version_of(file->ring));
}

static void keyring_file_report(const ac_keyring_file_t *file, const ac_keyring_t *before, const ac_keyring_t *now)
{
    uint64_t seen = version_of(before);
    if (file->on_change && before && now && atomic_compare_exchange_strong(file->version, &seen, version_of(now))) {
        file->on_change(before, now);
    }
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
    if (old) {
        keyring_file_report(file, old, ring);
    }
    ac_keyring_unref(old);
    return ring;
}
