/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that grow up to a maximum, on the heap. Writing JSON strings is part of the work for every token. */
#include "base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 256

void ac_buf_init(ac_buf_t *buf, size_t max)
{
    memset(buf, 0, sizeof(*buf));
    buf->max = max < SIZE_MAX / 2 ? max : SIZE_MAX / 2;
}

void ac_buf_free(ac_buf_t *buf)
{
    free(buf->data);
    ac_buf_init(buf, buf->max);
}

void ac_buf_clear(ac_buf_t *buf)
{
    buf->len = 0;
    buf->failed = false;
    if (buf->data) {
        buf->data[0] = '\0';
    }
}

static apr_status_t grow(ac_buf_t *buf, size_t need)
{
    size_t size = buf->size < FIRST_SIZE ? FIRST_SIZE : buf->size;
    while (size < need) {
        size *= 2;
    }
    if (size > buf->max + 1) {
        size = buf->max + 1;
    }
    char *data = realloc(buf->data, size);
    if (!data) {
        buf->failed = true;
        return APR_ENOMEM;
    }
    if (!buf->data) {
        data[0] = '\0';
    }
    buf->data = data;
    buf->size = size;
    return APR_SUCCESS;
}

/* Makes room for len more bytes and a NUL. */
static inline apr_status_t reserve(ac_buf_t *buf, size_t len)
{
    if (len > buf->max - buf->len) {
        buf->failed = true;
        return APR_ENOSPC;
    }
    if (buf->len + len + 1 > buf->size) {
        return grow(buf, buf->len + len + 1);
    }
    return APR_SUCCESS;
}

void ac_buf_reserve(ac_buf_t *buf, size_t len)
{
    size_t room = buf->max - buf->len, need = buf->len + (len < room ? len : room) + 1;
    char *data = need > buf->size ? realloc(buf->data, need) : NULL;
    if (data) {
        data[buf->len] = '\0';
        buf->data = data;
        buf->size = need;
    }
}

apr_status_t ac_buf_add(ac_buf_t *buf, const char *data, size_t len)
{
    apr_status_t status = reserve(buf, len);
    if (status == APR_SUCCESS) {
        if (len) {
            memcpy(buf->data + buf->len, data, len);
        }
        buf->len += len;
        buf->data[buf->len] = '\0';
    }
    return status;
}

apr_status_t ac_buf_str(ac_buf_t *buf, const char *text)
{
    return ac_buf_add(buf, text, strlen(text));
}

apr_status_t ac_buf_printf(ac_buf_t *buf, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    size_t room = buf->size - buf->len;
    int len = vsnprintf(room ? buf->data + buf->len : NULL, room, fmt, args);
    va_end(args);
    apr_status_t status = len < 0 ? APR_EINVAL : reserve(buf, (size_t)len);
    if (status == APR_SUCCESS && (size_t)len >= room) {
        va_start(args, fmt);
        vsnprintf(buf->data + buf->len, (size_t)len + 1, fmt, args);
        va_end(args);
    }
    if (status == APR_SUCCESS) {
        buf->len += (size_t)len;
    } else {
        buf->failed = true;
        if (buf->data) {
            buf->data[buf->len] = '\0';
        }
    }
    return status;
}

/* Whether one of the 8 bytes has to be escaped or checked: a control character, '"', '\\' or a byte that is not ASCII.
 * The borrow of a subtraction can mark a later byte by mistake, but never hides one. */
static inline bool word_special(const char *text)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t w;
    memcpy(&w, text, sizeof(w));
    uint64_t quote = w ^ (ones * '"'), slash = w ^ (ones * '\\');
    uint64_t hits = (w - ones * 0x20) | (quote - ones) | (slash - ones) | w;
    return (hits & (ones * 0x80)) != 0;
}

static inline bool byte_special(unsigned char c)
{
    return c < 0x20 || c == '"' || c == '\\' || c >= 0x80;
}

/* The number of bytes at text that can be copied unchanged. */
static size_t plain_run(const char *text, size_t len)
{
    size_t i = 0;
    for (;;) {
        while (i + 8 <= len && !word_special(text + i)) {
            i += 8;
        }
        while (i < len && !byte_special((unsigned char)text[i])) {
            i++;
        }
        bool valid = false;
        size_t n = i < len && (unsigned char)text[i] >= 0x80 ? ac_utf8_next(text + i, len - i, &valid) : 0;
        if (!valid) {
            return i;
        }
        i += n;
    }
}

/* Appends the escaped form of the special bytes at text. *pn: the number of bytes that it consumed. */
static apr_status_t add_special(ac_buf_t *buf, const char *text, size_t len, size_t *pn)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char c = (unsigned char)*text;
    *pn = 1;
    if (c >= 0x80) {
        bool valid;
        *pn = ac_utf8_next(text, len, &valid);
        return ac_buf_add(buf, "\xef\xbf\xbd", 3);
    }
    switch (c) {
    case '"': return ac_buf_add(buf, "\\\"", 2);
    case '\\': return ac_buf_add(buf, "\\\\", 2);
    case '\n': return ac_buf_add(buf, "\\n", 2);
    case '\r': return ac_buf_add(buf, "\\r", 2);
    case '\t': return ac_buf_add(buf, "\\t", 2);
    case '\b': return ac_buf_add(buf, "\\b", 2);
    case '\f': return ac_buf_add(buf, "\\f", 2);
    }
    char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    return ac_buf_add(buf, escape, sizeof(escape));
}

apr_status_t ac_buf_json(ac_buf_t *buf, const char *text, size_t len)
{
    size_t before = buf->len;
    /* The output is never shorter than text, so this refuses nothing that would fit, and usually one allocation is
     * enough. */
    bool room = len < buf->max;
    apr_status_t status = reserve(buf, room ? len + 2 : buf->max);
    if (room && status == APR_SUCCESS && plain_run(text, len) == len) {
        char *to = buf->data + buf->len;
        *to = '"';
        memcpy(to + 1, text, len);
        memcpy(to + 1 + len, "\"", 2);
        buf->len += len + 2;
        return APR_SUCCESS;
    }
    if (status == APR_SUCCESS) {
        status = ac_buf_add(buf, "\"", 1);
    }
    for (size_t i = 0; status == APR_SUCCESS && i < len;) {
        size_t n = plain_run(text + i, len - i);
        status = ac_buf_add(buf, text + i, n);
        i += n;
        if (status == APR_SUCCESS && i < len) {
            status = add_special(buf, text + i, len - i, &n);
            i += n;
        }
    }
    if (status == APR_SUCCESS) {
        status = ac_buf_add(buf, "\"", 1);
    }
    if (status != APR_SUCCESS) {
        buf->len = before;
        buf->failed = true;
        if (buf->data) {
            buf->data[before] = '\0';
        }
    }
    return status;
}

void ac_buf_shift(ac_buf_t *buf, size_t n)
{
    if (n >= buf->len) {
        n = buf->len;
    }
    if (n) {
        buf->len -= n;
        memmove(buf->data, buf->data + n, buf->len + 1);
    }
}
