/* SPDX-License-Identifier: Apache-2.0 */
/* Which credentials the requests of an operation carry, and where. */
#include "openapi_internal.h"

#include <string.h>
#include <strings.h>

static int find_scheme(const ac_openapi_rules_t *rules, const char *name)
{
    for (int i = 0; i < rules->n_schemes; i++) {
        if (strcmp(rules->schemes[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

static const json_t *definition(const json_t *document, const char *name)
{
    const json_t *schemes = json_object_get(json_object_get(document, "components"), "securitySchemes");
    return ac_openapi_document_follow(document, json_object_get(schemes, name));
}

/* false: requests cannot carry this kind. */
static bool make_key(ac_openapi_key_t *key, const json_t *scheme)
{
    const char *type = ac_json_peek_string(scheme, "type", ""), *in = ac_json_peek_string(scheme, "in", "");
    const char *way = ac_json_peek_string(scheme, "scheme", ""), *name = ac_json_peek_string(scheme, "name", "");
    key->name = NULL;
    key->type = AC_OPENAPI_KEY_BEARER;
    if (strcmp(type, "apiKey") == 0 && *name) {
        key->type = strcmp(in, "header") == 0 ? AC_OPENAPI_KEY_HEADER
            : strcmp(in, "query") == 0        ? AC_OPENAPI_KEY_QUERY
                                              : AC_OPENAPI_KEY_COOKIE;
        bool sendable = key->type == AC_OPENAPI_KEY_QUERY || !strpbrk(name, " \t\r\n:;=,\"");
        key->name = sendable ? strdup(name) : NULL;
        return sendable;
    }
    if (strcmp(type, "http") == 0 && strcasecmp(way, "basic") == 0) {
        key->type = AC_OPENAPI_KEY_BASIC;
        return true;
    }
    return strcmp(type, "oauth2") == 0 || strcmp(type, "openIdConnect") == 0 ||
        (strcmp(type, "http") == 0 && strcasecmp(way, "bearer") == 0);
}

static void drop_keys(ac_openapi_operation_t *operation)
{
    for (int i = 0; i < operation->n_keys; i++) {
        free(operation->keys[i].name);
    }
    operation->n_keys = 0;
}

/* Takes an alternative if there is a credential for each of its schemes. */
static bool take_alternative(ac_openapi_operation_t *operation, const json_t *alternative,
                             const ac_openapi_rules_t *rules)
{
    const char *name;
    json_t *scopes;
    bool whole = json_object_size(alternative) > 0 && json_object_size(alternative) <= AC_MAX_OPENAPI_KEYS;
    json_object_foreach((json_t *)alternative, name, scopes)
    {
        int scheme = find_scheme(rules, name);
        ac_openapi_key_t key = {.scheme = scheme};
        whole = whole && scheme >= 0 && make_key(&key, definition(rules->document, name));
        if (!whole) {
            drop_keys(operation);
            return false;
        }
        operation->keys[operation->n_keys++] = key;
    }
    return whole;
}

static const char *first_name(const json_t *security)
{
    for (size_t i = 0; i < json_array_size(security); i++) {
        void *iter = json_object_iter(json_array_get(security, i));
        if (iter) {
            return json_object_iter_key(iter);
        }
    }
    return "";
}

apr_status_t ac_openapi_security_read(ac_openapi_operation_t *operation, const ac_openapi_place_t *place,
                                      const ac_openapi_rules_t *rules, ac_err_t *err)
{
    const json_t *security = json_object_get(place->operation, "security");
    security = security ? security : json_object_get(rules->document, "security");
    bool open = json_array_size(security) == 0;
    for (size_t i = 0; i < json_array_size(security); i++) {
        const json_t *alternative = json_array_get(security, i);
        if (take_alternative(operation, alternative, rules)) {
            return APR_SUCCESS;
        }
        open = open || json_object_size(alternative) == 0;
    }
    int other = find_scheme(rules, "*");
    if (other >= 0) {
        operation->keys[operation->n_keys++] = (ac_openapi_key_t){AC_OPENAPI_KEY_BEARER, other, NULL};
        return APR_SUCCESS;
    }
    char shown[64];
    return open || rules->signs
        ? APR_SUCCESS
        : ac_err_set(err, AC_INVALID_REQUEST, "it needs the security scheme '%s', for which there is no credential",
                     ac_text_printable(shown, first_name(security)));
}

bool ac_openapi_security_is_key(const json_t *document, const char *name, const char *in)
{
    const json_t *schemes = json_object_get(json_object_get(document, "components"), "securitySchemes");
    const char *id;
    json_t *value;
    json_object_foreach((json_t *)schemes, id, value)
    {
        const json_t *scheme = ac_openapi_document_follow(document, value);
        if (strcmp(ac_json_peek_string(scheme, "type", ""), "apiKey") == 0 &&
            strcmp(ac_json_peek_string(scheme, "in", ""), in) == 0 &&
            strcasecmp(ac_json_peek_string(scheme, "name", ""), name) == 0) {
            return true;
        }
    }
    return false;
}
