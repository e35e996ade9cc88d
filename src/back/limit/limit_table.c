/* SPDX-License-Identifier: Apache-2.0 */
/* The table's memory: a mapped file, its lock, and the removal of dead processes' reservations. */
#include "limit_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "aclimit1"
#define PATIENCE apr_time_from_sec(2) /* for a holder of the lock that does not get the processor on a busy machine */

_Static_assert((AC_MAX_COUNTS & (AC_MAX_COUNTS - 1)) == 0 && (AC_MAX_HOLDS & (AC_MAX_HOLDS - 1)) == 0, "powers of two");

uint64_t ac_limit_table_mark(const unsigned char key[AC_COUNT_KEY])
{
    uint64_t mark;
    memcpy(&mark, key, sizeof(mark));
    return mark;
}

/* ---- the lock ---- */

void ac_limit_table_drop_hold(ac_limit_table_t *table, uint32_t record)
{
    ac_hold_t *hold = &table->holds[record];
    ac_slot_t *slot = &table->slots[hold->slot];
    if (slot->window && slot->epoch == hold->epoch && ac_limit_table_mark(slot->key) == hold->mark) {
        slot->held -= hold->amount < slot->held ? hold->amount : slot->held;
    }
    hold->amount = 0;
    hold->next = table->head->first_free;
    table->head->first_free = record + 1;
}

/* A process was killed while it held the lock. An amount it was about to spend is counted or not, and no client relies
 * on it; reserved amounts are restored from the records. */
static void rebuild(ac_limit_table_t *table)
{
    ac_table_head_t *head = table->head;
    for (uint32_t i = 0; i < head->n_slots; i++) {
        table->slots[i].held = 0;
    }
    head->first_free = 0;
    for (uint32_t i = head->n_used; i-- > 0;) {
        ac_hold_t *hold = &table->holds[i];
        ac_slot_t *slot = &table->slots[hold->slot & (head->n_slots - 1)];
        if (!hold->amount) {
            hold->next = head->first_free;
            head->first_free = i + 1;
        } else if (slot->window && slot->epoch == hold->epoch && ac_limit_table_mark(slot->key) == hold->mark) {
            slot->held += hold->amount;
        }
    }
}

apr_status_t ac_limit_table_lock(ac_limit_table_t *table, ac_err_t *err)
{
    int status = ac_shared_lock_acquire(&table->head->lock, PATIENCE);
    if (status == EOWNERDEAD) {
        rebuild(table);
    } else if (status) {
        return ac_err_set(err, AC_OVERLOADED, "the counts of the limits cannot be locked");
    }
    return APR_SUCCESS;
}

void ac_limit_table_unlock(ac_limit_table_t *table)
{
    ac_shared_lock_release(&table->head->lock);
}

/* ---- the memory ---- */

static size_t head_size(void)
{
    return (sizeof(ac_table_head_t) + 4095) & ~(size_t)4095;
}

static void limit_table_place(ac_limit_table_t *table, void *memory)
{
    table->head = memory;
    table->slots = (ac_slot_t *)((char *)memory + head_size());
    table->holds = (ac_hold_t *)(table->slots + AC_MAX_COUNTS);
}

static size_t whole_size(void)
{
    return head_size() + AC_MAX_COUNTS * sizeof(ac_slot_t) + AC_MAX_HOLDS * sizeof(ac_hold_t);
}

/* No other process uses the file: reservations are dropped, spent amounts stay. */
static apr_status_t limit_table_begin(ac_limit_table_t *table)
{
    ac_table_head_t *head = table->head;
    table->fresh = memcmp(head->magic, MAGIC, sizeof(head->magic)) != 0 || head->n_used > AC_MAX_HOLDS;
    if (table->fresh) {
        memset(table->head, 0, table->size);
        head->seed = ac_random();
        head->n_slots = AC_MAX_COUNTS;
        head->n_holds = AC_MAX_HOLDS;
        memcpy(head->magic, MAGIC, sizeof(head->magic));
    }
    for (uint32_t i = 0; i < head->n_used; i++) {
        table->holds[i].amount = 0;
    }
    head->n_used = 0;
    rebuild(table);
    memset(head->holders, 0, sizeof(head->holders));
    head->saving_until = 0;
    head->shared_away = 0;
    return ac_shared_lock_init(&head->lock);
}

/* alone: the file is locked, so that no other process uses it. */
static apr_status_t map_file(ac_limit_table_t *table, bool alone)
{
    void *memory = MAP_FAILED;
    struct stat info;
    if (fstat(table->fd, &info)) {
        return errno;
    }
    if ((size_t)info.st_size != table->size && !alone) {
        return APR_EMISMATCH;
    }
    /* Allocates all of it now: a file system that is full later must not end the process. */
    if ((size_t)info.st_size != table->size) {
        int status = ftruncate(table->fd, 0) ? errno : posix_fallocate(table->fd, 0, (off_t)table->size);
        if (status) {
            return ftruncate(table->fd, 0) ? errno : status;
        }
    }
    memory = mmap(NULL, table->size, PROT_READ | PROT_WRITE, MAP_SHARED, table->fd, 0);
    if (memory == MAP_FAILED) {
        return errno;
    }
    limit_table_place(table, memory);
    return APR_SUCCESS;
}

