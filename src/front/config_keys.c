/* SPDX-License-Identifier: Apache-2.0 */
/* Files of API keys: each is opened once, however many mounts name it, and looked at before anything starts. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unixd.h"
#include "util_cfgtree.h"

APLOG_USE_MODULE(agentchat);

typedef struct keys_at_t {
    ac_keyring_file_t *file;
    const ap_directive_t *at;
} keys_at_t;

void ac_config_add_keys(const char *path, const ap_directive_t *at)
{
    ac_config_t *config = ac_config();
    for (int i = 0; i < config->keys->nelts; i++) {
        if (!strcmp(ac_keyring_file_path(APR_ARRAY_IDX(config->keys, i, keys_at_t).file), path)) return;
    }
    APR_ARRAY_PUSH(config->keys, keys_at_t) = (keys_at_t){ac_keyring_file_create(path, config->keys->pool), at};
}

void ac_config_keys_init(apr_pool_t *pconf)
{
    ac_config()->keys = apr_array_make(pconf, 2, sizeof(keys_at_t));
}

ac_keyring_file_t *ac_conf_keyring(const ac_mount_conf_t *mount)
{
    const apr_array_header_t *keys = ac_config()->keys;
    for (int i = 0; mount->keys_path && i < keys->nelts; i++) {
        ac_keyring_file_t *file = APR_ARRAY_IDX(keys, i, keys_at_t).file;
        if (!strcmp(ac_keyring_file_path(file), mount->keys_path)) return file;
    }
    return NULL;
}

/* ---- configtest ---- */

#define MAX_GROUPS 65536                        /* Linux's own */

/* Whether the user that the children run as may read it, with everything that decides on that, as groups and the directories
 * above: found out as that user. 0, or an errno. A configuration is read by one thread. */
static int read_as_child(const char *path, apr_pool_t *ptemp)
{
    uid_t user = ap_unixd_config.user_id;
    gid_t group = ap_unixd_config.group_id, mine = getegid(), *groups = apr_palloc(ptemp, MAX_GROUPS * sizeof(gid_t));
    if (geteuid() || !user || user == (uid_t)-1) return access(path, R_OK) ? errno : 0;
    int n = getgroups(MAX_GROUPS, groups), problem = 0;
    bool became = n >= 0 && !initgroups(ap_unixd_config.user_name, group) && !setegid(group) && !seteuid(user);
    int fd = became ? open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) : -1;
    if (became && fd < 0) problem = errno;
    if (fd >= 0) close(fd);
    if (seteuid(0) || setegid(mine) || (n >= 0 && setgroups((size_t)n, groups))) abort();   /* never go on as half somebody else */
    return problem;
}

static void check_file(ac_check_t *check, const keys_at_t *keys)
{
    const char *path = ac_keyring_file_path(keys->file);
    const char *user = geteuid() ? "the user that httpd is started by" : ap_unixd_config.user_name;
    struct stat info;
    char reason[120];
    ac_err_t err;
    ac_err_init(&err);
    if (ac_keyring_file_load(keys->file, &err) != APR_SUCCESS) {
        ac_check_problem(check, keys->at, "AgentChatKeys: '%s': %s", path, err.detail);
        return;
    }
    int problem = read_as_child(path, check->ptemp);
    if (problem) {
        ac_check_problem(check, keys->at, "AgentChatKeys: '%s' cannot be read by %s, whose processes look whether it changes: %s; give it "
                         "that group and the mode 640", path, user, apr_strerror(problem, reason, sizeof(reason)));
    } else if (!stat(path, &info) && (info.st_mode & S_IROTH)) {
        ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_WARNING, 0, NULL, "AgentChatKeys: '%s' can be read by everybody on this machine; "
                     "it has no keys, but it says whose there are: mode 640 is enough", path);
    }
}

/* The AuthType of ours that nothing can answer. */
static const ap_directive_t *find_auth_type(const ap_directive_t *first, apr_pool_t *p)
{
    for (const ap_directive_t *directive = first; directive; directive = directive->next) {
        const ap_directive_t *inside = directive->first_child ? find_auth_type(directive->first_child, p) : NULL;
        const char *args = directive->args;
        if (inside) return inside;
        if (ap_cstr_casecmp(directive->directive, "AuthType")) continue;
        if (!ap_cstr_casecmp(ap_getword_conf(p, &args), "AgentChat")) return directive;
    }
    return NULL;
}

void ac_config_check_keys(ac_check_t *check)
{
    const apr_array_header_t *keys = check->config->keys;
    for (int i = 0; i < keys->nelts; i++) check_file(check, &APR_ARRAY_IDX(keys, i, keys_at_t));
    const ap_directive_t *at = keys->nelts ? NULL : find_auth_type(ap_conftree, check->ptemp);
    if (at) ac_check_problem(check, at, "AuthType AgentChat: there are no keys to sign in with; name their file with AgentChatKeys");
}
