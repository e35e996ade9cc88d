/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of blocking tools, on work threads. */
#include "run_internal.h"

#include <stdlib.h>

/* The call of a blocking tool, on its way to a work thread and back; the run may have ended meanwhile. */
typedef struct ac_job_t {
    ac_call_t *call; /* loop thread only; NULL: abandoned */
    const ac_tool_t *tool;
    json_t *arguments, *result;
    apr_time_t deadline;
    ac_run_job_done_fn *done;
    apr_status_t status;
    ac_err_t err;
    ac_trace_t trace; /* a copy */
} ac_job_t;

static void job_run(void *baton)
{
    ac_job_t *job = baton;
    ac_trace_enter(&job->trace);
    job->status = job->tool->vt->call(&job->result, job->tool->self, job->arguments, job->deadline, &job->err);
    ac_trace_enter(NULL);
}

static void job_done(void *baton)
{
    ac_job_t *job = baton;
    ac_call_t *call = job->call;
    if (call) {
        call->job = NULL;
        job->done(call, job->status, json_incref(job->result), &job->err);
    }
    json_decref(job->arguments);
    json_decref(job->result);
    ac_trace_clear(&job->trace);
    free(job);
}

apr_status_t ac_run_job_start(ac_call_t *call, apr_time_t deadline, ac_run_job_done_fn *done, ac_err_t *err)
{
    ac_job_t *job = ac_alloc(sizeof *job);
    job->call = call;
    job->tool = call->tool;
    job->done = done;
    job->deadline = deadline;
    /* A copy, since the loop reads the call's arguments meanwhile. */
    job->arguments = json_deep_copy(call->arguments);
    ac_trace_copy(&job->trace, ac_run_trace_call(call));
    ac_err_init(&job->err);
    apr_status_t status = ac_work_post(call->run->engine->work, job_run, job_done, job);
    if (status != APR_SUCCESS) {
        json_decref(job->arguments);
        ac_trace_clear(&job->trace);
        free(job);
        return ac_err_set(err, AC_OVERLOADED, "this server is too busy to call the tool");
    }
    call->job = job;
    return APR_SUCCESS;
}

void ac_run_job_abandon(ac_call_t *call)
{
    if (call->job) {
        call->job->call = NULL;
    }
    call->job = NULL;
}
