/* SPDX-License-Identifier: Apache-2.0 */
/* Files of API keys. Each is opened once for all mounts that name it, and checked before anything starts. */
#include "config_internal.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util_cfgtree.h"

APLOG_USE_MODULE(agentchat);

#define VERSIONS_SIZE 4096 /* bytes shared by all children: which reading of each file has been reported */

typedef struct keys_at_t {
    ac_keyring_file_t *file;
    const ap_directive_t *at;
} keys_at_t;

void ac_config_keys_add(const char *path, const ap_directive_t *at)
{
    ac_config_t *config = ac_conf_mutable();
    for (int i = 0; i < config->keys->nelts; i++) {
        if (strcmp(ac_keyring_file_path(APR_ARRAY_IDX(config->keys, i, keys_at_t).file), path) == 0) {
            return;
        }
    }
    APR_ARRAY_PUSH(config->keys, keys_at_t) = (keys_at_t){ac_keyring_file_create(path, config->keys->pool), at};
}

void ac_config_keys_init(apr_pool_t *pconf)
{
    ac_conf_mutable()->keys = apr_array_make(pconf, 2, sizeof(keys_at_t));
}

ac_keyring_file_t *ac_config_keys_file(const ac_mount_conf_t *mount)
{
    const apr_array_header_t *keys = ac_conf_mutable()->keys;
    for (int i = 0; mount->keys_path && i < keys->nelts; i++) {
        ac_keyring_file_t *file = APR_ARRAY_IDX(keys, i, keys_at_t).file;
        if (strcmp(ac_keyring_file_path(file), mount->keys_path) == 0) {
            return file;
        }
    }
    return NULL;
}

/* ---- changes ---- */

static apr_status_t unmap_versions(void *versions)
{
    munmap(versions, VERSIONS_SIZE);
    return APR_SUCCESS;
}

void ac_config_keys_watch(ac_keyring_changed_fn *fn, apr_pool_t *p)
{
    const apr_array_header_t *keys = ac_conf_mutable()->keys;
    _Atomic(uint64_t) *versions = mmap(NULL, VERSIONS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (versions == MAP_FAILED) {
        return;
    }
    apr_pool_cleanup_register(p, versions, unmap_versions, apr_pool_cleanup_null);
    for (int i = 0; i < keys->nelts && (size_t)i < VERSIONS_SIZE / sizeof(versions[0]); i++) {
        ac_keyring_file_watch(APR_ARRAY_IDX(keys, i, keys_at_t).file, &versions[i], fn);
    }
}

/* ---- configtest ---- */

static void check_file(ac_config_check_t *check, const keys_at_t *keys)
{
    const char *path = ac_keyring_file_path(keys->file);
    struct stat info;
    char reason[120];
    ac_err_t err;
    ac_err_init(&err);
    if (ac_keyring_file_load(keys->file, &err) != APR_SUCCESS) {
        ac_config_check_problem(check, keys->at, "AgentChatKeys: '%s': %s", path, err.detail);
        return;
    }
    int problem = ac_config_access_as_child(path, R_OK, check->ptemp);
    if (problem) {
        ac_config_check_problem(
            check, keys->at,
            "AgentChatKeys: '%s' cannot be read by %s, whose processes check it for changes: %s; give it the group "
            "of that user and the mode 640",
            path, ac_config_access_user(), apr_strerror(problem, reason, sizeof(reason)));
    } else if (!stat(path, &info) && (info.st_mode & S_IROTH)) {
        ap_log_error(
            APLOG_MARK, APLOG_STARTUP | APLOG_WARNING, 0, NULL,
            "AgentChatKeys: '%s' can be read by every user of this machine; it has no keys, but it names their "
            "owners: mode 640 is enough",
            path);
    }
}

/* The first `AuthType AgentChat`; NULL: there is none. */
static const ap_directive_t *find_auth_type(const ap_directive_t *first, apr_pool_t *p)
{
    for (const ap_directive_t *directive = first; directive; directive = directive->next) {
        const ap_directive_t *inside = directive->first_child ? find_auth_type(directive->first_child, p) : NULL;
        const char *args = directive->args;
        if (inside) {
            return inside;
        }
        if (ap_cstr_casecmp(directive->directive, "AuthType") != 0) {
            continue;
        }
        if (ap_cstr_casecmp(ap_getword_conf(p, &args), "AgentChat") == 0) {
            return directive;
        }
    }
    return NULL;
}

void ac_config_keys_check(ac_config_check_t *check)
{
    const apr_array_header_t *keys = check->config->keys;
    for (int i = 0; i < keys->nelts; i++) {
        check_file(check, &APR_ARRAY_IDX(keys, i, keys_at_t));
    }
    const ap_directive_t *at = keys->nelts ? NULL : find_auth_type(ap_conftree, check->ptemp);
    if (at) {
        ac_config_check_problem(
            check, at, "AuthType AgentChat: there are no keys to sign in with; name their file with AgentChatKeys");
    }
}
