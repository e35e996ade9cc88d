/* SPDX-License-Identifier: Apache-2.0 */
/* data: URLs, and the files in memory that are made of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "back/files/files.h"

static void expect_bytes(const char *url, const char *bytes)
{
    ac_buf_t out;
    ac_err_t err = {0};
    ac_buf_init(&out, 64);
    assert_int_equal(ac_data_url_read(&out, url, &err), APR_SUCCESS);
    assert_int_equal(out.len, strlen(bytes));
    assert_string_equal(out.data ? out.data : "", bytes);
    ac_buf_free(&out);
}

static void expect_refused(const char *url, ac_kind_e kind, const char *word)
{
    ac_buf_t out;
    ac_err_t err = {0};
    ac_buf_init(&out, 4);
    assert_int_not_equal(ac_data_url_read(&out, url, &err), APR_SUCCESS);
    assert_int_equal(err.kind, kind);
    assert_non_null(strstr(err.detail, word));
    ac_buf_free(&out);
}

static void test_data_url_forms(void **state)
{
    (void)state;
    expect_bytes("data:,", "");
    expect_bytes("data:text/plain,a%20b%2Cc", "a b,c");
    expect_bytes("data:text/plain;base64,", "");
    expect_bytes("data:text/plain;charset=utf-8;base64,QUI=", "AB");
    expect_bytes("DATA:;BASE64,QUI", "AB");
    expect_bytes("data:;base64,QQ==", "A");
    expect_bytes("data:;base64,QQ", "A");
    expect_bytes("data:;base64,QU\r\nJD", "ABC");
    expect_bytes("data:;base64,Pz8_Pz8/", "??\?\?\?\?"); /* both alphabets */
}

static void test_data_url_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"data:;base64,Q",    "data:;base64,QQ=",   "data:;base64,QUI==",
                                        "data:;base64,Q=QQ", "data:;base64,QUJD=", "data:;base64,QU*D",
                                        "data:;base64,QQ==="};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        expect_refused(wrong[i], AC_INVALID_REQUEST, "base64");
    }
    expect_refused("data:;base64", AC_INVALID_REQUEST, "comma");
    expect_refused("http://a/,b", AC_INVALID_REQUEST, "comma");
    expect_refused("data:,%4", AC_INVALID_REQUEST, "sequence");
    expect_refused("data:,%zz", AC_INVALID_REQUEST, "sequence");
    expect_refused("data:,abcde", AC_BODY_TOO_LARGE, "too large");
    expect_refused("data:;base64,QUJDREU", AC_BODY_TOO_LARGE, "too large");
}

/* ---- files in memory ---- */

static void expect_file(const ac_files_t *files, const char *id, int64_t offset, int64_t len, const char *bytes)
{
    ac_file_read_t *file = NULL;
    char piece[3];
    ac_buf_t out;
    size_t n = 1;
    ac_buf_init(&out, 64);
    assert_int_equal(files->vt->read_begin(files->self, &file, id, offset, len, NULL), APR_SUCCESS);
    while (n) {
        assert_int_equal(files->vt->read(file, piece, sizeof(piece), &n, NULL), APR_SUCCESS);
        ac_buf_add(&out, piece, n);
    }
    files->vt->read_end(file);
    assert_string_equal(out.data ? out.data : "", bytes);
    ac_buf_free(&out);
}

static ac_files_memory_t *memory_with(const char *id, const char *text, const ac_files_t *below)
{
    ac_files_memory_t *memory = ac_files_memory_create(below);
    ac_buf_t bytes;
    ac_buf_init(&bytes, 64);
    ac_buf_str(&bytes, text);
    ac_files_memory_add(memory, id, &bytes);
    assert_null(bytes.data);
    return memory;
}

static void test_files_in_memory(void **state)
{
    (void)state;
    ac_files_t below = {&ac_files_memory, memory_with("file_b", "below", NULL)};
    ac_files_t files = {&ac_files_memory, memory_with("file_a", "Buy milk.", &below)};
    ac_file_read_t *file = NULL;
    ac_file_write_t *written = NULL;
    ac_err_t err = {0};
    expect_file(&files, "file_a", 0, -1, "Buy milk.");
    expect_file(&files, "file_a", 4, 3, "mil");
    expect_file(&files, "file_a", 20, -1, "");
    expect_file(&files, "file_b", 1, -1, "elow");
    assert_int_equal(ac_files_memory_get(files.self, "file_a")->len, 9);
    assert_null(ac_files_memory_get(files.self, "file_b"));
    assert_int_not_equal(files.vt->read_begin(files.self, &file, "file_c", 0, -1, &err), APR_SUCCESS);
    assert_int_equal(err.kind, AC_NOT_FOUND);
    assert_int_not_equal(files.vt->write_begin(files.self, &written, "file_c", 1, NULL), APR_SUCCESS);
    ac_files_memory_unref(ac_files_memory_ref(files.self));
    ac_files_memory_unref(files.self);
    ac_files_memory_unref(below.self);
    ac_files_memory_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data_url_forms),
        cmocka_unit_test(test_data_url_refused),
        cmocka_unit_test(test_files_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
