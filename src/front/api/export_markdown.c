/* SPDX-License-Identifier: Apache-2.0 */
/* A conversation as Markdown. What people and models wrote cannot change the structure around it: questions are block
 * quotes, answers have no HTML and no open fence, and results of tools are code in fences that they cannot close. */
#include "api_internal.h"

#include <stdlib.h>
#include <string.h>

static size_t repeats_of(const char *text, char c)
{
    size_t n = 0;
    while (text[n] == c) {
        n++;
    }
    return n;
}

/* The number of characters of a fence at the beginning of this line; 0: this is not a fence. */
static size_t fence_of(const char *line, char *pmark)
{
    size_t blanks = repeats_of(line, ' '), n = 0;
    if (blanks < 4 && (line[blanks] == '`' || line[blanks] == '~')) {
        *pmark = line[blanks];
        n = repeats_of(line + blanks, *pmark);
    }
    return n < 3 ? 0 : n;
}

/* One line of other people's words, without any markup. */
static void add_words(ac_buf_t *out, const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f) {
            ac_buf_str(out, " ");
        } else {
            if (strchr("\\`*_{}[]()<>#|!&~", *text)) {
                ac_buf_str(out, "\\");
            }
            ac_buf_add(out, text, 1);
        }
    }
}

/* The same inside of HTML, where Markdown is not read. */
static void add_html(ac_buf_t *out, const char *text)
{
    for (; *text; text++) {
        bool control = (unsigned char)*text < 0x20 || *text == 0x7f;
        ac_buf_printf(out, *text == '<' ? "&lt;" : *text == '&' ? "&amp;" : control ? " " : "%c", *text);
    }
}

/* The length of the code span at the beginning of text, with its backticks; 0: they are not closed within len. */
static size_t code_span(const char *text, size_t len)
{
    size_t ticks = repeats_of(text, '`');
    for (size_t i = ticks; i < len;) {
        size_t n = text[i] == '`' ? repeats_of(text + i, '`') : 0;
        if (n == ticks) {
            return i + n;
        }
        i += n ? n : 1;
    }
    return 0;
}

/* A line of Markdown whose HTML is shown as text, except in code. *popen: an earlier line of the paragraph has left
 * backticks open, which may end here. What is code is not known then, and all HTML is escaped. */
static void add_markdown_line(ac_buf_t *out, const char *line, size_t len, bool *popen)
{
    for (size_t i = 0; i < len;) {
        size_t n = 1;
        if (line[i] == '\\' && i + 1 < len) {
            n = 2;
        } else if (line[i] == '`') {
            size_t span = *popen ? 0 : code_span(line + i, len - i);
            *popen = *popen || !span;
            n = span ? span : repeats_of(line + i, '`');
        } else if (line[i] == '<') {
            ac_buf_str(out, "&lt;");
            i++;
            continue;
        }
        ac_buf_add(out, line + i, n);
        i += n;
    }
    *popen = *popen && len > strspn(line, " \t");
}

typedef struct fence_t { /* of code */
    size_t n;            /* its characters; 0: none is open */
    char mark;
} fence_t;

/* Takes a line's effect on the fence. Returns whether the line is code, or a fence. One that is indented may belong to
 * a list, which ends at any line; it is not taken for one. */
static bool fence_take(fence_t *fence, const char *line, size_t len)
{
    char mark = 0;
    size_t n = fence_of(line, &mark), blanks = repeats_of(line, ' ');
    size_t rest = n ? blanks + n : 0;
    if (fence->n) {
        bool ends = n >= fence->n && mark == fence->mark && rest + strspn(line + rest, " \t") >= len;
        fence->n = ends ? 0 : fence->n;
        return true;
    }
    if (!n || blanks || (mark == '`' && memchr(line + rest, '`', len - rest))) {
        return false;
    }
    *fence = (fence_t){n, mark};
    return true;
}

/* Markdown, each line after `prefix`. A fence that is left open is closed. */
static void add_markdown(ac_buf_t *out, const char *text, const char *prefix)
{
    fence_t fence = {0, 0};
    bool open = false;
    while (*text) {
        size_t len = strcspn(text, "\r\n");
        ac_buf_str(out, prefix);
        if (fence_take(&fence, text, len)) {
            ac_buf_add(out, text, len);
            open = false;
        } else {
            add_markdown_line(out, text, len, &open);
        }
        ac_buf_str(out, "\n");
        text += len;
        text += *text == '\r';
        text += *text == '\n';
    }
    for (size_t i = 0; i < fence.n; i++) {
        ac_buf_str(out, i == 0 ? prefix : "");
        ac_buf_add(out, &fence.mark, 1);
    }
    ac_buf_str(out, fence.n ? "\n" : "");
}

