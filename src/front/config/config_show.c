/* SPDX-License-Identifier: Apache-2.0 */
/* The settings in force as JSON, default or given, by the table of directives. A secret is shown as its source;
 * values that may contain one, such as a header's value or the query of a URL, are masked. */
#include "config_internal.h"

#include "back/credential/credential.h"

#include <math.h>
#include <string.h>

#define MASK "***"

/* ---- masking ---- */

static bool names_secret(const char *name)
{
    static const char *const words[] = {"key",           "secret",    "password", "token", "credential",
                                        "authorization", "signature", "sig",      "code"};
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (ap_strcasestr(name, words[i])) {
            return true;
        }
    }
    return false;
}

/* Whether text names the source of a secret: env:NAME, file:PATH. */
static bool is_reference(const char *text)
{
    return strncmp(text, "env:", 4) == 0 || strncmp(text, "file:", 5) == 0 || strncmp(text, "keyvault:", 9) == 0 ||
        strncmp(text, "identity", 8) == 0 || strncmp(text, "oauth:", 6) == 0;
}

/* A URL with user and password masked, and with the values of its query masked that are not arguments. */
static const char *mask_url(const char *text, apr_pool_t *p)
{
    const char *host = strstr(text, "://"), *query = strchr(text, '?');
    const char *out = "";
    if (!host) {
        return text;
    }
    size_t len = strcspn(host + 3, "/?#");
    const char *at = memrchr(host + 3, '@', len), *rest = at ? at : host + 3;
    size_t middle = query ? (size_t)(query - rest) : strlen(rest);
    out = apr_pstrcat(p, apr_pstrmemdup(p, text, (size_t)(host + 3 - text)), at ? MASK : "",
                      apr_pstrmemdup(p, rest, middle), NULL);
    while (query && *query) {
        size_t part = 1 + strcspn(query + 1, "&"), name = strcspn(query, "=");
        bool shown = name < part && query[name + 1] == '{';
        size_t kept = shown ? part : name < part ? name + 1 : 1;
        out = apr_pstrcat(p, out, apr_pstrmemdup(p, query, kept), shown ? "" : MASK, NULL);
        query += part;
    }
    return out;
}

static json_t *word_json(const char *name, const char *text, apr_pool_t *p)
{
    if (!text) {
        return json_null();
    }
    return ac_json_text(name && names_secret(name) && !is_reference(text) ? MASK : mask_url(text, p));
}

/* Masks members whose names suggest secrets, at any depth. */
static json_t *mask_members(json_t *value)
{
    const char *name;
    size_t i;
    json_t *member,
        *out = json_is_object(value) ? json_object()
        : json_is_array(value)       ? json_array()
                                     : json_incref(value);
    json_array_foreach(value, i, member) json_array_append_new(out, mask_members(member));
    json_object_foreach(json_is_object(value) ? value : NULL, name, member)
    {
        ac_json_put(out, name,
                    names_secret(name) && !json_is_number(member) ? json_string(MASK) : mask_members(member));
    }
    return out;
}

/* ---- values, by their type ---- */

static int64_t integer(const void *field, size_t width)
{
    switch (width) {
    case 1: return *(const int8_t *)field;
    case 2: return *(const int16_t *)field;
    case 4: return *(const int32_t *)field;
    default: return *(const int64_t *)field;
    }
}

static const char *duration(apr_interval_time_t time, apr_pool_t *p)
{
    bool whole = time % APR_USEC_PER_SEC == 0;
    return apr_psprintf(p, "%" APR_INT64_T_FMT "%s", whole ? apr_time_sec(time) : apr_time_as_msec(time),
                        whole ? "s" : "ms");
}

static json_t *limits_json(const ac_limits_t *limits, apr_pool_t *p)
{
    json_t *list = json_array();
    for (int i = 0; limits && i < limits->n; i++) {
        const ac_limit_t *limit = &limits->list[i];
        const char *most = limit->measure == AC_LIMIT_COST ? apr_psprintf(p, "%.10g", (double)limit->most / AC_COST_ONE)
                                                           : apr_psprintf(p, "%" APR_INT64_T_FMT, limit->most);
        const char *window = ac_limit_window_name(limit->window);
        json_array_append_new(list,
                              ac_json_text(apr_pstrcat(p, ac_limit_measure_name(limit->measure), "=", most,
                                                       *window ? "/" : "", window, " by=", ac_limit_by_name(limit->by),
                                                       NULL)));
    }
    return list;
}

