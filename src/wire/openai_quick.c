/* SPDX-License-Identifier: Apache-2.0 */
/* Chat completions: reads the ordinary chunk directly from its bytes, without a JSON tree: there may be tens of
 * thousands in a second (it saves about 4 µs a token). All uncertain input (an escape in a name, a repeated member,
 * anything but plain text) is left to the JSON parser. Nothing is changed before the whole chunk has been found
 * valid. */
#include "openai_internal.h"

#include <string.h>

#define MAX_DEPTH 16     /* the JSON parser handles deeper ones */
#define MAX_ESCAPED 2048 /* bytes of a text with escapes */

typedef struct slice_t {
    const char *text;
    size_t len;
    bool escaped;
} slice_t;

typedef struct scan_t {
    const char *at, *end;
    int depth;
    slice_t content, model;
} scan_t;

/* Bytes that end a run of plain bytes in a string: quote, backslash, control characters. */
static const bool stops[256] = {
    [0x00] = 1, [0x01] = 1, [0x02] = 1, [0x03] = 1, [0x04] = 1, [0x05] = 1, [0x06] = 1, [0x07] = 1, [0x08] = 1,
    [0x09] = 1, [0x0a] = 1, [0x0b] = 1, [0x0c] = 1, [0x0d] = 1, [0x0e] = 1, [0x0f] = 1, [0x10] = 1, [0x11] = 1,
    [0x12] = 1, [0x13] = 1, [0x14] = 1, [0x15] = 1, [0x16] = 1, [0x17] = 1, [0x18] = 1, [0x19] = 1, [0x1a] = 1,
    [0x1b] = 1, [0x1c] = 1, [0x1d] = 1, [0x1e] = 1, [0x1f] = 1, ['"'] = 1,  ['\\'] = 1,
};

static bool skip_value(scan_t *scan);

static void skip_space(scan_t *scan)
{
    while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\r' || *scan->at == '\t')) {
        scan->at++;
    }
}

static bool skip_char(scan_t *scan, char c)
{
    if (scan->at < scan->end && *scan->at == c) {
        scan->at++;
        return true;
    }
    return false;
}

/* Reads a string without its quotes and with its escapes unchanged, and moves past it. */
static bool read_string(scan_t *scan, slice_t *pslice)
{
    if (!skip_char(scan, '"')) {
        return false;
    }
    const char *at = scan->at, *end = scan->end;
    unsigned char high = 0;
    pslice->text = at;
    pslice->escaped = false;
    for (;;) {
        while (at < end && !stops[(unsigned char)*at]) {
            high |= (unsigned char)*at++;
        }
        if (at < end && *at == '"') {
            break;
        }
        if (end - at < 2 || *at != '\\') {
            return false;
        }
        pslice->escaped = true;
        at += 2;
    }
    pslice->len = (size_t)(at - pslice->text);
    scan->at = at + 1;
    return high < 0x80 || ac_utf8_valid(pslice->text, pslice->len);
}

static bool openai_quick_skip_word(scan_t *scan, const char *word, size_t len)
{
    if ((size_t)(scan->end - scan->at) < len || memcmp(scan->at, word, len) != 0) {
        return false;
    }
    scan->at += len;
    return true;
}

static bool skip_null(scan_t *scan)
{
    return openai_quick_skip_word(scan, "null", 4);
}

static size_t skip_digits(scan_t *scan)
{
    const char *from = scan->at;
    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9') {
        scan->at++;
    }
    return (size_t)(scan->at - from);
}

/* Moves past a number that cannot overflow; one with an exponent might. */
static bool skip_number(scan_t *scan)
{
    skip_char(scan, '-');
    const char *first = scan->at;
    size_t n = skip_digits(scan);
    if (!n || n > 15 || (n > 1 && *first == '0')) {
        return false;
    }
    if (skip_char(scan, '.')) {
        n = skip_digits(scan);
        if (!n || n > 30) {
            return false;
        }
    }
    return scan->at < scan->end && *scan->at != 'e' && *scan->at != 'E';
}

