/* SPDX-License-Identifier: Apache-2.0 */
/* An agent's document: checks a request's members against the configured models and tools, and fills in the rest.
 * Pure. */
#include "catalog_internal.h"

#include <apr_strings.h>
#include <stdlib.h>
#include <string.h>

bool ac_agent_document_id_valid(const char *id)
{
    size_t len = strlen(id);
    return len >= 1 && len <= AC_MAX_AGENT_ID && id[0] != '.' &&
        strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.") == len;
}

/* *ptext: the member; fallback if it is missing. */
static apr_status_t read_text(const char **ptext, const json_t *body, const char *name, size_t max, ac_err_t *err)
{
    char pointer[AC_ERR_POINTER_SIZE] = "";
    const char *text = NULL;
    apr_status_t status = ac_json_string(&text, body, name, false, err);
    if (status != APR_SUCCESS || !text) {
        return status;
    }
    if (strlen(text) > max) {
        ac_json_pointer_add(pointer, name);
        return ac_err_set_at(err, AC_INVALID_REQUEST, pointer, "%s may have at most %d bytes", name, (int)max);
    }
    *ptext = text;
    return APR_SUCCESS;
}

/* The keys of a hash as "a, b, c", sorted. */
static void list_names(ac_buf_t *names, const apr_hash_t *hash)
{
    const char *before = "";
    for (unsigned n = hash ? apr_hash_count((apr_hash_t *)hash) : 0; n > 0; n--) {
        const char *next = NULL;
        for (apr_hash_index_t *hi = apr_hash_first(NULL, (apr_hash_t *)hash); hi; hi = apr_hash_next(hi)) {
            const char *name = apr_hash_this_key(hi);
            if (strcmp(name, before) > 0 && (!next || strcmp(name, next) < 0)) {
                next = name;
            }
        }
        ac_buf_printf(names, "%s%s", *before ? ", " : "", next);
        before = next;
    }
}

static apr_status_t refuse_unknown(const char *pointer, const char *what, const char *id, const apr_hash_t *known,
                                   ac_err_t *err)
{
    char shown[64];
    ac_buf_t names;
    ac_buf_init(&names, AC_ERR_DETAIL_SIZE / 2);
    list_names(&names, known);
    apr_status_t status = ac_err_set_at(err, AC_INVALID_REQUEST, pointer, "there is no %s '%s'; there are %s", what,
                                        ac_text_printable(shown, id), names.len ? names.data : "none");
    ac_buf_free(&names);
    return status;
}

