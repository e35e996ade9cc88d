/* SPDX-License-Identifier: Apache-2.0 */
/* The sweep: looks through the directory of the event logs for dead children, and adopts their logs. One child at a
 * time sweeps. A work thread reads the directories; the loop adopts the logs, some in each turn. */
#include "follow_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SWEEP_EVERY apr_time_from_sec(60)
#define LOGS_MAX 4096               /* adopted by one sweep */
#define STALE apr_time_from_sec(60) /* the age at which an unfinished child directory is removed */
#define ADOPTED_MAX 32              /* in one turn of the loop */

typedef struct found_t {
    ac_child_key_t child;
    char run_id[AC_ID_SIZE];
} found_t;

typedef struct sweep_t {
    ac_engine_t *engine;
    const ac_event_dir_t *dir;
    int lock_fd; /* held by the child that sweeps; -1: none */
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
        if (sweep->n_found == LOGS_MAX) {
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

/* Removes what a child left behind that died while it made its directory. */
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
    sweep->found = ac_alloc(LOGS_MAX * sizeof *sweep->found);
    int n = ac_event_dir_children(sweep->dir, children, AC_MAX_CHILDREN);
    for (int i = 0; i < n; i++) {
        if (!ac_event_dir_alive(sweep->dir, children[i])) {
            find_logs(sweep, children[i]);
        }
    }
    remove_unfinished(sweep);
    ac_event_scan_recount(ac_event_dir_total(sweep->dir), ac_event_dir_path(sweep->dir));
}

/* Some logs in each turn of the loop, which has streams to write to. */
static void adopt_found(void *baton)
{
    sweep_t *sweep = baton;
    ac_engine_t *engine = sweep->engine;
    int end = sweep->next + ADOPTED_MAX;
    for (; sweep->next < sweep->n_found && sweep->next < end && !engine->stop.stopping; sweep->next++) {
        const found_t *found = &sweep->found[sweep->next];
        bool last = sweep->next + 1 == sweep->n_found || found[1].child != found->child;
        ac_recover_adopt(engine, found->child, found->run_id);
        if (last) {
            ac_event_dir_remove(engine->dir, found->child);
        }
    }
    if (sweep->next < sweep->n_found && !engine->stop.stopping) {
        ac_timer_set(engine->loop, &sweep->timer, ac_loop_now(engine->loop) + 1, adopt_found, sweep);
        return;
    }
    if (sweep->n_found) {
        ac_debug("engine: %d event logs of dead processes adopted", sweep->n_found);
    }
    apr_interval_time_t wait = sweep->more ? 0 : SWEEP_EVERY + (apr_interval_time_t)(ac_random() % (SWEEP_EVERY / 4));
    if (!engine->stop.stopping) {
        ac_timer_set(engine->loop, &engine->follow->sweep_timer, ac_loop_now(engine->loop) + wait, ac_sweep_start,
                     engine);
    }
    if (sweep->lock_fd >= 0) {
        close(sweep->lock_fd);
    }
    free(sweep->found);
    free(sweep);
}

void ac_sweep_start(void *baton)
{
    ac_engine_t *engine = baton;
    sweep_t *sweep = ac_alloc(sizeof *sweep);
    if (!ac_event_dir_exists(engine->dir)) {
        ac_datagram_recreate_dir(engine);
    }
    if (engine->follow->listens) {
        ac_datagram_listen(engine); /* again, if the loop had no room for the watch */
    }
    sweep->engine = engine;
    sweep->dir = engine->dir;
    sweep->lock_fd = -1;
    if (ac_work_post(engine->work, scan, adopt_found, sweep) == APR_SUCCESS) {
        return;
    }
    free(sweep);
    ac_timer_set(engine->loop, &engine->follow->sweep_timer, ac_loop_now(engine->loop) + apr_time_from_sec(1),
                 ac_sweep_start, engine);
}
