/* SPDX-License-Identifier: Apache-2.0 */
/* The providers of the credential chain, each with a scripted server or program in the place of Azure's, and the
 * chain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "credential_rig.h"

#define TENANT "contoso.example"
#define NOT_SET \
    "environment: not set: AZURE_TENANT_ID AZURE_CLIENT_ID AZURE_CLIENT_SECRET; " \
    "workload: not set: AZURE_TENANT_ID AZURE_CLIENT_ID AZURE_FEDERATED_TOKEN_FILE; "
#define NO_IMDS "managed: no identity service on this machine (is it one of Azure's?)"

static const server_step_t token_1[] = {TOKEN("t1", "3600")}, token_2[] = {TOKEN("t2", "3600")};
static const server_step_t *const one_token[] = {token_1, token_2, NULL};
static const server_step_t bare[] = {ANSWER("400 Bad Request", "", "{\"error\":\"invalid_request\"}")};
static const server_step_t none_assigned[] = {
    ANSWER("400 Bad Request", "", "{\"error\":\"invalid_request\",\"error_description\":\"Identity not found\"}")};

static void set_app(const char *tenant)
{
    setenv("AZURE_TENANT_ID", tenant, 1);
    setenv("AZURE_CLIENT_ID", "11111111-2222", 1);
}

/* An `az` in a directory of its own, the only one of PATH. body: of a shell script; NULL: no such program. */
static void set_cli(credential_rig_t *rig, const char *body)
{
    char script[2048];
    if (body) {
        int len = snprintf(script, sizeof(script), "#!/bin/sh\n%s\n", body);
        credential_rig_file(rig, "az", script, (size_t)len, 0755);
    }
    setenv("PATH", rig->directory, 1);
}

/* ---- pure parts ---- */

