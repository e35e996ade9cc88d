/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store where the file system refuses to release locks for a while, as one over a network may, or has no
 * room for the write-ahead log. */
#include "sqlite_harness.h"

#include <limits.h>
#include <string.h>

#include <apr_general.h>

#define SOON apr_time_from_msec(300) /* the deadline of what cannot succeed */

/* ---- a file system that fails ---- */

static sqlite3_vfs *real_vfs, failing_vfs;
static const sqlite3_io_methods *real_methods;
static sqlite3_io_methods failing_methods;
static atomic_bool keeps, refuses; /* locks are never released; the last file that was opened gets none */
static atomic_int n_kept, n_refused;
static atomic_int writes_left, n_full; /* writes of the write-ahead log until there is no room; writes without room */
static const sqlite3_io_methods *real_log_methods;
static sqlite3_io_methods full_log_methods;
static _Atomic(sqlite3_file *) refused; /* the last file that was opened: it gets no write lock while `refuses` */

static int failing_unlock(sqlite3_file *file, int level)
{
    if (atomic_load(&keeps)) {
        atomic_fetch_add(&n_kept, 1);
        return SQLITE_IOERR_UNLOCK;
    }
    return real_methods->xUnlock(file, level);
}

static int failing_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    if (atomic_load(&keeps) && flags & SQLITE_SHM_UNLOCK) {
        atomic_fetch_add(&n_kept, 1);
        return SQLITE_BUSY;
    }
    if (atomic_load(&refuses) && file == atomic_load(&refused) && offset == 0 && flags & SQLITE_SHM_LOCK) {
        atomic_fetch_add(&n_refused, 1);
        return SQLITE_BUSY;
    }
    return real_methods->xShmLock(file, offset, n, flags);
}

static int failing_close(sqlite3_file *file)
{
    if (file == atomic_load(&refused)) {
        atomic_store(&refuses, false);
    }
    return real_methods->xClose(file);
}

static int full_write(sqlite3_file *file, const void *bytes, int n, sqlite3_int64 at)
{
    if (atomic_fetch_sub(&writes_left, 1) <= 0) {
        atomic_fetch_add(&n_full, 1);
        return SQLITE_FULL;
    }
    return real_log_methods->xWrite(file, bytes, n, at);
}

static int failing_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *pflags)
{
    (void)vfs;
    int code = real_vfs->xOpen(real_vfs, name, file, flags, pflags);
    if (code == SQLITE_OK && flags & SQLITE_OPEN_MAIN_DB) {
        file->pMethods = &failing_methods;
        if (flags & SQLITE_OPEN_READWRITE && !atomic_load(&refuses)) {
            atomic_store(&refused, file);
        }
    } else if (code == SQLITE_OK && flags & SQLITE_OPEN_WAL) {
        real_log_methods = file->pMethods;
        full_log_methods = *real_log_methods;
        full_log_methods.xWrite = full_write;
        file->pMethods = &full_log_methods;
    }
    return code;
}

/* What SQLite's own file system does with a database file; the same for each. */
static void methods_take(const char *path)
{
    sqlite3_file *file = ac_alloc((size_t)real_vfs->szOsFile);
    int flags = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    assert_int_equal(real_vfs->xOpen(real_vfs, path, file, flags, &flags), SQLITE_OK);
    real_methods = file->pMethods;
    failing_methods = *real_methods;
    failing_methods.xUnlock = failing_unlock;
    failing_methods.xShmLock = failing_shm_lock;
    failing_methods.xClose = failing_close;
    real_methods->xClose(file);
    free(file);
}

static int failures_setup(void **state)
{
    atomic_store(&keeps, false);
    atomic_store(&refuses, false);
    atomic_store(&n_kept, 0);
    atomic_store(&n_refused, 0);
    atomic_store(&writes_left, INT_MAX);
    atomic_store(&n_full, 0);
    if (harness_setup(state) != 0) {
        return -1;
    }
    harness_t *harness = *state;
    methods_take(harness->path);
    return 0;
}

