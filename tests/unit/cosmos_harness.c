/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store before the scripted Cosmos of the tests. */
#include "cosmos_harness.h"

#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_general.h>
#include <apr_strings.h>

#define KEY "YSBrZXkgb2YgdGhlIHNjcmlwdGVkIGFjY291bnQsIG9mIHNpeHR5LWZvdXIgYnl0ZXMsIGFsbCB2aXNpYmxlLg=="
#define SERVER "tests/httpd/cosmos_server.py"

enum { LOGGED = 1000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int logged[LOGGED];
static char logged_text[LOGGED][400];
static int n_reported[AC_N_KINDS];
static char reported_run[AC_ID_SIZE];
static const cosmos_server_t *current; /* the server that was started last */

/* ---- the server ---- */

void cosmos_server_start(cosmos_server_t *server)
{
    int in[2], out[2];
    char text[32] = "";
    const char *other = getenv("AGENTCHAT_TEST_COSMOS");

    *server = (cosmos_server_t){.input = -1};
    current = server;
    if (other) {
        server->port = (int)strtol(strrchr(other, ':') + 1, NULL, 10);
        return;
    }
    assert_int_equal(access(SERVER, R_OK), 0); /* tests run in the project's top directory */
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    server->pid = fork();
    if (server->pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        for (int fd = 3; fd < 64; fd++) {
            close(fd);
        }
        execlp("python3", "python3", SERVER, (char *)NULL);
        _exit(127);
    }
    assert_true(server->pid > 0);
    close(in[0]);
    close(out[1]);
    server->input = in[1];
    for (size_t len = 0; len < sizeof(text) - 1 && !strchr(text, '\n'); len++) {
        assert_int_equal(read(out[0], text + len, 1), 1);
    }
    close(out[0]);
    server->port = (int)strtol(text, NULL, 10);
    assert_in_range(server->port, 1, 65535);
}

void cosmos_server_stop(cosmos_server_t *server)
{
    if (server->pid) {
        close(server->input); /* it ends by that */
        waitpid(server->pid, NULL, 0);
    }
}

json_t *cosmos_server_tell(const cosmos_server_t *server, const char *order)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)server->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t size = 16 * 1024 * 1024, len = 0;
    char *text = ac_alloc(size), *body;
    ssize_t n;

    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    dprintf(fd, "POST /_control HTTP/1.1\r\nContent-Length: %zu\r\n\r\n%s", strlen(order), order);
    shutdown(fd, SHUT_WR);
    while ((n = read(fd, text + len, size - 1 - len)) > 0) {
        len += (size_t)n;
    }
    close(fd);
    body = strstr(text, "\r\n\r\n");
    assert_non_null(body);
    json_t *answer = json_loads(body + 4, 0, NULL);
    assert_non_null(answer);
    free(text);
    return answer;
}

void cosmos_server_order(const cosmos_server_t *server, const char *order)
{
    json_decref(cosmos_server_tell(server, order));
}

void cosmos_clock_to(const cosmos_server_t *server, int seconds)
{
    char order[64];
    snprintf(order, sizeof(order), "{\"clock\":%d}", seconds);
    cosmos_server_order(server, order);
}

int64_t cosmos_documents(const cosmos_server_t *server, const char *container)
{
    json_t *answer = cosmos_server_tell(server, "{}");
    int64_t n = ac_json_peek_int(json_object_get(answer, "documents_in"), container, -1);
    json_decref(answer);
    return n;
}

int64_t cosmos_runs(const cosmos_server_t *server, const char *status)
{
    json_t *answer = cosmos_server_tell(server, "{\"dump\":\"messages\"}"), *document;
    int64_t n = 0;
    size_t i;
    json_array_foreach(json_object_get(answer, "documents"), i, document)
    {
        n += strcmp(ac_json_peek_string(document, "type", ""), "run") == 0 &&
            strcmp(ac_json_peek_string(document, "status", ""), status) == 0;
    }
    json_decref(answer);
    return n;
}

int64_t cosmos_marked(const cosmos_server_t *server)
{
    json_t *answer = cosmos_server_tell(server, "{\"dump\":\"threads\"}"), *document;
    int64_t n = 0;
    size_t i;
    json_array_foreach(json_object_get(answer, "documents"), i, document)
    {
        n += strcmp(ac_json_peek_string(document, "type", ""), "thread") == 0 &&
            (json_object_get(document, "changing") || !json_object_get(document, "copy"));
    }
    json_decref(answer);
    return n;
}

int64_t cosmos_uncounted(const cosmos_server_t *server)
{
    json_t *messages = cosmos_server_tell(server, "{\"dump\":\"messages\"}"), *run;
    json_t *threads = cosmos_server_tell(server, "{\"dump\":\"threads\"}"), *entry;
    int64_t n = 0;
    size_t i, k;
    json_array_foreach(json_object_get(messages, "documents"), i, run)
    {
        bool ended = strcmp(ac_json_peek_string(run, "type", ""), "run") == 0 && !ac_record_is_active(run);
        json_array_foreach(json_object_get(threads, "documents"), k, entry)
        {
            n += ended && json_equal(json_object_get(entry, "id"), json_object_get(run, "id")) &&
                json_object_get(entry, "changing");
        }
    }
    json_decref(messages);
    json_decref(threads);
    return n;
}

int64_t cosmos_requests(const cosmos_server_t *server, const char *pattern)
{
    char order[128];
    snprintf(order, sizeof(order), "{\"count\":\"%s\"}", pattern);
    json_t *answer = cosmos_server_tell(server, order);
    int64_t n = ac_json_peek_int(answer, "count", -1);
    json_decref(answer);
    return n;
}