static void test_when(void **state)
{
    static const struct {
        const char *text;
        int64_t seconds;
    } rows[] = {
        {"1700000000", 1700000000},
        {"2023-11-14T22:13:20Z", 1700000000},
        {"2023-11-14T22:13:20.1234567+00:00", 1700000000},
        {"2023-11-14T23:13:20+01:00", 1700000000},
        {"2023-11-14 22:13:20", 1700000000},
        {"11/14/2023 22:13:20 +00:00", 1700000000},
        {"11/14/2023 10:13:20 PM +00:00", 1700000000},
        {"1/2/2024 12:00:00 AM +00:00", 1704153600},
        {"", 0},
        {"soon", 0},
        {"-5", 0},
        {"2023-11-14T22:13:20 CET", 0},
        {"9999999999999999999999", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(ac_identity_token_time(rows[i].text), rows[i].seconds);
    }
}

static void test_refresh_after(void **state)
{
    static const struct {
        int life, wish, most;
    } rows[] = {
        {3600, 0, 3300}, {3600, 1800, 1800}, {3600, 3500, 3300}, {86400, 0, 43200},
        {86400, 60, 60}, {600, 0, 300},      {100, 0, 50},       {7200, 0, 6900},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        apr_interval_time_t most = apr_time_from_sec(rows[i].most);
        apr_interval_time_t life = apr_time_from_sec(rows[i].life);
        apr_interval_time_t after = ac_identity_token_refresh_after(life, apr_time_from_sec(rows[i].wish));
        assert_true(after <= most && after >= most - most / 20 - 1);
    }
}

static void test_token_answers(void **state)
{
    static const struct {
        const char *body, *detail;
    } rows[] = {
        {"{\"access_token\":\"a\",\"expires_in\":60}", ""},
        {"{\"access_token\":\"a\",\"expires_on\":\"2099-01-01T00:00:00Z\"}", ""},
        {"{\"access_token\":\"a\",\"expires_on\":\"1700000000\"}",
         "the token has expired already; check this machine's clock"},
        {"{\"access_token\":\"a\"}", "the answer does not say when its token expires"},
        {"{\"access_token\":\"a\\nb\",\"expires_in\":60}", "the answer holds no token"},
        {"{\"access_token\":\"\",\"expires_in\":60}", "the answer holds no token"},
        {"<html>", "the answer holds no token"},
        {"[]", "the answer holds no token"},
        {"", "the answer holds no token"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *document = NULL;
        ac_credential_result_t fetched = {.text = NULL};
        ac_identity_token_read(&fetched, &document, rows[i].body, strlen(rows[i].body), 0);
        assert_string_equal(fetched.err.detail, rows[i].detail);
        assert_true(*rows[i].detail ? !fetched.text : fetched.expires > fetched.refresh);
        json_decref(document);
    }
}

static void test_token_errors(void **state)
{
    static const struct {
        int status;
        const char *body, *part;
        ac_kind_e kind;
    } rows[] = {
        {401, "{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000215: Invalid client secret\"}",
         "AADSTS7000215: the client secret is wrong; give the secret's value, not its ID", AC_UNAUTHENTICATED},
        {400, "{\"error\":\"invalid_request\",\"error_codes\":[90002]}", "AADSTS90002: there is no such tenant",
         AC_UNAUTHENTICATED},
        {400, "{\"error_description\":\"AADSTS500011: of someone@contoso.example\"}",
         "check scope=", AC_UNAUTHENTICATED},
        {400, "{\"error_description\":\"AADSTS700213: x\"}", "no federated credential", AC_UNAUTHENTICATED},
        {400, "{\"error_description\":\"AADSTS700024: x\"}", "clock", AC_UNAUTHENTICATED},
        {400, "{\"error_description\":\"AADSTS99: x\"}", "AADSTS99: the authority refused; look the code up",
         AC_UNAUTHENTICATED},
        {429, "{\"error\":\"slow_down\"}", "HTTP 429, slow_down", AC_UPSTREAM_ERROR},
        {400, "{\"error_description\":\"AADSTS50196: x\"}", "AADSTS50196", AC_UPSTREAM_ERROR},
        {503, "<html>", "HTTP 503", AC_UPSTREAM_ERROR},
        {400, "{\"error\":\"someone@contoso.example said\"}", "HTTP 400", AC_UNAUTHENTICATED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ac_err_t err;
        ac_err_init(&err);
        ac_identity_token_error(&err, rows[i].status, rows[i].body, strlen(rows[i].body));
        assert_int_equal(err.kind, rows[i].kind);
        assert_contains(err.detail, rows[i].part);
        assert_lacks(err.detail, "contoso");
    }
}

/* ---- workload ---- */

static void test_workload(void **state)
{
    credential_rig_t *rig = *state;
    http_server_t *server = http_server_start(one_token);
    set_url("AZURE_AUTHORITY_HOST", server, "");
    set_app(TENANT);
    const char *path = credential_rig_file(rig, "token", " " SECRET "1\n", strlen(SECRET) + 3, 0600);
    setenv("AZURE_FEDERATED_TOKEN_FILE", path, 1);
    credential_rig_start(rig, "identity:workload", NULL);
    assert_string_equal(credential_rig_get(rig, SCOPE), "t1");
    assert_contains(http_server_request(server, 0),
                    "&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3A"
                    "client-assertion-type%3Ajwt-bearer&client_assertion=Zebra-~s3cr3t1");
    credential_rig_file(rig, "token", SECRET "2", strlen(SECRET) + 1, 0600);
    credential_rig_reject(rig, SCOPE, "t1");
    assert_string_equal(credential_rig_get(rig, SCOPE), "t2");
    assert_contains(http_server_request(server, 1), "client_assertion=Zebra-~s3cr3t2");
    http_server_stop(server);
}

static void test_workload_without_file(void **state)
{
    credential_rig_t *rig = *state;
    set_app(TENANT);
    setenv("AZURE_FEDERATED_TOKEN_FILE", "/nonexistent/token", 1);
    credential_rig_start(rig, "identity:workload", NULL);
    assert_contains(credential_rig_fail(rig, SCOPE),
                    "workload: the file of AZURE_FEDERATED_TOKEN_FILE cannot be read: "
                    "No such");
}

static void test_authority_unreachable(void **state)
{
    credential_rig_t *rig = *state;
    set_app(TENANT);
    setenv("AZURE_CLIENT_SECRET", SECRET, 1);
    setenv("AZURE_AUTHORITY_HOST", "https://127.0.0.1:1", 1);
    credential_rig_start(rig, "identity:environment", NULL);
    assert_contains(credential_rig_fail(rig, SCOPE), "environment: the authority cannot be reached: ");
}

/* ---- the CLI ---- */

static void test_cli(void **state)
{
    credential_rig_t *rig = *state;
    char script[512], args[512] = "";
    snprintf(script, sizeof(script),
             "for a in \"$@\"; do echo \"[$a]\"; done > %s/args\n"
             "echo warning >&2\n"
             "echo '{\"accessToken\":\"t1\",\"expires_on\":4070908800,\"expiresOn\":\"2001-01-01 00:00:00.000000\"}'",
             rig->directory);
    set_cli(rig, script);
    credential_rig_start(rig, "identity:cli", "tenant-id=" TENANT);
    assert_string_equal(credential_rig_get(rig, SCOPE), "t1");
    char *path = apr_pstrcat(rig->pool, rig->directory, "/args", NULL), *text = NULL;
    size_t len = 0;
    assert_int_equal(ac_file_read(&text, &len, path, sizeof(args)), APR_SUCCESS);
    assert_string_equal(text,
                        "[account]\n[get-access-token]\n[--output]\n[json]\n[--resource]\n"
                        "[https://cosmos.azure.com]\n[--tenant]\n[" TENANT "]\n");
    free(text);
}

static void test_cli_of_an_older_version(void **state)
{
    credential_rig_t *rig = *state;
    set_cli(rig, "echo '{\"accessToken\":\"t1\",\"expiresOn\":\"2099-01-01 00:00:00.000000\"}'");
    credential_rig_start(rig, "identity:cli", NULL);
    assert_string_equal(credential_rig_get(rig, SCOPE), "t1");
}

static void test_cli_fails(void **state)
{
    static const struct {
        const char *script, *detail;
    } rows[] = {
        {NULL, "cli: 'az' is not installed"},
        {"echo \"ERROR: Please run 'az login' to setup account.\" >&2; exit 1",
         "cli: no user is signed in; run 'az login' as the user that httpd runs as"},
        {"echo 'AADSTS500011: of " SECRET "' >&2; exit 1",
         "cli: AADSTS500011: the tenant does not know the service of the scope; check scope="},
        {"echo " SECRET " >&2; exit 3", "cli: 'az' failed (it ended with 3)"},
        {"echo " SECRET, "cli: what 'az' printed holds no token"},
        {"echo '{\"accessToken\":\"t\"}'", "cli: the answer does not say when its token expires"},
    };
    credential_rig_t *rig = *state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        set_cli(rig, rows[i].script);
        credential_rig_start(rig, "identity:cli", NULL);
        assert_string_equal(credential_rig_fail(rig, SCOPE), rows[i].detail);
        credential_rig_stop(rig);
    }
}

static void nothing(void *baton, apr_status_t status, const char *text, const ac_err_t *err)
{
    (void)baton, (void)status, (void)text, (void)err;
    fail();
}

static void get_failing(void *baton)
{
    credential_rig_t *rig = baton;
    ac_credential_get(rig->credential, SCOPE, nothing, rig);
}

/* An az that never ends does not keep a child from ending. */
static void test_cli_is_stopped(void **state)
{
    credential_rig_t *rig = *state;
    char script[256];
    char *path = apr_pstrcat(rig->pool, rig->directory, "/pipe", NULL);
    assert_int_equal(mkfifo(path, 0600), 0);
    snprintf(script, sizeof(script), "echo begun > %s; read line < %s", path, path);
    set_cli(rig, script);
    credential_rig_start(rig, "identity:cli", NULL);
    rig_call(&rig->loop, get_failing, rig);
    FILE *pipe = fopen(path, "r");
    assert_non_null(pipe);
    assert_int_equal(fgetc(pipe), 'b');
    apr_time_t began = ac_clock();
    credential_rig_stop(rig);
    ac_work_destroy(rig->work);
    assert_true(ac_clock() - began < apr_time_from_sec(8));
    fclose(pipe);
    assert_int_equal(ac_work_create(&rig->work, rig->loop.loop, 1, 1, NULL), APR_SUCCESS);
}

/* ---- the chain ---- */

static void test_chain_names_each(void **state)
{
    credential_rig_t *rig = *state;
    set_cli(rig, NULL);
    credential_rig_start(rig, "identity", NULL);
    assert_string_equal(credential_rig_fail(rig, SCOPE), NOT_SET NO_IMDS "; cli: 'az' is not installed");
    credential_rig_wait_log("AC0240: credential identity for " SCOPE ": there is none: " NOT_SET, 1);
}

static void test_chain_falls_through(void **state)
{
    credential_rig_t *rig = *state;
    set_cli(rig, "echo '{\"accessToken\":\"t1\",\"expires_on\":4070908800}'");
    credential_rig_start(rig, "identity", NULL);
    assert_string_equal(credential_rig_get(rig, SCOPE), "t1");
    assert_int_equal(credential_rig_count_log("AC0244: identity: signed in by cli, which is used from now on"), 1);
}

static void test_chain_stops(void **state)
{
    static const server_step_t refused[] = {
        ANSWER("401 Unauthorized", "", "{\"error_description\":\"AADSTS7000215: x\"}")};
    static const server_step_t *const scripts[] = {refused, NULL};
    credential_rig_t *rig = *state;
    http_server_t *server = http_server_start(scripts), *imds = http_server_start(one_token);
    set_url("AZURE_AUTHORITY_HOST", server, "");
    set_url("AZURE_POD_IDENTITY_AUTHORITY_HOST", imds, "");
    set_app(TENANT);
    setenv("AZURE_CLIENT_SECRET", SECRET, 1);
    credential_rig_start(rig, "identity", NULL);
    assert_string_equal(credential_rig_fail(rig, SCOPE),
                        "environment: AADSTS7000215: the client secret is wrong; give "
                        "the secret's value, not its ID");
    assert_int_equal(http_server_requests(imds), 0);
    http_server_stop(server);
    http_server_stop(imds);
}

static void test_chain_probes_imds(void **state)
{
    static const server_step_t *const scripts[] = {bare, token_1, token_2, NULL};
    credential_rig_t *rig = *state;
    http_server_t *imds = http_server_start(scripts);
    set_url("AZURE_POD_IDENTITY_AUTHORITY_HOST", imds, "");
    setenv("AZURE_CLIENT_ID", "cccc", 1);
    credential_rig_start(rig, "identity", NULL);
    assert_string_equal(credential_rig_get(rig, SCOPE), "t1");
    assert_lacks(http_server_request(imds, 0), "Metadata");
    assert_contains(http_server_request(imds, 1), "Metadata: true\r\n");
    assert_contains(http_server_request(imds, 1), "&client_id=cccc ");
    assert_string_equal(credential_rig_get(rig, "https://vault.azure.net/.default"), "t2");
    assert_int_equal(http_server_requests(imds), 3); /* it is kept to, and not probed again */
    http_server_stop(imds);
}

/* Without any answer, or with an answer of another service, the provider fails soon. */
static void test_chain_without_imds(void **state)
{
    static const server_step_t silent[] = {HANG, END};
    static const server_step_t proxy[] = {ANSWER("403 Forbidden", "", "connecting to 169.254.169.254:80: unreachable")};
    static const server_step_t *const scripts[] = {silent, NULL}, *const others[] = {proxy, NULL};
    static const server_step_t *const third[] = {bare, none_assigned, NULL};
    credential_rig_t *rig = *state;
    set_cli(rig, NULL);
    http_server_t *imds = http_server_start(scripts);
    set_url("AZURE_POD_IDENTITY_AUTHORITY_HOST", imds, "");
    credential_rig_start(rig, "identity", NULL);
    apr_time_t began = ac_clock();
    assert_string_equal(credential_rig_fail(rig, SCOPE), NOT_SET NO_IMDS "; cli: 'az' is not installed");
    assert_true(ac_clock() - began < apr_time_from_sec(8));
    credential_rig_stop(rig);
    http_server_stop(imds);
    imds = http_server_start(others);
    set_url("AZURE_POD_IDENTITY_AUTHORITY_HOST", imds, "");
    credential_rig_start(rig, "identity", NULL);
    assert_contains(credential_rig_fail(rig, SCOPE), "managed: the machine's identity service is unreachable; cli:");
    credential_rig_stop(rig);
    http_server_stop(imds);
    imds = http_server_start(third);
    set_url("AZURE_POD_IDENTITY_AUTHORITY_HOST", imds, "");
    credential_rig_start(rig, "identity", NULL);
    assert_contains(credential_rig_fail(rig, SCOPE), "this machine has no managed identity (HTTP 400)");
    http_server_stop(imds);
}

/* The error log has the details that an answer to a client has no room for: every provider that was tried. */
static void test_chain_reports_every_provider(void **state)
{
    static const server_step_t *const scripts[] = {bare, none_assigned, NULL};
    credential_rig_t *rig = *state;
    set_cli(rig, "echo \"ERROR: Please run 'az login' to setup account.\" >&2; exit 1");
    http_server_t *imds = http_server_start(scripts);
    set_url("AZURE_POD_IDENTITY_AUTHORITY_HOST", imds, "");
    credential_rig_start(rig, "identity", NULL);
    assert_contains(credential_rig_fail(rig, SCOPE),
                    NOT_SET "managed: this machine has no managed identity (HTTP 400); ");
    credential_rig_wait_log(
        "there is none: " NOT_SET "managed: this machine has no managed identity (HTTP 400); assign one, or name one "
        "with client-id=; cli: no user is signed in; run 'az login' as the user that httpd runs as\n",
        1);
    http_server_stop(imds);
}

static void test_chain_narrowed(void **state)
{
    static const struct {
        const char *value, *detail;
    } rows[] = {
        {"prod", NOT_SET NO_IMDS},
        {"DEV", "cli: 'az' is not installed"},
        {"AzureCliCredential", "cli: 'az' is not installed"},
        {"environmentcredential", "environment: not set: AZURE_TENANT_ID AZURE_CLIENT_ID AZURE_CLIENT_SECRET"},
    };
    credential_rig_t *rig = *state;
    set_cli(rig, NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        setenv("AZURE_TOKEN_CREDENTIALS", rows[i].value, 1);
        credential_rig_start(rig, "identity", NULL);
        assert_string_equal(credential_rig_fail(rig, SCOPE), rows[i].detail);
        credential_rig_stop(rig);
    }
}

static char *first_path;

static int open_rig(void **state)
{
    first_path = strdup(getenv("PATH"));
    return credential_rig_open(state);
}

static int close_rig(void **state)
{
    setenv("PATH", first_path, 1);
    free(first_path);
    return credential_rig_close(state);
}

#define CASE(name_) cmocka_unit_test_setup_teardown(name_, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_when),
        cmocka_unit_test(test_refresh_after),
        cmocka_unit_test(test_token_answers),
        cmocka_unit_test(test_token_errors),
        CASE(test_workload),
        CASE(test_workload_without_file),
        CASE(test_authority_unreachable),
        CASE(test_cli),
        CASE(test_cli_of_an_older_version),
        CASE(test_cli_fails),
        CASE(test_cli_is_stopped),
        CASE(test_chain_names_each),
        CASE(test_chain_falls_through),
        CASE(test_chain_stops),
        CASE(test_chain_probes_imds),
        CASE(test_chain_without_imds),
        CASE(test_chain_reports_every_provider),
        CASE(test_chain_narrowed),
    };
    apr_initialize();
    atexit(apr_terminate);
    return cmocka_run_group_tests_name("identity", tests, NULL, NULL);
}
