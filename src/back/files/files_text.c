/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a file, for a model: of texts the beginning, of PDF what pdftotext makes of it. The text of a PDF is kept
 * beside the file, under an id of its own. */
#define _GNU_SOURCE 1
#include "back/files/files.h"
#include "io/io.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <openssl/evp.h>

#define PIECE (64 * 1024)
#define PDF_MAX (32 * 1024 * 1024)        /* bytes of a PDF */
#define PDF_MEMORY (512u * 1024 * 1024)   /* of pdftotext */
#define PDF_SECONDS 10                    /* of its processor time */
#define PDF_TIMEOUT apr_time_from_sec(20) /* of its run */

ac_file_kind_e ac_files_text_kind(const char *type)
{
    static const char *const images[] = {"image/png", "image/jpeg", "image/gif", "image/webp", NULL};
    static const char *const texts[] = {"application/json", "application/xml", "application/csv", NULL};
    for (int i = 0; images[i]; i++) {
        if (strcmp(type, images[i]) == 0) {
            return AC_FILE_IMAGE;
        }
    }
    for (int i = 0; texts[i]; i++) {
        if (strcmp(type, texts[i]) == 0) {
            return AC_FILE_TEXT;
        }
    }
    return strncmp(type, "text/", 5) == 0      ? AC_FILE_TEXT
        : strcmp(type, "application/pdf") == 0 ? AC_FILE_PDF
                                               : AC_FILE_OTHER;
}

apr_status_t ac_files_text_load(const ac_files_t *files, ac_buf_t *out, const char *id, ac_err_t *err)
{
    ac_file_read_t *file;
    char piece[PIECE];
    size_t len = 1;
    apr_status_t status = files->vt->read_begin(files->self, &file, id, 0, (int64_t)(out->max - out->len), err);
    if (status != APR_SUCCESS) {
        return status;
    }
    while (status == APR_SUCCESS && len > 0 && out->len < out->max) {
        size_t room = out->max - out->len;
        status = files->vt->read(file, piece, room < PIECE ? room : PIECE, &len, err);
        if (status == APR_SUCCESS && ac_buf_add(out, piece, len) != APR_SUCCESS) {
            status = ac_err_set(err, AC_OVERLOADED, "memory ran out");
        }
    }
    files->vt->read_end(file);
    return status;
}

/* ---- the text of a PDF that is kept ---- */

/* The id of a PDF's text: no client knows it, it is the same for all machines, and it is the id of no document, so the
 * sweep of bytes without a document removes it some time; it is made again then. It is removed with its PDF. */
static void text_id(char text[AC_ID_SIZE], const char *id)
{
    static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    char name[AC_ID_SIZE + 8];
    unsigned len = 0;
    int n = snprintf(name, sizeof name, "text\n%s", id);
    EVP_Digest(name, (size_t)n, digest, &len, EVP_sha256(), NULL);
    n = snprintf(text, AC_ID_SIZE, AC_FILE_ID);
    text[n] = '0'; /* the first character of a UUID has two bits */
    for (int i = 1; i < 26; i++) {
        text[n + i] = digits[digest[i] & 31];
    }
    text[n + 26] = '\0';
}

/* It is made again if it is not kept. */
static void text_keep(const ac_files_t *files, const char *id, const ac_buf_t *text)
{
    ac_file_write_t *file;
    if (files->vt->write_begin(files->self, &file, id, (int64_t)text->len, NULL) != APR_SUCCESS) {
        return;
    }
    if (files->vt->write(file, text->data ? text->data : "", text->len, NULL) == APR_SUCCESS) {
        files->vt->write_end(file, "text/plain", NULL);
    } else {
        files->vt->write_abort(file);
    }
}

/* ---- PDF ---- */

/* A descriptor of bytes that have no file on this machine. */
static int pdf_copy(const ac_files_t *files, ac_file_read_t *file, ac_err_t *err)
{
    char piece[PIECE];
    size_t len = 1;
    int fd = memfd_create("pdf", MFD_CLOEXEC);
    while (fd >= 0 && len > 0) {
        if (files->vt->read(file, piece, sizeof piece, &len, err) != APR_SUCCESS ||
            (len && write(fd, piece, len) != (ssize_t)len)) {
            close(fd);
            return -1;
        }
    }
    if (fd >= 0) {
        lseek(fd, 0, SEEK_SET);
    }
    return fd;
}

