/* SPDX-License-Identifier: Apache-2.0 */
/* Threads: create, list, show, change, delete, restore. */
#include "api_internal.h"

#include <string.h>

#include "apr_strings.h"

#define MAX_TAGS 8 /* of one If-Match */

/* ---- members of a body ---- */

/* A title is one line of 1 to AC_MAX_TITLE_SET characters. */
static apr_status_t check_title(ac_request_t *rq, const char *title)
{
    size_t len = strlen(title), n_chars = ac_utf8_count(title, len);
    if (n_chars < 1 || n_chars > AC_MAX_TITLE_SET) {
        return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/title", "title must have 1 to %d characters",
                             AC_MAX_TITLE_SET);
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)title[i], next = (unsigned char)title[i + 1];
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && next < 0xa0)) {
            return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/title", "title must have no control characters");
        }
    }
    return APR_SUCCESS;
}

static apr_status_t read_title(ac_request_t *rq, const char **ptitle)
{
    apr_status_t status = ac_json_string(ptitle, rq->body, "title", false, &rq->err);
    return status == APR_SUCCESS && *ptitle ? check_title(rq, *ptitle) : status;
}

static apr_status_t read_pinned(ac_request_t *rq, bool *ppinned)
{
    const json_t *pinned = json_object_get(rq->body, "pinned");
    *ppinned = json_is_true(pinned);
    return !pinned || json_is_boolean(pinned)
        ? APR_SUCCESS
        : ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/pinned", "pinned must be true or false");
}

/* *pmetadata: a copy of the member, or NULL. */
static apr_status_t read_metadata(ac_request_t *rq, json_t **pmetadata)
{
    json_t *metadata = json_object_get(rq->body, "metadata");
    apr_status_t status = ac_record_check_labels(metadata, &rq->err);
    *pmetadata = status == APR_SUCCESS && metadata ? json_deep_copy(metadata) : NULL;
    return status;
}

static apr_status_t thread_id(ac_request_t *rq, const char **pid)
{
    *pid = rq->args[0];
    if (ac_id_valid(*pid, "thread_")) {
        return APR_SUCCESS;
    }
    return ac_err_set(&rq->err, AC_NOT_FOUND, "no thread with this id");
}

static int reply_thread(ac_request_t *rq, int status, const ac_store_op_t *result)
{
    if (result->etag[0]) {
        apr_table_set(rq->r->headers_out, "ETag", result->etag);
    }
    return ac_reply_json(rq, status, json_incref(result->out));
}

/* ---- create ---- */

/* The agent that the body names, else the current default one, so that the thread is in that agent's list. */
static apr_status_t api_threads_read_agent(ac_request_t *rq, const ac_agent_t **pagent)
{
    const char *agent_id;
    apr_status_t status = ac_json_string(&agent_id, rq->body, "agent_id", false, &rq->err);
    *pagent = NULL;
    if (status == APR_SUCCESS && agent_id) {
        return ac_request_agents_find(rq, pagent, agent_id, "/agent_id", true);
    }
    *pagent = ac_request_agents_default(rq);
    return status;
}

