/* SPDX-License-Identifier: Apache-2.0 */
/* The mirror's commands to Redis and its answers, byte by byte: two connections, which the test accepts in their
 * order. */
#include "redis_world.h"

#include "back/mirror/mirror.h"

typedef struct server_t { /* the server's side of a connection */
    int fd;
    redisReader *reader;
} server_t;

static server_t commands, reads;
static ac_mirror_redis_t *of_redis;
static ac_mirror_t mirror;
static ac_host_t host;
static char heard[512]; /* the loop's; read after a call on the loop */
static atomic_int n_heard;

/* ---- the server ---- */

static server_t accept_server(void)
{
    accept_one();
    server_t server = {peer, redisReaderCreate()};
    peer = -1;
    return server;
}

/* The next command, as an array of texts. */
static redisReply *next_command(server_t *server)
{
    void *command = NULL;
    char data[4096];
    while (redisReaderGetReply(server->reader, &command) == REDIS_OK && !command) {
        ssize_t n = recv(server->fd, data, sizeof data, 0);
        assert_true(n > 0);
        redisReaderFeed(server->reader, data, (size_t)n);
    }
    assert_non_null(command);
    return command;
}

static void expect_command(server_t *server, const char *text, const char *answer)
{
    redisReply *command = next_command(server);
    char got[1024] = "";
    for (size_t i = 0; i < command->elements; i++) {
        const char *part = command->element[i]->str;
        bool is_script = i == 1 &&
            (strcmp(command->element[0]->str, "EVAL") == 0 || strcmp(command->element[0]->str, "EVALSHA") == 0);
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", i ? " " : "", is_script ? "SCRIPT" : part);
    }
    freeReplyObject(command);
    assert_string_equal(got, text);
    if (answer) {
        assert_int_equal(send(server->fd, answer, strlen(answer), MSG_NOSIGNAL), strlen(answer));
    }
}

static void hang_up_server(server_t *server)
{
    if (server->reader) {
        redisReaderFree(server->reader);
        close(server->fd);
    }
    server->reader = NULL;
}

/* ---- the mirror ---- */

static void note(const char *text)
{
    snprintf(heard + strlen(heard), sizeof heard - strlen(heard), "%s;", text);
    atomic_fetch_add(&n_heard, 1);
}

static void on_entry(void *baton, const char *run_id, const ac_mirror_entry_t *entry)
{
    char text[128];
    (void)baton;
    snprintf(text, sizeof text, "entry %s %d %.*s", run_id, (int)entry->last, (int)entry->len, entry->bytes);
    note(text);
}

static void on_notice(void *baton, const char *text)
{
    (void)baton;
    note(text);
}

static void on_mirror_state(void *baton, bool up)
{
    (void)baton;
    note(up ? "up" : "down");
}

static void on_append(void *baton, ac_mirror_result_e result, uint64_t last)
{
    static const char *const names[] = {"done", "refused", "again", "failed"};
    char text[64];
    (void)baton;
    snprintf(text, sizeof text, "%s %d", names[result], (int)last);
    note(text);
}

static void on_read_page(void *baton, const ac_mirror_page_t *page)
{
    char text[128];
    (void)baton;
    snprintf(text, sizeof text, "page %s%d newest %d", page->failed ? "failed " : "", page->n, (int)page->newest.last);
    note(text);
}

static void make(void *baton)
{
    (void)baton;
    conf.host = "127.0.0.1";
    conf.on_state = on_state;
    host.loop = rig.loop;
    host.work = work;
    mirror = (ac_mirror_t){.on_entry = on_entry, .on_notice = on_notice, .on_state = on_mirror_state};
    assert_int_equal(ac_mirror_redis_create(&of_redis, &mirror, &conf, "p:", &host, NULL), APR_SUCCESS);
    ac_mirror_redis_start(of_redis);
}

static void append_entry(void *baton)
{
    ac_mirror_append_t what = {.run_id = "run_1",
                               .writer = "0-abc",
                               .first = 3,
                               .entry = {5, "bytes", 5},
                               .max_entries = 100,
                               .keep = apr_time_from_sec(2)};
    (void)baton;
    mirror.vt->append(mirror.self, &what, on_append, NULL);
}

static void read_run(void *baton)
{
    (void)baton;
    mirror.vt->read(mirror.self, "run_1", 7, on_read_page, NULL);
}

static void follow_run(void *baton)
{
    assert_int_equal(mirror.vt->follow(mirror.self, baton, 4), 4);
}

static void notify_all(void *baton)
{
    mirror.vt->notify(mirror.self, baton);
}

