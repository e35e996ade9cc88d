/* SPDX-License-Identifier: Apache-2.0 */
/* The sweep of files: documents that belong to no conversation, bytes that belong to no document, and unfinished
 * uploads. The store's answers come on the loop; the folder is read and changed on a work thread. One step follows the
 * other, in the order of file_sweep_next(). */
#include "front_internal.h"

#include "apr_atomic.h"

#define LOOSE_FOR apr_time_from_sec(86400) /* how long a file may be attached to no message */
#define YOUNG apr_time_from_sec(3600)      /* an upload stores its bytes first, and its document a moment later */
#define STEP 100                           /* files of an operation */
#define PATIENCE apr_time_from_sec(60)

typedef struct sweep_t {
    ac_child_life_t *life;
    const ac_files_t *files;
    ac_file_sweep_fn *done;
    json_t *ids;   /* whose bytes are to be removed */
    json_t *found; /* ids of bytes, to be looked for in the store; NULL: the folder was not read yet */
    bool loose;    /* the store may have further loose files */
    int64_t n_removed;
    ac_err_t err; /* of the folder */
} sweep_t;

static void file_sweep_next(void *baton);

/* ---- on a work thread ---- */

static void remove_bytes(void *baton)
{
    sweep_t *sweep = baton;
    const json_t *id;
    size_t i;
    json_array_foreach(sweep->ids, i, id)
    {
        const char *text = json_string_value(id);
        if (ac_files_text_remove(sweep->files, text ? text : "", &sweep->err) == APR_SUCCESS) {
            sweep->n_removed++;
        }
    }
    json_array_clear(sweep->ids);
}

static void on_found(void *baton, const char *id)
{
    json_array_append_new(baton, json_string(id));
}

static void find_bytes(void *baton)
{
    sweep_t *sweep = baton;
    sweep->found = json_array();
    sweep->files->vt->sweep(sweep->files->self, apr_time_now() - YOUNG, on_found, sweep->found, &sweep->err);
}

/* ---- on the loop ---- */

static void file_sweep_end(sweep_t *sweep)
{
    ac_child_life_t *life = sweep->life;
    ac_file_sweep_fn *done = sweep->done;
    if (sweep->err.kind != AC_OK) {
        ac_log(AC_M613, sweep->err.status, "files: the sweep is not complete: %s", sweep->err.detail);
    }
    if (sweep->n_removed > 0) {
        ac_log(AC_M614, APR_SUCCESS, "files: %" APR_INT64_T_FMT " removed", sweep->n_removed);
    }
    json_decref(sweep->ids);
    json_decref(sweep->found);
    free(sweep);
    done(life);
}

static void on_swept(ac_store_op_t *op)
{
    sweep_t *sweep = op->baton;
    if (op->status != APR_SUCCESS) {
        sweep->err = op->err;
        ac_store_op_free(op);
        file_sweep_end(sweep);
        return;
    }
    json_array_extend(sweep->ids, json_object_get(op->out, "removed"));
    json_array_extend(sweep->ids, json_object_get(op->out, "unknown"));
    sweep->loose = json_is_true(json_object_get(op->out, "more"));
    ac_store_op_free(op);
    file_sweep_next(sweep);
}

/* ids: NULL, or those to look for; consumed. */
static void ask_store(sweep_t *sweep, json_t *ids)
{
    ac_child_t *child = &sweep->life->child;
    char before[AC_TIME_SIZE] = "";
    ac_store_op_t *op = ac_store_op_create(AC_STORE_FILE_SWEEP, "", "");
    if (!ids) {
        ac_time_format(before, apr_time_now() - LOOSE_FOR);
    }
    op->in = json_pack("{s:s, s:o*}", "before", before, "ids", ids);
    op->page.limit = STEP;
    op->deadline = ac_loop_now(child->loop) + PATIENCE;
    ac_store_call_post(&child->conf->store, child->loop, op, on_swept, sweep);
}

/* Takes some of the ids that were found. */
static json_t *take_found(sweep_t *sweep)
{
    json_t *ids = json_array();
    for (size_t n = json_array_size(sweep->found); n > 0 && json_array_size(ids) < STEP; n--) {
        json_array_append(ids, json_array_get(sweep->found, n - 1));
        json_array_remove(sweep->found, n - 1);
    }
    return ids;
}

static void do_work(sweep_t *sweep, ac_task_fn *fn)
{
    if (ac_work_post(sweep->life->child.files_work, fn, file_sweep_next, sweep) != APR_SUCCESS) {
        file_sweep_end(sweep);
    }
}

static void file_sweep_next(void *baton)
{
    sweep_t *sweep = baton;
    if (apr_atomic_read32(&sweep->life->child.stopping) || sweep->err.kind != AC_OK) {
        file_sweep_end(sweep);
    } else if (json_array_size(sweep->ids) > 0) {
        do_work(sweep, remove_bytes);
    } else if (sweep->loose) {
        ask_store(sweep, NULL);
    } else if (!sweep->found) {
        do_work(sweep, find_bytes);
    } else if (json_array_size(sweep->found) > 0) {
        ask_store(sweep, take_found(sweep));
    } else {
        file_sweep_end(sweep);
    }
}

void ac_file_sweep_start(ac_child_life_t *life, json_t *ids, ac_file_sweep_fn *done)
{
    const ac_files_t *files = &life->child.conf->files.store;
    if (!files->vt || apr_atomic_read32(&life->child.stopping)) {
        json_decref(ids);
        done(life);
        return;
    }
    sweep_t *sweep = ac_alloc(sizeof(*sweep));
    sweep->life = life;
    sweep->files = files;
    sweep->done = done;
    sweep->ids = ids ? ids : json_array();
    sweep->loose = true;
    file_sweep_next(sweep);
}
