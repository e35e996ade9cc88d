/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP tool whose service answers with scripts. */
#ifndef TOOL_HTTP_PLAY_H
#define TOOL_HTTP_PLAY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "back/tools/http/tool_http.h"
#include "tool_rig.h"

#define HEAD(status, type) "HTTP/1.1 " status "\r\nContent-Type: " type "\r\nConnection: close\r\n\r\n"
#define JSON HEAD("200 OK", "application/json")
#define TEXT HEAD("200 OK", "text/plain")
#define SCHEMA \
    "{\"type\":\"object\",\"properties\":{\"query\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\"}," \
    "\"tags\":{\"type\":\"array\"}},\"additionalProperties\":false}"
#define ASK "{\"query\":\"a b\"}"

static tool_rig_t tool;
static tool_answer_t answer;
static http_server_t *server;
static char url[128];

static inline int set_up(void **state)
{
    (void)state;
    tool_rig_open(&tool, &ac_tool_http);
    tool.conf.parameters = json_loads(SCHEMA, 0, NULL);
    tool.conf.allow_private = true;
    return 0;
}

static inline int tear_down(void **state)
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

static inline void serve(const server_step_t *const *scripts, const char *path)
{
    server = http_server_start(scripts);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", http_server_port(server), path);
    tool.conf.url = url;
}

/* A server that gives this one answer, and the tool on it. */
static inline void play_at(const char *response, const char *path)
{
    static server_step_t script[] = {SEND(NULL), CUT, END};
    static const server_step_t *const scripts[] = {script, NULL};
    script[0].text = response;
    serve(scripts, path);
    tool_rig_start(&tool);
}

static inline void play(const char *response)
{
    play_at(response, "/v1/search?q={query}");
}

static inline void add_header(const char *name, const char *value, const char *secret)
{
    ac_tool_header_t *header = apr_array_push((apr_array_header_t *)tool.conf.headers);
    memset(header, 0, sizeof(*header));
    header->name = name;
    header->value = value;
    header->secret.value = secret;
}

static inline void assert_sent(int i, const char *text)
{
    const char *request = http_server_request(server, i);
    if (!strstr(request, text)) {
        print_error("'%s' is not in: %s\n", text, request);
    }
    assert_non_null(strstr(request, text));
}

static inline void expect_result(const char *response, const char *result)
{
    play(response);
    tool_rig_call(&tool, &answer, ASK, 0);
    tool_answer_is(&answer, result);
}

static inline void expect_failure(const char *response, const char *detail)
{
    play(response);
    tool_rig_call(&tool, &answer, ASK, 0);
    tool_answer_failed(&answer, AC_TOOL_ERROR, detail);
}

#endif
