/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts: each <Location "/path"> with `SetHandler agentchat`, found in httpd's own configuration, so that no
 * directive is needed. */
#include "config_internal.h"

#include <sys/stat.h>

#include "ap_expr.h"
#include "apr_fnmatch.h"
#include "util_cfgtree.h"

APLOG_USE_MODULE(agentchat);

typedef struct server_conf_t {    /* one per virtual host */
    apr_array_header_t *prefixes; /* of const char *: "/api", "" */
} server_conf_t;

void *ac_config_mount_create_server(apr_pool_t *p, server_rec *s)
{
    server_conf_t *conf = apr_pcalloc(p, sizeof *conf);
    (void)s;
    conf->prefixes = apr_array_make(p, 2, sizeof(const char *));
    return conf;
}

static bool config_mount_is_ours(const ap_directive_t *directive, apr_pool_t *p)
{
    const char *args = directive->args;
    return ap_cstr_casecmp(directive->directive, "SetHandler") == 0 &&
        ap_cstr_casecmp(ap_getword_conf(p, &args), "agentchat") == 0;
}

/* NULL where this section is a <Location> with a fixed path; else its description, for the error message. */
static const char *bad_section(const ap_directive_t *section, apr_pool_t *p)
{
    if (!section) {
        return "outside of any <Location>";
    }
    const char *args = apr_pstrmemdup(p, section->args, strlen(section->args));
    char *end = strrchr((char *)args, '>');
    if (end) {
        *end = '\0';
    }
    const char *path = ap_getword_conf(p, &args);
    bool fixed = ap_cstr_casecmp(section->directive, "<Location") == 0 && path[0] == '/' && !apr_fnmatch_test(path);
    return fixed ? NULL : apr_psprintf(p, "in %s %s", section->directive, section->args);
}

/* Collects each `SetHandler agentchat` of the tree in found, and reports those that cannot be a mount. */
static void config_mount_collect(ac_config_check_t *check, const ap_directive_t *first, apr_array_header_t *found)
{
    for (const ap_directive_t *directive = first; directive; directive = directive->next) {
        if (directive->first_child) {
            config_mount_collect(check, directive->first_child, found);
        }
        if (!config_mount_is_ours(directive, check->ptemp)) {
            continue;
        }
        const char *problem = bad_section(directive->parent, check->ptemp);
        if (problem) {
            ac_config_check_problem(
                check, directive,
                "SetHandler agentchat: stands %s, which has no fixed path for the routes; put it directly inside of "
                "<Location \"/path\">",
                problem);
        }
        APR_ARRAY_PUSH(found, const ap_directive_t *) = directive;
    }
}

/* The SetHandler that makes this section a mount; NULL: it is not a mount. The core keeps the argument as a compiled
 * expression, whose file and line identify the directive. */
static const ap_directive_t *mount_of(const core_dir_config *section, const apr_array_header_t *found)
{
    const ap_expr_info_t *handler = section->expr_handler;
    for (int i = 0; handler && i < found->nelts; i++) {
        const ap_directive_t *directive = APR_ARRAY_IDX(found, i, const ap_directive_t *);
        if ((int)handler->line_number == directive->line_num && handler->filename &&
            strcmp(handler->filename, directive->filename) == 0) {
            return directive;
        }
    }
    return NULL;
}

/* <Location "/health"> is a mount at the root of the server for that route alone: the route has its own name, and
 * nothing is below it. */
static bool is_route(const char *path)
{
    for (const ac_route_t *route = ac_routes; route->pattern; route++) {
        if ((route->needs & AC_MAY_BE_MOUNT) && strcmp(route->pattern, path) == 0) {
            return true;
        }
    }
    return false;
}

static const char *prefix_of(const char *path, apr_pool_t *p)
{
    size_t len = is_route(path) ? 0 : strlen(path);
    while (len && path[len - 1] == '/') {
        len--;
    }
    return apr_pstrmemdup(p, path, len);
}

/* Checks settings that contradict each other, of one mount and of the server. */
static void check_mount(ac_config_check_t *check, server_rec *s, ap_conf_vector_t *section, const ap_directive_t *at)
{
    void *base = ap_get_module_config(s->lookup_defaults, &agentchat_module),
         *add = ap_get_module_config(section, &agentchat_module);
    const ac_mount_conf_t *mount = base && add ? ac_mount_conf_merge(check->ptemp, base, add) : add ? add : base;
    /* Otherwise every site could read the threads of each visitor. */
    if (mount && ac_config_section_is_open(mount) && mount->cors_credentials > 0) {
        ac_config_check_problem(
            check, at,
            "AgentChatCORSOrigin: '*' cannot be combined with AgentChatCORSCredentials on: every site could read "
            "the threads of its visitors; list the allowed origins");
    }
}

/* ---- a mount outside of all virtual hosts, which is in every one of them ---- */
static bool in_virtual_host(const ap_directive_t *at)
{
    for (at = at->parent; at; at = at->parent) {
        if (ap_cstr_casecmp(at->directive, "<VirtualHost") == 0) {
            return true;
        }
    }
    return false;
}

/* As httpd matches a <Location>: a whole segment, or everything where the path ends with a slash. */
static bool lies_in(const char *uri, const char *path)
{
    size_t len = strlen(path);
    return strncmp(uri, path, len) == 0 && (!uri[len] || uri[len] == '/' || (len && path[len - 1] == '/'));
}

