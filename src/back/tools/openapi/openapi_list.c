/* SPDX-License-Identifier: Apache-2.0 */
/* The tools of a document: the operations that the configuration names, or why there is no tool of one. */
#include "openapi_internal.h"

#include <stdio.h>
#include <string.h>

#define MAX_OMISSIONS 200 /* that are remembered */
#define LINE_SIZE 640

typedef struct making_t {
    ac_openapi_tools_t *tools;
    const ac_openapi_service_t *service;
    ac_openapi_rules_t rules;
    bool *matched; /* names of the configuration */
} making_t;

ac_openapi_tools_t *ac_openapi_list_ref(ac_openapi_tools_t *tools)
{
    tools->refs++;
    return tools;
}

void ac_openapi_list_unref(ac_openapi_tools_t *tools)
{
    if (!tools || --tools->refs > 0) {
        return;
    }
    for (int i = 0; i < tools->n; i++) {
        ac_openapi_operation_free(&tools->list[i].operation);
        free(tools->list[i].source);
        free(tools->list[i].target);
    }
    for (int i = 0; i < tools->n_left_out && i < MAX_OMISSIONS; i++) {
        free(tools->left_out[i].name);
        free(tools->left_out[i].why);
    }
    free(tools->list);
    free(tools->left_out);
    free(tools->unmatched);
    free(tools);
}

/* ---- making ---- */

static char *place_text(const ac_openapi_place_t *place)
{
    ac_buf_t text;
    char path[64], id[64];
    ac_buf_init(&text, 256);
    ac_buf_printf(&text, "%s %s", place->method, ac_text_printable(path, place->path));
    if (*place->id) {
        ac_buf_printf(&text, " (%s)", ac_text_printable(id, place->id));
    }
    return text.data;
}

static void leave_out(making_t *making, const ac_openapi_place_t *place, const char *why)
{
    ac_openapi_tools_t *tools = making->tools;
    if (tools->n_left_out++ < MAX_OMISSIONS) {
        tools->left_out[tools->n_left_out - 1] = (ac_openapi_omission_t){place_text(place), strdup(why)};
    }
}

static char *list_join(const char *first, const char *between, const char *second)
{
    ac_buf_t text;
    ac_buf_init(&text, 8192);
    ac_buf_printf(&text, "%s%s%s", first, between, second);
    return text.data;
}

static void list_on_operation(void *baton, const ac_openapi_place_t *place)
{
    making_t *making = baton;
    const ac_openapi_conf_t *conf = making->service->conf;
    ac_openapi_tools_t *tools = making->tools;
    ac_err_t err;
    ac_err_init(&err);
    tools->n_operations++;
    for (int i = 0; i < conf->operations->nelts; i++) {
        const char *name = APR_ARRAY_IDX(conf->operations, i, const char *);
        making->matched[i] = making->matched[i] || ac_openapi_rule_names(name + (*name == '!'), place);
    }
    if (!ac_openapi_rule_allows(conf, place)) {
        return;
    }
    if (tools->n == AC_MAX_OPENAPI_TOOLS) {
        leave_out(making, place, "a document may have at most 128 tools; AgentChatOpenAPIOperations chooses which");
        return;
    }
    ac_openapi_entry_t *entry = &tools->list[tools->n];
    apr_status_t status = ac_openapi_operation_make(&entry->operation, place, &making->rules, &err);
    if (status == APR_SUCCESS) {
        status = ac_openapi_rule_server(making->service, &entry->operation, &err);
    }
    if (status != APR_SUCCESS) {
        ac_openapi_operation_free(&entry->operation);
        leave_out(making, place, err.detail);
        return;
    }
    entry->conf.approval = ac_openapi_rule_approval(conf, place);
    tools->n++;
}

