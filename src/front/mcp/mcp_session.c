/* SPDX-License-Identifier: Apache-2.0 */
/* The id of a legacy session. It says what a request without state could not know: whether the client can ask its user,
 * and which client's request 7 a notification means. It is random, so no client knows another one's. */
#include "mcp_internal.h"

#include <string.h>

#include <openssl/evp.h>

#include "apr_strings.h"

#define PLAIN "mcp_"
#define ELICITS "mcpe_"

void ac_mcp_session_make(char id[AC_ID_SIZE], bool elicits)
{
    ac_id_make(id, elicits ? ELICITS : PLAIN);
}

bool ac_mcp_session_elicits(const char *id)
{
    return id && ac_id_valid(id, ELICITS);
}

const char *ac_mcp_session_key(const char *id, const char *request_id, apr_pool_t *p)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    char hex[2 * EVP_MAX_MD_SIZE + 1];
    if (!id || (!ac_id_valid(id, PLAIN) && !ac_id_valid(id, ELICITS))) {
        return NULL;
    }
    const char *text = apr_pstrcat(p, id, ":", request_id, NULL);
    if (!EVP_Digest(text, strlen(text), digest, &len, EVP_sha256(), NULL)) {
        return NULL;
    }
    ap_bin2hex(digest, len, hex);
    return apr_pstrcat(p, PLAIN, hex, NULL);
}

/* {} is the form, as before 2025-11-25; a client may also have pages at a URL only. */
bool ac_mcp_session_can_elicit(const json_t *capabilities)
{
    const json_t *elicitation = json_object_get(capabilities, "elicitation");
    return json_is_object(elicitation) &&
        (json_object_get(elicitation, "form") || !json_object_get(elicitation, "url"));
}