static apr_status_t pdf_convert(ac_buf_t *out, int fd, bool *pcut, ac_err_t *err)
{
    char path[64];
    if (!ac_program_find(path, sizeof path, "pdftotext")) {
        return ac_err_set(err, AC_UNSUPPORTED_MEDIA, "this server cannot read PDF files");
    }
    const char *const args[] = {path, "-q", "-enc", "UTF-8", "-", "-", NULL};
    ac_program_t program = {
        .args = args, .in = fd, .out = out, .cpu_seconds = PDF_SECONDS, .memory = PDF_MEMORY, .timeout = PDF_TIMEOUT};
    apr_status_t status = ac_program_run(&program, err);
    *pcut = program.cut;
    if (status == APR_SUCCESS && program.status != 0 && !program.cut) {
        return ac_err_set(err, AC_UNSUPPORTED_MEDIA,
                          program.late ? "reading the PDF took too long" : "the PDF could not be read");
    }
    return status;
}

static apr_status_t pdf_read(const ac_files_t *files, ac_buf_t *out, const char *id, bool *pcut, ac_err_t *err)
{
    ac_file_read_t *file;
    apr_status_t status = files->vt->read_begin(files->self, &file, id, 0, PDF_MAX, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    int own = files->vt->read_descriptor ? files->vt->read_descriptor(file) : -1;
    int fd = own >= 0 ? own : pdf_copy(files, file, err);
    status = fd >= 0 ? pdf_convert(out, fd, pcut, err) : ac_err_set(err, AC_STORE_ERROR, "the PDF could not be loaded");
    if (fd >= 0 && fd != own) {
        close(fd);
    }
    files->vt->read_end(file);
    return status;
}

/* The text is made as long as any model may want it, since it is kept. */
static apr_status_t pdf_text(const ac_files_t *files, ac_buf_t *out, const char *id, bool *pcut, ac_err_t *err)
{
    char kept[AC_ID_SIZE];
    ac_buf_t whole;
    text_id(kept, id);
    ac_buf_init(&whole, AC_MAX_FILE_TEXT);
    apr_status_t status = ac_files_text_load(files, &whole, kept, NULL);
    *pcut = whole.len == whole.max;
    if (status != APR_SUCCESS) {
        ac_buf_clear(&whole);
        status = pdf_read(files, &whole, id, pcut, err);
        if (status == APR_SUCCESS) {
            text_keep(files, kept, &whole);
        }
    }
    if (status == APR_SUCCESS) {
        size_t len = whole.len < out->max ? whole.len : out->max;
        *pcut = *pcut || len < whole.len;
        status = len ? ac_buf_add(out, whole.data, len) : APR_SUCCESS;
    }
    ac_buf_free(&whole);
    return status;
}

apr_status_t ac_files_text(const ac_files_t *files, ac_file_text_t *text, const char *id, const char *type,
                           ac_err_t *err)
{
    ac_file_kind_e kind = ac_files_text_kind(type);
    apr_status_t status;
    text->cut = false;
    if (kind == AC_FILE_TEXT) {
        status = ac_files_text_load(files, &text->text, id, err);
        text->cut = text->text.len == text->text.max;
    } else if (kind == AC_FILE_PDF) {
        status = pdf_text(files, &text->text, id, &text->cut, err);
    } else {
        return ac_err_set(err, AC_UNSUPPORTED_MEDIA, "files of this type have no text");
    }
    if (status == APR_SUCCESS && text->cut) {
        text->text.len = ac_utf8_whole(text->text.data, text->text.len);
        text->text.data[text->text.len] = '\0';
    }
    return status;
}

apr_status_t ac_files_text_remove(const ac_files_t *files, const char *id, ac_err_t *err)
{
    char kept[AC_ID_SIZE];
    text_id(kept, id);
    apr_status_t status = files->vt->remove(files->self, kept, err);
    return status == APR_SUCCESS ? files->vt->remove(files->self, id, err) : status;
}
