/* SPDX-License-Identifier: Apache-2.0 */
/* Where telemetry goes: AgentChatTelemetry, with what it leaves to the standard variables of OpenTelemetry, and the
 * directives beside it. A line makes an exporter for each signal. */
#include "config_internal.h"

#include "back/credential/credential.h"

#include "apr_lib.h"

#include <stdlib.h>

#define MONITOR_SCOPE "https://monitor.azure.com/.default"
#define BEARER "Authorization: Bearer "

static const char *const signal_names[AC_N_SIGNALS] = {"traces", "metrics", "logs"};

/* A line while it is read. */
typedef struct otlp_line_t {
    const char *url; /* NULL: as the variables say */
    const char *protocol, *compression, *signals, *credential, *header, *ca, *timeout;
    bool insecure;
    apr_table_t *rest; /* options of the credential */
} otlp_line_t;

/* ---- values ---- */

static const char *read_protocol(bool *pprotobuf, const char *text, apr_pool_t *p)
{
    if (strcmp(text, "grpc") == 0) {
        return "the protocol grpc is not supported; give protobuf or json, with the collector's address for HTTP, "
               "which is mostly port 4318";
    }
    *pprotobuf = strcmp(text, "protobuf") == 0 || strcmp(text, "http/protobuf") == 0;
    return *pprotobuf || strcmp(text, "json") == 0 || strcmp(text, "http/json") == 0
        ? NULL
        : apr_psprintf(p, "the protocol '%s' is neither protobuf nor json", text);
}

static const char *read_compression(bool *pgzip, const char *text, apr_pool_t *p)
{
    *pgzip = strcmp(text, "gzip") == 0;
    return *pgzip || strcmp(text, "none") == 0 ? NULL
                                               : apr_psprintf(p, "the compression '%s' is neither gzip nor none", text);
}

/* "traces,logs" → bits. */
const char *ac_config_telemetry_signals(unsigned *psignals, const char *text, apr_pool_t *p)
{
    char *state = NULL;
    *psignals = 0;
    for (char *word = apr_strtok(apr_pstrdup(p, text), ",", &state); word; word = apr_strtok(NULL, ",", &state)) {
        int i = 0;
        while (i < AC_N_SIGNALS && strcmp(word, signal_names[i]) != 0) {
            i++;
        }
        if (i == AC_N_SIGNALS) {
            return apr_psprintf(p, "signals: '%s' is not one of traces, metrics, logs", word);
        }
        *psignals |= 1u << i;
    }
    return *psignals ? NULL : "signals: no signal is given";
}

const char *ac_config_telemetry_timeout(apr_interval_time_t *ptimeout, const char *text, apr_pool_t *p)
{
    return ac_time_parse_duration(ptimeout, text) && *ptimeout >= apr_time_from_msec(100) &&
            *ptimeout <= apr_time_from_sec(600)
        ? NULL
        : apr_psprintf(p, "timeout: '%s' is not a duration from 100ms to 10min", text);
}

static const char *read_ca(const char **pca, const char *path, apr_pool_t *p)
{
    *pca = ap_server_root_relative(p, path);
    return *pca ? NULL : apr_psprintf(p, "ca: '%s' is not a path", path);
}

/* ---- the address ---- */

/* The signal whose own path the URL ends with, or AC_N_SIGNALS. */
static int signal_of_url(const char *url)
{
    size_t len = strcspn(url, "?#");
    for (int i = 0; i < AC_N_SIGNALS; i++) {
        char end[24];
        size_t n = (size_t)apr_snprintf(end, sizeof end, "/v1/%s", signal_names[i]);
        if (len > n && strncmp(url + len - n, end, n) == 0) {
            return i;
        }
    }
    return AC_N_SIGNALS;
}

static const char *check_url(const char *url, apr_pool_t *p)
{
    return ac_http_address_url_valid(url)
        ? NULL
        : apr_psprintf(p, "'%.*s' is not an http or https URL with a host", (int)strcspn(url, "?#@"), url);
}

