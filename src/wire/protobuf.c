/* SPDX-License-Identifier: Apache-2.0 */
/* Protocol Buffers, written without a description: tags, numbers, lengths. */
#include "protobuf.h"

#include <string.h>

#define MAX_VARINT 10 /* bytes of 64 bits */

/* Types of fields. */
enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_LEN = 2, WIRE_FIXED32 = 5 };

static size_t varint_put(unsigned char *to, uint64_t value)
{
    size_t n = 0;
    while (value >= 0x80) {
        to[n++] = (unsigned char)(value | 0x80);
        value >>= 7;
    }
    to[n++] = (unsigned char)value;
    return n;
}

void ac_protobuf_packed_varint(ac_buf_t *buf, uint64_t value)
{
    unsigned char bytes[MAX_VARINT];
    ac_buf_add(buf, (const char *)bytes, varint_put(bytes, value));
}

static void add_tag(ac_buf_t *buf, unsigned field, unsigned type)
{
    ac_protobuf_packed_varint(buf, (uint64_t)field << 3 | type);
}

static void add_little_endian(ac_buf_t *buf, uint64_t value, size_t n)
{
    unsigned char bytes[8];
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (unsigned char)(value >> 8 * i);
    }
    ac_buf_add(buf, (const char *)bytes, n);
}

static uint64_t bits_of(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

void ac_protobuf_packed_fixed64(ac_buf_t *buf, uint64_t value)
{
    add_little_endian(buf, value, 8);
}

void ac_protobuf_packed_double(ac_buf_t *buf, double value)
{
    add_little_endian(buf, bits_of(value), 8);
}

void ac_protobuf_varint(ac_buf_t *buf, unsigned field, uint64_t value)
{
    add_tag(buf, field, WIRE_VARINT);
    ac_protobuf_packed_varint(buf, value);
}

void ac_protobuf_sint(ac_buf_t *buf, unsigned field, int64_t value)
{
    ac_protobuf_varint(buf, field, (uint64_t)value << 1 ^ (value < 0 ? UINT64_MAX : 0));
}

void ac_protobuf_fixed32(ac_buf_t *buf, unsigned field, uint32_t value)
{
    add_tag(buf, field, WIRE_FIXED32);
    add_little_endian(buf, value, 4);
}

void ac_protobuf_fixed64(ac_buf_t *buf, unsigned field, uint64_t value)
{
    add_tag(buf, field, WIRE_FIXED64);
    add_little_endian(buf, value, 8);
}

void ac_protobuf_double(ac_buf_t *buf, unsigned field, double value)
{
    ac_protobuf_fixed64(buf, field, bits_of(value));
}

void ac_protobuf_bytes(ac_buf_t *buf, unsigned field, const void *bytes, size_t len)
{
    add_tag(buf, field, WIRE_LEN);
    ac_protobuf_packed_varint(buf, len);
    ac_buf_add(buf, bytes, len);
}

void ac_protobuf_text(ac_buf_t *buf, unsigned field, const char *text, size_t len)
{
    if (ac_utf8_valid(text, len)) {
        ac_protobuf_bytes(buf, field, text, len);
        return;
    }
    size_t at = ac_protobuf_begin(buf, field);
    for (size_t i = 0, n; i < len; i += n) {
        bool valid;
        n = ac_utf8_next(text + i, len - i, &valid);
        if (valid) {
            ac_buf_add(buf, text + i, n);
        } else {
            ac_buf_add(buf, "\xef\xbf\xbd", 3);
        }
    }
    ac_protobuf_end(buf, at);
}

void ac_protobuf_hex(ac_buf_t *buf, unsigned field, const char *digits)
{
    unsigned char bytes[32];
    size_t n = 0;
    for (; n < sizeof bytes && ac_hex_value(digits[2 * n]) >= 0 && ac_hex_value(digits[2 * n + 1]) >= 0; n++) {
        bytes[n] = (unsigned char)(ac_hex_value(digits[2 * n]) << 4 | ac_hex_value(digits[2 * n + 1]));
    }
    if (n) {
        ac_protobuf_bytes(buf, field, bytes, n);
    }
}

/* A length is mostly below 128, so that its byte need not move the message. */
size_t ac_protobuf_begin(ac_buf_t *buf, unsigned field)
{
    add_tag(buf, field, WIRE_LEN);
    ac_buf_add(buf, "", 1);
    return buf->len;
}

void ac_protobuf_end(ac_buf_t *buf, size_t at)
{
    unsigned char bytes[MAX_VARINT] = {0};
    size_t len = buf->len - at, n = buf->failed ? 0 : varint_put(bytes, len);
    if (buf->failed || ac_buf_add(buf, (const char *)bytes, n - 1) != APR_SUCCESS) {
        return;
    }
    if (n > 1) {
        memmove(buf->data + at + n - 1, buf->data + at, len);
    }
    memcpy(buf->data + at - 1, bytes, n);
}
