/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of headers as they are configured: errors are found when httpd starts, not when a model calls the tool. */
#include "tool_support.h"

#include <apr_strings.h>
#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

/* ---- hosts ---- */

const char *ac_tool_header_host(const char *url, apr_pool_t *p)
{
    const char *start = strstr(url, "://");
    start = start ? start + 3 : url;
    bool bracket = *start == '[';
    start += bracket;
    return apr_pstrndup(p, start, strcspn(start, bracket ? "]" : ":/?#"));
}

static bool is_localhost(const char *host)
{
    static const char name[] = "localhost";
    size_t len = strlen(host), name_len = strlen(name);
    len -= len && host[len - 1] == '.';
    return len >= name_len && strncasecmp(host + len - name_len, name, name_len) == 0 &&
        (len == name_len || host[len - name_len - 1] == '.');
}

bool ac_tool_header_host_is_private(const char *host)
{
    unsigned char address[16];
    bool numeric = inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
    return numeric ? ac_http_address_private(host) : is_localhost(host);
}

bool ac_tool_header_is_private(const char *url, apr_pool_t *p)
{
    return ac_tool_header_host_is_private(ac_tool_header_host(url, p));
}

/* ---- headers ---- */

static bool tool_header_is_token(const char *text)
{
    static const char characters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~";
    return *text && !text[strspn(text, characters)];
}

static bool tool_header_has_control(const char *text)
{
    for (; *text; text++) {
        if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f) {
            return true;
        }
    }
    return false;
}

static bool tool_header_is_ours(const char *name)
{
    static const char *const names[] = {"Host",    "Connection", "Content-Length", "Transfer-Encoding", "TE", "Trailer",
                                        "Upgrade", "Expect",     "Keep-Alive",     "Accept-Encoding"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcasecmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* A redirect to another origin does not send the header, so this is the only connection to check. */
static const char *check_way(const ac_tool_header_t *header, const ac_tool_header_check_t *check, apr_pool_t *p)
{
    const char *host = ac_tool_header_host(check->url, p);
    bool open = header->secret.value && strncasecmp(check->url, "http:", 5) == 0 && !check->insecure;
    return !open || ac_http_address_near(host)
        ? NULL
        : apr_psprintf(p,
                       "%s %s: over plain http its secret could be read on its way to %s; use https, or add "
                       "insecure=on to %s if the way is safe",
                       check->directive, header->name, host, check->url_directive);
}

const char *ac_tool_header_problem(const ac_tool_header_t *header, const ac_tool_header_check_t *check, apr_pool_t *p)
{
    if (!tool_header_is_token(header->name)) {
        return apr_psprintf(p, "%s: '%s' is not the name of a header", check->directive, header->name);
    }
    if (tool_header_is_ours(header->name)) {
        return apr_psprintf(p, "%s: %s is written by the module itself", check->directive, header->name);
    }
    const char *problem = ac_template_problem(header->value, AC_TEMPLATE_HEADER, check->parameters, p);
    if (problem) {
        return apr_psprintf(p, "%s %s: %s", check->directive, header->name, problem);
    }
    bool wants_secret = strstr(header->value, AC_TEMPLATE_SECRET) != NULL;
    if (wants_secret && !header->secret.value) {
        return apr_psprintf(p,
                            "%s %s: its value names a secret, but there is none; give secret=env:NAME or "
                            "secret=file:PATH",
                            check->directive, header->name);
    }
    if (wants_secret && tool_header_has_control(header->secret.value)) {
        return apr_psprintf(p, "%s %s: its secret holds a control character", check->directive, header->name);
    }
    return check_way(header, check, p);
}
