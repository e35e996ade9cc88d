/* SPDX-License-Identifier: Apache-2.0 */
/* Managed identities: a service of the machine supplies the token. App Service, Functions and Container Apps have its
 * address in the environment; virtual machines have IMDS at a fixed address; Arc's agent requires proof that this
 * process may read its files. */
#include "identity.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define CONNECT_TIMEOUT apr_time_from_sec(2)
#define PROBE_TIMEOUT apr_time_from_sec(1)
#define TOTAL_TIMEOUT apr_time_from_sec(10)
#define LONGEST_WAIT apr_time_from_sec(60)
#define RETRIES 3
#define GONE_RETRIES 7 /* while IMDS is being updated: at most 70 s */
#define GONE_WAIT apr_time_from_sec(10)
#define MAX_KEY 4096

enum { ASKING, PROBING, PROVING }; /* the stage of a token request */

static void provider_managed_ask(ac_token_request_t *token_request);

/* ---- requests ---- */

static const char *base_of(const ac_identity_conf_t *conf, char *buf, size_t size)
{
    if (conf->managed != AC_IDENTITY_MANAGED_IMDS) {
        return conf->endpoint;
    }
    snprintf(buf, size, "%s/metadata/identity/oauth2/token", conf->imds);
    return buf;
}

static void make_url(ac_buf_t *url, const ac_token_request_t *token_request)
{
    static const char *const versions[] = {"2019-08-01", "2020-06-01", "2018-02-01"};
    const ac_identity_conf_t *conf = token_request->conf;
    char resource[AC_IDENTITY_SCOPE_SIZE], base[512];
    ac_buf_t query;
    ac_token_request_resource(resource, token_request->scope);
    ac_buf_init(&query, 4096);
    ac_buf_init(url, 8192);
    ac_token_request_add_field(&query, "api-version", versions[conf->managed]);
    ac_token_request_add_field(&query, "resource", resource);
    if (conf->managed_client_id) {
        ac_token_request_add_field(&query, "client_id", conf->managed_client_id);
    }
    if (conf->object_id) {
        ac_token_request_add_field(&query, "object_id", conf->object_id);
    }
    if (conf->resource_id) {
        ac_token_request_add_field(&query,
                                   conf->managed == AC_IDENTITY_MANAGED_APP_SERVICE ? "mi_res_id" : "msi_res_id",
                                   conf->resource_id);
    }
    const char *start = base_of(conf, base, sizeof(base));
    ac_buf_printf(url, "%s%c%s", start, strchr(start, '?') ? '&' : '?', query.data);
    ac_buf_free(&query);
}

/* header: a complete header line, or NULL. The one that answers a challenge contains a key. */
static void provider_managed_get(ac_token_request_t *token_request, const char *header, ac_token_answer_fn *on_answer)
{
    bool probe = token_request->stage == PROBING;
    const char *headers[] = {"Accept: application/json", NULL, NULL, NULL};
    int n = 1;
    if (!probe && token_request->conf->managed != AC_IDENTITY_MANAGED_APP_SERVICE) {
        headers[n++] = "Metadata: true";
    }
    headers[n] = header;
    ac_buf_t url;
    make_url(&url, token_request);
    ac_http_request_t request = {
        .method = "GET",
        .url = url.data,
        .headers = headers,
        .http_version = 1,
        .connect_timeout = probe ? PROBE_TIMEOUT : CONNECT_TIMEOUT,
        .total_timeout = probe ? PROBE_TIMEOUT : TOTAL_TIMEOUT,
    };
    ac_token_request_http(token_request, &request, on_answer);
    ac_buf_free(&url);
}

/* ---- responses ---- */