static json_t *words_json(const apr_array_header_t *words)
{
    json_t *list = json_array();
    for (int i = 0; words && i < words->nelts; i++) {
        json_array_append_new(list, ac_json_text(APR_ARRAY_IDX(words, i, const char *)));
    }
    return list;
}

static json_t *roles_json(const apr_array_header_t *roles)
{
    json_t *list = json_array();
    for (int i = 0; roles && i < roles->nelts; i++) {
        const ac_role_t *role = &APR_ARRAY_IDX(roles, i, ac_role_t);
        json_array_append_new(list, json_pack("{s:s, s:s}", "role", role->role, "owner", role->owner));
    }
    return list;
}

static json_t *telemetry_json(const apr_array_header_t *exporters, apr_pool_t *p)
{
    json_t *list = json_array();
    for (int i = 0; exporters && i < exporters->nelts; i++) {
        const ac_exporter_conf_t *exporter = &APR_ARRAY_IDX(exporters, i, ac_exporter_conf_t);
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:b, s:s?}", "url", mask_url(exporter->url, p), "type",
                                        exporter->format->content_type, "gzip", exporter->gzip, "credential",
                                        exporter->credential ? ac_credential_spec(exporter->credential) : NULL));
    }
    return list;
}

static void put_pairs(json_t *out, const apr_table_t *table, apr_pool_t *p)
{
    const apr_array_header_t *pairs = table ? apr_table_elts(table) : NULL;
    for (int i = 0; pairs && i < pairs->nelts; i++) {
        const apr_table_entry_t *pair = &APR_ARRAY_IDX(pairs, i, apr_table_entry_t);
        ac_json_put(out, pair->key, word_json(pair->key, pair->val, p));
    }
}

static json_t *pairs_json(const apr_table_t *table, apr_pool_t *p)
{
    json_t *out = json_object();
    put_pairs(out, table, p);
    return out;
}

static json_t *headers_json(const apr_array_header_t *headers)
{
    json_t *out = json_object();
    for (int i = 0; headers && i < headers->nelts; i++) {
        const ac_tool_header_t *header = &APR_ARRAY_IDX(headers, i, ac_tool_header_t);
        ac_json_put(out, header->name, ac_json_text(header->secret.spec ? header->secret.spec : MASK));
    }
    return out;
}

static json_t *credential_json(const ac_credential_t *credential)
{
    return ac_json_text(credential ? ac_credential_spec(credential) : NULL);
}

/* The n-th of "auto|1.1|2". */
static json_t *choice_json(const char *choices, int64_t n, apr_pool_t *p)
{
    while (n-- > 0 && strchr(choices, '|')) {
        choices = strchr(choices, '|') + 1;
    }
    return ac_json_text(apr_pstrmemdup(p, choices, strcspn(choices, "|")));
}

static json_t *leave_json(apr_interval_time_t time, apr_pool_t *p)
{
    return ac_json_text(time < 0    ? "continue"
                            : !time ? "cancel"
                                    : apr_pstrcat(p, "cancel-after=", duration(time, p), NULL));
}

static json_t *schemes_json(const apr_array_header_t *schemes)
{
    json_t *out = json_object();
    for (int i = 0; schemes && i < schemes->nelts; i++) {
        const ac_openapi_credential_t *one = &APR_ARRAY_IDX(schemes, i, ac_openapi_credential_t);
        ac_json_put(out, one->scheme, credential_json(one->auth));
    }
    return out;
}

