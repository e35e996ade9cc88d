/* SPDX-License-Identifier: Apache-2.0 */
/* Runs and steps of the Cosmos DB store. The steps of each verb, in the order of this file:
 *
 * RUN_GET, STEP_LIST, RUN_CANCEL
 *  1  read the run's entry in the owner's partition: it names the thread
 *  2  query the thread's document, the run and, for STEP_LIST, its steps; check owner and status
 *  3  close the run if it is dead; then 2
 *  4  end with run or steps; RUN_CANCEL: patch the run's document, which its holder reads
 *
 * RUN_LIST
 *  1  read the thread's document; close its active run if it is dead
 *  2  query the runs */
#include "cosmos_internal.h"

#include <string.h>

#include <apr_strings.h>

static const char sql_run[] = "SELECT * FROM c WHERE c.thread_id = @thread AND c.id IN (@thread, @run)";
static const char sql_steps[] =
    "SELECT * FROM c WHERE c.thread_id = @thread AND c.id IN (@thread, @run, @steps, @wait)";
static const char sql_runs[] =
    "SELECT * FROM c WHERE c.thread_id = @thread AND c.type = 'run' AND c.id < @after ORDER BY c.id DESC";

static void run_begin(ac_cosmos_task_t *task);
static void cosmos_runs_on_entry(void *baton, const ac_cosmos_reply_t *reply);
static void run_rows(ac_cosmos_task_t *task);
static void run_found(ac_cosmos_task_t *task);
static void run_checked(ac_cosmos_task_t *task);
static void run_answer(ac_cosmos_task_t *task);
static void request_cancel(ac_cosmos_task_t *task);
static void on_requested(void *baton, const ac_cosmos_reply_t *reply);
static void end_ended(ac_cosmos_task_t *task);
static void runs_begin(ac_cosmos_task_t *task);
static void cosmos_runs_read(ac_cosmos_task_t *task);
static void cosmos_runs_done(ac_cosmos_task_t *task);

/* ---- endings ---- */

static void end_no_run(ac_cosmos_task_t *task)
{
    ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_NOT_FOUND, "no run with this id"));
}

static void end_no_thread(ac_cosmos_task_t *task)
{
    ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_NOT_FOUND, "no thread with this id"));
}

/* ---- by the run's id, 1: the entry ---- */

void ac_cosmos_run_get(ac_cosmos_task_t *task)
{
    run_begin(task);
}

void ac_cosmos_run_cancel(ac_cosmos_task_t *task)
{
    run_begin(task);
}

void ac_cosmos_run_steps(ac_cosmos_task_t *task)
{
    run_begin(task);
}

static void run_begin(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .container = AC_COSMOS_THREADS,
                                   .key = op->owner,
                                   .id = task->run_id};
    apr_cpystrn(task->run_id, op->id, sizeof(task->run_id));
    if (!*task->run_id || !ac_cosmos_name_valid(task->run_id)) {
        end_no_run(task);
        return;
    }
    ac_cosmos_call_start(task, &request, cosmos_runs_on_entry, task);
}

static void cosmos_runs_on_entry(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    if (reply->status == 404 || strcmp(ac_json_peek_string(reply->body, "type", ""), "run") != 0) {
        end_no_run(task);
        return;
    }
    apr_cpystrn(task->op->id, ac_json_peek_string(reply->body, "thread_id", ""), sizeof(task->op->id));
    run_rows(task);
}

/* ---- 2: thread, run and steps ---- */

static void run_rows(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    bool steps = op->verb == AC_STORE_STEP_LIST;
    char steps_id[AC_ID_SIZE + 8];
    ac_cosmos_query_t select = {.container = AC_COSMOS_MESSAGES,
                                .key = op->id,
                                .sql = steps ? sql_steps : sql_run,
                                .whole = true};
    ac_cosmos_doc_steps_id(steps_id, task->run_id);
    select.parameters = json_pack("{s:s, s:s}", "@thread", op->id, "@run", task->run_id);
    if (steps) {
        ac_json_put(select.parameters, "@steps", json_string(steps_id));
        ac_cosmos_doc_suspended_id(steps_id, task->run_id);
        ac_json_put(select.parameters, "@wait", json_string(steps_id));
    }
    ac_cosmos_query_run(task, &select, run_found);
}

/* The query gives the thread's document too: it has the owner, and says whether the thread is deleted. */
static void run_found(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    const json_t *head = ac_cosmos_doc_find(task->rows, op->id), *run = ac_cosmos_doc_find(task->rows, task->run_id);
    const char *owner = ac_json_peek_string(head, "owner", NULL);
    ac_cosmos_thread_doc_clear(&task->thread);
    if (head && owner && strcmp(owner, op->owner) == 0 && !ac_cosmos_erasures_hide(task->store, owner, head)) {
        task->thread.doc = json_deep_copy(head);
        apr_cpystrn(task->thread.etag, ac_json_peek_string(head, "_etag", ""), sizeof(task->thread.etag));
    }
    if (!run || !ac_cosmos_thread_doc_lives(&task->thread, false)) {
        end_no_run(task);
    } else if (!task->look.checked && ac_record_is_active(run) &&
               strcmp(ac_cosmos_thread_doc_run(&task->thread), task->run_id) == 0) {
        task->look.checked = true;
        ac_cosmos_run_check_active(task, run_checked);
    } else {
        run_answer(task);
    }
}

