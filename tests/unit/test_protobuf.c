/* SPDX-License-Identifier: Apache-2.0 */
/* The writer of Protocol Buffers: bytes of each type, as the encoding's documentation has them, and nesting. */
#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wire/protobuf.h"

static ac_buf_t buf;

static int begin_buf(void **state)
{
    (void)state;
    ac_buf_init(&buf, 1 << 20);
    return 0;
}

static int end_buf(void **state)
{
    (void)state;
    ac_buf_free(&buf);
    return 0;
}

static void expect(const char *hex)
{
    char text[2 * 256 + 1];
    assert_true(buf.len < 256);
    ac_text_hex(text, (const unsigned char *)buf.data, buf.len);
    assert_string_equal(text, hex);
    assert_false(buf.failed);
    ac_buf_clear(&buf);
}

static void test_numbers(void **state)
{
    (void)state;
    ac_protobuf_varint(&buf, 1, 0);
    expect("0800");
    ac_protobuf_varint(&buf, 1, 150);
    expect("089601");
    ac_protobuf_varint(&buf, 16, UINT64_MAX);
    expect("8001ffffffffffffffffff01");
    ac_protobuf_sint(&buf, 6, 0);
    ac_protobuf_sint(&buf, 6, -1);
    ac_protobuf_sint(&buf, 6, 1);
    ac_protobuf_sint(&buf, 6, -2);
    expect("3000300130023003");
    ac_protobuf_sint(&buf, 1, INT64_MIN);
    expect("08ffffffffffffffffff01");
    ac_protobuf_sint(&buf, 1, INT64_MAX);
    expect("08feffffffffffffffff01");
    ac_protobuf_fixed32(&buf, 16, 0x01020304);
    expect("850104030201");
    ac_protobuf_fixed64(&buf, 7, UINT64_C(0x0102030405060708));
    expect("390807060504030201");
    ac_protobuf_double(&buf, 4, 1.0);
    expect("21000000000000f03f");
}

static void test_texts_and_bytes(void **state)
{
    (void)state;
    ac_protobuf_text(&buf, 2, "testing", 7);
    expect("120774657374696e67");
    ac_protobuf_text(&buf, 2, "", 0);
    expect("1200");
    ac_protobuf_text(&buf, 1,
                     "a\xff"
                     "b\xe2\x82",
                     5);
    expect("0a0861efbfbd62efbfbd");
    ac_protobuf_bytes(&buf, 1, "\0\xff", 2);
    expect("0a0200ff");
    ac_protobuf_hex(&buf, 1, "00fF10");
    expect("0a0300ff10");
    ac_protobuf_hex(&buf, 1, "");
    assert_int_equal(buf.len, 0);
}

static void test_messages_of_any_length(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 120, 127, 128, 129, 16380, 16383, 16384, 100000};
    char text[100000];
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        ac_buf_t plain;
        size_t outer = ac_protobuf_begin(&buf, 3), inner = ac_protobuf_begin(&buf, 1);
        ac_buf_add(&buf, text, lengths[i]);
        ac_protobuf_end(&buf, inner);
        ac_protobuf_varint(&buf, 2, 5);
        ac_protobuf_end(&buf, outer);
        ac_buf_init(&plain, 1 << 20);
        ac_protobuf_bytes(&plain, 1, text, lengths[i]);
        ac_protobuf_varint(&plain, 2, 5);
        ac_buf_t whole;
        ac_buf_init(&whole, 1 << 20);
        ac_protobuf_bytes(&whole, 3, plain.data, plain.len);
        assert_int_equal(buf.len, whole.len);
        assert_memory_equal(buf.data, whole.data, whole.len);
        ac_buf_free(&plain);
        ac_buf_free(&whole);
        ac_buf_clear(&buf);
    }
}

static void test_packed_lists(void **state)
{
    (void)state;
    size_t at = ac_protobuf_begin(&buf, 6);
    ac_protobuf_packed_varint(&buf, 3);
    ac_protobuf_packed_varint(&buf, 270);
    ac_protobuf_packed_varint(&buf, 86942);
    ac_protobuf_end(&buf, at);
    expect("3206038e029ea705");
    at = ac_protobuf_begin(&buf, 7);
    ac_protobuf_packed_fixed64(&buf, 1);
    ac_protobuf_packed_double(&buf, 1);
    ac_protobuf_end(&buf, at);
    expect("3a100100000000000000000000000000f03f");
}

/* A message that does not fit is reported at its end, wherever the room ends. */
static void test_a_full_buffer_is_reported(void **state)
{
    (void)state;
    for (size_t max = 0; max < 140; max++) {
        ac_buf_t small;
        char text[130];
        memset(text, 'x', sizeof text);
        ac_buf_init(&small, max);
        size_t at = ac_protobuf_begin(&small, 1);
        ac_protobuf_bytes(&small, 2, text, sizeof text);
        ac_protobuf_end(&small, at);
        assert_int_equal(small.failed, max < 136);
        ac_buf_free(&small);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_numbers, begin_buf, end_buf),
        cmocka_unit_test_setup_teardown(test_texts_and_bytes, begin_buf, end_buf),
        cmocka_unit_test_setup_teardown(test_messages_of_any_length, begin_buf, end_buf),
        cmocka_unit_test_setup_teardown(test_packed_lists, begin_buf, end_buf),
        cmocka_unit_test_setup_teardown(test_a_full_buffer_is_reported, begin_buf, end_buf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
