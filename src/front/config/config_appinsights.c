/* SPDX-License-Identifier: Apache-2.0 */
/* AgentChatTelemetry appinsights: Application Insights by its connection string, as the directive or the standard
 * variables have it; and how metrics are sent, to it and by OTLP. */
#include "config_internal.h"

#include "back/credential/credential.h"

#include <stdlib.h>

#define STRING_VARIABLE "APPLICATIONINSIGHTS_CONNECTION_STRING"
#define LOGIN_VARIABLE "APPLICATIONINSIGHTS_AUTHENTICATION_STRING"

typedef struct appinsights_line_t { /* while it is read */
    const char *string;             /* the connection string; NULL: in a variable */
    const char *variable, *signals, *credential, *timeout;
    apr_table_t *rest; /* options of the credential */
} appinsights_line_t;

static const char *add_word(appinsights_line_t *line, const char *word, apr_pool_t *p)
{
    static const struct {
        const char *name;
        size_t offset;
    } keys[] = {{"signals", offsetof(appinsights_line_t, signals)},
                {"credential", offsetof(appinsights_line_t, credential)},
                {"timeout", offsetof(appinsights_line_t, timeout)}};
    const char *equals = ap_strchr_c(word, '=');
    if (strncmp(word, "env:", 4) == 0 && word[4] && !line->variable && !line->string) {
        line->variable = word + 4;
        return NULL;
    }
    /* Words are not repeated: a connection string may be abused. */
    if (!equals || equals == word || !equals[1]) {
        return "the word after appinsights is a connection string in quotes, or env:NAME, and the others are key=value";
    }
    char *name = apr_pstrmemdup(p, word, (apr_size_t)(equals - word));
    if (ap_strchr_c(word, ';') || ap_cstr_casecmp(name, "InstrumentationKey") == 0) {
        const char *problem = line->string || line->variable ? "there are two connection strings" : NULL;
        line->string = word;
        return problem;
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char **field = (const char **)((char *)line + keys[i].offset);
        if (strcmp(name, keys[i].name) == 0) {
            const char *problem = *field ? apr_psprintf(p, "'%s' is given twice", name) : NULL;
            *field = equals + 1;
            return problem;
        }
    }
    apr_table_set(line->rest, name, equals + 1);
    return NULL;
}

static const char *read_target(ac_appinsights_target_t *target, const appinsights_line_t *line, apr_pool_t *p)
{
    ac_err_t err;
    const char *name = line->variable ? line->variable : STRING_VARIABLE, *text = line->string;
    if (!text) {
        text = getenv(name);
        if (!text || !*text) {
            return apr_psprintf(p, "the variable %s, which shall have the connection string, is not set", name);
        }
    }
    ac_err_init(&err);
    if (ac_appinsights_string_read(target, text, &err) == APR_SUCCESS) {
        return NULL;
    }
    return line->string ? apr_psprintf(p, "the connection string: %s", err.detail)
                        : apr_psprintf(p, "the connection string in the variable %s: %s", name, err.detail);
}

/* With a credential requests have a token; otherwise the key alone lets them in. */
static const char *read_login(ac_telemetry_conf_t *telemetry, ac_exporter_conf_t *exporter,
                              const appinsights_line_t *line, apr_pool_t *p)
{
    char client[AC_APPINSIGHTS_CLIENT_SIZE];
    bool identity = false;
    ac_err_t err;
    const char *spec = line->credential, *text = spec ? NULL : getenv(LOGIN_VARIABLE);
    ac_err_init(&err);
    if (text && ac_appinsights_string_authentication(&identity, client, text, &err) != APR_SUCCESS) {
        return apr_psprintf(p, "the variable " LOGIN_VARIABLE ": %s", err.detail);
    }
    if (identity) {
        spec = "identity";
        if (*client) {
            apr_table_set(line->rest, "client-id", client);
        }
    }
    if (!spec) {
        return apr_is_empty_table(line->rest)
            ? NULL
            : apr_psprintf(p, "'%s' is not a key of this directive",
                           ((const apr_table_entry_t *)apr_table_elts(line->rest)->elts)[0].key);
    }
    const char *problem = ac_credential_spec_create(&exporter->credential, spec, line->rest, p);
    if (problem) {
        return apr_pstrcat(p, "credential: ", problem, NULL);
    }
    if (ac_credential_kind(exporter->credential) != AC_CREDENTIAL_TOKEN) {
        return "credential: Application Insights wants a token; give identity";
    }
    exporter->credential_header = "Authorization: Bearer ";
    APR_ARRAY_PUSH(telemetry->credentials, ac_credential_t *) = exporter->credential;
    return NULL;
}

const char *ac_config_appinsights_add(ac_telemetry_conf_t *telemetry, const char *args, apr_pool_t *p)
{
    appinsights_line_t line = {.rest = apr_table_make(p, 4)};
    unsigned signals = (1u << AC_N_SIGNALS) - 1;
    ac_appinsights_target_t *target = apr_pcalloc(p, sizeof *target);
    ac_appinsights_source_t *source = apr_pcalloc(p, sizeof *source);
    ac_exporter_conf_t exporter;
    const char *problem = NULL;
    ac_exporter_conf_init(&exporter);
    while (*args && !problem) {
        problem = add_word(&line, ap_getword_conf(p, &args), p);
    }
    if (!problem) {
        problem = read_target(target, &line, p);
    }
    if (!problem && line.signals) {
        problem = ac_config_telemetry_signals(&signals, line.signals, p);
    }
    if (!problem && line.timeout) {
        problem = ac_config_telemetry_timeout(&exporter.timeout, line.timeout, p);
    }
    if (!problem) {
        problem = read_login(telemetry, &exporter, &line, p);
    }
    if (problem) {
        return problem;
    }
    source->key = target->key;
    exporter.url = target->url;
    exporter.scope = exporter.credential ? ac_credential_scope(exporter.credential, target->scope) : NULL;
    exporter.baton = source;
    exporter.own_redirects = true;
    for (int metrics = 0; metrics < 2; metrics++) {
        exporter.signals = signals & (metrics ? 1u << AC_SIGNAL_METRICS : ~(1u << AC_SIGNAL_METRICS));
        exporter.format = metrics ? &ac_export_metrics_appinsights : &ac_export_appinsights_format;
        if (exporter.signals) {
            APR_ARRAY_PUSH(telemetry->exporters, ac_exporter_conf_t) = exporter;
        }
    }
    return NULL;
}

/* ---- metrics ---- */

static const char *choose_setting(const char *given, const char *variable)
{
    const char *text = given ? given : getenv(variable);
    return text ? text : "";
}

void ac_config_appinsights_complete(ac_config_check_t *check)
{
    ac_telemetry_conf_t *telemetry = &check->conf->telemetry;
    const char *temporality =
                   choose_setting(telemetry->temporality, "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"),
               *histograms =
                   choose_setting(telemetry->histograms, "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION");
    telemetry->delta = ap_cstr_casecmp(temporality, "delta") == 0 || ap_cstr_casecmp(temporality, "lowmemory") == 0;
    telemetry->exponential = ap_cstr_casecmp(histograms, "exponential") == 0 ||
        ap_cstr_casecmp(histograms, "base2_exponential_bucket_histogram") == 0;
    if (!telemetry->interval) {
        const char *text = getenv("OTEL_METRIC_EXPORT_INTERVAL");
        apr_int64_t ms = text ? apr_atoi64(text) : 0;
        telemetry->interval = apr_time_from_msec(ms >= 10 && ms <= 86400000 ? ms : 60000);
    }
}
