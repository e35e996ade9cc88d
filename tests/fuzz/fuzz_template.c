/* SPDX-License-Identifier: Apache-2.0 */
/* Templates. The first line is the template, its first letter the kind (u, j, h); the rest are the arguments as
 * JSON. With any arguments, a URL keeps its host, its path's depth and its parameters, a body stays JSON, a header
 * stays one line. */
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>

#include "wire/wire.h"

static size_t count(const char *text, size_t len, char c)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        n += text[i] == c;
    }
    return n;
}

static void require(bool held)
{
    if (!held) {
        abort();
    }
}

static void check_url(const char *text, const ac_buf_t *out)
{
    static const char shape[] = "/?#&=:@;,+";
    size_t host = strcspn(text, ":") + 3;
    host += strcspn(text + host, "/?");
    require(strncmp(text, out->data, host) == 0);
    for (size_t i = 0; i < sizeof(shape) - 1; i++) {
        require(count(text, strlen(text), shape[i]) == count(out->data, out->len, shape[i]));
    }
    size_t path = strcspn(out->data + host, "?") + host;
    for (size_t i = host; i < path;) {
        size_t n = strcspn(out->data + i + 1, "/?");
        const char *segment = out->data + i + 1;
        bool dots = (n == 1 && *segment == '.') || (n == 2 && memcmp(segment, "..", 2) == 0);
        /* A template may have dots of its own; then they stood there before. */
        require(!dots || strstr(text, n == 1 ? "/." : "/.."));
        i += n + 1;
    }
}

static void check_filled(const char *text, ac_template_e kind, const ac_buf_t *out)
{
    if (kind == AC_TEMPLATE_URL) {
        check_url(text, out);
    } else if (kind == AC_TEMPLATE_JSON) {
        json_t *value = json_loadb(out->data, out->len, JSON_DECODE_ANY, NULL);
        require(value != NULL);
        json_decref(value);
    } else {
        require(!strpbrk(out->data, "\r\n") && strlen(out->data) == out->len);
    }
}

static size_t count_text(const ac_buf_t *out, const char *text)
{
    size_t n = 0, len = strlen(text);
    for (const char *at = out->data; at && (at = memmem(at, out->len - (size_t)(at - out->data), text, len));
         at += len) {
        n++;
    }
    return n;
}

/* A header with a secret, which has a byte that no argument may have: it is where the template has it, and nowhere
 * else. */
static void check_secret(const char *text, const json_t *args)
{
    static const char secret[] = "\x01key";
    ac_buf_t out, template;
    ac_err_t err = {0}, none = {0};
    ac_buf_init(&template, 1024 * 1024);
    ac_buf_add(&template, text, strlen(text));
    size_t wanted = count_text(&template, AC_TEMPLATE_SECRET);
    ac_buf_init(&out, 1024 * 1024);
    apr_status_t status = ac_template_header(&out, text, secret, args, &err);
    require((status == APR_SUCCESS) == (err.kind == AC_OK));
    require(status != APR_SUCCESS || count_text(&out, secret) == wanted + count_text(&template, secret));
    ac_buf_clear(&out);
    status = ac_template_header(&out, text, NULL, args, &none);
    require(!wanted || status != APR_SUCCESS);
    require(wanted || none.kind == err.kind);
    ac_buf_free(&out);
    ac_buf_free(&template);
}

/* A schema that has every argument as a parameter. */
static json_t *schema_of(const json_t *args)
{
    json_t *properties = json_object();
    for (void *at = json_object_iter((json_t *)args); at; at = json_object_iter_next((json_t *)args, at)) {
        json_object_set_new(properties, json_object_iter_key(at), json_object());
    }
    return json_pack("{s:o}", "properties", properties);
}

static void check(const char *text, ac_template_e kind, const json_t *args, apr_pool_t *p)
{
    ac_buf_t out;
    ac_err_t err = {0};
    json_t *schema = schema_of(args);
    ac_buf_init(&out, 1024 * 1024);
    bool right = !ac_template_problem(text, kind, schema, p);
    apr_status_t status = ac_template_fill(&out, text, kind, args, &err);
    require((status == APR_SUCCESS) == (err.kind == AC_OK));
    if (right && status == APR_SUCCESS) {
        check_filled(text, kind, &out);
    } else if (status != APR_SUCCESS) {
        require(out.len == 0);
    }
    ac_buf_free(&out);
    json_decref(schema);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *root;
    if (!root) {
        apr_initialize();
        apr_pool_create(&root, NULL);
    }
    const uint8_t *lf = size ? memchr(data, '\n', size) : NULL;
    if (!lf || lf == data || memchr(data, '\0', (size_t)(lf - data))) {
        return 0;
    }
    ac_template_e kind = *data == 'u' ? AC_TEMPLATE_URL : *data == 'j' ? AC_TEMPLATE_JSON : AC_TEMPLATE_HEADER;
    size_t len = (size_t)(lf - data) - 1;
    char *text = malloc(len + 1);
    memcpy(text, data + 1, len);
    text[len] = '\0';
    json_t *args = json_loadb((const char *)lf + 1, size - len - 2, 0, NULL);
    if (json_is_object(args)) {
        apr_pool_t *p;
        apr_pool_create(&p, root);
        check(text, kind, args, p);
        check_secret(text, args);
        apr_pool_destroy(p);
    }
    json_decref(args);
    free(text);
    return 0;
}