static const char *join_url(const char *base, ac_signal_e signal, apr_pool_t *p)
{
    size_t len = strlen(base);
    while (len && base[len - 1] == '/') {
        len--;
    }
    return apr_psprintf(p, "%.*s/v1/%s", (int)len, base, signal_names[signal]);
}

/* ---- the variables ---- */

/* OTEL_EXPORTER_OTLP_TRACES_NAME, or else OTEL_EXPORTER_OTLP_NAME; NULL: neither has a value. */
static const char *telemetry_variable(ac_signal_e signal, const char *name, bool *pown, apr_pool_t *p)
{
    char *own = apr_pstrcat(p, "OTEL_EXPORTER_OTLP_", signal_names[signal], "_", name, NULL);
    for (char *at = own; *at; at++) {
        *at = apr_toupper(*at);
    }
    const char *text = getenv(own);
    *pown = text && *text;
    if (!*pown) {
        text = getenv(apr_pstrcat(p, "OTEL_EXPORTER_OTLP_", name, NULL));
    }
    return text && *text ? text : NULL;
}

/* "name=value,name2=value2", with values that are percent-encoded. They may be secrets, and are not repeated. */
static const char *read_headers(const char *const **pheaders, const char *text, apr_pool_t *p)
{
    char *state = NULL;
    apr_array_header_t *list = apr_array_make(p, 4, sizeof(const char *));
    for (char *pair = apr_strtok(apr_pstrdup(p, text), ",", &state); pair; pair = apr_strtok(NULL, ",", &state)) {
        char *value = strchr(pair, '=');
        if (!value) {
            return "OTEL_EXPORTER_OTLP_HEADERS is not of the form name=value,name2=value2";
        }
        *value++ = '\0';
        apr_collapse_spaces(pair, pair);
        while (apr_isspace(*value)) {
            value++;
        }
        for (char *end = value + strlen(value); end > value && apr_isspace(end[-1]); end--) {
            end[-1] = '\0';
        }
        if (ap_unescape_url_keep2f(value, 1) != OK || !*pair || *ap_scan_http_token(pair) ||
            *ap_scan_http_field_content(value)) {
            return apr_psprintf(p, "OTEL_EXPORTER_OTLP_HEADERS: '%s' and its value are not a header", pair);
        }
        APR_ARRAY_PUSH(list, const char *) = apr_pstrcat(p, pair, ": ", value, NULL);
    }
    APR_ARRAY_PUSH(list, const char *) = NULL;
    *pheaders = (const char *const *)list->elts;
    return NULL;
}

static const char *read_variables(ac_exporter_conf_t *exporter, bool *pprotobuf, ac_signal_e signal, apr_pool_t *p)
{
    bool own;
    const char *problem = NULL, *text = telemetry_variable(signal, "ENDPOINT", &own, p);
    exporter->url = text && own ? text : join_url(text ? text : "http://localhost:4318", signal, p);
    problem = check_url(exporter->url, p);
    if (!problem && (text = telemetry_variable(signal, "PROTOCOL", &own, p))) {
        problem = read_protocol(pprotobuf, text, p);
    }
    if (!problem && (text = telemetry_variable(signal, "COMPRESSION", &own, p))) {
        problem = read_compression(&exporter->gzip, text, p);
    }
    if (!problem && (text = telemetry_variable(signal, "HEADERS", &own, p))) {
        problem = read_headers(&exporter->headers, text, p);
    }
    if (!problem && (text = telemetry_variable(signal, "CERTIFICATE", &own, p))) {
        problem = read_ca(&exporter->ca_file, text, p);
    }
    if (!problem && (text = telemetry_variable(signal, "TIMEOUT", &own, p))) {
        apr_int64_t ms = apr_atoi64(text);
        exporter->timeout = apr_time_from_msec(ms > 0 && ms < 600000 ? ms : 10000);
    }
    return problem;
}

/* OTEL_TRACES_EXPORTER=none and its like. */
static bool variable_excludes(ac_signal_e signal)
{
    static const char *const names[AC_N_SIGNALS] = {"OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER",
                                                    "OTEL_LOGS_EXPORTER"};
    const char *text = getenv(names[signal]);
    return text && strcmp(text, "none") == 0;
}

/* ---- the credential ---- */

