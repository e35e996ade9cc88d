/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a file: one range after the other, all of the same version of the blob. */
#include "blob_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <apr_strings.h>

struct ac_file_read_t {
    ac_blob_t *blob;
    char id[AC_ID_SIZE], etag[96];
    int64_t at, end; /* of the file: what is asked for next, and where to stop; end -1: at its end */
    ac_buf_t part;
    size_t given; /* bytes of the part that were handed out */
};

/* Reads the next part; an empty one: the end. */
static apr_status_t part_read(ac_file_read_t *file, ac_err_t *err)
{
    char range[80], match[128];
    int64_t last = file->at + AC_BLOB_PART;
    ac_blob_reply_t reply;
    ac_err_t failed;
    last = (file->end >= 0 && file->end < last ? file->end : last) - 1;
    snprintf(range, sizeof(range), "x-ms-range: bytes=%" PRId64 "-%" PRId64, file->at, last);
    snprintf(match, sizeof(match), "If-Match: %s", file->etag);
    ac_buf_free(&file->part);
    file->given = 0;
    if (last < file->at) {
        return APR_SUCCESS;
    }
    const ac_blob_request_t request = {.doing = "reading a file",
                                       .method = "GET",
                                       .name = file->id,
                                       .headers = (const char *const[]){range, *file->etag ? match : NULL, NULL},
                                       .max = AC_BLOB_PART,
                                       .quiet = true};
    ac_err_init(&failed);
    apr_status_t status = ac_blob_call(file->blob, &request, &reply, &failed);
    if (status == APR_SUCCESS && (reply.size < 0 || !reply.body.len)) {
        status = ac_err_set(&failed, AC_STORE_ERROR, "Blob Storage did not answer with a range");
    } else if (status == APR_SUCCESS) {
        file->part = reply.body;
        file->at += (int64_t)file->part.len;
        file->end = file->end < 0 || file->end > reply.size ? reply.size : file->end;
        apr_cpystrn(file->etag, reply.etag, sizeof(file->etag));
        return APR_SUCCESS;
    }
    ac_buf_free(&reply.body);
    if (reply.status == 416) { /* behind the end, or the file is empty */
        file->end = file->at;
        return APR_SUCCESS;
    }
    ac_blob_call_log(request.doing, &failed);
    if (err && err->kind == AC_OK) {
        *err = failed;
    }
    return status;
}

apr_status_t ac_blob_read_begin(void *self, ac_file_read_t **pread, const char *id, int64_t offset, int64_t len,
                                ac_err_t *err)
{
    *pread = NULL;
    if (!ac_id_valid(id, AC_FILE_ID)) {
        return ac_err_set(err, AC_NOT_FOUND, "no file with this id");
    }
    ac_file_read_t *file = ac_alloc(sizeof(*file));
    file->blob = self;
    apr_cpystrn(file->id, id, sizeof(file->id));
    file->at = offset;
    file->end = len < 0 ? -1 : offset + len;
    apr_status_t status = part_read(file, err);
    if (status != APR_SUCCESS) {
        ac_blob_read_end(file);
        return status;
    }
    *pread = file;
    return APR_SUCCESS;
}

apr_status_t ac_blob_read(ac_file_read_t *file, char *bytes, size_t size, size_t *plen, ac_err_t *err)
{
    *plen = 0;
    if (file->given >= file->part.len) {
        apr_status_t status = part_read(file, err);
        if (status != APR_SUCCESS || !file->part.len) {
            return status;
        }
    }
    size_t left = file->part.len - file->given;
    *plen = left < size ? left : size;
    memcpy(bytes, file->part.data + file->given, *plen);
    file->given += *plen;
    return APR_SUCCESS;
}

void ac_blob_read_end(ac_file_read_t *file)
{
    ac_buf_free(&file->part);
    free(file);
}
