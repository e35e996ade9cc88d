/* SPDX-License-Identifier: Apache-2.0 */
/* Managed identities: App Service, IMDS and Arc, each a scripted server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_strings.h>

#include "credential_rig.h"

static const server_step_t token_1[] = {TOKEN("t1", "3600")};
static const server_step_t none_assigned[] = {
    ANSWER("400 Bad Request", "", "{\"error\":\"invalid_request\",\"error_description\":\"Identity not found\"}")};

static void test_app_service(void **state)
{
    static const server_step_t first[] = {ANSWER("503 Starting", "Retry-After: 0\r\nretry-after-ms: 5\r\n", "{}")};
    static const server_step_t second[] = {
        ANSWER("200 OK", "", "{\"access_token\":\"t1\",\"expires_on\":\"2099-01-01T00:00:00Z\",\"resource\":\"x\"}")};
    static const server_step_t *const scripts[] = {first, second, NULL};
    credential_rig_t *rig = *state;
    http_server_t *server = http_server_start(scripts);
    set_url("IDENTITY_ENDPOINT", server, "/msi/token/");
    setenv("IDENTITY_HEADER", SECRET "-header", 1);
    setenv("AZURE_CLIENT_ID", "the-app-s-own", 1);
    credential_rig_start(rig, "identity:managed", "resource-id=/subscriptions/1/x");
    assert_string_equal(credential_rig_get(rig, SCOPE), "t1");
    const char *request = http_server_request(server, 1);
    assert_contains(request,
                    "GET /msi/token/?api-version=2019-08-01&resource=https%3A%2F%2Fcosmos.azure.com&"
                    "mi_res_id=%2Fsubscriptions%2F1%2Fx HTTP/1.1\r\n");
    assert_contains(request, "\r\nX-IDENTITY-HEADER: " SECRET "-header\r\n");
    assert_lacks(request, "Metadata");
    http_server_stop(server);
}

static void test_imds(void **state)
{
    static const server_step_t gone[] = {ANSWER("410 Gone", "retry-after-ms: 5\r\n", "")};
    static const server_step_t missing[] = {ANSWER("404 Not Found", "retry-after-ms: 5\r\n", "")};
    static const server_step_t *const scripts[] = {gone, gone, gone, gone, gone, missing, token_1, NULL};
    static const server_step_t *const always[] = {gone, NULL}, *const nowhere[] = {missing, NULL};
    credential_rig_t *rig = *state;
    http_server_t *server = http_server_start(scripts);
    set_url("AZURE_POD_IDENTITY_AUTHORITY_HOST", server, "/");
    credential_rig_start(rig, "identity:managed", "object-id=aaaa-bbbb");
    assert_string_equal(credential_rig_get(rig, SCOPE), "t1");
    assert_contains(http_server_request(server, 6),
                    "GET /metadata/identity/oauth2/token?api-version=2018-02-01&"
                    "resource=https%3A%2F%2Fcosmos.azure.com&object_id=aaaa-bbbb HTTP/1.1\r\n");
    assert_contains(http_server_request(server, 6), "\r\nMetadata: true\r\n");
    http_server_stop(server);
    credential_rig_stop(rig);
    server = http_server_start(always);
    set_url("AZURE_POD_IDENTITY_AUTHORITY_HOST", server, "/");
    credential_rig_start(rig, "identity:managed", NULL);
    assert_contains(credential_rig_fail(rig, SCOPE), "managed: HTTP 410");
    assert_int_equal(http_server_requests(server), 8);
    http_server_stop(server);
    credential_rig_stop(rig);
    server = http_server_start(nowhere);
    set_url("AZURE_POD_IDENTITY_AUTHORITY_HOST", server, "/");
    credential_rig_start(rig, "identity:managed", NULL);
    assert_contains(credential_rig_fail(rig, SCOPE), "managed: HTTP 404");
    assert_int_equal(http_server_requests(server), 4);
    http_server_stop(server);
}

static void test_imds_without_identity(void **state)
{
    static const server_step_t *const scripts[] = {none_assigned, NULL};
    credential_rig_t *rig = *state;
    http_server_t *server = http_server_start(scripts);
    set_url("AZURE_POD_IDENTITY_AUTHORITY_HOST", server, "");
    credential_rig_start(rig, "identity:managed", NULL);
    assert_string_equal(credential_rig_fail(rig, SCOPE),
                        "managed: this machine has no managed identity (HTTP 400); "
                        "assign one, or name one with client-id=");
    assert_int_equal(http_server_requests(server), 1);
    http_server_stop(server);
}

/* ---- Arc ---- */

