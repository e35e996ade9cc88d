/* SPDX-License-Identifier: Apache-2.0 */
/* What a child does about the event logs of others and about old ones of its own: takes over what the dead left, keeps ended logs for their
 * time, and listens to the other children. */
#include "agent/run/run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define SWEEP_EVERY apr_time_from_sec(60)
#define SWEEP_LOGS 4096               /* taken over in one go */
#define STALE apr_time_from_sec(60)   /* a place that nobody finished making */
#define TAKEN_AT_ONCE 32              /* in one turn of the loop */
#define DATAGRAMS 64                  /* read in one turn of the loop */
#define ASK_TRIES 50                  /* of a datagram to a child whose queue is full, 5 ms apart */
#define ASK_WAIT apr_time_from_sec(2) /* for our own loop, or another child's */

/* ---- ended logs ---- */

typedef struct ac_ended_log_t {
    char run_id[AC_ID_SIZE];
    apr_time_t due; /* ac_clock */
    struct ac_ended_log_t *next, *prev;
} ac_ended_log_t;

static void set_kept_timer(ac_engine_t *engine);

static void drop_first(ac_engine_t *engine)
{
    ac_ended_log_t *kept = engine->first_kept;
    engine->first_kept = kept->next;
    if (kept->next) {
        kept->next->prev = NULL;
    } else {
        engine->last_kept = NULL;
    }
    ac_event_log_unlink(engine->dir, kept->run_id);
    free(kept);
}

static void drop_old(void *baton)
{
    ac_engine_t *engine = baton;
    apr_time_t now = ac_loop_now(engine->loop);
    while (engine->first_kept && engine->first_kept->due <= now) {
        drop_first(engine);
    }
    set_kept_timer(engine);
}

/* ---- all logs together ---- */

static void event_sweep_trim(void *baton)
{
    const ac_event_dir_t *dir = ((ac_engine_t *)baton)->dir;
    ac_event_total_trim(ac_event_dir_total(dir), ac_event_dir_path(dir));
}

static void event_sweep_trimmed(void *baton)
{
    ((ac_engine_t *)baton)->is_trimming = false;
}

/* Ended logs of this child go now, the oldest first; those of others a little later, so that this is seldom needed. */
static bool make_way(void *baton, size_t bytes)
{
    ac_engine_t *engine = baton;
    ac_event_total_t *total = ac_event_dir_total(engine->dir);
    if (!engine->is_trimming && !engine->stopping) {
        engine->is_trimming = ac_work_post(engine->work, event_sweep_trim, event_sweep_trimmed, engine) == APR_SUCCESS;
    }
    while (engine->first_kept && ac_event_total_bytes(total) + (int64_t)bytes > (int64_t)total->most) {
        drop_first(engine);
    }
    return ac_event_total_bytes(total) + (int64_t)bytes <= (int64_t)total->most;
}

static void set_kept_timer(ac_engine_t *engine)
{
    if (!engine->first_kept || engine->kept_timer.slot) {
        return;
    }
    ac_timer_set(engine->loop, &engine->kept_timer, engine->first_kept->due, drop_old, engine);
}

void ac_ended_log_keep(ac_engine_t *engine, ac_event_log_t *log)
{
    ac_ended_log_t *kept = ac_alloc(sizeof *kept), *before = engine->last_kept;
    apr_interval_time_t past = apr_time_now() - ac_event_log_ended(log);
    apr_interval_time_t left = past < 0 ? engine->conf.log_keep : engine->conf.log_keep - past;
    apr_cpystrn(kept->run_id, ac_event_log_header(log)->run_id, sizeof kept->run_id);
    kept->due = ac_loop_now(engine->loop) + (left > 0 ? left : 0);
    ac_event_log_close(log);
    while (before && before->due > kept->due) {
        before = before->prev;
    }
    kept->prev = before;
    kept->next = before ? before->next : engine->first_kept;
    *(kept->next ? &kept->next->prev : &engine->last_kept) = kept;
    *(before ? &before->next : &engine->first_kept) = kept;
    if (!before) {
        ac_timer_cancel(engine->loop, &engine->kept_timer);
    }
    set_kept_timer(engine);
}

/* ---- what the dead left ---- */

typedef struct found_t {
    ac_child_key_t child;
    char run_id[AC_ID_SIZE];
} found_t;

typedef struct sweep_t {
    ac_engine_t *engine;
    const ac_event_dir_t *dir;
    int lock_fd; /* one child at a time */
    found_t *found;
    int n_found, next;
    bool more;
    ac_timer_t timer;
} sweep_t;

