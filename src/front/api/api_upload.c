/* SPDX-License-Identifier: Apache-2.0 */
/* POST /files: the body is the file, or multipart/form-data with one part `file`. The bytes are durable before the
 * store has the file, and the store has it before the answer. */
#include "api_internal.h"

#include "wire/wire.h"

#include <string.h>

#include <openssl/evp.h>

#include "apr_strings.h"

#define FORM_ROOM (64 * 1024) /* bytes of a form besides the file */

typedef struct upload_t {
    ac_request_t *rq;
    const ac_conf_t *conf;
    ac_file_write_t *file; /* NULL: not open */
    EVP_MD_CTX *digest;
    ac_file_type_t type;
    char id[AC_ID_SIZE], name[AC_FILE_NAME_SIZE];
    const char *thread_id; /* NULL: none */
    int n_parts;
} upload_t;

/* ---- the bytes ---- */

static apr_status_t upload_open(upload_t *upload, const char *name, ac_err_t *err)
{
    const ac_files_t *store = &upload->conf->files.store;
    const char *length = apr_table_get(upload->rq->r->headers_in, "Content-Length");
    ac_file_name_clean(upload->name, name, strlen(name));
    return store->vt->write_begin(store->self, &upload->file, upload->id, length ? apr_atoi64(length) : -1, err);
}

static apr_status_t on_upload_bytes(void *baton, const char *bytes, size_t len, ac_err_t *err)
{
    upload_t *upload = baton;
    const ac_conf_t *conf = upload->conf;
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

static apr_status_t on_upload_part(void *baton, const char *disposition, ac_err_t *err)
{
    upload_t *upload = baton;
    char name[16], file_name[1024];
    if (!ac_file_name_parameter(name, sizeof(name), disposition, "name") || strcmp(name, "file") != 0) {
        return ac_err_set(err, AC_INVALID_REQUEST, "the form may only have the part `file`");
    }
    if (upload->n_parts++) {
        return ac_err_set(err, AC_INVALID_REQUEST, "the form has more than one file; send each by itself");
    }
    bool named = ac_file_name_parameter(file_name, sizeof(file_name), disposition, "filename");
    return upload_open(upload, named ? file_name : "", err);
}

static apr_status_t on_upload_form(void *baton, const char *bytes, size_t len, ac_err_t *err)
{
    return ac_multipart_add(baton, bytes, len, err);
}

static apr_status_t upload_form(upload_t *upload, const char *content_type)
{
    ac_request_t *rq = upload->rq;
    ac_multipart_t *form = apr_pcalloc(rq->r->pool, sizeof(*form));
    form->on_part = on_upload_part;
    form->on_bytes = on_upload_bytes;
    form->baton = upload;
    apr_status_t status = ac_multipart_begin(form, content_type, &rq->err);
    if (status == APR_SUCCESS) {
        status = ac_request_body_pieces(rq, upload->conf->files.max + FORM_ROOM, on_upload_form, form);
    }
    if (status == APR_SUCCESS) {
        status = ac_multipart_end(form, &rq->err);
    }
    return status == APR_SUCCESS && !upload->file
        ? ac_err_set(&rq->err, AC_INVALID_REQUEST, "the form has no part `file`")
        : status;
}

static apr_status_t upload_plain(upload_t *upload)
{
    ac_request_t *rq = upload->rq;
    const char *disposition = apr_table_get(rq->r->headers_in, "Content-Disposition");
    char name[1024];
    bool named = disposition && ac_file_name_parameter(name, sizeof(name), disposition, "filename");
    apr_status_t status = upload_open(upload, named ? name : "", &rq->err);
    return status == APR_SUCCESS ? ac_request_body_pieces(rq, upload->conf->files.max, on_upload_bytes, upload)
                                 : status;
}

static apr_status_t upload_read(upload_t *upload)
{
    ac_request_t *rq = upload->rq;
    const char *type = apr_table_get(rq->r->headers_in, "Content-Type");
    const char *encoding = apr_table_get(rq->r->headers_in, "Content-Encoding");
    if (encoding && strcasecmp(encoding, "identity") != 0) {
        return ac_err_set(&rq->err, AC_UNSUPPORTED_MEDIA, "an encoded body is not read here");
    }
    return type && strncasecmp(type, "multipart/", 10) == 0 ? upload_form(upload, type) : upload_plain(upload);
}

/* ---- the file ---- */

static json_t *file_document(const upload_t *upload, const char *type)
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

static bool is_accepted(const ac_conf_t *conf, const char *type)
{
    const apr_array_header_t *types = conf->files.types;
    for (int i = 0; types && i < types->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(types, i, const char *), type) == 0) {
            return true;
        }
    }
    return !types;
}