/* The file stays locked in shared mode as long as this process or one of its children lives. */
static apr_status_t limit_table_open_file(ac_limit_table_t *table, const char *path)
{
    char name[512];
    struct stat space;
    /* Process numbers are valid inside of one namespace only. */
    unsigned long long where = stat("/proc/self/ns/pid", &space) ? 0 : (unsigned long long)space.st_ino;
    snprintf(name, sizeof(name), "%s-%llu-%u-%u", path, where, (unsigned)whole_size(),
             (unsigned)sizeof(pthread_mutex_t));
    table->fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (table->fd < 0) {
        return errno;
    }
    if (geteuid() == 0 && fstat(table->fd, &space) == 0 && space.st_uid != 0) {
        return APR_EACCES;
    }
    bool alone = flock(table->fd, LOCK_EX | LOCK_NB) == 0;
    if (!alone && flock(table->fd, LOCK_SH)) {
        return errno;
    }
    apr_status_t status = map_file(table, alone);
    if (status == APR_SUCCESS && alone) {
        status = limit_table_begin(table);
        flock(table->fd, LOCK_SH);
    }
    return status;
}

apr_status_t ac_limit_table_open(ac_limit_table_t **ptable, const char *path, ac_err_t *err)
{
    ac_limit_table_t *table = ac_alloc(sizeof(*table));
    apr_status_t status;
    table->size = whole_size();
    table->fd = -1;
    *ptable = NULL;
    if (path) {
        status = limit_table_open_file(table, path);
    } else {
        void *memory = mmap(NULL, table->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        status = memory == MAP_FAILED ? errno : APR_SUCCESS;
        if (status == APR_SUCCESS) {
            limit_table_place(table, memory);
            status = limit_table_begin(table);
        }
    }
    if (status != APR_SUCCESS) {
        ac_limit_table_close(table);
        err->status = status;
        return ac_err_set(err, AC_INTERNAL, "the memory for the counts of the limits cannot be had");
    }
    *ptable = table;
    return APR_SUCCESS;
}

void ac_limit_table_close(ac_limit_table_t *table)
{
    if (!table) {
        return;
    }
    if (table->head) {
        munmap(table->head, table->size);
    }
    if (table->fd >= 0) {
        close(table->fd);
    }
    free(table);
}

static bool limit_table_note(ac_limit_table_t *table, uint32_t bit, bool up)
{
    uint32_t before = up ? __atomic_fetch_and(&table->head->shared_away, ~bit, __ATOMIC_ACQ_REL)
                         : __atomic_fetch_or(&table->head->shared_away, bit, __ATOMIC_ACQ_REL);
    return ((before & bit) != 0) == up;
}

bool ac_limit_table_note_shared(ac_limit_table_t *table, bool up)
{
    return limit_table_note(table, 1, up);
}

bool ac_limit_table_note_mirror(ac_limit_table_t *table, bool up)
{
    return limit_table_note(table, 2, up);
}

/* ---- holders ---- */

/* The caller holds the lock. */
static void drop_holder(ac_limit_table_t *table, uint32_t holder)
{
    for (uint32_t i = 0; i < table->head->n_used; i++) {
        if (table->holds[i].amount && table->holds[i].holder == holder) {
            ac_limit_table_drop_hold(table, i);
        }
    }
    table->head->holders[holder - 1].pid = 0;
}

apr_status_t ac_limit_table_join(ac_limit_table_t *table, ac_err_t *err)
{
    int64_t pid = (int64_t)getpid(), started = ac_process_started(pid);
    ac_limit_table_sweep(table);
    apr_status_t status = ac_limit_table_lock(table, err);
    if (status != APR_SUCCESS) {
        return status;
    }
    table->holder = 0;
    table->pid = pid;
    for (uint32_t i = 0; i < AC_MAX_HOLDERS && !table->holder; i++) {
        if (!table->head->holders[i].pid) {
            table->head->holders[i] = (ac_holder_t){pid, started};
            table->holder = i + 1;
        }
    }
    ac_limit_table_unlock(table);
    return table->holder
        ? APR_SUCCESS
        : ac_err_set(err, AC_OVERLOADED, "more than %d processes use one table of limits", AC_MAX_HOLDERS);
}

void ac_limit_table_leave(ac_limit_table_t *table)
{
    if (!table || !table->holder || table->pid != (int64_t)getpid() ||
        ac_limit_table_lock(table, NULL) != APR_SUCCESS) {
        return;
    }
    drop_holder(table, table->holder);
    table->holder = 0;
    ac_limit_table_unlock(table);
}

/* The state of a process is read from a file, which must not happen while the lock is held. */
void ac_limit_table_sweep(ac_limit_table_t *table)
{
    for (uint32_t i = 0; i < AC_MAX_HOLDERS; i++) {
        ac_holder_t *holder = &table->head->holders[i];
        int64_t pid = __atomic_load_n(&holder->pid, __ATOMIC_RELAXED),
                started = __atomic_load_n(&holder->started, __ATOMIC_RELAXED);
        int64_t now = pid ? ac_process_started(pid) : started;
        if (now == started || now < 0 || ac_limit_table_lock(table, NULL) != APR_SUCCESS) {
            continue;
        }
        if (holder->pid == pid && holder->started == started) {
            drop_holder(table, i + 1);
        }
        ac_limit_table_unlock(table);
    }
}
