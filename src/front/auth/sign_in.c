/* SPDX-License-Identifier: Apache-2.0 */
/* AuthType AgentChat: a request with a key of AgentChatKeys, as `X-API-Key`, `api-key` or `Authorization: Bearer`, is
 * signed in as the key's owner. Source: RFC 6750, for the form of the header and of the challenge. */
#include "auth_internal.h"

#include <string.h>

#include "apr_lib.h"
#include "apr_strings.h"
#include "mod_auth.h"

APLOG_USE_MODULE(agentchat);

#define AUTH_TYPE "AgentChat"

typedef enum sign_e { SIGN_NOT_ASKED, SIGN_NO_KEY, SIGN_TWO_KEYS, SIGN_REFUSED, SIGN_FINE, SIGN_NO_FILE } sign_e;

/* ---- the challenge ---- */

/* error: a code of RFC 6750, or NULL where the request has no key. */
static void challenge(request_rec *r, const char *error, const char *why)
{
    const char *realm = ap_auth_name(r);
    const char *text =
        apr_psprintf(r->pool, "Bearer realm=\"%s\"", realm ? ap_escape_quotes(r->pool, realm) : "agentchat");
    if (error) {
        text = apr_psprintf(r->pool, "%s, error=\"%s\", error_description=\"%s\"", text, error, why);
    }
    apr_table_setn(r->err_headers_out, "WWW-Authenticate", text);
    apr_table_setn(r->notes, AC_NOTE_DETAIL, why);
}

/* ---- the key ---- */

static const char *bearer_of(const request_rec *r)
{
    static const char scheme[] = "Bearer";
    const char *value = apr_table_get(r->headers_in, "Authorization");
    if (!value || strncasecmp(value, scheme, sizeof(scheme) - 1) != 0 || !apr_isspace(value[sizeof(scheme) - 1])) {
        return NULL;
    }
    value += sizeof(scheme) - 1;
    return value + strspn(value, " \t");
}

static sign_e sign_in_find_key(const char **pkey, const request_rec *r)
{
    const char *bearer = bearer_of(r), *own = apr_table_get(r->headers_in, "X-API-Key");
    own = own ? own : apr_table_get(r->headers_in, "api-key"); /* of clients for Azure OpenAI */
    *pkey = own ? own : bearer;
    if (own && bearer && strcmp(own, bearer) != 0) {
        return SIGN_TWO_KEYS;
    }
    return *pkey && **pkey ? SIGN_FINE : SIGN_NO_KEY;
}

static const char *refusal(ac_keyring_verdict_e verdict)
{
    return verdict == AC_KEY_REVOKED ? "the key was revoked"
        : verdict == AC_KEY_EXPIRED  ? "the key has expired"
                                     : "the key is not known";
}

static sign_e check_key(request_rec *r, ac_keyring_file_t *file, const char *text)
{
    const ac_api_key_t *key = NULL;
    ac_keyring_t *ring = ac_keyring_file_now(file);
    bool long_enough_for_none = strlen(text) >= AC_MAX_API_KEY;
    ac_keyring_verdict_e verdict = ring && !long_enough_for_none ? ac_keyring_check(&key, ring, text, apr_time_now())
                                                                 : AC_KEY_UNKNOWN;
    if (verdict == AC_KEY_VALID) {
        ac_principal_sign(r, key);
    } else {
        challenge(r, "invalid_token", refusal(verdict));
        ac_audit_key(r, verdict, key ? key->id : NULL);
        ac_log_request(AC_M661, 0, r, "a key was refused: %s%s%s", refusal(verdict), key ? ", id " : "",
                       key ? key->id : "");
    }
    ac_keyring_unref(ring);
    return verdict == AC_KEY_VALID ? SIGN_FINE : SIGN_REFUSED;
}

static sign_e sign_in(request_rec *r)
{
    const char *type = ap_auth_type(r), *text;
    if (!type || ap_cstr_casecmp(type, AUTH_TYPE) != 0) {
        return SIGN_NOT_ASKED;
    }
    ac_keyring_file_t *file = ac_config_keys_file(ac_mount_conf(r));
    if (!file && ac_conf()->out_of_service) {
        return SIGN_NO_FILE;
    }
    if (!file) {
        ac_log_request(AC_M662, 0, r, "AuthType " AUTH_TYPE " has no AgentChatKeys here");
        return SIGN_NO_FILE;
    }
    sign_e found = sign_in_find_key(&text, r);
    if (found == SIGN_FINE) {
        return check_key(r, file, text);
    }
    if (found == SIGN_TWO_KEYS) {
        challenge(r, "invalid_request", "there are two keys; send one");
    } else {
        challenge(r, NULL, "this needs an API key");
    }
    return found;
}

apr_status_t ac_sign_in_unasked(request_rec *r, ac_err_t *err)
{
    if (sign_in_find_key(&(const char *){NULL}, r) == SIGN_NO_KEY) {
        return APR_SUCCESS;
    }
    switch (sign_in(r)) {
    case SIGN_REFUSED:
    case SIGN_TWO_KEYS: return ac_err_set(err, AC_UNAUTHENTICATED, "%s", apr_table_get(r->notes, AC_NOTE_DETAIL));
    case SIGN_NO_FILE: return ac_err_set(err, AC_INTERNAL, "the sign-in is not configured");
    default: return APR_SUCCESS;
    }
}

/* ---- hooks ---- */

static int check_authn(request_rec *r)
{
    switch (sign_in(r)) {
    case SIGN_NOT_ASKED: return DECLINED;
    case SIGN_FINE: return OK;
    case SIGN_TWO_KEYS: return HTTP_BAD_REQUEST;
    case SIGN_NO_FILE: return ac_conf()->out_of_service ? HTTP_SERVICE_UNAVAILABLE : HTTP_INTERNAL_SERVER_ERROR;
    default: return HTTP_UNAUTHORIZED;
    }
}

/* httpd's authorization refuses a request with a valid key. */
static int note_auth_failure(request_rec *r, const char *auth_type)
{
    if (ap_cstr_casecmp(auth_type, AUTH_TYPE) != 0) {
        return DECLINED;
    }
    challenge(r, r->user ? "insufficient_scope" : NULL, r->user ? "this key may not do that" : "this needs an API key");
    return OK;
}

void ac_sign_in_register(apr_pool_t *p)
{
    (void)p;
    ap_hook_check_authn(check_authn, NULL, NULL, APR_HOOK_MIDDLE, AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_note_auth_failure(note_auth_failure, NULL, NULL, APR_HOOK_MIDDLE);
}
