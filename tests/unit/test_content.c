/* SPDX-License-Identifier: Apache-2.0 */
/* The content of a user's message: a text, or a list of parts; a wrong one is refused with the place of the fault. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/wire.h"

#define FILE_1 "file_01hzzzzzzzzzzzzzzzzzzzzzz1"
#define FILE_2 "file_01hzzzzzzzzzzzzzzzzzzzzzz2"

static json_t *value_of(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    return value;
}

static void expect_text(const char *json, const char *text)
{
    ac_content_t content;
    ac_err_t err = {0};
    json_t *value = value_of(json);
    assert_int_equal(ac_content_read(&content, value, "content", &err), APR_SUCCESS);
    assert_int_equal(err.kind, AC_OK);
    assert_string_equal(content.text.data ? content.text.data : "", text);
    ac_content_free(&content);
    json_decref(value);
}

static void expect_refused(json_t *value, ac_kind_e kind, const char *pointer)
{
    ac_content_t content;
    ac_err_t err = {0};
    assert_int_not_equal(ac_content_read(&content, value, "content", &err), APR_SUCCESS);
    assert_int_equal(err.kind, kind);
    assert_string_equal(err.pointer, pointer);
    assert_true(err.detail[0]);
    assert_null(content.text.data);
    json_decref(value);
}

static void test_texts_are_joined_by_an_empty_line(void **state)
{
    (void)state;
    expect_text("\"a\\nb\"", "a\nb");
    expect_text("\"\"", "");
    expect_text("[]", "");
    expect_text("[{\"type\":\"text\",\"text\":\"a\"}]", "a");
    expect_text("[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"\"},"
                "{\"type\":\"text\",\"text\":\"b\"}]",
                "a\n\nb");
}

static void test_files_in_their_order(void **state)
{
    (void)state;
    ac_content_t content;
    ac_err_t err = {0};
    json_t *value = value_of("[{\"type\":\"file\",\"file_id\":\"" FILE_2 "\"},{\"type\":\"text\",\"text\":\"x\"},"
                             "{\"type\":\"image\",\"file_id\":\"" FILE_1 "\"}]");
    assert_int_equal(ac_content_read(&content, value, "content", &err), APR_SUCCESS);
    assert_int_equal(content.n_files, 2);
    assert_string_equal(content.files[0].file_id, FILE_2);
    assert_false(content.files[0].image);
    assert_int_equal(content.files[0].part, 0);
    assert_string_equal(content.files[1].file_id, FILE_1);
    assert_true(content.files[1].image);
    assert_int_equal(content.files[1].part, 2);
    ac_content_free(&content);
    json_decref(value);
}

static void test_a_wrong_part_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        ac_kind_e kind;
        const char *pointer;
    } cases[] = {
        {"null", AC_INVALID_REQUEST, "/content"},
        {"7", AC_INVALID_REQUEST, "/content"},
        {"{}", AC_INVALID_REQUEST, "/content"},
        {"[\"a\"]", AC_INVALID_REQUEST, "/content/0"},
        {"[{}]", AC_INVALID_REQUEST, "/content/0/type"},
        {"[{\"type\":7}]", AC_INVALID_REQUEST, "/content/0/type"},
        {"[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"audio\"}]", AC_INVALID_REQUEST, "/content/1/type"},
        {"[{\"type\":\"text\"}]", AC_INVALID_REQUEST, "/content/0/text"},
        {"[{\"type\":\"text\",\"text\":null}]", AC_INVALID_REQUEST, "/content/0/text"},
        {"[{\"type\":\"text\",\"text\":\"a\",\"file_id\":\"" FILE_1 "\"}]", AC_INVALID_REQUEST, "/content/0/file_id"},
        {"[{\"type\":\"image\"}]", AC_INVALID_REQUEST, "/content/0/file_id"},
        {"[{\"type\":\"image\",\"file_id\":\"" FILE_1 "\",\"url\":\"x\"}]", AC_INVALID_REQUEST, "/content/0/url"},
        {"[{\"type\":\"image\",\"file_id\":\"\"}]", AC_NOT_FOUND, "/content/0/file_id"},
        {"[{\"type\":\"file\",\"file_id\":\"../../etc/passwd\"}]", AC_NOT_FOUND, "/content/0/file_id"},
        {"[{\"type\":\"file\",\"file_id\":\"" FILE_1 "\"},{\"type\":\"image\",\"file_id\":\"" FILE_1 "\"}]",
         AC_INVALID_REQUEST, "/content/1/file_id"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_refused(value_of(cases[i].json), cases[i].kind, cases[i].pointer);
    }
    expect_refused(NULL, AC_INVALID_REQUEST, "/content");
}

static void test_limits_of_parts_files_and_bytes(void **state)
{
    (void)state;
    json_t *parts = json_array(), *files = json_array();
    for (int i = 0; i <= AC_MAX_CONTENT_PARTS; i++) {
        json_array_append_new(parts, json_pack("{s:s, s:s}", "type", "text", "text", "a"));
    }
    for (int i = 0; i <= AC_MAX_ATTACHMENTS; i++) {
        char id[AC_ID_SIZE];
        ac_id_make(id, "file_");
        json_array_append_new(files, json_pack("{s:s, s:s}", "type", "file", "file_id", id));
    }
    expect_refused(parts, AC_INVALID_REQUEST, "/content");
    char place[32];
    snprintf(place, sizeof place, "/content/%d", AC_MAX_ATTACHMENTS);
    expect_refused(files, AC_INVALID_REQUEST, place);

    char *large = ac_alloc(AC_MAX_CONTENT + 2);
    memset(large, 'x', AC_MAX_CONTENT);
    json_t *fits = json_string(large);
    ac_content_t content;
    ac_err_t err = {0};
    assert_int_equal(ac_content_read(&content, fits, "content", &err), APR_SUCCESS);
    assert_int_equal(content.text.len, AC_MAX_CONTENT);
    ac_content_free(&content);
    json_decref(fits);
    expect_refused(json_pack("[{s:s, s:s}, {s:s, s:s}]", "type", "text", "text", large, "type", "text", "text", "y"),
                   AC_INVALID_REQUEST, "/content");
    large[AC_MAX_CONTENT] = 'x';
    expect_refused(json_string(large), AC_INVALID_REQUEST, "/content");
    free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_are_joined_by_an_empty_line),
        cmocka_unit_test(test_files_in_their_order),
        cmocka_unit_test(test_a_wrong_part_is_named),
        cmocka_unit_test(test_limits_of_parts_files_and_bytes),
    };
    return cmocka_run_group_tests_name("content", tests, NULL, NULL);
}
