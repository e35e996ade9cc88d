/* SPDX-License-Identifier: Apache-2.0 */
/* Agents of the Cosmos DB store, created through the API. They are one logical partition, with a stamp that each
 * change renews in the same batch: a check for changes is one point read, a list is one query. The steps of each verb,
 * in the order of this file:
 *
 * AGENT_LIST
 *  1  read the stamp, or use the shared one
 *  2  query all agents, if the caller does not know this stamp
 *
 * AGENT_PUT, AGENT_DELETE
 *  1  read the agent; check If-Match. If the agent already is as requested, an earlier attempt changed it
 *  2  write the agent and the stamp in one batch
 *     - on conflict: 1 */
#include "cosmos_internal.h"

#include <string.h>

#include <apr_strings.h>

#define KEY " agents"                      /* the name of the partition, in place of an owner */
#define STAMP "!stamp"                     /* not an agent's id; it sorts before all agents' ids */
#define LOOK_EVERY apr_time_from_msec(900) /* interval of checks by all children */

/* Ordered by id, so that the stamp comes first: a change while further pages are read gives another stamp. */
static const char sql_all[] = "SELECT * FROM c WHERE c.owner = @owner AND c.type IN ('agent', 'stamp') ORDER BY c.id";

static void on_stamp(void *baton, const ac_cosmos_reply_t *reply);
static void cosmos_agents_stamp_read(ac_cosmos_task_t *task, char stamp[AC_ID_SIZE]);
static void list_if_not(ac_cosmos_task_t *task, const char *stamp);
static void list_all(ac_cosmos_task_t *task);
static void listed(ac_cosmos_task_t *task);
static void end_with_list(ac_cosmos_task_t *task, const char *stamp, json_t *data);
static void cosmos_agents_change_from(ac_cosmos_task_t *task);
static void on_agent(void *baton, const ac_cosmos_reply_t *reply);
static void cosmos_agents_write_change(ac_cosmos_task_t *task, const char *if_match);
static void cosmos_agents_on_changed(void *baton, const ac_cosmos_reply_t *reply);
static void cosmos_agents_end_changed(ac_cosmos_task_t *task);
static void stamp_written(ac_cosmos_t *store, const char *stamp);

/* ---- AGENT_LIST, 1: the stamp ---- */

/* One child at a time asks the service; the others use its answer. */
void ac_cosmos_agent_list(ac_cosmos_task_t *task)
{
    ac_cosmos_state_t *state;
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ, .container = AC_COSMOS_THREADS, .key = KEY, .id = STAMP};
    char stamp[AC_ID_SIZE];
    apr_time_t now = ac_clock();
    bool fresh;
    if (!ac_json_peek_string(task->op->in, "stamp", NULL)) {
        list_all(task);
        return;
    }
    state = ac_cosmos_shared_acquire(task->store);
    fresh = state->agents_read && now - state->agents_read < LOOK_EVERY;
    apr_cpystrn(stamp, state->agents_stamp, sizeof(stamp));
    if (!fresh && state->agents_read) {
        state->agents_read = now;
    }
    ac_cosmos_shared_release(task->store);
    if (fresh) {
        list_if_not(task, stamp);
    } else {
        ac_cosmos_call_start(task, &request, on_stamp, task);
    }
}

static void on_stamp(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    char stamp[AC_ID_SIZE];
    apr_cpystrn(stamp, reply->status == 200 ? ac_json_peek_string(reply->body, "stamp", "") : "", sizeof(stamp));
    if (!ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        cosmos_agents_stamp_read(task, stamp);
        list_if_not(task, stamp);
    }
}

