/* SPDX-License-Identifier: Apache-2.0 */
/* The target of an exchange: redirects and their headers, private addresses, trusted
 * certificates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http_play.h"
#include "io/io_internal.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

#define OK_HELLO "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

extern char **environ;

static http_server_t *elsewhere;
static char location[256];
static const server_step_t hello[] = {SEND(OK_HELLO), END};

static int set_up(void **state)
{
    static const server_step_t *const scripts[] = {hello, NULL};
    elsewhere = http_server_start(scripts);
    return play_set_up(state);
}

static int tear_down(void **state)
{
    int status = play_tear_down(state);
    http_server_stop(elsewhere);
    return status;
}

static const char *const secrets[] = {
    "Authorization: Bearer sk-1", "api-key: k", "X-Custom: c", "Content-Type: application/json", "Accept: text/x", NULL,
};

/* The first request is answered with status and a location, the others well. */
static void play_redirect(const char *status, const char *where)
{
    static server_step_t redirect[2];
    static const server_step_t *const scripts[] = {redirect, hello, NULL};
    snprintf(location, sizeof(location), "HTTP/1.1 %s\r\nLocation: %s\r\nContent-Length: 4\r\n\r\ngone", status, where);
    redirect[0] = (server_step_t)SEND(location);
    play_scripts(scripts, "/a/b");
    exchange.request.method = "POST";
    exchange.request.body = "secret body";
    exchange.request.body_len = 11;
    exchange.request.headers = secrets;
    exchange.request.max_redirects = 3;
}

static void expect_hello(void)
{
    assert_string_equal(exchange.err.detail, "");
    assert_int_equal(exchange.status, 200);
    assert_int_equal(exchange.n_heads, 1);
    assert_string_equal(exchange.body, "hello");
}

static void test_redirect_to_get(void **state)
{
    (void)state;
    static const char *const statuses[] = {"301 Moved", "302 Found", "303 See Other"};
    for (int i = 0; i < 3; i++) {
        play_redirect(statuses[i], "../c?d=1#frag");
        exchange_run(&exchange);
        expect_hello();
        const char *sent = http_server_request(server, 1);
        assert_memory_equal(sent, "GET /c?d=1 HTTP/1.1\r\n", 21);
        assert_non_null(strstr(sent, "\r\nAuthorization: Bearer sk-1\r\n"));
        assert_non_null(strstr(sent, "\r\nX-Custom: c\r\n"));
        assert_null(strcasestr(sent, "content-"));
        assert_null(strstr(sent, "secret body"));
        if (i < 2) {
            http_server_stop(server);
            exchange_free(&exchange);
        }
    }
}

static void test_redirect_keeps_method(void **state)
{
    (void)state;
    play_redirect("307 Temporary", "/c");
    exchange_run(&exchange);
    expect_hello();
    const char *sent = http_server_request(server, 1);
    assert_memory_equal(sent, "POST /c HTTP/1.1\r\n", 18);
    assert_string_equal(strstr(sent, "\r\n\r\n") + 4, "secret body");
    assert_non_null(strstr(sent, "\r\nContent-Type: application/json\r\n"));
    assert_int_equal(http_server_connections(server), 1);
}

/* Another port is another origin: nothing that may be a secret goes there. */
static void test_redirect_drops_secrets(void **state)
{
    (void)state;
    char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/x", http_server_port(elsewhere));
    play_redirect("302 Found", url);
    exchange_run(&exchange);
    expect_hello();
    const char *sent = http_server_request(elsewhere, 0);
    assert_memory_equal(sent, "GET /x HTTP/1.1\r\n", 17);
    assert_null(strcasestr(sent, "authorization"));
    assert_null(strcasestr(sent, "api-key"));
    assert_null(strcasestr(sent, "x-custom"));
    assert_non_null(strstr(sent, "\r\nAccept: text/x\r\n"));
    assert_non_null(strstr(sent, "\r\nUser-Agent: mod_agentchat/"));
}

static void expect_refused(const char *detail)
{
    exchange_run(&exchange);
    assert_int_equal(exchange.err.kind, AC_UPSTREAM_ERROR);
    assert_string_equal(exchange.err.detail, detail);
    assert_int_equal(exchange.n_heads, 0);
    assert_int_equal(http_server_connections(elsewhere), 0);
}

