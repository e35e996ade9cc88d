/* SPDX-License-Identifier: Apache-2.0 */
/* The tool "calculator": evaluates an expression. */
#include "back/tools/tool_support.h"
#include "expression.h"

#include <string.h>

#define RESULT_SIZE 128

/* The result as a number if JSON writes it with the same characters, else as a string. */
static json_t *as_json(const char *text)
{
    json_t *number;
    if (ac_json_parse(&number, text, strlen(text), NULL) == APR_SUCCESS) {
        char *again = ac_json_dump(number, NULL);
        bool same = again && strcmp(again, text) == 0;
        free(again);
        if (same) {
            return number;
        }
        json_decref(number);
    }
    return json_string(text);
}

static apr_status_t calculate(void *self, const json_t *arguments, json_t **presult, ac_err_t *err)
{
    char text[RESULT_SIZE];
    const char *expression;
    apr_status_t status = ac_json_string(&expression, arguments, "expression", true, err);
    (void)self;
    if (status == APR_SUCCESS) {
        status = ac_expression_eval(text, sizeof(text), expression, err);
    }
    if (status == APR_SUCCESS) {
        *presult = json_pack("{s:o, s:o}", "expression", ac_json_text(expression), "result", as_json(text));
        status = *presult ? APR_SUCCESS : ac_err_set(err, AC_INTERNAL, "out of memory");
    }
    return status;
}

const ac_tool_vt ac_tool_calculator = {
    .name = "calculator",
    .flags = AC_TOOL_COMPUTES,
    .description = "Works out an arithmetic expression exactly, for example \"85 * 0.15\", \"18% of 75\", "
                   "\"(1200 + 19%) / 12\" or \"sqrt(2) * 10^3\". Use it for every calculation instead of calculating "
                   "yourself. Knows + - * / ^ % (percent, or remainder before a number) ! and parentheses; sqrt "
                   "cbrt abs round(x, places) floor ceil trunc min max sum avg pow exp ln log(x, base) log10 log2 "
                   "sin cos tan asin acos atan (in radians) deg rad mod; pi, e and tau.",
    .parameters = "{\"type\": \"object\", \"properties\": {\"expression\": {\"type\": \"string\", \"minLength\": 1, "
                  "\"maxLength\": 4096, \"description\": \"The expression, with a point as the decimal sign\"}}, "
                  "\"required\": [\"expression\"], \"additionalProperties\": false}",
    .compute = calculate,
};
