/* SPDX-License-Identifier: Apache-2.0 */
/* The connection string of Application Insights: names and values, separated by semicolons. */
#include "appinsights.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define ENDPOINT "https://dc.services.visualstudio.com"
#define TRACK "/v2.1/track"
#define MAX_TEXT 4096 /* of the whole string; the service's own have some 300 bytes */

typedef struct field_t { /* a part of the text */
    const char *at;
    size_t len;
} field_t;

typedef struct fields_t {
    field_t key, endpoint, suffix, location, audience, application, authorization, client;
} fields_t;

static const struct {
    const char *name;
    size_t offset;
} names[] = {{"InstrumentationKey", offsetof(fields_t, key)},      {"IngestionEndpoint", offsetof(fields_t, endpoint)},
             {"EndpointSuffix", offsetof(fields_t, suffix)},       {"Location", offsetof(fields_t, location)},
             {"AADAudience", offsetof(fields_t, audience)},        {"ApplicationId", offsetof(fields_t, application)},
             {"Authorization", offsetof(fields_t, authorization)}, {"ClientId", offsetof(fields_t, client)}};
#define N_NAMES (sizeof(names) / sizeof(names[0]))

static field_t trim_blanks(const char *text, size_t len)
{
    while (len && (*text == ' ' || *text == '\t')) {
        text++;
        len--;
    }
    while (len && (text[len - 1] == ' ' || text[len - 1] == '\t')) {
        len--;
    }
    return (field_t){text, len};
}

static bool field_is(field_t field, const char *text)
{
    return field.len == strlen(text) && strncasecmp(field.at, text, field.len) == 0;
}

static bool is_visible(field_t field)
{
    for (size_t i = 0; i < field.len; i++) {
        if ((unsigned char)field.at[i] <= ' ' || (unsigned char)field.at[i] >= 0x7f) {
            return false;
        }
    }
    return true;
}

/* number: of the part, from 1. The part itself may be the key: errors do not show it. */
static apr_status_t read_part(fields_t *fields, field_t part, int number, ac_err_t *err)
{
    const char *equals = memchr(part.at, '=', part.len);
    if (!equals) {
        return ac_err_set(err, AC_INVALID_REQUEST, "its part %d is not NAME=VALUE", number);
    }
    field_t name = trim_blanks(part.at, (size_t)(equals - part.at)),
            value = trim_blanks(equals + 1, part.len - (size_t)(equals - part.at) - 1);
    for (size_t i = 0; i < N_NAMES; i++) {
        field_t *to = (field_t *)((char *)fields + names[i].offset);
        if (!field_is(name, names[i].name)) {
            continue;
        }
        if (to->at) {
            return ac_err_set(err, AC_INVALID_REQUEST, "it has %s twice", names[i].name);
        }
        if (value.len == 0 || !is_visible(value)) {
            return ac_err_set(err, AC_INVALID_REQUEST, "the value of %s is %s", names[i].name,
                              value.len ? "not one word of visible characters" : "empty");
        }
        *to = value;
    }
    return APR_SUCCESS;
}

static apr_status_t read_parts(fields_t *fields, const char *text, ac_err_t *err)
{
    int number = 0;
    if (strlen(text) > MAX_TEXT) {
        return ac_err_set(err, AC_INVALID_REQUEST, "it is longer than %d bytes", MAX_TEXT);
    }
    while (*text) {
        size_t len = strcspn(text, ";");
        field_t part = trim_blanks(text, len);
        number++;
        apr_status_t status = part.len ? read_part(fields, part, number, err) : APR_SUCCESS;
        if (status != APR_SUCCESS) {
            return status;
        }
        text += len + (text[len] == ';');
    }
    return APR_SUCCESS;
}

/* ---- the parts ---- */

static bool is_guid(field_t field)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    for (size_t i = 0; i < field.len && i < sizeof form; i++) {
        if (form[i] == 'x' ? ac_hex_value(field.at[i]) < 0 : field.at[i] != form[i]) {
            return false;
        }
    }
    return field.len == sizeof form - 1;
}

static bool is_loopback(field_t host)
{
    return field_is(host, "localhost") || field_is(host, "[::1]") ||
        (host.len >= 9 && host.len <= 15 && memcmp(host.at, "127.", 4) == 0 &&
         strspn(host.at, "0123456789.") >= host.len);
}

/* The host of an address without its port. */
static field_t host_of(field_t address)
{
    const char *at = address.at;
    size_t len = 0;
    while (len < address.len && !strchr(*at == '[' ? "]/?#" : ":/?#", at[len])) {
        len++;
    }
    len += *at == '[' && len < address.len && at[len] == ']';
    return (field_t){at, len};
}

static bool is_host(field_t host)
{
    for (size_t i = 0; i < host.len; i++) {
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_[]:", host.at[i])) {
            return false;
        }
    }
    return host.len > 0;
}

