/* SPDX-License-Identifier: Apache-2.0 */
/* The principal of a request: an owner with roles, made from the result of httpd's authentication. */
#include "auth_internal.h"

#include <string.h>

#include "apr_strings.h"
#include "mod_auth.h"

/* Indexed by roles_delimiter, in the order of the directive's table. */
static const char *const delimiters[] = {",", " \t", ";"};

/* ---- roles ---- */
bool ac_principal_has(const ac_principal_t *principal, const char *role)
{
    for (int i = 0; principal && i < principal->roles->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(principal->roles, i, const char *), role) == 0) {
            return true;
        }
    }
    return false;
}

static void add_variable_role(apr_array_header_t *roles, const ac_mount_conf_t *mount, const char *value)
{
    const apr_array_header_t *known = apr_table_elts(mount->role_values);
    if (!known->nelts) {
        APR_ARRAY_PUSH(roles, const char *) = value;
    }
    for (int i = 0; i < known->nelts; i++) {
        const apr_table_entry_t *entry = &APR_ARRAY_IDX(known, i, apr_table_entry_t);
        if (strcmp(entry->val, value) == 0) {
            APR_ARRAY_PUSH(roles, const char *) = entry->key;
        }
    }
}

/* Removes blanks around a word. */
static char *principal_trim(char *word)
{
    word += strspn(word, " \t");
    size_t len = strlen(word);
    while (len && (word[len - 1] == ' ' || word[len - 1] == '\t')) {
        word[--len] = '\0';
    }
    return word;
}

static apr_array_header_t *find_roles(const request_rec *r, const ac_mount_conf_t *mount, const char *owner)
{
    apr_array_header_t *roles = apr_array_make(r->pool, 4, sizeof(const char *));
    const char *value = mount->roles_from ? apr_table_get(r->subprocess_env, mount->roles_from) : NULL;
    const char *between = delimiters[mount->roles_delimiter];
    char *state = NULL;
    for (char *word = value ? apr_strtok(apr_pstrdup(r->pool, value), between, &state) : NULL; word;
         word = apr_strtok(NULL, between, &state)) {
        char *role = principal_trim(word);
        if (*role) {
            add_variable_role(roles, mount, role);
        }
    }
    for (int i = 0; mount->roles && i < mount->roles->nelts; i++) {
        const ac_role_t *role = &APR_ARRAY_IDX(mount->roles, i, ac_role_t);
        if (strcmp(role->owner, owner) == 0) {
            APR_ARRAY_PUSH(roles, const char *) = role->role;
        }
    }
    return roles;
}

/* ---- the owner ---- */
/* The owner of a request that is signed in. The variable alone proves no sign-in. */
static apr_status_t find_owner(const char **powner, const request_rec *r, const ac_mount_conf_t *mount, ac_err_t *err)
{
    *powner = mount->owner_from ? apr_table_get(r->subprocess_env, mount->owner_from) : r->user;
    if (!*powner || !**powner) {
        return ac_err_set(err, AC_FORBIDDEN, "the sign-in has no user name");
    }
    const char *problem = ac_store_owner_problem(*powner);
    return problem ? ac_err_set(err, AC_FORBIDDEN, "the user's name %s", problem) : APR_SUCCESS;
}

static ac_principal_t *remember(request_rec *r, const char *owner)
{
    ac_principal_t *principal = apr_pcalloc(r->pool, sizeof(*principal));
    bool is_known = strcmp(owner, AC_ANONYMOUS) != 0;
    principal->owner = owner;
    principal->roles = is_known ? find_roles(r, ac_mount_conf(r), owner)
                                : apr_array_make(r->pool, 1, sizeof(const char *));
    ap_set_module_config(r->request_config, &agentchat_module, principal);
    return principal;
}