static apr_status_t read_thread(ac_request_t *rq, json_t **pthread)
{
    static const char *const members[] = {"metadata", "title", "agent_id", "pinned", NULL};
    const char *title = NULL;
    const ac_agent_t *agent = NULL;
    json_t *metadata = NULL;
    bool pinned = false;
    char id[AC_ID_SIZE];
    apr_time_t now = apr_time_now();
    apr_status_t status = ac_request_body(rq, false);
    if (status == APR_SUCCESS && rq->body) {
        status = ac_json_only(rq->body, members, &rq->err);
    }
    if (status == APR_SUCCESS) {
        status = read_title(rq, &title);
    }
    if (status == APR_SUCCESS) {
        status = api_threads_read_agent(rq, &agent);
    }
    if (status == APR_SUCCESS) {
        status = read_pinned(rq, &pinned);
    }
    if (status == APR_SUCCESS) {
        status = read_metadata(rq, &metadata);
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    ac_id_make(id, "thread_");
    *pthread = json_object();
    ac_json_put(*pthread, "id", json_string(id));
    ac_json_put(*pthread, "title", ac_json_text(title));
    ac_json_put(*pthread, "agent_id", ac_json_text(agent ? agent->id : NULL));
    ac_json_put(*pthread, "status", json_string("active"));
    ac_json_put(*pthread, "pinned", json_boolean(pinned));
    ac_json_put(*pthread, "metadata", json_is_object(metadata) ? json_incref(metadata) : json_object());
    ac_json_put(*pthread, "message_count", json_integer(0));
    ac_json_put(*pthread, "created_at", ac_time_json(now));
    ac_json_put(*pthread, "updated_at", ac_time_json(now));
    json_decref(metadata);
    return APR_SUCCESS;
}

int ac_api_threads_create(ac_request_t *rq)
{
    json_t *thread = NULL;
    ac_store_op_t *result;
    rq->doing = "creating a thread";
    if (read_thread(rq, &thread) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    ac_store_op_t *op = ac_store_op_create(AC_STORE_THREAD_CREATE, rq->owner, NULL);
    if (op) {
        op->in = json_incref(thread);
    }
    json_decref(thread);
    if (ac_request_store(rq, op, &result) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    const char *id = ac_json_peek_string(result->out, "id", "");
    apr_table_setn(rq->r->headers_out, "Location", apr_pstrcat(rq->r->pool, rq->r->uri, "/", id, NULL));
    return reply_thread(rq, HTTP_CREATED, result);
}

/* ---- list and show ---- */

apr_status_t ac_api_threads_read_status(ac_request_t *rq, ac_page_t *page, const char *status)
{
    if (status && strcmp(status, "active") != 0 && strcmp(status, "archived") != 0 && strcmp(status, "deleted") != 0) {
        return ac_err_set(&rq->err, AC_INVALID_REQUEST, "status must be active, archived or deleted");
    }
    apr_cpystrn(page->status, status ? status : "", sizeof(page->status));
    return APR_SUCCESS;
}

static apr_status_t read_order(ac_request_t *rq, ac_page_t *page)
{
    const char *order = ac_query_get(rq, "order");
    page->by_update = order && strcmp(order, "updated") == 0;
    if (order && !page->by_update && strcmp(order, "created") != 0) {
        return ac_err_set(&rq->err, AC_INVALID_REQUEST, "order must be created or updated");
    }
    return APR_SUCCESS;
}

/* pinned and label. */
static apr_status_t read_choice(ac_request_t *rq, json_t *choice)
{
    const char *label = ac_query_get(rq, "label"), *words = ac_query_get(rq, "q");
    bool pinned = false;
    apr_status_t status = ac_query_bool(rq, &pinned, "pinned", false);
    if (status != APR_SUCCESS) {
        return status;
    }
    if (label && (!*label || ac_utf8_count(label, strlen(label)) > AC_MAX_LABEL)) {
        return ac_err_set(&rq->err, AC_INVALID_REQUEST, "label must have 1 to %d characters", AC_MAX_LABEL);
    }
    if (ac_query_get(rq, "pinned")) {
        ac_json_put(choice, "pinned", json_boolean(pinned));
    }
    if (label) {
        ac_json_put(choice, "label", ac_json_text(label));
    }
    if (words && ac_utf8_count(words, strlen(words)) > AC_MAX_SEARCH) {
        return ac_err_set(&rq->err, AC_INVALID_REQUEST, "q may have %d characters at most", AC_MAX_SEARCH);
    }
    if (words && words[strspn(words, " ")]) {
        ac_json_put(choice, "q", ac_json_text(words));
    }
    return APR_SUCCESS;
}

static apr_status_t read_filters(ac_request_t *rq, ac_page_t *page)
{
    const char *agent_id = ac_query_get(rq, "agent_id");
    apr_status_t status = ac_api_threads_read_status(rq, page, ac_query_get(rq, "status"));
    if (status == APR_SUCCESS) {
        status = read_order(rq, page);
    }
    if (status != APR_SUCCESS || !agent_id) {
        return status;
    }
    /* An agent that was removed may still have threads. */
    const ac_agents_t *agents;
    ac_request_agents_load(rq, &agents, false);
    const ac_agent_t *agent = ac_agents_find(agents, agent_id);
    agent_id = agent ? agent->id : agent_id;
    if (!*agent_id || strlen(agent_id) >= sizeof(page->agent_id)) {
        return ac_err_set(&rq->err, AC_INVALID_REQUEST, "agent_id must be the id of an agent");
    }
    apr_cpystrn(page->agent_id, agent_id, sizeof(page->agent_id));
    return APR_SUCCESS;
}

int ac_api_threads_list(ac_request_t *rq)
{
    ac_page_t page = {.limit = 0};
    ac_store_op_t *result;
    json_t *choice = json_object();
    rq->doing = "listing threads";
    if (ac_query_page(rq, &page) != APR_SUCCESS || read_filters(rq, &page) != APR_SUCCESS ||
        read_choice(rq, choice) != APR_SUCCESS) {
        json_decref(choice);
        return ac_reply_problem(rq, NULL);
    }
    ac_store_op_t *op = ac_store_op_create(AC_STORE_THREAD_LIST, rq->owner, NULL);
    if (op) {
        op->page = page;
        op->in = json_incref(choice);
    }
    json_decref(choice);
    if (ac_request_store(rq, op, &result) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return ac_reply_json(rq, HTTP_OK, json_incref(result->out));
}

int ac_api_threads_get(ac_request_t *rq)
{
    const char *id;
    ac_store_op_t *result;
    rq->doing = "reading the thread";
    if (thread_id(rq, &id) != APR_SUCCESS ||
        ac_request_store(rq, ac_store_op_create(AC_STORE_THREAD_GET, rq->owner, id), &result) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    if (result->etag[0] && ac_precondition_none_match(rq, result->etag)) {
        apr_table_set(rq->r->headers_out, "ETag", result->etag);
        return ac_reply_empty(rq, HTTP_NOT_MODIFIED);
    }
    return reply_thread(rq, HTTP_OK, result);
}

/* ---- change ---- */

static apr_status_t read_status(ac_request_t *rq, const char **pstatus)
{
    apr_status_t status = ac_json_string(pstatus, rq->body, "status", false, &rq->err);
    if (status != APR_SUCCESS || !*pstatus || strcmp(*pstatus, "active") == 0 || strcmp(*pstatus, "archived") == 0) {
        return status;
    }
    return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/status", "status must be active or archived");
}

static apr_status_t refuse_null(ac_request_t *rq, const char *name)
{
    char pointer[AC_ERR_POINTER_SIZE] = "";
    if (!json_is_null(json_object_get(rq->body, name))) {
        return APR_SUCCESS;
    }
    ac_json_pointer_add(pointer, name);
    return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, pointer, "%s must not be null", name);
}

/* *pleaf: the message through which the current path is to lead; NULL: not given. */
static apr_status_t read_leaf(ac_request_t *rq, const char **pleaf)
{
    apr_status_t status = ac_json_string(pleaf, rq->body, "leaf", false, &rq->err);
    return status != APR_SUCCESS || !*pleaf || ac_id_valid(*pleaf, "msg_")
        ? status
        : ac_err_set_at(&rq->err, AC_NOT_FOUND, "/leaf", "the thread has no message with this id");
}

/* *pchange: the members to change; metadata null empties it. */
static apr_status_t read_change(ac_request_t *rq, json_t **pchange)
{
    static const char *const members[] = {"title", "status", "leaf", "metadata", "pinned", NULL};
    const char *title = NULL, *wanted = NULL, *leaf = NULL;
    json_t *metadata = NULL;
    bool pins = false;
    apr_status_t status = ac_request_body(rq, true);
    if (status == APR_SUCCESS) {
        status = ac_json_only(rq->body, members, &rq->err);
    }
    if (status == APR_SUCCESS && !json_object_size(rq->body)) {
        status =
            ac_err_set(&rq->err, AC_INVALID_REQUEST, "nothing to change: give title, status, leaf, metadata or pinned");
    }
    for (int i = 0; status == APR_SUCCESS && i < 3; i++) {
        status = refuse_null(rq, members[i]);
    }
    if (status == APR_SUCCESS) {
        status = read_title(rq, &title);
    }
    if (status == APR_SUCCESS) {
        status = read_status(rq, &wanted);
    }
    if (status == APR_SUCCESS) {
        status = read_leaf(rq, &leaf);
    }
    if (status == APR_SUCCESS) {
        status = read_pinned(rq, &pins);
    }
    if (status == APR_SUCCESS) {
        status = read_metadata(rq, &metadata);
    }
    if (status != APR_SUCCESS) {
        return status;
    }
    *pchange = json_object();
    if (title) {
        ac_json_put(*pchange, "title", ac_json_text(title));
    }
    if (wanted) {
        ac_json_put(*pchange, "status", json_string(wanted));
    }
    if (leaf) {
        ac_json_put(*pchange, "leaf", json_string(leaf));
    }
    if (metadata) {
        ac_json_put(*pchange, "metadata", json_is_object(metadata) ? json_incref(metadata) : json_object());
    }
    if (json_object_get(rq->body, "pinned")) {
        ac_json_put(*pchange, "pinned", json_boolean(pins));
    }
    /* To pin a thread is no activity in it, by which lists are in order. */
    if (title || wanted || metadata) {
        ac_json_put(*pchange, "updated_at", ac_time_json(apr_time_now()));
    }
    json_decref(metadata);
    return APR_SUCCESS;
}

/* Changes the thread in the store if it still has one of the tags, or has any if there are none. The store
 * compares with one tag, so several are tried one after another. */
static apr_status_t api_threads_change_if(ac_request_t *rq, json_t *change, const apr_array_header_t *tags,
                                          ac_store_op_t **presult)
{
    apr_status_t status;
    int i = 0;
    do {
        ac_store_op_t *op = ac_store_op_create(AC_STORE_THREAD_UPDATE, rq->owner, rq->args[0]);
        if (op) {
            op->in = json_deep_copy(change);
            apr_cpystrn(op->if_match, tags->nelts ? APR_ARRAY_IDX(tags, i, const char *) : "", sizeof(op->if_match));
        }
        ac_err_init(&rq->err);
        status = ac_request_store(rq, op, presult);
    } while (rq->err.kind == AC_PRECONDITION_FAILED && ++i < tags->nelts && i < MAX_TAGS);
    return status;
}

int ac_api_threads_patch(ac_request_t *rq)
{
    const char *id;
    json_t *change = NULL;
    const apr_array_header_t *tags;
    ac_store_op_t *result;
    rq->doing = "changing the thread";
    if (thread_id(rq, &id) != APR_SUCCESS || ac_precondition_if_match(rq, &tags) != APR_SUCCESS ||
        read_change(rq, &change) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    apr_status_t status = api_threads_change_if(rq, change, tags, &result);
    json_decref(change);
    return status == APR_SUCCESS ? reply_thread(rq, HTTP_OK, result) : ac_reply_problem(rq, NULL);
}

/* ---- delete and restore ---- */

int ac_api_threads_delete(ac_request_t *rq)
{
    const char *id;
    if (thread_id(rq, &id) != APR_SUCCESS || ac_api_threads_remove(rq, id) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return ac_reply_json(rq, HTTP_OK,
                         json_pack("{s:s, s:b, s:s}", "id", id, "deleted", 1, "message", AC_DELETED_MESSAGE));
}

apr_status_t ac_api_threads_remove(ac_request_t *rq, const char *id)
{
    bool hard;
    ac_store_op_t *result;
    rq->doing = "deleting the thread";
    apr_status_t status = ac_query_bool(rq, &hard, "hard_delete", false);
    if (status != APR_SUCCESS) {
        return status;
    }
    rq->audit = (ac_audit_t){hard ? AC_AUDIT_THREAD_ERASED : AC_AUDIT_THREAD_DELETED, id, NULL};
    ac_store_op_t *op = ac_store_op_create(AC_STORE_THREAD_DELETE, rq->owner, id);
    if (op) {
        op->hard = hard;
        op->in = json_object();
        ac_json_put(op->in, "deleted_at", ac_time_json(apr_time_now()));
    }
    status = ac_request_store(rq, op, &result);
    if (status == APR_SUCCESS) {
        ac_api_files_remove_bytes(rq, json_object_get(result->out, "files"));
    }
    return status;
}

int ac_api_threads_restore(ac_request_t *rq)
{
    static const char *const members[] = {NULL};
    const char *id;
    ac_store_op_t *result;
    rq->doing = "restoring the thread";
    rq->audit.event = AC_AUDIT_THREAD_RESTORED;
    if (thread_id(rq, &id) != APR_SUCCESS || ac_request_body(rq, false) != APR_SUCCESS ||
        (rq->body && ac_json_only(rq->body, members, &rq->err) != APR_SUCCESS)) {
        return ac_reply_problem(rq, NULL);
    }
    ac_store_op_t *op = ac_store_op_create(AC_STORE_THREAD_RESTORE, rq->owner, id);
    if (op) {
        op->in = json_object();
        ac_json_put(op->in, "updated_at", ac_time_json(apr_time_now()));
    }
    if (ac_request_store(rq, op, &result) != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    return reply_thread(rq, HTTP_OK, result);
}
