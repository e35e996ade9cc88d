/* SPDX-License-Identifier: Apache-2.0 */
/* What stands in a configuration file, as values: each shape of config.h has its parser here, which says what was given
 * and what is accepted where they differ. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>

#include "apr_file_io.h"
#include "apr_lib.h"

#define MAX_FILE (1024 * 1024)                  /* a text, a schema */
#define MAX_SECRET 8192

/* ---- files and secrets ---- */
/* The whole file as text in p, NUL-terminated. */
static const char *read_file(const char **ptext, const char *path, apr_size_t max, apr_pool_t *p)
{
    apr_file_t *file = NULL;
    apr_finfo_t info;
    apr_size_t len = 0;
    char reason[120];
    const char *problem = NULL;
    const char *full = ap_server_root_relative(p, path);
    if (!full) return apr_psprintf(p, "'%s' is not a path", path);
    apr_status_t status = apr_file_open(&file, full, APR_READ, APR_OS_DEFAULT, p);
    if (status == APR_SUCCESS) status = apr_file_info_get(&info, APR_FINFO_TYPE | APR_FINFO_SIZE, file);
    if (status != APR_SUCCESS) {
        problem = apr_psprintf(p, "cannot read '%s': %s", full, apr_strerror(status, reason, sizeof(reason)));
        goto leave;
    }
    if (info.filetype == APR_DIR || info.size > (apr_off_t)max) {
        problem = apr_psprintf(p, info.filetype == APR_DIR ? "'%s' is a directory"
                                                           : "'%s' is larger than %" APR_SIZE_T_FMT " bytes", full, max);
        goto leave;
    }
    char *text = apr_palloc(p, max + 1);
    status = apr_file_read_full(file, text, max, &len);
    if (status != APR_SUCCESS && !APR_STATUS_IS_EOF(status)) {
        problem = apr_psprintf(p, "cannot read '%s': %s", full, apr_strerror(status, reason, sizeof(reason)));
        goto leave;
    }
    text[len] = '\0';
    *ptext = apr_pstrmemdup(p, text, len);
    if (memchr(text, '\0', len) || !ac_utf8_valid(text, len)) {
        problem = apr_psprintf(p, "'%s' is not UTF-8 text", full);
    }
leave:
    if (file) apr_file_close(file);
    return problem;
}

static const char *set_text(const char **ptext, const char *text, apr_pool_t *p)
{
    apr_pool_t *scratch = NULL;
    const char *problem = NULL, *read = NULL;
    if (strncmp(text, "file:", 5)) {
        *ptext = apr_pstrdup(p, text);
        return ac_utf8_valid(text, strlen(text)) ? NULL : "the text is not UTF-8";
    }
    if (apr_pool_create(&scratch, p) != APR_SUCCESS) return "there is no memory";
    problem = read_file(&read, text + 5, MAX_FILE, scratch);
    if (problem) problem = apr_pstrdup(p, problem);
    else *ptext = apr_pstrdup(p, read);
    apr_pool_destroy(scratch);
    return problem;
}

static apr_status_t forget_json(void *baton)
{
    json_decref(baton);
    return APR_SUCCESS;
}

static const char *parse_json(json_t **pvalue, const char *text, const char *what, apr_pool_t *p)
{
    ac_err_t err;
    ac_err_init(&err);
    if (ac_json_parse(pvalue, text, strlen(text), &err) != APR_SUCCESS) {
        return apr_psprintf(p, "%s is not JSON: %s", what, err.detail);
    }
    apr_pool_cleanup_register(p, *pvalue, forget_json, apr_pool_cleanup_null);
    return NULL;
}

static const char *set_document(json_t **pvalue, const char *text, apr_pool_t *p)
{
    const char *json = NULL;
    const char *problem = set_text(&json, text, p);
    const char *what = strncmp(text, "file:", 5) ? "it" : apr_psprintf(p, "'%s'", text + 5);
    if (!problem) problem = parse_json(pvalue, json, what, p);
    if (!problem && !json_is_object(*pvalue)) problem = apr_psprintf(p, "%s is not a JSON object", what);
    return problem;
}

