/* SPDX-License-Identifier: Apache-2.0 */
/* A key in a vault: read with a token, by challenge if no tenant is known, read again, and the errors of a refusal.
 * The vault is a scripted server under a name of this machine, kv.localhost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_strings.h>

#include "credential_rig.h"

#define VALUE(value_) ANSWER("200 OK", "", "{\"value\":\"" value_ "\",\"id\":\"x\",\"attributes\":{\"enabled\":true}}")

static const server_step_t token_1[] = {TOKEN("t1", "3600")}, token_2[] = {TOKEN("t2", "3600")};
static const server_step_t *const tokens[] = {token_1, token_2, NULL};

typedef struct vault_rig_t {
    http_server_t *authority, *vault;
} vault_rig_t;

static vault_rig_t start_vault(credential_rig_t *rig, const server_step_t *const *scripts, const char *options)
{
    vault_rig_t servers = {http_server_start(tokens), http_server_start(scripts)};
    char spec[128];
    set_url("AZURE_AUTHORITY_HOST", servers.authority, "");
    setenv("AZURE_CLIENT_ID", "1111", 1);
    setenv("AZURE_CLIENT_SECRET", SECRET "-app", 1);
    snprintf(spec, sizeof(spec), "keyvault:http://kv.localhost:%d/secrets/model-key", http_server_port(servers.vault));
    credential_rig_start(rig, spec, options);
    return servers;
}

static void stop_vault(credential_rig_t *rig, vault_rig_t *servers)
{
    credential_rig_stop(rig);
    http_server_stop(servers->authority);
    http_server_stop(servers->vault);
}

static void test_read_at_start(void **state)
{
    static const server_step_t first[] = {VALUE(SECRET "-1\\n")};
    static const server_step_t *const scripts[] = {first, NULL};
    credential_rig_t *rig = *state;
    vault_rig_t servers = start_vault(rig, scripts, "tenant-id=contoso.example");
    assert_int_equal(ac_credential_kind(rig->credential), AC_CREDENTIAL_KEY);
    assert_true(http_server_wait_requests(servers.vault, 1)); /* no request yet */
    assert_string_equal(credential_rig_get(rig, NULL), SECRET "-1");
    assert_string_equal(credential_rig_now(rig, NULL), SECRET "-1");
    assert_int_equal(http_server_requests(servers.vault), 1);
    const char *request = http_server_request(servers.vault, 0);
    assert_contains(request, "GET /secrets/model-key?api-version=7.4 HTTP/1.1\r\n");
    assert_contains(request, "\r\nAuthorization: Bearer t1\r\n");
    assert_contains(http_server_request(servers.authority, 0), "POST /contoso.example/oauth2/v2.0/token ");
    assert_contains(http_server_request(servers.authority, 0), "&scope=http%3A%2F%2Flocalhost%2F.default&");
    stop_vault(rig, &servers);
}

static void test_rotated(void **state)
{
    static const server_step_t first[] = {VALUE(SECRET "-1")}, second[] = {VALUE(SECRET "-2")};
    static const server_step_t broken[] = {ANSWER("404 Not Found", "", "{\"error\":{\"code\":\"SecretNotFound\"}}")};
    static const server_step_t third[] = {VALUE(SECRET "-3")};
    static const server_step_t *const scripts[] = {first, second, broken, third, NULL};
    credential_rig_t *rig = *state;
    vault_rig_t servers = start_vault(rig, scripts, "tenant-id=contoso.example refresh=1s");
    assert_string_equal(credential_rig_get(rig, NULL), SECRET "-1");
    credential_rig_wait_log("AC0243", 1);
    credential_rig_wait_log("AC0241: credential keyvault:http://kv.localhost", 1);
    assert_string_equal(credential_rig_now(rig, NULL), SECRET "-2");
    credential_rig_wait_log("AC0242", 1);
    credential_rig_wait_log("AC0243", 2);
    assert_string_equal(credential_rig_now(rig, NULL), SECRET "-3");
    assert_int_equal(http_server_requests(servers.authority), 1);
    stop_vault(rig, &servers);
}

static void test_rejected(void **state)
{
    static const server_step_t first[] = {VALUE("one")}, second[] = {VALUE("two")};
    static const server_step_t *const scripts[] = {first, second, NULL};
    credential_rig_t *rig = *state;
    vault_rig_t servers = start_vault(rig, scripts, "tenant-id=contoso.example");
    assert_string_equal(credential_rig_get(rig, NULL), "one");
    credential_rig_reject(rig, NULL, "one");
    assert_string_equal(credential_rig_get(rig, NULL), "two");
    stop_vault(rig, &servers);
}

/* What a vault without a token answers. */
static const server_step_t *make_challenge(credential_rig_t *rig, const char *value)
{
    server_step_t *steps = apr_pcalloc(rig->pool, 3 * sizeof(*steps));
    const char *text = apr_psprintf(rig->pool,
                                    "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: %s\r\n"
                                    "Content-Length: 0\r\nConnection: close\r\n\r\n",
                                    value);
    steps[0] = (server_step_t)SEND(text);
    steps[1] = (server_step_t)CUT;
    return steps;
}

static void test_challenge(void **state)
{
    static const server_step_t value[] = {VALUE("one")};
    credential_rig_t *rig = *state;
    const server_step_t *scripts[] = {
        make_challenge(rig,
                       "Bearer authorization=\"https://127.0.0.1/from.the.vault\", "
                       "resource=\"https://localhost\""),
        value,
        NULL,
    };
    vault_rig_t servers = start_vault(rig, scripts, NULL);
    assert_string_equal(credential_rig_get(rig, NULL), "one");
    assert_lacks(http_server_request(servers.vault, 0), "Authorization");
    assert_contains(http_server_request(servers.vault, 1), "\r\nAuthorization: Bearer t1\r\n");
    assert_contains(http_server_request(servers.authority, 0), "POST /from.the.vault/oauth2/v2.0/token ");
    assert_contains(http_server_request(servers.authority, 0), "&scope=https%3A%2F%2Flocalhost%2F.default&");
    stop_vault(rig, &servers);
}