static apr_status_t set_url(ac_appinsights_target_t *target, field_t endpoint, ac_err_t *err)
{
    bool plain = endpoint.len > 7 && strncasecmp(endpoint.at, "http://", 7) == 0;
    if (!plain && (endpoint.len <= 8 || strncasecmp(endpoint.at, "https://", 8) != 0)) {
        return ac_err_set(err, AC_INVALID_REQUEST, "its IngestionEndpoint is not an https address");
    }
    field_t rest = {endpoint.at + (plain ? 7 : 8), endpoint.len - (plain ? 7 : 8)};
    while (rest.len && rest.at[rest.len - 1] == '/') {
        rest.len--;
    }
    field_t host = host_of(rest);
    if (!is_host(host) || memchr(rest.at, '?', rest.len) || memchr(rest.at, '#', rest.len) ||
        memchr(rest.at, '@', rest.len) || rest.len + sizeof "https://" TRACK > sizeof target->url) {
        return ac_err_set(err, AC_INVALID_REQUEST, "its IngestionEndpoint is not the address of a host");
    }
    snprintf(target->url, sizeof target->url, "%s%.*s" TRACK, plain && is_loopback(host) ? "http://" : "https://",
             (int)rest.len, rest.at);
    return APR_SUCCESS;
}

static apr_status_t set_endpoint(ac_appinsights_target_t *target, const fields_t *fields, ac_err_t *err)
{
    char text[sizeof target->url];
    if (fields->endpoint.at) {
        return set_url(target, fields->endpoint, err);
    }
    if (!fields->suffix.at) {
        return set_url(target, (field_t){ENDPOINT, strlen(ENDPOINT)}, err);
    }
    if (fields->suffix.len + fields->location.len > sizeof text / 2) {
        return ac_err_set(err, AC_INVALID_REQUEST, "its EndpointSuffix is too long");
    }
    snprintf(text, sizeof text, "https://%.*s%sdc.%.*s", (int)fields->location.len,
             fields->location.at ? fields->location.at : "", fields->location.at ? "." : "", (int)fields->suffix.len,
             fields->suffix.at);
    return set_url(target, (field_t){text, strlen(text)}, err);
}

static apr_status_t set_scope(ac_appinsights_target_t *target, field_t audience, ac_err_t *err)
{
    static const char end[] = "/.default";
    size_t len = audience.len;
    if (len >= sizeof end - 1 && memcmp(audience.at + len - (sizeof end - 1), end, sizeof end - 1) == 0) {
        len -= sizeof end - 1;
    }
    while (len && audience.at[len - 1] == '/') {
        len--;
    }
    if (len + sizeof end > sizeof target->scope) {
        return ac_err_set(err, AC_INVALID_REQUEST, "its AADAudience is too long");
    }
    snprintf(target->scope, sizeof target->scope, "%.*s%s", (int)len, audience.at, end);
    return APR_SUCCESS;
}

apr_status_t ac_appinsights_string_read(ac_appinsights_target_t *target, const char *text, ac_err_t *err)
{
    fields_t fields = {0};
    *target = (ac_appinsights_target_t){.scope = AC_APPINSIGHTS_SCOPE};
    apr_status_t status = read_parts(&fields, text, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    if (!fields.key.at) {
        return ac_err_set(err, AC_INVALID_REQUEST, "it has no InstrumentationKey");
    }
    if (!is_guid(fields.key)) {
        return ac_err_set(err, AC_INVALID_REQUEST,
                          "its InstrumentationKey is not of the form "
                          "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
    }
    if (fields.application.len >= sizeof target->application) {
        return ac_err_set(err, AC_INVALID_REQUEST, "its ApplicationId is too long");
    }
    if (fields.authorization.at && !field_is(fields.authorization, "ikey")) {
        return ac_err_set(err, AC_INVALID_REQUEST,
                          "Authorization= belongs into APPLICATIONINSIGHTS_AUTHENTICATION_STRING");
    }
    snprintf(target->key, sizeof target->key, "%.*s", (int)fields.key.len, fields.key.at);
    if (fields.application.at) {
        snprintf(target->application, sizeof target->application, "%.*s", (int)fields.application.len,
                 fields.application.at);
    }
    status = fields.audience.at ? set_scope(target, fields.audience, err) : APR_SUCCESS;
    return status == APR_SUCCESS ? set_endpoint(target, &fields, err) : status;
}

apr_status_t ac_appinsights_string_authentication(bool *pidentity, char client[AC_APPINSIGHTS_CLIENT_SIZE],
                                                  const char *text, ac_err_t *err)
{
    fields_t fields = {0};
    *client = '\0';
    *pidentity = false;
    apr_status_t status = read_parts(&fields, text, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    if (fields.authorization.at && !field_is(fields.authorization, "AAD") && !field_is(fields.authorization, "ikey")) {
        return ac_err_set(err, AC_INVALID_REQUEST, "its Authorization is not AAD");
    }
    if (fields.client.len >= AC_APPINSIGHTS_CLIENT_SIZE) {
        return ac_err_set(err, AC_INVALID_REQUEST, "its ClientId is too long");
    }
    *pidentity = field_is(fields.authorization, "AAD");
    if (fields.client.at) {
        snprintf(client, AC_APPINSIGHTS_CLIENT_SIZE, "%.*s", (int)fields.client.len, fields.client.at);
    }
    return APR_SUCCESS;
}
