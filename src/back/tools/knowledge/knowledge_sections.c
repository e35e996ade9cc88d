/* SPDX-License-Identifier: Apache-2.0 */
/* Splits a document into sections: a section is the text under one heading. */
#include "knowledge_internal.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define LEVELS 6
#define HEADING 120       /* bytes of one heading in a title */
#define LONG_BODY 4000    /* bytes after which a blank line ends a section */
#define LONGEST_BODY 8000 /* after which any line end does */
#define BETWEEN " \xe2\x80\xba "
#define FRONT_LINES 100

typedef struct split_t {
    char headings[LEVELS][HEADING]; /* of the section being read */
    char name[HEADING];             /* the title of sections without a heading */
    int level;                      /* level of the current heading; 0: none yet */
    bool markdown;
    ac_buf_t body;
    size_t last_line; /* where the last line of body begins, if it can become a heading */
    bool paragraph;   /* that line is the first of a paragraph */
    bool after_text;  /* the previous line was not blank */
    char fence;       /* '`' or '~' inside a fenced block */
    size_t fence_len;
    bool given; /* a part of this section was reported */
    int n_sections;
    ac_knowledge_section_fn *fn;
    void *baton;
} split_t;

/* ---- titles ---- */

static size_t knowledge_sections_trim(const char **ptext, size_t len)
{
    while (len && ((*ptext)[0] == ' ' || (*ptext)[0] == '\t')) {
        (*ptext)++;
        len--;
    }
    while (len && strchr(" \t\r\n", (*ptext)[len - 1])) {
        len--;
    }
    return len;
}

/* Copies a heading without the marks of emphasis and code. */
static void set_heading(char heading[HEADING], const char *text, size_t len)
{
    size_t used = 0;
    len = knowledge_sections_trim(&text, len);
    for (size_t i = 0, n; i < len; i += n) {
        bool valid;
        n = ac_utf8_next(text + i, len - i, &valid);
        if (used + n >= HEADING) {
            break;
        }
        if (!strchr("*`", text[i]) && (unsigned char)text[i] >= 0x20) {
            memcpy(heading + used, text + i, n);
            used += n;
        }
    }
    heading[used] = '\0';
}

static void name_after_file(char heading[HEADING], const char *path)
{
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    const char *dot = strrchr(name, '.');
    set_heading(heading, name, dot && dot > name ? (size_t)(dot - name) : strlen(name));
    for (char *c = heading; *c; c++) {
        *c = *c == '_' || *c == '-' ? ' ' : *c;
    }
    if (!*heading) {
        snprintf(heading, HEADING, "document");
    }
}

static void join_headings(char title[AC_KNOWLEDGE_TITLE], const split_t *split)
{
    size_t used = 0;
    title[0] = '\0';
    for (int i = 0; i < LEVELS; i++) {
        const char *heading = split->headings[i];
        size_t need = strlen(heading) + (used ? strlen(BETWEEN) : 0);
        if (*heading && used + need < AC_KNOWLEDGE_TITLE) {
            used += (size_t)snprintf(title + used, AC_KNOWLEDGE_TITLE - used, "%s%s", used ? BETWEEN : "", heading);
        }
    }
    if (!used) {
        snprintf(title, AC_KNOWLEDGE_TITLE, "%s", split->name);
    }
}

/* ---- sections ---- */

static bool knowledge_sections_is_blank(const char *text, size_t len)
{
    return knowledge_sections_trim(&text, len) == 0;
}

/* Reports the text read so far. bare: also a heading without text. */
static bool give(split_t *split, bool bare)
{
    char title[AC_KNOWLEDGE_TITLE];
    const char *body = split->body.data ? split->body.data : "";
    size_t len = split->body.len;
    while (len && strchr(" \t\r\n", body[len - 1])) {
        len--;
    }
    bool wanted = len > 0 || (bare && split->level && !split->given);
    bool going = !split->body.failed;
    if (wanted && going) {
        join_headings(title, split);
        split->n_sections++;
        split->given = true;
        going = split->fn(split->baton, title, body, len);
    }
    ac_buf_clear(&split->body);
    split->paragraph = split->after_text = false;
    return going;
}

static bool may_split(const split_t *split)
{
    return split->n_sections < AC_KNOWLEDGE_SECTIONS - 1;
}

static bool begin_section(split_t *split, int level, const char *text, size_t len)
{
    if (!give(split, level <= split->level)) {
        return false;
    }
    set_heading(split->headings[level - 1], text, len);
    for (int i = level; i < LEVELS; i++) {
        split->headings[i][0] = '\0';
    }
    split->level = level;
    split->given = false;
    return true;
}

/* ---- lines ---- */

/* "## Heading ##": returns its level; 0: not a heading, or an empty one. */
static int read_atx(const char **ptext, size_t *plen)
{
    const char *text = *ptext;
    size_t len = *plen, indent = strspn(text, " "), level = 0;
    if (indent > 3 || indent >= len) {
        return 0;
    }
    text += indent;
    len -= indent;
    while (level < len && text[level] == '#') {
        level++;
    }
    if (level == 0 || level > LEVELS || (level < len && text[level] != ' ' && text[level] != '\t')) {
        return 0;
    }
    text += level;
    len = knowledge_sections_trim(&text, len - level);
    size_t end = len;
    while (end && text[end - 1] == '#') {
        end--;
    }
    if (end == 0 || text[end - 1] == ' ' || text[end - 1] == '\t') {
        len = knowledge_sections_trim(&text, end);
    }
    *ptext = text;
    *plen = len;
    return len ? (int)level : 0;
}

