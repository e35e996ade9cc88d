/* SPDX-License-Identifier: Apache-2.0 */
/* The memory of metrics in httpd: made by the parent on the pool of its process, so that it outlives reloads; counted
 * in by all children; read by any of them. */
#include "front_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ap_mpm.h"
#include "apr_strings.h"

#define METRICS_KEY "agentchat-metrics" /* userdata of the pool that outlives reloads */
#define MEASURE_EVERY apr_time_from_sec(5)

static ac_metrics_t *memory; /* NULL: nothing is counted */

/* A process of which nothing can be learned counts as one that runs. */
static bool process_lives(int64_t pid, int64_t started)
{
    int64_t now = ac_process_started(pid);
    return now < 0 || (now > 0 && (started == 0 || now == started));
}

/* ---- the parent: names, and their indexes ---- */

static void push_keys(apr_array_header_t *list, const apr_hash_t *hash, apr_pool_t *p)
{
    for (apr_hash_index_t *hi = hash ? apr_hash_first(p, (apr_hash_t *)hash) : NULL; hi; hi = apr_hash_next(hi)) {
        APR_ARRAY_PUSH(list, const char *) = apr_hash_this_key(hi);
    }
}

static void set_domain(ac_metric_names_t *names, ac_metric_domain_e domain, const apr_array_header_t *list)
{
    names->list[domain] = (const char *const *)list->elts;
    names->n[domain] = list->nelts;
}

static apr_array_header_t *new_list(apr_pool_t *p, const char *first)
{
    apr_array_header_t *list = apr_array_make(p, 32, sizeof(const char *));
    APR_ARRAY_PUSH(list, const char *) = first;
    return list;
}

static void name_fixed(ac_metric_names_t *names, apr_pool_t *p)
{
    apr_array_header_t *routes = new_list(p, "other other other"),
                       *operations = apr_array_make(p, AC_STORE_N_VERBS, sizeof(const char *));
    for (const ac_route_t *route = ac_routes; route->pattern; route++) {
        /* httpd has two names for M_GET, and answers with either. */
        APR_ARRAY_PUSH(routes, const char *) =
            apr_pstrcat(p, ac_metrics_protocol(ac_protocol_id(route)), " ",
                        route->method == M_GET ? "GET" : ap_method_name_of(p, route->method), " ", route->pattern,
                        NULL);
    }
    for (int verb = 0; verb < AC_STORE_N_VERBS; verb++) {
        char *name = apr_pstrdup(p, ac_store_verb_name((ac_store_verb_e)verb));
        for (char *at = name; *at; at++) {
            *at = *at == ' ' ? '_' : *at;
        }
        APR_ARRAY_PUSH(operations, const char *) = name;
    }
    set_domain(names, AC_DOMAIN_ROUTE, routes);
    set_domain(names, AC_DOMAIN_OPERATION, operations);
}

static void name_configured(ac_metric_names_t *names, const ac_conf_t *conf, apr_pool_t *p)
{
    const ac_registry_t *registry = &conf->registry;
    apr_array_header_t *agents = new_list(p, "other"), *models = new_list(p, "other"), *tools = new_list(p, "other"),
                       *currencies = new_list(p, "other"), *stores = new_list(p, "other"),
                       *webhooks = new_list(p, "other");
    for (int i = 0; registry->agent_list && i < registry->agent_list->nelts; i++) {
        APR_ARRAY_PUSH(agents, const char *) = APR_ARRAY_IDX(registry->agent_list, i, const ac_agent_t *)->id;
    }
    push_keys(models, registry->models, p);
    push_keys(tools, registry->tools, p);
    push_keys(tools, registry->agent_tools, p);
    push_keys(tools, registry->sources, p); /* its tools are not known yet, and count together */
    for (int i = 1; i < models->nelts; i++) {
        const ac_model_t *model =
            apr_hash_get((apr_hash_t *)registry->models, APR_ARRAY_IDX(models, i, const char *), APR_HASH_KEY_STRING);
        if (model->conf->price.currency[0]) {
            APR_ARRAY_PUSH(currencies, const char *) = model->conf->price.currency;
        }
    }
    if (conf->store.vt) {
        APR_ARRAY_PUSH(stores, const char *) = conf->store.vt->name;
    }
    set_domain(names, AC_DOMAIN_AGENT, agents);
    set_domain(names, AC_DOMAIN_MODEL, models);
    set_domain(names, AC_DOMAIN_TOOL, tools);
    set_domain(names, AC_DOMAIN_CURRENCY, currencies);
    set_domain(names, AC_DOMAIN_STORE, stores);
    for (int i = 0; i < conf->webhooks->nelts; i++) {
        APR_ARRAY_PUSH(webhooks, const char *) =
            ac_webhook_config_id(APR_ARRAY_IDX(conf->webhooks, i, const ac_webhook_t *));
    }
    set_domain(names, AC_DOMAIN_WEBHOOK, webhooks);
}

