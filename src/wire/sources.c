/* SPDX-License-Identifier: Apache-2.0 */
/* Sources: what a tool found, or a model names, and an answer rests on. */
#include "wire.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SOURCES_LIST_MAX 1000 /* items of one list that are looked at */

/* ---- members by their path ---- */

/* The member that a path leads to. Names may have dots in them: the longest name counts. Borrowed; NULL: none. */
static const json_t *member_at(const json_t *value, const char *path, size_t len)
{
    const json_t *found = json_is_object(value) ? json_object_getn(value, path, len) : NULL;
    for (size_t n = len; !found && json_is_object(value) && n-- > 1;) {
        if (path[n] == '.') {
            found = member_at(json_object_getn(value, path, n), path + n + 1, len - n - 1);
        }
    }
    return found;
}

/* path: NULL: the first of the names that is there. names: "url|uri". */
static const json_t *sources_find(const json_t *item, const char *path, const char *names)
{
    const json_t *found = NULL;
    if (path) {
        return member_at(item, path, strlen(path));
    }
    while (!found && names && *names) {
        size_t len = strcspn(names, "|");
        found = json_object_getn(item, names, len);
        found = json_is_string(found) || json_is_number(found) ? found : NULL;
        names += len + (names[len] == '|');
    }
    return found;
}

/* ---- texts of others ---- */

/* One line without control characters, and not longer than max bytes. NULL: nothing is left, or it is no text. */
static json_t *line_of(const json_t *value, size_t max)
{
    const char *text = json_string_value(value);
    size_t len = text ? strlen(text) : 0;
    ac_buf_t line;
    if (!text) {
        return NULL;
    }
    ac_buf_init(&line, max + 1);
    for (size_t i = 0; i < len;) {
        bool valid;
        size_t n = ac_utf8_next(text + i, len - i, &valid);
        bool blank = !valid || (unsigned char)text[i] <= 0x20 || text[i] == 0x7f;
        if (line.len + n > max) {
            break;
        }
        if (!blank) {
            ac_buf_add(&line, text + i, n);
        } else if (line.len && line.data[line.len - 1] != ' ') {
            ac_buf_str(&line, " ");
        }
        i += n;
    }
    while (line.len && line.data[line.len - 1] == ' ') {
        line.data[--line.len] = '\0';
    }
    json_t *kept = line.len ? ac_json_text(line.data) : NULL;
    ac_buf_free(&line);
    return kept;
}

/* An address that a page may link to; NULL: another text. */
static json_t *address_of(const json_t *value)
{
    const char *text = json_string_value(value);
    if (!text || strlen(text) > AC_MAX_SOURCE_PLACE) {
        return NULL;
    }
    const char *host = strncasecmp(text, "https://", 8) == 0 ? text + 8
        : strncasecmp(text, "http://", 7) == 0               ? text + 7
                                                             : "";
    for (const char *at = text; *at; at++) {
        if ((unsigned char)*at <= 0x20 || *at == 0x7f || strchr("\"<>\\^`{|}", *at)) {
            return NULL;
        }
    }
    return *host && !strchr("/?#", *host) ? ac_json_text(text) : NULL;
}

/* ---- one source ---- */

static json_t *sources_make(const json_t *item, const ac_sources_map_t *map)
{
    static const ac_sources_map_t usual;
    const ac_sources_map_t *at = map->list ? map : &usual;
    const json_t *link = json_is_string(item) ? item : sources_find(item, at->url, "url|uri");
    const json_t *score = sources_find(item, at->score, "score");
    json_t *url = address_of(link);
    json_t *place = url ? NULL : line_of(sources_find(item, at->place, "document|path|uri"), AC_MAX_SOURCE_PLACE);
    json_t *title = line_of(sources_find(item, at->title, "title|name"), AC_MAX_SOURCE_TITLE);
    json_t *snippet = line_of(sources_find(item, at->snippet, "snippet|description"), AC_MAX_SOURCE_SNIPPET);
    json_t *source = NULL;
    if (url || place || (title && map->list)) {
        source = json_object();
        ac_json_put(source, "id", json_string("")); /* the first member; a number when the source is added */
        ac_json_put(source, "title", json_incref(title ? title : url ? url : place));
    }
    if (source && url) {
        ac_json_put(source, "url", json_incref(url));
    }
    if (source && place) {
        ac_json_put(source, "place", json_incref(place));
    }
    if (source && json_is_number(score)) {
        ac_json_put(source, "score", json_incref((json_t *)score));
    }
    if (source && snippet) {
        ac_json_put(source, "snippet", json_incref(snippet));
    }
    json_decref(url);
    json_decref(place);
    json_decref(title);
    json_decref(snippet);
    return source;
}

