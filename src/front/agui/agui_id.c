/* SPDX-License-Identifier: Apache-2.0 */
/* Ids of AG-UI. Its clients find messages, calls and results of a whole conversation by them, and take what has an id
 * again for the same thing; models repeat the ids of calls from answer to answer. */
#include "agui_internal.h"

#include <string.h>

#define ID_LEN (sizeof("run_") - 1 + 26)

void ac_agui_id_section(ac_buf_t *out, const char *answer_id, unsigned n)
{
    ac_buf_str(out, answer_id);
    if (n > 1) {
        ac_buf_printf(out, ".%u", n);
    }
}

void ac_agui_id_call(ac_buf_t *out, const char *run_id, const char *call_id)
{
    ac_buf_str(out, run_id);
    ac_buf_str(out, ".");
    ac_buf_str(out, call_id);
}

void ac_agui_id_add_call(ac_buf_t *out, const char *name, const char *run_id, const char *call_id, const char *suffix)
{
    ac_buf_t id;
    ac_buf_init(&id, AC_MAX_JSON_TEXT);
    ac_agui_id_call(&id, run_id, call_id);
    ac_buf_str(&id, suffix);
    ac_dialect_add_text(out, name, id.data ? id.data : "");
    ac_buf_free(&id);
}

bool ac_agui_id_read_call(char run_id[AC_ID_SIZE], const char **pcall, const char *id)
{
    size_t len = strlen(id);
    if (len <= ID_LEN + 1 || id[ID_LEN] != '.') {
        return false;
    }
    memcpy(run_id, id, ID_LEN);
    run_id[ID_LEN] = '\0';
    *pcall = id + ID_LEN + 1;
    return ac_id_valid(run_id, "run_");
}

bool ac_agui_id_is_of_run(const char *id, const char *run_id)
{
    char answer_id[AC_ID_SIZE];
    ac_record_answer_id(answer_id, run_id);
    const char *const names[] = {run_id, answer_id};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        size_t len = strlen(names[i]);
        if (len && strncmp(id, names[i], len) == 0 && (!id[len] || id[len] == '.')) {
            return true;
        }
    }
    return false;
}
