/* SPDX-License-Identifier: Apache-2.0 */
/* The wait of a request for the store. */
#include "request.h"

static apr_status_t free_op(void *op)
{
    ac_store_op_free(op);
    return APR_SUCCESS;
}

void ac_request_store_free(ac_request_t *rq, ac_store_op_t *result)
{
    if (result) {
        apr_pool_cleanup_run(rq->r->pool, result, free_op);
    }
}

apr_status_t ac_request_store(ac_request_t *rq, ac_store_op_t *op, ac_store_op_t **presult)
{
    const ac_conf_t *conf = ac_child()->conf;
    ac_err_t err;
    *presult = NULL;
    if (!op) {
        return ac_err_set(&rq->err, AC_INTERNAL, "memory ran out");
    }
    ac_err_init(&err);
    ac_store_op_trace(op, &rq->trace);
    apr_time_t began = ac_clock();
    apr_status_t status = ac_store_wait(&conf->store, &op, conf->request_store_timeout, &err);
    rq->store_time += ac_clock() - began;
    if (op) {
        apr_pool_cleanup_register(rq->r->pool, op, free_op, apr_pool_cleanup_null);
    }
    *presult = op;
    if (status == APR_SUCCESS) {
        return APR_SUCCESS;
    }
    if (err.kind == AC_OK) {
        ac_err_set(&err, AC_STORE_ERROR, "the store failed");
    }
    const char *run_id = err.kind == AC_RUN_IN_PROGRESS && op ? ac_json_peek_string(op->out, "run_id", NULL) : NULL;
    if (run_id) {
        apr_snprintf(err.detail, sizeof(err.detail), "the thread has an active run: %s", run_id);
    }
    if (rq->err.kind == AC_OK) {
        rq->err = err;
    }
    return status;
}