static void list_set_ids(making_t *making)
{
    ac_openapi_tools_t *tools = making->tools;
    ac_tool_name_t *names = ac_alloc(((size_t)tools->n + 1) * sizeof *names);
    int n = 0;
    for (int i = 0; i < tools->n; i++) {
        names[i].name = tools->list[i].operation.name;
    }
    ac_tool_name_make(names, tools->n, making->service->prefix);
    for (int i = 0; i < tools->n; i++) {
        ac_openapi_entry_t *entry = &tools->list[i];
        if (!names[i].id[0]) {
            ac_openapi_place_t place = {entry->operation.method, entry->operation.path, "", NULL, NULL};
            leave_out(making, &place, "another operation has the same name");
            ac_openapi_operation_free(&entry->operation);
            continue;
        }
        memcpy(entry->id, names[i].id, sizeof entry->id);
        tools->list[n++] = *entry;
    }
    tools->n = n;
    free(names);
}

static void set_conf(const ac_openapi_service_t *service, ac_openapi_entry_t *entry)
{
    entry->source = list_join(service->source.name, "/", entry->operation.name);
    entry->target = list_join(entry->operation.server, "", entry->operation.path);
    entry->conf.id = entry->id;
    entry->conf.provider = "openapi";
    entry->conf.description = entry->operation.description;
    entry->conf.parameters = entry->operation.schema;
    entry->conf.timeout = service->conf->call_timeout;
    entry->conf.result_max = service->conf->result_max;
}

static void list_fill(making_t *making)
{
    const ac_openapi_conf_t *conf = making->service->conf;
    ac_openapi_tools_t *tools = making->tools;
    tools->refs = 1;
    tools->list = ac_alloc((AC_MAX_OPENAPI_TOOLS + 1) * sizeof *tools->list);
    tools->left_out = ac_alloc(MAX_OMISSIONS * sizeof *tools->left_out);
    ac_openapi_document_each(making->rules.document, list_on_operation, making);
    list_set_ids(making);
    ac_openapi_entry_t *list = realloc(tools->list, ((size_t)tools->n + 1) * sizeof *list);
    tools->list = list ? list : tools->list;
    for (int i = 0; i < tools->n; i++) {
        set_conf(making->service, &tools->list[i]);
    }
    for (int i = 0; i < conf->operations->nelts && !tools->unmatched; i++) {
        if (!making->matched[i]) {
            tools->unmatched = strdup(APR_ARRAY_IDX(conf->operations, i, const char *));
        }
    }
}

apr_status_t ac_openapi_list_make(ac_openapi_tools_t **ptools, const ac_openapi_service_t *service, const char *text,
                                  size_t len, ac_err_t *err)
{
    const ac_openapi_conf_t *conf = service->conf;
    json_t *document;
    apr_status_t status = ac_openapi_document_read(&document, text, len, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    making_t making = {
        .tools = ac_alloc(sizeof *making.tools),
        .service = service,
        .rules = {document, service->url, service->server, conf->variables, conf->fixed, service->schemes,
                  service->n_schemes, service->signs},
        .matched = ac_alloc(((size_t)conf->operations->nelts + 1) * sizeof *making.matched),
    };
    list_fill(&making);
    free(making.matched);
    json_decref(document);
    *ptools = making.tools;
    return APR_SUCCESS;
}

/* ---- telling ---- */

void ac_openapi_list_tell(const ac_openapi_service_t *service,
                          void (*tell)(void *baton, ac_log_id_e number, const char *text), void *baton)
{
    const ac_openapi_tools_t *tools = service->tools;
    const char *id = service->conf->id;
    char line[LINE_SIZE];
    for (int i = 0; tools && i < tools->n; i++) {
        const ac_openapi_entry_t *entry = &tools->list[i];
        snprintf(line, sizeof line, "openapi[%s]: tool %s: %s %.200s%s", id, entry->id, entry->operation.method,
                 entry->operation.path, entry->conf.approval ? ", with approval" : "");
        tell(baton, AC_M421, line);
    }
    for (int i = 0; tools && i < tools->n_left_out && i < MAX_OMISSIONS; i++) {
        snprintf(line, sizeof line, "openapi[%s]: left out: %s: %s", id, tools->left_out[i].name,
                 tools->left_out[i].why);
        tell(baton, AC_M422, line);
    }
    if (tools) {
        snprintf(line, sizeof line, "openapi[%s]: %d tools of %d operations, %d left out", id, tools->n,
                 tools->n_operations, tools->n_left_out);
        tell(baton, AC_M423, line);
    }
}
