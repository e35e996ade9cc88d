/* SPDX-License-Identifier: Apache-2.0 */
/* Cached credentials: keys of variables and files, tokens by scope; expiry and refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "credential_rig.h"

#define REFUSED \
    ANSWER("400 Bad Request", "", \
           "{\"error\":\"invalid_client\",\"error_description\":" \
           "\"AADSTS7000222: of " SECRET "\",\"trace_id\":\"0f-1\"}")

/* An app with a secret, whose authority is a scripted server. */
static http_server_t *start_app(credential_rig_t *rig, const server_step_t *const *scripts)
{
    http_server_t *server = http_server_start(scripts);
    set_url("AZURE_AUTHORITY_HOST", server, "/");
    setenv("AZURE_TENANT_ID", "contoso.example", 1);
    setenv("AZURE_CLIENT_ID", "11111111-2222", 1);
    setenv("AZURE_CLIENT_SECRET", SECRET "&=", 1);
    credential_rig_start(rig, "identity:environment", NULL);
    return server;
}

/* ---- keys ---- */

static void test_env(void **state)
{
    credential_rig_t *rig = *state;
    setenv("CREDENTIAL_TEST", SECRET "-1 \n", 1);
    credential_rig_start(rig, "env:CREDENTIAL_TEST", NULL);
    assert_int_equal(ac_credential_kind(rig->credential), AC_CREDENTIAL_KEY);
    assert_string_equal(ac_credential_spec(rig->credential), "env:CREDENTIAL_TEST");
    assert_string_equal(credential_rig_now(rig, NULL), SECRET "-1");
    assert_string_equal(credential_rig_get(rig, SCOPE), SECRET "-1");
    credential_rig_reject(rig, SCOPE, SECRET "-1");
    assert_string_equal(credential_rig_now(rig, SCOPE), SECRET "-1");
    unsetenv("CREDENTIAL_TEST");
}

static void test_sentences(void **state)
{
    static const struct {
        const char *spec, *options, *part;
    } rows[] = {
        {"env:NOT_THERE_AT_ALL", NULL, "the environment of httpd has no variable 'NOT_THERE_AT_ALL'"},
        {"env:EMPTY_ONE", NULL, "'env:EMPTY_ONE' is empty"},
        {"env:TWO_LINES", NULL, "more than one line"},
        {"env:EMPTY_ONE", "scope=x", "takes no option 'scope'; it has none"},
        {"file:/nonexistent/key", NULL, "'file:/nonexistent/key' cannot be read: No such file"},
        {"file:/tmp", NULL, "it is not a regular file"},
        {"file:/tmp/x", "refresh=5", "refresh='5' is not a duration"},
        {"identity", "refresh=5s", "takes no option 'refresh'; it knows client-id=, object-id="},
        {"identity", "scope=cosmos", "scope='cosmos' is not a scope; give one like https://"},
        {"identity", "tenant-id=a/b", "'a/b' is not a tenant"},
        {"identity", "client-id=a&b", "'a&b' is not the GUID"},
        {"identity", "client-id=a object-id=b", "give one of them"},
        {"identity", "resource-id=x", "begins with /subscriptions/"},
        {"identity", "authority=http://example.com", "authority=: 'http://example.com' is not an https address"},
        {"identity:cli", "object-id=a", "name a managed identity; give them with identity or identity:managed"},
        {"identity:magic", NULL,
         "'identity:magic' is not a credential provider; known are identity (each of these in turn), "
         "identity:environment, identity:workload, identity:managed, identity:cli"},
        {"identity:environment", NULL,
         "AZURE_CLIENT_ID (or client-id=), AZURE_TENANT_ID (or tenant-id=), "
         "AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH"},
        {"identity:workload", "client-id=a tenant-id=b", "does not have: AZURE_FEDERATED_TOKEN_FILE"},
        {"keyvault:http://v.vault.azure.net/secrets/n", NULL, "is not the https address"},
        {"keyvault:https://v.vault.azure.net/keys/n", NULL, "is not the address of a vault's secret"},
        {"keyvault:https://v.vault.azure.net/secrets/a_b", NULL, "is not the address of a vault's secret"},
        {"keyvault:https://v.vault.azure.net/secrets/n", "identity=magic",
         "'identity:magic' is not a credential provider"},
        {"keyvault:https://v.vault.azure.net/secrets/n", "scope=x", "takes no option 'scope'"},
    };
    credential_rig_t *rig = *state;
    setenv("EMPTY_ONE", " ", 1);
    setenv("TWO_LINES", "a\nb", 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *problem = credential_rig_make(rig, rows[i].spec, rows[i].options);
        assert_non_null(problem);
        assert_contains(problem, rows[i].part);
    }
    const char *problem = credential_rig_make(rig, SECRET, NULL);
    assert_contains(problem, "a secret must not be in the configuration");
    assert_lacks(problem, SECRET);
    setenv("AZURE_TOKEN_CREDENTIALS", "magic", 1);
    assert_contains(credential_rig_make(rig, "identity", NULL),
                    "AZURE_TOKEN_CREDENTIALS is 'magic'; known here are "
                    "prod, dev, EnvironmentCredential");
}

