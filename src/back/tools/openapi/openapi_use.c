/* SPDX-License-Identifier: Apache-2.0 */
/* What one run uses of a service: the tools of the document as it was when the run began. */
#include "openapi_internal.h"

#include <string.h>

static void openapi_use_bind(ac_openapi_bound_t *bound, ac_openapi_use_t *use, const ac_openapi_entry_t *entry)
{
    bound->use = use;
    bound->entry = entry;
    memcpy(bound->id, entry->id, sizeof bound->id);
    bound->tool = (ac_tool_t){
        .id = bound->id,
        .description = entry->operation.description,
        .parameters = entry->operation.schema,
        .vt = &ac_openapi_call_vt,
        .self = bound,
        .conf = &entry->conf,
        .metric = use->service->metric,
        .source = entry->source,
    };
}

static bool openapi_use_want(void *self, ac_tool_waiter_t *waiter)
{
    return ac_openapi_load_want(self, waiter);
}

static void *openapi_use_open(void *self, const ac_err_t **perr)
{
    ac_openapi_service_t *service = self;
    ac_openapi_tools_t *tools = service->tools;
    *perr = &service->err;
    if (!tools) {
        return NULL;
    }
    ac_openapi_use_t *use = ac_alloc(sizeof *use + (size_t)tools->n * sizeof use->list[0]);
    use->service = service;
    use->tools = ac_openapi_list_ref(tools);
    use->n = tools->n;
    for (int i = 0; i < use->n; i++) {
        openapi_use_bind(&use->list[i], use, &tools->list[i]);
    }
    return use;
}

static void openapi_use_close(void *self)
{
    ac_openapi_use_t *use = self;
    ac_openapi_list_unref(use->tools);
    free(use);
}

static int openapi_use_count(const void *self)
{
    return ((const ac_openapi_use_t *)self)->n;
}

static const ac_tool_t *openapi_use_tool(void *self, int i)
{
    return &((ac_openapi_use_t *)self)->list[i].tool;
}

static void openapi_use_rename(void *self, int i)
{
    ac_openapi_use_t *use = self;
    ac_openapi_bound_t *bound = &use->list[i];
    ac_tool_name_hash(bound->id, use->service->prefix, bound->entry->operation.name, use->service->conf->id);
}

const ac_tool_source_vt ac_openapi_use_source = {openapi_use_want,  openapi_use_open, openapi_use_close,
                                                 openapi_use_count, openapi_use_tool, openapi_use_rename};
