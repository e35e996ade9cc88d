/* SPDX-License-Identifier: Apache-2.0 */
/* An answer of chat completions that is made from chunks, and its events as text. */
#ifndef OPENAI_ANSWER_H
#define OPENAI_ANSWER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/wire.h"

typedef struct events_t {
    ac_buf_t log; /* text as it is, "{reasoning}", "[0 id name]" of a tool, "<0 arguments>" */
} events_t;

static void on_text(void *baton, const char *text, size_t len)
{
    events_t *events = baton;
    ac_buf_add(&events->log, text, len);
}

static void on_reasoning(void *baton, const char *text, size_t len)
{
    events_t *events = baton;
    ac_buf_printf(&events->log, "{%.*s}", (int)len, text);
}

static void on_tool_start(void *baton, int index, const char *id, const char *name)
{
    events_t *events = baton;
    ac_buf_printf(&events->log, "[%d %s %s]", index, strncmp(id, "call_0", 6) != 0 ? id : "ours", name);
}

static void on_tool_args(void *baton, int index, const char *fragment, size_t len)
{
    events_t *events = baton;
    ac_buf_printf(&events->log, "<%d %.*s>", index, (int)len, fragment);
}

static const ac_model_cb_t openai_callbacks = {.on_text = on_text,
                                               .on_tool_start = on_tool_start,
                                               .on_tool_args = on_tool_args,
                                               .on_reasoning = on_reasoning};

typedef struct answer_t {
    events_t events;
    ac_openai_answer_t wire;
    ac_model_end_t end;
    ac_err_t err;
} answer_t;

static inline void answer_start(answer_t *answer)
{
    memset(answer, 0, sizeof(*answer));
    ac_buf_init(&answer->events.log, 16 * 1024 * 1024);
    ac_buf_str(&answer->events.log, "");
    ac_openai_answer_init(&answer->wire, &openai_callbacks, &answer->events);
}

static inline void answer_free(answer_t *answer)
{
    ac_openai_answer_free(&answer->wire);
    ac_buf_free(&answer->events.log);
}

static inline apr_status_t feed(answer_t *answer, const char *chunk)
{
    /* Exactly its bytes, so that a read past them is seen. */
    size_t len = strlen(chunk);
    char *copy = malloc(len ? len : 1);
    memcpy(copy, chunk, len);
    apr_status_t status = ac_openai_chunk(&answer->wire, copy, len, &answer->err);
    free(copy);
    return status;
}

/* Feeds chunks up to NULL, then ends. */
static inline void answer_run(answer_t *answer, const char *const *chunks)
{
    answer_start(answer);
    for (; *chunks; chunks++) {
        assert_int_equal(feed(answer, *chunks), APR_SUCCESS);
    }
    ac_openai_end(&answer->wire, &answer->end);
}

static inline void expect_answer(const char *const *chunks, const char *log, ac_finish_e finish)
{
    answer_t answer;
    answer_run(&answer, chunks);
    assert_string_equal(answer.end.err.detail, "");
    assert_int_equal(answer.end.status, APR_SUCCESS);
    assert_string_equal(answer.events.log.data, log);
    assert_int_equal(answer.end.finish, finish);
    answer_free(&answer);
}

#define CHUNKS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define DELTA(delta) \
    "{\"id\":\"c\",\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":null}]}"
#define TEXT(text) DELTA("{\"content\":\"" text "\"}")
#define FINISH(reason) "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"" reason "\"}]}"
#define CALLS(calls) DELTA("{\"tool_calls\":[" calls "]}")
#define DONE "[DONE]"

/* before, len times the letter x, after; to be freed. */
static inline char *large_chunk(const char *before, size_t len, const char *after)
{
    size_t n = strlen(before);
    char *chunk = malloc(n + len + strlen(after) + 1);
    memcpy(chunk, before, n);
    memset(chunk + n, 'x', len);
    memcpy(chunk + n + len, after, strlen(after) + 1);
    return chunk;
}

#endif