static apr_status_t check_model(const json_t *body, const ac_registry_t *registry, ac_err_t *err)
{
    const char *model = NULL;
    apr_status_t status = ac_json_string(&model, body, "model", true, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    if (apr_hash_get((apr_hash_t *)registry->models, model, APR_HASH_KEY_STRING)) {
        return APR_SUCCESS;
    }
    return refuse_unknown("/model", "model", model, registry->models, err);
}

static apr_status_t check_tool(const json_t *tools, size_t at, const ac_registry_t *registry, ac_err_t *err)
{
    const json_t *name = json_array_get(tools, at);
    char pointer[AC_ERR_POINTER_SIZE];
    apr_snprintf(pointer, sizeof pointer, "/tools/%d", (int)at);
    if (!json_is_string(name)) {
        return ac_err_set_at(err, AC_INVALID_REQUEST, pointer, "must be the name of a tool");
    }
    const char *id = json_string_value(name);
    bool source = ac_registry_is_source(id), agent = ac_registry_is_agent_tool(id);
    const apr_hash_t *known = source ? registry->sources : agent ? registry->agent_tools : registry->tools;
    if (!known || !apr_hash_get((apr_hash_t *)known, id, APR_HASH_KEY_STRING)) {
        return refuse_unknown(pointer, source ? "source of tools" : "tool", id, known, err);
    }
    for (size_t i = 0; i < at; i++) {
        if (json_equal(json_array_get(tools, i), name)) {
            return ac_err_set_at(err, AC_INVALID_REQUEST, pointer, "the tool is named twice");
        }
    }
    return APR_SUCCESS;
}

static apr_status_t check_tools(const json_t *body, const ac_registry_t *registry, ac_err_t *err)
{
    const json_t *tools = json_object_get(body, "tools");
    if (!tools || json_is_null(tools)) {
        return APR_SUCCESS;
    }
    if (!json_is_array(tools)) {
        return ac_err_set_at(err, AC_INVALID_REQUEST, "/tools", "must be an array of names of tools");
    }
    apr_status_t status = APR_SUCCESS;
    for (size_t i = 0; status == APR_SUCCESS && i < json_array_size(tools); i++) {
        status = check_tool(tools, i, registry, err);
    }
    return status;
}

static apr_status_t check_numbers(const json_t *body, int64_t *prounds, ac_err_t *err)
{
    const json_t *temperature = json_object_get(body, "temperature");
    apr_status_t status = ac_json_int(prounds, body, "max_rounds", *prounds, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    if (*prounds < 1 || *prounds > AC_MAX_ROUNDS) {
        return ac_err_set_at(err, AC_INVALID_REQUEST, "/max_rounds", "max_rounds must be from 1 to %d", AC_MAX_ROUNDS);
    }
    if (!temperature || json_is_null(temperature)) {
        return APR_SUCCESS;
    }
    double value = json_number_value(temperature);
    if (!json_is_number(temperature) || !(value >= 0 && value <= AC_MAX_TEMPERATURE)) {
        return ac_err_set_at(err, AC_INVALID_REQUEST, "/temperature",
                             "temperature must be null or a number from 0 to %d", AC_MAX_TEMPERATURE);
    }
    return APR_SUCCESS;
}

static apr_status_t check_status(const char *status, ac_err_t *err)
{
    if (strcmp(status, "active") == 0 || strcmp(status, "inactive") == 0) {
        return APR_SUCCESS;
    }
    return ac_err_set_at(err, AC_INVALID_REQUEST, "/status", "status must be active or inactive");
}

static json_t *member(const json_t *body, const char *name, json_t *fallback)
{
    json_t *value = json_object_get(body, name);
    if (!value || json_is_null(value)) {
        return fallback;
    }
    json_decref(fallback);
    return json_deep_copy(value);
}

apr_status_t ac_agent_document_make(json_t **pdocument, const json_t *body, const char *id,
                                    const ac_registry_t *registry, ac_err_t *err)
{
    static const char *const members[] = {"id",          "name",       "description", "instructions", "model", "tools",
                                          "temperature", "max_rounds", "status",      "source",       "etag",  NULL};
    const char *name = id, *description = "", *instructions = "", *active = "active";
    int64_t rounds = AC_ROUNDS_DEFAULT;
    char etag[AC_ETAG_SIZE];
    apr_status_t status = ac_json_only(body, members, err);
    *pdocument = NULL;
    if (status == APR_SUCCESS) {
        status = read_text(&name, body, "name", AC_MAX_AGENT_NAME, err);
    }
    if (status == APR_SUCCESS) {
        status = read_text(&description, body, "description", AC_MAX_AGENT_DESCRIPTION, err);
    }
    if (status == APR_SUCCESS) {
        status = read_text(&instructions, body, "instructions", AC_MAX_INSTRUCTIONS, err);
    }
    if (status == APR_SUCCESS) {
        status = check_model(body, registry, err);
    }
    if (status == APR_SUCCESS) {
        status = check_tools(body, registry, err);
    }
    if (status == APR_SUCCESS) {
        status = check_numbers(body, &rounds, err);
    }
    if (status == APR_SUCCESS) {
        status = read_text(&active, body, "status", AC_MAX_AGENT_NAME, err);
    }
    if (status == APR_SUCCESS) {
        status = check_status(active, err);
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    apr_snprintf(etag, sizeof etag, "\"%016" APR_UINT64_T_HEX_FMT "\"", (apr_uint64_t)ac_random());
    *pdocument = json_object();
    ac_json_put(*pdocument, "id", ac_json_text(id));
    ac_json_put(*pdocument, "name", ac_json_text(name));
    ac_json_put(*pdocument, "description", ac_json_text(description));
    ac_json_put(*pdocument, "instructions", ac_json_text(instructions));
    ac_json_put(*pdocument, "model", member(body, "model", json_null()));
    ac_json_put(*pdocument, "tools", member(body, "tools", json_array()));
    ac_json_put(*pdocument, "temperature", member(body, "temperature", json_null()));
    ac_json_put(*pdocument, "max_rounds", json_integer(rounds));
    ac_json_put(*pdocument, "status", ac_json_text(active));
    ac_json_put(*pdocument, "etag", json_string(etag));
    return APR_SUCCESS;
}
