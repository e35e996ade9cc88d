/* SPDX-License-Identifier: Apache-2.0 */
/* Calls through a store's table: operations, who gets their answer, and a worker's wait for one. */
#include "back.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const char *const verb_names[AC_STORE_N_VERBS] = {
    [AC_STORE_PING] = "ping",
    [AC_STORE_THREAD_CREATE] = "thread create",
    [AC_STORE_THREAD_GET] = "thread get",
    [AC_STORE_THREAD_LIST] = "thread list",
    [AC_STORE_THREAD_UPDATE] = "thread update",
    [AC_STORE_THREAD_DELETE] = "thread delete",
    [AC_STORE_THREAD_RESTORE] = "thread restore",
    [AC_STORE_MESSAGE_LIST] = "message list",
    [AC_STORE_TURN_LOAD] = "turn load",
    [AC_STORE_TURN_OPEN] = "turn open",
    [AC_STORE_TURN_CLOSE] = "turn close",
    [AC_STORE_RUN_GET] = "run get",
    [AC_STORE_RUN_LIST] = "run list",
    [AC_STORE_STEP_LIST] = "step list",
    [AC_STORE_PURGE] = "purge",
    [AC_STORE_EXPORT_THREADS] = "export threads",
    [AC_STORE_EXPORT_MESSAGES] = "export messages",
    [AC_STORE_EXPORT_RUNS] = "export runs",
    [AC_STORE_IMPORT] = "import",
    [AC_STORE_KEY_GET] = "key get",
};

const char *ac_store_verb_name(ac_store_verb_e verb)
{
    return verb >= 0 && verb < AC_STORE_N_VERBS ? verb_names[verb] : "unknown";
}

static bool copy_checked(char *to, size_t size, const char *from)
{
    size_t len = from ? strlen(from) : 0;

    if (len >= size) {
        return false;
    }
    if (len) {
        memcpy(to, from, len);
    }
    to[len] = '\0';
    return true;
}

ac_store_op_t *ac_store_op_create(ac_store_verb_e verb, const char *owner, const char *id)
{
    ac_store_op_t *op = ac_alloc(sizeof(*op));

    op->verb = verb;
    ac_err_init(&op->err);
    if (!copy_checked(op->owner, sizeof(op->owner), owner) || !copy_checked(op->id, sizeof(op->id), id)) {
        free(op);
        return NULL;
    }
    return op;
}

void ac_store_op_free(ac_store_op_t *op)
{
    if (!op) {
        return;
    }
    json_decref(op->in);
    json_decref(op->out);
    free(op);
}

static void deliver(void *baton)
{
    ac_store_op_t *op = baton;

    op->done(op);
}

void ac_store_done(ac_store_op_t *op)
{
    op->next = NULL;
    if (op->home) {
        ac_loop_post(op->home, deliver, op);
    }
    else {
        op->done(op);
    }
}

void ac_store_call_post(const ac_store_t *store, ac_loop_t *home, ac_store_op_t *op,
                        void (*done)(ac_store_op_t *op), void *baton)
{
    op->home = home;
    op->done = done;
    op->baton = baton;
    store->vt->start_post(store->self, op);
}

/* ---- a worker that waits ---- */
enum { WAITING, ANSWERED, ABANDONED };

/* Whoever comes second of answer and giving up frees this; the latch has a reference of each. */
typedef struct wait_t {
    ac_latch_t *latch;
    atomic_int state;
} wait_t;

static void on_answer(ac_store_op_t *op)
{
    wait_t *wait = op->baton;
    ac_latch_t *latch = wait->latch;
    int before = WAITING;

    if (atomic_compare_exchange_strong(&wait->state, &before, ANSWERED)) {
        ac_latch_open(latch);
    }
    else {
        ac_store_op_free(op);
        free(wait);
    }
    ac_latch_unref(latch);
}

apr_status_t ac_store_wait(const ac_store_t *store, ac_store_op_t **pop, apr_interval_time_t timeout, ac_err_t *err)
{
    ac_store_op_t *op = *pop;
    apr_time_t deadline = ac_clock() + timeout;
    wait_t *wait = ac_alloc(sizeof(*wait));
    int before = WAITING;
    bool answered;

    *pop = NULL;
    wait->latch = ac_latch_create();
    if (!wait->latch) {
        free(wait);
        ac_store_op_free(op);
        return ac_err_set(err, AC_INTERNAL, "out of memory");
    }
    ac_latch_ref(wait->latch);
    if (!op->deadline || op->deadline > deadline) {
        op->deadline = deadline;
    }
    atomic_init(&wait->state, WAITING);
    ac_store_call_post(store, NULL, op, on_answer, wait);

    answered = ac_latch_wait(wait->latch, deadline);
    if (!answered) {
        answered = !atomic_compare_exchange_strong(&wait->state, &before, ABANDONED);
    }
    ac_latch_unref(wait->latch);
    if (!answered) {
        return ac_err_set(err, AC_STORE_TIMEOUT, "the store did not answer in time");
    }
    free(wait);
    *pop = op;
    if (op->status != APR_SUCCESS && err && err->kind == AC_OK) {
        *err = op->err;
    }
    return op->status;
}
