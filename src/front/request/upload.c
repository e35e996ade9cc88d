/* SPDX-License-Identifier: Apache-2.0 */
/* A file on its way to the storage and to the store: POST /files, and files in the bodies of other protocols. The bytes
 * are durable before the store has the file. */
#include "request_internal.h"

#include <string.h>

#include "apr_strings.h"

/* ---- the bytes ---- */

apr_status_t ac_upload_begin(ac_upload_t *upload, ac_request_t *rq, const char *name, int64_t size)
{
    const ac_files_t *store = &ac_conf()->files.store;
    upload->rq = rq;
    upload->digest = EVP_MD_CTX_new();
    ac_file_name_clean(upload->name, name, strlen(name));
    if (!upload->digest || EVP_DigestInit_ex(upload->digest, EVP_sha256(), NULL) != 1) {
        return ac_err_set(&rq->err, AC_INTERNAL, "SHA-256 is not available");
    }
    return store->vt->write_begin(store->self, &upload->file, upload->id, size, &rq->err);
}

apr_status_t ac_upload_add(ac_upload_t *upload, const char *bytes, size_t len, ac_err_t *err)
{
    const ac_conf_t *conf = ac_conf();
    if (upload->type.size + (int64_t)len > conf->files.max) {
        return ac_err_set(err, AC_BODY_TOO_LARGE, "a file may have at most %" APR_INT64_T_FMT " bytes",
                          conf->files.max);
    }
    ac_file_type_add(&upload->type, bytes, len);
    if (EVP_DigestUpdate(upload->digest, bytes, len) != 1) {
        return ac_err_set(err, AC_INTERNAL, "SHA-256 failed");
    }
    return conf->files.store.vt->write(upload->file, bytes, len, err);
}

/* ---- the file ---- */

const char *ac_upload_type(const ac_file_type_t *type, const char *name, ac_err_t *err)
{
    const apr_array_header_t *types = ac_conf()->files.types;
    const char *found = ac_file_type_end(type, name, err);
    for (int i = 0; found && types && i < types->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(types, i, const char *), found) == 0) {
            return found;
        }
    }
    if (found && types) {
        ac_err_set(err, AC_UNSUPPORTED_MEDIA, "files of the type %s are not accepted here", found);
        return NULL;
    }
    return found;
}

static json_t *upload_document(const ac_upload_t *upload, const char *type)
{
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    char hex[2 * EVP_MAX_MD_SIZE + 1] = "";
    unsigned int len = 0;
    if (EVP_DigestFinal_ex(upload->digest, digest, &len) == 1) {
        ac_text_hex(hex, digest, len);
    }
    json_t *file = json_pack("{s:s, s:s, s:s, s:I, s:s, s:s?, s:s}", "id", upload->id, "name", upload->name, "type",
                             type, "size", (json_int_t)upload->type.size, "sha256", hex, "thread_id", upload->thread_id,
                             "status", "uploaded");
    ac_json_put(file, "created_at", ac_time_json(apr_time_now()));
    return file;
}

/* Puts the file into the store. Without a certain answer the bytes stay: the store may have the file. If it does not,
 * the sweep removes them. */
static apr_status_t upload_put(const ac_upload_t *upload, const char *type, ac_store_op_t **presult)
{
    const ac_files_t *store = &ac_conf()->files.store;
    ac_request_t *rq = upload->rq;
    ac_store_op_t *op = ac_store_op_create(AC_STORE_FILE_PUT, rq->owner, NULL);
    if (op) {
        op->in = json_pack("{s:o, s:o}", "file", upload_document(upload, type), "limits", ac_upload_limits());
    }
    apr_status_t status = ac_request_store(rq, op, presult);
    bool certain = strcmp(ac_err_row(rq->err.kind)->fault, "client") == 0 || (*presult && (*presult)->unwritten);
    if (status != APR_SUCCESS && certain) {
        store->vt->remove(store->self, upload->id, NULL);
    }
    return status;
}

json_t *ac_upload_limits(void)
{
    const ac_conf_t *conf = ac_conf();
    return json_pack("{s:i, s:I, s:i, s:I}", "owner_files", conf->files.owner_files, "owner_bytes",
                     (json_int_t)conf->files.owner, "thread_files", conf->files.thread_files, "thread_bytes",
                     (json_int_t)conf->files.thread);
}

apr_status_t ac_upload_end(ac_upload_t *upload, ac_store_op_t **presult)
{
    ac_request_t *rq = upload->rq;
    ac_file_write_t *file = upload->file;
    const char *type = ac_upload_type(&upload->type, upload->name, &rq->err);
    if (!type) {
        return APR_EINVAL;
    }
    upload->file = NULL;
    apr_status_t status = ac_conf()->files.store.vt->write_end(file, type, &rq->err);
    if (status == APR_SUCCESS) {
        status = upload_put(upload, type, presult);
    }
    if (status == APR_SUCCESS) {
        ac_metrics_add(AC_METRIC_FILES, AC_NO_LABELS, 1);
        ac_metrics_add(AC_METRIC_FILE_BYTES, AC_NO_LABELS, upload->type.size);
    }
    return status;
}

void ac_upload_free(ac_upload_t *upload)
{
    if (upload->file) {
        ac_conf()->files.store.vt->write_abort(upload->file);
    }
    EVP_MD_CTX_free(upload->digest);
    upload->file = NULL;
    upload->digest = NULL;
}