static void test_file_rotates(void **state)
{
    credential_rig_t *rig = *state;
    char spec[160];
    const char *path = credential_rig_file(rig, "key", SECRET "-old\n", strlen(SECRET "-old\n"), 0600);
    snprintf(spec, sizeof(spec), "file:%s", path);
    credential_rig_start(rig, spec, "refresh=1s");
    assert_string_equal(credential_rig_now(rig, NULL), SECRET "-old");
    credential_rig_file(rig, "key", SECRET "-new", strlen(SECRET "-new"), 0600);
    credential_rig_wait_log("AC0243: credential file:", 1);
    assert_string_equal(credential_rig_now(rig, NULL), SECRET "-new");
    /* The connection breaks: the key stays. */
    credential_rig_file(rig, "key", "a\nb", 3, 0600);
    credential_rig_wait_log("AC0241", 1);
    assert_string_equal(credential_rig_now(rig, NULL), SECRET "-new");
    unlink(path);
    credential_rig_file(rig, "key", SECRET "-third", strlen(SECRET "-third"), 0600);
    credential_rig_wait_log("AC0242", 1);
    assert_string_equal(credential_rig_now(rig, NULL), SECRET "-third");
}

/* A child that starts long after the configuration was read. */
static void test_file_changed_before_the_child(void **state)
{
    credential_rig_t *rig = *state;
    char spec[160];
    snprintf(spec, sizeof(spec), "file:%s", credential_rig_file(rig, "key", "one", 3, 0600));
    assert_null(credential_rig_make(rig, spec, "refresh=1d"));
    assert_string_equal(ac_credential_first(rig->credential), "one");
    credential_rig_file(rig, "key", "two", 3, 0600);
    assert_int_equal(ac_credential_child_init(rig->credential, &rig->host, NULL), APR_SUCCESS);
    rig->started = true;
    credential_rig_wait_log("AC0243", 1);
    assert_string_equal(credential_rig_now(rig, NULL), "two");
}

static void test_file_rejected(void **state)
{
    credential_rig_t *rig = *state;
    char spec[160];
    snprintf(spec, sizeof(spec), "file:%s", credential_rig_file(rig, "key", "one", 3, 0600));
    credential_rig_start(rig, spec, "refresh=1d");
    credential_rig_wait_log("fetched", 1);
    credential_rig_file(rig, "key", "two", 3, 0600);
    credential_rig_reject(rig, NULL, "one");
    assert_string_equal(credential_rig_now(rig, NULL), "");
    assert_string_equal(credential_rig_get(rig, NULL), "two");
    /* The service refuses this one, too: it is returned nevertheless, because its error is the relevant one. */
    credential_rig_reject(rig, NULL, "two");
    assert_string_equal(credential_rig_get(rig, NULL), "two");
}

/* Keys are often readable for root alone, which reads them with the configuration. */
static void test_file_of_another_user(void **state)
{
    credential_rig_t *rig = *state;
    char spec[160];
    bool root = geteuid() == 0;
    const char *path = credential_rig_file(rig, "key", SECRET, strlen(SECRET), 0600);
    snprintf(spec, sizeof(spec), "file:%s", path);
    credential_rig_start(rig, spec, "refresh=1s");
    if (root) {
        assert_int_equal(seteuid(65534), 0);
    } else {
        assert_int_equal(chmod(path, 0), 0);
    }
    credential_rig_wait_log("AC0245", 1);
    credential_rig_wait_log("fetched", 2);
    assert_string_equal(credential_rig_now(rig, NULL), SECRET);
    assert_int_equal(credential_rig_count_log("AC0245"), 1);
    assert_int_equal(credential_rig_count_log("AC0241"), 0);
    if (root) {
        assert_int_equal(seteuid(0), 0);
    }
}