static void wait_heard(int n, const char *text)
{
    apr_time_t until = ac_clock() + PATIENCE;
    while (atomic_load(&n_heard) < n) {
        assert_true(ac_clock() < until);
        apr_sleep(1000);
    }
    rig_call(&rig, nothing, NULL);
    assert_string_equal(heard, text);
}

#define NEWEST "*1\r\n*2\r\n$3\r\n9-1\r\n*2\r\n$1\r\nn\r\n$1\r\nx\r\n"
#define READ "XREAD COUNT 8 BLOCK 5000 STREAMS p:ev:all p:ev:to:"

/* A command of the reader; its inbox has a random name. */
static void expect_read(const char *keys_and_ids, const char *answer)
{
    redisReply *command = next_command(&reads);
    char got[512] = "";
    assert_true(strncmp(command->element[7]->str, "p:ev:to:", 8) == 0);
    for (size_t i = 0; i < command->elements; i++) {
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", i ? " " : "",
                 i == 7 ? "INBOX" : command->element[i]->str);
    }
    freeReplyObject(command);
    assert_string_equal(got, keys_and_ids);
    if (answer) {
        assert_int_equal(send(reads.fd, answer, strlen(answer), MSG_NOSIGNAL), strlen(answer));
    }
}

#define XREAD_ "XREAD COUNT 8 BLOCK 5000 STREAMS p:ev:all INBOX"

static void open_mirror(void)
{
    rig_call(&rig, make, NULL);
    commands = accept_server();
    reads = accept_server();
    expect_command(&commands, "PING", "+PONG\r\n");
    expect_command(&commands, "SET p:ev:proof 1 PX 60000", "+OK\r\n");
    expect_command(&reads, "PING", "+PONG\r\n");
    expect_command(&reads, "XREVRANGE p:ev:all + - COUNT 1", NEWEST);
    wait_heard(1, "up;");
}

/* ---- tests ---- */

static void test_an_entry_is_appended(void **state)
{
    (void)state;
    open_mirror();
    rig_call(&rig, append_entry, NULL);
    expect_command(&commands, "EVAL SCRIPT 1 p:ev:run_1 0-abc 3 5 100 2000 bytes", ":5\r\n");
    wait_heard(2, "up;done 5;");
    rig_call(&rig, append_entry, NULL);
    expect_command(&commands, "EVALSHA SCRIPT 1 p:ev:run_1 0-abc 3 5 100 2000 bytes", ":-1\r\n");
    wait_heard(3, "up;done 5;refused 0;");
    rig_call(&rig, append_entry, NULL);
    expect_command(&commands, "EVALSHA SCRIPT 1 p:ev:run_1 0-abc 3 5 100 2000 bytes",
                   "-NOSCRIPT No matching script\r\n");
    wait_heard(4, "up;done 5;refused 0;again 0;");
    rig_call(&rig, append_entry, NULL);
    expect_command(&commands, "EVAL SCRIPT 1 p:ev:run_1 0-abc 3 5 100 2000 bytes", "-NOPERM no\r\n");
    wait_heard(5, "up;done 5;refused 0;again 0;failed 0;");
}

static void test_a_page_is_read(void **state)
{
    (void)state;
    open_mirror();
    rig_call(&rig, read_run, NULL);
    expect_command(&commands, "EVAL SCRIPT 1 p:ev:run_1 8 4",
                   "*2\r\n*1\r\n*2\r\n$3\r\n9-0\r\n*4\r\n$1\r\na\r\n$1\r\nw\r\n$1\r\ne\r\n$2\r\nxy\r\n"
                   "*1\r\n*2\r\n$4\r\n12-0\r\n*4\r\n$1\r\na\r\n$1\r\nw\r\n$1\r\ne\r\n$1\r\nz\r\n");
    wait_heard(2, "up;page 1 newest 12;");
    rig_call(&rig, read_run, NULL);
    expect_command(&commands, "EVAL SCRIPT 1 p:ev:run_1 8 4", "*2\r\n*0\r\n*0\r\n");
    wait_heard(3, "up;page 1 newest 12;page 0 newest 0;");
    static const char *const wrong[] = {
        "*1\r\n*0\r\n", ":1\r\n", "*2\r\n*1\r\n*1\r\n$1\r\nx\r\n*0\r\n",
        "*2\r\n*1\r\n*2\r\n$3\r\nx-0\r\n*4\r\n$1\r\na\r\n$1\r\nw\r\n$1\r\ne\r\n$1\r\nz\r\n*0\r\n",
        "*2\r\n:1\r\n:2\r\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        heard[0] = '\0';
        rig_call(&rig, read_run, NULL);
        expect_command(&commands, "EVAL SCRIPT 1 p:ev:run_1 8 4", wrong[i]);
        wait_heard(4 + (int)i,
                   strstr(wrong[i], "*1\r\n*1") || strstr(wrong[i], "x-0") ? "page failed 1 newest 0;"
                                                                           : "page failed 0 newest 0;");
    }
}

