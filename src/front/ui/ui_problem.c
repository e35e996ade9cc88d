/* SPDX-License-Identifier: Apache-2.0 */
/* Errors of the AI SDK's protocol: its clients show the body of an error as it is. */
#include "ui_internal.h"

static json_t *ui_problem_text(const ac_err_t *err, const char *request_id, const void *view)
{
    const ac_err_row_t *row = ac_err_row(err->kind);
    (void)request_id; /* in X-Request-Id */
    (void)view;
    return json_sprintf("%s (%s)", err->detail[0] ? err->detail : row->title, row->code);
}

static bool ui_is_on(const ac_mount_conf_t *mount)
{
    return mount->ui.on;
}

static ac_protocol_e ui_id(const char *pattern)
{
    (void)pattern;
    return AC_PROTOCOL_UI;
}

static const char *const ui_prefixes[] = {"/ui", NULL};
const ac_protocol_t ac_ui_protocol = {.id = ui_id,
                                      .title = "the protocol of the AI SDK",
                                      .prefixes = ui_prefixes,
                                      .is_on = ui_is_on,
                                      .any_accept = true,
                                      .problem_type = "text/plain; charset=utf-8",
                                      .problem = ui_problem_text};
