/* SPDX-License-Identifier: Apache-2.0 */
/* Parts that the built-in tools share: options, and the errors of an exchange as the model reads them. */
#include "tool_support.h"

#include <apr_strings.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MAX_DEPTH (AC_MAX_JSON_DEPTH - 8) /* a result is kept inside a message inside a list */
#define SHOWN_BODY (AC_ERR_DETAIL_SIZE - 64)

/* ---- options ---- */

static bool tool_support_is_among(const char *name, const char *const *names)
{
    while (*names && strcasecmp(*names, name) != 0) {
        names++;
    }
    return *names != NULL;
}

const char *ac_tool_support_check_options(const apr_table_t *options, const char *const *names, apr_pool_t *p)
{
    const apr_array_header_t *rows = options ? apr_table_elts(options) : NULL;
    for (int i = 0; rows && i < rows->nelts; i++) {
        const char *name = APR_ARRAY_IDX(rows, i, apr_table_entry_t).key;
        if (tool_support_is_among(name, names)) {
            continue;
        }
        const char *list = names[0] ? "known are " : "this provider has none";
        for (int j = 0; names[j]; j++) {
            list = apr_pstrcat(p, list, j ? ", " : "", names[j], NULL);
        }
        return apr_psprintf(p, "AgentChatToolOption: there is no option '%s'; %s", name, list);
    }
    return NULL;
}

const char *ac_tool_support_option_url(const char **purl, const ac_tool_conf_t *conf, const char *name,
                                       const char *fallback, apr_pool_t *p)
{
    const char *url = conf->options ? apr_table_get(conf->options, name) : NULL;
    url = url ? url : fallback;
    if (!ac_http_address_url_valid(url) || strpbrk(url, "?#{}")) {
        return apr_psprintf(p, "AgentChatToolOption %s: '%s' is not a base URL; give one like %s", name, url, fallback);
    }
    size_t len = strlen(url);
    while (len && url[len - 1] == '/') {
        len--;
    }
    *purl = apr_pstrndup(p, url, len);
    return NULL;
}

/* ---- exchanges ---- */

apr_status_t ac_tool_support_time_left(apr_interval_time_t *pleft, apr_time_t now, apr_time_t deadline, ac_err_t *err)
{
    *pleft = deadline ? deadline - now : 0;
    return deadline && *pleft <= 0 ? ac_err_set(err, AC_TOOL_TIMEOUT, "there was no time left") : APR_SUCCESS;
}

apr_status_t ac_tool_support_exchange_failed(ac_err_t *err, const char *who, const ac_err_t *cause)
{
    bool late = cause->kind == AC_UPSTREAM_TIMEOUT;
    return ac_err_set(err, late ? AC_TOOL_TIMEOUT : AC_TOOL_ERROR, "%s %s: %s", who,
                      late ? "took too long" : "could not be reached",
                      cause->detail[0] ? cause->detail : "no reason known");
}

/* Writes text as one line: runs of blanks and control characters become one blank, invalid UTF-8 is dropped. */
static void squeeze(char *line, size_t size, const char *text, size_t len)
{
    size_t used = 0;
    for (size_t i = 0, n; i < len; i += n) {
        bool valid;
        n = ac_utf8_next(text + i, len - i, &valid);
        bool blank = !valid || (n == 1 && ((unsigned char)text[i] <= 0x20 || text[i] == 0x7f));
        if (blank && (!used || line[used - 1] == ' ')) {
            continue;
        }
        if (used + n >= size) {
            break;
        }
        if (blank) {
            line[used++] = ' ';
            continue;
        }
        memcpy(line + used, text + i, n);
        used += n;
    }
    while (used && line[used - 1] == ' ') {
        used--;
    }
    line[used] = '\0';
}

apr_status_t ac_tool_support_answer_refused(ac_err_t *err, const char *who, int status, const char *type,
                                            const char *body, size_t len)
{
    char line[SHOWN_BODY] = "";
    bool shown = body && ac_tool_support_is_text(type) && !strcasestr(type, "html") && !memchr(body, '\0', len);
    if (shown) {
        squeeze(line, sizeof(line), body, len);
    }
    return ac_err_set(err, AC_TOOL_ERROR, "%s answered %d%s%s", who, status, line[0] ? ": " : "", line);
}

/* ---- media types ---- */

static bool type_is(const char *type, size_t len, const char *name)
{
    return len == strlen(name) && strncasecmp(type, name, len) == 0;
}

static bool type_ends(const char *type, size_t len, const char *end)
{
    size_t end_len = strlen(end);
    return len > end_len && strncasecmp(type + len - end_len, end, end_len) == 0;
}

bool ac_tool_support_is_json(const char *type)
{
    size_t len = strcspn(type, "; \t,");
    return type_is(type, len, "application/json") || type_is(type, len, "text/json") || type_ends(type, len, "+json");
}

bool ac_tool_support_is_text(const char *type)
{
    static const char *const names[] = {
        "application/xml",      "application/javascript", "application/ecmascript",
        "application/x-ndjson", "application/ndjson",     "application/jsonl",
        "application/yaml",     "application/x-yaml",     "application/x-www-form-urlencoded",
        "application/graphql",  "application/sql",        "application/toml",
    };
    size_t len = strcspn(type, "; \t,");
    if (len == 0 || strncasecmp(type, "text/", 5) == 0 || type_ends(type, len, "+xml") ||
        ac_tool_support_is_json(type)) {
        return true;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (type_is(type, len, names[i])) {
            return true;
        }
    }
    return false;
}

/* ---- JSON of services ---- */

bool ac_tool_support_json(json_t **pvalue, const char *text, size_t len)
{
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    *pvalue = json_loadb(text, len, JSON_DECODE_ANY, NULL);
    if (*pvalue && ac_json_is_deeper(*pvalue, MAX_DEPTH)) {
        json_decref(*pvalue);
        *pvalue = NULL;
    }
    return *pvalue != NULL;
}

/* ---- patterns ---- */

bool ac_tool_support_matches(const char *pattern, const char *name)
{
    const char *star = NULL, *again = NULL;
    while (*name) {
        if (*pattern == '*') {
            star = pattern++;
            again = name;
        } else if (*pattern == *name) {
            pattern++;
            name++;
        } else if (star) {
            pattern = star + 1;
            name = ++again;
        } else {
            return false;
        }
    }
    return !pattern[strspn(pattern, "*")];
}
