/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a message: uploaded before, or in the body of the request. Those of the body stay in memory for a run
 * that stores nothing; else they are stored before the run begins. */
#include "request_internal.h"

#include <string.h>

#include "apr_strings.h"

static apr_status_t attachments_free_list(void *list)
{
    json_decref(list);
    return APR_SUCCESS;
}

/* The file as a message has it. */
static apr_status_t attachments_append(ac_attachments_t *attachments, ac_request_t *rq, json_t *file, int part)
{
    if (!attachments->list) {
        attachments->list = json_array();
        apr_pool_cleanup_register(rq->r->pool, attachments->list, attachments_free_list, apr_pool_cleanup_null);
    }
    size_t n = json_array_size(attachments->list);
    if (n == AC_MAX_ATTACHMENTS) {
        json_decref(file);
        return ac_err_set(&rq->err, AC_INVALID_REQUEST, "a message may have %d files at most", AC_MAX_ATTACHMENTS);
    }
    attachments->parts[n] = part;
    json_array_append_new(attachments->list, file);
    return APR_SUCCESS;
}

static apr_status_t attachments_check_image(ac_request_t *rq, bool image, const char *type)
{
    return image && ac_files_text_kind(type) != AC_FILE_IMAGE
        ? ac_err_set(&rq->err, AC_INVALID_REQUEST, "the file is no image of a type that models take")
        : APR_SUCCESS;
}

apr_status_t ac_attachments_find(ac_attachments_t *attachments, ac_request_t *rq, const char *id, bool image, int part)
{
    ac_store_op_t *result = NULL;
    if (!ac_conf()->files.on) {
        return ac_err_set(&rq->err, AC_INVALID_REQUEST, "this server takes no files");
    }
    apr_status_t status = ac_id_valid(id, AC_FILE_ID)
        ? ac_request_store(rq, ac_store_op_create(AC_STORE_FILE_GET, rq->owner, id), &result)
        : ac_err_set(&rq->err, AC_NOT_FOUND, "no file with this id");
    if (status != APR_SUCCESS) {
        return status;
    }
    const json_t *file = result->out;
    status = attachments_check_image(rq, image, ac_json_peek_string(file, "type", ""));
    if (status != APR_SUCCESS) {
        return status;
    }
    json_t *shown = json_object();
    ac_json_put(shown, "file_id", ac_json_text(id));
    ac_json_put(shown, "name", json_incref(json_object_get(file, "name")));
    ac_json_put(shown, "type", json_incref(json_object_get(file, "type")));
    ac_json_put(shown, "size", json_incref(json_object_get(file, "size")));
    return attachments_append(attachments, rq, shown, part);
}

/* ---- files of the body ---- */

static const char *default_name(const char *type)
{
    static const char *const names[][2] = {{"image/png", "image.png"},          {"image/jpeg", "image.jpg"},
                                           {"image/gif", "image.gif"},          {"image/webp", "image.webp"},
                                           {"application/pdf", "document.pdf"}, {NULL, "text.txt"}};
    int i = 0;
    while (names[i][0] && strcmp(names[i][0], type) != 0) {
        i++;
    }
    return names[i][1];
}

static apr_status_t attachments_drop_memory(void *memory)
{
    ac_files_memory_unref(memory);
    return APR_SUCCESS;
}

static ac_files_memory_t *memory_of(ac_request_t *rq)
{
    if (!rq->files) {
        rq->files = ac_files_memory_create(&ac_conf()->files.store);
        apr_pool_cleanup_register(rq->r->pool, rq->files, attachments_drop_memory, apr_pool_cleanup_null);
    }
    return rq->files;
}

