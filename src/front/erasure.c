/* SPDX-License-Identifier: Apache-2.0 */
/* Carries out the erasures of owners that the store has accepted: DELETE /me begins one, and a child that starts
 * continues those that another process has left. All steps can be repeated, and the store knows the erasure until the
 * last one. A round, in the order of this file:
 *
 *  1  PURGE: the store removes the contents, and reports the erasures that are complete there
 *  2  of each: on a work thread the bytes of files and event logs; logs of runs that are ending are looked for again
 *  3  the copies of event logs in Redis
 *  4  OWNER_ERASED: the store forgets the owner, and the cache its threads
 *
 * What fails is tried again after a pause. Requests wait for the end of their erasure, not longer than their time. */
#include "front_internal.h"

#include <stdatomic.h>

#include "apr_atomic.h"

#define BEFORE "0000-00-00T00:00:00.001Z" /* PURGE: of threads that OWNER_ERASE has hidden */
#define PATIENCE apr_time_from_sec(300)   /* of one operation */
#define LOG_WAIT apr_time_from_msec(50)
#define LOG_TRIES 40
#define PAUSE_FIRST apr_time_from_sec(5)
#define PAUSE_MOST apr_time_from_sec(600)
#define KEYS 100 /* copies that one command removes */

struct ac_erasure_wait_t { /* counted: the request's, and the loop's */
    atomic_int n_refs;
    char id[AC_ID_SIZE];
    ac_latch_t *latch;
    json_t *erasure; /* set before the latch is opened: the erasure that has ended; NULL: it has not */
    ac_erasure_wait_t *next;
};

typedef struct round_t { /* and its current erasure */
    ac_child_life_t *life;
    json_t *erasures; /* the rest of them; the first is the current one */
    ac_erasure_wait_t *waits;
    int n_scans, n_logs; /* of event logs; those that are left */
    size_t n_keys;       /* copies that were removed */
    bool failed, uncopied;
    ac_err_t err; /* of the files */
} round_t;

static void erasure_begin(ac_child_life_t *life);
static void on_purged(ac_store_op_t *op);
static void next_erasure(round_t *round);
static void clean_files(void *baton);
static void on_cleaned(void *baton);
static void copies_remove(round_t *round);
static void on_copies_removed(void *baton, bool fine);
static void end_erasure(round_t *round);
static void on_ended(ac_store_op_t *op);
static void round_end(round_t *round);

/* ---- requests that wait ---- */

static void wait_unref(ac_erasure_wait_t *wait)
{
    if (atomic_fetch_sub(&wait->n_refs, 1) == 1) {
        ac_latch_unref(wait->latch);
        json_decref(wait->erasure);
        free(wait);
    }
}

static void wait_end(ac_erasure_wait_t *wait, json_t *erasure)
{
    wait->erasure = json_deep_copy(erasure);
    ac_latch_open(wait->latch);
    wait_unref(wait);
}

static void wait_join(void *baton)
{
    ac_erasure_wait_t *wait = baton;
    ac_child_life_t *life = ac_child_life();
    wait->next = life->erasure.waits;
    life->erasure.waits = wait;
    ac_erasure_start(life);
}

json_t *ac_erasure_wait(const char *id, apr_time_t deadline)
{
    ac_child_life_t *life = ac_child_life();
    ac_erasure_wait_t *wait = ac_alloc(sizeof(*wait));
    json_t *erasure = NULL;
    atomic_init(&wait->n_refs, 2);
    apr_cpystrn(wait->id, id, sizeof(wait->id));
    wait->latch = ac_latch_create();
    if (!wait->latch) {
        free(wait);
        return NULL;
    }
    ac_latch_ref(wait->latch);
    ac_loop_post(life->child.loop, wait_join, wait);
    if (ac_latch_wait(wait->latch, deadline)) {
        erasure = json_incref(wait->erasure);
    }
    ac_latch_unref(wait->latch);
    wait_unref(wait);
    return erasure;
}

/* Ends the waits for this erasure; without an id: for all. */
static void waits_end(ac_erasure_wait_t **pwaits, json_t *erasure)
{
    const char *id = ac_json_peek_string(erasure, "id", NULL);
    while (*pwaits) {
        ac_erasure_wait_t *wait = *pwaits;
        if (!id || strcmp(wait->id, id) == 0) {
            *pwaits = wait->next;
            wait_end(wait, erasure);
        } else {
            pwaits = &wait->next;
        }
    }
}

/* ---- the beginning of a round ---- */

static bool is_stopping(const ac_child_life_t *life)
{
    return apr_atomic_read32((volatile apr_uint32_t *)&life->child.stopping);
}

