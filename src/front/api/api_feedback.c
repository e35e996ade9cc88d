/* SPDX-License-Identifier: Apache-2.0 */
/* Feedback: an owner rates the answers it got; the role admin reads the feedback of all owners. */
#include "api_internal.h"

#include <string.h>

#define DAY_LEN 10
#define VALUE_MOST 255 /* bytes of a filter */

/* ---- PUT /messages/{id}/feedback ---- */

/* A text of at most `most` characters, or null. */
static apr_status_t read_remark(ac_request_t *rq, const char **ptext, const char *name, size_t most)
{
    char pointer[AC_ERR_POINTER_SIZE];
    apr_status_t status = json_is_null(json_object_get(rq->body, name))
        ? APR_SUCCESS
        : ac_json_string(ptext, rq->body, name, false, &rq->err);
    if (status == APR_SUCCESS && *ptext && ac_utf8_count(*ptext, strlen(*ptext)) > most) {
        apr_snprintf(pointer, sizeof(pointer), "/%s", name);
        status =
            ac_err_set_at(&rq->err, AC_INVALID_REQUEST, pointer, "%s may have at most %d characters", name, (int)most);
    }
    return status;
}

static apr_status_t read_rating(ac_request_t *rq, const char **prating)
{
    const json_t *rating = json_object_get(rq->body, "rating");
    *prating = json_string_value(rating);
    if (json_is_null(rating) || (*prating && (strcmp(*prating, "up") == 0 || strcmp(*prating, "down") == 0))) {
        return APR_SUCCESS;
    }
    return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/rating", "rating must be up, down or null");
}

