/* SPDX-License-Identifier: Apache-2.0 */
/* Uploads: a form, names and contents, whole and in pieces. The first byte is the size of pieces, the rest of the first
 * line a boundary and a name. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

typedef struct read_t {
    ac_buf_t text;
    int n_parts;
} read_t;

static apr_status_t on_part(void *baton, const char *disposition, ac_err_t *err)
{
    read_t *result = baton;
    (void)err;
    result->n_parts++;
    return ac_buf_add(&result->text, disposition, strlen(disposition) + 1);
}

static apr_status_t on_bytes(void *baton, const char *bytes, size_t len, ac_err_t *err)
{
    read_t *result = baton;
    (void)err;
    must(result->n_parts > 0 && len > 0);
    return ac_buf_add(&result->text, bytes, len);
}

static bool read_form(read_t *result, const char *type, const char *text, size_t len, size_t piece)
{
    ac_multipart_t form = {.on_part = on_part, .on_bytes = on_bytes, .baton = result};
    ac_err_t err = {0};
    apr_status_t status = ac_multipart_begin(&form, type, &err);
    ac_buf_init(&result->text, 1024 * 1024);
    result->n_parts = 0;
    for (size_t i = 0; status == APR_SUCCESS && i < len; i += piece) {
        status = ac_multipart_add(&form, text + i, len - i < piece ? len - i : piece, &err);
    }
    if (status == APR_SUCCESS) {
        status = ac_multipart_end(&form, &err);
    }
    must((status == APR_SUCCESS) == (err.kind == AC_OK));
    return status == APR_SUCCESS;
}

static void check_form(const char *line, const char *text, size_t len, size_t piece)
{
    read_t whole, pieces;
    ac_buf_t type;
    ac_buf_init(&type, 1024 * 1024);
    ac_buf_printf(&type, "multipart/form-data; boundary=%s", line);
    bool fine = read_form(&whole, type.data, text, len, len ? len : 1);
    must(read_form(&pieces, type.data, text, len, piece) == fine);
    must(!fine ||
         (whole.n_parts == pieces.n_parts && whole.text.len == pieces.text.len &&
          (!whole.text.len || memcmp(whole.text.data, pieces.text.data, whole.text.len) == 0)));
    ac_buf_free(&whole.text);
    ac_buf_free(&pieces.text);
    ac_buf_free(&type);
}

static void check_name(const char *line)
{
    char name[AC_FILE_NAME_SIZE], again[AC_FILE_NAME_SIZE], header[AC_FILE_NAME_HEADER_SIZE], value[AC_FILE_NAME_SIZE];
    if (ac_file_name_parameter(value, sizeof(value), line, "filename")) {
        must(strlen(value) < sizeof(value));
    }
    ac_file_name_clean(name, line, strlen(line));
    must(*name && !strpbrk(name, "/\\\r\n") && ac_utf8_valid(name, strlen(name)));
    ac_file_name_header(header, "attachment", name);
    must(!strpbrk(header, "\r\n") && strlen(header) < sizeof(header));
    must(ac_file_name_parameter(value, sizeof(value), header, "filename"));
    ac_file_name_clean(again, value, strlen(value));
    must(strcmp(name, again) == 0 || strpbrk(name, "%\""));
}

static void check_type(const char *text, size_t len, size_t piece)
{
    ac_file_type_t whole = {.size = 0}, pieces = {.size = 0};
    ac_err_t err = {0};
    ac_file_type_add(&whole, text, len);
    for (size_t i = 0; i < len; i += piece) {
        ac_file_type_add(&pieces, text + i, len - i < piece ? len - i : piece);
    }
    const char *type = ac_file_type_end(&whole, "a.md", &err), *other = ac_file_type_end(&pieces, "a.md", NULL);
    must(type == other && (type != NULL) == (err.kind == AC_OK));
    must(!type || strncmp(type, "text/", 5) != 0 || ac_utf8_valid(text, len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *lf = size ? memchr(data + 1, '\n', size - 1) : NULL;
    if (!lf || memchr(data + 1, '\0', (size_t)(lf - data - 1))) {
        return 0;
    }
    size_t n = (size_t)(lf - data) - 1, len = size - n - 2, piece = (size_t)data[0] % 32 + 1;
    char *line = malloc(n + 1);
    memcpy(line, data + 1, n);
    line[n] = '\0';
    check_form(line, (const char *)lf + 1, len, piece);
    check_name(line);
    check_type((const char *)lf + 1, len, piece);
    free(line);
    return 0;
}