static void on_due(void *baton)
{
    ac_erasure_start(baton);
}

void ac_erasure_start(ac_child_life_t *life)
{
    if (life->erasure.runs) {
        life->erasure.again = true;
    } else if (is_stopping(life)) {
        waits_end(&life->erasure.waits, NULL);
    } else {
        erasure_begin(life);
    }
}

void ac_erasure_cancel(ac_child_life_t *life)
{
    ac_timer_cancel(life->child.loop, &life->erasure.timer);
    waits_end(&life->erasure.waits, NULL);
}

static ac_store_op_t *erasure_op(ac_child_life_t *life, ac_store_verb_e verb, const char *owner, json_t *in)
{
    ac_store_op_t *op = ac_store_op_create(verb, owner, "");
    op->in = in;
    op->deadline = ac_loop_now(life->child.loop) + PATIENCE;
    return op;
}

static void erasure_begin(ac_child_life_t *life)
{
    round_t *round = ac_alloc(sizeof(*round));
    round->life = life;
    round->waits = life->erasure.waits;
    life->erasure.waits = NULL;
    life->erasure.runs = true;
    life->erasure.again = false;
    ac_timer_cancel(life->child.loop, &life->erasure.timer);
    ac_store_op_t *op = erasure_op(life, AC_STORE_PURGE, "", json_pack("{s:s}", "before", BEFORE));
    ac_store_call_post(&life->child.conf->store, life->child.loop, op, on_purged, round);
}

/* ---- 1: the store ---- */

static void on_purged(ac_store_op_t *op)
{
    round_t *round = op->baton;
    bool known = round->waits || ac_json_peek_int(op->out, "unfinished", 0) > 0;
    if (op->status != APR_SUCCESS && (known || round->life->erasure.known)) {
        ac_log(AC_M616, op->status, "store[%s]: erasures of owners go on later: %s",
               round->life->child.conf->store.vt->name, op->err.detail);
    }
    round->failed = op->status != APR_SUCCESS || ac_json_peek_int(op->out, "unfinished", 0) > 0;
    round->erasures = json_incref(json_object_get(op->out, "erasures"));
    round->life->erasure.known = known || json_array_size(round->erasures) > 0;
    ac_store_op_free(op);
    next_erasure(round);
}

/* ---- 2: files and event logs ---- */

static const char *erasure_owner(const round_t *round)
{
    return ac_json_peek_string(json_array_get(round->erasures, 0), "owner", "");
}

static const json_t *traces_of(const round_t *round, const char *name)
{
    return json_object_get(json_object_get(json_array_get(round->erasures, 0), "traces"), name);
}

static void next_erasure(round_t *round)
{
    ac_child_life_t *life = round->life;
    round->n_scans = 0;
    round->n_keys = 0;
    round->uncopied = false;
    ac_err_init(&round->err);
    if (json_array_size(round->erasures) == 0 || is_stopping(life) ||
        ac_work_post(life->child.files_work, clean_files, on_cleaned, round) != APR_SUCCESS) {
        round_end(round);
    }
}

static void clean_logs(void *baton)
{
    round_t *round = baton;
    const ac_event_dir_t *dir = round->life->child.event_dir;
    round->n_logs = dir ? ac_event_scan_erase(dir, erasure_owner(round), NULL) : 0;
    round->n_scans++;
}

static void clean_files(void *baton)
{
    round_t *round = baton;
    const ac_files_t *files = &round->life->child.conf->files.store;
    const json_t *id;
    size_t i;
    json_array_foreach(traces_of(round, "files"), i, id)
    {
        if (files->vt) {
            ac_files_text_remove(files, json_string_value(id), &round->err);
        }
    }
    clean_logs(round);
}

static void scan_again(void *baton)
{
    round_t *round = baton;
    if (is_stopping(round->life) ||
        ac_work_post(round->life->child.files_work, clean_logs, on_cleaned, round) != APR_SUCCESS) {
        round->failed = true;
        round_end(round);
    }
}

/* Runs of the owner have just been cancelled; their logs end a moment later. */
static void on_cleaned(void *baton)
{
    round_t *round = baton;
    ac_child_life_t *life = round->life;
    if (round->n_logs > 0 && round->n_scans < LOG_TRIES && !is_stopping(life)) {
        ac_timer_set(life->child.loop, &life->erasure.timer, ac_loop_now(life->child.loop) + LOG_WAIT, scan_again,
                     round);
        return;
    }
    if (round->err.kind != AC_OK) {
        ac_log(AC_M613, round->err.status, "files: those of an erased owner are left: %s", round->err.detail);
    }
    if (round->err.kind != AC_OK || round->n_logs > 0) {
        round->failed = true;
        json_array_remove(round->erasures, 0);
        next_erasure(round);
        return;
    }
    copies_remove(round);
}