static void add_code(ac_buf_t *out, const char *title, const json_t *value)
{
    size_t len = 0, longest = 2;
    char *text = json_is_string(value) ? strdup(json_string_value(value)) : ac_json_dump(value, &len);
    if (!text || !value || json_is_null(value)) {
        free(text);
        return;
    }
    for (const char *at = text; (at = strchr(at, '`')) != NULL;) {
        size_t n = repeats_of(at, '`');
        longest = n > longest ? n : longest;
        at += n;
    }
    ac_buf_printf(out, "%s:\n\n", title);
    for (int end = 0; end < 2; end++) {
        for (size_t i = 0; i <= longest; i++) {
            ac_buf_str(out, "`");
        }
        ac_buf_str(out, "\n");
        if (!end) {
            ac_buf_str(out, text);
            ac_buf_str(out, "\n");
        }
    }
    ac_buf_str(out, "\n");
    free(text);
}

/* Folds calls of tools: steps of a run, or the calls whose results a client has sent. */
static void add_steps(ac_buf_t *out, const json_t *steps)
{
    const json_t *step;
    size_t i;
    json_array_foreach(steps, i, step)
    {
        if (strcmp(ac_json_peek_string(step, "type", "tool_call"), "tool_call") != 0) {
            continue;
        }
        ac_buf_str(out, "<details><summary>Tool: ");
        add_html(out, ac_json_peek_string(step, "tool", ""));
        ac_buf_str(out, "</summary>\n\n");
        add_code(out, "Arguments", json_object_get(step, "arguments"));
        add_code(out, "Result", json_object_get(step, "result"));
        add_code(out, "Error", json_object_get(step, "error"));
        ac_buf_str(out, "</details>\n\n");
    }
}

/* Numbered as in the answer's text. */
static void markdown_add_sources(ac_buf_t *out, const json_t *sources)
{
    const json_t *source;
    size_t i;
    json_array_foreach(sources, i, source)
    {
        const char *title = ac_json_peek_string(source, "title", "");
        const char *place = ac_json_peek_string(source, "url", ac_json_peek_string(source, "place", ""));
        ac_buf_printf(out, "%s%d. ", i ? "" : "Sources:\n\n", (int)i + 1);
        add_words(out, title);
        if (*place && strcmp(place, title) != 0) {
            ac_buf_str(out, ": ");
            add_words(out, place);
        }
        ac_buf_str(out, "\n");
    }
    ac_buf_str(out, json_array_size(sources) ? "\n" : "");
}

void ac_export_markdown_begin(ac_buf_t *out, const json_t *thread)
{
    const char *title = ac_json_peek_string(thread, "title", NULL);
    ac_buf_str(out, "# ");
    add_words(out, title ? title : "Conversation");
    ac_buf_printf(out, "\n\n%s to %s\n\n", ac_json_peek_string(thread, "created_at", ""),
                  ac_json_peek_string(thread, "updated_at", ""));
}

void ac_export_markdown_message(ac_buf_t *out, const json_t *message, const json_t *steps)
{
    const char *role = ac_json_peek_string(message, "role", ""), *name;
    const json_t *attachments = json_object_get(message, "attachments"), *file;
    bool asks = strcmp(role, "user") == 0, answers = strcmp(role, "assistant") == 0;
    size_t i;
    ac_buf_printf(out, "## %s (%s)\n\n",
                  asks          ? "Question"
                      : answers ? "Answer"
                                : "Results of tools",
                  ac_json_peek_string(message, "timestamp", ""));
    add_steps(out, answers ? steps : json_object_get(message, "tool_calls"));
    add_markdown(out, ac_json_peek_string(message, "content", ""), asks ? "> " : "");
    ac_buf_str(out, "\n");
    markdown_add_sources(out, json_object_get(json_object_get(message, "metadata"), "sources"));
    json_array_foreach(attachments, i, file)
    {
        name = ac_json_peek_string(file, "name", "");
        ac_buf_str(out, "- File: ");
        add_words(out, name);
        ac_buf_str(out, i + 1 == json_array_size(attachments) ? "\n\n" : "\n");
    }
}