/* A secret goes into a header, so it is one line of visible characters. */
static const char *check_secret(ac_secret_t *secret, const char *value, apr_pool_t *p)
{
    size_t len = strlen(value);
    while (len && apr_isspace(value[len - 1])) len--;
    if (!len) return apr_psprintf(p, "'%s' is empty", secret->spec);
    if (len > MAX_SECRET) return apr_psprintf(p, "'%s' is longer than %d bytes", secret->spec, MAX_SECRET);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f) {
            return apr_psprintf(p, "'%s' has more than one line, or a control character", secret->spec);
        }
    }
    secret->value = apr_pstrmemdup(p, value, len);
    return NULL;
}

static const char *set_secret(ac_secret_t *secret, const char *text, apr_pool_t *p)
{
    const char *value = NULL, *problem = NULL;
    secret->spec = apr_pstrdup(p, text);
    if (!strncmp(text, "file:", 5)) {
        problem = read_file(&value, text + 5, MAX_SECRET, p);
        return problem ? problem : check_secret(secret, value, p);
    }
    if (!strncmp(text, "env:", 4)) {
        value = getenv(text + 4);
        if (value) return check_secret(secret, value, p);
        return apr_psprintf(p, "the environment of httpd has no variable '%s'", text + 4);
    }
    secret->spec = "***";
    return "a secret does not stand in the configuration; give env:NAME or file:PATH";   /* and is not repeated in a log */
}

/* The keys are the credential's own, which knows them. */
static const char *set_credential(ac_model_conf_t *conf, const char *args, apr_pool_t *p)
{
    const char *spec = ap_getword_conf(p, &args);
    apr_table_t *options = apr_table_make(p, 4);
    while (*args) {
        const char *word = ap_getword_conf(p, &args), *equals = ap_strchr_c(word, '=');
        if (!equals || equals == word || !equals[1]) {
            return "behind its first word stand key=value; put a value with spaces in quotes";  /* may be half a secret */
        }
        const char *name = apr_pstrmemdup(p, word, (apr_size_t)(equals - word));
        if (apr_table_get(options, name)) return apr_psprintf(p, "'%s' is given twice", name);
        apr_table_setn(options, name, equals + 1);
    }
    if (!strncmp(spec, "file:", 5)) {
        const char *path = ap_server_root_relative(p, spec + 5);
        if (!path) return apr_psprintf(p, "'%s' is not a path", spec + 5);
        spec = apr_pstrcat(p, "file:", path, NULL);
    }
    const char *problem = ac_credential_create(&conf->auth, spec, options, p);
    if (problem) return problem;
    conf->credential.spec = ac_credential_spec(conf->auth);
    conf->credential.value = ac_credential_first(conf->auth);
    return NULL;
}

/* ---- numbers ---- */
static void put_integer(void *field, size_t width, int64_t number)
{
    switch (width) {
    case 1: *(bool *)field = number != 0; break;
    case 4: *(int32_t *)field = (int32_t)number; break;
    default: *(int64_t *)field = number; break;
    }
}

