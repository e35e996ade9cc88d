/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store: its configuration, its queues, and one writer thread and a few reader threads per child. */
#include "sqlite_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_strings.h>

#define CONTENDED_FOR apr_time_from_msec(200)
#define FILL_PAUSE apr_time_from_msec(2)
#define SWEEP_PATIENCE apr_time_from_sec(1) /* longest wait of a starting child for another process's lock */

/* ---- queues ---- */

static void queue_push(ac_store_op_t **pfirst, ac_store_op_t **plast, ac_store_op_t *op)
{
    op->next = NULL;
    if (*plast) {
        (*plast)->next = op;
    } else {
        *pfirst = op;
    }
    *plast = op;
}

static ac_store_op_t *queue_pop(ac_store_op_t **pfirst, ac_store_op_t **plast)
{
    ac_store_op_t *op = *pfirst;

    *pfirst = op->next;
    if (!*pfirst) {
        *plast = NULL;
    }
    op->next = NULL;
    return op;
}

void ac_sqlite_store_write_post(ac_sqlite_t *store, ac_store_op_t *op)
{
    pthread_mutex_lock(&store->lock);
    queue_push(&store->write_first, &store->write_last, op);
    store->n_queued++;
    pthread_mutex_unlock(&store->lock);
    pthread_cond_signal(&store->written); /* after the unlock: the writer would wake only to wait for the lock */
}

bool ac_sqlite_store_is_stopping(ac_sqlite_t *store)
{
    bool stopping;

    pthread_mutex_lock(&store->lock);
    stopping = store->stopping;
    pthread_mutex_unlock(&store->lock);
    return stopping;
}

void ac_sqlite_store_answer(ac_sqlite_t *store, ac_store_op_t *op, apr_status_t status)
{
    op->status = status;
    if (status != APR_SUCCESS && op->err.kind != AC_RUN_IN_PROGRESS && op->err.kind != AC_IDEMPOTENCY_CONFLICT) {
        json_decref(op->out);
        op->out = NULL;
    }
    store->host->store_done(op);
}

/* ---- threads ---- */

/* Waits with the store's lock held; closes a connection of an older generation first. */
static void wait_idle(ac_sqlite_conn_t *conn, pthread_cond_t *cond)
{
    if (!ac_sqlite_renew_is_due(conn)) {
        pthread_cond_wait(cond, &conn->store->lock);
        return;
    }
    pthread_mutex_unlock(&conn->store->lock);
    ac_sqlite_conn_close(conn);
    pthread_mutex_lock(&conn->store->lock);
}

static void *reader_main(void *baton)
{
    ac_sqlite_conn_t *conn = baton;
    ac_sqlite_t *store = conn->store;
    ac_store_op_t *op;

    pthread_mutex_lock(&store->lock);
    while (true) {
        while (!store->read_first && !store->stopping) {
            wait_idle(conn, &store->asked);
        }
        if (!store->read_first) {
            break;
        }
        op = queue_pop(&store->read_first, &store->read_last);
        store->n_queued--;
        pthread_mutex_unlock(&store->lock);
        /* An operation that the full queue refused also comes this way, because it must not be answered inside the
         * caller's call. */
        if (op->err.kind != AC_OK) {
            ac_sqlite_store_answer(store, op, op->status);
        } else {
            ac_sqlite_group_read(conn, op);
        }
        pthread_mutex_lock(&store->lock);
    }
    pthread_mutex_unlock(&store->lock);
    ac_sqlite_conn_close(conn);
    pthread_mutex_lock(&store->lock);
    store->n_reading--;
    pthread_cond_signal(&store->written);
    pthread_mutex_unlock(&store->lock);
    return NULL;
}

/* Pauses between two transactions: a waiting child gets a moment in which the lock is free. */
static void yield_to_others(const ac_sqlite_conn_t *conn)
{
    if (conn->contended && ac_clock() - conn->contended < CONTENDED_FOR) {
        apr_sleep(100 + (apr_interval_time_t)(ac_random() % 300));
    }
}

/* Takes care of the full-text index: replaces a damaged one, or adds a part of an older file, with the store's lock
 * released; other processes get a moment afterwards. Returns false if there is nothing to do. */