/* The delay before another request, or -1: no further one. */
static apr_interval_time_t wait_of(const ac_token_request_t *token_request, const ac_token_answer_t *answer)
{
    bool imds = token_request->conf->managed == AC_IDENTITY_MANAGED_IMDS;
    int status = answer->status;
    apr_interval_time_t asked = answer->err->retry_after;
    if (asked > LONGEST_WAIT) {
        return -1;
    }
    if (imds && status == 410) {
        return token_request->gone >= GONE_RETRIES ? -1 : asked ? asked : GONE_WAIT;
    }
    bool again = !status || status == 404 || status == 408 || status == 429 || status >= 500;
    if (!again || token_request->tries >= RETRIES) {
        return -1;
    }
    return asked ? asked : apr_time_from_sec(imds ? 1 << token_request->tries : 1);
}

static void ask_again(void *baton)
{
    provider_managed_ask(baton);
}

static bool provider_managed_says(const ac_token_answer_t *answer, const char *phrase)
{
    return answer->len && memmem(answer->body, answer->len, phrase, strlen(phrase));
}

static void provider_managed_end_refused(ac_token_request_t *token_request, const ac_token_answer_t *answer)
{
    bool chosen = token_request->conf->managed_client_id || token_request->conf->object_id ||
        token_request->conf->resource_id;
    ac_err_t err;
    ac_err_init(&err);
    if (!answer->status) {
        ac_token_request_end_failed(token_request, answer->err->kind,
                                    "this machine's identity service does not answer: %s", answer->err->detail);
    } else if (answer->status == 400 &&
               (provider_managed_says(answer, "dentity not found") ||
                provider_managed_says(answer, "No User Assigned"))) {
        ac_token_request_end_failed(token_request, AC_UNAUTHENTICATED, "this machine has no managed identity%s",
                                    chosen ? " of that id (HTTP 400); assign it, or check the id"
                                           : " (HTTP 400); assign one, or name one with client-id=");
    } else {
        ac_identity_token_error(&err, answer->status, answer->body, answer->len);
        ac_token_request_end_err(token_request, &err, false);
    }
}

/* Old agents of Arc do not know user-assigned identities, and supply the machine's own without an error. */
static bool is_whose(const ac_identity_conf_t *conf, const ac_token_answer_t *answer)
{
    json_t *document = json_loadb(answer->body, answer->len, 0, NULL);
    const struct {
        const char *wanted, *name;
    } rows[] = {
        {conf->managed_client_id, "client_id"},
        {conf->object_id, "object_id"},
        {conf->resource_id, "msi_res_id"},
    };
    bool good = true;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *given = ac_json_peek_string(document, rows[i].name, "");
        good = good && (!rows[i].wanted || strcasecmp(given, rows[i].wanted) == 0);
    }
    json_decref(document);
    return good;
}

static void provider_managed_on_answer(ac_token_request_t *token_request, const ac_token_answer_t *answer)
{
    apr_interval_time_t wait = answer->status == 200 ? -1 : wait_of(token_request, answer);
    if (wait >= 0) {
        *(answer->status == 410 ? &token_request->gone : &token_request->tries) += 1;
        ac_timer_set(token_request->loop, &token_request->timer, ac_loop_now(token_request->loop) + wait, ask_again,
                     token_request);
    } else if (answer->status != 200) {
        provider_managed_end_refused(token_request, answer);
    } else if (token_request->conf->managed == AC_IDENTITY_MANAGED_ARC && !is_whose(token_request->conf, answer)) {
        ac_token_request_end_failed(token_request, AC_UNAUTHENTICATED,
                                    "Arc's agent gave the token of another identity than the one that "
                                    "was asked for; update the agent");
    } else {
        ac_token_request_end_token(token_request, answer->body, answer->len);
    }
}

/* ---- Arc: a process that can read the key file may get the token ---- */

/* The key file's path, if it has the form of the agent's paths. */
static bool find_key_file(char *path, size_t size, const char *challenge, const char *directory)
{
    const char *realm = strcasestr(challenge, "realm=");
    if (strncasecmp(challenge, "Basic", 5) != 0 || !realm) {
        return false;
    }
    realm += strlen("realm=");
    realm += *realm == '"';
    size_t len = strcspn(realm, "\", \t"), front = strlen(directory);
    if (len >= size) {
        return false;
    }
    memcpy(path, realm, len);
    path[len] = '\0';
    return len > front + 4 && strncmp(path, directory, front) == 0 && !strchr(path + front, '/') &&
        path[front] != '.' && strcmp(path + len - 4, ".key") == 0;
}