/* ---- tokens ---- */

static void test_cached_by_scope(void **state)
{
    static const server_step_t first[] = {TOKEN("t1", "3600")}, second[] = {TOKEN("t2", "3600")};
    static const server_step_t *const scripts[] = {first, second, NULL};
    credential_rig_t *rig = *state;
    http_server_t *server = start_app(rig, scripts);
    assert_int_equal(ac_credential_kind(rig->credential), AC_CREDENTIAL_TOKEN);
    assert_string_equal(credential_rig_now(rig, SCOPE), "");
    assert_string_equal(credential_rig_get(rig, SCOPE), "t1");
    assert_string_equal(credential_rig_get(rig, SCOPE), "t1");
    assert_string_equal(credential_rig_now(rig, SCOPE), "t1");
    assert_string_equal(credential_rig_get(rig, "https://vault.azure.net/.default"), "t2");
    assert_string_equal(credential_rig_now(rig, SCOPE), "t1");
    assert_int_equal(http_server_requests(server), 2);
    const char *request = http_server_request(server, 0);
    assert_contains(request, "POST /contoso.example/oauth2/v2.0/token HTTP/1.1\r\n");
    assert_contains(request, "Content-Type: application/x-www-form-urlencoded\r\n");
    assert_contains(request,
                    "\r\n\r\nclient_id=11111111-2222&grant_type=client_credentials&"
                    "scope=https%3A%2F%2Fcosmos.azure.com%2F.default&client_secret=Zebra-~s3cr3t%26%3D");
    assert_contains(http_server_request(server, 1), "scope=https%3A%2F%2Fvault.azure.net%2F.default&");
    http_server_stop(server);
}

static void test_refreshed_in_time(void **state)
{
    static const server_step_t first[] = {TOKEN("t1", "4")}, second[] = {TOKEN("t2", "3600")};
    static const server_step_t *const scripts[] = {first, second, NULL};
    credential_rig_t *rig = *state;
    http_server_t *server = start_app(rig, scripts);
    assert_string_equal(credential_rig_get(rig, SCOPE), "t1");
    assert_true(http_server_wait_requests(server, 2)); /* no request yet */
    credential_rig_wait_log("fetched", 2);
    assert_string_equal(credential_rig_now(rig, SCOPE), "t2");
    http_server_stop(server);
}

static void test_single_flight(void **state)
{
    static const server_step_t first[] = {GATE(0), TOKEN("t1", "3600")};
    static const server_step_t *const scripts[] = {first, NULL};
    enum { N = 100 };
    credential_rig_t *rig = *state;
    asked_t *asked = calloc(N, sizeof(*asked));
    http_server_t *server = start_app(rig, scripts);
    for (int i = 0; i < N; i++) {
        asked_begin(&asked[i], rig, SCOPE);
    }
    assert_true(http_server_wait_requests(server, 1));
    http_server_open(server, 0);
    for (int i = 0; i < N; i++) {
        asked_wait(&asked[i]);
        assert_string_equal(asked[i].text, "t1");
        asked_free(&asked[i]);
    }
    assert_int_equal(http_server_requests(server), 1);
    free(asked);
    http_server_stop(server);
}

static void test_refresh_fails_while_old_works(void **state)
{
    static const server_step_t first[] = {
        ANSWER("200 OK", "", "{\"access_token\":\"t1\",\"expires_in\":\"3600\",\"refresh_in\":1}")};
    static const server_step_t second[] = {REFUSED}, third[] = {TOKEN("t3", "3600")};
    static const server_step_t *const scripts[] = {first, second, third, NULL};
    credential_rig_t *rig = *state;
    http_server_t *server = start_app(rig, scripts);
    assert_string_equal(credential_rig_get(rig, SCOPE), "t1");
    credential_rig_wait_log("AC0241: credential identity:environment for " SCOPE
                            ": could not be renewed, the one there is "
                            "stays in use: environment: AADSTS7000222: the client secret has expired; make a new one",
                            1);
    assert_string_equal(credential_rig_now(rig, SCOPE), "t1");
    assert_string_equal(credential_rig_get(rig, SCOPE), "t1");
    credential_rig_wait_log("AC0242", 1);
    assert_string_equal(credential_rig_now(rig, SCOPE), "t3");
    http_server_stop(server);
}