static const char *read_credential(ac_telemetry_conf_t *telemetry, ac_exporter_conf_t *exporter,
                                   const otlp_line_t *line, apr_pool_t *p)
{
    const char *spec = line->credential, *header = line->header;
    if (!spec) {
        return header ? "header= is for credential=, which is not given"
            : !apr_is_empty_table(line->rest)
            ? apr_psprintf(p, "'%s' is not a key of this directive",
                           ((const apr_table_entry_t *)apr_table_elts(line->rest)->elts)[0].key)
            : NULL;
    }
    if (strncmp(spec, "file:", 5) == 0) {
        const char *path = ap_server_root_relative(p, spec + 5);
        spec = path ? apr_pstrcat(p, "file:", path, NULL) : spec;
    }
    const char *problem = ac_credential_spec_create(&exporter->credential, spec, line->rest, p);
    if (problem) {
        return apr_pstrcat(p, "credential: ", problem, NULL);
    }
    const char *colon = header ? ap_strchr_c(header, ':') : NULL;
    const char *name = !header ? "Authorization"
        : colon                ? apr_pstrmemdup(p, header, (apr_size_t)(colon - header))
                               : header;
    if (!*name || *ap_scan_http_token(name) || (colon && *ap_scan_http_field_content(colon + 1))) {
        return apr_psprintf(p, "header: '%s' is not the name of a header", name);
    }
    const char *prefix = colon ? colon + 1 + strspn(colon + 1, " ") : "";
    exporter->credential_header = !header ? BEARER : apr_pstrcat(p, name, ": ", prefix, *prefix ? " " : "", NULL);
    exporter->scope = ac_credential_scope(exporter->credential, MONITOR_SCOPE);
    APR_ARRAY_PUSH(telemetry->credentials, ac_credential_t *) = exporter->credential;
    return NULL;
}

/* Without TLS a secret goes to this machine or network only. */
static const char *check_encryption(const ac_exporter_conf_t *exporter, bool insecure, apr_pool_t *p)
{
    const char *host = exporter->url + strlen("http://");
    if ((!exporter->credential && !exporter->headers) || insecure || strncasecmp(exporter->url, "http://", 7) != 0) {
        return NULL;
    }
    size_t len = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/?#");
    const char *name = *host == '[' ? apr_pstrmemdup(p, host + 1, len - 2) : apr_pstrmemdup(p, host, len);
    return ac_http_address_near(name)
        ? NULL
        : apr_psprintf(p,
                       "the credential would be sent in clear text to %s; use https, or add insecure=on if the "
                       "network is safe",
                       name);
}

/* ---- a line ---- */

static const char *set_option(otlp_line_t *line, const char *name, const char *value, apr_pool_t *p)
{
    static const struct {
        const char *name;
        size_t offset;
    } rows[] = {{"protocol", offsetof(otlp_line_t, protocol)}, {"compression", offsetof(otlp_line_t, compression)},
                {"signals", offsetof(otlp_line_t, signals)},   {"credential", offsetof(otlp_line_t, credential)},
                {"header", offsetof(otlp_line_t, header)},     {"ca", offsetof(otlp_line_t, ca)},
                {"timeout", offsetof(otlp_line_t, timeout)}};
    if (strcmp(name, "insecure") == 0) {
        line->insecure = ap_cstr_casecmp(value, "on") == 0;
        return line->insecure || ap_cstr_casecmp(value, "off") == 0 ? NULL
                                                                    : "insecure: the value is neither on nor off";
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strcmp(name, rows[i].name) == 0) {
            const char **field = (const char **)((char *)line + rows[i].offset);
            if (*field) {
                return apr_psprintf(p, "'%s' is given twice", name);
            }
            *field = value;
            return NULL;
        }
    }
    apr_table_set(line->rest, name, value);
    return NULL;
}

