/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of a section that are checked at once: origins, and the directory of the page /docs. */
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

const char *ac_config_section_problem(const ac_mount_conf_t *mount, apr_pool_t *p)
{
    const char *problem = problem_of_origins(mount, p);
    return problem ? problem : problem_of_docs(mount, p);
}

bool ac_config_section_is_open(const ac_mount_conf_t *mount)
{
    const apr_array_header_t *origins = mount->cors_origins;
    return origins && origins->nelts == 1 && strcmp(APR_ARRAY_IDX(origins, 0, const char *), "*") == 0;
}
