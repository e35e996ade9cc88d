/* SPDX-License-Identifier: Apache-2.0 */
/* Workload identity: Kubernetes, or another issuer that the app trusts, keeps a current token in a file; it replaces a
 * secret. */
#include "identity.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <string.h>

/* The file is read each time: its issuer replaces it before the assertion expires. */
static void read_token(ac_token_job_t *job)
{
    char *text = NULL, reason[120];
    size_t len = 0;
    apr_status_t status = ac_file_read(&text, &len, job->conf->token_file, AC_IDENTITY_MAX_TOKEN);
    job->absent = true;
    if (status != APR_SUCCESS) {
        job->absent = !ac_err_set_lack(&job->err, status);
        ac_err_set(&job->err, AC_UNAUTHENTICATED, "the file of AZURE_FEDERATED_TOKEN_FILE cannot be read: %s",
                   apr_strerror(status, reason, sizeof(reason)));
        return;
    }
    char *start = text;
    while (len && isspace((unsigned char)start[len - 1])) {
        len--;
    }
    while (len && isspace((unsigned char)*start)) {
        start++;
        len--;
    }
    if (!len || memchr(start, '\0', len)) {
        ac_err_set(&job->err, AC_UNAUTHENTICATED, "the file of AZURE_FEDERATED_TOKEN_FILE holds no token");
    }
    ac_buf_add(&job->out, start, len);
    OPENSSL_cleanse(text, strlen(text));
    free(text);
}

static void redeem(ac_token_request_t *token_request, ac_token_job_t *job)
{
    if (job->err.kind != AC_OK) {
        ac_token_request_end_err(token_request, &job->err, job->absent);
        return;
    }
    ac_provider_environment_redeem(token_request, NULL, job->out.data);
}

static void run_workload(ac_token_request_t *token_request)
{
    const ac_identity_conf_t *conf = token_request->conf;
    if (!token_request->tenant || !conf->client_id || !conf->token_file) {
        ac_token_request_end_absent(token_request, "not set: %s%s%s", token_request->tenant ? "" : "AZURE_TENANT_ID ",
                                    conf->client_id ? "" : "AZURE_CLIENT_ID ",
                                    conf->token_file ? "" : "AZURE_FEDERATED_TOKEN_FILE");
        return;
    }
    ac_token_request_work(token_request, read_token, redeem, NULL, false);
}

const ac_credential_provider_t ac_provider_workload = {"workload", "WorkloadIdentityCredential", true, run_workload};