static void find_logs(sweep_t *sweep, ac_child_key_t child)
{
    char path[AC_LOG_PATH_SIZE], name[AC_CHILD_NAME_SIZE];
    struct dirent *entry;
    bool any = false;
    ac_event_dir_child_name(name, child);
    snprintf(path, sizeof path, "%s/%s", ac_event_dir_path(sweep->dir), name);
    DIR *listing = opendir(path);
    while (listing && (entry = readdir(listing)) != NULL) {
        size_t len = strlen(entry->d_name);
        if (len < 5 || len - 4 >= AC_ID_SIZE || strcmp(entry->d_name + len - 4, ".log") != 0) {
            continue;
        }
        any = true;
        if (sweep->n_found == SWEEP_LOGS) {
            sweep->more = true;
            break;
        }
        found_t *found = &sweep->found[sweep->n_found++];
        found->child = child;
        memcpy(found->run_id, entry->d_name, len - 4);
        found->run_id[len - 4] = '\0';
    }
    if (listing) {
        closedir(listing);
    }
    if (!any) {
        ac_event_dir_remove(sweep->dir, child);
    }
}

/* A child that died while it made its place. */
static void remove_unfinished(const sweep_t *sweep)
{
    const char *top = ac_event_dir_path(sweep->dir);
    DIR *listing = opendir(top);
    struct dirent *entry;
    struct stat info;
    char path[AC_LOG_PATH_SIZE], lock[AC_LOG_PATH_SIZE + 8];
    while (listing && (entry = readdir(listing)) != NULL) {
        if (strncmp(entry->d_name, "new-", 4) != 0) {
            continue;
        }
        if (snprintf(path, sizeof path, "%s/%s", top, entry->d_name) >= (int)sizeof path) {
            continue;
        }
        if (stat(path, &info) || apr_time_now() - apr_time_from_sec(info.st_mtime) < STALE) {
            continue;
        }
        snprintf(lock, sizeof lock, "%s/lock", path);
        unlink(lock);
        rmdir(path);
    }
    if (listing) {
        closedir(listing);
    }
}

static void scan(void *baton)
{
    sweep_t *sweep = baton;
    ac_child_key_t children[AC_MAX_CHILDREN];
    char path[AC_LOG_PATH_SIZE];
    snprintf(path, sizeof path, "%s/sweep.lock", ac_event_dir_path(sweep->dir));
    sweep->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (sweep->lock_fd < 0 || flock(sweep->lock_fd, LOCK_EX | LOCK_NB)) {
        return;
    }
    sweep->found = ac_alloc(SWEEP_LOGS * sizeof *sweep->found);
    int n = ac_event_dir_children(sweep->dir, children, AC_MAX_CHILDREN);
    for (int i = 0; i < n; i++) {
        if (!ac_event_dir_alive(sweep->dir, children[i])) {
            find_logs(sweep, children[i]);
        }
    }
    remove_unfinished(sweep);
    ac_event_total_recount(ac_event_dir_total(sweep->dir), ac_event_dir_path(sweep->dir));
}

static void listen_to_others(ac_engine_t *engine);
static void start_sweep(void *baton);

/* A part in each turn of the loop, which has streams to write to. */
static void take_found(void *baton)
{
    sweep_t *sweep = baton;
    ac_engine_t *engine = sweep->engine;
    int end = sweep->next + TAKEN_AT_ONCE;
    for (; sweep->next < sweep->n_found && sweep->next < end && !engine->stopping; sweep->next++) {
        const found_t *found = &sweep->found[sweep->next];
        bool last = sweep->next + 1 == sweep->n_found || found[1].child != found->child;
        ac_recover_adopt(engine, found->child, found->run_id);
        if (last) {
            ac_event_dir_remove(engine->dir, found->child);
        }
    }
    if (sweep->next < sweep->n_found && !engine->stopping) {
        ac_timer_set(engine->loop, &sweep->timer, ac_loop_now(engine->loop) + 1, take_found, sweep);
        return;
    }
    if (sweep->n_found) {
        ac_debug("engine: %d event logs of dead processes taken over", sweep->n_found);
    }
    apr_interval_time_t wait = sweep->more ? 0 : SWEEP_EVERY + (apr_interval_time_t)(ac_random() % (SWEEP_EVERY / 4));
    if (!engine->stopping) {
        ac_timer_set(engine->loop, &engine->sweep_timer, ac_loop_now(engine->loop) + wait, start_sweep, engine);
    }
    if (sweep->lock_fd >= 0) {
        close(sweep->lock_fd);
    }
    free(sweep->found);
    free(sweep);
}

