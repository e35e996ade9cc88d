/* SPDX-License-Identifier: Apache-2.0 */
/* A writer of Protocol Buffers, for the files of this folder. source: "Encoding" of the Protocol Buffers documentation.
 *
 * The functions append to a buffer. What does not fit sets buf->failed, and the message is then useless: the caller
 * checks that once, at the end. A field with its default value is left out by its caller, not here. Any thread. */
#ifndef AC_PROTOBUF_H
#define AC_PROTOBUF_H

#include "wire.h"

/* ---- fields; field: the number of the definition, 1 to 2^29 - 1 ---- */
/* uint32, uint64, bool, an enum; int32 and int64 after a cast to int64_t */
void ac_protobuf_varint(ac_buf_t *buf, unsigned field, uint64_t value);
void ac_protobuf_sint(ac_buf_t *buf, unsigned field, int64_t value); /* sint32, sint64: zigzag */
void ac_protobuf_fixed32(ac_buf_t *buf, unsigned field, uint32_t value);
void ac_protobuf_fixed64(ac_buf_t *buf, unsigned field, uint64_t value); /* also sfixed64 */
void ac_protobuf_double(ac_buf_t *buf, unsigned field, double value);
void ac_protobuf_bytes(ac_buf_t *buf, unsigned field, const void *bytes, size_t len);
/* A string, which has to be UTF-8: what is not becomes U+FFFD, since a reader would refuse the whole message. */
void ac_protobuf_text(ac_buf_t *buf, unsigned field, const char *text, size_t len);
/* Bytes that are written as hexadecimal digits. Without a digit the field is left out. */
void ac_protobuf_hex(ac_buf_t *buf, unsigned field, const char *digits);

/* ---- a nested message, or a packed list: what is appended between begin and end. They may be nested ---- */
size_t ac_protobuf_begin(ac_buf_t *buf, unsigned field); /* the result is for end */
void ac_protobuf_end(ac_buf_t *buf, size_t at);
/* Items of a packed list. */
void ac_protobuf_packed_varint(ac_buf_t *buf, uint64_t value);
void ac_protobuf_packed_fixed64(ac_buf_t *buf, uint64_t value);
void ac_protobuf_packed_double(ac_buf_t *buf, double value);

#endif
