/* SPDX-License-Identifier: Apache-2.0 */
/* data: URLs. Any text gives bytes within the maximum or an error; what OpenSSL encodes is read as it was. */
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_text(const uint8_t *data, size_t size)
{
    char *url = ac_alloc(size + 1);
    ac_buf_t bytes;
    ac_err_t err;
    ac_err_init(&err);
    memcpy(url, data, size);
    ac_buf_init(&bytes, size / 2);
    bool read = ac_data_url_read(&bytes, url, &err) == APR_SUCCESS;
    must(read == (err.kind == AC_OK) && bytes.len <= size / 2 && (read || err.detail[0]));
    must(!read || ac_data_url_is(url));
    ac_buf_free(&bytes);
    free(url);
}

static void check_encoded(const uint8_t *data, size_t size)
{
    static const char head[] = "data:image/png;base64,";
    char *url = ac_alloc(sizeof(head) + (size + 2) / 3 * 4 + 1);
    ac_buf_t bytes;
    ac_err_t err;
    ac_err_init(&err);
    memcpy(url, head, sizeof(head));
    EVP_EncodeBlock((unsigned char *)url + sizeof(head) - 1, data, (int)size);
    ac_buf_init(&bytes, size);
    must(ac_data_url_read(&bytes, url, &err) == APR_SUCCESS);
    must(bytes.len == size && (!size || memcmp(bytes.data, data, size) == 0));
    ac_buf_free(&bytes);
    free(url);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_text(data, size);
    check_encoded(data, size);
    return 0;
}
