/* SPDX-License-Identifier: Apache-2.0 */
/* Answers to interrupts: each is a call that awaits approval. One request answers all that are open; a call that has
 * been decided the same way before is left as it is, so that a request can be sent again. */
#include "agui_internal.h"

#include <string.h>

#include "apr_strings.h"

typedef struct answer_t {
    const char *call;   /* in the body */
    const char *reason; /* NULL: none */
    json_t *content;    /* for a form, in the body; NULL: none */
    bool approves;
} answer_t;

static apr_status_t resume_refuse(ac_request_t *rq, size_t at, const char *member, const char *why)
{
    const char *pointer = apr_psprintf(rq->r->pool, "/resume/%" APR_SIZE_T_FMT "%s", at, member);
    return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, pointer, "%s", why);
}

/* run_id: of the answers before; "": none. */
static apr_status_t agui_resume_read_answer(answer_t *answer, ac_request_t *rq, const json_t *entry, size_t at,
                                            char run_id[AC_ID_SIZE])
{
    const json_t *payload = json_object_get(entry, "payload"), *approved = json_object_get(payload, "approved");
    const char *status = ac_json_peek_string(entry, "status", "");
    char own[AC_ID_SIZE];
    if (!ac_agui_id_read_call(own, &answer->call, ac_json_peek_string(entry, "interruptId", "")) ||
        (*run_id && strcmp(own, run_id) != 0)) {
        return resume_refuse(rq, at, "/interruptId", "the thread has no interrupt with this id");
    }
    apr_cpystrn(run_id, own, AC_ID_SIZE);
    if (strcmp(status, "cancelled") == 0) {
        return APR_SUCCESS;
    }
    if (strcmp(status, "resolved") != 0) {
        return resume_refuse(rq, at, "/status", "status must be resolved or cancelled");
    }
    if (!json_is_boolean(approved)) {
        return resume_refuse(rq, at, "/payload", "payload must be {approved: true or false}");
    }
    answer->approves = json_is_true(approved);
    answer->reason = ac_json_peek_string(payload, "reason", NULL);
    answer->content = json_object_get(payload, "content");
    const char *pointer = apr_psprintf(rq->r->pool, "/resume/%" APR_SIZE_T_FMT "/payload/content", at);
    apr_status_t fine = answer->content ? ac_api_runs_content_check(rq, answer->content, answer->approves, pointer)
                                        : APR_SUCCESS;
    if (fine != APR_SUCCESS) {
        return fine;
    }
    return answer->reason && strlen(answer->reason) > AC_MAX_REASON
        ? resume_refuse(rq, at, "/payload", "reason may have at most 1000 bytes")
        : APR_SUCCESS;
}

/* The step of a call; NULL: none. */
static const json_t *agui_resume_step_of(const json_t *steps, const char *call)
{
    const json_t *step;
    size_t i;
    json_array_foreach((json_t *)steps, i, step)
    {
        if (strcmp(ac_json_peek_string(step, "call_id", ""), call) == 0) {
            return step;
        }
    }
    return NULL;
}

static bool has_answer(const apr_array_header_t *answers, const char *call)
{
    for (int i = 0; i < answers->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(answers, i, answer_t).call, call) == 0) {
            return true;
        }
    }
    return false;
}

/* All open calls have an answer, and no answer is for another call, or differs from an earlier one. */
static apr_status_t check_answers(ac_request_t *rq, const apr_array_header_t *answers, const json_t *steps, bool active)
{
    const json_t *step;
    bool open = false;
    size_t i;
    json_array_foreach((json_t *)steps, i, step)
    {
        const char *call = ac_json_peek_string(step, "call_id", "");
        bool waits = strcmp(ac_json_peek_string(step, "approval", ""), "required") == 0;
        open = open || waits;
        if (waits && !has_answer(answers, call)) {
            return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/resume", "the interrupt of the call %s has no answer",
                                 call);
        }
    }
    for (int k = 0; k < answers->nelts; k++) {
        const answer_t *answer = &APR_ARRAY_IDX(answers, k, answer_t);
        const json_t *own = agui_resume_step_of(steps, answer->call);
        const char *approval = ac_json_peek_string(own, "approval", "");
        if (!*approval && (open || (!active && !own))) {
            return resume_refuse(rq, (size_t)k, "/interruptId", "the thread has no interrupt with this id");
        }
        /* A run that was cancelled has left its calls without a decision. */
        bool decided = !active || (*approval && strcmp(approval, "required") != 0);
        if (decided && (strcmp(approval, "approved") == 0) != answer->approves) {
            return ac_err_set(&rq->err, AC_NOT_WAITING,
                              "the call was decided otherwise before, or was not approved in time");
        }
    }
    return APR_SUCCESS;
}

/* Whether the run belongs to the thread. */
static bool is_of_thread(const json_t *loaded, const char *run_id)
{
    const json_t *message;
    size_t i;
    json_array_foreach(json_object_get(loaded, "messages"), i, message)
    {
        if (strcmp(ac_json_peek_string(message, "run_id", ""), run_id) == 0) {
            return true;
        }
    }
    return strcmp(ac_json_peek_string(loaded, "active_run", ""), run_id) == 0;
}

static apr_status_t agui_resume_store(ac_agui_resume_t *resume, ac_request_t *rq, const apr_array_header_t *answers)
{
    resume->repeats = true;
    for (int i = 0; i < answers->nelts; i++) {
        const answer_t *answer = &APR_ARRAY_IDX(answers, i, answer_t);
        json_t *decision = json_pack("{s:s, s:b, s:s*, s:O*}", "call_id", answer->call, "approve", answer->approves,
                                     "reason", answer->reason, "content", answer->content);
        apr_status_t status = ac_api_runs_decide(rq, resume->run_id, decision, -1);
        json_decref(decision);
        if (status != APR_SUCCESS && rq->err.kind != AC_NOT_WAITING) {
            return status;
        }
        resume->repeats = resume->repeats && status != APR_SUCCESS;
        ac_err_init(&rq->err);
    }
    return APR_SUCCESS;
}

apr_status_t ac_agui_resume_decide(ac_agui_resume_t *resume, ac_request_t *rq, const ac_agui_input_t *input,
                                   const json_t *loaded)
{
    apr_array_header_t *answers = apr_array_make(rq->r->pool, 4, sizeof(answer_t));
    const json_t *entry;
    ac_store_op_t *result = NULL;
    size_t i;
    memset(resume, 0, sizeof(*resume));
    json_array_foreach((json_t *)input->resume, i, entry)
    {
        answer_t answer = {0};
        apr_status_t status = agui_resume_read_answer(&answer, rq, entry, i, resume->run_id);
        if (status != APR_SUCCESS) {
            return status;
        }
        APR_ARRAY_PUSH(answers, answer_t) = answer;
    }
    if (!is_of_thread(loaded, resume->run_id)) {
        return resume_refuse(rq, 0, "/interruptId", "the thread has no interrupt with this id");
    }
    bool active = strcmp(ac_json_peek_string(loaded, "active_run", ""), resume->run_id) == 0;
    apr_status_t status =
        ac_request_store(rq, ac_store_op_create(AC_STORE_STEP_LIST, rq->owner, resume->run_id), &result);
    if (status == APR_SUCCESS) {
        status = check_answers(rq, answers, json_object_get(result->out, "data"), active);
    }
    resume->call = APR_ARRAY_IDX(answers, 0, answer_t).call;
    return status == APR_SUCCESS ? agui_resume_store(resume, rq, answers) : status;
}