/* Shares the stamp that was read; if another one was written since the request began, returns that one. */
static void cosmos_agents_stamp_read(ac_cosmos_task_t *task, char stamp[AC_ID_SIZE])
{
    ac_cosmos_state_t *state = ac_cosmos_shared_acquire(task->store);
    if (state->agents_written >= task->began) {
        apr_cpystrn(stamp, state->agents_stamp, AC_ID_SIZE);
    } else {
        apr_cpystrn(state->agents_stamp, stamp, sizeof(state->agents_stamp));
    }
    state->agents_read = ac_clock();
    ac_cosmos_shared_release(task->store);
}

static void list_if_not(ac_cosmos_task_t *task, const char *stamp)
{
    if (strcmp(ac_json_peek_string(task->op->in, "stamp", "-"), stamp) == 0) {
        end_with_list(task, stamp, json_null());
    } else {
        list_all(task);
    }
}

/* ---- 2: the query ---- */

static void list_all(ac_cosmos_task_t *task)
{
    ac_cosmos_query_t select = {.container = AC_COSMOS_THREADS,
                                .key = KEY,
                                .sql = sql_all,
                                .parameters = json_pack("{s:s}", "@owner", KEY)};
    ac_cosmos_query_run(task, &select, listed);
}

static void listed(ac_cosmos_task_t *task)
{
    json_t *data = json_array(), *row;
    const char *stamp = "";
    size_t i;
    json_array_foreach(task->rows, i, row)
    {
        if (strcmp(ac_json_peek_string(row, "type", ""), "stamp") == 0) {
            stamp = ac_json_peek_string(row, "stamp", "");
        } else {
            json_array_append(data, json_object_get(row, "agent"));
        }
    }
    end_with_list(task, stamp, data);
}

static void end_with_list(ac_cosmos_task_t *task, const char *stamp, json_t *data)
{
    task->op->out = json_pack("{s:s, s:o}", "stamp", stamp, "data", data);
    ac_cosmos_task_end(task, task->op->out ? APR_SUCCESS : ac_err_set(&task->op->err, AC_INTERNAL, "out of memory"));
}

/* ---- AGENT_PUT, AGENT_DELETE, 1: the agent ---- */

static const char *agent_id(const ac_cosmos_task_t *task)
{
    const json_t *agent = json_object_get(task->op->in, "agent");
    return ac_json_peek_string(agent ? agent : task->op->in, "id", "");
}

static const char *wanted_etag(const ac_cosmos_task_t *task)
{
    return ac_json_peek_string(json_object_get(task->op->in, "agent"), "etag", "");
}

void ac_cosmos_agent_put(ac_cosmos_task_t *task)
{
    const char *text;
    apr_status_t status = ac_json_string(&text, json_object_get(task->op->in, "agent"), "id", true, &task->op->err);
    if (status == APR_SUCCESS) {
        status = ac_json_string(&text, json_object_get(task->op->in, "agent"), "etag", true, &task->op->err);
    }
    if (status == APR_SUCCESS && !ac_cosmos_name_valid(agent_id(task))) {
        status = ac_err_set_at(&task->op->err, AC_INVALID_REQUEST, "/id", "cannot be the id of a document");
    }
    if (status != APR_SUCCESS) {
        ac_cosmos_task_end(task, status);
    } else {
        cosmos_agents_change_from(task);
    }
}

void ac_cosmos_agent_delete(ac_cosmos_task_t *task)
{
    if (!ac_cosmos_name_valid(agent_id(task))) {
        ac_cosmos_task_end(task, ac_err_set(&task->op->err, AC_NOT_FOUND, "no agent with this id"));
    } else {
        cosmos_agents_change_from(task);
    }
}

static void cosmos_agents_change_from(ac_cosmos_task_t *task)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_READ,
                                   .container = AC_COSMOS_THREADS,
                                   .key = KEY,
                                   .id = agent_id(task)};
    ac_cosmos_call_start(task, &request, on_agent, task);
}

