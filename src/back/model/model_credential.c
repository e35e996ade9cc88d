/* SPDX-License-Identifier: Apache-2.0 */
/* How the OpenAI models send their credential, and how they detect that the service does not accept it any more. */
#include "model_openai.h"

#include <openssl/crypto.h>
#include <string.h>

char *ac_model_credential_header(const ac_model_openai_t *model, const char *text)
{
    size_t front = strlen(model->credential_header), len = strlen(text);
    char *header = ac_alloc(front + len + 1);
    memcpy(header, model->credential_header, front);
    memcpy(header + front, text, len);
    return header;
}

void ac_model_credential_wipe(char *secret)
{
    if (secret) {
        OPENSSL_cleanse(secret, strlen(secret));
        free(secret);
    }
}

void ac_model_credential_fail(ac_err_t *err, const ac_err_t *cause)
{
    ac_kind_e kind = cause->kind == AC_UPSTREAM_TIMEOUT ? AC_MODEL_TIMEOUT
        : cause->kind == AC_UPSTREAM_ERROR              ? AC_MODEL_ERROR
        : cause->kind == AC_OVERLOADED                  ? AC_OVERLOADED
                                                        : AC_MODEL_REFUSED;
    if (err->kind == AC_OK) {
        err->retry_after = cause->retry_after;
    }
    ac_err_set(err, kind, "no credential for the model's service: %s", cause->detail);
}

/* A 401 rejects the credential. A 403 denies permission, unless its text is about time. */
bool ac_model_credential_is_rejected(int status, const char *error_body, size_t len)
{
    return status == 401 || (status == 403 && len && memmem(error_body, len, "xpired", 6));
}
