/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures by the key of an Azure account: Cosmos DB and Blob Storage use the same. */
#include "wire.h"

#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#define MAX_KEY 1024 /* of a key in base64; real ones have 88 characters */

/* Decodes the key, or the key in a connection string. Returns false if it is not base64. */
static bool key_decode(unsigned char bytes[MAX_KEY], int *plen, const char *key)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = strstr(key, "AccountKey=");
    size_t len, n;

    if (at) {
        key = at + strlen("AccountKey=");
    }
    len = strcspn(key, ";");
    n = strspn(key, alphabet);
    if (len == 0 || len > MAX_KEY || len % 4 || n > len || len - n > 2 || strspn(key + n, "=") < len - n) {
        return false;
    }
    *plen = EVP_DecodeBlock(bytes, (const unsigned char *)key, (int)len) - (int)(len - n);
    return *plen > 0;
}

bool ac_account_key_valid(const char *key)
{
    unsigned char bytes[MAX_KEY];
    int len = 0;
    bool valid = key_decode(bytes, &len, key);

    OPENSSL_cleanse(bytes, sizeof(bytes));
    return valid;
}

apr_status_t ac_account_key_sign(char signature[AC_ACCOUNT_SIGNATURE_SIZE], const char *key, const ac_buf_t *text,
                                 ac_err_t *err)
{
    unsigned char bytes[MAX_KEY], digest[EVP_MAX_MD_SIZE];
    unsigned int digest_len = 0;
    int len = 0;

    *signature = '\0';
    if (!key_decode(bytes, &len, key)) {
        return ac_err_set(err, AC_INVALID_REQUEST, "the account's key is not base64");
    }
    if (!text->failed && text->data &&
        HMAC(EVP_sha256(), bytes, len, (const unsigned char *)text->data, text->len, digest, &digest_len)) {
        EVP_EncodeBlock((unsigned char *)signature, digest, (int)digest_len);
    }
    OPENSSL_cleanse(bytes, sizeof(bytes));
    return *signature ? APR_SUCCESS : ac_err_set(err, AC_INTERNAL, "a request could not be signed");
}
