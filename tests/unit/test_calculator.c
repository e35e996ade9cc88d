/* SPDX-License-Identifier: Apache-2.0 */
/* The calculator as a tool: numbers if JSON can write them, else digits; errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tool_rig.h"

static tool_rig_t tool;
static tool_answer_t answer;

static int set_up(void **state)
{
    (void)state;
    tool_rig_open(&tool, &ac_tool_calculator);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tool_answer_free(&answer);
    tool_rig_close(&tool);
    return 0;
}

static void test_calculator_results(void **state)
{
    (void)state;
    static const struct {
        const char *arguments, *result;
    } rows[] = {
        {"{\"expression\":\"75 * 0.18\"}", "{\"expression\":\"75 * 0.18\",\"result\":13.5}"},
        {"{\"expression\":\"85 * 0.15\"}", "{\"expression\":\"85 * 0.15\",\"result\":12.75}"},
        {"{\"expression\":\"18% of \xe2\x82\xac"
         "75\"}",
         "{\"expression\":\"18% of "
         "\xe2\x82\xac"
         "75\",\"result\":13.5}"},
        {"{\"expression\":\"2^62\"}", "{\"expression\":\"2^62\",\"result\":4611686018427387904}"},
        {"{\"expression\":\"-2^63\"}", "{\"expression\":\"-2^63\",\"result\":-9223372036854775808}"},
        {"{\"expression\":\"2^63\"}", "{\"expression\":\"2^63\",\"result\":\"9223372036854775808\"}"},
        {"{\"expression\":\"0.1 + 0.2\"}", "{\"expression\":\"0.1 + 0.2\",\"result\":0.3}"},
        {"{\"expression\":\"1 - 1\"}", "{\"expression\":\"1 - 1\",\"result\":0}"},
        {"{\"expression\":\"0.12345678901234567890\"}",
         "{\"expression\":\"0.12345678901234567890\",\"result\":\"0.1234567890123456789\"}"},
        {"{\"expression\":\"1e100\"}", "{\"expression\":\"1e100\",\"result\":1e100}"},
        {"{\"expression\":\"0.00001\"}", "{\"expression\":\"0.00001\",\"result\":\"0.00001\"}"},
        {"{\"expression\":\"1e400\"}", "{\"expression\":\"1e400\",\"result\":\"1e+400\"}"},
    };
    tool_rig_start(&tool);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        tool_rig_call(&tool, &answer, rows[i].arguments, 0);
        tool_answer_is(&answer, rows[i].result);
        tool_answer_free(&answer);
    }
    tool_rig_call(&tool, &answer, "{\"expression\":\"1/3\"}", 0);
    char *text = ac_json_dump(json_object_get(answer.result, "result"), NULL);
    assert_string_equal(text, "0.3333333333333333");
    free(text);
}

static void test_calculator_errors(void **state)
{
    (void)state;
    tool_rig_start(&tool);
    tool_rig_call(&tool, &answer, "{\"expression\":\"1 + 2 )\"}", 0);
    tool_answer_failed(&answer, AC_TOOL_ERROR, "unexpected ')' at character 7");
    assert_int_equal(answer.n_dones, 0);
    tool_rig_call(&tool, &answer, "{\"expression\":\"9^9^9\"}", 0);
    tool_answer_failed(&answer, AC_TOOL_ERROR, "the result is too large at character 2");
    tool_rig_call(&tool, &answer, "{\"expression\":\" \"}", 0);
    tool_answer_failed(&answer, AC_TOOL_ERROR, "the expression is empty");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_calculator_results, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_calculator_errors, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("calculator", tests, NULL, NULL);
}
