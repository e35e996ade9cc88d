/* SPDX-License-Identifier: Apache-2.0 */
/* POST /files: the body is the file, or multipart/form-data with one part `file`. The bytes are durable before the
 * store has the file, and the store has it before the answer. */
#include "api_internal.h"

#include <string.h>

#include "apr_strings.h"

#define FORM_ROOM (64 * 1024) /* bytes of a form besides the file */

typedef struct form_t {
    ac_request_t *rq;
    ac_upload_t upload;
    int n_parts;
} form_t;

/* ---- the bytes ---- */

static apr_status_t upload_open(form_t *form, const char *name)
{
    const char *length = apr_table_get(form->rq->r->headers_in, "Content-Length");
    return ac_upload_begin(&form->upload, form->rq, name, length ? apr_atoi64(length) : -1);
}

static apr_status_t on_upload_bytes(void *baton, const char *bytes, size_t len, ac_err_t *err)
{
    form_t *form = baton;
    return ac_upload_add(&form->upload, bytes, len, err);
}

static apr_status_t on_upload_part(void *baton, const char *disposition, ac_err_t *err)
{
    form_t *form = baton;
    char name[16], file_name[1024];
    if (!ac_file_name_parameter(name, sizeof(name), disposition, "name") || strcmp(name, "file") != 0) {
        return ac_err_set(err, AC_INVALID_REQUEST, "the form may only have the part `file`");
    }
    if (form->n_parts++) {
        return ac_err_set(err, AC_INVALID_REQUEST, "the form has more than one file; send each by itself");
    }
    bool named = ac_file_name_parameter(file_name, sizeof(file_name), disposition, "filename");
    return upload_open(form, named ? file_name : "");
}

static apr_status_t on_upload_form(void *baton, const char *bytes, size_t len, ac_err_t *err)
{
    return ac_multipart_add(baton, bytes, len, err);
}

static apr_status_t upload_form(form_t *form, const char *content_type)
{
    ac_request_t *rq = form->rq;
    ac_multipart_t *multipart = apr_pcalloc(rq->r->pool, sizeof(*multipart));
    multipart->on_part = on_upload_part;
    multipart->on_bytes = on_upload_bytes;
    multipart->baton = form;
    apr_status_t status = ac_multipart_begin(multipart, content_type, &rq->err);
    if (status == APR_SUCCESS) {
        status = ac_request_body_pieces(rq, ac_conf()->files.max + FORM_ROOM, on_upload_form, multipart);
    }
    if (status == APR_SUCCESS) {
        status = ac_multipart_end(multipart, &rq->err);
    }
    return status == APR_SUCCESS && !form->upload.file
        ? ac_err_set(&rq->err, AC_INVALID_REQUEST, "the form has no part `file`")
        : status;
}

static apr_status_t upload_plain(form_t *form)
{
    ac_request_t *rq = form->rq;
    const char *disposition = apr_table_get(rq->r->headers_in, "Content-Disposition");
    char name[1024];
    bool named = disposition && ac_file_name_parameter(name, sizeof(name), disposition, "filename");
    apr_status_t status = upload_open(form, named ? name : "");
    return status == APR_SUCCESS ? ac_request_body_pieces(rq, ac_conf()->files.max, on_upload_bytes, form) : status;
}

static apr_status_t upload_read(form_t *form)
{
    ac_request_t *rq = form->rq;
    const char *type = apr_table_get(rq->r->headers_in, "Content-Type");
    const char *encoding = apr_table_get(rq->r->headers_in, "Content-Encoding");
    if (encoding && strcasecmp(encoding, "identity") != 0) {
        return ac_err_set(&rq->err, AC_UNSUPPORTED_MEDIA, "an encoded body is not read here");
    }
    return type && strncasecmp(type, "multipart/", 10) == 0 ? upload_form(form, type) : upload_plain(form);
}

/* ---- the request ---- */

static apr_status_t upload_check(ac_request_t *rq, ac_upload_t *upload)
{
    if (!ac_conf()->files.store.vt) {
        return ac_err_set(&rq->err, AC_NOT_FOUND, "this server takes no files (AgentChatFiles)");
    }
    upload->thread_id = ac_query_get(rq, "thread_id");
    return !upload->thread_id || ac_id_valid(upload->thread_id, "thread_")
        ? APR_SUCCESS
        : ac_err_set(&rq->err, AC_NOT_FOUND, "no thread with this id");
}

int ac_api_upload_create(ac_request_t *rq)
{
    form_t *form = apr_pcalloc(rq->r->pool, sizeof(*form));
    ac_upload_t *upload = &form->upload;
    ac_store_op_t *result = NULL;
    rq->doing = "storing a file";
    form->rq = rq;
    ac_id_make(upload->id, AC_FILE_ID);
    rq->audit = (ac_audit_t){AC_AUDIT_FILE_UPLOADED, upload->id, NULL};
    apr_status_t status = upload_check(rq, upload);
    if (status == APR_SUCCESS) {
        status = upload_read(form);
    }
    if (status == APR_SUCCESS) {
        status = ac_upload_end(upload, &result);
    }
    ac_upload_free(upload);
    if (status != APR_SUCCESS) {
        ac_metrics_add(AC_METRIC_FILES_REFUSED, AC_LABELS(rq->err.kind), 1);
        return ac_reply_problem(rq, NULL);
    }
    apr_table_setn(rq->r->headers_out, "Location", apr_pstrcat(rq->r->pool, rq->r->uri, "/", upload->id, NULL));
    return ac_reply_json(rq, HTTP_CREATED, ac_api_files_shown(result->out));
}