/* ---- 3: copies in Redis ---- */

static void copies_remove(round_t *round)
{
    const ac_child_t *child = &round->life->child;
    const json_t *ids = traces_of(round, "runs");
    const char *names[KEYS];
    int n = 0;
    while (n < KEYS && json_array_get(ids, round->n_keys)) {
        names[n++] = json_string_value(json_array_get(ids, round->n_keys++));
    }
    if (!child->mirror_redis || !n) {
        end_erasure(round);
    } else {
        child->mirror.vt->remove(child->mirror.self, names, n, on_copies_removed, round);
    }
}

static void on_copies_removed(void *baton, bool fine)
{
    round_t *round = baton;
    if (fine) {
        copies_remove(round);
    } else {
        round->uncopied = true;
        end_erasure(round);
    }
}

/* ---- 4: the end ---- */

/* What Redis has and could not be removed has a time to live there. */
static void report_copies(const round_t *round)
{
    const ac_child_t *child = &round->life->child;
    const ac_conf_t *conf = child->conf;
    bool cached = conf->cache.redis && !(child->shared && ac_limit_redis_is_up(child->shared));
    char ttl[AC_TIME_SIZE], keep[AC_TIME_SIZE];
    ac_time_format_duration(ttl, conf->cache.ttl);
    ac_time_format_duration(keep, conf->engine.log_keep);
    if (cached || round->uncopied) {
        ac_log(AC_M617, APR_SUCCESS, "%s: Redis is not available; what it has expires:%s%s%s%s",
               ac_json_peek_string(json_array_get(round->erasures, 0), "id", ""),
               cached ? " cached messages after " : "", cached ? ttl : "", round->uncopied ? " events after " : "",
               round->uncopied ? keep : "");
    }
}

static void end_erasure(round_t *round)
{
    json_t *erasure = json_array_get(round->erasures, 0), *threads = json_deep_copy(traces_of(round, "threads"));
    json_t *in = json_pack("{s:s, s:o*}", "mark", ac_json_peek_string(erasure, "mark", ""), "threads", threads);
    report_copies(round);
    ac_store_op_t *op = erasure_op(round->life, AC_STORE_OWNER_ERASED, erasure_owner(round), in);
    ac_store_call_post(&round->life->child.conf->store, round->life->child.loop, op, on_ended, round);
}

static void on_ended(ac_store_op_t *op)
{
    round_t *round = op->baton;
    json_t *erasure = json_array_get(round->erasures, 0);
    if (op->status == APR_SUCCESS && json_is_true(json_object_get(op->out, "ended"))) {
        ac_log(AC_M618, APR_SUCCESS,
               "%s: done: %" APR_INT64_T_FMT " threads, %" APR_INT64_T_FMT " messages, %" APR_INT64_T_FMT
               " runs, %" APR_INT64_T_FMT " files",
               ac_json_peek_string(erasure, "id", ""), ac_json_peek_int(erasure, "threads", 0),
               ac_json_peek_int(erasure, "messages", 0), ac_json_peek_int(erasure, "runs", 0),
               ac_json_peek_int(erasure, "files", 0));
        waits_end(&round->waits, erasure);
        waits_end(&round->life->erasure.waits, erasure);
    } else {
        round->failed = true;
    }
    ac_store_op_free(op);
    json_array_remove(round->erasures, 0);
    next_erasure(round);
}

/* Requests that have come meanwhile begin another round. */
static void round_end(round_t *round)
{
    ac_child_life_t *life = round->life;
    bool failed = round->failed, again = life->erasure.again && !is_stopping(life);
    json_t *elsewhere = failed || is_stopping(life) ? NULL : json_object(); /* another process has ended it */
    waits_end(&round->waits, elsewhere);
    json_decref(elsewhere);
    json_decref(round->erasures);
    free(round);
    life->erasure.runs = false;
    if (is_stopping(life)) {
        waits_end(&life->erasure.waits, NULL);
    } else if (again) {
        erasure_begin(life);
    } else if (failed) {
        apr_interval_time_t twice = 2 * life->erasure.pause;
        life->erasure.pause = twice < PAUSE_FIRST ? PAUSE_FIRST : twice < PAUSE_MOST ? twice : PAUSE_MOST;
        ac_timer_set(life->child.loop, &life->erasure.timer, ac_loop_now(life->child.loop) + life->erasure.pause,
                     on_due, life);
    } else {
        life->erasure.pause = 0;
    }
}
