/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of Azure Blob Storage: lists of blobs, keys for signing URLs, errors. The first byte selects. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/blob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void on_blob(void *baton, const char *name, apr_time_t modified)
{
    const ac_buf_t *answer = baton;
    must(modified > 0 && strlen(name) < answer->len);
}

static void check_list(ac_buf_t *answer)
{
    ac_err_t err;
    ac_buf_t next;
    ac_err_init(&err);
    ac_buf_init(&next, 1024);
    apr_status_t status = ac_blob_answer_list(&next, answer, on_blob, answer, &err);
    must((status == APR_SUCCESS) == (err.kind == AC_OK) && next.len < answer->len + 1);
    ac_buf_free(&next);
}

/* A key that is accepted signs a URL. */
static void check_delegation(ac_buf_t *answer)
{
    ac_blob_delegation_t key;
    ac_blob_link_t link = {.account = "a", .container = "files", .name = "file_01", .expiry = 1, .delegation = &key};
    ac_err_t err;
    ac_buf_t url;
    ac_err_init(&err);
    if (ac_blob_answer_delegation(&key, answer, &err) != APR_SUCCESS) {
        must(err.kind == AC_STORE_ERROR);
        return;
    }
    ac_buf_init(&url, 64 * 1024);
    must(ac_blob_link(&url, &link, &err) == APR_SUCCESS && !strpbrk(url.data, "\r\n \"<>"));
    ac_buf_free(&url);
}

static void check_error(ac_buf_t *answer)
{
    ac_err_t err;
    ac_err_init(&err);
    must(ac_blob_answer_error(&err, 400 + (int)(answer->len % 200), answer->data, 0) != APR_SUCCESS);
    must(*err.detail && !strpbrk(err.detail, "\r\n"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const checks[])(ac_buf_t *) = {check_list, check_delegation, check_error};
    ac_buf_t answer;
    if (!size) {
        return 0;
    }
    ac_buf_init(&answer, 1024 * 1024);
    ac_buf_add(&answer, (const char *)data + 1, size - 1);
    ac_buf_add(&answer, "", 0);
    if (answer.data) {
        checks[data[0] % 3](&answer);
    }
    ac_buf_free(&answer);
    return 0;
}