static void start_sweep(void *baton)
{
    ac_engine_t *engine = baton;
    sweep_t *sweep = ac_alloc(sizeof *sweep);
    if (!ac_event_dir_exists(engine->dir)) {
        ac_engine_recreate_dir(engine);
    }
    if (engine->listens && !engine->watch.slot) {
        listen_to_others(engine); /* there was no room for the watch */
    }
    sweep->engine = engine;
    sweep->dir = engine->dir;
    sweep->lock_fd = -1;
    if (ac_work_post(engine->work, scan, take_found, sweep) == APR_SUCCESS) {
        return;
    }
    free(sweep);
    ac_timer_set(engine->loop, &engine->sweep_timer, ac_loop_now(engine->loop) + apr_time_from_sec(1), start_sweep,
                 engine);
}

/* ---- what other children say ---- */

static void cancel_ours(ac_engine_t *engine, const char *run_id, const char *owner)
{
    const ac_run_t *run = apr_hash_get(engine->runs, run_id, APR_HASH_KEY_STRING);
    if (run && !strcmp(run->turn->owner, owner)) {
        ac_run_cancel(engine, run_id, AC_CANCELLED);
    }
}

static void take_datagram(ac_engine_t *engine, char *text)
{
    char *run_id = strchr(text, ' ');
    if (!run_id) {
        return;
    }
    *run_id++ = '\0';
    char *owner = strchr(run_id, ' ');
    if (owner) {
        *owner++ = '\0';
    }
    if (!strcmp(text, "wake")) {
        ac_tail_wake(engine, run_id);
    }
    if (!strcmp(text, "cancel") && owner) {
        cancel_ours(engine, run_id, owner);
    }
    if (!strcmp(text, "close")) {
        ac_recover_retry_run(engine, run_id);
    }
    if (!strcmp(text, "left")) {
        ac_run_t *run = apr_hash_get(engine->runs, run_id, APR_HASH_KEY_STRING);
        if (run) {
            ac_run_follower_left(run);
        }
    }
}

static void on_datagrams(void *baton, uint32_t events)
{
    ac_engine_t *engine = baton;
    char text[AC_OWNER_SIZE + AC_ID_SIZE + 16];
    (void)events;
    for (int i = 0; i < DATAGRAMS; i++) {
        ssize_t len = recv(engine->watch.fd, text, sizeof text - 1, MSG_DONTWAIT);
        if (len < 0 && errno == EINTR) {
            continue;
        }
        if (len < 0) {
            return;
        }
        text[len] = '\0';
        take_datagram(engine, text);
    }
}

void ac_engine_use_dir(ac_engine_t *engine, ac_event_dir_t *dir)
{
    engine->dir = dir;
    ac_event_total_t *total = ac_event_dir_total(dir);
    total->make_way = make_way;
    total->baton = engine;
}

static void listen_to_others(ac_engine_t *engine)
{
    int fd = ac_event_dir_socket(engine->dir);
    if (fd >= 0) {
        ac_watch_set(engine->loop, &engine->watch, fd, EPOLLIN, on_datagrams, engine);
    }
}

void ac_engine_watch(ac_engine_t *engine)
{
    if (!engine->dir) {
        return;
    }
    engine->listens = true;
    listen_to_others(engine);
    start_sweep(engine);
}

apr_status_t ac_engine_recreate_dir(ac_engine_t *engine)
{
    ac_watch_cancel(engine->loop, &engine->watch);
    apr_status_t status = ac_event_dir_recreate(engine->dir);
    if (engine->listens) {
        listen_to_others(engine);
    }
    if (status == APR_SUCCESS) {
        ac_log(AC_M514, APR_SUCCESS,
               "event logs: the place of this process below %s was missing, and was made; runs that are under way "
               "without it cannot be resumed before they have ended",
               ac_event_dir_path(engine->dir));
    }
    return status;
}

void ac_engine_unwatch(ac_engine_t *engine)
{
    engine->listens = false;
    ac_watch_cancel(engine->loop, &engine->watch);
    ac_timer_cancel(engine->loop, &engine->sweep_timer);
    ac_timer_cancel(engine->loop, &engine->kept_timer);
    while (engine->first_kept) {
        ac_ended_log_t *kept = engine->first_kept;
        engine->first_kept = kept->next;
        free(kept);
    }
    engine->last_kept = NULL;
    ac_suspended_log_drop_all(engine);
}

/* ---- cancel from a worker ---- */

typedef struct ask_t {
    ac_engine_t *engine;
    char run_id[AC_ID_SIZE], owner[AC_OWNER_SIZE];
    ac_handover_t handover;
    apr_status_t status;
} ask_t;

static void cancel_here(void *baton)
{
    ask_t *ask = baton;
    const ac_run_t *run = apr_hash_get(ask->engine->runs, ask->run_id, APR_HASH_KEY_STRING);
    ask->status = run && !strcmp(run->turn->owner, ask->owner) ? ac_run_cancel(ask->engine, ask->run_id, AC_CANCELLED)
                                                               : ac_kind_row(AC_NOT_FOUND)->status;
    if (!ac_handover_answer(&ask->handover)) {
        free(ask);
    }
}

