/* SPDX-License-Identifier: Apache-2.0 */
/* The thread of a response. One that follows another one is a message below that one's answer, so that chains may
 * branch. Clients that send the whole conversation back name the response before by the ids of its items. */
#include "v1_response.h"

#include <string.h>

#include "apr_strings.h"

#define NEWEST 3 /* threads in which a repeated request without a thread looks for its message */
#define LAST 2   /* messages at the end of a path: a question, and perhaps its answer */

apr_status_t ac_v1_place_run(const json_t **prun, ac_request_t *rq, const char *run_id, const char *pointer)
{
    ac_store_op_t *result = NULL;
    rq->doing = "reading the response";
    apr_status_t status = ac_request_store(rq, ac_store_op_create(AC_STORE_RUN_GET, rq->owner, run_id), &result);
    bool deleted = status == APR_SUCCESS && json_object_get(result->out, "deleted");
    if (deleted || (status != APR_SUCCESS && rq->err.kind == AC_NOT_FOUND)) {
        ac_err_init(&rq->err);
        return ac_err_set_at(&rq->err, AC_NOT_FOUND, pointer, "no response with this id");
    }
    *prun = result ? result->out : NULL;
    return status;
}

/* parent_id: NULL: the leaf. */
static apr_status_t place_load(ac_request_t *rq, const json_t **ploaded, const char *thread_id, const char *parent_id,
                               int limit)
{
    ac_store_op_t *op = ac_store_op_create(AC_STORE_TURN_LOAD, rq->owner, thread_id), *result = NULL;
    rq->doing = "reading the thread";
    if (op) {
        op->page.limit = limit;
        op->in = parent_id ? json_pack("{s:s}", "parent_id", parent_id) : NULL;
    }
    apr_status_t status = ac_request_store(rq, op, &result);
    *ploaded = result ? result->out : NULL;
    return status;
}

/* After the answer of the run; after its question, if it has none. */
static apr_status_t after_run(ac_v1_place_t *place, ac_request_t *rq, const json_t *run, int limit)
{
    char answer[AC_ID_SIZE];
    ac_record_answer_id(answer, ac_json_peek_string(run, "id", ""));
    place->run = run;
    place->thread_id = ac_json_peek_string(run, "thread_id", "");
    place->parent_id = apr_pstrdup(rq->r->pool, answer);
    apr_status_t status = place_load(rq, &place->loaded, place->thread_id, place->parent_id, limit);
    if (status == APR_SUCCESS || rq->err.kind != AC_NOT_FOUND) {
        return status;
    }
    ac_err_init(&rq->err);
    place->parent_id = ac_json_peek_string(run, "parent_id", "");
    return place_load(rq, &place->loaded, place->thread_id, place->parent_id, limit);
}

/* *pid: of the conversation that the request names; NULL: none. */
static apr_status_t place_read_conversation(ac_request_t *rq, const char **pid)
{
    const json_t *named = json_object_get(rq->body, "conversation");
    char id[AC_ID_SIZE];
    const char *rest;
    *pid = NULL;
    if (!named || json_is_null(named)) {
        return APR_SUCCESS;
    }
    const char *given = json_is_string(named) ? json_string_value(named) : ac_json_peek_string(named, "id", NULL);
    if (!given) {
        return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/conversation",
                             "conversation must be an id, or an object with one");
    }
    if (!ac_v1_id_read(id, &rest, given, "conv_", "thread_") || *rest) {
        return ac_err_set_at(&rq->err, AC_NOT_FOUND, "/conversation", "no conversation with this id");
    }
    *pid = apr_pstrdup(rq->r->pool, id);
    return APR_SUCCESS;
}

static apr_status_t after_response(ac_v1_place_t *place, ac_request_t *rq, const char *id, int limit)
{
    static const char pointer[] = "/previous_response_id";
    char run_id[AC_ID_SIZE];
    const json_t *run;
    unsigned segment;
    if (!ac_v1_id_read_response(run_id, &segment, id)) {
        return ac_err_set_at(&rq->err, AC_NOT_FOUND, pointer, "no response with this id");
    }
    apr_status_t status = ac_v1_place_run(&run, rq, run_id, pointer);
    return status == APR_SUCCESS ? after_run(place, rq, run, limit) : status;
}

static apr_status_t in_conversation(ac_v1_place_t *place, ac_request_t *rq, const char *thread_id, int limit)
{
    place->thread_id = thread_id;
    place->in_conversation = true;
    apr_status_t status = place_load(rq, &place->loaded, thread_id, NULL, limit);
    if (status != APR_SUCCESS && rq->err.kind == AC_NOT_FOUND) {
        ac_err_init(&rq->err);
        return ac_err_set_at(&rq->err, AC_NOT_FOUND, "/conversation", "no conversation with this id");
    }
    return status;
}

/* Items of a run that is not stored are a history like any other; references to them lead nowhere. */
static apr_status_t after_items(ac_v1_place_t *place, ac_request_t *rq, ac_v1_input_t *input, int limit)
{
    const json_t *run;
    const char *pointer = apr_psprintf(rq->r->pool, "/input/%" APR_SIZE_T_FMT, input->at);
    apr_status_t status = ac_v1_place_run(&run, rq, input->run_id, pointer);
    if (status == APR_SUCCESS) {
        return after_run(place, rq, run, limit);
    }
    if (rq->err.kind != AC_NOT_FOUND || ac_v1_input_is_reference(input)) {
        return status;
    }
    ac_err_init(&rq->err);
    input->run_id = NULL;
    input->first = 0;
    return APR_SUCCESS;
}

