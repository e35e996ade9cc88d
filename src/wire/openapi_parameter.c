/* SPDX-License-Identifier: Apache-2.0 */
/* The parameters of an operation: which of them models give, under which names, and how each is written. */
#include "openapi_internal.h"

#include <apr_lib.h>
#include <apr_tables.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

typedef struct parameters_t { /* what is being read */
    json_t *parts, *schema;
    const ac_openapi_place_t *place;
    const ac_openapi_rules_t *rules;
} parameters_t;

static apr_status_t unusable(ac_err_t *err, const char *name, const char *why)
{
    char shown[64];
    return ac_err_set(err, AC_INVALID_REQUEST, "its parameter '%s' %s", ac_text_printable(shown, name), why);
}

/* ---- names ---- */

/* Other characters become '_', but at both ends, as in "filter[name]" and "ids[]". */
static void make_argument(char name[AC_TOOL_NAME_SIZE], const char *given)
{
    size_t len = 0;
    bool gap = false;
    for (; *given && len < AC_TOOL_NAME_SIZE - 16; given++) {
        bool legal = apr_isalnum(*given) || *given == '_' || *given == '-';
        if (legal && gap && len) {
            name[len++] = '_';
        }
        if (legal) {
            name[len++] = *given;
        }
        gap = !legal;
    }
    name[len] = '\0';
    if (!len) {
        snprintf(name, AC_TOOL_NAME_SIZE, "value");
    }
}

static void set_argument(char name[AC_TOOL_NAME_SIZE], const parameters_t *all, const char *given, const char *in)
{
    const json_t *taken = json_object_get(all->schema, "properties");
    make_argument(name, given);
    size_t len = strlen(name);
    for (int i = 0; strcmp(name, AC_OPENAPI_BODY) == 0 || json_object_get(taken, name); i++) {
        snprintf(name + len, AC_TOOL_NAME_SIZE - len, i ? "_%s_%d" : "_%s", in, i + 1);
    }
}

/* Headers that the module or the connection writes. Source: OAS 3.1.1, 4.8.12.2, for the first three. */
static bool is_own_header(const char *name)
{
    static const char *const names[] = {
        "Accept",     "Content-Type",   "Authorization", "Host",   "Connection", "Content-Length", "Transfer-Encoding",
        "TE",         "Trailer",        "Upgrade",       "Expect", "Keep-Alive", "Cookie",         "Traceparent",
        "Tracestate", "Accept-Encoding"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcasecmp(names[i], name) == 0) {
            return true;
        }
    }
    return strncasecmp(name, "Proxy-", 6) == 0 || strncasecmp(name, "Sec-", 4) == 0;
}

static bool is_token(const char *text)
{
    for (const char *at = text; *at; at++) {
        if (!apr_isalnum(*at) && !strchr("!#$%&'*+-.^_`|~", *at)) {
            return false;
        }
    }
    return *text != '\0';
}

/* ---- one parameter ---- */

static bool is_place(const char *in)
{
    return strcmp(in, "path") == 0 || strcmp(in, "query") == 0 || strcmp(in, "header") == 0 ||
        strcmp(in, "cookie") == 0;
}

/* The schema of its `content`, which is JSON; NULL: it has no such content. */
static const json_t *content_schema(const json_t *parameter)
{
    const char *type;
    json_t *media;
    json_object_foreach(json_object_get(parameter, "content"), type, media)
    {
        if (ac_openapi_media_is_json(type)) {
            return media;
        }
    }
    return NULL;
}

/* NULL: its style cannot be written. */
static json_t *make_part(const json_t *parameter, const char *name, const char *in)
{
    bool query = strcmp(in, "query") == 0, form = query || strcmp(in, "cookie") == 0;
    const char *given = ac_json_peek_string(parameter, "style", form ? "form" : "simple");
    int style = content_schema(parameter) ? AC_OPENAPI_JSON : ac_openapi_style_find(given);
    const json_t *explode = json_object_get(parameter, "explode");
    bool explodes = explode ? json_is_true(explode) : style == AC_OPENAPI_FORM || style == AC_OPENAPI_DEEP;
    if (style < 0) {
        return NULL;
    }
    return json_pack("{s:s, s:s, s:i, s:b, s:b}", "name", name, "in", in, "style", style, "explode", explodes,
                     "reserved", query && json_is_true(json_object_get(parameter, "allowReserved")));
}

static void add_schema(const parameters_t *all, const json_t *parameter, const char *argument, bool required)
{
    const json_t *holder = json_object_get(parameter, "content") ? content_schema(parameter) : parameter;
    const json_t *given = json_object_get(holder, "schema");
    const char *description = ac_json_peek_string(parameter, "description", NULL);
    json_t *schema = json_is_object(given) ? json_copy((json_t *)given) : json_object();
    if (description) {
        ac_json_put(schema, "description", json_string(description));
    }
    json_object_del(schema, "readOnly");
    ac_json_put(json_object_get(all->schema, "properties"), argument, schema);
    if (required) {
        json_array_append_new(json_object_get(all->schema, "required"), json_string(argument));
    }
}

