/* SPDX-License-Identifier: Apache-2.0 */
/* The challenge of a vault: it names an authority, a tenant and a resource, or it is not believed. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>

#include "back/credential/keyvault.c"
#include "fuzz_pool.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check(const char *text, apr_pool_t *p)
{
    void *source = NULL;
    char value[64];
    must(!find_value(value, sizeof(value), text, "authorization") || (*value && strlen(value) < sizeof(value)));
    apr_table_t *options = apr_table_make(p, 1);
    apr_table_setn(options, "tenant-id", "t"); /* one that a challenge names would be kept for good */
    must(!ac_keyvault_create(&source, "https://v.vault.azure.net/secrets/n", options, p));
    vault_t *vault = source;
    if (!take_challenge(vault, text)) {
        must(vault->knows && strlen(vault->scope) > 9 && !strpbrk(vault->scope, "\r\n\""));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    apr_pool_t *p = fuzz_pool();
    char *text = ac_alloc(size + 1);
    memcpy(text, data, size);
    check(text, p);
    free(text);
    apr_pool_destroy(p);
    return 0;
}