static const char *split_line(otlp_line_t *line, const char *args, apr_pool_t *p)
{
    line->rest = apr_table_make(p, 4);
    while (*args) {
        const char *word = ap_getword_conf(p, &args), *equals = ap_strchr_c(word, '=');
        if (!line->url && strstr(word, "://") && (!equals || equals > strstr(word, "://"))) {
            line->url = word;
            continue;
        }
        if (!equals || equals == word || !equals[1]) {
            /* The word is not repeated: it may be half of a secret. */
            return "the word after otlp is a URL, and the others are key=value; put a value with spaces in quotes";
        }
        const char *problem = set_option(line, apr_pstrmemdup(p, word, (apr_size_t)(equals - word)), equals + 1, p);
        if (problem) {
            return problem;
        }
    }
    return NULL;
}

static const char *set_signal(ac_exporter_conf_t *exporter, const otlp_line_t *line, ac_signal_e signal, apr_pool_t *p)
{
    bool protobuf = true;
    const char *problem = NULL;
    exporter->signals = 1u << signal;
    if (!line->url) {
        problem = read_variables(exporter, &protobuf, signal, p);
    } else {
        exporter->url = signal_of_url(line->url) < AC_N_SIGNALS ? line->url : join_url(line->url, signal, p);
    }
    if (!problem && line->protocol) {
        problem = read_protocol(&protobuf, line->protocol, p);
    }
    if (!problem && line->compression) {
        problem = read_compression(&exporter->gzip, line->compression, p);
    }
    if (!problem && line->ca) {
        problem = read_ca(&exporter->ca_file, line->ca, p);
    }
    if (!problem && line->timeout) {
        problem = ac_config_telemetry_timeout(&exporter->timeout, line->timeout, p);
    }
    exporter->format = ac_otlp_export_format(signal, protobuf);
    return problem ? problem : check_encryption(exporter, line->insecure, p);
}

static const char *add_otlp(ac_telemetry_conf_t *telemetry, const char *args, apr_pool_t *p)
{
    otlp_line_t line = {0};
    unsigned signals = (1u << AC_N_SIGNALS) - 1;
    ac_exporter_conf_t common;
    ac_exporter_conf_init(&common);
    const char *problem = split_line(&line, args, p);
    if (!problem && line.url) {
        problem = check_url(line.url, p);
    }
    if (!problem && line.url && signal_of_url(line.url) < AC_N_SIGNALS) {
        signals = 1u << signal_of_url(line.url);
    } else if (!problem && line.url && line.url[strcspn(line.url, "?#")]) {
        problem = "a URL with a query has to be the whole URL of one signal, which ends with /v1/traces or its like";
    }
    if (!problem && line.signals) {
        unsigned wanted = 0;
        problem = ac_config_telemetry_signals(&wanted, line.signals, p);
        if (!problem && line.url && signal_of_url(line.url) < AC_N_SIGNALS && wanted != signals) {
            problem = "the URL is that of one signal, and signals= names another";
        }
        signals = wanted;
    }
    if (!problem) {
        problem = read_credential(telemetry, &common, &line, p);
    }
    for (int i = 0; !problem && i < AC_N_SIGNALS; i++) {
        ac_exporter_conf_t exporter = common;
        if (!(signals & 1u << i) || (!line.url && !line.signals && variable_excludes((ac_signal_e)i))) {
            continue;
        }
        problem = set_signal(&exporter, &line, (ac_signal_e)i, p);
        if (!problem && exporter.format) {
            APR_ARRAY_PUSH(telemetry->exporters, ac_exporter_conf_t) = exporter;
        }
    }
    return problem;
}

const char *ac_config_telemetry_set(ac_telemetry_conf_t *telemetry, const char *args, apr_pool_t *p)
{
    const char *rest = args, *kind = ap_getword_conf(p, &rest);
    bool off = strcmp(kind, "off") == 0;
    if (!telemetry->exporters || off) {
        telemetry->exporters = apr_array_make(p, 4, sizeof(ac_exporter_conf_t));
        telemetry->credentials = apr_array_make(p, 2, sizeof(ac_credential_t *));
    }
    if (off) {
        return *rest ? "off has no further words" : NULL;
    }
    return strcmp(kind, "otlp") == 0       ? add_otlp(telemetry, rest, p)
        : strcmp(kind, "appinsights") == 0 ? ac_config_appinsights_add(telemetry, rest, p)
                                           : apr_psprintf(p, "'%s' is not one of otlp, appinsights, off", kind);
}
