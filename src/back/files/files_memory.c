/* SPDX-License-Identifier: Apache-2.0 */
/* Files that a request has brought: in memory, as long as its run needs them. Any thread may read them. */
#include "files.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

typedef struct memory_file_t {
    char id[AC_ID_SIZE];
    ac_buf_t bytes;
    struct memory_file_t *next;
} memory_file_t;

struct ac_files_memory_t {
    atomic_uint refs;
    const ac_files_t *below;
    memory_file_t *files;
};

struct ac_file_read_t {
    const char *at; /* the rest of a file in memory */
    size_t left;
    const ac_files_vt *vt; /* of the file below; NULL: it is in memory */
    ac_file_read_t *below;
};

ac_files_memory_t *ac_files_memory_create(const ac_files_t *below)
{
    ac_files_memory_t *memory = ac_alloc(sizeof *memory);
    atomic_init(&memory->refs, 1);
    memory->below = below;
    return memory;
}

ac_files_memory_t *ac_files_memory_ref(ac_files_memory_t *memory)
{
    atomic_fetch_add_explicit(&memory->refs, 1, memory_order_relaxed);
    return memory;
}

void ac_files_memory_unref(ac_files_memory_t *memory)
{
    if (!memory || atomic_fetch_sub_explicit(&memory->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    while (memory->files) {
        memory_file_t *file = memory->files;
        memory->files = file->next;
        ac_buf_free(&file->bytes);
        free(file);
    }
    free(memory);
}

void ac_files_memory_add(ac_files_memory_t *memory, const char *id, ac_buf_t *bytes)
{
    memory_file_t *file = ac_alloc(sizeof *file);
    apr_cpystrn(file->id, id, sizeof file->id);
    file->bytes = *bytes;
    ac_buf_init(bytes, bytes->max);
    file->next = memory->files;
    memory->files = file;
}

const ac_buf_t *ac_files_memory_get(const ac_files_memory_t *memory, const char *id)
{
    const memory_file_t *file = memory->files;
    while (file && strcmp(file->id, id) != 0) {
        file = file->next;
    }
    return file ? &file->bytes : NULL;
}

/* ---- the table of functions ---- */

static apr_status_t memory_read_begin(void *self, ac_file_read_t **pread, const char *id, int64_t offset, int64_t len,
                                      ac_err_t *err)
{
    const ac_files_memory_t *memory = self;
    const ac_buf_t *bytes = ac_files_memory_get(memory, id);
    const ac_files_t *below = memory->below && memory->below->vt ? memory->below : NULL;
    ac_file_read_t *file = NULL, *read;
    apr_status_t status = APR_SUCCESS;
    if (!bytes) {
        status = below ? below->vt->read_begin(below->self, &file, id, offset, len, err)
                       : ac_err_set(err, AC_NOT_FOUND, "no file with this id");
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    read = ac_alloc(sizeof *read);
    if (bytes) {
        size_t from = offset < (int64_t)bytes->len ? (size_t)offset : bytes->len;
        read->at = bytes->data + from;
        read->left = bytes->len - from;
        read->left = len >= 0 && (size_t)len < read->left ? (size_t)len : read->left;
    } else {
        read->vt = below->vt;
        read->below = file;
    }
    *pread = read;
    return APR_SUCCESS;
}

static apr_status_t memory_read(ac_file_read_t *file, char *bytes, size_t size, size_t *plen, ac_err_t *err)
{
    if (file->vt) {
        return file->vt->read(file->below, bytes, size, plen, err);
    }
    *plen = file->left < size ? file->left : size;
    memcpy(bytes, file->at, *plen);
    file->at += *plen;
    file->left -= *plen;
    return APR_SUCCESS;
}

static void memory_read_end(ac_file_read_t *file)
{
    if (file->vt) {
        file->vt->read_end(file->below);
    }
    free(file);
}

/* What is made of a file, as the text of a PDF, is not kept. */
static apr_status_t memory_write_begin(void *self, ac_file_write_t **pwrite, const char *id, int64_t size,
                                       ac_err_t *err)
{
    (void)self;
    (void)pwrite;
    (void)id;
    (void)size;
    return ac_err_set(err, AC_STORE_ERROR, "files in memory are read only");
}

const ac_files_vt ac_files_memory = {.name = "memory",
                                     .write_begin = memory_write_begin,
                                     .read_begin = memory_read_begin,
                                     .read = memory_read,
                                     .read_end = memory_read_end};
