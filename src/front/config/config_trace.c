/* SPDX-License-Identifier: Apache-2.0 */
/* What all telemetry has in common: its resource, the sampler, and whether there is any. */
#include "config_internal.h"

#include <stdlib.h>

#define INSTANCE_KEY "agentchat-instance" /* userdata of the pool that outlives reloads */

/* ---- the resource ---- */

/* "a=b,c=d", percent-encoded. What is not of this form is left out, as the SDKs do. */
static void add_attributes(apr_table_t *attributes, const char *text, apr_pool_t *p)
{
    char *state = NULL;
    for (char *pair = apr_strtok(apr_pstrdup(p, text), ",", &state); pair; pair = apr_strtok(NULL, ",", &state)) {
        char *value = strchr(pair, '=');
        if (!value || value == pair) {
            continue;
        }
        *value++ = '\0';
        apr_collapse_spaces(pair, pair);
        if (ap_unescape_url_keep2f(value, 1) == OK && ac_utf8_valid(value, strlen(value)) &&
            ac_utf8_valid(pair, strlen(pair))) {
            apr_table_set(attributes, pair, value);
        }
    }
}

/* The same for all children, and through reloads: a counter that all of them add to is one series. */
static const char *instance_id(apr_pool_t *p)
{
    void *keep = NULL, *known = NULL;
    apr_pool_userdata_get(&keep, AC_KEEP_POOL, p);
    if (keep) {
        apr_pool_userdata_get(&known, INSTANCE_KEY, keep);
    }
    if (!known) {
        uint64_t high = ac_random(), low = ac_random(); /* a UUID of version 4 */
        known = apr_psprintf(keep ? keep : p, "%08x-%04x-4%03x-%04x-%04x%08x", (unsigned)(high >> 32),
                             (unsigned)(high >> 16 & 0xffff), (unsigned)(high & 0xfff),
                             (unsigned)(low >> 48 & 0x3fff) | 0x8000, (unsigned)(low >> 32 & 0xffff), (unsigned)low);
        if (keep) {
            apr_pool_userdata_set(known, INSTANCE_KEY, NULL, keep);
        }
    }
    return known;
}

static int push_pair(void *baton, const char *name, const char *value)
{
    APR_ARRAY_PUSH((apr_array_header_t *)baton, ac_otlp_pair_t) = (ac_otlp_pair_t){name, value};
    return 1;
}

static void make_resource(ac_config_check_t *check)
{
    char host[APRMAXHOSTLEN + 1] = "";
    ac_telemetry_conf_t *telemetry = &check->conf->telemetry;
    apr_table_t *attributes = apr_table_make(check->p, 8);
    const char *variables = getenv("OTEL_RESOURCE_ATTRIBUTES"), *service = getenv("OTEL_SERVICE_NAME");
    apr_table_set(attributes, "service.name", "agentchat");
    apr_table_set(attributes, "service.version", AC_VERSION);
    apr_table_set(attributes, "service.instance.id", instance_id(check->p));
    if (apr_gethostname(host, sizeof host, check->ptemp) == APR_SUCCESS && *host) {
        apr_table_set(attributes, "host.name", host);
    }
    apr_table_set(attributes, "telemetry.sdk.name", AC_OTLP_SCOPE);
    apr_table_set(attributes, "telemetry.sdk.version", AC_VERSION);
    add_attributes(attributes, variables ? variables : "", check->ptemp);
    if (service && *service) {
        apr_table_set(attributes, "service.name", service);
    }
    if (telemetry->attributes) {
        apr_table_overlap(attributes, telemetry->attributes, APR_OVERLAP_TABLES_SET);
    }
    apr_array_header_t *pairs = apr_array_make(check->p, 8, sizeof(ac_otlp_pair_t));
    apr_table_do(push_pair, pairs, attributes, NULL);
    telemetry->resource =
        (ac_otlp_resource_t){(const ac_otlp_pair_t *)pairs->elts, pairs->nelts, check->conf->trace.names == 1};
}

/* ---- the sampler ---- */

static void make_sampler(ac_config_check_t *check)
{
    ac_telemetry_conf_t *telemetry = &check->conf->telemetry;
    const char *name = telemetry->sampler_text, *arg = NULL, *from = "AgentChatTraceSampler";
    if (name) {
        const char *equals = ap_strchr_c(name, '=');
        arg = equals ? equals + 1 : NULL;
        name = equals ? apr_pstrmemdup(check->ptemp, name, (apr_size_t)(equals - name)) : name;
    } else {
        from = "OTEL_TRACES_SAMPLER";
        name = getenv(from);
        arg = getenv("OTEL_TRACES_SAMPLER_ARG");
        arg = arg && *arg ? arg : NULL;
    }
    const char *problem =
        ac_span_parse_sampler(&telemetry->sampler, name && *name ? name : "parentbased_always_on", arg);
    if (problem) {
        ac_config_check_problem(check, ac_config_check_server_at(check, "AgentChatTraceSampler"), "%s: %s", from,
                                problem);
    }
}

void ac_config_trace_check(ac_config_check_t *check)
{
    ac_telemetry_conf_t *telemetry = &check->conf->telemetry;
    const char *disabled = getenv("OTEL_SDK_DISABLED");
    if (disabled && ap_cstr_casecmp(disabled, "true") == 0) {
        telemetry->exporters = NULL;
    }
    for (int i = 0; telemetry->exporters && i < telemetry->exporters->nelts; i++) {
        ac_exporter_conf_t *exporter = &APR_ARRAY_IDX(telemetry->exporters, i, ac_exporter_conf_t);
        ac_config_access_check_file(check, ac_config_check_server_at(check, "AgentChatTelemetry"),
                                    "AgentChatTelemetry: ca", exporter->ca_file);
        exporter->batch = telemetry->batch;
        exporter->delay = telemetry->delay;
        exporter->max_items = telemetry->queue;
        exporter->max_bytes = telemetry->bytes;
    }
    make_resource(check);
    make_sampler(check);
    ac_config_appinsights_complete(check);
}
