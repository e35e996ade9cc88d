/* SPDX-License-Identifier: Apache-2.0 */
/* The loop: one thread that waits for descriptors, timers and posted commands, and runs what is ready. */
#include "io_internal.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EVENTS_PER_TURN 256 /* more would delay the writing of collected data too long */
#define READY_ROUNDS 8      /* rounds of tasks that set further tasks, before descriptors are checked again */
#define WAKE_KEY UINT64_MAX /* epoll data of the eventfd */
#define FOREVER ((apr_interval_time_t)-1)

typedef struct slot_t {  /* a watched descriptor; users change, slots stay */
    ac_watch_t *watch;   /* NULL: free */
    uint32_t generation; /* counts users, so that an old event does not reach a new user */
    uint32_t next_free;  /* index + 1; 0: none */
} slot_t;

typedef struct command_t {
    ac_task_fn *fn;
    void *baton;
} command_t;

typedef struct commands_t {
    command_t *items;
    int n, size;
} commands_t;

struct ac_loop_t {
    int epoll_fd, wake_fd;
    bool stopping; /* the last turn is running */
    apr_time_t now;
    apr_interval_time_t longest_turn; /* since ac_loop_longest_turn() */
    ac_timers_t timers;
    ac_ready_t ready; /* head of a ring */
    slot_t *slots;
    uint32_t n_slots, size_slots, free_slot;
    ac_multi_t *multi;
    commands_t running; /* swapped with posted: no allocation per turn */
    struct epoll_event events[EVENTS_PER_TURN];

    pthread_mutex_t lock; /* guards the members below */
    commands_t posted;
    bool asleep, stop;
};

static _Thread_local const ac_loop_t *current;
#ifdef SYS_epoll_pwait2
static atomic_bool no_pwait2; /* the kernel has no epoll_pwait2 */
#endif

void *ac_loop_grow(void *items, size_t n, size_t size)
{
    void *grown = n <= SIZE_MAX / size ? realloc(items, n * size) : NULL;
    if (!grown) {
        ac_log(AC_M110, APR_ENOMEM, "loop: no memory for %" APR_SIZE_T_FMT " items while growing a table", n);
        abort();
    }
    return grown;
}

bool ac_loop_is_current(const ac_loop_t *loop)
{
    return current == loop;
}

apr_time_t ac_loop_now(const ac_loop_t *loop)
{
    return loop->now;
}

ac_timers_t *ac_loop_timers(ac_loop_t *loop)
{
    return &loop->timers;
}

ac_multi_t *ac_loop_multi(ac_loop_t *loop)
{
    return loop->multi;
}

/* ---- posted commands ---- */