/* Whether a line is the beginning or end of a fence; updates the state. */
static bool take_fence(split_t *split, const char *text, size_t len)
{
    size_t n = 0;
    len = knowledge_sections_trim(&text, len);
    char c = len ? text[0] : '\0';
    if (c != '`' && c != '~') {
        return false;
    }
    while (n < len && text[n] == c) {
        n++;
    }
    if (split->fence) {
        if (c == split->fence && n >= split->fence_len && n == len) {
            split->fence = '\0';
        }
        return true;
    }
    if (n < 3 || (c == '`' && memchr(text + n, '`', len - n))) {
        return false;
    }
    split->fence = c;
    split->fence_len = n;
    return true;
}

/* The level that a line of === or --- gives to the line above it, or 0. */
static int underline(const split_t *split, const char *text, size_t len)
{
    len = knowledge_sections_trim(&text, len);
    if (!split->paragraph || len < 2 || (text[0] != '=' && text[0] != '-') || (text[0] == '-' && len < 3)) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if (text[i] != text[0]) {
            return 0;
        }
    }
    return text[0] == '=' ? 1 : 2;
}

static bool begins_paragraph(const char *text, size_t len)
{
    len = knowledge_sections_trim(&text, len);
    return len && !strchr("-*+>|=:<#", text[0]) && !(len > 1 && text[0] >= '0' && text[0] <= '9');
}

static bool knowledge_sections_take_text(split_t *split, const char *text, size_t len)
{
    bool blank = knowledge_sections_is_blank(text, len);
    bool full = split->body.len > LONGEST_BODY || (blank && split->body.len > LONG_BODY && !split->fence);
    if (full && may_split(split) && !give(split, false)) {
        return false;
    }
    if (blank && !split->body.len) {
        return true;
    }
    split->last_line = split->body.len;
    split->paragraph = !split->fence && !split->after_text && begins_paragraph(text, len);
    split->after_text = !blank;
    return ac_buf_add(&split->body, text, len) == APR_SUCCESS;
}

/* Handles one line, with its end. */
static bool knowledge_sections_take_line(split_t *split, const char *text, size_t len)
{
    if (!split->markdown || !may_split(split) || take_fence(split, text, len) || split->fence) {
        return knowledge_sections_take_text(split, text, len);
    }
    const char *heading = text;
    size_t heading_len = len;
    int level = read_atx(&heading, &heading_len);
    if (level) {
        return begin_section(split, level, heading, heading_len);
    }
    level = underline(split, text, len);
    if (level) {
        char above[HEADING];
        set_heading(above, split->body.data + split->last_line, split->body.len - split->last_line);
        split->body.len = split->last_line;
        split->body.data[split->last_line] = '\0';
        return begin_section(split, level, above, strlen(above));
    }
    return knowledge_sections_take_text(split, text, len);
}

/* ---- front matter ---- */

static size_t line_length(const char *text, size_t len)
{
    const char *end = memchr(text, '\n', len);
    return end ? (size_t)(end - text) + 1 : len;
}

static bool line_is(const char *text, size_t len, const char *what)
{
    len = knowledge_sections_trim(&text, len);
    return len == strlen(what) && memcmp(text, what, len) == 0;
}

static void take_title(split_t *split, const char *text, size_t len)
{
    if (len < 6 || strncasecmp(text, "title:", 6) != 0) {
        return;
    }
    text += 6;
    len = knowledge_sections_trim(&text, len - 6);
    if (len >= 2 && (text[0] == '"' || text[0] == '\'') && text[len - 1] == text[0]) {
        text++;
        len -= 2;
    }
    if (len) {
        set_heading(split->headings[0], text, len);
    }
}

/* The number of bytes of front matter ("---" … "---"); its title is used. */
static size_t skip_front_matter(split_t *split, const char *text, size_t len)
{
    size_t at = line_length(text, len);
    if (!line_is(text, at, "---")) {
        return 0;
    }
    size_t start = at;
    for (int i = 0; i < FRONT_LINES && at < len; i++) {
        size_t n = line_length(text + at, len - at);
        bool end = line_is(text + at, n, "---") || line_is(text + at, n, "...");
        at += n;
        if (!end) {
            continue;
        }
        for (size_t line = start, m; line < at; line += m) {
            m = line_length(text + line, at - line);
            take_title(split, text + line, m);
        }
        return at;
    }
    return 0;
}

bool ac_knowledge_sections_split(const char *path, const char *text, size_t len, ac_knowledge_section_fn *fn,
                                 void *baton)
{
    split_t split = {.fn = fn, .baton = baton};
    const char *dot = strrchr(path, '.');
    ac_buf_init(&split.body, AC_KNOWLEDGE_FILE + 1);
    split.markdown = dot && strcasecmp(dot, ".txt") != 0;
    name_after_file(split.name, path);
    memcpy(split.headings[0], split.name, HEADING);
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    size_t at = split.markdown ? skip_front_matter(&split, text, len) : 0;
    bool going = true;
    while (going && at < len) {
        size_t n = line_length(text + at, len - at);
        going = knowledge_sections_take_line(&split, text + at, n);
        at += n;
    }
    going = going && give(&split, true);
    ac_buf_free(&split.body);
    return going;
}