/* The objects are the configuration's own, and no child has them yet. */
static void set_indexes(ac_conf_t *conf, apr_pool_t *p)
{
    const ac_registry_t *registry = &conf->registry;
    for (int i = 0; registry->agent_list && i < registry->agent_list->nelts; i++) {
        ac_agent_t *agent = (ac_agent_t *)APR_ARRAY_IDX(registry->agent_list, i, const ac_agent_t *);
        agent->metric = ac_metrics_find(memory, AC_DOMAIN_AGENT, agent->id);
    }
    for (apr_hash_index_t *hi = registry->models ? apr_hash_first(p, (apr_hash_t *)registry->models) : NULL; hi;
         hi = apr_hash_next(hi)) {
        ac_model_t *model = apr_hash_this_val(hi);
        ((ac_model_conf_t *)model->conf)->metric = ac_metrics_find(memory, AC_DOMAIN_MODEL, model->id);
    }
    for (apr_hash_index_t *hi = registry->tools ? apr_hash_first(p, (apr_hash_t *)registry->tools) : NULL; hi;
         hi = apr_hash_next(hi)) {
        ac_tool_t *tool = apr_hash_this_val(hi);
        tool->metric = ac_metrics_find(memory, AC_DOMAIN_TOOL, tool->id);
    }
    for (apr_hash_index_t *hi = registry->agent_tools ? apr_hash_first(p, (apr_hash_t *)registry->agent_tools) : NULL;
         hi; hi = apr_hash_next(hi)) {
        ac_tool_t *tool = apr_hash_this_val(hi);
        tool->metric = ac_metrics_find(memory, AC_DOMAIN_TOOL, tool->source);
    }
    for (int i = 0; i < conf->openapi->nelts; i++) {
        ac_openapi_service_t *service = APR_ARRAY_IDX(conf->openapi, i, ac_openapi_service_t *);
        ac_openapi_service_set_metric(service,
                                      ac_metrics_find(memory, AC_DOMAIN_TOOL,
                                                      ac_openapi_service_source(service)->name));
    }
    for (int i = 0; i < conf->mcp->nelts; i++) {
        ac_mcp_upstream_t *server = APR_ARRAY_IDX(conf->mcp, i, ac_mcp_upstream_t *);
        ac_mcp_upstream_set_metric(server,
                                   ac_metrics_find(memory, AC_DOMAIN_TOOL, ac_mcp_upstream_source(server)->name));
    }
    for (int i = 0; i < conf->webhooks->nelts; i++) {
        ac_webhook_t *webhook = APR_ARRAY_IDX(conf->webhooks, i, ac_webhook_t *);
        ac_webhook_config_set_metric(webhook,
                                     ac_metrics_find(memory, AC_DOMAIN_WEBHOOK, ac_webhook_config_id(webhook)));
    }
    if (conf->store.vt) {
        conf->store.metric = ac_metrics_find(memory, AC_DOMAIN_STORE, conf->store.vt->name);
    }
}

