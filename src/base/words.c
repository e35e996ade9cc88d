/* SPDX-License-Identifier: Apache-2.0 */
/* Words of texts, for searching: the same for the index, the words to find, and the places that are shown. */
#include "base.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "words_table.h"

#define SNIPPET_BEFORE 60 /* characters before the first place */
#define SNIPPET_CHARS 200

typedef struct word_t {
    size_t start, end; /* its bytes in the text */
    char text[64];     /* without case and diacritics; longer ones are cut */
} word_t;

typedef enum letter_e { LETTER_NONE, LETTER, LETTER_ALONE, LETTER_MARK } letter_e;

/* Blocks of characters that are not letters of words; all others from U+00C0 on are. ALONE: of scripts that put no
 * blanks between words, so that each character is a word. MARK: adds to the letter before it, and is left out. */
static const struct {
    uint32_t first, last;
    letter_e kind;
} blocks[] = {
    {0x80, 0xa9, LETTER_NONE},        {0xab, 0xb1, LETTER_NONE},       {0xb4, 0xb4, LETTER_NONE},
    {0xb6, 0xb8, LETTER_NONE},        {0xbb, 0xbf, LETTER_NONE},       {0xd7, 0xd7, LETTER_NONE},
    {0xf7, 0xf7, LETTER_NONE},        {0x300, 0x36f, LETTER_MARK},     {0x37e, 0x37e, LETTER_NONE},
    {0x387, 0x387, LETTER_NONE},      {0x483, 0x489, LETTER_MARK},     {0x55a, 0x55f, LETTER_NONE},
    {0x589, 0x58f, LETTER_NONE},      {0x591, 0x5bd, LETTER_MARK},     {0x5be, 0x5c0, LETTER_NONE},
    {0x5c1, 0x5c7, LETTER_MARK},      {0x5f3, 0x5f4, LETTER_NONE},     {0x600, 0x60f, LETTER_NONE},
    {0x610, 0x61a, LETTER_MARK},      {0x61b, 0x61f, LETTER_NONE},     {0x640, 0x640, LETTER_MARK},
    {0x64b, 0x65f, LETTER_MARK},      {0x66a, 0x66d, LETTER_NONE},     {0x670, 0x670, LETTER_MARK},
    {0x6d4, 0x6d4, LETTER_NONE},      {0x6d6, 0x6ed, LETTER_MARK},     {0x964, 0x965, LETTER_NONE},
    {0xe00, 0xeff, LETTER_ALONE},     {0x1000, 0x109f, LETTER_ALONE},  {0x1100, 0x11ff, LETTER_ALONE},
    {0x1780, 0x17ff, LETTER_ALONE},   {0x1ab0, 0x1aff, LETTER_MARK},   {0x1dc0, 0x1dff, LETTER_MARK},
    {0x2000, 0x200b, LETTER_NONE},    {0x200c, 0x200d, LETTER_MARK},   {0x200e, 0x206f, LETTER_NONE},
    {0x20a0, 0x20cf, LETTER_NONE},    {0x20d0, 0x20ff, LETTER_MARK},   {0x2190, 0x2bff, LETTER_NONE},
    {0x2e00, 0x2e7f, LETTER_NONE},    {0x2e80, 0x2fff, LETTER_ALONE},  {0x3000, 0x3004, LETTER_NONE},
    {0x3005, 0x3007, LETTER_ALONE},   {0x3008, 0x3020, LETTER_NONE},   {0x3021, 0x3029, LETTER_ALONE},
    {0x302a, 0x302f, LETTER_MARK},    {0x3030, 0x3030, LETTER_NONE},   {0x3031, 0x3035, LETTER_ALONE},
    {0x3036, 0x3040, LETTER_NONE},    {0x3041, 0x309a, LETTER_ALONE},  {0x309b, 0x309c, LETTER_NONE},
    {0x309d, 0x309f, LETTER_ALONE},   {0x30a0, 0x30a0, LETTER_NONE},   {0x30a1, 0x30fa, LETTER_ALONE},
    {0x30fb, 0x30fb, LETTER_NONE},    {0x30fc, 0x9fff, LETTER_ALONE},  {0xac00, 0xd7ff, LETTER_ALONE},
    {0xe000, 0xf8ff, LETTER_NONE},    {0xf900, 0xfaff, LETTER_ALONE},  {0xfe00, 0xfe0f, LETTER_MARK},
    {0xfe10, 0xfe1f, LETTER_NONE},    {0xfe20, 0xfe2f, LETTER_MARK},   {0xfe30, 0xfe6f, LETTER_NONE},
    {0xfeff, 0xfeff, LETTER_MARK},    {0xff00, 0xff0f, LETTER_NONE},   {0xff1a, 0xff20, LETTER_NONE},
    {0xff3b, 0xff40, LETTER_NONE},    {0xff5b, 0xff65, LETTER_NONE},   {0xff66, 0xffdc, LETTER_ALONE},
    {0xffe0, 0xffff, LETTER_NONE},    {0x1f000, 0x1faff, LETTER_NONE}, {0x20000, 0x3ffff, LETTER_ALONE},
    {0xe0000, 0x10ffff, LETTER_NONE},
};

