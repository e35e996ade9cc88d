/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens for an app: the authority gets a secret, a certificate's signature, or another issuer's token as proof. */
#include "identity.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#define CONNECT_TIMEOUT apr_time_from_sec(5)
#define TOTAL_TIMEOUT apr_time_from_sec(30)
#define RETRIES 3
#define MAX_FORM (160 * 1024)
#define MAX_CERTIFICATE (256 * 1024)
#define ASSERTION_TYPE "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

static void endpoint_of(char url[512], const ac_identity_conf_t *conf, const char *tenant)
{
    snprintf(url, 512, "%s/%s/oauth2/v2.0/token", conf->authority, tenant);
}

static void provider_environment_on_answer(ac_token_request_t *token_request, const ac_token_answer_t *answer)
{
    ac_err_t err;
    ac_err_init(&err);
    if (!answer->status) {
        ac_token_request_end_failed(token_request, answer->err->kind, "the authority cannot be reached: %s",
                                    answer->err->detail);
    } else if (answer->status == 200) {
        ac_token_request_end_token(token_request, answer->body, answer->len);
    } else {
        ac_identity_token_error(&err, answer->status, answer->body, answer->len);
        err.retry_after = answer->err->retry_after;
        ac_token_request_end_err(token_request, &err, false);
    }
}

void ac_provider_environment_redeem(ac_token_request_t *token_request, const char *secret, const char *assertion)
{
    static const char *const headers[] = {
        "Content-Type: application/x-www-form-urlencoded",
        "Accept: application/json",
        NULL,
    };
    char url[512];
    ac_buf_t form;
    ac_buf_init(&form, MAX_FORM);
    ac_token_request_add_field(&form, "client_id", token_request->conf->client_id);
    ac_token_request_add_field(&form, "grant_type", "client_credentials");
    ac_token_request_add_field(&form, "scope", token_request->scope);
    if (assertion) {
        ac_token_request_add_field(&form, "client_assertion_type", ASSERTION_TYPE);
    }
    ac_token_request_add_field(&form, assertion ? "client_assertion" : "client_secret", assertion ? assertion : secret);
    endpoint_of(url, token_request->conf, token_request->tenant);
    ac_http_request_t request = {
        .method = "POST",
        .url = url,
        .headers = headers,
        .body = form.data,
        .body_len = form.len,
        .connect_timeout = CONNECT_TIMEOUT,
        .total_timeout = TOTAL_TIMEOUT,
        .retries = RETRIES,
    };
    if (form.failed) {
        ac_token_request_end_failed(token_request, AC_UNAUTHENTICATED, "what has to be sent is too long");
    } else {
        ac_token_request_http(token_request, &request, provider_environment_on_answer);
    }
    if (form.data) {
        OPENSSL_cleanse(form.data, form.len);
    }
    ac_buf_free(&form);
}

/* ---- the app of the environment ---- */

/* Signs with the certificate in its current state, or, if this process may not read it, as read with the
 * configuration. */
static void provider_environment_sign(ac_token_job_t *job)
{
    const ac_identity_conf_t *conf = job->conf;
    char url[512], *bytes = NULL;
    size_t len = 0;
    apr_status_t status = ac_file_read(&bytes, &len, conf->certificate_path, MAX_CERTIFICATE);
    endpoint_of(url, conf, job->tenant);
    ac_identity_assertion_t assertion = {
        .bytes = status == APR_SUCCESS ? bytes : conf->certificate,
        .password = conf->certificate_password,
        .len = status == APR_SUCCESS ? len : conf->certificate_len,
        .client_id = conf->client_id,
        .audience = url,
        .send_chain = conf->send_chain,
    };
    ac_identity_assertion_make(&job->out, &assertion, &job->err);
    if (bytes) {
        OPENSSL_cleanse(bytes, len);
    }
    free(bytes);
}

static void signed_well(ac_token_request_t *token_request, ac_token_job_t *job)
{
    if (job->err.kind != AC_OK) {
        ac_token_request_end_err(token_request, &job->err, false);
        return;
    }
    ac_provider_environment_redeem(token_request, NULL, job->out.data);
}

static void run_environment(ac_token_request_t *token_request)
{
    const ac_identity_conf_t *conf = token_request->conf;
    bool proof = conf->secret || conf->certificate_path;
    if (!token_request->tenant || !conf->client_id || !proof) {
        ac_token_request_end_absent(token_request, "not set: %s%s%s", token_request->tenant ? "" : "AZURE_TENANT_ID ",
                                    conf->client_id ? "" : "AZURE_CLIENT_ID ", proof ? "" : "AZURE_CLIENT_SECRET");
        return;
    }
    if (conf->secret) {
        ac_provider_environment_redeem(token_request, conf->secret, NULL);
    } else {
        ac_token_request_work(token_request, provider_environment_sign, signed_well, NULL, false);
    }
}

const ac_credential_provider_t ac_provider_environment = {"environment", "EnvironmentCredential", true,
                                                          run_environment};
