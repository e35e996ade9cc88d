/* SPDX-License-Identifier: Apache-2.0 */
/* A sink that keeps the spans of a test, in the order of their ends. */
#ifndef SPAN_SINK_H
#define SPAN_SINK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/base.h"

#define SINK_TRACE "0af7651916cd43dd8448eb211c80319c"
#define SINK_SPAN "b7ad6b7169203331"

#define SINK_MOST 64
static ac_span_t *sink_spans[SINK_MOST];
static int sink_n;
static pthread_mutex_t sink_lock = PTHREAD_MUTEX_INITIALIZER;

static inline void sink_take(void *baton, ac_span_t *span)
{
    (void)baton;
    pthread_mutex_lock(&sink_lock);
    if (sink_n < SINK_MOST) {
        sink_spans[sink_n++] = span;
    } else {
        ac_span_free(span);
    }
    pthread_mutex_unlock(&sink_lock);
}

static inline void sink_open(ac_content_e content)
{
    ac_span_sink_t sink = {.take = sink_take, .sampler = {.ratio = 1}, .content = content};
    ac_span_install(&sink);
}

static inline void sink_clear(void)
{
    for (int i = 0; i < sink_n; i++) {
        ac_span_free(sink_spans[i]);
    }
    sink_n = 0;
}

static inline void sink_close(void)
{
    ac_span_install(NULL);
    sink_clear();
}

/* The context of a client whose trace is sampled. */
static inline ac_trace_t sink_client(void)
{
    ac_trace_t trace;
    assert_true(ac_trace_parse(&trace, "00-" SINK_TRACE "-" SINK_SPAN "-01"));
    trace.state = "vendor=1";
    return trace;
}

static inline const ac_attribute_t *sink_attribute(const ac_span_t *span, ac_attribute_e key)
{
    for (int i = 0; i < span->n_attributes; i++) {
        if (span->attributes[i].key == key) {
            return &span->attributes[i];
        }
    }
    return NULL;
}

/* "": the span does not have it. */
static inline const char *sink_text(const ac_span_t *span, ac_attribute_e key)
{
    const ac_attribute_t *attribute = sink_attribute(span, key);
    return attribute ? attribute->value.text : "";
}

/* -1: the span does not have it. */
static inline int64_t sink_integer(const ac_span_t *span, ac_attribute_e key)
{
    const ac_attribute_t *attribute = sink_attribute(span, key);
    return attribute ? attribute->value.integer : -1;
}

/* The span of this name that ended first, or NULL. */
static inline const ac_span_t *sink_find(const char *name)
{
    for (int i = 0; i < sink_n; i++) {
        if (strcmp(sink_spans[i]->name, name) == 0) {
            return sink_spans[i];
        }
    }
    return NULL;
}

#endif
