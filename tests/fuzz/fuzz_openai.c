/* SPDX-License-Identifier: Apache-2.0 */
/* Chat completions: every line is a chunk. The quick reader, if it is certain, must give exactly the events of the
 * general one; both, the whole-document reader and the error reader must accept any input. */
#include <stdlib.h>
#include <string.h>

#include "wire/openai_internal.h"

static void note(ac_buf_t *log, const char *what, const char *bytes, size_t len)
{
    ac_buf_str(log, what);
    ac_buf_add(log, bytes, len);
    ac_buf_add(log, "\n", 1);
}

static void on_text(void *baton, const char *text, size_t len)
{
    if (!len || memchr(text, '\0', len) || !ac_utf8_valid(text, len)) {
        abort();
    }
    note(baton, "text ", text, len);
}

static void on_reasoning(void *baton, const char *text, size_t len)
{
    if (!len || memchr(text, '\0', len) || !ac_utf8_valid(text, len)) {
        abort();
    }
    note(baton, "reasoning ", text, len);
}

static void on_tool_start(void *baton, int index, const char *id, const char *name)
{
    if (index < 0 || index >= AC_MAX_TOOL_CALLS || !id || !*id || !name || !*name) {
        abort();
    }
    note(baton, "tool ", name, strlen(name));
}

static void on_tool_args(void *baton, int index, const char *fragment, size_t len)
{
    if (index < 0 || index >= AC_MAX_TOOL_CALLS || !len) {
        abort();
    }
    note(baton, "args ", fragment, len);
}

static void on_annotation(void *baton, const json_t *annotation)
{
    (void)baton;
    json_t *found = ac_sources_annotation(annotation);
    if (json_array_size(found) > 1) {
        abort();
    }
    json_decref(found);
}

static const ac_model_cb_t callbacks = {on_text, on_tool_start, on_tool_args,  NULL,
                                        NULL,    on_reasoning,  on_annotation, NULL};

static void check_end(ac_openai_answer_t *answer)
{
    ac_model_end_t end;
    if (ac_openai_end(answer, &end) != end.status || (end.status != APR_SUCCESS) != (end.err.kind != AC_OK)) {
        abort();
    }
    for (int i = 0; i < end.n_calls; i++) {
        for (int j = 0; j < i; j++) {
            if (strcmp(end.calls[i].id, end.calls[j].id) == 0) {
                abort();
            }
        }
        if (!*end.calls[i].name || !end.calls[i].arguments) {
            abort();
        }
    }
}

/* One chunk by both readers. */
static void check_readers(const char *line, size_t len)
{
    ac_buf_t quick_log, parsed_log;
    ac_openai_answer_t quick, parsed;
    ac_err_t quick_err = {0}, parsed_err = {0};
    apr_status_t quick_status;
    ac_buf_init(&quick_log, 16 * 1024 * 1024);
    ac_buf_init(&parsed_log, 16 * 1024 * 1024);
    ac_openai_answer_init(&quick, &callbacks, &quick_log);
    ac_openai_answer_init(&parsed, &callbacks, &parsed_log);
    if (ac_openai_quick_chunk(&quick, line, len, &quick_status, &quick_err)) {
        apr_status_t status = ac_openai_chunk_parsed(&parsed, line, len, &parsed_err);
        bool same = status == quick_status && quick_log.len == parsed_log.len &&
            (!quick_log.len || memcmp(quick_log.data, parsed_log.data, quick_log.len) == 0) &&
            strcmp(quick.model, parsed.model) == 0 && quick.finish == parsed.finish &&
            quick.started == parsed.started && quick.text_len == parsed.text_len && !parsed.n_calls &&
            !parsed.usage.known && quick_err.kind == parsed_err.kind;
        if (!same) {
            abort();
        }
    } else if (quick_log.len || quick.started || *quick.model) {
        abort();
    }
    ac_openai_answer_free(&quick);
    ac_openai_answer_free(&parsed);
    ac_buf_free(&quick_log);
    ac_buf_free(&parsed_log);
}

static void check_stream(const char *text, size_t size)
{
    ac_buf_t log;
    ac_openai_answer_t answer;
    ac_err_t err = {0};
    ac_buf_init(&log, 64 * 1024 * 1024);
    ac_openai_answer_init(&answer, &callbacks, &log);
    for (size_t i = 0; i < size;) {
        const char *lf = memchr(text + i, '\n', size - i);
        size_t len = lf ? (size_t)(lf - text) - i : size - i;
        char *line = malloc(len ? len : 1);
        memcpy(line, text + i, len);
        check_readers(line, len);
        if (err.kind == AC_OK) {
            ac_openai_chunk(&answer, line, len, &err);
        }
        free(line);
        i += len + 1;
    }
    check_end(&answer);
    ac_openai_answer_free(&answer);
    ac_buf_free(&log);
}

static void check_documents(const char *text, size_t size)
{
    static const int statuses[] = {0, 302, 400, 401, 404, 429, 503};
    ac_buf_t log;
    ac_openai_answer_t answer;
    ac_buf_init(&log, 64 * 1024 * 1024);
    ac_openai_answer_init(&answer, &callbacks, &log);
    ac_openai_whole(&answer, text, size, NULL);
    check_end(&answer);
    ac_openai_answer_free(&answer);
    ac_buf_free(&log);
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        ac_err_t err = {0};
        bool retry;
        ac_openai_error(statuses[i], text, size, &retry, &err);
        if (err.kind == AC_OK || !*err.detail || !ac_utf8_valid(err.detail, strlen(err.detail))) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_stream((const char *)data, size);
    check_documents((const char *)data, size);
    return 0;
}