static bool parse_integer(int64_t *pnumber, const char *text)
{
    char *end = NULL;
    if (!apr_isdigit(*text)) return false;
    errno = 0;
    *pnumber = apr_strtoi64(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool parse_percent(int64_t *pnumber, const char *text)
{
    char *end = NULL;
    if (!apr_isdigit(*text)) return false;
    errno = 0;
    *pnumber = apr_strtoi64(text, &end, 10);
    return errno == 0 && !strcmp(end, "%");
}

/* What the shapes of numbers share: a parser, how they are called, an example. */
static bool parse_number(int64_t *pnumber, ac_shape_e shape, const char *text)
{
    apr_interval_time_t duration = 0;
    apr_int64_t size = 0;
    switch (shape) {
    case AC_DURATION:
        if (!ac_duration_parse(&duration, text)) return false;
        *pnumber = duration;
        return true;
    case AC_SIZE:
        if (!ac_size_parse(&size, text)) return false;
        *pnumber = size;
        return true;
    case AC_PERCENT:
        return parse_percent(pnumber, text);
    default:
        return parse_integer(pnumber, text);
    }
}

static const char *set_number(const ac_value_t *value, void *field, const char *text, apr_pool_t *p)
{
    static const char *const names[] = {[AC_INT] = "a whole number", [AC_SIZE] = "a size", [AC_DURATION] = "a duration",
                                        [AC_PERCENT] = "a percentage"};
    static const char *const like[] = {[AC_INT] = "", [AC_SIZE] = ", like 64K or 1M",
                                       [AC_DURATION] = ", like 90s or 10min", [AC_PERCENT] = ""};
    int64_t number = 0, min = 0, max = 0;
    bool is = parse_number(&number, value->shape, text);
    if (!parse_number(&min, value->shape, value->min) || !parse_number(&max, value->shape, value->max)) {
        return apr_psprintf(p, "its own range %s to %s is wrong", value->min, value->max);
    }
    if (!is || number < min || number > max) {
        return apr_psprintf(p, "'%s' is %s%s; give %s to %s%s", text, is ? "out of range" : "not ",
                            is ? "" : names[value->shape], value->min, value->max, like[value->shape]);
    }
    put_integer(field, value->width, number);
    return NULL;
}

static const char *set_real(const ac_value_t *value, double *field, const char *text, apr_pool_t *p)
{
    char *end = NULL;
    double number = strtod(text, &end);
    bool is = end != text && *end == '\0';
    if (text != value->fallback && !(is && number >= strtod(value->min, NULL) && number <= strtod(value->max, NULL))) {
        return apr_psprintf(p, "'%s' is %s; give %s to %s", text, is ? "out of range" : "not a number", value->min,
                            value->max);
    }
    *field = number;
    return NULL;
}

static const char *set_flag(const ac_value_t *value, void *field, const char *text, apr_pool_t *p)
{
    bool on = !ap_cstr_casecmp(text, "on");
    if (!on && ap_cstr_casecmp(text, "off")) return apr_psprintf(p, "'%s' is neither on nor off", text);
    put_integer(field, value->width, on);
    return NULL;
}

/* The index of text among "a|b|c", or -1; *pfound is the word as the table writes it. */
static int find_choice(const char **pfound, const char *choices, const char *text, apr_pool_t *p)
{
    char *state = NULL;
    char *word = apr_strtok(apr_pstrdup(p, choices), "|", &state);
    for (int i = 0; word; i++, word = apr_strtok(NULL, "|", &state)) {
        *pfound = word;
        if (!ap_cstr_casecmp(word, text)) return i;
    }
    return -1;
}

static const char *spell_choices(const char *choices, apr_pool_t *p)
{
    apr_array_header_t *words = apr_array_make(p, 4, sizeof(const char *));
    char *state = NULL;
    for (char *word = apr_strtok(apr_pstrdup(p, choices), "|", &state); word; word = apr_strtok(NULL, "|", &state)) {
        APR_ARRAY_PUSH(words, const char *) = word;
    }
    return ac_value_list(words, p);
}

static const char *set_choice(const ac_value_t *value, void *field, const char *text, apr_pool_t *p)
{
    const char *found = NULL;
    int index = find_choice(&found, value->min, text, p);
    if (index < 0) return apr_psprintf(p, "'%s' is none of %s", text, spell_choices(value->min, p));
    if (value->shape == AC_RANK) *(int *)field = index;
    else *(const char **)field = found;
    return NULL;
}

static const char *set_currency(char *field, const char *text, apr_pool_t *p)
{
    if (strlen(text) != 3 || strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 3) {
        return apr_psprintf(p, "'%s' is not a currency; give three capital letters, like USD or EUR", text);
    }
    memcpy(field, text, 4);
    return NULL;
}

static const char *set_leave(apr_interval_time_t *field, const char *text, apr_pool_t *p)
{
    static const char after[] = "cancel-after=";
    if (!ap_cstr_casecmp(text, "continue")) *field = -1;
    else if (!ap_cstr_casecmp(text, "cancel")) *field = 0;
    else if (ap_cstr_casecmpn(text, after, sizeof(after) - 1) || !ac_duration_parse(field, text + sizeof(after) - 1)) {
        return apr_psprintf(p, "'%s' is none of continue, cancel, cancel-after=DURATION, like cancel-after=30s", text);
    }
    return NULL;
}

const char *ac_value_set(const ac_value_t *value, void *target, const char *text, apr_pool_t *p)
{
    void *field = (char *)target + value->offset;
    switch (value->shape) {
    case AC_FLAG: return set_flag(value, field, text, p);
    case AC_INT: case AC_SIZE: case AC_DURATION: case AC_PERCENT: return set_number(value, field, text, p);
    case AC_NUMBER: return set_real(value, field, text, p);
    case AC_CHOICE: case AC_RANK: return set_choice(value, field, text, p);
    case AC_CURRENCY: return set_currency(field, text, p);
    case AC_LIMITS: return ac_value_set_limits(field, text, p);
    case AC_LEAVE: return set_leave(field, text, p);
    case AC_TEXT: return set_text(field, text, p);
    case AC_DOCUMENT: return set_document(field, text, p);
    case AC_SECRET: return set_secret(field, text, p);
    case AC_VARIABLE: return ac_value_set_variable(field, text, p);
    case AC_PATH:
        *(const char **)field = ap_server_root_relative(p, text);
        return *(const char **)field ? NULL : apr_psprintf(p, "'%s' is not a path", text);
    default:
        *(const char **)field = apr_pstrdup(p, text);
        return *text ? NULL : "it is empty";
    }
}

/* ---- whole directives ---- */
const char *ac_value_list(const apr_array_header_t *names, apr_pool_t *p)
{
    const char *list = NULL;
    for (int i = 0; names && i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, const char *);
        list = list ? apr_pstrcat(p, list, ", ", name, NULL) : name;
    }
    return list ? list : "none";
}

static const char *set_words(apr_array_header_t **plist, const char *args, apr_pool_t *p)
{
    if (!*plist) *plist = apr_array_make(p, 4, sizeof(const char *));
    while (*args) {
        const char *word = ap_getword_conf(p, &args);
        if (!*word) return "an item is empty";
        APR_ARRAY_PUSH(*plist, const char *) = word;
    }
    return NULL;
}

static const char *set_pair(apr_table_t **ptable, const char *args, apr_pool_t *p)
{
    const char *name = ap_getword_conf(p, &args);
    const char *value = ap_getword_conf(p, &args);
    if (*args) return "takes a name and one value; put a value with spaces in quotes";
    if (!*ptable) *ptable = apr_table_make(p, 4);
    if (apr_table_get(*ptable, name)) return apr_psprintf(p, "'%s' is given twice", name);
    apr_table_setn(*ptable, name, value);
    return NULL;
}

static const char *set_member(json_t **pobject, const char *args, apr_pool_t *p)
{
    json_t *value = NULL;
    const char *name = ap_getword_conf(p, &args);
    if (!*args) return "takes a name and a JSON value, like top_p 0.9";
    if (*args == '\'') args = ap_getword_conf(p, &args);
    const char *problem = parse_json(&value, args, apr_psprintf(p, "the value of '%s'", name), p);
    if (problem) return problem;
    if (!*pobject) {
        *pobject = json_object();
        apr_pool_cleanup_register(p, *pobject, forget_json, apr_pool_cleanup_null);
    }
    if (json_object_get(*pobject, name)) return apr_psprintf(p, "'%s' is given twice", name);
    return ac_json_put(*pobject, name, json_incref(value)) ? NULL : apr_psprintf(p, "'%s' is not a name", name);
}

/* %{secret} is the form to write: httpd itself takes ${secret} for a variable of its own and says that there is none. The
 * tools know ${secret} only. */
static const char *unify_secret(const char *value, apr_pool_t *p)
{
    const char *found = ap_strstr_c(value, "%{secret}");
    if (!found) return value;
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
        return apr_psprintf(p, "header '%s' has no value that could be sent", header.name);
    }
    if (*args || (*secret && strncmp(secret, "secret=", 7))) {
        return "takes a name, a value and secret=…; put a value with spaces in quotes";
    }
    bool wants = ap_strstr_c(header.value, "${secret}") != NULL;
    if (wants != (*secret != '\0')) {
        return wants ? "the value holds %{secret}, so give secret=env:NAME or secret=file:PATH"
                     : "secret= is given, but the value does not say %{secret} where to put it";
    }
    const char *problem = wants ? set_secret(&header.secret, secret + 7, p) : NULL;
    if (problem) return problem;
    if (!*plist) *plist = apr_array_make(p, 4, sizeof(ac_tool_header_t));
    APR_ARRAY_PUSH(*plist, ac_tool_header_t) = header;
    return NULL;
}