static void test_expired(void **state)
{
    static const server_step_t first[] = {TOKEN("t1", "3")}, second[] = {REFUSED};
    static const server_step_t *const scripts[] = {first, second, NULL};
    credential_rig_t *rig = *state;
    http_server_t *server = start_app(rig, scripts);
    assert_string_equal(credential_rig_get(rig, SCOPE), "t1");
    credential_rig_wait_log("AC0240", 1);
    assert_string_equal(credential_rig_now(rig, SCOPE), "");
    assert_contains(credential_rig_fail(rig, SCOPE), "AADSTS7000222");
    assert_int_equal(credential_rig_count_log("AC0240"), 1);
    http_server_stop(server);
}

/* As where a clock is wrong: it is of no use, and must not be asked for again and again. */
static void test_expires_at_once(void **state)
{
    static const server_step_t first[] = {TOKEN("t1", "1")};
    static const server_step_t *const scripts[] = {first, NULL};
    credential_rig_t *rig = *state;
    http_server_t *server = start_app(rig, scripts);
    assert_string_equal(credential_rig_fail(rig, SCOPE),
                        "the token that came is about to expire; check this machine's "
                        "clock");
    assert_contains(credential_rig_fail(rig, SCOPE), "about to expire");
    assert_int_equal(http_server_requests(server), 1);
    http_server_stop(server);
}

static void test_failure_is_kept_for_a_while(void **state)
{
    static const server_step_t first[] = {
        ANSWER("429 Too Many Requests", "Retry-After: 3000\r\n", "{\"error\":\"x y\"}")};
    static const server_step_t *const scripts[] = {first, NULL};
    credential_rig_t *rig = *state;
    http_server_t *server = start_app(rig, scripts);
    asked_t asked;
    assert_string_equal(credential_rig_fail(rig, SCOPE), "environment: HTTP 429");
    asked_begin(&asked, rig, SCOPE);
    asked_wait(&asked);
    asked_free(&asked);
    assert_int_equal(asked.err.kind, AC_UPSTREAM_ERROR);
    assert_int_equal(asked.err.http_status, 429);
    assert_true(asked.err.retry_after > apr_time_from_sec(100));
    assert_int_equal(http_server_requests(server), 1);
    http_server_stop(server);
}

static void test_rejected(void **state)
{
    static const server_step_t first[] = {TOKEN("t1", "3600")}, second[] = {TOKEN("t2", "3600")},
                               third[] = {TOKEN("t3", "3600")};
    static const server_step_t *const scripts[] = {first, second, third, NULL};
    credential_rig_t *rig = *state;
    http_server_t *server = start_app(rig, scripts);
    assert_string_equal(credential_rig_get(rig, SCOPE), "t1");
    credential_rig_reject(rig, SCOPE, "another");
    assert_string_equal(credential_rig_now(rig, SCOPE), "t1");
    credential_rig_reject(rig, SCOPE, "t1");
    assert_string_equal(credential_rig_now(rig, SCOPE), "");
    assert_string_equal(credential_rig_get(rig, SCOPE), "t2");
    credential_rig_reject(rig, SCOPE, "t1"); /* late */
    assert_string_equal(credential_rig_now(rig, SCOPE), "t2");
    apr_time_t before = ac_clock();
    credential_rig_reject(rig, SCOPE, "t2"); /* soon after: another one, but not without a pause */
    assert_string_equal(credential_rig_get(rig, SCOPE), "t3");
    assert_true(ac_clock() - before >= apr_time_from_msec(500));
    assert_int_equal(http_server_requests(server), 3);
    http_server_stop(server);
}

/* An identity service that keeps its tokens gives the same one again: nothing is won by asking it again and again. */
static void test_rejected_and_fetched_again(void **state)
{
    static const server_step_t first[] = {TOKEN("t1", "3600")}, second[] = {TOKEN("t1", "3600")};
    static const server_step_t *const scripts[] = {first, second, NULL};
    credential_rig_t *rig = *state;
    http_server_t *server = start_app(rig, scripts);
    assert_string_equal(credential_rig_get(rig, SCOPE), "t1");
    credential_rig_reject(rig, SCOPE, "t1");
    assert_string_equal(credential_rig_get(rig, SCOPE), "t1");
    credential_rig_reject(rig, SCOPE, "t1");
    assert_string_equal(credential_rig_now(rig, SCOPE), "t1");
    assert_int_equal(http_server_requests(server), 2);
    http_server_stop(server);
}

