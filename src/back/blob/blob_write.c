/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a file: one request if it is one part, else a block for each part, and the list of blocks at the end. A blob
 * is only created, never replaced; after an answer that got lost, the nonce of the upload tells whether the blob that
 * is there is its own. An upload that breaks off leaves uncommitted blocks, which cannot be read; the service removes
 * them after a week. */
#include "blob_internal.h"

#include <stdio.h>
#include <string.h>

#include <apr_strings.h>

#include <openssl/evp.h>

#define BLOCK_ID_SIZE 52 /* base64 of 36 characters */
#define LIST_MAX (8 * 1024 * 1024)

struct ac_file_write_t {
    ac_blob_t *blob;
    char id[AC_ID_SIZE], nonce[AC_BLOB_NONCE_SIZE];
    ac_buf_t part;
    int n_blocks;
};

apr_status_t ac_blob_write_begin(void *self, ac_file_write_t **pwrite, const char *id, int64_t size, ac_err_t *err)
{
    (void)size;
    *pwrite = NULL;
    if (!ac_id_valid(id, AC_FILE_ID)) {
        return ac_err_set(err, AC_STORE_ERROR, "this is no id of a file");
    }
    *pwrite = ac_alloc(sizeof(**pwrite));
    (*pwrite)->blob = self;
    apr_cpystrn((*pwrite)->id, id, sizeof((*pwrite)->id));
    ac_id_make((*pwrite)->nonce, "up_");
    ac_buf_init(&(*pwrite)->part, AC_BLOB_PART);
    return APR_SUCCESS;
}

void ac_blob_write_abort(ac_file_write_t *file)
{
    ac_buf_free(&file->part);
    free(file);
}

/* All ids of blocks have one length. With the nonce no two uploads mix their blocks. */
static void block_id(char id[BLOCK_ID_SIZE], const ac_file_write_t *file, int i)
{
    char text[64];
    int len = snprintf(text, sizeof(text), "%06d-%-29s", i, file->nonce);
    EVP_EncodeBlock((unsigned char *)id, (const unsigned char *)text, len);
}

static apr_status_t write_block(ac_file_write_t *file, ac_err_t *err)
{
    char id[BLOCK_ID_SIZE];
    ac_blob_reply_t reply;
    block_id(id, file, file->n_blocks);
    const ac_blob_request_t request = {.doing = "storing a part of a file",
                                       .method = "PUT",
                                       .name = file->id,
                                       .query = (const char *const[]){"blockid", id, "comp", "block", NULL},
                                       .body = &file->part};
    apr_status_t status = ac_blob_call(file->blob, &request, &reply, err);
    ac_buf_free(&reply.body);
    file->n_blocks += status == APR_SUCCESS;
    return status;
}

apr_status_t ac_blob_write(ac_file_write_t *file, const char *bytes, size_t len, ac_err_t *err)
{
    apr_status_t status = APR_SUCCESS;
    while (len && status == APR_SUCCESS) {
        size_t room = AC_BLOB_PART - file->part.len, n = len < room ? len : room;
        if (!n) {
            status = write_block(file, err);
            continue;
        }
        if (ac_buf_add(&file->part, bytes, n) != APR_SUCCESS) {
            return ac_err_set(err, AC_OVERLOADED, "memory ran out");
        }
        bytes += n;
        len -= n;
    }
    return status;
}

/* Whether the blob that is there was written by this upload, by an attempt whose answer got lost. curl sends a request
 * again by itself on a connection that was kept, so nothing says that there was one. */
static bool is_mine(const ac_file_write_t *file)
{
    ac_blob_reply_t reply;
    const ac_blob_request_t request = {.doing = "looking at a file", .method = "HEAD", .name = file->id};
    bool mine = ac_blob_call(file->blob, &request, &reply, NULL) == APR_SUCCESS &&
        strcmp(reply.nonce, file->nonce) == 0;
    ac_buf_free(&reply.body);
    return mine;
}

static apr_status_t write_last(ac_file_write_t *file, const ac_blob_request_t *request, ac_err_t *err)
{
    ac_blob_reply_t reply;
    ac_err_t failed;
    ac_err_init(&failed);
    apr_status_t status = ac_blob_call(file->blob, request, &reply, &failed);
    ac_buf_free(&reply.body);
    if (status != APR_SUCCESS && (reply.status == 409 || reply.status == 412) && is_mine(file)) {
        return APR_SUCCESS;
    }
    if (status != APR_SUCCESS) {
        ac_blob_call_log(request->doing, &failed);
    }
    if (status != APR_SUCCESS && err && err->kind == AC_OK) {
        *err = failed;
    }
    return status;
}

/* The file in one request, or the list of its blocks. */
static apr_status_t write_whole(ac_file_write_t *file, const char *type, ac_err_t *err)
{
    char type_line[128], nonce_line[64];
    snprintf(type_line, sizeof(type_line), "x-ms-blob-content-type: %.100s", type);
    snprintf(nonce_line, sizeof(nonce_line), "x-ms-meta-agentchat: %s", file->nonce);
    const char *headers[] = {"If-None-Match: *",
                             nonce_line,
                             type_line,
                             "x-ms-blob-content-disposition: attachment",
                             file->n_blocks ? NULL : "x-ms-blob-type: BlockBlob",
                             NULL};
    const ac_blob_request_t request = {
        .doing = "storing a file",
        .method = "PUT",
        .name = file->id,
        .query = file->n_blocks ? (const char *const[]){"comp", "blocklist", NULL} : NULL,
        .headers = headers,
        .body = &file->part,
        .quiet = true,
    };
    return write_last(file, &request, err);
}

static void list_blocks(ac_buf_t *list, const ac_file_write_t *file)
{
    char id[BLOCK_ID_SIZE];
    ac_buf_init(list, LIST_MAX);
    ac_buf_str(list, "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
    for (int i = 0; i < file->n_blocks; i++) {
        block_id(id, file, i);
        ac_buf_printf(list, "<Latest>%s</Latest>", id);
    }
    ac_buf_str(list, "</BlockList>");
}

apr_status_t ac_blob_write_end(ac_file_write_t *file, const char *type, ac_err_t *err)
{
    apr_status_t status = APR_SUCCESS;
    if (file->n_blocks) {
        status = file->part.len ? write_block(file, err) : APR_SUCCESS;
        ac_buf_free(&file->part);
        list_blocks(&file->part, file);
    }
    if (status == APR_SUCCESS) {
        status = file->part.failed ? ac_err_set(err, AC_OVERLOADED, "memory ran out") : write_whole(file, type, err);
    }
    ac_blob_write_abort(file);
    return status;
}