void ac_metrics_front_prepare(ac_config_check_t *check)
{
    ac_metric_names_t names;
    void *keep = NULL, *before = NULL;
    int n_children = 1;
    ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &n_children);
    apr_pool_userdata_get(&keep, AC_KEEP_POOL, check->p);
    if (keep) {
        apr_pool_userdata_get(&before, METRICS_KEY, keep);
    }
    if (!before && !check->conf->active) {
        return; /* the module is loaded and not used */
    }
    ac_metrics_names_init(&names);
    name_fixed(&names, check->ptemp);
    name_configured(&names, check->conf, check->ptemp);
    memory = ac_metrics_create(&names, n_children, before);
    if (!memory) {
        ac_log(AC_M672, errno, "metrics: no memory; nothing is counted until httpd is restarted");
        return;
    }
    if (keep) {
        apr_pool_userdata_set(memory, METRICS_KEY, NULL, keep);
    }
    set_indexes(check->conf, check->ptemp);
}

/* ---- a child ---- */

static ac_timer_t measure_timer;

void ac_metrics_front_join(void)
{
    int64_t pid = (int64_t)getpid();
    ac_metrics_join(memory, pid, ac_process_started(pid), process_lives);
}

/* Linux 6.2 and later have the number of descriptors as the size of their directory. */
static int64_t count_descriptors(void)
{
    struct stat info;
    if (stat("/proc/self/fd", &info) == 0 && info.st_size > 0) {
        return info.st_size;
    }
    DIR *dir = opendir("/proc/self/fd");
    int64_t n = dir ? -3 : 0; /* ".", "..", and the directory itself */
    while (dir && readdir(dir)) {
        n++;
    }
    if (dir) {
        closedir(dir);
    }
    return n;
}

/* Source: proc(5), /proc/pid/statm, the second field, in pages. */
static int64_t resident_bytes(void)
{
    char text[128] = "";
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    long long size = 0, resident = 0;
    if (fd >= 0) {
        close(fd);
    }
    text[len > 0 ? len : 0] = '\0';
    return sscanf(text, "%lld %lld", &size, &resident) == 2 ? resident * sysconf(_SC_PAGESIZE) : 0;
}

/* A work thread: a child with many streams has many descriptors. */
static void measure_process(void *baton)
{
    struct rlimit limit;
    (void)baton;
    ac_metrics_gauge_set(AC_METRIC_RESIDENT_MEMORY, AC_NO_LABELS, resident_bytes());
    ac_metrics_gauge_set(AC_METRIC_OPEN_DESCRIPTORS, AC_NO_LABELS, count_descriptors());
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        ac_metrics_gauge_set(AC_METRIC_MAX_DESCRIPTORS, AC_NO_LABELS, (int64_t)limit.rlim_cur);
    }
}

static void measure(void *baton)
{
    ac_child_t *child = baton;
    ac_metrics_observe(AC_METRIC_LOOP_LAG, AC_NO_LABELS, ac_loop_longest_turn(child->loop), NULL);
    ac_work_post(child->work, measure_process, NULL, NULL);
    ac_timer_set(child->loop, &measure_timer, ac_loop_now(child->loop) + MEASURE_EVERY, measure, child);
}

void ac_metrics_front_watch(ac_child_t *child)
{
    if (memory) {
        ac_work_post(child->work, measure_process, NULL, NULL);
        ac_timer_set(child->loop, &measure_timer, ac_loop_now(child->loop) + MEASURE_EVERY, measure, child);
    }
}

void ac_metrics_front_unwatch(ac_child_t *child)
{
    ac_timer_cancel(child->loop, &measure_timer);
}

/* ---- requests ---- */

