/* SPDX-License-Identifier: Apache-2.0 */
/* The tool "weather": finds a location, then gets its forecast, from Open-Meteo or a compatible server. */
#include "weather_internal.h"

#include <apr_strings.h>
#include <string.h>
#include <strings.h>

#define GEOCODING "https://geocoding-api.open-meteo.com/v1"
#define FORECAST "https://api.open-meteo.com/v1"
#define SEARCH "/search?name={name}&count=10&language=en&format=json"
#define CACHE_PLACES 256
#define CACHE_KEEP apr_time_from_sec(24 * 60 * 60)
#define MAX_URL 2048
#define MAX_DAYS 7

typedef struct weather_t {
    const char *search; /* URL template */
    const char *forecast, *ca_file;
    ac_weather_units_e units;
    ac_loop_t *loop;
    ac_weather_cache_t *cache;
} weather_t;

typedef struct call_t {
    weather_t *weather;
    char *location;
    ac_weather_units_e units;
    int n_days;
    apr_time_t deadline;
    json_t *place; /* NULL: not found yet */
    ac_http_t *http;
    int http_status;
    char type[64];
    ac_buf_t body;
    void (*done)(void *baton, apr_status_t status, json_t *result, const ac_err_t *err);
    void *baton;
    ac_trace_t trace; /* a copy */
} call_t;

/* ---- configuration ---- */

static bool read_units(ac_weather_units_e *punits, const char *text)
{
    *punits = strcasecmp(text, "imperial") == 0 ? AC_WEATHER_IMPERIAL : AC_WEATHER_METRIC;
    return *punits == AC_WEATHER_IMPERIAL || strcasecmp(text, "metric") == 0;
}

static apr_status_t weather_clean_up(void *self)
{
    weather_t *weather = self;
    ac_weather_places_cache_destroy(weather->cache);
    weather->cache = NULL;
    return APR_SUCCESS;
}

static const char *weather_create(void **pself, const ac_tool_conf_t *conf, apr_pool_t *p)
{
    static const char *const known[] = {"geocoding", "forecast", "units", NULL};
    weather_t *weather = *pself = apr_pcalloc(p, sizeof(*weather));
    const char *geocoding, *problem = ac_tool_support_check_options(conf->options, known, p);
    problem = problem ? problem : ac_tool_support_option_url(&geocoding, conf, "geocoding", GEOCODING, p);
    problem = problem ? problem : ac_tool_support_option_url(&weather->forecast, conf, "forecast", FORECAST, p);
    const char *units = conf->options ? apr_table_get(conf->options, "units") : NULL;
    if (!problem && units && !read_units(&weather->units, units)) {
        problem = apr_psprintf(p, "AgentChatToolOption units: '%s' is not known; give metric or imperial", units);
    }
    weather->search = problem ? NULL : apr_pstrcat(p, geocoding, SEARCH, NULL);
    weather->ca_file = conf->ca_file;
    apr_pool_cleanup_register(p, weather, weather_clean_up, apr_pool_cleanup_null);
    return problem;
}

static apr_status_t weather_child_init(void *self, const ac_host_t *host, ac_err_t *err)
{
    (void)err;
    weather_t *weather = self;
    weather->loop = host->loop;
    weather->cache = ac_weather_places_cache_create(CACHE_PLACES, CACHE_KEEP);
    return APR_SUCCESS;
}

/* ---- exchanges ---- */

static void weather_call_free(call_t *call)
{
    ac_buf_free(&call->body);
    json_decref(call->place);
    free(call->location);
    ac_trace_clear(&call->trace);
    free(call);
}

/* Consumes result. */
static void weather_finish(call_t *call, apr_status_t status, json_t *result, const ac_err_t *err)
{
    call->done(call->baton, status, result, err);
    weather_call_free(call);
}

static void weather_on_head(void *baton, const ac_http_head_t *head)
{
    call_t *call = baton;
    call->http_status = head->status;
    apr_cpystrn(call->type, head->content_type, sizeof(call->type));
}

static bool weather_on_body(void *baton, const char *bytes, size_t len)
{
    call_t *call = baton;
    return ac_buf_add(&call->body, bytes, len) == APR_SUCCESS;
}

static apr_status_t ask_forecast(call_t *call, ac_err_t *err);

static apr_status_t take_place(call_t *call, ac_err_t *err)
{
    weather_t *weather = call->weather;
    apr_status_t status = ac_weather_places_find(&call->place, call->body.data ? call->body.data : "", call->body.len,
                                                 call->location, err);
    if (status == APR_SUCCESS) {
        ac_weather_places_cache_put(weather->cache, call->location, call->place, ac_loop_now(weather->loop));
        status = ask_forecast(call, err);
    }
    return status;
}

static void weather_on_end(void *baton, apr_status_t status, const ac_err_t *cause, const char *error_body, size_t len)
{
    call_t *call = baton;
    const char *who = call->place ? "the weather service" : "the geocoding service";
    json_t *result = NULL;
    ac_err_t err;
    ac_err_init(&err);
    call->http = NULL;
    if (status != APR_SUCCESS) {
        status = ac_tool_support_exchange_failed(&err, who, cause);
    } else if (call->http_status < 200 || call->http_status > 299) {
        status = ac_tool_support_answer_refused(&err, who, call->http_status, call->type, error_body, len);
    } else if (call->body.failed) {
        status = ac_err_set(&err, AC_TOOL_ERROR, "%s's answer is too large", who);
    } else if (!call->place) {
        status = take_place(call, &err);
        if (status == APR_SUCCESS) {
            return;
        }
    } else {
        status = ac_weather_report(&result, call->place, call->units, call->body.data ? call->body.data : "",
                                   call->body.len, &err);
    }
    weather_finish(call, status, result, &err);
}