static void test_rejected_and_no_other(void **state)
{
    static const server_step_t first[] = {TOKEN("t1", "3600")}, second[] = {REFUSED};
    static const server_step_t *const scripts[] = {first, second, NULL};
    credential_rig_t *rig = *state;
    http_server_t *server = start_app(rig, scripts);
    assert_string_equal(credential_rig_get(rig, SCOPE), "t1");
    credential_rig_reject(rig, SCOPE, "t1");
    assert_contains(credential_rig_fail(rig, SCOPE), "AADSTS7000222");
    assert_string_equal(credential_rig_now(rig, SCOPE), "");
    http_server_stop(server);
}

static void never(void *baton, apr_status_t status, const char *text, const ac_err_t *err)
{
    (void)baton, (void)status, (void)text, (void)err;
    fail();
}

static void get_and_forget(void *baton)
{
    credential_rig_t *rig = baton;
    ac_credential_get(rig->credential, SCOPE, never, rig);
    ac_credential_get(rig->credential, SCOPE, never, rig);
    ac_credential_forget(rig->credential, never, rig);
}

static void test_forgotten(void **state)
{
    static const server_step_t first[] = {GATE(0), TOKEN("t1", "3600")};
    static const server_step_t *const scripts[] = {first, NULL};
    credential_rig_t *rig = *state;
    http_server_t *server = start_app(rig, scripts);
    rig_call(&rig->loop, get_and_forget, rig);
    asked_t asked;
    asked_begin(&asked, rig, SCOPE);
    http_server_open(server, 0);
    asked_wait(&asked);
    asked_free(&asked);
    assert_string_equal(asked.text, "t1");
    http_server_stop(server);
}

static void get_never(void *baton)
{
    credential_rig_t *rig = baton;
    ac_credential_get(rig->credential, SCOPE, never, rig);
}

static void test_ended_while_asked(void **state)
{
    static const server_step_t first[] = {HANG, END};
    static const server_step_t *const scripts[] = {first, NULL};
    credential_rig_t *rig = *state;
    http_server_t *server = start_app(rig, scripts);
    rig_call(&rig->loop, get_never, rig);
    assert_true(http_server_wait_requests(server, 1));
    credential_rig_stop(rig);
    assert_true(http_server_wait_gone(server, 1));
    http_server_stop(server);
}

static void stop_inside(void *baton, apr_status_t status, const char *text, const ac_err_t *err)
{
    credential_rig_t *rig = baton;
    (void)err;
    assert_int_equal(status, APR_SUCCESS);
    assert_string_equal(text, "t1");
    ac_credential_child_exit(rig->credential);
    assert_string_equal(text, "t1");
    rig->started = false;
}

static void get_and_stop(void *baton)
{
    credential_rig_t *rig = baton;
    ac_credential_get(rig->credential, SCOPE, stop_inside, rig);
    ac_credential_get(rig->credential, SCOPE, never, rig);
}

static void do_nothing(void *baton)
{
    (void)baton;
}

static void test_ended_inside_its_call(void **state)
{
    static const server_step_t first[] = {TOKEN("t1", "3600")};
    static const server_step_t *const scripts[] = {first, NULL};
    credential_rig_t *rig = *state;
    http_server_t *server = start_app(rig, scripts);
    rig_call(&rig->loop, get_and_stop, rig);
    credential_rig_wait_log("fetched", 1);
    rig_call(&rig->loop, do_nothing, NULL); /* in another turn, after its delivery */
    assert_false(rig->started);
    http_server_stop(server);
}

#define CASE(name_) cmocka_unit_test_setup_teardown(name_, credential_rig_open, credential_rig_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_env),
        CASE(test_sentences),
        CASE(test_file_rotates),
        CASE(test_file_changed_before_the_child),
        CASE(test_file_rejected),
        CASE(test_file_of_another_user),
        CASE(test_cached_by_scope),
        CASE(test_refreshed_in_time),
        CASE(test_single_flight),
        CASE(test_refresh_fails_while_old_works),
        CASE(test_expired),
        CASE(test_expires_at_once),
        CASE(test_failure_is_kept_for_a_while),
        CASE(test_rejected),
        CASE(test_rejected_and_fetched_again),
        CASE(test_rejected_and_no_other),
        CASE(test_forgotten),
        CASE(test_ended_while_asked),
        CASE(test_ended_inside_its_call),
    };
    apr_initialize();
    atexit(apr_terminate);
    return cmocka_run_group_tests_name("credential", tests, NULL, NULL);
}
