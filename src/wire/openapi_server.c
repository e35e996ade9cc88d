/* SPDX-License-Identifier: Apache-2.0 */
/* Where an operation's requests go. */
#include "openapi_internal.h"

#include <apr_tables.h>
#include <string.h>
#include <strings.h>

#define MAX_URL 2048

static bool is_absolute(const char *url)
{
    return strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0;
}

/* Replaces {name} by the administrator's value, or the default. */
static apr_status_t fill_variables(ac_buf_t *out, const json_t *server, const ac_openapi_rules_t *rules, ac_err_t *err)
{
    const char *text = ac_json_peek_string(server, "url", "/");
    while (*text) {
        size_t n = strcspn(text, "{");
        const char *end = strchr(text + n, '}');
        ac_buf_add(out, text, end ? n : strlen(text));
        if (!end) {
            break;
        }
        char name[64];
        size_t len = (size_t)(end - text) - n - 1;
        snprintf(name, sizeof name, "%.*s", (int)(len < sizeof name ? len : 0), text + n + 1);
        const json_t *variable = json_object_get(json_object_get(server, "variables"), name);
        const char *given = rules->variables ? apr_table_get(rules->variables, name) : NULL;
        const char *value = given ? given : ac_json_peek_string(variable, "default", NULL);
        if (!value) {
            return ac_err_set(err, AC_INVALID_REQUEST, "its server has a variable without a value; name the server");
        }
        ac_buf_str(out, value);
        text = end + 1;
    }
    return out->failed ? ac_err_set(err, AC_INVALID_REQUEST, "the URL of its server is too long") : APR_SUCCESS;
}

/* Source: RFC 3986, 5.2, for what servers of documents have. */
static apr_status_t server_resolve(ac_buf_t *out, const char *base, const char *relative)
{
    const char *host = strstr(base, "://");
    host = host ? host + 3 : base;
    size_t origin = (size_t)(host - base) + strcspn(host, "/?#");
    size_t folder = strcspn(base, "?#");
    if (strncmp(relative, "//", 2) == 0) {
        ac_buf_add(out, base, (size_t)(host - base) - 2);
        return ac_buf_str(out, relative);
    }
    if (*relative == '/') {
        ac_buf_add(out, base, origin);
        return ac_buf_str(out, relative);
    }
    while (folder > origin && base[folder - 1] != '/') {
        folder--;
    }
    while (strncmp(relative, "./", 2) == 0 || strncmp(relative, "../", 3) == 0) {
        bool up = relative[1] == '.';
        relative += up ? 3 : 2;
        for (folder -= up && folder > origin + 1; up && folder > origin + 1 && base[folder - 1] != '/';) {
            folder--;
        }
    }
    ac_buf_add(out, base, folder);
    if (folder == origin) {
        ac_buf_str(out, "/");
    }
    return ac_buf_str(out, strcmp(relative, ".") == 0 ? "" : relative);
}

static const json_t *first_server(const ac_openapi_place_t *place, const json_t *document)
{
    const json_t *holders[] = {place->operation, place->item, document};
    for (size_t i = 0; i < sizeof holders / sizeof holders[0]; i++) {
        const json_t *servers = json_object_get(holders[i], "servers");
        if (json_array_size(servers)) {
            return json_array_get(servers, 0);
        }
    }
    return NULL;
}

static apr_status_t find_url(ac_buf_t *out, const ac_openapi_place_t *place, const ac_openapi_rules_t *rules,
                             ac_err_t *err)
{
    ac_buf_t text;
    if (rules->server) {
        return ac_buf_str(out, rules->server);
    }
    ac_buf_init(&text, MAX_URL);
    apr_status_t status = fill_variables(&text, first_server(place, rules->document), rules, err);
    const char *url = text.data ? text.data : "/";
    if (status == APR_SUCCESS && !is_absolute(url) && !rules->url) {
        status = ac_err_set(err, AC_INVALID_REQUEST, "its document names no server with a host");
    } else if (status == APR_SUCCESS) {
        status = is_absolute(url) ? ac_buf_str(out, url) : server_resolve(out, rules->url, url);
    }
    ac_buf_free(&text);
    return status;
}

apr_status_t ac_openapi_server_find(char **purl, const ac_openapi_place_t *place, const ac_openapi_rules_t *rules,
                                    ac_err_t *err)
{
    ac_buf_t url;
    ac_buf_init(&url, MAX_URL);
    apr_status_t status = find_url(&url, place, rules, err);
    if (status == APR_SUCCESS && (!is_absolute(url.data) || strpbrk(url.data, "?#{} \"<>\\^`|"))) {
        status = ac_err_set(err, AC_INVALID_REQUEST, "the URL of its server cannot be used");
    }
    while (url.len && url.data[url.len - 1] == '/') {
        url.data[--url.len] = '\0';
    }
    *purl = status == APR_SUCCESS ? strdup(url.data) : NULL;
    ac_buf_free(&url);
    return status == APR_SUCCESS ? APR_SUCCESS : ac_err_set(err, AC_INVALID_REQUEST, "its server has no usable URL");
}
