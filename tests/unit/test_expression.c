/* SPDX-License-Identifier: Apache-2.0 */
/* The calculator's evaluator: results to the digit, errors to the character, and what keeps it bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "back/tools/calculator/expression.h"

typedef struct row_t {
    const char *expression, *result;
} row_t;

/* Ends with a row of NULLs. */
static void check_results(const row_t *row)
{
    for (; row->expression; row++) {
        char text[128] = "";
        ac_err_t err;
        ac_err_init(&err);
        apr_status_t status = ac_expression_eval(text, sizeof(text), row->expression, &err);
        if (status != APR_SUCCESS || strcmp(text, row->result) != 0) {
            print_error("%s: expected %s, got %s%s\n", row->expression, row->result, text, err.detail);
        }
        assert_int_equal(status, APR_SUCCESS);
        assert_string_equal(text, row->result);
    }
}

static void check_errors(const row_t *row)
{
    for (; row->expression; row++) {
        char text[128] = "";
        ac_err_t err;
        ac_err_init(&err);
        apr_status_t status = ac_expression_eval(text, sizeof(text), row->expression, &err);
        if (status == APR_SUCCESS) {
            print_error("%s: expected an error, got %s\n", row->expression, text);
        }
        assert_int_not_equal(status, APR_SUCCESS);
        assert_int_equal(err.kind, AC_TOOL_ERROR);
        assert_string_equal(err.detail, row->result);
        assert_int_not_equal(ac_expression_eval(text, sizeof(text), row->expression, NULL), APR_SUCCESS);
    }
}

static void test_money_is_exact(void **state)
{
    (void)state;
    static const row_t rows[] = {{"85 * 0.15", "12.75"},
                                 {"75 * 0.18", "13.5"},
                                 {"0.1 + 0.2", "0.3"},
                                 {"1.10 + 2.20", "3.3"},
                                 {"19.99 * 3", "59.97"},
                                 {"100 - 99.9", "0.1"},
                                 {"4.35 * 100", "435"},
                                 {"1.005 * 1000", "1005"},
                                 {"0.07 * 100", "7"},
                                 {"10 / 4", "2.5"},
                                 {"1/8", "0.125"},
                                 {"-0.5 + 0.5", "0"},
                                 {"0 * -1", "0"},
                                 {"007", "7"},
                                 {".5", "0.5"},
                                 {"5.", "5"},
                                 {"1e-3", "0.001"},
                                 {"1E+3", "1000"},
                                 {"2.50", "2.5"},
                                 {"100", "100"},
                                 {"123456789 * 987654321", "121932631112635269"},
                                 {"99999999999999999999 + 1", "100000000000000000000"},
                                 {"0.000000000000000000000000000001 + 1", "1.000000000000000000000000000001"},
                                 {NULL, NULL}};
    check_results(rows);
}

static void test_precedence(void **state)
{
    (void)state;
    static const row_t rows[] = {
        {"1 + 2 * 3", "7"}, {"(1 + 2) * 3", "9"}, {"10 - 4 - 3", "3"}, {"100 / 10 / 2", "5"},  {"2 * 3 % 4", "2"},
        {"-2^2", "-4"},     {"(-2)^2", "4"},      {"2^3^2", "512"},    {"2**10", "1024"},      {"2 ^ -1", "0.5"},
        {"2^+3", "8"},      {"--5", "5"},         {"-+-5", "5"},       {"3 - -2", "5"},        {"2^3!", "64"},
        {"-3!", "-6"},      {"3!!", "720"},       {"0!", "1"},         {"((((((1))))))", "1"}, {"6 / 2 * (1 + 2)", "9"},
        {"2 * -3", "-6"},   {"-2 ** 2", "-4"},    {NULL, NULL}};
    check_results(rows);
}

