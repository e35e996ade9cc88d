/* SPDX-License-Identifier: Apache-2.0 */
/* One interface for all credentials of the server: keys, and tokens of an identity. */
#ifndef AC_CREDENTIAL_H
#define AC_CREDENTIAL_H

#include "agentchat.h"

/* A credential is a key with a source ("env:NAME", "file:PATH", "keyvault:https://v.vault.azure.net/secrets/NAME"), or
 * a token that a provider supplies ("identity", "identity:environment", "identity:workload", "identity:managed",
 * "identity:cli"; options client-id=, object-id=, resource-id=, tenant-id=, authority=) or an authorization server
 * ("oauth:https://id.example.com/token"; options client-id=, client-secret=, scope=, resource=, auth=). One object
 * serves every scope. Each process caches tokens and refreshes them before they expire, with one request at a time. */
typedef enum ac_credential_kind_e { AC_CREDENTIAL_KEY, AC_CREDENTIAL_TOKEN } ac_credential_kind_e;
/* At configuration time. Reads env: and file: (file: again when it changes) and the variables that an identity needs.
 * Further options: scope= (identity), refresh= (file, keyvault), identity= (keyvault: "managed" …). Returns NULL on
 * success, else an error message. On failure the err of an ac_credential_fn names each provider that was tried and the
 * reason of its failure; the caller chooses the error kind. */
const char *ac_credential_spec_create(ac_credential_t **pcredential, const char *spec, const apr_table_t *options,
                                      apr_pool_t *p);
apr_status_t ac_credential_child_init(ac_credential_t *credential, const ac_host_t *host, ac_err_t *err);
/* Any thread, while the loop runs. No callback comes after it. */
void ac_credential_child_exit(ac_credential_t *credential);
ac_credential_kind_e ac_credential_kind(const ac_credential_t *credential);
/* Loop thread. Returns the text if it is available at once, or NULL; valid until the loop's next turn. */
const char *ac_credential_now(ac_credential_t *credential, const char *scope);
/* Loop thread. Calls fn later, never inside. scope: "https://cosmos.azure.com/.default"; ignored for keys. */
void ac_credential_get(ac_credential_t *credential, const char *scope, ac_credential_fn *fn, void *baton);
/* Loop thread. Cancels an ac_credential_get(): its fn is not called. */
void ac_credential_forget(ac_credential_t *credential, ac_credential_fn *fn, void *baton);
/* Loop thread. Reports that the service refused this text: the next ac_credential_get() fetches another one. */
void ac_credential_reject(ac_credential_t *credential, const char *scope, const char *text);
/* The key that was read with the configuration, or NULL. */
const char *ac_credential_first(const ac_credential_t *credential);
/* The value of the option scope=, or fallback. */
const char *ac_credential_scope(const ac_credential_t *credential, const char *fallback);
/* The text that may be shown: "env:NAME", "identity". */
const char *ac_credential_spec(const ac_credential_t *credential);

#endif