static json_t *value_json(const char *name, const ac_value_t *value, const void *target, apr_pool_t *p)
{
    const void *field = (const char *)target + value->offset;
    switch (value->type) {
    case AC_VALUE_FLAG:
    case AC_VALUE_SWITCH: return json_boolean(integer(field, value->width));
    case AC_VALUE_INT:
    case AC_VALUE_SIZE: return json_integer(integer(field, value->width));
    case AC_VALUE_PERCENT: return ac_json_text(apr_psprintf(p, "%d%%", (int)integer(field, value->width)));
    case AC_VALUE_NUMBER: return isfinite(*(const double *)field) ? json_real(*(const double *)field) : json_null();
    case AC_VALUE_DURATION: return ac_json_text(duration(integer(field, value->width), p));
    case AC_VALUE_LEAVE: return leave_json(*(const apr_interval_time_t *)field, p);
    case AC_VALUE_RANK: return choice_json(value->min, integer(field, value->width), p);
    case AC_VALUE_CURRENCY: return ac_json_text(field);
    case AC_VALUE_DOCUMENT:
    case AC_VALUE_MEMBER: return *(json_t *const *)field ? mask_members(*(json_t *const *)field) : json_null();
    case AC_VALUE_SECRET: return ac_json_text(((const ac_secret_t *)field)->spec);
    case AC_VALUE_CREDENTIAL: return credential_json(*(const ac_credential_t *const *)field);
    case AC_VALUE_SCHEME: return schemes_json(*(const apr_array_header_t *const *)field);
    case AC_VALUE_WORDS: return words_json(*(const apr_array_header_t *const *)field);
    case AC_VALUE_PAIR: return pairs_json(*(const apr_table_t *const *)field, p);
    case AC_VALUE_HEADER: return headers_json(*(const apr_array_header_t *const *)field);
    case AC_VALUE_LIMITS: return limits_json(*(const ac_limits_t *const *)field, p);
    case AC_VALUE_ROLE: return roles_json(*(const apr_array_header_t *const *)field);
    case AC_VALUE_TELEMETRY: return telemetry_json(((const ac_telemetry_conf_t *)field)->exporters, p);
    case AC_VALUE_TEXT: return ac_json_text(*(const char *const *)field);
    default: return word_json(name, *(const char *const *)field, p);
    }
}

static json_t *keys_json(const ac_setting_t *setting, const void *target, apr_pool_t *p)
{
    json_t *out = json_object();
    for (const ac_key_t *key = setting->keys; key->name; key++) {
        if (key->value.type == AC_VALUE_PAIR) {
            put_pairs(out, *(const apr_table_t *const *)((const char *)target + key->value.offset), p);
        } else {
            ac_json_put(out, *key->name ? key->name : "value", value_json(NULL, &key->value, target, p));
        }
    }
    return out;
}

/* Whether the value is masked entirely: a tool's body can contain anything. */
static bool is_masked(const ac_setting_t *setting)
{
    return setting->where == AC_CONFIG_IN_TOOL && setting->value.offset == offsetof(ac_tool_def_t, conf.body);
}

static json_t *settings_json(ac_config_where_e where, const void *target, apr_pool_t *p)
{
    json_t *out = json_object();
    for (const command_rec *command = ac_directives; command->name; command++) {
        const ac_setting_t *setting = ac_config_row(command);
        if (!setting || setting->where != where) {
            continue;
        }
        json_t *value = setting->keys ? keys_json(setting, target, p) : value_json(NULL, &setting->value, target, p);
        if (is_masked(setting) && json_is_string(value)) {
            json_decref(value);
            value = json_string(MASK);
        }
        ac_json_put(out, setting->name, value);
    }
    return out;
}

static json_t *definitions_json(const apr_array_header_t *definitions, ac_config_where_e where, apr_pool_t *p)
{
    json_t *out = json_object();
    for (int i = 0; definitions && i < definitions->nelts; i++) {
        const ac_definition_t *definition = APR_ARRAY_IDX(definitions, i, const ac_definition_t *);
        ac_json_put(out, definition->id, settings_json(where, definition, p));
    }
    return out;
}

json_t *ac_config_show(const ac_mount_conf_t *mount, apr_pool_t *p)
{
    const ac_config_t *config = ac_conf_mutable();
    json_t *answer = json_object();
    ac_json_put(answer, "version", json_string(AC_VERSION));
    ac_json_put(answer, "server", settings_json(AC_CONFIG_IN_SERVER, &config->conf, p));
    ac_json_put(answer, "mount", settings_json(AC_CONFIG_IN_MOUNT, mount, p));
    ac_json_put(answer, "models", definitions_json(config->defs.models, AC_CONFIG_IN_MODEL, p));
    ac_json_put(answer, "tools", definitions_json(config->defs.tools, AC_CONFIG_IN_TOOL, p));
    ac_json_put(answer, "mcp", definitions_json(config->defs.mcp, AC_CONFIG_IN_MCP, p));
    ac_json_put(answer, "openapi", definitions_json(config->defs.openapi, AC_CONFIG_IN_OPENAPI, p));
    ac_json_put(answer, "webhooks", definitions_json(config->defs.webhooks, AC_CONFIG_IN_WEBHOOK, p));
    ac_json_put(answer, "agents", definitions_json(config->defs.agents, AC_CONFIG_IN_AGENT, p));
    return answer;
}