static apr_status_t take_usable(const parameters_t *all, const json_t *parameter, const char *name, const char *in,
                                ac_err_t *err)
{
    bool required = strcmp(in, "path") == 0 || json_is_true(json_object_get(parameter, "required"));
    const char *fixed = all->rules->fixed ? apr_table_get(all->rules->fixed, name) : NULL;
    bool content = json_object_get(parameter, "content") && !content_schema(parameter);
    json_t *part = content ? NULL : make_part(parameter, name, in);
    char argument[AC_TOOL_NAME_SIZE];
    if (!part) {
        return required ? unusable(err, name, "has a form that cannot be written") : APR_SUCCESS;
    }
    if (fixed) {
        ac_json_put(part, "value", json_string(fixed));
    } else {
        set_argument(argument, all, name, in);
        ac_json_put(part, "argument", json_string(argument));
        add_schema(all, parameter, argument, required);
    }
    json_array_append_new(all->parts, part);
    return APR_SUCCESS;
}

/* What a model must not or cannot give is left out; a key of a security scheme is not for models. */
static apr_status_t take_parameter(const parameters_t *all, const json_t *parameter, ac_err_t *err)
{
    const char *name = ac_json_peek_string(parameter, "name", "");
    const char *in = ac_json_peek_string(parameter, "in", "");
    bool header = strcmp(in, "header") == 0, cookie = strcmp(in, "cookie") == 0;
    if (!*name || !is_place(in)) {
        return unusable(err, name, "has no name, or no place");
    }
    if ((header && is_own_header(name)) || ac_openapi_security_is_key(all->rules->document, name, in)) {
        return APR_SUCCESS;
    }
    if ((header || cookie) && !is_token(name)) {
        return unusable(err, name, "has a name that cannot be sent");
    }
    return json_array_size(all->parts) < AC_MAX_OPENAPI_PARAMETERS
        ? take_usable(all, parameter, name, in, err)
        : ac_err_set(err, AC_INVALID_REQUEST, "it has more than %d parameters", AC_MAX_OPENAPI_PARAMETERS);
}

/* ---- all parameters ---- */

/* Those of the operation replace those of its path. */
static bool parameter_is_replaced(const parameters_t *all, const json_t *parameter)
{
    const json_t *own = json_object_get(all->place->operation, "parameters");
    for (size_t i = 0; i < json_array_size(own); i++) {
        const json_t *other = ac_openapi_document_follow(all->rules->document, json_array_get(own, i));
        if (json_equal(json_object_get(other, "name"), json_object_get(parameter, "name")) &&
            json_equal(json_object_get(other, "in"), json_object_get(parameter, "in"))) {
            return true;
        }
    }
    return false;
}

static apr_status_t take_list(const parameters_t *all, const json_t *list, bool of_path, ac_err_t *err)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *parameter = ac_openapi_document_follow(all->rules->document, json_array_get(list, i));
        if (!parameter) {
            return ac_err_set(err, AC_INVALID_REQUEST, "a parameter is defined in another document");
        }
        if (of_path && parameter_is_replaced(all, parameter)) {
            continue;
        }
        apr_status_t status = take_parameter(all, parameter, err);
        if (status != APR_SUCCESS) {
            return status;
        }
    }
    return APR_SUCCESS;
}

apr_status_t ac_openapi_parameter_read(json_t *parts, json_t *schema, const ac_openapi_place_t *place,
                                       const ac_openapi_rules_t *rules, ac_err_t *err)
{
    const parameters_t all = {parts, schema, place, rules};
    apr_status_t status = take_list(&all, json_object_get(place->operation, "parameters"), false, err);
    return status == APR_SUCCESS ? take_list(&all, json_object_get(place->item, "parameters"), true, err) : status;
}

/* ---- using them ---- */

const char *ac_openapi_parameter_in(const json_t *part)
{
    return ac_json_peek_string(part, "in", "");
}

const json_t *ac_openapi_parameter_value(const json_t *part, const json_t *arguments)
{
    const char *argument = ac_json_peek_string(part, "argument", NULL);
    return argument ? json_object_get(arguments, argument) : json_object_get(part, "value");
}

void ac_openapi_parameter_style(ac_openapi_style_t *style, const json_t *part)
{
    const char *in = ac_openapi_parameter_in(part);
    bool path = strcmp(in, "path") == 0, header = strcmp(in, "header") == 0;
    *style = (ac_openapi_style_t){
        .name = ac_json_peek_string(part, "name", ""),
        .style = (ac_openapi_style_e)ac_json_peek_int(part, "style", 0),
        .explode = json_is_true(json_object_get(part, "explode")),
        .plain = header,
        .reserved = json_is_true(json_object_get(part, "reserved")),
        .separator = path || header     ? NULL
            : strcmp(in, "cookie") == 0 ? "; "
                                        : "&",
    };
}
