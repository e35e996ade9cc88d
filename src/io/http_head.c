/* SPDX-License-Identifier: Apache-2.0 */
/* The header lines of an answer, kept until its head has been dealt with. */
#include "io.h"

#include <string.h>
#include <strings.h>

apr_status_t ac_http_head_add(ac_buf_t *head, const char *line, size_t len, bool *pwhole)
{
    while (len && (line[len - 1] == '\n' || line[len - 1] == '\r' || line[len - 1] == ' ' || line[len - 1] == '\t')) {
        len--;
    }
    *pwhole = !len;
    if (!len) {
        return APR_SUCCESS;
    }
    if (len >= 5 && !memcmp(line, "HTTP/", 5)) {
        ac_buf_clear(head);
    }
    apr_status_t status = ac_buf_add(head, line, len);
    return status ? status : ac_buf_add(head, "", 1);
}

const char *ac_http_head_find(const ac_buf_t *head, const char *name)
{
    size_t name_len = strlen(name);
    if (!head->data) {
        return NULL;
    }
    for (const char *line = head->data, *end = line + head->len; line < end; line += strlen(line) + 1) {
        if (!strncasecmp(line, name, name_len) && line[name_len] == ':') {
            line += name_len + 1;
            return line + strspn(line, " \t");
        }
    }
    return NULL;
}

const char *ac_http_head_id(const ac_buf_t *head)
{
    static const char *const names[] = { "x-request-id", "apim-request-id", "x-ms-activity-id", "x-ms-request-id", "request-id" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *id = ac_http_head_find(head, names[i]);
        if (id && *id) {
            return id;
        }
    }
    return "";
}
