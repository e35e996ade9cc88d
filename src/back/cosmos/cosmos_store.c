/* SPDX-License-Identifier: Apache-2.0 */
/* The Cosmos DB store: its verbs, and the start and stop of a child. */
#include "cosmos_internal.h"

#include <stdlib.h>

#include <apr_hash.h>

#define STOP_TIMEOUT apr_time_from_sec(4) /* for tasks when a child ends; httpd kills a child after ten seconds */
#define STOP_UNBEGUN_TIMEOUT apr_time_from_sec(2) /* if the loop possibly never ran */

typedef struct start_t {
    ac_cosmos_t *store;
    ac_store_op_t *op;
} start_t;

/* ---- operations ---- */

#define PING_KEY " ping" /* in place of an owner */
#define PING_ID "ping"
#define PING_WRITE apr_time_from_sec(10) /* how long one write shows that writes succeed */

static void on_ping_read(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (!ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        ac_cosmos_task_end(task, APR_SUCCESS);
    }
}

static void on_ping_written(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (!ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 201))) {
        task->store->outage.ping_written = ac_clock();
        ac_cosmos_task_end(task, APR_SUCCESS);
    }
}

/* A service may answer reads and refuse all writes. Writing a document of the store's own detects that; if it was
 * written a short time ago a read is sufficient, and costs a tenth. */
static void cosmos_store_ping(ac_cosmos_task_t *task)
{
    apr_time_t written = task->store->outage.ping_written;
    bool reads = written && ac_clock() - written < PING_WRITE;
    ac_cosmos_request_t request = {.verb = reads ? AC_COSMOS_READ : AC_COSMOS_UPSERT,
                                   .container = AC_COSMOS_THREADS,
                                   .key = PING_KEY,
                                   .id = reads ? PING_ID : NULL};
    json_t *document;
    if (reads) {
        ac_cosmos_call_start(task, &request, on_ping_read, task);
        return;
    }
    document = json_pack("{s:s, s:s, s:s}", "id", PING_ID, "owner", PING_KEY, "type", "ping");
    ac_cosmos_call_write(task, &request, document, on_ping_written);
    json_decref(document);
}

static void thread_delete(ac_cosmos_task_t *task)
{
    (task->op->hard ? ac_cosmos_remove_thread : ac_cosmos_thread_hide)(task);
}

