/* SPDX-License-Identifier: Apache-2.0 */
/* Hides a tool's secrets in responses of its service: asterisks replace them, in all forms in which a service may
 * repeat them. */
#include "tool_support.h"

#include <apr_strings.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define MASKED_FROM 6  /* bytes; a shorter secret may be part of any text by chance */
#define SHOWN_OF_CUT 3 /* bytes of a secret that may remain before a cut */
#define ESCAPED_MAX 8  /* backslashes before one character, in JSON inside of JSON */

typedef enum alphabet_e { EXACT, BASE64, HEX } alphabet_e;

typedef struct word_t {
    const char *text;
    size_t len;
    alphabet_e alphabet;
} word_t;

struct ac_tool_mask_t {
    apr_array_header_t *words; /* of word_t */
    bool begins[256];          /* whether a word, or an escape, can begin with this byte */
};

/* ---- the words ---- */

static void tool_mask_add_word(ac_tool_mask_t *mask, const char *text, size_t len, alphabet_e alphabet)
{
    *(word_t *)apr_array_push(mask->words) = (word_t){text, len, alphabet};
    mask->begins[(unsigned char)*text] = true;
    if (alphabet == HEX) {
        mask->begins[(unsigned char)(*text & ~0x20)] = mask->begins[(unsigned char)(*text | 0x20)] = true;
    } else if (alphabet == BASE64) {
        mask->begins['+'] = mask->begins['-'] = mask->begins['/'] = mask->begins['_'] = true;
    }
}

/* Adds the base64 forms of the secret: the characters that do not depend on the text around it, for each of the three
 * positions of its first byte in a group. */
static void add_base64(ac_tool_mask_t *mask, const char *secret, size_t len, apr_pool_t *p)
{
    for (size_t before = 0; before < 3; before++) {
        char *bytes = apr_pcalloc(p, before + len);
        char *text = apr_pcalloc(p, 4 * ((before + len) / 3 + 1) + 1);
        memcpy(bytes + before, secret, len);
        EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)bytes, (int)(before + len));
        size_t first = (8 * before + 5) / 6, end = 8 * (before + len) / 6;
        tool_mask_add_word(mask, text + first, end - first, BASE64);
    }
}

const ac_tool_mask_t *ac_tool_mask_create(const apr_array_header_t *headers, apr_pool_t *p)
{
    ac_tool_mask_t *mask = apr_pcalloc(p, sizeof(*mask));
    mask->words = apr_array_make(p, 8, sizeof(word_t));
    for (int i = 0; headers && i < headers->nelts; i++) {
        const char *secret = APR_ARRAY_IDX(headers, i, ac_tool_header_t).secret.value;
        size_t len = secret ? strlen(secret) : 0;
        if (len < MASKED_FROM) {
            continue;
        }
        char *hex = apr_palloc(p, 2 * len + 1);
        ac_text_hex(hex, (const unsigned char *)secret, len);
        tool_mask_add_word(mask, secret, len, EXACT);
        tool_mask_add_word(mask, hex, 2 * len, HEX);
        add_base64(mask, secret, len, p);
        mask->begins['%'] = mask->begins['\\'] = mask->begins['&'] = true;
        mask->begins['+'] = mask->begins['+'] || *secret == ' ';
    }
    return mask;
}

/* ---- searching ---- */

static int hex_number(const char *text, size_t len)
{
    int value = 0;
    for (size_t i = 0; i < len; i++) {
        int digit = ac_hex_value(text[i]);
        if (digit < 0) {
            return -1;
        }
        value = 16 * value + digit;
    }
    return value;
}

/* Reads %XX. Returns its length; 0: it is not one. */
static size_t read_percent(const char *text, size_t left, int *pc)
{
    *pc = left >= 3 && text[0] == '%' ? hex_number(text + 1, 2) : -1;
    return *pc >= 0 ? 3 : 0;
}

/* Reads a backslash with u and four digits, x and two, or the character itself; also several backslashes. */
static size_t read_backslash(const char *text, size_t left, int *pc)
{
    size_t n = 0;
    while (n < left && n < ESCAPED_MAX && text[n] == '\\') {
        n++;
    }
    if (!n) {
        return 0;
    }
    if (n == left) {
        *pc = '\\';
        return n;
    }
    size_t digits = text[n] == 'u' ? 4 : text[n] == 'x' ? 2 : 0;
    if (digits && left - n > digits && (*pc = hex_number(text + n + 1, digits)) >= 0) {
        return n + 1 + digits;
    }
    *pc = strchr("\"'/", text[n]) ? text[n] : '\\';
    return *pc == '\\' ? n : n + 1;
}

