/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of files that clients upload. What is known about a file (its owner, name, type and size) is a document of
 * the store: see FILE_PUT and the verbs after it in agentchat_store.h. The order keeps both in step: the bytes are
 * durable before the document is stored, and the document is removed before the bytes. What a process that dies leaves
 * between the two are bytes without a document, which a sweep finds. */
#ifndef AC_FILES_H
#define AC_FILES_H

#include "back/back.h"

#define AC_FILE_ID "file_" /* the ids of files begin with it */

/* ---- where the bytes are: a table of functions ---- */

typedef struct ac_file_write_t ac_file_write_t; /* a file that is being written; one thread at a time uses it */
typedef struct ac_file_read_t ac_file_read_t;   /* a file that is being read; the same */
typedef void ac_file_found_fn(void *baton, const char *id);

/* All functions may block; call them on any thread but the loop's. errors of each: store_error, store_timeout,
 * overloaded. */
typedef struct ac_files_vt {
    const char *name; /* "disk", "blob" */
    /* Begins the file of this id. size: its bytes if they are known, else -1. Nothing is visible under the id before
     * write_end() has succeeded. errors: storage_full. */
    apr_status_t (*write_begin)(void *self, ac_file_write_t **pwrite, const char *id, int64_t size, ac_err_t *err);
    /* Appends bytes, of any number. errors: storage_full. */
    apr_status_t (*write)(ac_file_write_t *file, const char *bytes, size_t len, ac_err_t *err);
    /* Makes all bytes durable and visible under the id. type: the media type. Frees file, also on failure, when nothing
     * of the file is left. errors: storage_full. */
    apr_status_t (*write_end)(ac_file_write_t *file, const char *type, ac_err_t *err);
    /* Drops the file, and frees it. */
    void (*write_abort)(ac_file_write_t *file);
    /* Opens a file to read `len` bytes of it from `offset` on (len -1: to the end). errors: not_found. */
    apr_status_t (*read_begin)(void *self, ac_file_read_t **pread, const char *id, int64_t offset, int64_t len,
                               ac_err_t *err);
    /* Reads at most size bytes; *plen 0: the end. */
    apr_status_t (*read)(ac_file_read_t *file, char *bytes, size_t size, size_t *plen, ac_err_t *err);
    void (*read_end)(ac_file_read_t *file);
    /* An open descriptor of the file on this machine, at the offset, which read_end() closes; -1: it is elsewhere. NULL
     * as the function: always. */
    int (*read_descriptor)(ac_file_read_t *file);
    /* Removes the file; success if there is none. */
    apr_status_t (*remove)(void *self, const char *id, ac_err_t *err);
    /* A URL that anybody can read the file with for this long, on the heap; NULL: the storage makes none. NULL as the
     * function: the same. */
    apr_status_t (*url)(void *self, char **purl, const char *id, apr_interval_time_t life, ac_err_t *err);
    /* Calls found(baton, id) for each file that was written before that time, and removes what dead processes have left
     * of unfinished files. */
    apr_status_t (*sweep)(void *self, apr_time_t before, ac_file_found_fn *found, void *baton, ac_err_t *err);
    /* The following are NULL for storage of this machine. */
    /* Before the first call in this process; child_exit() ends all calls. The loop runs when it is called. */
    apr_status_t (*child_init)(void *self, const ac_host_t *host, ac_err_t *err);
    void (*child_exit)(void *self);
    /* Whether files can be read and written now. */
    apr_status_t (*check)(void *self, ac_err_t *err);
} ac_files_vt;

typedef struct ac_files_t {
    const ac_files_vt *vt; /* NULL: files are off */
    void *self;
} ac_files_t;

/* ---- files_disk.c: the provider "disk" ---- */
extern const ac_files_vt ac_files_disk;
/* The self of that provider: the folder `dir`, which is made with the first file. A write fails with storage_full if
 * less than `reserve` bytes of its file system would be left. It lives as long as p. */
void *ac_files_disk_create(const char *dir, int64_t reserve, apr_pool_t *p);

/* ---- files_memory.c: the provider "memory", for files that a request has brought and that are not stored ---- */
extern const ac_files_vt ac_files_memory; /* its self is an ac_files_memory_t; it is read only */
typedef struct ac_files_memory_t ac_files_memory_t;
/* Files of other ids are read from `below`, which may be NULL and outlives it. With one reference; counted. */
ac_files_memory_t *ac_files_memory_create(const ac_files_t *below);
ac_files_memory_t *ac_files_memory_ref(ac_files_memory_t *memory);
void ac_files_memory_unref(ac_files_memory_t *memory); /* NULL is allowed */
/* Adds a file, whose bytes it takes from the buffer. Before others refer to it. */
void ac_files_memory_add(ac_files_memory_t *memory, const char *id, ac_buf_t *bytes);
/* The bytes of a file that was added; NULL: it was not. Valid as long as memory is. */
const ac_buf_t *ac_files_memory_get(const ac_files_memory_t *memory, const char *id);

/* ---- files_text.c: what a model can be shown of a file; on any thread but the loop's ---- */
typedef enum ac_file_kind_e { AC_FILE_IMAGE, AC_FILE_TEXT, AC_FILE_PDF, AC_FILE_OTHER } ac_file_kind_e;
ac_file_kind_e ac_files_text_kind(const char *type); /* of a media type. Any thread */
/* Appends the first bytes of a file, as many as out's maximum allows. errors: not_found, overloaded, the storage's. */
apr_status_t ac_files_text_load(const ac_files_t *files, ac_buf_t *out, const char *id, ac_err_t *err);
typedef struct ac_file_text_t {
    ac_buf_t text; /* with its maximum; the caller's. Any bytes: the file says what they are */
    bool cut;      /* out: the file may have more */
} ac_file_text_t;
/* Reads the text of a file. The text of a PDF is that of pdftotext, which runs with limits, and is kept beside the
 * file. errors: unsupported_media_type: the file has no text that can be read, and err says why; as above. */
apr_status_t ac_files_text(const ac_files_t *files, ac_file_text_t *text, const char *id, const char *type,
                           ac_err_t *err);
/* Removes the bytes of a file, and the text that is kept beside them. Success if there are none. */
apr_status_t ac_files_text_remove(const ac_files_t *files, const char *id, ac_err_t *err);

#endif