/* Puts the file into the store. Without a certain answer the bytes stay: the store may have the file. If it does not,
 * the sweep removes them. */
static apr_status_t upload_put(upload_t *upload, const char *type, ac_store_op_t **presult)
{
    const ac_conf_t *conf = upload->conf;
    ac_request_t *rq = upload->rq;
    ac_store_op_t *op = ac_store_op_create(AC_STORE_FILE_PUT, rq->owner, NULL);
    if (op) {
        op->in = json_pack("{s:o, s:{s:i, s:I, s:i, s:I}}", "file", file_document(upload, type), "limits",
                           "owner_files", conf->files.owner_files, "owner_bytes", (json_int_t)conf->files.owner,
                           "thread_files", conf->files.thread_files, "thread_bytes", (json_int_t)conf->files.thread);
    }
    apr_status_t status = ac_request_store(rq, op, presult);
    bool certain = strcmp(ac_err_row(rq->err.kind)->fault, "client") == 0 || (*presult && (*presult)->unwritten);
    if (status != APR_SUCCESS && certain) {
        conf->files.store.vt->remove(conf->files.store.self, upload->id, NULL);
    }
    return status;
}

static apr_status_t upload_store(upload_t *upload, ac_store_op_t **presult)
{
    const ac_files_vt *vt = upload->conf->files.store.vt;
    ac_request_t *rq = upload->rq;
    const char *type = ac_file_type_end(&upload->type, upload->name, &rq->err);
    if (type && !is_accepted(upload->conf, type)) {
        ac_err_set(&rq->err, AC_UNSUPPORTED_MEDIA, "files of the type %s are not accepted here", type);
        type = NULL;
    }
    if (!type) {
        return APR_EINVAL;
    }
    ac_file_write_t *file = upload->file;
    upload->file = NULL;
    apr_status_t status = vt->write_end(file, type, &rq->err);
    return status == APR_SUCCESS ? upload_put(upload, type, presult) : status;
}

/* ---- the request ---- */

static apr_status_t upload_check(ac_request_t *rq, upload_t *upload)
{
    if (!upload->conf->files.store.vt) {
        return ac_err_set(&rq->err, AC_NOT_FOUND, "this server takes no files (AgentChatFiles)");
    }
    upload->thread_id = ac_query_get(rq, "thread_id");
    if (upload->thread_id && !ac_id_valid(upload->thread_id, "thread_")) {
        return ac_err_set(&rq->err, AC_NOT_FOUND, "no thread with this id");
    }
    upload->digest = EVP_MD_CTX_new();
    return upload->digest && EVP_DigestInit_ex(upload->digest, EVP_sha256(), NULL) == 1
        ? APR_SUCCESS
        : ac_err_set(&rq->err, AC_INTERNAL, "SHA-256 is not available");
}

int ac_api_upload_create(ac_request_t *rq)
{
    upload_t *upload = apr_pcalloc(rq->r->pool, sizeof(*upload));
    ac_store_op_t *result = NULL;
    rq->doing = "storing a file";
    upload->rq = rq;
    upload->conf = ac_child()->conf;
    ac_id_make(upload->id, AC_FILE_ID);
    rq->audit = (ac_audit_t){AC_AUDIT_FILE_UPLOADED, upload->id, NULL};
    apr_status_t status = upload_check(rq, upload);
    if (status == APR_SUCCESS) {
        status = upload_read(upload);
    }
    if (status == APR_SUCCESS) {
        status = upload_store(upload, &result);
    }
    if (upload->file) {
        upload->conf->files.store.vt->write_abort(upload->file);
    }
    EVP_MD_CTX_free(upload->digest);
    if (status != APR_SUCCESS) {
        ac_metrics_add(AC_METRIC_FILES_REFUSED, AC_LABELS(rq->err.kind), 1);
        return ac_reply_problem(rq, NULL);
    }
    ac_metrics_add(AC_METRIC_FILES, AC_NO_LABELS, 1);
    ac_metrics_add(AC_METRIC_FILE_BYTES, AC_NO_LABELS, upload->type.size);
    apr_table_setn(rq->r->headers_out, "Location", apr_pstrcat(rq->r->pool, rq->r->uri, "/", upload->id, NULL));
    return ac_reply_json(rq, HTTP_CREATED, ac_api_files_shown(result->out));
}
