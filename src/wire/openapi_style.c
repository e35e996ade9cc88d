/* SPDX-License-Identifier: Apache-2.0 */
/* The styles of parameters: how numbers, texts, lists and objects are written in a URL, a header or a form. Source: OAS
 * 3.1.1, 4.8.12.4, and RFC 6570. */
#include "openapi_internal.h"

#include <string.h>

typedef struct items_t { /* how the parts of a value are put together */
    const char *separator, *assign;
    bool named; /* each item of a list has the name before it */
} items_t;

int ac_openapi_style_find(const char *name)
{
    static const char *const names[] = {"form",           "simple",        "label",     "matrix",
                                        "spaceDelimited", "pipeDelimited", "deepObject"};
    for (int i = 0; i < (int)(sizeof names / sizeof names[0]); i++) {
        if (strcmp(names[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

const char *ac_openapi_style_text(const json_t *value, char **powned)
{
    *powned = NULL;
    if (json_is_string(value)) {
        return json_string_value(value);
    }
    if (json_is_null(value)) {
        return "";
    }
    return *powned = ac_json_dump(value, NULL);
}

/* What separates nothing within a query: of the reserved characters all but "&", "=", "+", "#", "[" and "]". */
static apr_status_t encode_some(ac_buf_t *out, const char *text)
{
    static const char kept[] = ":/?@!$'()*,;";
    apr_status_t status = APR_SUCCESS;
    while (*text && status == APR_SUCCESS) {
        size_t n = strcspn(text, kept), m = strspn(text + n, kept);
        status = ac_template_encode(out, text, n);
        if (status == APR_SUCCESS) {
            status = ac_buf_add(out, text + n, m);
        }
        text += n + m;
    }
    return status;
}

static apr_status_t put(ac_buf_t *out, const ac_openapi_style_t *style, const char *text)
{
    return style->plain   ? ac_buf_str(out, text)
        : style->reserved ? encode_some(out, text)
                          : ac_template_encode(out, text, strlen(text));
}

static apr_status_t style_put_value(ac_buf_t *out, const ac_openapi_style_t *style, const json_t *value)
{
    char *owned;
    const char *text = ac_openapi_style_text(value, &owned);
    apr_status_t status = text ? put(out, style, text) : APR_ENOMEM;
    free(owned);
    return status;
}

static apr_status_t put_items(ac_buf_t *out, const ac_openapi_style_t *style, const json_t *value, const items_t *as)
{
    const char *name;
    json_t *item;
    size_t i, n = 0;
    json_array_foreach((json_t *)value, i, item)
    {
        ac_buf_str(out, i ? as->separator : "");
        if (as->named) {
            put(out, style, style->name);
            ac_buf_str(out, "=");
        }
        style_put_value(out, style, item);
    }
    json_object_foreach((json_t *)value, name, item)
    {
        ac_buf_str(out, n++ ? as->separator : "");
        put(out, style, name);
        ac_buf_str(out, as->assign);
        style_put_value(out, style, item);
    }
    if (!json_is_array(value) && !json_is_object(value)) {
        style_put_value(out, style, value);
    }
    return out->failed ? APR_ENOSPC : APR_SUCCESS;
}

static apr_status_t put_named(ac_buf_t *out, const ac_openapi_style_t *style, const json_t *value, const char *comma)
{
    const items_t as = {comma, comma, false};
    put(out, style, style->name);
    ac_buf_str(out, "=");
    return put_items(out, style, value, &as);
}

/* a=1, a=1&a=2, or without explode a=1,2 */
static apr_status_t style_write_form(ac_buf_t *out, const ac_openapi_style_t *style, const json_t *value,
                                     const char *comma)
{
    const items_t as = {style->separator, "=", true};
    bool many = json_is_array(value) || json_is_object(value);
    return many && style->explode ? put_items(out, style, value, &as) : put_named(out, style, value, comma);
}

static apr_status_t write_matrix(ac_buf_t *out, const ac_openapi_style_t *style, const json_t *value)
{
    const items_t as = {";", "=", true};
    bool many = json_is_array(value) || json_is_object(value);
    ac_buf_str(out, ";");
    return many && style->explode ? put_items(out, style, value, &as) : put_named(out, style, value, ",");
}

static apr_status_t style_write_label(ac_buf_t *out, const ac_openapi_style_t *style, const json_t *value)
{
    const items_t as = {style->explode ? "." : ",", style->explode ? "=" : ",", false};
    ac_buf_str(out, ".");
    return put_items(out, style, value, &as);
}

/* a[b]=1&a[c][0]=2; path: the names before. */
static apr_status_t write_deep(ac_buf_t *out, const ac_openapi_style_t *style, const json_t *value, const char *path)
{
    json_t *item;
    const char *name;
    size_t i;
    ac_buf_t inner;
    if (!json_is_array(value) && !json_is_object(value)) {
        ac_buf_printf(out, "%s%s=", out->len ? style->separator : "", path);
        return style_put_value(out, style, value);
    }
    ac_buf_init(&inner, out->max);
    json_object_foreach((json_t *)value, name, item)
    {
        ac_buf_clear(&inner);
        ac_buf_printf(&inner, "%s%%5B", path);
        put(&inner, style, name);
        ac_buf_str(&inner, "%5D");
        write_deep(out, style, item, inner.failed ? "" : inner.data);
    }
    json_array_foreach((json_t *)value, i, item)
    {
        ac_buf_clear(&inner);
        ac_buf_printf(&inner, "%s%%5B%zu%%5D", path, i);
        write_deep(out, style, item, inner.failed ? "" : inner.data);
    }
    bool failed = inner.failed || out->failed;
    ac_buf_free(&inner);
    return failed ? APR_ENOSPC : APR_SUCCESS;
}

static apr_status_t begin_deep(ac_buf_t *out, const ac_openapi_style_t *style, const json_t *value)
{
    ac_buf_t path, parts;
    ac_buf_init(&path, out->max);
    ac_buf_init(&parts, out->max);
    put(&path, style, style->name);
    apr_status_t status = path.data ? write_deep(&parts, style, value, path.data) : APR_ENOSPC;
    if (status == APR_SUCCESS && parts.len) {
        status = ac_buf_add(out, parts.data, parts.len);
    }
    ac_buf_free(&path);
    ac_buf_free(&parts);
    return status;
}

static apr_status_t write_json(ac_buf_t *out, const ac_openapi_style_t *style, const json_t *value)
{
    char *text = ac_json_dump(value, NULL);
    if (style->separator) { /* of a query or a cookie */
        put(out, style, style->name);
        ac_buf_str(out, "=");
    }
    apr_status_t status = text ? put(out, style, text) : APR_ENOMEM;
    free(text);
    return status;
}

apr_status_t ac_openapi_style_write(ac_buf_t *out, const ac_openapi_style_t *style, const json_t *value)
{
    const items_t simple = {",", style->explode ? "=" : ",", false};
    if (style->style == AC_OPENAPI_FORM && style->explode && json_is_array(value) && !json_array_size(value)) {
        return APR_SUCCESS;
    }
    switch (style->style) {
    case AC_OPENAPI_FORM: return style_write_form(out, style, value, ",");
    case AC_OPENAPI_SPACE: return style_write_form(out, style, value, "%20");
    case AC_OPENAPI_PIPE: return style_write_form(out, style, value, "%7C");
    case AC_OPENAPI_DEEP: return begin_deep(out, style, value);
    case AC_OPENAPI_MATRIX: return write_matrix(out, style, value);
    case AC_OPENAPI_LABEL: return style_write_label(out, style, value);
    case AC_OPENAPI_JSON: return write_json(out, style, value);
    default: return put_items(out, style, value, &simple);
    }
}