static void test_challenge_for_another(void **state)
{
    static const struct {
        const char *challenge, *detail;
    } rows[] = {
        {"Bearer authorization=\"https://127.0.0.1/t\", resource=\"https://vault.azure.net\"",
         "the vault requires a token for another service"},
        {"Bearer authorization=\"https://127.0.0.1/t\", resource=\"https://calhost\"",
         "the vault requires a token for another service"},
        {"Bearer authorization=\"https://login.example/t\", resource=\"https://localhost\"",
         "the vault belongs to another cloud than authority= (or AZURE_AUTHORITY_HOST) says"},
        {"Bearer authorization=\"https://127.0.0.1/a%20b\", scope=\"https://localhost/.default\"",
         "the vault requires a token and does not name its tenant"},
        {"Bearer resource=\"https://localhost\"", "the vault requires a token and does not name its tenant"},
        {"Bearer authorization=\"https://127.0.0.1/t\", resource=\"https://\tlocalhost\"",
         "the vault requires a token for a resource that is not an address"},
        {"Bearer authorization=\"https://127.0.0.1/t\"", "the vault requires a token and does not name its resource"},
    };
    credential_rig_t *rig = *state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const server_step_t *scripts[] = {make_challenge(rig, rows[i].challenge), NULL};
        vault_rig_t servers = start_vault(rig, scripts, NULL);
        assert_string_equal(credential_rig_fail(rig, NULL), rows[i].detail);
        assert_int_equal(http_server_requests(servers.authority), 0);
        stop_vault(rig, &servers);
    }
}

/* The token that we had is refused: another one, once. */
static void test_token_refused(void **state)
{
    credential_rig_t *rig = *state;
    const server_step_t *challenge = make_challenge(rig,
                                                    "Bearer authorization=\"https://127.0.0.1/t\", "
                                                    "resource=\"http://localhost\"");
    const server_step_t *scripts[] = {challenge, challenge, NULL};
    vault_rig_t servers = start_vault(rig, scripts, "tenant-id=contoso.example");
    assert_contains(credential_rig_fail(rig, NULL),
                    "the vault does not take the identity's token; check tenant-id= "
                    "and client-id= (HTTP 401)");
    assert_int_equal(http_server_requests(servers.vault), 2);
    assert_contains(http_server_request(servers.vault, 0), "Bearer t1\r\n");
    assert_contains(http_server_request(servers.vault, 1), "Bearer t2\r\n");
    assert_contains(http_server_request(servers.authority, 1), "POST /contoso.example/");
    stop_vault(rig, &servers);
}

static void test_refused(void **state)
{
    static const server_step_t role[] = {ANSWER("403 Forbidden", "",
                                                "{\"error\":{\"code\":\"Forbidden\",\"message\":\"" SECRET
                                                "\",\"innererror\":"
                                                "{\"code\":\"ForbiddenByRbac\"}}}")};
    static const server_step_t wall[] = {ANSWER("403 Forbidden", "",
                                                "{\"error\":{\"code\":\"Forbidden\",\"innererror\":"
                                                "{\"code\":\"ForbiddenByFirewall\"}}}")};
    static const server_step_t gone[] = {ANSWER("404 Not Found", "", "{\"error\":{\"code\":\"SecretNotFound\"}}")};
    static const server_step_t lines[] = {VALUE("a\\nb")}, odd[] = {ANSWER("200 OK", "", "[]")};
    static const struct {
        const server_step_t *script;
        const char *detail;
    } rows[] = {
        {role,
         "the identity may not read the vault's secrets; give it the role Key Vault Secrets User (HTTP 403, "
         "ForbiddenByRbac)"},
        {wall, "the vault's network rules do not let this machine in (HTTP 403, ForbiddenByFirewall)"},
        {gone, "the vault has no such secret; check its name (HTTP 404, SecretNotFound)"},
        {lines, "the vault's secret has more than one line, or a control character"},
        {odd, "the vault's answer holds no secret"},
    };
    credential_rig_t *rig = *state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const server_step_t *scripts[] = {rows[i].script, NULL};
        vault_rig_t servers = start_vault(rig, scripts, "tenant-id=contoso.example");
        assert_string_equal(credential_rig_fail(rig, NULL), rows[i].detail);
        stop_vault(rig, &servers);
    }
}

/* The vault's own authentication failure is reported as that of the key. */
static void test_no_token(void **state)
{
    credential_rig_t *rig = *state;
    setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential", 1);
    credential_rig_start(rig, "keyvault:http://kv.localhost:1/secrets/n", "tenant-id=contoso.example client-id=1");
    assert_string_equal(credential_rig_fail(rig, NULL), "environment: not set: AZURE_CLIENT_SECRET");
    assert_int_equal(credential_rig_count_log("AC0240"), 1);
}

#define CASE(name_) cmocka_unit_test_setup_teardown(name_, credential_rig_open, credential_rig_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_read_at_start),         CASE(test_rotated),       CASE(test_rejected), CASE(test_challenge),
        CASE(test_challenge_for_another), CASE(test_token_refused), CASE(test_refused),  CASE(test_no_token),
    };
    apr_initialize();
    atexit(apr_terminate);
    return cmocka_run_group_tests_name("keyvault", tests, NULL, NULL);
}
