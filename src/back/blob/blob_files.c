/* SPDX-License-Identifier: Apache-2.0 */
/* The provider "blob": its table, and the functions that are one request. */
#include "blob_internal.h"

#include <string.h>

static apr_status_t blob_files_remove(void *self, const char *id, ac_err_t *err)
{
    ac_blob_reply_t reply;
    ac_err_t failed;
    const ac_blob_request_t request = {.doing = "removing a file",
                                       .method = "DELETE",
                                       .name = id,
                                       .headers = (const char *const[]){"x-ms-delete-snapshots: include", NULL}};
    if (!ac_id_valid(id, AC_FILE_ID)) {
        return APR_SUCCESS;
    }
    ac_err_init(&failed);
    apr_status_t status = ac_blob_call(self, &request, &reply, &failed);
    ac_buf_free(&reply.body);
    if (status != APR_SUCCESS && failed.kind == AC_NOT_FOUND) {
        return APR_SUCCESS;
    }
    if (status != APR_SUCCESS && err && err->kind == AC_OK) {
        *err = failed;
    }
    return status;
}

static apr_status_t blob_files_check(void *self, ac_err_t *err)
{
    ac_blob_reply_t reply;
    const ac_blob_request_t request = {.doing = "looking at the container",
                                       .method = "GET",
                                       .name = "",
                                       .query = (const char *const[]){"restype", "container", NULL},
                                       .timeout = apr_time_from_sec(3),
                                       .quiet = true};
    apr_status_t status = ac_blob_call(self, &request, &reply, err);
    ac_buf_free(&reply.body);
    return status;
}

static apr_status_t blob_files_init(void *self, const ac_host_t *host, ac_err_t *err)
{
    return ac_blob_call_init(self, host, err);
}

static void blob_files_exit(void *self)
{
    ac_blob_call_exit(self);
}

const ac_files_vt ac_files_blob = {
    .name = "blob",
    .write_begin = ac_blob_write_begin,
    .write = ac_blob_write,
    .write_end = ac_blob_write_end,
    .write_abort = ac_blob_write_abort,
    .read_begin = ac_blob_read_begin,
    .read = ac_blob_read,
    .read_end = ac_blob_read_end,
    .remove = blob_files_remove,
    .url = ac_blob_link_make,
    .sweep = ac_blob_sweep,
    .child_init = blob_files_init,
    .child_exit = blob_files_exit,
    .check = blob_files_check,
};
