/* SPDX-License-Identifier: Apache-2.0 */
/* The media type of a file by its contents. A file that is of one type, and begins like a page too, is refused. */
#include "upload.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

const char *const ac_file_type_names[] = {"image/png",  "image/jpeg",    "image/gif", "image/webp", "application/pdf",
                                          "text/plain", "text/markdown", "text/csv",  NULL};

bool ac_file_type_is_image(const char *type)
{
    return strncmp(type, "image/", 6) == 0;
}

/* ---- reading ---- */

/* Texts have no control characters but these: bell, backspace, tab, line feed, vertical tab, form feed, CR, escape. */
static bool has_control(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c < 0x20 && !(c >= 7 && c <= 13) && c != 27) {
            return true;
        }
    }
    return false;
}

/* Completes the character that the last piece has cut. Returns the number of bytes taken. */
static size_t take_rest(ac_file_type_t *type, const char *bytes, size_t len)
{
    size_t n = 0;
    while (type->n_rest && n < len && !type->binary) {
        type->rest[type->n_rest++] = bytes[n++];
        if (ac_utf8_whole(type->rest, type->n_rest) == type->n_rest) {
            type->binary = !ac_utf8_valid(type->rest, type->n_rest);
            type->n_rest = 0;
        } else if (type->n_rest == sizeof(type->rest)) {
            type->binary = true;
        }
    }
    return n;
}

void ac_file_type_add(ac_file_type_t *type, const char *bytes, size_t len)
{
    size_t room = AC_FILE_TYPE_HEAD - type->n_head, n = len < room ? len : room;
    memcpy(type->head + type->n_head, bytes, n);
    type->n_head += n;
    type->size += (int64_t)len;
    type->binary = type->binary || has_control(bytes, len);
    if (type->binary) {
        return;
    }
    n = take_rest(type, bytes, len);
    bytes += n;
    len -= n;
    size_t whole = ac_utf8_whole(bytes, len);
    if (type->binary || !ac_utf8_valid(bytes, whole) || len - whole >= sizeof(type->rest)) {
        type->binary = true;
    } else if (len > whole) {
        memcpy(type->rest, bytes + whole, len - whole);
        type->n_rest = len - whole;
    }
}

/* ---- images ---- */

static unsigned at(const ac_file_type_t *type, size_t i)
{
    return i < type->n_head ? (unsigned char)type->head[i] : 0;
}

static int64_t big(const ac_file_type_t *type, size_t i, size_t n)
{
    int64_t value = 0;
    for (size_t k = 0; k < n; k++) {
        value = value * 256 + at(type, i + k);
    }
    return value;
}

static int64_t little(const ac_file_type_t *type, size_t i, size_t n)
{
    int64_t value = 0;
    for (size_t k = n; k > 0; k--) {
        value = value * 256 + at(type, i + k - 1);
    }
    return value;
}

static bool head_has(const ac_file_type_t *type, size_t i, const char *text, size_t len)
{
    return type->n_head >= i + len && memcmp(type->head + i, text, len) == 0;
}

typedef struct shape_t {
    int64_t width, height; /* 0: not known */
} shape_t;

static bool is_png(const ac_file_type_t *type, shape_t *shape)
{
    *shape = (shape_t){big(type, 16, 4), big(type, 20, 4)};
    return head_has(type, 0, "\x89PNG\r\n\x1a\n", 8) && head_has(type, 8, "\0\0\0\rIHDR", 8) && type->n_head >= 33 &&
        shape->width > 0 && shape->height > 0;
}

/* After its header, and the table of colours, a block has to begin. */
static bool is_gif(const ac_file_type_t *type, shape_t *shape)
{
    size_t block = 13 + (at(type, 10) & 0x80 ? (size_t)3 << ((at(type, 10) & 7) + 1) : 0);
    *shape = (shape_t){little(type, 6, 2), little(type, 8, 2)};
    return (head_has(type, 0, "GIF87a", 6) || head_has(type, 0, "GIF89a", 6)) && shape->width > 0 &&
        shape->height > 0 && (at(type, block) == 0x21 || at(type, block) == 0x2c);
}

/* Segment after segment up to the one with the size, as far as the head reaches. */
static bool is_jpeg(const ac_file_type_t *type, shape_t *shape)
{
    *shape = (shape_t){0, 0};
    if (!head_has(type, 0, "\xff\xd8\xff", 3)) {
        return false;
    }
    for (size_t i = 2; i + 9 < type->n_head;) {
        unsigned marker = at(type, i + 1);
        if (at(type, i) != 0xff || marker < 0xc0) {
            return false;
        }
        if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc) {
            *shape = (shape_t){big(type, i + 7, 2), big(type, i + 5, 2)};
            return shape->width > 0;
        }
        if (marker == 0xda || marker == 0xd9 || big(type, i + 2, 2) < 2) {
            return false;
        }
        i += 2 + (size_t)big(type, i + 2, 2);
    }
    return type->n_head == AC_FILE_TYPE_HEAD;
}