/* Reads the next member's name and moves to its value. Returns 1: found; 0: the object has ended; -1: uncertain. */
static int next_member(scan_t *scan, slice_t *pname, bool *pfirst)
{
    skip_space(scan);
    if (skip_char(scan, '}')) {
        scan->depth--;
        return 0;
    }
    if (!*pfirst) {
        if (!skip_char(scan, ',')) {
            return -1;
        }
        skip_space(scan);
    }
    *pfirst = false;
    if (!read_string(scan, pname) || pname->escaped) {
        return -1;
    }
    skip_space(scan);
    if (!skip_char(scan, ':')) {
        return -1;
    }
    skip_space(scan);
    return 1;
}

static bool open(scan_t *scan, char c)
{
    return scan->depth < MAX_DEPTH && skip_char(scan, c) && ++scan->depth;
}

static bool skip_object(scan_t *scan)
{
    slice_t name;
    bool first = true;
    int more = open(scan, '{') ? 1 : -1;
    while (more > 0 && (more = next_member(scan, &name, &first)) > 0) {
        if (!skip_value(scan)) {
            return false;
        }
    }
    return more == 0;
}

static bool skip_array(scan_t *scan)
{
    if (!open(scan, '[')) {
        return false;
    }
    skip_space(scan);
    scan->depth--;
    if (skip_char(scan, ']')) {
        return true;
    }
    scan->depth++;
    for (;;) {
        skip_space(scan);
        if (!skip_value(scan)) {
            return false;
        }
        skip_space(scan);
        if (skip_char(scan, ']')) {
            scan->depth--;
            return true;
        }
        if (!skip_char(scan, ',')) {
            return false;
        }
    }
}

static bool skip_value(scan_t *scan)
{
    slice_t text;
    switch (scan->at < scan->end ? *scan->at : '\0') {
    case '"': return read_string(scan, &text) && !text.escaped;
    case '{': return skip_object(scan);
    case '[': return skip_array(scan);
    case 'n': return skip_null(scan);
    case 't': return openai_quick_skip_word(scan, "true", 4);
    case 'f': return openai_quick_skip_word(scan, "false", 5);
    default: return skip_number(scan);
    }
}

/* ---- the chunk's own members ---- */

typedef struct known_t {
    const char *text;
    size_t len;
} known_t;
#define KNOWN(text) \
    { \
        text, sizeof(text) - 1 \
    }

/* The bit of this name in names, or 0. */
static unsigned openai_quick_known(const slice_t *name, const known_t *names)
{
    for (unsigned i = 0; names[i].text; i++) {
        if (name->len == names[i].len && memcmp(name->text, names[i].text, name->len) == 0) {
            return 1u << i;
        }
    }
    return 0;
}

/* Reads one known member of an object, identified by its bit. */
typedef bool member_fn(scan_t *scan, unsigned bit);

/* Reads an object: fn handles its known members, each at most once. *pseen: their bits. */
static bool read_object(scan_t *scan, const known_t *names, member_fn *fn, unsigned *pseen)
{
    slice_t name;
    bool first = true;
    *pseen = 0;
    int more = open(scan, '{') ? 1 : -1;
    while (more > 0 && (more = next_member(scan, &name, &first)) > 0) {
        unsigned bit = openai_quick_known(&name, names);
        if ((*pseen & bit) || !(bit ? fn(scan, bit) : skip_value(scan))) {
            return false;
        }
        *pseen |= bit;
    }
    return more == 0;
}

static const known_t delta_names[] = {KNOWN("content"),           KNOWN("tool_calls"),
                                      KNOWN("refusal"),           KNOWN("function_call"),
                                      KNOWN("reasoning_content"), KNOWN("reasoning"),
                                      KNOWN("annotations"),       {NULL, 0}};
#define DELTA_CONTENT 1u
#define DELTA_CALLS 2u

static bool delta_member(scan_t *scan, unsigned bit)
{
    if (skip_null(scan)) {
        return true;
    }
    if (bit == DELTA_CALLS && skip_char(scan, '[')) {
        skip_space(scan);
        return skip_char(scan, ']');
    }
    return bit == DELTA_CONTENT && read_string(scan, &scan->content);
}

static const known_t choice_names[] = {KNOWN("delta"), KNOWN("index"), KNOWN("finish_reason"), {NULL, 0}};
#define CHOICE_DELTA 1u
#define CHOICE_INDEX 2u

static bool choice_member(scan_t *scan, unsigned bit)
{
    unsigned seen;
    switch (bit) {
    case CHOICE_DELTA: return read_object(scan, delta_names, delta_member, &seen);
    case CHOICE_INDEX: return skip_char(scan, '0') && scan->at < scan->end && strchr(",} \t\r\n", *scan->at);
    default: return skip_null(scan);
    }
}