static void test_percent(void **state)
{
    (void)state;
    static const row_t rows[] = {{"18% of 75", "13.5"},
                                 {"18 % OF 75", "13.5"},
                                 {"75 * 18%", "13.5"},
                                 {"200 + 10%", "220"},
                                 {"200 - 10%", "180"},
                                 {"200 + 10% * 2", "200.2"},
                                 {"200 + 10% of 50", "205"},
                                 {"100 - 5% - 5%", "90.25"},
                                 {"10% + 20%", "0.3"},
                                 {"200 + (10%)", "200.1"},
                                 {"10% + 5", "5.1"},
                                 {"200 * (1 + 10%)", "220"},
                                 {"50%", "0.5"},
                                 {"10%%", "0.001"},
                                 {"10% of 50% of 200", "10"},
                                 {"200 + -10%", "180"},
                                 {"sum(50%, 0.25)", "0.75"},
                                 {"5 %", "0.05"},
                                 {"2 ^ 50%", "1.414213562373095"},
                                 {NULL, NULL}};
    check_results(rows);
}

static void test_remainder(void **state)
{
    (void)state;
    static const row_t rows[] = {{"10 % 3", "1"},
                                 {"10%3", "1"},
                                 {"-7 % 3", "2"},
                                 {"7 % (-3)", "-2"},
                                 {"5.5 % 0.1", "0"},
                                 {"5.55 % 0.1", "0.05"},
                                 {"10 mod 4", "2"},
                                 {"mod(10, 4)", "2"},
                                 {"mod(-10, 4)", "2"},
                                 {"0 % 5", "0"},
                                 {"3 % 5", "3"},
                                 {"$10 % $4", "2"},
                                 {"10 % pi * 0", "0"},
                                 {"1e50 % 7", "2"},
                                 {"50% mod 0.2", "0.1"},
                                 {"123456789012345678901234567890 % 98765432109876543210", "60185185207253086410"},
                                 {NULL, NULL}};
    check_results(rows);
}

static void test_how_people_write(void **state)
{
    (void)state;
    static const row_t rows[] = {{"1,234.50", "1234.5"},
                                 {"1,234,567 + 1", "1234568"},
                                 {"12,345 * 2", "24690"},
                                 {"-1,000", "-1000"},
                                 {"max(1,234)", "234"},
                                 {"max((1), 234)", "234"},
                                 {"max(1, 2) + 1,000", "1002"},
                                 {"\xe2\x82\xac"
                                  "75 * 18%",
                                  "13.5"},
                                 {"$1,234.50 + \xc2\xa3"
                                  "2",
                                  "1236.5"},
                                 {"-$5", "-5"},
                                 {"\xc2\xa5 500", "500"},
                                 {"75\xe2\x82\xac * 2", "150"},
                                 {"75 \xe2\x82\xac * 2", "150"},
                                 {"3 \xc3\x97 4 \xc3\xb7 2 \xe2\x88\x92 1", "5"},
                                 {"2 \xc2\xb7 3", "6"},
                                 {"\xe2\x88\x92"
                                  "3",
                                  "-3"},
                                 {"1\xc2\xa0+\xe2\x80\xaf"
                                  "2\t+\n3",
                                  "6"},
                                 {"SQRT(16) + Pi * 0", "4"},
                                 {"\xcf\x80", "3.141592653589793"},
                                 {NULL, NULL}};
    check_results(rows);
}

static void test_digits_shown(void **state)
{
    (void)state;
    static const row_t rows[] = {{"1/3", "0.3333333333333333"},
                                 {"2/3", "0.6666666666666667"},
                                 {"1/3*3", "1"},
                                 {"1/3 + 1/3 + 1/3 - 1", "0"},
                                 {"2^100", "1267650600228229401496703205376"},
                                 {"2^-100 * 2^100", "1"},
                                 {"2^200", "1.60693804425899e+60"},
                                 {"0.1^10", "1e-10"},
                                 {"0.00001", "0.00001"},
                                 {"0.0000001", "0.0000001"},
                                 {"0.00000001", "1e-08"},
                                 {"1e59", "100000000000000000000000000000000000000000000000000000000000"},
                                 {"1e60", "1e+60"},
                                 {"-1.5e100", "-1.5e+100"},
                                 {"1e20/3", "3.333333333333333e+19"},
                                 {"1e15/3", "333333333333333.3"},
                                 {"1e50+1e-50", "1e+50"},
                                 {"1e50+1e-5-1e50", "0.00001"},
                                 {"1e900 - 1", "1e+900"},
                                 {"1 - 1e900", "-1e+900"},
                                 {"20!", "2432902008176640000"},
                                 {"25!", "15511210043330985984000000"},
                                 {"100!", "9.332621544394415e+157"},
                                 {"1.0000001^1000000000", "2.688103701264924e+43"},
                                 {"1.05^30 * 1000", "4321.942375150662"},
                                 {"1000 * (1 + 5%/12)^(12*10)", "1647.009497690283"},
                                 {"2^0.5", "1.414213562373095"},
                                 {"123456789012345678901234567890 / 1234567890", "100000000010000000001"},
                                 {NULL, NULL}};
    check_results(rows);
}

