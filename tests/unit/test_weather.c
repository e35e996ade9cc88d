/* SPDX-License-Identifier: Apache-2.0 */
/* The weather: two exchanges with a scripted service, places remembered, and everything that such a service can do
 * wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "back/tools/weather/weather_internal.h"
#include "tool_rig.h"

#define HEAD(status, type) "HTTP/1.1 " status "\r\nContent-Type: " type "\r\nConnection: close\r\n\r\n"
#define JSON HEAD("200 OK", "application/json; charset=utf-8")
#define PARIS \
    "{\"id\":2988507,\"name\":\"Paris\",\"latitude\":48.85341,\"longitude\":2.3488,\"country_code\":\"FR\"," \
    "\"timezone\":\"Europe/Paris\",\"country\":\"France\",\"admin1\":\"Ile-de-France\"}"
#define TEXAS \
    "{\"name\":\"Paris\",\"latitude\":33.66094,\"longitude\":-95.55551,\"country_code\":\"US\"," \
    "\"timezone\":\"America/Chicago\",\"country\":\"United States\",\"admin1\":\"Texas\"}"
#define PLACES "{\"results\":[" PARIS "," TEXAS "],\"generationtime_ms\":0.7}"
#define TWO_DAYS \
    "{\"time\":[\"2026-11-21\",\"2026-11-22\"],\"weather_code\":[3,61],\"temperature_2m_max\":[9.1,10]," \
    "\"temperature_2m_min\":[4.2,null],\"precipitation_probability_max\":[5,80]}"
#define SKY \
    "{\"latitude\":48.86,\"longitude\":2.35,\"timezone\":\"Europe/Paris\",\"current_units\":{}," \
    "\"current\":{\"time\":\"2026-11-21T05:45\",\"interval\":900,\"temperature_2m\":6.5," \
    "\"relative_humidity_2m\":87,\"apparent_temperature\":3.9,\"is_day\":0,\"precipitation\":0.0," \
    "\"weather_code\":3,\"wind_speed_10m\":9.4,\"wind_direction_10m\":220},\"daily\":" TWO_DAYS "}"
#define IN_PARIS "{\"location\":\"Paris\"}"

static tool_rig_t tool;
static tool_answer_t answer;
static http_server_t *server;

static int set_up(void **state)
{
    (void)state;
    tool_rig_open(&tool, &ac_tool_weather);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tool_answer_free(&answer);
    tool_rig_close(&tool);
    if (server) {
        http_server_stop(server);
        server = NULL;
    }
    return 0;
}

static void play(const server_step_t *const *scripts)
{
    char url[64];
    server = http_server_start(scripts);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/geo/v1/", http_server_port(server));
    tool_rig_option(&tool, "geocoding", url);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/sky/v1", http_server_port(server));
    tool_rig_option(&tool, "forecast", url);
    tool_rig_start(&tool);
}

static const server_step_t places[] = {SEND(JSON PLACES), CUT, END};
static const server_step_t sky[] = {SEND(JSON SKY), CUT, END};
static const server_step_t *const good[] = {places, sky, NULL};

static bool sent(int i, const char *text)
{
    bool found = strstr(http_server_request(server, i), text) != NULL;
    if (!found) {
        print_error("'%s' is not in: %s\n", text, http_server_request(server, i));
    }
    return found;
}

static void test_weather_report(void **state)
{
    (void)state;
    play(good);
    tool_rig_call(&tool, &answer, "{\"location\":\"Paris\",\"days\":2}", 0);
    tool_answer_is(&answer,
                   "{\"current\":{\"conditions\":\"overcast\",\"feels_like\":3.9,\"humidity\":87,\"is_day\":false,"
                   "\"precipitation\":0.0,\"temperature\":6.5,\"time\":\"2026-11-21T05:45\",\"wind_direction\":220,"
                   "\"wind_speed\":9.4},\"daily\":[{\"conditions\":\"overcast\",\"date\":\"2026-11-21\",\"max\":9.1,"
                   "\"min\":4.2,\"precipitation_probability\":5},{\"conditions\":\"light "
                   "rain\",\"date\":\"2026-11-22\","
                   "\"max\":10,\"min\":null,\"precipitation_probability\":80}],"
                   "\"location\":{\"admin1\":\"Ile-de-France\","
                   "\"country\":\"France\",\"latitude\":48.85341,\"longitude\":2.3488,\"name\":\"Paris\","
                   "\"timezone\":\"Europe/Paris\"},\"units\":{\"precipitation\":\"mm\","
                   "\"temperature\":\"\xc2\xb0"
                   "C\",\"wind_speed\":\"km/h\"}}");
    assert_true(sent(0, "GET /geo/v1/search?name=Paris&count=10&language=en&format=json HTTP/1.1\r\n"));
    assert_true(sent(1,
                     "GET /sky/v1/forecast?latitude=48.85341&longitude=2.3488&timezone=auto&forecast_days=2"
                     "&current="));
    assert_false(strstr(http_server_request(server, 1), "fahrenheit"));
}

static void test_weather_units(void **state)
{
    (void)state;
    tool_rig_option(&tool, "units", "imperial");
    play(good);
    tool_rig_call(&tool, &answer, IN_PARIS, 0);
    const json_t *units = json_object_get(answer.result, "units");
    assert_string_equal(ac_json_peek_string(units, "temperature", ""),
                        "\xc2\xb0"
                        "F");
    assert_string_equal(ac_json_peek_string(units, "wind_speed", ""), "mph");
    assert_true(sent(1, "&temperature_unit=fahrenheit&wind_speed_unit=mph&precipitation_unit=inch"));
    assert_true(sent(1, "&forecast_days=1&"));
    tool_answer_free(&answer);
    tool_rig_call(&tool, &answer, "{\"location\":\"Paris\",\"units\":\"metric\"}", 0);
    assert_string_equal(ac_json_peek_string(json_object_get(answer.result, "units"), "precipitation", ""), "mm");
    assert_null(strstr(http_server_request(server, 2), "fahrenheit"));
}

static void test_weather_remembers_places(void **state)
{
    (void)state;
    play(good);
    tool_rig_call(&tool, &answer, IN_PARIS, 0);
    tool_answer_free(&answer);
    tool_rig_call(&tool, &answer, "{\"location\":\" paris \"}", 0);
    assert_int_equal(answer.status, APR_SUCCESS);
    assert_int_equal(http_server_requests(server), 3);
    assert_true(sent(2, "GET /sky/v1/forecast?latitude=48.85341"));
}

static void test_weather_chooses_the_place(void **state)
{
    (void)state;
    play(good);
    tool_rig_call(&tool, &answer, "{\"location\":\"Paris, texas , US\"}", 0);
    assert_string_equal(ac_json_peek_string(json_object_get(answer.result, "location"), "admin1", ""), "Texas");
    assert_true(sent(0, "?name=Paris&"));
    assert_true(sent(1, "latitude=33.66094&longitude=-95.55551"));
}

static void test_weather_encodes_the_place(void **state)
{
    (void)state;
    play(good);
    tool_rig_call(&tool, &answer, "{\"location\":\"S\xc3\xa3o Paulo&count=1#x/../?\"}", 0);
    assert_true(sent(0, "GET /geo/v1/search?name=S%C3%A3o%20Paulo%26count%3D1%23x%2F..%2F%3F&count=10&"));
}

static void test_weather_unknown_place(void **state)
{
    (void)state;
    static const server_step_t nothing[] = {SEND(JSON "{\"generationtime_ms\":0.5}"), CUT, END};
    static const server_step_t *const scripts[] = {nothing, NULL};
    play(scripts);
    tool_rig_call(&tool, &answer, "{\"location\":\"Xyzzy\"}", 0);
    tool_answer_failed(&answer, AC_TOOL_ERROR, "no place named 'Xyzzy' found");
    tool_rig_call(&tool, &answer, "{\"location\":\" , France\"}", 0);
    tool_answer_failed(&answer, AC_TOOL_ERROR, "the location is empty");
}

static void test_weather_service_refuses(void **state)
{
    (void)state;
    static const server_step_t refusal[] = {
        SEND(HEAD("400 Bad Request", "application/json") "{\"error\":true,\n \"reason\":\"no\x01 way\"}"), CUT, END};
    static const server_step_t *const scripts[] = {places, refusal, NULL};
    play(scripts);
    tool_rig_call(&tool, &answer, IN_PARIS, 0);
    tool_answer_failed(&answer, AC_TOOL_ERROR,
                       "the weather service answered 400: {\"error\":true, \"reason\":\"no "
                       "way\"}");
}

static void test_weather_strange_answers(void **state)
{
    (void)state;
    static const server_step_t html[] = {SEND(HEAD("200 OK", "text/html") "<html>"), CUT, END};
    static const server_step_t bare[] = {SEND(JSON "{\"current\":{\"time\":\"now\"}}"), CUT, END};
    static const server_step_t odd[] = {SEND(JSON
                                             "{\"results\":[{\"name\":7},[],null,{\"latitude\":1,\"longitude\":2}]}"),
                                        CUT, END};
    static const server_step_t poor[] = {SEND(JSON "{\"current\":{\"temperature_2m\":1,\"weather_code\":\"x\"}}"), CUT,
                                         END};
    static const server_step_t *const scripts[] = {html, odd, bare, poor, html, NULL};
    play(scripts);
    tool_rig_call(&tool, &answer, IN_PARIS, 0);
    tool_answer_failed(&answer, AC_TOOL_ERROR, "the geocoding service did not answer with JSON");
    tool_rig_call(&tool, &answer, IN_PARIS, 0);
    tool_answer_failed(&answer, AC_TOOL_ERROR, "the weather service's answer holds no current weather");
    tool_rig_call(&tool, &answer, IN_PARIS, 0);
    tool_answer_is(&answer,
                   "{\"current\":{\"conditions\":\"unknown\",\"feels_like\":null,\"humidity\":null,\"is_day\":null,"
                   "\"precipitation\":null,\"temperature\":1,\"time\":null,\"wind_direction\":null,"
                   "\"wind_speed\":null},"
                   "\"daily\":[],\"location\":{\"country\":null,\"latitude\":1,\"longitude\":2,\"name\":null,"
                   "\"timezone\":null},\"units\":{\"precipitation\":\"mm\",\"temperature\":\"\xc2\xb0"
                   "C\","
                   "\"wind_speed\":\"km/h\"}}");
    tool_answer_free(&answer);
    tool_rig_call(&tool, &answer, IN_PARIS, 0);
    tool_answer_failed(&answer, AC_TOOL_ERROR, "the weather service did not answer with JSON");
}

static void test_weather_too_late(void **state)
{
    (void)state;
    static const server_step_t silent[] = {HANG, END};
    static const server_step_t *const scripts[] = {places, silent, NULL};
    play(scripts);
    tool_rig_call(&tool, &answer, IN_PARIS, apr_time_from_msec(300));
    assert_int_not_equal(answer.status, APR_SUCCESS);
    assert_int_equal(answer.err.kind, AC_TOOL_TIMEOUT);
    assert_non_null(strstr(answer.err.detail, "the weather service took too long"));
}

static void test_weather_answer_too_large(void **state)
{
    (void)state;
    static char block[4097];
    static server_step_t huge[] = {SEND(JSON), REPEAT(block, 300), HANG, END};
    static const server_step_t *const scripts[] = {huge, NULL};
    memset(block, ' ', sizeof(block) - 1);
    play(scripts);
    tool_rig_call(&tool, &answer, IN_PARIS, 0);
    tool_answer_failed(&answer, AC_TOOL_ERROR, "the geocoding service's answer is too large");
}

static void test_weather_cancel(void **state)
{
    (void)state;
    static const server_step_t silent[] = {HANG, END};
    static const server_step_t *const scripts[] = {places, silent, NULL};
    play(scripts);
    void *call = tool_rig_begin(&tool, &answer, IN_PARIS);
    assert_true(http_server_wait_requests(server, 2));
    tool_rig_cancel(&tool, &answer, call);
    assert_true(http_server_wait_gone(server, 1));
}

static void test_weather_configuration(void **state)
{
    (void)state;
    tool_rig_option(&tool, "units", "kelvin");
    assert_string_equal(tool_rig_create(&tool),
                        "AgentChatToolOption units: 'kelvin' is not known; give metric or imperial");
    tool_rig_option(&tool, "units", "Imperial");
    tool_rig_option(&tool, "forecast", "ftp://host/");
    assert_string_equal(tool_rig_create(&tool),
                        "AgentChatToolOption forecast: 'ftp://host/' is not a base URL; "
                        "give one like https://api.open-meteo.com/v1");
    tool_rig_option(&tool, "forecast", "https://host/v1?x=1");
    assert_non_null(tool_rig_create(&tool));
    tool_rig_option(&tool, "forecast", "https://host/v1/");
    tool_rig_option(&tool, "place", "here");
    assert_string_equal(tool_rig_create(&tool),
                        "AgentChatToolOption: there is no option 'place'; known are geocoding, forecast, units");
}

static void remember(ac_weather_cache_t *cache, const char *location, apr_time_t now)
{
    json_t *place = json_string(location);
    ac_weather_places_cache_put(cache, location, place, now);
    json_decref(place);
}

static bool remembers(ac_weather_cache_t *cache, const char *location, apr_time_t now)
{
    json_t *place = ac_weather_places_cache_get(cache, location, now);
    bool found = place != NULL;
    json_decref(place);
    return found;
}

static void test_weather_cache_is_bounded(void **state)
{
    (void)state;
    ac_weather_cache_t *cache = ac_weather_places_cache_create(3, 100);
    remember(cache, "a", 1);
    remember(cache, "b", 2);
    remember(cache, "c", 3);
    assert_true(remembers(cache, " A", 4));
    remember(cache, "d", 5); /* in place of b, which was not used for the longest */
    assert_false(remembers(cache, "b", 6));
    assert_true(remembers(cache, "a", 6) && remembers(cache, "c", 6) && remembers(cache, "d", 6));
    remember(cache, "d", 50);
    assert_true(remembers(cache, "a", 100));
    assert_false(remembers(cache, "a", 101)); /* too old */
    assert_true(remembers(cache, "d", 101));
    ac_weather_places_cache_destroy(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_weather_report, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_weather_units, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_weather_remembers_places, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_weather_chooses_the_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_weather_encodes_the_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_weather_unknown_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_weather_service_refuses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_weather_strange_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_weather_too_late, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_weather_answer_too_large, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_weather_cancel, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_weather_configuration, set_up, tear_down),
        cmocka_unit_test(test_weather_cache_is_bounded),
    };
    return cmocka_run_group_tests_name("weather", tests, NULL, NULL);
}
