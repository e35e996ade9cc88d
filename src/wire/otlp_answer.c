/* SPDX-License-Identifier: Apache-2.0 */
/* What a server of OTLP answers: the parts that it has not accepted, or the reason of its refusal. The bytes are
 * foreign. */
#include "wire.h"

#include <string.h>

/* ---- a reader of protobuf ---- */
typedef struct field_t {
    uint64_t number, value; /* value: of a varint, a length */
    const char *bytes;      /* of a field with a length; else NULL */
} field_t;

static bool read_varint(uint64_t *pvalue, const char **pat, const char *end)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && *pat < end; shift += 7) {
        unsigned char byte = (unsigned char)*(*pat)++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *pvalue = value;
            return true;
        }
    }
    return false;
}

/* The next field; false: the message has ended, or is not valid. */
static bool read_field(field_t *field, const char **pat, const char *end)
{
    uint64_t tag;
    if (!read_varint(&tag, pat, end)) {
        return false;
    }
    *field = (field_t){.number = tag >> 3};
    size_t left, skip;
    switch (tag & 7) {
    case 0: return read_varint(&field->value, pat, end);
    case 2:
        if (!read_varint(&field->value, pat, end)) {
            return false;
        }
        field->bytes = *pat;
        break;
    case 1: field->value = 8; break;
    case 5: field->value = 4; break;
    default: return false;
    }
    left = (size_t)(end - *pat);
    skip = field->value > left ? left + 1 : (size_t)field->value;
    if (skip > left) {
        return false;
    }
    *pat += skip;
    return true;
}

/* ---- answers ---- */

/* Text of the server on one line, without what a terminal would obey. */
static void set_message(ac_otlp_answer_t *answer, const char *text, size_t len)
{
    size_t n = 0;
    for (; n < len && n < sizeof answer->message - 1; n++) {
        unsigned char c = (unsigned char)text[n];
        answer->message[n] = c >= ' ' && c < 0x7f ? (char)c : '?';
    }
    answer->message[n] = '\0';
}

static void set_rejected(ac_otlp_answer_t *answer, int64_t rejected)
{
    answer->rejected = rejected < 0 ? 0 : rejected < AC_OTLP_MAX_REJECTED ? rejected : AC_OTLP_MAX_REJECTED;
}

/* ExportPartialSuccess {1 rejected, 2 message}; Status {1 code, 2 message}. */
static void read_protobuf(ac_otlp_answer_t *answer, const char *at, const char *end, bool partial)
{
    field_t field;
    while (read_field(&field, &at, end)) {
        if (field.number == 1 && !field.bytes && partial) {
            set_rejected(answer, (int64_t)field.value);
        } else if (field.number == 2 && field.bytes) {
            set_message(answer, field.bytes, (size_t)field.value);
        }
    }
}

/* A number, or its digits as a text. */
static int64_t whole(const json_t *value)
{
    const char *text = json_string_value(value);
    return text ? strtoll(text, NULL, 10) : ac_json_whole_part(value, 0);
}

static void read_json(ac_otlp_answer_t *answer, const char *body, size_t len, bool ok)
{
    static const char *const counts[] = {"rejectedSpans", "rejectedDataPoints", "rejectedLogRecords"};
    json_t *document = NULL;
    if (ac_json_parse(&document, body, len, NULL) != APR_SUCCESS) {
        return;
    }
    const json_t *part = ok ? json_object_get(document, "partialSuccess") : document;
    for (size_t i = 0; ok && i < sizeof counts / sizeof *counts; i++) {
        const json_t *count = json_object_get(part, counts[i]);
        if (count) {
            set_rejected(answer, whole(count));
        }
    }
    const char *message = ac_json_peek_string(part, ok ? "errorMessage" : "message", "");
    set_message(answer, message, strlen(message));
    json_decref(document);
}

void ac_otlp_answer_read(ac_otlp_answer_t *answer, bool ok, bool protobuf, const char *body, size_t len)
{
    const char *at = body, *end = body + len;
    field_t field;
    *answer = (ac_otlp_answer_t){0};
    if (!protobuf) {
        read_json(answer, body, len, ok);
        return;
    }
    if (!ok) {
        read_protobuf(answer, at, end, false);
        return;
    }
    while (read_field(&field, &at, end)) { /* Export…ServiceResponse {1 partial_success} */
        if (field.number == 1 && field.bytes) {
            read_protobuf(answer, field.bytes, field.bytes + field.value, true);
        }
    }
}
