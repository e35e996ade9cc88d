/* SPDX-License-Identifier: Apache-2.0 */
/* Signing in with a certificate: the assertion is taken apart and checked by OpenSSL, as the authority would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "credential_rig.h"

#define CLIENT "11111111-2222-3333-4444-555555555555"

typedef struct pair_t { /* a key and its certificate */
    EVP_PKEY *key;
    X509 *certificate;
} pair_t;

static pair_t ours, other, curve, old;

static pair_t make_pair(EVP_PKEY *key, const char *name, long begins, long ends)
{
    X509 *certificate = X509_new();
    assert_non_null(key);
    X509_NAME *subject = X509_get_subject_name(certificate);
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 7);
    X509_gmtime_adj(X509_getm_notBefore(certificate), begins);
    X509_gmtime_adj(X509_getm_notAfter(certificate), ends);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(certificate, subject);
    X509_set_pubkey(certificate, key);
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    return (pair_t){key, certificate};
}

static int make_pairs(void **state)
{
    (void)state;
    ours = make_pair(EVP_RSA_gen(2048), "ours", -60, 3600);
    other = make_pair(EVP_RSA_gen(2048), "other", -60, 3600);
    curve = make_pair(EVP_EC_gen("P-256"), "curve", -60, 3600);
    old = make_pair(EVP_RSA_gen(2048), "old", -7200, -3600);
    return 0;
}

static int free_pairs(void **state)
{
    const pair_t pairs[] = {ours, other, curve, old};
    (void)state;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        EVP_PKEY_free(pairs[i].key);
        X509_free(pairs[i].certificate);
    }
    return 0;
}

/* ---- files ---- */

/* PEM of what is given, in this order; each may be NULL. */
static size_t write_pem(char **ptext, X509 *first, EVP_PKEY *key, X509 *second, const char *password)
{
    char *data;
    BIO *bio = BIO_new(BIO_s_mem());
    if (first) {
        PEM_write_bio_X509(bio, first);
    }
    if (key) {
        PEM_write_bio_PKCS8PrivateKey(bio, key, password ? EVP_aes_256_cbc() : NULL, password,
                                      password ? (int)strlen(password) : 0, NULL, NULL);
    }
    if (second) {
        PEM_write_bio_X509(bio, second);
    }
    size_t len = (size_t)BIO_get_mem_data(bio, &data);
    *ptext = calloc(1, len + 1);
    memcpy(*ptext, data, len);
    BIO_free(bio);
    return len;
}

static size_t write_pkcs12(char **pbytes, const pair_t *pair, const char *password)
{
    unsigned char *bytes = NULL;
    STACK_OF(X509) *others = sk_X509_new_null();
    sk_X509_push(others, other.certificate);
    PKCS12 *store = PKCS12_create(password, "x", pair->key, pair->certificate, others, 0, 0, 0, 0, 0);
    int len = i2d_PKCS12(store, &bytes);
    assert_true(len > 0);
    *pbytes = calloc(1, (size_t)len + 1);
    memcpy(*pbytes, bytes, (size_t)len);
    OPENSSL_free(bytes);
    PKCS12_free(store);
    sk_X509_free(others);
    return (size_t)len;
}

/* ---- checking ---- */

static size_t decode(unsigned char *out, const char *text, size_t len)
{
    char padded[8192];
    assert_true(len + 4 < sizeof(padded));
    for (size_t i = 0; i < len; i++) {
        padded[i] = text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i];
    }
    size_t full = (len + 3) / 4 * 4;
    memset(padded + len, '=', full - len);
    int n = EVP_DecodeBlock(out, (unsigned char *)padded, (int)full);
    assert_true(n >= 0);
    return (size_t)n - (full - len);
}

static json_t *decode_json(const char *text, size_t len)
{
    unsigned char bytes[8192];
    size_t n = decode(bytes, text, len);
    json_t *value = json_loadb((char *)bytes, n, 0, NULL);
    assert_non_null(value);
    return value;
}

static void check_signature(const char *token, const char *signature, EVP_PKEY *key)
{
    unsigned char bytes[1024];
    EVP_PKEY_CTX *ctx = NULL;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    size_t len = decode(bytes, signature, strlen(signature));
    assert_int_equal(EVP_DigestVerifyInit(md, &ctx, EVP_sha256(), NULL, key), 1);
    assert_true(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) > 0);
    assert_true(EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, 32) > 0);
    assert_true(EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, EVP_sha256()) > 0);
    size_t signed_len = (size_t)(signature - 1 - token);
    assert_int_equal(EVP_DigestVerify(md, bytes, len, (const unsigned char *)token, signed_len), 1);
    EVP_MD_CTX_free(md);
}

