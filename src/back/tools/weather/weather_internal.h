/* SPDX-License-Identifier: Apache-2.0 */
/* Conversion of Open-Meteo's documents, and a cache of locations. No state except for the cache, which only the loop
 * uses. */
#ifndef AC_WEATHER_INTERNAL_H
#define AC_WEATHER_INTERNAL_H

#include "back/tools/tool_support.h"

typedef enum ac_weather_units_e { AC_WEATHER_METRIC, AC_WEATHER_IMPERIAL } ac_weather_units_e;

/* ---- weather_places.c ---- */
#define AC_WEATHER_PLACE_NAME 200 /* bytes of a location's name */

/* The name for the geocoder: the part before the first comma, because the geocoder does not know "Paris, France". */
void ac_weather_places_search_name(char name[AC_WEATHER_PLACE_NAME], const char *location);
/* Finds the location in the geocoder's response: {name, country, admin1?, latitude, longitude, timezone}. Of several,
 * the one chosen has the most matches with the parts of location after a comma (country, country code, region), or else
 * comes first. errors: tool_error "no place named … found". */
apr_status_t ac_weather_places_find(json_t **pplace, const char *body, size_t len, const char *location, ac_err_t *err);

/* A bounded cache of locations; the least recently used one is evicted first. */
typedef struct ac_weather_cache_t ac_weather_cache_t;
ac_weather_cache_t *ac_weather_places_cache_create(int n_places, apr_interval_time_t keep);
void ac_weather_places_cache_destroy(ac_weather_cache_t *cache);
/* A new reference, or NULL. Upper and lower case and outer blanks of location do not matter. */
json_t *ac_weather_places_cache_get(ac_weather_cache_t *cache, const char *location, apr_time_t now);
void ac_weather_places_cache_put(ac_weather_cache_t *cache, const char *location, json_t *place, apr_time_t now);

/* ---- weather_report.c ---- */
/* The query of a forecast request, without "?"; the caller frees it with free(). NULL: memory ran out. */
char *ac_weather_report_query(const json_t *place, ac_weather_units_e units, int n_days);
/* Converts the response with the forecast into the tool's result. errors: tool_error if it has no current weather. */
apr_status_t ac_weather_report(json_t **presult, const json_t *place, ac_weather_units_e units, const char *body,
                               size_t len, ac_err_t *err);

#endif