static void on_agent(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    const json_t *agent = reply->status == 200 ? json_object_get(reply->body, "agent") : NULL;
    const char *etag = ac_json_peek_string(agent, "etag", "");
    bool put = task->op->verb == AC_STORE_AGENT_PUT;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404))) {
        return;
    }
    /* The document is as it should be, or gone: an earlier attempt did that. */
    if ((put && *etag && strcmp(etag, wanted_etag(task)) == 0) || (!put && !*etag && task->agent.n_unsure > 0)) {
        cosmos_agents_end_changed(task);
        return;
    }
    if (ac_store_agent_check(task->op, etag) != APR_SUCCESS) {
        ac_cosmos_task_end_with(task, &task->op->err);
        return;
    }
    cosmos_agents_write_change(task, reply->status != 200 ? "" : ac_cosmos_call_etag(reply));
}

/* ---- 2: the batch ---- */

/* Agents have no time to live, also if another machine has a retention. */
static json_t *document_make(const char *id, const char *type, const char *member, json_t *value)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:o}", "id", id, "owner", KEY, "type", type, "key", id, "ttl", -1,
                     member, value);
}

static void cosmos_agents_write_change(ac_cosmos_task_t *task, const char *if_match)
{
    ac_cosmos_request_t request = {.verb = AC_COSMOS_BATCH, .container = AC_COSMOS_THREADS, .key = KEY};
    const char *id = agent_id(task);
    json_t *agent = json_object_get(task->op->in, "agent"), *document = NULL, *stamp;
    ac_cosmos_verb_e verb = !agent ? AC_COSMOS_DELETE : *if_match ? AC_COSMOS_REPLACE : AC_COSMOS_CREATE;
    ac_cosmos_batch_t batch;
    if (!*task->agent.stamp) { /* one for all attempts: the service may have carried out any of them */
        ac_id_make(task->agent.stamp, "stamp_");
    }
    document = agent ? document_make(id, "agent", "agent", json_incref(agent)) : NULL;
    stamp = document_make(STAMP, "stamp", "stamp", json_string(task->agent.stamp));
    ac_cosmos_request_batch_init(&batch);
    ac_cosmos_request_batch_add(&batch, verb, KEY, id, document, *if_match ? if_match : NULL);
    ac_cosmos_request_batch_add(&batch, AC_COSMOS_UPSERT, KEY, STAMP, stamp, NULL);
    ac_cosmos_request_batch_end(&batch);
    task->agent.created = verb == AC_COSMOS_CREATE;
    ac_cosmos_call_write_batch(task, &request, &batch, cosmos_agents_on_changed);
    json_decref(document);
    json_decref(stamp);
}

static void cosmos_agents_on_changed(void *baton, const ac_cosmos_reply_t *reply)
{
    ac_cosmos_task_t *task = baton;
    if (ac_cosmos_call_failed(task, reply, AC_COSMOS_EXPECT(200, 404, 409, 412))) {
        return;
    }
    if (reply->status == 200) {
        cosmos_agents_end_changed(task);
        return;
    }
    task->agent.n_unsure += reply->unsure; /* an earlier attempt of this task may have won */
    ac_cosmos_task_retry(task, cosmos_agents_change_from);
}

static void cosmos_agents_end_changed(ac_cosmos_task_t *task)
{
    bool put = task->op->verb == AC_STORE_AGENT_PUT;
    if (*task->agent.stamp) { /* "": there was nothing to change */
        stamp_written(task->store, task->agent.stamp);
    }
    task->op->out = put ? json_pack("{s:b}", "created", task->agent.created) : json_object();
    apr_cpystrn(task->op->etag, wanted_etag(task), sizeof(task->op->etag));
    ac_cosmos_task_end(task, APR_SUCCESS);
}

static void stamp_written(ac_cosmos_t *store, const char *stamp)
{
    ac_cosmos_state_t *state = ac_cosmos_shared_acquire(store);
    apr_cpystrn(state->agents_stamp, stamp, sizeof(state->agents_stamp));
    state->agents_read = state->agents_written = ac_clock();
    ac_cosmos_shared_release(store);
}
