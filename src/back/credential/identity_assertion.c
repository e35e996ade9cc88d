/* SPDX-License-Identifier: Apache-2.0 */
/* A client assertion: a JSON Web Token that the app's certificate signs with PS256, as Entra ID requires. */
#include "identity.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#define LIFE 300 /* seconds */
#define MAX_CHAIN 10
#define MAX_JWT (128 * 1024)

typedef struct keys_t {
    EVP_PKEY *key;
    X509 *certificate;       /* that of the key */
    STACK_OF(X509) * others; /* may be NULL */
} keys_t;

static void keys_free(keys_t *keys)
{
    EVP_PKEY_free(keys->key);
    X509_free(keys->certificate);
    sk_X509_pop_free(keys->others, X509_free);
}

/* ---- reading ---- */

/* Without a password OpenSSL would ask for one at the terminal. */
static int give_password(char *text, int size, int writing, void *baton)
{
    const char *password = baton;
    (void)writing;
    size_t len = password ? strlen(password) : 0;
    if (!len || len > (size_t)size) {
        return -1;
    }
    memcpy(text, password, len);
    return (int)len;
}

/* Certificates come in any order; the private key identifies its own. */
static void sort_out(keys_t *keys)
{
    for (int i = 0; keys->key && !keys->certificate && i < sk_X509_num(keys->others); i++) {
        if (X509_check_private_key(sk_X509_value(keys->others, i), keys->key) == 1) {
            keys->certificate = sk_X509_delete(keys->others, i);
        }
    }
}

static apr_status_t read_pem(keys_t *keys, const ac_identity_assertion_t *assertion, ac_err_t *err)
{
    X509 *certificate;
    BIO *bio = BIO_new_mem_buf(assertion->bytes, (int)assertion->len);
    BIO *again = BIO_new_mem_buf(assertion->bytes, (int)assertion->len);
    keys->others = sk_X509_new_null();
    if (bio && again && keys->others) {
        keys->key = PEM_read_bio_PrivateKey(bio, NULL, give_password, (void *)assertion->password);
        while (sk_X509_num(keys->others) < MAX_CHAIN &&
               (certificate = PEM_read_bio_X509(again, NULL, NULL, NULL)) != NULL) {
            sk_X509_push(keys->others, certificate);
        }
    }
    BIO_free(bio);
    BIO_free(again);
    if (!keys->key) {
        return ac_err_set(err, AC_UNAUTHENTICATED,
                          "the certificate's file holds no private key that could be read; a "
                          "PEM file has to hold the certificate and the key%s",
                          assertion->password ? ", and the password has to be the key's" : "");
    }
    if (!sk_X509_num(keys->others)) {
        return ac_err_set(err, AC_UNAUTHENTICATED, "the certificate's file holds a key, but no certificate");
    }
    sort_out(keys);
    return APR_SUCCESS;
}

static apr_status_t read_pkcs12(keys_t *keys, const ac_identity_assertion_t *assertion, ac_err_t *err)
{
    const unsigned char *at = (const unsigned char *)assertion->bytes;
    PKCS12 *store = d2i_PKCS12(NULL, &at, (long)assertion->len);
    if (!store) {
        return ac_err_set(err, AC_UNAUTHENTICATED, "the certificate's file is neither PEM nor PKCS#12");
    }
    const char *password = assertion->password ? assertion->password : "";
    bool verified = PKCS12_verify_mac(store, password, -1) == 1 ||
        (!*password && PKCS12_verify_mac(store, NULL, 0) == 1);
    bool parsed = verified &&
        PKCS12_parse(store, assertion->password, &keys->key, &keys->certificate, &keys->others) == 1;
    PKCS12_free(store);
    if (!verified) {
        return ac_err_set(err, AC_UNAUTHENTICATED,
                          "the password of the certificate's file is wrong; check "
                          "AZURE_CLIENT_CERTIFICATE_PASSWORD");
    }
    if (!parsed) {
        return ac_err_set(err, AC_UNAUTHENTICATED,
                          "the certificate's file is encrypted in a way that OpenSSL does not "
                          "take any more; export it again, with AES");
    }
    if (!keys->key) {
        return ac_err_set(err, AC_UNAUTHENTICATED, "the certificate's file holds no private key");
    }
    return APR_SUCCESS;
}