static void sources_read_list(json_t *found, const json_t *list, const ac_sources_map_t *map)
{
    for (size_t i = 0; i < json_array_size(list) && i < SOURCES_LIST_MAX; i++) {
        json_t *source = json_array_size(found) < AC_MAX_SOURCES ? sources_make(json_array_get(list, i), map) : NULL;
        if (source) {
            json_array_append_new(found, source);
        }
    }
}

/* The links and resources among the blocks of an MCP server's answer. */
static void read_blocks(json_t *found, const json_t *blocks, const ac_sources_map_t *map)
{
    for (size_t i = 0; i < json_array_size(blocks) && i < SOURCES_LIST_MAX; i++) {
        json_t *block = json_array_get(blocks, i);
        const char *type = ac_json_peek_string(block, "type", "");
        if (strcmp(type, "resource_link") == 0 || strcmp(type, "resource") == 0) {
            json_t *one = json_pack("[O]", block);
            sources_read_list(found, one, map);
            json_decref(one);
        }
    }
}

static void read_usual(json_t *found, const json_t *result, const ac_sources_map_t *map)
{
    static const char *const lists[] = {"results", "sources", "citations"};
    const json_t *structured = json_object_get(result, "structuredContent");
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        sources_read_list(found, json_object_get(structured ? structured : result, lists[i]), map);
    }
    read_blocks(found, json_is_array(result) ? result : json_object_get(result, "content"), map);
}

json_t *ac_sources_read(const ac_sources_map_t *map, const json_t *result)
{
    json_t *found = json_array();
    if (!map->list) {
        read_usual(found, result, map);
    } else if (strcmp(map->list, ".") == 0) {
        sources_read_list(found, result, map);
    } else if (strcmp(map->list, "off") != 0) {
        sources_read_list(found, member_at(result, map->list, strlen(map->list)), map);
    }
    return found;
}

json_t *ac_sources_annotation(const json_t *annotation)
{
    static const ac_sources_map_t map = {.list = "."};
    const json_t *nested = json_object_get(annotation, "url_citation");
    json_t *found = json_array();
    if (strcmp(ac_json_peek_string(annotation, "type", ""), "url_citation") == 0) {
        json_t *source = sources_make(json_is_object(nested) ? nested : annotation, &map);
        if (source && json_object_get(source, "url")) {
            json_array_append(found, source);
        }
        json_decref(source);
    }
    return found;
}

/* ---- the sources of an answer ---- */

static bool is_equal(const json_t *a, const json_t *b, const char *name)
{
    return strcmp(ac_json_peek_string(a, name, ""), ac_json_peek_string(b, name, "")) == 0;
}

/* A page counts once, whatever its title. */
static bool is_same(const json_t *a, const json_t *b)
{
    return is_equal(a, b, "url") && (json_object_get(a, "url") || (is_equal(a, b, "place") && is_equal(a, b, "title")));
}

json_t *ac_sources_add(json_t **plist, json_t *found)
{
    json_t *added = NULL, *source, *known;
    size_t i, j;
    json_array_foreach(found, i, source)
    {
        bool is_new = json_array_size(*plist) < AC_MAX_SOURCES;
        json_array_foreach(*plist, j, known)
        {
            is_new = is_new && !is_same(source, known);
        }
        if (!is_new) {
            continue;
        }
        char number[16];
        *plist = *plist ? *plist : json_array();
        added = added ? added : json_array();
        snprintf(number, sizeof number, "%d", (int)json_array_size(*plist) + 1);
        ac_json_put(source, "id", json_string(number));
        json_array_append(*plist, source);
        json_array_append(added, source);
    }
    json_decref(found);
    return added;
}

/* The place of the note's number, "[2]", or the end of the text; in characters. */
static void find_mark(const json_t *source, const char *text, size_t len, json_int_t place[2])
{
    char mark[20];
    snprintf(mark, sizeof mark, "[%.8s]", ac_json_peek_string(source, "id", ""));
    const char *found = len ? memmem(text, len, mark, strlen(mark)) : NULL;
    size_t before = found ? (size_t)(found - text) : len;
    place[0] = 0;
    for (size_t i = 0; i < before; i++) {
        place[0] += ((unsigned char)text[i] & 0xc0) != 0x80;
    }
    place[1] = place[0] + (found ? (json_int_t)strlen(mark) : 0);
}

json_t *ac_sources_citations(const json_t *sources, const char *text, size_t len)
{
    json_t *list = json_array(), *source;
    json_int_t place[2];
    size_t i;
    json_array_foreach((json_t *)sources, i, source)
    {
        const char *url = ac_json_peek_string(source, "url", NULL);
        if (url) {
            find_mark(source, text, len, place);
            json_array_append_new(list,
                                  json_pack("{s:s, s:s, s:s, s:I, s:I}", "type", "url_citation", "url", url, "title",
                                            ac_json_peek_string(source, "title", url), "start_index", place[0],
                                            "end_index", place[1]));
        }
    }
    return list;
}
