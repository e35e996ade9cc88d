/* SPDX-License-Identifier: Apache-2.0 */
/* Text of a configuration file as values. Each value type of config_internal.h has its parser here, whose error
 * message has the text and what is accepted. */
#include "config_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "apr_file_io.h"
#include "apr_lib.h"

#define MAX_FILE (1024 * 1024) /* a text, a schema */
#define MAX_SECRET 8192

/* ---- files and secrets ---- */
/* Reads a whole file as text into p, NUL-terminated. */
static const char *read_file(const char **ptext, const char *path, apr_size_t max, apr_pool_t *p)
{
    apr_file_t *file = NULL;
    apr_finfo_t info;
    apr_size_t len = 0;
    char reason[120];
    const char *problem = NULL;
    const char *full = ap_server_root_relative(p, path);
    if (!full) {
        return apr_psprintf(p, "'%s' is not a path", path);
    }
    apr_status_t status = apr_file_open(&file, full, APR_READ, APR_OS_DEFAULT, p);
    if (status == APR_SUCCESS) {
        status = apr_file_info_get(&info, APR_FINFO_TYPE | APR_FINFO_SIZE, file);
    }
    if (status != APR_SUCCESS) {
        problem = apr_psprintf(p, "cannot read '%s': %s", full, apr_strerror(status, reason, sizeof(reason)));
        goto leave;
    }
    if (info.filetype == APR_DIR || info.size > (apr_off_t)max) {
        problem = apr_psprintf(p,
                               info.filetype == APR_DIR ? "'%s' is a directory"
                                                        : "'%s' is larger than %" APR_SIZE_T_FMT " bytes",
                               full, max);
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
    if (file) {
        apr_file_close(file);
    }
    return problem;
}

static const char *set_text(const char **ptext, const char *text, apr_pool_t *p)
{
    apr_pool_t *scratch = NULL;
    const char *problem = NULL, *read = NULL;
    if (strncmp(text, "file:", 5) != 0) {
        *ptext = apr_pstrdup(p, text);
        return ac_utf8_valid(text, strlen(text)) ? NULL : "the text is not UTF-8";
    }
    if (apr_pool_create(&scratch, p) != APR_SUCCESS) {
        return "out of memory";
    }
    problem = read_file(&read, text + 5, MAX_FILE, scratch);
    if (problem) {
        problem = apr_pstrdup(p, problem);
    } else {
        *ptext = apr_pstrdup(p, read);
    }
    apr_pool_destroy(scratch);
    return problem;
}

static apr_status_t forget_json(void *baton)
{
    json_decref(baton);
    return APR_SUCCESS;
}

void ac_config_value_keep_json(json_t *json, apr_pool_t *p)
{
    apr_pool_cleanup_register(p, json, forget_json, apr_pool_cleanup_null);
}

const char *ac_config_value_parse_json(json_t **pvalue, const char *text, const char *what, apr_pool_t *p)
{
    ac_err_t err;
    ac_err_init(&err);
    if (ac_json_parse(pvalue, text, strlen(text), &err) != APR_SUCCESS) {
        return apr_psprintf(p, "%s is not JSON: %s", what, err.detail);
    }
    ac_config_value_keep_json(*pvalue, p);
    return NULL;
}

static const char *set_document(json_t **pvalue, const char *text, apr_pool_t *p)
{
    const char *json = NULL;
    const char *problem = set_text(&json, text, p);
    const char *what = strncmp(text, "file:", 5) != 0 ? "it" : apr_psprintf(p, "'%s'", text + 5);
    if (!problem) {
        problem = ac_config_value_parse_json(pvalue, json, what, p);
    }
    if (!problem && !json_is_object(*pvalue)) {
        problem = apr_psprintf(p, "%s is not a JSON object", what);
    }
    return problem;
}

/* A secret goes into a header, so it is one line of visible characters. */
static const char *check_secret(ac_secret_t *secret, const char *value, apr_pool_t *p)
{
    size_t len = strlen(value);
    while (len && apr_isspace(value[len - 1])) {
        len--;
    }
    if (!len) {
        return apr_psprintf(p, "'%s' is empty", secret->spec);
    }
    if (len > MAX_SECRET) {
        return apr_psprintf(p, "'%s' is longer than %d bytes", secret->spec, MAX_SECRET);
    }
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f) {
            return apr_psprintf(p, "'%s' has more than one line, or a control character", secret->spec);
        }
    }
    secret->value = apr_pstrmemdup(p, value, len);
    return NULL;
}

