/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of a section that are checked at once: origins, the directory of the page /docs, and what
 * clients of MCP read about tokens. */
#include "config_internal.h"

/* Whether text is an origin as browsers write it, since it is compared byte by byte: "https://app.example.com",
 * "http://localhost:3000". */
static bool is_origin(const char *text)
{
    size_t scheme = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789+-.");
    if (!scheme || strncmp(text + scheme, "://", 3) != 0) {
        return false;
    }
    const char *host = text + scheme + 3;
    size_t len = *host == '[' ? strcspn(host, "]") + 1 : strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789-._");
    if (!len || len > strlen(host) || (*host == '[' && strspn(host + 1, "0123456789abcdef:.") != len - 2)) {
        return false;
    }
    if (host[len] != ':') {
        return !host[len];
    }
    size_t port = strspn(host + len + 1, "0123456789");
    bool is_default = strcmp(host + len,
                             strncmp(text, "https:", 6) == 0      ? ":443"
                                 : strncmp(text, "http:", 5) == 0 ? ":80"
                                                                  : "") == 0;
    return port && port <= 5 && !host[len + 1 + port] && !is_default;
}

static const char *problem_of_origins(const ac_mount_conf_t *mount, apr_pool_t *p)
{
    const apr_array_header_t *origins = mount->cors_origins;
    for (int i = 0; origins && i < origins->nelts; i++) {
        const char *origin = APR_ARRAY_IDX(origins, i, const char *);
        if (strcmp(origin, "*") == 0) {
            if (origins->nelts > 1) {
                return "'*' stands for every origin; give it alone";
            }
        } else if (!is_origin(origin)) {
            return apr_psprintf(
                p,
                "'%s' is not an origin; give scheme, host and a port other than the scheme's own, in lower case, "
                "like https://app.example.com or http://localhost:3000",
                origin);
        }
    }
    return NULL;
}

static const char *problem_of_docs(const ac_mount_conf_t *mount, apr_pool_t *p)
{
    apr_finfo_t info;
    if (!mount->docs ||
        apr_stat(&info, apr_pstrcat(p, mount->docs, "/" AC_DOCS_BUNDLE, NULL), APR_FINFO_TYPE, p) == APR_SUCCESS) {
        return NULL;
    }
    return apr_psprintf(p,
                        "'%s' has no " AC_DOCS_BUNDLE
                        "; give the folder of Swagger UI's own files, as `make swagger-ui` makes it",
                        mount->docs);
}

/* An absolute URL that may stand in a header field. */
static bool is_url(const char *text)
{
    size_t scheme = strncmp(text, "https://", 8) == 0 ? 8 : strncmp(text, "http://", 7) == 0 ? 7 : 0;
    return scheme && text[scheme] && text[scheme] != '/' && !text[strcspn(text, "\"\\# <>")];
}

/* RFC 6749, 3.3: scope-token. */
static bool is_scope_token(const char *text)
{
    for (const char *c = text; *c; c++) {
        if (*c <= 0x20 || *c >= 0x7f || *c == '"' || *c == '\\') {
            return false;
        }
    }
    return *text;
}

static const char *bad_word(const char *words, bool (*fits)(const char *text), apr_pool_t *p)
{
    char *state = NULL;
    for (char *word = words ? apr_strtok(apr_pstrdup(p, words), ",", &state) : NULL; word;
         word = apr_strtok(NULL, ",", &state)) {
        if (!fits(word)) {
            return word;
        }
    }
    return NULL;
}

static const char *problem_of_mcp(const ac_mount_conf_t *mount, apr_pool_t *p)
{
    const char *server = bad_word(mount->mcp.server, is_url, p),
               *scope = bad_word(mount->mcp.scopes, is_scope_token, p);
    if (server) {
        return apr_psprintf(p, "authorization-server: '%s' is not a URL like https://login.example.com", server);
    }
    if (mount->mcp.resource && !is_url(mount->mcp.resource)) {
        return apr_psprintf(p, "resource: '%s' is not a URL like https://chat.example.com/api/mcp",
                            mount->mcp.resource);
    }
    return scope ? apr_psprintf(p, "scopes: '%s' is not a scope", scope) : NULL;
}

const char *ac_config_section_problem(const ac_mount_conf_t *mount, apr_pool_t *p)
{
    const char *problem = problem_of_origins(mount, p);
    if (!problem) {
        problem = problem_of_docs(mount, p);
    }
    return problem ? problem : problem_of_mcp(mount, p);
}

bool ac_config_section_is_open(const ac_mount_conf_t *mount)
{
    const apr_array_header_t *origins = mount->cors_origins;
    return origins && origins->nelts == 1 && strcmp(APR_ARRAY_IDX(origins, 0, const char *), "*") == 0;
}
