/* SPDX-License-Identifier: Apache-2.0 */
/* Log messages of all layers, to httpd's error log. */
#include "front.h"

#include <stdarg.h>
#include <stdio.h>

APLOG_USE_MODULE(agentchat);

#define TEXT_SIZE 2048

static server_rec *server;

static int httpd_level(ac_level_e level)
{
    static const int levels[] = {[AC_ERROR] = APLOG_ERR,
                                 [AC_WARNING] = APLOG_WARNING,
                                 [AC_INFO] = APLOG_INFO,
                                 [AC_DEBUG] = APLOG_DEBUG,
                                 [AC_TRACE] = APLOG_TRACE1};
    return levels[level];
}

static void sink(ac_level_e level, const char *file, int line, apr_status_t status, const char *text)
{
    ap_log_error_(file, line, APLOG_MODULE_INDEX, httpd_level(level), status, server, "%s", text);
}

void ac_log_front_install(server_rec *s)
{
    ac_level_e threshold = AC_ERROR;
    server = s;
    while (s && threshold < AC_TRACE && APLOG_IS_LEVEL(s, httpd_level(threshold + 1))) {
        threshold++;
    }
    ac_log_install(sink, threshold);
}

void ac_log_front_request(ac_log_id_e number, const char *file, int line, int module_index, apr_status_t status,
                          const request_rec *r, const char *fmt, ...)
{
    const ac_log_row_t *row = ac_log_rows();
    char text[TEXT_SIZE];
    va_list args;
    while (row->number && row->number != (int)number) {
        row++;
    }
    int level = httpd_level(row->level);
    if (!APLOG_R_MODULE_IS_LEVEL(r, module_index, level)) {
        return;
    }
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    ap_log_rerror_(file, line, module_index, level, status, r, "AC%04d: %s", (int)number, text);
}
