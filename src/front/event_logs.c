/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of event logs: made while httpd is still root, and used by its children. */
#include "front_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "apr_sha1.h"
#include "apr_user.h"
#include "unixd.h"

APLOG_USE_MODULE(agentchat);

#define SHM "/dev/shm"
#define SHM_LEAST (UINT64_C(256) * 1024 * 1024) /* a container may have much less, and then disk is better */

/* A directory in memory, so that a token costs no disk write. The name differs between the servers of one machine. */
static const char *shm_path(const ac_conf_t *conf, apr_pool_t *p)
{
    unsigned char digest[APR_SHA1_DIGESTSIZE];
    char name[2 * 6 + 1];
    struct statvfs info;
    apr_sha1_ctx_t context;
    if (statvfs(SHM, &info) || (uint64_t)info.f_blocks * info.f_frsize < SHM_LEAST) {
        return NULL;
    }
    const char *what = apr_psprintf(p, "%s\n%s\n%s\n%d", conf->state_dir, conf->store_spec,
                                    ap_server_root_relative(p, ""),
                                    (int)(geteuid() ? geteuid() : ap_unixd_config.user_id));
    apr_sha1_init(&context);
    apr_sha1_update(&context, what, (unsigned)strlen(what));
    apr_sha1_final(digest, &context);
    ap_bin2hex(digest, 6, name);
    return apr_pstrcat(p, SHM "/agentchat-", name, NULL);
}

static apr_status_t make_dir(const char *path)
{
    return ac_event_dir_make(path, geteuid() ? geteuid() : ap_unixd_config.user_id, ap_unixd_config.group_id);
}

/* Any user can make names in /dev/shm: a directory that is not ours is not used, and logged. */
static const char *memory_dir(const ac_conf_t *conf, apr_pool_t *p)
{
    const char *path = shm_path(conf, p);
    apr_status_t status = path ? make_dir(path) : APR_SUCCESS;
    if (status == APR_SUCCESS) {
        return path;
    }
    ac_log(AC_M515, status, "event logs: %s %s; event logs and the counts of limits are not kept there", path,
           status == APR_EACCES ? "is not a directory that only httpd's user may use; another user may have made it"
                                : "cannot be made");
    return NULL;
}

/* Checks an existing directory. Event logs contain conversations, so no other user may read them. NULL on success,
 * else an error message. */
static const char *dir_problem(const char *path, const struct stat *info, apr_pool_t *p)
{
    char reason[120];
    uid_t user = geteuid() ? geteuid() : ap_unixd_config.user_id;
    char *owner = NULL;
    if (S_ISLNK(info->st_mode)) {
        return "is a symbolic link; name the directory itself";
    }
    if (!S_ISDIR(info->st_mode)) {
        return "is not a directory";
    }
    if (info->st_uid != user) {
        bool known = apr_uid_name_get(&owner, info->st_uid, p) == APR_SUCCESS;
        return apr_psprintf(p, "belongs to %s; a directory of event logs must belong to %s",
                            known ? owner : apr_itoa(p, (int)info->st_uid), ac_config_access_user());
    }
    if (info->st_mode & 077) {
        return apr_psprintf(
            p, "has the mode %04o, so other users may use it; event logs contain conversations: give it the mode 0700",
            (unsigned)info->st_mode & 07777);
    }
    int problem = ac_config_access_as_child(path, W_OK | X_OK, p);
    return problem ? apr_psprintf(p, "cannot be written by %s: %s", ac_config_access_user(),
                                  apr_strerror(problem, reason, sizeof(reason)))
                   : NULL;
}

/* Whether the start makes this directory (with a slash at its end) first. */
static bool is_made_first(const char *parent, const ac_conf_t *conf)
{
    size_t len = strlen(conf->state_dir);
    while (len > 1 && conf->state_dir[len - 1] == '/') {
        len--;
    }
    return conf->needs_state_dir && strlen(parent) == len + 1 && strncmp(parent, conf->state_dir, len) == 0 &&
        access(parent, F_OK);
}

