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
    const json_t *limits = json_object_get(op->in, "limits");
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

apr_status_t ac_store_file_check_attach(ac_store_op_t *op, const json_t *file, size_t index)
{
    char pointer[AC_ERR_POINTER_SIZE];
    const char *thread_id = ac_json_peek_string(file, "thread_id", op->id);

    snprintf(pointer, sizeof(pointer), "/%zu", index);
    if (!file) {
        return ac_err_set_at(&op->err, AC_NOT_FOUND, pointer, "no file with this id");
    }
    return strcmp(thread_id, op->id) == 0
        ? APR_SUCCESS
        : ac_err_set_at(&op->err, AC_INVALID_REQUEST, pointer, "the file belongs to another thread; upload it again");
}