/* Reads &#84; &#x54; &amp; and similar ones. */
static size_t read_entity(const char *text, size_t left, int *pc)
{
    static const struct {
        const char *name;
        char c;
    } names[] = {
        {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t len = strlen(names[i].name);
        if (left >= len && memcmp(text, names[i].name, len) == 0) {
            *pc = names[i].c;
            return len;
        }
    }
    if (left < 4 || text[0] != '&' || text[1] != '#') {
        return 0;
    }
    bool hex = (text[2] | 0x20) == 'x';
    size_t start = hex ? 3 : 2, n = start;
    int value = 0;
    while (n < left && n < start + 6 && (hex ? ac_hex_value(text[n]) >= 0 : text[n] >= '0' && text[n] <= '9')) {
        value = value * (hex ? 16 : 10) + ac_hex_value(text[n++]);
    }
    *pc = value;
    return n > start && n < left && text[n] == ';' ? n + 1 : 0;
}

static bool tool_mask_is_same(char c, char wanted, alphabet_e alphabet)
{
    switch (alphabet) {
    case BASE64: return c == wanted || (c == '-' && wanted == '+') || (c == '_' && wanted == '/');
    case HEX: return ac_hex_value(c) >= 0 && ac_hex_value(c) == ac_hex_value(wanted);
    default: return c == wanted;
    }
}

/* The number of bytes at text that represent this character; 0: it is another one. */
static size_t match_raw(const char *text, char wanted, alphabet_e alphabet)
{
    return tool_mask_is_same(*text, wanted, alphabet) || (*text == '+' && wanted == ' ') ? 1 : 0;
}

static size_t match_escaped(const char *text, size_t left, char wanted, alphabet_e alphabet)
{
    int c = -1;
    size_t n = *text == '%' ? read_percent(text, left, &c)
        : *text == '\\'     ? read_backslash(text, left, &c)
        : *text == '&'      ? read_entity(text, left, &c)
                            : 0;
    return n && c >= 0 && c < 256 && tool_mask_is_same((char)c, wanted, alphabet) ? n : 0;
}

/* The number of bytes at text that are the word; 0: none. escaped: an ambiguous character, such as '%' before digits,
 * counts as an escape. cut: the word's beginning at the end of the text counts as the word. */
static size_t match_word(const word_t *word, const char *text, size_t left, bool escaped, bool cut)
{
    size_t used = 0;
    for (size_t i = 0; i < word->len; i++) {
        if (used == left) {
            return cut && i > SHOWN_OF_CUT ? used : 0;
        }
        const char *at = text + used;
        size_t raw = match_raw(at, word->text[i], word->alphabet);
        size_t n = raw && !escaped ? raw : match_escaped(at, left - used, word->text[i], word->alphabet);
        n = n ? n : raw;
        if (!n) {
            return 0;
        }
        used += n;
    }
    return used;
}

static size_t longest_word(const ac_tool_mask_t *mask, const char *text, size_t left, bool cut)
{
    size_t longest = 0;
    for (int i = 0; i < mask->words->nelts; i++) {
        for (int escaped = 0; escaped < 2; escaped++) {
            size_t n = match_word(&APR_ARRAY_IDX(mask->words, i, word_t), text, left, escaped, cut);
            longest = n > longest ? n : longest;
        }
    }
    return longest;
}

const ac_tool_mask_t *ac_tool_mask_secret(const char *secret, apr_pool_t *p)
{
    apr_array_header_t *secrets = apr_array_make(p, 1, sizeof(ac_tool_header_t));
    APR_ARRAY_PUSH(secrets, ac_tool_header_t) =
        (ac_tool_header_t){.name = "Authorization", .secret = {.value = secret}};
    return ac_tool_mask_create(secrets, p);
}

bool ac_tool_mask_text(const ac_tool_mask_t *mask, char *text, size_t len, bool cut)
{
    bool any = false;
    for (size_t i = 0, n; i < len; i += n ? n : 1) {
        n = mask->begins[(unsigned char)text[i]] ? longest_word(mask, text + i, len - i, cut) : 0;
        memset(text + i, '*', n);
        any = any || n;
    }
    return any;
}

/* ---- in JSON ---- */

/* A string with asterisks from text, which ends with NUL; NULL: it contains no secret. */
static json_t *masked(const ac_tool_mask_t *mask, const char *text, size_t len)
{
    char *copy = ac_alloc(len + 1);
    memcpy(copy, text, len);
    json_t *value = ac_tool_mask_text(mask, copy, len, false) ? ac_json_text(copy) : NULL;
    free(copy);
    return value;
}

static json_t *mask_scalar(const ac_tool_mask_t *mask, json_t *value)
{
    char *number = json_is_number(value) ? ac_json_dump(value, NULL) : NULL;
    json_t *hidden = NULL;
    if (number) {
        hidden = masked(mask, number, strlen(number));
    } else if (json_is_string(value)) {
        hidden = masked(mask, json_string_value(value), json_string_length(value));
    }
    free(number);
    if (!hidden) {
        return value;
    }
    json_decref(value);
    return hidden;
}

static json_t *mask_object(const ac_tool_mask_t *mask, json_t *value)
{
    json_t *out = json_object(), *member;
    const char *name;
    json_object_foreach(value, name, member)
    {
        json_t *hidden = masked(mask, name, strlen(name));
        ac_json_put(out, hidden ? json_string_value(hidden) : name, ac_tool_mask_json(mask, json_incref(member)));
        json_decref(hidden);
    }
    json_decref(value);
    return out;
}

json_t *ac_tool_mask_json(const ac_tool_mask_t *mask, json_t *value)
{
    if (!mask->words->nelts || !value) {
        return value;
    }
    if (json_is_object(value)) {
        return mask_object(mask, value);
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        json_t *member = json_array_get(value, i);
        json_array_set_new(value, i, ac_tool_mask_json(mask, json_incref(member)));
    }
    return json_is_array(value) ? value : mask_scalar(mask, value);
}