static void test_functions(void **state)
{
    (void)state;
    static const row_t rows[] = {{"sqrt(144)", "12"},
                                 {"sqrt(0.0625)", "0.25"},
                                 {"sqrt(0)", "0"},
                                 {"sqrt(2)^2", "2"},
                                 {"sqrt(2)^2 - 2", "0"},
                                 {"sqrt(15241578753238836750495351562536198787501905199875019052100)",
                                  "123456789012345678901234567890"},
                                 {"sqrt(1e-30)", "1e-15"},
                                 {"sqrt(10)", "3.162277660168379"},
                                 {"cbrt(27)", "3"},
                                 {"cbrt(-0.001)", "-0.1"},
                                 {"cbrt(2)", "1.25992104989487"},
                                 {"abs(-3.5)", "3.5"},
                                 {"round(2.5)", "3"},
                                 {"round(-2.5)", "-3"},
                                 {"round(12.345, 2)", "12.35"},
                                 {"round(1234, -2)", "1200"},
                                 {"round(0.4)", "0"},
                                 {"round(0.5)", "1"},
                                 {"round(2/3, 4)", "0.6667"},
                                 {"round(1e-500)", "0"},
                                 {"floor(-0.5)", "-1"},
                                 {"floor(2.9)", "2"},
                                 {"floor(1e-500)", "0"},
                                 {"ceil(1e-500)", "1"},
                                 {"ceil(2.1)", "3"},
                                 {"ceil(-2.1)", "-2"},
                                 {"trunc(-1.9)", "-1"},
                                 {"floor(1/3*3)", "1"},
                                 {"min(3, 1, 2)", "1"},
                                 {"max(3, 1, 2)", "3"},
                                 {"min(1)", "1"},
                                 {"sum(0.1, 0.2, 0.3)", "0.6"},
                                 {"avg(1, 2, 3, 4)", "2.5"},
                                 {"pow(2, 10)", "1024"},
                                 {"exp(0)", "1"},
                                 {"exp(1)", "2.71828182845905"},
                                 {"ln(e)", "1"},
                                 {"ln(1)", "0"},
                                 {"log(1000)", "3"},
                                 {"log10(0.001)", "-3"},
                                 {"log2(1024)", "10"},
                                 {"log(8, 2)", "3"},
                                 {"log(81, 3)", "4"},
                                 {"log(100, 10)", "2"},
                                 {"floor(log(8, 2))", "3"},
                                 {"4^0.5", "2"},
                                 {"9^1.5", "27"},
                                 {"4^-0.5", "0.5"},
                                 {"8^(1/3)", "2"},
                                 {"floor(8^(1/3))", "2"},
                                 {"0^0", "1"},
                                 {"0^2.5", "0"},
                                 {"1^1e30", "1"},
                                 {"10^-3", "0.001"},
                                 {"(-2)^3", "-8"},
                                 {"(-2)^-3", "-0.125"},
                                 {"(1+1e-9)^(1e9)", "2.718281827099904"},
                                 {NULL, NULL}};
    check_results(rows);
}

static void test_angles(void **state)
{
    (void)state;
    static const row_t rows[] = {{"pi", "3.141592653589793"},
                                 {"e", "2.718281828459045"},
                                 {"tau", "6.283185307179586"},
                                 {"tau - 2*pi", "0"},
                                 {"sin(0)", "0"},
                                 {"sin(pi)", "0"},
                                 {"sin(100*pi)", "0"},
                                 {"cos(pi/2)", "0"},
                                 {"cos(pi)", "-1"},
                                 {"sin(pi/6)", "0.5"},
                                 {"tan(pi/4)", "1"},
                                 {"sin(rad(30))", "0.5"},
                                 {"deg(pi)", "180"},
                                 {"deg(atan(1))", "45"},
                                 {"sin(1e-30)", "1e-30"},
                                 {"asin(1)", "1.5707963267949"},
                                 {"acos(-1)", "3.14159265358979"},
                                 {"atan(1)*4 - pi", "0"},
                                 {NULL, NULL}};
    check_results(rows);
}

