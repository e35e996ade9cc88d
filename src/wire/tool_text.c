/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of other services: what a model reads is what a person sees. */
#include "wire/tool.h"

#include <string.h>

typedef struct range_t {
    uint32_t first, last;
} range_t;

/* Characters that a person does not see, but a model reads. Source: Unicode 16, Default_Ignorable_Code_Point and
 * Bidi_Control; control characters. */
static const range_t hidden[] = {
    {0x00, 0x08},     {0x0b, 0x1f},     {0x7f, 0x9f},       {0xad, 0xad},       {0x34f, 0x34f},
    {0x61c, 0x61c},   {0x115f, 0x1160}, {0x17b4, 0x17b5},   {0x180b, 0x180f},   {0x200b, 0x200f},
    {0x2028, 0x202e}, {0x2060, 0x206f}, {0x3164, 0x3164},   {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},
    {0xffa0, 0xffa0}, {0xfff0, 0xfff8}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
};

static uint32_t tool_text_code_point(const char *at, size_t len)
{
    static const unsigned char first[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t code = (unsigned char)*at & first[len];
    for (size_t i = 1; i < len; i++) {
        code = code << 6 | ((unsigned char)at[i] & 0x3f);
    }
    return code;
}

static bool tool_text_is_hidden(uint32_t code)
{
    for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++) {
        if (code >= hidden[i].first && code <= hidden[i].last) {
            return true;
        }
    }
    return false;
}

void ac_tool_text_add(ac_buf_t *buf, const char *text, size_t max)
{
    static const char cut[] = "…";
    size_t len = strlen(text), start = buf->len;
    for (size_t i = 0, n; i < len; i += n) {
        bool valid;
        n = ac_utf8_next(text + i, len - i, &valid);
        if (!valid || tool_text_is_hidden(tool_text_code_point(text + i, n))) {
            continue;
        }
        if (buf->len - start + n > max) {
            ac_buf_str(buf, cut);
            return;
        }
        ac_buf_add(buf, text + i, n);
    }
}
