/* SPDX-License-Identifier: Apache-2.0 */
/* Files in stores: the checks that all stores share. Their bytes are in back/files. */
#include "back.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool ac_store_file_valid(const json_t *file)
{
    const char *status = ac_json_peek_string(file, "status", "");

    return ac_id_valid(ac_json_peek_string(file, "id", ""), "file_") && *ac_json_peek_string(file, "name", "") &&
        *ac_json_peek_string(file, "type", "") && *ac_json_peek_string(file, "sha256", "") &&
        *ac_json_peek_string(file, "created_at", "") && ac_json_peek_int(file, "size", -1) >= 0 &&
        (strcmp(status, "uploaded") == 0 || strcmp(status, "attached") == 0);
}

apr_status_t ac_store_file_check(ac_store_op_t *op, const ac_file_count_t *sum, bool of_thread, const json_t *file)
{
    const json_t *in = op->verb == AC_STORE_TURN_OPEN ? json_object_get(op->in, "files") : op->in;
    const json_t *limits = json_object_get(in, "limits");
    int64_t files = ac_json_peek_int(limits, of_thread ? "thread_files" : "owner_files", INT64_MAX);
    int64_t bytes = ac_json_peek_int(limits, of_thread ? "thread_bytes" : "owner_bytes", INT64_MAX);
    int64_t size = ac_json_peek_int(file, "size", 0);
    const char *whose = of_thread ? "the thread" : "you";

    if (sum->files >= files) {
        return ac_err_set(&op->err, AC_FILE_LIMIT, "%s may have at most %" PRId64 " files; delete one first", whose,
                          files);
    }
    if (size > bytes || sum->bytes > bytes - size) {
        return ac_err_set(&op->err, AC_FILE_LIMIT,
                          "the files of %s may have at most %" PRId64 " bytes together; %" PRId64 " are used",
                          of_thread ? "a thread" : "an owner", bytes, sum->bytes);
    }
    return APR_SUCCESS;
}

apr_status_t ac_store_file_check_attach(ac_store_op_t *op, const json_t *file, const ac_file_count_t *sum, size_t index)
{
    const char *thread_id = ac_json_peek_string(file, "thread_id", "");
    apr_status_t status = APR_SUCCESS;

    if (!file) {
        status = ac_err_set(&op->err, AC_NOT_FOUND, "no file with this id");
    } else if (*thread_id && strcmp(thread_id, op->id) != 0) {
        status = ac_err_set(&op->err, AC_INVALID_REQUEST, "the file belongs to another thread; upload it again");
    } else if (!*thread_id) {
        status = ac_store_file_check(op, sum, true, file);
    }
    if (status != APR_SUCCESS) {
        snprintf(op->err.pointer, sizeof(op->err.pointer), "/files/%zu", index);
    }
    return status;
}