static void provider_managed_read_key(ac_token_job_t *job)
{
    char *text = NULL, reason[120];
    size_t len = 0;
    apr_status_t status = ac_file_read(&text, &len, job->path, MAX_KEY);
    if (status != APR_SUCCESS) {
        ac_err_set_lack(&job->err, status);
        ac_err_set(&job->err, AC_UNAUTHENTICATED,
                   "the key file of Arc's agent cannot be read: %s; httpd's user has to "
                   "be in the group himds",
                   apr_strerror(status, reason, sizeof(reason)));
        return;
    }
    ac_buf_printf(&job->out, "Authorization: Basic %.*s", (int)strcspn(text, "\r\n"), text);
    OPENSSL_cleanse(text, len);
    free(text);
}

static void prove(ac_token_request_t *token_request, ac_token_job_t *job)
{
    if (job->err.kind != AC_OK) {
        ac_token_request_end_err(token_request, &job->err, false);
        return;
    }
    provider_managed_get(token_request, job->out.data, provider_managed_on_answer);
}

static void on_challenge(ac_token_request_t *token_request, const ac_token_answer_t *answer)
{
    char path[512];
    if (answer->status != 401) {
        provider_managed_on_answer(token_request, answer);
        return;
    }
    if (!find_key_file(path, sizeof(path), answer->challenge, token_request->conf->arc_keys)) {
        ac_token_request_end_failed(token_request, AC_UNAUTHENTICATED,
                                    "Arc's agent names a key file outside of its own directory");
        return;
    }
    token_request->stage = PROVING;
    ac_token_request_work(token_request, provider_managed_read_key, prove, path, false);
}

/* ---- starting ---- */

static void provider_managed_ask(ac_token_request_t *token_request)
{
    const ac_identity_conf_t *conf = token_request->conf;
    char header[4200];
    token_request->stage = ASKING;
    if (conf->managed != AC_IDENTITY_MANAGED_APP_SERVICE) {
        provider_managed_get(token_request, NULL,
                             conf->managed == AC_IDENTITY_MANAGED_ARC ? on_challenge : provider_managed_on_answer);
        return;
    }
    int len = snprintf(header, sizeof(header), "X-IDENTITY-HEADER: %s", conf->header);
    if (len >= (int)sizeof(header)) {
        ac_token_request_end_failed(token_request, AC_UNAUTHENTICATED, "the variable IDENTITY_HEADER is too long");
        return;
    }
    provider_managed_get(token_request, header, provider_managed_on_answer);
    OPENSSL_cleanse(header, sizeof(header));
}

/* Any response shows that the service exists, except for a proxy's response in its place. */
static void on_probe(ac_token_request_t *token_request, const ac_token_answer_t *answer)
{
    if (!answer->status && answer->err->kind == AC_OVERLOADED) {
        ac_token_request_end_failed(token_request, AC_OVERLOADED, "the machine was not asked: %s", answer->err->detail);
    } else if (!answer->status) {
        ac_token_request_end_absent(token_request, "no identity service on this machine (is it one of Azure's?)");
    } else if (answer->status == 403 && provider_managed_says(answer, "unreachable")) {
        ac_token_request_end_absent(token_request, "the machine's identity service is unreachable");
    } else {
        provider_managed_ask(token_request);
    }
}

static void run_managed(ac_token_request_t *token_request)
{
    if (token_request->conf->managed == AC_IDENTITY_MANAGED_UNKNOWN) {
        ac_token_request_end_absent(token_request, "Service Fabric, Cloud Shell and Azure ML are not known here");
    } else if (token_request->conf->managed == AC_IDENTITY_MANAGED_IMDS && token_request->chained) {
        token_request->stage = PROBING;
        provider_managed_get(token_request, NULL, on_probe);
    } else {
        provider_managed_ask(token_request);
    }
}

const ac_credential_provider_t ac_provider_managed = {"managed", "ManagedIdentityCredential", false, run_managed};
