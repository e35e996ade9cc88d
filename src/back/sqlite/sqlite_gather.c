/* SPDX-License-Identifier: Apache-2.0 */
/* The VFS of the writer's connection. SQLite writes the write-ahead log in two calls for each page, a frame's header
 * and the page; this gathers what is contiguous, and one call writes it.
 *
 * Gathered bytes reach the file before anybody could look for them there: before any other operation on the log, before
 * its sync, and before a lock is released, with which another process may begin to write. SQLite publishes frames only
 * after the sync (synchronous = FULL, without which nothing is gathered). If a write of gathered bytes fails, the
 * calls that brought them have already succeeded, so each further operation on the log fails until the transaction has
 * ended and its lock is released.
 *
 * The file itself gets its pages at checkpoints. With secure_delete SQLite overwrites rows that are removed, but where
 * it packs the cells of a page again, old copies of them can stay in the gap before them. The gaps are zeros in what
 * is written here. */
#include "sqlite_internal.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GATHER_SIZE (64 * 1024)
#define PAGE_SIZE_MIN 512
#define PAGE_SIZE_MAX 65536
#define VACUUM_AT 52 /* in the file: four bytes, zeros unless it has auto_vacuum and its pages of another form */
/* The other pages without a type begin with the number of a page. With fewer pages its first byte is no page's type. */
#define MOST_PAGES (1 << 24)
#define WRITE_LOCK 0 /* among the locks of the log: the one that a transaction holds which writes */

typedef struct ac_sqlite_gather_t { /* an open file; SQLite's own follows it in memory */
    sqlite3_file base;
    sqlite3_file *file;
    ac_sqlite_t *store;
    char *bytes;          /* NULL: any other file than the log */
    unsigned char *blank; /* room for a page; NULL: any other file than the database */
    int n;
    sqlite3_int64 at; /* of the first byte, in the file */
    int failed;       /* the code of a write that failed; 0: none */
} gather_t;

static int gather_flush(gather_t *gather)
{
    if (gather->n && !gather->failed) {
        gather->failed = gather->file->pMethods->xWrite(gather->file, gather->bytes, gather->n, gather->at);
    }
    gather->n = 0;
    return gather->failed;
}

/* Bytes that are left belong to no committed transaction, and the lock may have gone to another process. */
static int gather_close(sqlite3_file *base)
{
    gather_t *gather = (gather_t *)base;
    if (gather->store->gathering == gather) {
        gather->store->gathering = NULL;
    }
    free(gather->bytes);
    free(gather->blank);
    return gather->file->pMethods->xClose(gather->file);
}

static int gather_read(sqlite3_file *base, void *bytes, int n, sqlite3_int64 at)
{
    gather_t *gather = (gather_t *)base;
    int code = gather_flush(gather);
    return code ? code : gather->file->pMethods->xRead(gather->file, bytes, n, at);
}

/* The page as it is to be written: without what is left of removed rows. */
static const void *page_of(gather_t *gather, const void *bytes, int n, sqlite3_int64 at)
{
    const sqlite3_io_methods *inner = gather->file->pMethods;
    unsigned char vacuum[4];
    sqlite3_int64 size;

    if (n < PAGE_SIZE_MIN || n > PAGE_SIZE_MAX || at % n ||
        inner->xRead(gather->file, vacuum, sizeof(vacuum), VACUUM_AT) != SQLITE_OK ||
        memcmp(vacuum, "\0\0\0", sizeof(vacuum)) != 0 || inner->xFileSize(gather->file, &size) != SQLITE_OK ||
        size / n >= MOST_PAGES) {
        return bytes;
    }
    return ac_sqlite_page_blank(gather->blank, bytes, n, at == 0) ? gather->blank : bytes;
}

static int gather_write(sqlite3_file *base, const void *bytes, int n, sqlite3_int64 at)
{
    gather_t *gather = (gather_t *)base;
    bool fits = gather->bytes && n <= GATHER_SIZE;

    if (gather->blank) {
        return gather->file->pMethods->xWrite(gather->file, page_of(gather, bytes, n, at), n, at);
    }
    if (!fits || gather->failed || at != gather->at + gather->n || gather->n + n > GATHER_SIZE) {
        int code = gather_flush(gather);
        if (code || !fits) {
            return code ? code : gather->file->pMethods->xWrite(gather->file, bytes, n, at);
        }
        gather->at = at;
    }
    memcpy(gather->bytes + gather->n, bytes, (size_t)n);
    gather->n += n;
    return SQLITE_OK;
}

static int gather_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    gather_t *gather = (gather_t *)base;
    int code = gather_flush(gather);
    return code ? code : gather->file->pMethods->xTruncate(gather->file, size);
}

static int gather_sync(sqlite3_file *base, int flags)
{
    gather_t *gather = (gather_t *)base;
    int code = gather_flush(gather);
    return code ? code : gather->file->pMethods->xSync(gather->file, flags);
}

static int gather_size(sqlite3_file *base, sqlite3_int64 *size)
{
    gather_t *gather = (gather_t *)base;
    int code = gather_flush(gather);
    return code ? code : gather->file->pMethods->xFileSize(gather->file, size);
}

/* ---- on the database's file, which has the locks ---- */

static int gather_lock(sqlite3_file *base, int lock)
{
    gather_t *gather = (gather_t *)base;
    return gather->file->pMethods->xLock(gather->file, lock);
}

