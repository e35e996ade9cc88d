/* SPDX-License-Identifier: Apache-2.0 */
/* The choice among locations of the same name, and the cache of locations. */
#include "weather_internal.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- choosing ---- */

static const char *weather_places_skip_blanks(const char *text)
{
    return text + strspn(text, " \t\r\n");
}

static size_t weather_places_trimmed(const char *text, size_t len)
{
    while (len && strchr(" \t\r\n", text[len - 1])) {
        len--;
    }
    return len;
}

void ac_weather_places_search_name(char name[AC_WEATHER_PLACE_NAME], const char *location)
{
    const char *start = weather_places_skip_blanks(location);
    size_t len = weather_places_trimmed(start, strcspn(start, ","));
    if (len >= AC_WEATHER_PLACE_NAME) {
        len = ac_utf8_whole(start, AC_WEATHER_PLACE_NAME - 1);
    }
    memcpy(name, start, len);
    name[len] = '\0';
}

static bool has_position(const json_t *place)
{
    return json_is_number(json_object_get(place, "latitude")) && json_is_number(json_object_get(place, "longitude"));
}

static bool is_called(const json_t *place, const char *text, size_t len)
{
    static const char *const members[] = {"country", "country_code", "admin1", "admin2", "admin3"};
    for (size_t i = 0; len && i < sizeof(members) / sizeof(members[0]); i++) {
        const char *value = ac_json_peek_string(place, members[i], "");
        if (strlen(value) == len && strncasecmp(value, text, len) == 0) {
            return true;
        }
    }
    return false;
}

/* The number of parts of location after its first comma that name the place's country or region. */
static int count_fits(const json_t *place, const char *location)
{
    int n_fits = 0;
    for (const char *part = strchr(location, ','); part; part = strchr(part, ',')) {
        part = weather_places_skip_blanks(part + 1);
        size_t len = weather_places_trimmed(part, strcspn(part, ","));
        n_fits += is_called(place, part, len);
    }
    return n_fits;
}

static json_t *describe(const json_t *found)
{
    static const char *const members[] = {"name", "country", "admin1", "latitude", "longitude", "timezone"};
    json_t *place = json_object();
    for (size_t i = 0; place && i < sizeof(members) / sizeof(members[0]); i++) {
        json_t *value = json_object_get(found, members[i]);
        bool usable = json_is_string(value) || json_is_number(value);
        if (!usable && i == 2) { /* not all places belong to a region */
            continue;
        }
        if (!ac_json_put(place, members[i], usable ? json_deep_copy(value) : json_null())) {
            json_decref(place);
            return NULL;
        }
    }
    return place;
}

apr_status_t ac_weather_places_find(json_t **pplace, const char *body, size_t len, const char *location, ac_err_t *err)
{
    json_t *answer, *found, *best = NULL;
    size_t i;
    int most = -1;
    *pplace = NULL;
    if (!ac_tool_support_json(&answer, body, len) || !json_is_object(answer)) {
        json_decref(answer);
        return ac_err_set(err, AC_TOOL_ERROR, "the geocoding service did not answer with JSON");
    }
    json_array_foreach(json_object_get(answer, "results"), i, found)
    {
        int n_fits = has_position(found) ? count_fits(found, location) : -1;
        if (n_fits > most) {
            best = found;
            most = n_fits;
        }
    }
    apr_status_t status = APR_SUCCESS;
    if (!best) {
        char name[AC_WEATHER_PLACE_NAME];
        snprintf(name, sizeof(name), "%s", location);
        name[ac_utf8_whole(name, strlen(name))] = '\0';
        status = ac_err_set(err, AC_TOOL_ERROR, "no place named '%s' found", name);
    } else if (!(*pplace = describe(best))) {
        status = ac_err_set(err, AC_INTERNAL, "memory ran out");
    }
    json_decref(answer);
    return status;
}

/* ---- the cache ---- */

typedef struct entry_t {
    char *key; /* NULL: free */
    json_t *place;
    apr_time_t since, used;
} entry_t;

struct ac_weather_cache_t {
    entry_t *entries;
    int n_entries;
    apr_interval_time_t keep;
};

ac_weather_cache_t *ac_weather_places_cache_create(int n_places, apr_interval_time_t keep)
{
    ac_weather_cache_t *cache = ac_alloc(sizeof(*cache));
    cache->entries = ac_alloc((size_t)n_places * sizeof(cache->entries[0]));
    cache->n_entries = n_places;
    cache->keep = keep;
    return cache;
}

static void weather_places_forget(entry_t *entry)
{
    free(entry->key);
    json_decref(entry->place);
    memset(entry, 0, sizeof(*entry));
}

void ac_weather_places_cache_destroy(ac_weather_cache_t *cache)
{
    if (!cache) {
        return;
    }
    for (int i = 0; i < cache->n_entries; i++) {
        weather_places_forget(&cache->entries[i]);
    }
    free(cache->entries);
    free(cache);
}

static entry_t *weather_places_find(ac_weather_cache_t *cache, const char *location)
{
    const char *start = weather_places_skip_blanks(location);
    size_t len = weather_places_trimmed(start, strlen(start));
    for (int i = 0; i < cache->n_entries; i++) {
        const char *key = cache->entries[i].key;
        if (key && strlen(key) == len && strncasecmp(key, start, len) == 0) {
            return &cache->entries[i];
        }
    }
    return NULL;
}

json_t *ac_weather_places_cache_get(ac_weather_cache_t *cache, const char *location, apr_time_t now)
{
    entry_t *entry = weather_places_find(cache, location);
    if (entry && now - entry->since >= cache->keep) {
        weather_places_forget(entry);
        return NULL;
    }
    if (!entry) {
        return NULL;
    }
    entry->used = now;
    return json_incref(entry->place);
}

void ac_weather_places_cache_put(ac_weather_cache_t *cache, const char *location, json_t *place, apr_time_t now)
{
    const char *start = weather_places_skip_blanks(location);
    size_t len = weather_places_trimmed(start, strlen(start));
    entry_t *entry = weather_places_find(cache, location), *oldest = &cache->entries[0];
    for (int i = 0; !entry && i < cache->n_entries; i++) {
        if (!cache->entries[i].key) {
            entry = &cache->entries[i];
        }
        oldest = cache->entries[i].used < oldest->used ? &cache->entries[i] : oldest;
    }
    entry = entry ? entry : oldest;
    weather_places_forget(entry);
    entry->key = strndup(start, len);
    if (!entry->key) {
        return;
    }
    entry->place = json_incref(place);
    entry->since = entry->used = now;
}
