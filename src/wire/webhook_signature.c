/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures of webhooks. Source: the Standard Webhooks specification, "Symmetric signatures". */
#include "wire_internal.h"

#include <inttypes.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#define PREFIX "whsec_"
#define MIN_KEY 24

bool ac_webhook_signature_key(ac_webhook_key_t *key, const char *secret)
{
    ac_base64_key_t decoded;
    memset(key, 0, sizeof *key);
    if (strncmp(secret, PREFIX, strlen(PREFIX)) != 0) {
        return false;
    }
    secret += strlen(PREFIX);
    bool fine = ac_base64_key_read(&decoded, secret, strlen(secret));
    if (fine && decoded.len >= MIN_KEY && decoded.len <= AC_WEBHOOK_KEY_MAX) {
        memcpy(key->bytes, decoded.bytes, decoded.len);
        key->len = decoded.len;
    }
    OPENSSL_cleanse(&decoded, sizeof decoded);
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
