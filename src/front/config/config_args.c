/* SPDX-License-Identifier: Apache-2.0 */
/* A directive's arguments, read by its row of the table: one value, words, a header, key=value. */
#include "config_internal.h"

#include "back/credential/credential.h"

#include "apr_lib.h"

/* ---- quotes ---- */
/* The text after one word, as ap_getword_conf() reads it; NULL: its quote is not closed. */
static const char *config_args_skip_word(const char *text)
{
    char quote = *text == '"' || *text == '\'' ? *text++ : '\0';
    while (*text && (quote ? *text != quote : !apr_isspace(*text))) {
        text += quote && *text == '\\' && (text[1] == quote || text[1] == '\\') ? 2 : 1;
    }
    if (quote && !*text) {
        return NULL;
    }
    text += quote != '\0';
    while (apr_isspace(*text)) {
        text++;
    }
    return text;
}

const char *ac_config_args_quote_problem(const char *args, int n_words)
{
    for (int n = 0; *args && (!n_words || n < n_words); n++) {
        char quote = *args;
        args = config_args_skip_word(args);
        if (!args) {
            return quote == '"' ? "a quote (\") is not closed" : "a quote (') is not closed";
        }
    }
    return NULL;
}

/* JSON without quotes around it has quotes of its own. */
static const char *quote_problem(const ac_setting_t *setting, const char *args)
{
    if (setting->value.type == AC_VALUE_DOCUMENT && *args == '{') {
        return NULL;
    }
    const char *value = setting->value.type == AC_VALUE_MEMBER ? config_args_skip_word(args) : NULL;
    return ac_config_args_quote_problem(args, value && *value != '\'' ? 1 : 0);
}

/* ---- value types with arguments of their own ---- */
static const char *set_words(apr_array_header_t **plist, const char *args, apr_pool_t *p)
{
    if (!*plist) {
        *plist = apr_array_make(p, 4, sizeof(const char *));
    }
    while (*args) {
        const char *word = ap_getword_conf(p, &args);
        if (!*word) {
            return "an item is empty";
        }
        APR_ARRAY_PUSH(*plist, const char *) = word;
    }
    return NULL;
}

static const char *set_pair(apr_table_t **ptable, const char *args, apr_pool_t *p)
{
    const char *name = ap_getword_conf(p, &args);
    const char *value = ap_getword_conf(p, &args);
    if (*args) {
        return "takes a name and one value; put a value with spaces in quotes";
    }
    if (!*ptable) {
        *ptable = apr_table_make(p, 4);
    }
    if (apr_table_get(*ptable, name)) {
        return apr_psprintf(p, "'%s' is given twice", name);
    }
    apr_table_setn(*ptable, name, value);
    return NULL;
}

static const char *set_member(json_t **pobject, const char *args, apr_pool_t *p)
{
    json_t *value = NULL;
    const char *name = ap_getword_conf(p, &args);
    if (!*args) {
        return "takes a name and a JSON value, like top_p 0.9";
    }
    if (*args == '\'') {
        args = ap_getword_conf(p, &args);
    }
    const char *problem = ac_config_value_parse_json(&value, args, apr_psprintf(p, "the value of '%s'", name), p);
    if (problem) {
        return problem;
    }
    if (!*pobject) {
        *pobject = json_object();
        ac_config_value_keep_json(*pobject, p);
    }
    if (json_object_get(*pobject, name)) {
        return apr_psprintf(p, "'%s' is given twice", name);
    }
    return ac_json_put(*pobject, name, json_incref(value)) ? NULL : apr_psprintf(p, "'%s' is not a name", name);
}

/* Users write %{secret}, since httpd itself would expand ${secret} and warn that it is not defined. The tools know
 * ${secret} only. */
static const char *unify_secret(const char *value, apr_pool_t *p)
{
    const char *found = ap_strstr_c(value, "%{secret}");
    if (!found) {
        return value;
    }
    return apr_pstrcat(p, apr_pstrmemdup(p, value, (apr_size_t)(found - value)), "$", found + 1, NULL);
}

