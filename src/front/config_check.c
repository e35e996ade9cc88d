/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the configuration as a whole can work, found out before anything starts: `apachectl configtest` runs this. */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ap_provider.h"
#include "unixd.h"

APLOG_USE_MODULE(agentchat);

#define PROBLEM_SIZE 1024

void ac_check_problem(ac_check_t *check, const ap_directive_t *at, const char *fmt, ...)
{
    char text[PROBLEM_SIZE];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    check->n_problems++;
    if (at) {
        ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, NULL, "Error on line %d of %s:", at->line_num, at->filename);
    }
    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, NULL, "%s", text);
}

static int index_of(const char *name)
{
    for (const command_rec *command = ac_directives; command->name; command++) {
        if (!strcmp(command->name, name)) return (int)(command - ac_directives);
    }
    return -1;
}

const ap_directive_t *ac_check_at(const ac_definition_t *head, const char *name)
{
    int i = index_of(name);
    return i >= 0 && head->given[i] ? head->given[i] : head->at;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char *ac_check_providers(ac_check_t *check, const char *group)
{
    const apr_array_header_t *known = ap_list_provider_names(check->ptemp, group, AC_PROVIDER_VERSION);
    apr_array_header_t *names = apr_array_make(check->ptemp, known->nelts, sizeof(const char *));
    for (int i = 0; i < known->nelts; i++) {
        APR_ARRAY_PUSH(names, const char *) = APR_ARRAY_IDX(known, i, ap_list_provider_names_t).provider_name;
    }
    qsort(names->elts, (size_t)names->nelts, sizeof(const char *), by_name);
    return ac_value_list(names, check->ptemp);
}

const ap_directive_t *ac_check_server_at(const ac_check_t *check, const char *name)
{
    int i = index_of(name);
    return i >= 0 ? check->config->given[i] : NULL;
}

/* ---- the store ---- */
/* now: also tell the provider; else its directory is yet to be made, and post_config does that. */
static void make_store(ac_check_t *check, bool now)
{
    ac_conf_t *conf = &check->config->conf;
    const ap_directive_t *at = ac_check_server_at(check, "AgentChatStore");
    if (!conf->store_spec) conf->store_spec = apr_pstrcat(check->p, "sqlite:", conf->state_dir, "/agentchat.db", NULL);
    const char *colon = ap_strchr_c(conf->store_spec, ':');
    if (!colon) {
        ac_check_problem(check, at, "AgentChatStore: '%s' is not PROVIDER:WHERE, like sqlite:/var/lib/agentchat/chat.db",
                         conf->store_spec);
        return;
    }
    const char *name = apr_pstrmemdup(check->p, conf->store_spec, (apr_size_t)(colon - conf->store_spec));
    conf->store.vt = ap_lookup_provider(AC_STORE_PROVIDER, name, AC_PROVIDER_VERSION);
    if (!conf->store.vt) {
        ac_check_problem(check, at, "AgentChatStore: there is no store provider '%s'; known are %s; further ones come with "
                         "modules of their own (LoadModule)", name, ac_check_providers(check, AC_STORE_PROVIDER));
        return;
    }
    if (!now) return;
    const char *problem = conf->store.vt->create(&conf->store.self, colon + 1, conf->store_options, check->p);
    if (problem) ac_check_problem(check, at, "AgentChatStore: %s", problem);
}

/* ---- the state directory ---- */
static bool needs_state_dir(const ac_check_t *check)
{
    const ac_config_t *config = check->config;
    bool needed = !ac_check_server_at(check, "AgentChatStore") || ac_check_server_at(check, "AgentChatStateDir") || config->saves_limits;
    for (int i = 0; i < config->defs.tools->nelts; i++) {
        const ac_tool_def_t *def = APR_ARRAY_IDX(config->defs.tools, i, const ac_tool_def_t *);
        needed = needed || (def->conf.provider && !strcmp(def->conf.provider, ac_tool_knowledge.name));
    }
    return needed;
}

/* Whether the children can write there. As root that is asked for the user that they will run as. */
static bool writable(const char *path, const struct stat *info)
{
    if (geteuid()) return access(path, W_OK | X_OK) == 0;
    if (info->st_uid == ap_unixd_config.user_id) return (info->st_mode & 0300) == 0300;
    if (info->st_gid == ap_unixd_config.group_id) return (info->st_mode & 0030) == 0030;
    if (!ap_unixd_config.user_id || ap_unixd_config.user_id == (uid_t)-1) return true;
    return (info->st_mode & 0003) == 0003;
}

/* Whether it is there already. */
static bool check_state_dir(ac_check_t *check)
{
    const char *path = check->config->conf.state_dir;
    const ap_directive_t *at = ac_check_server_at(check, "AgentChatStateDir");
    const char *user = geteuid() ? "the user that httpd is started by" : ap_unixd_config.user_name;
    struct stat info;
    if (stat(path, &info) == 0) {
        if (!S_ISDIR(info.st_mode)) {
            ac_check_problem(check, at, "AgentChatStateDir: '%s' is not a directory", path);
        } else if (!writable(path, &info)) {
            ac_check_problem(check, at, "AgentChatStateDir: '%s' cannot be written by %s; give it that owner", path, user);
        }
        return true;
    }
    const char *parent = ap_make_dirstr_parent(check->ptemp, path);
    if (stat(parent, &info) || access(parent, W_OK | X_OK)) {
        ac_check_problem(check, at, "AgentChatStateDir: '%s' is not there and cannot be made; make it, owned by %s, or "
                         "name another one", path, user);
    }
    return false;
}

/* Made here, before httpd gives up root, and given to the user that the children run as. */
static int make_state_dir(server_rec *s, const char *path)
{
    struct stat info;
    if (stat(path, &info) == 0) return OK;
    if (mkdir(path, 0750) || (!geteuid() && chown(path, ap_unixd_config.user_id, ap_unixd_config.group_id))) {
        ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, errno, s, "AgentChatStateDir: '%s' cannot be made", path);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

/* ---- hooks ---- */
int ac_config_check(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    ac_check_t check = {ac_config(), s, pconf, ptemp, 0};
    ac_conf_t *conf = &check.config->conf;
    (void)plog;
    int n_mounts = ac_mount_find(&check);
    ac_registry_build(&check);
    ac_config_check_keys(&check);
    conf->request_store_timeout = conf->engine.store_timeout;
    conf->active = n_mounts || conf->registry.agent_list->nelts;
    if (conf->active) {
        int n_problems = check.n_problems;
        conf->needs_state_dir = needs_state_dir(&check);
        bool there = !conf->needs_state_dir || check_state_dir(&check);
        make_store(&check, there && check.n_problems == n_problems);
    }
    return check.n_problems ? HTTP_INTERNAL_SERVER_ERROR : OK;
}

int ac_config_post(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    ac_check_t check = {ac_config(), s, pconf, ptemp, 0};
    ac_conf_t *conf = &check.config->conf;
    (void)plog;
    ac_log_front_install(s);
    if (!conf->active || ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) return OK;
    if (conf->needs_state_dir && make_state_dir(s, conf->state_dir) != OK) return HTTP_INTERNAL_SERVER_ERROR;
    if (ac_event_logs_prepare(conf, s, pconf) != OK || ac_limits_prepare(conf, s, pconf) != OK) return HTTP_INTERNAL_SERVER_ERROR;
    if (!conf->store.self) make_store(&check, true);
    return check.n_problems ? HTTP_INTERNAL_SERVER_ERROR : ac_caching_prepare(conf, s, pconf);
}