/* *pin: FEEDBACK_PUT's input, a new reference. */
static apr_status_t read_feedback(ac_request_t *rq, json_t **pin)
{
    static const char *const members[] = {"rating", "reason", "comment", "thread_id", NULL};
    const char *rating = NULL, *reason = NULL, *comment = NULL, *thread_id = NULL;
    apr_status_t status = ac_request_body(rq, true);
    if (status == APR_SUCCESS) {
        status = ac_json_only(rq->body, members, &rq->err);
    }
    if (status == APR_SUCCESS) {
        status = read_rating(rq, &rating);
    }
    if (status == APR_SUCCESS) {
        status = read_remark(rq, &reason, "reason", AC_MAX_FEEDBACK_REASON);
    }
    if (status == APR_SUCCESS) {
        status = read_remark(rq, &comment, "comment", AC_MAX_FEEDBACK_COMMENT);
    }
    if (status == APR_SUCCESS) {
        status = ac_json_string(&thread_id, rq->body, "thread_id", false, &rq->err);
    }
    if (status == APR_SUCCESS && thread_id && !ac_id_valid(thread_id, "thread_")) {
        status = ac_err_set_at(&rq->err, AC_NOT_FOUND, "/thread_id", "no thread with this id");
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    *pin = json_pack("{s:s?, s:s?, s:s?, s:o}", "rating", rating, "reason", rating ? reason : NULL, "comment",
                     rating ? comment : NULL, "at", ac_time_json(apr_time_now()));
    if (thread_id) {
        ac_json_put(*pin, "thread_id", ac_json_text(thread_id));
    }
    return *pin ? APR_SUCCESS : ac_err_set(&rq->err, AC_INTERNAL, "out of memory");
}

/* The model that the run reports has a name of its provider's; if the configuration has no such model, the agent's
 * counts. */
static void count_rating(ac_request_t *rq, const json_t *out, const char *rating)
{
    const char *agent_id = ac_json_peek_string(out, "agent_id", ""), *before = ac_json_peek_string(out, "before", "");
    unsigned model = ac_metrics_index(AC_DOMAIN_MODEL, ac_json_peek_string(out, "model", ""));
    const ac_agent_t *agent = NULL;
    ac_err_t kept = rq->err;
    if (strcmp(before, rating ? rating : "") == 0) {
        return;
    }
    if (model == AC_METRIC_OTHER && ac_request_agents_find(rq, &agent, agent_id, "", false) == APR_SUCCESS &&
        agent->model) {
        model = agent->model->conf->metric;
    }
    rq->err = kept;
    ac_metrics_add(AC_METRIC_FEEDBACK,
                   AC_LABELS(ac_metrics_index(AC_DOMAIN_AGENT, agent_id), model,
                             !rating                         ? AC_RATING_REMOVED
                                 : strcmp(rating, "up") == 0 ? AC_RATING_UP
                                                             : AC_RATING_DOWN),
                   1);
}

int ac_api_feedback_put(ac_request_t *rq)
{
    json_t *in = NULL, *shown;
    ac_store_op_t *op, *result;
    const char *rating;
    rq->doing = "storing the feedback";
    if (read_feedback(rq, &in) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    if (!ac_id_valid(rq->args[0], "msg_")) {
        json_decref(in);
        ac_err_set(&rq->err, AC_NOT_FOUND, "no message with this id");
        return ac_reply_problem(rq, NULL);
    }
    rating = json_string_value(json_object_get(in, "rating"));
    rq->audit.event = rating ? AC_AUDIT_FEEDBACK_GIVEN : AC_AUDIT_FEEDBACK_REMOVED;
    shown = json_deep_copy(in);
    op = ac_store_op_create(AC_STORE_FEEDBACK_PUT, rq->owner, rq->args[0]);
    if (op) {
        op->in = in;
    } else {
        json_decref(in);
    }
    if (ac_request_store(rq, op, &result) != APR_SUCCESS) {
        json_decref(shown);
        return ac_reply_problem(rq, NULL);
    }
    rating = json_string_value(json_object_get(shown, "rating"));
    count_rating(rq, result->out, rating);
    ac_json_put(shown, "message_id", ac_json_text(rq->args[0]));
    ac_json_put(shown, "thread_id", json_incref(json_object_get(result->out, "thread_id")));
    return ac_reply_json(rq, HTTP_OK, shown);
}

/* ---- GET /feedback ---- */

/* A day, or a time; the text that times are compared with. */
static apr_status_t feedback_read_time(ac_request_t *rq, json_t *in, const char *name, const char *fallback)
{
    const char *text = ac_query_get(rq, name);
    apr_time_t time;
    char exact[AC_TIME_SIZE];
    if (!text) {
        return ac_json_put(in, name, json_string(fallback)) ? APR_SUCCESS : APR_ENOMEM;
    }
    if (!ac_time_parse(&time, text)) {
        return ac_err_set(&rq->err, AC_INVALID_REQUEST, "%s must be a day or a time, as 2026-01-31", name);
    }
    ac_time_format(exact, time);
    if (strlen(text) == DAY_LEN) { /* `to` includes its day */
        exact[DAY_LEN] = *fallback;
        exact[DAY_LEN + (*fallback != '\0')] = '\0';
    }
    ac_json_put(in, name, json_string(exact));
    return APR_SUCCESS;
}

static apr_status_t feedback_read_query(ac_request_t *rq, json_t *in, int64_t *plimit)
{
    const char *agent_id = ac_query_get(rq, "agent_id"), *rating = ac_query_get(rq, "rating");
    const char *after = ac_query_get(rq, "after");
    apr_status_t status = feedback_read_time(rq, in, "from", "");
    if (status == APR_SUCCESS) {
        status = feedback_read_time(rq, in, "to", "~");
    }
    if (status == APR_SUCCESS) {
        status = ac_query_int(rq, plimit, "limit", INT64_MAX, 1, INT64_MAX);
    }
    if (status == APR_SUCCESS && agent_id && strlen(agent_id) > VALUE_MOST) {
        status = ac_err_set(&rq->err, AC_INVALID_REQUEST, "agent_id may have %d bytes at most", VALUE_MOST);
    }
    if (status == APR_SUCCESS && rating && strcmp(rating, "up") != 0 && strcmp(rating, "down") != 0) {
        status = ac_err_set(&rq->err, AC_INVALID_REQUEST, "rating must be up or down");
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    if (agent_id) {
        ac_json_put(in, "agent_id", ac_json_text(agent_id));
    }
    if (rating) {
        ac_json_put(in, "rating", json_string(rating));
    }
    if (ac_conf()->feedback_words) {
        ac_json_put(in, "words", json_true());
    }
    ac_json_put(in, "after", after ? ac_json_text(after) : json_null());
    return APR_SUCCESS;
}

typedef struct listing_t { /* in rq's pool */
    json_t *in;            /* `after` moves on */
    int64_t sent, limit;
    bool ended; /* all feedback is sent */
} listing_t;

static bool feedback_send_page(ac_reply_lines_t *lines, listing_t *listing)
{
    ac_request_t *rq = lines->rq;
    ac_store_op_t *op = ac_store_op_create(AC_STORE_FEEDBACK_LIST, NULL, NULL), *result;
    int64_t left = listing->limit - listing->sent;
    if (op) {
        op->in = json_deep_copy(listing->in);
        op->page.limit = left < AC_MAX_PAGE ? (int)left : AC_MAX_PAGE;
    }
    if (ac_request_store(rq, op, &result) != APR_SUCCESS) {
        return false;
    }
    json_t *item;
    size_t i;
    bool fine = true;
    json_array_foreach(json_object_get(result->out, "data"), i, item)
    {
        ac_json_put(item, "object", json_string("feedback"));
        fine = fine && ac_reply_lines_add(lines, item);
        listing->sent++;
    }
    ac_json_put(listing->in, "after", json_incref(json_object_get(result->out, "next")));
    listing->ended = listing->sent >= listing->limit || !json_is_string(json_object_get(listing->in, "after"));
    ac_request_store_free(rq, result);
    return fine;
}

static bool listing_next(ac_reply_lines_t *lines, void *baton)
{
    listing_t *listing = baton;
    if (!listing->ended) {
        return feedback_send_page(lines, listing);
    }
    json_t *end = json_pack("{s:s, s:I, s:O}", "object", "end", "count", (json_int_t)listing->sent, "next",
                            json_object_get(listing->in, "after"));
    ac_reply_lines_add(lines, end);
    json_decref(end);
    return false;
}

static apr_status_t listing_free(void *baton)
{
    json_decref(((listing_t *)baton)->in);
    return APR_SUCCESS;
}

int ac_api_feedback_list(ac_request_t *rq)
{
    listing_t *listing = apr_pcalloc(rq->r->pool, sizeof(*listing));
    listing->in = json_object();
    rq->doing = "reading the feedback";
    apr_pool_cleanup_register(rq->r->pool, listing, listing_free, apr_pool_cleanup_null);
    if (feedback_read_query(rq, listing->in, &listing->limit) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return ac_reply_lines(rq, AC_REPLY_LINES_TYPE, listing_next, listing);
}
