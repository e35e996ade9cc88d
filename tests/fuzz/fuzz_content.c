/* SPDX-License-Identifier: Apache-2.0 */
/* The content of a user's message. Any JSON is read or refused with a pointer into it; what is read keeps its
 * limits. */
#include <string.h>

#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *value = NULL;
    ac_content_t content;
    ac_err_t err;
    ac_err_init(&err);
    if (ac_json_parse(&value, (const char *)data, size, &err) != APR_SUCCESS) {
        return 0;
    }
    apr_status_t status = ac_content_read(&content, value, "content", &err);
    if ((status == APR_SUCCESS) != (err.kind == AC_OK)) {
        abort();
    }
    if (status != APR_SUCCESS && (strncmp(err.pointer, "/content", 8) != 0 || !err.detail[0] || content.text.data)) {
        abort();
    }
    if (content.n_files > AC_MAX_ATTACHMENTS || content.text.len > AC_MAX_CONTENT ||
        (content.text.data && !ac_utf8_valid(content.text.data, content.text.len))) {
        abort();
    }
    for (int i = 0; i < content.n_files; i++) {
        if (!ac_id_valid(content.files[i].file_id, "file_") || content.files[i].part < i) {
            abort();
        }
    }
    ac_content_free(&content);
    json_decref(value);
    return 0;
}