static ac_cosmos_step_fn *const verbs[AC_STORE_N_VERBS] = {
    [AC_STORE_PING] = cosmos_store_ping,
    [AC_STORE_THREAD_CREATE] = ac_cosmos_thread_create,
    [AC_STORE_THREAD_GET] = ac_cosmos_thread_get,
    [AC_STORE_THREAD_LIST] = ac_cosmos_list_threads,
    [AC_STORE_THREAD_UPDATE] = ac_cosmos_thread_update,
    [AC_STORE_THREAD_DELETE] = thread_delete,
    [AC_STORE_THREAD_RESTORE] = ac_cosmos_thread_restore,
    [AC_STORE_MESSAGE_LIST] = ac_cosmos_message_list,
    [AC_STORE_TURN_LOAD] = ac_cosmos_message_load,
    [AC_STORE_TURN_OPEN] = ac_cosmos_open_turn,
    [AC_STORE_TURN_CLOSE] = ac_cosmos_close_turn,
    [AC_STORE_RUN_GET] = ac_cosmos_run_get,
    [AC_STORE_RUN_LIST] = ac_cosmos_run_list,
    [AC_STORE_STEP_LIST] = ac_cosmos_run_steps,
    [AC_STORE_PURGE] = ac_cosmos_remove_deleted,
    [AC_STORE_EXPORT_THREADS] = ac_cosmos_move_export_threads,
    [AC_STORE_EXPORT_MESSAGES] = ac_cosmos_message_export,
    [AC_STORE_EXPORT_RUNS] = ac_cosmos_move_export_runs,
    [AC_STORE_IMPORT] = ac_cosmos_move_import,
    [AC_STORE_KEY_GET] = ac_cosmos_key_get,
    [AC_STORE_KEY_PUT] = ac_cosmos_key_put,
    [AC_STORE_AGENT_LIST] = ac_cosmos_agent_list,
    [AC_STORE_AGENT_PUT] = ac_cosmos_agent_put,
    [AC_STORE_AGENT_DELETE] = ac_cosmos_agent_delete,
    [AC_STORE_RUN_CANCEL] = ac_cosmos_run_cancel,
    [AC_STORE_RUN_SUSPEND] = ac_cosmos_suspend_run,
    [AC_STORE_APPROVAL_DECIDE] = ac_cosmos_approval_decide,
    [AC_STORE_SUSPENDED_LIST] = ac_cosmos_suspend_list,
    [AC_STORE_RUN_CHECK] = ac_cosmos_lease_check,
    [AC_STORE_USAGE_SUM] = ac_cosmos_usage_list_sum,
    [AC_STORE_USAGE_SUM_ALL] = ac_cosmos_usage_list_sum,
    [AC_STORE_EXPORT_USAGE] = ac_cosmos_usage_list_export,
    [AC_STORE_IMPORT_USAGE] = ac_cosmos_usage_list_import,
    [AC_STORE_FILE_PUT] = ac_cosmos_file_put,
    [AC_STORE_FILE_GET] = ac_cosmos_file_get,
    [AC_STORE_FILE_LIST] = ac_cosmos_file_list,
    [AC_STORE_FILE_DELETE] = ac_cosmos_file_delete,
    [AC_STORE_FILE_SWEEP] = ac_cosmos_file_sweep,
    [AC_STORE_EXPORT_FILES] = ac_cosmos_file_export,
    [AC_STORE_IMPORT_FILES] = ac_cosmos_file_import,
    [AC_STORE_FEEDBACK_PUT] = ac_cosmos_feedback_put,
    [AC_STORE_FEEDBACK_LIST] = ac_cosmos_feedback_list,
    [AC_STORE_OWNER_ERASE] = ac_cosmos_erase_owner,
    [AC_STORE_USAGE_ADD] = ac_cosmos_usage_call,
    [AC_STORE_OWNER_ERASED] = ac_cosmos_erasures_erased,
    [AC_STORE_TURN_QUEUE] = ac_cosmos_queue_add,
    [AC_STORE_TURN_UNQUEUE] = ac_cosmos_queue_remove,
    [AC_STORE_QUEUED_LIST] = ac_cosmos_queue_list,
    [AC_STORE_WEBHOOK_LIST] = ac_cosmos_webhook_list,
    [AC_STORE_WEBHOOK_DUE] = ac_cosmos_webhook_due,
    [AC_STORE_WEBHOOK_ACQUIRE] = ac_cosmos_webhook_change,
    [AC_STORE_WEBHOOK_REPORT] = ac_cosmos_webhook_change,
    [AC_STORE_MESSAGE_MARK] = ac_cosmos_marks_put,
    [AC_STORE_MESSAGE_DELETE] = ac_cosmos_deletion_run,
};

static void op_begin(void *baton)
{
    start_t *start = baton;
    ac_cosmos_t *store = start->store;
    ac_store_op_t *op = start->op;
    free(start);
    if (op->status != APR_SUCCESS) {
        ac_cosmos_task_answer(store, op, op->status);
    } else if (op->deadline && ac_clock() >= op->deadline) {
        ac_cosmos_task_answer(store, op, ac_err_set(&op->err, AC_STORE_TIMEOUT, "the store did not get to it in time"));
    } else if (!verbs[op->verb]) {
        ac_cosmos_task_answer(store, op,
                              ac_err_set(&op->err, AC_INVALID_REQUEST, "this store keeps no such thing (%s)",
                                         ac_store_verb_name(op->verb)));
    } else {
        ac_cosmos_prepare_then(ac_cosmos_task_create(store, op), verbs[op->verb]);
    }
}

static void cosmos_store_start_post(void *self, ac_store_op_t *op)
{
    ac_cosmos_t *store = self;
    start_t *start = ac_alloc(sizeof(*start));
    start->store = store;
    start->op = op;
    op->status = APR_SUCCESS;
    ac_err_init(&op->err);
    op->page.limit = op->page.limit > 0 ? op->page.limit : 0;
    if (atomic_fetch_add(&store->n_open, 1) >= AC_MAX_STORE_QUEUE) {
        op->status = ac_err_set(&op->err, AC_OVERLOADED, "the store has too much to do");
        op->err.retry_after = apr_time_from_sec(1);
    }
    ac_loop_post(store->loop, op_begin, start);
}