static int group_setup(void **state)
{
    (void)state;
    real_vfs = sqlite3_vfs_find(NULL);
    failing_vfs = *real_vfs;
    failing_vfs.zName = "failing";
    failing_vfs.xOpen = failing_open;
    return sqlite3_vfs_register(&failing_vfs, 1);
}

/* ---- the store ---- */

enum { TRIED = 8, READS = 40 };

/* A thread of one turn and a read, when neither need succeed; how many messages were acknowledged. */
static int64_t tried(contract_ids_t *ids)
{
    char run[AC_ID_SIZE];
    int64_t n = 0;
    *ids = contract_ids();
    ac_id_make(run, "run_");
    for (int i = 0; i < 2 && n == i; i++) {
        ac_store_op_t *op = contract_op(i ? AC_STORE_TURN_CLOSE : AC_STORE_TURN_OPEN, ids->owner, ids->thread,
                                        i ? contract_close_in(ids, run, "a") : contract_open_in(ids, run, "q", true));
        op->deadline = ac_clock() + SOON;
        contract_wait(op);
        n += op->status == APR_SUCCESS;
        ac_store_op_free(op);
        op = contract_op(AC_STORE_MESSAGE_LIST, ids->owner, ids->thread, NULL);
        op->deadline = ac_clock() + SOON;
        ac_store_op_free(contract_wait(op));
    }
    return n;
}

static void turn_works(void)
{
    contract_ids_t ids = contract_ids();
    char run[AC_ID_SIZE] = "";
    assert_int_equal(contract_open(&ids, run, "q", true), 1);
    assert_int_equal(contract_close(&ids, run, "a"), 2);
    contract_gapless(&ids, 2);
}

/* Many at once, so that each reader has some. */
static void reads_work(const contract_ids_t *ids)
{
    harness_gather_t *gather = ac_alloc(sizeof(*gather));
    for (int i = 0; i < READS; i++) {
        harness_post(gather, contract_op(AC_STORE_THREAD_GET, ids->owner, ids->thread, NULL));
    }
    harness_wait(gather);
    for (int i = 0; i < READS; i++) {
        contract_done(gather->ops[i]);
    }
    free(gather);
}

static void check_file(harness_t *harness)
{
    harness_stop(harness);
    assert_int_equal(harness_number(harness,
                                    "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"),
                     1);
    harness_change(harness, "BEGIN IMMEDIATE; UPDATE threads SET title = 'another'; COMMIT");
}

static void test_locks_that_were_not_released(void **state)
{
    harness_t *harness = *state;
    contract_ids_t before = contract_ids(), ids[TRIED];
    int64_t n[TRIED];
    char run[AC_ID_SIZE] = "";
    harness_start(harness, AC_OK);
    contract_open(&before, run, "q", true);
    reads_work(&before);
    atomic_store(&keeps, true);
    for (int i = 0; i < TRIED; i++) {
        n[i] = tried(&ids[i]);
    }
    assert_true(atomic_load(&n_kept) > 0);
    atomic_store(&keeps, false);
    turn_works();
    reads_work(&before);
    assert_true(harness_logged(209) > 0);
    contract_close(&before, run, "a");
    contract_gapless(&before, 2);
    for (int i = 0; i < TRIED; i++) {
        if (n[i]) {
            contract_gapless(&ids[i], n[i]);
        }
    }
    check_file(harness);
}

