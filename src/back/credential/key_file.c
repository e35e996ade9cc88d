/* SPDX-License-Identifier: Apache-2.0 */
/* A key in a file. It is read with the configuration, when httpd may still be root, and checked for changes at
 * intervals, on a work thread. */
#include "identity.h"

#include <apr_strings.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

typedef struct key_file_t {
    const char *path;
    apr_interval_time_t refresh;
    ac_loop_t *loop;
    ac_work_t *work;
    bool logged;       /* the log says that a child cannot read it */
    struct stat seen;  /* the file at the last read */
    char *text;        /* its contents; NULL: not read since the configuration */
    const char *first; /* the key as read with the configuration */
} key_file_t;

typedef struct reading_t {
    key_file_t *file;              /* loop thread only */
    ac_credential_result_fn *done; /* NULL: cancelled */
    void *baton;
    const char *path;
    struct stat seen; /* in: at the last read; out: at this one */
    bool same;
    apr_status_t status;
    char *text;
    ac_err_t err;
} reading_t;

/* ---- reading ---- */

static apr_status_t key_file_read_key(char **ptext, const char *path, ac_err_t *err)
{
    char *text = NULL, reason[120];
    size_t len = 0;
    apr_status_t status = ac_file_read(&text, &len, path, AC_CREDENTIAL_MAX_KEY * 2);
    if (status != APR_SUCCESS) {
        ac_err_set(err, AC_UNAUTHENTICATED, "cannot be read: %s",
                   status == APR_ENOSPC       ? "it is too long"
                       : status == APR_EINVAL ? "it is not a regular file"
                                              : apr_strerror(status, reason, sizeof(reason)));
        return status;
    }
    status = memchr(text, '\0', len) ? ac_err_set(err, AC_UNAUTHENTICATED, "has a NUL in it")
                                     : ac_credential_spec_check_key(text, len, err);
    if (status != APR_SUCCESS) {
        OPENSSL_cleanse(text, len);
        free(text);
        return APR_EINVAL; /* EACCES is reserved for the file itself */
    }
    *ptext = text;
    return APR_SUCCESS;
}

static bool key_file_is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
        a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
        a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void key_file_look(void *baton)
{
    reading_t *reading = baton;
    struct stat info;
    if (stat(reading->path, &info)) {
        reading->status = errno;
        ac_err_set(&reading->err, AC_UNAUTHENTICATED, "the file is not there any more");
        return;
    }
    reading->same = key_file_is_same(&info, &reading->seen);
    reading->seen = info;
    if (!reading->same) {
        reading->status = key_file_read_key(&reading->text, reading->path, &reading->err);
    }
}

/* ---- on the loop ---- */

static void key_file_wipe(char *text)
{
    if (text) {
        OPENSSL_cleanse(text, strlen(text));
        free(text);
    }
}

static void key_file_take(key_file_t *file, reading_t *reading, ac_credential_result_t *fetched)
{
    if (reading->text) {
        key_file_wipe(file->text);
        file->text = reading->text;
        reading->text = NULL;
        file->seen = reading->seen;
    }
    if (APR_STATUS_IS_EACCES(reading->status)) {
        /* Keys are often readable by root only: then the value read with the configuration is used. */
        if (!file->logged) {
            ac_log(AC_M245, reading->status,
                   "credential file:%s: this process may not read it again; a changed key takes "
                   "effect at the next restart",
                   file->path);
        }
        file->logged = true;
        file->seen = reading->seen;
        ac_err_init(&reading->err);
    }
    fetched->err = reading->err;
    fetched->text = file->text ? file->text : file->first;
    fetched->refresh = ac_loop_now(file->loop) + file->refresh;
}

static void end_reading(void *baton)
{
    reading_t *reading = baton;
    ac_credential_result_t fetched;
    memset(&fetched, 0, sizeof(fetched));
    if (reading->done) {
        ac_credential_result_fn *done = reading->done;
        key_file_take(reading->file, reading, &fetched);
        done(reading->baton, &fetched);
    }
    key_file_wipe(reading->text);
    free(reading);
}

static void key_file_refuse(void *baton)
{
    reading_t *reading = baton;
    ac_err_set(&reading->err, AC_OVERLOADED, "no work thread is free");
    end_reading(reading);
}

static void *key_file_start(void *source, const char *scope, ac_credential_result_fn *done, void *baton)
{
    key_file_t *file = source;
    reading_t *reading = ac_alloc(sizeof(*reading));
    (void)scope;
    reading->file = file;
    reading->done = done;
    reading->baton = baton;
    reading->path = file->path;
    reading->seen = file->seen;
    if (ac_work_post(file->work, key_file_look, end_reading, reading) != APR_SUCCESS) {
        ac_loop_post(file->loop, key_file_refuse, reading);
    }
    return reading;
}

static void key_file_cancel(void *fetch)
{
    reading_t *reading = fetch;
    reading->done = NULL; /* freed when the work thread returns it */
}

static apr_status_t key_file_child_init(void *source, const ac_host_t *host, ac_err_t *err)
{
    key_file_t *file = source;
    (void)err;
    file->loop = host->loop;
    file->work = host->work;
    return APR_SUCCESS;
}

static void key_file_child_exit(void *source)
{
    key_file_t *file = source;
    key_file_wipe(file->text);
    file->text = NULL;
}

const ac_credential_source_vt ac_key_file_source = {key_file_start, key_file_cancel, key_file_child_init,
                                                    key_file_child_exit};

/* ---- configuration ---- */

const char *ac_key_file_create(void **psource, const char **ptext, const char *path, const apr_table_t *options,
                               apr_pool_t *p)
{
    static const char *const names[] = {"refresh", NULL};
    key_file_t *file = apr_pcalloc(p, sizeof(*file));
    char *text = NULL;
    ac_err_t err;
    ac_err_init(&err);
    file->path = apr_pstrdup(p, path);
    file->refresh = apr_time_from_sec(10);
    const char *problem = ac_credential_spec_only(options, names, apr_pstrcat(p, "file:", path, NULL), p);
    if (!problem) {
        problem = ac_credential_spec_duration(&file->refresh, options, "refresh", p);
    }
    if (problem) {
        return problem;
    }
    if (stat(path, &file->seen) || key_file_read_key(&text, path, &err) != APR_SUCCESS) {
        char reason[120];
        return apr_psprintf(p, "'file:%s' %s", path,
                            err.detail[0]
                                ? err.detail
                                : apr_pstrcat(p, "cannot be read: ", apr_strerror(errno, reason, sizeof(reason)),
                                              NULL));
    }
    *ptext = file->first = apr_pstrdup(p, text);
    key_file_wipe(text);
    *psource = file;
    return NULL;
}
