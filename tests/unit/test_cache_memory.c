/* SPDX-License-Identifier: Apache-2.0 */
/* Cached entries in memory that processes share: room, age, killed holders, damage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "back/cache/cache_backend.h"

#define SMALL (2 * 1024 * 1024)

static ac_cache_memory_t *memory;

static int open_with(apr_int64_t size, apr_interval_time_t ttl)
{
    ac_err_t err;
    ac_err_init(&err);
    return ac_cache_memory_create(&memory, size, ttl, &err) != APR_SUCCESS;
}

static int setup(void **state)
{
    (void)state;
    return open_with(SMALL, apr_time_from_sec(3600));
}

static int teardown(void **state)
{
    (void)state;
    ac_cache_memory_destroy(memory);
    return 0;
}

static void fill_key(unsigned char key[AC_CACHE_KEY], unsigned number)
{
    memset(key, 0, AC_CACHE_KEY);
    number *= 2654435761u;
    memcpy(key, &number, sizeof(number));
    number *= 2246822519u;
    memcpy(key + 4, &number, sizeof(number));
}

static void write_key(ac_cache_way_e way, unsigned number, const char *text, size_t len)
{
    ac_cache_write_t write = {.way = way, .text = text, .len = len};
    fill_key(write.key, number);
    ac_cache_memory.write(memory, &write, NULL, NULL);
}

static void put(unsigned number, const char *text)
{
    write_key(AC_CACHE_PUT, number, text, strlen(text));
}
static void add(unsigned number, const char *text)
{
    write_key(AC_CACHE_ADD, number, text, strlen(text));
}
static void drop(unsigned number)
{
    write_key(AC_CACHE_DROP, number, "", 0);
}

typedef struct got_t { /* texts, each with its NUL */
    int n;
    char *data;
    size_t len;
} got_t;

static void on_read(void *baton, const ac_buf_t *texts)
{
    got_t *got = baton;
    got->n++;
    got->len = texts->len;
    got->data = malloc(texts->len + 1);
    memcpy(got->data, texts->len ? texts->data : "", texts->len);
}

static got_t get(unsigned number)
{
    unsigned char key[AC_CACHE_KEY];
    got_t got = {0};
    fill_key(key, number);
    ac_cache_memory.read(memory, key, on_read, &got);
    assert_int_equal(got.n, 1);
    return got;
}

static void expect(unsigned number, const char *texts, size_t len)
{
    got_t got = get(number);
    assert_int_equal(got.len, len);
    assert_memory_equal(got.data, texts, len);
    free(got.data);
}

static bool has(unsigned number)
{
    got_t got = get(number);
    free(got.data);
    return got.len > 0;
}

static void test_texts_come_back_in_their_order(void **state)
{
    (void)state;
    expect(1, "", 0);
    add(1, "nothing to add to");
    expect(1, "", 0);
    put(1, "one");
    add(1, "two");
    put(2, "another");
    add(1, "");
    expect(1, "one\0two\0", 9); /* with the empty one */
    expect(2, "another", 8);
    put(1, "again");
    expect(1, "again", 6);
    drop(1);
    drop(1);
    expect(1, "", 0);
    expect(2, "another", 8);
}

static void test_texts_of_every_length(void **state)
{
    (void)state;
    char *text = malloc(AC_MAX_CACHED);
    for (size_t i = 0; i < AC_MAX_CACHED; i++) {
        text[i] = (char)('a' + i * 7 % 26);
    }
    for (size_t len = 0; len < AC_MAX_CACHED - 64; len = len * 3 / 2 + 1) {
        write_key(AC_CACHE_PUT, 1, text, len);
        write_key(AC_CACHE_ADD, 1, text + 1, 40);
        got_t got = get(1);
        assert_int_equal(got.len, len + 42);
        assert_memory_equal(got.data, text, len);
        assert_memory_equal(got.data + len + 1, text + 1, 40);
        free(got.data);
    }
    write_key(AC_CACHE_PUT, 1, text, AC_MAX_CACHED);
    assert_false(has(1)); /* too large, and the one before is not it any more */
    write_key(AC_CACHE_PUT, 1, text, AC_MAX_CACHED - 1000);
    assert_true(has(1));
    write_key(AC_CACHE_ADD, 1, text, 2000);
    assert_false(has(1)); /* become too large */
    free(text);
}

/* However much is put in, there is as much as fits, and what is asked for stays. */
static void test_the_oldest_make_room(void **state)
{
    (void)state;
    char text[5000];
    memset(text, 'x', sizeof(text));
    put(0, "asked for");
    for (unsigned i = 1; i <= 4000; i++) {
        write_key(AC_CACHE_PUT, i, text, 100 + i * 37 % 4800);
        assert_true(has(0));
    }
    int n = 0;
    for (unsigned i = 1; i <= 4000; i++) {
        n += has(i);
    }
    assert_in_range(n, 300, 1500); /* of 2.5 KB on average, in 2 MB */
    for (unsigned i = 0; i <= 4000; i++) {
        drop(i);
    }
    char *large = calloc(1, 200000);
    memset(large, 'y', 200000);
    for (unsigned i = 0; i < 10; i++) { /* all the room is there again */
        write_key(AC_CACHE_PUT, i, large, 200000);
    }
    for (unsigned i = 0; i < 10; i++) {
        assert_true(has(i));
    }
    free(large);
}

