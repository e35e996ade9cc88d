/* SPDX-License-Identifier: Apache-2.0 */
/* The calculator's evaluator accepts any text; its answer is a number that it reads back as the same one. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "back/tools/calculator/expression.h"

#define MAX_LEN 5000

static void check_result(const char *text)
{
    char again[128], difference[272];
    size_t len = strlen(text);
    if (len == 0 || len >= 100 || strspn(text, "0123456789.e+-") != len) {
        abort();
    }
    ac_err_t err;
    ac_err_init(&err);
    snprintf(difference, sizeof(difference), "%s - (%s)", text, text);
    if (ac_expression_eval(again, sizeof(again), difference, &err) != APR_SUCCESS || strcmp(again, "0") != 0) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[128] = "";
    if (size > MAX_LEN) {
        return 0;
    }
    char *expression = malloc(size + 1);
    if (!expression) {
        return 0;
    }
    memcpy(expression, data, size);
    expression[size] = '\0';
    ac_err_t err;
    ac_err_init(&err);
    if (ac_expression_eval(text, sizeof(text), expression, &err) == APR_SUCCESS) {
        check_result(text);
    } else if (err.kind != AC_TOOL_ERROR || !err.detail[0] || !ac_utf8_valid(err.detail, strlen(err.detail))) {
        abort();
    }
    free(expression);
    return 0;
}
