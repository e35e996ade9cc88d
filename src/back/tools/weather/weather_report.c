/* SPDX-License-Identifier: Apache-2.0 */
/* The query of a forecast request, and its response as the tool's result. */
#include "weather_internal.h"

#include <string.h>

typedef struct unit_names_t {
    const char *parameters, *temperature, *wind_speed, *precipitation;
} unit_names_t;

static const unit_names_t unit_names[] = {
    [AC_WEATHER_METRIC] = {"",
                           "\xc2\xb0"
                           "C",
                           "km/h", "mm"},
    [AC_WEATHER_IMPERIAL] = {"&temperature_unit=fahrenheit&wind_speed_unit=mph&precipitation_unit=inch",
                             "\xc2\xb0"
                             "F",
                             "mph", "inch"},
};

char *ac_weather_report_query(const json_t *place, ac_weather_units_e units, int n_days)
{
    ac_buf_t query;
    ac_buf_init(&query, 1024);
    /* JSON numbers have a point in every locale. */
    char *latitude = ac_json_dump(json_object_get(place, "latitude"), NULL);
    char *longitude = ac_json_dump(json_object_get(place, "longitude"), NULL);
    if (latitude && longitude) {
        ac_buf_printf(&query,
                      "latitude=%s&longitude=%s&timezone=auto&forecast_days=%d"
                      "&current=temperature_2m,relative_humidity_2m,apparent_temperature,is_day,precipitation,"
                      "weather_code,wind_speed_10m,wind_direction_10m"
                      "&daily=weather_code,temperature_2m_max,temperature_2m_min,precipitation_probability_max%s",
                      latitude, longitude, n_days, unit_names[units].parameters);
    }
    free(latitude);
    free(longitude);
    return query.failed ? NULL : query.data;
}

/* source: WMO code table 4677, as Open-Meteo uses it */
static const char *conditions(int64_t code)
{
    static const struct {
        int code;
        const char *text;
    } rows[] = {
        {0, "clear sky"},
        {1, "mainly clear"},
        {2, "partly cloudy"},
        {3, "overcast"},
        {45, "fog"},
        {48, "fog with rime"},
        {51, "light drizzle"},
        {53, "drizzle"},
        {55, "heavy drizzle"},
        {56, "light freezing drizzle"},
        {57, "heavy freezing drizzle"},
        {61, "light rain"},
        {63, "rain"},
        {65, "heavy rain"},
        {66, "light freezing rain"},
        {67, "heavy freezing rain"},
        {71, "light snowfall"},
        {73, "snowfall"},
        {75, "heavy snowfall"},
        {77, "snow grains"},
        {80, "light rain showers"},
        {81, "rain showers"},
        {82, "violent rain showers"},
        {85, "light snow showers"},
        {86, "heavy snow showers"},
        {95, "thunderstorm"},
        {96, "thunderstorm with light hail"},
        {99, "thunderstorm with heavy hail"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].code == code) {
            return rows[i].text;
        }
    }
    return "unknown";
}

/* A new reference to a plain value, or null. */
static json_t *plain(json_t *value)
{
    return json_is_number(value) || json_is_string(value) ? json_incref(value) : json_null();
}

static json_t *read_current(const json_t *from)
{
    static const struct {
        const char *ours, *theirs;
    } rows[] = {
        {"time", "time"},
        {"temperature", "temperature_2m"},
        {"feels_like", "apparent_temperature"},
        {"humidity", "relative_humidity_2m"},
        {"wind_speed", "wind_speed_10m"},
        {"wind_direction", "wind_direction_10m"},
        {"precipitation", "precipitation"},
    };
    json_t *current = json_object();
    bool good = current != NULL;
    for (size_t i = 0; good && i < sizeof(rows) / sizeof(rows[0]); i++) {
        good = ac_json_put(current, rows[i].ours, plain(json_object_get(from, rows[i].theirs)));
    }
    int64_t is_day = ac_json_peek_int(from, "is_day", -1);
    int64_t code = ac_json_peek_int(from, "weather_code", -1);
    good = good && ac_json_put(current, "conditions", json_string(conditions(code)));
    good = good && ac_json_put(current, "is_day", is_day < 0 ? json_null() : json_boolean(is_day));
    if (!good) {
        json_decref(current);
        return NULL;
    }
    return current;
}

static json_t *read_day(const json_t *from, size_t i)
{
    json_t *code = json_array_get(json_object_get(from, "weather_code"), i);
    return json_pack("{s:o, s:o, s:o, s:o, s:s}", "date", plain(json_array_get(json_object_get(from, "time"), i)),
                     "min", plain(json_array_get(json_object_get(from, "temperature_2m_min"), i)), "max",
                     plain(json_array_get(json_object_get(from, "temperature_2m_max"), i)), "precipitation_probability",
                     plain(json_array_get(json_object_get(from, "precipitation_probability_max"), i)), "conditions",
                     conditions(ac_json_whole_part(code, -1)));
}

#define MAX_DAYS 16 /* of a forecast, whatever was requested */

static json_t *read_daily(const json_t *from)
{
    json_t *daily = json_array();
    size_t n_days = json_array_size(json_object_get(from, "time"));
    for (size_t i = 0; daily && i < n_days && i < MAX_DAYS; i++) {
        if (json_array_append_new(daily, read_day(from, i))) {
            json_decref(daily);
            return NULL;
        }
    }
    return daily;
}

/* The location, with the time zone of the times. */
static json_t *read_location(const json_t *place, const json_t *answer)
{
    json_t *location = json_deep_copy(place), *zone = json_object_get(answer, "timezone");
    if (location && json_is_string(zone) && json_object_set(location, "timezone", zone)) {
        json_decref(location);
        return NULL;
    }
    return location;
}

apr_status_t ac_weather_report(json_t **presult, const json_t *place, ac_weather_units_e units, const char *body,
                               size_t len, ac_err_t *err)
{
    const unit_names_t *names = &unit_names[units];
    json_t *answer;
    *presult = NULL;
    if (!ac_tool_support_json(&answer, body, len)) {
        return ac_err_set(err, AC_TOOL_ERROR, "the weather service did not answer with JSON");
    }
    apr_status_t status = APR_SUCCESS;
    const json_t *current = json_object_get(answer, "current");
    if (!json_is_number(json_object_get(current, "temperature_2m"))) {
        status = ac_err_set(err, AC_TOOL_ERROR, "the weather service's answer holds no current weather");
    } else {
        *presult = json_pack("{s:o, s:{s:s, s:s, s:s}, s:o, s:o}", "location", read_location(place, answer), "units",
                             "temperature", names->temperature, "wind_speed", names->wind_speed, "precipitation",
                             names->precipitation, "current", read_current(current), "daily",
                             read_daily(json_object_get(answer, "daily")));
        status = *presult ? APR_SUCCESS : ac_err_set(err, AC_INTERNAL, "memory ran out");
    }
    json_decref(answer);
    return status;
}
