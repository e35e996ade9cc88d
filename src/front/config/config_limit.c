/* SPDX-License-Identifier: Apache-2.0 */
/* AgentChatLimit, in a section or an agent: lines of one section add up and replace those of the section around it. */
#include "config_internal.h"

/* Moves the limits of one kind out of limits. */
static ac_limits_t config_limit_take_out(ac_limits_t *limits, bool standard, apr_pool_t *p)
{
    ac_limits_t out = {.n = 0}, *kept = apr_pmemdup(p, limits, sizeof(*kept));
    limits->n = 0;
    for (int i = 0; i < kept->n; i++) {
        ac_limits_t *to = kept->list[i].standard == standard ? &out : limits;
        to->list[to->n++] = kept->list[i];
    }
    return out;
}

static bool has_measure(const ac_limits_t *limits, ac_measure_e measure)
{
    for (int i = 0; i < limits->n; i++) {
        if (limits->list[i].measure == measure) {
            return true;
        }
    }
    return false;
}

const char *ac_config_limit_set(const ac_limits_t **plimits, const char *args, apr_pool_t *p)
{
    ac_limits_t *limits = *plimits ? apr_pmemdup(p, *plimits, sizeof(*limits)) : apr_pcalloc(p, sizeof(*limits));
    ac_limits_t standard = config_limit_take_out(limits, true, p);
    ac_err_t err;
    ac_err_init(&err);
    if (ap_cstr_casecmp(args, "off") == 0) {
        limits->n = 0;
    } else if (ac_limit_parse(limits, args, AC_BY_OWNER, &err) != APR_SUCCESS) {
        return apr_pstrdup(p, err.detail);
    }
    for (int i = 0; limits->n && i < standard.n; i++) {
        if (!has_measure(limits, standard.list[i].measure)) {
            limits->list[limits->n++] = standard.list[i];
        }
    }
    *plimits = limits;
    return NULL;
}

/* Records the parts of the configuration that these limits need. */
static void note_needs(cmd_parms *cmd, const ac_limits_t *limits)
{
    for (int i = 0; i < limits->n; i++) {
        if (limits->list[i].measure == AC_LIMIT_COST && !ac_conf_mutable()->cost_limit) {
            ac_conf_mutable()->cost_limit = cmd->directive;
        }
        if (limits->list[i].window >= AC_SAVED_WINDOW) {
            ac_conf_mutable()->saves_limits = true;
        }
    }
}

/* The default limits that stay: runs= holds until a line of the section sets it. */
static const ac_limits_t *keep_runs(const ac_limits_t *limits, apr_pool_t *p)
{
    ac_limits_t *kept = apr_pcalloc(p, sizeof(*kept));
    for (int i = 0; limits && i < limits->n; i++) {
        if (limits->list[i].measure != AC_LIMIT_RUNS) {
            continue;
        }
        kept->list[kept->n] = limits->list[i];
        kept->list[kept->n++].standard = true;
    }
    return kept;
}

const char *ac_config_limit_set_mount(cmd_parms *cmd, ac_mount_conf_t *mount, const char *args, bool first)
{
    const server_rec *s = cmd->server;
    if (first) {
        mount->limits = keep_runs(mount->limits, cmd->pool);
    }
    const char *problem = ac_config_limit_set(&mount->limits, args, cmd->pool);
    if (problem) {
        return problem;
    }
    ac_limits_t *mine = (ac_limits_t *)mount->limits;
    mine->scope = apr_psprintf(cmd->pool, "place %s:%d %s",
                               s->is_virtual && s->server_hostname ? s->server_hostname : "",
                               s->is_virtual && s->addrs ? s->addrs->host_port : 0, cmd->path ? cmd->path : "");
    note_needs(cmd, mine);
    return NULL;
}

const char *ac_config_limit_set_agent(cmd_parms *cmd, ac_agent_def_t *def, const char *args)
{
    const char *problem = ac_config_limit_set(&def->agent.limits, args, cmd->pool);
    if (problem) {
        return problem;
    }
    ac_limits_t *mine = (ac_limits_t *)def->agent.limits;
    mine->scope = apr_pstrcat(cmd->pool, "agent ", def->agent.id, NULL);
    mine->label = "agent-";
    note_needs(cmd, mine);
    return NULL;
}

/* "redis:HOST:PORT", "redis:[IPv6]:PORT". */
static bool read_url(ac_conf_t *conf, apr_pool_t *p)
{
    const char *url = conf->shared.url, *colon = ap_strrchr_c(url, ':');
    if (strncmp(url, "redis:", 6) != 0 || colon < url + 6) {
        return false;
    }
    const char *host = url + 6, *end = colon;
    if (*host == '[' && end[-1] == ']') {
        host++, end--;
    } else if (memchr(host, ':', (size_t)(end - host))) {
        return false;
    }
    conf->shared.host = apr_pstrmemdup(p, host, (apr_size_t)(end - host));
    conf->shared.port = (int)apr_atoi64(colon + 1);
    return end > host && strspn(colon + 1, "0123456789") == strlen(colon + 1) && conf->shared.port > 0 &&
        conf->shared.port < 65536;
}

static void check_shared(ac_config_check_t *check)
{
    ac_conf_t *conf = check->conf;
    const ap_directive_t *at = ac_config_check_server_at(check, "AgentChatShared");
    if (!conf->shared.url) {
        return;
    }
    if (!read_url(conf, check->p)) {
        ac_config_check_problem(check, at,
                                "AgentChatShared: '%s' is not redis:HOST:PORT, like redis:cache.example.com:6380",
                                conf->shared.url);
    }
    if (conf->shared.user && !conf->shared.password.spec) {
        ac_config_check_problem(check, at,
                                "AgentChatShared: there is a user= and no password=; give it as env:NAME or file:PATH");
    }
    if (conf->shared.host && conf->shared.password.spec && !conf->shared.tls && !conf->shared.insecure &&
        !ac_http_address_near(conf->shared.host)) {
        ac_config_check_problem(
            check, at,
            "AgentChatShared: without tls=on the password is sent in clear text to %s; add tls=on, or insecure=on "
            "if the network is safe",
            conf->shared.host);
    }
    if (conf->shared.ca_file && !conf->shared.tls) {
        ac_config_check_problem(check, at, "AgentChatShared: ca= is for tls=on, which is not given");
    }
    if (strlen(conf->shared.prefix) > 40) {
        ac_config_check_problem(check, at, "AgentChatShared: prefix= has more than 40 characters");
    }
}

void ac_config_limit_check(ac_config_check_t *check)
{
    check_shared(check);
    const ac_config_t *config = check->config;
    const char *currency = NULL;
    for (int i = 0; config->cost_limit && i < config->defs.models->nelts; i++) {
        const ac_model_def_t *def = APR_ARRAY_IDX(config->defs.models, i, const ac_model_def_t *);
        const char *mine = def->conf.price.currency;
        if (!*mine) {
            ac_config_check_problem(check, config->cost_limit,
                                    "AgentChatLimit: there is a limit on cost, and model '%s' has no AgentChatPrice; "
                                    "give it one, or AgentChatPrice input=0 output=0 currency=USD if it is free",
                                    def->conf.id);
        } else if (currency && strcmp(mine, currency) != 0) {
            ac_config_check_problem(check, config->cost_limit,
                                    "AgentChatLimit: there is a limit on cost, and model '%s' is paid in %s, another "
                                    "one in %s; use one currency",
                                    def->conf.id, mine, currency);
        } else {
            currency = mine;
        }
    }
}