static void test_redirect_to_other_host(void **state)
{
    (void)state;
    static const char *const hosts[] = {"example.com", "*.example.com", "127.0.0.1", NULL};
    char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/x", http_server_port(elsewhere));
    play_redirect("307 Temporary", url);
    exchange.request.allow_hosts = hosts;
    expect_refused("a redirect to a host that is not allowed");
}

static void test_redirect_to_allowed_host(void **state)
{
    (void)state;
    char host[32], url[64];
    const char *hosts[] = {"example.com", host, NULL};
    snprintf(host, sizeof(host), "127.0.0.1:%d", http_server_port(elsewhere));
    snprintf(url, sizeof(url), "http://%s/x", host);
    play_redirect("307 Temporary", url);
    exchange.request.allow_hosts = hosts;
    exchange_start(&exchange);
    memset(host, 'x', sizeof(host)); /* everything was copied */
    hosts[0] = hosts[1] = NULL;
    exchange_wait(&exchange);
    expect_hello();
}

static void test_redirect_within_own_host(void **state)
{
    (void)state;
    static const char *const none[] = {NULL};
    play_redirect("302 Found", "/c");
    exchange.request.allow_hosts = none;
    exchange_run(&exchange);
    expect_hello();
}

static void test_redirect_schemes(void **state)
{
    (void)state;
    static const char *const wheres[] = {"file:///etc/passwd", "ftp://127.0.0.1/", "http://u:p@127.0.0.1/", "http://",
                                         "gopher://x"};
    for (int i = 0; i < 5; i++) {
        play_redirect("302 Found", wheres[i]);
        expect_refused("a redirect to a URL that is not http or https");
        if (i < 4) {
            http_server_stop(server);
            exchange_free(&exchange);
        }
    }
}

static void test_redirect_too_many(void **state)
{
    (void)state;
    static const server_step_t redirect[] = {
        SEND("HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"),
        END,
    };
    static const server_step_t *const scripts[] = {redirect, NULL};
    play_scripts(scripts, "/");
    exchange.request.max_redirects = 3;
    expect_refused("too many redirects");
    assert_int_equal(http_server_requests(server), 4);
}

static void test_redirect_not_wanted(void **state)
{
    (void)state;
    play_redirect("302 Found", "/c");
    exchange.request.max_redirects = 0;
    exchange_run(&exchange);
    assert_int_equal(exchange.ended, APR_SUCCESS);
    assert_int_equal(exchange.status, 302);
    assert_string_equal(exchange.error_body, "gone");
    assert_int_equal(http_server_requests(server), 1);
}

static void test_redirect_without_location(void **state)
{
    (void)state;
    static const server_step_t script[] = {SEND("HTTP/1.1 302 Found\r\nContent-Length: 4\r\n\r\nlost"), END};
    static const server_step_t *const scripts[] = {script, NULL};
    play_scripts(scripts, "/");
    exchange.request.max_redirects = 3;
    exchange_run(&exchange);
    assert_int_equal(exchange.status, 302);
    assert_string_equal(exchange.error_body, "lost");
}

/* ---- addresses ---- */

static void test_public_only_refuses(void **state)
{
    (void)state;
    static const char *const hosts[] = {"127.0.0.1",  "localhost",    "127.1",          "2130706433",
                                        "0x7f000001", "0.0.0.0",      "[::1]",          "[::ffff:127.0.0.1]",
                                        "[::]",       "10.255.255.1", "169.254.169.254"};
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        exchange_t one;
        exchange_init(&one, &rig, NULL, "");
        snprintf(one.url, sizeof(one.url), "http://%s:%d/", hosts[i], http_server_port(elsewhere));
        one.request.public_only = true;
        one.request.retries = 3;
        exchange_run(&one);
        assert_int_equal(one.err.kind, AC_UPSTREAM_ERROR);
        assert_string_equal(one.err.detail, "the address is private");
        exchange_free(&one);
    }
    exchange_init(&exchange, &rig, NULL, "");
    assert_int_equal(http_server_connections(elsewhere), 0);
}

/* A connection that another exchange has left open is no way round. */
static void test_public_only_kept_connection(void **state)
{
    (void)state;
    exchange_t one;
    exchange_init(&one, &rig, elsewhere, "/");
    exchange_run(&one);
    assert_string_equal(one.body, "hello");
    exchange_free(&one);
    exchange_init(&exchange, &rig, elsewhere, "/");
    exchange.request.public_only = true;
    exchange_run(&exchange);
    assert_string_equal(exchange.err.detail, "the address is private");
    assert_int_equal(http_server_requests(elsewhere), 1);
}

