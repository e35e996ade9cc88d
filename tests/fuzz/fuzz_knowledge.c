/* SPDX-License-Identifier: Apache-2.0 */
/* A document of a knowledge base, and the same bytes as a question: no section is empty, none is lost, nothing is left
 * of syntax. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "back/tools/knowledge/knowledge_internal.h"

typedef struct sections_t {
    int n_sections;
    size_t len;
} sections_t;

static bool count_section(void *baton, const char *title, const char *body, size_t len)
{
    sections_t *sections = baton;
    sections->n_sections++;
    sections->len += len;
    if (!*title || strlen(title) >= AC_KNOWLEDGE_TITLE || !ac_utf8_valid(title, strlen(title)) ||
        !ac_utf8_valid(body, len)) {
        abort();
    }
    return true;
}

static void check_query(const char *text)
{
    char query[AC_KNOWLEDGE_QUERY];
    int n_quotes = 0;
    bool any = ac_knowledge_query(query, text);
    for (const char *c = query; *c; c++) {
        n_quotes += *c == '"';
        if (*c != '"' && n_quotes % 2 == 0 && !strchr(" OR*", *c)) {
            abort();
        }
    }
    if (n_quotes % 2 || any != (n_quotes > 0)) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    check_query(text);
    if (ac_utf8_valid(text, size) && !memchr(text, '\0', size)) {
        sections_t sections = {0, 0};
        if (!ac_knowledge_sections_split("name.md", text, size, count_section, &sections) ||
            sections.n_sections > AC_KNOWLEDGE_SECTIONS || sections.len > size) {
            abort();
        }
    }
    free(text);
    return 0;
}
