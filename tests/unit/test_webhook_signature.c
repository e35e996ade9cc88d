/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures of webhooks, and the forms of their secrets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "wire/wire.h"

static const char secret[] = "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0";

/* As the library of Standard Webhooks, and openssl dgst, have it. */
static void test_a_known_signature(void **state)
{
    (void)state;
    const ac_webhook_signed_t of = {"msg_1", 1700000000, "{}", 2};
    ac_webhook_key_t key;
    ac_buf_t out;
    ac_buf_init(&out, 1000);
    assert_true(ac_webhook_signature_key(&key, secret));
    assert_int_equal(key.len, 24);
    assert_memory_equal(key.bytes, "secretsecretsecretsecret", 24);
    assert_int_equal(ac_webhook_signature_add(&out, &key, &of), APR_SUCCESS);
    assert_string_equal(out.data, "v1,GFU5cFbDcenL8reP2uPNh3psstrqajX4ZskYMcahkEs=");
    assert_int_equal(ac_webhook_signature_add(&out, &key, &of), APR_SUCCESS);
    assert_string_equal(
        out.data, "v1,GFU5cFbDcenL8reP2uPNh3psstrqajX4ZskYMcahkEs= v1,GFU5cFbDcenL8reP2uPNh3psstrqajX4ZskYMcahkEs=");
    ac_buf_free(&out);
}

static void test_forms_of_a_secret(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "whsec_",
        "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0",
        "WHSEC_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0",
        "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2Vj",         /* 21 bytes */
        "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmU=",     /* 23 bytes */
        "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c",    /* no whole group */
        "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0====", /* only padding */
        "whsec_c2VjcmV0=c2VjcmV0c2VjcmV0c2VjcmV0c2V", /* padding within */
        "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV-",     /* of base64url */
        "whsec_c2VjcmV0 c2VjcmV0 c2VjcmV0 c2VjcmV0 ",
        "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", /* 65 bytes */
    };
    static const char longest[] =
        "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";
    ac_webhook_key_t key;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (ac_webhook_signature_key(&key, wrong[i])) {
            fail_msg("%s", wrong[i]);
        }
        assert_int_equal(key.len, 0);
    }
    assert_true(ac_webhook_signature_key(&key, longest));
    assert_int_equal(key.len, 64);
}

int main(void)
{
    const struct CMUnitTest group[] = {
        cmocka_unit_test(test_a_known_signature),
        cmocka_unit_test(test_forms_of_a_secret),
    };
    return cmocka_run_group_tests_name("webhook signatures", group, NULL, NULL);
}