static apr_status_t weather_get(call_t *call, const char *url, ac_err_t *err)
{
    static const ac_http_cb_t callbacks = {.on_head = weather_on_head,
                                           .on_body = weather_on_body,
                                           .on_end = weather_on_end};
    static const char *const headers[] = {"Accept: application/json", NULL};
    weather_t *weather = call->weather;
    ac_http_request_t request = {.method = "GET",
                                 .url = url,
                                 .headers = headers,
                                 .retries = 1,
                                 .max_redirects = 2,
                                 .ca_file = weather->ca_file,
                                 .trace = &call->trace,
                                 .spans = true,
                                 .url_template = url /* only its query has words */};
    ac_buf_clear(&call->body);
    call->http_status = 0;
    apr_status_t status =
        ac_tool_support_time_left(&request.total_timeout, ac_loop_now(weather->loop), call->deadline, err);
    if (status == APR_SUCCESS) {
        status = ac_http_start(&call->http, weather->loop, &request, &callbacks, call, err);
    }
    return status;
}

static apr_status_t ask_place(call_t *call, ac_err_t *err)
{
    char name[AC_WEATHER_PLACE_NAME];
    ac_weather_places_search_name(name, call->location);
    if (!name[0]) {
        return ac_err_set(err, AC_TOOL_ERROR, "the location is empty");
    }
    json_t *arguments = json_object();
    ac_buf_t url;
    ac_buf_init(&url, MAX_URL);
    apr_status_t status = ac_json_put(arguments, "name", ac_json_text(name))
        ? APR_SUCCESS
        : ac_err_set(err, AC_INTERNAL, "memory ran out");
    if (status == APR_SUCCESS) {
        status = ac_template_fill(&url, call->weather->search, AC_TEMPLATE_URL, arguments, err);
    }
    if (status == APR_SUCCESS) {
        status = weather_get(call, url.data, err);
    }
    json_decref(arguments);
    ac_buf_free(&url);
    return status;
}

static apr_status_t ask_forecast(call_t *call, ac_err_t *err)
{
    char *query = ac_weather_report_query(call->place, call->units, call->n_days);
    ac_buf_t url;
    ac_buf_init(&url, MAX_URL);
    apr_status_t status = query ? ac_buf_printf(&url, "%s/forecast?%s", call->weather->forecast, query) : APR_ENOMEM;
    status = status == APR_SUCCESS ? weather_get(call, url.data, err) : ac_err_set(err, AC_INTERNAL, "memory ran out");
    free(query);
    ac_buf_free(&url);
    return status;
}

/* ---- calls ---- */

static apr_status_t read_arguments(call_t *call, const json_t *arguments, ac_err_t *err)
{
    const char *location, *units;
    int64_t n_days;
    apr_status_t status = ac_json_string(&location, arguments, "location", true, err);
    if (status == APR_SUCCESS) {
        status = ac_json_string(&units, arguments, "units", false, err);
    }
    if (status == APR_SUCCESS) {
        status = ac_json_int(&n_days, arguments, "days", 1, err);
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    if (units && !read_units(&call->units, units)) {
        return ac_err_set_at(err, AC_INVALID_REQUEST, "/units", "units must be metric or imperial");
    }
    if (n_days < 1 || n_days > MAX_DAYS) {
        return ac_err_set_at(err, AC_INVALID_REQUEST, "/days", "days must be from 1 to %d", MAX_DAYS);
    }
    call->n_days = (int)n_days;
    call->location = strdup(location);
    return call->location ? APR_SUCCESS : ac_err_set(err, AC_INTERNAL, "memory ran out");
}

static apr_status_t weather_start(void **pcall, void *self, const json_t *arguments, apr_time_t deadline,
                                  void (*done)(void *baton, apr_status_t status, json_t *result, const ac_err_t *err),
                                  void *baton, ac_err_t *err)
{
    weather_t *weather = self;
    call_t *call = ac_alloc(sizeof(*call));
    call->weather = weather;
    call->units = weather->units;
    call->deadline = deadline;
    call->done = done;
    call->baton = baton;
    if (ac_trace_here()) {
        ac_trace_copy(&call->trace, ac_trace_here());
    }
    ac_buf_init(&call->body, AC_MAX_BODY_DEFAULT);
    apr_status_t status = read_arguments(call, arguments, err);
    if (status == APR_SUCCESS) {
        call->place = ac_weather_places_cache_get(weather->cache, call->location, ac_loop_now(weather->loop));
        status = call->place ? ask_forecast(call, err) : ask_place(call, err);
    }
    if (status != APR_SUCCESS) {
        weather_call_free(call);
        return status;
    }
    *pcall = call;
    return APR_SUCCESS;
}

static void weather_cancel(void *self)
{
    call_t *call = self;
    if (call->http) {
        ac_http_cancel(call->http);
    }
    weather_call_free(call);
}

const ac_tool_vt ac_tool_weather = {
    .name = "weather",
    .description = "Tells the current weather at a place, and the forecast for up to 7 days.",
    .parameters = "{\"type\": \"object\", \"properties\": {"
                  "\"location\": {\"type\": \"string\", \"minLength\": 1, \"maxLength\": 200, \"description\": "
                  "\"City or town, or a postal code; with region or country after a comma where it may be another one: "
                  "Paris, Texas\"}, \"units\": {\"type\": \"string\", \"enum\": [\"metric\", \"imperial\"]}, "
                  "\"days\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 7, \"description\": "
                  "\"Days of forecast, today included; 1 where not given\"}}, "
                  "\"required\": [\"location\"], \"additionalProperties\": false}",
    .create = weather_create,
    .child_init = weather_child_init,
    .start = weather_start,
    .cancel = weather_cancel,
};