/* ---- start and stop of a child ---- */

static void end_prepared(ac_cosmos_task_t *task)
{
    ac_cosmos_task_end(task, APR_SUCCESS);
}

static void prepare_early(ac_cosmos_task_t *task)
{
    ac_cosmos_prepare_then(task, end_prepared);
}

static void on_begin(void *baton)
{
    ac_cosmos_t *store = baton;
    atomic_store(&store->child.began, true);
    ac_cosmos_lease_start(store);
    ac_cosmos_task_own(store, NULL, NULL, prepare_early);
}

static apr_status_t cosmos_store_child_init(void *self, const ac_host_t *host, ac_err_t *err)
{
    ac_cosmos_t *store = self;
    apr_status_t status;
    store->ac_host = host;
    store->loop = host->loop;
    if (apr_pool_create(&store->pool, NULL) != APR_SUCCESS) {
        return ac_err_set(err, AC_INTERNAL, "out of memory");
    }
    store->leases.table = apr_hash_make(store->pool);
    ac_id_make(store->holder, "proc_");
    ac_process_name(store->process);
    store->containers.ready = AC_COSMOS_UNKNOWN;
    store->child.stopping = store->child.halted = false;
    store->containers.next_attempt = 0;
    store->child.started = true;
    atomic_init(&store->n_open, 0);
    atomic_init(&store->child.began, false);
    status = ac_credential_child_init(store->conf.credential, host, err);
    if (status == APR_SUCCESS) {
        ac_loop_post(store->loop, on_begin, store);
    }
    return status;
}

static void on_stop_late(void *baton)
{
    ac_cosmos_call_stop_all(baton);
}

typedef struct stop_t {
    ac_cosmos_t *store;
    ac_latch_t *latch;
} stop_t;

/* Ends the waits of the store's own tasks; they notice that the store is stopping. */
static void wake_own(ac_cosmos_t *store)
{
    ac_cosmos_task_t *task = store->tasks;
    for (int i = 0; i < store->n_tasks; i++, task = task->next) {
        if (task->own && task->timer.slot) {
            ac_timer_set(store->loop, &task->timer, ac_clock(), task->timer.fn, task->timer.baton);
        }
    }
}

static void on_stop(void *baton)
{
    stop_t *stop = baton;
    ac_cosmos_t *store = stop->store;
    store->child.stopping = true;
    store->child.stopped = stop->latch;
    free(stop);
    ac_cosmos_lease_stop(store);
    wake_own(store);
    ac_timer_set(store->loop, &store->child.stop_timer, ac_clock() + STOP_TIMEOUT * 3 / 4, on_stop_late, store);
    ac_cosmos_task_check_stopped(store);
}

static void cosmos_store_child_exit(void *self)
{
    ac_cosmos_t *store = self;
    ac_latch_t *latch = ac_latch_create();
    stop_t *stop = ac_alloc(sizeof(*stop));
    if (!store->child.started || !latch) {
        free(stop);
        if (latch) {
            ac_latch_unref(latch);
        }
        return;
    }
    stop->store = store;
    stop->latch = latch;
    ac_latch_ref(latch);
    ac_loop_post(store->loop, on_stop, stop);
    if (ac_latch_wait(latch, ac_clock() + (atomic_load(&store->child.began) ? STOP_TIMEOUT : STOP_UNBEGUN_TIMEOUT))) {
        ac_credential_child_exit(store->conf.credential);
        ac_cosmos_lease_free_all(store);
        json_decref(store->counts.waiting);
        store->counts.waiting = NULL;
        for (int i = 0; i < AC_COSMOS_MAX_REMEMBERED; i++) {
            ac_cosmos_thread_doc_clear(&store->remembered[i]);
        }
        apr_pool_destroy(store->pool);
    }
    ac_latch_unref(latch);
    store->child.started = false;
}

const ac_store_vt ac_store_cosmos = {
    .name = "cosmos",
    .create = ac_cosmos_config_create,
    .child_init = cosmos_store_child_init,
    .start_post = cosmos_store_start_post,
    .child_exit = cosmos_store_child_exit,
    .flags = AC_STORE_REMOTE | AC_STORE_SPANS,
};