static const known_t chunk_names[] = {KNOWN("choices"), KNOWN("model"), KNOWN("error"), KNOWN("usage"), {NULL, 0}};
#define CHUNK_CHOICES 1u
#define CHUNK_MODEL 2u

static bool chunk_member(scan_t *scan, unsigned bit)
{
    unsigned seen;
    switch (bit) {
    case CHUNK_CHOICES:
        if (!open(scan, '[')) {
            return false;
        }
        skip_space(scan);
        if (!read_object(scan, choice_names, choice_member, &seen) || !(seen & CHOICE_DELTA)) {
            return false;
        }
        skip_space(scan);
        scan->depth--;
        return skip_char(scan, ']');
    case CHUNK_MODEL: return skip_null(scan) || (read_string(scan, &scan->model) && !scan->model.escaped);
    default: return skip_null(scan);
    }
}

/* ---- escapes ---- */

/* The code unit of four hex digits, or 0, which the JSON parser has to handle. */
static unsigned read_unit(const char *text, const char *end)
{
    unsigned unit = 0;
    if (end - text < 4) {
        return 0;
    }
    for (int i = 0; i < 4; i++) {
        int digit = ac_hex_value(text[i]);
        if (digit < 0) {
            return 0;
        }
        unit = unit * 16 + (unsigned)digit;
    }
    return unit;
}

static size_t put_utf8(char *to, unsigned c)
{
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        to[0] = (char)(0xc0 | c >> 6);
        to[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        to[0] = (char)(0xe0 | c >> 12);
        to[1] = (char)(0x80 | (c >> 6 & 0x3f));
        to[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    to[0] = (char)(0xf0 | c >> 18);
    to[1] = (char)(0x80 | (c >> 12 & 0x3f));
    to[2] = (char)(0x80 | (c >> 6 & 0x3f));
    to[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* Decodes the \u escape whose digits are at *pat, with its other half. Returns the number of bytes written; 0:
 * uncertain. */
static size_t decode_unit(char *to, const char **pat, const char *end)
{
    unsigned unit = read_unit(*pat, end);
    *pat += 4;
    if (unit >= 0xd800 && unit <= 0xdbff) {
        unsigned low = end - *pat >= 6 && (*pat)[0] == '\\' && (*pat)[1] == 'u' ? read_unit(*pat + 2, end) : 0;
        if (low < 0xdc00 || low > 0xdfff) {
            return 0;
        }
        *pat += 6;
        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    } else if (unit >= 0xdc00 && unit <= 0xdfff) {
        return 0;
    }
    return unit ? put_utf8(to, unit) : 0;
}

/* A decoded escape is never longer than the escape, so `to` needs no more room than the text. */
static bool openai_quick_decode(char *to, size_t *plen, const slice_t *from)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *at = from->text, *end = at + from->len;
    char *start = to;
    while (at < end) {
        if (*at != '\\') {
            *to++ = *at++;
            continue;
        }
        char c = at[1];
        at += 2;
        if (c == 'u') {
            size_t n = decode_unit(to, &at, end);
            if (!n) {
                return false;
            }
            to += n;
            continue;
        }
        const char *found = memchr(names, c, sizeof(names) - 1);
        if (!found) {
            return false;
        }
        *to++ = values[found - names];
    }
    *plen = (size_t)(to - start);
    return true;
}

bool ac_openai_quick_chunk(ac_openai_answer_t *answer, const char *data, size_t len, apr_status_t *pstatus,
                           ac_err_t *err)
{
    char decoded[MAX_ESCAPED];
    scan_t scan = {.at = data, .end = data + len};
    unsigned seen;
    skip_space(&scan);
    if (!read_object(&scan, chunk_names, chunk_member, &seen) || !(seen & CHUNK_CHOICES)) {
        return false;
    }
    skip_space(&scan);
    if (scan.at != scan.end) {
        return false;
    }
    if (scan.content.escaped) {
        if (scan.content.len > sizeof(decoded) || !openai_quick_decode(decoded, &scan.content.len, &scan.content)) {
            return false;
        }
        scan.content.text = decoded;
    }
    ac_openai_model(answer, scan.model.text, scan.model.len);
    *pstatus = ac_openai_text(answer, scan.content.text, scan.content.len, err);
    return true;
}