static apr_status_t ask_own_loop(ac_engine_t *engine, const char *run_id, const char *owner)
{
    ask_t *ask = ac_alloc(sizeof *ask);
    ask->engine = engine;
    ac_handover_begin(&ask->handover);
    apr_cpystrn(ask->run_id, run_id, sizeof ask->run_id);
    apr_cpystrn(ask->owner, owner, sizeof ask->owner);
    ac_loop_post(engine->loop, cancel_here, ask);
    if (!ac_handover_wait(&ask->handover, ac_clock() + ASK_WAIT)) {
        return APR_TIMEUP;
    }
    apr_status_t status = ask->status;
    free(ask);
    return status;
}

static void ask_child(const ac_event_dir_t *dir, ac_child_key_t child, const char *run_id, const char *owner)
{
    char text[AC_OWNER_SIZE + AC_ID_SIZE + 16];
    int len = snprintf(text, sizeof text, "cancel %s %s", run_id, owner);
    for (int i = 0; i < ASK_TRIES && ac_event_dir_send(dir, child, text, (size_t)len) == APR_EAGAIN; i++) {
        apr_sleep(apr_time_from_msec(5));
    }
}

/* The log decides at once, also where its owner stands still: the datagram only says that there is something to be read. */
static apr_status_t decide_by_log(const ac_event_dir_t *dir, ac_event_log_t *log, const char *owner, bool goes_on)
{
    const ac_event_log_header_t *head = ac_event_log_header(log);
    const apr_status_t ended = ac_kind_row(AC_RUN_ENDED)->status;
    bool rests = ac_event_log_is_suspended(log);
    if (strcmp(head->owner, owner) != 0) {
        return ac_kind_row(AC_NOT_FOUND)->status;
    }
    if (rests && !goes_on) {
        return APR_EAGAIN;
    }
    if (ac_event_log_ended(log) || (!rests && !ac_event_dir_alive(dir, ac_event_log_child(log)))) {
        return ended;
    }
    if (!goes_on && ac_event_log_outcome(log) != AC_LOG_OUTCOME_OPEN) {
        return ended; /* also by an earlier cancel */
    }
    if (ac_event_log_decide(log, AC_LOG_OUTCOME_CANCELLED) != AC_LOG_OUTCOME_CANCELLED) {
        return ended;
    }
    ask_child(dir, ac_event_log_child(log), head->run_id, owner);
    return !goes_on && ac_event_log_is_suspended(log) ? APR_EAGAIN : APR_SUCCESS; /* put aside at this moment */
}

apr_status_t ac_run_cancel_anywhere(ac_engine_t *engine, const char *run_id, const char *owner, bool goes_on)
{
    ac_child_key_t children[AC_MAX_CHILDREN];
    apr_status_t status = ask_own_loop(engine, run_id, owner);
    const ac_event_dir_t *dir = engine->dir;
    if (status == APR_TIMEUP) {
        return APR_INCOMPLETE;
    }
    if (status == APR_SUCCESS || status == ac_kind_row(AC_RUN_ENDED)->status || !dir) {
        return status;
    }
    ac_event_log_t *log = ac_event_log_find(dir, run_id);
    if (log) {
        status = decide_by_log(dir, log, owner, goes_on);
        ac_event_log_close(log);
        return status;
    }
    /* Without a log it may be in any of them. */
    int n = ac_event_dir_children(dir, children, AC_MAX_CHILDREN);
    for (int i = 0; i < n; i++) {
        if (children[i] != ac_event_dir_key(dir)) {
            ask_child(dir, children[i], run_id, owner);
        }
    }
    return n > 1 ? APR_INCOMPLETE : status;
}

apr_status_t ac_run_cancel_logged(ac_engine_t *engine, const char *run_id, const char *owner, json_t **pstored)
{
    ac_event_log_t *log = engine->dir ? ac_event_log_find(engine->dir, run_id) : NULL;
    bool fits = log && !ac_event_log_is_suspended(log) && !strcmp(ac_event_log_header(log)->owner, owner);
    json_t *stored = fits ? ac_event_log_read_stored(log) : NULL;
    ac_event_log_close(log);
    if (!stored) {
        return ac_kind_row(AC_NOT_FOUND)->status;
    }
    apr_status_t status = ac_run_cancel_anywhere(engine, run_id, owner, false);
    if (status == APR_SUCCESS || status == APR_INCOMPLETE) {
        *pstored = stored;
    } else {
        json_decref(stored);
    }
    return status;
}
