/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a data: URL, RFC 2397. Its media type is not read: the type of a file follows from its contents. */
#include "wire.h"

#include <string.h>
#include <strings.h>

/* The value of a digit of base64, in either alphabet of RFC 4648; -1: none; -2: white space. */
static int digit_of(unsigned char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    switch (c) {
    case '+':
    case '-': return 62;
    case '/':
    case '_': return 63;
    case ' ':
    case '\t':
    case '\r':
    case '\n': return -2;
    default: return -1;
    }
}

typedef struct decoder_t {
    unsigned bits; /* of the digits of a group so far */
    int n;         /* digits in it */
    size_t n_pads; /* '=' after it */
} decoder_t;

/* Returns false for a character that base64 cannot have here. */
static bool data_url_take(decoder_t *decoder, ac_buf_t *out, unsigned char c)
{
    int digit = digit_of(c);
    if (digit == -2) {
        return true;
    }
    if (c == '=') {
        return ++decoder->n_pads <= 2;
    }
    if (digit < 0 || decoder->n_pads) {
        return false;
    }
    decoder->bits = decoder->bits << 6 | (unsigned)digit;
    if (++decoder->n == 4) {
        const char bytes[3] = {(char)(decoder->bits >> 16), (char)(decoder->bits >> 8), (char)decoder->bits};
        ac_buf_add(out, bytes, sizeof(bytes));
        *decoder = (decoder_t){0};
    }
    return true;
}

/* The last group, which may be short. Returns false if no bytes have this form. */
static bool data_url_end(const decoder_t *decoder, ac_buf_t *out)
{
    const char two[2] = {(char)(decoder->bits >> 10), (char)(decoder->bits >> 2)};
    const char one = (char)(decoder->bits >> 4);
    switch (decoder->n) {
    case 0: return decoder->n_pads == 0;
    case 2: return ac_buf_add(out, &one, 1) == APR_SUCCESS && decoder->n_pads != 1;
    case 3: return ac_buf_add(out, two, 2) == APR_SUCCESS && decoder->n_pads <= 1;
    default: return false;
    }
}

apr_status_t ac_data_url_base64(ac_buf_t *out, const char *text, size_t len, ac_err_t *err)
{
    decoder_t decoder = {0};
    bool valid = true;
    ac_buf_reserve(out, len / 4 * 3 + 3);
    for (size_t i = 0; i < len && valid && !out->failed; i++) {
        valid = data_url_take(&decoder, out, (unsigned char)text[i]);
    }
    valid = valid && data_url_end(&decoder, out);
    if (out->failed) {
        return ac_err_set(err, AC_BODY_TOO_LARGE, "a file of the request is too large");
    }
    return valid ? APR_SUCCESS : ac_err_set(err, AC_INVALID_REQUEST, "the data of the file is not base64");
}

static int hex_of(unsigned char c)
{
    return c >= '0' && c <= '9' ? c - '0'
        : c >= 'a' && c <= 'f'  ? c - 'a' + 10
        : c >= 'A' && c <= 'F'  ? c - 'A' + 10
                                : -1;
}

static apr_status_t add_percent(ac_buf_t *out, const char *text, ac_err_t *err)
{
    ac_buf_reserve(out, strlen(text));
    while (*text) {
        size_t plain = strcspn(text, "%");
        ac_buf_add(out, text, plain);
        text += plain;
        if (*text) {
            int high = hex_of((unsigned char)text[1]), low = high < 0 ? -1 : hex_of((unsigned char)text[2]);
            char byte = (char)(high * 16 + low);
            if (low < 0) {
                return ac_err_set(err, AC_INVALID_REQUEST, "the data: URL has a wrong %% sequence");
            }
            ac_buf_add(out, &byte, 1);
            text += 3;
        }
    }
    return out->failed ? ac_err_set(err, AC_BODY_TOO_LARGE, "a file of the request is too large") : APR_SUCCESS;
}

bool ac_data_url_is(const char *url)
{
    return strncasecmp(url, "data:", 5) == 0;
}

apr_status_t ac_data_url_read(ac_buf_t *out, const char *url, ac_err_t *err)
{
    static const char suffix[] = ";base64";
    const char *comma = ac_data_url_is(url) ? strchr(url, ',') : NULL;
    size_t n = sizeof(suffix) - 1;
    if (!comma) {
        return ac_err_set(err, AC_INVALID_REQUEST, "the data: URL has no comma before its data");
    }
    bool base64 = (size_t)(comma - url) >= n + 5 && strncasecmp(comma - n, suffix, n) == 0;
    return base64 ? ac_data_url_base64(out, comma + 1, strlen(comma + 1), err) : add_percent(out, comma + 1, err);
}