static void check_header(json_t *header, bool chain)
{
    unsigned char digest[32], given[64];
    unsigned int len = 0;
    assert_string_equal(ac_json_peek_string(header, "alg", ""), "PS256");
    assert_string_equal(ac_json_peek_string(header, "typ", ""), "JWT");
    const char *thumbprint = ac_json_peek_string(header, "x5t#S256", "");
    assert_int_equal(strlen(thumbprint), 43);
    assert_int_equal(decode(given, thumbprint, strlen(thumbprint)), 32);
    X509_digest(ours.certificate, EVP_sha256(), digest, &len);
    assert_memory_equal(given, digest, 32);
    const json_t *x5c = json_object_get(header, "x5c");
    assert_int_equal(json_array_size(x5c), chain ? 2 : 0);
    if (chain) {
        const char *leaf = json_string_value(json_array_get(x5c, 0));
        unsigned char bytes[4096], *der = NULL;
        int n = i2d_X509(ours.certificate, &der);
        assert_int_equal(strlen(leaf) % 4, 0);
        assert_true(EVP_DecodeBlock(bytes, (const unsigned char *)leaf, (int)strlen(leaf)) >= n);
        assert_memory_equal(bytes, der, (size_t)n);
        OPENSSL_free(der);
    }
}

static void check_assertion(const char *token, const char *audience, bool chain)
{
    const char *claims_at = strchr(token, '.') + 1, *signature = strchr(claims_at, '.') + 1;
    json_t *header = decode_json(token, (size_t)(claims_at - 1 - token));
    json_t *claims = decode_json(claims_at, (size_t)(signature - 1 - claims_at));
    assert_null(strpbrk(token, "=+/"));
    check_header(header, chain);
    assert_string_equal(ac_json_peek_string(claims, "aud", ""), audience);
    assert_string_equal(ac_json_peek_string(claims, "iss", ""), CLIENT);
    assert_string_equal(ac_json_peek_string(claims, "sub", ""), CLIENT);
    assert_int_equal(strlen(ac_json_peek_string(claims, "jti", "")), 36);
    int64_t begins = ac_json_peek_int(claims, "nbf", 0), ends = ac_json_peek_int(claims, "exp", 0);
    int64_t now = (int64_t)apr_time_sec(apr_time_now());
    assert_true(begins <= now && begins > now - 60 && ends > now && ends <= begins + 600);
    check_signature(token, signature, ours.key);
    json_decref(header);
    json_decref(claims);
}

/* ---- the assertion by itself ---- */

static void check_bytes(const char *bytes, size_t len, const char *password, bool chain)
{
    ac_buf_t out;
    ac_err_t err;
    ac_identity_assertion_t assertion = {bytes, len, password, CLIENT, "https://login.example/t/oauth2/v2.0/token",
                                         chain};
    ac_err_init(&err);
    ac_identity_assertion_make(&out, &assertion, &err);
    assert_string_equal(err.detail, "");
    check_assertion(out.data, assertion.audience, chain);
    ac_buf_free(&out);
}

static void test_forms(void **state)
{
    char *bytes;
    size_t len;
    (void)state;
    len = write_pem(&bytes, ours.certificate, ours.key, NULL, NULL);
    check_bytes(bytes, len, NULL, false);
    free(bytes);
    len = write_pem(&bytes, other.certificate, ours.key, ours.certificate, NULL); /* in any order */
    check_bytes(bytes, len, "unused", true);
    free(bytes);
    len = write_pem(&bytes, ours.certificate, ours.key, NULL, SECRET);
    check_bytes(bytes, len, SECRET, false);
    free(bytes);
    len = write_pkcs12(&bytes, &ours, SECRET);
    check_bytes(bytes, len, SECRET, true);
    free(bytes);
    len = write_pkcs12(&bytes, &ours, "");
    check_bytes(bytes, len, NULL, false);
    free(bytes);
}

static void check_problem(char *bytes, size_t len, const char *password, const char *part)
{
    ac_buf_t out;
    ac_err_t err;
    ac_identity_assertion_t assertion = {bytes, len, password, CLIENT, "https://login.example", false};
    ac_err_init(&err);
    assert_int_not_equal(ac_identity_assertion_make(&out, &assertion, &err), APR_SUCCESS);
    assert_contains(err.detail, part);
    assert_lacks(err.detail, SECRET);
    ac_buf_free(&out);
    free(bytes);
}

