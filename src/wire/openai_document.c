/* SPDX-License-Identifier: Apache-2.0 */
/* Chat completions: lenient parsing of JSON from other servers. */
#include "openai_internal.h"

#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"

/* jansson parses by recursion, and the size of this thread's stack is not under our control. */
static bool too_deep(const char *text, size_t len)
{
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (quoted) {
            i += c == '\\';
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            if (++depth > AC_MAX_JSON_DEPTH) {
                return true;
            }
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return false;
}

/* The code unit of a \uXXXX at text, or -1. */
static int unit_at(const char *text, size_t len)
{
    if (len < 6 || text[0] != '\\' || text[1] != 'u') {
        return -1;
    }
    int unit = 0;
    for (int i = 2; i < 6; i++) {
        int digit = ac_hex_value(text[i]);
        if (digit < 0) {
            return -1;
        }
        unit = unit * 16 + digit;
    }
    return unit;
}

/* Copies the escape at text, or U+FFFD for an invalid one; returns the number of bytes of text consumed. */
static size_t mend_escape(ac_buf_t *out, const char *text, size_t len)
{
    int unit = unit_at(text, len);
    size_t n = unit >= 0 ? 6 : len < 2 ? len : 2;
    if (unit >= 0xd800 && unit <= 0xdbff) {
        int low = unit_at(text + 6, len - 6);
        if (low >= 0xdc00 && low <= 0xdfff) {
            ac_buf_add(out, text, 12);
            return 12;
        }
    }
    if (unit >= 0xd800 && unit <= 0xdfff) {
        ac_buf_str(out, REPLACEMENT);
        return n;
    }
    ac_buf_add(out, text, n);
    return n;
}

/* Proxies that cut text inside a character send lone surrogates, or half of a UTF-8 sequence. Then one character is
 * lost, not the answer. */
static json_t *parse_mended(const char *text, size_t len)
{
    ac_buf_t mended;
    ac_buf_init(&mended, len * 3);
    for (size_t i = 0; i < len && !mended.failed;) {
        bool valid;
        if (text[i] == '\\') {
            i += mend_escape(&mended, text + i, len - i);
            continue;
        }
        size_t n = ac_utf8_next(text + i, len - i, &valid);
        ac_buf_add(&mended, valid ? text + i : REPLACEMENT, valid ? n : 3);
        i += n;
    }
    json_t *document = mended.failed ? NULL : json_loadb(mended.data, mended.len, JSON_ALLOW_NUL, NULL);
    ac_buf_free(&mended);
    return document;
}

json_t *ac_openai_document(const char *text, size_t len)
{
    if (!len || too_deep(text, len)) {
        return NULL;
    }
    json_error_t error;
    json_t *document = json_loadb(text, len, JSON_ALLOW_NUL, &error);
    if (!document && (!ac_utf8_valid(text, len) || memmem(text, len, "\\u", 2))) {
        document = parse_mended(text, len);
    }
    return document;
}