static bool search_care(ac_sqlite_conn_t *conn)
{
    ac_sqlite_t *store = conn->store;
    int64_t damaged = store->damaged;
    bool more = true;

    if ((!damaged && !store->search_old) || !conn->db || store->stopping || ac_sqlite_renew_is_due(conn)) {
        return false;
    }
    pthread_mutex_unlock(&store->lock);
    if (damaged) {
        ac_sqlite_index_rebuild(conn, damaged);
    } else {
        more = ac_sqlite_search_fill(conn);
    }
    ac_sqlite_group_checkpoint(conn);
    apr_sleep(FILL_PAUSE);
    pthread_mutex_lock(&store->lock);
    store->search_old = store->search_old && more;
    if (damaged && store->damaged == damaged) {
        store->damaged = 0;
    }
    return true;
}

/* Fetches the queued operations, at most a group; none: the store stops. Readers may still pass on operations while
 * they finish. */
static void group_take(ac_sqlite_conn_t *conn, ac_sqlite_group_t *group)
{
    ac_sqlite_t *store = conn->store;

    group->n = 0;
    pthread_mutex_lock(&store->lock);
    while ((store->damaged && search_care(conn)) || (!store->write_first && (!store->stopping || store->n_reading))) {
        if (!store->write_first && !search_care(conn)) {
            wait_idle(conn, &store->written);
        }
    }
    while (store->write_first && group->n < AC_SQLITE_GROUP) {
        group->ops[group->n++] = queue_pop(&store->write_first, &store->write_last);
        store->n_queued--;
    }
    pthread_mutex_unlock(&store->lock);
}

static void *writer_main(void *baton)
{
    ac_sqlite_conn_t *conn = baton;
    ac_sqlite_group_t group;
    ac_err_t err;
    apr_status_t status;

    group_take(conn, &group);
    while (group.n) {
        ac_err_init(&err);
        status = ac_sqlite_conn_open(conn, ac_sqlite_group_until(&group, ac_clock() + AC_SQLITE_PATIENCE), &err);
        if (status == APR_SUCCESS) {
            ac_sqlite_group_run(conn, &group);
            ac_sqlite_group_checkpoint(conn);
            yield_to_others(conn);
        } else {
            ac_sqlite_group_fail(conn, &group, status, &err);
        }
        group_take(conn, &group);
    }
    return NULL;
}

/* ---- the table ---- */

static const char *path_problem(const char *path, bool given, apr_pool_t *p)
{
    struct stat info;
    char *directory;

    if (*path != '/') {
        return apr_psprintf(p,
                            "sqlite: '%s' is not an absolute path; give one like "
                            "sqlite:/var/lib/agentchat/agentchat.db",
                            path);
    }
    directory = apr_pstrdup(p, path);
    *strrchr(directory, '/') = '\0';
    if (path[strlen(directory) + 1] == '\0' || (stat(path, &info) == 0 && !S_ISREG(info.st_mode))) {
        return apr_psprintf(p, "sqlite: '%s' is not the name of a file", path);
    }
    /* The state directory may be created later, when the server starts. */
    if (given && (stat(*directory ? directory : "/", &info) != 0 || !S_ISDIR(info.st_mode))) {
        return apr_psprintf(p, "sqlite: the directory of '%s' does not exist; make it, writable for the server's user",
                            path);
    }
    return NULL;
}

static const char *options_read(ac_sqlite_t *store, const apr_table_t *options, apr_pool_t *p)
{
    const apr_array_header_t *rows = apr_table_elts(options);
    const apr_table_entry_t *row = (const apr_table_entry_t *)rows->elts;
    char *end;

    for (int i = 0; i < rows->nelts; i++) {
        if (strcmp(row[i].key, "sync") == 0 && (strcmp(row[i].val, "full") == 0 || strcmp(row[i].val, "normal") == 0)) {
            store->sync_full = row[i].val[0] == 'f';
        } else if (strcmp(row[i].key, "sync") == 0) {
            return apr_psprintf(p, "sqlite: sync=%s is not known; give sync=full or sync=normal", row[i].val);
        } else if (strcmp(row[i].key, "search") == 0 &&
                   (strcmp(row[i].val, "on") == 0 || strcmp(row[i].val, "off") == 0)) {
            store->search = row[i].val[1] == 'n';
        } else if (strcmp(row[i].key, "search") == 0) {
            return apr_psprintf(p, "sqlite: search=%s is not known; give search=on or search=off", row[i].val);
        } else if (strcmp(row[i].key, "readers") == 0) {
            store->n_readers = (int)apr_strtoi64(row[i].val, &end, 10);
            if (*end || end == row[i].val || store->n_readers < 1 || store->n_readers > AC_SQLITE_READERS_MAX) {
                return apr_psprintf(p, "sqlite: readers=%s is not a number from 1 to %d", row[i].val,
                                    AC_SQLITE_READERS_MAX);
            }
        } else if (strcmp(row[i].key, "state_dir") != 0) {
            return apr_psprintf(p, "sqlite: there is no option %s; there are sync, readers and search", row[i].key);
        }
    }
    return NULL;
}