static void test_errors_name_the_place(void **state)
{
    (void)state;
    static const row_t rows[] = {{"", "the expression is empty"},
                                 {" \t ", "the expression is empty"},
                                 {"1 +", "unexpected end of the expression"},
                                 {"1 + 2 )", "unexpected ')' at character 7"},
                                 {"1 + * 2", "unexpected '*' at character 5"},
                                 {"(1+2", "nothing closes the '(' at character 1"},
                                 {"()", "unexpected ')' at character 2"},
                                 {"2 3", "unexpected '3' at character 3"},
                                 {"2pi", "unexpected 'p' at character 2"},
                                 {"2(3)", "unexpected '(' at character 2"},
                                 {"1.2.3", "unexpected '.' at character 4"},
                                 {".", "unexpected '.' at character 1"},
                                 {"1,23", "unexpected ',' at character 2"},
                                 {"0,123", "unexpected ',' at character 2"},
                                 {"1,2345", "unexpected ',' at character 2"},
                                 {"1234,567", "unexpected ',' at character 5"},
                                 {"1,234,5", "unexpected ',' at character 6"},
                                 {"1 = 1", "unexpected '=' at character 3"},
                                 {"1e", "unexpected 'e' at character 2"},
                                 {"$", "unexpected end of the expression"},
                                 {"$-5", "unexpected '-' at character 2"},
                                 {"\xe2\x82\xac"
                                  "5 \xc3\x97 \xe2\x82\xac"
                                  "x",
                                  "unexpected 'x' at character 7"},
                                 {"1 + \xf0\x9f\x98\x80", "unexpected '\xf0\x9f\x98\x80' at character 5"},
                                 {"1 \x07", "unexpected control character at character 3"},
                                 {"1 \xff", "the expression is not valid UTF-8"},
                                 {"foo(1)", "unknown function 'foo' at character 1"},
                                 {"1 + foo", "unknown name 'foo' at character 5"},
                                 {"abcdefghijklmnopqrstuvwxyz(1)",
                                  "unknown function 'abcdefghijklmnopqrstuvwx...' at character 1"},
                                 {"sqrt 4", "the function 'sqrt' at character 1 needs parentheses"},
                                 {"sqrt()", "'sqrt' takes one argument, at character 1"},
                                 {"1 + sqrt(1, 2)", "'sqrt' takes one argument, at character 5"},
                                 {"pow(1)", "'pow' takes two arguments, at character 1"},
                                 {"round(1,2,3)", "'round' takes one or two arguments, at character 1"},
                                 {"max()", "'max' takes at least one argument, at character 1"},
                                 {"max(1,)", "unexpected ')' at character 7"},
                                 {"max(1", "unexpected end of the expression"},
                                 {"max((1,2),3)", "unexpected ',' at character 7"},
                                 {"'ls'", "unexpected ''' at character 1"},
                                 {"1; 2", "unexpected ';' at character 2"},
                                 {NULL, NULL}};
    check_errors(rows);
}

static void test_undefined_results(void **state)
{
    (void)state;
    static const row_t rows[] = {{"1/0", "division by zero at character 2"},
                                 {"1/(2-2)", "division by zero at character 2"},
                                 {"5 % 0", "division by zero at character 3"},
                                 {"0^-1", "division by zero at character 2"},
                                 {"sqrt(-1)", "a negative number has no square root at character 1"},
                                 {"(-8)^(1/3)", "a negative number has no power that is not whole at character 5"},
                                 {"2.5!", "only whole numbers from 0 have a factorial at character 4"},
                                 {"(-1)!", "only whole numbers from 0 have a factorial at character 5"},
                                 {"ln(0)", "only numbers above 0 have a logarithm at character 1"},
                                 {"log(8, 1)",
                                  "the base of a logarithm must be above 0 and other than 1 at character 1"},
                                 {"log(8, -2)",
                                  "the base of a logarithm must be above 0 and other than 1 at character 1"},
                                 {"asin(2)", "the argument must be from -1 to 1 at character 1"},
                                 {"tan(pi/2)", "the tangent of a right angle is not defined at character 1"},
                                 {"sin(1e20)", "the angle is too large at character 1"},
                                 {"round(1, 0.5)", "the number of places must be whole, -60 to 60 at character 1"},
                                 {"1e100 % 3e-100", "the numbers are too far apart for a remainder at character 7"},
                                 {NULL, NULL}};
    check_errors(rows);
}