/* The row of a key; for one that is unknown the row "*" where there is one. */
static const ac_key_t *find_key(const ac_key_t *keys, const char *name)
{
    const ac_key_t *any = NULL;
    for (; keys->name; keys++) {
        if (!strcmp(keys->name, name)) return keys;
        if (!strcmp(keys->name, "*")) any = keys;
    }
    return any;
}

static const char *accepted_keys(const ac_key_t *keys, apr_pool_t *p)
{
    apr_array_header_t *names = apr_array_make(p, 4, sizeof(const char *));
    for (; keys->name; keys++) {
        if (*keys->name) APR_ARRAY_PUSH(names, const char *) = keys->name;
    }
    return ac_value_list(names, p);
}

static const char *set_key(const ac_setting_t *setting, void *target, const char *word, apr_pool_t *p)
{
    const char *equals = ap_strchr_c(word, '=');
    const char *name = equals ? apr_pstrmemdup(p, word, (apr_size_t)(equals - word)) : word;
    const ac_key_t *key = *name ? find_key(setting->keys, name) : NULL;
    if (!key) {
        return apr_psprintf(p, "'%s' is no key of it; accepted are %s", name, accepted_keys(setting->keys, p));
    }
    if (key->value.shape == AC_SWITCH) {
        if (equals) return apr_psprintf(p, "'%s' takes no value", name);
        put_integer((char *)target + key->value.offset, key->value.width, true);
        return NULL;
    }
    if (!equals || !equals[1]) return apr_psprintf(p, "'%s' has no value; write %s=VALUE", name, name);
    if (key->value.shape == AC_PAIR) {
        apr_table_t *table = *(apr_table_t **)((char *)target + key->value.offset);
        if (apr_table_get(table, name)) return apr_psprintf(p, "'%s' is given twice", name);
        apr_table_set(table, name, equals + 1);
        return NULL;
    }
    const char *problem = ac_value_set(&key->value, target, equals + 1, p);
    return problem ? apr_pstrcat(p, name, ": ", problem, NULL) : NULL;
}

