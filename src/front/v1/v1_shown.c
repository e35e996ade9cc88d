/* SPDX-License-Identifier: Apache-2.0 */
/* Responses that were made before: shown, followed, cancelled, deleted, and what they answer. */
#include "v1_response.h"

#include <string.h>

#include "apr_strings.h"

typedef struct shown_t { /* the response of the path */
    char run_id[AC_ID_SIZE];
    unsigned segment;
    const json_t *run, *question; /* the message that it answers; NULL: none */
} shown_t;

static apr_status_t shown_refuse(ac_request_t *rq)
{
    return ac_err_set(&rq->err, AC_NOT_FOUND, "no response with this id");
}

/* A segment behind the first one is there when the decisions before it were made. */
static apr_status_t check_segment(ac_request_t *rq, const shown_t *shown)
{
    json_t *open = NULL;
    unsigned n = 0;
    apr_status_t status = shown->segment ? ac_v1_place_pauses(&n, &open, rq, shown->run_id) : APR_SUCCESS;
    bool there = shown->segment < n + !json_array_size(open);
    json_decref(open);
    return status != APR_SUCCESS || there || !shown->segment ? status : shown_refuse(rq);
}

static apr_status_t shown_find(shown_t *shown, ac_request_t *rq)
{
    memset(shown, 0, sizeof(*shown));
    if (!ac_v1_id_read_response(shown->run_id, &shown->segment, rq->args[0])) {
        return shown_refuse(rq);
    }
    apr_status_t status = ac_v1_place_run(&shown->run, rq, shown->run_id, "");
    if (status == APR_SUCCESS) {
        status = check_segment(rq, shown);
    }
    return status == APR_SUCCESS ? ac_v1_place_question(&shown->question, rq, shown->run) : status;
}

/* NULL: rq->err is set. */
static ac_v1_response_view_t *shown_view(ac_request_t *rq, const shown_t *shown)
{
    return ac_v1_facts_view(rq, ac_v1_facts_of(shown->question), ac_json_peek_string(shown->run, "agent_id", ""),
                            shown->segment, shown->run_id);
}

int ac_v1_shown_get(ac_request_t *rq)
{
    shown_t shown;
    int64_t after = -1;
    bool stream = false;
    apr_status_t status = ac_query_bool(rq, &stream, "stream", false);
    if (status == APR_SUCCESS) {
        status = ac_query_int(rq, &after, "starting_after", -1, 0, INT32_MAX);
    }
    if (status == APR_SUCCESS) {
        status = shown_find(&shown, rq);
    }
    ac_v1_response_view_t *view = status == APR_SUCCESS ? shown_view(rq, &shown) : NULL;
    if (!view) {
        return ac_reply_problem(rq, NULL);
    }
    view->after = after;
    view->ends_live = true;
    return ac_delivery_follow(rq, shown.run_id, 0, stream);
}

/* A response that has ended stays as it is. */
int ac_v1_shown_cancel(ac_request_t *rq)
{
    shown_t shown;
    json_t *run = NULL;
    ac_v1_response_view_t *view = NULL;
    apr_status_t status = ac_request_body_drop(rq);
    if (status == APR_SUCCESS) {
        status = shown_find(&shown, rq);
    }
    if (status == APR_SUCCESS) {
        rq->args[0] = apr_pstrdup(rq->r->pool, shown.run_id);
        status = ac_api_runs_end(rq, &run);
        json_decref(run);
    }
    if (status != APR_SUCCESS && rq->err.kind == AC_RUN_ENDED) {
        ac_err_init(&rq->err);
        status = APR_SUCCESS;
    }
    if (status == APR_SUCCESS) {
        view = shown_view(rq, &shown);
    }
    return view ? ac_delivery_follow(rq, shown.run_id, 0, false) : ac_reply_problem(rq, NULL);
}

/* ---- DELETE ---- */

/* A thread of deleted messages alone is deleted, too, unless it is a conversation of the client's. That nothing is left
 * of the response is true without it. */
static void delete_thread(ac_request_t *rq, const shown_t *shown, const json_t *thread)
{
    const json_t *facts = ac_v1_facts_of(shown->question);
    int64_t left = ac_json_peek_int(thread, "message_count", 0) - ac_json_peek_int(thread, "deleted_messages", 0);
    ac_store_op_t *op = NULL, *result = NULL;
    if (facts && !json_is_true(json_object_get(facts, "conversation")) && left <= 0) {
        op = ac_store_op_create(AC_STORE_THREAD_DELETE, rq->owner, ac_json_peek_string(thread, "id", ""));
    }
    if (op) {
        op->in = json_pack("{s:o}", "deleted_at", ac_time_json(apr_time_now()));
        ac_request_store(rq, op, &result);
        ac_err_init(&rq->err);
    }
}

int ac_v1_shown_delete(ac_request_t *rq)
{
    shown_t shown;
    const json_t *thread = NULL;
    apr_status_t status = shown_find(&shown, rq);
    rq->doing = "deleting the response";
    if (status == APR_SUCCESS) {
        rq->audit = (ac_audit_t){AC_AUDIT_MESSAGE_DELETED, shown.run_id, NULL};
        status = ac_deletion_run(&thread, rq, ac_json_peek_string(shown.run, "thread_id", ""),
                                 json_pack("{s:s}", "run_id", shown.run_id));
    }
    if (status != APR_SUCCESS && rq->err.kind == AC_NOT_FOUND) { /* by another request meanwhile */
        ac_err_init(&rq->err);
        status = shown_refuse(rq);
    }
    if (status == APR_SUCCESS) {
        delete_thread(rq, &shown, thread);
    }
    return status == APR_SUCCESS
        ? ac_reply_json(rq, HTTP_OK,
                        json_pack("{s:s, s:s, s:b}", "id", rq->args[0], "object", "response", "deleted", 1))
        : ac_reply_problem(rq, NULL);
}

/* ---- GET …/input_items ---- */

/* The messages that came with the request of this run, which stand before its question. */
static apr_status_t input_messages(json_t *items, ac_request_t *rq, const shown_t *shown)
{
    ac_store_op_t *op =
        ac_store_op_create(AC_STORE_TURN_LOAD, rq->owner, ac_json_peek_string(shown->run, "thread_id", ""));
    ac_store_op_t *result = NULL;
    const json_t *message;
    size_t i;
    if (op) {
        op->page.limit = AC_MAX_PAGE;
        op->in = json_pack("{s:O}", "parent_id", json_object_get(shown->run, "parent_id"));
    }
    apr_status_t status = ac_request_store(rq, op, &result);
    json_array_foreach(result ? json_object_get(result->out, "messages") : NULL, i, message)
    {
        const char *with = ac_json_peek_string(json_object_get(message, "metadata"), "came_with", "");
        bool own = json_equal(json_object_get(message, "id"), json_object_get(shown->run, "parent_id"));
        if (own || strcmp(with, shown->run_id) == 0) {
            ac_v1_stored_add(items, message);
        }
    }
    return status;
}

int ac_v1_shown_input(ac_request_t *rq)
{
    shown_t shown;
    ac_v1_page_t page;
    json_t *items = json_array();
    apr_status_t status = ac_v1_stored_read_page(&page, rq);
    if (status == APR_SUCCESS) {
        status = shown_find(&shown, rq);
    }
    if (status == APR_SUCCESS) {
        status = input_messages(items, rq, &shown);
    }
    if (status != APR_SUCCESS) {
        json_decref(items);
        return ac_reply_problem(rq, NULL);
    }
    if (page.descending) {
        ac_v1_stored_reverse(items);
    }
    return ac_v1_stored_reply(rq, items, &page, false);
}
