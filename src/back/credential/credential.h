/* SPDX-License-Identifier: Apache-2.0 */
/* One interface for all that proves who we are: keys, and tokens of an identity. */
#ifndef AC_CREDENTIAL_H
#define AC_CREDENTIAL_H

#include "agentchat.h"

/* A credential is a key that stands somewhere ("env:NAME", "file:PATH",
 * "keyvault:https://v.vault.azure.net/secrets/NAME"), or a token that is fetched ("identity", "identity:environment",
 * "identity:workload", "identity:managed", "identity:cli"; options client-id=, object-id=, resource-id=, tenant-id=,
 * authority=). One object serves every scope. Tokens are cached in each process and refreshed before they expire, with
 * one request at a time. */
typedef enum ac_credential_kind_e { AC_CREDENTIAL_KEY, AC_CREDENTIAL_TOKEN } ac_credential_kind_e;
/* On failure the err of an ac_credential_fn names each provider of the chain that was asked, and why it failed; the
 * caller chooses the error kind. */
/* Config time. Reads env: and file: (file: again when it changes) and the variables that an identity needs. Further
 * options: scope= (identity), refresh= (file, keyvault), identity= (keyvault: "managed" …). Returns NULL, or an error
 * message. */
const char *ac_credential_spec_create(ac_credential_t **pcredential, const char *spec, const apr_table_t *options,
                                      apr_pool_t *p);
apr_status_t ac_credential_child_init(ac_credential_t *credential, const ac_host_t *host, ac_err_t *err);
/* Any thread, while the loop runs. No callback comes after it. */
void ac_credential_child_exit(ac_credential_t *credential);
ac_credential_kind_e ac_credential_kind(const ac_credential_t *credential);
/* Loop thread. The text that can be used at once, or NULL; valid until the loop's next turn. */
const char *ac_credential_now(ac_credential_t *credential, const char *scope);
/* Loop thread. fn comes later, never inside. scope: "https://cosmos.azure.com/.default"; ignored for keys. */
void ac_credential_get(ac_credential_t *credential, const char *scope, ac_credential_fn *fn, void *baton);
/* Loop thread. Cancels a get(): its fn does not come. */
void ac_credential_forget(ac_credential_t *credential, ac_credential_fn *fn, void *baton);
/* Loop thread. The service refused this text: the next get() fetches another one. */
void ac_credential_reject(ac_credential_t *credential, const char *scope, const char *text);
/* The key that was read with the configuration, or NULL. */
const char *ac_credential_first(const ac_credential_t *credential);
/* The option scope=, or fallback. */
const char *ac_credential_scope(const ac_credential_t *credential, const char *fallback);
/* The text that may be shown: "env:NAME", "identity". */
const char *ac_credential_spec(const ac_credential_t *credential);

#endif
