/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the configuration as a whole can work, found out before anything starts: `apachectl configtest` runs this. */
#include "config.h"

#include "back/tools/tools.h"

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
    if (!check->config->conf.out_of_service) {
        check->config->conf.out_of_service = apr_pstrdup(check->p, text);
    }
    if (at) {
        ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, NULL, "Error on line %d of %s:", at->line_num,
                     at->filename);
    }
    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_ERR, 0, NULL, "%s", text);
}

static int index_of(const char *name)
{
    for (const command_rec *command = ac_directives; command->name; command++) {
        if (!strcmp(command->name, name)) {
            return (int)(command - ac_directives);
        }
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
    if (!conf->store_spec) {
        conf->store_spec = apr_pstrcat(check->p, "sqlite:", conf->state_dir, "/agentchat.db", NULL);
    }
    const char *colon = ap_strchr_c(conf->store_spec, ':');
    if (!colon) {
        ac_check_problem(check, at,
                         "AgentChatStore: '%s' is not PROVIDER:WHERE, like sqlite:/var/lib/agentchat/chat.db",
                         conf->store_spec);
        return;
    }
    const char *name = apr_pstrmemdup(check->p, conf->store_spec, (apr_size_t)(colon - conf->store_spec));
    conf->store.vt = ap_lookup_provider(AC_STORE_PROVIDER, name, AC_PROVIDER_VERSION);
    if (!conf->store.vt) {
        ac_check_problem(check, at,
                         "AgentChatStore: there is no store provider '%s'; known are %s; further ones come with "
                         "modules of their own (LoadModule)",
                         name, ac_check_providers(check, AC_STORE_PROVIDER));
        return;
    }
    if (!now) {
        return;
    }
    const char *problem = conf->store.vt->create(&conf->store.self, colon + 1, conf->store_options, check->p);
    if (problem) {
        ac_check_problem(check, at, "AgentChatStore: %s", problem);
    }
    if (!problem && (problem = ac_access_store_problem(&conf->store, check->ptemp)) != NULL) {
        ac_check_problem(check, at, "AgentChatStore: %s; httpd's processes run as %s", problem, ac_access_user());
    }
}

/* ---- the state directory ---- */
static bool needs_state_dir(const ac_check_t *check)
{
    const ac_config_t *config = check->config;
    bool needed = !ac_check_server_at(check, "AgentChatStore") || ac_check_server_at(check, "AgentChatStateDir") ||
        config->saves_limits;
    for (int i = 0; i < config->defs.tools->nelts; i++) {
        const ac_tool_def_t *def = APR_ARRAY_IDX(config->defs.tools, i, const ac_tool_def_t *);
        needed = needed || (def->conf.provider && !strcmp(def->conf.provider, ac_tool_knowledge.name));
    }
    return needed;
}

/* Whether it is there already. */
static bool check_state_dir(ac_check_t *check)
{
    const char *path = check->config->conf.state_dir;
    const ap_directive_t *at = ac_check_server_at(check, "AgentChatStateDir");
    struct stat info;
    char reason[120];
    const char *parent = ap_make_dirstr_parent(check->ptemp, path), *user = ac_access_user();
    bool there = stat(path, &info) == 0;
    int problem = there ? ac_access_as_child(path, W_OK | X_OK, check->ptemp)
                        : ac_access_as_child(parent, X_OK, check->ptemp);
    if (there && !S_ISDIR(info.st_mode)) {
        ac_check_problem(check, at, "AgentChatStateDir: '%s' is not a directory", path);
    } else if (!there && access(parent, W_OK | X_OK)) {
        ac_check_problem(check, at,
                         "AgentChatStateDir: '%s' is not there and cannot be made; make it, owned by %s, or "
                         "name another one",
                         path, user);
    } else if (problem) {
        ac_check_problem(
            check, at,
            "AgentChatStateDir: '%s' cannot be written by %s: %s; give it that owner, and let that user into the "
            "directories above",
            path, user, apr_strerror(problem, reason, sizeof(reason)));
    }
    return there;
}

/* Made here, before httpd gives up root, and given to the user that the children run as. */
static void make_state_dir(ac_check_t *check)
{
    const char *path = check->config->conf.state_dir;
    struct stat info;
    char reason[120];
    if (stat(path, &info) == 0) {
        return;
    }
    if (mkdir(path, 0750) || (!geteuid() && chown(path, ap_unixd_config.user_id, ap_unixd_config.group_id))) {
        ac_check_problem(check, ac_check_server_at(check, "AgentChatStateDir"),
                         "AgentChatStateDir: '%s' cannot be made: %s", path,
                         apr_strerror(errno, reason, sizeof(reason)));
    }
}

/* ---- certificates ---- */
static void check_ca_files(ac_check_t *check)
{
    const ac_definitions_t *defs = &check->config->defs;
    for (int i = 0; i < defs->models->nelts; i++) {
        const ac_model_def_t *def = APR_ARRAY_IDX(defs->models, i, const ac_model_def_t *);
        ac_access_check_file(check, ac_check_at(&def->head, "AgentChatCAFile"), "AgentChatCAFile", def->conf.ca_file);
    }
    for (int i = 0; i < defs->tools->nelts; i++) {
        const ac_tool_def_t *def = APR_ARRAY_IDX(defs->tools, i, const ac_tool_def_t *);
        ac_access_check_file(check, ac_check_at(&def->head, "AgentChatToolCAFile"), "AgentChatToolCAFile",
                             def->conf.ca_file);
    }
    ac_access_check_file(check, ac_check_server_at(check, "AgentChatShared"), "AgentChatShared: ca",
                         check->config->conf.shared.ca_file);
}

/* ---- hooks ---- */
/* Nothing is opened or made here. What the start needs is looked at, so that it cannot fail for a reason that could have been said. */
static void check_all(ac_check_t *check, int n_mounts)
{
    ac_conf_t *conf = &check->config->conf;
    ac_registry_build(check);
    ac_config_check_keys(check);
    conf->request_store_timeout = conf->engine.store_timeout;
    conf->active = n_mounts || conf->registry.agent_list->nelts;
    if (!conf->active) {
        return;
    }
    int n_problems = check->n_problems;
    conf->needs_state_dir = needs_state_dir(check);
    bool there = !conf->needs_state_dir || check_state_dir(check);
    make_store(check, there && check->n_problems == n_problems);
    ac_event_logs_check(check);
    check_ca_files(check);
}

int ac_config_check(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    ac_check_t check = {ac_config(), s, pconf, ptemp, 0};
    (void)plog;
    bool gaps = check.config->conf.out_of_service != NULL; /* where directives were refused */
    int n_mounts = ac_mount_find(&check);
    if (!gaps) {
        check_all(&check, n_mounts);
    }
    return ac_reload_result(&check);
}

int ac_config_post(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    ac_check_t check = {ac_config(), s, pconf, ptemp, 0};
    ac_conf_t *conf = &check.config->conf;
    (void)plog;
    ac_log_front_install(s);
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        return OK;
    }
    if (conf->active) {
        ac_blocking_streams_configure(&check);
    }
    if (conf->active && conf->needs_state_dir) {
        make_state_dir(&check);
    }
    if (conf->active && !check.n_problems) {
        ac_event_logs_prepare(&check);
    }
    if (conf->active && !check.n_problems) {
        ac_limits_prepare(&check);
    }
    if (conf->active && !check.n_problems && !conf->store.self) {
        make_store(&check, true);
    }
    if (conf->active && !check.n_problems) {
        ac_caching_prepare(&check);
    }
    int result = ac_reload_result(&check);
    if (result == OK && conf->out_of_service) {
        ac_reload_say(conf);
    }
    if (conf->active) {
        ac_park_wait_warn(conf);
    }
    return result;
}
