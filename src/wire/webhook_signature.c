/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures of webhooks. Source: the Standard Webhooks specification, "Symmetric signatures". */
#include "wire.h"

#include <inttypes.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#define PREFIX "whsec_"
#define MIN_KEY 24
#define MAX_TEXT 88 /* of the base64 of AC_WEBHOOK_KEY_MAX bytes */

bool ac_webhook_signature_key(ac_webhook_key_t *key, const char *secret)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char bytes[MAX_TEXT];
    memset(key, 0, sizeof *key);
    if (strncmp(secret, PREFIX, strlen(PREFIX)) != 0) {
        return false;
    }
    secret += strlen(PREFIX);
    size_t len = strlen(secret), n = strspn(secret, alphabet);
    if (len > MAX_TEXT || len % 4 || len - n > 2 || strspn(secret + n, "=") != len - n) {
        return false;
    }
    int size = EVP_DecodeBlock(bytes, (const unsigned char *)secret, (int)len) - (int)(len - n);
    if (size >= MIN_KEY && size <= AC_WEBHOOK_KEY_MAX) {
        memcpy(key->bytes, bytes, (size_t)size);
        key->len = (size_t)size;
    }
    OPENSSL_cleanse(bytes, sizeof bytes);
    return key->len > 0;
}

apr_status_t ac_webhook_signature_add(ac_buf_t *out, const ac_webhook_key_t *key, const ac_webhook_signed_t *of)
{
    unsigned char digest[EVP_MAX_MD_SIZE], text[4 * (EVP_MAX_MD_SIZE / 3 + 1) + 1];
    unsigned int len = 0;
    ac_buf_t content;
    ac_buf_init(&content, of->len + 256);
    ac_buf_printf(&content, "%s.%" PRId64 ".", of->id, of->timestamp);
    ac_buf_add(&content, of->body, of->len);
    bool fine = !content.failed &&
        HMAC(EVP_sha256(), key->bytes, (int)key->len, (const unsigned char *)content.data, content.len, digest, &len);
    ac_buf_free(&content);
    if (!fine) {
        return APR_ENOMEM;
    }
    EVP_EncodeBlock(text, digest, (int)len);
    return ac_buf_printf(out, "%sv1,%s", out->len && out->data[out->len - 1] != ' ' ? " " : "", (const char *)text);
}
