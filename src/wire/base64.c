/* SPDX-License-Identifier: Apache-2.0 */
/* Secret keys in base64, in the standard alphabet and with padding. */
#include "wire_internal.h"

#include <string.h>

#include <openssl/evp.h>

#define MAX_TEXT ((int)sizeof(((ac_base64_key_t *)0)->bytes))

bool ac_base64_key_read(ac_base64_key_t *key, const char *text, size_t len)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = strspn(text, alphabet);
    key->len = 0;
    if (len == 0 || len > MAX_TEXT || len % 4 || n > len || len - n > 2 || strspn(text + n, "=") < len - n) {
        return false;
    }
    int size = EVP_DecodeBlock(key->bytes, (const unsigned char *)text, (int)len) - (int)(len - n);
    key->len = size > 0 ? (size_t)size : 0;
    return key->len > 0;
}
