/* SPDX-License-Identifier: Apache-2.0 */
/* The value types of identities and roles. */
#include "config_internal.h"

#include "apr_lib.h"

#define NAME_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

/* Header fields of the request are variables too, for scripts; a client can set them to anything. */
const char *ac_config_principal_set_variable(const char **field, const char *text, apr_pool_t *p)
{
    const char *name = strncmp(text, "env:", 4) != 0 ? "" : text + 4;
    if (!*name || apr_isdigit(*name) || name[strspn(name, NAME_CHARS)]) {
        return apr_psprintf(p, "'%s' is not env:NAME, like env:OIDC_CLAIM_oid", text);
    }
    if (ap_cstr_casecmpn(name, "HTTP_", 5) == 0) {
        return apr_psprintf(
            p, "'%s' is a header that the client sends; name a variable that an authentication module sets", name);
    }
    *field = apr_pstrdup(p, name);
    return NULL;
}

const char *ac_config_principal_set_roles(apr_array_header_t **plist, const char *args, apr_pool_t *p)
{
    const char *role = ap_getword_conf(p, &args);
    if (!*role || role[strspn(role, NAME_CHARS)]) {
        return apr_psprintf(p, "'%s' is not a role; give letters, digits, '-' and '_', like admin", role);
    }
    if (!*args) {
        return apr_psprintf(p, "the role '%s' has no owners; give their names", role);
    }
    if (!*plist) {
        *plist = apr_array_make(p, 4, sizeof(ac_role_t));
    }
    while (*args) {
        const char *owner = ap_getword_conf(p, &args);
        if (strcmp(owner, AC_ANONYMOUS) == 0) {
            return "'" AC_ANONYMOUS "' is every client without a sign-in, and cannot have a role";
        }
        APR_ARRAY_PUSH(*plist, ac_role_t) = (ac_role_t){role, owner};
    }
    return NULL;
}