static void test_one_read_for_all_runs(void **state)
{
    (void)state;
    open_mirror();
    expect_read(XREAD_ " 9-1 0", NULL);
    rig_call(&rig, follow_run, "run_1");
    rig_call(&rig, follow_run, "run_2");
    /* One entry in its inbox ends the read that does not know the runs. */
    redisReply *command = next_command(&commands);
    assert_string_equal(command->element[0]->str, "EVAL");
    assert_true(strncmp(command->element[3]->str, "p:ev:to:", 8) == 0);
    char inbox[64], answer[256];
    snprintf(inbox, sizeof inbox, "%s", command->element[3]->str);
    freeReplyObject(command);
    send(commands.fd, ":1\r\n", 4, MSG_NOSIGNAL);
    snprintf(answer, sizeof answer, "*1\r\n*2\r\n$%zu\r\n%s\r\n*1\r\n*2\r\n$3\r\n4-0\r\n*2\r\n$1\r\nn\r\n$1\r\nw\r\n",
             strlen(inbox), inbox);
    send(reads.fd, answer, strlen(answer), MSG_NOSIGNAL);
    command = next_command(&reads);
    assert_int_equal(command->elements, 6 + 2 * 4);
    freeReplyObject(command);
#define ENTRY(id_, bytes_) "*2\r\n$3\r\n" id_ "\r\n*4\r\n$1\r\na\r\n$1\r\nw\r\n$1\r\ne\r\n$1\r\n" bytes_ "\r\n"
    const char *entries = "*2\r\n*2\r\n$11\r\np:ev:run_2\r\r\n*1\r\n" ENTRY("9-0", "?") /* not an id */
        "*2\r\n$10\r\np:ev:run_1\r\n*3\r\n" ENTRY("5-0", "a") ENTRY("4-0", "b") ENTRY("7-0", "c");
    send(reads.fd, entries, strlen(entries), MSG_NOSIGNAL);
    wait_heard(3, "up;entry run_1 5 a;entry run_1 7 c;");
    command = next_command(&reads);
    assert_int_equal(command->elements, 6 + 2 * 4);
    freeReplyObject(command);
}

static void test_notices(void **state)
{
    (void)state;
    open_mirror();
    rig_call(&rig, notify_all, "look run_1");
    expect_command(&commands, "EVAL SCRIPT 1 p:ev:all look run_1 60000", ":1\r\n");
    expect_read(XREAD_ " 9-1 0",
                "*1\r\n*2\r\n$8\r\np:ev:all\r\n*1\r\n*2\r\n$3\r\n9-2\r\n*2\r\n$1\r\nn\r\n$4\r\nlook\r\n");
    wait_heard(2, "up;look;");
    expect_read(XREAD_ " 9-2 0", "*-1\r\n");
    expect_read(XREAD_ " 9-2 0", NULL);
}

/* Each connection alone is enough for an outage, and both are needed for its end. */
static void test_the_state(void **state)
{
    (void)state;
    open_mirror();
    expect_read(XREAD_ " 9-1 0", NULL);
    hang_up_server(&reads);
    wait_heard(2, "up;down;");
    reads = accept_server();
    expect_command(&reads, "PING", "+PONG\r\n");
    expect_command(&reads, "XREVRANGE p:ev:all + - COUNT 1", "*0\r\n");
    wait_heard(3, "up;down;up;");
    expect_read(XREAD_ " 0 0", NULL);
    rig_call(&rig, append_entry, NULL);
    hang_up_server(&commands);
    wait_heard(5, "up;down;up;down;failed 0;");
}

static void end_mirror(void *baton)
{
    (void)baton;
    ac_mirror_redis_destroy(of_redis);
    of_redis = NULL;
}

static int set_up_mirror(void **state)
{
    heard[0] = '\0';
    n_heard = 0;
    return set_up(state);
}

static int tear_down_mirror(void **state)
{
    rig_call(&rig, end_mirror, NULL);
    hang_up_server(&commands);
    hang_up_server(&reads);
    return tear_down(state);
}

#undef TEST
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up_mirror, tear_down_mirror)

int main(void)
{
    apr_initialize();
    const struct CMUnitTest tests[] = {
        TEST(test_an_entry_is_appended),
        TEST(test_a_page_is_read),
        TEST(test_one_read_for_all_runs),
        TEST(test_notices),
        TEST(test_the_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
