/* SPDX-License-Identifier: Apache-2.0 */
/* Answers about keys and tokens: of the authority, the challenges of Arc's agent, times. The first byte selects. A
 * token is one line; an error has a reason, and none of the answer's bytes that are not text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "back/credential/provider_managed.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_err(const ac_err_t *err)
{
    must(err->kind != AC_OK && *err->detail && ac_utf8_valid(err->detail, strlen(err->detail)) &&
         !strpbrk(err->detail, "\r\n"));
}

static void check_token(const char *text, size_t len)
{
    ac_credential_result_t fetched;
    json_t *document = NULL;
    memset(&fetched, 0, sizeof(fetched));
    if (ac_identity_token_read(&fetched, &document, text, len, 0) == APR_SUCCESS) {
        must(*fetched.text && !strpbrk(fetched.text, "\r\n") && fetched.expires > 0 && fetched.refresh > 0);
        must(fetched.refresh <= fetched.expires);
    } else {
        check_err(&fetched.err);
    }
    json_decref(document);
    for (int status = 400; status < 600; status += 33) {
        ac_err_t err;
        ac_err_init(&err);
        ac_identity_token_error(&err, status, text, len);
        check_err(&err);
    }
}

static void check_challenge(const char *text)
{
    static const char keys[] = "/var/opt/azcmagent/tokens/";
    char path[512];
    if (find_key_file(path, sizeof(path), text, keys)) {
        must(strncmp(path, keys, strlen(keys)) == 0 && !strchr(path + strlen(keys), '/') && path[strlen(keys)] != '.');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) {
        return 0;
    }
    char *text = ac_alloc(size);
    memcpy(text, data + 1, size - 1);
    if (data[0] == 't') {
        check_token(text, size - 1);
    } else {
        check_challenge(text);
        must(ac_identity_token_time(text) >= 0);
    }
    free(text);
    return 0;
}