static const char *set_keys(const ac_setting_t *setting, void *target, const char *args, apr_pool_t *p)
{
    const char *problem = NULL;
    for (const ac_key_t *key = setting->keys; key->name; key++) {
        if (key->value.shape == AC_PAIR) {
            *(apr_table_t **)((char *)target + key->value.offset) = apr_table_make(p, 4);
        } else if (!*key->name) {
            problem = ac_value_set(&key->value, target, ap_getword_conf(p, &args), p);
        }
    }
    while (!problem && *args) {
        problem = set_key(setting, target, ap_getword_conf(p, &args), p);
    }
    return problem;
}

const char *ac_value_set_args(const ac_setting_t *setting, void *target, const char *args, apr_pool_t *p)
{
    void *field = (char *)target + setting->value.offset;
    if (!*args) return "it has no value";
    switch (setting->value.shape) {
    case AC_WORDS: return set_words(field, args, p);
    case AC_PAIR: return set_pair(field, args, p);
    case AC_MEMBER: return set_member(field, args, p);
    case AC_HEADER: return set_header(field, args, p);
    case AC_ROLE: return ac_value_set_roles(field, args, p);
    case AC_KEYS: return set_keys(setting, target, args, p);
    case AC_CREDENTIAL: return set_credential(field, args, p);
    case AC_DOCUMENT:
        if (*args == '{') return ac_value_set(&setting->value, target, args, p);
        break;
    default:
        break;
    }
    const char *word = ap_getword_conf(p, &args);
    if (*args) return "takes one value; put a value with spaces in quotes";
    return ac_value_set(&setting->value, target, word, p);
}

static void set_default(const ac_value_t *value, void *target, apr_pool_t *p)
{
    if (value->fallback) ac_value_set(value, target, value->fallback, p);
}

void ac_value_set_defaults(ac_where_e where, void *target, apr_pool_t *p)
{
    for (const command_rec *command = ac_directives; command->name; command++) {
        const ac_setting_t *setting = ac_config_setting(command);
        if (!setting || setting->where != where) continue;
        set_default(&setting->value, target, p);
        for (const ac_key_t *key = setting->keys; key && key->name; key++) {
            set_default(&key->value, target, p);
        }
    }
}