static const char *store_sqlite_create(void **pself, const char *spec, apr_table_t *options, apr_pool_t *p)
{
    ac_sqlite_t *store = apr_pcalloc(p, sizeof(*store));
    bool given = spec && *spec;
    const char *state_dir = options ? apr_table_get(options, "state_dir") : NULL;
    const char *problem;

    store->sync_full = store->search = true;
    store->n_readers = 2;
    problem = options ? options_read(store, options, p) : NULL;
    if (problem) {
        return problem;
    }
    if (!given && !(state_dir && *state_dir)) {
        return "sqlite: no path is given and there is no state directory; give one like "
               "sqlite:/var/lib/agentchat/agentchat.db";
    }
    store->path = given ? apr_pstrdup(p, spec) : apr_pstrcat(p, state_dir, "/agentchat.db", NULL);
    *pself = store;
    return path_problem(store->path, given, p);
}

/* Checks each file separately: the last process that closes the database removes the files next to it. */
static const char *check_access(void *self, apr_pool_t *p)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    const ac_sqlite_t *store = self;
    char *directory = apr_pstrndup(p, store->path, (apr_size_t)(strrchr(store->path, '/') - store->path));
    char reason[120];
    bool makes = false;

    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        const char *path = apr_pstrcat(p, store->path, suffixes[i], NULL);
        if (faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) == 0) {
            continue;
        }
        if (errno != ENOENT) {
            return apr_psprintf(p, "sqlite: '%s' cannot be read and written: %s", path,
                                apr_strerror(errno, reason, sizeof(reason)));
        }
        makes = true;
    }
    if (makes && faccessat(AT_FDCWD, *directory ? directory : "/", W_OK | X_OK, AT_EACCESS)) {
        return apr_psprintf(p, "sqlite: no file can be made in '%s': %s", directory,
                            apr_strerror(errno, reason, sizeof(reason)));
    }
    return NULL;
}