const char *ac_config_value_set_secret(ac_secret_t *secret, const char *text, apr_pool_t *p)
{
    const char *value = NULL, *problem = NULL;
    secret->spec = apr_pstrdup(p, text);
    if (strncmp(text, "file:", 5) == 0) {
        problem = read_file(&value, text + 5, MAX_SECRET, p);
        return problem ? problem : check_secret(secret, value, p);
    }
    if (strncmp(text, "env:", 4) == 0) {
        value = getenv(text + 4);
        if (value) {
            return check_secret(secret, value, p);
        }
        return apr_psprintf(p, "the environment of httpd has no variable '%s'", text + 4);
    }
    secret->spec = "***";
    /* The text is not repeated in a log. */
    return "a secret must not be in the configuration; give env:NAME or file:PATH";
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
    if (!apr_isdigit(*text)) {
        return false;
    }
    errno = 0;
    *pnumber = apr_strtoi64(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool parse_percent(int64_t *pnumber, const char *text)
{
    char *end = NULL;
    if (!apr_isdigit(*text)) {
        return false;
    }
    errno = 0;
    *pnumber = apr_strtoi64(text, &end, 10);
    return errno == 0 && strcmp(end, "%") == 0;
}

/* What the types of numbers share: a parser, a name, an example. */
static bool parse_number(int64_t *pnumber, ac_value_type_e type, const char *text)
{
    apr_interval_time_t duration = 0;
    apr_int64_t size = 0;
    switch (type) {
    case AC_VALUE_DURATION:
        if (!ac_time_parse_duration(&duration, text)) {
            return false;
        }
        *pnumber = duration;
        return true;
    case AC_VALUE_SIZE:
        if (!ac_text_parse_size(&size, text)) {
            return false;
        }
        *pnumber = size;
        return true;
    case AC_VALUE_PERCENT: return parse_percent(pnumber, text);
    default: return parse_integer(pnumber, text);
    }
}

static const char *config_value_set_number(const ac_value_t *value, void *field, const char *text, apr_pool_t *p)
{
    static const char *const names[] = {[AC_VALUE_INT] = "a whole number",
                                        [AC_VALUE_SIZE] = "a size",
                                        [AC_VALUE_DURATION] = "a duration",
                                        [AC_VALUE_PERCENT] = "a percentage"};
    static const char *const like[] = {[AC_VALUE_INT] = "",
                                       [AC_VALUE_SIZE] = ", like 64K or 1M",
                                       [AC_VALUE_DURATION] = ", like 90s or 10min",
                                       [AC_VALUE_PERCENT] = ""};
    int64_t number = 0, min = 0, max = 0;
    bool is = parse_number(&number, value->type, text);
    if (!parse_number(&min, value->type, value->min) || !parse_number(&max, value->type, value->max)) {
        return apr_psprintf(p, "its own range %s to %s is wrong", value->min, value->max);
    }
    if (!is || number < min || number > max) {
        return apr_psprintf(p, "'%s' is %s%s; give %s to %s%s", text, is ? "out of range" : "not ",
                            is ? "" : names[value->type], value->min, value->max, like[value->type]);
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
    bool on = ap_cstr_casecmp(text, "on") == 0;
    if (!on && ap_cstr_casecmp(text, "off") != 0) {
        return apr_psprintf(p, "'%s' is neither on nor off", text);
    }
    put_integer(field, value->width, on);
    return NULL;
}

/* The index of text among "a|b|c", or -1; *pfound is the word as the table has it. */
static int find_choice(const char **pfound, const char *choices, const char *text, apr_pool_t *p)
{
    char *state = NULL;
    char *word = apr_strtok(apr_pstrdup(p, choices), "|", &state);
    for (int i = 0; word; i++, word = apr_strtok(NULL, "|", &state)) {
        *pfound = word;
        if (ap_cstr_casecmp(word, text) == 0) {
            return i;
        }
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
    return ac_config_value_list(words, p);
}

static const char *set_choice(const ac_value_t *value, void *field, const char *text, apr_pool_t *p)
{
    const char *found = NULL;
    int index = find_choice(&found, value->min, text, p);
    if (index < 0) {
        return apr_psprintf(p, "'%s' is not one of %s", text, spell_choices(value->min, p));
    }
    if (value->type == AC_VALUE_RANK) {
        *(int *)field = index;
    } else {
        *(const char **)field = found;
    }
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
    if (ap_cstr_casecmp(text, "continue") == 0) {
        *field = -1;
    } else if (ap_cstr_casecmp(text, "cancel") == 0) {
        *field = 0;
    } else if (ap_cstr_casecmpn(text, after, sizeof(after) - 1) != 0 ||
               !ac_time_parse_duration(field, text + sizeof(after) - 1)) {
        return apr_psprintf(p, "'%s' is not one of continue, cancel, cancel-after=DURATION, like cancel-after=30s",
                            text);
    }
    return NULL;
}

const char *ac_config_value_set(const ac_value_t *value, void *target, const char *text, apr_pool_t *p)
{
    void *field = (char *)target + value->offset;
    switch (value->type) {
    case AC_VALUE_FLAG: return set_flag(value, field, text, p);
    case AC_VALUE_SWITCH: put_integer(field, value->width, true); return NULL;
    case AC_VALUE_INT:
    case AC_VALUE_SIZE:
    case AC_VALUE_DURATION:
    case AC_VALUE_PERCENT: return config_value_set_number(value, field, text, p);
    case AC_VALUE_NUMBER: return set_real(value, field, text, p);
    case AC_VALUE_CHOICE:
    case AC_VALUE_RANK: return set_choice(value, field, text, p);
    case AC_VALUE_CURRENCY: return set_currency(field, text, p);
    case AC_VALUE_LIMITS: return ac_config_limit_set(field, text, p);
    case AC_VALUE_LEAVE: return set_leave(field, text, p);
    case AC_VALUE_TEXT: return set_text(field, text, p);
    case AC_VALUE_DOCUMENT: return set_document(field, text, p);
    case AC_VALUE_SECRET: return ac_config_value_set_secret(field, text, p);
    case AC_VALUE_VARIABLE: return ac_config_principal_set_variable(field, text, p);
    case AC_VALUE_PATH:
        *(const char **)field = ap_server_root_relative(p, text);
        return *(const char **)field ? NULL : apr_psprintf(p, "'%s' is not a path", text);
    default: *(const char **)field = apr_pstrdup(p, text); return *text ? NULL : "it is empty";
    }
}

const char *ac_config_value_list(const apr_array_header_t *names, apr_pool_t *p)
{
    const char *list = NULL;
    for (int i = 0; names && i < names->nelts; i++) {
        const char *name = APR_ARRAY_IDX(names, i, const char *);
        list = list ? apr_pstrcat(p, list, ", ", name, NULL) : name;
    }
    return list ? list : "none";
}