/* A run that still answers has nothing that could be followed, unless it awaits approvals. */
static apr_status_t place_check_active(const ac_v1_place_t *place, ac_request_t *rq, const ac_v1_input_t *input)
{
    const char *active = ac_json_peek_string(place->loaded, "active_run", NULL);
    bool decides = input->run_id && active && strcmp(active, input->run_id) == 0;
    return !active || decides
        ? APR_SUCCESS
        : ac_err_set(&rq->err, AC_RUN_IN_PROGRESS, "the conversation has a response that is not complete yet");
}

apr_status_t ac_v1_place_find(ac_v1_place_t *place, ac_request_t *rq, ac_v1_input_t *input, bool whole)
{
    const char *previous = NULL, *conversation = NULL;
    int limit = whole ? AC_MAX_PAGE : LAST;
    memset(place, 0, sizeof(*place));
    apr_status_t status = ac_json_string(&previous, rq->body, "previous_response_id", false, &rq->err);
    if (status == APR_SUCCESS) {
        status = place_read_conversation(rq, &conversation);
    }
    if (status == APR_SUCCESS && previous && conversation) {
        return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/conversation",
                             "a request has previous_response_id or conversation, not both");
    }
    if (status == APR_SUCCESS && previous) {
        status = after_response(place, rq, previous, limit);
    } else if (status == APR_SUCCESS && conversation) {
        status = in_conversation(place, rq, conversation, limit);
    } else if (status == APR_SUCCESS && input->run_id) {
        status = after_items(place, rq, input, limit);
    }
    if (status == APR_SUCCESS && place->run) { /* results and decisions without items name it by their ids alone */
        input->run_id = ac_json_peek_string(place->run, "id", NULL);
    }
    return status == APR_SUCCESS ? place_check_active(place, rq, input) : status;
}

/* ---- a repeated request ---- */

static apr_status_t repeated_in(const char **prun_id, ac_request_t *rq, const char *thread_id, const char *hash)
{
    const json_t *loaded, *message;
    size_t i;
    apr_status_t status = place_load(rq, &loaded, thread_id, NULL, LAST);
    if (status != APR_SUCCESS && rq->err.kind == AC_NOT_FOUND) { /* deleted meanwhile */
        ac_err_init(&rq->err);
        return APR_SUCCESS;
    }
    json_array_foreach(json_object_get(loaded, "messages"), i, message)
    {
        if (strcmp(ac_json_peek_string(ac_v1_facts_of(message), "body", ""), hash) == 0) {
            *prun_id = ac_json_peek_string(message, "run_id", NULL);
        }
    }
    return status;
}

apr_status_t ac_v1_place_repeated(const char **prun_id, ac_request_t *rq, const ac_v1_place_t *place, const char *hash)
{
    const char *retries = apr_table_get(rq->r->headers_in, "X-Stainless-Retry-Count");
    ac_store_op_t *op, *result = NULL;
    const json_t *thread;
    size_t i;
    *prun_id = NULL;
    if (!retries || apr_atoi64(retries) < 1) {
        return APR_SUCCESS;
    }
    if (place->thread_id) {
        return repeated_in(prun_id, rq, place->thread_id, hash);
    }
    op = ac_store_op_create(AC_STORE_THREAD_LIST, rq->owner, NULL);
    if (op) {
        op->page.limit = NEWEST;
        op->page.descending = true;
    }
    apr_status_t status = ac_request_store(rq, op, &result);
    json_array_foreach(result ? json_object_get(result->out, "data") : NULL, i, thread)
    {
        if (status == APR_SUCCESS && !*prun_id) {
            status = repeated_in(prun_id, rq, ac_json_peek_string(thread, "id", ""), hash);
        }
    }
    return status;
}

/* ---- a run ---- */

apr_status_t ac_v1_place_pauses(unsigned *pn, json_t **popen, ac_request_t *rq, const char *run_id)
{
    ac_store_op_t *result = NULL;
    const json_t *step;
    size_t i;
    int64_t round = -1;
    *pn = 0;
    *popen = json_array();
    rq->doing = "reading the response";
    apr_status_t status = ac_request_store(rq, ac_store_op_create(AC_STORE_STEP_LIST, rq->owner, run_id), &result);
    json_array_foreach(result ? json_object_get(result->out, "data") : NULL, i, step)
    {
        const char *approval = ac_json_peek_string(step, "approval", NULL);
        int64_t of = ac_json_peek_int(step, "round", 0);
        *pn += approval && of != round;
        round = approval ? of : round;
        if (approval && strcmp(approval, "required") == 0) {
            json_array_append_new(*popen, ac_json_text(ac_json_peek_string(step, "call_id", "")));
        }
    }
    return status;
}

apr_status_t ac_v1_place_question(const json_t **pmessage, ac_request_t *rq, const json_t *run)
{
    const json_t *loaded = NULL;
    apr_status_t status = place_load(rq, &loaded, ac_json_peek_string(run, "thread_id", ""),
                                     ac_json_peek_string(run, "parent_id", ""), 1);
    *pmessage = ac_request_thread_last(loaded);
    return status;
}
