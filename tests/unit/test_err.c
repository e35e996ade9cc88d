/* SPDX-License-Identifier: Apache-2.0 */
/* The table of error kinds and the rules of ac_err_t: first error wins, cuts leave whole characters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

static void test_rows_are_in_the_order_of_the_enum(void **state)
{
    (void)state;
    int n_rows = 0;
    for (int i = 0; i < AC_N_KINDS; i++, n_rows++) {
        const ac_err_row_t *row = ac_err_row((ac_kind_e)i);
        assert_int_equal(row->kind, i);
        assert_true(row->code && *row->code && row->title && *row->title && row->fault && *row->fault);
        assert_int_equal(row->status == APR_SUCCESS, i == AC_OK);
        assert_int_equal(row->http >= 400 && row->http < 600, i != AC_OK);
        assert_int_equal(ac_err_kind_by_code(row->code), i);
    }
    assert_true(n_rows >= 36);
}

static void test_codes_are_unique_and_snake_case(void **state)
{
    (void)state;
    for (int i = 0; i < AC_N_KINDS; i++) {
        const char *code = ac_err_row((ac_kind_e)i)->code;
        assert_int_equal(strspn(code, "abcdefghijklmnopqrstuvwxyz_"), strlen(code));
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(code, ac_err_row((ac_kind_e)j)->code);
        }
    }
}

static void test_contract(void **state)
{
    (void)state;
    static const struct {
        ac_kind_e kind;
        int http;
        const char *code;
        bool retry;
    } cases[] = {
        {AC_BAD_JSON, 400, "bad_json", false},
        {AC_INVALID_REQUEST, 400, "invalid_request", false},
        {AC_MESSAGE_EMPTY, 400, "message_empty", false},
        {AC_CONTEXT_LENGTH, 400, "context_length_exceeded", false},
        {AC_UNAUTHENTICATED, 401, "unauthenticated", false},
        {AC_FORBIDDEN, 403, "forbidden", false},
        {AC_NOT_FOUND, 404, "not_found", false},
        {AC_METHOD_NOT_ALLOWED, 405, "method_not_allowed", false},
        {AC_NOT_ACCEPTABLE, 406, "not_acceptable", false},
        {AC_BODY_TOO_LARGE, 413, "body_too_large", false},
        {AC_FILE_LIMIT, 413, "file_limit_exceeded", false},
        {AC_UNSUPPORTED_MEDIA, 415, "unsupported_media_type", false},
        {AC_RUN_IN_PROGRESS, 409, "run_in_progress", true},
        {AC_READ_ONLY, 409, "read_only", false},
        {AC_ALREADY_EXISTS, 409, "already_exists", false},
        {AC_IDEMPOTENCY_CONFLICT, 409, "idempotency_conflict", false},
        {AC_RUN_ENDED, 409, "run_ended", false},
        {AC_NOT_WAITING, 409, "not_waiting", false},
        {AC_EVENTS_GONE, 410, "events_gone", false},
        {AC_PRECONDITION_FAILED, 412, "precondition_failed", false},
        {AC_CONTENT_FILTERED, 422, "content_filtered", false},
        {AC_RATE_LIMITED, 429, "rate_limited", true},
        {AC_BUDGET_EXCEEDED, 429, "budget_exceeded", true},
        {AC_MODEL_REFUSED, 502, "model_refused", false},
        {AC_MODEL_ERROR, 502, "model_error", true},
        {AC_MODEL_THROTTLED, 503, "model_throttled", true},
        {AC_MODEL_TIMEOUT, 504, "model_timeout", true},
        {AC_OUTPUT_INVALID, 502, "output_invalid", true},
        {AC_STORE_ERROR, 502, "store_error", true},
        {AC_STORE_TIMEOUT, 504, "store_timeout", true},
        {AC_TOOL_ERROR, 502, "tool_error", false},
        {AC_TOOL_TIMEOUT, 504, "tool_timeout", true},
        {AC_UPSTREAM_ERROR, 502, "upstream_error", true},
        {AC_UPSTREAM_TIMEOUT, 504, "upstream_timeout", true},
        {AC_STORAGE_FULL, 507, "storage_full", true},
        {AC_OVERLOADED, 503, "overloaded", true},
        {AC_STOPPING, 503, "stopping", true},
        {AC_CANCELLED, 409, "cancelled", false},
        {AC_INTERRUPTED, 502, "interrupted", true},
        {AC_RUN_TIMEOUT, 504, "run_timeout", true},
        {AC_INTERNAL, 500, "internal", false},
    };
    assert_int_equal(sizeof(cases) / sizeof(cases[0]), AC_N_KINDS - 1);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const ac_err_row_t *row = ac_err_row(cases[i].kind);
        assert_int_equal(row->http, cases[i].http);
        assert_string_equal(row->code, cases[i].code);
        assert_int_equal(row->retry, cases[i].retry);
    }
}

static void test_unknown_kinds_and_codes(void **state)
{
    (void)state;
    assert_int_equal(ac_err_row((ac_kind_e)AC_N_KINDS)->kind, AC_INTERNAL);
    assert_int_equal(ac_err_row((ac_kind_e)-1)->kind, AC_INTERNAL);
    assert_int_equal(ac_err_kind_by_code("no_such_code"), AC_OK);
    assert_int_equal(ac_err_kind_by_code(""), AC_OK);
    assert_int_equal(ac_err_kind_by_code(NULL), AC_OK);
}

static void test_first_error_wins(void **state)
{
    (void)state;
    ac_err_t err;
    ac_err_init(&err);
    assert_int_equal(ac_err_set(&err, AC_NOT_FOUND, "no %s with this id", "thread"), APR_ENOENT);
    assert_int_equal(ac_err_set_at(&err, AC_MODEL_TIMEOUT, "/a", "later"), APR_TIMEUP);
    assert_int_equal(err.kind, AC_NOT_FOUND);
    assert_string_equal(err.detail, "no thread with this id");
    assert_string_equal(err.pointer, "");
    assert_int_equal(ac_err_set(NULL, AC_RATE_LIMITED, "no listener"), APR_EAGAIN);
}

static void test_set_at_keeps_the_pointer(void **state)
{
    (void)state;
    ac_err_t err;
    ac_err_init(&err);
    ac_err_set_at(&err, AC_INVALID_REQUEST, "/metadata/a", "must be a string");
    assert_string_equal(err.pointer, "/metadata/a");
    assert_string_equal(err.detail, "must be a string");
}

static void test_an_unknown_kind_becomes_internal(void **state)
{
    (void)state;
    ac_err_t err;
    ac_err_init(&err);
    assert_int_equal(ac_err_set(&err, AC_OK, "x"), APR_EGENERAL);
    assert_int_equal(err.kind, AC_INTERNAL);
}

static void test_long_details_are_cut_between_characters(void **state)
{
    (void)state;
    char text[4 * AC_ERR_DETAIL_SIZE];
    ac_err_t err;
    for (size_t shift = 0; shift < 3; shift++) {
        memset(text, 'x', shift);
        for (size_t i = shift; i + 3 < sizeof(text); i += 3) {
            memcpy(text + i, "\xe2\x82\xac", 4);
        }
        ac_err_init(&err);
        ac_err_set_at(&err, AC_INTERNAL, text, "%s", text);
        assert_true(ac_utf8_valid(err.detail, strlen(err.detail)));
        assert_true(strlen(err.detail) > AC_ERR_DETAIL_SIZE - 4);
        assert_true(ac_utf8_valid(err.pointer, strlen(err.pointer)));
        assert_true(strlen(err.pointer) > AC_ERR_POINTER_SIZE - 4);
    }
}

static void test_while_is_added_once(void **state)
{
    (void)state;
    ac_err_t err;
    ac_err_init(&err);
    ac_err_while(&err, "nothing failed yet");
    assert_string_equal(err.detail, "");
    ac_err_set(&err, AC_STORE_ERROR, "the disk is full");
    ac_err_while(&err, NULL);
    ac_err_while(&err, "");
    ac_err_while(&err, "saving the turn");
    ac_err_while(&err, "ending the run");
    assert_string_equal(err.detail, "the disk is full while saving the turn");
    ac_err_while(NULL, "no listener");
}

static void test_while_without_detail_uses_the_title(void **state)
{
    (void)state;
    ac_err_t err;
    ac_err_init(&err);
    ac_err_set(&err, AC_MODEL_TIMEOUT, "%s", "");
    ac_err_while(&err, "asking the model, round 3");
    assert_string_equal(err.detail, "The model took too long while asking the model, round 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_in_the_order_of_the_enum),
        cmocka_unit_test(test_codes_are_unique_and_snake_case),
        cmocka_unit_test(test_contract),
        cmocka_unit_test(test_unknown_kinds_and_codes),
        cmocka_unit_test(test_first_error_wins),
        cmocka_unit_test(test_set_at_keeps_the_pointer),
        cmocka_unit_test(test_an_unknown_kind_becomes_internal),
        cmocka_unit_test(test_long_details_are_cut_between_characters),
        cmocka_unit_test(test_while_is_added_once),
        cmocka_unit_test(test_while_without_detail_uses_the_title),
    };
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
