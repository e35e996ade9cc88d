/* SPDX-License-Identifier: Apache-2.0 */
/* Runs and their steps, to be read. */
#include "front.h"

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
