/* SPDX-License-Identifier: Apache-2.0 */
/* Admins create, replace and delete agents through the API. Agents of the configuration are read-only. */
#include "api_internal.h"

#include <string.h>

#include "apr_strings.h"

#define MAX_TAGS 8      /* of one If-Match */
#define MAX_REFRESHES 3 /* for our change, while other requests ask too */

/* ---- conditions ---- */

typedef struct condition_t {
    const apr_array_header_t *tags; /* of If-Match; empty: none, or "*" */
    bool exists, fresh;             /* If-Match: *; If-None-Match: * */
} condition_t;

static apr_status_t read_condition(ac_request_t *rq, condition_t *condition)
{
    const char *none = apr_table_get(rq->r->headers_in, "If-None-Match");
    apr_status_t status = ac_precondition_if_match(rq, &condition->tags);
    condition->exists = status == APR_SUCCESS && apr_table_get(rq->r->headers_in, "If-Match") &&
        !condition->tags->nelts;
    condition->fresh = none != NULL;
    if (status == APR_SUCCESS && none && strcmp(none, "*") != 0) {
        return ac_err_set(&rq->err, AC_INVALID_REQUEST, "If-None-Match must be *: only if there is no such agent");
    }
    return status;
}

/* Changes the agent in the store if it still has one of the tags. The store compares with one tag, so several are
 * tried one after another. in is borrowed. */
static apr_status_t change_agent(ac_request_t *rq, ac_store_verb_e verb, json_t *in, const condition_t *condition,
                                 ac_store_op_t **presult)
{
    apr_status_t status;
    int i = 0;
    do {
        ac_store_op_t *op = ac_store_op_create(verb, rq->owner, NULL);
        if (op) {
            const char *tag = condition->exists ? "*"
                : condition->tags->nelts        ? APR_ARRAY_IDX(condition->tags, i, const char *)
                                                : "";
            op->in = json_deep_copy(in);
            apr_cpystrn(op->if_match, tag, sizeof(op->if_match));
        }
        ac_err_init(&rq->err);
        status = ac_request_store(rq, op, presult);
    } while (rq->err.kind == AC_PRECONDITION_FAILED && ++i < condition->tags->nelts && i < MAX_TAGS);
    return status;
}

/* ---- checks ---- */

static apr_status_t check_on(ac_request_t *rq)
{
    return ac_child()->conf->agents_refresh > 0
        ? APR_SUCCESS
        : ac_err_set(&rq->err, AC_FORBIDDEN,
                     "agents are made in the server's configuration only: AgentChatAgentsRefresh is 0");
}

static apr_status_t check_writable(ac_request_t *rq, const char *id)
{
    return !ac_registry_agent(&ac_child()->conf->registry, id)
        ? APR_SUCCESS
        : ac_err_set(&rq->err, AC_READ_ONLY,
                     "this agent is defined in the server's configuration, and is changed there");
}

static apr_status_t check_room(ac_request_t *rq, const char *id)
{
    const ac_agents_t *agents;
    apr_status_t status = ac_request_agents_load(rq, &agents, true);
    if (status == APR_SUCCESS && ac_agents_made(agents) >= AC_MAX_AGENTS && !ac_agents_find(agents, id)) {
        return ac_err_set(&rq->err, AC_INVALID_REQUEST, "there are %d agents already, which is as many as there may be",
                          AC_MAX_AGENTS);
    }
    return status;
}

/* ---- the request ---- */

/* *pid: in: the path's id, which the body may repeat, or NULL. out: the path's, else the body's, else a new one. */
static apr_status_t read_id(ac_request_t *rq, const char **pid)
{
    const char *given = NULL;
    char made[AC_ID_SIZE];
    apr_status_t status = ac_json_string(&given, rq->body, "id", false, &rq->err);
    if (status != APR_SUCCESS) {
        return status;
    }
    if (*pid && given && strcmp(*pid, given) != 0) {
        return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/id", "the path names another agent");
    }
    if (!*pid && !given) {
        ac_id_make(made, "agent_");
        given = apr_pstrdup(rq->r->pool, made);
    }
    const char *id = *pid ? *pid : given;
    if (!ac_agent_document_id_valid(id)) {
        return ac_err_set_at(&rq->err, AC_INVALID_REQUEST, "/id",
                             "an agent's id has 1 to %d letters, digits, '-', '_' and '.', and does "
                             "not begin with '.'",
                             AC_MAX_AGENT_ID);
    }
    *pid = id;
    return APR_SUCCESS;
}

/* *pdocument: the document to store; a new reference. */
static apr_status_t read_agent(ac_request_t *rq, const char **pid, json_t **pdocument)
{
    apr_status_t status = check_on(rq);
    *pdocument = NULL;
    if (status == APR_SUCCESS) {
        status = ac_request_body(rq, true);
    }
    if (status == APR_SUCCESS) {
        status = read_id(rq, pid);
    }
    if (status == APR_SUCCESS) {
        status = check_writable(rq, *pid);
    }
    if (status == APR_SUCCESS) {
        status = ac_agent_document_make(pdocument, rq->body, *pid, &ac_child()->conf->registry, &rq->err);
    }
    return status == APR_SUCCESS ? check_room(rq, *pid) : status;
}