static void loop_wake(ac_loop_t *loop)
{
    /* The eventfd is watched edge-triggered and never read: each write is an edge, and its counter of 64 bits never
     * overflows. */
    uint64_t one = 1;
    while (write(loop->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

static void post(ac_loop_t *loop, ac_task_fn *fn, void *baton, bool wakes)
{
    pthread_mutex_lock(&loop->lock);
    commands_t *posted = &loop->posted;
    if (posted->n == posted->size) {
        posted->size = posted->size ? posted->size * 2 : 64;
        posted->items = ac_loop_grow(posted->items, (size_t)posted->size, sizeof(*posted->items));
    }
    posted->items[posted->n++] = (command_t){fn, baton};
    bool wake = wakes && loop->asleep;
    if (wake) {
        loop->asleep = false;
    }
    pthread_mutex_unlock(&loop->lock);
    if (wake) {
        loop_wake(loop);
    }
}

void ac_loop_post(ac_loop_t *loop, ac_task_fn *fn, void *baton)
{
    post(loop, fn, baton, true);
}

void ac_loop_post_later(ac_loop_t *loop, ac_task_fn *fn, void *baton)
{
    post(loop, fn, baton, false);
}

void ac_loop_stop_post(ac_loop_t *loop)
{
    pthread_mutex_lock(&loop->lock);
    loop->stop = true;
    bool asleep = loop->asleep;
    loop->asleep = false;
    pthread_mutex_unlock(&loop->lock);
    if (asleep) {
        loop_wake(loop);
    }
}

/* Whether the loop may sleep. If it may, the next post has to wake it. */
static bool fall_asleep(ac_loop_t *loop)
{
    pthread_mutex_lock(&loop->lock);
    bool idle = !loop->posted.n && !loop->stop;
    loop->asleep = idle;
    pthread_mutex_unlock(&loop->lock);
    return idle;
}

static void run_posted(ac_loop_t *loop)
{
    pthread_mutex_lock(&loop->lock);
    loop->asleep = false;
    commands_t batch = loop->posted;
    loop->posted = loop->running;
    loop->posted.n = 0;
    loop->stopping = loop->stop;
    pthread_mutex_unlock(&loop->lock);
    loop->running = batch;
    for (int i = 0; i < batch.n; i++) {
        batch.items[i].fn(batch.items[i].baton);
    }
}

/* ---- ready list ---- */

static void link_last(ac_loop_t *loop, ac_ready_t *ready)
{
    ready->prev = loop->ready.prev;
    ready->next = &loop->ready;
    ready->prev->next = ready->next->prev = ready;
    ready->queued = true;
}

static void unlink_ready(ac_ready_t *ready)
{
    ready->prev->next = ready->next;
    ready->next->prev = ready->prev;
    ready->next = ready->prev = NULL;
    ready->queued = false;
}

void ac_loop_ready_set(ac_loop_t *loop, ac_ready_t *ready, ac_task_fn *fn, void *baton)
{
    if (!ready->queued) {
        ready->fn = fn;
        ready->baton = baton;
        link_last(loop, ready);
    }
}

void ac_loop_ready_cancel(ac_loop_t *loop, ac_ready_t *ready)
{
    (void)loop;
    if (ready->queued) {
        unlink_ready(ready);
    }
}

static bool any_ready(const ac_loop_t *loop)
{
    return loop->ready.next != &loop->ready;
}

static void run_ready(ac_loop_t *loop)
{
    for (int round = 0; round < READY_ROUNDS && any_ready(loop); round++) {
        ac_ready_t mark = {0};
        link_last(loop, &mark);
        for (ac_ready_t *ready; (ready = loop->ready.next) != &mark;) {
            unlink_ready(ready);
            ready->fn(ready->baton);
        }
        unlink_ready(&mark);
    }
}

/* ---- watched descriptors ---- */

static bool loop_take_slot(ac_loop_t *loop, ac_watch_t *watch)
{
    if (!loop->free_slot) {
        if (loop->n_slots == loop->size_slots) {
            uint32_t size = loop->size_slots ? loop->size_slots * 2 : 256;
            slot_t *slots = size < UINT32_MAX / 2 ? realloc(loop->slots, size * sizeof(*slots)) : NULL;
            if (!slots) {
                return false;
            }
            loop->slots = slots;
            loop->size_slots = size;
        }
        loop->slots[loop->n_slots++] = (slot_t){0};
        loop->free_slot = loop->n_slots;
    }
    watch->slot = loop->free_slot;
    slot_t *slot = &loop->slots[watch->slot - 1];
    loop->free_slot = slot->next_free;
    slot->watch = watch;
    return true;
}

static void give_slot(ac_loop_t *loop, ac_watch_t *watch)
{
    slot_t *slot = &loop->slots[watch->slot - 1];
    slot->watch = NULL;
    slot->generation++;
    slot->next_free = loop->free_slot;
    loop->free_slot = watch->slot;
    watch->slot = 0;
}

static int control(ac_loop_t *loop, int op, const ac_watch_t *watch, uint32_t events)
{
    uint32_t index = watch->slot - 1;
    struct epoll_event event = {.events = events};
    event.data.u64 = (uint64_t)loop->slots[index].generation << 32 | index;
    if (!epoll_ctl(loop->epoll_fd, op, watch->fd, &event)) {
        return 0;
    }
    /* Other code closed the descriptor, or duplicated and closed it. */
    if ((op == EPOLL_CTL_MOD && errno == ENOENT) || (op == EPOLL_CTL_ADD && errno == EEXIST)) {
        op = op == EPOLL_CTL_MOD ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
        return epoll_ctl(loop->epoll_fd, op, watch->fd, &event) ? errno : 0;
    }
    return errno;
}

apr_status_t ac_loop_watch_set(ac_loop_t *loop, ac_watch_t *watch, int fd, uint32_t events,
                               void (*fn)(void *baton, uint32_t events), void *baton)
{
    if (watch->slot && watch->fd != fd) {
        ac_loop_watch_cancel(loop, watch);
    }
    bool fresh = !watch->slot;
    if (fresh && !loop_take_slot(loop, watch)) {
        return APR_ENOMEM;
    }
    watch->fd = fd;
    watch->fn = fn;
    watch->baton = baton;
    /* Setting these two again arms them again. */
    if (!fresh && watch->events == events && !(events & (EPOLLONESHOT | EPOLLET))) {
        return APR_SUCCESS;
    }
    int status = control(loop, fresh ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, watch, events);
    if (status) {
        ac_loop_watch_cancel(loop, watch); /* the old watch would wake the loop without end */
        return status;
    }
    watch->events = events;
    return APR_SUCCESS;
}

void ac_loop_watch_cancel(ac_loop_t *loop, ac_watch_t *watch)
{
    if (watch->slot) {
        struct epoll_event none = {.events = 0};
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, &none);
        give_slot(loop, watch);
    }
}

static void loop_dispatch(ac_loop_t *loop, const struct epoll_event *event)
{
    uint32_t index = (uint32_t)event->data.u64, generation = (uint32_t)(event->data.u64 >> 32);
    if (event->data.u64 == WAKE_KEY || index >= loop->n_slots) {
        return;
    }
    slot_t *slot = &loop->slots[index];
    if (slot->watch && slot->generation == generation) {
        slot->watch->fn(slot->watch->baton, event->events);
    }
}

/* ---- the loop itself ---- */

static void note_turn(ac_loop_t *loop, apr_interval_time_t took)
{
    if (took > loop->longest_turn) {
        loop->longest_turn = took;
    }
}

apr_interval_time_t ac_loop_longest_turn(ac_loop_t *loop)
{
    apr_interval_time_t longest = loop->longest_turn;
    loop->longest_turn = 0;
    return longest;
}

/* Microseconds until something is due: 0, or FOREVER. */
static apr_interval_time_t loop_time_left(ac_loop_t *loop)
{
    if (any_ready(loop)) {
        return 0;
    }
    apr_time_t next = ac_timers_next(&loop->timers);
    if (!next) {
        return FOREVER;
    }
    apr_time_t now = ac_clock();
    note_turn(loop, now - loop->now);
    apr_interval_time_t left = next - now;
    return left > 0 ? left : 0;
}

static int wait_events(ac_loop_t *loop, apr_interval_time_t wait)
{
#ifdef SYS_epoll_pwait2
    if (wait > 0 && !atomic_load_explicit(&no_pwait2, memory_order_relaxed)) {
        struct timespec left = {wait / APR_USEC_PER_SEC, wait % APR_USEC_PER_SEC * 1000};
        long n = syscall(SYS_epoll_pwait2, loop->epoll_fd, loop->events, EVENTS_PER_TURN, &left, NULL, (size_t)0);
        if (n >= 0 || errno == EINTR) {
            return (int)n;
        }
        atomic_store(&no_pwait2, true); /* an older kernel, or a filter that forbids it */
    }
#endif
    apr_interval_time_t ms = wait > 0 ? (wait + 999) / 1000 : wait;
    return epoll_wait(loop->epoll_fd, loop->events, EVENTS_PER_TURN, ms > INT_MAX ? INT_MAX : (int)ms);
}

static bool turn(ac_loop_t *loop)
{
    apr_time_t began = loop->now;
    apr_interval_time_t wait = loop_time_left(loop);
    if (wait && !fall_asleep(loop)) {
        wait = 0;
    }
    int n = wait_events(loop, wait);
    if (n < 0 && errno != EINTR) {
        ac_log(AC_M101, errno, "loop: cannot wait any more while watching descriptors");
        return false;
    }
    loop->now = ac_clock();
    if (wait == 0) {
        note_turn(loop, loop->now - began);
    }
    for (int i = 0; i < n; i++) {
        loop_dispatch(loop, &loop->events[i]);
    }
    ac_timers_run(&loop->timers, loop->now);
    run_posted(loop);
    run_ready(loop);
    return !loop->stopping;
}

void ac_loop_run(ac_loop_t *loop)
{
    /* A closed peer is then an error of the write. TLS writes cannot set MSG_NOSIGNAL. */
    sigset_t pipe, before;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    const ac_loop_t *outer = current;
    current = loop;
    while (turn(loop)) {
    }
    current = outer;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static apr_status_t open_descriptors(ac_loop_t *loop)
{
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = loop->epoll_fd < 0 ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->wake_fd < 0) {
        return errno;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    event.data.u64 = WAKE_KEY;
    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) ? errno : APR_SUCCESS;
}

apr_status_t ac_loop_create(ac_loop_t **ploop, ac_err_t *err)
{
    *ploop = NULL;
    ac_loop_t *loop = calloc(1, sizeof(*loop));
    if (!loop) {
        return ac_err_set(err, AC_INTERNAL, "out of memory");
    }
    pthread_mutex_init(&loop->lock, NULL);
    loop->ready.next = loop->ready.prev = &loop->ready;
    loop->now = ac_clock();
    apr_status_t status = open_descriptors(loop);
    if (status) {
        ac_err_set(err, AC_INTERNAL, "no descriptors for the loop");
        if (err) {
            err->status = status;
        }
        goto leave;
    }
    status = ac_multi_create(&loop->multi, loop, err);

leave:
    if (status) {
        ac_loop_destroy(loop);
    } else {
        *ploop = loop;
    }
    return status;
}

void ac_loop_destroy(ac_loop_t *loop)
{
    if (!loop) {
        return;
    }
    ac_multi_destroy(loop->multi);
    ac_timers_free(&loop->timers);
    free(loop->slots);
    free(loop->posted.items);
    free(loop->running.items);
    if (loop->wake_fd >= 0) {
        close(loop->wake_fd);
    }
    if (loop->epoll_fd >= 0) {
        close(loop->epoll_fd);
    }
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}
