/* SPDX-License-Identifier: Apache-2.0 */
/* Runs and their steps: show, follow from any event on, cancel, approve tool calls. */
#include "api_internal.h"

#include <string.h>

#include "apr_atomic.h"

/* Replies with the result of a store operation, which is consumed. */
static int reply_store(ac_request_t *rq, ac_store_op_t *op)
{
    ac_store_op_t *result;
    if (ac_request_store(rq, op, &result) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return ac_reply_json(rq, HTTP_OK, json_incref(result->out));
}

int ac_api_runs_list(ac_request_t *rq)
{
    rq->doing = "listing the thread's runs";
    if (!ac_id_valid(rq->args[0], "thread_")) {
        ac_err_set(&rq->err, AC_NOT_FOUND, "no thread with this id");
        return ac_reply_problem(rq, NULL);
    }
    ac_page_t page = {.limit = 0};
    if (ac_query_page(rq, &page) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    ac_store_op_t *op = ac_store_op_create(AC_STORE_RUN_LIST, rq->owner, rq->args[0]);
    if (op) {
        op->page = page;
    }
    return reply_store(rq, op);
}

static apr_status_t check_run_id(ac_request_t *rq)
{
    return ac_id_valid(rq->args[0], "run_") ? APR_SUCCESS : ac_err_set(&rq->err, AC_NOT_FOUND, "no run with this id");
}

static int reply_of_run(ac_request_t *rq, ac_store_verb_e verb)
{
    if (check_run_id(rq) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return reply_store(rq, ac_store_op_create(verb, rq->owner, rq->args[0]));
}

/* Adds the deliveries to the webhook of a run. */
static apr_status_t add_deliveries(ac_request_t *rq, json_t *run)
{
    ac_store_op_t *result, *op;
    json_t *webhook = json_object_get(run, "webhook");
    if (!json_is_object(webhook)) {
        return APR_SUCCESS;
    }
    op = ac_store_op_create(AC_STORE_WEBHOOK_LIST, rq->owner, ac_json_peek_string(run, "thread_id", ""));
    if (op) {
        op->in = json_pack("{s:s}", "run_id", rq->args[0]);
    }
    apr_status_t status = ac_request_store(rq, op, &result);
    if (status == APR_SUCCESS) {
        ac_json_put(webhook, "deliveries", json_incref(json_object_get(result->out, "data")));
    }
    return status;
}

int ac_api_runs_get(ac_request_t *rq)
{
    ac_store_op_t *result;
    rq->doing = "reading the run";
    if (check_run_id(rq) != APR_SUCCESS ||
        ac_request_store(rq, ac_store_op_create(AC_STORE_RUN_GET, rq->owner, rq->args[0]), &result) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    json_t *run = json_incref(result->out);
    if (add_deliveries(rq, run) != APR_SUCCESS) {
        json_decref(run);
        return ac_reply_problem(rq, NULL);
    }
    return ac_reply_json(rq, HTTP_OK, run);
}

int ac_api_runs_steps(ac_request_t *rq)
{
    rq->doing = "reading the run's steps";
    return reply_of_run(rq, AC_STORE_STEP_LIST);
}

int ac_api_runs_events(ac_request_t *rq)
{
    uint64_t after = 0;
    bool given = false;
    ac_store_op_t *result;
    rq->doing = "following the run";
    if (check_run_id(rq) != APR_SUCCESS || ac_chat_request_last_event(rq, &after, &given, "after") != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    /* A live run can be followed during an outage of the store: its log has the owner, too. */
    apr_status_t status = ac_request_store(rq, ac_store_op_create(AC_STORE_RUN_GET, rq->owner, rq->args[0]), &result);
    if (status == APR_SUCCESS && json_object_get(result->out, "deleted")) {
        ac_err_set(&rq->err, AC_NOT_FOUND, "the answer of this run is deleted");
    }
    if (rq->err.kind == AC_NOT_FOUND) {
        return ac_reply_problem(rq, NULL);
    }
    ac_err_init(&rq->err);
    return ac_delivery_follow(rq, rq->args[0], after, true);
}

/* Leaves the cancel in the store, for the process on any machine that holds the run. */
static apr_status_t cancel_by_store(ac_request_t *rq, bool asked)
{
    ac_store_op_t *result;
    apr_status_t status =
        ac_request_store(rq, ac_store_op_create(AC_STORE_RUN_CANCEL, rq->owner, rq->args[0]), &result);
    if (status == APR_SUCCESS) {
        ac_notice_post(ac_child()->engine, rq->args[0]);
    }
    if (status == APR_SUCCESS || rq->err.kind != AC_INVALID_REQUEST) {
        return status;
    }
    ac_err_init(&rq->err);
    return asked
        ? APR_SUCCESS
        : ac_err_set(
              &rq->err, AC_RUN_ENDED,
              ac_child()->event_dir
                  ? "the run has ended"
                  : "the run has ended, or is in a process that cannot be reached from here: AgentChatEventLog is off");
}

/* A suspended run is in no process: this one takes it over with the cancel, and ends it. */
static apr_status_t cancel_suspended(ac_request_t *rq, ac_err_t *err)
{
    ac_approval_t approval = {rq->args[0], rq->owner, json_pack("{s:b}", "cancel", 1), NULL, &rq->trace, -1};
    apr_status_t status = ac_run_approval_decide(ac_child()->engine, &approval, err);
    json_decref(approval.decision);
    return status;
}

static apr_status_t refuse_too_late(ac_request_t *rq)
{
    return ac_err_set(&rq->err, AC_RUN_ENDED, "it is too late: the run has ended, or how it ends is being stored");
}

/* The run may have ended as cancelled meanwhile, by the request that is in its log. */
static apr_status_t read_outcome(ac_request_t *rq)
{
    ac_store_op_t *result;
    ac_err_init(&rq->err);
    apr_status_t status = ac_request_store(rq, ac_store_op_create(AC_STORE_RUN_GET, rq->owner, rq->args[0]), &result);
    if (status != APR_SUCCESS || strcmp(ac_json_peek_string(result->out, "status", ""), "cancelled") == 0) {
        return status;
    }
    return refuse_too_late(rq);
}

/* First in the process that carries the run out, which needs no store. Then in the store, if the run is suspended.
 * If it is not, an approval may have resumed it at this moment, so the processes are asked again. */
static apr_status_t cancel_run(ac_request_t *rq)
{
    ac_err_t err;
    ac_err_init(&err);
    apr_status_t status = ac_run_cancel_anywhere(ac_child()->engine, rq->args[0], rq->owner, false);
    bool rests = status == APR_EAGAIN;
    if (status != APR_SUCCESS && status != ac_err_row(AC_RUN_ENDED)->status) {
        if (cancel_suspended(rq, &err) == APR_SUCCESS) {
            return APR_SUCCESS;
        }
        if (err.kind != AC_NOT_WAITING) {
            rq->err = err;
            return ac_err_row(err.kind)->status;
        }
        status = ac_run_cancel_anywhere(ac_child()->engine, rq->args[0], rq->owner, true);
    }
    if (status == ac_err_row(AC_RUN_ENDED)->status) {
        return refuse_too_late(rq);
    }
    if (status == APR_SUCCESS && !rests) {
        return APR_SUCCESS;
    }
    /* A suspended log may be left here although another machine has resumed the run. */
    status = cancel_by_store(rq, status == APR_SUCCESS || status == APR_INCOMPLETE);
    return status == ac_err_row(AC_RUN_ENDED)->status && rests ? read_outcome(rq) : status;
}

/* A turn in the queue of its thread leaves it. errors: AC_RUN_ENDED: it has begun, or was cancelled before. */
static apr_status_t cancel_queued(ac_request_t *rq, const json_t *run)
{
    ac_store_op_t *result, *op = ac_store_op_create(AC_STORE_TURN_UNQUEUE, rq->owner, rq->args[0]);
    if (op) {
        json_t *ended = json_deep_copy(run);
        json_object_del(ended, "input");
        json_object_del(ended, "expires_at");
        ac_json_put(ended, "status", json_string("cancelled"));
        ac_json_put(ended, "completed_at", ac_time_json(apr_time_now()));
        op->in = json_pack("{s:o}", "run", ended);
    }
    apr_status_t status = ac_request_store(rq, op, &result);
    if (status == APR_SUCCESS) {
        ac_webhook_sender_notify_post(ac_child()->webhooks, rq->owner, json_object_get(result->in, "run"));
    }
    return status;
}

static bool run_is_queued(const json_t *run)
{
    return strcmp(ac_json_peek_string(run, "status", ""), "queued") == 0;
}

/* A run on this machine is cancelled without the store, which may be slow or out: its log has the owner, and the
 * document for the answer. A run without a log cannot be cancelled during an outage of the store, because there would
 * be no answer. */
apr_status_t ac_api_runs_end(ac_request_t *rq, json_t **prun)
{
    ac_store_op_t *result;
    rq->doing = "cancelling the run";
    rq->audit.event = AC_AUDIT_RUN_CANCELLED;
    *prun = NULL;
    apr_status_t status = check_run_id(rq);
    if (status != APR_SUCCESS) {
        return status;
    }
    status = ac_run_cancel_logged(ac_child()->engine, rq->args[0], rq->owner, prun);
    if (status == ac_err_row(AC_RUN_ENDED)->status) {
        return refuse_too_late(rq);
    }
    if (status == APR_SUCCESS) {
        return status;
    }
    status = ac_request_store(rq, ac_store_op_create(AC_STORE_RUN_GET, rq->owner, rq->args[0]), &result);
    if (status != APR_SUCCESS) {
        return *prun ? APR_SUCCESS : status;
    }
    json_decref(*prun);
    *prun = NULL;
    json_t *run = json_incref(result->out);
    bool left = run_is_queued(run) && cancel_queued(rq, run) == APR_SUCCESS;
    if (!left && run_is_queued(run) && rq->err.kind == AC_RUN_ENDED) {
        ac_err_init(&rq->err); /* it has begun meanwhile */
    }
    status = left                  ? APR_SUCCESS
        : rq->err.kind             ? ac_err_row(rq->err.kind)->status
        : ac_record_is_active(run) ? cancel_run(rq)
                                   : ac_err_set(&rq->err, AC_RUN_ENDED, "the run has ended");
    if (status == APR_SUCCESS) {
        *prun = run;
    } else {
        json_decref(run);
    }
    return status;
}

int ac_api_runs_cancel(ac_request_t *rq)
{
    json_t *run = NULL;
    apr_status_t status = ac_request_body_drop(rq);
    if (status == APR_SUCCESS) {
        status = ac_api_runs_end(rq, &run);
    }
    return status == APR_SUCCESS ? ac_reply_json(rq, HTTP_ACCEPTED, run) : ac_reply_problem(rq, NULL);
}

/* ---- approvals ---- */

apr_status_t ac_api_runs_content_check(ac_request_t *rq, const json_t *content, bool approve, const char *pointer)
{
    if (json_is_null(content)) {
        return APR_SUCCESS;
    }
    if (!json_is_object(content) || !approve) {
        return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, pointer, "%s",
                             approve ? "content must be an object" : "content is for an approval only");
    }
    return json_dumpb(content, NULL, 0, JSON_COMPACT) <= AC_MAX_FORM_CONTENT
        ? APR_SUCCESS
        : ac_err_set_at(&rq->err, AC_INVALID_REQUEST, pointer, "content may have at most %d bytes",
                        AC_MAX_FORM_CONTENT);
}

static apr_status_t read_decision(ac_request_t *rq, json_t **pword)
{
    static const char *const members[] = {"call_id", "approve", "reason", "content", NULL};
    const char *call_id, *reason = NULL;
    const json_t *content;
    bool approve = false;
    apr_status_t status = ac_request_body(rq, true);
    if (status == APR_SUCCESS) {
        status = ac_json_only(rq->body, members, &rq->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_json_string(&call_id, rq->body, "call_id", true, &rq->err);
    }
    if (status == APR_SUCCESS) {
        status = ac_json_bool(&approve, rq->body, "approve", false, &rq->err);
    }
    if (status == APR_SUCCESS && !json_is_boolean(json_object_get(rq->body, "approve"))) {
        status = ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/approve", "approve must be true or false");
    }
    if (status == APR_SUCCESS) {
        status = ac_json_string(&reason, rq->body, "reason", false, &rq->err);
    }
    if (status == APR_SUCCESS && reason && strlen(reason) > AC_MAX_REASON) {
        status =
            ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/reason", "reason may have at most %d bytes", AC_MAX_REASON);
    }
    content = json_object_get(rq->body, "content");
    if (status == APR_SUCCESS && content) {
        status = ac_api_runs_content_check(rq, content, approve, "/content");
    }
    if (status == APR_SUCCESS) {
        rq->audit.event = approve ? AC_AUDIT_APPROVAL_GIVEN : AC_AUDIT_APPROVAL_REFUSED;
        rq->audit.call = call_id;
        *pword = json_pack("{s:s, s:b, s:s?, s:O*}", "call_id", call_id, "approve", approve, "reason", reason,
                           "content", content);
    }
    return status;
}

static apr_status_t check_open(ac_request_t *rq, const json_t *run)
{
    if (!ac_record_is_active(run)) {
        return ac_err_set(&rq->err, AC_RUN_ENDED, "the run has ended");
    }
    if (apr_atomic_read32(&ac_child()->stopping)) {
        rq->err.retry_after = apr_time_from_sec(2);
        return ac_err_set(&rq->err, AC_STOPPING, "the server is stopping");
    }
    return APR_SUCCESS;
}

apr_status_t ac_api_runs_decide(ac_request_t *rq, const char *run_id, json_t *decision, apr_interval_time_t leave)
{
    ac_approval_t approval = {run_id, rq->owner, decision, ac_limits_quota(rq), &rq->trace, leave};
    const char *call_id = apr_pstrdup(rq->r->pool, ac_json_peek_string(decision, "call_id", ""));
    bool approves = json_is_true(json_object_get(decision, "approve"));
    rq->doing = "deciding about a call";
    rq->audit = (ac_audit_t){approves ? AC_AUDIT_APPROVAL_GIVEN : AC_AUDIT_APPROVAL_REFUSED,
                             apr_pstrdup(rq->r->pool, run_id), call_id};
    return ac_run_approval_decide(ac_child()->engine, &approval, &rq->err);
}

int ac_api_runs_approve(ac_request_t *rq)
{
    json_t *decision = NULL;
    ac_store_op_t *result;
    rq->doing = "deciding about a call";
    apr_status_t status = read_decision(rq, &decision);
    if (status == APR_SUCCESS) {
        status = check_run_id(rq);
    }
    if (status == APR_SUCCESS) {
        status = ac_request_store(rq, ac_store_op_create(AC_STORE_RUN_GET, rq->owner, rq->args[0]), &result);
    }
    if (status == APR_SUCCESS) {
        status = check_open(rq, result->out);
    }
    if (status == APR_SUCCESS) {
        status = ac_api_runs_decide(rq, rq->args[0], decision, -1);
    }
    json_decref(decision);
    return status == APR_SUCCESS ? ac_reply_json(rq, HTTP_ACCEPTED, json_incref(result->out))
                                 : ac_reply_problem(rq, NULL);
}