void ac_principal_sign(request_rec *r, const ac_api_key_t *key)
{
    char *state = NULL;
    ac_principal_t *principal = remember(r, apr_pstrdup(r->pool, key->owner));
    apr_array_header_t *roles = apr_array_copy(r->pool, principal->roles);
    for (char *role = apr_strtok(apr_pstrdup(r->pool, key->roles), ",", &state); role;
         role = apr_strtok(NULL, ",", &state)) {
        APR_ARRAY_PUSH(roles, const char *) = role;
    }
    principal->roles = roles;
    principal->key_id = apr_pstrdup(r->pool, key->id);
    principal->limits = key->limits ? apr_pstrdup(r->pool, key->limits) : NULL;
    r->user = apr_pstrdup(r->pool, key->owner);
    r->ap_auth_type = apr_pstrdup(r->pool, ap_auth_type(r));
    apr_table_setn(r->notes, AC_NOTE_KEY, principal->key_id);
}

apr_status_t ac_principal_find(const ac_principal_t **pprincipal, request_rec *r, ac_err_t *err)
{
    const ac_mount_conf_t *mount = ac_mount_conf(r);
    const char *owner = NULL;
    apr_status_t status = r->user ? APR_SUCCESS : ac_sign_in_unasked(r, err);
    *pprincipal = ap_get_module_config(r->request_config, &agentchat_module);
    if (status != APR_SUCCESS || *pprincipal) {
        return status;
    }
    if (r->user && *r->user) {
        status = find_owner(&owner, r, mount, err);
    } else if (mount->anonymous > 0) {
        owner = AC_ANONYMOUS;
        status = ac_host_check(r, err);
    } else {
        status = ac_err_set(err, AC_UNAUTHENTICATED, "this needs a signed-in user");
    }
    if (status == APR_SUCCESS) {
        *pprincipal = remember(r, owner);
    }
    return status;
}

bool ac_principal_is_admin(request_rec *r)
{
    const ac_principal_t *principal = NULL;
    ac_err_t err;
    ac_err_init(&err);
    if (!r->user && (ac_sign_in_unasked(r, &err) != APR_SUCCESS || !r->user)) {
        return false;
    }
    return ac_principal_find(&principal, r, &err) == APR_SUCCESS && ac_principal_has(principal, AC_ROLE_ADMIN);
}

/* ---- Require agentchat-role ---- */
static const char *parse_require(cmd_parms *cmd, const char *line, const void **pparsed)
{
    apr_array_header_t *roles = apr_array_make(cmd->pool, 2, sizeof(const char *));
    const char *unclosed = ac_config_args_quote_problem(line, 0);
    while (*line && !unclosed) {
        APR_ARRAY_PUSH(roles, const char *) = ap_getword_conf(cmd->pool, &line);
    }
    *pparsed = roles;
    const char *problem = unclosed ? unclosed : roles->nelts ? NULL : "names no role; give one or more, like admin";
    return ac_reload_directive(cmd, problem ? apr_pstrcat(cmd->pool, "Require agentchat-role: ", problem, NULL) : NULL);
}

static authz_status check_require(request_rec *r, const char *line, const void *parsed)
{
    const apr_array_header_t *wanted = parsed;
    const ac_principal_t *principal = NULL;
    ac_err_t err;
    (void)line;
    if (!r->user) {
        return AUTHZ_DENIED_NO_USER;
    }
    ac_err_init(&err);
    if (ac_principal_find(&principal, r, &err) != APR_SUCCESS) {
        return AUTHZ_DENIED;
    }
    for (int i = 0; i < wanted->nelts; i++) {
        if (ac_principal_has(principal, APR_ARRAY_IDX(wanted, i, const char *))) {
            return AUTHZ_GRANTED;
        }
    }
    return AUTHZ_DENIED;
}

void ac_principal_register(apr_pool_t *p)
{
    static const authz_provider provider = {check_require, parse_require};
    ap_register_auth_provider(p, AUTHZ_PROVIDER_GROUP, "agentchat-role", AUTHZ_PROVIDER_VERSION, &provider,
                              AP_AUTH_INTERNAL_PER_CONF);
}
