/* SPDX-License-Identifier: Apache-2.0 */
/* Sources in a tool's result. Lines: the paths of a map, with blanks between them, or an empty line for the usual
 * names; the answer's text; the rest is the result. All sources have an id and a title within their maxima, an address
 * is one that a page may link to, and the places of citations are in the text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static char *take_line(const char **ptext, const char *end)
{
    const char *lf = memchr(*ptext, '\n', (size_t)(end - *ptext));
    char *line = strndup(*ptext, (size_t)((lf ? lf : end) - *ptext));
    *ptext = lf ? lf + 1 : end;
    return line;
}

static void check_line(const json_t *source, const char *name, size_t max)
{
    const json_t *value = json_object_get(source, name);
    must(!value || (json_string_length(value) > 0 && json_string_length(value) <= max));
    for (const char *at = value ? json_string_value(value) : ""; *at; at++) {
        must((unsigned char)*at >= 0x20 && *at != 0x7f);
    }
}

static void check_list(const json_t *list, const char *text)
{
    const json_t *one;
    char number[16];
    size_t i;
    must(json_array_size(list) <= AC_MAX_SOURCES);
    json_array_foreach((json_t *)list, i, one)
    {
        const char *url = ac_json_peek_string(one, "url", "http://");
        snprintf(number, sizeof(number), "%d", (int)i + 1);
        must(strcmp(ac_json_peek_string(one, "id", ""), number) == 0);
        must(json_object_get(one, "title") && strncasecmp(url, "http", 4) == 0 && !strpbrk(url, " \"<>"));
        must(!json_object_get(one, "url") || !json_object_get(one, "place"));
        check_line(one, "title", AC_MAX_SOURCE_PLACE); /* an address may be the title */
        check_line(one, "url", AC_MAX_SOURCE_PLACE);
        check_line(one, "place", AC_MAX_SOURCE_PLACE);
        check_line(one, "snippet", AC_MAX_SOURCE_SNIPPET);
    }
    json_t *citations = ac_sources_citations(list, text, strlen(text));
    json_array_foreach(citations, i, one)
    {
        json_int_t start = ac_json_peek_int(one, "start_index", -1), end = ac_json_peek_int(one, "end_index", -1);
        must(start >= 0 && end >= start && end <= (json_int_t)strlen(text));
    }
    json_decref(citations);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *at = (const char *)data, *end = at + size;
    char *paths = size ? take_line(&at, end) : strdup(""), *text = take_line(&at, end), *rest = NULL;
    ac_sources_map_t map = {.list = strtok_r(paths, " ", &rest)};
    map.title = map.list ? strtok_r(NULL, " ", &rest) : NULL;
    map.url = map.title ? strtok_r(NULL, " ", &rest) : NULL;
    map.place = map.url ? strtok_r(NULL, " ", &rest) : NULL;
    map.score = map.place ? strtok_r(NULL, " ", &rest) : NULL;
    json_t *result = json_loadb(at, (size_t)(end - at), JSON_DECODE_ANY, NULL), *list = NULL;
    json_decref(ac_sources_add(&list, ac_sources_read(&map, result)));
    json_decref(ac_sources_add(&list, ac_sources_annotation(result)));
    must(!ac_sources_add(&list, ac_sources_read(&map, result)));
    check_list(list, text);
    json_decref(list);
    json_decref(result);
    free(paths);
    free(text);
    return 0;
}