static apr_status_t read_keys(keys_t *keys, const ac_identity_assertion_t *assertion, ac_err_t *err)
{
    bool pem = memmem(assertion->bytes, assertion->len, "-----BEGIN ", 11) != NULL;
    apr_status_t status = pem ? read_pem(keys, assertion, err) : read_pkcs12(keys, assertion, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    if (!keys->certificate || X509_check_private_key(keys->certificate, keys->key) != 1) {
        return ac_err_set(err, AC_UNAUTHENTICATED, "no certificate of the file belongs to its key");
    }
    if (EVP_PKEY_base_id(keys->key) != EVP_PKEY_RSA) {
        return ac_err_set(err, AC_UNAUTHENTICATED, "the certificate's key is not RSA, which Entra ID asks for");
    }
    if (X509_cmp_current_time(X509_get0_notAfter(keys->certificate)) < 0) {
        return ac_err_set(err, AC_UNAUTHENTICATED, "the certificate has expired");
    }
    return APR_SUCCESS;
}

/* ---- writing ---- */

static void add_base64url(ac_buf_t *out, const void *bytes, size_t len)
{
    unsigned char *text = ac_alloc((len + 2) / 3 * 4 + 1);
    int n = EVP_EncodeBlock(text, bytes, (int)len);
    while (n && text[n - 1] == '=') {
        n--;
    }
    for (int i = 0; i < n; i++) {
        text[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
    }
    ac_buf_add(out, (const char *)text, (size_t)n);
    free(text);
}

static json_t *thumbprint(const X509 *certificate)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    ac_buf_t text;
    ac_buf_init(&text, 128);
    X509_digest(certificate, EVP_sha256(), digest, &len);
    add_base64url(&text, digest, len);
    json_t *value = json_string(text.data);
    ac_buf_free(&text);
    return value;
}

/* An element of x5c: base64 with padding, not base64url. */
static json_t *identity_assertion_whole(X509 *certificate)
{
    unsigned char *der = NULL;
    int len = i2d_X509(certificate, &der);
    if (len <= 0) {
        return NULL;
    }
    unsigned char *text = ac_alloc((size_t)(len + 2) / 3 * 4 + 1);
    EVP_EncodeBlock(text, der, len);
    json_t *value = json_string((const char *)text);
    OPENSSL_free(der);
    free(text);
    return value;
}

static json_t *make_header(const keys_t *keys, bool send_chain)
{
    json_t *header =
        json_pack("{s:s, s:s, s:o}", "alg", "PS256", "typ", "JWT", "x5t#S256", thumbprint(keys->certificate));
    if (!send_chain) {
        return header;
    }
    json_t *chain = json_array();
    json_array_append_new(chain, identity_assertion_whole(keys->certificate));
    for (int i = 0; i < sk_X509_num(keys->others); i++) {
        json_array_append_new(chain, identity_assertion_whole(sk_X509_value(keys->others, i)));
    }
    json_object_set_new(header, "x5c", chain);
    return header;
}

static json_t *make_claims(const ac_identity_assertion_t *assertion)
{
    unsigned char r[16];
    char id[40];
    json_int_t now = (json_int_t)apr_time_sec(apr_time_now());
    RAND_bytes(r, sizeof(r));
    r[6] = (unsigned char)(0x40 | (r[6] & 0x0f));
    r[8] = (unsigned char)(0x80 | (r[8] & 0x3f));
    snprintf(id, sizeof(id), "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", r[0], r[1], r[2],
             r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[14], r[15]);
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "aud", assertion->audience, "iss", assertion->client_id,
                     "sub", assertion->client_id, "jti", id, "nbf", now, "iat", now, "exp", now + LIFE);
}

static void identity_assertion_add_json(ac_buf_t *out, json_t *value)
{
    size_t len = 0;
    char *text = ac_json_dump(value, &len);
    if (text) {
        add_base64url(out, text, len);
    }
    free(text);
    json_decref(value);
}

/* RSASSA-PSS with SHA-256 throughout and a salt as long as the digest. */
static bool identity_assertion_sign(ac_buf_t *out, EVP_PKEY *key)
{
    unsigned char *signature = NULL;
    size_t len = 0;
    EVP_PKEY_CTX *ctx = NULL;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool good = md && EVP_DigestSignInit(md, &ctx, EVP_sha256(), NULL, key) == 1 &&
        EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
        EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha256()) == 1 &&
        EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1 &&
        EVP_DigestSign(md, NULL, &len, (const unsigned char *)out->data, out->len) == 1;
    if (good) {
        signature = ac_alloc(len);
        good = EVP_DigestSign(md, signature, &len, (const unsigned char *)out->data, out->len) == 1;
    }
    if (good) {
        ac_buf_str(out, ".");
        add_base64url(out, signature, len);
    }
    free(signature);
    EVP_MD_CTX_free(md);
    return good && !out->failed;
}

apr_status_t ac_identity_assertion_make(ac_buf_t *out, const ac_identity_assertion_t *assertion, ac_err_t *err)
{
    keys_t keys = {NULL, NULL, NULL};
    ac_buf_init(out, MAX_JWT);
    apr_status_t status = read_keys(&keys, assertion, err);
    if (status != APR_SUCCESS) {
        goto leave;
    }
    identity_assertion_add_json(out, make_header(&keys, assertion->send_chain));
    ac_buf_str(out, ".");
    identity_assertion_add_json(out, make_claims(assertion));
    if (!identity_assertion_sign(out, keys.key)) {
        status = ac_err_set(err, AC_UNAUTHENTICATED, "the certificate's key could not sign");
    }
leave:
    keys_free(&keys);
    ERR_clear_error();
    return status;
}