static letter_e classify_letter(uint32_t c)
{
    size_t low = 0, high = sizeof(blocks) / sizeof(*blocks);
    if (c < 0x80) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ? LETTER : LETTER_NONE;
    }
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > blocks[middle].last) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < sizeof(blocks) / sizeof(*blocks) && c >= blocks[low].first ? blocks[low].kind : LETTER;
}

static uint32_t fold(uint32_t c)
{
    if (c < 0x80) {
        return c >= 'A' && c <= 'Z' ? c + 32 : c;
    }
    if (c >= 0xc0 && c < 0x250) {
        return letters_c0[c - 0xc0];
    }
    if (c >= 0x370 && c < 0x530) {
        return letters_370[c - 0x370];
    }
    if (c >= 0x1e00 && c < 0x2000) {
        return letters_1e00[c - 0x1e00];
    }
    if (c >= 0x531 && c <= 0x556) { /* Armenian */
        return c + 48;
    }
    if (c >= 0xff10 && c <= 0xff19) { /* wide digits and letters */
        return c - 0xff10 + '0';
    }
    return c >= 0xff21 && c <= 0xff3a ? c - 0xff21 + 'a' : c >= 0xff41 && c <= 0xff5a ? c - 0xff41 + 'a' : c;
}

/* The character of n bytes, which are valid. */
static uint32_t decode(const char *text, size_t n)
{
    const unsigned char *b = (const unsigned char *)text;
    uint32_t c = n == 1 ? b[0] : b[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        c = c << 6 | (b[i] & 0x3f);
    }
    return c;
}