static const char *set_header(apr_array_header_t **plist, const char *args, apr_pool_t *p)
{
    ac_tool_header_t header = {NULL, NULL, {NULL, NULL}};
    header.name = ap_getword_conf(p, &args);
    header.value = unify_secret(ap_getword_conf(p, &args), p);
    const char *secret = ap_getword_conf(p, &args);
    if (!*header.name || ap_scan_http_token(header.name)[0]) {
        return apr_psprintf(p, "'%s' is not the name of a header", header.name);
    }
    if (!*header.value || ap_scan_http_field_content(header.value)[0]) {
        return apr_psprintf(p, "the value of header '%s' is missing or not valid", header.name);
    }
    if (*args || (*secret && strncmp(secret, "secret=", 7) != 0)) {
        return "takes a name, a value and secret=…; put a value with spaces in quotes";
    }
    bool wants = ap_strstr_c(header.value, "${secret}") != NULL;
    if (wants != (*secret != '\0')) {
        return wants ? "the value holds %{secret}, so give secret=env:NAME or secret=file:PATH"
                     : "secret= is given, but the value has no %{secret}";
    }
    const char *problem = wants ? ac_config_value_set_secret(&header.secret, secret + 7, p) : NULL;
    if (problem) {
        return problem;
    }
    if (!*plist) {
        *plist = apr_array_make(p, 4, sizeof(ac_tool_header_t));
    }
    APR_ARRAY_PUSH(*plist, ac_tool_header_t) = header;
    return NULL;
}

/* "file:PATH", relative to ServerRoot, with the whole path; other text as it is. NULL: it is not a path. */
static const char *with_path(const char *text, apr_pool_t *p)
{
    if (strncmp(text, "file:", 5) != 0) {
        return text;
    }
    const char *path = ap_server_root_relative(p, text + 5);
    return path ? apr_pstrcat(p, "file:", path, NULL) : NULL;
}

/* The credential checks its own keys. */
static const char *set_credential(ac_credential_t **pcredential, const char *args, apr_pool_t *p)
{
    const char *given = ap_getword_conf(p, &args), *spec = with_path(given, p);
    apr_table_t *options = apr_table_make(p, 4);
    while (*args) {
        const char *word = ap_getword_conf(p, &args), *equals = ap_strchr_c(word, '=');
        if (!equals || equals == word || !equals[1]) {
            /* The word is not repeated: it may be half of a secret. */
            return "the first word must be followed by key=value; put a value with spaces in quotes";
        }
        const char *name = apr_pstrmemdup(p, word, (apr_size_t)(equals - word)), *value = with_path(equals + 1, p);
        if (apr_table_get(options, name)) {
            return apr_psprintf(p, "'%s' is given twice", name);
        }
        if (!value) {
            return apr_psprintf(p, "'%s' is not a path", equals + 1 + strlen("file:"));
        }
        apr_table_setn(options, name, value);
    }
    if (!spec) {
        return apr_psprintf(p, "'%s' is not a path", given + strlen("file:"));
    }
    return ac_credential_spec_create(pcredential, spec, options, p);
}

static const char *set_scheme(apr_array_header_t **plist, const char *args, apr_pool_t *p)
{
    ac_openapi_credential_t one = {ap_getword_conf(p, &args), NULL};
    if (!*args) {
        return "takes a security scheme of the document, or '*', and a credential";
    }
    const char *problem = set_credential(&one.auth, args, p);
    if (problem) {
        return problem;
    }
    if (!*plist) {
        *plist = apr_array_make(p, 2, sizeof(ac_openapi_credential_t));
    }
    APR_ARRAY_PUSH(*plist, ac_openapi_credential_t) = one;
    return NULL;
}

/* ---- key=value ---- */
/* The row of a key; of an unknown key the row "*", or NULL. */
static const ac_key_t *config_args_find_key(const ac_key_t *keys, const char *name)
{
    const ac_key_t *any = NULL;
    for (; keys->name; keys++) {
        if (strcmp(keys->name, name) == 0) {
            return keys;
        }
        if (strcmp(keys->name, "*") == 0) {
            any = keys;
        }
    }
    return any;
}

static const char *accepted_keys(const ac_key_t *keys, apr_pool_t *p)
{
    apr_array_header_t *names = apr_array_make(p, 4, sizeof(const char *));
    for (; keys->name; keys++) {
        if (*keys->name) {
            APR_ARRAY_PUSH(names, const char *) = keys->name;
        }
    }
    return ac_config_value_list(names, p);
}