static void test_problems(void **state)
{
    char *bytes;
    size_t len;
    (void)state;
    len = write_pem(&bytes, ours.certificate, NULL, NULL, NULL);
    check_problem(bytes, len, NULL, "has to hold the certificate and the key");
    len = write_pem(&bytes, NULL, ours.key, NULL, NULL);
    check_problem(bytes, len, NULL, "holds a key, but no certificate");
    len = write_pem(&bytes, ours.certificate, ours.key, NULL, SECRET);
    check_problem(bytes, len, NULL, "no private key that could be read");
    len = write_pem(&bytes, ours.certificate, ours.key, NULL, SECRET);
    check_problem(bytes, len, SECRET "-wrong", "the password has to be the key's");
    len = write_pem(&bytes, other.certificate, ours.key, NULL, NULL);
    check_problem(bytes, len, NULL, "no certificate of the file belongs to its key");
    len = write_pem(&bytes, curve.certificate, curve.key, NULL, NULL);
    check_problem(bytes, len, NULL, "is not RSA");
    len = write_pem(&bytes, old.certificate, old.key, NULL, NULL);
    check_problem(bytes, len, NULL, "the certificate has expired");
    len = write_pkcs12(&bytes, &ours, SECRET);
    check_problem(bytes, len, SECRET "-wrong", "the password of the certificate's file is wrong");
    check_problem(strdup("nonsense"), 8, NULL, "neither PEM nor PKCS#12");
    check_problem(strdup(""), 0, NULL, "neither PEM nor PKCS#12");
}

/* ---- against an authority ---- */

static void set_certificate(credential_rig_t *rig, const pair_t *pair)
{
    char *bytes;
    size_t len = write_pem(&bytes, pair->certificate, pair->key, NULL, NULL);
    setenv("AZURE_CLIENT_CERTIFICATE_PATH", credential_rig_file(rig, "app.pem", bytes, len, 0600), 1);
    free(bytes);
}

static void test_sign_in(void **state)
{
    static const server_step_t first[] = {TOKEN("t1", "3600")};
    static const server_step_t *const scripts[] = {first, NULL};
    credential_rig_t *rig = *state;
    char audience[160];
    http_server_t *server = http_server_start(scripts);
    set_url("AZURE_AUTHORITY_HOST", server, "/");
    setenv("AZURE_TENANT_ID", "contoso.example", 1);
    setenv("AZURE_CLIENT_ID", CLIENT, 1);
    set_certificate(rig, &other);
    credential_rig_start(rig, "identity:environment", NULL);
    set_certificate(rig, &ours); /* renewed since */
    assert_string_equal(credential_rig_get(rig, SCOPE), "t1");
    const char *request = http_server_request(server, 0);
    assert_contains(request,
                    "&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3A"
                    "jwt-bearer&");
    snprintf(audience, sizeof(audience), "http://127.0.0.1:%d/contoso.example/oauth2/v2.0/token",
             http_server_port(server));
    check_assertion(strstr(request, "&client_assertion=") + strlen("&client_assertion="), audience, false);
    http_server_stop(server);
}

static void test_configuration(void **state)
{
    credential_rig_t *rig = *state;
    setenv("AZURE_TENANT_ID", "contoso.example", 1);
    setenv("AZURE_CLIENT_ID", CLIENT, 1);
    setenv("AZURE_CLIENT_CERTIFICATE_PATH", "/nonexistent/app.pem", 1);
    assert_contains(credential_rig_make(rig, "identity", NULL),
                    "the certificate '/nonexistent/app.pem' of "
                    "AZURE_CLIENT_CERTIFICATE_PATH cannot be read: No such file");
    set_certificate(rig, &old);
    assert_contains(credential_rig_make(rig, "identity", NULL),
                    "AZURE_CLIENT_CERTIFICATE_PATH: the certificate has "
                    "expired");
    setenv("AZURE_CLIENT_SECRET", SECRET, 1); /* it is in front */
    assert_null(credential_rig_make(rig, "identity", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_problems),
        cmocka_unit_test_setup_teardown(test_sign_in, credential_rig_open, credential_rig_close),
        cmocka_unit_test_setup_teardown(test_configuration, credential_rig_open, credential_rig_close),
    };
    apr_initialize();
    atexit(apr_terminate);
    return cmocka_run_group_tests_name("assertion", tests, make_pairs, free_pairs);
}
