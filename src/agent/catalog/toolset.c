/* SPDX-License-Identifier: Apache-2.0 */
/* The tools of one run: the agent's own, then those that its sources of tools have now. */
#include "catalog.h"

#include <string.h>

typedef struct use_t {
    const ac_tool_source_t *source;
    void *self;
} use_t;

struct ac_toolset_t {
    const ac_tool_t **tools;
    int n;
    json_t *json;
    use_t *uses;
    int n_uses;
    json_t *missing;
};

const ac_tool_t *ac_toolset_find(const ac_toolset_t *set, const char *name)
{
    for (int i = 0; set && i < set->n; i++) {
        if (strcmp(set->tools[i]->id, name) == 0) {
            return set->tools[i];
        }
    }
    return NULL;
}

/* The name of a tool of one's own is kept. One that is taken is made longer. */
static void toolset_add(ac_toolset_t *set, const use_t *use, int i)
{
    const ac_tool_t *tool = use->source->vt->tool(use->self, i);
    if (ac_toolset_find(set, tool->id)) {
        use->source->vt->rename(use->self, i);
    }
    if (set->n < AC_MAX_RUN_TOOLS && !ac_toolset_find(set, tool->id)) {
        set->tools[set->n++] = tool;
    } else {
        ac_debug("%s: the run has no place for the tool %s", use->source->name, tool->id);
    }
}

static void note_missing(ac_toolset_t *set, const ac_tool_source_t *source, const ac_err_t *err)
{
    if (!set->missing) {
        set->missing = json_array();
    }
    json_array_append_new(set->missing,
                          json_pack("{s:s, s:o}", "source", source->name, "detail",
                                    ac_json_text(err->detail[0] ? err->detail : "its tools are not known yet")));
}

static void add_source(ac_toolset_t *set, const ac_tool_source_t *source)
{
    const ac_err_t *err;
    use_t *use = &set->uses[set->n_uses];
    use->source = source;
    use->self = source->vt->open(source->self, &err);
    if (!use->self) {
        note_missing(set, source, err);
        return;
    }
    set->n_uses++;
    for (int i = 0; i < source->vt->count(use->self); i++) {
        toolset_add(set, use, i);
    }
}

ac_toolset_t *ac_toolset_create(const ac_agent_t *agent, bool nested)
{
    ac_toolset_t *set = ac_alloc(sizeof *set);
    size_t room = agent->n_sources ? AC_MAX_RUN_TOOLS : 0;
    set->tools = ac_alloc(((size_t)agent->n_tools + room + 1) * sizeof *set->tools);
    for (int i = 0; i < agent->n_tools; i++) {
        if (!nested || !agent->tools[i]->hands_off) {
            set->tools[set->n++] = agent->tools[i];
        }
    }
    if (!agent->n_sources && set->n == agent->n_tools) {
        set->json = json_incref(agent->tools_json);
        return set;
    }
    set->uses = ac_alloc(((size_t)agent->n_sources + 1) * sizeof *set->uses);
    for (int i = 0; i < agent->n_sources; i++) {
        add_source(set, agent->sources[i]);
    }
    set->json = ac_registry_tools_json(set->tools, set->n);
    return set;
}

void ac_toolset_destroy(ac_toolset_t *set)
{
    if (!set) {
        return;
    }
    for (int i = 0; i < set->n_uses; i++) {
        set->uses[i].source->vt->close(set->uses[i].self);
    }
    free(set->uses);
    free(set->tools);
    json_decref(set->json);
    json_decref(set->missing);
    free(set);
}

json_t *ac_toolset_json(const ac_toolset_t *set)
{
    return set ? set->json : NULL;
}

json_t *ac_toolset_missing(const ac_toolset_t *set)
{
    return set ? set->missing : NULL;
}

apr_status_t ac_toolset_unknown(const ac_toolset_t *set, ac_err_t *err)
{
    ac_buf_t names;
    ac_buf_init(&names, AC_ERR_DETAIL_SIZE);
    for (int i = 0; set && i < set->n; i++) {
        ac_buf_printf(&names, "%s%s", i ? ", " : "", set->tools[i]->id);
    }
    ac_err_set(err, AC_TOOL_ERROR, "there is no tool of this name; there %s %s", set && set->n == 1 ? "is" : "are",
               names.len ? names.data : "none");
    ac_buf_free(&names);
    return APR_NOTFOUND;
}
