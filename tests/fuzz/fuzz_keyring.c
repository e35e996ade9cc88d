/* SPDX-License-Identifier: Apache-2.0 */
/* A file of API keys, whose first line is a presented key: for any input, an unknown key has no owner, and no error
 * message has bytes that could be a secret. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>

#include "back/apikey/apikey.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const ac_keyring_t *ring, const char *shown)
{
    const ac_api_key_t *found = NULL;
    int n = 0;
    const ac_api_key_t *keys = ac_keyring_keys(&n, ring);
    ac_keyring_verdict_e verdict = ac_keyring_check(&found, ring, shown, 0);
    if ((verdict == AC_KEY_UNKNOWN) != !found) {
        abort();
    }
    for (int i = 0; i < n; i++) {
        if (!ac_keyring_id_valid(keys[i].id) || ac_keyring_find(ring, keys[i].id) != &keys[i]) {
            abort();
        }
        if (!*keys[i].owner || strlen(keys[i].owner) >= AC_OWNER_SIZE ||
            !ac_utf8_valid(keys[i].owner, strlen(keys[i].owner))) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    ac_keyring_t *ring = NULL;
    ac_err_t err;
    size_t len = 0;
    if (!ready) {
        ready = apr_initialize() == APR_SUCCESS;
    }
    while (len < size && data[len] != '\n') {
        len++;
    }
    char *shown = ac_alloc(len + 1);
    memcpy(shown, data, len);
    ac_err_init(&err);
    if (ac_keyring_parse(&ring, (const char *)data + len, size - len, &err) == APR_SUCCESS) {
        use(ring, shown);
        ac_keyring_unref(ring);
    } else if (ring || err.kind != AC_INVALID_REQUEST || strncmp(err.detail, "line ", 5) != 0 ||
               strpbrk(err.detail, "\r\n")) {
        abort();
    }
    free(shown);
    return 0;
}
