/* SPDX-License-Identifier: Apache-2.0 */
/* The content of a user's message as clients send it: a text, or a list of texts, images and files. */
#include "wire.h"

#include <stdio.h>
#include <string.h>

static const char *const text_members[] = {"type", "text", NULL};
static const char *const file_members[] = {"type", "file_id", NULL};

/* Prefixes the pointer of an error of a part with the place of that part. */
static apr_status_t content_place(ac_err_t *err, apr_status_t status, const char *place)
{
    if (status != APR_SUCCESS && err) {
        char pointer[AC_ERR_POINTER_SIZE];
        int n = snprintf(pointer, sizeof pointer, "%s%s", place, err->pointer);
        memcpy(err->pointer, n > 0 && (size_t)n < sizeof pointer ? pointer : place,
               n > 0 && (size_t)n < sizeof pointer ? (size_t)n + 1 : strlen(place) + 1);
    }
    return status;
}

static apr_status_t content_add_text(ac_content_t *content, const json_t *part, ac_err_t *err)
{
    const char *text;
    apr_status_t status = ac_json_only(part, text_members, err);
    if (status == APR_SUCCESS) {
        status = ac_json_string(&text, part, "text", true, err);
    }
    if (status != APR_SUCCESS || !*text) {
        return status;
    }
    if (content->text.len) {
        ac_buf_str(&content->text, "\n\n");
    }
    return ac_buf_str(&content->text, text);
}

static apr_status_t content_add_file(ac_content_t *content, const json_t *part, bool image, int at, ac_err_t *err)
{
    const char *id;
    apr_status_t status = ac_json_only(part, file_members, err);
    if (status == APR_SUCCESS) {
        status = ac_json_string(&id, part, "file_id", true, err);
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    if (content->n_files == AC_MAX_ATTACHMENTS) {
        return ac_err_set(err, AC_INVALID_REQUEST, "a message may have %d files at most", AC_MAX_ATTACHMENTS);
    }
    if (!ac_id_valid(id, "file_")) {
        return ac_err_set_at(err, AC_NOT_FOUND, "/file_id", "no file with this id");
    }
    for (int i = 0; i < content->n_files; i++) {
        if (strcmp(content->files[i].file_id, id) == 0) {
            return ac_err_set_at(err, AC_INVALID_REQUEST, "/file_id", "the file is attached twice");
        }
    }
    content->files[content->n_files++] = (ac_content_file_t){.file_id = id, .image = image, .part = at};
    return APR_SUCCESS;
}

static apr_status_t content_add_part(ac_content_t *content, const json_t *part, int at, ac_err_t *err)
{
    const char *type;
    if (!json_is_object(part)) {
        return ac_err_set(err, AC_INVALID_REQUEST, "a part of a message must be an object");
    }
    apr_status_t status = ac_json_string(&type, part, "type", true, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    if (strcmp(type, "text") == 0) {
        return content_add_text(content, part, err);
    }
    if (strcmp(type, "image") == 0 || strcmp(type, "file") == 0) {
        return content_add_file(content, part, *type == 'i', at, err);
    }
    return ac_err_set_at(err, AC_INVALID_REQUEST, "/type", "type must be text, image or file");
}

static apr_status_t content_read_parts(ac_content_t *content, const json_t *parts, const char *pointer, ac_err_t *err)
{
    size_t n = json_array_size(parts);
    if (n > AC_MAX_CONTENT_PARTS) {
        return ac_err_set_at(err, AC_INVALID_REQUEST, pointer, "a message may have %d parts at most",
                             AC_MAX_CONTENT_PARTS);
    }
    for (size_t i = 0; i < n; i++) {
        char place[AC_ERR_POINTER_SIZE];
        ac_err_t own;
        ac_err_init(&own);
        snprintf(place, sizeof place, "%.64s/%d", pointer, (int)i);
        apr_status_t status = content_add_part(content, json_array_get(parts, i), (int)i, &own);
        if (content->text.failed) {
            return APR_SUCCESS; /* ac_content_read() reports it */
        }
        if (status != APR_SUCCESS) {
            content_place(&own, status, place);
            return ac_err_set_at(err, own.kind, own.pointer, "%s", own.detail);
        }
    }
    return APR_SUCCESS;
}

apr_status_t ac_content_read(ac_content_t *content, const json_t *value, const char *name, ac_err_t *err)
{
    char pointer[AC_ERR_POINTER_SIZE] = "";
    apr_status_t status = APR_SUCCESS;
    memset(content, 0, sizeof *content);
    ac_buf_init(&content->text, AC_MAX_CONTENT);
    ac_json_pointer_add(pointer, name);
    if (json_is_string(value)) {
        ac_buf_str(&content->text, json_string_value(value));
    } else if (json_is_array(value)) {
        status = content_read_parts(content, value, pointer, err);
    } else {
        const char *why = !value  ? "is missing"
            : json_is_null(value) ? "must not be null"
                                  : "must be a string or a list";
        status = ac_err_set_at(err, AC_INVALID_REQUEST, pointer, "%s %s", name, why);
    }
    if (status == APR_SUCCESS && content->text.failed) {
        status = ac_err_set_at(err, AC_INVALID_REQUEST, pointer, "%s may have at most %d bytes", name, AC_MAX_CONTENT);
    }
    if (status != APR_SUCCESS) {
        ac_content_free(content);
    }
    return status;
}

void ac_content_free(ac_content_t *content)
{
    ac_buf_free(&content->text);
    content->n_files = 0;
}