void cosmos_remove_thread(const contract_ids_t *ids)
{
    ac_store_op_t *op = contract_op(AC_STORE_THREAD_DELETE, ids->owner, ids->thread, NULL);
    op->hard = true;
    contract_done(contract_wait(op));
}

/* ---- log ---- */

static void on_log(ac_level_e level, const char *file, int line, apr_status_t status, const char *text)
{
    (void)file;
    (void)line;
    (void)status;
    int number = strncmp(text, "AC", 2) == 0 ? (int)strtol(text + 2, NULL, 10) : 0;
    if (getenv("AGENTCHAT_TEST_LOG")) {
        fprintf(stderr, "%s\n", text);
    }
    if (level <= AC_INFO && number > 0 && number < LOGGED) {
        pthread_mutex_lock(&lock);
        logged[number]++;
        snprintf(logged_text[number], sizeof(logged_text[number]), "%s", text);
        pthread_mutex_unlock(&lock);
    }
}

int cosmos_logged(int number)
{
    pthread_mutex_lock(&lock);
    int n = logged[number];
    pthread_mutex_unlock(&lock);
    return n;
}

const char *cosmos_logged_text(int number)
{
    return logged_text[number];
}

void cosmos_log_clear(void)
{
    pthread_mutex_lock(&lock);
    memset(logged, 0, sizeof(logged));
    memset(logged_text, 0, sizeof(logged_text));
    memset(n_reported, 0, sizeof(n_reported));
    pthread_mutex_unlock(&lock);
}

static pthread_once_t log_once = PTHREAD_ONCE_INIT;

static void log_install(void)
{
    ac_log_install(on_log, getenv("AGENTCHAT_TEST_LOG") ? AC_DEBUG : AC_INFO);
}

/* ---- the store ---- */

static void run_notify(const char *run_id, ac_kind_e what)
{
    pthread_mutex_lock(&lock);
    n_reported[what]++;
    apr_cpystrn(reported_run, run_id, sizeof(reported_run));
    pthread_mutex_unlock(&lock);
}

int cosmos_n_reported(ac_kind_e what)
{
    pthread_mutex_lock(&lock);
    int n = n_reported[what];
    pthread_mutex_unlock(&lock);
    return n;
}

const char *cosmos_reported_run(void)
{
    return reported_run;
}

const char *cosmos_child_create(cosmos_child_t *child, const cosmos_server_t *server, const char *options)
{
    char url[64], *state = NULL;
    apr_table_t *table;

    memset(child, 0, sizeof(*child));
    setenv("AGENTCHAT_TEST_COSMOS_KEY", KEY, 1);
    setenv("AGENTCHAT_TEST_WRONG_KEY", "d3Jvbmcga2V5", 1);
    pthread_once(&log_once, log_install);
    assert_int_equal(apr_pool_create(&child->pool, NULL), APR_SUCCESS);
    table = apr_table_make(child->pool, 4);
    apr_table_set(table, "database", "chat");
    apr_table_set(table, "create", "on");
    apr_table_set(table, "credential", "env:AGENTCHAT_TEST_COSMOS_KEY");
    for (char *word = apr_strtok(apr_pstrdup(child->pool, options), " ", &state); word;
         word = apr_strtok(NULL, " ", &state)) {
        char *equals = strchr(word, '=');
        *equals = '\0';
        apr_table_set(table, word, equals + 1);
    }
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", server->port);
    child->store.vt = &ac_store_cosmos;
    return ac_store_cosmos.create(&child->store.self, url, table, child->pool);
}

void cosmos_child_start(cosmos_child_t *child)
{
    ac_err_t err;

    ac_err_init(&err);
    rig_open(&child->rig);
    child->host = (ac_host_t){.version = 1,
                              .loop = child->rig.loop,
                              .loop_post = ac_loop_post,
                              .store_done = ac_store_done,
                              .run_notify = run_notify};
    if (ac_store_cosmos.child_init(child->store.self, &child->host, &err) != APR_SUCCESS) {
        fail_msg("child_init: %s", err.detail);
    }
    child->started = true;
    contract_use(&child->store);
}

void cosmos_child_open(cosmos_child_t *child, const cosmos_server_t *server, const char *options)
{
    const char *problem = cosmos_child_create(child, server, options);

    if (problem) {
        fail_msg("%s", problem);
    }
    cosmos_child_start(child);
}

void cosmos_child_stop(cosmos_child_t *child)
{
    if (child->started) {
        ac_store_cosmos.child_exit(child->store.self);
        rig_close(&child->rig);
        apr_pool_destroy(child->pool);
    }
    child->started = false;
}

/* Nothing of it reaches the service any more. */
void cosmos_child_kill(cosmos_child_t *child, const cosmos_server_t *server)
{
    cosmos_server_order(server, "{\"stop_after\":0}");
    cosmos_child_stop(child);
    cosmos_server_order(server, "{\"stop_after\":null}");
}

/* ---- a test's surroundings ---- */

int cosmos_setup(void **state)
{
    cosmos_server_order(current, "{\"reset\":true}");
    cosmos_log_clear();
    *state = ac_alloc(sizeof(cosmos_child_t));
    return 0;
}

int cosmos_teardown(void **state)
{
    cosmos_server_order(current, "{\"clear\":true}");
    cosmos_child_stop(*state);
    free(*state);
    return 0;
}

int cosmos_main(cosmos_server_t *server, const char *name, const struct CMUnitTest *tests, size_t n)
{
    int n_failed;

    apr_initialize();
    cosmos_server_start(server);
    n_failed = _cmocka_run_group_tests(name, tests, n, NULL, NULL);
    cosmos_server_stop(server);
    apr_terminate();
    return n_failed;
}
