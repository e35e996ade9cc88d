/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store shared by several processes: started at once, writing to the same threads, killed in the middle
 * of it. */
#include "sqlite_harness.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <apr_general.h>

enum { PROCESSES = 4, CALLERS = 3, SHARED = 2, TURNS = 10 };
enum { VICTIMS = 2, ROUNDS = 8, ACKS_MAX = 100000 };

static const ac_host_t host = {.version = 1, .store_done = ac_store_done};

/* ---- the children's work; they report by exit code, because a failed cmocka assertion would jump into the parent's
 * stack ---- */

typedef struct caller_t {
    pthread_t thread;
    const contract_ids_t *ids;
    int n_turns; /* 0: until killed */
    int acks;    /* a pipe, or -1 */
    int n_failed;
} caller_t;

typedef struct ack_t { /* what the store acknowledged; shorter than a pipe's atomic write */
    char thread[AC_ID_SIZE], message[AC_ID_SIZE], run[AC_ID_SIZE];
    int64_t seq;
    bool closed;
} ack_t;

/* One write of a turn and its acknowledgement. */
static bool write_turn(caller_t *caller, const char *run, bool close_it)
{
    ack_t ack = {.closed = close_it};
    ac_kind_e kind;
    json_t *in = close_it ? contract_close_in(caller->ids, run, "an answer")
                          : contract_open_in(caller->ids, run, "a question", false);
    snprintf(ack.thread, sizeof(ack.thread), "%s", caller->ids->thread);
    snprintf(ack.run, sizeof(ack.run), "%s", run);
    snprintf(ack.message, sizeof(ack.message), "%s", ac_json_peek_string(json_object_get(in, "message"), "id", ""));
    do {
        kind =
            contract_try(&ack.seq, close_it ? AC_STORE_TURN_CLOSE : AC_STORE_TURN_OPEN, caller->ids, json_incref(in));
        if (kind == AC_RUN_IN_PROGRESS) {
            sched_yield();
        }
    } while (kind == AC_RUN_IN_PROGRESS);
    json_decref(in);
    return kind == AC_OK && (caller->acks < 0 || write(caller->acks, &ack, sizeof(ack)) == (ssize_t)sizeof(ack));
}

static void *caller_main(void *baton)
{
    caller_t *caller = baton;
    for (int i = 0; (i < caller->n_turns || !caller->n_turns) && !caller->n_failed; i++) {
        char run[AC_ID_SIZE];
        ac_id_make(run, "run_");
        caller->n_failed += !write_turn(caller, run, false) || !write_turn(caller, run, true);
    }
    return NULL;
}

/* Begins when the gate's other end is closed. */
static void process_main(harness_t *harness, int gate, const contract_ids_t *ids, caller_t model)
{
    caller_t callers[CALLERS];
    char byte;
    int n_failed = 0;
    while (read(gate, &byte, 1) < 0 && errno == EINTR) {
    }
    if (harness->store.vt->child_init(harness->store.self, &host, NULL) != APR_SUCCESS) {
        _exit(2);
    }
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = model;
        callers[i].ids = &ids[i % SHARED];
        if (pthread_create(&callers[i].thread, NULL, caller_main, &callers[i]) != 0) {
            _exit(3);
        }
    }
    for (int i = 0; i < CALLERS; i++) {
        pthread_join(callers[i].thread, NULL);
        n_failed += callers[i].n_failed;
    }
    harness->store.vt->child_exit(harness->store.self);
    _exit(n_failed ? 4 : 0);
}

/* ---- together ---- */

static void shared_make(harness_t *harness, contract_ids_t ids[SHARED])
{
    harness_start(harness, AC_OK);
    for (int i = 0; i < SHARED; i++) {
        ids[i] = contract_ids();
        contract_done(
            contract_call(AC_STORE_THREAD_CREATE, ids[i].owner, NULL, contract_thread(ids[i].thread, "T", 1)));
    }
    harness_stop(harness);
}

static void test_several_processes_in_the_same_threads(void **state)
{
    harness_t *harness = *state;
    contract_ids_t ids[SHARED];
    pid_t pids[PROCESSES];
    int gate[2], status;
    shared_make(harness, ids);
    assert_int_equal(pipe(gate), 0);
    for (int i = 0; i < PROCESSES; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            close(gate[1]);
            process_main(harness, gate[0], ids, (caller_t){.n_turns = TURNS, .acks = -1});
        }
    }
    close(gate[0]);
    close(gate[1]);
    for (int i = 0; i < PROCESSES; i++) {
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    harness_start(harness, AC_OK);
    contract_gapless(&ids[0], 2 * PROCESSES * TURNS * 2);
    contract_gapless(&ids[1], 2 * PROCESSES * TURNS * 1);
    assert_int_equal(harness_logged(208), 0);
}

