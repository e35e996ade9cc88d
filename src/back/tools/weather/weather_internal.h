/* SPDX-License-Identifier: Apache-2.0 */
/* Open-Meteo's documents to ours, and places that were looked up before. Pure but for the cache, which is
 * the loop's. */
#ifndef AC_WEATHER_INTERNAL_H
#define AC_WEATHER_INTERNAL_H

#include "back/tools/tool_support.h"

typedef enum ac_weather_units_e { AC_WEATHER_METRIC, AC_WEATHER_IMPERIAL } ac_weather_units_e;

/* ---- weather_places.c ---- */
#define AC_WEATHER_PLACE_NAME 200 /* bytes of what is looked up */

/* The name for the geocoder: the part before the first comma, as the geocoder does not know "Paris, France". */
void ac_weather_places_search_name(char name[AC_WEATHER_PLACE_NAME], const char *location);
/* The geocoder's answer to the place that is meant: {name, country, admin1?, latitude, longitude, timezone}. Of
 * several, the one of which location names most after a comma: country, country code, region; the first of these.
 * errors: tool_error "no place named … found". */
apr_status_t ac_weather_places_find(json_t **pplace, const char *body, size_t len, const char *location, ac_err_t *err);

/* A bounded memory of places; the one not used for the longest goes first. */
typedef struct ac_weather_cache_t ac_weather_cache_t;
ac_weather_cache_t *ac_weather_places_cache_create(int n_places, apr_interval_time_t keep);
void ac_weather_places_cache_destroy(ac_weather_cache_t *cache);
/* A new reference, or NULL. Case and outer blanks of location do not count. */
json_t *ac_weather_places_cache_get(ac_weather_cache_t *cache, const char *location, apr_time_t now);
void ac_weather_places_cache_put(ac_weather_cache_t *cache, const char *location, json_t *place, apr_time_t now);

/* ---- weather_report.c ---- */
/* The query of a forecast request, without "?". NULL: out of memory. For free(). */
char *ac_weather_report_query(const json_t *place, ac_weather_units_e units, int n_days);
/* The forecast's answer to the tool's result. errors: tool_error where it has no current weather. */
apr_status_t ac_weather_report(json_t **presult, const json_t *place, ac_weather_units_e units, const char *body,
                               size_t len, ac_err_t *err);

#endif