static int gather_unlock(sqlite3_file *base, int lock)
{
    gather_t *gather = (gather_t *)base;
    return gather->file->pMethods->xUnlock(gather->file, lock);
}

static int gather_check_reserved(sqlite3_file *base, int *reserved)
{
    gather_t *gather = (gather_t *)base;
    return gather->file->pMethods->xCheckReservedLock(gather->file, reserved);
}

static int gather_control(sqlite3_file *base, int op, void *arg)
{
    gather_t *gather = (gather_t *)base;
    return gather->file->pMethods->xFileControl(gather->file, op, arg);
}

static int gather_sector(sqlite3_file *base)
{
    gather_t *gather = (gather_t *)base;
    return gather->file->pMethods->xSectorSize(gather->file);
}

static int gather_device(sqlite3_file *base)
{
    gather_t *gather = (gather_t *)base;
    return gather->file->pMethods->xDeviceCharacteristics(gather->file);
}

static int gather_shm_map(sqlite3_file *base, int page, int size, int extend, void volatile **pmemory)
{
    gather_t *gather = (gather_t *)base;
    return gather->file->pMethods->xShmMap(gather->file, page, size, extend, pmemory);
}

static int gather_shm_lock(sqlite3_file *base, int offset, int n, int flags)
{
    gather_t *gather = (gather_t *)base, *log = gather->store->gathering;
    if (log && offset == WRITE_LOCK && flags & SQLITE_SHM_UNLOCK) {
        gather_flush(log);
        log->failed = SQLITE_OK;
    }
    return gather->file->pMethods->xShmLock(gather->file, offset, n, flags);
}

static void gather_shm_barrier(sqlite3_file *base)
{
    gather_t *gather = (gather_t *)base;
    gather->file->pMethods->xShmBarrier(gather->file);
}

static int gather_shm_unmap(sqlite3_file *base, int removes)
{
    gather_t *gather = (gather_t *)base;
    return gather->file->pMethods->xShmUnmap(gather->file, removes);
}

static int gather_fetch(sqlite3_file *base, sqlite3_int64 at, int n, void **ppage)
{
    gather_t *gather = (gather_t *)base;
    *ppage = NULL;
    return gather->file->pMethods->iVersion < 3 ? SQLITE_OK
                                                : gather->file->pMethods->xFetch(gather->file, at, n, ppage);
}

static int gather_unfetch(sqlite3_file *base, sqlite3_int64 at, void *page)
{
    gather_t *gather = (gather_t *)base;
    return gather->file->pMethods->iVersion < 3 ? SQLITE_OK : gather->file->pMethods->xUnfetch(gather->file, at, page);
}

static const sqlite3_io_methods methods = {
    .iVersion = 3,
    .xClose = gather_close,
    .xRead = gather_read,
    .xWrite = gather_write,
    .xTruncate = gather_truncate,
    .xSync = gather_sync,
    .xFileSize = gather_size,
    .xLock = gather_lock,
    .xUnlock = gather_unlock,
    .xCheckReservedLock = gather_check_reserved,
    .xFileControl = gather_control,
    .xSectorSize = gather_sector,
    .xDeviceCharacteristics = gather_device,
    .xShmMap = gather_shm_map,
    .xShmLock = gather_shm_lock,
    .xShmBarrier = gather_shm_barrier,
    .xShmUnmap = gather_shm_unmap,
    .xFetch = gather_fetch,
    .xUnfetch = gather_unfetch,
};

/* ---- the VFS ---- */

static int gather_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *pflags)
{
    ac_sqlite_t *store = (ac_sqlite_t *)((char *)vfs - offsetof(ac_sqlite_t, writer_vfs));
    gather_t *gather = (gather_t *)base;
    *gather = (gather_t){.file = (sqlite3_file *)(gather + 1), .store = store};
    bool is_log = (flags & SQLITE_OPEN_WAL) && store->sync_full;
    if (is_log && !(gather->bytes = malloc(GATHER_SIZE))) {
        return SQLITE_NOMEM;
    }
    if (flags & SQLITE_OPEN_MAIN_DB && !(gather->blank = malloc(PAGE_SIZE_MAX))) {
        return SQLITE_NOMEM;
    }
    int code = store->vfs.xOpen(&store->vfs, name, gather->file, flags, pflags);
    if (code != SQLITE_OK) {
        free(gather->bytes);
        free(gather->blank);
        return code;
    }
    if (is_log) {
        store->gathering = gather;
    }
    gather->base.pMethods = &methods;
    return SQLITE_OK;
}

void ac_sqlite_gather_vfs_start(ac_sqlite_t *store)
{
    store->gathering = NULL;
    *store->writer_vfs_name = '\0';
    if (!*store->vfs_name) {
        return;
    }
    store->writer_vfs = store->vfs;
    store->writer_vfs.szOsFile += (int)sizeof(gather_t);
    store->writer_vfs.zName = store->writer_vfs_name;
    store->writer_vfs.xOpen = gather_open;
    snprintf(store->writer_vfs_name, sizeof(store->writer_vfs_name), "%s-writer", store->vfs_name);
    if (sqlite3_vfs_register(&store->writer_vfs, 0) != SQLITE_OK) {
        *store->writer_vfs_name = '\0';
    }
}

void ac_sqlite_gather_vfs_stop(ac_sqlite_t *store)
{
    if (*store->writer_vfs_name) {
        sqlite3_vfs_unregister(&store->writer_vfs);
    }
    *store->writer_vfs_name = '\0';
}
