/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of any authorization server for this server itself: the grant "client credentials". Source: RFC 6749, 4.4 and
 * 2.3.1; RFC 8707 for `resource`. */
#include "credential_internal.h"

#include <apr_strings.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#define CONNECT_TIMEOUT apr_time_from_sec(5)
#define TOTAL_TIMEOUT apr_time_from_sec(30)
#define RETRIES 3
#define MAX_FORM (16 * 1024)
#define LIFE apr_time_from_sec(300) /* of a token whose answer does not say when it expires */

typedef struct oauth_client_t {
    ac_identity_conf_t conf; /* first: what a token request knows */
    const char *url, *client_id, *scope, *resource;
    bool basic; /* the secret is in a header, and not in the form */
    ac_credential_t *secret;
    ac_loop_t *loop;
    ac_work_t *work;
} oauth_client_t;

/* ---- a request ---- */

static void oauth_client_on_answer(ac_token_request_t *token_request, const ac_token_answer_t *answer)
{
    ac_err_t err;
    ac_err_init(&err);
    if (!answer->status) {
        ac_token_request_end_failed(token_request, answer->err->kind, "the authorization server cannot be reached: %s",
                                    answer->err->detail);
    } else if (answer->status == 200) {
        token_request->life = LIFE;
        ac_token_request_end_token(token_request, answer->body, answer->len);
    } else {
        ac_identity_token_error(&err, answer->status, answer->body, answer->len);
        err.retry_after = answer->err->retry_after;
        ac_token_request_end_err(token_request, &err, false);
    }
}

static void add_basic(ac_buf_t *line, const oauth_client_t *client, const char *secret)
{
    ac_buf_t pair;
    ac_buf_init(&pair, MAX_FORM);
    ac_token_request_add_encoded(&pair, client->client_id);
    ac_buf_str(&pair, ":");
    ac_token_request_add_encoded(&pair, secret);
    char *encoded = ac_alloc(pair.len / 3 * 4 + 5);
    EVP_EncodeBlock((unsigned char *)encoded, (const unsigned char *)pair.data, (int)pair.len);
    ac_buf_printf(line, "Authorization: Basic %s", encoded);
    OPENSSL_cleanse(encoded, strlen(encoded));
    OPENSSL_cleanse(pair.data, pair.len);
    free(encoded);
    ac_buf_free(&pair);
}

static void make_form(ac_buf_t *form, const oauth_client_t *client, const char *secret)
{
    ac_token_request_add_field(form, "grant_type", "client_credentials");
    if (client->scope) {
        ac_token_request_add_field(form, "scope", client->scope);
    }
    if (client->resource) {
        ac_token_request_add_field(form, "resource", client->resource);
    }
    if (!client->basic) {
        ac_token_request_add_field(form, "client_id", client->client_id);
        ac_token_request_add_field(form, "client_secret", secret);
    }
}

static void oauth_client_wipe(ac_buf_t *buf)
{
    if (buf->data) {
        OPENSSL_cleanse(buf->data, buf->len);
    }
    ac_buf_free(buf);
}

static void run_oauth_client(ac_token_request_t *token_request)
{
    const oauth_client_t *client = (const oauth_client_t *)token_request->conf;
    const char *secret = ac_credential_now(client->secret, NULL);
    ac_buf_t form, line;
    if (!secret) {
        ac_token_request_end_failed(token_request, AC_UNAUTHENTICATED, "the client's secret cannot be read");
        return;
    }
    ac_buf_init(&form, MAX_FORM);
    ac_buf_init(&line, 2 * MAX_FORM);
    make_form(&form, client, secret);
    if (client->basic) {
        add_basic(&line, client, secret);
    }
    const char *headers[] = {"Content-Type: application/x-www-form-urlencoded", "Accept: application/json", line.data,
                             NULL};
    ac_http_request_t request = {
        .method = "POST",
        .url = client->url,
        .headers = headers,
        .body = form.data,
        .body_len = form.len,
        .connect_timeout = CONNECT_TIMEOUT,
        .total_timeout = TOTAL_TIMEOUT,
        .retries = RETRIES,
    };
    if (form.failed || line.failed) {
        ac_token_request_end_failed(token_request, AC_UNAUTHENTICATED, "what has to be sent is too long");
    } else {
        ac_token_request_http(token_request, &request, oauth_client_on_answer);
    }
    oauth_client_wipe(&form);
    oauth_client_wipe(&line);
}

/* ---- the source ---- */

static const ac_credential_provider_t oauth_client_provider = {"oauth", "ClientCredentials", true, run_oauth_client};

static void *oauth_client_start(void *source, const char *scope, ac_credential_result_fn *done, void *baton)
{
    oauth_client_t *client = source;
    ac_token_ask_t ask = {.conf = &client->conf, .scope = scope, .loop = client->loop, .work = client->work};
    return ac_token_request_start(&oauth_client_provider, &ask, done, baton);
}

static void oauth_client_cancel(void *fetch)
{
    ac_token_request_cancel(fetch);
}

static apr_status_t oauth_client_child_init(void *source, const ac_host_t *host, ac_err_t *err)
{
    oauth_client_t *client = source;
    client->loop = host->loop;
    client->work = host->work;
    return ac_credential_child_init(client->secret, host, err);
}

static void oauth_client_child_exit(void *source)
{
    ac_credential_child_exit(((oauth_client_t *)source)->secret);
}

const ac_credential_source_vt ac_oauth_client_source = {oauth_client_start, oauth_client_cancel,
                                                        oauth_client_child_init, oauth_client_child_exit};

/* ---- configuration ---- */

static const char *set_secret(oauth_client_t *client, const char *spec, apr_pool_t *p)
{
    if (!spec || (strncmp(spec, "env:", 4) != 0 && strncmp(spec, "file:", 5) != 0)) {
        return "oauth needs client-secret=env:NAME or client-secret=file:PATH"; /* a misplaced secret is not repeated */
    }
    const char *problem = ac_credential_spec_create(&client->secret, spec, NULL, p);
    return problem ? apr_pstrcat(p, "client-secret=: ", problem, NULL) : NULL;
}

const char *ac_oauth_client_create(void **psource, const char *url, const apr_table_t *options, apr_pool_t *p)
{
    static const char *const known[] = {"client-id", "client-secret", "scope", "resource", "auth", NULL};
    oauth_client_t *client = *psource = apr_pcalloc(p, sizeof *client);
    const char *auth = options ? apr_table_get(options, "auth") : NULL;
    const char *problem = ac_credential_spec_only(options, known, "oauth", p);
    if (problem) {
        return problem;
    }
    if (!ac_http_address_url_valid(url) || !ac_identity_conf_address_safe(url)) {
        return apr_psprintf(p, "oauth: '%s' is not the https address of a token endpoint", url);
    }
    if (auth && strcmp(auth, "basic") != 0 && strcmp(auth, "post") != 0) {
        return apr_psprintf(p, "auth='%s' is not a way to send the secret; accepted are basic, post", auth);
    }
    client->url = apr_pstrdup(p, url);
    client->basic = !auth || strcmp(auth, "basic") == 0;
    client->client_id = options ? apr_pstrdup(p, apr_table_get(options, "client-id")) : NULL;
    client->scope = options ? apr_pstrdup(p, apr_table_get(options, "scope")) : NULL;
    client->resource = options ? apr_pstrdup(p, apr_table_get(options, "resource")) : NULL;
    if (!client->client_id) {
        return "oauth needs client-id=";
    }
    return set_secret(client, apr_table_get(options, "client-secret"), p);
}
