/* SPDX-License-Identifier: Apache-2.0 */
/* The names of metrics and of their labels: as they are, and as OpenTelemetry's conventions have them. */
#include "metrics_internal.h"

#include <stdio.h>
#include <string.h>

void ac_metrics_names_labels(const ac_metrics_t *metrics, ac_metric_e metric, ac_metric_labels_t labels,
                             ac_metric_label_fn *fn, void *baton)
{
    for (int i = 0; i < 3; i++) {
        ac_metric_domain_e domain = ac_metric_rows[metric].domains[i];
        const char *label = ac_metric_domains[domain].label, *value = ac_metrics_name(metrics, domain, labels.i[i]);
        if (domain == AC_DOMAIN_NONE) {
            continue;
        }
        for (const char *next; (next = strchr(label, ' ')) != NULL; label = next + 1) {
            size_t len = strcspn(value, " ");
            fn(baton, label, (size_t)(next - label), value, len);
            value += value[len] ? len + 1 : 0;
        }
        fn(baton, label, strlen(label), value, strlen(value));
    }
}

/* ---- OpenTelemetry ---- */

static const struct {
    ac_metric_e metric;
    const char *value, *name;
} conventional[] = {
#define AC_METRIC_DOMAIN(...)
#define AC_METRIC(...)
#define AC_METRIC_NAME(metric, value, name) {AC_METRIC_##metric, value, name},
#include "metrics_table.h"
#undef AC_METRIC_DOMAIN
#undef AC_METRIC
};
#define N_CONVENTIONAL (sizeof(conventional) / sizeof(conventional[0]))

/* The value of the last label, or "". */
static const char *last_value(const ac_metric_point_t *point)
{
    const ac_metric_domain_e *domains = ac_metric_rows[point->metric].domains;
    int k = 2;
    while (k > 0 && domains[k] == AC_DOMAIN_NONE) {
        k--;
    }
    return ac_metrics_name(point->reading->metrics, domains[k], point->labels.i[k]);
}

int ac_metrics_names_variant(const ac_metric_point_t *point)
{
    for (size_t i = 0; i < N_CONVENTIONAL; i++) {
        if (conventional[i].metric == point->metric &&
            (!*conventional[i].value || strcmp(conventional[i].value, last_value(point)) == 0)) {
            return (int)i;
        }
    }
    return -1;
}

static const char *conventional_name(const ac_metric_point_t *point)
{
    int i = ac_metrics_names_variant(point);
    return i < 0 ? NULL : conventional[i].name;
}

static bool cut_end(char *text, const char *end)
{
    size_t len = strlen(text), n = strlen(end);
    bool has = len > n && strcmp(text + len - n, end) == 0;
    if (has) {
        text[len - n] = '\0';
    }
    return has;
}

bool ac_metrics_names_otel(char name[AC_METRIC_OTEL_NAME_SIZE], const ac_metric_point_t *point)
{
    static const char prefix[] = "agentchat_";
    const char *own = ac_metric_rows[point->metric].name, *given = conventional_name(point);
    if (given) {
        snprintf(name, AC_METRIC_OTEL_NAME_SIZE, "%s", given);
        return true;
    }
    snprintf(name, AC_METRIC_OTEL_NAME_SIZE, "agentchat.%s", own + sizeof prefix - 1);
    cut_end(name, "_total");
    if (!cut_end(name, "_seconds")) {
        cut_end(name, "_bytes");
    }
    return false;
}

const char *ac_metrics_names_unit(ac_metric_e metric)
{
    char name[AC_METRIC_OTEL_NAME_SIZE];
    snprintf(name, sizeof name, "%s", ac_metric_rows[metric].name);
    cut_end(name, "_total");
    return cut_end(name, "_seconds") ? "s" : cut_end(name, "_bytes") ? "By" : cut_end(name, "_tokens") ? "{token}" : "";
}

typedef struct attributes_t {
    const ac_metric_naming_t *naming;
    const ac_metric_point_t *point;
    ac_metric_label_fn *fn;
    void *baton;
} attributes_t;

static void pass_text(const attributes_t *to, const char *name, const char *value)
{
    if (value && *value) {
        to->fn(to->baton, name, strlen(name), value, strlen(value));
    }
}

static void pass_model(const attributes_t *to, unsigned i, const char *id)
{
    static const ac_metric_model_t unknown;
    const ac_metric_model_t *model = i < to->naming->n_models ? &to->naming->models[i] : &unknown;
    pass_text(to, "gen_ai.provider.name", model->provider);
    pass_text(to, "gen_ai.request.model", model->request_model ? model->request_model : id);
}

static void pass_conventional(const attributes_t *to, ac_metric_domain_e domain, unsigned i)
{
    const char *value = ac_metrics_name(to->point->reading->metrics, domain, i);
    switch (domain) {
    case AC_DOMAIN_AGENT:
        pass_text(to, "gen_ai.agent.id", value);
        pass_text(to, "gen_ai.agent.name",
                  i < to->naming->n_agents && to->naming->agents[i] ? to->naming->agents[i] : value);
        break;
    case AC_DOMAIN_MODEL: pass_model(to, i, value); break;
    case AC_DOMAIN_TOOL: pass_text(to, "gen_ai.tool.name", value); break;
    case AC_DOMAIN_OUTCOME:
    case AC_DOMAIN_TOOL_OUTCOME:
    case AC_DOMAIN_CAUSE: pass_text(to, "error.type", i == 0 ? NULL : value); break; /* 0: none */
    default: break; /* the type of tokens is a part of the name */
    }
}

void ac_metrics_names_attributes(const ac_metric_naming_t *naming, const ac_metric_point_t *point,
                                 ac_metric_label_fn *fn, void *baton)
{
    attributes_t to = {naming, point, fn, baton};
    const char *name = conventional_name(point);
    if (!name) {
        ac_metrics_names_labels(point->reading->metrics, point->metric, point->labels, fn, baton);
        return;
    }
    pass_text(&to, "gen_ai.operation.name",
              point->metric == AC_METRIC_RUN_DURATION             ? "invoke_agent"
                  : point->metric == AC_METRIC_TOOL_CALL_DURATION ? "execute_tool"
                                                                  : "chat");
    if (strstr(name, ".usage.")) {
        pass_text(&to, "gen_ai.token.modality", "text");
    }
    for (int k = 0; k < 3; k++) {
        pass_conventional(&to, ac_metric_rows[point->metric].domains[k], point->labels.i[k]);
    }
}