/* ---- certificates ---- */

static char folder[] = "/tmp/agentchat-tls-XXXXXX";

static pid_t spawn_openssl(char *const argv[], int *poutput)
{
    int ends[2];
    pid_t pid;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_addchdir_np(&actions, folder);
    assert_int_equal(posix_spawnp(&pid, "openssl", &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    *poutput = ends[0];
    return pid;
}

static void make_certificate(void)
{
    char *const argv[] = {"openssl",
                          "req",
                          "-x509",
                          "-newkey",
                          "ec",
                          "-pkeyopt",
                          "ec_paramgen_curve:prime256v1",
                          "-nodes",
                          "-keyout",
                          "key.pem",
                          "-out",
                          "cert.pem",
                          "-subj",
                          "/CN=test",
                          "-days",
                          "2",
                          "-addext",
                          "subjectAltName=IP:127.0.0.1",
                          NULL};
    int output, status;
    pid_t pid = spawn_openssl(argv, &output);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(output);
}

/* An answer to any GET by openssl's own server; the port is on its first line ("ACCEPT 127.0.0.1:4433"). */
static pid_t start_tls(int *pport)
{
    char *const argv[] = {"openssl",  "s_server", "-accept", "127.0.0.1:0", "-cert",
                          "cert.pem", "-key",     "key.pem", "-www",        NULL};
    char line[256] = "";
    int output;
    pid_t pid = spawn_openssl(argv, &output);
    FILE *file = fdopen(output, "r");
    while (fgets(line, sizeof(line), file) && strncmp(line, "ACCEPT", 6) != 0) {
    }
    const char *colon = strrchr(line, ':');
    assert_non_null(colon);
    *pport = (int)strtol(colon + 1, NULL, 10);
    fclose(file);
    return pid;
}

static void fetch_tls(exchange_t *one, const char *host, int port, const char *ca_file)
{
    exchange_init(one, &rig, NULL, "");
    snprintf(one->url, sizeof(one->url), "https://%s:%d/", host, port);
    one->request.ca_file = ca_file;
    one->request.retries = 2;
    exchange_run(one);
}

static void test_certificates(void **state)
{
    (void)state;
    static exchange_t one;
    char ca_file[64];
    int port;
    assert_non_null(mkdtemp(folder));
    make_certificate();
    pid_t pid = start_tls(&port);
    snprintf(ca_file, sizeof(ca_file), "%s/cert.pem", folder);

    fetch_tls(&one, "127.0.0.1", port, ca_file);
    assert_string_equal(one.err.detail, "");
    assert_int_equal(one.status, 200);
    assert_true(one.len > 100);
    exchange_free(&one);

    fetch_tls(&one, "127.0.0.1", port, NULL);
    assert_int_equal(one.err.kind, AC_UPSTREAM_ERROR);
    assert_memory_equal(one.err.detail, "TLS certificate not trusted (", 29);
    exchange_free(&one);

    fetch_tls(&one, "localhost", port, ca_file);
    assert_string_equal(one.err.detail, "TLS certificate not trusted (it is another host's)");
    exchange_free(&one);

    fetch_tls(&exchange, "127.0.0.1", port, "/nonexistent/ca.pem");
    assert_string_equal(exchange.err.detail, "the file of trusted certificates cannot be read");

    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    unlink(ca_file);
    snprintf(ca_file, sizeof(ca_file), "%s/key.pem", folder);
    unlink(ca_file);
    rmdir(folder);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_redirect_to_get),
        TEST(test_redirect_keeps_method),
        TEST(test_redirect_drops_secrets),
        TEST(test_redirect_to_other_host),
        TEST(test_redirect_to_allowed_host),
        TEST(test_redirect_within_own_host),
        TEST(test_redirect_schemes),
        TEST(test_redirect_too_many),
        TEST(test_redirect_not_wanted),
        TEST(test_redirect_without_location),
        TEST(test_public_only_refuses),
        TEST(test_public_only_kept_connection),
        TEST(test_certificates),
    };
    return cmocka_run_group_tests_name("http_redirect", tests, NULL, NULL);
}
