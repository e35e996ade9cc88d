/* SPDX-License-Identifier: Apache-2.0 */
/* Runs and their steps, to be read; a run followed from any point, and stopped. */
#include "front.h"

#include <string.h>

/* Answers with what the store says. */
static int reply_store(ac_request_t *rq, ac_store_op_t *op)
{
    ac_store_op_t *result;
    if (ac_request_store(rq, op, &result) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return ac_reply_json(rq, HTTP_OK, json_incref(result->out));
}

int ac_api_thread_runs(ac_request_t *rq)
{
    rq->doing = "listing the thread's runs";
    if (!ac_id_valid(rq->args[0], "thread_")) {
        ac_err_set(&rq->err, AC_NOT_FOUND, "no thread with this id");
        return ac_reply_problem(rq, NULL);
    }
    ac_page_t page = {.limit = 0};
    if (ac_request_page(rq, &page) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    ac_store_op_t *op = ac_store_op_create(AC_STORE_RUN_LIST, rq->owner, rq->args[0]);
    if (op) {
        op->page = page;
    }
    return reply_store(rq, op);
}

static int reply_of_run(ac_request_t *rq, ac_store_verb_e verb)
{
    if (!ac_id_valid(rq->args[0], "run_")) {
        ac_err_set(&rq->err, AC_NOT_FOUND, "no run with this id");
        return ac_reply_problem(rq, NULL);
    }
    return reply_store(rq, ac_store_op_create(verb, rq->owner, rq->args[0]));
}

int ac_api_run_get(ac_request_t *rq)
{
    rq->doing = "reading the run";
    return reply_of_run(rq, AC_STORE_RUN_GET);
}

int ac_api_run_steps(ac_request_t *rq)
{
    rq->doing = "reading the run's steps";
    return reply_of_run(rq, AC_STORE_STEP_LIST);
}

static apr_status_t check_run_id(ac_request_t *rq)
{
    return ac_id_valid(rq->args[0], "run_") ? APR_SUCCESS : ac_err_set(&rq->err, AC_NOT_FOUND, "no run with this id");
}

int ac_api_run_events(ac_request_t *rq)
{
    uint64_t after = 0;
    bool given = false;
    ac_store_op_t *result;
    rq->doing = "following the run";
    if (check_run_id(rq) != APR_SUCCESS || ac_talk_after(rq, &after, &given, "after") != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    /* A live run can be followed although its store is out; whose it is stands in its log too. */
    if (ac_request_store(rq, ac_store_op_create(AC_STORE_RUN_GET, rq->owner, rq->args[0]), &result) != APR_SUCCESS &&
        rq->err.kind == AC_NOT_FOUND) {
        return ac_reply_problem(rq, NULL);
    }
    ac_err_init(&rq->err);
    return ac_stream_follow(rq, rq->args[0], after, &ac_dialect_native);
}

static bool has_ended(const json_t *run)
{
    const char *status = ac_json_peek_string(run, "status", "");
    return strcmp(status, "queued") && strcmp(status, "in_progress");
}

int ac_api_run_cancel(ac_request_t *rq)
{
    ac_store_op_t *result;
    rq->doing = "cancelling the run";
    if (check_run_id(rq) != APR_SUCCESS || ac_request_body_drop(rq) != APR_SUCCESS ||
        ac_request_store(rq, ac_store_op_create(AC_STORE_RUN_GET, rq->owner, rq->args[0]), &result) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    apr_status_t status = has_ended(result->out) ? APR_EGENERAL
        : ac_run_cancel_anywhere(ac_child()->engine, rq->args[0], rq->owner);
    if (status != APR_SUCCESS) {
        ac_err_set(&rq->err, AC_RUN_ENDED, status == APR_EGENERAL || ac_child()->event_dir ? "the run has ended"
                   : "the run has ended, or is in a process that cannot be reached from here: AgentChatEventLog is off");
        return ac_reply_problem(rq, NULL);
    }
    return ac_reply_json(rq, HTTP_ACCEPTED, json_incref(result->out));
}