int ac_metrics_front_count(request_rec *r)
{
    const ac_request_t *rq = ac_request_get(r);
    if (!memory || (!rq && !ac_route_is_ours(r))) {
        return DECLINED;
    }
    const ac_route_t *route = ac_route_of(r);
    const request_rec *last = r;
    while (last->next) {
        last = last->next; /* an error page of httpd's has the status that the client got */
    }
    if (route && (route->needs & AC_IS_METRICS)) {
        return DECLINED;
    }
    unsigned index = route ? (unsigned)(route - ac_routes) + 1 : AC_METRIC_OTHER;
    if (!rq || !rq->streams) {
        ac_metrics_observe(AC_METRIC_REQUEST_DURATION, AC_LABELS(index), apr_time_now() - r->request_time,
                           rq ? &rq->trace : NULL);
    }
    ac_metrics_add(AC_METRIC_REQUESTS, AC_LABELS(index, ac_metrics_http_status(last->status)), 1);
    return DECLINED;
}

/* ---- reading ---- */

ac_metrics_reading_t *ac_metrics_front_read(void)
{
    ac_metrics_reading_t *reading = ac_alloc(sizeof *reading);
    ac_metrics_read_begin(reading, memory, process_lives);
    return reading;
}

static int64_t measure_event_logs(void)
{
    const ac_child_t *child = ac_child();
    return child && child->event_dir ? ac_event_dir_bytes(child->event_dir) : 0;
}

static ac_metric_model_t describe_model(const ac_model_t *model)
{
    const apr_table_t *options = model->conf->options;
    const char *name = options ? apr_table_get(options, "model") : NULL;
    name = name || !options ? name : apr_table_get(options, "deployment");
    return (ac_metric_model_t){ac_registry_provider_name(model), name ? name : model->id};
}

static ac_metric_naming_t name_for_exports(const ac_registry_t *registry, apr_pool_t *p)
{
    /* Names of earlier configurations may stand between those of this one. */
    unsigned n = 1;
    for (apr_hash_index_t *hi = apr_hash_first(p, (apr_hash_t *)registry->models); hi; hi = apr_hash_next(hi)) {
        unsigned i = ((const ac_model_t *)apr_hash_this_val(hi))->conf->metric;
        n = i >= n ? i + 1 : n;
    }
    for (int i = 0; i < registry->agent_list->nelts; i++) {
        unsigned k = APR_ARRAY_IDX(registry->agent_list, i, const ac_agent_t *)->metric;
        n = k >= n ? k + 1 : n;
    }
    ac_metric_model_t *models = apr_pcalloc(p, n * sizeof *models);
    const char **agents = apr_pcalloc(p, n * sizeof *agents);
    for (apr_hash_index_t *hi = apr_hash_first(p, (apr_hash_t *)registry->models); hi; hi = apr_hash_next(hi)) {
        const ac_model_t *model = apr_hash_this_val(hi);
        if (model->conf->metric != AC_METRIC_OTHER) {
            models[model->conf->metric] = describe_model(model);
        }
    }
    for (int i = 0; i < registry->agent_list->nelts; i++) {
        const ac_agent_t *agent = APR_ARRAY_IDX(registry->agent_list, i, const ac_agent_t *);
        if (agent->metric != AC_METRIC_OTHER) {
            agents[agent->metric] = agent->name ? agent->name : agent->id;
        }
    }
    return (ac_metric_naming_t){models, n, agents, n};
}

void ac_metrics_front_source(ac_export_source_t *source, const ac_conf_t *conf, apr_pool_t *p)
{
    source->metrics = memory;
    source->lives = process_lives;
    source->event_log_bytes = measure_event_logs;
    source->naming = name_for_exports(&conf->registry, p);
}

apr_status_t ac_metrics_front_text(ac_buf_t *out, ac_metrics_format_e format)
{
    char build[160];
    const char *mpm = ap_show_mpm();
    apr_snprintf(build, sizeof build, "version=\"%s\",httpd=\"%d.%d.%d\",mpm=\"%s\"", AC_VERSION,
                 AP_SERVER_MAJORVERSION_NUMBER, AP_SERVER_MINORVERSION_NUMBER, AP_SERVER_PATCHLEVEL_NUMBER, mpm);
    ac_metrics_view_t view = {.format = format,
                              .lives = process_lives,
                              .build = build,
                              .event_log_bytes = measure_event_logs()};
    return ac_metrics_text(out, memory, &view);
}