/* ---- 3: a dead run ---- */

static void run_checked(ac_cosmos_task_t *task)
{
    /* The run was active and is closed now: it is read again. */
    if (!ac_cosmos_thread_doc_lives(&task->thread, false)) {
        end_no_run(task);
    } else if (strcmp(ac_cosmos_thread_doc_run(&task->thread), task->run_id) == 0) {
        run_answer(task);
    } else {
        run_rows(task);
    }
}

/* ---- 4: the answer ---- */

static void run_answer(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    char steps_id[AC_ID_SIZE + 8];
    json_t *steps;
    if (op->verb == AC_STORE_RUN_CANCEL) {
        request_cancel(task);
        return;
    }
    if (op->verb == AC_STORE_RUN_GET) {
        op->out = ac_cosmos_doc_run(ac_cosmos_doc_find(task->rows, task->run_id));
    } else {
        ac_cosmos_doc_steps_id(steps_id, task->run_id);
        steps = json_object_get(ac_cosmos_doc_find(task->rows, steps_id), "steps");
        op->out = json_pack("{s:o}", "data", steps ? json_copy(steps) : json_array());
        if (ac_cosmos_thread_doc_suspended(&task->thread, task->run_id)) {
            ac_cosmos_doc_suspended_id(steps_id, task->run_id);
            json_array_extend(json_object_get(op->out, "data"),
                              json_object_get(ac_cosmos_doc_find(task->rows, steps_id), "asks"));
        }
    }
    ac_cosmos_task_end(task, op->out ? APR_SUCCESS : ac_err_set(&op->err, AC_INTERNAL, "out of memory"));
}

/* The holder of the run reads its document regularly. */
static void request_cancel(ac_cosmos_task_t *task)
{
    const json_t *run = ac_cosmos_doc_find(task->rows, task->run_id);
    const char *holder = ac_json_peek_string(run, "holder", "");
    if (!ac_record_is_active(run) || !*holder) {
        end_ended(task);
    } else {
        ac_cosmos_lease_patch(task, holder, "cancel_requested", json_true(), on_requested);
    }
}

static void on_requested(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 412))) {
        return;
    }
    if (reply->status != 200) {
        end_ended(task);
        return;
    }
    task->op->out = ac_cosmos_doc_run(ac_cosmos_doc_find(task->rows, task->run_id));
    ac_cosmos_task_end(task, APR_SUCCESS);
}

static void end_ended(ac_cosmos_task_t *task)
{
    ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_RUN_ENDED, "the run has ended"));
}

/* ---- RUN_LIST, 1: the thread's document ---- */

void ac_cosmos_run_list(ac_cosmos_task_t *task)
{
    ac_cosmos_thread_doc_read(task, false, runs_begin);
}

static void runs_begin(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    if (!ac_cosmos_thread_doc_lives(&task->thread, false)) {
        end_no_thread(task);
    } else if (*op->page.after && !ac_id_valid(op->page.after, "run_")) {
        ac_cosmos_task_end(task, ac_err_set(&op->err, AC_INVALID_REQUEST, "after is not a cursor of this list"));
    } else {
        ac_cosmos_run_check_active(task, cosmos_runs_read);
    }
}

/* ---- 2: the query ---- */

static void cosmos_runs_read(ac_cosmos_task_t *task)
{
    ac_store_op_t *op = task->op;
    ac_cosmos_query_t select = {.container = AC_COSMOS_MESSAGES,
                                .key = op->id,
                                .sql = sql_runs,
                                .want = op->page.limit + 1};
    if (!ac_cosmos_thread_doc_lives(&task->thread, false)) {
        end_no_thread(task);
        return;
    }
    select.parameters =
        json_pack("{s:s, s:s}", "@thread", op->id, "@after", *op->page.after ? op->page.after : AC_COSMOS_CURSOR_NONE);
    ac_cosmos_query_run(task, &select, cosmos_runs_done);
}

static void cosmos_runs_done(ac_cosmos_task_t *task)
{
    int limit = task->op->page.limit;
    bool more = (int)json_array_size(task->rows) > limit;
    json_t *data = json_array(), *last = NULL;
    for (int i = 0; i < limit && i < (int)json_array_size(task->rows); i++) {
        const json_t *row = json_array_get(task->rows, (size_t)i);
        json_array_append_new(data, ac_cosmos_doc_run(row));
        last = json_object_get(row, "id");
    }
    ac_cosmos_list_end(task, data, more, more && last ? json_incref(last) : NULL);
}