static void test_several_processes_make_the_file_at_once(void **state)
{
    harness_t *harness = *state;
    pid_t pids[2 * PROCESSES];
    int gate[2], status;
    char byte;
    assert_int_equal(pipe(gate), 0);
    for (int i = 0; i < 2 * PROCESSES; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            contract_ids_t ids = contract_ids();
            close(gate[1]);
            while (read(gate[0], &byte, 1) < 0 && errno == EINTR) {
            }
            if (harness->store.vt->child_init(harness->store.self, &host, NULL) != APR_SUCCESS) {
                _exit(2);
            }
            ac_kind_e kind = contract_try(NULL, AC_STORE_THREAD_CREATE, &ids, contract_thread(ids.thread, "T", 1));
            harness->store.vt->child_exit(harness->store.self);
            _exit(kind == AC_OK ? 0 : 3);
        }
    }
    close(gate[0]);
    close(gate[1]);
    for (int i = 0; i < 2 * PROCESSES; i++) {
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(harness_number(harness, "SELECT count(*) FROM threads"), 2 * PROCESSES);
    assert_int_equal(harness_number(harness, "PRAGMA user_version"), 10);
}

/* ---- killed ---- */

/* Starts processes that write until they are killed; *packs: the pipes of their acknowledgements. */
static void victims_start(harness_t *harness, pid_t pids[VICTIMS], const contract_ids_t *ids, int *packs)
{
    int acks[2], gate[2];
    assert_int_equal(pipe(acks), 0);
    assert_int_equal(pipe(gate), 0);
    for (int i = 0; i < VICTIMS; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            close(acks[0]);
            close(gate[1]);
            process_main(harness, gate[0], ids, (caller_t){.acks = acks[1]});
        }
    }
    close(gate[0]);
    close(gate[1]);
    close(acks[1]);
    *packs = acks[0];
}

/* Kills after n acknowledgements; earlier ones that arrive later count too. */
static size_t victims_kill(pid_t pids[VICTIMS], int acks, size_t n, ack_t *seen)
{
    size_t n_seen = 0;
    ssize_t len;
    while ((len = read(acks, &seen[n_seen], sizeof(ack_t))) != 0) {
        assert_int_equal(len, sizeof(ack_t));
        assert_true(++n_seen < ACKS_MAX);
        if (n_seen == n) {
            for (int i = 0; i < VICTIMS; i++) {
                assert_int_equal(kill(pids[i], SIGKILL), 0);
            }
        }
    }
    for (int i = 0; i < VICTIMS; i++) {
        int status;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGKILL);
    }
    close(acks);
    return n_seen;
}

static void check_acknowledged(const contract_ids_t ids[SHARED], const ack_t *ack)
{
    const contract_ids_t *of = strcmp(ids[0].thread, ack->thread) == 0 ? &ids[0] : &ids[1];
    ac_store_op_t *op = contract_op(AC_STORE_MESSAGE_LIST, of->owner, ack->thread, NULL);
    op->page.after_seq = ack->seq - 1;
    op->page.limit = 1;
    json_t *list = contract_ok(contract_wait(op));
    assert_string_equal(ac_json_peek_string(json_array_get(json_object_get(list, "data"), 0), "id", ""), ack->message);
    json_decref(list);
    json_t *run = contract_ok(contract_call(AC_STORE_RUN_GET, of->owner, ack->run, NULL));
    const char *status = ac_json_peek_string(run, "status", "");
    /* A turn whose close was not acknowledged may have been stored nevertheless. */
    assert_true(strcmp(status, "completed") == 0 || (!ack->closed && strcmp(status, "interrupted") == 0));
    json_decref(run);
}

static void test_acknowledged_writes_survive_a_kill(void **state)
{
    harness_t *harness = *state;
    contract_ids_t ids[SHARED];
    pid_t pids[VICTIMS];
    ack_t *seen = ac_alloc(ACKS_MAX * sizeof(*seen));
    int acks;
    shared_make(harness, ids);
    for (int round = 0; round < ROUNDS; round++) {
        victims_start(harness, pids, ids, &acks);
        size_t n = victims_kill(pids, acks, (size_t)(1 + round * 23), seen);
        harness_start(harness, AC_OK);
        for (size_t i = 0; i < n; i++) {
            check_acknowledged(ids, &seen[i]);
        }
        for (int i = 0; i < SHARED; i++) {
            char run[AC_ID_SIZE] = "";
            json_t *out = contract_ok(contract_call(AC_STORE_TURN_LOAD, ids[i].owner, ids[i].thread, NULL));
            int64_t count = ac_json_peek_int(json_object_get(out, "thread"), "message_count", -1);
            assert_true(json_is_null(json_object_get(out, "active_run")));
            json_decref(out);
            contract_gapless(&ids[i], count);
            assert_int_equal(contract_open(&ids[i], run, "and on", false), count + 1);
            assert_int_equal(contract_close(&ids[i], run, "it goes"), count + 2);
        }
        harness_stop(harness);
        assert_int_equal(harness_number(harness,
                                        "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"),
                         1);
    }
    free(seen);
}