/* More small entries than there are places for. */
static void test_many_small_ones(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        put(i, "s");
    }
    assert_true(has(19999));
    assert_false(has(1));
}

static void test_an_entry_gets_old(void **state)
{
    (void)state;
    ac_cache_memory_destroy(memory);
    assert_int_equal(open_with(SMALL, 1), 0); /* a microsecond */
    put(1, "x");
    put(2, "y");
    for (apr_time_t written = ac_clock(); ac_clock() <= written + 1;) {
    }
    assert_false(has(1));
    add(2, "too late");
    assert_false(has(2));
}

/* Processes that write the same few keys are killed at any moment; the others are not blocked and read only what was
 * written. */
static void torment(unsigned seed)
{
    char text[3000];
    for (unsigned i = seed;; i = i * 1103515245 + 12345) {
        unsigned number = i >> 8 & 63, len = i >> 16 & 2047;
        memset(text, 'a' + (int)(number % 26), sizeof(text));
        write_key(i >> 5 & 3 ? AC_CACHE_PUT : i >> 7 & 1 ? AC_CACHE_ADD : AC_CACHE_DROP, number, text, len + 1);
    }
}

static void check_all(void)
{
    for (unsigned number = 0; number < 64; number++) {
        got_t got = get(number);
        for (size_t i = 0; i < got.len; i++) {
            assert_true(got.data[i] == 0 || got.data[i] == 'a' + (int)(number % 26));
        }
        free(got.data);
    }
}

static void test_killed_writers_harm_no_other_process(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        pid_t pids[3];
        for (unsigned i = 0; i < 3; i++) {
            pids[i] = fork();
            assert_true(pids[i] >= 0);
            if (!pids[i]) {
                torment(round * 3 + i + 1);
            }
        }
        for (int i = 0; i < 10; i++) {
            check_all();
        }
        for (int i = 0; i < 3; i++) {
            kill(pids[i], SIGKILL);
        }
        for (int i = 0; i < 3; i++) {
            assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
        }
        check_all();
        put(1, "b");
        expect(1, "b", 2);
    }
}

/* The holder of the lock is stopped: other processes continue without the cache, and soon. */
static void test_a_stopped_holder_is_not_waited_for(void **state)
{
    (void)state;
    pthread_mutex_t *lock = *(pthread_mutex_t **)memory; /* the first part begins with it */
    int pipes[2];
    char byte;
    put(1, "x");
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    if (!pid) {
        pthread_mutex_lock(lock);
        _exit(write(pipes[1], "l", 1) == 1 ? pause() : 1);
    }
    assert_int_equal(read(pipes[0], &byte, 1), 1);
    assert_false(has(1));
    put(2, "not kept");
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_false(has(1)); /* what it left is not looked at */
    put(1, "y");
    assert_true(has(1));
    close(pipes[0]);
    close(pipes[1]);
}

#define ENTRIES_END 120000 /* of a part: behind its lock, its index and its entries */

static size_t lock_size(void)
{
    return (sizeof(pthread_mutex_t) + 7) & ~(size_t)7;
}

/* Any byte of the memory may be anything. Nothing is shown that was not written, nothing is run into, and it works
 * again afterwards. */
static void test_damage(void **state)
{
    (void)state;
    unsigned char *bytes = *(unsigned char **)memory;
    char text[2000];
    memset(text, 'q', sizeof(text));
    uint32_t random = 7;
    for (int round = 0; round < 3000; round++) {
        for (unsigned i = 0; i < 4; i++) {
            write_key(AC_CACHE_PUT, (unsigned)round * 4 + i, text, 500 + 400 * i);
        }
        for (int i = 0; i < 4; i++) { /* mostly where the index is, and the blocks in use */
            size_t span = round % 3 == 0 ? 64 : round % 3 == 1 ? ENTRIES_END : SMALL;
            random = random * 1664525 + 1013904223;
            bytes[lock_size() + (random >> 5) % span] = (unsigned char)(random >> 11);
        }
        for (unsigned i = 0; i < 4; i++) {
            got_t got = get((unsigned)round * 4 + i);
            assert_true(got.len == 0 || got.len == 501 + 400 * i);
            for (size_t k = 0; k + 1 < got.len; k++) {
                assert_int_equal(got.data[k], 'q');
            }
            free(got.data);
        }
        drop((unsigned)round * 4);
    }
    put(1, "well again");
    put(1, "well again");
    assert_true(has(1));
}

/* So may the mark of an entry that was asked for: it goes when there is no room, as others do. */
static void test_damage_of_a_mark(void **state)
{
    (void)state;
    unsigned char *bytes = *(unsigned char **)memory + lock_size(), before[ENTRIES_END];
    int n = 0;
    put(1, "x");
    memcpy(before, bytes, sizeof(before));
    assert_true(has(1));
    for (size_t i = 0; i < sizeof(before); i++) {
        if (bytes[i] != before[i]) {
            bytes[i] = 131;
            n++;
        }
    }
    assert_int_equal(n, 1);
    for (unsigned i = 2; i < 4000; i++) {
        put(i, "s");
    }
    assert_false(has(1));
    assert_true(has(3999));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_texts_come_back_in_their_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_texts_of_every_length, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_oldest_make_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_small_ones, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_entry_gets_old, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_writers_harm_no_other_process, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_stopped_holder_is_not_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage_of_a_mark, setup, teardown),
    };
    return cmocka_run_group_tests_name("cache_memory", tests, NULL, NULL);
}
