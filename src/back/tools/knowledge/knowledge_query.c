/* SPDX-License-Identifier: Apache-2.0 */
/* Converts a question into a query of FTS5. */
#include "knowledge_internal.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MAX_WORDS 32
#define MAX_WORD 64  /* bytes; a longer word is cut */
#define MIN_PREFIX 3 /* bytes; shorter words match whole words only */

typedef struct words_t {
    char text[MAX_WORDS][MAX_WORD + 1];
    int n_words;
} words_t;

static bool is_stop_word(const char *word)
{
    static const char *const words[] = {
        "a",    "about", "an",     "and",   "any",    "are",   "as",   "at",    "be",   "been", "but",   "by",
        "can",  "could", "did",    "do",    "does",   "for",   "from", "had",   "has",  "have", "how",   "i",
        "if",   "in",    "into",   "is",    "it",     "its",   "me",   "my",    "no",   "not",  "of",    "on",
        "or",   "our",   "please", "shall", "should", "so",    "some", "than",  "that", "the",  "their", "them",
        "then", "there", "these",  "they",  "this",   "those", "to",   "us",    "was",  "we",   "were",  "what",
        "when", "where", "which",  "who",   "why",    "will",  "with", "would", "you",  "your",
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasecmp(word, words[i]) == 0) {
            return true;
        }
    }
    return !word[1]; /* a single letter, left over from an apostrophe */
}

/* Whether a character of n bytes can be part of a word: letters, digits, and all of Unicode except for blanks and the
 * most common punctuation. The index's tokenizer makes the final decision. */
static bool in_word(const char *text, size_t n, bool valid)
{
    const unsigned char *c = (const unsigned char *)text;
    if (n == 1) {
        return valid && ((c[0] >= '0' && c[0] <= '9') || ((c[0] | 0x20) >= 'a' && (c[0] | 0x20) <= 'z'));
    }
    if (n == 2) {
        return c[0] != 0xc2 || c[1] == 0xaa || c[1] == 0xb5 || c[1] == 0xba; /* U+0080 to U+00BF */
    }
    bool punctuation = n == 3 && c[0] == 0xe2 && (c[1] == 0x80 || c[1] == 0x81); /* U+2000 to U+207F */
    bool wide = n == 3 && c[0] == 0xe3 && c[1] == 0x80;                          /* U+3000 to U+303F */
    return !punctuation && !wide;
}

static void knowledge_query_add_word(words_t *words, const char *text, size_t len)
{
    char *word = words->text[words->n_words];
    len = len > MAX_WORD ? ac_utf8_whole(text, MAX_WORD) : len;
    memcpy(word, text, len);
    word[len] = '\0';
    for (int i = 0; i < words->n_words; i++) {
        if (strcasecmp(words->text[i], word) == 0) {
            return;
        }
    }
    words->n_words++;
}

static void read_words(words_t *words, const char *text)
{
    size_t len = strlen(text), start = 0;
    for (size_t i = 0, n; i <= len && words->n_words < MAX_WORDS; i += n) {
        bool valid = false;
        n = i < len ? ac_utf8_next(text + i, len - i, &valid) : 1;
        if (i < len && in_word(text + i, n, valid)) {
            continue;
        }
        if (i > start) {
            knowledge_query_add_word(words, text + start, i - start);
        }
        start = i + n;
    }
}

static void drop_stop_words(words_t *words)
{
    int n_kept = 0;
    for (int i = 0; i < words->n_words; i++) {
        n_kept += !is_stop_word(words->text[i]);
    }
    if (n_kept == 0) { /* a question that has only common words is used unchanged */
        return;
    }
    n_kept = 0;
    for (int i = 0; i < words->n_words; i++) {
        if (!is_stop_word(words->text[i])) {
            memmove(words->text[n_kept++], words->text[i], sizeof(words->text[i]));
        }
    }
    words->n_words = n_kept;
}

bool ac_knowledge_query(char query[AC_KNOWLEDGE_QUERY], const char *question)
{
    words_t words = {.n_words = 0};
    size_t used = 0;
    query[0] = '\0';
    read_words(&words, question);
    drop_stop_words(&words);
    for (int i = 0; i < words.n_words; i++) { /* no word contains a quote */
        bool prefix = i == words.n_words - 1 && strlen(words.text[i]) >= MIN_PREFIX;
        used += (size_t)snprintf(query + used, AC_KNOWLEDGE_QUERY - used, "%s\"%s\"%s", i ? " OR " : "", words.text[i],
                                 prefix ? " *" : "");
    }
    return words.n_words > 0;
}
