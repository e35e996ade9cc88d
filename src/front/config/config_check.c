/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the configuration as a whole can work, found out before anything starts: `apachectl configtest` runs this. */
#include "config_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "ap_provider.h"

APLOG_USE_MODULE(agentchat);

#define PROBLEM_SIZE 1024

ac_check_t ac_check_begin(server_rec *s, apr_pool_t *p, apr_pool_t *ptemp)
{
    ac_config_t *config = ac_config();
    return (ac_check_t){&config->conf, config, s, p, ptemp, 0};
}

void ac_check_problem(ac_check_t *check, const ap_directive_t *at, const char *fmt, ...)
{
    char text[PROBLEM_SIZE];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    check->n_problems++;
    if (!check->conf->out_of_service) {
        check->conf->out_of_service = apr_pstrdup(check->p, text);
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
                         check->conf->shared.ca_file);
}

/* ---- hooks ---- */
/* Nothing is opened or made here. What the start needs is looked at, so that it cannot fail for a reason that could have been said. */
static void check_all(ac_check_t *check, int n_mounts)
{
    ac_conf_t *conf = check->conf;
    ac_registry_build(check);
    ac_config_check_keys(check);
    conf->request_store_timeout = conf->engine.store_timeout;
    conf->active = n_mounts || conf->registry.agent_list->nelts;
    if (!conf->active) {
        return;
    }
    int n_problems = check->n_problems;
    conf->needs_state_dir = ac_config_store_needs_dir(check);
    bool there = !conf->needs_state_dir || ac_config_store_check_dir(check);
    ac_config_store_create(check, there && check->n_problems == n_problems);
    ac_event_logs_check(check);
    check_ca_files(check);
}

int ac_config_check(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    ac_check_t check = ac_check_begin(s, pconf, ptemp);
    (void)plog;
    bool gaps = check.conf->out_of_service != NULL; /* where directives were refused */
    int n_mounts = ac_mount_find(&check);
    if (!gaps) {
        check_all(&check, n_mounts);
    }
    return ac_reload_result(&check);
}