static const char *set_key(const ac_setting_t *setting, void *target, const char *word, apr_pool_t *p)
{
    const char *equals = ap_strchr_c(word, '=');
    const char *name = equals ? apr_pstrmemdup(p, word, (apr_size_t)(equals - word)) : word;
    const ac_key_t *key = *name ? config_args_find_key(setting->keys, name) : NULL;
    if (!key) {
        return apr_psprintf(p, "'%s' is not a key of this directive; accepted are %s", name,
                            accepted_keys(setting->keys, p));
    }
    if (key->value.type == AC_VALUE_SWITCH) {
        if (equals) {
            return apr_psprintf(p, "'%s' takes no value", name);
        }
        return ac_config_value_set(&key->value, target, "", p);
    }
    if (!equals && key->value.type == AC_VALUE_PAIR) {
        return apr_psprintf(p, "'%s' is not key=value; put a value with spaces in quotes", name);
    }
    if (!equals || !equals[1]) {
        return apr_psprintf(p, "'%s' has no value; write %s=VALUE", name, name);
    }
    if (key->value.type == AC_VALUE_PAIR) {
        apr_table_t *table = *(apr_table_t **)((char *)target + key->value.offset);
        if (apr_table_get(table, name)) {
            return apr_psprintf(p, "'%s' is given twice", name);
        }
        apr_table_set(table, name, equals + 1);
        return NULL;
    }
    const char *problem = ac_config_value_set(&key->value, target, equals + 1, p);
    return problem ? apr_pstrcat(p, name, ": ", problem, NULL) : NULL;
}

static const char *set_keys(const ac_setting_t *setting, void *target, const char *args, apr_pool_t *p)
{
    const char *problem = NULL;
    for (const ac_key_t *key = setting->keys; key->name; key++) {
        if (key->value.type == AC_VALUE_PAIR) {
            *(apr_table_t **)((char *)target + key->value.offset) = apr_table_make(p, 4);
        } else if (!*key->name) {
            problem = ac_config_value_set(&key->value, target, ap_getword_conf(p, &args), p);
        }
    }
    while (!problem && *args) {
        problem = set_key(setting, target, ap_getword_conf(p, &args), p);
    }
    return problem;
}

/* ---- a row ---- */
const char *ac_config_args_set(const ac_setting_t *setting, void *target, const char *args, apr_pool_t *p)
{
    void *field = (char *)target + setting->value.offset;
    if (!*args) {
        return "no value is given";
    }
    const char *problem = quote_problem(setting, args);
    if (problem) {
        return problem;
    }
    switch (setting->value.type) {
    case AC_VALUE_WORDS: return set_words(field, args, p);
    case AC_VALUE_PAIR: return set_pair(field, args, p);
    case AC_VALUE_MEMBER: return set_member(field, args, p);
    case AC_VALUE_HEADER: return set_header(field, args, p);
    case AC_VALUE_ROLE: return ac_config_principal_set_roles(field, args, p);
    case AC_VALUE_KEYS: return set_keys(setting, target, args, p);
    case AC_VALUE_TELEMETRY: return ac_config_telemetry_set(field, args, p);
    case AC_VALUE_CREDENTIAL: return set_credential(field, args, p);
    case AC_VALUE_SCHEME: return set_scheme(field, args, p);
    case AC_VALUE_DOCUMENT:
        if (*args == '{') {
            return ac_config_value_set(&setting->value, target, args, p);
        }
        break;
    default: break;
    }
    const char *word = ap_getword_conf(p, &args);
    if (*args) {
        return "takes one value; put a value with spaces in quotes";
    }
    return ac_config_value_set(&setting->value, target, word, p);
}

static void set_default(const ac_value_t *value, void *target, apr_pool_t *p)
{
    if (value->fallback) {
        ac_config_value_set(value, target, value->fallback, p);
    }
}

void ac_config_args_set_defaults(ac_config_where_e where, void *target, apr_pool_t *p)
{
    for (const command_rec *command = ac_directives; command->name; command++) {
        const ac_setting_t *setting = ac_config_row(command);
        if (!setting || setting->where != where) {
            continue;
        }
        set_default(&setting->value, target, p);
        for (const ac_key_t *key = setting->keys; key && key->name; key++) {
            set_default(&key->value, target, p);
        }
    }
}
