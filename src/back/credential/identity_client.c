/* SPDX-License-Identifier: Apache-2.0 */
/* Signing in as an app: the authority is asked for a token, and a secret, a certificate's signature or another issuer's
 * token proves who asks. */
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

static void endpoint_of(char url[512], const identity_conf_t *conf, const char *tenant)
{
    snprintf(url, 512, "%s/%s/oauth2/v2.0/token", conf->authority, tenant);
}

static void identity_client_on_answer(identity_try_t *try, const identity_answer_t *answer)
{
    ac_err_t err;
    ac_err_init(&err);
    if (!answer->status) {
        identity_end_failed(try, answer->err->kind, "the authority cannot be reached: %s", answer->err->detail);
    } else if (answer->status == 200) {
        identity_end_token(try, answer->body, answer->len);
    } else {
        identity_token_error(&err, answer->status, answer->body, answer->len);
        err.retry_after = answer->err->retry_after;
        identity_end_err(try, &err, false);
    }
}

void identity_redeem(identity_try_t *try, const char *secret, const char *assertion)
{
    static const char *const headers[] = {
        "Content-Type: application/x-www-form-urlencoded",
        "Accept: application/json",
        NULL,
    };
    char url[512];
    ac_buf_t form;
    ac_buf_init(&form, MAX_FORM);
    identity_form_add(&form, "client_id", try->conf->client_id);
    identity_form_add(&form, "grant_type", "client_credentials");
    identity_form_add(&form, "scope", try->scope);
    if (assertion) {
        identity_form_add(&form, "client_assertion_type", ASSERTION_TYPE);
    }
    identity_form_add(&form, assertion ? "client_assertion" : "client_secret", assertion ? assertion : secret);
    endpoint_of(url, try->conf, try->tenant);
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
        identity_end_failed(try, AC_UNAUTHENTICATED, "what has to be sent is too long");
    } else {
        identity_try_http(try, &request, identity_client_on_answer);
    }
    if (form.data) {
        OPENSSL_cleanse(form.data, form.len);
    }
    ac_buf_free(&form);
}

/* ---- the environment's app ---- */

/* The certificate as it is now; where this process may not read it, as it was with the configuration. */
static void identity_client_sign(identity_job_t *job)
{
    const identity_conf_t *conf = job->conf;
    char url[512], *bytes = NULL;
    size_t len = 0;
    apr_status_t status = identity_file_read(&bytes, &len, conf->certificate_path, MAX_CERTIFICATE);
    endpoint_of(url, conf, job->tenant);
    assertion_t assertion = {
        .bytes = status == APR_SUCCESS ? bytes : conf->certificate,
        .password = conf->certificate_password,
        .len = status == APR_SUCCESS ? len : conf->certificate_len,
        .client_id = conf->client_id,
        .audience = url,
        .send_chain = conf->send_chain,
    };
    identity_assert(&job->out, &assertion, &job->err);
    if (bytes) {
        OPENSSL_cleanse(bytes, len);
    }
    free(bytes);
}

static void signed_well(identity_try_t *try, identity_job_t *job)
{
    if (job->err.kind != AC_OK) {
        identity_end_err(try, &job->err, false);
        return;
    }
    identity_redeem(try, NULL, job->out.data);
}

static void run_environment(identity_try_t *try)
{
    const identity_conf_t *conf = try->conf;
    bool proof = conf->secret || conf->certificate_path;
    if (!try->tenant || !conf->client_id || !proof) {
        identity_end_absent(try, "not set: %s%s%s", try->tenant ? "" : "AZURE_TENANT_ID ",
                            conf->client_id ? "" : "AZURE_CLIENT_ID ", proof ? "" : "AZURE_CLIENT_SECRET");
        return;
    }
    if (conf->secret) {
        identity_redeem(try, conf->secret, NULL);
    } else {
        identity_try_work(try, identity_client_sign, signed_well, NULL, false);
    }
}

const identity_link_t identity_environment = {"environment", "EnvironmentCredential", true, run_environment};