/* Each operation that waits is answered when its time is up, and the next start finds the file as it was. */
static void test_a_stop_while_locks_are_not_released(void **state)
{
    harness_t *harness = *state;
    harness_gather_t *gather = ac_alloc(sizeof(*gather));
    contract_ids_t before = contract_ids(), ids;
    char run[AC_ID_SIZE] = "";
    harness_start(harness, AC_OK);
    contract_open(&before, run, "q", true);
    atomic_store(&keeps, true);
    tried(&ids);
    for (int i = 0; i < READS; i++) {
        bool writes = i % 2;
        ac_store_op_t *op = contract_op(writes ? AC_STORE_THREAD_UPDATE : AC_STORE_THREAD_GET, before.owner,
                                        before.thread, writes ? json_pack("{s:s}", "title", "new") : NULL);
        op->deadline = ac_clock() + SOON;
        harness_post(gather, op);
    }
    harness_stop(harness);
    assert_int_equal(atomic_load(&gather->n_done), gather->n);
    for (int i = 0; i < gather->n; i++) {
        ac_store_op_free(gather->ops[i]);
    }
    atomic_store(&keeps, false);
    harness_start(harness, AC_OK);
    contract_close(&before, run, "a");
    contract_gapless(&before, 2);
    check_file(harness);
    free(gather);
}

static void test_a_lock_that_a_connection_does_not_get_any_more(void **state)
{
    harness_t *harness = *state;
    contract_ids_t before = contract_ids(), ids;
    char run[AC_ID_SIZE] = "";
    harness_start(harness, AC_OK);
    contract_open(&before, run, "q", true);
    atomic_store(&refuses, true);
    assert_int_equal(tried(&ids), 0);
    assert_true(atomic_load(&n_refused) > 0);
    turn_works();
    reads_work(&before);
    assert_false(atomic_load(&refuses));
    assert_true(harness_logged(209) > 0);
    check_file(harness);
}

/* It looks the same; nothing is lost, whether connections are renewed or not. */
static void test_a_file_that_another_process_locks(void **state)
{
    harness_t *harness = *state;
    contract_ids_t ids;
    harness_start(harness, AC_OK);
    sqlite3 *other = harness_open(harness);
    harness_exec(other, "BEGIN IMMEDIATE");
    for (int i = 0; i < TRIED; i++) {
        assert_int_equal(tried(&ids), 0);
    }
    harness_exec(other, "ROLLBACK");
    sqlite3_close(other);
    turn_works();
    check_file(harness);
}

/* The room ends at each write of an answer that is larger than the page cache: it is stored whole or not at all, and
 * the next one is stored as soon as there is room. */
static void test_a_log_without_room(void **state)
{
    harness_t *harness = *state;
    char *large = ac_alloc(AC_MAX_CONTENT + 1);
    memset(large, 'x', AC_MAX_CONTENT);
    harness_start(harness, AC_OK);
    harness_exec(harness_writer(), "PRAGMA cache_size = 10");
    bool fits = false;
    for (int room = 0; !fits; room++) {
        contract_ids_t ids = contract_ids();
        char run[AC_ID_SIZE] = "";
        contract_open(&ids, run, "q", true);
        atomic_store(&n_full, 0);
        atomic_store(&writes_left, room);
        ac_store_op_t *op =
            contract_call(AC_STORE_TURN_CLOSE, ids.owner, ids.thread, contract_close_in(&ids, run, large));
        fits = atomic_load(&n_full) == 0;
        assert_int_equal(op->status == APR_SUCCESS, fits);
        ac_store_op_free(op);
        atomic_store(&writes_left, INT_MAX);
        if (!fits) {
            contract_gapless(&ids, 1);
            assert_int_equal(contract_close(&ids, run, "small"), 2);
        }
        contract_gapless(&ids, 2);
        assert_true(room < 1000);
    }
    free(large);
    check_file(harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_locks_that_were_not_released, failures_setup, harness_teardown),
        cmocka_unit_test_setup_teardown(test_a_stop_while_locks_are_not_released, failures_setup, harness_teardown),
        cmocka_unit_test_setup_teardown(test_a_lock_that_a_connection_does_not_get_any_more, failures_setup,
                                        harness_teardown),
        cmocka_unit_test_setup_teardown(test_a_file_that_another_process_locks, failures_setup, harness_teardown),
        cmocka_unit_test_setup_teardown(test_a_log_without_room, failures_setup, harness_teardown),
    };
    int n_failed;

    apr_initialize();
    n_failed = cmocka_run_group_tests_name("sqlite_locks", tests, group_setup, NULL);
    apr_terminate();
    return n_failed;
}