/* The directory or program that the virtual host's own directives map to this path or below it; NULL: none. */
static const char *find_alias(const server_rec *s, const char *path, apr_pool_t *p)
{
    const ap_directive_t *host = ap_conftree;
    while (host &&
           !(host->first_child && s->defn_name && host->line_num == (int)s->defn_line_number &&
             strcmp(host->filename, s->defn_name) == 0)) {
        host = host->next;
    }
    for (const ap_directive_t *at = host ? host->first_child : NULL; at; at = at->next) {
        const char *args = at->args;
        bool maps = ap_cstr_casecmp(at->directive, "Alias") == 0 ||
            ap_cstr_casecmp(at->directive, "ScriptAlias") == 0 ||
            ap_cstr_casecmp(at->directive, "WSGIScriptAlias") == 0;
        if (maps && lies_in(ap_getword_conf(p, &args), path)) {
            return ap_getword_conf(p, &args);
        }
    }
    return NULL;
}

/* Warns where the mount hides content of the site. */
static void warn_of_cover(const ac_config_check_t *check, server_rec *s, const char *path, const ap_directive_t *at)
{
    const core_server_config *core = ap_get_core_module_config(s->module_config);
    const char *content = find_alias(s, path, check->ptemp);
    struct stat info;
    if (!content && path[1] && core->ap_document_root) {
        content = apr_pstrcat(check->ptemp, core->ap_document_root, path, NULL);
        if (stat(content, &info)) {
            return;
        }
    }
    if (!content) {
        return;
    }
    ap_log_error(
        APLOG_MARK, APLOG_STARTUP | APLOG_WARNING, 0, NULL,
        "SetHandler agentchat: the mount %s at %s stands outside of all "
        "virtual hosts, and hides what '%s' (%s:%u) has there, %s; put it into the <VirtualHost> that it is for",
        path, ac_config_define_where(at, check->ptemp), s->server_hostname ? s->server_hostname : "",
        s->defn_name ? s->defn_name : "", s->defn_line_number, content);
}

/* ---- what each server has ---- */
/* Returns how many mounts of this server need an agent. */
static int find_of_server(ac_config_check_t *check, server_rec *s, const apr_array_header_t *found)
{
    int n = 0;
    const core_server_config *core = ap_get_core_module_config(s->module_config);
    server_conf_t *conf = ac_config_mount_create_server(check->p, s);
    for (int i = 0; core && core->sec_url && i < core->sec_url->nelts; i++) {
        ap_conf_vector_t *sections = APR_ARRAY_IDX(core->sec_url, i, ap_conf_vector_t *);
        const core_dir_config *section = ap_get_core_module_config(sections);
        if (!section || !section->d || section->r || section->d_is_fnmatch) {
            continue;
        }
        const ap_directive_t *at = mount_of(section, found);
        if (!at) {
            continue;
        }
        APR_ARRAY_PUSH(conf->prefixes, const char *) = apr_pstrdup(check->p, section->d);
        n += !is_route(section->d);
        check_mount(check, s, sections, at);
        if (s->is_virtual && !in_virtual_host(at)) {
            warn_of_cover(check, s, section->d, at);
        }
    }
    /* A virtual host without a directive of ours shares the main server's configuration, but not its mounts. */
    ap_set_module_config(s->module_config, &agentchat_module, conf);
    return n;
}

int ac_config_mount_find(ac_config_check_t *check)
{
    apr_array_header_t *found = apr_array_make(check->ptemp, 4, sizeof(const ap_directive_t *));
    int n = 0;
    config_mount_collect(check, ap_conftree, found);
    for (server_rec *s = check->server; s; s = s->next) {
        n += find_of_server(check, s, found);
    }
    if (n && !check->config->defs.agents->nelts) {
        ac_config_check_problem(check, APR_ARRAY_IDX(found, 0, const ap_directive_t *),
                                "SetHandler agentchat: there is no agent; define one with <AgentChatAgent>");
    }
    return n;
}

bool ac_config_mount_is_in(const server_rec *s)
{
    const server_conf_t *conf = ap_get_module_config(s->module_config, &agentchat_module);
    return conf && conf->prefixes->nelts;
}

bool ac_config_mount_is_here(request_rec *r)
{
    const core_dir_config *core = ap_get_core_module_config(r->per_dir_config);
    const char *handler = core->handler, *problem = NULL;
    if (core->expr_handler) {
        handler = ap_expr_str_exec(r, core->expr_handler, &problem);
    }
    return handler && !problem && strcmp(handler, "agentchat") == 0;
}

const char *ac_config_mount_prefix(const request_rec *r)
{
    const server_conf_t *conf = ap_get_module_config(r->server->module_config, &agentchat_module);
    const char *longest = NULL;
    for (int i = 0; r->uri && i < conf->prefixes->nelts; i++) {
        const char *path = APR_ARRAY_IDX(conf->prefixes, i, const char *);
        if (lies_in(r->uri, path) && (!longest || strlen(path) > strlen(longest))) {
            longest = path;
        }
    }
    return longest ? prefix_of(longest, r->pool) : NULL;
}