apr_status_t ac_attachments_add(ac_attachments_t *attachments, ac_request_t *rq, ac_buf_t *bytes, const ac_part_t *part,
                                int at)
{
    char id[AC_ID_SIZE], name[AC_FILE_NAME_SIZE];
    ac_file_type_t *found = apr_pcalloc(rq->r->pool, sizeof(*found));
    const char *given = part->name ? part->name : "";
    ac_file_type_add(found, bytes->data ? bytes->data : "", bytes->len);
    const char *type = ac_upload_type(found, given, &rq->err);
    apr_status_t status = type ? attachments_check_image(rq, part->image, type) : APR_EINVAL;
    if (status != APR_SUCCESS) {
        return status;
    }
    given = *given ? given : default_name(type);
    ac_file_name_clean(name, given, strlen(given));
    ac_id_make(id, AC_FILE_ID);
    json_t *file =
        json_pack("{s:s, s:s, s:s, s:I}", "file_id", id, "name", name, "type", type, "size", (json_int_t)bytes->len);
    ac_files_memory_add(memory_of(rq), id, bytes);
    return attachments_append(attachments, rq, file, at);
}

/* ---- the turn ---- */

void ac_attachments_move(const ac_attachments_t *attachments, ac_turn_t *turn)
{
    if (attachments->list) {
        turn->attachments = json_deep_copy(attachments->list);
        memcpy(turn->parts, attachments->parts, sizeof(turn->parts));
        apr_cpystrn(turn->member, attachments->member, sizeof(turn->member));
        turn->file_limits = ac_upload_limits();
    }
}

static apr_status_t store_file(ac_request_t *rq, const json_t *file, const ac_buf_t *bytes)
{
    ac_upload_t *upload = apr_pcalloc(rq->r->pool, sizeof(*upload));
    ac_store_op_t *result = NULL;
    ac_audit_t audit = rq->audit;
    apr_cpystrn(upload->id, ac_json_peek_string(file, "file_id", ""), sizeof(upload->id));
    apr_status_t status = ac_upload_begin(upload, rq, ac_json_peek_string(file, "name", ""), (int64_t)bytes->len);
    if (status == APR_SUCCESS) {
        status = ac_upload_add(upload, bytes->data, bytes->len, &rq->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_upload_end(upload, &result);
    }
    ac_upload_free(upload);
    if (status != APR_SUCCESS) {
        ac_metrics_add(AC_METRIC_FILES_REFUSED, AC_LABELS(rq->err.kind), 1);
        return status;
    }
    rq->audit = (ac_audit_t){AC_AUDIT_FILE_UPLOADED, upload->id, NULL};
    ac_audit_done(rq);
    rq->audit = audit;
    return APR_SUCCESS;
}

/* Files of a message that is not stored after all. */
static void remove_files(ac_request_t *rq, const json_t *files, size_t n)
{
    ac_err_t err = rq->err;
    for (size_t i = 0; i < n; i++) {
        const char *id = ac_json_peek_string(json_array_get(files, i), "file_id", "");
        ac_store_op_t *result;
        if (ac_files_memory_get(rq->files, id) &&
            ac_request_store(rq, ac_store_op_create(AC_STORE_FILE_DELETE, rq->owner, id), &result) == APR_SUCCESS) {
            ac_files_text_remove(&ac_conf()->files.store, id, NULL);
        }
    }
    rq->err = err;
}

apr_status_t ac_attachments_store(ac_request_t *rq, ac_turn_t *turn)
{
    const json_t *file;
    apr_status_t status = APR_SUCCESS;
    size_t i;
    if (!turn->files || turn->stateless) {
        return APR_SUCCESS;
    }
    rq->doing = "storing a file";
    json_array_foreach(turn->attachments, i, file)
    {
        const ac_buf_t *bytes = ac_files_memory_get(turn->files, ac_json_peek_string(file, "file_id", ""));
        if (bytes && !ac_conf()->files.on) {
            return ac_err_set(&rq->err, AC_INVALID_REQUEST, "this server takes no files (AgentChatFiles)");
        }
        status = bytes ? store_file(rq, file, bytes) : APR_SUCCESS;
        if (status != APR_SUCCESS) {
            remove_files(rq, turn->attachments, i);
            return status;
        }
    }
    ac_files_memory_unref(turn->files);
    turn->files = NULL;
    apr_pool_cleanup_run(rq->r->pool, rq->files, attachments_drop_memory);
    rq->files = NULL;
    return APR_SUCCESS;
}
