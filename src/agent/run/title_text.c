/* SPDX-License-Identifier: Apache-2.0 */
/* The title in the text that a model has answered. Pure. */
#include "run_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define THINK "<think>"
#define THOUGHT "</think>"

/* Marks that models put around a title. */
static const struct {
    const char *open, *close;
} pairs[] = {
    {"\"", "\""},
    {"'", "'"},
    {"`", "`"},
    {"**", "**"},
    {"*", "*"},
    {"\xe2\x80\x9c", "\xe2\x80\x9d"}, /* “” */
    {"\xe2\x80\x9e", "\xe2\x80\x9c"}, /* „“ */
    {"\xe2\x80\x9e", "\xe2\x80\x9d"}, /* „” */
    {"\xe2\x80\x98", "\xe2\x80\x99"}, /* ‘’ */
    {"\xe2\x80\x9a", "\xe2\x80\x98"}, /* ‚‘ */
    {"\xc2\xab", "\xc2\xbb"},         /* «» */
    {"\xc2\xbb", "\xc2\xab"},         /* »« */
    {"\xe3\x80\x8c", "\xe3\x80\x8d"}, /* 「」 */
    {"<title>", "</title>"},
};
#define N_PAIRS (sizeof(pairs) / sizeof(*pairs))

/* Whether the three bytes are a character that changes the direction of text: U+202A to U+202E, U+2066 to U+2069. */
static bool turns_text(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;
    return c[0] == 0xe2 &&
        ((c[1] == 0x80 && c[2] >= 0xaa && c[2] <= 0xae) || (c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9));
}

static void drop_directions(char *text)
{
    char *to = text;
    while (*text) {
        if (turns_text(text)) {
            text += 3;
        } else {
            *to++ = *text++;
        }
    }
    *to = '\0';
}

static char *skip_blanks(char *text)
{
    return text + strspn(text, " \t\r\n");
}

char *ac_title_text_skip_reasoning(char *text)
{
    text = skip_blanks(text);
    if (strncasecmp(text, THINK, strlen(THINK)) != 0) {
        return text;
    }
    text = strstr(text, THOUGHT);
    return text ? skip_blanks(text + strlen(THOUGHT)) : NULL;
}

/* The first line that is no fence of a code block; ends it. */
static char *first_line(char *text)
{
    while (strncmp(text, "```", 3) == 0) {
        text = skip_blanks(text + strcspn(text, "\r\n"));
    }
    text[strcspn(text, "\r\n")] = '\0';
    return text;
}

static void cut_blanks(char *text)
{
    size_t len = strlen(text);
    while (len > 0 && strchr(" \t", text[len - 1])) {
        text[--len] = '\0';
    }
}

/* Without one pair of marks around it; the same text if there is none. */
static char *unwrap(char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < N_PAIRS; i++) {
        size_t open = strlen(pairs[i].open), close = strlen(pairs[i].close);
        if (len >= open + close && strncmp(text, pairs[i].open, open) == 0 &&
            strstr(text + open, pairs[i].close) == text + len - close) {
            text[len - close] = '\0';
            return text + open;
        }
    }
    return text;
}

/* The text behind "Title:", which may be emphasized. */
static char *skip_label(char *text)
{
    static const char *const labels[] = {"title:", "**title:**", "*title:*", "**title**:"};
    for (size_t i = 0; i < sizeof(labels) / sizeof(*labels); i++) {
        if (strncasecmp(text, labels[i], strlen(labels[i])) == 0) {
            return text + strlen(labels[i]);
        }
    }
    return text;
}

/* A full stop at the end, but not the last point of "…" or of an abbreviation such as "e.g.". */
static void cut_full_stop(char *text)
{
    size_t len = strlen(text);
    if (len > 1 && text[len - 1] == '.' && text[len - 2] != '.' && strchr(text, '.') == text + len - 1) {
        text[len - 1] = '\0';
    }
}

/* Without marks around it, a heading's marks, and a label in front. */
static char *title_text_strip(char *text)
{
    char *before;
    do {
        before = text;
        cut_blanks(text);
        cut_full_stop(text);
        text = skip_blanks(skip_label(skip_blanks(unwrap(text))));
        text = skip_blanks(text + strspn(text, "#"));
    } while (text != before);
    return text;
}

json_t *ac_title_text_clean(const char *answer)
{
    json_t *valid = ac_json_text(answer), *title = NULL;
    char *copy = json_is_string(valid) ? strdup(json_string_value(valid)) : NULL;
    char *text = copy ? ac_title_text_skip_reasoning(copy) : NULL;
    json_decref(valid);
    if (text) {
        text = first_line(text);
        drop_directions(text);
        text = title_text_strip(text);
        title = ac_record_title_cut(text);
    }
    free(copy);
    return title;
}