static bool is_webp(const ac_file_type_t *type, shape_t *shape)
{
    int64_t bits = little(type, 21, 4);
    *shape = (shape_t){0, 0};
    if (!head_has(type, 0, "RIFF", 4) || !head_has(type, 8, "WEBPVP8", 7) || little(type, 4, 4) + 8 > type->size ||
        type->n_head < 30) {
        return false;
    }
    if (at(type, 15) == 'X') {
        *shape = (shape_t){little(type, 24, 3) + 1, little(type, 27, 3) + 1};
    } else if (at(type, 15) == 'L' && at(type, 20) == 0x2f) {
        *shape = (shape_t){(bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1};
    } else if (at(type, 15) == ' ' && head_has(type, 23, "\x9d\x01\x2a", 3)) {
        *shape = (shape_t){little(type, 26, 2) & 0x3fff, little(type, 28, 2) & 0x3fff};
    }
    return shape->width > 0 && shape->height > 0;
}

static bool is_pdf(const ac_file_type_t *type, shape_t *shape)
{
    *shape = (shape_t){0, 0};
    return head_has(type, 0, "%PDF-1.", 7) || head_has(type, 0, "%PDF-2.", 7);
}

static const struct {
    const char *name;
    bool (*is)(const ac_file_type_t *type, shape_t *shape);
} binaries[] = {{"image/png", is_png},
                {"image/gif", is_gif},
                {"image/jpeg", is_jpeg},
                {"image/webp", is_webp},
                {"application/pdf", is_pdf}};

/* ---- the decision ---- */

/* Whether the beginning has what makes a program take it for a page or a script. */
static bool is_page_too(const ac_file_type_t *type)
{
    static const char *const words[] = {"!doctype html", "html", "script", "svg", "iframe", "body", "?php", "object"};
    const char *c = type->head, *end = type->head + type->n_head;
    while ((c = memchr(c, '<', (size_t)(end - c))) != NULL) {
        c++;
        for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
            size_t len = strlen(words[i]);
            if ((size_t)(end - c) > len && strncasecmp(c, words[i], len) == 0 && strchr(" >/\t\r\n", c[len])) {
                return true;
            }
        }
    }
    return false;
}

static bool name_ends(const char *name, const char *ending)
{
    size_t len = strlen(name), n = strlen(ending);
    return len > n && strcasecmp(name + len - n, ending) == 0;
}

static const char *text_type(const char *name)
{
    return name_ends(name, ".md") || name_ends(name, ".markdown") ? "text/markdown"
        : name_ends(name, ".csv")                                 ? "text/csv"
                                                                  : "text/plain";
}

const char *ac_file_type_end(const ac_file_type_t *type, const char *name, ac_err_t *err)
{
    shape_t shape;
    if (!type->size) {
        ac_err_set(err, AC_INVALID_REQUEST, "the file is empty");
        return NULL;
    }
    for (size_t i = 0; i < sizeof(binaries) / sizeof(*binaries); i++) {
        if (!binaries[i].is(type, &shape)) {
            continue;
        }
        if (is_page_too(type)) {
            ac_err_set(err, AC_UNSUPPORTED_MEDIA, "the file is %s and has a page or a script in it", binaries[i].name);
            return NULL;
        }
        /* The product of two 32-bit lengths may not fit. */
        if (shape.height > 0 && shape.width > AC_FILE_TYPE_PIXELS / shape.height) {
            ac_err_set(err, AC_BODY_TOO_LARGE, "the image has %" PRId64 " x %" PRId64 " pixels; at most %lld are taken",
                       shape.width, shape.height, AC_FILE_TYPE_PIXELS);
            return NULL;
        }
        return binaries[i].name;
    }
    /* A PDF document without binary bytes is a text, too; one that is damaged is nothing else. */
    if (!type->binary && !type->n_rest && !head_has(type, 0, "%PDF-", 5) && !head_has(type, 0, "GIF8", 4)) {
        return text_type(name);
    }
    ac_err_set(err, AC_UNSUPPORTED_MEDIA,
               "the contents are of no type that is accepted here: images (PNG, JPEG, GIF, WebP), PDF, text in UTF-8");
    return NULL;
}