/* Checks whether the start can make the directory. NULL on success, else an error message. */
static const char *parent_problem(const char *path, const ac_conf_t *conf, apr_pool_t *p)
{
    const char *parent = ap_make_dirstr_parent(p, path);
    char reason[120];
    if (is_made_first(parent, conf)) {
        return NULL;
    }
    int problem = access(parent, W_OK | X_OK) ? errno : ac_config_access_as_child(parent, X_OK, p);
    return problem ? apr_psprintf(p, "cannot be made for %s in '%s': %s", ac_config_access_user(), parent,
                                  apr_strerror(problem, reason, sizeof(reason)))
                   : NULL;
}

static const ap_directive_t *find_directive(const ac_config_check_t *check)
{
    return ac_config_check_server_at(check, "AgentChatEventLog");
}

/* The directory that the configuration names; NULL: it names none. */
static const char *configured_dir(const ac_conf_t *conf, apr_pool_t *p)
{
    return strcmp(conf->event_logs.wanted, "off") != 0 && strcmp(conf->event_logs.wanted, "auto") != 0
        ? ap_server_root_relative(p, conf->event_logs.wanted)
        : NULL;
}

void ac_event_logs_check(ac_config_check_t *check)
{
    const char *path = configured_dir(check->conf, check->ptemp), *problem;
    struct stat info;
    if (!path) {
        return;
    }
    problem = lstat(path, &info) == 0 ? dir_problem(path, &info, check->ptemp)
                                      : parent_problem(path, check->conf, check->ptemp);
    if (problem) {
        ac_config_check_problem(check, find_directive(check), "AgentChatEventLog: '%s' %s", path, problem);
    }
}

/* httpd's first process ends after its children: it removes ended logs, which no process would remove in time. Not
 * at a reload. */
static apr_status_t event_logs_leave(void *baton)
{
    const ac_conf_t *conf = baton;
    if (conf->event_logs.dir && getpid() == conf->event_logs.first_process &&
        ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_EXITING) {
        ac_event_scan_clean(conf->event_logs.dir);
    }
    return APR_SUCCESS;
}

void ac_event_logs_prepare(ac_config_check_t *check)
{
    ac_conf_t *conf = check->conf;
    apr_pool_t *p = check->p;
    conf->event_logs.first_process = getpid();
    apr_pool_cleanup_register(p, conf, event_logs_leave, apr_pool_cleanup_null);
    apr_status_t status;
    char reason[120];
    conf->memory_dir = memory_dir(conf, p);
    conf->event_logs.dir = configured_dir(conf, p);
    if (conf->event_logs.dir) {
        status = make_dir(conf->event_logs.dir);
        if (status != APR_SUCCESS) {
            ac_config_check_problem(check, find_directive(check),
                                    "AgentChatEventLog: '%s' cannot be made, or is not a directory that only httpd's "
                                    "user may use (mode 0700): %s",
                                    conf->event_logs.dir, apr_strerror(status, reason, sizeof(reason)));
        }
        return;
    }
    if (strcmp(conf->event_logs.wanted, "off") == 0) {
        return;
    }
    const char *path = conf->memory_dir;
    status = path ? APR_SUCCESS : APR_ENOENT;
    if (status != APR_SUCCESS && access(conf->state_dir, F_OK) == 0) {
        path = apr_pstrcat(p, conf->state_dir, "/events", NULL);
        status = make_dir(path);
    }
    if (status == APR_SUCCESS) {
        conf->event_logs.dir = path;
    } else {
        ac_log(AC_M512, status, "event logs: no directory can be used; name one in AgentChatEventLog");
    }
}

/* The limit of all logs in bytes; 0: no limit, since the size of their file system is not known. */
static uint64_t max_total(const ac_conf_t *conf)
{
    struct statvfs info;
    if (conf->event_logs.total) {
        return (uint64_t)conf->event_logs.total;
    }
    return statvfs(conf->event_logs.dir, &info) ? 0 : (uint64_t)info.f_blocks * info.f_frsize / 4;
}

void ac_event_logs_open(ac_child_t *child)
{
    const ac_conf_t *conf = child->conf;
    if (!conf->event_logs.dir) {
        return;
    }
    apr_status_t status =
        ac_event_dir_open(&child->event_dir, conf->event_logs.dir, (size_t)conf->event_logs.max, max_total(conf));
    if (status != APR_SUCCESS) {
        ac_log(AC_M512, status, "event logs: this process has no directory below %s yet; each run tries again. %s",
               conf->event_logs.dir, ac_event_outage_remedy(status));
    }
    ac_engine_use_dir(child->engine, child->event_dir);
}
