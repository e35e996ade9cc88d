/* SPDX-License-Identifier: Apache-2.0 */
/* One interface for all that proves who we are: keys, and tokens of an identity. */
#ifndef AC_CREDENTIAL_H
#define AC_CREDENTIAL_H

#include "agentchat.h"

/* A key that stands somewhere ("env:NAME", "file:PATH", "keyvault:https://v.vault.azure.net/secrets/NAME"), or a token that has to be
 * fetched ("identity", "identity:environment", "identity:workload", "identity:managed", "identity:cli"; options client-id=, object-id=,
 * resource-id=, tenant-id=, authority=). One object serves every scope; tokens are cached per process and refreshed before they expire,
 * one request at a time. */
typedef enum ac_credential_kind_e { AC_CREDENTIAL_KEY, AC_CREDENTIAL_TOKEN } ac_credential_kind_e;
/* text: the key or token, valid inside the call only; NULL with err: model_refused-like kinds are the caller's to choose, err's detail
 * names each link of the chain that was tried and why it failed. */
typedef void ac_credential_fn(void *baton, apr_status_t status, const char *text, const ac_err_t *err);
/* Config time. env: and file: are read here (file: again when it changes), as are the variables that an identity needs. Further options:
 * scope= (identity), refresh= (file, keyvault), identity= (keyvault: "managed" …). NULL, or a sentence. */
const char *ac_credential_create(ac_credential_t **pcredential, const char *spec, const apr_table_t *options,
                                 apr_pool_t *p);
apr_status_t ac_credential_child_init(ac_credential_t *credential, const ac_host_t *host, ac_err_t *err);
/* Any thread; while the loop runs, or on it. No call comes after it. */
void ac_credential_child_exit(ac_credential_t *credential);
ac_credential_kind_e ac_credential_kind(const ac_credential_t *credential);
/* Loop thread. What can be used right now without waiting, or NULL; valid until the loop's next turn. */
const char *ac_credential_now(ac_credential_t *credential, const char *scope);
/* Loop thread. fn comes later, never inside. scope: "https://cosmos.azure.com/.default"; ignored for keys. */
void ac_credential_get(ac_credential_t *credential, const char *scope, ac_credential_fn *fn, void *baton);
/* fn of a get() that has not come yet will not come. */
void ac_credential_forget(ac_credential_t *credential, ac_credential_fn *fn, void *baton);
/* Loop thread. The service said that this text is expired or unknown: fetch another one on the next get(). */
void ac_credential_reject(ac_credential_t *credential, const char *scope, const char *text);
/* A key as it was read with the configuration; NULL where it was not. */
const char *ac_credential_first(const ac_credential_t *credential);
/* The option scope=, or fallback. */
const char *ac_credential_scope(const ac_credential_t *credential, const char *fallback);
/* "env:NAME", "identity": what may be shown. */
const char *ac_credential_spec(const ac_credential_t *credential);

#endif
