/* SPDX-License-Identifier: Apache-2.0 */
/* Spans, their attributes, and the sampler. Sources: OpenTelemetry specification, "Tracing SDK", sections Sampling and
 * Span; W3C Trace Context, level 2. */
#include "base.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define KIND_INTERNAL AC_SPAN_KIND_INTERNAL
#define KIND_SERVER AC_SPAN_KIND_SERVER
#define KIND_CLIENT AC_SPAN_KIND_CLIENT

const ac_span_row_t ac_span_rows[AC_N_SPANS] = {
#define AC_SPAN(id, kind, name, since, help) {#id, KIND_##kind, name},
#define AC_ATTRIBUTE(...)
#include "span_table.h"
#undef AC_SPAN
#undef AC_ATTRIBUTE
};
const ac_attribute_row_t ac_span_attributes[AC_N_ATTRIBUTES] = {
#define AC_SPAN(...)
#define AC_ATTRIBUTE(id, name, type, old, spans, since, help) \
    {name, AC_ATTRIBUTE_TYPE_##type, sizeof(old) > 1 ? old : NULL, spans},
#include "span_table.h"
#undef AC_SPAN
#undef AC_ATTRIBUTE
};

static ac_span_sink_t installed;
static atomic_bool on; /* installed is valid */

void ac_span_install(const ac_span_sink_t *sink)
{
    on = false;
    installed = sink ? *sink : (ac_span_sink_t){0};
    on = sink != NULL;
}

bool ac_span_on(void)
{
    return on;
}

bool ac_span_wants(ac_content_e content)
{
    return on && installed.content >= content;
}

/* ---- the sampler ---- */

const char *ac_span_parse_sampler(ac_sampler_t *sampler, const char *name, const char *arg)
{
    static const char prefix[] = "parentbased_";
    ac_sampler_t read = {.parent_based = strncmp(name, prefix, sizeof(prefix) - 1) == 0, .ratio = 1};
    const char *rest = read.parent_based ? name + sizeof(prefix) - 1 : name;
    if (strcmp(rest, "always_off") == 0) {
        read.ratio = 0;
    } else if (strcmp(rest, "traceidratio") == 0) {
        char *end = NULL;
        read.ratio = arg ? strtod(arg, &end) : 1;
        if (arg && (end == arg || *end)) {
            return "the ratio of the sampler is not a number";
        }
        if (!(read.ratio >= 0 && read.ratio <= 1)) {
            return "the ratio of the sampler is not between 0 and 1";
        }
    } else if (strcmp(rest, "always_on") != 0) {
        return "the sampler has to be always_on, always_off, traceidratio, parentbased_always_on, "
               "parentbased_always_off or parentbased_traceidratio";
    }
    *sampler = read;
    return NULL;
}

/* Compares the right half of the trace id, as a part of 2^64, with the ratio. The SDKs of Go and Python do the same, so
 * that services with one ratio sample the same traces. */
static bool span_sample(const ac_sampler_t *sampler, const char *trace_id)
{
    if (sampler->ratio >= 1) {
        return true;
    }
    uint64_t low = strtoull(trace_id + 16, NULL, 16) >> 1;
    return low < (uint64_t)ldexp(sampler->ratio, 63);
}

static void make_id(char *id, int n_halves)
{
    for (int i = 0; i < n_halves; i++) {
        uint64_t bits = ac_random();
        snprintf(id + (ptrdiff_t)16 * i, 17, "%016" PRIx64, bits ? bits : 1);
    }
}

void ac_span_context(ac_trace_t *trace)
{
    if (!on) {
        return;
    }
    if (*trace->trace_id) {
        if (!installed.sampler.parent_based) {
            trace->sampled = span_sample(&installed.sampler, trace->trace_id);
        }
        return;
    }
    make_id(trace->trace_id, 2);
    trace->random = true;
    trace->sampled = span_sample(&installed.sampler, trace->trace_id);
    if (!trace->sampled) {
        make_id(trace->span_id, 1); /* so that upstreams learn that the trace is not sampled */
    }
}

/* ---- spans ---- */

ac_span_t *ac_span_begin(ac_span_e what, const ac_trace_t *parent)
{
    if (!on || !parent || !parent->sampled || !*parent->trace_id) {
        return NULL;
    }
    const char *pattern = ac_span_rows[what].name;
    ac_span_t *span = calloc(1, sizeof(*span));
    char *name = strndup(pattern, strcspn(pattern, " {"));
    if (!span || !name) {
        free(span);
        free(name);
        return NULL;
    }
    span->what = what;
    span->name = name;
    span->trace = *parent;
    memcpy(span->parent_id, parent->span_id, sizeof(span->parent_id));
    make_id(span->trace.span_id, 1);
    span->trace.state = parent->state ? strdup(parent->state) : NULL;
    span->started = apr_time_now();
    span->size = sizeof(*span) + AC_MAX_SPAN_NAME / 4 + (span->trace.state ? strlen(span->trace.state) : 0);
    return span;
}

const ac_trace_t *ac_span_trace(const ac_span_t *span, const ac_trace_t *parent)
{
    return span ? &span->trace : parent;
}

/* A copy that is valid UTF-8 and has at most max bytes. NULL: out of memory. */
static char *copy_text(const char *text, size_t max)
{
    size_t len = strnlen(text, max + 1);
    if (len > max) {
        len = ac_utf8_whole(text, max);
    }
    char *copy = malloc(len + 1);
    if (!copy) {
        return NULL;
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    for (size_t i = 0; i < len;) {
        bool valid;
        size_t n = ac_utf8_next(copy + i, len - i, &valid);
        if (!valid) {
            memset(copy + i, '?', n);
        }
        i += n;
    }
    return copy;
}

void ac_span_name(ac_span_t *span, const char *fmt, ...)
{
    if (!span) {
        return;
    }
    char text[AC_MAX_SPAN_NAME + 1];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    text[ac_utf8_whole(text, strlen(text))] = '\0';
    char *name = copy_text(text, AC_MAX_SPAN_NAME);
    if (name) {
        free(span->name);
        span->name = name;
    }
}

static bool span_has_text(const ac_attribute_t *attribute)
{
    return attribute->type == AC_ATTRIBUTE_TYPE_TEXT || attribute->type == AC_ATTRIBUTE_TYPE_LIST;
}

/* The attribute to set, without a value. NULL: there is no span, the type is not that of the row, or memory ran out. */
static ac_attribute_t *set_attribute(ac_span_t *span, ac_attribute_e key, ac_attribute_type_e type)
{
    if (!span || type != ac_span_attributes[key].type) {
        return NULL;
    }
    for (int i = 0; i < span->n_attributes; i++) {
        if (span->attributes[i].key == key) {
            if (span_has_text(&span->attributes[i])) {
                span->size -= strlen(span->attributes[i].value.text);
                free(span->attributes[i].value.text);
            }
            return &span->attributes[i];
        }
    }
    if (span->n_attributes % 8 == 0) {
        ac_attribute_t *more = realloc(span->attributes, (span->n_attributes + 8) * sizeof(*more));
        if (!more) {
            span->n_dropped++;
            return NULL;
        }
        span->attributes = more;
        span->size += 8 * sizeof(*more);
    }
    ac_attribute_t *attribute = &span->attributes[span->n_attributes++];
    attribute->key = key;
    attribute->type = type;
    return attribute;
}

void ac_span_text(ac_span_t *span, ac_attribute_e key, const char *text)
{
    ac_attribute_type_e type = ac_span_attributes[key].type;
    if (!span || !text || (type != AC_ATTRIBUTE_TYPE_TEXT && type != AC_ATTRIBUTE_TYPE_LIST)) {
        return;
    }
    char *copy = copy_text(text, AC_MAX_SPAN_TEXT);
    ac_attribute_t *attribute = copy ? set_attribute(span, key, type) : NULL;
    if (!attribute) {
        span->n_dropped += !copy;
        free(copy);
        return;
    }
    attribute->value.text = copy;
    span->size += strlen(copy);
}

void ac_span_integer(ac_span_t *span, ac_attribute_e key, int64_t value)
{
    ac_attribute_t *attribute = set_attribute(span, key, AC_ATTRIBUTE_TYPE_INTEGER);
    if (attribute) {
        attribute->value.integer = value;
    }
}

void ac_span_number(ac_span_t *span, ac_attribute_e key, double value)
{
    ac_attribute_t *attribute = isfinite(value) ? set_attribute(span, key, AC_ATTRIBUTE_TYPE_NUMBER) : NULL;
    if (attribute) {
        attribute->value.number = value;
    }
}

void ac_span_flag(ac_span_t *span, ac_attribute_e key, bool value)
{
    ac_attribute_t *attribute = set_attribute(span, key, AC_ATTRIBUTE_TYPE_FLAG);
    if (attribute) {
        attribute->value.flag = value;
    }
}

void ac_span_link(ac_span_t *span, const ac_trace_t *to)
{
    if (!span || !to || !*to->trace_id || !*to->span_id || span->n_links == AC_MAX_SPAN_LINKS ||
        strcmp(to->span_id, span->trace.span_id) == 0) {
        return;
    }
    ac_trace_t *link = &span->links[span->n_links++];
    *link = *to;
    link->state = NULL;
}

void ac_span_fail(ac_span_t *span, ac_kind_e kind)
{
    if (span && !span->error && kind != AC_OK) {
        span->error = ac_err_row(kind)->code;
    }
}

void ac_span_fail_status(ac_span_t *span, int http_status)
{
    if (span && !span->error) {
        snprintf(span->error_text, sizeof(span->error_text), "%d", http_status % 1000);
        span->error = span->error_text;
    }
}

void ac_span_end(ac_span_t *span)
{
    if (!span) {
        return;
    }
    span->ended = apr_time_now();
    if (span->ended < span->started) {
        span->ended = span->started; /* the wall clock was set back */
    }
    if (on) {
        installed.take(installed.baton, span);
    } else {
        ac_span_free(span);
    }
}

void ac_span_free(ac_span_t *span)
{
    if (!span) {
        return;
    }
    for (int i = 0; i < span->n_attributes; i++) {
        if (span_has_text(&span->attributes[i])) {
            free(span->attributes[i].value.text);
        }
    }
    free(span->attributes);
    free((char *)span->trace.state);
    free(span->name);
    free(span);
}
