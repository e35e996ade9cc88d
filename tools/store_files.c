/* SPDX-License-Identifier: Apache-2.0 */
/* agentchat-store: copies what a store knows about files, and their bytes where FILES-FROM and FILES-TO name two
 * places. The bytes of a file are there before the target knows it, as with an upload. */
#include "store_copy.h"

#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#include "back/blob/blob.h"

#define FILES_AT_A_TIME 100
#define PIECE 65536
#define HEX_SIZE (2 * EVP_MAX_MD_SIZE + 1)

const char *store_files_open(copy_t *copy, ac_files_t *files, const char *text)
{
    apr_table_t *options;
    char *spec;
    const char *problem = store_copy_words(copy, text, &spec, &options);

    if (problem) {
        return problem;
    }
    if (*spec == '/') {
        files->vt = &ac_files_disk;
        files->self = ac_files_disk_create(spec, 0, copy->pool);
        return NULL;
    }
    if (strncmp(spec, "blob:", 5) != 0) {
        return apr_psprintf(copy->pool,
                            "'%s' is no place of files; give a folder like /var/lib/agentchat/files or "
                            "blob:https://ACCOUNT.blob.core.windows.net/CONTAINER",
                            text);
    }
    problem = ac_blob_config_create(&files->self, spec + 5, options, copy->pool);
    files->vt = problem ? NULL : &ac_files_blob;
    if (!problem && files->vt->child_init(files->self, &copy->host, &copy->err) != APR_SUCCESS) {
        files->vt = NULL;
        problem = apr_pstrdup(copy->pool, copy->err.detail);
    }
    return problem;
}

void store_files_close(ac_files_t *files)
{
    if (files->vt && files->vt->child_exit) {
        files->vt->child_exit(files->self);
    }
}

/* ---- bytes ---- */

/* Reads a file to its end, and writes it to `to` if that is not NULL. hex: its SHA-256. */
static apr_status_t bytes_read(char hex[HEX_SIZE], copy_t *copy, const ac_files_t *from, const char *id,
                               ac_file_write_t *to)
{
    static char piece[PIECE];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    ac_file_read_t *file = NULL;
    size_t len = 1;
    apr_status_t status = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL)
        ? from->vt->read_begin(from->self, &file, id, 0, -1, &copy->err)
        : ac_err_set(&copy->err, AC_INTERNAL, "no SHA-256");

    while (status == APR_SUCCESS && len) {
        status = from->vt->read(file, piece, PIECE, &len, &copy->err);
        if (status == APR_SUCCESS && len && to) {
            status = copy->to.files.vt->write(to, piece, len, &copy->err);
        }
        if (status == APR_SUCCESS) {
            EVP_DigestUpdate(hash, piece, len);
        }
    }
    if (file) {
        from->vt->read_end(file);
    }
    if (status == APR_SUCCESS) {
        EVP_DigestFinal_ex(hash, digest, &size);
    }
    for (unsigned int i = 0; i < size; i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
    EVP_MD_CTX_free(hash);
    return status;
}

/* Whether the target has the bytes. Other bytes under the id are removed. */
static bool bytes_there(bool *pfine, copy_t *copy, const json_t *file)
{
    const ac_files_t *to = &copy->to.files;
    const char *id = ac_json_peek_string(file, "id", "");
    char hex[HEX_SIZE] = "";
    apr_status_t status = bytes_read(hex, copy, to, id, NULL);

    *pfine = status == APR_SUCCESS || copy->err.kind == AC_NOT_FOUND;
    if (status == APR_SUCCESS && strcmp(hex, ac_json_peek_string(file, "sha256", "")) != 0) {
        *pfine = to->vt->remove(to->self, id, &copy->err) == APR_SUCCESS;
        return false;
    }
    return status == APR_SUCCESS;
}

/* Copies the bytes unless they are there. What is missing or damaged in FROM is shown, and not an end of the copy. */
static bool bytes_copy(copy_t *copy, const json_t *file)
{
    const ac_files_t *to = &copy->to.files;
    const char *id = ac_json_peek_string(file, "id", "");
    char hex[HEX_SIZE] = "";
    bool fine;
    ac_file_write_t *write = NULL;

    copy->seen_from.contents++;
    if (bytes_there(&fine, copy, file) || !fine) {
        copy->seen_to.contents += fine;
        return fine;
    }
    ac_err_init(&copy->err);
    if (to->vt->write_begin(to->self, &write, id, ac_json_peek_int(file, "size", -1), &copy->err) != APR_SUCCESS) {
        return false;
    }
    apr_status_t status = bytes_read(hex, copy, &copy->from.files, id, write);
    bool same = strcmp(hex, ac_json_peek_string(file, "sha256", "")) == 0;
    if (status == APR_SUCCESS && same) {
        copy->seen_to.contents++;
        return to->vt->write_end(write, ac_json_peek_string(file, "type", ""), &copy->err) == APR_SUCCESS;
    }
    to->vt->write_abort(write);
    if (status != APR_SUCCESS && copy->err.kind != AC_NOT_FOUND) {
        return false;
    }
    fprintf(stderr, "%s: its bytes are %s in FROM\n", id, status == APR_SUCCESS ? "damaged" : "not there");
    ac_err_init(&copy->err);
    copy->n_different++;
    return true;
}

/* ---- documents ---- */

/* Calls fn with all files of a store, page by page. */
static bool files_walk(copy_t *copy, end_t *end, bool (*fn)(copy_t *copy, json_t *files))
{
    json_t *after = json_null(), *out;
    bool fine = true;

    while (fine && after) {
        ac_store_op_t *op = ac_store_op_create(AC_STORE_EXPORT_FILES, NULL, NULL);
        op->page.limit = FILES_AT_A_TIME;
        out = store_copy_call(copy, end, op, json_pack("{s:o}", "after", after));
        after = json_is_string(json_object_get(out, "next")) ? json_incref(json_object_get(out, "next")) : NULL;
        fine = out && fn(copy, json_object_get(out, "data"));
        json_decref(out);
    }
    json_decref(after);
    return fine;
}

static bool page_copy(copy_t *copy, json_t *files)
{
    ac_store_op_t *op;
    json_t *out, *file;
    size_t i;

    json_array_foreach(files, i, file)
    {
        if (copy->to.files.vt && !bytes_copy(copy, file)) {
            return false;
        }
    }
    op = ac_store_op_create(AC_STORE_IMPORT_FILES, NULL, NULL);
    out = store_copy_call(copy, &copy->to, op, json_pack("{s:O}", "files", files));
    json_decref(out);
    return out != NULL;
}

bool store_files_copy(copy_t *copy)
{
    return files_walk(copy, &copy->from, page_copy);
}

static bool page_note(copy_t *copy, json_t *files)
{
    json_t *file;
    size_t i;

    json_array_foreach(files, i, file)
    {
        store_copy_note(copy, file);
    }
    return true;
}

static bool page_compare(copy_t *copy, json_t *files)
{
    json_t *file;
    size_t i;

    json_array_foreach(files, i, file)
    {
        bool same = store_copy_is_done(copy, file);
        copy->seen_from.files++;
        copy->seen_to.files += same;
        copy->n_different += !same;
    }
    return true;
}

bool store_files_compare(copy_t *copy)
{
    return files_walk(copy, &copy->to, page_note) && files_walk(copy, &copy->from, page_compare);
}
