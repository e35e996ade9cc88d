/* SPDX-License-Identifier: Apache-2.0 */
/* The weather service's answers: the first line is the place that was asked for, the rest the geocoder's answer and,
 * for the place that
 * it gives or a plain one, the forecast's. A result is an object that can be written as JSON. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "back/tools/weather/weather_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_result(json_t *result, apr_status_t status, const ac_err_t *err)
{
    must((status == APR_SUCCESS) == (result != NULL) && (status == APR_SUCCESS) == (err->kind == AC_OK));
    must(ac_utf8_valid(err->detail, strlen(err->detail)));
    char *text = result ? ac_json_dump(result, NULL) : NULL;
    must(!result || (json_is_object(result) && text));
    free(text);
}

static void check_report(const json_t *place, const char *body, size_t len)
{
    json_t *report = NULL;
    ac_err_t err;
    ac_err_init(&err);
    char *query = ac_weather_report_query(place, AC_WEATHER_IMPERIAL, 7);
    must(!query || !strpbrk(query, " \r\n#"));
    free(query);
    apr_status_t status = ac_weather_report(&report, place, AC_WEATHER_METRIC, body, len, &err);
    check_result(report, status, &err);
    json_decref(report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *lf = size ? memchr(data, '\n', size) : NULL;
    char name[AC_WEATHER_PLACE_NAME];
    json_t *place = NULL, *plain = json_pack("{s:s, s:f, s:f}", "name", "Paris", "latitude", 48.8, "longitude", 2.3);
    ac_err_t err;
    size_t len = lf ? (size_t)(lf - data) : size;
    char *location = ac_alloc(len + 1);
    const char *body = (const char *)data + len + (lf != NULL);
    memcpy(location, data, len);
    if (!ac_utf8_valid(location, strlen(location))) {
        *location = '\0'; /* a model's argument is UTF-8 */
    }
    ac_err_init(&err);
    ac_weather_places_search_name(name, location);
    must(strlen(name) < sizeof(name));
    apr_status_t status =
        ac_weather_places_find(&place, body, size - (size_t)(body - (const char *)data), location, &err);
    check_result(place, status, &err);
    check_report(place ? place : plain, body, size - (size_t)(body - (const char *)data));
    json_decref(place);
    json_decref(plain);
    free(location);
    return 0;
}