static size_t encode(char *to, uint32_t c)
{
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        to[0] = (char)(0xc0 | c >> 6);
        to[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        to[0] = (char)(0xe0 | c >> 12);
        to[1] = (char)(0x80 | (c >> 6 & 0x3f));
        to[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    to[0] = (char)(0xf0 | c >> 18);
    to[1] = (char)(0x80 | (c >> 12 & 0x3f));
    to[2] = (char)(0x80 | (c >> 6 & 0x3f));
    to[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* The next word at *pat, which moves to its end. Returns false at the end of the text. */
static bool words_next(word_t *word, const char *text, size_t len, size_t *pat)
{
    size_t n, size = 0;
    word->end = 0;
    for (size_t at = *pat; at < len; at += n) {
        bool valid;
        n = ac_utf8_next(text + at, len - at, &valid);
        uint32_t c = valid ? decode(text + at, n) : 0;
        letter_e kind = valid ? classify_letter(c) : LETTER_NONE;
        if (size && kind != LETTER && kind != LETTER_MARK) {
            break;
        }
        if (kind == LETTER_NONE || (kind == LETTER_MARK && !size)) {
            continue;
        }
        if (!size) {
            word->start = at;
        }
        word->end = at + n;
        if (kind != LETTER_MARK && size + 5 < sizeof(word->text)) {
            size += encode(word->text + size, fold(c));
        }
        if (kind == LETTER_ALONE) {
            break;
        }
    }
    word->text[size] = '\0';
    *pat = size ? word->end : len;
    return size > 0;
}

apr_status_t ac_words_put(ac_buf_t *buf, const char *text, size_t len)
{
    word_t word;
    size_t at = 0;
    apr_status_t status = APR_SUCCESS;
    while (status == APR_SUCCESS && words_next(&word, text, len, &at)) {
        status = ac_buf_add(buf, word.text, strlen(word.text));
        if (status == APR_SUCCESS) {
            status = ac_buf_add(buf, " ", 1);
        }
    }
    return status;
}

/* ---- words to find ---- */

/* Adds one phrase: the words of the text's n bytes from `from` on. */
static void add_phrase(ac_words_query_t *query, const char *text, size_t from, size_t n)
{
    word_t word;
    size_t at = 0;
    int first = query->n_words;
    while (query->n_words < AC_WORDS_MAX && words_next(&word, text + from, n, &at)) {
        if (query->n_words == first) {
            query->phrases[query->n_phrases].start = from + word.start;
        }
        query->phrases[query->n_phrases].end = from + word.end;
        memcpy(query->words[query->n_words++], word.text, sizeof(word.text));
    }
    if (query->n_words > first) {
        query->phrases[query->n_phrases].first = first;
        query->phrases[query->n_phrases++].n = query->n_words - first;
    }
}

void ac_words_query(ac_words_query_t *query, const char *text)
{
    size_t len = strlen(text), at = 0;
    memset(query, 0, sizeof(*query));
    while (at < len) {
        bool quoted = text[at] == '"';
        const char *end = quoted ? strchr(text + at + 1, '"') : NULL;
        if (quoted && end) {
            add_phrase(query, text, at + 1, (size_t)(end - text) - at - 1);
            at = (size_t)(end - text) + 1;
            continue;
        }
        size_t n = strcspn(text + at + quoted, " \t\r\n\"");
        add_phrase(query, text, at + quoted, n);
        query->open = query->n_phrases > 0 && at + quoted + n == len && n > 0;
        at += quoted + n + strspn(text + at + quoted + n, " \t\r\n");
    }
}

/* Whether the newest of the words seen, n_seen of them in a ring, end a place of the phrase. *pstart: where it
 * begins. */
static bool phrase_ends(size_t *pstart, const ac_words_query_t *query, int i, const word_t *ring, size_t n_seen)
{
    int first = query->phrases[i].first, n = query->phrases[i].n;
    if (n_seen < (size_t)n) {
        return false;
    }
    for (int k = 0; k < n; k++) {
        const word_t *word = &ring[(n_seen - (size_t)n + (size_t)k) % AC_WORDS_MAX];
        const char *wanted = query->words[first + k];
        bool prefix = query->open && i == query->n_phrases - 1 && k == n - 1;
        if (prefix ? strncmp(word->text, wanted, strlen(wanted)) != 0 : strcmp(word->text, wanted) != 0) {
            return false;
        }
        if (k == 0) {
            *pstart = word->start;
        }
    }
    return true;
}

bool ac_words_match(const ac_words_query_t *query, const char *text)
{
    word_t *ring = ac_alloc(AC_WORDS_MAX * sizeof(*ring));
    size_t len = strlen(text), at = 0, n_seen = 0, start;
    uint32_t found = 0, all = query->n_phrases == 32 ? UINT32_MAX : (1u << query->n_phrases) - 1;
    while (found != all && words_next(&ring[n_seen % AC_WORDS_MAX], text, len, &at)) {
        n_seen++;
        for (int i = 0; i < query->n_phrases; i++) {
            found |= phrase_ends(&start, query, i, ring, n_seen) ? 1u << i : 0;
        }
    }
    free(ring);
    return query->n_phrases && found == all;
}

/* ---- what is shown ---- */

/* Moves back by n characters at most, to the beginning of one. */
static size_t back_up(const char *text, size_t at, int n)
{
    for (; n > 0 && at > 0; n--) {
        do {
            at--;
        } while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80);
    }
    return at;
}

static size_t go_on(const char *text, size_t len, size_t at, int n)
{
    bool valid;
    for (; n > 0 && at < len; n--) {
        at += ac_utf8_next(text + at, len - at, &valid);
    }
    return at;
}

/* The part of the text as one line, with dots where it was cut. */
static json_t *snippet_text(const char *text, size_t len, size_t from, size_t to)
{
    ac_buf_t buf;
    json_t *snippet;
    ac_buf_init(&buf, 4 * (SNIPPET_CHARS + 2));
    if (from > 0) {
        ac_buf_add(&buf, "\xe2\x80\xa6", 3);
    }
    for (size_t i = from; i < to; i++) {
        char c = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i];
        ac_buf_add(&buf, &c, 1);
    }
    if (to < len) {
        ac_buf_add(&buf, "\xe2\x80\xa6", 3);
    }
    snippet = json_stringn(buf.data ? buf.data : "", buf.len);
    ac_buf_free(&buf);
    return snippet ? snippet : json_string("");
}

void ac_words_snippet(json_t *match, const ac_words_query_t *query, const char *text)
{
    word_t *ring = ac_alloc(AC_WORDS_MAX * sizeof(*ring));
    size_t len = strlen(text), at = 0, n_seen = 0, start, from = 0, to = go_on(text, len, 0, SNIPPET_CHARS), last = 0;
    json_t *highlights = json_array();
    bool found = false;
    while (words_next(&ring[n_seen % AC_WORDS_MAX], text, len, &at)) {
        size_t end = ring[n_seen++ % AC_WORDS_MAX].end;
        for (int i = 0; i < query->n_phrases; i++) {
            if (!phrase_ends(&start, query, i, ring, n_seen) || (found && start < last)) {
                continue;
            }
            if (!found && end > to) {
                from = back_up(text, start, SNIPPET_BEFORE);
                to = go_on(text, len, from, SNIPPET_CHARS);
            }
            found = true;
            last = end;
            if (end <= to) {
                int64_t dots = from > 0, a = (int64_t)ac_utf8_count(text + from, start - from) + dots;
                json_array_append_new(highlights,
                                      json_pack("{s:I, s:I}", "start", (json_int_t)a, "end",
                                                (json_int_t)(a + (int64_t)ac_utf8_count(text + start, end - start))));
            }
        }
        if (found && end > to) {
            break;
        }
    }
    free(ring);
    ac_json_put(match, "snippet", snippet_text(text, len, from, to));
    ac_json_put(match, "highlights", highlights);
}
