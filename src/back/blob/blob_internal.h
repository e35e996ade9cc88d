/* SPDX-License-Identifier: Apache-2.0 */
/* Declarations that only the files of this folder share. */
#ifndef AC_BLOB_INTERNAL_H
#define AC_BLOB_INTERNAL_H

#include "back/credential/credential.h"
#include "blob.h"
#include "wire/wire.h"

#include <pthread.h>

#define AC_BLOB_PART (1024 * 1024) /* bytes of a file that are in memory at a time */
#define AC_BLOB_NONCE_SIZE AC_ID_SIZE

typedef struct ac_blob_call_t ac_blob_call_t;

typedef struct ac_blob_t {
    struct {
        const char *origin;  /* "https://ACCOUNT.blob.core.windows.net" */
        const char *service; /* the path of the service: "/", "/devstoreaccount1/" */
        const char *path;    /* the path of the container: "/files", "/devstoreaccount1/files" */
        const char *account, *container;
        const char *prefix;  /* of the names of blobs; "": none */
        const char *ca_file; /* PEM; NULL: the system's */
        const char *scope;   /* of a token */
        ac_credential_t *credential;
        bool encrypted;
    } conf;
    ac_loop_t *loop;
    bool started;
    ac_blob_call_t *calls; /* loop thread: those that are open */
    bool stopping;         /* loop thread */
    struct {               /* the key of an identity that signs URLs */
        pthread_mutex_t lock;
        ac_blob_delegation_t key;
        apr_time_t until; /* apr_time_now(); 0: there is none */
    } delegation;
} ac_blob_t;

/* ---- blob_call.c ---- */
typedef struct ac_blob_request_t {
    const char *doing;        /* "storing a file": for the log */
    const char *method;       /* constant; NULL: the credential itself is the answer, and nothing is sent */
    const char *name;         /* of the blob, without prefix; "": the container; NULL: the service */
    const char *const *query; /* as in ac_blob_ask_t, as are the headers */
    const char *const *headers;
    ac_buf_t *body;              /* NULL: none. It is taken, and is empty afterwards */
    size_t max;                  /* bytes of an answer, at most */
    apr_interval_time_t timeout; /* 0: the usual one */
    bool quiet;                  /* an error is not logged */
} ac_blob_request_t;

typedef struct ac_blob_reply_t {
    int status;                     /* HTTP's; 0: no answer */
    char code[64];                  /* x-ms-error-code, or "" */
    char etag[96];                  /* with its quotes, or "" */
    char nonce[AC_BLOB_NONCE_SIZE]; /* of the upload that wrote the blob, or "" */
    int64_t size;                   /* of the whole blob, from Content-Range; -1: not given */
    ac_buf_t body;                  /* the caller frees it, also on failure */
} ac_blob_reply_t;

/* Carries out a request and waits for its answer. reply is set in any case. Any thread but the loop's. errors:
 * not_found, overloaded, store_timeout, store_error. */
apr_status_t ac_blob_call(ac_blob_t *blob, const ac_blob_request_t *request, ac_blob_reply_t *reply, ac_err_t *err);
/* Logs why a call failed, unless it is that there is no such file. */
void ac_blob_call_log(const char *doing, const ac_err_t *err);
apr_status_t ac_blob_call_init(ac_blob_t *blob, const ac_host_t *host, ac_err_t *err);
/* Ends all open calls; later ones fail at once. */
void ac_blob_call_exit(ac_blob_t *blob);

/* ---- blob_write.c, blob_read.c, blob_sweep.c, blob_link.c: the functions of ac_files_vt ---- */
apr_status_t ac_blob_write_begin(void *self, ac_file_write_t **pwrite, const char *id, int64_t size, ac_err_t *err);
apr_status_t ac_blob_write(ac_file_write_t *file, const char *bytes, size_t len, ac_err_t *err);
apr_status_t ac_blob_write_end(ac_file_write_t *file, const char *type, ac_err_t *err);
void ac_blob_write_abort(ac_file_write_t *file);
apr_status_t ac_blob_read_begin(void *self, ac_file_read_t **pread, const char *id, int64_t offset, int64_t len,
                                ac_err_t *err);
apr_status_t ac_blob_read(ac_file_read_t *file, char *bytes, size_t size, size_t *plen, ac_err_t *err);
void ac_blob_read_end(ac_file_read_t *file);
apr_status_t ac_blob_sweep(void *self, apr_time_t before, ac_file_found_fn *found, void *baton, ac_err_t *err);
apr_status_t ac_blob_link_make(void *self, char **purl, const char *id, apr_interval_time_t life, ac_err_t *err);

#endif
