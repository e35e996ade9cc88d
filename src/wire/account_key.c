/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures by the key of an Azure account: Cosmos DB and Blob Storage use the same. */
#include "wire_internal.h"

#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

/* Decodes the key, or the key in a connection string. Returns false if it is not base64. */
static bool key_decode(ac_base64_key_t *decoded, const char *key)
{
    const char *at = strstr(key, "AccountKey=");

    if (at) {
        key = at + strlen("AccountKey=");
    }
    return ac_base64_key_read(decoded, key, strcspn(key, ";"));
}

bool ac_account_key_valid(const char *key)
{
    ac_base64_key_t decoded;
    bool valid = key_decode(&decoded, key);

    OPENSSL_cleanse(&decoded, sizeof(decoded));
    return valid;
}

apr_status_t ac_account_key_sign(char signature[AC_ACCOUNT_SIGNATURE_SIZE], const char *key, const ac_buf_t *text,
                                 ac_err_t *err)
{
    ac_base64_key_t decoded;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int digest_len = 0;

    *signature = '\0';
    if (!key_decode(&decoded, key)) {
        return ac_err_set(err, AC_INVALID_REQUEST, "the account's key is not base64");
    }
    if (!text->failed && text->data &&
        HMAC(EVP_sha256(), decoded.bytes, (int)decoded.len, (const unsigned char *)text->data, text->len, digest,
             &digest_len)) {
        EVP_EncodeBlock((unsigned char *)signature, digest, (int)digest_len);
    }
    OPENSSL_cleanse(&decoded, sizeof(decoded));
    return *signature ? APR_SUCCESS : ac_err_set(err, AC_INTERNAL, "a request could not be signed");
}