static apr_status_t threads_start(ac_sqlite_t *store, ac_err_t *err)
{
    sigset_t all, before;
    int cause = 0;

    /* Signals are for httpd's threads only. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_mutex_lock(&store->lock);
    for (int i = 0; !cause && i <= store->n_readers; i++) {
        cause = pthread_create(&store->threads[i], NULL, i ? reader_main : writer_main, &store->conns[i]);
        store->n_threads += !cause;
        store->n_reading += i && !cause;
    }
    pthread_mutex_unlock(&store->lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return cause ? ac_err_set(err, AC_INTERNAL, "the store's threads could not be started") : APR_SUCCESS;
}

/* A failure here supplies a reason for the log. The next operations try again, so a corrected file or directory needs
 * no restart. */
static apr_status_t open_all(ac_sqlite_t *store, ac_err_t *err)
{
    apr_time_t until = ac_clock() + AC_SQLITE_PATIENCE;
    int n_interrupted = 0;
    apr_status_t status = ac_sqlite_conn_open(&store->conns[0], until, err);

    if (status == APR_SUCCESS) {
        store->conns[0].patience = ac_clock() + SWEEP_PATIENCE;
        status = ac_sqlite_run_sweep(&n_interrupted, &store->conns[0], err);
        if (status != APR_SUCCESS && err->kind == AC_STORE_TIMEOUT) {
            /* Another process has the file locked. httpd need not wait: the next operation on such a run closes it. */
            ac_err_init(err);
            status = APR_SUCCESS;
        }
    }
    if (n_interrupted) {
        ac_log(AC_M208, 0, "store sqlite[%s]: %d runs of processes that died were closed as interrupted", store->path,
               n_interrupted);
    }
    for (int i = 1; status == APR_SUCCESS && i <= store->n_readers; i++) {
        status = ac_sqlite_conn_open(&store->conns[i], until, err);
    }
    return status;
}

static void store_sqlite_child_exit(void *self)
{
    ac_sqlite_t *store = self;

    if (!store->running) {
        return;
    }
    pthread_mutex_lock(&store->lock);
    store->stopping = true;
    pthread_cond_broadcast(&store->asked);
    pthread_cond_broadcast(&store->written);
    pthread_mutex_unlock(&store->lock);
    for (int i = store->n_threads - 1; i >= 0; i--) {
        pthread_join(store->threads[i], NULL);
    }
    /* The writer's last: the last connection that closes copies the log into the file. */
    for (int i = store->n_readers; i >= 0; i--) {
        ac_sqlite_conn_close(&store->conns[i]);
    }
    ac_sqlite_gather_vfs_stop(store);
    ac_sqlite_renew_vfs_stop(store);
    pthread_cond_destroy(&store->closed);
    pthread_cond_destroy(&store->asked);
    pthread_cond_destroy(&store->written);
    pthread_mutex_destroy(&store->lock);
    free(store->conns);
    free(store->threads);
    store->running = false;
}

static apr_status_t store_sqlite_child_init(void *self, const ac_host_t *host, ac_err_t *err)
{
    ac_sqlite_t *store = self;
    apr_status_t status, opened;

    store->host = host;
    pthread_mutex_init(&store->lock, NULL);
    pthread_cond_init(&store->written, NULL);
    pthread_cond_init(&store->asked, NULL);
    pthread_cond_init(&store->closed, NULL);
    store->write_first = store->write_last = store->read_first = store->read_last = NULL;
    store->n_queued = store->n_reading = store->n_threads = 0;
    memset(store->episodes, 0, sizeof(store->episodes));
    store->stopping = false;
    store->generation = 1;
    store->next_renewal = store->renewal_pause = 0;
    ac_sqlite_renew_vfs_start(store);
    ac_sqlite_gather_vfs_start(store);
    store->conns = ac_alloc((size_t)(store->n_readers + 1) * sizeof(*store->conns));
    store->threads = ac_alloc((size_t)(store->n_readers + 1) * sizeof(*store->threads));
    for (int i = 0; i <= store->n_readers; i++) {
        store->conns[i].store = store;
        store->conns[i].writes = i == 0;
        store->conns[i].mend = i == 0 ? AC_SQLITE_MEND_WRITE : AC_SQLITE_MEND_FORWARD;
    }
    store->running = true;
    opened = ac_sqlite_run_process(&store->process, err);
    if (opened == APR_SUCCESS) {
        opened = open_all(store, err);
    }
    status = threads_start(store, err);
    if (status != APR_SUCCESS) {
        store_sqlite_child_exit(store);
    }
    return opened == APR_SUCCESS ? status : opened;
}

static void store_sqlite_start_post(void *self, ac_store_op_t *op)
{
    ac_sqlite_t *store = self;

    op->status = APR_SUCCESS;
    ac_err_init(&op->err);
    op->page.limit = op->page.limit > 0 ? op->page.limit : 0; /* a negative value means no limit to SQLite */
    pthread_mutex_lock(&store->lock);
    if (store->n_queued >= AC_MAX_STORE_QUEUE) {
        op->status = ac_err_set(&op->err, AC_OVERLOADED, "the store has too much to do");
        op->err.retry_after = apr_time_from_sec(1);
    }
    store->n_queued++;
    bool to_writer = ac_sqlite_group_verb_writes(op->verb) && op->status == APR_SUCCESS;
    if (to_writer) {
        queue_push(&store->write_first, &store->write_last, op);
    } else {
        queue_push(&store->read_first, &store->read_last, op);
    }
    pthread_mutex_unlock(&store->lock);
    pthread_cond_signal(to_writer ? &store->written : &store->asked);
}

const ac_store_vt ac_store_sqlite = {
    .name = "sqlite",
    .create = store_sqlite_create,
    .child_init = store_sqlite_child_init,
    .start_post = store_sqlite_start_post,
    .child_exit = store_sqlite_child_exit,
    .check = check_access,
};
