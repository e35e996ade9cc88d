/* SPDX-License-Identifier: Apache-2.0 */
/* The contents of messages in the bodies of other protocols, as fuzz targets of their readers need them: without a
 * store and a storage. */
#ifndef FUZZ_PARTS_H
#define FUZZ_PARTS_H

#include "front/request/attachments.c"
#include "front/request/parts.c"
#include "fuzz_pool.h"

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

const char *ac_config_mount_prefix(const request_rec *r)
{
    (void)r;
    return "/api";
}

const ac_conf_t *ac_conf(void)
{
    static ac_conf_t conf;
    conf.files.on = true;
    conf.files.max = 1024;
    return &conf;
}

const char *ac_upload_type(const ac_file_type_t *type, const char *name, ac_err_t *err)
{
    return ac_file_type_end(type, name, err);
}

/* No file was uploaded before. */
apr_status_t ac_request_store(ac_request_t *rq, ac_store_op_t *op, ac_store_op_t **presult)
{
    *presult = NULL;
    ac_store_op_free(op);
    return ac_err_set(&rq->err, AC_NOT_FOUND, "no file with this id");
}

#define NOT_CALLED(type, name, ...) \
    type name(__VA_ARGS__) \
    { \
        abort(); \
    }
#pragma GCC diagnostic ignored "-Wunused-parameter"
NOT_CALLED(apr_status_t, ac_upload_begin, ac_upload_t *upload, ac_request_t *rq, const char *name, int64_t size)
NOT_CALLED(apr_status_t, ac_upload_add, ac_upload_t *upload, const char *bytes, size_t len, ac_err_t *err)
NOT_CALLED(apr_status_t, ac_upload_end, ac_upload_t *upload, ac_store_op_t **presult)
NOT_CALLED(void, ac_upload_free, ac_upload_t *upload)
NOT_CALLED(json_t *, ac_upload_limits, void)
NOT_CALLED(void, ac_audit_done, ac_request_t *rq)

/* Files of the body, as a message has them: each with an id, a clean name and its bytes. */
static void must_be_attachments(const ac_request_t *rq, const json_t *list)
{
    const json_t *file;
    size_t i;
    must(json_array_size(list) <= AC_MAX_ATTACHMENTS);
    json_array_foreach((json_t *)list, i, file)
    {
        const char *id = ac_json_peek_string(file, "file_id", ""), *name = ac_json_peek_string(file, "name", "");
        const ac_buf_t *bytes = ac_files_memory_get(rq->files, id);
        must(ac_id_valid(id, AC_FILE_ID) && bytes && bytes->len <= 1024);
        must((int64_t)bytes->len == ac_json_peek_int(file, "size", -1) && *name && strlen(name) < AC_FILE_NAME_SIZE);
        must(!strchr(name, '/') && *ac_json_peek_string(file, "type", ""));
    }
}

#endif