/* ---- answers ---- */

/* The next request of the same client to this child sees the change. If this fails, the regular refresh brings it. */
static void refresh_catalog(ac_request_t *rq)
{
    ac_store_op_t *result;
    bool done = false;
    for (int i = 0; i < MAX_REFRESHES && !done; i++) {
        done = ac_request_store(rq, ac_catalog_ask(ac_child()->catalog), &result) != APR_SUCCESS ||
            ac_catalog_adopt(ac_child()->catalog, result);
    }
    ac_err_init(&rq->err);
}

static int reply_agent(ac_request_t *rq, int status, const char *etag, const json_t *document)
{
    json_t *agent = json_deep_copy(document);
    ac_json_put(agent, "source", json_string("api"));
    apr_table_set(rq->r->headers_out, "ETag", etag);
    return ac_reply_json(rq, status, agent);
}

int ac_api_agent_manage_create(ac_request_t *rq)
{
    const char *id = NULL;
    json_t *document;
    ac_store_op_t *result;
    condition_t condition = {.tags = apr_array_make(rq->r->pool, 1, sizeof(const char *))};
    rq->doing = "creating an agent";
    apr_status_t status = read_agent(rq, &id, &document);
    rq->audit = (ac_audit_t){AC_AUDIT_AGENT_CREATED, id, NULL};
    json_t *in = json_pack("{s:O?, s:b}", "agent", document, "fresh", 1);
    if (status == APR_SUCCESS) {
        status = change_agent(rq, AC_STORE_AGENT_PUT, in, &condition, &result);
    }
    json_decref(in);
    if (status != APR_SUCCESS && rq->err.kind == AC_PRECONDITION_FAILED) {
        ac_err_init(&rq->err);
        ac_err_set_at(&rq->err, AC_ALREADY_EXISTS, "/id", "there is an agent with this id; PUT replaces it");
    }
    if (status == APR_SUCCESS) {
        refresh_catalog(rq);
        apr_table_setn(rq->r->headers_out, "Location", apr_pstrcat(rq->r->pool, rq->r->uri, "/", id, NULL));
        reply_agent(rq, HTTP_CREATED, result->etag, document);
    }
    json_decref(document);
    return status == APR_SUCCESS ? OK : ac_reply_problem(rq, NULL);
}

int ac_api_agent_manage_put(ac_request_t *rq)
{
    const char *id = rq->args[0];
    json_t *document = NULL;
    ac_store_op_t *result;
    condition_t condition;
    rq->doing = "replacing the agent";
    rq->audit.event = AC_AUDIT_AGENT_CHANGED;
    apr_status_t status = read_condition(rq, &condition);
    if (status == APR_SUCCESS) {
        status = read_agent(rq, &id, &document);
    }
    json_t *in = json_pack("{s:O?, s:b}", "agent", document, "fresh", condition.fresh);
    if (status == APR_SUCCESS) {
        status = change_agent(rq, AC_STORE_AGENT_PUT, in, &condition, &result);
    }
    json_decref(in);
    if (status == APR_SUCCESS) {
        bool created = json_is_true(json_object_get(result->out, "created"));
        refresh_catalog(rq);
        if (created) {
            apr_table_setn(rq->r->headers_out, "Location", rq->r->uri);
            rq->audit.event = AC_AUDIT_AGENT_CREATED;
        }
        reply_agent(rq, created ? HTTP_CREATED : HTTP_OK, result->etag, document);
    }
    json_decref(document);
    return status == APR_SUCCESS ? OK : ac_reply_problem(rq, NULL);
}

int ac_api_agent_manage_delete(ac_request_t *rq)
{
    ac_store_op_t *result;
    condition_t condition;
    rq->doing = "deleting the agent";
    rq->audit.event = AC_AUDIT_AGENT_DELETED;
    apr_status_t status = read_condition(rq, &condition);
    if (status == APR_SUCCESS) {
        status = check_on(rq);
    }
    if (status == APR_SUCCESS) {
        status = check_writable(rq, rq->args[0]);
    }
    if (status == APR_SUCCESS && !ac_agent_document_id_valid(rq->args[0])) {
        status = ac_err_set(&rq->err, AC_NOT_FOUND, "no agent with this id");
    }
    if (status == APR_SUCCESS) {
        json_t *in = json_pack("{s:s}", "id", rq->args[0]);
        status = change_agent(rq, AC_STORE_AGENT_DELETE, in, &condition, &result);
        json_decref(in);
    }
    if (status != APR_SUCCESS) {
        return ac_reply_problem(rq, NULL);
    }
    refresh_catalog(rq);
    return ac_reply_empty(rq, HTTP_NO_CONTENT);
}
