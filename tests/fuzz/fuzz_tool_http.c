/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP tool. Lines: the JSON Pointer of its result, the value of a header, its secret, the arguments as JSON,
 * the answer's media type; the rest is the answer. With any answer, the secret is not in the result, and the result
 * is within its maximum. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "back/tools/http/tool_http.h"
#include "fuzz_pool.h"

#define RESULT_MAX 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static char *take_line(const char **ptext, const char *end, apr_pool_t *p)
{
    const char *lf = memchr(*ptext, '\n', (size_t)(end - *ptext));
    char *line = apr_pstrndup(p, *ptext, (size_t)((lf ? lf : end) - *ptext));
    *ptext = lf ? lf + 1 : end;
    return line;
}

static bool holds(const json_t *value, const char *secret)
{
    size_t i;
    json_t *member;
    const char *name;
    json_array_foreach(value, i, member)
    {
        if (holds(member, secret)) {
            return true;
        }
    }
    json_object_foreach((json_t *)value, name, member)
    {
        if (strstr(name, secret) || holds(member, secret)) {
            return true;
        }
    }
    return json_is_string(value) && memmem(json_string_value(value), json_string_length(value), secret, strlen(secret));
}

static void check_answer(const ac_tool_answer_rules_t *rules, const char *type, const char *body, size_t len,
                         const char *secret)
{
    ac_tool_answer_t answer;
    json_t *result = NULL;
    ac_err_t err;
    ac_err_init(&err);
    ac_tool_answer_init(&answer, rules);
    ac_tool_answer_head(&answer, 200, type);
    for (size_t i = 0, n; i < len; i += n) {
        n = len - i < 100 ? len - i : 100;
        if (!ac_tool_answer_body(&answer, body + i, n)) {
            break;
        }
    }
    apr_status_t status = ac_tool_answer_result(&result, &answer, &err);
    must((status == APR_SUCCESS) == (result != NULL) && (status == APR_SUCCESS) == (err.kind == AC_OK));
    if (result) {
        char *text = ac_json_dump(result, NULL);
        must(text && strlen(text) <= 6 * (RESULT_MAX + 100) && !holds(result, secret));
        free(text);
    }
    json_decref(result);
    ac_tool_answer_free(&answer);
    ac_err_init(&err);
    must(ac_tool_support_answer_refused(&err, "the service", 400, type, body, len) != APR_SUCCESS &&
         ac_utf8_valid(err.detail, strlen(err.detail)));
}

static void check(const char *text, const char *end, apr_pool_t *p)
{
    ac_tool_conf_t conf = {.url = "https://api.example.com/",
                           .result_max = RESULT_MAX,
                           .options = apr_table_make(p, 1),
                           .headers = apr_array_make(p, 1, sizeof(ac_tool_header_t))};
    ac_tool_header_t *header = apr_array_push((apr_array_header_t *)conf.headers);
    ac_tool_http_t tool = {.conf = &conf};
    apr_table_setn((apr_table_t *)conf.options, "result", take_line(&text, end, p));
    *header = (ac_tool_header_t){.name = "X-Key", .value = take_line(&text, end, p)};
    const char *secret = take_line(&text, end, p), *arguments = take_line(&text, end, p),
               *type = take_line(&text, end, p);
    bool hidden = strlen(secret) >= 6 && ac_utf8_valid(secret, strlen(secret)) && !strchr(secret, '*');
    header->secret.value = hidden ? secret : "a secret of its own";
    conf.parameters = json_loads("{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{}}}", 0, NULL);
    json_t *values = json_loads(arguments, 0, NULL);
    if (!ac_tool_http_config_read(&tool, p)) {
        ac_buf_t line;
        ac_buf_init(&line, 4096);
        if (json_is_object(values) &&
            ac_template_header(&line, header->value, header->secret.value, values, NULL) == APR_SUCCESS) {
            must(!strpbrk(line.data, "\r\n"));
        }
        ac_buf_free(&line);
        check_answer(&tool.rules, type, text, (size_t)(end - text), header->secret.value);
    }
    json_decref(values);
    json_decref(conf.parameters);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    check((const char *)data, (const char *)data + size, p);
    apr_pool_destroy(p);
    return 0;
}