static void test_size_is_bounded(void **state)
{
    (void)state;
    static const row_t rows[] = {{"9^9^9", "the result is too large at character 2"},
                                 {"9^9^9^9", "the result is too large at character 4"},
                                 {"10^1001", "the result is too large at character 3"},
                                 {"2^1e18", "the exponent is too large at character 2"},
                                 {"2^1.5e30", "the exponent is too large at character 2"},
                                 {"1.5^1e17", "the result is too large at character 4"},
                                 {"0.5^9999999", "the result is too small at character 4"},
                                 {"1e-900 * 1e-900", "the result is too small at character 8"},
                                 {"exp(99999)", "the result is too large at character 1"},
                                 {"401!", "the factorial is too large at character 4"},
                                 {"1e30!", "the factorial is too large at character 5"},
                                 {"9!!", "the factorial is too large at character 3"},
                                 {"1e999999999999", "a number that is too large or too small at character 1"},
                                 {"1e-999999999999", "a number that is too large or too small at character 1"},
                                 {NULL, NULL}};
    check_errors(rows);
}

/* text repeated to n bytes and more, then end; for free() */
static char *repeat(const char *text, size_t n, const char *end)
{
    ac_buf_t buf;
    ac_buf_init(&buf, 65536);
    while (buf.len < n) {
        ac_buf_str(&buf, text);
    }
    ac_buf_str(&buf, end);
    assert_false(buf.failed);
    return buf.data;
}

static void test_length_and_depth_are_bounded(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n;
        const char *end, *error;
    } rows[] = {
        {"1+", 4096, "1", "the expression is longer than 4096 bytes"},
        {"(", 1000, "1", "the expression is nested too deeply at character 65"},
        {"-", 1000, "1", "the expression is nested too deeply at character 65"},
        {"2^", 1000, "1", "the expression is nested too deeply at character 129"},
        {"sqrt(", 1000, "1", "the expression is nested too deeply at character 321"},
        {"400!-", 4000, "1", "the expression takes too many steps at character 34"},
        {"1", 4000, "", "a number with too many digits at character 1"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *text = repeat(rows[i].text, rows[i].n, rows[i].end);
        const row_t row[] = {{text, rows[i].error}, {NULL, NULL}};
        check_errors(row);
        free(text);
    }
    char *sum = repeat("1+", 4094, "1"), *zeros = repeat("0", 4000, ".5");
    const row_t fits[] = {{sum, "2048"}, {zeros, "0.5"}, {NULL, NULL}};
    check_results(fits);
    free(sum);
    free(zeros);
}

static void test_buffer_too_small(void **state)
{
    (void)state;
    char text[4] = "abc";
    ac_err_t err;
    ac_err_init(&err);
    assert_int_not_equal(ac_expression_eval(text, sizeof(text), "1000", &err), APR_SUCCESS);
    assert_int_equal(err.kind, AC_INTERNAL);
    assert_string_equal(text, "abc");
    assert_int_equal(ac_expression_eval(text, sizeof(text), "999", NULL), APR_SUCCESS);
    assert_string_equal(text, "999");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_money_is_exact),
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_percent),
        cmocka_unit_test(test_remainder),
        cmocka_unit_test(test_how_people_write),
        cmocka_unit_test(test_digits_shown),
        cmocka_unit_test(test_functions),
        cmocka_unit_test(test_angles),
        cmocka_unit_test(test_errors_name_the_place),
        cmocka_unit_test(test_undefined_results),
        cmocka_unit_test(test_size_is_bounded),
        cmocka_unit_test(test_length_and_depth_are_bounded),
        cmocka_unit_test(test_buffer_too_small),
    };
    return cmocka_run_group_tests_name("expression", tests, NULL, NULL);
}