static void test_run_of_another_process_lives_as_long_as_it(void **state)
{
    harness_t *harness = *state;
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE], byte, next[AC_ID_SIZE] = "";
    int opened[2], held[2], status;
    siginfo_t info;
    ac_id_make(run, "run_");
    assert_int_equal(pipe(opened), 0);
    assert_int_equal(pipe(held), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(held[1]);
        if (harness->store.vt->child_init(harness->store.self, &host, NULL) != APR_SUCCESS ||
            contract_try(NULL, AC_STORE_TURN_OPEN, &ids, contract_open_in(&ids, run, "q", true)) != AC_OK ||
            write(opened[1], "x", 1) != 1 || read(held[0], &byte, 1) != 0) {
            _exit(2);
        }
        kill(getpid(), SIGKILL); /* dies without closing its run */
    }
    close(opened[1]);
    close(held[0]);
    assert_int_equal(read(opened[0], &byte, 1), 1);
    harness_start(harness, AC_OK);
    ac_store_op_t *op =
        contract_call(AC_STORE_TURN_OPEN, ids.owner, ids.thread, contract_open_in(&ids, "run_2", "q", false));
    assert_int_equal(op->err.kind, AC_RUN_IN_PROGRESS);
    ac_store_op_free(op);
    contract_equal(contract_ok(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL)),
                   contract_run(run, ids.thread, "in_progress", 10));

    close(held[1]);
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT),
                     0); /* dead, and still in the table of processes */
    assert_int_equal(contract_open(&ids, next, "q", false), 2);
    json_t *out = contract_ok(contract_call(AC_STORE_RUN_GET, ids.owner, run, NULL));
    assert_string_equal(ac_json_peek_string(out, "status", ""), "interrupted");
    json_decref(out);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    close(opened[0]);
}

static ac_store_op_t *begin_queued(const contract_ids_t *ids, const char *run, const char *message)
{
    json_t *in = contract_open_in(ids, run, "later", false);
    json_object_set_new(json_object_get(in, "message"), "id", json_string(message));
    json_object_set_new(in, "queued", json_true());
    return contract_call(AC_STORE_TURN_OPEN, ids->owner, ids->thread, in);
}

/* Several processes may try to begin a turn of the queue: one that has waited for long is looked after by all. */
static void test_a_queued_turn_is_begun_by_one_process(void **state)
{
    harness_t *harness = *state;
    contract_ids_t ids = contract_ids();
    char active[AC_ID_SIZE] = "", run[AC_ID_SIZE], message[AC_ID_SIZE], sql[256];
    ac_id_make(run, "run_");
    ac_id_make(message, "msg_");
    harness_start(harness, AC_OK);
    contract_open(&ids, active, "q", true);
    contract_done(contract_call(AC_STORE_TURN_QUEUE, ids.owner, ids.thread,
                                json_pack("{s:o, s:i}", "run", contract_run(run, ids.thread, "queued", 3), "most", 5)));
    contract_close(&ids, active, "a");
    contract_done(begin_queued(&ids, run, message));
    contract_done(begin_queued(&ids, run, message)); /* the same again */
    snprintf(sql, sizeof(sql), "UPDATE runs SET pid = %d, started = %lld WHERE id = '%s'", (int)getppid(),
             (long long)ac_process_started(getppid()), run);
    harness_change(harness, sql);
    contract_kind(begin_queued(&ids, run, message), AC_RUN_ENDED);
    contract_close(&ids, run, "b");
    contract_kind(begin_queued(&ids, run, message), AC_RUN_ENDED);
    contract_gapless(&ids, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SQLITE_TEST(test_several_processes_make_the_file_at_once),
        SQLITE_TEST(test_several_processes_in_the_same_threads),
        SQLITE_TEST(test_acknowledged_writes_survive_a_kill),
        SQLITE_TEST(test_run_of_another_process_lives_as_long_as_it),
        SQLITE_TEST(test_a_queued_turn_is_begun_by_one_process),
    };
    int n_failed;

    apr_initialize();
    n_failed = cmocka_run_group_tests_name("sqlite_processes", tests, NULL, NULL);
    apr_terminate();
    return n_failed;
}