static const server_step_t arc_token[] = {
    ANSWER("200 OK", "", "{\"access_token\":\"t1\",\"expires_on\":\"4070908800\",\"client_id\":\"aaaa\"}")};

/* Starts it with an agent that names this key file. */
static http_server_t *start_arc(credential_rig_t *rig, const char *key, const char *options,
                                const server_step_t **scripts)
{
    char *challenge = apr_psprintf(rig->pool,
                                   "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=%s\r\n"
                                   "Content-Length: 0\r\n\r\n",
                                   key);
    server_step_t *first = apr_pcalloc(rig->pool, 2 * sizeof(*first));
    first[0] = (server_step_t)SEND(challenge);
    scripts[0] = first;
    scripts[1] = arc_token;
    scripts[2] = NULL;
    http_server_t *server = http_server_start(scripts);
    set_url("IDENTITY_ENDPOINT", server, "/arc");
    setenv("IMDS_ENDPOINT", "http://127.0.0.1:1", 1);
    assert_null(credential_rig_make(rig, "identity:managed", options));
    ac_credential_chain_conf(ac_credential_spec_identity(rig->credential))->arc_keys =
        apr_pstrcat(rig->pool, rig->directory, "/", NULL);
    assert_int_equal(ac_credential_child_init(rig->credential, &rig->host, NULL), APR_SUCCESS);
    rig->started = true;
    return server;
}

static void test_arc(void **state)
{
    credential_rig_t *rig = *state;
    const server_step_t *scripts[3];
    const char *key = credential_rig_file(rig, "a.key", SECRET "-arc\n", strlen(SECRET) + 5, 0600);
    http_server_t *server = start_arc(rig, key, "client-id=AAAA", scripts);
    assert_string_equal(credential_rig_get(rig, SCOPE), "t1");
    assert_contains(http_server_request(server, 0),
                    "GET /arc?api-version=2020-06-01&resource=https%3A%2F%2F"
                    "cosmos.azure.com&client_id=AAAA HTTP/1.1\r\n");
    assert_contains(http_server_request(server, 0), "\r\nMetadata: true\r\n");
    assert_contains(http_server_request(server, 1), "\r\nAuthorization: Basic " SECRET "-arc\r\n");
    http_server_stop(server);
}

static void test_arc_gives_another(void **state)
{
    credential_rig_t *rig = *state;
    const server_step_t *scripts[3];
    http_server_t *server = start_arc(rig, credential_rig_file(rig, "a.key", "k", 1, 0600), "client-id=bbbb", scripts);
    assert_contains(credential_rig_fail(rig, SCOPE), "gave the token of another identity");
    http_server_stop(server);
}

static void test_arc_names_foreign_files(void **state)
{
    static const char *const names[] = {
        "/etc/passwd", "/etc/x.key",   "/etc/a-key-file-with-a-name-that-is-long-enough.key",
        "%s/../x.key", "%s/sub/x.key", "%s/.key",
        "%s/x.pem",    "%sx/x.key",    "relative.key",
    };
    credential_rig_t *rig = *state;
    const server_step_t *scripts[3];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *rest = names[i][0] == '%' ? names[i] + 2 : names[i];
        const char *key = apr_pstrcat(rig->pool, names[i][0] == '%' ? rig->directory : "", rest, NULL);
        http_server_t *server = start_arc(rig, key, NULL, scripts);
        assert_string_equal(credential_rig_fail(rig, SCOPE),
                            "managed: Arc's agent names a key file outside of its "
                            "own directory");
        assert_int_equal(http_server_requests(server), 1);
        credential_rig_stop(rig);
        http_server_stop(server);
    }
}

static void test_arc_key_too_long(void **state)
{
    credential_rig_t *rig = *state;
    const server_step_t *scripts[3];
    char *key = calloc(1, 5000);
    memset(key, 'k', 4999);
    http_server_t *server = start_arc(rig, credential_rig_file(rig, "a.key", key, 4999, 0600), NULL, scripts);
    assert_contains(credential_rig_fail(rig, SCOPE), "the key file of Arc's agent cannot be read");
    free(key);
    http_server_stop(server);
}

#define CASE(name_) cmocka_unit_test_setup_teardown(name_, credential_rig_open, credential_rig_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_app_service),           CASE(test_imds),
        CASE(test_imds_without_identity), CASE(test_arc),
        CASE(test_arc_gives_another),     CASE(test_arc_names_foreign_files),
        CASE(test_arc_key_too_long),
    };
    apr_initialize();
    atexit(apr_terminate);
    return cmocka_run_group_tests_name("identity_managed", tests, NULL, NULL);
}
