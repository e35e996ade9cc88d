/* SPDX-License-Identifier: Apache-2.0 */
/* agentchat-store: copies what a store knows about files. Their bytes stay where they are. */
#include "store_copy.h"

#define FILES_AT_A_TIME 100

static bool import_files(copy_t *copy, json_t *files)
{
    ac_store_op_t *op = ac_store_op_create(AC_STORE_IMPORT_FILES, NULL, NULL);
    json_t *out = store_copy_call(copy, &copy->to, op, json_pack("{s:O}", "files", files));

    json_decref(out);
    return out != NULL;
}

bool store_files_copy(copy_t *copy)
{
    json_t *after = json_null(), *out;
    bool fine = true;

    while (fine && after) {
        ac_store_op_t *op = ac_store_op_create(AC_STORE_EXPORT_FILES, NULL, NULL);
        op->page.limit = FILES_AT_A_TIME;
        out = store_copy_call(copy, &copy->from, op, json_pack("{s:o}", "after", after));
        after = json_is_string(json_object_get(out, "next")) ? json_incref(json_object_get(out, "next")) : NULL;
        fine = out && import_files(copy, json_object_get(out, "data"));
        json_decref(out);
    }
    json_decref(after);
    return fine;
}
