/* SPDX-License-Identifier: Apache-2.0 */
/* A check of the configuration: reports problems, and finds the directives that cause them. */
#include "config_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "ap_provider.h"

APLOG_USE_MODULE(agentchat);

#define PROBLEM_SIZE 1024

ac_config_check_t ac_config_check_begin(server_rec *s, apr_pool_t *p, apr_pool_t *ptemp)
{
    ac_config_t *config = ac_conf_mutable();
    return (ac_config_check_t){&config->conf, config, s, p, ptemp, 0};
}

void ac_config_check_problem(ac_config_check_t *check, const ap_directive_t *at, const char *fmt, ...)
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

const ap_directive_t *ac_config_check_at(const ac_definition_t *definition, const char *name)
{
    int i = ac_config_row_find(name);
    return i >= 0 && definition->given[i] ? definition->given[i] : definition->at;
}

void ac_config_check_created(ac_config_check_t *check, const ac_definition_t *definition, const char *kind,
                             const char *problem)
{
    if (problem) {
        const char *name = apr_pstrmemdup(check->ptemp, problem, strcspn(problem, ": "));
        ac_config_check_problem(check, ac_config_check_at(definition, name), "%s '%s': %s", kind, definition->id,
                                problem);
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char *ac_config_check_providers(ac_config_check_t *check, const char *group)
{
    const apr_array_header_t *known = ap_list_provider_names(check->ptemp, group, AC_PROVIDER_VERSION);
    apr_array_header_t *names = apr_array_make(check->ptemp, known->nelts, sizeof(const char *));
    for (int i = 0; i < known->nelts; i++) {
        APR_ARRAY_PUSH(names, const char *) = APR_ARRAY_IDX(known, i, ap_list_provider_names_t).provider_name;
    }
    qsort(names->elts, (size_t)names->nelts, sizeof(const char *), by_name);
    return ac_config_value_list(names, check->ptemp);
}

const ap_directive_t *ac_config_check_server_at(const ac_config_check_t *check, const char *name)
{
    int i = ac_config_row_find(name);
    return i >= 0 ? check->config->given[i] : NULL;
}
